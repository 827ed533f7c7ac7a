//! The files of the C++ store that this one follows, so that its users can move over with their data.
//!
//! ```text
//! log      := record*          all integers little-endian, no header
//!
//!  offset size  field
//!       0    4  magic         "KVLG"
//!       4    2  version       1
//!       6    1  type          1 put, 2 delete
//!       7    4  key length
//!      11    4  value length  0 of a delete
//!      15    8  sequence      not looked at by that store, nor here: it begins again after a snapshot
//!      23    …  key, value
//!       …    4  CRC-32        (IEEE) of everything before
//!
//! snapshot := (key TAB value LF)*     no header, count, checksum or escapes
//! ```
//!
//! That store reads its log up to the first bad record, and leaves that where it is: what it appended later is in the file,
//! and never read again. So it is done here, with a word on what is behind; with `--salvage` that is read
//! too. Its snapshot cannot say where a value ends that has a line feed: a line without a tab is an error.

use crate::args::Import as From;
use crate::import::{Importer, Stop, entries, in_line};
use crate::script::{Lines, Next};
use kv_engine::command::displayed;
use kv_engine::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::io::{self, Read};

const MAGIC: &[u8] = b"KVLG";
const MAGIC_AND_VERSION: &[u8] = b"KVLG\x01\0";
const HEAD_BYTES: usize = 23;
const CHECK_BYTES: usize = 4;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Whether an input is a log of that store. Another store's files begin in the same or nearly the same way.
pub(crate) fn is_log(begin: &[u8]) -> Result<Option<From>, String> {
    if begin.starts_with(MAGIC_AND_VERSION) {
        return Ok(Some(From::CppLog));
    }
    if begin.starts_with(MAGIC) || begin.starts_with(b"KVSP") {
        let magic = displayed(&begin[..4]);
        return Err(format!(
            "this begins with {magic}, but is neither a log of the C++ store nor an export; it cannot be imported"
        ));
    }
    Ok(None)
}

/// A record whose checks hold.
struct Record {
    len: usize,
    put: bool,
    key: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

/// Imports a log.
pub(crate) fn log(input: &mut impl Read, salvage: bool, importer: &mut Importer<'_>) -> Result<(), Stop> {
    let mut reader = Reader { input, bytes: Vec::new(), start: 0, offset: 0 };
    let mut empty_keys = 0_u64;
    let mut beyond = Beyond::default();
    while !reader.is_at_end()? {
        let at = reader.offset;
        match reader.record()? {
            Ok(record) => {
                beyond.records += u64::from(beyond.first.is_some());
                if beyond.first.is_none() || salvage {
                    let bytes = reader.window();
                    let (key, value) = (&bytes[record.key], &bytes[record.value]);
                    match key.is_empty() {
                        true => empty_keys += u64::from(record.put),
                        false => importer.take(key, record.put.then_some(value))?,
                    }
                }
                reader.pass(record.len);
                importer.go_on(reader.offset)?;
            }
            Err(why) => {
                beyond.first.get_or_insert((at, why));
                beyond.bytes += reader.pass_to_magic()?;
            }
        }
    }
    if let Some((at, why)) = beyond.first {
        let behind = match (beyond.records, salvage) {
            (0, _) => String::new(),
            (n, true) => format!("; {n} whole records behind it, which the C++ store never read, are imported as well"),
            (n, false) => format!(
                "; behind it are {n} whole records, which the C++ store never read; they are not imported, but are with kv_cli import --salvage"
            ),
        };
        importer.warn(&format!("byte {at}: the log stops making sense: {why}; {} bytes are no record{behind}", beyond.bytes));
    }
    if empty_keys > 0 {
        importer.problem(&format!("left out, as this store holds no empty key: {}", entries(empty_keys)));
    }
    Ok(())
}

/// What is behind the first bad record.
#[derive(Default)]
struct Beyond {
    first: Option<(u64, &'static str)>,
    records: u64,
    bytes: u64,
}

/// Looks at an input record by record, and never holds more of it than one can have.
struct Reader<'r, R> {
    input: &'r mut R,
    bytes: Vec<u8>,
    /// What was read and not passed begins here.
    start: usize,
    /// Of that place, from the input's beginning.
    offset: u64,
}

impl<R: Read> Reader<'_, R> {
    fn window(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    fn pass(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    fn is_at_end(&mut self) -> io::Result<bool> {
        Ok(self.fill(1)? < 1)
    }

    /// Reads until `count` bytes are there or the input ends; returns how many are. A length that lies takes no
    /// more memory than the input has bytes.
    fn fill(&mut self, count: usize) -> io::Result<usize> {
        const STEP_BYTES: usize = 256 << 10;
        while self.bytes.len() - self.start < count {
            self.bytes.drain(..std::mem::take(&mut self.start));
            let mut portion = self.input.by_ref().take(STEP_BYTES as u64);
            if portion.read_to_end(&mut self.bytes)? == 0 {
                break;
            }
        }
        Ok(self.bytes.len() - self.start)
    }

    fn record(&mut self) -> io::Result<Result<Record, &'static str>> {
        const ENDS: &str = "the file ends inside a record";
        if self.fill(HEAD_BYTES)? < HEAD_BYTES {
            return Ok(Err(ENDS));
        }
        let head = self.window();
        let len = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes")) as usize;
        let (kind, key_len, value_len) = (head[6], len(7), len(11));
        if !head.starts_with(MAGIC_AND_VERSION) {
            return Ok(Err("no record begins here"));
        }
        if !matches!(kind, PUT | DELETE) || key_len > MAX_KEY_BYTES || value_len > MAX_VALUE_BYTES {
            return Ok(Err("the head of the record makes no sense here"));
        }
        let end = HEAD_BYTES + key_len + value_len;
        if self.fill(end + CHECK_BYTES)? < end + CHECK_BYTES {
            return Ok(Err(ENDS));
        }
        let bytes = self.window();
        let check = u32::from_le_bytes(bytes[end..end + CHECK_BYTES].try_into().expect("four bytes"));
        if crc32fast::hash(&bytes[..end]) != check {
            return Ok(Err("the checksum of the record does not match"));
        }
        let key = HEAD_BYTES..HEAD_BYTES + key_len;
        Ok(Ok(Record { len: end + CHECK_BYTES, put: kind == PUT, value: key.end..end, key }))
    }

    /// Passes to the next place where a record may begin, or to the end; returns how many bytes that is.
    fn pass_to_magic(&mut self) -> io::Result<u64> {
        let from = self.offset;
        self.pass(1);
        while self.fill(MAGIC_AND_VERSION.len())? >= MAGIC_AND_VERSION.len() {
            let found = self.window().windows(MAGIC_AND_VERSION.len()).position(|bytes| bytes == MAGIC_AND_VERSION);
            match found {
                Some(at) => {
                    self.pass(at);
                    return Ok(self.offset - from);
                }
                // Its first bytes may be the last ones here.
                None => self.pass(self.window().len() + 1 - MAGIC_AND_VERSION.len()),
            }
        }
        self.pass(self.window().len());
        Ok(self.offset - from)
    }
}

/// Imports a snapshot.
pub(crate) fn snapshot(input: &mut impl Read, importer: &mut Importer<'_>) -> Result<(), Stop> {
    let mut empty_keys = 0_u64;
    let (mut number, mut read) = (0, 0);
    let mut lines = Lines::new(input, MAX_KEY_BYTES + 1 + MAX_VALUE_BYTES);
    loop {
        lines.fill()?;
        let is_cut = lines.next_is_cut();
        let line = match lines.next() {
            Next::Line(line) => line,
            Next::TooLong => {
                let text = "column 1: the line is longer than an entry can be".to_string();
                return Err(Stop::Bad { place: (number + 1).to_string(), text });
            }
            Next::Read | Next::End => break,
        };
        number += 1;
        read += line.len() as u64 + 1;
        let Some(tab) = line.iter().position(|&byte| byte == b'\t') else {
            let text = "column 1: no tab between key and value; the rest of a value with a line feed? This snapshot cannot tell"
                .to_string();
            return Err(Stop::Bad { place: number.to_string(), text });
        };
        let (key, value) = (&line[..tab], &line[tab + 1..]);
        if is_cut {
            let text = format!("line {number}: the snapshot ends inside the value of '{}', which was left out", displayed(key));
            importer.problem(&text);
        } else if key.is_empty() {
            empty_keys += 1;
        } else {
            importer.take(key, Some(value)).map_err(|error| in_line(number, error))?;
        }
        importer.go_on(read)?;
    }
    if empty_keys > 0 {
        importer.problem(&format!("left out, as this store holds no empty key: {}", entries(empty_keys)));
    }
    Ok(())
}

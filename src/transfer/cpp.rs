//! Reads the files of the C++ store that this one replaces, so that its users can bring their data.
//!
//! ```text
//! log      := record*          all integers little-endian, no header
//!
//!  offset size  field
//!       0    4  magic         "KVLG"
//!       4    2  version       1
//!       6    1  type          1 put, 2 delete
//!       7    4  key length
//!      11    4  value length  0 for a delete
//!      15    8  sequence      ignored, as in that store: it begins again after a snapshot
//!      23    …  key, value
//!       …    4  CRC-32        (IEEE) of everything before it
//!
//! snapshot := (key TAB value LF)*     no header, count, checksum or escapes
//! ```
//!
//! - The C++ store reads its log up to the first bad record. Records that it appended later stay in the file and are
//!   never read. An import does the same and reports how many records follow. With `--salvage` it reads those too.
//! - The snapshot does not mark the end of a value that has a line feed. So a line without a tab is an error.
//! - After a bad record, any four bytes may look like a length of up to 256 MiB. Even so, the time of an import is in
//!   proportion to the length of the file: each byte is read, moved and hashed only a few times (see `sums`).

mod sums;

use super::importer::{Importer, Refusal, Row, Stop, bad};
use crate::settings::Import as Source;
use crate::text::{column, counted, displayed};
use kv_engine::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::io::{self, Read};
use sums::{BLOCK_BYTES, Sums};

const MAGIC: &[u8] = b"KVLG";
const MAGIC_AND_VERSION: &[u8] = b"KVLG\x01\0";
const HEAD_BYTES: usize = 23;
const CHECK_BYTES: usize = 4;
const PUT: u8 = 1;
const DELETE: u8 = 2;

/// Whether an input is a log of that store. The files of another store begin almost the same way.
pub(super) fn is_log(begin: &[u8]) -> Result<Option<Source>, String> {
    if begin.starts_with(MAGIC_AND_VERSION) {
        return Ok(Some(Source::CppLog));
    }
    if begin.starts_with(MAGIC) || begin.starts_with(b"KVSP") {
        let magic = displayed(&begin[..4]);
        return Err(format!("this begins with {magic}, but is not a log of the C++ store, and not an export"));
    }
    Ok(None)
}

/// A control byte that text does not have.
pub(super) fn is_binary(byte: u8) -> bool {
    byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r' | b'\x0c' | b'\x1b')
}

/// A record that passes its checks.
struct Record {
    len: usize,
    put: bool,
    key: std::ops::Range<usize>,
    value: std::ops::Range<usize>,
}

/// Imports a log.
pub(super) fn log(input: &mut impl Read, importer: &mut Importer<'_>) -> Result<(), Stop> {
    let salvage = importer.salvage;
    let mut reader = Reader::new(input);
    let (mut empty_keys, mut whole) = (0_u64, 0_u64);
    let mut beyond = Beyond::default();
    while !reader.is_at_end()? {
        let at = reader.offset;
        match reader.record()? {
            Ok(record) => {
                whole += 1;
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
        if whole == 0 || (at == 0 && !salvage) {
            let advice = if whole == 0 { "" } else { "kv_cli import --salvage imports the intact records after it" };
            return Err(Stop::Foreign(Refusal::new(format!("it does not begin with a record of the C++ store: {why}"), advice)));
        }
        let (are, them) = if beyond.records == 1 { ("is", "it") } else { ("are", "them") };
        let records = format!("; {} after it {are}", counted(beyond.records, "intact record"));
        let after = match (beyond.records, salvage) {
            (0, _) => String::new(),
            (_, true) => format!("{records} imported too, although the C++ store never read {them}"),
            (_, false) => {
                format!("{records} not imported, because the C++ store never read {them}; kv_cli import --salvage imports {them}")
            }
        };
        let skipped = counted(beyond.bytes, "byte");
        importer.warn(&format!("the log is damaged at byte {at}: {why}; skipped {skipped} outside of records{after}"));
    }
    importer.skipped_empty_keys(empty_keys);
    Ok(())
}

/// The first bad record, and what follows it.
#[derive(Default)]
struct Beyond {
    first: Option<(u64, &'static str)>,
    records: u64,
    bytes: u64,
}

/// Reads an input record by record. It never holds more than one and a half of the largest records.
struct Reader<'r, R> {
    input: &'r mut R,
    bytes: Vec<u8>,
    sums: Sums,
    /// The first byte in `bytes` that was not passed yet.
    start: usize,
    /// Its offset in the input.
    offset: u64,
    at_end: bool,
    /// How many bytes were moved in memory, for a test.
    moved: u64,
}

impl<'r, R: Read> Reader<'r, R> {
    fn new(input: &'r mut R) -> Reader<'r, R> {
        Reader { input, bytes: Vec::new(), sums: Sums::default(), start: 0, offset: 0, at_end: false, moved: 0 }
    }

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

    /// Reads until the window has `count` bytes or the input ends. Returns the size of the window. A false length takes
    /// no more memory than the input has bytes.
    fn fill(&mut self, count: usize) -> io::Result<usize> {
        const STEP_BYTES: usize = 256 << 10;
        while self.bytes.len() - self.start < count && !self.at_end {
            // The passed bytes are dropped when they are a third of all, so that no byte is moved often.
            if self.start >= STEP_BYTES && self.start > self.bytes.len() / 3 {
                self.drop_passed();
            }
            let mut portion = self.input.by_ref().take(STEP_BYTES as u64);
            self.at_end = portion.read_to_end(&mut self.bytes)? == 0;
        }
        Ok(self.bytes.len() - self.start)
    }

    fn drop_passed(&mut self) {
        let blocks = self.start / BLOCK_BYTES;
        self.moved += (self.bytes.len() - self.start) as u64;
        self.bytes.drain(..blocks * BLOCK_BYTES);
        self.sums.drop_blocks(blocks);
        self.start -= blocks * BLOCK_BYTES;
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
            return Ok(Err("the head of the record is invalid"));
        }
        let end = HEAD_BYTES + key_len + value_len;
        if self.fill(end + CHECK_BYTES)? < end + CHECK_BYTES {
            return Ok(Err(ENDS));
        }
        let bytes = self.window();
        let check = u32::from_le_bytes(bytes[end..end + CHECK_BYTES].try_into().expect("four bytes"));
        if self.sums.of(&self.bytes, self.start..self.start + end) != check {
            return Ok(Err("the checksum of the record does not match"));
        }
        let key = HEAD_BYTES..HEAD_BYTES + key_len;
        Ok(Ok(Record { len: end + CHECK_BYTES, put: kind == PUT, value: key.end..end, key }))
    }

    /// Goes to the next place where a record may begin, or to the end. Returns the number of bytes passed.
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
                // The window may end with the first bytes of a magic.
                None => self.pass(self.window().len() + 1 - MAGIC_AND_VERSION.len()),
            }
        }
        self.pass(self.window().len());
        Ok(self.offset - from)
    }
}

/// Imports a snapshot. The file has no mark and no checksum that would prove that it is one. So it must be plain text
/// with one tab in every line, unless the user is `sure`.
pub(super) fn snapshot(input: &mut impl Read, sure: bool, importer: &mut Importer<'_>) -> Result<(), Stop> {
    let mut empty_keys = 0_u64;
    importer.each_line(input, MAX_KEY_BYTES + 1 + MAX_VALUE_BYTES, |importer, &Row { number, text: line, is_cut }| {
        let Some(tab) = line.iter().position(|&byte| byte == b'\t') else {
            let text = "column 1: there is no tab between key and value; this may be the rest of a value with a line feed: this \
                        format does not mark the end of a value";
            return Err(bad(number, text));
        };
        if let Some((at, what)) = doubt(line, tab).filter(|_| !sure) {
            let text = format!("column {}: {what}, so this may not be a snapshot of the C++ store", column(line, at));
            return Err(Stop::Bad { line: number, text, advice: "if it is one: import it with --from cpp-snapshot" });
        }
        let (key, value) = (&line[..tab], &line[tab + 1..]);
        if is_cut && importer.salvage {
            let text = format!("line {number}: the snapshot ends inside the value of '{}', which was skipped", displayed(key));
            importer.problem(&text);
        } else if is_cut {
            let text = format!("the snapshot ends inside the value of '{}': it was cut off", displayed(key));
            return Err(Stop::Bad { line: number, text, advice: "kv_cli import --salvage imports the lines before it" });
        } else if key.is_empty() {
            empty_keys += 1;
        } else {
            importer.take_line(number, key, Some(value))?;
        }
        Ok(())
    })?;
    importer.skipped_empty_keys(empty_keys);
    Ok(())
}

/// A reason to doubt that a line is of a snapshot, because other files have it more often: the place and the reason.
fn doubt(line: &[u8], tab: usize) -> Option<(usize, &'static str)> {
    let control = line.iter().position(|&byte| is_binary(byte)).map(|at| (at, "there is a control byte"));
    let second = line[tab + 1..].iter().position(|&byte| byte == b'\t').map(|at| (tab + 1 + at, "there is a second tab"));
    let foreign = || std::str::from_utf8(line).err().map(|error| (error.valid_up_to(), "the text is not UTF-8"));
    control.or_else(foreign).or(second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(value_len: u32) -> Vec<u8> {
        let mut head = MAGIC_AND_VERSION.to_vec();
        head.extend([PUT, 1, 0, 0, 0]);
        head.extend(value_len.to_le_bytes());
        head.extend([0; 8]);
        head
    }

    fn work(bytes: &[u8]) -> (u64, u64, u64) {
        let (mut input, mut heads) = (bytes, 0);
        let mut reader = Reader::new(&mut input);
        while !reader.is_at_end().expect("memory") {
            match reader.record().expect("memory") {
                Ok(record) => reader.pass(record.len),
                Err(_) => drop(reader.pass_to_magic().expect("memory")),
            }
            heads += 1;
        }
        assert_eq!(reader.offset, bytes.len() as u64);
        (reader.sums.hashed, reader.moved, heads)
    }

    /// Heads with a length of 256 MiB, and heads whose records all end inside the file.
    #[test]
    fn case_32_false_heads_cost_work_in_proportion_to_the_file() {
        for len in [200_000, 2_000_000] {
            for claim in [256 << 20, len / 2, 1000] {
                let bytes = head(claim).repeat(len as usize / HEAD_BYTES);
                let (hashed, moved, heads) = work(&bytes);
                assert!(heads >= bytes.len() as u64 / HEAD_BYTES as u64, "each of them was read: {heads}");
                let most = bytes.len() as u64 + heads * 2 * BLOCK_BYTES as u64;
                assert!(hashed <= most && moved <= 2 * bytes.len() as u64, "{len}, {claim}: {hashed} hashed, {moved} moved");
            }
        }
    }
}

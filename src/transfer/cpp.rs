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
//!
//! Behind a bad record any four bytes may claim to be a length, of 256 MiB even, and every place may claim one. So that
//! the time is in proportion to the length of the file, each byte is read, moved and hashed a few times at most:
//! [`Sums`] has the checksum of any stretch out of the checksums from the beginning on.

use crate::lines::{Lines, Next};
use crate::settings::Import as From;
use crate::text::displayed;
use crate::transfer::import::{Importer, Stop, entries, in_line, is_binary};
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
            let behind = if whole == 0 { "" } else { "; whole records behind it are imported with kv_cli import --salvage" };
            let text = format!("there is no record of the C++ store here: {why}{behind}");
            return Err(Stop::Foreign(text));
        }
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

/// Looks at an input record by record, and never holds more of it than one and a half can have.
struct Reader<'r, R> {
    input: &'r mut R,
    bytes: Vec<u8>,
    /// Of `bytes`.
    sums: Sums,
    /// What was read and not passed begins here.
    start: usize,
    /// Of that place, from the input's beginning.
    offset: u64,
    at_end: bool,
    /// Bytes that were moved in memory.
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

    /// Reads until `count` bytes are there or the input ends; returns how many are. A length that lies takes no
    /// more memory than the input has bytes.
    fn fill(&mut self, count: usize) -> io::Result<usize> {
        const STEP_BYTES: usize = 256 << 10;
        while self.bytes.len() - self.start < count && !self.at_end {
            // What was passed is let go when what is left is not much more, so that no byte is moved often.
            if self.start >= STEP_BYTES && self.start > self.bytes.len() / 3 {
                self.let_go();
            }
            let mut portion = self.input.by_ref().take(STEP_BYTES as u64);
            self.at_end = portion.read_to_end(&mut self.bytes)? == 0;
        }
        Ok(self.bytes.len() - self.start)
    }

    fn let_go(&mut self) {
        let blocks = self.start / BLOCK_BYTES;
        self.moved += (self.bytes.len() - self.start) as u64;
        self.bytes.drain(..blocks * BLOCK_BYTES);
        self.sums.let_go(blocks);
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
            return Ok(Err("the head of the record makes no sense here"));
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

/// A sum is kept for every so many bytes.
const BLOCK_BYTES: usize = 512;

/// The checksum of any stretch of some bytes, from the checksums of their first so many blocks. Each block is hashed
/// once for that, and for each stretch a part of a block at either end.
#[derive(Default)]
struct Sums {
    /// Of everything before each block. The first one stands for what was let go.
    before: Vec<u32>,
    /// Bytes that were hashed.
    hashed: u64,
}

impl Sums {
    /// Of `range` in `bytes`.
    fn of(&mut self, bytes: &[u8], range: std::ops::Range<usize>) -> u32 {
        let (begin, end) = (self.up_to(bytes, range.start), self.up_to(bytes, range.end));
        end ^ followed_by_zeros(begin, range.len())
    }

    /// Of everything before `at`, what was let go included.
    fn up_to(&mut self, bytes: &[u8], at: usize) -> u32 {
        if self.before.is_empty() {
            self.before.push(0);
        }
        let block = at / BLOCK_BYTES;
        while self.before.len() <= block {
            let from = (self.before.len() - 1) * BLOCK_BYTES;
            let sum = self.and(self.before[self.before.len() - 1], &bytes[from..from + BLOCK_BYTES]);
            self.before.push(sum);
        }
        self.and(self.before[block], &bytes[block * BLOCK_BYTES..at])
    }

    fn and(&mut self, sum: u32, bytes: &[u8]) -> u32 {
        self.hashed += bytes.len() as u64;
        let mut hasher = crc32fast::Hasher::new_with_initial(sum);
        hasher.update(bytes);
        hasher.finalize()
    }

    /// Forgets the first blocks. Where their sums are not known yet, the sums begin anew.
    fn let_go(&mut self, blocks: usize) {
        match blocks < self.before.len() {
            true => drop(self.before.drain(..blocks)),
            false => self.before.clear(),
        }
    }
}

/// What a checksum becomes when so many zeros follow, without what they themselves would add: the checksum of two
/// stretches is that of the first, treated so, xor that of the second.
fn followed_by_zeros(sum: u32, count: usize) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(sum);
    hasher.combine(&crc32fast::Hasher::new_with_initial_len(0, count as u64));
    hasher.finalize()
}

/// Imports a snapshot. Nothing in it says that it is one: unless somebody is `sure`, it must be text.
pub(crate) fn snapshot(input: &mut impl Read, sure: bool, salvage: bool, importer: &mut Importer<'_>) -> Result<(), Stop> {
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
        if let Some(at) = line.iter().position(|&byte| !sure && is_binary(byte)) {
            let text = format!(
                "column {}: a control byte, so this is hardly a snapshot of the C++ store; if it is one, import it with --from \
                 cpp-snapshot",
                at + 1
            );
            return Err(Stop::Bad { place: number.to_string(), text });
        }
        let (key, value) = (&line[..tab], &line[tab + 1..]);
        if is_cut && salvage {
            let text = format!("line {number}: the snapshot ends inside the value of '{}', which was left out", displayed(key));
            importer.problem(&text);
        } else if is_cut {
            let text = format!(
                "the snapshot ends inside the value of '{}': it was cut; kv_cli import --salvage takes the lines before",
                displayed(key)
            );
            return Err(Stop::Bad { place: number.to_string(), text });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_of_any_stretch_is_its_checksum() {
        let bytes: Vec<u8> = (0..5000_u32).map(|n| ((n * n) >> 3) as u8).collect();
        for (first, gone) in [(0, 0), (0, 2), (3000, 2), (3000, 5)] {
            let mut sums = Sums::default();
            sums.of(&bytes, 0..first);
            sums.let_go(gone);
            let rest = &bytes[gone * BLOCK_BYTES..];
            for range in [0..0, 0..1, 1..700, 511..512, 512..1024, 513..2000, 0..rest.len(), 7..rest.len() - 1] {
                assert_eq!(sums.of(rest, range.clone()), crc32fast::hash(&rest[range.clone()]), "{range:?}, {gone} gone");
            }
        }
    }

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

    /// Heads that claim 256 MiB, and heads whose records all end inside the file.
    #[test]
    fn case_32_heads_that_lie_cost_work_in_proportion_to_the_file() {
        for len in [200_000, 2_000_000] {
            for claim in [256 << 20, len / 2, 1000] {
                let bytes = head(claim).repeat(len as usize / HEAD_BYTES);
                let (hashed, moved, heads) = work(&bytes);
                assert!(heads >= bytes.len() as u64 / HEAD_BYTES as u64, "each of them was looked at: {heads}");
                let most = bytes.len() as u64 + heads * 2 * BLOCK_BYTES as u64;
                assert!(hashed <= most && moved <= 2 * bytes.len() as u64, "{len}, {claim}: {hashed} hashed, {moved} moved");
            }
        }
    }
}

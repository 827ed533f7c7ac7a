//! The bytes of a log's header and of a record, divided into named fields, for readers who learn the format by looking.
//! The layouts are described at the top of `wal.rs` and `record.rs`.

use crate::record::{self, HEADER_BYTES, Kind};
use crate::{StoreId, wal};
use std::ops::Range;

/// A field of a log: some bytes and their meaning; from [`header_fields`] and [`record_fields`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// # use kv_engine::disk::{Disk, OsDisk};
/// engine.put("x", "100")?;
/// let mut bytes = [0; 46]; // `inspect::log` shows the put at byte 105, 46 bytes long
/// OsDisk.open_read(&log)?.expect("a log").read_at(105, &mut bytes)?;
/// let fields = kv_engine::inspect::record_fields(&bytes);
/// let key = fields.iter().find(|field| field.name == "key").expect("a put has one");
/// assert_eq!(bytes[key.bytes.clone()], *b"x");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Their place in the given bytes.
    pub bytes: Range<usize>,
    /// The name of the field in the description of the format.
    pub name: &'static str,
    /// The meaning of its content, in words; empty for data.
    pub meaning: String,
}

/// Divides bytes into consecutive fields.
struct Cutter<'b> {
    bytes: &'b [u8],
    at: usize,
    fields: Vec<Field>,
}

impl<'b> Cutter<'b> {
    fn new(bytes: &'b [u8]) -> Cutter<'b> {
        Cutter { bytes, at: 0, fields: Vec::new() }
    }

    /// Takes the next `count` bytes, or the rest if there are fewer.
    fn take(&mut self, name: &'static str, count: usize, meaning: impl FnOnce(&'b [u8]) -> String) -> &'b [u8] {
        let end = self.at.saturating_add(count).min(self.bytes.len());
        let taken = &self.bytes[self.at..end];
        if !taken.is_empty() {
            let meaning = if taken.len() == count { meaning(taken) } else { format!("{} of its {count} bytes", taken.len()) };
            self.fields.push(Field { bytes: self.at..end, name, meaning });
        }
        self.at = end;
        taken
    }

    /// Takes the length of a later field; 0 if some of its bytes are missing.
    fn length(&mut self, name: &'static str) -> usize {
        let taken = self.take(name, 4, |bytes| number(bytes).to_string());
        usize::try_from(number(taken)).unwrap_or(usize::MAX)
    }
}

/// Little-endian.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |n, &byte| n << 8 | u64::from(byte))
}

/// The fields of a log's header, which is the first 64 bytes of the file.
#[must_use]
pub fn header_fields(bytes: &[u8]) -> Vec<Field> {
    let bytes = &bytes[..bytes.len().min(wal::HEADER_BYTES)];
    let mut cutter = Cutter::new(bytes);
    for (name, count) in wal::FIELDS {
        let before = cutter.at;
        cutter.take(name, count, |field| match name {
            "magic" => "of every log".into(),
            "version" => format!("format {}", number(field)),
            "store id" => StoreId(field.try_into().expect("sixteen bytes")).to_string(),
            "salt" => "begins all other checksums".into(),
            "base" => format!("begins after write {}", number(field)),
            "zero" => "room for later formats".into(),
            _ => format!("CRC-32 of 0..{before}: {}", matches(number(field), record::crc(0, &bytes[..before]))),
        });
    }
    cutter.fields
}

/// The fields of the record at the beginning of `bytes`: its header and the operations in its body. If the bytes are
/// not a whole record: as many fields as there are.
#[must_use]
pub fn record_fields(bytes: &[u8]) -> Vec<Field> {
    let mut cutter = Cutter::new(bytes);
    let (mut body_len, mut kind) = (0, 0);
    for (name, count) in record::FIELDS {
        cutter.take(name, count, |field| {
            let n = number(field);
            match name {
                "check" => format!("CRC-32 of 4..{HEADER_BYTES}, with the salt"),
                "body length" => {
                    body_len = usize::try_from(n).unwrap_or(usize::MAX);
                    format!("{n}, after this header")
                }
                "sequence" => format!("write {n}"),
                "durable" => format!("known to be synced: write {n}"),
                "link" => "check of the record before".into(),
                "body check" => "CRC-32 of body, with the salt".into(),
                _ => {
                    kind = field[0];
                    format!("{n}: {}", kind_name(kind))
                }
            }
        });
    }
    let end = cutter.at.saturating_add(body_len).min(bytes.len());
    cutter.bytes = &bytes[..end];
    match kind {
        _ if kind == Kind::WRITE.number() => operations(&mut cutter),
        _ if kind == Kind::OPENED.number() => {
            cutter.take("random", body_len, |_| "begins a new chain of links".into());
        }
        _ => {
            cutter.take("body", body_len, |_| String::new());
        }
    }
    cutter.fields
}

fn operations(cutter: &mut Cutter<'_>) {
    while cutter.at < cutter.bytes.len() {
        let tag = cutter.take("operation", 1, |field| match field[0] {
            1 => "1: put".into(),
            2 => "2: delete".into(),
            n => format!("{n}: not an operation"),
        });
        let key = cutter.length("key length");
        let value = if tag == [1] { cutter.length("value length") } else { 0 };
        cutter.take("key", key, |_| String::new());
        cutter.take("value", value, |_| String::new());
        if !matches!(tag, [1 | 2]) {
            cutter.take("unknown", usize::MAX, |_| String::new());
        }
    }
}

fn kind_name(kind: u8) -> &'static str {
    match kind {
        _ if kind == Kind::WRITE.number() => "a write",
        _ if kind == Kind::OPENED.number() => "opened, or a write failed",
        _ if kind == Kind::CLOSED.number() => "closed cleanly",
        _ => "not a kind of record in a log",
    }
}

fn matches(found: u64, due: u32) -> &'static str {
    if found == u64::from(due) { "matches" } else { "DOES NOT MATCH" }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The golden log. Other tests pin its bytes.
    const LOG: &[u8] = include_bytes!("../../tests/data/v1.wal");

    fn texts(bytes: &[u8], fields: &[Field]) -> Vec<String> {
        let next = fields.iter().fold(0, |at, field| {
            assert_eq!(field.bytes.start, at, "no byte is left out");
            field.bytes.end
        });
        assert!(next <= bytes.len());
        fields.iter().map(|field| format!("{} {:?} {}", field.name, field.bytes, field.meaning)).collect()
    }

    #[test]
    fn the_fields_of_a_header_cover_it() {
        let fields = texts(LOG, &header_fields(LOG));
        assert_eq!(fields.len(), 7);
        assert_eq!(fields[1], "version 8..12 format 1");
        assert_eq!(fields[2], "store id 12..28 efcdab8967452301de9b5713cf8a4602");
        assert_eq!(fields[4], "base 32..40 begins after write 5");
        assert_eq!(fields[6], "check 60..64 CRC-32 of 0..60: matches");
        let mut bad = LOG.to_vec();
        bad[9] ^= 1;
        assert!(header_fields(&bad)[6].meaning.ends_with("DOES NOT MATCH"));
    }

    #[test]
    fn the_fields_of_a_record_are_those_of_its_head_and_its_operations() {
        let fields = texts(&LOG[206..267], &record_fields(&LOG[206..267]));
        let names: Vec<_> = fields.iter().map(|field| field.split(|c: char| c.is_ascii_digit()).next().unwrap_or("")).collect();
        let put = ["operation ", "key length ", "value length ", "key ", "value "];
        let head = ["check ", "body length ", "sequence ", "durable ", "link ", "body check ", "kind "];
        assert_eq!(names, [&head[..], &put, &put, &["operation ", "key length ", "key "]].concat());
        assert_eq!(fields[2], "sequence 8..16 write 8");
        assert_eq!(fields[7..9], ["operation 33..34 1: put", "key length 34..38 1"]);
        assert_eq!(record_fields(&LOG[206..]), record_fields(&LOG[206..267]), "it ends with its body");
        assert_eq!(record_fields(&LOG[64..])[7].name, "random");
        assert_eq!(record_fields(&LOG[267..])[6].meaning, "3: closed cleanly");
    }

    #[test]
    fn bytes_of_a_partial_record_have_fields_as_far_as_they_go() {
        for end in 206..267 {
            texts(&LOG[206..end], &record_fields(&LOG[206..end]));
        }
        let fields = record_fields(&LOG[206..245]);
        assert_eq!((fields[9].name, fields[9].meaning.as_str()), ("value length", "1 of its 4 bytes"));
        for seed in 0..200_u32 {
            let junk: Vec<u8> = (0..90).map(|n| record::crc(seed, &[n]).to_le_bytes()[0] % 7).collect();
            texts(&junk, &record_fields(&junk));
        }
    }
}

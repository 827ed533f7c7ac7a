//! The header of a log or a snapshot, also when it is damaged. A damaged header does not hide the records after it:
//!
//! 1. Set the fixed fields (the first bytes, in a log also the version and the zeros) to their values. If the header's
//!    checksum holds then, or holds after flipping one bit of the rest, these bytes are the header.
//! 2. Otherwise any whole record gives the salt, with which all checksums begin. With it, step 1 is tried again.
//! 3. Otherwise the records are read from the first whole one on. The store and the number of earlier records are
//!    unknown. For a snapshot, the store and the last write are known if the salt, which is computed from them,
//!    confirms them.
//!
//! A file with other first bytes and without any record is not a file of this program.

use crate::disk::{File, read_full_at};
use crate::error::{Error, Result};
use crate::record::{self, Kind};
use crate::recovery::read_header;
use crate::scan::{Frames, find_salt};
use crate::{Seq, StoreId, magic, snapshot, wal};
use std::path::Path;
use std::sync::{Arc, LazyLock};

/// The header of a log, or as much of it as is known.
#[derive(Debug)]
pub(crate) struct LogHead {
    /// An unknown store id is zeros, an unknown base is the number before the first whole record.
    pub(crate) header: wal::Header,
    /// Whether the whole header is known.
    pub(crate) is_known: bool,
    /// The damage of the header.
    pub(crate) damage: Option<String>,
    at: u64,
    link: u32,
}

impl LogHead {
    /// A reader that begins at the first record.
    pub(crate) fn frames(&self, file: Arc<dyn File>, path: &Path) -> Result<Frames> {
        let frames = Frames::new(file, path, Kind::WRITE, self.header.salt, self.at, self.header.base)?;
        Ok(frames.behind(self.link))
    }

    /// Whether the first record of the log is there, so that none is missing before it.
    pub(crate) fn begins(&self) -> bool {
        self.is_known || self.link == self.header.salt
    }

    fn known(header: wal::Header, damage: Option<String>) -> LogHead {
        LogHead { header, is_known: true, damage, at: wal::HEADER_BYTES as u64, link: header.salt }
    }
}

/// Reads the header of a log, or finds its records without it.
///
/// # Errors
/// If no record is found, the error of the header. Always [`Error::Version`] and [`Error::Io`].
pub(crate) fn log_head(file: &Arc<dyn File>, path: &Path) -> Result<LogHead> {
    let (error, damage) = match read_header(&**file, path) {
        Ok(header) => return Ok(LogHead::known(header, None)),
        Err(error @ Error::Foreign { .. }) => (error, OTHER_FIRST_BYTES.replace("FILE", "log")),
        Err(Error::Damaged { path, offset, reason }) => (Error::damaged(&path, offset, reason.clone()), reason),
        Err(other) => return Err(other),
    };
    let bytes = first_bytes::<{ wal::HEADER_BYTES }>(file, path)?;
    let repaired = |salt| bytes.and_then(|bytes| repaired_log(bytes, salt));
    if let Some(header) = repaired(None) {
        return Ok(LogHead::known(header, Some(damage)));
    }
    let found = find_salt(Arc::clone(file), path, 0)?;
    let Some((salt, at, first)) = found.filter(|(.., first)| [Kind::WRITE, Kind::OPENED, Kind::CLOSED].contains(&first.kind))
    else {
        return Err(error);
    };
    if let Some(header) = repaired(Some(salt)).filter(|header| header.base <= first.seq) {
        return Ok(LogHead::known(header, Some(damage)));
    }
    let base = if first.kind == Kind::WRITE { first.seq.saturating_sub(1) } else { first.seq };
    let header = wal::Header { store_id: StoreId([0; 16]), salt, base };
    let damage = match damage.split_once("; ").unwrap_or((&damage, "")) {
        _ if at == wal::HEADER_BYTES as u64 => damage,
        (what, "") => format!("{what}; the first whole record is at byte {at}"),
        (what, rest) => format!("{what}; the first whole record is at byte {at}; {rest}"),
    };
    Ok(LogHead { header, is_known: false, damage: Some(damage), at, link: first.link })
}

/// The header of a snapshot, or as much of it as is known.
#[derive(Debug)]
pub(crate) struct SnapshotHead {
    /// The header, if all of it is known.
    pub(crate) header: Option<snapshot::Header>,
    pub(crate) store_id: Option<StoreId>,
    pub(crate) seq: Option<Seq>,
    /// The damage of the header.
    pub(crate) damage: Option<String>,
    salt: u32,
    at: u64,
    link: u32,
    /// The number of the block before the first.
    before: Seq,
}

impl SnapshotHead {
    /// A reader that begins at the first block.
    pub(crate) fn frames(&self, file: Arc<dyn File>, path: &Path) -> Result<Frames> {
        Ok(Frames::new(file, path, Kind::ENTRIES, self.salt, self.at, self.before)?.behind(self.link))
    }

    fn known(header: snapshot::Header, damage: Option<String>) -> SnapshotHead {
        let (salt, at) = (header.salt(), snapshot::HEADER_BYTES as u64 + u64::from(header.meta_len));
        let (store_id, seq) = (Some(header.store_id), Some(header.seq));
        SnapshotHead { header: Some(header), store_id, seq, damage, salt, at, link: salt, before: 0 }
    }
}

/// Reads the header of a snapshot, or finds its blocks without it. `log` is the header of the log beside it.
///
/// # Errors
/// If no block is found, the error of the header. Always [`Error::Version`] and [`Error::Io`].
pub(crate) fn snapshot_head(file: &Arc<dyn File>, path: &Path, log: Option<&wal::Header>) -> Result<SnapshotHead> {
    let (error, damage) = match snapshot::read_header(&**file, path) {
        Ok(header) => return Ok(SnapshotHead::known(header, None)),
        Err(error @ Error::Foreign { .. }) => (error, OTHER_FIRST_BYTES.replace("FILE", "snapshot")),
        Err(Error::Damaged { path, offset, reason }) => (Error::damaged(&path, offset, reason.clone()), reason),
        Err(other) => return Err(other),
    };
    let bytes = first_bytes::<{ snapshot::HEADER_BYTES }>(file, path)?;
    if let Some(header) = bytes.and_then(repaired_snapshot) {
        return Ok(SnapshotHead::known(header, Some(damage)));
    }
    let found = find_salt(Arc::clone(file), path, 0)?;
    let Some((salt, at, first)) = found.filter(|(.., first)| [Kind::ENTRIES, Kind::INDEX].contains(&first.kind)) else {
        return Err(error);
    };
    let claimed = bytes.and_then(claimed_by_snapshot);
    let (ids, seqs) = (
        [claimed.map(|header| header.store_id), log.map(|log| log.store_id)],
        [claimed.map(|header| header.seq), log.map(|log| log.base)],
    );
    let pairs = ids.into_iter().flatten().flat_map(|id| seqs.into_iter().flatten().map(move |seq| (id, seq)));
    let confirmed = pairs.into_iter().find(|(id, seq)| snapshot::salt_of(*id, *seq) == salt);
    let before = if first.kind == Kind::ENTRIES { first.seq.saturating_sub(1) } else { first.seq };
    let (store_id, seq) = (confirmed.map(|(id, _)| id), confirmed.map(|(_, seq)| seq));
    Ok(SnapshotHead { header: None, store_id, seq, damage: Some(damage), salt, at, link: first.link, before })
}

const OTHER_FIRST_BYTES: &str = "its first bytes are not those of a FILE, but the records of a FILE follow them";

/// `None` if the file is shorter.
fn first_bytes<const LEN: usize>(file: &Arc<dyn File>, path: &Path) -> Result<Option<[u8; LEN]>> {
    let mut bytes = [0; LEN];
    let got = read_full_at(&**file, 0, &mut bytes).map_err(Error::io("reading", path))?;
    Ok((got == LEN).then_some(bytes))
}

/// For each bit of a header, the change of the checksum when this bit flips. The table is made for a header of a
/// snapshot. A header of a log is shorter and uses the last part of the table.
static CHANGES: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut bytes = [0; snapshot::HEADER_BYTES - CHECK_BYTES];
    let none = record::crc(0, &bytes);
    let bits = 0..bytes.len() * 8;
    bits.map(|bit| {
        bytes[bit / 8] = 1 << (bit % 8);
        let change = record::crc(0, &bytes) ^ none;
        bytes[bit / 8] = 0;
        change
    })
    .collect()
});

const CHECK_BYTES: usize = 4;

/// Flips the one bit that makes the checksum at the end hold, if there is one. Returns whether the checksum
/// holds now.
fn repair_bit(bytes: &mut [u8]) -> bool {
    let (covered, check) = bytes.split_at_mut(bytes.len() - CHECK_BYTES);
    let differs = record::le32(check, 0) ^ record::crc(0, covered);
    if differs.count_ones() <= 1 {
        check.copy_from_slice(&record::crc(0, covered).to_le_bytes());
        return true;
    }
    let changes = &CHANGES[CHANGES.len() - covered.len() * 8..];
    let bit = changes.iter().position(|&change| change == differs);
    if let Some(bit) = bit {
        covered[bit / 8] ^= 1 << (bit % 8);
    }
    bit.is_some()
}

fn repaired_log(mut bytes: [u8; wal::HEADER_BYTES], salt: Option<u32>) -> Option<wal::Header> {
    let sound = wal::Header { store_id: StoreId([0; 16]), salt: salt.unwrap_or(0), base: 0 }.encode();
    let mut at = 0;
    for (name, len) in wal::FIELDS {
        if ["magic", "version", "zero"].contains(&name) || name == "salt" && salt.is_some() {
            bytes[at..at + len].copy_from_slice(&sound[at..at + len]);
        }
        at += len;
    }
    repair_bit(&mut bytes).then(|| wal::Header::decode(Path::new(""), &bytes).ok()).flatten()
}

fn repaired_snapshot(mut bytes: [u8; snapshot::HEADER_BYTES]) -> Option<snapshot::Header> {
    bytes[..magic::SNAPSHOT.len()].copy_from_slice(&magic::SNAPSHOT);
    repair_bit(&mut bytes).then(|| snapshot::Header::decode(Path::new(""), &bytes).ok()).flatten()
}

/// The contents of a header whose checksum does not hold.
fn claimed_by_snapshot(mut bytes: [u8; snapshot::HEADER_BYTES]) -> Option<snapshot::Header> {
    const CHECK_AT: usize = snapshot::HEADER_BYTES - CHECK_BYTES;
    bytes[..magic::SNAPSHOT.len()].copy_from_slice(&magic::SNAPSHOT);
    bytes[magic::SNAPSHOT.len()..][..4].copy_from_slice(&crate::SNAPSHOT_FORMAT.to_le_bytes());
    let check = record::crc(0, &bytes[..CHECK_AT]);
    bytes[CHECK_AT..].copy_from_slice(&check.to_le_bytes());
    snapshot::Header::decode(Path::new(""), &bytes).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Options;
    use crate::disk::{Disk, OsDisk};
    use std::path::PathBuf;

    /// A log of some writes after a snapshot.
    fn files() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
        let engine = Options::new(&log, &snapshot).open().unwrap();
        for n in 0..3 {
            engine.put(format!("key{n}"), "value").unwrap();
        }
        engine.snapshot().unwrap();
        for n in 3..6 {
            engine.put(format!("key{n}"), "value").unwrap();
        }
        engine.close().unwrap();
        (dir, log, snapshot)
    }

    fn open(path: &Path) -> Arc<dyn File> {
        OsDisk.open_read(path).unwrap().unwrap()
    }

    #[test]
    fn case_04_any_flipped_bit_of_a_header_is_repaired() {
        let (_dir, log, snapshot) = files();
        let (due, held) =
            (read_header(&*open(&log), &log).unwrap(), snapshot::read_header(&*open(&snapshot), &snapshot).unwrap());
        let (of_log, of_snapshot) = (std::fs::read(&log).unwrap(), std::fs::read(&snapshot).unwrap());
        for bit in 0..wal::HEADER_BYTES * 8 {
            let mut bytes = of_log.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&log, bytes).unwrap();
            let head = log_head(&open(&log), &log).unwrap();
            assert!(head.header == due && head.is_known && head.damage.is_some(), "bit {bit}: {head:?}");
        }
        for bit in 0..snapshot::HEADER_BYTES * 8 {
            let mut bytes = of_snapshot.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&snapshot, bytes).unwrap();
            let head = snapshot_head(&open(&snapshot), &snapshot, None).unwrap();
            assert!(head.header == Some(held) && head.damage.is_some(), "bit {bit}: {head:?}");
        }
    }

    /// Each field of a log's header is overwritten, and then the whole header.
    #[test]
    fn case_04_a_lost_field_does_not_hide_the_records() {
        let (_dir, log, _snapshot) = files();
        let (good, due) = (std::fs::read(&log).unwrap(), read_header(&*open(&log), &log).unwrap());
        let mut at = 0;
        let fields = wal::FIELDS.map(|(name, len)| {
            at += len;
            (name, at - len..at)
        });
        for (name, field) in fields.into_iter().chain([("all", 0..wal::HEADER_BYTES)]) {
            for junk in [0, b'?'] {
                let mut bytes = good.clone();
                bytes[field.clone()].fill(junk);
                if bytes == good {
                    continue;
                }
                std::fs::write(&log, bytes).unwrap();
                let head = log_head(&open(&log), &log).unwrap();
                let proven = ["magic", "version", "salt", "zero"].contains(&name);
                assert_eq!(head.is_known, proven, "{name}");
                assert_eq!((head.header.salt, head.header.base, head.begins()), (due.salt, due.base, true), "{name}");
                assert_eq!(head.header.store_id == due.store_id, proven, "{name}");
                assert_eq!(head.frames(open(&log), &log).unwrap().offset(), wal::HEADER_BYTES as u64);
            }
        }
    }

    #[test]
    fn case_04_the_store_and_number_of_a_snapshot_are_known_by_its_salt() {
        let (_dir, log, snapshot) = files();
        let (good, held) = (std::fs::read(&snapshot).unwrap(), snapshot::read_header(&*open(&snapshot), &snapshot).unwrap());
        let log_header = read_header(&*open(&log), &log).unwrap();
        for (lost, log, known) in [
            (40..60, None, true), // entries and what follows
            (12..28, None, false),
            (12..28, Some(&log_header), true),
            (32..40, None, false),
            (32..40, Some(&log_header), true),
            (0..96, None, false),
            (0..96, Some(&log_header), true),
        ] {
            let mut bytes = good.clone();
            bytes[lost.clone()].fill(b'?');
            std::fs::write(&snapshot, bytes).unwrap();
            let head = snapshot_head(&open(&snapshot), &snapshot, log).unwrap();
            let due = known.then_some((held.store_id, held.seq));
            assert_eq!(head.store_id.zip(head.seq), due, "{lost:?}");
            assert!(head.header.is_none());
        }
    }

    #[test]
    fn case_04_a_file_without_a_record_is_foreign() {
        let (_dir, log, snapshot) = files();
        let foreign = |path: &Path, bytes: &[u8]| {
            std::fs::write(path, bytes).unwrap();
            let error = match path == log {
                true => log_head(&open(path), path).unwrap_err(),
                false => snapshot_head(&open(path), path, None).unwrap_err(),
            };
            matches!(error, Error::Foreign { .. })
        };
        let (of_log, of_snapshot) = (std::fs::read(&log).unwrap(), std::fs::read(&snapshot).unwrap());
        for text in [&b"KVLG\x01\0"[..], b"#!/bin/sh\n", &[0; 500], &[b'a'; 5000]] {
            assert!(foreign(&log, text) && foreign(&snapshot, text));
        }
        assert!(foreign(&log, &of_snapshot) && foreign(&snapshot, &of_log), "swapped");
    }
}

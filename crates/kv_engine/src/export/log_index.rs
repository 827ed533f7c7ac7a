//! [`LogIndex`]: the last operation on each key in a log, in key order, in a few MB of memory (`sorter.rs`).
//!
//! A short value is kept with its key. A longer value stays in the log and is read when it is needed. A checksum taken
//! at the first look is compared then: a running store may have truncated its log to the last good record and written
//! something else there.

use crate::disk::{File, read_full_at};
use crate::error::{Error, Result};
use crate::record::{HEADER_BYTES, crc, le32, le64};
use crate::scan::Frame;
use crate::sorter::{Sorted, Sorter};
use crate::state::OpRef;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An operation is a byte of flags, then the value, or where it is in the log.
#[derive(Debug, Default)]
pub(super) struct LogIndex {
    ops: Sorter,
    log: Log,
}

/// The operation is newer than the snapshot.
const NEWER: u8 = 1;
const DELETED: u8 = 2;
/// The value stays in the log: offset (8 bytes), length (4), CRC-32 (4).
const STAYS: u8 = 4;
const PLACE_BYTES: usize = 16;
/// Values up to this length are kept, if there is a file for them: copying them in order costs less than reading them
/// one by one.
const KEPT_BYTES: usize = 256;

#[derive(Debug, Default)]
struct Log {
    /// `None`: there is no log.
    file: Option<Arc<dyn File>>,
    path: PathBuf,
}

impl LogIndex {
    /// An empty index of the log `file`.
    pub(super) fn of(file: Arc<dyn File>, path: &Path) -> LogIndex {
        LogIndex { ops: Sorter::default(), log: Log { file: Some(file), path: path.to_path_buf() } }
    }

    /// Adds one operation of a write.
    pub(super) fn add(&mut self, frame: &Frame<'_>, op: OpRef<'_>, newer: bool) {
        let flags = if newer { NEWER } else { 0 };
        let most = if self.ops.spills() { KEPT_BYTES } else { PLACE_BYTES };
        match op.value {
            None => self.ops.add(op.key, &[flags | DELETED], b""),
            Some(value) if value.len() <= most => self.ops.add(op.key, &[flags], value),
            Some(value) => {
                let inside = value.as_ptr().addr() - frame.body.as_ptr().addr();
                let offset = frame.offset + (HEADER_BYTES + inside) as u64;
                let len = u32::try_from(value.len()).expect("lengths are limited");
                let mut place = [0; PLACE_BYTES];
                place[..8].copy_from_slice(&offset.to_le_bytes());
                place[8..12].copy_from_slice(&len.to_le_bytes());
                place[12..].copy_from_slice(&crc(0, value).to_le_bytes());
                self.ops.add(op.key, &[flags | STAYS], &place);
            }
        }
    }

    /// The whole log is added. Only from now on operations can be read.
    pub(super) fn finish(&mut self) {
        self.ops.finish();
    }

    /// The last operation on each key, in key order.
    pub(super) fn ops(&self) -> Result<Ops<'_>> {
        Ok(Ops { sorted: self.ops.sorted()?, log: &self.log, value: Vec::new() })
    }
}

/// The operations of an index in key order: a cursor.
pub(super) struct Ops<'a> {
    sorted: Sorted<'a>,
    log: &'a Log,
    value: Vec<u8>,
}

impl Ops<'_> {
    /// The key at the cursor. `None`: behind the last one.
    pub(super) fn key(&self) -> Option<&[u8]> {
        self.sorted.get().map(|(key, _)| key)
    }

    /// Whether the operation at the cursor is newer than the snapshot.
    pub(super) fn is_newer(&self) -> bool {
        self.sorted.get().is_some_and(|(_, op)| op[0] & NEWER != 0)
    }

    /// The operation at the cursor, with its value. An error: the value could not be read.
    pub(super) fn read(&mut self) -> Result<Option<OpRef<'_>>> {
        let Some((key, op)) = self.sorted.get() else { return Ok(None) };
        let (flags, rest) = op.split_first().expect("an operation begins with its flags");
        let value = match flags & (DELETED | STAYS) {
            DELETED => None,
            STAYS => {
                self.log.read(rest, &mut self.value)?;
                Some(&self.value[..])
            }
            _ => Some(rest),
        };
        Ok(Some(OpRef { key, value }))
    }

    pub(super) fn next(&mut self) -> Result<()> {
        self.sorted.next()
    }
}

impl Log {
    /// Reads the value at `place`.
    fn read(&self, place: &[u8], value: &mut Vec<u8>) -> Result<()> {
        let file = self.file.as_deref().expect("a value that stays in a log came from one");
        let (at, len, check) = (le64(place, 0), le32(place, 8), le32(place, 12));
        value.resize(len as usize, 0);
        let got = read_full_at(file, at, value).map_err(Error::io("reading", &self.path))?;
        if got < value.len() || crc(0, value) != check {
            return Err(Error::damaged(&self.path, at, "the value here has changed since it was first read"));
        }
        Ok(())
    }
}

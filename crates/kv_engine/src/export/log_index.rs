//! [`LogIndex`]: the last operation on each key in a log; and [`Merge`], which merges it with the entries of a
//! snapshot.
//!
//! Memory holds the keys, and values that are shorter than their place in the log. A longer value stays in the log and
//! is read when it is needed. A checksum taken at the first look is compared then: a running store may have truncated
//! its log to the last good record and written something else there.

use crate::disk::{File, read_full_at};
use crate::error::{Error, Result};
use crate::record::{HEADER_BYTES, crc, le32, le64};
use crate::scan::Frame;
use crate::state::OpRef;
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Keys with their operations, one after another as they came: two large allocations and not many small ones.
#[derive(Debug, Default)]
pub(super) struct LogIndex {
    bytes: Vec<u8>,
    places: Vec<Place>,
    log: Log,
}

/// Where a key is in `bytes`. The operation follows it: a byte of flags, then the value or its place in the log.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    key_len: u32,
    op_len: u32,
}

/// The operation is newer than the snapshot.
const NEWER: u8 = 1;
const DELETED: u8 = 2;
/// The value stays in the log: offset (8 bytes), length (4), CRC-32 (4).
const STAYS: u8 = 4;
const PLACE_BYTES: usize = 16;

#[derive(Clone, Debug, Default)]
struct Log {
    /// `None`: there is no log.
    file: Option<Arc<dyn File>>,
    path: PathBuf,
}

impl LogIndex {
    /// An empty index of the log `file`.
    pub(super) fn of(file: Arc<dyn File>, path: &Path) -> LogIndex {
        LogIndex { log: Log { file: Some(file), path: path.to_path_buf() }, ..LogIndex::default() }
    }

    /// Adds one operation of a write.
    pub(super) fn add(&mut self, frame: &Frame<'_>, op: OpRef<'_>, newer: bool) {
        let at = self.bytes.len();
        let flags = if newer { NEWER } else { 0 };
        self.bytes.extend_from_slice(op.key);
        match op.value {
            None => self.bytes.push(flags | DELETED),
            Some(value) if value.len() <= PLACE_BYTES => {
                self.bytes.push(flags);
                self.bytes.extend_from_slice(value);
            }
            Some(value) => {
                let inside = value.as_ptr().addr() - frame.body.as_ptr().addr();
                let offset = frame.offset + (HEADER_BYTES + inside) as u64;
                self.bytes.push(flags | STAYS);
                self.bytes.extend_from_slice(&offset.to_le_bytes());
                self.bytes.extend_from_slice(&short(value.len()).to_le_bytes());
                self.bytes.extend_from_slice(&crc(0, value).to_le_bytes());
            }
        }
        let op_len = self.bytes.len() - at - op.key.len();
        self.places.push(Place { at, key_len: short(op.key.len()), op_len: short(op_len) });
    }

    /// The last operation on each key, in key order. Its flags and value are the value of the result.
    fn last_ops(&mut self) -> impl Iterator<Item = OpRef<'_>> {
        let bytes = &self.bytes;
        let key = |place: &Place| &bytes[place.at..][..place.key_len as usize];
        // Of each key the last operation comes first, and `dedup_by` keeps that one.
        self.places.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(b.at.cmp(&a.at)));
        self.places.dedup_by(|later, kept| key(later) == key(kept));
        self.places.iter().map(|place| {
            let (key, op) = bytes[place.at..].split_at(place.key_len as usize);
            OpRef { key, value: Some(&op[..place.op_len as usize]) }
        })
    }

    /// A merge with a snapshot. It gives the merged entries to `each`.
    pub(super) fn merge<'s, E>(&'s mut self, each: &'s mut E) -> Merge<'s, impl Iterator<Item = OpRef<'s>>, E>
    where
        E: FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    {
        let log = self.log.clone();
        let ops = self.last_ops().peekable();
        Merge { ops, log, value: Vec::new(), each, flow: ControlFlow::Continue(()), unread: Vec::new() }
    }
}

fn short(len: usize) -> u32 {
    u32::try_from(len).expect("lengths are limited")
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

/// Merges the entries of a snapshot, which come in key order, with the operations of the log.
pub(super) struct Merge<'s, W: Iterator, E> {
    ops: Peekable<W>,
    log: Log,
    value: Vec<u8>,
    each: &'s mut E,
    flow: ControlFlow<()>,
    unread: Vec<Error>,
}

impl<'s, W: Iterator<Item = OpRef<'s>>, E: FnMut(&[u8], &[u8]) -> ControlFlow<()>> Merge<'s, W, E> {
    fn give(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let (Some(value), ControlFlow::Continue(())) = (value, self.flow) {
            self.flow = (self.each)(key, value);
        }
    }

    fn give_op(&mut self, op: OpRef<'_>) {
        match op.value.and_then(<[u8]>::split_first) {
            Some((flags, value)) if flags & (DELETED | STAYS) == 0 => self.give(op.key, Some(value)),
            Some((flags, place)) if flags & STAYS != 0 && self.flow.is_continue() => {
                let mut value = std::mem::take(&mut self.value);
                match self.log.read(place, &mut value) {
                    Ok(()) => self.give(op.key, Some(&value)),
                    Err(error) => self.unread.push(error),
                }
                self.value = value;
            }
            _ => {}
        }
    }

    /// Takes the next entry of the snapshot.
    pub(super) fn entry(&mut self, entry: OpRef<'_>) -> ControlFlow<()> {
        while let Some(op) = self.ops.next_if(|op| op.key < entry.key) {
            self.give_op(op);
        }
        match self.ops.next_if(|op| op.key == entry.key) {
            Some(op) if op.value.is_some_and(|op| op[0] & NEWER != 0) => self.give_op(op),
            _ => self.give(entry.key, entry.value),
        }
        self.flow
    }

    /// Gives the operations after the last entry of the snapshot. Returns the errors of values that could not be read
    /// again. Their entries were left out.
    pub(super) fn finish(mut self) -> Vec<Error> {
        while self.flow.is_continue()
            && let Some(op) = self.ops.next()
        {
            self.give_op(op);
        }
        self.unread
    }
}

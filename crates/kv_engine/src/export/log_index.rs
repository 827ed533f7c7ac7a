//! [`LogIndex`]: what a log says of each key that it touches, the last word only; and [`Merge`], which puts it together
//! with the entries of a snapshot.
//!
//! In memory are the keys, and values that are shorter than what it takes to find them again. A longer one stays in
//! the log and is read when its turn comes, against a checksum taken at the first look: a running store may have
//! cut its log back to the last good record meanwhile, and written something else there.

use crate::disk::{File, read_full_at};
use crate::error::{Error, Result};
use crate::record::{HEADER_BYTES, crc, le32, le64};
use crate::scan::Frame;
use crate::state::OpRef;
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Keys, each with the word on it, one behind another as they came: two large pieces of memory instead of many small ones.
#[derive(Debug, Default)]
pub(super) struct LogIndex {
    bytes: Vec<u8>,
    places: Vec<Place>,
    log: Log,
}

/// Where a key stands in `bytes`, and behind it the word: a byte of flags, then the value or where it is.
#[derive(Clone, Copy, Debug)]
struct Place {
    at: usize,
    key_len: u32,
    word_len: u32,
}

/// It counts for more than what the snapshot says.
const NEWER: u8 = 1;
const DELETED: u8 = 2;
/// The value stays in the log: offset (8 bytes), length (4), CRC-32 (4).
const STAYS: u8 = 4;
const PLACE_BYTES: usize = 16;

#[derive(Clone, Debug, Default)]
struct Log {
    /// `None`: nothing was heard.
    file: Option<Arc<dyn File>>,
    path: PathBuf,
}

impl LogIndex {
    /// Nothing yet, of the log `file`.
    pub(super) fn of(file: Arc<dyn File>, path: &Path) -> LogIndex {
        LogIndex { log: Log { file: Some(file), path: path.to_path_buf() }, ..LogIndex::default() }
    }

    /// One operation of a write.
    pub(super) fn hear(&mut self, frame: &Frame<'_>, op: OpRef<'_>, newer: bool) {
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
        let word_len = self.bytes.len() - at - op.key.len();
        self.places.push(Place { at, key_len: short(op.key.len()), word_len: short(word_len) });
    }

    /// The last word on each key, in key order, as the value of an operation.
    fn words(&mut self) -> impl Iterator<Item = OpRef<'_>> {
        let bytes = &self.bytes;
        let key = |place: &Place| &bytes[place.at..][..place.key_len as usize];
        // Of one key the latest first, which `dedup_by` keeps.
        self.places.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(b.at.cmp(&a.at)));
        self.places.dedup_by(|later, kept| key(later) == key(kept));
        self.places.iter().map(|place| {
            let (key, behind) = bytes[place.at..].split_at(place.key_len as usize);
            OpRef { key, value: Some(&behind[..place.word_len as usize]) }
        })
    }

    /// Ready to be merged, the entries to be handed to `each`.
    pub(super) fn merge<'s, E>(&'s mut self, each: &'s mut E) -> Merge<'s, impl Iterator<Item = OpRef<'s>>, E>
    where
        E: FnMut(&[u8], &[u8]) -> ControlFlow<()>,
    {
        let log = self.log.clone();
        let words = self.words().peekable();
        Merge { words, log, value: Vec::new(), each, flow: ControlFlow::Continue(()), unread: Vec::new() }
    }
}

fn short(len: usize) -> u32 {
    u32::try_from(len).expect("lengths are limited")
}

impl Log {
    /// The value that stands where `place` says.
    fn read(&self, place: &[u8], value: &mut Vec<u8>) -> Result<()> {
        let file = self.file.as_deref().expect("what stays in a log was heard of it");
        let (at, len, check) = (le64(place, 0), le32(place, 8), le32(place, 12));
        value.resize(len as usize, 0);
        let got = read_full_at(file, at, value).map_err(Error::io("reading", &self.path))?;
        if got < value.len() || crc(0, value) != check {
            return Err(Error::damaged(&self.path, at, "the value is another one than a moment ago"));
        }
        Ok(())
    }
}

/// Merges the entries of a snapshot, which come in key order, with what the log says.
pub(super) struct Merge<'s, W: Iterator, E> {
    words: Peekable<W>,
    log: Log,
    value: Vec<u8>,
    each: &'s mut E,
    flow: ControlFlow<()>,
    unread: Vec<Error>,
}

impl<'s, W: Iterator<Item = OpRef<'s>>, E: FnMut(&[u8], &[u8]) -> ControlFlow<()>> Merge<'s, W, E> {
    fn hand_over(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let (Some(value), ControlFlow::Continue(())) = (value, self.flow) {
            self.flow = (self.each)(key, value);
        }
    }

    fn hand_over_word(&mut self, op: OpRef<'_>) {
        match op.value.and_then(<[u8]>::split_first) {
            Some((flags, value)) if flags & (DELETED | STAYS) == 0 => self.hand_over(op.key, Some(value)),
            Some((flags, place)) if flags & STAYS != 0 && self.flow.is_continue() => {
                let mut value = std::mem::take(&mut self.value);
                match self.log.read(place, &mut value) {
                    Ok(()) => self.hand_over(op.key, Some(&value)),
                    Err(error) => self.unread.push(error),
                }
                self.value = value;
            }
            _ => {}
        }
    }

    /// The snapshot's next entry.
    pub(super) fn entry(&mut self, entry: OpRef<'_>) -> ControlFlow<()> {
        while let Some(op) = self.words.next_if(|op| op.key < entry.key) {
            self.hand_over_word(op);
        }
        match self.words.next_if(|op| op.key == entry.key) {
            Some(op) if op.value.is_some_and(|word| word[0] & NEWER != 0) => self.hand_over_word(op),
            _ => self.hand_over(entry.key, entry.value),
        }
        self.flow
    }

    /// What is behind the snapshot's last entry. Returns why values could not be read again, which were left out.
    pub(super) fn finish(mut self) -> Vec<Error> {
        while self.flow.is_continue()
            && let Some(op) = self.words.next()
        {
            self.hand_over_word(op);
        }
        self.unread
    }
}

//! [`Group`]: frames on their way into the log's file. After a failed write the file is as it was before, durably.
//!
//! Steps of [`Group::write`]:
//! 1. If the group begins with the OPENED mark of an opening, write the mark in two steps and sync each of them.
//! 2. Reserve space behind it, if needed.
//! 3. Write the rest.
//! 4. If one of these fails, truncate the file to its former length, and sync.
//!
//! [`Group::sync`] then makes the group durable.

use super::identity::FileState;
use crate::disk::{File, write_all_at};
use crate::record;
use std::io;
use std::sync::Arc;

/// This much of an OPENED mark is made durable before the rest: less than the shortest frame, the mark of a clean
/// close.
const FIRST_STEP_BYTES: usize = record::HEADER_BYTES - 1;

/// Length of an OPENED mark.
pub(crate) const OPENED_BYTES: usize = record::HEADER_BYTES + 8;

/// A position between two frames, at the end of the log or before it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Position {
    pub(super) at: u64,
    /// Check of the frame before it.
    pub(super) link: u32,
    /// Whether the OPENED mark of this opening is before it.
    pub(super) opened: bool,
    /// Whether a mark precedes it directly, or nothing: then no write lacks a proof that it was synced.
    pub(super) proven: bool,
}

/// Why a group was not written. The file was truncated to its former end, unless `torn` says why that failed.
#[derive(Debug)]
pub(crate) struct WriteFailure {
    pub(crate) cause: io::Error,
    pub(crate) torn: Option<io::Error>,
}

impl WriteFailure {
    /// Nothing was written, so there is nothing to undo in the file.
    pub(crate) fn not_tried() -> WriteFailure {
        WriteFailure { cause: io::Error::other("not written"), torn: None }
    }
}

/// Whether the disk was full, or a limit reached, so that the same write may succeed later.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(error.kind(), FileTooLarge | QuotaExceeded | StorageFull | WriteZero)
}

/// Frames that were taken out of the buffer, to be written and synced without the log's lock.
#[derive(Debug)]
pub(crate) struct Group {
    pub(super) file: Arc<dyn File>,
    pub(super) at: u64,
    pub(super) bytes: Arc<Vec<u8>>,
    pub(super) end: Position,
    /// If space is to be reserved before the write: the present length of the file, and the new one.
    pub(super) reserve: Option<(u64, u64)>,
    pub(super) reserved: bool,
    /// Whether the group begins with an OPENED mark that must be durable before the rest.
    pub(super) mark_first: bool,
    pub(super) before: FileState,
}

impl Group {
    /// Whether the group makes the file longer. Then the length afterwards does not show whether the file was truncated
    /// before.
    pub(crate) fn extends(&self) -> bool {
        self.reserve.is_some() || self.end.at > self.before.exact.unwrap_or(0)
    }

    /// What the log's name must show before the group is written.
    pub(crate) fn expected_before(&self) -> &FileState {
        &self.before
    }

    /// What the log's name must show after the group was written and synced.
    pub(crate) fn expected_after(&self) -> FileState {
        let exact = match self.reserve {
            Some((_, len)) => self.reserved.then_some(len),
            None => self.before.exact.filter(|&len| len >= self.end.at),
        };
        // The last bytes before the group must still be there. The group's own last bytes are checked with the next
        // group.
        FileState { least: self.end.at, exact, ..self.before }
    }

    /// The file that it is written to.
    pub(crate) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Hands the frames to the operating system. If that fails, the file is truncated to its former length, durably.
    pub(crate) fn write(&mut self) -> std::result::Result<(), WriteFailure> {
        self.write_in_order().map_err(|cause| {
            // Synced, because otherwise a power cut could bring back whole records of a refused write.
            let torn = self.file.set_len(self.at).and_then(|()| self.file.sync()).err();
            WriteFailure { cause, torn }
        })
    }

    fn write_in_order(&mut self) -> io::Result<()> {
        let (mark, rest) = self.bytes.split_at(if self.mark_first { OPENED_BYTES } else { 0 });
        let mut at = self.at;
        for step in mark.chunks(FIRST_STEP_BYTES) {
            write_all_at(&*self.file, at, step)?;
            self.file.sync()?;
            at += step.len() as u64;
        }
        if let Some((present_len, len)) = self.reserve {
            self.reserved = self.file.reserve(present_len + mark.len() as u64, len).is_ok();
        }
        write_all_at(&*self.file, at, rest)
    }

    /// As [`Group::write`], for a file that does not have its name yet.
    pub(crate) fn write_tmp(&mut self) -> io::Result<()> {
        self.write().map_err(|failure| failure.cause)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Truncates the reserved space behind the frames. Best effort: zeros at the end mean nothing.
    pub(crate) fn give_back(&self) {
        let _ = self.file.set_len(self.end.at);
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

//! Checks that the log on the disk is still the file that was opened.
//!
//! A sync makes the bytes of a file durable, under any name. Another process may have removed, renamed,
//! replaced, overwritten or truncated the log. Then no OK is given any more, because the next opening would not find
//! the writes.
//!
//! | when | what is checked |
//! |---|---|
//! | after each sync, by the leader of the round | the name shows this file, with the expected length and end |
//! | before a group is written that makes the file longer | the same |
//! | before FLUSH, a snapshot or close is answered; when the store is idle | the same, and the header |
//!
//! Only a difference that is seen counts. If the name cannot be looked at, that proves nothing.

use super::log::Guard;
use super::shared::Shared;
use crate::disk::File;
use crate::error::{Error, Result};
use crate::wal;

impl Shared {
    /// How the file under the log's name differs from the one expected, in words. `None` also if it cannot be looked
    /// at.
    pub(super) fn why_lost(&self, expected: &wal::FileState, file: &dyn File, header: bool) -> Option<String> {
        let named = self.disk.named(&self.wal_path).ok()?;
        expected.differs(named, file, header)
    }

    /// Passes `result` on. If it reports damage in the log itself, the log has failed: no write after the damage could
    /// be found again.
    pub(super) fn fail_if_log_damaged<T>(&self, result: Result<T>) -> Result<T> {
        let Err(Error::Damaged { path, offset, reason }) = &result else { return result };
        if *path != self.wal_path {
            return result;
        }
        let mut log = self.log()?;
        log.fail_as_lost(format!("damaged at byte {offset}: {reason}"));
        self.wake_all(&log);
        log.poisoned().map_or(result, Err)
    }

    /// Checks that the log still has its name and all its bytes.
    ///
    /// # Errors
    /// [`Error::Lost`], and from then on for every caller.
    pub(super) fn check_log(&self, log: &mut Guard<'_>) -> Result<()> {
        if log.deferred_log.is_some() {
            return Ok(());
        }
        let expected = log.wal.expected();
        // While a group is being written, its leader checks the length and the end.
        let expected = if log.running.is_some() { expected.by_name_alone() } else { expected };
        let lost = self.why_lost(&expected, log.wal.file(), true);
        if let Some(reason) = lost {
            log.fail_as_lost(reason);
            self.wake_all(log);
        }
        log.poisoned().map_or(Ok(()), Err)
    }

    /// As [`Shared::check_log`], for a caller that has not paused the log. During a pause of another thread a new log
    /// may have the name already and not be in use yet, so this waits for the end of the pause. If the store is closed
    /// then, the thread that closed it has checked the log.
    pub(super) fn check_log_after_pause<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        while log.paused {
            log = self.wait(log)?;
        }
        if log.closed {
            return log.poisoned().map_or(Ok(log), Err);
        }
        self.check_log(&mut log)?;
        Ok(log)
    }
}

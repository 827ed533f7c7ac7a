//! Whether the log is still the file that was opened, and the beginning of one where opening found none.
//!
//! A sync makes the bytes of a file durable, whatever its name. So after each sync, and before FLUSH, a snapshot and close
//! answer, somebody looks whether the log's name still shows this file, with the length that it has to have, and whether it ends
//! as it has to; FLUSH, a snapshot, close and the flusher look at its header, too. Somebody else may have removed, renamed, replaced, overwritten or cut it. Then no OK is given any more: the next opening would not find what was
//! written. Where a group makes the file longer, the leader looks before it writes, too.
//!
//! Only what is seen counts. A name that cannot be looked at is no proof of anything.

use super::Shared;
use super::log::{Guard, Log, Unwound};
use crate::disk::File;
use crate::error::{Error, Result};
use crate::recovery::DeferredLog;
use crate::sync::Ordering;
use crate::wal;

impl Log {
    /// Stops all writing, because the log is not what it was.
    pub(super) fn lose(&mut self, reason: String) {
        self.is_lost |= self.failure.is_none();
        self.fail(reason);
    }
}

impl Shared {
    /// What is wrong with what the log's name shows now, in words. What cannot be looked at is no proof of anything.
    pub(super) fn lost(&self, expected: &wal::FileState, file: &dyn File, header: bool) -> Option<String> {
        let named = self.disk.named(&self.wal_path).ok()?;
        expected.differs(named, file, header)
    }

    /// After damage in the log itself no write behind it can be found again, so no more is taken.
    pub(super) fn losing<T>(&self, result: Result<T>) -> Result<T> {
        let Err(Error::Damaged { path, offset, reason }) = &result else { return result };
        if *path != self.wal_path {
            return result;
        }
        let mut log = self.log()?;
        log.lose(format!("damaged at byte {offset}: {reason}"));
        self.wake_all(&log);
        log.poisoned().map_or(result, Err)
    }

    /// Finds out whether the log still has its name and all its bytes.
    ///
    /// # Errors
    /// [`Error::Lost`], and then to every caller.
    pub(super) fn check_log(&self, log: &mut Guard<'_>) -> Result<()> {
        if log.deferred_log.is_some() {
            return Ok(());
        }
        let expected = log.wal.expected();
        // A group that is out is looked after by whoever writes it.
        let expected = if log.running.is_some() { expected.by_name_alone() } else { expected };
        let lost = self.lost(&expected, log.wal.file(), true);
        if let Some(reason) = lost {
            log.lose(reason);
            self.wake_all(log);
        }
        log.poisoned().map_or(Ok(()), Err)
    }

    /// The same for who does not hold the log paused: meanwhile a new log may have got the name, and not be in use yet. Where the
    /// store is closed behind the pause, whoever closed it has looked.
    pub(super) fn check_log_behind_pause<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        while log.paused {
            log = self.wait(log)?;
        }
        if log.closed {
            return log.poisoned().map_or(Ok(log), Err);
        }
        self.check_log(&mut log)?;
        Ok(log)
    }

    /// Begins the log of a store that was opened without one. Writers wait meanwhile.
    pub(super) fn begin_log<'a>(&'a self, mut log: Guard<'a>, deferred_log: &DeferredLog) -> Result<Guard<'a>> {
        log.paused = true;
        let unwound = Unwound { shared: self, what: "the beginning of a log" };
        drop(log);
        let begun =
            self.failing_for_good(deferred_log.begin(&*self.disk, &self.wal_path, &self.snapshot_path, self.state.form()));
        let mut log = self.log()?;
        let done = begun.map(|(wal, header)| {
            self.salt.store(wal.salt(), Ordering::Relaxed);
            log.switch(wal);
            log.deferred_log = None;
            header
        });
        log.paused = false;
        self.wake_all(&log);
        std::mem::forget(unwound);
        self.now_on(&done?);
        Ok(log)
    }
}

//! [`Shared`]: an open store. All handles, iterators and threads of a store share one of these.

use super::checkpointer::Checkpointer;
use super::commit_delay::Arrivals;
use super::committer::Committer;
use super::flusher::Flusher;
use super::locks::Locks;
use super::log::{Guard, Log};
use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::merge_view::MergeView;
use crate::recovery::RecoveryReport;
use crate::sync::{AtomicU32, AtomicU64, Condvar, Mutex};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// An open store.
#[derive(Debug)]
pub(super) struct Shared {
    /// For threads that must not keep the store open.
    pub(super) me: Weak<Shared>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) wal_path: PathBuf,
    pub(super) snapshot_path: PathBuf,
    pub(super) flush_interval: Duration,
    pub(super) snapshot_on_close: bool,
    pub(super) recovery: RecoveryReport,
    /// The salt of the log's file, read without the log's lock. A stale value costs time and nothing else, see
    /// [`Body`](crate::record::Body).
    pub(super) salt: AtomicU32,
    /// Length of the snapshot in bytes.
    pub(super) snapshot_bytes: AtomicU64,
    pub(super) log: Mutex<Log>,
    /// Signalled when a sync, a pause or the store ends. All sleepers then look again.
    pub(super) changed: Condvar,
    pub(super) state: MergeView,
    pub(super) arrivals: Arrivals,
    pub(super) flusher: Flusher,
    pub(super) checkpointer: Checkpointer,
    pub(super) committer: Committer,
    /// `None` after close.
    pub(super) locks: Mutex<Option<Locks>>,
}

impl Shared {
    pub(super) fn log(&self) -> Result<Guard<'_>> {
        self.log.lock().map_err(|poisoned| self.panicked(&mut poisoned.into_inner()))
    }

    /// As [`Shared::log`], but an error if the store takes no more writes.
    pub(super) fn open_log(&self) -> Result<Guard<'_>> {
        let log = self.log()?;
        log.check_open()?;
        Ok(log)
    }

    /// The log for reading its figures, even after a panic.
    pub(super) fn log_always(&self) -> Guard<'_> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The log. If a thread has panicked while it held the lock, the log has failed.
    pub(super) fn log_or_panicked(&self) -> Guard<'_> {
        self.log.lock().unwrap_or_else(|poisoned| {
            let mut log = poisoned.into_inner();
            self.panicked(&mut log);
            log
        })
    }

    pub(super) fn panicked(&self, log: &mut Log) -> Error {
        let reason = "a thread of this program panicked while it was writing".to_string();
        log.fail(reason.clone());
        log.give_up_next();
        self.wake_all(log);
        Error::Poisoned { path: self.wal_path.clone(), reason, pending: log.pending() }
    }

    /// Sleeps until something has changed. Releases the log's lock while it sleeps.
    pub(super) fn wait<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        log.sleepers += 1;
        let mut log = self.changed.wait(log).map_err(|poisoned| self.panicked(&mut poisoned.into_inner()))?;
        log.sleepers -= 1;
        Ok(log)
    }

    /// As [`Shared::wait`], at most until the disk's clock shows `time`. `false`: nothing has changed until then.
    pub(super) fn wait_until<'a>(&'a self, mut log: Guard<'a>, time: Duration) -> Result<(Guard<'a>, bool)> {
        let left = time.saturating_sub(self.disk.now());
        if left.is_zero() {
            return Ok((log, false));
        }
        log.sleepers += 1;
        let waited = self.changed.wait_timeout(log, left);
        let (mut log, timeout) = waited.map_err(|poisoned| self.panicked(&mut poisoned.into_inner().0))?;
        log.sleepers -= 1;
        Ok((log, !timeout.timed_out()))
    }

    /// Wakes all sleepers. With no sleepers it does nothing: the system call would be paid at each sync.
    /// Wakes the committer if a caller wants to know when there is room: there may be room now.
    pub(super) fn wake_all(&self, log: &Log) {
        if log.sleepers > 0 {
            self.changed.notify_all();
        }
        if !log.submissions.room.is_empty() {
            self.committer.wake();
        }
    }

    /// Refuses if the lock files were removed or replaced: a file renamed into place now could replace a file of
    /// another store.
    pub(super) fn check_in_place(&self) -> Result<()> {
        match &*self.locks.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(locks) => locks.check_in_place(&self.wal_path, &self.snapshot_path),
            None => Ok(()),
        }
    }

    pub(super) fn note_contact(&self, contact: &str) {
        if let Some(locks) = &*self.locks.lock().unwrap_or_else(PoisonError::into_inner) {
            locks.note_contact(&self.wal_path, contact);
        }
    }

    /// Passes `result` on. After a failed sync of a directory the log has failed as well.
    pub(super) fn fail_if_poisoned<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Poisoned { reason, .. }) = &result {
            self.log()?.fail(reason.clone());
        }
        result
    }
}

/// Protects the threads that wait for the end of a sync or a pause against a panic of the thread that should wake them.
/// If that thread panics, this guard is dropped. It fails the log and wakes the waiting threads, so that they get an
/// error and do not wait for ever. The same happens if the thread finds the lock poisoned by the panic of another one.
/// After normal work the guard is forgotten, not dropped.
///
/// Make it before the log's guard, so that it is dropped after it.
pub(super) struct PanicGuard<'a> {
    shared: &'a Shared,
    during: &'static str,
}

impl<'a> PanicGuard<'a> {
    pub(super) fn new(shared: &'a Shared, during: &'static str) -> PanicGuard<'a> {
        PanicGuard { shared, during }
    }

    /// The work has ended without a panic.
    pub(super) fn forget(self) {
        std::mem::forget(self);
    }
}

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        let mut log = self.shared.log_always();
        log.fail(format!("a thread of this program panicked in {}", self.during));
        log.paused = false;
        self.shared.checkpointer.ended();
        let rounds = [log.running.take().map(|(round, _)| round), Some(std::mem::take(&mut log.next))];
        let result = log.end_round(None);
        drop(log);
        self.shared.changed.notify_all();
        self.shared.committer.wake();
        for round in rounds.into_iter().flatten() {
            round.free.set(());
            round.ended.set(result.clone());
        }
    }
}

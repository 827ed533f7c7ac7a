//! Closing a store.
//!
//! 1. Cancel a running checkpoint.
//! 2. With the log paused: make everything durable, then take the snapshot or write the mark of a clean close.
//! 3. Release the locks, so that another process can open the store.
//! 4. Wait until every submission is told.

use super::checkpointer::CheckpointLock;
use super::log::Guard;
use super::shared::Shared;
use crate::error::{Error, Result};
use crate::record::{Body, Kind};
use std::sync::PoisonError;

impl Shared {
    pub(super) fn close(&self) -> Result<()> {
        self.checkpointer.stop(true);
        let lock = self.checkpointer.lock();
        self.checkpointer.stop(false);
        let done = self.close_locked(&lock);
        drop(lock);
        self.wait_until_told();
        done
    }

    fn close_locked(&self, lock: &CheckpointLock<'_>) -> Result<()> {
        let ends = |done: &Result<()>| matches!(done, Ok(()) | Err(Error::Poisoned { .. } | Error::Lost { .. }));
        // No write may be accepted between the last sync and `closed`.
        let done = self.while_paused(|log| self.finish(log, lock), |log, done| log.closed = ends(done));
        if done.is_err() && self.locks.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            self.log_always().wal.leave_zero();
        }
        let done = match done {
            // Closed before, or right now by another thread: its result counts.
            Err(Error::Closed) => return self.log_always().poisoned().map_or(Ok(()), Err),
            done => done,
        };
        if ends(&done) {
            self.release();
        }
        done
    }

    /// Accepts no more writes and lets other processes open the store.
    pub(super) fn release(&self) {
        let mut log = self.log_always();
        log.closed = true;
        log.wal.file().unlock();
        self.wake_all(&log); // change feeds
        drop(log);
        drop(self.locks.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.flusher.wake();
        self.checkpointer.wake();
        self.committer.wake();
    }

    /// Step 2.
    fn finish(&self, log: Guard<'_>, lock: &CheckpointLock<'_>) -> Result<()> {
        if log.deferred_log.is_some() {
            return Ok(()); // nothing was written
        }
        if self.snapshot_on_close {
            return self.checkpoint_paused(log, lock).map(drop);
        }
        let log = self.make_durable(log)?;
        let mut log = if self.is_due_at_close(&log) { self.checkpoint_at_close(log, lock)? } else { log };
        self.check_log(&mut log)?;
        if log.wal.is_marked_closed() {
            return Ok(());
        }
        let seq = log.appended;
        let before = log.wal.position();
        let nothing = Body::new(b"", log.wal.salt());
        log.wal.append(Kind::CLOSED, seq, seq, || self.disk.entropy(), &nothing);
        let mut group = log.wal.take();
        drop(log);
        // Everything is durable already. The mark only helps recovery to see damage in the last group, so closing does
        // not fail if the disk has no room for it.
        let written = group.write();
        if written.is_ok() {
            group.give_back();
            let _ = group.sync();
        }
        let mut log = self.log()?;
        match written {
            Ok(()) => log.wal.complete(group),
            Err(_) => {
                log.wal.take_back(group, before, || self.disk.entropy());
                log.wal.leave_zero();
            }
        }
        Ok(())
    }
}

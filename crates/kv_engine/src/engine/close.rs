//! Closing a store: what is left to do, in order, and letting go of it.

use super::Shared;
use super::checkpointer::Alone;
use super::log::Guard;
use crate::error::{Error, Result};
use crate::record::{Body, Kind};
use std::sync::PoisonError;

impl Shared {
    pub(super) fn close(&self) -> Result<()> {
        self.checkpointer.stop(true); // a checkpoint under way is broken off
        let alone = self.checkpointer.alone();
        self.checkpointer.stop(false);
        self.close_now(&alone)
    }

    fn close_now(&self, alone: &Alone<'_>) -> Result<()> {
        let ends = |done: &Result<()>| matches!(done, Ok(()) | Err(Error::Poisoned { .. } | Error::Lost { .. }));
        // No writer may come in between the last sync and `closed`.
        let done = self.while_paused(|log| self.shut(log, alone), |log, done| log.closed = ends(done));
        if done.is_err() && self.locks.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            self.log_always().wal.leave_zero();
        }
        let done = match done {
            // Closed before, or at this moment by another thread: its outcome stands.
            Err(Error::Closed) => return self.log_always().poisoned().map_or(Ok(()), Err),
            done => done,
        };
        if ends(&done) {
            self.let_go();
        }
        done
    }

    /// Takes no more writes, and lets other processes open the store.
    pub(super) fn let_go(&self) {
        let mut log = self.log_always();
        log.closed = true;
        log.wal.file().unlock();
        drop(log);
        drop(self.locks.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.flusher.wake();
        self.checkpointer.wake();
    }

    /// With the log paused: everything durable, then the snapshot or the mark of an orderly close.
    fn shut(&self, log: Guard<'_>, alone: &Alone<'_>) -> Result<()> {
        if log.deferred_log.is_some() {
            return Ok(()); // nothing was written
        }
        if self.snapshot_on_close {
            return self.checkpoint_paused(log, alone).map(drop);
        }
        let log = self.make_durable(log)?;
        let mut log = if self.is_due_at_close(&log) { self.checkpoint_at_close(log, alone)? } else { log };
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
        // All is durable already. The mark only lets recovery see rot in the last group, so a disk
        // that has no room for it is no reason to refuse.
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

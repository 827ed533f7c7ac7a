//! Checkpoints while writers go on, and the thread that takes them.
//!
//! [`checkpoint`](crate::checkpoint) does the work, from the files. Writers wait in these cases only:
//! - at its beginning, if values stay in the snapshot: for a sync of the pending writes;
//! - while it runs, if the log has grown to more than eight times its limit: until it ends;
//! - at its end: for a sync of the pending writes, the copying of a few records, and the rename of the new log.
//!
//! The thread sleeps until the log is longer than the limit and than the snapshot, or until the interval has passed. If
//! a checkpoint fails, the statistics report it, and the next attempt comes when the log has grown by the limit again.
//! A store that is open only for short times may close before the thread runs, so closing takes the checkpoint that is
//! due.

use super::checkpointer::CheckpointLock;
use super::log::{Guard, Log};
use super::report::Snapshotted;
use super::shared::{PanicGuard, Shared};
use crate::checkpoint::{Successor, merge};
use crate::error::{Error, Result};
use crate::snapshot::{self, Form};
use crate::sync::Ordering;
use crate::sync::thread;
use crate::wal::{LogEnd, Wal};
use std::sync::Weak;
use std::time::Duration;

/// How often the end of the log is copied while writers go on, before they have to wait for the rest.
const MOST_ROUNDS: usize = 16;

/// What the thread does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Sleep,
    /// The store takes no more writes.
    End,
}

impl Shared {
    /// Wakes the thread if the log has become long. Called by a writer, without locks.
    pub(super) fn checkpoint_if_long(&self, log_bytes: u64) {
        let of = &self.checkpointer;
        if log_bytes >= of.due_bytes.load(Ordering::Relaxed) && of.due_bytes.swap(u64::MAX, Ordering::Relaxed) != u64::MAX {
            match self.start_checkpointer() {
                Ok(()) => of.wake(),
                Err(error) => of.set_failure(Some(format!("the thread could not be started: {error}"))),
            }
        }
    }

    /// Starts the thread if it does not run yet. It keeps the store open only while it works. A store whose log stays
    /// short has none.
    pub(super) fn start_checkpointer(&self) -> std::io::Result<()> {
        if self.checkpointer.thread.get().is_some() {
            return Ok(());
        }
        let (weak, interval) = (Weak::clone(&self.me), self.checkpointer.interval);
        let body = move || {
            loop {
                if interval.is_zero() {
                    thread::park()
                } else {
                    thread::park_timeout(interval)
                }
                let Some(shared) = weak.upgrade() else { return };
                if shared.checkpoint_if_due() == Next::End {
                    return;
                }
            }
        };
        let handle = thread::Builder::new().name("kv-checkpointer".into()).spawn(body)?;
        let _ = self.checkpointer.thread.set(handle.thread().clone());
        Ok(())
    }

    /// Takes a checkpoint when the log is long or old enough.
    pub(super) fn checkpoint_if_due(&self) -> Next {
        let of = &self.checkpointer;
        let log = self.log_always();
        if log.closed || log.failure.is_some() {
            return Next::End;
        }
        let is_due = log.appended > log.counts.snapshot_seq && (self.is_long(&log) || !of.interval.is_zero());
        drop(log);
        let failed = of.note(if is_due { self.checkpoint().map(drop) } else { Ok(()) });
        let log_bytes = self.log_always().wal.len_bytes();
        let wait_for = if failed { log_bytes + of.limit_bytes } else { 0 };
        if of.limit_bytes > 0 {
            let due = of.limit_bytes.max(self.snapshot_bytes.load(Ordering::Relaxed)).max(wait_for);
            of.due_bytes.store(due, Ordering::Relaxed);
        }
        Next::Sleep
    }

    /// Whether the log is over its limit. It may always become as long as the snapshot.
    fn is_long(&self, log: &Log) -> bool {
        let limit = self.checkpointer.limit_bytes;
        limit > 0 && log.wal.len_bytes() >= limit.max(self.snapshot_bytes.load(Ordering::Relaxed))
    }

    /// Whether closing takes a checkpoint: something was written since the store was opened, the log is over its limit,
    /// and the thread has not failed to take one.
    pub(super) fn is_due_at_close(&self, log: &Log) -> bool {
        log.appended > self.recovery.last_seq && self.is_long(log) && self.checkpointer.failure().is_none()
    }

    /// Takes that checkpoint, with the log paused. If it fails, closing goes on, unless the log has failed.
    pub(super) fn checkpoint_at_close(&self, log: Guard<'_>, lock: &CheckpointLock<'_>) -> Result<Guard<'_>> {
        let taken = self.checkpoint_paused(log, lock).map(drop);
        self.checkpointer.note(taken);
        let log = self.log()?;
        log.poisoned().map_or(Ok(log), Err)
    }

    /// Takes a checkpoint while writers go on.
    pub(super) fn checkpoint(&self) -> Result<Snapshotted> {
        loop {
            let taken = self.checkpoint_once();
            // A thread that closes the store has cancelled it. If closing fails, the checkpoint starts again.
            let is_open = || !self.log_always().closed;
            if !matches!(taken, Err(Error::Closed)) || !is_open() {
                return taken;
            }
            thread::yield_now();
        }
    }

    fn checkpoint_once(&self) -> Result<Snapshotted> {
        let began = self.disk.now();
        let log = self.log()?;
        if log.deferred_log.is_some() {
            drop(self.ready_for_write(log)?); // begins the log before this thread has the checkpoint lock
        } else {
            drop(log);
        }
        let lock = self.checkpointer.lock();
        self.checkpointer.running.store(true, Ordering::Relaxed);
        let guard = PanicGuard::new(self, "a checkpoint");
        let taken = self.checkpoint_locked(&lock, began);
        guard.forget();
        self.checkpointer.ended();
        self.wake_all(&self.log_always()); // writers that wait for a shorter log
        taken
    }

    fn checkpoint_locked(&self, lock: &CheckpointLock<'_>, began: Duration) -> Result<Snapshotted> {
        let end = self.snapshot_end()?;
        let check_cancel = || if self.checkpointer.stopping.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) };
        let (header, mut next) = self.snapshot_and_successor(end, lock, &check_cancel)?;
        let done = self.catch_up(&mut next).and_then(|()| {
            let end = |log: Guard<'_>| self.replace_log(log, next);
            self.while_paused(end, |_, _| {})
        });
        self.snapshotted(&header, done, began)
    }

    /// Takes a checkpoint with the log paused: makes everything durable first, then the same steps.
    pub(super) fn checkpoint_paused(&self, log: Guard<'_>, lock: &CheckpointLock<'_>) -> Result<Snapshotted> {
        let began = self.disk.now();
        let end = self.snapshot_end_paused(log)?;
        let (header, next) = self.snapshot_and_successor(end, lock, &|| Ok(()))?;
        let done = self.replace_log(self.log()?, next);
        self.snapshotted(&header, done, began)
    }

    /// The end of the log at which the snapshot will end. Everything before it is durable.
    fn snapshot_end(&self) -> Result<LogEnd> {
        if self.state.form() == Form::Indexed {
            // Memory must hold the state after exactly that write, so no new one may come during the sync.
            return self.while_paused(|log| self.snapshot_end_paused(log), |_, _| {});
        }
        let mut log = self.make_durable(self.open_log()?)?;
        self.check_log(&mut log)?;
        Ok(log.wal.end(log.durable))
    }

    /// The same, with the log paused.
    fn snapshot_end_paused(&self, log: Guard<'_>) -> Result<LogEnd> {
        let mut log = self.make_durable(log)?;
        self.check_log(&mut log)?;
        if self.state.form() == Form::Indexed {
            let all = (log.applied, log.appended);
            assert_eq!(all, (log.durable, log.durable), "a log that is paused and synced holds what is applied, and no more");
            self.state.freeze(log.applied);
        }
        Ok(log.wal.end(log.durable))
    }

    /// Steps 1 and 2 of a checkpoint, for the log up to `end`, all of it durable.
    fn snapshot_and_successor(
        &self,
        end: LogEnd,
        _lock: &CheckpointLock<'_>,
        check_cancel: &dyn Fn() -> Result<()>,
    ) -> Result<(snapshot::Header, Successor<'_>)> {
        self.check_in_place()?;
        let of = &self.checkpointer;
        of.read.store(0, Ordering::Relaxed);
        let base = of.base();
        let entries = base.map_or(0, |header| header.entries);
        of.to_read.store(end.seq - end.base + entries, Ordering::Relaxed);
        let check_cancel = || {
            of.read.fetch_add(1, Ordering::Relaxed);
            check_cancel()
        };
        let (form, base) = (self.state.form(), base.as_ref());
        let merged = merge(&*self.disk, &end, &self.wal_path, &self.snapshot_path, form, base, &check_cancel);
        let header = self.fail_if_poisoned(self.fail_if_log_damaged(merged))?;
        self.build_on(&header);
        let mut log = self.log()?;
        log.counts.snapshots += 1;
        log.counts.snapshot_seq = header.seq;
        drop(log);
        Ok((header, Successor::begin(&*self.disk, &self.wal_path, end)?))
    }

    /// From now on the snapshot with this header is the base: for reads of values in it and for the next checkpoint.
    pub(super) fn build_on(&self, header: &snapshot::Header) {
        self.state.rebase(&*self.disk, &self.snapshot_path, header);
        self.checkpointer.set_base(*header);
        self.snapshot_bytes.store(header.file_len().unwrap_or(0), Ordering::Relaxed);
    }

    /// Step 3.
    fn catch_up(&self, next: &mut Successor<'_>) -> Result<()> {
        for _ in 0..MOST_ROUNDS {
            let log = self.log()?;
            let end = log.wal.end(log.durable);
            drop(log);
            let close = next.is_close_to(&end);
            self.fail_if_log_damaged(next.catch_up(&*self.disk, &self.wal_path, end))?;
            if close {
                break;
            }
        }
        Ok(())
    }

    /// Steps 4 and 5, with the log paused. Returns the old log.
    fn replace_log(&self, log: Guard<'_>, mut next: Successor<'_>) -> Result<Wal> {
        let log = self.make_durable(log)?;
        let end = log.wal.end(log.durable);
        drop(log);
        self.fail_if_log_damaged(next.catch_up(&*self.disk, &self.wal_path, end))?;
        self.check_in_place()?;
        self.check_log(&mut self.log()?)?;
        let wal = self.fail_if_poisoned(next.take_over())?;
        self.salt.store(wal.salt(), Ordering::Relaxed); // a body encoded before this gets a new checksum
        let old = self.log()?.switch(wal);
        self.flusher.wake_for_write(); // the new log may hold writes that no mark follows
        Ok(old)
    }

    /// The answer, once the log is replaced.
    fn snapshotted(&self, header: &snapshot::Header, replaced: Result<Wal>, began: Duration) -> Result<Snapshotted> {
        let log = replaced?;
        Ok(Snapshotted {
            seq: header.seq,
            keys: header.entries,
            bytes: header.file_len().expect("the length of a file that was written"),
            log_bytes_released: log.len_bytes().saturating_sub(self.log_always().wal.len_bytes()),
            digest: header.digest,
            took: self.disk.now().saturating_sub(began),
        })
    }
}

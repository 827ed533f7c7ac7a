//! Checkpoints in the right order with writers, and the thread that takes them.
//!
//! The work is done by [`checkpoint`](crate::checkpoint), from the files, while writers go on. They wait only for the
//! end of it: a sync of what is pending, the copying of at most a few records, and the rename of the new log.
//!
//! The thread sleeps until the log is longer than the limit and than the snapshot, or older than
//! the interval. Where openings are too short for it, closing takes the checkpoint that a long log is due. While it works a log may grow to [`MOST_LIMITS`] times the limit; then writers wait. A checkpoint
//! that fails is reported by the statistics, and tried again when the log has grown by as much again.

use super::log::{Log, Unwound};
use super::{Guard, Shared, Snapshotted};
use crate::checkpoint::{Successor, merge};
use crate::error::{Error, Result};
use crate::snapshot::{self, Form};
use crate::sync::thread::{self, Thread};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use crate::wal::LogEnd;
use crate::wal::Wal;
use std::sync::{OnceLock, PoisonError, Weak};
use std::time::Duration;

/// So many limits long a log may be before writers wait for the checkpoint under way.
const MOST_LIMITS: u64 = 8;
/// So often the end of the log is copied while writers go on, before they have to wait for the rest.
const MOST_ROUNDS: usize = 16;

/// The engine's side of the thread.
#[derive(Debug)]
pub(super) struct Checkpointer {
    thread: OnceLock<Thread>,
    limit_bytes: u64,
    interval: Duration,
    /// The length of the log at which the thread is woken; `u64::MAX` while it works.
    due_bytes: AtomicU64,
    running: AtomicBool,
    stopping: AtomicBool,
    alone: Mutex<()>,
    failure: Mutex<Option<String>>,
    failures: AtomicU64,
    met_damage: AtomicBool,
    /// What the snapshot says of itself that this store opened or wrote last. The next checkpoint builds on it.
    held: Mutex<Option<snapshot::Header>>,
    /// Of the checkpoint under way, or of the last one: what it has read, and what there is to read.
    read: AtomicU64,
    to_read: AtomicU64,
}

/// The right to take a checkpoint, or to close.
pub(super) type Alone<'a> = MutexGuard<'a, ()>;

impl Checkpointer {
    pub(super) fn new(limit_bytes: u64, interval: Duration, held: Option<snapshot::Header>) -> Checkpointer {
        Checkpointer {
            thread: OnceLock::new(),
            limit_bytes,
            interval,
            due_bytes: AtomicU64::new(if limit_bytes == 0 { u64::MAX } else { limit_bytes }),
            running: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            alone: Mutex::new(()),
            failure: Mutex::new(None),
            failures: AtomicU64::new(0),
            met_damage: AtomicBool::new(false),
            held: Mutex::new(held),
            read: AtomicU64::new(0),
            to_read: AtomicU64::new(0),
        }
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(super) fn interval(&self) -> Duration {
        self.interval
    }

    /// What the checkpoint under way, or the last one, has read, and what it has to read.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.to_read.load(Ordering::Relaxed))
    }

    pub(super) fn is_by_age(&self) -> bool {
        !self.interval.is_zero()
    }

    fn held(&self) -> Option<snapshot::Header> {
        *self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_failure(&self, failure: Option<String>) {
        self.failures.fetch_add(u64::from(failure.is_some()), Ordering::Relaxed);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Whether writers have to wait until the log is shorter.
    pub(super) fn is_behind(&self, log_bytes: u64) -> bool {
        self.limit_bytes > 0 && log_bytes / MOST_LIMITS > self.limit_bytes && self.running.load(Ordering::Relaxed)
    }

    /// The thread that took a checkpoint has panicked.
    pub(super) fn unwound(&self) {
        self.running.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how a checkpoint ended that nobody waits for, and tells whether it failed.
    fn note(&self, outcome: Result<()>) -> bool {
        if matches!(
            outcome,
            Err(Error::Damaged { .. }
                | Error::Foreign { .. }
                | Error::Version { .. }
                | Error::Replaced { .. }
                | Error::Lost { .. })
        ) {
            self.met_damage.store(true, Ordering::Relaxed);
        }
        let failure = outcome.err().filter(|error| !matches!(error, Error::Closed)).map(|error| error.to_string());
        let failed = failure.is_some();
        self.set_failure(failure);
        failed
    }

    /// How often one has failed that nobody waited for, and whether one met damage.
    pub(super) fn failures(&self) -> (u64, bool) {
        (self.failures.load(Ordering::Relaxed), self.met_damage.load(Ordering::Relaxed))
    }

    /// Waits until nobody takes a checkpoint.
    pub(super) fn alone(&self) -> Alone<'_> {
        self.alone.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self, stop: bool) {
        self.stopping.store(stop, Ordering::Relaxed);
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Sleep,
    /// The store takes no more writes.
    End,
}

impl Shared {
    /// Called by a writer, without locks, when the log has this length.
    pub(super) fn look_at_log(&self, log_bytes: u64) {
        let of = &self.checkpointer;
        if log_bytes >= of.due_bytes.load(Ordering::Relaxed) && of.due_bytes.swap(u64::MAX, Ordering::Relaxed) != u64::MAX {
            match self.start_checkpointer() {
                Ok(()) => of.wake(),
                Err(error) => of.set_failure(Some(format!("the thread could not be started: {error}"))),
            }
        }
    }

    /// Starts the thread, once. It holds the store only while it works. A store whose log stays short has none.
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

    /// Whether the log is over its limit. A log may always become as long as the snapshot.
    fn is_long(&self, log: &Log) -> bool {
        let limit = self.checkpointer.limit_bytes;
        limit > 0 && log.wal.len_bytes() >= limit.max(self.snapshot_bytes.load(Ordering::Relaxed))
    }

    /// Whether closing takes a checkpoint: this opening wrote, the log is over its limit, and the thread has not failed at
    /// it. Where openings are short, nobody else would.
    pub(super) fn is_due_at_close(&self, log: &Log) -> bool {
        log.appended > self.recovery.last_seq && self.is_long(log) && self.checkpointer.failure().is_none()
    }

    /// That checkpoint, with the log paused. It is no reason not to close that it fails, unless the store has failed.
    pub(super) fn checkpoint_at_close(&self, log: Guard<'_>, alone: &Alone<'_>) -> Result<Guard<'_>> {
        let taken = self.checkpoint_paused(log, alone).map(drop);
        self.checkpointer.note(taken);
        let log = self.log()?;
        log.poisoned().map_or(Ok(log), Err)
    }

    /// A checkpoint, while writers go on.
    pub(super) fn checkpoint(&self) -> Result<Snapshotted> {
        loop {
            let taken = self.checkpoint_once();
            // Whoever wants to close has broken it off. Where closing fails, it is begun again.
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
            drop(self.admit(log)?); // begins it, before this thread is alone
        } else {
            drop(log);
        }
        let alone = self.checkpointer.alone();
        self.checkpointer.running.store(true, Ordering::Relaxed);
        let unwound = Unwound { shared: self, what: "a checkpoint" };
        let taken = self.checkpoint_alone(&alone, began);
        std::mem::forget(unwound);
        self.checkpointer.running.store(false, Ordering::Relaxed);
        self.wake_all(&self.log_always()); // who waits for a shorter log
        taken
    }

    fn checkpoint_alone(&self, alone: &Alone<'_>, began: Duration) -> Result<Snapshotted> {
        let behind = self.cut()?;
        let go_on = || if self.checkpointer.stopping.load(Ordering::Relaxed) { Err(Error::Closed) } else { Ok(()) };
        let (header, mut next) = self.snapshot_and_successor(behind, alone, &go_on)?;
        let done = self.catch_up(&mut next).and_then(|()| {
            let end = |log: Guard<'_>| self.replace_log(log, next);
            self.while_paused(end, |_, _| {})
        });
        self.snapshotted(&header, done, began)
    }

    /// A checkpoint with the log paused: 1. make it all durable; 2. to 5. as always.
    pub(super) fn checkpoint_paused(&self, log: Guard<'_>, alone: &Alone<'_>) -> Result<Snapshotted> {
        let began = self.disk.now();
        let behind = self.cut_paused(log)?;
        let (header, next) = self.snapshot_and_successor(behind, alone, &|| Ok(()))?;
        let done = self.replace_log(self.log()?, next);
        self.snapshotted(&header, done, began)
    }

    /// Where the snapshot is to end; all before is durable.
    fn cut(&self) -> Result<LogEnd> {
        if self.state.form() == Form::Indexed {
            // What is in memory must be the state after exactly that write: a sync without new ones.
            return self.while_paused(|log| self.cut_paused(log), |_, _| {});
        }
        let mut log = self.make_durable(self.open_log()?)?;
        self.check_log(&mut log)?;
        Ok(log.wal.end(log.durable))
    }

    /// The same, with the log paused.
    fn cut_paused(&self, log: Guard<'_>) -> Result<LogEnd> {
        let mut log = self.make_durable(log)?;
        self.check_log(&mut log)?;
        if self.state.form() == Form::Indexed {
            let all = (log.applied, log.appended);
            assert_eq!(all, (log.durable, log.durable), "a log that is paused and synced holds what is applied, and no more");
            self.state.freeze();
        }
        Ok(log.wal.end(log.durable))
    }

    /// Steps 1 and 2, for the log up to `behind`, all of it durable.
    fn snapshot_and_successor(
        &self,
        behind: LogEnd,
        _alone: &Alone<'_>,
        go_on: &dyn Fn() -> Result<()>,
    ) -> Result<(snapshot::Header, Successor<'_>)> {
        self.check_in_place()?;
        let of = &self.checkpointer;
        of.read.store(0, Ordering::Relaxed);
        let held = of.held();
        let entries = held.map_or(0, |header| header.entries);
        of.to_read.store(behind.seq - behind.base + entries, Ordering::Relaxed);
        let go_on = || {
            of.read.fetch_add(1, Ordering::Relaxed);
            go_on()
        };
        let (form, held) = (self.state.form(), held.as_ref());
        let merged = merge(&*self.disk, &behind, &self.wal_path, &self.snapshot_path, form, held, &go_on);
        let header = self.failing_for_good(self.losing(merged))?;
        self.now_on(&header);
        let mut log = self.log()?;
        log.counts.snapshots += 1;
        log.counts.snapshot_seq = header.seq;
        drop(log);
        Ok((header, Successor::begin(&*self.disk, &self.wal_path, behind)?))
    }

    /// From now on the snapshot with this header is the one to go on from.
    pub(super) fn now_on(&self, header: &snapshot::Header) {
        self.state.rebase(&*self.disk, &self.snapshot_path, header);
        *self.checkpointer.held.lock().unwrap_or_else(PoisonError::into_inner) = Some(*header);
        self.snapshot_bytes.store(header.file_len().unwrap_or(0), Ordering::Relaxed);
    }

    /// Step 3.
    fn catch_up(&self, next: &mut Successor<'_>) -> Result<()> {
        for _ in 0..MOST_ROUNDS {
            let log = self.log()?;
            let end = log.wal.end(log.durable);
            drop(log);
            let close = next.is_close_to(&end);
            self.losing(next.catch_up(&*self.disk, &self.wal_path, end))?;
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
        self.losing(next.catch_up(&*self.disk, &self.wal_path, end))?;
        self.check_in_place()?;
        self.check_log(&mut self.log()?)?;
        let wal = self.failing_for_good(next.take_over())?;
        self.salt.store(wal.salt(), Ordering::Relaxed); // a body made before has its check made anew
        let old = self.log()?.switch(wal);
        self.flusher.wake_for_write(); // the new log may hold writes that no mark proves
        Ok(old)
    }

    /// The answer, where the log was replaced.
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

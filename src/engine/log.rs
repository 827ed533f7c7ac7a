//! Group commit: the log, the watermarks and who may be answered when.
//!
//! One rule: a write is *applied* (made visible and acknowledged) once fewer than `n` writes up to
//! and including it are not durable, `seq − durable < n`. With n = 1 that is when it is durable;
//! with n > 1 the n-th pending write has to wait for a sync, and so do those that arrive while
//! that sync runs, so never more than n − 1 acknowledged writes are at risk.
//!
//! Order of steps of a write, under the log's lock unless said otherwise:
//! 1. append: the next sequence number, a frame into the buffer, the operations into `waiting`;
//! 2. apply from the front of `waiting` what the rule allows; who is applied is answered;
//! 3. who is not, leads or follows. The leader writes the whole buffer with one call, then
//!    *releases the lock*, syncs, takes the lock again, and settles the shared state before it
//!    looks at the outcome: `durable` moves, step 2 is repeated, all are woken.
//!
//! When the write fails for lack of room, the file is cut back, the writes that were not applied
//! are refused, and the buffer keeps the acknowledged ones: the log is *stalled*, and takes no
//! write before those are on the disk. When anything else fails, the log has *failed* for good.

use super::{Ack, Shared};
use crate::error::{Error, Result};
use crate::record::Kind;
use crate::state::Op;
use crate::wal::{Mark, Wal, WriteFailure};
use crate::{MAX_SEQ, Seq};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::MutexGuard;
use std::time::Duration;

/// Above this a group is synced before it is full, so that large values cannot fill the memory.
const MAX_BUFFERED_BYTES: usize = 256 << 20;

/// Everything that the log's lock guards. Lock order: log, then state.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) wal: Wal,
    /// The batch size, n.
    pub(super) batch_size: u64,
    /// The last sequence number given out.
    pub(super) appended: Seq,
    /// The last one handed to the operating system.
    pub(super) written: Seq,
    /// The last one that a successful sync covers.
    pub(super) durable: Seq,
    /// The last one in the map, visible and acknowledged.
    pub(super) applied: Seq,
    /// Writes that are appended and not applied, in order.
    waiting: VecDeque<Waiting>,
    /// The end of the last applied write in the log's buffer.
    keep: Mark,
    /// Outcomes of refused writes, until their threads have seen them.
    refused: HashMap<u64, Cause>,
    next_ticket: u64,
    /// Threads in [`Shared::wait`].
    sleepers: usize,
    /// A leader is between its write and the end of its sync.
    syncing: bool,
    /// A snapshot is being taken or the store is closing: no new writes.
    paused: bool,
    /// Why acknowledged writes could not be written; they wait in the buffer.
    stalled: Option<Cause>,
    /// Why nothing will be written any more.
    pub(super) failure: Option<String>,
    pub(super) closed: bool,
    /// When the oldest write that is acknowledged and not durable was acknowledged, or earlier.
    pub(super) oldest_pending: Option<Duration>,
    pub(super) counts: Counts,
}

/// Counted since the store was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) puts: u64,
    pub(super) deletes: u64,
    pub(super) batches: u64,
    pub(super) log_writes: u64,
    pub(super) log_bytes_written: u64,
    pub(super) syncs: u64,
    pub(super) sync_total: Duration,
    pub(super) sync_max: Duration,
    pub(super) largest_group: u64,
    pub(super) snapshots: u64,
    pub(super) snapshot_seq: Seq,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    seq: Seq,
    end: Mark,
    ops: Ops,
}

/// The operations of one write; most have one, which then needs no list.
#[derive(Debug)]
pub(super) enum Ops {
    One(Op),
    Many(Vec<Op>),
}

impl Ops {
    fn as_slice(&self) -> &[Op] {
        match self {
            Ops::One(op) => std::slice::from_ref(op),
            Ops::Many(ops) => ops,
        }
    }

    fn into_each(self, each: impl FnMut(Op)) {
        match self {
            Ops::One(op) => Some(op).into_iter().for_each(each),
            Ops::Many(ops) => ops.into_iter().for_each(each),
        }
    }
}

/// An `io::Error` that several threads can be given.
#[derive(Clone, Debug)]
struct Cause {
    kind: io::ErrorKind,
    code: Option<i32>,
    text: String,
}

impl Cause {
    fn of(error: &io::Error) -> Cause {
        Cause { kind: error.kind(), code: error.raw_os_error(), text: error.to_string() }
    }

    fn error(&self) -> io::Error {
        self.code.map_or_else(|| io::Error::new(self.kind, self.text.clone()), io::Error::from_raw_os_error)
    }

    /// Whether it is about room, so that the same write may succeed later.
    fn is_no_space(&self) -> bool {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
        matches!(self.kind, FileTooLarge | QuotaExceeded | StorageFull | WriteZero)
    }
}

pub(super) type Guard<'a> = MutexGuard<'a, Log>;

impl Log {
    pub(super) fn new(wal: Wal, batch_size: u64, last: Seq, snapshot_seq: Seq) -> Log {
        Log {
            keep: wal.start(),
            wal,
            batch_size,
            appended: last,
            written: last,
            durable: last,
            applied: last,
            waiting: VecDeque::new(),
            refused: HashMap::new(),
            next_ticket: 0,
            sleepers: 0,
            syncing: false,
            paused: false,
            stalled: None,
            failure: None,
            closed: false,
            oldest_pending: None,
            counts: Counts { snapshot_seq, ..Counts::default() },
        }
    }

    /// Acknowledged writes that are not durable.
    pub(super) fn pending(&self) -> u64 {
        self.applied.saturating_sub(self.durable) // `durable` runs ahead for a moment in `lead`
    }

    /// Whether `key` will be there once everything appended is applied. `None`: no write that is
    /// not applied yet touches it, so the map decides.
    pub(super) fn undecided(&self, key: &[u8]) -> Option<bool> {
        let of = |w: &Waiting| w.ops.as_slice().iter().rev().find(|op| *op.key == *key).map(|op| op.value.is_some());
        self.waiting.iter().rev().find_map(of)
    }

    /// The error that every caller gets once the log has failed.
    pub(super) fn poisoned(&self) -> Option<Error> {
        let reason = self.failure.clone()?;
        Some(Error::Poisoned { path: self.wal.path().to_path_buf(), reason, pending: self.pending() })
    }

    fn no_space(&self, cause: &Cause) -> Error {
        Error::NoSpace { path: self.wal.path().to_path_buf(), pending: self.pending(), source: cause.error() }
    }

    pub(super) fn ack(&self, seq: Seq) -> Ack {
        Ack { seq, durable: seq <= self.durable, pending: self.pending() }
    }

    /// Stops all writing. The message says what happened to which file.
    pub(super) fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
    }
}

impl Shared {
    /// Steps 1 to 3 for one write.
    pub(super) fn commit<'a>(&'a self, log: Guard<'a>, ops: Ops) -> Result<Ack> {
        let mut log = self.admit(log)?;
        if log.appended >= MAX_SEQ {
            let what = "the number of the next write";
            return Err(Error::Limit { what, got: log.appended + 1, min: 1, max: MAX_SEQ });
        }
        let (seq, ticket) = self.append(&mut log, ops);
        self.apply_allowed(&mut log);
        self.settle(log, seq, ticket)
    }

    /// Waits until the log may take a write: not paused, nothing stalled, and room in the buffer.
    pub(super) fn admit<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        loop {
            if let Some(error) = log.poisoned() {
                return Err(error);
            }
            if log.closed {
                return Err(Error::Closed);
            }
            if log.paused {
                log = self.wait(log)?;
            } else if log.stalled.is_some() || log.wal.buffered_bytes() >= MAX_BUFFERED_BYTES {
                log = self.advance(log)?;
            } else {
                return Ok(log);
            }
        }
    }

    /// Step 1.
    fn append(&self, log: &mut Log, ops: Ops) -> (Seq, u64) {
        let seq = log.appended + 1;
        log.appended = seq;
        let durable = log.durable;
        log.wal.append(
            Kind::WRITE,
            seq,
            durable,
            || self.disk.entropy(),
            |out| {
                ops.as_slice().iter().for_each(|op| op.as_ref().encode(out));
            },
        );
        let ticket = log.next_ticket;
        log.next_ticket += 1;
        let end = log.wal.mark();
        log.waiting.push_back(Waiting { ticket, seq, end, ops });
        (seq, ticket)
    }

    /// Step 2.
    fn apply_allowed(&self, log: &mut Log) {
        let limit = log.durable.saturating_add(log.batch_size - 1);
        if log.waiting.front().is_none_or(|first| first.seq > limit) {
            return;
        }
        let mut state = self.state_mut();
        while let Some(first) = log.waiting.pop_front_if(|first| first.seq <= limit) {
            if first.seq > log.written {
                log.keep = first.end;
            }
            log.applied = first.seq;
            match &first.ops {
                Ops::One(Op { value: Some(_), .. }) => log.counts.puts += 1,
                Ops::One(_) => log.counts.deletes += 1,
                Ops::Many(_) => log.counts.batches += 1,
            }
            first.ops.into_each(|op| {
                state.apply(op);
            });
        }
        drop(state);
        if log.pending() > 0 && log.oldest_pending.is_none() {
            log.oldest_pending = Some(self.disk.now());
            self.flusher.wake_for_pending();
        }
    }

    /// Step 3: returns once the write is applied, refused, or in doubt.
    fn settle<'a>(&'a self, mut log: Guard<'a>, seq: Seq, ticket: u64) -> Result<Ack> {
        loop {
            if let Some(cause) = log.refused.remove(&ticket) {
                return Err(log.no_space(&cause));
            }
            if seq <= log.durable {
                return Ok(log.ack(seq));
            }
            // After a failed sync no OK is given, not even to a write that had become visible before.
            if let Some(error) = log.poisoned() {
                return Err(error);
            }
            if seq <= log.applied {
                return Ok(log.ack(seq));
            }
            // A leader that fails refuses this write too, and the next turn finds that.
            log = if log.syncing { self.wait(log)? } else { self.lead(log).or_else(|_| self.log())? };
        }
    }

    /// Waits for the sync under way, or does one: after it, some writes are decided.
    pub(super) fn advance<'a>(&'a self, log: Guard<'a>) -> Result<Guard<'a>> {
        if log.syncing { self.wait(log) } else { self.lead(log) }
    }

    /// Writes the buffer and syncs it: the group is everything appended so far.
    fn lead<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        assert!(!log.syncing && log.failure.is_none(), "one leader at a time, and none after a failure");
        match log.wal.write() {
            Ok(bytes) => {
                log.counts.log_writes += 1;
                log.counts.log_bytes_written += bytes;
                log.counts.largest_group = log.counts.largest_group.max(log.appended - log.written);
                log.written = log.appended;
                log.keep = log.wal.start();
                log.stalled = None;
            }
            Err(failure) => {
                let error = write_failed(&mut log, failure);
                self.wake_all(&log);
                return Err(error);
            }
        }
        let file = log.wal.ticket();
        let through = log.written;
        log.syncing = true;
        drop(log);

        let unwound = Unwound { shared: self, what: "a sync" };
        let began = self.disk.now();
        let outcome = file.sync();
        let ended = self.disk.now();
        std::mem::forget(unwound);

        let mut log = self.log()?;
        log.syncing = false;
        log.counts.syncs += 1;
        log.counts.sync_total += ended.saturating_sub(began);
        log.counts.sync_max = log.counts.sync_max.max(ended.saturating_sub(began));
        match outcome {
            Ok(()) => {
                log.durable = through;
                log.oldest_pending = (log.pending_after(through) > 0).then_some(began);
                self.apply_allowed(&mut log);
            }
            Err(e) => log.fail(format!("the sync of the log failed: {e}")),
        }
        self.wake_all(&log);
        match log.poisoned() {
            None => Ok(log),
            Some(error) => Err(error),
        }
    }

    /// Returns once everything appended before is durable.
    pub(super) fn make_durable<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        let mut target = log.appended;
        loop {
            if let Some(error) = log.poisoned() {
                return Err(error);
            }
            target = target.min(log.appended); // refused writes give their numbers back
            if log.durable >= target {
                return Ok(log);
            }
            log = self.advance(log)?;
        }
    }

    /// Runs `work` while no new write is taken; waits until nobody else does that. `work` may let
    /// go of the lock. `settle` sees the outcome under the lock, before any writer does.
    pub(super) fn while_paused<T>(
        &self,
        work: impl FnOnce(Guard<'_>) -> Result<T>,
        settle: impl FnOnce(&mut Log, &Result<T>),
    ) -> Result<T> {
        let mut log = self.admit(self.log()?)?;
        log.paused = true;
        let unwound = Unwound { shared: self, what: "a snapshot or the closing of the store" };
        let done = work(log);
        std::mem::forget(unwound);
        let mut log = self.log()?;
        settle(&mut log, &done);
        log.paused = false;
        self.wake_all(&log);
        done
    }

    /// Changes the batch size, and first syncs what would be pending beyond the new one.
    pub(super) fn change_batch_size(&self, n: u64) -> Result<()> {
        let flush = |log: Guard<'_>| if log.pending() < n { Ok(()) } else { self.make_durable(log).map(drop) };
        self.while_paused(flush, |log, done| {
            if done.is_ok() {
                log.batch_size = n;
                self.apply_allowed(log);
            }
        })
    }

    fn wait<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        log.sleepers += 1;
        let mut log = self.settled.wait(log).map_err(|poisoned| self.panicked(&mut poisoned.into_inner()))?;
        log.sleepers -= 1;
        Ok(log)
    }

    /// Wakes all who wait. Waking nobody would still cost a system call, at each sync.
    pub(super) fn wake_all(&self, log: &Log) {
        if log.sleepers > 0 {
            self.settled.notify_all();
        }
    }
}

impl Log {
    /// Puts `wal` in the place of the log whose every write a snapshot now holds.
    pub(super) fn switch(&mut self, wal: Wal) {
        assert!(self.waiting.is_empty() && self.durable == self.appended, "a log is left only when all of it is durable");
        self.wal = wal;
        self.keep = self.wal.start();
    }

    fn pending_after(&self, durable: Seq) -> u64 {
        self.applied.saturating_sub(durable)
    }
}

/// Dropped only when a thread panics while others count on it: a sync or a pause that nobody would
/// end. Fails the log, so that they get an error instead of waiting for ever.
struct Unwound<'a> {
    shared: &'a Shared,
    what: &'static str,
}

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        let mut log = self.shared.log_always();
        log.syncing = false;
        log.paused = false;
        log.fail(format!("a thread of this program panicked in {}", self.what));
        self.shared.settled.notify_all();
    }
}

/// The buffer could not be written. Refuses what was not acknowledged, keeps what was.
fn write_failed(log: &mut Log, failure: WriteFailure) -> Error {
    let cause = Cause::of(&failure.cause);
    if let Some(torn) = failure.torn {
        log.fail(format!("the log could not be written ({}), and cutting the torn record off failed: {torn}", cause.text));
    } else if !cause.is_no_space() {
        log.fail(format!("the log could not be written: {}", cause.text));
    }
    if let Some(error) = log.poisoned() {
        return error;
    }
    while let Some(last) = log.waiting.pop_back() {
        log.refused.insert(last.ticket, cause.clone());
    }
    let keep = log.keep;
    log.wal.rewind(keep);
    log.appended = log.applied;
    log.stalled = (log.wal.buffered_bytes() > 0 && log.pending() > 0).then(|| cause.clone());
    log.no_space(&cause)
}

//! Group commit: the log, the watermarks and who may be answered when.
//!
//! One rule: a write is *applied* (made visible and acknowledged) once fewer than `n` writes up to
//! and including it are not durable, `seq − durable < n`. With n = 1 that is when it is durable;
//! with n > 1 the n-th pending write has to wait for a sync, and so do those that arrive while
//! that sync runs, so never more than n − 1 acknowledged writes are at risk.
//!
//! Order of steps of a write, under the log's lock unless said otherwise:
//! 1. before the lock is taken: the bytes of its body, and their check;
//! 2. append: the next sequence number, a frame into the buffer;
//! 3. apply, from the front of what is waiting, what the rule allows; who is applied is answered;
//! 4. who is not, leads or follows. The leader *releases the lock*, waits a moment for others that are on their way
//!    (see `gather`), takes the buffer out under the lock, and without it writes it with one call and
//!    syncs; it takes the lock again, and settles the shared state before it looks at the
//!    outcome: `durable` moves, step 3 is repeated. Then, without the lock, it wakes the next leader,
//!    and then all who followed.
//!
//! A *round* is one such write and sync. While one runs, the first writer that it will not decide becomes
//! the leader of the next and sleeps until this one ends; the others sleep until the round ends that
//! decides them, and find their answer in it: they never come back for the lock. So a write waits for
//! the rest of one sync and for its own, and waking costs two system calls a round however many wait.
//!
//! After each sync the leader looks whether the log is still there: `engine/identity.rs`.
//!
//! When the write fails for lack of room, the file is cut back, the writes that were not applied
//! are refused, and the buffer keeps the acknowledged ones: the log is *stalled*, and takes no
//! write before those are on the disk. When anything else fails, the log has *failed* for good.

use super::gather::Expected;
use super::{Ack, Shared, SyncTimes};
use crate::error::{Error, Result};
use crate::record::{Body, Kind};
use crate::recovery::DeferredLog;
use crate::state;
use crate::sync::{MutexGuard, Signal};
use crate::wal::{Group, Position, Wal, WriteFailure, is_no_space};
use crate::{MAX_SEQ, Seq};
use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
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
    /// The end of the last applied write.
    keep: Position,
    /// Outcomes of refused writes, until their threads have seen them.
    refused: HashMap<u64, Cause>,
    next_ticket: u64,
    /// Threads in [`Shared::wait`].
    sleepers: usize,
    /// The round under way, and the last write that it covers.
    pub(super) running: Option<(Arc<Round>, Seq)>,
    /// The round that will cover what is in the buffer,
    next: Arc<Round>,
    /// and whether somebody sleeps until it can begin, to lead it.
    next_has_leader: bool,
    pub(super) expected: Expected,
    /// A snapshot is being taken or the store is closing: no new writes.
    pub(super) paused: bool,
    /// Why acknowledged writes could not be written; they wait in the buffer.
    stalled: Option<Cause>,
    /// Why nothing will be written any more.
    pub(super) failure: Option<String>,
    /// Whether that is because the log has lost its name or its bytes.
    pub(super) is_lost: bool,
    /// Where opening found no log to go on with. The first write begins one.
    pub(super) deferred_log: Option<Arc<DeferredLog>>,
    pub(super) closed: bool,
    /// When the oldest write that is acknowledged and not durable was acknowledged, or earlier.
    pub(super) oldest_pending: Option<Duration>,
    /// The last write when the flusher looked last whether anybody writes.
    pub(super) looked_at: Seq,
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
    pub(super) sync_times: SyncTimes,
    pub(super) largest_group: u64,
    pub(super) snapshots: u64,
    pub(super) snapshot_seq: Seq,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    seq: Seq,
    what: What,
    body_len: usize,
    end: Position,
}

/// What a write is counted as.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    Put,
    Delete,
    Batch,
}

/// One write and one sync, and those who wait for them.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Set when the next round can begin, for its leader.
    free: Signal<()>,
    ended: Signal<Ended>,
}

/// What a round has left.
#[derive(Clone, Debug)]
pub(super) struct Ended {
    durable: Seq,
    /// Visible and acknowledged; of no use where the store has `failed`.
    applied: Seq,
    failed: bool,
    /// Why the round wrote nothing.
    no_space: Option<Cause>,
}

impl Ended {
    /// The answer to write `seq`, where this round has decided it.
    fn ack(&self, seq: Seq) -> Option<Ack> {
        let decided = seq <= self.durable || (seq <= self.applied && !self.failed);
        decided.then(|| Ack { seq, durable: seq <= self.durable, pending: self.applied.saturating_sub(self.durable) })
    }
}

/// An `io::Error` that several threads can be given.
#[derive(Clone, Debug)]
pub(super) struct Cause {
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
}

pub(super) type Guard<'a> = MutexGuard<'a, Log>;

impl Log {
    pub(super) fn new(wal: Wal, deferred_log: Option<DeferredLog>, batch_size: u64, last: Seq, snapshot_seq: Seq) -> Log {
        Log {
            keep: wal.position(),
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
            running: None,
            next: Arc::default(),
            next_has_leader: false,
            expected: Expected::default(),
            paused: false,
            stalled: None,
            failure: None,
            is_lost: false,
            deferred_log: deferred_log.map(Arc::new),
            closed: false,
            oldest_pending: None,
            looked_at: last,
            counts: Counts { snapshot_seq, ..Counts::default() },
        }
    }

    /// Acknowledged writes that are not durable.
    pub(super) fn pending(&self) -> u64 {
        self.applied.saturating_sub(self.durable) // `durable` runs ahead for a moment in `lead`
    }

    /// Whether all is durable, and nobody is at work here.
    pub(super) fn is_quiet(&self) -> bool {
        let takes_writes = self.failure.is_none() && !self.closed && !self.paused && self.stalled.is_none();
        takes_writes && self.running.is_none() && self.waiting.is_empty() && self.durable == self.appended
    }

    /// Whether `key` will be there once everything appended is applied. `None`: no write that is
    /// not applied yet touches it, so the map decides.
    pub(super) fn undecided(&self, key: &[u8]) -> Option<bool> {
        let ops = |w: &Waiting| state::decode(self.wal.body(w.end, w.body_len)).expect("encoded by this program");
        let of = |w: &Waiting| ops(w).iter().rev().find(|op| op.key == key).map(|op| op.value.is_some());
        self.waiting.iter().rev().find_map(of)
    }

    /// The error that every caller gets once the log has failed.
    pub(super) fn poisoned(&self) -> Option<Error> {
        let reason = self.failure.clone()?;
        if self.is_lost {
            return Some(Error::Lost { path: self.wal.path().to_path_buf(), reason });
        }
        Some(Error::Poisoned { path: self.wal.path().to_path_buf(), reason, pending: self.pending() })
    }

    /// Whether the store still takes writes.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.poisoned() {
            Some(error) => Err(error),
            None if self.closed => Err(Error::Closed),
            None => Ok(()),
        }
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
        self.waiting.clear(); // in doubt, and never applied
    }
}

impl Shared {
    /// Steps 2 to 4 for one write, whose operations `body` holds, encoded.
    pub(super) fn commit<'a>(&'a self, log: Guard<'a>, what: What, body: Body<'_>) -> Result<Ack> {
        let mut log = self.admit(log)?;
        while self.checkpointer.is_behind(log.wal.len_bytes()) {
            log = self.wait(log)?;
            log = self.admit(log)?;
        }
        if log.appended >= MAX_SEQ {
            let what = "the number of the next write";
            return Err(Error::Limit { what, got: log.appended + 1, min: 1, max: MAX_SEQ });
        }
        let waiting = self.append(&mut log, what, &body);
        drop(body); // the log has a copy, and it may be long
        let (seq, ticket) = (waiting.seq, waiting.ticket);
        if log.waiting.is_empty() && seq <= log.limit() {
            self.state.apply_write(log.wal.body(waiting.end, waiting.body_len));
            self.applied(&mut log, &waiting);
            return Ok(log.ack(seq));
        }
        log.waiting.push_back(waiting);
        self.arrivals.note();
        self.apply_allowed(&mut log);
        self.settle(log, seq, ticket)
    }

    /// As [`Shared::wait_until_free`], and begins the log where there was none.
    pub(super) fn admit<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        loop {
            log = self.wait_until_free(log)?;
            let Some(deferred_log) = log.deferred_log.clone() else { return Ok(log) };
            log = self.begin_log(log, &deferred_log)?;
        }
    }

    /// Waits until the log may take a write: not paused, nothing stalled, and room in the buffer.
    pub(super) fn wait_until_free<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        loop {
            log.check_open()?;
            if log.paused {
                log = self.wait(log)?;
            } else if log.stalled.is_some() || log.wal.buffered_bytes() >= MAX_BUFFERED_BYTES {
                log = self.advance(log)?;
            } else {
                return Ok(log);
            }
        }
    }

    /// Whether a write that comes now would have to wait for another thread.
    #[cfg(feature = "torture")]
    pub(super) fn would_wait(&self) -> bool {
        let Ok(log) = self.log.try_lock() else { return true };
        let must_follow = log.stalled.is_some() || log.appended >= log.limit();
        log.paused || log.running.is_some() && must_follow || self.checkpointer.is_behind(log.wal.len_bytes())
    }

    /// Step 2.
    fn append(&self, log: &mut Log, what: What, body: &Body<'_>) -> Waiting {
        let seq = log.appended + 1;
        log.appended = seq;
        let durable = log.durable;
        log.wal.append(Kind::WRITE, seq, durable, || self.disk.entropy(), body);
        log.next_ticket += 1;
        Waiting { ticket: log.next_ticket, seq, what, body_len: body.bytes.len(), end: log.wal.position() }
    }

    /// Step 3.
    fn apply_allowed(&self, log: &mut Log) {
        let limit = log.limit();
        while let Some(first) = log.waiting.pop_front_if(|first| first.seq <= limit) {
            self.state.apply_write(log.wal.body(first.end, first.body_len));
            self.applied(log, &first);
        }
    }

    fn applied(&self, log: &mut Log, write: &Waiting) {
        log.keep = write.end;
        log.applied = write.seq;
        match write.what {
            What::Put => log.counts.puts += 1,
            What::Delete => log.counts.deletes += 1,
            What::Batch => log.counts.batches += 1,
        }
        if log.oldest_pending.is_none() {
            log.oldest_pending = (log.pending() > 0).then(|| self.disk.now());
            self.flusher.wake_for_write();
        }
    }

    /// Step 4: returns once the write is applied, refused, or in doubt.
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
            let most_pending = log.batch_size - 1;
            if let Some(ack) = self.round(log, seq, most_pending).and_then(|ended| ended.ack(seq)) {
                return Ok(ack);
            }
            log = self.log()?;
        }
    }

    /// Leads a round or sleeps until one has ended, after which no more than `most_pending` writes up to
    /// `seq` may be left to sync; at the least, something has changed.
    fn round(&self, mut log: Guard<'_>, seq: Seq, most_pending: u64) -> Option<Ended> {
        let Some((running, through)) = log.running.clone() else { return Some(self.lead(log)) };
        if seq.saturating_sub(through) <= most_pending {
            drop(log);
            return Some(running.ended.wait().clone());
        }
        if log.next_has_leader {
            let next = Arc::clone(&log.next);
            drop(log);
            return Some(next.ended.wait().clone());
        }
        log.next_has_leader = true;
        drop(log);
        running.free.wait();
        // Others count on it, even where this write has been decided meanwhile. It may have been refused, and
        // its number given to another: the round that begins here says nothing of it.
        let log = self.log().ok()?;
        if log.running.is_none() && log.failure.is_none() && log.wal.buffered_bytes() > 0 {
            self.lead(log);
        }
        None
    }

    /// Waits for the round under way, or leads one: after it, some writes are decided.
    pub(super) fn advance<'a>(&'a self, log: Guard<'a>) -> Result<Guard<'a>> {
        let ended = self.round(log, 0, 0);
        let log = self.log()?;
        match ended.and_then(|ended| ended.no_space) {
            Some(cause) if log.stalled.is_some() => Err(log.no_space(&cause)),
            _ => Ok(log),
        }
    }

    /// Writes the buffer and syncs it: the round covers everything appended so far.
    fn lead(&self, mut log: Guard<'_>) -> Ended {
        assert!(log.running.is_none() && log.failure.is_none(), "one leader at a time, and none after a failure");
        let round = std::mem::take(&mut log.next);
        log.next_has_leader = false;
        // Whoever comes while it gathers is in it.
        log.running = Some((Arc::clone(&round), MAX_SEQ));
        let waiting = log.waiting.len();
        let wait = log.expected.gather_for(waiting);
        drop(log);

        let unwound = Unwound { shared: self, what: "a sync" };
        let most_came = wait.map(|wait| self.gather(&wait));
        let mut log = self.log_or_panicked();
        most_came.into_iter().for_each(|most_came| log.expected.gathered(most_came));
        if log.failure.is_some() {
            std::mem::forget(unwound);
            return self.end_round(log, round, None);
        }
        let (through, waited) = (log.appended, log.waiting.len());
        log.running = Some((Arc::clone(&round), through));
        let mut group = log.wal.take();
        drop(log);

        let lost_before = if group.extends() { self.lost(group.expected_before(), group.file(), false) } else { None };
        let written = if lost_before.is_none() { group.write() } else { Err(WriteFailure::not_tried()) };
        let began = self.disk.now();
        let synced = written.is_ok().then(|| group.sync());
        let took = self.disk.now().saturating_sub(began);
        let lost = match &synced {
            Some(Ok(())) => self.lost(&group.expected_after(), group.file(), false),
            Some(Err(_)) => None, // a failed sync may shorten the file, and is told as what it is
            None => lost_before,
        };

        let mut log = self.log_or_panicked();
        let mut no_space = None;
        if let Some(reason) = lost {
            log.lose(reason);
        }
        match written {
            Err(failure) => no_space = write_failed(&mut log, group, failure, || self.disk.entropy()),
            Ok(()) => {
                log.counts.log_writes += 1;
                log.counts.log_bytes_written += group.len_bytes();
                log.counts.largest_group = log.counts.largest_group.max(through - log.written);
                log.counts.syncs += 1;
                log.counts.sync_total += took;
                log.counts.sync_times.record(took);
                log.counts.sync_max = log.counts.sync_max.max(took);
                log.written = through;
                log.stalled = None;
                match synced {
                    Some(Err(e)) => log.fail(format!("the sync of the log failed: {e}")),
                    _ if log.failure.is_some() => {}
                    _ => {
                        log.durable = through;
                        log.oldest_pending = (log.applied > through).then_some(began);
                        self.apply_allowed(&mut log);
                    }
                }
                log.wal.complete(group);
            }
        }
        std::mem::forget(unwound);
        let still_waiting = log.waiting.len();
        log.expected.round_ended(waited, still_waiting, took);
        self.end_round(log, round, no_space)
    }

    /// Tells everybody of the end of the round.
    fn end_round(&self, mut log: Guard<'_>, round: Arc<Round>, no_space: Option<Cause>) -> Ended {
        let ended = log.end_round(no_space);
        let next_has_leader = std::mem::take(&mut log.next_has_leader);
        // Those who would wait for the next round are refused or in doubt as well.
        let next = (ended.failed || ended.no_space.is_some()).then(|| std::mem::take(&mut log.next));
        self.wake_all(&log);
        let log_bytes = log.wal.len_bytes();
        drop(log);
        self.look_at_log(log_bytes);
        if next_has_leader {
            round.free.set(());
        }
        for round in [Some(round), next].into_iter().flatten() {
            round.ended.set(ended.clone());
        }
        ended
    }

    fn log_or_panicked(&self) -> Guard<'_> {
        self.log.lock().unwrap_or_else(|poisoned| {
            let mut log = poisoned.into_inner();
            self.panicked(&mut log);
            log
        })
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
            let ended = self.round(log, target, 0);
            log = self.log()?;
            if let Some(cause) = ended.and_then(|ended| ended.no_space)
                && log.durable < target.min(log.appended)
            {
                return Err(log.no_space(&cause));
            }
        }
    }

    /// Runs `work` while no new write is taken; waits until nobody else does that. `work` may let
    /// go of the lock. `settle` sees the outcome under the lock, before any writer does.
    pub(super) fn while_paused<T>(
        &self,
        work: impl FnOnce(Guard<'_>) -> Result<T>,
        settle: impl FnOnce(&mut Log, &Result<T>),
    ) -> Result<T> {
        let mut log = self.wait_until_free(self.log()?)?;
        log.paused = true;
        let unwound = Unwound { shared: self, what: "a snapshot or the closing of the store" };
        let done = work(log);
        let mut log = self.log()?;
        settle(&mut log, &done);
        log.paused = false;
        self.wake_all(&log);
        std::mem::forget(unwound);
        done
    }

    /// Changes the batch size, and first syncs what would be pending beyond the new one.
    pub(super) fn change_batch_size(&self, n: u64) -> Result<()> {
        let flush = |log: Guard<'_>| {
            let mut log = if log.pending() < n { log } else { self.make_durable(log)? };
            self.check_log(&mut log)
        };
        self.while_paused(flush, |log, done| {
            if done.is_ok() {
                log.batch_size = n;
                self.apply_allowed(log);
            }
        })
    }

    pub(super) fn wait<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
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
    /// Puts `wal` in the place of the log whose every write a snapshot now holds. Returns that one, to be dropped
    /// where nobody waits: the file system frees its space then, and may take long.
    pub(super) fn switch(&mut self, wal: Wal) -> Wal {
        assert!(self.waiting.is_empty() && self.durable == self.appended, "a log is left only when all of it is durable");
        self.keep = wal.position();
        std::mem::replace(&mut self.wal, wal)
    }

    /// The last write that the rule allows to be applied.
    fn limit(&self) -> Seq {
        self.durable.saturating_add(self.batch_size - 1)
    }

    /// Ends the next round where nobody can begin it.
    pub(super) fn give_up_next(&mut self) {
        if self.running.is_none() {
            let ended = self.end_round(None);
            std::mem::take(&mut self.next).ended.set(ended);
        }
    }

    fn end_round(&mut self, no_space: Option<Cause>) -> Ended {
        self.running = None;
        Ended { durable: self.durable, applied: self.applied, failed: self.failure.is_some(), no_space }
    }
}

/// Dropped only when a thread does not get to wake those who wait for the end of its sync or pause: it
/// panics, or another one did and left the lock poisoned. Fails the log, so that they get an error
/// instead of waiting for ever. Made before the log's guard, so that it is dropped behind it.
pub(super) struct Unwound<'a> {
    pub(super) shared: &'a Shared,
    pub(super) what: &'static str,
}

impl Drop for Unwound<'_> {
    fn drop(&mut self) {
        let mut log = self.shared.log_always();
        log.fail(format!("a thread of this program panicked in {}", self.what));
        log.paused = false;
        self.shared.checkpointer.unwound();
        let rounds = [log.running.take().map(|(round, _)| round), Some(std::mem::take(&mut log.next))];
        let ended = log.end_round(None);
        drop(log);
        self.shared.settled.notify_all();
        for round in rounds.into_iter().flatten() {
            round.free.set(());
            round.ended.set(ended.clone());
        }
    }
}

/// The group could not be written. Refuses what was not acknowledged, keeps what was. `None`: the log
/// has failed.
pub(super) fn write_failed(log: &mut Log, group: Group, failure: WriteFailure, nonce: impl FnOnce() -> u64) -> Option<Cause> {
    let cause = Cause::of(&failure.cause);
    if let Some(torn) = failure.torn {
        log.fail(format!("the log could not be written ({}), and cutting the torn record off failed: {torn}", cause.text));
    } else if !is_no_space(&failure.cause) {
        log.fail(format!("the log could not be written: {}", cause.text));
    }
    let keep = log.keep;
    log.wal.take_back(group, keep, nonce);
    log.keep = log.wal.position();
    if log.failure.is_some() {
        return None;
    }
    while let Some(last) = log.waiting.pop_back() {
        log.refused.insert(last.ticket, cause.clone());
    }
    log.appended = log.applied;
    log.stalled = (log.pending() > 0).then(|| cause.clone());
    Some(cause)
}

//! Group commit: one sync makes the writes of many threads durable. This file takes a write from the append to the
//! answer.
//!
//! One rule decides when a write may be answered. A write is *applied* (made visible and acknowledged) once fewer than
//! `n` writes up to and including it are not durable: `seq − durable < n`. With n = 1 that is when it is durable. With
//! n > 1 the n-th pending write has to wait for a sync, and so have all that arrive during that sync. So never more
//! than n − 1 acknowledged writes are at risk.
//!
//! A *durable batch* is applied only when it is durable, with any n, and its thread leads or follows a round at once.
//! Writes that come after it wait behind it, so the order of applying stays that of the log.
//!
//! The steps of a write, under the log's lock unless the step says otherwise:
//! 1. without the lock (`write.rs`): encode its body and compute the checksum of the body;
//! 2. append: take the next sequence number, put a frame into the buffer;
//! 3. apply waiting writes from the front, as far as the rule allows, and answer their threads;
//! 4. a thread whose write is not applied leads a round or follows one.
//!
//! A *round* is one write to the file and one sync. Its leader does this:
//! - a. Without the lock: wait a moment for more writers (`commit_delay.rs`).
//! - b. Under the lock: take the buffer out. The round covers everything that is appended now.
//! - c. Without the lock: write the buffer with one call, then sync. If the write makes the file longer, first check
//!   that the log's name still shows this file (`identity.rs`). A round after a refused write first makes a mark
//!   durable, with syncs of its own (`wal/group.rs`).
//! - d. Without the lock, after a good sync: check the name again.
//! - e. Under the lock: look at the results. If the write, the sync or a check failed, see below. Only if all are good,
//!   move `durable`, and apply and answer waiting writes as in step 3. End the round.
//! - f. Release the lock. Wake the leader of the next round, then all threads that followed this one.
//!
//! While a round runs, the first writer whose write it will not decide becomes the leader of the next round and sleeps
//! until this one ends. The others sleep until the round ends that decides their write. If it was applied, they read
//! the answer from the round's result and do not take the lock again. So a write waits for the rest of one sync and
//! for its own.
//!
//! Failures:
//! - No space for the write: the file is truncated to its last good end. The writes that were not applied are refused.
//!   Acknowledged ones, if there are any, stay in the buffer. Then the log is *stalled*: it accepts no write until
//!   those are on the disk.
//! - Any other failure, or another file under the log's name: the log has *failed* for good.

use super::cause::Cause;
use super::in_flight::{Waiting, WriteKind};
use super::log::{Guard, Log, Round, RoundResult};
use super::report::Ack;
use super::shared::{PanicGuard, Shared};
use crate::error::{Error, Result};
use crate::record::{Body, Kind};
use crate::wal::WriteFailure;
use crate::{MAX_SEQ, Seq};
use std::sync::Arc;

/// A write that is encoded and not appended.
pub(super) struct Write<'a> {
    pub(super) kind: WriteKind,
    /// It is applied and answered only when it is durable, at every batch size.
    pub(super) sync_first: bool,
    /// Its operations.
    pub(super) body: Body<'a>,
}

/// Above this a group is synced before it is full, so that large values cannot fill the memory.
const MAX_BUFFERED_BYTES: usize = 256 << 20;

pub(super) fn is_buffer_full(log: &Log) -> bool {
    log.wal.buffered_bytes() >= MAX_BUFFERED_BYTES
}

/// Refuses a write that would get a sequence number after the last one.
pub(super) fn check_seq(log: &Log, writes: u64) -> Result<()> {
    let got = log.appended.saturating_add(writes);
    if got <= MAX_SEQ { Ok(()) } else { Err(Error::Limit { what: "sequence number", got, min: 1, max: MAX_SEQ }) }
}

impl Shared {
    /// Steps 2 to 4 of one write.
    pub(super) fn commit<'a>(&'a self, log: Guard<'a>, write: Write<'_>) -> Result<Ack> {
        self.commit_admitted(self.admit(log)?, write, |_| {})
    }

    /// Waits until the log can take a write. May release the lock.
    pub(super) fn admit<'a>(&'a self, log: Guard<'a>) -> Result<Guard<'a>> {
        let mut log = self.ready_for_write(log)?;
        while self.checkpointer.is_behind(log.wal.len_bytes()) {
            log = self.wait(log)?;
            log = self.ready_for_write(log)?;
        }
        Ok(log)
    }

    /// As [`Shared::commit`], if the log can take a write now. The lock is not released before the append. `appended`
    /// is called after it, under the lock.
    pub(super) fn commit_admitted<'a>(
        &'a self,
        mut log: Guard<'a>,
        write: Write<'_>,
        appended: impl FnOnce(&mut Log),
    ) -> Result<Ack> {
        check_seq(&log, 1)?;
        let waiting = self.append(&mut log, &write);
        drop(write); // the log has a copy, and it may be long
        appended(&mut log);
        let (seq, ticket, sync_first) = (waiting.seq, waiting.ticket, waiting.sync_first);
        if self.apply_or_queue(&mut log, waiting) {
            return Ok(log.ack(seq));
        }
        if self.arrivals.note(1) {
            self.committer.wake();
        }
        self.apply_allowed(&mut log);
        self.wait_for_answer(log, seq, ticket, sync_first)
    }

    /// Steps 2 and 3 of one write of a submission, if the log can take a write now.
    pub(super) fn append_submitted(&self, log: &mut Log, write: &Write<'_>) {
        let waiting = Waiting { is_submitted: true, ..self.append(log, write) };
        self.apply_or_queue(log, waiting);
    }

    /// Applies a write that has just been appended, or lets it wait. Whether it is applied.
    fn apply_or_queue(&self, log: &mut Log, write: Waiting) -> bool {
        let applied = log.waiting.is_empty() && write.may_apply(log.durable, log.limit());
        if applied {
            self.state.apply_write(log.wal.body(write.end, write.body_len));
            self.applied(log, &write);
        } else {
            log.waiting.push_back(write);
        }
        applied
    }

    /// Whether a write would have to wait until another thread has done something.
    pub(super) fn is_full(&self, log: &Log) -> bool {
        log.paused || log.stalled.is_some() || is_buffer_full(log) || self.checkpointer.is_behind(log.wal.len_bytes())
    }

    /// As [`Shared::wait_until_free`], and begins the log if the store was opened without one.
    pub(super) fn ready_for_write<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        loop {
            log = self.wait_until_free(log)?;
            let Some(deferred_log) = log.deferred_log.clone() else { return Ok(log) };
            log = self.begin_log(log, &deferred_log)?;
        }
    }

    /// Waits until the log can accept a write: not paused, not stalled, and room in the buffer.
    pub(super) fn wait_until_free<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        loop {
            log.check_open()?;
            if log.paused {
                log = self.wait(log)?;
            } else if log.stalled.is_some() || is_buffer_full(&log) {
                log = self.advance(log)?;
            } else {
                return Ok(log);
            }
        }
    }

    /// Step 2.
    fn append(&self, log: &mut Log, write: &Write<'_>) -> Waiting {
        let Write { kind, sync_first, body } = write;
        let seq = log.appended + 1;
        log.appended = seq;
        let durable = log.durable;
        log.wal.append(Kind::WRITE, seq, durable, || self.disk.entropy(), body);
        log.next_ticket += 1;
        let (ticket, body_len, end) = (log.next_ticket, body.bytes.len(), log.wal.position());
        Waiting { ticket, seq, kind: *kind, body_len, end, sync_first: *sync_first, is_submitted: false }
    }

    /// Step 3.
    pub(super) fn apply_allowed(&self, log: &mut Log) {
        let (durable, limit) = (log.durable, log.limit());
        while log.waiting.front().is_some_and(|first| first.may_apply(durable, limit))
            && let Some(first) = log.waiting.pop_front()
        {
            self.state.apply_write(log.wal.body(first.end, first.body_len));
            self.applied(log, &first);
        }
    }

    fn applied(&self, log: &mut Log, write: &Waiting) {
        log.applied_end = write.end;
        log.applied = write.seq;
        match write.kind {
            WriteKind::Put => log.counts.puts += 1,
            WriteKind::Delete => log.counts.deletes += 1,
            WriteKind::Batch => log.counts.batches += 1,
        }
        if log.oldest_pending.is_none() {
            log.oldest_pending = (log.pending() > 0).then(|| self.disk.now());
            self.flusher.wake_for_write();
        }
    }

    /// Step 4. Returns once the write is applied, refused, or in doubt.
    fn wait_for_answer<'a>(&'a self, mut log: Guard<'a>, seq: Seq, ticket: u64, sync_first: bool) -> Result<Ack> {
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
            let most_pending = if sync_first { 0 } else { log.batch_size - 1 };
            if let Some(ack) = self.round(log, seq, most_pending).and_then(|result| result.ack(seq)) {
                return Ok(ack);
            }
            log = self.log()?;
        }
    }

    /// Leads a round or sleeps until one has ended. After it, at most `most_pending` writes up to `seq` should be left
    /// to sync; in any case something has changed.
    pub(super) fn round(&self, mut log: Guard<'_>, seq: Seq, most_pending: u64) -> Option<RoundResult> {
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
        // Other threads rely on this one, even if its own write has been decided in the meantime. That write may have
        // been refused and its number given to another one, so the result of the round that begins here is not its
        // answer.
        let log = self.log().ok()?;
        if log.running.is_none() && log.failure.is_none() && log.wal.buffered_bytes() > 0 {
            self.lead(log);
        }
        None
    }

    /// Waits for the running round, or leads one. Some writes are decided after it.
    pub(super) fn advance<'a>(&'a self, log: Guard<'a>) -> Result<Guard<'a>> {
        let result = self.round(log, 0, 0);
        let log = self.log()?;
        match result.and_then(|result| result.no_space) {
            Some(cause) if log.stalled.is_some() => Err(log.no_space(&cause)),
            _ => Ok(log),
        }
    }

    /// Writes the buffer and syncs it. The round covers everything appended so far.
    fn lead(&self, mut log: Guard<'_>) -> RoundResult {
        assert!(log.running.is_none() && log.failure.is_none(), "one leader at a time, and none after a failure");
        let round = std::mem::take(&mut log.next);
        log.next_has_leader = false;
        // Writes that come during the delay are in this round.
        log.running = Some((Arc::clone(&round), MAX_SEQ));
        let waiting = log.waiting.len();
        let wait = log.delay.before_round(waiting);
        drop(log);

        let guard = PanicGuard::new(self, "a sync");
        let most_came = wait.map(|wait| self.arrivals.wait_for(&wait, &*self.disk, self.committer.is_this_thread()));
        let mut log = self.log_or_panicked();
        most_came.into_iter().for_each(|most_came| log.delay.ended(most_came));
        if log.failure.is_some() {
            guard.forget();
            return self.end_round(log, round, None);
        }
        let (through, waited) = (log.appended, log.waiting.len());
        log.running = Some((Arc::clone(&round), through));
        let mut group = log.wal.take();
        drop(log);

        let lost_before = if group.extends() { self.why_lost(group.expected_before(), group.file(), false) } else { None };
        let written = if lost_before.is_none() { group.write() } else { Err(WriteFailure::not_tried()) };
        let began = self.disk.now();
        let synced = written.is_ok().then(|| group.sync());
        let took = self.disk.now().saturating_sub(began);
        let lost = match &synced {
            Some(Ok(())) => self.why_lost(&group.expected_after(), group.file(), false),
            Some(Err(_)) => None, // a failed sync may shorten the file; it is reported as a failed sync
            None => lost_before,
        };

        let mut log = self.log_or_panicked();
        let mut no_space = None;
        if let Some(reason) = lost {
            log.fail_as_lost(reason);
        }
        match written {
            Err(failure) => no_space = log.write_failed(group, failure, || self.disk.entropy()),
            Ok(()) => {
                log.counts.log_writes += 1;
                log.counts.log_bytes_written += group.len_bytes();
                let writes = through - log.written;
                log.counts.group_sizes.record(writes);
                log.counts.syncs += 1;
                log.counts.sync_times.record(took);
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
        guard.forget();
        let still_waiting = log.waiting.len();
        log.delay.round_ended(waited, still_waiting, took);
        self.end_round(log, round, no_space)
    }

    /// Ends the round and wakes all threads that wait for it.
    fn end_round(&self, mut log: Guard<'_>, round: Arc<Round>, no_space: Option<Cause>) -> RoundResult {
        let result = log.end_round(no_space);
        let next_has_leader = std::mem::take(&mut log.next_has_leader);
        // Threads that wait for the next round are refused or in doubt as well.
        let next = (result.failed || result.no_space.is_some()).then(|| std::mem::take(&mut log.next));
        self.wake_all(&log);
        let log_bytes = log.wal.len_bytes();
        drop(log);
        self.checkpoint_if_long(log_bytes);
        if next_has_leader {
            round.free.set(());
        }
        for round in [Some(round), next].into_iter().flatten() {
            round.ended.set(result.clone());
        }
        result
    }

    /// Returns once everything appended before the call is durable.
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
            let result = self.round(log, target, 0);
            log = self.log()?;
            if let Some(cause) = result.and_then(|result| result.no_space)
                && log.durable < target.min(log.appended)
            {
                return Err(log.no_space(&cause));
            }
        }
    }
}

//! [`Log`]: everything that the log's lock guards. It holds the log, the watermarks, the writes that wait, and the
//! rounds of group commit. `group_commit.rs` describes how they work together.

use super::cause::Cause;
use super::commit_delay::CommitDelay;
use super::group_sizes::GroupSizes;
use super::in_flight::{InFlight, Waiting};
use super::latency::SyncTimes;
use super::log_row::LogInRow;
use super::report::Ack;
use super::submissions::{Done, Submissions, Told};
use crate::Seq;
use crate::error::{Error, Result};
use crate::recovery::DeferredLog;
use crate::sync::{MutexGuard, Signal};
use crate::wal::{Group, Position, Wal, WriteFailure, is_no_space};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Everything that the log's lock guards. Lock order: log, then map.
#[derive(Debug)]
pub(super) struct Log {
    pub(super) wal: Wal,
    /// This log among those of the session, for change feeds.
    pub(super) row: Arc<LogInRow>,
    /// The batch size, n.
    pub(super) batch_size: u64,
    /// The last sequence number given to a write.
    pub(super) appended: Seq,
    /// The last write handed to the operating system.
    pub(super) written: Seq,
    /// The last write that a successful sync covers.
    pub(super) durable: Seq,
    /// The last write in the map: visible and acknowledged.
    pub(super) applied: Seq,
    /// Writes that are appended and not applied, in order.
    pub(super) waiting: VecDeque<Waiting>,
    /// The end of the last applied write in the log.
    pub(super) applied_end: Position,
    /// Finds the last waiting write on a key.
    pub(super) in_flight: InFlight,
    /// Results of refused writes, until their threads have taken them.
    pub(super) refused: HashMap<u64, Cause>,
    pub(super) next_ticket: u64,
    /// What callers have submitted, and do not wait for.
    pub(super) submissions: Submissions,
    /// How often waiting writes were refused.
    pub(super) refusals: u64,
    /// Whether a conditional write that has lost several attempts has its turn (`decide.rs`).
    pub(super) has_turn: bool,
    /// Threads that sleep on the condition variable of the store.
    pub(super) sleepers: usize,
    /// The round that is running, and the last write that it covers.
    pub(super) running: Option<(Arc<Round>, Seq)>,
    /// The round that will cover the writes in the buffer.
    pub(super) next: Arc<Round>,
    /// Whether a thread sleeps until the next round can begin, to lead it.
    pub(super) next_has_leader: bool,
    pub(super) delay: CommitDelay,
    /// No new write is accepted: a snapshot is being taken, or the store is closing.
    pub(super) paused: bool,
    /// Why acknowledged writes could not be written. They wait in the buffer.
    pub(super) stalled: Option<Cause>,
    /// Why nothing will be written any more.
    pub(super) failure: Option<String>,
    /// Whether the failure is that the log lost its name or its bytes.
    pub(super) is_lost: bool,
    /// Set when opening found no log to continue. The first write begins one.
    pub(super) deferred_log: Option<Arc<DeferredLog>>,
    pub(super) closed: bool,
    /// When the oldest write that is acknowledged and not durable was acknowledged, or earlier.
    pub(super) oldest_pending: Option<Duration>,
    /// The last write at the time of the flusher's last look. It shows whether the store is idle.
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
    pub(super) sync_times: SyncTimes,
    pub(super) group_sizes: GroupSizes,
    pub(super) snapshots: u64,
    pub(super) snapshot_seq: Seq,
}

/// A place in the order of appends and refusals. Sequence numbers do not do: refused writes give theirs back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moment {
    tickets: u64,
    refusals: u64,
}

/// One write to the file and one sync, and the signals for the threads that wait for them.
#[derive(Debug, Default)]
pub(super) struct Round {
    /// Set when the next round can begin, for its leader.
    pub(super) free: Signal<()>,
    pub(super) ended: Signal<RoundResult>,
}

/// The result of a round.
#[derive(Clone, Debug)]
pub(super) struct RoundResult {
    pub(super) durable: Seq,
    /// Visible and acknowledged. Meaningless if the log has `failed`.
    pub(super) applied: Seq,
    pub(super) failed: bool,
    /// Why the round wrote nothing.
    pub(super) no_space: Option<Cause>,
}

impl RoundResult {
    /// The answer to write `seq`, if this round has decided it.
    pub(super) fn ack(&self, seq: Seq) -> Option<Ack> {
        let decided = seq <= self.durable || (seq <= self.applied && !self.failed);
        decided.then(|| Ack { seq, durable: seq <= self.durable, pending: self.applied.saturating_sub(self.durable) })
    }
}

pub(super) type Guard<'a> = MutexGuard<'a, Log>;

impl Log {
    pub(super) fn new(wal: Wal, deferred_log: Option<DeferredLog>, batch_size: u64, last: Seq, snapshot_seq: Seq) -> Log {
        Log {
            applied_end: wal.position(),
            wal,
            row: Arc::default(),
            batch_size,
            appended: last,
            written: last,
            durable: last,
            applied: last,
            waiting: VecDeque::new(),
            in_flight: InFlight::default(),
            refused: HashMap::new(),
            next_ticket: 0,
            submissions: Submissions::default(),
            refusals: 0,
            has_turn: false,
            sleepers: 0,
            running: None,
            next: Arc::default(),
            next_has_leader: false,
            delay: CommitDelay::default(),
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
        self.applied.saturating_sub(self.durable) // the leader of a round moves `durable` first, for a moment
    }

    /// The last write that the rule of group commit allows to be applied.
    pub(super) fn limit(&self) -> Seq {
        self.durable.saturating_add(self.batch_size - 1)
    }

    /// Whether everything is durable and no thread works on the log.
    pub(super) fn is_quiet(&self) -> bool {
        let takes_writes = self.failure.is_none() && !self.closed && !self.paused && self.stalled.is_none();
        takes_writes && self.running.is_none() && self.waiting.is_empty() && self.durable == self.appended
    }

    /// The last waiting write on `key`: its number and the value that it puts, or `None` for a delete.
    pub(super) fn in_flight(&mut self, key: &[u8]) -> Option<(Seq, Option<&[u8]>)> {
        self.in_flight.last(&self.waiting, &self.wal, key)
    }

    /// The present moment. It is another one after each append and after each refusal. While it stays the same, the
    /// last write on each key stays the same.
    pub(super) fn moment(&self) -> Moment {
        Moment { tickets: self.next_ticket, refusals: self.refusals }
    }

    /// The error that every caller gets once the log has failed.
    pub(super) fn poisoned(&self) -> Option<Error> {
        let reason = self.failure.clone()?;
        if self.is_lost {
            return Some(Error::Lost { path: self.wal.path().to_path_buf(), reason });
        }
        Some(Error::Poisoned { path: self.wal.path().to_path_buf(), reason, pending: self.pending() })
    }

    /// An error if the store takes no more writes.
    pub(super) fn check_open(&self) -> Result<()> {
        match self.poisoned() {
            Some(error) => Err(error),
            None if self.closed => Err(Error::Closed),
            None => Ok(()),
        }
    }

    pub(super) fn no_space(&self, cause: &Cause) -> Error {
        Error::NoSpace { path: self.wal.path().to_path_buf(), pending: self.pending(), source: cause.error() }
    }

    pub(super) fn ack(&self, seq: Seq) -> Ack {
        Ack { seq, durable: seq <= self.durable, pending: self.pending() }
    }

    /// Stops all writing. `reason` says what happened to which file.
    pub(super) fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
        self.waiting.clear(); // in doubt, and never applied
        self.in_flight.clear();
    }

    /// Stops all writing, because the file is not the log that was opened any more.
    pub(super) fn fail_as_lost(&mut self, reason: String) {
        self.is_lost |= self.failure.is_none();
        self.fail(reason);
    }

    /// The group could not be written. Refuses the writes that were not acknowledged and keeps the others in the
    /// buffer. `None`: the log has failed.
    pub(super) fn write_failed(&mut self, group: Group, failure: WriteFailure, nonce: impl FnOnce() -> u64) -> Option<Cause> {
        let cause = Cause::of(&failure.cause);
        if let Some(torn) = failure.torn {
            self.fail(format!("the log could not be written ({}), and cutting off the torn record failed: {torn}", cause.text));
        } else if !is_no_space(&failure.cause) {
            self.fail(format!("the log could not be written: {}", cause.text));
        }
        let end = self.applied_end;
        self.wal.take_back(group, end, nonce);
        self.applied_end = self.wal.position();
        if self.failure.is_some() {
            return None;
        }
        self.refusals += u64::from(!self.waiting.is_empty());
        self.in_flight.clear();
        while let Some(last) = self.waiting.pop_back() {
            if !last.is_submitted {
                self.refused.insert(last.ticket, cause.clone());
            }
        }
        self.submissions.refuse(self.applied, &cause);
        self.appended = self.applied;
        self.stalled = (self.pending() > 0).then(|| cause.clone());
        Some(cause)
    }

    /// Takes the submissions that are decided out of the queue, with what to tell.
    pub(super) fn take_decided(&mut self) -> Vec<(Done, Told)> {
        let mut decided = Vec::new();
        while let Some(first) = self.submissions.queue.front() {
            // The numbers of refused writes may have been given to others, so refusals come first.
            let (in_force, result) = if let Some(refused) = &first.refused {
                (refused.in_force, Err(self.no_space(&refused.cause)))
            } else if first.last <= self.durable {
                (first.among(first.last), Ok(self.ack(first.last)))
            } else if let Some(error) = self.poisoned() {
                (first.among(self.durable), Err(error))
            } else if first.last <= self.applied {
                (first.among(first.last), Ok(self.ack(first.last)))
            } else {
                break;
            };
            let Some(first) = self.submissions.queue.pop_front() else { break };
            decided.push((first.done, Told { in_force, result }));
        }
        self.submissions.being_told = decided.len();
        decided
    }

    /// All that were taken are told.
    pub(super) fn told(&mut self) {
        self.submissions.being_told = 0;
        self.submissions.refused = self.submissions.queue.iter().filter(|submission| submission.refused.is_some()).count();
    }

    /// Replaces the log by `wal`, when a snapshot holds every write of the old one. Returns the old one, to be dropped
    /// without the lock: the file system frees its space then, which may take long.
    pub(super) fn switch(&mut self, wal: Wal) -> Wal {
        assert!(self.waiting.is_empty() && self.durable == self.appended, "a log is replaced only when all of it is durable");
        self.applied_end = wal.position();
        self.row = self.row.switch(self.durable, &self.wal, &wal);
        std::mem::replace(&mut self.wal, wal)
    }

    /// Ends the next round if no thread can begin it.
    pub(super) fn give_up_next(&mut self) {
        if self.running.is_none() {
            let result = self.end_round(None);
            std::mem::take(&mut self.next).ended.set(result);
        }
    }

    pub(super) fn end_round(&mut self, no_space: Option<Cause>) -> RoundResult {
        self.running = None;
        RoundResult { durable: self.durable, applied: self.applied, failed: self.failure.is_some(), no_space }
    }
}

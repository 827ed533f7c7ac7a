//! [`Model`]: what the users of a workload know about the store, and what follows from its promises. It is compared
//! with each answer of the store, and with what readers see.
//!
//! A write is *issued* when a call with it begins, or a submission with it is taken. It is *shown* when the rule of
//! group commit allows it (`group_commit.rs`). Between the two it waits. The rule is written down here a second time,
//! and it needs only the batch size and the last durable write, which the statistics report. A crash shows whether
//! they tell the truth.

use super::store::Bounds;
use super::submission::{Submission, Untold};
use crate::Seq;
use crate::disk::Disk;
use crate::disk::sim::{Change, SimDisk};
use crate::engine::{Stats, Told, View};
use crate::error::Error;
use crate::state::{Digest, Op, State};
use std::collections::VecDeque;
use std::time::Duration;

/// A workload that was run.
pub(super) struct Recorded {
    pub(super) trace: Vec<Change>,
    /// In order: the end of each step, of each write in the middle of one, and each call that tells a submission.
    pub(super) marks: Vec<Mark>,
    /// The digest of the state after each write, beginning with no write.
    pub(super) digests: Vec<Digest>,
    /// The number of changes at the end of the step in which an operation failed as planned.
    pub(super) failed_by: Option<usize>,
    pub(super) counts: Counts,
    /// The first answer, or sight of a reader, that was wrong.
    pub(super) misread: Option<Misread>,
}

/// What a workload did besides its steps.
#[derive(Clone, Copy, Default)]
pub(super) struct Counts {
    /// Writes issued in the middle of a step.
    pub(super) interleaved: u64,
    /// Submissions told.
    pub(super) told: u64,
    /// Submissions that were not taken, because the store was full.
    pub(super) full: u64,
    /// Looks at a view after later writes.
    pub(super) viewed: u64,
}

/// A wrong answer, and the number of changes made before it.
#[derive(Clone, Debug)]
pub(super) struct Misread {
    pub(super) changes: usize,
    pub(super) text: String,
}

/// The writes issued and promised after this number of changes, in this step.
pub(super) struct Mark {
    changes: usize,
    step: usize,
    bounds: Bounds,
}

impl Recorded {
    /// The bounds after a crash behind the first `changes` changes: at least the writes promised by finished calls,
    /// and at most those issued by the call under way.
    pub(super) fn bounds(&self, changes: usize) -> Bounds {
        let over = self.marks.iter().rev().find(|mark| mark.changes <= changes);
        let under_way = self.marks.iter().find(|mark| mark.changes > changes).or(self.marks.last());
        Bounds {
            promised: over.map_or(0, |mark| mark.bounds.promised),
            issued: under_way.map_or(0, |mark| mark.bounds.issued),
            ..Bounds::default()
        }
    }

    /// The step under way after this number of changes, counted from 0.
    pub(super) fn step_under_way(&self, changes: usize) -> usize {
        self.marks.iter().find(|mark| mark.changes >= changes).or(self.marks.last()).map_or(0, |mark| mark.step)
    }
}

/// A write that is issued and not shown.
struct Waiting {
    ops: Vec<Op>,
    /// It is shown only when it is durable.
    is_durable: bool,
}

/// A view that a user keeps, and the state that it must show.
pub(super) struct Held {
    pub(super) view: View,
    pub(super) state: State,
}

/// See the head of this file.
pub(super) struct Model {
    /// The state after all writes that are issued.
    pub(super) state: State,
    /// The state that readers see.
    pub(super) shown: State,
    waiting: VecDeque<Waiting>,
    pub(super) digests: Vec<Digest>,
    /// The time when each write was issued, or later shown.
    times: Vec<Duration>,
    promised: Seq,
    pub(super) marks: Vec<Mark>,
    pub(super) step: usize,
    pub(super) counts: Counts,
    pub(super) misread: Option<Misread>,
    /// The reason why nothing more may be written.
    pub(super) ended: Option<Error>,
    /// Another call is under way, which may have paused the log.
    pub(super) in_the_middle: bool,
    pub(super) untold: VecDeque<Untold>,
    submissions: usize,
    /// The first error that was told in this step.
    pub(super) told_error: Option<Error>,
    /// Submissions that were not taken. They are tried again when there is room.
    pub(super) postponed: Vec<Submission>,
    pub(super) room: Room,
    pub(super) views: Vec<Held>,
}

/// How often a user asked to be told when there is room, and how often the store told.
#[derive(Clone, Copy, Default)]
pub(super) struct Room {
    pub(super) asked: u64,
    pub(super) told: u64,
    /// A condition did not hold because of waiting writes. Nothing is taken until the writes up to this one are
    /// decided.
    unsettled: Seq,
    /// The same, but the store may have had another reason.
    perhaps_unsettled: Seq,
}

fn apply(state: &mut State, ops: &[Op]) {
    for op in ops {
        state.apply(op.clone());
    }
}

impl Model {
    pub(super) fn new() -> Model {
        let state = State::default();
        Model {
            digests: vec![state.digest()],
            shown: state.clone(),
            state,
            waiting: VecDeque::new(),
            times: Vec::new(),
            promised: 0,
            marks: Vec::new(),
            step: 0,
            counts: Counts::default(),
            misread: None,
            ended: None,
            in_the_middle: false,
            untold: VecDeque::new(),
            submissions: 0,
            told_error: None,
            postponed: Vec::new(),
            room: Room::default(),
            views: Vec::new(),
        }
    }

    pub(super) fn issued(&self) -> Seq {
        self.times.len() as Seq
    }

    /// The last write that readers see.
    pub(super) fn last_shown(&self) -> Seq {
        self.issued() - self.waiting.len() as Seq
    }

    pub(super) fn promise(&mut self, seq: Seq) {
        self.promised = self.promised.max(seq);
    }

    /// The time since which the oldest acknowledged and unpromised write is pending.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let oldest = usize::try_from(self.promised).expect("few writes");
        self.times.get(oldest).filter(|_| self.promised < self.last_shown()).copied()
    }

    pub(super) fn mark(&mut self, disk: &SimDisk) {
        let bounds = Bounds { promised: self.promised, issued: self.issued(), ..Bounds::default() };
        self.marks.push(Mark { changes: disk.changes(), step: self.step, bounds });
    }

    pub(super) fn wrong(&mut self, disk: &SimDisk, text: String) {
        self.misread.get_or_insert(Misread { changes: disk.changes(), text });
    }

    /// A write is issued.
    pub(super) fn issue(&mut self, ops: Vec<Op>, is_durable: bool, now: Duration) {
        apply(&mut self.state, &ops);
        self.digests.push(self.state.digest());
        self.times.push(now);
        self.waiting.push_back(Waiting { ops, is_durable });
    }

    /// The write that was issued last was refused.
    pub(super) fn take_back(&mut self) {
        self.waiting.pop_back();
        self.digests.pop();
        self.times.pop();
        self.state = self.shown.clone();
        self.waiting.iter().for_each(|write| apply(&mut self.state, &write.ops));
    }

    /// Compares with the statistics, while no write is under way: some waiting writes are shown now, or were refused.
    pub(super) fn settle(&mut self, stats: &Stats, disk: &SimDisk) {
        self.promise(stats.durable);
        let limit = stats.durable + stats.batch_size - 1;
        while let Some(first) = self.waiting.front() {
            let seq = self.last_shown() + 1;
            if seq > stats.appended || seq > if first.is_durable { stats.durable } else { limit } {
                break;
            }
            self.times[usize::try_from(seq - 1).expect("few writes")] = disk.now();
            let first = self.waiting.pop_front().expect("`front` returned it");
            apply(&mut self.shown, &first.ops);
        }
        // After a failure, writes that wait are in doubt: the next opening may find them.
        if stats.failed.is_none() && stats.appended != self.issued() {
            self.refuse(stats.appended, disk);
        }
    }

    /// The store has only the first `kept` writes: the others were refused.
    fn refuse(&mut self, kept: Seq, disk: &SimDisk) {
        let (issued, shown) = (self.issued(), self.last_shown());
        if kept != shown || !disk.has_failed() {
            self.wrong(disk, format!("{issued} writes were issued and {shown} acknowledged, and the log has {kept}"));
        }
        self.waiting.clear();
        self.state = self.shown.clone();
        let shown_len = usize::try_from(shown).expect("few writes");
        self.digests.truncate(shown_len + 1);
        self.times.truncate(shown_len);
        for untold in self.untold.iter_mut().filter(|untold| untold.last > shown) {
            let in_force = untold.among(shown);
            untold.refused.get_or_insert(in_force);
        }
        (self.room.unsettled, self.room.perhaps_unsettled) = (0, 0);
    }

    /// The last waiting write that changes `key`, or 0.
    pub(super) fn waits_on(&self, key: &[u8]) -> Seq {
        let place = self.waiting.iter().rposition(|write| write.ops.iter().any(|op| *op.key == *key));
        place.map_or(0, |place| self.last_shown() + 1 + place as Seq)
    }

    /// Why the store must not take any submission now.
    fn takes_nothing(&self) -> Option<&'static str> {
        if self.untold.iter().any(|untold| untold.refused.is_some()) {
            Some("a refused submission was not told")
        } else if self.room.unsettled > self.last_shown() {
            Some("a condition was not settled")
        } else {
            None
        }
    }

    /// The next submission gets this name.
    pub(super) fn name(&mut self) -> usize {
        self.submissions += 1;
        self.submissions
    }

    /// The submission was taken: its writes are issued. `first`, `last`: what the store says.
    pub(super) fn taken(&mut self, name: usize, submission: &Submission, first: Seq, last: Seq, disk: &SimDisk) {
        if let Some(why) = self.takes_nothing() {
            self.wrong(disk, format!("a submission was taken although {why}"));
        }
        if submission.fails_at().is_some() {
            self.wrong(disk, "a submission was taken although a condition did not hold".into());
        }
        let before = self.issued();
        let mut durable = None;
        for sent in submission.writes() {
            self.issue(sent.ops.clone(), sent.is_durable, disk.now());
            durable = if sent.is_durable { Some(self.issued()) } else { durable };
        }
        if (first, last) != (before + 1, self.issued()) {
            self.wrong(
                disk,
                format!("writes {first} to {last} were taken, but {} to {} were submitted", before + 1, self.issued()),
            );
        }
        self.untold.push_back(Untold { name, first, last, durable, refused: None });
    }

    /// The store was full: nothing was taken.
    pub(super) fn full(&mut self, submission: Submission, stats: &Stats, disk: &SimDisk) {
        let rests_on = submission.fails_at().map_or(0, |key| self.waits_on(key));
        let stalled = disk.has_failed() && stats.pending > 0;
        let known = self.takes_nothing().is_some() || self.room.perhaps_unsettled > self.last_shown();
        if !known && !self.in_the_middle && !stalled {
            if rests_on == 0 {
                self.wrong(disk, "a submission was not taken, although the store was not full".into());
            }
            self.room.unsettled = rests_on;
        }
        self.room.perhaps_unsettled = self.room.perhaps_unsettled.max(rests_on);
        self.room.asked += 1;
        self.counts.full += 1;
        self.postponed.push(submission);
    }

    /// The store said that a condition on this key does not hold.
    pub(super) fn condition_failed(&mut self, submission: &Submission, key: &[u8], disk: &SimDisk) {
        if submission.fails_at() != Some(key) {
            self.wrong(disk, format!("a condition on {} is said not to hold", key.escape_ascii()));
        } else if self.waits_on(key) > 0 {
            self.wrong(disk, format!("a condition on {} failed because of a write that may be refused", key.escape_ascii()));
        }
    }

    /// A submission is told. `stats` are those of the moment.
    pub(super) fn told(&mut self, name: usize, told: Told, stats: &Stats, disk: &SimDisk) {
        self.settle(stats, disk);
        self.counts.told += 1;
        let Some(of) = self.untold.pop_front().filter(|first| first.name == name) else {
            return self.wrong(disk, format!("submission {name} is told out of its turn, or twice"));
        };
        let writes = of.among(of.last);
        let failed = stats.failed.is_some();
        let (expected, is_right) = match &told.result {
            Ok(ack) => {
                let is_promised = ack.durable || stats.batch_size == 1;
                self.promise(if is_promised { of.last } else { of.durable.unwrap_or(0) });
                // After a failed sync no OK is given, not even to a write that had been shown before.
                let may_be_ok = of.last <= if failed { stats.durable } else { self.last_shown() };
                (
                    writes,
                    may_be_ok && of.refused.is_none() && ack.seq == of.last && (is_promised || ack.pending < stats.batch_size),
                )
            }
            // If the log has failed since, the model has not seen the refusal.
            Err(Error::NoSpace { .. }) if failed => (of.refused.unwrap_or_else(|| of.among(self.last_shown())), true),
            Err(Error::NoSpace { .. }) => (of.refused.unwrap_or(0), of.refused.is_some()),
            Err(Error::Poisoned { .. } | Error::Lost { .. }) => {
                (of.among(stats.durable), failed && of.refused.is_none() && of.last > stats.durable)
            }
            Err(_) => (0, false),
        };
        if told.in_force != expected || !is_right || told.result.is_err() && !disk.has_failed() {
            let (first, last, shown, refused) = (of.first, of.last, self.last_shown(), of.refused);
            let text = format!(
                "submission {name}, writes {first} to {last}, is told {told:?}, with {shown} writes shown, {} durable; \
                 refused: {refused:?}",
                stats.durable
            );
            self.wrong(disk, text);
        }
        if let Err(error) = told.result {
            self.told_error.get_or_insert(error);
        }
        self.mark(disk);
    }

    /// The committer has had a turn with nothing else under way: everything is told.
    pub(super) fn all_told(&mut self, disk: &SimDisk) {
        if let Some(first) = self.untold.front() {
            self.wrong(disk, format!("submission {} was taken and is not told", first.name));
        }
        if self.room.told != self.room.asked {
            let Room { asked, told, .. } = self.room;
            self.wrong(disk, format!("{asked} users asked when there is room, and {told} were told"));
        }
    }
}

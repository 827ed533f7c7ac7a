//! The effect of each action.

use crate::disk::{Disk, Frame, Kind, Name, Piece, RESERVED, Seq};
use crate::model::{Action, Broken, Doing, Looked, Mark, Process, Protocol, State, Step, Task};
use crate::replay::{LogTail, replay};
use crate::wrong::Wrong;

impl Protocol {
    /// The state after an action that may happen.
    pub fn after(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        match action {
            Action::Start => self.begin(&mut next, Task::Opening),
            Action::Append { again } => self.append(&mut next, *again),
            Action::AppendDurable => {
                next.used.durables += 1;
                if !self.is(Wrong::DurableBatchNotSynced) {
                    next.process.sync_first.insert(next.process.appended + 1);
                }
                next.process.answer_durable = next.process.appended + 1;
                self.append(&mut next, false);
            }
            Action::Look => {
                next.used.looks += 1;
                next.process.looked = Some(self.effective(&next));
            }
            Action::Decide => self.decide(&mut next),
            Action::Tell => {
                let seq = next.process.looked.take().expect("a client has looked").seq;
                next.acknowledged = next.acknowledged.max(seq);
                next.promised = next.promised.max(seq.saturating_sub(self.bounds.batch_size - 1));
            }
            Action::WriteHead => {
                next.write_head();
                next.process.mark = Mark::Head;
            }
            Action::SyncHead => {
                next.disk.sync(next.process.log.expect("an open store has a log"));
                next.process.mark = Mark::HeadDurable;
            }
            Action::WriteMark => {
                next.write_mark();
                next.process.mark = Mark::Written;
            }
            Action::SyncMark => {
                next.disk.sync(next.process.log.expect("an open store has a log"));
                next.process.mark = Mark::Durable;
            }
            Action::Reserve => next.disk.set_len(next.process.log.expect("an open store has a log"), RESERVED),
            Action::Write => self.write(&mut next),
            Action::WriteFails { wrote, torn } => {
                next.used.full_disks += 1;
                next.write_part(*wrote, *torn, self.needs_head(&state.process));
                next.take_mark_back();
                self.begin(&mut next, Task::CuttingBack);
            }
            Action::Prove => {
                next.used.proofs += 1;
                let (nonce, last) = (next.nonce(), next.process.appended);
                next.frame(Kind::Opened(nonce), last, last);
                next.write_buffer();
            }
            Action::Sync => self.sync(&mut next),
            Action::SyncFails(left) => self.sync_fails(&mut next, (**left).clone()),
            Action::LogSyncFails(left) => self.log_sync_fails(&mut next, (**left).clone()),
            Action::Acknowledge => {
                next.acknowledged = next.acknowledged.max(self.answerable(&next.process));
                next.promised = next.promised.max(self.promisable(&next));
            }
            Action::Read => {
                next.acknowledged = next.process.applied;
                next.promised = next.process.applied;
            }
            Action::Snapshot => {
                next.used.snapshots += 1;
                next.process.snapshot_of = next.process.durable;
                self.begin(&mut next, Task::Snapshot);
            }
            Action::Close => {
                next.used.closes += 1;
                if next.process.marked_closed { next.closed() } else { self.begin(&mut next, Task::Closing) }
            }
            Action::Step(step) => self.step(&mut next, *step),
            Action::Release { space_from } => {
                let new = next.disk.named(Name::Log).expect("the new log was renamed");
                let old = next.process.log.expect("a snapshot is taken of an open store");
                next.disk.reuse_space(new, old, *space_from as usize);
                self.step(&mut next, Step::LogSyncDir);
            }
            Action::Die { wrote, torn } => {
                next.write_part(*wrote, *torn, self.needs_head(&state.process));
                self.crash(&mut next);
            }
            Action::PowerCut(left) => {
                next.disk = (**left).clone();
                next.process.log = None; // on the other disk, files have other numbers
                self.crash(&mut next);
            }
        }
        next.process.log = next.disk.tidy(next.process.log);
        next
    }

    // Writes.

    fn append(&self, state: &mut State, again: bool) {
        state.used.puts += 1;
        let put = if again { state.before_crash.puts()[state.process.appended as usize] } else { state.used.puts };
        state.issued.push(put);
        let seq = state.process.appended + 1;
        if !state.process.is_opened() && self.marks() {
            let nonce = state.nonce();
            state.frame(Kind::Opened(nonce), seq - 1, state.process.durable);
        }
        let durable = if self.is(Wrong::FrameClaimsSync) { seq - 1 } else { state.process.durable };
        state.frame(Kind::Write(put), seq, durable);
        state.process.appended = seq;
        self.apply(&mut state.process);
    }

    /// The last put in the log, in flight or not.
    fn effective(&self, state: &State) -> Looked {
        let known = if self.is(Wrong::DecidedOnMap) { state.process.applied } else { state.process.appended };
        let put = |seq: Seq| Some(*state.issued.puts().get(seq.checked_sub(1)? as usize)?);
        Looked { put: put(known).unwrap_or(0), seq: known }
    }

    fn decide(&self, state: &mut State) {
        let looked = state.process.looked.take().expect("a client has looked");
        let same = match self.wrong {
            Some(Wrong::DecidedBeforeLock) => true,
            Some(Wrong::DecidedByNumber) => looked.seq == state.process.appended,
            _ => looked == self.effective(state),
        };
        if !same {
            return; // the attempt is lost
        }
        let last = state.issued.puts().last().copied().unwrap_or(0);
        if looked.put != last {
            state.broken = Some(Broken::DecidedOnAnother { on: looked.put });
        }
        self.append(state, false);
    }

    fn write(&self, state: &mut State) {
        state.write_buffer();
        let process = &mut state.process;
        process.written = process.appended;
        process.mark = Mark::None;
        process.stalled = false;
        self.apply(process);
    }

    fn sync(&self, state: &mut State) {
        state.disk.sync(state.process.log.expect("an open store has a log"));
        state.process.durable = state.process.written;
        self.apply(&mut state.process);
    }

    fn apply(&self, process: &mut Process) {
        let known = match self.wrong {
            Some(Wrong::AcknowledgedBeforeSync) => process.written,
            Some(Wrong::VisibleBeforeDurable) => process.durable + 1,
            _ => process.durable,
        };
        let durable = process.durable;
        process.sync_first.retain(|batch| *batch > durable);
        let before_batch = process.sync_first.first().map_or(Seq::MAX, |batch| batch - 1);
        process.applied = process.appended.min(known + self.bounds.batch_size - 1).min(before_batch);
    }

    /// The number of writes that may be answered OK. After a failed sync, only the durable ones.
    pub(crate) fn answerable(&self, process: &Process) -> Seq {
        if process.has_failed(self) && self.is(Wrong::AnsweredAfterFailedSync) {
            process.written
        } else if process.has_failed(self) {
            process.durable
        } else if self.is(Wrong::AcknowledgedBeforeSync) {
            process.applied
        } else {
            process.applied.min(process.durable + self.bounds.batch_size - 1)
        }
    }

    /// The number of writes that are promised once every possible answer is given: all but the last n − 1, and those
    /// that an answer or a flush reports as durable.
    pub(crate) fn promisable(&self, state: &State) -> Seq {
        let answered = state.acknowledged.max(self.answerable(&state.process));
        let batch = if state.process.answer_durable <= answered { state.process.answer_durable } else { 0 };
        answered.saturating_sub(self.bounds.batch_size - 1).max(answered.min(state.process.durable)).max(batch)
    }

    fn sync_fails(&self, state: &mut State, left: Disk) {
        state.used.sync_failures += 1;
        state.disk = left;
        match state.process.doing {
            Doing::Nothing => unreachable!("there is no process"),
            Doing::Serving => unreachable!("the sync of a writer is another action"),
            Doing::Task(Task::Opening, step @ (Step::HeadSync | Step::MarkSync)) => {
                if step == Step::MarkSync {
                    state.take_mark_back();
                }
                self.begin(state, Task::CuttingBack);
            }
            Doing::Task(Task::Opening, step) => {
                if step == Step::LogSync {
                    self.begin(state, Task::Abandoning);
                } else {
                    state.process = Process::default(); // the store was not opened
                }
            }
            Doing::Task(Task::Closing, _) => state.closed(),
            Doing::Task(Task::Abandoning, _) => unreachable!("it syncs nothing"),
            Doing::Task(Task::CuttingBack, _) if state.process.is_opening() => state.process = Process::default(),
            Doing::Task(Task::CuttingBack, _) => {
                state.process.doing = Doing::Serving;
                state.fail();
            }
            Doing::Task(Task::Snapshot, step) => match step {
                // There is no new snapshot, or no new log after it. The old files stay as they are.
                Step::SnapshotSync | Step::CopySync | Step::RestSync => self.begin(state, Task::Abandoning),
                _ => {
                    state.process.doing = Doing::Serving;
                    state.fail(); // it is unknown which names survive
                }
            },
        }
    }

    /// A running snapshot continues until it would pause the writers.
    fn log_sync_fails(&self, state: &mut State, left: Disk) {
        state.used.sync_failures += 1;
        state.disk = left;
        state.fail();
        if matches!(state.process.mark, Mark::Head | Mark::Written) {
            state.take_mark_back();
            if state.process.doing == Doing::Serving {
                self.begin(state, Task::CuttingBack);
            }
        }
    }

    /// Whether there are OPENED marks at all.
    pub(crate) fn marks(&self) -> bool {
        !matches!(self.wrong, Some(Wrong::NoOpenedMark | Wrong::CutNotSynced))
    }
    // Tasks.

    fn begin(&self, state: &mut State, task: Task) {
        let first = self.next_step(state, task, None).expect("a task has something to do");
        state.process.doing = Doing::Task(task, first);
    }

    fn step(&self, state: &mut State, step: Step) {
        let Doing::Task(task, due) = state.process.doing else { unreachable!("no task is under way") };
        debug_assert_eq!(due, step, "steps are taken in order");
        let named = |state: &State, name| state.disk.named(name).expect("the step is only due if the file exists");
        match step {
            Step::SyncSnapshot => state.disk.sync(named(state, Name::Snapshot)),
            Step::DropSnapshotCache => state.disk.drop_cache(named(state, Name::Snapshot)),
            Step::SyncLog => state.disk.sync(named(state, Name::Log)),
            Step::DropLogCache => state.disk.drop_cache(named(state, Name::Log)),
            Step::SyncSnapshotDir | Step::SyncLogDir | Step::LogSyncDir => state.disk.sync_dir(),
            Step::Replay => self.replay(state),
            Step::RemoveLogTmp => state.disk.remove(Name::LogTmp),
            Step::RemoveSnapshotTmp => state.disk.remove(Name::SnapshotTmp),
            Step::CutTail | Step::CutBack => {
                let log = state.process.log.expect("there is a log to cut");
                state.disk.set_len(log, state.process.end);
            }
            Step::HeadWrite => state.write_head(),
            Step::SyncCut | Step::SyncCutBack | Step::CloseSync | Step::HeadSync | Step::MarkSync => {
                state.disk.sync(state.process.log.expect("as before"))
            }
            Step::SnapshotCreate => drop(state.disk.create(Name::SnapshotTmp)),
            Step::SnapshotWrite => {
                let holds = if self.is(Wrong::SnapshotWhileWriting) { state.process.applied } else { state.process.snapshot_of };
                let snapshot = Piece::Snapshot { seq: state.process.snapshot_of, writes: state.issued.prefix(holds) };
                state.disk.write(named(state, Name::SnapshotTmp), 0, [snapshot]);
            }
            Step::SnapshotSync => state.disk.sync(named(state, Name::SnapshotTmp)),
            Step::SnapshotVerify => {
                let tmp = named(state, Name::SnapshotTmp);
                state.disk.drop_cache(tmp);
                if !matches!(state.disk.file(tmp).cache(), [Piece::Snapshot { .. }]) {
                    return self.begin(state, Task::Abandoning);
                }
            }
            Step::SnapshotRename => state.disk.rename(Name::SnapshotTmp, Name::Snapshot),
            Step::SnapshotSyncDir => {
                state.disk.sync_dir();
                state.process.snapshot_seq = state.process.snapshot_of;
            }
            Step::LogCreate => drop(state.disk.create(Name::LogTmp)),
            Step::LogWrite => {
                let base = if task == Task::Snapshot { state.process.snapshot_of } else { state.process.snapshot_seq };
                let salt = if self.is(Wrong::NoSalt) { 0 } else { state.new_salt() };
                state.disk.write(named(state, Name::LogTmp), 0, [Piece::Header { salt, base }]);
                state.process.copy_to = state.process.durable;
            }
            Step::Open => {}
            Step::MarkWrite => {
                let nonce = state.nonce();
                state.frame(Kind::Opened(nonce), state.process.appended, state.process.durable);
                state.write_mark();
                state.process.proven = task != Task::Closing;
            }
            Step::CopyReserve | Step::RestReserve => {
                let tmp = named(state, Name::LogTmp);
                state.disk.set_len(tmp, RESERVED);
            }
            Step::CopyWrite | Step::RestWrite => {
                let copied = self.not_copied(state);
                let opened = copied.iter().any(|frame| frame.kind.is_opened());
                state.used.nonces += u8::from(opened);
                let tmp = named(state, Name::LogTmp);
                let at = u8::try_from(state.disk.file(tmp).cache().len()).expect("few pieces");
                state.disk.write(tmp, at, copied.into_iter().map(Piece::Frame));
            }
            Step::Pause if state.process.has_failed(self) => return self.begin(state, Task::Abandoning),
            Step::Pause => state.process.copy_to = state.process.durable,
            Step::CloseReserve => state.disk.set_len(state.process.log.expect("as before"), RESERVED),
            Step::CloseGiveBack => state.disk.set_len(state.process.log.expect("as before"), state.process.end),
            Step::CopySync | Step::RestSync | Step::LogSync => state.disk.sync(named(state, Name::LogTmp)),
            Step::LogRename => state.disk.rename(Name::LogTmp, Name::Log),
            Step::CloseWrite => {
                if !state.process.is_opened() && self.marks() {
                    let nonce = state.nonce();
                    state.frame(Kind::Opened(nonce), state.process.appended, state.process.durable);
                }
                state.frame(Kind::Closed, state.process.appended, state.process.durable);
                state.write_buffer();
            }
        }
        if state.broken.is_some() {
            return;
        }
        match self.next_step(state, task, Some(step)) {
            Some(next) => state.process.doing = Doing::Task(task, next),
            None => self.finish(state, task),
        }
    }

    fn replay(&self, state: &mut State) {
        let found = match replay(&state.disk, self.wrong) {
            Ok(found) => found,
            Err(refusal) => {
                state.broken = Some(Broken::Refused(refusal));
                return;
            }
        };
        let k = found.writes.len();
        state.broken = if !found.writes.begins(&state.issued) {
            Some(Broken::NotAPrefix { found: found.writes })
        } else if k < state.promised {
            Some(Broken::Lost { found: k })
        } else if found.tail == LogTail::Damaged {
            Some(Broken::CalledDamage)
        } else {
            None
        };
        let mut process = Process {
            doing: state.process.doing,
            appended: k,
            written: k,
            durable: k,
            applied: k,
            snapshot_seq: found.snapshot_seq,
            tail: Some(found.tail),
            beyond: found.beyond,
            ..Process::default()
        };
        if let Some(log) = found.log {
            process.log = state.disk.named(Name::Log);
            process.resumed = true;
            (process.salt, process.end, process.end_link) = (log.salt, log.end, log.link);
            process.marked_closed = log.closed;
            if self.is(Wrong::AppendedAfterTornTail) {
                let pieces = state.disk.read(Name::Log).expect("the log was read").len();
                process.end = u8::try_from(pieces).expect("few pieces");
            }
        }
        state.process = process;
    }

    /// The frames of the log behind the snapshot, up to `copy_to`, that the new log lacks, as frames of the new log.
    pub(crate) fn not_copied(&self, state: &State) -> Vec<Frame> {
        let tmp = state.disk.read(Name::LogTmp).expect("the new log was created");
        let Some(&Piece::Header { salt, base }) = tmp.first() else { return Vec::new() };
        let (mut last, mut link) = match tmp.last() {
            Some(Piece::Frame(frame)) => (frame.seq, frame.check()),
            _ => (base, u32::from(salt)),
        };
        let log = state.disk.file(state.process.log.expect("an open store has a log"));
        let mut copied = Vec::new();
        for piece in log.cache() {
            let Piece::Frame(Frame { kind: kind @ Kind::Write(_), seq, .. }) = *piece else { continue };
            if seq <= last || seq > state.process.copy_to {
                continue;
            }
            if tmp.len() == 1 && copied.is_empty() && self.marks() {
                let opened = Frame { kind: Kind::Opened(state.used.nonces + 1), seq: seq - 1, durable: seq - 1, salt, link };
                link = opened.check();
                copied.push(opened);
            }
            let frame = Frame { kind, seq, durable: seq - 1, salt, link };
            (last, link) = (seq, frame.check());
            copied.push(frame);
        }
        copied
    }

    fn finish(&self, state: &mut State, task: Task) {
        state.process.doing = Doing::Serving;
        match task {
            Task::Snapshot => {
                state.switch_log();
                state.process.marked_closed = false;
            }
            Task::Opening => {
                if state.process.log.is_none() {
                    state.switch_log();
                }
                // Recovered writes are durable, and from now on promised.
                let k = state.process.appended;
                (state.process.tail, state.process.beyond) = (None, 0);
                if self.bounds.again {
                    state.before_crash = if state.issued.len() > k { state.issued } else { Default::default() };
                }
                (state.issued, state.acknowledged, state.promised) = (state.issued.prefix(k), k, k);
            }
            Task::Closing => state.closed(),
            Task::CuttingBack | Task::Abandoning if state.process.is_opening() => state.process = Process::default(), // the store was not opened
            Task::Abandoning => {}
            Task::CuttingBack if state.process.failed.is_some() => {}
            Task::CuttingBack => state.refuse(self.marks() && !self.is(Wrong::RefusedChainGoesOn)),
        }
    }

    fn crash(&self, state: &mut State) {
        state.used.crashes += 1;
        state.process = Process::default();
    }
}

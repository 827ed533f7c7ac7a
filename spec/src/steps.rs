//! What may happen in a state, and what each action does.

use crate::disk::{Disk, FileId, Frame, Kind, Name, Piece, RESERVED, Seq, Stale};
use crate::model::{Action, Broken, Doing, Mark, Process, Protocol, State, Step, Task};
use crate::replay::{Tail, replay};
use crate::wrong::Wrong;

impl Protocol {
    /// Nothing is there yet.
    pub fn init(&self) -> State {
        State { disk: Disk::new(self.bounds.stale), ..State::default() }
    }

    fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// Everything that may happen now.
    pub fn enabled(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return; // the story is told
        }
        let (bounds, used, process) = (&self.bounds, &state.used, &state.process);
        match process.doing {
            Doing::Nothing => actions.push(Action::Start),
            Doing::Serving => self.while_serving(state, actions),
            Doing::Task(task, step) => {
                if task == Task::Snapshot && !self.is_paused(step) {
                    self.writing(state, actions);
                }
                self.task_steps(state, task, step, actions);
            }
        }
        if used.sync_failures < bounds.sync_failures {
            actions.extend(self.sync_failures(state).into_iter().map(|disk| Action::SyncFails(Box::new(disk))));
            actions.extend(self.log_sync_failures(state).into_iter().map(|disk| Action::LogSyncFails(Box::new(disk))));
        }
        if used.crashes < bounds.crashes {
            if process.doing != Doing::Nothing {
                actions.push(Action::Die { wrote: 0, torn: false });
                actions.extend(self.partial_writes(state).map(|(wrote, torn)| Action::Die { wrote, torn }));
            }
            // A disk on which all is durable is left as it is by a power cut, and by a death. The checker
            // keeps the last of several histories of one length: the plainest disk comes last.
            let left = state.disk.after_power_cut().into_iter().rev().filter(|left| *left != state.disk);
            actions.extend(left.map(|left| Action::PowerCut(Box::new(left))));
        }
    }

    fn while_serving(&self, state: &State, actions: &mut Vec<Action>) {
        let (bounds, used, process) = (&self.bounds, &state.used, &state.process);
        self.writing(state, actions);
        if process.has_failed(self) || process.durable < process.appended {
            return;
        }
        if used.snapshots < bounds.snapshots {
            actions.push(Action::Snapshot);
        }
        if used.closes < bounds.closes {
            actions.push(Action::Close);
        }
    }

    /// The steps of writes, each of which may happen while the others wait.
    fn writing(&self, state: &State, actions: &mut Vec<Action>) {
        let (bounds, used, process) = (&self.bounds, &state.used, &state.process);
        if self.answerable(process) > state.acknowledged || self.promisable(state) > state.promised {
            actions.push(Action::Acknowledge);
        }
        if bounds.batch_size == 1 && process.applied > state.acknowledged {
            actions.push(Action::Read);
        }
        if process.has_failed(self) {
            return;
        }
        if !process.stalled && used.puts < bounds.puts {
            actions.push(Action::Append { again: false });
            if state.before_crash.len() > process.appended {
                actions.push(Action::Append { again: true });
            }
        }
        match process.mark {
            Mark::Written => actions.push(Action::SyncMark),
            _ if !process.may_write() => {}
            _ if process.needs_mark(self) => actions.push(Action::WriteMark),
            _ if self.reserves(state, process.log) => actions.push(Action::Reserve),
            _ => actions.push(Action::Write),
        }
        if process.may_write() && process.doing == Doing::Serving && used.full_disks < bounds.full_disks {
            let partial = self.partial_writes(state).map(|(wrote, torn)| Action::WriteFails { wrote, torn });
            actions.push(Action::WriteFails { wrote: 0, torn: false });
            actions.extend(partial);
        }
        if process.is_syncing() {
            actions.push(Action::Sync);
        }
    }

    fn task_steps(&self, state: &State, task: Task, step: Step, actions: &mut Vec<Action>) {
        if step == Step::Pause && state.process.durable < state.process.appended && !state.process.has_failed(self) {
            return; // what is pending is synced first
        }
        actions.push(Action::Step(step));
        if let (Task::Snapshot, Step::LogSyncDir, true, Some(old)) =
            (task, step, self.bounds.stale > Stale::Zeros, state.process.log)
        {
            let reserved = state.disk.len_of(Name::Log) == RESERVED;
            let pieces = if reserved { 0 } else { u8::try_from(state.disk.file(old).cache().len()).expect("few pieces") };
            actions.extend((1..pieces).map(|space_from| Action::Release { space_from }));
        }
    }

    /// Ways to take only a part of a write: so many whole pieces, and whether a part of the next.
    fn partial_writes(&self, state: &State) -> impl Iterator<Item = (u8, bool)> + use<> {
        let process = &state.process;
        let pieces = match process.doing {
            Doing::Serving | Doing::Task(Task::Snapshot, _) if process.may_write() && !process.has_failed(self) => {
                if process.needs_mark(self) { 1 } else { process.buffer.len() }
            }
            _ => 0,
        };
        let pieces = u8::try_from(pieces).expect("few frames");
        (0..pieces).flat_map(|wrote| [(wrote, false), (wrote, true)]).filter(|partial| *partial != (0, false))
    }

    /// What the disk may be after the sync that is due fails.
    fn sync_failures(&self, state: &State) -> Vec<Disk> {
        let (disk, process) = (&state.disk, &state.process);
        let of = |file: Option<FileId>| file.map_or(Vec::new(), |file| disk.after_failed_sync(file));
        match process.doing {
            Doing::Task(_, step) => match step {
                Step::SyncSnapshot => of(disk.named(Name::Snapshot)),
                Step::SyncLog => of(disk.named(Name::Log)),
                Step::SnapshotSync => of(disk.named(Name::SnapshotTmp)),
                Step::CopySync | Step::RestSync | Step::LogSync => of(disk.named(Name::LogTmp)),
                Step::SyncCut | Step::MarkSync | Step::CloseSync | Step::SyncCutBack => of(process.log),
                Step::SyncSnapshotDir | Step::SyncLogDir | Step::SnapshotSyncDir | Step::LogSyncDir => vec![disk.clone()],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// What the disk may be after the sync of a writer fails.
    fn log_sync_failures(&self, state: &State) -> Vec<Disk> {
        let process = &state.process;
        let writers = match process.doing {
            Doing::Serving => true,
            Doing::Task(Task::Snapshot, step) => !self.is_paused(step),
            _ => false,
        };
        let syncing = process.is_syncing() || process.mark == Mark::Written;
        let log = process.log.filter(|_| writers && syncing && !process.has_failed(self));
        log.map_or(Vec::new(), |log| state.disk.after_failed_sync(log))
    }

    /// Whether a snapshot has come so far that no write is taken.
    fn is_paused(&self, step: Step) -> bool {
        let steps = Task::Snapshot.steps(self.wrong);
        let at = |step| steps.iter().position(|other| *other == step);
        at(step) > at(Step::Pause)
    }

    /// Whether space has to be reserved before this file is written.
    fn reserves(&self, state: &State, file: Option<FileId>) -> bool {
        self.bounds.reserve && file.is_some_and(|file| state.disk.file(file).len() != RESERVED)
    }

    /// The state after an action that is enabled.
    pub fn after(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        match action {
            Action::Start => self.begin(&mut next, Task::Opening),
            Action::Append { again } => self.append(&mut next, *again),
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
                next.write_part(*wrote, *torn);
                next.take_mark_back();
                self.begin(&mut next, Task::CuttingBack);
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
                let new = next.disk.named(Name::Log).expect("it was renamed");
                let old = next.process.log.expect("a snapshot is taken of an open store");
                next.disk.reuse_space(new, old, *space_from as usize);
                self.step(&mut next, Step::LogSyncDir);
            }
            Action::Die { wrote, torn } => {
                next.write_part(*wrote, *torn);
                self.crash(&mut next);
            }
            Action::PowerCut(left) => {
                next.disk = (**left).clone();
                next.process.log = None; // its number means nothing on that disk
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
        process.applied = process.appended.min(known + self.bounds.batch_size - 1);
    }

    /// How many writes may be answered OK. After a failed sync only those that are durable.
    fn answerable(&self, process: &Process) -> Seq {
        if process.has_failed(self) {
            process.durable
        } else if self.is(Wrong::AcknowledgedBeforeSync) {
            process.applied
        } else {
            process.applied.min(process.durable + self.bounds.batch_size - 1)
        }
    }

    /// How many writes are promised once all is answered that may be: all but the last n − 1, and
    /// those whose answer, or that of a flush, says that they are durable.
    fn promisable(&self, state: &State) -> Seq {
        let answered = state.acknowledged.max(self.answerable(&state.process));
        answered.saturating_sub(self.bounds.batch_size - 1).max(answered.min(state.process.durable))
    }

    fn sync_fails(&self, state: &mut State, left: Disk) {
        state.used.sync_failures += 1;
        state.disk = left;
        match state.process.doing {
            Doing::Nothing => unreachable!("nobody syncs"),
            Doing::Serving => unreachable!("a writer's sync is another action"),
            Doing::Task(Task::Opening, Step::MarkSync) => {
                state.take_mark_back();
                self.begin(state, Task::CuttingBack);
            }
            Doing::Task(Task::Opening, step) => {
                if step == Step::LogSync {
                    state.disk.remove(Name::LogTmp);
                }
                state.process = Process::default(); // not opened
            }
            Doing::Task(Task::Closing, _) => state.closed(),
            Doing::Task(Task::CuttingBack, _) if state.process.tail.is_some() => state.process = Process::default(),
            Doing::Task(Task::CuttingBack, _) => {
                state.process.doing = Doing::Serving;
                state.fail();
            }
            Doing::Task(Task::Snapshot, step) => match step {
                Step::SnapshotSync => self.not_taken(state, Name::SnapshotTmp),
                Step::CopySync | Step::RestSync | Step::LogSync => self.not_taken(state, Name::LogTmp),
                _ => {
                    state.process.doing = Doing::Serving;
                    state.fail(); // which names survive is unknown
                }
            },
        }
    }

    /// A snapshot under way goes on until it would pause the writers.
    fn log_sync_fails(&self, state: &mut State, left: Disk) {
        state.used.sync_failures += 1;
        state.disk = left;
        state.fail();
        if state.process.mark == Mark::Written {
            state.take_mark_back();
            if state.process.doing == Doing::Serving {
                self.begin(state, Task::CuttingBack);
            }
        }
    }

    fn marks(&self) -> bool {
        !matches!(self.wrong, Some(Wrong::NoOpenedMark | Wrong::CutNotSynced))
    }

    /// A snapshot, or the new log behind it, was not made; the old ones are as they were.
    fn not_taken(&self, state: &mut State, tmp: Name) {
        state.disk.remove(tmp);
        state.process.doing = Doing::Serving;
    }

    // Tasks.

    fn begin(&self, state: &mut State, task: Task) {
        let first = self.next_step(state, task, None).expect("a task has something to do");
        state.process.doing = Doing::Task(task, first);
    }

    /// The next step of `task` behind `done` that has something to do.
    fn next_step(&self, state: &State, task: Task, done: Option<Step>) -> Option<Step> {
        let steps = task.steps(self.wrong);
        let from = done.map_or(0, |done| steps.iter().position(|step| *step == done).expect("of this task") + 1);
        steps[from..].iter().copied().find(|step| self.is_due(state, task, *step))
    }

    fn is_due(&self, state: &State, task: Task, step: Step) -> bool {
        let there = |name| state.disk.named(name).is_some();
        let left_out = match self.wrong {
            Some(Wrong::SnapshotRenamedBeforeSync) => step == Step::SnapshotSync,
            Some(Wrong::LogRenamedBeforeSync) => matches!(step, Step::CopySync | Step::RestSync | Step::LogSync),
            Some(Wrong::CopyNotSynced) => task == Task::Snapshot && matches!(step, Step::RestSync | Step::LogSync),
            Some(Wrong::NothingCopied) => matches!(step, Step::CopyWrite | Step::RestWrite),
            Some(Wrong::MarkNotDurableFirst) => matches!(step, Step::MarkWrite | Step::MarkSync),
            Some(Wrong::ReleasedBeforeDirSync) => step == Step::SnapshotSyncDir,
            Some(Wrong::LogDirNotSynced) => step == Step::LogSyncDir,
            Some(Wrong::NoOpenedMark) => matches!(step, Step::MarkWrite | Step::MarkSync),
            Some(Wrong::AppendedAfterTornTail) => matches!(step, Step::CutTail | Step::SyncCut),
            Some(Wrong::CutNotSynced) => matches!(step, Step::SyncCut | Step::MarkWrite | Step::MarkSync),
            Some(Wrong::ReadBeforeSync) => {
                let clean = state.process.tail == Some(Tail::Clean); // then there is no cut to sync
                matches!(step, Step::SyncSnapshot | Step::SyncLog) || clean && step == Step::SyncCut
            }
            Some(Wrong::BelievesMemory) => matches!(step, Step::DropSnapshotCache | Step::DropLogCache),
            Some(Wrong::RefusedNotCutDurably) => step == Step::SyncCutBack,
            _ => false,
        };
        !left_out
            && match step {
                Step::SyncSnapshot | Step::DropSnapshotCache => there(Name::Snapshot),
                Step::SyncLog | Step::DropLogCache => there(Name::Log),
                Step::RemoveLogTmp => there(Name::LogTmp),
                Step::RemoveSnapshotTmp => there(Name::SnapshotTmp),
                Step::CutTail => state.process.log.is_some_and(|log| state.disk.file(log).len() > state.process.end),
                Step::SyncCut => state.process.log.is_some_and(|log| !state.disk.file(log).is_synced()),
                Step::MarkWrite | Step::MarkSync => {
                    // A bare header shows no end that was in order: the first records may be there, unseen.
                    state.process.log.is_some() && (!state.process.marked_closed || state.process.end == 1)
                }
                Step::CopyReserve | Step::RestReserve | Step::CopyWrite | Step::RestWrite | Step::CopySync | Step::RestSync
                    if task != Task::Snapshot =>
                {
                    false
                }
                Step::CopyReserve | Step::RestReserve => {
                    self.reserves(state, state.disk.named(Name::LogTmp)) && !self.not_copied(state).is_empty()
                }
                Step::CopyWrite | Step::RestWrite => !self.not_copied(state).is_empty(),
                Step::CloseReserve => self.reserves(state, state.process.log),
                Step::CloseGiveBack => {
                    let log = state.process.log.expect("an open store has a log");
                    state.disk.file(log).len() > state.process.end
                }
                Step::LogCreate | Step::LogWrite | Step::LogSync | Step::LogRename | Step::LogSyncDir => {
                    task == Task::Snapshot || state.process.log.is_none()
                }
                _ => true,
            }
    }

    fn step(&self, state: &mut State, step: Step) {
        let Doing::Task(task, due) = state.process.doing else { unreachable!("no task is under way") };
        debug_assert_eq!(due, step, "steps are taken in order");
        let named = |state: &State, name| state.disk.named(name).expect("a step that needs it is due only where it is");
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
            Step::SyncCut | Step::SyncCutBack | Step::CloseSync | Step::MarkSync => {
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
                    return self.not_taken(state, Name::SnapshotTmp);
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
            Step::Pause if state.process.has_failed(self) => return self.not_taken(state, Name::LogTmp),
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
        } else if found.tail == Tail::Damaged {
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
                let pieces = state.disk.read(Name::Log).expect("it was read").len();
                process.end = u8::try_from(pieces).expect("few pieces");
            }
        }
        state.process = process;
    }

    /// What the log holds behind the snapshot up to `copy_to`, and the new one does not hold yet, as frames of the new one.
    fn not_copied(&self, state: &State) -> Vec<Frame> {
        let tmp = state.disk.read(Name::LogTmp).expect("the new log was begun");
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
                // What was recovered is durable, and from now on promised.
                let k = state.process.appended;
                (state.process.tail, state.process.beyond) = (None, 0);
                if self.bounds.again {
                    state.before_crash = if state.issued.len() > k { state.issued } else { Default::default() };
                }
                (state.issued, state.acknowledged, state.promised) = (state.issued.prefix(k), k, k);
            }
            Task::Closing => state.closed(),
            Task::CuttingBack if state.process.tail.is_some() => state.process = Process::default(), // not opened
            Task::CuttingBack if state.process.failed.is_some() => {}
            Task::CuttingBack => state.refuse(),
        }
    }

    fn crash(&self, state: &mut State) {
        state.used.crashes += 1;
        state.process = Process::default();
    }
}

impl Process {
    /// Whether nothing is accepted any more.
    pub fn has_failed(&self, protocol: &Protocol) -> bool {
        self.failed.is_some() && protocol.wrong != Some(Wrong::SyncRetried)
    }

    /// Whether a leader is between its write and the end of its sync.
    pub fn is_syncing(&self) -> bool {
        self.written > self.durable
    }

    fn may_write(&self) -> bool {
        !self.buffer.is_empty() && !self.is_syncing() && self.mark != Mark::Written
    }

    /// Whether the mark has to be durable before the rest of the buffer is written.
    fn needs_mark(&self, protocol: &Protocol) -> bool {
        let first = self.buffer.first().is_some_and(|frame| frame.kind.is_opened());
        self.resumed && first && protocol.wrong != Some(Wrong::MarkNotDurableFirst)
    }

    fn is_opened(&self) -> bool {
        self.opened_in_file || self.buffer.first().is_some_and(|frame| frame.kind.is_opened())
    }
}

impl State {
    /// A frame into the buffer, chained to the one before.
    fn frame(&mut self, kind: Kind, seq: Seq, durable: Seq) {
        let link = self.process.buffer.last().map_or(self.process.end_link, Frame::check);
        self.process.buffer.push(Frame { kind, seq, durable, salt: self.process.salt, link });
    }

    fn write_buffer(&mut self) {
        let process = &mut self.process;
        let log = process.log.expect("an open store has a log");
        self.disk.write(log, process.end, process.buffer.iter().copied().map(Piece::Frame));
        process.end += u8::try_from(process.buffer.len()).expect("few frames");
        process.opened_in_file = process.is_opened();
        process.end_link = process.buffer.last().map_or(process.end_link, Frame::check);
        process.marked_closed = false;
        process.buffer.clear();
    }

    /// Of the buffer, the OPENED mark goes into the file.
    fn write_mark(&mut self) {
        let rest = self.process.buffer.split_off(1);
        self.write_buffer();
        self.process.buffer = rest;
    }

    /// The group whose mark is in the file could not be written, and begins again with it.
    fn take_mark_back(&mut self) {
        let process = &mut self.process;
        let in_opening = matches!(process.doing, Doing::Task(Task::Opening, _));
        if process.mark == Mark::None && !in_opening {
            return;
        }
        let log = process.log.expect("an open store has a log");
        let frames = self.disk.file(log).cache();
        process.end -= 1;
        if let Some(Piece::Frame(mark)) = frames.get(process.end as usize).copied().filter(|_| !in_opening) {
            process.buffer.insert(0, mark);
            process.end_link = mark.link;
        }
        (process.mark, process.opened_in_file) = (Mark::None, false);
    }

    /// A part of a write is taken by the operating system.
    fn write_part(&mut self, wrote: u8, torn: bool) {
        let Some(log) = self.process.log else { return };
        let whole = self.process.buffer.iter().take(wrote as usize).copied().map(Piece::Frame);
        let pieces: Vec<Piece> = whole.chain(torn.then_some(Piece::Bad)).collect();
        self.disk.write(log, self.process.end, pieces);
    }

    /// The writes that were not acknowledged are refused; the others wait for room.
    fn refuse(&mut self) {
        let process = &mut self.process;
        let keeps = process.buffer.iter().any(|frame| matches!(frame.kind, Kind::Write(_)) && frame.seq <= process.applied);
        let applied = process.applied;
        process.buffer.retain(|frame| keeps && frame.seq <= applied);
        process.stalled = keeps;
        process.appended = applied;
        self.issued = self.issued.prefix(applied);
    }

    fn fail(&mut self) {
        let process = &mut self.process;
        process.failed = Some(self.acknowledged.max(process.durable));
    }

    /// The store is closed: everything acknowledged before is durable, and the process ends.
    fn closed(&mut self) {
        self.acknowledged = self.process.appended;
        self.promised = self.process.appended;
        self.process = Process::default();
    }

    /// Goes on with the log that is in place now.
    fn switch_log(&mut self) {
        let log = self.disk.named(Name::Log).expect("a new log was put in place");
        let Some(Piece::Header { salt, .. }) = self.disk.file(log).cache().first().copied() else {
            unreachable!("its header was written")
        };
        let process = &mut self.process;
        (process.log, process.salt, process.end, process.end_link) = (Some(log), salt, 1, u32::from(salt));
        (process.opened_in_file, process.marked_closed, process.resumed) = (false, true, false);
        for piece in self.disk.file(log).cache() {
            let Piece::Frame(frame) = piece else { continue };
            (process.opened_in_file, process.marked_closed) = (true, false);
            process.end += 1;
            process.end_link = frame.check();
        }
    }

    /// A salt that is nowhere on the disk. The code draws one at random.
    fn new_salt(&self) -> u8 {
        let taken = |salt: u8| {
            self.disk.pieces().any(|piece| match piece {
                Piece::Header { salt: taken, .. } => taken == salt,
                Piece::Frame(frame) => frame.salt == salt,
                Piece::Bad | Piece::Snapshot { .. } => false,
            })
        };
        (0..).find(|salt| !taken(*salt)).expect("few logs")
    }

    /// What no mark of an opening had before. The code draws it at random. That it is nowhere on the
    /// disk would not do: a frame that is left may follow a mark that is lost.
    fn nonce(&mut self) -> u8 {
        self.used.nonces += 1;
        self.used.nonces
    }
}

//! What may happen in a state, and what each action does.

use crate::disk::{Disk, FileId, Frame, Kind, Name, Piece, Seq, Stale};
use crate::model::{Action, Broken, Doing, Process, Protocol, State, Step, Task};
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
                if self.is(Wrong::SnapshotWhileWriting) && task == Task::Snapshot {
                    self.writing(state, actions);
                }
                self.task_steps(state, task, step, actions);
            }
        }
        if used.sync_failures < bounds.sync_failures {
            actions.extend(self.sync_failures(state).into_iter().map(|disk| Action::SyncFails(Box::new(disk))));
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
        if process.may_write() {
            actions.push(Action::Write);
            if used.full_disks < bounds.full_disks {
                let partial = self.partial_writes(state).map(|(wrote, torn)| Action::WriteFails { wrote, torn });
                actions.push(Action::WriteFails { wrote: 0, torn: false });
                actions.extend(partial);
            }
        }
        if process.is_syncing() {
            actions.push(Action::Sync);
        }
    }

    fn task_steps(&self, state: &State, task: Task, step: Step, actions: &mut Vec<Action>) {
        if task == Task::Snapshot
            && self.next_step(state, task, Some(step)).is_none()
            && state.process.durable < state.process.appended
        {
            return; // only with a mistake: the new log waits for the writers
        }
        actions.push(Action::Step(step));
        if let (Task::Snapshot, Step::LogSyncDir, true, Some(old)) =
            (task, step, self.bounds.stale > Stale::Zeros, state.process.log)
        {
            let pieces = u8::try_from(state.disk.file(old).cache().len()).expect("few pieces");
            actions.extend((1..pieces).map(|space_from| Action::Release { space_from }));
        }
    }

    /// Ways to take only a part of a write: so many whole pieces, and whether a part of the next.
    fn partial_writes(&self, state: &State) -> impl Iterator<Item = (u8, bool)> + use<> {
        let process = &state.process;
        let pieces = match process.doing {
            Doing::Serving if process.may_write() && !process.has_failed(self) => process.buffer.len(),
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
            Doing::Serving if process.is_syncing() && !process.has_failed(self) => of(process.log),
            Doing::Task(_, step) => match step {
                Step::SyncSnapshot => of(disk.named(Name::Snapshot)),
                Step::SyncLog => of(disk.named(Name::Log)),
                Step::SnapshotSync => of(disk.named(Name::SnapshotTmp)),
                Step::LogSync => of(disk.named(Name::LogTmp)),
                Step::SyncCut | Step::CloseSync | Step::SyncCutBack => of(process.log),
                Step::SyncSnapshotDir | Step::SyncLogDir | Step::SnapshotSyncDir | Step::LogSyncDir => vec![disk.clone()],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// The state after an action that is enabled.
    pub fn after(&self, state: &State, action: &Action) -> State {
        let mut next = state.clone();
        match action {
            Action::Start => self.begin(&mut next, Task::Opening),
            Action::Append { again } => self.append(&mut next, *again),
            Action::Write => self.write(&mut next),
            Action::WriteFails { wrote, torn } => {
                next.used.full_disks += 1;
                next.write_part(*wrote, *torn);
                self.begin(&mut next, Task::CuttingBack);
            }
            Action::Sync => self.sync(&mut next),
            Action::SyncFails(left) => self.sync_fails(&mut next, (**left).clone()),
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
        if !state.process.is_opened() && !self.is(Wrong::NoOpenedMark) && !self.is(Wrong::CutNotSynced) {
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
            Doing::Serving => state.fail(),
            Doing::Task(Task::Opening, step) => {
                if step == Step::LogSync {
                    state.disk.remove(Name::LogTmp);
                }
                state.process = Process::default(); // not opened
            }
            Doing::Task(Task::Closing, _) => state.closed(),
            Doing::Task(Task::CuttingBack, _) => state.fail(),
            Doing::Task(Task::Snapshot, step) => match step {
                Step::SnapshotSync => self.not_taken(state, Name::SnapshotTmp),
                Step::LogSync => self.not_taken(state, Name::LogTmp),
                _ => state.fail(), // which names survive is unknown
            },
        }
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
            Some(Wrong::LogRenamedBeforeSync) => step == Step::LogSync,
            Some(Wrong::ReleasedBeforeDirSync) => step == Step::SnapshotSyncDir,
            Some(Wrong::LogDirNotSynced) => step == Step::LogSyncDir,
            Some(Wrong::AppendedAfterTornTail) => matches!(step, Step::CutTail | Step::SyncCut),
            Some(Wrong::CutNotSynced) => step == Step::SyncCut,
            Some(Wrong::ReadBeforeSync) => matches!(step, Step::SyncSnapshot | Step::SyncLog),
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
                Step::CutTail | Step::SyncCut => state.process.log.is_some() && state.process.tail != Some(Tail::Clean),
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
            Step::SyncCut | Step::SyncCutBack | Step::CloseSync => state.disk.sync(state.process.log.expect("as before")),
            Step::SnapshotCreate => drop(state.disk.create(Name::SnapshotTmp)),
            Step::SnapshotWrite => {
                let snapshot =
                    Piece::Snapshot { seq: state.process.snapshot_of, writes: state.issued.prefix(state.process.applied) };
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
            }
            Step::Open => {}
            Step::LogSync => state.disk.sync(named(state, Name::LogTmp)),
            Step::LogRename => state.disk.rename(Name::LogTmp, Name::Log),
            Step::CloseWrite => {
                if !state.process.is_opened() && !self.is(Wrong::NoOpenedMark) && !self.is(Wrong::CutNotSynced) {
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
            (process.salt, process.end, process.end_link) = (log.salt, log.end, log.link);
            process.marked_closed = log.closed;
            if self.is(Wrong::AppendedAfterTornTail) {
                let pieces = state.disk.read(Name::Log).expect("it was read").len();
                process.end = u8::try_from(pieces).expect("few pieces");
            }
        }
        state.process = process;
    }

    fn finish(&self, state: &mut State, task: Task) {
        state.process.doing = Doing::Serving;
        match task {
            Task::Snapshot => state.switch_log(),
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
        !self.buffer.is_empty() && !self.is_syncing()
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
        process.doing = Doing::Serving;
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
        (process.opened_in_file, process.marked_closed) = (false, true);
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

//! The actions that may happen in a state.

use crate::disk::{Disk, FileId, Name, RESERVED, Stale};
use crate::model::{Action, Doing, Looked, Mark, Process, Protocol, State, Step, Task};
use crate::replay::LogTail;
use crate::wrong::Wrong;

impl Protocol {
    /// The first state: nothing exists.
    pub fn init(&self) -> State {
        State { disk: Disk::new(self.bounds.stale), ..State::default() }
    }

    pub(crate) fn is(&self, wrong: Wrong) -> bool {
        self.wrong == Some(wrong)
    }

    /// Every action that may happen now.
    pub fn enabled(&self, state: &State, actions: &mut Vec<Action>) {
        if state.broken.is_some() {
            return; // this history has ended
        }
        let (bounds, used, process) = (&self.bounds, &state.used, &state.process);
        match process.doing {
            Doing::Nothing => actions.push(Action::Start),
            Doing::Serving => self.while_serving(state, actions),
            Doing::Task(task, step) => {
                if self.writers_go_on(state) {
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
            // If everything is durable, a power cut and a death leave the disk as it is. The checker keeps the last of
            // several histories of one length, so the simplest disk comes last.
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

    /// The steps of writes. Each may happen while the others wait.
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
        if !process.stalled && used.puts < bounds.puts && used.durables < bounds.durables {
            actions.push(Action::AppendDurable);
        }
        match process.looked {
            None if used.looks < bounds.looks => actions.push(Action::Look),
            None => {}
            Some(looked) => {
                if !process.stalled && used.puts < bounds.puts {
                    actions.push(Action::Decide);
                }
                if self.may_tell(state, looked) {
                    actions.push(Action::Tell);
                }
            }
        }
        match process.mark {
            Mark::Head => actions.push(Action::SyncHead),
            Mark::Written => actions.push(Action::SyncMark),
            _ if !process.may_write() => {}
            _ if self.needs_head(process) => actions.push(Action::WriteHead),
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
        if used.proofs < bounds.proofs && self.wants_proof(process) {
            actions.push(Action::Prove);
        }
    }

    /// Whether what a client saw is applied, and was not refused.
    fn may_tell(&self, state: &State, looked: Looked) -> bool {
        let known = if self.is(Wrong::ToldInFlight) { state.process.appended } else { state.process.applied };
        let there = looked.seq == 0 || state.issued.puts().get(looked.seq as usize - 1) == Some(&looked.put);
        there && looked.seq <= known
    }

    /// Whether writes of this session are in the file, no mark is behind them, and nothing is under way.
    fn wants_proof(&self, process: &Process) -> bool {
        let is_quiet = process.durable == process.appended || self.is(Wrong::ProvenBeforeSync);
        let in_file = process.buffer.is_empty() && process.opened_in_file && !process.proven;
        is_quiet && in_file && !matches!(process.mark, Mark::Head | Mark::Written)
    }

    fn task_steps(&self, state: &State, task: Task, step: Step, actions: &mut Vec<Action>) {
        if step == Step::Pause && state.process.durable < state.process.appended && !state.process.has_failed(self) {
            return; // pending writes are synced first
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

    /// The ways in which only a part of a write is taken: the number of whole pieces, and whether a part of the next.
    fn partial_writes(&self, state: &State) -> impl Iterator<Item = (u8, bool)> + use<> {
        let process = &state.process;
        let pieces = if self.writers_go_on(state) && process.may_write() && !process.has_failed(self) {
            if process.needs_mark(self) { 1 } else { process.buffer.len() }
        } else {
            0
        };
        let pieces = u8::try_from(pieces).expect("few frames");
        (0..pieces).flat_map(|wrote| [(wrote, false), (wrote, true)]).filter(|partial| *partial != (0, false))
    }

    /// The disks that a failure of the due sync may leave.
    fn sync_failures(&self, state: &State) -> Vec<Disk> {
        let (disk, process) = (&state.disk, &state.process);
        let of = |file: Option<FileId>| file.map_or(Vec::new(), |file| disk.after_failed_sync(file));
        match process.doing {
            Doing::Task(_, step) => match step {
                Step::SyncSnapshot => of(disk.named(Name::Snapshot)),
                Step::SyncLog => of(disk.named(Name::Log)),
                Step::SnapshotSync => of(disk.named(Name::SnapshotTmp)),
                Step::CopySync | Step::RestSync | Step::LogSync => of(disk.named(Name::LogTmp)),
                Step::SyncCut | Step::HeadSync | Step::MarkSync | Step::CloseSync | Step::SyncCutBack => of(process.log),
                Step::SyncSnapshotDir | Step::SyncLogDir | Step::SnapshotSyncDir | Step::LogSyncDir => vec![disk.clone()],
                _ => Vec::new(),
            },
            _ => Vec::new(),
        }
    }

    /// The disks that a failed sync of a writer may leave.
    fn log_sync_failures(&self, state: &State) -> Vec<Disk> {
        let process = &state.process;
        let syncing = process.is_syncing() || matches!(process.mark, Mark::Head | Mark::Written);
        let log = process.log.filter(|_| self.writers_go_on(state) && syncing && !process.has_failed(self));
        log.map_or(Vec::new(), |log| state.disk.after_failed_sync(log))
    }

    /// Whether writes are accepted and written while the current task runs.
    fn writers_go_on(&self, state: &State) -> bool {
        match state.process.doing {
            Doing::Serving => true,
            Doing::Task(Task::Snapshot, step) => !self.is_paused(step),
            Doing::Task(Task::Abandoning, _) => !state.process.is_opening(),
            Doing::Nothing | Doing::Task(..) => false,
        }
    }

    /// Whether a snapshot is so far that no write is accepted.
    pub(crate) fn is_paused(&self, step: Step) -> bool {
        let steps = Task::Snapshot.steps(self.wrong);
        let at = |step| steps.iter().position(|other| *other == step);
        at(step) > at(Step::Pause)
    }

    /// Whether the beginning of the mark must be durable before the rest of it is written.
    pub(crate) fn needs_head(&self, process: &Process) -> bool {
        process.needs_mark(self) && process.mark == Mark::None && !self.is(Wrong::MarkInOneStep)
    }

    /// Whether space must be reserved before this file is written.
    pub(crate) fn reserves(&self, state: &State, file: Option<FileId>) -> bool {
        self.bounds.reserve && file.is_some_and(|file| state.disk.file(file).len() != RESERVED)
    }

    // Tasks.

    /// The next step of `task` after `done` that has something to do.
    pub(crate) fn next_step(&self, state: &State, task: Task, done: Option<Step>) -> Option<Step> {
        let steps = task.steps(self.wrong);
        let from = done.map_or(0, |done| steps.iter().position(|step| *step == done).expect("the step belongs to the task") + 1);
        steps[from..].iter().copied().find(|step| self.is_due(state, task, *step))
    }

    fn is_due(&self, state: &State, task: Task, step: Step) -> bool {
        let there = |name| state.disk.named(name).is_some();
        let left_out = match self.wrong {
            Some(Wrong::SnapshotRenamedBeforeSync) => step == Step::SnapshotSync,
            Some(Wrong::LogRenamedBeforeSync) => matches!(step, Step::CopySync | Step::RestSync | Step::LogSync),
            Some(Wrong::CopyNotSynced) => step == Step::RestSync,
            Some(Wrong::NothingCopied) => matches!(step, Step::CopyWrite | Step::RestWrite),
            Some(Wrong::MarkInOneStep) => matches!(step, Step::HeadWrite | Step::HeadSync),
            Some(Wrong::MarkNotDurableFirst | Wrong::NoOpenedMark) => is_of_mark(step),
            Some(Wrong::ReleasedBeforeDirSync) => step == Step::SnapshotSyncDir,
            Some(Wrong::LogDirNotSynced) => step == Step::LogSyncDir,
            Some(Wrong::AppendedAfterTornTail) => matches!(step, Step::CutTail | Step::SyncCut),
            Some(Wrong::CutNotSynced) => step == Step::SyncCut || is_of_mark(step),
            Some(Wrong::ReadBeforeSync) => {
                let clean = state.process.tail == Some(LogTail::Clean); // then nothing was cut
                matches!(step, Step::SyncSnapshot | Step::SyncLog | Step::HeadWrite | Step::HeadSync)
                    || clean && step == Step::SyncCut
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
                Step::HeadWrite | Step::HeadSync | Step::MarkWrite | Step::MarkSync if task == Task::Closing => {
                    let log = state.process.log.expect("an open store has a log");
                    let due = match step {
                        // The mark behind the last write of an idle store is not synced, here or elsewhere.
                        Step::MarkSync => !state.disk.file(log).is_synced() && !state.process.proven,
                        _ => !state.process.is_opened(),
                    };
                    state.process.resumed && self.marks() && due
                }
                Step::HeadWrite | Step::HeadSync | Step::MarkWrite | Step::MarkSync => {
                    // A bare header does not show a clean end: the first records may be there, unseen.
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
                // Once the copied records are durable and none came since, there is nothing to sync.
                Step::CopySync | Step::RestSync => {
                    state.disk.named(Name::LogTmp).is_some_and(|log| !state.disk.file(log).is_synced())
                }
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
}

/// Whether it is a step towards a durable OPENED mark.
fn is_of_mark(step: Step) -> bool {
    matches!(step, Step::HeadWrite | Step::HeadSync | Step::MarkWrite | Step::MarkSync)
}

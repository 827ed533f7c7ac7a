//! Follows the engine: finds the step of the model that a change to the simulated disk is.

use super::engine::{Call, Called, Figures, LOG, SNAPSHOT, value_before};
use crate::disk::{Disk, Kind, Name, Piece, RESERVED};
use crate::model::{Action, Doing, Protocol, State, Step, Task};
use kv_engine::disk::sim::{Change, Image, SimDisk, SyncFailure};
use kv_engine::disk::{create_scratch, is_scratch_of};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

const LOG_HEADER_BYTES: usize = 64;
const LOG_BASE_AT: usize = 32;
const FRAME_HEADER_BYTES: usize = 33;
/// The two parts in which an OPENED mark is written.
const MARK_BYTES: [usize; 2] = [FRAME_HEADER_BYTES - 1, 9];
/// The length of a log of at most 4 KiB when space is reserved.
const RESERVED_BYTES: usize = 8 << 10;

/// The effect of a change, by name.
#[derive(Debug, PartialEq, Eq)]
enum Effect {
    Create(Name),
    Rename(Name, Name),
    Remove(Name),
    SyncDir,
    Sync(Name),
    FailedSync(Name, SyncFailure),
    DropCache(Name),
    SetLen(Name, usize),
    Write(Name, usize, Vec<Shape>),
}

/// The visible properties of a piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Header {
        base: u64,
    },
    Frame {
        kind: u8,
        seq: u64,
        durable: u64,
    },
    /// The beginning of an OPENED mark.
    Head,
    /// The rest of that mark.
    Rest,
    Snapshot,
}

/// Takes the steps in the model that the engine takes on the disk.
#[derive(Clone, Debug)]
pub(super) struct Follower {
    pub(super) protocol: Protocol,
    pub(super) state: State,
    /// The number of the simulated file under each name.
    names: BTreeMap<Name, usize>,
    files: usize,
    /// Copies that opening keeps of a log whose torn end has whole writes behind it. They are not in the model, and do
    /// not change it. Here: their file numbers, and their names while they are written.
    copies: (BTreeSet<usize>, BTreeSet<PathBuf>),
    /// Whether the directory sync that makes the name of a copy durable is still to come.
    copy_is_named: bool,
    /// The bytes that the engine wrote for each piece.
    bytes: HashMap<Piece, Vec<u8>>,
    /// The lengths of the pieces of each log, by the salt in the model.
    lengths: HashMap<u8, Vec<usize>>,
    newest_salt: u8,
    /// The beginning of a mark whose rest is still to come.
    head: Vec<u8>,
    /// The entries of the snapshot being written. Its header comes last.
    body: Vec<u8>,
    snapshot_bytes: usize,
    /// The length of the temporary snapshot that the last power cut left, with a name that is not durable.
    left_snapshot_bytes: usize,
    call: Call,
    /// The value that the next put will replace.
    value_before: Option<String>,
    /// The number of failed syncs before this call.
    failures: u8,
    /// Whether bad pieces are garbage on the simulated disk, or zeros.
    garbage: bool,
    /// Whether the engine leaves values in the snapshot.
    pub(super) on_disk: bool,
}

impl Follower {
    pub(super) fn new(protocol: Protocol, on_disk: bool) -> Follower {
        Follower {
            state: protocol.init(),
            protocol,
            names: BTreeMap::new(),
            files: 0,
            copies: Default::default(),
            copy_is_named: false,
            bytes: HashMap::new(),
            lengths: HashMap::new(),
            newest_salt: 0,
            head: Vec::new(),
            body: Vec::new(),
            snapshot_bytes: 0,
            left_snapshot_bytes: 0,
            call: Call::Open,
            value_before: None,
            failures: 0,
            garbage: false,
            on_disk,
        }
    }

    fn act(&mut self, action: &Action) {
        self.state = self.protocol.after(&self.state, action);
    }

    /// The files of the model on the simulated disk, with the names that scratch files have here.
    pub(super) fn in_model(&self, image: Image) -> Image {
        let files = image.into_iter().filter(|(path, _)| !self.copies.1.contains(path));
        files.filter_map(|(path, bytes)| Some((path_of(named(&path)?), bytes))).collect()
    }

    pub(super) fn die(&mut self) {
        self.act(&Action::Die { wrote: 0, torn: false });
    }

    /// The power is cut and leaves this disk. Returns its bytes.
    pub(super) fn power_cut(&mut self, left: Disk, garbage: bool) -> Image {
        let image = self.image(&left, garbage);
        (self.garbage, self.left_snapshot_bytes) = (garbage, self.snapshot_bytes);
        self.act(&Action::PowerCut(Box::new(left)));
        self.names =
            image.keys().zip(0..).map(|(path, file)| (named(path).expect("the name of a file of the store"), file)).collect();
        self.files = image.len();
        (self.copies, self.copy_is_named) = Default::default();
        image
    }

    pub(super) fn begin_call(&mut self, call: Call) {
        (self.call, self.failures) = (call, self.state.used.sync_failures);
        // A put is appended before it changes the disk, if anything is accepted at all.
        let actions: &[Action] = match call {
            _ if self.state.process.has_failed(&self.protocol) => &[],
            Call::Put => &[Action::Append { again: false }],
            Call::Update => &[Action::Look, Action::Decide],
            Call::PutDurably => &[Action::AppendDurable],
            Call::Open | Call::Flush | Call::Snapshot | Call::Close => &[],
        };
        self.value_before = value_before(self.state.used.puts + 1, &self.state.issued);
        actions.iter().for_each(|action| self.act(action));
    }

    /// The actions of this call that do not change the disk.
    fn is_silent(&self, action: &Action) -> bool {
        matches!(
            (self.call, action),
            (Call::Open, Action::Start | Action::Step(Step::Replay | Step::Open))
                | (Call::Snapshot, Action::Snapshot | Action::Step(Step::Pause))
                | (Call::Close, Action::Close)
        )
    }

    /// Whether `change` belongs to keeping a copy of the log. That is not a step of the model.
    fn is_of_copy(&mut self, change: &Change) -> bool {
        match change {
            Change::Create(path) => {
                let is_one = named(path) == Some(Name::LogTmp)
                    && matches!(self.state.process.doing, Doing::Task(Task::Opening, _))
                    && self.effect_of(change).is_ok_and(|effect| self.way_to(&effect, &self.state, 3).is_none());
                if is_one {
                    self.copies.0.insert(self.files);
                    self.copies.1.insert(path.clone());
                    self.files += 1;
                }
                is_one
            }
            Change::Rename(from, _) if self.copies.1.remove(from) => {
                self.copy_is_named = true;
                true
            }
            Change::Remove(path) => self.copies.1.remove(path),
            Change::SyncDir(_) if std::mem::take(&mut self.copy_is_named) => {
                self.state.disk.sync_dir();
                true
            }
            Change::Write(file, ..) | Change::SetLen(file, _) | Change::Sync(file) | Change::DropCache(file) => {
                self.copies.0.contains(file)
            }
            _ => false,
        }
    }

    /// Takes the step of the model that `change` is.
    pub(super) fn change(&mut self, change: &Change) -> Result<(), String> {
        if self.is_of_copy(change) {
            return Ok(());
        }
        if let Change::Write(file, offset, bytes) = change
            && *offset > 0
            && self.name_of(*file) == Some(Name::SnapshotTmp)
        {
            // The entries. The step is taken when the header follows.
            if self.state.process.doing != Doing::Task(Task::Snapshot, Step::SnapshotWrite) {
                return Err("entries of a snapshot are written, but no snapshot is due".into());
            }
            self.body.extend_from_slice(bytes);
            return Ok(());
        }
        let effect = self.effect_of(change)?;
        let Some(way) = self.way_to(&effect, &self.state, 3) else {
            let mut enabled = Vec::new();
            self.protocol.enabled(&self.state, &mut enabled);
            return Err(format!("{effect:?} is not a step of the model here; possible are {enabled:?}"));
        };
        way.iter().for_each(|action| self.act(action));
        self.learn(change);
        Ok(())
    }

    /// Takes actions that do not change the disk, and then one that has this effect.
    fn way_to(&self, effect: &Effect, state: &State, silent: usize) -> Option<Vec<Action>> {
        let mut enabled = Vec::new();
        self.protocol.enabled(state, &mut enabled);
        if let Some(action) = enabled.iter().find(|action| self.model_effect(state, action).as_ref() == Some(effect)) {
            return Some(vec![action.clone()]);
        }
        if let Some(action) = self.sync_fails(effect, state, &enabled) {
            return Some(vec![action]);
        }
        let is_silent = |action: &Action| self.is_silent(action) || self.is_left_out(state, action);
        let mut silently = enabled.into_iter().filter(|action| silent > 0 && is_silent(action));
        silently.find_map(|action| {
            let next = self.protocol.after(state, &action);
            let mut way = self.way_to(effect, &next, silent - 1)?;
            way.insert(0, action);
            Some(way)
        })
    }

    /// A snapshot that stays on the disk is not read again from the medium, because its cached bytes were synced. The
    /// step does not change the model's disk.
    fn is_left_out(&self, state: &State, action: &Action) -> bool {
        let is_it = self.on_disk && *action == Action::Step(Step::DropSnapshotCache);
        is_it && self.protocol.after(state, action).disk == state.disk
    }

    /// The due sync fails, and leaves the same as on the simulated disk: nothing reaches the medium.
    fn sync_fails(&self, effect: &Effect, state: &State, enabled: &[Action]) -> Option<Action> {
        let Effect::FailedSync(name, failure) = *effect else { return None };
        let due = enabled.iter().find(|action| self.model_effect(state, action) == Some(Effect::Sync(name)))?;
        let file = state.disk.named(name)?;
        let before = state.disk.file(file);
        let certain = (before.durable(), before.durable_len());
        let seen = match failure {
            SyncFailure::LosesPages => (before.cache(), before.len()),
            SyncFailure::RevertsPages => certain,
        };
        let like_this = |left: &Disk| {
            let left = left.file(file);
            (left.durable(), left.durable_len()) == certain && (left.cache(), left.len()) == seen
        };
        let left = Box::new(state.disk.after_failed_sync(file).into_iter().find(like_this)?);
        Some(if let Action::Step(_) = due { Action::SyncFails(left) } else { Action::LogSyncFails(left) })
    }

    fn model_effect(&self, state: &State, action: &Action) -> Option<Effect> {
        let log_bytes = |pieces: u8| self.lengths.get(&state.process.salt).map_or(0, |all| all[..pieces as usize].iter().sum());
        let written = |name, from: u8| {
            let after = self.protocol.after(state, action);
            let pieces = after.disk.read(name).expect("the file was written to");
            let offset = if from == 0 { 0 } else { log_bytes(from) };
            Effect::Write(name, offset, pieces[from as usize..].iter().map(shape).collect())
        };
        let head = || Effect::Write(Name::Log, log_bytes(state.process.end), vec![Shape::Head]);
        let rest = || Effect::Write(Name::Log, log_bytes(state.process.end) + MARK_BYTES[0], vec![Shape::Rest]);
        Some(match action {
            Action::Write | Action::Prove => written(Name::Log, state.process.end),
            Action::WriteHead => head(),
            Action::WriteMark => rest(),
            Action::Reserve => Effect::SetLen(Name::Log, RESERVED_BYTES),
            Action::SyncHead | Action::SyncMark | Action::Sync => Effect::Sync(Name::Log),
            Action::Step(step) => match step {
                Step::SyncSnapshot => Effect::Sync(Name::Snapshot),
                Step::DropSnapshotCache => Effect::DropCache(Name::Snapshot),
                Step::SyncSnapshotDir | Step::SyncLogDir | Step::SnapshotSyncDir | Step::LogSyncDir => Effect::SyncDir,
                Step::SyncLog | Step::SyncCut | Step::HeadSync | Step::MarkSync | Step::SyncCutBack | Step::CloseSync => {
                    Effect::Sync(Name::Log)
                }
                Step::DropLogCache => Effect::DropCache(Name::Log),
                Step::RemoveLogTmp => Effect::Remove(Name::LogTmp),
                Step::RemoveSnapshotTmp => Effect::Remove(Name::SnapshotTmp),
                Step::CutTail | Step::CutBack | Step::CloseGiveBack => Effect::SetLen(Name::Log, log_bytes(state.process.end)),
                Step::SnapshotCreate => Effect::Create(Name::SnapshotTmp),
                Step::SnapshotWrite => written(Name::SnapshotTmp, 0),
                Step::SnapshotSync => Effect::Sync(Name::SnapshotTmp),
                Step::SnapshotVerify => Effect::DropCache(Name::SnapshotTmp),
                Step::SnapshotRename => Effect::Rename(Name::SnapshotTmp, Name::Snapshot),
                Step::LogCreate => Effect::Create(Name::LogTmp),
                Step::LogWrite => written(Name::LogTmp, 0),
                Step::CopyReserve | Step::RestReserve => Effect::SetLen(Name::LogTmp, RESERVED_BYTES),
                Step::CopyWrite | Step::RestWrite => {
                    let tmp = state.disk.read(Name::LogTmp).expect("the new log was created");
                    let Some(Piece::Header { salt, .. }) = tmp.first() else { return None };
                    let offset = self.lengths.get(salt)?[..tmp.len()].iter().sum();
                    let after = self.protocol.after(state, action);
                    let pieces = after.disk.read(Name::LogTmp).expect("as before");
                    Effect::Write(Name::LogTmp, offset, pieces[tmp.len()..].iter().map(shape).collect())
                }
                Step::CopySync | Step::RestSync | Step::LogSync => Effect::Sync(Name::LogTmp),
                Step::CloseReserve => Effect::SetLen(Name::Log, RESERVED_BYTES),
                Step::LogRename => Effect::Rename(Name::LogTmp, Name::Log),
                Step::HeadWrite => head(),
                Step::MarkWrite => rest(),
                Step::CloseWrite => written(Name::Log, state.process.end),
                Step::Replay | Step::Open | Step::Pause => return None,
            },
            _ => return None,
        })
    }

    fn effect_of(&self, change: &Change) -> Result<Effect, String> {
        let path = |path: &Path| named(path).ok_or(format!("{} is not a file of the store", path.display()));
        let file = |file: usize| self.name_of(file).ok_or("a file without a name".to_string());
        Ok(match change {
            Change::Create(at) => Effect::Create(path(at)?),
            Change::Rename(from, to) => Effect::Rename(path(from)?, path(to)?),
            Change::Remove(at) => Effect::Remove(path(at)?),
            Change::SyncDir(_) => Effect::SyncDir,
            Change::Sync(number) => Effect::Sync(file(*number)?),
            Change::FailedSync(number, failure) => Effect::FailedSync(file(*number)?, *failure),
            Change::DropCache(number) => Effect::DropCache(file(*number)?),
            Change::SetLen(number, len) => Effect::SetLen(file(*number)?, index(*len)),
            Change::Write(number, offset, bytes) => {
                let name = file(*number)?;
                let shapes = split(name, *offset, bytes)?.into_iter().map(|(shape, _)| shape).collect();
                Effect::Write(name, index(*offset), shapes)
            }
        })
    }

    fn name_of(&self, file: usize) -> Option<Name> {
        self.names.iter().find(|(_, of)| **of == file).map(|(name, _)| *name)
    }

    /// Records the names and bytes after the step.
    fn learn(&mut self, change: &Change) {
        match change {
            Change::Create(path) => {
                self.names.extend(named(path).map(|name| (name, self.files)));
                self.files += 1;
                self.body.clear();
            }
            Change::Rename(from, to) => {
                let file = named(from).and_then(|from| self.names.remove(&from));
                self.names.extend(named(to).zip(file));
            }
            Change::Remove(path) => drop(named(path).and_then(|name| self.names.remove(&name))),
            Change::Write(file, offset, bytes) => {
                let name = self.name_of(*file).expect("the step was found by this name");
                let pieces = self.state.disk.read(name).expect("as before").to_vec();
                if let Piece::Snapshot { .. } = pieces[0] {
                    let whole = [bytes.as_slice(), &self.body].concat();
                    self.snapshot_bytes = whole.len();
                    self.bytes.insert(pieces[0], whole);
                    self.body.clear();
                    return;
                }
                let Piece::Header { salt, .. } = pieces[0] else { unreachable!("a log begins with its header") };
                let parts = split(name, *offset, bytes).expect("the bytes were split before");
                let from = pieces.len() - parts.len();
                self.newest_salt = salt;
                let lengths = self.lengths.entry(salt).or_default();
                lengths.truncate(from);
                for (piece, (shape, part)) in pieces[from..].iter().zip(parts) {
                    let whole = if shape == Shape::Rest { [&self.head, part].concat() } else { part.to_vec() };
                    lengths.push(whole.len());
                    if shape == Shape::Head {
                        self.head = whole; // alone it is a bad piece
                    } else {
                        self.bytes.insert(*piece, whole);
                    }
                }
            }
            Change::SyncDir(_) | Change::SetLen(..) | Change::Sync(_) | Change::FailedSync(..) | Change::DropCache(_) => {}
        }
    }

    /// The call has returned. The model takes the actions that do not change the disk, and the figures are compared.
    pub(super) fn end_call(&mut self, called: &Called) -> Result<(), String> {
        while let Some(action) = self.owed(called) {
            self.act(&action);
        }
        self.check_answer(called)?;
        called.figures.as_ref().map_or(Ok(()), |figures| self.check_figures(figures))
    }

    /// Whether a sync has failed in this call.
    fn has_failed(&self) -> bool {
        self.state.used.sync_failures > self.failures
    }

    /// The next action of the model for this call.
    fn owed(&self, called: &Called) -> Option<Action> {
        let process = &self.state.process;
        match (process.doing, called.call) {
            (Doing::Nothing, Call::Open) if called.error.is_some() && !self.has_failed() => Some(Action::Start),
            (Doing::Task(_, step @ (Step::Replay | Step::Open)), Call::Open) => Some(Action::Step(step)),
            (Doing::Serving, Call::Close) if process.marked_closed && called.error.is_none() => Some(Action::Close),
            (Doing::Serving, _) => {
                let mut enabled = Vec::new();
                self.protocol.enabled(&self.state, &mut enabled);
                enabled.into_iter().find(|action| *action == Action::Acknowledge && called.error.is_none())
            }
            _ => None,
        }
    }

    fn check_answer(&self, called: &Called) -> Result<(), String> {
        let (state, process) = (&self.state, &self.state.process);
        let all = |what: &str| {
            let (promised, issued) = (state.promised, state.issued.len());
            if promised == issued {
                Ok(())
            } else {
                Err(format!("{what} OK, but only {promised} of {issued} writes may be promised"))
            }
        };
        if let Some(error) = &called.error {
            let known = self.has_failed() || process.failed.is_some();
            return if known { Ok(()) } else { Err(format!("it fails ({error}), but nothing has failed in the model")) };
        }
        let serving = process.doing == Doing::Serving;
        match called.call {
            Call::Close if process.doing == Doing::Nothing => all("close"),
            _ if !serving => Err(format!("it returned OK, but the next step is {:?}", process.doing)),
            Call::Flush => all("flush"),
            Call::Snapshot => all("snapshot"),
            Call::Close => Err("it returned OK, but the log has no CLOSED mark".into()),
            Call::Open => Ok(()),
            Call::Update if called.saw != self.value_before => {
                Err(format!("it was decided on {:?}, but before it the value was {:?}", called.saw, self.value_before))
            }
            Call::PutDurably if called.ack.is_some_and(|(_, durable)| !durable) => {
                Err("a durable batch is answered OK, and is not durable".into())
            }
            Call::Put | Call::Update | Call::PutDurably => {
                let (seq, durable) = called.ack.expect("a put that succeeds has an answer");
                let (answered, promised) = (u64::from(state.acknowledged), u64::from(process.durable));
                if seq > answered {
                    return Err(format!("write {seq} is answered OK, but only {answered} may be"));
                }
                if durable != (seq <= promised) {
                    return Err(format!("the answer reports durable: {durable}, but write {promised} is the last durable one"));
                }
                Ok(())
            }
        }
    }

    fn check_figures(&self, figures: &Figures) -> Result<(), String> {
        let process = &self.state.process;
        let log_bytes: usize = self.lengths[&process.salt][..process.end as usize].iter().sum();
        let model = Figures {
            appended: process.appended.into(),
            durable: process.durable.into(),
            pending: (process.applied - process.durable).into(),
            snapshot_seq: process.snapshot_seq.into(),
            log_bytes: log_bytes as u64,
            failed: process.failed.is_some(),
        };
        if model == *figures { Ok(()) } else { Err(format!("the engine reports {figures:?}, but the model {model:?}")) }
    }

    /// The bytes of a disk of the model. A bad piece is zeros or garbage.
    pub(super) fn image(&self, disk: &Disk, garbage: bool) -> Image {
        self.image_of(|name| disk.read(name).map(|pieces| (pieces, disk.len_of(name))), self.snapshot_bytes, garbage)
    }

    /// The files that a process sees in the model now, and those that a power cut leaves for certain.
    pub(super) fn seen_and_certain(&self) -> [Image; 2] {
        let disk = &self.state.disk;
        let certain = |name| disk.read_durable(name).map(|pieces| (pieces, disk.durable_len_of(name)));
        [self.image(disk, self.garbage), self.image_of(certain, self.left_snapshot_bytes, self.garbage)]
    }

    /// `snapshot_bytes`: the length of a snapshot whose bytes are bad.
    fn image_of<'d>(&self, read: impl Fn(Name) -> Option<(&'d [Piece], u8)>, snapshot_bytes: usize, garbage: bool) -> Image {
        let mut image = Image::new();
        for name in Name::ALL {
            let Some((pieces, len)) = read(name) else { continue };
            let salt = pieces.iter().find_map(|piece| match piece {
                Piece::Header { salt, .. } => Some(*salt),
                Piece::Frame(frame) => Some(frame.salt),
                _ => None,
            });
            let lengths = match name {
                Name::Log | Name::LogTmp if len <= 1 => vec![LOG_HEADER_BYTES],
                Name::Log | Name::LogTmp => self.lengths[&salt.unwrap_or(self.newest_salt)].clone(),
                Name::Snapshot | Name::SnapshotTmp => vec![snapshot_bytes],
            };
            let mut bytes = Vec::new();
            for (at, (piece, len)) in pieces.iter().zip(&lengths).enumerate() {
                match self.bytes.get(piece) {
                    Some(whole) => bytes.extend_from_slice(whole),
                    None if garbage => bytes.resize(bytes.len() + len, 0xa5),
                    // Either nothing of it, or its end alone: zeros at the end of a file would not be a bad piece.
                    None => {
                        bytes.resize(bytes.len() + len, 0);
                        let last = pieces[at + 1..].iter().all(|piece| *piece == Piece::Bad);
                        *bytes.last_mut().expect("a piece has bytes") = u8::from(last);
                    }
                }
            }
            let whole = if matches!(name, Name::Snapshot | Name::SnapshotTmp) && !bytes.is_empty() {
                bytes.len()
            } else if len == RESERVED {
                RESERVED_BYTES
            } else {
                lengths[..len as usize].iter().sum()
            };
            bytes.resize(whole, 0);
            image.insert(path_of(name), bytes);
        }
        image
    }
}

fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files fit in memory")
}

/// A path with this name. A scratch file has a random part in its name. Here it is always the same.
fn path_of(name: Name) -> PathBuf {
    let scratch = |path: &str| create_scratch(&SimDisk::new(&Image::new(), 1), Path::new(path)).expect("a simulated file").0;
    match name {
        Name::Log => LOG.into(),
        Name::LogTmp => scratch(LOG),
        Name::Snapshot => SNAPSHOT.into(),
        Name::SnapshotTmp => scratch(SNAPSHOT),
    }
}

fn named(path: &Path) -> Option<Name> {
    let is_scratch = |of: &str| is_scratch_of(Path::new(of), path);
    Name::ALL.into_iter().find(|name| match name {
        Name::Log => path == Path::new(LOG),
        Name::LogTmp => is_scratch(LOG),
        Name::Snapshot => path == Path::new(SNAPSHOT),
        Name::SnapshotTmp => is_scratch(SNAPSHOT),
    })
}

/// The visible properties of a piece of the model.
fn shape(piece: &Piece) -> Shape {
    match piece {
        Piece::Header { base, .. } => Shape::Header { base: (*base).into() },
        Piece::Snapshot { .. } => Shape::Snapshot,
        Piece::Frame(frame) => {
            let kind = match frame.kind {
                Kind::Write(_) => 1,
                Kind::Opened(_) => 2,
                Kind::Closed => 3,
            };
            Shape::Frame { kind, seq: frame.seq.into(), durable: frame.durable.into() }
        }
        Piece::Bad => unreachable!("the model writes no bad piece"),
    }
}

/// Splits the bytes that the engine wrote into pieces.
fn split(name: Name, offset: u64, mut bytes: &[u8]) -> Result<Vec<(Shape, &[u8])>, String> {
    if matches!(name, Name::Snapshot | Name::SnapshotTmp) {
        return Ok(vec![(Shape::Snapshot, bytes)]);
    }
    let le64 = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
    if offset == 0 && bytes.len() == LOG_HEADER_BYTES {
        return Ok(vec![(Shape::Header { base: le64(bytes, LOG_BASE_AT) }, bytes)]);
    }
    match bytes.len() {
        len if len == MARK_BYTES[0] => return Ok(vec![(Shape::Head, bytes)]),
        len if len == MARK_BYTES[1] => return Ok(vec![(Shape::Rest, bytes)]),
        _ => {}
    }
    let mut pieces = Vec::new();
    while !bytes.is_empty() {
        if bytes.len() < FRAME_HEADER_BYTES {
            return Err("bytes that are not a frame".into());
        }
        let body = u32::from_le_bytes(bytes[4..8].try_into().expect("four bytes")) as usize;
        let (frame, rest) = bytes.split_at_checked(FRAME_HEADER_BYTES + body).ok_or("an incomplete frame")?;
        pieces.push((Shape::Frame { kind: frame[32], seq: le64(frame, 8), durable: le64(frame, 16) }, frame));
        bytes = rest;
    }
    Ok(pieces)
}

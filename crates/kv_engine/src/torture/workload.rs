//! A workload: a list of steps that follows from a seed, run on a simulated disk, with a record of
//! every change and of what was issued and promised at that moment. Promised is what was answered as
//! durable or before a flush, a snapshot or a close that succeeded; all but the last n − 1 writes; what is as
//! old as the flush interval when the flusher has had its turn; and what the statistics call durable.
//!
//! Some workloads leave their values in the snapshot, with a cache too small for it, or with none. Reads go to the disk then, and are
//! tried too: behind each step and, where others write interleaved, before each operation on the disk somebody looks at a
//! key, and must see what was written last.

use super::choices::Random;
use super::interleaved::Interleaved;
use super::store::{Bounds, CACHE_BYTES, leaves_values_in_snapshot, on_disk, options};
use crate::disk::Disk;
use crate::disk::sim::{Change, Image, SimDisk};
use crate::engine::{Ack, Batch, Engine};
use crate::error::{Error, Result};
use crate::recovery::Keep;
use crate::state::{Digest, Op, State};
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const STEPS: usize = 30;
const KEYS: usize = 6;
/// A checkpoint of these stores takes about so many operations on the disk until writers are paused, and a flush so many.
const SNAPSHOT_OPERATIONS: usize = 16;
const FLUSH_OPERATIONS: usize = 3;
/// More, where the snapshot has an index and is put in the place of the old one.
const INDEXED_SNAPSHOT_OPERATIONS: usize = 36;
/// So often a reader looks in the middle of a step in which something has failed: reads that come byte by byte take long.
const LOOKS_BEHIND_FAULT: usize = 12;
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// One step of a process that uses the store. Where the store is not open, a step opens it first, as
/// the last `Open` says.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Open {
        batch_size: u64,
        snapshot_on_close: bool,
        keep: Keep,
    },
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Batch(Vec<Op>),
    Flush,
    Snapshot,
    BatchSize(u64),
    Close,
    /// The clock goes on by so much, and the flusher has its turn.
    Wait(Duration),
    /// In the middle of a step others write: each before the operation on the disk that has this number in the
    /// step, or the first one behind it at which the writer need not wait.
    With(Box<Step>, Vec<(usize, Step)>),
}

/// The steps that follow from `seed`.
pub(super) fn steps(seed: u64) -> Vec<Step> {
    let mut random = Random::new(seed);
    let mut steps = vec![open(&mut random)];
    while steps.len() < STEPS {
        steps.push(step(&mut random));
        if matches!(steps.last(), Some(Step::Close)) {
            steps.push(open(&mut random));
        }
    }
    steps.push(Step::Close);
    let steps = with_others(seed, steps);
    if leaves_values_in_snapshot(seed) { with_values_in_snapshot(seed, steps) } else { steps }
}

/// Most openings leave values in the snapshot; the others save one without an index, which the next has to save anew. And
/// there are more long values, so that snapshots have some blocks.
fn with_values_in_snapshot(seed: u64, steps: Vec<Step>) -> Vec<Step> {
    let random = &mut Random::new(seed ^ 0x00b1_0c45);
    let change = |step: Step| match step {
        Step::Open { batch_size, snapshot_on_close, .. } => {
            let keep = [Keep::InMemory, on_disk(0), on_disk(0), on_disk(CACHE_BYTES)][random.below(4)];
            Step::Open { batch_size, snapshot_on_close, keep }
        }
        Step::Put(key, value) if random.below(4) == 0 => {
            Step::Put(key, vec![value.first().copied().unwrap_or(b'-'); 2000 + random.below(1000)])
        }
        Step::With(step, others) => {
            // Half of them in the sync that decides what the snapshot will hold.
            let mut moved = |at| match random.below(2) {
                0 => random.below(FLUSH_OPERATIONS),
                _ => at * INDEXED_SNAPSHOT_OPERATIONS / SNAPSHOT_OPERATIONS,
            };
            let mut others: Vec<_> = others.into_iter().map(|(at, other)| (moved(at), other)).collect();
            others.sort_by_key(|(at, _)| *at);
            Step::With(step, others)
        }
        step => step,
    };
    steps.into_iter().map(change).collect()
}

/// Lets the clock and other writers into some of the steps. Drawn apart: the other steps of a seed do not depend on it.
fn with_others(seed: u64, steps: Vec<Step>) -> Vec<Step> {
    let random = &mut Random::new(seed ^ 0x0007_4e2d);
    let wait = |random: &mut Random| Step::Wait(Duration::from_millis([1, 400, 999, 1000, 2500][random.below(5)]));
    let change = |step: Step| match (step, random.below(8)) {
        (Step::Snapshot, 0..=5) => writes_during(Step::Snapshot, SNAPSHOT_OPERATIONS, random),
        (Step::Flush, 0 | 1) => writes_during(Step::Flush, FLUSH_OPERATIONS, random),
        (Step::Flush, 2..=4) => wait(random),
        (Step::Flush, 5) => writes_during(wait(random), FLUSH_OPERATIONS, random),
        (step, _) => step,
    };
    steps.into_iter().map(change).collect()
}

fn writes_during(step: Step, operations: usize, random: &mut Random) -> Step {
    let mut others: Vec<_> = (0..1 + random.below(5)).map(|_| (random.below(operations), write(random))).collect();
    others.sort_by_key(|(at, _)| *at);
    Step::With(Box::new(step), others)
}

fn open(random: &mut Random) -> Step {
    let sizes = [1, 1, 2, 3, 5, 50];
    let batch_size = sizes[random.below(sizes.len())];
    Step::Open { batch_size, snapshot_on_close: random.below(4) == 0, keep: Keep::InMemory }
}

fn step(random: &mut Random) -> Step {
    match random.below(20) {
        choice @ 0..=14 => write_of(choice, random),
        15 | 16 => Step::Flush,
        17 => Step::Snapshot,
        18 => Step::BatchSize(1 + random.below(6) as u64),
        _ => Step::Close,
    }
}

fn write(random: &mut Random) -> Step {
    write_of(random.below(15), random)
}

fn write_of(choice: usize, random: &mut Random) -> Step {
    match choice {
        0..=9 => Step::Put(key(random), value(random)),
        10 | 11 => Step::Delete(key(random)),
        _ => {
            let op = |random: &mut Random| {
                let key = key(random);
                if random.below(3) == 0 { Op::delete(&key) } else { Op::put(&key, &value(random)) }
            };
            Step::Batch((0..2 + random.below(4)).map(|_| op(random)).collect())
        }
    }
}

fn key(random: &mut Random) -> Vec<u8> {
    format!("k{}", random.below(KEYS)).into_bytes()
}

/// Mostly short; at times longer than a sector, or than a block of a snapshot.
fn value(random: &mut Random) -> Vec<u8> {
    let length = match random.below(12) {
        0 => 0,
        1 => 500 + random.below(700),
        2 => 4000 + random.below(2000),
        _ => random.below(40),
    };
    vec![b'a' + u8::try_from(random.below(26)).expect("a letter"); length]
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match self {
            Step::Open { batch_size, snapshot_on_close, keep } => {
                let snapshot = if *snapshot_on_close { ", with a snapshot when closed" } else { "" };
                write!(f, "open with batch size {batch_size}{snapshot}")?;
                match keep {
                    Keep::InMemory => Ok(()),
                    Keep::OnDisk { cache_bytes } => write!(f, ", values in the snapshot, {cache_bytes} B of it in memory"),
                }
            }
            Step::Put(key, value) => write!(f, "put {} ({} B)", text(key), value.len()),
            Step::Delete(key) => write!(f, "delete {}", text(key)),
            Step::Batch(ops) => {
                f.write_str("batch:")?;
                ops.iter().try_for_each(|op| match &op.value {
                    Some(value) => write!(f, " put {} ({} B)", text(&op.key), value.len()),
                    None => write!(f, " delete {}", text(&op.key)),
                })
            }
            Step::Flush => f.write_str("flush"),
            Step::Snapshot => f.write_str("snapshot"),
            Step::BatchSize(n) => write!(f, "set the batch size to {n}"),
            Step::Close => f.write_str("close"),
            Step::Wait(by) => write!(f, "wait {by:?}"),
            Step::With(step, others) => {
                write!(f, "{step}; interleaved with")?;
                others.iter().try_for_each(|(at, other)| write!(f, ", before operation {at}: {other}"))
            }
        }
    }
}

/// A workload that was run.
pub(super) struct Recorded {
    pub(super) trace: Vec<Change>,
    /// In order; the end of each step, and of each write in the middle of one.
    marks: Vec<Mark>,
    /// The digest of the state after each write, from none on.
    pub(super) digests: Vec<Digest>,
    /// How many changes there were when the step was over in which an operation failed as planned.
    pub(super) failed_by: Option<usize>,
    /// Writes that were issued in the middle of a step.
    pub(super) interleaved: u64,
    /// The first reader that did not see what was written last.
    pub(super) misread: Option<Misread>,
}

/// What a reader saw that is wrong, when so many changes had been made.
#[derive(Clone, Debug)]
pub(super) struct Misread {
    pub(super) changes: usize,
    pub(super) text: String,
}

/// After so many changes, in this step, so much was issued and promised.
struct Mark {
    changes: usize,
    step: usize,
    bounds: Bounds,
}

impl Recorded {
    /// What must hold after a crash behind the first `changes` changes: what was promised by calls
    /// that were over, and at most what the call under way had issued.
    pub(super) fn bounds(&self, changes: usize) -> Bounds {
        let over = self.marks.iter().rev().find(|mark| mark.changes <= changes);
        let under_way = self.marks.iter().find(|mark| mark.changes > changes).or(self.marks.last());
        Bounds {
            promised: over.map_or(0, |mark| mark.bounds.promised),
            issued: under_way.map_or(0, |mark| mark.bounds.issued),
            ..Bounds::default()
        }
    }

    /// Which step was under way, from 0, when so many changes had been made.
    pub(super) fn step_under_way(&self, changes: usize) -> usize {
        self.marks.iter().find(|mark| mark.changes >= changes).or(self.marks.last()).map_or(0, |mark| mark.step)
    }
}

/// What the model knows.
struct Model {
    state: State,
    digests: Vec<Digest>,
    /// When each write was issued.
    times: Vec<Duration>,
    promised: u64,
    marks: Vec<Mark>,
    step: usize,
    interleaved: u64,
    misread: Option<Misread>,
    /// Why nothing more may be written.
    ended: Option<Error>,
}

impl Model {
    fn issued(&self) -> u64 {
        self.times.len() as u64
    }

    fn promise(&mut self, seq: u64) {
        self.promised = self.promised.max(seq);
    }

    /// When the oldest write was issued that is not promised.
    fn oldest(&self) -> Option<Duration> {
        self.times.get(usize::try_from(self.promised).expect("few writes")).copied()
    }

    fn mark(&mut self, disk: &SimDisk) {
        let bounds = Bounds { promised: self.promised, issued: self.issued(), ..Bounds::default() };
        self.marks.push(Mark { changes: disk.changes(), step: self.step, bounds });
    }
}

/// Runs the steps on a healthy disk.
pub(super) fn record(seed: u64, steps: &[Step]) -> Recorded {
    run(steps, &SimDisk::new(&Image::new(), seed), |error| panic!("a healthy disk: {error}"))
}

/// Runs the steps on `disk`, as a process that is told of errors and goes on as long as the store
/// lets it, and then dies.
pub(super) fn run(steps: &[Step], disk: &SimDisk, mut on_error: impl FnMut(&Error)) -> Recorded {
    let state = State::default();
    let digests = vec![state.digest()];
    let (times, marks) = (Vec::new(), Vec::new());
    let model = Model { state, digests, times, promised: 0, marks, step: 0, interleaved: 0, misread: None, ended: None };
    let client = Client { disk: disk.clone(), model: Arc::new(Mutex::new(model)) };
    let seam = Interleaved::new(disk);
    let mut process = Process { client, seam, engine: None, batch_size: 1, snapshot_on_close: false, keep: Keep::InMemory };
    let mut failed_by = None;
    for (number, step) in steps.iter().enumerate() {
        process.client.model().step = number;
        let done = process.step(step);
        let ended = process.client.model().ended.take();
        process.client.model().mark(disk);
        if failed_by.is_none() && disk.has_failed() {
            failed_by = Some(disk.changes());
        }
        // Both may have failed, and differently: a write that is in doubt ends the process, whatever the step says.
        let errors = [done.err(), ended];
        errors.iter().flatten().for_each(&mut on_error);
        if errors.iter().flatten().any(|error| matches!(error, Error::Poisoned { .. })) {
            break;
        }
    }
    let trace = disk.trace(); // before the engine is dropped, which would still write
    let mut model = process.client.model();
    let (marks, digests) = (std::mem::take(&mut model.marks), std::mem::take(&mut model.digests));
    Recorded { trace, marks, digests, failed_by, interleaved: model.interleaved, misread: model.misread.take() }
}

struct Process {
    client: Client,
    seam: Interleaved,
    engine: Option<Engine>,
    batch_size: u64,
    snapshot_on_close: bool,
    keep: Keep,
}

impl Process {
    fn step(&mut self, step: &Step) -> Result<()> {
        if let Step::Open { batch_size, snapshot_on_close, keep } = step {
            (self.batch_size, self.snapshot_on_close, self.keep) = (*batch_size, *snapshot_on_close, *keep);
        }
        let engine = match &self.engine {
            Some(engine) => engine.clone(),
            None => {
                let options =
                    options(&self.client.disk, self.keep).disk(Arc::new(self.seam.clone())).flush_interval(FLUSH_INTERVAL);
                let options = options.batch_size(self.batch_size).snapshot_on_close(self.snapshot_on_close).by_hand();
                self.engine.insert(options.open()?).clone()
            }
        };
        if let Step::With(step, others) = step {
            return self.with_others(&engine, step, others);
        }
        self.client.call(&engine, step)?;
        let number = self.client.model().step;
        self.client.look(&engine, number);
        if matches!(step, Step::Close) {
            self.engine = None;
        }
        Ok(())
    }

    fn with_others(&self, engine: &Engine, step: &Step, others: &[(usize, Step)]) -> Result<()> {
        let (other, others_engine) = (self.client.clone(), engine.clone());
        let mut others: VecDeque<_> = others.iter().cloned().collect();
        let (mut operation, mut looks_behind_fault) = (0, 0);
        let visit = move || {
            while others.front().is_some_and(|(at, _)| *at <= operation) && !others_engine.would_wait() {
                let (_, write) = others.pop_front().expect("it was looked at");
                other.interleaved_write(&others_engine, &write);
            }
            looks_behind_fault += usize::from(other.disk.has_failed());
            if looks_behind_fault <= LOOKS_BEHIND_FAULT {
                other.look(&others_engine, operation);
            }
            operation += 1;
        };
        self.seam.during(visit, || self.client.call(engine, step))
    }
}

/// Somebody who uses the store.
#[derive(Clone)]
struct Client {
    disk: SimDisk,
    model: Arc<Mutex<Model>>,
}

impl Client {
    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A write in the middle of another call.
    fn interleaved_write(&self, engine: &Engine, write: &Step) {
        if self.model().ended.is_some() {
            return;
        }
        self.model().mark(&self.disk);
        let done = self.call(engine, write);
        let mut model = self.model();
        model.interleaved += 1;
        model.ended = done.err();
        model.mark(&self.disk);
    }

    /// A reader looks at one of the keys. It never has to wait.
    fn look(&self, engine: &Engine, number: usize) {
        if self.model().ended.is_some() {
            return; // the write that failed is in doubt
        }
        let key = format!("k{}", number % KEYS).into_bytes();
        let seen = engine.get(&key);
        let mut model = self.model();
        let text = match seen {
            Ok(seen) if seen.as_ref() == model.state.get(&key) => return,
            Ok(seen) => {
                let len = |value: Option<&[u8]>| value.map_or("nothing".into(), |value| format!("{} B", value.len()));
                let (seen, written) = (len(seen.as_deref()), len(model.state.get(&key).map(|value| &**value)));
                format!("a reader sees {seen} under k{}, of which {written} was written last", number % KEYS)
            }
            Err(_) if self.disk.has_failed() => return,
            Err(error) => format!("k{} cannot be read: {error}", number % KEYS),
        };
        model.misread.get_or_insert(Misread { changes: self.disk.changes(), text });
    }

    fn call(&self, engine: &Engine, step: &Step) -> Result<()> {
        let before = self.model().issued();
        let done = match step {
            Step::Open { .. } => Ok(()),
            Step::Put(key, value) => self.write(vec![Op::put(key, value)], || engine.put(key, value)),
            Step::Delete(key) if engine.get(key)?.is_none() => Ok(()),
            Step::Delete(key) => {
                self.write(vec![Op::delete(key)], || engine.delete(key).map(|ack| ack.expect("it was there a moment ago")))
            }
            Step::Batch(ops) => self.write(ops.clone(), || engine.write(Batch { ops: ops.clone() })),
            Step::Flush => engine.flush().map(|_| self.model().promise(before)),
            Step::Snapshot => engine.snapshot().map(|_| self.model().promise(before)),
            Step::BatchSize(n) => engine.set_batch_size(*n),
            Step::Close => engine.close().map(|()| self.model().promise(before)),
            Step::Wait(by) => {
                self.wait(engine, *by);
                Ok(())
            }
            Step::With(..) => unreachable!("the steps in it are called"),
        };
        let stats = engine.stats();
        let mut model = self.model();
        model.promise(stats.durable);
        if done.is_ok() && stats.failed.is_none() && !self.disk.has_failed() {
            let issued = model.issued();
            model.promise(issued.saturating_sub(stats.batch_size - 1));
        }
        done
    }

    /// One write: issued, then carried out by `call`. A refusal takes it back; after a failed sync
    /// it stays, in doubt.
    fn write(&self, ops: Vec<Op>, call: impl FnOnce() -> Result<Ack>) -> Result<()> {
        let mut model = self.model();
        let before = model.state.clone();
        ops.into_iter().for_each(|op| {
            model.state.apply(op);
        });
        let digest = model.state.digest();
        model.digests.push(digest);
        model.times.push(self.disk.now());
        drop(model);
        let done = call();
        let mut model = self.model();
        match done {
            Ok(ack) => {
                assert_eq!(ack.seq, model.issued(), "sequence numbers have no gaps");
                if ack.durable {
                    model.promise(ack.seq);
                }
                Ok(())
            }
            Err(error) => {
                if !matches!(error, Error::Poisoned { .. }) {
                    model.state = before;
                    model.digests.pop();
                    model.times.pop();
                }
                Err(error)
            }
        }
    }

    /// Time passes, and the flusher has its turn. What is due then is promised.
    fn wait(&self, engine: &Engine, by: Duration) {
        self.disk.advance(by);
        let (issued, now) = (self.model().issued(), self.disk.now());
        let is_due = self.model().oldest().is_some_and(|oldest| now - oldest >= FLUSH_INTERVAL);
        let next_turn = engine.flusher_turn();
        if self.disk.has_failed() {
            return; // then it says nothing
        }
        let mut model = self.model();
        model.promise(if is_due { issued } else { 0 });
        model.promise(engine.stats().durable);
        if let Some(oldest) = model.oldest() {
            let left = next_turn.expect("a write is pending, and the flusher sleeps without end");
            assert!(
                now + left <= oldest + FLUSH_INTERVAL,
                "the flusher sleeps {left:?} at {now:?}, and {oldest:?} is the oldest"
            );
        }
    }
}

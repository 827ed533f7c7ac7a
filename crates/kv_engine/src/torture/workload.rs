//! A workload: a list of steps that follows from a seed, run on a simulated disk. Every change to the disk is
//! recorded, with the writes issued and promised at that moment.
//!
//! A write is promised if one of these holds:
//!
//! - it was answered as durable,
//! - a later flush, snapshot or close succeeded,
//! - it is not among the last n − 1 writes,
//! - it is as old as the flush interval, and the flusher has had its turn,
//! - the statistics report it as durable,
//! - it is a durable batch.
//!
//! Some workloads leave their values in the snapshot, with a cache that is too small, or with none. Then reads go to
//! the disk and are tried too. A reader looks at a key after each step. If others write in the middle of a step, it
//! also looks before each disk operation. It must see the last written value.

use super::choices::Random;
use super::conditional::{How, Shown};
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
/// About this many disk operations happen in a checkpoint of these stores before writers are paused, and in a flush.
const SNAPSHOT_OPERATIONS: usize = 16;
const FLUSH_OPERATIONS: usize = 3;
/// The same for a checkpoint that writes an index and replaces the old snapshot.
const INDEXED_SNAPSHOT_OPERATIONS: usize = 36;
/// In the middle of a step with a fault, a reader looks at most this often: reads of one byte at a time take long.
const LOOKS_BEHIND_FAULT: usize = 12;
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// One step of a process that uses the store. If the store is not open, a step opens it first, as the last `Open`
/// says.
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
    /// The clock advances by this time, and the flusher has its turn.
    Wait(Duration),
    /// A put, delete or batch that is made in another way.
    Conditional(How, Box<Step>),
    /// Others write in the middle of a step. Each write happens before the step's disk operation with this number, or
    /// before the first later one at which the writer need not wait.
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
    let steps = if leaves_values_in_snapshot(seed) { with_values_in_snapshot(seed, steps) } else { steps };
    with_conditions(seed, steps)
}

/// Makes one write of three in another way. The other steps of a seed do not depend on it.
fn with_conditions(seed: u64, steps: Vec<Step>) -> Vec<Step> {
    let random = &mut Random::new(seed ^ 0x00c0_4d17);
    let change = |step: Step| match step {
        Step::With(step, others) => {
            let others = others.into_iter().map(|(at, other)| (at, conditional(other, false, random)));
            Step::With(step, others.collect())
        }
        // A durable batch syncs, so it changes the disk at another time. The seeds in `regressions.txt` have none.
        step => conditional(step, matches!(seed % 7, 0 | 4 | 6), random),
    };
    steps.into_iter().map(change).collect()
}

/// Perhaps makes a write in another way. `may_sync`: it may be durable at once.
fn conditional(step: Step, may_sync: bool, random: &mut Random) -> Step {
    use How::{Durable, Require, Swap, Transaction, Update};
    let (chosen, choice) = (random.below(3) == 0, random.below(6));
    let how = match &step {
        Step::Put(..) => [Update, Update, Swap, Swap, Transaction, Require][choice],
        Step::Delete(_) => [Update, Swap][choice % 2],
        Step::Batch(_) if may_sync && choice < 3 => Durable,
        Step::Batch(_) => [Transaction, Require][choice % 2],
        _ => return step,
    };
    if chosen { Step::Conditional(how, Box::new(step)) } else { step }
}

/// Changes most openings so that they leave values in the snapshot. The others save a snapshot without an index, which
/// the next one must save anew. Some values become longer, so that snapshots have several blocks.
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
            // Half of them go into the sync that decides what the snapshot will hold.
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

/// Adds waiting and other writers to some steps. It has its own random numbers, so the other steps of a seed do not
/// depend on it.
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

/// Mostly short; sometimes longer than a sector, or than a block of a snapshot.
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
            Step::Conditional(how, step) => write!(f, "{step}, {how}"),
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
    /// In order: the end of each step, and of each write in the middle of one.
    marks: Vec<Mark>,
    /// The digest of the state after each write, beginning with no write.
    pub(super) digests: Vec<Digest>,
    /// The number of changes at the end of the step in which an operation failed as planned.
    pub(super) failed_by: Option<usize>,
    /// Writes issued in the middle of a step.
    pub(super) interleaved: u64,
    /// The first reader that did not see the last written value.
    pub(super) misread: Option<Misread>,
}

/// A wrong result of a read, and the number of changes made before it.
#[derive(Clone, Debug)]
pub(super) struct Misread {
    pub(super) changes: usize,
    pub(super) text: String,
}

/// The writes issued and promised after this number of changes, in this step.
struct Mark {
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

/// What the model knows.
struct Model {
    state: State,
    digests: Vec<Digest>,
    /// The time when each write was issued.
    times: Vec<Duration>,
    promised: u64,
    marks: Vec<Mark>,
    step: usize,
    interleaved: u64,
    misread: Option<Misread>,
    /// The reason why nothing more may be written.
    ended: Option<Error>,
}

impl Model {
    fn issued(&self) -> u64 {
        self.times.len() as u64
    }

    fn promise(&mut self, seq: u64) {
        self.promised = self.promised.max(seq);
    }

    /// The time when the oldest unpromised write was issued.
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
    run(steps, &SimDisk::new(&Image::new(), seed), |error| panic!("an error on a healthy disk: {error}"))
}

/// Runs the steps on `disk`, as a process that sees errors, continues as long as the store allows it, and then dies.
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
        // Both may have failed, with different errors. A write in doubt ends the process, independent of the step's
        // result.
        let errors = [done.err(), ended];
        errors.iter().flatten().for_each(&mut on_error);
        if errors.iter().flatten().any(|error| matches!(error, Error::Poisoned { .. })) {
            break;
        }
    }
    let trace = disk.trace(); // taken before the engine is dropped, because that writes too
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
                let (_, write) = others.pop_front().expect("`front` returned it");
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

/// A user of the store.
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
                format!("a reader sees {seen} under k{}, but {written} was written last", number % KEYS)
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
                self.write(vec![Op::delete(key)], || engine.delete(key).map(|ack| ack.expect("the key existed before the call")))
            }
            Step::Batch(ops) => self.write(ops.clone(), || engine.write(Batch { ops: ops.clone(), ..Batch::default() })),
            Step::Conditional(how, step) => self.conditional(engine, *how, step),
            Step::Flush => engine.flush().map(|_| self.model().promise(before)),
            Step::Snapshot => engine.snapshot().map(|_| self.model().promise(before)),
            Step::BatchSize(n) => engine.set_batch_size(*n),
            Step::Close => engine.close().map(|()| self.model().promise(before)),
            Step::Wait(by) => {
                self.wait(engine, *by);
                Ok(())
            }
            Step::With(..) => unreachable!("`with_others` calls its steps"),
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

    /// A write that is made in another way. A delete of a key that does not exist writes nothing.
    fn conditional(&self, engine: &Engine, how: How, step: &Step) -> Result<()> {
        let state = self.model().state.clone();
        let ops = match step {
            Step::Put(key, value) => vec![Op::put(key, value)],
            Step::Delete(key) if state.get(key).is_none() => return Ok(()),
            Step::Delete(key) => vec![Op::delete(key)],
            Step::Batch(ops) => ops.clone(),
            _ => unreachable!("`with_conditions` makes only writes in another way"),
        };
        let mut shown = Shown { state: &state, wrong: None };
        let asked = shown.ask(how, engine, &ops);
        let done = asked.and_then(|()| self.write(ops.clone(), || shown.write(how, engine, &ops)));
        let mut model = self.model();
        if let Some(text) = shown.wrong {
            model.misread.get_or_insert(Misread { changes: self.disk.changes(), text });
        }
        if done.is_ok() && how == How::Durable {
            let issued = model.issued();
            model.promise(issued);
        }
        done
    }

    /// One write: it is issued, and `call` carries it out. A refusal takes it back. After a failed sync it stays, in
    /// doubt.
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

    /// Time passes, and the flusher has its turn. Then all writes that are due are promised.
    fn wait(&self, engine: &Engine, by: Duration) {
        self.disk.advance(by);
        let (issued, now) = (self.model().issued(), self.disk.now());
        let is_due = self.model().oldest().is_some_and(|oldest| now - oldest >= FLUSH_INTERVAL);
        let next_turn = engine.flusher_turn();
        if self.disk.has_failed() {
            return; // then the flusher promises nothing
        }
        let mut model = self.model();
        model.promise(if is_due { issued } else { 0 });
        model.promise(engine.stats().durable);
        if let Some(oldest) = model.oldest() {
            let left = next_turn.expect("a write is pending, so the flusher must wake up again");
            assert!(
                now + left <= oldest + FLUSH_INTERVAL,
                "at {now:?} the flusher sleeps for {left:?}, but the oldest write is from {oldest:?}"
            );
        }
    }
}

//! A workload: a list of steps that follows from a seed, run on a simulated disk, with a record of
//! every change and of what was issued and promised at that moment.

use super::choices::Random;
use super::oracle::{Bounds, options};
use crate::disk::sim::{Change, Image, SimDisk};
use crate::engine::{Ack, Batch, Engine};
use crate::error::{Error, Result};
use crate::state::{Digest, Op, State};
use std::fmt;

const STEPS: usize = 30;
const KEYS: usize = 6;

/// One step of a process that uses the store. Where the store is not open, a step opens it first, as
/// the last `Open` says.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Open { batch_size: u64, snapshot_on_close: bool },
    Put(Vec<u8>, Vec<u8>),
    Delete(Vec<u8>),
    Batch(Vec<Op>),
    Flush,
    Snapshot,
    BatchSize(u64),
    Close,
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
    steps
}

fn open(random: &mut Random) -> Step {
    let sizes = [1, 1, 2, 3, 5, 50];
    Step::Open { batch_size: sizes[random.below(sizes.len())], snapshot_on_close: random.below(4) == 0 }
}

fn step(random: &mut Random) -> Step {
    match random.below(20) {
        0..=9 => Step::Put(key(random), value(random)),
        10 | 11 => Step::Delete(key(random)),
        12..=14 => {
            let op = |random: &mut Random| {
                let key = key(random);
                if random.below(3) == 0 { Op::delete(&key) } else { Op::put(&key, &value(random)) }
            };
            Step::Batch((0..2 + random.below(4)).map(|_| op(random)).collect())
        }
        15 | 16 => Step::Flush,
        17 => Step::Snapshot,
        18 => Step::BatchSize(1 + random.below(6) as u64),
        _ => Step::Close,
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
            Step::Open { batch_size, snapshot_on_close } => {
                let snapshot = if *snapshot_on_close { ", with a snapshot when closed" } else { "" };
                write!(f, "open with batch size {batch_size}{snapshot}")
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
        }
    }
}

/// A workload that was run.
pub(super) struct Recorded {
    pub(super) trace: Vec<Change>,
    /// After so many changes, so much was issued and promised: one for each step, in order.
    marks: Vec<(usize, Bounds)>,
    /// The digest of the state after each write, from none on.
    pub(super) digests: Vec<Digest>,
    /// How many changes there were when the step was over in which an operation failed as planned.
    pub(super) failed_by: Option<usize>,
}

impl Recorded {
    /// What must hold after a crash behind the first `changes` changes: what was promised by steps
    /// that were over, and at most what the step under way had issued.
    pub(super) fn bounds(&self, changes: usize) -> Bounds {
        let over = self.marks.iter().rev().find(|(at, _)| *at <= changes);
        let under_way = self.marks.iter().find(|(at, _)| *at > changes).or(self.marks.last());
        Bounds {
            promised: over.map_or(0, |(_, bounds)| bounds.promised),
            issued: under_way.map_or(0, |(_, bounds)| bounds.issued),
            ..Bounds::default()
        }
    }

    /// Which step was under way, from 0, when so many changes had been made.
    pub(super) fn step_under_way(&self, changes: usize) -> usize {
        self.marks.iter().position(|(at, _)| *at >= changes).unwrap_or(self.marks.len().saturating_sub(1))
    }
}

/// What the model knows.
struct Model {
    state: State,
    digests: Vec<Digest>,
    promised: u64,
}

impl Model {
    fn issued(&self) -> u64 {
        self.digests.len() as u64 - 1
    }

    /// One write: issued, then carried out by `call`. A refusal takes it back; after a failed sync
    /// it stays, in doubt.
    fn write(&mut self, ops: Vec<Op>, call: impl FnOnce() -> Result<Ack>) -> Result<()> {
        let before = self.state.clone();
        ops.into_iter().for_each(|op| {
            self.state.apply(op);
        });
        self.digests.push(self.state.digest());
        match call() {
            Ok(ack) => {
                assert_eq!(ack.seq, self.issued(), "sequence numbers have no gaps");
                if ack.durable {
                    self.promised = ack.seq;
                }
                Ok(())
            }
            Err(error) => {
                if !matches!(error, Error::Poisoned { .. }) {
                    self.state = before;
                    self.digests.pop();
                }
                Err(error)
            }
        }
    }

    fn promise_all(&mut self) {
        self.promised = self.issued();
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
    let mut model = Model { digests: vec![state.digest()], state, promised: 0 };
    let mut process = Process { disk, engine: None, batch_size: 1, snapshot_on_close: false };
    let mut marks = Vec::new();
    let mut failed_by = None;
    for step in steps {
        let done = process.step(step, &mut model);
        let bounds = Bounds { promised: model.promised, issued: model.issued(), ..Bounds::default() };
        marks.push((disk.changes(), bounds));
        if failed_by.is_none() && disk.has_failed() {
            failed_by = Some(disk.changes());
        }
        if let Err(error) = done {
            on_error(&error);
            if matches!(error, Error::Poisoned { .. }) {
                break;
            }
        }
    }
    let trace = disk.trace(); // before the engine is dropped, which would still write
    Recorded { trace, marks, digests: model.digests, failed_by }
}

struct Process<'a> {
    disk: &'a SimDisk,
    engine: Option<Engine>,
    batch_size: u64,
    snapshot_on_close: bool,
}

impl Process<'_> {
    fn step(&mut self, step: &Step, model: &mut Model) -> Result<()> {
        if let Step::Open { batch_size, snapshot_on_close } = step {
            (self.batch_size, self.snapshot_on_close) = (*batch_size, *snapshot_on_close);
        }
        let engine = match &self.engine {
            Some(engine) => engine,
            None => {
                let options = options(self.disk).batch_size(self.batch_size).snapshot_on_close(self.snapshot_on_close);
                &*self.engine.insert(options.open()?)
            }
        };
        match step {
            Step::Open { .. } => Ok(()),
            Step::Put(key, value) => model.write(vec![Op::put(key, value)], || engine.put(key, value)),
            Step::Delete(key) if engine.get(key)?.is_none() => Ok(()),
            Step::Delete(key) => {
                model.write(vec![Op::delete(key)], || engine.delete(key).map(|ack| ack.expect("it was there a moment ago")))
            }
            Step::Batch(ops) => model.write(ops.clone(), || engine.write(Batch { ops: ops.clone() })),
            Step::Flush => engine.flush().map(|_| model.promise_all()),
            Step::Snapshot => engine.snapshot().map(|_| model.promise_all()),
            Step::BatchSize(n) => engine.set_batch_size(*n),
            Step::Close => {
                engine.close()?;
                model.promise_all();
                self.engine = None;
                Ok(())
            }
        }
    }
}

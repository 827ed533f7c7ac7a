//! A workload: steps drawn from a seed, run once on a simulated disk, with a record of every change
//! and of what was issued and promised at that moment.

use super::choices::Random;
use super::{Bounds, options};
use crate::disk::sim::{Change, Image, SimDisk};
use crate::engine::{Ack, Batch, Engine};
use crate::error::{Error, Result};
use crate::state::{Digest, Op, State};

const STEPS: usize = 30;
const KEYS: usize = 6;

/// A workload that was run.
pub(super) struct Recorded {
    pub(super) trace: Vec<Change>,
    /// After so many changes, so much was issued and promised. In order of both.
    marks: Vec<(usize, Bounds)>,
    /// The digest of the state after each write, from none on.
    digests: Vec<Digest>,
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
            second: None,
        }
    }

    pub(super) fn digest(&self, write: u64) -> Digest {
        self.digests[usize::try_from(write).expect("few writes")]
    }
}

/// What the model knows.
pub(super) struct Model {
    state: State,
    digests: Vec<Digest>,
    promised: u64,
}

impl Model {
    fn new() -> Model {
        let state = State::default();
        Model { digests: vec![state.digest()], state, promised: 0 }
    }

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

    fn bounds(&self) -> Bounds {
        Bounds { promised: self.promised, issued: self.issued(), second: None }
    }

    fn promise_all(&mut self) {
        self.promised = self.issued();
    }

    /// As a workload that has no changes to crash at: only the end matters.
    pub(super) fn ended(self) -> Recorded {
        let bounds = self.bounds();
        Recorded { trace: Vec::new(), marks: vec![(0, bounds)], digests: self.digests }
    }
}

/// Runs the workload of `seed` on a healthy disk.
pub(super) fn record(seed: u64) -> Recorded {
    let disk = SimDisk::new(&Image::new(), seed);
    let mut marks = Vec::new();
    let (model, engine) =
        live(seed, &disk, |model| marks.push((disk.changes(), model.bounds())), |error| panic!("a healthy disk: {error}"));
    let trace = disk.trace();
    drop(engine);
    Recorded { trace, marks, digests: model.digests }
}

/// Runs the workload of `seed` on `disk`, as a process that is told of errors and goes on as long as
/// the store lets it. Look at the disk before the engine is dropped: a drop would still write.
pub(super) fn live(
    seed: u64,
    disk: &SimDisk,
    mut after_step: impl FnMut(&Model),
    mut on_error: impl FnMut(&Error),
) -> (Model, Option<Engine>) {
    let mut random = Random::new(seed);
    let mut model = Model::new();
    let mut engine = None;
    for number in 0..=STEPS {
        let done = match &engine {
            None => open(disk, &mut random).map(|opened| engine = Some(opened)),
            Some(engine) if number == STEPS => engine.close().map(|()| model.promise_all()),
            Some(_) => step(&mut engine, &mut random, &mut model),
        };
        after_step(&model);
        if let Err(error) = done {
            on_error(&error);
            if matches!(error, Error::Poisoned { .. }) {
                break;
            }
        }
    }
    (model, engine)
}

fn open(disk: &SimDisk, random: &mut Random) -> Result<Engine> {
    let sizes = [1, 1, 2, 3, 5, 50];
    options(disk).batch_size(sizes[random.below(sizes.len())]).snapshot_on_close(random.below(4) == 0).open()
}

/// One step. An orderly close leaves no engine; the next step opens the store again.
fn step(slot: &mut Option<Engine>, random: &mut Random, model: &mut Model) -> Result<()> {
    let Some(engine) = &*slot else { return Ok(()) };
    match random.below(20) {
        0..=9 => {
            let (key, value) = (key(random), value(random));
            model.write(vec![Op::put(&key, &value)], || engine.put(&key, &value))
        }
        10 | 11 => {
            let key = key(random);
            match engine.get(&key)? {
                None => Ok(()),
                Some(_) => {
                    model.write(vec![Op::delete(&key)], || engine.delete(&key).map(|ack| ack.expect("it was there a moment ago")))
                }
            }
        }
        12..=14 => {
            let mut batch = Batch::new();
            for _ in 0..2 + random.below(4) {
                let key = key(random);
                if random.below(3) == 0 {
                    batch.delete(&key)
                } else {
                    batch.put(&key, value(random))
                };
            }
            model.write(batch.ops.clone(), || engine.write(batch))
        }
        15 | 16 => engine.flush().map(|_| model.promise_all()),
        17 => engine.snapshot().map(|_| model.promise_all()),
        18 => engine.set_batch_size(1 + random.below(6) as u64),
        _ => {
            engine.close()?;
            model.promise_all();
            *slot = None;
            Ok(())
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

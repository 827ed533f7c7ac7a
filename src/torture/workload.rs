//! A workload: steps drawn from a seed, run once on a simulated disk, with a record of every change
//! and of what was issued and promised at that moment.

use super::choices::Random;
use super::{Bounds, options};
use crate::disk::sim::{Change, Image, SimDisk};
use crate::engine::{Batch, Engine};
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
struct Model {
    state: State,
    digests: Vec<Digest>,
    promised: u64,
}

impl Model {
    fn issued(&self) -> u64 {
        self.digests.len() as u64 - 1
    }

    fn write(&mut self, ops: Vec<Op>) {
        ops.into_iter().for_each(|op| {
            self.state.apply(op);
        });
        self.digests.push(self.state.digest());
    }

    fn bounds(&self) -> Bounds {
        Bounds { promised: self.promised, issued: self.issued(), second: None }
    }

    fn promise_all(&mut self) {
        self.promised = self.issued();
    }
}

/// Runs the workload of `seed`.
pub(super) fn record(seed: u64) -> Recorded {
    let mut random = Random::new(seed);
    let disk = SimDisk::new(&Image::new(), seed);
    let state = State::default();
    let mut model = Model { digests: vec![state.digest()], state, promised: 0 };
    let mut marks = Vec::new();
    let mut engine = open(&disk, &mut random);
    for _ in 0..STEPS {
        step(&mut engine, &disk, &mut random, &mut model);
        marks.push((disk.changes(), model.bounds()));
    }
    engine.close().expect("a healthy disk");
    model.promise_all();
    marks.push((disk.changes(), model.bounds()));
    Recorded { trace: disk.trace(), marks, digests: model.digests }
}

fn open(disk: &SimDisk, random: &mut Random) -> Engine {
    let sizes = [1, 1, 2, 3, 5, 50];
    let options = options(disk).batch_size(sizes[random.below(sizes.len())]).snapshot_on_close(random.below(4) == 0);
    options.open().expect("a healthy disk")
}

fn step(engine: &mut Engine, disk: &SimDisk, random: &mut Random, model: &mut Model) {
    const HEALTHY: &str = "a healthy disk";
    let acknowledged = |ack: crate::engine::Ack, model: &mut Model| {
        assert_eq!(ack.seq, model.issued(), "sequence numbers have no gaps");
        if ack.durable {
            model.promised = ack.seq;
        }
    };
    match random.below(20) {
        0..=9 => {
            let (key, value) = (key(random), value(random));
            model.write(vec![Op::put(&key, &value)]);
            let ack = engine.put(&key, &value).expect(HEALTHY);
            acknowledged(ack, model);
        }
        10 | 11 => {
            let key = key(random);
            if engine.get(&key).expect(HEALTHY).is_some() {
                model.write(vec![Op::delete(&key)]);
                let ack = engine.delete(&key).expect(HEALTHY).expect("it is there");
                acknowledged(ack, model);
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
            model.write(batch.ops.clone());
            let ack = engine.write(batch).expect(HEALTHY);
            acknowledged(ack, model);
        }
        15 | 16 => {
            engine.flush().expect(HEALTHY);
            model.promise_all();
        }
        17 => {
            engine.snapshot().expect(HEALTHY);
            model.promise_all();
        }
        18 => engine.set_batch_size(1 + random.below(6) as u64).expect(HEALTHY),
        _ => {
            engine.close().expect(HEALTHY);
            model.promise_all();
            *engine = open(disk, random);
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

//! The steps for the engine, drawn from a seed, and the state after each write according to a model. The model is a
//! plain map, independent of the engine.

use fastrand::Rng;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

const KEYS: usize = 8;

pub(crate) type Key = Vec<u8>;

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Open { batch_size: u64, snapshot_on_close: bool },
    Put(Key, Vec<u8>),
    Delete(Key),
    Batch(Vec<(Key, Option<Vec<u8>>)>),
    Flush,
    Snapshot,
    BatchSize(u64),
    Close,
}

pub(crate) struct Workload {
    pub(crate) steps: Vec<Step>,
    /// The hash of the state after each write, beginning with no write.
    pub(crate) states: Vec<u64>,
}

impl Workload {
    pub(crate) fn of(seed: u64, steps: usize) -> Workload {
        let mut rng = Rng::with_seed(seed);
        let mut model = Model::default();
        let mut workload = Workload { steps: Vec::new(), states: vec![model.fingerprint()] };
        let mut is_open = false;
        while workload.steps.len() < steps {
            let step = if is_open { step(&mut rng, &model) } else { open(&mut rng) };
            is_open = !matches!(step, Step::Close);
            if model.apply(&step) {
                workload.states.push(model.fingerprint());
            }
            workload.steps.push(step);
        }
        workload
    }

    /// Puts of long values only. Each is durable at once.
    pub(crate) fn of_long_values(count: usize, bytes: usize) -> Workload {
        let mut model = Model::default();
        let mut workload = Workload { steps: Vec::new(), states: vec![model.fingerprint()] };
        workload.steps.push(Step::Open { batch_size: 1, snapshot_on_close: false });
        for number in 0..count {
            let step = Step::Put(format!("long{number}").into_bytes(), vec![b'v'; bytes]);
            model.apply(&step);
            workload.states.push(model.fingerprint());
            workload.steps.push(step);
        }
        workload
    }
}

#[derive(Clone, Default)]
struct Model(BTreeMap<Key, Vec<u8>>);

impl Model {
    /// Whether the step is a write.
    fn apply(&mut self, step: &Step) -> bool {
        match step {
            Step::Put(key, value) => {
                self.0.insert(key.clone(), value.clone());
            }
            Step::Delete(key) => {
                self.0.remove(key);
            }
            Step::Batch(operations) => {
                for (key, value) in operations {
                    match value {
                        Some(value) => self.0.insert(key.clone(), value.clone()),
                        None => self.0.remove(key),
                    };
                }
            }
            _ => return false,
        }
        true
    }

    fn fingerprint(&self) -> u64 {
        fingerprint(&self.0)
    }
}

/// A hash of all entries in the order of their keys.
pub(crate) fn fingerprint<K: AsRef<[u8]>, V: AsRef<[u8]>>(entries: impl IntoIterator<Item = (K, V)>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for (key, value) in entries {
        key.as_ref().hash(&mut hasher);
        value.as_ref().hash(&mut hasher);
    }
    hasher.finish()
}

fn open(rng: &mut Rng) -> Step {
    let batch_size = *rng.choice(&[1, 1, 1, 2, 5, 20]).expect("some sizes");
    Step::Open { batch_size, snapshot_on_close: rng.u8(..4) == 0 }
}

fn step(rng: &mut Rng, model: &Model) -> Step {
    match rng.u8(..20) {
        0..=9 => Step::Put(key(rng), value(rng)),
        10 | 11 => match rng.choice(model.0.keys()) {
            Some(key) => Step::Delete(key.clone()),
            None => Step::Flush,
        },
        12..=14 => {
            let operation = |rng: &mut Rng| (key(rng), (rng.u8(..3) > 0).then(|| value(rng)));
            Step::Batch((0..rng.usize(2..6)).map(|_| operation(rng)).collect())
        }
        15 => Step::Flush,
        16 | 17 => Step::Snapshot,
        18 => Step::BatchSize(rng.u64(1..7)),
        _ => Step::Close,
    }
}

fn key(rng: &mut Rng) -> Key {
    format!("k{}", rng.usize(..KEYS)).into_bytes()
}

/// Mostly short; sometimes longer than a sector, a block, or a page.
fn value(rng: &mut Rng) -> Vec<u8> {
    let length = match rng.u8(..12) {
        0 => 0,
        1 => rng.usize(500..1200),
        2 => rng.usize(4000..6000),
        3 => rng.usize(10_000..30_000),
        _ => rng.usize(..40),
    };
    vec![rng.u8(b'a'..=b'z'); length]
}

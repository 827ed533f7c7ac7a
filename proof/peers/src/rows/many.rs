//! Gets of a hundred random keys at a time, with this store alone: one `get_many`, and `get_with` in a loop. They take
//! turns in one process, so that other load on the machine affects both. Every value is checked.

use super::{Figures, Task};
use crate::work::{Key, key, number, value};
use anyhow::{Result, ensure};
use kv_engine::{Batch, Engine, Options};
use std::time::{Duration, Instant};

const KEYS: u64 = 1_000_000;
/// Puts of one batch when filling.
const FILL_BATCH: u64 = 1000;
/// Keys of one call.
const AT_ONCE: usize = 100;
/// Turns of each kind, and how long one takes.
const TURNS: u64 = 10;
const TURN: Duration = Duration::from_millis(100);
/// Calls between two readings of the clock.
const STEP: u64 = 10;

type Get = fn(&Engine, &[Key; AT_ONCE], &mut [u64; AT_ONCE]) -> Result<()>;

pub(super) fn at_once(task: &Task<'_>) -> Result<Figures> {
    let keys = task.count(KEYS);
    let options = Options::new(task.dir.join("kv.wal"), task.dir.join("kv.snapshot"));
    let engine = options.batch_size(1000).flush_interval(Duration::ZERO).open()?;
    for from in (0..keys).step_by(FILL_BATCH as usize) {
        let mut batch = Batch::new();
        (from..keys.min(from + FILL_BATCH)).for_each(|n| {
            batch.put(key(n), value(n));
        });
        engine.write(batch)?;
    }
    engine.snapshot()?;
    let mut random = Random(1);
    let kinds: [Get; 2] = [with_many, one_by_one];
    for get in kinds {
        turn(&engine, get, &mut random, keys, task.time(TURN))?; // warms up the caches
    }
    let (mut calls, mut times) = ([0; 2], [Duration::ZERO; 2]);
    for _ in 0..TURNS {
        for (at, get) in kinds.into_iter().enumerate() {
            let began = Instant::now();
            calls[at] += turn(&engine, get, &mut random, keys, task.time(TURN))?;
            times[at] += began.elapsed();
        }
    }
    let [many, single] = [0, 1].map(|at| (calls[at] * AT_ONCE as u64) as f64 / times[at].as_secs_f64());
    Ok(vec![("get_many", many), ("get_with", single), ("many:with", many / single)])
}

/// Returns the number of calls.
fn turn(engine: &Engine, get: Get, random: &mut Random, keys: u64, time: Duration) -> Result<u64> {
    let (until, mut calls) = (Instant::now() + time, 0);
    while Instant::now() < until {
        for _ in 0..STEP {
            let numbers: [u64; AT_ONCE] = std::array::from_fn(|_| random.next() % keys);
            let mut found = [u64::MAX; AT_ONCE];
            get(engine, &numbers.map(key), &mut found)?;
            ensure!(found == numbers, "the values of the keys {numbers:?} are {found:?}");
        }
        calls += STEP;
    }
    Ok(calls)
}

fn with_many(engine: &Engine, keys: &[Key; AT_ONCE], out: &mut [u64; AT_ONCE]) -> Result<()> {
    Ok(engine.get_many(keys, |at, value| out[at] = value.map_or(u64::MAX, number))?)
}

fn one_by_one(engine: &Engine, keys: &[Key; AT_ONCE], out: &mut [u64; AT_ONCE]) -> Result<()> {
    for (key, out) in keys.iter().zip(out) {
        *out = engine.get_with(key, number)?.unwrap_or(u64::MAX);
    }
    Ok(())
}

/// Numbers without a pattern that the processor could foresee (xorshift64*: Marsaglia 2003, Vigna 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }
}

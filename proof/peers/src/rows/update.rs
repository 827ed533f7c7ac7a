//! Updates against puts, with this store alone: one counter that all threads add to, a counter for each thread, and
//! plain puts. They take turns in one process, so that other load on the machine affects all of them. At the end the
//! counters must have counted every update.

use super::{Figures, Task, quiet_disk};
use anyhow::{Result, ensure};
use kv_engine::{Engine, Options};
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// Turns of each kind, and how long one takes.
const TURNS: u32 = 6;
const TURN: Duration = Duration::from_millis(150);
/// Calls between two readings of the clock, at batch sizes above 1.
const STEP: u64 = 16;

pub(super) fn one(task: &Task<'_>) -> Result<Figures> {
    by_turns(task, 1, 1)
}

pub(super) fn one_batched(task: &Task<'_>) -> Result<Figures> {
    by_turns(task, 1, 1000)
}

pub(super) fn threads_64(task: &Task<'_>) -> Result<Figures> {
    by_turns(task, 64, 1)
}

pub(super) fn threads_64_batched(task: &Task<'_>) -> Result<Figures> {
    by_turns(task, 64, 1000)
}

#[derive(Clone, Copy)]
enum Kind {
    Put,
    OwnKey,
    HotKey,
}

fn by_turns(task: &Task<'_>, threads: u64, batch_size: u64) -> Result<Figures> {
    let options = Options::new(task.dir.join("kv.wal"), task.dir.join("kv.snapshot"));
    let engine = options.batch_size(batch_size).flush_interval(Duration::ZERO).open()?;
    quiet_disk();
    let (mut calls, mut times) = ([0; 3], [Duration::ZERO; 3]);
    for _ in 0..TURNS {
        for (at, kind) in [Kind::Put, Kind::OwnKey, Kind::HotKey].into_iter().enumerate() {
            let (done, took) = turn(&engine, kind, threads, task.time(TURN), if batch_size == 1 { 1 } else { STEP })?;
            calls[at] += done;
            times[at] += took;
        }
    }
    let own: u64 = (0..threads).map(|thread| Ok(count(engine.get(own_key(thread))?.as_deref()))).sum::<Result<u64>>()?;
    let hot = count(engine.get(HOT)?.as_deref());
    ensure!([own, hot] == calls[1..], "{own} and {hot} were counted of {calls:?}");
    let [put, own, hot] = [0, 1, 2].map(|at| calls[at] as f64 / times[at].as_secs_f64());
    Ok(vec![("put", put), ("own", own), ("hot", hot), ("own:put", own / put), ("hot:put", hot / put)])
}

/// All threads call for this time. Returns how many calls they made, and the time until the last one had ended.
fn turn(engine: &Engine, kind: Kind, threads: u64, time: Duration, step: u64) -> Result<(u64, Duration)> {
    let ready = Barrier::new(usize::try_from(threads)? + 1);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..threads)
            .map(|thread| {
                let ready = &ready;
                scope.spawn(move || -> Result<u64> {
                    ready.wait();
                    let (until, mut done) = (Instant::now() + time, 0);
                    while Instant::now() < until {
                        (0..step).try_for_each(|_| call(engine, kind, thread))?;
                        done += step;
                    }
                    Ok(done)
                })
            })
            .collect();
        ready.wait();
        let began = Instant::now();
        let done = callers.into_iter().map(|caller| caller.join().expect("no panic")).sum::<Result<u64>>()?;
        Ok((done, began.elapsed()))
    })
}

const HOT: &str = "a counter for all";

fn own_key(thread: u64) -> String {
    format!("counter number {thread:02}")
}

fn plain_key(thread: u64) -> String {
    format!("a plain key of {thread:02}")
}

fn count(value: Option<&[u8]>) -> u64 {
    value.and_then(|value| value.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

fn call(engine: &Engine, kind: Kind, thread: u64) -> Result<()> {
    let add_one = |old: Option<&[u8]>| Some((count(old) + 1).to_le_bytes());
    match kind {
        Kind::Put => engine.put(plain_key(thread), thread.to_le_bytes()).map(|_| ())?,
        Kind::OwnKey => drop(engine.update(own_key(thread), add_one)?),
        Kind::HotKey => drop(engine.update(HOT, add_one)?),
    }
    Ok(())
}

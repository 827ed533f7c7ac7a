//! Doing the work of one batch size and timing it.
//!
//! 1. A fresh scratch store; where gets are wanted, every key is put.
//! 2. The warm-up, and a flush: nothing of it is pending when the clock starts.
//! 3. The threads begin together; each operation is timed by the thread that does it.
//! 4. When the last thread has ended, a flush: everything counted is durable, and its time is in the
//!    total.
//!
//! Keys are drawn in blocks before the clock of an operation starts; the total has the drawing in it.

use super::keys::{self, Draw, Key, Op};
use super::progress::Progress;
use super::scratch::Scratch;
use crate::signals::Flags;
use hdrhistogram::Histogram;
use kv_engine::command::{Amount, Bench};
use kv_engine::{Engine, Result};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// An operation that takes longer, an hour, counts as this.
const LONGEST_NS: u64 = 3_600_000_000_000;
const BLOCK: usize = 256;
const MOST_WARM_UP: u64 = 1000;
/// While the store is filled before gets.
const FILLING_BATCH: u64 = 10_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// What one batch size came to.
pub(super) struct Run {
    pub(super) batch: u64,
    pub(super) keys: u64,
    pub(super) warm_up: u64,
    /// From the first operation's beginning to the end of the last flush.
    pub(super) total: Duration,
    pub(super) puts: Histogram<u64>,
    pub(super) gets: Histogram<u64>,
    /// Both; in nanoseconds, as the others.
    pub(super) all: Histogram<u64>,
    pub(super) syncs: u64,
    pub(super) sync_total: Duration,
    pub(super) log_bytes: u64,
    /// Ctrl-C, or a signal that ends the process, came before its end.
    pub(super) stopped: bool,
    pub(super) floor: Option<super::floor::Floor>,
}

impl Run {
    pub(super) fn operations(&self) -> u64 {
        self.all.len()
    }

    pub(super) fn ops_per_sec(&self) -> f64 {
        self.operations() as f64 / self.total.as_secs_f64().max(1e-9)
    }

    pub(super) fn sync_mean(&self) -> Duration {
        self.sync_total.checked_div(u32::try_from(self.syncs).unwrap_or(u32::MAX)).unwrap_or_default()
    }

    /// As many bytes as one sync covers.
    pub(super) fn group_bytes(&self) -> Option<u64> {
        self.log_bytes.checked_div(self.syncs)
    }

    /// What the bare disk would do of these operations if each of its groups were one of this run's.
    pub(super) fn floor_ops_per_sec(&self) -> Option<f64> {
        let floor = self.floor.filter(|_| self.syncs > 0)?;
        Some(self.operations() as f64 / self.syncs as f64 / floor.mean.as_secs_f64().max(1e-9))
    }
}

/// One thread's part.
struct Tally {
    puts: Histogram<u64>,
    gets: Histogram<u64>,
    began: Instant,
    ended: Instant,
}

pub(super) fn measure(scratch: &Scratch, bench: &Bench, batch: u64, flags: &Flags) -> Result<Run> {
    scratch.remove();
    // No background flush: it would add syncs that the batch size does not explain.
    let engine = scratch.options().batch_size(FILLING_BATCH).flush_interval(Duration::ZERO).open()?;
    let run = in_store(&engine, bench, batch, flags);
    // The files go in any case; what could not be closed is of no use to anyone.
    let _ = engine.close();
    drop(engine);
    scratch.remove();
    run
}

fn in_store(engine: &Engine, bench: &Bench, batch: u64, flags: &Flags) -> Result<Run> {
    let keys = keys::count(bench);
    if bench.gets_percent > 0 {
        let (mut key, value) = (Key::new(bench.key_bytes), keys::value(bench.value_bytes));
        for n in (0..keys).take_while(|_| !flags.interrupted()) {
            engine.put(key.of(n), &value)?;
        }
    }
    engine.flush()?;
    engine.set_batch_size(batch)?;
    let usual = match bench.amount {
        Amount::Count(n) => Amount::Count(MOST_WARM_UP.min(n / 10)),
        Amount::Time(_) => Amount::Count(MOST_WARM_UP),
    };
    let warm_up = bench.warm_up.unwrap_or(usual);
    let mut warmed = 0;
    if !matches!(warm_up, Amount::Count(0)) {
        let tallies = Load { engine, bench, amount: warm_up, flags, seed: u64::MAX / 2 }.run(None)?;
        warmed = tallies.iter().map(|tally| tally.puts.len() + tally.gets.len()).sum();
        engine.flush()?;
    }

    let before = engine.stats();
    let mut progress = Progress::new(bench.amount, batch);
    let tallies = Load { engine, bench, amount: bench.amount, flags, seed: 0 }.run(Some(&mut progress))?;
    let flushing = Instant::now();
    engine.flush()?;
    let flushed = flushing.elapsed();
    progress.clear();
    let after = engine.stats();

    let mut run = Run {
        batch,
        keys,
        warm_up: warmed,
        total: flushed,
        puts: histogram(),
        gets: histogram(),
        all: histogram(),
        syncs: after.syncs - before.syncs,
        sync_total: after.sync_total.saturating_sub(before.sync_total),
        log_bytes: after.log_bytes_written - before.log_bytes_written,
        stopped: flags.interrupted(),
        floor: None,
    };
    let (began, ended) = (tallies.iter().map(|tally| tally.began).min(), tallies.iter().map(|tally| tally.ended).max());
    run.total += began.zip(ended).map(|(began, ended)| ended - began).unwrap_or_default();
    for tally in tallies {
        run.puts += &tally.puts;
        run.gets += &tally.gets;
    }
    run.all += &run.puts;
    run.all += &run.gets;
    Ok(run)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("good bounds")
}

/// What the threads are to do together.
struct Load<'a> {
    engine: &'a Engine,
    bench: &'a Bench,
    amount: Amount,
    flags: &'a Flags,
    seed: u64,
}

impl Load<'_> {
    fn run(&self, mut progress: Option<&mut Progress>) -> Result<Vec<Tally>> {
        let threads = self.bench.threads;
        let (start, failed, done) = (Barrier::new(threads as usize), AtomicBool::new(false), AtomicU64::new(0));
        let work = |thread| {
            let done = self.work(thread, &start, &failed, &done);
            failed.fetch_or(done.is_err(), Ordering::Relaxed);
            done
        };
        let work = &work;
        thread::scope(|scope| {
            let workers: Vec<_> = (0..threads).map(|thread| scope.spawn(move || work(thread))).collect();
            let began = Instant::now();
            while let Some(progress) = progress.as_deref_mut().filter(|progress| progress.is_wanted()) {
                if workers.iter().all(|worker| worker.is_finished()) {
                    break;
                }
                thread::sleep(LOOK_EVERY);
                progress.show(done.load(Ordering::Relaxed), began.elapsed());
            }
            let join =
                |worker: thread::ScopedJoinHandle<'_, _>| worker.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
            // All of them, before the first error is looked at.
            workers.into_iter().map(join).collect::<Vec<Result<Tally>>>().into_iter().collect()
        })
    }

    /// What one thread does. It always passes the start, whatever happens.
    fn work(&self, thread: u64, start: &Barrier, failed: &AtomicBool, done: &AtomicU64) -> Result<Tally> {
        let mut draw = Draw::new(self.bench, self.seed + thread);
        let mut key = Key::new(self.bench.key_bytes);
        let value = keys::value(self.bench.value_bytes);
        let (mut puts, mut gets) = (histogram(), histogram());
        let mut block = [Op::default(); BLOCK];
        let mut left = match self.amount {
            // The first threads do one more where it cannot be shared evenly.
            Amount::Count(n) => n / self.bench.threads + u64::from(thread < n % self.bench.threads),
            Amount::Time(_) => u64::MAX,
        };
        start.wait();
        let began = Instant::now();
        let until = match self.amount {
            Amount::Time(time) => Some(began + time),
            Amount::Count(_) => None,
        };
        let mut last = began;
        'blocks: while left > 0 {
            let length = BLOCK.min(usize::try_from(left).unwrap_or(BLOCK));
            block[..length].fill_with(|| draw.next());
            last = Instant::now();
            for op in &block[..length] {
                if self.flags.interrupted() || failed.load(Ordering::Relaxed) || until.is_some_and(|until| last >= until) {
                    break 'blocks;
                }
                let latencies = if op.get { &mut gets } else { &mut puts };
                match op.get {
                    true => self.engine.get(key.of(op.key)).map(drop)?,
                    false => self.engine.put(key.of(op.key), &value).map(drop)?,
                }
                let now = Instant::now();
                latencies.saturating_record(u64::try_from((now - last).as_nanos()).unwrap_or(u64::MAX).max(1));
                last = now;
            }
            left -= length as u64;
            done.fetch_add(length as u64, Ordering::Relaxed);
        }
        Ok(Tally { puts, gets, began, ended: last })
    }
}

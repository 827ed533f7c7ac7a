//! Doing the work of one batch size and timing it.
//!
//! 1. A fresh scratch store; where gets are wanted, every key is put.
//! 2. The warm-up, and a flush: nothing of it is pending when the clock starts.
//! 3. The threads begin together; each operation is timed by the thread that does it. What they need is had before:
//!    where memory or a thread cannot be, none of them begins, and the run is an error.
//! 4. When the last thread has ended, a flush: everything counted is durable, and its time is in the
//!    total.
//!
//! Keys are drawn in blocks before the clock of an operation starts; the total has the drawing in it.

use super::keys::{self, Draw, Key, Op};
use super::options::{Amount, Bench};
use super::progress::Progress;
use super::scratch::Scratch;
use crate::error::{Code, CommandError};
use crate::signals::Flags;
use crate::text::counted;
use hdrhistogram::Histogram;
use kv_engine::{Engine, Error};
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// An operation that takes longer, an hour, counts as this.
const LONGEST_NS: u64 = 3_600_000_000_000;
const BLOCK: usize = 256;
const MOST_WARM_UP: u64 = 1000;
/// While the store is filled before gets.
const FILLING_BATCH: u64 = 10_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// What a thread takes of the address space, its stack and what it counts with, and what is left for the store.
const THREAD_BYTES: usize = 4 << 20;
const STORE_BYTES: usize = 64 << 20;

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

/// Why there are no figures.
pub(super) enum Failure {
    /// The scratch store says no.
    Store(Error),
    /// A thread or memory cannot be had.
    Threads(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> CommandError {
        match failure {
            Failure::Threads(text) => {
                let text = format!(
                    "BENCH: {text}; take fewer --threads or a smaller --value-bytes, or raise the limit (ulimit -u, ulimit -v)"
                );
                CommandError::new(Code::Failed, text)
            }
            Failure::Store(Error::NoSpace { path, source, .. }) => {
                let text = format!(
                    "BENCH: no room for its scratch files, {}: {source}; they are removed, and your store is as it was; make room, \
                     or do less",
                    path.display()
                );
                CommandError::new(Code::Failed, text)
            }
            Failure::Store(error) => {
                CommandError::new(Code::Failed, format!("BENCH: its scratch store failed, your store is as it was: {error}"))
            }
        }
    }
}

pub(super) fn measure(scratch: &Scratch, bench: &Bench, batch: u64, flags: &Flags) -> Result<Run, Failure> {
    scratch.clear();
    // No background flush: it would add syncs that the batch size does not explain.
    let engine = scratch.options().batch_size(FILLING_BATCH).flush_interval(Duration::ZERO).open()?;
    let run = in_store(&engine, bench, batch, flags);
    // The files go in any case; what could not be closed is of no use to anyone.
    let _ = engine.close();
    drop(engine);
    scratch.clear();
    run
}

fn in_store(engine: &Engine, bench: &Bench, batch: u64, flags: &Flags) -> Result<Run, Failure> {
    let keys = keys::count(bench);
    let value = keys::value(bench.value_bytes).map_err(|error| Failure::Threads(error.to_string()))?;
    let value = &value;
    if bench.gets_percent > 0 {
        let mut key = Key::new(bench.key_bytes);
        for n in (0..keys).take_while(|_| !flags.interrupted()) {
            engine.put(key.of(n), value)?;
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
        let tallies = Load { engine, bench, value, amount: warm_up, flags, seed: u64::MAX / 2 }.run(None)?;
        warmed = tallies.iter().map(|tally| tally.puts.len() + tally.gets.len()).sum();
        engine.flush()?;
    }

    let before = engine.stats();
    let mut progress = Progress::new(bench.amount, batch);
    let tallies = Load { engine, bench, value, amount: bench.amount, flags, seed: 0 }.run(Some(&mut progress))?;
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
    value: &'a [u8],
    amount: Amount,
    flags: &'a Flags,
    seed: u64,
}

impl Load<'_> {
    fn run(&self, mut progress: Option<&mut Progress>) -> Result<Vec<Tally>, Failure> {
        let threads = self.bench.threads;
        let too_many = |error: io::Error| Failure::Threads(format!("{} cannot be had: {error}", counted(threads, "thread")));
        // So that a thread that is running finds memory: it has no way to say that there is none.
        room(STORE_BYTES + threads as usize * THREAD_BYTES).map_err(too_many)?;
        let parts: Vec<_> = (0..threads).map(|thread| Part::new(self.bench, self.seed, thread)).collect();
        let (start, failed, done) = (Start::default(), AtomicBool::new(false), AtomicU64::new(0));
        let work = |part: Part| {
            let done = self.work(part, &start, &failed, &done);
            failed.fetch_or(done.is_err(), Ordering::Relaxed);
            done
        };
        let work = &work;
        thread::scope(|scope| {
            // Those that wait are let go in any case.
            let begin = Begin(&start);
            let mut workers = Vec::new();
            for part in parts {
                let name = format!("kv-bench-{}", part.thread);
                workers.push(thread::Builder::new().name(name).spawn_scoped(scope, move || work(part)).map_err(too_many)?);
            }
            begin.now();
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
            let done = workers.into_iter().map(join).collect::<Vec<kv_engine::Result<Tally>>>();
            Ok(done.into_iter().collect::<kv_engine::Result<Vec<_>>>()?)
        })
    }

    /// What one thread does, once all of them are there.
    fn work(&self, part: Part, start: &Start, failed: &AtomicBool, done: &AtomicU64) -> kv_engine::Result<Tally> {
        let Part { thread, mut draw, mut key, mut puts, mut gets } = part;
        let mut block = [Op::default(); BLOCK];
        let mut left = match self.amount {
            // The first threads do one more where it cannot be shared evenly.
            Amount::Count(n) => n / self.bench.threads + u64::from(thread < n % self.bench.threads),
            Amount::Time(_) => u64::MAX,
        };
        if !start.wait() {
            left = 0;
        }
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
                    false => self.engine.put(key.of(op.key), self.value).map(drop)?,
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

/// What one thread works with.
struct Part {
    thread: u64,
    draw: Draw,
    key: Key,
    puts: Histogram<u64>,
    gets: Histogram<u64>,
}

impl Part {
    fn new(bench: &Bench, seed: u64, thread: u64) -> Part {
        let (draw, key) = (Draw::new(bench, seed + thread), Key::new(bench.key_bytes));
        Part { thread, draw, key, puts: histogram(), gets: histogram() }
    }
}

/// Whether so many bytes of memory can be had, without touching them.
fn room(bytes: usize) -> io::Result<()> {
    let (mut memory, no_memory) =
        (Vec::<u8>::new(), |_| io::Error::new(io::ErrorKind::OutOfMemory, "there is not enough memory"));
    let done = memory.try_reserve_exact(bytes).map_err(no_memory);
    // Else the compiler leaves out what nobody uses.
    std::hint::black_box(memory.as_ptr());
    done
}

/// Where the threads wait for each other. A barrier would wait for ever for one that cannot be started.
#[derive(Default)]
struct Start {
    /// Whether to begin; `None` until that is known.
    told: Mutex<Option<bool>>,
    changed: Condvar,
}

impl Start {
    fn tell(&self, go: bool) {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(go);
        self.changed.notify_all();
    }

    /// Whether there is work to do.
    fn wait(&self) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *told {
                Some(go) => return go,
                None => told = self.changed.wait(told).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// Dropped before [`Begin::now`], it lets the waiting threads go without work.
struct Begin<'a>(&'a Start);

impl Begin<'_> {
    fn now(&self) {
        self.0.tell(true);
    }
}

impl Drop for Begin<'_> {
    fn drop(&mut self) {
        self.0.tell(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_wait_are_let_go_when_one_cannot_be_started() {
        let start = Start::default();
        let (with, without) = thread::scope(|scope| {
            let begin = Begin(&start);
            let without = scope.spawn(|| start.wait());
            drop(begin);
            let other = Start::default();
            Begin(&other).now();
            (other.wait(), without.join().expect("it was let go"))
        });
        assert_eq!((with, without), (true, false));
    }

    #[test]
    fn memory_that_cannot_be_had_is_found_out_before_it_is_needed() {
        assert!(room(1 << 20).is_ok());
        assert_eq!(room(isize::MAX as usize).expect_err("too much").kind(), io::ErrorKind::OutOfMemory);
    }
}

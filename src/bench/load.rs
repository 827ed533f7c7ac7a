//! Does the work of one batch size and times it.
//!
//! 1. It opens a fresh temporary store, or takes a prefix on a server. If there are GETs in the work, it puts every
//!    key.
//! 2. It does the warm-up and flushes, so that nothing is pending when the clock starts.
//! 3. It gets the memory and starts the threads. They begin together. If one cannot be started, none begins, and the
//!    run is an error. Each thread times its own operations.
//! 4. After the last thread it flushes. So everything counted is durable. The total includes the time of the flush.
//!
//! Keys are drawn in blocks before the clock of an operation starts. The total includes the drawing.

use super::bed::{Bed, Worker};
use super::failure::Failure;
use super::keys::{self, Draw, Key, Op};
use super::options::{Amount, Bench};
use super::run::Run;
use super::scratch::Scratch;
use crate::progress::Progress;
use crate::remote::Remote;
use crate::signals::Flags;
use crate::text::counted;
use hdrhistogram::Histogram;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// An operation that takes longer than this hour counts as this.
const LONGEST_NS: u64 = 3_600_000_000_000;
const BLOCK: usize = 256;
const MOST_WARM_UP: u64 = 1000;
/// The batch size while the store is filled before GETs.
const FILLING_BATCH: u64 = 10_000;
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// The address space that a thread needs, for its stack and its histograms, and what must be left for the store.
const THREAD_BYTES: usize = 4 << 20;
const STORE_BYTES: usize = 64 << 20;

/// What one thread measured.
struct Tally {
    puts: Histogram<u64>,
    gets: Histogram<u64>,
    began: Instant,
    ended: Instant,
}

/// Measures one batch size in a fresh store.
pub(super) fn measure(scratch: &Scratch, bench: &Bench, batch: u64, flags: &'static Flags) -> Result<Run, Failure> {
    scratch.clear();
    // Without the background flush, which would add syncs that the batch size does not explain.
    let engine = scratch.options().batch_size(FILLING_BATCH).flush_interval(Duration::ZERO).open()?;
    let run = in_store(&engine, bench, batch, flags);
    // An error does not matter, because the files are removed.
    let _ = engine.close();
    drop(engine);
    scratch.clear();
    run
}

fn in_store(engine: &kv_engine::Engine, bench: &Bench, batch: u64, flags: &'static Flags) -> Result<Run, Failure> {
    let at_batch = || Ok(engine.set_batch_size(batch)?);
    in_bed(&mut Bed::Store(engine), bench, batch, at_batch, flags)
}

/// Measures a server, and removes what was written there.
pub(super) fn measure_server(remote: &mut Remote, bench: &Bench, flags: &'static Flags) -> Result<Run, Failure> {
    let batch = remote.server().batch;
    let mut bed = Bed::server(remote, bench.key_bytes);
    let run = in_bed(&mut bed, bench, batch, || Ok(()), flags);
    let cleaned = bed.clean();
    let run = run?;
    cleaned.map(|()| run)
}

/// Fills the bed, calls `at_batch` to set the batch size, and measures.
fn in_bed(
    bed: &mut Bed<'_>,
    bench: &Bench,
    batch: u64,
    at_batch: impl FnOnce() -> Result<(), Failure>,
    flags: &'static Flags,
) -> Result<Run, Failure> {
    let keys = keys::count(bench);
    let value = keys::value(bench.value_bytes).map_err(|error| Failure::Resources(error.to_string()))?;
    let value = &value;
    if bench.gets_percent > 0 {
        bed.fill(keys, bench.key_bytes, value, flags)?;
    }
    bed.flush()?;
    at_batch()?;
    let usual = match bench.amount {
        Amount::Count(n) => Amount::Count(MOST_WARM_UP.min(n / 10)),
        Amount::Time(_) => Amount::Count(MOST_WARM_UP),
    };
    let warm_up = bench.warm_up.unwrap_or(usual);
    let mut warmed = 0;
    if !matches!(warm_up, Amount::Count(0)) {
        let tallies = Load { bench, value, amount: warm_up, flags, seed: u64::MAX / 2 }.run(bed, None)?;
        warmed = tallies.iter().map(|tally| tally.puts.len() + tally.gets.len()).sum();
        bed.flush()?;
    }

    let before = bed.counters()?;
    let progress = progress(bench.amount, batch);
    let tallies = Load { bench, value, amount: bench.amount, flags, seed: 0 }.run(bed, Some(&progress))?;
    let flushing = Instant::now();
    bed.flush()?;
    let flushed = flushing.elapsed();
    drop(progress);
    let after = bed.counters()?;

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
        log_bytes: after.log_bytes - before.log_bytes,
        stopped: flags.interrupted(),
        floor: None,
        server: bed.address(),
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

fn progress(amount: Amount, batch: u64) -> Progress {
    let total = match amount {
        Amount::Count(n) => n,
        Amount::Time(time) => millis(time),
    };
    Progress::new(&format!("BENCH batch={batch} {{bar:20}} {{percent}}%  {{eta}} left"), Some(total), false)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST_NS, 3).expect("good bounds")
}

/// The work that the threads share.
struct Load<'a> {
    bench: &'a Bench,
    value: &'a [u8],
    amount: Amount,
    flags: &'static Flags,
    seed: u64,
}

impl Load<'_> {
    fn run(&self, bed: &Bed<'_>, progress: Option<&Progress>) -> Result<Vec<Tally>, Failure> {
        let threads = self.bench.threads;
        let too_many = |error: io::Error| Failure::Resources(format!("cannot start {}: {error}", counted(threads, "thread")));
        // Checked first, because a running thread cannot report that there is no memory.
        room(STORE_BYTES + threads as usize * THREAD_BYTES).map_err(too_many)?;
        let part = |thread| Part::new(bed, self.bench, self.seed, thread, self.flags);
        let parts = (0..threads).map(part).collect::<Result<Vec<_>, _>>()?;
        let (start, failed, done) = (Start::default(), AtomicBool::new(false), AtomicU64::new(0));
        let work = |part: Part<'_>| {
            let done = self.work(part, &start, &failed, &done);
            failed.fetch_or(done.is_err(), Ordering::Relaxed);
            done
        };
        let work = &work;
        thread::scope(|scope| {
            // Lets the waiting threads go, also after an error.
            let begin = Begin(&start);
            let mut workers = Vec::new();
            for part in parts {
                let name = format!("kv-bench-{}", part.thread);
                workers.push(thread::Builder::new().name(name).spawn_scoped(scope, move || work(part)).map_err(too_many)?);
            }
            begin.now();
            let began = Instant::now();
            while let Some(progress) = progress.filter(|progress| progress.is_wanted()) {
                if workers.iter().all(|worker| worker.is_finished()) {
                    break;
                }
                thread::sleep(LOOK_EVERY);
                match self.amount {
                    Amount::Count(n) => progress.set(done.load(Ordering::Relaxed).min(n)),
                    Amount::Time(time) => progress.set(millis(began.elapsed().min(time))),
                }
            }
            let join =
                |worker: thread::ScopedJoinHandle<'_, _>| worker.join().unwrap_or_else(|cause| std::panic::resume_unwind(cause));
            // Waits for all of them before it returns the first error.
            let done = workers.into_iter().map(join).collect::<Vec<Result<Tally, Failure>>>();
            done.into_iter().collect()
        })
    }

    /// What one thread does after all of them were started.
    fn work(&self, part: Part<'_>, start: &Start, failed: &AtomicBool, done: &AtomicU64) -> Result<Tally, Failure> {
        let Part { thread, mut worker, mut draw, mut key, mut puts, mut gets } = part;
        let mut block = [Op::default(); BLOCK];
        let mut left = match self.amount {
            // If it cannot be shared evenly, the first threads do one more.
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
                    true => worker.get(key.of(op.key))?,
                    false => worker.put(key.of(op.key), self.value)?,
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
struct Part<'a> {
    thread: u64,
    worker: Worker<'a>,
    draw: Draw,
    key: Key,
    puts: Histogram<u64>,
    gets: Histogram<u64>,
}

impl<'a> Part<'a> {
    fn new(bed: &'a Bed<'_>, bench: &Bench, seed: u64, thread: u64, flags: &'static Flags) -> Result<Part<'a>, Failure> {
        let (draw, key) = (Draw::new(bench, seed + thread), bed.key(bench.key_bytes));
        Ok(Part { thread, worker: bed.worker(flags)?, draw, key, puts: histogram(), gets: histogram() })
    }
}

/// Whether this much memory can be allocated. It is not touched.
fn room(bytes: usize) -> io::Result<()> {
    let (mut memory, no_memory) =
        (Vec::<u8>::new(), |_| io::Error::new(io::ErrorKind::OutOfMemory, "there is not enough memory"));
    let done = memory.try_reserve_exact(bytes).map_err(no_memory);
    // Without this the compiler removes the unused allocation.
    std::hint::black_box(memory.as_ptr());
    done
}

/// The threads wait here until all are started. A barrier would wait for ever for a thread that cannot be started.
#[derive(Default)]
struct Start {
    /// Whether to begin. `None`: not known yet.
    go: Mutex<Option<bool>>,
    changed: Condvar,
}

impl Start {
    fn tell(&self, go: bool) {
        self.go.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(go);
        self.changed.notify_all();
    }

    /// Whether there is work to do.
    fn wait(&self) -> bool {
        let mut go = self.go.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match *go {
                Some(go) => return go,
                None => go = self.changed.wait(go).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// If it is dropped before [`Begin::now`], the waiting threads end without doing any work.
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
    fn waiting_threads_end_when_one_cannot_be_started() {
        let start = Start::default();
        let (with, without) = thread::scope(|scope| {
            let begin = Begin(&start);
            let without = scope.spawn(|| start.wait());
            drop(begin);
            let other = Start::default();
            Begin(&other).now();
            (other.wait(), without.join().expect("it ended"))
        });
        assert_eq!((with, without), (true, false));
    }

    #[test]
    fn missing_memory_is_found_before_it_is_needed() {
        assert!(room(1 << 20).is_ok());
        assert_eq!(room(isize::MAX as usize).expect_err("too much").kind(), io::ErrorKind::OutOfMemory);
    }
}

//! Puts, by one thread or many, with the full cost of their durability.

use super::{Figures, Task, quiet_disk};
use crate::stores::{Setup, Store, Sync};
use crate::work::{Limit, histogram, key, quantile_us, record, scattered, value};
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use rustix::fs::{major, minor};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

/// The number of different keys.
const KEYS: u64 = 1_000_000;
const LONGEST: Duration = Duration::from_secs(2);
/// A number of operations before the measurement, to warm up.
const WARM_UP: u64 = 1_000_000;

pub(super) fn sync_1(task: &Task<'_>) -> Result<Figures> {
    one_thread(task, Sync::Every(1), 10_000)
}

pub(super) fn sync_5(task: &Task<'_>) -> Result<Figures> {
    one_thread(task, Sync::Every(5), 40_000)
}

pub(super) fn sync_100(task: &Task<'_>) -> Result<Figures> {
    one_thread(task, Sync::Every(100), 400_000)
}

pub(super) fn sync_1000(task: &Task<'_>) -> Result<Figures> {
    one_thread(task, Sync::Every(1000), 500_000)
}

pub(super) fn no_sync(task: &Task<'_>) -> Result<Figures> {
    one_thread(task, Sync::Never, 500_000)
}

pub(super) fn threads_2(task: &Task<'_>) -> Result<Figures> {
    threads(task, 2, 20_000)
}

pub(super) fn threads_8(task: &Task<'_>) -> Result<Figures> {
    threads(task, 8, 60_000)
}

pub(super) fn threads_64(task: &Task<'_>) -> Result<Figures> {
    threads(task, 64, 120_000)
}

fn one_thread(task: &Task<'_>, sync: Sync, count: u64) -> Result<Figures> {
    let group = if let Sync::Every(puts) = sync { puts } else { 1000 };
    let count = task.count(count).next_multiple_of(group);
    let store = task.open(&Setup::new(sync))?;
    let mut writer = store.writer()?;
    for i in 0..group.max(100) {
        writer.put(&key(WARM_UP + i), &value(WARM_UP + i))?;
    }
    writer.finish()?;
    quiet_disk();

    let mut took = histogram();
    let written = bytes_written(task.dir)?;
    let limit = Limit::new(count, LONGEST);
    let began = Instant::now();
    let (mut last, mut done) = (began, 0);
    while done < limit.count && last < limit.until {
        for i in done..done + group {
            let n = scattered(i, 0, KEYS);
            writer.put(&key(n), &value(n))?;
        }
        done += group;
        let now = Instant::now();
        record(&mut took, now - last);
        last = now;
    }
    writer.finish()?;
    let elapsed = began.elapsed();
    let mut figures = vec![("ops", done as f64 / elapsed.as_secs_f64())];
    if group == 1 {
        figures.extend(latencies(&took));
        figures.push(("written", (bytes_written(task.dir)? - written) as f64 / done as f64));
    }
    Ok(figures)
}

fn threads(task: &Task<'_>, threads: u64, count: u64) -> Result<Figures> {
    let store = task.open(&Setup { threads: threads as usize, ..Setup::new(Sync::Every(1)) })?;
    quiet_disk();
    let ready = Barrier::new(threads as usize + 1);
    let each = task.count(count) / threads;
    let (elapsed, done, took) = std::thread::scope(|scope| -> Result<_> {
        let writers: Vec<_> = (0..threads)
            .map(|thread| {
                scope.spawn({
                    let (store, ready) = (&*store, &ready);
                    move || put_all(store, ready, thread, each)
                })
            })
            .collect();
        ready.wait();
        let began = Instant::now();
        let (mut done, mut all) = (0, histogram());
        for writer in writers {
            let (puts, took) = writer.join().expect("no panic")?;
            done += puts;
            all.add(took)?;
        }
        Ok((began.elapsed(), done, all))
    })?;
    let mut figures = vec![("ops", done as f64 / elapsed.as_secs_f64())];
    figures.extend(latencies(&took));
    Ok(figures)
}

fn put_all(store: &dyn Store, ready: &Barrier, thread: u64, each: u64) -> Result<(u64, Histogram<u64>)> {
    let mut took = histogram();
    let writer = store.writer();
    ready.wait(); // also after an error, because the other threads wait for it
    let mut writer = writer?;
    let limit = Limit::new(each, LONGEST);
    let (mut last, mut done) = (Instant::now(), 0);
    while done < limit.count && last < limit.until {
        let n = scattered(done, thread, KEYS);
        writer.put(&key(n), &value(n))?;
        done += 1;
        let now = Instant::now();
        record(&mut took, now - last);
        last = now;
    }
    Ok((done, took))
}

fn latencies(took: &Histogram<u64>) -> Figures {
    vec![("p50", quantile_us(took, 0.5)), ("p99", quantile_us(took, 0.99)), ("p99.9", quantile_us(took, 0.999))]
}

/// The bytes that the disk of `dir` has written, by any process. 0 for a directory in memory.
fn bytes_written(dir: &Path) -> Result<u64> {
    const SECTOR_BYTES: u64 = 512;
    const SECTORS_WRITTEN: usize = 6;
    let device = std::fs::metadata(dir)?.dev();
    let stat = format!("/sys/dev/block/{}:{}/stat", major(device), minor(device));
    let Ok(stat) = std::fs::read_to_string(stat) else { return Ok(0) };
    let sectors: u64 = stat.split_whitespace().nth(SECTORS_WRITTEN).context("a field is missing")?.parse()?;
    Ok(sectors * SECTOR_BYTES)
}

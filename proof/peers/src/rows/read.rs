//! Gets of random keys, alone and next to a writer.

use super::{Figures, Task, quiet_disk};
use crate::stores::{Reads, Setup, Store, Sync};
use crate::work::{Limit, histogram, key, quantile_us, record, scattered, value};
use anyhow::{Result, ensure};
use hdrhistogram::Histogram;
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KEYS: u64 = 1_000_000;
const GETS: u64 = 4_000_000;
const LONGEST: Duration = Duration::from_secs(1);
/// The number of gets between two readings of the clock.
const STEP: u64 = 1024;

pub(super) fn get(task: &Task<'_>) -> Result<Figures> {
    let keys = task.count(KEYS);
    let store = task.open(&Setup { worn_in: false, ..Setup::new(Sync::Every(1)) })?;
    store.fill(0..keys)?;
    store.settle()?;
    quiet_disk();
    get_all(&*store, 0, keys, task.count(GETS) / 4)?; // warms up the caches
    let one = get_all(&*store, 0, keys, task.count(GETS))?;
    let ready = Barrier::new(2);
    let two = std::thread::scope(|scope| -> Result<f64> {
        let readers: Vec<_> = (0..2)
            .map(|thread| {
                scope.spawn({
                    let (store, ready, gets) = (&*store, &ready, task.count(GETS));
                    move || {
                        ready.wait();
                        get_all(store, thread, keys, gets)
                    }
                })
            })
            .collect();
        readers.into_iter().map(|reader| reader.join().expect("no panic")).sum()
    })?;
    Ok(vec![("ops", one), ("ops-2-threads", two)])
}

/// Returns the gets per second.
fn get_all(store: &dyn Store, thread: u64, keys: u64, gets: u64) -> Result<f64> {
    let mut reader = store.reader()?;
    let limit = Limit::new(gets, LONGEST);
    let began = Instant::now();
    let mut done = 0;
    while done < limit.count && Instant::now() < limit.until {
        for i in done..done + STEP {
            let n = scattered(i, thread, keys);
            let found = reader.get(&key(n))?;
            ensure!(found == Some(n), "the value of key {n} is {found:?}");
        }
        done += STEP;
    }
    Ok(done as f64 / began.elapsed().as_secs_f64())
}

pub(super) fn beside_writer(task: &Task<'_>) -> Result<Figures> {
    let keys = task.count(KEYS);
    let store = task.open(&Setup { threads: 2, reads: Reads::Fresh, ..Setup::new(Sync::Every(1)) })?;
    store.fill(0..keys)?;
    store.settle()?;
    quiet_disk();
    let time = task.time(Duration::from_secs(1));
    timed_gets(&*store, keys, time / 4)?; // warms up the caches
    let alone = timed_gets(&*store, keys, time)?;
    let stop = AtomicBool::new(false);
    let beside = std::thread::scope(|scope| {
        let writer = scope.spawn(|| put_until(&*store, keys, &stop));
        std::thread::sleep(time / 10);
        let took = timed_gets(&*store, keys, time);
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no panic")?;
        took
    })?;
    let (p99_alone, p99_beside) = (quantile_us(&alone, 0.99), quantile_us(&beside, 0.99));
    Ok(vec![
        ("slower", p99_beside / p99_alone),
        ("p99-alone", p99_alone),
        ("p99-beside", p99_beside),
        ("p99.9-beside", quantile_us(&beside, 0.999)),
    ])
}

fn timed_gets(store: &dyn Store, keys: u64, time: Duration) -> Result<Histogram<u64>> {
    let mut reader = store.reader()?;
    let mut took = histogram();
    let until = Instant::now() + time;
    let (mut last, mut i) = (Instant::now(), 0);
    while last < until {
        let n = scattered(i, 0, keys);
        let found = reader.get(&key(n))?;
        ensure!(found == Some(n), "the value of key {n} is {found:?}");
        let now = Instant::now();
        record(&mut took, now - last);
        last = now;
        i += 1;
    }
    Ok(took)
}

fn put_until(store: &dyn Store, keys: u64, stop: &AtomicBool) -> Result<()> {
    let mut writer = store.writer()?;
    let mut i = 0;
    while !stop.load(Ordering::Relaxed) {
        let n = scattered(i, 1, keys);
        writer.put(&key(n), &value(n))?;
        i += 1;
    }
    writer.finish()
}

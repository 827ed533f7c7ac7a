//! A checkpoint next to a writer of durable puts: how long the writer is delayed, and how fast the state is written.

use super::{Figures, Task, quiet_disk};
use crate::stores::{Setup, Store, Sync};
use crate::work::{key, scattered, value};
use anyhow::Result;
use std::fs::File;
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

const KEYS: u64 = 1_000_000;
const PIECE_BYTES: usize = 1 << 20;
const WITHOUT: Duration = Duration::from_secs(2);

pub(super) fn beside_writer(task: &Task<'_>) -> Result<Figures> {
    let keys = task.count(KEYS);
    let store = task.open(&Setup { threads: 2, log_only: true, ..Setup::new(Sync::Every(1)) })?;
    store.fill(0..keys)?;
    quiet_disk();
    let without = longest_put(&*store, keys, || std::thread::sleep(task.time(WITHOUT)))?;
    quiet_disk();
    let (mut bytes, mut took) = (None, Duration::ZERO);
    let with = longest_put(&*store, keys, || {
        let began = Instant::now();
        bytes = store.checkpoint(task.dir).transpose();
        took = began.elapsed();
    })?;
    let bytes = bytes.transpose()?.unwrap_or_default();
    let disk = sequential_mb_per_second(task)?;
    let rate = bytes as f64 / 1e6 / took.as_secs_f64();
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    Ok(vec![
        ("stall", ms(with)),
        ("stall-without", ms(without)),
        ("longer", with.as_secs_f64() / without.as_secs_f64()),
        ("took", ms(took)),
        ("rate", rate),
        ("of-disk", rate / disk),
    ])
}

/// The longest put of a thread while `work` runs.
fn longest_put(store: &dyn Store, keys: u64, work: impl FnOnce()) -> Result<Duration> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<Duration> {
            let mut writer = store.writer()?;
            let (mut longest, mut i) = (Duration::ZERO, 0);
            while !stop.load(Ordering::Relaxed) {
                let n = scattered(i, 1, keys);
                let began = Instant::now();
                writer.put(&key(n), &value(n))?;
                longest = longest.max(began.elapsed());
                i += 1;
            }
            Ok(longest)
        });
        work();
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("no panic")
    })
}

/// The speed of a new file with as many bytes as the state, written in large pieces and synced.
fn sequential_mb_per_second(task: &Task<'_>) -> Result<f64> {
    let pieces = (task.count(KEYS) as usize * 116).div_ceil(PIECE_BYTES);
    let piece = vec![b'v'; PIECE_BYTES];
    quiet_disk();
    let began = Instant::now();
    let mut file = File::create(task.dir.join("sequential"))?;
    for _ in 0..pieces {
        file.write_all(&piece)?;
    }
    file.sync_data()?;
    Ok((pieces * PIECE_BYTES) as f64 / 1e6 / began.elapsed().as_secs_f64())
}

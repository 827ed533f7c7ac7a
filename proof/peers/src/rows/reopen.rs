//! Opening a store: after its process was killed with everything in the log, and after a clean close.
//!
//! The files are in the page cache, like after the crash and restart of a program. A store that does not trust the
//! cache reads the disk.

use super::{Figures, Task, quiet_disk};
use crate::stores::{Setup, Sync};
use crate::work::{histogram, key, quantile_us, record};
use anyhow::{Result, ensure};
use std::time::Instant;

const CRASHED_KEYS: u64 = 1_000_000;
const CLOSED_KEYS: u64 = 5_000_000;
const FIRST_GETS: u64 = 1;

const CRASHED: Setup = Setup {
    sync: Sync::Every(1000),
    threads: 1,
    reads: crate::stores::Reads::OneView,
    log_only: true,
    values_on_disk: false,
    worn_in: false,
};

const CLOSED: Setup = Setup { log_only: false, values_on_disk: true, ..CRASHED };

/// The process kills itself after this function has returned.
pub(super) fn fill_and_crash(task: &Task<'_>) -> Result<Figures> {
    let store = task.open(&CRASHED)?;
    let mut writer = store.writer()?;
    for n in 0..task.count(CRASHED_KEYS) {
        writer.put(&key(n), &crate::work::value(n))?;
    }
    writer.finish()?;
    quiet_disk();
    drop(writer);
    std::mem::forget(store);
    Ok(Vec::new())
}

pub(super) fn open_crashed(task: &Task<'_>) -> Result<Figures> {
    open(task, &CRASHED, task.count(CRASHED_KEYS))
}

pub(super) fn fill_and_close(task: &Task<'_>) -> Result<Figures> {
    let store = task.open(&CLOSED)?;
    store.fill(0..task.count(CLOSED_KEYS))?;
    store.settle()?;
    store.checkpoint(task.dir)?;
    store.close()?;
    quiet_disk();
    Ok(Vec::new())
}

pub(super) fn open_closed(task: &Task<'_>) -> Result<Figures> {
    open(task, &CLOSED, task.count(CLOSED_KEYS))
}

fn open(task: &Task<'_>, setup: &Setup, keys: u64) -> Result<Figures> {
    let began = Instant::now();
    let store = task.open(setup)?;
    let opened = began.elapsed();
    let mut first = histogram();
    let mut reader = store.reader()?;
    for n in [keys / 2, 0, keys - 1].into_iter().take(FIRST_GETS as usize) {
        let began = Instant::now();
        let found = reader.get(&key(n))?;
        record(&mut first, began.elapsed());
        ensure!(found == Some(n), "the value of key {n} is {found:?}");
    }
    for n in 0..1000 {
        let n = n * (keys / 1000);
        let found = reader.get(&key(n))?;
        ensure!(found == Some(n), "the value of key {n} is {found:?}");
    }
    ensure!(reader.get(&key(keys))?.is_none(), "a key that was never put is there");
    drop(reader);
    store.close()?;
    Ok(vec![("open", opened.as_secs_f64() * 1e3), ("first-get", quantile_us(&first, 1.0))])
}

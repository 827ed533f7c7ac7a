//! Two threads. Each of them alternates between puts and gets.

use super::{Figures, Task, quiet_disk};
use crate::stores::{Reads, Setup, Store, Sync};
use crate::work::{Limit, key, scattered, value};
use anyhow::{Result, ensure};
use std::sync::Barrier;
use std::time::{Duration, Instant};

const KEYS: u64 = 1_000_000;
const OPS: u64 = 1_000_000;
const LONGEST: Duration = Duration::from_secs(2);
const THREADS: u64 = 2;
/// The number of operations between two readings of the clock.
const STEP: u64 = 100;

pub(super) fn no_sync(task: &Task<'_>) -> Result<Figures> {
    mixed(task, Sync::Never)
}

pub(super) fn sync_100(task: &Task<'_>) -> Result<Figures> {
    mixed(task, Sync::Every(100))
}

fn mixed(task: &Task<'_>, sync: Sync) -> Result<Figures> {
    let keys = task.count(KEYS);
    let store = task.open(&Setup { threads: THREADS as usize, reads: Reads::Fresh, ..Setup::new(sync) })?;
    store.fill(0..keys)?;
    store.settle()?;
    quiet_disk();
    let ready = Barrier::new(THREADS as usize + 1);
    let each = task.count(OPS) / THREADS;
    let (elapsed, done) = std::thread::scope(|scope| -> Result<_> {
        let threads: Vec<_> = (0..THREADS)
            .map(|thread| {
                let (store, ready) = (&*store, &ready);
                scope.spawn(move || by_turns(store, ready, thread, keys, each))
            })
            .collect();
        ready.wait();
        let began = Instant::now();
        let mut done = 0;
        for thread in threads {
            done += thread.join().expect("no panic")?;
        }
        Ok((began.elapsed(), done))
    })?;
    Ok(vec![("ops", done as f64 / elapsed.as_secs_f64())])
}

fn by_turns(store: &dyn Store, ready: &Barrier, thread: u64, keys: u64, each: u64) -> Result<u64> {
    let both = store.writer().and_then(|writer| Ok((writer, store.reader()?)));
    ready.wait(); // also after an error, because the other thread waits for it
    let (mut writer, mut reader) = both?;
    let limit = Limit::new(each, LONGEST);
    let mut done = 0;
    while done < limit.count && Instant::now() < limit.until {
        for i in done..done + STEP {
            let (put, got) = (scattered(i, thread, keys), scattered(i, thread + THREADS, keys));
            writer.put(&key(put), &value(put))?;
            let found = reader.get(&key(got))?;
            ensure!(found == Some(got), "the value of key {got} is {found:?}");
        }
        done += STEP;
    }
    writer.finish()?;
    Ok(2 * done)
}

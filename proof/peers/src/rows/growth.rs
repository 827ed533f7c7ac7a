//! Whether an operation costs more if there are more keys. At each size the same few keys are used first, so that they
//! are in the processor's caches. Then any key is used, which shows the effect of the caches.

use super::{Figures, Metric, Task, less};
use crate::stores::{FLOOR, Setup, Store, Sync};
use crate::work::{key, scattered, value};
use anyhow::{Result, ensure};
use std::time::Instant;

const SIZES: [u64; 4] = [10_000, 100_000, 1_000_000, 10_000_000];
const FEW: u64 = 250;
const PUTS: u64 = 200_000;
const GETS: u64 = 2_000_000;

const PUT: [&str; 4] = ["put-10^4", "put-10^5", "put-10^6", "put-10^7"];
const GET: [&str; 4] = ["get-10^4", "get-10^5", "get-10^6", "get-10^7"];
const ANY: [&str; 4] = ["any-10^4", "any-10^5", "any-10^6", "any-10^7"];
const OPEN: [&str; 4] = ["open-10^4", "open-10^5", "open-10^6", "open-10^7"];

pub(super) const METRICS: &[Metric] = &[
    less("put-grows", "×"),
    less("get-grows", "×"),
    less(PUT[0], "ns"),
    less(PUT[1], "ns"),
    less(PUT[2], "ns"),
    less(PUT[3], "ns"),
    less(GET[0], "ns"),
    less(GET[1], "ns"),
    less(GET[2], "ns"),
    less(GET[3], "ns"),
    less(ANY[0], "ns"),
    less(ANY[1], "ns"),
    less(ANY[2], "ns"),
    less(ANY[3], "ns"),
    less(OPEN[0], "ms"),
    less(OPEN[1], "ms"),
    less(OPEN[2], "ms"),
    less(OPEN[3], "ms"),
];

pub(super) fn all_sizes(task: &Task<'_>) -> Result<Figures> {
    let sizes = if task.quick { &SIZES[..3] } else { &SIZES[..] };
    // The floor has only its log.
    let setup = Setup { worn_in: false, log_only: task.kind.name == FLOOR, ..Setup::new(Sync::Never) };
    let mut store = task.open(&setup)?;
    let mut figures = Vec::new();
    let mut from = 0;
    for (which, &keys) in sizes.iter().enumerate() {
        store.fill(from..keys)?;
        store.settle()?; // so that no background work is running
        from = keys;
        figures.push((PUT[which], put_ns(&*store, keys)?));
        figures.push((GET[which], get_ns(&*store, keys, FEW)?));
        figures.push((ANY[which], get_ns(&*store, keys, keys)?));
        store.settle()?; // the log of the puts is not part of the measurement
        store.close()?;
        let began = Instant::now();
        store = task.open(&setup)?;
        figures.push((OPEN[which], began.elapsed().as_secs_f64() * 1e3));
    }
    let at = |name: &str| figures.iter().find(|figure| figure.0 == name).map_or(f64::NAN, |figure| figure.1);
    let last = sizes.len() - 1;
    let grows = [("put-grows", at(PUT[last]) / at(PUT[0])), ("get-grows", at(GET[last]) / at(GET[0]))];
    Ok(grows.into_iter().chain(figures).collect())
}

/// The `i`-th of `among` keys, spread over all `keys`.
fn number(i: u64, among: u64, keys: u64) -> u64 {
    scattered(i, 0, among) * (keys / among)
}

fn put_ns(store: &dyn Store, keys: u64) -> Result<f64> {
    let mut writer = store.writer()?;
    let mut began = Instant::now();
    for i in 0..PUTS + FEW {
        if i == FEW {
            began = Instant::now(); // each key was used once
        }
        let n = number(i, FEW, keys);
        writer.put(&key(n), &value(n))?;
    }
    Ok(began.elapsed().as_nanos() as f64 / PUTS as f64)
}

fn get_ns(store: &dyn Store, keys: u64, among: u64) -> Result<f64> {
    let mut reader = store.reader()?;
    let mut began = Instant::now();
    for i in 0..GETS + FEW {
        if i == FEW {
            began = Instant::now();
        }
        let n = number(i, among, keys);
        let found = reader.get(&key(n))?;
        ensure!(found == Some(n), "the value of key {n} is {found:?}");
    }
    Ok(began.elapsed().as_nanos() as f64 / GETS as f64)
}

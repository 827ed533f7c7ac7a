//! Opening: 100,000 puts from the log of a process that was killed, and 100,000 keys from a snapshot.
#![allow(missing_docs, reason = "criterion's macros make functions")]

mod common;

use common::{filled, options};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use std::fs;
use std::path::Path;
use std::time::Duration;
use tempfile::TempDir;

const KEYS: u64 = 100_000;

fn recovery(c: &mut Criterion) {
    let mut group = c.benchmark_group("recovery");
    group.sample_size(20).throughput(Throughput::Elements(KEYS));
    let killed = tempfile::tempdir().expect("a directory");
    let engine = filled(killed.path(), KEYS);
    engine.flush().expect("room");
    bench(&mut group, "log after a kill", killed.path()); // the store is still open, so its files are those of a killed process
    engine.close().expect("room");
    let saved = tempfile::tempdir().expect("a directory");
    let engine = filled(saved.path(), KEYS);
    engine.snapshot().expect("room");
    engine.close().expect("room");
    bench(&mut group, "snapshot", saved.path());
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

/// Opens a copy of `files` again and again.
fn bench(group: &mut Group<'_>, name: &str, files: &Path) {
    group.bench_function(name, |b| {
        let open = |copy: TempDir| {
            let engine = options(copy.path(), 1, Duration::ZERO).open().expect("a sound store");
            assert_eq!(engine.len() as u64, KEYS);
            (engine, copy) // closed outside the measured time
        };
        b.iter_batched(|| copy(files), open, BatchSize::PerIteration);
    });
}

fn copy(files: &Path) -> TempDir {
    let copy = tempfile::tempdir().expect("a directory");
    for file in ["kv.wal", "kv.snapshot"] {
        if files.join(file).exists() {
            fs::copy(files.join(file), copy.path().join(file)).expect("room");
        }
    }
    copy
}

criterion_group!(benches, recovery);
criterion_main!(benches);

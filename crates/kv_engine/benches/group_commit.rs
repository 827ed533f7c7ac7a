//! The cost of a durable put besides its sync, with syncs that take no time. And the gain of threads that share a sync,
//! with syncs that take 100 µs.
#![allow(missing_docs, reason = "criterion's macros make functions")]

mod common;

use common::{VALUE, key, options};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kv_engine::Engine;
use std::time::{Duration, Instant};

const KEYS: u64 = 10_000;

fn group_commit(c: &mut Criterion) {
    let mut group = c.benchmark_group("group commit");
    group.sample_size(20).warm_up_time(Duration::from_millis(300)).measurement_time(Duration::from_secs(1));
    group.throughput(Throughput::Elements(1));
    for batch_size in [1, 5, 100, 1000] {
        bench(&mut group, &format!("a sync takes nothing, batch size {batch_size}"), batch_size, Duration::ZERO, 1);
    }
    for threads in [1, 2, 8, 64] {
        bench(&mut group, &format!("a sync takes 100 µs, {threads} threads"), 1, Duration::from_micros(100), threads);
    }
    group.finish();
}

type Group<'a> = criterion::BenchmarkGroup<'a, criterion::measurement::WallTime>;

fn bench(group: &mut Group<'_>, name: &str, batch_size: u64, sync: Duration, threads: u64) {
    let dir = tempfile::tempdir().expect("a directory");
    let engine = options(dir.path(), batch_size, sync).open().expect("a new store");
    group.bench_function(name, |b| b.iter_custom(|puts| put_all(&engine, threads, puts)));
}

/// The time of `puts` puts, divided among the threads.
fn put_all(engine: &Engine, threads: u64, puts: u64) -> Duration {
    let began = Instant::now();
    let put = |thread: u64| {
        for n in (thread..puts).step_by(threads as usize) {
            engine.put(key(n % KEYS), VALUE).expect("room");
        }
    };
    std::thread::scope(|scope| {
        for thread in 1..threads {
            scope.spawn(move || put(thread));
        }
        put(0);
    });
    began.elapsed()
}

criterion_group!(benches, group_commit);
criterion_main!(benches);

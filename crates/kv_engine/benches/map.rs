//! The map: gets of existing and of missing keys, with few keys, which fit the processor's caches, and with many. Also
//! scans and views.
#![allow(missing_docs, reason = "criterion's macros make functions")]

mod common;

use common::{filled, key};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;

fn map(c: &mut Criterion) {
    let mut group = c.benchmark_group("map");
    group.sample_size(20);
    for keys in [1_000, 1_000_000] {
        let dir = tempfile::tempdir().expect("a directory");
        let engine = filled(dir.path(), keys);
        let mut n = 0;
        let mut next = move || {
            n = (n + 7919) % keys;
            n
        };
        group.throughput(Throughput::Elements(1));
        group.bench_function(format!("get, {keys} keys"), |b| b.iter(|| black_box(engine.get(key(next())))));
        group.bench_function(format!("get of a missing key, {keys} keys"), |b| {
            b.iter(|| black_box(engine.get(key(keys + next()))))
        });
    }
    let dir = tempfile::tempdir().expect("a directory");
    let engine = filled(dir.path(), 1000);
    group.throughput(Throughput::Elements(1000));
    group.bench_function("scan of 1000 keys", |b| b.iter(|| black_box(engine.scan("").count())));
    group.bench_function("scan of 1000 keys, backward", |b| b.iter(|| black_box(engine.scan("").rev().count())));
    let view = engine.view();
    group.bench_function("scan of 1000 keys, in a view", |b| b.iter(|| black_box(view.scan("").count())));
    group.throughput(Throughput::Elements(1));
    let mut n = 0;
    group.bench_function("get in a view, 1000 keys", |b| {
        b.iter(|| {
            n = (n + 7919) % 1000;
            black_box(view.get(key(n)))
        })
    });
    group.bench_function("open and drop a view", |b| b.iter(|| black_box(engine.view())));
    group.finish();
}

criterion_group!(benches, map);
criterion_main!(benches);

//! Real threads on the real disk: a short stress of everything that threads may do to one store at the same time.
//! `scripts/dev/thread-sanitizer` repeats it under the ThreadSanitizer. Also a bug that the exploration of schedules
//! found.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Batch, Engine, Error};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;
use support::{Gate, Place};

const WRITERS: u64 = 8;

/// Puts, batches and deletes until the store is closed. Returns the number of acknowledged writes and of the keys they
/// left.
fn write_until_closed(engine: &Engine, writer: u64) -> (u64, u64) {
    let (mut writes, mut keys) = (0, 0);
    for n in 0_u64.. {
        let key = |suffix: &str| format!("{writer} {n} {suffix}");
        let mut batch = Batch::new();
        batch.put(key("b"), "v").put("shared", key("")).put(key("c"), "v");
        let done = (|| {
            engine.put(key("a"), "v")?;
            (writes, keys) = (writes + 1, keys + 1);
            engine.write(batch)?;
            (writes, keys) = (writes + 1, keys + 2);
            assert!(engine.delete(key("a"))?.is_some());
            (writes, keys) = (writes + 1, keys - 1);
            Ok(())
        })();
        match done {
            Ok(()) => {}
            Err(Error::Closed) => return (writes, keys),
            Err(error) => panic!("{error}"),
        }
    }
    unreachable!("the store is closed at some time")
}

/// Three rounds, or the number in `KV_THREADS_ROUNDS`.
#[test]
fn writers_readers_snapshots_and_closes_at_the_same_time() {
    let rounds = std::env::var("KV_THREADS_ROUNDS").map_or(3, |n| n.parse().unwrap());
    for round in 0..rounds {
        let place = Place::new();
        let batch_size = [1, 3, 100][round % 3];
        let options = place.options().batch_size(batch_size).flush_interval(Duration::from_millis(1));
        let engine = options.snapshot_on_close(round % 2 == 1).open().unwrap();
        let counts: Vec<(u64, u64)> = std::thread::scope(|scope| {
            let engine = &engine;
            let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || write_until_closed(engine, writer))).collect();
            scope.spawn(|| (0..500).for_each(|_| drop(engine.get("shared").unwrap())));
            scope.spawn(|| (0..20).for_each(|_| assert!(engine.scan("").map(Result::unwrap).is_sorted())));
            let watcher = scope.spawn(|| {
                let stats = (0..200).map(|_| engine.stats());
                stats.fold(0, |before, now| {
                    assert!(before <= now.durable && now.durable <= now.appended && now.pending < now.batch_size);
                    now.durable
                })
            });
            for turn in 0..6 {
                engine.snapshot().unwrap();
                engine.set_batch_size(1 + turn % 3).unwrap();
                engine.flush().unwrap();
            }
            watcher.join().unwrap();
            let closers: Vec<_> = (0..2).map(|_| scope.spawn(|| engine.close())).collect();
            closers.into_iter().for_each(|closer| closer.join().unwrap().unwrap());
            writers.into_iter().map(|writer| writer.join().unwrap()).collect()
        });
        let digest = engine.digest();
        drop(engine);
        let again = place.open();
        let writes: u64 = counts.iter().map(|(writes, _)| writes).sum();
        let keys: u64 = counts.iter().map(|(_, keys)| keys).sum();
        assert_eq!((again.recovery().last_seq, again.digest()), (writes, digest));
        assert_eq!(again.len() as u64, keys + u64::from(again.get("shared").unwrap().is_some()));
    }
}

/// A sync is running, a writer waits for its end, and a third thread panics while it holds the log's lock. Found by the
/// exploration of schedules: the thread that synced met the poisoned lock and returned without waking the writer.
#[test]
fn threads_that_wait_for_a_sync_get_an_error_if_another_thread_panics() {
    let place = Place::new();
    let gate = Gate::default();
    let engine = place.options().disk(Arc::new(gate.clone())).open().unwrap();
    let sync = gate.hold();

    let put = |key: &'static str| {
        let (engine, (answer, answered)) = (engine.clone(), channel());
        std::thread::spawn(move || answer.send(engine.put(key, "1").map(drop)));
        answered
    };
    let leads = put("leads");
    sync.has_begun();
    let follows = put("follows");
    while engine.stats().appended < 2 {
        std::thread::yield_now(); // when the write is appended and the lock is free, its thread sleeps
    }
    // The larger batch makes the first write visible at once, and its age is taken under the lock.
    gate.clock_panics.store(true, Ordering::Relaxed);
    let clone = engine.clone();
    assert!(std::thread::spawn(move || clone.set_batch_size(3)).join().is_err());
    sync.ends();

    let answer = |who: Receiver<Result<(), Error>>| match who.recv_timeout(Duration::from_secs(60)) {
        Err(RecvTimeoutError::Timeout) => panic!("it waits for ever"),
        answer => answer.unwrap(),
    };
    assert!(matches!(answer(leads), Err(Error::Poisoned { .. })));
    assert!(matches!(answer(follows), Err(Error::Poisoned { .. })));
}

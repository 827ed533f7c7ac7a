//! Conditional writes beside a sync that the test holds: they are decided against the writes in flight, and no answer
//! rests on a write that is then refused or lost. Also batches that are made durable at once.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Ack, Batch, Engine, Error, Result, Swap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, ScopedJoinHandle, yield_now};
use std::time::{Duration, Instant};
use support::{Call, EIO, ENOSPC, FaultyDisk, Gate, Place, Plan, Sync, kill};

fn number(value: Option<&[u8]>) -> u64 {
    value.map_or(0, |value| std::str::from_utf8(value).unwrap().parse().unwrap_or_default())
}

fn add_one(engine: &Engine, key: &str) -> Result<u64> {
    let updated = engine.update(key, |old| Some((number(old) + 1).to_string()))?;
    Ok(number(updated.new.as_deref()))
}

fn copy(engine: &Engine, from: &str, to: &str) -> Result<Ack> {
    let copied = engine.transaction(|tx| -> Result<()> {
        let value = tx.get(from)?.unwrap();
        tx.put(to, value);
        Ok(())
    });
    Ok(copied?.1)
}

fn value(engine: &Engine, key: &str) -> u64 {
    number(engine.get(key).unwrap().as_deref())
}

/// Waits until this number of writes is appended. Then the lock is free, and the writer sleeps.
fn wait_for(engine: &Engine, appended: u64) {
    let began = Instant::now();
    while engine.stats().appended < appended {
        assert!(began.elapsed() < Duration::from_secs(60), "write {appended} is never appended");
        yield_now();
    }
}

/// A store whose sync is held, with `writes` in flight.
struct InFlight {
    place: Place,
    gate: Gate,
    engine: Engine,
}

impl InFlight {
    fn new() -> InFlight {
        let (place, gate) = (Place::new(), Gate::default());
        let engine = place.options().disk(Arc::new(gate.clone())).open().unwrap();
        engine.put("x", "old").unwrap();
        InFlight { place, gate, engine }
    }

    /// Runs `scene` while a put of another key is being synced and a put of `x` is in flight behind it.
    fn with_put_in_flight(&self, scene: impl FnOnce(Sync, ScopedJoinHandle<'_, Result<()>>)) {
        let sync = self.gate.hold();
        thread::scope(|scope| {
            let first = scope.spawn(|| self.engine.put("first", ""));
            sync.has_begun();
            let before = self.engine.stats().appended;
            let put = scope.spawn(|| self.engine.put("x", "new").map(drop));
            self.wait_for(before + 1);
            scene(sync, put);
            drop(first.join().unwrap());
        });
    }

    fn wait_for(&self, appended: u64) {
        wait_for(&self.engine, appended);
    }
}

#[test]
fn a_condition_is_decided_against_the_write_in_flight() {
    let store = InFlight::new();
    store.with_put_in_flight(|sync, put| {
        let engine = &store.engine;
        assert_eq!(engine.get("x").unwrap().as_deref(), Some(&b"old"[..]), "at batch size 1 it is not visible");
        thread::scope(|scope| {
            let swap = scope.spawn(|| engine.compare_and_swap("x", Some("new"), Some("1")));
            store.wait_for(4);
            let update = scope.spawn(|| add_one(engine, "x"));
            store.wait_for(5);
            let transaction = scope.spawn(|| copy(engine, "x", "y"));
            store.wait_for(6);
            let delete = scope.spawn(|| engine.delete("x"));
            store.wait_for(7);
            let differs = scope.spawn(|| engine.compare_and_swap("x", Some("2"), Some("3")));
            let absent = scope.spawn(|| engine.put_if_absent("x", "again"));
            store.wait_for(8);
            sync.ends();
            put.join().unwrap().unwrap();
            assert!(matches!(swap.join().unwrap().unwrap(), Swap::Done(ack) if ack.seq == 4));
            assert_eq!(update.join().unwrap().unwrap(), 2);
            assert_eq!(transaction.join().unwrap().unwrap().seq, 6);
            assert_eq!(delete.join().unwrap().unwrap().unwrap().seq, 7);
            assert!(absent.join().unwrap().unwrap().is_done());
            let Swap::Differs { current } = differs.join().unwrap().unwrap() else { panic!("it was deleted") };
            assert!(current.is_none() || current.as_deref() == Some(b"again"));
        });
    });
    let engine = &store.engine;
    assert_eq!(engine.get("x").unwrap().as_deref(), Some(&b"again"[..]));
    assert_eq!(engine.get("y").unwrap().as_deref(), Some(&b"2"[..]));
}

/// The disk is full when the put in flight would be written. What was decided on it is refused with it, and "does not
/// hold" is not answered on the strength of it.
#[test]
fn an_answer_does_not_rest_on_a_put_that_a_full_disk_refuses() {
    let store = InFlight::new();
    store.with_put_in_flight(|sync, put| {
        let engine = &store.engine;
        thread::scope(|scope| {
            let swap = scope.spawn(|| engine.compare_and_swap("x", Some("new"), Some("swapped")));
            store.wait_for(4);
            let update = scope.spawn(|| engine.update("x", |old| Some([old.unwrap(), b"+"].concat())));
            store.wait_for(5);
            let answered = [(); 4].map(|()| Arc::new(AtomicBool::new(false)));
            let [read, swapped, required, erred] = answered.clone();
            let read = scope.spawn(move || {
                let value = engine.transaction(|tx| tx.get("x")).unwrap().0;
                read.store(true, Ordering::Relaxed);
                value
            });
            let differs = scope.spawn(move || {
                let answer = engine.compare_and_swap("x", Some("other"), Some("1"));
                swapped.store(true, Ordering::Relaxed);
                answer
            });
            let condition = scope.spawn(move || {
                let answer = engine.write(Batch::new().require("x", "other").put("x", "1").clone());
                required.store(true, Ordering::Relaxed);
                answer
            });
            let own_error = scope.spawn(move || {
                let answer =
                    engine.transaction(|tx| -> Result<()> { Err(Error::Condition { key: tx.get("x")?.unwrap().to_vec() }) });
                erred.store(true, Ordering::Relaxed);
                answer
            });
            // They have been decided, or will be. No answer may come while the put can still be refused.
            (0..1000).for_each(|_| yield_now());
            assert!(answered.iter().all(|answered| !answered.load(Ordering::Relaxed)), "an answer rests on a put in flight");
            store.gate.is_full.store(true, Ordering::Relaxed);
            sync.ends();
            assert!(matches!(put.join().unwrap(), Err(Error::NoSpace { .. })));
            assert!(matches!(swap.join().unwrap(), Err(Error::NoSpace { .. })));
            assert!(matches!(update.join().unwrap(), Err(Error::NoSpace { .. })));
            assert_eq!(read.join().unwrap().as_deref(), Some(&b"old"[..]));
            let Swap::Differs { current } = differs.join().unwrap().unwrap() else { panic!("it is \"old\"") };
            assert_eq!(current.as_deref(), Some(&b"old"[..]));
            assert!(matches!(condition.join().unwrap(), Err(Error::Condition { .. })));
            assert!(matches!(own_error.join().unwrap(), Err(Error::Condition { key }) if key == b"old"));
        });
    });
    store.gate.is_full.store(false, Ordering::Relaxed);
    let engine = &store.engine;
    assert!(engine.compare_and_swap("x", Some("old"), Some("last")).unwrap().is_done());
    assert_eq!(engine.stats().appended, 3, "refused writes give their numbers back");
    assert_eq!(engine.get("x").unwrap().as_deref(), Some(&b"last"[..]));
}

/// While the closure runs, the put that it rests on is refused. Nothing else is appended, and still it runs again. Then
/// the numbers of the refused writes are given out again, and the writes that have them now are found.
#[test]
fn a_refusal_while_a_closure_runs_makes_it_run_again() {
    let store = InFlight::new();
    let engine = &store.engine;
    store.with_put_in_flight(|sync, put| {
        thread::scope(|scope| {
            let others = ["y", "z"].map(|key| scope.spawn(move || engine.put(key, "")));
            store.wait_for(5);
            let (mut sync, mut put, mut seen) = (Some(sync), Some(put), Vec::new());
            let updated = engine.update("x", |old| {
                seen.push(old.unwrap().to_vec());
                if let (Some(sync), Some(put)) = (sync.take(), put.take()) {
                    store.gate.is_full.store(true, Ordering::Relaxed);
                    sync.ends();
                    assert!(matches!(put.join().unwrap(), Err(Error::NoSpace { .. })));
                    store.gate.is_full.store(false, Ordering::Relaxed);
                }
                Some([old.unwrap(), b"+"].concat())
            });
            assert_eq!(updated.unwrap().ack.unwrap().seq, 3);
            assert_eq!(seen, [b"new", b"old"]);
            assert!(others.into_iter().all(|other| matches!(other.join().unwrap(), Err(Error::NoSpace { .. }))));
        });
    });
    assert_eq!(engine.get("x").unwrap().as_deref(), Some(&b"old+"[..]));
    store.with_put_in_flight(|sync, put| {
        thread::scope(|scope| {
            let swap = scope.spawn(|| engine.compare_and_swap("x", Some("new"), Some("swapped")));
            store.wait_for(6);
            sync.ends();
            put.join().unwrap().unwrap();
            assert!(swap.join().unwrap().unwrap().is_done());
        });
    });
}

#[test]
fn after_a_failed_sync_every_conditional_write_gets_the_error_of_a_put() {
    let store = InFlight::new();
    store.with_put_in_flight(|sync, put| {
        let engine = &store.engine;
        thread::scope(|scope| {
            let swap = scope.spawn(|| engine.compare_and_swap("x", Some("new"), Some("swapped")));
            store.wait_for(4);
            let update = scope.spawn(|| add_one(engine, "count"));
            store.wait_for(5);
            let differs = scope.spawn(|| engine.compare_and_swap("x", Some("other"), Some("1")));
            let read = scope.spawn(|| engine.transaction(|tx| tx.get("x")));
            sync.fails();
            let poisoned = |error: Error| matches!(error, Error::Poisoned { .. });
            assert!(poisoned(put.join().unwrap().unwrap_err()));
            assert!(poisoned(swap.join().unwrap().unwrap_err()));
            assert!(poisoned(update.join().unwrap().unwrap_err()));
            assert!(poisoned(differs.join().unwrap().unwrap_err()));
            assert!(poisoned(read.join().unwrap().unwrap_err()));
        });
    });
    let engine = &store.engine;
    assert!(matches!(engine.update("x", |_| Some("1")), Err(Error::Poisoned { .. })));
    assert!(matches!(engine.put_if_absent("x", "1"), Err(Error::Poisoned { .. })));
    assert!(matches!(engine.transaction(|tx| tx.get("x")), Err(Error::Poisoned { .. })));
    assert!(matches!(engine.write(Batch::new().require("x", "no").clone()), Err(Error::Poisoned { .. })));
    assert_eq!(engine.get("x").unwrap().as_deref(), Some(&b"old"[..]), "reads still work");
    assert!(store.place.wal.exists());
}

#[test]
fn a_durable_batch_does_not_wait_for_its_group() {
    let place = Place::new();
    let engine = place.options().batch_size(1000).open().unwrap();
    assert!(!engine.put("a", "1").unwrap().durable);
    let ack = engine.write(Batch::new().put("b", "2").durable().clone()).unwrap();
    assert_eq!((ack.seq, ack.durable, ack.pending), (2, true, 0));
    assert_eq!((engine.stats().durable, engine.stats().syncs), (2, 1), "one sync, which covers the put before it");
    assert!(!engine.put("c", "3").unwrap().durable, "the next write waits for its group again");
    let ack = engine.write(Batch::new().require("c", "3").put("c", "4").durable().clone()).unwrap();
    assert_eq!((ack.durable, engine.pending()), (true, 0), "with a condition too");
}

/// A durable batch that a full disk refuses is not there, unlike a write that was acknowledged before.
#[test]
fn a_durable_batch_is_refused_as_a_whole_if_the_disk_is_full_and_is_visible_only_when_it_is_durable() {
    let (place, disk) = (Place::new(), FaultyDisk::default());
    let engine = place.options().batch_size(1000).disk(Arc::new(disk.clone())).open().unwrap();
    engine.put("a", "1").unwrap();
    disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC));
    let error = engine.write(Batch::new().put("b", "2").durable().clone()).unwrap_err();
    assert!(matches!(error, Error::NoSpace { pending: 1, .. }), "{error}");
    assert_eq!((engine.get("b").unwrap(), engine.len()), (None, 1));
    disk.heal();
    assert_eq!(engine.write(Batch::new().put("b", "3").durable().clone()).unwrap().seq, 2);
    disk.plan(Plan::fail(Call::Sync, ".wal", EIO));
    let error = engine.write(Batch::new().put("b", "4").durable().clone()).unwrap_err();
    assert!(matches!(error, Error::Poisoned { pending: 0, .. }), "{error}");
    assert_eq!(value(&engine, "b"), 3, "what is in doubt is not visible");
    kill(engine, &disk);
}

/// Writes that come while a durable batch is being synced wait behind it, in order.
#[test]
fn writes_behind_a_durable_batch_keep_their_order() {
    let (place, gate) = (Place::new(), Gate::default());
    let engine = place.options().batch_size(1000).disk(Arc::new(gate.clone())).open().unwrap();
    let sync = gate.hold();
    thread::scope(|scope| {
        let durable = scope.spawn(|| engine.write(Batch::new().put("x", "1").durable().clone()));
        sync.has_begun();
        assert_eq!(engine.get("x").unwrap(), None);
        let put = scope.spawn(|| engine.put("y", "2"));
        wait_for(&engine, 2);
        assert_eq!(engine.get("y").unwrap(), None, "it comes after the batch");
        let update = scope.spawn(|| add_one(&engine, "x"));
        wait_for(&engine, 3);
        sync.ends();
        assert!(durable.join().unwrap().unwrap().durable);
        assert_eq!(put.join().unwrap().unwrap().seq, 2);
        assert_eq!(update.join().unwrap().unwrap(), 2);
    });
    assert_eq!((value(&engine, "x"), value(&engine, "y")), (2, 2));
}

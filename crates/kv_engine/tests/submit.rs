//! Submitted writes: each is told once, in order, and only when it is what it is told to be.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Batch, Engine, Error, Submitted, Told};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;
use support::{Gate, Place};

const LONG: Duration = Duration::from_secs(60);

fn put(key: &str, value: &str) -> Batch {
    let mut batch = Batch::new();
    batch.put(key, value);
    batch
}

/// What was told, in order, with the names of the submissions.
struct Ears {
    tell: Sender<(u32, Told)>,
    told: Receiver<(u32, Told)>,
}

impl Ears {
    fn new() -> Ears {
        let (tell, told) = channel();
        Ears { tell, told }
    }

    fn submit(&self, engine: &Engine, name: u32, writes: &[Batch]) -> kv_engine::Result<Submitted> {
        let tell = self.tell.clone();
        engine.submit(writes, move |told| tell.send((name, told)).unwrap())
    }

    /// Submits, and expects that it is taken.
    fn give(&self, engine: &Engine, name: u32, writes: &[Batch]) {
        assert!(matches!(self.submit(engine, name, writes).unwrap(), Submitted::Taken(_)), "{name}");
    }

    fn next(&self) -> (u32, Told) {
        self.told.recv_timeout(LONG).expect("each submission is told")
    }

    fn nothing(&self) {
        assert!(self.told.try_recv().is_err());
    }
}

/// A store with one write, and a gate for its syncs.
fn gated(batch_size: u64) -> (Place, Gate, Engine) {
    let (place, gate) = (Place::new(), Gate::default());
    let engine = place.options().batch_size(batch_size).disk(Arc::new(gate.clone())).open().unwrap();
    engine.put("first", "write").unwrap();
    (place, gate, engine)
}

fn wait_for_room(engine: &Engine) {
    let (tell, told) = channel();
    engine.when_room(move || tell.send(()).unwrap());
    told.recv_timeout(LONG).expect("there is room again");
}

fn has(engine: &Engine, key: &str) -> bool {
    engine.contains_key(key).unwrap()
}

#[test]
fn a_submission_is_told_when_it_is_durable_and_not_before() {
    let (_place, gate, engine) = gated(1);
    let ears = Ears::new();
    let sync = gate.hold();
    assert_eq!(ears.submit(&engine, 1, &[put("a", "1"), put("b", "2")]).unwrap(), Submitted::Taken(2..=3));
    sync.has_begun();
    ears.nothing();
    assert!(!has(&engine, "a"));
    sync.ends();
    let (name, told) = ears.next();
    let ack = told.result.unwrap();
    assert_eq!((name, told.in_force, ack.seq, ack.durable), (1, 2, 3, true));
    assert!(has(&engine, "a") && has(&engine, "b"));
    let stats = engine.stats();
    assert_eq!((stats.durable, stats.puts, stats.batches), (3, 3, 0));
}

#[test]
fn submissions_during_a_sync_share_the_next_one_and_are_told_in_order() {
    let (_place, gate, engine) = gated(1);
    let ears = Ears::new();
    let sync = gate.hold();
    ears.give(&engine, 0, &[put("0", "")]);
    sync.has_begun();
    for name in 1..100 {
        ears.give(&engine, name, &[put(&name.to_string(), "")]);
    }
    let before = engine.stats().syncs;
    sync.ends();
    for name in 0..100 {
        assert_eq!(ears.next().0, name);
    }
    assert_eq!(engine.stats().syncs - before, 2, "the held one, and one for all others");
    ears.nothing();
}

#[test]
fn puts_of_threads_and_submissions_decide_each_other() {
    let place = Place::new();
    let engine = place.open();
    let ears = Ears::new();
    thread::scope(|scope| {
        for thread in 0..4 {
            let engine = &engine;
            scope.spawn(move || (0..200).all(|n| engine.put(format!("{thread}.{n}"), "v").unwrap().durable));
        }
        (0..200).for_each(|name| ears.give(&engine, name, &[put(&name.to_string(), "v")]));
        for name in 0..200 {
            let (told, is) = ears.next();
            assert!(told == name && is.result.unwrap().durable);
        }
    });
    assert_eq!(engine.len(), 1000);
}

#[test]
fn a_failed_sync_is_told_as_in_doubt_and_later_submissions_are_refused() {
    let (_place, gate, engine) = gated(1);
    let ears = Ears::new();
    let sync = gate.hold();
    ears.give(&engine, 1, &[put("a", "1")]);
    sync.has_begun();
    ears.give(&engine, 2, &[put("b", "1")]);
    sync.fails();
    for name in [1, 2] {
        let (told, is) = ears.next();
        assert!(told == name && is.in_force == 0 && matches!(is.result, Err(Error::Poisoned { .. })), "{is:?}");
    }
    assert!(matches!(ears.submit(&engine, 3, &[put("c", "1")]), Err(Error::Poisoned { .. })));
    assert!(has(&engine, "first") && !has(&engine, "a"));
    wait_for_room(&engine); // told at once: trying gives the error
    assert!(engine.close().is_err());
    ears.nothing();
}

#[test]
fn a_full_disk_refuses_what_is_submitted_and_writes_go_on_when_there_is_room() {
    let (_place, gate, engine) = gated(1);
    let ears = Ears::new();
    gate.is_full.store(true, Ordering::Relaxed);
    ears.give(&engine, 1, &[put("a", "1"), put("b", "1")]);
    let (_, told) = ears.next();
    assert!(told.in_force == 0 && matches!(told.result, Err(Error::NoSpace { .. })));
    assert!(!has(&engine, "a") && !has(&engine, "b"));
    gate.is_full.store(false, Ordering::Relaxed);
    wait_for_room(&engine);
    ears.give(&engine, 2, &[put("c", "1")]);
    assert!(ears.next().1.result.unwrap().durable);
    assert_eq!((engine.stats().appended, engine.len()), (2, 2), "refused writes give their numbers back");
}

#[test]
fn nothing_is_taken_until_the_refused_ones_are_told() {
    let (_place, gate, engine) = gated(1);
    let (at_done, go_on) = (channel(), channel::<()>());
    gate.is_full.store(true, Ordering::Relaxed);
    let tell = at_done.0;
    let taken = engine.submit(&[put("a", "1")], move |told| {
        tell.send(told).unwrap();
        go_on.1.recv_timeout(LONG).unwrap();
    });
    assert!(matches!(taken, Ok(Submitted::Taken(_))));
    assert!(at_done.1.recv_timeout(LONG).unwrap().result.is_err());
    gate.is_full.store(false, Ordering::Relaxed);
    let ears = Ears::new();
    assert_eq!(ears.submit(&engine, 2, &[put("b", "1")]).unwrap(), Submitted::Full); // `done` has not returned
    go_on.0.send(()).unwrap();
    wait_for_room(&engine);
    ears.give(&engine, 3, &[put("b", "1")]);
    assert_eq!(ears.next().0, 3);
}

/// Changing the batch size pauses the log while the pending writes are synced.
#[test]
fn a_pause_takes_nothing_and_its_end_tells_that_there_is_room() {
    let (_place, gate, engine) = gated(3);
    let ears = Ears::new();
    let sync = gate.hold();
    let (tell, told) = channel();
    thread::scope(|scope| {
        let resizing = scope.spawn(|| engine.set_batch_size(1));
        sync.has_begun();
        assert_eq!(ears.submit(&engine, 1, &[put("a", "1")]).unwrap(), Submitted::Full);
        let tell_too = tell.clone();
        engine.when_room(move || tell.send(1).unwrap());
        engine.when_room(move || tell_too.send(2).unwrap());
        told.recv_timeout(Duration::from_millis(20)).unwrap_err();
        sync.ends();
        resizing.join().unwrap().unwrap();
    });
    let both = [told.recv_timeout(LONG).unwrap(), told.recv_timeout(LONG).unwrap()];
    assert_eq!(both, [1, 2], "in the order in which they asked");
    ears.give(&engine, 2, &[put("a", "1")]);
    assert!(ears.next().1.result.unwrap().durable);
    ears.nothing();
    assert!(told.try_recv().is_err(), "once");
}

#[test]
fn with_a_larger_batch_size_the_acknowledged_part_of_a_refused_submission_stays() {
    let (_place, gate, engine) = gated(3);
    engine.flush().unwrap();
    let ears = Ears::new();
    gate.is_full.store(true, Ordering::Relaxed);
    let five: Vec<_> = ["a", "b", "c", "d", "e"].map(|key| put(key, "1")).into();
    ears.give(&engine, 1, &five);
    let (_, told) = ears.next();
    assert!(told.in_force == 2 && matches!(told.result, Err(Error::NoSpace { pending: 2, .. })), "{told:?}");
    assert!(has(&engine, "b") && !has(&engine, "c"));
    // The log is stalled. The committer tries to make room, and the next caller gets its error.
    assert_eq!(ears.submit(&engine, 2, &five).unwrap(), Submitted::Full);
    wait_for_room(&engine);
    assert!(matches!(ears.submit(&engine, 3, &five), Err(Error::NoSpace { pending: 2, .. })));
    gate.is_full.store(false, Ordering::Relaxed);
    wait_for_room(&engine);
    ears.give(&engine, 4, &[put("f", "1")]);
    let (name, told) = ears.next();
    assert!(name == 4 && told.result.is_ok());
    engine.close().unwrap();
    assert_eq!(engine.len(), 4);
}

#[test]
fn with_a_larger_batch_size_a_submission_is_told_when_it_is_acknowledged() {
    let (_place, _gate, engine) = gated(10);
    let ears = Ears::new();
    ears.give(&engine, 1, &[put("a", "1")]);
    let ack = ears.next().1.result.unwrap();
    assert_eq!((ack.durable, ack.pending, engine.stats().syncs), (false, 2, 0));
    let mut durable = put("b", "1");
    durable.durable();
    ears.give(&engine, 2, &[durable]);
    assert!(ears.next().1.result.unwrap().durable);
    assert_eq!(engine.pending(), 0);
    let many: Vec<_> = (0..25).map(|n| put(&n.to_string(), "")).collect();
    ears.give(&engine, 3, &many);
    let told = ears.next().1;
    assert!(told.in_force == 25 && told.result.unwrap().pending < 10);
}

#[test]
fn closing_and_dropping_tell_everything_first() {
    for drops in [false, true] {
        let (place, gate, engine) = gated(1);
        let ears = Ears::new();
        let sync = gate.hold();
        ears.give(&engine, 1, &[put("a", "1")]);
        sync.has_begun();
        ears.give(&engine, 2, &[put("b", "1")]);
        thread::scope(|scope| {
            scope.spawn(move || {
                if !drops {
                    engine.close().unwrap();
                    let (tell, told) = channel();
                    engine.when_room(move || tell.send(()).unwrap());
                    told.try_recv().expect("at once on a closed store");
                    assert!(matches!(engine.submit(&[], |_| {}), Err(Error::Closed)));
                }
                drop(engine);
            });
            sync.ends();
        });
        let told: Vec<_> = ears.told.try_iter().collect();
        assert_eq!(told.iter().map(|(name, _)| *name).collect::<Vec<_>>(), [1, 2]);
        assert!(told.iter().all(|(_, is)| is.result.as_ref().unwrap().durable));
        assert_eq!(place.open().len(), 3);
    }
}

#[test]
fn the_last_handle_may_be_dropped_and_the_store_closed_where_it_is_told() {
    let (place, gate, engine) = gated(1);
    let ears = Ears::new();
    let sync = gate.hold();
    let (last, tell) = (engine.clone(), ears.tell.clone());
    let taken = engine.submit(&[put("a", "1")], move |told| {
        last.close().unwrap();
        drop(last);
        tell.send((1, told)).unwrap();
    });
    assert!(matches!(taken, Ok(Submitted::Taken(_))));
    sync.has_begun();
    ears.give(&engine, 2, &[put("b", "1")]);
    drop(engine);
    sync.ends();
    assert_eq!((ears.next().0, ears.next().0), (1, 2));
    let again = place.options().open().unwrap(); // the locks are free
    assert_eq!(again.len(), 3);
}

#[test]
fn a_panic_where_one_is_told_leaves_the_others_and_the_store_alone() {
    let (_place, _gate, engine) = gated(1);
    let ears = Ears::new();
    assert!(matches!(engine.submit(&[put("a", "1")], |_| panic!("of the caller")), Ok(Submitted::Taken(_))));
    ears.give(&engine, 2, &[put("b", "1")]);
    assert!(ears.next().1.result.is_ok());
    engine.put("c", "1").unwrap();
    engine.close().unwrap();
}

#[test]
fn a_panic_of_the_disk_is_told_as_in_doubt() {
    let (_place, gate, engine) = gated(1);
    let ears = Ears::new();
    gate.clock_panics.store(true, Ordering::Relaxed);
    ears.give(&engine, 1, &[put("a", "1")]);
    assert!(matches!(ears.next().1.result, Err(Error::Poisoned { .. })));
    assert!(matches!(ears.submit(&engine, 2, &[put("b", "1")]), Err(Error::Poisoned { .. })));
    assert!(has(&engine, "first"));
}

#[test]
fn a_submission_without_writes_is_told_in_its_place() {
    let (_place, gate, engine) = gated(1);
    let ears = Ears::new();
    assert_eq!(ears.submit(&engine, 0, &[]).unwrap(), Submitted::Taken(std::ops::RangeInclusive::new(2, 1)));
    let (name, told) = ears.next();
    assert_eq!((name, told.in_force, told.result.unwrap().seq), (0, 0, 1));
    let sync = gate.hold();
    ears.give(&engine, 1, &[put("a", "1"), Batch::new()]);
    sync.has_begun();
    ears.give(&engine, 2, &[Batch::new()]);
    ears.nothing();
    sync.fails();
    assert_eq!((ears.next().0, engine.stats().appended), (1, 2));
    let (name, told) = ears.next();
    assert!(name == 2 && matches!(told.result, Err(Error::Poisoned { .. })), "it is told the same as the writes before it");
}

#[test]
fn conditions_are_judged_against_what_is_applied_or_in_flight() {
    let (_place, gate, engine) = gated(1);
    let ears = Ears::new();
    let mut swap = put("a", "2");
    swap.require("a", "1");
    assert!(matches!(ears.submit(&engine, 0, &[swap.clone()]), Err(Error::Condition { key }) if key == b"a"));
    let sync = gate.hold();
    ears.give(&engine, 1, &[put("a", "1")]);
    sync.has_begun();
    ears.give(&engine, 2, &[swap.clone()]); // it holds behind the write in flight
    // It does not hold any more, but only because of a write that may still be lost.
    assert_eq!(ears.submit(&engine, 3, &[put("b", "1"), swap.clone()]).unwrap(), Submitted::Full);
    let (tell, told) = channel();
    engine.when_room(move || tell.send(()).unwrap());
    assert!(told.try_recv().is_err());
    sync.ends();
    told.recv_timeout(LONG).unwrap();
    assert!(matches!(ears.submit(&engine, 4, &[put("b", "1"), swap]), Err(Error::Condition { .. })));
    assert_eq!((ears.next().0, ears.next().0), (1, 2));
    assert_eq!(engine.get("a").unwrap().as_deref(), Some(&b"2"[..]));
    assert!(!has(&engine, "b"), "nothing of a submission is taken if a condition fails");
}

#[test]
fn a_limit_takes_nothing() {
    let (_place, _gate, engine) = gated(1);
    for bad in [put("", ""), put(&"k".repeat(70_000), "")] {
        assert!(matches!(engine.submit(&[put("a", "1"), bad], |_| panic!("not taken")), Err(Error::Limit { .. })));
    }
    assert_eq!((engine.len(), engine.stats().appended), (1, 1));
}

#[test]
fn the_first_write_begins_the_log_of_a_store_without_one_and_a_full_disk_refuses_it() {
    let place = Place::new();
    let engine = place.open();
    engine.put("first", "write").unwrap();
    engine.snapshot().unwrap();
    drop(engine);
    std::fs::remove_file(&place.wal).unwrap();
    let gate = Gate::default();
    let engine = place.options().disk(Arc::new(gate.clone())).open().unwrap();
    let ears = Ears::new();
    ears.give(&engine, 0, &[]);
    assert_eq!((ears.next().0, place.wal.exists()), (0, false));
    gate.is_full.store(true, Ordering::Relaxed);
    assert!(matches!(ears.submit(&engine, 1, &[put("a", "1")]), Err(Error::Io { .. } | Error::NoSpace { .. })));
    gate.is_full.store(false, Ordering::Relaxed);
    ears.give(&engine, 2, &[put("a", "1")]);
    let (name, told) = ears.next();
    assert_eq!((name, told.result.unwrap().seq), (2, 2));
}

#[test]
fn one_may_submit_again_where_it_is_told() {
    fn next(engine: Engine, left: u32, ended: Sender<()>) {
        if left == 0 {
            return ended.send(()).unwrap();
        }
        let again = engine.clone();
        let taken = engine.submit(&[put(&left.to_string(), "v")], move |told| {
            assert!(told.result.unwrap().durable);
            next(again, left - 1, ended);
        });
        assert!(matches!(taken, Ok(Submitted::Taken(_))));
    }
    let (_place, _gate, engine) = gated(1);
    let (ended, end) = channel();
    next(engine.clone(), 50, ended);
    end.recv_timeout(LONG).unwrap();
    assert_eq!(engine.len(), 51);
}

//! The feed of changes: it tells each durable write once and in order, through checkpoints, and never a write that a
//! crash could take back.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::disk::sim::{Fault, FaultPlan, Image, Lasts, PowerCut, Rest, SimDisk, SyncFailure};
use kv_engine::{Batch, Change, Changes, Engine, Error, Operation, Options, Seq};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;
use support::{Call, EIO, ENOSPC, FaultyDisk, Place, Plan, Random, Visited, contents, kill};

type Op = (Vec<u8>, Option<Vec<u8>>);

/// The operations of a change.
fn ops(change: &Change) -> Vec<Op> {
    let op = |operation| match operation {
        Operation::Put { key, value } => (key.to_vec(), Some(value.to_vec())),
        Operation::Delete { key } => (key.to_vec(), None),
        _ => panic!("another operation"),
    };
    change.operations().map(op).collect()
}

/// Puts values that are found again in the bytes of the log.
fn put(engine: &Engine, values: RangeInclusive<u8>) {
    for n in values {
        engine.put("x", [n; 40]).unwrap();
    }
}

/// All changes that are there now.
fn now(changes: &mut Changes) -> Vec<Seq> {
    std::iter::from_fn(|| changes.try_next().unwrap()).map(|change| change.seq()).collect()
}

fn apply(contents: &mut BTreeMap<Vec<u8>, Vec<u8>>, change: &Change) {
    for (key, value) in ops(change) {
        match value {
            Some(value) => drop(contents.insert(key, value)),
            None => drop(contents.remove(&key)),
        }
    }
}

fn below(random: &mut Random, limit: usize) -> usize {
    random.below(limit as u64) as usize
}

/// Every write of a store, by its number.
#[derive(Default)]
struct Model {
    writes: Vec<Vec<Op>>,
}

impl Model {
    /// Does one write, of one to three operations.
    fn write(&mut self, engine: &Engine, random: &mut Random) {
        let key = |random: &mut Random| format!("key {}", below(random, 20)).into_bytes();
        let ops: Vec<Op> = match below(random, 4) {
            0 => vec![(key(random), None)],
            1 | 2 => vec![(key(random), Some(vec![b'v'; below(random, 200)]))],
            _ => (0..1 + below(random, 3)).map(|n| (key(random), (n != 1).then(|| vec![b'b'; n]))).collect(),
        };
        let seq = self.writes.len() as Seq + 1;
        match &ops[..] {
            [(key, None)] => match engine.delete(key).unwrap() {
                Some(ack) => assert_eq!(ack.seq, seq),
                None => return,
            },
            [(key, Some(value))] => assert_eq!(engine.put(key, value).unwrap().seq, seq),
            ops => {
                let mut batch = Batch::new();
                for (key, value) in ops {
                    match value {
                        Some(value) => batch.put(key, value),
                        None => batch.delete(key),
                    };
                }
                assert_eq!(engine.write(batch).unwrap().seq, seq);
            }
        }
        self.writes.push(ops);
    }

    /// Reads up to `most` changes, and compares them.
    fn follow(&mut self, engine: &Engine, changes: &mut Changes, most: usize) {
        for _ in 0..most {
            let expected = changes.next_seq();
            let Some(change) = changes.try_next().unwrap() else {
                assert_eq!((changes.next_seq(), changes.behind()), (expected, 0));
                return assert!(expected > engine.stats().durable, "all that is durable was told");
            };
            assert_eq!((change.seq(), changes.next_seq()), (expected, expected + 1));
            assert!(change.seq() <= engine.stats().durable);
            assert_eq!(ops(&change), self.writes[expected as usize - 1]);
        }
    }
}

#[test]
fn every_durable_write_is_told_once_and_in_order() {
    for seed in 1..=60 {
        let (random, place, mut model) = (&mut Random(seed), Place::in_memory(), Model::default());
        let mut options = place.options().batch_size([1, 5, 1000][seed as usize % 3]);
        if seed % 4 == 0 {
            options = options.values_in_snapshot(1 << 20);
        }
        let mut engine = options.clone().open().unwrap();
        let mut feeds = vec![engine.changes(1).unwrap()];
        for _ in 0..400 {
            match below(random, 40) {
                0 => drop(engine.snapshot().unwrap()),
                1 | 2 => drop(engine.flush().unwrap()),
                3 => engine.set_batch_size([1, 5, 1000][below(random, 3)]).unwrap(),
                4 if feeds.len() < 6 => {
                    // From a random number: it is in the log, or it is too old.
                    let (durable, next) = (engine.stats().durable, engine.stats().appended + 1);
                    let from = 1 + below(random, next as usize) as Seq;
                    match engine.changes(from) {
                        Ok(changes) => feeds.push(changes),
                        Err(Error::NotInLog { first, next: n, .. }) => {
                            assert!(from < first && first <= durable + 1 && n == next);
                            feeds.push(engine.changes(first).unwrap());
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                5 if feeds.len() > 1 => drop(feeds.swap_remove(below(random, feeds.len()))),
                6 if below(random, 3) == 0 => {
                    // Feeds go on to the end of their session, and others continue in the next one.
                    engine.close().unwrap();
                    let next = options.clone().open().unwrap();
                    for mut changes in std::mem::take(&mut feeds) {
                        model.follow(&engine, &mut changes, usize::MAX);
                        assert!(changes.has_ended() && changes.try_next().unwrap().is_none() && changes.next().is_none());
                        feeds.push(next.changes(changes.next_seq()).unwrap());
                    }
                    engine = next;
                }
                7..20 => {
                    let (at, most) = (below(random, feeds.len()), below(random, 30));
                    model.follow(&engine, &mut feeds[at], most);
                }
                _ => model.write(&engine, random),
            }
        }
        engine.close().unwrap();
        assert_eq!(engine.stats().durable, model.writes.len() as Seq);
        for mut changes in feeds {
            model.follow(&engine, &mut changes, usize::MAX);
            assert!(changes.has_ended());
        }
    }
}

#[test]
fn a_feed_begins_at_any_number_of_the_log_and_says_which_numbers_are_there() {
    let place = Place::new();
    let engine = place.open();
    assert_eq!(now(&mut engine.changes(0).unwrap()), []);
    put(&engine, 1..=3);
    let all: Vec<_> = (0..=4).map(|from| now(&mut engine.changes(from).unwrap())).collect();
    assert_eq!(all, [vec![1, 2, 3], vec![1, 2, 3], vec![2, 3], vec![3], vec![]]);
    let Err(Error::NotInLog { from: 5, first: 1, next: 4, .. }) = engine.changes(5) else { panic!("5 is too large") };
    engine.snapshot().unwrap();
    engine.put("x", "4").unwrap();
    let text = |from| engine.changes(from).unwrap_err().to_string();
    assert!(text(3).ends_with(
        "kv.wal: write 3 is not in the log, which holds only writes from 4 on; take a copy of the store, then \
         follow it from there"
    ));
    assert!(text(6).contains("write 6 is not in the log, the next one is write 5; the number is of another store"));
    assert_eq!(now(&mut engine.changes(4).unwrap()), [4]);
    engine.close().unwrap();

    // The same after opening again.
    let engine = place.open();
    assert!(matches!(engine.changes(3), Err(Error::NotInLog { first: 4, next: 5, .. })));
    let mut changes = engine.changes(4).unwrap();
    engine.put("x", "5").unwrap();
    assert_eq!(now(&mut changes), [4, 5]);
}

#[test]
fn a_feed_from_a_write_that_is_not_durable_yet_waits_for_it() {
    let place = Place::new();
    let engine = place.options().batch_size(100).open().unwrap();
    engine.put("x", "1").unwrap();
    let ack = engine.put("x", "2").unwrap();
    let mut changes = engine.changes(ack.seq + 1).unwrap();
    engine.put("x", "3").unwrap();
    assert_eq!((now(&mut changes), changes.behind()), (vec![], 0));
    engine.flush().unwrap();
    assert_eq!((changes.behind(), now(&mut changes)), (1, vec![3]));
}

/// The new log of a checkpoint begins with copies of the writes that came while it was made.
#[test]
fn the_copies_in_a_new_log_are_not_told_again() {
    let (place, disk) = (Place::new(), Visited::default());
    let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
    put(&engine, 1..=3);
    let (mut slow, mut eager) = (engine.changes(1).unwrap(), engine.changes(1).unwrap());
    assert_eq!(now(&mut eager), [1, 2, 3]);
    let (mut told, writer) = (Vec::new(), engine.clone());
    let snapshot = disk.during(
        move || {
            put(&writer, 4..=5);
            told.extend(now(&mut eager));
            assert!(told.iter().copied().eq(4..=writer.stats().durable));
        },
        || engine.snapshot().unwrap(),
    );
    let durable = engine.stats().durable;
    assert!(snapshot.seq == 3 && durable >= 7, "{durable}");
    let mut first_of_log = engine.changes(4).unwrap();
    put(&engine, 9..=9);
    assert!(now(&mut slow).into_iter().eq(1..=durable + 1));
    assert!(now(&mut first_of_log).into_iter().eq(4..=durable + 1));
}

/// A store whose log was removed begins a new one with its first write.
#[test]
fn a_feed_goes_on_in_a_log_that_begins_after_it() {
    let place = Place::new();
    let engine = place.open();
    put(&engine, 1..=3);
    engine.snapshot().unwrap();
    engine.close().unwrap();
    std::fs::remove_file(&place.wal).unwrap();
    let engine = place.open();
    assert!(matches!(engine.changes(3), Err(Error::NotInLog { first: 4, next: 4, .. })));
    let mut changes = engine.changes(4).unwrap();
    assert_eq!(now(&mut changes), []);
    engine.put("x", "4").unwrap();
    assert_eq!(now(&mut changes), [4]);
}

#[test]
fn long_changes_come_whole() {
    let place = Place::in_memory();
    let engine = place.open();
    let mut changes = engine.changes(1).unwrap();
    engine.put("long", vec![b'l'; 3 << 20]).unwrap();
    let mut batch = Batch::new();
    for n in 0..20_000_u32 {
        batch.put(n.to_be_bytes(), vec![b'b'; 100]);
    }
    engine.write(batch).unwrap();
    engine.put("short", "s").unwrap();
    let all: Vec<Change> = std::iter::from_fn(|| changes.try_next().unwrap()).collect();
    assert_eq!(ops(&all[0]), [(b"long".to_vec(), Some(vec![b'l'; 3 << 20]))]);
    let batch = ops(&all[1]);
    assert_eq!((batch.len(), &batch[19_999].0[..]), (20_000, &19_999_u32.to_be_bytes()[..]));
    assert_eq!(ops(&all[2]), [(b"short".to_vec(), Some(b"s".to_vec()))]);
    assert_eq!(all.len(), 3);
    assert!(format!("{:?}", all[2]).starts_with("Change { seq: 3, operations: [Put { key: "), "{:?}", all[2]);
}

/// A feed that looks after each write reads that write, and not the reserved space behind it.
#[test]
fn a_feed_reads_little_more_than_the_changes() {
    let (place, disk) = (Place::in_memory(), FaultyDisk::default());
    let engine = place.options().disk(Arc::new(disk.clone())).batch_size(1000).open().unwrap();
    let mut changes = engine.changes(1).unwrap();
    let mut told = 0;
    let before = disk.bytes_read(".wal");
    for _ in 0..200 {
        engine.put("x", [b'v'; 100]).unwrap();
        engine.flush().unwrap();
        told += now(&mut changes).len();
    }
    let (read, log) = (disk.bytes_read(".wal") - before, engine.stats().log_bytes);
    // A flush checks the ends of the log, too.
    assert!(told == 200 && read < 4 * log, "{told} changes, {read} bytes read of {log}");
}

/// Numbers of refused writes are given to later ones.
#[test]
fn a_refused_write_is_never_told() {
    for batch_size in [1, 3] {
        let (place, disk) = (Place::new(), FaultyDisk::default());
        let engine = place.options().disk(Arc::new(disk.clone())).batch_size(batch_size).open().unwrap();
        let mut changes = engine.changes(1).unwrap();
        put(&engine, 1..=3);
        assert_eq!(now(&mut changes), [1, 2, 3]);
        disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC).short(40));
        let mut accepted = 0;
        while engine.put(format!("accepted {accepted}"), "v").is_ok() {
            accepted += 1;
        }
        assert_eq!((now(&mut changes), accepted), (vec![], batch_size - 1));
        disk.heal();
        engine.put("later", "v").unwrap();
        engine.flush().unwrap();
        let told: Vec<_> = std::iter::from_fn(|| changes.try_next().unwrap()).map(|change| ops(&change)[0].0.clone()).collect();
        let expected = (0..accepted).map(|n| format!("accepted {n}")).chain(["later".into()]).map(String::into_bytes);
        assert!(told.into_iter().eq(expected));
        engine.close().unwrap();
    }
}

/// After each failed sync: what was told is durable, the error comes once, and then the feed has ended.
#[test]
fn after_a_failed_sync_the_durable_writes_are_told_and_then_the_error() {
    let mut failures = 0;
    for (after, batch_size) in (0..12).flat_map(|after| [(after, 1), (after, 3)]) {
        let (place, disk) = (Place::new(), FaultyDisk::default());
        let engine = place.options().disk(Arc::new(disk.clone())).batch_size(batch_size).open().unwrap();
        let (mut eager, mut late) = (engine.changes(1).unwrap(), engine.changes(1).unwrap());
        disk.plan(Plan::fail(Call::Sync, ".wal", EIO).after(after).times(1));
        let (mut told, mut poisoned) = (Vec::new(), 0);
        for n in 0..20 {
            let put = engine.put("x", [n]);
            if n == 9 {
                let _ = engine.snapshot();
            }
            loop {
                match eager.try_next() {
                    Ok(Some(change)) => told.push(change.seq()),
                    Ok(None) => break,
                    Err(Error::Poisoned { .. }) => poisoned += 1,
                    Err(error) => panic!("{error}"),
                }
            }
            assert!(eager.next_seq() <= engine.stats().durable + 1);
            if put.is_err() {
                break;
            }
        }
        let durable = engine.stats().durable;
        assert!(told.iter().copied().eq(1..=durable), "{durable}: {told:?}");
        if engine.stats().failed.is_some() {
            failures += 1;
            assert!(poisoned == 1 && eager.has_ended());
            let (ends, error): (Vec<_>, Vec<_>) = late.by_ref().partition(Result::is_ok);
            assert!(ends.into_iter().map(|change| change.unwrap().seq()).eq(1..=durable));
            assert!(matches!(error[..], [Err(Error::Poisoned { .. })]) && late.has_ended());
            let mut again = engine.changes(durable + 1).unwrap();
            assert!(matches!(again.try_next(), Err(Error::Poisoned { .. })));
        }
        kill(engine, &disk);
        disk.revive();
        assert!(place.open().recovery().last_seq >= durable);
    }
    assert!(failures > 10, "{failures}");
}

fn sim(disk: &SimDisk, batch_size: u64) -> Options {
    let options = Options::new("/wal", "/snapshot").disk(Arc::new(disk.clone()));
    options.flush_interval(Duration::ZERO).batch_size(batch_size)
}

/// A session with writes, flushes and checkpoints, and a feed that is read after each of them. `told` gets the last
/// number told and the changes to the disk until then. Stops at the first error.
fn session(disk: &SimDisk, batch_size: u64, told: &mut Vec<(Seq, usize)>) -> Result<(), Error> {
    let engine = sim(disk, batch_size).open()?;
    let mut changes = engine.changes_from_now();
    for n in 0..14_u8 {
        let done = match n {
            3 | 9 => engine.snapshot().map(drop),
            6 => engine.flush().map(drop),
            _ => engine.put([n % 5], vec![n; 30]).map(drop),
        };
        // Also after an error: then least of all may it tell too much.
        while let Some(change) = changes.try_next()? {
            told.push((change.seq(), disk.changes()));
        }
        done?;
    }
    engine.close()?;
    for change in changes {
        told.push((change?.seq(), disk.changes()));
    }
    Ok(())
}

/// The fewest and the most that a power cut may keep, and every second unit.
fn cuts(units: usize) -> Vec<PowerCut> {
    let fates = ["", "K1", "L1"].map(|last| format!("{}{last}", "K1L1".repeat(units / 2)));
    let mixed = fates.iter().map(|fates| format!("{fates}/1+0").parse().unwrap());
    let all = format!("K{units}/0+0").parse().unwrap();
    let most = PowerCut { rests: vec![Rest::default()], ..PowerCut::nothing() };
    mixed.chain([all, most, PowerCut::nothing()]).collect()
}

#[test]
fn what_was_told_is_there_after_every_power_cut() {
    for batch_size in [1, 3] {
        let (disk, mut told) = (SimDisk::new(&Image::new(), 7), Vec::new());
        session(&disk, batch_size, &mut told).unwrap();
        assert!(told.iter().map(|(seq, _)| *seq).eq(1..=11));
        let mut world = SimDisk::new(&Image::new(), 7).world();
        for (number, change) in disk.trace().iter().enumerate() {
            world.apply(change);
            let promised = told.iter().rev().find(|(_, changes)| *changes <= number + 1).map_or(0, |(seq, _)| *seq);
            let units = world.units();
            let images = cuts(units).into_iter().map(|cut| world.after_power_cut(&cut)).chain([world.after_death(None)]);
            for image in images {
                let engine = sim(&SimDisk::new(&image, 1), 1).open().unwrap();
                let found = engine.recovery().last_seq;
                assert!(found >= promised, "after change {number}: told {promised}, found {found}");
            }
        }
    }
}

#[test]
fn what_was_told_is_there_although_a_sync_failed() {
    let mut failed = 0;
    for (at, batch_size, failure) in (0..200).flat_map(|at| {
        [1, 3].into_iter().flat_map(move |n| [SyncFailure::LosesPages, SyncFailure::RevertsPages].map(|failure| (at, n, failure)))
    }) {
        let plan = FaultPlan { at, fault: Fault::Sync(failure), lasts: Lasts::Once };
        let (disk, mut told) = (SimDisk::new(&Image::new(), 7).with_faults(plan), Vec::new());
        let _ = session(&disk, batch_size, &mut told);
        if !disk.has_failed() {
            continue;
        }
        failed += 1;
        let promised = told.last().map_or(0, |(seq, _)| *seq);
        assert!(told.iter().map(|(seq, _)| *seq).eq(1..=promised));
        for image in [disk.world().after_power_cut(&PowerCut::nothing()), disk.world().after_death(None)] {
            let engine = sim(&SimDisk::new(&image, 1), 1).open().unwrap();
            assert!(engine.recovery().last_seq >= promised, "{plan}: told {promised}, found {}", engine.recovery().last_seq);
        }
    }
    assert!(failed > 40, "{failed}");
}

#[test]
fn feeds_and_writers_and_checkpoints_at_the_same_time() {
    const WRITERS: u32 = 4;
    const WRITES: u32 = 300;
    for batch_size in [1, 5, 1000] {
        let place = Place::in_memory();
        let engine = place.options().batch_size(batch_size).checkpoint_log_bytes(10_000).open().unwrap();
        let begin = Barrier::new(WRITERS as usize + 5);
        std::thread::scope(|scope| {
            let feeds: Vec<_> = (0..4)
                .map(|n| {
                    let (mut changes, begin) = (engine.changes(1).unwrap(), &begin);
                    scope.spawn(move || {
                        begin.wait();
                        let (mut found, mut last) = (BTreeMap::new(), 0);
                        loop {
                            // One of them waits without end, one with an end, one asks again and again.
                            let change = match n {
                                0 => changes.next().transpose().unwrap(),
                                1 => changes.next_timeout(Duration::from_millis(1)).unwrap(),
                                2 => changes.try_next().unwrap(),
                                _ => changes.next_timeout(Duration::MAX).unwrap(),
                            };
                            match change {
                                Some(change) => {
                                    assert_eq!(change.seq(), last + 1);
                                    last += 1;
                                    apply(&mut found, &change);
                                }
                                None if changes.has_ended() => return (found, last),
                                None => std::thread::yield_now(),
                            }
                        }
                    })
                })
                .collect();
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (engine, begin) = (&engine, &begin);
                    scope.spawn(move || {
                        begin.wait();
                        for n in 0..WRITES {
                            engine.put(format!("{writer} {}", n % 50), format!("{n}")).unwrap();
                            if n % 7 == 0 {
                                engine.delete(format!("{writer} {}", n % 40)).unwrap();
                            }
                            if n % 100 == 99 {
                                engine.snapshot().unwrap();
                            }
                        }
                    })
                })
                .collect();
            begin.wait();
            writers.into_iter().for_each(|writer| writer.join().unwrap());
            engine.close().unwrap();
            let expected = (contents(&engine), engine.stats().durable);
            for feed in feeds {
                assert_eq!(feed.join().unwrap(), expected);
            }
        });
    }
}

/// If it were not woken, this test would not end.
#[test]
fn a_feed_that_waits_is_woken_when_the_store_closes_and_when_the_log_fails() {
    #[derive(Clone, Copy, PartialEq)]
    enum End {
        Closed,
        /// Closing is not possible, because a pending write cannot be stored.
        DroppedOnFullDisk,
        Failed,
    }
    let ends = [End::Closed, End::DroppedOnFullDisk, End::Failed];
    for end in ends.into_iter().cycle().take(60) {
        let (place, disk) = (Place::new(), FaultyDisk::default());
        let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
        let mut changes = engine.changes(1).unwrap();
        let told = Arc::new(Mutex::new(0));
        let follower = std::thread::spawn({
            let told = Arc::clone(&told);
            move || {
                for change in changes.by_ref() {
                    match change {
                        Ok(change) => *told.lock().unwrap() = change.seq(),
                        Err(error) => return Some(error),
                    }
                }
                None
            }
        });
        engine.put("x", "1").unwrap();
        while *told.lock().unwrap() == 0 {
            std::thread::yield_now();
        }
        match end {
            End::Closed => drop(engine),
            End::DroppedOnFullDisk => {
                engine.set_batch_size(2).unwrap();
                engine.put("x", "2").unwrap();
                disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC));
                drop(engine);
            }
            End::Failed => {
                disk.plan(Plan::fail(Call::Sync, ".wal", EIO));
                assert!(engine.put("x", "2").is_err());
            }
        }
        let error = follower.join().unwrap();
        assert_eq!((end == End::Failed, *told.lock().unwrap()), (matches!(error, Some(Error::Poisoned { .. })), 1));
    }
}

/// The logs that a feed has still to read are on the disk without a name. They go when it has read them, or is dropped.
#[test]
fn a_feed_keeps_old_logs_only_until_it_has_read_them() {
    let place = Place::new();
    let engine = place.open();
    let gone = || {
        let files = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|file| std::fs::read_link(file.unwrap().path()).ok());
        let log = format!("{} (deleted)", place.wal.display());
        files.filter(|file| file.to_str() == Some(&log)).count()
    };
    let (mut slow, dropped) = (engine.changes(1).unwrap(), engine.changes(1).unwrap());
    for n in 1..=3 {
        engine.put("x", [n]).unwrap();
        engine.snapshot().unwrap();
    }
    assert_eq!((gone(), slow.behind()), (3, 3));
    drop(dropped);
    assert_eq!(slow.try_next().unwrap().unwrap().seq(), 1);
    assert_eq!(gone(), 3, "it has not seen the end of the first");
    assert_eq!(slow.try_next().unwrap().unwrap().seq(), 2);
    assert_eq!(gone(), 2);
    assert_eq!(now(&mut slow), [3]);
    assert_eq!(gone(), 0);
    engine.put("x", "4").unwrap();
    engine.snapshot().unwrap();
    assert_eq!(gone(), 1);
    drop(slow);
    assert_eq!(gone(), 0);
}

#[test]
fn a_log_that_was_damaged_after_its_sync_ends_the_feed() {
    let place = Place::new();
    let engine = place.open();
    put(&engine, 1..=3);
    let mut bytes = std::fs::read(&place.wal).unwrap();
    let second = bytes.windows(40).position(|window| window == [2; 40]).unwrap();
    bytes[second] ^= 1;
    std::fs::write(&place.wal, bytes).unwrap();
    let mut changes = engine.changes(1).unwrap();
    assert_eq!(changes.try_next().unwrap().unwrap().seq(), 1);
    let error = changes.try_next().unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(
        error.to_string().ends_with("although this place had been synced; the feed of changes ends before write 2"),
        "{error}"
    );
    assert!(changes.has_ended() && changes.try_next().unwrap().is_none() && changes.next().is_none());
    // From behind the damage it goes on.
    assert!(engine.changes(3).unwrap().try_next().is_err(), "it has to read what comes before");
}

#[test]
fn a_feed_that_could_not_read_the_log_goes_on_when_it_can() {
    let (place, disk) = (Place::new(), FaultyDisk::default());
    let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
    // The second change is not in the part that is read with the first one.
    let long = vec![b'v'; 3 << 20];
    for key in ["a", "b", "c"] {
        engine.put(key, &long).unwrap();
    }
    let unreadable = |changes: &mut Changes| matches!(changes.try_next(), Err(Error::Io { doing: "reading", .. }));
    let mut changes = engine.changes(1).unwrap();
    assert_eq!(changes.try_next().unwrap().unwrap().seq(), 1);
    disk.plan(Plan::fail(Call::Read, ".wal", EIO));
    assert!(unreadable(&mut changes) && unreadable(&mut changes), "as long as the log cannot be read");
    assert_eq!((changes.has_ended(), changes.next_seq(), changes.behind()), (false, 2, 2));
    disk.heal();
    // No change is missing, and none comes twice.
    assert_eq!(now(&mut changes), [2, 3]);
    // A feed that has met no change yet goes on too.
    let mut changes = engine.changes(2).unwrap();
    disk.plan(Plan::fail(Call::Read, ".wal", EIO));
    assert!(unreadable(&mut changes) && changes.next().is_some_and(|change| change.is_err()));
    disk.heal();
    assert_eq!(now(&mut changes), [2, 3]);
    engine.close().unwrap();
    assert!(changes.next().is_none() && changes.has_ended());
}

/// A feed can be moved to another thread.
const _: fn() = || {
    fn is_send<T: Send>() {}
    is_send::<Changes>();
    is_send::<Change>();
};

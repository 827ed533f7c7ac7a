//! Full disks, failed syncs, and processes that die in the middle. A reply never says OK about something that was not
//! done, and no acknowledged write is lost without a report.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Batch, Engine, Error, LogTail, Submitted, Told};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;
use support::{Call, EDQUOT, EIO, ENOSPC, FaultyDisk, PANIC, Place, Plan, contents, kill};

fn store(batch_size: u64) -> (Place, FaultyDisk, Engine) {
    let (place, disk) = (Place::new(), FaultyDisk::default());
    let engine = place.options().batch_size(batch_size).disk(Arc::new(disk.clone())).open().unwrap();
    (place, disk, engine)
}

fn no_space(error: &Error, pending: u64) -> bool {
    matches!(error, Error::NoSpace { pending: p, .. } if *p == pending)
}

#[test]
fn a_full_disk_refuses_the_write_and_takes_it_when_space_returns() {
    for (errno, short) in [(ENOSPC, 0), (ENOSPC, 1), (EDQUOT, 40), (ENOSPC, 49)] {
        let (place, disk, engine) = store(1);
        engine.put("before", "1").unwrap();
        let length = std::fs::metadata(&place.wal).unwrap().len();
        disk.plan(Plan::fail(Call::Write, ".wal", errno).short(short));
        for _ in 0..3 {
            let error = engine.put("refused", "1").unwrap_err();
            assert!(no_space(&error, 0), "{error}");
            assert!(no_space(&engine.delete("before").unwrap_err(), 0));
        }
        assert_eq!(std::fs::metadata(&place.wal).unwrap().len(), length, "the half record was removed");
        assert_eq!(engine.get("refused").unwrap(), None, "the refused write is not visible");
        assert_eq!(engine.len(), 1);
        disk.heal();
        assert_eq!(engine.put("after", "1").unwrap().seq, 2, "the number of the refused write is used again");
        kill(engine, &disk);
        let engine = place.open();
        assert_eq!(engine.recovery().tail, LogTail::Clean);
        assert_eq!(contents(&engine).into_keys().collect::<Vec<_>>(), [b"after".to_vec(), b"before".to_vec()]);
    }
}

#[test]
fn pending_writes_survive_a_full_disk_in_order_and_go_first() {
    let (place, disk, engine) = store(5);
    engine.put("synced", "0").unwrap();
    engine.flush().unwrap();
    for i in 1..=4 {
        engine.put("x", i.to_string()).unwrap();
    }
    disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC).short(60));
    assert!(no_space(&engine.put("x", "5").unwrap_err(), 4), "the write that was due");
    assert!(no_space(&engine.put("x", "6").unwrap_err(), 4), "the next write is refused too");
    assert!(no_space(&engine.delete("x").unwrap_err(), 4));
    assert!(no_space(&engine.flush().unwrap_err(), 4));
    assert!(no_space(&engine.snapshot().unwrap_err(), 4));
    assert!(no_space(&engine.set_batch_size(2).unwrap_err(), 4));
    assert!(no_space(&engine.close().unwrap_err(), 4), "close reports how many are unsaved");
    assert_eq!(engine.get("x").unwrap().unwrap().to_vec(), b"4", "acknowledged writes stay visible");
    assert_eq!(engine.pending(), 4);
    disk.heal();
    let ack = engine.put("x", "7").unwrap();
    assert_eq!((ack.seq, ack.durable, ack.pending), (6, false, 1), "the four earlier writes were synced first");
    engine.close().unwrap();
    let engine = place.open();
    assert_eq!((engine.recovery().replayed, engine.recovery().last_seq), (6, 6));
    assert_eq!(engine.get("x").unwrap().unwrap().to_vec(), b"7");
}

#[test]
fn closing_while_the_disk_is_full_loses_only_writes_reported_as_unsaved() {
    let (place, disk, engine) = store(5);
    for i in 1..=8 {
        engine.put(format!("k{i}"), "1").unwrap();
    }
    disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC).short(10));
    assert!(no_space(&engine.close().unwrap_err(), 3));
    drop(engine);
    let engine = place.open();
    assert_eq!((engine.len(), &engine.recovery().tail), (5, &LogTail::Clean));
}

#[test]
fn a_failed_sync_poisons_until_reopened() {
    for times in [1, usize::MAX] {
        let (place, disk, engine) = store(1);
        engine.put("safe", "1").unwrap();
        disk.plan(Plan::fail(Call::Sync, ".wal", EIO).times(times));
        disk.take_log_calls();
        let error = engine.put("doubtful", "1").unwrap_err();
        assert!(matches!(error, Error::Poisoned { pending: 0, .. }), "{error}");
        assert!(error.to_string().contains("Input/output error"), "{error}");
        for _ in 0..3 {
            // A second sync might succeed, but it must not be called.
            assert!(matches!(engine.put("later", "1"), Err(Error::Poisoned { .. })));
            assert!(matches!(engine.delete("safe"), Err(Error::Poisoned { .. })));
            assert!(matches!(engine.write(Batch::new()), Err(Error::Poisoned { .. })));
            assert!(matches!(engine.flush(), Err(Error::Poisoned { .. })));
            assert!(matches!(engine.snapshot(), Err(Error::Poisoned { .. })));
            assert!(matches!(engine.set_batch_size(9), Err(Error::Poisoned { .. })));
        }
        let calls: Vec<Call> = disk.take_log_calls().into_iter().map(|(call, _)| call).collect();
        assert_eq!(calls, [Call::Write, Call::Sync], "one write and one sync, never repeated");
        assert_eq!(engine.get("safe").unwrap().unwrap().to_vec(), b"1", "reads still work");
        assert_eq!(engine.get("doubtful").unwrap(), None, "at batch size 1 only durable writes are visible");
        assert!(engine.stats().failed.is_some());
        assert!(matches!(engine.close(), Err(Error::Poisoned { .. })));
        disk.heal();
        let engine = place.open();
        assert!(engine.get("safe").unwrap().is_some());
        engine.put("again", "1").unwrap();
    }
}

#[test]
fn a_failed_sync_says_how_many_acknowledged_writes_are_in_doubt() {
    let (_place, disk, engine) = store(5);
    for i in 1..=4 {
        engine.put(format!("k{i}"), "1").unwrap();
    }
    disk.plan(Plan::fail(Call::Sync, ".wal", EIO).times(1));
    let error = engine.put("k5", "1").unwrap_err();
    assert!(matches!(error, Error::Poisoned { pending: 4, .. }), "{error}");
    assert!(error.to_string().contains("4 acknowledged writes may be lost"), "{error}");
}

#[test]
fn a_write_error_that_is_not_about_room_and_a_cut_that_fails_poison() {
    let (_place, disk, engine) = store(1);
    disk.plan(Plan::fail(Call::Write, ".wal", EIO).times(1));
    assert!(matches!(engine.put("x", "1"), Err(Error::Poisoned { .. })));
    assert!(matches!(engine.put("x", "1"), Err(Error::Poisoned { .. })));

    let (place, disk, engine) = store(1);
    engine.put("safe", "1").unwrap();
    disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC).short(20));
    disk.plan(Plan::fail(Call::SetLen, ".wal", EIO));
    assert!(matches!(engine.put("x", "1"), Err(Error::Poisoned { .. })), "half a record is in the file");
    disk.heal();
    assert!(matches!(engine.put("x", "1"), Err(Error::Poisoned { .. })));
    drop(engine);
    let engine = place.open();
    assert!(matches!(engine.recovery().tail, LogTail::Torn(_)));
    assert_eq!(engine.len(), 1);
}

/// The part of a refused write that reached the file may hold whole records. Their removal must be durable before the
/// writer gets the error. Otherwise a power cut could bring them back.
#[test]
fn the_removal_of_a_refused_write_is_synced() {
    let (_place, disk, engine) = store(1);
    disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC).short(20));
    let before = disk.changes().len();
    assert!(no_space(&engine.put("x", "1").unwrap_err(), 0));
    let calls: Vec<Call> = disk.changes()[before..].iter().map(|(call, _)| *call).collect();
    assert_eq!(calls, [Call::Write, Call::Write, Call::SetLen, Call::Sync]);
    assert_eq!((engine.stats().puts, engine.stats().appended), (0, 0), "a refused write is not counted");

    let (_place, disk, engine) = store(1);
    disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC).times(1));
    disk.plan(Plan::fail(Call::Sync, ".wal", EIO).times(1));
    assert!(matches!(engine.put("x", "1"), Err(Error::Poisoned { .. })));
}

#[test]
fn closing_again_after_a_loss_says_it_again() {
    let (_place, disk, engine) = store(5);
    engine.put("x", "1").unwrap();
    disk.plan(Plan::fail(Call::Sync, ".wal", EIO).times(1));
    for _ in 0..2 {
        assert!(matches!(engine.close(), Err(Error::Poisoned { pending: 1, .. })));
    }
}

/// If a thread panics while others wait for it, the log fails: the others get an error, and none waits forever.
#[test]
fn a_panic_fails_the_store_instead_of_hanging_it() {
    for (call, suffix) in [(Call::Write, ".wal"), (Call::Sync, ".wal"), (Call::Sync, ".snapshot"), (Call::Rename, ".wal")] {
        let (place, disk, engine) = store(1);
        engine.put("safe", "1").unwrap();
        disk.plan(Plan::fail(call, suffix, PANIC).times(1));
        let clone = engine.clone();
        let panicked = std::thread::spawn(move || {
            let _ = clone.put("x", "1");
            let _ = clone.snapshot();
        });
        assert!(panicked.join().is_err(), "{call:?} {suffix}");
        assert!(matches!(engine.put("y", "1"), Err(Error::Poisoned { .. })), "{call:?} {suffix}");
        assert!(matches!(engine.flush(), Err(Error::Poisoned { .. })));
        assert!(matches!(engine.snapshot(), Err(Error::Poisoned { .. })));
        assert!(matches!(engine.close(), Err(Error::Poisoned { .. })));
        assert!(engine.get("safe").unwrap().is_some());
        drop(engine);
        assert!(place.open().get("safe").unwrap().is_some());
    }
}

#[test]
fn a_snapshot_that_fails_leaves_log_and_old_snapshot_as_they_were() {
    let calls = [(Call::Create, ENOSPC), (Call::Write, ENOSPC), (Call::Sync, EIO), (Call::Read, EIO), (Call::Rename, EIO)];
    for (call, errno) in calls {
        let (place, disk, engine) = store(1);
        engine.put("x", "old").unwrap();
        engine.snapshot().unwrap();
        engine.put("x", "new").unwrap();
        let before = (std::fs::read(&place.wal).unwrap(), std::fs::read(&place.snapshot).unwrap());
        disk.plan(Plan::fail(call, if call == Call::Create { ".snapshot.tmp" } else { ".snapshot" }, errno));
        let error = engine.snapshot().unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{call:?}: {error}");
        assert!(error.to_string().contains("as they were"), "{error}");
        assert_eq!((std::fs::read(&place.wal).unwrap(), std::fs::read(&place.snapshot).unwrap()), before, "{call:?}");
        assert_eq!(std::fs::read_dir(place.dir.path()).unwrap().count(), 4, "{call:?}: a scratch file was left");
        engine.put("y", "1").unwrap();
        disk.heal();
        engine.snapshot().unwrap();
        kill(engine, &disk);
        let engine = place.open();
        assert_eq!(contents(&engine).len(), 2);
    }
}

#[test]
fn a_new_log_that_cannot_be_made_leaves_the_old_one_in_use() {
    for (call, suffix) in [(Call::Create, ".wal.tmp"), (Call::Rename, ".wal")] {
        let (place, disk, engine) = store(1);
        engine.put("x", "1").unwrap();
        disk.plan(Plan::fail(call, suffix, ENOSPC));
        assert!(matches!(engine.snapshot(), Err(Error::Io { .. })));
        engine.put("y", "2").unwrap();
        disk.heal();
        engine.put("z", "3").unwrap();
        kill(engine, &disk);
        let engine = place.open();
        assert_eq!((engine.len(), engine.recovery().skipped, engine.recovery().replayed), (3, 1, 2));
    }
}

#[test]
fn a_directory_that_cannot_be_synced_poisons() {
    for suffix in [".snapshot", ".wal"] {
        let (place, disk, engine) = store(1);
        engine.put("x", "1").unwrap();
        disk.plan(Plan::fail(Call::SyncDir, suffix, EIO).times(1));
        assert!(matches!(engine.snapshot(), Err(Error::Poisoned { .. })), "{suffix}");
        assert!(matches!(engine.put("y", "1"), Err(Error::Poisoned { .. })), "{suffix}");
        assert!(matches!(engine.flush(), Err(Error::Poisoned { .. })), "{suffix}: no OK, though nothing is pending");
        drop(engine);
        assert_eq!(place.open().len(), 1);
    }
}

#[test]
fn a_read_error_at_opening_refuses_and_changes_nothing() {
    for suffix in [".wal", ".snapshot"] {
        let (place, disk, engine) = store(1);
        engine.put("x", "1").unwrap();
        engine.snapshot().unwrap();
        engine.put("y", "1").unwrap();
        drop(engine);
        let before = (std::fs::read(&place.wal).unwrap(), std::fs::read(&place.snapshot).unwrap());
        for call in [Call::Read, Call::Sync, Call::SyncDir] {
            disk.plan(Plan::fail(call, suffix, EIO));
            let error = place.options().disk(Arc::new(disk.clone())).open().unwrap_err();
            assert!(matches!(error, Error::Io { .. }), "{error}");
            assert_eq!((std::fs::read(&place.wal).unwrap(), std::fs::read(&place.snapshot).unwrap()), before);
            disk.heal();
        }
        assert_eq!(place.open().len(), 2);
    }
}

/// A damaged log is cut only when a copy of it is durable under its own name.
#[test]
fn a_damaged_log_that_cannot_be_kept_is_not_cut() {
    let (place, disk, engine) = store(1);
    for n in 0..100 {
        engine.put(format!("k{n:02}"), vec![b'v'; 30_000]).unwrap();
    }
    engine.close().unwrap();
    drop(engine);
    let mut bytes = std::fs::read(&place.wal).unwrap();
    bytes[200] ^= 1;
    std::fs::write(&place.wal, &bytes).unwrap();
    let open = || place.options().disk(Arc::new(disk.clone())).open();
    // The first sync is that of the log itself, before it is read. The same holds for the directory.
    let plans = [
        Plan::fail(Call::Create, ".wal.tmp", ENOSPC),
        Plan::fail(Call::Write, ".wal", ENOSPC),
        Plan::fail(Call::Write, ".wal", ENOSPC).after(1),
        Plan::fail(Call::Sync, ".wal", EIO).after(1),
        Plan::fail(Call::Rename, ".damaged-1", EIO),
        Plan::fail(Call::SyncDir, ".wal", EIO).after(1),
    ];
    for plan in plans {
        disk.plan(plan.clone());
        let error = open().unwrap_err();
        assert!(matches!(error, Error::Io { .. }), "{plan:?}: {error}");
        assert_eq!(std::fs::read(&place.wal).unwrap(), bytes, "{plan:?}");
        assert!(!place.has_scratch(), "{plan:?}");
        assert_eq!(place.beside(".damaged-1").exists(), plan.call == Call::SyncDir, "{plan:?}");
        disk.heal();
    }
    let engine = open().unwrap();
    assert_eq!(engine.len(), 0);
    assert_eq!(std::fs::read(place.beside(".damaged-1")).unwrap(), bytes);
    assert!(!place.beside(".damaged-2").exists(), "the copy made by the failed opening is used again");
    drop(engine);
    // Damage at another place, far behind the first mebibyte, makes another log of the same length.
    bytes[2_500_000] ^= 1;
    std::fs::write(&place.wal, &bytes).unwrap();
    drop(open().unwrap());
    assert_eq!(std::fs::read(place.beside(".damaged-2")).unwrap(), bytes);
}

/// Every waiting writer gets its own answer and none hangs. Every write that was answered with OK is there.
#[test]
fn many_writers_on_a_failing_disk_all_get_an_answer() {
    let full = Plan::fail(Call::Write, ".wal", ENOSPC).after(20).times(5).short(30);
    let broken = Plan::fail(Call::Sync, ".wal", EIO).after(20).times(1);
    for (plan, batch_size) in [(full.clone(), 1), (full, 4), (broken.clone(), 1), (broken, 4)] {
        let (place, disk, engine) = store(batch_size);
        disk.plan(plan);
        let answers: Vec<(String, bool)> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..8)
                .map(|thread| {
                    let engine = &engine;
                    scope.spawn(move || {
                        let one = |i| {
                            let key = format!("{thread} {i}");
                            let ok = engine.put(&key, "1").is_ok();
                            (key, ok)
                        };
                        (0..50).map(one).collect::<Vec<_>>()
                    })
                })
                .collect();
            writers.into_iter().flat_map(|writer| writer.join().unwrap()).collect()
        });
        let failed = answers.iter().filter(|(_, ok)| !ok).count();
        assert!(failed > 0, "the fault must have happened");
        let durable = engine.stats().durable;
        let closed = engine.close();
        let poisoned = matches!(closed, Err(Error::Poisoned { .. }));
        assert!(poisoned || closed.is_ok());
        drop(engine);
        let engine = place.open();
        assert!(engine.recovery().last_seq >= durable);
        let missing = answers.iter().filter(|(key, ok)| *ok && engine.get(key).unwrap().is_none()).count() as u64;
        assert!(missing == 0 || (poisoned && missing < batch_size), "{missing} acknowledged writes are missing");
        let unasked = answers.iter().filter(|(key, ok)| !ok && engine.get(key).unwrap().is_some()).count();
        assert!(poisoned || unasked == 0, "{unasked} refused writes were stored");
    }
}

/// Submits this number of puts of new keys, and returns what is told.
fn submitted(engine: &Engine, name: &str, puts: u64) -> Told {
    let put = |n: u64| {
        let mut batch = Batch::new();
        batch.put(format!("{name} {n}"), "1");
        batch
    };
    let puts: Vec<Batch> = (0..puts).map(put).collect();
    let (tell, told) = channel();
    loop {
        let tell = tell.clone();
        match engine.submit(&puts, move |is| tell.send(is).unwrap()).unwrap() {
            Submitted::Taken(_) => break,
            // The call that told the one before may not have returned.
            Submitted::Full => {
                let (tell, told) = channel();
                engine.when_room(move || tell.send(()).unwrap());
                told.recv_timeout(Duration::from_secs(60)).expect("there is room again");
            }
        }
    }
    told.recv_timeout(Duration::from_secs(60)).expect("each submission is told")
}

/// What is told of a submission is what is in the store: then, and after the next opening.
#[test]
fn a_submission_on_a_failing_disk_is_told_exactly_what_is_in_force() {
    let full = Plan::fail(Call::Write, ".wal", ENOSPC);
    // With batch size n and p pending writes, the first n − 1 − p of a submission are acknowledged before the sync.
    for (batch_size, pending, puts, in_force) in [(1, 0, 3, 0), (4, 0, 5, 3), (4, 2, 5, 1), (4, 3, 2, 0), (10, 4, 20, 5)] {
        for short in [0, 40, 100] {
            let (place, disk, engine) = store(batch_size);
            (0..pending).for_each(|n| assert_eq!(engine.put(format!("pending {n}"), "1").unwrap().pending, n + 1));
            disk.plan(full.clone().short(short));
            let told = submitted(&engine, "a", puts);
            let error = told.result.unwrap_err();
            let kept = pending + in_force;
            assert!(no_space(&error, kept) && told.in_force == in_force, "{error} with {} in force", told.in_force);
            let there = (0..puts).filter(|n| engine.contains_key(format!("a {n}")).unwrap()).count() as u64;
            assert_eq!((there, engine.len() as u64, engine.stats().appended), (in_force, kept, kept));
            disk.heal();
            engine.flush().unwrap();
            let told = submitted(&engine, "b", 1);
            assert_eq!((told.in_force, told.result.unwrap().seq), (1, kept + 1), "the numbers are given again");
            engine.flush().unwrap();
            kill(engine, &disk);
            let engine = place.open();
            let first = |n: &u64| engine.contains_key(format!("a {n}")).unwrap();
            assert_eq!((engine.len() as u64, (0..puts).take_while(first).count() as u64), (kept + 1, in_force));
        }
    }
    // Nothing of it is durable, so nothing of it is in force, and all of it is in doubt.
    let broken = [Plan::fail(Call::Sync, ".wal", EIO).times(1), Plan::fail(Call::Write, ".wal", EIO).times(1)];
    for (batch_size, visible) in [(1, 0), (4, 3)] {
        for plan in broken.clone() {
            let (place, disk, engine) = store(batch_size);
            disk.plan(plan);
            let told = submitted(&engine, "a", 6);
            assert!(told.in_force == 0 && matches!(told.result, Err(Error::Poisoned { .. })), "{told:?}");
            assert_eq!(engine.len(), visible, "a reader goes on to see what it saw");
            let again = engine.submit(&[], |_| panic!("not taken"));
            assert!(matches!(again, Err(Error::Poisoned { .. })));
            kill(engine, &disk);
            let found = place.open().len();
            assert!(found == 0 || found == 6, "the group is there or not: {found}");
        }
    }
}

/// When the last handle is dropped, no caller is left to repeat a close. So the lock must not stay.
#[test]
fn dropping_the_last_handle_on_a_full_disk_frees_the_store() {
    let (place, disk, engine) = store(5);
    engine.put("x", "1").unwrap();
    disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC));
    let scan = engine.scan("");
    drop(engine);
    assert!(place.open().is_empty());
    assert_eq!(scan.count(), 1, "an iterator continues over the entries that were in memory");
}

/// Some file systems have no locks. There, the engine cannot find out whether the log has another writer.
#[test]
fn a_log_that_cannot_be_locked_is_not_opened() {
    const ENOLCK: i32 = 37;
    let (place, disk, engine) = store(1);
    let locking = |error: &Error| error.to_string().contains("No locks available");
    engine.put("x", "1").unwrap();
    disk.plan(Plan::fail(Call::Lock, ".wal", ENOLCK));
    assert!(locking(&engine.snapshot().unwrap_err()), "no new log is begun either");
    engine.put("y", "2").unwrap();
    kill(engine, &disk);
    disk.revive();
    let before = std::fs::read(&place.wal).unwrap();
    let error = place.options().disk(Arc::new(disk.clone())).open().unwrap_err();
    assert!(matches!(&error, Error::Io { doing: "locking", path, .. } if *path == place.wal) && locking(&error), "{error}");
    assert_eq!(std::fs::read(&place.wal).unwrap(), before);
    disk.heal();
    assert_eq!(place.options().disk(Arc::new(disk.clone())).open().unwrap().len(), 2);
    let elsewhere = Place::new();
    disk.plan(Plan::fail(Call::Lock, ".wal", ENOLCK));
    assert!(locking(&elsewhere.options().disk(Arc::new(disk)).open().unwrap_err()));
    assert!(!elsewhere.wal.exists() && !elsewhere.has_scratch());
}

/// A read error may be temporary. It is not the end of the log and not damage, wherever it happens in files that are
/// longer than one read. Nothing is cut and nothing is served.
#[test]
fn a_part_of_a_large_store_that_cannot_be_read_refuses_all_of_it() {
    let place = Place::new();
    let engine = place.options().batch_size(10).open().unwrap();
    let value = |n: u8| vec![n; if n % 10 == 9 { 600_000 } else { 70_000 }];
    let put = |from, to| (from..to).try_for_each(|n| engine.put([n], value(n)).map(|_| ())).unwrap();
    put(0, 35);
    engine.snapshot().unwrap();
    put(35, 75);
    engine.close().unwrap();
    let (sound, snapshot) = (std::fs::read(&place.wal).unwrap(), std::fs::read(&place.snapshot).unwrap());
    let (mut damaged, torn) = (sound.clone(), &sound[..sound.len() - 1000]);
    damaged[1_000_000] ^= 1;
    let logs = [(&sound[..], false), (torn, false), (&damaged, false), (&damaged, true)];
    let calls =
        [Call::Read, Call::Size].into_iter().flat_map(|call| [".snapshot", ".wal", ".damaged-1"].map(|file| (call, file)));
    for ((log, keeps), (call, file)) in logs.into_iter().flat_map(|log| calls.clone().map(move |call| (log, call))) {
        let mut refused = 0;
        loop {
            std::fs::write(&place.wal, log).unwrap();
            let _ = std::fs::remove_file(place.beside(".damaged-1"));
            if keeps {
                std::fs::write(place.beside(".damaged-1"), log).unwrap();
            }
            let disk = FaultyDisk::default();
            disk.plan(Plan::fail(call, file, EIO).after(refused).times(1));
            let error = match place.options().disk(Arc::new(disk.clone())).open() {
                Err(error) => error,
                Ok(engine) => {
                    assert!(!disk.is_spent(), "{call:?} {refused} of {file} failed, and the opening ignored it");
                    assert_eq!((engine.recovery().tail != LogTail::Clean, engine.len() < 75), (log != sound, log != sound));
                    let kept = std::fs::read(place.beside(".damaged-1")).ok();
                    assert!(kept.as_deref() == (log == damaged).then_some(log));
                    break;
                }
            };
            assert!(matches!(error, Error::Io { .. }) && error.to_string().contains("Input/output error"), "{refused}: {error}");
            assert!(std::fs::read(&place.wal).unwrap() == log && std::fs::read(&place.snapshot).unwrap() == snapshot);
            let kept = std::fs::read(place.beside(".damaged-1")).ok();
            assert!(kept.is_none_or(|kept| kept == log), "{call:?} {refused} of {file}: half a copy was kept");
            refused += 1;
        }
        let least = if call == Call::Read { 4 } else { 1 };
        assert!(refused >= least || file == ".damaged-1" && !keeps, "{call:?} {refused} of {file}, which is long");
    }
}

//! The promises of the library on a healthy disk, with one thread and with many: which writes are visible, which are
//! durable, which are refused.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::disk::{OsDisk, create_scratch};
use kv_engine::{Batch, Error, LogTail, MAX_BATCH_SIZE, MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::sync::Arc;
use std::time::Duration;
use support::{Call, FaultyDisk, Place, contents, kill};

#[test]
fn entries_are_there_after_reopening() {
    let place = Place::new();
    let engine = place.open();
    assert!(engine.recovery().created);
    engine.put("x", "100").unwrap();
    engine.put("empty", "").unwrap();
    engine.put("gone", "1").unwrap();
    engine.put(b"\0\xff\n", b"\0").unwrap();
    assert!(engine.delete("gone").unwrap().is_some());
    assert!(engine.delete("never").unwrap().is_none());
    let before = contents(&engine);
    engine.close().unwrap();

    let engine = place.open();
    assert_eq!(contents(&engine), before);
    assert_eq!(engine.len(), 3);
    let report = engine.recovery();
    assert_eq!((report.replayed, report.last_seq, &report.tail), (5, 5, &LogTail::Clean));
    assert!(report.closed_cleanly && report.warnings().is_empty());
}

#[test]
fn with_batch_size_one_each_put_is_one_write_and_one_sync() {
    let (place, disk) = (Place::new(), FaultyDisk::default());
    let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
    disk.take_log_calls();
    for i in 1..=10 {
        let ack = engine.put(format!("k{i}"), "v").unwrap();
        assert_eq!((ack.seq, ack.durable, ack.pending), (i, true, 0));
        let calls: Vec<Call> = disk.take_log_calls().into_iter().map(|(call, _)| call).collect();
        assert_eq!(calls, [Call::Write, Call::Sync]);
    }
    kill(engine, &disk);
    assert_eq!(place.open().len(), 10);
}

#[test]
fn with_batch_size_n_one_write_and_one_sync_serve_n_puts_and_at_most_n_less_one_are_at_risk() {
    let (place, disk) = (Place::new(), FaultyDisk::default());
    let engine = place.options().batch_size(5).disk(Arc::new(disk.clone())).open().unwrap();
    disk.take_log_calls();
    for i in 1..=12 {
        let ack = engine.put(format!("k{i:02}"), "v").unwrap();
        assert_eq!((ack.seq, ack.pending), (i, i % 5), "counted from the last sync");
        assert_eq!(ack.durable, i % 5 == 0);
        assert_eq!(engine.len() as u64, i, "visible when answered");
        let calls: Vec<Call> = disk.take_log_calls().into_iter().map(|(call, _)| call).collect();
        assert_eq!(calls, if i % 5 == 0 { vec![Call::Write, Call::Sync] } else { vec![] });
    }
    kill(engine, &disk);
    assert_eq!(place.open().len(), 10, "the two pending writes never reached the operating system");
}

#[test]
fn pending_writes_are_counted_from_the_last_sync() {
    let place = Place::new();
    let engine = place.options().batch_size(5).open().unwrap();
    engine.put("a", "1").unwrap();
    engine.put("b", "1").unwrap();
    assert_eq!(engine.flush().unwrap().writes, 2);
    for i in 1..=4 {
        assert_eq!(engine.put(format!("c{i}"), "1").unwrap().pending, i);
    }
    assert!(engine.put("c5", "1").unwrap().durable);
    assert_eq!(engine.flush().unwrap().writes, 0);
    assert_eq!(engine.stats().syncs, 2, "a flush with nothing pending syncs nothing");
}

#[test]
fn lowering_the_batch_size_below_the_pending_writes_flushes_at_once() {
    let place = Place::new();
    let engine = place.options().batch_size(5).open().unwrap();
    for i in 0..3 {
        engine.put(format!("k{i}"), "1").unwrap();
    }
    engine.set_batch_size(1000).unwrap();
    assert_eq!(engine.pending(), 3, "raising it syncs nothing");
    engine.set_batch_size(4).unwrap();
    assert_eq!(engine.pending(), 3, "four is still above three");
    engine.set_batch_size(3).unwrap();
    assert_eq!((engine.pending(), engine.stats().durable), (0, 3));
    for bad in [0, MAX_BATCH_SIZE + 1] {
        assert!(matches!(engine.set_batch_size(bad), Err(Error::Limit { .. })));
    }
    assert_eq!(engine.batch_size(), 3);
}

#[test]
fn the_background_flush_bounds_the_age_of_pending_writes() {
    let place = Place::new();
    let engine = place.options().batch_size(100).flush_interval(Duration::from_millis(20)).open().unwrap();
    for round in 1..=3 {
        engine.put(format!("k{round}"), "1").unwrap();
        while engine.pending() > 0 {
            std::thread::yield_now(); // without the flush this would never end
        }
        assert_eq!(engine.stats().durable, round);
    }
}

/// A clean close writes a durable mark, so that damage in the last group is seen.
#[test]
fn the_mark_of_a_clean_close_is_one_write_and_one_sync() {
    let (place, disk) = (Place::new(), FaultyDisk::default());
    let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
    engine.put("x", "1").unwrap();
    disk.take_log_calls();
    engine.close().unwrap();
    assert_eq!(disk.take_log_calls(), [(Call::Write, 33), (Call::Sync, 0)]);
}

/// The last write of a store has the number 2^62. The store here has an empty snapshot with a number close to it.
#[test]
fn the_last_sequence_number_can_be_used_and_the_next_one_is_an_error() {
    const LAST: u64 = 1 << 62;
    let place = Place::new();
    let mut header = [0; 96];
    header[..12].copy_from_slice(b"\x89kvsna\r\n\x01\0\0\0");
    header[32..40].copy_from_slice(&(LAST - 2).to_le_bytes());
    header[56..72].copy_from_slice(&0x99aa_06d3_0147_98d8_6001_c324_468d_497f_u128.to_le_bytes()); // the digest of no entries
    let check = crc32fast::hash(&header[..92]);
    header[92..].copy_from_slice(&check.to_le_bytes());
    std::fs::write(&place.snapshot, header).unwrap();
    let engine = place.open();
    assert_eq!(engine.put("x", "1").unwrap().seq, LAST - 1);
    assert_eq!(engine.put("x", "2").unwrap().seq, LAST);
    assert!(matches!(engine.put("x", "3"), Err(Error::Limit { got, max: LAST, .. }) if got == LAST + 1));
    assert_eq!(engine.get("x").unwrap().unwrap().to_vec(), b"2");
    engine.close().unwrap();
    drop(engine);
    let engine = place.open();
    assert_eq!((engine.len(), engine.recovery().last_seq), (1, LAST));
    engine.snapshot().unwrap();
    drop(engine);
    assert!(matches!(place.open().delete("x"), Err(Error::Limit { .. })));
}

#[test]
fn limits_are_checked_before_anything_is_stored() {
    let place = Place::new();
    let engine = place.open();
    engine.put(vec![b'k'; MAX_KEY_BYTES], "longest key").unwrap();
    engine.put("longest value", vec![b'v'; 1 << 20]).unwrap();
    let before = contents(&engine);
    let long_value = vec![0; MAX_VALUE_BYTES + 1];
    assert!(matches!(engine.put("", "v"), Err(Error::Limit { got: 0, .. })));
    assert!(matches!(engine.put(vec![b'k'; MAX_KEY_BYTES + 1], "v"), Err(Error::Limit { .. })));
    assert!(matches!(engine.put("k", &long_value), Err(Error::Limit { .. })));
    assert!(matches!(engine.delete(""), Err(Error::Limit { .. })));
    let mut batch = Batch::new();
    batch.put("fine", "1").put("k", &long_value);
    assert!(matches!(engine.write(batch), Err(Error::Limit { .. })));
    assert_eq!(contents(&engine), before);
    assert_eq!(engine.stats().appended, 2);
    assert!(matches!(place.options().batch_size(0).open(), Err(Error::Limit { .. })));
}

#[test]
fn a_batch_is_one_write_applied_in_its_order() {
    let place = Place::new();
    let engine = place.open();
    engine.put("x", "1").unwrap();
    let mut batch = Batch::new();
    batch.put("a", "1").delete("x").put("b", "1").put("b", "2").delete("nothing");
    assert_eq!(batch.get("b"), Some(Some(&b"2"[..])));
    assert_eq!(batch.get("x"), Some(None));
    assert_eq!(batch.get("y"), None);
    assert_eq!(engine.write(batch).unwrap().seq, 2);
    assert_eq!(engine.write(Batch::new()).unwrap().seq, 2, "an empty batch logs nothing");
    let before = contents(&engine);
    assert_eq!(before.into_iter().collect::<Vec<_>>(), [(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"2".to_vec())]);
    drop(engine);
    assert_eq!(contents(&place.open()).len(), 2);
}

#[test]
fn scans_are_in_key_order_and_stop_at_the_prefix() {
    let place = Place::new();
    let engine = place.options().batch_size(1000).open().unwrap();
    for i in 0..1000 {
        engine.put(format!("user:{i:04}"), i.to_string()).unwrap();
    }
    engine.put("user", "shorter").unwrap();
    engine.put("user;", "after them").unwrap();
    let keys: Vec<_> = engine.keys("user:").map(|key| key.unwrap()).collect();
    assert_eq!(keys.len(), 1000);
    assert!(keys.is_sorted());
    assert_eq!(engine.keys("").count(), 1002);
    assert_eq!(engine.keys("nobody").count(), 0);
    assert_eq!(engine.scan("user:0999").next().unwrap().unwrap().1.to_vec(), b"999");
}

#[test]
fn a_snapshot_replaces_the_log_and_holds_the_same_entries() {
    let place = Place::new();
    let engine = place.options().batch_size(3).open().unwrap();
    for i in 0..100 {
        engine.put(format!("k{}", i % 40), format!("value {i}\twith blanks\n")).unwrap();
    }
    engine.delete("k7").unwrap();
    engine.put("empty", "").unwrap();
    let before = contents(&engine);
    let taken = engine.snapshot().unwrap();
    assert_eq!((taken.seq, taken.keys), (102, 40));
    assert_eq!(engine.pending(), 0);
    engine.put("after", "1").unwrap();
    engine.close().unwrap();

    let engine = place.open();
    let report = engine.recovery().clone();
    assert_eq!(
        (report.snapshot_seq, report.snapshot_keys, report.replayed, report.skipped, report.last_seq),
        (102, 40, 1, 0, 103)
    );
    assert_eq!(contents(&engine).len(), before.len() + 1);
    assert!(before.iter().all(|(key, value)| engine.get(key).unwrap().unwrap().to_vec() == *value));
    assert_eq!(engine.put("next", "1").unwrap().seq, 104, "sequence numbers go on");
}

#[test]
fn opening_reports_its_progress_about_each_mebibyte() {
    const MEBIBYTE: u64 = 1 << 20;
    let place = Place::new();
    let engine = place.options().batch_size(1000).open().unwrap();
    let fill = |name: &str| {
        for i in 0..120 {
            engine.put(format!("{name}{i:03}"), vec![b'v'; 30_000]).unwrap();
        }
    };
    fill("a");
    engine.snapshot().unwrap();
    fill("b");
    engine.close().unwrap();
    drop(engine);
    let bytes = |path| std::fs::metadata(path).unwrap().len();
    let (snapshot, total) = (bytes(&place.snapshot), bytes(&place.snapshot) + bytes(&place.wal));
    let reported = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = Arc::clone(&reported);
    let options = place.options();
    assert!(format!("{options:?}").contains("Progress(none)"));
    let options = options.progress(move |at, of| tell.lock().unwrap().push((at, of)));
    assert!(format!("{options:?}").contains("Progress(…)"));
    let engine = options.open().unwrap();
    assert_eq!(engine.recovery().snapshot_bytes, snapshot);
    assert_eq!(engine.recovery().log_bytes, total - snapshot);
    let reported = reported.lock().unwrap();
    assert!(reported.iter().all(|&(at, of)| at < total && of == total), "{reported:?} of {total}");
    assert_eq!(reported[0].0, 96, "the first block of the snapshot");
    let steps: Vec<u64> = reported.windows(2).map(|two| two[1].0 - two[0].0).collect();
    assert_eq!(steps.len() as u64, total / (MEBIBYTE + 30_000), "{steps:?}");
    assert!(steps.iter().all(|step| (MEBIBYTE..MEBIBYTE + 40_000).contains(step)), "{steps:?}");
}

/// Entries are written in portions of up to a mebibyte, and the header last.
#[test]
fn a_snapshot_is_a_few_large_writes_and_one_sync() {
    let (place, disk) = (Place::new(), FaultyDisk::default());
    let engine = place.options().batch_size(10_000).disk(Arc::new(disk.clone())).open().unwrap();
    for i in 0..3500 {
        engine.put(format!("k{i}"), [b'v'; 100]).unwrap();
    }
    engine.flush().unwrap();
    let before = disk.changes().len();
    engine.snapshot().unwrap();
    let changes = disk.changes()[before..].to_vec();
    let of_snapshot: Vec<Call> = changes.iter().filter(|(_, file)| file == "kv.snapshot").map(|(call, _)| *call).collect();
    assert_eq!(of_snapshot, [Call::Write, Call::Write, Call::Sync, Call::Rename, Call::SyncDir]);
}

#[test]
fn the_same_state_gives_the_same_snapshot_bytes() {
    let place = Place::new();
    let engine = place.open();
    for i in 0..500 {
        engine.put(format!("k{i}"), vec![b'v'; i]).unwrap();
    }
    engine.snapshot().unwrap();
    let first = std::fs::read(&place.snapshot).unwrap();
    engine.close().unwrap();
    place.open().snapshot().unwrap();
    assert_eq!(std::fs::read(&place.snapshot).unwrap(), first);
}

#[test]
fn a_clean_close_with_the_option_reopens_from_the_snapshot_alone() {
    let place = Place::new();
    let options = place.options().snapshot_on_close(true);
    let engine = options.clone().open().unwrap();
    engine.put("x", "100").unwrap();
    engine.close().unwrap();
    let engine = options.clone().open().unwrap();
    assert_eq!((engine.recovery().replayed, engine.recovery().snapshot_keys), (0, 1));
    drop(engine);
    std::fs::remove_file(&place.wal).unwrap();
    assert_eq!(options.open().unwrap().get("x").unwrap().unwrap().to_vec(), b"100");
}

#[test]
fn a_closed_store_refuses_writes_and_frees_its_files() {
    let place = Place::new();
    let engine = place.options().batch_size(10).open().unwrap();
    let clone = engine.clone();
    engine.put("x", "100").unwrap();
    assert!(matches!(place.options().open(), Err(Error::Locked { pid: Some(pid), .. }) if pid == std::process::id()));
    engine.close().unwrap();
    clone.close().unwrap();
    assert!(matches!(clone.put("y", "1"), Err(Error::Closed)));
    assert!(matches!(clone.delete("x"), Err(Error::Closed)));
    assert!(matches!(clone.flush(), Err(Error::Closed)));
    assert!(matches!(clone.snapshot(), Err(Error::Closed)));
    assert_eq!(place.open().len(), 1);
}

/// No write may be accepted between the last sync of a close and its answer. When the lock is free, every acknowledged
/// write is in the file, and nothing is written afterwards.
#[test]
fn closing_under_load_loses_no_acknowledged_write() {
    for round in 0..60 {
        let place = Place::new();
        let batch_size = if round % 2 == 0 { 1 } else { 1_000_000 };
        let engine = place.options().batch_size(batch_size).open().unwrap();
        let acknowledged: u64 = std::thread::scope(|scope| {
            let writer = |thread: u64| {
                let engine = &engine;
                move || {
                    for i in 0.. {
                        match engine.put(format!("{thread} {i}"), "v") {
                            Ok(_) => {}
                            Err(Error::Closed) => return i,
                            Err(error) => panic!("{error}"),
                        }
                    }
                    unreachable!("the store is closed at some time")
                }
            };
            let writers: Vec<_> = (0..4).map(|thread| scope.spawn(writer(thread))).collect();
            while engine.len() < 100 {
                std::thread::yield_now();
            }
            let closers: Vec<_> = (0..2).map(|_| scope.spawn(|| engine.close())).collect();
            closers.into_iter().for_each(|closer| closer.join().unwrap().unwrap());
            let length = std::fs::metadata(&place.wal).unwrap().len();
            let counts: Vec<u64> = writers.into_iter().map(|writer| writer.join().unwrap()).collect();
            assert_eq!(std::fs::metadata(&place.wal).unwrap().len(), length, "nothing is written after a close");
            counts.iter().sum()
        });
        assert_eq!(engine.pending(), 0);
        drop(engine);
        assert_eq!(place.open().len() as u64, acknowledged, "batch size {batch_size}");
    }
}

#[test]
fn the_batch_size_can_be_lowered_under_load() {
    let place = Place::new();
    let engine = place.options().batch_size(1_000_000).open().unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3 {
            let engine = &engine;
            scope.spawn(move || {
                for i in 0.. {
                    match engine.put(format!("{thread} {}", i % 100), "v") {
                        Ok(ack) if ack.durable => return,
                        done => drop(done.unwrap()),
                    }
                }
            });
        }
        while engine.len() < 100 {
            std::thread::yield_now();
        }
        let syncs = engine.stats().syncs;
        engine.set_batch_size(1).unwrap();
        assert!(engine.stats().syncs <= syncs + 4, "one sync for the pending writes, and those of the writers since");
    });
}

#[test]
fn dropping_the_last_handle_flushes() {
    let place = Place::new();
    let engine = place.options().batch_size(100).flush_interval(Duration::from_secs(3600)).open().unwrap();
    engine.put("x", "100").unwrap();
    drop(engine);
    assert_eq!(place.open().len(), 1);
}

#[test]
fn a_session_that_only_reads_changes_no_byte() {
    let place = Place::new();
    place.open().put("x", "100").unwrap();
    let before = std::fs::read(&place.wal).unwrap();
    let engine = place.open();
    assert!(engine.get("x").unwrap().is_some());
    engine.close().unwrap();
    assert_eq!(std::fs::read(&place.wal).unwrap(), before);
}

#[test]
fn paths_that_would_be_the_same_file_are_refused() {
    let place = Place::new();
    let (scratch, _) = create_scratch(&OsDisk, &place.dir.path().join("a")).unwrap();
    std::fs::remove_file(&scratch).unwrap();
    let scratch = scratch.to_str().unwrap();
    for (wal, snapshot) in [("a", "a"), ("a", scratch), (scratch, "a"), ("a.lock", "a"), ("a", "./a")] {
        let (wal, snapshot) = (place.dir.path().join(wal), place.dir.path().join(snapshot));
        assert!(matches!(kv_engine::Options::new(&wal, &snapshot).open(), Err(Error::Mismatch { .. })), "{wal:?} {snapshot:?}");
    }
    // A snapshot is locked too: two logs cannot share one.
    let _first = place.open();
    let second = kv_engine::Options::new(place.beside("2"), &place.snapshot).open();
    assert!(matches!(second, Err(Error::Locked { path, .. }) if path == place.snapshot));
}

/// Log order = apply order: many writers write to few keys, and reopening finds the same state as memory had at the
/// end. No acknowledged write is missing.
#[test]
fn many_threads_see_one_order() {
    for batch_size in [1, 7, 1000] {
        let place = Place::new();
        let engine = place.options().batch_size(batch_size).flush_interval(Duration::from_millis(1)).open().unwrap();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let engine = &engine;
                scope.spawn(move || {
                    for i in 0..200 {
                        let key = format!("k{}", i % 3);
                        let ack = engine.put(&key, format!("{thread}:{i}")).unwrap();
                        assert!(ack.durable || batch_size > 1);
                        assert!(ack.pending < batch_size);
                        if i % 10 == 0 {
                            engine.delete(&key).unwrap();
                        }
                        engine.put(format!("own {thread} {i}"), "1").unwrap();
                        if i == 100 && thread == 0 {
                            engine.snapshot().unwrap();
                        }
                        if i == 50 && thread == 1 {
                            engine.set_batch_size(batch_size).unwrap();
                        }
                    }
                });
            }
        });
        let before = contents(&engine);
        assert!(before.len() >= 1600);
        engine.close().unwrap();
        let engine = place.open();
        assert_eq!(contents(&engine), before, "batch size {batch_size}");
    }
}

#[test]
fn the_engine_is_send_sync_and_cheap_to_clone() {
    fn check<T: Send + Sync + Clone>() {}
    check::<kv_engine::Engine>();
    assert_eq!(std::mem::size_of::<kv_engine::Engine>(), std::mem::size_of::<usize>());
}

//! Ranges from both ends, read views, copies of an open store, and a store in a directory, on the real disk.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Batch, Digest, Engine, Error, Options, Scan, View, replay};
use std::collections::BTreeMap;
use std::fs;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use support::{Call, EIO, ENOSPC, FaultyDisk, Place, Plan, Random, contents};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;
type Entry = (Vec<u8>, Vec<u8>);

fn owned(scan: impl Iterator<Item = kv_engine::Result<(Vec<u8>, kv_engine::Value)>>) -> Vec<Entry> {
    scan.map(|entry| entry.unwrap()).map(|(key, value)| (key, value.to_vec())).collect()
}

/// A store with all values in memory, or with values in the snapshot, in layers, and keys that were deleted since.
fn store(on_disk: bool) -> (Place, Engine, Model) {
    let place = Place::new();
    let options = || if on_disk { place.options().values_in_snapshot(1 << 20) } else { place.options() };
    let (mut model, mut random) = (Model::new(), Random(7));
    let mut engine = options().batch_size(1000).open().unwrap();
    for round in 0..3 {
        for _ in 0..2000 {
            let key = format!("{:05}", random.below(4000)).into_bytes();
            if random.below(4) == 0 {
                engine.delete(&key).unwrap();
                model.remove(&key);
            } else {
                let value = vec![b'v'; usize::try_from(random.below(300)).unwrap()];
                engine.put(&key, &value).unwrap();
                model.insert(key, value);
            }
        }
        if round == 0 {
            engine.snapshot().unwrap();
            engine.close().unwrap();
            drop(engine);
            engine = options().batch_size(1000).open().unwrap();
        }
        if round == 1 {
            drop(engine.view()); // one layer more
        }
    }
    (place, engine, model)
}

#[test]
fn case_53_ranges_are_those_of_an_ordered_map_from_both_ends() {
    for on_disk in [false, true] {
        let (_place, engine, model) = store(on_disk);
        let view = engine.view();
        let mut random = Random(3);
        for turn in 0..60 {
            let mut key = || match random.below(5) {
                0 => Vec::new(),
                1 => b"02".to_vec(),
                _ => format!("{:05}", random.below(4100)).into_bytes(),
            };
            let bound = |kind: u64, key: Vec<u8>| match kind {
                0 => Bound::Unbounded,
                1 => Bound::Excluded(key),
                _ => Bound::Included(key),
            };
            let (low, high) = (key(), key());
            let bounds = (bound(turn % 3, low), bound(turn / 3 % 3, high));
            let inside = |key: &&Vec<u8>| std::ops::RangeBounds::contains(&bounds, *key);
            let right: Vec<Entry> = model.iter().filter(|(key, _)| inside(key)).map(|(k, v)| (k.clone(), v.clone())).collect();
            let mut reversed = right.clone();
            reversed.reverse();
            for scan in [engine.range(bounds.clone()), view.range(bounds.clone())] {
                assert_eq!(owned(scan.clone()), right, "{bounds:?}");
                assert_eq!(owned(scan.clone().rev()), reversed, "{bounds:?}");
                // Mixed steps: all from the front, in order, then all from the back make the whole.
                let (mut scan, mut front, mut back) = (scan, Vec::new(), Vec::new());
                loop {
                    let from_back = random.below(3) == 0;
                    let next = if from_back { scan.next_back() } else { scan.next() };
                    let Some(entry) = next else { break };
                    let (key, value) = entry.unwrap();
                    if from_back { &mut back } else { &mut front }.push((key, value.to_vec()));
                }
                assert!(scan.next().is_none() && scan.next_back().is_none());
                back.reverse();
                front.append(&mut back);
                assert_eq!(front, right, "{bounds:?}");
            }
        }
        let first = model.first_key_value().map(|(key, value)| (key.clone(), value.clone()));
        let last = model.last_key_value().map(|(key, value)| (key.clone(), value.clone()));
        assert_eq!(engine.first().unwrap().map(|(key, value)| (key, value.to_vec())), first);
        assert_eq!(engine.last().unwrap().map(|(key, value)| (key, value.to_vec())), last);
        let keys: Vec<_> = engine.keys("01").rev().map(Result::unwrap).collect();
        assert!(keys.iter().eq(model.keys().filter(|key| key.starts_with(b"01")).rev()));
        assert!((0..4100_u32).all(|n| {
            let key = format!("{n:05}").into_bytes();
            engine.contains_key(&key).unwrap() == model.contains_key(&key)
        }));
    }
}

/// The values that one call gives, by position.
fn many<K: AsRef<[u8]>>(engine: &Engine, keys: &[K]) -> Vec<Option<Vec<u8>>> {
    let mut found = Vec::new();
    let see = |at, value: Option<&[u8]>| {
        assert_eq!(at, found.len());
        found.push(value.map(<[u8]>::to_vec));
    };
    engine.get_many(keys, see).unwrap();
    found
}

/// Lists from none to some hundred keys: present, deleted, absent, too long, and some of them twice.
#[test]
fn many_gets_in_one_call_are_those_of_the_model() {
    for on_disk in [false, true] {
        let (_place, engine, model) = store(on_disk);
        let mut random = Random(11);
        for len in (0..70).chain([100, 127, 128, 129, 500]) {
            let keys: Vec<Vec<u8>> = (0..len)
                .map(|_| match random.below(30) {
                    0 => Vec::new(),
                    1 => vec![b'k'; kv_engine::MAX_KEY_BYTES + 1],
                    2 => b"00007".to_vec(),
                    _ => format!("{:05}", random.below(4500)).into_bytes(),
                })
                .collect();
            let right: Vec<Option<Vec<u8>>> = keys.iter().map(|key| model.get(key).cloned()).collect();
            assert_eq!(many(&engine, &keys), right, "on disk: {on_disk}");
        }
        // The same after a snapshot, and after close.
        let keys: Vec<String> = (0..4500).map(|n| format!("{n:05}")).collect();
        let right: Vec<Option<Vec<u8>>> = keys.iter().map(|key| model.get(key.as_bytes()).cloned()).collect();
        engine.snapshot().unwrap();
        assert_eq!(many(&engine, &keys), right);
        engine.close().unwrap();
        assert_eq!(many(&engine, &keys), right);
    }
}

/// What `see` writes is visible at the positions behind it, also if it makes a snapshot or a view.
#[test]
fn a_write_in_the_middle_of_many_gets_is_seen_by_the_rest() {
    for on_disk in [false, true] {
        let (_place, engine, _) = store(on_disk);
        let keys: Vec<String> = (0..50).map(|n| format!("{n:05}")).collect();
        let put_all = |value: &str| keys.iter().for_each(|key| assert!(engine.put(key, value).is_ok()));
        put_all("old");
        let see = |at: usize, value: Option<&[u8]>| {
            let right = ["old", "new", "newest"][at.min(1) + usize::from(at > 20)];
            assert_eq!(value, Some(right.as_bytes()), "position {at}, on disk: {on_disk}");
            match at {
                0 => put_all("new"),
                20 => {
                    drop(engine.view());
                    engine.snapshot().unwrap();
                    put_all("newest");
                }
                _ => {}
            }
        };
        engine.get_many(&keys, see).unwrap();
    }
}

#[test]
fn ranges_are_written_as_people_write_them() {
    let place = Place::new();
    let engine = place.open();
    assert!(engine.first().unwrap().is_none() && engine.last().unwrap().is_none());
    for key in ["a", "b", "c"] {
        engine.put(key, key).unwrap();
    }
    let keys = |scan: Scan| owned(scan).into_iter().map(|(key, _)| String::from_utf8(key).unwrap()).collect::<String>();
    assert_eq!(keys(engine.range("a".."c")), "ab");
    assert_eq!(keys(engine.range("a"..="c")), "abc");
    assert_eq!(keys(engine.range("b"..)), "bc");
    assert_eq!(keys(engine.range(.."b")), "a");
    assert_eq!(keys(engine.range::<&str, _>(..)), "abc");
    assert_eq!(keys(engine.range(String::from("b")..)), "bc");
    assert_eq!(keys(engine.range(vec![b'b']..vec![b'c'])), "b");
    assert_eq!(keys(engine.range(&b"b"[..]..&b"c"[..])), "b");
    let between = (Bound::Excluded(String::from("b")), Bound::Excluded(String::from("b")));
    for empty in [engine.range("c".."a"), engine.range("b".."b"), engine.range(between)] {
        assert_eq!((empty.clone().count(), empty.rev().count()), (0, 0));
    }
}

/// A scan from the back reads only as much of the snapshot as it needs.
#[test]
fn the_last_entry_of_a_long_snapshot_is_found_in_a_few_blocks() {
    let place = Place::new();
    let disk = FaultyDisk::default();
    let engine = place.options().batch_size(1000).values_in_snapshot(0).disk(Arc::new(disk.clone())).open().unwrap();
    (0..20_000_u32).for_each(|n| engine.put(n.to_be_bytes(), [7; 100]).map(drop).unwrap());
    engine.snapshot().unwrap();
    let before = disk.bytes_read(".snapshot");
    assert_eq!(engine.last().unwrap().unwrap().0, 19_999_u32.to_be_bytes());
    assert_eq!(engine.first().unwrap().unwrap().0, 0_u32.to_be_bytes());
    let some = engine.range(9000_u32.to_be_bytes()..).next_back();
    assert_eq!(some.unwrap().unwrap().0, 19_999_u32.to_be_bytes());
    let read = disk.bytes_read(".snapshot") - before;
    assert!(read < 100_000, "{read}");
}

#[test]
fn a_damaged_block_ends_a_scan_from_either_end() {
    let (place, engine, model) = store(true);
    engine.snapshot().unwrap();
    engine.close().unwrap();
    drop(engine);
    let mut bytes = fs::read(&place.snapshot).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 1;
    fs::write(&place.snapshot, bytes).unwrap();
    let engine = place.options().values_in_snapshot(0).open().unwrap();
    let mut total = 0;
    let scans: [Vec<_>; 2] = [engine.scan("").collect(), engine.scan("").rev().collect()];
    for (scanned, backward) in scans.into_iter().zip([false, true]) {
        let (last, before) = scanned.split_last().unwrap();
        assert!(matches!(last, Err(Error::Damaged { .. })));
        let right: Vec<_> = if backward { model.iter().rev().collect() } else { model.iter().collect() };
        for (found, entry) in before.iter().zip(&right) {
            assert!(found.as_ref().is_ok_and(|(key, value)| (key, &value.to_vec()) == *entry));
        }
        // All entries before the damaged block came, and no more: each of the next ones is an error.
        let (next, _) = right[before.len()];
        assert!(matches!(engine.get(next), Err(Error::Damaged { .. })));
        total += before.len();
    }
    assert!((model.len() - 200..model.len()).contains(&total), "both ends together give all but one block: {total}");
    let view = engine.view();
    assert!(matches!(view.digest(), Err(Error::Damaged { .. })));
    let copy = place.dir.path().join("copy");
    assert!(matches!(engine.export_to(&copy), Err(Error::Damaged { .. })) && !copy.exists() && !place.has_scratch());
}

#[test]
fn case_53_a_view_outlives_writes_batches_snapshots_failures_and_close() {
    for on_disk in [false, true] {
        let place = Place::new();
        let disk = FaultyDisk::default();
        let options = place.options().disk(Arc::new(disk.clone()));
        let engine = if on_disk { options.values_in_snapshot(0) } else { options }.open().unwrap();
        let empty = engine.view();
        engine.put("a", "1").unwrap();
        engine.put("b", "2").unwrap();
        engine.snapshot().unwrap();
        engine.put("c", "3").unwrap();
        let (view, right) = (engine.view(), contents(&engine));
        let digest = engine.digest();
        let same = |view: &View, what: &str| {
            let found: Model = owned(view.scan("")).into_iter().collect();
            assert_eq!((view.seq(), &found, view.len()), (3, &right, 3), "{what}");
            assert_eq!(view.digest().unwrap(), digest, "{what}");
            assert_eq!(view.get("b").unwrap().as_deref(), Some(&b"2"[..]), "{what}");
            assert!(!view.contains_key("d").unwrap() && !view.is_empty(), "{what}");
            let keys: Vec<_> = view.keys("").rev().map(Result::unwrap).collect();
            assert_eq!(keys, [b"c", b"b", b"a"], "{what}");
        };
        same(&view, "at once");
        let mut batch = Batch::new();
        batch.put("a", "x").delete("b").put("d", "y").put("d", "z");
        engine.write(batch).unwrap();
        same(&view, "after a batch");
        engine.delete("c").unwrap();
        let second = engine.view();
        engine.snapshot().unwrap();
        same(&view, "after a snapshot");
        engine.put("b", "again").unwrap();
        drop(view.clone());
        let scan = view.range("b"..);
        disk.plan(Plan::fail(Call::Sync, ".wal", EIO));
        assert!(engine.put("e", "never").is_err());
        same(&view, "after a failed sync");
        assert_eq!(owned(second.scan("")), [(b"a".to_vec(), b"x".to_vec()), (b"d".to_vec(), b"z".to_vec())]);
        let third = engine.view();
        assert_eq!(third.get("b").unwrap().as_deref(), Some(&b"again"[..]));
        drop(second);
        let _ = engine.close();
        drop(engine);
        same(&view, "after close");
        assert_eq!((empty.seq(), empty.len(), empty.scan("").count()), (0, 0, 0));
        drop((view, third));
        assert_eq!(scan.count(), 2, "an iterator keeps its view");
        disk.heal();
        assert!(place.options().open().is_ok(), "a view does not keep the store open");
    }
}

/// Views beside writers: each has the state after exactly its write, with batches whole. The truth is the replay of the
/// log.
#[test]
fn views_beside_writers_are_states_of_the_log() {
    for (on_disk, batch_size) in [(false, 1), (false, 50), (true, 50)] {
        let place = Place::in_memory();
        let options = place.options().batch_size(batch_size).checkpoint_log_bytes(0);
        let engine = if on_disk { options.values_in_snapshot(1 << 20) } else { options }.open().unwrap();
        let seen: Vec<(u64, usize, Digest)> = std::thread::scope(|scope| {
            for writer in 0..4_u64 {
                let engine = &engine;
                scope.spawn(move || {
                    let mut random = Random(writer + 1);
                    for n in 0..400_u64 {
                        let mut key = || format!("{:02}", random.below(40));
                        match n % 3 {
                            0 => engine.put(key(), n.to_be_bytes()).map(drop).unwrap(),
                            1 => engine.delete(key()).map(drop).unwrap(),
                            _ => {
                                let mut batch = Batch::new();
                                batch.put(key(), "one").delete(key()).put(key(), "two").put(key(), n.to_be_bytes());
                                engine.write(batch).unwrap();
                            }
                        }
                    }
                });
            }
            let readers: Vec<_> = (0..2)
                .map(|reader| {
                    let engine = &engine;
                    scope.spawn(move || {
                        let (mut seen, mut kept) = (Vec::new(), Vec::new());
                        for n in 0..60 {
                            let view = engine.view();
                            if n % 3 == reader {
                                kept.push(view);
                            } else {
                                seen.push((view.seq(), view.len(), view.digest().unwrap()));
                            }
                        }
                        seen.extend(kept.iter().map(|view| (view.seq(), view.len(), view.digest().unwrap())));
                        seen
                    })
                })
                .collect();
            readers.into_iter().flat_map(|reader| reader.join().unwrap()).collect()
        });
        engine.close().unwrap();
        let mut states = BTreeMap::new();
        replay::replay(&place.wal, &place.snapshot, None, |state| {
            states.insert(state.seq, (state.keys(), state.digest()));
        })
        .unwrap();
        assert!(seen.len() >= 100);
        for (seq, keys, digest) in seen.into_iter().filter(|(seq, ..)| *seq > 0) {
            assert_eq!(states[&seq], (keys, digest), "write {seq}");
        }
    }
}

/// While checkpoints replace the snapshot, views of the layers before stay as they are.
#[test]
fn views_of_values_in_the_snapshot_outlive_checkpoints() {
    let place = Place::new();
    let engine = place.options().batch_size(100).values_in_snapshot(0).open().unwrap();
    let (mut views, mut random) = (Vec::new(), Random(5));
    for n in 0..30_u64 {
        for _ in 0..50 {
            let key = format!("{:03}", random.below(300));
            if random.below(3) == 0 {
                engine.delete(key).map(drop).unwrap()
            } else {
                engine.put(key, n.to_be_bytes()).map(drop).unwrap()
            }
        }
        views.push((engine.view(), contents(&engine)));
        if n % 4 == 3 {
            engine.snapshot().unwrap();
        }
        if n % 5 == 4 {
            views.swap_remove(usize::try_from(random.below(views.len() as u64)).unwrap());
        }
    }
    for (view, right) in views {
        assert_eq!(view.len(), right.len());
        assert!(owned(view.scan("")).into_iter().eq(right));
    }
}

#[test]
fn a_copy_is_the_store_at_one_write_and_opens_as_a_store_of_its_own() {
    for on_disk in [false, true] {
        let (place, engine, model) = store(on_disk);
        let path = |name: &str| place.dir.path().join(name);
        let copied = engine.export_to(path("copy")).unwrap();
        assert_eq!((copied.seq, copied.entries, copied.digest), (engine.stats().appended, model.len() as u64, engine.digest()));
        assert_eq!(fs::metadata(path("copy")).unwrap().len(), copied.bytes);
        assert!(!place.has_scratch());
        // A later copy replaces it.
        engine.put("new", "value").unwrap();
        assert_eq!(engine.export_to(path("copy")).unwrap().seq, copied.seq + 1);
        let options = || Options::new(path("copy.wal"), path("copy"));
        let other = options().open().unwrap();
        assert_eq!((other.digest(), other.recovery().last_seq), (engine.digest(), copied.seq + 1));
        other.put("only", "here").unwrap();
        other.close().unwrap();
        drop(other);
        assert_eq!(options().open().unwrap().len(), model.len() + 2);
        // Now it is a store, so it is never replaced.
        let before = fs::read(path("copy")).unwrap();
        let refused = engine.export_to(path("copy")).unwrap_err().to_string();
        assert!(refused.contains("a store was opened under this name"), "{refused}");
        fs::remove_file(path("copy.lock")).unwrap();
        let refused = engine.export_to(path("copy")).unwrap_err().to_string();
        assert!(refused.contains("not a copy of this store"), "it has an id of its own: {refused}");
        assert_eq!(fs::read(path("copy")).unwrap(), before);
        engine.close().unwrap();
        assert_eq!(engine.export_to(path("last")).unwrap().digest, engine.digest(), "also after close");
    }
}

#[test]
fn a_copy_never_takes_the_name_of_another_file() {
    let place = Place::new();
    let engine = place.open();
    engine.put("x", "1").unwrap();
    let path = |name: &str| place.dir.path().join(name);
    let dir = place.dir.path().to_path_buf();
    let mut names = vec![place.wal.clone(), place.snapshot.clone(), dir.join(".").join("kv.snapshot")];
    names.extend(
        ["kv.wal.lock", "kv.snapshot.tmp", "kv.wal.damaged-1", "kv.snapshot.lock", "kv.wal.import-1", "kv.wal.17"].map(path),
    );
    fs::write(path("notes"), "mine").unwrap();
    fs::create_dir(path("dir")).unwrap();
    std::os::unix::fs::symlink(path("notes"), path("link")).unwrap();
    std::os::unix::fs::symlink(&dir, path("here")).unwrap();
    names.extend([path("notes"), path("dir"), path("link"), path("here").join("kv.snapshot"), path("here").join("kv.wal")]);
    let listed = || {
        let mut names: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort_unstable();
        names
    };
    let before = listed();
    for taken in [false, true] {
        if taken {
            engine.snapshot().unwrap();
        }
        for name in &names {
            let refused = engine.export_to(name);
            assert!(matches!(refused, Err(Error::Io { .. })), "{}: {refused:?}", name.display());
        }
    }
    assert_eq!(fs::read(path("notes")).unwrap(), b"mine");
    assert_eq!(listed().len(), before.len() + 1, "the snapshot was taken, nothing else");
    assert!(engine.export_to(path("nowhere").join("copy")).is_err());
    // A snapshot of another store.
    let other = Place::new();
    other.open().export_to(path("other")).unwrap();
    assert!(engine.export_to(path("other")).unwrap_err().to_string().contains("not a copy of this store"));
    assert!(engine.export_to(path("copy")).is_ok());
    assert_eq!(engine.get("x").unwrap().as_deref(), Some(&b"1"[..]));
}

/// The process dies before each change that a copy makes: the name shows no file or the old copy, and never a half one.
#[test]
fn a_crash_during_a_copy_leaves_no_half_file() {
    let place = Place::in_memory();
    let disk = FaultyDisk::default();
    let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
    (0..200_u32).for_each(|n| engine.put(n.to_be_bytes(), [7; 100]).map(drop).unwrap());
    let copy = place.dir.path().join("copy");
    let start = disk.changes().len();
    engine.export_to(&copy).unwrap();
    let steps = disk.changes().len() - start;
    assert!(steps >= 5, "{:?}", disk.changes());
    let old = fs::read(&copy).unwrap();
    engine.put("later", "value").unwrap();
    for step in 0..steps {
        for exists in [false, true] {
            if exists {
                fs::write(&copy, &old).unwrap()
            } else {
                drop(fs::remove_file(&copy))
            }
            disk.die_at(disk.changes().len() + step);
            assert!(engine.export_to(&copy).is_err(), "{step}");
            disk.revive();
            let found = fs::read(&copy).ok();
            let is_whole = |bytes: &Vec<u8>| {
                let other = Place::in_memory();
                fs::write(&other.snapshot, bytes).unwrap();
                other.open().len() == 201
            };
            assert!(found.as_ref() == exists.then_some(&old) || found.as_ref().is_some_and(is_whole), "{step}");
        }
    }
    disk.plan(Plan::fail(Call::Write, "copy", ENOSPC));
    let full = engine.export_to(&copy).unwrap_err().to_string();
    assert!(full.contains("nothing was exported"), "{full}");
    disk.heal();
    assert_eq!(engine.export_to(&copy).unwrap().entries, 201);
    engine.put("still", "writable").unwrap();
}

#[test]
fn a_copy_is_made_while_writers_go_on() {
    let place = Place::in_memory();
    let engine = place.options().batch_size(100).open().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let copy = place.dir.path().join("copy");
    std::thread::scope(|scope| {
        for writer in 0..2_u64 {
            let (engine, stop) = (&engine, &stop);
            scope.spawn(move || {
                // Both keys always have the same value, because they are written in one batch.
                for n in 0_u64.. {
                    let mut batch = Batch::new();
                    batch
                        .put(format!("{writer} a {}", n % 500), n.to_be_bytes())
                        .put(format!("{writer} b {}", n % 500), n.to_be_bytes());
                    engine.write(batch).unwrap();
                    if stop.load(std::sync::atomic::Ordering::Relaxed) {
                        return;
                    }
                }
            });
        }
        for _ in 0..5 {
            let copied = engine.export_to(&copy).unwrap();
            let other = Place::in_memory();
            fs::copy(&copy, &other.snapshot).unwrap();
            let found = contents(&other.open());
            assert_eq!(found.len() as u64, copied.entries);
            for (key, value) in &found {
                let text = String::from_utf8(key.clone()).unwrap();
                let twin = if text.contains(" a ") { text.replace(" a ", " b ") } else { text.replace(" b ", " a ") };
                assert_eq!(found.get(twin.as_bytes()), Some(value));
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_store_in_a_directory_is_created_with_it_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = dir.path().join("store");
    let engine = kv_engine::open(&store).unwrap();
    assert_eq!(engine.batch_size(), 1);
    engine.put("x", "100").unwrap();
    engine.snapshot().unwrap();
    engine.close().unwrap();
    drop(engine);
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&store), ["kv.snapshot", "kv.snapshot.lock", "kv.wal", "kv.wal.lock"]);
    assert_eq!(kv_engine::open(&store).unwrap().len(), 1);
    let by_paths = Options::new(store.join("kv.wal"), store.join("kv.snapshot")).flush_interval(Duration::ZERO);
    assert_eq!(by_paths.open().unwrap().len(), 1);
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(&store).unwrap().permissions().mode() & 0o777, 0o700);
    // Only the last directory is created, and a file is not taken for one.
    let deep = kv_engine::open(dir.path().join("a").join("b")).unwrap_err().to_string();
    assert!(deep.contains("creating") && !dir.path().join("a").exists(), "{deep}");
    assert!(kv_engine::open(store.join("kv.wal")).is_err());
    // A limit is checked before anything is made.
    assert!(Options::in_dir(dir.path().join("c")).batch_size(0).open().is_err() && !dir.path().join("c").exists());
}

//! Values that stay in the snapshot: the store behaves as with all values in memory. Damage in the snapshot is an error
//! where it is met, never a wrong value.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Batch, Engine, Error, LogTail, Options, inspect};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use support::{Call, EIO, FaultyDisk, Place, Plan, Random, contents, kill};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn on_disk(place: &Place) -> Options {
    place.options().values_in_snapshot(100_000)
}

impl Random {
    fn key(&mut self) -> Vec<u8> {
        let long = usize::try_from(self.below(50)).unwrap();
        let mut key = format!("{:03}", self.below(400)).into_bytes();
        key.resize(if key[2] == b'7' { 700 } else { 3 + long % 3 }, b'x');
        key
    }

    fn value(&mut self) -> Vec<u8> {
        let len = if self.below(30) == 0 { self.below(9000) } else { self.below(60) };
        vec![self.below(256) as u8; usize::try_from(len).unwrap()]
    }
}

fn check(engine: &Engine, model: &Model, random: &mut Random) {
    assert_eq!(engine.count().unwrap(), model.len() as u64);
    assert!(engine.stats().keys >= model.len() as u64);
    assert_eq!(contents(engine), *model);
    for _ in 0..50 {
        let key = random.key();
        assert_eq!(engine.get(&key).unwrap().as_deref(), model.get(&key).map(Vec::as_slice));
        let prefix = &key[..2];
        let listed: Vec<Vec<u8>> = engine.keys(prefix).map(Result::unwrap).collect();
        assert!(listed.iter().eq(model.keys().filter(|key| key.starts_with(prefix))));
    }
}

fn step(engine: &Engine, model: &mut Model, random: &mut Random) {
    let key = random.key();
    match random.below(10) {
        0..3 => assert_eq!(engine.delete(&key).unwrap().is_some(), model.remove(&key).is_some()),
        3 => {
            let mut batch = Batch::new();
            for _ in 0..random.below(20) {
                let (key, value) = (random.key(), random.value());
                if random.below(3) == 0 {
                    batch.delete(&key);
                    model.remove(&key);
                } else {
                    batch.put(&key, &value);
                    model.insert(key, value);
                }
            }
            engine.write(batch).unwrap();
        }
        _ => {
            let value = random.value();
            engine.put(&key, &value).unwrap();
            model.insert(key, value);
        }
    }
}

#[test]
fn a_store_with_values_on_disk_is_the_same_store() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..6 {
        let place = Place::new();
        let mut model = Model::new();
        for session in 0..12 {
            // Every fourth session has all values in memory. It writes a snapshot without an index, and the next
            // session adds one.
            let in_memory = session % 4 == 3;
            let disk = FaultyDisk::default();
            let options = if in_memory { place.options() } else { on_disk(&place) };
            let engine = options.disk(Arc::new(disk.clone())).open().unwrap();
            check(&engine, &model, &mut random);
            for _ in 0..random.below(300) {
                step(&engine, &mut model, &mut random);
                if random.below(100) == 0 {
                    let taken = engine.snapshot().unwrap();
                    assert_eq!((taken.keys, taken.digest), (model.len() as u64, engine.digest()));
                    assert_eq!(engine.stats().keys, model.len() as u64, "writes that the snapshot holds are no longer in memory");
                }
            }
            check(&engine, &model, &mut random);
            if random.below(2) == 0 {
                kill(engine, &disk);
            } else {
                engine.close().unwrap();
                assert_eq!(contents(&engine), model, "reads work after closing too");
            }
        }
        assert!(inspect::verify(&place.wal, &place.snapshot).is_sound());
    }
}

#[test]
fn checkpoints_go_on_while_others_write_and_read() {
    let place = Place::new();
    let engine = on_disk(&place).batch_size(50).checkpoint_log_bytes(20_000).open().unwrap();
    std::thread::scope(|scope| {
        for n in 0..4_u32 {
            let engine = &engine;
            scope.spawn(move || {
                // On a busy machine the checkpoint thread may run late.
                let enough = |round: u32| round >= 1500 && engine.stats().snapshots > 1;
                for round in (0..300_000_u32).take_while(|round| !enough(*round)) {
                    let key = [&n.to_be_bytes()[..], &(round % 100).to_be_bytes()].concat();
                    engine.put(&key, round.to_be_bytes()).unwrap();
                    assert_eq!(engine.get(&key).unwrap().as_deref(), Some(&round.to_be_bytes()[..]));
                    if round % 7 == 0 {
                        engine.delete(&key).unwrap();
                        assert_eq!(engine.get(&key).unwrap(), None);
                        engine.put(&key, round.to_be_bytes()).unwrap();
                    }
                    if round >= 100 {
                        let before = [&n.to_be_bytes()[..], &((round + 50) % 100).to_be_bytes()].concat();
                        assert_eq!(engine.get(&before).unwrap().as_deref(), Some(&(round - 50).to_be_bytes()[..]));
                    }
                }
            });
        }
    });
    assert!(engine.stats().snapshots > 1, "{:?}", engine.stats());
    assert_eq!(engine.count().unwrap(), 400);
    engine.close().unwrap();
    assert_eq!(contents(&on_disk(&place).open().unwrap()), contents(&engine));
}

/// A closed store with this many entries, all of them in the snapshot.
fn filled(place: &Place, count: u32) -> Model {
    let engine = on_disk(place).batch_size(1000).open().unwrap();
    let mut model = Model::new();
    for n in 0..count {
        let (key, value) = (format!("{n:06}"), format!("value {n}").repeat(5));
        engine.put(&key, &value).unwrap();
        model.insert(key.into(), value.into());
    }
    engine.snapshot().unwrap();
    engine.close().unwrap();
    model
}

#[test]
fn opening_reads_only_the_root_and_a_lookup_one_block_of_each_level() {
    let place = Place::new();
    let model = filled(&place, 20_000);
    let disk = FaultyDisk::default();
    let engine = on_disk(&place).disk(Arc::new(disk.clone())).open().unwrap();
    let opened = disk.bytes_read(".snapshot");
    let length = fs::metadata(&place.snapshot).unwrap().len();
    assert!(opened < 10_000 && length > 1_000_000, "{opened} of {length} bytes");
    let (key, value) = model.iter().nth(12_345).unwrap();
    assert_eq!(engine.get(key).unwrap().as_deref(), Some(&value[..]));
    assert!(disk.bytes_read(".snapshot") < opened + 20_000);
    assert_eq!((engine.recovery().keys, engine.count().unwrap()), (20_000, 20_000));
}

#[test]
fn a_damaged_block_is_an_error_where_it_is_met_and_the_rest_is_served_and_written() {
    let place = Place::new();
    let model = filled(&place, 3000);
    let mut bytes = fs::read(&place.snapshot).unwrap();
    let half = bytes.len() / 2;
    bytes[half] ^= 4;
    fs::write(&place.snapshot, &bytes).unwrap();
    assert!(matches!(place.options().open(), Err(Error::Damaged { .. })), "with all values in memory it is refused");
    let engine = on_disk(&place).open().unwrap();
    let mut damaged = Vec::new();
    for (key, value) in &model {
        match engine.get(key) {
            Ok(found) => assert_eq!(found.as_deref(), Some(&value[..])),
            Err(Error::Damaged { path, offset, reason }) => {
                assert!(path == place.snapshot && offset <= half as u64 && half as u64 - offset < 5000, "{offset}");
                assert!(reason.contains("kv_cli verify") && reason.contains("cannot be read"), "{reason}");
                damaged.push(key.clone());
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!((10..200).contains(&damaged.len()), "{}", damaged.len());
    // Many gets give the right values before the block, then an error, and nothing behind it.
    let keys: Vec<&Vec<u8>> = model.keys().collect();
    let mut seen = Vec::new();
    let error = engine.get_many(&keys, |at, value| seen.push((at, value.map(<[u8]>::to_vec)))).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }));
    let before = model.iter().take_while(|(key, _)| **key != damaged[0]).map(|(_, value)| Some(value.clone()));
    assert!(seen.into_iter().eq(before.enumerate()));
    // A scan returns the right entries before the block, then an error, and then it ends.
    let scanned: Vec<_> = engine.scan("").collect();
    let (last, before) = scanned.split_last().unwrap();
    assert!(matches!(last, Err(Error::Damaged { .. })));
    assert!(
        before.iter().zip(&model).all(|(found, entry)| found.as_ref().is_ok_and(|(key, value)| (key, &value.to_vec()) == entry))
    );
    // A delete must know whether the key exists.
    assert!(matches!(engine.delete(&damaged[0]), Err(Error::Damaged { .. })));
    engine.put(&damaged[0], "new").unwrap();
    assert_eq!(engine.get(&damaged[0]).unwrap().as_deref(), Some(&b"new"[..]));
    assert!(engine.delete(&damaged[0]).unwrap().is_some());
    // While entries cannot be read, no snapshot is taken, and the damaged one is not replaced.
    assert!(matches!(engine.snapshot(), Err(Error::Damaged { .. })));
    assert_eq!(fs::read(&place.snapshot).unwrap(), bytes);
    assert_eq!(engine.get(&damaged[0]).unwrap(), None);
    assert!(engine.get(model.keys().next().unwrap()).unwrap().is_some());
    engine.close().unwrap();
    let engine = on_disk(&place).open().unwrap();
    assert_eq!((engine.recovery().tail.clone(), engine.get(&damaged[0]).unwrap()), (LogTail::Clean, None));
    assert!(!inspect::verify(&place.wal, &place.snapshot).is_sound());
}

#[test]
fn a_read_error_is_an_error_and_not_a_missing_key() {
    let place = Place::new();
    let model = filled(&place, 3000);
    let disk = FaultyDisk::default();
    let engine = place.options().values_in_snapshot(0).disk(Arc::new(disk.clone())).open().unwrap();
    disk.plan(Plan::fail(Call::Read, ".snapshot", EIO));
    let key = model.keys().next().unwrap();
    assert!(matches!(engine.get(key), Err(Error::Io { .. })));
    assert!(matches!(engine.count(), Ok(3000)), "nothing was written since");
    engine.put("new", "value").unwrap();
    assert!(matches!(engine.count(), Err(Error::Io { .. })));
}

/// A checkpoint that fails leaves its frozen writes where readers find them. The next checkpoint holds them too.
#[test]
fn a_checkpoint_that_fails_takes_nothing_away() {
    let place = Place::new();
    let mut model = filled(&place, 500);
    for call in [Call::Create, Call::Write, Call::Sync, Call::Rename] {
        let disk = FaultyDisk::default();
        let engine = on_disk(&place).disk(Arc::new(disk.clone())).open().unwrap();
        let mut random = Random(7);
        for _ in 0..3 {
            for _ in 0..50 {
                step(&engine, &mut model, &mut random);
            }
            let name = if call == Call::Create { ".snapshot.tmp" } else { ".snapshot" };
            disk.plan(Plan::fail(call, name, EIO).times(1));
            engine.snapshot().unwrap_err();
            check(&engine, &model, &mut random);
        }
        engine.snapshot().unwrap();
        check(&engine, &model, &mut random);
        step(&engine, &mut model, &mut random);
        engine.close().unwrap();
    }
}

/// If the log is missing, the snapshot is saved again with a new store id.
#[test]
fn a_snapshot_without_its_log_begins_a_new_store() {
    let place = Place::new();
    let model = filled(&place, 500);
    fs::remove_file(&place.wal).unwrap();
    fs::remove_file(Path::new(&place.beside(".lock"))).unwrap();
    let engine = on_disk(&place).open().unwrap();
    assert!(engine.recovery().log_missing);
    assert_eq!(contents(&engine), model);
}

#[test]
fn the_longest_value_is_kept_and_deleted() {
    let place = Place::new();
    let value = vec![7; kv_engine::MAX_VALUE_BYTES];
    let engine = on_disk(&place).checkpoint_log_bytes(0).open().unwrap();
    engine.put("long", &value).unwrap();
    engine.close().unwrap();
    let engine = on_disk(&place).checkpoint_log_bytes(0).open().unwrap();
    assert!(*engine.get("long").unwrap().unwrap() == *value);
    engine.snapshot().unwrap();
    assert!(*engine.get("long").unwrap().unwrap() == *value);
    assert!(engine.delete("long").unwrap().is_some());
    assert_eq!((engine.get("long").unwrap(), engine.count().unwrap()), (None, 0));
}

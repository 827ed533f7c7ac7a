//! The process dies before each single change to the disk, in a session with changes of all kinds. Reopening always
//! finds a prefix with every promised write. Losses that only a power cut can cause are excluded by the order of the
//! steps.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Batch, Engine, Error, LogTail};
use std::collections::BTreeMap;
use std::sync::Arc;
use support::{Call, FaultyDisk, Place, contents};

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// The model: the state after each write, and the number of writes that were promised durable.
struct Model {
    states: Vec<Contents>,
    promised: usize,
}

impl Model {
    fn write(&mut self, ops: &[(&str, Option<&str>)]) {
        let mut state = self.states.last().unwrap().clone();
        for (key, value) in ops {
            match value {
                Some(value) => drop(state.insert(key.as_bytes().to_vec(), value.as_bytes().to_vec())),
                None => drop(state.remove(key.as_bytes())),
            }
        }
        self.states.push(state);
    }
}

/// One session: puts, a delete, a batch, flushes, two snapshots, a clean close. It ends at the first error, as a
/// process that dies. `model` gets the writes that are issued and the promises.
fn run_session(engine: &Engine, model: &mut Model, round: usize) -> Result<(), Error> {
    let promised = |model: &mut Model| model.promised = model.states.len() - 1;
    let value = format!("round {round}");
    for key in ["a", "b", "c"] {
        model.write(&[(key, Some(&value))]);
        if engine.put(key, &value)?.durable {
            promised(model);
        }
    }
    engine.flush()?;
    promised(model);
    model.write(&[("b", None)]);
    engine.delete("b")?;
    engine.snapshot()?;
    promised(model);
    model.write(&[("d", Some("")), ("a", None), ("e", Some("batch"))]);
    let mut batch = Batch::new();
    batch.put("d", "").delete("a").put("e", "batch");
    engine.write(batch)?;
    model.write(&[("f", Some(&value))]);
    engine.put("f", &value)?;
    engine.set_batch_size(2)?;
    engine.snapshot()?;
    promised(model);
    model.write(&[("g", Some(&value))]);
    engine.put("g", &value)?;
    engine.close()?;
    promised(model);
    Ok(())
}

#[test]
fn dying_before_any_change_to_the_disk_leaves_a_prefix_with_everything_promised() {
    let mut deaths = 0;
    for first in 0.. {
        let place = Place::in_memory();
        let mut model = Model { states: vec![Contents::new()], promised: 0 };
        let disk = FaultyDisk::default();
        disk.die_at(first);
        let opened = place.options().batch_size(4).disk(Arc::new(disk.clone())).open();
        let lived = opened.and_then(|engine| run_session(&engine, &mut model, 1));
        if !disk.is_dead() {
            lived.unwrap();
            break;
        }
        deaths += 1;
        // The second session dies at one of its own changes: during recovery or later.
        for second in 0.. {
            let copy = Place::in_memory();
            for entry in std::fs::read_dir(place.dir.path()).unwrap() {
                let path = entry.unwrap().path();
                std::fs::copy(&path, copy.dir.path().join(path.file_name().unwrap())).unwrap();
            }
            let mut model = Model { states: model.states.clone(), promised: model.promised };
            let disk = FaultyDisk::default();
            disk.die_at(second);
            if let Ok(engine) = copy.options().batch_size(4).disk(Arc::new(disk.clone())).open() {
                let k = engine.recovery().last_seq as usize;
                assert!(model.promised <= k && k < model.states.len(), "died at {first}: {} promised, {k} back", model.promised);
                assert_eq!(contents(&engine), model.states[k], "died at {first}");
                assert!(!matches!(engine.recovery().tail, LogTail::Damaged(_)), "died at {first}: a crash is not damage");
                model.states.truncate(k + 1);
                model.promised = k;
                let _ = run_session(&engine, &mut model, 2);
            }
            let done = !disk.is_dead();
            let engine = copy.open();
            let k = engine.recovery().last_seq as usize;
            assert!(model.promised <= k && k < model.states.len(), "died at {first}, {second}");
            assert_eq!(contents(&engine), model.states[k], "died at {first}, {second}");
            engine.put("goes", "on").unwrap();
            if done {
                break;
            }
        }
    }
    assert!(deaths > 30, "{deaths} places to die at");
}

#[test]
fn the_log_is_replaced_only_after_the_snapshot_is_durable_under_its_name() {
    let (place, disk) = (Place::in_memory(), FaultyDisk::default());
    let engine = place.options().batch_size(100).disk(Arc::new(disk.clone())).open().unwrap();
    engine.put("x", "1").unwrap();
    let before = disk.changes().len();
    engine.snapshot().unwrap();
    let steps: Vec<(Call, String)> = disk.changes()[before..].to_vec();
    let steps: Vec<(Call, &str)> = steps.iter().map(|(call, name)| (*call, name.as_str())).collect();
    assert_eq!(
        steps,
        [
            (Call::Write, "kv.wal"), // the pending write,
            (Call::Sync, "kv.wal"),  // durable before the snapshot holds it
            (Call::Create, "kv.snapshot.tmp"),
            (Call::Write, "kv.snapshot"), // the header and the few entries
            (Call::Sync, "kv.snapshot"),
            (Call::Rename, "kv.snapshot"),
            (Call::SyncDir, "kv.snapshot"),
            (Call::Create, "kv.wal.tmp"), // only now the new log
            (Call::Write, "kv.wal"),      // later writes, of which there are none here
            (Call::Sync, "kv.wal"),       // durable before writers wait, and before the log gets its name
            (Call::Rename, "kv.wal"),
            (Call::SyncDir, "kv.wal"),
        ]
    );
}

#[test]
fn opening_syncs_before_it_reads_and_a_truncation_is_synced_before_any_write() {
    let (place, disk) = (Place::in_memory(), FaultyDisk::default());
    place.open().put("x", "1").unwrap();
    let whole = std::fs::read(&place.wal).unwrap();
    std::fs::write(&place.wal, &whole[..whole.len() - 1]).unwrap();
    let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
    engine.put("y", "2").unwrap();
    let calls: Vec<Call> = disk.changes().into_iter().filter(|(_, name)| name == "kv.wal").map(|(call, _)| call).collect();
    let opening = [Call::Sync, Call::SyncDir, Call::SetLen, Call::Sync];
    let (head, mark, put) = ([Call::Write, Call::Sync], [Call::Write, Call::Sync], [Call::Write, Call::Sync]);
    assert_eq!(calls, [&opening[..], &head, &mark, &put].concat());
}

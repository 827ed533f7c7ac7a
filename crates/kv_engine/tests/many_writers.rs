//! Sixty-four threads write to one store when its disk fails or fills. Each thread gets an error, and none hangs.
//! Afterwards the store holds every acknowledged write, and besides these only writes in doubt.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Engine, Error};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use support::{Call, EIO, ENOSPC, FaultyDisk, Place, Plan, kill};

const WRITERS: usize = 64;

fn key(writer: usize, n: usize) -> String {
    format!("{writer} {n}")
}

fn keys(engine: &Engine) -> BTreeSet<String> {
    engine.keys("").map(|key| String::from_utf8(key.unwrap().to_vec()).unwrap()).collect()
}

/// Every writer puts its keys until it gets an error. Returns how far each one came, and its error. Keys whose put was
/// durable go to `durable`.
fn write_until_error(engine: &Engine, durable: &Mutex<BTreeSet<String>>) -> Vec<(usize, Error)> {
    let until_error = |writer| {
        (0..).find_map(|n| match engine.put(key(writer, n), "v") {
            Ok(ack) => {
                if ack.durable {
                    durable.lock().unwrap().insert(key(writer, n));
                }
                None
            }
            Err(error) => Some((n, error)),
        })
    };
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS).map(|writer| scope.spawn(move || until_error(writer))).collect();
        writers.into_iter().map(|writer| writer.join().unwrap().unwrap()).collect()
    })
}

#[test]
fn every_writer_gets_the_error_of_a_failed_sync() {
    for batch_size in [1, 5, 100] {
        let (place, disk, durable) = (Place::new(), FaultyDisk::default(), Mutex::default());
        let engine = place.options().disk(Arc::new(disk.clone())).batch_size(batch_size).open().unwrap();
        disk.plan(Plan::fail(Call::Sync, ".wal", EIO).after(9));
        let ends = write_until_error(&engine, &durable);
        assert!(ends.iter().all(|(_, error)| matches!(error, Error::Poisoned { .. })), "{ends:?}");
        assert!(matches!(engine.flush(), Err(Error::Poisoned { .. })));
        kill(engine, &disk);
        disk.revive();
        let (kept, durable) = (keys(&place.open()), durable.into_inner().unwrap());
        assert!(!durable.is_empty() && durable.is_subset(&kept), "{:?}", durable.difference(&kept));
    }
}

#[test]
fn every_writer_gets_the_error_of_a_full_disk_and_goes_on_when_there_is_room() {
    for batch_size in [1, 5, 100] {
        let (place, disk, durable) = (Place::new(), FaultyDisk::default(), Mutex::default());
        let engine = place.options().disk(Arc::new(disk.clone())).batch_size(batch_size).open().unwrap();
        disk.plan(Plan::fail(Call::Write, ".wal", ENOSPC).after(5).short(7));
        let ends = write_until_error(&engine, &durable);
        assert!(ends.iter().all(|(_, error)| matches!(error, Error::NoSpace { .. })), "{ends:?}");
        let accepted: BTreeSet<_> =
            ends.iter().enumerate().flat_map(|(writer, (n, _))| (0..*n).map(move |n| key(writer, n))).collect();
        assert_eq!(keys(&engine), accepted, "refused writes are not there");
        disk.heal();
        std::thread::scope(|scope| {
            for (writer, (told, _)) in ends.iter().enumerate() {
                let engine = &engine;
                scope.spawn(move || (*told..told + 10).all(|n| engine.put(key(writer, n), "v").is_ok()));
            }
        });
        engine.flush().unwrap();
        // Refused writes took no sequence number.
        let writes = accepted.len() + 10 * WRITERS;
        assert_eq!((engine.len(), engine.stats().durable), (writes, writes as u64));
        kill(engine, &disk);
        disk.revive();
        assert_eq!(place.open().len(), writes);
    }
}

//! Golden files of each format version. Today's program must open them, and must write the same bytes. The log has
//! version 1. A snapshot has version 2 if values stay in it, otherwise version 1.
//!
//! `KV_BLESS=1 cargo test -p kv_engine --test golden` writes them again. That is a change of the format.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Batch, Engine, LogTail, Options, inspect};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::{FaultyDisk, Place};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

/// Writes a store with a snapshot, and a log with records of every kind behind it.
fn write_store(options: Options) {
    let disk = FaultyDisk::with_known_entropy(0x0123_4567_89ab_cdef);
    let engine = options.disk(Arc::new(disk.clone())).open().unwrap();
    engine.put("x", "100").unwrap();
    engine.put("empty", "").unwrap();
    engine.put(b"\0\xff binary", b"\n\r\t\0").unwrap();
    engine.put("gone", "before the snapshot").unwrap();
    engine.delete("gone").unwrap();
    engine.snapshot().unwrap();
    engine.put("name", "Ada Lovelace").unwrap();
    engine.delete("empty").unwrap();
    let mut batch = Batch::new();
    batch.put("a", "1").put("b", "2").delete("x");
    engine.write(batch).unwrap();
    engine.close().unwrap();
}

fn check(engine: &Engine) {
    let contents: Vec<(Vec<u8>, Vec<u8>)> =
        engine.scan("").map(|entry| entry.unwrap()).map(|(key, value)| (key, value.to_vec())).collect();
    let expected: [(&[u8], &[u8]); 4] = [(b"\0\xff binary", b"\n\r\t\0"), (b"a", b"1"), (b"b", b"2"), (b"name", b"Ada Lovelace")];
    assert_eq!(contents.len(), expected.len());
    assert!(contents.iter().zip(expected).all(|((k, v), (key, value))| k == key && v == value), "{contents:?}");
}

#[test]
fn the_bytes_of_both_files_are_those_of_version_1() {
    let place = Place::new();
    write_store(place.options());
    same_bytes(&[(&place.wal, "v1.wal"), (&place.snapshot, "v1.snapshot")]);
}

#[test]
fn the_bytes_of_a_snapshot_with_an_index_are_those_of_version_2() {
    let place = Place::new();
    write_store(place.options().values_in_snapshot(0));
    same_bytes(&[(&place.wal, "v1.wal"), (&place.snapshot, "v2.snapshot")]);
}

fn same_bytes(files: &[(&Path, &str)]) {
    for (path, name) in files {
        let bytes = fs::read(path).unwrap();
        if std::env::var_os("KV_BLESS").is_some() {
            fs::write(data(name), &bytes).unwrap();
        }
        assert_eq!(
            bytes,
            fs::read(data(name)).unwrap(),
            "{name}: old files must stay readable, so a new format needs a new version"
        );
    }
}

#[test]
fn files_of_every_version_open_with_all_in_memory_and_with_values_on_disk() {
    for snapshot in ["v1.snapshot", "v2.snapshot"] {
        for on_disk in [false, true] {
            let place = Place::new();
            fs::copy(data("v1.wal"), &place.wal).unwrap();
            fs::copy(data(snapshot), &place.snapshot).unwrap();
            assert!(inspect::verify(&place.wal, &place.snapshot).is_sound());
            let options = if on_disk { place.options().values_in_snapshot(0) } else { place.options() };
            let engine = options.open().unwrap();
            check(&engine);
            assert_eq!(engine.count().unwrap(), 4);
            let report = engine.recovery();
            assert_eq!((report.snapshot_seq, report.snapshot_keys, report.replayed, report.last_seq), (5, 3, 3, 8));
            assert!(report.closed_cleanly && report.tail == LogTail::Clean);
            // The first opening with values on disk adds an index to a snapshot without one.
            let expected = if on_disk { "v2.snapshot" } else { snapshot };
            assert_eq!(fs::read(&place.snapshot).unwrap(), fs::read(data(expected)).unwrap());
        }
    }
}

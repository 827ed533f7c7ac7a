//! Reading damaged files, with any byte wrong: `export::read` gives only states that the store had, and
//! `export::salvage` only entries that were written.
#![allow(clippy::unwrap_used, missing_docs)]

use kv_engine::export::{self, SalvageReport};
use kv_engine::inspect::{self, Entry};
use kv_engine::{Batch, Digest, Digester, Engine, Options};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

struct Files {
    _dir: tempfile::TempDir,
    log: PathBuf,
    snapshot: PathBuf,
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

impl Files {
    fn new() -> Files {
        let dir = tempfile::tempdir().unwrap();
        Files { log: dir.path().join("log"), snapshot: dir.path().join("snap"), _dir: dir }
    }

    fn open(&self) -> Engine {
        Options::new(&self.log, &self.snapshot).open().unwrap()
    }

    fn read(&self) -> kv_engine::Result<Digest> {
        let mut digester = Digester::default();
        let export = export::read(&self.log, &self.snapshot)?;
        export.each(|key, value| {
            digester.add(key, value);
            ControlFlow::Continue(())
        })?;
        Ok(digester.digest())
    }

    fn salvage(&self) -> (Entries, SalvageReport) {
        let mut entries = Entries::new();
        let salvaged = export::salvage(&self.log, &self.snapshot).each(|key, value| {
            assert!(entries.last_key_value().is_none_or(|(last, _)| **last < *key), "in key order");
            entries.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        });
        assert_eq!(salvaged.entries, entries.len() as u64);
        (entries, salvaged)
    }

    /// The place of the record of each write.
    fn records(&self) -> BTreeMap<u64, std::ops::Range<usize>> {
        let mut records = BTreeMap::new();
        inspect::log(&self.log, 0, |entry| {
            if let Entry::Record(record) = entry
                && matches!(record.content, inspect::Content::Write(_))
            {
                let at = record.offset as usize;
                records.insert(record.seq, at..at + record.bytes as usize);
            }
            ControlFlow::Continue(())
        })
        .unwrap();
        records
    }
}

/// Each byte of both files is changed, and each file is truncated there. The result is an earlier state or an error,
/// entries that were written, and no panic.
#[test]
fn with_any_byte_wrong_no_entry_is_invented() {
    let files = Files::new();
    let engine = files.open();
    let (mut states, mut written) = (Vec::new(), BTreeSet::new());
    let mut note = |engine: &Engine| {
        written.extend(engine.scan("").map(|entry| entry.unwrap()).map(|(key, value)| (key, value.to_vec())));
        states.push(engine.digest());
    };
    note(&engine);
    for n in 0..6 {
        engine.put(format!("key{}", n % 4), format!("value{n}")).unwrap();
        note(&engine);
    }
    engine.snapshot().unwrap();
    let mut batch = Batch::new();
    batch.put("key9", [0xff, 0]).put("key0", "").delete("key2");
    engine.write(batch).unwrap();
    note(&engine);
    engine.put("key2", "back").unwrap();
    note(&engine);
    engine.delete("key1").unwrap();
    note(&engine);
    engine.close().unwrap();
    let last = *states.last().unwrap();
    assert_eq!(files.read().unwrap(), last);
    let (whole, salvaged) = files.salvage();
    assert!(salvaged.notes.is_empty() && (salvaged.writes, salvaged.lost_writes, salvaged.lost_entries) == (3, 0, Some(0)));

    let mut found_all = 0;
    for path in [&files.log, &files.snapshot] {
        let good = fs::read(path).unwrap();
        let flipped = (0..good.len()).map(|at| {
            let mut bytes = good.clone();
            bytes[at] ^= 0x10;
            bytes
        });
        for (at, bytes) in flipped.chain((0..good.len()).map(|len| good[..len].to_vec())).enumerate() {
            fs::write(path, &bytes).unwrap();
            if let Ok(digest) = files.read() {
                assert!(states.contains(&digest), "{} {at}", path.display());
                assert!(path == &files.log, "no byte of a snapshot may be wrong: {at}");
            }
            let (entries, salvaged) = files.salvage();
            assert!(entries.iter().all(|(key, value)| written.contains(&(key.clone(), value.clone()))), "{at} {entries:?}");
            // Without a note the result must be a state of the store, as with a log that was truncated between two
            // records.
            let is_state = path == &files.log && bytes.len() < good.len();
            assert!(!salvaged.notes.is_empty() || entries == whole || is_state, "{} {at}", path.display());
            found_all += usize::from(entries == whole);
        }
        fs::write(path, good).unwrap();
    }
    assert!(found_all > 100, "damage in a header hides nothing: {found_all}");
}

#[test]
fn an_entry_of_the_snapshot_wins_over_an_older_operation_of_the_log() {
    let files = Files::new();
    let engine = files.open();
    engine.put("a", "old").unwrap();
    engine.put("a", "new").unwrap();
    (0..500).try_for_each(|n| engine.put(format!("key{n}"), [b'v'; 50]).map(drop)).unwrap();
    engine.close().unwrap();
    let (mut log, records) = (fs::read(&files.log).unwrap(), files.records());
    let engine = files.open();
    engine.snapshot().unwrap();
    engine.close().unwrap();
    log[records[&2].end - 1] ^= 1;
    fs::write(&files.log, log).unwrap();
    let mut snapshot = fs::read(&files.snapshot).unwrap();
    let middle = snapshot.len() / 2;
    snapshot[middle] ^= 1;
    fs::write(&files.snapshot, snapshot).unwrap();
    let (entries, salvaged) = files.salvage();
    assert_eq!((entries.len(), &*entries[&b"a"[..]]), (501, &b"new"[..]), "{salvaged:?}");
    assert_eq!(salvaged.lost_writes, 1);
    assert!(salvaged.lost_entries.is_some_and(|lost| lost > 0), "{salvaged:?}");
}

#[test]
fn a_record_of_an_earlier_session_is_not_taken_for_a_later_one() {
    let files = Files::new();
    let engine = files.open();
    engine.put("a", "1").unwrap();
    engine.put("b", "old").unwrap();
    engine.close().unwrap();
    let (log, records) = (fs::read(&files.log).unwrap(), files.records());
    fs::write(&files.log, &log[..records[&1].end]).unwrap();
    let engine = files.open();
    engine.put("b", "new").unwrap();
    engine.close().unwrap();
    let now = fs::read(&files.log).unwrap();
    fs::write(&files.log, [&now[..], b"torn", &log[records[&2].clone()]].concat()).unwrap();
    let (entries, salvaged) = files.salvage();
    assert_eq!(entries, Entries::from([(b"a".to_vec(), b"1".to_vec()), (b"b".to_vec(), b"new".to_vec())]));
    assert!(salvaged.notes.iter().any(|note| note.contains("is from an earlier session (write 2)")), "{salvaged:?}");
    assert_eq!((salvaged.writes, salvaged.lost_writes), (2, 0));
}

#[test]
fn a_caller_that_stops_gets_no_more_entries() {
    let files = Files::new();
    let engine = files.open();
    (0..10).try_for_each(|n| engine.put(format!("key{n}"), "v").map(drop)).unwrap();
    engine.snapshot().unwrap();
    (5..15).try_for_each(|n| engine.put(format!("key{n}"), "w").map(drop)).unwrap();
    for most in 1..15 {
        let mut count = 0;
        let each = |_: &[u8], _: &[u8]| {
            count += 1;
            if count == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        export::read(&files.log, &files.snapshot).unwrap().each(each).unwrap();
        assert_eq!(count, most);
    }
}

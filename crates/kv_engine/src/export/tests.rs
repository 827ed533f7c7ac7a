//! Unreadable blocks, lost headers, and logs that change during an export.

use super::salvage::salvage_from;
use super::{Export, SalvageReport, read};
use crate::disk::{Disk, File, Lock, OsDisk};
use crate::error::Result;
use crate::{Engine, Options};
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::ops::{ControlFlow, Range};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

const BLOCK: u64 = 4096;

/// A disk on which some blocks of one file cannot be read. A read that touches one of them fails.
#[derive(Debug)]
struct BadBlocks {
    path: PathBuf,
    blocks: Vec<u64>,
}

#[derive(Debug)]
struct BadFile(Arc<dyn File>, Vec<Range<u64>>);

impl File for BadFile {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let end = offset + out.len() as u64;
        match self.1.iter().any(|bad| bad.start < end && offset < bad.end) {
            true => Err(io::Error::from_raw_os_error(5)),
            false => self.0.read_at(offset, out),
        }
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
        unreachable!("salvage changes nothing")
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("salvage changes nothing")
    }
    fn sync(&self) -> io::Result<()> {
        unreachable!("salvage changes nothing")
    }
    fn drop_cache(&self) {}
}

impl Disk for BadBlocks {
    fn open(&self, _: &Path) -> io::Result<Option<Arc<dyn File>>> {
        unreachable!("salvage changes nothing")
    }
    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        let bad = if path == self.path { &self.blocks[..] } else { &[] };
        let bad = bad.iter().map(|block| block * BLOCK..(block + 1) * BLOCK).collect();
        Ok(OsDisk.open_read(path)?.map(|file| Arc::new(BadFile(file, bad)) as Arc<dyn File>))
    }
    fn create_new(&self, _: &Path) -> io::Result<Arc<dyn File>> {
        unreachable!("salvage changes nothing")
    }
    fn rename(&self, _: &Path, _: &Path) -> io::Result<()> {
        unreachable!("salvage changes nothing")
    }
    fn remove(&self, _: &Path) -> io::Result<()> {
        unreachable!("salvage changes nothing")
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("salvage changes nothing")
    }
    fn lock(&self, _: &Path) -> io::Result<Box<dyn Lock>> {
        unreachable!("salvage changes nothing")
    }
    fn now(&self) -> Duration {
        OsDisk.now()
    }
    fn entropy(&self) -> u64 {
        OsDisk.entropy()
    }
}

type Entries = BTreeMap<Vec<u8>, Vec<u8>>;

struct Files {
    _dir: tempfile::TempDir,
    log: PathBuf,
    snapshot: PathBuf,
}

/// A value that is too long for the index of the log in memory.
fn value(n: u32) -> Vec<u8> {
    format!("{n:0100}").into_bytes()
}

impl Files {
    /// A store with the keys `0000`, `0001`, …; on request all of them in a snapshot.
    fn filled(entries: u32, snapshot: bool) -> Files {
        let dir = tempfile::tempdir().unwrap();
        let files = Files { log: dir.path().join("log"), snapshot: dir.path().join("snap"), _dir: dir };
        let engine = files.open();
        (0..entries).try_for_each(|n| engine.put(format!("{n:04}"), value(n)).map(drop)).unwrap();
        if snapshot {
            engine.snapshot().unwrap();
        }
        engine.close().unwrap();
        files
    }

    fn open(&self) -> Engine {
        Options::new(&self.log, &self.snapshot).batch_size(100).open().unwrap()
    }

    fn read(&self) -> Export {
        read(&self.log, &self.snapshot).unwrap()
    }

    fn salvage(&self, disk: &dyn Disk) -> (Entries, SalvageReport) {
        let mut entries = Entries::new();
        let salvaged = salvage_from(disk, &self.log, &self.snapshot).each(|key, value| {
            entries.insert(key.to_vec(), value.to_vec());
            ControlFlow::Continue(())
        });
        (entries, salvaged)
    }
}

fn collect(export: Export) -> Result<Entries> {
    let mut entries = Entries::new();
    export.each(|key, value| {
        entries.insert(key.to_vec(), value.to_vec());
        ControlFlow::Continue(())
    })?;
    Ok(entries)
}

#[test]
fn entries_after_an_unreadable_block_are_salvaged() {
    for (with_snapshot, blocks) in [(false, [5, 9]), (false, [0, 2]), (true, [5, 9]), (true, [0, 2])] {
        let files = Files::filled(1000, with_snapshot);
        let path = if with_snapshot { &files.snapshot } else { &files.log };
        let disk = BadBlocks { path: path.clone(), blocks: blocks.to_vec() };
        let (entries, salvaged) = files.salvage(&disk);
        assert!(entries.iter().all(|(key, found)| *found == value(str::from_utf8(key).unwrap().parse().unwrap())));
        // A block holds about thirty entries. At most the entries of one more block are lost with it.
        assert!((850..960).contains(&entries.len()), "{} {salvaged:?}", entries.len());
        assert!(entries.contains_key(&b"0999"[..]), "{salvaged:?}");
        let note = format!("8192 B of {} cannot be read, from byte {} on: ", path.display(), blocks[0] * BLOCK);
        assert!(salvaged.notes.iter().any(|found| found.contains(&note) && found.contains("Input/output error")), "{salvaged:?}");
        let lost = if with_snapshot { salvaged.lost_entries } else { Some(salvaged.lost_writes) };
        let counted = blocks[0] > 0 || !with_snapshot;
        assert_eq!(lost == Some(1000 - entries.len() as u64), counted, "{blocks:?} {salvaged:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_at_all_gives_no_entry_and_a_note() {
    let files = Files::filled(100, false);
    let blocks = (0..=fs::metadata(&files.log).unwrap().len() / BLOCK).collect();
    let (entries, salvaged) = files.salvage(&BadBlocks { path: files.log.clone(), blocks });
    assert!(
        entries.is_empty() && salvaged.notes.iter().any(|note| note.contains("cannot be read, from byte 0 on")),
        "{salvaged:?}"
    );
}

#[test]
fn the_salt_is_found_from_any_whole_record() {
    for with_snapshot in [false, true] {
        let files = Files::filled(1000, with_snapshot);
        let path = if with_snapshot { &files.snapshot } else { &files.log };
        let good = fs::read(path).unwrap();
        for lost in [10, 200, good.len() / 2] {
            let mut bytes = fs::read(path).unwrap();
            bytes[..lost].fill(b'?');
            // The first bytes show which program wrote the file.
            bytes[..8].copy_from_slice(&good[..8]);
            fs::write(path, &bytes).unwrap();
            let (entries, salvaged) = files.salvage(&OsDisk);
            let expected = 1000 - 1000 * lost / good.len();
            assert!(
                entries.len() + 60 > expected && entries.len() <= 1000,
                "{lost}: {} of {expected}, {salvaged:?}",
                entries.len()
            );
            assert_eq!(entries[&b"0999"[..]], value(999));
            assert!(salvaged.notes.iter().any(|note| note.contains("header of ")), "{salvaged:?}");
        }
    }
}

#[test]
fn a_log_inside_a_value_is_not_taken_for_this_one() {
    let (files, other) = (Files::filled(0, false), Files::filled(100, false));
    let engine = files.open();
    engine.put("a copy", fs::read(&other.log).unwrap()).unwrap();
    (0..200).try_for_each(|n| engine.put(format!("x{n}"), value(n)).map(drop)).unwrap();
    engine.close().unwrap();
    let mut bytes = fs::read(&files.log).unwrap();
    // Overwrites the header, and the header of the record with the copy. So the records of the copy are in plain view.
    bytes[8..250].fill(b'?');
    fs::write(&files.log, bytes).unwrap();
    let (entries, salvaged) = files.salvage(&OsDisk);
    assert!(entries.len() == 200 && entries.keys().all(|key| key[0] == b'x'), "{salvaged:?}");
    assert_eq!((salvaged.writes, salvaged.lost_writes), (200, 1));
}

#[test]
fn a_log_that_changes_under_an_export_fails_it() {
    let files = Files::filled(10, true);
    let engine = files.open();
    engine.put("0003", value(33)).unwrap();
    engine.put("0004", "short").unwrap();
    engine.delete("0005").unwrap();
    let long = [b'l'; 300]; // so long that it stays in the log
    engine.put("9999", long).unwrap();
    engine.close().unwrap();
    let entries = collect(files.read()).unwrap();
    assert_eq!((entries.len(), &entries[&b"0003"[..]], &*entries[&b"0004"[..]]), (10, &value(33), &b"short"[..]));
    let good = fs::read(&files.log).unwrap();
    let at = good.windows(300).position(|bytes| *bytes == long).unwrap();
    let mut changed = good.clone();
    changed[at + 50] ^= 1;
    for bytes in [&changed[..], &good[..at + 299]] {
        fs::write(&files.log, &good).unwrap();
        let export = files.read();
        fs::write(&files.log, bytes).unwrap();
        let error = collect(export).unwrap_err().to_string();
        assert!(error.contains(&format!("damaged at byte {at}: the value here has changed since it was first read")), "{error}");
    }
}

/// All ways to read an export give the same entries, with any form of the snapshot, with and without a log behind it.
#[test]
fn the_entries_of_an_export_are_those_of_the_store() {
    for (indexed, snapshots) in [(false, 0), (false, 1), (true, 1), (true, 2)] {
        let files = Files::filled(0, false);
        let mut expected = BTreeMap::new();
        for round in 0..3_u32 {
            let options = Options::new(&files.log, &files.snapshot).batch_size(1000);
            let engine = if indexed { options.values_in_snapshot(0) } else { options }.open().unwrap();
            for n in (0..1500_u32).filter(|n| n % (round + 1) == 0) {
                let key = format!("{:04}", n * 7 % 2000).into_bytes();
                if n % 5 == round {
                    engine.delete(&key).unwrap();
                    expected.remove(&key);
                } else {
                    let bytes = vec![b'v'; (n * (round + 1) % 400) as usize];
                    engine.put(&key, &bytes).unwrap();
                    expected.insert(key, bytes);
                }
            }
            if round < snapshots {
                engine.snapshot().unwrap();
            }
            engine.close().unwrap();
        }
        let export = files.read();
        assert_eq!(export.count().unwrap(), expected.len() as u64);
        for prefix in ["", "0", "04", "042", "0427", "1999", "2", "9"] {
            let mut found = Vec::new();
            let each = |key: &[u8], value: &[u8]| {
                found.push((key.to_vec(), value.to_vec()));
                ControlFlow::Continue(())
            };
            export.each_with_prefix(prefix, each).unwrap();
            let right = expected.iter().filter(|(key, _)| key.starts_with(prefix.as_bytes()));
            assert!(found.iter().map(|(key, value)| (key, value)).eq(right), "{prefix}");
        }
        for n in 0..2010 {
            let key = format!("{n:04}").into_bytes();
            if n % 13 == 0 || n > 1990 {
                assert_eq!(export.get(&key).unwrap().as_deref(), expected.get(&key).map(|value| &value[..]), "{n}");
            }
        }
        let mut first = Vec::new();
        let stop = |key: &[u8], _: &[u8]| {
            first.push(key.to_vec());
            if first.len() == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        export.each(stop).unwrap();
        assert!(first.iter().eq(expected.keys().take(3)));
        assert_eq!(collect(export).unwrap(), expected);
    }
}

//! Checkpoints with much to copy, cancelled checkpoints, and disks that fail during one.

use super::*;
use crate::StoreId;
use crate::disk::sim::{Change, EIO, Fault, FaultPlan, Image, Lasts, Operation, SimDisk};
use std::cell::Cell;

const ID: StoreId = StoreId(*b"sixteen bytes id");

fn paths() -> (&'static Path, &'static Path) {
    (Path::new("/kv.wal"), Path::new("/kv.snapshot"))
}

fn put(key: u8, len: usize) -> Vec<u8> {
    let mut body = Vec::new();
    OpRef { key: &[key], value: Some(&vec![key; len]) }.encode(&mut body);
    body
}

/// Writes these after write `before`, and syncs them.
fn write(wal: &mut Wal, before: Seq, bodies: &[Vec<u8>]) -> LogEnd {
    let salt = wal.salt();
    for (seq, body) in (before + 1..).zip(bodies) {
        wal.append(Kind::WRITE, seq, seq - 1, || 9, &Body::new(body, salt));
    }
    let mut group = wal.take();
    group.write().unwrap();
    group.sync().unwrap();
    wal.complete(group);
    wal.end(before + bodies.len() as u64)
}

fn writes_of(log: &LogEnd) -> Vec<(Seq, Vec<u8>)> {
    let mut writes = Vec::new();
    read_log(&log.start(), log, paths().0, 0, |seq, body| {
        writes.push((seq, body.to_vec()));
        Ok(())
    })
    .unwrap();
    writes
}

/// Runs `work` on a disk where the operation after the first `passed` ones fails. Returns the result, the operations,
/// and whether there was a failure.
fn failing<T>(disk: &SimDisk, passed: usize, work: impl FnOnce() -> T) -> (T, Vec<Operation>, bool) {
    let before = disk.operations().len();
    let plan = FaultPlan { at: before + passed, fault: Fault::Errno(EIO), lasts: Lasts::Once };
    let _ = disk.clone().with_faults(plan);
    let done = work();
    let operations = disk.operations().split_off(before);
    let _ = disk.clone().with_faults(FaultPlan { at: usize::MAX, ..plan });
    let failed = disk.has_failed();
    (done, operations, failed)
}

/// Any operation may fail: the present log keeps all writes, and the new one replaces it only with all of them.
#[test]
fn a_long_log_is_copied_in_portions_and_no_write_is_lost() {
    let (path, _) = paths();
    let bodies: Vec<Vec<u8>> = (1..=12).map(|n| put(n, 300_000)).collect();
    let all: Vec<(Seq, Vec<u8>)> = (1..).zip(bodies.clone()).collect();
    for passed in 0.. {
        let disk = SimDisk::new(&Image::new(), 1);
        let mut wal = Wal::create(&disk, path, ID, 0).unwrap();
        let behind = write(&mut wal, 0, &bodies[..2]);
        let end = write(&mut wal, 2, &bodies[2..]);
        let mut next = Successor::begin(&disk, path, behind).unwrap();
        assert!(!next.is_close_to(&end));
        let before = disk.changes();
        let (done, operations, failed) = failing(&disk, passed, || next.catch_up(&disk, path, end.clone()));
        assert!(writes_of(&end) == all, "{passed}");
        if let Err(error) = done {
            assert!(failed && error.to_string().contains("nput/output error"), "{passed}: {error}");
            continue;
        }
        let may_fail = failed && operations[passed] == Operation::SetLen; // reserved space
        assert!(may_fail || !failed, "{passed}");
        assert!(next.is_close_to(&end));
        let new = next.take_over().unwrap();
        assert!(writes_of(&new.end(12)) == all[2..], "{passed}");
        if !failed {
            let trace = disk.trace().split_off(before);
            let portion = |change: &Change| if let Change::Write(_, _, bytes) = change { Some(bytes.len()) } else { None };
            let portions: Vec<usize> = trace.iter().filter_map(portion).collect();
            assert!(portions.len() == 3 && portions.iter().all(|&bytes| bytes < WRITE_BYTES + 400_000), "{portions:?}");
            assert!(passed > 6, "reads, writes and the sync");
            break;
        }
    }
}

/// An old snapshot with this many entries of this length, and after it a log of some writes.
fn store(disk: &SimDisk, form: Form, entries: u8, len: usize) -> (LogEnd, snapshot::Header) {
    let (path, snapshot_path) = paths();
    let fill = |writer: &mut Writer| (0..entries).try_for_each(|key| writer.add(&[key], &vec![key; len]));
    let old = snapshot::save(disk, snapshot_path, Draft::new(form, ID, 0), fill).unwrap();
    let bodies: Vec<Vec<u8>> = (0..10).map(|n| put(20 * n, 7)).collect();
    (write(&mut Wal::create(disk, path, ID, 0).unwrap(), 0, &bodies), old)
}

/// Closing the store does not wait until everything is read.
#[test]
fn a_cancelled_checkpoint_stops_at_once() {
    let (path, snapshot_path) = paths();
    for form in [Form::Plain, Form::Indexed] {
        let disk = SimDisk::new(&Image::new(), 1);
        let (log, old) = store(&disk, form, 200, 100);
        let header = || snapshot::read_header(&*disk.open_read(snapshot_path).unwrap().unwrap(), snapshot_path).unwrap();
        for stop in 0..=210 {
            let calls = Cell::new(0);
            let check_cancel = || if calls.replace(calls.get() + 1) == stop { Err(Error::Closed) } else { Ok(()) };
            let done = merge(&disk, &log, path, snapshot_path, form, Some(&old), &check_cancel);
            if stop < 210 {
                assert!(matches!(done, Err(Error::Closed)), "{stop}");
                assert_eq!((calls.get(), header().seq), (stop + 1, 0));
            } else {
                assert_eq!((calls.get(), done.unwrap(), header().entries), (210, header(), 200), "ten of 210 were replaced");
            }
        }
    }
}

/// If the new snapshot cannot be written, the old one is not read to its end.
#[test]
fn a_snapshot_that_cannot_be_written_is_given_up() {
    let (path, snapshot_path) = paths();
    for again in [false, true] {
        let mut given_up = 0;
        for passed in 0.. {
            let disk = SimDisk::new(&Image::new(), 1);
            let (log, old) = store(&disk, Form::Plain, 200, 15_000);
            let file = disk.open_read(snapshot_path).unwrap().unwrap();
            let save = || match again {
                false => merge(&disk, &log, path, snapshot_path, Form::Indexed, Some(&old), &|| Ok(())),
                true => snapshot::save_again(&disk, snapshot_path, Form::Indexed, ID, file),
            };
            let (done, operations, failed) = failing(&disk, passed, save);
            if !failed {
                assert_eq!(done.unwrap().entries, 200);
                break;
            }
            if operations[passed] == Operation::Write {
                assert!(done.unwrap_err().to_string().contains("nput/output error"));
                assert!(!operations[passed..].contains(&Operation::Read), "{passed}: {operations:?}");
                given_up += 1;
            }
        }
        assert!(given_up > 3, "{given_up} writes of three megabytes");
    }
}

/// The checks of the record hold, but it is not a possible write, so the state after it is unknown.
#[test]
fn a_record_with_impossible_content_ends_a_checkpoint() {
    let (path, snapshot_path) = paths();
    let disk = SimDisk::new(&Image::new(), 1);
    let log = write(&mut Wal::create(&disk, path, ID, 0).unwrap(), 0, &[put(1, 7), vec![9]]);
    let error = merge(&disk, &log, path, snapshot_path, Form::Plain, None, &|| Ok(())).unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    assert!(disk.open_read(snapshot_path).unwrap().is_none());
}

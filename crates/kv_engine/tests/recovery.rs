//! Opening after a crash and after damage. For every truncation and every flipped bit the verdict is right, no wrong
//! value is served, and nothing is destroyed.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_engine::{Batch, Error, Fault, LogTail, Recovery, disk::OsDisk, inspect};
use std::collections::BTreeMap;
use std::fs;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use support::{FaultyDisk, Place, contents, kill};

type Contents = BTreeMap<Vec<u8>, Vec<u8>>;

/// The log of a killed session with a few synced writes, and the contents after each write. Its bytes are the same in
/// every run: a checksum that happens to end with a zero would look like reserved space.
fn small_log(place: &Place) -> Vec<Contents> {
    let disk = FaultyDisk::with_known_entropy(0x0123_4567_89ab_cdef);
    let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
    let mut states = vec![Contents::new()];
    for i in 0..6 {
        match i {
            3 => drop(engine.delete("k1").unwrap()),
            4 => {
                let mut batch = Batch::new();
                batch.put("k0", "batch").put("k9", "").delete("k2");
                engine.write(batch).unwrap();
            }
            _ => drop(engine.put(format!("k{i}"), format!("value {i}")).unwrap()),
        }
        states.push(contents(&engine));
    }
    kill(engine, &disk);
    states
}

/// The offsets of the records of a log, and of its end.
fn record_offsets(wal: &Path) -> Vec<u64> {
    let mut offsets = Vec::new();
    let summary = inspect::log(wal, 0, |entry| {
        if let inspect::Entry::Record(record) = entry {
            offsets.push(record.offset);
        }
        ControlFlow::Continue(())
    });
    offsets.push(summary.unwrap().valid_bytes);
    offsets
}

fn open_with(place: &Place, bytes: &[u8]) -> kv_engine::Result<kv_engine::Engine> {
    fs::write(&place.wal, bytes).unwrap();
    place.options().open()
}

#[test]
fn a_log_truncated_at_any_byte_gives_the_prefix_before_it_and_can_be_continued() {
    let place = Place::new();
    let states = small_log(&place);
    let whole = fs::read(&place.wal).unwrap();
    let offsets = record_offsets(&place.wal);
    assert_eq!(offsets.len(), 8, "the mark of the opening, six writes, the end");
    for cut in 1..whole.len() {
        let opened = open_with(&place, &whole[..cut]);
        if (cut as u64) < offsets[0] {
            // The header is complete before the log gets its name, so no crash can truncate it.
            assert!(matches!(opened, Err(Error::Damaged { .. })), "cut {cut}");
            assert_eq!(fs::read(&place.wal).unwrap(), whole[..cut], "bytes untouched");
            continue;
        }
        let engine = opened.unwrap();
        let report = engine.recovery();
        let kept = offsets[2..].iter().filter(|&&end| end <= cut as u64).count();
        assert_eq!(contents(&engine), states[kept], "cut {cut}");
        // Zeros at the end are not part of a record.
        let content = whole[..cut].iter().rposition(|&byte| byte != 0).unwrap() as u64 + 1;
        let last = *offsets.iter().rfind(|&&end| end <= cut as u64).unwrap();
        match &report.tail {
            LogTail::Clean => assert!(content <= last, "cut {cut}"),
            LogTail::Torn(torn) => {
                assert!(content > last, "cut {cut}");
                assert_eq!((torn.offset + torn.bytes, torn.fault, torn.whole_beyond), (content, Fault::Short, 0));
                assert_eq!(report.warnings().len(), 1);
            }
            tail => panic!("cut {cut}: {tail:?}"),
        }
        // A write after the truncated tail is there at the next opening.
        engine.put("after", "the cut").unwrap();
        drop(engine);
        let engine = place.open();
        assert_eq!(engine.recovery().tail, LogTail::Clean, "cut {cut}");
        assert_eq!(engine.get("after").unwrap().unwrap().to_vec(), b"the cut");
        assert_eq!(engine.len(), states[kept].len() + 1);
    }
}

/// Checks the effect of a flipped bit: a refusal, or a prefix with the right verdict.
fn check_flip(place: &Place, whole: &[u8], bit: usize, states: &[Contents], offsets: &[u64]) {
    let mut bytes = whole.to_vec();
    bytes[bit / 8] ^= 1 << (bit % 8);
    let at = (bit / 8) as u64;
    let opened = open_with(place, &bytes);
    if at < offsets[0] {
        assert!(matches!(opened, Err(Error::Damaged { .. } | Error::Foreign { .. })), "bit {bit}");
        assert_eq!(fs::read(&place.wal).unwrap(), bytes, "bytes untouched");
        return;
    }
    let engine = opened.unwrap();
    let hit = offsets.iter().rposition(|&begin| begin <= at).unwrap();
    let kept = hit.saturating_sub(1);
    assert_eq!(contents(&engine), states[kept.min(states.len() - 1)], "bit {bit}: the state before the damaged record");
    let records = offsets.len() - 1;
    let (cut, damaged) = match &engine.recovery().tail {
        LogTail::Torn(cut) => (cut.clone(), false),
        LogTail::Damaged(cut) => (cut.clone(), true),
        tail => panic!("bit {bit}: {tail:?}"),
    };
    assert_eq!(cut.offset, offsets[hit], "bit {bit}");
    // Every record was synced, and the one after it proves that. Only the last one has no proof.
    assert_eq!(damaged, hit < records - 1, "bit {bit} in record {hit} of {records}");
    drop(engine);
    let kept_copy = place.beside(".damaged-1");
    if damaged {
        assert_eq!(fs::read(&kept_copy).unwrap(), bytes, "the damaged log is kept complete");
        fs::remove_file(&kept_copy).unwrap();
    }
    assert!(!kept_copy.exists());
}

#[test]
fn every_flipped_bit_of_a_killed_log_has_the_right_verdict() {
    let place = Place::new();
    let states = small_log(&place);
    let whole = fs::read(&place.wal).unwrap();
    let offsets = record_offsets(&place.wal);
    for bit in 0..whole.len() * 8 {
        check_flip(&place, &whole, bit, &states, &offsets);
    }
}

#[test]
fn after_a_clean_close_every_flipped_bit_in_a_write_is_damage() {
    let place = Place::new();
    let engine = place.open();
    let mut states = vec![Contents::new()];
    for i in 0..3 {
        engine.put(format!("k{i}"), "v").unwrap();
        states.push(contents(&engine));
    }
    engine.close().unwrap();
    let whole = fs::read(&place.wal).unwrap();
    let offsets = record_offsets(&place.wal);
    assert_eq!(offsets.len(), 6, "opened, three writes, closed, the end");
    for bit in 0..whole.len() * 8 {
        check_flip(&place, &whole, bit, &states, &offsets);
    }
}

/// A snapshot of `keys` entries with a later write in the log.
fn small_snapshot(keys: usize) -> Place {
    let place = Place::new();
    let engine = place.options().batch_size(100).open().unwrap();
    for i in 0..keys {
        engine.put(format!("k{i:03}"), vec![b'v'; i]).unwrap();
    }
    engine.snapshot().unwrap();
    engine.put("later", "1").unwrap();
    engine.close().unwrap();
    place
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_snapshot_is_refused_and_nothing_is_changed() {
    let place = small_snapshot(5);
    let (snapshot, log) = (fs::read(&place.snapshot).unwrap(), fs::read(&place.wal).unwrap());
    let refused = |bytes: &[u8], what: &str| {
        fs::write(&place.snapshot, bytes).unwrap();
        let opened = place.options().open();
        assert!(matches!(opened, Err(Error::Damaged { .. } | Error::Foreign { .. })), "{what}");
        assert_eq!((fs::read(&place.snapshot).unwrap(), fs::read(&place.wal).unwrap()), (bytes.to_vec(), log.clone()), "{what}");
    };
    for bit in 0..snapshot.len() * 8 {
        let mut bytes = snapshot.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        refused(&bytes, &format!("bit {bit}"));
    }
    for cut in 0..snapshot.len() {
        refused(&snapshot[..cut], &format!("cut {cut}"));
    }
    refused(&[&snapshot[..], b"x"].concat(), "one more byte");
    fs::write(&place.snapshot, &snapshot).unwrap();
    assert_eq!(place.open().len(), 6);
}

/// All checks of the blocks and of the header hold, but they belong to different snapshots.
#[test]
fn a_snapshot_whose_header_belongs_to_another_state_is_refused() {
    let place = small_snapshot(5);
    let whole = fs::read(&place.snapshot).unwrap();
    for at in [40, 56] {
        let mut bytes = whole.clone(); // the count of entries, the digest
        bytes[at] ^= 1;
        let check = crc32fast::hash(&bytes[..92]).to_le_bytes();
        bytes[92..96].copy_from_slice(&check);
        fs::write(&place.snapshot, &bytes).unwrap();
        assert!(matches!(place.options().open(), Err(Error::Damaged { .. })), "byte {at}");
    }
}

#[test]
fn every_flipped_bit_of_a_snapshot_of_several_blocks_is_seen_by_verify() {
    let place = small_snapshot(120);
    let snapshot = fs::read(&place.snapshot).unwrap();
    assert!(snapshot.len() > 2 * 4096 && inspect::verify(&place.wal, &place.snapshot).is_sound());
    for bit in (0..snapshot.len() * 8).step_by(7) {
        let mut bytes = snapshot.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        fs::write(&place.snapshot, &bytes).unwrap();
        assert!(!inspect::verify(&place.wal, &place.snapshot).is_sound(), "bit {bit}");
    }
}

#[test]
fn strict_recovery_refuses_damage_and_changes_nothing_but_still_cuts_off_a_torn_tail() {
    let place = Place::new();
    small_log(&place);
    let whole = fs::read(&place.wal).unwrap();
    let offsets = record_offsets(&place.wal);
    let mut bytes = whole.clone();
    bytes[offsets[3] as usize + 40] ^= 1;
    fs::write(&place.wal, &bytes).unwrap();
    let (left_over, _) = kv_engine::disk::create_scratch(&OsDisk, &place.wal).unwrap();
    let opened = place.options().recovery(Recovery::Strict).open();
    assert!(matches!(opened, Err(Error::Damaged { offset, .. }) if offset == offsets[3]));
    assert_eq!(fs::read(&place.wal).unwrap(), bytes);
    assert!(left_over.exists() && !place.beside(".damaged-1").exists());

    fs::write(&place.wal, &whole[..whole.len() - 1]).unwrap();
    let engine = place.options().recovery(Recovery::Strict).open().unwrap();
    assert!(matches!(engine.recovery().tail, LogTail::Torn(_)));
    assert!(!left_over.exists());
}

#[test]
fn the_lost_writes_are_reported_and_each_damaged_log_is_kept_under_its_own_name() {
    let place = Place::new();
    let states = small_log(&place);
    let whole = fs::read(&place.wal).unwrap();
    let offsets = record_offsets(&place.wal);
    for n in 1..=3 {
        let mut bytes = whole.clone();
        bytes[offsets[2] as usize] ^= n;
        let engine = open_with(&place, &bytes).unwrap();
        assert_eq!(contents(&engine), states[1]);
        let warnings = engine.recovery().warnings();
        let kept = place.beside(&format!(".damaged-{n}"));
        assert!(warnings[0].contains(&format!("damaged at byte {}", offsets[2])), "{warnings:?}");
        assert!(warnings[0].contains("writes 2 to 6 are not in the store"), "{warnings:?}");
        assert!(warnings[1].contains(kept.to_str().unwrap()), "{warnings:?}");
        assert_eq!(fs::read(kept).unwrap(), bytes);
    }
    // If recovery is interrupted before the truncation, the next one does not keep the same bytes again.
    let mut bytes = whole.clone();
    bytes[offsets[2] as usize] ^= 3;
    open_with(&place, &bytes).unwrap();
    assert!(!place.beside(".damaged-4").exists());
}

#[test]
fn zeros_after_the_log_are_reserved_space_and_zeros_inside_are_damage() {
    let place = Place::new();
    let states = small_log(&place);
    let whole = fs::read(&place.wal).unwrap();
    let offsets = record_offsets(&place.wal);
    for zeros in [1, 32, 33, 4096, 300_000] {
        let engine = open_with(&place, &[&whole[..], &vec![0; zeros]].concat()).unwrap();
        assert_eq!(contents(&engine), states[6]);
        assert_eq!(engine.recovery().tail, LogTail::Clean);
        drop(engine);
        let now = fs::read(&place.wal).unwrap();
        assert!(now.starts_with(&whole) && now.len() < whole.len() + 100, "the space is given back; two marks follow");
    }
    let mut bytes = whole.clone();
    bytes[offsets[2] as usize..offsets[3] as usize].fill(0);
    let engine = open_with(&place, &bytes).unwrap();
    assert_eq!(contents(&engine), states[1]);
    assert!(matches!(engine.recovery().tail, LogTail::Damaged(_)));
}

#[test]
fn records_deleted_doubled_or_swapped_are_damage_and_never_replayed_out_of_order() {
    let place = Place::new();
    let states = small_log(&place);
    let whole = fs::read(&place.wal).unwrap();
    let offsets: Vec<usize> = record_offsets(&place.wal).into_iter().map(|at| at as usize).collect();
    let record = |i: usize| &whole[offsets[i]..offsets[i + 1]];
    let end = whole.len();
    let cases = [
        [&whole[..offsets[2]], &whole[offsets[3]..]].concat(), // record 2 deleted
        [&whole[..offsets[3]], record(2), &whole[offsets[3]..]].concat(), // doubled
        [&whole[..offsets[2]], record(3), record(2), &whole[offsets[4]..]].concat(), // swapped
        [&whole[..offsets[2]], record(1), &whole[offsets[3]..end]].concat(), // an older one instead
    ];
    for (case, bytes) in cases.iter().enumerate() {
        let engine = open_with(&place, bytes).unwrap();
        let expected = if case == 1 { 2 } else { 1 };
        assert_eq!(contents(&engine), states[expected], "case {case}");
        assert!(matches!(engine.recovery().tail, LogTail::Damaged(_)), "case {case}");
    }
}

/// Opening syncs the log and only then writes its mark. So the mark proves that everything before it had been synced,
/// even a bad mark of a clean close with nothing after it.
#[test]
fn a_bad_close_mark_before_a_later_session_is_damage() {
    let (place, disk) = (Place::new(), FaultyDisk::default());
    let engine = place.open();
    engine.put("a", "1").unwrap();
    engine.close().unwrap();
    let end = fs::metadata(&place.wal).unwrap().len() as usize;
    let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
    engine.put("b", "2").unwrap();
    kill(engine, &disk);
    let mut bytes = fs::read(&place.wal).unwrap();
    bytes[end - 10] ^= 1;
    let engine = open_with(&place, &bytes).unwrap();
    assert!(matches!(engine.recovery().tail, LogTail::Damaged(_)), "{:?}", engine.recovery().tail);
    assert!(engine.recovery().warnings()[0].contains("write 2 is not in the store"), "{:?}", engine.recovery().warnings());
    assert_eq!(fs::read(place.beside(".damaged-1")).unwrap(), bytes);
}

/// The record in the place of a missing one may itself be the proof.
#[test]
fn a_record_missing_before_the_last_is_damage() {
    let place = Place::new();
    small_log(&place);
    let whole = fs::read(&place.wal).unwrap();
    let offsets = record_offsets(&place.wal);
    let (from, to) = (offsets[5] as usize, offsets[6] as usize);
    let engine = open_with(&place, &[&whole[..from], &whole[to..]].concat()).unwrap();
    assert!(
        matches!(&engine.recovery().tail, LogTail::Damaged(cut) if cut.fault == Fault::Chain),
        "{:?}",
        engine.recovery().tail
    );
    assert!(engine.recovery().warnings()[0].contains("writes 5 to 6 are not in the store"), "{:?}", engine.recovery().warnings());
}

#[test]
fn headers_with_impossible_numbers_are_refused() {
    let place = small_snapshot(2);
    for (path, number_at, check_at) in
        [(&place.wal, 32, 60), (&place.wal, 50, 60), (&place.snapshot, 32, 92), (&place.snapshot, 80, 92)]
    {
        let whole = fs::read(path).unwrap();
        let mut bytes = whole.clone();
        bytes[number_at..number_at + 8].fill(0xff);
        let check = crc32fast::hash(&bytes[..check_at]).to_le_bytes();
        bytes[check_at..check_at + 4].copy_from_slice(&check);
        fs::write(path, &bytes).unwrap();
        assert!(matches!(place.options().open(), Err(Error::Version { .. })), "{} {number_at}", path.display());
        assert!(!inspect::verify(&place.wal, &place.snapshot).is_sound());
        fs::write(path, whole).unwrap();
    }
    assert_eq!(place.open().len(), 3);
}

#[test]
fn bytes_of_an_earlier_log_after_the_tail_never_pass_as_records() {
    let place = Place::new();
    let engine = place.open();
    engine.put("old", "1").unwrap();
    engine.put("old", "2").unwrap();
    engine.close().unwrap();
    let old = fs::read(&place.wal).unwrap();
    let old_offsets = record_offsets(&place.wal);
    // The same store with a new log after a snapshot. The old records follow it, as stale blocks would.
    let engine = place.open();
    engine.snapshot().unwrap();
    engine.put("new", "1").unwrap();
    drop(engine);
    let new = fs::read(&place.wal).unwrap();
    for &from in &old_offsets {
        let engine = open_with(&place, &[&new[..], &old[from as usize..]].concat()).unwrap();
        assert_eq!(engine.get("old").unwrap().unwrap().to_vec(), b"2");
        assert_eq!(engine.len(), 2);
        assert!(matches!(engine.recovery().tail, LogTail::Torn(_) | LogTail::Clean));
    }
    // The same log, after its torn tail was cut off: the old records cannot come back.
    let second = Place::new();
    small_log(&second);
    let whole = fs::read(&second.wal).unwrap();
    let offsets = record_offsets(&second.wal);
    let engine = open_with(&second, &whole[..offsets[5] as usize + 3]).unwrap();
    let mut batch = Batch::new();
    batch.put("k0", "batch").put("k9", "").delete("k2");
    engine.write(batch).unwrap(); // the same bytes that were torn before
    drop(engine);
    let again = fs::read(&second.wal).unwrap();
    let engine = open_with(&second, &[&again[..], &whole[offsets[6] as usize..]].concat()).unwrap();
    assert_eq!(engine.get("k5").unwrap(), None, "the old sixth write does not come back");
}

#[test]
fn a_crash_between_snapshot_and_new_log_skips_what_the_snapshot_holds() {
    let place = Place::new();
    let engine = place.open();
    engine.put("x", "old").unwrap();
    engine.put("gone", "1").unwrap();
    engine.put("x", "new").unwrap();
    engine.delete("gone").unwrap();
    let log_before = fs::read(&place.wal).unwrap();
    engine.snapshot().unwrap();
    drop(engine);
    fs::write(&place.wal, &log_before).unwrap();
    let engine = place.open();
    assert_eq!((engine.recovery().skipped, engine.recovery().replayed), (4, 0));
    assert_eq!(contents(&engine).into_iter().collect::<Vec<_>>(), [(b"x".to_vec(), b"new".to_vec())]);
    assert_eq!(engine.put("y", "1").unwrap().seq, 5);
    drop(engine);
    assert_eq!(place.open().len(), 2);

    // Damage in a skipped record: the snapshot is the proof, and no write is lost.
    let offsets = {
        fs::write(&place.wal, &log_before).unwrap();
        record_offsets(&place.wal)
    };
    for hit in [3, 4] {
        let mut bytes = log_before.clone();
        bytes[offsets[hit] as usize + 5] ^= 1;
        let engine = open_with(&place, &bytes).unwrap();
        assert_eq!(contents(&engine).len(), 1);
        assert!(matches!(engine.recovery().tail, LogTail::Damaged(_)));
        assert!(engine.recovery().warnings()[0].contains("no write is lost"), "{:?}", engine.recovery().warnings());
        assert_eq!(engine.put("y", "1").unwrap().seq, 5);
        drop(engine);
        assert_eq!(place.open().len(), 2);
    }
}

/// One flipped bit in a length must not cost gigabytes. The checksum of the header is checked first, and the length is
/// compared with the file before memory is allocated.
#[test]
fn a_huge_length_is_a_torn_tail_and_takes_no_memory() {
    let place = Place::new();
    small_log(&place);
    let mut bytes = fs::read(&place.wal).unwrap();
    let salt = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
    let offsets = record_offsets(&place.wal);
    let at = offsets[6] as usize;
    for huge in [1 << 30, (1 << 30) + 1, u32::MAX] {
        bytes[at + 4..at + 8].copy_from_slice(&u32::to_le_bytes(huge));
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(&bytes[at + 4..at + 33]);
        bytes[at..at + 4].copy_from_slice(&hasher.finalize().to_le_bytes());
        let engine = open_with(&place, &bytes).unwrap();
        assert!(
            matches!(&engine.recovery().tail, LogTail::Torn(cut) if cut.offset == offsets[6]),
            "{:?}",
            engine.recovery().tail
        );
    }
}

/// All checks of the record hold and it continues the chain, but its number is not the next one.
#[test]
fn a_record_with_a_wrong_sequence_number_is_not_applied() {
    let place = Place::new();
    let states = small_log(&place);
    let whole = fs::read(&place.wal).unwrap();
    let salt = u32::from_le_bytes(whole[28..32].try_into().unwrap());
    let at = record_offsets(&place.wal)[6] as usize;
    for wrong in [0_u64, 5, 7, 8, 1 << 40] {
        let mut bytes = whole.clone();
        bytes[at + 8..at + 16].copy_from_slice(&wrong.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(&bytes[at + 4..at + 33]);
        bytes[at..at + 4].copy_from_slice(&hasher.finalize().to_le_bytes());
        let engine = open_with(&place, &bytes).unwrap();
        assert_eq!(contents(&engine), states[5], "number {wrong}");
        assert!(
            matches!(&engine.recovery().tail, LogTail::Torn(cut) if cut.fault == Fault::Sequence),
            "{:?}",
            engine.recovery().tail
        );
    }
}

#[test]
fn an_unknown_kind_of_record_stops_with_a_clear_error() {
    let place = Place::new();
    small_log(&place);
    let mut bytes = fs::read(&place.wal).unwrap();
    let salt = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
    let at = record_offsets(&place.wal)[3] as usize;
    for kind in [9, 4] {
        // 4 is a block of a snapshot, which does not belong in a log.
        bytes[at + 32] = kind;
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(&bytes[at + 4..at + 33]);
        bytes[at..at + 4].copy_from_slice(&hasher.finalize().to_le_bytes());
        let error = open_with(&place, &bytes).unwrap_err();
        assert!(matches!(error, Error::Version { .. }) && error.to_string().contains(&format!("kind {kind}")), "{error}");
        assert_eq!(fs::read(&place.wal).unwrap(), bytes);
    }
}

/// Found by fuzzing: if the header of a log is damaged, the numbers are counted from its first record, and that record
/// may have the last possible number.
#[test]
fn an_impossible_number_is_refused_if_the_header_is_damaged() {
    let place = Place::new();
    drop(small_log(&place));
    let mut bytes = fs::read(&place.wal).unwrap();
    let salt = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
    bytes[0x20] ^= 1; // in the header
    for number in [u64::MAX, (1 << 62) + 1] {
        bytes[72..80].copy_from_slice(&number.to_le_bytes());
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(&bytes[68..97]);
        bytes[64..68].copy_from_slice(&hasher.finalize().to_le_bytes());
        fs::write(&place.wal, &bytes).unwrap();
        let seen = inspect::log(&place.wal, 0, |_| ControlFlow::Continue(())).unwrap();
        let LogTail::Damaged(cut) = &seen.tail else { panic!("{seen:?}") };
        assert_eq!((seen.base, cut.whole_beyond, cut.last_beyond), (0, 6, 6), "{seen:?}");
    }
}

#[test]
fn recovering_twice_gives_the_same() {
    let place = Place::new();
    let states = small_log(&place);
    let whole = fs::read(&place.wal).unwrap();
    let torn = &whole[..whole.len() - 4];
    let disk = FaultyDisk::default();
    fs::write(&place.wal, torn).unwrap();
    for _ in 0..3 {
        let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
        assert_eq!(contents(&engine), states[5]);
        kill(engine, &disk);
        disk.revive();
    }
}

/// The complete text of the report and its warnings.
#[test]
fn the_report_of_opening_in_words() {
    let place = Place::new();
    let reported = |engine: &kv_engine::Engine| {
        let report = engine.recovery();
        let line = report.to_string();
        let (before, rest) = line.split_once(" in ").unwrap_or((&line, ""));
        let behind = rest.strip_prefix(&format!("{:.1} ms", report.took.as_secs_f64() * 1e3)).unwrap_or(rest);
        let warnings = report.warnings().join("\n").replace(place.dir.path().to_str().unwrap(), "");
        (format!("{before}{behind}"), warnings, report.is_loss())
    };
    let line = |text: &str, warnings: &str, loss| (text.to_string(), warnings.to_string(), loss);
    let engine = place.open();
    let first = engine.recovery().to_string();
    assert!(first.starts_with("new store, ") && first.ends_with(" ms"), "{first}");
    assert!(!engine.recovery().is_loss());
    drop(engine);
    assert_eq!(reported(&place.open()), line("recovered 0 keys: 0 from the snapshot, 0 log records (64 B)", "", false));
    let empty = fs::read(&place.wal).unwrap();
    let engine = open_with(&place, &[&empty[..], b"torn"].concat()).unwrap();
    assert!(reported(&engine).0.ends_with("(138 B); the last session did not shut down cleanly"), "{}", reported(&engine).0);
    engine.put("a", "1").unwrap();
    engine.close().unwrap();
    drop(engine);
    assert_eq!(reported(&place.open()), line("recovered 1 key: 0 from the snapshot, 1 log record (256 B)", "", false));
    let before = fs::read(&place.wal).unwrap();
    let engine = place.open();
    engine.snapshot().unwrap();
    engine.put("b", "2").unwrap();
    engine.put("c", "3").unwrap();
    engine.flush().unwrap();
    let mut killed = fs::read(&place.wal).unwrap();
    killed.truncate(193); // the mark of the flush follows,
    killed.push(0); // or space that was reserved
    engine.close().unwrap();
    drop(engine);
    let engine = open_with(&place, &killed).unwrap();
    let text = "recovered 3 keys: 1 from the snapshot, 2 log records (193 B); the last session did not shut down cleanly";
    assert_eq!(reported(&engine), line(text, "", false));
    drop(engine);
    killed.pop();
    let engine = open_with(&place, &killed).unwrap();
    let bare = "/kv.wal: the log ends right after write 3, without reserved space and without a mark: a write failed there (for \
                example on a full disk), or the file was truncated; later writes may be missing";
    assert_eq!(reported(&engine), line(text, bare, false));
    drop(engine);
    let engine = open_with(&place, &killed[..killed.len() - 1]).unwrap();
    let torn = "/kv.wal: torn record at byte 149: the file ends inside the record; kept 1 record, cut off 43 bytes; no sync \
                is known to cover them";
    assert_eq!(reported(&engine).1, torn);
    drop(engine);
    let engine = open_with(&place, &before).unwrap();
    let text = "recovered 1 key: 1 from the snapshot, 0 log records (256 B), 1 skipped";
    assert_eq!(reported(&engine), line(text, "", false));
    drop(engine);
    fs::remove_file(&place.wal).unwrap();
    let engine = place.open();
    let missing = "/kv.wal: the log is missing; the store has the writes up to 1 from the snapshot; later writes may be missing; no \
                   file was changed; put the log back before the first write, because that write begins a new log";
    let text = "recovered 1 key: 1 from the snapshot, 0 log records (0 B); the last session did not shut down cleanly";
    assert_eq!(reported(&engine), line(text, missing, true));
}

/// The checksums hold, so no damage and no crash can cause this, but a bug in a program or a forged file can.
#[test]
fn a_record_with_impossible_content_is_refused_and_nothing_is_changed() {
    let place = Place::new();
    small_log(&place);
    let mut bytes = fs::read(&place.wal).unwrap();
    let salt = u32::from_le_bytes(bytes[28..32].try_into().unwrap());
    let crc = |bytes: &[u8]| {
        let mut hasher = crc32fast::Hasher::new_with_initial(salt);
        hasher.update(bytes);
        hasher.finalize().to_le_bytes()
    };
    let offsets = record_offsets(&place.wal);
    let (at, end) = (offsets[2] as usize, offsets[3] as usize);
    bytes[at + 33] = 3; // not a put and not a delete
    let body_check = crc(&bytes[at + 33..end]);
    bytes[at + 28..at + 32].copy_from_slice(&body_check);
    let check = crc(&bytes[at + 4..at + 33]);
    bytes[at..at + 4].copy_from_slice(&check);
    let error = open_with(&place, &bytes).unwrap_err();
    assert!(matches!(error, Error::Damaged { offset, .. } if offset == offsets[2]), "{error:?}");
    assert!(error.to_string().contains("the record's content is invalid, although its checksums hold"), "{error}");
    assert_eq!(fs::read(&place.wal).unwrap(), bytes);
    assert!(!place.beside(".damaged-1").exists());
}

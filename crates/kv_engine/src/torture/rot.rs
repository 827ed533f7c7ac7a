//! Rot: damage that no crash does to a file.
//!
//! Every bit of a log and of a snapshot is flipped. Every byte is overwritten. Every sector is zeroed, copied over
//! every other, swapped with every other, or written into the other file. Every record is removed, doubled, or swapped
//! with every other. The file is cut to every length. Pairs of bits are flipped. Each damaged file is opened, in
//! strict mode and then in the default mode:
//!
//! 1. No wrong value is ever served: the state is the one after the last write before the first changed byte.
//! 2. No damage stays undetected: if any record behind the change proves that the changed bytes had been synced, the
//!    log is reported as damaged, at the record that was hit. The test derives this proof from the answers of
//!    the engine that wrote the log, not from the records.
//! 3. Strict mode refuses damage, and both modes refuse a damaged header or snapshot. A refusal changes no byte.
//! 4. Otherwise everything before the damage is recovered, and the damaged log is kept whole.
//!
//! Some damage looks exactly like a crash, and is counted separately:
//!
//! - damage to the last group of a log that was not closed cleanly, or to a mark behind the last write,
//! - damage that also hits the records that would prove it,
//! - a file that equals an earlier, shorter state of the log byte for byte.
//!
//! A store that is idle when it is killed has a mark behind its last write. So at least 99 % of the bits of its last
//! synced group must be distinguished from a torn write. The number is counted and reported.

use super::edits::{Edit, Target};
use super::known_log::KnownLog;
use super::memory::Memory;
use super::shapes::{Generator, PUT_BYTES};
use super::store::{SNAPSHOT, WAL};
use super::tally::{IDLE, Tally};
use crate::disk::sim::{Image, SimDisk};
use crate::disk::{Disk, read_full_at};
use crate::engine::Batch;
use crate::error::{Error, Result};
use crate::recovery::{Keep, LockNotes, LogTail, Progress, Recovered, Recovery, recover};
use crate::snapshot::{self, Form};
use crate::wal::{HEADER_BYTES, OPENED_BYTES};
use std::ops::Bound;
use std::path::Path;

/// This many numbers in a row share a store. Together they try every case of it.
pub const ROT_PARTS: u64 = 256;
/// The number of cases for each store: every single damage, and pairs of bits for the rest.
const CASES: u64 = 1 << 20;
/// One log out of this number is recovered a second time, and one damaged snapshot is also opened in strict mode.
const AGAIN_EVERY: u64 = 16;

// The names of the counts. `kv_cli torture --json` makes field names of them, so they do not change.
const DAMAGES: [&str; 6] = [
    "a bit flipped",
    "a byte overwritten",
    "a sector zeroed, copied, swapped, misplaced",
    "a record removed, doubled, swapped",
    "cut to a length",
    "two bits flipped",
];
const OUTCOMES: [&str; 5] = [
    "called damage, kept whole, all before it recovered",
    "refused, nothing changed",
    "torn: in the last group, or in a mark behind the last write",
    "torn: what would prove the damage is hit too",
    "the same as an earlier end of the log",
];

/// At least this percentage of the bits in the last synced group of an idle store must be distinguished from a torn
/// write.
const LEAST_DETECTED_PERCENT: u64 = 99;

/// The outcome of a case that passed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Damaged,
    Refused,
    LastGroup,
    NoWitness,
    EarlierEnd,
}

/// The failure of a case.
enum Wrong {
    Value(String),
    Undetected(String),
    Reported(String),
}

/// Tries one part of the cases of a store that follows from `number`. The same number gives the same tally.
/// [`ROT_PARTS`] numbers in a row, beginning at a multiple of it, try all cases.
///
/// ```
/// let tally = kv_engine::torture::rot(3);
/// assert_eq!((tally.tried > 3_000, tally.failed), (true, 0), "{:?}", tally.failures);
/// ```
#[must_use]
pub fn rot(number: u64) -> Tally {
    let targets = targets(number / ROT_PARTS);
    let mut run = Run { disk: Memory::new(number), bytes: Vec::new() };
    let mut tally = Tally::default();
    let (mut damages, mut outcomes, mut wrong, mut idle) = ([0; DAMAGES.len()], [0; OUTCOMES.len()], [0; 2], [0; 2]);
    for case in (number % ROT_PARTS..CASES).step_by(ROT_PARTS as usize) {
        let (target, edit) = edit_of(&targets, case);
        edit.apply(target, &mut run.bytes);
        if run.bytes == *target.bytes() {
            continue; // the edit changes nothing
        }
        tally.tried += 1;
        damages[edit.sort()] += 1;
        let in_last_group = edit.bit().is_some_and(|bit| target.idle_group.contains(&(bit / 8)));
        idle[0] += u64::from(in_last_group);
        let line = match run.case(target, edit, case) {
            Ok(outcome) => {
                outcomes[outcome as usize] += 1;
                idle[1] += u64::from(in_last_group && outcome == Outcome::Damaged);
                continue;
            }
            Err(Wrong::Value(line)) => {
                wrong[0] += 1;
                line
            }
            Err(Wrong::Undetected(line)) => {
                wrong[1] += 1;
                line
            }
            Err(Wrong::Reported(line)) => line,
        };
        run.disk.keep_only([Path::new(WAL), Path::new(SNAPSHOT)]);
        tally.fail(format!("part {number}, case {case}: {}: {edit:?}: {line}", target.name));
    }
    if idle[1] * 100 < idle[0] * LEAST_DETECTED_PERCENT {
        let [tried, detected] = idle;
        tally.fail(format!(
            "part {number}: only {detected} of {tried} bits in the last group of an idle store were distinguished from a torn write"
        ));
    }
    let named = DAMAGES.into_iter().zip(damages).chain(OUTCOMES.into_iter().zip(outcomes)).chain(IDLE.into_iter().zip(idle));
    tally.figures = named.chain(["wrong values", "damage not seen"].into_iter().zip(wrong)).collect();
    tally
}

/// The case with this number: first every single damage of each file, then pairs of bits.
fn edit_of(targets: &[Target; 7], case: u64) -> (&Target, Edit) {
    let mut left = case;
    for target in targets {
        match target.single(left) {
            Ok(edit) => return (target, edit),
            Err(behind) => left = behind,
        }
    }
    let target = &targets[[0, 1, 2, 0, 5, 2, 6, 1][(left % 8) as usize]];
    (target, target.pair_of_bits(left))
}

/// The files to damage: logs of stores that were killed or closed cleanly, a snapshot, and the log behind it.
fn targets(seed: u64) -> [Target; 7] {
    let killed = long_log(seed, false);
    let closed = long_log(seed, true);
    let (behind, again) = (with_snapshot(seed), with_snapshot(seed));
    let snapshot = behind.snapshot.clone().expect("the store took a snapshot");
    let log = killed.bytes.clone();
    [
        Target::log("the log of a store that was idle when it was killed", killed, snapshot.clone(), false),
        Target::log("the log of a store that was closed cleanly", closed, snapshot.clone(), true),
        Target::snapshot("a snapshot", again, log.clone()),
        Target::log("a log behind a snapshot", behind, snapshot.clone(), true),
        Target::log("a log whose records fill sectors", in_sectors(seed), snapshot.clone(), false),
        Target::snapshot("a snapshot with an index", indexed(with_snapshot(seed)), log),
        Target::log("a log of single writes, of a store that was idle when it was killed", single_writes(seed), snapshot, false),
    ]
}

/// More than two hundred records: single writes, groups, batches, deletes, groups issued during a sync, in several
/// sessions. The log ends with a group and nothing behind it, or with the mark of a clean close.
fn long_log(seed: u64, closed: bool) -> KnownLog {
    let mut generator = Generator::new(seed * 4 + u64::from(closed));
    let mut writer = generator.writer(1);
    (0..40).for_each(|_| generator.put(&mut writer, 0, 30));
    writer.reopen(8);
    for _ in 0..8 {
        (0..6).for_each(|_| generator.put(&mut writer, 0, 24));
        writer.batch(generator.batch());
    }
    writer.flush();
    writer.reopen(100);
    for _ in 0..8 {
        (0..3).for_each(|_| generator.put(&mut writer, 0, 20));
        writer.flush_with((0..2).map(|_| (generator.key(), generator.value(9))).collect());
    }
    writer.reopen(4);
    for _ in 0..14 {
        let key = generator.key();
        (0..3).for_each(|_| writer.put(&key, &generator.value(4)));
        writer.delete(&key);
    }
    writer.flush();
    writer.reopen(50);
    (0..6).for_each(|_| generator.put(&mut writer, 0, 30));
    writer.flush();
    if closed {
        writer.close();
    }
    let log = writer.log();
    assert!(log.records.len() >= 200, "{}", log.records.len());
    log
}

/// Records that begin and end at sector boundaries, and one record of four sectors. A sector written to a wrong place
/// then shows a valid record header there.
fn in_sectors(seed: u64) -> KnownLog {
    let mut generator = Generator::new(seed * 4 + 3);
    let mut writer = generator.writer(1);
    let lengths = [128 - OPENED_BYTES].into_iter().chain([64; 5]).chain([2048]).chain([64; 24]);
    lengths.for_each(|bytes| generator.put(&mut writer, bytes - PUT_BYTES, bytes - PUT_BYTES));
    let log = writer.log();
    assert!(log.records.iter().any(|record| record.start % 512 == 0 && record.end - record.start == 2048));
    log
}

/// Each write is a group of its own, including the last one. The flusher has written its mark behind it.
fn single_writes(seed: u64) -> KnownLog {
    let mut generator = Generator::new(seed * 4 + 1);
    let mut writer = generator.writer(1);
    (0..5).for_each(|_| generator.put(&mut writer, 0, 30));
    writer.idle();
    (0..5).for_each(|_| generator.put(&mut writer, 0, 300));
    writer.idle();
    writer.log()
}

/// A snapshot of 1,200 keys, and twelve writes behind it.
fn with_snapshot(seed: u64) -> KnownLog {
    let mut generator = Generator::new(seed * 4 + 2);
    let mut writer = generator.writer(2);
    for block in 0..4 {
        let mut batch = Batch::new();
        for key in 0..300 {
            let bytes = generator.below(12);
            batch.put(format!("{:04}", block * 300 + key), generator.value(bytes));
        }
        writer.batch(batch);
    }
    writer.snapshot();
    (0..12).for_each(|_| generator.put(&mut writer, 0, 30));
    writer.close();
    writer.log()
}

/// The same snapshot, with an index.
fn indexed(log: KnownLog) -> KnownLog {
    let path = Path::new(SNAPSHOT);
    let plain = log.snapshot.clone().expect("the store took a snapshot");
    let disk = SimDisk::new(&Image::from([(path.to_path_buf(), plain)]), 1);
    let open = || disk.open_read(path).expect("no faults").expect("the file exists");
    let header = snapshot::read_header(&*open(), path).expect("sound");
    let header = snapshot::save_again(&disk, path, Form::Indexed, header.store_id, open()).expect("no faults");
    let mut bytes = vec![0; usize::try_from(header.file_len().expect("short")).expect("short")];
    read_full_at(&*open(), 0, &mut bytes).expect("no faults");
    KnownLog { snapshot: Some(bytes), ..log }
}

struct Run {
    disk: Memory,
    /// The file after the edit.
    bytes: Vec<u8>,
}

impl Run {
    fn case(&mut self, target: &Target, edit: Edit, case: u64) -> std::result::Result<Outcome, Wrong> {
        let (wal, snapshot) = (Path::new(WAL), Path::new(SNAPSHOT));
        let log = &target.log;
        if target.is_snapshot {
            self.disk.put(wal, &log.bytes);
            self.disk.put(snapshot, &self.bytes);
            let outcome = self.snapshot(log, case)?;
            if target.is_indexed {
                self.values_on_disk(log)?;
            }
            return Ok(outcome);
        }
        match &log.snapshot {
            Some(bytes) => self.disk.put(snapshot, bytes),
            None => self.disk.keep_only([wal, wal]),
        }
        self.disk.put(wal, &self.bytes);
        let outcome = self.log(target, case, edit);
        let untouched = log.snapshot.as_ref().is_none_or(|bytes| self.disk.file(snapshot).is_some_and(|file| file.holds(bytes)));
        self.disk.keep_only([wal, snapshot]);
        if untouched { outcome } else { Err(Wrong::Reported("the snapshot was changed".into())) }
    }

    /// A changed snapshot is refused, independent of the log.
    fn snapshot(&self, log: &KnownLog, case: u64) -> std::result::Result<Outcome, Wrong> {
        let mut policies = vec![Recovery::Prefix];
        policies.extend(case.is_multiple_of(AGAIN_EVERY).then_some(Recovery::Strict));
        for policy in policies {
            match self.recover(policy)? {
                Err(Error::Damaged { .. } | Error::Foreign { .. }) => {}
                Err(error) => return Err(Wrong::Reported(format!("refused with another error: {error}"))),
                Ok(found) if log.is_state(found.report.last_seq, &found.state) => {
                    return Err(Wrong::Undetected(format!("opened at write {}", found.report.last_seq)));
                }
                Ok(found) => return Err(Wrong::Value(format!("opened at write {} with another state", found.report.last_seq))),
            }
        }
        Ok(Outcome::Refused)
    }

    /// Opens the snapshot with its values on the disk. Reads then return right values or errors, and at least one
    /// error.
    fn values_on_disk(&self, log: &KnownLog) -> std::result::Result<(), Wrong> {
        let found = match self.recover_to(Keep::OnDisk { cache_bytes: 1 << 20 }, Recovery::Strict)? {
            Err(Error::Damaged { .. } | Error::Foreign { .. }) => return Ok(()),
            Err(error) => return Err(Wrong::Reported(format!("with values on disk, refused with another error: {error}"))),
            Ok(found) => found,
        };
        let expected = &log.states[usize::try_from(found.report.last_seq).expect("few writes")];
        let mut errors = 0;
        for (key, value) in expected.range(Bound::Unbounded).step_by(5) {
            match found.state.get(key) {
                Ok(Some(found)) if found == *value => {}
                Err(Error::Damaged { .. }) => errors += 1,
                other => return Err(Wrong::Value(format!("with values on disk, the value of {key:?} is {other:?}"))),
            }
        }
        match found.state.range(Bound::Unbounded, b"", usize::MAX) {
            Err(Error::Damaged { .. }) => Ok(()),
            Err(error) => Err(Wrong::Reported(format!("with values on disk, a scan fails with another error: {error}"))),
            Ok(all) if all.iter().map(|(key, value)| (&**key, value)).eq(expected.range(Bound::Unbounded)) => {
                Err(Wrong::Undetected(format!("with values on disk, a scan does not fail, but {errors} lookups do")))
            }
            Ok(_) => Err(Wrong::Value("with values on disk, a scan finds other entries".into())),
        }
    }

    fn log(&self, target: &Target, case: u64, edit: Edit) -> std::result::Result<Outcome, Wrong> {
        let (log, bytes) = (&target.log, &self.bytes);
        let same = bytes.iter().zip(&log.bytes).take_while(|(a, b)| a == b).count();
        if bytes.is_empty() {
            return self.emptied(log);
        }
        if same < HEADER_BYTES {
            return self.header();
        }
        let (k, end, _) = log.whole(same);
        let witnessed = edit.leaves_witness(target, bytes, end, k + 1);
        let strict = self.recover(Recovery::Strict)?;
        let found = match strict {
            Ok(found) => found,
            Err(Error::Damaged { offset, .. }) if offset == end as u64 => {
                self.recover(Recovery::Prefix)?.map_err(|error| Wrong::Reported(format!("it does not open: {error}")))?
            }
            Err(error) => {
                return Err(Wrong::Reported(format!("the record at byte {end} was hit, but strict mode reports {error}")));
            }
        };
        let report = &found.report;
        if !log.is_state(report.last_seq, &found.state) {
            return Err(Wrong::Value(format!("opened at write {} with another state", report.last_seq)));
        }
        if report.last_seq != k {
            let line = format!("opened at write {}, but write {k} is the last before the change", report.last_seq);
            return Err(if report.last_seq > k { Wrong::Undetected(line) } else { Wrong::Reported(line) });
        }
        let shorter = same == bytes.len();
        let outcome = match &report.tail {
            // The check of a record may begin with zeros. If only these are left, they look like reserved space.
            LogTail::Clean if shorter && bytes[end..].iter().all(|&byte| byte == 0) => Outcome::EarlierEnd,
            LogTail::Torn(cut) if shorter && cut.offset == end as u64 => Outcome::EarlierEnd,
            LogTail::Damaged(cut) if !shorter && cut.offset == end as u64 && cut.expected == k + 1 => {
                let kept = cut.kept_as.as_deref().and_then(|path| self.disk.file(path));
                if kept.is_none_or(|file| !file.holds(bytes)) {
                    return Err(Wrong::Reported("the damaged log was not kept whole".into()));
                }
                Outcome::Damaged
            }
            LogTail::Torn(cut) if !shorter && cut.offset == end as u64 && cut.expected == k + 1 && !witnessed => {
                if end >= target.unwitnessed_from {
                    Outcome::LastGroup
                } else if edit.is_small() {
                    return Err(Wrong::Undetected(
                        "damage was reported as a torn tail, and no later record proves the damage".into(),
                    ));
                } else {
                    Outcome::NoWitness
                }
            }
            // Zeros up to the end are reserved space. They say as little about a lost last group as a torn one.
            LogTail::Clean if !shorter && !witnessed && bytes[end..].iter().all(|&byte| byte == 0) => {
                if end >= target.unwitnessed_from { Outcome::LastGroup } else { Outcome::NoWitness }
            }
            LogTail::Torn(_) if witnessed => return Err(Wrong::Undetected("damage was reported as a torn tail".into())),
            LogTail::Clean => return Err(Wrong::Undetected("the damage was not reported".into())),
            tail => return Err(Wrong::Reported(format!("the log is whole up to byte {end}, but recovery reports {tail:?}"))),
        };
        if !matches!(report.tail, LogTail::Clean) && report.warnings().is_empty() {
            return Err(Wrong::Reported("there is no warning".into()));
        }
        self.cut_and_stays(&found, end, case)?;
        Ok(outcome)
    }

    /// The bad rest was cut off, and another opening finds the same.
    fn cut_and_stays(&self, found: &Recovered, end: usize, case: u64) -> std::result::Result<(), Wrong> {
        let file = self.disk.file(Path::new(WAL)).ok_or_else(|| Wrong::Reported("the log is gone".into()))?;
        if !file.is_cut(&self.bytes[..end]) {
            return Err(Wrong::Reported("the log was not cut at the end of its last good record".into()));
        }
        if case.is_multiple_of(AGAIN_EVERY) {
            let again =
                self.recover(Recovery::Strict)?.map_err(|error| Wrong::Reported(format!("it does not open again: {error}")))?;
            if again.report.tail != LogTail::Clean
                || again.state.digest().ok() != found.state.digest().ok()
                || !file.is_cut(&self.bytes[..end])
            {
                return Err(Wrong::Reported("opening again finds something else".into()));
            }
        }
        Ok(())
    }

    /// A header cannot be torn: both modes refuse it.
    fn header(&self) -> std::result::Result<Outcome, Wrong> {
        for policy in [Recovery::Strict, Recovery::Prefix] {
            match self.recover(policy)? {
                Err(Error::Damaged { .. } | Error::Foreign { .. }) => {}
                Err(error) => return Err(Wrong::Reported(format!("refused with another error: {error}"))),
                Ok(_) => return Err(Wrong::Undetected("opened with a damaged header".into())),
            }
        }
        Ok(Outcome::Refused)
    }

    /// No crash leaves an empty log, so strict mode refuses it. In the default mode either a new store begins, or the
    /// report says that the snapshot's log is missing. Nothing is changed before the first write.
    fn emptied(&self, log: &KnownLog) -> std::result::Result<Outcome, Wrong> {
        let strict = self.recover(Recovery::Strict)?;
        let found = match (strict, &log.snapshot) {
            (Err(Error::Damaged { .. }), None) | (Err(Error::Mismatch { .. }), Some(_)) => {
                self.recover(Recovery::Prefix)?.map_err(|error| Wrong::Reported(format!("it does not open: {error}")))?
            }
            (Ok(_), _) => return Err(Wrong::Undetected("opened without its log".into())),
            (Err(error), _) => return Err(Wrong::Reported(format!("refused with another error: {error}"))),
        };
        match log.is_state(log.base, &found.state) {
            true if found.report.created || found.report.log_missing => Ok(Outcome::EarlierEnd),
            true => Err(Wrong::Undetected("the missing log was not reported".into())),
            false => Err(Wrong::Value("opened with a state that never existed".into())),
        }
    }

    /// Recovers. A refusal must not have changed anything.
    fn recover(&self, policy: Recovery) -> std::result::Result<Result<Recovered>, Wrong> {
        self.recover_to(Keep::InMemory, policy)
    }

    fn recover_to(&self, keep: Keep, policy: Recovery) -> std::result::Result<Result<Recovered>, Wrong> {
        let before = self.disk.changes();
        let found =
            recover(&self.disk, Path::new(WAL), Path::new(SNAPSHOT), policy, keep, &LockNotes::default(), &Progress::default());
        if found.is_err() && self.disk.changes() != before {
            return Err(Wrong::Reported("a refused opening has changed files".into()));
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Few cases misplace a sector, and few of those look valid. So this test tries all of them.
    #[test]
    fn every_sector_in_a_wrong_place_is_seen() {
        let targets = targets(7);
        let mut run = Run { disk: Memory::new(7), bytes: Vec::new() };
        for target in targets.iter().filter(|target| !target.is_snapshot) {
            let edits = (0..).map_while(|number| target.single(number).ok()).filter(|edit| edit.sort() == 2);
            for (case, edit) in edits.enumerate() {
                edit.apply(target, &mut run.bytes);
                if run.bytes != *target.bytes()
                    && let Err(Wrong::Value(line) | Wrong::Undetected(line) | Wrong::Reported(line)) =
                        run.case(target, edit, case as u64)
                {
                    panic!("{}: {edit:?}: {line}", target.name);
                }
            }
        }
    }
}

//! Rot: what no crash does to a file. Every bit of a log and of a snapshot is flipped, every byte
//! overwritten, every sector zeroed, copied or swapped with every other, or written into the other
//! file; every record removed, doubled, swapped with every other; the file cut to every length; and
//! pairs of bits flipped. Each damaged file is opened, in strict mode and then in the other:
//!
//! 1. never a wrong value: the state is the one after the last write before the first changed byte;
//! 2. nothing goes unseen: where any record behind the change proves that it had been synced, it
//!    is called damage, at the record that was hit. The proof is looked for by what the writer was
//!    told, not by what the records say;
//! 3. strict mode, and every damaged header or snapshot, is a refusal that changes no byte;
//! 4. otherwise all before the damage is recovered, and the damaged log is kept whole.
//!
//! What cannot be told from a crash on one disk is counted apart: a hit in the last group of a log
//! that was not closed in order (or in a mark behind the last write), one that takes its witnesses
//! along, and a file that is byte for byte an earlier, shorter state of the log.
//!
//! A store that is idle when it is killed has a mark behind its last write. So of the bits of its last synced group at
//! least 99 % have to be told from a torn write; how many were is counted and said.

use super::edits::{Edit, Target};
use super::memory::Memory;
use super::session::Session;
use super::shapes::{OPENED_BYTES, PUT_BYTES, Pen};
use super::tally::{IDLE, Tally};
use super::{SNAPSHOT, WAL};
use crate::disk::sim::{Image, SimDisk};
use crate::disk::{Disk, read_full_at};
use crate::engine::Batch;
use crate::error::{Error, Result};
use crate::record::Kind;
use crate::recovery::{Keep, LockNotes, LogTail, Progress, Recovered, Recovery, recover};
use crate::snapshot::{self, Form};
use crate::wal::HEADER_BYTES;
use std::ops::Bound;
use std::path::Path;

/// So many numbers in a row share a store; together they try every case of it.
pub const ROT_PARTS: u64 = 256;
/// So many cases there are for each store: every single one, and pairs of bits for the rest.
const CASES: u64 = 1 << 20;
/// Each so-manyth log is recovered once more; of the damaged snapshots so many are opened in strict mode too.
const AGAIN_EVERY: u64 = 16;

const WAS: [&str; 6] = [
    "a bit flipped",
    "a byte overwritten",
    "a sector zeroed, copied, swapped, misplaced",
    "a record removed, doubled, swapped",
    "cut to a length",
    "two bits flipped",
];
const CAME: [&str; 5] = [
    "called damage, kept whole, all before it recovered",
    "refused, nothing changed",
    "torn: in the last group, or in a mark behind the last write",
    "torn: what would prove the damage is hit too",
    "the same as an earlier end of the log",
];

/// So many of a hundred bits in the last synced group of an idle store have to be told from a torn write.
const LEAST_TOLD_PERCENT: u64 = 99;

/// What came of a case that went right.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Damaged,
    Refused,
    LastGroup,
    NoWitness,
    EarlierEnd,
}

/// What came of one that did not.
enum Wrong {
    Value(String),
    Unseen(String),
    Told(String),
}

/// Tries one part of the cases of a store that follows from `number`. The same number gives the same
/// tally; [`ROT_PARTS`] numbers in a row, from a multiple of it on, try all of them.
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
    let (mut was, mut came, mut wrong, mut idle) = ([0; WAS.len()], [0; CAME.len()], [0; 2], [0; 2]);
    for case in (number % ROT_PARTS..CASES).step_by(ROT_PARTS as usize) {
        let (target, edit) = edit_of(&targets, case);
        edit.apply(target, &mut run.bytes);
        if run.bytes == *target.bytes() {
            continue; // it was a zero before, or the two are alike
        }
        tally.tried += 1;
        was[edit.sort()] += 1;
        let in_last_group = edit.bit().is_some_and(|bit| target.idle_group.contains(&(bit / 8)));
        idle[0] += u64::from(in_last_group);
        let line = match run.case(target, edit, case) {
            Ok(outcome) => {
                came[outcome as usize] += 1;
                idle[1] += u64::from(in_last_group && outcome == Outcome::Damaged);
                continue;
            }
            Err(Wrong::Value(line)) => {
                wrong[0] += 1;
                line
            }
            Err(Wrong::Unseen(line)) => {
                wrong[1] += 1;
                line
            }
            Err(Wrong::Told(line)) => line,
        };
        run.disk.keep_only([Path::new(WAL), Path::new(SNAPSHOT)]);
        tally.fail(format!("part {number}, case {case}: {}: {edit:?}: {line}", target.name));
    }
    if idle[1] * 100 < idle[0] * LEAST_TOLD_PERCENT {
        let [tried, told] = idle;
        tally.fail(format!(
            "part {number}: of {tried} bits in the last group of an idle store {told} were told from a torn write"
        ));
    }
    let named = WAS.into_iter().zip(was).chain(CAME.into_iter().zip(came)).chain(IDLE.into_iter().zip(idle));
    tally.figures = named.chain(["wrong values", "damage not seen"].into_iter().zip(wrong)).collect();
    tally
}

/// The case of this number: first every one of each file, then pairs of bits.
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

/// Logs that were killed and closed in order, a snapshot, and the log behind it.
fn targets(seed: u64) -> [Target; 7] {
    let killed = long_log(seed, false);
    let closed = long_log(seed, true);
    let (behind, again) = (with_snapshot(seed), with_snapshot(seed));
    let snapshot = behind.snapshot.clone().expect("one was taken");
    let log = killed.log.clone();
    [
        Target::log("a log that was killed when it was idle", killed, snapshot.clone(), false),
        Target::log("a log that was closed in order", closed, snapshot.clone(), true),
        Target::snapshot("a snapshot", again, log.clone()),
        Target::log("a log behind a snapshot", behind, snapshot.clone(), true),
        Target::log("a log whose records fill sectors", in_sectors(seed), snapshot.clone(), false),
        Target::snapshot("a snapshot with an index", indexed(with_snapshot(seed)), log),
        Target::log("a log of single writes that was killed when it was idle", single_writes(seed), snapshot, false),
    ]
}

/// More than two hundred records: single writes, groups, batches, deletes, several lives; groups issued
/// during a sync; at the end a group with nothing behind it, or the mark of an orderly close.
fn long_log(seed: u64, closed: bool) -> Session {
    let mut pen = Pen::new(seed * 4 + u64::from(closed));
    let mut driver = pen.driver(1);
    (0..40).for_each(|_| pen.put(&mut driver, 0, 30));
    driver.reopen(8);
    for _ in 0..8 {
        (0..6).for_each(|_| pen.put(&mut driver, 0, 24));
        driver.batch(pen.batch());
    }
    driver.flush();
    driver.reopen(100);
    for _ in 0..8 {
        (0..3).for_each(|_| pen.put(&mut driver, 0, 20));
        driver.flush_with((0..2).map(|_| (pen.key(), pen.value(9))).collect());
    }
    driver.reopen(4);
    for _ in 0..14 {
        let key = pen.key();
        (0..3).for_each(|_| driver.put(&key, &pen.value(4)));
        driver.delete(&key);
    }
    driver.flush();
    driver.reopen(50);
    (0..6).for_each(|_| pen.put(&mut driver, 0, 30));
    driver.flush();
    if closed {
        driver.close();
    }
    let life = driver.life();
    assert!(life.records.len() >= 200, "{}", life.records.len());
    life
}

/// Records that begin and end with sectors, and one of four sectors: a sector written to the wrong place
/// shows a sound head there.
fn in_sectors(seed: u64) -> Session {
    let mut pen = Pen::new(seed * 4 + 3);
    let mut driver = pen.driver(1);
    let lengths = [128 - OPENED_BYTES].into_iter().chain([64; 5]).chain([2048]).chain([64; 24]);
    lengths.for_each(|bytes| pen.put(&mut driver, bytes - PUT_BYTES, bytes - PUT_BYTES));
    let life = driver.life();
    assert!(life.records.iter().any(|record| record.start % 512 == 0 && record.end - record.start == 2048));
    life
}

/// Each write is a group, and so is the last one, behind which the flusher has put its mark.
fn single_writes(seed: u64) -> Session {
    let mut pen = Pen::new(seed * 4 + 1);
    let mut driver = pen.driver(1);
    (0..5).for_each(|_| pen.put(&mut driver, 0, 30));
    driver.idle();
    (0..5).for_each(|_| pen.put(&mut driver, 0, 300));
    driver.idle();
    driver.life()
}

/// A snapshot of 1,200 keys, and a dozen writes behind it.
fn with_snapshot(seed: u64) -> Session {
    let mut pen = Pen::new(seed * 4 + 2);
    let mut driver = pen.driver(2);
    for block in 0..4 {
        let mut batch = Batch::new();
        for key in 0..300 {
            let bytes = pen.below(12);
            batch.put(format!("{:04}", block * 300 + key), pen.value(bytes));
        }
        driver.batch(batch);
    }
    driver.snapshot();
    (0..12).for_each(|_| pen.put(&mut driver, 0, 30));
    driver.close();
    driver.life()
}

/// The same, with an index.
fn indexed(life: Session) -> Session {
    let path = Path::new(SNAPSHOT);
    let plain = life.snapshot.clone().expect("one was taken");
    let disk = SimDisk::new(&Image::from([(path.to_path_buf(), plain)]), 1);
    let open = || disk.open_read(path).expect("no faults").expect("it is there");
    let header = snapshot::read_header(&*open(), path).expect("sound");
    let header = snapshot::save_again(&disk, path, Form::Indexed, header.store_id, open()).expect("no faults");
    let mut bytes = vec![0; usize::try_from(header.file_len().expect("short")).expect("short")];
    read_full_at(&*open(), 0, &mut bytes).expect("no faults");
    Session { snapshot: Some(bytes), ..life }
}

struct Run {
    disk: Memory,
    /// The file as it is after the edit.
    bytes: Vec<u8>,
}

impl Run {
    fn case(&mut self, target: &Target, edit: Edit, case: u64) -> std::result::Result<Outcome, Wrong> {
        let (wal, snapshot) = (Path::new(WAL), Path::new(SNAPSHOT));
        let life = &target.life;
        if target.is_snapshot {
            self.disk.put(wal, &life.log);
            self.disk.put(snapshot, &self.bytes);
            let outcome = self.snapshot(life, case)?;
            if target.is_indexed {
                self.values_on_disk(life)?;
            }
            return Ok(outcome);
        }
        match &life.snapshot {
            Some(bytes) => self.disk.put(snapshot, bytes),
            None => self.disk.keep_only([wal, wal]),
        }
        self.disk.put(wal, &self.bytes);
        let outcome = self.log(target, case, edit);
        let untouched = life.snapshot.as_ref().is_none_or(|bytes| self.disk.file(snapshot).is_some_and(|file| file.holds(bytes)));
        self.disk.keep_only([wal, snapshot]);
        if untouched { outcome } else { Err(Wrong::Told("the snapshot was changed".into())) }
    }

    /// A snapshot that is not as it was written is refused, whatever the log says.
    fn snapshot(&self, life: &Session, case: u64) -> std::result::Result<Outcome, Wrong> {
        let mut policies = vec![Recovery::Prefix];
        policies.extend(case.is_multiple_of(AGAIN_EVERY).then_some(Recovery::Strict));
        for policy in policies {
            match self.recover(policy)? {
                Err(Error::Damaged { .. } | Error::Foreign { .. }) => {}
                Err(error) => return Err(Wrong::Told(format!("refused with {error}"))),
                Ok(found) if life.is_state(found.report.last_seq, &found.state) => {
                    return Err(Wrong::Unseen(format!("opened at write {}", found.report.last_seq)));
                }
                Ok(found) => return Err(Wrong::Value(format!("opened at write {} with another state", found.report.last_seq))),
            }
        }
        Ok(Outcome::Refused)
    }

    /// Opened with its values on the disk such a snapshot gives right values, or errors, and one at least.
    fn values_on_disk(&self, life: &Session) -> std::result::Result<(), Wrong> {
        let found = match self.recover_to(Keep::OnDisk { cache_bytes: 1 << 20 }, Recovery::Strict)? {
            Err(Error::Damaged { .. } | Error::Foreign { .. }) => return Ok(()),
            Err(error) => return Err(Wrong::Told(format!("with values on disk refused with {error}"))),
            Ok(found) => found,
        };
        let expected = &life.states[usize::try_from(found.report.last_seq).expect("few writes")];
        let mut errors = 0;
        for (key, value) in expected.range(Bound::Unbounded).step_by(5) {
            match found.state.get(key) {
                Ok(Some(found)) if found == *value => {}
                Err(Error::Damaged { .. }) => errors += 1,
                other => return Err(Wrong::Value(format!("with values on disk {key:?} is {other:?}"))),
            }
        }
        match found.state.range(Bound::Unbounded, b"", usize::MAX) {
            Err(Error::Damaged { .. }) => Ok(()),
            Err(error) => Err(Wrong::Told(format!("a scan with values on disk says {error}"))),
            Ok(all) if all.iter().map(|(key, value)| (&**key, value)).eq(expected.range(Bound::Unbounded)) => {
                Err(Wrong::Unseen(format!("a scan with values on disk says nothing, {errors} lookups do")))
            }
            Ok(_) => Err(Wrong::Value("a scan with values on disk gives other entries".into())),
        }
    }

    fn log(&self, target: &Target, case: u64, edit: Edit) -> std::result::Result<Outcome, Wrong> {
        let (life, bytes) = (&target.life, &self.bytes);
        let same = bytes.iter().zip(&life.log).take_while(|(a, b)| a == b).count();
        if bytes.is_empty() {
            return self.emptied(life);
        }
        if same < HEADER_BYTES {
            return self.header();
        }
        let (k, end, _) = life.whole(same);
        let witnessed = edit.leaves_witness(target, bytes, end, k + 1);
        let strict = self.recover(Recovery::Strict)?;
        let found = match strict {
            Ok(found) => found,
            Err(Error::Damaged { offset, .. }) if offset == end as u64 => {
                self.recover(Recovery::Prefix)?.map_err(|error| Wrong::Told(format!("not opened: {error}")))?
            }
            Err(error) => return Err(Wrong::Told(format!("strict mode says {error}, where the record at byte {end} was hit"))),
        };
        let report = &found.report;
        if !life.is_state(report.last_seq, &found.state) {
            return Err(Wrong::Value(format!("opened at write {} with another state", report.last_seq)));
        }
        if report.last_seq != k {
            let line = format!("opened at write {}, where write {k} is the last before the change", report.last_seq);
            return Err(if report.last_seq > k { Wrong::Unseen(line) } else { Wrong::Told(line) });
        }
        let shorter = same == bytes.len();
        let outcome = match &report.tail {
            // A record's check may begin with zeros, and what is left of it then is space that was reserved.
            LogTail::Clean if shorter && bytes[end..].iter().all(|&byte| byte == 0) => Outcome::EarlierEnd,
            LogTail::Torn(cut) if shorter && cut.offset == end as u64 => Outcome::EarlierEnd,
            LogTail::Damaged(cut) if !shorter && cut.offset == end as u64 && cut.expected == k + 1 => {
                let kept = cut.kept_as.as_deref().and_then(|path| self.disk.file(path));
                if kept.is_none_or(|file| !file.holds(bytes)) {
                    return Err(Wrong::Told("the damaged log was not kept whole".into()));
                }
                Outcome::Damaged
            }
            LogTail::Torn(cut) if !shorter && cut.offset == end as u64 && cut.expected == k + 1 && !witnessed => {
                if end >= target.unwitnessed_from {
                    Outcome::LastGroup
                } else if edit.is_small() {
                    return Err(Wrong::Unseen("damage was taken for a torn tail; the records behind it do not prove it".into()));
                } else {
                    Outcome::NoWitness
                }
            }
            // Zeros to the end are space that was reserved; of a last group that was lost they say as little as a torn one.
            LogTail::Clean if !shorter && !witnessed && bytes[end..].iter().all(|&byte| byte == 0) => {
                if end >= target.unwitnessed_from { Outcome::LastGroup } else { Outcome::NoWitness }
            }
            LogTail::Torn(_) if witnessed => return Err(Wrong::Unseen("damage was taken for a torn tail".into())),
            LogTail::Clean => return Err(Wrong::Unseen("nothing was said".into())),
            tail => return Err(Wrong::Told(format!("the log is whole up to byte {end}, and told is {tail:?}"))),
        };
        if !matches!(report.tail, LogTail::Clean) && report.warnings().is_empty() {
            return Err(Wrong::Told("there is no warning".into()));
        }
        self.cut_and_stays(&found, end, case)?;
        Ok(outcome)
    }

    /// What does not hold was cut off, and another opening finds the same.
    fn cut_and_stays(&self, found: &Recovered, end: usize, case: u64) -> std::result::Result<(), Wrong> {
        let file = self.disk.file(Path::new(WAL)).ok_or_else(|| Wrong::Told("the log is gone".into()))?;
        if !file.is_cut(&self.bytes[..end]) {
            return Err(Wrong::Told("the log was not cut where it stops making sense".into()));
        }
        if case.is_multiple_of(AGAIN_EVERY) {
            let again = self.recover(Recovery::Strict)?.map_err(|error| Wrong::Told(format!("not opened again: {error}")))?;
            if again.report.tail != LogTail::Clean
                || again.state.digest().ok() != found.state.digest().ok()
                || !file.is_cut(&self.bytes[..end])
            {
                return Err(Wrong::Told("opening again finds something else".into()));
            }
        }
        Ok(())
    }

    /// A header is never torn: it refuses in both modes.
    fn header(&self) -> std::result::Result<Outcome, Wrong> {
        for policy in [Recovery::Strict, Recovery::Prefix] {
            match self.recover(policy)? {
                Err(Error::Damaged { .. } | Error::Foreign { .. }) => {}
                Err(error) => return Err(Wrong::Told(format!("refused with {error}"))),
                Ok(_) => return Err(Wrong::Unseen("opened with a damaged header".into())),
            }
        }
        Ok(Outcome::Refused)
    }

    /// An empty file holds nothing, and no crash leaves one: strict mode refuses it. Otherwise a new store begins, or the
    /// snapshot misses its log, and nothing is changed before the first write.
    fn emptied(&self, life: &Session) -> std::result::Result<Outcome, Wrong> {
        let strict = self.recover(Recovery::Strict)?;
        let found = match (strict, &life.snapshot) {
            (Err(Error::Damaged { .. }), None) | (Err(Error::Mismatch { .. }), Some(_)) => {
                self.recover(Recovery::Prefix)?.map_err(|error| Wrong::Told(format!("not opened: {error}")))?
            }
            (Ok(_), _) => return Err(Wrong::Unseen("opened without its log".into())),
            (Err(error), _) => return Err(Wrong::Told(format!("refused with {error}"))),
        };
        match life.is_state(life.base, &found.state) {
            true if found.report.created || found.report.log_missing => Ok(Outcome::EarlierEnd),
            true => Err(Wrong::Unseen("nothing was said".into())),
            false => Err(Wrong::Value("opened with a state from nowhere".into())),
        }
    }

    /// Recovers; a refusal has changed nothing.
    fn recover(&self, policy: Recovery) -> std::result::Result<Result<Recovered>, Wrong> {
        self.recover_to(Keep::InMemory, policy)
    }

    fn recover_to(&self, keep: Keep, policy: Recovery) -> std::result::Result<Result<Recovered>, Wrong> {
        let before = self.disk.changes();
        let found =
            recover(&self.disk, Path::new(WAL), Path::new(SNAPSHOT), policy, keep, &LockNotes::default(), &Progress::default());
        if found.is_err() && self.disk.changes() != before {
            return Err(Wrong::Told("files were changed by an opening that was refused".into()));
        }
        Ok(found)
    }
}

/// Where a log ends that nothing behind it proves: its last group, or the mark of closing.
pub(super) fn unwitnessed_from(life: &Session) -> usize {
    // Two marks with no write between are synced together, so the second proves nothing of the first.
    let mut behind = life.records.iter().rev().take_while(|record| record.kind != Kind::WRITE).peekable();
    let is_closed = behind.peek().is_some_and(|record| record.kind == Kind::CLOSED);
    let marked = behind.last().filter(|_| is_closed).map(|record| record.start);
    // The mark of an opening, which is synced by itself, is proven by the first group that is proven behind it.
    let before = |start| life.records.iter().find(|record| record.end == start && record.kind == Kind::OPENED);
    let group = life.groups.last().map(|group| before(group.start).map_or(group.start, |mark| mark.start));
    marked.or(group).unwrap_or(HEADER_BYTES)
}

/// The last group that was synced before a store that was idle was killed; of another one nothing.
pub(super) fn idle_group(life: &Session) -> std::ops::Range<usize> {
    match (life.groups.as_slice(), life.records.last()) {
        ([.., group, mark], Some(last)) if last.kind == Kind::OPENED && last.start == mark.start => group.start..group.end,
        _ => 0..0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Misplaced sectors are few among the cases, and the ones that deceive are fewer.
    #[test]
    fn every_sector_in_a_wrong_place_is_seen() {
        let targets = targets(7);
        let mut run = Run { disk: Memory::new(7), bytes: Vec::new() };
        for target in targets.iter().filter(|target| !target.is_snapshot) {
            let edits = (0..).map_while(|number| target.single(number).ok()).filter(|edit| edit.sort() == 2);
            for (case, edit) in edits.enumerate() {
                edit.apply(target, &mut run.bytes);
                if run.bytes != *target.bytes()
                    && let Err(Wrong::Value(line) | Wrong::Unseen(line) | Wrong::Told(line)) = run.case(target, edit, case as u64)
                {
                    panic!("{}: {edit:?}: {line}", target.name);
                }
            }
        }
    }
}

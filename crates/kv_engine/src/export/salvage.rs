//! Salvage: every entry of damaged files that passes its checks.
//!
//! | file | read | left out |
//! |---|---|---|
//! | log | every whole record, before and after the damage, in the order of the sequence numbers | records after one with a higher number: bytes of an earlier session |
//! | snapshot | every whole block | the entries of the other blocks |
//!
//! A damaged header does not hide the rest (`inspect/head.rs`), and neither does a block that cannot be read. If blocks
//! of the snapshot are lost, the operations of the log on their keys are used, although they may be older. So the
//! result is not a state that the store ever had: entries may be missing, old, or deleted since.
//!
//! Without a note, the result is the state after the last write in the files. So there is a note if
//! 1. a check of a file fails, or a part of it cannot be read;
//! 2. a write is missing. The number of another write, the base of the log, or a proof of a sync shows that it was
//!    made, and it is not in a sound snapshot and not in the log;
//! 3. a file is missing, empty, older than the other, or of another store or copy (`recovery/pair.rs`);
//! 4. a damaged log was kept beside this one: it may be the only place of some writes.

use super::bad_blocks::BadBlocks;
use super::log_index::LogIndex;
use super::merge::Merge;
use super::missing::{MissingWrites, NoteLimit};
use super::reason_of;
use crate::disk::{Disk, File, OsDisk, ReadOnly};
use crate::error::{Error, Result};
use crate::inspect::{self, LogHead, SnapshotHead, log_head, snapshot_head};
use crate::record::{HEADER_BYTES, Kind};
use crate::recovery::{CopyKind, LogState, find_divergence, find_kept_copies, find_mismatch, look_until_settled, named_copies};
use crate::scan::{Frame, Next};
use crate::state::{self, Key};
use crate::{KeptCopy, Seq, snapshot, wal};
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The readable parts of damaged files, ready to be streamed; from [`salvage`].
#[derive(Debug)]
pub struct Salvage {
    index: LogIndex,
    log: Option<Arc<ReadOnly<BadBlocks>>>,
    log_path: PathBuf,
    snapshot: Option<Snapshot>,
    path: PathBuf,
    report: SalvageReport,
}

/// The report of a salvage: what was read and what is missing; from [`Salvage::each`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SalvageReport {
    /// Entries that were given to `each`.
    pub entries: u64,
    /// Writes of the log that were read.
    pub writes: u64,
    /// Writes that neither file holds, although the numbers of others show that they were made.
    pub lost_writes: u64,
    /// Their numbers. If there are many gaps, only the first ones.
    pub missing: Vec<RangeInclusive<Seq>>,
    /// Entries of the snapshot that were read.
    pub snapshot_entries: u64,
    /// Entries of the snapshot that were not read. `None` if the damaged header does not tell how many there were.
    pub lost_entries: Option<u64>,
    /// Whether the file of the log ends right after a write, without reserved space and without a mark. A failed write
    /// leaves this, and so does a truncation of the file. Later writes may be missing then.
    pub ends_bare: bool,
    /// A sentence for everything that is wrong with the files. Empty if nothing is.
    pub notes: Vec<String>,
}

/// A snapshot that can be read at least in part.
#[derive(Debug)]
struct Snapshot {
    file: Arc<ReadOnly<BadBlocks>>,
    /// Whether all its checks hold.
    sound: bool,
    head: SnapshotHead,
}

/// Reads the readable parts of the log at `wal` and of the snapshot at `snapshot`. Problems with the files are not
/// errors; the report has a note for each.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # use kv_engine::disk::{Disk, OsDisk};
/// use kv_engine::export;
/// use std::ops::ControlFlow;
///
/// let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// engine.put("x", "100")?;
/// engine.put("y", "200")?;
/// engine.close()?;
/// OsDisk.open(&log)?.expect("a log").write_at(140, b"rot")?; // in the first write
/// assert!(export::read(&log, &snapshot).is_err());
/// let mut keys = Vec::new();
/// let report = export::salvage(&log, &snapshot).each(|key, _| {
///     keys.push(key.to_vec());
///     ControlFlow::Continue(())
/// });
/// assert_eq!((keys, report.lost_writes), (vec![b"y".to_vec()], 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn salvage(wal: &Path, snapshot: &Path) -> Salvage {
    salvage_from(&OsDisk, wal, snapshot)
}

pub(super) fn salvage_from(disk: &dyn Disk, wal: &Path, snapshot: &Path) -> Salvage {
    look_until_settled(wal, || look(disk, wal, snapshot), |salvage| salvage.report.notes.is_empty())
}

fn look(disk: &dyn Disk, wal: &Path, snapshot: &Path) -> Salvage {
    let mut report = SalvageReport { lost_entries: Some(0), ..SalvageReport::default() };
    // The log is opened first, as `read` does.
    let log = open_log(disk, wal);
    let head = match &log {
        Ok(Some(file)) => Some(log_head(&(Arc::clone(file) as Arc<dyn File>), wal)),
        _ => None,
    };
    let log_header = head.as_ref().and_then(|head| head.as_ref().ok()).filter(|head| head.is_known).map(|head| head.header);
    let mut store_is_known = head.as_ref().is_some_and(|head| head.as_ref().is_ok_and(|head| head.damage.is_none()));
    let found = look_at_snapshot(disk, snapshot, log_header.as_ref()).unwrap_or_else(|error| {
        report.lost_entries = None;
        report.notes.push(format!("snapshot: {error}"));
        None
    });
    if let Some(found) = &found {
        store_is_known |= found.head.damage.is_none();
        report.notes.extend(note_on(found, snapshot));
    }
    let held = found.as_ref().and_then(|found| found.head.header);
    let mismatch = |log: LogState<'_>| find_mismatch(wal, snapshot, log, held.as_ref()).map(|error| reason_of(&error));
    let mut index = LogIndex::default();
    let log = match (log, head) {
        (Err(error), _) => {
            report.notes.push(format!("log: {error}"));
            None
        }
        (Ok(None), _) => {
            let empty = disk.open_read(wal).is_ok_and(|file| file.is_some());
            let missing = mismatch(if empty { LogState::Empty } else { LogState::Missing });
            report.notes.push(missing.unwrap_or_else(|| format!("log: {}: the file does not exist", wal.display())));
            None
        }
        (Ok(Some(file)), head) => {
            index = LogIndex::of(Arc::clone(&file) as Arc<dyn File>, wal);
            let read = head.unwrap_or_else(|| unreachable!("a log that is open was looked at")).and_then(|head| {
                let files = Pair { log: &file, wal, head, snapshot: found.as_ref(), path: snapshot };
                files.read_log(&mut index, &mut report)
            });
            if let Err(error) = read {
                report.notes.push(format!("log: {error}"));
            }
            Some(file)
        }
    };
    index.finish();
    let copies = if store_is_known { copies_of_store(disk, wal, snapshot) } else { copies_by_name(disk, wal) };
    report.notes.extend(notes_on(&copies));
    Salvage { index, log, log_path: wal.to_path_buf(), snapshot: found, path: snapshot.to_path_buf(), report }
}

/// The failed check, without the consequences for opening the store.
fn failed_check(damage: &str) -> &str {
    damage.split_once(';').map_or(damage, |(what, _)| what)
}

/// A note if the snapshot as a whole is damaged.
fn note_on(found: &Snapshot, path: &Path) -> Option<String> {
    let path = path.display();
    match (&found.head.damage, &found.head.header) {
        (Some(damage), Some(_)) => {
            Some(format!("snapshot: the header of {path} is damaged: {}; its fields could still be read", failed_check(damage)))
        }
        (Some(damage), None) => Some(format!(
            "snapshot: the header of {path} is damaged: {}; a search found blocks; it is unknown how many entries there were",
            failed_check(damage)
        )),
        (None, _) => (!found.sound).then(|| format!("snapshot: {path} is damaged")),
    }
}

/// The damaged logs of this store that were kept beside this one. Used if a header tells which store it is.
fn copies_of_store(disk: &dyn Disk, wal: &Path, snapshot: &Path) -> Vec<PathBuf> {
    let damaged = |copy| if let KeptCopy::Damaged(path) = copy { Some(path) } else { None };
    find_kept_copies(disk, wal, snapshot).into_iter().filter_map(damaged).collect()
}

/// All files with the name of a copy of a damaged log.
fn copies_by_name(disk: &dyn Disk, wal: &Path) -> Vec<PathBuf> {
    let damaged = |(kind, path)| (kind == CopyKind::Damaged).then_some(path);
    named_copies(disk, wal).into_iter().filter_map(damaged).collect()
}

fn notes_on(copies: &[PathBuf]) -> Vec<String> {
    let (mut notes, mut limit) = (Vec::new(), NoteLimit::default());
    for copy in copies {
        let copy = copy.display();
        limit.add(&mut notes, || {
            format!(
                "an earlier opening kept the log {copy}; it was not read here; some writes may exist only there; to see them: \
                 kv_cli wal {copy}"
            )
        });
    }
    limit.end(&mut notes, "kept logs");
    notes
}

impl Salvage {
    /// Gives the entries to `each` in key order, until all are done or `each` stops. Returns the report.
    pub fn each(self, mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> SalvageReport {
        let Salvage { index, log, log_path, snapshot, path, mut report } = self;
        let mut entries = 0;
        let mut counting = |key: &[u8], value: &[u8]| {
            entries += 1;
            each(key, value)
        };
        let mut merge = match Merge::new(&index, b"", &mut counting) {
            Ok(merge) => merge,
            Err(error) => {
                report.notes.push(format!("nothing was exported: {error}"));
                return report;
            }
        };
        let mut unreadable = Vec::new();
        if let Some(found) = snapshot {
            let expected = found.head.header.map(|header| header.entries);
            let file = Arc::clone(&found.file);
            let read = read_blocks(found, &path, &mut merge, &mut report.notes);
            report.snapshot_entries = read;
            report.lost_entries = expected.map(|expected| expected.saturating_sub(read));
            unreadable.extend(file.0.note(&path).map(|note| format!("snapshot: {note}")));
        }
        let unread = merge.finish();
        report.entries = entries;
        let mut limit = NoteLimit::default();
        for error in unread {
            limit.add(&mut report.notes, || format!("log: {error}; the entry is left out"));
        }
        limit.end(&mut report.notes, "log");
        unreadable.extend(log.and_then(|log| log.0.note(&log_path)).map(|note| format!("log: {note}")));
        report.notes.extend(unreadable);
        report
    }
}

/// `Ok(None)` if there is no snapshot.
fn look_at_snapshot(disk: &dyn Disk, path: &Path, log: Option<&wal::Header>) -> Result<Option<Snapshot>> {
    let Some(file) = disk.open_read(path).map_err(Error::io("opening", path))? else { return Ok(None) };
    let file = BadBlocks::new(file);
    let head = snapshot_head(&(Arc::clone(&file) as Arc<dyn File>), path, log)?;
    let sound = snapshot::load(Arc::clone(&file) as Arc<dyn File>, path, |_, _| {}).is_ok();
    Ok(Some(Snapshot { file, sound, head }))
}

/// `Ok(None)` if there is no log, or an empty one.
fn open_log(disk: &dyn Disk, path: &Path) -> Result<Option<Arc<ReadOnly<BadBlocks>>>> {
    Ok(super::open(disk, path)?.map(BadBlocks::new))
}

/// A log that can be read, and the snapshot beside it.
struct Pair<'a> {
    log: &'a Arc<ReadOnly<BadBlocks>>,
    wal: &'a Path,
    head: LogHead,
    snapshot: Option<&'a Snapshot>,
    path: &'a Path,
}

impl Pair<'_> {
    fn file(&self) -> Arc<dyn File> {
        Arc::clone(self.log) as Arc<dyn File>
    }

    fn read_log(&self, index: &mut LogIndex, report: &mut SalvageReport) -> Result<()> {
        let Pair { wal, head, snapshot, .. } = self;
        if let Some(damage) = &head.damage {
            let whose = match (head.is_known, head.begins()) {
                (true, _) => "its fields could still be read",
                (false, true) => "a search found records; it is unknown which store they belong to",
                (false, false) => {
                    "a search found records; it is unknown which store they belong to, and whether records before them are missing"
                }
            };
            report.notes.push(format!("log: the header of {} is damaged: {}; {whose}", wal.display(), failed_check(damage)));
        }
        if let Some(other) = snapshot.and_then(|snapshot| snapshot.head.store_id).filter(|_| head.is_known)
            && other != head.header.store_id
        {
            let seen = inspect::log_in(self.file(), wal, 0, |_| ControlFlow::Continue(()))?;
            let left_out = match seen.last_seq - seen.base {
                0 => "the log has no writes".to_string(),
                1 => format!("write {} of the log was left out", seen.last_seq),
                _ => format!("writes {} to {} of the log were left out", seen.base + 1, seen.last_seq),
            };
            report.notes.push(format!(
                "the log is of store {}, the snapshot of store {other}; only the snapshot was read; {left_out}",
                head.header.store_id
            ));
            return Ok(());
        }
        // Up to the last write of a sound snapshot the log is not needed. With a damaged snapshot the log may hold lost
        // entries.
        let held = snapshot.and_then(|snapshot| snapshot.head.seq).unwrap_or(0);
        let sound = snapshot.is_some_and(|snapshot| snapshot.sound);
        let mut missing = MissingWrites::after(match snapshot {
            Some(snapshot) if snapshot.sound => held,
            Some(snapshot) if snapshot.head.seq.is_some() => held.min(head.header.base),
            Some(_) => head.header.base,
            None => 0,
        });
        let end = self.read_records(if sound { held } else { 0 }, held, &mut missing, index, report);
        report.lost_writes = missing.count;
        report.notes.extend(missing.note());
        report.missing = missing.gaps;
        let last = end?;
        if let Some(snapshot) = snapshot.filter(|_| head.is_known) {
            let (state, base) = (LogState::Log(&head.header, last), head.header.base);
            if snapshot.head.header.is_none() && base > 0 {
                report
                    .notes
                    .push(format!("the log begins after write {base}, and the snapshot that holds the writes before is damaged"));
                return Ok(());
            }
            let mismatch = find_mismatch(wal, self.path, state, snapshot.head.header.as_ref());
            let snapshot = Arc::clone(&snapshot.file) as Arc<dyn File>;
            let mismatch = match mismatch {
                None if sound => find_divergence(wal, &self.file(), &head.header, self.path, &snapshot).ok().flatten(),
                mismatch => mismatch,
            };
            report.notes.extend(mismatch.map(|error| reason_of(&error)));
        } else if snapshot.is_none() && head.is_known {
            let mismatch = find_mismatch(wal, self.path, LogState::Log(&head.header, last), None);
            report.notes.extend(mismatch.map(|error| reason_of(&error)));
        }
        Ok(())
    }

    /// Reads every whole record. The writes up to `skip_to` are only counted. Returns the last write if the log is not
    /// damaged.
    fn read_records(
        &self,
        skip_to: Seq,
        held: Seq,
        missing: &mut MissingWrites,
        index: &mut LogIndex,
        report: &mut SalvageReport,
    ) -> Result<Option<Seq>> {
        let path = self.wal;
        let mut frames = self.head.frames(self.file(), path)?;
        let mut last = self.head.header.base;
        // The base proves that the writes before the first one of the log were made.
        missing.made(last);
        let (mut old, mut impossible) = (NoteLimit::default(), NoteLimit::default());
        let notes = &mut report.notes;
        let mut read = |frame: &Frame<'_>| {
            let (at, seq) = (frame.offset, frame.header.seq);
            if frame.header.kind != Kind::WRITE {
                return;
            }
            // A number that is not higher than the last one is from an earlier session of the file.
            if seq <= last {
                return old.add(notes, || format!("log: the record at byte {at} is from an earlier session (write {seq})"));
            }
            let Some(ops) = state::decode(frame.body) else {
                return impossible.add(notes, || format!("log: the content of the record at byte {at} is not possible"));
            };
            missing.read(seq);
            report.writes += 1;
            last = seq;
            if last > skip_to {
                ops.into_iter().for_each(|op| index.add(frame, op, last > held));
            }
        };
        let mut is_behind_write = false;
        let fault = loop {
            match frames.next()? {
                Next::End => break None,
                Next::Bad(fault) => break Some(fault),
                Next::Frame(frame) => {
                    is_behind_write = frame.header.kind == Kind::WRITE;
                    read(&frame);
                }
            }
        };
        let Some(fault) = fault else {
            report.ends_bare = is_behind_write && frames.offset() == frames.file_len();
            old.end(notes, "log: records of earlier sessions");
            impossible.end(notes, "log: records with impossible content");
            return Ok(Some(last));
        };
        let mut whole_bytes = 0;
        let beyond = frames.look_beyond(|frame| {
            whole_bytes += (HEADER_BYTES + frame.body.len()) as u64;
            read(&frame);
        })?;
        old.end(notes, "log: records of earlier sessions");
        impossible.end(notes, "log: records with impossible content");
        // A later record may prove that more writes were made than were found.
        missing.made(beyond.promised);
        let rest = frames.content_end()? - frames.offset();
        notes.push(format!(
            "log: {} is not valid from byte {} on: {fault}; whole records after that: {}; other bytes: {}",
            path.display(),
            frames.offset(),
            beyond.whole,
            rest.saturating_sub(whole_bytes),
        ));
        Ok(None)
    }
}

/// Gives the entries of every whole block to `merge`. Returns how many there were.
fn read_blocks(
    found: Snapshot,
    path: &Path,
    merge: &mut Merge<'_, impl FnMut(&[u8], &[u8]) -> ControlFlow<()>>,
    notes: &mut Vec<String>,
) -> u64 {
    let mut read = 0;
    let mut last: Option<Key> = None;
    let mut block = |frame: &Frame<'_>| {
        let ops = state::decode(frame.body).filter(|_| frame.header.kind == Kind::ENTRIES).unwrap_or_default();
        let mut flow = ControlFlow::Continue(());
        for op in ops {
            // The checks hold, and yet the entry is out of order or a delete: this program did not write it.
            if op.value.is_some() && last.as_deref().is_none_or(|last| last < op.key) && flow.is_continue() {
                flow = merge.entry(op);
                last = Some(op.key.into());
                read += 1;
            }
        }
        flow
    };
    let walk = || -> Result<()> {
        let mut frames = found.head.frames(found.file, path)?;
        let fault = loop {
            match frames.next()? {
                Next::End => return Ok(()),
                Next::Bad(fault) => break fault,
                Next::Frame(frame) if block(&frame).is_break() => return Ok(()),
                Next::Frame(_) => {}
            }
        };
        let at = frames.offset();
        let beyond = frames.look_beyond(|frame| {
            let _ = block(&frame);
        })?;
        notes.push(format!(
            "snapshot: {} is not valid from byte {at} on: {fault}; whole blocks after that: {}",
            path.display(),
            beyond.whole
        ));
        Ok(())
    };
    if let Err(error) = walk() {
        notes.push(format!("snapshot: {error}"));
    }
    read
}

//! Everything of damaged files whose check holds.
//!
//! | file | what is read | what is not |
//! |---|---|---|
//! | log | every whole record, before and behind the damage, in the order of its numbers | what stands behind a later one: bytes of an earlier life |
//! | snapshot | every whole block | the entries of the others |
//!
//! A damaged header, or first bytes that are none of ours, do not hide the rest (`inspect/head.rs`). Nor does a block
//! that cannot be read hide what stands behind it. Where blocks of
//! the snapshot are lost, what the log still says of their keys stands in for them, older as it may be. So
//! the outcome is no state that the store ever had: entries may be missing, old, or deleted since.
//!
//! Without a note, the outcome is the state after the last write that these files know of. So there is a note wherever
//! 1. a check of a file fails, or a part of it cannot be read;
//! 2. a write is missing that the number of another, a base, or a proof shows to have been made: up to what a sound
//!    snapshot holds none is, behind that each that is not read from the log;
//! 3. a file is missing, empty, older than the other, or of another store or copy (`recovery/pair.rs`);
//! 4. a damaged log was kept beside this one: writes may be in it alone.

use super::bad_blocks::BadBlocks;
use super::log_index::{LogIndex, Merge};
use super::missing::{Few, Missing};
use super::{LOOKS, reason_of};
use crate::disk::{Disk, File, OsDisk, ReadOnly};
use crate::error::{Error, Result};
use crate::inspect::{self, LogHead, SnapshotHead, log_head, snapshot_head};
use crate::record::{HEADER_BYTES, Kind};
use crate::recovery::{Beside, diverged, header_now, kept_beside, lacking};
use crate::scan::{Frame, Next};
use crate::state::{self, Key, OpRef};
use crate::{KeptCopy, Seq, snapshot, wal, with_suffix};
use std::ops::{ControlFlow, RangeInclusive};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What could be read of damaged files, ready to be streamed; from [`salvage`].
#[derive(Debug)]
pub struct Salvage {
    said: LogIndex,
    log: Option<Arc<ReadOnly<BadBlocks>>>,
    log_path: PathBuf,
    snapshot: Option<Snapshot>,
    path: PathBuf,
    salvaged: Salvaged,
}

/// What was salvaged and what was not; from [`Salvage::each`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Salvaged {
    /// Entries handed over.
    pub entries: u64,
    /// Writes of the log that were read.
    pub writes: u64,
    /// Writes that neither file holds, though the numbers of others show that they were made.
    pub lost_writes: u64,
    /// Which these are; of many gaps the first ones.
    pub missing: Vec<RangeInclusive<Seq>>,
    /// Entries of the snapshot that were read.
    pub snapshot_entries: u64,
    /// Entries of the snapshot that were not; `None` when its header does not say how many there were.
    pub lost_entries: Option<u64>,
    /// Whether the log ends with a write, and the file with it: without reserved space and without a mark, as a write that
    /// failed leaves it, or somebody who cut the file. What stood behind cannot be known then.
    pub ends_bare: bool,
    /// A sentence for everything that is wrong with the files; empty when nothing is.
    pub notes: Vec<String>,
}

/// A snapshot of which something can be read.
#[derive(Debug)]
struct Snapshot {
    file: Arc<ReadOnly<BadBlocks>>,
    /// Whether every check of it holds.
    sound: bool,
    head: SnapshotHead,
}

/// Reads what can be read of the log at `wal`, and looks at the snapshot at `snapshot`. Whatever is wrong
/// with them is no error but a note.
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
/// let salvaged = export::salvage(&log, &snapshot).each(|key, _| {
///     keys.push(key.to_vec());
///     ControlFlow::Continue(())
/// });
/// assert_eq!((keys, salvaged.lost_writes), (vec![b"y".to_vec()], 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn salvage(wal: &Path, snapshot: &Path) -> Salvage {
    salvage_from(&OsDisk, wal, snapshot)
}

pub(super) fn salvage_from(disk: &dyn Disk, wal: &Path, snapshot: &Path) -> Salvage {
    for _ in 0..LOOKS {
        let begun = header_now(wal);
        let salvage = look(disk, wal, snapshot);
        // A running store that put a new log in place meanwhile makes two files that do not fit.
        if salvage.salvaged.notes.is_empty() || header_now(wal) == begun {
            return salvage;
        }
    }
    look(disk, wal, snapshot)
}

fn look(disk: &dyn Disk, wal: &Path, snapshot: &Path) -> Salvage {
    let mut salvaged = Salvaged { lost_entries: Some(0), ..Salvaged::default() };
    // The log is opened first, as `read` does.
    let log = open_log(disk, wal);
    let head = match &log {
        Ok(Some(file)) => Some(log_head(&(Arc::clone(file) as Arc<dyn File>), wal)),
        _ => None,
    };
    let beside = head.as_ref().and_then(|head| head.as_ref().ok()).filter(|head| head.is_known).map(|head| head.header);
    let mut is_told = head.as_ref().is_some_and(|head| head.as_ref().is_ok_and(|head| head.damage.is_none()));
    let found = look_at_snapshot(disk, snapshot, beside.as_ref()).unwrap_or_else(|error| {
        salvaged.lost_entries = None;
        salvaged.notes.push(format!("snapshot: {error}"));
        None
    });
    if let Some(found) = &found {
        is_told |= found.head.damage.is_none();
        salvaged.notes.extend(note_on(found, snapshot));
    }
    let held = found.as_ref().and_then(|found| found.head.header);
    let lack = |log: Beside<'_>| lacking(wal, snapshot, log, held.as_ref()).map(|error| reason_of(&error));
    let mut said = LogIndex::default();
    let log = match (log, head) {
        (Err(error), _) => {
            salvaged.notes.push(format!("log: {error}"));
            None
        }
        (Ok(None), _) => {
            let empty = disk.open_read(wal).is_ok_and(|file| file.is_some());
            let missing = lack(if empty { Beside::Empty } else { Beside::Nothing });
            salvaged.notes.push(missing.unwrap_or_else(|| format!("log: {}: there is no such file", wal.display())));
            None
        }
        (Ok(Some(file)), head) => {
            said = LogIndex::of(Arc::clone(&file) as Arc<dyn File>, wal);
            let read = head.unwrap_or_else(|| unreachable!("a log that is open was looked at")).and_then(|head| {
                let files = Pair { log: &file, wal, head, snapshot: found.as_ref(), path: snapshot };
                files.read_log(&mut said, &mut salvaged)
            });
            if let Err(error) = read {
                salvaged.notes.push(format!("log: {error}"));
            }
            Some(file)
        }
    };
    let copies = if is_told { told_copies(disk, wal, snapshot) } else { named_copies(disk, wal) };
    salvaged.notes.extend(notes_on(&copies));
    Salvage { said, log, log_path: wal.to_path_buf(), snapshot: found, path: snapshot.to_path_buf(), salvaged }
}

/// The check that fails, without what opening makes of it.
fn what_fails(damage: &str) -> &str {
    damage.split_once(';').map_or(damage, |(what, _)| what)
}

/// What is wrong with the snapshot as a whole.
fn note_on(found: &Snapshot, path: &Path) -> Option<String> {
    let path = path.display();
    match (&found.head.damage, &found.head.header) {
        (Some(damage), Some(_)) => {
            Some(format!("snapshot: the header of {path} is damaged: {}; what it says is known all the same", what_fails(damage)))
        }
        (Some(damage), None) => Some(format!(
            "snapshot: the header of {path} is damaged: {}; its blocks were searched; how many entries it had is not known",
            what_fails(damage)
        )),
        (None, _) => (!found.sound).then(|| format!("snapshot: {path} is damaged")),
    }
}

/// The logs of this store that were damaged and kept beside this one, where a header says which store it is.
fn told_copies(disk: &dyn Disk, wal: &Path, snapshot: &Path) -> Vec<PathBuf> {
    let damaged = |copy| if let KeptCopy::Damaged(path) = copy { Some(path) } else { None };
    kept_beside(disk, wal, snapshot).into_iter().filter_map(damaged).collect()
}

/// Whatever has the name of such a log.
fn named_copies(disk: &dyn Disk, wal: &Path) -> Vec<PathBuf> {
    let begin = with_suffix(wal, ".damaged-");
    let is_copy = |path: &PathBuf| {
        let behind = path.as_os_str().as_encoded_bytes().strip_prefix(begin.as_os_str().as_encoded_bytes());
        behind.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit))
    };
    let mut copies: Vec<_> = disk.list(&begin).unwrap_or_default().into_iter().filter(is_copy).collect();
    copies.sort();
    copies
}

fn notes_on(copies: &[PathBuf]) -> Vec<String> {
    let (mut notes, mut few) = (Vec::new(), Few::default());
    for copy in copies {
        let copy = copy.display();
        few.add(&mut notes, || {
            format!(
                "{copy} was kept when the log was damaged; it may hold writes that are in no other file; it was not read; see them \
                 with: kv_cli wal {copy}"
            )
        });
    }
    few.end(&mut notes, "kept logs");
    notes
}

impl Salvage {
    /// Hands over the entries in key order, until all were or `each` breaks off, and says what they are.
    pub fn each(self, mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Salvaged {
        let Salvage { mut said, log, log_path, snapshot, path, mut salvaged } = self;
        let mut entries = 0;
        let mut counting = |key: &[u8], value: &[u8]| {
            entries += 1;
            each(key, value)
        };
        let mut merge = said.merge(&mut counting);
        let mut holes = Vec::new();
        if let Some(found) = snapshot {
            let promised = found.head.header.map(|header| header.entries);
            let file = Arc::clone(&found.file);
            let read = read_blocks(found, &path, &mut merge, &mut salvaged.notes);
            salvaged.snapshot_entries = read;
            salvaged.lost_entries = promised.map(|promised| promised.saturating_sub(read));
            holes.extend(file.0.note(&path).map(|note| format!("snapshot: {note}")));
        }
        let unread = merge.finish();
        salvaged.entries = entries;
        let mut few = Few::default();
        for error in unread {
            few.add(&mut salvaged.notes, || format!("log: {error}; the entry is left out"));
        }
        few.end(&mut salvaged.notes, "log");
        holes.extend(log.and_then(|log| log.0.note(&log_path)).map(|note| format!("log: {note}")));
        salvaged.notes.extend(holes);
        salvaged
    }
}

/// `Ok(None)` when there is none.
fn look_at_snapshot(disk: &dyn Disk, path: &Path, beside: Option<&wal::Header>) -> Result<Option<Snapshot>> {
    let Some(file) = disk.open_read(path).map_err(Error::io("opening", path))? else { return Ok(None) };
    let file = BadBlocks::new(file);
    let head = snapshot_head(&(Arc::clone(&file) as Arc<dyn File>), path, beside)?;
    let sound = snapshot::load(Arc::clone(&file) as Arc<dyn File>, path, |_, _| {}).is_ok();
    Ok(Some(Snapshot { file, sound, head }))
}

/// `Ok(None)` when there is none, or an empty one.
fn open_log(disk: &dyn Disk, path: &Path) -> Result<Option<Arc<ReadOnly<BadBlocks>>>> {
    Ok(super::open(disk, path)?.map(BadBlocks::new))
}

/// A log that can be read, and what is beside it.
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

    fn read_log(&self, said: &mut LogIndex, salvaged: &mut Salvaged) -> Result<()> {
        let Pair { wal, head, snapshot, .. } = self;
        if let Some(damage) = &head.damage {
            let whose = match (head.is_known, head.begins()) {
                (true, _) => "what it says is known all the same",
                (false, true) => "its records were searched; whose log it is, is not known",
                (false, false) => {
                    "its records were searched; whose log it is, and whether it held others before them, is not known"
                }
            };
            salvaged.notes.push(format!("log: the header of {} is damaged: {}; {whose}", wal.display(), what_fails(damage)));
        }
        if let Some(other) = snapshot.and_then(|snapshot| snapshot.head.store_id).filter(|_| head.is_known)
            && other != head.header.store_id
        {
            let seen = inspect::log_in(self.file(), wal, 0, |_| ControlFlow::Continue(()))?;
            salvaged.notes.push(format!(
                "the log is of store {}, the snapshot of store {other}; only the snapshot was read; left out: the log's writes {} to {}",
                head.header.store_id,
                seen.base + 1,
                seen.last_seq
            ));
            return Ok(());
        }
        // What a sound snapshot holds, it holds better; of a damaged one the log may know what is lost.
        let held = snapshot.and_then(|snapshot| snapshot.head.seq).unwrap_or(0);
        let sound = snapshot.is_some_and(|snapshot| snapshot.sound);
        let mut missing = Missing::behind(match snapshot {
            Some(snapshot) if snapshot.sound => held,
            Some(snapshot) if snapshot.head.seq.is_some() => held.min(head.header.base),
            Some(_) => head.header.base,
            None => 0,
        });
        let end = self.hear(if sound { held } else { 0 }, held, &mut missing, said, salvaged);
        salvaged.lost_writes = missing.count;
        salvaged.notes.extend(missing.note());
        salvaged.missing = missing.gaps;
        let last = end?;
        if let Some(snapshot) = snapshot.filter(|_| head.is_known) {
            let beside = Beside::Log(&head.header, last);
            let lack = lacking(wal, self.path, beside, snapshot.head.header.as_ref());
            let snapshot = Arc::clone(&snapshot.file) as Arc<dyn File>;
            let lack = match lack {
                None if sound => diverged(wal, &self.file(), &head.header, self.path, &snapshot).ok().flatten(),
                lack => lack,
            };
            salvaged.notes.extend(lack.map(|error| reason_of(&error)));
        } else if snapshot.is_none() && head.is_known {
            let lack = lacking(wal, self.path, Beside::Log(&head.header, last), None);
            salvaged.notes.extend(lack.map(|error| reason_of(&error)));
        }
        Ok(())
    }

    /// Reads every whole record; those up to `skip_to` are only counted. Returns the last write where the log ends in order.
    fn hear(
        &self,
        skip_to: Seq,
        held: Seq,
        missing: &mut Missing,
        said: &mut LogIndex,
        salvaged: &mut Salvaged,
    ) -> Result<Option<Seq>> {
        let path = self.wal;
        let mut frames = self.head.frames(self.file(), path)?;
        let mut last = self.head.header.base;
        // The writes before the first one of the log were made.
        missing.made(last);
        let (mut old, mut senseless) = (Few::default(), Few::default());
        let notes = &mut salvaged.notes;
        let mut hear = |frame: &Frame<'_>| {
            let (at, seq) = (frame.offset, frame.header.seq);
            if frame.header.kind != Kind::WRITE {
                return;
            }
            // Numbers that do not go up are bytes of an earlier life of the file.
            if seq <= last {
                return old.add(notes, || format!("log: the record at byte {at} is an old one (write {seq})"));
            }
            let Some(ops) = state::decode(frame.body) else {
                return senseless.add(notes, || format!("log: the record at byte {at} makes no sense"));
            };
            missing.read(seq);
            salvaged.writes += 1;
            last = seq;
            if last > skip_to {
                ops.into_iter().for_each(|op| said.hear(frame, op, last > held));
            }
        };
        let mut is_behind_write = false;
        let fault = loop {
            match frames.next()? {
                Next::End => break None,
                Next::Bad(fault) => break Some(fault),
                Next::Frame(frame) => {
                    is_behind_write = frame.header.kind == Kind::WRITE;
                    hear(&frame);
                }
            }
        };
        let Some(fault) = fault else {
            salvaged.ends_bare = is_behind_write && frames.offset() == frames.file_len();
            old.end(notes, "log: old records");
            senseless.end(notes, "log: senseless records");
            return Ok(Some(last));
        };
        let mut whole_bytes = 0;
        let beyond = frames.look_beyond(|frame| {
            whole_bytes += (HEADER_BYTES + frame.body.len()) as u64;
            hear(&frame);
        })?;
        old.end(notes, "log: old records");
        senseless.end(notes, "log: senseless records");
        // A later record may prove that there was more than was found.
        missing.made(beyond.promised);
        let rest = frames.content_end()? - frames.offset();
        notes.push(format!(
            "log: {} stops making sense at byte {}: {fault}; whole records behind that: {}; bytes that are none: {}",
            path.display(),
            frames.offset(),
            beyond.whole,
            rest.saturating_sub(whole_bytes),
        ));
        Ok(None)
    }
}

/// Hands over the entries of every whole block; returns how many.
fn read_blocks<'s>(
    found: Snapshot,
    path: &Path,
    merge: &mut Merge<'s, impl Iterator<Item = OpRef<'s>>, impl FnMut(&[u8], &[u8]) -> ControlFlow<()>>,
    notes: &mut Vec<String>,
) -> u64 {
    let mut read = 0;
    let mut last: Option<Key> = None;
    let mut block = |frame: &Frame<'_>| {
        let ops = state::decode(frame.body).filter(|_| frame.header.kind == Kind::ENTRIES).unwrap_or_default();
        let mut flow = ControlFlow::Continue(());
        for op in ops {
            // Each check holds, and yet out of order or a deletion: not of our making.
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
        notes.push(format!("snapshot: it stops making sense at byte {at}: {fault}; whole blocks behind that: {}", beyond.whole));
        Ok(())
    };
    if let Err(error) = walk() {
        notes.push(format!("snapshot: {error}"));
    }
    read
}

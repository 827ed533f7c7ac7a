//! Everything of damaged files whose check holds.
//!
//! | file | what is read | what is not |
//! |---|---|---|
//! | log | every whole record, before and behind the damage, in the order of its numbers | what stands behind a later one: bytes of an earlier life |
//! | snapshot | every whole block | the entries of the others |
//!
//! A damaged header does not hide the rest: any whole frame gives away the salt that begins all checks. Nor does a block
//! that cannot be read hide what stands behind it. Where blocks of
//! the snapshot are lost, what the log still says of their keys stands in for them, older as it may be. So
//! the outcome is no state that the store ever had: entries may be missing, old, or deleted since.

use super::holed::Holed;
use super::said::{Merge, Said};
use crate::disk::{Disk, File, OsDisk, ReadOnly};
use crate::error::{Error, Result};
use crate::inspect::find_header;
use crate::record::{HEADER_BYTES, Kind};
use crate::recovery::{kept_beside, read_header};
use crate::scan::{Frame, Frames, Next, find_salt};
use crate::state::{self, Key, OpRef};
use crate::{KeptCopy, Seq, StoreId, snapshot, wal};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What could be read of damaged files, ready to be streamed; from [`salvage`].
#[derive(Debug)]
pub struct Salvage {
    said: Said,
    log: Option<Arc<ReadOnly<Holed>>>,
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
    /// Writes that were not, though the log's numbers show that they were made.
    pub lost_writes: u64,
    /// Entries of the snapshot that were read.
    pub snapshot_entries: u64,
    /// Entries of the snapshot that were not; `None` when its header does not say how many there were.
    pub lost_entries: Option<u64>,
    /// A sentence for everything that is wrong with the files; empty when nothing is.
    pub notes: Vec<String>,
}

/// A snapshot of which something can be read.
#[derive(Debug)]
struct Snapshot {
    file: Arc<ReadOnly<Holed>>,
    /// Whether every check of it holds.
    sound: bool,
    salt: u32,
    data_at: u64,
    /// As its header promises, where that can be believed.
    entries: Option<u64>,
    store_id: Option<StoreId>,
    seq: Option<Seq>,
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
    let mut salvaged = Salvaged { lost_entries: Some(0), ..Salvaged::default() };
    let found = look_at_snapshot(disk, snapshot).unwrap_or_else(|error| {
        salvaged.lost_entries = None;
        salvaged.notes.push(format!("snapshot: {error}"));
        None
    });
    match &found {
        Some(found) if found.entries.is_none() => {
            salvaged.notes.push(format!("snapshot: the header of {} is damaged; its blocks were searched", snapshot.display()));
        }
        Some(found) if !found.sound => salvaged.notes.push(format!("snapshot: {} is damaged", snapshot.display())),
        _ => {}
    }
    for copy in kept_beside(disk, wal, snapshot) {
        if let KeptCopy::Damaged(copy) = copy {
            let note = "is kept beside this log: a damaged log, whose writes may be there alone; salvage it too";
            salvaged.notes.push(format!("log: {} {note}", copy.display()));
        }
    }
    let (mut said, mut log) = (Said::default(), None);
    let read = open_log(disk, wal).and_then(|file| {
        said = Said::of(Arc::clone(&file) as Arc<dyn File>, wal);
        read_log(log.insert(file), wal, found.as_ref(), &mut said, &mut salvaged)
    });
    if let Err(error) = read {
        salvaged.notes.push(format!("log: {error}"));
    }
    Salvage { said, log, log_path: wal.to_path_buf(), snapshot: found, path: snapshot.to_path_buf(), salvaged }
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
            let promised = found.entries;
            let file = Arc::clone(&found.file);
            let read = read_blocks(found, &path, &mut merge, &mut salvaged.notes);
            salvaged.snapshot_entries = read;
            salvaged.lost_entries = promised.map(|promised| promised.saturating_sub(read));
            holes.extend(file.0.note(&path).map(|note| format!("snapshot: {note}")));
        }
        let unread = merge.finish();
        salvaged.entries = entries;
        salvaged.notes.extend(unread.into_iter().map(|error| format!("log: {error}; the entry is left out")));
        holes.extend(log.and_then(|log| log.0.note(&log_path)).map(|note| format!("log: {note}")));
        salvaged.notes.extend(holes);
        salvaged
    }
}

/// `Ok(None)` when there is none.
fn look_at_snapshot(disk: &dyn Disk, path: &Path) -> Result<Option<Snapshot>> {
    let Some(file) = disk.open_read(path).map_err(Error::io("opening", path))? else { return Ok(None) };
    let file = Holed::new(file);
    let checked = snapshot::load(Arc::clone(&file) as Arc<dyn File>, path, |_, _| {});
    let header = snapshot::read_header(&*file, path);
    let found = match (checked, header) {
        (Err(error @ (Error::Foreign { .. } | Error::Version { .. })), _) if !file.0.begins_with_a_hole() => return Err(error),
        (checked, Ok(header)) => Snapshot {
            file,
            sound: checked.is_ok(),
            salt: header.salt(),
            data_at: snapshot::HEADER_BYTES as u64 + u64::from(header.meta_len),
            entries: Some(header.entries),
            store_id: Some(header.store_id),
            seq: Some(header.seq),
        },
        (_, Err(error)) => {
            let data_at = snapshot::HEADER_BYTES as u64;
            let (salt, _) = find_salt(Arc::clone(&file) as Arc<dyn File>, path, data_at)?.ok_or(error)?;
            Snapshot { file, sound: false, salt, data_at, entries: None, store_id: None, seq: None }
        }
    };
    Ok(Some(found))
}

fn open_log(disk: &dyn Disk, path: &Path) -> Result<Arc<ReadOnly<Holed>>> {
    let missing = || Error::io("opening", path)(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file"));
    super::open(disk, path)?.ok_or_else(missing).map(Holed::new)
}

fn read_log(
    holed: &Arc<ReadOnly<Holed>>,
    path: &Path,
    snapshot: Option<&Snapshot>,
    said: &mut Said,
    salvaged: &mut Salvaged,
) -> Result<()> {
    let file = Arc::clone(holed) as Arc<dyn File>;
    let (header, store_id) = match read_header(&*file, path) {
        Ok(header) => (header, Some(header.store_id)),
        Err(error) if matches!(error, Error::Damaged { .. }) || holed.0.begins_with_a_hole() => {
            let header = find_header(&file, path)?.ok_or(error)?;
            salvaged.notes.push(format!("log: the header of {} is damaged; its records were searched", path.display()));
            (header, None)
        }
        Err(error) => return Err(error),
    };
    if let (Some(log), Some(snapshot)) = (store_id, snapshot.and_then(|snapshot| snapshot.store_id))
        && log != snapshot
    {
        let reason = format!("the log is of store {log}, the snapshot of store {snapshot}; only the snapshot was read");
        return Err(Error::damaged(path, 0, reason));
    }
    // What a sound snapshot holds, it holds better; of a damaged one the log may know what is lost.
    let held = snapshot.and_then(|snapshot| snapshot.seq).unwrap_or(0);
    let skip_to = snapshot.filter(|snapshot| snapshot.sound).map_or(0, |_| held);
    let mut last = header.base;
    let mut hear = |frame: &Frame<'_>| {
        if frame.header.kind != Kind::WRITE {
            return;
        }
        // Numbers that do not go up are bytes of an earlier life of the file.
        if frame.header.seq <= last {
            salvaged.notes.push(format!("log: the record at byte {} is an old one (write {})", frame.offset, frame.header.seq));
            return;
        }
        let Some(ops) = state::decode(frame.body) else {
            salvaged.notes.push(format!("log: the record at byte {} makes no sense", frame.offset));
            return;
        };
        salvaged.lost_writes += frame.header.seq - last - 1;
        salvaged.writes += 1;
        last = frame.header.seq;
        if last > skip_to {
            ops.into_iter().for_each(|op| said.hear(frame, op, last > held));
        }
    };
    let mut frames = Frames::new(file, path, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    let fault = loop {
        match frames.next()? {
            Next::End => return Ok(()),
            Next::Bad(fault) => break fault,
            Next::Frame(frame) => hear(&frame),
        }
    };
    let mut whole_bytes = 0;
    let beyond = frames.look_beyond(|frame| {
        whole_bytes += (HEADER_BYTES + frame.body.len()) as u64;
        hear(&frame);
    })?;
    // A later record may prove that there was more than was found.
    salvaged.lost_writes += beyond.promised.saturating_sub(last);
    if store_id.is_none() && frames.offset() == wal::HEADER_BYTES as u64 {
        // With the header went the first records, and the snapshot does not hold them.
        salvaged.lost_writes += header.base.saturating_sub(held);
    }
    let rest = frames.content_end()? - frames.offset();
    salvaged.notes.push(format!(
        "log: {} stops making sense at byte {}: {fault}; whole records behind that: {}; bytes that are none: {}",
        path.display(),
        frames.offset(),
        beyond.whole,
        rest.saturating_sub(whole_bytes),
    ));
    Ok(())
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
        let mut frames = Frames::new(found.file, path, Kind::ENTRIES, found.salt, found.data_at, 0)?;
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

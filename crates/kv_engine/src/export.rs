//! The entries of a store, streamed out of its files in key order: the state after exactly one write
//! ([`read`]), or, of damaged files, whatever passes its check ([`salvage`]).
//!
//! Nothing here takes a lock or changes a byte, so it may read the files of a running store. In memory are only
//! the keys that the log names, and short values; the others stay in the log until their turn comes, and the snapshot
//! flows through.
//!
//! Order of steps of [`read`]:
//! 1. open the log, then the snapshot: a store that takes a snapshot meanwhile replaces the snapshot first, so
//!    an older log always fits a newer snapshot, but not the other way round;
//! 2. walk over the log, skipping what the snapshot holds. The state is that after the last whole write;
//!    where the log is damaged there is none to be had;
//! 3. merge the snapshot's entries with what the log says. The snapshot's own checks end with its last byte: what was
//!    handed over before may not be used when [`Export::each`] fails.

mod bad_blocks;
mod log_index;
mod missing;
mod salvage;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use salvage::{Salvage, Salvaged, salvage};

use crate::disk::{Disk, File, OsDisk};
use crate::error::{Error, Result};
use crate::record::{Fault, Kind};
use crate::recovery::{Beside, LogTail, Truncation, diverged, header_now, lacking, read_header};
use crate::scan::{Frames, Next};
use crate::state;
use crate::{Seq, StoreId, snapshot, wal};
use log_index::LogIndex;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A damaged place of a log that is being written is looked at so often before it is believed: what was
/// half there at the first look is whole at the next, and the damage elsewhere or gone.
const LOOKS: u32 = 5;

/// The state after one write, ready to be streamed; from [`read`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Export {
    /// The last write in it.
    pub seq: Seq,
    /// Whose it is.
    pub store_id: StoreId,
    /// How the log ended: never damaged.
    pub tail: LogTail,
    /// Whether the log ends with a write, and the file with it: without reserved space and without a mark, as a write that
    /// failed leaves it, or somebody who cut the file.
    pub ends_bare: bool,
    said: LogIndex,
    snapshot: Option<Arc<dyn File>>,
    snapshot_path: PathBuf,
}

/// Reads the log at `wal` and looks at the snapshot at `snapshot`.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::export;
/// use std::ops::ControlFlow;
///
/// let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// engine.put("x", "100")?;
/// engine.snapshot()?;
/// engine.put("y", "200")?;
/// let export = export::read(&log, &snapshot)?; // while the store is open
/// assert_eq!(export.seq, 2);
/// let mut copy = Vec::new();
/// export.each(|key, value| {
///     copy.push((key.to_vec(), value.to_vec()));
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(copy, [(b"x".to_vec(), b"100".to_vec()), (b"y".to_vec(), b"200".to_vec())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Damaged`], [`Error::Mismatch`] also when the log beside the snapshot is missing, empty, or older than it,
/// [`Error::Foreign`], [`Error::Version`], [`Error::Io`] also when there is neither file.
pub fn read(wal: &Path, snapshot: &Path) -> Result<Export> {
    let mut damage = None;
    for _ in 0..LOOKS {
        let begun = header_now(wal);
        match read_once(wal, snapshot) {
            Err(Error::Damaged { path, offset, .. }) if path == wal && damage != Some(offset) => {
                damage = Some(offset);
            }
            // The store put a new log in place, perhaps twice.
            Err(Error::Mismatch { .. }) if header_now(wal) != begun => {}
            done => return done,
        }
    }
    read_once(wal, snapshot)
}

fn read_once(wal_path: &Path, snapshot_path: &Path) -> Result<Export> {
    let file = OsDisk.open_read(wal_path).map_err(Error::io("opening", wal_path))?;
    let snapshot = OsDisk.open_read(snapshot_path).map_err(Error::io("opening", snapshot_path))?;
    let held = snapshot.as_deref().map(|file| snapshot::read_header(file, snapshot_path)).transpose()?;
    let lack = |log: Beside<'_>| lacking(wal_path, snapshot_path, log, held.as_ref()).map_or(Ok(()), Err);
    let Some(log) = file.clone().map(|file| not_empty(file, wal_path)).transpose()?.flatten() else {
        lack(if file.is_some() { Beside::Empty } else { Beside::Nothing })?;
        return Err(Error::io("opening", wal_path)(io::Error::new(io::ErrorKind::NotFound, "there is no such file")));
    };
    let header = read_header(&*log, wal_path)?;
    lack(Beside::Log(&header, None))?;
    if let Some(snapshot) = &snapshot
        && let Some(error) = diverged(wal_path, &log, &header, snapshot_path, snapshot)?
    {
        return Err(error);
    }
    let held_seq = held.map_or(0, |header| header.seq);
    let mut said = LogIndex::of(Arc::clone(&log), wal_path);
    let mut frames = Frames::new(log, wal_path, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    let (mut is_behind_write, mut ends_bare) = (false, false);
    let tail = loop {
        match frames.next()? {
            Next::End => {
                ends_bare = is_behind_write && frames.offset() == frames.file_len();
                break LogTail::Clean;
            }
            Next::Bad(fault) => break Truncation::judge(&mut frames, fault, held_seq)?,
            Next::Frame(frame) if frame.header.kind != Kind::WRITE => is_behind_write = false,
            Next::Frame(frame) if frame.header.seq > held_seq => {
                is_behind_write = true;
                let heard = state::decode_each(frame.body, |op| said.hear(&frame, op, true));
                heard.ok_or_else(|| Error::damaged(wal_path, frame.offset, Fault::Content.to_string()))?;
            }
            Next::Frame(_) => is_behind_write = true,
        }
    };
    if let LogTail::Damaged(cut) = &tail {
        return Err(Error::damaged(wal_path, cut.offset, format!("{}, and {}", cut.fault, cut.proof)));
    }
    lack(Beside::Log(&header, Some(frames.last())))?;
    let (seq, store_id) = (frames.last(), header.store_id);
    Ok(Export { seq, store_id, tail, ends_bare, said, snapshot, snapshot_path: snapshot_path.to_path_buf() })
}

/// `None` when there is none, or an empty one, as opening sees it.
fn open(disk: &dyn Disk, wal: &Path) -> Result<Option<Arc<dyn File>>> {
    let Some(file) = disk.open_read(wal).map_err(Error::io("opening", wal))? else { return Ok(None) };
    not_empty(file, wal)
}

fn not_empty(file: Arc<dyn File>, wal: &Path) -> Result<Option<Arc<dyn File>>> {
    Ok(if file.size().map_err(Error::io("reading", wal))? == 0 { None } else { Some(file) })
}

/// Why two files are not one store, without their names.
fn reason_of(error: &Error) -> String {
    match error {
        Error::Mismatch { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

impl Export {
    /// Hands over the entries in key order, until all were or `each` breaks off.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Io`]: of the snapshot, or of a log that changed since it was read, as one does
    /// whose writes fail. Nothing that `each` got may be used then.
    pub fn each(mut self, mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        let mut merge = self.said.merge(&mut each);
        if let Some(file) = self.snapshot {
            snapshot::load_while(file, &self.snapshot_path, |_, entry| merge.entry(entry))?;
        }
        merge.finish().into_iter().next().map_or(Ok(()), Err)
    }
}

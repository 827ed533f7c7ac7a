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

mod holed;
mod said;
mod salvage;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use salvage::{Salvage, Salvaged, salvage};

use crate::disk::{Disk, File, OsDisk};
use crate::error::{Error, Result};
use crate::record::{Fault, Kind};
use crate::recovery::{Cut, Tail, check_pair, read_header};
use crate::scan::{Frames, Next};
use crate::state;
use crate::{Seq, StoreId, snapshot, wal};
use said::Said;
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
    pub tail: Tail,
    said: Said,
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
/// [`Error::Damaged`], [`Error::Mismatch`] also when there is no log beside the snapshot, [`Error::Foreign`],
/// [`Error::Version`], [`Error::Io`] also when there is neither file.
pub fn read(wal: &Path, snapshot: &Path) -> Result<Export> {
    let mut damage = None;
    for _ in 0..LOOKS {
        match read_once(wal, snapshot) {
            Err(Error::Damaged { path, offset, .. }) if path == wal && damage != Some(offset) => {
                damage = Some(offset);
            }
            done => return done,
        }
    }
    read_once(wal, snapshot)
}

fn read_once(wal_path: &Path, snapshot_path: &Path) -> Result<Export> {
    let log = open(&OsDisk, wal_path)?;
    let snapshot = OsDisk.open_read(snapshot_path).map_err(Error::io("opening", snapshot_path))?;
    let held = snapshot.as_deref().map(|file| snapshot::read_header(file, snapshot_path)).transpose()?;
    let Some(log) = log else {
        return Err(match held {
            None => {
                Error::io("opening", wal_path)(io::Error::new(io::ErrorKind::NotFound, "there is no such file, or it is empty"))
            }
            Some(_) => Error::Mismatch {
                wal: wal_path.to_path_buf(),
                snapshot: snapshot_path.to_path_buf(),
                reason: "there is no log beside the snapshot; writes after it may be missing".into(),
            },
        });
    };
    let header = read_header(&*log, wal_path)?;
    check_pair(wal_path, snapshot_path, &header, held.as_ref())?;
    let held = held.map_or(0, |header| header.seq);
    let mut said = Said::of(Arc::clone(&log), wal_path);
    let mut frames = Frames::new(log, wal_path, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    let tail = loop {
        match frames.next()? {
            Next::End => break Tail::Clean,
            Next::Bad(fault) => break Cut::judge(&mut frames, fault, held)?,
            Next::Frame(frame) if frame.header.kind == Kind::WRITE && frame.header.seq > held => {
                let heard = state::decode_each(frame.body, |op| said.hear(&frame, op, true));
                heard.ok_or_else(|| Error::damaged(wal_path, frame.offset, Fault::Content.to_string()))?;
            }
            Next::Frame(_) => {}
        }
    };
    if let Tail::Damaged(cut) = &tail {
        return Err(Error::damaged(wal_path, cut.offset, format!("{}, and {}", cut.fault, cut.proof)));
    }
    let (seq, store_id) = (frames.last().max(held), header.store_id);
    Ok(Export { seq, store_id, tail, said, snapshot, snapshot_path: snapshot_path.to_path_buf() })
}

/// `None` when there is none, or an empty one, as opening sees it.
fn open(disk: &dyn Disk, wal: &Path) -> Result<Option<Arc<dyn File>>> {
    let Some(file) = disk.open_read(wal).map_err(Error::io("opening", wal))? else { return Ok(None) };
    Ok(if file.size().map_err(Error::io("reading", wal))? == 0 { None } else { Some(file) })
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

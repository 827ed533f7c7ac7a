//! The entries of a store, streamed out of its files in key order. [`read`] gives a consistent view: the state right
//! after one write. [`salvage`] gives every entry of damaged files that passes its checks.
//!
//! No lock is taken and no byte is changed, so the store may be running. A few MB of memory are used, however long the
//! files are: the snapshot is streamed, and the operations of the log are sorted in a temporary file
//! (`sorter.rs`).
//!
//! The steps of [`read`]:
//! 1. Open the log, then the snapshot. A running store replaces the snapshot before the log. So an older log always
//!    fits a newer snapshot, and the reverse is not true.
//! 2. Read the log, without the writes that the snapshot holds. The exported state is the one after the last whole
//!    write. A damaged log is refused.
//! 3. Sort the operations of the log by key, and keep the last one of each key.
//!
//! Then [`Export::each`] merges the entries of the snapshot with these operations. The checks of the snapshot end with
//! its last byte, so if it fails, the entries that it gave before must not be used.

mod bad_blocks;
mod log_index;
mod merge;
mod missing;
mod salvage;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub use salvage::{Salvage, SalvageReport, salvage};

use crate::disk::{Disk, File, OsDisk};
use crate::error::{Error, Result};
use crate::record::{Fault, Kind};
use crate::recovery::{LOOKS, LogState, LogTail, find_divergence, find_mismatch, header_now, read_header, walk};
use crate::scan::Frames;
use crate::snapshot::Paged;
use crate::state::{self, OpRef, Value};
use crate::{Seq, StoreId, snapshot, wal};
use log_index::LogIndex;
use merge::Merge;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The state after one write, ready to be streamed; from [`read`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Export {
    /// The last write in it.
    pub seq: Seq,
    /// The store.
    pub store_id: StoreId,
    /// How the log ends; never damaged.
    pub tail: LogTail,
    /// Whether the file ends right after a write, without reserved space and without a mark. A failed write leaves
    /// this, and so does a truncation of the file.
    pub ends_bare: bool,
    index: LogIndex,
    snapshot: Option<Arc<dyn File>>,
    snapshot_path: PathBuf,
}

/// Reads the log at `wal` and opens the snapshot at `snapshot`.
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
/// - [`Error::Damaged`], [`Error::Foreign`], [`Error::Version`].
/// - [`Error::Mismatch`], also if the log is missing, empty or older beside a snapshot.
/// - [`Error::Io`], also if neither file exists.
pub fn read(wal: &Path, snapshot: &Path) -> Result<Export> {
    // In a log that is being written, a record may be half there at one look and whole at the next. So damage counts
    // only if it is in the same place at two looks.
    let mut damage = None;
    for _ in 0..LOOKS {
        let before = header_now(wal);
        match read_once(wal, snapshot) {
            Err(Error::Damaged { path, offset, .. }) if path == wal && damage != Some(offset) => {
                damage = Some(offset);
            }
            // The running store has put a new log in place.
            Err(Error::Mismatch { .. }) if header_now(wal) != before => {}
            done => return done,
        }
    }
    read_once(wal, snapshot)
}

fn read_once(wal_path: &Path, snapshot_path: &Path) -> Result<Export> {
    let file = OsDisk.open_read(wal_path).map_err(Error::io("opening", wal_path))?;
    let snapshot = OsDisk.open_read(snapshot_path).map_err(Error::io("opening", snapshot_path))?;
    let held = snapshot.as_deref().map(|file| snapshot::read_header(file, snapshot_path)).transpose()?;
    let check = |log: LogState<'_>| find_mismatch(wal_path, snapshot_path, log, held.as_ref()).map_or(Ok(()), Err);
    let Some(log) = file.clone().map(|file| not_empty(file, wal_path)).transpose()?.flatten() else {
        check(if file.is_some() { LogState::Empty } else { LogState::Missing })?;
        return Err(Error::missing(wal_path));
    };
    let header = read_header(&*log, wal_path)?;
    check(LogState::Log(&header, None))?;
    if let Some(snapshot) = &snapshot
        && let Some(error) = find_divergence(wal_path, &log, &header, snapshot_path, snapshot)?
    {
        return Err(error);
    }
    let held_seq = held.map_or(0, |header| header.seq);
    let mut index = LogIndex::of(Arc::clone(&log), wal_path);
    let mut frames = Frames::new(log, wal_path, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    let walked = walk(&mut frames, held_seq, |frame| {
        if frame.header.kind == Kind::WRITE && frame.header.seq > held_seq {
            let decoded = state::decode_each(frame.body, |op| index.add(frame, op, true));
            decoded.ok_or_else(|| Error::damaged(wal_path, frame.offset, Fault::Content.to_string()))?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    index.finish();
    if let LogTail::Damaged(cut) = &walked.tail {
        return Err(Error::damaged(wal_path, cut.offset, format!("{}, and {}", cut.fault, cut.proof)));
    }
    check(LogState::Log(&header, Some(frames.last())))?;
    let (seq, store_id) = (frames.last(), header.store_id);
    Ok(Export {
        seq,
        store_id,
        tail: walked.tail,
        ends_bare: walked.ends_bare,
        index,
        snapshot,
        snapshot_path: snapshot_path.to_path_buf(),
    })
}

/// `None` if there is no log, or an empty one.
fn open(disk: &dyn Disk, wal: &Path) -> Result<Option<Arc<dyn File>>> {
    let Some(file) = disk.open_read(wal).map_err(Error::io("opening", wal))? else { return Ok(None) };
    not_empty(file, wal)
}

fn not_empty(file: Arc<dyn File>, wal: &Path) -> Result<Option<Arc<dyn File>>> {
    Ok(if file.size().map_err(Error::io("reading", wal))? == 0 { None } else { Some(file) })
}

/// The reason in a mismatch, without the names of the files.
fn reason_of(error: &Error) -> String {
    match error {
        Error::Mismatch { reason, .. } => reason.clone(),
        other => other.to_string(),
    }
}

impl Export {
    /// Gives the entries to `each` in key order, until all are done or `each` stops.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Io`]: from the snapshot, or from a log that has changed since it was read (a
    /// running store changes it when a write fails). The entries that `each` got must not be used then. If `each`
    /// stops, the rest is not checked.
    pub fn each(&self, each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        let mut merge = Merge::new(&self.index, b"", each)?;
        self.whole_snapshot(|entry| merge.entry(entry))?;
        first_error(merge.finish())
    }

    /// As [`Export::each`], for the keys that begin with `prefix`. A snapshot with an index
    /// ([`Options::values_in_snapshot`](crate::Options::values_in_snapshot)) is read and checked only where these
    /// entries are. One without is read from its first byte to its last.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// use kv_engine::export;
    /// use std::ops::ControlFlow;
    ///
    /// let engine = kv_engine::Options::new(&log, &snapshot).open()?;
    /// for user in ["user:2", "user:1", "visitor:1"] {
    ///     engine.put(user, "here")?;
    /// }
    /// let mut users = Vec::new();
    /// export::read(&log, &snapshot)?.each_with_prefix("user:", |key, _| {
    ///     users.push(key.to_vec());
    ///     ControlFlow::Continue(())
    /// })?;
    /// assert_eq!(users, [b"user:1", b"user:2"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Export::each`].
    pub fn each_with_prefix(&self, prefix: impl AsRef<[u8]>, each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        let mut merge = Merge::new(&self.index, prefix.as_ref(), each)?;
        match self.paged()? {
            Some(paged) => paged.each(prefix.as_ref(), |entry| merge.entry(entry))?,
            None => self.whole_snapshot(|entry| merge.entry(entry))?,
        }
        first_error(merge.finish())
    }

    /// The value of `key`. What is read and checked: as with [`Export::each_with_prefix`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// let engine = kv_engine::Options::new(&log, &snapshot).open()?;
    /// engine.put("x", "100")?;
    /// let export = kv_engine::export::read(&log, &snapshot)?; // while the store is open
    /// assert_eq!(export.get("x")?.as_deref(), Some(&b"100"[..]));
    /// assert_eq!(export.get("y")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Export::each`].
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = key.as_ref();
        let mut found = None;
        match self.paged()? {
            Some(paged) => found = paged.get(key)?,
            None => self.whole_snapshot(|entry| {
                if entry.key == key {
                    found = entry.value.map(Value::from);
                }
                ControlFlow::Continue(())
            })?,
        }
        let mut ops = self.index.ops()?;
        while ops.key().is_some_and(|at| at < key) {
            ops.next()?;
        }
        if ops.key() == Some(key) {
            found = ops.read()?.and_then(|op| op.value.map(Value::from));
        }
        Ok(found)
    }

    /// The number of keys. Reads and checks both files from their first byte to their last.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// let engine = kv_engine::Options::new(&log, &snapshot).open()?;
    /// engine.put("x", "100")?;
    /// engine.put("x", "200")?;
    /// assert_eq!(kv_engine::export::read(&log, &snapshot)?.count()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Export::each`].
    pub fn count(&self) -> Result<u64> {
        let mut count = 0;
        self.each(|_, _| {
            count += 1;
            ControlFlow::Continue(())
        })?;
        Ok(count)
    }

    /// Reads and checks the whole snapshot, unless `each` stops it.
    fn whole_snapshot(&self, mut each: impl FnMut(OpRef<'_>) -> ControlFlow<()>) -> Result<()> {
        let Some(file) = &self.snapshot else { return Ok(()) };
        snapshot::load_while(Arc::clone(file), &self.snapshot_path, |_, entry| each(entry)).map(drop)
    }

    /// The snapshot, if it has an index.
    fn paged(&self) -> Result<Option<Paged>> {
        const CACHE_BYTES: usize = 256 << 10;
        let Some(file) = &self.snapshot else { return Ok(None) };
        Paged::open(Arc::clone(file), &self.snapshot_path, CACHE_BYTES)
    }
}

fn first_error(errors: Vec<Error>) -> Result<()> {
    errors.into_iter().next().map_or(Ok(()), Err)
}

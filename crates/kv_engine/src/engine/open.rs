//! [`Options::open`]: check the options, take the locks, recover the state, start the threads.

use super::api::Engine;
use super::checkpointer::Checkpointer;
use super::commit_delay::Arrivals;
use super::committer::Committer;
use super::flush;
use super::flusher::Flusher;
use super::locks::Locks;
use super::log::Log;
use super::options::Options;
use super::shared::Shared;
use super::write::check_batch_size;
use crate::disk::{Disk, is_scratch_of};
use crate::error::{Error, Result};
use crate::recovery::{Recovered, recover};
use crate::sync::{AtomicU32, AtomicU64, Condvar, Mutex};
use crate::with_suffix;
use std::collections::HashSet;
use std::io;
use std::path::Path;
use std::sync::{Arc, Weak};

impl Options {
    /// Opens the store: takes its locks and recovers its state. Without a log and a snapshot, a new store
    /// begins. Everything recovered is durable. [`Engine::recovery`] reports what was found.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::Options;
    /// let engine = Options::new(&log, &snapshot).open()?;
    /// engine.put("x", "100")?;
    /// engine.close()?;
    ///
    /// let again = Options::new(&log, &snapshot).open()?;
    /// assert_eq!(again.get("x")?.as_deref(), Some(&b"100"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Locked`](crate::Error::Locked), [`Foreign`](crate::Error::Foreign),
    /// [`Version`](crate::Error::Version), [`Damaged`](crate::Error::Damaged),
    /// [`Mismatch`](crate::Error::Mismatch) and [`Limit`](crate::Error::Limit) (a batch size out of
    /// range) change nothing, but may leave the `.lock` files. [`Poisoned`](crate::Error::Poisoned): the directory of a
    /// new log could not be synced. [`Io`](crate::Error::Io): everything else.
    pub fn open(self) -> Result<Engine> {
        check_batch_size(self.batch_size)?;
        check_paths(&self.wal, &self.snapshot)?;
        let disk = self.disk;
        if let Some(dir) = &self.dir {
            make_dir(&*disk, dir)?;
        }
        let locks = Locks::take(&*disk, &self.wal, &self.snapshot)?;
        let recovered = recover(&*disk, &self.wal, &self.snapshot, self.recovery, self.keep, &locks.notes, &self.progress);
        let recovered = recovered.inspect_err(|_| locks.undo()).map_err(nothing_changed)?;
        let Recovered { state, wal, deferred_log, snapshot, report } = recovered;
        locks.note_pair(&self.wal);
        let shared = Arc::new_cyclic(|me| Shared {
            me: Weak::clone(me),
            salt: AtomicU32::new(wal.salt()),
            snapshot_bytes: AtomicU64::new(report.snapshot_bytes),
            wal_path: self.wal,
            snapshot_path: self.snapshot,
            flush_interval: self.flush_interval,
            snapshot_on_close: self.snapshot_on_close,
            log: Mutex::new(Log::new(wal, deferred_log, self.batch_size, report.last_seq, report.snapshot_seq)),
            changed: Condvar::new(),
            state,
            arrivals: Arrivals::default(),
            flusher: Flusher::default(),
            committer: Committer::new(self.by_hand),
            checkpointer: Checkpointer::new(self.checkpoint_log_bytes, self.checkpoint_interval, snapshot),
            recovery: report,
            locks: Mutex::new(Some(locks)),
            disk,
        });
        if !shared.flush_interval.is_zero() && !self.by_hand {
            flush::spawn(&shared).map_err(Error::io("starting the flush thread of", &shared.wal_path))?;
        }
        if shared.checkpointer.is_by_age() {
            shared.start_checkpointer().map_err(Error::io("starting the checkpoint thread of", &shared.wal_path))?;
        }
        Ok(Engine::new(shared))
    }
}

/// Opens the store in the directory `dir`, and creates both if they do not exist. Short for
/// [`Options::in_dir`]`(dir).open()`: batch size 1, so every write is durable when it returns.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// let engine = kv_engine::open(dir.path().join("store"))?;
/// engine.put("x", "100")?;
/// assert_eq!(engine.get("x")?.as_deref(), Some(&b"100"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// As [`Options::open`].
pub fn open(dir: impl AsRef<Path>) -> Result<Engine> {
    Options::in_dir(dir.as_ref()).open()
}

/// Creates the directory if it does not exist. Its name must be durable before anything in it is promised. If another
/// opening was killed right after creating it, its name may not be durable yet. So it is synced each time. A directory
/// above it that may not be read cannot be synced, so then this is not an error unless this opening created it.
fn make_dir(disk: &dyn Disk, dir: &Path) -> Result<()> {
    if dir.as_os_str().is_empty() {
        return Ok(()); // the current directory
    }
    let is_new = match disk.create_dir(dir) {
        // The disk can only use a directory that exists.
        Err(error) if error.kind() == io::ErrorKind::Unsupported => return Ok(()),
        made => made.map_err(Error::io("creating", dir))?,
    };
    match disk.sync_dir(dir) {
        Err(error) if is_new || error.kind() != io::ErrorKind::PermissionDenied => {
            Err(Error::io("syncing the directory of", dir)(error))
        }
        _ => Ok(()),
    }
}

/// The error of an opening that was refused. A mismatch can also be found by a command that only reads.
fn nothing_changed(error: Error) -> Error {
    match error {
        Error::Mismatch { wal, snapshot, reason } => {
            Error::Mismatch { wal, snapshot, reason: format!("{reason}; nothing was changed") }
        }
        other => other,
    }
}

/// Refuses paths with which two files of the store would be the same file.
fn check_paths(wal: &Path, snapshot: &Path) -> Result<()> {
    let mut seen = HashSet::new();
    let mut is_twice = is_scratch_of(wal, snapshot) || is_scratch_of(snapshot, wal);
    for path in [wal, snapshot] {
        let whole = std::path::absolute(path).map_err(Error::io("finding", path))?;
        is_twice |= !seen.insert(with_suffix(&whole, ".lock")) || !seen.insert(whole);
    }
    if is_twice {
        let (wal, snapshot) = (wal.to_path_buf(), snapshot.to_path_buf());
        let reason =
            "the two need different paths, and a lock or temporary file of one must not have the name of the other".into();
        return Err(Error::Mismatch { wal, snapshot, reason });
    }
    Ok(())
}

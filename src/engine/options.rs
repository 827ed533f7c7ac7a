//! [`Options`]: how to open a store.

use super::Engine;
use crate::disk::{Disk, OsDisk};
use crate::error::Result;
use crate::recovery::Recovery;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How to open a store; a builder.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::{Options, Recovery};
/// use std::time::Duration;
///
/// let engine = Options::new(log, snapshot)
///     .batch_size(100)                                // sync every 100 writes …
///     .flush_interval(Duration::from_millis(200))     // … or when one is 200 ms old
///     .recovery(Recovery::Strict)
///     .snapshot_on_close(true)
///     .open()?;
/// # engine.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Options {
    pub(super) wal: PathBuf,
    pub(super) snapshot: PathBuf,
    pub(super) batch_size: u64,
    pub(super) flush_interval: Duration,
    pub(super) recovery: Recovery,
    pub(super) snapshot_on_close: bool,
    pub(super) disk: Arc<dyn Disk>,
}

impl Options {
    /// A store whose log is `wal` and whose snapshot is `snapshot`, in directories that exist. Batch
    /// size 1, flush interval one second, [`Recovery::Prefix`], no snapshot on close.
    pub fn new(wal: impl Into<PathBuf>, snapshot: impl Into<PathBuf>) -> Options {
        Options {
            wal: wal.into(),
            snapshot: snapshot.into(),
            batch_size: 1,
            flush_interval: Duration::from_secs(1),
            recovery: Recovery::default(),
            snapshot_on_close: false,
            disk: Arc::new(OsDisk),
        }
    }

    /// Writes per sync, from 1 (every write is durable when it returns) to
    /// [`MAX_BATCH_SIZE`](crate::MAX_BATCH_SIZE); checked by [`Options::open`].
    pub fn batch_size(mut self, writes: u64) -> Options {
        self.batch_size = writes;
        self
    }

    /// The age at which an acknowledged write that is not durable is synced in the background;
    /// zero turns that off.
    pub fn flush_interval(mut self, age: Duration) -> Options {
        self.flush_interval = age;
        self
    }

    /// What to do with a damaged log.
    pub fn recovery(mut self, recovery: Recovery) -> Options {
        self.recovery = recovery;
        self
    }

    /// Whether [`Engine::close`] takes a snapshot and empties the log, so that the next opening
    /// reads the snapshot alone.
    pub fn snapshot_on_close(mut self, yes: bool) -> Options {
        self.snapshot_on_close = yes;
        self
    }

    /// Another disk than the operating system's.
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Options {
        self.disk = disk;
        self
    }

    /// Opens the store: takes its locks, recovers its state, and begins a new store where there is
    /// neither log nor snapshot.
    ///
    /// # Errors
    /// [`Locked`](crate::Error::Locked), [`Foreign`](crate::Error::Foreign),
    /// [`Version`](crate::Error::Version), [`Damaged`](crate::Error::Damaged) and
    /// [`Mismatch`](crate::Error::Mismatch) change nothing; [`Limit`](crate::Error::Limit) for a batch size out of
    /// range; [`Io`](crate::Error::Io) and [`Poisoned`](crate::Error::Poisoned) (a new log whose directory could not be
    /// synced) for everything else.
    pub fn open(self) -> Result<Engine> {
        Engine::open(self)
    }
}

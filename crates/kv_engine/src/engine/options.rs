//! [`Options`]: how to open a store.

use crate::disk::{Disk, OsDisk};
use crate::recovery::{Keep, Progress, Recovery};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// The options for opening a store; a builder.
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
    /// Created when the store is opened.
    pub(super) dir: Option<PathBuf>,
    pub(super) batch_size: u64,
    pub(super) flush_interval: Duration,
    pub(super) recovery: Recovery,
    pub(super) snapshot_on_close: bool,
    pub(super) checkpoint_log_bytes: u64,
    pub(super) checkpoint_interval: Duration,
    pub(super) keep: Keep,
    pub(super) progress: Progress,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) by_hand: bool,
}

impl Options {
    /// Options for a store with the log `wal` and the snapshot `snapshot`, in directories that exist. The defaults:
    /// batch size 1, flush interval one second, [`Recovery::Prefix`], no snapshot on close, a checkpoint when the log
    /// reaches 64 MiB. No file is touched before [`Options::open`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::Options;
    /// let engine = Options::new(log, snapshot).open()?;
    /// assert_eq!(engine.batch_size(), 1); // every write is durable when it returns
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn new(wal: impl Into<PathBuf>, snapshot: impl Into<PathBuf>) -> Options {
        Options {
            wal: wal.into(),
            snapshot: snapshot.into(),
            dir: None,
            batch_size: 1,
            flush_interval: Duration::from_secs(1),
            recovery: Recovery::default(),
            snapshot_on_close: false,
            checkpoint_log_bytes: 64 << 20,
            checkpoint_interval: Duration::ZERO,
            keep: Keep::InMemory,
            progress: Progress::default(),
            disk: Arc::new(OsDisk),
            by_hand: false,
        }
    }

    /// Options for the store in the directory `dir`: its log is `kv.wal` there, its snapshot `kv.snapshot`. If the
    /// directory does not exist, [`Options::open`] creates it, for this user only, and makes its name durable. The
    /// directory that it is in must exist.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let dir = dir.path().join("store");
    /// use kv_engine::Options;
    /// let engine = Options::in_dir(&dir).batch_size(100).open()?;
    /// engine.put("x", "100")?;
    /// engine.close()?;
    /// assert!(dir.join("kv.wal").exists());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn in_dir(dir: impl Into<PathBuf>) -> Options {
        let dir = dir.into();
        Options { dir: Some(dir.clone()), ..Options::new(dir.join("kv.wal"), dir.join("kv.snapshot")) }
    }

    /// The batch size: writes per sync, from 1 (every write is durable when it returns) to
    /// [`MAX_BATCH_SIZE`](crate::MAX_BATCH_SIZE). [`Options::open`] checks it. A crash can lose at most the last
    /// `writes` − 1 acknowledged writes.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::Options;
    /// let engine = Options::new(log, snapshot).batch_size(100).open()?;
    /// assert!(!engine.put("x", "100")?.durable); // visible; a later sync covers it
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn batch_size(mut self, writes: u64) -> Options {
        self.batch_size = writes;
        self
    }

    /// The age at which an acknowledged write that is not durable is synced in the background. Zero turns this off.
    /// With batch size 1 it has no effect.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::Options;
    /// # use std::time::Duration;
    /// let engine = Options::new(log, snapshot).batch_size(100).flush_interval(Duration::from_millis(5)).open()?;
    /// engine.put("x", "100")?;
    /// while engine.pending() > 0 {
    ///     std::thread::yield_now(); // some 5 ms
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn flush_interval(mut self, age: Duration) -> Options {
        self.flush_interval = age;
        self
    }

    /// How [`Options::open`] treats a damaged log.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::{Options, Recovery};
    /// let engine = Options::new(log, snapshot).recovery(Recovery::Strict).open()?; // no damage, or an error
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recovery(mut self, recovery: Recovery) -> Options {
        self.recovery = recovery;
        self
    }

    /// The length of the log, in bytes, at which a checkpoint is taken in the background. It is not taken before the
    /// log is as long as the snapshot. 0 turns this off.
    ///
    /// Writers go on during a checkpoint. If the log grows to eight times this length before its end, they wait.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::Options;
    /// let engine = Options::new(log, snapshot).checkpoint_log_bytes(1000).open()?;
    /// for n in 0..100_u32 {
    ///     engine.put(n.to_be_bytes(), "value")?;
    /// }
    /// while engine.stats().snapshots == 0 {
    ///     std::thread::yield_now(); // soon: the log has more than a thousand bytes
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint_log_bytes(mut self, bytes: u64) -> Options {
        self.checkpoint_log_bytes = bytes;
        self
    }

    /// How often a checkpoint is taken in the background if there were writes. Zero, the default, turns this off.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::Options;
    /// # use std::time::Duration;
    /// let engine = Options::new(log, snapshot).checkpoint_interval(Duration::from_millis(5)).open()?;
    /// engine.put("x", "100")?;
    /// while engine.stats().snapshot_seq == 0 {
    ///     std::thread::yield_now(); // some 5 ms
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn checkpoint_interval(mut self, every: Duration) -> Options {
        self.checkpoint_interval = every;
        self
    }

    /// Whether [`Engine::close`](crate::Engine::close) takes a snapshot and empties the log, so that the next opening
    /// reads only the snapshot.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::Options;
    /// let options = Options::new(log, snapshot).snapshot_on_close(true);
    /// let engine = options.clone().open()?;
    /// engine.put("x", "100")?;
    /// engine.close()?;
    /// let found = options.open()?.recovery().clone();
    /// assert_eq!((found.snapshot_keys, found.replayed), (1, 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn snapshot_on_close(mut self, yes: bool) -> Options {
        self.snapshot_on_close = yes;
        self
    }

    /// Leaves the values in the snapshot and reads them when they are needed. Opening takes milliseconds then, for a
    /// snapshot of any length, and the snapshot may be larger than memory. Everything written since the last snapshot
    /// is in memory, and `cache_bytes` more are used for blocks that were read.
    ///
    /// - Each block is checked when it is read. Reading from a damaged block is
    ///   [`Error::Damaged`](crate::Error::Damaged), which names the place. The rest of the store can be read and
    ///   written. With all values in memory, a store with a damaged block is not opened.
    /// - A lookup may wait for the disk. So may a delete, and the writers that wait for it.
    /// - [`Engine::count`](crate::Engine::count) looks up each key written since the snapshot, and
    ///   [`Stats::keys`](crate::Stats::keys) is an upper bound.
    /// - The file is not mapped into memory: truncating a mapped file would kill the process.
    /// - If the snapshot was saved without this option, the first opening with it saves it again, with an index.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::Options;
    /// # let engine = Options::new(&log, &snapshot).open()?;
    /// # engine.put("x", "100")?; engine.snapshot()?; engine.close()?;
    /// let engine = Options::new(log, snapshot).values_in_snapshot(64 << 20).open()?;
    /// assert_eq!(engine.get("x")?.as_deref(), Some(&b"100"[..])); // read from the disk
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn values_in_snapshot(mut self, cache_bytes: usize) -> Options {
        self.keep = Keep::OnDisk { cache_bytes };
        self
    }

    /// Calls `each` while the store is being opened, with the bytes read so far and the bytes to read, about once for
    /// each MiB.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # kv_engine::Options::new(&log, &snapshot).open()?.put("x", "100")?;
    /// let engine = kv_engine::Options::new(log, snapshot)
    ///     .progress(|read, total| assert!(read <= total))
    ///     .open()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn progress(mut self, each: impl Fn(u64, u64) + Send + Sync + 'static) -> Options {
        self.progress = Progress(Some(Arc::new(each)));
        self
    }

    /// Uses another disk than the one of the operating system, for example one that counts, delays or fails operations.
    /// [`Disk`] shows how.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::Options;
    /// # use std::sync::Arc;
    /// use kv_engine::disk::OsDisk;
    /// let engine = Options::new(log, snapshot).disk(Arc::new(OsDisk)).open()?; // the default
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn disk(mut self, disk: Arc<dyn Disk>) -> Options {
        self.disk = disk;
        self
    }
}

//! The conductor: what the public calls do, in which order, under which lock.
//!
//! | file | what is in it |
//! |---|---|
//! | `mod.rs` | [`Engine`]: the public calls, opening, snapshot, close |
//! | `log.rs` | group commit: watermarks, who leads, who waits, what a failure means |
//! | `locks.rs` | the two lock files, and what they note |
//! | `count.rs` | how many keys there are, and the digest of all |
//! | `close.rs` | the end: everything durable, the mark or the snapshot, the locks |
//! | `flusher.rs` | the thread that bounds the age of pending writes |
//! | `checkpointer.rs` | checkpoints, and the thread that takes them when the log is long or old |
//! | `options.rs`, `batch.rs`, `iter.rs` | the types callers build and iterate |
//! | `report.rs`, `latency.rs` | the types calls answer with |
//!
//! Locks, always taken in this order: that of the checkpointer (one checkpoint, or close, at a time), `log` (one writer's step at a time; never held across a
//! sync), then those of the map (see `state/map.rs`).

mod batch;
mod checkpointer;
mod close;
mod count;
mod flusher;
mod gather;
mod identity;
mod iter;
mod latency;
mod locks;
mod log;
mod options;
mod report;

pub use batch::Batch;
pub use iter::{Keys, Scan};
pub use latency::SyncTimes;
pub use options::Options;
pub use report::{Ack, Flushed, Snapshotted, Stats};

use crate::disk::{Disk, is_scratch_of};
use crate::error::{Error, Result};
use crate::memory;
use crate::merge_view::MergeView;
use crate::record::Body;
use crate::recovery::{Recovered, RecoveryReport, recover};
use crate::state::{OpRef, Value};
use crate::sync::{AtomicU32, AtomicU64, Condvar, Mutex, Ordering};
use crate::{MAX_ATOMIC_BYTES, MAX_BATCH_SIZE, MAX_KEY_BYTES, MAX_VALUE_BYTES, with_suffix};
use checkpointer::Checkpointer;
use flusher::Flusher;
use gather::Arrivals;
use locks::Locks;
use log::{Guard, Log, What};
use std::cell::Cell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

/// An open store. Cheap to clone; every clone is the same store, usable from any thread. The last
/// one dropped flushes as [`Engine::close`] does, but cannot report what failed.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// let engine = kv_engine::Options::new(log, snapshot).open()?;
/// let writer = std::thread::spawn({
///     let engine = engine.clone();
///     move || engine.put("from", "a thread")
/// });
/// writer.join().expect("did not panic")?;
/// assert_eq!(engine.len(), 1);
/// engine.close()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    handle: Arc<Handle>,
}

/// What the clones of an engine share; the thread and the iterators only know what is inside, so
/// that the last clone that is dropped closes the store there and then.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        /// Also where close would have to be repeated, or panics: nobody is left to do it.
        struct LetGo<'a>(&'a Shared);
        impl Drop for LetGo<'_> {
            fn drop(&mut self) {
                self.0.let_go();
            }
        }
        let let_go = LetGo(&self.shared);
        let _ = self.shared.close();
        drop(let_go);
    }
}

/// An open store.
#[derive(Debug)]
struct Shared {
    /// For threads that must not keep the store.
    me: Weak<Shared>,
    disk: Arc<dyn Disk>,
    wal_path: PathBuf,
    snapshot_path: PathBuf,
    flush_interval: Duration,
    snapshot_on_close: bool,
    recovery: RecoveryReport,
    /// Of the log's file; a hint, see [`Body`].
    salt: AtomicU32,
    /// Length of the snapshot in bytes.
    snapshot_bytes: AtomicU64,
    log: Mutex<Log>,
    /// Signalled when a sync, a pause or the store ends: all who wait look again.
    settled: Condvar,
    state: MergeView,
    arrivals: Arrivals,
    flusher: Flusher,
    checkpointer: Checkpointer,
    /// Emptied by close.
    locks: Mutex<Option<Locks>>,
}

impl Engine {
    fn open(options: Options) -> Result<Engine> {
        check("the batch size", options.batch_size, 1, MAX_BATCH_SIZE)?;
        check_paths(&options.wal, &options.snapshot)?;
        let disk = options.disk;
        let locks = Locks::take(&*disk, &options.wal, &options.snapshot)?;
        let (wal, snapshot) = (&options.wal, &options.snapshot);
        let recovered = recover(&*disk, wal, snapshot, options.recovery, options.keep, &locks.noted, &options.progress);
        let Recovered { state, wal, deferred_log, snapshot, report } = recovered.inspect_err(|_| locks.undo())?;
        locks.note_pair(&options.wal);
        let shared = Arc::new_cyclic(|me| Shared {
            me: Weak::clone(me),
            salt: AtomicU32::new(wal.salt()),
            snapshot_bytes: AtomicU64::new(report.snapshot_bytes),
            wal_path: options.wal,
            snapshot_path: options.snapshot,
            flush_interval: options.flush_interval,
            snapshot_on_close: options.snapshot_on_close,
            log: Mutex::new(Log::new(wal, deferred_log, options.batch_size, report.last_seq, report.snapshot_seq)),
            settled: Condvar::new(),
            state,
            arrivals: Arrivals::default(),
            flusher: Flusher::default(),
            checkpointer: Checkpointer::new(options.checkpoint_log_bytes, options.checkpoint_interval, snapshot),
            recovery: report,
            locks: Mutex::new(Some(locks)),
            disk,
        });
        if !shared.flush_interval.is_zero() && !options.by_hand {
            flusher::spawn(&shared).map_err(Error::io("starting the flush thread of", &shared.wal_path))?;
        }
        if shared.checkpointer.is_by_age() {
            shared.start_checkpointer().map_err(Error::io("starting the checkpoint thread of", &shared.wal_path))?;
        }
        Ok(Engine { handle: Arc::new(Handle { shared }) })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// A turn of the flusher that has no thread; when the next one is due. `None`: when somebody has written.
    #[cfg(feature = "torture")]
    pub(crate) fn flusher_turn(&self) -> Option<Duration> {
        self.shared().flush_if_due().next()
    }

    /// Whether a write would have to wait for another thread now.
    #[cfg(feature = "torture")]
    pub(crate) fn would_wait(&self) -> bool {
        self.shared().would_wait()
    }

    /// Stores `value` under `key`. With batch size 1 it is durable when this returns; otherwise see
    /// [`Ack::durable`]. The key has 1 to [`MAX_KEY_BYTES`] bytes, the value 0 to
    /// [`MAX_VALUE_BYTES`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let ack = engine.put("x", "100")?;
    /// assert_eq!((ack.seq, ack.durable), (1, true)); // a sync that covers it has returned
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Limit`] and [`Error::NoSpace`]: not stored. [`Error::Poisoned`]: in doubt when this
    /// call's sync failed, not stored when an earlier one did. [`Error::Lost`]: the log was removed, replaced or cut from
    /// outside. [`Error::Closed`]: not stored. [`Error::Io`]: not stored; of a long value, where there is no memory for it.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Ack> {
        let op = OpRef { key: checked_key(key.as_ref())?, value: Some(checked_value(value.as_ref())?) };
        let encode = |out: &mut Vec<u8>| op.encode(out);
        self.shared().encoded(op.encoded_len(), encode, |body| self.shared().commit(self.shared().log()?, What::Put, body))
    }

    /// Removes `key`. `None`: there was no such key, and nothing was logged. Durable as a put is.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// assert_eq!(engine.delete("x")?.map(|ack| ack.seq), Some(2));
    /// assert_eq!(engine.delete("x")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::put`], with "not removed" for "not stored".
    pub fn delete(&self, key: impl AsRef<[u8]>) -> Result<Option<Ack>> {
        let op = OpRef { key: checked_key(key.as_ref())?, value: None };
        self.shared().encoded(op.encoded_len(), |out| op.encode(out), |body| self.shared().delete(op.key, body))
    }

    /// Applies the operations of `batch` in order, as one write: all of them, or after any crash none.
    /// Durable as a put is. An empty batch writes nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let mut transfer = kv_engine::Batch::new();
    /// transfer.put("from", "90").put("to", "110");
    /// let ack = engine.write(transfer)?;
    /// assert_eq!((ack.seq, engine.len()), (1, 2)); // one write, two keys
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::put`]; [`Error::Limit`] also when the whole is longer than [`MAX_ATOMIC_BYTES`].
    pub fn write(&self, batch: Batch) -> Result<Ack> {
        let mut bytes = 0;
        for op in &batch.ops {
            checked_key(&op.key)?;
            checked_value(op.value.as_deref().unwrap_or_default())?;
            bytes += op.as_ref().encoded_len();
        }
        check("the batch's length in bytes", bytes as u64, 0, MAX_ATOMIC_BYTES as u64)?;
        if batch.is_empty() {
            let log = self.shared().wait_until_free(self.shared().log()?)?;
            return Ok(log.ack(log.applied));
        }
        let encode = |out: &mut Vec<u8>| batch.ops.iter().for_each(|op| op.as_ref().encode(out));
        self.shared().encoded(bytes, encode, |body| self.shared().commit(self.shared().log()?, What::Batch, body))
    }

    /// The value of `key`, durable or not yet. Never waits for a sync. Works after a failure and after
    /// close, too.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// assert_eq!(engine.get("x")?.as_deref(), Some(&b"100"[..]));
    /// assert_eq!(engine.get("y")?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// None with all values in memory. Where they stay in the snapshot, [`Error::Damaged`] names the block that is not
    /// what was written, [`Error::Io`] what the system says.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.shared().state.get(key.as_ref())
    }

    /// Calls `see` with the value of `key`, where there is one, and returns what it returns: nothing is
    /// allocated, and no lock is held meanwhile. A value of more than about a thousand bytes is shared, a shorter one copied to the stack.
    /// Otherwise as [`Engine::get`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// assert_eq!(engine.get_with("x", |value| value.len())?, Some(3));
    /// assert_eq!(engine.get_with("y", |value| value.len())?, None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn get_with<T>(&self, key: impl AsRef<[u8]>, see: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        self.shared().state.with(key.as_ref(), see)
    }

    /// The entries whose keys begin with `prefix`, in the byte order of the keys; all for an empty one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// for user in ["user:2", "user:1", "visitor:1"] {
    ///     engine.put(user, "here")?;
    /// }
    /// let first = engine.scan("user:").next().expect("two users")?;
    /// assert_eq!((&first.0[..], &first.1[..]), (&b"user:1"[..], &b"here"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Scan {
        Scan::new(Arc::clone(self.shared()), prefix.as_ref())
    }

    /// The keys that begin with `prefix`, in byte order; all for an empty one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("user:1", "Ada")?;
    /// engine.put("visitor:1", "Bob")?;
    /// assert_eq!(engine.keys("user:").collect::<Result<Vec<_>, _>>()?, [b"user:1"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(&self, prefix: impl AsRef<[u8]>) -> Keys {
        Keys(self.scan(prefix))
    }

    /// Makes everything acknowledged before durable, with one sync of its own at most.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap"))
    /// #     .batch_size(100).flush_interval(std::time::Duration::ZERO).open()?;
    /// for n in 0..150_u32 {
    ///     engine.put(n.to_be_bytes(), "v")?;  // the 100th waits for a sync of all hundred
    /// }
    /// assert_eq!(engine.pending(), 50);       // what a power cut could take back
    /// assert_eq!(engine.flush()?.writes, 50);
    /// assert_eq!(engine.pending(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSpace`]: what is pending stays so. [`Error::Poisoned`]: pending writes are in doubt.
    /// [`Error::Lost`]: the log was removed, replaced or cut from outside. [`Error::Closed`].
    pub fn flush(&self) -> Result<Flushed> {
        let began = self.shared().disk.now();
        let log = self.shared().open_log()?;
        let (durable, written) = (log.durable, log.counts.log_bytes_written);
        let log = self.shared().make_durable(log)?;
        let mut log = self.shared().check_log_behind_pause(log)?;
        self.shared().prove_writes(&mut log);
        Ok(Flushed {
            writes: log.durable - durable,
            bytes: log.counts.log_bytes_written - written,
            took: self.shared().disk.now().saturating_sub(began),
        })
    }

    /// Saves the state durably as the new snapshot, and lets the log go of what it holds; flushes first.
    /// Reads and writes go on meanwhile; the snapshot is the state after exactly one write, [`Snapshotted::seq`].
    /// Waits for a checkpoint that is under way.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// let snapshot = engine.snapshot()?;
    /// assert_eq!((snapshot.seq, snapshot.keys), (1, 1)); // the next opening reads these, and no log
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Replaced`]: the snapshot is not the one that this store opened or wrote.
    /// [`Error::Io`]: log and old snapshot are as they were, or the new snapshot is in place and the
    /// log still whole; the text says which. Otherwise as [`Engine::flush`].
    pub fn snapshot(&self) -> Result<Snapshotted> {
        self.shared().checkpoint()
    }

    /// Changes the batch size. When as many writes or more are pending, they are synced first.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).batch_size(100).open()?;
    /// engine.put("x", "100")?;
    /// engine.set_batch_size(1)?;         // from now on every write is durable when it returns,
    /// assert_eq!(engine.pending(), 0);   // and so are those before
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Limit`] outside 1 to [`MAX_BATCH_SIZE`]; otherwise as [`Engine::flush`]. The old size
    /// stays.
    pub fn set_batch_size(&self, writes: u64) -> Result<()> {
        check("the batch size", writes, 1, MAX_BATCH_SIZE)?;
        self.shared().change_batch_size(writes)
    }

    /// Writes per sync.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// assert_eq!(engine.batch_size(), 1); // unless set otherwise
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn batch_size(&self) -> u64 {
        self.shared().log_always().batch_size
    }

    /// Acknowledged writes that are not durable yet: what a crash could take back now.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap"))
    /// #     .batch_size(100).flush_interval(std::time::Duration::ZERO).open()?;
    /// engine.put("x", "100")?;
    /// assert_eq!(engine.pending(), 1);
    /// engine.flush()?;
    /// assert_eq!(engine.pending(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn pending(&self) -> u64 {
        self.shared().log_always().pending()
    }

    /// Figures of this store, all of one moment.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// let stats = engine.stats();
    /// assert_eq!((stats.keys, stats.data_bytes, stats.syncs), (1, 4, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let log = self.shared().log_always();
        let state = &self.shared().state;
        let (keys, data_bytes) = state.at_most();
        let counts = log.counts;
        let checkpoint = &self.shared().checkpointer;
        let (read, to_read) = checkpoint.progress();
        let (checkpoint_failures, checkpoint_met_damage) = checkpoint.failures();
        Stats {
            store_id: log.wal.store_id(),
            keys,
            data_bytes,
            batch_size: log.batch_size,
            flush_interval: self.shared().flush_interval,
            appended: log.appended,
            durable: log.durable,
            pending: log.pending(),
            puts: counts.puts,
            deletes: counts.deletes,
            batches: counts.batches,
            log_bytes: log.wal.len_bytes(),
            log_bytes_written: counts.log_bytes_written,
            log_writes: counts.log_writes,
            grouped_writes: log.written - self.shared().recovery.last_seq,
            syncs: counts.syncs,
            sync_total: counts.sync_total,
            sync_max: counts.sync_max,
            sync_times: counts.sync_times,
            largest_group: counts.largest_group,
            snapshots: counts.snapshots,
            snapshot_seq: counts.snapshot_seq,
            snapshot_bytes: self.shared().snapshot_bytes.load(Ordering::Relaxed),
            checkpoint_log_bytes: checkpoint.limit_bytes(),
            checkpoint_interval: checkpoint.interval(),
            checkpointing: checkpoint.is_running(),
            checkpoint_read: read,
            checkpoint_to_read: to_read,
            checkpoint_failed: checkpoint.failure(),
            checkpoint_failures,
            checkpoint_met_damage,
            failed: log.failure.clone(),
        }
    }

    /// What opening this store found.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// for warning in engine.recovery().warnings() {
    ///     eprintln!("{warning}");
    /// }
    /// assert!(engine.recovery().created);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn recovery(&self) -> &RecoveryReport {
        &self.shared().recovery
    }

    /// Flushes, then takes a snapshot if [`Options::snapshot_on_close`] says so, else marks the log as
    /// closed in order; lets other processes open the store. Later writes get [`Error::Closed`], reads
    /// go on. Closing again does nothing.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// engine.close()?; // after this OK nothing acknowledged can be lost
    /// assert!(matches!(engine.put("x", "200"), Err(kv_engine::Error::Closed)));
    /// assert!(engine.get("x")?.is_some());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NoSpace`], and [`Error::Io`] from the snapshot: still open, so that the cause can be
    /// mended and close repeated. [`Error::Poisoned`]: closed, and the error says what may be lost.
    pub fn close(&self) -> Result<()> {
        self.shared().close()
    }
}

/// The memory in which a thread encodes its writes is kept up to this size.
const KEEP_ENCODED_BYTES: usize = 64 << 10;
/// From this length on it is asked first whether there is memory for a write.
const ASK_FOR_BYTES: usize = 1 << 20;

thread_local! {
    static ENCODED: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

impl Shared {
    /// Step 1 of a write: its body and the body's check, made without any lock; then `commit`.
    ///
    /// A long body is in memory twice at a time, besides the caller's own copy: here and in the log, then in the log and in
    /// the map. Whether there is so much memory is asked before anything is done.
    fn encoded<T>(&self, len: usize, encode: impl FnOnce(&mut Vec<u8>), commit: impl FnOnce(Body<'_>) -> Result<T>) -> Result<T> {
        let copies = 2 * len as u64;
        if len >= ASK_FOR_BYTES && !memory::is_available(copies) {
            return Err(Error::io("writing", &self.wal_path)(memory::too_little(copies)));
        }
        let is_long = len > KEEP_ENCODED_BYTES;
        let mut bytes = if is_long { Vec::with_capacity(len) } else { ENCODED.take() };
        bytes.clear();
        encode(&mut bytes);
        let salt = self.salt.load(Ordering::Relaxed);
        if is_long {
            return commit(Body::new(bytes, salt));
        }
        let done = commit(Body::new(&bytes, salt));
        ENCODED.set(bytes);
        done
    }

    /// Logs the deletion that `body` holds, where `key` is there.
    fn delete(&self, key: &[u8], body: Body<'_>) -> Result<Option<Ack>> {
        let mut log = self.log()?;
        loop {
            log = self.wait_until_free(log)?;
            let there = match log.undecided(key) {
                // Only an answer that cannot be taken back may say that the key is gone.
                Some(false) => {
                    log = self.advance(log)?;
                    continue;
                }
                Some(true) => true,
                None => self.state.with(key, |_| ())?.is_some(),
            };
            if there && log.deferred_log.is_some() {
                log = self.admit(log)?; // others may write while a log is begun
                continue;
            }
            return if there { self.commit(log, What::Delete, body).map(Some) } else { Ok(None) };
        }
    }

    fn log(&self) -> Result<Guard<'_>> {
        self.log.lock().map_err(|poisoned| self.panicked(&mut poisoned.into_inner()))
    }

    /// As [`Shared::log`], of a store that still takes writes.
    fn open_log(&self) -> Result<Guard<'_>> {
        let log = self.log()?;
        log.check_open()?;
        Ok(log)
    }

    /// For looking only: also after a panic.
    fn log_always(&self) -> Guard<'_> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn panicked(&self, log: &mut Log) -> Error {
        let reason = "a thread of this program panicked while it was writing".to_string();
        log.fail(reason.clone());
        log.give_up_next();
        Error::Poisoned { path: self.wal_path.clone(), reason, pending: log.pending() }
    }

    /// Refuses where the names of the store are no longer ours.
    fn check_in_place(&self) -> Result<()> {
        match &*self.locks.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(locks) => locks.check_in_place(&self.wal_path, &self.snapshot_path),
            None => Ok(()),
        }
    }

    /// After a failed sync of a directory nothing more may be promised.
    fn failing_for_good<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Poisoned { reason, .. }) = &result {
            self.log()?.fail(reason.clone());
        }
        result
    }
}

fn check(what: &'static str, got: u64, min: u64, max: u64) -> Result<()> {
    if (min..=max).contains(&got) { Ok(()) } else { Err(Error::Limit { what, got, min, max }) }
}

fn checked_key(key: &[u8]) -> Result<&[u8]> {
    check("the key's length in bytes", key.len() as u64, 1, MAX_KEY_BYTES as u64).map(|()| key)
}

fn checked_value(value: &[u8]) -> Result<&[u8]> {
    check("the value's length in bytes", value.len() as u64, 0, MAX_VALUE_BYTES as u64).map(|()| value)
}

/// Refuses names under which two of the store's files would be one.
fn check_paths(wal: &Path, snapshot: &Path) -> Result<()> {
    let mut seen = HashSet::new();
    let mut is_twice = is_scratch_of(wal, snapshot) || is_scratch_of(snapshot, wal);
    for path in [wal, snapshot] {
        let whole = std::path::absolute(path).map_err(Error::io("finding", path))?;
        is_twice |= !seen.insert(with_suffix(&whole, ".lock")) || !seen.insert(whole);
    }
    if is_twice {
        let (wal, snapshot) = (wal.to_path_buf(), snapshot.to_path_buf());
        let reason = "they, or their helper files, would be the same file".into();
        return Err(Error::Mismatch { wal, snapshot, reason });
    }
    Ok(())
}

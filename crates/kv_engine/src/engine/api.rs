//! [`Engine`]: the public calls. Each one checks its arguments and calls [`Shared`], which does the work.

use super::batch::Batch;
use super::iter::{Keys, Scan};
use super::report::{Ack, Flushed, Snapshotted, Stats};
use super::shared::Shared;
use super::write::check_batch_size;
use crate::error::Result;
use crate::recovery::RecoveryReport;
use crate::state::Value;
use crate::sync::Ordering;
#[cfg(doc)]
use crate::{Error, MAX_ATOMIC_BYTES, MAX_BATCH_SIZE, MAX_KEY_BYTES, MAX_VALUE_BYTES, Options};
use std::sync::Arc;

/// An open store. Cheap to clone: every clone is the same store and can be used from any thread. When the last clone is
/// dropped, the store is closed as by [`Engine::close`], but errors are not reported.
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

/// Shared by the clones of an engine. The threads and iterators hold only the inner [`Shared`], so dropping the last
/// clone closes the store at once.
#[derive(Debug)]
struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        /// Releases the locks even if close fails or panics: no handle is left that could close the store again.
        struct Release<'a>(&'a Shared);
        impl Drop for Release<'_> {
            fn drop(&mut self) {
                self.0.release();
            }
        }
        let release = Release(&self.shared);
        let _ = self.shared.close();
        drop(release);
    }
}

impl Engine {
    pub(super) fn new(shared: Arc<Shared>) -> Engine {
        Engine { handle: Arc::new(Handle { shared }) }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
    }

    /// Stores `value` under `key`. With batch size 1 the write is durable when this returns. With a larger one,
    /// [`Ack::durable`] tells. The key has 1 to [`MAX_KEY_BYTES`] bytes, the value 0 to [`MAX_VALUE_BYTES`].
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
    /// - [`Error::Limit`], [`Error::NoSpace`], [`Error::Closed`]: not stored.
    /// - [`Error::Poisoned`]: if this call's own sync failed, it is unknown whether the write was stored. If an earlier
    ///   one failed, it was not stored.
    /// - [`Error::Lost`]: another process removed, replaced or truncated the log.
    /// - [`Error::Io`]: not stored. There was not enough memory for a long value.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Ack> {
        self.shared().put(key.as_ref(), value.as_ref())
    }

    /// Removes `key`. `None`: the key did not exist, and nothing was logged. Durability as with [`Engine::put`].
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
        self.shared().delete(key.as_ref())
    }

    /// Applies the operations of `batch` in order, as one write: after any crash either all of them are in the store or
    /// none. Durability as with [`Engine::put`], or at once with [`Batch::durable`]. With conditions
    /// ([`Batch::require`]) it is written only if all of them hold. An empty batch writes nothing.
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
    /// As [`Engine::put`]. [`Error::Limit`] also if the whole batch is longer than [`MAX_ATOMIC_BYTES`].
    /// [`Error::Condition`]: a condition does not hold, and nothing was written.
    pub fn write(&self, batch: Batch) -> Result<Ack> {
        self.shared().write(&batch)
    }

    /// The value of `key`, whether it is durable already or not. Never waits for a sync. Also works after a failure and
    /// after close.
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
    /// None if all values are in memory. If values stay in the snapshot: [`Error::Damaged`] for a block that fails its
    /// check, [`Error::Io`] for one that cannot be read.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.shared().state.get(key.as_ref())
    }

    /// Calls `see` with the value of `key`, if there is one, and returns its result. Otherwise as [`Engine::get`].
    ///
    /// This allocates nothing, and no lock is held during the call. A value of more than about a thousand bytes is
    /// shared, a shorter one is copied to the stack.
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

    /// The entries whose keys begin with `prefix`, in the byte order of the keys. An empty prefix gives all entries.
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

    /// The keys that begin with `prefix`, in byte order. An empty prefix gives all keys.
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

    /// Makes everything that was acknowledged before durable, with at most one sync of its own.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap"))
    /// #     .batch_size(100).flush_interval(std::time::Duration::ZERO).open()?;
    /// for n in 0..150_u32 {
    ///     engine.put(n.to_be_bytes(), "v")?;  // the 100th waits for a sync of all hundred
    /// }
    /// assert_eq!(engine.pending(), 50);       // a power cut could lose these
    /// assert_eq!(engine.flush()?.writes, 50);
    /// assert_eq!(engine.pending(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::NoSpace`]: pending writes stay pending.
    /// - [`Error::Poisoned`]: pending writes may be lost.
    /// - [`Error::Lost`]: another process removed, replaced or truncated the log.
    /// - [`Error::Closed`].
    pub fn flush(&self) -> Result<Flushed> {
        let began = self.shared().disk.now();
        let log = self.shared().open_log()?;
        let (durable, written) = (log.durable, log.counts.log_bytes_written);
        let log = self.shared().make_durable(log)?;
        let mut log = self.shared().check_log_after_pause(log)?;
        self.shared().prove_writes(&mut log);
        Ok(Flushed {
            writes: log.durable - durable,
            bytes: log.counts.log_bytes_written - written,
            took: self.shared().disk.now().saturating_sub(began),
        })
    }

    /// Takes a checkpoint: saves the state as the new snapshot, durably, then replaces the log by a new one without the
    /// writes that the snapshot holds. Flushes first.
    ///
    /// The snapshot is the state after exactly one write, [`Snapshotted::seq`]. Reads and writes go on in the meantime.
    /// If another checkpoint is running, this waits for it first.
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
    /// - [`Error::Replaced`]: the snapshot on the disk is not the one that this store opened or wrote.
    /// - [`Error::Io`]: log and old snapshot are unchanged, or the new snapshot is in place and the log is still
    ///   complete. The text says which.
    /// - Otherwise as [`Engine::flush`].
    pub fn snapshot(&self) -> Result<Snapshotted> {
        self.shared().checkpoint()
    }

    /// Changes the batch size. If that many writes or more are pending, they are synced first.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).batch_size(100).open()?;
    /// engine.put("x", "100")?;
    /// engine.set_batch_size(1)?;         // from now on every write is durable when it returns
    /// assert_eq!(engine.pending(), 0);   // the earlier ones are durable too
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Limit`] outside 1 to [`MAX_BATCH_SIZE`]; otherwise as [`Engine::flush`]. After an error the old size is
    /// in use.
    pub fn set_batch_size(&self, writes: u64) -> Result<()> {
        check_batch_size(writes)?;
        self.shared().change_batch_size(writes)
    }

    /// The batch size: writes per sync.
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

    /// The number of acknowledged writes that are not durable yet. A crash now could lose them.
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

    /// Figures of this store, all from the same moment.
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
            sync_total: counts.sync_times.sum(),
            sync_max: counts.sync_times.longest(),
            sync_times: counts.sync_times,
            group_sizes: counts.group_sizes,
            largest_group: counts.group_sizes.largest(),
            snapshots: counts.snapshots,
            snapshot_seq: counts.snapshot_seq,
            snapshot_bytes: self.shared().snapshot_bytes.load(Ordering::Relaxed),
            checkpoint_log_bytes: checkpoint.limit_bytes,
            checkpoint_interval: checkpoint.interval,
            checkpointing: checkpoint.is_running(),
            checkpoint_read: read,
            checkpoint_to_read: to_read,
            checkpoint_failed: checkpoint.failure(),
            checkpoint_failures,
            checkpoint_met_damage,
            failed: log.failure.clone(),
        }
    }

    /// Notes in the lock file where other processes can reach this one, for example the address of a server. If
    /// another process tries to open the store, [`Error::Locked`] tells it. Only the first line counts. A note that
    /// cannot be written is left out.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::{Error, Options};
    /// let engine = Options::new(&log, &snapshot).open()?;
    /// engine.set_contact("127.0.0.1:6379");
    /// let second = Options::new(&log, &snapshot).open();
    /// assert!(matches!(second, Err(Error::Locked { contact: Some(at), .. }) if at == "127.0.0.1:6379"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_contact(&self, contact: &str) {
        self.shared().note_contact(contact);
    }

    /// The report of opening this store.
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

    /// Closes the store: flushes, then takes a snapshot (with [`Options::snapshot_on_close`]) or marks the log as
    /// closed cleanly, then lets other processes open the store. Later writes get [`Error::Closed`]; reads still work.
    /// Closing again does nothing.
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
    /// - [`Error::NoSpace`], and [`Error::Io`] from the snapshot: the store is still open. Remove the cause and close
    ///   again.
    /// - [`Error::Poisoned`]: the store is closed, and the error says which writes may be lost.
    pub fn close(&self) -> Result<()> {
        self.shared().close()
    }
}

//! The conductor: what the public calls do, in which order, under which lock.
//!
//! | file | what is in it |
//! |---|---|
//! | `mod.rs` | [`Engine`]: the public calls, opening, snapshot, close |
//! | `log.rs` | group commit: watermarks, who leads, who waits, what a failure means |
//! | `locks.rs` | the two lock files, and what they note |
//! | `flusher.rs` | the thread that bounds the age of pending writes |
//! | `options.rs`, `batch.rs`, `iter.rs` | the types callers build and iterate |
//! | `report.rs` | the types calls answer with |
//!
//! Locks, always taken in this order: `log` (one writer's step at a time; never held across a
//! sync), `state` (the map; held for one write, one lookup, or a thousand entries of a snapshot).

mod batch;
mod flusher;
mod iter;
mod locks;
mod log;
mod options;
mod report;

pub use batch::Batch;
pub use iter::{Keys, Scan};
pub use options::Options;
pub use report::{Ack, Flushed, Snapshotted, Stats};

use crate::disk::Disk;
use crate::error::{Error, Result};
use crate::record::Kind;
use crate::recovery::{Recovered, RecoveryReport, recover};
use crate::state::{Op, State, Value};
use crate::wal::Wal;
use crate::{MAX_ATOMIC_BYTES, MAX_BATCH_SIZE, MAX_KEY_BYTES, MAX_VALUE_BYTES, StoreId, snapshot, with_suffix};
use flusher::Flusher;
use locks::Locks;
use log::{Guard, Log, Ops};
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
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
        let _ = self.shared.close();
        self.shared.let_go(); // also where close would have to be repeated: nobody is left to do it
    }
}

/// An open store.
#[derive(Debug)]
struct Shared {
    disk: Arc<dyn Disk>,
    wal_path: PathBuf,
    snapshot_path: PathBuf,
    store_id: StoreId,
    flush_interval: Duration,
    snapshot_on_close: bool,
    recovery: RecoveryReport,
    log: Mutex<Log>,
    /// Signalled when a sync, a pause or the store ends: all who wait look again.
    settled: Condvar,
    state: RwLock<State>,
    flusher: Flusher,
    /// Emptied by close.
    locks: Mutex<Option<Locks>>,
}

impl Engine {
    fn open(options: Options) -> Result<Engine> {
        check("the batch size", options.batch_size, 1, MAX_BATCH_SIZE)?;
        check_paths(&options.wal, &options.snapshot)?;
        let disk = options.disk;
        let locks = Locks::take(&*disk, &options.wal, &options.snapshot)?;
        let Recovered { state, wal, report } =
            recover(&*disk, &options.wal, &options.snapshot, options.recovery, locks.other_log.as_deref(), &options.progress)?;
        locks.note_pair(&options.wal);
        let shared = Arc::new(Shared {
            store_id: wal.store_id(),
            wal_path: options.wal,
            snapshot_path: options.snapshot,
            flush_interval: options.flush_interval,
            snapshot_on_close: options.snapshot_on_close,
            log: Mutex::new(Log::new(wal, options.batch_size, report.last_seq, report.snapshot_seq)),
            settled: Condvar::new(),
            state: RwLock::new(state),
            flusher: Flusher::default(),
            recovery: report,
            locks: Mutex::new(Some(locks)),
            disk,
        });
        if !shared.flush_interval.is_zero() {
            flusher::spawn(&shared).map_err(Error::io("starting the flush thread of", &shared.wal_path))?;
        }
        Ok(Engine { handle: Arc::new(Handle { shared }) })
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.handle.shared
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
    /// call's sync failed, not stored when an earlier one did. [`Error::Closed`]: not stored.
    pub fn put(&self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Result<Ack> {
        let op = Op::put(checked_key(key.as_ref())?, checked_value(value.as_ref())?);
        self.shared().commit(self.shared().log()?, Ops::One(op))
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
        let op = Op::delete(checked_key(key.as_ref())?);
        let mut log = self.shared().log()?;
        loop {
            log = self.shared().admit(log)?;
            let there = match log.undecided(&op.key) {
                // Only an answer that cannot be taken back may say that the key is gone.
                Some(false) => {
                    log = self.shared().advance(log)?;
                    continue;
                }
                Some(true) => true,
                None => self.shared().state().get(&op.key).is_some(),
            };
            return if there { self.shared().commit(log, Ops::One(op)).map(Some) } else { Ok(None) };
        }
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
        let log = self.shared().log()?;
        if batch.is_empty() {
            let log = self.shared().admit(log)?;
            return Ok(log.ack(log.applied));
        }
        self.shared().commit(log, Ops::Many(batch.ops))
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
    /// None today; a store larger than memory would have to read.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        Ok(self.shared().state().get(key.as_ref()).cloned())
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

    /// Number of keys.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// engine.put("x", "200")?;
    /// assert_eq!(engine.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared().state().len()
    }

    /// Whether there is no key.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// assert!(engine.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digest of what readers see: two stores with the same entries have the same digest. Reads
    /// every entry; writes wait meanwhile.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let open = |n: &str| kv_engine::Options::new(dir.path().join(n), dir.path().join(n.to_owned() + "s")).open();
    /// let (one, other) = (open("one")?, open("other")?);
    /// one.put("x", "1")?;
    /// one.put("x", "2")?;
    /// other.put("x", "2")?;
    /// assert_eq!(one.digest(), other.digest());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn digest(&self) -> crate::Digest {
        self.shared().state().digest()
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
    /// [`Error::Closed`].
    pub fn flush(&self) -> Result<Flushed> {
        let began = self.shared().disk.now();
        let log = self.shared().log()?;
        if log.closed {
            return Err(Error::Closed);
        }
        let (durable, written) = (log.durable, log.counts.log_bytes_written);
        let log = self.shared().make_durable(log)?;
        Ok(Flushed {
            writes: log.durable - durable,
            bytes: log.counts.log_bytes_written - written,
            took: self.shared().disk.now().saturating_sub(began),
        })
    }

    /// Saves the whole state durably as the new snapshot and begins a new, empty log; flushes first.
    /// Reads go on meanwhile, writes wait.
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
    /// [`Error::Io`]: log and old snapshot are as they were, or the new snapshot is in place and the
    /// log still whole; the text says which. Otherwise as [`Engine::flush`].
    pub fn snapshot(&self) -> Result<Snapshotted> {
        self.shared().while_paused(|log| self.shared().take_snapshot(log), |_, _| {})
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
        let state = self.shared().state();
        let counts = log.counts;
        Stats {
            store_id: self.shared().store_id,
            keys: state.len() as u64,
            data_bytes: state.data_bytes(),
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
            syncs: counts.syncs,
            sync_total: counts.sync_total,
            sync_max: counts.sync_max,
            largest_group: counts.largest_group,
            snapshots: counts.snapshots,
            snapshot_seq: counts.snapshot_seq,
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

impl Shared {
    fn log(&self) -> Result<Guard<'_>> {
        self.log.lock().map_err(|poisoned| self.panicked(&mut poisoned.into_inner()))
    }

    /// For looking only: also after a panic.
    fn log_always(&self) -> Guard<'_> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn panicked(&self, log: &mut Log) -> Error {
        let reason = "a thread of this program panicked while it was writing".to_string();
        log.fail(reason.clone());
        Error::Poisoned { path: self.wal_path.clone(), reason, pending: log.pending() }
    }

    fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the log paused: 1. make it all durable, so that the state is that after `seq`; 2. save
    /// it; 3. put a new log that begins after `seq` in place. A crash between 2 and 3 leaves
    /// records that the snapshot holds too; opening skips them.
    fn take_snapshot(&self, log: Guard<'_>) -> Result<Snapshotted> {
        let began = self.disk.now();
        let log = self.make_durable(log)?;
        let (seq, released) = (log.durable, log.wal.len_bytes());
        drop(log);

        let saved = snapshot::save(&*self.disk, &self.snapshot_path, self.store_id, seq, snapshot::entries_of(|| self.state()));
        let header = self.failing_for_good(saved)?;
        let mut log = self.log()?;
        log.counts.snapshots += 1;
        log.counts.snapshot_seq = seq;
        drop(log);

        let wal = self.failing_for_good(Wal::create(&*self.disk, &self.wal_path, self.store_id, seq))?;
        self.log()?.switch(wal);
        Ok(Snapshotted {
            seq,
            keys: header.entries,
            bytes: header.file_len().expect("the length of a file that was written"),
            log_bytes_released: released,
            digest: header.digest,
            took: self.disk.now().saturating_sub(began),
        })
    }

    /// After a failed sync of a directory nothing more may be promised.
    fn failing_for_good<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(Error::Poisoned { reason, .. }) = &result {
            self.log()?.fail(reason.clone());
        }
        result
    }

    fn close(&self) -> Result<()> {
        let ends = |done: &Result<()>| matches!(done, Ok(()) | Err(Error::Poisoned { .. }));
        // No writer may come in between the last sync and `closed`.
        let done = self.while_paused(|log| self.shut(log), |log, done| log.closed = ends(done));
        let done = match done {
            // Closed before, or at this moment by another thread: its outcome stands.
            Err(Error::Closed) => return self.log_always().poisoned().map_or(Ok(()), Err),
            done => done,
        };
        if ends(&done) {
            self.let_go();
        }
        done
    }

    /// Takes no more writes, and lets other processes open the store.
    fn let_go(&self) {
        self.log_always().closed = true;
        drop(self.locks.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.flusher.wake();
    }

    /// With the log paused: everything durable, then the snapshot or the mark of an orderly close.
    fn shut(&self, log: Guard<'_>) -> Result<()> {
        if self.snapshot_on_close {
            return self.take_snapshot(log).map(drop);
        }
        let mut log = self.make_durable(log)?;
        if log.wal.is_marked_closed() {
            return Ok(());
        }
        let (seq, before) = (log.appended, log.wal.mark());
        log.wal.append(Kind::CLOSED, seq, seq, || self.disk.entropy(), |_| {});
        // All is durable already. The mark only lets recovery see rot in the last group, so a disk
        // that has no room for it is no reason to refuse.
        match log.wal.write() {
            Ok(_) => {
                let file = log.wal.ticket();
                drop(log);
                let _ = file.sync();
            }
            Err(_) => log.wal.rewind(before),
        }
        Ok(())
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
    for path in [wal, snapshot] {
        let whole = std::path::absolute(path).map_err(Error::io("finding", path))?;
        let names = ["", ".tmp", ".lock"].map(|suffix| with_suffix(&whole, suffix));
        if names.into_iter().any(|name| !seen.insert(name)) {
            let (wal, snapshot) = (wal.to_path_buf(), snapshot.to_path_buf());
            let reason = "they, or their helper files, would be the same file".into();
            return Err(Error::Mismatch { wal, snapshot, reason });
        }
    }
    Ok(())
}

//! A crash-consistent key-value store: **after any crash, the state is exactly a prefix of what was
//! written, and everything that was promised durable is in it.**
//!
//! Keys and values are bytes. The whole map is kept in memory, unless values are to stay in the snapshot
//! ([`Options::values_in_snapshot`]); a write-ahead log and a snapshot keep it on disk. One process at a time, any number of threads.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let (log, snapshot) = (dir.path().join("kv.wal"), dir.path().join("kv.snapshot"));
//! use kv_engine::{Batch, Options};
//!
//! let engine = Options::new(log, snapshot).open()?;     // batch size 1: every OK is durable
//! engine.put("x", "100")?;                              // on the disk when this returns
//! assert_eq!(engine.get("x")?.as_deref(), Some(&b"100"[..]));
//!
//! let mut batch = Batch::new();
//! batch.put("a", "1").put("b", "2").delete("x");
//! engine.write(batch)?;                                 // all three or none
//!
//! engine.close()?;                                      // reports what dropping cannot
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # What is durable when
//!
//! A *write* is one put or delete, or one atomic [`Batch`]; it has a sequence number 1, 2, 3 …
//! without gaps. It is *durable* once an `fdatasync` that covers it has returned 0. With the batch
//! size `n` ([`Options::batch_size`]):
//!
//! | n | OK of a write means | SIGKILL or power cut can take back |
//! |---|---|---|
//! | 1 | durable, and only now visible to readers | nothing that was acknowledged |
//! | more | accepted in order, visible; the write that makes n wait for a sync waits for it | at most the last n − 1 acknowledged writes |
//!
//! OK of [`Engine::flush`], [`Engine::snapshot`] and [`Engine::close`]: everything acknowledged
//! before is durable. A background flush bounds the age of what is not
//! ([`Options::flush_interval`]). Assumed is a local file system whose `fdatasync` and `fsync`
//! tell the truth.
//!
//! # The two flows
//!
//! ```text
//! writing   write → append (buffer) → write (file) → sync (disk) → apply (map) → OK
//! opening   snapshot → map,  then the log's writes above the snapshot's sequence number → map
//! ```
//!
//! Beside them, when the log is long or somebody asks: *checkpoint*, old snapshot + log → new snapshot,
//! from the files, while both flows go on; then a new log that begins behind it.
//!
//! # The files
//!
//! | file | what it is |
//! |---|---|
//! | `<wal>` | the log: every write since the snapshot, in order |
//! | `<snapshot>` | the state after exactly one write; absent until the first snapshot |
//! | `<wal>.lock`, `<snapshot>.lock` | locked while the store is open; hold the process number; stay |
//! | `<wal>.tmp-<random><check>`, the same of the snapshot | scratch files, being written; what a crash left over is removed at opening |
//! | `<wal>.bench-<random><check>/` | the scratch store of a BENCH; gone at its end, or with the next one |
//! | `<wal>.damaged-<n>` | a log that was damaged, kept whole; never recovered from, never removed; said at each opening |
//! | `<wal>.damaged-<n>-torn` | a log with whole writes behind a torn record, kept whole; the same holds |
//!
//! Both files are only ever replaced whole, in one way: written as a scratch file, synced, renamed,
//! directory synced. Between, the log only grows at its end, into space that is reserved there (zeros), or is
//! cut back to its last good record. The log itself is locked too, whatever name it is found under.
//! The byte layouts stand at the head of `src/record.rs`, `src/wal.rs` and `src/snapshot.rs`.
//!
//! # Invariants
//!
//! - The watermarks: `durable ≤ written ≤ appended`, and
//!   `applied = min(appended, durable + n − 1)`: a write is applied, and so acknowledged, once
//!   fewer than n writes up to and including it are not durable. That one rule is the table above.
//! - Log order = apply order = sequence order, whatever the number of threads.
//! - The snapshot holds only durable writes, and the log lets go of a write only when a snapshot
//!   that holds it is synced, read back, renamed, and its directory synced.
//! - A failed sync is never repeated: the store takes no more writes until it is opened again.
//! - A failed write is taken back to the last good end of the log.
//! - What is in use is known by what it is (device and inode, store id, sequence number, checksum), not by its name. A sync counts only while the
//!   log's name shows the file that was synced. A checkpoint builds only on the snapshot that this opening loaded or wrote. No file is
//!   removed or replaced that a store of this name did not make.
//! - Behind the last write, once all is durable and nobody writes, a mark is written, and not synced. It proves to recovery that what stands
//!   before it was synced. A power cut may take it.
//! - Before the first record of an opening, a mark that begins a new chain of records is durable: what an
//!   earlier life left behind the end of the log, and recovery did not see, can never come back.
//! - Recovery ends where the log stops making sense, and says whether that is *torn* (never
//!   promised to anyone; cut) or *damaged* (promised; everything before it is kept, the damaged
//!   file too). Nothing is dropped without a word.
//!
//! # The modules
//!
//! | module | its one responsibility | uses |
//! |---|---|---|
//! | [`disk`] | the seam to the operating system | memory |
//! | `magic` | the first bytes of each file; what a foreign file is | – |
//! | `memory` | large buffers that go back to the system; memory that cannot be had | – |
//! | `record` | the bytes of one frame | – |
//! | `state` | the map as a pure function of the writes | record, sync |
//! | `scan` | reading frames back; torn or damaged | disk, record |
//! | `wal` | append, write, sync of opaque frames | disk, magic, record |
//! | `snapshot` | save and load one state | disk, magic, memory, record, scan, state |
//! | `merge_view` | what readers see: writes in memory, over a snapshot in memory or on the disk | disk, snapshot, state, sync |
//! | `recovery` | snapshot + log → state | all above |
//! | `checkpoint` | old snapshot + log → new snapshot, and a new log | disk, memory, record, scan, wal, snapshot, state |
//! | `sync` | locks and threads: the standard library's, or shuttle's to explore schedules | – |
//! | `engine` | the order of steps, group commit, the locks | all above |
//! | [`torture`] | crashing the engine everywhere, and damaging its files, in memory | engine and below |
//! | [`replay`] | the state at any sequence number, from the files | all but engine |
//! | [`inspect`] | the files as a person reads them | all but engine |
//! | [`export`] | the entries of a store, streamed out of its files, whole or damaged | all but engine |
//!
//! # What it is not
//!
//! Not for several processes at once; no transactions across reads and
//! writes; not a defence against disks that lie about a sync or people who edit the files.

mod checkpoint;
pub mod disk;
mod engine;
mod error;
pub mod export;
pub mod inspect;
mod magic;
mod memory;
mod merge_view;
mod record;
mod recovery;
pub mod replay;
mod scan;
mod snapshot;
mod state;
mod sync;
#[cfg(feature = "torture")]
pub mod torture;
mod wal;

pub use engine::{Ack, Batch, Engine, Flushed, Keys, Options, Scan, Snapshotted, Stats, SyncTimes};
pub use error::{Error, Result};
pub use record::Fault;
pub use recovery::{KeptCopy, LogTail, Recovery, RecoveryReport, Truncation};
#[doc(hidden)]
pub use snapshot::lookups;
pub use state::{Digest, Digester, Value};

use std::fmt;
use std::path::{Path, PathBuf};

/// A sequence number: 1 for the first write of a store, then without gaps. 0 is before the first.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// let last: kv_engine::Seq = engine.put("x", "100")?.seq;
/// assert_eq!(last, 1);
/// assert_eq!(engine.stats().durable, last);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Seq = u64;

/// The last sequence number a store gives out.
pub(crate) const MAX_SEQ: Seq = 1 << 62;

/// The longest key, in bytes: 64 KiB. The shortest has one.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// use kv_engine::{Error, MAX_KEY_BYTES};
///
/// let key = vec![b'k'; MAX_KEY_BYTES + 1];
/// assert!(matches!(engine.put(key, ""), Err(Error::Limit { max: 65_536, .. })));
/// assert!(matches!(engine.put("", ""), Err(Error::Limit { min: 1, .. })));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const MAX_KEY_BYTES: usize = 64 << 10;
/// The longest value, in bytes: 256 MiB. It may be empty.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// use kv_engine::{Error, MAX_VALUE_BYTES};
///
/// let value = vec![0; MAX_VALUE_BYTES + 1];
/// assert!(matches!(engine.put("x", value), Err(Error::Limit { .. })));
/// assert!(engine.put("x", "").is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub const MAX_VALUE_BYTES: usize = 256 << 20;
/// The largest batch size, in writes per sync. The smallest is 1.
///
/// ```
/// use kv_engine::{Error, MAX_BATCH_SIZE, Options};
///
/// let options = Options::new("log", "snapshot").batch_size(MAX_BATCH_SIZE + 1);
/// assert!(matches!(options.open(), Err(Error::Limit { .. }))); // and no file was touched
/// ```
pub const MAX_BATCH_SIZE: u64 = 1_000_000;
/// The largest atomic [`Batch`], in bytes as encoded: keys, values, 9 bytes for each put and 5 for each
/// delete. 1 GiB.
///
/// ```
/// use kv_engine::MAX_ATOMIC_BYTES;
///
/// const PUT_BYTES: usize = 9 + 16 + 100; // a key of 16 bytes, a value of 100
/// assert!(MAX_ATOMIC_BYTES / PUT_BYTES > 8_000_000);
/// ```
pub const MAX_ATOMIC_BYTES: usize = record::MAX_BODY_BYTES;
/// The format version of the logs this crate writes, and the newest it reads.
///
/// ```
/// use kv_engine::{Error, LOG_FORMAT};
///
/// let (path, found) = ("kv.wal".into(), "format version 2".into());
/// let error = Error::Version { path, found, supported: LOG_FORMAT };
/// assert!(error.to_string().contains("reads up to format version 1"));
/// ```
pub const LOG_FORMAT: u32 = 1;
/// The newest format version of the snapshots that this crate reads. It writes 1, and 2, which has an index, where
/// values stay in the snapshot ([`Options::values_in_snapshot`]).
///
/// ```
/// use kv_engine::{Error, SNAPSHOT_FORMAT};
///
/// let (path, found) = ("kv.snapshot".into(), "format version 3".into());
/// let error = Error::Version { path, found, supported: SNAPSHOT_FORMAT };
/// assert!(error.to_string().ends_with("use a newer program"));
/// ```
pub const SNAPSHOT_FORMAT: u32 = 2;

/// Says which files belong together: drawn at random when a store begins, kept for its life. Shown as 32
/// hexadecimal digits.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # use kv_engine::Options;
/// let id = Options::new(&log, &snapshot).open()?.stats().store_id;
/// assert_eq!(Options::new(&log, &snapshot).open()?.stats().store_id, id);
/// assert_eq!(id.to_string().len(), 32);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct StoreId(pub(crate) [u8; 16]);

impl fmt::Display for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for StoreId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreId({self})")
    }
}

/// `path` with `suffix` put behind its whole name (`with_extension` would give `kv.wal` and
/// `kv.snapshot` the same temporary file).
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

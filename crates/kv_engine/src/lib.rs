//! A crash-consistent, embedded key-value store: **after any crash, the state is the result of the first k writes, for
//! some k, and every write that was promised durable is among them.**
//!
//! Keys and values are bytes. The whole map is in memory, unless values stay in the snapshot
//! ([`Options::values_in_snapshot`]). A write-ahead log and a snapshot keep it on disk. One process can open a store at
//! a time, and any number of its threads can use it.
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
//! engine.close()?;                                      // reports errors that dropping cannot report
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Two traps
//!
//! **A `get` and then a `put` loses updates**, if two threads do it at the same time. [`Engine::update`] is one step:
//! no write of another thread comes between the old value and the new one. So are [`Engine::compare_and_swap`],
//! [`Engine::put_if_absent`], [`Engine::transaction`] for several keys, and a batch with [`Batch::require`].
//!
//! **A scan sees writes that are made after it began.** So does a sequence of gets. [`Engine::view`] is the state after
//! one write, and later writes do not change it.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
//! // Wrong with several threads: let n = number(engine.get("visits")?); engine.put("visits", n + 1)?;
//! let next = |old: Option<&[u8]>| Some([old.map_or(0, |old| old[0]) + 1]);
//! engine.update("visits", next)?;
//!
//! let view = engine.view();
//! engine.update("visits", next)?;
//! assert_eq!(view.get("visits")?.as_deref(), Some(&[1][..])); // still
//! assert_eq!(engine.get("visits")?.as_deref(), Some(&[2][..]));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where to find what
//!
//! | question | answer |
//! |---|---|
//! | What survives a kill or a power cut? | the next section |
//! | What happens between the sync and the answer to a write? | [The two flows](#the-two-flows), step 5; in code `engine/group_commit.rs` |
//! | Where are the bytes of a record described? | its frame at the top of `record.rs`, its body at the top of `state/mod.rs`; the log's file in `wal.rs`, the snapshot's in `snapshot.rs` |
//! | How does recovery tell a torn write from damage? | at the top of `scan.rs`; the steps of opening in `recovery.rs` |
//! | How can a [`View`] stay as it is? | at the top of `merge_view.rs`; in memory `merge_view/before_images.rs`, with layers `merge_view/stack.rs` |
//! | Where can I inject a fault? | implement [`disk::Disk`] and pass it to [`Options::disk`]; or use the simulated disk `disk::sim` with a `FaultPlan` (feature `torture`) |
//! | How long do syncs take, and how many writes share one? | [`Stats::sync_times`], [`Stats::group_sizes`] |
//! | How can one thread have many writes in flight? | [`Engine::submit`]; in code `engine/submit.rs` |
//! | How do I read many keys fast? | [`Engine::get_many`]; in code `state/many.rs` |
//! | How does another part of my program learn of each write? | [`Engine::changes`]; in code `engine/feed.rs` |
//! | Which locks are there, in which order? | at the top of `engine/mod.rs` |
//!
//! # What is durable when
//!
//! A *write* is one put or delete, or one atomic [`Batch`]. It has a sequence number 1, 2, 3 … without gaps. It is
//! *durable* once an `fdatasync` that covers it has returned 0. The batch size `n` ([`Options::batch_size`]) decides
//! when a write is acknowledged:
//!
//! | n | OK of a write means | SIGKILL or a power cut can lose |
//! |---|---|---|
//! | 1 | durable; readers see it only from then on | no acknowledged write |
//! | more | accepted in order and visible; if it makes n writes pending, it waits for a sync of them all | at most the last n − 1 acknowledged writes |
//!
//! [`Batch::durable`] makes one batch durable before its OK, with any n. What follows from values in the store, for
//! example the next number of a counter, is written with [`Engine::update`], [`Engine::compare_and_swap`],
//! [`Engine::put_if_absent`], [`Engine::transaction`] or [`Batch::require`]: no write of another thread comes between.
//!
//! After OK of [`Engine::flush`], [`Engine::snapshot`] or [`Engine::close`], everything acknowledged before is durable.
//! A background flush bounds the age of pending writes ([`Options::flush_interval`]). The store relies on a local file
//! system whose `fdatasync` and `fsync` tell the truth.
//!
//! # The two flows
//!
//! ```text
//! writing   encode → append (buffer) → write (file) → sync (disk) → check (still our file?) → apply (map) → OK
//! opening   snapshot → map,  then the log's writes after the snapshot's last write → map
//! ```
//!
//! A write in steps:
//! 1. Encode it and compute its checksum, without any lock.
//! 2. Append it to the log's buffer, with the next sequence number.
//! 3. One waiting thread becomes the leader. It writes the buffer to the file with one call.
//! 4. The leader syncs the file, without the log's lock. Other threads append in the meantime.
//! 5. Between the sync and the answer: the leader checks that the log's name still shows the file that it synced. Under
//!    the log's lock it moves the watermark `durable`, and applies the writes to the map in order. It releases the
//!    lock, and then wakes the leader of the next group and all threads whose writes are decided.
//!
//! [`Engine::submit`] ends with step 2 for its caller. A thread of the store leads the groups then, and tells the
//! caller when the writes are decided.
//!
//! With a batch size above 1, a write is applied and answered before steps 3 to 5 while fewer than n writes are
//! pending.
//!
//! The third flow is the *checkpoint*. It runs when the log is long, at an interval, or on request. It reads the old
//! snapshot and the log from their files and makes a new snapshot, while reads and writes go on. Then a new log, which
//! begins after the new snapshot, replaces the old log.
//!
//! # The files
//!
//! | file | what it is |
//! |---|---|
//! | `<wal>` | the log: every write since the snapshot, in order |
//! | `<snapshot>` | the state right after one write; absent until the first snapshot |
//! | `<wal>.lock`, `<snapshot>.lock` | locked while the store is open; they hold the process number and are never removed |
//! | `<wal>.tmp-<random><check>`, `<snapshot>.tmp-<random><check>` | temporary files; opening removes those that a crash left |
//! | `<wal>.bench-<random><check>/` | the scratch store of a BENCH; removed at its end, or by the next one |
//! | `<wal>.damaged-<n>` | a complete copy of a damaged log; never recovered from, never removed, reported at each opening |
//! | `<wal>.damaged-<n>-torn` | the same for a log with whole writes after a torn record |
//!
//! Log and snapshot are only ever replaced by a complete file, always in the same way: write a temporary file, sync it,
//! rename it, sync the directory. Between replacements the log grows at its end, into reserved space (zeros), or is
//! truncated after its last good record. The log itself is also locked, under any name.
//!
//! # Invariants
//!
//! - The watermarks are sequence numbers: `durable ≤ written ≤ appended`. A write is applied, and so acknowledged, once
//!   fewer than n writes up to and including it are not durable: `applied = min(appended, durable + n − 1)`, until the
//!   log fails. The table above follows from this rule. A durable batch is applied only when it is durable; writes
//!   after it wait behind it.
//! - Log order = apply order = sequence order, with any number of threads.
//! - A conditional write is decided in log order, against the writes before it, applied or not. It is logged as the
//!   puts and deletes that it comes to. The rules are at the top of `engine/decide.rs`.
//! - The snapshot holds only durable writes. The log drops a write only when a snapshot that holds it is synced, read
//!   back, renamed, and its directory synced.
//! - A feed of changes tells each durable write once, in order, and no other one.
//! - A failed sync is never repeated: the store accepts no more writes until it is opened again.
//! - A failed write is undone: the log is truncated to its last good end.
//! - A file in use is identified by what it is (device and inode, store id, sequence number, checksum), not by its
//!   name. A sync counts only if the log's name still shows the file that was synced. A checkpoint builds only on the
//!   snapshot that this session loaded or wrote. The store removes or replaces only files that it made itself under
//!   this name.
//! - When everything is durable and the store is idle, a mark is written after the last write, without a sync. It
//!   proves to recovery that everything before it was synced. A power cut may lose it.
//! - A session that continues a log first makes a mark durable, which begins a new chain of records. Only then it
//!   writes its first record. So bytes of an earlier session that recovery did not see, beyond the end of the log, can
//!   never come back.
//! - Recovery stops at the first record that is not valid, and decides between *torn* and *damaged*. Torn: never
//!   promised, so it is cut off. Damaged: it had been promised, so everything before it is recovered and a copy of the
//!   log is kept. Both are always reported.
//!
//! # The modules
//!
//! There are no circles: no module uses a module that uses it, directly or through others. The last column leaves out
//! `error` and the items of this file, which every module may use.
//!
//! | module | its one responsibility | uses |
//! |---|---|---|
//! | `error` | the errors, sorted by what the caller can do | – |
//! | `sync` | locks and threads: those of the standard library, or shuttle's to explore schedules | – |
//! | `memory` | large buffers that return to the system; checks that memory is available | – |
//! | `magic` | the first bytes of each file; names for foreign files | – |
//! | [`disk`] | the interface to the operating system; the real disk and the simulated one | memory |
//! | `record` | the bytes of one record | – |
//! | `state` | the map, as a pure function of the writes | record, sync |
//! | `sorter` | sorting any number of keys in a few MB of memory | disk, record, state |
//! | `scan` | reading records back; torn or damaged | disk, record |
//! | `wal` | append, write and sync of records with opaque bodies | disk, magic, record |
//! | `snapshot` | saving and loading one state | disk, magic, memory, record, scan, state |
//! | `merge_view` | the state that readers see, in memory or over a snapshot on the disk; read views of it | disk, snapshot, state, sync |
//! | `recovery` | snapshot + log → state | disk, memory, merge_view, record, scan, snapshot, sorter, state, wal |
//! | `checkpoint` | old snapshot + log → new snapshot and new log | disk, memory, record, scan, snapshot, state, wal |
//! | `engine` | the order of steps, group commit, the locks | checkpoint, disk, memory, merge_view, record, recovery, scan, snapshot, state, sync, wal |
//! | [`replay`] | the state after any write, from the files | disk, record, recovery, scan, snapshot, state, wal |
//! | [`inspect`] | the files in a readable form, and their check | disk, magic, record, recovery, scan, snapshot, state, wal |
//! | [`export`] | the entries of a store, streamed out of its files, sound or damaged | disk, inspect, record, recovery, scan, snapshot, sorter, state, wal |
//! | `torture` | crashes at every point and damage in every place, in memory | disk, engine, merge_view, record, recovery, scan, snapshot, state, wal |
//!
//! | feature | what it adds |
//! |---|---|
//! | `torture` (off by default) | `disk::sim`, a simulated disk in memory with faults and power cuts, and `torture`, which tries every crash and every damage on it |
//!
//! # What it is not
//!
//! - A store for several processes at once.
//! - A defence against disks that lie about a sync, or against people who edit the files.
//! - A store with tables or types. Begin the keys of each table with a prefix of its own: [`Engine::scan`] reads one
//!   table, and one [`Batch`] can change several.
//! - A store with expiry, so far.

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
mod sorter;
mod state;
mod sync;
#[cfg(feature = "torture")]
pub mod torture;
mod wal;

pub use engine::{Ack, Batch, Change, Changes, Copied, Engine, Flushed, GroupSizes, Keys, Options, Scan, Snapshotted};
pub use engine::{Stats, Submitted, Swap, SyncTimes, Told, Transaction, Updated, View, open};
pub use error::{Error, Result};
pub use record::Fault;
pub use recovery::{KeptCopy, LogTail, Recovery, RecoveryReport, Truncation};
#[cfg(feature = "torture")]
#[doc(hidden)]
pub use snapshot::lookups;
pub use state::{Digest, Digester, Operation, Value};

use std::fmt;
use std::path::{Path, PathBuf};

/// A sequence number: 1 for the first write of a store, then without gaps. 0 means "before the first write".
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

/// The last sequence number of a store.
pub(crate) const MAX_SEQ: Seq = 1 << 62;

/// The length of the longest key, in bytes: 64 KiB. The shortest key has 1 byte.
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
/// The length of the longest value, in bytes: 256 MiB. A value may be empty.
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
/// The length of the largest atomic [`Batch`], in encoded bytes: 1 GiB. The encoding has the keys, the values, 9 bytes
/// for each put and 5 for each delete.
///
/// ```
/// use kv_engine::MAX_ATOMIC_BYTES;
///
/// const PUT_BYTES: usize = 9 + 16 + 100; // a key of 16 bytes, a value of 100
/// assert!(MAX_ATOMIC_BYTES / PUT_BYTES > 8_000_000);
/// ```
pub const MAX_ATOMIC_BYTES: usize = record::MAX_BODY_BYTES;
/// The format version of the logs that this crate writes, and the newest that it reads.
///
/// ```
/// use kv_engine::{Error, LOG_FORMAT};
///
/// let (path, found) = ("kv.wal".into(), "format version 2".into());
/// let error = Error::Version { path, found, supported: LOG_FORMAT };
/// assert!(error.to_string().contains("reads up to format version 1"));
/// ```
pub const LOG_FORMAT: u32 = 1;
/// The newest format version of the snapshots that this crate reads. It writes version 1. If values stay in the
/// snapshot ([`Options::values_in_snapshot`]), it writes version 2, which has an index.
///
/// ```
/// use kv_engine::{Error, SNAPSHOT_FORMAT};
///
/// let (path, found) = ("kv.snapshot".into(), "format version 3".into());
/// let error = Error::Version { path, found, supported: SNAPSHOT_FORMAT };
/// assert!(error.to_string().ends_with("use a newer program"));
/// ```
pub const SNAPSHOT_FORMAT: u32 = 2;

/// The id of a store, which shows which files belong together. It is random and never changes. It is shown as 32
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

/// `path` with `suffix` added to its whole name. (`with_extension` would give `kv.wal` and `kv.snapshot` the same
/// temporary file.)
pub(crate) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

//! A crash-consistent key-value store: **after any crash, the state is exactly a prefix of what was
//! written, and everything that was promised durable is in it.**
//!
//! Keys and values are bytes. The whole map is kept in memory; a write-ahead log and a snapshot
//! keep it on disk. One process at a time, any number of threads.
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
//! # The files
//!
//! | file | what it is |
//! |---|---|
//! | `<wal>` | the log: every write since the snapshot, in order |
//! | `<snapshot>` | the state after exactly one write; absent until the first snapshot |
//! | `<wal>.lock`, `<snapshot>.lock` | held while the store is open; the holder's process number |
//! | `<wal>.tmp`, `<snapshot>.tmp` | being written; removed when found at opening |
//! | `<wal>.damaged-<n>` | a log that was damaged, kept whole; never read or removed by the store |
//!
//! Both files are only ever replaced whole, in one way: written under `.tmp`, synced, renamed,
//! directory synced. Between, the log only grows at its end. The byte layouts stand at the head of
//! `src/record.rs`, `src/wal.rs` and `src/snapshot.rs`.
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
//! - Recovery ends where the log stops making sense, and says whether that is *torn* (never
//!   promised to anyone; cut) or *damaged* (promised; everything before it is kept, the damaged
//!   file too). Nothing is dropped without a word.
//!
//! # The modules
//!
//! | module | its one responsibility | uses |
//! |---|---|---|
//! | [`disk`] | the seam to the operating system | – |
//! | `magic` | the first bytes of each file; what a foreign file is | – |
//! | `record` | the bytes of one frame | – |
//! | `state` | the map as a pure function of the writes | record |
//! | `scan` | reading frames back; torn or damaged | disk, record |
//! | `wal` | append, write, sync of opaque frames | disk, magic, record |
//! | `snapshot` | save and load one state | disk, magic, record, scan, state |
//! | `recovery` | snapshot + log → state | all above |
//! | `engine` | the order of steps, group commit, the locks | all above |
//! | [`torture`] | crashing the engine on a simulated disk, everywhere | engine and below |
//! | [`inspect`] | the files as a person reads them | all but engine |
//! | [`command`] | text → command → reply → text | engine |
//!
//! # What it is not
//!
//! Not larger than memory; not for several processes at once; no transactions across reads and
//! writes; not a defence against disks that lie about a sync or people who edit the files.

pub mod command;
pub mod disk;
mod engine;
mod error;
pub mod inspect;
mod magic;
mod record;
mod recovery;
mod scan;
mod snapshot;
mod state;
pub mod torture;
mod wal;

pub use engine::{Ack, Batch, Engine, Flushed, Keys, Options, Scan, Snapshotted, Stats};
pub use error::{Error, Result};
pub use record::Fault;
pub use recovery::{Cut, Recovery, RecoveryReport, Tail};
pub use state::{Digest, Value};

use std::fmt;
use std::path::{Path, PathBuf};

/// A sequence number: 1 for the first write of a store, then without gaps. 0 is before the first.
pub type Seq = u64;

/// The last sequence number a store gives out.
pub(crate) const MAX_SEQ: Seq = 1 << 62;

/// The longest key, in bytes. The shortest has one.
pub const MAX_KEY_BYTES: usize = 64 << 10;
/// The longest value, in bytes. It may be empty.
pub const MAX_VALUE_BYTES: usize = 256 << 20;
/// The largest batch size, in writes per sync.
pub const MAX_BATCH_SIZE: u64 = 1_000_000;
/// The largest atomic [`Batch`], in bytes as encoded (keys, values and up to 9 bytes for each).
pub const MAX_ATOMIC_BYTES: usize = record::MAX_BODY_BYTES;
/// The format version of the logs this crate writes, and the newest it reads.
pub const LOG_FORMAT: u32 = 1;
/// The format version of the snapshots this crate writes, and the newest it reads.
pub const SNAPSHOT_FORMAT: u32 = 1;

/// Says which files belong together: drawn at random when a store begins, kept for its life.
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

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

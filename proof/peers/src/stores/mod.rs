//! The stores behind one face, each in its fastest configuration that is truly durable.
//!
//! | store | how it is configured |
//! |---|---|
//! | `kv-engine` | batch size n; no flush by age; in `reopen-5m` values stay in the snapshot |
//! | `floor` | no store: a file whose blocks are there, one `pwrite` and one `fdatasync` for each group, a hash map |
//! | `fjall` | journal persisted by hand, with `fdatasync`, after each n-th put |
//! | `floor-from-disk` | the floor, which lets go of what the kernel has in memory of its file before it reads it |
//! | `lmdb` | one transaction for n puts |
//! | `plain-append` | no store: a file that grows, one `write` for each put, one `fsync` for each group, a hash map |
//! | `raft-engine` | log files prepared ahead; every n-th write asks for a sync |
//! | `redb` | one transaction for n puts |
//! | `rocksdb` | as it comes, without compression; every n-th write asks for a sync |
//! | `rocksdb-recycled` | the same, writing over old log files, after enough work that there are some |
//! | `sqlite` | write-ahead log, `synchronous=FULL`, the log's file grown beforehand; one transaction for n puts |
//!
//! Where n puts share a transaction none of them is visible before it ends: that is in the peer's favour.
//! Without sync, each put is visible when it returns: a transaction of its own that asks for no sync.

mod engine;
#[cfg(feature = "fjall")]
mod fjall;
mod floor;
mod group;
mod kinds;
#[cfg(feature = "lmdb")]
mod lmdb;
mod plain;
#[cfg(feature = "raft-engine")]
mod raft;
#[cfg(feature = "redb")]
mod redb;
#[cfg(feature = "rocksdb")]
mod rocksdb;
#[cfg(feature = "sqlite")]
mod sqlite;

pub(crate) use kinds::KINDS;

use crate::work::{Key, Value};
use anyhow::Result;
use std::ops::Range;
use std::path::Path;

pub(crate) const ENGINE: &str = "kv-engine";
pub(crate) const FLOOR: &str = "floor";
pub(crate) const FLOOR_FROM_DISK: &str = "floor-from-disk";
pub(crate) const PLAIN: &str = "plain-append";
/// What is no store, and shown only in rows that name it.
pub(crate) const NO_STORES: [&str; 3] = [FLOOR, FLOOR_FROM_DISK, PLAIN];

/// When puts become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Every so many puts; with 1, each when it returns.
    Every(u64),
    /// Not within a run.
    Never,
}

/// Whether a reader must see what is written meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// One view for all its reads: where nobody writes that is the fastest.
    OneView,
    /// Each read sees what was acknowledged before it.
    Fresh,
}

/// How a store is opened for a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) sync: Sync,
    pub(crate) threads: usize,
    pub(crate) reads: Reads,
    /// Nothing is moved out of the log meanwhile, so that all of it has to be replayed.
    pub(crate) log_only: bool,
    /// Values need not be in memory, where a store leaves the choice.
    pub(crate) values_on_disk: bool,
    /// The log's space is prepared as if the store had been running for a while.
    pub(crate) worn_in: bool,
}

impl Setup {
    pub(crate) fn new(sync: Sync) -> Setup {
        Setup { sync, threads: 1, reads: Reads::OneView, log_only: false, values_on_disk: false, worn_in: true }
    }
}

pub(crate) trait Store: Send + std::marker::Sync {
    /// One for each thread that writes.
    fn writer(&self) -> Result<Box<dyn Writer + '_>>;
    /// One for each thread that reads.
    fn reader(&self) -> Result<Box<dyn Reader + '_>>;
    /// Stores keys of these numbers as fast as it can. Durable at the end, unless opened without sync.
    fn fill(&self, numbers: Range<u64>) -> Result<()>;
    /// Brings what was filled into the form that is fastest to read.
    fn settle(&self) -> Result<()> {
        Ok(())
    }
    /// Moves the state out of the log, as the store does in the background. Returns the bytes written, where
    /// it says so; `None` where it has nothing of the kind.
    fn checkpoint(&self, _dir: &Path) -> Result<Option<u64>> {
        Ok(None)
    }
    /// An orderly end.
    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

pub(crate) trait Writer {
    /// Returns when the put is as durable as [`Sync`] asks.
    fn put(&mut self, key: &Key, value: &Value) -> Result<()>;
    /// Makes the last incomplete group durable.
    fn finish(&mut self) -> Result<()>;
}

pub(crate) trait Reader {
    /// The number with which the value of `key` begins, for which the value is looked at in memory.
    fn get(&mut self, key: &Key) -> Result<Option<u64>>;
}

type Open = fn(&Path, &Setup) -> Result<Box<dyn Store>>;

/// A store that this program can run.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) open: Open,
}

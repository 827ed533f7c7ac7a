//! The stores behind one interface, each in its fastest configuration that is really durable.
//!
//! | store | how it is configured |
//! |---|---|
//! | `kv-engine` | batch size n; no flush by age; in `reopen-5m` values stay in the snapshot |
//! | `floor` | not a store: a file whose blocks exist, one `pwrite` and one `fdatasync` for each group, a hash map |
//! | `fjall` | the journal is persisted explicitly, with `fdatasync`, after every n-th put |
//! | `floor-from-disk` | the floor, but it drops the page cache of its file before reading it |
//! | `lmdb` | one transaction for n puts |
//! | `plain-append` | not a store: a file that grows, one `write` for each put, one `fsync` for each group, a hash map |
//! | `raft-engine` | log files prepared in advance; every n-th write requests a sync |
//! | `redb` | one transaction for n puts |
//! | `rocksdb` | default configuration, without compression; every n-th write requests a sync |
//! | `rocksdb-recycled` | the same, after enough work that it overwrites old log files |
//! | `sqlite` | write-ahead log, `synchronous=FULL`, the log's file grown in advance; one transaction for n puts |
//!
//! If n puts share a transaction, none of them is visible before it ends. That is in the other store's favour. Without
//! sync, each put is a transaction of its own without a sync, and is visible when it returns.

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
/// These are not stores. They are shown only in rows that name them.
pub(crate) const NO_STORES: [&str; 3] = [FLOOR, FLOOR_FROM_DISK, PLAIN];

/// When puts become durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sync {
    /// Every n-th put; with 1, each put when it returns.
    Every(u64),
    /// Never within a run.
    Never,
}

/// Whether a reader must see concurrent writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reads {
    /// One view for all its reads, which is the fastest if there are no writers.
    OneView,
    /// Each read sees every write acknowledged before it.
    Fresh,
}

/// The configuration of a store for a row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    pub(crate) sync: Sync,
    pub(crate) threads: usize,
    pub(crate) reads: Reads,
    /// Nothing is moved out of the log, so that all of it must be replayed.
    pub(crate) log_only: bool,
    /// Values need not be in memory, if the store has that choice.
    pub(crate) values_on_disk: bool,
    /// The space of the log is prepared, as if the store had been running for a while.
    pub(crate) worn_in: bool,
}

impl Setup {
    pub(crate) fn new(sync: Sync) -> Setup {
        Setup { sync, threads: 1, reads: Reads::OneView, log_only: false, values_on_disk: false, worn_in: true }
    }
}

pub(crate) trait Store: Send + std::marker::Sync {
    /// One writer for each thread that writes.
    fn writer(&self) -> Result<Box<dyn Writer + '_>>;
    /// One reader for each thread that reads.
    fn reader(&self) -> Result<Box<dyn Reader + '_>>;
    /// Stores the keys with these numbers as fast as it can. They are durable at the end, unless the store was opened
    /// without sync.
    fn fill(&self, numbers: Range<u64>) -> Result<()>;
    /// Brings the entries into the form that is fastest to read.
    fn settle(&self) -> Result<()> {
        Ok(())
    }
    /// Moves the state out of the log, as the store does in the background. Returns the bytes written if the store
    /// reports them, or `None` if it has no checkpoint.
    fn checkpoint(&self, _dir: &Path) -> Result<Option<u64>> {
        Ok(None)
    }
    /// A clean close.
    fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

pub(crate) trait Writer {
    /// Returns when the put is as durable as [`Sync`] demands.
    fn put(&mut self, key: &Key, value: &Value) -> Result<()>;
    /// Makes the last incomplete group durable.
    fn finish(&mut self) -> Result<()>;
}

pub(crate) trait Reader {
    /// The number at the beginning of the value of `key`. Reading it touches the value in memory.
    fn get(&mut self, key: &Key) -> Result<Option<u64>>;
}

type Open = fn(&Path, &Setup) -> Result<Box<dyn Store>>;

/// A store that this program can run.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) open: Open,
}

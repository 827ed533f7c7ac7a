//! The results of calls: [`Ack`], [`Flushed`], [`Snapshotted`], [`Stats`].

use super::group_sizes::GroupSizes;
use super::latency::SyncTimes;
use crate::{Digest, Seq, StoreId};
use std::time::Duration;

/// The answer to an accepted write.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap"))
/// #     .batch_size(100).flush_interval(std::time::Duration::ZERO).open()?;
/// let ack = engine.put("x", "100")?;
/// if !ack.durable {
///     println!("visible; a crash now would lose {} writes", ack.pending);
/// }
/// assert_eq!((ack.durable, ack.pending), (false, 1)); // with batch size 100
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ack {
    /// The sequence number of the write. For an empty batch, that of the last write before it.
    pub seq: Seq,
    /// Whether it is durable already. Always true with batch size 1.
    pub durable: bool,
    /// Acknowledged writes that are not durable yet, with this one if it is not durable.
    pub pending: u64,
}

/// The result of a flush.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap"))
/// #     .batch_size(100).flush_interval(std::time::Duration::ZERO).open()?;
/// engine.put("x", "100")?;
/// let flushed = engine.flush()?;
/// println!("{} B in {:?}", flushed.bytes, flushed.took);
/// assert_eq!(flushed.writes, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Flushed {
    /// Writes that became durable during the flush.
    pub writes: u64,
    /// Bytes written to the log during the flush; 0 if the sync of another thread covered all pending writes.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// The result of taking a snapshot.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// engine.put("x", "100")?;
/// let taken = engine.snapshot()?;
/// println!("{} keys in {} B, digest {}", taken.keys, taken.bytes, taken.digest);
/// assert_eq!(taken.seq, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshotted {
    /// The last write in it.
    pub seq: Seq,
    /// Entries in it.
    pub keys: u64,
    /// Its length in bytes.
    pub bytes: u64,
    /// Bytes by which the log got shorter.
    pub log_bytes_released: u64,
    /// The digest of the state in it.
    pub digest: Digest,
    /// How long it took.
    pub took: Duration,
}

/// Figures of an open store. Counters begin at 0 when the store is opened.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// engine.put("x", "100")?;
/// engine.delete("x")?;
/// let stats = engine.stats();
/// assert_eq!((stats.puts, stats.deletes, stats.keys), (1, 1, 0));
/// assert!(stats.failed.is_none(), "no more writes: {:?}", stats.failed);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Identifies the store. Log and snapshot have the same.
    pub store_id: StoreId,
    /// Keys in the map. If values stay in the snapshot, this is an upper bound: a key that is in the snapshot and was
    /// written since is counted twice. [`Engine::count`](crate::Engine::count) gives the exact number.
    pub keys: u64,
    /// Total length of keys and values in bytes. For a snapshot whose values stay in it: the length of its blocks.
    pub data_bytes: u64,
    /// Writes per sync.
    pub batch_size: u64,
    /// The age at which pending writes are synced in the background; zero: never.
    pub flush_interval: Duration,
    /// The last sequence number given to a write.
    pub appended: Seq,
    /// The last write that is durable.
    pub durable: Seq,
    /// Acknowledged writes that are not durable.
    pub pending: u64,
    /// Puts, without those in batches.
    pub puts: u64,
    /// Deletes of keys that existed, without those in batches.
    pub deletes: u64,
    /// Atomic batches, without empty ones.
    pub batches: u64,
    /// Length of the log file in bytes.
    pub log_bytes: u64,
    /// Bytes written to the log, without its header and the mark of a clean close.
    pub log_bytes_written: u64,
    /// Groups written to the log.
    pub log_writes: u64,
    /// Writes in those groups. Divided by the number of groups: the mean size of a group.
    pub grouped_writes: u64,
    /// Syncs of the log for writes, including a failed one.
    pub syncs: u64,
    /// Time spent in them.
    pub sync_total: Duration,
    /// The longest of them.
    pub sync_max: Duration,
    /// The distribution of their times.
    pub sync_times: SyncTimes,
    /// The distribution of the number of writes in one sync, including a failed one.
    pub group_sizes: GroupSizes,
    /// The largest number of writes in one sync.
    pub largest_group: u64,
    /// Snapshots taken.
    pub snapshots: u64,
    /// The last write in the newest snapshot; 0 if there is none.
    pub snapshot_seq: Seq,
    /// Length of the newest snapshot in bytes; 0 if there is none.
    pub snapshot_bytes: u64,
    /// The length of the log in bytes at which a checkpoint is taken in the background; 0: never.
    pub checkpoint_log_bytes: u64,
    /// How often a checkpoint is taken if there were writes; zero: never.
    pub checkpoint_interval: Duration,
    /// Whether a checkpoint is running.
    pub checkpointing: bool,
    /// Records of the log and entries of the old snapshot that the running checkpoint has read so far,
    pub checkpoint_read: u64,
    /// and that it has to read. Both keep their values after its end.
    pub checkpoint_to_read: u64,
    /// Why the last checkpoint in the background failed, until one succeeds.
    pub checkpoint_failed: Option<String>,
    /// How many checkpoints have failed in the background or at closing.
    pub checkpoint_failures: u64,
    /// Whether one of them failed because a file is damaged or does not belong to this store.
    pub checkpoint_met_damage: bool,
    /// Why no more writes are accepted; `None` normally.
    pub failed: Option<String>,
}

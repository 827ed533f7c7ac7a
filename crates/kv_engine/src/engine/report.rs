//! What calls answer with: [`Ack`], [`Flushed`], [`Snapshotted`], [`Stats`].

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
///     println!("visible; {} writes would be lost in a crash", ack.pending);
/// }
/// assert_eq!((ack.durable, ack.pending), (false, 1)); // with batch size 100
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ack {
    /// The sequence number of the write; for an empty batch, of the last write before.
    pub seq: Seq,
    /// Whether it is durable already. With batch size 1 always.
    pub durable: bool,
    /// Acknowledged writes that are not durable yet; this one is among them unless it is durable.
    pub pending: u64,
}

/// What a flush did.
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
    /// Writes that became durable meanwhile.
    pub writes: u64,
    /// Bytes written to the log meanwhile; 0 when another thread's sync covered it all.
    pub bytes: u64,
    /// How long it took.
    pub took: Duration,
}

/// A snapshot that was taken.
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
    /// Length in bytes of the log that it replaced; the new one has 64.
    pub log_bytes_released: u64,
    /// Digest of the state in it.
    pub digest: Digest,
    /// How long it took.
    pub took: Duration,
}

/// Figures of an open store. Counts are since it was opened.
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
    /// Identifies the store; the same in log and snapshot.
    pub store_id: StoreId,
    /// Keys in the map. Where values stay in the snapshot: at most so many; those that were written since and are in it are counted
    /// twice, and [`Engine::count`](crate::Engine::count) counts them.
    pub keys: u64,
    /// Keys and values together, in bytes; those in a snapshot that is not in memory with what holds them.
    pub data_bytes: u64,
    /// Writes per sync.
    pub batch_size: u64,
    /// Age at which pending writes are synced in the background; zero: never.
    pub flush_interval: Duration,
    /// The last sequence number given out.
    pub appended: Seq,
    /// The last write that is durable.
    pub durable: Seq,
    /// Acknowledged writes that are not durable.
    pub pending: u64,
    /// Puts accepted, without those in batches.
    pub puts: u64,
    /// Deletes accepted, of keys that were there, without those in batches.
    pub deletes: u64,
    /// Atomic batches accepted, without empty ones.
    pub batches: u64,
    /// Length of the log file in bytes.
    pub log_bytes: u64,
    /// Bytes written to the log, without its header and the mark of closing.
    pub log_bytes_written: u64,
    /// Writes of a group to the log.
    pub log_writes: u64,
    /// Writes in those groups: divided by their number, the mean group.
    pub grouped_writes: u64,
    /// Syncs of the log for its writes, with the one that failed.
    pub syncs: u64,
    /// Time spent in them.
    pub sync_total: Duration,
    /// The longest of them.
    pub sync_max: Duration,
    /// How long they took, for percentiles.
    pub sync_times: SyncTimes,
    /// Most writes in one sync.
    pub largest_group: u64,
    /// Snapshots taken.
    pub snapshots: u64,
    /// The last write in the newest snapshot; 0 when there is none.
    pub snapshot_seq: Seq,
    /// Length of the newest snapshot in bytes; 0 when there is none.
    pub snapshot_bytes: u64,
    /// Length of the log in bytes at which a checkpoint is taken in the background; 0: never.
    pub checkpoint_log_bytes: u64,
    /// How often one is taken where there were writes; zero: never.
    pub checkpoint_interval: Duration,
    /// Whether a checkpoint is under way.
    pub checkpointing: bool,
    /// Records of the log and entries of the old snapshot that it has read so far,
    pub checkpoint_read: u64,
    /// and that it has to read. Both stay when it has ended.
    pub checkpoint_to_read: u64,
    /// Why the last checkpoint in the background failed, until one succeeds.
    pub checkpoint_failed: Option<String>,
    /// How often one has failed in the background, or at closing, since the store was opened.
    pub checkpoint_failures: u64,
    /// Whether one of them failed because a file is damaged, or is not this store's.
    pub checkpoint_met_damage: bool,
    /// Why no write is accepted any more.
    pub failed: Option<String>,
}

//! The store under test: the names of its files, how it is opened on the simulated disk, and the bounds that a state
//! of it must satisfy after a crash.

use crate::disk::sim::{self, SimDisk};
use crate::engine::Options;
use crate::recovery::Keep;
use crate::state::Digest;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The size of a sector of the simulated disk, for slices.
pub(super) const SECTOR_BYTES: usize = sim::SECTOR_BYTES as usize;

pub(super) const WAL: &str = "/sim/kv.wal";
pub(super) const SNAPSHOT: &str = "/sim/kv.snapshot";

/// The bounds that a state must satisfy.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    pub(super) promised: u64,
    pub(super) issued: u64,
    /// The writes of later sessions, each with the state after it. They do not belong to the workload.
    pub(super) later: [Option<(u64, Digest)>; 2],
}

/// The age at which the flusher syncs pending writes, in workloads.
pub(super) const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// This many bytes of a snapshot are kept in memory, if any are.
pub(super) const CACHE_BYTES: usize = 12_000;

pub(super) fn options(disk: &SimDisk, keep: Keep) -> Options {
    let options = Options::new(Path::new(WAL), Path::new(SNAPSHOT)).flush_interval(Duration::ZERO).disk(Arc::new(disk.clone()));
    match keep {
        Keep::InMemory => options,
        Keep::OnDisk { cache_bytes } => options.values_in_snapshot(cache_bytes),
    }
}

/// Whether this workload, and the sessions after its crash, leave values in the snapshot.
pub(super) fn leaves_values_in_snapshot(seed: u64) -> bool {
    seed.is_multiple_of(4)
}

pub(super) fn on_disk(cache_bytes: usize) -> Keep {
    Keep::OnDisk { cache_bytes }
}

/// The seed for the random numbers of a session.
pub(super) fn entropy(workload: u64, session: usize, at: usize) -> u64 {
    workload ^ (session as u64) << 56 ^ (at as u64 + 1) << 24
}

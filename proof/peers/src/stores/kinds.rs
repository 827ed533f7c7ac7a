//! [`KINDS`]: every store that is built in.

#[cfg(feature = "fjall")]
use super::fjall;
#[cfg(feature = "lmdb")]
use super::lmdb;
#[cfg(feature = "raft-engine")]
use super::raft;
#[cfg(feature = "redb")]
use super::redb;
#[cfg(feature = "rocksdb")]
use super::rocksdb;
#[cfg(feature = "sqlite")]
use super::sqlite;
use super::{ENGINE, FLOOR, FLOOR_FROM_DISK, Kind, PLAIN, engine, floor, plain};

/// Every store that is built in.
pub(crate) const KINDS: &[Kind] = &[
    Kind { name: ENGINE, open: engine::open },
    Kind { name: FLOOR, open: floor::open },
    Kind { name: FLOOR_FROM_DISK, open: floor::open_from_disk },
    Kind { name: PLAIN, open: plain::open },
    #[cfg(feature = "fjall")]
    Kind { name: "fjall", open: fjall::open },
    #[cfg(feature = "lmdb")]
    Kind { name: "lmdb", open: lmdb::open },
    #[cfg(feature = "raft-engine")]
    Kind { name: "raft-engine", open: raft::open },
    #[cfg(feature = "redb")]
    Kind { name: "redb", open: redb::open },
    #[cfg(feature = "rocksdb")]
    Kind { name: "rocksdb", open: rocksdb::open_plain },
    #[cfg(feature = "rocksdb")]
    Kind { name: "rocksdb-recycled", open: rocksdb::open_recycled },
    #[cfg(feature = "sqlite")]
    Kind { name: "sqlite", open: sqlite::open },
];

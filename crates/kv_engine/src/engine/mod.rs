//! The engine: what each public call does, in which order and under which lock.
//!
//! A file imports only files in rows above it:
//!
//! | file | what it holds |
//! |---|---|
//! | `buckets.rs` | a distribution of numbers in a table of fixed size |
//! | `latency.rs`, `group_sizes.rs`, `report.rs`, `batch.rs`, `options.rs` | the types that callers build and get back |
//! | `log_row.rs` | the logs of this session, one behind the other, for readers that are behind |
//! | `locks.rs` | the two lock files and the notes in them |
//! | `commit_delay.rs` | how long the leader of a group waits for more writers |
//! | `cause.rs` | an I/O error that several callers get |
//! | `in_flight.rs` | a write between the append and the map; the last of these writes on a key |
//! | `submissions.rs` | what callers have submitted and have not been told yet |
//! | `log.rs` | everything that the log's lock guards: the log, the watermarks, the waiting writes |
//! | `flusher.rs`, `checkpointer.rs`, `committer.rs` | the background threads as the other files see them |
//! | `shared.rs` | an open store: its fields, its locks, what happens after a panic |
//! | `group_commit.rs` | a write from the append to the answer: who syncs, who waits, what a failure means |
//! | `pause.rs` | work during which no new write is accepted; changing the batch size |
//! | `identity.rs` | is the log on the disk still the file that was opened? |
//! | `begin_log.rs` | the first write of a store that was opened without a log |
//! | `decide.rs` | conditional writes: decided in log order, against what is applied or in flight |
//! | `write.rs` | the encoding of a write, the limits, deletes, batches with conditions |
//! | `flush.rs` | the flush thread: it bounds the age of pending writes |
//! | `checkpoint.rs` | checkpoints while writers go on, and the thread that takes them |
//! | `close.rs` | closing: make everything durable, write the mark or take a snapshot, release the locks |
//! | `open_view.rs` | a read view that is open; what an iterator reads |
//! | `iter.rs` | iterators in key order |
//! | `view.rs` | [`View`]: the state after one write, for reading |
//! | `copy.rs` | a copy of the store in one file |
//! | `api.rs` | [`Engine`]: the public calls |
//! | `transaction.rs` | [`Engine::transaction`]: reads and writes that are one write |
//! | `submit.rs` | [`Engine::submit`]: writes whose caller does not wait; the thread that syncs and tells |
//! | `conditional.rs` | [`Engine`]: update, compare-and-swap, put-if-absent |
//! | `read_api.rs` | [`Engine`]: ranges, views, copies |
//! | `count.rs` | [`Engine`]: the number of keys and the digest |
//! | `feed.rs` | [`Engine`]: the writes as they become durable |
//! | `open.rs` | [`Options::open`] |
//! | `by_hand.rs` | the same engine without threads, for `torture` |
//!
//! Locks are always taken in this order:
//! 1. the checkpoint lock: one checkpoint or close at a time;
//! 2. the log's lock: one step of one writer at a time, never held during a sync;
//! 3. the locks of the map (see `state/map.rs`).

mod api;
mod batch;
mod begin_log;
mod buckets;
#[cfg(feature = "torture")]
mod by_hand;
mod cause;
mod checkpoint;
mod checkpointer;
mod close;
mod commit_delay;
mod committer;
mod conditional;
mod copy;
mod count;
mod decide;
mod feed;
mod flush;
mod flusher;
mod group_commit;
mod group_sizes;
mod identity;
mod in_flight;
mod iter;
mod latency;
mod locks;
mod log;
mod log_row;
mod open;
mod open_view;
mod options;
mod pause;
mod read_api;
mod report;
mod shared;
mod submissions;
mod submit;
mod transaction;
mod view;
mod write;

pub use api::Engine;
pub use batch::Batch;
pub use conditional::{Swap, Updated};
pub use copy::Copied;
pub use feed::{Change, Changes};
pub use group_sizes::GroupSizes;
pub use iter::{Keys, Scan};
pub use latency::SyncTimes;
pub use open::open;
pub use options::Options;
pub use report::{Ack, Flushed, Snapshotted, Stats};
pub use submissions::Told;
pub use submit::Submitted;
pub use transaction::Transaction;
pub use view::View;

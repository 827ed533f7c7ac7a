//! Crash enumeration: the real engine on a simulated disk, crashed at every change it makes to that
//! disk, in every way the disk allows, and opened again.
//!
//! A *workload* is a list of steps that follows from a seed: puts, deletes, atomic groups, flushes,
//! snapshots, changes of the batch size, orderly closes; time that passes until the flusher is due; writes that others
//! issue in the middle of a snapshot or a flush. One workload of four leaves values in the snapshot. It runs once; every change to the disk is
//! recorded, with what had been issued and what had been promised durable at that moment. Then, for
//! each number of changes, the disk as it was is crashed again and again: death of the process, with
//! the last write cut short; a power cut, with all subsets of the unsynced pieces where they are
//! few, else the telling ones and random ones. Each *state* of the disk that this gives is opened:
//!
//! 1. it opens, without a verdict of damage: a crash is not damage;
//! 2. what is there is exactly the state after k writes, `promised ≤ k ≤ issued`;
//! 3. opening it once more gives the same;
//! 4. it goes on: new writes are taken, and are there after another opening;
//! 5. some go on to a second life, which is crashed at each of its changes, those of recovery first,
//!    and 1 to 4 hold again. After the death of a process that life sees bytes that are not durable.
//!
//! | call | what is crashed |
//! |---|---|
//! | [`workload`] | everything of one workload, and some second lives |
//! | [`recovery`] | recovery itself, of every state that [`workload`] opens; and some third lives |
//! | [`fault_plans`] | the same workload when operations fail: in the first life, and in recovery |
//! | [`weak_disks`] | disks that lie about a sync, or damage a torn sector's neighbours |
//! | [`torn_tails`] | the log alone: its end is left in every way |
//! | [`rot`](rot()) | nothing: log and snapshot are damaged |
//! | [`regressions`] | the cases that have found a bug before |
//!
//! States are counted once, by the hash of the disk's content. A failure is one line that names its
//! [`Case`]; [`story`] repeats it, makes it small, and tells it. The log alone and rot give a [`Tally`].

mod case;
mod choices;
mod edits;
mod enumerate;
mod faults;
mod interleaved;
mod known_log;
mod memory;
mod oracle;
mod regressions;
mod report;
mod rot;
mod shapes;
mod shrink;
mod store;
mod tally;
mod torn_tails;
mod weak_disks;
mod workload;

pub use case::Case;
pub use enumerate::{recovery, workload};
pub use faults::fault_plans;
pub use regressions::regressions;
pub use report::Report;
pub use rot::{ROT_PARTS, rot};
pub use shrink::{replay, story};
pub use tally::Tally;
pub use torn_tails::{LOG_SHAPES, torn_tails};
pub use weak_disks::weak_disks;

#[cfg(test)]
pub(crate) use store::{SNAPSHOT, WAL};

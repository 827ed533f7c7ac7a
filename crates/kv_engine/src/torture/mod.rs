//! Tests that crash the real engine on a simulated disk: after every change that it makes to the disk, in every way
//! that the disk allows. Each state that this leaves is opened again and judged. Other tests damage the files.
//!
//! A *workload* is a list of steps that follows from a seed: puts, deletes, atomic batches, flushes, snapshots,
//! changes of the batch size and clean closes. Some writes follow from what the store holds: updates,
//! compare-and-swaps, transactions, batches with conditions. Some batches are durable at once. In some steps time
//! passes until the flusher is due. In the middle of some snapshots and flushes, others write. One workload of four
//! leaves its values in the snapshot.
//!
//! Three workloads of seven also have submissions, and turns of the committer. The submissions have several batches or
//! none; some batches are durable, empty, or have conditions. Others submit in the middle of a turn, a flush or a
//! snapshot. Each submission must be told once, in its turn, and exactly what is in force (`model.rs`). A write that is
//! told as durable counts as promised from this moment on. In the same workloads users open read views at any moment,
//! and keep them through later writes, checkpoints, closes and failures. A view must stay as it was.
//!
//! The workload runs once. Every change to the disk is recorded, with the writes that had been issued and promised
//! durable at that moment. Then the disk is crashed after each number of changes. Either the process dies, with its
//! last write cut short, or the power is cut. A power cut keeps some of the unsynced pieces: every subset is tried if
//! they are few, otherwise selected and random subsets. Each *state* of the disk that this leaves is opened, and must
//! pass these checks:
//!
//! 1. It opens, and is not called damaged: a crash is not damage.
//! 2. It holds exactly the state after k writes, with `promised ≤ k ≤ issued`.
//! 3. Opening it once more gives the same state.
//! 4. It accepts new writes, and they are there after another opening.
//! 5. Some states go on to a second session. That session is crashed after each of its changes, first those of
//!    recovery, and checks 1 to 4 must hold again. If only the process died, the session sees bytes that are not
//!    durable.
//!
//! | call | what it crashes |
//! |---|---|
//! | [`workload`] | a workload after every change, and some second sessions |
//! | [`recovery`] | the recovery of every state that [`workload`] opens, and some third sessions |
//! | [`fault_plans`] | the same workload when operations fail, in the first session and in recovery |
//! | [`weak_disks`] | disks that lie about a sync, or damage the neighbours of a torn sector |
//! | [`torn_tails`] | the log alone: its end is left in every possible way |
//! | [`rot`](rot()) | nothing: the log and the snapshot are damaged instead |
//! | [`regressions`] | the cases that have found a bug before |
//!
//! Each state is counted once, by the hash of the disk's content. A failure is one line with a [`Case`]. [`story`]
//! repeats the case, makes it smaller, and describes it. [`torn_tails`] and [`rot`](rot()) return a [`Tally`].

mod case;
mod choices;
mod conditional;
mod edits;
mod enumerate;
mod faults;
mod interleaved;
mod known_log;
mod memory;
mod model;
mod oracle;
mod regressions;
mod report;
mod rot;
mod shapes;
mod shrink;
mod steps;
mod store;
mod submission;
mod tally;
mod torn_tails;
mod user;
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

//! [`Submissions`]: what callers have submitted and have not been told yet, in the order of the log. Part of the log.
//! `submit.rs` describes how they are decided and told.
//!
//! What holds, under the log's lock:
//! - The queue is in log order. So the submissions are decided in this order, and told in it.
//! - A refused submission keeps its cause, because its sequence numbers go to other writes.
//! - A submission leaves the queue when it is decided. It counts as untold until its caller has been told.

use super::cause::Cause;
use super::report::Ack;
use crate::Seq;
use crate::error::{Error, Result};
use std::collections::VecDeque;
use std::fmt;

/// What became of a submission; see [`Engine::submit`](crate::Engine::submit).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// use std::sync::mpsc::channel;
///
/// let (tell, told) = channel();
/// let mut put = kv_engine::Batch::new();
/// put.put("x", "100");
/// let taken = engine.submit(&[put], move |is| drop(tell.send(is)))?;
/// assert_eq!(taken, kv_engine::Submitted::Taken(1..=1));
/// let told = told.recv()?;
/// assert_eq!(told.in_force, 1);
/// assert!(told.result?.durable);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Told {
    /// How many of its writes are in the store and acknowledged. These are the first ones of the submission.
    pub in_force: u64,
    /// The answer to the last write, if all are in force. Otherwise why the others are not:
    /// [`Error::NoSpace`](crate::Error::NoSpace): they are not stored.
    /// [`Error::Poisoned`](crate::Error::Poisoned) or [`Error::Lost`](crate::Error::Lost): it is unknown whether they
    /// are stored.
    pub result: Result<Ack>,
}

pub(super) type Done = Box<dyn FnOnce(Told) + Send>;
pub(super) type TellRoom = Box<dyn FnOnce() + Send>;

/// Writes that were appended together, and whom to tell.
pub(super) struct Submission {
    /// The number of the first write.
    pub(super) first: Seq,
    /// The number of the last write; without writes, that of the write before.
    pub(super) last: Seq,
    pub(super) done: Done,
    pub(super) refused: Option<Refused>,
}

/// Why the writes after the first `in_force` were refused.
pub(super) struct Refused {
    pub(super) in_force: u64,
    pub(super) cause: Cause,
}

impl Submission {
    /// How many of its writes are among the first `through` writes of the log.
    pub(super) fn among(&self, through: Seq) -> u64 {
        (self.last.min(through) + 1).saturating_sub(self.first)
    }
}

/// See the head of this file.
#[derive(Default)]
pub(super) struct Submissions {
    pub(super) queue: VecDeque<Submission>,
    /// Submissions that are decided, and that the committer is telling now.
    pub(super) being_told: usize,
    /// How many refused ones are in the queue or being told. Until they are told nothing new is taken, so that no
    /// caller decides by a value that was refused.
    pub(super) refused: usize,
    /// Those who want to know when there is room again.
    pub(super) room: Vec<TellRoom>,
    /// Why the committer could not make room. The next caller gets it.
    pub(super) obstacle: Option<Error>,
    /// A condition did not hold because of a waiting write, which may still be refused. It can be judged when the
    /// writes up to this one are applied, or refused: then this is 0 again.
    pub(super) unsettled: Seq,
    /// The committer sleeps until it is woken.
    pub(super) committer_sleeps: bool,
}

impl fmt::Debug for Submissions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (queued, being_told, refused) = (self.queue.len(), self.being_told, self.refused);
        f.debug_struct("Submissions")
            .field("queued", &queued)
            .field("being_told", &being_told)
            .field("refused", &refused)
            .finish_non_exhaustive()
    }
}

impl Submissions {
    /// The waiting writes are refused. Those up to `applied` are in force.
    pub(super) fn refuse(&mut self, applied: Seq, cause: &Cause) {
        self.unsettled = 0;
        for submission in &mut self.queue {
            if submission.refused.is_none() && submission.last > applied {
                let in_force = submission.among(applied);
                submission.refused = Some(Refused { in_force, cause: cause.clone() });
                self.refused += 1;
            }
        }
    }

    /// How many have not been told.
    pub(super) fn untold(&self) -> usize {
        self.queue.len() + self.being_told
    }
}

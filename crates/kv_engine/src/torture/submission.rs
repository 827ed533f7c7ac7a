//! A submission of a workload: its writes, and what the model knows about it until it is told.

use super::conditional::NEVER;
use crate::Seq;
use crate::engine::Batch;
use crate::state::{Op, State};
use std::fmt;

/// The writes of one submission, in order.
#[derive(Clone, Debug)]
pub(super) struct Submission(pub(super) Vec<Sent>);

/// One batch of a submission. Without operations it is no write, but it may have a condition.
#[derive(Clone, Debug)]
pub(super) struct Sent {
    pub(super) ops: Vec<Op>,
    pub(super) is_durable: bool,
    /// A condition on this key, and whether it is one that holds.
    pub(super) requires: Option<(Vec<u8>, bool)>,
}

impl Submission {
    /// The batches as the store gets them, if it holds `state`.
    pub(super) fn batches(&self, state: &State) -> Vec<Batch> {
        let batch = |sent: &Sent| {
            let mut batch = Batch { ops: sent.ops.clone(), is_durable: sent.is_durable, ..Batch::default() };
            if let Some((key, holds)) = &sent.requires {
                match state.get(key) {
                    _ if !holds => batch.require(key, NEVER),
                    Some(value) => batch.require(key, value),
                    None => batch.require_absent(key),
                };
            }
            batch
        };
        self.0.iter().map(batch).collect()
    }

    /// Those batches that are writes.
    pub(super) fn writes(&self) -> impl Iterator<Item = &Sent> {
        self.0.iter().filter(|sent| !sent.ops.is_empty())
    }

    /// The key of the first condition that does not hold.
    pub(super) fn fails_at(&self) -> Option<&[u8]> {
        self.0.iter().find_map(|sent| sent.requires.as_ref().filter(|(_, holds)| !holds).map(|(key, _)| &**key))
    }
}

impl fmt::Display for Submission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "submit {} batches", self.0.len())?;
        for sent in &self.0 {
            write!(f, " [{}", if sent.is_durable { "durable" } else { "" })?;
            for op in &sent.ops {
                match &op.value {
                    Some(value) => write!(f, " put {} ({} B)", op.key.escape_ascii(), value.len())?,
                    None => write!(f, " delete {}", op.key.escape_ascii())?,
                }
            }
            if let Some((key, holds)) = &sent.requires {
                write!(f, " if {} is {}", key.escape_ascii(), if *holds { "as it is" } else { "what it never was" })?;
            }
            f.write_str("]")?;
        }
        Ok(())
    }
}

/// A submission that was taken and has not been told.
pub(super) struct Untold {
    pub(super) name: usize,
    /// The number of the first write.
    pub(super) first: Seq,
    /// The number of the last write; without writes, that of the write before.
    pub(super) last: Seq,
    /// The last of its durable batches.
    pub(super) durable: Option<Seq>,
    /// How many of its writes stay in force, if the others were refused.
    pub(super) refused: Option<u64>,
}

impl Untold {
    /// How many of its writes are among the first `through` writes of the log.
    pub(super) fn among(&self, through: Seq) -> u64 {
        (self.last.min(through) + 1).saturating_sub(self.first)
    }
}

//! [`Merge`]: merges the entries of a snapshot with the operations of a log.

use super::log_index::{LogIndex, Ops};
use crate::error::{Error, Result};
use crate::state::OpRef;
use std::ops::ControlFlow;

/// Merges the entries of a snapshot, which come in key order, with the operations of the log. Gives those whose keys
/// begin with a prefix to `each`.
pub(super) struct Merge<'s, E> {
    ops: Ops<'s>,
    prefix: &'s [u8],
    each: E,
    flow: ControlFlow<()>,
    unread: Vec<Error>,
}

impl<'s, E: FnMut(&[u8], &[u8]) -> ControlFlow<()>> Merge<'s, E> {
    pub(super) fn new(index: &'s LogIndex, prefix: &'s [u8], each: E) -> Result<Merge<'s, E>> {
        Ok(Merge { ops: index.ops()?, prefix, each, flow: ControlFlow::Continue(()), unread: Vec::new() })
    }

    /// Gives the operation at the cursor, and moves on.
    fn give_op(&mut self) {
        if self.flow.is_continue() && self.ops.key().is_some_and(|key| key.starts_with(self.prefix)) {
            match self.ops.read() {
                Ok(Some(OpRef { key, value: Some(value) })) => self.flow = (self.each)(key, value),
                Ok(_) => {}
                Err(error) => self.unread.push(error),
            }
        }
        if let Err(error) = self.ops.next() {
            self.unread.push(error);
            self.flow = ControlFlow::Break(());
        }
    }

    /// Takes the next entry of the snapshot.
    pub(super) fn entry(&mut self, entry: OpRef<'_>) -> ControlFlow<()> {
        while self.flow.is_continue() && self.ops.key().is_some_and(|key| key < entry.key) {
            self.give_op();
        }
        let is_same = self.flow.is_continue() && self.ops.key() == Some(entry.key);
        if is_same && self.ops.is_newer() {
            self.give_op();
            return self.flow;
        }
        if let (Some(value), true) = (entry.value, self.flow.is_continue() && entry.key.starts_with(self.prefix)) {
            self.flow = (self.each)(entry.key, value);
        }
        if is_same && let Err(error) = self.ops.next() {
            self.unread.push(error);
            self.flow = ControlFlow::Break(());
        }
        self.flow
    }

    /// Gives the operations after the last entry of the snapshot. Returns the errors of values that could not be read
    /// again. Their entries were left out.
    pub(super) fn finish(mut self) -> Vec<Error> {
        let is_behind = |key: &[u8], prefix: &[u8]| key > prefix && !key.starts_with(prefix);
        while self.flow.is_continue() && self.ops.key().is_some_and(|key| !is_behind(key, self.prefix)) {
            self.give_op();
        }
        self.unread
    }
}

//! [`InFlight`]: which waiting write was the last to change a key. Waiting: appended to the log, not applied to the
//! map.
//!
//! A conditional write or a delete looks a key up here, and only then in the map. Each waiting write is decoded once,
//! by the first lookup after it. So a thousand lookups beside a thousand waiting writes decode a thousand writes, and
//! not a million. Plain puts and batches do nothing for it.
//!
//! What holds, under the log's lock:
//! - Waiting writes have consecutive sequence numbers. So the number of a write tells its place in the queue.
//! - An entry whose write is applied is stale, and a lookup ignores it. Stale entries go when they outnumber the
//!   others.
//! - Refused writes give their numbers back, so a refusal empties the index.
//!
//! The index has a hash of each key, not the key. If two keys share a hash, the lookup searches all waiting writes.

use crate::Seq;
use crate::state::{self, OpRef};
use crate::wal::{Position, Wal};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

/// From this number of entries on the index looks for stale ones.
const CLEAN_FROM: usize = 1024;

/// A write that is appended and not applied.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) ticket: u64,
    pub(super) seq: Seq,
    pub(super) kind: WriteKind,
    pub(super) body_len: usize,
    pub(super) end: Position,
    /// It is applied only when it is durable, at every batch size.
    pub(super) sync_first: bool,
    /// No thread waits for it: it is part of a submission.
    pub(super) is_submitted: bool,
}

impl Waiting {
    /// Whether the rule of group commit allows to apply this write, if every write before it is applied.
    pub(super) fn may_apply(&self, durable: Seq, limit: Seq) -> bool {
        self.seq <= if self.sync_first { durable } else { limit }
    }
}

/// As what a write is counted.
#[derive(Clone, Copy, Debug)]
pub(super) enum WriteKind {
    Put,
    Delete,
    Batch,
}

/// See the head of this file. Part of the log.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    hasher: RandomState,
    /// The hash of a key, and the last write on it.
    last: HashMap<u64, Seq>,
    /// Every waiting write up to this one is in the index.
    through: Seq,
    /// At this size stale entries are removed.
    clean_at: usize,
}

impl InFlight {
    /// The waiting writes have been refused, or are in doubt.
    pub(super) fn clear(&mut self) {
        self.last.clear();
        self.through = 0;
    }

    /// The last of the waiting writes that changes `key`: its number and the value that it puts, or `None` for a
    /// delete.
    pub(super) fn last<'a>(&mut self, waiting: &VecDeque<Waiting>, wal: &'a Wal, key: &[u8]) -> Option<(Seq, Option<&'a [u8]>)> {
        let first = waiting.front()?.seq;
        self.index(waiting, wal, first);
        let seq = *self.last.get(&self.hasher.hash_one(key))?;
        let at = place(seq, first)?;
        // The index names the last write on any key with this hash. Almost always that is this key.
        (0..=at).rev().find_map(|at| last_in(&waiting[at], wal, key))
    }

    fn index(&mut self, waiting: &VecDeque<Waiting>, wal: &Wal, first: Seq) {
        if self.last.len() >= self.clean_at {
            self.last.retain(|_, seq| *seq >= first);
            self.clean_at = CLEAN_FROM.max(2 * self.last.len());
        }
        let new = place(self.through + 1, first).unwrap_or(0);
        for write in waiting.range(new.min(waiting.len())..) {
            let note = |op: OpRef<'_>| {
                self.last.insert(self.hasher.hash_one(op.key), write.seq);
            };
            state::decode_each(body(write, wal), note).expect("encoded by this program");
            self.through = write.seq;
        }
    }
}

/// The place of write `seq` in a queue that begins with `first`. `None`: it has left the queue.
fn place(seq: Seq, first: Seq) -> Option<usize> {
    usize::try_from(seq.checked_sub(first)?).ok()
}

fn body<'a>(write: &Waiting, wal: &'a Wal) -> &'a [u8] {
    wal.body(write.end, write.body_len)
}

/// The last operation of this write on `key`.
fn last_in<'a>(write: &Waiting, wal: &'a Wal, key: &[u8]) -> Option<(Seq, Option<&'a [u8]>)> {
    let mut last = None;
    let see = |op: OpRef<'a>| {
        if op.key == key {
            last = Some((write.seq, op.value));
        }
    };
    state::decode_each(body(write, wal), see).expect("encoded by this program");
    last
}

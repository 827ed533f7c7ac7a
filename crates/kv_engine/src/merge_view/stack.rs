//! [`Stacked`]: the writes in memory, in layers over a snapshot on the disk. From the top down:
//!
//! ```text
//! top       the latest writes; it changes
//! frozen    earlier tops, the newest first; they never change
//! base      the snapshot, if there is one
//! ```
//!
//! - A layer hides the entries of the same keys in the layers below. So a layer above the base must also hold
//!   deletions. Each value there begins with a tag, which tells a value from a deletion.
//! - Each frozen layer knows its last write. A checkpoint of the state after write S [freezes](Stacked::freeze) the top
//!   at exactly S, and saves the snapshot. Then the snapshot [replaces](Stacked::rebase) the old base and all frozen
//!   layers that end at or before S, because it holds their entries. If the checkpoint fails, or the new snapshot
//!   cannot be opened, the layers stay, and readers see the same state.
//! - Opening a [view](Stacked::view) freezes the top too, if it holds anything. The view is the frozen layers and the
//!   base.
//! - Views would leave many short layers, and each lookup goes through all of them. So neighbours are
//!   [merged](Stacked::tidy) when the newer one has at least half as many entries as the older one. Then there are never
//!   more layers than the logarithm of the number of entries. A view that is open keeps the layers that it has.
//! - A reader takes the present stack of layers and reads it without a lock. Writes go to the top, one at a time, and
//!   never while it is being frozen: the caller holds the log's lock for a write and for freezing.
//! - Keys are counted on request. Only the base knows whether a written key is new, and looking there at each write
//!   would make every write read the disk.

use super::merged::{Found, merged};
use crate::Seq;
use crate::disk::Disk;
use crate::error::Result;
use crate::snapshot::{Header, Paged};
use crate::state::{Key, Map, OpRef, Request, Value, untag};
use crate::sync::RwLock;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, PoisonError};

#[derive(Debug)]
pub(crate) struct Stacked {
    now: RwLock<Arc<Stack>>,
    cache_bytes: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Stack {
    top: Arc<Map>,
    frozen: Vec<Frozen>,
    base: Option<Arc<Paged>>,
}

/// A layer that does not change any more.
#[derive(Clone, Debug)]
struct Frozen {
    map: Arc<Map>,
    /// The last write in it.
    seq: Seq,
}

impl Stacked {
    pub(super) fn new(base: Option<Paged>, top: Map, cache_bytes: usize) -> Stacked {
        let stack = Stack { top: Arc::new(top), frozen: Vec::new(), base: base.map(Arc::new) };
        Stacked { now: RwLock::new(Arc::new(stack)), cache_bytes }
    }

    pub(super) fn now(&self) -> Arc<Stack> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change<T>(&self, change: impl FnOnce(&mut Stack) -> T) -> T {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let mut stack = Stack::clone(&now);
        let changed = change(&mut stack);
        *now = Arc::new(stack);
        changed
    }

    /// Freezes the top, whose last write is `seq`.
    pub(super) fn freeze(&self, seq: Seq) {
        self.change(|stack| {
            let map = std::mem::take(&mut stack.top);
            stack.frozen.insert(0, Frozen { map, seq });
        });
    }

    /// The layers as they are after write `seq`, the last one that was applied. They never change.
    pub(super) fn view(&self, seq: Seq) -> Stack {
        if self.now().top.len() > 0 {
            self.freeze(seq);
        }
        // The top of the view stays empty. The present one will not.
        Stack { top: Arc::default(), ..Stack::clone(&self.now()) }
    }

    /// Makes the snapshot with this header the base, and drops the frozen layers that it holds. Does nothing if another
    /// snapshot is at `path`, or it cannot be opened.
    pub(super) fn rebase(&self, disk: &dyn Disk, path: &Path, header: &Header) {
        let Ok(Some(file)) = disk.open_read(path) else { return };
        match Paged::open(file, path, self.cache_bytes) {
            Ok(Some(base)) if base.header() == header => self.change(|stack| {
                stack.frozen.retain(|layer| layer.seq > header.seq);
                stack.base = Some(Arc::new(base));
            }),
            _ => {}
        }
    }

    /// Merges frozen layers until there are few.
    pub(super) fn tidy(&self) {
        loop {
            let stack = self.now();
            let pairs = stack.frozen.windows(2);
            let Some([newer, older]) =
                pairs.filter_map(|pair| pair.first_chunk::<2>()).find(|[newer, older]| newer.map.len() * 2 >= older.map.len())
            else {
                return;
            };
            let both = Frozen { map: Arc::new(merge(&older.map, &newer.map)), seq: newer.seq };
            let is_done = self.change(|stack| {
                let is = |layer: &Frozen, other: &Frozen| Arc::ptr_eq(&layer.map, &other.map);
                // A checkpoint or another view may have changed the stack meanwhile.
                let at = stack.frozen.windows(2).position(|pair| is(&pair[0], newer) && is(&pair[1], older));
                at.map(|at| stack.frozen.splice(at..at + 2, [both]).for_each(drop)).is_some()
            });
            if !is_done {
                return; // the next view tries again
            }
        }
    }
}

/// Both layers as one.
fn merge(older: &Map, newer: &Map) -> Map {
    let map = Map::default();
    for layer in [older, newer] {
        for key in layer.sorted_keys() {
            layer.with(&key, |value| map.apply(OpRef { key: &key, value: Some(value) }));
        }
    }
    map
}

impl Stack {
    pub(super) fn top(&self) -> &Map {
        &self.top
    }

    /// The layers in memory, the top first.
    fn written(&self) -> impl DoubleEndedIterator<Item = &Map> {
        std::iter::once(&*self.top).chain(self.frozen.iter().map(|layer| &*layer.map))
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        for map in self.written() {
            if let Some(found) = map.with(key, |value| untag(value).map(Value::from)) {
                return Ok(found);
            }
        }
        self.base.as_ref().map_or(Ok(None), |base| base.get(key))
    }

    pub(super) fn some(&self, request: &Request<'_>) -> Result<Found> {
        let base = self.base.as_ref().map(|base| base.some(request)).transpose()?;
        let written = self.written().rev().map(|map| map.some(request).map(|value| untag(&value).map(Value::from)));
        Ok(merged(base.map(|chunk| chunk.map(Some)).into_iter().chain(written), request))
    }

    pub(super) fn at_most(&self) -> (u64, u64) {
        let base = self.base.as_ref().map_or((0, 0), |base| (base.header().entries, base.header().data_len));
        let add = |sum: (u64, u64), map: &Map| (sum.0 + map.len() as u64, sum.1 + map.data_bytes());
        self.written().fold(base, add)
    }

    pub(super) fn count(&self) -> Result<u64> {
        let Some(base) = &self.base else { return Ok(self.live(|_| Ok(false))?.0) };
        let (written, also_below) = self.live(|key| base.contains(key))?;
        (base.header().entries + written).checked_sub(also_below).ok_or_else(|| base.miscounted())
    }

    /// How many keys have a value in the layers above the base, and how many of the keys in these layers are also in
    /// the base.
    fn live(&self, is_below: impl Fn(&[u8]) -> Result<bool>) -> Result<(u64, u64)> {
        let mut last: BTreeMap<Key, bool> = BTreeMap::new();
        for map in self.written().rev() {
            for key in map.sorted_keys() {
                if let Some(live) = map.with(&key, |value| untag(value).is_some()) {
                    last.insert(key, live);
                }
            }
        }
        let live = last.values().filter(|&&live| live).count() as u64;
        let mut below = 0;
        for key in last.keys() {
            below += u64::from(is_below(key)?);
        }
        Ok((live, below))
    }

    #[cfg(test)]
    pub(super) fn layers(&self) -> usize {
        self.frozen.len()
    }
}

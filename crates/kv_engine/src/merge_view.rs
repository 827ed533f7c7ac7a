//! [`MergeView`]: the state that readers see. It has one of two forms. All of the state is in memory, in one [`Map`].
//! Or the values of the snapshot stay on the disk, and memory holds only the writes after the snapshot, in layers over
//! it (`merge_view/stack.rs`).
//!
//! [`ViewId`] names a *read view*: the state right after one write, S, which later writes do not change. Invariants:
//! - A view is opened, and a write is applied, under the log's lock. So a view begins between two writes: it has all of
//!   an atomic batch or nothing, and exactly the writes up to S.
//! - With all values in memory, a write first stores the old values of its keys for the open views, and then changes
//!   the map (`merge_view/before_images.rs`). While no view is open, a write does nothing for views.
//! - With layers, opening a view freezes the top layer. The view keeps the frozen layers and the snapshot below them,
//!   and none of these ever changes.
//! - A view does not need the log, so it outlives a failure of the log and closing.

mod before_images;
mod merged;
mod stack;
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

pub(crate) use merged::Found;

use crate::Seq;
use crate::disk::Disk;
use crate::error::Result;
use crate::snapshot::{Form, Header, Paged};
use crate::state::{Digest, Digester, Interval, Key, Map, Most, Request, Value, tagged};
use before_images::BeforeImages;
use stack::{Stack, Stacked};
use std::ops::Bound;
use std::path::Path;

#[derive(Debug)]
pub(crate) enum MergeView {
    Memory(Map, BeforeImages),
    Stack(Stacked),
}

/// A read view: the state right after one write. Returned by [`MergeView::open_view`]. Must be given back to
/// [`MergeView::close_view`].
#[derive(Debug)]
pub(crate) enum ViewId {
    Memory { seq: Seq, keys: u64 },
    Stack { seq: Seq, stack: Stack },
}

/// How much a pass over all entries reads at once.
const AT_ONCE: Most = Most { entries: 1000, bytes: 1 << 20 };

impl MergeView {
    /// A view of `map`, which holds everything.
    pub(crate) fn of(map: Map) -> MergeView {
        MergeView::Memory(map, BeforeImages::default())
    }

    /// A view of `top` over `base`. The values in `top` are tagged.
    pub(crate) fn over(base: Option<Paged>, top: Map, cache_bytes: usize) -> MergeView {
        MergeView::Stack(Stacked::new(base, top, cache_bytes))
    }

    /// The form that snapshots of this view must have.
    pub(crate) fn form(&self) -> Form {
        match self {
            MergeView::Memory(..) => Form::Plain,
            MergeView::Stack(_) => Form::Indexed,
        }
    }

    /// Calls `see` with the value of `key`.
    #[inline]
    pub(crate) fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        match self {
            MergeView::Memory(map, _) => Ok(map.with(key, see)),
            MergeView::Stack(_) => Ok(self.get(key)?.map(|value| see(&value))),
        }
    }

    /// Calls `see` with the position and the value of each key, in their order. After an error it is not called again.
    pub(crate) fn with_many<K: AsRef<[u8]>>(&self, keys: &[K], mut see: impl FnMut(usize, Option<&[u8]>)) -> Result<()> {
        match self {
            MergeView::Memory(map, _) => map.with_many(keys, see),
            MergeView::Stack(_) => {
                for (at, key) in keys.iter().enumerate() {
                    see(at, self.get(key.as_ref())?.as_deref());
                }
            }
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        match self {
            MergeView::Memory(map, _) => Ok(map.get(key)),
            MergeView::Stack(stacked) => stacked.now().get(key),
        }
    }

    /// Applies a write whose body this program encoded. Every reader sees all of it or nothing. The caller holds the
    /// log's lock.
    pub(crate) fn apply_write(&self, body: &[u8]) {
        match self {
            MergeView::Memory(map, images) => {
                images.note(map, body);
                map.apply_write(body);
            }
            MergeView::Stack(stacked) => stacked.now().top().apply_tagged(&tagged(body)),
        }
    }

    /// Some entries, in order.
    pub(crate) fn some(&self, request: &Request<'_>) -> Result<Found> {
        match self {
            MergeView::Memory(map, _) => Ok(map.some(request).into()),
            MergeView::Stack(stacked) => stacked.now().some(request),
        }
    }

    /// Number of keys.
    pub(crate) fn count(&self) -> Result<u64> {
        match self {
            MergeView::Memory(map, _) => Ok(map.len() as u64),
            MergeView::Stack(stacked) => stacked.now().count(),
        }
    }

    /// Upper bounds of the number of keys and of their bytes. A key counts once for each layer that holds it. The bytes
    /// are those of keys and values, for the snapshot those of its frames.
    pub(crate) fn at_most(&self) -> (u64, u64) {
        match self {
            MergeView::Memory(map, _) => (map.len() as u64, map.data_bytes()),
            MergeView::Stack(stacked) => stacked.now().at_most(),
        }
    }

    pub(crate) fn digest(&self) -> Result<Digest> {
        match self {
            MergeView::Memory(map, _) => Ok(map.digest()),
            MergeView::Stack(stacked) => {
                let stack = stacked.now();
                digest_of(|request| stack.some(request))
            }
        }
    }

    /// Freezes the top: a snapshot of the present state, after write `seq`, is about to be saved. The caller holds the
    /// log's lock.
    pub(crate) fn freeze(&self, seq: Seq) {
        if let MergeView::Stack(stacked) = self {
            stacked.freeze(seq);
        }
    }

    /// Makes the snapshot with this header the base, and drops the frozen layers that it holds. Does nothing if another
    /// snapshot is at `path`, or it cannot be opened.
    pub(crate) fn rebase(&self, disk: &dyn Disk, path: &Path, header: &Header) {
        if let MergeView::Stack(stacked) = self {
            stacked.rebase(disk, path, header);
        }
    }

    /// Opens a view of the present state, after write `seq`. The caller holds the log's lock.
    pub(crate) fn open_view(&self, seq: Seq) -> ViewId {
        match self {
            MergeView::Memory(map, images) => {
                images.open(seq);
                ViewId::Memory { seq, keys: map.len() as u64 }
            }
            MergeView::Stack(stacked) => ViewId::Stack { seq, stack: stacked.view(seq) },
        }
    }

    /// Ends a view. Needs no lock.
    pub(crate) fn close_view(&self, view: &ViewId) {
        if let (MergeView::Memory(_, images), ViewId::Memory { seq, .. }) = (self, view) {
            images.close(*seq);
        }
    }

    /// Merges frozen layers that opening views has left. Copies entries, so no lock should be held.
    pub(crate) fn tidy(&self) {
        if let MergeView::Stack(stacked) = self {
            stacked.tidy();
        }
    }

    /// As [`MergeView::get`], in a view.
    pub(crate) fn get_in(&self, view: &ViewId, key: &[u8]) -> Result<Option<Value>> {
        match (self, view) {
            (MergeView::Memory(map, images), ViewId::Memory { seq, .. }) => Ok(images.get(map, *seq, key)),
            (_, ViewId::Stack { stack, .. }) => stack.get(key),
            _ => unreachable!("{OTHER}"),
        }
    }

    /// As [`MergeView::some`], in a view.
    pub(crate) fn some_in(&self, view: &ViewId, request: &Request<'_>) -> Result<Found> {
        match (self, view) {
            (MergeView::Memory(map, images), ViewId::Memory { seq, .. }) => Ok(images.some(map, *seq, request)),
            (_, ViewId::Stack { stack, .. }) => stack.some(request),
            _ => unreachable!("{OTHER}"),
        }
    }

    /// As [`MergeView::count`], in a view.
    pub(crate) fn count_in(&self, view: &ViewId) -> Result<u64> {
        match view {
            ViewId::Memory { keys, .. } => Ok(*keys),
            ViewId::Stack { stack, .. } => stack.count(),
        }
    }

    /// As [`MergeView::digest`], in a view.
    pub(crate) fn digest_in(&self, view: &ViewId) -> Result<Digest> {
        digest_of(|request| self.some_in(view, request))
    }

    /// The entries from `from` on whose keys begin with `prefix`, in order, `count` at most.
    #[cfg(any(test, feature = "torture"))]
    pub(crate) fn range(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Result<Vec<(Key, Value)>> {
        let high = crate::state::end_of_prefix(prefix);
        let (mut out, mut low) = (Vec::new(), from.map(Key::from));
        while out.len() < count {
            let keys = Interval { low: low.as_ref().map(|key| &**key), high: high.as_ref().map(|key| &**key) };
            let found = self.some(&Request { keys, backward: false, most: Most::entries(count - out.len()) })?;
            out.extend(found.entries.into_iter().filter(|(key, _)| key.starts_with(prefix)));
            let Some(end) = found.end else { break };
            low = Bound::Excluded(end);
        }
        out.truncate(count);
        Ok(out)
    }
}

const OTHER: &str = "a view is read through the state that it was opened on";

impl ViewId {
    /// The last write in the view.
    pub(crate) fn seq(&self) -> Seq {
        match self {
            ViewId::Memory { seq, .. } | ViewId::Stack { seq, .. } => *seq,
        }
    }
}

/// The digest of all entries.
fn digest_of(some: impl Fn(&Request<'_>) -> Result<Found>) -> Result<Digest> {
    let mut digester = Digester::default();
    let mut after: Option<Key> = None;
    loop {
        let low = after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(&**key));
        let found = some(&Request { keys: Interval { low, ..Interval::ALL }, backward: false, most: AT_ONCE })?;
        found.entries.iter().for_each(|(key, value)| digester.add(key, value));
        match found.end {
            Some(end) => after = Some(end),
            None => return Ok(digester.digest()),
        }
    }
}

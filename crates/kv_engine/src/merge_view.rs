//! [`MergeView`]: the state that readers see. Either all of it is in memory, in one [`Map`]. Or the snapshot stays on
//! the disk, and memory holds only the writes since. Then the view merges three kinds of layers:
//!
//! ```text
//! top       writes since the last checkpoint began; changes
//! frozen    the tops of earlier checkpoints that have not succeeded, the newest first; never change
//! base      the snapshot, if there is one
//! ```
//!
//! - A layer hides the entries of the same keys in the layers below. So the layers above the base must also know
//!   deletions: there a value begins with a tag that says whether it is a value or a deletion.
//! - A checkpoint of the state after write S [freezes](MergeView::freeze) the top at exactly S, and saves the snapshot.
//!   Then the snapshot [replaces](MergeView::rebase) the old base and all frozen layers, because it holds their
//!   entries. If the checkpoint fails, or the new snapshot cannot be opened, the layers stay, and readers see the same
//!   state.
//! - A reader takes the present stack of layers and reads it without a lock. Writes go to the top, one at a time, and
//!   never while it is being frozen: for both the caller holds the log's lock.
//! - Keys are counted on request. Only the base knows whether a written key is new, and looking there at each write
//!   would make every write read the disk.

use crate::disk::Disk;
use crate::error::Result;
use crate::snapshot::{Form, Header, Paged};
use crate::state::{Digest, Digester, Key, Map, Value, tagged, untag};
use crate::sync::RwLock;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::{Arc, PoisonError};

#[derive(Debug)]
pub(crate) enum MergeView {
    Memory(Map),
    Stack(Stacked),
}

#[derive(Debug)]
pub(crate) struct Stacked {
    now: RwLock<Arc<Stack>>,
    cache_bytes: usize,
}

#[derive(Clone, Debug)]
struct Stack {
    top: Arc<Map>,
    frozen: Vec<Arc<Map>>,
    base: Option<Arc<Paged>>,
}

impl MergeView {
    /// A view of `top` over `base`. The values in `top` are tagged.
    pub(crate) fn over(base: Option<Paged>, top: Map, cache_bytes: usize) -> MergeView {
        let stack = Stack { top: Arc::new(top), frozen: Vec::new(), base: base.map(Arc::new) };
        MergeView::Stack(Stacked { now: RwLock::new(Arc::new(stack)), cache_bytes })
    }

    /// The form that snapshots of this view must have.
    pub(crate) fn form(&self) -> Form {
        match self {
            MergeView::Memory(_) => Form::Plain,
            MergeView::Stack(_) => Form::Indexed,
        }
    }

    /// Calls `see` with the value of `key`.
    #[inline]
    pub(crate) fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        match self {
            MergeView::Memory(map) => Ok(map.with(key, see)),
            MergeView::Stack(_) => Ok(self.get(key)?.map(|value| see(&value))),
        }
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        match self {
            MergeView::Memory(map) => Ok(map.get(key)),
            MergeView::Stack(stacked) => stacked.now().get(key),
        }
    }

    /// Applies a write whose body this program encoded. Every reader sees all of it or nothing.
    pub(crate) fn apply_write(&self, body: &[u8]) {
        match self {
            MergeView::Memory(map) => map.apply_write(body),
            MergeView::Stack(stacked) => stacked.now().top.apply_tagged(&tagged(body)),
        }
    }

    /// The entries from `from` on whose keys begin with `prefix`, in order, `count` at most.
    pub(crate) fn range(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Result<Vec<(Key, Value)>> {
        match self {
            MergeView::Memory(map) => Ok(map.range(from, prefix, count)),
            MergeView::Stack(stacked) => stacked.now().range(from, prefix, count),
        }
    }

    /// Number of keys.
    pub(crate) fn count(&self) -> Result<u64> {
        match self {
            MergeView::Memory(map) => Ok(map.len() as u64),
            MergeView::Stack(stacked) => stacked.now().count(),
        }
    }

    /// Upper bounds of the number of keys and of their bytes. A key counts once for each layer that holds it. The bytes
    /// are those of keys and values, for the snapshot those of its frames.
    pub(crate) fn at_most(&self) -> (u64, u64) {
        match self {
            MergeView::Memory(map) => (map.len() as u64, map.data_bytes()),
            MergeView::Stack(stacked) => {
                let stack = stacked.now();
                let base = stack.base.as_ref().map_or((0, 0), |base| (base.header().entries, base.header().data_len));
                let add = |sum: (u64, u64), map: &Map| (sum.0 + map.len() as u64, sum.1 + map.data_bytes());
                stack.written().fold(base, add)
            }
        }
    }

    pub(crate) fn digest(&self) -> Result<Digest> {
        match self {
            MergeView::Memory(map) => Ok(map.digest()),
            MergeView::Stack(stacked) => stacked.now().digest(),
        }
    }

    /// Freezes the top: a snapshot of the present state is about to be saved.
    pub(crate) fn freeze(&self) {
        let MergeView::Stack(stacked) = self else { return };
        stacked.change(|stack| {
            let top = std::mem::take(&mut stack.top);
            stack.frozen.insert(0, top);
        });
    }

    /// Makes the snapshot with this header the base, and drops the frozen layers, which it holds. Does nothing if
    /// another snapshot is at `path`, or it cannot be opened.
    pub(crate) fn rebase(&self, disk: &dyn Disk, path: &Path, header: &Header) {
        let MergeView::Stack(stacked) = self else { return };
        let Ok(Some(file)) = disk.open_read(path) else { return };
        match Paged::open(file, path, stacked.cache_bytes) {
            Ok(Some(base)) if base.header() == header => stacked.change(|stack| {
                stack.frozen.clear();
                stack.base = Some(Arc::new(base));
            }),
            _ => {}
        }
    }
}

impl Stacked {
    fn now(&self) -> Arc<Stack> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn change(&self, change: impl FnOnce(&mut Stack)) {
        let mut now = self.now.write().unwrap_or_else(PoisonError::into_inner);
        let mut stack = Stack::clone(&now);
        change(&mut stack);
        *now = Arc::new(stack);
    }
}

impl Stack {
    /// The layers in memory, the top first.
    fn written(&self) -> impl DoubleEndedIterator<Item = &Map> {
        std::iter::once(&self.top).chain(&self.frozen).map(|map| &**map)
    }

    fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        for map in self.written() {
            if let Some(found) = map.with(key, |value| untag(value).map(Value::from)) {
                return Ok(found);
            }
        }
        self.base.as_ref().map_or(Ok(None), |base| base.get(key))
    }

    fn range(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Result<Vec<(Key, Value)>> {
        let mut out = Vec::new();
        let mut from = from.map(<[u8]>::to_vec);
        while out.len() < count {
            let (entries, end) = self.some(from.as_ref().map(Vec::as_slice), prefix, count)?;
            out.extend(entries);
            let Some(end) = end else { break };
            from = Bound::Excluded(end.to_vec());
        }
        out.truncate(count);
        Ok(out)
    }

    /// The entries from `from` on up to the key that is the second result. `None`: up to the last key.
    #[allow(clippy::type_complexity)]
    fn some(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Result<(Vec<(Key, Value)>, Option<Key>)> {
        let mut merged: BTreeMap<Key, Option<Value>> = BTreeMap::new();
        let mut end: Option<Key> = None;
        let mut take = |entries: Vec<(Key, Option<Value>)>| {
            if let Some((last, _)) = entries.last().filter(|_| entries.len() == count) {
                end = Some(end.take().map_or_else(|| last.clone(), |end| end.min(last.clone())));
            }
            merged.extend(entries); // entries of an upper layer replace those of lower ones
        };
        if let Some(base) = &self.base {
            take(base.range(from, prefix, count)?.into_iter().map(|(key, value)| (key, Some(value))).collect());
        }
        for map in self.written().rev() {
            let entries = map.range(from, prefix, count);
            take(entries.into_iter().map(|(key, value)| (key, untag(&value).map(Value::from))).collect());
        }
        let known = merged.into_iter().filter(|(key, _)| end.as_ref().is_none_or(|end| key <= end));
        Ok((known.filter_map(|(key, value)| Some((key, value?))).collect(), end))
    }

    fn count(&self) -> Result<u64> {
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

    fn digest(&self) -> Result<Digest> {
        const ENTRIES_AT_ONCE: usize = 1000;
        let mut digester = Digester::default();
        let mut after = None;
        loop {
            let from = after.as_ref().map_or(Bound::Unbounded, |key: &Key| Bound::Excluded(&**key));
            let entries = self.range(from, b"", ENTRIES_AT_ONCE)?;
            entries.iter().for_each(|(key, value)| digester.add(key, value));
            match entries.into_iter().last() {
                Some((key, _)) => after = Some(key),
                None => return Ok(digester.digest()),
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::StoreId;
    use crate::disk::OsDisk;
    use crate::snapshot::{Draft, fill_from, save};
    use crate::state::{Op, OpRef};

    const ID: StoreId = StoreId(*b"sixteen bytes id");

    fn map(entries: &[(&[u8], &[u8])]) -> Map {
        let map = Map::default();
        entries.iter().for_each(|&(key, value)| map.apply(OpRef { key, value: Some(value) }));
        map
    }

    fn saved(path: &Path, form: Form, entries: &[(&[u8], &[u8])]) -> Header {
        save(&OsDisk, path, Draft::new(form, ID, 7), fill_from(&map(entries))).unwrap()
    }

    fn written(layers: &MergeView, ops: &[Op]) {
        let mut body = Vec::new();
        ops.iter().for_each(|op| op.as_ref().encode(&mut body));
        layers.apply_write(&body);
    }

    fn all(layers: &MergeView) -> Vec<(Vec<u8>, Vec<u8>)> {
        let entries = layers.range(Bound::Unbounded, b"", usize::MAX).unwrap();
        entries.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect()
    }

    /// Each layer hides those below, until a snapshot that holds all of them replaces them.
    #[test]
    fn the_last_write_is_seen_and_a_snapshot_replaces_the_layers_that_it_holds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snap");
        saved(&path, Form::Indexed, &[(b"a", b"base"), (b"b", b"base"), (b"c", b"base"), (b"d", b"base")]);
        let open = || Paged::open(OsDisk.open_read(&path).unwrap().unwrap(), &path, 0).unwrap();
        let layers = MergeView::over(open(), Map::default(), 0);
        written(&layers, &[Op::put(b"b", b"first"), Op::delete(b"c"), Op::put(b"e", b"first")]);
        layers.freeze();
        written(&layers, &[Op::delete(b"b"), Op::put(b"c", b"second")]);
        layers.freeze();
        written(&layers, &[Op::put(b"e", b"third"), Op::delete(b"nobody")]);
        let expected: [(&[u8], &[u8]); 4] = [(b"a", b"base"), (b"c", b"second"), (b"d", b"base"), (b"e", b"third")];
        let right = |at_most: u64| {
            assert!(all(&layers).iter().map(|(key, value)| (&key[..], &value[..])).eq(expected));
            assert_eq!(layers.count().unwrap(), 4);
            assert_eq!(layers.digest().unwrap(), map(&expected).digest());
            for key in [b"a", b"b", b"c", b"d", b"e", b"f"] {
                let value = expected.iter().find(|(known, _)| known == key).map(|(_, value)| *value);
                assert_eq!(layers.get(key).unwrap().as_deref(), value);
                assert_eq!(layers.with(key, <[u8]>::to_vec).unwrap().as_deref(), value);
            }
            for count in 0..5 {
                let some = layers.range(Bound::Excluded(b"a"), b"", count).unwrap();
                assert!(some.iter().map(|(key, value)| (&**key, &**value)).eq(expected[1..].iter().copied().take(count)));
            }
            assert_eq!(layers.at_most().0, at_most);
        };
        right(4 + 3 + 2 + 2);
        // The snapshot is missing, is another one, has no index, or is damaged: the layers stay.
        let header = saved(&path, Form::Indexed, &expected);
        for other in [dir.path().join("nowhere"), path.clone()] {
            layers.rebase(&OsDisk, &other, &Header { seq: 8, ..header });
            right(11);
        }
        let plain = saved(&path, Form::Plain, &[(b"x", b"wrong")]);
        layers.rebase(&OsDisk, &path, &plain);
        right(11);
        std::fs::write(&path, b"damage").unwrap();
        layers.rebase(&OsDisk, &path, &header);
        right(11);
        // The snapshot holds the frozen layers, and not the writes since.
        let frozen: [(&[u8], &[u8]); 4] = [(b"a", b"base"), (b"c", b"second"), (b"d", b"base"), (b"e", b"first")];
        let header = saved(&path, Form::Indexed, &frozen);
        layers.rebase(&OsDisk, &path, &header);
        right(4 + 2);
        // Each value in memory has a tag of one byte.
        assert_eq!(layers.at_most().1, header.data_len + "e.third".len() as u64 + "nobody.".len() as u64);
    }

    #[test]
    fn ranges_over_layers_are_those_of_one_map() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snap");
        let key = |n: u32| format!("{n:02}").into_bytes();
        let value = |n: u32, layer: u32| format!("{n} of {layer}").into_bytes();
        let mut expected = BTreeMap::new();
        // The second layer hides the even keys, the third one deletes the multiples of three.
        let base: Vec<_> = (0..60).map(|n| (key(n), value(n, 1))).collect();
        expected.extend(base.iter().cloned());
        saved(&path, Form::Indexed, &base.iter().map(|(key, value)| (&key[..], &value[..])).collect::<Vec<_>>());
        let base = Paged::open(OsDisk.open_read(&path).unwrap().unwrap(), &path, 0).unwrap();
        let layers = MergeView::over(base, Map::default(), 0);
        for n in (0..70).step_by(2) {
            written(&layers, &[Op::put(&key(n), &value(n, 2))]);
            expected.insert(key(n), value(n, 2));
        }
        layers.freeze();
        for n in (0..70).step_by(3) {
            written(&layers, &[Op::delete(&key(n))]);
            expected.remove(&key(n));
        }
        assert_eq!(layers.count().unwrap(), expected.len() as u64);
        for from in 0..70 {
            let at = key(from);
            for bound in [Bound::Included(&at[..]), Bound::Excluded(&at[..]), Bound::Unbounded] {
                // No caller asks for a range that begins before the prefix.
                let known = |prefix: &&[u8]| prefix.is_empty() || at[..] >= **prefix && bound != Bound::Unbounded;
                for prefix in [&b""[..], b"1", b"15", b"6", b"7"].into_iter().filter(known) {
                    for count in [1, 2, 5, 30, usize::MAX] {
                        let listed = expected.range::<[u8], _>((bound, Bound::Unbounded));
                        let listed = listed.filter(|(key, _)| key.starts_with(prefix)).take(count);
                        let found = layers.range(bound, prefix, count).unwrap();
                        assert!(
                            found
                                .iter()
                                .map(|(key, value)| (&**key, &**value))
                                .eq(listed.map(|(key, value)| (&key[..], &value[..]))),
                            "{bound:?} {prefix:?} {count}"
                        );
                    }
                }
            }
        }
    }
}

//! [`MergeView`]: what readers see. Either all of it is in memory, one [`Map`]; or the snapshot stays on the disk, and in
//! memory is what was written since:
//!
//! ```text
//! top       writes since the last checkpoint began; changes
//! frozen    the top of earlier checkpoints that have not succeeded, the newest first; never change
//! base      the snapshot, if there is one
//! ```
//!
//! - Each layer hides what those below say of a key. So a deletion has to be known in the layers above the base: there a value
//!   begins with a byte that says whether it is one.
//! - A checkpoint of the state after write S [freezes](MergeView::freeze) the top at exactly S, saves the snapshot, and then
//!   [puts it](MergeView::rebase) in the place of the old one and of everything frozen, which it holds. Where it fails, or the
//!   new snapshot cannot be opened, nothing is taken away: what there is says the same.
//! - A reader takes the stack as it is and goes through it without a lock. Writes go to the top, one at a time, never while it is
//!   frozen: for both the caller holds the log's lock.
//! - How many keys there are is counted when somebody asks: whether a key that was written is new is only known to the base,
//!   and to look there at each write would make every write read.

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
    /// `top` holds tagged values.
    pub(crate) fn over(base: Option<Paged>, top: Map, cache_bytes: usize) -> MergeView {
        let stack = Stack { top: Arc::new(top), frozen: Vec::new(), base: base.map(Arc::new) };
        MergeView::Stack(Stacked { now: RwLock::new(Arc::new(stack)), cache_bytes })
    }

    /// How its snapshots have to be.
    pub(crate) fn form(&self) -> Form {
        match self {
            MergeView::Memory(_) => Form::Plain,
            MergeView::Stack(_) => Form::Indexed,
        }
    }

    /// Calls `see` with the value of `key`.
    pub(crate) fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        match self {
            MergeView::Memory(map) => Ok(map.with(key, see)),
            MergeView::Stack(_) => Ok(self.get(key)?.map(|value| see(&value))),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        match self {
            MergeView::Memory(map) => Ok(map.get(key)),
            MergeView::Stack(stacked) => stacked.now().get(key),
        }
    }

    /// Applies a write whose body this program encoded: all of it at once, for every reader.
    pub(crate) fn apply_write(&self, body: &[u8]) {
        match self {
            MergeView::Memory(map) => map.apply_write(body),
            MergeView::Stack(stacked) => stacked.now().top.apply_tagged(&tagged(body)),
        }
    }

    /// At most `count` entries whose keys begin with `prefix`, in order, those from `from` on.
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

    /// Number of keys, those in several layers counted for each; and the bytes of keys and values, or of what holds them.
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

    /// What is in memory is the state after some write, of which a snapshot is about to be saved.
    pub(crate) fn freeze(&self) {
        let MergeView::Stack(stacked) = self else { return };
        stacked.change(|stack| {
            let top = std::mem::take(&mut stack.top);
            stack.frozen.insert(0, top);
        });
    }

    /// The snapshot with this header, of what was frozen last, is in place.
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
    /// The layers in memory, from the top.
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

    /// The entries from `from` on up to some key, which is the second answer; `None`: to the last one.
    #[allow(clippy::type_complexity)]
    fn some(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Result<(Vec<(Key, Value)>, Option<Key>)> {
        let mut merged: BTreeMap<Key, Option<Value>> = BTreeMap::new();
        let mut end: Option<Key> = None;
        let mut take = |entries: Vec<(Key, Option<Value>)>| {
            if let Some((last, _)) = entries.last().filter(|_| entries.len() == count) {
                end = Some(end.take().map_or_else(|| last.clone(), |end| end.min(last.clone())));
            }
            merged.extend(entries); // what comes from above takes the place of what is there
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

    /// How many keys have a value above the base, and how many that were written or deleted there are below.
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

    /// Each layer hides those below, until a snapshot that holds them all is in their place.
    #[test]
    fn what_was_written_last_is_seen_and_a_snapshot_of_it_takes_its_place() {
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
        // The snapshot cannot be read, is another one, or has no index: what there is stays.
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
        // Of what was frozen, that is, and not of what was written since.
        let frozen: [(&[u8], &[u8]); 4] = [(b"a", b"base"), (b"c", b"second"), (b"d", b"base"), (b"e", b"first")];
        let header = saved(&path, Form::Indexed, &frozen);
        layers.rebase(&OsDisk, &path, &header);
        right(4 + 2);
        // A byte before each value says whether it is one.
        assert_eq!(layers.at_most().1, header.data_len + "e.third".len() as u64 + "nobody.".len() as u64);
    }

    #[test]
    fn ranges_over_layers_are_those_of_one_map() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snap");
        let key = |n: u32| format!("{n:02}").into_bytes();
        let value = |n: u32, layer: u32| format!("{n} of {layer}").into_bytes();
        let mut expected = BTreeMap::new();
        // Of each layer other keys: the second hides the evens, the third deletes those that three divides.
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
                // Nobody asks for those from a key on that comes before the prefix.
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

//! [`Layers`]: what readers see. Either all of it is in memory, one [`Map`]; or the snapshot stays on the disk, and in
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
//! - A checkpoint of the state after write S [freezes](Layers::freeze) the top at exactly S, saves the snapshot, and then
//!   [puts it](Layers::rebase) in the place of the old one and of everything frozen, which it holds. Where it fails, or the
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
pub(crate) enum Layers {
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

impl Layers {
    /// `top` holds tagged values.
    pub(crate) fn over(base: Option<Paged>, top: Map, cache_bytes: usize) -> Layers {
        let stack = Stack { top: Arc::new(top), frozen: Vec::new(), base: base.map(Arc::new) };
        Layers::Stack(Stacked { now: RwLock::new(Arc::new(stack)), cache_bytes })
    }

    /// How its snapshots have to be.
    pub(crate) fn form(&self) -> Form {
        match self {
            Layers::Memory(_) => Form::Plain,
            Layers::Stack(_) => Form::Indexed,
        }
    }

    /// Calls `see` with the value of `key`.
    pub(crate) fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Result<Option<T>> {
        match self {
            Layers::Memory(map) => Ok(map.with(key, see)),
            Layers::Stack(_) => Ok(self.get(key)?.map(|value| see(&value))),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<Value>> {
        match self {
            Layers::Memory(map) => Ok(map.get(key)),
            Layers::Stack(stacked) => stacked.now().get(key),
        }
    }

    /// Applies a write whose body this program encoded: all of it at once, for every reader.
    pub(crate) fn apply_write(&self, body: &[u8]) {
        match self {
            Layers::Memory(map) => map.apply_write(body),
            Layers::Stack(stacked) => stacked.now().top.apply_tagged(&tagged(body)),
        }
    }

    /// At most `count` entries whose keys begin with `prefix`, in order, those from `from` on.
    pub(crate) fn range(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Result<Vec<(Key, Value)>> {
        match self {
            Layers::Memory(map) => Ok(map.range(from, prefix, count)),
            Layers::Stack(stacked) => stacked.now().range(from, prefix, count),
        }
    }

    /// Number of keys.
    pub(crate) fn count(&self) -> Result<u64> {
        match self {
            Layers::Memory(map) => Ok(map.len() as u64),
            Layers::Stack(stacked) => stacked.now().count(),
        }
    }

    /// Number of keys, those in several layers counted for each; and the bytes of keys and values, or of what holds them.
    pub(crate) fn at_most(&self) -> (u64, u64) {
        match self {
            Layers::Memory(map) => (map.len() as u64, map.data_bytes()),
            Layers::Stack(stacked) => {
                let stack = stacked.now();
                let base = stack.base.as_ref().map_or((0, 0), |base| (base.header().entries, base.header().data_len));
                let add = |sum: (u64, u64), map: &Map| (sum.0 + map.len() as u64, sum.1 + map.data_bytes());
                stack.written().fold(base, add)
            }
        }
    }

    pub(crate) fn digest(&self) -> Result<Digest> {
        match self {
            Layers::Memory(map) => Ok(map.digest()),
            Layers::Stack(stacked) => stacked.now().digest(),
        }
    }

    /// What is in memory is the state after some write, of which a snapshot is about to be saved.
    pub(crate) fn freeze(&self) {
        let Layers::Stack(stacked) = self else { return };
        stacked.change(|stack| {
            let top = std::mem::take(&mut stack.top);
            stack.frozen.insert(0, top);
        });
    }

    /// The snapshot with this header, of what was frozen last, is in place.
    pub(crate) fn rebase(&self, disk: &dyn Disk, path: &Path, header: &Header) {
        let Layers::Stack(stacked) = self else { return };
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
        Ok(base.header().entries + written - also_below)
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

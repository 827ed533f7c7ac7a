//! [`Map`]: the engine's state, read and written by many threads.
//!
//! Entries are spread over shards by a hash of the key, each shard behind a lock of its own that is held
//! for one lookup or one write; no sync and no checkpoint is ever waited for under one. The hash is SipHash
//! under a random key (that of the standard library), so nobody can choose keys that fall into one
//! shard or one chain.
//!
//! Whoever wants keys in order pays for the order: it is made at the first scan and kept from then on, a
//! scan first putting the keys in their places that came since the one before. A store that is never
//! scanned, as most are, has none.

use super::shard::{Fresh, Shard};
use super::{Digest, Digester, Key, OpRef, Value, decode_one};
use crate::sync::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};
use std::ops::Bound;
use std::sync::PoisonError;

pub(super) const SHARDS: usize = 64;
/// These bits of a hash choose the shard; the shard's table uses the lowest and the highest ones.
const SHARD_SHIFT: u32 = 40;

/// A shard on cache lines of its own.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Aligned(RwLock<Shard>);

impl Aligned {
    /// The shard, where nobody else can have it.
    pub(super) fn get_mut(&mut self) -> &mut Shard {
        self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug)]
pub(crate) struct Map {
    pub(super) hasher: RandomState,
    pub(super) shards: Box<[Aligned]>,
    /// The keys in order, as of the last scan. Locked before any shard is.
    order: Mutex<Option<BTreeSet<Key>>>,
}

impl Default for Map {
    fn default() -> Map {
        let shards = std::iter::repeat_with(Aligned::default).take(SHARDS).collect();
        Map { hasher: RandomState::new(), shards, order: Mutex::new(None) }
    }
}

impl Map {
    fn hash(&self, key: &[u8]) -> u64 {
        self.hasher.hash_one(key)
    }

    fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard].0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard].0.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> impl Iterator<Item = RwLockReadGuard<'_, Shard>> {
        (0..self.shards.len()).map(|shard| self.read(shard))
    }

    /// Calls `see` with the value of `key`; no copy is made.
    pub(crate) fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let hash = self.hash(key);
        self.read(shard_of(hash)).get(hash, key).map(|found| see(found.bytes()))
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Value> {
        let hash = self.hash(key);
        self.read(shard_of(hash)).get(hash, key).map(|found| found.to_value())
    }

    pub(crate) fn len(&self) -> usize {
        self.all().map(|shard| shard.len()).sum()
    }

    /// Keys and values together.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.all().map(|shard| shard.data_bytes()).sum()
    }

    pub(crate) fn apply(&self, op: OpRef<'_>) {
        let hash = self.hash(op.key);
        apply(&mut self.write(shard_of(hash)), &self.hasher, hash, op);
    }

    /// Applies a write whose body this program encoded: all of it at once, for every reader.
    pub(crate) fn apply_write(&self, mut body: &[u8]) {
        let mut next = || (!body.is_empty()).then(|| decode_one(&mut body).expect("encoded by this program"));
        let Some(first) = next() else { return };
        let Some(second) = next() else { return self.apply(first) };
        self.apply_ops([first, second].into_iter().chain(std::iter::from_fn(next)));
    }

    /// Applies these operations, values all of them: all at once, for every reader.
    pub(crate) fn apply_tagged(&self, ops: &[(&[u8], Vec<u8>)]) {
        self.apply_ops(ops.iter().map(|(key, value)| OpRef { key, value: Some(value) }));
    }

    fn apply_ops<'a>(&self, ops: impl Iterator<Item = OpRef<'a>>) {
        let ops: Vec<_> = ops.map(|op| (self.hash(op.key), op)).collect();
        let mut guards: [Option<RwLockWriteGuard<'_, Shard>>; SHARDS] = [const { None }; SHARDS];
        let mut touched = [false; SHARDS];
        ops.iter().for_each(|(hash, _)| touched[shard_of(*hash)] = true);
        for shard in (0..SHARDS).filter(|&shard| touched[shard]) {
            guards[shard] = Some(self.write(shard)); // always in this order, so that two writers cannot block each other
        }
        for (hash, op) in ops {
            apply(guards[shard_of(hash)].as_mut().expect("locked above"), &self.hasher, hash, op);
        }
    }

    /// Every key, in order.
    pub(crate) fn sorted_keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.all().flat_map(|shard| shard.keys().map(Key::from).collect::<Vec<_>>()).collect();
        keys.sort_unstable();
        keys
    }

    pub(crate) fn digest(&self) -> Digest {
        let mut digester = Digester::default();
        for key in self.sorted_keys() {
            self.with(&key, |value| digester.add(&key, value));
        }
        digester.digest()
    }

    /// At most `count` entries whose keys begin with `prefix`, in order, those from `from` on.
    pub(crate) fn range(&self, from: Bound<&[u8]>, prefix: &[u8], count: usize) -> Vec<(Key, Value)> {
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let order = self.in_order(&mut order);
        let keys = order.range::<[u8], _>((from, Bound::Unbounded)).take_while(|key| key.starts_with(prefix));
        // A key may have gone since it was put in order.
        keys.filter_map(|key| Some((key.clone(), self.get(key)?))).take(count).collect()
    }

    /// Brings the order up to date.
    fn in_order<'a>(&self, order: &'a mut Option<BTreeSet<Key>>) -> &'a BTreeSet<Key> {
        let known = order.as_mut().is_some_and(|keys| (0..SHARDS).all(|shard| self.catch_up(shard, keys)));
        if !known {
            let listed = |shard: usize| {
                let mut shard = self.write(shard);
                shard.fresh = Fresh::Noted(Vec::new());
                shard.keys().map(Key::from).collect::<Vec<_>>()
            };
            *order = Some((0..SHARDS).flat_map(listed).collect());
        }
        order.as_ref().expect("just made")
    }

    /// Takes over what came and went in one shard. `false`: that is not known.
    fn catch_up(&self, shard: usize, keys: &mut BTreeSet<Key>) -> bool {
        if matches!(&self.read(shard).fresh, Fresh::Noted(fresh) if fresh.is_empty()) {
            return true;
        }
        let Fresh::Noted(fresh) = std::mem::replace(&mut self.write(shard).fresh, Fresh::Noted(Vec::new())) else { return false };
        for (key, added) in fresh {
            if added {
                keys.insert(key)
            } else {
                keys.remove(&key)
            };
        }
        true
    }
}

pub(super) fn shard_of(hash: u64) -> usize {
    usize::try_from(hash >> SHARD_SHIFT & (SHARDS as u64 - 1)).expect("a few bits")
}

pub(super) fn apply(shard: &mut Shard, hasher: &RandomState, hash: u64, op: OpRef<'_>) {
    match op.value {
        Some(value) => shard.insert(hasher, hash, op.key, value),
        None => {
            shard.remove(hasher, hash, op.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Op, State};
    use super::*;
    use proptest::prelude::*;

    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            6 => (0..40_u8).prop_map(|n| vec![n]),
            2 => (0..40_u8).prop_map(|n| vec![n; 30]),
            1 => (0..3_u8).prop_map(|n| vec![n; 2000]),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        let value = prop_oneof![8 => 0..60_usize, 2 => 900..1100_usize, 1 => Just(5000_usize)];
        (key(), any::<u8>(), value, 0..4_u8).prop_map(|(key, byte, len, what)| match what {
            0 => Op::delete(&key),
            _ => Op::put(&key, &vec![byte; len]),
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// The map holds what the plain ordered one does, and gives it in the same order; scans at any
        /// time do not disturb it.
        #[test]
        fn the_map_is_the_state(steps in proptest::collection::vec((proptest::collection::vec(op(), 1..5), any::<bool>()), 1..200)) {
            let (map, mut state) = (Map::default(), State::default());
            for (ops, scan) in steps {
                let mut body = Vec::new();
                ops.iter().for_each(|op| op.as_ref().encode(&mut body));
                map.apply_write(&body);
                for op in ops {
                    state.apply(op);
                }
                if scan {
                    let listed = map.range(Bound::Unbounded, b"", usize::MAX);
                    prop_assert!(listed.iter().map(|(key, value)| (&**key, value)).eq(state.range(Bound::Unbounded)));
                }
            }
            prop_assert_eq!(map.len(), state.len());
            prop_assert_eq!(map.data_bytes(), state.data_bytes());
            prop_assert_eq!(map.digest(), state.digest());
        }
    }

    /// Values of changing lengths leave dead bytes; they are used again.
    #[test]
    fn overwriting_does_not_grow_the_memory_without_end() {
        let map = Map::default();
        let number = |n: usize| n.to_be_bytes();
        for round in 0..20_usize {
            for n in 0..20_000 {
                let value = vec![b'v'; 80 + (n + round) % 40];
                map.apply(OpRef { key: &number(n), value: Some(&value) });
            }
        }
        let used: usize = map.all().map(|shard| shard.memory_bytes()).sum();
        let live = usize::try_from(map.data_bytes()).expect("small") + 20_000 * 4;
        assert!(used < live + live / 2 + SHARDS * 4 * (32 << 10), "{used} bytes for {live}");
        for n in 0..20_000 {
            assert_eq!(map.get(&number(n)).expect("there").len(), 80 + (n + 19) % 40);
        }
    }

    /// Short-lived entries between lasting ones leave no block that is dead as a whole: the lasting ones move.
    #[test]
    fn entries_that_are_moved_together_are_found() {
        let map = Map::default();
        let number = |n: usize| n.to_be_bytes();
        let value = |n: usize, len: usize| vec![n.to_le_bytes()[0]; len];
        let (short_lived, rounds) = (10_000, 12);
        for round in 0..rounds {
            for n in 0..short_lived {
                map.apply(OpRef { key: &number(n), value: Some(&value(n, 200 + round)) });
                let lasting = (round + 1) * short_lived + n;
                map.apply(OpRef { key: &number(lasting), value: Some(&value(lasting, 20)) });
            }
        }
        for n in 0..short_lived * (rounds + 1) {
            let len = if n < short_lived { 200 + rounds - 1 } else { 20 };
            assert!(map.get(&number(n)).is_some_and(|found| *found == *value(n, len)), "entry {n}");
        }
    }
}

//! [`Map`]: the engine's state, read and written by many threads.
//!
//! A hash of the key chooses one of the [shards](super::shard). Readers of short entries take no lock. Other readers
//! take the lock of their shard. It is held for one lookup or one write, and never while a thread waits for a sync or a
//! checkpoint.
//!
//! Only scans need the keys in order. The first scan makes the ordered set of keys. From then on the shards record
//! which keys come and go, and the next scan brings the set up to date. Most stores are never scanned, and have no
//! ordered set.

use super::key_hash::{KeyHash, KeyHasher, SHARDS};
use super::shard::{KeyChanges, Reading, Shard, Writing};
use super::{Chunk, Digest, Digester, Key, OpRef, Request, Value, decode_one};
use crate::sync::Mutex;
use std::collections::BTreeSet;
use std::sync::PoisonError;

/// A shard that shares no cache line with another one.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(super) struct Aligned(pub(super) Shard);

#[derive(Debug)]
pub(crate) struct Map {
    pub(super) hasher: KeyHasher,
    pub(super) shards: Box<[Aligned]>,
    /// The keys in order, as of the last scan. Locked before any shard.
    order: Mutex<Option<BTreeSet<Key>>>,
}

impl Default for Map {
    fn default() -> Map {
        let shards = std::iter::repeat_with(Aligned::default).take(SHARDS).collect();
        Map { hasher: KeyHasher::default(), shards, order: Mutex::new(None) }
    }
}

impl Map {
    #[inline]
    pub(super) fn shard(&self, hash: KeyHash<'_>) -> &Shard {
        &self.shards[hash.shard()].0
    }

    #[inline]
    fn read(&self, shard: usize) -> Reading<'_> {
        self.shards[shard].0.read()
    }

    fn write(&self, shard: usize) -> Writing<'_> {
        self.shards[shard].0.write()
    }

    fn all(&self) -> impl Iterator<Item = Reading<'_>> {
        (0..self.shards.len()).map(|shard| self.read(shard))
    }

    /// Calls `see` with the value of `key`.
    #[inline]
    pub(crate) fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Option<T> {
        let hash = self.hasher.hash(key);
        self.shard(hash).find(hash.half(), key, |found| see(found.bytes()))
    }

    #[inline]
    pub(crate) fn get(&self, key: &[u8]) -> Option<Value> {
        let hash = self.hasher.hash(key);
        self.shard(hash).find(hash.half(), key, |found| found.into_value())
    }

    pub(crate) fn len(&self) -> usize {
        self.all().map(|shard| shard.len()).sum()
    }

    /// Keys and values together.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.all().map(|shard| shard.data_bytes()).sum()
    }

    pub(crate) fn apply(&self, op: OpRef<'_>) {
        let hash = self.hasher.hash(op.key);
        self.write(hash.shard()).apply(hash, op.key, op.value);
    }

    /// Applies a write whose body this program encoded. Every reader sees all of it or nothing.
    pub(crate) fn apply_write(&self, mut body: &[u8]) {
        let mut next = || (!body.is_empty()).then(|| decode_one(&mut body).expect("encoded by this program"));
        let Some(first) = next() else { return };
        let Some(second) = next() else { return self.apply(first) };
        self.apply_ops([first, second].into_iter().chain(std::iter::from_fn(next)));
    }

    /// Applies these operations, all of them puts of tagged values. Every reader sees all of them or none.
    pub(crate) fn apply_tagged(&self, ops: &[(&[u8], Vec<u8>)]) {
        self.apply_ops(ops.iter().map(|(key, value)| OpRef { key, value: Some(value) }));
    }

    fn apply_ops<'a>(&self, ops: impl Iterator<Item = OpRef<'a>>) {
        let ops: Vec<_> = ops.map(|op| (self.hasher.hash(op.key), op)).collect();
        let mut guards: [Option<Writing<'_>>; SHARDS] = [const { None }; SHARDS];
        let mut touched = [false; SHARDS];
        ops.iter().for_each(|(hash, _)| touched[hash.shard()] = true);
        for shard in (0..SHARDS).filter(|&shard| touched[shard]) {
            guards[shard] = Some(self.write(shard)); // always in this order, so that two writers cannot deadlock
        }
        for (hash, op) in ops {
            guards[hash.shard()].as_mut().expect("locked above").apply(hash, op.key, op.value);
        }
    }

    /// Every key, in order.
    pub(crate) fn sorted_keys(&self) -> Vec<Key> {
        let mut keys: Vec<Key> = self.all().flat_map(|shard| shard.keys()).collect();
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

    /// Some entries, in order.
    pub(crate) fn some(&self, request: &Request<'_>) -> Chunk<Value> {
        let mut chunk = Chunk::default();
        if request.keys.is_empty() {
            return chunk; // for an empty range the set of keys panics
        }
        let mut order = self.order.lock().unwrap_or_else(PoisonError::into_inner);
        let mut keys = self.in_order(&mut order).range::<[u8], _>((request.keys.low, request.keys.high));
        while let Some(key) = if request.backward { keys.next_back() } else { keys.next() } {
            // A key may have been deleted since the order was brought up to date.
            let Some(value) = self.get(key) else { continue };
            let value_len = value.len();
            if chunk.add(key.clone(), value, value_len, request.most) {
                break;
            }
        }
        chunk
    }

    /// Brings the order up to date.
    fn in_order<'a>(&self, order: &'a mut Option<BTreeSet<Key>>) -> &'a BTreeSet<Key> {
        let is_current = order.as_mut().is_some_and(|keys| (0..SHARDS).all(|shard| self.catch_up(shard, keys)));
        if !is_current {
            let listed = |shard: usize| {
                let mut shard = self.write(shard);
                *shard.changes() = KeyChanges::Recorded(Vec::new());
                shard.keys()
            };
            *order = Some((0..SHARDS).flat_map(listed).collect());
        }
        order.as_ref().expect("just made")
    }

    /// Applies to `keys` the keys that came and went in one shard. `false`: they were not recorded.
    fn catch_up(&self, shard: usize, keys: &mut BTreeSet<Key>) -> bool {
        if matches!(self.read(shard).changes(), KeyChanges::Recorded(changes) if changes.is_empty()) {
            return true;
        }
        let changes = std::mem::replace(self.write(shard).changes(), KeyChanges::Recorded(Vec::new()));
        let KeyChanges::Recorded(changes) = changes else { return false };
        for (key, added) in changes {
            if added {
                keys.insert(key)
            } else {
                keys.remove(&key)
            };
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Interval, Most, Op, State};
    use super::*;
    use proptest::prelude::*;
    use std::ops::Bound;

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

        /// The map holds the same entries as the simple ordered one, in the same order. Scans in between change
        /// nothing.
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
                    let all = Request { keys: Interval::ALL, backward: false, most: Most::entries(usize::MAX) };
                    let listed = map.some(&all).entries;
                    prop_assert!(listed.iter().map(|(key, value)| (&**key, value)).eq(state.range(Bound::Unbounded)));
                }
            }
            prop_assert_eq!(map.len(), state.len());
            prop_assert_eq!(map.data_bytes(), state.data_bytes());
            prop_assert_eq!(map.digest(), state.digest());
        }
    }

    /// Values of changing lengths leave dead bytes, which are used again.
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

    /// Short-lived entries lie between lasting ones, so no block is dead as a whole: the lasting entries are moved.
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

    /// The writer overwrites in place and elsewhere, moves other entries, splits buckets, and deletes. A reader always
    /// sees one whole value as it was written, and always finds a key that always has a value.
    #[test]
    fn readers_beside_a_writer_see_whole_values() {
        const KEYS: u32 = 2000;
        const WRITES: u32 = 150_000;
        fn value(byte: u8) -> Vec<u8> {
            let len = if byte.is_multiple_of(32) { 1500 } else { 1 + usize::from(byte % 8) * 40 };
            vec![byte; len]
        }
        fn mixed(n: u32) -> u32 {
            (n ^ n >> 15).wrapping_mul(0x2c1b_3c6d)
        }
        let map = Map::default();
        let lasts = |n: u32| n.is_multiple_of(2);
        (0..KEYS).for_each(|n| map.apply(OpRef { key: &n.to_be_bytes(), value: Some(&value(7)) }));
        let is_over = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for reader in 0..2 {
                let (map, is_over) = (&map, &is_over);
                scope.spawn(move || {
                    let mut n = reader;
                    while !is_over.load(std::sync::atomic::Ordering::Relaxed) {
                        n = mixed(n + 1);
                        let key = n % KEYS;
                        let check = |key: u32, seen: Option<&[u8]>| {
                            assert!(seen.is_some() || !lasts(key), "key {key} is always there");
                            assert!(seen.is_none_or(|seen| seen.first().is_some_and(|&byte| seen == value(byte))), "torn");
                        };
                        match n % 4 {
                            0 => check(key, map.get(&key.to_be_bytes()).as_deref()),
                            1 => {
                                let many: [u32; 10] = std::array::from_fn(|i| mixed(n + i as u32) % KEYS);
                                map.with_many(&many.map(u32::to_be_bytes), |at, seen| check(many[at], seen));
                            }
                            _ => check(key, map.with(&key.to_be_bytes(), <[u8]>::to_vec).as_deref()),
                        }
                    }
                });
            }
            for n in 0..WRITES {
                let key = mixed(n) % KEYS;
                let bytes = value((mixed(n) >> 24) as u8);
                let value = (lasts(key) || n % 5 != 0).then_some(&bytes[..]);
                map.apply(OpRef { key: &key.to_be_bytes(), value });
                map.apply(OpRef { key: &(KEYS + n).to_be_bytes(), value: Some(&bytes) });
                if n >= KEYS {
                    map.apply(OpRef { key: &n.to_be_bytes(), value: None });
                }
            }
            is_over.store(true, std::sync::atomic::Ordering::Relaxed);
        });
    }

    /// Two maps do not share their random numbers.
    #[test]
    fn keys_that_collide_in_one_map_do_not_in_another() {
        let (one, other) = (KeyHasher::default(), KeyHasher::default());
        let half = |hasher: &KeyHasher, n: u32| hasher.hash(&n.to_be_bytes()).half() >> 16;
        let together: Vec<u32> = (0..1_000_000).filter(|&n| half(&one, n) == half(&one, 0)).collect();
        assert!(together.len() > 5);
        assert!(together[1..].iter().any(|&n| half(&other, n) != half(&other, 0)));
    }
}

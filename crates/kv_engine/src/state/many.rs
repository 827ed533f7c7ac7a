//! [`Map::with_many`]: several lookups whose cache misses overlap.
//!
//! A lookup of a random key waits for memory twice: for a line of the index, and then for the entry. The second wait
//! cannot begin before the first one ends. But the waits of different keys can overlap, if there are few instructions
//! between the reads. So the keys are taken in groups. For each group:
//!
//! 1. Hash each key. Note the version of its shard, and find its line of the index.
//! 2. Read one word of each line. No read needs the result of another one, so the processor waits for all at once.
//! 3. Find in each line the first entry that has the hash of the key.
//! 4. Read one word of each cache line of these entries. Again the processor waits for all at once.
//! 5. For one key after the other: compare the key, copy the value, check that the version is still that of step 1, and
//!    hand the value over.
//!
//! - A value from step 5 counts only if the version is the same. No write to the shard came in between, so the value is
//!   the one that a lookup at the time of the check finds. So the results are those of single lookups, one after the
//!   other.
//! - Steps 1 to 4 never decide that a key is absent. In every other case the key is looked up again, by itself: if it
//!   is not in the first line, if the entry is another key's or a long one, or if a thread writes.

use super::key_hash::KeyHash;
use super::map::Map;
use super::shard::Begun;
use std::hint::black_box;

/// The most keys in a group. The entries of a group fit into the smallest cache of the processor.
const GROUP: usize = 64;

impl Map {
    /// Calls `see` with the position and the value of each key, in their order. No lock is held while it runs.
    pub(crate) fn with_many<K: AsRef<[u8]>>(&self, keys: &[K], mut see: impl FnMut(usize, Option<&[u8]>)) {
        let mut first = 0;
        for group in groups(keys) {
            self.with_group(group, |at, value| see(first + at, value));
            first += group.len();
        }
    }

    fn with_group<K: AsRef<[u8]>>(&self, keys: &[K], mut see: impl FnMut(usize, Option<&[u8]>)) {
        let mut hashes = [KeyHash { hash: 0, hasher: &self.hasher }; GROUP];
        let mut begun = [None; GROUP];
        for ((key, hash), begun) in keys.iter().zip(&mut hashes).zip(&mut begun) {
            *hash = self.hasher.hash(key.as_ref());
            *begun = self.shard(*hash).begin_find(hash.half());
        }
        let begun = &begun[..keys.len()];
        // The compiler must not leave out the reads, although nothing needs the words.
        black_box(begun.iter().flatten().fold(0, |words, begun| words ^ begun.touch()));

        let mut candidates = [None; GROUP];
        for (begun, candidate) in begun.iter().zip(&mut candidates) {
            *candidate = begun.as_ref().and_then(Begun::candidate);
        }
        let candidates = &candidates[..keys.len()];
        black_box(candidates.iter().flatten().fold(0, |words, candidate| words ^ candidate.touch()));

        for (at, ((key, hash), candidate)) in keys.iter().zip(hashes).zip(candidates).enumerate() {
            let key = key.as_ref();
            let seen = candidate.and_then(|candidate| candidate.with(key, |value| see(at, Some(value))));
            if seen.or_else(|| self.shard(hash).find(hash.half(), key, |found| see(at, Some(found.bytes())))).is_none() {
                see(at, None);
            }
        }
    }
}

/// Splits the keys into as few groups as possible, of about the same length: few reads of a short group would overlap.
fn groups<K>(keys: &[K]) -> impl Iterator<Item = &[K]> {
    let groups = keys.len().div_ceil(GROUP).max(1);
    keys.chunks(keys.len().div_ceil(groups).max(1))
}

#[cfg(test)]
mod tests {
    use super::super::key_hash::KeyHasher;
    use super::super::{Op, OpRef};
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    /// The values, by position. Each position must come once, and in order.
    fn found<K: AsRef<[u8]>>(map: &Map, keys: &[K]) -> Vec<Option<Vec<u8>>> {
        let mut found = Vec::new();
        map.with_many(keys, |at, value| {
            assert_eq!(at, found.len());
            found.push(value.map(<[u8]>::to_vec));
        });
        found
    }

    fn one_by_one<K: AsRef<[u8]>>(map: &Map, keys: &[K]) -> Vec<Option<Vec<u8>>> {
        keys.iter().map(|key| map.get(key.as_ref()).map(|value| value.to_vec())).collect()
    }

    fn put(map: &Map, key: &[u8], value: &[u8]) {
        map.apply(OpRef { key, value: Some(value) });
    }

    /// Keys of all kinds: the empty one, which no entry has, short ones, and ones that are too long for the arena.
    fn key() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            1 => Just(Vec::new()),
            20 => (0..200_u8).prop_map(|n| vec![n]),
            20 => (0..200_u8, 2..40_usize).prop_map(|(n, len)| vec![n; len]),
            2 => (0..5_u8).prop_map(|n| vec![n; 1019]),
            2 => (0..5_u8).prop_map(|n| vec![n; 60_000]),
        ]
    }

    fn op() -> impl Strategy<Value = Op> {
        let len = prop_oneof![8 => 0..200_usize, 1 => 900..1100_usize, 1 => Just(5000_usize)];
        (key(), any::<u8>(), proptest::option::weighted(0.8, len)).prop_map(|(mut key, byte, len)| {
            key.push(byte % 2);
            len.map_or_else(|| Op::delete(&key), |len| Op::put(&key, &vec![byte; len]))
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]

        /// Lists of any length, with keys that are there, that are not, and that come twice.
        #[test]
        fn many_keys_have_the_values_that_each_of_them_has(
            ops in proptest::collection::vec(op(), 0..400),
            others in proptest::collection::vec(key(), 0..50),
            picks in proptest::collection::vec(any::<prop::sample::Index>(), 0..4 * GROUP),
        ) {
            let map = Map::default();
            ops.iter().for_each(|op| map.apply(op.as_ref()));
            let known: Vec<Vec<u8>> = ops.iter().map(|op| op.key.to_vec()).chain(others).collect();
            let picks = if known.is_empty() { &[] } else { &picks[..] };
            let keys: Vec<&Vec<u8>> = picks.iter().map(|pick| pick.get(&known)).collect();
            prop_assert_eq!(found(&map, &keys), one_by_one(&map, &keys));
        }
    }

    #[test]
    fn groups_are_few_and_not_too_long() {
        for len in 0..10 * GROUP {
            let keys: Vec<usize> = (0..len).collect();
            let groups: Vec<&[usize]> = groups(&keys).collect();
            assert_eq!(groups.concat(), keys);
            assert_eq!(groups.len(), len.div_ceil(GROUP));
            let longest = groups.iter().map(|group| group.len()).max().unwrap_or(0);
            assert!(longest <= GROUP);
            assert!(groups.iter().all(|group| group.len() + groups.len() > longest), "of about the same length");
        }
    }

    /// So many keys that most buckets have been split, and some go on in another line.
    #[test]
    fn every_key_of_a_large_map_is_found() {
        let map = Map::default();
        let keys: Vec<[u8; 4]> = (0..30_000_u32).map(u32::to_be_bytes).collect();
        keys.iter().for_each(|key| put(&map, key, key));
        assert!(found(&map, &keys).iter().zip(&keys).all(|(found, key)| found.as_deref() == Some(&key[..])));
        let absent: Vec<[u8; 4]> = (30_000..60_000_u32).map(u32::to_be_bytes).collect();
        assert!(found(&map, &absent).iter().all(Option::is_none));
    }

    /// Two keys with the same hash, as far as the index and the choice of the shard see it.
    fn twins(hasher: &KeyHasher) -> [[u8; 8]; 2] {
        let mut seen: HashMap<(usize, u32), u64> = HashMap::new();
        let mut key = |n: u64| {
            let hash = hasher.hash(&n.to_be_bytes());
            seen.insert((hash.shard(), hash.half()), n).map(|other| [n, other].map(u64::to_be_bytes))
        };
        (0..).find_map(&mut key).expect("there are only 2^38 hashes")
    }

    #[test]
    fn entries_of_one_hash_are_told_apart_by_their_keys() {
        let map = Map::default();
        let [one, other] = twins(&map.hasher);
        let value = |text: &str| Some(text.as_bytes().to_vec());
        put(&map, &one, b"one");
        assert_eq!(found(&map, &[one, other, one]), [value("one"), None, value("one")]);
        put(&map, &other, b"other");
        assert_eq!(found(&map, &[other, one]), [value("other"), value("one")]);
        map.apply(OpRef { key: &one, value: None });
        assert_eq!(found(&map, &[one, other]), [None, value("other")]);
    }

    /// The group is looked up in steps. A write in the middle of it may overwrite an entry, move it, remove it, and
    /// split its bucket. The next positions must see the state after the write.
    #[test]
    fn positions_behind_a_write_see_it() {
        let keys: Vec<[u8; 4]> = (0..GROUP as u32).map(u32::to_be_bytes).collect();
        let writes: [(&str, Option<Vec<u8>>, u32); 5] = [
            ("overwritten in place", Some(vec![b'n'; 50]), 0),
            ("another length", Some(vec![b'n'; 90]), 0),
            ("too long for the arena", Some(vec![b'n'; 5000]), 0),
            ("removed", None, 0),
            ("among many new keys", Some(vec![b'n'; 90]), 3000),
        ];
        for (what, new, others) in writes {
            let map = Map::default();
            keys.iter().for_each(|key| put(&map, key, &[b'o'; 50]));
            map.with_many(&keys, |at, value| {
                let right = if at == 0 { Some(&[b'o'; 50][..]) } else { new.as_deref() };
                assert_eq!(value, right, "{what}, position {at}");
                if at == 0 {
                    keys.iter().for_each(|key| map.apply(OpRef { key, value: new.as_deref() }));
                    (0..others).for_each(|n| put(&map, &(1_000_000 + n).to_be_bytes(), b"another key"));
                }
            });
        }
    }

    /// Emptied blocks are filled again, so the memory of an entry may hold another key's by the time it is read.
    #[test]
    fn memory_that_was_used_again_is_not_taken_for_the_entry() {
        let map = Map::default();
        let keys: Vec<[u8; 4]> = (0..GROUP as u32).map(u32::to_be_bytes).collect();
        keys.iter().for_each(|key| put(&map, key, &[key[3]; 40]));
        map.with_many(&keys, |at, value| {
            let new = 100 + at.min(1) * 20;
            assert_eq!(value, Some(&vec![keys[at][3]; if at == 0 { 40 } else { new }][..]), "position {at}");
            if at == 0 {
                for round in (0..60).chain([20]) {
                    (0..3000_u32).for_each(|n| {
                        let key = n.to_be_bytes();
                        put(&map, &key, &vec![key[3]; 100 + round]);
                    });
                }
            }
        });
    }
}

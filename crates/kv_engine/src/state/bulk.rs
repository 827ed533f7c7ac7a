//! Fills a map that no other thread sees yet, by several threads without a lock: each has shards of its own.

use super::OpRef;
use super::key_hash::{KeyHash, KeyHasher, SHARDS};
use super::map::{Aligned, Map};

/// Says which part of a map a key belongs to.
pub(crate) struct Router<'a> {
    hasher: &'a KeyHasher,
    parts: usize,
}

/// Some of the shards of a map.
pub(crate) struct Part<'a> {
    hasher: &'a KeyHasher,
    shards: &'a mut [Aligned],
    first: usize,
}

impl Map {
    /// Splits the map into parts. A key always belongs to the same part.
    pub(crate) fn split(&mut self, parts: usize) -> (Router<'_>, Vec<Part<'_>>) {
        assert!((1..=SHARDS).contains(&parts), "{parts} parts of {SHARDS} shards");
        let Map { hasher, shards, .. } = self;
        let hasher = &*hasher;
        let mut rest = &mut shards[..];
        let mut cut = |part: usize| {
            let (first, end) = (first_of(part, parts), first_of(part + 1, parts));
            let (shards, others) = std::mem::take(&mut rest).split_at_mut(end - first);
            rest = others;
            Part { hasher, shards, first }
        };
        (Router { hasher, parts }, (0..parts).map(&mut cut).collect())
    }
}

/// The first shard of a part.
fn first_of(part: usize, parts: usize) -> usize {
    (part * SHARDS).div_ceil(parts)
}

impl Router<'_> {
    /// The hash of a key, and the number of the part that it belongs to.
    pub(crate) fn route(&self, key: &[u8]) -> (u64, usize) {
        let hash = self.hasher.hash(key);
        (hash.hash, hash.shard() * self.parts / SHARDS)
    }
}

impl Part<'_> {
    /// Keys and values together.
    pub(crate) fn data_bytes(&self) -> u64 {
        self.shards.iter().map(|shard| shard.0.read().data_bytes()).sum()
    }

    /// Applies one operation, whose key has this hash.
    pub(crate) fn apply(&mut self, hash: u64, op: OpRef<'_>) {
        let hash = KeyHash { hash, hasher: self.hasher };
        self.shards[hash.shard() - self.first].0.apply_alone(hash, op.key, op.value);
    }
}

#[cfg(test)]
mod tests {
    use super::super::State;
    use super::*;

    #[test]
    fn every_shard_is_in_one_part_and_the_router_knows_which() {
        for parts in 1..=SHARDS {
            let (mut map, mut state) = (Map::default(), State::default());
            let (router, mut all) = map.split(parts);
            for n in 0..500_u32 {
                let key = (n % 300).to_be_bytes();
                let op = OpRef { key: &key, value: (n % 7 != 0).then_some(&[7; 50]) };
                let (hash, part) = router.route(&key);
                all[part].apply(hash, op);
                state.apply(op.to_op());
            }
            assert_eq!((map.len(), map.digest()), (state.len(), state.digest()), "{parts} parts");
        }
    }
}

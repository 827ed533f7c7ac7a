//! [`KeyHasher`]: hashes keys, and says which shard a key belongs to.
//!
//! The hash is foldhash with two random numbers, new for each map and seeded by the system's randomness. So nobody can
//! choose keys in advance that fall into one shard or one chain. An attacker who measures the time of many lookups
//! could learn the numbers. SipHash would prevent that too, but it costs two hundred instructions for each key, and a
//! lookup of a random key then takes three times as long.

use foldhash::SharedSeed;
use foldhash::quality::FoldHasher;
use std::fmt;
use std::hash::{BuildHasher, Hasher as _, RandomState};

pub(super) const SHARDS: usize = 64;
/// The bits of a hash from here on choose the shard. The shard's index uses the lower half.
const SHARD_SHIFT: u32 = 40;

/// The two random numbers of a map.
pub(super) struct KeyHasher {
    seed: u64,
    shared: SharedSeed,
}

impl Default for KeyHasher {
    fn default() -> KeyHasher {
        let random = RandomState::new();
        KeyHasher { seed: random.hash_one(0), shared: SharedSeed::from_u64(random.hash_one(1)) }
    }
}

impl fmt::Debug for KeyHasher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyHasher(secret)")
    }
}

impl KeyHasher {
    #[inline]
    pub(super) fn hash(&self, key: &[u8]) -> KeyHash<'_> {
        let mut hasher = FoldHasher::with_seed(self.seed, &self.shared);
        hasher.write(key);
        KeyHash { hash: hasher.finish(), hasher: self }
    }
}

/// The hash of a key, and the hasher that made it.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyHash<'a> {
    pub(super) hash: u64,
    pub(super) hasher: &'a KeyHasher,
}

impl KeyHash<'_> {
    #[inline]
    pub(super) fn shard(self) -> usize {
        (self.hash >> SHARD_SHIFT) as usize % SHARDS
    }

    /// The lower half.
    #[inline]
    pub(super) fn half(self) -> u32 {
        self.hash as u32
    }

    /// The hash of another key.
    pub(super) fn of_other(&self, key: &[u8]) -> KeyHash<'_> {
        self.hasher.hash(key)
    }
}

//! Chooses the key of each operation and whether it is a GET, and makes the bytes of keys and values.
//!
//! The number of the thread is the seed, so two runs of the same command do the same work.

use super::options::{Bench, Dist};
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Zipf};
use std::io;

/// As in the YCSB benchmark.
const ZIPF_EXPONENT: f64 = 0.99;
/// Without `--keys`, at most this much data is put before GETs.
const STORED_BYTES: u64 = 256 << 20;
const PUT_KEYS: u64 = 1_000_000;
const STORED_KEYS: u64 = 100_000;

/// Draws the operations of one thread.
pub(super) struct Draw {
    rng: SmallRng,
    keys: u64,
    zipf: Option<Zipf<f64>>,
    /// Has no divisor in common with `keys`. It spreads the popular keys over the others.
    step: u64,
    gets_percent: u64,
}

/// One operation.
#[derive(Clone, Copy, Default)]
pub(super) struct Op {
    pub(super) key: u64,
    pub(super) get: bool,
}

/// How many different keys there are.
pub(super) fn count(bench: &Bench) -> u64 {
    let entry = (bench.key_bytes + bench.value_bytes) as u64;
    let usual = if bench.gets_percent > 0 { STORED_KEYS } else { PUT_KEYS };
    bench.keys.unwrap_or(usual.min(STORED_BYTES / entry).max(1))
}

impl Draw {
    pub(super) fn new(bench: &Bench, seed: u64) -> Draw {
        let keys = count(bench);
        let zipf = || Zipf::new(keys as f64, ZIPF_EXPONENT).expect("at least one key, and a finite exponent");
        Draw {
            rng: SmallRng::seed_from_u64(seed),
            keys,
            zipf: (bench.dist == Dist::Zipfian).then(zipf),
            step: [7919, 7927, 7933].into_iter().find(|prime| !keys.is_multiple_of(*prime)).unwrap_or(1),
            gets_percent: bench.gets_percent,
        }
    }

    pub(super) fn next(&mut self) -> Op {
        let key = match &self.zipf {
            None => self.rng.random_range(0..self.keys),
            // The first rank is 1.
            Some(zipf) => (zipf.sample(&mut self.rng) as u64 - 1) % self.keys * self.step % self.keys,
        };
        Op { key, get: self.rng.random_range(0..100) < self.gets_percent }
    }
}

/// The bytes of the keys: `bench-` if there is room, and a number with leading zeros.
#[derive(Clone)]
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn new(bytes: usize) -> Key {
        let mut key = vec![b'0'; bytes];
        if let Some(name) = key.get_mut(..6).filter(|_| bytes >= 16) {
            name.copy_from_slice(b"bench-");
        }
        Key(key)
    }

    /// One with this prefix before it.
    pub(super) fn behind(prefix: &[u8], bytes: usize) -> Key {
        Key([prefix, &Key::new(bytes).0].concat())
    }

    pub(super) fn of(&mut self, mut number: u64) -> &[u8] {
        for digit in self.0.iter_mut().rev().take(10) {
            *digit = b'0' + (number % 10) as u8;
            number /= 10;
        }
        &self.0
    }
}

/// Random bytes, which no file system can compress.
pub(super) fn value(bytes: usize) -> io::Result<Vec<u8>> {
    let mut value = super::floor::filled(0, bytes)?;
    let mut rng = SmallRng::seed_from_u64(0);
    rng.fill(&mut value[..]);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::{Command, parse};
    use std::collections::{HashMap, HashSet};

    fn bench(line: &str) -> Bench {
        match parse(line.as_bytes()) {
            Ok(Some(Command::Bench(bench))) => *bench.0,
            other => panic!("{other:?}"),
        }
    }

    fn draws(line: &str, seed: u64) -> Vec<Op> {
        let mut draw = Draw::new(&bench(line), seed);
        (0..20_000).map(|_| draw.next()).collect()
    }

    #[test]
    fn keys_have_their_length_and_differ() {
        assert_eq!(Key::new(16).of(7919), b"bench-0000007919");
        assert_eq!(Key::new(10).of(12), b"0000000012");
        assert_eq!(Key::new(20).of(0), b"bench-00000000000000");
        let mut key = Key::new(16);
        assert_eq!((0..5000).map(|n| key.of(n).to_vec()).collect::<HashSet<_>>().len(), 5000);
    }

    #[test]
    fn the_share_of_gets_is_right() {
        let gets = |line: &str| draws(line, 1).iter().filter(|op| op.get).count();
        assert_eq!((gets("BENCH 1"), gets("BENCH 1 --ops gets")), (0, 20_000));
        assert!((17_500..18_500).contains(&gets("BENCH 1 --ops mixed:90")));
    }

    #[test]
    fn uniform_uses_all_keys_equally_and_zipfian_a_few_often() {
        let counts = |line: &str| {
            let mut counts = HashMap::<u64, u64>::new();
            draws(line, 7).iter().for_each(|op| *counts.entry(op.key).or_default() += 1);
            counts
        };
        let uniform = counts("BENCH 1 --keys 100");
        assert!(uniform.len() == 100 && uniform.values().all(|n| (120..300).contains(n)), "200 of each are expected");
        // The harmonic sum of 1/r^0.99 over 100 keys is 5.29: the first key takes 19 % of the draws.
        let zipfian = counts("BENCH 1 --keys 100 --dist zipfian");
        assert!((3_400..4_200).contains(zipfian.values().max().expect("some")), "{zipfian:?}");
        assert!(zipfian.keys().all(|key| *key < 100) && zipfian.len() > 90);
    }

    #[test]
    fn the_same_command_does_the_same_work_and_threads_differ() {
        let keys = |seed| draws("BENCH 1 --keys 1000", seed).iter().map(|op| op.key).collect::<Vec<_>>();
        assert_eq!(keys(1), keys(1));
        assert_ne!(keys(1), keys(2));
    }

    #[test]
    fn the_data_put_before_gets_has_a_bound() {
        assert_eq!(count(&bench("BENCH 1")), 1_000_000);
        assert_eq!(count(&bench("BENCH 1 --ops gets")), 100_000);
        assert_eq!(count(&bench("BENCH 1 --ops gets --value-bytes 16777216")), 15);
        assert_eq!(count(&bench("BENCH 1 --ops gets --keys 3")), 3);
    }
}

//! [`Delta`]: the last operation on each key in a log, in key order.
//!
//! The writes are stored one after another in one allocation, as they came. Their places are sorted once, by eight
//! bytes of the key: the eight after the prefix that all keys have in common. If these are equal, the whole keys are
//! compared.
//!
//! So a log of a million writes needs two large allocations, which return to the system when they are freed, and not
//! millions of small ones, which may not. And the sort rarely reads a key, which would be a cache miss.

use crate::memory;
use crate::state::{self, OpRef};
use std::hint::black_box;

#[derive(Debug, Default)]
pub(super) struct Delta {
    bytes: Vec<u8>,
    places: Vec<Place>,
    /// The first key.
    first: Vec<u8>,
    /// The length of the prefix that all keys have in common with it.
    common: usize,
    /// The number of places that were made when the common prefix was longer.
    stale: usize,
}

/// The place of an operation. Places are ordered by key, and those of one key with the last operation first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place(u128);

impl Place {
    fn new(prefix: u64, at: usize) -> Place {
        Place(u128::from(prefix) << 64 | u128::from(!(at as u64)))
    }

    fn prefix(self) -> u64 {
        (self.0 >> 64) as u64
    }

    fn at(self) -> usize {
        !(self.0 as u64) as usize
    }
}

/// The length of a usual write.
const USUAL_BYTES: usize = 64;

impl Delta {
    /// For writes with this total length.
    pub(super) fn with_capacity(bytes: usize) -> Delta {
        let places = memory::room(bytes / USUAL_BYTES);
        Delta { bytes: memory::room(bytes), places, ..Delta::default() }
    }

    /// Adds a write. `None`: its content is not possible.
    pub(super) fn add(&mut self, body: &[u8]) -> Option<()> {
        if body.is_empty() {
            return None;
        }
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(body);
        let mut rest = body;
        while !rest.is_empty() {
            let at = begin + (body.len() - rest.len());
            let key = state::decode_one(&mut rest)?.key;
            if !key.starts_with(&self.first[..self.common]) || self.places.is_empty() {
                self.learn(key);
            }
            self.places.push(Place::new(prefix(&key[self.common..]), at));
        }
        Some(())
    }

    /// Notes a key with a shorter common prefix than the keys before.
    fn learn(&mut self, key: &[u8]) {
        if self.places.is_empty() {
            self.first = key.to_vec();
        }
        self.common = self.first.iter().zip(key).take_while(|(a, b)| a == b).count();
        self.stale = self.places.len();
    }

    /// The last operation on each key, in key order.
    pub(super) fn sorted(&mut self) -> Sorted<'_> {
        let (bytes, common) = (&self.bytes[..], self.common);
        for place in &mut self.places[..self.stale] {
            *place = Place::new(prefix(&op(bytes, *place).key[common..]), place.at());
        }
        let key = |place: &Place| op(bytes, *place).key;
        self.places.sort_unstable();
        for same in self.places.chunk_by_mut(|a, b| a.prefix() == b.prefix()).filter(|same| same.len() > 1) {
            same.sort_unstable_by(|a, b| key(a).cmp(key(b)).then(a.cmp(b)));
        }
        self.places.dedup_by(|later, kept| later.prefix() == kept.prefix() && key(later) == key(kept));
        Sorted { bytes, left: &self.places, touched: 0 }
    }
}

fn op(bytes: &[u8], place: Place) -> OpRef<'_> {
    state::decode_one(&mut &bytes[place.at()..]).expect("it was decoded before")
}

/// The first eight bytes of a key as a number with the same order.
fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = key.len().min(first.len());
    first[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(first)
}

/// The last operation on each key, in key order.
#[derive(Debug)]
pub(super) struct Sorted<'a> {
    bytes: &'a [u8],
    left: &'a [Place],
    /// The number of next places whose bytes have been requested into the cache.
    touched: usize,
}

impl Sorted<'_> {
    /// Reads a byte of each of the next operations, all at once. So their cache misses overlap. If each was read only
    /// in its turn, the processor would wait for one miss after the other.
    fn touch(&mut self) {
        const TOUCHED: usize = 32;
        const LINE_BYTES: usize = 64;
        const LINES: usize = 3;
        let next = &self.left[..self.left.len().min(TOUCHED)];
        let line = |place: &Place, n: usize| self.bytes.get(place.at() + n * LINE_BYTES).copied().unwrap_or_default();
        black_box(next.iter().map(|place| (0..LINES).fold(0, |sum, n| sum ^ line(place, n))).fold(0, |sum, byte| sum ^ byte));
        self.touched = next.len();
    }
}

impl<'a> Iterator for Sorted<'a> {
    type Item = OpRef<'a>;

    fn next(&mut self) -> Option<OpRef<'a>> {
        if self.touched == 0 {
            self.touch();
        }
        let (first, left) = self.left.split_first()?;
        self.left = left;
        self.touched -= 1;
        Some(op(self.bytes, *first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// The result is the same as with an ordered map.
        #[test]
        fn the_last_operation_on_each_key_in_order(
            ops in proptest::collection::vec(("(common ){0,2}[\0a]{1,10}", proptest::option::of(".{0,3}")), 0..200),
            capacity in 0..2_usize << 20,
        ) {
            let (mut delta, mut map) = (Delta::with_capacity(capacity), BTreeMap::new());
            for write in ops.chunks(3) {
                let mut body = Vec::new();
                for (key, value) in write {
                    let op = OpRef { key: key.as_bytes(), value: value.as_ref().map(String::as_bytes) };
                    op.encode(&mut body);
                    map.insert(op.key, op.value);
                }
                prop_assert_eq!(delta.add(&body), Some(()));
            }
            let sorted: Vec<_> = delta.sorted().map(|op| (op.key, op.value)).collect();
            prop_assert_eq!(sorted, map.into_iter().collect::<Vec<_>>());
        }
    }

    #[test]
    fn a_write_with_impossible_content_is_refused() {
        for body in [&b""[..], b"\x03\x01\0\0\0k", b"\x02\x01\0\0\0k\x02"] {
            assert_eq!(Delta::default().add(body), None, "{}", body.escape_ascii());
        }
    }

    /// Keys that differ only after the bytes in a place, and a key that is a prefix of others.
    #[test]
    fn keys_that_differ_late_are_in_order() {
        let mut delta = Delta::default();
        let keys = [&b"common and more than eight, b"[..], b"common and more than eight, a", b"common", b"common\0", b"commom"];
        for key in keys.iter().chain(&keys) {
            let mut body = Vec::new();
            OpRef { key, value: Some(b"v") }.encode(&mut body);
            assert_eq!(delta.add(&body), Some(()));
        }
        let mut expected = keys;
        expected.sort_unstable();
        assert!(delta.sorted().map(|op| op.key).eq(expected));
    }
}

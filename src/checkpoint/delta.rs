//! [`Delta`]: what a log says of each key that it touches, in key order, the last word only.
//!
//! The keys and values stand one behind another in one piece of memory, as they came, and an index of them is sorted
//! once. So a log of a million writes costs two large allocations, which go back to the system when they are
//! freed, instead of millions of small ones, which need not.

use crate::state::OpRef;

#[derive(Debug, Default)]
pub(super) struct Delta {
    bytes: Vec<u8>,
    index: Vec<Place>,
}

/// Where an operation stands.
#[derive(Clone, Copy, Debug)]
struct Place {
    /// The beginning of the key, as a number that orders as it does: most comparisons end here.
    prefix: u64,
    at: usize,
    key_len: u32,
    /// [`DELETED`] for a deletion.
    value_len: u32,
}

const DELETED: u32 = u32::MAX;

impl Delta {
    pub(super) fn add(&mut self, op: OpRef<'_>) {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("lengths are limited");
        let (at, value_len) = (self.bytes.len(), op.value.map_or(DELETED, len));
        self.index.push(Place { prefix: prefix(op.key), at, key_len: len(op.key), value_len });
        self.bytes.extend_from_slice(op.key);
        self.bytes.extend_from_slice(op.value.unwrap_or_default());
    }

    /// The last operation on each key, in key order.
    pub(super) fn sorted(&mut self) -> impl Iterator<Item = OpRef<'_>> {
        let bytes = &self.bytes;
        let key = |place: &Place| &bytes[place.at..][..place.key_len as usize];
        // Of one key the latest first, which `dedup_by` keeps.
        let order = |a: &Place, b: &Place| a.prefix.cmp(&b.prefix).then_with(|| key(a).cmp(key(b))).then(b.at.cmp(&a.at));
        self.index.sort_unstable_by(order);
        self.index.dedup_by(|later, kept| later.prefix == kept.prefix && key(later) == key(kept));
        self.index.iter().map(|place| {
            let (key, behind) = bytes[place.at..].split_at(place.key_len as usize);
            OpRef { key, value: (place.value_len != DELETED).then(|| &behind[..place.value_len as usize]) }
        })
    }
}

fn prefix(key: &[u8]) -> u64 {
    let mut first = [0; 8];
    let len = key.len().min(first.len());
    first[..len].copy_from_slice(&key[..len]);
    u64::from_be_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        /// As an ordered map would have it.
        #[test]
        fn the_last_word_on_each_key_in_order(
            ops in proptest::collection::vec(("[\0a]{1,10}", proptest::option::of(".{0,3}")), 0..200)
        ) {
            let (mut delta, mut map) = (Delta::default(), BTreeMap::new());
            for (key, value) in &ops {
                delta.add(OpRef { key: key.as_bytes(), value: value.as_ref().map(String::as_bytes) });
                map.insert(key.as_bytes(), value.as_ref().map(String::as_bytes));
            }
            let sorted: Vec<_> = delta.sorted().map(|op| (op.key, op.value)).collect();
            prop_assert_eq!(sorted, map.into_iter().collect::<Vec<_>>());
        }
    }
}

//! [`Interval`]: a range of keys. [`Request`]: some entries of it, from one of its ends on. [`Chunk`]: the answer.
//!
//! All that can be read in key order answers the same request: the map, the snapshot on the disk, and the views. A
//! chunk is limited in entries and in bytes, so a scan of any length needs little memory.

use super::Key;
use std::ops::Bound;

/// A range of keys. It is empty if the lower bound is above the upper one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Interval<'a> {
    pub(crate) low: Bound<&'a [u8]>,
    pub(crate) high: Bound<&'a [u8]>,
}

/// Some entries: those at the lower end of an interval, or backward those at the upper end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) keys: Interval<'a>,
    pub(crate) backward: bool,
    pub(crate) most: Most,
}

/// How long a chunk may become. It ends with the entry that reaches either number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) entries: usize,
    pub(crate) bytes: usize,
}

impl Most {
    /// Without a limit of the bytes.
    #[cfg(any(test, feature = "torture"))]
    pub(crate) fn entries(entries: usize) -> Most {
        Most { entries, bytes: usize::MAX }
    }
}

/// Entries in the order in which they were read.
#[derive(Debug)]
pub(crate) struct Chunk<V> {
    pub(crate) entries: Vec<(Key, V)>,
    /// Whether it ends because it is long enough. More entries may follow.
    pub(crate) is_cut: bool,
    bytes: usize,
}

impl<V> Default for Chunk<V> {
    fn default() -> Chunk<V> {
        Chunk { entries: Vec::new(), is_cut: false, bytes: 0 }
    }
}

impl<V> Chunk<V> {
    /// Adds an entry whose value has this length. Returns whether the chunk is long enough.
    pub(crate) fn add(&mut self, key: Key, value: V, value_len: usize, most: Most) -> bool {
        self.bytes += key.len() + value_len;
        self.entries.push((key, value));
        self.is_cut = self.entries.len() >= most.entries || self.bytes >= most.bytes;
        self.is_cut
    }

    /// The last key that was read, if more may follow.
    pub(crate) fn end(&self) -> Option<&Key> {
        self.entries.last().filter(|_| self.is_cut).map(|(key, _)| key)
    }

    pub(crate) fn map<W>(self, mut of: impl FnMut(V) -> W) -> Chunk<W> {
        let entries = self.entries.into_iter().map(|(key, value)| (key, of(value))).collect();
        Chunk { entries, is_cut: self.is_cut, bytes: self.bytes }
    }
}

impl Interval<'_> {
    pub(crate) const ALL: Interval<'static> = Interval { low: Bound::Unbounded, high: Bound::Unbounded };

    /// Whether no key can be in it.
    pub(crate) fn is_empty(&self) -> bool {
        match (self.low, self.high) {
            (Bound::Included(low), Bound::Included(high)) => low > high,
            (Bound::Included(low) | Bound::Excluded(low), Bound::Included(high) | Bound::Excluded(high)) => low >= high,
            _ => false,
        }
    }

    /// Whether `key` lies below the interval.
    pub(crate) fn is_below(&self, key: &[u8]) -> bool {
        match self.low {
            Bound::Included(low) => key < low,
            Bound::Excluded(low) => key <= low,
            Bound::Unbounded => false,
        }
    }

    /// Whether `key` lies above the interval.
    pub(crate) fn is_above(&self, key: &[u8]) -> bool {
        match self.high {
            Bound::Included(high) => key > high,
            Bound::Excluded(high) => key >= high,
            Bound::Unbounded => false,
        }
    }
}

/// The end of the interval of all keys that begin with `prefix`. The other end is `prefix` itself.
pub(crate) fn end_of_prefix(prefix: &[u8]) -> Bound<Key> {
    let Some(at) = prefix.iter().rposition(|&byte| byte != u8::MAX) else { return Bound::Unbounded };
    let mut end = prefix[..=at].to_vec();
    end[at] += 1;
    Bound::Excluded(end[..].into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_keys_of_a_prefix_are_those_from_it_to_its_end() {
        for prefix in [&b""[..], b"a", b"a\xff", b"\xff", b"\xff\xff", b"a\0", b"ab\xff\xff"] {
            let end = end_of_prefix(prefix);
            let keys = Interval { low: Bound::Included(prefix), high: end.as_ref().map(|key| &**key) };
            for key in
                [&b"a"[..], b"a\0", b"a\0b", b"a\xff", b"a\xff\xff", b"ab", b"ab\xff\xff\0", b"ac", b"b", b"\xff", b"\xff\xff"]
            {
                let inside = !keys.is_below(key) && !keys.is_above(key);
                assert_eq!(inside, key.starts_with(prefix), "{} {}", prefix.escape_ascii(), key.escape_ascii());
            }
        }
    }

    #[test]
    fn an_interval_is_empty_if_and_only_if_no_key_can_be_in_it() {
        let bounds = |key| [Bound::Included(key), Bound::Excluded(key), Bound::Unbounded];
        let keys = [&b"Z"[..], b"a", b"a\0", b"b", b"b\0"];
        for low in [&b"a"[..], b"b"].into_iter().flat_map(bounds) {
            for high in [&b"a"[..], b"b"].into_iter().flat_map(bounds) {
                let interval = Interval { low, high };
                let some = keys.iter().any(|key| !interval.is_below(key) && !interval.is_above(key));
                assert_eq!(interval.is_empty(), !some, "{interval:?}");
            }
        }
    }
}

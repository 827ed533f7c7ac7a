//! [`Scan`] and [`Keys`]: iterators in key order, from both ends, that do not lock the map between items.
//!
//! Entries are copied in chunks. `low` and `high` bound the keys that were not copied yet. A chunk from the front moves
//! `low` behind its last key, a chunk from the back moves `high`. So no entry comes twice, however calls of `next` and
//! `next_back` are mixed. When nothing is left between the two, each end goes on with the entries that the other end
//! has copied.

use super::open_view::Source;
use super::shared::Shared;
use crate::error::Result;
use crate::state::{Interval, Key, Most, Request, Value, end_of_prefix};
use std::iter::FusedIterator;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

/// The first chunk is short, for callers that want the first entries only. Each next one is twice as long.
const FIRST_CHUNK: usize = 8;
/// The number of entries that are copied at once, at most.
const ENTRIES_AT_ONCE: usize = 256;
/// No chunk goes on behind the entry that reaches this.
const BYTES_AT_ONCE: usize = 1 << 20;

/// Entries in key order, and with `.rev()` in reverse order; from [`Engine::scan`](crate::Engine::scan),
/// [`Engine::range`](crate::Engine::range), and the same calls of a [`View`](crate::View).
///
/// From an engine, this is not a consistent view: each entry was in the store when the iterator reached it, and writes
/// that come during the scan may be seen or not. A [`View`](crate::View) gives all entries as of one write. An entry
/// may not be durable yet.
///
/// The iterator never waits for a sync. It copies some entries at a time, at most 256, and after 1 MiB no more, so
/// memory does not depend on the length of the scan. It keeps the map in memory, but it does not keep the store open.
/// If values stay in the snapshot and a block of it cannot be read, the last item is an error.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// # engine.put("user:1", "Ada")?;
/// for entry in engine.scan("user:") {
///     let (key, value) = entry?;
///     engine.put([b"old:", &key[..]].concat(), value)?; // writing during a scan is fine
/// }
/// assert_eq!(engine.len(), 2);
/// let last = engine.scan("").next_back().expect("two entries")?;
/// assert_eq!(last.0, b"user:1");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "iterators do nothing unless they are used"]
pub struct Scan {
    source: Source,
    /// The keys that were not copied yet lie between these.
    low: Bound<Key>,
    high: Bound<Key>,
    /// Nothing is left between them.
    done: bool,
    /// Entries that were copied from the front and not returned yet.
    front: std::vec::IntoIter<(Key, Value)>,
    /// The same from the back, the last one first.
    back: std::vec::IntoIter<(Key, Value)>,
    chunk: usize,
}

impl Scan {
    pub(super) fn new(shared: Arc<Shared>, prefix: &[u8]) -> Scan {
        Scan::of_prefix(Source::Now(shared), prefix)
    }

    pub(super) fn of_prefix(source: Source, prefix: &[u8]) -> Scan {
        Scan::between(source, Bound::Included(prefix.into()), end_of_prefix(prefix))
    }

    pub(super) fn of_range<K: AsRef<[u8]>>(source: Source, bounds: &impl RangeBounds<K>) -> Scan {
        let key = |key: &K| Key::from(key.as_ref());
        Scan::between(source, bounds.start_bound().map(key), bounds.end_bound().map(key))
    }

    fn between(source: Source, low: Bound<Key>, high: Bound<Key>) -> Scan {
        let none = || Vec::new().into_iter();
        Scan { source, low, high, done: false, front: none(), back: none(), chunk: FIRST_CHUNK }
    }

    /// Copies the next entries from one end.
    fn fetch(&mut self, backward: bool) -> Result<()> {
        loop {
            let keys = Interval { low: self.low.as_ref().map(|key| &**key), high: self.high.as_ref().map(|key| &**key) };
            let most = Most { entries: self.chunk, bytes: BYTES_AT_ONCE };
            let found = self.source.some(&Request { keys, backward, most })?;
            self.chunk = ENTRIES_AT_ONCE.min(2 * self.chunk);
            match found.end {
                None => self.done = true,
                Some(end) if backward => self.high = Bound::Excluded(end),
                Some(end) => self.low = Bound::Excluded(end),
            }
            if !found.entries.is_empty() || self.done {
                *(if backward { &mut self.back } else { &mut self.front }) = found.entries.into_iter();
                return Ok(());
            }
        }
    }

    fn step(&mut self, backward: bool) -> Option<Result<(Key, Value)>> {
        let is_used_up = if backward { self.back.len() == 0 } else { self.front.len() == 0 };
        if is_used_up
            && !self.done
            && let Err(error) = self.fetch(backward)
        {
            self.done = true;
            (self.front, self.back) = (Vec::new().into_iter(), Vec::new().into_iter());
            return Some(Err(error));
        }
        let next = if backward {
            self.back.next().or_else(|| self.front.next_back())
        } else {
            self.front.next().or_else(|| self.back.next_back())
        };
        next.map(Ok)
    }
}

fn as_vec((key, value): (Key, Value)) -> (Vec<u8>, Value) {
    (key.to_vec(), value)
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step(false).map(|entry| entry.map(as_vec))
    }
}

impl DoubleEndedIterator for Scan {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.step(true).map(|entry| entry.map(as_vec))
    }
}

impl FusedIterator for Scan {}

/// Keys in order, and with `.rev()` in reverse order; from [`Engine::keys`](crate::Engine::keys) and
/// [`View::keys`](crate::View::keys). The notes on [`Scan`] hold here too.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// # engine.put("user:1", "Ada")?;
/// # engine.put("visitor:1", "Bob")?;
/// for key in engine.keys("visitor:") {
///     engine.delete(key?)?;
/// }
/// assert_eq!(engine.len(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "iterators do nothing unless they are used"]
pub struct Keys(pub(super) Scan);

impl Iterator for Keys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| entry.map(|(key, _)| key))
    }
}

impl DoubleEndedIterator for Keys {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.0.next_back().map(|entry| entry.map(|(key, _)| key))
    }
}

impl FusedIterator for Keys {}

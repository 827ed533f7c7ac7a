//! [`Scan`] and [`Keys`]: iterating in key order without holding the map.

use super::Shared;
use crate::error::Result;
use crate::state::Value;
use std::ops::Bound;
use std::sync::Arc;

/// So many entries are copied out of the map each time its lock is taken.
const ENTRIES_PER_LOCK: usize = 256;

/// Entries whose keys begin with a prefix, in key order; from [`Engine::scan`](crate::Engine::scan).
///
/// Not a frozen view: each entry is one that was there when the iterator came by. It never waits for
/// a sync, so an entry may not be durable yet. It keeps the map in memory, but not the store open. No
/// item is an error today.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// # engine.put("user:1", "Ada")?;
/// for entry in engine.scan("user:") {
///     let (key, value) = entry?;
///     engine.put([b"old:", &key[..]].concat(), value)?; // writing meanwhile is fine
/// }
/// assert_eq!(engine.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scan {
    shared: Arc<Shared>,
    prefix: Box<[u8]>,
    /// Entries that were copied out and not handed over, in order.
    ready: std::vec::IntoIter<(Vec<u8>, Value)>,
    /// The last key that was copied out.
    after: Option<Box<[u8]>>,
    done: bool,
}

impl Scan {
    pub(super) fn new(shared: Arc<Shared>, prefix: &[u8]) -> Scan {
        Scan { shared, prefix: prefix.into(), ready: Vec::new().into_iter(), after: None, done: false }
    }

    fn refill(&mut self) {
        let from = match &self.after {
            None => Bound::Included(&*self.prefix),
            Some(after) => Bound::Excluded(&**after),
        };
        let state = self.shared.state();
        let entries: Vec<_> = state
            .range(from)
            .take_while(|(key, _)| key.starts_with(&self.prefix))
            .take(ENTRIES_PER_LOCK)
            .map(|(key, value)| (key.to_vec(), value.clone()))
            .collect();
        drop(state);
        self.done = entries.len() < ENTRIES_PER_LOCK;
        if let Some((last, _)) = entries.last() {
            self.after = Some(last.as_slice().into());
        }
        self.ready = entries.into_iter();
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.len() == 0 && !self.done {
            self.refill();
        }
        self.ready.next().map(Ok)
    }
}

/// Keys that begin with a prefix, in key order; from [`Engine::keys`](crate::Engine::keys). What is
/// said of [`Scan`] holds here too.
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
#[derive(Debug)]
pub struct Keys(pub(super) Scan);

impl Iterator for Keys {
    type Item = Result<Vec<u8>>;

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|entry| entry.map(|(key, _)| key))
    }
}

//! [`Scan`] and [`Keys`]: iterators in key order that do not lock the map between items.

use super::shared::Shared;
use crate::error::Result;
use crate::state::{Key, Value};
use std::ops::Bound;
use std::sync::Arc;

/// The number of entries that are copied from the map at once.
const ENTRIES_AT_ONCE: usize = 256;

/// Entries whose keys begin with a prefix, in key order; from [`Engine::scan`](crate::Engine::scan).
///
/// This is not a consistent view: each entry was in the store when the iterator reached it. The iterator never waits
/// for a sync, so an entry may not be durable yet. It keeps the map in memory, but it does not keep the store open. If
/// values stay in the snapshot and a block of it cannot be read, the last item is an error.
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
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Scan {
    shared: Arc<Shared>,
    prefix: Box<[u8]>,
    /// Entries that were copied and not returned yet, in order.
    ready: std::vec::IntoIter<(Key, Value)>,
    /// The last key that was copied.
    after: Option<Box<[u8]>>,
    done: bool,
}

impl Scan {
    pub(super) fn new(shared: Arc<Shared>, prefix: &[u8]) -> Scan {
        Scan { shared, prefix: prefix.into(), ready: Vec::new().into_iter(), after: None, done: false }
    }

    fn refill(&mut self) -> Result<()> {
        let from = match &self.after {
            None => Bound::Included(&*self.prefix),
            Some(after) => Bound::Excluded(&**after),
        };
        let entries = self.shared.state.range(from, &self.prefix, ENTRIES_AT_ONCE).inspect_err(|_| self.done = true)?;
        self.done = entries.len() < ENTRIES_AT_ONCE;
        if let Some((last, _)) = entries.last() {
            self.after = Some((**last).into());
        }
        self.ready = entries.into_iter();
        Ok(())
    }
}

impl Iterator for Scan {
    type Item = Result<(Vec<u8>, Value)>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ready.len() == 0
            && !self.done
            && let Err(error) = self.refill()
        {
            return Some(Err(error));
        }
        self.ready.next().map(|(key, value)| Ok((key.to_vec(), value)))
    }
}

/// Keys that begin with a prefix, in key order; from [`Engine::keys`](crate::Engine::keys). The notes on [`Scan`] hold
/// here too.
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

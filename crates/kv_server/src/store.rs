//! [`Store`]: the engine as the server uses it. Errors become the words that clients read.

use crate::refusal::Refusal;
use kv_engine::{Batch, Engine, Error, Result, Submitted, Told};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A key that several places share.
pub(crate) type Key = Arc<[u8]>;

pub(crate) struct Store {
    pub(crate) engine: Engine,
    is_full: Arc<AtomicBool>,
}

/// Some keys of the store, in their order.
pub(crate) struct SomeKeys {
    pub(crate) keys: Vec<Vec<u8>>,
    /// The last key that was looked at, if there are more behind it.
    pub(crate) last: Option<Vec<u8>>,
}

impl Store {
    pub(crate) fn new(engine: Engine) -> Store {
        Store { engine, is_full: Arc::default() }
    }

    /// Shows `see` the value of `key` in the store. Never waits for a sync.
    pub(crate) fn with<T>(&self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> std::result::Result<Option<T>, Refusal> {
        self.engine.get_with(key, see).map_err(|error| Refusal::of_read(&error))
    }

    /// Shows `see` the values of `keys`, with their positions. Faster than one by one: the waits for memory overlap.
    pub(crate) fn with_many(&self, keys: &[&[u8]], see: impl FnMut(usize, Option<&[u8]>)) -> std::result::Result<(), Refusal> {
        self.engine.get_many(keys, see).map_err(|error| Refusal::of_read(&error))
    }

    /// At most `most` keys behind `after` that begin with `prefix`.
    pub(crate) fn keys_after(&self, after: &[u8], prefix: &[u8], most: usize) -> std::result::Result<SomeKeys, Refusal> {
        let low = if after < prefix { Bound::Included(prefix) } else { Bound::Excluded(after) };
        let mut scan = self.engine.range::<&[u8], _>((low, Bound::Unbounded));
        let mut keys = Vec::new();
        loop {
            let entry = scan.next().transpose().map_err(|error| Refusal::of_read(&error))?;
            match entry.filter(|(key, _)| key.starts_with(prefix)) {
                None => return Ok(SomeKeys { keys, last: None }),
                Some(_) if keys.len() == most => return Ok(SomeKeys { last: keys.last().cloned(), keys }),
                Some((key, _)) => keys.push(key),
            }
        }
    }

    /// All keys that begin with `prefix` and that `of` accepts.
    pub(crate) fn keys(&self, prefix: &[u8], of: impl Fn(&[u8]) -> bool) -> std::result::Result<Vec<Vec<u8>>, Refusal> {
        let accepted = |key: &kv_engine::Result<Vec<u8>>| key.as_ref().map_or(true, |key| of(key));
        let keys: Result<Vec<Vec<u8>>> = self.engine.keys(prefix).filter(accepted).collect();
        keys.map_err(|error| Refusal::of_read(&error))
    }

    pub(crate) fn count(&self) -> std::result::Result<u64, Refusal> {
        self.engine.count().map_err(|error| Refusal::of_read(&error))
    }

    /// See [`Engine::flush`].
    pub(crate) fn flush(&self) -> std::result::Result<(), Refusal> {
        self.engine.flush().map(drop).map_err(|error| Refusal::new(format!("ERR not everything is on the disk: {error}")))
    }

    /// See [`Engine::submit`].
    pub(crate) fn submit(&self, writes: &[Batch], done: impl FnOnce(Told) + Send + 'static) -> Result<Submitted> {
        let is_full = Arc::clone(&self.is_full);
        let taken = self.engine.submit(writes, move |told| {
            note(&is_full, told.result.as_ref().err());
            done(told);
        });
        if let Err(error) = &taken {
            note(&self.is_full, Some(error));
        }
        taken
    }

    /// Whether the last write found no room on the disk.
    pub(crate) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// See [`Engine::when_room`].
    pub(crate) fn when_room(&self, tell: impl FnOnce() + Send + 'static) {
        self.engine.when_room(tell);
    }
}

/// Notes whether the result of a write is that there is no room.
fn note(is_full: &AtomicBool, error: Option<&Error>) {
    let now = matches!(error, Some(Error::NoSpace { .. }));
    if is_full.load(Ordering::Relaxed) != now {
        is_full.store(now, Ordering::Relaxed);
    }
}

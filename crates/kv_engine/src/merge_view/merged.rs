//! [`merged`]: one answer from several layers, each of which hides those below it.

use crate::state::{Chunk, Key, Request, Value};
use std::collections::BTreeMap;

/// Entries in the order in which they were asked for.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) entries: Vec<(Key, Value)>,
    /// Everything up to this key was read. `None`: everything was read.
    pub(crate) end: Option<Key>,
}

impl From<Chunk<Value>> for Found {
    fn from(chunk: Chunk<Value>) -> Found {
        Found { end: chunk.end().cloned(), entries: chunk.entries }
    }
}

/// Merges chunks of the same request. The first chunk is that of the lowest layer, and each layer hides those below it.
/// Without a value, a layer hides the key.
pub(super) fn merged(layers: impl IntoIterator<Item = Chunk<Option<Value>>>, request: &Request<'_>) -> Found {
    let mut merged: BTreeMap<Key, Option<Value>> = BTreeMap::new();
    let mut end: Option<Key> = None;
    for chunk in layers {
        // Behind the nearest end of a chunk, that layer may hide what the others have.
        if let Some(at) = chunk.end().cloned() {
            end = Some(match end.take() {
                Some(end) if request.backward => end.max(at),
                Some(end) => end.min(at),
                None => at,
            });
        }
        merged.extend(chunk.entries);
    }
    let is_known = |key: &Key| end.as_ref().is_none_or(|end| if request.backward { key >= end } else { key <= end });
    let known = merged.into_iter().filter(|(key, _)| is_known(key));
    let mut entries: Vec<_> = known.filter_map(|(key, value)| Some((key, value?))).collect();
    if request.backward {
        entries.reverse();
    }
    Found { entries, end }
}

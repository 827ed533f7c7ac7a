//! The engine's limits of keys and values, for commands that keep writes before they give them to the engine.

use kv_engine::{Error, MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// Fails as the engine would fail. To delete a key, give an empty value.
pub(crate) fn check(key: &[u8], value: &[u8]) -> Result<(), Error> {
    within("key", key.len(), 1, MAX_KEY_BYTES)?;
    within("value", value.len(), 0, MAX_VALUE_BYTES)
}

fn within(what: &'static str, got: usize, min: usize, max: usize) -> Result<(), Error> {
    if (min..=max).contains(&got) {
        return Ok(());
    }
    Err(Error::Limit { what, got: got as u64, min: min as u64, max: max as u64 })
}

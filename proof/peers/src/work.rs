//! The input of every store: keys of 16 bytes and values of 100, in an order that is the same for all.

use hdrhistogram::Histogram;
use std::time::{Duration, Instant};

pub(crate) const KEY_BYTES: usize = 16;
pub(crate) const VALUE_BYTES: usize = 100;
pub(crate) type Key = [u8; KEY_BYTES];
pub(crate) type Value = [u8; VALUE_BYTES];

/// Key number `n`. Neighbouring numbers are far apart in key order, like hashes or random identifiers.
pub(crate) fn key(n: u64) -> Key {
    let mut key = [0; KEY_BYTES];
    key[..8].copy_from_slice(&n.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    key[8..].copy_from_slice(&n.to_be_bytes());
    key
}

/// The value of key number `n`. It begins with that number, so that every answer can be checked.
pub(crate) fn value(n: u64) -> Value {
    let mut value = [b'v'; VALUE_BYTES];
    value[..8].copy_from_slice(&n.to_le_bytes());
    value
}

/// The number with which a value begins.
pub(crate) fn number(value: &[u8]) -> u64 {
    value.first_chunk().map_or(u64::MAX, |bytes| u64::from_le_bytes(*bytes))
}

/// The `i`-th number of a scattered sequence that visits every number below `space`. Every thread begins at another
/// place.
pub(crate) fn scattered(i: u64, thread: u64, space: u64) -> u64 {
    (i.wrapping_mul(7919) + thread * 1_000_003) % space
}

/// A histogram of nanoseconds with three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("good bounds")
}

pub(crate) fn record(histogram: &mut Histogram<u64>, took: Duration) {
    histogram.saturating_record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1));
}

pub(crate) fn quantile_us(histogram: &Histogram<u64>, q: f64) -> f64 {
    histogram.value_at_quantile(q) as f64 / 1e3
}

/// The end of a run: after a number of operations, or after a time if a store takes too long.
#[derive(Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) count: u64,
    pub(crate) until: Instant,
}

impl Limit {
    pub(crate) fn new(count: u64, longest: Duration) -> Limit {
        Limit { count, until: Instant::now() + longest }
    }
}

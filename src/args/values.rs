//! The values of options: sizes, times and numbers, as people write them.

use kv_engine::MAX_BATCH_SIZE;
use std::time::Duration;

/// With a shorter one the disk would do nothing else.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(1);

/// `64MiB`, `1G`, `4096` bytes; 0 for `off`.
pub(super) fn size(text: &str) -> Result<u64, String> {
    if text == "off" {
        return Ok(0);
    }
    let size = text.parse::<bytesize::ByteSize>().map_err(|_| "expected a size, for example 64MiB or 1G, or off".to_string())?;
    Ok(size.as_u64())
}

/// `30s`, `1h 30min`; zero for `0` and `off`.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    if matches!(text, "off" | "0") {
        return Ok(Duration::ZERO);
    }
    let wrong = || format!("expected a time of at least {SHORTEST_INTERVAL:?}, for example 500ms, 30s or 10min, or off");
    humantime::parse_duration(text).ok().filter(|time| *time >= SHORTEST_INTERVAL).ok_or_else(wrong)
}

/// As [`interval`]; a bare number is in milliseconds.
pub(super) fn milliseconds(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_millis).or_else(|_| interval(text))
}

/// A whole number of any size.
pub(super) fn whole(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("expected a whole number up to {}", u64::MAX))
}

pub(super) fn at_least_one(text: &str) -> Result<u64, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| format!("expected a whole number from 1 to {}", u64::MAX))
}

pub(super) fn batch_size(text: &str) -> Result<u64, String> {
    let size = text.parse().ok().filter(|size| (1..=MAX_BATCH_SIZE).contains(size));
    size.ok_or_else(|| format!("expected a whole number from 1 to {MAX_BATCH_SIZE}"))
}

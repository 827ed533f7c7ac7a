//! [`SyncTimes`]: the distribution of the times of syncs, in a table of fixed size.
//!
//! There are eight buckets to each doubling, from 1 µs (2¹⁰ ns) to 18 minutes (2⁴⁰ ns). Shorter and longer times count
//! in the first and the last bucket. So recording is a shift and an addition, under a lock, and never allocates.

use std::fmt;
use std::time::Duration;

const FIRST_BIT: u32 = 10;
const LAST_BIT: u32 = 40;
/// Buckets to each doubling, as a power of two.
const PART_BITS: u32 = 3;
const BUCKETS: usize = 1 + (((LAST_BIT - FIRST_BIT) as usize) << PART_BITS);

/// The distribution of the times of the log's syncs; from [`Stats`](super::Stats).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// assert_eq!(engine.stats().sync_times.percentile(99.0), None); // no sync yet
/// for n in 0..100_u32 {
///     engine.put(n.to_be_bytes(), "v")?;
/// }
/// let stats = engine.stats();
/// let (p50, p99) = (stats.sync_times.percentile(50.0), stats.sync_times.percentile(99.0));
/// assert!(p50 <= p99 && p99 <= Some(stats.sync_max));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SyncTimes {
    counts: [u64; BUCKETS],
    longest: Duration,
}

impl Default for SyncTimes {
    fn default() -> SyncTimes {
        SyncTimes { counts: [0; BUCKETS], longest: Duration::ZERO }
    }
}

impl fmt::Debug for SyncTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent| self.percentile(percent).unwrap_or_default();
        f.debug_struct("SyncTimes").field("p50", &at(50.0)).field("p99", &at(99.0)).field("longest", &self.longest).finish()
    }
}

impl SyncTimes {
    pub(super) fn record(&mut self, took: Duration) {
        self.counts[bucket(took)] += 1;
        self.longest = self.longest.max(took);
    }

    /// The given percentage of the syncs took this long or less. `None` if there was no sync. The result is never too
    /// low and at most an eighth too high, which is the width of a bucket. Times under 1 µs count as 1 µs.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// let stats = engine.stats();
    /// assert_eq!(stats.sync_times.percentile(100.0), Some(stats.sync_max));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<Duration> {
        let total: u64 = self.counts.iter().sum();
        let wanted = ((percent.clamp(0.0, 100.0) / 100.0 * total as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        // The last bucket has no end.
        Some(if found + 1 == BUCKETS { self.longest } else { upper_end(found).min(self.longest) })
    }
}

fn bucket(took: Duration) -> usize {
    let ns = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    match ns.checked_ilog2() {
        Some(bit) if bit >= LAST_BIT => BUCKETS - 1,
        Some(bit) if bit >= FIRST_BIT => {
            let part = (ns >> (bit - PART_BITS)) as usize & ((1 << PART_BITS) - 1);
            1 + (((bit - FIRST_BIT) as usize) << PART_BITS) + part
        }
        _ => 0,
    }
}

/// The shortest time that does not fit into the bucket any more.
fn upper_end(bucket: usize) -> Duration {
    let Some(at) = bucket.checked_sub(1) else { return Duration::from_nanos(1 << FIRST_BIT) };
    let (octave, part) = (at >> PART_BITS, at as u64 & ((1 << PART_BITS) - 1));
    Duration::from_nanos(((1 << PART_BITS) + part + 1) << (octave as u32 + FIRST_BIT - PART_BITS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_have_no_gaps_and_none_is_wider_than_an_eighth() {
        let ns = Duration::from_nanos;
        for at in 0..BUCKETS - 1 {
            let end = upper_end(at);
            assert_eq!((bucket(end - ns(1)), bucket(end)), (at, at + 1), "{end:?}");
            if at > 0 {
                let start = upper_end(at - 1);
                assert!((end - start) * 8 <= start, "{start:?} to {end:?}");
            }
        }
        assert_eq!((bucket(Duration::ZERO), bucket(Duration::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn percentiles_are_never_too_low_and_little_too_high() {
        let mut times = SyncTimes::default();
        assert_eq!(times.percentile(50.0), None);
        (1..=1000).for_each(|us| times.record(Duration::from_micros(us)));
        for (percent, us) in [(0.0, 1), (50.0, 500), (99.0, 990), (99.9, 999)] {
            let (found, truth) = (times.percentile(percent).expect("some"), Duration::from_micros(us));
            assert!(found >= truth && found <= truth + truth / 8, "{percent}: {found:?}");
        }
        assert_eq!(times.percentile(100.0), Some(Duration::from_millis(1)));
        times.record(Duration::from_secs(7200));
        assert_eq!(times.percentile(100.0), Some(Duration::from_secs(7200)));
    }
}

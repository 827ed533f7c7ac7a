//! [`SyncTimes`]: the distribution of the times of syncs, from 128 ns to 18 minutes (2⁴⁰ ns).

use super::buckets::{Buckets, buckets};
use std::fmt;
use std::time::Duration;

/// One unit of the table is 2⁷ ns.
const UNIT: u32 = 7;
const BUCKETS: usize = buckets(40 - UNIT);
/// [`SyncTimes::cumulative`] begins here.
const FIRST: Duration = Duration::from_nanos(1 << 10);

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
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct SyncTimes(Buckets<BUCKETS, UNIT>);

impl fmt::Debug for SyncTimes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent| self.percentile(percent).unwrap_or_default();
        f.debug_struct("SyncTimes").field("p50", &at(50.0)).field("p99", &at(99.0)).field("longest", &self.longest()).finish()
    }
}

impl SyncTimes {
    pub(super) fn record(&mut self, took: Duration) {
        self.0.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn longest(&self) -> Duration {
        Duration::from_nanos(self.0.largest())
    }

    /// The given percentage of the syncs took this long or less. `None` if there was no sync. The result is never too
    /// low. It is at most an eighth too high, or 128 ns.
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
        self.0.percentile(percent).map(Duration::from_nanos)
    }

    /// How many syncs there were.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// assert_eq!(engine.stats().sync_times.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// The time spent in them.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// let stats = engine.stats();
    /// assert_eq!(stats.sync_times.sum(), stats.sync_total);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sum(&self) -> Duration {
        Duration::from_nanos(self.0.sum())
    }

    /// For each doubling from 1.024 µs to 18 minutes: the time, and how many syncs took at most that long. These are
    /// the buckets of a histogram as metrics systems have it. The bucket without an end is [`count`](Self::count).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// let times = engine.stats().sync_times;
    /// for (at_most, count) in times.cumulative() {
    ///     println!("sync_seconds_bucket{{le=\"{}\"}} {count}", at_most.as_secs_f64());
    /// }
    /// println!("sync_seconds_bucket{{le=\"+Inf\"}} {}", times.count());
    /// println!("sync_seconds_sum {}", times.sum().as_secs_f64());
    /// println!("sync_seconds_count {}", times.count());
    /// assert!(times.cumulative().last().is_some_and(|(_, count)| count <= times.count()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cumulative(&self) -> impl Iterator<Item = (Duration, u64)> + use<'_> {
        let ends = self.0.cumulative().map(|(end, count)| (Duration::from_nanos(end), count));
        ends.skip_while(|(end, _)| *end < FIRST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_counted_up_to_each_doubling() {
        let mut times = SyncTimes::default();
        let ns = [1, 1024, 1025, 2048, 1_000_000, 1 << 40, (1 << 40) + 1];
        ns.iter().for_each(|ns| times.record(Duration::from_nanos(*ns)));
        let found: Vec<_> = times.cumulative().collect();
        let truth = |bit: u32| {
            let count = ns.iter().filter(|ns| **ns <= 1 << bit).count() as u64;
            (Duration::from_nanos(1 << bit), count)
        };
        assert_eq!(found, (10..=40).map(truth).collect::<Vec<_>>());
        assert_eq!((times.count(), times.sum()), (7, Duration::from_nanos(ns.iter().sum())));
        times.record(Duration::MAX);
        assert_eq!(times.percentile(100.0), Some(Duration::from_nanos(u64::MAX)), "it does not wrap");
    }
}

//! [`GroupSizes`]: the distribution of the sizes of groups, which is the number of writes in one sync. Sizes up to 2²⁴
//! have a bucket with an end: that many writes do not fit into one group.

use super::buckets::{Buckets, buckets};
use std::fmt;

const BUCKETS: usize = buckets(24);

/// The distribution of the number of writes in one sync; from [`Stats`](super::Stats). It shows how well writers share
/// syncs.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap"))
/// #     .batch_size(10).flush_interval(std::time::Duration::ZERO).open()?;
/// for n in 0..20_u32 {
///     engine.put(n.to_be_bytes(), "v")?; // with batch size 10
/// }
/// let sizes = engine.stats().group_sizes;
/// assert_eq!((sizes.count(), sizes.percentile(50.0)), (2, Some(10)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub struct GroupSizes(Buckets<BUCKETS, 0>);

impl fmt::Debug for GroupSizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = |percent| self.percentile(percent).unwrap_or_default();
        f.debug_struct("GroupSizes").field("p50", &at(50.0)).field("p99", &at(99.0)).field("largest", &self.largest()).finish()
    }
}

impl GroupSizes {
    pub(super) fn record(&mut self, writes: u64) {
        self.0.record(writes);
    }

    pub(super) fn largest(&self) -> u64 {
        self.0.largest()
    }

    /// The given percentage of the groups have this many writes or fewer. `None` if there was no group. The result is
    /// exact up to 16. Above, it is never too low and at most an eighth too high.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// assert_eq!(engine.stats().group_sizes.percentile(99.0), None);
    /// engine.put("x", "100")?;
    /// assert_eq!(engine.stats().group_sizes.percentile(99.0), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn percentile(&self, percent: f64) -> Option<u64> {
        self.0.percentile(percent)
    }

    /// How many groups there were.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// assert_eq!(engine.stats().group_sizes.count(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count()
    }

    /// The writes in them.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// engine.put("y", "200")?;
    /// assert_eq!(engine.stats().group_sizes.sum(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.0.sum()
    }

    /// For each power of two from 1 to 16,777,216: the size, and how many groups have at most that many writes. These
    /// are the buckets of a histogram as metrics systems have it. The bucket without an end is [`count`](Self::count).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// let sizes = engine.stats().group_sizes;
    /// for (at_most, count) in sizes.cumulative().take(11) {
    ///     println!("group_writes_bucket{{le=\"{at_most}\"}} {count}"); // 1, 2, 4 … 1024
    /// }
    /// println!("group_writes_bucket{{le=\"+Inf\"}} {}", sizes.count());
    /// println!("group_writes_sum {}", sizes.sum());
    /// println!("group_writes_count {}", sizes.count());
    /// assert_eq!(sizes.cumulative().next(), Some((1, 1)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + use<'_> {
        self.0.cumulative()
    }
}

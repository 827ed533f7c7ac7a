//! [`Buckets`]: a distribution of numbers, in a table of fixed size. Recording is a shift and an addition, and never
//! allocates, so it may happen under a lock.
//!
//! A number is counted in units of 2^`UNIT`. There is one bucket for each of the first eight units, and eight buckets
//! for each doubling after that. So a bucket is never wider than an eighth of the numbers in it, or one unit. The upper
//! end of a bucket belongs to it, and each power of two is an end. The last bucket has no end.

/// Buckets to each doubling, as a power of two.
const PART_BITS: u32 = 3;
const PARTS: usize = 1 << PART_BITS;

/// The number of buckets for numbers up to 2^`bits` units.
pub(super) const fn buckets(bits: u32) -> usize {
    ((bits - PART_BITS + 1) as usize) * PARTS + 1
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Buckets<const BUCKETS: usize, const UNIT: u32> {
    counts: [u64; BUCKETS],
    sum: u64,
    largest: u64,
}

impl<const BUCKETS: usize, const UNIT: u32> Default for Buckets<BUCKETS, UNIT> {
    fn default() -> Self {
        Buckets { counts: [0; BUCKETS], sum: 0, largest: 0 }
    }
}

impl<const BUCKETS: usize, const UNIT: u32> Buckets<BUCKETS, UNIT> {
    pub(super) fn record(&mut self, number: u64) {
        self.counts[Self::place(number)] += 1;
        self.sum = self.sum.saturating_add(number);
        self.largest = self.largest.max(number);
    }

    pub(super) fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum
    }

    pub(super) fn largest(&self) -> u64 {
        self.largest
    }

    /// The given percentage of the numbers are this large or less. `None` if there is none. Never too low.
    pub(super) fn percentile(&self, percent: f64) -> Option<u64> {
        let wanted = ((percent.clamp(0.0, 100.0) / 100.0 * self.count() as f64).ceil() as u64).max(1);
        let mut seen = 0;
        let found = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(if found + 1 == BUCKETS { self.largest } else { Self::end(found).min(self.largest) })
    }

    /// Each power of two that is the end of a bucket, and how many numbers are at most that.
    pub(super) fn cumulative(&self) -> impl Iterator<Item = (u64, u64)> + use<'_, BUCKETS, UNIT> {
        let mut seen = 0;
        self.counts[..BUCKETS - 1].iter().enumerate().filter_map(move |(place, count)| {
            seen += count;
            let end = Self::end(place);
            end.is_power_of_two().then_some((end, seen))
        })
    }

    fn place(number: u64) -> usize {
        let units = number.saturating_sub(1) >> UNIT;
        let Some(bit) = units.checked_ilog2().filter(|bit| *bit >= PART_BITS) else { return units as usize };
        let part = (units >> (bit - PART_BITS)) as usize & (PARTS - 1);
        (((bit - PART_BITS + 1) as usize) * PARTS + part).min(BUCKETS - 1)
    }

    /// The largest number in the bucket.
    fn end(place: usize) -> u64 {
        let (octave, part) = ((place / PARTS) as u32, (place % PARTS) as u64);
        let units = if octave == 0 { part + 1 } else { (PARTS as u64 + part + 1) << (octave - 1) };
        units << UNIT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<const BUCKETS: usize, const UNIT: u32>(bits: u32) {
        type Of<const BUCKETS: usize, const UNIT: u32> = Buckets<BUCKETS, UNIT>;
        let (place, end) = (Of::<BUCKETS, UNIT>::place, Of::<BUCKETS, UNIT>::end);
        let mut start = 0;
        for at in 0..BUCKETS - 1 {
            assert_eq!((place(start + 1), place(end(at)), place(end(at) + 1)), (at, at, at + 1), "{at}");
            let width = end(at) - start;
            assert!(width == 1 << UNIT || width * 8 <= start, "{start} to {}", end(at));
            start = end(at);
        }
        assert_eq!((start, place(0), place(u64::MAX)), (1 << (bits + UNIT), 0, BUCKETS - 1));
    }

    #[test]
    fn buckets_have_no_gaps_and_none_is_wider_than_an_eighth() {
        check::<{ buckets(24) }, 0>(24);
        check::<{ buckets(33) }, 7>(33);
    }

    #[test]
    fn percentiles_are_never_too_low_and_little_too_high() {
        let mut of = Buckets::<{ buckets(24) }, 0>::default();
        assert_eq!((of.percentile(50.0), of.count(), of.sum()), (None, 0, 0));
        (1..=1000).for_each(|number| of.record(number));
        for (percent, truth) in [(0.0, 1), (1.6, 16), (50.0, 500), (99.0, 990), (99.9, 999)] {
            let found = of.percentile(percent).expect("some");
            assert!(found >= truth && found <= truth + truth / 8, "{percent}: {found}");
        }
        assert_eq!((of.percentile(100.0), of.percentile(1.6)), (Some(1000), Some(16)));
        of.record(1 << 40);
        assert_eq!((of.percentile(100.0), of.largest()), (Some(1 << 40), 1 << 40));
    }

    #[test]
    fn each_power_of_two_is_an_end_with_an_exact_count() {
        let mut of = Buckets::<{ buckets(24) }, 0>::default();
        let numbers = [1, 2, 2, 3, 4, 5, 8, 9, 64, 65, 1000, 1 << 24, (1 << 24) + 1, u64::MAX];
        numbers.iter().for_each(|number| of.record(*number));
        let found: Vec<_> = of.cumulative().collect();
        let truth = |end: u64| (end, numbers.iter().filter(|number| **number <= end).count() as u64);
        assert_eq!(found, (0..=24).map(|bit| truth(1 << bit)).collect::<Vec<_>>());
        assert_eq!((of.count(), of.sum()), (14, u64::MAX), "the sum does not wrap");
    }
}

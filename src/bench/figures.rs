//! Rates and times as people read them, with three digits and a unit, and the rows of a histogram.

use hdrhistogram::Histogram;

/// `812 /s`, `4.64 k/s`, `175 k/s`, `1.20 M/s`.
pub(super) fn rate(per_sec: f64) -> String {
    let (x, unit) = match per_sec {
        x if x >= 999_500.0 => (x / 1e6, "M/s"),
        x if x >= 999.5 => (x / 1e3, "k/s"),
        x => (x, "/s"),
    };
    format!("{} {unit}", three_digits(x))
}

/// `204 µs` for nanoseconds.
pub(super) fn human_ns(ns: f64) -> String {
    let (x, unit) = match ns {
        ns if ns >= 999_500_000.0 => (ns / 1e9, "s"),
        ns if ns >= 999_500.0 => (ns / 1e6, "ms"),
        ns if ns >= 999.5 => (ns / 1e3, "µs"),
        ns => (ns, "ns"),
    };
    format!("{} {unit}", three_digits(x))
}

fn three_digits(x: f64) -> String {
    match x {
        x if x >= 99.95 => format!("{x:.0}"),
        x if x >= 9.995 => format!("{x:.1}"),
        x => format!("{x:.2}"),
    }
}

/// The rows of a histogram in text and in JSON.
pub(super) const HISTOGRAM_ROWS: usize = 10;

/// At most `rows` rows from the least to the greatest value: the end of each, and how many values are in it.
pub(super) fn bins(values: &Histogram<u64>, rows: usize) -> Vec<(u64, u64)> {
    let (least, most) = (values.min().max(1) as f64, values.max().max(1) as f64);
    let step = (most / least).powf(1.0 / rows as f64).max(1.05);
    let mut bins: Vec<(u64, u64)> = Vec::new();
    let mut edge = least;
    let mut from = 0;
    while (bins.is_empty() || from <= values.max()) && bins.len() < rows {
        edge *= step;
        let last = bins.len() + 1 == rows;
        let until = if last { values.max() } else { (edge as u64).max(from).min(values.max()) };
        bins.push((until, values.count_between(from, until)));
        from = values.highest_equivalent(until) + 1;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_have_three_digits_and_a_unit() {
        assert_eq!(
            [812.4, 4_642.0, 175_261.0, 1_200_000.0, 999_499.0].map(rate),
            ["812 /s", "4.64 k/s", "175 k/s", "1.20 M/s", "999 k/s"]
        );
        assert_eq!([7.0, 999.6, 204_000.0, 2.413e6, 3.2e9].map(human_ns), ["7.00 ns", "1.00 µs", "204 µs", "2.41 ms", "3.20 s"]);
    }

    #[test]
    fn rows_of_a_histogram_hold_every_operation_once() {
        for latencies in [vec![5], vec![1, 1_000_000], (1..5000).map(|n| n * n).collect()] {
            let mut values = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("good bounds");
            latencies.iter().for_each(|&ns: &u64| values.record(ns).expect("in bounds"));
            let bins = bins(&values, HISTOGRAM_ROWS);
            assert!(bins.len() <= HISTOGRAM_ROWS);
            assert_eq!(bins.iter().map(|(_, n)| n).sum::<u64>(), latencies.len() as u64, "{bins:?}");
        }
    }
}

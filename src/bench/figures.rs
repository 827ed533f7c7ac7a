//! Rates and times as people read them: three digits and a unit.

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
}

//! Sizes, times and counts as people read them.

use std::time::Duration;

/// `82 B`, `1.5 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// `0.90 ms`, `12.0 µs`, `3.2 s`.
pub(crate) fn human_time(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s if s >= 0.000_1 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
}

/// Milliseconds for programs, rounded up, so that no command took none.
pub(crate) fn whole_ms(time: Duration) -> u64 {
    u64::try_from(time.as_micros().div_ceil(1000)).unwrap_or(u64::MAX)
}

/// `1 key`, `2 keys`.
pub(crate) fn counted(n: impl TryInto<u64>, what: &str) -> String {
    match n.try_into().unwrap_or(u64::MAX) {
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

/// `1 entry`, `2 entries`.
pub(crate) fn entries(count: u64) -> String {
    if count == 1 { "1 entry".into() } else { format!("{count} entries") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_times_and_counts_are_readable() {
        assert_eq!(human_bytes(82), "82 B");
        assert_eq!(human_bytes(1536 * 1024), "1.5 MiB");
        assert_eq!(human_time(Duration::from_micros(900)), "0.90 ms");
        assert_eq!(human_time(Duration::from_nanos(1200)), "1.2 µs");
        assert_eq!([0, 1, 1000, 1001].map(|us| whole_ms(Duration::from_micros(us))), [0, 1, 1, 2]);
        assert_eq!((counted(1_u64, "key"), counted(0_usize, "key")), ("1 key".into(), "0 keys".into()));
        assert_eq!((entries(1), entries(2)), ("1 entry".into(), "2 entries".into()));
    }
}

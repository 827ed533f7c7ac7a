//! Runs drawn on a terminal. Several batch sizes: a bar of throughput and a bar of latency for each. One batch size: a
//! histogram of its latencies. If the work has PUTs and GETs, the latencies of each kind are shown apart.
//!
//! Every line fits the terminal. Colour only repeats what the characters show. The bars are ASCII if the terminal may
//! not know other characters (`TERM=dumb`, or a locale without UTF-8).

use super::charts::Which;
use super::describe::{self, NOTHING_SYNCED};
use super::figures::{HISTOGRAM_ROWS, bins, human_ns, rate};
use super::options::Bench;
use super::run::Run;
use super::{lines, machine};
use crate::output::Output;
use crate::settings::Settings;
use crate::text::{self, dimmed};
use hdrhistogram::Histogram;
use std::io;

const MOST_COLUMNS: usize = 120;
/// The width of a time.
const TIME: usize = 7;
/// Narrower bars show no difference.
const LEAST_BAR: usize = 6;

/// The characters of bars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Glyphs {
    full: char,
    /// From one eighth to seven eighths of a full one.
    eighths: &'static str,
    /// Between the median and the 99th percentile.
    shade: char,
    micro: &'static str,
}

const BLOCKS: Glyphs = Glyphs { full: '█', eighths: "▏▎▍▌▋▊▉", shade: '░', micro: "µs" };
const ASCII: Glyphs = Glyphs { full: '#', eighths: "", shade: '.', micro: "us" };

impl Glyphs {
    fn of_environment() -> Glyphs {
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().filter_map(std::env::var_os).find(|value| !value.is_empty());
        // A process without any locale is more often in a container than on an old terminal.
        let plain = locale.is_some_and(|locale| {
            let locale = locale.to_string_lossy().to_ascii_lowercase();
            !locale.contains("utf-8") && !locale.contains("utf8")
        });
        if dumb || plain { ASCII } else { BLOCKS }
    }

    /// A bar with at least the smallest piece, padded to `columns`.
    fn bar(self, share: f64, columns: usize) -> String {
        let steps = self.eighths.chars().count() + 1;
        let filled = ((share * (columns * steps) as f64).round() as usize).clamp(1, columns * steps);
        let mut bar: String = std::iter::repeat_n(self.full, filled / steps).collect();
        bar.extend((filled % steps).checked_sub(1).and_then(|rest| self.eighths.chars().nth(rest)));
        format!("{bar:<columns$}")
    }

    /// A bar from the left to the median and on to the 99th percentile. Both are shares of `columns`.
    fn span(self, median: f64, high: f64, columns: usize) -> (String, String, String) {
        let cells = |share: f64| ((share * columns as f64).round() as usize).clamp(1, columns);
        let (to_median, to_high) = (cells(median), cells(high).max(cells(median)));
        let of = |glyph: char, n: usize| std::iter::repeat_n(glyph, n).collect::<String>();
        (of(self.full, to_median), of(self.shade, to_high - to_median), of(' ', columns - to_high))
    }
}

pub(super) fn draw(runs: &[Run], bench: &Bench, settings: &Settings, out: &mut Output) {
    let glyphs = Glyphs::of_environment();
    let columns = text::columns(io::stdout()).min(MOST_COLUMNS);
    match runs {
        [run] if bench.batch_sizes.len() == 1 => {
            if !settings.verbose {
                out.line(&lines::short(run));
            }
            if run.operations() > 0 {
                one(run, bench, glyphs, columns, out);
            }
        }
        _ if runs.iter().all(|run| run.operations() == 0) => {}
        runs => compare(runs, glyphs, columns, out),
    }
    let place = match runs.first().and_then(|run| run.server.as_ref()) {
        Some(address) => format!(" Over the network at {}.", text::safe(address)),
        None => machine::file_system(&settings.wal).map(|kind| format!(" File system: {kind}.")).unwrap_or_default(),
    };
    out.dim_line(&format!("{}{place}", describe::workload(bench, runs)));
    let synced = describe::synced(runs).unwrap_or_else(|| NOTHING_SYNCED.to_string());
    out.dim_line(&synced.replace("µs", glyphs.micro));
}

fn compare(runs: &[Run], glyphs: Glyphs, columns: usize, out: &mut Output) {
    let most = runs.iter().map(Run::ops_per_sec).fold(1.0, f64::max);
    let scale = Scale::of(runs);
    let paint = Paint { on: out.color };
    let layout = Layout::of(runs, columns);
    out.line(&dimmed(layout.header().trim_end(), paint.on));
    for (name, run, latencies) in rows(runs) {
        let (p50, p99) = (latencies.value_at_quantile(0.5), latencies.value_at_quantile(0.99));
        let is_first = name.starts_with(|c: char| c.is_ascii_digit());
        let mut line = format!("{name:>width$}", width = layout.batch);
        // Both kinds of operations together have a throughput.
        if let Some(bar) = layout.throughput_bar {
            let bar = if is_first { glyphs.bar(run.ops_per_sec() / most, bar) } else { " ".repeat(bar) };
            line += &format!("  {}", if is_first { paint.cyan(&bar) } else { bar });
        }
        let rate = if is_first { rate(run.ops_per_sec()) } else { String::new() };
        line += &format!("  {rate:>width$}", width = layout.rate);
        if let Some(bar) = layout.latency_bar {
            let (solid, shade, rest) = glyphs.span(scale.share(p50), scale.share(p99), bar);
            line += &format!("  {}{}{rest}", paint.yellow(&solid), paint.yellow(&shade));
        }
        line += &format!("  {:>TIME$}  {:>TIME$}", time(p50, glyphs), time(p99, glyphs));
        out.line(&line);
    }
    if layout.latency_bar.is_some() {
        let key = format!("latency: {} to the median, {} to the 99th percentile;", glyphs.full, glyphs.shade);
        let (low, high) = (time(scale.low, glyphs), time(scale.high, glyphs));
        out.dim_line(&format!("{key} log scale, {low} to {high}"));
    }
}

/// The rows of a comparison: one for each run, or one for its PUTs and one for its GETs.
fn rows(runs: &[Run]) -> impl Iterator<Item = (String, &Run, &Histogram<u64>)> {
    let apart = Which::of(runs);
    runs.iter().flat_map(move |run| {
        apart.iter().enumerate().map(move |(n, which)| {
            let name = match (which, n) {
                (Which::All, _) => run.batch.to_string(),
                (which, 0) => format!("{} {which}", run.batch),
                (which, _) => which.to_string(),
            };
            (name, run, which.latencies(run))
        })
    })
}

/// The widths of the columns of a comparison.
struct Layout {
    batch: usize,
    rate: usize,
    throughput_bar: Option<usize>,
    latency_bar: Option<usize>,
}

impl Layout {
    fn of(runs: &[Run], columns: usize) -> Layout {
        let batch = rows(runs).map(|(name, ..)| name.len()).max().unwrap_or(0).max("batch".len());
        let rate = runs.iter().map(|run| rate(run.ops_per_sec()).chars().count()).max().unwrap_or(0).max(8);
        // Two blanks before every column but the first, and the two times.
        let left = columns.saturating_sub(batch + 2 + rate + 2 + TIME + 2 + TIME + 2 + 2);
        let bar = Some(left / 2).filter(|&bar| bar >= LEAST_BAR);
        Layout { batch, rate, throughput_bar: bar, latency_bar: bar }
    }

    fn header(&self) -> String {
        let rate = self.throughput_bar.map_or(self.rate, |bar| bar + 2 + self.rate);
        let latency = self.latency_bar.map_or(TIME, |bar| bar + 2 + TIME);
        let left = |text: &str, columns: usize| format!("{text:<columns$}");
        // Without bars there is no room for the longer words.
        let (throughput, median) = if self.latency_bar.is_some() { ("throughput", "latency") } else { ("ops", "") };
        let median = format!("{median:<width$}{:>TIME$}", "p50", width = latency - TIME);
        format!("{:>batch$}  {}  {median}  {:>TIME$}", "batch", left(throughput, rate), "p99", batch = self.batch)
    }
}

/// A logarithmic scale of whole decades that holds all medians and 99th percentiles.
struct Scale {
    low: u64,
    high: u64,
}

impl Scale {
    fn of(runs: &[Run]) -> Scale {
        let ends = rows(runs).flat_map(|(.., latencies)| [0.5, 0.99].map(|quantile| latencies.value_at_quantile(quantile)));
        let (least, most) = ends.fold((u64::MAX, 1), |(least, most), value| (least.min(value), most.max(value)));
        let low = 10u64.pow(least.max(1).ilog10());
        let high = 10u64.pow(most.max(1).ilog10() + 1);
        Scale { low, high }
    }

    fn share(&self, value: u64) -> f64 {
        let decades = |a: u64, b: u64| (b as f64 / a as f64).log10();
        decades(self.low, value.max(self.low)) / decades(self.low, self.high).max(1.0)
    }
}

/// The latencies of one run, and a histogram of each kind of operation. The rows of a histogram have the same width on
/// a logarithmic scale.
fn one(run: &Run, bench: &Bench, glyphs: Glyphs, columns: usize, out: &mut Output) {
    let paint = Paint { on: out.color };
    let apart = Which::of(std::slice::from_ref(run));
    let all = [Which::All].into_iter();
    let each: Vec<Which> = if apart.len() > 1 { all.chain(apart.iter().copied()).collect() } else { all.collect() };
    for which in each {
        let name = if which == Which::All { "latency".to_string() } else { format!("of {which}") };
        let quantiles = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")];
        let each = quantiles.map(|(q, name)| format!("{name} {:<8}", time(which.latencies(run).value_at_quantile(q), glyphs)));
        out.line(format!("{name}  {}", each.join(" ")).trim_end());
    }
    let bar = columns.saturating_sub(8 + 2 + 2 + 10 + 2 + 6).min(48);
    for which in apart {
        let latencies = which.latencies(run);
        let bins = bins(latencies, HISTOGRAM_ROWS);
        let most = bins.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
        let noun = if *which == Which::All { describe::noun(bench, 2).to_string() } else { which.to_string() };
        let head = format!("{:>8}  {:<bar$}  {noun:>10}  {:>6}", "up to", "", "share");
        out.line(&dimmed(&head, paint.on));
        for (until, n) in bins {
            let share = 100.0 * n as f64 / latencies.len().max(1) as f64;
            let bar = match n {
                0 => " ".repeat(bar),
                n => glyphs.bar(n as f64 / most as f64, bar),
            };
            out.line(&format!("{:>8}  {}  {n:>10}  {share:>5.1}%", time(until, glyphs), paint.yellow(&bar)));
        }
    }
}

struct Paint {
    on: bool,
}

impl Paint {
    fn cyan(&self, text: &str) -> String {
        if self.on { format!("\x1b[36m{text}\x1b[0m") } else { text.to_string() }
    }

    fn yellow(&self, text: &str) -> String {
        if self.on { format!("\x1b[33m{text}\x1b[0m") } else { text.to_string() }
    }
}

/// As [`human_ns`], in characters that the terminal knows.
fn time(ns: u64, glyphs: Glyphs) -> String {
    human_ns(ns as f64).replace("µs", glyphs.micro)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_they_say() {
        assert_eq!(BLOCKS.bar(1.0, 24), "█".repeat(24));
        assert_eq!(BLOCKS.bar(0.0, 24).trim_end(), "▏");
        assert_eq!(BLOCKS.bar(0.3, 10), "███       ");
        assert_eq!(ASCII.bar(0.34, 10), "###       ");
        let (solid, shade, rest) = ASCII.span(0.5, 0.8, 10);
        assert_eq!(format!("{solid}{shade}|{rest}|"), "#####...|  |");
    }

    #[test]
    fn a_terminal_without_utf_8_gets_no_other_characters() {
        assert_eq!((time(1500, ASCII), time(1500, BLOCKS)), ("1.50 us".into(), "1.50 µs".into()));
    }

    #[test]
    fn a_comparison_fits_and_is_aligned_at_any_width() {
        let both = Run::fabricated(5, &[200_000], &[500]);
        let runs =
            [Run::fabricated(1, &[200_000, 300_000], &[]), Run::fabricated(1_000_000, &[500, 800, 12_345_678_901], &[]), both];
        for columns in [40, 60, 80, 120] {
            let layout = Layout::of(&runs, columns);
            let bars = layout.throughput_bar.unwrap_or(0) + layout.latency_bar.unwrap_or(0);
            let gaps = 2 * (3 + usize::from(layout.throughput_bar.is_some()) + usize::from(layout.latency_bar.is_some()));
            let row = layout.batch + layout.rate + TIME + TIME + bars + gaps;
            assert!(row <= columns, "{row} of {columns}");
            assert_eq!(layout.header().chars().count(), row, "{}", layout.header());
        }
    }

    #[test]
    fn a_scale_is_whole_decades() {
        let scale = Scale::of(&[Run::fabricated(1, &[20_000], &[]), Run::fabricated(5, &[900], &[])]);
        assert_eq!((scale.low, scale.high), (100, 100_000));
        assert!((scale.share(1_000) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn puts_and_gets_have_rows_of_their_own_if_there_are_both() {
        let names = |runs: &[Run]| rows(runs).map(|(name, _, latencies)| (name, latencies.len())).collect::<Vec<_>>();
        let runs = [Run::fabricated(1, &[9, 9], &[3]), Run::fabricated(5, &[9], &[3, 3, 3])];
        let expected = [("1 PUTs", 2), ("GETs", 1), ("5 PUTs", 1), ("GETs", 3)];
        assert_eq!(names(&runs), expected.map(|(name, n)| (name.to_string(), n)));
        assert_eq!(names(&[Run::fabricated(1, &[], &[3])]), [("1".to_string(), 1)]);
    }
}

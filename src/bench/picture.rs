//! Runs drawn on a terminal. Several batch sizes: a bar of throughput and a bar of latency for each. One batch size: a
//! histogram of its latencies.
//!
//! Every line fits the terminal. Colour only repeats what the characters show. The bars are ASCII if the terminal may
//! not know other characters (`TERM=dumb`, or a locale without UTF-8).

use super::describe::{self, NOTHING_SYNCED};
use super::figures::{human_ns, rate};
use super::options::Bench;
use super::run::Run;
use super::{lines, machine};
use crate::output::Output;
use crate::settings::Settings;
use crate::text::{self, dimmed};
use hdrhistogram::Histogram;
use std::io;

const MOST_COLUMNS: usize = 120;
/// Narrower bars show no difference.
const LEAST_BAR: usize = 6;
const HISTOGRAM_ROWS: usize = 10;

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
    let place = machine::file_system(&settings.wal).map(|kind| format!(" File system: {kind}.")).unwrap_or_default();
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
    for run in runs {
        let (p50, p99) = (run.all.value_at_quantile(0.5), run.all.value_at_quantile(0.99));
        let mut line = format!("{:>width$}", run.batch, width = layout.batch);
        if let Some(bar) = layout.throughput_bar {
            line += &format!("  {}", paint.cyan(&glyphs.bar(run.ops_per_sec() / most, bar)));
        }
        line += &format!("  {:>width$}", rate(run.ops_per_sec()), width = layout.rate);
        if let Some(bar) = layout.latency_bar {
            let (solid, shade, rest) = glyphs.span(scale.share(p50), scale.share(p99), bar);
            line += &format!("  {}{}{rest}", paint.yellow(&solid), paint.yellow(&shade));
        }
        line += &format!("  {:>8}  {:>8}", time(p50, glyphs), time(p99, glyphs));
        out.line(&line);
    }
    if layout.latency_bar.is_some() {
        let key = format!("latency: {} to the median, {} to the 99th percentile;", glyphs.full, glyphs.shade);
        let (low, high) = (time(scale.low, glyphs), time(scale.high, glyphs));
        out.dim_line(&format!("{key} log scale, {low} to {high}"));
    }
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
        let batch = runs.iter().map(|run| run.batch.to_string().len()).max().unwrap_or(0).max("batch".len());
        let rate = runs.iter().map(|run| rate(run.ops_per_sec()).chars().count()).max().unwrap_or(0).max(8);
        // Two blanks before every column but the first, and the two times.
        let left = columns.saturating_sub(batch + 2 + rate + 2 + 8 + 2 + 8 + 2 + 2);
        let bar = Some(left / 2).filter(|&bar| bar >= LEAST_BAR);
        // Without a bar, the column is at least as wide as its heading.
        let rate = if bar.is_some() { rate } else { rate.max("throughput".len()) };
        Layout { batch, rate, throughput_bar: bar, latency_bar: bar }
    }

    fn header(&self) -> String {
        let rate = self.throughput_bar.map_or(self.rate, |bar| bar + 2 + self.rate);
        let latency = self.latency_bar.map_or(8, |bar| bar + 2 + 8);
        let left = |text: &str, columns: usize| format!("{text:<columns$}");
        let median = if self.latency_bar.is_some() { "latency" } else { "" };
        let median = format!("{median:<width$}{:>8}", "p50", width = latency - 8);
        format!("{:>batch$}  {}  {median}  {:>8}", "batch", left("throughput", rate), "p99", batch = self.batch)
    }
}

/// A logarithmic scale of whole decades that holds all medians and 99th percentiles.
struct Scale {
    low: u64,
    high: u64,
}

impl Scale {
    fn of(runs: &[Run]) -> Scale {
        let ends = runs.iter().flat_map(|run| [run.all.value_at_quantile(0.5), run.all.value_at_quantile(0.99)]);
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

/// The latencies of one run as a histogram. Its rows have the same width on a logarithmic scale.
fn one(run: &Run, bench: &Bench, glyphs: Glyphs, columns: usize, out: &mut Output) {
    let paint = Paint { on: out.color };
    let both = !run.puts.is_empty() && !run.gets.is_empty();
    let kinds = [("latency", &run.all), ("of PUTs", &run.puts), ("of GETs", &run.gets)];
    for (name, latencies) in &kinds[..if both { 3 } else { 1 }] {
        let quantiles = [(0.5, "p50"), (0.9, "p90"), (0.99, "p99"), (0.999, "p99.9"), (1.0, "max")];
        let each = quantiles.map(|(q, name)| format!("{name} {:<8}", time(latencies.value_at_quantile(q), glyphs)));
        out.line(format!("{name}  {}", each.join(" ")).trim_end());
    }
    let bins = bins(&run.all, HISTOGRAM_ROWS);
    let most = bins.iter().map(|(_, n)| *n).max().unwrap_or(1).max(1);
    let bar = columns.saturating_sub(8 + 2 + 2 + 10 + 2 + 6).min(48);
    let head = format!("{:>8}  {:<bar$}  {:>10}  {:>6}", "up to", "", describe::noun(bench, 2), "share");
    out.line(&dimmed(&head, paint.on));
    for (until, n) in bins {
        let share = 100.0 * n as f64 / run.operations().max(1) as f64;
        let bar = match n {
            0 => " ".repeat(bar),
            n => glyphs.bar(n as f64 / most as f64, bar),
        };
        out.line(&format!("{:>8}  {}  {n:>10}  {share:>5.1}%", time(until, glyphs), paint.yellow(&bar)));
    }
}

/// At most `rows` rows from the least to the greatest value: the end of each, and how many values are in it.
fn bins(values: &Histogram<u64>, rows: usize) -> Vec<(u64, u64)> {
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

    fn run(batch: u64, latencies_ns: &[u64]) -> Run {
        let mut all = Histogram::new_with_bounds(1, 3_600_000_000_000, 3).expect("good bounds");
        latencies_ns.iter().for_each(|&ns| all.record(ns).expect("in bounds"));
        let total = std::time::Duration::from_nanos(latencies_ns.iter().sum());
        let empty = Histogram::new_from(&all);
        Run {
            batch,
            keys: 1,
            warm_up: 0,
            total,
            puts: all.clone(),
            gets: empty,
            all,
            syncs: 1,
            sync_total: total,
            log_bytes: 1,
            stopped: false,
            floor: None,
        }
    }

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
        let runs = [run(1, &[200_000, 300_000]), run(1_000_000, &[500, 800, 12_345_678_901])];
        for columns in [40, 60, 80, 120] {
            let layout = Layout::of(&runs, columns);
            let bars = layout.throughput_bar.unwrap_or(0) + layout.latency_bar.unwrap_or(0);
            let gaps = 2 * (3 + usize::from(layout.throughput_bar.is_some()) + usize::from(layout.latency_bar.is_some()));
            let row = layout.batch + layout.rate + 8 + 8 + bars + gaps;
            assert!(row <= columns, "{row} of {columns}");
            assert_eq!(layout.header().chars().count(), row, "{}", layout.header());
        }
    }

    #[test]
    fn a_scale_is_whole_decades() {
        let scale = Scale::of(&[run(1, &[20_000]), run(5, &[900])]);
        assert_eq!((scale.low, scale.high), (100, 100_000));
        assert!((scale.share(1_000) - 1.0 / 3.0).abs() < 1e-9);
    }

    #[test]
    fn rows_of_a_histogram_hold_every_operation_once() {
        for latencies in [vec![5], vec![1, 1_000_000], (1..5000).map(|n| n * n).collect()] {
            let run = run(1, &latencies);
            let bins = bins(&run.all, HISTOGRAM_ROWS);
            assert!(bins.len() <= HISTOGRAM_ROWS);
            assert_eq!(bins.iter().map(|(_, n)| n).sum::<u64>(), latencies.len() as u64, "{bins:?}");
        }
    }
}

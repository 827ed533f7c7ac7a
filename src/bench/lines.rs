//! Results for programs: a line for each batch size, then one for the fastest, then one for the report.
//!
//! Text and JSON have the same names and figures. JSON always lists the options of the work. Text lists, at the end of
//! the line, only those that are not the default. JSON also has the histogram of each kind of operation.

use super::figures::{HISTOGRAM_ROWS, bins};
use super::options::{Bench, Dist};
use super::run::{Run, best};
use crate::output::Output;
use crate::text::write_word;
use hdrhistogram::Histogram;
use serde_json::Value as Json;
use std::path::Path;

/// A figure or a word.
enum Field {
    Whole(u64),
    Real(f64),
    Word(String),
}

impl Field {
    fn text(&self) -> String {
        match self {
            Field::Whole(n) => n.to_string(),
            Field::Real(x) => figure(*x),
            Field::Word(word) => word.clone(),
        }
    }

    /// With as many digits as the text.
    fn json(&self) -> Json {
        let rounded = |text: String| text.parse::<u64>().map(Json::from).or_else(|_| text.parse::<f64>().map(Json::from));
        match self {
            Field::Whole(n) => (*n).into(),
            Field::Real(x) => rounded(figure(*x)).unwrap_or_default(),
            Field::Word(word) => word.as_str().into(),
        }
    }
}

/// Small figures get digits behind the point, so that they do not become 0.
fn figure(x: f64) -> String {
    match x {
        x if x >= 10.0 || x == 0.0 => format!("{x:.0}"),
        x if x >= 0.1 => format!("{x:.1}"),
        x => format!("{x:.4}"),
    }
}

fn micros(latencies_ns: &Histogram<u64>, quantile: f64) -> Field {
    Field::Real(latencies_ns.value_at_quantile(quantile) as f64 / 1e3)
}

fn measured(run: &Run) -> Vec<(&'static str, Field)> {
    vec![
        ("N", Field::Whole(run.operations())),
        ("total_ms", Field::Real(run.total.as_secs_f64() * 1e3)),
        ("ops_per_sec", Field::Real(run.ops_per_sec())),
        ("batch", Field::Whole(run.batch)),
        ("syncs", Field::Whole(run.syncs)),
        ("p50_us", micros(&run.all, 0.5)),
        ("p99_us", micros(&run.all, 0.99)),
        ("p999_us", micros(&run.all, 0.999)),
        ("max_us", Field::Real(run.all.max() as f64 / 1e3)),
        ("sync_us", Field::Real(run.sync_mean().as_secs_f64() * 1e6)),
        ("sync", Field::Word(if run.syncs > 0 { "fdatasync" } else { "none" }.into())),
    ]
}

/// PUTs and GETs separately, if there were both, and the bare disk.
fn details(run: &Run) -> Vec<(&'static str, Field)> {
    let mut fields = Vec::new();
    if !run.puts.is_empty() && !run.gets.is_empty() {
        fields.extend([
            ("puts", Field::Whole(run.puts.len())),
            ("put_p50_us", micros(&run.puts, 0.5)),
            ("put_p99_us", micros(&run.puts, 0.99)),
            ("gets", Field::Whole(run.gets.len())),
            ("get_p50_us", micros(&run.gets, 0.5)),
            ("get_p99_us", micros(&run.gets, 0.99)),
            ("put_p999_us", micros(&run.puts, 0.999)),
            ("put_max_us", micros(&run.puts, 1.0)),
            ("get_p999_us", micros(&run.gets, 0.999)),
            ("get_max_us", micros(&run.gets, 1.0)),
        ]);
    }
    if let (Some(floor), Some(rate)) = (run.floor, run.floor_ops_per_sec()) {
        fields.extend([("floor_sync_us", Field::Real(floor.mean.as_secs_f64() * 1e6)), ("floor_ops_per_sec", Field::Real(rate))]);
    }
    fields.extend(run.server.iter().map(|address| ("server", Field::Word(address.clone()))));
    fields
}

/// The options of the work, and whether each has its default.
fn options(run: &Run, bench: &Bench) -> Vec<(&'static str, Field, bool)> {
    vec![
        ("ops", Field::Word(bench.ops()), bench.gets_percent == 0),
        ("threads", Field::Whole(bench.threads), bench.threads == 1),
        ("key_bytes", Field::Whole(bench.key_bytes as u64), bench.key_bytes == 16),
        ("value_bytes", Field::Whole(bench.value_bytes as u64), bench.value_bytes == 100),
        ("keys", Field::Whole(run.keys), bench.keys.is_none()),
        ("dist", Field::Word(bench.dist.to_string()), bench.dist == Dist::Uniform),
        ("warm_up", Field::Whole(run.warm_up), bench.warm_up.is_none()),
    ]
}

pub(super) fn print(run: &Run, bench: &Bench, json: bool, out: &mut Output) {
    if json {
        let mut fields: Vec<(&str, Json)> = vec![("cmd", "BENCH".into()), ("ok", true.into())];
        fields.extend(measured(run).into_iter().chain(details(run)).map(|(name, field)| (name, field.json())));
        fields.extend(options(run, bench).iter().map(|(name, field, _)| (*name, field.json())));
        fields.push(("stopped", run.stopped.into()));
        let histograms = [("put_histogram", &run.puts), ("get_histogram", &run.gets)].into_iter();
        fields.extend(histograms.filter(|(_, latencies)| !latencies.is_empty()).map(|(name, each)| (name, histogram(each))));
        out.line_json(&fields);
    } else {
        out.answer(&text(run, bench));
    }
    out.flush();
}

/// For each row, the greatest latency in it in microseconds, and how many operations are in it.
fn histogram(latencies: &Histogram<u64>) -> Json {
    let row = |(until, n): (u64, u64)| Json::from(vec![Field::Real(until as f64 / 1e3).json(), n.into()]);
    bins(latencies, HISTOGRAM_ROWS).into_iter().map(row).collect()
}

pub(super) fn text(run: &Run, bench: &Bench) -> String {
    let given = options(run, bench).into_iter().filter(|(_, _, usual)| !usual).map(|(name, field, _)| (name, field));
    let fields = measured(run).into_iter().chain(details(run)).chain(given);
    let fields: Vec<_> = fields.map(|(name, field)| format!("{name}={}", field.text())).collect();
    format!("BENCH {}", fields.join(" "))
}

/// The first five figures, which fit on a terminal.
pub(super) fn short(run: &Run) -> String {
    let fields: Vec<_> = measured(run).iter().take(5).map(|(name, field)| format!("{name}={}", field.text())).collect();
    format!("BENCH {}", fields.join(" "))
}

pub(super) fn print_best(runs: &[Run], json: bool, out: &mut Output) {
    let (Some(first), Some(best)) = (runs.first(), best(runs)) else { return };
    let speedup = best.ops_per_sec() / first.ops_per_sec().max(1e-9);
    if json {
        let speedup = format!("{speedup:.2}").parse::<f64>().unwrap_or(speedup);
        out.line_json(&[
            ("cmd", "BENCH".into()),
            ("ok", true.into()),
            ("best", true.into()),
            ("batch", best.batch.into()),
            ("speedup", speedup.into()),
        ]);
    } else {
        out.answer(&format!("BENCH best batch={} speedup={speedup:.2}x", best.batch));
    }
}

pub(super) fn print_report(path: &Path, json: bool, out: &mut Output) {
    let path = path.as_os_str().as_encoded_bytes();
    if json {
        let (name, path) = crate::text::bytes("report", "report_base64", path);
        out.line_json(&[("cmd", "BENCH".into()), ("ok", true.into()), (name, path)]);
    } else {
        let mut word = Vec::new();
        let _ = write_word(path, &mut word);
        out.answer(&format!("BENCH report={}", String::from_utf8_lossy(&word)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_figure_does_not_become_zero() {
        assert_eq!([96.4, 3.25, 0.5, 0.02, 0.0].map(figure), ["96", "3.2", "0.5", "0.0200", "0"]);
    }
}

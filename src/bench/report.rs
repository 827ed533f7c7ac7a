//! A page to look at and to send on: one file that needs no other, HTML or SVG by its name.
//!
//! The path is checked before the work, so that a path that cannot be written is refused at once. An old page stays
//! until the new one is complete. A file that is not a page is never replaced (see `outfile`).

use super::describe::{self, NOTHING_SYNCED};
use super::figures::{human_ns, rate};
use super::floor::Floor;
use super::options::Bench;
use super::run::{Run, best};
use super::{charts, lines, machine};
use crate::about::VERSION;
use crate::error::{Code, CommandError};
use crate::outfile::{Kind, StoreFiles, Target};
use crate::text::{displayed, fit, human_bytes};
use std::ffi::OsString;
use std::io::{self, Write};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Near the beginning of every page.
const MARK: &str = "<!-- kv_cli BENCH report -->";
const STYLE: &str = include_str!("report.css");
const COLUMNS: &str = "The batch size is the number of writes that one sync makes durable. p50, p90, p99 and p99.9 are the times \
    that 50, 90, 99 and 99.9 % of the operations did not exceed.";
const FLOOR_METHOD: &str = "Sync floor: how fast this disk writes and syncs the same amount of data without a store. The column \
    'of floor' shows the share of that speed that the store reached. The floor is measured before and after each run, in a file \
    beside the log that was filled with zeros and synced. Each group of writes is one pwrite and one fdatasync, from one \
    thread. The floor is the mean of up to 1000 groups.";

static PAGE: Kind = Kind {
    refusal: ("this file exists and was not written by BENCH", "choose another name"),
    is_one: |begin| begin.windows(MARK.len()).any(|bytes| bytes == MARK.as_bytes()),
    mode: 0o666, // minus the umask, because a page is made to be sent on
};

/// A page that is going to be written.
pub(super) struct Report<'a> {
    path: PathBuf,
    target: Target<'a>,
}

impl<'a> Report<'a> {
    /// Checks that a page can be written there.
    pub(super) fn claim(path: &[u8], store: StoreFiles<'a>) -> Result<Report<'a>, CommandError> {
        let path = PathBuf::from(OsString::from_vec(path.to_vec()));
        let target = Target::claim(&path, store, &PAGE).map_err(|error| refused(&path, &error))?;
        Ok(Report { path, target })
    }

    /// Writes it, and returns its path.
    pub(super) fn write(self, bench: &Bench, runs: &[Run], wal: &Path) -> Result<PathBuf, CommandError> {
        let Report { path, mut target } = self;
        let is_svg = path.extension().is_some_and(|end| end.eq_ignore_ascii_case("svg"));
        let page = Page { bench, runs, facts: facts(bench, wal) };
        let text = if is_svg { page.svg() } else { page.html() }.map_err(|error| io::Error::other(error.to_string()));
        let written = text.and_then(|text| {
            target.write_all(text.as_bytes())?;
            target.put_in_place()
        });
        written.map_err(|error| refused(&path, &error))?;
        Ok(path)
    }
}

fn refused(path: &Path, error: &io::Error) -> CommandError {
    let text = format!("--report {}: {error}", displayed(path.as_os_str().as_encoded_bytes()));
    CommandError::new(Code::Failed, text)
}

fn facts(bench: &Bench, wal: &Path) -> Vec<(&'static str, String)> {
    let mut facts = vec![("command", format!("kv_cli {bench}"))];
    facts.extend(machine::facts(wal));
    let version = format!("kv_cli {}, {}", VERSION.as_str(), build());
    facts.push(("version", version));
    facts.push(("date", humantime::format_rfc3339_seconds(SystemTime::now()).to_string()));
    facts
}

fn build() -> &'static str {
    if cfg!(debug_assertions) { "debug build (slow: its figures mean little)" } else { "release build" }
}

struct Page<'a> {
    bench: &'a Bench,
    runs: &'a [Run],
    facts: Vec<(&'static str, String)>,
}

type Drawing = Result<String, plotters::drawing::DrawingAreaErrorKind<io::Error>>;

const HEADS: [&str; 11] = ["batch", "ops/s", "floor", "of floor", "p50", "p90", "p99", "p99.9", "max", "syncs", "one sync"];

impl Page<'_> {
    fn headline(&self) -> String {
        let (Some(first), Some(best)) = (self.runs.first(), best(self.runs)) else { return String::new() };
        let fastest = if self.runs.len() > 1 { " was the fastest" } else { "" };
        let mut text = format!("Batch size {}{fastest}: {:.0} operations per second", best.batch, best.ops_per_sec());
        if first.batch != best.batch {
            let faster = best.ops_per_sec() / first.ops_per_sec().max(1e-9);
            text += &format!(", {faster:.1} times as many as batch size {}", first.batch);
        }
        if let Some(floor) = best.floor_ops_per_sec() {
            text += &format!(", {:.0} % of the sync floor (this disk without a store)", 100.0 * best.ops_per_sec() / floor);
        }
        text + "."
    }

    fn what(&self) -> String {
        let work = describe::workload(self.bench, self.runs);
        let warm_up = self.runs.iter().map(|run| run.warm_up).max().unwrap_or(0);
        let stopped = if self.runs.iter().any(|run| run.stopped) { " The run was stopped before its end." } else { "" };
        format!(
            "{work} Each batch size has a fresh store. The first {warm_up} operations are a warm-up and do not count.{stopped}"
        )
    }

    fn synced(&self) -> String {
        let Some(synced) = describe::synced(self.runs) else { return NOTHING_SYNCED.to_string() };
        let shared = if self.bench.threads > 1 { " Threads that write at the same time share a sync." } else { "" };
        format!("Synced with {synced}{shared}")
    }

    fn row(run: &Run) -> [String; 11] {
        let quantile = |q: f64| human_ns(run.all.value_at_quantile(q) as f64);
        let none = || "–".to_string();
        let floor = run.floor_ops_per_sec();
        [
            run.batch.to_string(),
            rate(run.ops_per_sec()),
            floor.map_or_else(none, rate),
            floor.map_or_else(none, |floor| format!("{:.0} %", 100.0 * run.ops_per_sec() / floor)),
            quantile(0.5),
            quantile(0.9),
            quantile(0.99),
            quantile(0.999),
            human_ns(run.all.max() as f64),
            run.syncs.to_string(),
            if run.syncs > 0 { human_ns(run.sync_mean().as_nanos() as f64) } else { none() },
        ]
    }

    fn floor_method(&self) -> Option<String> {
        let floors: Vec<_> = self.runs.iter().filter_map(|run| run.floor).collect();
        let each = |floor: &Floor| {
            let figure = format!("{} in {}", human_bytes(floor.group_bytes), human_ns(floor.mean.as_nanos() as f64));
            figure.replace(' ', "\u{a0}")
        };
        let groups = floors.iter().map(each).collect::<Vec<_>>().join(", ");
        let above = self.runs.iter().any(|run| run.floor_ops_per_sec().is_some_and(|floor| run.ops_per_sec() > 1.02 * floor));
        let busy = if above { " A share over 100 % means that the disk was busier while the floor was measured." } else { "" };
        (!floors.is_empty()).then(|| format!("{FLOOR_METHOD} One group took: {groups}.{busy}"))
    }

    fn html(&self) -> Drawing {
        let charts = [
            charts::svg(charts::CHART_HEIGHT, |area| charts::throughput(area, self.runs))?,
            charts::svg(charts::CHART_HEIGHT, |area| charts::percentiles(area, self.runs))?,
            charts::svg(charts::histogram_height(self.runs), |area| charts::histograms(area, self.runs))?,
        ];
        let figures: String = charts.iter().map(|chart| format!("<figure>\n{chart}</figure>\n")).collect();
        let cells =
            |tag: &str, row: &[String]| row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect::<String>();
        let heads = cells("th", &HEADS.map(String::from));
        let rows: String = self.runs.iter().map(|run| format!("<tr>{}</tr>\n", cells("td", &Page::row(run)))).collect();
        let facts: String =
            self.facts.iter().map(|(name, found)| format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(found))).collect();
        let lines: String = self.runs.iter().map(|run| escaped(&lines::text(run, self.bench)) + "\n").collect();
        let floor = self.floor_method().map(|text| format!("<p>{}</p>\n", escaped(&text))).unwrap_or_default();
        Ok(format!(
            "<!DOCTYPE html>\n{MARK}\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{command}</title>\n<style>\n{STYLE}@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n</style>\n</head>\n<body>\n\
             <h1>{command}</h1>\n<p class=\"lead\">{headline}</p>\n{figures}\
             <div class=\"wide\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n<p>{COLUMNS}</p>\n\
             <h2>What was measured</h2>\n<p>{what}</p>\n<p>{synced}</p>\n{floor}\
             <h2>Where it was measured</h2>\n<dl>\n{facts}</dl>\n\
             <details><summary>The same figures, for a program</summary>\n<pre>{lines}</pre></details>\n</body>\n</html>\n",
            command = escaped(&format!("kv_cli {}", self.bench)),
            dark = charts::dark_rules(),
            headline = escaped(&self.headline()),
            what = escaped(&self.what()),
            synced = escaped(&self.synced()),
        ))
    }

    /// Everything in one drawing, for places that show only pictures.
    fn svg(&self) -> Drawing {
        const LINE: u32 = 20;
        const LETTERS: usize = 128;
        const HEADLINE_LETTERS: usize = 100;
        let histogram = charts::histogram_height(self.runs);
        let mut below: Vec<(Option<&str>, String)> = Vec::new();
        for text in [Some(COLUMNS.to_string()), Some(self.what()), Some(self.synced()), self.floor_method()].into_iter().flatten()
        {
            below.extend(fit(&text, LETTERS, 0).lines().map(|line| (None, line.to_string())));
        }
        below.push((None, String::new()));
        below.extend(self.facts.iter().map(|(name, found)| (Some(*name), found.clone())));
        let headline = fit(&self.headline(), HEADLINE_LETTERS, 0);
        let charts_from = 64 + LINE * headline.lines().count() as u32;
        let table_from = charts_from + 2 * charts::CHART_HEIGHT + histogram + 16;
        let below_from = table_from + LINE * (self.runs.len() as u32 + 1) + 20;
        let height = below_from + LINE * below.len() as u32 + 16;
        let drawn = charts::svg(height, |area| {
            charts::text(area, &format!("kv_cli {}", self.bench), (16, 28), 20.0, false)?;
            for (line, text) in headline.lines().enumerate() {
                charts::text(area, text, (16, 58 + LINE * line as u32), 14.0, false)?;
            }
            let part = |top: u32, height: u32| area.clone().shrink((0, top), (charts::WIDTH, height));
            charts::throughput(&part(charts_from, charts::CHART_HEIGHT), self.runs)?;
            charts::percentiles(&part(charts_from + charts::CHART_HEIGHT, charts::CHART_HEIGHT), self.runs)?;
            charts::histograms(&part(charts_from + 2 * charts::CHART_HEIGHT, histogram), self.runs)?;
            let table = std::iter::once(HEADS.map(String::from)).chain(self.runs.iter().map(Page::row));
            for (row, cells) in table.enumerate() {
                for (column, cell) in cells.iter().enumerate() {
                    charts::text(area, cell, (16 + 82 * column as u32, table_from + LINE * row as u32), 12.0, row == 0)?;
                }
            }
            for (line, (name, text)) in below.iter().enumerate() {
                let y = below_from + LINE * line as u32;
                if let Some(name) = name {
                    charts::text(area, name, (16, y), 12.0, true)?;
                }
                charts::text(area, text, (if name.is_some() { 110 } else { 16 }, y), 12.0, false)?;
            }
            Ok(())
        })?;
        let style = format!("<style>@media (prefers-color-scheme: dark) {{\n{}\n}}</style>", charts::dark_rules());
        Ok(drawn.replacen(">\n", &format!(">\n{MARK}\n{style}\n"), 1))
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

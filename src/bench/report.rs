//! A page to look at and to send on: one file that needs no other, HTML or SVG by its name.
//!
//! The HTML has each chart twice, wide and narrow, and CSS shows the one that fits the screen. The SVG is one wide
//! drawing. Every drawing has a title for readers that do not see it.
//!
//! The path is checked before the work, so that a path that cannot be written is refused at once. An old page stays
//! until the new one is complete. A file that is not a page is never replaced (see `outfile`).

use super::charts::{Chart, Which};
use super::describe::{self, NOTHING_SYNCED};
use super::drawing::{LINE, MARGIN, WIDE, escaped, wrapped};
use super::figures::{human_ns, rate};
use super::floor::Floor;
use super::options::Bench;
use super::run::{Run, best};
use super::{charts, drawing, lines, machine};
use crate::about::VERSION;
use crate::error::{Code, CommandError};
use crate::outfile::{Kind, StoreFiles, Target};
use crate::text::{displayed, human_bytes};
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
/// Below the first sentence that names it.
const FLOOR_IS: &str = "The sync floor is how fast this disk writes and syncs the same data in the same groups, without a store. \
    It shows how much of the time the disk itself needs.";
const APART: &str = "PUTs and GETs are also shown apart, because a PUT may wait for a sync and a GET does not.";
const FLOOR_METHOD: &str = "The column 'of floor' shows the share of that speed that the store reached. The floor is measured before and after each run, in a file \
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
            text += &format!(", {:.0} % of the sync floor", 100.0 * best.ops_per_sec() / floor);
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

    /// What the sync floor is, if there is one.
    fn floor_is(&self) -> Option<&'static str> {
        self.runs.iter().any(|run| run.floor_ops_per_sec().is_some()).then_some(FLOOR_IS)
    }

    fn columns(&self) -> String {
        let apart = if Which::of(self.runs).len() > 1 { format!(" {APART}") } else { String::new() };
        format!("{COLUMNS}{apart}")
    }

    fn rows(&self) -> Vec<[String; 11]> {
        let none = || "–".to_string();
        let rows = self.runs.iter().flat_map(|run| {
            let apart = Which::of(self.runs).iter().filter(|which| **which != Which::All);
            std::iter::once(&Which::All).chain(apart).map(move |which| {
                let (latencies, is_all) = (which.latencies(run), *which == Which::All);
                let name = if is_all { run.batch.to_string() } else { which.to_string() };
                let quantile =
                    |q: f64| if latencies.is_empty() { none() } else { human_ns(latencies.value_at_quantile(q) as f64) };
                let floor = run.floor_ops_per_sec().filter(|_| is_all);
                let per_sec = latencies.len() as f64 / run.total.as_secs_f64().max(1e-9);
                let mean = if run.syncs > 0 { human_ns(run.sync_mean().as_nanos() as f64) } else { none() };
                [
                    name,
                    rate(per_sec),
                    floor.map_or_else(none, rate),
                    floor.map_or_else(none, |floor| format!("{:.0} %", 100.0 * per_sec / floor)),
                    quantile(0.5),
                    quantile(0.9),
                    quantile(0.99),
                    quantile(0.999),
                    quantile(1.0),
                    if is_all { run.syncs.to_string() } else { none() },
                    if is_all { mean } else { none() },
                ]
            })
        });
        rows.collect()
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

    /// One chart at both widths.
    fn figure(n: usize, chart: &Chart<'_>) -> Drawing {
        let name = format!("{}: {}", chart.name(), chart.about());
        let drawn = |width: u32, class: &str| {
            let id = format!("chart-{n}-{class}");
            let svg = drawing::svg((width, chart.height(width)), (&id, &name), |area| chart.draw(area))?;
            Ok(svg.replacen("<svg ", &format!("<svg class=\"{class}\" "), 1))
        };
        Ok(format!("<figure>\n{}{}</figure>\n", drawn(drawing::WIDE, "broad")?, drawn(drawing::NARROW, "slim")?))
    }

    fn html(&self) -> Drawing {
        let charts = charts::all(self.runs);
        let figures = charts.iter().enumerate().map(|(n, chart)| Page::figure(n + 1, chart)).collect::<Result<String, _>>()?;
        let cells =
            |tag: &str, row: &[String]| row.iter().map(|cell| format!("<{tag}>{}</{tag}>", escaped(cell))).collect::<String>();
        let heads = cells("th", &HEADS.map(String::from));
        let rows: String = self.rows().iter().map(|row| format!("<tr>{}</tr>\n", cells("td", row))).collect();
        let facts: String =
            self.facts.iter().map(|(name, found)| format!("<dt>{name}</dt><dd>{}</dd>\n", escaped(found))).collect();
        let lines: String = self.runs.iter().map(|run| escaped(&lines::text(run, self.bench)) + "\n").collect();
        let floor_is = self.floor_is().map(|text| format!("<p>{text}</p>\n")).unwrap_or_default();
        let floor = self.floor_method().map(|text| format!("<p>{}</p>\n", escaped(&text))).unwrap_or_default();
        Ok(format!(
            "<!DOCTYPE html>\n{MARK}\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width\">\n<meta name=\"color-scheme\" content=\"light dark\">\n\
             <title>{command}</title>\n<style>\n{STYLE}@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n</style>\n</head>\n<body>\n\
             <h1>{command}</h1>\n<p class=\"lead\">{headline}</p>\n{floor_is}{figures}\
             <div class=\"wide\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n<p>{columns}</p>\n\
             <h2>What was measured</h2>\n<p>{what}</p>\n<p>{synced}</p>\n{floor}\
             <h2>Where it was measured</h2>\n<dl>\n{facts}</dl>\n\
             <details><summary>The same figures, for a program</summary>\n<pre>{lines}</pre></details>\n</body>\n</html>\n",
            command = escaped(&format!("kv_cli {}", self.bench)),
            dark = drawing::dark_rules(),
            columns = escaped(&self.columns()),
            headline = escaped(&self.headline()),
            what = escaped(&self.what()),
            synced = escaped(&self.synced()),
        ))
    }

    /// Everything in one drawing, for places that show only pictures.
    fn svg(&self) -> Drawing {
        const TEXT: u32 = WIDE - 2 * MARGIN;
        /// Where the facts begin, right of their names.
        const FACTS: u32 = 110;
        let command = format!("kv_cli {}", self.bench);
        // Texts from the top: their size, and how far apart lines are.
        let mut above: Vec<(String, f64, u32)> = Vec::new();
        let mut add = |text: &str, size: f64, line: u32| {
            above.extend(wrapped(text, TEXT, size).into_iter().map(|text| (text, size, line)));
        };
        add(&command, 20.0, 28);
        add(&self.headline(), 14.0, LINE);
        self.floor_is().into_iter().for_each(|text| add(text, 12.0, LINE));
        let charts_from = 20 + above.iter().map(|(.., line)| line).sum::<u32>();

        let charts = charts::all(self.runs);
        let table_from = charts_from + charts.iter().map(|chart| chart.height(WIDE)).sum::<u32>() + 16;
        let table: Vec<_> = std::iter::once(HEADS.map(String::from)).chain(self.rows()).collect();
        let below_from = table_from + LINE * table.len() as u32 + 20;

        let mut below: Vec<(&str, String)> = Vec::new();
        let texts = [Some(self.columns()), Some(self.what()), Some(self.synced()), self.floor_method()];
        for text in texts.into_iter().flatten() {
            below.extend(wrapped(&text, TEXT, 12.0).into_iter().map(|line| ("", line)));
        }
        let below_facts = below.len();
        for (name, found) in &self.facts {
            let names = std::iter::once(*name).chain(std::iter::repeat(""));
            below.extend(names.zip(wrapped(found, WIDE - FACTS - MARGIN, 12.0)));
        }
        let height = below_from + LINE * (below.len() as u32 + 1) + 16;

        let drawn = drawing::svg((WIDE, height), ("report", &command), |area| {
            let mut y = 28;
            for (text, size, line) in &above {
                drawing::text(area, text, (MARGIN, y), *size, false)?;
                y += line;
            }
            let mut top = charts_from;
            for chart in &charts {
                let height = chart.height(WIDE);
                chart.draw(&area.clone().shrink((0, top), (WIDE, height)))?;
                top += height;
            }
            for (row, cells) in table.iter().enumerate() {
                for (column, cell) in cells.iter().enumerate() {
                    let place = (MARGIN + 82 * column as u32, table_from + LINE * row as u32);
                    drawing::text(area, cell, place, 12.0, row == 0)?;
                }
            }
            for (line, (name, text)) in below.iter().enumerate() {
                let is_fact = line >= below_facts;
                let y = below_from + LINE * (line as u32 + u32::from(is_fact));
                if !name.is_empty() {
                    drawing::text(area, name, (MARGIN, y), 12.0, true)?;
                }
                drawing::text(area, text, (if is_fact { FACTS } else { MARGIN }, y), 12.0, false)?;
            }
            Ok(())
        })?;
        let style = format!("<style>@media (prefers-color-scheme: dark) {{\n{}\n}}</style>", drawing::dark_rules());
        Ok(drawn.replacen(">\n", &format!(">\n{MARK}\n{style}\n"), 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::{Amount, Dist};

    /// Extreme figures, and a machine with long names.
    fn runs(mixed: bool) -> Vec<Run> {
        let one = |n: u64| {
            let puts: Vec<u64> = (0..40).map(|at| 3 + at * at * at * 40_000_000).collect();
            let gets: Vec<u64> = (0..if mixed { 30 } else { 0 }).map(|at| 1 + at * 7).collect();
            let mut run = Run::fabricated(900_000 + n, &puts, &gets);
            (run.syncs, run.keys, run.warm_up) = (100_000_000, 100_000_000, 100_000_000);
            run.floor = Some(Floor { group_bytes: u64::MAX, mean: std::time::Duration::from_secs(86_400 * n) });
            run
        };
        (1..=15).map(one).collect()
    }

    fn page(runs: &[Run]) -> Page<'_> {
        let bench = Bench {
            amount: Amount::Count(100_000_000),
            batch_sizes: runs.iter().map(|run| run.batch).collect(),
            gets_percent: 43,
            key_bytes: 65_536,
            value_bytes: 16 << 20,
            keys: Some(100_000_000),
            dist: Dist::Zipfian,
            threads: 256,
            warm_up: Some(Amount::Count(100_000_000)),
            report: None,
            json: false,
        };
        let long = "Processor(R) of a Long Name 9999X @ 4.00GHz, ".repeat(5);
        let facts = vec![("processor", long), ("file system", "no-blank/".repeat(40)), ("date", "now".into())];
        Page { bench: Box::leak(Box::new(bench)), runs, facts }
    }

    /// The attribute of this name in a tag.
    fn attribute<'t>(tag: &'t str, name: &str) -> &'t str {
        let (_, rest) = tag.split_once(&format!(" {name}=\"")).expect(name);
        rest.split('"').next().expect("a value")
    }

    fn pixels(tag: &str, name: &str) -> f64 {
        attribute(tag, name).parse().expect(name)
    }

    /// How far each text of each drawing reaches to the left and to the right, with the letters of a usual font.
    fn reaches(text: &str) -> Vec<(f64, f64, f64, String)> {
        let drawings = text.split("<svg ").skip(1).map(|drawing| drawing.split("</svg>").next().expect("an end"));
        let mut found = Vec::new();
        for drawing in drawings {
            let width = pixels(&format!(" {drawing}"), "width");
            for part in drawing.split("<text").skip(1) {
                let (tag, rest) = part.split_once(">\n").expect("a tag");
                let shown = rest.split("\n</text>").next().expect("an end").replace("&apos;", "'").replace("&amp;", "&");
                let wide = shown.chars().count() as f64 * pixels(tag, "font-size") * 0.56;
                let x = pixels(tag, "x");
                let left = match attribute(tag, "text-anchor") {
                    "start" => x,
                    "middle" => x - wide / 2.0,
                    _ => x - wide,
                };
                found.push((left, left + wide, width, shown));
            }
        }
        found
    }

    #[test]
    fn no_text_runs_out_of_its_drawing_with_any_figures_on_any_machine() {
        for mixed in [false, true] {
            let runs = runs(mixed);
            let page = page(&runs);
            for (drawn, drawings) in [(page.html(), if mixed { 10 } else { 6 }), (page.svg(), 1)] {
                let drawn = drawn.expect("drawn");
                assert_eq!(drawn.matches("<svg ").count(), drawings);
                let reaches = reaches(&drawn);
                assert!(reaches.len() > 60, "{}", reaches.len());
                for (left, right, width, text) in reaches {
                    assert!(left >= 0.0 && right <= width, "'{text}' is at {left:.0} to {right:.0} of {width}");
                }
            }
        }
    }

    #[test]
    fn every_drawing_has_a_title_of_its_own() {
        let runs = [Run::fabricated(1, &[5, 6], &[]), Run::fabricated(5, &[5], &[2])];
        let page = page(&runs);
        for drawn in [page.html().expect("drawn"), page.svg().expect("drawn")] {
            let mut ids = Vec::new();
            for tag in drawn.split("<svg").skip(1) {
                assert_eq!(attribute(tag, "role"), "img");
                let id = attribute(tag, "aria-labelledby");
                let title = tag.split_once(&format!("<title id=\"{id}\">")).map(|(_, rest)| rest.split('<').next());
                assert!(title.is_some_and(|text| text.is_some_and(|text| !text.is_empty())), "{id}");
                assert!(!ids.contains(&id), "{id}");
                ids.push(id);
            }
        }
    }

    #[test]
    fn puts_and_gets_are_apart_if_there_are_both_and_the_floor_is_explained_where_it_is_named() {
        let mut runs = [Run::fabricated(5, &[4_000, 4_000], &[700])];
        let row = |runs: &[Run]| page(runs).rows().iter().map(|row| row[0].clone()).collect::<Vec<_>>();
        assert_eq!(row(&runs), ["5", "PUTs", "GETs"]);
        assert_eq!(row(&[Run::fabricated(5, &[4_000], &[])]), ["5"]);
        let rows = page(&runs).rows();
        assert!(rows[1][4].starts_with("4.00 ") && rows[2][4].starts_with("700 "), "{rows:?}");
        assert!(!page(&runs).html().expect("drawn").contains("sync floor"), "there is none");
        runs[0].floor = Some(Floor { group_bytes: 1, mean: std::time::Duration::from_micros(3) });
        for drawn in [page(&runs).html().expect("drawn"), page(&runs).svg().expect("drawn")] {
            let (_, after) = drawn.split_once("sync floor").expect("named");
            assert!(after.contains("The sync floor is how fast this disk writes and syncs"), "explained right after");
        }
    }
}

//! Runs as charts: throughput by batch size, latency percentiles, histograms. If the work has PUTs and GETs, each kind
//! has latency charts of its own, because a PUT may wait for a sync and a GET does not.
//!
//! Every chart can be drawn at two widths: [`WIDE`](super::drawing::WIDE), and [`NARROW`](super::drawing::NARROW) for
//! the screen of a phone, where a wide one would be unreadable.

use super::drawing::{
    Area, Axis, Curve, Drawn, ENGINE, FLOOR, GROUND, Head, INK, LETTER, around, at, decades, font, log, mesh, width,
};
use super::figures::{human_ns, rate};
use super::run::Run;
use hdrhistogram::Histogram;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};
use std::fmt;
use std::ops::Range;

/// A chart below its head, with the axes.
const BODY: u32 = 278;
const PANEL_HEIGHT: u32 = 92;
/// The labels below the last panel.
const PANEL_LABELS: u32 = 56;
/// The number of histogram columns for a decade of latency.
const BINS: f64 = 12.0;

/// Which operations a chart of latencies shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    All,
    Puts,
    Gets,
}

impl Which {
    /// Those that are shown apart.
    pub(super) fn of(runs: &[Run]) -> &'static [Which] {
        let is_mixed = runs.iter().any(|run| !run.puts.is_empty()) && runs.iter().any(|run| !run.gets.is_empty());
        if is_mixed { &[Which::Puts, Which::Gets] } else { &[Which::All] }
    }

    pub(super) fn latencies(self, run: &Run) -> &Histogram<u64> {
        match self {
            Which::All => &run.all,
            Which::Puts => &run.puts,
            Which::Gets => &run.gets,
        }
    }

    fn suffix(self) -> String {
        if self == Which::All { String::new() } else { format!(" of {self}") }
    }
}

impl fmt::Display for Which {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Which::All => "all",
            Which::Puts => "PUTs",
            Which::Gets => "GETs",
        })
    }
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Throughput,
    Percentiles(Which),
    Histograms(Which),
}

/// A chart that can be drawn at any width.
pub(super) struct Chart<'a> {
    kind: Kind,
    runs: &'a [Run],
}

/// The charts of these runs, in the order of the page.
pub(super) fn all(runs: &[Run]) -> Vec<Chart<'_>> {
    let apart = Which::of(runs).iter();
    let kinds = std::iter::once(Kind::Throughput)
        .chain(apart.clone().map(|which| Kind::Percentiles(*which)))
        .chain(apart.map(|which| Kind::Histograms(*which)));
    kinds.map(|kind| Chart { kind, runs }).collect()
}

impl Chart<'_> {
    pub(super) fn name(&self) -> String {
        match self.kind {
            Kind::Throughput => "Throughput by batch size".to_string(),
            Kind::Percentiles(which) => format!("Latency percentiles{}", which.suffix()),
            Kind::Histograms(which) => format!("Latency histogram{}", which.suffix()),
        }
    }

    pub(super) fn about(&self) -> &'static str {
        match self.kind {
            Kind::Throughput => "operations per second; both scales are logarithmic",
            Kind::Percentiles(_) => "time of one operation, on a logarithmic scale; the slowest ones are on the right",
            Kind::Histograms(Which::Gets) => "number of operations by latency; both scales are logarithmic",
            Kind::Histograms(_) => {
                "number of operations by latency; both scales are logarithmic, so the few that wait for a sync are visible"
            }
        }
    }

    fn head(&self, width: u32) -> Head {
        let runs = self.runs.iter().enumerate();
        let curves = match self.kind {
            Kind::Throughput => {
                let floor = Curve { name: "sync floor: the disk without a store".into(), color: FLOOR, dashed: true };
                let has_floor = self.runs.iter().any(|run| run.floor_ops_per_sec().is_some());
                let engine = Curve { name: "kv-engine".into(), color: ENGINE, dashed: false };
                std::iter::once(engine).chain(has_floor.then_some(floor)).collect()
            }
            Kind::Percentiles(_) => runs.map(|(n, run)| Curve::of(n, run, self.runs.len())).collect(),
            Kind::Histograms(_) => Vec::new(),
        };
        Head::new(width, self.name(), self.about(), curves)
    }

    pub(super) fn height(&self, width: u32) -> u32 {
        let body = match self.kind {
            Kind::Throughput | Kind::Percentiles(_) => BODY,
            Kind::Histograms(_) => PANEL_HEIGHT * self.runs.len() as u32 + PANEL_LABELS,
        };
        self.head(width).height() + body
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let head = self.head(width(area));
        head.draw(area)?;
        match self.kind {
            Kind::Throughput => throughput(area, self.runs, head.height()),
            Kind::Percentiles(which) => percentiles(area, self.runs, which, head.height()),
            Kind::Histograms(which) => histograms(area, self.runs, which, head.height()),
        }
    }
}

/// The widths of the parts left and right of a plot.
struct Sides {
    left: u32,
    right: u32,
}

impl Sides {
    fn of(area: &Area<'_>, right: u32) -> Sides {
        if is_narrow(area) { Sides { left: 60, right: right.min(34) } } else { Sides { left: 76, right } }
    }

    fn plot(&self, area: &Area<'_>) -> f64 {
        f64::from(width(area) - self.left - self.right)
    }
}

fn is_narrow(area: &Area<'_>) -> bool {
    width(area) < 600
}

/// The marks whose labels do not touch. `plot` is the length of the axis in pixels.
fn spaced(marks: Vec<f64>, label: fn(f64) -> String, range: &Range<f64>, plot: f64) -> Vec<f64> {
    let half = |x: f64| (label(x).chars().count() as f64 * LETTER + 8.0) / 2.0 * (range.end - range.start) / plot;
    let mut kept: Vec<f64> = Vec::new();
    for mark in marks {
        if kept.iter().all(|other| (other - mark).abs() > half(*other) + half(mark)) {
            kept.push(mark);
        }
    }
    kept
}

/// Throughput by batch size, of the store and of the bare disk with the same groups.
fn throughput(area: &Area<'_>, runs: &[Run], top: u32) -> Drawn {
    let sizes: Vec<f64> = runs.iter().map(|run| log(run.batch as f64)).collect();
    let measured: Vec<(f64, f64)> = sizes.iter().copied().zip(runs.iter().map(|run| log(run.ops_per_sec()))).collect();
    let floor = |(x, run): (&f64, &Run)| run.floor_ops_per_sec().map(|rate| (*x, log(rate)));
    let floor: Vec<(f64, f64)> = sizes.iter().zip(runs).filter_map(floor).collect();
    let (least, most) = sizes.iter().fold((f64::MAX, f64::MIN), |(a, b), &x| (a.min(x), b.max(x)));
    let room = ((most - least) * 0.08).max(0.3);
    let x_range = least - room..most + room;
    // Leaves room for a label below the lowest point.
    let low = measured.iter().map(|(_, y)| y - 0.3);
    let y_range = around(measured.iter().chain(&floor).map(|(_, y)| *y).chain(low));
    // Room for a label, right of the largest batch size.
    let sides = Sides::of(area, 104);
    let label = |x: f64| format!("{:.0}", 10f64.powf(x));
    let marks = spaced(sizes, label, &x_range, sides.plot(area));
    let mut chart = ChartBuilder::on(area)
        .margin_top(top)
        .margin_right(sides.right)
        .margin_bottom(8)
        .x_label_area_size(48)
        .y_label_area_size(sides.left)
        .build_cartesian_2d(
            Axis { range: x_range, marks, label },
            Axis { marks: decades(&y_range), range: y_range.clone(), label: |y| short(&rate(10f64.powf(y))) },
        )?;
    mesh(&mut chart.configure_mesh()).x_desc("batch size: writes per sync").draw()?;
    if floor.len() > 1 {
        chart.draw_series(DashedLineSeries::new(floor.clone(), 6, 5, FLOOR.stroke_width(2)))?;
    }
    chart.draw_series(floor.iter().map(|&point| Circle::new(point, 7, FLOOR.stroke_width(2))))?;
    chart.draw_series(LineSeries::new(measured.clone(), ENGINE.stroke_width(3)))?;
    chart.draw_series(measured.iter().map(|&point| Circle::new(point, 5, ENGINE.filled())))?;
    // The chart may be a part of a drawing. Places are relative to the part.
    let (left, above) = area.get_base_pixel();
    let place = |point: &(f64, f64)| (chart.backend_coord(point).0 - left, chart.backend_coord(point).1 - above);
    let mut taken: Vec<[i32; 4]> = measured.iter().chain(&floor).map(place).map(|(x, y)| [x - 7, y - 7, x + 7, y + 7]).collect();
    let inside = [sides.left as i32, top as i32, width(area) as i32 - 4, (top + BODY - 58) as i32];
    for (run, point) in runs.iter().zip(&measured) {
        let share = run.floor_ops_per_sec().map(|floor| format!(" ({:.0} %)", 100.0 * run.ops_per_sec() / floor));
        let label = rate(run.ops_per_sec()) + &share.unwrap_or_default();
        let width = (label.chars().count() as f64 * LETTER) as i32 + 6;
        let (x, y) = place(point);
        // Below the line, because it rises. Above it if that place is taken. If no place is free, the table has the
        // figure.
        let (right, left) = ((x + 8, x + 8 + width), (x - 8 - width, x - 8));
        let places =
            [(right, y + 5), (left, y - 25), (right, y - 25), (left, y + 5)].map(|((from, to), top)| [from, top, to, top + 18]);
        let free = |place: &[i32; 4]| is_within(place, &inside) && taken.iter().all(|other| !touch(place, other));
        if let Some(place) = places.into_iter().find(free) {
            let [from, above, to, below] = place;
            area.draw(&Rectangle::new([(from, above), (to, below)], GROUND.mix(0.8).filled()))?;
            area.draw_text(&label, &at(&font(12.5, INK), HPos::Left, VPos::Center), (from + 3, (above + below) / 2))?;
            taken.push(place);
        }
    }
    Ok(())
}

fn is_within(a: &[i32; 4], b: &[i32; 4]) -> bool {
    a[0] > b[0] && a[1] > b[1] && a[2] <= b[2] && a[3] <= b[3]
}

/// For each run: the latency that a share of its operations does not exceed.
fn percentiles(area: &Area<'_>, runs: &[Run], which: Which, top: u32) -> Drawn {
    // The x axis is the logarithm of n where one in n operations is slower. So 90 %, 99 % and 99.9 % are equally far
    // apart.
    let end = |latencies: &Histogram<u64>| log(latencies.len().max(10) as f64).clamp(1.0, 6.0);
    let most = runs.iter().map(|run| end(which.latencies(run))).fold(2.0, f64::max).ceil();
    let points = |run: &Run| -> Vec<(f64, f64)> {
        let latencies = which.latencies(run);
        if latencies.is_empty() {
            return Vec::new();
        }
        let at = |x: f64| (x, log(latencies.value_at_quantile(1.0 - 10f64.powf(-x)) as f64));
        let steps = (0..(end(latencies) * 50.0) as u32).map(|step| f64::from(step) / 50.0);
        steps.map(at).chain([(end(latencies), log(latencies.max() as f64))]).collect()
    };
    let curves: Vec<_> = runs.iter().map(points).collect();
    let y_range = around(curves.iter().flatten().map(|(_, y)| *y));
    let sides = Sides::of(area, 40);
    let x_range = 0.0..most;
    // 50 % is left out if there is no room for all.
    let marks: Vec<f64> = [0.0].into_iter().chain(decades(&(1.0..most))).chain([log(2.0)]).collect();
    let marks = spaced(marks, percent, &x_range, sides.plot(area));
    let mut chart = ChartBuilder::on(area)
        .margin_top(top)
        .margin_right(sides.right)
        .margin_bottom(8)
        .x_label_area_size(48)
        .y_label_area_size(sides.left)
        .build_cartesian_2d(
            Axis { range: x_range, marks, label: percent },
            Axis { marks: decades(&y_range), range: y_range, label: |y| short(&human_ns(10f64.powf(y))) },
        )?;
    let about = if is_narrow(area) { "share of the operations" } else { "share of the operations that took at most this long" };
    mesh(&mut chart.configure_mesh()).x_desc(about).draw()?;
    for (n, (points, run)) in curves.into_iter().zip(runs).enumerate() {
        let Curve { color, dashed, .. } = Curve::of(n, run, runs.len());
        let stroke = color.stroke_width(2);
        match dashed {
            true => chart.draw_series(DashedLineSeries::new(points, 6, 4, stroke)).map(drop)?,
            false => chart.draw_series(LineSeries::new(points, stroke)).map(drop)?,
        }
    }
    Ok(())
}

/// A panel for each run, all on the same scale: how many operations took how long.
fn histograms(area: &Area<'_>, runs: &[Run], which: Which, top: u32) -> Drawn {
    let latencies = runs.iter().map(|run| which.latencies(run)).filter(|latencies| !latencies.is_empty());
    let x_range = around(latencies.flat_map(|latencies| [latencies.min(), latencies.max()]).map(|ns| log(ns as f64)));
    let counts: Vec<_> = runs.iter().map(|run| columns(which.latencies(run), &x_range)).collect();
    let most = counts.iter().flatten().map(|(_, n)| log(*n as f64)).fold(1.0, f64::max);
    // The scale begins below one operation, so that a single one has a height.
    let y_range = -0.3..(most + 0.1);
    let sides = Sides::of(area, 40);
    let label = |x: f64| short(&human_ns(10f64.powf(x)));
    let marks = spaced(decades(&x_range), label, &x_range, sides.plot(area));
    for (n, (counts, run)) in counts.iter().zip(runs).enumerate() {
        let style = Curve::of(n, run, 1);
        let top = top as i32 + PANEL_HEIGHT as i32 * n as i32;
        let last = n + 1 == runs.len();
        let labels = if last { PANEL_LABELS } else { 0 };
        let panel = area.clone().shrink((0, top), (width(area), PANEL_HEIGHT + labels));
        let y_ticks: Vec<f64> = decades(&(0.0..most.floor())).into_iter().filter(|y| *y as i32 % 2 == 0).collect();
        let mut chart = ChartBuilder::on(&panel)
            .margin_top(10)
            .margin_right(sides.right)
            .margin_bottom(if last { 8 } else { 0 })
            .x_label_area_size(labels.saturating_sub(8))
            .y_label_area_size(sides.left)
            .build_cartesian_2d(
                Axis { marks: marks.clone(), range: x_range.clone(), label },
                Axis { marks: y_ticks, range: y_range.clone(), label: |y| whole(10f64.powf(y)) },
            )?;
        let mut grid = chart.configure_mesh();
        mesh(&mut grid);
        if last {
            grid.x_desc("latency of one operation");
        }
        grid.draw()?;
        let bars = counts.iter().filter(|(_, n)| *n > 0).map(|(x, count)| {
            let mut bar = Rectangle::new([(*x, -0.3), (x + 1.0 / BINS, log(*count as f64))], style.color.filled());
            bar.set_margin(0, 0, 0, 1);
            bar
        });
        chart.draw_series(bars)?;
        // Bars of the same colour may be behind it.
        let (right, letters) = ((width(area) - sides.right) as i32 - 6, (style.name.len() as f64 * LETTER) as i32);
        panel.draw(&Rectangle::new([(right - letters - 3, 11), (right + 3, 29)], GROUND.mix(0.8).filled()))?;
        panel.draw_text(&style.name, &at(&font(12.5, style.color), HPos::Right, VPos::Center), (right, 20))?;
    }
    Ok(())
}

fn touch(a: &[i32; 4], b: &[i32; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// `x` is the logarithm of n where one in n operations is slower.
fn percent(x: f64) -> String {
    let digits = (x.round() as usize).saturating_sub(2);
    format!("{:.digits$} %", 100.0 * (1.0 - 10f64.powf(-x)))
}

/// The beginning of each column, and the number of operations in it.
fn columns(latencies: &Histogram<u64>, range: &Range<f64>) -> Vec<(f64, u64)> {
    let number = ((range.end - range.start) * BINS).ceil() as usize;
    let mut columns: Vec<(f64, u64)> = (0..number).map(|n| (range.start + n as f64 / BINS, 0)).collect();
    for value in latencies.iter_recorded() {
        let at = ((log(value.value_iterated_to() as f64) - range.start) * BINS) as usize;
        columns[at.min(number - 1)].1 += value.count_at_value();
    }
    columns
}

/// `10 µs` for `10.0 µs`.
fn short(figure: &str) -> String {
    let (number, unit) = figure.split_once(' ').unwrap_or((figure, ""));
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number} {unit}")
}

/// `1`, `100`, `10k`.
fn whole(x: f64) -> String {
    match x {
        x if x >= 1e6 => format!("{:.0}M", x / 1e6),
        x if x >= 1e3 => format!("{:.0}k", x / 1e3),
        x => format!("{x:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_as_many_digits_as_it_needs() {
        assert_eq!([0.0, log(2.0), 1.0, 2.0, 3.0, 4.0].map(percent), ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
    }

    #[test]
    fn labels_that_would_touch_are_left_out() {
        let label = |x: f64| format!("{x:.0}");
        let marks = vec![0.0, 1.0, 50.0, 52.0, 100.0];
        assert_eq!(spaced(marks.clone(), label, &(0.0..100.0), 200.0), [0.0, 50.0, 100.0]);
        assert_eq!(spaced(marks.clone(), label, &(0.0..100.0), 20_000.0), marks);
    }

    #[test]
    fn columns_lose_no_operation() {
        let mut latencies = Histogram::new_with_bounds(1, 1_000_000, 3).expect("good bounds");
        (1..=1000).for_each(|n| latencies.record(n * n).expect("in bounds"));
        let columns = columns(&latencies, &(0.0..6.0));
        assert_eq!(columns.iter().map(|(_, n)| n).sum::<u64>(), 1000);
        assert_eq!(columns.len(), 72);
    }
}

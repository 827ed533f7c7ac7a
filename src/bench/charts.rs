//! Runs as SVG, drawn by `plotters`: throughput by batch size, latency percentiles, histograms.
//!
//! [`PALETTE`] lists every colour twice: for a light ground and for a dark one. The drawing has the light ones, for
//! viewers without CSS. [`dark_rules`] is the CSS that replaces them by the dark ones.

use super::figures::{human_ns, rate};
use super::run::Run;
use hdrhistogram::Histogram;
use plotters::chart::MeshStyle;
use plotters::coord::Shift;
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::io;
use std::ops::Range;

pub(super) type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
pub(super) type Drawn = Result<(), DrawingAreaErrorKind<io::Error>>;

const FONT: &str = "system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif";
pub(super) const WIDTH: u32 = 920;
pub(super) const CHART_HEIGHT: u32 = 340;
const PANEL_HEIGHT: u32 = 92;
const HISTOGRAM_FRAME: u32 = 116;
const LEFT: u32 = 76;
/// Room for a label, right of the largest batch size.
const LAST_LABEL: u32 = 104;
/// The width of a letter of a label, in a wide font.
const LETTER: f64 = 7.0;
/// The number of histogram columns for a decade of latency.
const BINS: f64 = 12.0;
/// The number of different colours for curves.
const CURVES: usize = 6;

/// Light and dark, for: ground, ink, faint ink, grid, sync floor, then the curves.
const PALETTE: [(RGBColor, RGBColor); 5 + CURVES] = [
    (RGBColor(0xff, 0xff, 0xff), RGBColor(0x0d, 0x11, 0x17)),
    (RGBColor(0x1f, 0x23, 0x28), RGBColor(0xe6, 0xed, 0xf3)),
    (RGBColor(0x59, 0x63, 0x6e), RGBColor(0x9b, 0xa5, 0xb0)),
    (RGBColor(0xe2, 0xe6, 0xea), RGBColor(0x2a, 0x31, 0x3a)),
    (RGBColor(0x81, 0x8b, 0x98), RGBColor(0x7d, 0x86, 0x92)),
    (RGBColor(0x09, 0x69, 0xda), RGBColor(0x4b, 0x9a, 0xf8)),
    (RGBColor(0xbc, 0x4c, 0x00), RGBColor(0xf0, 0x88, 0x3e)),
    (RGBColor(0x1a, 0x7f, 0x37), RGBColor(0x46, 0xc0, 0x58)),
    (RGBColor(0x82, 0x50, 0xdf), RGBColor(0xb3, 0x8a, 0xf8)),
    (RGBColor(0xbf, 0x39, 0x89), RGBColor(0xe2, 0x72, 0xb0)),
    (RGBColor(0x8a, 0x63, 0x00), RGBColor(0xd6, 0xa6, 0x2a)),
];
const GROUND: RGBColor = PALETTE[0].0;
const INK: RGBColor = PALETTE[1].0;
const FAINT: RGBColor = PALETTE[2].0;
const GRID: RGBColor = PALETTE[3].0;
const FLOOR: RGBColor = PALETTE[4].0;
const ENGINE: RGBColor = PALETTE[5].0;

/// CSS that gives a drawing its dark colours.
pub(super) fn dark_rules() -> String {
    let hex = |RGBColor(r, g, b): RGBColor| format!("#{r:02X}{g:02X}{b:02X}");
    let rule = |(light, dark): &(RGBColor, RGBColor)| {
        let (light, dark) = (hex(*light), hex(*dark));
        format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
    };
    PALETTE.iter().map(rule).collect::<Vec<_>>().join("\n")
}

/// Makes one drawing.
pub(super) fn svg(height: u32, draw: impl FnOnce(&Area<'_>) -> Drawn) -> Result<String, DrawingAreaErrorKind<io::Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, height)).into_drawing_area();
        area.fill(&GROUND)?;
        draw(&area)?;
        area.present()?;
    }
    Ok(text)
}

fn font(size: f64, color: RGBColor) -> TextStyle<'static> {
    // The backend divides the size by this number.
    (FONT, size * 1.24).into_font().color(&color)
}

fn at(style: &TextStyle<'static>, h: HPos, v: VPos) -> TextStyle<'static> {
    style.pos(Pos::new(h, v))
}

/// Draws a line of text. The place is its left end, at half its height.
pub(super) fn text(area: &Area<'_>, text: &str, (x, y): (u32, u32), size: f64, faint: bool) -> Drawn {
    let style = font(size, if faint { FAINT } else { INK });
    area.draw_text(text, &at(&style, HPos::Left, VPos::Center), (x as i32, y as i32))
}

/// Draws the name of a drawing, the names of its curves, and a line about it. If there are many curves, the line is
/// left out.
fn title(area: &Area<'_>, name: &str, about: &str, curves: &[Curve]) -> Drawn {
    let style = at(&font(16.0, INK).with_weight(), HPos::Left, VPos::Center);
    area.draw_text(name, &style, (16, 20))?;
    let width: i32 = curves.iter().map(Curve::columns).sum();
    let beside = width < WIDTH as i32 - 260;
    if beside {
        text(area, about, (16, 42), 12.0, true)?;
    }
    let (mut left, y) = (WIDTH as i32 - 6 - width, if beside { 20 } else { 44 });
    for curve in curves {
        let parts = if curve.dashed { vec![(0, 6), (8, 14), (16, 22)] } else { vec![(0, 22)] };
        for (from, to) in parts {
            area.draw(&PathElement::new([(left + from, y), (left + to, y)], curve.color.stroke_width(3)))?;
        }
        area.draw_text(&curve.name, &at(&font(12.5, INK), HPos::Left, VPos::Center), (left + 30, y))?;
        left += curve.columns();
    }
    Ok(())
}

/// How a run or its floor is drawn.
struct Curve {
    name: String,
    color: RGBColor,
    dashed: bool,
}

impl Curve {
    /// The curve of a run. After [`CURVES`] of them the colours repeat, with a dashed line.
    fn of(n: usize, run: &Run, all: usize) -> Curve {
        let name = if n == 0 || all <= CURVES { format!("batch {}", run.batch) } else { run.batch.to_string() };
        Curve { name, color: PALETTE[5 + n % CURVES].0, dashed: n / CURVES % 2 == 1 }
    }

    fn all(runs: &[Run]) -> Vec<Curve> {
        runs.iter().enumerate().map(|(n, run)| Curve::of(n, run, runs.len())).collect()
    }

    /// Its width in the row of names. This is a guess, because the viewer chooses the font.
    fn columns(&self) -> i32 {
        30 + (self.name.chars().count() as f64 * LETTER) as i32 + 14
    }
}

/// Bold text, which the builder has no method for.
trait Weight {
    fn with_weight(self) -> Self;
}

impl Weight for TextStyle<'static> {
    fn with_weight(mut self) -> Self {
        self.font = self.font.style(FontStyle::Bold);
        self
    }
}

/// Every whole decade of a range of logarithms.
fn decades(range: &Range<f64>) -> Vec<f64> {
    ((range.start.ceil() as i32)..=(range.end.floor() as i32)).map(f64::from).collect()
}

/// The range of whole decades around these logarithms.
fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), x| (least.min(x), most.max(x)));
    let (least, most) = if least > most { (0.0, 1.0) } else { (least, most) };
    let low = (least - 0.02).floor();
    low..(most + 0.02).ceil().max(low + 1.0)
}

fn log(x: f64) -> f64 {
    x.max(1e-9).log10()
}

/// Throughput by batch size, of the store and of the bare disk with the same groups.
pub(super) fn throughput(area: &Area<'_>, runs: &[Run]) -> Drawn {
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
    let mut ticks: Vec<f64> = Vec::new();
    for &x in &sizes {
        // A label that would touch another is left out.
        if ticks.iter().all(|tick: &f64| (tick - x).abs() > 0.06 * (x_range.end - x_range.start)) {
            ticks.push(x);
        }
    }
    let mut curves = vec![Curve { name: "kv-engine".into(), color: ENGINE, dashed: false }];
    if !floor.is_empty() {
        curves.push(Curve { name: "sync floor: the disk without a store".into(), color: FLOOR, dashed: true });
    }
    title(area, "Throughput by batch size", "operations per second; both scales are logarithmic", &curves)?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(62)
        .margin_right(LAST_LABEL)
        .margin_bottom(8)
        .x_label_area_size(48)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(
            Axis { range: x_range, marks: ticks, label: |x| format!("{:.0}", 10f64.powf(x)) },
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
    let (left, top) = area.get_base_pixel();
    let place = |point: &(f64, f64)| (chart.backend_coord(point).0 - left, chart.backend_coord(point).1 - top);
    let mut taken: Vec<[i32; 4]> = measured.iter().chain(&floor).map(place).map(|(x, y)| [x - 7, y - 7, x + 7, y + 7]).collect();
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
        let free = |place: &[i32; 4]| place[0] > LEFT as i32 && taken.iter().all(|other| !touch(place, other));
        if let Some(place) = places.into_iter().find(free) {
            let [from, above, to, below] = place;
            area.draw(&Rectangle::new([(from, above), (to, below)], GROUND.mix(0.8).filled()))?;
            area.draw_text(&label, &at(&font(12.5, INK), HPos::Left, VPos::Center), (from + 3, (above + below) / 2))?;
            taken.push(place);
        }
    }
    Ok(())
}

fn touch(a: &[i32; 4], b: &[i32; 4]) -> bool {
    a[0] < b[2] && b[0] < a[2] && a[1] < b[3] && b[1] < a[3]
}

/// For each run: the latency that a share of its operations does not exceed.
pub(super) fn percentiles(area: &Area<'_>, runs: &[Run]) -> Drawn {
    // The x axis is the logarithm of n where one in n operations is slower. So 90 %, 99 % and 99.9 % are equally far
    // apart.
    let end = |run: &Run| log(run.operations().max(10) as f64).clamp(1.0, 6.0);
    let most = runs.iter().map(end).fold(2.0, f64::max).ceil();
    let points = |run: &Run| -> Vec<(f64, f64)> {
        let at = |x: f64| (x, log(run.all.value_at_quantile(1.0 - 10f64.powf(-x)) as f64));
        let steps = (0..(end(run) * 50.0) as u32).map(|step| f64::from(step) / 50.0);
        steps.map(at).chain([(end(run), log(run.all.max() as f64))]).collect()
    };
    let curves: Vec<_> = runs.iter().map(points).collect();
    let y_range = around(curves.iter().flatten().map(|(_, y)| *y));
    let styles = Curve::all(runs);
    title(
        area,
        "Latency percentiles",
        "time of one operation, on a logarithmic scale; the slowest ones are on the right",
        &styles,
    )?;
    let x_ticks: Vec<f64> = [0.0, log(2.0)].into_iter().chain(decades(&(1.0..most))).collect();
    let mut chart = ChartBuilder::on(area)
        .margin_top(62)
        .margin_right(40)
        .margin_bottom(8)
        .x_label_area_size(48)
        .y_label_area_size(LEFT)
        .build_cartesian_2d(
            Axis { range: 0.0..most, marks: x_ticks, label: percent },
            Axis { marks: decades(&y_range), range: y_range, label: |y| short(&human_ns(10f64.powf(y))) },
        )?;
    mesh(&mut chart.configure_mesh()).x_desc("share of the operations that took at most this long").draw()?;
    for (points, style) in curves.into_iter().zip(styles) {
        let stroke = style.color.stroke_width(2);
        match style.dashed {
            true => chart.draw_series(DashedLineSeries::new(points, 6, 4, stroke)).map(drop)?,
            false => chart.draw_series(LineSeries::new(points, stroke)).map(drop)?,
        }
    }
    Ok(())
}

/// `x` is the logarithm of n where one in n operations is slower.
fn percent(x: f64) -> String {
    let digits = (x.round() as usize).saturating_sub(2);
    format!("{:.digits$} %", 100.0 * (1.0 - 10f64.powf(-x)))
}

pub(super) fn histogram_height(runs: &[Run]) -> u32 {
    HISTOGRAM_FRAME + PANEL_HEIGHT * runs.len() as u32
}

/// A panel for each run, all on the same scale: how many operations took how long.
pub(super) fn histograms(area: &Area<'_>, runs: &[Run]) -> Drawn {
    let about = "number of operations by latency; both scales are logarithmic, so the few that wait for a sync are visible";
    title(area, "Latency histogram", about, &[])?;
    let ends = runs.iter().filter(|run| run.operations() > 0).flat_map(|run| [run.all.min(), run.all.max()]);
    let x_range = around(ends.map(|ns| log(ns as f64)));
    let counts: Vec<_> = runs.iter().map(|run| columns(&run.all, &x_range)).collect();
    let most = counts.iter().flatten().map(|(_, n)| log(*n as f64)).fold(1.0, f64::max);
    // The scale begins below one operation, so that a single one has a height.
    let y_range = -0.3..(most + 0.1);
    for (n, (counts, run)) in counts.iter().zip(runs).enumerate() {
        let style = Curve::of(n, run, 1);
        let top = 60 + PANEL_HEIGHT as i32 * n as i32;
        let last = n + 1 == runs.len();
        let labels = if last { HISTOGRAM_FRAME - 60 } else { 0 };
        let panel = area.clone().shrink((0, top), (WIDTH, PANEL_HEIGHT + labels));
        let y_ticks: Vec<f64> = decades(&(0.0..most.floor())).into_iter().filter(|y| *y as i32 % 2 == 0).collect();
        let mut chart = ChartBuilder::on(&panel)
            .margin_top(10)
            .margin_right(40)
            .margin_bottom(if last { 8 } else { 0 })
            .x_label_area_size(labels.saturating_sub(8))
            .y_label_area_size(LEFT)
            .build_cartesian_2d(
                Axis { marks: decades(&x_range), range: x_range.clone(), label: |x| short(&human_ns(10f64.powf(x))) },
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
        let right = at(&font(12.5, style.color), HPos::Right, VPos::Center);
        panel.draw_text(&style.name, &right, (WIDTH as i32 - 46, 20))?;
    }
    Ok(())
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

/// A scale with chosen marks.
struct Axis {
    range: Range<f64>,
    marks: Vec<f64>,
    label: fn(f64) -> String,
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        RangedCoordf64::from(self.range.clone()).map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { Vec::new() } else { self.marks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.range.clone()
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        (self.label)(*value)
    }
}

/// The style of all axes.
fn mesh<'m, 'a, 'b, 'c>(
    mesh: &'m mut MeshStyle<'a, 'b, Axis, Axis, SVGBackend<'c>>,
) -> &'m mut MeshStyle<'a, 'b, Axis, Axis, SVGBackend<'c>> {
    mesh.max_light_lines(0)
        .bold_line_style(GRID)
        .axis_style(FAINT)
        .label_style(font(12.0, FAINT))
        .axis_desc_style(font(12.5, FAINT))
        .set_all_tick_mark_size(4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_colour_has_a_dark_rule() {
        let rules = dark_rules();
        assert_eq!(rules.lines().count(), PALETTE.len());
        assert!(rules.contains("[fill=\"#FFFFFF\"]{fill:#0D1117}[stroke=\"#FFFFFF\"]{stroke:#0D1117}"));
    }

    #[test]
    fn scales_hold_every_value() {
        assert_eq!(around([2.3, 4.1].into_iter()), 2.0..5.0);
        assert_eq!(around([3.0].into_iter()), 2.0..4.0);
        assert_eq!(decades(&(0.5..3.0)), [1.0, 2.0, 3.0]);
        assert_eq!([0.0, log(2.0), 1.0, 2.0, 3.0, 4.0].map(percent), ["0 %", "50 %", "90 %", "99 %", "99.9 %", "99.99 %"]);
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

//! What all charts are drawn with: colours, texts, the head above a chart, and axes. `plotters` makes the SVG.
//!
//! No text runs out of its drawing, with any figures: a text that is too long is wrapped, and a label without room is
//! left out.
//!
//! [`PALETTE`] lists every colour twice: for a light ground and for a dark one. The drawing has the light ones, for
//! viewers without CSS. [`dark_rules`] is the CSS that replaces them by the dark ones.

use super::run::Run;
use crate::text::fit;
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
pub(super) const WIDE: u32 = 920;
/// As wide as the screen of a small phone, so that its letters are as large there as they are here.
pub(super) const NARROW: u32 = 360;
/// The margin of texts, left and right.
pub(super) const MARGIN: u32 = 16;
/// The height of a line of text.
pub(super) const LINE: u32 = 20;
/// The width of a letter of a label, in a wide font.
pub(super) const LETTER: f64 = 7.0;
/// The width of a letter, as a part of the size of the font. This is a guess, because the viewer chooses the font.
const LETTER_SHARE: f64 = 0.58;
/// The number of different colours for curves.
pub(super) const CURVES: usize = 6;

/// Light and dark, for: ground, ink, faint ink, grid, sync floor, then the curves.
pub(super) const PALETTE: [(RGBColor, RGBColor); 5 + CURVES] = [
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
pub(super) const GROUND: RGBColor = PALETTE[0].0;
pub(super) const INK: RGBColor = PALETTE[1].0;
pub(super) const FAINT: RGBColor = PALETTE[2].0;
const GRID: RGBColor = PALETTE[3].0;
pub(super) const FLOOR: RGBColor = PALETTE[4].0;
pub(super) const ENGINE: RGBColor = PALETTE[5].0;

/// CSS that gives a drawing its dark colours.
pub(super) fn dark_rules() -> String {
    let hex = |RGBColor(r, g, b): RGBColor| format!("#{r:02X}{g:02X}{b:02X}");
    let rule = |(light, dark): &(RGBColor, RGBColor)| {
        let (light, dark) = (hex(*light), hex(*dark));
        format!("[fill=\"{light}\"]{{fill:{dark}}}[stroke=\"{light}\"]{{stroke:{dark}}}")
    };
    PALETTE.iter().map(rule).collect::<Vec<_>>().join("\n")
}

/// Makes one drawing. `name` is for readers that do not see it, and `id` is its identifier in the page.
pub(super) fn svg(
    (width, height): (u32, u32),
    (id, name): (&str, &str),
    draw: impl FnOnce(&Area<'_>) -> Drawn,
) -> Result<String, DrawingAreaErrorKind<io::Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        area.fill(&GROUND)?;
        draw(&area)?;
        area.present()?;
    }
    let about = format!("<svg role=\"img\" aria-labelledby=\"{id}\"");
    Ok(text.replacen("<svg", &about, 1).replacen(">\n", &format!(">\n<title id=\"{id}\">{}</title>\n", escaped(name)), 1))
}

pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// The lines of a text that has `columns` of a drawing. A word that is longer than that, for example a path, is broken.
pub(super) fn wrapped(text: &str, columns: u32, size: f64) -> Vec<String> {
    let letters = ((f64::from(columns) / (size * LETTER_SHARE)) as usize).max(1);
    let lines: Vec<Vec<char>> = fit(text, letters, 0).lines().map(|line| line.chars().collect()).collect();
    lines.iter().flat_map(|line| line.chunks(letters)).map(|part| part.iter().collect()).collect()
}

pub(super) fn width(area: &Area<'_>) -> u32 {
    area.dim_in_pixel().0
}

pub(super) fn font(size: f64, color: RGBColor) -> TextStyle<'static> {
    // The backend divides the size by this number.
    (FONT, size * 1.24).into_font().color(&color)
}

pub(super) fn at(style: &TextStyle<'static>, h: HPos, v: VPos) -> TextStyle<'static> {
    style.pos(Pos::new(h, v))
}

/// Draws a line of text. The place is its left end, at half its height.
pub(super) fn text(area: &Area<'_>, text: &str, (x, y): (u32, u32), size: f64, faint: bool) -> Drawn {
    let style = font(size, if faint { FAINT } else { INK });
    area.draw_text(text, &at(&style, HPos::Left, VPos::Center), (x as i32, y as i32))
}

/// What is above a chart: its name, a line about it, and the names of its curves. The names of the curves are beside
/// the name of the chart if there is room, and otherwise in rows below the line about it.
pub(super) struct Head {
    name: String,
    about: Vec<String>,
    beside: bool,
    rows: Vec<Vec<Curve>>,
}

impl Head {
    pub(super) fn new(width: u32, name: String, about: &str, curves: Vec<Curve>) -> Head {
        let about = wrapped(about, width - 2 * MARGIN, 12.0);
        let all: i32 = curves.iter().map(Curve::columns).sum();
        let beside = all < width as i32 - 300;
        let mut rows: Vec<Vec<Curve>> = Vec::new();
        let mut left = 0;
        for curve in curves {
            let columns = curve.columns();
            match rows.last_mut().filter(|_| beside || left + columns <= (width - MARGIN) as i32) {
                Some(row) => row.push(curve),
                None => {
                    left = MARGIN as i32;
                    rows.push(vec![curve]);
                }
            }
            left += columns;
        }
        Head { name, about, beside, rows }
    }

    pub(super) fn height(&self) -> u32 {
        let rows = if self.beside { 0 } else { self.rows.len() as u32 };
        42 + LINE * (self.about.len() as u32 + rows).max(1)
    }

    pub(super) fn draw(&self, area: &Area<'_>) -> Drawn {
        let mut style = at(&font(16.0, INK), HPos::Left, VPos::Center);
        style.font = style.font.style(FontStyle::Bold);
        area.draw_text(&self.name, &style, (MARGIN as i32, 20))?;
        for (n, line) in self.about.iter().enumerate() {
            text(area, line, (MARGIN, 42 + LINE * n as u32), 12.0, true)?;
        }
        let below = 44 + LINE as i32 * self.about.len() as i32;
        for (n, row) in self.rows.iter().enumerate() {
            let columns: i32 = row.iter().map(Curve::columns).sum();
            let (mut left, y) = match self.beside {
                true => (width(area) as i32 - 6 - columns, 20),
                false => (MARGIN as i32, below + LINE as i32 * n as i32),
            };
            for curve in row {
                let parts = if curve.dashed { vec![(0, 6), (8, 14), (16, 22)] } else { vec![(0, 22)] };
                for (from, to) in parts {
                    area.draw(&PathElement::new([(left + from, y), (left + to, y)], curve.color.stroke_width(3)))?;
                }
                area.draw_text(&curve.name, &at(&font(12.5, INK), HPos::Left, VPos::Center), (left + 30, y))?;
                left += curve.columns();
            }
        }
        Ok(())
    }
}

/// How a run or its floor is drawn.
pub(super) struct Curve {
    pub(super) name: String,
    pub(super) color: RGBColor,
    pub(super) dashed: bool,
}

impl Curve {
    /// The curve of a run. After [`CURVES`] of them the colours repeat, with a dashed line.
    pub(super) fn of(n: usize, run: &Run, all: usize) -> Curve {
        let name = if n == 0 || all <= CURVES { format!("batch {}", run.batch) } else { run.batch.to_string() };
        Curve { name, color: PALETTE[5 + n % CURVES].0, dashed: n / CURVES % 2 == 1 }
    }

    /// Its width in the row of names.
    fn columns(&self) -> i32 {
        30 + (self.name.chars().count() as f64 * LETTER) as i32 + 14
    }
}

/// Every whole decade of a range of logarithms.
pub(super) fn decades(range: &Range<f64>) -> Vec<f64> {
    ((range.start.ceil() as i32)..=(range.end.floor() as i32)).map(f64::from).collect()
}

/// The range of whole decades around these logarithms.
pub(super) fn around(values: impl Iterator<Item = f64>) -> Range<f64> {
    let (least, most) = values.fold((f64::MAX, f64::MIN), |(least, most), x| (least.min(x), most.max(x)));
    let (least, most) = if least > most { (0.0, 1.0) } else { (least, most) };
    let low = (least - 0.02).floor();
    low..(most + 0.02).ceil().max(low + 1.0)
}

pub(super) fn log(x: f64) -> f64 {
    x.max(1e-9).log10()
}

/// A scale with chosen marks.
pub(super) struct Axis {
    pub(super) range: Range<f64>,
    pub(super) marks: Vec<f64>,
    pub(super) label: fn(f64) -> String,
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
pub(super) fn mesh<'m, 'a, 'b, 'c>(
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
    }

    #[test]
    fn a_long_text_is_wrapped_and_a_long_word_is_broken() {
        assert_eq!(wrapped("a few words", 60, 10.0), ["a few", "words"]);
        assert_eq!(wrapped("/a/very/long/path", 60, 10.0), ["/a/very/lo", "ng/path"]);
        assert_eq!(wrapped("", 60, 10.0), [""; 0]);
    }

    #[test]
    fn the_names_of_many_curves_are_in_rows_that_fit() {
        for (width, curves) in [(WIDE, 60), (NARROW, 12), (WIDE, 2), (NARROW, 1)] {
            let curve = |n: u64| Curve { name: format!("{}", 900_000 + n), color: INK, dashed: false };
            let head = Head::new(width, "a chart".into(), "about it", (0..curves).map(curve).collect());
            assert_eq!(head.rows.iter().map(Vec::len).sum::<usize>(), curves as usize);
            for row in &head.rows {
                assert!(row.iter().map(Curve::columns).sum::<i32>() <= (width - MARGIN) as i32, "{width}");
            }
            assert!(head.height() >= 42 + LINE * (1 + if head.beside { 0 } else { head.rows.len() as u32 }));
        }
    }
}

//! Turns figures into tables: medians, and the spread of the rounds.

use crate::rows::{Better, Goal, Metric, Row, Target};
use crate::stores::{ENGINE, FLOOR, NO_STORES};
use std::collections::BTreeMap;

/// The figures of one row: by store and metric, one for each round.
#[derive(Default)]
pub(crate) struct Samples(BTreeMap<&'static str, BTreeMap<String, Vec<f64>>>);

/// Median, minimum, maximum.
#[derive(Clone, Copy)]
struct Spread {
    median: f64,
    min: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Spread { median: low.midpoint(high), min, max })
    }

    fn text(self) -> String {
        if self.min == self.max {
            short(self.median)
        } else {
            format!("{} ({}–{})", short(self.median), short(self.min), short(self.max))
        }
    }
}

/// Three digits.
fn short(value: f64) -> String {
    let (value, unit) = match value.abs() {
        v if v >= 1e6 => (value / 1e6, "M"),
        v if v >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match value.abs() {
        v if v >= 100.0 => 0,
        v if v >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}{unit}")
}

impl Samples {
    pub(crate) fn add(&mut self, store: &'static str, metric: &str, value: f64) {
        self.0.entry(store).or_default().entry(metric.to_string()).or_default().push(value);
    }

    /// A store that failed once is not shown at all.
    pub(crate) fn remove(&mut self, store: &str) {
        self.0.remove(store);
    }

    fn rounds(&self, store: &str, metric: &str) -> &[f64] {
        self.0.get(store).and_then(|metrics| metrics.get(metric)).map_or(&[], Vec::as_slice)
    }

    fn spread(&self, store: &str, metric: &str) -> Option<Spread> {
        Spread::of(self.rounds(store, metric).iter().copied())
    }

    /// One store's figure divided by another's, round by round. Above 1: the first is larger.
    fn ratio(&self, store: &str, other: &str, metric: &str) -> Option<Spread> {
        Spread::of(self.rounds(store, metric).iter().zip(self.rounds(other, metric)).map(|(one, other)| one / other))
    }

    /// The best of the other stores, by its median.
    fn best_other(&self, metric: &Metric, among: Option<&[&str]>) -> Option<&'static str> {
        let stores = self.0.keys().copied();
        let others =
            stores.filter(|store| among.map_or(*store != ENGINE && !NO_STORES.contains(store), |among| among.contains(store)));
        let medians = others.filter_map(|store| Some((store, self.spread(store, metric.name)?.median)));
        let order = |one: &(&str, f64), other: &(&str, f64)| one.1.total_cmp(&other.1);
        match metric.better {
            Better::More => medians.max_by(order),
            Better::Less => medians.min_by(order),
        }
        .map(|(store, _)| store)
    }

    pub(crate) fn print(&self, row: &Row) {
        println!("\n### {}: {}\n", row.name, row.about);
        if row.metrics.len() > 6 {
            self.print_by_metric(row)
        } else {
            self.print_by_store(row)
        }
        println!();
        for goal in row.goals {
            if let Some(line) = self.judge(row, goal) {
                println!("- {line}");
            }
        }
        println!();
        for line in self.machine_lines(row) {
            println!("<!-- {line} -->");
        }
    }

    /// Stores in order of the first metric.
    fn ranked(&self, row: &Row) -> Vec<&'static str> {
        let metric = &row.metrics[0];
        let median = |store: &str| self.spread(store, metric.name).map_or(f64::NAN, |spread| spread.median);
        let mut stores: Vec<_> = self.0.keys().copied().collect();
        stores.sort_by(|one, other| median(one).total_cmp(&median(other)));
        if metric.better == Better::More {
            stores.reverse();
        }
        stores
    }

    fn print_by_store(&self, row: &Row) {
        let mut table = vec![vec!["store".to_string()]];
        table[0].extend(row.metrics.iter().map(|metric| format!("{} {}", metric.name, metric.unit)));
        table[0].push("of the floor".to_string());
        for store in self.ranked(row) {
            let mut line = vec![store.to_string()];
            line.extend(row.metrics.iter().map(|metric| self.spread(store, metric.name).map_or_else(String::new, Spread::text)));
            line.push(self.ratio(store, FLOOR, row.metrics[0].name).map_or_else(String::new, Spread::text));
            table.push(line);
        }
        print_table(&table);
    }

    fn print_by_metric(&self, row: &Row) {
        let stores = self.ranked(row);
        let mut table = vec![vec!["figure".to_string()]];
        table[0].extend(stores.iter().map(ToString::to_string));
        for metric in row.metrics {
            let mut line = vec![format!("{} {}", metric.name, metric.unit)];
            line.extend(stores.iter().map(|store| self.spread(store, metric.name).map_or_else(String::new, Spread::text)));
            table.push(line);
        }
        print_table(&table);
    }

    /// `None` if this run lacks the figures that the goal compares with.
    fn judge(&self, row: &Row, goal: &Goal) -> Option<String> {
        let metric = row.metrics.iter().find(|metric| metric.name == goal.metric).expect("a goal names a metric of its row");
        let best = |among| self.best_other(metric, among);
        // The factor by which it is better, so that more is better for every metric.
        let times = |other: &str| match metric.better {
            Better::More => self.ratio(ENGINE, other, metric.name),
            Better::Less => self.ratio(other, ENGINE, metric.name),
        };
        let (spread, met, target) = match goal.target {
            Target::OfFloor(target) => {
                let spread = self.ratio(ENGINE, FLOOR, metric.name)?;
                (spread, holds(metric, spread, target), format!("{} {target} of the floor", sign(metric)))
            }
            Target::TimesBest(target) => {
                let best = best(None)?;
                let spread = times(best)?;
                (spread, spread.median >= target, format!("≥ {target} times as good as the best store ({best})"))
            }
            Target::TimesBestOf(target, among) => {
                let best = best(Some(among))?;
                let spread = times(best)?;
                (spread, spread.median >= target, format!("≥ {target:.2} times as good as {best}"))
            }
            Target::Absolute(target) => {
                let spread = self.spread(ENGINE, metric.name)?;
                (spread, holds(metric, spread, target), format!("{} {target} {}", sign(metric), metric.unit))
            }
        };
        let verdict = if met { "met" } else { "MISSED" };
        Some(format!("goal {verdict}: {} {target}: {}", metric.name, spread.text()))
    }

    fn machine_lines(&self, row: &Row) -> Vec<String> {
        let mut lines = Vec::new();
        for store in self.ranked(row) {
            for metric in row.metrics {
                let Some(spread) = self.spread(store, metric.name) else { continue };
                let mut line = format!(
                    "row={} store={store} metric={} unit={} rounds={} median={} min={} max={}",
                    row.name,
                    metric.name,
                    metric.unit,
                    self.rounds(store, metric.name).len(),
                    spread.median,
                    spread.min,
                    spread.max
                );
                if let Some(ratio) = self.ratio(store, FLOOR, metric.name) {
                    line += &format!(" of_floor={:.4} of_floor_min={:.4} of_floor_max={:.4}", ratio.median, ratio.min, ratio.max);
                }
                lines.push(line);
            }
        }
        lines
    }
}

fn sign(metric: &Metric) -> &'static str {
    if metric.better == Better::More { "≥" } else { "≤" }
}

fn holds(metric: &Metric, spread: Spread, target: f64) -> bool {
    match metric.better {
        Better::More => spread.median >= target,
        Better::Less => spread.median <= target,
    }
}

/// As Markdown, with aligned columns.
fn print_table(table: &[Vec<String>]) {
    let columns = table[0].len();
    let width = |column: usize| table.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for (number, line) in table.iter().enumerate() {
        let cells: Vec<String> = line.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        println!("| {} |", cells.join(" | "));
        if number == 0 {
            let rules: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
            println!("| {} |", rules.join(" | "));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spread_has_the_middle_of_an_odd_and_of_an_even_number() {
        let of = |values: &[f64]| Spread::of(values.iter().copied()).map(|spread| (spread.median, spread.min, spread.max));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some((2.0, 1.0, 3.0)));
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]), Some((2.5, 1.0, 4.0)));
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let mut samples = Samples::default();
        for (engine, floor) in [(10.0, 20.0), (40.0, 40.0), (3.0, 4.0)] {
            samples.add(ENGINE, "ops", engine);
            samples.add(FLOOR, "ops", floor);
        }
        let ratio = samples.ratio(ENGINE, FLOOR, "ops").map(|spread| (spread.median, spread.min, spread.max));
        assert_eq!(ratio, Some((0.75, 0.5, 1.0)));
    }
}

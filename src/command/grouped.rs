//! Figures in groups, for a terminal: what STATS shows of a store and of a server.

use crate::output::Output;
use crate::text::{columns, dimmed, fit, safe};
use std::io;

/// Names and values of one group.
pub(super) type Rows = Vec<(&'static str, String)>;

/// Where values begin: behind the group and the name.
const VALUE_COLUMN: usize = 20;

/// A terminal with fewer columns has the values right behind their names.
const TWO_COLUMNS: usize = 50;

/// Prints the groups; the names are dimmed.
pub(super) fn print(groups: &[(&'static str, Rows)], output: &mut Output) {
    let columns = columns(io::stdout());
    for line in listed(groups, columns).lines() {
        let (name, value) = line.split_at(if columns < TWO_COLUMNS { 0 } else { VALUE_COLUMN.min(line.len()) });
        output.line(&format!("{}{value}", dimmed(name, output.color)));
    }
}

/// The figures, a line to each, none longer than `columns` where words allow it.
pub(super) fn listed(groups: &[(&'static str, Rows)], columns: usize) -> String {
    let mut out = String::new();
    for (group, rows) in groups {
        for (at, (name, value)) in rows.iter().enumerate() {
            let (group, value) = (if at == 0 { group } else { "" }, safe(value));
            out += &match columns < TWO_COLUMNS {
                true if group.is_empty() => fit(&format!("  {name}: {value}"), columns, 4),
                true => format!("{group}\n{}", fit(&format!("  {name}: {value}"), columns, 4)),
                false => fit(&format!("{group:<10}{name:<10}{value}"), columns, VALUE_COLUMN),
            };
            out.push('\n');
        }
    }
    out
}

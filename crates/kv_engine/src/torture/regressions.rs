//! The cases that have found a bug before, tried first.

use super::case::Case;
use super::report::Report;
use super::shrink::judge;

/// A case to a line; what it found stands behind `#`.
const CASES: &str = include_str!("regressions.txt");

/// Tries each case that has found a bug before, one planted in the engine or a real one.
///
/// ```
/// let report = kv_engine::torture::regressions();
/// assert!(report.regressions > 0);
/// assert_eq!((report.lost_writes, report.refused), (0, 0), "{:?}", report.failures);
/// ```
///
/// # Panics
/// When a line of the list is no case.
#[must_use]
pub fn regressions() -> Report {
    let mut report = Report::default();
    for line in CASES.lines() {
        let (case, found) = line.split_once('#').unwrap_or((line, ""));
        if case.trim().is_empty() {
            continue;
        }
        let case: Case = case.parse().expect("the list of cases is right");
        report.regressions += 1;
        if let Some(wrong) = judge(&case) {
            report.fail(&wrong, &format!("again: {}", found.trim()), case);
        }
    }
    report
}

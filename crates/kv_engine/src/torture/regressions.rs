//! The cases that have found a bug before. They are tried first.

use super::case::Case;
use super::report::Report;
use super::shrink::judge;

/// One case to a line. After `#`: the bug that it found.
const CASES: &str = include_str!("regressions.txt");

/// Tries each case that has found a bug before, either a real bug or one that was planted in the engine.
///
/// ```
/// let report = kv_engine::torture::regressions();
/// assert!(report.regressions > 0);
/// assert_eq!((report.lost_writes, report.refused), (0, 0), "{:?}", report.failures);
/// ```
///
/// # Panics
/// If a line of the list is not a case.
#[must_use]
pub fn regressions() -> Report {
    let mut report = Report::default();
    for line in CASES.lines() {
        let (case, found) = line.split_once('#').unwrap_or((line, ""));
        if case.trim().is_empty() {
            continue;
        }
        let case: Case = case.parse().expect("every line of the list is a case");
        report.regressions += 1;
        if let Some(wrong) = judge(&case) {
            report.fail(&wrong, &format!("again: {}", found.trim()), case);
        }
    }
    report
}

//! The short runs of two rungs of torture: the end of a log as crashes leave it, and damaged files.
#![allow(clippy::unwrap_used, missing_docs)]

use kv_engine::torture::{LOG_SHAPES, ROT_PARTS, Tally, log_tails, rot};

fn sum(tallies: impl Iterator<Item = Tally>) -> Tally {
    let mut total = Tally::default();
    tallies.for_each(|tally| total.add(tally));
    assert_eq!(total.failed, 0, "{}", total.failures.join("\n"));
    total
}

fn figure(tally: &Tally, name: &str) -> u64 {
    tally.figures.iter().find(|(named, _)| *named == name).unwrap_or_else(|| panic!("{name} is not in {tally:?}")).1
}

#[test]
fn whatever_a_crash_leaves_of_the_last_group_a_prefix_is_recovered() {
    let total = sum((0..LOG_SHAPES).map(log_tails));
    assert!(total.tried > 200_000, "{total:?}");
    assert!(figure(&total, "opened by the whole engine too") > 300, "{total:?}");
    let parts = ["a first part left", "a last part left", "some sectors left"].map(|name| figure(&total, name));
    assert!(parts.iter().all(|&part| part > 5_000) && parts.iter().sum::<u64>() == total.tried, "{total:?}");
    // Only where a life wrote behind the torn tail of another can that show again.
    assert_eq!(figure(&log_tails(9), "an earlier life shows again"), 0);
    assert!(figure(&log_tails(10), "an earlier life shows again") > 0);
}

#[test]
fn no_damage_gives_a_wrong_value_or_is_not_seen() {
    let total = sum((0..ROT_PARTS).step_by(32).map(rot));
    assert!(total.tried > 30_000, "{total:?}");
    let sorts = &total.figures[..6];
    assert!(sorts.iter().all(|(_, count)| *count > 200) && sorts.iter().map(|(_, count)| count).sum::<u64>() == total.tried);
    let seen = figure(&total, "called damage, kept whole, all before it recovered") + figure(&total, "refused, nothing changed");
    assert!(seen * 100 > total.tried * 97, "{total:?}");
}

#[test]
fn the_same_number_is_the_same_run() {
    assert_eq!(format!("{:?}", log_tails(3)), format!("{:?}", log_tails(3)));
    assert_eq!(format!("{:?}", rot(5)), format!("{:?}", rot(5)));
}

#[test]
fn logs_of_different_numbers_are_different() {
    let of = |number: u64| format!("{:?}", log_tails(number));
    assert_ne!(of(2), of(2 + LOG_SHAPES));
}

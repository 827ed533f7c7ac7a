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
}

#[test]
fn no_damage_gives_a_wrong_value_or_is_not_seen() {
    let total = sum((0..ROT_PARTS).step_by(64).map(rot));
    assert!(total.tried > 15_000, "{total:?}");
    let sorts = &total.figures[..6];
    assert!(sorts.iter().all(|(_, count)| *count > 100) && sorts.iter().map(|(_, count)| count).sum::<u64>() == total.tried);
    let seen = figure(&total, "called damage, kept whole, all before it recovered") + figure(&total, "refused, nothing changed");
    assert!(seen * 100 > total.tried * 97, "{total:?}");
    let (flipped, told) = total.told_of_idle().expect("bits in the last group of an idle store were flipped");
    assert!(flipped > 50 && told * 100 >= flipped * 99, "{told} of {flipped} told from a torn write");
}

/// Parts in which a log was cut where a record begins with a zero byte, which was taken for damage not seen.
#[test]
fn a_cut_that_leaves_a_zero_of_the_next_record_is_an_earlier_end() {
    sum([256_001_209, 256_001_315, 256_002_075].into_iter().map(rot));
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

/// Runs one workload of a rung; returns the last line.
#[cfg(feature = "cli")]
fn last_line(words: &[&str]) -> String {
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_kv_cli")).arg("torture").args(words).output().unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!((run.status.code(), run.stderr), (Some(0), Vec::new()), "{words:?}: {text}");
    text.lines().last().unwrap().to_string()
}

#[test]
#[cfg(feature = "cli")]
fn the_shell_runs_each_rung_and_ends_with_a_line_for_a_ledger() {
    let tried = log_tails(1).tried;
    let ledger = ["--rung", "log", "--workload", "1", "--ledger"];
    assert_eq!(last_line(&ledger), format!("rung log tried={tried} failed=0 skipped=0"));
    assert!(last_line(&ledger[..4]).starts_with("each state held exactly a prefix, with every promised write ("));
    let tried = rot(3).tried;
    assert_eq!(
        last_line(&["--rung", "rot", "--workload", "3", "--ledger"]),
        format!("rung rot tried={tried} failed=0 skipped=0")
    );
    let json = last_line(&["--rung", "rot", "--workload", "3", "--json"]);
    assert!(json.starts_with(&format!("{{\"rung\":\"rot\",\"tried\":{tried},\"failed\":0,\"skipped\":0,")), "{json}");
    assert!(json.ends_with("\"wrong_values\":0,\"damage_not_seen\":0}"), "{json}");
    let plans = kv_engine::torture::fault_plans(2);
    let plans = plans.fault_plans + plans.recovery_fault_plans;
    assert_eq!(
        last_line(&["--rung", "faults", "--workload", "2", "--ledger"]),
        format!("rung faults tried={plans} failed=0 skipped=0")
    );
    assert!(last_line(&["--workload", "2", "--ledger"]).starts_with("rung engine tried="));
}

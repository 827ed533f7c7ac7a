//! `kv_cli torture` runs each rung of the ladder, and prints the counts of the library.
#![allow(clippy::unwrap_used, missing_docs)]

use kv_engine::torture::{rot, torn_tails};

/// Runs one workload of a rung. Returns the last line.
fn last_line(words: &[&str]) -> String {
    let run = std::process::Command::new(env!("CARGO_BIN_EXE_kv_cli")).arg("torture").args(words).output().unwrap();
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!((run.status.code(), run.stderr), (Some(0), Vec::new()), "{words:?}: {text}");
    text.lines().last().unwrap().to_string()
}

#[test]
fn the_shell_runs_each_rung_and_ends_with_a_line_for_a_ledger() {
    let tried = torn_tails(1).tried;
    let ledger = ["--rung", "log", "--workload", "1", "--ledger"];
    assert_eq!(last_line(&ledger), format!("rung log tried={tried} failed=0 skipped=0"));
    assert!(last_line(&ledger[..4]).starts_with("every recovered state was a prefix, with every promised write ("));
    let tried = rot(3).tried;
    assert_eq!(
        last_line(&["--rung", "rot", "--workload", "3", "--ledger"]),
        format!("rung rot tried={tried} failed=0 skipped=0")
    );
    let json = last_line(&["--rung", "rot", "--workload", "3", "--json"]);
    assert!(json.starts_with(&format!("{{\"rung\":\"rot\",\"tried\":{tried},\"failed\":0,\"skipped\":0,")), "{json}");
    assert!(
        json.contains("\"wrong_values\":0,\"damage_not_seen\":0,") && json.ends_with("\"stopped_by\":null,\"failures\":[]}"),
        "{json}"
    );
    let plans = kv_engine::torture::fault_plans(2);
    let plans = plans.fault_plans + plans.recovery_fault_plans;
    assert_eq!(
        last_line(&["--rung", "faults", "--workload", "2", "--ledger"]),
        format!("rung faults tried={plans} failed=0 skipped=0")
    );
    assert!(last_line(&["--workload", "2", "--ledger"]).starts_with("rung engine tried="));
}

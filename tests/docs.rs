//! The tables of `docs` against the program.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::Store;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn doc(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name)).unwrap()
}

/// The names in the first column of the table after `title`, and whether each has the mark of an inner field.
fn first_column(text: &str, title: &str) -> Vec<(bool, String)> {
    let (_, rest) = text.split_once(title).unwrap();
    let rows = rest.lines().skip_while(|line| !line.starts_with("|---")).skip(1).take_while(|line| line.starts_with('|'));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    let names = |cell: &str| {
        let inner = cell.contains('·');
        cell.split('`').skip(1).step_by(2).map(move |name| (inner, name.to_string())).collect::<Vec<_>>()
    };
    cells.flat_map(names).collect()
}

#[test]
fn the_fields_of_stats_are_in_the_table_in_the_same_order() {
    let store = Store::new();
    store.create();
    let output = store.cli().arg("--json").write_stdin("STATS\n").output().unwrap().stdout;
    let text = String::from_utf8(output).unwrap();
    let stats: Value = serde_json::from_str(&text).unwrap();
    let (inner, outer): (Vec<_>, Vec<_>) = first_column(&doc("json.md"), "## `STATS`").into_iter().partition(|(inner, _)| *inner);
    // The parsed object has no order, but the text has it.
    let mut from = text.find("\"ok\"").unwrap();
    for (_, name) in &outer {
        let at = text[from..].find(&format!("\"{name}\":")).unwrap_or_else(|| panic!("{name} is not in {}", &text[from..]));
        from += at;
    }
    assert_eq!(stats.as_object().unwrap().len(), outer.len() + 2, "a field is not in the table: {text}");
    let recovery = stats["recovery"].as_object().unwrap();
    let listed: Vec<_> = inner.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(recovery.keys().collect::<Vec<_>>().len(), listed.len(), "{recovery:?} against {listed:?}");
    assert!(listed.iter().all(|name| recovery.contains_key(*name)), "{recovery:?} against {listed:?}");
}

#[test]
fn every_code_of_an_error_is_in_the_table() {
    let source = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/error.rs")).unwrap();
    let (_, shown) = source.split_once("impl fmt::Display for Code").unwrap();
    let shown = shown.split("\n}\n").next().unwrap();
    let mut codes: Vec<_> = shown.split('"').skip(1).step_by(2).map(str::to_string).collect();
    let mut listed: Vec<_> = first_column(&doc("json.md"), "status 1\n").into_iter().map(|(_, name)| name).collect();
    codes.sort();
    listed.sort();
    assert!(codes.len() > 10);
    assert_eq!(codes, listed);
}

#[test]
fn stats_shows_a_failed_checkpoint_until_one_succeeds() {
    let store = Store::new();
    let mut child = store.piped(&["--json", "--checkpoint-log", "1", "--batch", "1"]);
    let (mut to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut replies = std::io::BufRead::lines(std::io::BufReader::new(from));
    let mut ask = |line: &str| -> Value {
        std::io::Write::write_all(&mut to, format!("{line}\n").as_bytes()).unwrap();
        serde_json::from_str(&replies.next().unwrap().unwrap()).unwrap()
    };
    // Creates the store.
    for line in ["BEGIN", "COMMIT"] {
        ask(line);
    }
    // A directory instead of the snapshot; no checkpoint replaces it.
    fs::create_dir(store.path("kv.snapshot")).unwrap();
    fs::write(store.path("kv.snapshot/x"), "").unwrap();
    let mut failure = Value::Null;
    common::eventually("a failure", || {
        ask("PUT x 100");
        failure = ask("STATS")["checkpoint_failed"].clone();
        !failure.is_null()
    });
    assert!(failure.as_str().unwrap().contains("kv.snapshot"), "{failure}");
    fs::remove_dir_all(store.path("kv.snapshot")).unwrap();
    common::eventually("a snapshot", || {
        ask("PUT x 100");
        let stats = ask("STATS");
        stats["checkpoint_failed"].is_null() && stats["snapshots"].as_u64() > Some(0)
    });
    drop(to);
    assert!(child.wait().unwrap().success());
}

//! The programs in `examples` do what their first lines say.
#![allow(clippy::unwrap_used, missing_docs)]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

/// The path of an example. Cargo puts examples beside the directory of this program, built in the same way.
fn example(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let built = BUILT.get_or_init(|| {
        let here = std::env::current_exe().unwrap();
        let dir = here.ancestors().nth(2).unwrap().to_path_buf();
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--examples", "--quiet", "--offline", "--target-dir"]).arg(dir.parent().unwrap());
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let built = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().unwrap();
        assert!(built.success());
        dir.join("examples")
    });
    built.join(name)
}

fn output_of(name: &str, args: &[&str]) -> Vec<String> {
    let output = Command::new(example(name)).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_string).collect()
}

/// Runs a program that runs until it is killed, kills it after this many lines, and returns all its lines.
fn output_until_killed(name: &str, dir: &Path, lines: usize) -> Vec<String> {
    let mut child: Child = Command::new(example(name)).arg(dir).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut read: Vec<String> = output.by_ref().take(lines).collect();
    child.kill().unwrap();
    read.extend(output);
    child.wait().unwrap();
    read
}

#[test]
fn the_counter_never_forgets_what_it_printed() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for _ in 0..3 {
        let counts = output_until_killed("counter", dir.path(), 20);
        let mut counts: Vec<u64> = counts.iter().map(|line| line.parse().unwrap()).collect();
        counts.sort_unstable(); // two threads print
        // At each kill, both threads may have stored a number and not printed it yet.
        assert!(counts[0] > last && counts[0] <= last + 4, "{last}, then {counts:?}");
        assert!(counts.windows(2).all(|pair| pair[0] < pair[1]), "no number comes twice: {counts:?}");
        last = *counts.last().unwrap();
        assert!(last - counts[0] <= counts.len() as u64, "one number is missing at most: {counts:?}");
    }
}

#[test]
fn threads_share_syncs() {
    let lines = output_of("threads", &["16"]);
    let numbers: Vec<u64> = lines[0].split(' ').filter_map(|word| word.parse().ok()).collect();
    let [writes, threads, syncs] = numbers[..] else { panic!("{lines:?}") };
    assert_eq!((writes, threads), (1600, 16));
    assert!(syncs < writes, "{lines:?}");
}

#[test]
fn no_money_is_lost_when_the_bank_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    for lines in [2, 5, 3] {
        let output = output_until_killed("transfer", dir.path(), lines);
        assert!(output.len() >= lines && output.iter().all(|line| line.starts_with("sum 1000 after ")), "{output:?}");
    }
}

#[test]
fn an_hour_of_a_sensor_is_read_back() {
    let expected = ["2880 readings, 2880 of them from the snapshot", "inside/12:00 20.0 °C", "inside/12:15 20.8 °C"];
    assert_eq!(output_of("series", &[])[..3], expected);
    assert_eq!(output_of("series", &[]).len(), 5);
}

#[test]
fn tasks_share_syncs_and_every_change_is_told() {
    let lines = output_of("async", &["16"]);
    let numbers: Vec<u64> = lines[0].split([' ', ',']).filter_map(|word| word.parse().ok()).collect();
    let [writes, tasks, syncs, told] = numbers[..] else { panic!("{lines:?}") };
    assert_eq!((writes, tasks, told), (160, 16, 160));
    assert!(syncs < writes, "{lines:?}");
}

/// The example compares the copy with the store whenever it starts.
#[test]
fn the_copy_follows_the_store_through_kills_and_is_made_new_when_it_was_away_for_too_long() {
    let dir = tempfile::tempdir().unwrap();
    let lines = output_until_killed("feed", dir.path(), 4);
    assert_eq!(lines[..3], ["copied the store before change 1", "the copy has all 0 entries", "the copy has change 1000"]);
    for _ in 0..2 {
        let lines = output_until_killed("feed", dir.path(), 4);
        assert!(lines[0].starts_with("continuing with change ") && lines[1].starts_with("the copy has all "), "{lines:?}");
        assert!(lines.len() >= 4 && lines[2..].iter().all(|line| line.starts_with("the copy has change ")), "{lines:?}");
    }
    // A checkpoint that the copy does not see.
    let store = kv_engine::Options::new(dir.path().join("store.wal"), dir.path().join("store.snapshot")).open().unwrap();
    store.put("key 1", "while the copy was away").unwrap();
    let next = store.snapshot().unwrap().seq + 1;
    store.close().unwrap();
    let lines = output_until_killed("feed", dir.path(), 3);
    assert_eq!(lines[0], format!("copied the store before change {next}"));
    assert!(lines.len() >= 3 && lines[1].starts_with("the copy has all "), "{lines:?}");
}

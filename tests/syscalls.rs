//! The system calls of writes, counted by strace on the real binary. With batch size n, n PUTs take one `pwrite64`, one
//! `fdatasync` and one check of the log's name.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

#[path = "../crates/kv_engine/tests/support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};
use support::Place;

const PUTS: usize = 60;

/// The system calls of the main thread while it answers `PUTS` lines. `None` if strace cannot run.
fn trace(batch: usize) -> Option<Vec<String>> {
    let place = Place::new();
    place.open().close().unwrap(); // the first write of a store that does not exist would create it
    let output = place.dir.path().join("strace");
    let mut child = match Command::new("strace")
        .args(["-f", "-o"])
        .arg(&output)
        .arg(env!("CARGO_BIN_EXE_kv_cli"))
        .args(["--batch", &batch.to_string(), "--flush-interval", "0", "--wal"]) // without the thread that flushes
        .arg(&place.wal)
        .arg("--snapshot")
        .arg(&place.snapshot)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
    {
        Ok(child) => child,
        Err(error) => {
            eprintln!("skipped: strace cannot be started: {error}");
            return None;
        }
    };
    let mut script = String::new();
    for i in 0..PUTS {
        writeln!(script, "PUT key{i:03} value").unwrap();
    }
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    if !child.wait().unwrap().success() {
        eprintln!("skipped: strace may not trace here");
        return None;
    }
    let text = std::fs::read_to_string(output).unwrap();
    let main = text.split_whitespace().next().unwrap().to_string();
    // A line is `1234  pwrite64(6, "…", 87, 64) = 87`. The calls of other threads are left out. A call that another
    // thread interrupted has a second line, `<... pwrite64 resumed>`.
    let calls = text.lines().filter_map(|line| line.split_once(' ')).filter(|(pid, _)| *pid == main).map(|(_, call)| call.trim());
    let names: Vec<String> = calls
        .filter(|call| call.contains("PUT key000") || !["<...", "---", "+++"].iter().any(|other| call.starts_with(other)))
        .map(
            |call| {
                if call.contains("PUT key000") { "the lines".to_string() } else { call.split('(').next().unwrap().to_string() }
            },
        )
        .collect();
    let begin = names.iter().position(|name| name == "the lines").expect("the read of the script") + 1;
    Some(names[begin..].to_vec())
}

#[test]
fn a_group_takes_one_write_one_sync_and_one_check_of_the_name() {
    for batch in [1, 5, 20] {
        let Some(calls) = trace(batch) else { return };
        // Sometimes the log reserves space, in steps that grow with it.
        let all = calls.len();
        let mut calls = calls;
        calls.dedup_by(|call, before| *call == "pwrite64" && before == call);
        let reserved = all - calls.len();
        assert!((1..=4).contains(&reserved), "{reserved} steps for {PUTS} short puts");
        // The check of the name also reads the first and the last bytes of the log.
        calls.retain(|call| call != "pread64");
        // Before the file becomes longer, its name is checked too.
        calls.dedup_by(|call, before| *call == "statx" && before == call);
        let groups = PUTS / batch;
        let expected = ["statx", "pwrite64", "fdatasync"].repeat(groups);
        assert_eq!(calls[..3 * groups], expected, "batch size {batch}");
        // After them come the answers to stdout, the end of input, and the mark of a clean close.
        let syncs = calls.iter().filter(|&call| call == "fdatasync").count();
        assert_eq!(syncs, groups + 1, "batch size {batch}: {calls:?}");
    }
}

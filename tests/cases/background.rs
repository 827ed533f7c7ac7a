//! Checkpoints that the store takes by itself.

use crate::common::{Shell, Store, eventually};
use std::fs;

/// The log becomes short also if every session is a single command.
#[test]
fn case_07_the_log_of_one_shot_commands_stays_short() {
    let store = Store::new();
    let value = "x".repeat(30_000);
    for n in 0..20 {
        let put = store.cli().args(["--checkpoint-log", "64k", "-x", "PUT", "k"]).write_stdin(format!("{n}{value}")).assert();
        put.success().stdout("OK\n").stderr("");
        assert!(fs::metadata(store.path("kv.wal")).unwrap().len() < 200_000, "{n}");
    }
    assert!(fs::metadata(store.path("kv.snapshot")).unwrap().len() < 60_000);
    let got = store.cli().args(["GET", "k"]).assert().success().get_output().stdout.clone();
    assert_eq!(got, format!("19{value}\n").into_bytes());
    store.cli().arg("verify").assert().success();
}

/// A command that only reads changes nothing, even if the log is over its limit.
#[test]
fn case_07_a_command_that_only_reads_takes_no_checkpoint() {
    let store = Store::new();
    store.script((0..100).map(|n| format!("PUT k{n} {}\n", "x".repeat(1000))).collect::<String>());
    for line in ["GET k1", "SIZE", "KEYS", "STATS", "FLUSH"] {
        store.cli().args(["--checkpoint-log", "1KiB"]).args(line.split(' ')).assert().success();
        assert!(!store.path("kv.snapshot").exists() && fs::metadata(store.path("kv.wal")).unwrap().len() > 100_000, "{line}");
    }
    // Without a limit, none is taken by a write either.
    store.cli().args(["--checkpoint-log", "off", "PUT", "k", "1"]).assert().success();
    assert!(!store.path("kv.snapshot").exists());
    store.cli().args(["--checkpoint-log", "1KiB", "PUT", "k", "1"]).assert().success();
    assert!(store.path("kv.snapshot").exists());
}

/// If the checkpoint at the end fails, no write is lost, and the process still ends.
#[test]
fn case_07_a_checkpoint_that_fails_at_the_end_keeps_every_write() {
    let store = Store::new();
    store.script("PUT a 1\n");
    let mut shell = Shell::on(&store, &["--batch", "1", "--checkpoint-log", "1"]);
    assert_eq!(shell.ask("GET a"), "1");
    fs::create_dir(store.path("kv.snapshot")).unwrap();
    assert_eq!(shell.ask("PUT b 2"), "OK");
    let (_, _, status) = shell.end();
    assert!(status == Some(0) || status == Some(1), "{status:?}");
    fs::remove_dir(store.path("kv.snapshot")).unwrap();
    store.cli().arg("KEYS").assert().success().stdout("a\nb\n");
}

/// The statistics show a failed checkpoint, with a count, until one succeeds.
#[test]
fn case_09_the_statistics_show_a_failed_checkpoint() {
    let store = Store::new();
    let mut shell = Shell::on(&store, &["--json", "--batch", "1", "--checkpoint-interval", "10ms"]);
    shell.ask("PUT a 1");
    eventually("a checkpoint", || store.path("kv.snapshot").exists());
    let snapshot = fs::read(store.path("kv.snapshot")).unwrap();
    fs::write(store.path("kv.snapshot"), &snapshot[..40]).unwrap();
    shell.ask("PUT b 2");
    let mut stats = String::new();
    eventually("a failure", || {
        stats = shell.ask("STATS");
        !stats.contains("\"checkpoint_failed\":null")
    });
    assert!(stats.contains("kv.snapshot"), "{stats}");
    drop(shell.end());
}

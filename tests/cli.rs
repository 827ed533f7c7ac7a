//! `kv_cli` as scripts and other programs use it: streams, exit statuses, bytes, and how it ends.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Store, eventually, is_ignored, signal};
use predicates::prelude::*;
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

#[test]
fn a_script_gets_a_reply_for_each_line() {
    let script = "PUT x 100\nGET x\nGET nope\n";
    for text in
        [script.to_string(), script.replace('\n', "\r\n"), script.trim_end().to_string(), format!("\n  # hello\n{script}")]
    {
        assert_eq!(Store::new().script(text.as_str()), "OK\n100\n(nil)\n", "{text:?}");
    }
    let dumb = Store::new().cli().env("TERM", "dumb").write_stdin(script).assert();
    dumb.success().stdout("OK\n100\n(nil)\n").stderr("");
}

#[test]
fn a_bad_line_is_reported_with_its_place_and_the_next_one_runs() {
    let store = Store::new();
    let script = "PUT x 100\nPTU y\nGET x\n";
    let failed = store.cli().write_stdin(script).assert().code(1);
    failed.stdout("OK\n100\n").stderr("kv_cli: <stdin>:2: error: unknown command 'PTU'; did you mean PUT?\n");
    store.cli().arg("--bail").write_stdin(script).assert().code(1).stdout("OK\n");

    fs::write(store.path("script.kv"), script).unwrap();
    let failed = store.cli().args(["-f", "script.kv"]).assert().code(1);
    failed.stdout("OK\n100\n").stderr(predicate::str::starts_with("kv_cli: script.kv:2: error: "));
    let failed = store.cli().args(["-c", "GET x", "-c", "GET"]).assert().code(1);
    failed.stdout("100\n").stderr(predicate::str::starts_with("kv_cli: -c 2: error: GET takes a key"));
    let failed = store.cli().args(["-f", "nowhere.kv"]).assert().code(1);
    failed.stderr(predicate::str::contains("nowhere.kv: error: No"));
}

#[test]
fn every_byte_can_be_stored_and_read_in_every_way() {
    let store = Store::new();
    let escaped: String = (0..=255u8).map(|b| format!("\\x{b:02x}")).collect();
    store.script(format!("PUT escaped \"{escaped}\"\n"));
    let mut raw = b"PUT raw ".to_vec();
    raw.extend((0..=255u8).filter(|b| !b" \t\n\"'".contains(b)));
    raw.extend(b".\n");
    store.script(raw.clone());
    let all: Vec<u8> = (0..=255).collect();
    store.cli().args(["-x", "PUT", "piped"]).write_stdin(all.clone()).assert().success();

    let get = |key| store.cli().args(["--raw", "GET", key]).assert().success().get_output().stdout.clone();
    let line = |bytes: &[u8]| [bytes, b"\n"].concat();
    assert_eq!(get("escaped"), line(&all));
    assert_eq!(get("piped"), line(&all));
    assert_eq!(get("raw"), raw[b"PUT raw ".len()..]);

    // The text form of a reply, used in a PUT, gives the same value.
    let text = store.script("GET escaped\n");
    store.script(format!("PUT again {text}"));
    assert_eq!(get("again"), line(&all));
}

#[test]
fn a_reply_comes_while_the_pipe_stays_open() {
    let store = Store::new();
    let mut child = store.piped(&[]);
    let (mut to, mut from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
    for n in 0..100 {
        writeln!(to, "PUT k {n}").unwrap();
        to.write_all(b"GET k\n").unwrap();
        let mut answers = [String::new(), String::new()];
        answers.iter_mut().for_each(|line| assert!(from.read_line(line).unwrap() > 0));
        assert_eq!(answers, ["OK\n".to_string(), format!("{n}\n")]);
    }
    drop(to);
    assert!(child.wait().unwrap().success());
}

#[test]
fn long_lines_and_limits() {
    let store = Store::new();
    let megabyte = "v".repeat(1 << 20);
    assert_eq!(store.script(format!("PUT big {megabyte}\nGET big\n")), format!("OK\n{megabyte}\n"));
    let failed = store.cli().write_stdin(format!("PUT {} 1\nSIZE\n", "k".repeat(65537))).assert().code(1);
    failed.stdout("1\n").stderr(predicate::str::contains("the key has 65537 bytes; a key has 1 to 65536 bytes"));
    assert_eq!(store.script("PUT a\0b \0\nGET a\0b\n"), "OK\n\"\\0\"\n");
}

#[test]
fn stdin_that_is_a_directory_or_closed() {
    let store = Store::new();
    let mut command = store.process();
    let on_directory = command.stdin(File::open(store.dir.path()).unwrap()).output().unwrap();
    assert_eq!(on_directory.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&on_directory.stderr).contains("<stdin>: error: Is a directory"));

    assert!(store.process().stdin(Stdio::null()).output().unwrap().status.success());
    let closed = store.program("sh").args(["-c", "exec \"$0\" <&-"]).arg(env!("CARGO_BIN_EXE_kv_cli")).output().unwrap();
    assert!(closed.status.success() && closed.stdout.is_empty());
    let closed = store.program("sh").args(["-c", "exec \"$0\" PUT c 1 >&-"]).arg(env!("CARGO_BIN_EXE_kv_cli")).output().unwrap();
    assert!(closed.status.success() && closed.stderr.is_empty());
}

#[test]
fn writes_are_kept_when_the_reader_of_stdout_goes_away() {
    let store = Store::new();
    let mut child = store.piped(&["--batch", "1000000"]);
    let mut to = child.stdin.take().unwrap();
    writeln!(to, "PUT first 1").unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    from.read_line(&mut String::new()).unwrap();
    drop(from);
    // When the shell notices that, it ends, and this pipe breaks too.
    let line = format!("PUT more {}\n", "x".repeat(1000)).repeat(100);
    eventually("the shell stops reading", || to.write_all(line.as_bytes()).is_err());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), b"" as &[u8]));
    assert_eq!(store.script("GET first\n"), "1\n");
}

#[test]
fn a_full_stdout_is_reported() {
    let store = Store::new();
    let Ok(full) = File::options().write(true).open("/dev/full") else { return };
    let output = store.process().args(["PUT", "x", "1"]).stdout(full).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("<stdout>"));
    assert_eq!(store.script("GET x\n"), "1\n");
}

#[test]
fn one_process_at_a_time_and_sigkill_frees_the_lock() {
    let store = Store::new();
    let mut child = store.piped(&["--batch", "1"]);
    child.stdin.as_mut().unwrap().write_all(b"PUT x 1\n").unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    from.read_line(&mut String::new()).unwrap();

    let locked = store.cli().args(["PUT", "x", "2"]).assert().code(3).stdout("");
    locked.stderr(predicate::str::contains(format!("process {} has the store ", child.id())));
    child.kill().unwrap();
    child.wait().unwrap();
    store.cli().args(["GET", "x"]).assert().success().stdout("1\n");
}

#[test]
fn signals_flush_and_end() {
    for (which, status) in [(Signal::TERM, 143), (Signal::HUP, 129), (Signal::INT, 130)] {
        if is_ignored(which) {
            continue;
        }
        let store = Store::new();
        let mut child = store.piped(&["--batch", "1000000", "--flush-interval", "0"]);
        let mut to = child.stdin.take().unwrap();
        to.write_all(b"PUT a 1\nPUT b 2\n").unwrap();
        let mut from = BufReader::new(child.stdout.take().unwrap());
        (0..2).for_each(|_| assert_eq!(from.by_ref().lines().next().unwrap().unwrap(), "OK"));
        // No more input comes, so the shell waits in its read.
        signal(&child, which);
        assert_eq!(child.wait().unwrap().code(), Some(status));
        assert_eq!(store.script("SCAN\n"), "a 1\nb 2\n");
    }
}

#[test]
fn a_signal_ends_a_script_that_never_waits() {
    let store = Store::new();
    let mut child = store.piped(&["--batch", "1000"]);
    let (mut to, mut from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let feeder = std::thread::spawn(move || {
        let lines = "PUT a 1\n".repeat(10_000);
        while to.write_all(lines.as_bytes()).is_ok() {}
    });
    let mut first = [0; 3];
    from.read_exact(&mut first).unwrap();
    signal(&child, Signal::TERM);
    // Every reply until the end is there, and complete.
    let mut rest = Vec::new();
    from.read_to_end(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert!(rest.ends_with(b"OK\n") && rest.len() % 3 == 0);
    feeder.join().unwrap();
}

#[test]
fn a_reader_that_stopped_reading_does_not_hold_up_a_signal() {
    let store = Store::new();
    let mut child = store.piped(&["--batch", "1000000", "--flush-interval", "0"]);
    let mut to = child.stdin.take().unwrap();
    writeln!(to, "PUT big {}\nPUT small 1", "x".repeat(100_000)).unwrap();
    let mut from = BufReader::new(child.stdout.take().unwrap());
    (0..2).for_each(|_| assert_eq!(from.by_ref().lines().next().unwrap().unwrap(), "OK"));
    // More replies than a pipe can hold, and no process reads them.
    to.write_all("GET big\n".repeat(20).as_bytes()).unwrap();
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(store.script("GET small\n"), "1\n");
}

#[test]
fn a_log_without_room_refuses_and_counts_unsaved_writes() {
    let store = Store::new();
    let script = format!("PUT a 1\n{}GET a\n", format!("PUT b {}\n", "x".repeat(3000)).repeat(3));
    let limited = "ulimit -f 2; exec \"$0\" --batch 1";
    let mut command = assert_cmd::Command::from_std(store.program("sh"));
    let done = command.args(["-c", limited]).arg(env!("CARGO_BIN_EXE_kv_cli")).write_stdin(script).assert();
    // With batch size 1 every write that was not refused is saved.
    done.code(1).stderr(predicate::str::contains("no room to write the log"));
    assert_eq!(store.script("GET a\n"), "1\n");

    let store = Store::new();
    let limited = "ulimit -f 2; exec \"$0\" --batch 3 --flush-interval 0";
    let mut command = assert_cmd::Command::from_std(store.program("sh"));
    let script = format!("PUT a {0}\nPUT b {0}\nPUT c {0}\nGET a\n", "x".repeat(3000));
    let done = command.args(["-c", limited]).arg(env!("CARGO_BIN_EXE_kv_cli")).write_stdin(script).assert();
    done.code(4).stderr(predicate::str::contains("2 accepted writes not saved"));
}

#[test]
fn words_of_the_command_line() {
    let store = Store::new();
    store.cli().args(["PUT", "name", "Ada Lovelace"]).assert().success().stdout("OK\n").stderr("");
    store.cli().args(["get", "name"]).assert().success().stdout("Ada Lovelace\n");
    store.cli().args(["PUT", "n", "-5"]).assert().success();
    store.cli().args(["PUT", "#", "\\n"]).assert().success();
    store.cli().args(["--raw", "GET", "#"]).assert().success().stdout("\\n\n");
    store.cli().args(["GET", "nope"]).assert().success().stdout("(nil)\n");
    store.cli().args(["--raw", "GET", "nope"]).assert().success().stdout("");
    store.cli().args(["GET"]).assert().code(1).stdout("").stderr(predicate::str::starts_with("kv_cli: error: GET takes a key"));
}

#[test]
fn case_45_options_may_follow_the_command() {
    let store = Store::new();
    let stdout =
        |args: &[&str]| String::from_utf8(store.cli().args(args).assert().success().get_output().stdout.clone()).unwrap();
    assert_eq!(stdout(&["PUT", "k", "v", "--batch=1", "--json"]), "{\"cmd\":\"PUT\",\"ok\":true,\"durable\":true}\n");
    assert_eq!(stdout(&["GET", "k", "--json"]), "{\"cmd\":\"GET\",\"ok\":true,\"value\":\"v\"}\n");
    assert!(!stdout(&["KEYS", "--json"]).is_empty());
    assert_eq!(stdout(&["GET", "--help"]), stdout(&["HELP", "GET"]));
    assert_eq!(stdout(&["GET", "k", "--version"]), stdout(&["--version"]));
    store.cli().args(["GET", "k", "--wal", "other", "--snapshot", "other.snapshot"]).assert().stdout(predicate::ne("v\n"));
    // After -- everything is data.
    stdout(&["PUT", "k", "--", "--json"]);
    assert_eq!(stdout(&["--", "GET", "k"]), "--json\n");
    stdout(&["PUT", "--", "--wal", "-5"]);
    assert_eq!(stdout(&["--raw", "GET", "--", "--wal"]), "-5\n");
    let refused = store.cli().args(["PUT", "k", "--jsno"]).assert().code(2).stdout("");
    refused.stderr(predicate::str::contains("did you mean --json?").and(predicate::str::contains("kv_cli PUT … -- --jsno")));
    assert_eq!(stdout(&["GET", "k"]), "--json\n");
    // The same behind a tool.
    assert!(stdout(&["verify", "--output", "json"]).starts_with("{\"ok\":true,"));
    store.cli().args(["verify", "--jsno"]).assert().code(2).stderr(predicate::str::contains("'--json'"));
    // In scripts there are no options of kv_cli, so a file whose name looks like one needs a path.
    let script =
        store.cli().write_stdin("PUT --json --x\nEXPORT --json\nIMPORT --help\nIMPORT ''\nEXPORT ./--x\n").assert().code(1);
    script.stdout(predicate::str::starts_with("OK\nEXPORT OK")).stderr(
        predicate::str::contains(":2: error: EXPORT has no options, got '--json'; a file of this name is ./--json\n")
            .and(predicate::str::contains(
                ":3: error: IMPORT has no options; HELP IMPORT says more about it; a file of this name is ./--help\n",
            ))
            .and(predicate::str::contains(":4: error: IMPORT takes the name of a file, got an empty word\n")),
    );
    assert!(store.path("--x").exists());
}

#[test]
fn case_47_a_spoilt_group_refuses_in_scripts_and_in_json() {
    let store = Store::new();
    let script = "BEGIN\nPUT a 1\nGTE a\nPUT b 2\nCOMMIT\n";
    let failed = store.cli().arg("--json").write_stdin(script).assert().code(1);
    let text = String::from_utf8(failed.get_output().stdout.clone()).unwrap();
    let codes: Vec<_> =
        text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["code"].to_string()).collect();
    assert_eq!(codes, ["null", "null", "\"unknown_command\"", "\"group_spoilt\"", "\"group_spoilt\""], "{text}");
    store.cli().arg("SIZE").assert().code(3).stderr(predicate::str::contains("there is no store"));
}

#[test]
fn case_49_an_error_about_a_file_names_it_in_json() {
    let store = Store::new();
    fs::write(store.path("a.kv"), "FLUSH\nGTE\n").unwrap();
    let failed = store.cli().args(["--json", "-f", "a.kv", "-f", "nofile"]).assert().code(1);
    let text = String::from_utf8(failed.get_output().stdout.clone()).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let errors: Vec<_> = lines.iter().filter(|line| line["ok"] == false).collect();
    assert_eq!((&errors[0]["line"], &errors[0]["input"]), (&2.into(), &"a.kv".into()), "{text}");
    assert_eq!((&errors[1]["line"], &errors[1]["input"]), (&serde_json::Value::Null, &"nofile".into()), "{text}");
}

#[test]
fn case_51_an_error_names_the_word_or_the_variable_that_is_wrong() {
    let store = Store::new();
    for (name, says) in [
        ("KV_BATCH", "'KV_BATCH, in place of --batch <N>': expected a whole number from 1 to 1000000"),
        ("KV_FLUSH_INTERVAL_MS", "'KV_FLUSH_INTERVAL_MS, in place of --flush-interval <TIME>': expected a time"),
        ("KV_CHECKPOINT_LOG", "'KV_CHECKPOINT_LOG, in place of --checkpoint-log <SIZE>': expected a size"),
        ("KV_CHECKPOINT_INTERVAL", "'KV_CHECKPOINT_INTERVAL, in place of --checkpoint-interval <TIME>': expected a time"),
        ("KV_VALUES_IN_SNAPSHOT", "'KV_VALUES_IN_SNAPSHOT, in place of --values-in-snapshot <SIZE>': expected a size"),
    ] {
        for command in ["SIZE", "verify"] {
            let failed = store.cli().arg(command).env(name, "x\x1b[2J").assert().code(2).stdout("");
            failed.stderr(predicate::str::contains(says).and(predicate::str::contains('\x1b').not()));
        }
    }
    let typed = store.cli().args(["SIZE", "--batch", "y"]).env("KV_BATCH", "x").assert().code(2);
    typed.stderr(predicate::str::contains("invalid value 'y' for '--batch <N>'"));
    for (line, says) in [
        ("PUT '' v", "the key is empty; a key has 1 to 65536 bytes; nothing was stored"),
        ("KEYS a b", "KEYS takes a prefix and LIMIT n, got 'b'"),
        ("SIZE x", "SIZE takes nothing, got 'x'; usage: SIZE"),
        ("SETBATCH 1 2", "SETBATCH takes at most a number of writes, got 2 words; '2' is too many; usage: SETBATCH [n]"),
        ("IMPORT my file", "IMPORT takes a file, got 2 words; quote a name that has blanks"),
        ("BENCH 10 1,x", "each of the sizes takes a whole number from 1 to 1000000, got 'x'"),
        ("BENCH 10 --ops foo", "--ops takes puts, gets or mixed:P (P from 1 to 99), got 'foo'"),
        ("kv_cli GET x", "unknown command 'kv_cli'; this is kv_cli: write only what follows it"),
    ] {
        let failed = store.cli().write_stdin(format!("{line}\n")).assert().code(1);
        failed.stderr(predicate::str::contains(format!("kv_cli: <stdin>:1: error: {says}")));
    }
}

#[test]
fn case_51_help_about_a_tool() {
    let store = Store::new();
    let stdout =
        |args: &[&str]| String::from_utf8(store.cli().args(args).assert().success().get_output().stdout.clone()).unwrap();
    assert_eq!(stdout(&["help", "wal"]), stdout(&["wal", "--help"]));
    assert!(stdout(&["help", "wal"]).contains("--follow"));
    assert!(stdout(&["HELP"]).contains("\nkv_cli wal, verify, replay "));
    assert!(stdout(&["help", "EXPORT"]).starts_with("EXPORT [file]"));
    assert!(stdout(&["help", "export"]).contains("--salvage"));
}

#[test]
fn a_mistake_and_help_need_no_store() {
    let store = Store::new();
    store.cli().args(["HELP"]).assert().success().stdout(predicate::str::contains("PUT key value"));
    store.cli().args(["help", "put"]).assert().success().stdout(predicate::str::contains("example: PUT name"));
    store.cli().args(["GTE", "x"]).assert().code(1);
    let said = "kv_cli: error: unknown command 'PTU'; did you mean PUT?\n";
    store.cli().args(["PTU"]).assert().code(1).stdout("").stderr(said);
    assert!(!store.path("kv.wal").exists());
}

#[test]
fn wrong_usage() {
    let store = Store::new();
    let wrong: [&[&str]; 6] = [
        &["--wla", "x"],
        &["--batch", "0"],
        &["--batch", "1000001"],
        &["-c", "SIZE", "GET", "x"],
        &["-x"],
        &["-c", "SIZE", "-f", "x"],
    ];
    for args in wrong {
        store.cli().args(args).assert().code(2).stdout("");
    }
    store.cli().args(["--raw", "--json"]).assert().code(2).stdout(predicate::str::contains("\"code\":\"usage\""));
}

#[test]
fn exit_statuses() {
    let store = Store::new();
    store.cli().write_stdin("EXIT 7\nPUT x 1\n").assert().code(7).stdout("bye\n");
    store.cli().write_stdin("GET\nQUIT\n").assert().code(1).stdout("bye\n");
    store.cli().write_stdin("SIZE\n").assert().code(3).stdout(""); // there is no store
    store.cli().write_stdin("BEGIN\nCOMMIT\nSIZE\n").assert().code(0).stdout("OK\nOK\n0\n");
    fs::write(store.path("kv.wal"), "not a log of any program, and long enough to be checked").unwrap();
    store.cli().write_stdin("SIZE\n").assert().code(3).stdout("").stderr(predicate::str::contains("kv.wal"));
}

#[test]
fn a_group_is_all_or_nothing() {
    let store = Store::new();
    assert_eq!(store.script("BEGIN\nPUT a 1\nPUT b 2\nCOMMIT\nSIZE\n"), "OK\nQUEUED\nQUEUED\nOK\n2\n");
    for script in ["BEGIN\nDEL a\n", "BEGIN\nDEL a\nEXIT\n"] {
        let open = store.cli().write_stdin(script).assert().code(1);
        open.stderr(predicate::str::contains("session ended without COMMIT; the command queued after BEGIN was not written"));
    }
    let spoilt = store.cli().write_stdin("BEGIN\nDEL a\nDELL b\nCOMMIT\nGET a\n").assert().code(1);
    spoilt.stdout("OK\nQUEUED\n1\n").stderr(predicate::str::contains("<stdin>:4: error: a command failed since BEGIN"));
}

#[test]
fn json_is_one_object_to_a_line() {
    let store = Store::new();
    let script = "PUT x 100\nGET x\nGET no\nDEL x\nDEL x\nPUT \"\\xff\" \"\\xfe\"\nSCAN\nKEYS LIMIT 1\nSIZE\nFLUSH\nSNAP\nSETBATCH 1\nPUT y 1\nBEGIN\nPUT z 1\nABORT\nGTE\nEXIT\n";
    let output = store.cli().arg("--json").write_stdin(script).assert().code(1).get_output().stdout.clone();
    let text = String::from_utf8(output).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[..8],
        [
            r#"{"cmd":"PUT","ok":true,"durable":false}"#,
            r#"{"cmd":"GET","ok":true,"value":"100"}"#,
            r#"{"cmd":"GET","ok":true,"value":null}"#,
            r#"{"cmd":"DEL","ok":true,"durable":false,"existed":true}"#,
            r#"{"cmd":"DEL","ok":true,"existed":false}"#,
            r#"{"cmd":"PUT","ok":true,"durable":false}"#,
            r#"{"key_base64":"/w==","value_base64":"/g=="}"#,
            r#"{"cmd":"SCAN","ok":true,"count":1,"more":false}"#,
        ]
    );
    assert_eq!(lines[8..10], [r#"{"key_base64":"/w=="}"#, r#"{"cmd":"KEYS","ok":true,"count":1,"more":false}"#]);
    let lines = &lines[2..];
    assert_eq!(lines[8], r#"{"cmd":"SIZE","ok":true,"keys":1}"#);
    assert!(lines[9].starts_with(r#"{"cmd":"FLUSH","ok":true,"records":3,"#), "{}", lines[9]);
    assert!(lines[10].starts_with(r#"{"cmd":"SNAP","ok":true,"keys":1,"bytes":"#), "{}", lines[10]);
    assert_eq!(
        lines[11..],
        [
            r#"{"cmd":"SETBATCH","ok":true,"batch":1}"#,
            r#"{"cmd":"PUT","ok":true,"durable":true}"#,
            r#"{"cmd":"BEGIN","ok":true}"#,
            r#"{"cmd":"PUT","ok":true,"queued":1}"#,
            r#"{"cmd":"ABORT","ok":true}"#,
            r#"{"line":17,"ok":false,"code":"unknown_command","error":"unknown command 'GTE'; did you mean GET?"}"#,
            r#"{"cmd":"EXIT","ok":true}"#,
        ]
    );
}

#[test]
fn bench_leaves_the_store_and_the_directory_as_they_were() {
    let store = Store::new();
    store.script("PUT x 1\n");
    let files = || {
        let mut names: Vec<_> = fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    let (before, log) = (files(), fs::read(store.path("kv.wal")).unwrap());
    let bench = store.cli().args(["-q", "-c", "BENCH 100", "-c", "BENCH 20 1,5", "-c", "SIZE"]).assert().success().stderr("");
    let text = String::from_utf8(bench.get_output().stdout.clone()).unwrap();
    let line = |n: u64, batch: u64, syncs: u64| {
        format!(
            r"^BENCH N={n} total_ms=[0-9.]+ ops_per_sec=[0-9.]+ batch={batch} syncs={syncs} p50_us=\S+ p99_us=\S+ p999_us=\S+ max_us=\S+ sync_us=\S+ sync=fdatasync$"
        )
    };
    let expected =
        [line(100, 5, 20), line(20, 1, 20), line(20, 5, 4), r"^BENCH best batch=[15] speedup=[0-9.]+x$".into(), "^1$".into()];
    assert_eq!(text.lines().count(), expected.len(), "{text}");
    for (line, expected) in text.lines().zip(&expected) {
        assert!(predicate::str::is_match(expected.as_str()).unwrap().eval(line), "{line} against {expected}");
    }
    assert_eq!(files(), before);
    assert_eq!(fs::read(store.path("kv.wal")).unwrap()[..log.len().min(100)], log[..log.len().min(100)]);

    fs::write(store.path("kv.wal.bench"), "somebody's own file, which happens to have this name").unwrap();
    store.cli().args(["-q", "-c", "BENCH 1"]).assert().success();
    assert!(fs::read_to_string(store.path("kv.wal.bench")).unwrap().starts_with("somebody's"));
}

#[test]
fn bench_stops_at_a_signal_and_cleans_up() {
    let store = Store::new();
    let mut child = store.piped(&["--batch", "1"]);
    child.stdin.as_mut().unwrap().write_all(b"BENCH 100000000\n").unwrap();
    eventually("the bench begins", || store.has("kv.wal.bench-"));
    signal(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143));
    assert!(String::from_utf8_lossy(&output.stderr).contains("stopped after"));
    assert!(!fs::read_dir(store.dir.path()).unwrap().any(|e| e.unwrap().file_name().to_string_lossy().contains("bench")));
}

#[test]
fn every_example_of_help_runs() {
    let store = Store::new();
    let examples: Vec<String> = kv_cli::command::COMMANDS
        .iter()
        .map(|spec| match spec.name {
            "BENCH" => "BENCH 10 1,5,50".to_string(),
            "ABORT" => format!("BEGIN\n{}", spec.example),
            _ => spec.example.to_string(),
        })
        .collect();
    store.cli().arg("-q").write_stdin(examples.join("\n")).assert().success().stderr("");
}

#[test]
fn no_escape_reaches_a_pipe() {
    let store = Store::new();
    let output =
        store.cli().args(["--timing", "-v"]).write_stdin("PUT a \"\\x1b[2J\"\nGET a\nHELP\nSTATS\nGTE\n").output().unwrap();
    assert!(!output.stdout.iter().chain(&output.stderr).any(|&b| b == 0x1b));
}

/// Values that stay in the snapshot are read from there, also after the store was opened without that option.
#[test]
fn values_may_stay_in_the_snapshot() {
    let store = Store::new();
    let puts: String = (0..2000).map(|n| format!("PUT k{n} value{n}\n")).collect();
    store.cli().write_stdin(puts + "SNAP\n").assert().success();
    let on_disk = || {
        let mut cli = store.cli();
        cli.args(["-q", "--values-in-snapshot", "16KiB"]);
        cli
    };
    on_disk().write_stdin("GET k7\nDEL k8\nPUT new 1\nSIZE\nSNAP\n").assert().success();
    assert_eq!(std::fs::read(store.path("kv.snapshot")).unwrap()[8], 2, "the form with an index");
    on_disk().write_stdin("GET k1999\nGET k8\nGET new\nSIZE\n").assert().success().stdout("value1999\n(nil)\n1\n2000\n");
    store.cli().arg("-q").write_stdin("GET k1999\nGET k8\nSIZE\n").assert().success().stdout("value1999\n(nil)\n2000\n");
}

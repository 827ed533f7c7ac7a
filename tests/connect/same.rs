//! Every command gives what it gives on a store of this process.

use crate::common::{Store, signal, untimed};
use crate::servers::{Answer, Scripted, Served};
use predicates::prelude::*;
use rustix::process::Signal;
use std::process::Stdio;

/// Every command, values and keys of every kind, and lines that fail.
const SCRIPT: &str = r#"PUT x 100
GET x
GET nope
PUT name "Ada Lovelace"
PUT "a\xff\x00\r\n" "\xff\x00\r\n"
GET "a\xff\x00\r\n"
PUT empty ''
PUT k*1 star
PUT kx1 other
PUT 'k\*' back
PUT 'k[x]' class
KEYS k*
KEYS k\
KEYS k[
SCAN
SCAN k LIMIT 2
DEL x
DEL x
SIZE
BEGIN
PUT g 1
PUT g 2
DEL name
GET g
SIZE
COMMIT
GET g
GET name
BEGIN
PUT lost 1
ABORT
GET lost
BEGIN
PUT lost 1
PTU
COMMIT
GET lost
COMMIT
GET
PUT '' 1
SETBATCH
SETBATCH 0
FLUSH
SNAP
KEYS
"#;

fn replies(mut cli: assert_cmd::Command, script: &str) -> (String, String, Option<i32>) {
    let output = cli.write_stdin(script).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (text(&output.stdout), text(&output.stderr), output.status.code())
}

#[test]
fn the_same_script_has_the_same_replies() {
    for format in ["text", "raw", "csv", "json"] {
        let (served, local) = (Served::new(&[]), Store::new());
        let mut here = local.cli();
        here.args(["--batch", "1", "--output", format]);
        let (mut expected, complaints, status) = replies(here, SCRIPT);
        if format == "json" {
            // A server does not tell how much it has written.
            let known = |line: &str| line.starts_with("{\"cmd\":\"FLUSH\"") || line.starts_with("{\"cmd\":\"SNAP\"");
            assert_eq!(expected.lines().filter(|line| known(line)).count(), 2, "{expected}");
            let cut = |line: &str| {
                if known(line) { line.split_once("true,").unwrap().0.to_string() + "true}\n" } else { format!("{line}\n") }
            };
            expected = expected.lines().map(cut).collect();
        }
        let mut there = served.store.cli();
        there.args(["--output", format, "connect", &served.address]);
        assert_eq!(replies(there, SCRIPT), (expected, complaints, status), "{format}");
        assert_eq!(status, Some(1), "some lines fail");
    }
}

#[test]
fn one_command_has_its_options_behind_it() {
    let served = Served::new(&[]);
    assert_eq!(served.says(&["PUT", "n", "-5"]), "OK\n");
    assert_eq!(served.says(&["GET", "n", "--json"]), "{\"cmd\":\"GET\",\"ok\":true,\"value\":\"-5\"}\n");
    assert_eq!(served.says(&["--json", "GET", "n"]), "{\"cmd\":\"GET\",\"ok\":true,\"value\":\"-5\"}\n");
    assert_eq!(served.says(&["-q", "-c", "GET n", "-c", "SIZE"]), "-5\n1\n");
    assert_eq!(served.says(&["PUT", "o", "--", "--json"]), "OK\n");
    assert_eq!(served.says(&["--raw", "GET", "o"]), "--json\n");
    served.store.cli().args(["-x", "connect", &served.address, "PUT", "p"]).write_stdin("a\nb").assert().success();
    assert_eq!(served.says(&["GET", "p"]), "\"a\\nb\"\n");
    // HELP needs no server.
    let help = "GET key   print the value of key, or (nil)";
    served
        .store
        .cli()
        .args(["connect", "127.0.0.1:1", "GET", "--help"])
        .assert()
        .success()
        .stdout(predicate::str::starts_with(help));
}

#[test]
fn what_makes_no_sense_with_a_server_is_refused() {
    let store = Store::new();
    for (words, said) in [
        (&["connect", "localhost"][..], "'localhost' is no address (HOST:PORT or unix:PATH) and no command"),
        (&["--wal", "w", "connect"], "--wal is about the files of a store"),
        (&["connect", "--batch", "5", "SIZE"], "--batch is about the files of a store"),
        (&["connect", "--read-only"], "--read-only is about the files of a store"),
        (&["connect", "--tsl"], "unexpected argument '--tsl'"),
        (&["-c", "SIZE", "connect", "127.0.0.1:1", "SIZE"], "COMMAND cannot be used together with -c or -f"),
    ] {
        store.cli().args(words).assert().code(2).stderr(predicate::str::contains(said));
    }
}

/// More keys than one answer has, a value that is longer than any buffer, and keys that begin alike.
fn fill(served: &Served) -> usize {
    let long = "v".repeat(300_000);
    let lines: String = (0..2500).map(|n| format!("PUT key{n:05} value{n}\n")).collect();
    served.cli(&[]).write_stdin(format!("{lines}PUT key00017 {long}\nPUT other 1\n")).assert().success();
    2501
}

#[test]
fn long_lists_are_complete_and_in_order() {
    let served = Served::new(&["--batch", "100"]);
    let count = fill(&served);
    served.says(&["FLUSH"]);
    let here = |words: &[&str]| {
        let output = served.store.cli().arg("-q").args(words).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    for words in
        [&["KEYS"][..], &["SCAN"], &["SCAN", "key"], &["KEYS", "key000", "LIMIT", "7"], &["SCAN", "key", "LIMIT", "1500"]]
    {
        let (there, here) = (served.says(words), here(words));
        assert!(there == here, "{words:?}: {} lines and {}", there.lines().count(), here.lines().count());
    }
    assert_eq!(served.says(&["SIZE"]), format!("{count}\n"));
    let json = served.says(&["--json", "KEYS", "key", "LIMIT", "3"]);
    assert!(json.ends_with("{\"cmd\":\"KEYS\",\"ok\":true,\"count\":3,\"more\":true}\n"), "{json}");
}

#[test]
fn an_export_is_the_state_and_can_be_imported() {
    let served = Served::new(&["--batch", "100"]);
    let count = fill(&served);
    served.says(&["FLUSH"]);
    let answer = untimed(&served.says(&["EXPORT", "there.kv"]));
    assert_eq!(answer, format!("EXPORT OK entries={count} seq=2502\n"));
    served.store.cli().args(["-q", "export", "here.kv"]).assert().success();
    let read = |name: &str| std::fs::read_to_string(served.store.path(name)).unwrap();
    let (there, here) = (read("there.kv"), read("here.kv"));
    assert!(there.lines().skip(2).eq(here.lines().skip(2)), "the entries and the digest");
    let begin: Vec<_> = there.lines().take(2).collect();
    assert!(begin[0].starts_with("# kv_cli export 1 of store "), "{begin:?}");
    assert_eq!(begin[1], format!("# read from the server at {}; to restore it: kv_cli import FILE", served.address));
    let json = served.says(&["--json", "EXPORT"]);
    assert!(json.lines().next().unwrap().ends_with(&format!("\"server\":\"{}\"}}", served.address)), "the first line");

    let other = Served::new(&[]);
    let file = served.store.path("there.kv");
    let file = file.to_str().unwrap();
    let imported = |written: usize| format!("IMPORT OK entries={count} written={written} unchanged={}\n", count - written);
    assert_eq!(untimed(&other.says(&["IMPORT", file])), imported(count));
    assert_eq!(untimed(&other.says(&["IMPORT", file])), imported(0));
    other.says(&["-c", "PUT key00001 changed", "-c", "DEL key00002", "-c", "PUT kept 1"]);
    assert_eq!(untimed(&other.says(&["IMPORT", file])), imported(2));
    assert_eq!(other.says(&["-c", "GET key00001", "-c", "GET key00002", "-c", "GET kept"]), "value1\nvalue2\n1\n");
}

/// A group of an import is one atomic group of the server.
#[test]
fn groups_are_one_write() {
    let served = Served::new(&[]);
    served.cli(&[]).write_stdin("BEGIN\nPUT a 1\nPUT b 2\nDEL c\nCOMMIT\n").assert().success();
    std::fs::write(served.store.path("lines.kv"), "PUT c 3\nPUT d 4\nDEL a\n").unwrap();
    served.says(&["IMPORT", "lines.kv"]);
    let stats = served.says(&["STATS"]);
    assert!(stats.starts_with("STATS keys=3 ") && stats.contains(" appended=2 durable=2 pending=0 "), "{stats}");
    assert_eq!(served.says(&["SCAN"]), "b 2\nc 3\nd 4\n");
}

#[test]
fn writes_during_an_export_are_told() {
    let served = Served::new(&[]);
    let scripted = |last: &'static str| {
        Scripted::with(last, |request| match request {
            text if text.starts_with("SCAN") => Answer::Say("*2\r\n$1\r\n0\r\n*1\r\n$1\r\na\r\n"),
            text if text.starts_with("MGET") => Answer::Say("*1\r\n$1\r\n1\r\n"),
            _ => Answer::Close,
        })
    };
    // A write that is on its way may become visible during the export.
    let busy = scripted("kv_store_id:0123\r\nbatch_size:1\r\nlast_write:7\r\ndurable_write:6\r\nkeys_in_flight:1");
    let told = predicate::str::contains("it is not the state of one moment");
    busy.cli(&served.store, &["EXPORT", "busy.kv"]).assert().success().stderr(told.clone());
    let quiet = scripted("kv_store_id:0123\r\nbatch_size:1\r\nlast_write:7\r\ndurable_write:7\r\nkeys_in_flight:0");
    let output = quiet.cli(&served.store, &["EXPORT", "quiet.kv"]).assert().success().stderr("").get_output().stdout.clone();
    assert_eq!(untimed(&String::from_utf8(output).unwrap()), "EXPORT OK entries=1 seq=7\n");
}

#[test]
fn values_that_are_too_long_together_come_one_by_one() {
    let store = Store::new();
    let server = Scripted::new(|request| match request {
        text if text.starts_with("SCAN") => Answer::Say("*2\r\n$1\r\n0\r\n*3\r\n$1\r\na\r\n$1\r\nb\r\n$1\r\nc\r\n"),
        text if text.starts_with("MGET") => Answer::Say("-ERR the reply would be longer\r\n"),
        "GET a" => Answer::Say("$1\r\n1\r\n"),
        "GET b" => Answer::Say("_\r\n"),
        "GET c" => Answer::Say("$1\r\n3\r\n"),
        _ => Answer::Close,
    });
    server.cli(&store, &["SCAN"]).assert().success().stdout("a 1\nc 3\n");
}

#[test]
fn bench_leaves_nothing_behind() {
    let served = Served::new(&[]);
    served.says(&["PUT", "kept", "1"]);
    let said = served.says(&["-c", "BENCH 200 --threads 3 --ops mixed:50 --keys 20", "-c", "KEYS"]);
    let (bench, keys) = said.split_once('\n').unwrap();
    assert!(bench.starts_with("BENCH N=200 ") && bench.contains(&format!(" server={} ", served.address)), "{bench}");
    assert_eq!(keys, "kept\n");
    served
        .cli(&["BENCH", "100", "1,5"])
        .assert()
        .code(1)
        .stderr(predicate::str::contains("syncs after 1 writes, and BENCH cannot change that; nothing was measured"));

    // Also after a signal.
    let mut command = served.store.process();
    command.args(["connect", &served.address, "BENCH", "10m"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap();
    crate::common::eventually("BENCH writes", || served.says(&["KEYS", "kv-bench:", "LIMIT", "1"]).starts_with("kv-bench:"));
    signal(&child, Signal::TERM);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{output:?}");
    assert_eq!(served.says(&["KEYS"]), "kept\n");
}

/// Everything that was answered OK is durable when the session has ended, for any batch size of the server.
#[test]
fn the_end_of_a_session_makes_its_writes_durable() {
    let served = Served::new(&["--batch", "1000", "--flush-interval", "off"]);
    served
        .cli(&["--json"])
        .write_stdin("PUT a 1\nPUT b 2\n")
        .assert()
        .success()
        .stdout("{\"cmd\":\"PUT\",\"ok\":true,\"durable\":false}\n{\"cmd\":\"PUT\",\"ok\":true,\"durable\":false}\n");
    let mut shell = served.shell();
    assert_eq!(shell.ask("PUT c 3"), "OK");
    assert_eq!(shell.ask("FLUSH"), "FLUSH OK");
    assert_eq!(shell.ask("SETBATCH"), "OK batch=1000");
    let store = served.kill();
    store.cli().args(["-q", "KEYS"]).assert().stdout("a\nb\nc\n");
}

#[test]
fn a_unix_socket_is_an_address() {
    let store = Store::new();
    let path = store.path("socket");
    let served = Served::on(store, "127.0.0.1:0", &["--unixsocket", path.to_str().unwrap()], None);
    let address = format!("unix:{}", path.display());
    served.store.cli().args(["connect", &address, "PUT", "a", "1"]).assert().success().stdout("OK\n");
    let stats = predicate::str::starts_with("1\nSTATS keys=1 ").and(predicate::str::contains(format!(" server=\"{address}\"\n")));
    served.store.cli().args(["connect", &address]).write_stdin("GET a\nSTATS\n").assert().success().stdout(stats);
}

/// A program that sends a line and waits gets its answer.
#[test]
fn a_script_is_answered_line_by_line() {
    let served = Served::new(&[]);
    let mut shell = served.shell();
    for n in 0..20 {
        assert_eq!(shell.ask(&format!("PUT a {n}")), "OK");
        assert_eq!(shell.ask("GET a"), n.to_string());
    }
    let (rest, said, status) = shell.end();
    assert_eq!((rest.as_str(), said.as_str(), status), ("", "", Some(0)));
}

#[test]
fn a_password_comes_from_a_file_or_a_variable() {
    let served = Served::on(Store::new(), "127.0.0.1:0", &[], Some("secret word"));
    served.cli(&["SIZE"]).assert().code(3).stderr(predicate::str::contains("wants a password; put it into KV_PASSWORD"));
    served
        .cli(&["SIZE"])
        .env("KV_PASSWORD", "wrong")
        .assert()
        .code(3)
        .stderr(predicate::str::contains("did not take the password"));
    served.cli(&["SIZE"]).env("KV_PASSWORD", "secret word").assert().success().stdout("0\n");
    std::fs::write(served.store.path("file"), "secret word\r\nnot this\n").unwrap();
    served.cli(&["--password-file", "file", "SIZE"]).assert().success().stdout("0\n");
    served.cli(&["--password-file", "none", "SIZE"]).assert().code(3).stderr(predicate::str::contains("the password file none"));
    // A connection that is opened later, as those of BENCH.
    served.cli(&["BENCH", "5", "--threads", "2"]).env("KV_PASSWORD", "secret word").assert().success();
}

/// While a server holds the store, a shell on its files says how to use it.
#[test]
fn a_shell_on_the_files_names_the_address() {
    let served = Served::new(&[]);
    let said = format!("to use it: kv_cli connect {}", served.address);
    served.store.cli().args(["PUT", "a", "1"]).assert().code(3).stderr(predicate::str::contains(said));
}

//! The command line of `kv_cli`: forms of the replies, mistakes, variables, and commands where there is no store.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Store;
use predicates::prelude::*;
use serde_json::{Value, json};

/// The text on stdout, and the status.
fn run(store: &Store, args: &[&str]) -> (String, i32) {
    let output = store.cli().args(args).output().unwrap();
    (String::from_utf8(output.stdout).unwrap(), output.status.code().unwrap())
}

#[test]
fn color_is_obeyed_by_help_and_by_mistakes() {
    let store = Store::new();
    for (args, is_mistake) in
        [(&["--help"][..], false), (&["wal", "--help"], false), (&["--wla"], true), (&["--batch", "0"], true)]
    {
        for (color, is_colored) in [("always", true), ("never", false), ("auto", false)] {
            let output = store.cli().arg(format!("--color={color}")).args(args).output().unwrap();
            let text = if is_mistake { output.stderr } else { output.stdout };
            assert_eq!(text.contains(&0x1b), is_colored, "{args:?} --color={color}");
            assert!(!text.is_empty());
        }
    }
}

#[test]
fn a_mistake_on_the_command_line_is_an_object_too() {
    let store = Store::new();
    for (args, says) in [
        (&["--json", "--wla"][..], "unexpected argument '--wla' found"),
        (&["--output", "json", "--batch", "0"], "expected a whole number from 1 to 1000000"),
        (&["GET", "k", "--jsno", "--json"], "unexpected option '--jsno'; did you mean --json?; tip: to pass it as a word,"),
        (&["wal", "--record", "x", "--json"], "expected a whole number up to"),
        (&["--json", "-c", "SIZE", "GET", "a"], "COMMAND cannot be used together with -c or -f"),
    ] {
        let output = store.cli().args(args).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let object: Value = serde_json::from_str(&stdout).expect(&stdout);
        assert_eq!((&object["ok"], &object["code"]), (&json!(false), &json!("usage")), "{object}");
        let text = object["error"].as_str().unwrap();
        assert!(text.contains(says) && !text.contains('\n') && !text.contains("Usage"), "{text}");
        assert!(String::from_utf8_lossy(&output.stderr).starts_with("error: ") && output.status.code() == Some(2));
    }
    assert_eq!(run(&store, &["--csv", "--wla"]), ("ERROR,\"unexpected argument '--wla' found\"\n".to_string(), 2));
    assert_eq!(run(&store, &["--wla"]), (String::new(), 2));
    // Behind `--` it is data.
    assert_eq!(run(&store, &["--wla", "--", "--json"]), (String::new(), 2));
}

#[test]
fn help_and_the_version_are_objects_with_json() {
    let store = Store::new();
    for (args, cmd, says) in [
        (&["--json", "help", "wal"][..], "HELP", "--follow"),
        (&["wal", "--help", "--json"], "HELP", "--follow"),
        (&["--json", "--color", "always", "--help"], "HELP", "Examples:"),
        (&["--json", "HELP", "PUT"], "HELP", "PUT key value"),
        (&["--json", "--version"], "VERSION", "kv_cli 0."),
    ] {
        let (text, status) = run(&store, args);
        let object: Value = serde_json::from_str(&text).expect(&text);
        assert_eq!((&object["cmd"], &object["ok"], status), (&json!(cmd), &json!(true), 0), "{args:?}");
        let text = object["text"].as_str().unwrap();
        assert!(text.contains(says) && !text.contains('\x1b'), "{text}");
    }
}

#[test]
fn an_empty_variable_counts_as_not_set() {
    let store = Store::new();
    let names = ["KV_DIR", "KV_SNAPSHOT", "KV_BATCH", "KV_FLUSH_INTERVAL_MS", "KV_CHECKPOINT_LOG", "KV_CHECKPOINT_INTERVAL"];
    let empty = || {
        let mut cli = store.cli();
        cli.envs(names.map(|name| (name, ""))).env("KV_VALUES_IN_SNAPSHOT", "");
        cli
    };
    empty().args(["PUT", "a", "1"]).assert().success().stdout("OK\n").stderr("");
    assert_eq!(store.names(), ["kv.snapshot.lock", "kv.wal", "kv.wal.lock"]);
    empty().arg("SETBATCH").assert().success().stdout("OK batch=5\n");
    // The log has a default too.
    let dir = store.path("d");
    std::fs::create_dir(&dir).unwrap();
    let mut by_dir = store.cli();
    by_dir.env("KV_WAL", "").env("KV_SNAPSHOT", "").env("KV_DIR", &dir).args(["PUT", "b", "2"]).assert().success();
    assert!(dir.join("kv.wal").exists());
    let help = |wal: &str| store.cli().env("KV_WAL", wal).arg("--help").output().unwrap().stdout;
    assert!(help("") == help("x"), "the help names every variable, also an empty one");
}

#[test]
fn csv_has_a_row_for_each_reply_and_each_entry() {
    let store = Store::new();
    let script = "PUT a 'x \"y\"'\nPUT \"b\\n\\xff\" é,\nPUT empty \"\"\nGET a\nGET nope\nGET empty\nSIZE\nKEYS\nSCAN\nDEL nope\nDEL a\n\
                  GTE\nSETBATCH\nBEGIN\nPUT c 1\nCOMMIT\nFLUSH\nEXIT\n";
    let output = store.cli().arg("--csv").write_stdin(script).output().unwrap();
    let expected = [
        r#""OK""#,
        r#""OK""#,
        r#""OK""#,
        r#""x \"y\"""#,
        "NULL",
        r#""""#,
        "3",
        r#""a""#,
        r#""b\n\xff""#,
        r#""empty""#,
        r#""a","x \"y\"""#,
        r#""b\n\xff","é,""#,
        r#""empty","""#,
        "NULL",
        r#""OK""#,
        r#"ERROR,"unknown command 'GTE'; did you mean GET?""#,
        r#""OK batch=5""#,
        r#""OK""#,
        r#""QUEUED""#,
        r#""OK""#,
        r#""FLUSH OK""#,
        r#""bye""#,
    ];
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().collect::<Vec<_>>(), expected);
    assert_eq!(
        String::from_utf8(output.stderr).unwrap(),
        "kv_cli: <stdin>:12: error: unknown command 'GTE'; did you mean GET?\n"
    );
    assert_eq!(output.status.code(), Some(1));

    assert_eq!(run(&store, &["GET", "c", "--csv"]), ("\"1\"\n".to_string(), 0));
    assert_eq!(run(&store, &["--output", "csv", "SIZE"]), ("3\n".to_string(), 0));
    let (stats, _) = run(&store, &["--csv", "STATS"]);
    assert!(stats.lines().all(|row| row.starts_with('"') && row.contains("\",")), "{stats}");
    assert!(stats.lines().any(|row| row == "\"keys\",3"), "{stats}");
    let (bench, _) = run(&store, &["--csv", "-c", "BENCH 2"]);
    assert!(bench.starts_with("\"BENCH N=2 ") && bench.ends_with("\"\n") && bench.lines().count() == 1, "{bench}");
    let (exported, _) = run(&store, &["--csv", "EXPORT", "saved.kv"]);
    assert!(exported.starts_with("\"EXPORT OK entries=3 "), "{exported}");
    let (imported, _) = run(&store, &["--csv", "IMPORT", "saved.kv"]);
    assert!(imported.starts_with("\"IMPORT OK entries=3 written=0 unchanged=3 "), "{imported}");
}

#[test]
fn what_cannot_be_csv_says_so() {
    let store = Store::new();
    store.script("PUT a 1\n");
    for tool in ["wal", "verify", "export", "replay"] {
        store.cli().args(["--csv", tool]).assert().code(2).stderr(predicate::str::contains("a tool does not write CSV"));
    }
    store.cli().args(["--csv", "EXPORT"]).assert().code(1).stderr(predicate::str::contains("nothing was exported"));
    store.cli().args(["--csv", "--json", "SIZE"]).assert().code(2);
}

#[test]
fn a_mistyped_tool_is_guessed() {
    let store = Store::new();
    for (typed, meant) in [("verfy", "verify"), ("walk", "wal"), ("tortrue", "torture"), ("relpay", "replay")] {
        let said = format!("unknown command '{typed}'; did you mean the tool {meant}? It runs outside: kv_cli {meant}\n");
        store.cli().args([typed]).assert().code(1).stdout("").stderr(format!("kv_cli: error: {said}"));
        store.cli().write_stdin(format!("{typed}\n")).assert().code(1).stderr(format!("kv_cli: <stdin>:1: error: {said}"));
    }
    assert!(store.names().is_empty());
}

#[test]
fn del_flush_and_setbatch_create_no_store() {
    let store = Store::new();
    let said = format!("kv_cli: there is no store at {}; nothing was created\n", store.path("kv.wal").display());
    for (command, reply) in
        [("DEL a", "(nil)\n"), ("FLUSH", "FLUSH OK\n"), ("SETBATCH 7", "OK batch=7\n"), ("SETBATCH", "OK batch=5\n")]
    {
        let words: Vec<_> = command.split(' ').collect();
        store.cli().args(&words).assert().success().stdout(reply).stderr(said.clone());
        store.cli().write_stdin(format!("{command}\n")).assert().success().stdout(reply).stderr(said.clone());
        store.cli().arg("-q").args(&words).assert().success().stdout(reply).stderr("");
        assert_eq!(store.names(), Vec::<String>::new(), "{command}");
    }
    let json = run(&store, &["--json", "-c", "DEL a", "-c", "FLUSH"]).0;
    assert_eq!(
        json,
        "{\"cmd\":\"DEL\",\"ok\":true,\"existed\":false}\n{\"cmd\":\"FLUSH\",\"ok\":true,\"records\":0,\"bytes\":0}\n"
    );
    // A limit is a mistake here too.
    store.cli().args(["DEL", ""]).assert().code(1).stderr(predicate::str::contains("the key is empty"));
    assert!(store.names().is_empty());

    // The store that a later write creates has that batch size, and nothing is said.
    assert_eq!(
        store.script("SETBATCH 7\nDEL a\nFLUSH\nPUT a 1\nSETBATCH\nDEL a\nFLUSH\n"),
        "OK batch=7\n(nil)\nFLUSH OK\nOK\nOK batch=7\nOK\nFLUSH OK\n"
    );
    assert_eq!(store.script("SIZE\n"), "0\n");
    // A store that is there is opened as before.
    store.script("PUT a 1\n");
    store.cli().args(["DEL", "a"]).assert().success().stdout("OK\n").stderr("");
}

#[test]
fn a_script_finds_a_store_that_another_process_has_made() {
    let store = Store::new();
    let mut shell = common::Shell::on(&store, &[]);
    assert_eq!(shell.ask("DEL a"), "(nil)");
    store.script("PUT a 1\n");
    assert_eq!(shell.ask("DEL a"), "OK");
    let (_, said, status) = shell.end();
    assert_eq!((said.as_str(), status), ("", Some(0)));
}

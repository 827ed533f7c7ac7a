//! Typing at the prompt of `kv_cli`: hints, colours, completion, and keys of the line editor.

#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Store;
use common::terminal::{drop_line, on_terminal, prompt, say, say_then, type_in};
use rexpect::session::{Options, PtySession, spawn_with_options};

#[test]
fn after_limit_a_number_is_hinted() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    type_in(&mut session, "SCAN LIMIT ", "SCAN LIMIT n");
    drop_line(&mut session);
    type_in(&mut session, "KEYS a LIMIT ", "KEYS a LIMIT n");
}

#[test]
fn escape_in_a_search_keeps_the_line_that_was_found() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    say(&mut session, "PUT sought found", "OK");
    say(&mut session, "SIZE", "1 key");
    type_in(&mut session, "GET ", "GET ");
    session.send_control('r').unwrap();
    type_in(&mut session, "ght", "PUT sought found");
    // Escape ends the search, and the line can be edited.
    type_in(&mut session, "\x1b", "kv> PUT sought found");
    session.send_control('e').unwrap();
    say(&mut session, "2", "OK");
    say(&mut session, "GET sought", "found2");
    // Ctrl-G goes back to what was typed before.
    type_in(&mut session, "GET ", "GET ");
    session.send_control('r').unwrap();
    type_in(&mut session, "ght f", "PUT sought found2");
    session.send_control('g').unwrap();
    say(&mut session, "sought", "found2");
}

/// What Ctrl-C shows up to the next prompt: the line as it stays on the screen, and below it.
fn ctrl_c(session: &mut PtySession) -> (String, String) {
    session.send_control('c').unwrap();
    let line = session.exp_string("\r\n").unwrap();
    (line, session.exp_string("kv> ").unwrap())
}

#[test]
fn ctrl_c_takes_the_grey_hint_off_the_line() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    say(&mut session, "PUT a 1", "OK");
    // An argument, and the rest of a line of the history.
    for (typed, shown) in [("GET", "GET key"), ("PU", "PUT a 1")] {
        type_in(&mut session, typed, shown);
        let (line, _) = ctrl_c(&mut session);
        assert_eq!(line.rsplit("kv> ").next().unwrap().trim_end(), typed, "{line:?}");
    }
    // In a search too. The line that was found is dropped.
    session.send_control('r').unwrap();
    type_in(&mut session, "PUT a", "PUT a 1");
    assert!(!ctrl_c(&mut session).1.contains("to quit"));
    say(&mut session, "SIZE", "1 key");
    assert!(ctrl_c(&mut session).1.contains("(EXIT or Ctrl-D to quit)"));
}

/// Ctrl-C at a question of the editor is not kept for the next Enter.
#[test]
fn ctrl_c_while_completions_are_listed_does_not_drop_a_later_line() {
    let store = Store::new();
    store.script((0..100).map(|n| format!("PUT {}{n} {n}\n", "k".repeat(70))).collect::<String>());
    let mut session = on_terminal(&store, "xterm", 80);
    type_in(&mut session, "GET k\t\t", "--More--");
    session.send_control('c').unwrap();
    type_in(&mut session, "q", "kv> GET k");
    type_in(&mut session, "7\n", "\r\n7\r\n");
}

#[test]
fn tab_completes_keys_of_an_open_group() {
    let store = Store::new();
    store.script("PUT stored 1\nPUT removed 2\n");
    let mut session = prompt(&store, &[]);
    say_then(&mut session, "BEGIN", "OK", "kv*> ");
    say_then(&mut session, "PUT queued 3", "QUEUED", "kv*> ");
    say_then(&mut session, "DEL removed", "QUEUED", "kv*> ");
    say_then(&mut session, "PUT removal 4", "QUEUED", "kv*> ");
    say_then(&mut session, "GET qu\t", "\r\n3\r\n", "kv*> ");
    say_then(&mut session, "GET st\t", "\r\n1\r\n", "kv*> ");
    // Only the key that GET would find now.
    say_then(&mut session, "GET rem\t", "\r\n4\r\n", "kv*> ");
}

#[test]
fn tab_completes_keys_without_opening_the_store() {
    let store = Store::new();
    store.script((100..=300).map(|n| format!("PUT key:{n} {n}\n")).collect::<String>() + "PUT other 1\nSNAP\nPUT late 2\n");
    let mut session = prompt(&store, &["--read-only"]);
    say(&mut session, "GET oth\t", "1");
    say(&mut session, "GET la\t", "2");
    // Keys from 100 to 300 share no digit. Tab inserts only what all share, also if not all are listed.
    say(&mut session, "GET ke\t200", "200");
    type_in(&mut session, "GET ke\t\t", "... key:300");
}

#[test]
fn a_pasted_prompt_is_no_part_of_the_line() {
    let store = Store::new();
    store.script("PUT plain five\n");
    let mut session = prompt(&store, &[]);
    say(&mut session, "kv> GET pl\t", "five");
    say(&mut session, "kv> g\tpl\t", "five");
    type_in(&mut session, "kv> PUT x", "kv> PUT x value");
}

/// The line as it is shown, with its colours.
#[test]
fn behind_a_pasted_prompt_a_known_command_is_bold_and_nothing_is_red() {
    let store = Store::new();
    let mut command = store.process();
    command.env("TERM", "xterm");
    let mut session = spawn_with_options(command, Options::new().timeout_ms(Some(30_000))).unwrap();
    session.exp_string("kv> ").unwrap();
    session.send("kv> SIZE").unwrap();
    session.flush().unwrap();
    let drawn = session.exp_string("kv> \x1b[1mSIZE\x1b[0m").unwrap();
    assert!(!drawn.contains("\x1b[31m"), "{drawn:?}");
    drop_line(&mut session);
    session.send("kv> PTU ").unwrap();
    session.flush().unwrap();
    session.exp_string("kv> \x1b[31mPTU\x1b[0m").unwrap();
}

/// A file that changes one of two keys.
fn with_a_file_that_replaces() -> Store {
    let store = Store::new();
    store.script("PUT a 1\nPUT b 2\nPUT c 3\n");
    std::fs::write(store.path("new.kv"), "PUT a 9\nPUT b 2\nDEL c\nPUT d 4\n").unwrap();
    store
}

#[test]
fn import_asks_at_a_prompt_before_it_replaces() {
    let store = with_a_file_that_replaces();
    let mut session = prompt(&store, &[]);
    let question = "new.kv: 2 entries change what is stored, first 'a'; import? [y/N] ";
    let refused = "not imported, nothing was stored; IMPORT file REPLACE does not ask";
    for answer in ["\n", "n\n", "PUT x 1\n"] {
        session.send_line("IMPORT new.kv").unwrap();
        session.exp_string(question).unwrap();
        type_in(&mut session, answer, refused);
        session.exp_string("kv> ").unwrap();
    }
    // Ctrl-C and Ctrl-D mean no, and keep the shell.
    for key in ['c', 'd'] {
        session.send_line("IMPORT new.kv").unwrap();
        session.exp_string(question).unwrap();
        session.send_control(key).unwrap();
        session.exp_string(refused).unwrap();
        session.exp_string("kv> ").unwrap();
    }
    say(&mut session, "GET a", "1");
    say(&mut session, "SIZE", "3 keys");
    session.send_line("IMPORT new.kv").unwrap();
    session.exp_string(question).unwrap();
    type_in(&mut session, "y\n", "IMPORT OK entries=4 written=3 unchanged=1");
    session.exp_string("kv> ").unwrap();
    say(&mut session, "GET a", "9");
    // Nothing is replaced any more, so nothing is asked.
    say(&mut session, "IMPORT new.kv", "IMPORT OK entries=4 written=0 unchanged=4");
    say(&mut session, "PUT d 5", "OK");
    session.send_line("IMPORT new.kv").unwrap();
    session.exp_string("new.kv: 1 entry changes what is stored, first 'd'; import? [y/N] ").unwrap();
    type_in(&mut session, "no\n", refused);
    session.exp_string("kv> ").unwrap();
    say(&mut session, "IMPORT new.kv rep\t", "IMPORT OK entries=4 written=1 unchanged=3");
}

#[test]
fn import_does_not_ask_in_scripts_and_where_there_is_no_store() {
    let store = with_a_file_that_replaces();
    let ok = "IMPORT OK entries=4 written=3 unchanged=1";
    assert!(store.script("IMPORT new.kv\n").starts_with(ok));
    for args in [&["IMPORT", "new.kv"][..], &["import", "new.kv"], &["-c", "IMPORT new.kv replace"]] {
        store.script("PUT a 1\nPUT c 3\nDEL d\n");
        let output = store.cli().args(args).assert().success().get_output().stdout.clone();
        assert!(String::from_utf8_lossy(&output).starts_with(ok), "{args:?}");
    }
    let fresh = Store::new();
    std::fs::copy(store.path("new.kv"), fresh.path("new.kv")).unwrap();
    let mut session = prompt(&fresh, &[]);
    say(&mut session, "IMPORT new.kv", "IMPORT OK entries=4 written=3 unchanged=1");
    say(&mut session, "IMPORT new.kv now", "error: IMPORT takes a file, got 2 words; quote a name that has blanks");
}

#[test]
fn a_list_that_stops_at_a_hundred_says_so_in_every_form() {
    let store = Store::new();
    store.script((0..101).map(|n| format!("PUT k{n} {n}\n")).collect::<String>());
    for form in ["--raw", "--csv"] {
        let mut session = prompt(&store, &[form]);
        session.send_line("KEYS").unwrap();
        let listed = session.exp_string("(100 shown, there are more: try LIMIT 1000)\r\n").unwrap();
        assert_eq!(listed.lines().filter(|line| line.trim_matches('"').starts_with('k') && !line.contains('>')).count(), 100);
        session.exp_string("kv> ").unwrap();
        session.send_line("KEYS LIMIT 101").unwrap();
        session.exp_string("k99").unwrap();
        assert!(!session.exp_string("kv> ").unwrap().contains("shown"));
    }
    // Elsewhere the list has no limit.
    let output = store.cli().args(["--raw", "KEYS"]).assert().success().stderr("").get_output().stdout.clone();
    assert_eq!(output.iter().filter(|&&byte| byte == b'\n').count(), 101);
}

/// A prompt whose file of commands is found through these variables.
fn with_rc(store: &Store, variables: &[(&str, &str)], args: &[&str]) -> PtySession {
    let mut command = store.process();
    command.env("TERM", "xterm").env("HOME", store.dir.path()).env_remove("XDG_CONFIG_HOME").args(args);
    command.env_remove("KV_RC").envs(variables.iter().copied());
    spawn_with_options(command, Options::new().timeout_ms(Some(30_000)).strip_ansi_escape_codes(true)).unwrap()
}

#[test]
fn a_prompt_runs_the_file_of_commands_first() {
    let store = Store::new();
    let write = |name: &str, text: &str| {
        std::fs::create_dir_all(store.path(name).parent().unwrap()).unwrap();
        std::fs::write(store.path(name), text).unwrap();
    };
    write(".config/kv_cli/rc", "# mine\nSETBATCH 2\n");
    write("xdg/kv_cli/rc", "SETBATCH 3\n");
    write("named", "SETBATCH 4\nGTE x\nSETBATCH 6\n");
    let xdg = store.path("xdg").display().to_string();
    for (variables, args, batch) in [
        (&[][..], &[][..], "2"),
        (&[("XDG_CONFIG_HOME", &*xdg)], &[], "3"),
        (&[("XDG_CONFIG_HOME", &*xdg), ("KV_RC", "named")], &[], "6"),
        (&[("KV_RC", "named")], &["--no-rc"], "5"),
        (&[("KV_RC", "")], &[], "5"),
    ] {
        let mut session = with_rc(&store, variables, args);
        let before = session.exp_string("kv> ").unwrap();
        assert_eq!(before.contains("error: unknown command 'GTE'"), batch == "6", "{before}");
        assert_eq!(before.contains("named:2: error"), batch == "6", "{before}");
        say(&mut session, "SETBATCH", &format!("OK batch={batch}"));
        assert!(!store.has("kv.wal"), "it writes nothing, so no store is created");
    }
    // The batch size is that of the store that the first write creates.
    let mut session = with_rc(&store, &[], &[]);
    session.exp_string("kv> ").unwrap();
    say(&mut session, "PUT a 1", "OK 1 of 2 buffered");
    drop(session);
    // A script and one command do not run it.
    let batch = |cli: &mut assert_cmd::Command| {
        let cli = cli.env_remove("KV_RC").env("HOME", store.dir.path()).env_remove("XDG_CONFIG_HOME");
        String::from_utf8(cli.assert().success().get_output().stdout.clone()).unwrap()
    };
    assert_eq!(batch(store.cli().write_stdin("SETBATCH\n")), "OK batch=5\n");
    assert_eq!(batch(store.cli().arg("SETBATCH")), "OK batch=5\n");
}

#[test]
fn a_file_of_commands_that_cannot_be_read_is_reported_if_it_was_named() {
    let store = Store::new();
    for (named, why) in [("nowhere", "No "), (".", "it is not a regular file")] {
        let mut session = with_rc(&store, &[("KV_RC", named)], &[]);
        let before = session.exp_string("kv> ").unwrap();
        let text = before.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains(&format!("warning: the commands in {named} were not run: {why}")), "{text}");
    }
    let mut session = with_rc(&store, &[], &[]);
    assert!(!session.exp_string("kv> ").unwrap().contains("warning: the commands"), "nobody has to have one");
}

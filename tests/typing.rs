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

//! `kv_cli` at a terminal.

#![cfg(feature = "cli")]
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Store;
use rexpect::process::{Signal, WaitStatus};
use rexpect::session::{Options, PtySession, spawn_with_options};
use std::fs;

const UP: &str = "\x1b[A";

/// A prompt on `store`, after the banner.
fn prompt(store: &Store, args: &[&str]) -> PtySession {
    let mut command = store.process();
    command.args(args).env("TERM", "xterm");
    let options = Options::new().timeout_ms(Some(30_000)).strip_ansi_escape_codes(true);
    let mut session = spawn_with_options(command, options).unwrap();
    if !args.contains(&"-q") {
        session.exp_string("HELP lists the commands; EXIT or Ctrl-D leaves.").unwrap();
    }
    session.exp_string("kv> ").unwrap();
    session
}

/// Types a line and waits for what is printed below it.
fn say(session: &mut PtySession, line: &str, answer: &str) {
    session.send_line(line).unwrap();
    session.exp_string(&format!("\r\n{answer}")).unwrap();
    session.exp_string("kv> ").unwrap();
}

fn exit_status(session: &PtySession) -> i32 {
    match session.process().wait().unwrap() {
        WaitStatus::Exited(_, status) => status,
        other => panic!("{other:?}"),
    }
}

#[test]
fn banner_replies_notes_and_ctrl_d() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    say(&mut session, "PUT x 100", "OK 1 of 5 buffered");
    say(&mut session, "get x", "100");
    say(&mut session, "GET nope", "(nil)");
    say(&mut session, "SIZE", "1 key");
    say(&mut session, "PTU", "error: unknown command 'PTU'; did you mean PUT?");
    session.send_control('d').unwrap();
    session.exp_eof().unwrap();
    // Errors of a person do not count.
    assert_eq!(exit_status(&session), 0);
    assert_eq!(store.script("GET x\n"), "100\n");
}

#[test]
fn ctrl_c_drops_the_line_and_keeps_the_shell() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    session.send("PUT x 1").unwrap();
    session.flush().unwrap();
    session.exp_string("PUT x 1").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("\r\n").unwrap();
    session.exp_string("kv> ").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("(EXIT or Ctrl-D to quit)").unwrap();
    say(&mut session, "SIZE", "0 keys");
    session.send_line("EXIT").unwrap();
    session.exp_string("bye").unwrap();
    assert_eq!(exit_status(&session), 0);
}

#[test]
fn ctrl_c_stops_a_bench() {
    let store = Store::new();
    let mut session = prompt(&store, &["--batch", "1"]);
    session.send_line("BENCH 100000000").unwrap();
    common::eventually("the bench begins", || store.path("kv.wal.bench").exists());
    session.send_control('c').unwrap();
    session.exp_string("BENCH N=").unwrap();
    session.exp_string("stopped after").unwrap();
    session.exp_string("kv> ").unwrap();
    say(&mut session, "SIZE", "0 keys");
    assert!(!store.path("kv.wal.bench").exists());
}

#[test]
fn several_lines_at_once_all_run() {
    let store = Store::new();
    let mut session = prompt(&store, &[]);
    session.send("PUT a 1\nPUT b 2\nPUT c 3\n").unwrap();
    session.exp_string("3 of 5 buffered").unwrap();
    session.exp_string("kv> ").unwrap();
    // A paste comes in brackets and is one text to the editor.
    session.send("\x1b[200~DEL a\nPUT d 4\nSIZE\x1b[201~\n").unwrap();
    session.exp_string("3 keys").unwrap();
    session.exp_string("kv> ").unwrap();
    say(&mut session, "GET d", "4");
    session.send_line("EXIT").unwrap();
    session.exp_eof().unwrap();
    let history = fs::read_to_string(store.path("history")).unwrap();
    for line in ["PUT a 1\n", "PUT c 3\n", "DEL a\n", "PUT d 4\n", "SIZE\n"] {
        assert!(history.contains(line), "{line} in {history}");
    }
}

#[test]
fn history_and_durable_writes_survive_sigkill() {
    let store = Store::new();
    let mut session = prompt(&store, &["--batch", "1"]);
    say(&mut session, "PUT kept yes", "OK");
    say(&mut session, " PUT secret no", "OK");
    session.process_mut().kill(Signal::SIGKILL).unwrap();

    let history = fs::read_to_string(store.path("history")).unwrap();
    assert!(history.contains("PUT kept yes\n") && !history.contains("secret"));
    use std::os::unix::fs::PermissionsExt;
    assert_eq!(fs::metadata(store.path("history")).unwrap().permissions().mode() & 0o777, 0o600);
    let mut session = prompt(&store, &[]);
    say(&mut session, UP, "OK");
    say(&mut session, "GET kept", "yes");
}

#[test]
fn sigterm_at_the_prompt_saves_and_restores_the_terminal() {
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 129)] {
        let store = Store::new();
        let mut session = prompt(&store, &["--flush-interval", "0"]);
        say(&mut session, "PUT x 1", "OK 1 of 5 buffered");
        session.process_mut().signal(signal).unwrap();
        session.exp_eof().unwrap();
        assert_eq!(exit_status(&session), status);
        assert_eq!(store.script("GET x\n"), "1\n");
    }
}

#[test]
fn tab_completes_commands_and_keys_and_hints_name_arguments() {
    let store = Store::new();
    store.script("PUT 'user 1' one\n");
    let mut session = prompt(&store, &[]);
    session.send("PUT").unwrap();
    session.flush().unwrap();
    session.exp_string("PUT key value").unwrap();
    session.send_control('c').unwrap();
    session.exp_string("kv> ").unwrap();
    say(&mut session, "g\tus\t", "one");
    say(&mut session, "HELP SETB\t", "SETBATCH [n]");
}

#[test]
fn a_file_gets_replies_and_nothing_else() {
    let store = Store::new();
    let mut command = store.program("sh");
    command.args(["-c", "exec \"$0\" > replies"]).arg(env!("CARGO_BIN_EXE_kv_cli")).env("TERM", "xterm");
    let mut session = spawn_with_options(command, Options::new().timeout_ms(Some(30_000))).unwrap();
    session.exp_string("kv> ").unwrap();
    session.send_line("PUT x 1").unwrap();
    session.send_line("GET x").unwrap();
    session.send_line("EXIT").unwrap();
    session.exp_eof().unwrap();
    assert_eq!(exit_status(&session), 0);
    assert_eq!(fs::read_to_string(store.path("replies")).unwrap(), "OK\n1\nbye\n");
}

#[test]
fn no_color_is_obeyed_and_data_commands_no_terminal() {
    let store = Store::new();
    let mut command = store.process();
    command.env("TERM", "xterm").env("NO_COLOR", "1");
    let mut session = spawn_with_options(command, Options::new().timeout_ms(Some(30_000))).unwrap();
    session.exp_string("kv> ").unwrap();
    session.send_line("PUT x \"\\x1b[31m\\xc2\\x9b\"").unwrap();
    session.send_line("GET x").unwrap();
    session.send_line("PTU").unwrap();
    session.send_line("EXIT").unwrap();
    let screen = session.exp_eof().unwrap();
    let colors = screen.split("\x1b[").skip(1).filter(|rest| {
        let parameters = rest.trim_start_matches(|c: char| c.is_ascii_digit() || c == ';');
        parameters.starts_with('m')
    });
    assert_eq!(colors.count(), 0, "{screen:?}");
    assert!(screen.contains(r#""\x1b[31m\xc2\x9b""#), "{screen:?}");
}

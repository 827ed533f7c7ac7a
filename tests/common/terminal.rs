//! `kv_cli` on a terminal: what a person types, and what the screen shows.

use super::Store;
use rexpect::process::WaitStatus;
use rexpect::session::{Options, PtySession, spawn_with_options};

/// A prompt on `store`, after the banner.
pub fn prompt(store: &Store, args: &[&str]) -> PtySession {
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

/// Types a line and waits for the reply below it.
pub fn say(session: &mut PtySession, line: &str, answer: &str) {
    session.send_line(line).unwrap();
    session.exp_string(&format!("\r\n{answer}")).unwrap();
    session.exp_string("kv> ").unwrap();
}

pub fn exit_status(session: &PtySession) -> i32 {
    match session.process().wait().unwrap() {
        WaitStatus::Exited(_, status) => status,
        other => panic!("{other:?}"),
    }
}

/// Types without Enter, and waits until it is on the screen.
pub fn type_in(session: &mut PtySession, text: &str, shown: &str) {
    session.send(text).unwrap();
    session.flush().unwrap();
    session.exp_string(shown).unwrap();
}

/// Ctrl-C at a line with something on it.
pub fn drop_line(session: &mut PtySession) {
    session.send_control('c').unwrap();
    session.exp_string("\r\n").unwrap();
    session.exp_string("kv> ").unwrap();
}

/// Types a line and waits for the reply below it and this prompt.
pub fn say_then(session: &mut PtySession, line: &str, answer: &str, prompt: &str) {
    session.send_line(line).unwrap();
    session.exp_string(answer).unwrap();
    session.exp_string(prompt).unwrap();
}

/// A shell on a terminal of this kind and width.
pub fn on_terminal(store: &Store, term: &str, columns: u32) -> PtySession {
    let mut command = store.program("sh");
    command.args(["-c", &format!("stty cols {columns} rows 60 2>/dev/null; exec \"$0\"")]).arg(env!("CARGO_BIN_EXE_kv_cli"));
    command.env("TERM", term);
    let options = Options::new().timeout_ms(Some(30_000)).strip_ansi_escape_codes(true);
    let mut session = spawn_with_options(command, options).unwrap();
    session.exp_string("kv> ").unwrap();
    session
}

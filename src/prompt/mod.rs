//! The prompt: reads lines with an editor and runs them.
//!
//! Only a terminal is read with the editor, because the editor would change some bytes of a script.
//!
//! | file | what it does |
//! |---|---|
//! | `keys` | the keys that Tab offers |
//! | `assist` | completion, hints, colours of the line |
//! | `keyboard` | what Ctrl-C and Escape do |
//! | `history` | the lines typed before, and their file |
//! | `rc` | the file of commands that run first |

mod assist;
mod history;
mod keyboard;
mod keys;
mod rc;

use crate::command::run_line;
use crate::gate::Gate;
use crate::output::Place;
use crate::prompt::assist::Assist;
use crate::prompt::history::{History, Trouble};
use crate::prompt::keyboard::Interrupt;
use crate::session::{Ending, Flow, Session};
use crate::signals::{Flags, HOW_TO_LEAVE, Terminal};
use crate::streams;
use crate::text::{columns, safe};
use rustix::event::PollFlags;
use rustyline::error::ReadlineError;
use rustyline::history::MemHistory;
use rustyline::{Behavior, ColorMode, CompletionType, Config, Editor, ExternalPrinter};
use std::io::{self, ErrorKind};

const PROMPT: &str = "kv> ";
/// While a group is open.
const GROUP_PROMPT: &str = "kv*> ";
/// While a group is open that will not be written, because a command failed.
const SPOILT_PROMPT: &str = "kv!> ";
/// Printed above the line so that the editor draws the line again: one row up, and the line feed goes down again.
const NOTHING: &str = "\x1b[A\n";

/// Reads and runs lines until there is a reason to stop.
pub(crate) fn run(gate: &Gate, flags: &Flags, terminal: Option<&Terminal>) -> Flow {
    let mut editor = match editor(gate) {
        Ok(editor) => editor,
        Err(error) => return unusable(gate, &error),
    };
    let interrupt = Interrupt::of(&mut editor);
    // An editor that does not change the terminal has no printer, and never draws the line again.
    let printer = editor.create_external_printer();
    let is_dumb = printer.is_err();
    if let (Some(terminal), Ok(mut printer)) = (terminal, printer) {
        terminal.redraw_with(Box::new(move || drop(printer.print(NOTHING.into()))));
    }
    let (mut history, trouble) = {
        let session = gate.hold();
        History::load(&mut editor, [&session.settings.wal, &session.settings.snapshot])
    };
    report(&mut gate.hold(), trouble);
    let flow = rc::run(gate);
    gate.hold().output.flush();
    if flow != Flow::On {
        return flow;
    }
    loop {
        // The gate is open while the editor waits, so a signal may end the process.
        let prompt = {
            let mut session = gate.hold();
            session.report_background(&Place::Prompt);
            prompt(&session)
        };
        let typed = match terminal {
            Some(terminal) => terminal.type_in(prompt, || editor.readline(prompt)),
            None => editor.readline(prompt),
        };
        let flow = match typed {
            Ok(text) if interrupt.take() => {
                if text.is_empty() {
                    say_how_to_leave(gate);
                }
                Flow::On
            }
            Ok(text) => run_lines(gate, flags, &mut editor, &mut history, &text),
            Err(ReadlineError::Eof) => {
                let mut session = gate.hold();
                // The editor ends the line of the prompt, but not on a terminal that it does not change.
                if is_dumb && session.output.interactive {
                    session.output.line("");
                }
                return Flow::End(Ending::Input);
            }
            // The terminal has another key than Ctrl-C for it.
            Err(ReadlineError::Interrupted) => {
                say_how_to_leave(gate);
                Flow::On
            }
            // Bytes that are not UTF-8.
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::InvalidData => {
                gate.hold().output.complain(
                    &Place::Prompt,
                    "the line is not UTF-8, so it was not run; write other bytes as \\xHH in double quotes",
                );
                Flow::On
            }
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::Interrupted => Flow::On,
            // Another process has made the terminal non-blocking, for all processes that share it.
            Err(ReadlineError::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                let _ = streams::wait(&io::stdin(), PollFlags::IN);
                Flow::On
            }
            Err(ReadlineError::Signal(_)) => Flow::On,
            Err(error) => return unusable(gate, &error),
        };
        if flow != Flow::On {
            return flow;
        }
    }
}

fn say_how_to_leave(gate: &Gate) {
    let mut session = gate.hold();
    session.output.dim_line(HOW_TO_LEAVE);
    session.output.flush();
}

/// A paste arrives as one text with several lines, after Enter. Each line runs, goes into the history, and is shown
/// once more above its reply.
fn run_lines(gate: &Gate, flags: &Flags, editor: &mut Editor<Assist<'_>, MemHistory>, history: &mut History, text: &str) -> Flow {
    let text = text.trim_end_matches(['\n', '\r']);
    let several = text.contains(['\n', '\r']);
    let place = if several { Place::Paste } else { Place::Prompt };
    for line in text.split(['\n', '\r']) {
        let trouble = history.keep(editor, line);
        flags.forget_interrupt();
        let mut session = gate.hold();
        report(&mut session, trouble);
        if several && !line.is_empty() {
            let prompt = prompt(&session);
            session.output.dim_line(&format!("{prompt}{}", line.strip_prefix(prompt).unwrap_or(line)));
        }
        session.can_ask = true;
        let flow = run_line(&mut session, &place, line.as_bytes());
        session.can_ask = false;
        session.output.flush();
        if flow != Flow::On {
            return flow;
        }
    }
    Flow::On
}

/// Reports why lines are not kept.
fn report(session: &mut Session, trouble: Option<Trouble>) {
    match trouble {
        Some(Trouble::Unusable(text)) if !session.settings.quiet => session.output.warn(&text),
        Some(Trouble::Off) if session.settings.verbose => {
            session.output.warn("lines that are typed are not kept: history is off")
        }
        _ => {}
    }
}

fn prompt(session: &Session) -> &'static str {
    match &session.group {
        None => PROMPT,
        Some(group) if group.spoilt => SPOILT_PROMPT,
        Some(_) => GROUP_PROMPT,
    }
}

fn editor(gate: &Gate) -> rustyline::Result<Editor<Assist<'_>, MemHistory>> {
    let color = gate.hold().output.color;
    let config = Config::builder()
        .max_history_size(history::LINES)?
        .history_ignore_dups(true)?
        .history_ignore_space(true)
        .completion_type(CompletionType::List)
        .color_mode(if color { ColorMode::Enabled } else { ColorMode::Disabled })
        .behavior(Behavior::PreferTerm)
        .build();
    let lines = MemHistory::with_config(&config);
    let mut editor = Editor::with_history(config, lines)?;
    editor.set_helper(Some(Assist::new(gate, color)));
    Ok(editor)
}

fn unusable(gate: &Gate, error: &ReadlineError) -> Flow {
    gate.hold().output.complain(&Place::Prompt, &format!("the terminal cannot be read: {error}"));
    Flow::End(Ending::Input)
}

/// The lines before the first prompt.
pub(crate) fn banner(session: &mut Session) {
    if let Some(server) = session.store.server() {
        let (address, batch) = (safe(&server.address().to_string()), server.server().batch);
        let ok = if batch == 1 { "every OK is durable".to_string() } else { format!("it syncs after {batch} writes") };
        greet(session, &format!("server {address} · {ok}"));
        return;
    }
    let every = match session.batch_size() {
        _ if session.store.is_read_only() => "read-only".to_string(),
        1 => "sync every write".to_string(),
        n => format!("sync every {n} writes"),
    };
    let (wal, snapshot) = (&session.settings.wal, &session.settings.snapshot);
    let (wal, snapshot) = (safe(&wal.display().to_string()), safe(&snapshot.display().to_string()));
    greet(session, &format!("log {wal} · snapshot {snapshot} · {every}"));
}

/// The lines before the first prompt; the first one says what the session uses.
fn greet(session: &mut Session, uses: &str) {
    let head = format!("kv_cli {} · {uses}", env!("CARGO_PKG_VERSION"));
    // If it is too wide, it is broken at its dots.
    let head = if head.chars().count() <= columns(io::stdout()) { head } else { head.replace(" · ", "\n") };
    for line in head.lines().map(str::to_string).chain([session.store.found()]) {
        let line = session.output.fitted(&line, 2);
        session.output.line(&line);
    }
    for warning in session.store.warnings() {
        session.output.warn(&warning);
    }
    if session.store.server().is_none() && crate::bench::is_on_tmpfs(&session.settings.wal) {
        session.output.warn(&crate::bench::tmpfs_warning(&session.settings.wal));
    }
    let line = session.output.fitted("HELP lists the commands; EXIT or Ctrl-D leaves.", 2);
    session.output.line(&line);
    session.output.flush();
}

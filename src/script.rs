//! Runs commands from a pipe or a file, one to a line.
//!
//! stdout is written out only before a read, because a read may block. So a program that sends one line and waits gets
//! its reply, and a long script costs no system call for each line.
//!
//! Memory is limited by the longest line that can be a command. A line that cannot be a command is refused as soon as
//! that is known, and the rest of it is skipped. There are two reasons. The line is longer than any command, or its
//! first word names no command, which its first [`READ_BYTES`] show.

use crate::command::{find, parse, run_line};
use crate::error::{Code, CommandError};
use crate::gate::Gate;
use crate::lines::{Lines, MAX_LINE_BYTES, Next, READ_BYTES};
use crate::output::Place;
use crate::session::Flow;
use crate::streams::Patient;
use crate::text::Words;
use kv_engine::MAX_VALUE_BYTES;
use std::fs::File;
use std::io::Read;

/// Runs every line of `input`, which is called `name` in errors.
pub(crate) fn run(gate: &Gate, input: impl Read, name: &str) -> Flow {
    let mut lines = Lines::new(input, MAX_LINE_BYTES);
    let mut place = Place::Line { input: name.to_string(), line: 0 };
    let mut session = gate.hold();
    loop {
        let flow = match lines.next() {
            Next::Line(line) => {
                count(&mut place);
                run_line(&mut session, &place, line)
            }
            Next::TooLong => {
                count(&mut place);
                let text =
                    format!("the line is longer than any command: a value has {MAX_VALUE_BYTES} bytes at most; it was not run");
                session.refuse(&place, &CommandError::new(Code::TooLong, text))
            }
            Next::End => {
                session.report_background(&place);
                return Flow::On;
            }
            Next::Read => match no_command(lines.begun()) {
                Some(error) => {
                    count(&mut place);
                    lines.skip_line();
                    session.refuse(&place, &error)
                }
                None => {
                    session.report_background(&place);
                    session.output.flush();
                    match session.next() {
                        Flow::On => {}
                        end => return end,
                    }
                    drop(session);
                    let read = lines.read();
                    session = gate.hold();
                    session.report_background(&place);
                    match read {
                        Ok(()) => session.next(),
                        Err(error) => session.unreadable(name, &error),
                    }
                }
            },
        };
        if flow != Flow::On {
            return flow;
        }
    }
}

/// Why a long line that begins like this can be no command.
fn no_command(begun: &[u8]) -> Option<CommandError> {
    let words = Words::of(begun);
    if begun.len() < READ_BYTES || words.is_at_end() {
        return None; // a comment may have any length
    }
    match words.clone().next() {
        Some(Ok(word)) if find(&word).is_some() => None,
        _ => parse(&begun[..READ_BYTES]).err(),
    }
}

/// Runs every line of a file.
pub(crate) fn run_file(gate: &Gate, path: &std::path::Path) -> Flow {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => run(gate, Patient(file), &name),
        Err(error) => gate.hold().unreadable(&name, &error),
    }
}

fn count(place: &mut Place) {
    if let Place::Line { line, .. } = place {
        *line += 1;
    }
}

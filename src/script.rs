//! Commands from a pipe or a file: one to a line, as bytes.
//!
//! stdout is written out only before a read, which may block: a program that sends one line and
//! waits gets its answer, and a long script costs no system call for each line.
//!
//! Memory is as the longest line that can be a command. A line that cannot become one is refused as soon as that is
//! seen, and the rest of it is passed over, however long: it begins with no command's name ([`READ_BYTES`] decide that),
//! or it is longer than any command. A byte order mark in front of the first line is passed over, too.

use crate::command::{find, parse};
use crate::error::{Code, CommandError};
use crate::gate::Gate;
use crate::lines::{Lines, MAX_LINE_BYTES, Next, READ_BYTES};
use crate::output::Place;
use crate::session::{Ending, Flow};
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
                session.line(&place, line)
            }
            Next::TooLong => {
                count(&mut place);
                let text =
                    format!("the line is longer than any command: a value has {MAX_VALUE_BYTES} bytes at most; it was not run");
                session.refuse(&place, &CommandError::new(Code::TooLong, text))
            }
            Next::End => {
                session.tell_background(&place);
                return Flow::On;
            }
            Next::Read => match hopeless(lines.begun()) {
                Some(error) => {
                    count(&mut place);
                    lines.pass_over();
                    session.line_error(&place, &error)
                }
                None => {
                    session.tell_background(&place);
                    session.output.flush();
                    match session.next() {
                        Flow::On => {}
                        end => return end,
                    }
                    drop(session);
                    let read = lines.read();
                    session = gate.hold();
                    session.tell_background(&place);
                    match read {
                        Ok(()) => session.next(),
                        Err(error) => match session.unreadable(&Place::Whole(name.to_string()), &error) {
                            Flow::On => Flow::End(Ending::Input),
                            end => end,
                        },
                    }
                }
            },
        };
        if flow != Flow::On {
            return flow;
        }
    }
}

/// Why a line that began like this, and is long, can be no command.
fn hopeless(begun: &[u8]) -> Option<CommandError> {
    let words = Words::of(begun);
    if begun.len() < READ_BYTES || words.is_at_end() {
        return None; // a comment may be as long as it likes
    }
    match words.clone().next() {
        Some(Ok(word)) if find(&word).is_some() => None,
        _ => parse(&begun[..READ_BYTES]).err(),
    }
}

/// As [`run`], for a path.
pub(crate) fn run_file(gate: &Gate, path: &std::path::Path) -> Flow {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => run(gate, Patient(file), &name),
        Err(error) => match gate.hold().unreadable(&Place::Whole(name), &error) {
            Flow::On => Flow::End(Ending::Input),
            end => end,
        },
    }
}

fn count(place: &mut Place) {
    if let Place::Line { line, .. } = place {
        *line += 1;
    }
}

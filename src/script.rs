//! Runs commands from a pipe or a file, one to a line.
//!
//! stdout is written out only before a read, because a read may block. So a program that sends one line and waits gets
//! its reply, and a long script costs no system call for each line.
//!
//! Memory is limited by the longest line that can be a command. A line that cannot be a command is refused as soon as
//! that is known, and the rest of it is skipped. There are two reasons. The line is longer than any command, or its
//! first word names no command, which its first [`READ_BYTES`] show.
//!
//! After a long script that mostly waited for syncs, one line on stderr says what a larger batch size would have
//! changed, and what it would have risked ([`hint`]).

use crate::command::{find, parse, run_line};
use crate::error::{Code, CommandError};
use crate::gate::Gate;
use crate::lines::{Lines, MAX_LINE_BYTES, Next, READ_BYTES};
use crate::output::Place;
use crate::session::{Flow, Session};
use crate::settings::DEFAULT_BATCH;
use crate::streams::Patient;
use crate::text::Words;
use kv_engine::{MAX_VALUE_BYTES, Stats};
use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

/// A shorter script is over soon enough.
const MANY_WRITES: u64 = 10_000;
/// The batch size that [`hint`] compares with.
const LARGER_BATCH: u64 = 1000;

/// Runs every line of `input`, which is called `name` in errors.
pub(crate) fn run(gate: &Gate, input: impl Read, name: &str) -> Flow {
    let (began, before) = (Instant::now(), Work::of(&gate.hold()));
    let flow = run_lines(gate, input, name);
    let mut session = gate.hold();
    if !session.settings.quiet {
        let hint = hint(before, Work::of(&session), began.elapsed());
        hint.into_iter().for_each(|hint| session.output.aside(&hint));
    }
    flow
}

/// What the engine has done so far.
#[derive(Clone, Copy, Debug)]
struct Work {
    batch_size: u64,
    writes: u64,
    syncs: u64,
    sync_total: Duration,
}

impl Work {
    fn of(session: &Session) -> Work {
        let Some(engine) = session.store.opened().get() else {
            return Work { batch_size: session.settings.batch, writes: 0, syncs: 0, sync_total: Duration::ZERO };
        };
        let Stats { batch_size, appended, syncs, sync_total, .. } = engine.stats();
        Work { batch_size, writes: appended, syncs, sync_total }
    }
}

/// What a larger batch size would have changed, and what it would have risked. `None` if that would not help, or if the
/// user has chosen the batch size:
///
/// - there were few writes, or most of the time was not spent in syncs;
/// - the batch size was not the default, at the begin or at the end;
/// - most syncs came from something else, for example from FLUSH after every write.
fn hint(before: Work, after: Work, took: Duration) -> Option<String> {
    let (writes, syncs) = (after.writes - before.writes, after.syncs - before.syncs);
    let waited = after.sync_total.saturating_sub(before.sync_total);
    let is_default = before.batch_size == DEFAULT_BATCH && after.batch_size == DEFAULT_BATCH;
    let by_batches = syncs <= 2 * writes.div_ceil(DEFAULT_BATCH);
    if writes <= MANY_WRITES || waited * 2 <= took || !is_default || !by_batches {
        return None;
    }
    let seconds = |time: Duration| match time.as_secs_f64() {
        s if s >= 10.0 => format!("{s:.0}"),
        s => format!("{s:.1}"),
    };
    Some(format!(
        "kv_cli: {} of {} s were spent waiting for {syncs} syncs; with --batch {LARGER_BATCH} the same writes need {} syncs, but a \
         crash or a power cut can then take back up to {} acknowledged writes instead of {}",
        seconds(waited),
        seconds(took),
        writes.div_ceil(LARGER_BATCH),
        LARGER_BATCH - 1,
        DEFAULT_BATCH - 1
    ))
}

fn run_lines(gate: &Gate, input: impl Read, name: &str) -> Flow {
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

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn work(batch_size: u64, writes: u64, syncs: u64, seconds: u32) -> Work {
        Work { batch_size, writes, syncs, sync_total: SECOND * seconds }
    }

    #[test]
    fn a_script_that_waited_for_syncs_is_told_what_a_larger_batch_changes_and_risks() {
        let before = work(5, 300, 80, 3);
        assert_eq!(
            hint(before, work(5, 1_000_300, 200_080, 65), SECOND * 74).as_deref(),
            Some(
                "kv_cli: 62 of 74 s were spent waiting for 200000 syncs; with --batch 1000 the same writes need 1000 syncs, but a \
                 crash or a power cut can then take back up to 999 acknowledged writes instead of 4"
            )
        );
        let short = hint(before, work(5, 10_301, 2_080, 4), SECOND * 3 / 2).expect("one write more than many");
        assert!(short.starts_with("kv_cli: 1.0 of 1.5 s were spent waiting for 2000 syncs; "), "{short}");
        assert!(short.contains(" need 11 syncs, "), "{short}");
    }

    #[test]
    fn others_are_told_nothing() {
        let before = work(5, 0, 0, 0);
        for (after, took, why) in [
            (work(5, 10_000, 2_000, 60), 61, "few writes"),
            (work(5, 100_000, 20_000, 30), 60, "no more than half of the time"),
            (work(1000, 100_000, 20_000, 60), 61, "the script has set another batch size"),
            (work(5, 100_000, 100_000, 60), 61, "FLUSH after every write"),
        ] {
            assert_eq!(hint(before, after, SECOND * took), None, "{why}");
        }
        for batch_size in [1, 100] {
            assert_eq!(hint(work(batch_size, 0, 0, 0), work(batch_size, 100_000, 20_000, 60), SECOND * 61), None);
        }
    }
}

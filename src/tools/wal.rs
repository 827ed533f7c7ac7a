//! `kv_cli wal`: prints a log, record by record. With `--follow` it goes on as the log grows.
//!
//! Status 3 if the log is damaged or lacks writes that the snapshot needs, 1 if it has no record with the number that
//! was requested.

mod hex;
mod json;
mod printer;
mod text;

use crate::args::{Args, WalArgs};
use crate::settings::Format;
use crate::signals::{self, Flags};
use crate::streams;
use crate::text::{Fitted, counted, safe};
use crate::tools::status::DAMAGED;
use kv_engine::inspect::{self, Entry, Follow, Followed};
use kv_engine::{Error, LogTail};
use printer::Printer;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::Path;
use std::time::Duration;

/// How often a followed log is read.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_SOON: Duration = Duration::from_millis(5);

pub(super) fn run(args: &Args, wal: &WalArgs, flags: &'static Flags) -> u8 {
    let path = wal.file.as_ref().unwrap_or(&args.wal);
    let json = args.format() == Format::Json;
    let out = Fitted::stdout(BufWriter::new(streams::stdout()), json);
    let color = args.color.on(io::stdout().is_terminal());
    let mut printer = Printer::new(out, wal.hex.then(|| path.clone()), json, color, wal.record);
    let status = if wal.follow { follow(path, &mut printer, flags) } else { print(args, wal, path, &mut printer) };
    let (mut out, written) = printer.end();
    streams::finish(written.and_then(|()| out.flush()), status)
}

fn print(args: &Args, wal: &WalArgs, path: &Path, printer: &mut Printer<impl Write>) -> u8 {
    // Only the store's own log belongs to the snapshot, which may prove what the log had promised.
    let is_own = *path == args.wal;
    let promised = if is_own { inspect::snapshot_seq(&args.snapshot) } else { 0 };
    let seen = inspect::log(path, promised, |entry| printer.print(&entry));
    let lacking = is_own.then(|| inspect::find_mismatch(path, &args.snapshot, seen.as_ref().ok())).flatten();
    let status = match &seen {
        Ok(summary) => {
            if args.format() != Format::Json && wal.record.is_none() {
                printer.verdict(summary);
            }
            let is_damaged = summary.header_damage.is_some() || matches!(summary.tail, LogTail::Damaged(_));
            if is_damaged { DAMAGED } else { 0 }
        }
        // The error below says that the log is missing or empty, and what follows from that.
        Err(_) if lacking.is_some() => DAMAGED,
        Err(error) => fail(printer, error),
    };
    let old_place = lacking.as_ref().and_then(|_| args.old_place());
    let status = lacking.map_or(status, |error| fail(printer, &error));
    if let Some(text) = old_place {
        complain(printer, &text);
    }
    if let (Some(seq), Ok(summary), 0) = (wal.record, &seen, printer.printed()) {
        let range = match summary.writes {
            0 => "no writes".to_string(),
            1 => format!("write {}", summary.last_seq),
            _ => format!("writes {} to {}", summary.base + 1, summary.last_seq),
        };
        report(printer, &format!("{} has no record with sequence number {seq}; it has {range}", path.display()));
        return status.max(1);
    }
    status
}

/// Prints a log and the records that are appended to it, until a signal. Ctrl-C is the usual end, with status 0.
fn follow(path: &Path, printer: &mut Printer<impl Write>, flags: &'static Flags) -> u8 {
    if let Err(error) = signals::note_only(flags) {
        report(printer, &format!("signals cannot be handled: {error}"));
        return 1;
    }
    let mut follow = match Follow::new(path) {
        Ok(follow) => follow,
        Err(error) => return fail(printer, &error),
    };
    let (mut last, mut reported) = (None, Followed::End);
    loop {
        let before = follow.last_seq();
        let found = match follow.look(|entry| printer.print(&entry)) {
            Ok(found) => found,
            Err(error) => return fail(printer, &error),
        };
        // Reported when it is found twice: an incomplete record may be complete at the next look.
        if last.as_ref() == Some(&found) && reported != found {
            match &found {
                Followed::Bad(tail) => drop(printer.print(&Entry::Stop(tail.clone()))),
                Followed::Gone => complain(printer, &format!("{} was removed; waiting for a new one", path.display())),
                Followed::Emptied => complain(printer, &format!("{} was emptied; waiting for a new log", path.display())),
                _ => {}
            }
            reported = found.clone();
        }
        last = Some(found);
        if !printer.flush() {
            return 0;
        }
        if let Some(signal) = flags.stop_signal() {
            if let Some(missed) = printer.missed_writes() {
                let missed = match missed {
                    0 => String::new(),
                    n => format!("; {} could not be shown", counted(n, "write")),
                };
                complain(printer, &format!("followed up to write {}{missed}", follow.last_seq()));
            }
            return signals::status_of(signal);
        }
        // While writes come, checkpoints may follow each other quickly.
        let is_busy = follow.last_seq() != before && last == Some(Followed::End);
        std::thread::sleep(if is_busy { LOOK_SOON } else { LOOK_EVERY });
    }
}

/// Writes a line to stderr, after everything that was printed before.
fn complain(printer: &mut Printer<impl Write>, text: &str) {
    printer.flush();
    streams::say(&format!("kv_cli: {}", safe(text)));
}

/// Reports an error: on stderr, and in JSON also as an object on stdout.
fn report(printer: &mut Printer<impl Write>, text: &str) {
    printer.error(text);
    complain(printer, &format!("error: {text}"));
}

fn fail(printer: &mut Printer<impl Write>, error: &Error) -> u8 {
    report(printer, &error.to_string());
    DAMAGED
}

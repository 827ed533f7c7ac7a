//! `kv_cli wal` and `kv_cli verify`: looking at the files without opening the store. Neither takes
//! the lock or changes a byte, so both may look at a running store.

mod hex;
mod kills;
pub(crate) mod replay;
pub(crate) mod torture;

use crate::args::{Args, WalArgs};
use crate::command::write_word;
use crate::render::{Fitted, Tone, bytes, object, safe, toned};
use crate::signals::{self, Flags};
use crate::streams;
use kv_engine::inspect::{self, Content, Entry, Follow, Followed, Health, LogSummary, Operation, Record};
use kv_engine::{Error, LogTail};
use serde_json::Value as Json;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

/// Damaged, foreign or missing files.
pub(crate) const BAD: u8 = 3;
/// Of a log whose end says that something failed, or was cut off.
pub(crate) const BARE_END: &str = "ends right after its last write, without reserved space and without a mark: a write failed \
                                   there (for example on a full disk), or the file was truncated";
/// So much of a key or value is shown.
const SHOWN_BYTES: usize = 60;
/// A log that is followed is looked at so often.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const LOOK_SOON: Duration = Duration::from_millis(5);

/// Prints a log, record by record; `--json` makes each an object.
pub(crate) fn wal(args: &Args, wal: &WalArgs, flags: &'static Flags) -> ExitCode {
    let path = wal.file.as_ref().unwrap_or(&args.wal);
    let mut printer = Printer {
        out: Fitted::stdout(BufWriter::new(streams::stdout()), args.json),
        path: path.clone(),
        json: args.json,
        color: args.color.on(io::stdout().is_terminal()),
        hex: wal.hex,
        only: wal.record,
        printed: 0,
        behind_write: false,
        missed: 0,
        written: Ok(()),
    };
    if wal.follow {
        return follow(path, printer, flags);
    }
    // Only the store's own log belongs to the snapshot, which may prove what it had promised.
    let is_own = *path == args.wal;
    let promised = if is_own { inspect::snapshot_seq(&args.snapshot) } else { 0 };
    let seen = inspect::log(path, promised, |entry| printer.print(&entry));
    let lacking = is_own.then(|| inspect::find_mismatch(path, &args.snapshot, seen.as_ref().ok())).flatten();
    let status = match &seen {
        Ok(summary) => {
            if !args.json && wal.record.is_none() {
                printer.verdict(summary);
            }
            u8::from(is_damaged(summary)) * BAD
        }
        // That there is none, or nothing in it, is said below, with what follows.
        Err(_) if lacking.is_some() => BAD,
        Err(error) => printer.fail(error),
    };
    let status = lacking.map_or(status, |error| printer.fail(&error));
    if let (Some(seq), Ok(summary), 0) = (wal.record, &seen, printer.printed) {
        let range = match summary.writes {
            0 => "no writes".to_string(),
            _ => format!("writes {} to {}", summary.base + 1, summary.last_seq),
        };
        printer.complain(&format!("error: {} has no record of number {seq}; it holds {range}", path.display()));
        return end(printer.out, printer.written, status.max(1));
    }
    end(printer.out, printer.written, status)
}

/// Prints a log and what is appended to it, until Ctrl-C, which is how this ends in order.
fn follow(path: &Path, mut printer: Printer<impl Write>, flags: &'static Flags) -> ExitCode {
    if let Err(error) = signals::heed(flags) {
        printer.complain(&format!("error: signals cannot be listened to: {error}"));
        return ExitCode::FAILURE;
    }
    let mut follow = match Follow::new(path) {
        Ok(follow) => follow,
        Err(error) => {
            let status = printer.fail(&error);
            return end(printer.out, printer.written, status);
        }
    };
    let (mut last, mut told) = (None, Followed::End);
    loop {
        let before = follow.last_seq();
        let found = match follow.look(|entry| printer.print(&entry)) {
            Ok(found) => found,
            Err(error) => {
                let status = printer.fail(&error);
                return end(printer.out, printer.written, status);
            }
        };
        // What is half there at one look may be whole at the next.
        if last.as_ref() == Some(&found) && told != found {
            match &found {
                Followed::Bad(tail) => drop(printer.print(&Entry::Stop(tail.clone()))),
                Followed::Gone => printer.complain(&format!("{} is gone; waiting for another", path.display())),
                _ => {}
            }
            told = found.clone();
        }
        last = Some(found);
        let flushed = printer.out.flush();
        printer.written = std::mem::replace(&mut printer.written, Ok(())).and(flushed);
        if printer.written.is_err() {
            return end(printer.out, printer.written, 0);
        }
        if let Some(signal) = flags.stop_signal() {
            if !printer.json {
                let missed = match printer.missed {
                    0 => String::new(),
                    1 => "; 1 write could not be shown".to_string(),
                    n => format!("; {n} writes could not be shown"),
                };
                printer.complain(&format!("followed up to write {}{missed}", follow.last_seq()));
            }
            return end(printer.out, printer.written, signals::status_of(signal));
        }
        // Where writes come, checkpoints may follow each other soon.
        let is_busy = follow.last_seq() != before && last == Some(Followed::End);
        std::thread::sleep(if is_busy { LOOK_SOON } else { LOOK_EVERY });
    }
}

/// Checks every byte of log and snapshot.
pub(crate) fn verify(args: &Args) -> ExitCode {
    let found = inspect::verify(&args.wal, &args.snapshot);
    let status = u8::from(!found.is_sound()) * BAD;
    let old_place = if found.is_sound() { None } else { args.old_place() };
    let mut out = Fitted::stdout(BufWriter::new(streams::stdout()), args.json);
    let written = if args.json {
        let lines = |text: String| text.lines().map(Json::from).collect::<Json>();
        out.write_all(object(&[("ok", found.is_sound().into()), ("found", lines(found.to_string()))]).as_bytes())
    } else {
        let color = args.color.on(io::stdout().is_terminal());
        let tones = [tone("log", &found.log), tone("snapshot", &found.snapshot)];
        let text = found.to_string();
        let mut lines = text.lines().zip(tones.into_iter().chain(std::iter::repeat((0, Tone::Bad))));
        lines.try_for_each(|(line, (from, tone))| {
            let tone = if line.starts_with("kept: ") && found.is_sound() { Tone::Torn } else { tone };
            let (head, verdict) = line.split_at_checked(from).unwrap_or(("", line));
            writeln!(out, "{}{}", safe(head), toned(&safe(verdict), tone, color))
        })
    };
    let ended = end(out, written, status);
    if let Some(text) = old_place {
        let _ = writeln!(io::stderr().lock(), "kv_cli: {}", safe(&text));
    }
    ended
}

/// Where the verdict begins in the line on a file, and its colour.
fn tone(name: &str, (path, health): &(PathBuf, Health)) -> (usize, Tone) {
    let behind_path = name.len() + 1 + path.display().to_string().len() + 2;
    match health {
        Health::Sound(_) => (behind_path, Tone::Good),
        Health::Torn(_) => (behind_path, Tone::Torn),
        Health::Missing => (behind_path, Tone::Dim),
        _ => (name.len() + 1, Tone::Bad),
    }
}

pub(crate) fn end(mut out: impl Write, written: io::Result<()>, status: u8) -> ExitCode {
    ExitCode::from(streams::finish(written.and_then(|()| out.flush()), status))
}

/// Prints entries of a log as they come.
struct Printer<W> {
    out: W,
    path: PathBuf,
    json: bool,
    color: bool,
    hex: bool,
    only: Option<u64>,
    /// Records that were printed.
    printed: u64,
    /// Whether the last one was a write.
    behind_write: bool,
    /// Writes that could not be shown.
    missed: u64,
    written: io::Result<()>,
}

impl<W: Write> Printer<W> {
    fn print(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
        let chosen = match (self.only, entry) {
            (None, _) => true,
            (Some(seq), Entry::Record(record) | Entry::Beyond(record)) => record.seq == seq,
            (Some(seq), Entry::Missed { from, to }) => (*from..=*to).contains(&seq),
            (Some(_), _) => false,
        };
        if chosen {
            self.printed += u64::from(matches!(entry, Entry::Record(_) | Entry::Beyond(_)));
            if let Entry::Missed { from, to } = entry {
                self.missed += to - from + 1;
            }
            self.written = if self.json { json(&mut self.out, entry) } else { self.text(entry) };
        }
        if self.written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// Says something on stderr, behind what was printed.
    fn complain(&mut self, text: &str) {
        let _ = self.out.flush();
        streams::say(&format!("kv_cli: {}", safe(text)));
    }

    fn fail(&mut self, error: &Error) -> u8 {
        self.complain(&format!("error: {error}"));
        BAD
    }

    fn verdict(&mut self, summary: &LogSummary) {
        let (text, tone) = summarise(summary);
        if self.written.is_ok() {
            self.written = writeln!(self.out, "{}", toned(&text, tone, self.color));
        }
    }

    fn text(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        match entry {
            Entry::Header { bytes, store_id, version, base, damage } => {
                self.columns()?;
                let (text, tone) = match (damage, store_id) {
                    (None, Some(id)) => (format!("log of store {id}, format {version}, begins after write {base}"), Tone::Plain),
                    (damage, _) => (format!("DAMAGED header: {}", damage.as_deref().unwrap_or("unreadable")), Tone::Bad),
                };
                let text = toned(&text, tone, self.color);
                writeln!(self.out, "{:>10} {bytes:>8} {:>8} {:>8}  {text}", 0, "-", "-")?;
                if self.hex { hex::header(&mut self.out, &self.path, *bytes, self.color) } else { Ok(()) }
            }
            Entry::Missed { from, to } => {
                let text = toned(&missed(*from, *to), Tone::Bad, self.color);
                writeln!(self.out, "{:>10} {:>8} {:>8} {:>8}  {text}", "-", "-", from, "-")
            }
            Entry::Record(record) => self.row(record, "", Tone::Plain),
            Entry::Beyond(record) => self.row(record, "not applied: ", Tone::Dim),
            Entry::Stop(tail) => {
                let (cut, text, tone) = match tail {
                    LogTail::Torn(cut) => {
                        (cut, format!("TORN: {}; no sync that covers it is known to have ended", cut.fault), Tone::Torn)
                    }
                    LogTail::Damaged(cut) => (cut, format!("DAMAGED: {}, and {}", cut.fault, cut.proof), Tone::Bad),
                    _ => return Ok(()),
                };
                let text = toned(&text, tone, self.color);
                writeln!(self.out, "{:>10} {:>8} {:>8} {:>8}  {text}", cut.offset, cut.bytes, cut.expected, "-")
            }
            _ => Ok(()),
        }
    }

    fn columns(&mut self) -> io::Result<()> {
        writeln!(self.out, "{:>10} {:>8} {:>8} {:>8}  record", "offset", "bytes", "seq", "durable")
    }

    fn row(&mut self, record: &Record<'_>, standing: &str, tone: Tone) -> io::Result<()> {
        if self.only.is_some() && self.printed == 1 {
            self.columns()?;
        }
        let mut text = format!("{:>10} {:>8} {:>8} {:>8}  {standing}", record.offset, record.bytes, record.seq, record.durable);
        let tone = match &record.content {
            Content::Write(ops) if ops.len() == 1 => {
                text += &operation(ops[0]);
                tone
            }
            Content::Write(ops) => {
                text += &format!("atomic group of {}", ops.len());
                ops.iter().for_each(|op| text += &format!("\n{:>40}{}", "", operation(*op)));
                tone
            }
            Content::Opened => {
                text += if self.behind_write { "opened, or idle: all before is synced" } else { "opened" };
                Tone::Dim
            }
            Content::Closed => {
                text += "closed in order";
                Tone::Dim
            }
            _ => {
                text += "IMPOSSIBLE: the checksums hold, the content makes no sense";
                Tone::Bad
            }
        };
        self.behind_write = matches!(record.content, Content::Write(_));
        text.lines().try_for_each(|line| writeln!(self.out, "{}", toned(line, tone, self.color)))?;
        if self.hex { hex::record(&mut self.out, &self.path, record.offset, record.bytes, self.color) } else { Ok(()) }
    }
}

fn missed(from: u64, to: u64) -> String {
    match to - from {
        0 => format!("MISSED: write {from} was checkpointed before it could be shown"),
        _ => format!("MISSED: writes {from} to {to} were checkpointed before they could be shown"),
    }
}

/// On one line.
fn operation(operation: Operation<'_>) -> String {
    match operation {
        Operation::Put { key, value } => format!("PUT {} {}", word(key), word(value)),
        Operation::Delete { key } => format!("DEL {}", word(key)),
        _ => String::new(),
    }
}

/// A key or value as PUT takes it; the beginning of a long one.
fn word(bytes: &[u8]) -> String {
    let is_long = bytes.len() > SHOWN_BYTES;
    let cut = (0..=SHOWN_BYTES.min(bytes.len())).rev().find(|&at| at == bytes.len() || bytes[at] & 0xC0 != 0x80);
    let mut out = Vec::new();
    // Writing to memory cannot fail.
    let _ = write_word(&bytes[..cut.unwrap_or(SHOWN_BYTES)], &mut out);
    let mut text = String::from_utf8_lossy(&out).into_owned();
    if is_long {
        text += &format!("… ({} B)", bytes.len());
    }
    text
}

fn summarise(summary: &LogSummary) -> (String, Tone) {
    let writes = match summary.writes {
        0 => format!("no writes after write {}", summary.base),
        1 => format!("1 write ({})", summary.last_seq),
        n => format!("{n} writes ({} to {})", summary.base + 1, summary.last_seq),
    };
    let (verdict, tone) = match &summary.tail {
        _ if summary.header_damage.is_some() => {
            ("the header is damaged; the store will not open this file".to_string(), Tone::Bad)
        }
        LogTail::Clean if summary.writes == 0 && summary.valid_bytes == summary.file_bytes => ("empty".to_string(), Tone::Good),
        LogTail::Clean if summary.closed_cleanly => ("whole, and closed in order".to_string(), Tone::Good),
        LogTail::Clean if summary.ends_bare => (format!("whole; it {BARE_END}"), Tone::Torn),
        LogTail::Clean => ("whole; not closed in order, or still open".to_string(), Tone::Good),
        LogTail::Torn(cut) => (format!("then a torn tail of {} B, which the next opening cuts", cut.bytes), Tone::Torn),
        LogTail::Damaged(cut) => {
            let text =
                format!("then damaged from byte {}; whole records out of reach behind it: {}", cut.offset, cut.whole_beyond);
            (text, Tone::Bad)
        }
        _ => ("unknown".to_string(), Tone::Bad),
    };
    // Behind a torn record they may be a part of it that never arrived.
    let reserved = match summary.reserved_bytes {
        n if n > 0 && summary.tail == LogTail::Clean => format!("; the last {n} B are reserved space"),
        _ => String::new(),
    };
    (format!("{writes} in {} B of {}: {verdict}{reserved}", summary.valid_bytes, summary.file_bytes), tone)
}

fn is_damaged(summary: &LogSummary) -> bool {
    summary.header_damage.is_some() || matches!(summary.tail, LogTail::Damaged(_))
}
fn json(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    let line = match entry {
        Entry::Header { bytes, store_id, version, base, damage } => object(&[
            ("offset", 0.into()),
            ("bytes", (*bytes).into()),
            ("record", "header".into()),
            ("store_id", store_id.map(|id| id.to_string()).into()),
            ("format", (*version).into()),
            ("base", (*base).into()),
            ("damage", damage.clone().into()),
        ]),
        Entry::Missed { from, to } => object(&[
            ("record", "missed".into()),
            ("from", (*from).into()),
            ("to", (*to).into()),
            ("reason", "checkpointed before they could be shown".into()),
        ]),
        Entry::Record(record) => json_record(record, true),
        Entry::Beyond(record) => json_record(record, false),
        Entry::Stop(LogTail::Torn(cut)) => json_stop("torn", cut),
        Entry::Stop(LogTail::Damaged(cut)) => json_stop("damaged", cut),
        _ => return Ok(()),
    };
    out.write_all(line.as_bytes())
}

fn json_stop(verdict: &str, cut: &kv_engine::Truncation) -> String {
    object(&[
        ("offset", cut.offset.into()),
        ("bytes", cut.bytes.into()),
        ("record", verdict.into()),
        ("seq", cut.expected.into()),
        ("reason", cut.fault.to_string().into()),
        ("proof", cut.proof.as_str().into()),
    ])
}

fn json_record(record: &Record<'_>, applied: bool) -> String {
    let (kind, ops) = match &record.content {
        Content::Write(ops) => ("write", ops.as_slice()),
        Content::Opened => ("opened", &[][..]),
        Content::Closed => ("closed", &[][..]),
        _ => ("impossible", &[][..]),
    };
    let mut fields: Vec<(&str, Json)> = vec![
        ("offset", record.offset.into()),
        ("bytes", record.bytes.into()),
        ("record", kind.into()),
        ("seq", record.seq.into()),
        ("durable", record.durable.into()),
        ("applied", applied.into()),
    ];
    if kind == "write" {
        let op = |op: &Operation<'_>| match *op {
            Operation::Put { key, value } => {
                Json::from_iter([bytes("put", "put_base64", key), bytes("value", "value_base64", value)])
            }
            Operation::Delete { key } => Json::from_iter([bytes("del", "del_base64", key)]),
            _ => Json::Null,
        };
        fields.push(("ops", ops.iter().map(op).collect()));
    }
    object(&fields)
}

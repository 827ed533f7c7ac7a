//! `kv_cli wal` and `kv_cli verify`: looking at the files without opening the store. Neither takes
//! the lock or changes a byte, so both may look at a running store.

use crate::args::{Args, WalArgs};
use crate::render::{Fitted, bytes, object, safe};
use kv_engine::command::write_word;
use kv_engine::inspect::{self, Content, Entry, LogSummary, Operation, Record};
use kv_engine::{Error, Tail};
use serde_json::Value as Json;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::process::ExitCode;

/// Damaged, foreign or missing files.
const BAD: u8 = 3;
/// So much of a key or value is shown.
const SHOWN_BYTES: usize = 60;

/// Prints a log, record by record; `--json` makes each an object.
pub(crate) fn wal(args: &Args, wal: &WalArgs) -> ExitCode {
    let path = wal.file.as_ref().unwrap_or(&args.wal);
    // Only the store's own log belongs to the snapshot, which may prove what it had promised.
    let promised = if wal.file.is_none() { inspect::snapshot_seq(&args.snapshot) } else { 0 };
    let mut out = Fitted::stdout(BufWriter::new(io::stdout().lock()), args.json);
    let mut written = Ok(());
    let seen = inspect::log(path, promised, |entry| {
        written = if args.json { json(&mut out, &entry) } else { text(&mut out, &entry) };
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let (verdict, status) = match &seen {
        Ok(summary) => (summarise(summary), u8::from(is_damaged(summary)) * BAD),
        Err(error) => (String::new(), fail(&mut out, error)),
    };
    if seen.is_ok() && !args.json {
        written = written.and_then(|()| writeln!(out, "{verdict}"));
    }
    end(out, written, status)
}

/// Checks every byte of log and snapshot.
pub(crate) fn verify(args: &Args) -> ExitCode {
    let found = inspect::verify(&args.wal, &args.snapshot);
    let status = u8::from(!found.is_sound()) * BAD;
    let mut out = Fitted::stdout(BufWriter::new(io::stdout().lock()), args.json);
    let written = if args.json {
        let lines = |text: String| text.lines().map(Json::from).collect::<Json>();
        out.write_all(object(&[("ok", found.is_sound().into()), ("found", lines(found.to_string()))]).as_bytes())
    } else {
        found.to_string().lines().try_for_each(|line| writeln!(out, "{}", safe(line)))
    };
    end(out, written, status)
}

fn end(mut out: impl Write, written: io::Result<()>, status: u8) -> ExitCode {
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr().lock(), "kv_cli: <stdout>: {error}");
            ExitCode::from(1)
        }
        _ => ExitCode::from(status),
    }
}

fn fail(out: &mut impl Write, error: &Error) -> u8 {
    let _ = out.flush();
    let _ = writeln!(io::stderr().lock(), "kv_cli: error: {}", safe(&error.to_string()));
    BAD
}

fn text(out: &mut impl Write, entry: &Entry<'_>) -> io::Result<()> {
    match entry {
        Entry::Header { bytes, store_id, version, base, damage } => {
            writeln!(out, "{:>10} {:>8} {:>8} {:>8}  record", "offset", "bytes", "seq", "durable")?;
            write!(out, "{:>10} {bytes:>8} {:>8} {:>8}  ", 0, "-", "-")?;
            match (damage, store_id) {
                (None, Some(id)) => writeln!(out, "log of store {id}, format {version}, begins after write {base}"),
                (damage, _) => writeln!(out, "DAMAGED header: {}", damage.as_deref().unwrap_or("unreadable")),
            }
        }
        Entry::Record(record) => row(out, record, ""),
        Entry::Beyond(record) => row(out, record, "not applied: "),
        Entry::Stop(tail) => match tail {
            Tail::Torn(cut) => writeln!(
                out,
                "{:>10} {:>8} {:>8} {:>8}  TORN: {}; no sync that covers it is known to have ended",
                cut.offset, cut.bytes, cut.expected, "-", cut.fault
            ),
            Tail::Damaged(cut) => writeln!(
                out,
                "{:>10} {:>8} {:>8} {:>8}  DAMAGED: {}, and {}",
                cut.offset, cut.bytes, cut.expected, "-", cut.fault, cut.proof
            ),
            _ => Ok(()),
        },
        _ => Ok(()),
    }
}

fn row(out: &mut impl Write, record: &Record<'_>, standing: &str) -> io::Result<()> {
    write!(out, "{:>10} {:>8} {:>8} {:>8}  {standing}", record.offset, record.bytes, record.seq, record.durable)?;
    match &record.content {
        Content::Write(ops) if ops.len() == 1 => operation(out, ops[0]),
        Content::Write(ops) => {
            writeln!(out, "atomic group of {}", ops.len())?;
            ops.iter().try_for_each(|op| {
                write!(out, "{:>40}", "")?;
                operation(out, *op)
            })
        }
        Content::Opened => writeln!(out, "opened"),
        Content::Closed => writeln!(out, "closed in order"),
        _ => writeln!(out, "IMPOSSIBLE: the checksums hold, the content makes no sense"),
    }
}

fn operation(out: &mut impl Write, operation: Operation<'_>) -> io::Result<()> {
    match operation {
        Operation::Put { key, value } => {
            out.write_all(b"PUT ")?;
            word(out, key)?;
            out.write_all(b" ")?;
            word(out, value)?;
        }
        Operation::Delete { key } => {
            out.write_all(b"DEL ")?;
            word(out, key)?;
        }
        _ => {}
    }
    out.write_all(b"\n")
}

/// A key or value as PUT takes it; the beginning of a long one.
fn word(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    if bytes.len() <= SHOWN_BYTES {
        return write_word(bytes, out);
    }
    let cut = (0..=SHOWN_BYTES).rev().find(|&at| bytes[at] & 0xC0 != 0x80).unwrap_or(SHOWN_BYTES);
    write_word(&bytes[..cut], out)?;
    write!(out, "… ({} B)", bytes.len())
}

fn summarise(summary: &LogSummary) -> String {
    let writes = match summary.writes {
        0 => format!("no writes after write {}", summary.base),
        1 => format!("1 write ({})", summary.last_seq),
        n => format!("{n} writes ({} to {})", summary.base + 1, summary.last_seq),
    };
    let verdict = match &summary.tail {
        _ if summary.header_damage.is_some() => "the header is damaged; the store will not open this file".to_string(),
        Tail::Clean if summary.writes == 0 && summary.valid_bytes == summary.file_bytes => "empty".to_string(),
        Tail::Clean if summary.closed_cleanly => "whole, and closed in order".to_string(),
        Tail::Clean => "whole; not closed in order, or still open".to_string(),
        Tail::Torn(cut) => format!("then a torn tail of {} B, which the next opening cuts", cut.bytes),
        Tail::Damaged(cut) => {
            format!("then damaged from byte {}; whole records out of reach behind it: {}", cut.offset, cut.whole_beyond)
        }
        _ => "unknown".to_string(),
    };
    format!("{writes} in {} B of {}: {verdict}", summary.valid_bytes, summary.file_bytes)
}

fn is_damaged(summary: &LogSummary) -> bool {
    summary.header_damage.is_some() || matches!(summary.tail, Tail::Damaged(_))
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
        Entry::Record(record) => json_record(record, true),
        Entry::Beyond(record) => json_record(record, false),
        Entry::Stop(Tail::Torn(cut)) => json_stop("torn", cut),
        Entry::Stop(Tail::Damaged(cut)) => json_stop("damaged", cut),
        _ => return Ok(()),
    };
    out.write_all(line.as_bytes())
}

fn json_stop(verdict: &str, cut: &kv_engine::Cut) -> String {
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

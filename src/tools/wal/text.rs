//! The entries of a log in words, and the colour of each.

use crate::text::{Tone, write_word};
use kv_engine::inspect::{BARE_END, Content, LogSummary, Operation, Record};
use kv_engine::{LogTail, StoreId, Truncation};
use std::io::{self, Write};

/// At most this much of a key or value is shown.
const SHOWN_BYTES: usize = 60;

pub(super) fn columns(out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "{:>10} {:>8} {:>8} {:>8}  record", "offset", "bytes", "seq", "durable")
}

pub(super) fn header(store_id: Option<&StoreId>, version: u32, base: u64, damage: Option<&str>) -> (String, Tone) {
    match (damage, store_id) {
        (None, Some(id)) => (format!("log of store {id}, format {version}, begins after write {base}"), Tone::Plain),
        (damage, _) => (format!("DAMAGED header: {}", damage.unwrap_or("unreadable")), Tone::Bad),
    }
}

pub(super) fn missed(from: u64, to: u64) -> (String, Tone) {
    let text = match to - from {
        0 => format!("MISSED: write {from} was checkpointed before it could be shown"),
        _ => format!("MISSED: writes {from} to {to} were checkpointed before they could be shown"),
    };
    (text, Tone::Bad)
}

/// Where the good records end and why; `None` for the end of a good log.
pub(super) fn stop(tail: &LogTail) -> Option<(&Truncation, String, Tone)> {
    match tail {
        LogTail::Torn(cut) => Some((cut, format!("TORN: {}; no sync is known to cover it", cut.fault), Tone::Torn)),
        LogTail::Damaged(cut) => Some((cut, format!("DAMAGED: {}, and {}", cut.fault, cut.proof), Tone::Bad)),
        _ => None,
    }
}

/// What a record does. The operations of a group follow on lines of their own.
pub(super) fn record(record: &Record<'_>, is_applied: bool, after_write: bool) -> (String, Tone) {
    let tone = if is_applied { Tone::Plain } else { Tone::Dim };
    let (what, tone) = match &record.content {
        Content::Write(ops) if ops.len() == 1 => (operation(ops[0]), tone),
        Content::Write(ops) => {
            let lines = ops.iter().map(|op| format!("\n{:>40}{}", "", operation(*op)));
            (format!("atomic group of {}{}", ops.len(), lines.collect::<String>()), tone)
        }
        Content::Opened if after_write => ("opened, or idle: everything before is synced".into(), Tone::Dim),
        Content::Opened => ("opened".into(), Tone::Dim),
        Content::Closed => ("closed cleanly".into(), Tone::Dim),
        _ => ("INVALID: the checksums match, but the content is not a valid record".into(), Tone::Bad),
    };
    (if is_applied { what } else { format!("not applied: {what}") }, tone)
}

fn operation(operation: Operation<'_>) -> String {
    match operation {
        Operation::Put { key, value } => format!("PUT {} {}", word(key), word(value)),
        Operation::Delete { key } => format!("DEL {}", word(key)),
        _ => String::new(),
    }
}

/// A key or value as PUT takes it. Of a long one only the beginning.
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

/// One sentence about the whole log.
pub(super) fn verdict(summary: &LogSummary) -> (String, Tone) {
    let writes = match summary.writes {
        0 => format!("no writes after write {}", summary.base),
        1 => format!("1 write ({})", summary.last_seq),
        n => format!("{n} writes ({} to {})", summary.base + 1, summary.last_seq),
    };
    let is_empty = summary.writes == 0 && summary.valid_bytes == summary.file_bytes;
    let (verdict, tone) = match &summary.tail {
        _ if summary.header_damage.is_some() => {
            ("the header is damaged; the store will not open this file".to_string(), Tone::Bad)
        }
        LogTail::Clean if is_empty => ("empty".to_string(), Tone::Good),
        LogTail::Clean if summary.closed_cleanly => ("undamaged, and closed cleanly".to_string(), Tone::Good),
        LogTail::Clean if summary.ends_bare => (format!("undamaged; it {BARE_END}"), Tone::Torn),
        LogTail::Clean => ("undamaged; not closed cleanly, or still open".to_string(), Tone::Good),
        LogTail::Torn(cut) => (format!("then a torn tail of {} B, which the next opening cuts off", cut.bytes), Tone::Torn),
        LogTail::Damaged(cut) => {
            let text = format!(
                "then damage from byte {}; intact records after the damage, which are not applied: {}",
                cut.offset, cut.whole_beyond
            );
            (text, Tone::Bad)
        }
        _ => ("unknown".to_string(), Tone::Bad),
    };
    // After a torn record, zeros may be a part of it that was never written.
    let reserved = match summary.reserved_bytes {
        n if n > 0 && summary.tail == LogTail::Clean => format!("; the last {n} B are reserved space"),
        _ => String::new(),
    };
    (format!("{writes} in {} B of {}: {verdict}{reserved}", summary.valid_bytes, summary.file_bytes), tone)
}

//! Prints the entries of a log as they come: as rows, as JSON, or only those of one sequence number.

use super::{hex, json, text};
use crate::error::Code;
use crate::text::{error_object, toned};
use kv_engine::inspect::{Content, Entry, LogSummary, Record};
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

pub(super) struct Printer<W> {
    out: W,
    /// The log, if its bytes are to be shown.
    hex: Option<PathBuf>,
    json: bool,
    color: bool,
    only: Option<u64>,
    printed: u64,
    /// Whether the last record was a write.
    after_write: bool,
    missed: u64,
    written: io::Result<()>,
}

impl<W: Write> Printer<W> {
    /// With `only`, it prints the entries with this sequence number.
    pub(super) fn new(out: W, hex: Option<PathBuf>, json: bool, color: bool, only: Option<u64>) -> Printer<W> {
        Printer { out, hex, json, color, only, printed: 0, after_write: false, missed: 0, written: Ok(()) }
    }

    /// How many records were printed.
    pub(super) fn printed(&self) -> u64 {
        self.printed
    }

    /// How many writes were checkpointed before they could be shown. `None` in JSON, where each was printed as an
    /// entry.
    pub(super) fn missed_writes(&self) -> Option<u64> {
        (!self.json).then_some(self.missed)
    }

    pub(super) fn end(self) -> (W, io::Result<()>) {
        (self.out, self.written)
    }

    /// Returns whether everything could be written.
    pub(super) fn flush(&mut self) -> bool {
        let flushed = self.out.flush();
        self.written = std::mem::replace(&mut self.written, Ok(())).and(flushed);
        self.written.is_ok()
    }

    pub(super) fn print(&mut self, entry: &Entry<'_>) -> ControlFlow<()> {
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
            self.written = if self.json { json::write(&mut self.out, entry) } else { self.row(entry) };
        }
        if self.written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    }

    /// An error, as an object. In text it is only on stderr.
    pub(super) fn error(&mut self, text: &str) {
        if self.json && self.written.is_ok() {
            self.written = self.out.write_all(error_object(Code::Failed, text).as_bytes());
        }
    }

    /// One sentence about the whole log.
    pub(super) fn verdict(&mut self, summary: &LogSummary) {
        let (text, tone) = text::verdict(summary);
        if self.written.is_ok() {
            self.written = writeln!(self.out, "{}", toned(&text, tone, self.color));
        }
    }

    fn row(&mut self, entry: &Entry<'_>) -> io::Result<()> {
        match entry {
            Entry::Header { bytes, store_id, version, base, damage } => {
                text::columns(&mut self.out)?;
                let (what, tone) = text::header(store_id.as_ref(), *version, *base, damage.as_deref());
                writeln!(self.out, "{:>10} {bytes:>8} {:>8} {:>8}  {}", 0, "-", "-", toned(&what, tone, self.color))?;
                match &self.hex {
                    Some(path) => hex::header(&mut self.out, path, *bytes, self.color),
                    None => Ok(()),
                }
            }
            Entry::Missed { from, to } => {
                let (what, tone) = text::missed(*from, *to);
                writeln!(self.out, "{:>10} {:>8} {:>8} {:>8}  {}", "-", "-", from, "-", toned(&what, tone, self.color))
            }
            Entry::Record(record) => self.record(record, true),
            Entry::Beyond(record) => self.record(record, false),
            Entry::Stop(tail) => {
                let Some((cut, what, tone)) = text::stop(tail) else { return Ok(()) };
                let what = toned(&what, tone, self.color);
                writeln!(self.out, "{:>10} {:>8} {:>8} {:>8}  {what}", cut.offset, cut.bytes, cut.expected, "-")
            }
            _ => Ok(()),
        }
    }

    fn record(&mut self, record: &Record<'_>, is_applied: bool) -> io::Result<()> {
        if self.only.is_some() && self.printed == 1 {
            text::columns(&mut self.out)?;
        }
        let (what, tone) = text::record(record, is_applied, self.after_write);
        self.after_write = matches!(record.content, Content::Write(_));
        let row = format!("{:>10} {:>8} {:>8} {:>8}  {what}", record.offset, record.bytes, record.seq, record.durable);
        row.lines().try_for_each(|line| writeln!(self.out, "{}", toned(line, tone, self.color)))?;
        match &self.hex {
            Some(path) => hex::record(&mut self.out, path, record.offset, record.bytes, self.color),
            None => Ok(()),
        }
    }
}

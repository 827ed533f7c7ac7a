//! What goes to stdout and stderr, and in which order.
//!
//! Replies go to stdout through one buffer, which is written out before anything goes to stderr and
//! before a read that may block. Nothing from data reaches a terminal as anything but text.

use crate::command::{Reply, Verb};
use crate::error::CommandError;
use crate::settings::{Format, When};
use crate::signals::Flags;
use crate::stats;
use crate::streams::{self, Patient};
use crate::text::{bytes, columns, dimmed, fit, object, safe, without_controls, write_escaped, write_word};
use kv_engine::{RecoveryReport, Stats};
use serde_json::Value as Json;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::path::Path;

const BUFFER_BYTES: usize = 64 << 10;

/// Where a line came from, for errors.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Prompt,
    Words,
    Option(usize),
    Line { input: String, line: u64 },
    Whole(String),
}

impl Place {
    fn prefix(&self) -> String {
        match self {
            Place::Prompt => String::new(),
            Place::Words => "kv_cli: ".into(),
            Place::Option(n) => format!("kv_cli: -c {n}: "),
            Place::Line { input, line } => format!("kv_cli: {input}:{line}: "),
            Place::Whole(input) => format!("kv_cli: {input}: "),
        }
    }

    fn line(&self) -> Option<u64> {
        match self {
            Place::Option(n) => Some(*n as u64),
            Place::Line { line, .. } => Some(*line),
            _ => None,
        }
    }
}

/// The two streams.
pub(crate) struct Output {
    out: BufWriter<Patient<Stdout>>,
    pub(crate) format: Format,
    /// Somebody types and reads at this moment: replies get a dimmed note.
    pub(crate) interactive: bool,
    /// stdout is a terminal.
    pub(crate) terminal: bool,
    pub(crate) color: bool,
    broken: Option<io::Error>,
}

impl Output {
    pub(crate) fn new(format: Format, color: When, interactive: bool) -> Output {
        let terminal = io::stdout().is_terminal();
        let color = color.on(terminal);
        let out = BufWriter::with_capacity(BUFFER_BYTES, streams::stdout());
        Output { out, format, interactive: interactive && terminal, terminal, color, broken: None }
    }

    /// Writes out what was said; the exit status is that of [`streams::finish`].
    pub(crate) fn finish(&mut self, status: u8) -> u8 {
        self.flush();
        streams::finish(self.broken.take().map_or(Ok(()), Err), status)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    pub(crate) fn flush(&mut self) {
        let done = self.out.flush();
        self.keep(done);
    }

    /// stdout, for what is written in a stream; an error goes to [`Output::keep`].
    pub(crate) fn stream(&mut self) -> &mut BufWriter<Patient<Stdout>> {
        &mut self.out
    }

    pub(crate) fn keep(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            self.broken.get_or_insert(error);
        }
    }

    /// Writes a reply; `note` is for the person at the prompt. Whether it was written whole: a list ends early when
    /// `flags` ask for that, behind an entry.
    pub(crate) fn reply(&mut self, verb: Verb, reply: &Reply, flags: &Flags, note: impl FnOnce() -> Option<String>) -> bool {
        let (format, terminal) = (self.format, self.terminal);
        let listed = match reply {
            Reply::Keys(keys, more) => {
                let entries = keys.iter().map(|key| (&key[..], None));
                Some((list(&mut self.out, format, terminal, verb, entries, *more, flags), keys.len()))
            }
            Reply::Entries(entries, more) => {
                let all = entries.iter().map(|(key, value)| (&key[..], Some(&value[..])));
                Some((list(&mut self.out, format, terminal, verb, all, *more, flags), entries.len()))
            }
            _ => None,
        };
        if let Some((written, due)) = listed {
            let whole = written.as_ref().map_or(true, |&written| written == due);
            let note = if whole && self.format == Format::Text && self.interactive { note() } else { None };
            let noted = note.map_or(Ok(()), |note| writeln!(self.out, "{}", dimmed(&note, self.color)));
            self.keep(written.and(noted));
            return whole;
        }
        let done = match self.format {
            Format::Json => {
                let object = json_reply(verb, reply);
                self.out.write_all(object.as_bytes())
            }
            Format::Text if !self.interactive => reply.write_text(&mut self.out),
            Format::Text => self.reply_at_prompt(reply, note()),
            Format::Raw if !self.terminal => reply.write_raw(&mut self.out),
            Format::Raw => {
                let mut bytes = Vec::new();
                reply.write_raw(&mut bytes).and_then(|()| write_raw(&bytes, true, &mut self.out))
            }
        };
        self.keep(done);
        true
    }

    fn reply_at_prompt(&mut self, reply: &Reply, note: Option<String>) -> io::Result<()> {
        let Some(note) = note else { return reply.write_text(&mut self.out) };
        let mut text = Vec::new();
        reply.write_text(&mut text)?;
        // Behind one line; under several.
        if text.iter().filter(|&&b| b == b'\n').count() == 1 {
            text.pop();
            text.push(b' ');
        }
        self.out.write_all(&text)?;
        writeln!(self.out, "{}", dimmed(&note, self.color))
    }

    /// STATS: in groups on a terminal, as one line of text elsewhere.
    pub(crate) fn stats(&mut self, stats: &Stats, found: &RecoveryReport, snapshot: &Path) {
        let done = match self.format {
            Format::Json => {
                let fields: [(&str, Json); 2] = [("cmd", Verb::Stats.name().into()), ("ok", true.into())];
                let fields: Vec<_> = fields.into_iter().chain(stats::fields(stats, found)).collect();
                self.out.write_all(object(&fields).as_bytes())
            }
            _ if self.terminal => {
                let text = stats::listed(stats, found, snapshot, columns(io::stdout()));
                text.lines().try_for_each(|line| {
                    let (name, value) = line.split_at(stats::VALUE_COLUMN.min(line.len()));
                    writeln!(self.out, "{}{value}", dimmed(name, self.color))
                })
            }
            _ => Reply::Stats(Box::new(stats.clone())).write_text(&mut self.out),
        };
        self.keep(done);
    }

    /// A line of its own on stdout.
    pub(crate) fn line(&mut self, text: &str) {
        let done = writeln!(self.out, "{text}");
        self.keep(done);
    }

    /// `text` as it is shown on stdout: harmless, and on a terminal broken between words.
    pub(crate) fn fitted(&self, text: &str, indent: usize) -> String {
        if self.terminal { fit(&safe(text), columns(io::stdout()), indent) } else { safe(text) }
    }

    /// A line for people on stdout, less important than a reply.
    pub(crate) fn dim_line(&mut self, text: &str) {
        let text = self.fitted(text, 0);
        text.lines().for_each(|line| self.line(&dimmed(line, self.color)));
    }

    /// A failed command: on stderr, and in JSON an object on stdout as well.
    pub(crate) fn error(&mut self, place: &Place, error: &CommandError) {
        if self.format == Format::Json {
            let mut fields: Vec<(&str, Json)> = place.line().map(|line| ("line", line.into())).into_iter().collect();
            fields.extend([("ok", false.into()), ("code", error.code.to_string().into()), ("error", error.text.as_str().into())]);
            self.line_json(&fields);
        }
        self.complain(place, &error.text);
    }

    pub(crate) fn line_json(&mut self, fields: &[(&str, Json)]) {
        let done = self.out.write_all(object(fields).as_bytes());
        self.keep(done);
    }

    /// Anything else that went wrong: on stderr.
    pub(crate) fn complain(&mut self, place: &Place, text: &str) {
        let red = self.interactive && self.color;
        self.labelled(&safe(&place.prefix()), "error:", if red { "\x1b[31m" } else { "" }, text);
    }

    pub(crate) fn warn(&mut self, text: &str) {
        let yellow = if self.interactive && self.color { "\x1b[33m" } else { "" };
        self.labelled(if self.interactive { "" } else { "kv_cli: " }, "warning:", yellow, text);
    }

    fn labelled(&mut self, prefix: &str, label: &str, style: &str, text: &str) {
        let mut line = format!("{prefix}{label} {}", safe(text));
        if io::stderr().is_terminal() {
            line = fit(&line, columns(io::stderr()), 2);
        }
        let reset = if style.is_empty() { "" } else { "\x1b[0m" };
        // Where the line was not broken inside it.
        if let Some((before, after)) = line.split_once(label) {
            line = format!("{before}{style}{label}{reset}{after}");
        }
        self.aside(&line);
    }

    /// A line on stderr, after everything that was said on stdout before.
    pub(crate) fn aside(&mut self, line: &str) {
        self.flush();
        streams::say(line);
    }
}

/// Writes keys, or keys and values, until `flags` ask for an end, and returns how many it came to.
fn list<'e>(
    out: &mut impl Write,
    format: Format,
    terminal: bool,
    verb: Verb,
    entries: impl Iterator<Item = (&'e [u8], Option<&'e [u8]>)>,
    more: bool,
    flags: &Flags,
) -> io::Result<usize> {
    if format == Format::Json {
        write!(out, "{{\"cmd\":\"{}\",\"ok\":true,\"entries\":[", verb.name())?;
    }
    let mut written = 0;
    for (key, value) in entries.take_while(|_| !flags.interrupted()) {
        match format {
            Format::Json => {
                let fields = [Some(bytes("key", "key_base64", key)), value.map(|value| bytes("value", "value_base64", value))];
                let entry = Json::from_iter(fields.into_iter().flatten()).to_string();
                write!(out, "{}{}", if written == 0 { "" } else { "," }, without_controls(entry))?;
            }
            Format::Text => {
                write_word(key, out)?;
                if let Some(value) = value {
                    out.write_all(b" ")?;
                    write_word(value, out)?;
                }
                out.write_all(b"\n")?;
            }
            Format::Raw => {
                write_raw(key, terminal, out)?;
                if let Some(value) = value {
                    out.write_all(b" ")?;
                    write_raw(value, terminal, out)?;
                }
                out.write_all(b"\n")?;
            }
        }
        written += 1;
    }
    if format == Format::Json {
        writeln!(out, "],\"more\":{}}}", more || flags.interrupted())?;
    }
    Ok(written)
}

/// The bytes themselves; on a terminal only what it does not obey, and line feeds.
fn write_raw(bytes: &[u8], terminal: bool, out: &mut impl Write) -> io::Result<()> {
    if !terminal {
        return out.write_all(bytes);
    }
    for (at, line) in bytes.split(|&b| b == b'\n').enumerate() {
        out.write_all(if at == 0 { b"" } else { b"\n" })?;
        write_escaped(line, false, out)?;
    }
    Ok(())
}

fn json_reply(verb: Verb, reply: &Reply) -> String {
    let mut fields: Vec<(&str, Json)> = vec![("cmd", verb.name().into()), ("ok", true.into())];
    match reply {
        Reply::Written(ack) => {
            fields.push(("durable", ack.durable.into()));
            if verb == Verb::Del {
                fields.push(("existed", true.into()));
            }
        }
        Reply::NotThere => fields.push(("existed", false.into())),
        Reply::Queued(writes) => fields.push(("queued", (*writes).into())),
        Reply::Value(None) => fields.push(("value", Json::Null)),
        Reply::Value(Some(value)) => {
            let (name, value) = bytes("value", "value_base64", value);
            fields.push((name, value));
        }
        Reply::Size(keys) => fields.push(("keys", (*keys).into())),
        Reply::Flushed(flushed) => fields.extend([("records", flushed.writes.into()), ("bytes", flushed.bytes.into())]),
        Reply::Snapshotted(snapshot) => fields.extend([("keys", snapshot.keys.into()), ("bytes", snapshot.bytes.into())]),
        Reply::BatchSize(size) => fields.push(("batch", (*size).into())),
        Reply::Help(text) => fields.push(("text", text.as_str().into())),
        _ => {}
    }
    object(&fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kv_engine::Value;

    #[test]
    fn json_keeps_the_order_and_hides_controls() {
        let get = |value: &[u8]| json_reply(Verb::Get, &Reply::Value(Some(Value::from(value))));
        assert_eq!(get(b"100"), "{\"cmd\":\"GET\",\"ok\":true,\"value\":\"100\"}\n");
        assert_eq!(get(b"\xff"), "{\"cmd\":\"GET\",\"ok\":true,\"value_base64\":\"/w==\"}\n");
        assert_eq!(get("\u{9b}\u{202e}\x1b".as_bytes()), "{\"cmd\":\"GET\",\"ok\":true,\"value\":\"\\u009b\\u202e\\u001b\"}\n");
        assert_eq!(json_reply(Verb::Get, &Reply::Value(None)), "{\"cmd\":\"GET\",\"ok\":true,\"value\":null}\n");
        assert_eq!(json_reply(Verb::Del, &Reply::NotThere), "{\"cmd\":\"DEL\",\"ok\":true,\"existed\":false}\n");
    }

    #[test]
    fn a_list_ends_behind_an_entry_when_that_is_asked_for() {
        let listed = |format, ends_at: usize| {
            let (flags, mut out) = (Flags::new(), Vec::new());
            let entries = (0..4).map(|at| {
                if at == ends_at {
                    flags.interrupt();
                }
                (&b"a key"[..], Some(&b"v\x1b"[..]))
            });
            let written = list(&mut out, format, true, Verb::Scan, entries, false, &flags).expect("memory");
            (written, String::from_utf8(out).expect("text"))
        };
        assert_eq!(listed(Format::Text, 1), (1, "\"a key\" \"v\\x1b\"\n".into()));
        assert_eq!(listed(Format::Text, 9).0, 4);
        assert_eq!(listed(Format::Raw, 2), (2, "a key v\\x1b\n".repeat(2)));
        let (written, object) = listed(Format::Json, 2);
        let object: Json = serde_json::from_str(&object).expect("an object");
        assert_eq!((written, object["entries"].as_array().map(Vec::len)), (2, Some(2)));
        assert_eq!(object["more"], true);
    }
}

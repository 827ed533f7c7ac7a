//! What goes to stdout and stderr, and in which order.
//!
//! Replies go to stdout through one buffer, which is written out before anything goes to stderr and
//! before a read that may block. Nothing from data reaches a terminal as anything but text.

use crate::args::{Format, When};
use crate::command::{CommandError, Reply, Verb, is_hidden, write_escaped, write_word};
use crate::signals::Flags;
use crate::stats;
use crate::streams::{self, Patient};
use base64::Engine as _;
use kv_engine::{RecoveryReport, Stats};
use rustix::termios::tcgetwinsize;
use serde_json::Value as Json;
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

const BUFFER_BYTES: usize = 64 << 10;
/// Where the text of a row begins in the tables of `kv_cli wal`.
const RECORD_COLUMN: usize = 40;

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

fn is_set(variable: &str) -> bool {
    std::env::var_os(variable).is_some_and(|value| !value.is_empty())
}

/// `text` with what a terminal would obey made visible; for texts with paths or data in them.
pub(crate) fn safe(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let _ = write_escaped(text.as_bytes(), false, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

/// Columns of the terminal behind `stream`; 80 where it does not say.
pub(crate) fn columns(stream: impl AsFd) -> usize {
    tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0).unwrap_or(80)
}

/// One line broken between words so that none has more than `columns`; what follows the first is indented.
/// A number and its unit stay together, and so do longer words, such as paths: they can be copied.
pub(crate) fn fit(line: &str, columns: usize, indent: usize) -> String {
    const GLUE: &str = "\u{e000}"; // of private use, and as wide as a blank
    const UNITS: [&str; 8] = ["B", "KiB", "MiB", "GiB", "µs", "ms", "s", "%"];
    let mut glued = String::with_capacity(line.len());
    for word in line.split_inclusive(' ') {
        let unit = word.trim_end().trim_end_matches([',', ';', '.', ')']);
        if UNITS.contains(&unit) && glued.trim_end().ends_with(|c: char| c.is_ascii_digit()) && glued.ends_with(' ') {
            glued.pop();
            glued.push_str(GLUE);
        }
        glued.push_str(word);
    }
    let indent = " ".repeat(indent);
    let options = textwrap::Options::new(columns).subsequent_indent(&indent).break_words(false);
    textwrap::fill(&glued, options).replace(GLUE, " ")
}

/// Passes text on in lines that fit the terminal, where there is one. The rows of a table, which begin with a blank,
/// go on under their last column.
pub(crate) struct Fitted<W: Write> {
    out: W,
    columns: Option<usize>,
    under: usize,
    line: Vec<u8>,
}

impl<W: Write> Fitted<W> {
    /// For stdout; JSON is left as it is.
    pub(crate) fn stdout(out: W, json: bool) -> Fitted<W> {
        let is_read = !json && io::stdout().is_terminal();
        Fitted { out, columns: is_read.then(|| columns(io::stdout())), under: RECORD_COLUMN, line: Vec::new() }
    }
}

impl<W: Write> Write for Fitted<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(columns) = self.columns else { return self.out.write(bytes) };
        for &byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
                continue;
            }
            let line = String::from_utf8_lossy(&self.line).into_owned();
            let indent = if line.starts_with(' ') { self.under } else { 2 };
            writeln!(self.out, "{}", fit(&line, columns, indent))?;
            self.line.clear();
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

impl When {
    /// Whether to colour what goes to a terminal, or to something else.
    pub(crate) fn on(self, terminal: bool) -> bool {
        match self {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        }
    }
}

/// What a colour says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tone {
    Plain,
    Good,
    /// To be expected after a crash.
    Torn,
    Bad,
    /// Beside the point.
    Dim,
}

pub(crate) fn toned(text: &str, tone: Tone, color: bool) -> String {
    let code = match tone {
        _ if !color => return text.to_string(),
        Tone::Plain => return text.to_string(),
        Tone::Good => "32",
        Tone::Torn => "33",
        Tone::Bad => "31",
        Tone::Dim => "2",
    };
    format!("\x1b[{code}m{text}\x1b[0m")
}

pub(crate) fn dimmed(text: &str, color: bool) -> String {
    toned(text, Tone::Dim, color)
}

/// One line of JSON, its fields in this order.
pub(crate) fn object(fields: &[(&str, Json)]) -> String {
    let fields: Vec<_> = fields.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    without_controls(format!("{{{}}}", fields.join(","))) + "\n"
}

/// serde_json leaves the higher controls as they are, which a terminal would obey.
fn without_controls(json: String) -> String {
    let escaped = |c: char| if is_hidden(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    if json.contains(is_hidden) { json.chars().map(escaped).collect() } else { json }
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

/// Bytes as a string where they are one, else in base64 under another name.
pub(crate) fn bytes<'n>(name: &'n str, name_base64: &'n str, bytes: &[u8]) -> (&'n str, Json) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (name, text.into()),
        Err(_) => (name_base64, base64::prelude::BASE64_STANDARD.encode(bytes).into()),
    }
}

/// `82 B`, `1.5 MiB`.
pub(crate) fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let (mut size, mut unit) = (bytes as f64 / 1024.0, 0);
    while size >= 1024.0 && unit + 1 < UNITS.len() {
        (size, unit) = (size / 1024.0, unit + 1);
    }
    format!("{size:.1} {}", UNITS[unit])
}

/// `0.90 ms`, `12.0 µs`, `3.2 s`.
pub(crate) fn human_time(time: Duration) -> String {
    match time.as_secs_f64() {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 0.001 => format!("{:.1} ms", s * 1e3),
        s if s >= 0.000_1 => format!("{:.2} ms", s * 1e3),
        s => format!("{:.1} µs", s * 1e6),
    }
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

    #[test]
    fn lines_are_broken_between_words_and_units_stay_with_their_numbers() {
        assert_eq!(fit("recovered 12 keys in 14.2 ms; fine", 26, 2), "recovered 12 keys in\n  14.2 ms; fine");
        assert_eq!(fit("short", 5, 2), "short");
        assert_eq!(fit("see /a/very/long/path now", 8, 2), "see\n  /a/very/long/path\n  now");
        let mut out = Fitted { out: Vec::new(), columns: Some(12), under: 6, line: Vec::new() };
        out.write_all(b"  1  a word or two\nand a sentence\n").expect("memory");
        assert_eq!(String::from_utf8_lossy(&out.out), "  1  a word\n      or two\nand a\n  sentence\n");
    }

    #[test]
    fn sizes_and_times_are_readable() {
        assert_eq!(human_bytes(82), "82 B");
        assert_eq!(human_bytes(1536 * 1024), "1.5 MiB");
        assert_eq!(human_time(Duration::from_micros(900)), "0.90 ms");
        assert_eq!(human_time(Duration::from_nanos(1200)), "1.2 µs");
    }
}

//! What goes to stdout and stderr, and in which order.
//!
//! Replies go to stdout through one buffer. The buffer is written out before anything goes to stderr, and before a read
//! that may block. Data reaches a terminal only as text: every character that a terminal would obey is escaped.

use crate::error::CommandError;
use crate::settings::{Format, When};
use crate::streams;
use crate::text::{columns, csv, dimmed, error_row, fit, object, safe, write_escaped};
use serde_json::Value as Json;
use std::io::{self, BufWriter, IsTerminal, Write};

const BUFFER_BYTES: usize = 64 << 10;

/// Where a line came from; errors begin with it.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    Prompt,
    /// One of several lines that were pasted at a prompt. They run without a look at the replies between them.
    Paste,
    Words,
    Option(usize),
    Line {
        input: String,
        line: u64,
    },
    Whole(String),
}

impl Place {
    fn prefix(&self) -> String {
        match self {
            Place::Prompt | Place::Paste => String::new(),
            Place::Words => "kv_cli: ".into(),
            Place::Option(n) => format!("kv_cli: -c {n}: "),
            Place::Line { input, line } => format!("kv_cli: {input}:{line}: "),
            Place::Whole(input) => format!("kv_cli: {input}: "),
        }
    }

    /// The file or stream, if it is not the only one that it can be.
    fn input(&self) -> Option<&str> {
        match self {
            Place::Line { input, .. } if input == "<stdin>" => None,
            Place::Line { input, .. } | Place::Whole(input) => Some(input),
            _ => None,
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

/// Where replies go: a buffer in front of stdout.
type Out = BufWriter<Box<dyn Write + Send>>;

/// The two streams.
pub(crate) struct Output {
    out: Out,
    pub(crate) format: Format,
    /// A person types commands and reads the replies: replies get a dimmed note.
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
        let out = BufWriter::with_capacity(BUFFER_BYTES, Box::new(streams::stdout()) as Box<_>);
        Output { out, format, interactive: interactive && terminal, terminal, color, broken: None }
    }

    /// Writes out the replies, and returns the exit status as [`streams::finish`] does.
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

    /// stdout, for long replies. The caller gives the result to [`Output::keep`].
    pub(crate) fn stream(&mut self) -> &mut Out {
        &mut self.out
    }

    /// Writes a reply.
    pub(crate) fn write(&mut self, write: impl FnOnce(&mut Out) -> io::Result<()>) {
        let done = write(&mut self.out);
        self.keep(done);
    }

    /// Keeps the first error of writing to stdout. The session ends because of it.
    pub(crate) fn keep(&mut self, done: io::Result<()>) {
        if let Err(error) = done {
            self.broken.get_or_insert(error);
        }
    }

    /// Writes a reply and a note for the person at the prompt: after one line, below several.
    pub(crate) fn noted(&mut self, mut text: Vec<u8>, note: Option<String>) {
        if note.is_some() && text.iter().filter(|&&b| b == b'\n').count() == 1 {
            text.pop();
            text.push(b' ');
        }
        let color = self.color;
        self.write(|out| {
            out.write_all(&text)?;
            note.map_or(Ok(()), |note| writeln!(out, "{}", dimmed(&note, color)))
        });
    }

    /// A line of its own on stdout.
    pub(crate) fn line(&mut self, text: &str) {
        let done = writeln!(self.out, "{text}");
        self.keep(done);
    }

    /// A reply that is one line.
    pub(crate) fn answer(&mut self, text: &str) {
        match self.format {
            Format::Csv => self.write(|out| csv::write_row([text.as_bytes()], out)),
            _ => self.line(text),
        }
    }

    /// `text` as it is shown on stdout: safe for a terminal, and broken between words on one.
    pub(crate) fn fitted(&self, text: &str, indent: usize) -> String {
        if self.terminal { fit(&safe(text), columns(io::stdout()), indent) } else { safe(text) }
    }

    /// A line on stdout for people, less important than a reply.
    pub(crate) fn dim_line(&mut self, text: &str) {
        let text = self.fitted(text, 0);
        text.lines().for_each(|line| self.line(&dimmed(line, self.color)));
    }

    /// A failed command: on stderr, and in JSON and CSV also on stdout.
    pub(crate) fn error(&mut self, place: &Place, error: &CommandError) {
        if self.format == Format::Json {
            let mut fields: Vec<(&str, Json)> = place.line().map(|line| ("line", line.into())).into_iter().collect();
            fields.extend([("ok", false.into()), ("code", error.code.to_string().into()), ("error", error.text.as_str().into())]);
            fields.extend(place.input().map(|input| ("input", input.into())));
            self.line_json(&fields);
        } else if self.format == Format::Csv {
            self.write(|out| out.write_all(error_row(&error.text).as_bytes()));
        }
        self.complain(place, &error.text);
    }

    pub(crate) fn line_json(&mut self, fields: &[(&str, Json)]) {
        let done = self.out.write_all(object(fields).as_bytes());
        self.keep(done);
    }

    /// Any other error: on stderr.
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
        // If the line was not broken inside the label.
        if let Some((before, after)) = line.split_once(label) {
            line = format!("{before}{style}{label}{reset}{after}");
        }
        self.aside(&line);
    }

    /// A line on stderr, after everything that was written to stdout before.
    pub(crate) fn aside(&mut self, line: &str) {
        self.flush();
        streams::say(line);
    }
}

/// Writes the bytes unchanged, but on a terminal with everything escaped that it would obey, except line feeds.
pub(crate) fn write_raw(bytes: &[u8], terminal: bool, out: &mut impl Write) -> io::Result<()> {
    if !terminal {
        return out.write_all(bytes);
    }
    for (at, line) in bytes.split(|&b| b == b'\n').enumerate() {
        out.write_all(if at == 0 { b"" } else { b"\n" })?;
        write_escaped(line, false, out)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// Keeps what is written to it.
    #[derive(Clone, Default)]
    struct Shown(Arc<Mutex<Vec<u8>>>);

    impl Write for Shown {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("no panic").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Output {
        /// An output into memory for tests, and a function that takes what was written. Errors still go to stderr.
        pub(crate) fn to_memory(format: Format) -> (Output, Box<dyn Fn() -> Vec<u8>>) {
            let shown = Shown::default();
            let mut output = Output::new(format, When::Never, false);
            output.out = BufWriter::new(Box::new(shown.clone()));
            output.terminal = false;
            (output, Box::new(move || std::mem::take(&mut *shown.0.lock().expect("no panic"))))
        }
    }

    #[test]
    fn a_note_follows_one_line_and_is_below_several() {
        let (mut output, shown) = Output::to_memory(Format::Text);
        for (text, note, expected) in [
            ("OK\n", Some("1 of 5 buffered"), "OK 1 of 5 buffered\n"),
            ("a\nb\n", Some("(2 shown)"), "a\nb\n(2 shown)\n"),
            ("OK\n", None, "OK\n"),
        ] {
            output.noted(text.as_bytes().to_vec(), note.map(str::to_string));
            output.flush();
            assert_eq!(String::from_utf8_lossy(&shown()), expected);
        }
    }
}

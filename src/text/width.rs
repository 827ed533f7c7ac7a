//! Lines that fit a terminal: broken between words, never inside one.

use rustix::termios::tcgetwinsize;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;

/// Where the text of a row begins in the tables of `kv_cli wal`.
const RECORD_COLUMN: usize = 40;

/// Columns of the terminal behind `stream`; 80 if it does not say.
pub(crate) fn columns(stream: impl AsFd) -> usize {
    tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0).unwrap_or(80)
}

/// One line, broken between words so that no part has more than `columns`. All parts but the first are indented. A
/// number and its unit stay together. A longer word, for example a path, stays whole so that it can be copied.
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

/// Passes text on in lines that fit the terminal, if `out` is one. The rows of a table begin with a blank; their text
/// continues under their last column.
pub(crate) struct Fitted<W: Write> {
    out: W,
    columns: Option<usize>,
    under: usize,
    line: Vec<u8>,
}

impl<W: Write> Fitted<W> {
    /// For stdout; JSON is passed on unchanged.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_broken_between_words_and_units_stay_with_their_numbers() {
        assert_eq!(fit("recovered 12 keys in 14.2 ms; fine", 26, 2), "recovered 12 keys in\n  14.2 ms; fine");
        assert_eq!(fit("short", 5, 2), "short");
        assert_eq!(fit("see /a/very/long/path now", 8, 2), "see\n  /a/very/long/path\n  now");
        let mut out = Fitted { out: Vec::new(), columns: Some(12), under: 6, line: Vec::new() };
        out.write_all(b"  1  a word or two\nand a sentence\n").expect("memory");
        assert_eq!(String::from_utf8_lossy(&out.out), "  1  a word\n      or two\nand a\n  sentence\n");
    }
}

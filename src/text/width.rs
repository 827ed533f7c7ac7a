//! Lines that fit a terminal: broken between words, never inside one.

use rustix::termios::tcgetwinsize;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use textwrap::core::display_width;

/// Where the text of a row begins in the tables of `kv_cli wal`.
const RECORD_COLUMN: usize = 40;
/// The number of columns before that text.
const RECORD_COLUMNS: usize = 4;
/// A terminal with fewer columns gets the rows of these tables without their padding.
const NARROW: usize = 60;

/// Columns of the terminal behind `stream`; 80 if it does not say.
pub(crate) fn columns(stream: impl AsFd) -> usize {
    tcgetwinsize(stream).ok().map(|size| usize::from(size.ws_col)).filter(|&columns| columns > 0).unwrap_or(80)
}

/// The column of the byte at `at` on a screen that shows the line; the first one is 1. A tab counts as one column, and
/// so does a byte that is not UTF-8.
pub(crate) fn column(line: &[u8], at: usize) -> usize {
    let width = |c: char| if c.is_control() { 1 } else { display_width(c.encode_utf8(&mut [0; 4])) };
    let chunks = line[..at.min(line.len())].utf8_chunks();
    1 + chunks.map(|chunk| chunk.valid().chars().map(width).sum::<usize>() + chunk.invalid().len()).sum::<usize>()
}

/// One line, broken between words so that no part has more than `columns`. All parts but the first are indented. A
/// number and its unit stay together. The indent takes at most half of the columns. A longer word, for example a path,
/// stays whole so that it can be copied.
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
    let indent = " ".repeat(indent.min(columns / 2));
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

/// The length of the escape that colours a whole line.
fn color_bytes(line: &str) -> usize {
    if line.starts_with("\x1b[") { line.find('m').map_or(0, |end| end + 1) } else { 0 }
}

/// A row with one blank between its columns. The text of the row stays as it is.
fn without_padding(row: &str) -> String {
    let (mut out, mut column) = (String::with_capacity(row.len()), 0);
    for c in row.chars() {
        match c {
            ' ' if column == 0 || (column <= RECORD_COLUMNS && out.ends_with(' ')) => {}
            ' ' => {
                out.push(c);
                column += 1;
            }
            c => {
                out.push(c);
                column = column.max(1);
            }
        }
    }
    out
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
            let (color, row) = line.split_at(color_bytes(&line));
            let fitted = match row.starts_with(' ') {
                false => fit(&line, columns, 2),
                true if columns < NARROW => fit(&format!("{color}{}", without_padding(row)), columns, 2),
                true => fit(&line, columns, self.under),
            };
            writeln!(self.out, "{fitted}")?;
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
        assert_eq!(fit("a narrow screen", 8, 40), "a narrow\n    screen");
        assert_eq!(fit("see /a/very/long/path now", 8, 2), "see\n  /a/very/long/path\n  now");
        let mut out = Fitted { out: Vec::new(), columns: Some(60), under: 6, line: Vec::new() };
        let words = "word ".repeat(12);
        out.write_all(format!("  1  {}\nand {}\n", words.trim_end(), words.trim_end()).as_bytes()).expect("memory");
        let (eleven, one) = ("word ".repeat(11), "word");
        assert_eq!(
            String::from_utf8_lossy(&out.out),
            format!("  1  {}\n      {one}\nand {}\n  {one}\n", eleven.trim_end(), eleven.trim_end())
        );
    }

    #[test]
    fn a_column_counts_what_a_screen_shows() {
        let at = |line: &str| column(format!("{line}|").as_bytes(), line.len());
        for (line, expected) in [("", 1), ("ab", 3), ("é", 2), ("漢字", 5), ("e\u{301}", 2), ("a\tb", 4), ("\x1b[1m", 5)] {
            assert_eq!(at(line), expected, "{line:?}");
        }
        assert_eq!(column(b"\xff\xc3|", 2), 3);
        assert_eq!(column(b"ab", 9), 3);
    }

    #[test]
    fn case_51_rows_of_a_narrow_terminal_have_no_padding() {
        let mut out = Fitted { out: Vec::new(), columns: Some(30), under: RECORD_COLUMN, line: Vec::new() };
        out.write_all(b"       105       44        1        0  PUT 'a  b' 1\n").expect("memory");
        out.write_all(b"\x1b[2m        64       41        0        0  opened\x1b[0m\n").expect("memory");
        assert_eq!(String::from_utf8_lossy(&out.out), "105 44 1 0  PUT 'a  b' 1\n\x1b[2m64 41 0 0  opened\x1b[0m\n");
    }
}

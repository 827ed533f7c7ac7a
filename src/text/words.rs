//! The words of a line, and bytes as words: the quoting rules in both directions.
//!
//! Blanks and tabs separate words. Outside quotes no character is special, so `PUT url a=b\c` needs no quotes. `'…'` is
//! literal. `"…"` takes `\n \r \t \0 \\ \" \xHH`; any other escape is an error. A closing quote ends the word. A `#`
//! that is a word by itself begins a comment. A word without escapes is borrowed from the line, so the common path
//! allocates nothing.

use super::width::column;
use crate::error::{Code, CommandError};
use std::borrow::Cow;
use std::io::{self, Write};

/// The words of one line, left to right.
///
/// Blanks and tabs separate them. Outside quotes no character is special: `a=b\c` is a word. `'…'` is literal, `"…"`
/// takes `\n \r \t \0 \\ \" \xHH`, and a closing quote ends the word. A `#` that is a word by itself begins a comment.
/// An error is the last item, because it is unknown then where the quote ends.
///
/// ```
/// use kv_cli::command::Words;
///
/// let words = Words::of(br#"PUT "two words" it's  # a comment"#).collect::<Result<Vec<_>, _>>()?;
/// assert_eq!(words, [&b"PUT"[..], b"two words", b"it's"]);
/// let error = Words::of(b"PUT 'x").nth(1).expect("a word").expect_err("no closing quote");
/// assert_eq!(error.text, "column 5: the quote opened here is never closed");
/// # Ok::<(), kv_cli::command::CommandError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Words<'a> {
    line: &'a [u8],
    at: usize,
}

impl<'a> Words<'a> {
    /// Begins at the first word. A pasted prompt (`kv> `, `kv*> ` or `kv!> `) before it and a carriage return at the
    /// end of the line are skipped.
    ///
    /// ```
    /// use kv_cli::command::Words;
    ///
    /// let mut words = Words::of(b"kv> GET x\r");
    /// assert_eq!(words.next().expect("a word")?, &b"GET"[..]);
    /// # Ok::<(), kv_cli::command::CommandError>(())
    /// ```
    #[must_use]
    pub fn of(line: &'a [u8]) -> Words<'a> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Words { line, at: after_prompt(line) }
    }

    /// Where the quote begins that is never closed, if the line has one.
    pub(crate) fn open_quote(mut self) -> Option<usize> {
        loop {
            self.skip_blanks();
            let start = self.at;
            match self.next()? {
                Ok(_) => {}
                Err(error) => return (error.code == Code::UnfinishedQuote).then_some(start),
            }
        }
    }

    /// Whether only blanks, or text that begins with `#`, are left. At the start of a line: whether it is blank or a
    /// comment.
    ///
    /// ```
    /// use kv_cli::command::Words;
    ///
    /// assert!(Words::of(b"#!/usr/bin/env kv_cli").is_at_end());
    /// assert!(!Words::of(b"GET x # a comment").is_at_end());
    /// ```
    #[must_use]
    pub fn is_at_end(&self) -> bool {
        let mut rest = self.clone();
        rest.skip_blanks();
        rest.line.get(rest.at).is_none_or(|&b| b == b'#')
    }

    fn skip_blanks(&mut self) {
        while self.line.get(self.at).is_some_and(|&b| is_blank(b)) {
            self.at += 1;
        }
    }

    /// The word that begins with the opening quote at `self.at`. Moves `self.at` after the closing quote.
    fn quoted(&mut self, quote: u8) -> Result<Cow<'a, [u8]>, CommandError> {
        let open = self.at;
        let body = &self.line[open + 1..];
        let special = |&b: &u8| b == quote || (b == b'\\' && quote == b'"');
        let unfinished = || at_column(self.line, open, Code::UnfinishedQuote, "the quote opened here is never closed");
        let plain = body.iter().position(special).ok_or_else(unfinished)?;
        if body[plain] == quote {
            self.at = open + 1 + plain + 1;
            return Ok(Cow::Borrowed(&body[..plain]));
        }
        let mut word = body[..plain].to_vec();
        let mut at = open + 1 + plain;
        loop {
            match self.line.get(at) {
                None => return Err(unfinished()),
                Some(b'"') => break,
                Some(b'\\') => {
                    let (byte, length) = escape(self.line, at).ok_or_else(unfinished)??;
                    word.push(byte);
                    at += 1 + length;
                }
                Some(_) => {
                    let rest = &self.line[at..];
                    let run = rest.iter().position(special).ok_or_else(unfinished)?;
                    word.extend_from_slice(&rest[..run]);
                    at += run;
                }
            }
        }
        self.at = at + 1;
        Ok(Cow::Owned(word))
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Result<Cow<'a, [u8]>, CommandError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.skip_blanks();
        let start = self.at;
        let first = *self.line.get(start)?;
        if first == b'"' || first == b'\'' {
            let word = self.quoted(first);
            let word = match self.line.get(self.at) {
                Some(&b) if word.is_ok() && !is_blank(b) => {
                    Err(at_column(self.line, self.at, Code::BadQuote, "a closing quote must be followed by a blank"))
                }
                _ => word,
            };
            if word.is_err() {
                self.at = self.line.len();
            }
            return Some(word);
        }
        let rest = &self.line[start..];
        let length = rest.iter().position(|&b| is_blank(b)).unwrap_or(rest.len());
        if length == 1 && first == b'#' {
            self.at = self.line.len();
            return None;
        }
        self.at = start + length;
        Some(Ok(Cow::Borrowed(&rest[..length])))
    }
}

fn is_blank(byte: u8) -> bool {
    byte == b' ' || byte == b'\t'
}

/// The prompts of the shell, without the blank behind them.
const PROMPTS: [&[u8]; 3] = [b"kv>", b"kv*>", b"kv!>"];

/// Whether a prompt begins with these bytes.
pub(crate) fn begins_prompt(bytes: &[u8]) -> bool {
    PROMPTS.iter().any(|prompt| prompt.starts_with(bytes))
}

/// Where the line begins, behind blanks and a pasted prompt.
pub(crate) fn after_prompt(line: &[u8]) -> usize {
    let start = line.iter().position(|&b| !is_blank(b)).unwrap_or(line.len());
    let rest = &line[start..];
    let prompt = PROMPTS.into_iter().find(|prompt| rest.starts_with(prompt));
    let prompt = prompt.filter(|prompt| rest.get(prompt.len()).is_none_or(|&b| is_blank(b)));
    start + prompt.map_or(0, <[u8]>::len)
}

/// The byte that the escape at `at` means, and its length without the backslash; `None` at the end of the line.
fn escape(line: &[u8], at: usize) -> Option<Result<(u8, usize), CommandError>> {
    let rest = &line[at + 1..];
    Some(Ok(match *rest.first()? {
        b'n' => (b'\n', 1),
        b'r' => (b'\r', 1),
        b't' => (b'\t', 1),
        b'0' => (0, 1),
        b'\\' => (b'\\', 1),
        b'"' => (b'"', 1),
        b'x' => match (hex(rest.get(1)), hex(rest.get(2))) {
            (Some(high), Some(low)) => (high << 4 | low, 3),
            _ => return Some(Err(at_column(line, at, Code::BadEscape, r"\x takes two hexadecimal digits, as in \x0a"))),
        },
        _ => {
            let text = format!(r"unknown escape \{}; use \\ for a backslash", displayed(first_char(rest)));
            return Some(Err(at_column(line, at, Code::BadEscape, &text)));
        }
    }))
}

fn hex(byte: Option<&u8>) -> Option<u8> {
    (*byte? as char).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn first_char(bytes: &[u8]) -> &[u8] {
    (1..=bytes.len().min(4)).map(|n| &bytes[..n]).find(|c| std::str::from_utf8(c).is_ok()).unwrap_or(&bytes[..1])
}

fn at_column(line: &[u8], at: usize, code: Code, text: &str) -> CommandError {
    CommandError::new(code, format!("column {}: {text}", column(line, at)))
}

/// Writes `bytes` as the reply of GET: unchanged if they fit on one line and are unambiguous, otherwise quoted in the
/// form that PUT accepts.
///
/// ```
/// use kv_cli::command::write_value;
///
/// let mut out = Vec::new();
/// for value in ["Ada Lovelace", "(nil)", "", "a\nb"] {
///     write_value(value.as_bytes(), &mut out)?;
///     out.push(b'|');
/// }
/// assert_eq!(out, br#"Ada Lovelace|"(nil)"|""|"a\nb"|"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of `out`.
pub fn write_value(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    let plain = match (bytes.first(), bytes.last()) {
        (Some(first), Some(last)) => {
            !matches!(first, b' ' | b'"' | b'\'') && *last != b' ' && bytes != b"(nil)" && bytes != b"#" && is_shown(bytes)
        }
        _ => false,
    };
    if plain { out.write_all(bytes) } else { write_quoted(bytes, out) }
}

/// Writes `bytes` as one word of a command: as [`write_value`], but also quoted if they have a blank.
///
/// ```
/// use kv_cli::command::write_word;
///
/// let mut out = Vec::new();
/// write_word(b"Ada Lovelace", &mut out)?;
/// assert_eq!(out, b"\"Ada Lovelace\"");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of `out`.
pub fn write_word(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    if bytes.contains(&b' ') { write_quoted(bytes, out) } else { write_value(bytes, out) }
}

pub(crate) fn write_quoted(bytes: &[u8], out: &mut impl Write) -> io::Result<()> {
    out.write_all(b"\"")?;
    write_escaped(bytes, true, out)?;
    out.write_all(b"\"")
}

/// A word of the user, or a text with data in it, for an error message: one line, with everything escaped that a
/// terminal would obey. Only the first 60 bytes are shown.
///
/// ```
/// use kv_cli::command::displayed;
///
/// assert_eq!(displayed(b"a\x1b[2J"), r"a\x1b[2J"); // clears no screen
/// assert!(displayed(&[b'x'; 1000]).ends_with("x…"));
/// ```
#[must_use]
pub fn displayed(bytes: &[u8]) -> String {
    const SHOWN: usize = 60;
    let mut out = Vec::new();
    let cut = (0..=SHOWN.min(bytes.len())).rev().find(|&n| n == bytes.len() || bytes[n] & 0xC0 != 0x80).unwrap_or(0);
    let _ = write_escaped(&bytes[..cut], false, &mut out);
    let mut text = String::from_utf8_lossy(&out).into_owned();
    if cut < bytes.len() {
        text.push('…');
    }
    text
}

/// Writes `bytes` with the escapes of `"…"` for everything that a terminal would obey, and with `quoting` also for `"`
/// and `\`.
///
/// ```
/// use kv_cli::command::write_escaped;
///
/// let mut out = Vec::new();
/// write_escaped("é \"\t\u{7}".as_bytes(), true, &mut out)?;
/// assert_eq!(out, r#"é \"\t\x07"#.as_bytes());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of `out`.
pub fn write_escaped(bytes: &[u8], quoting: bool, out: &mut impl Write) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        let (text, mut from) = (chunk.valid(), 0);
        for (at, c) in text.char_indices().filter(|&(_, c)| is_hidden(c) || (quoting && matches!(c, '"' | '\\'))) {
            out.write_all(&text.as_bytes()[from..at])?;
            from = at + c.len_utf8();
            match c {
                '\n' => out.write_all(br"\n")?,
                '\r' => out.write_all(br"\r")?,
                '\t' => out.write_all(br"\t")?,
                '\0' => out.write_all(br"\0")?,
                '"' => out.write_all(br#"\""#)?,
                '\\' => out.write_all(br"\\")?,
                _ => text.as_bytes()[at..from].iter().try_for_each(|byte| write_hex(*byte, out))?,
            }
        }
        out.write_all(&text.as_bytes()[from..])?;
        chunk.invalid().iter().try_for_each(|byte| write_hex(*byte, out))?;
    }
    Ok(())
}

/// A byte as `\xHH`.
fn write_hex(byte: u8, out: &mut impl Write) -> io::Result<()> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    out.write_all(&[b'\\', b'x', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 15)]])
}

/// `text` with everything escaped that a terminal would obey. For texts with paths or data in them.
pub(crate) fn safe(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let _ = write_escaped(text.as_bytes(), false, &mut out);
    String::from_utf8_lossy(&out).into_owned()
}

fn is_shown(bytes: &[u8]) -> bool {
    bytes.iter().all(|b| matches!(b, 0x20..=0x7e)) || std::str::from_utf8(bytes).is_ok_and(|text| !text.contains(is_hidden))
}

/// Whether a terminal would obey the character and not show it: controls (C0, DEL, C1), line and paragraph separators,
/// and the marks that override, embed or isolate the direction of text.
///
/// ```
/// use kv_cli::command::is_hidden;
///
/// assert!(is_hidden('\x1b') && is_hidden('\u{202e}'));
/// assert!(!is_hidden('é') && !is_hidden(' '));
/// ```
#[must_use]
pub fn is_hidden(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<Vec<u8>> {
        Words::of(line.as_bytes()).map(|w| w.expect("a good line").into_owned()).collect()
    }

    fn error(line: &str) -> String {
        Words::of(line.as_bytes()).find_map(Result::err).expect("a bad line").text
    }

    fn value(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        write_value(bytes, &mut out).expect("memory");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn words_are_split_at_blanks_and_quotes_hold_them_together() {
        assert_eq!(words("PUT  a\t1 \r"), [b"PUT" as &[u8], b"a", b"1"]);
        assert_eq!(words(r#"PUT "a b" 'c "d" \n'"#), [b"PUT" as &[u8], b"a b", br#"c "d" \n"#]);
        assert_eq!(words(r#""\n\r\t\0\\\"\x00\xfF" """#), [b"\n\r\t\0\\\"\x00\xff" as &[u8], b""]);
        assert_eq!(words(r"PUT url a=b\c"), [b"PUT" as &[u8], b"url", br"a=b\c"]);
        assert_eq!(words(r#"PUT it's 5""#), [b"PUT" as &[u8], b"it's", b"5\""]);
    }

    #[test]
    fn comments_and_a_pasted_prompt_are_skipped() {
        assert_eq!(words("GET x   # 100"), [b"GET", b"x" as &[u8]]);
        assert_eq!(words("PUT color #fff"), [b"PUT" as &[u8], b"color", b"#fff"]);
        assert_eq!(words("kv> GET x"), [b"GET", b"x" as &[u8]]);
        assert_eq!(words("kv*> GET x"), [b"GET", b"x" as &[u8]]);
        assert!(words("kv>").is_empty() && words(" \t").is_empty());
        assert!(Words::of(b"  #!/usr/bin/kv").is_at_end() && !Words::of(b"GET x").is_at_end());
    }

    #[test]
    fn an_error_is_the_last_item() {
        for line in ["PUT \"a", "PUT \"\\q\" b", "PUT 'a'b c"] {
            assert_eq!(Words::of(line.as_bytes()).count(), 2, "{line}");
        }
    }

    #[test]
    fn a_word_without_escapes_is_borrowed() {
        assert!(Words::of(b"PUT \"a b\" 'c'").all(|word| matches!(word, Ok(Cow::Borrowed(_)))));
    }

    #[test]
    fn errors_name_the_column() {
        assert_eq!(error("PUT x \"a"), "column 7: the quote opened here is never closed");
        assert_eq!(error("PUT x 'a"), "column 7: the quote opened here is never closed");
        assert_eq!(error(r#"PUT x "a\"#), "column 7: the quote opened here is never closed");
        assert_eq!(error(r#"PUT x "a\q""#), r"column 9: unknown escape \q; use \\ for a backslash");
        assert_eq!(error("PUT x \"a\\é\""), "column 9: unknown escape \\é; use \\\\ for a backslash");
        assert_eq!(error(r#"PUT x "\x4""#), r"column 8: \x takes two hexadecimal digits, as in \x0a");
        assert_eq!(error(r#"PUT x "a"b"#), "column 10: a closing quote must be followed by a blank");
    }

    /// A person counts what the screen shows. `é` has two bytes, `漢` has two columns.
    #[test]
    fn columns_are_those_of_the_screen() {
        assert_eq!(error("PUT é \"a"), "column 7: the quote opened here is never closed");
        assert_eq!(error("PUT 漢 \"a"), "column 8: the quote opened here is never closed");
        assert_eq!(error(r#"PUT é "ü\q""#), r"column 9: unknown escape \q; use \\ for a backslash");
        assert_eq!(error(r#"PUT é "ü"b"#), "column 10: a closing quote must be followed by a blank");
        assert_eq!(error("kv> PUT é 'ü"), "column 11: the quote opened here is never closed");
    }

    #[test]
    fn an_open_quote_is_found_at_its_byte() {
        let open = |line: &str| Words::of(line.as_bytes()).open_quote();
        assert_eq!(open("PUT é \"a"), Some("PUT é ".len()));
        assert_eq!(open("PUT 'a' 'b"), Some(8));
        assert_eq!(open("kv> GET 'a"), Some(8));
        for closed in ["PUT 'a' b", "PUT \"a\"b", "PUT \"\\q", "GET x # 'a"] {
            assert_eq!(open(closed), None, "{closed}");
        }
    }

    #[test]
    fn values_are_shown_unchanged_if_that_is_safe() {
        for plain in ["100", "Ada Lovelace", "é", "#fff", r"a\b", "漢字"] {
            assert_eq!(value(plain.as_bytes()), plain);
        }
        for (bytes, shown) in [
            (b"" as &[u8], r#""""#),
            (b" a", r#"" a""#),
            (b"(nil)", r#""(nil)""#),
            (b"#", r##""#""##),
            (b"\"a", r#""\"a""#),
            (b"'a'", r#""'a'""#),
            (b"a\nb\x1b[31m\0", r#""a\nb\x1b[31m\0""#),
            (b"\xff\xc3\xa9", "\"\\xffé\""),
            ("\u{9b}31m".as_bytes(), r#""\xc2\x9b31m""#),
            ("\u{202e}a".as_bytes(), r#""\xe2\x80\xaea""#),
        ] {
            assert_eq!(value(bytes), shown);
        }
    }

    #[test]
    fn displayed_words_are_short_and_safe() {
        assert_eq!(displayed(b"a\x1b[2J\xff"), r"a\x1b[2J\xff");
        assert_eq!(displayed("é".repeat(40).as_bytes()), "é".repeat(30) + "…");
    }
}

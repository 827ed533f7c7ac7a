//! Lines of bytes from a pipe or a file, in a buffer that grows to the longest line.
//!
//! A line that is too long is refused as soon as that is known, and the rest of it is skipped. So memory does not grow
//! with the input. A byte order mark before the first line is skipped too. The caller decides when to read:
//! [`Lines::next`] never blocks, and asks for [`Lines::read`] or [`Lines::fill`] with [`Next::Read`].

use kv_engine::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::io::{self, Read};

/// The longest line that can be a command, in bytes: the longest key and value with every byte written as `\xHH`, and
/// 4 KiB for the rest.
pub(crate) const MAX_LINE_BYTES: usize = 4 * (MAX_KEY_BYTES + MAX_VALUE_BYTES) + 4096;
/// The size of the buffer at the beginning.
pub(crate) const READ_BYTES: usize = 256 << 10;
/// The buffer grows by this much at most.
const GROW_BYTES: usize = 32 << 20;
/// Some editors put this in front of a text in UTF-8.
pub(crate) const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads lines.
pub(crate) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// `start..end` was read and not returned yet. Up to `seen` it has no line feed.
    start: usize,
    seen: usize,
    end: usize,
    longest: usize,
    /// Backslashes in the current line, if it is long.
    escapes: usize,
    /// The current line was refused; the rest of it is skipped.
    skipping: bool,
    at_start: bool,
    at_end: bool,
}

pub(crate) enum Next<'a> {
    Line(&'a [u8]),
    TooLong,
    /// Call [`Lines::read`] or [`Lines::fill`] first.
    Read,
    End,
}

impl<R: Read> Lines<R> {
    /// No line may be longer than `longest`. A line without escapes may only have a third of that, because an escape
    /// takes up to six bytes for one.
    pub(crate) fn new(input: R, longest: usize) -> Lines<R> {
        let buffer = vec![0; READ_BYTES];
        Lines { input, buffer, start: 0, seen: 0, end: 0, longest, escapes: 0, skipping: false, at_start: true, at_end: false }
    }

    /// The part of the current line that was read.
    pub(crate) fn begun(&self) -> &[u8] {
        if self.skipping { &[] } else { &self.buffer[self.start..self.end] }
    }

    /// Skips the rest of the current line.
    pub(crate) fn skip_line(&mut self) {
        self.skipping = true;
        (self.start, self.seen, self.escapes) = (self.end, self.end, 0);
    }

    /// Notes that the current line does not end in the bytes that were read.
    fn note_unfinished(&mut self) {
        if self.skipping {
            self.start = self.end;
        } else if self.end - self.start >= READ_BYTES {
            self.escapes += self.buffer[self.seen..self.end].iter().filter(|&&b| b == b'\\').count();
        }
        self.seen = self.end;
    }

    fn is_too_long(&self) -> bool {
        let length = self.end - self.start;
        length > self.longest || length.saturating_sub(5 * self.escapes) > self.longest / 3 + READ_BYTES
    }

    /// Whether the next line is the last one and has no line feed. To be called before [`Lines::next`].
    pub(crate) fn next_is_cut(&self) -> bool {
        self.at_end && self.start < self.end && !self.buffer[self.seen..self.end].contains(&b'\n')
    }

    pub(crate) fn next(&mut self) -> Next<'_> {
        if self.at_start {
            let begun = &self.buffer[self.start..self.end];
            if !self.at_end && begun.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(begun) {
                return Next::Read;
            }
            self.at_start = false;
            if begun.starts_with(BYTE_ORDER_MARK) {
                self.start += BYTE_ORDER_MARK.len();
                self.seen = self.start;
            }
        }
        let newline = self.buffer[self.seen..self.end].iter().position(|&b| b == b'\n');
        let (line, rest) = match newline {
            Some(length) => (self.start..self.seen + length, self.seen + length + 1),
            None if !self.at_end => {
                self.note_unfinished();
                if self.is_too_long() {
                    self.skip_line();
                    return Next::TooLong;
                }
                return Next::Read;
            }
            // The last line may have no line feed.
            None if self.start < self.end => (self.start..self.end, self.end),
            None => return Next::End,
        };
        (self.start, self.seen, self.escapes) = (rest, rest, 0);
        match std::mem::take(&mut self.skipping) {
            true => self.next(),
            false if line.len() > self.longest => Next::TooLong,
            false => Next::Line(&self.buffer[line]),
        }
    }

    /// Reads until [`Lines::next`] returns a line, refuses one, or finds the end.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        while !self.at_end && !self.buffer[self.seen..self.end].contains(&b'\n') {
            self.note_unfinished();
            if self.is_too_long() {
                break;
            }
            self.read()?;
        }
        Ok(())
    }

    /// Reads once. To be called after [`Next::Read`] only.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        (self.start, self.seen) = (0, self.end);
        if self.end == self.buffer.len() {
            self.buffer.resize(self.buffer.len() + self.buffer.len().min(GROW_BYTES), 0);
        }
        loop {
            match self.input.read(&mut self.buffer[self.end..]) {
                Ok(0) => self.at_end = true,
                Ok(length) => self.end += length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hands out a few bytes at a time.
    struct Drops<'a>(&'a [u8], usize);

    impl Read for Drops<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(out.len());
            out[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn lines(text: &[u8], step: usize, longest: usize) -> Vec<Option<Vec<u8>>> {
        let mut lines = Lines::new(Drops(text, step), longest);
        let mut found = Vec::new();
        loop {
            match lines.next() {
                Next::Line(line) => found.push(Some(line.to_vec())),
                Next::TooLong => found.push(None),
                Next::End => return found,
                Next::Read => lines.read().expect("memory"),
            }
        }
    }

    #[test]
    fn lines_are_the_same_however_they_arrive() {
        let text = b"one\n\ntwo three\nlast";
        for step in 1..=text.len() {
            let expected = [b"one" as &[u8], b"", b"two three", b"last"].map(|line| Some(line.to_vec()));
            assert_eq!(lines(text, step, 100), expected, "{step} at a time");
        }
        assert!(lines(b"", 1, 100).is_empty());
        assert_eq!(lines(b"\n", 1, 100), [Some(Vec::new())]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_complete() {
        for step in 1..30 {
            assert_eq!(lines(b"12345678901\nab\n12345", step, 4), [None, Some(b"ab".to_vec()), None], "{step} at a time");
        }
    }

    #[test]
    fn a_long_line_grows_the_buffer() {
        let text = vec![b'x'; 3 * READ_BYTES + 1];
        assert_eq!(lines(&text, usize::MAX, 3 * text.len()), [Some(text)]);
    }

    /// Bytes without an end, and how many were requested.
    struct Endless<'a>(&'a mut usize);

    impl Read for Endless<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            *self.0 += out.len();
            out.fill(b'x');
            Ok(out.len())
        }
    }

    #[test]
    fn a_line_without_an_end_is_refused_when_it_is_too_long() {
        const LONGEST: usize = 24 * READ_BYTES;
        let mut count = 0;
        let mut lines = Lines::new(Endless(&mut count), LONGEST);
        while matches!(lines.next(), Next::Read) {
            lines.read().expect("memory");
        }
        // From here on the line is skipped.
        let buffer = lines.buffer.len();
        (0..100).for_each(|_| {
            assert!(matches!(lines.next(), Next::Read));
            lines.read().expect("memory");
        });
        assert_eq!(lines.buffer.len(), buffer);
        assert!(buffer <= LONGEST && count < LONGEST + 110 * buffer);
        let mut lines = Lines::new(Endless(&mut count), LONGEST);
        lines.fill().expect("memory");
        assert!(matches!(lines.next(), Next::TooLong));
    }

    #[test]
    fn a_line_of_escapes_may_be_longer() {
        let text = b"\\x00".repeat(4 * READ_BYTES);
        assert_eq!(lines(&text, READ_BYTES, text.len()), [Some(text)]);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_only_at_the_start() {
        for step in 1..9 {
            let found = lines(b"\xef\xbb\xbfab\n\xef\xbb\xbfcd", step, 100);
            assert_eq!(found, [Some(b"ab".to_vec()), Some(b"\xef\xbb\xbfcd".to_vec())], "{step} at a time");
            assert_eq!(lines(b"\xef\xbb", step, 100), [Some(b"\xef\xbb".to_vec())], "{step} at a time");
            assert!(lines(b"\xef\xbb\xbf", step, 100).is_empty(), "{step} at a time");
            assert_eq!(lines(b"a\n\xef\xbb\xbf", step, 100)[1], Some(b"\xef\xbb\xbf".to_vec()), "{step} at a time");
        }
    }
}

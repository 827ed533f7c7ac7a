//! Commands from a pipe or a file: one to a line, as bytes.
//!
//! stdout is written out only before a read, which may block: a program that sends one line and
//! waits gets its answer, and a long script costs no system call for each line.

use crate::render::Place;
use crate::session::{Ending, Flow};
use crate::signals::Gate;
use kv_engine::command::{Code, CommandError, MAX_LINE_BYTES};
use std::fs::File;
use std::io::{self, Read};

const READ_BYTES: usize = 256 << 10;

/// Runs every line of `input`, which is called `name` in errors.
pub(crate) fn run(gate: &Gate, input: impl Read, name: &str) -> Flow {
    let mut lines = Lines::new(input, MAX_LINE_BYTES);
    let mut place = Place::Line { input: name.to_string(), line: 0 };
    let mut session = gate.hold();
    loop {
        let flow = match lines.next() {
            Next::Line(line) => {
                count(&mut place);
                session.line(&place, line)
            }
            Next::TooLong => {
                count(&mut place);
                let text = format!("the line is over {MAX_LINE_BYTES} bytes, more than any command has; it was not run");
                session.refuse(&place, &CommandError::new(Code::TooLong, text))
            }
            Next::End => return Flow::On,
            Next::Read => {
                session.output.flush();
                match session.next() {
                    Flow::On => {}
                    end => return end,
                }
                drop(session);
                let read = lines.read();
                session = gate.hold();
                match read {
                    Ok(()) => session.next(),
                    Err(error) => match session.unreadable(&Place::Whole(name.to_string()), &error) {
                        Flow::On => Flow::End(Ending::Input),
                        end => end,
                    },
                }
            }
        };
        if flow != Flow::On {
            return flow;
        }
    }
}

/// As [`run`], for a path.
pub(crate) fn run_file(gate: &Gate, path: &std::path::Path) -> Flow {
    let name = path.display().to_string();
    match File::open(path) {
        Ok(file) => run(gate, file, &name),
        Err(error) => match gate.hold().unreadable(&Place::Whole(name), &error) {
            Flow::On => Flow::End(Ending::Input),
            end => end,
        },
    }
}

fn count(place: &mut Place) {
    if let Place::Line { line, .. } = place {
        *line += 1;
    }
}

/// Cuts what it reads into lines, in a buffer that grows to the longest one.
pub(crate) struct Lines<R> {
    input: R,
    buffer: Vec<u8>,
    /// What was read and not handed out is `start..end`; up to `seen` there is no newline in it.
    start: usize,
    seen: usize,
    end: usize,
    longest: usize,
    /// Inside a line that is too long, of which nothing is kept.
    skipping: bool,
    at_end: bool,
}

pub(crate) enum Next<'a> {
    Line(&'a [u8]),
    TooLong,
    /// More has to be read first.
    Read,
    End,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(input: R, longest: usize) -> Lines<R> {
        let buffer = vec![0; READ_BYTES];
        Lines { input, buffer, start: 0, seen: 0, end: 0, longest, skipping: false, at_end: false }
    }

    /// What it reads from.
    pub(crate) fn input(&self) -> &R {
        &self.input
    }

    /// Whether the next line is the last, and lacks its newline. To be asked before [`Lines::next`].
    pub(crate) fn next_is_cut(&self) -> bool {
        self.at_end && self.start < self.end && !self.buffer[self.seen..self.end].contains(&b'\n')
    }

    pub(crate) fn next(&mut self) -> Next<'_> {
        let newline = self.buffer[self.seen..self.end].iter().position(|&b| b == b'\n');
        let (line, rest) = match newline {
            Some(length) => (self.start..self.seen + length, self.seen + length + 1),
            None if !self.at_end => {
                self.seen = self.end;
                return Next::Read;
            }
            // The last line may lack its newline.
            None if self.start < self.end || self.skipping => (self.start..self.end, self.end),
            None => return Next::End,
        };
        (self.start, self.seen) = (rest, rest);
        if std::mem::take(&mut self.skipping) || line.len() > self.longest {
            Next::TooLong
        } else {
            Next::Line(&self.buffer[line])
        }
    }

    /// Reads until [`Lines::next`] has a line, or the end.
    pub(crate) fn fill(&mut self) -> io::Result<()> {
        while !self.at_end && !self.buffer[self.seen..self.end].contains(&b'\n') {
            self.seen = self.end;
            self.read()?;
        }
        Ok(())
    }

    /// Reads once. Call it after [`Next::Read`] only.
    pub(crate) fn read(&mut self) -> io::Result<()> {
        if self.end - self.start > self.longest {
            self.skipping = true;
        }
        if self.skipping {
            self.start = self.end;
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        (self.start, self.seen) = (0, self.end);
        if self.end == self.buffer.len() {
            self.buffer.resize(2 * self.buffer.len(), 0);
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
    fn a_line_that_is_too_long_is_left_out_and_the_next_one_is_whole() {
        for step in 1..30 {
            assert_eq!(lines(b"12345678901\nab\n12345", step, 4), [None, Some(b"ab".to_vec()), None], "{step} at a time");
        }
    }

    #[test]
    fn a_long_line_grows_the_buffer() {
        let text = vec![b'x'; 3 * READ_BYTES + 1];
        assert_eq!(lines(&text, usize::MAX, text.len()), [Some(text)]);
    }
}

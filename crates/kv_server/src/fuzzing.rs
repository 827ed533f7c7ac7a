//! The parser of requests, as the fuzzers drive it. No part of the public interface.

use crate::limits::RequestLimits;
use crate::resp::{Parsed, Parser};

/// A parser with limits of its own.
#[derive(Debug)]
pub struct Requests {
    parser: Parser,
    limits: RequestLimits,
}

/// What came of the bytes.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// More bytes are needed.
    Incomplete,
    /// So many bytes were no command.
    Nothing(usize),
    /// So many bytes were a command with these words.
    Command(usize, Vec<Vec<u8>>),
}

impl Requests {
    /// The limits: words of a command, bytes of a word, of a command, and of a plain line.
    #[must_use]
    pub fn new(words: usize, word_bytes: usize, command_bytes: usize, inline_bytes: usize) -> Requests {
        Requests { parser: Parser::default(), limits: RequestLimits { words, word_bytes, command_bytes, inline_bytes } }
    }

    /// Reads on. `input` begins with the first byte of the command that is read.
    ///
    /// # Errors
    /// The text of the error reply.
    pub fn next(&mut self, input: &[u8]) -> Result<Next, String> {
        match self.parser.parse(input, &self.limits) {
            Ok(Parsed::Incomplete) => Ok(Next::Incomplete),
            Ok(Parsed::Nothing(bytes)) => Ok(Next::Nothing(bytes)),
            Ok(Parsed::Command(bytes)) => Ok(Next::Command(bytes, self.parser.args(input).from(0).map(<[u8]>::to_vec).collect())),
            Err(refusal) => Err(refusal.text().to_string()),
        }
    }

    /// Bytes of memory that the parser holds.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.parser.held_bytes()
    }
}

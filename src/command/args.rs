//! The words of one line, for the commands to read their arguments from.

use super::spec::{Commands, Spec};
use crate::error::{Code, CommandError};
use crate::text::displayed;
use std::borrow::Cow;

pub(crate) type Word<'a> = Cow<'a, [u8]>;

/// The words after a command's name. Their number was checked, except for a command with options.
pub(crate) struct Args<'a> {
    pub(super) spec: &'static Spec,
    /// All commands, for HELP.
    pub(super) commands: Commands,
    /// As many words as any command without options takes. Further ones are only counted.
    pub(super) words: [Word<'a>; 3],
    pub(super) count: usize,
    /// Every word of a command with options.
    pub(super) all: Vec<Word<'a>>,
}

impl<'a> Args<'a> {
    /// The first word; empty if there is none.
    pub(super) fn first(self) -> Word<'a> {
        let [first, _, _] = self.words;
        first
    }

    /// The first word, if there is one.
    pub(super) fn optional(self) -> Option<Word<'a>> {
        (self.count > 0).then(|| self.first())
    }

    /// The first word as the name of a file, if there is one. A word that looks like an option is refused: these
    /// commands have none.
    pub(super) fn file(self) -> Result<Option<Word<'a>>, CommandError> {
        let name = self.spec.name;
        let Some(word) = self.optional() else { return Ok(None) };
        let text = match &*word {
            b"" => format!("{name} takes the name of a file, got an empty word"),
            b"--help" => format!("{name} has no options; HELP {name} says more about it; a file of this name is ./--help"),
            word if word.starts_with(b"--") => {
                let word = displayed(word);
                format!("{name} has no options, got '{word}'; a file of this name is ./{word}")
            }
            _ => return Ok(Some(word)),
        };
        Err(CommandError::new(Code::BadArgument, text))
    }

    /// The first word as a number, if there is one.
    pub(super) fn optional_number(self, min: u64, max: u64) -> Result<Option<u64>, CommandError> {
        let name = self.spec.name;
        self.optional().map(|word| number(name, &word, min, max)).transpose()
    }
}

/// A whole number in decimal digits. `what` takes it: a command, or a part of one.
pub(super) fn number(what: &str, word: &[u8], min: u64, max: u64) -> Result<u64, CommandError> {
    let digits = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).filter(|n| (min..=max).contains(n)).ok_or_else(|| {
        let text = format!("{what} takes a whole number from {min} to {max}, got '{}'", displayed(word));
        CommandError::new(Code::BadNumber, text)
    })
}

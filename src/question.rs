//! A question to the person at the prompt, to be answered with yes or no.
//!
//! It is written to the terminal itself, as the prompt is, so it is seen also if stdout goes to a file. Everything but
//! `y` or `yes` means no: Enter, the end of the input, Ctrl-C, and a signal that ends the process. The terminal is not
//! in the mode of the line editor while a command runs, so it hands over whole lines.

use crate::signals::{Flags, tell};
use crate::streams::{Patient, stdin, wait_unless};
use crate::text::{columns, fit, safe};
use std::io::{self, Read};

/// Columns that the answer needs: a blank, and `yes`.
const ANSWER: usize = 4;

/// Asks, and waits for the answer.
pub(crate) fn confirm(question: &str, flags: &Flags) -> bool {
    let question = fit(&format!("{} [y/N]", safe(question)), columns(io::stdin()).saturating_sub(ANSWER), 2);
    tell(&format!("{question} "));
    let answer = stdin().and_then(|stdin| line(stdin, flags)).unwrap_or_default();
    // Only Enter ends the line on the screen.
    if !answer.ends_with(b"\n") {
        tell("\n");
    }
    is_yes(&answer)
}

fn line(stdin: std::fs::File, flags: &Flags) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut input = Patient(stdin);
    while !line.ends_with(b"\n") && wait_unless(&input.0, || flags.interrupted())? {
        let mut part = [0; 256];
        match input.read(&mut part)? {
            0 => break,
            count => line.extend_from_slice(&part[..count]),
        }
    }
    Ok(line)
}

fn is_yes(answer: &[u8]) -> bool {
    let answer = answer.trim_ascii();
    [&b"y"[..], b"yes"].iter().any(|yes| answer.eq_ignore_ascii_case(yes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_yes_is_yes() {
        assert!(["y\n", "Y\r\n", " yes \n"].iter().all(|answer| is_yes(answer.as_bytes())));
        assert!(!["", "\n", "n\n", "no\n", "yep\n", "PUT y 1\n"].iter().any(|answer| is_yes(answer.as_bytes())));
    }
}

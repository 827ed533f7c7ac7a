//! The reference for the words of a line: the quoting rules as the documents describe them, one byte at a time. It
//! shares no code with the shell.

use kv_cli::command::Code;

/// Why a line cannot be split into words, and the column where that is found, from 1.
pub type Wrong = (Code, usize);

/// The words of a line; none if it is blank or a comment.
///
/// # Errors
/// A quote or an escape is wrong.
pub fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, Wrong> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let blank = |at: usize| matches!(line.get(at), Some(b' ' | b'\t'));
    let ends = |at: usize| at >= line.len() || blank(at);
    let mut at = 0;
    while blank(at) {
        at += 1;
    }
    for prompt in ["kv>", "kv*>", "kv!>"] {
        if line[at..].starts_with(prompt.as_bytes()) && ends(at + prompt.len()) {
            at += prompt.len();
            break;
        }
    }
    let mut words = Vec::new();
    loop {
        while blank(at) {
            at += 1;
        }
        let open = at;
        let quote = match line.get(at) {
            None => return Ok(words),
            Some(b'#') if words.is_empty() || ends(at + 1) => return Ok(words),
            Some(&quote @ (b'"' | b'\'')) => quote,
            Some(_) => {
                while !ends(at) {
                    at += 1;
                }
                words.push(line[open..at].to_vec());
                continue;
            }
        };
        let mut word = Vec::new();
        loop {
            at += 1;
            match *line.get(at).ok_or((Code::UnfinishedQuote, open + 1))? {
                byte if byte == quote => break,
                b'\\' if quote == b'"' => {
                    at += 1;
                    word.push(match line.get(at).ok_or((Code::UnfinishedQuote, open + 1))? {
                        b'n' => 10,
                        b'r' => 13,
                        b't' => 9,
                        b'0' => 0,
                        &byte @ (b'\\' | b'"') => byte,
                        b'x' => {
                            let digit = |at: usize| (*line.get(at)? as char).to_digit(16);
                            at += 2;
                            let byte = digit(at - 1).zip(digit(at)).map(|(high, low)| high * 16 + low);
                            byte.ok_or((Code::BadEscape, at - 2))? as u8
                        }
                        _ => return Err((Code::BadEscape, at)),
                    });
                }
                byte => word.push(byte),
            }
        }
        at += 1;
        if !ends(at) {
            return Err((Code::BadQuote, at + 1));
        }
        words.push(word);
    }
}

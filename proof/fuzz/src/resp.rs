//! What clients send to the server: arrays of bulk strings and plain lines, in pieces.
//!
//! - The commands are the same wherever the bytes are split.
//! - An array is read as the crate `redis-protocol` reads it. That crate takes other spellings as well. The parser must
//!   take what is spelled as clients spell it, and nothing else.
//! - A plain line has the words that a simple reader of lines finds.
//! - A length over a limit is refused when it is announced, before the bytes come.
//! - The parser holds no more memory than its input justifies.

// The second reader of lines is that of the server's tests.
#[path = "../../../crates/kv_server/tests/support/requests.rs"]
#[allow(dead_code)]
mod requests;

use crate::bounded;
use kv_server::fuzzing::{Next, Requests};
use redis_protocol::resp2::decode::decode;
use redis_protocol::resp2::types::OwnedFrame;
use requests::{Command, words_of};

/// The limits: words of a command, bytes of a word, of a command, and of a plain line.
#[derive(Clone, Copy)]
struct Limits {
    words: usize,
    word: usize,
    command: usize,
    line: usize,
}

const WIDE: Limits = Limits { words: 1 << 20, word: 256 << 20, command: 1 << 30, line: 64 << 10 };
/// So small that short inputs reach them.
const NARROW: Limits = Limits { words: 4, word: 12, command: 60, line: 30 };

/// Memory of a parser that does not depend on its input.
const FIXED_BYTES: usize = 4 << 10;

/// Reads the requests. The first bytes choose the limits and where the input is split.
pub fn run(data: &[u8]) {
    let Some((&[limits, first, second, third], stream)) = data.split_first_chunk() else { return };
    let limits = if limits & 1 == 0 { WIDE } else { NARROW };
    bounded(stream.len(), || {
        let whole = commands(&[stream], limits);
        let mut cuts = [first, second, third].map(|at| usize::from(at) % (stream.len() + 1));
        cuts.sort_unstable();
        let [first, second, third] = cuts;
        let pieces = [&stream[..first], &stream[first..second], &stream[second..third], &stream[third..]];
        assert_eq!(commands(&pieces, limits), whole, "the bytes are split at {cuts:?}");
        assert_eq!(commands(&stream.chunks(1).collect::<Vec<_>>(), limits), whole, "each byte comes alone");
        agrees(stream, limits);
    });
}

fn parser(limits: Limits) -> Requests {
    Requests::new(limits.words, limits.word, limits.command, limits.line)
}

/// The commands in `pieces`, which come one after the other, and whether an error ends them. Its text may differ: of
/// two limits that are passed at once, one is found first.
fn commands(pieces: &[&[u8]], limits: Limits) -> (Vec<Command>, bool) {
    let (mut parser, mut unread, mut commands) = (parser(limits), Vec::new(), Vec::new());
    for piece in pieces {
        unread.extend_from_slice(piece);
        loop {
            let next = parser.next(&unread);
            assert!(parser.held_bytes() <= 3 * unread.len() + FIXED_BYTES, "{} B are held", parser.held_bytes());
            match next {
                Ok(Next::Incomplete) => break,
                Ok(Next::Nothing(bytes)) => drop(unread.drain(..bytes)),
                Ok(Next::Command(bytes, words)) => {
                    commands.push(words);
                    unread.drain(..bytes);
                }
                Err(_) => return (commands, true),
            }
        }
    }
    (commands, false)
}

/// Compares each command with the other readers.
fn agrees(stream: &[u8], limits: Limits) {
    let mut parser = parser(limits);
    let mut rest = stream;
    while !rest.is_empty() {
        let next = parser.next(rest);
        if rest[0] == b'*' {
            check_array(rest, &next, limits);
        } else {
            check_line(rest, &next, limits);
        }
        match next {
            Ok(Next::Command(bytes, _) | Next::Nothing(bytes)) => rest = &rest[bytes..],
            Ok(Next::Incomplete) | Err(_) => return,
        }
    }
}

fn check_array(rest: &[u8], next: &Result<Next, String>, limits: Limits) {
    let reference = match decode(rest) {
        Ok(Some((OwnedFrame::Array(frames), bytes))) => {
            let words = frames.into_iter().map(|frame| match frame {
                OwnedFrame::BulkString(word) => Some(word),
                _ => None,
            });
            words.collect::<Option<Command>>().map(|words| (words, bytes))
        }
        _ => None,
    };
    if let Ok(Next::Command(bytes, words)) = next {
        assert_eq!(reference.as_ref(), Some(&(words.clone(), *bytes)), "redis-protocol reads another command");
        assert!(encoded(words) == rest[..*bytes], "these bytes are not how a client sends {words:?}");
        assert!(words.len() <= limits.words && words.iter().all(|word| word.len() <= limits.word) && *bytes <= limits.command);
        return;
    }
    let is_usual = |(words, bytes): &(Command, usize)| encoded(words) == rest[..*bytes];
    let Some((words, bytes)) = reference.filter(is_usual) else { return };
    if words.is_empty() {
        assert_eq!(*next, Ok(Next::Nothing(bytes)));
        return;
    }
    // It is a command as everybody spells it, so a limit is the only reason to refuse it.
    let over = over_limit(&words, limits).unwrap_or_else(|| panic!("{next:?} instead of {words:?}"));
    assert!(next.is_err(), "{next:?}, but a limit is passed at byte {over}");
    let before = parser(limits).next(&rest[..over - 1]);
    assert!(before == Ok(Next::Incomplete) || over > limits.command, "refused before the limit is passed");
    assert!(parser(limits).next(&rest[..over]).is_err(), "not refused when the length is announced");
}

fn encoded(words: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        bytes.extend(format!("${}\r\n", word.len()).bytes().chain(word.iter().copied()).chain(*b"\r\n"));
    }
    bytes
}

/// The number of bytes with which the first length over a limit is announced.
fn over_limit(words: &[Vec<u8>], limits: Limits) -> Option<usize> {
    let mut at = format!("*{}\r\n", words.len()).len();
    if words.len() > limits.words {
        return Some(at);
    }
    for word in words {
        at += format!("${}\r\n", word.len()).len();
        if word.len() > limits.word || at + word.len() + 2 > limits.command {
            return Some(at);
        }
        at += word.len() + 2;
    }
    None
}

fn check_line(rest: &[u8], next: &Result<Next, String>, limits: Limits) {
    let end = rest.iter().position(|&byte| byte == b'\n');
    match end {
        None if rest.len() > limits.line => assert!(next.is_err(), "a long line is not refused"),
        None => assert_eq!(*next, Ok(Next::Incomplete)),
        Some(end) if end > limits.line => assert!(next.is_err(), "a long line is not refused"),
        Some(end) => match words_of(rest[..end].strip_suffix(b"\r").unwrap_or(&rest[..end])) {
            None => assert!(next.is_err(), "quotes are not closed, but {next:?}"),
            Some(words) if words.len() > limits.words => assert!(next.is_err(), "too many words are not refused"),
            Some(words) if words.is_empty() => assert_eq!(*next, Ok(Next::Nothing(end + 1))),
            Some(words) => assert_eq!(*next, Ok(Next::Command(end + 1, words))),
        },
    }
}

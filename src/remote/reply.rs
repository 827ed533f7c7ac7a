//! [`Reply`]: what a server answers, in RESP3 or RESP2, and reading it from a [`Wire`].
//!
//! A length is checked before it is used, and memory grows only with the bytes that have come. So another program at
//! this address, or a broken server, costs no more memory than it has sent.

use super::wire::{Patience, Trouble, Wire};

/// A longer first line is no reply. A refusal may quote some words of the request.
const LINE_BYTES: usize = 64 << 10;
/// The server refuses a longer reply.
const BULK_BYTES: usize = 1 << 30;
const ITEMS: usize = 1 << 24;
const DEPTH: usize = 8;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    Null,
    /// A status, a number, or a string.
    Bytes(Vec<u8>),
    /// A refusal; its first word is its code.
    Error(String),
    /// A list, or a map as its keys and values in turn.
    List(Vec<Reply>),
}

impl Reply {
    /// A number, a status or a string as text.
    pub(crate) fn text(&self) -> Option<&str> {
        if let Reply::Bytes(bytes) = self { std::str::from_utf8(bytes).ok() } else { None }
    }

    /// A whole number.
    pub(crate) fn number(&self) -> Option<u64> {
        self.text()?.parse().ok()
    }
}

/// The beginning of a reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Begin {
    Whole(Reply),
    /// So many bytes follow, and a line end. A text with its format has the format before it.
    Bytes(usize, bool),
    BytesOfError(usize),
    /// So many replies follow.
    List(usize),
    /// So many replies follow, which are not the answer.
    Aside(usize),
}

fn nonsense(what: &str) -> Trouble {
    Trouble::Lost(format!("the other end does not speak the protocol of Redis: {what}"))
}

/// Reads the first line of a reply.
pub(super) fn begin(wire: &mut Wire, patience: &mut Patience) -> Result<Begin, Trouble> {
    let mut looked_at = 0;
    let end = loop {
        let input = wire.input();
        match input[looked_at..].iter().position(|&byte| byte == b'\n') {
            Some(at) => break looked_at + at,
            None if input.len() > LINE_BYTES => return Err(nonsense("its line is too long")),
            None => looked_at = input.len(),
        }
        wire.fill(patience)?;
    };
    let line = wire.input()[..end].to_vec();
    wire.take(end + 1);
    let [kind, text @ .., b'\r'] = &line[..] else { return Err(nonsense("its line has no end")) };
    let text = text.to_vec();
    let length = |most: usize| -> Result<Option<usize>, Trouble> {
        if text == b"-1" {
            return Ok(None);
        }
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.parse::<usize>().ok());
        number.filter(|number| *number <= most).map(Some).ok_or_else(|| nonsense("a length is none, or is too large"))
    };
    let or_null = |begin: fn(usize) -> Begin, length: Option<usize>| length.map_or(Begin::Whole(Reply::Null), begin);
    Ok(match kind {
        b'+' | b':' | b',' | b'(' | b'#' => Begin::Whole(Reply::Bytes(text)),
        b'-' => Begin::Whole(Reply::Error(String::from_utf8_lossy(&text).into_owned())),
        b'_' => Begin::Whole(Reply::Null),
        b'$' => or_null(|bytes| Begin::Bytes(bytes, false), length(BULK_BYTES)?),
        b'=' => or_null(|bytes| Begin::Bytes(bytes, true), length(BULK_BYTES)?),
        b'!' => or_null(Begin::BytesOfError, length(LINE_BYTES)?),
        b'*' | b'~' => or_null(Begin::List, length(ITEMS)?),
        b'%' => or_null(|pairs| Begin::List(2 * pairs), length(ITEMS)?),
        b'>' => or_null(Begin::Aside, length(ITEMS)?),
        b'|' => or_null(|pairs| Begin::Aside(2 * pairs), length(ITEMS)?),
        _ => return Err(nonsense("a reply begins with an unknown byte")),
    })
}

/// Reads one reply.
pub(super) fn read(wire: &mut Wire, patience: &mut Patience) -> Result<Reply, Trouble> {
    read_within(DEPTH, wire, patience)
}

fn read_within(depth: usize, wire: &mut Wire, patience: &mut Patience) -> Result<Reply, Trouble> {
    let Some(deeper) = depth.checked_sub(1) else { return Err(nonsense("a reply is too deep")) };
    loop {
        match begin(wire, patience)? {
            Begin::Whole(reply) => return Ok(reply),
            Begin::Bytes(length, false) => return Ok(Reply::Bytes(bytes(length, wire, patience)?)),
            // `txt:` and the text.
            Begin::Bytes(length, true) => {
                let text = bytes(length, wire, patience)?;
                return Ok(Reply::Bytes(text.get(4..).unwrap_or_default().to_vec()));
            }
            Begin::BytesOfError(length) => {
                return Ok(Reply::Error(String::from_utf8_lossy(&bytes(length, wire, patience)?).into_owned()));
            }
            Begin::List(count) => {
                let mut items = Vec::new();
                for _ in 0..count {
                    items.push(read_within(deeper, wire, patience)?);
                }
                return Ok(Reply::List(items));
            }
            Begin::Aside(count) => {
                for _ in 0..count {
                    read_within(deeper, wire, patience)?;
                }
            }
        }
    }
}

/// Takes so many bytes and the line end behind them.
fn bytes(length: usize, wire: &mut Wire, patience: &mut Patience) -> Result<Vec<u8>, Trouble> {
    let mut bytes = Vec::new();
    loop {
        let some = wire.input().len().min(length - bytes.len());
        bytes.extend_from_slice(&wire.input()[..some]);
        wire.take(some);
        if bytes.len() == length && wire.input().len() >= 2 {
            break;
        }
        wire.fill(patience)?;
    }
    if !wire.input().starts_with(b"\r\n") {
        return Err(nonsense("a string is longer than it says"));
    }
    wire.take(2);
    Ok(bytes)
}

/// Adds one request.
pub(super) fn write(words: &[&[u8]], out: &mut Vec<u8>) {
    out.extend_from_slice(format!("*{}\r\n", words.len()).as_bytes());
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::net::UnixStream;
    use std::time::Duration;

    /// The first replies of the other end, which sends these bytes in pieces of this length, and closes.
    fn answers(sent: &[u8], piece: usize, count: usize) -> Result<Vec<Reply>, Trouble> {
        let (ours, mut theirs) = UnixStream::pair().expect("sockets");
        ours.set_nonblocking(true).expect("a mode");
        let pieces: Vec<Vec<u8>> = sent.chunks(piece).map(<[u8]>::to_vec).collect();
        let sender = std::thread::spawn(move || pieces.iter().try_for_each(|piece| theirs.write_all(piece)));
        let mut wire = Wire::new(Box::new(ours));
        let mut patience = Patience::for_most(Duration::from_secs(60));
        let all = (0..count).map(|_| read(&mut wire, &mut patience)).collect();
        drop(wire);
        let _ = sender.join().expect("no panic");
        all
    }

    #[test]
    fn replies_of_both_protocols_are_read_in_any_pieces() {
        let sent =
            b"+OK\r\n:12\r\n$-1\r\n_\r\n$3\r\na\r\n\r\n$0\r\n\r\n*2\r\n$1\r\nx\r\n*-1\r\n%1\r\n+k\r\n#t\r\n=6\r\ntxt:ab\r\n\
            >1\r\n+aside\r\n|1\r\n+a\r\n+b\r\n!5\r\nERR x\r\n-NOSPACE full\r\n,1.5\r\n";
        let text = |text: &str| Reply::Bytes(text.into());
        let expected = vec![
            text("OK"),
            text("12"),
            Reply::Null,
            Reply::Null,
            text("a\r\n"),
            text(""),
            Reply::List(vec![text("x"), Reply::Null]),
            Reply::List(vec![text("k"), text("t")]),
            text("ab"),
            Reply::Error("ERR x".into()),
            Reply::Error("NOSPACE full".into()),
            text("1.5"),
        ];
        for piece in [1, 2, 7, sent.len()] {
            assert_eq!(answers(sent, piece, expected.len()).expect("replies"), expected, "pieces of {piece} bytes");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let long = [&b"+"[..], &vec![b'x'; 2 * LINE_BYTES]].concat();
        let deep = b"*1\r\n".repeat(DEPTH + 1);
        for sent in [
            &b"HTTP/1.1 400 Bad Request\r\n"[..],
            b"+OK\n",
            b"$1073741825\r\n",
            b"$x\r\n",
            b"*-2\r\n",
            b"$2\r\nabc\r\n",
            &long,
            &deep,
        ] {
            let Err(Trouble::Lost(text)) = answers(sent, 4096, 1) else { panic!("{sent:?} was taken for a reply") };
            assert!(text.starts_with("the other end does not speak"), "{text}");
        }
        assert!(matches!(answers(b"$5\r\nab", 64, 1), Err(Trouble::Lost(text)) if text == "the server closed it"));
    }

    /// Neither side may wait for the other while both buffers are full.
    #[test]
    fn a_long_request_is_sent_while_its_answers_are_read() {
        const COUNT: usize = 200_000;
        let (ours, theirs) = UnixStream::pair().expect("sockets");
        ours.set_nonblocking(true).expect("a mode");
        let echo = std::thread::spawn(move || {
            let (mut from, mut to) = (theirs.try_clone().expect("a socket"), theirs);
            std::io::copy(&mut from, &mut to)
        });
        let mut wire = Wire::new(Box::new(ours));
        let value = [b'v'; 64];
        (0..COUNT).for_each(|_| write(&[&value], wire.output()));
        let mut patience = Patience::for_most(Duration::from_secs(60));
        for n in 0..COUNT {
            let reply = read(&mut wire, &mut patience).expect("the request comes back");
            assert_eq!(reply, Reply::List(vec![Reply::Bytes(value.to_vec())]), "{n}");
        }
        drop(wire);
        let _ = echo.join().expect("no panic");
    }
}

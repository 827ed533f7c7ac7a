//! What clients send, read a second time, and as simply as possible: a stream that is complete becomes commands and
//! perhaps an error. The fuzz target `resp` and the rung `bad-clients` use this file too.

/// The words of one command.
pub type Command = Vec<Vec<u8>>;

/// What a server must find in a stream after which nothing comes.
#[derive(Debug, PartialEq, Eq)]
pub struct Requests {
    pub commands: Vec<Command>,
    /// The rest is no command, and its first bytes are enough to know that.
    pub is_bad: bool,
}

const MOST_WORDS: usize = 1 << 20;
const LONGEST_WORD: usize = 256 << 20;
const LONGEST_COMMAND: usize = 1 << 30;
const LONGEST_LINE: usize = 64 << 10;

/// One request at the beginning of a stream.
enum One {
    /// Its words and its length. There may be no words.
    Whole(Command, usize),
    Unfinished,
    Bad,
}

pub fn read(mut stream: &[u8]) -> Requests {
    let mut commands = Vec::new();
    loop {
        match if stream.first() == Some(&b'*') { array(stream) } else { line(stream) } {
            One::Unfinished => return Requests { commands, is_bad: false },
            One::Bad => return Requests { commands, is_bad: true },
            One::Whole(words, bytes) => {
                stream = &stream[bytes..];
                if !words.is_empty() {
                    commands.push(words);
                }
            }
        }
    }
}

/// The number behind the first byte, and the length of its line.
fn number(stream: &[u8]) -> Result<(Option<i64>, usize), One> {
    let line = stream.get(1..).unwrap_or_default();
    let Some(end) = line.iter().take(LONGEST_LINE).position(|&byte| byte == b'\r') else {
        return Err(if line.len() >= LONGEST_LINE { One::Bad } else { One::Unfinished });
    };
    let text = std::str::from_utf8(&line[..end]).unwrap_or("x");
    // The only spelling of a number.
    let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    match line.get(end + 1) {
        None => Err(One::Unfinished),
        Some(b'\n') => Ok((number, end + 3)),
        Some(_) => Err(One::Bad),
    }
}

fn array(stream: &[u8]) -> One {
    let (count, mut at) = match number(stream) {
        Ok(read) => read,
        Err(other) => return other,
    };
    let Some(count) = count.filter(|&count| count <= MOST_WORDS as i64) else { return One::Bad };
    let mut words = Vec::new();
    for _ in 0..count {
        match stream.get(at) {
            None => return One::Unfinished,
            Some(b'$') => {}
            Some(_) => return One::Bad,
        }
        let (len, bytes) = match number(&stream[at..]) {
            Ok(read) => read,
            Err(other) => return other,
        };
        at += bytes;
        let len = len.and_then(|len| usize::try_from(len).ok()).filter(|&len| len <= LONGEST_WORD);
        let Some(len) = len.filter(|len| at + len + 2 <= LONGEST_COMMAND) else { return One::Bad };
        match stream.get(at + len..at + len + 2) {
            None => return One::Unfinished,
            Some(b"\r\n") => {}
            Some(_) => return One::Bad,
        }
        words.push(stream[at..at + len].to_vec());
        at += len + 2;
    }
    One::Whole(words, at)
}

fn line(stream: &[u8]) -> One {
    let Some(end) = stream.iter().take(LONGEST_LINE + 1).position(|&byte| byte == b'\n') else {
        return if stream.len() > LONGEST_LINE { One::Bad } else { One::Unfinished };
    };
    let line = stream[..end].strip_suffix(b"\r").unwrap_or(&stream[..end]);
    words_of(line).map_or(One::Bad, |words| One::Whole(words, end + 1))
}

/// The words of a line, with its quotes and escapes. `None`: a quote is not closed, or is closed inside a word, or a
/// null byte would end the line for Redis.
pub fn words_of(line: &[u8]) -> Option<Command> {
    if line.contains(&0) {
        return None;
    }
    let is_blank = |byte: &u8| b" \t\n\x0b\x0c\r".contains(byte);
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let (mut words, mut at) = (Vec::new(), 0);
    loop {
        while line.get(at).is_some_and(is_blank) {
            at += 1;
        }
        if at >= line.len() {
            return Some(words);
        }
        let (mut word, mut quote) = (Vec::new(), None);
        loop {
            let is_escape = line.get(at) == Some(&b'\\');
            match (quote, line.get(at)) {
                (None, None | Some(b' ' | b'\t' | b'\n' | b'\r')) => break,
                (None, Some(&byte @ (b'"' | b'\''))) => quote = Some(byte),
                (Some(_), None) => return None,
                (Some(b'"'), _)
                    if is_escape && line.get(at + 1) == Some(&b'x') && is_hex(line.get(at + 2)) && is_hex(line.get(at + 3)) =>
                {
                    word.push(u8::from_str_radix(std::str::from_utf8(&line[at + 2..at + 4]).ok()?, 16).ok()?);
                    at += 3;
                }
                (Some(b'"'), _) if is_escape && at + 1 < line.len() => {
                    at += 1;
                    word.push(match line[at] {
                        b'n' => b'\n',
                        b'r' => b'\r',
                        b't' => b'\t',
                        b'b' => 8,
                        b'a' => 7,
                        other => other,
                    });
                }
                (Some(b'\''), _) if is_escape && line.get(at + 1) == Some(&b'\'') => {
                    at += 1;
                    word.push(b'\'');
                }
                (Some(open), Some(byte)) if open == *byte => {
                    if line.get(at + 1).is_some_and(|next| !is_blank(next)) {
                        return None;
                    }
                    at += 1;
                    break;
                }
                (_, Some(&byte)) => word.push(byte),
            }
            at += 1;
        }
        words.push(word);
    }
}

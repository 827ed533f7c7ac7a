//! The parser of requests. It takes bytes as they come and gives whole commands.
//!
//! A request is an array of bulk strings, `*2\r\n$3\r\nGET\r\n$1\r\nx\r\n`, or a plain line, `GET x\r\n`.
//!
//! - The parser copies nothing: a command is a list of places in the caller's bytes. A plain line with quotes is the
//!   exception. Its words are copied, because they may have escapes.
//! - It goes on where it stopped. The caller keeps the bytes of an unfinished command and passes them again, with more
//!   behind them.
//! - Every limit is checked when a length is announced, before the bytes come. Nothing is allocated for an announced
//!   length: the list of places grows with the words that have come.
//! - After an error the bytes that follow have no meaning. The connection answers the error and closes.

use super::number::integer;
use crate::limits::RequestLimits;
use crate::refusal::Refusal;

/// Where a word is: from, to.
pub(crate) type Span = (u32, u32);

/// The words of one command; the first is its name.
#[derive(Clone, Copy)]
pub(crate) struct Args<'a> {
    bytes: &'a [u8],
    spans: &'a [Span],
}

impl<'a> Args<'a> {
    pub(crate) fn new(bytes: &'a [u8], spans: &'a [Span]) -> Args<'a> {
        Args { bytes, spans }
    }

    pub(crate) fn len(self) -> usize {
        self.spans.len()
    }

    pub(crate) fn get(self, n: usize) -> Option<&'a [u8]> {
        let &(from, to) = self.spans.get(n)?;
        Some(&self.bytes[from as usize..to as usize])
    }

    /// The `n`th word. The arity of the command promises that it exists; if it does not, it is empty.
    pub(crate) fn at(self, n: usize) -> &'a [u8] {
        self.get(n).unwrap_or_default()
    }

    pub(crate) fn from(self, n: usize) -> impl ExactSizeIterator<Item = &'a [u8]> + Clone {
        let bytes = self.bytes;
        self.spans[n.min(self.spans.len())..].iter().map(move |&(from, to)| &bytes[from as usize..to as usize])
    }

    /// The words in memory of their own.
    pub(crate) fn to_owned(self) -> (Box<[u8]>, Box<[Span]>) {
        let mut bytes = Vec::with_capacity(self.from(0).map(<[u8]>::len).sum());
        let spans = self.from(0).map(|word| {
            let from = bytes.len();
            bytes.extend_from_slice(word);
            span(from, bytes.len())
        });
        let spans = spans.collect();
        (bytes.into(), spans)
    }
}

/// Commands are at most 1 GiB long.
fn span(from: usize, to: usize) -> Span {
    let place = |at: usize| u32::try_from(at).unwrap_or(u32::MAX);
    (place(from), place(to))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Parsed {
    /// More bytes are needed.
    Incomplete,
    /// These bytes were no command: an empty line or an empty array.
    Nothing(usize),
    /// The next command takes these bytes; [`Parser::args`] has it.
    Command(usize),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Start,
    /// So many words are still to come.
    Words(usize),
    /// The word of this length, then so many more.
    Word { bytes: usize, more: usize },
    /// A command is complete; the next call begins a new one.
    Done,
}

#[derive(Debug, Default)]
pub(crate) struct Parser {
    state: State,
    /// Bytes of this command that were read.
    at: usize,
    spans: Vec<Span>,
    /// The words of a plain line.
    line: Vec<u8>,
    is_line: bool,
}

/// A list of places that is longer is given back after the command.
const KEPT_SPANS: usize = 64;

impl Parser {
    /// Reads on. `input` begins with the first byte of the command that is read.
    ///
    /// # Errors
    /// The bytes are no request, or over a limit.
    pub(crate) fn parse(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Parsed, Refusal> {
        if self.state == State::Done {
            self.restart();
        }
        match self.read(input, limits)? {
            Parsed::Incomplete if input.len() >= limits.command_bytes => {
                Err(Refusal::protocol(&format!("the command is longer than {} bytes", limits.command_bytes)))
            }
            parsed => Ok(parsed),
        }
    }

    fn read(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Parsed, Refusal> {
        loop {
            match self.state {
                State::Start | State::Done => match input.first() {
                    None => return Ok(Parsed::Incomplete),
                    Some(b'*') => {
                        let Some((count, next)) = length(input, 1, "mbulk")? else { return Ok(Parsed::Incomplete) };
                        let most = i64::try_from(limits.words).unwrap_or(i64::MAX);
                        let Some(count) = count.filter(|count| *count <= most) else {
                            let known = *limits != RequestLimits::UNKNOWN_CLIENT;
                            return Err(Refusal::protocol(match (known, count) {
                                (false, Some(_)) => "unauthenticated multibulk length",
                                _ => "invalid multibulk length",
                            }));
                        };
                        let Ok(count @ 1..) = usize::try_from(count) else { return Ok(Parsed::Nothing(next)) };
                        (self.at, self.state) = (next, State::Words(count));
                    }
                    Some(_) => return self.parse_line(input, limits),
                },
                State::Words(0) => {
                    self.state = State::Done;
                    return Ok(Parsed::Command(self.at));
                }
                State::Words(more) => {
                    match input.get(self.at) {
                        None => return Ok(Parsed::Incomplete),
                        Some(b'$') => {}
                        Some(&other) => {
                            return Err(Refusal::protocol(&format!("expected '$', got '{}'", char::from(other))));
                        }
                    }
                    let Some((bytes, next)) = length(input, self.at + 1, "bulk")? else { return Ok(Parsed::Incomplete) };
                    let Some(bytes) = bytes.and_then(|bytes| usize::try_from(bytes).ok()) else {
                        return Err(Refusal::protocol("invalid bulk length"));
                    };
                    if bytes > limits.word_bytes {
                        let known = *limits != RequestLimits::UNKNOWN_CLIENT;
                        return Err(Refusal::protocol(if known { "invalid bulk length" } else { "unauthenticated bulk length" }));
                    }
                    if next + bytes + 2 > limits.command_bytes {
                        return Err(Refusal::protocol(&format!("the command is longer than {} bytes", limits.command_bytes)));
                    }
                    (self.at, self.state) = (next, State::Word { bytes, more: more - 1 });
                }
                State::Word { bytes, more } => {
                    let end = self.at + bytes;
                    match input.get(end..end + 2) {
                        None => return Ok(Parsed::Incomplete),
                        Some(b"\r\n") => {}
                        Some(_) => return Err(Refusal::protocol("expected CRLF behind a bulk string")),
                    }
                    self.spans.push(span(self.at, end));
                    (self.at, self.state) = (end + 2, State::Words(more));
                }
            }
        }
    }

    fn parse_line(&mut self, input: &[u8], limits: &RequestLimits) -> Result<Parsed, Refusal> {
        let known = &input[..input.len().min(limits.inline_bytes + 1)];
        let Some(end) = memchr::memchr(b'\n', &known[self.at..]).map(|at| self.at + at) else {
            self.at = known.len();
            let is_long = input.len() > limits.inline_bytes;
            return if is_long { Err(Refusal::protocol("too big inline request")) } else { Ok(Parsed::Incomplete) };
        };
        self.at = end + 1;
        let line = input[..end].strip_suffix(b"\r").unwrap_or(&input[..end]);
        if line.contains(&0) {
            return Err(Refusal::protocol("null byte in an inline request"));
        }
        self.split(line).ok_or(Refusal::protocol("unbalanced quotes in request"))?;
        if self.spans.len() > limits.words {
            return Err(Refusal::protocol("too many words in an inline request"));
        }
        (self.is_line, self.state) = (true, State::Done);
        Ok(if self.spans.is_empty() { Parsed::Nothing(self.at) } else { Parsed::Command(self.at) })
    }

    /// Splits a line as the prompt of redis-cli does: words in "double quotes" have escapes, words in 'single quotes'
    /// only `\'`. `None`: a quote is not closed, or is followed by something other than a blank.
    fn split(&mut self, line: &[u8]) -> Option<()> {
        let mut rest = behind_blanks(line);
        while !rest.is_empty() {
            let from = self.line.len();
            let mut quote = None;
            loop {
                let Some((&byte, behind)) = rest.split_first() else {
                    if quote.is_some() {
                        return None;
                    }
                    break;
                };
                rest = behind;
                match (quote, byte) {
                    (None, b' ' | b'\t' | b'\r' | b'\n') => break,
                    (None, b'"' | b'\'') => quote = Some(byte),
                    (Some(b'"'), b'\\') => rest = self.escape(rest)?,
                    (Some(b'\''), b'\\') if rest.first() == Some(&b'\'') => {
                        self.line.push(b'\'');
                        rest = &rest[1..];
                    }
                    (Some(open), _) if open == byte => {
                        if rest.first().is_some_and(|&next| !is_blank(next)) {
                            return None;
                        }
                        break;
                    }
                    _ => self.line.push(byte),
                }
            }
            self.spans.push(span(from, self.line.len()));
            rest = behind_blanks(rest);
        }
        Some(())
    }

    /// One escape of a word in double quotes, without its backslash. The bytes behind it, or `None` if there are none.
    fn escape<'a>(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let digit = |at: usize| rest.get(at).and_then(|&digit| char::from(digit).to_digit(16));
        if let (Some(b'x'), Some(high), Some(low)) = (rest.first(), digit(1), digit(2)) {
            self.line.push(u8::try_from(high << 4 | low).unwrap_or_default());
            return Some(&rest[3..]);
        }
        let (&byte, rest) = rest.split_first()?;
        self.line.push(match byte {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'b' => 8,
            b'a' => 7,
            other => other,
        });
        Some(rest)
    }

    /// The command that [`Parser::parse`] has just found in `input`.
    pub(crate) fn args<'a>(&'a self, input: &'a [u8]) -> Args<'a> {
        Args::new(if self.is_line { &self.line } else { input }, &self.spans)
    }

    #[cfg(feature = "fuzzing")]
    pub(crate) fn held_bytes(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.line.capacity()
    }

    /// Forgets the command that was read. The next call begins with a first byte.
    pub(crate) fn restart(&mut self) {
        self.spans.clear();
        self.line.clear();
        if self.spans.capacity() > KEPT_SPANS {
            self.spans = Vec::new();
        }
        if self.line.capacity() > KEPT_SPANS {
            self.line = Vec::new();
        }
        (self.state, self.at, self.is_line) = (State::Start, 0, false);
    }
}

/// As the function `isspace` of C.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn behind_blanks(line: &[u8]) -> &[u8] {
    let blanks = line.iter().take_while(|&&byte| is_blank(byte)).count();
    &line[blanks..]
}

/// The longest line with a length, as in Redis.
const LENGTH_LINE_BYTES: usize = 64 << 10;

/// The length that is announced at `at`, and where the next line begins; `None` if its line is not complete. The length
/// is `None` if it is no number.
fn length(input: &[u8], at: usize, what: &str) -> Result<Option<(Option<i64>, usize)>, Refusal> {
    let line = &input[at..];
    // Nearly every length has one to four digits.
    let end = match line.iter().take(8).position(|&byte| byte == b'\r') {
        Some(end) => end,
        None => match memchr::memchr(b'\r', &line[..line.len().min(LENGTH_LINE_BYTES)]) {
            Some(end) => end,
            None if line.len() >= LENGTH_LINE_BYTES => return Err(Refusal::protocol(&format!("too big {what} count string"))),
            None => return Ok(None),
        },
    };
    match line.get(end + 1) {
        None => Ok(None),
        Some(b'\n') => Ok(Some((integer(&line[..end]), at + end + 2))),
        Some(_) => Ok(Some((None, at + end + 2))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LIMITS: RequestLimits = RequestLimits::CLIENT;

    /// The commands in `pieces`, passed one after the other, and the error that ends them.
    fn parsed(pieces: &[&[u8]], limits: &RequestLimits) -> (Vec<Vec<Vec<u8>>>, Option<String>) {
        let (mut parser, mut unread, mut commands) = (Parser::default(), Vec::new(), Vec::new());
        for piece in pieces {
            unread.extend_from_slice(piece);
            loop {
                match parser.parse(&unread, limits) {
                    Ok(Parsed::Incomplete) => break,
                    Ok(Parsed::Nothing(bytes)) => drop(unread.drain(..bytes)),
                    Ok(Parsed::Command(bytes)) => {
                        commands.push(parser.args(&unread).from(0).map(<[u8]>::to_vec).collect());
                        unread.drain(..bytes);
                    }
                    Err(refusal) => return (commands, Some(refusal.text().to_string())),
                }
            }
        }
        (commands, None)
    }

    fn words(commands: &[Vec<Vec<u8>>]) -> Vec<String> {
        let shown = |command: &Vec<Vec<u8>>| {
            let words = command.iter().map(|word| word.escape_ascii().to_string());
            words.collect::<Vec<_>>().join("|")
        };
        commands.iter().map(shown).collect()
    }

    #[test]
    fn arrays_and_lines_become_commands() {
        let input =
            b"*2\r\n$3\r\nGET\r\n$1\r\nx\r\nPING\r\n\r\n*0\r\n*-1\r\n\x0b \x0c\r\n \x0bset  a 'b c' \"d\\n\\x41\\\"\" 'e\\''\n*1\r\n$0\r\n\r\n";
        let (commands, error) = parsed(&[input], &LIMITS);
        assert_eq!(words(&commands), ["GET|x", "PING", "set|a|b c|d\\nA\\\"|e\\'", ""]);
        assert_eq!(error, None);
    }

    #[test]
    fn bad_requests_are_refused_in_the_words_of_redis() {
        let long_line = vec![b'a'; (64 << 10) + 1];
        let long_count = [b"*".to_vec(), vec![b'1'; 64 << 10]].concat();
        let long_bulk = [b"*1\r\n$".to_vec(), vec![b'1'; 64 << 10]].concat();
        let cases: [(&[u8], &str); 16] = [
            (b"set a\0b\r\n", "null byte in an inline request"),
            (b"*x\r\n", "invalid multibulk length"),
            (b"*1048577\r\n", "invalid multibulk length"),
            (b"*99999999999999999999\r\n", "invalid multibulk length"),
            (b"*1\rx", "invalid multibulk length"),
            (b"*1\r\nGET", "expected '$', got 'G'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$+1\r\n", "invalid bulk length"),
            (b"*1\r\n$268435457\r\n", "invalid bulk length"),
            (b"*1\r\n$1\r\nab\r\n", "expected CRLF behind a bulk string"),
            (b"set 'a\r\n", "unbalanced quotes in request"),
            (b"set \"a\"b\r\n", "unbalanced quotes in request"),
            (b"set \"a\\\r\n", "unbalanced quotes in request"),
            (&long_line, "too big inline request"),
            (&long_count, "too big mbulk count string"),
            (&long_bulk, "too big bulk count string"),
        ];
        for (input, wanted) in cases {
            let (commands, error) = parsed(&[b"PING\r\n", input], &LIMITS);
            assert_eq!((commands.len(), error), (1, Some(format!("ERR Protocol error: {wanted}"))), "{}", input.escape_ascii());
        }
    }

    #[test]
    fn an_unknown_client_has_small_limits() {
        let limits = RequestLimits::UNKNOWN_CLIENT;
        let refused = |input: &[u8]| parsed(&[input], &limits).1.unwrap_or_default();
        assert!(refused(b"*11\r\n").ends_with("unauthenticated multibulk length"));
        assert!(refused(b"*1\r\n$16385\r\n").ends_with("unauthenticated bulk length"));
        let word = [b"$16384\r\n".to_vec(), vec![b'x'; 16_384], b"\r\n".to_vec()].concat();
        assert!(refused(&[b"*2\r\n".to_vec(), word.repeat(2)].concat()).ends_with("longer than 32768 bytes"));
        // Also if it is not announced as long.
        assert!(refused(&[b"*".to_vec(), vec![b'1'; 32_767]].concat()).ends_with("longer than 32768 bytes"));
        assert_eq!(parsed(&[&[b"*".to_vec(), vec![b'1'; 32_766]].concat()], &limits).1, None);
        assert_eq!(parsed(&[&[b"*1\r\n".to_vec(), word].concat()], &limits).0.len(), 1);
        let line = "a ".repeat(11);
        assert!(refused(format!("{line}\r\n").as_bytes()).ends_with("too many words in an inline request"));
    }

    #[test]
    fn the_whole_command_is_limited_before_its_bytes_come() {
        let limits = RequestLimits { command_bytes: 100, ..LIMITS };
        let (commands, error) = parsed(&[b"*2\r\n$50\r\n", &[b'x'; 50], b"\r\n$50\r\n"], &limits);
        assert_eq!((commands.len(), error.as_deref()), (0, Some("ERR Protocol error: the command is longer than 100 bytes")));
    }

    #[test]
    fn nothing_is_allocated_for_an_announced_length() {
        let mut parser = Parser::default();
        assert_eq!(parser.parse(b"*1048576\r\n$268435456\r\nabc", &LIMITS), Ok(Parsed::Incomplete));
        assert_eq!((parser.spans.capacity(), parser.line.capacity()), (0, 0));
    }

    #[test]
    fn room_for_many_words_is_given_back() {
        let mut parser = Parser::default();
        let many = [b"*1000\r\n".to_vec(), b"$1\r\nx\r\n".repeat(1000)].concat();
        assert_eq!(parser.parse(&many, &LIMITS), Ok(Parsed::Command(many.len())));
        assert_eq!(parser.parse(b"", &LIMITS), Ok(Parsed::Incomplete));
        assert_eq!(parser.spans.capacity(), 0);
    }

    fn a_command() -> impl Strategy<Value = Vec<u8>> {
        let word = proptest::collection::vec(any::<u8>(), 0..20);
        let array = proptest::collection::vec(word, 0..5).prop_map(|words| {
            let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
            for word in words {
                bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
                bytes.extend_from_slice(&word);
                bytes.extend_from_slice(b"\r\n");
            }
            bytes
        });
        let line = "[ -~]{0,30}\r?\n".prop_map(String::into_bytes);
        prop_oneof![4 => array, 1 => line]
    }

    proptest! {
        #[test]
        fn commands_are_the_same_wherever_the_bytes_are_split(
            commands in proptest::collection::vec(a_command(), 0..6),
            flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..3),
            splits in proptest::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let mut bytes = commands.concat();
            for (at, byte) in flips.iter().filter(|_| !bytes.is_empty()).collect::<Vec<_>>() {
                let at = at.index(bytes.len());
                bytes[at] = *byte;
            }
            let mut cuts: Vec<usize> = splits.iter().map(|at| at.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let pieces: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            let whole = parsed(&[&bytes], &LIMITS);
            prop_assert_eq!(&parsed(&pieces, &LIMITS), &whole);
            prop_assert_eq!(&parsed(&single, &LIMITS), &whole);
        }
    }
}

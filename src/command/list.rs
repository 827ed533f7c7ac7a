//! What KEYS and SCAN share: which entries are listed, and how a list is written.
//!
//! A list is written entry by entry as the entries are read, so it needs no memory of its own. The first line is
//! written out at once. Later ones are written out when the buffer is full, or some are [`FLUSH_EVERY`] old. An entry
//! is whole on its line, also if the list ends early:
//!
//! | the list ends | what follows its last line |
//! |---|---|
//! | after its last entry, or at the limit | at a prompt a note if there are more; in JSON an object with the number of entries |
//! | at a signal, or because something cannot be read | an error |
//! | because the reader of stdout has gone | nothing |

use super::args::{Args, number};
use super::reply::Reply;
use crate::error::{Code, CommandError};
use crate::output::write_raw;
use crate::session::Session;
use crate::settings::Format;
use crate::store::Source;
use crate::text::{bytes, csv, displayed, object, write_word};
use kv_engine::Engine;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

/// How often a list that has not begun looks for Ctrl-C.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long a line may wait in the buffer while the list goes on.
const FLUSH_EVERY: Duration = Duration::from_millis(50);

/// `[prefix] [LIMIT n]`: which keys are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range<'a> {
    /// The beginning of the keys; empty for all keys.
    pub(super) prefix: Cow<'a, [u8]>,
    /// How many at most; `None`: as many as the session lists without LIMIT.
    limit: Option<usize>,
}

impl<'a> Range<'a> {
    /// The number of words tells prefix and LIMIT apart, so LIMIT can be a prefix too.
    pub(super) fn read(args: Args<'a>) -> Result<Range<'a>, CommandError> {
        let spec = args.spec;
        let [first, second, third] = args.words;
        let (prefix, keyword, count) = match args.count {
            0 | 1 => return Ok(Range { prefix: first, limit: None }),
            2 => (Cow::default(), first, second),
            _ => (first, second, third),
        };
        let is_limit = |word: &[u8]| word.eq_ignore_ascii_case(b"LIMIT");
        if !is_limit(&keyword) {
            let what = match args.count {
                2 if is_limit(&count) => "LIMIT needs a number".to_string(),
                // One of two words is the prefix.
                2 => format!("{} takes a prefix and LIMIT n, got '{}'", spec.name, displayed(&count)),
                _ => format!("{} takes a prefix and LIMIT n, got '{}'", spec.name, displayed(&keyword)),
            };
            return Err(CommandError::new(Code::BadArgument, format!("{what}; usage: {}", spec.usage())));
        }
        let limit = number("LIMIT", &count, 1, u64::from(u32::MAX))?;
        Ok(Range { prefix, limit: Some(usize::try_from(limit).unwrap_or(usize::MAX)) })
    }

    /// Writes the entries of the range, and returns how many there were. The time of the command is that of the whole
    /// printing.
    pub(super) fn list(&self, session: &mut Session, with_values: bool) -> Result<Listed, CommandError> {
        let limit = self.limit.unwrap_or(session.list_limit);
        let is_lenient = session.is_lenient();
        let is_timed = session.settings.timing || session.output.interactive;
        let Session { store, output, settings, flags, .. } = session;
        let mut source = store.source(is_lenient)?;
        if let Source::Engine(engine) = &source
            && settings.interactive
            && !is_sorted(engine, || flags.interrupted())
        {
            return Err(CommandError::new(
                Code::Interrupted,
                "interrupted; the keys were still being sorted, no entry was listed",
            ));
        }
        let (format, terminal) = (output.format, output.terminal);
        let mut list = Listing::new(output.stream(), format, terminal, limit);
        let read = source.each(&self.prefix, with_values, |key, value| list.entry(key, value, || flags.interrupted()));
        let Listing { listed, end, .. } = list;
        let more = matches!(end, Some(End::Limit));
        if is_timed {
            output.flush();
        }
        let so_far = || format!("{} listed", if listed == 1 { "1 entry was".into() } else { format!("{listed} entries were") });
        match (read, end) {
            (_, Some(End::Output(error))) => output.keep(Err(error)),
            (Err(error), _) if listed > 0 => {
                let text = format!("{}; {} before that, and must not be relied on", error.text, so_far());
                return Err(CommandError { text, ..error });
            }
            (Err(error), _) => return Err(error),
            (Ok(()), Some(End::Interrupted)) => {
                return Err(CommandError::new(Code::Interrupted, format!("interrupted; {}, there are more", so_far())));
            }
            (Ok(()), _) => {}
        }
        Ok(Listed { listed, more })
    }
}

/// Waits until the engine has its keys in order, which the first list after opening takes time for. Returns false if
/// `interrupted` comes first; then the sorting goes on, and a later list finds it done.
fn is_sorted(engine: &Engine, interrupted: impl Fn() -> bool) -> bool {
    let (engine, (done, waits)) = (engine.clone(), mpsc::channel());
    let sort = move || {
        let first = engine.keys("").next();
        // Nobody may wait any more.
        let _ = done.send(first.is_some());
    };
    // Without a thread, the list itself waits.
    if thread::Builder::new().name("kv-sort".into()).spawn(sort).is_err() {
        return true;
    }
    loop {
        match waits.recv_timeout(LOOK_EVERY) {
            Err(RecvTimeoutError::Timeout) if interrupted() => return false,
            Err(RecvTimeoutError::Timeout) => {}
            _ => return true,
        }
    }
}

/// Writes one line: the key, and the value if there is one, as words that PUT reads.
///
/// ```
/// let mut line = Vec::new();
/// kv_cli::command::write_entry(b"a key", Some(b"1"), &mut line)?;
/// assert_eq!(line, b"\"a key\" 1\n");
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// # Errors
/// Those of `out`.
pub fn write_entry(key: &[u8], value: Option<&[u8]>, out: &mut impl Write) -> io::Result<()> {
    line(key, value, out, write_word)
}

/// One entry on one line, its parts written by `part`.
fn line<W: Write>(
    key: &[u8],
    value: Option<&[u8]>,
    out: &mut W,
    part: impl Fn(&[u8], &mut W) -> io::Result<()>,
) -> io::Result<()> {
    part(key, out)?;
    if let Some(value) = value {
        out.write_all(b" ")?;
        part(value, out)?;
    }
    out.write_all(b"\n")
}

/// A list that is being written.
struct Listing<'o, W> {
    out: &'o mut W,
    format: Format,
    terminal: bool,
    limit: usize,
    listed: usize,
    written_out: Instant,
    /// Why it has ended early.
    end: Option<End>,
}

enum End {
    /// There are more entries than the limit.
    Limit,
    Interrupted,
    Output(io::Error),
}

impl<'o, W: Write> Listing<'o, W> {
    fn new(out: &'o mut W, format: Format, terminal: bool, limit: usize) -> Listing<'o, W> {
        Listing { out, format, terminal, limit, listed: 0, written_out: Instant::now(), end: None }
    }

    /// Writes one entry, or ends the list before it.
    fn entry(&mut self, key: &[u8], value: Option<&[u8]>, interrupted: impl Fn() -> bool) -> ControlFlow<()> {
        let end = if self.listed == self.limit {
            Some(End::Limit)
        } else if interrupted() {
            Some(End::Interrupted)
        } else {
            self.write(key, value).err().map(End::Output)
        };
        self.end = end;
        if self.end.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> io::Result<()> {
        let terminal = self.terminal;
        match self.format {
            Format::Json => {
                let value = value.map(|value| bytes("value", "value_base64", value));
                let fields: Vec<_> = std::iter::once(bytes("key", "key_base64", key)).chain(value).collect();
                self.out.write_all(object(&fields).as_bytes())?;
            }
            Format::Text => write_entry(key, value, self.out)?,
            Format::Raw => line(key, value, self.out, |bytes, out| write_raw(bytes, terminal, out))?,
            Format::Csv => csv::write_row(std::iter::once(key).chain(value), self.out)?,
        }
        self.listed += 1;
        if self.listed == 1 || self.written_out.elapsed() >= FLUSH_EVERY {
            self.out.flush()?;
            self.written_out = Instant::now();
        }
        Ok(())
    }
}

/// A list that was written: how many entries it has, and whether the limit left out others.
pub(crate) struct Listed {
    listed: usize,
    more: bool,
}

impl Reply for Listed {
    /// The entries are written already.
    fn text(&self, _: &mut impl Write) -> io::Result<()> {
        Ok(())
    }

    fn json(&self) -> Vec<(&'static str, Json)> {
        vec![("count", self.listed.into()), ("more", self.more.into())]
    }

    /// The entries are written already.
    fn csv(&self, _: &mut impl Write) -> io::Result<()> {
        Ok(())
    }

    fn notice(&self) -> Option<String> {
        self.note(0)
    }

    fn note(&self, _: u64) -> Option<String> {
        let shown = self.listed;
        self.more.then(|| format!("({shown} shown, there are more: try LIMIT {})", shown.saturating_mul(10)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    /// Four entries, until the list has asked `ends_at` times whether it is interrupted.
    fn listed(format: Format, limit: usize, ends_at: usize) -> (usize, String, Option<&'static str>) {
        let (asked, mut out) = (Cell::new(0), Vec::new());
        let interrupted = || asked.replace(asked.get() + 1) >= ends_at;
        let mut list = Listing::new(&mut out, format, true, limit);
        for _ in 0..4 {
            if list.entry(b"a key", Some(b"v\x1b"), interrupted).is_break() {
                break;
            }
        }
        let end = list.end.map(|end| match end {
            End::Limit => "limit",
            End::Interrupted => "interrupted",
            End::Output(_) => "output",
        });
        (list.listed, String::from_utf8(out).expect("text"), end)
    }

    #[test]
    fn case_17_an_interrupted_list_ends_after_an_entry() {
        let text = "\"a key\" \"v\\x1b\"\n";
        assert_eq!(listed(Format::Text, 9, 1), (1, text.to_string(), Some("interrupted")));
        assert_eq!(listed(Format::Text, 9, 9), (4, text.repeat(4), None));
        assert_eq!(listed(Format::Text, 3, 9), (3, text.repeat(3), Some("limit")));
        assert_eq!(listed(Format::Text, 4, 9).2, None, "there are no more");
        assert_eq!(listed(Format::Raw, 9, 2).1, "a key v\\x1b\n".repeat(2));
        let objects = "{\"key\":\"a key\",\"value\":\"v\\u001b\"}\n";
        let rows = "\"a key\",\"v\\x1b\"\n";
        assert_eq!(listed(Format::Csv, 9, 2).1, rows.repeat(2));
        assert_eq!(listed(Format::Json, 9, 2), (2, objects.repeat(2), Some("interrupted")));
    }

    /// Notes after how many bytes it was flushed.
    #[derive(Default)]
    struct Flushes(Vec<u8>, Vec<usize>);

    impl Write for Flushes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            self.1.push(self.0.len());
            Ok(())
        }
    }

    #[test]
    fn case_44_the_first_line_is_written_out_at_once() {
        let mut out = Flushes::default();
        let mut list = Listing::new(&mut out, Format::Text, false, usize::MAX);
        assert!(list.entry(b"a", None, || false).is_continue());
        assert_eq!(out.1, [2]);
    }
}

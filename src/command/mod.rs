//! The command language: a line of bytes → [`Command`] → [`Interpreter::run`] → [`Reply`] → text.
//!
//! No terminal, no files and no process in here, so that a prompt, a script and one day a server
//! speak the same language. What a program must do itself (BENCH, EXIT) comes back as a reply.
//!
//! ```
//! # let dir = tempfile::tempdir()?;
//! # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
//! use kv_cli::command::{Interpreter, parse};
//!
//! let mut interpreter = Interpreter::new(engine);
//! let mut out = Vec::new();
//! for line in ["PUT name 'Ada Lovelace'", "get name  # in any letter case", "GET nobody"] {
//!     if let Some(command) = parse(line.as_bytes())? {
//!         interpreter.run(command)?.write_text(&mut out)?;
//!     }
//! }
//! assert_eq!(out, b"OK\nAda Lovelace\n(nil)\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Rules: one line is one command, given without its line feed; a line that cannot be read or run
//! changes nothing, except that it spoils an open group ([`Interpreter::spoil_group`]). Reading a PUT
//! allocates nothing unless a word has escapes.

mod asked;
mod bench;
mod reply;
mod table;
mod words;

pub use bench::{Amount, Bench, Dist};
pub use reply::{Reply, figures};
pub use table::{COMMANDS, Opt, Spec, Verb, find, help};
pub use words::{Words, displayed, is_hidden, write_escaped, write_value, write_word};

use kv_engine::{Batch, Engine, Error, MAX_BATCH_SIZE, MAX_KEY_BYTES, MAX_VALUE_BYTES, Value};
use std::borrow::Cow;
use std::fmt;

/// The most operations that one BENCH may be asked for, for each batch size.
///
/// ```
/// use kv_cli::command::{MAX_BENCH_WRITES, parse};
///
/// assert!(parse(format!("BENCH {MAX_BENCH_WRITES}").as_bytes()).is_ok());
/// assert!(parse(format!("BENCH {}", MAX_BENCH_WRITES + 1).as_bytes()).is_err());
/// ```
pub const MAX_BENCH_WRITES: u64 = 100_000_000;

/// The longest line that can make sense, in bytes: the longest key and value with every byte as `\xHH`,
/// and some 4 KiB for the rest. For whoever reads lines; [`parse`] takes any length.
///
/// ```
/// use kv_cli::command::MAX_LINE_BYTES;
///
/// let too_long = |line: &[u8]| line.len() > MAX_LINE_BYTES; // refuse it before `parse`, which does not
/// assert!(!too_long(b"PUT x 100"));
/// ```
pub const MAX_LINE_BYTES: usize = 4 * (MAX_KEY_BYTES + MAX_VALUE_BYTES) + 4096;

type Word<'a> = Cow<'a, [u8]>;

/// One command, read and checked as far as that goes without a store. What each does is told in
/// [`COMMANDS`].
///
/// ```
/// use kv_cli::command::{Command, parse};
///
/// let command = parse(b"PUT name 'Ada Lovelace'")?;
/// assert!(matches!(command, Some(Command::Put { key, value }) if *key == *b"name" && *value == *b"Ada Lovelace"));
/// assert_eq!(parse(b"SETBATCH 100")?, Some(Command::SetBatch(Some(100))));
/// # Ok::<(), kv_cli::command::CommandError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the table of commands tells what each does")]
pub enum Command<'a> {
    Put { key: Word<'a>, value: Word<'a> },
    Get { key: Word<'a> },
    Del { key: Word<'a> },
    Keys(Range<'a>),
    Scan(Range<'a>),
    Size,
    Begin,
    Commit,
    Abort,
    Flush,
    Snap,
    SetBatch(Option<u64>),
    Stats,
    Bench(Box<Bench>),
    Export { file: Option<Word<'a>> },
    Import { file: Word<'a> },
    Help(Option<&'static Spec>),
    Exit(Option<u8>),
}

/// Which keys KEYS and SCAN list.
///
/// ```
/// use kv_cli::command::{Command, Range, parse};
///
/// let range = Range { prefix: b"user:".into(), limit: Some(10) };
/// assert_eq!(parse(b"KEYS user: LIMIT 10")?, Some(Command::Keys(range)));
/// # Ok::<(), kv_cli::command::CommandError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range<'a> {
    /// What they begin with; all keys when it is empty.
    pub prefix: Word<'a>,
    /// How many at most; `None`: as [`Interpreter::default_limit`] says.
    pub limit: Option<usize>,
}

/// Why a line was not run, in words for whoever wrote it. From [`parse`] and [`Interpreter::run`]; one
/// made of an [`Error`] has its text.
///
/// ```
/// use kv_cli::command::{Code, parse};
///
/// let error = parse(b"SETBATCH many").expect_err("not a number");
/// assert_eq!(error.code, Code::BadNumber);
/// assert_eq!(error.to_string(), "SETBATCH takes a whole number from 1 to 1000000, got 'many'");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommandError {
    /// The kind, for programs.
    pub code: Code,
    /// What, why, what is still true, what to do: one line. Words of the user are [`displayed`] in
    /// it; paths and what the operating system says stand as they are.
    pub text: String,
}

/// The kinds of [`CommandError`]; the name of each, as JSON has it, is its [`Display`](fmt::Display).
///
/// ```
/// use kv_cli::command::{Code, parse};
///
/// assert_eq!(parse(b"GET").expect_err("no key").code, Code::WrongArity);
/// assert_eq!(Code::WrongArity.to_string(), "wrong_arity");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names say it")]
pub enum Code {
    UnknownCommand,
    WrongArity,
    UnfinishedQuote,
    BadQuote,
    BadEscape,
    BadNumber,
    BadArgument,
    TooLong,
    NoGroup,
    GroupOpen,
    GroupSpoilt,
    SnapshotFailed,
    Interrupted,
    /// The log has no room; the next write may succeed.
    NoSpace,
    /// The store takes no more writes.
    LogFailed,
    Closed,
    Failed,
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Code::UnknownCommand => "unknown_command",
            Code::WrongArity => "wrong_arity",
            Code::UnfinishedQuote => "unfinished_quote",
            Code::BadQuote => "bad_quote",
            Code::BadEscape => "bad_escape",
            Code::BadNumber => "bad_number",
            Code::BadArgument => "bad_argument",
            Code::TooLong => "too_long",
            Code::NoGroup => "no_group",
            Code::GroupOpen => "group_open",
            Code::GroupSpoilt => "group_spoilt",
            Code::SnapshotFailed => "snapshot_failed",
            Code::Interrupted => "interrupted",
            Code::NoSpace => "no_space",
            Code::LogFailed => "log_failed",
            Code::Closed => "closed",
            Code::Failed => "failed",
        })
    }
}

impl CommandError {
    /// An error of this kind, for what the caller itself refuses.
    ///
    /// ```
    /// use kv_cli::command::{Code, CommandError};
    ///
    /// let refused = CommandError::new(Code::TooLong, "the line is longer than a line can be");
    /// assert_eq!(refused.to_string(), "the line is longer than a line can be");
    /// ```
    #[must_use]
    pub fn new(code: Code, text: impl Into<String>) -> CommandError {
        CommandError { code, text: text.into() }
    }
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for CommandError {}

impl From<Error> for CommandError {
    fn from(error: Error) -> CommandError {
        let code = match &error {
            Error::Limit { got, max, .. } if got > max => Code::TooLong,
            Error::Limit { .. } => Code::BadArgument,
            Error::NoSpace { .. } => Code::NoSpace,
            Error::Poisoned { .. } | Error::Lost { .. } => Code::LogFailed,
            Error::Closed => Code::Closed,
            _ => Code::Failed,
        };
        CommandError::new(code, error.to_string())
    }
}

/// Reads one line, given without its line feed (a carriage return at its end is passed over); `None`
/// when it is blank or a comment. How words are told apart: [`Words`]. The limits of keys and values
/// are checked when the command is run.
///
/// ```
/// use kv_cli::command::{Command, parse};
///
/// assert_eq!(parse(b"set color #fff")?, parse(b"PUT color '#fff'")?);
/// assert_eq!(parse(b"  # only a comment")?, None);
/// let error = parse(b"PUT name Ada Lovelace").expect_err("three words");
/// assert_eq!(error.text, "PUT takes a key and a value, got 3 words; quote a value that has blanks: PUT name \"Ada Lovelace\"");
/// # Ok::<(), kv_cli::command::CommandError>(())
/// ```
///
/// # Errors
/// The line is not a command; the text says what was expected.
pub fn parse(line: &[u8]) -> Result<Option<Command<'_>>, CommandError> {
    let words = Words::of(line);
    if words.is_at_end() {
        return Ok(None);
    }
    let mut read = Read::default();
    words.into_iter().try_for_each(|word| word.map(|word| read.push(word)))?;
    read.command()
}

/// Reads a command whose words were split by somebody else, such as the user's own shell: no
/// quotes, escapes or comments; `None` when there are none.
///
/// ```
/// use kv_cli::command::{Command, parse_words};
///
/// let words = ["PUT", "name", "Ada \"Lovelace\""]; // as std::env::args_os gives them
/// let command = parse_words(words.map(|word| word.as_bytes().into()))?;
/// assert!(matches!(command, Some(Command::Put { value, .. }) if *value == *b"Ada \"Lovelace\""));
/// # Ok::<(), kv_cli::command::CommandError>(())
/// ```
///
/// # Errors
/// As [`parse`].
pub fn parse_words<'a>(words: impl IntoIterator<Item = Word<'a>>) -> Result<Option<Command<'a>>, CommandError> {
    let mut read = Read::default();
    words.into_iter().for_each(|word| read.push(word));
    read.command()
}

/// The words of a line, as many as any command takes; the others are only counted.
#[derive(Default)]
struct Read<'a> {
    name: Option<Word<'a>>,
    spec: Option<&'static Spec>,
    args: [Word<'a>; 3],
    count: usize,
    /// All the words of a command with options.
    all: Option<Vec<Word<'a>>>,
}

impl<'a> Read<'a> {
    fn push(&mut self, word: Word<'a>) {
        if self.name.is_none() {
            self.spec = table::find(&word);
            self.all = self.spec.is_some_and(|spec| !spec.options().is_empty()).then(Vec::new);
            self.name = Some(word);
            return;
        }
        if let Some(all) = &mut self.all {
            all.push(word);
            return;
        }
        if let Some(slot) = self.args.get_mut(self.count) {
            *slot = word;
        }
        self.count += 1;
    }

    fn command(self) -> Result<Option<Command<'a>>, CommandError> {
        let Some(name) = self.name else { return Ok(None) };
        let spec = self.spec.map_or_else(|| table::find_or_explain(&name), Ok)?;
        if let Some(all) = self.all {
            return match all.iter().any(|word| **word == *b"--help") {
                true => Ok(Some(Command::Help(Some(spec)))),
                false => Ok(Some(Command::Bench(Box::new(Bench::read(spec, &all)?)))),
            };
        }
        spec.check_arity(self.count)?;
        let [first, second, third] = self.args;
        let given = self.count;
        Ok(Some(match spec.verb {
            Verb::Put => Command::Put { key: first, value: second },
            Verb::Get => Command::Get { key: first },
            Verb::Del => Command::Del { key: first },
            Verb::Keys => Command::Keys(range(spec, given, first, second, &third)?),
            Verb::Scan => Command::Scan(range(spec, given, first, second, &third)?),
            Verb::Size => Command::Size,
            Verb::Begin => Command::Begin,
            Verb::Commit => Command::Commit,
            Verb::Abort => Command::Abort,
            Verb::Flush => Command::Flush,
            Verb::Snap => Command::Snap,
            Verb::SetBatch if given == 0 => Command::SetBatch(None),
            Verb::SetBatch => Command::SetBatch(Some(number(spec, &first, 1, MAX_BATCH_SIZE)?)),
            Verb::Stats => Command::Stats,
            Verb::Bench => unreachable!("it has options"),
            Verb::Export => Command::Export { file: (given == 1).then_some(first) },
            Verb::Import => Command::Import { file: first },
            Verb::Help if given == 0 => Command::Help(None),
            Verb::Help => Command::Help(Some(table::find_or_explain(&first)?)),
            Verb::Exit if given == 0 => Command::Exit(None),
            Verb::Exit => {
                let status = number(spec, &first, 0, u64::from(u8::MAX))?;
                Command::Exit(Some(u8::try_from(status).expect("just checked")))
            }
        }))
    }
}

/// `[prefix] [LIMIT n]`; the number of words tells them apart, so that LIMIT can be a prefix too.
fn range<'a>(spec: &Spec, given: usize, a: Word<'a>, b: Word<'a>, c: &[u8]) -> Result<Range<'a>, CommandError> {
    let (prefix, keyword, count) = match given {
        0 | 1 => return Ok(Range { prefix: a, limit: None }),
        2 => (Word::default(), a, &*b),
        _ => (a, b, c),
    };
    if !keyword.eq_ignore_ascii_case(b"LIMIT") {
        let text = format!("{} expects LIMIT, got '{}'; usage: {}", spec.name, displayed(&keyword), spec.usage());
        return Err(CommandError::new(Code::BadArgument, text));
    }
    let limit = number(spec, count, 1, u64::from(u32::MAX))?;
    Ok(Range { prefix, limit: Some(usize::try_from(limit).unwrap_or(usize::MAX)) })
}

fn number(spec: &Spec, word: &[u8], min: u64, max: u64) -> Result<u64, CommandError> {
    let digits = std::str::from_utf8(word).ok().filter(|text| text.bytes().all(|b| b.is_ascii_digit()));
    digits.and_then(|text| text.parse().ok()).filter(|n| (min..=max).contains(n)).ok_or_else(|| {
        let text = format!("{} takes a whole number from {min} to {max}, got '{}'", spec.name, displayed(word));
        CommandError::new(Code::BadNumber, text)
    })
}

impl Command<'_> {
    /// Which command it is.
    ///
    /// ```
    /// use kv_cli::command::{Verb, parse};
    ///
    /// assert_eq!(parse(b"SET x 100")?.map(|command| command.verb()), Some(Verb::Put));
    /// # Ok::<(), kv_cli::command::CommandError>(())
    /// ```
    #[must_use]
    pub fn verb(&self) -> Verb {
        match self {
            Command::Put { .. } => Verb::Put,
            Command::Get { .. } => Verb::Get,
            Command::Del { .. } => Verb::Del,
            Command::Keys(_) => Verb::Keys,
            Command::Scan(_) => Verb::Scan,
            Command::Size => Verb::Size,
            Command::Begin => Verb::Begin,
            Command::Commit => Verb::Commit,
            Command::Abort => Verb::Abort,
            Command::Flush => Verb::Flush,
            Command::Snap => Verb::Snap,
            Command::SetBatch(_) => Verb::SetBatch,
            Command::Stats => Verb::Stats,
            Command::Bench(_) => Verb::Bench,
            Command::Export { .. } => Verb::Export,
            Command::Import { .. } => Verb::Import,
            Command::Help(_) => Verb::Help,
            Command::Exit(_) => Verb::Exit,
        }
    }
}

/// Runs the commands of one client, one after the other. Several clients share a store through clones
/// of its [`Engine`]; an open group is each client's own, and dropped with it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// # use kv_cli::command::*;
/// let mut client = Interpreter::new(engine.clone());
/// for line in ["BEGIN", "PUT from 90", "PUT to 110"] {
///     client.run(parse(line.as_bytes())?.expect("a command"))?;
/// }
/// assert_eq!(engine.len(), 0); // nothing is written before COMMIT
/// client.run(Command::Commit)?;
/// assert_eq!((engine.len(), engine.stats().appended), (2, 1)); // two keys by one write
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Interpreter {
    engine: Engine,
    group: Option<Group>,
    default_limit: usize,
}

/// What was said since BEGIN.
#[derive(Debug, Default)]
struct Group {
    batch: Batch,
    /// A command failed since BEGIN: writing the rest would not be what was meant.
    spoilt: bool,
}

impl Interpreter {
    /// For one client of `engine`. KEYS and SCAN without LIMIT list everything.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// # use kv_cli::command::*;
    /// let mut client = Interpreter::new(engine);
    /// assert!(matches!(client.run(Command::Size)?, Reply::Size(0)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn new(engine: Engine) -> Interpreter {
        Interpreter { engine, group: None, default_limit: usize::MAX }
    }

    /// KEYS and SCAN without LIMIT list so many at most. Their replies say whether there are more.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// # use kv_cli::command::*;
    /// engine.put("a", "1")?;
    /// engine.put("b", "2")?;
    /// let mut client = Interpreter::new(engine).default_limit(1);
    /// let reply = client.run(parse(b"KEYS")?.expect("a command"))?;
    /// assert!(matches!(reply, Reply::Keys(keys, true) if keys == [b"a"])); // and there are more
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn default_limit(mut self, entries: usize) -> Interpreter {
        self.default_limit = entries;
        self
    }

    /// How many operations wait for COMMIT; `None` when no group is open.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// # use kv_cli::command::*;
    /// let mut client = Interpreter::new(engine);
    /// assert_eq!(client.open_group(), None);
    /// client.run(Command::Begin)?;
    /// assert_eq!(client.open_group(), Some(0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn open_group(&self) -> Option<usize> {
        self.group.as_ref().map(|group| group.batch.len())
    }

    /// To be told of a line that [`parse`] refused: an open group must not be written without it, and
    /// COMMIT will refuse. Does nothing when no group is open.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// # use kv_cli::command::*;
    /// let mut client = Interpreter::new(engine);
    /// client.run(Command::Begin)?;
    /// if parse(b"PUT x").is_err() {
    ///     client.spoil_group();
    /// }
    /// assert_eq!(client.run(Command::Commit).expect_err("spoilt").code, Code::GroupSpoilt);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn spoil_group(&mut self) {
        if let Some(group) = &mut self.group {
            group.spoilt = true;
        }
    }

    /// Runs one command. What is durable when it answers: as of [`Engine::put`], [`Engine::delete`] and
    /// [`Engine::write`], [`Engine::flush`], [`Engine::snapshot`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// # use kv_cli::command::*;
    /// let mut client = Interpreter::new(engine);
    /// match client.run(Command::Put { key: b"x".into(), value: b"100".into() }) {
    ///     Ok(Reply::Written(ack)) => assert!(ack.durable), // with batch size 1
    ///     Ok(other) => println!("{other:?}"),
    ///     Err(error) if error.code == Code::NoSpace => println!("make room, then again: {error}"),
    ///     Err(error) => println!("{error}"),
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// What the engine said, or the command made no sense here. Nothing was written, except that the
    /// write of [`Code::LogFailed`] may or may not be on the disk. An open group is spoilt by it; a
    /// COMMIT that fails ends its group.
    pub fn run(&mut self, command: Command<'_>) -> Result<Reply, CommandError> {
        let done = self.try_run(command);
        if done.is_err() {
            self.spoil_group();
        }
        done
    }

    fn try_run(&mut self, command: Command<'_>) -> Result<Reply, CommandError> {
        Ok(match command {
            Command::Put { key, value } => match &mut self.group {
                Some(group) => group.put(&key, &value)?,
                None => Reply::Written(self.engine.put(key, value).map_err(asked::write_failed)?),
            },
            Command::Get { key } => match self.group.as_ref().and_then(|group| group.batch.get(&key)) {
                Some(value) => Reply::Value(value.map(Value::from)),
                None => Reply::Value(self.engine.get(key)?),
            },
            Command::Del { key } => match &mut self.group {
                Some(group) => group.delete(&key)?,
                None => self.engine.delete(key).map_err(asked::write_failed)?.map_or(Reply::NotThere, Reply::Written),
            },
            Command::Keys(range) => self.list(self.engine.keys(&range.prefix), range.limit, Reply::Keys)?,
            Command::Scan(range) => self.list(self.engine.scan(&range.prefix), range.limit, Reply::Entries)?,
            Command::Size => Reply::Size(self.engine.count()?),
            Command::Begin if self.group.is_some() => {
                return Err(CommandError::new(Code::GroupOpen, "a group is open already; COMMIT or ABORT it first"));
            }
            Command::Begin => {
                self.group = Some(Group::default());
                Reply::Done
            }
            Command::Commit => self.commit()?,
            Command::Abort => {
                self.group.take().ok_or_else(no_group)?;
                Reply::Done
            }
            Command::Flush => Reply::Flushed(self.engine.flush().map_err(asked::flush_failed)?),
            Command::Snap => Reply::Snapshotted(self.engine.snapshot().map_err(asked::snapshot_failed)?),
            Command::SetBatch(size) => {
                size.map(|size| self.engine.set_batch_size(size))
                    .transpose()
                    .map_err(|e| asked::size_kept(e, self.engine.batch_size()))?;
                Reply::BatchSize(self.engine.batch_size())
            }
            Command::Stats => Reply::Stats(Box::new(self.engine.stats())),
            Command::Bench(bench) => Reply::Bench(bench),
            Command::Export { file } => Reply::Export { file: file.map(Cow::into_owned) },
            Command::Import { .. } if self.group.is_some() => {
                let text = "IMPORT writes groups of its own, and a group is open; COMMIT or ABORT it first";
                return Err(CommandError::new(Code::GroupOpen, text));
            }
            Command::Import { file } => Reply::Import { file: file.into_owned() },
            Command::Help(spec) => Reply::Help(spec.map_or_else(help, Spec::help)),
            Command::Exit(status) => Reply::Exit(status),
        })
    }

    fn commit(&mut self) -> Result<Reply, CommandError> {
        let group = self.group.take().ok_or_else(no_group)?;
        if group.spoilt {
            let text = "a command failed since BEGIN, so nothing of the group was written; begin it again";
            return Err(CommandError::new(Code::GroupSpoilt, text));
        }
        Ok(Reply::Written(self.engine.write(group.batch).map_err(asked::commit_failed)?))
    }

    /// Collects before anything is answered: a reply is whole or an error.
    fn list<T>(
        &self,
        mut found: impl Iterator<Item = kv_engine::Result<T>>,
        limit: Option<usize>,
        reply: fn(Vec<T>, bool) -> Reply,
    ) -> Result<Reply, CommandError> {
        let listed = found.by_ref().take(limit.unwrap_or(self.default_limit)).collect::<Result<_, _>>()?;
        Ok(reply(listed, found.next().transpose()?.is_some()))
    }
}

impl Group {
    fn put(&mut self, key: &[u8], value: &[u8]) -> Result<Reply, CommandError> {
        check("key", key.len(), 1, MAX_KEY_BYTES)?;
        check("value", value.len(), 0, MAX_VALUE_BYTES)?;
        self.batch.put(key, value);
        Ok(Reply::Queued(self.batch.len()))
    }

    fn delete(&mut self, key: &[u8]) -> Result<Reply, CommandError> {
        check("key", key.len(), 1, MAX_KEY_BYTES)?;
        self.batch.delete(key);
        Ok(Reply::Queued(self.batch.len()))
    }
}

/// The engine's own limits, told when the command is queued rather than at COMMIT.
fn check(what: &'static str, got: usize, min: usize, max: usize) -> Result<(), Error> {
    if (min..=max).contains(&got) {
        return Ok(());
    }
    Err(Error::Limit { what, got: got as u64, min: min as u64, max: max as u64 })
}

fn no_group() -> CommandError {
    CommandError::new(Code::NoGroup, "no group is open; BEGIN opens one")
}

#[cfg(test)]
mod tests;

//! The command language: a line of bytes is read as a [`Command`], which runs on a session and writes its reply there.
//!
//! **To add a command**:
//!
//! 1. Write one file. It implements the two traits below.
//! 2. Declare it here: `mod name;`.
//! 3. Add one line to the list of commands below.
//! 4. Add a row to the table in `docs/shell.md`. A test compares it with HELP.
//! 5. Run `scripts/dev/screens >docs/screens.md`: one of its screens is HELP.
//!
//! The two traits:
//!
//! - `Verb`: the command's [`Spec`] (name, arguments, help), how its arguments are read, and how it runs.
//! - `Reply`: its reply as text, as raw bytes, as JSON, and the note at a prompt.
//!
//! `size.rs` is a short example. The rest follows from the list: parsing, errors, HELP, completion, hints, the
//! man page and the completions of shells.
//!
//! ```
//! use kv_cli::command::{Command, Put, parse};
//!
//! let command = parse(b"set name 'Ada Lovelace'  # in any letter case")?;
//! assert!(matches!(command, Some(Command::Put(Put { key, value })) if *key == *b"name" && *value == *b"Ada Lovelace"));
//! # Ok::<(), kv_cli::command::CommandError>(())
//! ```
//!
//! One line is one command, given without its line feed. A line that cannot be read changes nothing. A command that
//! fails spoils an open group: PUT, DEL and COMMIT then refuse. In a script a line that cannot be read spoils it too.
//! At the prompt it does not, and Ctrl-C does not, because the person sees that before typing the next line.
//! Reading a PUT allocates nothing unless a word has escapes.
//!
//! | file | what it has |
//! |---|---|
//! | `spec` | `Spec`, `Opt`: names, arguments, options, help |
//! | `args` | the words of a line, numbers |
//! | `reply` | the traits `Verb` and `Reply`, and running one command |
//! | `written`, `list` | what several commands share: the reply of a write, lists of entries |
//! | the others | one command each; `group` has BEGIN, COMMIT and ABORT |

mod args;
mod bench;
mod del;
mod exit;
mod export;
mod flush;
mod get;
mod group;
mod grouped;
mod help;
mod import;
mod keys;
mod list;
mod put;
mod reply;
mod scan;
mod setbatch;
mod size;
mod snap;
mod spec;
mod stats;
mod stats_of_files;
mod stats_of_server;
mod written;

pub use crate::error::{Code, CommandError};
pub use crate::text::{Words, displayed, is_hidden, write_escaped, write_value, write_word};
pub use del::Del;
pub use get::{Found, Get};
pub use import::Import;
pub use list::write_entry;
pub use put::Put;
pub use spec::{Opt, Spec};

use crate::output::{Output, Place};
use crate::session::{Flow, Session};
use crate::signals::Flags;
use args::{Args, Word};
use reply::{Effect, Reply, Verb, answer};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

/// Makes the enum of commands, the list of their specs, and the ways from one to the other.
macro_rules! commands {
    ($($name:ident($type:ty),)*) => {
        /// One command, read and checked as far as possible without a store. [`COMMANDS`] says what each does.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        #[expect(missing_docs, reason = "the specs say what each does")]
        pub enum Command<'a> {
            $($name($type),)*
        }

        #[derive(Clone, Copy)]
        enum Kind {
            $($name,)*
        }

        const KINDS: &[Kind] = &[$(Kind::$name,)*];

        impl<'a> Command<'a> {
            const SPECS: &'static [&'static Spec] = &[$(<$type as Verb<'a>>::SPEC,)*];

            fn read(kind: Kind, args: Args<'a>) -> Result<Command<'a>, CommandError> {
                match kind {
                    $(Kind::$name => <$type as Verb<'a>>::read(args).map(Command::$name),)*
                }
            }

            /// Runs it and writes its reply.
            fn run(self, session: &mut Session) -> Result<(), CommandError> {
                match self {
                    $(Command::$name(verb) => answer(verb, session),)*
                }
            }

            fn effect(&self) -> Effect {
                match self {
                    $(Command::$name(_) => <$type as Verb<'a>>::EFFECT,)*
                }
            }

            /// Which command it is.
            #[must_use]
            pub fn spec(&self) -> &'static Spec {
                match self {
                    $(Command::$name(_) => <$type as Verb<'a>>::SPEC,)*
                }
            }
        }
    };
}

// In the order of HELP.
commands! {
    Put(Put<'a>),
    Get(Get<'a>),
    Del(Del<'a>),
    Keys(keys::Keys<'a>),
    Scan(scan::Scan<'a>),
    Size(size::Size),
    Begin(group::Begin),
    Commit(group::Commit),
    Abort(group::Abort),
    Flush(flush::Flush),
    Snap(snap::Snap),
    SetBatch(setbatch::SetBatch),
    Stats(stats::Stats),
    Bench(bench::Bench),
    Export(export::Export<'a>),
    Import(Import<'a>),
    Help(help::Help),
    Exit(exit::Exit),
}

/// All commands, in the order HELP lists them.
///
/// ```
/// use kv_cli::command::COMMANDS;
///
/// let names: Vec<_> = COMMANDS.iter().map(|spec| spec.name).collect(); // to complete, for example
/// assert!(names.starts_with(&["PUT", "GET", "DEL"]));
/// ```
pub static COMMANDS: &[&Spec] = Command::SPECS;

/// The command of this name or alias, in any letter case.
///
/// ```
/// use kv_cli::command::find;
///
/// assert_eq!(find(b"rollback").map(|spec| spec.name), Some("ABORT"));
/// assert!(find(b"DROP").is_none());
/// ```
#[must_use]
pub fn find(word: &[u8]) -> Option<&'static Spec> {
    spec::position(COMMANDS, word).map(|at| COMMANDS[at])
}

/// Reads one line, given without its line feed. A carriage return at its end is ignored. `None` if the line is blank or
/// a comment. [`Words`] says how words are told apart. The limits of keys and values are checked when the command runs.
///
/// ```
/// use kv_cli::command::parse;
///
/// assert_eq!(parse(b"set color #fff")?, parse(b"PUT color '#fff'")?);
/// assert_eq!(parse(b"  # only a comment")?, None);
/// let error = parse(b"PUT name Ada Lovelace").expect_err("three words");
/// assert_eq!(error.text, "PUT takes a key and a value, got 3 words; quote a value that has blanks: PUT name \"Ada Lovelace\"");
/// # Ok::<(), kv_cli::command::CommandError>(())
/// ```
///
/// # Errors
/// The line is not a command. The text says what was expected.
pub fn parse(line: &[u8]) -> Result<Option<Command<'_>>, CommandError> {
    let words = Words::of(line);
    if words.is_at_end() {
        return Ok(None);
    }
    let mut read = Read::default();
    words.into_iter().try_for_each(|word| word.map(|word| read.push(word)))?;
    read.command()
}

/// Reads a command whose words were split before, for example by the user's own shell: no quotes, escapes or comments.
/// `None` if there are no words.
///
/// ```
/// use kv_cli::command::{Command, Put, parse_words};
///
/// let words = ["PUT", "name", "Ada \"Lovelace\""]; // as std::env::args_os gives them
/// let command = parse_words(words.map(|word| word.as_bytes().into()))?;
/// assert!(matches!(command, Some(Command::Put(Put { value, .. })) if *value == *b"Ada \"Lovelace\""));
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

/// The words of a line while it is read.
#[derive(Default)]
struct Read<'a> {
    name: Option<Word<'a>>,
    /// Where in [`COMMANDS`] it is.
    at: Option<usize>,
    words: [Word<'a>; 3],
    count: usize,
    has_options: bool,
    all: Vec<Word<'a>>,
}

impl<'a> Read<'a> {
    fn push(&mut self, word: Word<'a>) {
        if self.name.is_none() {
            self.at = spec::position(COMMANDS, &word);
            self.has_options = self.at.is_some_and(|at| !COMMANDS[at].options.is_empty());
            self.name = Some(word);
            return;
        }
        if self.has_options {
            self.all.push(word);
        } else if let Some(slot) = self.words.get_mut(self.count) {
            *slot = word;
        }
        self.count += 1;
    }

    fn command(self) -> Result<Option<Command<'a>>, CommandError> {
        let Some(name) = self.name else { return Ok(None) };
        let at = self.at.ok_or_else(|| spec::unknown(COMMANDS, &name))?;
        let spec = COMMANDS[at];
        if self.all.iter().any(|word| **word == *b"--help") {
            return Ok(Some(Command::Help(help::Help::of(COMMANDS, spec))));
        }
        if !self.has_options {
            let extra = self.words.get(spec.arity.1).filter(|_| self.count > spec.arity.1);
            spec.check_arity(self.count, extra.map(|word| &**word))?;
        }
        let Read { words, count, all, .. } = self;
        Command::read(KINDS[at], Args { spec, commands: COMMANDS, words, count, all }).map(Some)
    }
}

/// Runs one line of a prompt or a script.
pub(crate) fn run_line(session: &mut Session, place: &Place, line: &[u8]) -> Flow {
    run(session, place, parse(line))
}

/// Runs a command whose words the user's own shell has split.
pub(crate) fn run_words(session: &mut Session, place: &Place, words: &[Vec<u8>]) -> Flow {
    run(session, place, parse_words(words.iter().map(|word| Word::Borrowed(word.as_slice()))))
}

fn run(session: &mut Session, place: &Place, command: Result<Option<Command<'_>>, CommandError>) -> Flow {
    let is_seen = matches!(place, Place::Prompt);
    let command = match command {
        Ok(command) => command,
        Err(error) if is_seen => return session.report(place, &error),
        Err(error) => return session.refuse(place, &error),
    };
    match command.map_or(Ok(()), |command| command.run(session)) {
        Ok(()) => session.next(),
        Err(error) if is_seen && error.code == Code::Interrupted => session.report(place, &error),
        Err(error) => session.refuse(place, &error),
    }
}

/// The command that these words are, if it changes nothing.
pub(crate) fn only_reads(words: &[Vec<u8>]) -> Option<&'static Spec> {
    let command = parse_words(words.iter().map(|word| Word::Borrowed(word.as_slice()))).ok()??;
    (command.effect() == Effect::Reads).then(|| command.spec())
}

/// The file of an IMPORT, whose words the user's own shell has split.
pub(crate) fn file_to_import(words: &[Vec<u8>]) -> Option<PathBuf> {
    match parse_words(words.iter().map(|word| Word::Borrowed(word.as_slice()))) {
        Ok(Some(Command::Import(Import { file, .. }))) => Some(OsString::from_vec(file.into_owned()).into()),
        _ => None,
    }
}

/// Answers words that need no store: HELP, and words that are no command. `Ok(false)` if they need one.
pub(crate) fn run_without_store(words: &[Vec<u8>], output: &mut Output, flags: &Flags) -> Result<bool, CommandError> {
    match parse_words(words.iter().map(|word| Word::Borrowed(word.as_slice())))? {
        Some(Command::Help(help)) => {
            help.reply(output).write(<help::Help as Verb<'_>>::SPEC, output, flags, || None)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

#[cfg(test)]
mod tests;

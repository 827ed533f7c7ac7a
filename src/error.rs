//! Why a command failed, as one line of text and as a code for programs.
//!
//! The text says what happened, to what, what is still true, and what to do, in this order. Every part of the shell
//! reports failures in this form, so that replies in JSON have one list of codes.

use kv_engine::Error;
use std::fmt;

/// Why a line was not run. An error that comes from the engine keeps the engine's text.
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
    /// One line. Words of the user went through [`displayed`](crate::command::displayed). Paths and messages of the
    /// operating system are in it unchanged.
    pub text: String,
}

/// The kinds of [`CommandError`]. [`Display`](fmt::Display) gives the name that JSON uses.
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
    /// There is no store at these paths, and the command only reads.
    NoStore,
    /// The command writes, and the session only reads.
    ReadOnly,
    /// Another process has the store open.
    InUse,
    /// The store cannot be opened, or its files cannot be read.
    NotOpened,
    /// There is no connection to the server, or it was lost; nothing was written.
    Unreachable,
    /// The connection was lost before the answer to a write: it is unknown whether it was stored.
    InDoubt,
    /// The server has refused the command.
    Refused,
    /// The command line of the program is wrong.
    Usage,
    Failed,
}

impl Code {
    /// The exit status of a script in which this was the worst failure.
    pub(crate) fn status(self) -> u8 {
        if matches!(self, Code::NoStore | Code::InUse | Code::NotOpened | Code::Unreachable) { 3 } else { 1 }
    }
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
            Code::NoStore => "no_store",
            Code::ReadOnly => "read_only",
            Code::InUse => "in_use",
            Code::NotOpened => "not_opened",
            Code::Unreachable => "unreachable",
            Code::InDoubt => "in_doubt",
            Code::Refused => "refused",
            Code::Usage => "usage",
            Code::Failed => "failed",
        })
    }
}

impl CommandError {
    /// An error of this kind with this text.
    #[must_use]
    pub(crate) fn new(code: Code, text: impl Into<String>) -> CommandError {
        CommandError { code, text: text.into() }
    }

    /// As `From<Error>`, in the words of one command. If the log has no room, the text says what was `not_done`, what
    /// happens to the acknowledged writes, and what to do when there is room: `again`.
    #[must_use]
    pub(crate) fn of_command(error: Error, not_done: &str, again: &str) -> CommandError {
        let Error::NoSpace { path, pending, source } = error else { return error.into() };
        let waiting = match pending {
            0 => "every acknowledged write is on the disk".to_string(),
            1 => "1 acknowledged write is not on the disk yet; it waits in memory and will be written first".to_string(),
            n => format!("{n} acknowledged writes are not on the disk yet; they wait in memory and will be written first"),
        };
        let path = path.display();
        let text = format!("{path}: no room to write the log: {source}; {not_done}; {waiting}; make room and {again}");
        CommandError::new(Code::NoSpace, text)
    }
}

impl CommandError {
    /// Why a store cannot be opened, or its files cannot be read.
    #[must_use]
    pub(crate) fn of_files(error: &Error) -> CommandError {
        let Error::Locked { path, pid, contact } = error else {
            return CommandError::new(Code::NotOpened, error.to_string());
        };
        let who = pid.map_or("another process".to_string(), |pid| format!("process {pid}"));
        let (path, tools) = (path.display(), "kv_cli export, verify and wal also work");
        let text = match contact {
            Some(contact) => format!(
                "{who} has the store {path} open and serves it, so nothing was done; to use it: kv_cli connect {contact}; to \
                 read its files now: --read-only ({tools}); to use another store: --dir DIR, or --wal PATH"
            ),
            None => format!(
                "{who} has the store {path} open, so nothing was done; to read it now: --read-only ({tools}); to use another \
                 store: --dir DIR, or --wal PATH"
            ),
        };
        CommandError::new(Code::InUse, text)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_told_in_the_words_of_the_command() {
        let full = |pending| Error::NoSpace { path: "w".into(), pending, source: std::io::Error::other("disk full") };
        let text = |pending| CommandError::of_command(full(pending), "nothing was exported", "export again").text;
        assert_eq!(
            text(2),
            "w: no room to write the log: disk full; nothing was exported; 2 acknowledged writes are not on the disk yet; they \
             wait in memory and will be written first; make room and export again"
        );
        assert!(text(0).contains("; every acknowledged write is on the disk; "));
        assert!(
            text(1).contains("; 1 acknowledged write is not on the disk yet; it waits in memory and will be written first; ")
        );
    }
}

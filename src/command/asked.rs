//! What a command says that was refused because the log has no room: what was not done, in the command's own words.

use super::{Code, CommandError};
use kv_engine::{Error, waiting};

impl CommandError {
    /// As `From<Error>`, in the words of the command. Where the log has no room, the text
    /// says what was `not_done`, what becomes of the acknowledged writes, and what to do when there is room: `again`.
    ///
    /// ```
    /// use kv_engine::Error;
    /// use kv_cli::command::CommandError;
    ///
    /// let source = std::io::Error::other("disk full");
    /// let error = CommandError::asked(Error::NoSpace { path: "w".into(), pending: 2, source }, "nothing was exported", "export again");
    /// assert_eq!(
    ///     error.text,
    ///     "w: no room to write the log: disk full; nothing was exported; 2 acknowledged writes are not on the disk yet; they \
    ///      wait in memory and will be written first; make room and export again"
    /// );
    /// ```
    #[must_use]
    pub fn asked(error: Error, not_done: &str, again: &str) -> CommandError {
        let Error::NoSpace { path, pending, source } = error else { return error.into() };
        let waiting = waiting(pending);
        let text =
            format!("{}: no room to write the log: {source}; {not_done}; {waiting}; make room and {again}", path.display());
        CommandError::new(Code::NoSpace, text)
    }
}

pub(super) fn write_failed(error: Error) -> CommandError {
    CommandError::asked(error, "this write was not stored", "repeat it")
}

pub(super) fn flush_failed(error: Error) -> CommandError {
    CommandError::asked(error, "the flush was not done", "FLUSH again")
}

pub(super) fn snapshot_failed(error: Error) -> CommandError {
    match error {
        Error::Io { .. } => {
            CommandError::new(Code::SnapshotFailed, format!("snapshot not taken: {error}; nothing stored is lost"))
        }
        other => CommandError::asked(other, "no snapshot was taken", "SNAP again"),
    }
}

pub(super) fn size_kept(error: Error, size: u64) -> CommandError {
    CommandError::asked(error, &format!("the batch size is still {size}"), "SETBATCH again")
}

pub(super) fn commit_failed(error: Error) -> CommandError {
    CommandError::asked(error, "nothing of the group was stored, and it is closed", "begin it again")
}

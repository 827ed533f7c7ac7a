//! How a command says that the engine refused it: what was not done, in the command's own words.

use crate::error::{Code, CommandError};
use kv_engine::Error;

pub(super) fn write_failed(error: Error) -> CommandError {
    CommandError::of_command(error, "this write was not stored", "repeat it")
}

pub(super) fn flush_failed(error: Error) -> CommandError {
    CommandError::of_command(error, "the flush was not done", "FLUSH again")
}

pub(super) fn snapshot_failed(error: Error) -> CommandError {
    match error {
        Error::Io { .. } => {
            CommandError::new(Code::SnapshotFailed, format!("snapshot not taken: {error}; nothing stored is lost"))
        }
        other => CommandError::of_command(other, "no snapshot was taken", "SNAP again"),
    }
}

pub(super) fn size_kept(error: Error, size: u64) -> CommandError {
    CommandError::of_command(error, &format!("the batch size is still {size}"), "SETBATCH again")
}

pub(super) fn commit_failed(error: Error) -> CommandError {
    CommandError::of_command(error, "nothing of the group was stored, and it is closed", "begin it again")
}

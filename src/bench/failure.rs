//! [`Failure`]: why a BENCH has no figures.

use crate::error::{Code, CommandError};
use kv_engine::Error;

/// Why there are no figures.
pub(super) enum Failure {
    /// The temporary store failed.
    Store(Error),
    /// There is not enough memory, or a thread cannot be started.
    Resources(String),
    Server(CommandError),
}

impl Failure {
    pub(super) fn of_server(text: String) -> Failure {
        Failure::Server(CommandError::new(Code::Failed, text))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Store(error)
    }
}

impl From<Failure> for CommandError {
    fn from(failure: Failure) -> CommandError {
        match failure {
            Failure::Resources(text) => {
                let text = format!(
                    "BENCH failed: {text}; your store is unchanged; use fewer --threads or a smaller --value-bytes, or \
                     raise the limit (ulimit -u, ulimit -v)"
                );
                CommandError::new(Code::Failed, text)
            }
            Failure::Server(error) => CommandError::new(error.code, format!("BENCH failed: {}", error.text)),
            Failure::Store(Error::NoSpace { path, source, .. }) => {
                let text = format!(
                    "BENCH failed: no room for its scratch store: {}: {source}; it is removed, and your store is unchanged; make \
                     room, or run a smaller BENCH",
                    path.display()
                );
                CommandError::new(Code::Failed, text)
            }
            Failure::Store(error) => {
                CommandError::new(Code::Failed, format!("BENCH failed in its scratch store: {error}; your store is unchanged"))
            }
        }
    }
}

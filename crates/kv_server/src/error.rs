//! [`Error`]: why a server did not start, or did not end well.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// The result of the calls of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Why a server did not start, or did not end well.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// An address cannot be listened on.
    Listen {
        /// The address, or the path of the socket.
        at: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// Everybody in the network could read and write the store.
    Unprotected {
        /// The address.
        address: SocketAddr,
    },
    /// A file of TLS cannot be used.
    Tls {
        /// The file, or the two that do not fit together.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A command that does not exist cannot be disabled.
    UnknownCommand {
        /// The name.
        name: String,
    },
    /// The system gave no thread, or no file for an event queue.
    Runtime(io::Error),
    /// Closing the store failed.
    Close(kv_engine::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Listen { at, source } => write!(f, "cannot listen on {at}: {source}; the server was not started"),
            Error::Unprotected { address } => write!(
                f,
                "{address} can be reached from other machines, and no password and no client certificate is required; \
                 the server was not started; set a password, require client certificates, or listen on 127.0.0.1"
            ),
            Error::Tls { file, reason } => write!(f, "TLS cannot use {file}: {reason}"),
            Error::UnknownCommand { name } => {
                write!(f, "there is no command {name}, so it cannot be disabled; COMMAND LIST has the names")
            }
            Error::Runtime(source) => write!(f, "cannot start the threads of the server: {source}"),
            Error::Close(source) => write!(f, "the server has ended, but the store was not closed cleanly: {source}"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Listen { source, .. } | Error::Runtime(source) => Some(source),
            Error::Close(source) => Some(source),
            Error::Unprotected { .. } | Error::Tls { .. } | Error::UnknownCommand { .. } => None,
        }
    }
}

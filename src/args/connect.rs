//! The options of `kv_cli connect`.

use crate::remote::Address;
use clap::ArgMatches;
use clap::parser::ValueSource;
use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(crate) struct ConnectArgs {
    /// File whose first line is the password. KV_PASSWORD is the password itself
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,

    /// Encrypt the connection, and check the certificate of the server
    #[arg(long)]
    pub(crate) tls: bool,

    /// Trust the authorities in FILE (PEM), and not those of the system
    #[arg(long, value_name = "FILE", requires = "tls")]
    pub(crate) tls_ca: Option<PathBuf>,

    /// Certificate of this client (PEM), if the server wants one
    #[arg(long, value_name = "FILE", requires_all = ["tls", "tls_key"])]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Its private key (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["tls", "tls_cert"])]
    pub(crate) tls_key: Option<PathBuf>,

    /// HOST:PORT or unix:PATH [default: 127.0.0.1:6379]; then a command, as without connect
    #[arg(value_name = "ADDRESS")]
    words: Vec<OsString>,
}

impl ConnectArgs {
    pub(crate) fn address(&self) -> Address {
        self.words.first().and_then(|word| Address::read(word)).unwrap_or_default()
    }

    /// The words of a command.
    pub(crate) fn command(&self) -> &[OsString] {
        &self.words[usize::from(self.words.first().is_some_and(|word| is_address(word)))..]
    }

    /// Why the options do not fit together.
    pub(super) fn conflict(&self) -> Option<&'static str> {
        let is_unix = matches!(self.address(), Address::Unix(_));
        (self.tls && is_unix).then_some("--tls is for HOST:PORT; a Unix socket does not leave this machine")
    }

    /// The first word, if it is no address and no command.
    pub(super) fn stray(&self, is_command: impl Fn(&[u8]) -> bool) -> Option<&OsStr> {
        let first = self.words.first()?;
        (!is_address(first) && !is_command(first.as_encoded_bytes())).then_some(first)
    }
}

/// Whether the word says where a server listens.
pub(crate) fn is_address(word: &OsStr) -> bool {
    Address::read(word).is_some()
}

/// Options about the files of a store, by the names of the fields.
const OF_FILES: [(&str, &str); 11] = [
    ("given_dir", "--dir"),
    ("wal", "--wal"),
    ("given_snapshot", "--snapshot"),
    ("read_only", "--read-only"),
    ("batch", "--batch"),
    ("flush_interval", "--flush-interval"),
    ("recovery", "--recovery"),
    ("checkpoint_log", "--checkpoint-log"),
    ("checkpoint_interval", "--checkpoint-interval"),
    ("values_in_snapshot", "--values-in-snapshot"),
    ("snapshot_on_exit", "--snapshot-on-exit"),
];

/// An option on the command line that `connect` would ignore. Variables may be set for other runs.
pub(super) fn ignored(matches: &ArgMatches) -> Option<&'static str> {
    let is_given = |name: &str| matches.value_source(name) == Some(ValueSource::CommandLine);
    OF_FILES.iter().find(|(name, _)| is_given(name)).map(|(_, option)| *option)
}

//! What the flags ask for, as plain data. `args` makes it from the command line; every other part only reads it.

use clap::ValueEnum;
use std::path::PathBuf;

/// The number of writes for each sync, unless the user chooses another.
pub(crate) const DEFAULT_BATCH: u64 = 5;
/// The same for `serve`: OK means durable.
pub(crate) const SERVED_BATCH: u64 = 1;

/// What the flags ask of a session.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) wal: PathBuf,
    pub(crate) snapshot: PathBuf,
    /// After how many writes the log is synced, unless the session changes that.
    pub(crate) batch: u64,
    /// At a prompt: errors do not count for the exit status, and a store that takes no more writes can still be read.
    pub(crate) interactive: bool,
    /// End at the first command that fails.
    pub(crate) bail: bool,
    /// Print how long each command took.
    pub(crate) timing: bool,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
    /// Run no file of commands before a prompt.
    pub(crate) no_rc: bool,
}

/// How replies are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line for each reply; values are quoted where necessary
    Text,
    /// Values as their own bytes, nothing for a missing one
    Raw,
    /// One object to a line
    Json,
    /// One row to a line, words quoted as redis-cli does
    Csv,
}

/// When to use colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

impl When {
    /// Whether to colour output that goes to a terminal, or to something else.
    pub(crate) fn on(self, terminal: bool) -> bool {
        let is_set = |variable: &str| std::env::var_os(variable).is_some_and(|value| !value.is_empty());
        match self {
            When::Always => true,
            When::Never => false,
            When::Auto => terminal && !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb"),
        }
    }
}

/// The form of a file that is imported.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Import {
    /// PUT and DEL lines
    Text,
    /// JSON Lines
    Json,
    /// A log of the C++ store
    CppLog,
    /// A snapshot of the C++ store
    CppSnapshot,
}

//! What the program says about itself beside its flags: the version, and the tables at the end of `--help`.
//!
//! Examples, environment variables, files and exit statuses are written here once. `args` puts them at the end of
//! `--help`, `pages` puts them into the man page.

use kv_engine::{LOG_FORMAT, SNAPSHOT_FORMAT};
use std::sync::LazyLock;

/// `0.1.0 (1375a3a0c2d1, log format 1, snapshot format 2)`. The commit is left out if the build did not know it.
pub(crate) static VERSION: LazyLock<String> = LazyLock::new(|| {
    let commit = option_env!("KV_ENGINE_COMMIT").map(|commit| format!("{commit}, ")).unwrap_or_default();
    format!("{} ({commit}log format {LOG_FORMAT}, snapshot format {SNAPSHOT_FORMAT})", env!("CARGO_PKG_VERSION"))
});

pub(crate) type Rows = &'static [(&'static str, &'static str)];

/// Command lines and what they do. A test runs each of them.
pub(crate) const EXAMPLES: Rows = &[
    ("kv_cli", "commands at a prompt"),
    ("kv_cli ./", "the store in this directory"),
    ("kv_cli PUT name 'Ada Lovelace'", "one command; also GET, DEL …"),
    ("kv_cli -x PUT photo < cat.jpg", "the value from stdin, byte for byte"),
    ("kv_cli --raw GET photo > cat2.jpg", "and back, with a line feed at the end"),
    ("kv_cli < script.kv", "the commands in a file"),
    ("kv_cli --json SCAN | jq", "one object to a line"),
    ("kv_cli -c 'BENCH 10000 1,5,50'", "the cost of a sync on this disk"),
    ("kv_cli wal", "the log, record by record"),
    ("kv_cli export backup.kv", "every entry; the store may be open"),
    ("kv_cli import backup.kv", "and back; safe to repeat"),
    ("kv_cli HELP PUT", "more about one command"),
];

/// The tools: how they are called, and what they do; for HELP with the name of one.
pub(crate) const TOOLS: Rows = &[
    ("wal [FILE]", "print the log, record by record"),
    ("verify", "check every byte of log and snapshot"),
    ("export [FILE]", "write every entry, also of damaged files"),
    ("import FILE", "read entries, also of cut exports"),
    ("replay [LOG]", "rebuild the state at any write"),
    ("serve", "serve the store to Redis clients; every OK is on the disk"),
    ("connect [ADDRESS]", "use a store that kv_cli serve serves"),
    ("torture", "crash stores in memory, and check what is recovered"),
];

/// The tools in few lines, for the end of HELP: with the commands they fit a terminal of 24 lines.
pub(crate) const TOOLS_IN_SHORT: Rows = &[
    ("kv_cli wal, verify, replay", "show the log, check the files, rebuild any state"),
    ("  export, import, torture", "copy all entries out and in; crash stores in memory"),
    ("  serve, connect", "serve Redis clients; use a store that is served"),
];

/// Environment variables. A flag is stronger than its variable.
pub(crate) const ENVIRONMENT: Rows = &[
    ("KV_DIR", "--dir, the directory of the store"),
    ("KV_WAL", "--wal, the log"),
    ("KV_SNAPSHOT", "--snapshot"),
    ("KV_BATCH", "--batch, writes per sync"),
    ("KV_FLUSH_INTERVAL_MS", "--flush-interval; a bare number is in milliseconds"),
    ("KV_CHECKPOINT_LOG", "--checkpoint-log"),
    ("KV_CHECKPOINT_INTERVAL", "--checkpoint-interval"),
    ("KV_VALUES_IN_SNAPSHOT", "--values-in-snapshot"),
    ("KV_PASSWORD", "the password of serve and connect"),
    ("KV_RC", "commands that a prompt runs first; empty: none"),
    ("KV_HISTORY", "file of the lines typed before; empty: no history"),
    ("NO_COLOR", "not empty: no colour on any terminal"),
    ("TERM", "dumb: no colour, no line editing"),
];

pub(crate) const EXIT_STATUS: Rows = &[
    ("0", "every command succeeded (a missing key is a success)"),
    ("1", "at least one command failed"),
    ("2", "wrong usage"),
    ("3", "no store or no server, it could not be opened, or files are damaged"),
    ("4", "writes could not be saved, or it is unknown whether they were"),
    ("128+n", "ended by signal n, after a clean shutdown"),
    ("n", "after EXIT n"),
];

pub(crate) const FILES: Rows = &[
    ("/tmp/kv.wal", "the log, unless --dir or --wal says otherwise"),
    ("/tmp/kv.snapshot", "the snapshot, unless --dir, --wal or --snapshot says otherwise"),
    ("~/.config/kv_cli/rc", "commands that a prompt runs first (in XDG_CONFIG_HOME if that is set)"),
    ("~/.local/state/kv_cli/history", "lines typed before (in XDG_STATE_HOME if that is set)"),
];

/// The end of `--help`; no line is longer than 79 columns.
pub(crate) fn after_help() -> String {
    let table = |title: &str, width: usize, rows: Rows| {
        let rows = rows.iter().map(|(name, what)| format!("\n  {name:<width$} {what}"));
        format!("{title}:{}", rows.collect::<String>())
    };
    [
        table("Examples", 34, EXAMPLES),
        "Long options may also follow COMMAND. After a word --, all words are data.".to_string(),
        table("Environment", 23, ENVIRONMENT),
        table("Exit status", 8, EXIT_STATUS),
    ]
    .join("\n\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_help_fits_a_terminal() {
        for line in after_help().lines() {
            assert!(line.chars().count() < 80, "{line}");
        }
    }
}

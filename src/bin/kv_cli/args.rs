//! The command line: flags, their environment variables, and the texts of `--help` and `--version`.

use clap::{CommandFactory, Parser, Subcommand, ValueEnum, error::ErrorKind};
use kv_engine::torture::Case;
use kv_engine::{LOG_FORMAT, MAX_BATCH_SIZE, SNAPSHOT_FORMAT};
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;

/// `0.1.0 (log format 1, snapshot format 1)`.
static VERSION: LazyLock<String> =
    LazyLock::new(|| format!("{} (log format {LOG_FORMAT}, snapshot format {SNAPSHOT_FORMAT})", env!("CARGO_PKG_VERSION")));

const AFTER_HELP: &str = "\
Examples:
  kv_cli                                     talk to the store at a prompt
  kv_cli PUT name 'Ada Lovelace'             one command; GET, DEL, SIZE … likewise
  kv_cli -x PUT photo < cat.jpg              the value from stdin, every byte of it
  kv_cli --raw GET photo | head -c -1 >out   and back, less the line end of a reply
  kv_cli < script.kv                         the commands of a file, one to a line
  kv_cli -c 'BENCH 10000 1,5,50'             what a sync costs on this disk
  kv_cli --json SCAN | jq                    replies as JSON, one object to a line
  kv_cli wal                                 the log, record by record
  kv_cli HELP                                the commands

Options come before COMMAND: what follows it belongs to it. KV_HISTORY names the file of lines
typed before (empty: none), NO_COLOR is obeyed.

Exit status:
  0        every command succeeded (a missing key is a success)
  1        at least one command failed
  2        wrong usage
  3        the store could not be opened, or verify found damage
  4        writes could not be saved
  128+n    ended by signal n, after an orderly flush
  n        after EXIT n";

/// A crash-consistent key-value store.
///
/// Without COMMAND it reads commands: from a terminal at a prompt, else one to a line from stdin.
#[derive(Debug, Parser)]
#[command(name = "kv_cli", version = VERSION.as_str(), after_help = AFTER_HELP, disable_help_subcommand = true)]
#[command(
    override_usage = "kv_cli [OPTIONS] [COMMAND [ARG]...]\n       kv_cli [OPTIONS] wal [FILE]\n       kv_cli [OPTIONS] verify\n       kv_cli [OPTIONS] replay [LOG] [--until <SEQ>] [--digest]\n       kv_cli [OPTIONS] torture [--rung <RUNG>] [--states <N>]"
)]
pub(crate) struct Args {
    /// Write-ahead log
    #[arg(long, value_name = "PATH", env = "KV_WAL", default_value = "/tmp/kv.wal", global = true)]
    pub(crate) wal: PathBuf,

    /// Snapshot
    #[arg(long, value_name = "PATH", env = "KV_SNAPSHOT", default_value = "/tmp/kv.snapshot", global = true)]
    pub(crate) snapshot: PathBuf,

    /// Sync the log after every N writes; 1 makes every OK durable
    #[arg(long, value_name = "N", env = "KV_BATCH", default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=MAX_BATCH_SIZE))]
    pub(crate) batch: u64,

    /// Sync what was accepted at the latest after so many milliseconds; 0 is never
    #[arg(long, value_name = "MS", env = "KV_FLUSH_INTERVAL_MS", default_value_t = 1000)]
    pub(crate) flush_interval: u64,

    /// What to do with a log that is damaged where it had been synced
    #[arg(long, value_name = "POLICY", default_value = "prefix")]
    pub(crate) recovery: Policy,

    /// Take a snapshot when the store is closed
    #[arg(long)]
    pub(crate) snapshot_on_exit: bool,

    /// Run LINE; repeatable
    #[arg(short, long, value_name = "LINE")]
    pub(crate) command: Vec<OsString>,

    /// Run the lines of FILE; - is stdin; repeatable
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub(crate) file: Vec<PathBuf>,

    /// Take the last argument of COMMAND from stdin, every byte of it
    #[arg(short = 'x', conflicts_with_all = ["command", "file"])]
    pub(crate) stdin_argument: bool,

    /// Stop at the first failing command
    #[arg(long)]
    pub(crate) bail: bool,

    /// How replies are written
    #[arg(long, value_name = "FORMAT", default_value = "text", conflicts_with_all = ["raw", "json"])]
    pub(crate) output: Format,

    /// Short for --output raw: values as their own bytes
    #[arg(long, conflicts_with = "json")]
    pub(crate) raw: bool,

    /// Short for --output json: one object to a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// When to use colour; NO_COLOR is obeyed
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,

    /// Print how long each command took
    #[arg(long)]
    pub(crate) timing: bool,

    /// No banner, no warnings but of lost writes
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Say more: how opening went, why history is off, the lines behind a table
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Print a man page or a shell's completions
    #[arg(long, value_name = "KIND")]
    pub(crate) generate: Option<Generate>,

    #[command(subcommand)]
    pub(crate) words: Option<Words>,
}

/// What follows the flags.
#[derive(Debug, Subcommand)]
pub(crate) enum Words {
    /// Print the log, record by record, without opening the store
    Wal(WalArgs),
    /// Check every byte of log and snapshot, without opening the store
    Verify,
    /// Rebuild the state at any write from the files, without opening the store
    Replay(ReplayArgs),
    /// Crash, fail and damage the store in memory, and check what it recovers; touches no file
    Torture(TortureArgs),
    #[command(external_subcommand)]
    Command(Vec<OsString>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct WalArgs {
    /// Another log than --wal, for example one kept as damaged
    pub(crate) file: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// Another log than --wal
    pub(crate) log: Option<PathBuf>,

    /// Stop after this write
    #[arg(long, value_name = "SEQ")]
    pub(crate) until: Option<u64>,

    /// Show the state after every write
    #[arg(long)]
    pub(crate) steps: bool,

    /// Show the digest of the state: the same on two machines that hold the same entries
    #[arg(long)]
    pub(crate) digest: bool,

    /// Compare with the state of another log
    #[arg(long, value_name = "OTHER")]
    pub(crate) diff: Option<PathBuf>,

    /// The other log's snapshot
    #[arg(long, value_name = "PATH", requires = "diff")]
    pub(crate) diff_snapshot: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TortureArgs {
    /// What is done to the store
    #[arg(long, value_name = "RUNG", default_value = "engine")]
    pub(crate) rung: Rung,

    /// Stop when so many different states were tried; damaged files with rot, fault plans with faults, kills with kills
    /// [default: 100000; 1000 kills]
    #[arg(long, value_name = "N")]
    pub(crate) states: Option<u64>,

    /// Another seed gives other workloads; the same one, the same run
    #[arg(long, value_name = "S", default_value_t = 1)]
    pub(crate) seed: u64,

    /// Repeat a single workload, as a failure names it
    #[arg(long, value_name = "W", conflicts_with_all = ["states", "seed"])]
    pub(crate) workload: Option<u64>,

    /// Repeat a single case, as a failure names it: make it small, and tell it
    #[arg(long, value_name = "CASE", conflicts_with_all = ["states", "seed", "workload"])]
    pub(crate) case: Option<Case>,

    /// With the engine, also kill so many processes of this program, over scratch stores in the directory for temporary files
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "workload")]
    pub(crate) kills: u64,

    /// End with a line for a program: rung NAME tried=N failed=F skipped=S
    #[arg(long)]
    pub(crate) ledger: bool,
}

/// One way to torture the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rung {
    /// The whole engine crashes at every change it makes to a simulated disk
    Engine,
    /// The end of a log is cut at every byte, with every kind of rest, and loses every set of sectors
    Log,
    /// Bits, bytes, sectors and records of log and snapshot are damaged
    Rot,
    /// Recovery crashes at every change it makes, and so does the recovery behind it
    Recovery,
    /// Every operation of the engine and of recovery fails with every error, and then it crashes
    Faults,
    /// Processes of this program are killed with SIGKILL under load, in recovery and in SNAP
    Kills,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// A line for each reply; values are quoted where they must be
    Text,
    /// Values as their own bytes, nothing for a missing one
    Raw,
    /// One object to a line
    Json,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// Recover what stands before the damage, keep the damaged log beside it
    Prefix,
    /// Refuse to open, change nothing
    Strict,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Generate {
    Man,
    CompleteBash,
    CompleteZsh,
    CompleteFish,
}

impl Args {
    /// The command line of this process; ends the process where there is nothing to run.
    pub(crate) fn of_process() -> Args {
        let args = Args::parse();
        let words = matches!(args.words, Some(Words::Command(_)));
        if words && !(args.command.is_empty() && args.file.is_empty()) {
            fail(ErrorKind::ArgumentConflict, "COMMAND cannot be used together with -c or -f");
        }
        if args.stdin_argument && !words {
            fail(ErrorKind::MissingRequiredArgument, "-x needs a COMMAND whose last argument it reads");
        }
        args
    }

    pub(crate) fn format(&self) -> Format {
        match (self.raw, self.json) {
            (true, _) => Format::Raw,
            (_, true) => Format::Json,
            _ => self.output,
        }
    }

    pub(crate) fn options(&self) -> kv_engine::Options {
        kv_engine::Options::new(&self.wal, &self.snapshot)
            .batch_size(self.batch)
            .flush_interval(std::time::Duration::from_millis(self.flush_interval))
            .snapshot_on_close(self.snapshot_on_exit)
            .recovery(match self.recovery {
                Policy::Prefix => kv_engine::Recovery::Prefix,
                Policy::Strict => kv_engine::Recovery::Strict,
            })
    }
}

fn fail(kind: ErrorKind, text: &str) -> ! {
    Args::command().error(kind, text).exit()
}

impl Generate {
    /// The page or script, for stdout.
    pub(crate) fn text(self) -> std::io::Result<Vec<u8>> {
        let mut out = Vec::new();
        let mut complete = |shell| clap_complete::generate(shell, &mut Args::command(), "kv_cli", &mut out);
        match self {
            Generate::CompleteBash => complete(clap_complete::Shell::Bash),
            Generate::CompleteZsh => complete(clap_complete::Shell::Zsh),
            Generate::CompleteFish => complete(clap_complete::Shell::Fish),
            Generate::Man => clap_mangen::Man::new(Args::command()).render(&mut out)?,
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_holds_together() {
        Args::command().debug_assert();
    }

    #[test]
    fn words_may_look_like_flags_behind_the_first() {
        let args = Args::try_parse_from(["kv_cli", "--batch", "1", "PUT", "n", "-5"]).expect("parses");
        assert!(matches!(args.words, Some(Words::Command(words)) if words == ["PUT", "n", "-5"]));
        assert_eq!(args.batch, 1);
    }

    #[test]
    fn a_mistyped_flag_is_not_a_command() {
        assert!(Args::try_parse_from(["kv_cli", "--wla", "x"]).is_err());
        assert!(Args::try_parse_from(["kv_cli", "--batch", "0"]).is_err());
    }
}

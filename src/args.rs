//! The command line: flags, their environment variables, and the texts of `--help`.
//!
//! [`Args`] is what `clap` reads. Its texts are the texts of `--help`. `early` ends the process after a mistake or with
//! help. `paths` finds the files of the store.

mod connect;
mod early;
mod paths;
mod serve;
mod values;

use crate::about::{self, VERSION};
use crate::settings::{DEFAULT_BATCH, Format, Import, SERVED_BATCH, When};
use crate::text::safe;
use clap::builder::Resettable;
use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
pub(crate) use connect::{ConnectArgs, is_address};
use early::end_early;
use kv_engine::torture::Case;
use paths::{By, Given, OLD_PLACE, beside, is_directory, no_directory, shell_word, stray};
pub(crate) use serve::{LogFormat, ServeArgs, Then};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;
use values::{at_least_one, batch_size, interval, milliseconds, size, whole};

/// A crash-consistent key-value store.
///
/// Without COMMAND it reads commands: at a prompt from a terminal, otherwise from stdin, one to a line.
#[derive(Debug, Parser)]
#[command(name = "kv_cli", version = VERSION.as_str(), after_help = about::after_help(), disable_help_subcommand = true)]
#[command(
    override_usage = "kv_cli [OPTIONS] [COMMAND [ARG]...]\n       kv_cli [OPTIONS] wal [FILE] [--follow] [--record <SEQ>] [--hex]\n       kv_cli [OPTIONS] verify\n       kv_cli [OPTIONS] export [FILE] [--salvage]\n       kv_cli [OPTIONS] import <FILE>...\n       kv_cli [OPTIONS] replay [LOG] [--until <SEQ>] [--export <FILE>]\n       kv_cli [OPTIONS] serve [--listen <ADDRESS>]...\n       kv_cli [OPTIONS] connect [ADDRESS] [COMMAND [ARG]...]\n       kv_cli [OPTIONS] torture [--rung <RUNG>] [--states <N>]"
)]
pub(crate) struct Args {
    /// Directory of the store: the log is DIR/kv.wal, the snapshot DIR/kv.snapshot
    #[arg(long = "dir", value_name = "DIR", env = "KV_DIR", hide_env_values = true, global = true)]
    given_dir: Option<PathBuf>,

    /// Write-ahead log
    #[arg(long, value_name = "PATH", env = "KV_WAL", hide_env_values = true, default_value = "/tmp/kv.wal", global = true)]
    pub(crate) wal: PathBuf,

    /// Snapshot [default: beside the log, with .snapshot instead of .wal at the end of its name]
    #[arg(long = "snapshot", value_name = "PATH", env = "KV_SNAPSHOT", hide_env_values = true, global = true)]
    given_snapshot: Option<PathBuf>,

    /// Only read: take no lock and change nothing, also while another process has the store open
    #[arg(long, conflicts_with = "snapshot_on_exit")]
    pub(crate) read_only: bool,

    /// The given one, or the one beside the log.
    #[arg(skip)]
    pub(crate) snapshot: PathBuf,

    /// Sync the log after every N writes, up to 1000000; with 1, which serve does unless told, every OK is durable
    #[arg(long, value_name = "N", env = "KV_BATCH", hide_env_values = true, default_value_t = DEFAULT_BATCH, value_parser = batch_size)]
    pub(crate) batch: u64,

    /// Sync pending writes after this time (for example 500ms; 0 or off: never)
    #[arg(long, value_name = "TIME", env = "KV_FLUSH_INTERVAL_MS", hide_env_values = true, default_value = "1s", value_parser = milliseconds)]
    pub(crate) flush_interval: Duration,

    /// What to do with a log that is damaged in a part that was synced
    #[arg(long, value_name = "POLICY", default_value = "prefix")]
    pub(crate) recovery: Policy,

    /// Take a snapshot in the background when the log has this size (for example 1GiB; 0 or off: never)
    #[arg(long, value_name = "SIZE", env = "KV_CHECKPOINT_LOG", hide_env_values = true, default_value = "64MiB", value_parser = size)]
    pub(crate) checkpoint_log: u64,

    /// Take a snapshot in the background this often, if there were writes (for example 10min; 0 or off: never)
    #[arg(long, value_name = "TIME", env = "KV_CHECKPOINT_INTERVAL", hide_env_values = true, default_value = "off", value_parser = interval)]
    pub(crate) checkpoint_interval: Duration,

    /// For stores larger than memory: leave the values in the snapshot, and cache up to this size of it (for example
    /// 64MiB)
    #[arg(long, value_name = "SIZE", env = "KV_VALUES_IN_SNAPSHOT", hide_env_values = true, value_parser = size)]
    pub(crate) values_in_snapshot: Option<u64>,

    /// Take a snapshot when the store is closed
    #[arg(long)]
    pub(crate) snapshot_on_exit: bool,

    /// Run LINE; repeatable
    #[arg(short, long, value_name = "LINE")]
    pub(crate) command: Vec<OsString>,

    /// Run the lines of FILE (- is stdin); repeatable
    #[arg(short, long, value_name = "FILE", conflicts_with = "command")]
    pub(crate) file: Vec<PathBuf>,

    /// Read the last argument of COMMAND from stdin, byte for byte
    #[arg(short = 'x', conflicts_with_all = ["command", "file"])]
    pub(crate) stdin_argument: bool,

    /// Stop at the first failing command
    #[arg(long)]
    pub(crate) bail: bool,

    /// How replies are written
    #[arg(long, value_name = "FORMAT", default_value = "text", conflicts_with_all = ["raw", "json", "csv"])]
    pub(crate) output: Format,

    /// Short for --output raw: values as their own bytes
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    pub(crate) raw: bool,

    /// Short for --output json: one object to a line
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Short for --output csv: a row for each reply or entry, quoted as redis-cli does
    #[arg(long, conflicts_with = "json")]
    pub(crate) csv: bool,

    /// When to use colour; auto also looks at NO_COLOR
    #[arg(long, value_name = "WHEN", default_value = "auto", global = true)]
    pub(crate) color: When,

    /// Print how long each command took
    #[arg(long)]
    pub(crate) timing: bool,

    /// No banner, and no warnings except about lost writes
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Print more: what was recovered, why no history is kept, BENCH figures as lines too
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Do not run the commands of KV_RC or ~/.config/kv_cli/rc before a prompt
    #[arg(long)]
    pub(crate) no_rc: bool,

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
    /// Write every entry to a file or stdout, without opening the store
    Export(ExportArgs),
    /// Read entries from files; entries that are there already are not written again
    Import(ImportArgs),
    /// Rebuild the state at any write from the files, without opening the store
    Replay(ReplayArgs),
    /// Serve the store to Redis clients until SIGTERM or Ctrl-C; every OK is on the disk, unless --batch says otherwise
    Serve(ServeArgs),
    /// Use a store that kv_cli serve serves: the same prompt, scripts and commands
    #[command(override_usage = "kv_cli [OPTIONS] connect [ADDRESS] [COMMAND [ARG]...]")]
    Connect(ConnectArgs),
    /// Crash, fail and damage stores in memory, and check what is recovered; your store is not opened
    Torture(TortureArgs),
    #[command(external_subcommand)]
    Command(Vec<OsString>),
}

#[derive(Debug, clap::Args)]
pub(crate) struct WalArgs {
    /// Another log than --wal, for example one that was kept as damaged
    pub(crate) file: Option<PathBuf>,

    /// Continue as the log grows, also after checkpoints, until Ctrl-C
    #[arg(short, long)]
    pub(crate) follow: bool,

    /// Only the records with this sequence number
    #[arg(long, value_name = "SEQ", value_parser = whole)]
    pub(crate) record: Option<u64>,

    /// Show the bytes, with the name of each field; not in JSON
    #[arg(long)]
    pub(crate) hex: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ExportArgs {
    /// The file to write, put in place when it is complete; without it, or as -, stdout. It has PUT lines, which
    /// kv_cli < FILE runs. With --json, or if its name ends in .jsonl, it has JSON Lines
    pub(crate) file: Option<PathBuf>,

    /// Write every entry of damaged files that passes its check. The result is not a state that the store ever had
    #[arg(long)]
    pub(crate) salvage: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ImportArgs {
    /// Exports, in either form, or the log or snapshot of the C++ store; - is stdin
    #[arg(required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// The format of the files, if their beginning does not show it
    #[arg(long, value_name = "FORMAT")]
    pub(crate) from: Option<Import>,

    /// Import the entries that are left in an export that was cut or changed. In a log of the C++ store, also read the
    /// records after a bad one, which that store never reads
    #[arg(long)]
    pub(crate) salvage: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArgs {
    /// Another log than --wal, or the directory of another store
    pub(crate) log: Option<PathBuf>,

    /// Stop after this write. If a snapshot was taken, the states before it are not in the files any more
    #[arg(long, value_name = "SEQ", value_parser = whole)]
    pub(crate) until: Option<u64>,

    /// Write the entries of that state to this file, as kv_cli export does; - is stdout
    #[arg(long, value_name = "FILE", conflicts_with_all = ["steps", "digest", "diff", "get"])]
    pub(crate) export: Option<PathBuf>,

    /// Print the value that this key had, as GET does
    #[arg(long, value_name = "KEY", conflicts_with_all = ["steps", "digest", "diff"])]
    pub(crate) get: Option<OsString>,

    /// Show the state after every write
    #[arg(long)]
    pub(crate) steps: bool,

    /// Show the digest of the state; two stores with the same entries have the same digest
    #[arg(long)]
    pub(crate) digest: bool,

    /// Compare with the state of another store: its directory, or its log with the snapshot beside it
    #[arg(long, value_name = "OTHER")]
    pub(crate) diff: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(crate) struct TortureArgs {
    /// What is done to the store
    #[arg(long, value_name = "RUNG", default_value = "engine")]
    pub(crate) rung: Rung,

    /// Stop after this number of different states. The rungs rot, faults and kills count damaged files, fault plans and
    /// kills [default: 100000; 1000 for kills]
    #[arg(long, value_name = "N", value_parser = at_least_one)]
    pub(crate) states: Option<u64>,

    /// The same seed gives the same run, another seed gives other workloads
    #[arg(long, value_name = "S", default_value = "1", value_parser = whole)]
    pub(crate) seed: u64,

    /// Repeat one workload; a failure names it
    #[arg(long, value_name = "W", value_parser = whole, conflicts_with_all = ["states", "seed"])]
    pub(crate) workload: Option<u64>,

    /// Repeat one case, make it as small as possible, and show it; a failure names it
    #[arg(long, value_name = "CASE", conflicts_with_all = ["rung", "states", "seed", "workload", "kills"])]
    pub(crate) case: Option<Case>,

    /// With the rung engine, also kill this number of processes of this program. They use scratch stores in the
    /// directory for temporary files [default: 10]
    #[arg(long, value_name = "N", value_parser = whole, conflicts_with = "workload")]
    pub(crate) kills: Option<u64>,

    /// End with a line for a program: rung NAME tried=N failed=F skipped=S
    #[arg(long)]
    pub(crate) ledger: bool,
}

impl Words {
    /// Whether it runs without a session.
    fn is_tool(&self) -> bool {
        !matches!(self, Words::Import(_) | Words::Command(_) | Words::Connect(_))
    }
}

impl TortureArgs {
    /// Why the rung would ignore an option.
    fn ignored(&self) -> Option<&'static str> {
        match self.rung {
            Rung::Kills if self.workload.is_some() => Some("--workload repeats a workload; the rung kills has none"),
            Rung::Kills if self.kills.is_some() => Some("--kills is for the rung engine; the rung kills takes --states"),
            Rung::Engine | Rung::Kills => None,
            _ if self.kills.is_some() => Some("--kills is for the rung engine; this rung kills no process"),
            _ => None,
        }
    }
}

/// One way to torture the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rung {
    /// The engine crashes at every change it makes to a simulated disk
    Engine,
    /// The end of a log is cut at every byte, with every kind of bytes after it, and loses every set of sectors
    Log,
    /// Bits, bytes, sectors and records of log and snapshot are damaged
    Rot,
    /// Recovery crashes at every change it makes, and so does the recovery after it
    Recovery,
    /// Every operation of the engine and of recovery fails with every error, and then the engine crashes
    Faults,
    /// Processes of this program are killed with SIGKILL under load, in recovery and in SNAP
    Kills,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Policy {
    /// Recover every record before the damage, and keep the damaged log beside the new one
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
    /// The command line of this process, with its options before the command. Ends the process after a mistake, help,
    /// or the version.
    pub(crate) fn of(words: Result<Vec<OsString>, String>, is_command: impl Fn(&[u8]) -> bool) -> Args {
        let words = words.unwrap_or_else(|text| fail(ErrorKind::UnknownArgument, &text));
        let args = Args::read(words, &is_command).unwrap_or_else(|error| end_early(error, Args::command()));
        if let Some(Words::Connect(connect)) = &args.words
            && let Some(word) = connect.stray(&is_command)
        {
            let word = safe(&word.to_string_lossy());
            fail(ErrorKind::InvalidSubcommand, &format!("'{word}' is no address (HOST:PORT or unix:PATH) and no command"));
        }
        if let Some(Words::Connect(connect)) = &args.words
            && let Some(text) = connect.conflict()
        {
            fail(ErrorKind::ArgumentConflict, text);
        }
        let words = args.command_words().is_some();
        if words && !(args.command.is_empty() && args.file.is_empty()) {
            fail(ErrorKind::ArgumentConflict, "COMMAND cannot be used together with -c or -f");
        }
        if let Some(Words::Torture(torture)) = &args.words
            && let Some(text) = torture.ignored()
        {
            fail(ErrorKind::ArgumentConflict, text);
        }
        if args.format() == Format::Csv && args.words.as_ref().is_some_and(Words::is_tool) {
            fail(
                ErrorKind::ArgumentConflict,
                "a tool does not write CSV; it has --json, and kv_cli --csv SCAN writes every entry",
            );
        }
        if args.stdin_argument && !words {
            fail(ErrorKind::MissingRequiredArgument, "-x needs a COMMAND whose last argument it reads");
        }
        args
    }

    /// Reads a command line, and finds the files of the store.
    fn read(
        line: impl IntoIterator<Item = impl Into<OsString>>,
        is_command: impl Fn(&[u8]) -> bool,
    ) -> Result<Args, clap::Error> {
        let mut program = Args::command().mut_args(|arg| {
            // An empty variable counts as not set.
            let is_empty = arg.get_env().and_then(std::env::var_os).is_some_and(|value| value.is_empty());
            if is_empty { arg.env(Resettable::Reset) } else { arg }
        });
        let line: Vec<OsString> = line.into_iter().map(Into::into).collect();
        let matches = program.try_get_matches_from_mut(&line).or_else(|error| match error.kind() {
            // Help names all variables, also the empty ones.
            ErrorKind::DisplayHelp => Args::command().try_get_matches_from(&line),
            _ => Err(error),
        })?;
        let mut args = Args::from_arg_matches(&matches).map_err(|error| error.format(&mut program))?;
        if matches!(args.words, Some(Words::Serve(_))) && matches.value_source("batch") == Some(ValueSource::DefaultValue) {
            args.batch = SERVED_BATCH;
        }
        if matches!(args.words, Some(Words::Connect(_)))
            && let Some(option) = connect::ignored(&matches)
        {
            let text = format!("{option} is about the files of a store; with connect the server has its own");
            return Err(program.error(ErrorKind::ArgumentConflict, text));
        }
        let by = |name| match matches.value_source(name) {
            Some(ValueSource::CommandLine) => By::Option,
            Some(ValueSource::EnvVariable) => By::Variable,
            _ => By::Default,
        };
        let mut dir = args.given_dir.take().map(|dir| (dir, by("given_dir")));
        if let Some(word) = args.directory_word(is_command).map_err(|text| program.error(ErrorKind::InvalidSubcommand, text))? {
            if dir.as_ref().is_some_and(|(_, by)| *by == By::Option) {
                return Err(program.error(ErrorKind::ArgumentConflict, "two directories are given; the store has one"));
            }
            dir = Some((word, By::Option));
            args.words = None;
        }
        let given = Given {
            wal: (std::mem::take(&mut args.wal), by("wal")),
            snapshot: args.given_snapshot.take().map(|path| (path, by("given_snapshot"))),
            dir,
        };
        let (wal, snapshot) = given.resolve().map_err(|text| program.error(ErrorKind::ArgumentConflict, text))?;
        args.snapshot = snapshot.clone().unwrap_or_else(|| beside(&wal));
        (args.wal, args.given_snapshot) = (wal, snapshot);
        Ok(args)
    }

    /// The words of one command.
    pub(crate) fn command_words(&self) -> Option<&[OsString]> {
        match &self.words {
            Some(Words::Command(words)) => Some(words),
            Some(Words::Connect(connect)) => Some(connect.command()).filter(|words| !words.is_empty()),
            _ => None,
        }
    }

    /// The directory of `kv_cli DIR`. A word that is a command is never a directory.
    fn directory_word(&self, is_command: impl Fn(&[u8]) -> bool) -> Result<Option<PathBuf>, String> {
        let Some(Words::Command(words)) = &self.words else { return Ok(None) };
        let Some((first, rest)) = words.split_first() else { return Ok(None) };
        let word = Path::new(first);
        if is_command(first.as_encoded_bytes()) || !is_directory(word) {
            return Ok(None);
        }
        match rest {
            [] => Ok(Some(word.to_path_buf())),
            _ => Err(format!(
                "{} is a directory and not a command; to run a command on the store in it: --dir {} before the command",
                safe(&word.display().to_string()),
                safe(&shell_word(word))
            )),
        }
    }

    /// What is wrong with the directory of the store, and what to do.
    pub(crate) fn no_directory(&self) -> Option<String> {
        no_directory(&self.wal)
    }

    /// The snapshot that belongs to another log: the given one, or the one beside that log if there is one.
    pub(crate) fn snapshot_of(&self, log: &Path) -> PathBuf {
        let beside = beside(log);
        if self.given_snapshot.is_some() || !beside.exists() { self.snapshot.clone() } else { beside }
    }

    /// The log and the snapshot of another store: of a directory, or of a log.
    pub(crate) fn other_store(&self, path: &Path) -> (PathBuf, PathBuf) {
        if path.is_dir() {
            return (path.join("kv.wal"), path.join("kv.snapshot"));
        }
        let beside = beside(path);
        (path.to_path_buf(), if beside.exists() { beside } else { self.snapshot.clone() })
    }

    /// What to do if log and snapshot do not belong together because the snapshot is where an older version put it.
    pub(crate) fn old_place(&self) -> Option<String> {
        if self.given_snapshot.is_some() {
            return None;
        }
        stray(&self.wal, &self.snapshot, Path::new(OLD_PLACE))
    }

    pub(crate) fn format(&self) -> Format {
        match (self.raw, self.json, self.csv) {
            (true, ..) => Format::Raw,
            (_, true, _) => Format::Json,
            (.., true) => Format::Csv,
            _ => self.output,
        }
    }

    pub(crate) fn options(&self) -> kv_engine::Options {
        let options = kv_engine::Options::new(&self.wal, &self.snapshot);
        let options = match self.values_in_snapshot {
            Some(cache) => options.values_in_snapshot(usize::try_from(cache).unwrap_or(usize::MAX)),
            None => options,
        };
        options
            .batch_size(self.batch)
            .flush_interval(self.flush_interval)
            .checkpoint_log_bytes(self.checkpoint_log)
            .checkpoint_interval(self.checkpoint_interval)
            .snapshot_on_close(self.snapshot_on_exit)
            .recovery(match self.recovery {
                Policy::Prefix => kv_engine::Recovery::Prefix,
                Policy::Strict => kv_engine::Recovery::Strict,
            })
    }
}

fn fail(kind: ErrorKind, text: &str) -> ! {
    end_early(Args::command().error(kind, text), Args::command())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn words_after_the_first_may_look_like_flags() {
        let args = Args::try_parse_from(["kv_cli", "--batch", "1", "PUT", "n", "-5"]).expect("parses");
        assert!(matches!(args.words, Some(Words::Command(words)) if words == ["PUT", "n", "-5"]));
        assert_eq!(args.batch, 1);
    }

    #[test]
    fn sizes_and_times_are_read_as_people_write_them() {
        let read = |args: &[&str]| Args::try_parse_from([&["kv_cli"], args].concat());
        let args = read(&[]).expect("defaults");
        assert_eq!((args.checkpoint_log, args.checkpoint_interval), (64 << 20, Duration::ZERO));
        assert_eq!(args.flush_interval, Duration::from_secs(1));
        for (text, bytes) in [("64M", 64_000_000), ("1GiB", 1 << 30), ("512k", 512_000), ("4096", 4096), ("0", 0), ("off", 0)] {
            assert_eq!(read(&["--checkpoint-log", text]).expect(text).checkpoint_log, bytes, "{text}");
        }
        for (text, ms) in [("30s", 30_000), ("1h 30min", 5_400_000), ("1ms", 1), ("0", 0), ("off", 0)] {
            let args = read(&["--checkpoint-interval", text, "--flush-interval", text]).expect(text);
            assert_eq!(args.checkpoint_interval, Duration::from_millis(ms), "{text}");
            assert_eq!(args.flush_interval, args.checkpoint_interval, "{text}");
        }
        assert_eq!(read(&["--flush-interval", "250"]).expect("ms").flush_interval, Duration::from_millis(250));
        for wrong in ["30", "1ns", "-1s", "soon", ""] {
            assert!(read(&["--checkpoint-interval", wrong]).is_err(), "{wrong}");
        }
        for wrong in ["64X", "-1", "many", ""] {
            assert!(read(&["--checkpoint-log", wrong]).is_err(), "{wrong}");
        }
    }

    /// Without the variables of the tester.
    #[test]
    fn case_41_every_way_to_name_the_store_gives_both_paths() {
        if ["KV_WAL", "KV_SNAPSHOT", "KV_DIR"].iter().any(|name| std::env::var_os(name).is_some()) {
            return;
        }
        let paths = |args: &[&str]| {
            let args = Args::read([&["kv_cli"], args].concat(), |word| word == b"size").expect("parses");
            [args.wal, args.snapshot].map(|path| path.to_str().expect("text").to_string())
        };
        for (args, expected) in [
            (&[][..], ["/tmp/kv.wal", "/tmp/kv.snapshot"]),
            (&["--wal", "d/a.wal"], ["d/a.wal", "d/a.snapshot"]),
            (&["verify", "--wal", "d/a.wal"], ["d/a.wal", "d/a.snapshot"]),
            (&["--wal", "w", "--snapshot", "s"], ["w", "s"]),
            (&["--dir", "d"], ["d/kv.wal", "d/kv.snapshot"]),
            (&["--dir", "d", "verify"], ["d/kv.wal", "d/kv.snapshot"]),
            (&["verify", "--dir", "d"], ["d/kv.wal", "d/kv.snapshot"]),
            (&["nowhere/"], ["nowhere/kv.wal", "nowhere/kv.snapshot"]),
            (&["."], ["./kv.wal", "./kv.snapshot"]),
            (&["-c", "SIZE", "src"], ["src/kv.wal", "src/kv.snapshot"]),
        ] {
            assert_eq!(paths(args), expected, "{args:?}");
        }
        for conflict in [["--dir", "d", "--wal", "w"], ["--dir", "d", "--snapshot", "s"], ["--dir", "d", "-q", "e/"]] {
            assert!(Args::read([&["kv_cli"][..], &conflict].concat(), |_| false).is_err(), "{conflict:?}");
        }
    }

    #[test]
    fn case_41_a_word_with_a_slash_at_its_end_is_never_a_command() {
        let words = |args: &[&str]| Args::read([&["kv_cli"], args].concat(), |word| word == b"src").map(|args| args.words);
        assert!(matches!(words(&["d/"]), Ok(None)));
        assert!(matches!(words(&["src"]), Ok(Some(Words::Command(_)))), "a command, although a directory has its name");
        assert!(matches!(words(&["src/"]), Ok(None)));
        let error = words(&["my d/", "GET", "a"]).expect_err("not a command").to_string();
        assert!(error.contains("my d/ is a directory and not a command") && error.contains("--dir 'my d/'"), "{error}");
    }

    #[test]
    fn a_mistyped_flag_is_not_a_command() {
        assert!(Args::try_parse_from(["kv_cli", "--wla", "x"]).is_err());
    }

    #[test]
    fn a_wrong_number_says_what_is_expected() {
        let error = |args: &[&str]| Args::try_parse_from([&["kv_cli"], args].concat()).expect_err("wrong").to_string();
        for wrong in ["0", "1000001", "many"] {
            let text = error(&["--batch", wrong]);
            assert!(text.contains("expected a whole number from 1 to 1000000"), "{text}");
        }
        let text = error(&["replay", "--until", "x"]);
        assert!(text.contains("expected a whole number up to 18446744073709551615"), "{text}");
    }
}

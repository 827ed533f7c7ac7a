//! A store in a directory of its own, and ways to run `kv_cli` on it.

#![allow(dead_code, missing_docs, unreachable_pub, clippy::unwrap_used)]

pub mod served;
pub mod terminal;

use assert_cmd::cargo::cargo_bin;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Store {
    pub dir: tempfile::TempDir,
}

impl Store {
    pub fn new() -> Store {
        Store { dir: tempfile::tempdir().unwrap() }
    }

    /// The files of format version 1.
    pub fn golden() -> Store {
        let store = Store::new();
        let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/kv_engine/tests/data");
        for (golden, name) in [("v1.wal", "kv.wal"), ("v1.snapshot", "kv.snapshot")] {
            std::fs::copy(data.join(golden), store.path(name)).unwrap();
        }
        store
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The names of the files in its directory, in order.
    pub fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path()).unwrap();
        let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }

    /// Whether there is a file whose name begins so.
    pub fn has(&self, begin: &str) -> bool {
        self.names().iter().any(|name| name.starts_with(begin))
    }

    fn environment(&self) -> Vec<(&'static str, PathBuf)> {
        let paths = [("KV_WAL", "kv.wal"), ("KV_SNAPSHOT", "kv.snapshot"), ("KV_HISTORY", "history")];
        let none = ("KV_RC", PathBuf::new());
        paths.into_iter().map(|(name, file)| (name, self.path(file))).chain([none]).collect()
    }

    /// `program` with this store in its environment and nothing of the tester's own.
    pub fn program(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for name in [
            "KV_BATCH",
            "KV_DIR",
            "KV_FLUSH_INTERVAL_MS",
            "KV_CHECKPOINT_LOG",
            "KV_CHECKPOINT_INTERVAL",
            "KV_VALUES_IN_SNAPSHOT",
            "KV_PASSWORD",
            "NO_COLOR",
            "COLUMNS",
        ] {
            command.env_remove(name);
        }
        command.envs(self.environment()).current_dir(self.dir.path());
        command
    }

    /// `kv_cli`, for what assert_cmd cannot do.
    pub fn process(&self) -> Command {
        self.program(cargo_bin!("kv_cli"))
    }

    /// `kv_cli`, for assertions.
    pub fn cli(&self) -> assert_cmd::Command {
        let mut command = assert_cmd::Command::from_std(self.process());
        command.timeout(Duration::from_secs(120));
        command
    }

    /// Runs a script and returns what it said on stdout. A long one has a larger batch size. With the default, a line
    /// on stderr would recommend that if the disk is slow.
    pub fn script(&self, text: impl Into<Vec<u8>>) -> String {
        let text = text.into();
        let mut cli = self.cli();
        if text.iter().filter(|&&byte| byte == b'\n').count() > 10_000 {
            cli.args(["--batch", "1000"]);
        }
        let output = cli.write_stdin(text).assert().success().stderr("").get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    }

    /// Creates the store, without a write: an empty group has no number.
    pub fn create(&self) {
        assert_eq!(self.script("BEGIN\nCOMMIT\n"), "OK\nOK\n");
    }

    /// A process that waits for lines.
    pub fn piped(&self, args: &[&str]) -> Child {
        let mut command = self.process();
        command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }
}

/// A shell that is spoken to.
pub struct Shell {
    pub child: Child,
    pub to: ChildStdin,
    pub from: BufReader<ChildStdout>,
}

impl Shell {
    pub fn on(store: &Store, args: &[&str]) -> Shell {
        Shell::with(store, &[&["--flush-interval", "0"], args].concat())
    }

    /// With these arguments and no other.
    pub fn with(store: &Store, args: &[&str]) -> Shell {
        let mut child = store.piped(args);
        let (to, from) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Shell { child, to, from }
    }

    /// Sends a line that is answered with one.
    pub fn ask(&mut self, line: &str) -> String {
        self.say(line);
        let mut answer = String::new();
        self.from.read_line(&mut answer).unwrap();
        answer.trim_end().to_string()
    }

    pub fn say(&mut self, line: &str) {
        writeln!(self.to, "{line}").unwrap();
    }

    /// Ends the input; the rest of the answers, the complaints, and the status.
    pub fn end(mut self) -> (String, String, Option<i32>) {
        drop(self.to);
        let (mut rest, mut said) = (String::new(), String::new());
        self.from.read_to_string(&mut rest).unwrap();
        self.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        (rest, said, self.child.wait().unwrap().code())
    }
}

pub fn signal(child: &Child, signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::Pid::from_child(child), signal).unwrap();
}

/// The text without the times that IMPORT and EXPORT report.
pub fn untimed(text: &str) -> String {
    let mut pieces = text.split(" took_ms=");
    let first = pieces.next().unwrap_or_default().to_string();
    pieces.fold(first, |text, piece| {
        let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
        assert!(digits > 0, "a number of milliseconds: {piece}");
        text + &piece[digits..]
    })
}

/// Says why a test does not run here; `scripts/dev/real-os` counts these lines.
#[allow(clippy::print_stderr)]
pub fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}

/// Whether `signal` is ignored where the tests run, and so by the program, which leaves it at that.
pub fn is_ignored(signal: rustix::process::Signal) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    let ignored = mask.is_some_and(|mask| mask >> (signal.as_raw() - 1) & 1 == 1);
    if ignored {
        skipped(&format!("{signal:?} is ignored here, as in the background of a script, and so by the program"));
    }
    ignored
}

/// Waits for `done` as long as a slow machine may take.
pub fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let began = Instant::now();
    while !done() {
        assert!(began.elapsed() < Duration::from_secs(60), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

//! Every command line of the README and of `docs` is run, and answers as it says there. Numbers may differ, but for lengths
//! in bytes (`99 B`), and `…` stands for anything; the scratch files of a test stand in for `/tmp/kv.wal` and its like.
//!
//! A `console` block is one story: `$ ` lines go to a shell, `kv> ` lines (`kv*> ` while a group is open) to the
//! prompt of the command before them, on a terminal.
#![allow(clippy::unwrap_used, missing_docs)]

use predicates::Predicate;
use predicates::str::is_match;
use rexpect::process::Signal;
use rexpect::session::{PtySession, spawn_command};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const BIN: &str = env!("CARGO_BIN_EXE_kv_cli");
/// The prompt, as a regular expression.
const PROMPT: &str = r"kv\*?> ";
const LIMIT_MS: Option<u64> = Some(120_000);

/// Commands that a test cannot run inside itself: `scripts/dev/check` or `.ci/run` runs them as they stand.
const RUN_ELSEWHERE: [&str; 3] = ["cargo test", "cargo doc", "cargo install"];

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The `console` blocks of a text, each with the number of its first line.
fn blocks(text: &str) -> Vec<(usize, Vec<&str>)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, Vec<&str>)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            None if line == "```console" => open = Some((number + 2, Vec::new())),
            Some(_) if line == "```" => found.extend(open.take()),
            Some((_, lines)) => lines.push(line),
            None => {}
        }
    }
    found
}

/// A regular expression for what a line of the README promises.
fn pattern(expected: &str) -> String {
    let mut out = String::from("^");
    let mut chars = expected.chars().peekable();
    while let Some(c) = chars.next() {
        if c.is_ascii_digit() {
            let mut number = String::from(c);
            while let Some(c) = chars.next_if(|c| c.is_ascii_digit() || *c == '.') {
                number.push(c);
            }
            let unit: String = chars.clone().take_while(|&c| c == ' ' || c.is_alphanumeric()).collect();
            let is_length = unit == " B" || unit.starts_with(" B ");
            out.push_str(if is_length { &number } else { "[0-9][0-9.]*" });
        } else if c == '…' {
            out.push_str(".*");
        } else if c.is_alphanumeric() || c == '_' || !c.is_ascii() {
            out.push(c);
        } else if c == ' ' {
            while chars.next_if_eq(&' ').is_some() {}
            out.push_str(" +"); // columns of numbers are padded
        } else {
            // Not `\\<`, which is the beginning of a word.
            out.push_str(&if matches!(c, '[' | ']' | '^' | '\\') { format!("\\{c}") } else { format!("[{c}]") });
        }
    }
    // A duration may come out in another unit.
    for unit in [" +ms", " +µs", " +s"] {
        if let Some(rest) = out.strip_suffix(unit) {
            out = format!("{rest} +(ns|µs|ms|s)");
            break;
        }
    }
    // What takes half a second says so.
    out + "( +[(][0-9.]+s[)])? *$"
}

struct Story {
    dir: TempDir,
    session: Option<PtySession>,
    place: String,
}

impl Story {
    fn environment(&self, command: &mut Command) {
        let path = format!("{}:{}", Path::new(BIN).parent().unwrap().display(), std::env::var("PATH").unwrap());
        command
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .env("PATH", path)
            .env("KV_WAL", self.dir.path().join("kv.wal"))
            .env("KV_SNAPSHOT", self.dir.path().join("kv.snapshot"))
            .env("KV_CLI", BIN)
            .env("KV_HISTORY", "")
            .env("TERM", "dumb")
            .env("NO_COLOR", "1");
    }

    /// As it stands in the README, on this test's files and with the binary that was just built.
    fn translate(&self, command: &str) -> String {
        command
            .replace("cargo run --release -q", "kv_cli")
            .replace("cargo run --release", "kv_cli")
            .replace("/tmp/kv.", &format!("{}/kv.", self.dir.path().display()))
    }

    fn shell(&mut self, command: &str, expected: &[&str]) {
        if command.starts_with("pkill -9 kv_cli") {
            let mut session = self.session.take().unwrap_or_else(|| panic!("{}: nothing to kill", self.place));
            session.process_mut().kill(Signal::SIGKILL).unwrap();
            return;
        }
        let mut run = Command::new("sh");
        self.environment(&mut run);
        let output = run.arg("-c").arg(format!("{{ {}\n}} 2>&1", self.translate(command))).output().unwrap();
        self.compare(command, &String::from_utf8(output.stdout).unwrap(), expected);
    }

    fn start(&mut self, command: &str, expected: &[&str]) {
        let mut run = Command::new("sh");
        self.environment(&mut run);
        run.arg("-c").arg(format!("exec {}", self.translate(command)));
        let mut session = spawn_command(run, LIMIT_MS).unwrap();
        let (banner, _) = session.exp_regex(PROMPT).unwrap();
        let banner = unbroken(banner.replace('\r', "").lines());
        for line in &unbroken(expected.iter().copied()) {
            let found = banner.iter().any(|shown| is_match(pattern(line)).unwrap().eval(shown.trim_end()));
            assert!(found, "{}: no line like `{line}` in the banner:\n{}", self.place, banner.join("\n"));
        }
        self.session = Some(session);
    }

    fn type_line(&mut self, line: &str, expected: &[&str]) {
        let session = self.session.as_mut().unwrap();
        session.send_line(line).unwrap();
        let is_exit = line == "EXIT";
        let answer = if is_exit { session.exp_eof().unwrap() } else { session.exp_regex(PROMPT).unwrap().0 };
        if is_exit {
            self.session = None;
        }
        let answer = answer.replace("\r", "");
        let answer = answer.strip_prefix(&format!("{line}\n")).unwrap_or(&answer).to_string(); // the terminal's echo
        self.compare(line, &answer, expected);
    }

    fn compare(&self, command: &str, actual: &str, expected: &[&str]) {
        let actual = actual.replace(&format!("{}/kv.", self.dir.path().display()), "/tmp/kv.");
        let (lines, promised) = (unbroken(actual.lines()), unbroken(expected.iter().copied()));
        let same = lines.len() == promised.len()
            && lines.iter().zip(&promised).all(|(line, promise)| is_match(pattern(promise)).unwrap().eval(line));
        assert!(same, "{}: `{command}` answers\n{actual}\nwhere it says there\n{}", self.place, expected.join("\n"));
    }
}

/// Lines as they were before they were broken to fit the terminal, where numbers decide: what goes on is indented
/// by two blanks, or by twenty in STATS.
fn unbroken<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut whole: Vec<String> = Vec::new();
    for line in lines {
        let indent = line.len() - line.trim_start().len();
        match whole.last_mut() {
            Some(last) if indent == 2 || indent == 20 => *last += &format!(" {}", line.trim_start()),
            _ => whole.push(line.to_string()),
        }
    }
    whole
}

/// What is typed in a line that shows the prompt.
fn at_prompt(line: &str) -> Option<&str> {
    line.strip_prefix("kv> ").or_else(|| line.strip_prefix("kv*> "))
}

/// Splits a block into its commands with the lines behind them.
fn steps<'a>(lines: &[&'a str]) -> Vec<(&'a str, Vec<&'a str>)> {
    let mut steps: Vec<(&str, Vec<&str>)> = Vec::new();
    for line in lines {
        if line.starts_with("$ ") || at_prompt(line).is_some() {
            steps.push((line, Vec::new()));
        } else {
            steps.last_mut().expect("a block begins with a command").1.push(line);
        }
    }
    steps
}

#[test]
fn every_session_runs_as_shown() {
    let docs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let docs = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()));
    let mut run = 0;
    for name in docs.filter(|name| name.ends_with(".md")).chain(["README.md".into()]) {
        for (number, lines) in blocks(&file(&name)) {
            run_block(format!("{name}:{number}"), &lines);
            run += 1;
        }
    }
    assert!(run >= 10);
}

fn run_block(place: String, lines: &[&str]) {
    let mut story = Story { dir: tempfile::tempdir().unwrap(), session: None, place };
    let steps = steps(lines);
    for (i, (command, expected)) in steps.iter().enumerate() {
        let at_prompt_next = steps.get(i + 1).is_some_and(|(next, _)| at_prompt(next).is_some());
        match (command.strip_prefix("$ "), at_prompt(command)) {
            (Some(command), _) if at_prompt_next => story.start(command, expected),
            (Some(command), _) => story.shell(command, expected),
            (_, Some(line)) => story.type_line(line, expected),
            _ => unreachable!("steps() makes no other"),
        }
    }
}

/// Every command line in the text between the blocks is one that is run somewhere.
#[test]
fn commands_in_the_text_are_run_too() {
    let text = file("README.md");
    let checks = file("scripts/dev/check") + &file(".ci/run");
    let mut fenced = false;
    let mut seen = 0;
    for line in text.lines() {
        fenced ^= line.starts_with("```");
        for quoted in line.split('`').skip(1).step_by(2).filter(|_| !fenced) {
            let words: Vec<&str> = quoted.split(' ').collect();
            match words.as_slice() {
                ["cargo", "run", ..] => assert!(text.contains(&format!("$ {quoted}"))),
                ["cargo", verb, ..] => {
                    let command = format!("cargo {verb}");
                    let elsewhere = RUN_ELSEWHERE.contains(&command.as_str());
                    assert!(elsewhere && checks.contains(&command), "`{quoted}` is run nowhere");
                    seen += 1;
                }
                [script, ..] if script.starts_with("scripts/") => {
                    assert!(checks.contains(script) || *script == "scripts/dev/check", "`{quoted}` is run nowhere");
                    seen += 1;
                }
                ["kv_cli", "--help" | "--generate", ..] => {
                    let words = words[1..].iter();
                    assert!(Command::new(BIN).args(words).output().unwrap().status.success());
                    seen += 1;
                }
                ["kv_cli", tool @ ("wal" | "verify"), ..] => {
                    assert!(text.contains(&format!("kv_cli {tool}\n")) || text.contains("kv_cli wal /"))
                }
                _ => {}
            }
        }
    }
    assert!(seen >= 5);
}

#[test]
fn the_table_of_commands_is_that_of_help() {
    let text = file("README.md");
    let dir = tempfile::tempdir().unwrap();
    let help = Command::new(BIN)
        .arg("HELP")
        .env("KV_WAL", dir.path().join("kv.wal"))
        .env("KV_SNAPSHOT", dir.path().join("kv.snapshot"))
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    assert!(help.lines().count() >= 14);
    for line in help.lines() {
        let (usage, summary) = line.split_once("  ").unwrap();
        assert!(text.contains(&format!("`{usage}`")), "`{usage}` is not in the README");
        let group = ["BEGIN", "COMMIT", "ABORT"].contains(&usage);
        let summary = summary.trim().replace("(nil)", "`(nil)`");
        assert!(group || text.contains(&format!("| {summary} |")), "{usage}: {summary}");
    }
}

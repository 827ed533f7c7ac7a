//! The documents are true: every command line in the README and in `docs` works.
//!
//! A `console` block is one story, and it is run. `$ ` lines go to a shell. `kv> ` lines (or `kv*> `, while a group is
//! open) go to the prompt of the command before them, on a terminal. The answers must be those of the document. Numbers
//! may differ, except for lengths in bytes (`99 B`), and `…` is any text. A test uses its own temporary files instead
//! of `/tmp/kv.wal`.
//!
//! Every other command line, in the text, in a table or in another block, is checked as far as a test can, see `check`.
#![allow(clippy::unwrap_used, missing_docs)]

use predicates::Predicate;
use predicates::str::is_match;
use rexpect::process::Signal;
use rexpect::session::{PtySession, spawn_command};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const BIN: &str = env!("CARGO_BIN_EXE_kv_cli");
/// The prompt, as a regular expression.
const PROMPT: &str = r"kv\*?> ";
const LIMIT_MS: Option<u64> = Some(120_000);

/// Commands that a test cannot run in itself. `scripts/dev/check`, `.ci/run` or `scripts/ladder` runs them.
const RUN_ELSEWHERE: [&str; 4] = ["cargo build", "cargo test", "cargo doc", "cargo install --quiet --path ."];

fn file(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The README and every page of `docs`.
fn documents() -> Vec<String> {
    let docs = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs")).unwrap();
    let docs = docs.map(|entry| format!("docs/{}", entry.unwrap().file_name().into_string().unwrap()));
    docs.filter(|name| name.ends_with(".md")).chain(["README.md".into()]).collect()
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

/// A regular expression for a line of an answer.
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
    // A command that takes half a second shows its time.
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
            .env("KV_RC", "")
            .env("TERM", "dumb")
            .env("NO_COLOR", "1");
    }

    /// The command of the document, on this test's files and with the program that was just built.
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
        assert!(same, "{}: `{command}` answers\n{actual}\nbut the document says\n{}", self.place, expected.join("\n"));
    }
}

/// Lines as they were before they were wrapped to fit the terminal, because numbers decide where that happens. A line
/// that continues another is indented by two blanks, or by twenty in STATS.
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

/// The text typed in a line that shows the prompt.
fn at_prompt(line: &str) -> Option<&str> {
    line.strip_prefix("kv> ").or_else(|| line.strip_prefix("kv*> "))
}

/// Splits a block into its commands, each with the lines of its answer.
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
    let mut run = 0;
    for name in documents() {
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

/// The command lines of a document that are not in a `console` block: `$ ` lines of `text` blocks, lines of `sh`
/// blocks, and code in the text. Each is split where a shell splits it.
fn other_commands(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut block = None;
    for line in text.lines() {
        match (block, line.strip_prefix("```")) {
            (None, Some(kind)) => block = Some(kind),
            (Some(_), Some(_)) => block = None,
            (None, None) => {
                assert!(line.matches('`').count() % 2 == 0, "code that goes on in the next line: {line}");
                found.extend(line.split('`').skip(1).step_by(2));
            }
            (Some("text"), None) => found.extend(line.strip_prefix("$ ")),
            (Some("sh"), None) => found.push(line.split(" # ").next().unwrap()),
            (Some(_), None) => {}
        }
    }
    let parts = found.into_iter().flat_map(|line| line.split([';', '|']).flat_map(|part| part.split("&&")));
    parts.map(str::trim).collect()
}

/// Checks one command line, as far as a test can. `None`: it is not for one of the programs here.
///
/// | command | what is checked |
/// |---|---|
/// | `cargo` | CI runs it; or the test target, the package and the feature that it names exist |
/// | a script | it exists, can be executed, and knows the options |
/// | a tool of `kv_cli` | its words are parsed: with `--help` at their end, nothing is run |
/// | a command of `kv_cli`, or only options | it runs on an empty store; a command of the store must be known |
fn check(command: &str, checks: &str) -> Option<Result<(), String>> {
    // A placeholder takes the place of a value: it and its option go.
    let shown: Vec<&str> = command.split_whitespace().collect();
    let end = shown.iter().position(|word| word.contains('…')).map_or(shown.len(), |at| at.saturating_sub(1));
    let words = &shown[..end];
    let held = |is_so: bool, what: &str| Some(if is_so { Ok(()) } else { Err(format!("`{command}`: {what}")) });
    match words {
        ["cargo", "add", package, features @ ..] => {
            let manifest = file(&format!("crates/{package}/Cargo.toml"));
            let feature = features.last().map(|feature| format!("\n{feature} = "));
            held(feature.is_none_or(|feature| manifest.contains(&feature)), "no feature of this name")
        }
        ["cargo", "test", "--test", name] => {
            let places = [format!("tests/{name}.rs"), format!("crates/kv_engine/tests/{name}.rs")];
            held(places.iter().any(|place| exists(place)), "no test of this name")
        }
        ["cargo", "bench"] => held(exists("crates/kv_engine/benches"), "there are no benches"),
        ["cargo", "run", ..] => held(file("README.md").contains(&format!("$ {command}")), "no session runs it"),
        ["cargo", verb, ..] => {
            let mut elsewhere = RUN_ELSEWHERE.iter().filter(|run| run.split(' ').nth(1) == Some(verb));
            held(elsewhere.any(|run| checks.contains(run)), "it is run nowhere")
        }
        [script, options @ ..] if script.starts_with("scripts/") || script.starts_with("proof/") && !script.contains('.') => {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
            if path.is_dir() {
                return None;
            }
            if !fs::metadata(&path).is_ok_and(|found| found.permissions().mode() & 0o111 != 0) {
                return held(false, "no script of this name");
            }
            let text = file(script);
            held(
                options.iter().filter(|word| word.starts_with("--")).all(|word| text.contains(word)),
                "it does not know this option",
            )
        }
        ["kv_cli", words @ ..] => {
            let is_tool = words.first().is_some_and(|word| word.starts_with(|c: char| c.is_ascii_lowercase()));
            let is_command = words.iter().any(|word| word.len() > 2 && word.bytes().all(|b| b.is_ascii_uppercase()));
            let words = words.iter().map(|word| word.trim_matches(['[', ']']));
            let dir = tempfile::tempdir().unwrap();
            fs::create_dir(dir.path().join("DIR")).unwrap();
            let program = || {
                let mut run = Command::new(BIN);
                run.env("KV_WAL", dir.path().join("kv.wal")).env("KV_SNAPSHOT", dir.path().join("kv.snapshot"));
                run.current_dir(dir.path());
                run
            };
            program().args(["-c", "BEGIN", "-c", "COMMIT"]).output().unwrap(); // creates a store
            let mut run = program();
            run.args(words);
            if is_tool && !is_command || command.contains("FILE") {
                run.arg("--help");
            }
            let output = run.stdin(std::process::Stdio::null()).output().unwrap();
            held(output.status.success(), &String::from_utf8_lossy(&output.stderr))
        }
        _ => None,
    }
}

fn exists(name: &str) -> bool {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name).exists()
}

#[test]
fn every_other_command_line_is_checked() {
    let checks = file("scripts/dev/check") + &file(".ci/run") + &file("scripts/ladder");
    let mut checked = 0;
    let mut wrong = Vec::new();
    for name in documents() {
        for command in other_commands(&file(&name)) {
            let found = check(command, &checks);
            checked += usize::from(found.is_some());
            wrong.extend(found.and_then(Result::err).map(|what| format!("{name}: {what}")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(checked > 100, "{checked}");
}

#[test]
fn a_wrong_command_line_is_found() {
    let is_wrong = |command| check(command, "cargo test\n").is_some_and(|found| found.is_err());
    for wrong in [
        "cargo tset",
        "cargo add kv_engine --features none",
        "cargo test --test none",
        "cargo run --debug",
        "scripts/none",
        "scripts/ladder --none",
        "kv_cli tortrue",
        "kv_cli torture --rung none",
        "kv_cli PTU",
        "kv_cli --none",
    ] {
        assert!(is_wrong(wrong), "{wrong}");
    }
    for right in ["cargo test", "scripts/dev/spec --long", "kv_cli torture --case …", "kv_cli wal [FILE]", "kv.wal", "ls"] {
        assert!(!is_wrong(right), "{right}");
    }
    assert_eq!(other_commands("a `b c` `d`\n```sh\ne && f # g\n```\n```console\n$ h\n```\n"), ["b c", "d", "e", "f"]);
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading() {
    let mut followed = 0;
    for name in documents() {
        let text = file(&name);
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://")) {
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let path = Path::new(&name).parent().unwrap().join(path);
            let path = if target.starts_with('#') { Path::new(&name) } else { &path };
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            assert!(path.exists(), "{name}: {target}");
            let wanted = heading.replace('-', "");
            let is_wanted = |line: &str| line.starts_with('#') && line.to_lowercase().replace(['#', ' '], "") == wanted;
            assert!(heading.is_empty() || fs::read_to_string(&path).unwrap().lines().any(is_wanted), "{name}: {target}");
            followed += 1;
        }
    }
    assert!(followed > 40, "{followed}");
}

/// The picture shows the session that the README shows, and that a test runs.
#[test]
fn the_picture_is_the_first_session() {
    let picture = file("docs/killed.svg");
    let texts = picture.lines().filter_map(|line| line.strip_prefix("<text")?.strip_suffix("</text>"));
    let shown: Vec<String> = texts.map(|text| without_tags(text.split_once('>').unwrap().1)).collect();
    assert_eq!(shown, blocks(&file("README.md"))[0].1, "draw it again: scripts/dev/picture >docs/killed.svg");
}

fn without_tags(text: &str) -> String {
    let pieces = text.split('<').map(|piece| piece.split_once('>').map_or(piece, |(_, text)| text));
    pieces.collect::<String>().replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[test]
fn the_table_of_commands_is_that_of_help() {
    let text = file("docs/shell.md");
    let dir = tempfile::tempdir().unwrap();
    let help = Command::new(BIN)
        .arg("HELP")
        .env("KV_WAL", dir.path().join("kv.wal"))
        .env("KV_SNAPSHOT", dir.path().join("kv.snapshot"))
        .output()
        .unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let help: Vec<_> = help.lines().take_while(|line| !line.starts_with("Outside ")).collect();
    assert!(help.len() >= 14);
    for line in help {
        let (usage, summary) = line.split_once("  ").unwrap();
        assert!(text.contains(&format!("`{usage}`")), "`{usage}` is not in docs/shell.md");
        let group = ["BEGIN", "COMMIT", "ABORT"].contains(&usage);
        let summary = summary.trim().replace("(nil)", "`(nil)`");
        assert!(group || text.contains(&format!("| {summary} |")), "{usage}: {summary}");
    }
}

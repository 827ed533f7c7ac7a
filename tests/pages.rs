//! `--help`, `--version` and the man page, and the completions, which run in their shells.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::{Store, skipped};
use kv_cli::command::COMMANDS;
use predicates::prelude::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

fn printed(args: &[&str]) -> String {
    let output = Store::new().cli().args(args).assert().success().stderr("").get_output().stdout.clone();
    String::from_utf8(output).unwrap()
}

/// The rows below `title:` in `--help`, each cut at the blanks before its text.
fn rows(help: &str, title: &str) -> Vec<(String, String)> {
    let (_, table) = help.split_once(&format!("\n{title}:\n")).unwrap();
    let rows = table.lines().take_while(|line| line.starts_with("  "));
    let rows: Vec<_> = rows.map(|row| row.trim_start().split_once("  ").unwrap_or((row.trim_start(), ""))).collect();
    rows.into_iter().map(|(name, what)| (name.to_string(), what.trim().to_string())).collect()
}

#[test]
fn the_version_has_the_formats_and_in_a_release_the_commit() {
    let version = r"^kv_cli [0-9.]+ \(([0-9a-f]{12}(, modified)?, )?log format 1, snapshot format 2\)\n$";
    assert!(predicate::str::is_match(version).unwrap().eval(&printed(&["-V"])), "{}", printed(&["-V"]));
    assert_eq!(printed(&["-V"]), printed(&["--version"]));
}

#[test]
fn help_fits_a_terminal() {
    for args in [&["--help"][..], &["-h"], &["wal", "--help"], &["verify", "--help"], &["replay", "--help"], &["torture", "-h"]] {
        let help = String::from_utf8(Store::new().cli().args(args).env("COLUMNS", "80").output().unwrap().stdout).unwrap();
        assert!(help.lines().count() > 5);
        for line in help.lines() {
            assert!(line.chars().count() <= 80, "{args:?}: {line}");
        }
    }
}

#[test]
fn every_example_of_the_command_line_runs() {
    let store = Store::new();
    fs::write(store.path("cat.jpg"), b"\xff\xd8\n\0 cat").unwrap();
    fs::write(store.path("script.kv"), "PUT from script\nGET from\n").unwrap();
    // Instead of the real one, which may not be installed.
    fs::write(store.path("jq"), "#!/bin/sh\ncat\n").unwrap();
    fs::set_permissions(store.path("jq"), fs::Permissions::from_mode(0o755)).unwrap();
    let examples = rows(&printed(&["--help"]), "Examples");
    assert!(examples.len() >= 9);
    let bin = Path::new(env!("CARGO_BIN_EXE_kv_cli")).parent().unwrap();
    let path = format!("{}:{}:{}", store.dir.path().display(), bin.display(), std::env::var("PATH").unwrap());
    for (line, _) in examples {
        let mut shell = store.program("sh");
        let line = line.replace("BENCH 10000", "BENCH 100"); // a slow disk takes a minute for the other
        let output = shell.args(["-c", &line]).env("PATH", &path).stdin(Stdio::null()).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(fs::read(store.path("cat2.jpg")).unwrap(), b"\xff\xd8\n\0 cat\n");
    assert_eq!(store.script("GET from\nGET name\n"), "script\nAda Lovelace\n");
}

#[test]
fn every_variable_is_in_help_in_the_man_page_and_in_the_page_of_the_shell() {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/shell.md")).unwrap();
    let (help, man) = (printed(&["--help"]), printed(&["--generate", "man"]));
    let variables = rows(&help, "Environment");
    assert!(variables.len() >= 9);
    for (name, _) in variables {
        assert!(page.contains(&format!("`{name}`")), "{name} is not in docs/shell.md");
        assert!(man.contains(&name.replace('-', "\\-")), "{name} is not in the man page");
    }
    // Every variable that the program reads is in the help.
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        let text = fs::read_to_string(path).unwrap();
        for name in text.split("\"KV_").skip(1).filter_map(|rest| rest.split('"').next()) {
            let is_name = name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_') && name != "ENGINE_COMMIT";
            assert!(!is_name || help.contains(&format!("  KV_{name} ")), "KV_{name} is read, but is not in the help");
        }
    }
}

#[test]
fn variables_do_what_their_flags_do_and_flags_come_first() {
    let store = Store::new();
    store.script("PUT a 1\n");
    let stats = |store: &Store, variables: &[(&str, &str)], args: &[&str]| {
        let mut run = store.cli();
        let output = run.envs(variables.iter().copied()).args(args).arg("STATS").assert().success().get_output().stdout.clone();
        String::from_utf8(output).unwrap()
    };
    let variables =
        [("KV_BATCH", "7"), ("KV_FLUSH_INTERVAL_MS", "250"), ("KV_CHECKPOINT_LOG", "1MiB"), ("KV_CHECKPOINT_INTERVAL", "2min")];
    let by_variables = stats(&store, &variables, &[]);
    let flags = ["--batch", "7", "--flush-interval", "250ms", "--checkpoint-log", "1048576", "--checkpoint-interval", "120s"];
    for text in [&by_variables, &stats(&store, &[], &flags)] {
        for figure in ["batch=7", "flush_interval_ms=250", "checkpoint_log_bytes=1048576", "checkpoint_interval_ms=120000"] {
            assert!(text.contains(&format!(" {figure} ")), "{figure} is not in {text}");
        }
    }
    assert!(stats(&store, &variables, &["--batch", "9"]).contains(" batch=9 "));
    let wrong = store.cli().env("KV_CHECKPOINT_LOG", "lots").arg("SIZE").assert().code(2);
    wrong.stderr(predicate::str::contains("expected a size, for example 64MiB"));
}

#[test]
fn a_checkpoint_is_taken_when_the_log_has_the_size() {
    let store = Store::new();
    let script: String = (0..2000).map(|n| format!("PUT key{n} {}\n", "v".repeat(100))).collect();
    store.cli().args(["--checkpoint-log", "off"]).write_stdin(script.clone()).assert().success();
    assert!(!store.path("kv.snapshot").exists());
    // The checkpoint runs while the script does. The script ends when there is a snapshot.
    let mut child = store.piped(&["--checkpoint-log", "64KiB"]);
    let mut to = child.stdin.take().unwrap();
    to.write_all(script.as_bytes()).unwrap();
    common::eventually("a snapshot", || store.path("kv.snapshot").exists());
    drop(to);
    assert!(child.wait_with_output().unwrap().status.success());
}

/// Runs `program` with the output of `--generate` in a file `generated`; `None` if the program is not installed.
fn with_generated(kind: &str, program: &str, args: &[&str]) -> Option<String> {
    let store = Store::new();
    fs::write(store.path("generated"), printed(&["--generate", kind])).unwrap();
    let output = match Command::new(program)
        .args(args)
        .current_dir(store.dir.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .output()
    {
        Ok(output) => output,
        Err(error) => {
            skipped(&format!("{program}: {error}"));
            return None;
        }
    };
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && stderr.is_empty(), "{program}: {stderr}");
    Some(stdout.into_owned())
}

#[test]
fn bash_completes_flags_commands_and_tools() {
    let complete = |words: &str| {
        let at = words.split(' ').count() - 1;
        let script = format!(
            ". ./generated; COMP_WORDS=({words}); COMP_CWORD={at}; _kv_cli kv_cli \"${{COMP_WORDS[{at}]}}\" \"${{COMP_WORDS[{}]}}\"; \
             printf '%s\\n' \"${{COMPREPLY[@]}}\"",
            at - 1
        );
        with_generated("complete-bash", "bash", &["--norc", "--noprofile", "-c", &script])
    };
    let Some(commands) = complete("kv_cli S") else { return };
    for name in ["SCAN", "SIZE", "SNAP", "SETBATCH", "STATS"] {
        assert!(commands.lines().any(|line| line == name), "{name} in {commands}");
    }
    assert!(complete("kv_cli v").unwrap().contains("verify"));
    assert!(complete("kv_cli --checkpoint").unwrap().contains("--checkpoint-log"));
    assert_eq!(complete("kv_cli --recovery st").unwrap(), "strict\n");
    assert_eq!(complete("kv_cli HELP SETB").unwrap(), "SETBATCH\n");
}

#[test]
fn fish_completes_and_zsh_reads() {
    if let Some(found) = with_generated("complete-fish", "fish", &["-N", "-c", "source generated; complete -C 'kv_cli SET'"]) {
        assert!(found.starts_with("SETBATCH\t"), "{found}");
    }
    with_generated("complete-zsh", "zsh", &["-f", "-n", "generated"]);
}

#[test]
fn the_man_page_is_valid_and_has_every_command_and_flag() {
    let page = with_generated("man", "groff", &["-Kutf8", "-ww", "-man", "-Tutf8", "-P-c", "-rLL=80n", "generated"]);
    let Some(page) = page else { return };
    // Remove the backspaces that make letters bold and underlined.
    let mut plain = String::new();
    for c in page.chars() {
        if c != '\u{8}' {
            plain.push(c);
        } else {
            plain.pop();
        }
    }
    for title in ["NAME", "OPTIONS", "COMMANDS", "TOOLS", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES", "VERSION"] {
        assert!(plain.lines().any(|line| line == title), "{title} is not in\n{plain}");
    }
    for spec in COMMANDS {
        let has = |text: &str| plain.split_whitespace().collect::<Vec<_>>().join(" ").contains(text);
        assert!(has(&spec.usage()) && has(spec.example), "{}", spec.name);
    }
    let help = printed(&["-h"]);
    let flags = help.lines().filter_map(|line| line.trim_start().split([' ', ',']).find(|word| word.starts_with("--")));
    let flags: Vec<_> = flags.collect();
    assert!(flags.len() > 15);
    for flag in flags {
        assert!(plain.replace(['‐', '−'], "-").contains(flag), "{flag} is not in the man page");
    }
}

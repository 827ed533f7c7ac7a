//! EXPORT and IMPORT as a person, a script and a cron job use them: round trips of any bytes, files that are replaced
//! only by complete ones, bad lines, kills in the middle, and salvage.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Store, eventually, is_ignored, signal, skipped, untimed};
use predicates::prelude::*;
use proptest::prelude::*;
use rustix::process::Signal;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

const FORMS: [&str; 2] = ["dump.kv", "dump.jsonl"];

/// Runs `kv_cli`. Returns stdout, stderr and the exit status.
fn run(store: &Store, words: &[&str]) -> (String, String, i32) {
    let output = store.process().args(words).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(store.dir.path().to_str().unwrap(), "DIR");
    (untimed(&text(output.stdout)), text(output.stderr), output.status.code().unwrap())
}

fn digest(store: &Store) -> String {
    let (out, ..) = run(store, &["replay", "--digest"]);
    out.trim_end().rsplit(' ').next().unwrap().to_string()
}

fn copy(from: &Store, to: &Store, name: &str) {
    fs::copy(from.path(name), to.path(name)).unwrap();
}

/// A store with entries `key00000`, … whose values have this many bytes.
fn filled(entries: usize, bytes: usize) -> Store {
    let store = Store::new();
    let lines: String = (0..entries).map(|n| format!("PUT key{n:05} {n:0bytes$}\n")).collect();
    store.cli().args(["--batch", "1000"]).write_stdin(lines).assert().success();
    store
}

fn engine(store: &Store) -> kv_engine::Engine {
    kv_engine::Options::new(store.path("kv.wal"), store.path("kv.snapshot")).batch_size(1000).open().unwrap()
}

fn entries() -> impl Strategy<Value = BTreeMap<Vec<u8>, Vec<u8>>> {
    let bytes = |least, most| {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), least..most),
            proptest::collection::vec(
                prop_oneof![Just(b' '), Just(b'"'), Just(b'\\'), Just(b'#'), Just(b'\n'), Just(0xc3)],
                least..most
            ),
            "[a-zé\u{202e}{}:,]{1,9}".prop_map(String::into_bytes),
        ]
    };
    proptest::collection::btree_map(bytes(1, 20), bytes(0, 40), 0..40)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Any bytes come back through either form, from the log and from the snapshot. The text form can also be run as a
    /// script.
    #[test]
    fn exported_entries_are_imported_unchanged(entries in entries(), in_snapshot in any::<bool>()) {
        let store = Store::new();
        let opened = engine(&store);
        for (n, (key, value)) in entries.iter().enumerate() {
            opened.put(key, b"old").unwrap();
            if in_snapshot && n == entries.len() / 2 {
                opened.snapshot().unwrap();
            }
            opened.put(key, value).unwrap();
        }
        let expected = opened.digest().to_string();
        opened.close().unwrap();
        for form in FORMS {
            let (out, err, status) = run(&store, &["export", form]);
            let seq = 2 * entries.len();
            prop_assert_eq!((out, err, status), (format!("EXPORT OK entries={} seq={seq}\n", entries.len()), String::new(), 0));
            let fresh = Store::new();
            copy(&store, &fresh, form);
            let (out, err, status) = run(&fresh, &["import", form]);
            let count = entries.len();
            prop_assert_eq!((out, err, status), (format!("IMPORT OK entries={count} written={count} unchanged=0\n"), String::new(), 0));
            prop_assert_eq!(&digest(&fresh), &expected);
            // The second time nothing is written.
            let (out, ..) = run(&fresh, &["import", form]);
            prop_assert_eq!(out, format!("IMPORT OK entries={count} written=0 unchanged={count}\n"));
        }
        let fresh = Store::new();
        fresh.cli().write_stdin(fs::read(store.path(FORMS[0])).unwrap()).assert().success();
        // A script that writes nothing creates no store.
        prop_assert_eq!(fresh.has("kv.wal"), !entries.is_empty());
        prop_assert!(entries.is_empty() || digest(&fresh) == expected);
    }
}

#[test]
fn an_export_is_one_state_and_names_it() {
    let store = Store::new();
    store.script("PUT b 2\nPUT a \"1 0\"\nSNAP\nDEL b\nPUT c \"\\xff\"\n");
    let (out, err, status) = run(&store, &["export"]);
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("# kv_cli export 1 of store ") && lines[1].starts_with("# the state after write 4; "), "{out}");
    assert_eq!(lines[2..4], ["PUT a \"1 0\"", "PUT c \"\\xff\""]);
    assert_eq!(lines[4], format!("# end of 2 entries, digest {}", digest(&store)));
    assert_eq!((lines.len(), err.as_str(), status), (5, "", 0));
    assert!(lines.iter().all(|line| line.len() < 80), "{out}");

    let (out, ..) = run(&store, &["export", "--json"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines[0]["export"].as_u64(), lines[0]["seq"].as_u64()), (Some(1), Some(4)));
    assert_eq!((lines[1]["value"].as_str(), lines[2]["value_base64"].as_str()), (Some("1 0"), Some("/w==")));
    assert_eq!((lines[3]["entries"].as_u64(), lines.len()), (Some(2), 4));
    assert_eq!(run(&store, &["--json", "-c", "EXPORT"]).0, out);
    assert!(run(&store, &["--json", "-c", "EXPORT x.kv"]).0.contains("\"cmd\":\"EXPORT\",\"ok\":true,\"entries\":2,\"seq\":4,"));
}

/// EXPORT has the accepted writes that are not synced yet. `kv_cli export` works while another process has the store
/// open.
#[test]
fn an_open_store_can_be_exported_from_inside_and_from_outside() {
    let store = Store::new();
    let out = store.script("SETBATCH 1000\nPUT a 1\nBEGIN\nPUT not-yet 2\nEXPORT\nABORT\n");
    assert!(out.contains("after write 1;") && out.contains("\nPUT a 1\n# end of 1 entry, digest "), "{out}");

    let opened = engine(&store);
    let writer = {
        let opened = opened.clone();
        std::thread::spawn(move || {
            (0..30_000_u32).try_for_each(|n| opened.put(n.to_be_bytes(), n.to_string()).map(drop)).unwrap()
        })
    };
    let over = Arc::new(AtomicBool::new(false));
    let snapshots = {
        let (opened, over) = (opened.clone(), Arc::clone(&over));
        std::thread::spawn(move || {
            while !over.load(Ordering::Relaxed) {
                opened.snapshot().unwrap();
            }
        })
    };
    let mut states = 0;
    while !writer.is_finished() || states < 20 {
        let (out, err, status) = run(&store, &["export"]);
        assert_eq!(status, 0, "{err}");
        // The export has `a` and one number for each later write: one of the many states.
        let seq: u64 = out.split("after write ").nth(1).unwrap().split(';').next().unwrap().parse().unwrap();
        assert_eq!(out.lines().count() as u64, seq + 3, "{err}");
        states += 1;
    }
    writer.join().unwrap();
    over.store(true, Ordering::Relaxed);
    snapshots.join().unwrap();
}

#[test]
fn a_file_is_complete_and_replaces_only_exports() {
    let store = filled(3, 1);
    let refused = |name: &str, says: &str| {
        let (out, err, status) = run(&store, &["export", name]);
        assert!(out.is_empty() && err.contains(says) && err.contains("; nothing was exported") && status == 1, "{err}");
    };
    fs::write(store.path("notes.kv"), "my notes\n").unwrap();
    refused("notes.kv", "this file exists and is not an export");
    assert_eq!(fs::read(store.path("notes.kv")).unwrap(), b"my notes\n");
    refused("kv.wal", "this is the log of the store");
    refused("/dev/null", "not a regular file");
    refused(".", "not a regular file");
    refused("no/where.kv", "(os error 2)");
    std::os::unix::fs::symlink("notes.kv", store.path("link.kv")).unwrap();
    refused("link.kv", "not a regular file");
    fs::write(store.path("good.kv.tmp"), "my notes\n").unwrap();
    assert_eq!(run(&store, &["export", "good.kv"]).2, 0);
    let about = fs::metadata(store.path("good.kv")).unwrap();
    assert_eq!(std::os::unix::fs::PermissionsExt::mode(&about.permissions()) & 0o777, 0o600);
    assert_eq!(run(&store, &["export", "good.kv"]).2, 0, "and again");
    assert_eq!((scratch(&store), fs::read(store.path("good.kv.tmp")).unwrap()), (vec![], b"my notes\n".to_vec()));
}

/// The names of temporary files of exports.
fn scratch(store: &Store) -> Vec<String> {
    let names = fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.filter(|name| name.starts_with("good.kv.tmp-")).collect()
}

/// A limit on the size of files acts as a full disk.
#[test]
fn an_export_without_space_leaves_the_old_one() {
    let store = filled(200, 100);
    assert_eq!(run(&store, &["export", "good.kv"]).2, 0);
    let before = fs::read(store.path("good.kv")).unwrap();
    let full = store
        .program("sh")
        .args(["-c", "ulimit -f 8; trap '' XFSZ; exec \"$0\" export good.kv"])
        .arg(assert_cmd::cargo::cargo_bin!("kv_cli"))
        .output()
        .unwrap();
    let err = String::from_utf8(full.stderr).unwrap();
    assert!(err.contains("good.kv: File too large") && err.contains("nothing was exported"), "{err}");
    assert_eq!((fs::read(store.path("good.kv")).unwrap() == before, full.status.code()), (true, Some(1)));
    assert_eq!(scratch(&store), [""; 0]);
}

#[test]
fn a_killed_or_interrupted_export_is_not_taken_for_a_complete_one() {
    let store = filled(20_000, 200);
    assert_eq!(run(&store, &["export", "good.kv"]).2, 0);
    let before = fs::read(store.path("good.kv")).unwrap();
    for by in [Signal::KILL, Signal::TERM] {
        let mut stopped = 0;
        for _ in 0..50 {
            scratch(&store).iter().for_each(|name| fs::remove_file(store.path(name)).unwrap());
            let mut child =
                store.process().args(["export", "good.kv"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            let mut over = None;
            while scratch(&store).is_empty() && over.is_none() {
                over = child.try_wait().unwrap();
            }
            if over.is_none() {
                signal(&child, by);
            }
            let output = child.wait_with_output().unwrap();
            let (status, err) = (output.status, String::from_utf8(output.stderr).unwrap());
            assert!(fs::read(store.path("good.kv")).unwrap() == before, "{by:?} {status}");
            if !status.success() {
                stopped += 1;
                let (begin, end) = err.split_once(" and ").unwrap_or_default();
                let says = begin.starts_with("kv_cli: error: interrupted after ")
                    && (end.ends_with(" entries; nothing was exported\n") || end.ends_with(" entry; nothing was exported\n"));
                assert!(says || by == Signal::KILL || err.is_empty(), "after a time and some entries: {err}");
                assert!(by == Signal::KILL || (status.code() == Some(143) && scratch(&store).is_empty()), "{status}");
            }
        }
        assert!(stopped > 0, "{by:?} always came too late");
    }
    // The next export removes the file that a killed one left.
    assert_eq!((run(&store, &["export", "good.kv"]).2, scratch(&store).len()), (0, 0));
    // An export to stdout that was cut off has no last line, and an import reports that.
    fs::write(store.path("cut.kv"), &before[..before.len() / 2]).unwrap();
    let fresh = Store::new();
    copy(&store, &fresh, "cut.kv");
    let (out, err, status) = run(&fresh, &["import", "cut.kv"]);
    assert!(out.is_empty() && status == 1 && err.contains("cut.kv:"), "{err}");
    let whole_line = before[..before.len() / 2].ends_with(b"\n");
    assert!(whole_line || err.contains("column") || err.contains("the export has no last line: it was cut off"), "{err}");
    let at = before.iter().enumerate().filter(|(_, byte)| **byte == b'\n').nth(99).unwrap().0;
    fs::write(fresh.path("cut.kv"), &before[..=at]).unwrap();
    let (_, err, status) = run(&fresh, &["import", "cut.kv"]);
    assert!(err.contains("cut.kv:101: the export has no last line: it was cut off") && status == 1, "{err}");
}

#[test]
fn a_bad_line_is_reported_and_nothing_is_imported() {
    let store = Store::new();
    let lines = |bad: &str| format!("PUT a 1\nPUT b 2\n{bad}\nPUT d 4\n");
    for (name, bad, column) in [("x.kv", "PUT c \"3\\q\"", 9), ("y.kv", "PUT c", 1), ("z.kv", "GET c", 1)] {
        fs::write(store.path(name), lines(bad)).unwrap();
        let (out, err, status) = run(&store, &["import", name]);
        assert!(err.starts_with(&format!("kv_cli: error: {name}:3: column {column}: ")), "{err}");
        assert!(err.ends_with("; nothing was stored; correct it and import again\n"), "{err}");
        assert_eq!((out.as_str(), status), ("", 1));
        assert!(!store.path("kv.wal").exists(), "no store was created");
    }
    fs::write(store.path("x.kv"), lines("PUT c \"3\"")).unwrap();
    assert_eq!(run(&store, &["import", "x.kv"]).0, "IMPORT OK entries=4 written=4 unchanged=0\n");
    let json = "{\"key\":\"a\",\"value\":\"9\"}\n{\"key\":\"b\"}\n";
    let failed = store.cli().args(["import", "-"]).write_stdin(json).assert().code(1);
    failed.stderr(predicate::str::starts_with("kv_cli: error: <stdin>:2: column 1: the entry has no value; nothing was stored"));
    assert_eq!(store.script("GET a\n"), "1\n");
    let long = format!("PUT a 1\nPUT {} 1\n", "k".repeat(70_000));
    let failed = store.cli().args(["import", "-"]).write_stdin(long).assert().code(1);
    failed.stderr(predicate::str::contains("<stdin>:2: column 1: the key"));
    // In a script the place is that of the line and of the file.
    let failed = store.cli().write_stdin("SIZE\nIMPORT y.kv\nBEGIN\nIMPORT x.kv\n").assert().code(1);
    failed.stderr(
        predicate::str::contains("kv_cli: <stdin>:2: error: y.kv:3: column 1: PUT takes a key and a value, got 1 word")
            .and(predicate::str::contains("a group is open")),
    );
}

/// Somebody has added a line to an export. Which of the two is meant is not known.
#[test]
fn a_line_behind_the_last_line_of_an_export_is_refused() {
    for (name, added) in
        [("dump.kv", "PUT late 1\n"), ("dump.kv", "DEL key00001\n"), ("dump.jsonl", "{\"key\":\"late\",\"value\":\"1\"}\n")]
    {
        let store = filled(5, 1);
        run(&store, &["export", name]);
        let text = fs::read_to_string(store.path(name)).unwrap();
        let import = |text: String, more: &[&str]| {
            let fresh = Store::new();
            fs::write(fresh.path(name), text).unwrap();
            let (out, err, status) = run(&fresh, &[&["import", name], more].concat());
            (fresh, out, err, status)
        };
        let line = text.lines().count() + 1;
        let (fresh, _, err, status) = import(format!("{text}{added}"), &[]);
        let says = format!(
            "kv_cli: error: {name}:{line}: this line is behind the last line of the export: it was added later; nothing was stored; "
        );
        assert!(err.starts_with(&says) && status == 1, "{err}");
        assert!(!fresh.path("kv.wal").exists(), "nothing was created");
        let (fresh, _, err, status) = import(format!("{text}{added}{added}"), &["--salvage"]);
        assert!(err.matches("behind the last line").count() == 1 && status == 1, "{err}");
        assert_ne!(digest(&fresh), digest(&store), "the added line was imported");
        // Blank lines, comments and another export are none of that.
        let comment = if name.ends_with("kv") { "\n  \n# a comment\n" } else { "\n" };
        let (fresh, out, err, _) = import(format!("{text}{comment}{text}"), &[]);
        assert!(out.starts_with("IMPORT OK entries=10 ") && err.is_empty(), "{out}{err}");
        assert_eq!(digest(&fresh), digest(&store));
    }
    // A DEL in the middle keeps count and digest, so it is looked for.
    let store = filled(5, 1);
    run(&store, &["export", "dump.kv"]);
    let text = fs::read_to_string(store.path("dump.kv")).unwrap();
    let end = text.rfind("# end of").unwrap();
    fs::write(store.path("dump.kv"), format!("{}DEL key00001\n{}", &text[..end], &text[end..])).unwrap();
    let (_, err, status) = run(&store, &["import", "dump.kv"]);
    assert!(
        err.contains("dump.kv:8: an export has no DEL lines: this one was added later; nothing was stored") && status == 1,
        "{err}"
    );
}

#[test]
fn a_changed_export_is_refused_or_imported_and_reported_as_changed() {
    let store = filled(5, 1);
    run(&store, &["export", "dump.kv"]);
    let text = fs::read_to_string(store.path("dump.kv")).unwrap();
    let problem = |text: &str, says: &str| {
        let fresh = Store::new();
        fs::write(fresh.path("dump.kv"), text).unwrap();
        let (_, err, status) = run(&fresh, &["import", "dump.kv"]);
        assert!(err.contains("error: dump.kv:") && err.contains(says) && status == 1, "{err}");
        assert!(err.contains("; nothing was stored; kv_cli import --salvage imports it anyway\n"), "{err}");
        assert!(!fresh.path("kv.wal").exists(), "no store was created");
        let (_, err, status) = run(&fresh, &["import", "--salvage", "dump.kv"]);
        assert!(err.contains("dump.kv: line ") && err.contains(says) && status == 1, "{err}");
        fresh
    };
    let fresh = problem(&text.replace("key00003 3", "key00003 9"), "the digest of its entries is ");
    assert_eq!(fresh.script("GET key00003\n"), "9\n");
    problem(&text.replace("PUT key00003 3\n", ""), "it has 4 entries, but its last line counts 5");
    // Deletions before an export, comments and several exports in one file are allowed.
    let fresh = Store::new();
    fresh.script("PUT old 1\n");
    fs::write(fresh.path("dump.kv"), format!("# mine\nDEL old\nDEL nothing\n{text}\n# mine\n{text}")).unwrap();
    assert_eq!(run(&fresh, &["import", "dump.kv"]).0, "IMPORT OK entries=12 written=6 unchanged=6\n");
    assert_eq!(digest(&fresh), digest(&store));
}

/// After each kill the store holds complete groups from the beginning of the file. The same import reaches the end.
#[test]
fn an_import_can_be_killed_at_any_moment_and_repeated() {
    let source = filled(30_000, 100);
    let expected = digest(&source);
    for form in FORMS {
        run(&source, &["export", form]);
        let store = Store::new();
        copy(&source, &store, form);
        let (mut kills, mut held) = (0, 0);
        loop {
            let mut child = store.process().args(["--batch", "1", "import", form]).stdout(Stdio::null()).spawn().unwrap();
            // Each kill is later, so that the import comes to its end.
            std::thread::sleep(std::time::Duration::from_millis(20 + 25 * kills));
            signal(&child, Signal::KILL);
            let done = child.wait().unwrap().success();
            let (out, ..) = run(&store, &["KEYS"]);
            let keys: Vec<&str> = out.lines().collect();
            assert!(keys.iter().enumerate().all(|(n, key)| *key == format!("key{n:05}")), "a prefix");
            assert!(
                keys.len().is_multiple_of(1000) && keys.len() >= held,
                "in groups, and never fewer: {} after {held}",
                keys.len()
            );
            held = keys.len();
            kills += 1;
            if done || kills == 40 {
                break;
            }
        }
        let (out, _, status) = run(&store, &["import", form]);
        assert_eq!(out, format!("IMPORT OK entries=30000 written={} unchanged={held}\n", 30_000 - held));
        assert_eq!((digest(&store), status), (expected.clone(), 0));
    }
}

/// The import checks for signals between two lines.
#[test]
fn an_interrupted_import_reports_how_far_it_came() {
    interrupted_import(u64::MAX, Signal::TERM, 143);
}

/// The import also checks for signals while it waits for a pipe.
#[test]
fn case_51_an_import_is_interrupted_while_it_waits_for_its_input() {
    interrupted_import(30_000, Signal::TERM, 143);
    if !is_ignored(Signal::INT) {
        interrupted_import(30_000, Signal::INT, 130);
    }
}

/// Gives an import this number of lines and interrupts it. The pipe stays open.
fn interrupted_import(lines: u64, by: Signal, expected: i32) {
    let store = Store::new();
    let mut child = store.piped(&["import", "-"]);
    let mut to = child.stdin.take().unwrap();
    let fed: &AtomicU64 = Box::leak(Box::default());
    let feeder = std::thread::spawn(move || {
        for n in 0..lines {
            fed.store(n + 1, Ordering::Relaxed);
            if to.write_all(format!("PUT key{n} {n}\n").as_bytes()).is_err() {
                return (n, None);
            }
        }
        (lines, Some(to))
    });
    // More than fits in a pipe, so some of it has been read.
    eventually("the import runs", || fed.load(Ordering::Relaxed) > 20_000);
    eventually("the input waits", || lines == u64::MAX || fed.load(Ordering::Relaxed) == lines);
    signal(&child, by);
    let output = child.wait_with_output().unwrap();
    let err = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(expected), "{err}");
    // An import that was still checking has created no store.
    let held: u64 = if store.path("kv.wal").exists() { store.script("SIZE\n").trim().parse().unwrap() } else { 0 };
    let before = match held {
        0 => "nothing was stored".to_string(),
        1 => "the entry before it is imported and durable".to_string(),
        n => format!("the {n} entries before it are imported and durable"),
    };
    let again = "to go on, import again: entries that are already stored are not written again";
    let (begin, rest) = err.split_once("; ").unwrap();
    assert!(begin.starts_with("kv_cli: error: <stdin>: interrupted after ") && begin.ends_with('s'), "{err}");
    assert_eq!(rest, format!("{before}; {again}\n"));
    assert!(feeder.join().unwrap().0 >= held);
}

fn lines(out: &str) -> Vec<&str> {
    out.lines().filter(|line| line.starts_with("PUT ")).collect()
}

/// What was printed before the damage was found cannot be taken back.
#[test]
fn an_export_to_stdout_that_breaks_off_is_reported_as_incomplete() {
    let store = filled(2000, 50);
    store.script("SNAP\n");
    let mut bytes = fs::read(store.path("kv.snapshot")).unwrap();
    let at = bytes.len() - 2000;
    bytes[at] ^= 1;
    fs::write(store.path("kv.snapshot"), bytes).unwrap();
    let (out, err, status) = run(&store, &["export"]);
    assert!(out.starts_with("# kv_cli export ") && !out.contains("# end of ") && status == 3, "{err}");
    assert!(err.contains("; the export is incomplete: it has no last line; ") && !err.contains("nothing was"), "{err}");
    let (out, err, status) = run(&store, &["export", "x.kv"]);
    assert!(out.is_empty() && err.contains("; nothing was exported; ") && status == 3, "{err}");
    assert!(!err.contains("nothing was changed") && err.matches("--salvage").count() == 1, "{err}");
}

#[test]
fn damaged_files_are_not_exported_but_can_be_salvaged() {
    let store = Store::golden();
    let (whole, _, status) = run(&store, &["export"]);
    assert_eq!(status, 0);
    let (out, err, status) = run(&store, &["export", "--salvage"]);
    assert_eq!((lines(&out), status), (lines(&whole), 0), "undamaged files give the state");
    assert!(err.contains("these files are undamaged"), "{err}");
    let log = fs::read(store.path("kv.wal")).unwrap();
    let snapshot = fs::read(store.path("kv.snapshot")).unwrap();

    // One write in the middle of the log.
    let mut bytes = log.clone();
    bytes[170] ^= 1;
    fs::write(store.path("kv.wal"), &bytes).unwrap();
    let (out, err, status) = run(&store, &["export", "x.kv"]);
    assert!(
        out.is_empty() && status == 3 && err.contains("damaged at byte 163") && err.contains("kv_cli export --salvage"),
        "{err}"
    );
    assert!(!store.path("x.kv").exists());
    let (out, err, status) = run(&store, &["export", "--salvage", "x.kv"]);
    assert_eq!((out.as_str(), status), ("EXPORT OK entries=5 salvaged\n", 3));
    assert!(
        err.contains("2 writes of the log (known to be lost: 1)") && err.contains("this is NOT the state after any write"),
        "{err}"
    );
    let text = fs::read_to_string(store.path("x.kv")).unwrap();
    assert!(text.starts_with("# kv_cli export 1, salvaged from damaged files:\n# NOT the state after any write"), "{text}");
    let rest = ["PUT a 1", "PUT b 2", "PUT empty \"\"", "PUT name \"Ada Lovelace\""];
    assert_eq!(lines(&text)[1..], rest, "`empty`, which the lost write removed, is back");
    let fresh = Store::new();
    copy(&store, &fresh, "x.kv");
    assert_eq!(run(&fresh, &["import", "x.kv"]).0, "IMPORT OK entries=5 written=5 unchanged=0\n");

    // Only the headers are damaged: everything is found.
    for (bad, says) in [(20..21, "lost: 0)"), (40..41, "lost: 0)"), (40..60, "lost: an unknown number")] {
        let (mut one, mut other) = (log.clone(), snapshot.clone());
        bad.clone().for_each(|at| (one[at], other[at]) = (one[at] ^ 1, other[at] ^ 1));
        fs::write(store.path("kv.wal"), &one).unwrap();
        fs::write(store.path("kv.snapshot"), &other).unwrap();
        let (out, err, status) = run(&store, &["export", "--salvage"]);
        assert_eq!((lines(&out), status), (lines(&whole), 3), "{err}");
        assert!(err.contains(says) && err.contains("the header of DIR/kv.snapshot is damaged"), "{err}");
    }

    // Both files are useless.
    fs::write(store.path("kv.wal"), "nonsense").unwrap();
    fs::remove_file(store.path("kv.snapshot")).unwrap();
    let (out, err, status) = run(&store, &["export", "--salvage"]);
    assert!(lines(&out).is_empty() && err.contains("not a kv-engine file") && status == 3, "{err}");
}

/// Some blocks of the snapshot are damaged. The entries of the others are salvaged, and those of the lost keys that are
/// in the log.
#[test]
fn the_undamaged_blocks_of_a_snapshot_are_salvaged() {
    let store = filled(1000, 50);
    let log = fs::read(store.path("kv.wal")).unwrap();
    store.cli().arg("SNAP").assert().success();
    let mut bytes = fs::read(store.path("kv.snapshot")).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(store.path("kv.snapshot"), &bytes).unwrap();
    assert_eq!(run(&store, &["export"]).2, 3);
    let (out, err, status) = run(&store, &["export", "--salvage"]);
    let found = lines(&out);
    assert!(status == 3 && found.len() > 900 && found.len() < 1000, "{err}");
    assert!(err.contains(&format!(": {} from the snapshot (lost: {})", found.len(), 1000 - found.len())), "{err}");
    assert!(found.is_sorted() && found.contains(&format!("PUT key00999 {:050}", 999).as_str()));

    // The older log has all of them.
    fs::write(store.path("kv.wal"), log).unwrap();
    let (out, ..) = run(&store, &["export", "--salvage"]);
    assert_eq!(lines(&out).len(), 1000);
}

#[test]
fn missing_files_are_named() {
    let store = Store::new();
    let (out, err, status) = run(&store, &["export"]);
    assert!(out.is_empty() && err.contains("DIR/kv.wal: the file does not exist") && status == 3, "{err}");
    let store = Store::golden();
    fs::remove_file(store.path("kv.wal")).unwrap();
    let (_, err, status) = run(&store, &["export"]);
    assert!(err.contains("there is no log beside the snapshot") && status == 3, "{err}");
    let (out, _, status) = run(&store, &["export", "--salvage"]);
    assert_eq!((lines(&out).len(), status), (3, 3));
    let failed = Store::new().cli().args(["import", "nowhere.kv"]).assert().code(1);
    failed.stderr(
        predicate::str::starts_with("kv_cli: error: nowhere.kv: ")
            .and(predicate::str::ends_with(" (os error 2); nothing was stored\n")),
    );
}

/// The log has a hundred MiB, and there is no snapshot. The process may allocate only a fraction of that, so it must
/// leave the values in the file until they are written.
#[test]
fn an_export_of_a_long_log_needs_little_memory() {
    let store = Store::new();
    let value = vec![b'v'; 1 << 20];
    let options = kv_engine::Options::new(store.path("kv.wal"), store.path("kv.snapshot"));
    let opened = options.batch_size(1000).checkpoint_log_bytes(0).open().unwrap(); // the log stays long
    (0..100_u32).try_for_each(|n| opened.put(format!("key{n:03}"), &value).map(drop)).unwrap();
    opened.close().unwrap();
    assert!(!store.path("kv.snapshot").exists());
    for words in [&["export", "x.jsonl"][..], &["export", "--salvage", "y.jsonl"]] {
        let mut limited = store.program("sh");
        limited.args(["-c", "ulimit -d 40000; exec \"$@\"", "sh"]).arg(assert_cmd::cargo::cargo_bin!("kv_cli")).args(words);
        let output = limited.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(fs::read_to_string(store.path("y.jsonl")).unwrap().lines().count(), 102);
}

/// strace makes reads fail, as a bad sector does.
#[test]
fn a_salvage_skips_blocks_that_cannot_be_read() {
    let store = filled(1000, 20);
    let failing = |reads: &str, words: &[&str]| {
        let mut traced = store.program("strace");
        traced.args(["-f", "-o", "/dev/null", "-P"]).arg(store.path("kv.wal"));
        traced.args(["-e", &format!("inject=pread64:error=EIO:when={reads}")]).arg(assert_cmd::cargo::cargo_bin!("kv_cli"));
        let output = traced.args(words).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap(), output.status.code())
    };
    if !store.program("strace").args(["-o", "/dev/null", "true"]).status().is_ok_and(|status| status.success()) {
        return skipped("strace cannot trace here");
    }
    let (out, err, status) = failing("3", &["export"]);
    assert!(out.is_empty() && status == Some(3) && err.contains("kv_cli export --salvage skips the parts"), "{err}");
    // After two reads of the header, the read of the whole file fails, and then those of two blocks of 4 KiB.
    let (out, err, status) = failing("3..5", &["export", "--salvage"]);
    let found = lines(&out);
    assert!(status == Some(3) && (800..960).contains(&found.len()), "{} {err}", found.len());
    assert!(err.contains("8192 B of ") && err.contains(" cannot be read, from byte 0 on: Input/output error"), "{err}");
    assert!(err.contains(&format!("{} writes of the log (known to be lost: {})", found.len(), 1000 - found.len())), "{err}");
}

//! `kv_cli wal` and `kv_cli verify`: what they print about good, torn, damaged and foreign files. Neither changes a
//! byte or needs the lock.
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::{Store, eventually, is_ignored, signal};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::sync::mpsc;

/// Runs a tool and checks that it changed no file. Returns stdout, stderr and the exit status.
fn run(store: &Store, words: &[&str]) -> (String, String, i32) {
    let files = || {
        let mut files: Vec<_> = fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files.into_iter().map(|path| (path.clone(), fs::read(&path).ok())).collect::<Vec<_>>()
    };
    let before = files();
    let output = store.process().args(words).output().unwrap();
    assert_eq!(files(), before, "{words:?} changed a file");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(store.dir.path().to_str().unwrap(), "DIR");
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

#[test]
fn a_log_is_printed_record_by_record() {
    let (out, err, status) = run(&Store::golden(), &["wal"]);
    let expected = r#"    offset    bytes      seq  durable  record
         0       64        -        -  log of store efcdab8967452301de9b5713cf8a4602, format 1, begins after write 5
        64       41        5        5  opened
       105       58        6        5  PUT name "Ada Lovelace"
       163       43        7        6  DEL empty
       206       61        8        7  atomic group of 3
                                        PUT a 1
                                        PUT b 2
                                        DEL x
       267       33        8        8  closed cleanly
3 writes (6 to 8) in 300 B of 300: undamaged, and closed cleanly
"#;
    assert_eq!((out.as_str(), err.as_str(), status), (expected, "", 0));
}

#[test]
fn a_torn_and_a_damaged_log_show_the_place_and_the_records_after_it() {
    let store = Store::golden();
    let whole = fs::read(store.path("kv.wal")).unwrap();
    fs::write(store.path("kv.wal"), &whole[..280]).unwrap();
    let (out, _, status) = run(&store, &["wal"]);
    assert!(out.contains("       267        9        9        -  TORN: the file ends inside the record;"), "{out}");
    assert!(
        out.ends_with("3 writes (6 to 8) in 267 B of 280: then a torn tail of 9 B, which the next opening cuts off\n"),
        "{out}"
    );
    assert_eq!(status, 0, "a torn tail is normal after a crash");

    let mut bytes = whole.clone();
    bytes[170] ^= 1;
    fs::write(store.path("other"), &bytes).unwrap();
    let other = store.path("other");
    let (out, _, status) = run(&store, &["wal", other.to_str().unwrap()]);
    assert!(out.contains(
        "       163      137        7        -  DAMAGED: the checksum of the record's head does not match, and the record"
    ));
    assert!(out.contains("       206       61        8        7  not applied: atomic group of 3\n"), "{out}");
    assert!(out.contains("       267       33        8        8  not applied: closed cleanly\n"), "{out}");
    assert_eq!(status, 3);

    // With a damaged header, the records are still found.
    let mut bytes = whole;
    bytes[20] ^= 1;
    fs::write(store.path("other"), &bytes).unwrap();
    let (out, _, status) = run(&store, &["wal", other.to_str().unwrap()]);
    assert!(out.contains("DAMAGED header") && out.contains("PUT name \"Ada Lovelace\""), "{out}");
    assert_eq!(status, 3);
}

#[test]
fn a_log_as_json_has_one_object_per_line() {
    let (out, _, status) = run(&Store::golden(), &["wal", "--json"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), status), (6, 0));
    assert_eq!(lines[2]["ops"][0]["value"], "Ada Lovelace");
    assert_eq!(lines[4]["ops"][2]["del"], "x");
    assert_eq!(lines[5]["record"], "closed");
}

#[test]
fn foreign_missing_and_empty_files_are_named() {
    let store = Store::new();
    for (bytes, says) in [
        (&b"KVLG\x01\0"[..], "not of kv-engine; to copy it into a new store, use: kv_cli import"),
        (b"KVLG\x01\x18", "(magic KVLG), not of kv-engine; nothing was changed"),
        (b"hello\x1b[31m", "not a kv-engine file"),
        (b"", "is shorter than its header"),
    ] {
        fs::write(store.path("kv.wal"), bytes).unwrap();
        let (out, err, status) = run(&store, &["wal"]);
        if bytes.is_empty() {
            assert!(status == 3 && !err.is_empty(), "{err}");
            continue;
        }
        assert!(out.is_empty() && err.contains(says) && !err.contains('\x1b'), "{err}");
        assert_eq!(status, 3);
        assert_eq!(run(&store, &["verify"]).2, 3);
    }
    fs::remove_file(store.path("kv.wal")).unwrap();
    let (_, err, status) = run(&store, &["wal"]);
    assert!(err.contains("DIR/kv.wal") && status == 3, "{err}");
    let (out, _, status) = run(&store, &["verify"]);
    assert_eq!((out.as_str(), status), ("log DIR/kv.wal: missing\nsnapshot DIR/kv.snapshot: missing\n", 3));
    fs::create_dir(store.path("kv.wal")).unwrap();
    assert!(run(&store, &["wal"]).1.contains("is a directory"));
}

#[test]
fn verify_is_for_a_cron_job() {
    let store = Store::golden();
    let (out, err, status) = run(&store, &["verify"]);
    assert!(out.contains("log DIR/kv.wal: undamaged, writes 6 to 8, 300 B, closed cleanly\n"), "{out}");
    assert!(out.contains("snapshot DIR/kv.snapshot: undamaged, 3 keys after write 5, 178 B, digest "), "{out}");
    assert_eq!((err.as_str(), status), ("", 0));

    let log = fs::read(store.path("kv.wal")).unwrap();
    fs::write(store.path("kv.wal"), &log[..290]).unwrap();
    let (out, _, status) = run(&store, &["verify"]);
    assert!(out.contains("log DIR/kv.wal: torn, writes 6 to 8, 267 B; then 17 B that are not a whole record"), "{out}");
    assert_eq!(status, 0, "a crash is no damage");

    for name in ["kv.wal", "kv.snapshot"] {
        let store = Store::golden();
        let mut bytes = fs::read(store.path(name)).unwrap();
        bytes[120] ^= 4;
        fs::write(store.path(name), &bytes).unwrap();
        let (out, _, status) = run(&store, &["verify"]);
        assert!(out.contains("BAD: DIR/") && out.contains(&format!("{name}: damaged at byte")), "{out}");
        assert_eq!(status, 3);
        let (out, _, status) = run(&store, &["verify", "--json"]);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&out).unwrap()["ok"], false);
        assert_eq!(status, 3);
    }
}

#[test]
fn both_read_a_store_that_is_open() {
    let store = Store::golden();
    let mut child = store.piped(&["--batch", "1"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(stdin, "PUT more 1").unwrap();
    assert_eq!(answers.next().unwrap().unwrap(), "OK");
    let (out, _, status) = run(&store, &["wal"]);
    assert!(out.contains("PUT more 1") && out.contains("undamaged; not closed cleanly, or still open") && status == 0, "{out}");
    assert_eq!(run(&store, &["verify"]).2, 0);
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_stops_early_is_not_an_error() {
    let store = Store::new();
    let script: String = (0..5000).map(|i| format!("PUT key{i} value\n")).collect();
    store.script(script);
    let output =
        store.program("sh").args(["-c", "\"$0\" wal | head -n 1"]).arg(assert_cmd::cargo::cargo_bin!("kv_cli")).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
}

#[test]
fn damage_gives_a_warning_and_strict_mode_refuses() {
    let store = Store::golden();
    let mut bytes = fs::read(store.path("kv.wal")).unwrap();
    bytes[170] ^= 1;
    fs::write(store.path("kv.wal"), &bytes).unwrap();
    store.cli().args(["--recovery", "strict", "SIZE"]).assert().code(3);
    assert_eq!(fs::read(store.path("kv.wal")).unwrap(), bytes);
    let output = store.process().arg("GET").arg("name").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Ada Lovelace\n");
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("writes 7 to 8 are not in the store") && err.contains("kv.wal.damaged-1"), "{err}");
    let kept = store.path("kv.wal.damaged-1");
    assert_eq!(fs::read(&kept).unwrap(), bytes);
    assert!(run(&store, &["wal", kept.to_str().unwrap()]).0.contains("not applied: atomic group of 3"));
    store.cli().arg("SIZE").assert().code(3); // until the kept copy is removed
    fs::remove_file(kept).unwrap();
    store.cli().arg("SIZE").assert().success().stderr("");
}

/// The lines that a tool prints while it runs.
struct Running {
    child: std::process::Child,
    lines: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    fn new(store: &Store, words: &[&str]) -> Running {
        let mut child = store.process().args(words).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        let (to, lines) = mpsc::channel();
        std::thread::spawn(move || out.lines().map_while(Result::ok).try_for_each(|line| to.send(line)));
        Running { child, lines, seen: Vec::new() }
    }

    fn sees(&mut self, text: &str) {
        eventually(text, || {
            self.seen.extend(self.lines.try_iter());
            self.seen.iter().any(|line| line.contains(text))
        });
    }

    /// How many lines end like this.
    fn count(&self, end: &str) -> usize {
        self.seen.iter().filter(|line| line.ends_with(end)).count()
    }
}

#[test]
fn a_log_is_followed_through_checkpoints_cuts_and_a_gap() {
    let store = Store::golden();
    let mut follow = Running::new(&store, &["wal", "--follow"]);
    follow.sees("closed cleanly");
    // A new log replaces the open one. No record is shown twice, and none is left out.
    store.script("SETBATCH 1\nPUT one 1\nSNAP\nPUT two 2\nSNAP\n");
    store.script("PUT three 3\n");
    follow.sees("PUT three 3");
    let rows = ["PUT one 1", "PUT two 2", "PUT three 3"].map(|row| follow.count(row));
    // If both checkpoints come between two looks, the log with `two` is never seen.
    assert!(rows[0] <= 1 && rows[1] <= 1 && rows[2] == 1, "{:?}", follow.seen);

    // The bytes of a torn write are reported. The next opening cuts them off, and the tool goes on there.
    let mut log = fs::OpenOptions::new().append(true).open(store.path("kv.wal")).unwrap();
    log.write_all(b"half").unwrap();
    follow.sees("TORN: the file ends inside the record");
    store.cli().args(["PUT", "four", "4"]).assert().success();
    follow.sees("PUT four 4");

    // The last record is removed, and another one replaces it.
    let bytes = fs::read(store.path("kv.wal")).unwrap();
    let row = follow.seen.iter().find(|line| line.ends_with("PUT four 4")).unwrap();
    let at: usize = row.split_whitespace().next().unwrap().parse().unwrap();
    fs::write(store.path("kv.wal"), &bytes[..at]).unwrap();
    store.cli().args(["PUT", "five", "5"]).assert().success();
    follow.sees("PUT five 5");

    fs::rename(store.path("kv.wal"), store.path("away")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(400));
    fs::rename(store.path("away"), store.path("kv.wal")).unwrap();
    store.cli().args(["PUT", "six", "6"]).assert().success();
    follow.sees("PUT six 6");
    assert_eq!(follow.count("PUT six 6"), 1);

    let (by, status) = if is_ignored(Signal::INT) { (Signal::TERM, 143) } else { (Signal::INT, 0) };
    signal(&follow.child, by);
    let ended = follow.child.wait_with_output().unwrap();
    let err = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(status), "Ctrl-C is the usual end: {err}");
    assert!(err.contains("kv.wal was removed; waiting for a new one\n"), "{err}");
    assert!(err.contains("kv_cli: followed up to write "), "{err}");
}

#[test]
fn following_ends_when_its_reader_stops_and_at_other_signals() {
    let store = Store::golden();
    let mut follow = Running::new(&store, &["wal", "--follow", "--json"]);
    follow.sees("\"record\":\"closed\"");
    signal(&follow.child, Signal::TERM);
    assert_eq!(follow.child.wait().unwrap().code(), Some(143));
    let mut child = store.process().args(["wal", "-f"]).stdout(Stdio::piped()).spawn().unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    eventually("it notices that its reader is gone", || {
        store.cli().args(["PUT", "x", "1"]).assert().success();
        child.try_wait().unwrap().is_some_and(|status| status.success())
    });
    store.cli().args(["wal", "--follow", "nowhere"]).assert().code(3);
}

#[test]
fn case_49_tools_and_their_errors_in_json() {
    let object = |out: &str| serde_json::from_str::<serde_json::Value>(out).unwrap_or_else(|error| panic!("{error}: {out}"));
    let store = Store::golden();
    for args in [&["verify", "--json"][..], &["--output", "json", "verify"], &["verify", "--output=json"]] {
        let (out, err, status) = run(&store, args);
        let found = object(&out);
        assert_eq!((&found["ok"], &found["pair"], err.as_str(), status), (&true.into(), &serde_json::Value::Null, "", 0));
        assert_eq!(found["log"]["file"], "DIR/kv.wal");
        assert_eq!((&found["log"]["verdict"], &found["snapshot"]["verdict"]), (&"sound".into(), &"sound".into()));
        assert_eq!(found["log"]["about"], "writes 6 to 8, 300 B, closed cleanly");
    }
    assert!(run(&store, &["--output", "json", "wal"]).0.lines().all(|line| object(line)["record"].is_string()));
    for (args, says, code) in [
        (&["wal", "nofile", "--json"][..], "nofile: the file does not exist", 3),
        (&["wal", "--record", "99", "--json"], "DIR/kv.wal has no record with sequence number 99; it has writes 6 to 8", 1),
        (&["wal", "--follow", "nofile", "--json"], "nofile: the file does not exist", 3),
    ] {
        let (out, err, status) = run(&store, args);
        assert_eq!(object(&out), serde_json::json!({"ok": false, "code": "failed", "error": says}), "{args:?}");
        assert_eq!((err, status), (format!("kv_cli: error: {says}\n"), code), "{args:?}");
    }
    fs::remove_file(store.path("kv.snapshot")).unwrap();
    let (out, _, status) = run(&store, &["verify", "--json"]);
    assert_eq!((object(&out)["snapshot"]["verdict"].as_str(), status), (Some("missing"), 3));
    assert!(object(&out)["pair"].as_str().unwrap().contains("snapshot"), "{out}");
}

#[test]
fn verify_says_that_a_log_was_not_closed() {
    let store = Store::new();
    let mut child = store.piped(&["--batch", "1"]);
    child.stdin.as_mut().unwrap().write_all(b"PUT a 1\n").unwrap();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    let (out, _, status) = run(&store, &["verify"]);
    assert!(out.contains(", not closed cleanly, or still open\n"), "{out}");
    assert_eq!(status, 0);
}

#[test]
fn case_51_torture_stops_at_ctrl_c_with_what_it_tried() {
    if is_ignored(Signal::INT) {
        return;
    }
    for (args, which, name) in [
        (&["torture", "--rung", "log"][..], Signal::INT, "SIGINT"),
        (&["torture", "--rung", "log", "--workload", "5"], Signal::TERM, "SIGTERM"),
        (&["torture", "--rung", "kills"], Signal::INT, "SIGINT"),
    ] {
        let store = Store::new();
        let mut command = store.process();
        let mut child =
            command.args(args).args(["--json"]).env("TMPDIR", store.dir.path()).stdout(Stdio::piped()).spawn().unwrap();
        // Signals are taken from then on, and no workload ends this early.
        eventually("signals are taken", || {
            let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim).map(str::to_string);
            let mask = mask.and_then(|mask| u64::from_str_radix(&mask, 16).ok()).unwrap_or(0);
            mask >> (which.as_raw() - 1) & 1 == 1
        });
        signal(&child, which);
        let output = {
            let mut text = String::new();
            std::io::Read::read_to_string(child.stdout.as_mut().unwrap(), &mut text).unwrap();
            text
        };
        let status = child.wait().unwrap().code();
        let found: serde_json::Value = serde_json::from_str(&output).unwrap_or_else(|error| panic!("{error}: {output}"));
        // A workload that ended before the signal is counted.
        assert!(
            status == Some(128 + which.as_raw()) || (status == Some(0) && args.contains(&"--workload")),
            "{status:?}: {found}"
        );
        if status != Some(0) {
            assert_eq!((&found["stopped_by"], &found["failed"]), (&name.into(), &0.into()), "{found}");
        }
        assert!(found["tried"].is_u64() && found["took_ms"].is_u64(), "{found}");
        assert_eq!(fs::read_dir(store.dir.path()).unwrap().count(), 0, "temporary stores are removed");
    }
}

#[test]
fn case_51_torture_refuses_what_a_rung_would_ignore() {
    let store = Store::new();
    for (args, says) in [
        (&["--states", "0"][..], "'--states <N>': expected a whole number from 1 to 18446744073709551615"),
        (&["--rung", "log", "--kills", "5"], "--kills is for the rung engine; this rung kills no process"),
        (&["--rung", "kills", "--kills", "5"], "--kills is for the rung engine; the rung kills takes --states"),
        (&["--rung", "kills", "--workload", "5"], "--workload repeats a workload; the rung kills has none"),
        (&["--rung", "log", "--case", "17:45.die:3.kill"], "cannot be used with"),
    ] {
        let (out, err, status) = run(&store, &[&["torture"], args].concat());
        assert!(err.contains(says) && out.is_empty(), "{args:?}: {err}");
        assert_eq!(status, 2, "{args:?}");
    }
}

#[test]
fn one_record_is_shown_with_its_bytes_and_the_names_of_the_fields() {
    let (out, err, status) = run(&Store::golden(), &["wal", "--record", "7", "--hex"]);
    let expected = r#"    offset    bytes      seq  durable  record
       163       43        7        6  DEL empty
       163 be 21 c1 ea             check        CRC-32 of 4..33, with the salt
       167 0a 00 00 00             body length  10, after this header
       171 07 00 00 00 00 00 00 00 sequence     write 7
       179 06 00 00 00 00 00 00 00 durable      known to be synced: write 6
       187 47 84 b5 fe             link         check of the record before
       191 32 da ed 91             body check   CRC-32 of body, with the salt
       195 01                      kind         1: a write
       196 02                      operation    2: delete
       197 05 00 00 00             key length   5
       201 65 6d 70 74 79          key          empty
"#;
    assert_eq!((out.as_str(), err.as_str(), status), (expected, "", 0));
    let (out, _, status) = run(&Store::golden(), &["wal", "--hex"]);
    assert!(out.contains("        12 ef cd ab 89 67 45 23 01 store id     efcdab8967452301de9b5713cf8a4602\n"), "{out}");
    assert!(out.contains("\n       267 ") && out.lines().all(|line| line.len() <= 80 || line.contains("log of store")), "{out}");
    assert_eq!((out.matches(" check        CRC-32 of ").count(), status), (6, 0));
    let (out, err, status) = run(&Store::golden(), &["wal", "--record", "9"]);
    assert_eq!((out.as_str(), status), ("", 1));
    assert_eq!(err, "kv_cli: error: DIR/kv.wal has no record with sequence number 9; it has writes 6 to 8\n");

    let store = Store::golden();
    store.script(format!("PUT long {}\n", "v".repeat(1000)));
    let (out, ..) = run(&store, &["wal", "--record", "9", "--hex"]);
    assert!(out.contains("… and 936 more bytes\n"), "{out}");
}

#[test]
fn verdicts_have_colours_on_request() {
    let store = Store::golden();
    let whole = fs::read(store.path("kv.wal")).unwrap();
    let plain = run(&store, &["wal"]).0;
    let (out, ..) = run(&store, &["wal", "--color", "always"]);
    assert!(out.contains("\x1b[32m3 writes (6 to 8)") && out.contains("\x1b[2m        64 "), "{out}");
    let bare = |text: &str| {
        ["32", "33", "31", "2", "0"].iter().fold(text.to_string(), |text, n| text.replace(&format!("\x1b[{n}m"), ""))
    };
    assert_eq!(bare(&out), plain);
    let (out, ..) = run(&store, &["verify", "--color", "always"]);
    assert!(out.starts_with("log DIR/kv.wal: \x1b[32mundamaged, ") && out.ends_with("\x1b[0m\n"), "{out}");

    fs::write(store.path("kv.wal"), &whole[..280]).unwrap();
    assert!(run(&store, &["wal", "--color", "always"]).0.contains("\x1b[33mTORN: "));
    assert!(run(&store, &["verify", "--color", "always"]).0.starts_with("log DIR/kv.wal: \x1b[33mtorn, "));
    let mut bytes = whole;
    bytes[170] ^= 1;
    fs::write(store.path("kv.wal"), &bytes).unwrap();
    let (out, ..) = run(&store, &["wal", "--color", "always"]);
    assert!(out.contains("\x1b[31mDAMAGED: ") && out.contains("\x1b[2m       206 "), "{out}");
    assert!(run(&store, &["verify", "--color", "always"]).0.starts_with("log \x1b[31mBAD: DIR"));
    // In a pipe there are none by default.
    assert!(!run(&store, &["wal"]).0.contains('\x1b') && !run(&store, &["verify"]).0.contains('\x1b'));
}

#[test]
fn reserved_space_and_files_that_cannot_be_read_are_reported() {
    let store = Store::golden();
    let mut log = fs::OpenOptions::new().append(true).open(store.path("kv.wal")).unwrap();
    log.write_all(&[0; 4000]).unwrap();
    let (out, _, status) = run(&store, &["wal"]);
    assert!(out.ends_with("in 300 B of 4300: undamaged, and closed cleanly; the last 4000 B are reserved space\n"), "{out}");
    assert_eq!(status, 0);

    fs::remove_file(store.path("kv.wal")).unwrap();
    fs::create_dir(store.path("kv.wal")).unwrap();
    let (out, _, status) = run(&store, &["verify"]);
    assert!(
        out.starts_with("log cannot be read: opening DIR/kv.wal: is a directory\nsnapshot DIR/kv.snapshot: undamaged"),
        "{out}"
    );
    assert_eq!(status, 3, "the log was not checked");
}

//! `kv_cli wal` and `kv_cli verify`: what a person sees of good, torn, damaged and foreign files;
//! and neither changes a byte or needs the lock.
#![cfg(feature = "cli")]
#![allow(clippy::unwrap_used, missing_docs)]

mod common;

use common::Store;
use std::fs;
use std::path::Path;

/// The files of format version 1 as a store.
fn golden() -> Store {
    let store = Store::new();
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data");
    fs::copy(data.join("v1.wal"), store.path("kv.wal")).unwrap();
    fs::copy(data.join("v1.snapshot"), store.path("kv.snapshot")).unwrap();
    store
}

/// Runs a tool; returns stdout, stderr and the exit status, and checks that no file was changed.
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
fn a_log_is_told_record_by_record() {
    let (out, err, status) = run(&golden(), &["wal"]);
    let expected = r#"    offset    bytes      seq  durable  record
         0       64        -        -  log of store efcdab8967452301de9b5713cf8a4602, format 1, begins after write 5
        64       41        5        5  opened
       105       58        6        5  PUT name "Ada Lovelace"
       163       43        7        6  DEL empty
       206       61        8        7  atomic group of 3
                                        PUT a 1
                                        PUT b 2
                                        DEL x
       267       33        8        8  closed in order
3 writes (6 to 8) in 300 B of 300: whole, and closed in order
"#;
    assert_eq!((out.as_str(), err.as_str(), status), (expected, "", 0));
}

#[test]
fn a_torn_and_a_damaged_log_show_where_and_what_is_behind() {
    let store = golden();
    let whole = fs::read(store.path("kv.wal")).unwrap();
    fs::write(store.path("kv.wal"), &whole[..280]).unwrap();
    let (out, _, status) = run(&store, &["wal"]);
    assert!(out.contains("       267        9        9        -  TORN: the file ends inside the record;"), "{out}");
    assert!(out.ends_with("3 writes (6 to 8) in 267 B of 280: then a torn tail of 9 B, which the next opening cuts\n"), "{out}");
    assert_eq!(status, 0, "a torn tail is what a crash leaves");

    let mut bytes = whole.clone();
    bytes[170] ^= 1;
    fs::write(store.path("other"), &bytes).unwrap();
    let other = store.path("other");
    let (out, _, status) = run(&store, &["wal", other.to_str().unwrap()]);
    assert!(out.contains(
        "       163      137        7        -  DAMAGED: the checksum of the record's head does not match, and the record"
    ));
    assert!(out.contains("       206       61        8        7  not applied: atomic group of 3\n"), "{out}");
    assert!(out.contains("       267       33        8        8  not applied: closed in order\n"), "{out}");
    assert_eq!(status, 3);

    // A damaged header: the records are found all the same.
    let mut bytes = whole;
    bytes[20] ^= 1;
    fs::write(store.path("other"), &bytes).unwrap();
    let (out, _, status) = run(&store, &["wal", other.to_str().unwrap()]);
    assert!(out.contains("DAMAGED header") && out.contains("PUT name \"Ada Lovelace\""), "{out}");
    assert_eq!(status, 3);
}

#[test]
fn a_log_as_json_is_one_object_to_a_line() {
    let (out, _, status) = run(&golden(), &["wal", "--json"]);
    let lines: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), status), (6, 0));
    assert_eq!(lines[2]["ops"][0]["value"], "Ada Lovelace");
    assert_eq!(lines[4]["ops"][2]["del"], "x");
    assert_eq!(lines[5]["record"], "closed");
}

#[test]
fn foreign_missing_and_odd_files_are_named() {
    let store = Store::new();
    for (bytes, says) in [
        (&b"KVLG\x01\0"[..], "earlier key-value store"),
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
    let store = golden();
    let (out, err, status) = run(&store, &["verify"]);
    assert!(out.contains("log DIR/kv.wal: sound, writes 6 to 8, 300 B, closed in order\n"), "{out}");
    assert!(out.contains("snapshot DIR/kv.snapshot: sound, 3 keys after write 5, 178 B, digest "), "{out}");
    assert_eq!((err.as_str(), status), ("", 0));

    let log = fs::read(store.path("kv.wal")).unwrap();
    fs::write(store.path("kv.wal"), &log[..290]).unwrap();
    let (out, _, status) = run(&store, &["verify"]);
    assert!(out.contains("log DIR/kv.wal: torn, writes 6 to 8, 267 B; then 17 B that are no whole record"), "{out}");
    assert_eq!(status, 0, "a crash is no damage");

    for name in ["kv.wal", "kv.snapshot"] {
        let store = golden();
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
fn both_look_at_a_store_that_is_open() {
    use std::io::{BufRead, BufReader, Write};
    let store = golden();
    let mut child = store.piped(&["--batch", "1"]);
    let mut stdin = child.stdin.take().unwrap();
    let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
    writeln!(stdin, "PUT more 1").unwrap();
    assert_eq!(answers.next().unwrap().unwrap(), "OK");
    let (out, _, status) = run(&store, &["wal"]);
    assert!(out.contains("PUT more 1") && out.ends_with("whole; not closed in order, or still open\n") && status == 0, "{out}");
    assert_eq!(run(&store, &["verify"]).2, 0);
    drop(stdin);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_reader_that_leaves_early_is_no_error() {
    let store = Store::new();
    let script: String = (0..5000).map(|i| format!("PUT key{i} value\n")).collect();
    store.script(script);
    let output =
        store.program("sh").args(["-c", "\"$0\" wal | head -n 1"]).arg(assert_cmd::cargo::cargo_bin!("kv_cli")).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert_eq!(String::from_utf8(output.stdout).unwrap().lines().count(), 1);
}

#[test]
fn damage_is_warned_of_and_strict_mode_refuses() {
    let store = golden();
    let mut bytes = fs::read(store.path("kv.wal")).unwrap();
    bytes[170] ^= 1;
    fs::write(store.path("kv.wal"), &bytes).unwrap();
    store.cli().args(["--recovery", "strict", "SIZE"]).assert().code(3);
    assert_eq!(fs::read(store.path("kv.wal")).unwrap(), bytes);
    let output = store.process().arg("GET").arg("name").output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "Ada Lovelace\n");
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(err.contains("writes 7 to 8 are lost") && err.contains("kv.wal.damaged-1"), "{err}");
    let kept = store.path("kv.wal.damaged-1");
    assert_eq!(fs::read(&kept).unwrap(), bytes);
    assert!(run(&store, &["wal", kept.to_str().unwrap()]).0.contains("not applied: atomic group of 3"));
    store.cli().arg("SIZE").assert().success().stderr("");
}

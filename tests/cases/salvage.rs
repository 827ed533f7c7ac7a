//! What the tools report about files with missing parts, and what they can read if the header is damaged.

use crate::common::Store;
use std::fs;

/// Every tool that reads the files and changes nothing.
const TOOLS: [&[&str]; 5] = [&["export"], &["export", "--salvage"], &["verify"], &["wal"], &["replay"]];

fn run(store: &Store, args: &[&str]) -> (String, String, i32) {
    let output = store.process().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code().unwrap())
}

/// Checks that each tool prints `words`, ends with status 3, and changes no byte.
fn all_report(store: &Store, words: &str) {
    let files = || {
        let bytes = |name| fs::read(store.path(name)).ok();
        (bytes("kv.wal"), bytes("kv.snapshot"))
    };
    let before = files();
    for args in TOOLS {
        let (out, err, status) = run(store, args);
        assert!((out.clone() + &err).contains(words) && status == 3, "{args:?} {status}: {out}{err}");
        assert!(!err.contains("these files are undamaged"), "{args:?}: {err}");
        assert!(args != ["export"] || out.is_empty(), "an incomplete state is not exported: {out}");
    }
    assert!(files() == before);
}

/// Runs a salvage. Returns the entries as PUT lines, and its report.
fn salvaged(store: &Store) -> (Vec<String>, String) {
    let (out, err, status) = run(store, &["export", "--salvage"]);
    assert_eq!(status, 3, "{err}");
    (out.lines().filter(|line| line.starts_with("PUT ")).map(String::from).collect(), err)
}

fn copy(from: &Store, to: &Store, name: &str) {
    fs::copy(from.path(name), to.path(name)).unwrap();
}

/// Writes 1 to 3 in the snapshot, 4 and 5 in the log.
fn two_files() -> Store {
    let store = Store::new();
    store.script("PUT a 1\nPUT b 2\nPUT c 3\nSNAP\nPUT d 4\nPUT e 5\n");
    store
}

#[test]
fn case_03_salvage_reports_what_is_missing() {
    let sound = two_files();
    let (out, err, status) = run(&sound, &["export", "--salvage"]);
    assert!(
        status == 0
            && err.contains("these files are undamaged")
            && out.lines().filter(|line| line.starts_with("PUT")).count() == 5
    );

    let store = two_files();
    fs::remove_file(store.path("kv.snapshot")).unwrap();
    all_report(&store, "the log begins after write 3, and the snapshot that holds the writes before is missing");
    let (entries, err) = salvaged(&store);
    assert_eq!(entries, ["PUT d 4", "PUT e 5"]);
    assert!(err.contains("writes 1 to 3 are missing from the files that were read"), "{err}");
    assert!(err.contains("2 writes of the log (known to be lost: 3)") && err.contains("NOT the state after any write"), "{err}");
}

#[test]
fn case_03_a_snapshot_that_is_too_old_is_reported() {
    let store = Store::new();
    store.script("PUT a 1\nSNAP\n");
    let old = fs::read(store.path("kv.snapshot")).unwrap();
    store.script("PUT b 2\nPUT c 3\nSNAP\nPUT d 4\n");
    fs::write(store.path("kv.snapshot"), old).unwrap();
    all_report(&store, "the log begins after write 3, the snapshot ends with write 1");
    let (entries, err) = salvaged(&store);
    assert_eq!(entries, ["PUT a 1", "PUT d 4"]);
    assert!(err.contains("writes 2 to 3 are missing"), "{err}");
}

#[test]
fn case_03_a_snapshot_of_another_store_is_reported() {
    let (store, other) = (two_files(), two_files());
    copy(&other, &store, "kv.snapshot");
    all_report(&store, "the log is of store ");
    let (entries, err) = salvaged(&store);
    assert_eq!(entries, ["PUT a 1", "PUT b 2", "PUT c 3"], "only the snapshot: two stores are not mixed");
    assert!(err.contains("only the snapshot was read; writes 4 to 5 of the log were left out"), "{err}");
    // Also where the log's first bytes are bad.
    let mut log = fs::read(store.path("kv.wal")).unwrap();
    log[3] ^= 1;
    fs::write(store.path("kv.wal"), log).unwrap();
    let (entries, err) = salvaged(&store);
    assert!(entries.len() == 3 && err.contains("the log is of store "), "{err}");
    assert!(run(&store, &["verify"]).0.contains("the log is of store "));
}

/// Export compares the two files.
#[test]
fn case_35_export_refuses_two_files_that_are_not_one_store() {
    let (store, other) = (two_files(), two_files());
    copy(&other, &store, "kv.wal");
    let (out, err, status) = run(&store, &["export", "x.kv"]);
    assert!(out.is_empty() && status == 3 && err.contains("are not one store") && err.contains("nothing was exported"), "{err}");
    assert!(!store.path("x.kv").exists());
    // This is checked first, because the snapshot of another store proves nothing about this log.
    let (newer, other) = (Store::new(), Store::new());
    newer.script((0..9).map(|n| format!("PUT key{n} v\n")).collect::<String>() + "SNAP\n");
    other.script("PUT a 1\nPUT b 2\n");
    let log = fs::read(other.path("kv.wal")).unwrap();
    fs::write(newer.path("kv.wal"), [&log[..], b"torn"].concat()).unwrap();
    let (_, err, status) = run(&newer, &["export"]);
    assert!(status == 3 && err.contains("are not one store") && !err.contains("damaged at"), "{err}");
}

#[test]
fn case_30_a_log_that_is_missing_or_empty_is_reported() {
    let store = two_files();
    fs::remove_file(store.path("kv.wal")).unwrap();
    all_report(&store, "there is no log beside the snapshot; the writes from 4 on may be missing");
    assert_eq!(salvaged(&store).0.len(), 3);
    assert!(!store.path("kv.wal").exists());
    fs::write(store.path("kv.wal"), "").unwrap();
    all_report(&store, "the log beside the snapshot is empty; the writes from 4 on may be missing");
    assert_eq!(salvaged(&store).0.len(), 3);
    fs::remove_file(store.path("kv.snapshot")).unwrap();
    all_report(&store, "an empty file; a crash does not cause this");
    assert!(salvaged(&store).0.is_empty());
}

#[test]
fn case_30_a_log_older_than_its_snapshot_is_reported() {
    let store = Store::new();
    store.script("PUT a 1\nPUT b 2\n");
    let old = fs::read(store.path("kv.wal")).unwrap();
    store.script("PUT c 3\nSNAP\nPUT d 4\n");
    fs::write(store.path("kv.wal"), &old).unwrap();
    let words =
        "the log is older than the snapshot: it ends with write 2, the snapshot with write 3; later writes may be missing";
    all_report(&store, words);
    assert_eq!(salvaged(&store).0, ["PUT a 1", "PUT b 2", "PUT c 3"]);
    // A state that the files have is replayed without a warning.
    let (out, err, status) = run(&store, &["replay", "--until", "2"]);
    assert_eq!((out.as_str(), err.as_str(), status), ("write 2, 2 keys\n", "", 0));
    // A log that is read alone is not compared with the snapshot.
    fs::rename(store.path("kv.wal"), store.path("old")).unwrap();
    assert_eq!(run(&store, &["wal", "old"]).2, 0);
    assert_eq!(run(&store, &["replay", "old"]).2, 0);
}

/// If a log was cut off right after a record, nobody can tell what is missing. But the engine never leaves a log like
/// that.
#[test]
fn case_30_a_log_that_was_cut_off_after_a_record_is_reported() {
    let store = Store::new();
    store.script("SETBATCH 1\nPUT a 1\nPUT b 2\nPUT c 3\n");
    let log = fs::read(store.path("kv.wal")).unwrap();
    let end = log.windows(2).position(|bytes| bytes == b"b2").unwrap() + 2;
    fs::write(store.path("kv.wal"), &log[..end]).unwrap();
    for args in TOOLS {
        let (out, err, status) = run(&store, args);
        let said = out + &err;
        assert!(said.contains("ends right after its last write") && status == 0, "{args:?} {status}: {said}");
        assert!(!said.contains("nothing is wrong"), "{said}");
    }
}

/// Two copies of one store got different writes, and then their files were mixed.
#[test]
fn files_of_two_copies_that_went_different_ways_are_refused() {
    let (one, other) = (Store::new(), Store::new());
    one.script("PUT a 1\nPUT b 2\n");
    copy(&one, &other, "kv.wal");
    one.script("PUT c 3\nPUT d 4\n");
    other.script("PUT c other\nSNAP\n");
    copy(&other, &one, "kv.snapshot");
    all_report(&one, "the snapshot holds the writes up to 3, and the log has a different write 3");
    let (_, err, status) = run(&one, &["-c", "GET c"]);
    assert!(status == 3 && err.contains("were changed separately"), "{err}");
    // One history: a log that a checkpoint had no time to replace.
    let (early, late) = (Store::new(), Store::new());
    early.script("PUT a 1\nPUT b 2\nPUT a 3\nDEL b\n");
    copy(&early, &late, "kv.wal");
    late.script("SNAP\n");
    copy(&late, &early, "kv.snapshot");
    for args in TOOLS {
        let (out, err, status) = run(&early, args);
        assert_eq!(status, 0, "{args:?}: {out}{err}");
    }
    assert_eq!(run(&early, &["-c", "GET a"]), ("3\n".into(), String::new(), 0));
}

#[test]
fn case_03_a_log_that_was_kept_when_it_was_damaged_is_named() {
    let store = Store::new();
    store.script("SETBATCH 1\nPUT a 1\nPUT b 2\nPUT c 3\n");
    let mut log = fs::read(store.path("kv.wal")).unwrap();
    log[160] ^= 1;
    fs::write(store.path("kv.wal"), log).unwrap();
    run(&store, &["-c", "PUT z 1"]);
    assert!(store.path("kv.wal.damaged-1").exists());
    for name in ["kv.wal.damaged-", "kv.wal.damaged-x"] {
        fs::write(store.path(name), "notes").unwrap();
    }
    let (entries, err) = salvaged(&store);
    assert_eq!(entries, ["PUT a 1", "PUT z 1"]);
    assert!(
        err.contains("kv.wal.damaged-1; it was not read here; some writes may exist only there") && err.contains("kv_cli wal "),
        "{err}"
    );
    assert!(!err.contains("damaged-x") && !err.contains("these files are undamaged"), "{err}");
    fs::remove_file(store.path("kv.wal.damaged-1")).unwrap();
    assert!(run(&store, &["export", "--salvage"]).1.contains("these files are undamaged"));
}

/// The report names some of the missing writes and counts all of them.
#[test]
fn case_03_a_log_with_many_missing_writes_is_reported_in_few_lines() {
    let store = Store::new();
    store.script((0..200).map(|n| format!("PUT key{n:03} v\n")).collect::<String>());
    let mut log = fs::read(store.path("kv.wal")).unwrap();
    let records: Vec<usize> = (0..log.len() - 6).filter(|&at| log[at..].starts_with(b"key")).collect();
    assert_eq!(records.len(), 200);
    for at in records.iter().skip(1).step_by(2) {
        log[*at] ^= 1;
    }
    fs::write(store.path("kv.wal"), log).unwrap();
    let (entries, err) = salvaged(&store);
    assert!(entries.len() == 100 && err.contains("writes 2, 4, 6, ") && err.contains(" are missing"), "{err}");
    assert!(err.contains("and 8") && err.contains("(known to be lost: 100)") && err.lines().count() < 12, "{err}");
}

/// Copies of a log or a snapshot with damaged headers.
fn with_damaged_header(good: &[u8], header: usize) -> Vec<(String, Vec<u8>)> {
    let with = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.to_vec();
        change(&mut bytes);
        bytes
    };
    let mut all: Vec<_> = (0..64).map(|bit| (format!("bit {bit}"), with(&|bytes| bytes[bit / 8] ^= 1 << (bit % 8)))).collect();
    all.extend((8..header).map(|at| (format!("byte {at}"), with(&|bytes| bytes[at] ^= 0x10))));
    for (name, len) in [("first bytes", 8), ("header", header)] {
        all.push((format!("{name}: zeros"), with(&|bytes| bytes[..len].fill(0))));
        all.push((format!("{name}: text"), with(&|bytes| bytes[..len].fill(b'#'))));
    }
    all
}

#[test]
fn case_04_the_first_bytes_of_a_log_hide_no_record() {
    let store = Store::new();
    store.script("SETBATCH 1\nPUT a 1\nPUT b 2\nPUT c 3\n");
    let good = fs::read(store.path("kv.wal")).unwrap();
    for (what, bytes) in with_damaged_header(&good, 64) {
        fs::write(store.path("kv.wal"), bytes).unwrap();
        let (entries, err) = salvaged(&store);
        assert_eq!(entries, ["PUT a 1", "PUT b 2", "PUT c 3"], "{what}: {err}");
        assert!(err.contains("the header of ") && err.contains("NOT the state after any write"), "{what}: {err}");
        let (out, _, status) = run(&store, &["wal"]);
        let shown = ["PUT a 1", "PUT b 2", "PUT c 3"].iter().all(|put| out.contains(put));
        assert!(shown && out.contains("DAMAGED header") && status == 3 && !out.contains("not applied"), "{what}: {out}");
        let (out, _, status) = run(&store, &["verify"]);
        assert!(status == 3 && out.contains("log BAD") && out.contains("damaged at byte 0"), "{what}: {out}");
    }
    for foreign in [&b"#!/bin/sh\necho no log\n"[..], &[0; 700], b"KVLG\x01\0", &[0x89; 3000]] {
        fs::write(store.path("kv.wal"), foreign).unwrap();
        let (entries, err) = salvaged(&store);
        assert!(entries.is_empty() && err.contains("not of kv-engine") | err.contains("not a kv-engine file"), "{err}");
    }
}

#[test]
fn case_04_the_first_bytes_of_a_snapshot_hide_no_entry() {
    first_bytes_of_a_snapshot(&two_files(), 1);
}

#[test]
fn case_04_the_first_bytes_of_a_snapshot_with_an_index_hide_no_entry() {
    let store = Store::new();
    let script = "PUT a 1\nPUT b 2\nPUT c 3\nSNAP\nPUT d 4\nPUT e 5\n";
    store.cli().args(["--values-in-snapshot", "1MiB"]).write_stdin(script).assert().success();
    first_bytes_of_a_snapshot(&store, 2);
}

fn first_bytes_of_a_snapshot(store: &Store, format: u8) {
    let good = fs::read(store.path("kv.snapshot")).unwrap();
    assert_eq!(good[8], format);
    for (what, bytes) in with_damaged_header(&good, 96) {
        fs::write(store.path("kv.snapshot"), bytes).unwrap();
        let (entries, err) = salvaged(store);
        assert_eq!(entries, ["PUT a 1", "PUT b 2", "PUT c 3", "PUT d 4", "PUT e 5"], "{what}: {err}");
        assert!(err.contains("the header of ") && !err.contains(" are missing"), "{what}: {err}");
        let (out, _, status) = run(store, &["verify"]);
        assert!(status == 3 && out.contains("snapshot BAD") && out.contains("damaged at byte 0"), "{what}: {out}");
    }
    fs::copy(store.path("kv.wal"), store.path("kv.snapshot")).unwrap();
    let (entries, err) = salvaged(store);
    assert!(entries == ["PUT d 4", "PUT e 5"] && err.contains("this is a kv-engine log, not a snapshot"), "{err}");
    assert!(err.contains("writes 1 to 3 are missing"), "{err}");
}

/// The first sector of either file is lost: it has zeros, or is missing.
#[test]
fn case_04_a_lost_sector_takes_only_its_own_entries() {
    const SECTOR: usize = 512;
    let store = Store::new();
    store.script((0..500).map(|n| format!("PUT key{n:03} value{n}\n")).collect::<String>());
    let log = fs::read(store.path("kv.wal")).unwrap();
    store.script("SNAP\n");
    let (snapshot, rest) = (fs::read(store.path("kv.snapshot")).unwrap(), fs::read(store.path("kv.wal")).unwrap());
    assert!(snapshot.len() > 2 * 4096);
    let zeros = |bytes: &[u8]| [&[0; SECTOR], &bytes[SECTOR..]].concat();

    fs::remove_file(store.path("kv.snapshot")).unwrap();
    for bytes in [zeros(&log), log[SECTOR..].to_vec()] {
        fs::write(store.path("kv.wal"), bytes).unwrap();
        let (entries, err) = salvaged(&store);
        assert!((485..500).contains(&entries.len()) && entries.last().is_some_and(|last| last == "PUT key499 value499"), "{err}");
        let lost = 500 - entries.len();
        assert!(err.contains(&format!("writes 1 to {lost} are missing")) && err.contains("it is unknown which store"), "{err}");
        let (out, _, status) = run(&store, &["wal"]);
        assert!(out.contains("PUT key499 value499") && out.contains("the first whole record is at byte") && status == 3, "{out}");
    }

    fs::write(store.path("kv.wal"), rest).unwrap();
    for bytes in [zeros(&snapshot), snapshot[SECTOR..].to_vec()] {
        fs::write(store.path("kv.snapshot"), bytes).unwrap();
        let (entries, err) = salvaged(&store);
        assert!((300..500).contains(&entries.len()) && entries.last().is_some_and(|last| last == "PUT key499 value499"), "{err}");
        assert!(err.contains("it is unknown how many entries there were"), "{err}");
    }
}

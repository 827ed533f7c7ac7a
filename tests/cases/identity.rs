//! The store recognizes its files by their content, not by their names.

use crate::common::{Shell, Store, eventually, skipped};
use predicates::str::contains;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

/// A store with a snapshot of write 1 and a log with write 2, and that log.
fn two_writes() -> (Store, Vec<u8>) {
    let store = Store::new();
    store.script("PUT a 1\nSNAP\nPUT b 2\n");
    let log = fs::read(store.path("kv.wal")).unwrap();
    (store, log)
}

/// Removes the log, or makes it an empty file.
fn take_log_away(store: &Store, empty: bool) {
    if empty { fs::write(store.path("kv.wal"), "").unwrap() } else { fs::remove_file(store.path("kv.wal")).unwrap() }
}

fn bytes(store: &Store) -> Vec<(String, Vec<u8>)> {
    store.names().into_iter().map(|name| (name.clone(), fs::read(store.path(&name)).unwrap())).collect()
}

/// A checkpoint builds only on the snapshot that this store opened or wrote.
#[test]
fn case_01_a_checkpoint_builds_on_its_own_snapshot_alone() {
    let (older, newer, strange) = (Store::new(), Store::new(), Store::new());
    strange.script("PUT x 9\nSNAP\n");
    let stranger = fs::read(strange.path("kv.snapshot")).unwrap();
    older.script("PUT old 1\nSNAP\n");
    let first = fs::read(older.path("kv.snapshot")).unwrap();
    for name in ["kv.wal", "kv.snapshot"] {
        fs::copy(older.path(name), newer.path(name)).unwrap();
    }
    newer.script("PUT later 2\nSNAP\n");
    let second = fs::read(newer.path("kv.snapshot")).unwrap();
    newer.script("PUT last 3\nSNAP\n");
    let third = fs::read(newer.path("kv.snapshot")).unwrap();

    type Change<'a> = (&'a str, Option<&'a [u8]>);
    let changes: [Change<'_>; 5] = [
        ("is gone", None),
        ("an older snapshot", Some(&first)),
        ("a newer snapshot", Some(&third)),
        ("another store", Some(&stranger)),
        ("", Some(&second)), // the same bytes in a new file
    ];
    for (says, change) in changes {
        for ends in [false, true] {
            let store = Store::new();
            fs::write(store.path("kv.snapshot"), &first).unwrap();
            fs::copy(older.path("kv.wal"), store.path("kv.wal")).unwrap();
            let args: &[&str] = if ends { &["--batch", "1", "--checkpoint-log", "1"] } else { &["--batch", "1"] };
            let mut shell = Shell::on(&store, &["--batch", "1"]);
            assert_eq!(shell.ask("PUT later 2"), "OK");
            shell.say("SNAP");
            drop(shell.end());
            // A snapshot that a copy of the store wrote is recognized by more than its sequence number.
            fs::write(store.path("kv.snapshot"), &second).unwrap();
            fs::copy(newer.path("kv.wal"), store.path("kv.wal.of-the-copy")).unwrap();
            let log = fs::read(store.path("kv.wal")).unwrap();
            let whole = store.cli().args(["GET", "old"]).assert().success();
            whole.stdout("1\n");

            let mut shell = Shell::on(&store, args);
            assert_eq!(shell.ask("GET old"), "1");
            fs::remove_file(store.path("kv.snapshot")).unwrap();
            if let Some(bytes) = change {
                fs::write(store.path("kv.snapshot"), bytes).unwrap();
            }
            assert_eq!(shell.ask("PUT new 3"), "OK");
            if !ends {
                shell.say("SNAP");
            }
            if !ends && says.is_empty() {
                assert!(shell.ask("").starts_with("SNAP OK"));
            }
            assert_eq!(shell.ask("GET old"), "1", "reads go on");
            assert_eq!(shell.ask("PUT newer 4"), "OK", "writes go on");
            let (_, complaints, status) = shell.end();
            if says.is_empty() {
                assert_eq!((status, complaints), (Some(0), String::new()));
                store.cli().arg("KEYS").assert().success().stdout("later\nnew\nnewer\nold\n");
                continue;
            }
            assert!(ends || status == Some(1), "{says}: {status:?} {complaints}");
            assert!(ends || complaints.contains(says), "{says}: {complaints}");
            assert_eq!(fs::read(store.path("kv.snapshot")).ok().as_deref(), change, "{says}: nothing was replaced");
            assert!(fs::read(store.path("kv.wal")).unwrap().starts_with(&log[..64]), "{says}: the log is kept");
            // With the right snapshot again, every entry is there.
            fs::write(store.path("kv.snapshot"), &second).unwrap();
            store.cli().arg("KEYS").assert().success().stdout("later\nnew\nnewer\nold\n");
        }
    }
}

/// An opening removes no file only because of its name.
#[test]
fn case_02_a_file_whose_name_ends_like_a_helper_is_left_alone() {
    let store = Store::new();
    let other = ["--wal", "kv.snapshot.tmp", "--snapshot", "other.snapshot"];
    store.cli().args(other).args(["PUT", "mine", "1"]).assert().success();
    let strange =
        ["kv.wal.tmp", "kv.wal.tmp-0123456789abcdef", "kv.snapshot.tmp-", "kv.wal.bench", "kv.wal.bench.bare", "kv.wal.old"];
    for name in strange {
        fs::write(store.path(name), "notes\n").unwrap();
    }
    store.script("BEGIN\nCOMMIT\nGET a\nPUT a 1\nSNAP\nPUT b 2\nSNAP\n");
    store.cli().args(["--batch", "1", "PUT", "c", "3"]).assert().success();
    for name in strange {
        assert_eq!(fs::read(store.path(name)).unwrap(), b"notes\n", "{name}");
    }
    store.cli().args(other).args(["GET", "mine"]).assert().success().stdout("1\n");
}

/// The temporary files of a killed process are removed. Their names show that they belong to the store.
#[test]
fn case_02_temporary_files_of_a_killed_process_are_removed() {
    use kv_engine::disk::{OsDisk, create_scratch};
    let store = Store::new();
    store.script("PUT a 1\n");
    for name in ["kv.wal", "kv.snapshot"] {
        create_scratch(&OsDisk, &store.path(name)).unwrap();
    }
    assert_eq!(store.names().len(), 5);
    store.cli().args(["GET", "a"]).assert().success();
    assert_eq!(store.names().len(), 5, "a command that only reads changes nothing");
    store.cli().args(["FLUSH"]).assert().success();
    assert_eq!(store.names(), ["kv.snapshot.lock", "kv.wal", "kv.wal.lock"]);
}

/// Reading without the log changes nothing, and warns that writes are missing.
#[test]
fn case_05_reading_without_the_log_changes_nothing() {
    for empty in [false, true] {
        let (store, log) = two_writes();
        take_log_away(&store, empty);
        let before = bytes(&store);
        for line in ["GET a", "SIZE", "KEYS", "SCAN", "STATS", "FLUSH", "EXPORT out.kv", "DEL nosuch"] {
            let said = store.cli().args(line.split(' ')).assert().code(3);
            said.stderr(contains("later writes may be missing"));
            let _ = fs::remove_file(store.path("out.kv"));
            let after = bytes(&store);
            let changed = before.iter().zip(&after).filter(|(before, after)| before != after && !before.0.ends_with(".lock"));
            assert!(after.len() == before.len() && changed.count() == 0, "{line}");
        }
        store.cli().args(["--recovery", "strict", "GET", "a"]).assert().code(3);
        store.cli().arg("verify").assert().code(3);
        fs::write(store.path("kv.wal"), &log).unwrap();
        store.cli().args(["GET", "b"]).assert().success().stdout("2\n");
        store.cli().arg("verify").assert().success();
    }
}

/// The first write begins a new log. The old one is never accepted again as its continuation.
#[test]
fn case_05_the_first_write_without_the_log_begins_a_new_one() {
    for empty in [false, true] {
        let (store, log) = two_writes();
        take_log_away(&store, empty);
        store.cli().args(["PUT", "c", "3"]).assert().code(3).stdout("OK\n");
        store.cli().arg("KEYS").assert().success().stdout("a\nc\n");
        store.cli().arg("verify").assert().success();
        fs::write(store.path("kv.wal"), &log).unwrap();
        store.cli().args(["GET", "b"]).assert().code(3).stderr(contains("not one store"));
    }
}

/// If the new log cannot be made, the old one can still come back. A later write can begin a new one.
#[test]
fn case_05_a_log_that_cannot_be_begun_leaves_room_for_the_old_one() {
    use crate::support::{Call, EIO, ENOSPC, FaultyDisk, Place, Plan};
    use std::sync::Arc;
    for plan in [Plan::fail(Call::Create, ".wal.tmp", ENOSPC), Plan::fail(Call::Rename, ".wal", EIO)] {
        let (place, disk) = (Place::new(), FaultyDisk::default());
        let engine = place.open();
        engine.put("a", "1").unwrap();
        engine.snapshot().unwrap();
        engine.put("b", "2").unwrap();
        drop(engine);
        let (log, snapshot) = (fs::read(&place.wal).unwrap(), fs::read(&place.snapshot).unwrap());
        fs::remove_file(&place.wal).unwrap();
        let engine = place.options().disk(Arc::new(disk.clone())).open().unwrap();
        disk.plan(plan.clone());
        engine.put("c", "3").unwrap_err();
        let is_full = plan.call == Call::Create;
        assert!(!is_full || fs::read(&place.snapshot).unwrap() == snapshot, "a full disk is found before anything is changed");
        disk.heal();
        if is_full {
            fs::write(&place.wal, &log).unwrap();
            engine.put("c", "3").unwrap_err(); // the log that came back is not replaced
            drop(engine);
            assert_eq!(fs::read(&place.wal).unwrap(), log);
            assert_eq!(place.open().len(), 2);
            continue;
        }
        engine.put("c", "3").unwrap();
        drop(engine);
        assert_eq!(place.open().len(), 2, "a and c");
    }
}

/// A log that comes back while the store is open without one is not replaced.
#[test]
fn case_05_a_log_that_comes_back_is_not_replaced() {
    let (store, log) = two_writes();
    fs::remove_file(store.path("kv.wal")).unwrap();
    let mut shell = Shell::on(&store, &["--batch", "1"]);
    assert_eq!(shell.ask("GET a"), "1");
    fs::write(store.path("kv.wal"), &log).unwrap();
    shell.say("PUT c 3");
    shell.say("SNAP");
    let (answers, said, _) = shell.end();
    assert!(!answers.contains("OK") && said.contains("after the store was opened"), "{answers}{said}");
    assert_eq!(fs::read(store.path("kv.wal")).unwrap(), log);
    store.cli().arg("KEYS").assert().success().stdout("a\nb\n");
}

/// What another process does to the log of an open store, and the error.
const LOSSES: [(&str, &str); 5] = [
    ("removed", "the log was removed or renamed"),
    ("renamed", "the log was removed or renamed"),
    ("emptied", "the log was changed while the store was open"),
    ("cut", "the log was changed while the store was open"),
    ("replaced", "the log was replaced by another file"),
];

fn lose(store: &Store, how: &str) -> PathBuf {
    let (log, away) = (store.path("kv.wal"), store.path("away"));
    let cut = |len| fs::OpenOptions::new().write(true).open(&log).unwrap().set_len(len).unwrap();
    match how {
        "removed" => fs::remove_file(&log).unwrap(),
        "renamed" => fs::rename(&log, &away).unwrap(),
        "emptied" => cut(0),
        "cut" => cut(70),
        _ => {
            fs::copy(&log, &away).unwrap();
            fs::rename(&away, &log).unwrap();
        }
    }
    away
}

/// After the open log has lost its name or its bytes, no command answers OK.
#[test]
fn case_23_no_ok_after_the_open_log_has_lost_its_name_or_its_bytes() {
    for (how, says) in LOSSES {
        for asks in ["PUT b 2", "DEL a", "FLUSH", "SNAP", "SETBATCH 7", "EXIT"] {
            let store = Store::new();
            let mut shell = Shell::on(&store, &["--batch", "1"]);
            assert_eq!(shell.ask("PUT a 1"), "OK");
            lose(&store, how);
            shell.say(asks);
            let (answers, err, status) = shell.end();
            assert!(!answers.contains("OK") && status == Some(4), "{how}, {asks}: {status:?} {answers}{err}");
            assert!(err.contains(says), "{how}, {asks}: {err}");
        }
    }
}

/// Also a group of writes that is still in memory, and the background flush.
#[test]
fn case_23_a_group_and_the_background_flush_find_it_too() {
    for (how, says) in LOSSES {
        let store = Store::new();
        let mut shell = Shell::on(&store, &["--batch", "3"]);
        assert_eq!(shell.ask("PUT a 1"), "OK");
        assert!(shell.ask("FLUSH").starts_with("FLUSH OK"));
        lose(&store, how);
        assert_eq!((shell.ask("PUT b 2"), shell.ask("PUT c 3")), ("OK".into(), "OK".into()), "these OKs do not mean durable");
        shell.say("PUT d 4");
        let (_, err, status) = shell.end();
        assert!(status == Some(4) && err.contains(says), "{how}: {status:?} {err}");

        let store = Store::new();
        let mut shell = Shell::with(&store, &["--json", "--batch", "3", "--flush-interval", "20ms"]);
        shell.ask("PUT a 1");
        eventually("the write is synced", || shell.ask("STATS").contains("\"pending\":0"));
        lose(&store, how);
        shell.ask("PUT b 2");
        eventually("the background flush fails", || !shell.ask("STATS").contains("\"failed\":null"));
        let (_, err, status) = shell.end();
        assert!(status == Some(4) && err.contains(says), "{how}: {status:?} {err}");
    }
}

/// The state is still in memory, and can be exported.
#[test]
fn case_23_reads_go_on_and_the_state_can_be_exported() {
    for (how, _) in LOSSES {
        let store = Store::new();
        let engine = kv_engine::Options::new(store.path("kv.wal"), store.path("kv.snapshot")).open().unwrap();
        engine.put("a", "1").unwrap();
        lose(&store, how);
        let lost = |done: kv_engine::Result<()>| matches!(done, Err(kv_engine::Error::Lost { .. }));
        assert!(lost(engine.put("b", "2").map(drop)) && lost(engine.flush().map(drop)), "{how}");
        assert!(lost(engine.snapshot().map(drop)) && lost(engine.put("c", "3").map(drop)), "{how}");
        assert_eq!(engine.get("a").unwrap().as_deref(), Some(&b"1"[..]), "{how}");
        assert_eq!(engine.scan("").filter_map(Result::ok).filter(|(key, _)| key == b"a").count(), 1, "{how}");
        assert!(engine.stats().failed.is_some() && lost(engine.close()), "{how}");
    }
}

/// A log that is older than its snapshot is reported and kept. Strict mode refuses it.
#[test]
fn case_30_an_old_log_beside_a_newer_snapshot_is_reported() {
    let store = Store::new();
    store.script("PUT a 1\n");
    let old = fs::read(store.path("kv.wal")).unwrap();
    store.script("PUT b 2\nSNAP\nPUT c 3\n");
    let log = fs::read(store.path("kv.wal")).unwrap();
    fs::write(store.path("kv.wal"), &old).unwrap();
    let before = fs::read(store.path("kv.snapshot")).unwrap();
    store.cli().args(["--recovery", "strict", "GET", "a"]).assert().code(3).stderr(contains("older"));
    for _ in 0..2 {
        let said = store.cli().arg("KEYS").assert().code(3).stdout("a\nb\n");
        said.stderr(contains(
            "the log is older than the snapshot: it ends with write 1, the snapshot with write 2; later writes may be missing",
        ));
        let kept = [fs::read(store.path("kv.wal")).unwrap(), fs::read(store.path("kv.snapshot")).unwrap()];
        assert!(kept == [old.clone(), before.clone()], "a reader changes nothing");
    }
    fs::write(store.path("kv.wal"), &log).unwrap();
    store.cli().arg("KEYS").assert().success().stdout("a\nb\nc\n");

    // A write begins a new log, and the old one is kept.
    fs::write(store.path("kv.wal"), &old).unwrap();
    store.cli().args(["PUT", "d", "4"]).assert().code(3).stdout("OK\n");
    assert_eq!(fs::read(store.path("kv.wal.damaged-1")).unwrap(), old);
    store.cli().args(["GET", "d"]).assert().stdout("4\n");
}

/// An empty log without a snapshot begins a new store with a warning. Strict mode refuses it.
#[test]
fn case_30_an_empty_log_is_reported_and_strict_refuses() {
    let store = Store::new();
    fs::write(store.path("kv.wal"), "").unwrap();
    store.cli().args(["--recovery", "strict", "GET", "a"]).assert().code(3).stderr(contains("empty"));
    assert_eq!(fs::read(store.path("kv.wal")).unwrap(), b"");
    let said = store.cli().args(["PUT", "a", "1"]).assert().success().stdout("OK\n");
    said.stderr(contains("the log was an empty file; a crash does not cause this; a new store was begun"));
    store.cli().args(["GET", "a"]).assert().success().stdout("1\n").stderr("");

    // If a store was open here before, its writes are lost.
    fs::write(store.path("kv.wal"), "").unwrap();
    let said = store.cli().args(["GET", "a"]).assert().code(3).stdout("(nil)\n");
    said.stderr(contains("a store was open here before, and its data is gone"));
}

/// An opening that is refused leaves no file behind.
#[test]
fn case_34_a_refused_opening_leaves_no_lock() {
    let store = Store::new();
    fs::write(
        store.path("notes"),
        "notes of the user, longer than the header of any file of a store, so that it is read as one\n",
    )
    .unwrap();
    fs::create_dir(store.path("dir")).unwrap();
    let tried = [("notes", "s"), ("w", "notes"), ("dir", "s"), ("w", "dir"), ("w", "w"), ("nowhere/w", "s"), ("w", "nowhere/s")];
    for (log, snapshot) in tried {
        store.cli().args(["--wal", log, "--snapshot", snapshot, "GET", "a"]).assert().code(3);
        assert_eq!(names_and_dirs(&store), ["dir", "notes"], "{log} {snapshot}");
    }
    // An existing lock file stays.
    fs::write(store.path("w.lock"), "").unwrap();
    store.cli().args(["--wal", "w", "--snapshot", "notes", "GET", "a"]).assert().code(3);
    assert_eq!(names_and_dirs(&store), ["dir", "notes", "w.lock"]);
}

fn names_and_dirs(store: &Store) -> Vec<String> {
    let mut names = store.names();
    names.retain(|name| name != "history");
    names
}

/// In `/tmp` another user may have a file with the name of the lock.
#[test]
fn case_34_the_error_names_another_users_lock_and_what_to_do() {
    const NOBODY: u32 = 65534;
    let store = Store::new();
    fs::set_permissions(store.dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    let as_nobody = |args: &[&str]| {
        let ids = [format!("--reuid={NOBODY}"), format!("--regid={NOBODY}"), "--clear-groups".into()];
        store.program("setpriv").args(ids).arg(assert_cmd::cargo::cargo_bin!("kv_cli")).args(args).output()
    };
    if !as_nobody(&["--version"]).is_ok_and(|output| output.status.success()) {
        return skipped("this program cannot be run as another user here");
    }
    let me = rustix::process::geteuid().as_raw();
    for name in ["kv.wal.lock", "kv.snapshot.lock", "kv.wal.tmp", "kv.snapshot.tmp"] {
        for mode in [0o600, 0o666] {
            fs::write(store.path(name), "").unwrap();
            fs::set_permissions(store.path(name), fs::Permissions::from_mode(mode)).unwrap();
            let output = as_nobody(&["PUT", "a", "1"]).unwrap();
            let err = String::from_utf8(output.stderr).unwrap();
            if name.ends_with(".tmp") {
                assert_eq!(output.status.code(), Some(0), "{name}: {err}");
            } else {
                assert_eq!(output.status.code(), Some(3), "{name} {mode:o}: {err}");
                let says = [name, &format!("belongs to user {me}"), "--wal"];
                assert!(says.iter().all(|says| err.contains(says)), "{name} {mode:o}: {err}");
            }
            fs::remove_file(store.path(name)).unwrap();
            for name in store.names() {
                fs::remove_file(store.path(&name)).unwrap();
            }
        }
    }
}

/// Another log of the same length is copied over the open one, or some of its bytes are changed.
#[test]
fn case_23_another_log_that_is_copied_over_the_open_one_is_detected() {
    let strange = Store::new();
    let mut shell = Shell::on(&strange, &["--batch", "1"]);
    assert_eq!(shell.ask("PUT z 1"), "OK");
    let stranger = fs::read(strange.path("kv.wal")).unwrap();
    drop(shell.end());
    for how in ["of another store", "an older copy", "zeros", "a bad header", "the last record"] {
        // A write checks the end of the log. The other commands check the header too.
        let asks = if how == "a bad header" { &["FLUSH", "SNAP", "EXIT"][..] } else { &["PUT c 3", "FLUSH", "SNAP", "EXIT"] };
        for asks in asks {
            let store = Store::new();
            let mut shell = Shell::on(&store, &["--batch", "1"]);
            assert_eq!(shell.ask("PUT a 1"), "OK");
            let older = fs::read(store.path("kv.wal")).unwrap();
            assert_eq!(shell.ask("PUT b 2"), "OK");
            let mut log = fs::read(store.path("kv.wal")).unwrap();
            assert_eq!((log.len(), log.len()), (older.len(), stranger.len()), "reserved space makes them as long");
            match how {
                "of another store" => log = stranger.clone(),
                "an older copy" => log = older,
                "zeros" => log.fill(0),
                "a bad header" => log[20] ^= 1,
                _ => log[192] ^= 1, // the last byte of the second write
            }
            fs::write(store.path("kv.wal"), &log).unwrap();
            shell.say(asks);
            let (answers, err, status) = shell.end();
            assert!(!answers.contains("OK") && status == Some(4), "{how}, {asks}: {status:?} {answers}{err}");
        }
    }
}

/// A checkpoint finds damage in the middle of the log. Recovery could not reach writes after it, so none is accepted.
#[test]
fn case_23_no_ok_after_a_checkpoint_met_damage_in_the_log() {
    for (options, asks) in [(&[][..], "SNAP"), (&["--snapshot-on-exit"], "EXIT"), (&["--checkpoint-log", "150"], "EXIT")] {
        let store = Store::new();
        store.script("PUT a 1\nPUT b 2\n");
        let mut shell = Shell::on(&store, &[&["--batch", "1"], options].concat());
        assert_eq!(shell.ask("GET a"), "1");
        let mut log = fs::read(store.path("kv.wal")).unwrap();
        log[64 + 41 + 36] ^= 1; // in the first record
        fs::write(store.path("kv.wal"), &log).unwrap();
        shell.say("PUT c 3"); // after it, at an undamaged place
        shell.say(asks);
        let (answers, err, status) = shell.end();
        assert!(status == Some(4) && !answers.contains("SNAP"), "{options:?}: {status:?} {answers}{err}");
        assert!(err.contains("damaged at byte 105"), "{options:?}: {err}");
    }
}

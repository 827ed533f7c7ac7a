//! Wrong files: foreign, mixed up, missing, linked, or of another user. All are refused by name, and none is changed.
//! And a disk that is really full.
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod support;

use kv_engine::{Error, Recovery, inspect};
use std::fs;
use support::Place;

#[test]
fn a_missing_directory_is_reported_and_not_created() {
    let place = Place::new();
    let directory = place.wal.with_file_name("not there");
    let error = kv_engine::Options::new(directory.join("kv.wal"), &place.snapshot).open().unwrap_err().to_string();
    assert!(
        error.starts_with("the directory does not exist, create it first: locking") && error.contains("not there/kv.wal.lock: ")
    );
    assert!(!directory.exists());
}

#[test]
fn files_that_are_not_one_store_are_refused() {
    let (a, b) = (Place::new(), Place::new());
    for place in [&a, &b] {
        let engine = place.open();
        engine.put("x", "1").unwrap();
        engine.snapshot().unwrap();
        engine.put("y", "1").unwrap();
        engine.close().unwrap();
    }
    let own = fs::read(&a.snapshot).unwrap();
    fs::copy(&b.snapshot, &a.snapshot).unwrap();
    assert!(matches!(a.options().open(), Err(Error::Mismatch { .. })), "another store's snapshot");
    fs::remove_file(&a.snapshot).unwrap();
    assert!(matches!(a.options().open(), Err(Error::Mismatch { .. })), "the log begins after a snapshot that is missing");
    assert!(!inspect::verify(&a.wal, &a.snapshot).is_sound());
    fs::write(&a.snapshot, own).unwrap();
    assert_eq!(a.open().len(), 2);
    let old = fs::read(&a.snapshot).unwrap();
    a.open().snapshot().unwrap();
    let newest = fs::read(&a.snapshot).unwrap();
    fs::write(&a.snapshot, old).unwrap();
    let error = a.options().open().unwrap_err();
    let says = "the log begins after write 2, the snapshot ends with write 1; the snapshot is older than the one that was here";
    assert!(matches!(error, Error::Mismatch { .. }) && error.to_string().contains(says), "{error}");
    fs::write(&a.snapshot, newest).unwrap();
    assert_eq!(a.open().len(), 2);

    // Without both files it is a new store.
    fs::remove_file(&a.wal).unwrap();
    fs::remove_file(&a.snapshot).unwrap();
    assert!(a.open().recovery().created);
}

#[test]
fn foreign_files_are_refused_and_not_changed() {
    let place = Place::new();
    let cases: [(&[u8], &str); 5] = [
        (b"some text that a user keeps here\n", "not a kv-engine file"),
        (b"KVLG\x01\0\x01\x01\0\0\0", "earlier key-value store"),
        (b"x", "not a kv-engine file"),
        (b"\x89kvsna\r\n", "swapped"),
        (&[0; 100], "not a kv-engine file"),
    ];
    for (bytes, says) in cases {
        fs::write(&place.wal, bytes).unwrap();
        let error = place.options().open().unwrap_err();
        assert!(matches!(error, Error::Foreign { .. }) && error.to_string().contains(says), "{error}");
        assert_eq!(fs::read(&place.wal).unwrap(), bytes);
    }
    fs::remove_file(&place.wal).unwrap();
    fs::write(&place.snapshot, "a=b\n").unwrap();
    assert!(matches!(place.options().open(), Err(Error::Foreign { .. })));
    fs::remove_file(&place.snapshot).unwrap();
    fs::create_dir(&place.wal).unwrap();
    assert!(place.options().open().unwrap_err().to_string().contains("is a directory"));
    fs::remove_dir(&place.wal).unwrap();
    fs::write(&place.wal, "").unwrap();
    assert!(place.open().recovery().created, "an empty file, as mktemp makes one, is a new store");
}

#[test]
fn a_version_from_the_future_is_refused() {
    let place = Place::new();
    let engine = place.open();
    engine.put("x", "1").unwrap();
    engine.snapshot().unwrap();
    engine.close().unwrap();
    for (path, check_at) in [(&place.wal, 60), (&place.snapshot, 92)] {
        let whole = fs::read(path).unwrap();
        let mut bytes = whole.clone();
        bytes[8] = 3;
        let check = crc32fast::hash(&bytes[..check_at]).to_le_bytes();
        bytes[check_at..check_at + 4].copy_from_slice(&check);
        fs::write(path, &bytes).unwrap();
        let error = place.options().open().unwrap_err();
        assert!(matches!(error, Error::Version { .. }) && error.to_string().contains("format version 3"), "{error}");
        assert_eq!(fs::read(path).unwrap(), bytes);
        fs::write(path, whole).unwrap();
    }
}

#[test]
fn links_are_not_followed_and_other_files_stay_as_they_are() {
    use std::os::unix::fs::{MetadataExt, symlink};
    let place = Place::new();
    let victim = place.dir.path().join("victim");
    fs::write(&victim, "precious").unwrap();
    for name in [&place.wal, &place.snapshot, &place.beside(".lock")] {
        let _ = fs::remove_file(name);
        symlink(&victim, name).unwrap();
        assert!(place.options().open().unwrap_err().to_string().contains("symbolic link"), "{name:?}");
        fs::remove_file(name).unwrap();
    }
    // Links at names like those of scratch files are not followed and not removed.
    let links = [".tmp", ".tmp-0123456789abcdef", ".damaged-1"].map(|suffix| place.beside(suffix));
    links.iter().for_each(|link| symlink(&victim, link).unwrap());
    let engine = place.open();
    engine.put("x", "1").unwrap();
    engine.snapshot().unwrap();
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
    assert!(links.iter().all(|link| fs::read_link(link).unwrap() == victim));
    for path in [&place.wal, &place.snapshot] {
        assert_eq!(fs::metadata(path).unwrap().mode() & 0o777, 0o600);
    }
}

#[test]
fn a_snapshot_without_its_log_is_reported_and_refused_in_strict_mode() {
    for empty in [false, true] {
        let place = Place::new();
        let engine = place.open();
        engine.put("a", "1").unwrap();
        engine.snapshot().unwrap();
        engine.put("b", "2").unwrap();
        engine.close().unwrap();
        if empty {
            fs::write(&place.wal, "").unwrap()
        } else {
            fs::remove_file(&place.wal).unwrap()
        }
        assert!(!inspect::verify(&place.wal, &place.snapshot).is_sound());
        assert!(matches!(place.options().recovery(Recovery::Strict).open(), Err(Error::Mismatch { .. })));
        assert_eq!(place.wal.exists(), empty, "nothing was changed");
        let engine = place.open();
        assert_eq!(engine.len(), 1);
        let says = if empty { "the log is empty" } else { "the log is missing" };
        assert!(engine.recovery().warnings()[0].contains(says), "{:?}", engine.recovery().warnings());
    }
}

/// A log that is begun beside a snapshot without a log has the same sequence numbers as the earlier log. The two must
/// never be taken for one history.
#[test]
fn two_logs_never_mix_over_one_snapshot() {
    let place = Place::new();
    let engine = place.open();
    engine.put("a", "1").unwrap();
    engine.snapshot().unwrap();
    engine.put("b", "2").unwrap();
    engine.put("c", "3").unwrap();
    engine.close().unwrap();

    // Another log, by mistake: it is refused by name, and nothing is changed.
    let before = (fs::read(&place.wal).unwrap(), fs::read(&place.snapshot).unwrap());
    let other = kv_engine::Options::new(place.beside("2"), &place.snapshot);
    for _ in 0..2 {
        let error = other.clone().open().unwrap_err();
        assert!(matches!(error, Error::Mismatch { .. }) && error.to_string().contains(place.wal.to_str().unwrap()), "{error}");
    }
    assert_eq!((fs::read(&place.wal).unwrap(), fs::read(&place.snapshot).unwrap()), before);
    assert!(!place.beside("2").exists());
    assert_eq!(place.open().len(), 3);

    // The log is moved away, a new one is begun, and the old one is moved back.
    fs::rename(&place.wal, place.beside("-away")).unwrap();
    let engine = place.open();
    assert_eq!((engine.len(), engine.recovery().log_missing), (1, true));
    engine.put("mine", "1").unwrap();
    engine.snapshot().unwrap();
    engine.close().unwrap();
    fs::rename(place.beside("-away"), &place.wal).unwrap();
    assert!(matches!(place.options().open(), Err(Error::Mismatch { .. })));
    assert!(!inspect::verify(&place.wal, &place.snapshot).is_sound());
}

/// In a shared directory like `/tmp`, another user may have put a file at the name before.
#[test]
fn a_file_of_another_user_in_a_shared_directory_is_refused() {
    use std::os::unix::fs::{PermissionsExt, chown};
    let place = Place::new();
    let engine = place.open();
    engine.put("x", "1").unwrap();
    engine.snapshot().unwrap();
    engine.close().unwrap();
    fs::set_permissions(place.dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
    const NOBODY: u32 = 65534;
    for path in [&place.wal, &place.snapshot, &place.beside(".lock")] {
        if let Err(error) = chown(path, Some(NOBODY), None) {
            eprintln!("skipped: only root can change the owner of a file: {error}");
            return;
        }
        let error = place.options().open().unwrap_err();
        assert!(error.to_string().contains("belongs to user 65534"), "{error}");
        chown(path, Some(0), None).unwrap();
    }
    assert_eq!(place.open().len(), 1);
}

/// A disk that is really full, if one can be mounted. Writes and snapshots are refused. Nothing is lost, and when there
/// is space again, writes are accepted.
#[test]
fn a_file_system_that_is_really_full() {
    let dir = tempfile::tempdir().unwrap();
    let mount = |words: &[&str]| std::process::Command::new(words[0]).args(&words[1..]).arg(dir.path()).output();
    match mount(&["mount", "-t", "tmpfs", "-o", "size=1m", "kv-engine-test"]) {
        Ok(output) if output.status.success() => {}
        _ => {
            eprintln!("skipped: a small tmpfs cannot be mounted here");
            return;
        }
    }
    let outcome = std::panic::catch_unwind(|| {
        let (wal, snapshot, ballast) = (dir.path().join("kv.wal"), dir.path().join("kv.snapshot"), dir.path().join("ballast"));
        let options = kv_engine::Options::new(&wal, &snapshot).flush_interval(std::time::Duration::ZERO);
        fs::write(&ballast, vec![0; 400 << 10]).unwrap();
        let engine = options.clone().open().unwrap();
        let value = vec![b'v'; 10_000];
        let stored = (0..).take_while(|i| engine.put(format!("k{i:03}"), &value).is_ok()).count();
        assert!(matches!(engine.put("refused", &value), Err(Error::NoSpace { pending: 0, .. })));
        assert!(matches!(engine.snapshot(), Err(Error::Io { .. })), "there is no space for a snapshot of the same size");
        assert_eq!(engine.len(), stored);
        fs::remove_file(&ballast).unwrap();
        engine.put("after", "1").unwrap();
        drop(engine);
        let engine = options.open().unwrap();
        assert_eq!(engine.len(), stored + 1);
        assert!(engine.recovery().warnings().is_empty());
        assert!((0..stored).all(|i| engine.get(format!("k{i:03}")).unwrap().as_deref() == Some(&value[..])));
    });
    assert!(mount(&["umount"]).unwrap().status.success());
    outcome.unwrap();
}

/// Lock files keep processes apart. If they were removed, or the log is opened under another name, the lock of the log
/// itself still does. Two writers in one log would lose promised writes.
#[test]
fn one_log_has_one_writer_even_if_the_lock_files_are_removed() {
    let (place, other) = (Place::new(), Place::new());
    for snapshot_first in [false, true] {
        let engine = place.open();
        engine.put("x", "1").unwrap();
        if snapshot_first {
            engine.snapshot().unwrap(); // a new log has replaced the one that was opened
        }
        for suffix in [".wal.lock", ".snapshot.lock"] {
            fs::remove_file(place.dir.path().join(format!("kv{suffix}"))).unwrap();
        }
        assert!(matches!(place.options().open(), Err(Error::Locked { .. })), "the lock files are gone");
        if !snapshot_first {
            fs::hard_link(&place.wal, &other.wal).unwrap();
            assert!(matches!(other.options().open(), Err(Error::Locked { .. })), "a second name");
            fs::remove_file(&other.wal).unwrap();
        }
        engine.put("y", "2").unwrap();
        engine.close().unwrap();
        assert!(place.open().get("y").unwrap().is_some(), "closing releases it");
    }
}

//! The shipped program on a system whose calls fail. strace injects the errors into the calls on one file. After a
//! failed sync there is no more OK, the exit status is right, and no promised write is missing afterwards.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::print_stderr, missing_docs)]

mod common;

use common::{Store, skipped};
use std::fs;
use std::io::Write;
use std::process::Stdio;

/// The result of a run under strace.
struct Run {
    status: i32,
    /// The answers in order.
    answers: Vec<String>,
    stderr: String,
    /// The number of calls that strace made fail.
    injected: usize,
}

/// Runs `script` with `injections` into calls on the file `name` of the store (`.`: its directory, empty: every file).
/// `None` if strace cannot do that here.
fn run(store: &Store, batch: u64, name: &str, injections: &[&str], script: &str) -> Option<Run> {
    let trace = store.path("trace");
    let mut command = store.program("strace");
    command.args(["-f", "-o"]).arg(&trace);
    if !name.is_empty() {
        command.arg("-P").arg(if name == "." { store.dir.path().into() } else { store.path(name) });
    }
    for injection in injections {
        command.arg("-e").arg(format!("inject={injection}"));
    }
    command.arg(env!("CARGO_BIN_EXE_kv_cli")).args(["--flush-interval", "0", "--batch", &batch.to_string()]);
    let mut child = match command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
        Ok(child) => child,
        Err(error) => {
            skipped(&format!("strace cannot be started: {error}"));
            return None;
        }
    };
    let _ = child.stdin.take().unwrap().write_all(script.as_bytes());
    let output = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8_lossy(&output.stderr).into_owned());
    if stderr.contains("strace: ") || !trace.exists() {
        skipped(&format!("strace may not trace or inject here: {}", stderr.trim()));
        return None;
    }
    let injected = fs::read_to_string(&trace).unwrap().matches("(INJECTED").count();
    fs::remove_file(trace).unwrap();
    let answers = stdout.lines().map(str::to_string).collect();
    Some(Run { status: output.status.code().unwrap_or(-1), answers, stderr, injected })
}

fn puts(from: usize, to: usize) -> String {
    (from..=to).map(|n| format!("PUT k{n:02} {n}\n")).collect()
}

/// How many keys a later opening finds. It checks that they are k01, k02 … without a gap.
fn kept(store: &Store) -> usize {
    let (kept, status) = found(store);
    assert_eq!(status, 0);
    kept
}

/// As [`kept`], with the exit status.
fn found(store: &Store) -> (usize, i32) {
    let output = store.cli().arg("-q").write_stdin("SCAN\n").output().unwrap();
    let entries = output.stdout;
    let entries = String::from_utf8(entries).unwrap();
    let expected: String = (1..=entries.lines().count()).map(|n| format!("k{n:02} {n}\n")).collect();
    assert_eq!(entries, expected, "a prefix");
    (entries.lines().count(), output.status.code().unwrap())
}

#[test]
fn no_ok_after_a_failed_sync() {
    for error in ["EIO", "ENOSPC", "EDQUOT"] {
        for when in ["3", "3+"] {
            for batch in [1, 2] {
                let store = Store::new();
                let injection = format!("fdatasync:error={error}:when={when}");
                let Some(run) = run(&store, batch, "kv.wal", &[&injection], &puts(1, 12)) else { return };
                let (good, case) = (2 * batch as usize, format!("{injection}, batch size {batch}: {}", run.stderr));
                assert_eq!(run.injected, 1, "a failed sync is never repeated: {case}");
                // With two writes in a group, the first write of the third group is acknowledged before the sync.
                assert_eq!(run.answers, vec!["OK"; good + batch as usize - 1], "{case}");
                assert_eq!(run.status, 4, "{case}");
                assert!(run.stderr.contains("the sync of the log failed"), "{case}");
                assert!(kept(&store) >= good, "{case}");
            }
        }
    }
}

/// Syncs that fail during opening and during a snapshot.
#[test]
fn a_sync_that_fails_elsewhere() {
    // Opening syncs before it reads.
    let store = Store::new();
    store.script(puts(1, 3));
    let Some(opening) = run(&store, 1, "kv.wal", &["fdatasync:error=EIO:when=1"], &puts(4, 5)) else { return };
    assert_eq!((opening.status, opening.answers.len(), opening.injected), (3, 0, 1), "{}", opening.stderr);
    assert_eq!(kept(&store), 3);

    // The sync of the snapshot fails: no snapshot is taken, and the store goes on. The four syncs before it are those
    // of the log: before it is read, with the mark of this opening, and with the first write.
    let script = format!("{}SNAP\n{}", puts(4, 4), puts(5, 6));
    let snapshot = run(&store, 1, "", &["fdatasync:error=EIO:when=5"], &script).unwrap();
    assert_eq!((snapshot.status, snapshot.injected), (1, 1), "{}", snapshot.stderr);
    assert_eq!(snapshot.answers, ["OK"; 3]);
    assert!(snapshot.stderr.contains("SNAP failed: ") && !store.path("kv.snapshot").exists(), "{}", snapshot.stderr);
    assert_eq!(kept(&store), 6);

    // A sync of the directory fails. There are two at opening, one after the snapshot and one after the new log.
    for (when, status, oks) in [(1, 3, 0), (2, 3, 0), (3, 4, 1), (4, 4, 1), (5, 0, 4)] {
        let store = Store::new();
        store.script(puts(1, 3));
        let script = format!("{}SNAP\n{}", puts(4, 4), puts(5, 6));
        let run = run(&store, 1, ".", &[&format!("fsync:error=EIO:when={when}")], &script).unwrap();
        let case = format!("the directory's sync {when}: {}", run.stderr);
        assert_eq!((run.status, run.answers.len(), run.injected), (status, oks, usize::from(when < 5)), "{case}");
        assert!(kept(&store) >= 3 + usize::from(status != 3), "{case}");
    }
}

#[test]
fn writes_that_fail() {
    // Without space, a write is refused and removed from the log, and the next one is accepted. The very first write
    // reserves space, and may fail.
    let cases = [
        ("pwrite64:error=ENOSPC:when=1", 6, 0),
        ("pwrite64:retval=0:when=1", 6, 0),
        ("pwrite64:error=ENOSPC:when=4", 5, 1),
        ("pwrite64:error=EDQUOT:when=4", 5, 1),
        ("pwrite64:error=EFBIG:when=4", 5, 1),
        ("pwrite64:retval=0:when=4", 5, 1),
        ("pwrite64:error=EDQUOT:when=4+", 2, 1),
        ("pwrite64:error=EINTR:when=4", 6, 0),
        ("pwrite64:error=EINTR:when=1+2", 6, 0),
        ("pwrite64:error=EIO:when=4", 2, 4),
        ("pwrite64:error=EROFS:when=4+", 2, 4),
    ];
    for (injection, oks, status) in cases {
        let store = Store::new();
        let script: String = (1..=6).map(|n| format!("PUT n{n} 1\n")).collect();
        let Some(run) = run(&store, 1, "kv.wal", &[injection], &script) else { return };
        let case = format!("{injection}: {}", run.stderr);
        assert!(run.injected > 0, "{case}");
        assert_eq!((run.answers, run.status), (vec!["OK".to_string(); oks], status), "{case}");
        // If the last write failed, the log ends right after the one before it, and the next opening warns about that.
        let after = store.cli().write_stdin("SIZE\n").assert().success().get_output().clone();
        let (kept, err) = (String::from_utf8(after.stdout).unwrap(), String::from_utf8(after.stderr).unwrap());
        assert!(kept == format!("{oks}\n"), "{kept} after {case}");
        assert!(err.lines().all(|line| line.contains("a write failed there")), "{err} after {case}");
    }
    // If a refused write cannot be removed from the log, no more writes are accepted.
    let store = Store::new();
    let both = ["pwrite64:error=ENOSPC:when=4", "ftruncate:error=EIO:when=1"];
    let run = run(&store, 1, "kv.wal", &both, &puts(1, 6)).unwrap();
    assert_eq!((run.answers.len(), run.status, run.injected), (2, 4, 2), "{}", run.stderr);
    assert_eq!(kept(&store), 2);
}

#[test]
fn accepted_writes_that_cannot_be_saved_are_counted() {
    let store = Store::new();
    let Some(run) = run(&store, 4, "kv.wal", &["pwrite64:error=EDQUOT:when=3+"], &puts(1, 7)) else { return };
    assert_eq!((run.answers.len(), run.status), (7, 4), "{}", run.stderr);
    assert!(run.stderr.contains("3 accepted writes not saved"), "{}", run.stderr);
    assert_eq!(kept(&store), 4);
}

/// A device reports seven written bytes and keeps none. The write is lost, but no wrong value is ever served.
#[test]
fn a_device_that_loses_writes_is_detected() {
    for when in 1..=5 {
        let store = Store::new();
        let injection = format!("pwrite64:retval=7:when={when}");
        let Some(run) = run(&store, 1, "kv.wal", &[&injection], &puts(1, 3)) else { return };
        assert_eq!(run.injected, 1, "{injection}");
        let (kept, status) = found(&store);
        assert!(kept <= 3 && (status == 3 || status == 0 && kept == 3), "{injection}: {kept}, {status}");
    }
}

#[test]
fn a_rename_that_fails() {
    // The first rename is that of the snapshot, the second one that of the new log.
    for (when, says) in [(1, "no snapshot was taken"), (2, "no new log was begun")] {
        let store = Store::new();
        store.script(puts(1, 3));
        let script = format!("SNAP\n{}", puts(4, 5));
        let injection = format!("?rename,?renameat,?renameat2:error=EIO:when={when}");
        let Some(run) = run(&store, 1, "", &[&injection], &script) else { return };
        let case = format!("{injection}: {}", run.stderr);
        assert_eq!((run.status, run.answers), (1, vec!["OK".to_string(); 2]), "{case}");
        assert!(run.injected == 1 && run.stderr.contains(says), "{case}");
        let mut names = fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(!names.any(|name| name.to_str().unwrap().contains(".tmp")), "{case}");
        assert_eq!(kept(&store), 5, "{case}");
    }
}

#[test]
fn a_read_error_is_not_the_end_of_the_log() {
    let store = Store::new();
    store.script(format!("{}SNAP\n{}", puts(1, 3), puts(4, 6)));
    let before = [fs::read(store.path("kv.wal")).unwrap(), fs::read(store.path("kv.snapshot")).unwrap()];
    for name in ["kv.wal", "kv.snapshot"] {
        for when in 1..=2 {
            let injection = format!("pread64:error=EIO:when={when}");
            let Some(run) = run(&store, 1, name, &[&injection], &puts(7, 9)) else { return };
            let case = format!("{injection} of {name}: {}", run.stderr);
            assert_eq!((run.status, run.answers.len(), run.injected), (3, 0, 1), "{case}");
            assert_eq!([fs::read(store.path("kv.wal")).unwrap(), fs::read(store.path("kv.snapshot")).unwrap()], before, "{case}");
        }
        let run = run(&store, 1, name, &["pread64:error=EINTR:when=1+2"], "SIZE\n").unwrap();
        assert_eq!((run.status, run.answers), (0, vec!["6".to_string()]), "{}", run.stderr);
    }
    assert_eq!(kept(&store), 6);
}

#[test]
fn a_lock_that_fails() {
    for error in ["ENOLCK", "EIO"] {
        let store = Store::new();
        store.script(puts(1, 3));
        let Some(run) = run(&store, 1, "kv.wal.lock", &[&format!("flock:error={error}:when=1")], &puts(4, 5)) else { return };
        assert_eq!((run.status, run.answers.len(), run.injected), (3, 0, 1), "{}", run.stderr);
        assert_eq!(kept(&store), 3);
    }
}

/// Each sync takes a millisecond longer, so nearly all of the time is spent in syncs.
#[test]
fn a_long_script_on_a_slow_disk_is_told_about_batch() {
    let script: String = (0..10_005).map(|n| format!("PUT k{n} 1\n")).collect();
    let says = " s were spent waiting for 2001 syncs; with --batch 1000 the same writes need 11 syncs, ";
    let Some(run) = run(&Store::new(), 5, "kv.wal", &["fdatasync:delay_enter=1000"], &script) else { return };
    let told: Vec<&str> = run.stderr.lines().collect();
    assert_eq!((told.len(), run.status), (1, 0), "{}", run.stderr);
    assert!(told[0].starts_with("kv_cli: ") && told[0].contains(says), "{}", run.stderr);
}

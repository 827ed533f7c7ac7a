//! Damaged, missing and outdated files are reported every time.

use crate::common::{Store, eventually, signal};
use kv_engine::inspect::{self, Content, Entry};
use kv_engine::{LogTail, Options};
use rustix::process::Signal;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

const HEADER_BYTES: usize = 64;
const MARK_BYTES: usize = 41;

/// Runs `args` and returns status, stdout, stderr.
fn run(store: &Store, args: &[&str]) -> (i32, String, String) {
    let output = store.cli().args(args).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// The valid records of a log: where each begins, and whether it is the mark of an opening.
fn records(path: &Path) -> Vec<(usize, bool)> {
    let mut records = Vec::new();
    inspect::log(path, 0, |entry| {
        if let Entry::Record(record) = entry {
            records.push((usize::try_from(record.offset).unwrap(), record.content == Content::Opened));
        }
        ControlFlow::Continue(())
    })
    .unwrap();
    records
}

/// Writes `script` to a session with `args`, waits until `done`, and kills it. Returns the bytes of the log.
fn killed(store: &Store, args: &[&str], script: &str, last_reply: &str, done: impl Fn(&Path) -> bool) -> Vec<u8> {
    let wal = store.path("kv.wal");
    let mut session = store.piped(args);
    session.stdin.as_mut().unwrap().write_all(script.as_bytes()).unwrap();
    let mut replies = BufReader::new(session.stdout.take().unwrap()).lines();
    assert!(replies.any(|line| line.unwrap() == last_reply));
    eventually("the log is as it should be", || done(&wal));
    signal(&session, Signal::KILL);
    session.wait().unwrap();
    fs::read(wal).unwrap()
}

fn ends_with_mark(wal: &Path) -> bool {
    records(wal).last().is_some_and(|&(_, opened)| opened)
}

fn seven_puts() -> String {
    (1..=7).map(|n| format!("PUT key{n} value{n}\n")).collect()
}

/// Flips single bits between the header and the last mark, one in every `step`. Returns how many flips are reported as
/// damage and not as a torn write, and how many there were.
fn detected(store: &Store, bytes: &[u8], step: usize) -> (usize, usize) {
    let wal = store.path("kv.wal");
    let (mark, _) = *records(&wal).last().unwrap();
    let (mut detected, mut flipped) = (0, 0);
    for bit in (HEADER_BYTES * 8..mark * 8).step_by(step) {
        let mut rotten = bytes.to_vec();
        rotten[bit / 8] ^= 1 << (bit % 8);
        fs::write(&wal, &rotten).unwrap();
        let seen = inspect::log(&wal, 0, |_| ControlFlow::Continue(())).unwrap();
        flipped += 1;
        detected += usize::from(matches!(seen.tail, LogTail::Damaged(_)));
    }
    (detected, flipped)
}

#[test]
fn case_24_rot_in_the_last_synced_group_is_not_taken_for_a_torn_write() {
    // The first is flushed and killed at once. The other two wait for the mark of the idle store: one has single
    // writes, the other has groups that the background flush syncs.
    let sessions: [(&[&str], &str, &str); 3] = [
        (&["--batch", "20"], "FLUSH\n", "FLUSH OK"),
        (&["--batch", "1"], "SIZE\n", "7"),
        (&["--batch", "20", "--flush-interval", "50ms"], "SIZE\n", "7"),
    ];
    for (args, behind, last_reply) in sessions {
        let store = Store::new();
        let bytes = killed(&store, args, &(seven_puts() + behind), last_reply, ends_with_mark);
        let (detected, flipped) = detected(&store, &bytes, if last_reply == "FLUSH OK" { 1 } else { 5 });
        assert!(flipped > 400 && detected * 100 >= flipped * 99, "{args:?}: {detected} of {flipped}");
        // The shell reports it too, here for the last write.
        let (last, _) = records_of(&store, &bytes).into_iter().rev().find(|&(_, opened)| !opened).unwrap();
        let mut rotten = bytes.clone();
        rotten[last + 40] ^= 1;
        fs::write(store.path("kv.wal"), &rotten).unwrap();
        let (status, _, err) = run(&store, &["verify"]);
        assert_eq!((status, err.as_str()), (3, ""));
        let (status, out, err) = run(&store, &["--recovery", "strict", "GET", "key7"]);
        assert_eq!((status, out.as_str()), (3, ""), "{err}");
        let (status, out, err) = run(&store, &["GET", "key7"]);
        assert_eq!((status, out.as_str()), (3, "(nil)\n"), "{err}");
        assert!(err.contains("write 7 is not in the store"), "{err}");
        assert_eq!(fs::read(store.path("kv.wal.damaged-1")).unwrap(), rotten);
    }
}

fn records_of(store: &Store, bytes: &[u8]) -> Vec<(usize, bool)> {
    fs::write(store.path("kv.wal"), bytes).unwrap();
    records(&store.path("kv.wal"))
}

#[test]
fn case_24_a_mark_is_written_once_after_writes_and_never_by_a_store_that_only_reads() {
    let dir = tempfile::tempdir().unwrap();
    let wal = dir.path().join("w");
    let open = || Options::new(&wal, dir.path().join("s")).flush_interval(Duration::ZERO).batch_size(10).open().unwrap();
    let engine = open();
    let new = fs::read(&wal).unwrap();
    engine.flush().unwrap();
    assert!(fs::read(&wal).unwrap() == new, "nothing was written");
    engine.put("x", "1").unwrap();
    engine.flush().unwrap();
    let marks = || records(&wal).into_iter().filter(|&(_, opened)| opened).count();
    assert_eq!((marks(), ends_with_mark(&wal)), (2, true), "one of the opening, and one after the write");
    let marked = fs::read(&wal).unwrap();
    engine.flush().unwrap();
    assert!(fs::read(&wal).unwrap() == marked, "one mark is enough");
    engine.put("x", "2").unwrap();
    engine.put("x", "3").unwrap();
    engine.flush().unwrap();
    assert_eq!((marks(), ends_with_mark(&wal)), (3, true));
    engine.close().unwrap();
    let engine = open();
    let opened = fs::read(&wal).unwrap();
    assert_eq!(engine.get("x").unwrap().as_deref(), Some(&b"3"[..]));
    engine.flush().unwrap();
    engine.close().unwrap();
    assert!(fs::read(&wal).unwrap() == opened, "reading writes nothing");
}

/// The log of seven writes in one group without a mark after it. The second write is damaged.
fn torn_with_writes_after(store: &Store) -> Vec<u8> {
    let mut bytes = killed(store, &["--batch", "20"], &(seven_puts() + "FLUSH\n"), "FLUSH OK", ends_with_mark);
    let starts = records_of(store, &bytes);
    let (mark, second) = (starts.last().unwrap().0, starts[2].0);
    bytes.truncate(mark);
    bytes.extend([0; MARK_BYTES]);
    bytes[second + 40] ^= 1;
    fs::write(store.path("kv.wal"), &bytes).unwrap();
    bytes
}

#[test]
fn case_24_intact_writes_after_a_torn_record_are_kept_and_strict_refuses() {
    let store = Store::new();
    let bytes = torn_with_writes_after(&store);
    let (status, _, err) = run(&store, &["--recovery", "strict", "GET", "key1"]);
    assert_eq!(status, 3);
    assert!(err.contains("5 whole writes follow, up to write 7"), "{err}");
    assert!(fs::read(store.path("kv.wal")).unwrap() == bytes && !store.path("kv.wal.damaged-1-torn").exists());

    let (status, out, err) = run(&store, &["GET", "key1"]);
    assert_eq!((status, out.as_str()), (0, "value1\n"), "{err}");
    let copy = store.path("kv.wal.damaged-1-torn");
    assert!(err.contains(&format!("kept as {}", copy.display())), "{err}");
    assert!(fs::read(&copy).unwrap() == bytes);

    // Each opening names the kept copy until the user has removed it. It is not a loss.
    let (status, _, err) = run(&store, &["GET", "key2"]);
    assert_eq!(status, 0);
    assert!(
        err.contains("kv.wal.damaged-1-torn; whole records follow a torn one there; no sync is known to cover them"),
        "{err}"
    );
    let (status, out, _) = run(&store, &["verify"]);
    assert_eq!(status, 0);
    assert!(out.contains("kv.wal.damaged-1-torn"), "{out}");
    assert_eq!(run(&store, &["--quiet", "--recovery", "strict", "GET", "key1"]), (0, "value1\n".into(), String::new()));
    fs::remove_file(copy).unwrap();
    assert_eq!(run(&store, &["GET", "key1"]), (0, "value1\n".into(), String::new()));
}

/// A power cut may leave a hole anywhere in a group that was not synced. An intact record after it does not prove
/// damage.
#[test]
fn case_24_a_hole_inside_an_unsynced_group_is_torn_not_damaged() {
    let dir = tempfile::tempdir().unwrap();
    let (wal, snapshot) = (dir.path().join("w"), dir.path().join("s"));
    let options = Options::new(&wal, &snapshot).batch_size(100);
    let engine = options.clone().open().unwrap();
    engine.put("synced", "1").unwrap();
    engine.flush().unwrap();
    for i in 0..10 {
        engine.put(format!("k{i}"), "in one group").unwrap();
    }
    engine.flush().unwrap();
    let mut bytes = fs::read(&wal).unwrap();
    // The log has a mark, the first write, a mark, the group, and the mark that is written after the sync of the group.
    let starts: Vec<_> = records(&wal).into_iter().map(|(start, _)| start).collect();
    drop(engine);
    bytes[*starts.last().unwrap()..].fill(0);
    bytes[starts[5] + 10..starts[6] + 3].fill(0);
    fs::write(&wal, &bytes).unwrap();
    let engine = options.open().unwrap();
    let report = engine.recovery();
    let LogTail::Torn(cut) = &report.tail else { panic!("{:?}", report.tail) };
    assert_eq!((cut.offset, cut.whole_beyond, cut.writes_beyond, cut.last_beyond), (starts[5] as u64, 6, 6, 11));
    assert!(fs::read(cut.kept_as.as_ref().unwrap()).unwrap() == bytes);
    assert!(report.warnings()[0].contains("(with 6 whole records in them)"), "{:?}", report.warnings());
    assert_eq!((engine.len(), report.is_loss()), (3, false));
}

/// A store of three writes whose second one is damaged.
fn damaged() -> Store {
    let store = Store::new();
    for n in 1..=3 {
        run(&store, &["--batch", "1", "PUT", &format!("k{n}"), "v"]);
    }
    let wal = store.path("kv.wal");
    let second = records(&wal).into_iter().filter(|&(_, opened)| !opened).nth(2).unwrap().0; // after the mark of a close
    let mut bytes = fs::read(&wal).unwrap();
    bytes[second + 41] ^= 1;
    fs::write(&wal, bytes).unwrap();
    store
}

#[test]
fn case_43_every_command_reports_lost_writes_until_the_user_removes_the_kept_copy() {
    let store = damaged();
    let (status, out, err) = run(&store, &["GET", "k3"]);
    assert_eq!((status, out.as_str()), (3, "(nil)\n"), "{err}");
    assert!(err.contains("writes 2 to 3 are not in the store") && err.contains("kv.wal.damaged-1"), "{err}");
    let copy = store.path("kv.wal.damaged-1");

    let commands: [&[&str]; 12] = [
        &["GET", "k1"],
        &["--quiet", "GET", "k1"],
        &["--recovery", "strict", "GET", "k1"],
        &["SIZE"],
        &["PUT", "k4", "v"],
        &["--json", "SCAN"],
        &["-c", "GET k1", "-c", "EXIT"],
        &["-c", "EXIT 0"],
        &["export"],
        &["export", "--salvage"],
        &["replay"],
        &["verify"],
    ];
    for args in commands {
        let (status, out, err) = run(&store, args);
        assert_eq!(status, 3, "{args:?}: {out} {err}");
        let report = if args == ["verify"] { &out } else { &err };
        let lines = report.lines().filter(|line| line.contains("kv.wal.damaged-1")).count();
        assert_eq!(lines, 1, "{args:?}: {report}");
    }
    let script = store.cli().write_stdin("GET k1\n").output().unwrap();
    assert_eq!((script.status.code(), script.stdout.as_slice()), (Some(3), &b"v\n"[..]));
    // A failed command does not hide it, and it does not hide another exit status.
    assert_eq!(run(&store, &["NONSENSE"]).0, 1, "a mistyped command opens no store");
    assert_eq!(run(&store, &["-c", "NONSENSE"]).0, 3);
    assert_eq!(run(&store, &["-c", "EXIT 7"]).0, 7);

    // The advice in the message leads to the lost writes.
    let snapshot = store.path("kv.snapshot").display().to_string();
    let (_, out, _) = run(&store, &["export", "--salvage", "--wal", copy.to_str().unwrap(), "--snapshot", &snapshot]);
    assert!(out.contains("k3"), "{out}");
    fs::rename(&copy, store.path("dealt-with")).unwrap();
    for args in [&["GET", "k1"][..], &["verify"], &["export"], &["replay"]] {
        assert_eq!(run(&store, args).0, 0, "{args:?}");
    }
}

#[test]
fn case_43_a_file_of_the_user_is_named_and_never_replaced() {
    let store = damaged();
    fs::write(store.path("kv.wal.damaged-1"), "notes").unwrap();
    fs::create_dir(store.path("kv.wal.damaged-2")).unwrap();
    let other = Store::new();
    run(&other, &["PUT", "a", "1"]);
    fs::copy(other.path("kv.wal"), store.path("kv.wal.damaged-3-torn")).unwrap();
    let (status, _, err) = run(&store, &["GET", "k1"]);
    assert_eq!(status, 3);
    assert!(err.contains("kept as ") && err.contains("kv.wal.damaged-4"), "{err}");
    assert_eq!(fs::read(store.path("kv.wal.damaged-1")).unwrap(), b"notes");

    fs::remove_file(store.path("kv.wal.damaged-4")).unwrap();
    let (status, _, err) = run(&store, &["GET", "k1"]);
    assert_eq!((status, err.matches("it is left alone").count()), (0, 3), "{err}");
    assert!(err.contains("a log of another store"), "{err}");
    let (status, out, _) = run(&store, &["verify"]);
    assert_eq!((status, out.matches("it is left alone").count()), (0, 3), "{out}");
}

#[test]
fn case_43_if_no_copy_can_be_made_nothing_is_cut() {
    let store = Store::new();
    let script: String = (1..=60).map(|n| format!("PUT key{n} {}\n", "v".repeat(100))).collect();
    store.script(script);
    let wal = store.path("kv.wal");
    let mut bytes = fs::read(&wal).unwrap();
    bytes[3000] ^= 1;
    fs::write(&wal, &bytes).unwrap();
    let limited = store
        .program("sh")
        .args(["-c", "ulimit -f 4; exec \"$0\" GET key1"])
        .arg(assert_cmd::cargo::cargo_bin!("kv_cli"))
        .output();
    let limited = limited.unwrap();
    let err = String::from_utf8(limited.stderr).unwrap();
    assert_eq!((limited.status.code(), limited.stdout), (Some(3), Vec::new()), "{err}");
    assert!(err.contains("keeping a copy of the damaged log (nothing was changed)"), "{err}");
    let names: Vec<_> = fs::read_dir(store.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(
        fs::read(&wal).unwrap() == bytes && !names.iter().any(|name| name.to_string_lossy().contains("damaged")),
        "{names:?}"
    );
}

#[test]
fn case_30_a_log_that_ends_right_after_a_write_is_reported() {
    let store = Store::new();
    let bytes = killed(&store, &["--batch", "1"], &(seven_puts() + "SIZE\n"), "7", ends_with_mark);
    let starts = records_of(&store, &bytes);
    let cut = starts[starts.len() - 2].0; // before the last write
    fs::write(store.path("kv.wal"), &bytes[..cut]).unwrap();
    let (status, out, _) = run(&store, &["verify"]);
    assert_eq!(status, 0);
    assert!(out.contains("ends right after its last write"), "{out}");
    let (status, out, err) = run(&store, &["GET", "key6"]);
    assert_eq!((status, out.as_str()), (0, "value6\n"));
    assert!(err.contains("ends right after write 6") && err.contains("the file was truncated"), "{err}");
    // Other ends say nothing: reserved space, a mark, nothing but a header.
    for end in [bytes.len(), starts[1].0, HEADER_BYTES] {
        fs::write(store.path("kv.wal"), &bytes[..end]).unwrap();
        assert_eq!(run(&store, &["SIZE"]).2, "", "{end}");
    }
}

//! The commands that write and read files of the user.

use crate::common::{Store, eventually, signal, skipped, untimed};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// stdout, stderr and the exit status.
fn parts(output: Output) -> (String, String, Option<i32>) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn run(store: &Store, words: &[&str]) -> (String, String, Option<i32>) {
    parts(store.process().args(words).output().unwrap())
}

/// Runs a script with `sh`. `$K` is `kv_cli`.
fn shell(store: &Store, script: &str) -> (String, String, Option<i32>) {
    parts(store.program("sh").args(["-c", script]).env("K", env!("CARGO_BIN_EXE_kv_cli")).output().unwrap())
}

#[test]
fn case_06_and_22_bench_removes_only_its_own_files() {
    let store = Store::new();
    let other = |words: &[&str]| {
        let log = store.path("kv.wal.bench");
        parts(store.process().env("KV_WAL", log).env("KV_SNAPSHOT", store.path("x")).args(words).output().unwrap())
    };
    other(&["PUT", "mine", "1"]);
    let others = ["kv.wal.bench.bare", "kv.wal.bench.wal", "kv.wal.bench-0123456789abcdef", "kv.wal.bench.snapshot"];
    others.iter().for_each(|name| fs::write(store.path(name), "notes").unwrap());
    store.script("PUT a 1\n");
    let before = store.names();
    assert_eq!(run(&store, &["BENCH", "100", "5", "--report", "page.html"]).2, Some(0));
    assert_eq!(other(&["GET", "mine"]).0, "1\n");
    assert!(others.iter().all(|name| fs::read(store.path(name)).unwrap() == b"notes"));
    fs::remove_file(store.path("page.html")).unwrap();
    assert_eq!(store.names(), before);
}

/// The disk is so slow that BENCH cannot stop in time.
#[test]
fn case_22_the_files_of_a_bench_that_hangs_are_removed_at_a_signal() {
    let store = Store::new();
    store.script("PUT a 1\n");
    let before = store.names();
    let mut traced = store.program("strace");
    traced.args(["-D", "-f", "-o", "/dev/null", "-e", "inject=fdatasync:delay_enter=6000000:when=20+"]);
    traced.arg(env!("CARGO_BIN_EXE_kv_cli")).args(["BENCH", "1000", "1"]).stdin(Stdio::null()).stdout(Stdio::null());
    let Ok(mut child) = traced.spawn() else { return skipped("strace cannot be started") };
    let mut over = false;
    eventually("the bench runs", || {
        over = child.try_wait().unwrap().is_some();
        over || store.names().iter().any(|name| name.starts_with("kv.wal.bench-"))
    });
    if over {
        return skipped("strace cannot trace here");
    }
    std::thread::sleep(std::time::Duration::from_secs(1));
    signal(&child, Signal::TERM);
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(store.names(), before);
}

/// The next BENCH removes the files of a killed one. A BENCH that SIGTERM ends removes its own.
#[test]
fn case_22_the_files_of_a_stopped_bench_are_removed() {
    for by in [Signal::KILL, Signal::TERM] {
        let store = Store::new();
        store.script("PUT a 1\n");
        let before = store.names();
        let mut child = store.piped(&[]);
        child.stdin.as_mut().unwrap().write_all(b"BENCH 100000000 5 --report page.html\n").unwrap();
        eventually("the bench runs", || store.names().iter().any(|name| name.starts_with("kv.wal.bench-")));
        signal(&child, by);
        child.wait().unwrap();
        if by == Signal::KILL {
            assert_eq!(store.names().len(), before.len() + 2, "the temporary directory and the page");
            assert_eq!(run(&store, &["BENCH", "10", "5", "--report", "page.html"]).2, Some(0));
        }
        let _ = fs::remove_file(store.path("page.html"));
        assert_eq!(store.names(), before, "{by:?}");
    }
}

#[test]
fn case_08_threads_that_cannot_be_started_are_an_error() {
    let store = Store::new();
    let (out, err, status) = shell(&store, "ulimit -v 400000; $K -c 'PUT a 1' -c 'BENCH 1000 5 --threads 256' -c SIZE");
    assert_eq!((out.as_str(), status), ("OK\n1\n", Some(1)), "{err}");
    assert!(err.contains("BENCH failed: cannot start 256 threads: ") && err.contains("use fewer --threads"), "{err}");
    assert!(store.names().iter().all(|name| !name.contains("bench")), "{:?}", store.names());
}

#[test]
fn case_08_threads_beyond_the_limit_of_a_user_are_an_error() {
    const USER: &str = "--reuid=54399 --regid=54399 --clear-groups";
    let store = Store::new();
    if shell(&store, &format!("setpriv {USER} prlimit --nproc=50 true")).2.is_none_or(|status| status != 0) {
        return skipped("another user cannot be used here");
    }
    let program = store.path("program");
    fs::copy(env!("CARGO_BIN_EXE_kv_cli"), &program).unwrap();
    shell(&store, "chmod 755 program; chmod 777 .");
    let limited = "timeout 60 prlimit --nproc=5 ./program BENCH 100 5 --threads 8";
    let (out, err, status) = shell(&store, &format!("exec setpriv {USER} {limited}"));
    assert_eq!((out.as_str(), status), ("", Some(1)), "{err}");
    assert!(err.contains("BENCH failed: cannot start 8 threads: ") && !err.contains("panic"), "{err}");
    assert!(store.names().iter().all(|name| !name.contains("bench")), "{:?}", store.names());
}

#[test]
fn case_14_a_file_size_limit_is_an_error_of_the_export() {
    let store = Store::new();
    let value = "v".repeat(48);
    store.script((0..99).map(|n| format!("PUT k{n} {value}\n")).collect::<String>());
    let before = store.names();
    let (out, err, status) = shell(&store, "ulimit -f 1; exec $K export ex");
    assert_eq!((out.as_str(), status), ("", Some(1)), "{err}");
    assert!(err.contains("ex: File too large") && err.contains("nothing was exported"), "{err}");
    assert_eq!(store.names(), before);
}

#[test]
fn case_21_an_export_never_takes_a_name_of_the_store() {
    let store = Store::new();
    fs::create_dir(store.path("d")).unwrap();
    std::os::unix::fs::symlink(".", store.path("link")).unwrap();
    store.script("PUT a 1\nSNAP\nPUT b 2\n");
    fs::hard_link(store.path("kv.snapshot"), store.path("hard")).unwrap();
    let bytes = fs::read(store.path("kv.snapshot")).unwrap();
    let before = store.names();
    let own = ["", ".tmp", ".lock", ".tmp-0123456789abcdef", ".damaged-1", ".bench", ".bench.bare"];
    let mut ways = vec!["hard".to_string()];
    for file in ["kv.wal", "kv.snapshot"] {
        for suffix in own {
            let absolute = format!("{}/", store.dir.path().display());
            ways.extend(["", "./", "d/../", "link/", &absolute].map(|way| format!("{way}{file}{suffix}")));
        }
    }
    for way in &ways {
        let (out, err, status) = run(&store, &["export", way]);
        assert!(out.is_empty() && status == Some(1) && err.contains("nothing was exported"), "{way}: {out}{err}");
    }
    let script: String = ways.iter().map(|way| format!("EXPORT '{way}'\n")).collect();
    let output = store.cli().write_stdin(format!("{script}PUT c 3\n")).assert().code(1).get_output().clone();
    let (out, err, _) = parts(output);
    assert_eq!((out.as_str(), err.lines().count()), ("OK\n", ways.len()), "{err}");
    assert_eq!((fs::read(store.path("kv.snapshot")).unwrap(), store.names()), (bytes, before));
    assert_eq!(store.script("GET a\nGET b\nGET c\n"), "1\n2\n3\n");
}

#[test]
fn case_21_an_export_never_takes_a_file_of_another_store() {
    let store = Store::new();
    store.script("PUT a 1\n");
    let other = Store::new();
    other.script("PUT b 2\nSNAP\n");
    let mut session = other.piped(&[]);
    eventually("it is open", || {
        fs::read_to_string(other.path("kv.wal.lock")).is_ok_and(|pid| pid.contains(&session.id().to_string()))
    });
    for name in ["kv.wal", "kv.snapshot", "kv.wal.lock"] {
        let path = other.path(name);
        let before = fs::read(&path).unwrap();
        let (_, err, status) = run(&store, &["export", path.to_str().unwrap()]);
        assert!(status == Some(1) && err.contains("nothing was exported"), "{name}: {err}");
        assert_eq!(fs::read(&path).unwrap(), before);
    }
    drop(session.stdin.take());
    session.wait().unwrap();
    assert_eq!(other.script("GET b\n"), "2\n");
    // An empty file may be of any kind, but this one is locked.
    let empty = fs::File::create(other.path("empty")).unwrap();
    empty.lock().unwrap();
    let (_, err, status) = run(&store, &["export", other.path("empty").to_str().unwrap()]);
    assert!(status == Some(1) && err.contains("the file is in use by another program"), "{err}");
}

#[test]
fn case_21_and_33_a_report_never_replaces_another_file() {
    let store = Store::new();
    let wal = store.path("log.html");
    let bench = |name: &str| {
        let mut process = store.process();
        process.env("KV_WAL", &wal).args(["BENCH", "10", "5", "--report", name]).stdin(Stdio::null());
        parts(process.output().unwrap())
    };
    assert_eq!(bench("page.html").2, Some(0));
    assert_eq!(bench("page.html").2, Some(0), "it replaces its own kind");
    assert!(Command::new("mkfifo").arg(store.path("pipe.svg")).status().unwrap().success());
    fs::create_dir(store.path("dir.html")).unwrap();
    fs::write(store.path("notes.html"), "<p>mine").unwrap();
    std::os::unix::fs::symlink("notes.html", store.path("link.html")).unwrap();
    std::os::unix::fs::symlink("/dev/full", store.path("full.svg")).unwrap();
    let before = store.names();
    for name in ["pipe.svg", "dir.html", "notes.html", "link.html", "full.svg", "log.html", "./log.html", "no/where.svg"] {
        let (out, err, status) = bench(name);
        assert!(out.is_empty() && status == Some(1) && err.contains(&format!("--report {name}: ")), "{name}: {out}{err}");
    }
    assert_eq!((fs::read(store.path("notes.html")).unwrap(), store.names()), (b"<p>mine".to_vec(), before));
}

/// Each write is shown, or reported as missed if it came and went between two looks.
#[test]
fn case_28_wal_follow_reports_every_missed_write() {
    let store = Store::new();
    store.script("PUT a 0\n");
    let mut child = store.piped(&["wal", "--follow", "--json"]);
    let mut seen = std::io::BufReader::new(child.stdout.take().unwrap());
    let writes = 3000;
    let script: String = (0..writes).map(|n| format!("PUT k {n}\n{}", if n % 10 == 0 { "SNAP\n" } else { "" })).collect();
    store.cli().args(["--batch", "10"]).write_stdin(script).assert().success();
    store.cli().args(["PUT", "last", "1"]).assert().success();
    let (mut next, mut missed) = (1, 0);
    while next <= writes + 2 {
        let mut line = String::new();
        assert!(std::io::BufRead::read_line(&mut seen, &mut line).unwrap() > 0, "it ended before write {next}");
        let object: serde_json::Value = serde_json::from_str(&line).unwrap();
        let (from, to) = match object["record"].as_str().unwrap() {
            "write" => (object["seq"].as_u64().unwrap(), object["seq"].as_u64().unwrap()),
            "missed" => (object["from"].as_u64().unwrap(), object["to"].as_u64().unwrap()),
            _ => continue,
        };
        assert_eq!(from, next, "no gap, and no write twice: {line}");
        missed += if object["record"] == "missed" { to - from + 1 } else { 0 };
        next = to + 1;
    }
    assert!(missed > 0, "no write was missed, so the test checked nothing");
    signal(&child, Signal::TERM);
    child.wait().unwrap();
}

/// The error names what the command did not do. Only after a write it says to repeat the write.
#[test]
fn case_31_a_full_disk_is_reported_in_the_words_of_the_command() {
    let store = Store::new();
    fs::write(store.path("in.kv"), "PUT i 1\n").unwrap();
    let long = "x".repeat(9000);
    let script =
        format!("PUT a 1\nPUT b {long}\nFLUSH\nSNAP\nSETBATCH 1\nEXPORT ex\nPUT c 3\nIMPORT in.kv\nBEGIN\nPUT d 4\nCOMMIT\n");
    fs::write(store.path("script"), script).unwrap();
    let (out, err, status) = shell(&store, "ulimit -f 8; $K --batch 100 --flush-interval 0 < script");
    assert_eq!(status, Some(4), "{out}{err}");
    let lines: Vec<&str> = err.lines().filter(|line| line.contains(" to write the log")).collect();
    let says = [
        (":3: ", "the flush was not done", "make room and FLUSH again"),
        (":4: ", "no snapshot was taken", "make room and SNAP again"),
        (":5: ", "the batch size is still 100", "make room and SETBATCH again"),
        (":6: ", "nothing was exported", "make room and export again"),
        (":7: ", "this write was not stored", "make room and repeat it"),
        (":8: ", "nothing was imported", "make room and import again: entries that are already stored are not written again"),
        (":11: ", "nothing of the group was stored", "make room and begin it again"),
    ];
    assert_eq!(lines.len(), says.len(), "{err}");
    for (line, (place, done, again)) in lines.iter().zip(says) {
        assert!(line.contains(place) && line.contains(done) && line.ends_with(again), "{line}");
        assert!(place == ":8: " || line.contains("2 acknowledged writes are not on the disk yet"), "{line}");
        assert_eq!(line.contains("this write"), place == ":7: ", "{line}");
    }
    assert!(!store.names().contains(&"ex".to_string()));
}

#[test]
fn case_31_an_import_on_a_full_disk_reports_what_is_stored() {
    let store = Store::new();
    let value = "v".repeat(100);
    fs::write(store.path("in.kv"), (0..2500).map(|n| format!("PUT key{n:04} {value}\n")).collect::<String>()).unwrap();
    let (out, err, status) = shell(&store, "ulimit -f 300; $K --batch 1 import in.kv");
    assert_eq!((out.as_str(), status), ("", Some(1)), "{err}");
    assert!(err.contains("; the first 1000 entries are imported and durable, the others are not imported; "), "{err}");
    assert_eq!(store.script("SIZE\n"), "1000\n");

    let store = Store::new();
    fs::write(store.path("in.kv"), format!("PUT a {}\nPUT b 2\n", "x".repeat(9000))).unwrap();
    let (out, err, status) = shell(&store, "ulimit -f 8; $K --batch 100 --flush-interval 0 import in.kv");
    assert_eq!((out.as_str(), status), ("", Some(4)), "{err}");
    assert!(err.contains("; entries 1 to 2 are read but not saved yet; make room and import again"), "{err}");
    assert!(err.contains("1 accepted write not saved (a group counts as one write)"), "{err}");
    assert_eq!(store.script("SIZE\n"), "0\n");
}

#[test]
fn case_41_each_log_has_its_own_snapshot() {
    let store = Store::new();
    fs::create_dir(store.path("d")).unwrap();
    let plain = |words: &[&str]| {
        let mut process = store.process();
        process.env_remove("KV_WAL").env_remove("KV_SNAPSHOT").stdin(Stdio::null());
        parts(process.args(words).output().unwrap())
    };
    for (wal, snapshot) in [("d/a.wal", "d/a.snapshot"), ("d/b", "d/b.snapshot")] {
        for words in [&["PUT", "a", wal][..], &["SNAP"], &["PUT", "b", "2"]] {
            assert_eq!(plain(&[&["--wal", wal], words].concat()).2, Some(0));
        }
        assert!(store.path(snapshot).exists());
        assert_eq!(plain(&["--wal", wal, "GET", "a"]).0, format!("{wal}\n"));
        assert_eq!(plain(&["--wal", wal, "verify"]).2, Some(0));
        assert!(plain(&["--wal", wal, "export"]).0.contains(&format!("PUT a {wal}\nPUT b 2\n")));
        assert!(plain(&["replay", wal]).0.contains("2 keys"), "{}", plain(&["replay", wal]).0);
        let given = plain(&["--wal", wal, "--snapshot", "elsewhere", "GET", "a"]);
        assert!(given.2 == Some(3) && given.1.contains("elsewhere"), "--snapshot is used: {}", given.1);
    }
    let mut process = store.process();
    process.env("KV_WAL", "d/a.wal").env("KV_SNAPSHOT", "elsewhere");
    assert_eq!(parts(process.args(["GET", "a"]).output().unwrap()).2, Some(3), "the variable is used too");
    assert!(!store.path("elsewhere").exists());
}

/// Older versions put the snapshot into `/tmp`, also with another `--wal`. The test has a `/tmp` of its own.
#[test]
fn case_41_a_store_that_was_split_is_refused_with_the_command_that_opens_it() {
    let store = Store::new();
    let mounted = |script: &str| {
        let own = "mount -t tmpfs none /mnt && cp \"$K\" /mnt/kv_cli && mount -t tmpfs none /tmp && mkdir /tmp/d && cd /tmp";
        let script = format!("unset KV_WAL KV_SNAPSHOT; {own} && {{ {script}; }}");
        let mut unshared = store.program("unshare");
        unshared.args(["-m", "sh", "-c", &script]).env("K", env!("CARGO_BIN_EXE_kv_cli"));
        unshared.output().map(parts)
    };
    match mounted("true") {
        Ok((_, _, Some(0))) => {}
        _ => return skipped("a /tmp of its own cannot be mounted here"),
    }
    let split = "K='/mnt/kv_cli --wal d/a.wal'; $K --snapshot /tmp/kv.snapshot -c 'PUT a 1' -c SNAP -c 'PUT b 2' >/tmp/out";
    let says = "the snapshot of this log is /tmp/kv.snapshot, where older versions put it; use --snapshot /tmp/kv.snapshot, or once: \
                mv /tmp/kv.snapshot d/a.snapshot";
    for command in ["GET a", "verify", "export"] {
        let (out, err, status) = mounted(&format!("{split}; $K {command}; s=$?; ls d; exit $s")).unwrap();
        assert!(status == Some(3) && err.contains(says), "{command}: {out}{err}");
        assert!(!out.contains("a.snapshot\n") && !out.contains("(nil)"), "{command}: {out}");
    }
    let found =
        mounted(&format!("{split}; $K --snapshot /tmp/kv.snapshot GET a; mv /tmp/kv.snapshot d/a.snapshot; $K GET a")).unwrap();
    assert_eq!(found, ("1\n1\n".to_string(), String::new(), Some(0)));
}

/// Imports these bytes from a file and from a pipe. Nothing may be stored.
fn refused(bytes: &[u8], says: &str) {
    let store = Store::new();
    fs::write(store.path("old"), bytes).unwrap();
    let mut piped = store.cli();
    let piped = parts(piped.args(["import", "-"]).write_stdin(bytes).assert().get_output().clone());
    let as_command = run(&store, &["IMPORT", "old"]);
    for ((out, err, status), name) in [(run(&store, &["import", "old"]), "old"), (as_command, "old"), (piped, "<stdin>")] {
        assert_eq!((out.as_str(), status), ("", Some(1)), "{err}");
        assert_eq!(store.names(), ["old"], "no store was created");
        assert!(err.starts_with(&format!("kv_cli: error: {name}")) && err.contains(says), "{says}: {err}");
        assert!(err.contains("nothing was stored"), "{err}");
    }
    let script = parts(store.cli().write_stdin("IMPORT old\n").assert().get_output().clone());
    assert_eq!((script.0.as_str(), script.2), ("", Some(1)), "{}", script.1);
    assert_eq!(store.names(), ["old"], "a script creates no store either");
    let beside = parts(store.cli().write_stdin("PUT a 1\nIMPORT old\nSIZE\n").assert().get_output().clone());
    assert_eq!((beside.0.as_str(), beside.2), ("OK\n1\n", Some(1)), "{}", beside.1);
}

#[test]
fn case_42_a_file_that_is_not_an_export_is_refused_and_nothing_is_stored() {
    refused(b"", "the file is empty");
    refused(b"\n# only a comment\n\n", "the file has no entries");
    refused(&fs::read(env!("CARGO_BIN_EXE_kv_cli")).unwrap()[..200_000], "this is a program, not an export");
    let known: [(&[u8], &str); 13] = [
        (b"\x1f\x8b\x08\0\0\0\0\0\t\n", "this is gzip, not an export; nothing was stored; decompress it first: gzip -dc FILE |"),
        (b"\x28\xb5\x2f\xfd\t\n", "this is zstd"),
        (b"\xfd7zXZ\0\t\n", "this is xz"),
        (b"BZh91AY&SY\t\n", "this is bzip2"),
        (b"PK\x03\x04\t\n", "this is zip"),
        (b"\x04\x22\x4d\x18\t\n", "this is lz4"),
        (b"7z\xbc\xaf\x27\x1c\t\n", "this is 7-Zip"),
        (b"\xff\xfeP\0U\0T\0", "this is UTF-16 text"),
        (b"P\0U\0T\0 \0", "this is UTF-16 text"),
        (b"SQLite format 3\0\t\n", "this is an SQLite database"),
        (b"REDIS0011\xfa\t\n", "this is a Redis dump (RDB)"),
        (b"*3\r\n$3\r\nSET\r\n$1\r\na\r\n$1\r\nb\r\n", "this is an append-only file of Redis"),
        (b"[{\"key\":\"a\",\"value\":\"1\"}]\n", "this is JSON, but not JSON Lines"),
    ];
    known.into_iter().for_each(|(bytes, says)| refused(bytes, says));
    refused(b"{\n  \"key\": \"a\",\n  \"value\": \"1\"\n}\n", ":1: column 1: the JSON object is incomplete");
    // A store's own files.
    let own = Store::new();
    own.script("PUT a 1\nSNAP\nPUT b 2\n");
    let says = "this is the log of a kv-engine store, not an export; nothing was stored; kv_cli wal FILE shows it";
    refused(&fs::read(own.path("kv.wal")).unwrap(), says);
    refused(&fs::read(own.path("kv.snapshot")).unwrap(), "this is the snapshot of a kv-engine store, not an export");
    refused(b"a\t1\nb\0\t2\n", "this is binary, but not an export, and not a log of the C++ store");
    // Faults that are far from the beginning.
    let lines = "name\tvalue\n".repeat(20_000);
    refused([lines.as_bytes(), b"b\t\x01\n"].concat().as_slice(), ":20001: column 3: there is a control byte");
    refused(format!("{lines}no tab\n").as_bytes(), ":20001: column 1: there is no tab between key and value");
    refused(format!("{lines}cut\tin the mid").as_bytes(), ":20001: the snapshot ends inside the value of 'cut'");
    let lines = "PUT a 1\n".repeat(20_000);
    refused(format!("{lines}PUT a\n").as_bytes(), ":20001: column 1: PUT takes a key and a value");
    refused(b"KVLG\x01\0garbage, and more of it than a head has", "it does not begin with a record of the C++ store");
}

#[test]
fn case_42_an_export_that_was_cut_off_anywhere_is_refused() {
    let source = Store::new();
    source.script("PUT a 1\nPUT \"b \\n\" 2\nPUT c 33\n");
    for (form, third) in [("ex.kv", &b"PUT c 33"[..]), ("ex.jsonl", b"\"value\":\"33")] {
        assert_eq!(run(&source, &["export", form]).2, Some(0));
        let whole = fs::read(source.path(form)).unwrap();
        let line = whole.iter().position(|&byte| byte == b'\n').unwrap();
        let store = Store::new();
        // Only the last line feed may be missing, because some editors remove it.
        for cut in (line + 1..whole.len() - 1).step_by(5) {
            fs::write(store.path("cut"), &whole[..cut]).unwrap();
            let (out, err, status) = run(&store, &["import", "cut"]);
            assert!(out.is_empty() && status == Some(1) && err.contains("nothing was stored"), "{form}, {cut}: {err}");
        }
        assert_eq!(store.names(), ["cut"], "no store was created");
        // Cut off inside the third entry.
        let at = whole.windows(third.len()).position(|bytes| bytes == third).unwrap();
        fs::write(store.path("cut"), &whole[..at + third.len() - 1]).unwrap();
        let (_, err, status) = run(&store, &["import", "--salvage", "cut"]);
        assert!(status == Some(1) && err.contains("it was cut off; imported: 2 entries"), "{err}");
        assert_eq!(store.script("SIZE\nGET c\n"), "2\n(nil)\n", "the incomplete entry is not imported");
        let marked = [b"\xef\xbb\xbf", &whole[..whole.len() - 1]].concat();
        fs::write(store.path("whole"), marked).unwrap();
        assert_eq!(untimed(&run(&store, &["import", "whole"]).0), "IMPORT OK entries=3 written=1 unchanged=2\n");
    }
}

/// The second half of an export has a last line, but no first one.
#[test]
fn case_42_an_export_without_its_beginning_is_refused() {
    let source = Store::new();
    source.script("PUT a 1\nPUT b 2\nPUT c 3\n");
    for (form, entry) in [("ex.kv", "PUT b"), ("ex.jsonl", "{\"key\":\"b\"")] {
        assert_eq!(run(&source, &["export", form]).2, Some(0));
        let whole = fs::read_to_string(source.path(form)).unwrap();
        let half = &whole[whole.find(entry).unwrap()..];
        refused(half.as_bytes(), ":3: an export ends here, but its first line is missing: its beginning was cut off");
        let store = Store::new();
        fs::write(store.path("half"), half).unwrap();
        let (_, err, status) = run(&store, &["import", "--salvage", "half"]);
        assert!(status == Some(1) && err.contains("its beginning was cut off; imported: 2 entries"), "{err}");
    }
}

/// Files of random bytes, with magic numbers of nothing. Some have tabs and line feeds in good places.
#[test]
fn case_42_binaries_are_refused_whatever_they_begin_with() {
    let mut random = 1_u64;
    for _ in 0..8 {
        let bytes: Vec<u8> = std::iter::repeat_with(|| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33).to_le_bytes()[0]
        })
        .take(3000)
        .collect();
        for begin in [&b""[..], b"key\tvalue\n", b"PUT a 1\n", b"{\"key\":\"a\",\"value\":\"1\"}\n", b"KVLG\x01\0"] {
            refused(&[begin, &bytes].concat(), "");
        }
    }
}

#[test]
fn case_42_a_missing_file_creates_no_store() {
    let store = Store::new();
    for words in [["import", "nofile"], ["IMPORT", "nofile"]] {
        let (out, err, status) = run(&store, &words);
        assert_eq!((out.as_str(), status), ("", Some(1)));
        assert!(err.starts_with("kv_cli: error: nofile: ") && err.contains("nothing was stored"), "{err}");
    }
    // A pipe needs a place for its copy.
    let mut process = store.cli();
    let failed = process.args(["--wal", "absent/x.wal", "import", "-"]).write_stdin("PUT a 1\n").assert().code(1);
    let (_, err, _) = parts(failed.get_output().clone());
    let says = "kv_cli: error: <stdin>: cannot write a temporary copy beside the log: ";
    assert!(err.starts_with(says) && err.ends_with(" (os error 2); nothing was stored\n"), "{err}");
    let (out, _, status) = run(&store, &["--json", "import", "nofile"]);
    assert!(out.starts_with("{\"ok\":false,\"code\":\"failed\",\"error\":\"nofile: ") && status == Some(1), "{out}");
    assert_eq!(store.names(), [""; 0]);
}

/// If one file is bad, none is imported.
#[test]
fn case_42_every_file_is_checked_before_any_is_written() {
    let store = Store::new();
    fs::write(store.path("good"), "PUT a 1\n").unwrap();
    fs::write(store.path("bad"), "PUT b\n").unwrap();
    let (_, err, status) = run(&store, &["import", "good", "bad"]);
    assert!(status == Some(1) && err.contains("bad:1: ") && err.contains("nothing was stored"), "{err}");
    assert_eq!(store.names(), ["bad", "good"], "no store was created");
    assert_eq!(untimed(&run(&store, &["import", "good", "good"]).0), "IMPORT OK entries=2 written=1 unchanged=1\n");
    // More files than the process may have open at once.
    let many = shell(&store, "for n in $(seq 100); do echo PUT k$n $n > f$n; done; ulimit -n 50; exec $K import f*");
    assert_eq!(untimed(&many.0), "IMPORT OK entries=100 written=100 unchanged=0\n", "{}", many.1);
}

#[test]
fn case_34_a_key_twice_in_one_json_object_is_refused_with_its_line() {
    refused(
        b"{\"key\":\"a\",\"value\":\"1\"}\n{\"key\":\"b\",\"value\":\"1\",\"key\":\"c\"}\n",
        ":2: column 1: key appears twice",
    );
    refused(b"{\"key\":\"a\",\"value\":\"1\",\"va\\u006cue\":\"2\"}\n", ":1: column 1: value appears twice");
}

/// The log of the C++ store has false lengths between its records. The records are found.
#[test]
fn case_32_intact_records_between_false_lengths_are_imported() {
    let store = Store::new();
    let mut false_head = b"KVLG\x01\0\x01\x01\0\0\0".to_vec();
    false_head.extend((256_u32 << 20).to_le_bytes());
    false_head.extend([0; 8]);
    let mut good = b"KVLG\x01\0\x01\x01\0\0\0\x01\0\0\0\0\0\0\0\0\0\0\0kv".to_vec();
    let check = crc32fast::hash(&good);
    good.extend(check.to_le_bytes());
    let log = [good.clone(), false_head.repeat(200_000), good].concat();
    fs::write(store.path("log"), log).unwrap();
    let (out, err, status) = run(&store, &["import", "--salvage", "log"]);
    assert_eq!((untimed(&out).as_str(), status), ("IMPORT OK entries=2 written=1 unchanged=1\n", Some(0)), "{err}");
    assert!(
        err.contains("the log is damaged at byte 29: the file ends inside a record; skipped 4600000 bytes outside of records"),
        "{err}"
    );
}

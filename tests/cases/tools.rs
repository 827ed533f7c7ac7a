//! The commands that write and read other files.

use crate::common::{Store, eventually, signal, skipped};
use rustix::process::Signal;
use std::fs;
use std::io::Write;
use std::process::{Command, Output, Stdio};

/// What it said on stdout and stderr, and its exit status.
fn told(output: Output) -> (String, String, Option<i32>) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (text(output.stdout), text(output.stderr), output.status.code())
}

fn run(store: &Store, words: &[&str]) -> (String, String, Option<i32>) {
    told(store.process().args(words).output().unwrap())
}

/// By `sh`, with `$K` for `kv_cli`.
fn shell(store: &Store, script: &str) -> (String, String, Option<i32>) {
    told(store.program("sh").args(["-c", script]).env("K", env!("CARGO_BIN_EXE_kv_cli")).output().unwrap())
}

fn names(store: &Store) -> Vec<String> {
    let entries = fs::read_dir(store.dir.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn case_06_and_22_bench_leaves_every_file_that_it_did_not_make() {
    let store = Store::new();
    let other = |words: &[&str]| {
        let log = store.path("kv.wal.bench");
        told(store.process().env("KV_WAL", log).env("KV_SNAPSHOT", store.path("x")).args(words).output().unwrap())
    };
    other(&["PUT", "mine", "1"]);
    let others = ["kv.wal.bench.bare", "kv.wal.bench.wal", "kv.wal.bench-0123456789abcdef", "kv.wal.bench.snapshot"];
    others.iter().for_each(|name| fs::write(store.path(name), "notes").unwrap());
    store.script("PUT a 1\n");
    let before = names(&store);
    assert_eq!(run(&store, &["BENCH", "100", "5", "--report", "page.html"]).2, Some(0));
    assert_eq!(other(&["GET", "mine"]).0, "1\n");
    assert!(others.iter().all(|name| fs::read(store.path(name)).unwrap() == b"notes"));
    fs::remove_file(store.path("page.html")).unwrap();
    assert_eq!(names(&store), before);
}

/// What a killed BENCH left goes with the next one; what a signal that asks ended is gone at once.
#[test]
fn case_22_the_files_of_a_stopped_bench_are_removed() {
    for by in [Signal::KILL, Signal::TERM] {
        let store = Store::new();
        store.script("PUT a 1\n");
        let before = names(&store);
        let mut child = store.piped(&[]);
        child.stdin.as_mut().unwrap().write_all(b"BENCH 100000000 5 --report page.html\n").unwrap();
        eventually("the bench runs", || names(&store).iter().any(|name| name.starts_with("kv.wal.bench-")));
        signal(&child, by);
        child.wait().unwrap();
        if by == Signal::KILL {
            assert_eq!(names(&store).len(), before.len() + 2, "the scratch directory and the page");
            assert_eq!(run(&store, &["BENCH", "10", "5", "--report", "page.html"]).2, Some(0));
        }
        let _ = fs::remove_file(store.path("page.html"));
        assert_eq!(names(&store), before, "{by:?}");
    }
}

#[test]
fn case_08_threads_that_cannot_be_had_are_an_error() {
    let store = Store::new();
    let (out, err, status) = shell(&store, "ulimit -v 400000; $K -c 'PUT a 1' -c 'BENCH 1000 5 --threads 256' -c SIZE");
    assert_eq!((out.as_str(), status), ("OK\n1\n", Some(1)), "{err}");
    assert!(err.contains("BENCH: 256 threads cannot be had: ") && err.contains("take fewer --threads"), "{err}");
    assert!(names(&store).iter().all(|name| !name.contains("bench")), "{:?}", names(&store));
}

#[test]
fn case_08_threads_beyond_the_limit_of_a_user_are_an_error() {
    const USER: &str = "--reuid=54399 --regid=54399 --clear-groups";
    let store = Store::new();
    if !shell(&store, &format!("setpriv {USER} prlimit --nproc=50 true")).2.is_some_and(|status| status == 0) {
        return skipped("no other user can be had here");
    }
    let program = store.path("program");
    fs::copy(env!("CARGO_BIN_EXE_kv_cli"), &program).unwrap();
    shell(&store, "chmod 755 program; chmod 777 .");
    let limited = "timeout 60 prlimit --nproc=5 ./program BENCH 100 5 --threads 8";
    let (out, err, status) = shell(&store, &format!("exec setpriv {USER} {limited}"));
    assert_eq!((out.as_str(), status), ("", Some(1)), "{err}");
    assert!(err.contains("BENCH: 8 threads cannot be had: ") && !err.contains("panic"), "{err}");
    assert!(names(&store).iter().all(|name| !name.contains("bench")), "{:?}", names(&store));
}

#[test]
fn case_14_a_file_size_limit_is_an_error_of_the_export() {
    let store = Store::new();
    let value = "v".repeat(48);
    store.script((0..99).map(|n| format!("PUT k{n} {value}\n")).collect::<String>());
    let before = names(&store);
    let (out, err, status) = shell(&store, "ulimit -f 1; exec $K export ex");
    assert_eq!((out.as_str(), status), ("", Some(1)), "{err}");
    assert!(err.contains("ex: File too large") && err.contains("nothing was exported"), "{err}");
    assert_eq!(names(&store), before);
}

#[test]
fn case_21_an_export_never_takes_a_name_of_the_store() {
    let store = Store::new();
    fs::create_dir(store.path("d")).unwrap();
    std::os::unix::fs::symlink(".", store.path("link")).unwrap();
    store.script("PUT a 1\nSNAP\nPUT b 2\n");
    fs::hard_link(store.path("kv.snapshot"), store.path("hard")).unwrap();
    let bytes = fs::read(store.path("kv.snapshot")).unwrap();
    let before = names(&store);
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
    let (out, err, _) = told(output);
    assert_eq!((out.as_str(), err.lines().count()), ("OK\n", ways.len()), "{err}");
    assert_eq!((fs::read(store.path("kv.snapshot")).unwrap(), names(&store)), (bytes, before));
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
}

#[test]
fn case_21_and_33_a_report_goes_to_a_plain_file_that_is_no_other_files_name() {
    let store = Store::new();
    let wal = store.path("log.html");
    let bench = |name: &str| {
        let mut process = store.process();
        process.env("KV_WAL", &wal).args(["BENCH", "10", "5", "--report", name]).stdin(Stdio::null());
        told(process.output().unwrap())
    };
    assert_eq!(bench("page.html").2, Some(0));
    assert_eq!(bench("page.html").2, Some(0), "it replaces its own kind");
    assert!(Command::new("mkfifo").arg(store.path("pipe.svg")).status().unwrap().success());
    fs::create_dir(store.path("dir.html")).unwrap();
    fs::write(store.path("notes.html"), "<p>mine").unwrap();
    std::os::unix::fs::symlink("notes.html", store.path("link.html")).unwrap();
    std::os::unix::fs::symlink("/dev/full", store.path("full.svg")).unwrap();
    let before = names(&store);
    for name in ["pipe.svg", "dir.html", "notes.html", "link.html", "full.svg", "log.html", "./log.html", "no/where.svg"] {
        let (out, err, status) = bench(name);
        assert!(out.is_empty() && status == Some(1) && err.contains(&format!("--report {name}: ")), "{name}: {out}{err}");
    }
    assert_eq!((fs::read(store.path("notes.html")).unwrap(), names(&store)), (b"<p>mine".to_vec(), before));
}

//! What is said when no answer comes, or a refusal.

use crate::common::{Store, eventually, signal};
use crate::servers::{Answer, Scripted, Served};
use predicates::prelude::*;
use rustix::process::Signal;
use std::process::Stdio;

const DOUBT: &str = "it is unknown whether this write was stored; read it before you repeat it";

#[test]
fn nobody_listens() {
    let store = Store::new();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let said = format!("nothing was done; no server listens there; to start one: kv_cli serve --listen {free}\n");
    store.cli().args(["connect", &free, "GET", "x"]).assert().code(3).stdout("").stderr(predicate::str::ends_with(said));
    let said = "to start one: kv_cli serve --unixsocket /nowhere/s\n";
    store
        .cli()
        .args(["connect", "unix:/nowhere/s"])
        .write_stdin("SIZE\n")
        .assert()
        .code(3)
        .stderr(predicate::str::ends_with(said));
    let json = store.cli().args(["connect", &free, "--json", "GET", "x"]).assert().code(3).get_output().stdout.clone();
    assert!(String::from_utf8(json).unwrap().starts_with("{\"ok\":false,\"code\":\"unreachable\","));
    assert!(store.names().is_empty(), "no store was created: {:?}", store.names());
}

#[test]
fn other_servers_are_refused() {
    let store = Store::new();
    let redis = Scripted::with("redis_version:7.0.0", |_| Answer::Close);
    redis
        .cli(&store, &["SIZE"])
        .assert()
        .code(3)
        .stderr(predicate::str::contains("is not kv_cli serve: its INFO names no store"));
    assert!(redis.requests().is_empty());
    let web = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = web.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for mut stream in web.incoming().map_while(Result::ok) {
            let _ = std::io::Write::write_all(&mut stream, b"HTTP/1.1 400 Bad Request\r\n\r\n");
            std::thread::sleep(std::time::Duration::from_secs(5));
        }
    });
    store
        .cli()
        .args(["connect", &address, "SIZE"])
        .assert()
        .code(3)
        .stderr(predicate::str::contains("but gave no greeting: the other end does not speak the protocol of Redis"));
}

/// A write whose answer did not come is in doubt. It is not repeated, and what follows it is not run.
#[test]
fn a_write_without_an_answer_is_in_doubt() {
    let store = Store::new();
    for (script, request) in [("PUT a 1\nPUT b 2\n", "SET a 1"), ("DEL a\nPUT b 2\n", "DEL a")] {
        let server = Scripted::new(|_| Answer::Close);
        let done = server.cli(&store, &[]).write_stdin(script).assert().code(4).stdout("");
        let said = String::from_utf8(done.get_output().stderr.clone()).unwrap();
        let begin = format!("kv_cli: <stdin>:1: error: the connection to {} was lost: ", server.address);
        assert!(said.starts_with(&begin) && said.ends_with(&format!("; {DOUBT}\n")), "{said}");
        assert!(!said.contains("not stored") && !said.contains("nothing"), "{said}");
        assert_eq!(server.requests(), [request], "sent once, and nothing after it");
    }
    let server = Scripted::new(|_| Answer::Close);
    server.cli(&store, &["--json", "PUT", "a", "1"]).assert().code(4).stdout(predicate::str::contains("\"code\":\"in_doubt\""));
    // A group is sent in one piece.
    let server = Scripted::new(|request| match request {
        "MULTI" => Answer::Say("+OK\r\n"),
        "EXEC" => Answer::Close,
        _ => Answer::Say("+QUEUED\r\n"),
    });
    let script = "BEGIN\nPUT a 1\nDEL b\nCOMMIT\nSIZE\n";
    server
        .cli(&store, &[])
        .write_stdin(script)
        .assert()
        .code(4)
        .stdout("OK\nQUEUED\nQUEUED\n")
        .stderr(predicate::str::contains("it is unknown whether this group (all of it or nothing) was stored"));
    assert_eq!(server.requests(), ["MULTI", "SET a 1", "DEL b", "EXEC"]);
}

#[test]
fn a_read_without_an_answer_has_changed_nothing() {
    let store = Store::new();
    for script in ["GET a\nSIZE\n", "SIZE\nSIZE\n", "KEYS\nSIZE\n", "SCAN\nSIZE\n"] {
        let server = Scripted::with("kv_store_id:0\r\nbatch_size:1", |_| Answer::Close);
        let done = server.cli(&store, &[]).write_stdin(script).assert().code(3);
        let said = String::from_utf8(done.get_output().stderr.clone()).unwrap();
        assert!(said.contains("was lost: ") && said.ends_with("; nothing was changed\n"), "{script}: {said}");
        assert_eq!(server.requests().len(), 1, "{script}: the script has ended");
    }
}

/// The words and the codes of the server pass through.
#[test]
fn refusals_pass_through() {
    let store = Store::new();
    for (words, code, status) in [
        ("-NOSPACE this was not stored: kv.wal: disk full\r\n", "no_space", 1),
        ("-POISONED it is unknown whether this was stored; read it\r\n", "log_failed", 4),
        ("-LOST this was not stored: the log is gone\r\n", "log_failed", 4),
        ("-CLOSED this was not stored\r\n", "closed", 1),
        ("-ERR something else\r\n", "refused", 1),
    ] {
        let server = Scripted::new(move |_| Answer::Say(words));
        let done = server.cli(&store, &["--json"]).write_stdin("PUT a 1\nPUT b 2\n").assert().code(status);
        let said = String::from_utf8(done.get_output().stdout.clone()).unwrap();
        let first = said.lines().next().unwrap();
        let answers = format!("the server at {} answers: {}", server.address, words[1..].trim_end());
        assert!(first.contains(&format!("\"code\":\"{code}\"")) && first.contains(&answers), "{first}");
        // After the log has failed, a script ends.
        assert_eq!(said.lines().count(), if status == 4 { 1 } else { 2 }, "{said}");
    }
}

#[test]
fn a_refused_group_says_why() {
    let store = Store::new();
    let server = Scripted::new(|request| match request {
        "MULTI" => Answer::Say("+OK\r\n"),
        "SET a 1" => Answer::Say("-ERR the commands of this transaction are longer than allowed\r\n"),
        "EXEC" => Answer::Say("-EXECABORT Transaction discarded because of previous errors.\r\n"),
        _ => Answer::Say("+QUEUED\r\n"),
    });
    let script = "BEGIN\nPUT a 1\nPUT b 2\nCOMMIT\n";
    server.cli(&store, &[]).write_stdin(script).assert().code(1).stderr(predicate::str::ends_with(
        "answers: ERR the commands of this transaction are longer than allowed; nothing of the group was stored\n",
    ));
    let full = Scripted::new(|request| match request {
        "MULTI" => Answer::Say("+OK\r\n"),
        "EXEC" => Answer::Say("-NOSPACE this was not stored: full\r\n"),
        _ => Answer::Say("+QUEUED\r\n"),
    });
    let done = full.cli(&store, &["--json"]).write_stdin(script).assert().code(1);
    let said = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    assert!(said.lines().last().unwrap().contains("\"code\":\"no_space\",\"error\":\"the server at "), "{said}");
}

/// The answer to a write is awaited for a while after a signal, and then it is in doubt.
#[test]
fn a_signal_ends_the_wait_for_a_silent_server() {
    let store = Store::new();
    for (line, said) in [("PUT a 1", DOUBT), ("GET a", "interrupted; the server at ")] {
        let server = Scripted::new(|_| Answer::Silence);
        let mut command = store.process();
        command.args(["connect", &server.address, "-c", line]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.spawn().unwrap();
        eventually("the request is sent", || server.requests().len() == 1);
        signal(&child, Signal::TERM);
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains(said), "{line}: {text}");
        assert_eq!(output.status.code(), Some(if line == "GET a" { 143 } else { 4 }), "{line}: {text}");
    }
}

/// A server that was started again is connected to by the next command. Nothing is repeated.
#[test]
fn a_server_that_was_started_again() {
    let served = Served::new(&[]);
    let address = served.address.clone();
    let mut shell = served.shell();
    assert_eq!(shell.ask("PUT a 1"), "OK");
    let store = served.kill();
    let served = Served::on(store, &address, &[], None);
    assert_eq!(shell.ask("PUT a 2"), "OK");
    assert_eq!(shell.ask("GET a"), "2");
    let (rest, said, status) = shell.end();
    let told = format!("kv_cli: warning: the server at {address} had closed the connection; this is a new one\n");
    assert_eq!((&*rest, &*said, status), ("", &*told, Some(0)));
    let stats = served.says(&["STATS"]);
    assert!(stats.contains(" appended=2 "), "{stats}");
}

/// With a batch size above 1 its crash may have taken back what was answered OK, and that is said, also with --quiet.
#[test]
fn writes_that_a_crash_of_the_server_took_back() {
    let served = Served::new(&["--batch", "1000", "--flush-interval", "off"]);
    let address = served.address.clone();
    let mut shell = crate::common::Shell::with(&served.store, &["-q", "connect", &address]);
    assert_eq!(shell.ask("PUT a 1"), "OK");
    let _served = Served::on(served.kill(), &address, &["--batch", "1000"], None);
    assert_eq!(shell.ask("GET a"), "(nil)");
    let (_, said, status) = shell.end();
    let told = "its batch size 1000 up to 999 of the last writes that were answered OK may be missing\n";
    assert!(said.ends_with(told), "{said}");
    assert_eq!(status, Some(0));
}

/// The end of a session must not say that all is well if it does not know.
#[test]
fn an_end_that_cannot_make_writes_durable_says_so() {
    let store = Store::new();
    let server = Scripted::with("kv_store_id:0\r\nrun_id:1\r\nbatch_size:5", |request| match request {
        "SET a 1" => Answer::Say("+OK\r\n"),
        _ => Answer::Close,
    });
    let done = server.cli(&store, &[]).write_stdin("PUT a 1\n").assert().code(4).stdout("OK\n");
    done.stderr(predicate::str::contains("it is unknown whether the last ones are on its disk"));
    assert_eq!(server.requests(), ["SET a 1", "WAITAOF 1 0 0"]);
}

#[test]
fn an_import_that_loses_its_server_says_what_is_stored() {
    let store = Store::new();
    let lines: String = (0..2500).map(|n| format!("PUT k{n:04} 1\n")).collect();
    std::fs::write(store.path("lines.kv"), lines).unwrap();
    let groups = std::sync::atomic::AtomicU64::new(0);
    let nothing = format!("*1000\r\n{}", "_\r\n".repeat(1000)).leak();
    let nothing: &'static str = nothing;
    let done: &'static str = format!("*1000\r\n{}", "+OK\r\n".repeat(1000)).leak();
    let server = Scripted::new(move |request| match request {
        text if text.starts_with("MGET") => Answer::Say(nothing),
        "MULTI" => Answer::Say("+OK\r\n"),
        "EXEC" if groups.fetch_add(1, std::sync::atomic::Ordering::Relaxed) == 0 => Answer::Say(done),
        "EXEC" => Answer::Close,
        _ => Answer::Say("+QUEUED\r\n"),
    });
    let done = server.cli(&store, &["IMPORT", "lines.kv"]).assert().code(4);
    let said = String::from_utf8(done.get_output().stderr.clone()).unwrap();
    assert!(said.contains("it is unknown whether this group (all of it or nothing) was stored"), "{said}");
    assert!(
        said.ends_with(
            "; the first 1000 entries are imported; import again: entries that are already stored are not written again\n"
        ),
        "{said}"
    );
    assert_eq!(server.requests().last().map(String::as_str), Some("EXEC"), "nothing after the group in doubt");
}

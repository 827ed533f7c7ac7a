//! `kv_cli serve`: the command line, its files, its end.
#![allow(missing_docs, clippy::unwrap_used)]

mod common;

use common::Store;
use common::served::{Client, Served};
use predicates::prelude::*;
use predicates::str::contains;
use std::io::{BufRead, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;

#[test]
fn an_ok_is_on_the_disk_and_a_kill_takes_nothing_back() {
    let store = Store::new();
    let server = Served::start(&store, &[]);
    let mut client = server.connect();
    assert_eq!(client.ask("SET x 100"), "OK");
    assert_eq!(client.ask("INCR x"), "101");
    server.signal("KILL");
    assert_eq!(server.end().0, None);
    store.cli().args(["GET", "x"]).assert().success().stdout("101\n");
    store.cli().arg("verify").assert().success();
}

#[test]
fn sigterm_sigint_and_shutdown_end_it_in_order() {
    for how in ["TERM", "INT", "SHUTDOWN"] {
        let store = Store::new();
        let server = Served::start(&store, &[]);
        let mut client = server.connect();
        assert_eq!(client.ask("SET x 100"), "OK");
        if how == "SHUTDOWN" {
            client.send(how);
        } else {
            server.signal(how);
        }
        assert_eq!(client.reply(), None, "the connection is closed");
        let (status, said) = server.end();
        assert_eq!(status, Some(0), "{how}: {said}");
        // The log was closed cleanly.
        store.cli().arg("wal").assert().success().stdout(contains("closed"));
        store.cli().args(["GET", "x"]).assert().stdout("100\n");
    }
}

#[test]
fn another_program_is_told_where_to_connect() {
    let store = Store::new();
    let server = Served::start(&store, &[]);
    server.connect().ask("SET x 100");
    let advice = format!("kv_cli connect {}", server.address);
    store.cli().args(["PUT", "x", "1"]).assert().code(3).stderr(contains(advice.as_str()).and(contains("nothing was done")));
    store.cli().args(["GET", "x"]).assert().success().stdout("100\n"); // by the files
    let mut second = store.process();
    let second = second.args(["serve", "--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(second.status.code(), Some(3));
    assert!(String::from_utf8(second.stderr).unwrap().contains(&advice));
}

#[test]
fn without_a_password_it_listens_on_this_machine_only() {
    let store = Store::new();
    let refused = |args: &[&str], text: &str| {
        store.cli().args([&["serve"], args].concat()).assert().code(1).stderr(contains(text));
        assert_eq!(store.names(), Vec::<String>::new(), "nothing was opened");
    };
    refused(&["--listen", "0.0.0.0:0"], "can be reached from other machines");
    refused(&["--listen", "[::]:0"], "can be reached from other machines");
    refused(&["--listen", "off"], "--unixsocket");
    refused(&["--password-file", "none"], "cannot be read");
    store.cli().args(["serve", "--listen", "6379"]).assert().code(2).stderr(contains("an address and a port"));
}

#[test]
fn the_password_is_that_of_the_file_or_of_the_variable() {
    let store = Store::new();
    std::fs::write(store.path("empty"), "\n").unwrap();
    store.cli().args(["serve", "--password-file", "empty"]).assert().code(1).stderr(contains("is empty"));
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("password"), "secret word\nnot this\n").unwrap();
    let file = dir.path().join("password").display().to_string();
    let server = Served::start(&store, &["--password-file", &file]);
    let mut client = server.connect();
    assert!(client.ask("GET x").contains("Authentication required"));
    assert!(client.ask("AUTH wrong").contains("invalid username-password pair"));
    client.send_words(&["AUTH", "default", "secret word"]);
    assert_eq!(client.reply().unwrap(), "OK");
    assert_eq!(client.ask("SET x 1"), "OK");
}

#[test]
fn a_unix_socket_belongs_to_its_user_and_is_gone_afterwards() {
    let store = Store::new();
    let socket = store.path("socket");
    let server = Served::start(&store, &["--unixsocket", socket.to_str().unwrap()]);
    let stream = UnixStream::connect(&socket).unwrap();
    let mut client = Client::new(stream.try_clone().unwrap(), stream);
    assert_eq!(client.ask("SET x 100"), "OK");
    assert_eq!(socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));
    assert!(!socket.exists());
    // A socket that a killed server left is replaced; any other file is not.
    let server = Served::start(&store, &["--unixsocket", socket.to_str().unwrap()]);
    server.signal("KILL");
    server.end();
    assert!(socket.exists());
    drop(Served::start(&store, &["--unixsocket", socket.to_str().unwrap()]));
    let taken = store.path("kv.wal");
    store.cli().args(["serve", "--listen", "off", "--unixsocket", taken.to_str().unwrap()]).assert().code(1);
    store.cli().args(["GET", "x"]).assert().stdout("100\n");
}

#[test]
fn the_batch_is_one_unless_it_is_given_and_a_larger_one_is_said() {
    let store = Store::new();
    let server = Served::start(&store, &[]);
    assert_eq!(server.connect().ask("CONFIG GET batch"), "batch 1");
    drop(server);
    let mut child = store.process();
    let mut child = child.args(["--batch", "100", "serve", "--listen", "127.0.0.1:0"]);
    child = child.stderr(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stderr.take().unwrap()), &mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("batch=100") && line.contains("can take back the last 99 OK"), "{line}");
}

#[test]
fn it_can_be_read_only_and_without_some_commands() {
    let store = Store::new();
    store.cli().args(["PUT", "x", "100"]).assert().success();
    for (before, behind) in [(&["--read-only"][..], &[][..]), (&[], &["--read-only"])] {
        let args = [behind, &["--disable", "keys", "--disable", "CONFIG|SET"]].concat();
        let server = Served::start_with(&store, &args, before);
        let mut client = server.connect();
        assert!(client.ask("SET x 1").contains("READONLY this server takes no writes"));
        assert!(client.ask("KEYS *").contains("unknown command 'KEYS'"));
        assert!(client.ask("CONFIG SET timeout 1").contains("unknown subcommand 'SET'"));
        assert_eq!(client.ask("GET x"), "100");
    }
    let unknown = store.cli().args(["serve", "--listen", "127.0.0.1:0", "--disable", "FLUSHAL"]).assert().code(1);
    unknown.stderr(contains("there is no command FLUSHAL"));
}

#[test]
fn sighup_reads_the_files_of_tls_again_and_ends_nothing() {
    let store = Store::new();
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).display().to_string();
    let write = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
        std::fs::write(path("cert"), made.cert.pem()).unwrap();
        std::fs::write(path("key"), made.signing_key.serialize_pem()).unwrap();
    };
    write();
    let (cert, key) = (path("cert"), path("key"));
    let mut server = Served::start(&store, &["--tls-cert", &cert, "--tls-key", &key]);
    assert!(server.said.contains(" tls=yes "), "{}", server.said);
    let next = |server: &mut Served| {
        let mut line = String::new();
        server.log.read_line(&mut line).unwrap();
        line
    };
    write();
    server.signal("HUP");
    let line = next(&mut server);
    assert!(line.contains("event=tls_reloaded"), "{line}");
    std::fs::remove_file(&cert).unwrap();
    server.signal("HUP");
    let line = next(&mut server);
    assert!(line.contains("level=error event=tls_reload_failed") && line.contains(&cert), "{line}");
    server.signal("TERM");
    assert_eq!(server.end().0, Some(0));

    let refused = store.cli().args(["serve", "--tls-cert", &cert, "--tls-key", &key]).assert().code(1);
    refused.stderr(contains(format!("TLS cannot use {cert}: ")));
    store.cli().args(["serve", "--tls-cert", &cert]).assert().code(2).stderr(contains("--tls-key"));
}

/// The answer to `GET path` at the address of the pages for operators.
fn page(address: &str, path: &str) -> (u16, String) {
    let mut stream = std::net::TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_string())
}

#[test]
fn operators_get_figures_and_one_line_for_each_event() {
    let store = Store::new();
    let server = Served::start(&store, &["--metrics", "127.0.0.1:0", "--log-format", "json"]);
    let started = &server.said;
    let started: serde_json::Value = serde_json::from_str(started).unwrap();
    assert_eq!((&started["event"], &started["batch"]), (&"started".into(), &"1".into()));
    let metrics = started["metrics"].as_str().unwrap().to_string();
    let mut client = server.connect();
    client.ask("SET secret-key secret-value");
    client.ask("GET secret-key");
    client.ask("GET none");
    assert_eq!(page(&metrics, "/ready").0, 200);
    assert_eq!(page(&metrics, "/health"), (200, "ok\n".to_string()));
    assert_eq!(page(&metrics, "/").0, 404);
    let (status, figures) = page(&metrics, "/metrics");
    assert_eq!(status, 200);
    for line in [
        "kv_keys 1",
        "kv_up 1",
        "kv_durable_sequence 1",
        "kv_connected_clients 1",
        "kv_keyspace_hits_total 1",
        "kv_keyspace_misses_total 1",
        "kv_sync_seconds_count 1",
        "kv_group_writes_sum 1",
        "kv_group_writes_bucket{le=\"1.0\"} 1",
        "kv_group_writes_bucket{le=\"+Inf\"} 1",
        "# EOF",
    ] {
        assert!(figures.lines().any(|found| found.strip_suffix(".0").unwrap_or(found) == line), "{line} is not in {figures}");
    }
    server.signal("TERM");
    let (status, said) = server.end();
    assert_eq!(status, Some(0));
    let events: Vec<serde_json::Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["ending", "ended"]);
    assert!(!said.contains("secret"), "{said}");
}

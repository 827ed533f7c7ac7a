//! The connection itself: protocols, passwords, bad requests, limits, commands on the server.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_server::Options;
use support::{check, command, start, start_with};

#[test]
fn hello_chooses_the_protocol() {
    let server = start();
    let mut client = server.connect();
    let hello = |proto: u8, id: u64| {
        format!("server, redis, version, 7.4.0, proto, :{proto}, id, :{id}, mode, standalone, role, master, modules, []")
    };
    assert_eq!(client.ask("HELLO"), format!("[{}]", hello(2, 1)));
    let map = client.ask("HELLO 3 SETNAME one");
    assert!(map.starts_with("{server: redis, version: 7.4.0, proto: :3"), "{map}");
    check(
        &mut client,
        "CLIENT GETNAME => one
        GET nothing => nil
        CONFIG GET save => {save: }
        HELLO 4 => -NOPROTO unsupported protocol version
        HELLO x => -ERR Protocol version is not an integer or out of range
        HELLO 2 FOO => -ERR Syntax error in HELLO option 'FOO'
        HELLO 2 SETNAME => -ERR Syntax error in HELLO option 'SETNAME'",
    );
    client.send(&command(&["GET", "nothing"]));
    let mut null = [0; 3];
    std::io::Read::read_exact(&mut client.stream, &mut null).unwrap();
    assert_eq!(&null, b"_\r\n");
    assert_eq!(client.ask("RESET"), "+RESET");
    assert_eq!(client.ask("HELLO"), format!("[{}]", hello(2, 1)));
    assert_eq!(client.ask("CLIENT GETNAME"), "nil");
}

#[test]
fn without_the_password_nothing_is_done() {
    let server = start_with(Options::default().password("secret"));
    let mut client = server.connect();
    check(
        &mut client,
        "GET a => -NOAUTH Authentication required.
        PING => -NOAUTH Authentication required.
        MULTI => -NOAUTH Authentication required.
        NOSUCH => -ERR unknown command 'NOSUCH', with args beginning with:
        AUTH wrong => -WRONGPASS invalid username-password pair or user is disabled.
        AUTH other secret => -WRONGPASS invalid username-password pair or user is disabled.
        AUTH secre => -WRONGPASS invalid username-password pair or user is disabled.
        GET a => -NOAUTH Authentication required.",
    );
    assert!(client.ask("HELLO 3").starts_with("-NOAUTH HELLO must be called"));
    assert!(client.ask("HELLO 3 AUTH default wrong").starts_with("-WRONGPASS"));
    assert_eq!(client.ask("SET a 1"), "-NOAUTH Authentication required.", "a wrong HELLO changes nothing");
    assert!(client.ask("HELLO 3 AUTH default secret SETNAME me").starts_with("{server: redis"));
    check(
        &mut client,
        "SET a 1 => +OK\nRESET => +RESET\nGET a => -NOAUTH Authentication required.\nAUTH secret => +OK\nGET a => 1",
    );
    check(&mut server.connect(), "AUTH default secret => +OK\nGET a => 1");
    assert_eq!(server.engine.len(), 1);
}

#[test]
fn a_client_without_the_password_is_held_to_small_limits() {
    let server = start_with(Options::default().password("secret"));
    for (input, wanted) in
        [(&b"*11\r\n"[..], "unauthenticated multibulk length"), (b"*2\r\n$16385\r\n", "unauthenticated bulk length")]
    {
        let mut client = server.connect();
        client.send(input);
        assert_eq!(client.reply(), format!("-ERR Protocol error: {wanted}"));
        assert!(client.is_closed());
    }
    assert!(start().connect().ask("AUTH secret").starts_with("-ERR AUTH <password> called without any password"));
}

#[test]
fn a_bad_request_is_answered_and_ends_the_connection() {
    let server = start();
    let mut client = server.connect();
    client.send(b"SET a 1\r\n*1\r\n$3\r\nGET\r\n*x\r\nSET a 2\r\n");
    assert_eq!(client.reply(), "+OK");
    assert_eq!(client.reply(), "-ERR wrong number of arguments for 'get' command");
    assert_eq!(client.reply(), "-ERR Protocol error: invalid multibulk length");
    assert!(client.is_closed());
    assert_eq!(server.connect().ask("GET a"), "1", "nothing behind it is done");
}

#[test]
fn quit_answers_and_closes() {
    let server = start();
    let mut client = server.connect();
    client.send(b"SET a 1\r\nQUIT\r\nSET a 2\r\n");
    assert_eq!((client.reply(), client.reply()), ("+OK".into(), "+OK".into()));
    assert!(client.is_closed());
    assert_eq!(server.connect().ask("GET a"), "1");
}

#[test]
fn a_half_closed_client_is_answered() {
    let server = start();
    let mut client = server.connect();
    client.send(b"SET a 1\r\nGET a\r\n");
    client.stream.shutdown(std::net::Shutdown::Write).unwrap();
    assert_eq!((client.reply(), client.reply()), ("+OK".into(), "1".into()));
    assert!(client.is_closed());
}

#[test]
fn the_number_of_connections_is_limited() {
    let server = start_with(Options::default().max_clients(2));
    let (mut one, mut two) = (server.connect(), server.connect());
    assert_eq!((one.ask("PING"), two.ask("PING")), ("+PONG".into(), "+PONG".into()));
    let mut three = server.connect();
    assert_eq!(three.reply(), "-ERR max number of clients reached");
    assert!(three.is_closed());
    assert_eq!(one.ask("QUIT"), "+OK");
    assert!(one.is_closed());
    // Until the server has noticed the end.
    loop {
        let mut next = server.connect();
        next.send(b"PING\r\n");
        if next.try_reply().is_some_and(|reply| reply == "+PONG") {
            break;
        }
    }
}

#[test]
fn connections_are_listed_named_and_killed() {
    let server = start();
    let (mut one, mut two) = (server.connect(), server.connect());
    check(
        &mut one,
        "CLIENT ID => :1
        CLIENT GETNAME => nil
        CLIENT SETNAME a_b => +OK
        CLIENT SETINFO LIB-NAME redis-x => +OK
        CLIENT SETINFO LIB-VER 1.2 => +OK
        CLIENT SETINFO FOO 1 => -ERR Unrecognized option 'FOO'
        CLIENT NO-EVICT on => +OK
        CLIENT NO-TOUCH x => -ERR syntax error
        CLIENT TRACKING ON => -ERR unknown subcommand 'TRACKING'. Try CLIENT HELP.
        CLIENT GETNAME x => -ERR wrong number of arguments for 'client|getname' command",
    );
    let bad = one.ask_words(&["CLIENT", "SETNAME", "a b"]);
    assert_eq!(bad, "-ERR Client names cannot contain spaces, newlines or special characters.");
    assert_eq!(two.ask("PING"), "+PONG");
    let list = one.ask("CLIENT LIST");
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 2, "{list}");
    assert!(lines[0].starts_with("id=1 addr=127.0.0.1:") && lines[0].contains(" name=a_b "), "{list}");
    assert!(lines[0].contains("lib-name=redis-x lib-ver=1.2"), "{list}");
    assert!(lines[1].contains("cmd=ping "), "{list}");
    assert_eq!(one.ask("CLIENT LIST ID 2").lines().count(), 1);
    assert_eq!(one.ask("CLIENT LIST TYPE pubsub"), "");
    assert!(one.ask("CLIENT INFO").starts_with("id=1 "));
    check(
        &mut one,
        "CLIENT KILL 1.2.3.4:5 => -ERR No such client
        CLIENT KILL ID 99 => :0
        CLIENT KILL ID 0 => -ERR client-id should be greater than 0
        CLIENT KILL TYPE pubsub => :0
        CLIENT KILL ID 2 => :1",
    );
    assert!(two.is_closed());
    assert_eq!(one.ask("CLIENT KILL ID 1 SKIPME yes"), ":0");
    assert_eq!(one.ask("CLIENT KILL TYPE normal SKIPME no"), ":1");
    assert!(one.is_closed());
}

#[test]
fn replies_can_be_left_out() {
    let server = start();
    let mut client = server.connect();
    let lines = ["CLIENT REPLY OFF", "SET a 1", "NOSUCH", "CLIENT REPLY ON", "GET a", "CLIENT REPLY SKIP", "GET a", "ECHO end"];
    let bytes: Vec<u8> = lines.iter().flat_map(|line| command(&line.split(' ').collect::<Vec<_>>())).collect();
    client.send(&bytes);
    assert_eq!([client.reply(), client.reply(), client.reply()], ["+OK", "1", "end"]);
    assert!(client.ask("CLIENT REPLY MAYBE").starts_with("-ERR syntax error"));
}

#[test]
fn the_server_tells_of_itself() {
    let server = start();
    let mut client = server.connect();
    check(
        &mut client,
        "ECHO a => a
        PING a => a
        SELECT 0 => +OK
        SELECT 1 => -ERR DB index is out of range
        ROLE => [master, :0, []]
        WAIT 0 100 => :0
        WAITAOF 1 0 0 => [:1, :0]
        WAITAOF 2 0 0 => -ERR value is out of range
        SAVE => +OK
        SCRIPT FLUSH => +OK
        FUNCTION FLUSH SYNC => +OK
        CLUSTER NODES => -ERR This instance has cluster support disabled
        DEBUG SLEEP 1 => -ERR unknown command 'DEBUG', with args beginning with: 'SLEEP' '1'
        SHUTDOWN ABORT => -ERR No shutdown in progress.
        SET n 12 => +OK
        OBJECT ENCODING n => int
        OBJECT REFCOUNT n => :1
        OBJECT IDLETIME nothing => nil
        MEMORY USAGE n => :31
        MEMORY USAGE nothing => nil
        LATENCY LATEST => []
        SLOWLOG RESET => +OK
        SLOWLOG LEN => :0
        CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 2 => +OK
        GET n => 12
        SLOWLOG LEN => :1
        SLOWLOG LEN => :2
        SLOWLOG LEN => :2
        CONFIG SET slowlog-log-slower-than -1 timeout 5 => +OK
        CONFIG GET timeout slowlog-log* => [slowlog-log-slower-than, -1, timeout, 5]
        CONFIG SET timeout 6 port 1 => -ERR CONFIG SET failed (possibly related to argument 'port') - can't set immutable config
        CONFIG SET timeout 6 nosuch 1 => -ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'
        CONFIG GET timeout => [timeout, 5]
        COMMAND GETKEYS MSET a 1 b 2 => [a, b]
        COMMAND GETKEYS PING => -ERR The command has no key arguments
        COMMAND LIST FILTERBY PATTERN incr* => [incr, incrby, incrbyfloat]",
    );
    assert!(client.ask("SHUTDOWN NOSAVE").starts_with("-ERR this server never ends without saving"));
    let info = client.ask("INFO");
    for wanted in ["redis_version:7.4.0", "connected_clients:1", "role:master", "cluster_enabled:0", "db0:keys=1,", "failed:no"] {
        assert!(info.contains(wanted), "{wanted}: {info}");
    }
    assert_eq!(client.ask("INFO cluster"), "# Cluster\r\ncluster_enabled:0\r\n");
    let slow = client.ask("SLOWLOG GET");
    assert!(slow.contains("[CONFIG, SET, slowlog-log-slower-than, -1, timeout, 5]"), "{slow}");
    assert!(slow.contains("[SLOWLOG, LEN]") && !slow.contains("[GET, n]"), "{slow}");
    let count: usize = client.ask("COMMAND COUNT")[1..].parse().unwrap();
    assert!(client.ask("COMMAND").matches("@slow").count() + client.ask("COMMAND").matches("@fast").count() >= count);
}

#[test]
fn shutdown_ends_the_server_and_closes_the_store() {
    let server = start();
    let mut client = server.connect();
    client.send(b"SET a 1\r\nSHUTDOWN\r\n");
    assert_eq!(client.reply(), "+OK");
    assert!(client.is_closed());
    let engine = server.engine.clone();
    assert_eq!(server.stop().unwrap().cut, 0);
    assert!(matches!(engine.put("x", "1"), Err(kv_engine::Error::Closed)));
}

#[test]
fn an_open_address_without_a_password_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let engine = kv_engine::Options::in_dir(dir.path()).open().unwrap();
    let open = || Options::default().listen([([0, 0, 0, 0], 0).into()]);
    let refused = kv_server::Server::start(engine.clone(), open()).err().unwrap();
    assert!(matches!(refused, kv_server::Error::Unprotected { .. }), "{refused}");
    assert!(kv_server::Server::start(engine, open().password("secret")).is_ok());
}

#[test]
fn a_socket_in_the_file_system_is_served_and_removed() {
    use std::io::{Read, Write};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixStream;

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kv.sock");
    // One that nobody listens on is replaced, a file is not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let server = start_with(Options::default().unix_socket(&path));
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(b"SET a 1\r\n").unwrap();
    let mut ok = [0; 5];
    client.read_exact(&mut ok).unwrap();
    assert_eq!(&ok, b"+OK\r\n");
    assert!(server.connect().ask("CLIENT LIST").contains(&format!(" addr={}:0 ", path.display())));
    let engine = kv_engine::Options::in_dir(dir.path()).open().unwrap();
    let second = kv_server::Server::start(engine.clone(), Options::default().listen([]).unix_socket(&path));
    assert!(matches!(second.err(), Some(kv_server::Error::Listen { .. })), "another server has it");
    server.stop().unwrap();
    assert!(!path.exists());
    std::fs::write(&path, "a file").unwrap();
    assert!(kv_server::Server::start(engine, Options::default().listen([]).unix_socket(&path)).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"a file");
}

#[test]
fn a_silent_connection_ends() {
    let server = start();
    let mut silent = server.connect();
    assert_eq!(silent.ask("CONFIG SET timeout 1"), "+OK");
    assert!(silent.is_closed());
    assert_eq!(server.connect().ask("PING"), "+PONG");
}

#[test]
fn a_client_that_does_not_read_is_not_served_further_and_harms_no_other() {
    let server = start();
    let (mut slow, mut other) = (server.connect(), server.connect());
    let value = "x".repeat(1 << 20);
    assert_eq!(slow.ask_words(&["SET", "long", &value]), "+OK");
    let lines = "GET long\r\nINCR n\r\n".repeat(500);
    slow.send(lines.as_bytes());
    // The other one sees how far the slow one came, until it comes no further.
    let mut last = String::new();
    loop {
        let now = other.ask("GET n");
        if now == last && now != "nil" {
            break;
        }
        last = now;
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    assert!(last.parse::<u64>().unwrap() < 200, "{last}");
    for n in 1..=500 {
        assert_eq!(slow.reply().len(), value.len());
        assert_eq!(slow.reply(), format!(":{n}"));
    }
}

//! Broken, slow and hostile clients: each harms itself only. The long form is the rung `bad-clients` of
//! `scripts/dev/served`, which watches a server process.
#![allow(clippy::unwrap_used, missing_docs)]

mod support;

use kv_server::Options;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use support::{Image, Random, Raw, Reply, Running, SimDisk, command, in_memory, mutated, read_requests, serve, start_in_memory};

/// Memory and open files are those of the process, so one test runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Memory of this process that is in use, in bytes.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn connect(server: &Running) -> TcpStream {
    let stream = TcpStream::connect(server.address).unwrap();
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    stream
}

/// Checks that the server answers another client, and what that one wrote.
fn goes_on(server: &Running) {
    let mut client = server.connect();
    assert_eq!(client.pipeline("SET alive 1\nGET alive\nDEL alive"), ["+OK", "1", ":1"]);
}

/// Returns when all connections but these have ended.
fn has_connections(server: &Running, count: usize) {
    let mut client = server.connect();
    while client.ask("CLIENT LIST").lines().count() != count + 1 {
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn changed_streams_get_the_replies_that_they_asked_for() {
    let _alone = alone();
    let server = start_in_memory();
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    let (mut commands, mut errors) = (0, 0);
    for number in 0..3000 {
        let stream = mutated(&mut |n| random.below(n));
        let requests = read_requests(&stream);
        let shown = || format!("stream {number}: {}", stream.escape_ascii());
        let mut client = Raw::tcp(server.address);
        client.send(&stream);
        client.sends_no_more();
        let replies: Vec<Reply> = std::iter::from_fn(|| client.reply()).collect();
        assert_eq!(replies.len(), requests.commands.len() + usize::from(requests.is_bad), "{}", shown());
        for (words, reply) in requests.commands.iter().zip(&replies) {
            if words.len() == 2 && words[0].eq_ignore_ascii_case(b"ECHO") && reply.head != b"+QUEUED\r\n" {
                assert_eq!(reply.bulk, [&words[1][..], b"\r\n"].concat(), "{}", shown());
            }
        }
        if requests.is_bad {
            assert!(replies.last().unwrap().head.starts_with(b"-ERR Protocol error"), "{}", shown());
        }
        commands += requests.commands.len();
        errors += usize::from(requests.is_bad);
    }
    assert!(commands > 3000 && errors > 500, "{commands} commands, {errors} errors");
    goes_on(&server);
}

#[test]
fn slow_clients_are_served_byte_by_byte() {
    let _alone = alone();
    let server = start_in_memory();
    let bytes = command(&["SET", "slow", "value"]);
    let mut clients: Vec<TcpStream> = (0..100).map(|_| connect(&server)).collect();
    for byte in &bytes {
        clients.iter_mut().for_each(|client| client.write_all(&[*byte]).unwrap());
        goes_on(&server);
    }
    for client in &mut clients {
        let mut reply = [0; 5];
        client.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"+OK\r\n");
    }
}

#[test]
fn a_client_that_sends_no_more_gets_all_its_replies() {
    let _alone = alone();
    let server = start_in_memory();
    let mut client = connect(&server);
    client.write_all(&b"INCR n\r\nGET n\r\n".repeat(500)).unwrap();
    client.write_all(b"*2\r\n$3\r\nGET").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut replies = String::new();
    client.read_to_string(&mut replies).unwrap();
    let wanted: String = (1..=500).map(|n: u32| format!(":{n}\r\n${}\r\n{n}\r\n", n.to_string().len())).collect();
    assert_eq!(replies, wanted);
}

#[test]
fn a_reset_in_the_middle_ends_the_connection_and_nothing_else() {
    let _alone = alone();
    let server = start_in_memory();
    for _ in 0..200 {
        let mut client = connect(&server);
        client.write_all(&[&b"INCR n\r\n".repeat(50)[..], b"*2\r\n$3\r\nGET\r\n$100\r\nabc"].concat()).unwrap();
        // A connection that is closed with unread replies is reset.
        client.peek(&mut [0]).unwrap();
    }
    has_connections(&server, 0);
    goes_on(&server);
    // Each connection had a reply, so its first command was executed, and no command was executed twice.
    let count: u64 = server.connect().ask("GET n").parse().unwrap();
    assert!((200..=200 * 50).contains(&count), "{count}");
}

#[test]
fn an_idle_connection_takes_at_most_12_kib() {
    const CLIENTS: usize = 900;
    let _alone = alone();
    let server = start_in_memory();
    goes_on(&server);
    let before = resident();
    let mut clients: Vec<TcpStream> = (0..CLIENTS).map(|_| connect(&server)).collect();
    for client in &mut clients {
        client.write_all(b"SET x 1\r\n").unwrap();
    }
    for client in &mut clients {
        client.read_exact(&mut [0; 5]).unwrap();
    }
    let each = resident().saturating_sub(before) / CLIENTS as u64;
    assert!(each <= 12 << 10, "{each} B");
    assert_eq!(server.connect().ask("CLIENT LIST").lines().count(), CLIENTS + 1);
}

#[test]
fn a_client_that_reads_nothing_takes_little_memory() {
    let _alone = alone();
    let server = start_in_memory();
    server.connect().ask_words(&["SET", "long", &"x".repeat(1 << 20)]);
    goes_on(&server);
    let before = resident();
    let mut client = connect(&server);
    client.write_all(&b"GET long\r\n".repeat(200)).unwrap();
    client.peek(&mut [0]).unwrap();
    for _ in 0..50 {
        goes_on(&server);
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 16 << 20, "{grown} B");
    // It gets everything when it reads.
    let mut bytes = vec![0; 1 << 16];
    let mut left = 200 * ((1 << 20) + "$1048576\r\n\r\n".len());
    while left > 0 {
        left -= client.read(&mut bytes).unwrap();
    }
}

#[test]
fn a_line_without_an_end_is_cut_off_early() {
    const MOST: usize = 64 << 20;
    let _alone = alone();
    let server = start_in_memory();
    goes_on(&server);
    let before = resident();
    let mut client = connect(&server);
    let piece = vec![b'a'; 1 << 16];
    let mut sent = 0;
    while sent < MOST {
        match client.write(&piece) {
            Ok(bytes) => sent += bytes,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!(sent < MOST, "all of it was taken");
    assert!(resident().saturating_sub(before) < 16 << 20);
    has_connections(&server, 0);
    goes_on(&server);
}

#[test]
fn connections_that_come_and_go_leave_nothing() {
    let _alone = alone();
    let server = start_in_memory();
    let churn = |count: usize| {
        for number in 0..count {
            let mut client = connect(&server);
            if number % 2 == 0 {
                client.write_all(b"WATCH a b\r\nMULTI\r\nSET a 1\r\nPING").unwrap();
                client.read_exact(&mut [0; 5]).unwrap();
            }
        }
        has_connections(&server, 0);
    };
    churn(500);
    let (files, memory) = (open_files(), resident());
    churn(3000);
    // The connection that has just looked may still be closing, each time.
    let files_after = open_files();
    assert!(files_after <= files + 1, "{files} files were open, and now {files_after}");
    let grown = resident().saturating_sub(memory);
    assert!(grown < 4 << 20, "{grown} B");
    let info = server.connect().ask("INFO");
    assert!(info.contains("keys_watched:0"), "{info}");
}

/// Connects clients, lets them do something, and checks what the server holds for each, beside an idle connection.
/// They must stay, because later ones would use the memory that they leave.
#[must_use]
fn takes_at_most_64_kib(server: &Running, clients: u64, work: impl FnOnce(&mut [TcpStream])) -> Vec<TcpStream> {
    let before = resident();
    let mut connected: Vec<TcpStream> = (0..clients).map(|_| connect(server)).collect();
    work(&mut connected);
    assert_eq!(server.connect().ask("AUTH secret"), "+OK", "others are served");
    let each = resident().saturating_sub(before) / clients;
    assert!(each <= (64 + 12) << 10, "{each} B for each of {clients} clients");
    connected
}

#[test]
fn a_client_without_the_password_takes_at_most_64_kib() {
    let _alone = alone();
    let server = serve(in_memory(&SimDisk::new(&Image::new(), 1)), Options::default().password("secret"));
    // An unfinished command, in one piece and in many.
    let long = [b"*2\r\n$4\r\nAUTH\r\n$16000\r\n".to_vec(), vec![b'x'; 15_000]].concat();
    let _connected = [long.len(), 700].map(|piece| {
        takes_at_most_64_kib(&server, 300, |clients| {
            clients.iter_mut().for_each(|client| long.chunks(piece).for_each(|piece| client.write_all(piece).unwrap()));
            std::thread::sleep(Duration::from_millis(300));
        })
    });
    // Replies that are not read, and requests behind them, as many as the server takes.
    let many = b"NOSUCH a b c d\r\n".repeat(4096);
    let _connected = takes_at_most_64_kib(&server, 30, |clients| {
        clients.iter().for_each(|client| client.set_nonblocking(true).unwrap());
        let mut quiet = 0;
        while quiet < 5 {
            let sent: usize = clients.iter_mut().map(|client| client.write(&many).unwrap_or(0)).sum();
            quiet = if sent == 0 { quiet + 1 } else { 0 };
            std::thread::sleep(Duration::from_millis(if sent == 0 { 50 } else { 1 }));
        }
    });
    let two_words = [b"*3\r\n".to_vec(), command(&[vec![b'x'; 16_000]])[4..].repeat(2), b"$16000\r\n".to_vec()].concat();
    for request in [&b"*11\r\n"[..], b"*1\r\n$16385\r\n", &two_words] {
        let mut client = Raw::tcp(server.address);
        client.send(request);
        let refused = client.reply().map(|reply| String::from_utf8(reply.head).unwrap());
        assert!(refused.as_ref().is_some_and(|text| text.starts_with("-ERR Protocol error")), "{refused:?}");
        assert_eq!(client.reply(), None);
    }
}

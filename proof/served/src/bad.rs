//! The rung `bad-clients`: broken, slow and hostile clients, over TCP. Each may harm itself only. The parts:
//!
//! 1. 10,000 idle connections: at most 12 KiB of memory each.
//! 2. Streams of commands with changed bytes. A second reader of requests says which commands are in them. There must
//!    be one reply to each of these, and none beside. `ECHO` must return its own word.
//! 3. Clients that send byte by byte, that send no more and still read, and that reset the connection.
//! 4. A client that asks for 1 GB and reads nothing; one that sends 1 GB without a line break.
//! 5. 100,000 connections that come and go: no file and no memory stays.
//! 6. Clients without the password: at most 64 KiB each, beside what an idle connection takes.
//!
//! After each part the same process must answer, with no word of a panic on its standard error.

use crate::server::{Program, Server};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use socket2::{Domain, SockAddr, Socket, Type};
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

// The same two files as the server's own tests.
#[path = "../../../crates/kv_server/tests/support/requests.rs"]
#[allow(unreachable_pub)]
mod requests;
#[path = "../../../crates/kv_server/tests/support/streams.rs"]
#[allow(unreachable_pub)]
mod streams;

const PATIENCE: Duration = Duration::from_secs(60);
const THREADS: u64 = 4;
/// Memory that the server may grow by, where it may not grow with the number of clients.
const SLACK: u64 = 32 << 20;
const IDLE: usize = 10_000;
const IDLE_BYTES: u64 = 12 << 10;
const COMING_AND_GOING: u64 = 100_000;
const UNKNOWN: usize = 500;
const UNKNOWN_BYTES: u64 = 64 << 10;

pub(crate) fn run(program: &Program, streams: u64, seed: u64) -> Result<u64> {
    let files = 2 * IDLE as u64;
    let limit = getrlimit(Resource::Nofile);
    let files = limit.maximum.map_or(files, |maximum| maximum.min(files));
    setrlimit(Resource::Nofile, Rlimit { current: Some(files), maximum: limit.maximum })?;
    let dir = tempfile::tempdir()?;
    let (server, address) = program.start_tcp(dir.path(), &["--max-clients".as_ref(), "10100".as_ref()])?;
    let mut failed = 0;
    let mut part = |name: &str, done: Result<String>| match done.and_then(|text| goes_on(&server, address).map(|()| text)) {
        Ok(text) => println!("bad-clients: {name}: {text}"),
        Err(error) => {
            failed += 1;
            println!("bad-clients: {name}: FAILED: {error:#}");
        }
    };
    // First, while the server has no memory left over from other parts.
    part("idle", idle(&server, address));
    part("changed streams", changed(&server, address, streams, seed));
    part("byte by byte", slow(address));
    part("no more to send", half_closed(address));
    part("resets", resets(&server, address));
    part("reads nothing", reads_nothing(&server, address));
    part("no line break", no_line_break(&server, address));
    part("come and go", come_and_go(&server, address));
    drop(server);
    let secret = dir.path().join("secret");
    std::fs::write(&secret, "secret")?;
    let (server, address) = program.start_tcp(dir.path(), &["--password-file".as_ref(), secret.as_ref()])?;
    match unknown(&server, address) {
        Ok(text) => println!("bad-clients: without the password: {text}"),
        Err(error) => {
            failed += 1;
            println!("bad-clients: without the password: FAILED: {error:#}");
        }
    }
    Ok(failed)
}

fn connect(address: SocketAddr) -> Result<TcpStream> {
    let stream = TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Connects from any of the addresses of this machine, so that connections that have ended do not use up the ports.
fn connect_from(random: &mut fastrand::Rng, address: SocketAddr) -> Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    let from = Ipv4Addr::new(127, random.u8(1..255), random.u8(..), random.u8(1..255));
    socket.bind(&SockAddr::from(SocketAddr::from((from, 0))))?;
    socket.connect(&address.into())?;
    let stream = TcpStream::from(socket);
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

/// Another client is answered, and the process has not panicked.
fn goes_on(server: &Server, address: SocketAddr) -> Result<()> {
    let mut client = connect(address)?;
    client.write_all(b"SET alive 1\r\nGET alive\r\nDEL alive\r\n")?;
    let mut replies = [0; 16];
    client.read_exact(&mut replies).context("another client is not answered")?;
    ensure!(&replies == b"+OK\r\n$1\r\n1\r\n:1\r\n", "another client is answered {:?}", replies.escape_ascii().to_string());
    let log = server.log()?;
    ensure!(!log.contains("panicked"), "the server has panicked: {log}");
    Ok(())
}

/// How many whole replies begin the bytes; `None` if they do not end with a whole one. Each is passed to `see`.
fn replies(bytes: &[u8], see: &mut impl FnMut(&[u8])) -> Option<usize> {
    let (mut at, mut count) = (0, 0);
    while at < bytes.len() {
        let end = reply_end(bytes, at)?;
        see(&bytes[at..end]);
        (at, count) = (end, count + 1);
    }
    Some(count)
}

fn reply_end(bytes: &[u8], at: usize) -> Option<usize> {
    let line = at + bytes.get(at..)?.windows(2).position(|pair| pair == b"\r\n")?;
    let number = || std::str::from_utf8(&bytes[at + 1..line]).ok()?.parse::<i64>().ok();
    let behind = line + 2;
    match bytes[at] {
        b'+' | b'-' | b':' => Some(behind),
        b'$' => match number()? {
            -1 => Some(behind),
            len => {
                let end = behind + usize::try_from(len).ok()?;
                (bytes.get(end..end + 2)? == b"\r\n").then_some(end + 2)
            }
        },
        b'*' => (0..number()?.max(0)).try_fold(behind, |at, _| reply_end(bytes, at)),
        _ => None,
    }
}

fn changed(server: &Server, address: SocketAddr, count: u64, seed: u64) -> Result<String> {
    // The pools of the server are full after some.
    let (mut before, mut most, commands, errors) = (0, 0, AtomicU64::new(0), AtomicU64::new(0));
    for begin in (0..count).step_by(20_000) {
        let end = count.min(begin + 20_000);
        thread::scope(|scope| -> Result<()> {
            let work: Vec<_> = (0..THREADS)
                .map(|thread| {
                    let (commands, errors) = (&commands, &errors);
                    scope.spawn(move || {
                        (begin..end).filter(|number| number % THREADS == thread).try_for_each(|number| {
                            let one = one_stream(address, seed, number, commands, errors);
                            one.with_context(|| format!("seed {seed}, stream {number}"))
                        })
                    })
                })
                .collect();
            work.into_iter().try_for_each(|thread| thread.join().expect("no panic"))
        })?;
        goes_on(server, address)?;
        let resident = server.resident()?;
        if begin == 0 {
            before = resident;
        }
        most = most.max(resident);
        ensure!(most < before + SLACK, "memory has grown from {before} B to {most} B");
    }
    let (commands, errors) = (commands.into_inner(), errors.into_inner());
    ensure!(commands > count && errors > count / 10, "{commands} commands and {errors} errors prove nothing");
    Ok(format!("{count} streams with {commands} commands and {errors} errors; {most} B of memory at most"))
}

fn one_stream(address: SocketAddr, seed: u64, number: u64, commands: &AtomicU64, errors: &AtomicU64) -> Result<()> {
    let mut random = fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number);
    let stream = streams::mutated(&mut |n| random.u64(..n));
    let requests = requests::read(&stream);
    let mut client = connect_from(&mut random, address)?;
    client.write_all(&stream)?;
    client.shutdown(Shutdown::Write)?;
    let mut bytes = Vec::new();
    client.read_to_end(&mut bytes).with_context(|| stream.escape_ascii().to_string())?;
    let mut number = 0;
    let mut wrong = None;
    let found = replies(&bytes, &mut |reply| {
        if let Some([echo, word]) = requests.commands.get(number).map(Vec::as_slice)
            && echo.eq_ignore_ascii_case(b"ECHO")
            && reply != b"+QUEUED\r\n"
            && reply != [format!("${}\r\n", word.len()).as_bytes(), word, b"\r\n"].concat()
        {
            wrong = Some(number);
        }
        number += 1;
    });
    let wanted = requests.commands.len() + usize::from(requests.is_bad);
    ensure!(
        found == Some(wanted) && wrong.is_none(),
        "{found:?} replies instead of {wanted}, wrong: {wrong:?}\nstream: {}\nreplies: {}",
        stream.escape_ascii(),
        bytes.escape_ascii()
    );
    commands.fetch_add(requests.commands.len() as u64, Ordering::Relaxed);
    errors.fetch_add(u64::from(requests.is_bad), Ordering::Relaxed);
    Ok(())
}

fn slow(address: SocketAddr) -> Result<String> {
    const CLIENTS: usize = 1000;
    let mut clients = (0..CLIENTS).map(|_| connect(address)).collect::<Result<Vec<_>>>()?;
    for byte in b"*3\r\n$3\r\nSET\r\n$4\r\nslow\r\n$1\r\n1\r\n" {
        clients.iter_mut().try_for_each(|client| client.write_all(&[*byte]))?;
        let mut other = connect(address)?;
        other.write_all(b"PING\r\n")?;
        other.read_exact(&mut [0; 7])?;
    }
    for client in &mut clients {
        let mut reply = [0; 5];
        client.read_exact(&mut reply)?;
        ensure!(&reply == b"+OK\r\n", "{:?}", reply.escape_ascii().to_string());
    }
    Ok(format!("{CLIENTS} clients"))
}

fn half_closed(address: SocketAddr) -> Result<String> {
    const COMMANDS: usize = 50_000;
    let mut client = connect(address)?;
    let mut other_end = client.try_clone()?;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        client.read_to_end(&mut bytes).map(|_| bytes)
    });
    other_end.write_all(&b"INCR half\r\n".repeat(COMMANDS))?;
    other_end.write_all(b"*2\r\n$3\r\nGET")?;
    other_end.shutdown(Shutdown::Write)?;
    let bytes = reader.join().expect("no panic")?;
    let wanted: String = (1..=COMMANDS).map(|n| format!(":{n}\r\n")).collect();
    ensure!(bytes == wanted.as_bytes(), "{} B of replies instead of {}", bytes.len(), wanted.len());
    Ok(format!("{COMMANDS} replies after the end of the requests"))
}

fn resets(server: &Server, address: SocketAddr) -> Result<String> {
    const RESETS: usize = 20_000;
    let before = server.resident()?;
    for number in 0..RESETS {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.connect(&address.into())?;
        socket.set_linger(Some(Duration::ZERO))?;
        let mut client = TcpStream::from(socket);
        client.write_all(
            &b"INCR reset\r\nMULTI\r\nSET a 1\r\nGET a\r\nEXEC\r\n*2\r\n$3\r\nGET\r\n$100\r\nabc"[..10 + number % 50],
        )?;
    }
    has_connections(address, 0)?;
    let grown = server.resident()?.saturating_sub(before);
    ensure!(grown < SLACK, "memory has grown by {grown} B");
    Ok(format!("{RESETS} resets"))
}

/// Waits until there are no connections but these and the one that asks.
fn has_connections(address: SocketAddr, count: usize) -> Result<()> {
    let mut client = connect(address)?;
    let began = std::time::Instant::now();
    let mut bytes = [0; 1 << 14];
    loop {
        client.write_all(b"INFO clients\r\n")?;
        let read = client.read(&mut bytes)?;
        let info = String::from_utf8_lossy(&bytes[..read]).into_owned();
        if info.contains(&format!("connected_clients:{}\r\n", count + 1)) {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "there are other connections: {info}");
        thread::sleep(Duration::from_millis(5));
    }
}

fn idle(server: &Server, address: SocketAddr) -> Result<String> {
    has_connections(address, 0)?;
    let before = server.resident()?;
    let mut clients = Vec::new();
    for _ in 0..IDLE {
        clients.push(connect(address)?);
    }
    for client in &mut clients {
        client.write_all(b"SET idle 1\r\n")?;
        client.read_exact(&mut [0; 5])?;
    }
    has_connections(address, clients.len())?;
    let each = server.resident()?.saturating_sub(before) / clients.len() as u64;
    ensure!(each <= IDLE_BYTES, "{each} B each");
    Ok(format!("{} connections, {each} B each", clients.len()))
}

fn reads_nothing(server: &Server, address: SocketAddr) -> Result<String> {
    const REPLIES: usize = 1000;
    let mut client = connect(address)?;
    client.write_all(&[b"*3\r\n$3\r\nSET\r\n$4\r\nlong\r\n$1048576\r\n", &vec![b'x'; 1 << 20][..], b"\r\n"].concat())?;
    client.read_exact(&mut [0; 5])?;
    let before = server.resident()?;
    client.write_all(&b"GET long\r\n".repeat(REPLIES))?;
    client.peek(&mut [0])?;
    for _ in 0..2000 {
        goes_on(server, address)?;
    }
    let grown = server.resident()?.saturating_sub(before);
    ensure!(grown < SLACK, "memory has grown by {grown} B");
    Ok(format!("{REPLIES} MiB are asked for and not read, and memory grows by {grown} B"))
}

fn no_line_break(server: &Server, address: SocketAddr) -> Result<String> {
    const MOST: usize = 1 << 30;
    let before = server.resident()?;
    let mut client = connect(address)?;
    let piece = vec![b'a'; 1 << 16];
    let mut sent = 0;
    while sent < MOST {
        match client.write(&piece) {
            Ok(bytes) => sent += bytes,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => break,
            Err(error) => bail!("{error}"),
        }
    }
    ensure!(sent < 64 << 20, "{sent} B without a line break were taken");
    let grown = server.resident()?.saturating_sub(before);
    ensure!(grown < SLACK, "memory has grown by {grown} B");
    Ok(format!("closed after {sent} B were sent"))
}

fn come_and_go(server: &Server, address: SocketAddr) -> Result<String> {
    let mut random = fastrand::Rng::with_seed(1);
    let mut churn = |count: u64| -> Result<(usize, u64)> {
        for number in 0..count {
            let mut client = connect_from(&mut random, address)?;
            if number % 2 == 0 {
                client.write_all(b"WATCH a b\r\nMULTI\r\nSET a 1\r\nPING")?;
                client.read_exact(&mut [0; 5])?;
            }
        }
        has_connections(address, 0)?;
        Ok((server.open_files()?, server.resident()?))
    };
    let (files, memory) = churn(5000)?;
    let (files_after, memory_after) = churn(COMING_AND_GOING)?;
    // A snapshot that is being made has a few files open.
    ensure!(files_after < files + 8, "{files} files were open, and now {files_after}");
    let grown = memory_after.saturating_sub(memory);
    ensure!(grown < 8 << 20, "memory has grown by {grown} B");
    Ok(format!("{COMING_AND_GOING} connections; {files_after} files are open, and memory has grown by {grown} B"))
}

fn unknown(server: &Server, address: SocketAddr) -> Result<String> {
    let long = [b"*2\r\n$4\r\nAUTH\r\n$16000\r\n".to_vec(), vec![b'x'; 15_000]].concat();
    let many = b"NOSUCH a b c d\r\n".repeat(20_000);
    // They stay, because later ones would use the memory that they leave.
    let (mut most, mut connected) = (0, Vec::new());
    // An unfinished command, in one piece and in many; replies that are not read, and as many requests as are taken.
    for (attempt, count) in [UNKNOWN, UNKNOWN, UNKNOWN / 10].into_iter().enumerate() {
        let before = server.resident()?;
        let mut clients = (0..count).map(|_| connect(address)).collect::<Result<Vec<_>>>()?;
        match attempt {
            0 => clients.iter_mut().try_for_each(|client| client.write_all(&long))?,
            1 => clients.iter_mut().try_for_each(|client| long.chunks(700).try_for_each(|piece| client.write_all(piece)))?,
            _ => {
                clients.iter().try_for_each(|client| client.set_nonblocking(true))?;
                let mut quiet = 0;
                while quiet < 20 {
                    let sent: usize = clients.iter_mut().map(|client| client.write(&many).unwrap_or(0)).sum();
                    quiet = if sent == 0 { quiet + 1 } else { 0 };
                    thread::sleep(Duration::from_millis(if sent == 0 { 50 } else { 1 }));
                }
            }
        }
        thread::sleep(Duration::from_secs(1));
        let each = server.resident()?.saturating_sub(before) / count as u64;
        ensure!(each <= UNKNOWN_BYTES + IDLE_BYTES, "{each} B each, in attempt {attempt}");
        most = most.max(each);
        connected.push(clients);
    }
    drop(connected);
    let log = server.log()?;
    ensure!(!log.contains("panicked"), "the server has panicked: {log}");
    Ok(format!("{UNKNOWN} clients, {most} B each at most"))
}

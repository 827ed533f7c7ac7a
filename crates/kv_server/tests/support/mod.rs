//! A server on a store of its own, and a small client that reads RESP2 and RESP3.
#![allow(clippy::unwrap_used, dead_code, unused_imports, unreachable_pub, reason = "each test file uses a part of this")]

// The disk whose syncs a test holds is that of the engine's tests.
#[path = "../../../kv_engine/tests/support/gate.rs"]
mod gate;
pub mod odd_commands;
#[path = "../../../kv_engine/tests/support/random.rs"]
mod random;
mod raw;
mod requests;
mod streams;
#[path = "../../../kv_engine/tests/support/wrapped.rs"]
mod wrapped;

pub use gate::Gate;
pub use kv_engine::disk::sim::{Image, SimDisk};
pub use random::Random;
pub use raw::{Raw, Reply};
pub use requests::read as read_requests;
pub use streams::mutated;

use kv_engine::Engine;
use kv_server::{Ended, Handle, Options, Server};
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

/// The errors of a failed sync and of a full disk.
pub const EIO: i32 = 5;
pub const ENOSPC: i32 = 28;

/// No reply takes this long, unless something hangs.
const HANG: Duration = Duration::from_secs(60);

pub struct Running {
    pub engine: Engine,
    pub address: SocketAddr,
    pub handle: Handle,
    pub metrics: Option<SocketAddr>,
    waiter: Option<JoinHandle<kv_server::Result<Ended>>>,
    pub dir: Option<tempfile::TempDir>,
}

/// A server in a new directory.
pub fn start() -> Running {
    start_with(Options::default())
}

pub fn start_with(options: Options) -> Running {
    let dir = tempfile::tempdir().unwrap();
    let engine = kv_engine::Options::in_dir(dir.path()).open().unwrap();
    let mut running = serve(engine, options);
    running.dir = Some(dir);
    running
}

/// A store on a disk in memory.
pub fn in_memory(disk: &SimDisk) -> Engine {
    try_in_memory(disk).unwrap()
}

pub fn try_in_memory(disk: &SimDisk) -> kv_engine::Result<Engine> {
    let options = kv_engine::Options::new("/sim/kv.wal", "/sim/kv.snapshot");
    options.flush_interval(Duration::ZERO).disk(Arc::new(disk.clone())).open()
}

/// A server on a disk in memory, where a sync costs nothing.
pub fn start_in_memory() -> Running {
    serve(in_memory(&SimDisk::new(&Image::new(), 1)), Options::default())
}

/// A server with one worker, on a disk whose syncs the test holds.
pub fn start_gated() -> (Running, Gate) {
    start_gated_with(Options::default())
}

pub fn start_gated_with(options: Options) -> (Running, Gate) {
    let (dir, gate) = (tempfile::tempdir().unwrap(), Gate::default());
    let engine = kv_engine::Options::in_dir(dir.path()).disk(Arc::new(gate.clone())).open().unwrap();
    // The log is created by the first write.
    engine.put("first", "1").unwrap();
    let mut running = serve(engine, options.workers(1));
    running.dir = Some(dir);
    (running, gate)
}

pub fn serve(engine: Engine, options: Options) -> Running {
    let options = options.listen([([127, 0, 0, 1], 0).into()]);
    let server = Server::start(engine.clone(), options).unwrap();
    let (address, handle, metrics) = (server.addresses()[0], server.handle(), server.metrics_address());
    let waiter = Some(std::thread::spawn(move || server.wait()));
    Running { engine, address, handle, metrics, waiter, dir: None }
}

impl Running {
    pub fn connect(&self) -> Client {
        Client::new(self.address)
    }

    /// Returns when all commands that these clients have sent were evaluated.
    pub fn has_evaluated<'a>(&self, clients: impl IntoIterator<Item = &'a mut Client>) {
        let mut other = self.connect();
        for client in clients {
            let own = format!(" addr={} ", client.stream.local_addr().unwrap());
            let count = format!(" tot-cmds={}", client.sent);
            let is_done = |list: String| list.lines().any(|line| line.contains(&own) && line.ends_with(&count));
            while !is_done(other.ask("CLIENT LIST")) {}
        }
    }

    /// Waits until the server has ended by itself, and returns how.
    pub fn ended(mut self) -> kv_server::Result<Ended> {
        self.waiter.take().unwrap().join().unwrap()
    }

    /// The status of a page for operators.
    pub fn page(&self, path: &str) -> u16 {
        let mut stream = TcpStream::connect(self.metrics.unwrap()).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut page = String::new();
        stream.read_to_string(&mut page).unwrap();
        page.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Ends the server, and returns how it has ended.
    pub fn stop(mut self) -> kv_server::Result<Ended> {
        self.handle.shut_down();
        self.waiter.take().unwrap().join().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.shut_down();
        if let Some(waiter) = self.waiter.take() {
            let _ = waiter.join();
        }
    }
}

pub struct Client {
    pub stream: TcpStream,
    reader: BufReader<TcpStream>,
    /// Commands that were sent with the methods that count them.
    sent: u64,
}

/// The bytes of a command.
pub fn command<W: AsRef<[u8]>>(words: &[W]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        let word = word.as_ref();
        bytes.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        bytes.extend_from_slice(word);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

impl Client {
    pub fn new(address: SocketAddr) -> Client {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream.set_write_timeout(Some(HANG)).unwrap();
        let reader = BufReader::new(stream.try_clone().unwrap());
        Client { stream, reader, sent: 0 }
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends one command, written as words with blanks between them, and reads its reply.
    pub fn ask(&mut self, words: &str) -> String {
        self.ask_words(&words.split(' ').collect::<Vec<_>>())
    }

    pub fn ask_words<W: AsRef<[u8]>>(&mut self, words: &[W]) -> String {
        self.send(&command(words));
        self.sent += 1;
        self.reply()
    }

    /// Sends commands in one piece, one to a line. Their number.
    pub fn send_lines(&mut self, lines: &str) -> usize {
        let commands: Vec<&str> = lines.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let bytes: Vec<u8> = commands.iter().flat_map(|line| command(&line.split(' ').collect::<Vec<_>>())).collect();
        self.send(&bytes);
        self.sent += commands.len() as u64;
        commands.len()
    }

    /// Sends commands in one piece, one to a line, and reads their replies.
    pub fn pipeline(&mut self, lines: &str) -> Vec<String> {
        let commands = self.send_lines(lines);
        (0..commands).map(|_| self.reply()).collect()
    }

    /// One reply, in short form: `+OK`, `-ERR …`, `:1`, a value as it is, `nil`, `[a, b]`, `{a: b}`, `~[a]`.
    pub fn reply(&mut self) -> String {
        self.try_reply().expect("a reply, and not the end")
    }

    /// `None`: the connection has ended.
    pub fn try_reply(&mut self) -> Option<String> {
        let mut line = Vec::new();
        match self.reader.read_until(b'\n', &mut line) {
            Ok(0) => return None,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return None,
            Err(error) => panic!("no reply: {error}"),
        }
        let line = String::from_utf8(line).unwrap();
        let line = line.strip_suffix("\r\n").unwrap_or_else(|| panic!("ends with CRLF: {line:?}"));
        let (kind, rest) = line.split_at(1);
        let count = || rest.parse::<usize>().unwrap_or_else(|_| panic!("a number: {line:?}"));
        Some(match kind {
            "+" | "-" | ":" | "," | "#" => line.to_string(),
            "_" => "nil".to_string(),
            "$" | "*" if rest == "-1" => "nil".to_string(),
            "$" | "=" => {
                let mut bytes = vec![0; count() + 2];
                self.reader.read_exact(&mut bytes).unwrap();
                assert!(bytes.ends_with(b"\r\n"), "{bytes:?}");
                bytes.truncate(bytes.len() - 2);
                String::from_utf8_lossy(&bytes).into_owned()
            }
            "*" | "~" => {
                let items: Vec<String> = (0..count()).map(|_| self.reply()).collect();
                format!("{}[{}]", if kind == "~" { "~" } else { "" }, items.join(", "))
            }
            "%" => {
                let mut text = String::from("{");
                for n in 0..count() {
                    let (key, value) = (self.reply(), self.reply());
                    write!(text, "{}{key}: {value}", if n == 0 { "" } else { ", " }).unwrap();
                }
                text + "}"
            }
            _ => panic!("an unknown kind of reply: {line:?}"),
        })
    }

    /// Whether nothing was sent so far.
    pub fn has_no_reply(&mut self) -> bool {
        assert!(self.reader.buffer().is_empty());
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        matches!(peeked, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }

    /// Whether the server has closed the connection, with nothing more to read.
    pub fn is_closed(&mut self) -> bool {
        self.try_reply().is_none()
    }
}

/// Checks replies of one connection: each line is `command => reply`.
pub fn check(client: &mut Client, table: &str) {
    for line in table.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (command, wanted) = line.split_once(" =>").unwrap_or_else(|| panic!("no `=>`: {line}"));
        let found = client.ask(command.trim());
        assert_eq!(found.trim_end(), wanted.trim(), "{command}");
    }
}

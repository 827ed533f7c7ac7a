//! `kv_cli serve` as a process, and a small client of the Redis protocol.

use super::Store;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// A server on a free port. Dropping it kills it.
pub struct Served {
    pub child: Child,
    pub address: String,
    /// The line that it began with.
    pub said: String,
    /// What it says on stderr.
    pub log: BufReader<std::process::ChildStderr>,
}

impl Served {
    pub fn start(store: &Store, args: &[&str]) -> Served {
        Served::start_with(store, args, &[])
    }

    /// `before`: options before the word `serve`.
    pub fn start_with(store: &Store, args: &[&str], before: &[&str]) -> Served {
        let mut command = store.process();
        command.args(before).args(["serve", "--listen", "127.0.0.1:0"]).args(args);
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let (mut seen, mut line) = (String::new(), String::new());
        let address = loop {
            line.clear();
            assert!(log.read_line(&mut line).unwrap() > 0, "the server has ended: {seen}");
            seen += &line;
            if let Some((_, rest)) = line.split_once("127.0.0.1:") {
                let port: String = rest.chars().take_while(char::is_ascii_digit).collect();
                break format!("127.0.0.1:{port}");
            }
        };
        Served { child, address, said: line, log }
    }

    pub fn connect(&self) -> Client<TcpStream> {
        let stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Client::new(stream.try_clone().unwrap(), stream)
    }

    pub fn signal(&self, name: &str) {
        let sent = std::process::Command::new("kill").args([&format!("-{name}"), &self.child.id().to_string()]).status();
        assert!(sent.unwrap().success());
    }

    /// Waits for the end. The status, and what else it has said.
    pub fn end(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        let mut rest = String::new();
        self.log.read_to_string(&mut rest).unwrap();
        (status.code(), rest)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends commands, and shows replies as redis-cli shows them to a pipe.
pub struct Client<S> {
    replies: BufReader<S>,
    stream: S,
}

impl<S: Read + Write> Client<S> {
    pub fn new(replies: S, stream: S) -> Client<S> {
        Client { replies: BufReader::new(replies), stream }
    }

    pub fn send(&mut self, command: &str) {
        self.send_words(&command.split(' ').collect::<Vec<_>>());
    }

    pub fn send_words(&mut self, words: &[&str]) {
        let mut request = format!("*{}\r\n", words.len());
        words.iter().for_each(|word| request += &format!("${}\r\n{word}\r\n", word.len()));
        self.stream.write_all(request.as_bytes()).unwrap();
    }

    /// The reply to one command; a missing value is `(nil)`.
    pub fn ask(&mut self, command: &str) -> String {
        self.send(command);
        self.reply().unwrap_or_else(|| panic!("{command}: the connection has ended"))
    }

    /// `None`: the connection has ended.
    pub fn reply(&mut self) -> Option<String> {
        let mut line = String::new();
        self.replies.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let line = line.trim_end();
        let (kind, rest) = line.split_at(1);
        Some(match kind {
            "$" | "*" if rest == "-1" => "(nil)".to_string(),
            "$" => {
                let mut bytes = vec![0; rest.parse::<usize>().unwrap() + 2];
                self.replies.read_exact(&mut bytes).unwrap();
                String::from_utf8(bytes[..bytes.len() - 2].to_vec()).unwrap()
            }
            "*" => {
                let items: Vec<_> = (0..rest.parse().unwrap()).map(|_| self.reply().unwrap()).collect();
                items.join(" ")
            }
            _ => rest.to_string(),
        })
    }
}

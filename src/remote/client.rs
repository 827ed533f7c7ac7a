//! [`Client`]: one connection to a server. [`Target`]: where to connect, and as whom.
//!
//! Steps of connecting:
//!
//! 1. Open the stream; every address of a host is tried.
//! 2. Greet: choose the protocol, give the password, and ask what the server is, in one piece.
//! 3. Refuse a server that is none of `kv_cli serve`. What this program promises about replies rests on it.

use super::address::Address;
use super::reply::{self, Begin, Reply};
use super::tls::Tls;
use super::wire::{Patience, Stream, Trouble, Wire};
use crate::error::{Code, CommandError};
use rustix::net::sockopt;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

const CONNECT_TIME: Duration = Duration::from_secs(5);
/// How long the server may take to greet. Its store is open already.
const GREET_TIME: Duration = Duration::from_secs(10);
/// After this silence the other machine is asked whether it still exists.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_AGAIN: Duration = Duration::from_secs(5);
/// How long sent bytes may stay without a sign that they came.
const UNHEARD_MS: u32 = 30_000;

/// Where to connect, and as whom. It has no `Debug`, because of the password.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: Address,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) tls: Option<Tls>,
}

/// What a server has said of itself.
#[derive(Clone, Debug, Default)]
pub(crate) struct Server {
    pub(crate) store_id: String,
    /// Another one for each start.
    pub(super) run_id: String,
    /// After how many writes it syncs. 1: every OK is durable.
    pub(crate) batch: u64,
}

impl Server {
    fn of(figures: &Figures) -> Option<Server> {
        let word = |name| figures.word(name).map(str::to_string);
        let batch = figures.number("batch_size").filter(|batch| *batch > 0)?;
        Some(Server { store_id: word("kv_store_id")?, run_id: word("run_id").unwrap_or_default(), batch })
    }
}

/// The lines `name:value` of INFO.
#[derive(Clone, Debug, Default)]
pub(crate) struct Figures(HashMap<String, String>);

impl Figures {
    pub(crate) fn read(text: &str) -> Figures {
        let lines = text.lines().filter_map(|line| line.trim_end().split_once(':'));
        Figures(lines.map(|(name, value)| (name.to_string(), value.to_string())).collect())
    }

    pub(crate) fn word(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<u64> {
        self.word(name)?.parse().ok()
    }
}

pub(crate) struct Client {
    wire: Wire,
}

impl Client {
    /// Connects and greets.
    ///
    /// # Errors
    /// The text says what to do. Nothing was asked of the store.
    pub(crate) fn connect(target: &Target, patience: Patience) -> Result<(Client, Server), CommandError> {
        let stream = open(target).map_err(|error| unreachable(&target.address, &error))?;
        let mut client = Client { wire: Wire::new(stream) };
        let mut patience = patience.until(Some(Instant::now() + GREET_TIME));
        let server = client.greet(target, &mut patience)?;
        Ok((client, server))
    }

    fn greet(&mut self, target: &Target, patience: &mut Patience) -> Result<Server, CommandError> {
        let hello: &[&[u8]] = &[b"HELLO", b"3", b"SETNAME", b"kv_cli"];
        match &target.password {
            None => self.send(hello),
            Some(password) => self.send(&[&hello[..2], &[b"AUTH", b"default", &password[..]], &hello[2..]].concat()),
        }
        self.send(&[b"INFO", b"server", b"kv"]);
        let address = &target.address;
        let unanswered = |trouble: Trouble| match trouble {
            Trouble::Interrupted => CommandError::new(Code::Interrupted, "interrupted before the server had answered"),
            Trouble::Lost(cause) => {
                let advice = match target.tls {
                    None => "; if the server wants TLS: --tls",
                    Some(_) if cause.contains("UnknownIssuer") => {
                        "; to name the authority that signed its certificate: --tls-ca FILE"
                    }
                    Some(_) => "",
                };
                let text = format!("{address} was reached, but gave no greeting: {cause}; nothing was done{advice}");
                CommandError::new(Code::Unreachable, text)
            }
            Trouble::TooLate => {
                let text =
                    format!("{address} was reached, but has not answered for {} s; nothing was done", GREET_TIME.as_secs());
                CommandError::new(Code::Unreachable, text)
            }
        };
        let (hello, info) = (self.reply(patience).map_err(unanswered)?, self.reply(patience).map_err(unanswered)?);
        if let Reply::Error(words) = &hello {
            let what = match words.split(' ').next() {
                Some("NOAUTH") if target.password.is_none() => {
                    format!(
                        "the server at {address} wants a password; put it into KV_PASSWORD, or into a file: --password-file FILE"
                    )
                }
                Some("WRONGPASS" | "NOAUTH") => format!("the server at {address} did not take the password: {words}"),
                _ => format!("the server at {address} refused the connection: {words}"),
            };
            return Err(CommandError::new(Code::NotOpened, format!("{what}; nothing was done")));
        }
        Server::of(&Figures::read(info.text().unwrap_or_default())).ok_or_else(|| {
            let text = format!(
                "the server at {address} is not kv_cli serve: its INFO names no store; nothing was done; another Redis server has \
                 its own shell, redis-cli"
            );
            CommandError::new(Code::NotOpened, text)
        })
    }

    /// Adds a request to those that are sent with the next wait for a reply.
    pub(crate) fn send(&mut self, words: &[&[u8]]) {
        reply::write(words, self.wire.output());
    }

    /// The reply to the first request that has none yet.
    pub(crate) fn reply(&mut self, patience: &mut Patience) -> Result<Reply, Trouble> {
        reply::read(&mut self.wire, patience)
    }

    pub(crate) fn call(&mut self, words: &[&[u8]], patience: &mut Patience) -> Result<Reply, Trouble> {
        self.send(words);
        self.reply(patience)
    }

    /// The number of items of a list, which are then read one by one, or a refusal.
    pub(super) fn list(&mut self, patience: &mut Patience) -> Result<Result<usize, String>, Trouble> {
        match reply::begin(&mut self.wire, patience)? {
            Begin::List(count) => Ok(Ok(count)),
            Begin::Whole(Reply::Error(words)) => Ok(Err(words)),
            _ => Err(Trouble::Lost("the reply is not the list that was asked for".into())),
        }
    }

    /// Whether the connection has ended while nothing was awaited.
    pub(super) fn is_over(&mut self) -> bool {
        self.wire.is_over()
    }
}

fn open(target: &Target) -> io::Result<Box<dyn Stream>> {
    match &target.address {
        Address::Unix(path) => {
            let stream = UnixStream::connect(path)?;
            stream.set_nonblocking(true)?;
            Ok(Box::new(stream))
        }
        Address::Tcp(name) => {
            let stream = open_tcp(name)?;
            match &target.tls {
                None => Ok(Box::new(stream)),
                Some(tls) => Ok(Box::new(tls.put_on(stream, target.address.host().unwrap_or_default())?)),
            }
        }
    }
}

fn open_tcp(name: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::new(ErrorKind::NotFound, "the name has no address");
    for address in name.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT_TIME) {
            Err(error) => last = error,
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_nonblocking(true)?;
                // A machine that is gone must not be waited for without end.
                sockopt::set_socket_keepalive(&stream, true)?;
                sockopt::set_tcp_keepidle(&stream, KEEPALIVE)?;
                sockopt::set_tcp_keepintvl(&stream, KEEPALIVE_AGAIN)?;
                sockopt::set_tcp_user_timeout(&stream, UNHEARD_MS)?;
                return Ok(stream);
            }
        }
    }
    Err(last)
}

fn unreachable(address: &Address, error: &io::Error) -> CommandError {
    let advice = match error.kind() {
        ErrorKind::ConnectionRefused | ErrorKind::NotFound => {
            format!("; no server listens there; to start one: {}", address.serve())
        }
        _ => String::new(),
    };
    CommandError::new(Code::Unreachable, format!("cannot connect to {address}: {error}; nothing was done{advice}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_is_read_line_by_line() {
        let figures = Figures::read("# Server\r\nkv_store_id:ab\r\n\r\n# Kv\r\nbatch_size:5\r\nfailed:a: b\r\n");
        let server = Server::of(&figures).expect("a server");
        assert_eq!((&*server.store_id, server.batch), ("ab", 5));
        assert_eq!(figures.word("failed"), Some("a: b"));
        assert!(Server::of(&Figures::read("# Server\r\nredis_version:7.4.0\r\n")).is_none());
    }
}

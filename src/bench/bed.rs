//! [`Bed`]: where a BENCH works. Either a fresh store in the scratch directory, or a server, under a prefix of its own.
//!
//! On a server every key begins with a prefix that no other run has. What was written there is removed at the end, also
//! after Ctrl-C and after an error. The syncs are those of the server in that time, so they include what other clients
//! have asked for.

use super::failure::Failure;
use super::keys::Key;
use crate::remote::{Address, Client, Patience, Remote, Reply, Trouble};
use crate::signals::Flags;
use kv_engine::Engine;
use std::time::Duration;

/// Requests that are sent in one piece while a server is filled.
const PIECE: usize = 200;
/// A server that needs longer to remove the keys keeps them, and the user is told.
const CLEANING: Duration = Duration::from_secs(60);

pub(super) enum Bed<'a> {
    Store(&'a Engine),
    Server { remote: &'a mut Remote, prefix: Vec<u8>, key_bytes: usize },
}

/// What was done so far.
#[derive(Clone, Copy, Default)]
pub(super) struct Counters {
    pub(super) syncs: u64,
    pub(super) sync_total: Duration,
    pub(super) log_bytes: u64,
}

impl Bed<'_> {
    pub(super) fn server(remote: &mut Remote, key_bytes: usize) -> Bed<'_> {
        let prefix = format!("kv-bench:{:016x}:", rand::random::<u64>()).into_bytes();
        Bed::Server { remote, prefix, key_bytes }
    }

    /// Keys of this length, with the prefix before them.
    pub(super) fn key(&self, bytes: usize) -> Key {
        match self {
            Bed::Store(_) => Key::new(bytes),
            Bed::Server { prefix, .. } => Key::behind(prefix, bytes),
        }
    }

    pub(super) fn address(&self) -> Option<String> {
        if let Bed::Server { remote, .. } = self { Some(remote.address().to_string()) } else { None }
    }

    /// Puts this number of keys.
    pub(super) fn fill(&self, keys: u64, bytes: usize, value: &[u8], flags: &'static Flags) -> Result<(), Failure> {
        let mut key = self.key(bytes);
        let numbers = (0..keys).take_while(|_| !flags.interrupted());
        match self {
            Bed::Store(engine) => {
                for n in numbers {
                    engine.put(key.of(n), value)?;
                }
            }
            Bed::Server { .. } => {
                let Worker::Server { client, address, .. } = &mut self.worker(flags)? else { return Ok(()) };
                let mut sent = 0;
                for n in numbers {
                    client.send(&[b"SET", key.of(n), value]);
                    sent += 1;
                    if sent == PIECE {
                        answers(client, std::mem::take(&mut sent), flags, address)?;
                    }
                }
                answers(client, sent, flags, address)?;
            }
        }
        Ok(())
    }

    /// Makes every write durable.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        match self {
            Bed::Store(engine) => Ok(engine.flush().map(drop)?),
            Bed::Server { remote, .. } => remote.flush().map_err(Failure::Server),
        }
    }

    pub(super) fn counters(&mut self) -> Result<Counters, Failure> {
        Ok(match self {
            Bed::Store(engine) => {
                let stats = engine.stats();
                Counters { syncs: stats.syncs, sync_total: stats.sync_total, log_bytes: stats.log_bytes_written }
            }
            Bed::Server { remote, .. } => {
                let figures = remote.figures().map_err(Failure::Server)?;
                let number = |name| figures.number(name).unwrap_or_default();
                Counters { syncs: number("syncs"), sync_total: Duration::from_micros(number("sync_total_us")), log_bytes: 0 }
            }
        })
    }

    /// What one thread works with.
    pub(super) fn worker(&self, flags: &'static Flags) -> Result<Worker<'_>, Failure> {
        Ok(match self {
            Bed::Store(engine) => Worker::Store(engine),
            Bed::Server { remote, .. } => Worker::Server {
                client: Box::new(remote.another().map_err(Failure::Server)?),
                flags,
                address: remote.address().clone(),
            },
        })
    }

    /// Removes what was written on a server. The files of a scratch store are removed by its owner.
    pub(super) fn clean(self) -> Result<(), Failure> {
        match self {
            Bed::Store(_) => Ok(()),
            Bed::Server { remote, prefix, key_bytes } => remote.remove(&prefix, key_bytes, CLEANING).map_err(|mut error| {
                error.text += &format!("; keys that begin with {} may be left there", String::from_utf8_lossy(&prefix));
                Failure::Server(error)
            }),
        }
    }
}

fn answers(client: &mut Client, count: usize, flags: &'static Flags, address: &Address) -> Result<(), Failure> {
    let mut patience = Patience::of_write(flags);
    (0..count).try_for_each(|_| answered(client.reply(&mut patience), address))
}

fn answered(reply: Result<Reply, Trouble>, address: &Address) -> Result<(), Failure> {
    match reply {
        Ok(Reply::Error(words)) => Err(Failure::of_server(format!("the server at {address} answers: {words}"))),
        Ok(_) => Ok(()),
        Err(Trouble::Lost(cause)) => Err(Failure::of_server(format!("the connection to {address} was lost: {cause}"))),
        Err(_) => Err(Failure::of_server(format!("the server at {address} has not answered"))),
    }
}

/// What one thread works with: the store, or a connection of its own.
pub(super) enum Worker<'a> {
    Store(&'a Engine),
    Server { client: Box<Client>, flags: &'static Flags, address: Address },
}

impl Worker<'_> {
    pub(super) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Failure> {
        match self {
            Worker::Store(engine) => Ok(engine.put(key, value).map(drop)?),
            Worker::Server { client, flags, address } => {
                answered(client.call(&[b"SET", key, value], &mut Patience::of_write(flags)), address)
            }
        }
    }

    pub(super) fn get(&mut self, key: &[u8]) -> Result<(), Failure> {
        match self {
            Worker::Store(engine) => Ok(engine.get(key).map(drop)?),
            Worker::Server { client, flags, address } => {
                answered(client.call(&[b"GET", key], &mut Patience::of_write(flags)), address)
            }
        }
    }
}

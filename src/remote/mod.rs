//! [`Remote`]: a store that a server serves, as a session uses it.
//!
//! The client is our own and not a library. `redis` brings some 45 crates, and hides what matters here: whether a
//! request may have left when the connection was lost, and a wait that Ctrl-C ends. `redis-protocol` reads a reply
//! again from its beginning whenever bytes come, and holds all of a list in memory. What is needed is small: requests
//! of one form, replies of few kinds.
//!
//! Invariants:
//!
//! - A request is sent once. A write whose answer did not come is reported as in doubt, and never as not stored.
//! - After an answer that did not come, the connection is not used again: it would give this answer to the next
//!   request. The next command connects again.
//! - An open group is kept here until COMMIT, and sent in one piece as MULTI, its writes, and EXEC.
//!
//! | file | what it does |
//! |---|---|
//! | `address` | where a server listens |
//! | `wire` | bytes both ways; waits that signals and deadlines end |
//! | `tls` | TLS on a connection |
//! | `reply` | the protocol |
//! | `client` | one connection: connecting, greeting, requests |

mod address;
mod client;
mod reply;
mod tls;
mod wire;

pub(crate) use address::Address;
pub(crate) use client::{Client, Figures, Server, Target};
pub(crate) use reply::Reply;
pub(crate) use tls::Tls;
pub(crate) use wire::{Patience, Trouble};

use crate::error::{Code, CommandError};
use crate::signals::Flags;
use kv_engine::{Batch, Operation};
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// Keys that are asked for at a time: first few, because a list may end soon.
const FIRST_KEYS: usize = 100;
const KEYS: usize = 1000;
/// Values that are asked for at a time.
const VALUES: usize = 200;
/// Keys that are removed at a time, and their bytes.
const REMOVED: usize = 10_000;
const REMOVED_BYTES: usize = 4 << 20;
/// How long the end of a session may wait for the last writes.
const LAST_FLUSH: Duration = Duration::from_secs(2);

/// A store that a server serves.
pub(crate) struct Remote {
    target: Target,
    flags: &'static Flags,
    link: Option<Client>,
    server: Server,
    /// Writes were accepted that may not be durable yet.
    is_unsettled: bool,
    notices: Vec<Notice>,
}

/// What has happened to the connection.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(crate) text: String,
    /// Writes that were answered OK may be missing.
    pub(crate) is_loss: bool,
}

/// What an unanswered request means.
#[derive(Clone, Copy)]
enum Kind {
    Read,
    /// A read that a signal does not end at once, because it is a part of the work after a signal.
    LateRead,
    /// What is in doubt, and what to do about it.
    Write(&'static str, &'static str),
    /// It can be repeated: FLUSH, SNAP.
    Again(&'static str),
}

const PUT: Kind = Kind::Write("this write", "read it before you repeat it");
const GROUP: Kind = Kind::Write("this group (all of it or nothing)", "read it before you repeat it");

impl Remote {
    /// Connects.
    pub(crate) fn connect(target: Target, flags: &'static Flags) -> Result<Remote, CommandError> {
        let (client, server) = Client::connect(&target, Patience::of_read(flags))?;
        Ok(Remote { target, flags, link: Some(client), server, is_unsettled: false, notices: Vec::new() })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.target.address
    }

    pub(crate) fn server(&self) -> &Server {
        &self.server
    }

    /// What the user should know, once.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Another connection to the same server.
    pub(crate) fn another(&self) -> Result<Client, CommandError> {
        Client::connect(&self.target, Patience::of_read(self.flags)).map(|(client, _)| client)
    }

    /// The connection. Connects again if there is none.
    fn link(&mut self) -> Result<&mut Client, CommandError> {
        let is_over = self.link.as_mut().is_some_and(Client::is_over);
        if is_over || self.link.is_none() {
            self.link = None;
            let (client, server) = Client::connect(&self.target, Patience::of_write(self.flags))?;
            if server.store_id != self.server.store_id {
                let text = format!(
                    "the server at {} serves another store now: {} instead of {}",
                    self.target.address, server.store_id, self.server.store_id
                );
                self.is_unsettled = false;
                self.notice(true, text);
            } else if self.is_unsettled && server.run_id != self.server.run_id {
                self.is_unsettled = false;
                let (address, batch) = (&self.target.address, self.server.batch);
                let text = format!(
                    "the server at {address} was started again; with its batch size {batch} up to {} of the last writes that were \
                     answered OK may be missing",
                    batch - 1
                );
                self.notice(true, text);
            }
            if is_over {
                self.notice(false, format!("the server at {} had closed the connection; this is a new one", self.target.address));
            }
            (self.link, self.server) = (Some(client), server);
        }
        Ok(self.link.as_mut().expect("it was connected just now"))
    }

    fn notice(&mut self, is_loss: bool, text: String) {
        self.notices.push(Notice { text, is_loss });
    }

    /// Runs one exchange. After trouble the connection is dropped.
    fn exchange<T>(
        &mut self,
        kind: Kind,
        exchange: impl FnOnce(&mut Client, &mut Patience) -> Result<T, Trouble>,
    ) -> Result<T, CommandError> {
        let mut patience = match kind {
            Kind::Read => Patience::of_read(self.flags),
            Kind::LateRead | Kind::Write(..) | Kind::Again(_) => Patience::of_write(self.flags),
        };
        let done = exchange(self.link()?, &mut patience);
        done.map_err(|trouble| {
            self.link = None;
            self.unanswered(kind, trouble)
        })
    }

    fn call(&mut self, kind: Kind, words: &[&[u8]]) -> Result<Reply, CommandError> {
        match self.exchange(kind, |client, patience| client.call(words, patience))? {
            Reply::Error(words) => Err(self.refused(&words)),
            reply => Ok(reply),
        }
    }

    /// The error of a request without an answer.
    fn unanswered(&self, kind: Kind, trouble: Trouble) -> CommandError {
        let address = &self.target.address;
        let (is_interrupted, what) = match trouble {
            Trouble::Lost(cause) => (false, format!("the connection to {address} was lost: {cause}")),
            Trouble::Interrupted => (true, format!("interrupted; the server at {address} had not answered")),
            Trouble::TooLate => (false, format!("the server at {address} has not answered in time")),
        };
        let read_code = if is_interrupted { Code::Interrupted } else { Code::Unreachable };
        match kind {
            Kind::Read | Kind::LateRead => CommandError::new(read_code, format!("{what}; nothing was changed")),
            Kind::Write(doubt, advice) => {
                let text = format!("{what}; it is unknown whether {doubt} was stored; {advice}");
                CommandError::new(Code::InDoubt, text)
            }
            Kind::Again(name) => {
                CommandError::new(read_code, format!("{what}; it is unknown whether {name} was done; repeat it"))
            }
        }
    }

    /// The error of a request that the server has refused, in the words of the server.
    fn refused(&self, words: &str) -> CommandError {
        let code = match words.split(' ').next().unwrap_or_default() {
            "NOSPACE" => Code::NoSpace,
            "POISONED" | "LOST" => Code::LogFailed,
            "CLOSED" => Code::Closed,
            "DAMAGED" | "IO" => Code::Failed,
            "NOAUTH" => Code::NotOpened,
            _ => Code::Refused,
        };
        CommandError::new(code, format!("the server at {} answers: {words}", self.target.address))
    }

    fn unexpected(&mut self, reply: &Reply) -> CommandError {
        self.link = None;
        let got = match reply {
            Reply::Null => "nothing",
            Reply::Bytes(_) => "a word",
            Reply::Error(_) => "an error",
            Reply::List(_) => "a list",
        };
        let text = format!("the server at {} has sent {got} where this command expects something else", self.target.address);
        CommandError::new(Code::Failed, text)
    }

    /// Whether what is accepted now is durable.
    fn accepted(&mut self) -> bool {
        let durable = self.server.batch == 1;
        self.is_unsettled |= !durable;
        durable
    }

    /// Returns whether it is durable.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<bool, CommandError> {
        self.call(PUT, &[b"SET", key, value])?;
        Ok(self.accepted())
    }

    /// Returns whether it is durable; `None` if the key is not there.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<Option<bool>, CommandError> {
        match self.call(PUT, &[b"DEL", key])?.number() {
            Some(0) => Ok(None),
            _ => Ok(Some(self.accepted())),
        }
    }

    /// Writes all of it or nothing. Returns whether it is durable.
    pub(crate) fn write(&mut self, batch: &Batch) -> Result<bool, CommandError> {
        if batch.is_empty() {
            return Ok(self.server.batch == 1 || !self.is_unsettled);
        }
        let answers = self.exchange(GROUP, |client, patience| {
            client.send(&[b"MULTI"]);
            for operation in batch.operations() {
                match operation {
                    Operation::Put { key, value } => client.send(&[b"SET", key, value]),
                    Operation::Delete { key } => client.send(&[b"DEL", key]),
                    _ => unreachable!("a batch has puts and deletes"),
                }
            }
            client.send(&[b"EXEC"]);
            // Why it was refused is in the first answer that is an error; EXEC then only says that it was.
            let mut refusal = None;
            for _ in 0..=batch.len() {
                if let Reply::Error(words) = client.reply(patience)? {
                    refusal.get_or_insert(words);
                }
            }
            Ok((refusal, client.reply(patience)?))
        })?;
        match answers {
            (refusal, Reply::Error(words)) => {
                let mut error = self.refused(refusal.as_deref().unwrap_or(&words));
                if refusal.is_some() {
                    error.text += "; nothing of the group was stored";
                }
                Err(error)
            }
            (_, Reply::List(replies)) => match replies.into_iter().find(|reply| matches!(reply, Reply::Error(_))) {
                Some(Reply::Error(words)) => Err(self.refused(&words)),
                _ => Ok(self.accepted()),
            },
            (_, reply) => Err(self.unexpected(&reply)),
        }
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Vec<u8>>, CommandError> {
        match self.call(Kind::Read, &[b"GET", key])? {
            Reply::Null => Ok(None),
            Reply::Bytes(value) => Ok(Some(value)),
            reply => Err(self.unexpected(&reply)),
        }
    }

    /// The number of keys.
    pub(crate) fn count(&mut self) -> Result<u64, CommandError> {
        let reply = self.call(Kind::Read, &[b"DBSIZE"])?;
        reply.number().ok_or_else(|| self.unexpected(&reply))
    }

    /// Waits until every accepted write is durable.
    pub(crate) fn flush(&mut self) -> Result<(), CommandError> {
        self.call(Kind::Again("FLUSH"), &[b"WAITAOF", b"1", b"0", b"0"])?;
        self.is_unsettled = false;
        Ok(())
    }

    /// Has the server save a snapshot. Then every accepted write is durable.
    pub(crate) fn snapshot(&mut self) -> Result<(), CommandError> {
        self.call(Kind::Again("SNAP"), &[b"SAVE"]).map_err(|error| match error.code {
            Code::Refused => CommandError { code: Code::SnapshotFailed, ..error },
            _ => error,
        })?;
        self.is_unsettled = false;
        Ok(())
    }

    /// Asks the server for another batch size. It may refuse.
    pub(crate) fn set_batch_size(&mut self, size: u64) -> Result<(), CommandError> {
        let kept = self.server.batch;
        self.call(Kind::Again("SETBATCH"), &[b"CONFIG", b"SET", b"batch", size.to_string().as_bytes()]).map_err(
            |mut error| {
                if error.code == Code::Refused {
                    error.text +=
                        &format!("; the batch size is still {kept}; kv_cli serve --batch N sets it when the server starts");
                }
                error
            },
        )?;
        self.server.batch = size;
        Ok(())
    }

    /// The figures that the server has of itself.
    pub(crate) fn figures(&mut self) -> Result<Figures, CommandError> {
        let reply = self.call(Kind::LateRead, &[b"INFO"])?;
        reply.text().map(Figures::read).ok_or_else(|| self.unexpected(&reply))
    }

    /// Gives the entries whose keys begin with `prefix` to `each` in key order, until it stops. This is not the state
    /// of one moment: other clients may write in between. A key that stays comes exactly once.
    pub(crate) fn each(
        &mut self,
        prefix: &[u8],
        with_values: bool,
        mut each: impl FnMut(&[u8], Option<&[u8]>) -> ControlFlow<()>,
    ) -> Result<(), CommandError> {
        let mut pages = Pages::new(prefix);
        while let Some(keys) = self.page(&mut pages, None)? {
            let flow = if with_values {
                keys.chunks(VALUES).try_fold(ControlFlow::Continue(()), |flow, keys| match flow {
                    // A key without a value was removed in between.
                    ControlFlow::Continue(()) => self
                        .values(keys, |n, value| value.map_or(ControlFlow::Continue(()), |value| each(&keys[n], Some(&value)))),
                    end => Ok(end),
                })?
            } else {
                keys.iter().try_for_each(|key| each(key, None))
            };
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// As [`Remote::each`] without values, until this time. Does not connect. Returns whether all keys were given.
    pub(crate) fn keys_until(&mut self, until: Instant, prefix: &[u8], mut each: impl FnMut(&[u8])) -> bool {
        if self.link.as_mut().is_none_or(Client::is_over) {
            return false;
        }
        let mut pages = Pages::new(prefix);
        loop {
            match self.page(&mut pages, Some(until)) {
                Ok(Some(keys)) => keys.iter().for_each(|key| each(key)),
                Ok(None) => return true,
                Err(_) => return false,
            }
            if Instant::now() >= until {
                return pages.next.is_none();
            }
        }
    }

    /// The next keys; `None` if there are no more.
    fn page(&mut self, pages: &mut Pages, until: Option<Instant>) -> Result<Option<Vec<Vec<u8>>>, CommandError> {
        let Some(cursor) = pages.next.take() else { return Ok(None) };
        let count = std::mem::replace(&mut pages.count, KEYS).to_string();
        let words: [&[u8]; 6] = [b"SCAN", &cursor, b"MATCH", &pages.pattern, b"COUNT", count.as_bytes()];
        let reply = self.exchange(Kind::Read, |client, patience| client.call(&words, &mut patience.until(until)))?;
        let Reply::List(parts) = reply else {
            return Err(if let Reply::Error(words) = reply { self.refused(&words) } else { self.unexpected(&reply) });
        };
        let [Reply::Bytes(next), Reply::List(keys)] = &parts[..] else { return Err(self.unexpected(&Reply::List(parts))) };
        let key = |key: &Reply| if let Reply::Bytes(key) = key { Some(key.clone()) } else { None };
        pages.next = Some(next.clone()).filter(|next| next != b"0");
        Ok(Some(keys.iter().filter_map(key).collect()))
    }

    /// Gives the number and the value of each key to `each`, until it stops. If the server refuses to give so much at
    /// once, each value is asked for alone.
    pub(crate) fn values(
        &mut self,
        keys: &[Vec<u8>],
        mut each: impl FnMut(usize, Option<Vec<u8>>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, CommandError> {
        let words: Vec<&[u8]> = std::iter::once(&b"MGET"[..]).chain(keys.iter().map(Vec::as_slice)).collect();
        let mut flow = ControlFlow::Continue(());
        let refused = self.exchange(Kind::Read, |client, patience| {
            client.send(&words);
            let Ok(count) = client.list(patience)? else { return Ok(true) };
            if count != keys.len() {
                return Err(Trouble::Lost("its list of values has another length".into()));
            }
            // The rest of the reply is read too, because the connection goes on behind it.
            for n in 0..count {
                let value = if let Reply::Bytes(value) = client.reply(patience)? { Some(value) } else { None };
                if flow.is_continue() {
                    flow = each(n, value);
                }
            }
            Ok(false)
        })?;
        if refused {
            for (n, key) in keys.iter().enumerate() {
                let value = self.get(key)?;
                flow = each(n, value);
                if flow.is_break() {
                    break;
                }
            }
        }
        Ok(flow)
    }

    /// Removes every key that begins with `prefix` and has so many bytes behind it, also after a signal, in this time.
    pub(crate) fn remove(&mut self, prefix: &[u8], key_bytes: usize, time: Duration) -> Result<(), CommandError> {
        let pattern = pattern(prefix);
        let until = Patience::for_most(time);
        let count = (REMOVED_BYTES / (prefix.len() + key_bytes)).clamp(1, REMOVED).to_string();
        loop {
            // From the first key on each time: the keys before are gone.
            let scan: [&[u8]; 6] = [b"SCAN", b"0", b"MATCH", &pattern, b"COUNT", count.as_bytes()];
            let found = self.exchange(Kind::Again("the cleaning"), |client, _| client.call(&scan, &mut until.clone()))?;
            let Reply::List(parts) = &found else { return Err(self.unexpected(&found)) };
            let Some(Reply::List(keys)) = parts.get(1) else { return Err(self.unexpected(&found)) };
            let keys = keys.iter().filter_map(|key| if let Reply::Bytes(key) = key { Some(key.as_slice()) } else { None });
            let words: Vec<&[u8]> = std::iter::once(&b"DEL"[..]).chain(keys).collect();
            if words.len() == 1 {
                return Ok(());
            }
            let removed = self.exchange(Kind::Again("the cleaning"), |client, _| client.call(&words, &mut until.clone()))?;
            if let Reply::Error(words) = removed {
                return Err(self.refused(&words));
            }
        }
    }

    /// Before the session ends: makes durable what was accepted. Does nothing if all of it is.
    pub(crate) fn settle(&mut self) -> Result<(), CommandError> {
        if !self.is_unsettled {
            return Ok(());
        }
        let lost = |remote: &Remote, cause: String| {
            let text = format!(
                "{cause}; the server had accepted writes of this session, and it is unknown whether the last ones are on its disk ({})",
                remote.target.address
            );
            CommandError::new(Code::InDoubt, text)
        };
        let Some(link) = &mut self.link else { return Err(lost(self, "the connection was lost".into())) };
        // Also after a signal: the server answers soon, or never.
        let answer = link.call(&[b"WAITAOF", b"1", b"0", b"0"], &mut Patience::for_most(LAST_FLUSH));
        match answer {
            Ok(Reply::Error(words)) => Err(lost(self, words)),
            Ok(_) => {
                self.is_unsettled = false;
                Ok(())
            }
            Err(Trouble::Lost(cause)) => Err(lost(self, cause)),
            Err(_) => Err(lost(self, "the server has not answered".into())),
        }
    }
}

/// Where a list of keys goes on.
struct Pages {
    pattern: Vec<u8>,
    /// `None` behind the last key.
    next: Option<Vec<u8>>,
    count: usize,
}

impl Pages {
    fn new(prefix: &[u8]) -> Pages {
        Pages { pattern: pattern(prefix), next: Some(b"0".to_vec()), count: FIRST_KEYS }
    }
}

/// A pattern that takes the keys that begin with `prefix`.
fn pattern(prefix: &[u8]) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 1);
    for &byte in prefix {
        if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\') {
            pattern.push(b'\\');
        }
        pattern.push(byte);
    }
    pattern.push(b'*');
    pattern
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_means_itself() {
        assert_eq!(pattern(b""), b"*");
        assert_eq!(pattern(b"user:"), b"user:*");
        assert_eq!(pattern(b"a*b?[c]\\^-\xff"), b"a\\*b\\?\\[c\\]\\\\^-\xff*");
    }
}

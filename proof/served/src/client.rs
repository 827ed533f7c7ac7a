//! A small client of the Redis protocol, version 2. It can send any number of commands before it reads a reply.

use anyhow::{Context, Result, bail, ensure};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longer than any reply should take on a slow machine.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// `+OK`
    Simple(String),
    /// `-ERR …`
    Error(String),
    Number(i64),
    Bytes(Vec<u8>),
    Nil,
    List(Vec<Reply>),
}

pub(crate) struct Client {
    stream: UnixStream,
    replies: BufReader<UnixStream>,
    /// Commands that are not sent yet.
    buffer: Vec<u8>,
}

impl Client {
    pub(crate) fn connect(socket: &Path) -> Result<Client> {
        let stream = UnixStream::connect(socket).with_context(|| format!("connecting to {}", socket.display()))?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let replies = BufReader::new(stream.try_clone()?);
        Ok(Client { stream, replies, buffer: Vec::new() })
    }

    pub(crate) fn add(&mut self, words: &[&[u8]]) {
        self.buffer.extend(format!("*{}\r\n", words.len()).bytes());
        for word in words {
            self.buffer.extend(format!("${}\r\n", word.len()).bytes());
            self.buffer.extend(*word);
            self.buffer.extend(b"\r\n");
        }
    }

    pub(crate) fn send(&mut self) -> Result<()> {
        self.stream.write_all(&self.buffer)?;
        self.buffer.clear();
        Ok(())
    }

    pub(crate) fn ask(&mut self, words: &[&[u8]]) -> Result<Reply> {
        self.add(words);
        self.send()?;
        self.reply()
    }

    /// The next reply. An error if the connection has ended within it.
    pub(crate) fn reply(&mut self) -> Result<Reply> {
        let mut line = Vec::new();
        self.replies.read_until(b'\n', &mut line)?;
        let line = line.strip_suffix(b"\r\n").context("the connection has ended")?;
        let (kind, rest) = line.split_first().context("an empty reply")?;
        let rest = std::str::from_utf8(rest)?;
        Ok(match kind {
            b'+' => Reply::Simple(rest.into()),
            b'-' => Reply::Error(rest.into()),
            b':' => Reply::Number(rest.parse()?),
            b'$' | b'*' if rest == "-1" => Reply::Nil,
            b'$' => {
                let mut bytes = vec![0; rest.parse::<usize>()? + 2];
                self.replies.read_exact(&mut bytes)?;
                ensure!(bytes.ends_with(b"\r\n"), "a bulk string without an end");
                bytes.truncate(bytes.len() - 2);
                Reply::Bytes(bytes)
            }
            b'*' => Reply::List((0..rest.parse()?).map(|_| self.reply()).collect::<Result<_>>()?),
            _ => bail!("not a reply: {line:?}"),
        })
    }
}

//! [`Raw`]: a connection whose replies are taken as bytes, whole and unread.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// No reply takes this long, unless something hangs.
const HANG: Duration = Duration::from_secs(60);

pub struct Raw {
    tcp: Option<TcpStream>,
    to: Box<dyn Write>,
    from: BufReader<Box<dyn Read>>,
}

/// A reply: its first line, the bytes of a bulk string behind it, and the replies in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reply {
    pub head: Vec<u8>,
    pub bulk: Vec<u8>,
    pub items: Vec<Reply>,
}

impl Reply {
    /// The bytes as they came.
    pub fn bytes(&self) -> Vec<u8> {
        let items = self.items.iter().flat_map(Reply::bytes);
        self.head.iter().chain(&self.bulk).copied().chain(items).collect()
    }
}

impl Raw {
    pub fn tcp(address: SocketAddr) -> Raw {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(HANG)).unwrap();
        stream.set_write_timeout(Some(HANG)).unwrap();
        let [from, to] = [(); 2].map(|()| stream.try_clone().unwrap());
        Raw { tcp: Some(stream), from: BufReader::new(Box::new(from)), to: Box::new(to) }
    }

    pub fn unix(path: &Path) -> std::io::Result<Raw> {
        let stream = UnixStream::connect(path)?;
        stream.set_read_timeout(Some(HANG))?;
        stream.set_write_timeout(Some(HANG))?;
        Ok(Raw { tcp: None, from: BufReader::new(Box::new(stream.try_clone()?)), to: Box::new(stream) })
    }

    /// The server reads the end. Replies still come.
    pub fn sends_no_more(&self) {
        self.tcp.as_ref().unwrap().shutdown(std::net::Shutdown::Write).unwrap();
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.to.write_all(bytes).unwrap();
    }

    /// `None`: the connection has ended.
    pub fn reply(&mut self) -> Option<Reply> {
        let mut head = Vec::new();
        match self.from.read_until(b'\n', &mut head) {
            Ok(_) => {}
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => return None,
            Err(error) => panic!("no reply: {error}"),
        }
        let line = head.strip_suffix(b"\r\n")?;
        let (&kind, number) = line.split_first().expect("a reply is not an empty line");
        let number = || std::str::from_utf8(number).ok()?.parse::<i64>().ok();
        let count = || usize::try_from(number().unwrap_or_else(|| panic!("a number: {}", line.escape_ascii()))).unwrap_or(0);
        let (mut bulk, mut replies) = (Vec::new(), 0);
        match kind {
            b'+' | b'-' | b':' | b',' | b'#' | b'_' | b'(' => {}
            b'$' if number() == Some(-1) => {}
            b'$' | b'=' => {
                bulk = vec![0; count() + 2];
                self.from.read_exact(&mut bulk).unwrap();
                assert!(bulk.ends_with(b"\r\n"), "{}", bulk.escape_ascii());
            }
            b'*' | b'~' | b'>' => replies = count(),
            b'%' => replies = 2 * count(),
            _ => panic!("an unknown kind of reply: {}", line.escape_ascii()),
        }
        let items = (0..replies).map(|_| self.reply().expect("a whole reply")).collect();
        Some(Reply { head, bulk, items })
    }
}

//! [`Address`]: where a server listens.

use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Where a server listens, unless the user says otherwise.
const USUAL: &str = "127.0.0.1:6379";
const UNIX: &[u8] = b"unix:";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A host and a port, as the resolver reads them.
    Tcp(String),
    Unix(PathBuf),
}

impl Default for Address {
    fn default() -> Address {
        Address::Tcp(USUAL.into())
    }
}

impl Address {
    /// Reads `HOST:PORT` or `unix:PATH`. `None` for a word that is neither.
    pub(crate) fn read(word: &OsStr) -> Option<Address> {
        if let Some(path) = word.as_bytes().strip_prefix(UNIX) {
            return (!path.is_empty()).then(|| Address::Unix(OsStr::from_bytes(path).into()));
        }
        let (host, port) = word.to_str()?.rsplit_once(':')?;
        // An address of IPv6 needs its brackets: without them its last group would be taken for a port.
        let is_whole = !host.contains(':') || host.starts_with('[') && host.ends_with(']');
        let is_right = !host.is_empty() && is_whole && port.parse::<u16>().is_ok_and(|port| port > 0);
        is_right.then(|| Address::Tcp(format!("{host}:{port}")))
    }

    /// The name that a certificate must have.
    pub(super) fn host(&self) -> Option<&str> {
        let Address::Tcp(address) = self else { return None };
        let host = address.rsplit_once(':').map_or(&**address, |(host, _)| host);
        Some(host.trim_start_matches('[').trim_end_matches(']'))
    }

    /// How a server is started that listens there.
    pub(super) fn serve(&self) -> String {
        match self {
            Address::Tcp(address) => format!("kv_cli serve --listen {address}"),
            Address::Unix(path) => format!("kv_cli serve --unixsocket {}", path.display()),
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(address) => f.write_str(address),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_told_from_commands() {
        for word in ["127.0.0.1:6379", "db.example:1", "[::1]:65535", "unix:/run/kv.sock", "unix:s"] {
            assert_eq!(Address::read(word.as_ref()).map(|address| address.to_string()).as_deref(), Some(word));
        }
        for word in ["", "GET", "localhost", ":6379", "a:0", "a:65536", "a:b", "::1:6379", "[::1:6379", "unix:"] {
            assert_eq!(Address::read(word.as_ref()), None, "{word}");
        }
        assert_eq!(Address::read("[::1]:1".as_ref()).expect("an address").host(), Some("::1"));
        assert_eq!(Address::default().host(), Some("127.0.0.1"));
    }
}

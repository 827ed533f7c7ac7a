//! [`Options`]: how a server is started.

use crate::error::{Error, Result};
use crate::event::{Event, Log};
use crate::tls::Tls;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// How a [`Server`](crate::Server) is started. The defaults are safe: one address on this machine, no password.
///
/// ```
/// use std::time::Duration;
/// let options = kv_server::Options::default().listen([([127, 0, 0, 1], 0).into()]).shutdown_timeout(Duration::from_secs(2));
/// # let _ = options;
/// ```
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) listen: Vec<SocketAddr>,
    pub(crate) unix_socket: Option<PathBuf>,
    pub(crate) password: Option<Vec<u8>>,
    pub(crate) tls: Option<Tls>,
    pub(crate) max_clients: usize,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) tcp_keepalive: Option<Duration>,
    pub(crate) shutdown_timeout: Duration,
    pub(crate) workers: Option<usize>,
    pub(crate) metrics: Option<SocketAddr>,
    pub(crate) on_poison: OnPoison,
    pub(crate) read_only: bool,
    /// Rows of the table of commands.
    pub(crate) disabled: Vec<usize>,
    pub(crate) read_ahead: usize,
    pub(crate) log: Log,
}

/// What a server does after its log has failed, and no write is accepted any more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnPoison {
    /// It ends, after what was read is answered. A supervisor starts it again, and the store recovers.
    #[default]
    Exit,
    /// It stays, and only reads.
    Stay,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 6379))],
            unix_socket: None,
            password: None,
            tls: None,
            max_clients: 10_000,
            idle_timeout: None,
            tcp_keepalive: Some(Duration::from_secs(300)),
            shutdown_timeout: Duration::from_secs(10),
            workers: None,
            metrics: None,
            on_poison: OnPoison::default(),
            read_only: false,
            disabled: Vec::new(),
            read_ahead: 1 << 30,
            log: Log::default(),
        }
    }
}

impl Options {
    /// The addresses to listen on. Port 0: one that is free, see [`Server::addresses`](crate::Server::addresses).
    #[must_use]
    pub fn listen(mut self, addresses: impl IntoIterator<Item = SocketAddr>) -> Options {
        self.listen = addresses.into_iter().collect();
        self
    }

    /// Also listens on a socket at this path. It is readable and writable only for the user of this process.
    #[must_use]
    pub fn unix_socket(mut self, path: impl Into<PathBuf>) -> Options {
        self.unix_socket = Some(path.into());
        self
    }

    /// The password of the user `default`. Without one, everybody who can connect can do everything.
    #[must_use]
    pub fn password(mut self, password: impl Into<Vec<u8>>) -> Options {
        self.password = Some(password.into());
        self
    }

    /// All addresses of [`Options::listen`] speak TLS, and nothing else. The socket of [`Options::unix_socket`] and the
    /// pages of [`Options::metrics`] do not. [`Handle::reload_tls`](crate::Handle::reload_tls) reads the files again.
    #[must_use]
    pub fn tls(mut self, files: Tls) -> Options {
        self.tls = Some(files);
        self
    }

    /// The most connections at a time; 10,000 unless set. It is lowered if the process may not open enough files.
    #[must_use]
    pub fn max_clients(mut self, most: usize) -> Options {
        self.max_clients = most;
        self
    }

    /// Closes connections that send nothing for so long. `None`, the default: never.
    #[must_use]
    pub fn idle_timeout(mut self, time: Option<Duration>) -> Options {
        self.idle_timeout = time;
        self
    }

    /// How long a connection is silent before the system asks whether the other end still exists; 300 s unless set.
    #[must_use]
    pub fn tcp_keepalive(mut self, time: Option<Duration>) -> Options {
        self.tcp_keepalive = time;
        self
    }

    /// The longest time that a shutdown waits for connections; 10 s unless set.
    #[must_use]
    pub fn shutdown_timeout(mut self, time: Duration) -> Options {
        self.shutdown_timeout = time;
        self
    }

    /// Threads that serve connections. Unless set: one for each core but one, and at least one. The store commits on
    /// the core that is left.
    #[must_use]
    pub fn workers(mut self, threads: usize) -> Options {
        self.workers = Some(threads.max(1));
        self
    }

    /// Also serves `/metrics`, `/health` and `/ready` over HTTP at this address. Port 0: one that is free, see
    /// [`Server::metrics_address`](crate::Server::metrics_address). Unless set: nowhere. The pages show figures, and no
    /// key or value; anybody who can connect can read them.
    #[must_use]
    pub fn metrics(mut self, address: Option<SocketAddr>) -> Options {
        self.metrics = address;
        self
    }

    /// What happens after the log has failed; [`OnPoison::Exit`] unless set.
    #[must_use]
    pub fn on_poison(mut self, then: OnPoison) -> Options {
        self.on_poison = then;
        self
    }

    /// Every command that may write is refused with `READONLY`. What the embedding program writes is still seen.
    #[must_use]
    pub fn read_only(mut self, is_read_only: bool) -> Options {
        self.read_only = is_read_only;
        self
    }

    /// The memory for requests that were read and not run, of all connections together; 1 GiB unless set. When it is
    /// used up, the server reads no more long requests until some have run, but for one that is finished. The first
    /// 64 KiB of each connection do not count.
    #[must_use]
    pub fn read_ahead(mut self, bytes: usize) -> Options {
        self.read_ahead = bytes;
        self
    }

    /// Called with each event. It should be quick, because a worker waits for it.
    #[must_use]
    pub fn log(mut self, write: impl Fn(&Event) + Send + Sync + 'static) -> Options {
        self.log = Log::new(write);
        self
    }

    /// Whether a server may be started with these options. [`Server::start`](crate::Server::start) checks the same.
    ///
    /// # Errors
    /// - [`Error::Unprotected`]: an address can be reached from other machines, and anybody there could do everything.
    ///   A password protects it, and so do certificates of clients.
    /// - [`Error::Tls`]: a file of TLS cannot be used.
    pub fn check(&self) -> Result<()> {
        let is_protected = self.password.is_some() || self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some());
        let open = self.listen.iter().find(|address| !address.ip().is_loopback());
        if let Some(&address) = open.filter(|_| !is_protected) {
            return Err(Error::Unprotected { address });
        }
        self.tls.as_ref().map_or(Ok(()), |tls| tls.read().map(drop))
    }
}

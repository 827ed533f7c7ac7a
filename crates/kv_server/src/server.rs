//! [`Server`]: starting, accepting connections, ending.

use crate::clients::Client;
use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::http;
use crate::options::Options;
use crate::refusal::Refusal;
use crate::resp::Reply;
use crate::shared::Shared;
use crate::store::Store;
use crate::tls::Acceptor;
use crate::watch::watch;
use kv_engine::Engine;
use rustix::net::sockopt::{set_socket_keepalive, set_tcp_keepcnt, set_tcp_keepidle, set_tcp_keepintvl};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

/// A running server. Dropped without [`Server::wait`], it ends at once, and clients are not answered.
pub struct Server {
    runtime: Runtime,
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    metrics: Option<SocketAddr>,
}

/// Ends a server from any thread. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Handle {
    /// Begins the end: no connection is accepted any more, what was read is answered, the store is closed.
    pub fn shut_down(&self) {
        self.shared.shut_down();
    }

    /// Reads the files of [`Options::tls`] again. They count for connections that come from now on. Without TLS it does
    /// nothing.
    ///
    /// # Errors
    /// A file cannot be used. What was read before stays in use.
    pub fn reload_tls(&self) -> Result<()> {
        let Shared { tls: Some(tls), options, .. } = &*self.shared else { return Ok(()) };
        let reloaded = tls.reload();
        match &reloaded {
            Ok(()) => options.log.info("tls_reloaded", &[]),
            Err(error) => options.log.error("tls_reload_failed", &[("error", error), ("then", &"the files before stay in use")]),
        }
        reloaded
    }
}

/// How a server has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ended {
    /// Connections that were cut because the shutdown took too long.
    pub cut: usize,
}

/// Files that the process needs beside connections: the store's, the event queue, standard streams.
const OTHER_FILES: usize = 64;
/// After an error of accept, for example no free file, no connection is accepted for so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often connections are looked at for the time that they are silent.
const IDLE_STEP: Duration = Duration::from_secs(1);
/// How often a shutdown looks whether the last connection has ended.
const SHUTDOWN_STEP: Duration = Duration::from_millis(5);

impl Server {
    /// Starts to serve `engine`. Writes that do not come through this server are seen, but WATCH does not notice them.
    ///
    /// # Errors
    /// An address cannot be listened on, or would be open to everybody. A file of TLS cannot be used.
    pub fn start(engine: Engine, mut options: Options) -> Result<Server> {
        options.check()?;
        options.max_clients = options.max_clients.min(files_for_clients(options.max_clients));
        let workers = options.workers.unwrap_or_else(|| {
            let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
            cores.saturating_sub(1).max(1)
        });
        let runtime = Builder::new_multi_thread()
            .worker_threads(workers)
            .thread_name("kv-server")
            .enable_all()
            .build()
            .map_err(Error::Runtime)?;
        let tls = options.tls.clone().map(Acceptor::new).transpose()?;
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in &options.listen {
            let listen = |source| Error::Listen { at: address.to_string(), source };
            let listener = runtime.block_on(TcpListener::bind(address)).map_err(listen)?;
            addresses.push(listener.local_addr().map_err(listen)?);
            listeners.push(listener);
        }
        let metrics = match options.metrics {
            None => None,
            Some(address) => {
                let listen = |source| Error::Listen { at: address.to_string(), source };
                let listener = runtime.block_on(TcpListener::bind(address)).map_err(listen)?;
                Some((listener.local_addr().map_err(listen)?, listener))
            }
        };
        let socket = match &options.unix_socket {
            None => None,
            Some(path) => Some(UnixSocket::bind(&runtime, path)?),
        };
        let shared = Arc::new(Shared::new(Store::new(engine), options, tls));
        for listener in listeners {
            runtime.spawn(accept(Arc::clone(&shared), listener));
        }
        if let Some(socket) = socket {
            runtime.spawn(accept_local(Arc::clone(&shared), socket));
        }
        let metrics = metrics.map(|(address, listener)| {
            runtime.spawn(http::serve(Arc::clone(&shared), listener));
            address
        });
        runtime.spawn(end_idle(Arc::clone(&shared)));
        runtime.spawn(watch(Arc::clone(&shared)));
        let server = Server { runtime, shared, addresses, metrics };
        server.say_started();
        Ok(server)
    }

    /// The addresses that it listens on, in the order of the options.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The address of the pages for operators, if there are any.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics
    }

    fn say_started(&self) {
        let Shared { options, store, .. } = &*self.shared;
        let listen: Vec<_> = self.addresses.iter().map(ToString::to_string).collect();
        let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".into());
        let batch = store.engine.batch_size();
        let crash = match batch {
            1 => "takes back no OK".to_string(),
            n => format!("can take back the last {} OK", n - 1),
        };
        let tls = match &options.tls {
            None => "no",
            Some(tls) if tls.client_ca.is_none() => "yes",
            Some(_) => "with client certificates",
        };
        options.log.info(
            "started",
            &[
                ("listen", &listen.join(",")),
                ("unixsocket", &or_none(options.unix_socket.as_ref().map(|path| path.display().to_string()))),
                ("metrics", &or_none(self.metrics.map(|address| address.to_string()))),
                ("batch", &batch),
                ("a_crash", &crash),
                ("max_clients", &options.max_clients),
                ("password", &options.password.is_some()),
                ("tls", &tls),
                ("read_only", &options.read_only),
            ],
        );
    }

    /// Where a client on this machine can reach it: an address, or `unix:` and the path of the socket. With TLS it is
    /// the socket, if there is one: nobody needs a certificate there.
    #[must_use]
    pub fn contact(&self) -> String {
        let Shared { options, tls, .. } = &*self.shared;
        match (self.addresses.first(), &options.unix_socket) {
            (Some(address), socket) if tls.is_none() || socket.is_none() => address.to_string(),
            (_, Some(path)) => format!("unix:{}", path.display()),
            (_, None) => String::new(),
        }
    }

    /// A handle to end it.
    #[must_use]
    pub fn handle(&self) -> Handle {
        Handle { shared: Arc::clone(&self.shared) }
    }

    /// Waits until the server has ended: after [`Handle::shut_down`] or the command SHUTDOWN.
    ///
    /// # Errors
    /// [`Error::Close`]: the store was not closed cleanly.
    pub fn wait(self) -> Result<Ended> {
        let Server { runtime, shared, .. } = self;
        let log = &shared.options.log;
        runtime.block_on(shared.stopped());
        log.info(
            "ending",
            &[("clients", &shared.clients.count()), ("at_most_s", &shared.options.shutdown_timeout.as_secs_f64())],
        );
        let cut = runtime.block_on(drain(&shared));
        runtime.shutdown_timeout(shared.options.shutdown_timeout);
        if let Err(error) = shared.store.engine.close() {
            log.error("ended", &[("cut", &cut), ("error", &error)]);
            return Err(Error::Close(error));
        }
        log.info("ended", &[("cut", &cut), ("durable", &shared.store.engine.stats().durable)]);
        Ok(Ended { cut })
    }
}

/// Asks all connections to end and waits for them. The number of those that did not.
async fn drain(shared: &Shared) -> usize {
    let until = Instant::now() + shared.options.shutdown_timeout;
    loop {
        let open = shared.clients.all();
        if open.is_empty() || Instant::now() >= until {
            return open.len();
        }
        open.iter().for_each(|client| client.close());
        sleep(SHUTDOWN_STEP).await;
    }
}

/// How many connections the limit of open files leaves room for. The limit is raised if that is allowed.
fn files_for_clients(wanted: usize) -> usize {
    let needed = wanted.saturating_add(OTHER_FILES) as u64;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_some_and(|current| current < needed) {
        let raised = maximum.map_or(needed, |maximum| maximum.min(needed));
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(raised), maximum });
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(wanted, |files| usize::try_from(files).unwrap_or(usize::MAX).saturating_sub(OTHER_FILES))
}

async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    loop {
        let accepted = tokio::select! {
            () = shared.stopped() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, from)) => begin(&shared, stream, from),
            Err(error) if concerns_one_connection(&error) => {}
            Err(error) => {
                shared.options.log.warn("accept_failed", &[("error", &error)]);
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

fn begin(shared: &Arc<Shared>, stream: TcpStream, from: SocketAddr) {
    let to = stream.local_addr().map_or_else(|_| String::new(), |to| to.to_string());
    // Both only help: without them the connection works too.
    let _ = stream.set_nodelay(true);
    if let Some(time) = shared.options.tcp_keepalive {
        let _ = set_socket_keepalive(&stream, true).and_then(|()| set_tcp_keepidle(&stream, time));
        let _ = set_tcp_keepintvl(&stream, (time / 3).max(Duration::from_secs(1)));
        let _ = set_tcp_keepcnt(&stream, 3);
    }
    let admitted = admit(shared, from.to_string(), to);
    match admitted {
        Ok(client) if shared.tls.is_some() => drop(tokio::spawn(begin_tls(Arc::clone(shared), stream, client))),
        Ok(client) => drop(tokio::spawn(Connection::new(Arc::clone(shared), stream, client).serve())),
        // No handshake was done, so nothing can be said.
        Err(_) if shared.tls.is_some() => {}
        Err(reply) => drop(stream.try_write(&reply.bytes)),
    }
}

/// Does the handshake, then serves the client. A handshake counts as a connection.
async fn begin_tls(shared: Arc<Shared>, stream: TcpStream, client: Arc<Client>) {
    let Some(tls) = &shared.tls else { return };
    let accepted = tokio::select! {
        () = client.ended() => None,
        accepted = tls.accept(stream) => accepted,
    };
    match accepted {
        Some(stream) => Connection::new(Arc::clone(&shared), stream, client).serve().await,
        None => shared.clients.remove(client.id),
    }
}

/// Registers a connection. The error is the reply to one that is too many.
fn admit(shared: &Shared, from: String, to: String) -> std::result::Result<Arc<Client>, Reply> {
    let most = shared.settings.max_clients.load(Ordering::Relaxed);
    if let Some(client) = shared.clients.add(from, to, most) {
        shared.counters.connections.fetch_add(1, Ordering::Relaxed);
        return Ok(client);
    }
    shared.counters.rejected.fetch_add(1, Ordering::Relaxed);
    let mut reply = Reply::default();
    reply.refusal(&Refusal::MAX_CLIENTS);
    Err(reply)
}

/// A socket in the file system. Its name is removed when it is dropped.
struct UnixSocket {
    listener: UnixListener,
    path: PathBuf,
}

impl UnixSocket {
    /// A socket that nobody listens on any more is replaced. Anything else of this name is refused.
    fn bind(runtime: &Runtime, path: &Path) -> Result<UnixSocket> {
        let listen = |source| Error::Listen { at: path.display().to_string(), source };
        let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
        let is_left =
            || std::os::unix::net::UnixStream::connect(path).is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
        if is_socket && is_left() {
            fs::remove_file(path).map_err(listen)?;
        }
        let _in_runtime = runtime.enter();
        let listener = UnixListener::bind(path).map_err(listen)?;
        let socket = UnixSocket { listener, path: path.to_path_buf() };
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(listen)?;
        Ok(socket)
    }
}

impl Drop for UnixSocket {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

async fn accept_local(shared: Arc<Shared>, socket: UnixSocket) {
    let path = socket.path.display().to_string();
    loop {
        let accepted = tokio::select! {
            () = shared.stopped() => return,
            accepted = socket.listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => match admit(&shared, format!("{path}:0"), path.clone()) {
                Ok(client) => drop(tokio::spawn(Connection::new(Arc::clone(&shared), stream, client).serve())),
                Err(reply) => drop(stream.try_write(&reply.bytes)),
            },
            Err(error) if concerns_one_connection(&error) => {}
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Ends connections that are silent for too long, as the setting `timeout` says.
async fn end_idle(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.stopped() => return,
            () = sleep(IDLE_STEP) => {}
        }
        let limit_ms = shared.settings.idle_timeout_s.load(Ordering::Relaxed).saturating_mul(1000);
        if limit_ms > 0 {
            for client in shared.clients.all().iter().filter(|client| client.idle_ms() >= limit_ms) {
                client.close();
            }
        }
    }
}

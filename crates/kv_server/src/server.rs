//! [`Server`]: starting, accepting connections, ending.

use crate::connection::Connection;
use crate::error::{Error, Result};
use crate::options::Options;
use crate::refusal::Refusal;
use crate::resp::Reply;
use crate::shared::Shared;
use crate::store::Store;
use kv_engine::Engine;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::time::{Instant, sleep};

/// A running server. Dropped without [`Server::wait`], it ends at once, and clients are not answered.
pub struct Server {
    runtime: Runtime,
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
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
/// How often a shutdown looks whether the last connection has ended.
const SHUTDOWN_STEP: Duration = Duration::from_millis(5);

impl Server {
    /// Starts to serve `engine`. Writes that do not come through this server are seen, but WATCH does not notice them.
    ///
    /// # Errors
    /// An address cannot be listened on, or would be open to everybody.
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
        let mut listeners = Vec::new();
        let mut addresses = Vec::new();
        for address in &options.listen {
            let listen = |source| Error::Listen { at: address.to_string(), source };
            let listener = runtime.block_on(TcpListener::bind(address)).map_err(listen)?;
            addresses.push(listener.local_addr().map_err(listen)?);
            listeners.push(listener);
        }
        let shared = Arc::new(Shared::new(Store::new(engine), options));
        for listener in listeners {
            runtime.spawn(accept(Arc::clone(&shared), listener));
        }
        Ok(Server { runtime, shared, addresses })
    }

    /// The addresses that it listens on, in the order of the options.
    #[must_use]
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Where a client on this machine can reach it: an address, or `unix:` and the path of the socket.
    #[must_use]
    pub fn contact(&self) -> String {
        match (self.addresses.first(), &self.shared.options.unix_socket) {
            (Some(address), _) => address.to_string(),
            (None, Some(path)) => format!("unix:{}", path.display()),
            (None, None) => String::new(),
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
        let cut = runtime.block_on(async {
            shared.stopped().await;
            drain(&shared).await
        });
        runtime.shutdown_timeout(shared.options.shutdown_timeout);
        shared.store.engine.close().map_err(Error::Close)?;
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
            Err(_) => sleep(ACCEPT_PAUSE).await,
        }
    }
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset | io::ErrorKind::Interrupted)
}

fn begin(shared: &Arc<Shared>, stream: TcpStream, from: SocketAddr) {
    let to = stream.local_addr().map_or_else(|_| String::new(), |to| to.to_string());
    let _ = stream.set_nodelay(true);
    let Some(client) = shared.clients.add(from.to_string(), to, shared.settings.max_clients.load(Ordering::Relaxed)) else {
        shared.counters.rejected.fetch_add(1, Ordering::Relaxed);
        let mut reply = Reply::default();
        reply.refusal(&Refusal::MAX_CLIENTS);
        let _ = stream.try_write(&reply.bytes);
        return;
    };
    shared.counters.connections.fetch_add(1, Ordering::Relaxed);
    tokio::spawn(Connection::new(Arc::clone(shared), stream, client).serve());
}

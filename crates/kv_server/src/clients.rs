//! [`Clients`]: the open connections, as CLIENT LIST shows them and CLIENT KILL finds them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

const CLOSE: u8 = 1;
const KILL: u8 = 2;

/// What other connections see of one.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: u64,
    /// Where it comes from: `address:port`, or the path of the socket.
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) since: Instant,
    /// Set by CLIENT SETNAME and CLIENT SETINFO.
    pub(crate) labels: Mutex<Labels>,
    /// Milliseconds after `since` at which it last sent something.
    pub(crate) active_ms: AtomicU64,
    pub(crate) commands: AtomicU64,
    /// The row of its last command in the table of commands, plus 1.
    pub(crate) last_command: AtomicU64,
    pub(crate) resp3: AtomicBool,
    ending: AtomicU8,
    wake: Notify,
}

#[derive(Clone, Debug, Default)]
pub(crate) struct Labels {
    pub(crate) name: String,
    pub(crate) library: String,
    pub(crate) library_version: String,
}

impl Client {
    pub(crate) fn labels(&self) -> MutexGuard<'_, Labels> {
        self.labels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The connection ends: at once if it is idle, otherwise when the commands that it has read are answered.
    pub(crate) fn close(&self) {
        self.end(CLOSE);
    }

    /// The connection ends without waiting until the client has read its replies.
    pub(crate) fn kill(&self) {
        self.end(KILL);
    }

    fn end(&self, how: u8) {
        self.ending.fetch_max(how, Ordering::Release);
        self.wake.notify_one();
    }

    pub(crate) fn must_close(&self) -> bool {
        self.ending.load(Ordering::Acquire) >= CLOSE
    }

    pub(crate) fn is_killed(&self) -> bool {
        self.ending.load(Ordering::Acquire) >= KILL
    }

    /// Ready after [`Client::close`] or [`Client::kill`].
    pub(crate) fn ended(&self) -> Notified<'_> {
        self.wake.notified()
    }

    /// It has sent so many commands, the last one of this row.
    pub(crate) fn note(&self, commands: u64, row: usize) {
        self.active_ms.store(self.age_ms(), Ordering::Relaxed);
        self.commands.fetch_add(commands, Ordering::Relaxed);
        self.last_command.store(row as u64 + 1, Ordering::Relaxed);
    }

    /// Milliseconds since it last sent something.
    pub(crate) fn idle_ms(&self) -> u64 {
        self.age_ms().saturating_sub(self.active_ms.load(Ordering::Relaxed))
    }

    pub(crate) fn age_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Clients {
    open: Mutex<BTreeMap<u64, Arc<Client>>>,
    last_id: AtomicU64,
}

impl Clients {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Arc<Client>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a connection, unless there are `most` already.
    pub(crate) fn add(&self, from: String, to: String, most: usize) -> Option<Arc<Client>> {
        let mut open = self.lock();
        if open.len() >= most {
            return None;
        }
        let client = Arc::new(Client {
            id: self.last_id.fetch_add(1, Ordering::Relaxed) + 1,
            from,
            to,
            since: Instant::now(),
            labels: Mutex::default(),
            active_ms: AtomicU64::new(0),
            commands: AtomicU64::new(0),
            last_command: AtomicU64::new(0),
            resp3: AtomicBool::new(false),
            ending: AtomicU8::new(0),
            wake: Notify::new(),
        });
        open.insert(client.id, Arc::clone(&client));
        Some(client)
    }

    pub(crate) fn remove(&self, id: u64) {
        self.lock().remove(&id);
    }

    pub(crate) fn count(&self) -> usize {
        self.lock().len()
    }

    pub(crate) fn all(&self) -> Vec<Arc<Client>> {
        self.lock().values().cloned().collect()
    }
}

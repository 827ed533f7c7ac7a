//! [`Shared`]: what all connections of a server have in common.

use crate::clients::Clients;
use crate::cursors::Cursors;
use crate::options::Options;
use crate::read_ahead::Budget;
use crate::saves::Saves;
use crate::sequencer::Sequencer;
use crate::settings::Settings;
use crate::slow_log::SlowLog;
use crate::store::Store;
use crate::tls::Acceptor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::Notify;

pub(crate) struct Shared {
    pub(crate) store: Store,
    pub(crate) sequencer: Arc<Sequencer>,
    pub(crate) clients: Clients,
    pub(crate) cursors: Cursors,
    /// For all connections over TCP.
    pub(crate) tls: Option<Acceptor>,
    pub(crate) read_ahead: Budget,
    pub(crate) options: Options,
    pub(crate) settings: Settings,
    pub(crate) saves: Arc<Saves>,
    pub(crate) slow_log: SlowLog,
    pub(crate) counters: Counters,
    pub(crate) started: Instant,
    /// Random, new at each start.
    pub(crate) run_id: String,
    stopping: AtomicBool,
    stop: Notify,
}

/// What INFO counts. CONFIG RESETSTAT sets them to 0.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) connections: AtomicU64,
    pub(crate) rejected: AtomicU64,
    pub(crate) commands: AtomicU64,
    pub(crate) bytes_in: AtomicU64,
    pub(crate) bytes_out: AtomicU64,
    pub(crate) hits: AtomicU64,
    pub(crate) misses: AtomicU64,
    pub(crate) errors: AtomicU64,
    /// Commands in a second, over the last one or two. Not reset.
    pub(crate) commands_per_second: AtomicU64,
}

impl Counters {
    pub(crate) fn reset(&self) {
        let Counters { connections, rejected, commands, bytes_in, bytes_out, hits, misses, errors, .. } = self;
        for counter in [connections, rejected, commands, bytes_in, bytes_out, hits, misses, errors] {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

impl Shared {
    pub(crate) fn new(store: Store, options: Options, tls: Option<Acceptor>) -> Shared {
        let run_id = (0..5).map(|_| format!("{:08x}", rand::random::<u32>())).collect();
        Shared {
            store,
            sequencer: Arc::new(Sequencer::new()),
            clients: Clients::default(),
            cursors: Cursors::new(),
            tls,
            read_ahead: Budget::new(options.read_ahead),
            settings: Settings::new(&options),
            saves: Arc::new(Saves::new()),
            slow_log: SlowLog::default(),
            options,
            counters: Counters::default(),
            started: Instant::now(),
            run_id,
            stopping: AtomicBool::new(false),
            stop: Notify::new(),
        }
    }

    /// Begins the shutdown of the server.
    pub(crate) fn shut_down(&self) {
        self.stopping.store(true, Ordering::Release);
        self.stop.notify_waiters();
        self.stop.notify_one();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Returns when [`Shared::shut_down`] was called.
    pub(crate) async fn stopped(&self) {
        loop {
            let mut told = std::pin::pin!(self.stop.notified());
            told.as_mut().enable();
            if self.is_stopping() {
                return;
            }
            told.await;
        }
    }
}

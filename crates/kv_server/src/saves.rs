//! [`Saves`]: the snapshots that clients ask for.

use crate::refusal::Refusal;
use kv_engine::Engine;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug)]
pub(crate) struct Saves {
    /// When the last one was taken, in seconds since 1970. At first: the start of the server.
    last: AtomicU64,
    is_running: AtomicBool,
    has_failed: AtomicBool,
}

impl Saves {
    pub(crate) fn new() -> Saves {
        Saves { last: AtomicU64::new(now()), is_running: AtomicBool::new(false), has_failed: AtomicBool::new(false) }
    }

    /// Says that a snapshot begins; [`Saves::take`] must follow.
    ///
    /// # Errors
    /// One is being taken.
    pub(crate) fn begin(&self) -> Result<(), Refusal> {
        if self.is_running.swap(true, Ordering::AcqRel) { Err(Refusal::SAVING) } else { Ok(()) }
    }

    /// Takes the snapshot that was begun. Waits for the disk.
    pub(crate) fn take(&self, engine: &Engine) -> Result<(), Refusal> {
        let taken = engine.snapshot();
        self.has_failed.store(taken.is_err(), Ordering::Relaxed);
        if taken.is_ok() {
            self.last.store(now(), Ordering::Relaxed);
        }
        self.is_running.store(false, Ordering::Release);
        taken.map(drop).map_err(|error| Refusal::new(format!("ERR no snapshot was taken: {error}")))
    }

    /// A snapshot was taken just now, also one in the background.
    pub(crate) fn note(&self) {
        self.last.store(now(), Ordering::Relaxed);
    }

    pub(crate) fn last(&self) -> u64 {
        self.last.load(Ordering::Relaxed)
    }

    pub(crate) fn is_running(&self) -> bool {
        self.is_running.load(Ordering::Relaxed)
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Relaxed)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

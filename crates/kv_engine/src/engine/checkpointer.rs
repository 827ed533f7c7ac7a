//! [`Checkpointer`]: the checkpoint thread as the other files see it, and the figures of its checkpoints. Its work is
//! in `checkpoint.rs`.

use crate::error::{Error, Result};
use crate::snapshot;
use crate::sync::thread::Thread;
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering};
use std::sync::{OnceLock, PoisonError};
use std::time::Duration;

/// The log may grow to this many times its limit before writers wait for the running checkpoint.
const MOST_LIMITS: u64 = 8;

/// The engine's side of the thread.
#[derive(Debug)]
pub(super) struct Checkpointer {
    pub(super) thread: OnceLock<Thread>,
    pub(super) limit_bytes: u64,
    pub(super) interval: Duration,
    /// The length of the log at which the thread is woken; `u64::MAX` while it works.
    pub(super) due_bytes: AtomicU64,
    pub(super) running: AtomicBool,
    pub(super) stopping: AtomicBool,
    lock: Mutex<()>,
    failure: Mutex<Option<String>>,
    failures: AtomicU64,
    met_damage: AtomicBool,
    /// The header of the snapshot that this store opened or wrote last. The next checkpoint builds on it.
    base: Mutex<Option<snapshot::Header>>,
    /// How much the running checkpoint, or the last one, has read,
    pub(super) read: AtomicU64,
    /// and how much it has to read.
    pub(super) to_read: AtomicU64,
}

/// The right to take a checkpoint or to close. One thread at a time has it.
pub(super) type CheckpointLock<'a> = MutexGuard<'a, ()>;

impl Checkpointer {
    pub(super) fn new(limit_bytes: u64, interval: Duration, base: Option<snapshot::Header>) -> Checkpointer {
        Checkpointer {
            thread: OnceLock::new(),
            limit_bytes,
            interval,
            due_bytes: AtomicU64::new(if limit_bytes == 0 { u64::MAX } else { limit_bytes }),
            running: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            lock: Mutex::new(()),
            failure: Mutex::new(None),
            failures: AtomicU64::new(0),
            met_damage: AtomicBool::new(false),
            base: Mutex::new(base),
            read: AtomicU64::new(0),
            to_read: AtomicU64::new(0),
        }
    }

    /// How much the running checkpoint, or the last one, has read, and how much it has to read.
    pub(super) fn progress(&self) -> (u64, u64) {
        (self.read.load(Ordering::Relaxed), self.to_read.load(Ordering::Relaxed))
    }

    pub(super) fn is_by_age(&self) -> bool {
        !self.interval.is_zero()
    }

    pub(super) fn base(&self) -> Option<snapshot::Header> {
        *self.base.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set_base(&self, header: snapshot::Header) {
        *self.base.lock().unwrap_or_else(PoisonError::into_inner) = Some(header);
    }

    pub(super) fn set_failure(&self, failure: Option<String>) {
        self.failures.fetch_add(u64::from(failure.is_some()), Ordering::Relaxed);
        *self.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
    }

    /// Whether writers have to wait until the log is shorter.
    pub(super) fn is_behind(&self, log_bytes: u64) -> bool {
        self.limit_bytes > 0 && log_bytes / MOST_LIMITS > self.limit_bytes && self.running.load(Ordering::Relaxed)
    }

    /// The checkpoint has ended, or its thread has panicked.
    pub(super) fn ended(&self) {
        self.running.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    pub(super) fn failure(&self) -> Option<String> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes the result of a checkpoint whose error no caller gets. Returns whether it failed.
    pub(super) fn note(&self, result: Result<()>) -> bool {
        if matches!(
            result,
            Err(Error::Damaged { .. }
                | Error::Foreign { .. }
                | Error::Version { .. }
                | Error::Replaced { .. }
                | Error::Lost { .. })
        ) {
            self.met_damage.store(true, Ordering::Relaxed);
        }
        let failure = result.err().filter(|error| !matches!(error, Error::Closed)).map(|error| error.to_string());
        let failed = failure.is_some();
        self.set_failure(failure);
        failed
    }

    /// How many of those checkpoints have failed, and whether one of them met damage.
    pub(super) fn failures(&self) -> (u64, bool) {
        (self.failures.load(Ordering::Relaxed), self.met_damage.load(Ordering::Relaxed))
    }

    /// Waits until no other thread takes a checkpoint.
    pub(super) fn lock(&self) -> CheckpointLock<'_> {
        self.lock.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn stop(&self, stop: bool) {
        self.stopping.store(stop, Ordering::Relaxed);
    }

    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

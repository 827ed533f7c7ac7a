//! [`Flusher`]: how the other files wake the flush thread. Its work is in `flush.rs`.

use crate::sync::AtomicBool;
use crate::sync::Ordering;
use crate::sync::thread::Thread;
use std::sync::OnceLock;

/// The engine's side of the thread.
#[derive(Debug, Default)]
pub(super) struct Flusher {
    pub(super) thread: OnceLock<Thread>,
    /// Whether the thread has a deadline and will look again without being woken. Changed under the log's lock.
    pub(super) has_deadline: AtomicBool,
}

impl Flusher {
    /// Called under the log's lock when a first write is pending, or is not followed by a mark.
    pub(super) fn wake_for_write(&self) {
        if !self.has_deadline.load(Ordering::Relaxed)
            && let Some(thread) = self.thread.get()
            && !self.has_deadline.swap(true, Ordering::Relaxed)
        {
            thread.unpark();
        }
    }

    /// Wakes the thread when the store closes. It finds the store closed or gone and ends.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }
}

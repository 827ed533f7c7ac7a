//! [`Committer`]: the committing thread as the other files see it. Its work is in `submit.rs`.

use crate::sync::thread::{self, Thread};
use std::sync::OnceLock;

/// The engine's side of the thread.
#[derive(Debug)]
pub(super) struct Committer {
    pub(super) thread: OnceLock<Thread>,
    /// There is no thread. The caller gives it its turns.
    pub(super) by_hand: bool,
}

impl Committer {
    pub(super) fn new(by_hand: bool) -> Committer {
        Committer { thread: OnceLock::new(), by_hand }
    }

    /// Wakes the thread, if there is one. It looks for work and sleeps again.
    pub(super) fn wake(&self) {
        if let Some(thread) = self.thread.get() {
            thread.unpark();
        }
    }

    /// Whether this is the committing thread.
    pub(super) fn is_this_thread(&self) -> bool {
        self.thread.get().is_some_and(|thread| thread.id() == thread::current().id())
    }
}

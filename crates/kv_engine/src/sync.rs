//! The locks and threads of the engine: those of the standard library, or with `--cfg shuttle` those of shuttle.
//!
//! Shuttle runs one thread at a time. At each call of a lock it decides which thread goes on. So thousands of schedules
//! can be tried, and each of them can be repeated. `Arc`, `Weak` and `OnceLock` are always the standard library's,
//! because no thread waits in them. [`Signal`] is built from the locks of the chosen library.

#[cfg(not(shuttle))]
use std as chosen;

#[cfg(shuttle)]
use shuttle as chosen;

pub(crate) use chosen::hint::spin_loop;
pub(crate) use chosen::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering, fence};
pub(crate) use chosen::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use chosen::thread;

/// Sleeps until the time is over, or another thread unparks this one. Shuttle has no time: there it may return at once.
pub(crate) fn park_timeout(time: std::time::Duration) {
    #[cfg(not(shuttle))]
    thread::park_timeout(time);
    #[cfg(shuttle)]
    {
        let _ = time;
        thread::yield_now();
    }
}

/// A value that is set once, and for which any number of threads can wait. Setting it wakes all of them with one system
/// call, and they do not compete for a lock.
#[cfg(not(shuttle))]
#[derive(Debug)]
pub(crate) struct Signal<T>(std::sync::OnceLock<T>);

#[cfg(not(shuttle))]
impl<T> Default for Signal<T> {
    fn default() -> Signal<T> {
        Signal(std::sync::OnceLock::new())
    }
}

#[cfg(not(shuttle))]
impl<T> Signal<T> {
    /// Sets the value, unless it is set.
    pub(crate) fn set(&self, value: T) {
        let _ = self.0.set(value);
    }

    pub(crate) fn wait(&self) -> &T {
        self.0.wait()
    }
}

#[cfg(shuttle)]
#[derive(Debug)]
pub(crate) struct Signal<T> {
    value: std::sync::OnceLock<T>,
    is_set: Mutex<bool>,
    changed: Condvar,
}

#[cfg(shuttle)]
impl<T> Default for Signal<T> {
    fn default() -> Signal<T> {
        Signal { value: std::sync::OnceLock::new(), is_set: Mutex::new(false), changed: Condvar::new() }
    }
}

#[cfg(shuttle)]
impl<T> Signal<T> {
    pub(crate) fn set(&self, value: T) {
        let mut is_set = self.is_set.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let _ = self.value.set(value);
        *is_set = true;
        self.changed.notify_all();
    }

    pub(crate) fn wait(&self) -> &T {
        let mut is_set = self.is_set.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        while !*is_set {
            is_set = self.changed.wait(is_set).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        self.value.get().expect("it is set")
    }
}

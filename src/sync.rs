//! The locks and threads of the engine: those of the standard library. With `--cfg shuttle` they are
//! shuttle's, which runs one thread at a time and decides at each of their calls which one goes on, so
//! that schedules can be tried by the thousand and repeated. `Arc`, `Weak` and `OnceLock` are the
//! standard library's in both: nobody waits in them.

#[cfg(not(shuttle))]
use std as chosen;

#[cfg(shuttle)]
use shuttle as chosen;

pub(crate) use chosen::sync::atomic::AtomicBool;
pub(crate) use chosen::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
pub(crate) use chosen::thread;

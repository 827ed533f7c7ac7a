//! The gate: the lock that decides whether the main thread or a signal ends the process.
//!
//! Only the thread that holds the session may run commands or end the process. The main thread holds it while it works
//! and looks at the flags after every command. It lets go only while it waits for input. A signal that comes then is
//! handled by the thread of `signals`, which takes the gate and closes the store.

use crate::outfile;
use crate::session::{Ending, Session};
use crate::signals::{self, soon};
use crate::store::Opened;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

/// A session that one thread at a time may use.
pub(crate) struct Gate {
    session: Mutex<Session>,
    engine: Opened,
}

impl Gate {
    pub(crate) fn new(session: Session) -> Gate {
        let engine = Opened::clone(session.store.opened());
        Gate { session: Mutex::new(session), engine }
    }

    /// Waits until no other thread has the session, and takes it.
    pub(crate) fn hold(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold_soon(&self) -> Option<MutexGuard<'_, Session>> {
        soon(|| match self.session.try_lock() {
            Ok(session) => Some(session),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
    }

    /// From now on a signal ends this session.
    pub(crate) fn listen(&'static self) {
        signals::listen(|signal| self.end(signal));
    }

    /// Ends the process because of `signal`. The main thread may be unable to let go, because the reader of stdout has
    /// stopped reading. Then the replies are lost, but the store is still closed cleanly.
    fn end(&self, signal: i32) {
        let status = match self.hold_soon() {
            Some(mut session) => session.end(Ending::Signal(signal)).into(),
            None if self.engine.get().is_some_and(|engine| engine.close().is_err()) => 4,
            None => 128 + signal,
        };
        // A command that is still at work cannot remove its scratch files itself.
        outfile::remove_all();
        std::process::exit(status)
    }
}

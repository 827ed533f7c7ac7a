//! Signals, and who ends the process.
//!
//! SIGTERM, SIGHUP and, outside the prompt, SIGINT let the command that runs finish, close the
//! store, write out the replies and exit with 128 + signal. A thread takes them, because the main
//! thread may be blocked in a read. The [`Gate`] decides which of the two ends the process: whoever
//! holds it. The main thread holds it while it works and looks at the flags after every command; it
//! lets go only while it waits for input. A second signal ends the process at once.

use crate::session::{Ending, Session};
use kv_engine::Engine;
use rustix::termios::{self, OptionalActions, Termios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};
use std::time::{Duration, Instant};

/// So long may the command that runs take to finish after a signal.
const PATIENCE: Duration = Duration::from_secs(2);

/// What signals have asked for.
#[derive(Debug)]
pub(crate) struct Flags {
    stop: AtomicI32,
    interrupt: AtomicBool,
}

impl Flags {
    pub(crate) const fn new() -> Flags {
        Flags { stop: AtomicI32::new(0), interrupt: AtomicBool::new(false) }
    }

    /// The signal that asks the process to end.
    pub(crate) fn stop_signal(&self) -> Option<i32> {
        match self.stop.load(Ordering::Relaxed) {
            0 => None,
            signal => Some(signal),
        }
    }

    /// Whether the command that runs should stop.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed) || self.stop_signal().is_some()
    }

    /// Forgets a Ctrl-C that came before the command.
    pub(crate) fn forget_interrupt(&self) {
        self.interrupt.store(false, Ordering::Relaxed);
    }
}

/// Whoever holds the session may run commands or end the process.
pub(crate) struct Gate {
    session: Mutex<Session>,
    engine: Engine,
}

impl Gate {
    pub(crate) fn new(session: Session, engine: Engine) -> Gate {
        Gate { session: Mutex::new(session), engine }
    }

    pub(crate) fn hold(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn hold_soon(&self) -> Option<MutexGuard<'_, Session>> {
        let began = Instant::now();
        loop {
            match self.session.try_lock() {
                Ok(session) => return Some(session),
                Err(TryLockError::Poisoned(poisoned)) => return Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) if began.elapsed() > PATIENCE => return None,
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    /// Ends the process because of `signal`. A session that nobody lets go of, because its reader
    /// has stopped reading, loses its replies; the store is closed in order all the same.
    fn end(&self, signal: i32) -> ! {
        let status = match self.hold_soon() {
            Some(mut session) => session.end(Ending::Signal(signal)).into(),
            None if self.engine.close().is_err() => 4,
            None => 128 + signal,
        };
        // A command that is still at work cannot.
        crate::outfile::remove_all();
        std::process::exit(status)
    }
}

/// A file size limit is to be an error of the write, not the end of the process. Before any write.
pub(crate) fn survive_file_size_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// Starts to listen. `terminal` is to be put back when a signal comes at the prompt.
pub(crate) fn listen(gate: &'static Gate, flags: &'static Flags, terminal: Option<Terminal>) -> io::Result<()> {
    let ignored = ignored_signals();
    let heard: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0).collect();
    let at_prompt = terminal.is_some();
    let ends = move |signal: i32| signal != SIGINT || !at_prompt;
    let armed = Arc::new(AtomicBool::new(false));
    for &signal in heard.iter().filter(|&&signal| ends(signal)) {
        // In this order: the first signal finds it unarmed.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
        flag::register(signal, Arc::clone(&armed))?;
    }
    let mut signals = Signals::new(heard)?;
    let listener = move || {
        for signal in signals.forever() {
            if !ends(signal) {
                flags.interrupt.store(true, Ordering::Relaxed);
                continue;
            }
            flags.stop.store(signal, Ordering::Relaxed);
            if let Some(terminal) = &terminal {
                terminal.restore();
            }
            gate.end(signal);
        }
    };
    std::thread::Builder::new().name("kv-signals".into()).spawn(listener).map(drop)
}

/// For a tool that has no store open and looks at the flags by itself: notes the first signal, and a second one ends
/// the process at once.
pub(crate) fn heed(flags: &'static Flags) -> io::Result<()> {
    let ignored = ignored_signals();
    let heard: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0).collect();
    let armed = Arc::new(AtomicBool::new(false));
    for &signal in &heard {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
        flag::register(signal, Arc::clone(&armed))?;
    }
    let mut signals = Signals::new(heard)?;
    let listener = move || signals.forever().for_each(|signal| flags.stop.store(signal, Ordering::Relaxed));
    std::thread::Builder::new().name("kv-signals".into()).spawn(listener).map(drop)
}

/// The exit status of a tool that runs until it is told to stop: Ctrl-C is how that is told.
pub(crate) fn status_of(signal: i32) -> u8 {
    if signal == SIGINT { 0 } else { u8::try_from(128 + signal).unwrap_or(255) }
}

/// Signals that whoever started us wants ignored, as `nohup` and background jobs do; bit n - 1.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// How the terminal was before the line editor changed it.
pub(crate) struct Terminal(Termios);

impl Terminal {
    pub(crate) fn save() -> Option<Terminal> {
        termios::tcgetattr(io::stdin()).ok().map(Terminal)
    }

    fn restore(&self) {
        // The process ends in any case; there is nothing better to try.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        if let Ok(mut tty) = OpenOptions::new().write(true).open("/dev/tty") {
            let _ = tty.write_all(b"\x1b[?2004l\r\n");
        }
    }
}

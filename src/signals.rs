//! Signals, and who ends the process.
//!
//! SIGTERM, SIGHUP and, outside the prompt, SIGINT let the command that runs finish, close the
//! store, write out the replies and exit with 128 + signal. A thread takes them, because the main
//! thread may be blocked in a read. The [`Gate`] decides which of the two ends the process: whoever
//! holds it. The main thread holds it while it works and looks at the flags after every command; it
//! lets go only while it waits for input. A second signal ends the process at once.
//!
//! None is swallowed, however early. Up to [`begin`] a signal does what it always does: it ends the process. `begin`
//! comes before the store is opened. From then on signals are noted, and the thread waits for as long as it has
//! [`PATIENCE`] until there is somebody to ask, [`listen`] or [`heed`]; without one it ends the process itself.
//!
//! A signal that whoever started us had ignored stays ignored, with one exception: at its own prompt the shell takes
//! Ctrl-C in any case.
//!
//! A program that was stopped finds the terminal as somebody else has left it. At SIGCONT, while a line is typed,
//! [`Terminal`] puts it back in order and has the line drawn again.

use crate::session::{Ending, Session};
use crate::streams;
use kv_engine::Engine;
use rustix::termios::{self, ControlModes, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::thread;
use std::time::{Duration, Instant};

/// So long may the command that runs take to finish after a signal.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(1);

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

    /// The command that runs is to stop.
    pub(crate) fn interrupt(&self) {
        self.interrupt.store(true, Ordering::Relaxed);
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
        soon(|| match self.session.try_lock() {
            Ok(session) => Some(session),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        })
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

/// What there is within [`PATIENCE`].
fn soon<T>(mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        match found() {
            None if began.elapsed() < PATIENCE => thread::sleep(LOOK_EVERY),
            found => return found,
        }
    }
}

/// A file size limit is to be an error of the write, not the end of the process. Before any write.
pub(crate) fn survive_file_size_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// Who does what a signal asks for.
enum Listener {
    Session(&'static Gate),
    /// The main thread, which looks at the flags.
    Tool,
}

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Takes signals from now on. With a `terminal` SIGINT is for the command that runs at its prompt, and not the end.
///
/// # Errors
/// The thread cannot be had; nothing must be opened then, for signals are lost.
pub(crate) fn begin(flags: &'static Flags, terminal: Option<&'static Terminal>) -> io::Result<()> {
    let ignored = ignored_signals();
    let is_ignored = |signal: i32| ignored & (1 << (signal - 1)) != 0;
    let ending: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)).collect();
    let of_prompt = terminal.into_iter().flat_map(|_| [SIGINT, SIGCONT]);
    // What comes before the thread is there is kept for it.
    let mut signals = Signals::new(ending.iter().copied().chain(of_prompt))?;
    let take = move || {
        for signal in signals.forever() {
            match (signal, terminal, LISTENER.get()) {
                (SIGCONT, Some(terminal), _) => terminal.come_back(),
                (SIGINT, Some(_), Some(Listener::Session(_))) => flags.interrupt(),
                _ => end(signal, flags, terminal),
            }
        }
    };
    thread::Builder::new().name("kv-signals".into()).spawn(take)?;
    let armed = Arc::new(AtomicBool::new(false));
    for &signal in ending.iter().filter(|&&signal| signal != SIGINT || terminal.is_none()) {
        // In this order: the first signal finds it unarmed.
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
        flag::register(signal, Arc::clone(&armed))?;
    }
    Ok(())
}

/// Notes that `signal` asks for the end, and has somebody bring it about.
fn end(signal: i32, flags: &Flags, terminal: Option<&Terminal>) {
    flags.stop.store(signal, Ordering::Relaxed);
    match soon(|| LISTENER.get()) {
        Some(Listener::Session(gate)) => {
            if let Some(terminal) = terminal {
                terminal.leave();
            }
            gate.end(signal)
        }
        // It looks at the flags by itself, unless nobody takes what it writes.
        Some(Listener::Tool) => {
            std::thread::sleep(PATIENCE);
            crate::outfile::remove_all();
            std::process::exit(128 + signal)
        }
        // The store is still being opened: nothing has been promised to anybody.
        None => {
            crate::outfile::remove_all();
            std::process::exit(128 + signal)
        }
    }
}

/// From now on the session is asked, behind `gate`.
pub(crate) fn listen(gate: &'static Gate) {
    let _ = LISTENER.set(Listener::Session(gate));
}

/// For a tool that has no store open and looks at the flags by itself: notes the first signal, and a second one ends
/// the process at once.
pub(crate) fn heed(flags: &'static Flags) -> io::Result<()> {
    let _ = LISTENER.set(Listener::Tool);
    begin(flags, None)
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

/// The terminal of a prompt.
pub(crate) struct Terminal {
    /// How it was before the line editor changed it.
    before: Termios,
    typing: Mutex<Typing>,
}

/// Whether a line is being typed, and what has happened meanwhile.
struct Typing {
    is_under_way: bool,
    was_stopped: bool,
    /// Has the editor draw the line again; `None` with one that leaves the terminal alone. It may wait for the editor,
    /// so it runs in a thread of its own.
    redraw: Option<Arc<Mutex<Redraw>>>,
}

pub(crate) type Redraw = Box<dyn FnMut() + Send>;

impl Terminal {
    pub(crate) fn save() -> Option<Terminal> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        Some(Terminal { before, typing: Mutex::new(Typing { is_under_way: false, was_stopped: false, redraw: None }) })
    }

    fn typing(&self) -> MutexGuard<'_, Typing> {
        self.typing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn redraw_with(&self, redraw: Redraw) {
        self.typing().redraw = Some(Arc::new(Mutex::new(redraw)));
    }

    /// Runs the line editor.
    pub(crate) fn type_in<T>(&self, line: impl FnOnce() -> T) -> T {
        self.typing().is_under_way = true;
        let typed = line();
        let mut typing = self.typing();
        typing.is_under_way = false;
        if std::mem::take(&mut typing.was_stopped) {
            // The editor may have found our modes, and taken them for those from before.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        }
        typed
    }

    /// After a stop: whoever had the terminal meanwhile has left it in its own modes, and something else on the screen.
    fn come_back(&self) {
        let mut typing = self.typing();
        let Some(redraw) = typing.redraw.clone().filter(|_| typing.is_under_way) else { return };
        typing.was_stopped = true;
        // What the editor asks for: every byte as it is typed, nothing shown by the terminal itself, no signals.
        let mut raw = self.before.clone();
        raw.input_modes &= !(InputModes::BRKINT | InputModes::ICRNL | InputModes::INPCK | InputModes::ISTRIP | InputModes::IXON);
        raw.control_modes |= ControlModes::CS8;
        raw.local_modes &= !(LocalModes::ECHO | LocalModes::ICANON | LocalModes::IEXTEN | LocalModes::ISIG);
        raw.special_codes[SpecialCodeIndex::VMIN] = 1;
        raw.special_codes[SpecialCodeIndex::VTIME] = 0;
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &raw);
        tell("\x1b[?2004h");
        drop(typing);
        let draw = move || {
            if let Ok(mut redraw) = redraw.try_lock() {
                redraw();
            }
        };
        // Without the thread the line comes with the next key.
        let _ = thread::Builder::new().name("kv-redraw".into()).spawn(draw);
    }

    fn leave(&self) {
        // The process ends in any case; there is nothing better to try.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        tell("\x1b[?2004l\r\n");
    }
}

/// Writes to the terminal itself.
fn tell(text: &str) {
    if let Ok(tty) = OpenOptions::new().write(true).open("/dev/tty") {
        let _ = streams::Patient(tty).write_all(text.as_bytes());
    }
}

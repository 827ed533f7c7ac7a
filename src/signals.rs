//! Signals: which ones are taken, and what they ask for.
//!
//! SIGTERM, SIGHUP and, outside the prompt, SIGINT let the running command finish, close the store, write out the
//! replies and exit with 128 + signal. A thread takes them, because the main thread may be blocked in a read. It notes
//! them in the [`Flags`] and calls the listener, which ends the process. A second signal ends the process at once.
//!
//! No signal is lost. Before [`begin`] a signal does what it always does: it ends the process. `begin` runs before the
//! store is opened. From then on signals are noted. If there is no listener yet, the thread waits for one, but not
//! longer than [`PATIENCE`]; then it ends the process itself. [`listen`] sets the listener for a session, and
//! [`note_only`] says that a tool looks at the flags itself, and how long it may take for that.
//!
//! A signal that the parent process has ignored stays ignored, with one exception: at its own prompt the shell always
//! takes Ctrl-C.
//!
//! While the program is stopped (Ctrl-Z), other programs may change the modes of the terminal. At SIGCONT, if a line is
//! being typed, [`Terminal`] sets the modes again and has the line drawn again.

use crate::outfile;
use crate::streams;
use rustix::termios::{self, ControlModes, InputModes, LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGXFSZ};
use signal_hook::flag;
use signal_hook::iterator::Signals;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the running command may take to finish after a signal.
const PATIENCE: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(1);
/// What Ctrl-C shows at a prompt with nothing typed.
pub(crate) const HOW_TO_LEAVE: &str = "(EXIT or Ctrl-D to quit)";

/// What signals have asked for. The main thread looks at it between two steps.
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

    /// Whether the running command should stop.
    pub(crate) fn interrupted(&self) -> bool {
        self.interrupt.load(Ordering::Relaxed) || self.stop_signal().is_some()
    }

    /// Asks the running command to stop.
    pub(crate) fn interrupt(&self) {
        self.interrupt.store(true, Ordering::Relaxed);
    }

    /// Forgets a Ctrl-C that came before the command.
    pub(crate) fn forget_interrupt(&self) {
        self.interrupt.store(false, Ordering::Relaxed);
    }
}

/// Calls `found` until it returns something, or [`PATIENCE`] is over.
pub(crate) fn soon<T>(mut found: impl FnMut() -> Option<T>) -> Option<T> {
    let began = Instant::now();
    loop {
        match found() {
            None if began.elapsed() < PATIENCE => thread::sleep(LOOK_EVERY),
            found => return found,
        }
    }
}

/// Makes a file size limit an error of the write. Without this it ends the process. To be called before any write.
pub(crate) fn survive_file_size_limit() -> io::Result<()> {
    flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false))).map(drop)
}

/// Who acts on a signal that asks for the end.
enum Listener {
    /// Called with the signal; it ends the process.
    Session(Box<dyn Fn(i32) + Send + Sync>),
    /// The main thread, which looks at the flags and ends the process within this time.
    Tool(Duration),
}

static LISTENER: OnceLock<Listener> = OnceLock::new();

/// Takes signals from now on. With a `terminal`, SIGINT stops the command that runs at its prompt, and not the process.
///
/// # Errors
/// The thread cannot be started. Signals would be lost then, so the caller must not open the store.
pub(crate) fn begin(flags: &'static Flags, terminal: Option<&'static Terminal>) -> io::Result<()> {
    let ignored = ignored_signals();
    let is_ignored = |signal: i32| ignored & (1 << (signal - 1)) != 0;
    let ending: Vec<i32> = [SIGINT, SIGTERM, SIGHUP].into_iter().filter(|&signal| !is_ignored(signal)).collect();
    let of_prompt = terminal.into_iter().flat_map(|_| [SIGINT, SIGCONT]);
    // Signals that come before the thread runs are kept for it.
    let mut signals = Signals::new(ending.iter().copied().chain(of_prompt))?;
    let take = move || {
        for signal in signals.forever() {
            match (signal, terminal, LISTENER.get()) {
                (SIGCONT, Some(terminal), _) => terminal.come_back(),
                (SIGINT, Some(terminal), Some(Listener::Session(_))) => {
                    flags.interrupt();
                    terminal.prompt_again();
                }
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

/// Takes signals for a server from now on. The first SIGINT or SIGTERM calls the listener, which does not have to end
/// the process; a second one ends the process at once. SIGHUP calls `reload`.
///
/// # Errors
/// As [`begin`].
pub(crate) fn begin_server(flags: &'static Flags, reload: impl Fn() + Send + 'static) -> io::Result<()> {
    let ignored = ignored_signals();
    let ending: Vec<i32> = [SIGINT, SIGTERM].into_iter().filter(|signal| ignored & (1 << (signal - 1)) == 0).collect();
    let mut signals = Signals::new(ending.iter().copied().chain([SIGHUP]))?;
    let take = move || {
        for signal in signals.forever() {
            if signal == SIGHUP { reload() } else { end(signal, flags, None) }
        }
    };
    thread::Builder::new().name("kv-signals".into()).spawn(take)?;
    let armed = Arc::new(AtomicBool::new(false));
    for &signal in &ending {
        flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
        flag::register(signal, Arc::clone(&armed))?;
    }
    Ok(())
}

/// Notes that `signal` asks for the end, and has the listener end the process.
fn end(signal: i32, flags: &Flags, terminal: Option<&Terminal>) {
    flags.stop.store(signal, Ordering::Relaxed);
    match soon(|| LISTENER.get()) {
        Some(Listener::Session(end)) => {
            if let Some(terminal) = terminal {
                terminal.leave();
            }
            end(signal);
        }
        // It looks at the flags by itself. It cannot do so if no process reads what it writes.
        Some(Listener::Tool(patience)) => {
            thread::sleep(*patience);
            outfile::remove_all();
            std::process::exit(128 + signal)
        }
        // The store is still being opened: nothing has been acknowledged yet.
        None => {
            outfile::remove_all();
            std::process::exit(128 + signal)
        }
    }
}

/// From now on `end` is called with a signal that asks for the end. It ends the process, or has it end.
pub(crate) fn listen(end: impl Fn(i32) + Send + Sync + 'static) {
    let _ = LISTENER.set(Listener::Session(Box::new(end)));
}

/// For a tool that has no store open and looks at the flags by itself: the first signal is noted, a second one ends the
/// process at once.
pub(crate) fn note_only(flags: &'static Flags) -> io::Result<()> {
    note_for(flags, PATIENCE)
}

/// As [`note_only`], for a tool that may take longer to end, because it has to clean up.
pub(crate) fn note_for(flags: &'static Flags, patience: Duration) -> io::Result<()> {
    let _ = LISTENER.set(Listener::Tool(patience));
    begin(flags, None)
}

/// `SIGINT` and the others that end the process.
pub(crate) fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        SIGHUP => "SIGHUP",
        _ => "a signal",
    }
}

/// The exit status of a tool that runs until a signal stops it. Ctrl-C is the usual way to stop it, so its status is 0.
pub(crate) fn status_of(signal: i32) -> u8 {
    if signal == SIGINT { 0 } else { u8::try_from(128 + signal).unwrap_or(255) }
}

/// Signals that the parent process wants ignored, as `nohup` and background jobs do; bit n - 1.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// The terminal of a prompt.
pub(crate) struct Terminal {
    /// Its modes before the line editor changed them.
    before: Termios,
    typing: Mutex<Typing>,
}

/// Whether a line is being typed, and whether the program was stopped while it was.
struct Typing {
    is_under_way: bool,
    was_stopped: bool,
    prompt: &'static str,
    /// Has the editor draw the line again; `None` if the editor does not change the terminal. It may wait for the
    /// editor, so it runs in a thread of its own.
    redraw: Option<Arc<Mutex<Redraw>>>,
}

pub(crate) type Redraw = Box<dyn FnMut() + Send>;

impl Terminal {
    pub(crate) fn save() -> Option<Terminal> {
        let before = termios::tcgetattr(io::stdin()).ok()?;
        Some(Terminal {
            before,
            typing: Mutex::new(Typing { is_under_way: false, was_stopped: false, prompt: "", redraw: None }),
        })
    }

    fn typing(&self) -> MutexGuard<'_, Typing> {
        self.typing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn redraw_with(&self, redraw: Redraw) {
        self.typing().redraw = Some(Arc::new(Mutex::new(redraw)));
    }

    /// Runs the line editor, which shows this prompt.
    pub(crate) fn type_in<T>(&self, prompt: &'static str, line: impl FnOnce() -> T) -> T {
        {
            let mut typing = self.typing();
            (typing.is_under_way, typing.prompt) = (true, prompt);
        }
        let typed = line();
        let mut typing = self.typing();
        typing.is_under_way = false;
        if std::mem::take(&mut typing.was_stopped) {
            // The editor may have read the modes that we set, and may have put those back.
            let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        }
        typed
    }

    /// After Ctrl-C on a terminal whose modes the editor does not change: the terminal has dropped the line, and the
    /// editor does not know that. Nobody knows whether there was one, so how to leave is said each time.
    fn prompt_again(&self) {
        let typing = self.typing();
        if typing.is_under_way && typing.redraw.is_none() {
            tell(&format!("\n{HOW_TO_LEAVE}\n{}", typing.prompt));
        }
    }

    /// After a stop: other programs may have changed the modes of the terminal and the screen.
    fn come_back(&self) {
        let mut typing = self.typing();
        let Some(redraw) = typing.redraw.clone().filter(|_| typing.is_under_way) else { return };
        typing.was_stopped = true;
        // The modes that the editor uses: every byte as it is typed, no echo by the terminal, no signals.
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
        // If the thread cannot start, the line is drawn at the next key.
        let _ = thread::Builder::new().name("kv-redraw".into()).spawn(draw);
    }

    fn leave(&self) {
        // The process ends in any case, so an error changes nothing.
        let _ = termios::tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
        tell("\x1b[?2004l\r\n");
    }
}

/// Writes to the terminal itself.
pub(crate) fn tell(text: &str) {
    if let Ok(tty) = OpenOptions::new().write(true).open("/dev/tty") {
        let _ = streams::Patient(tty).write_all(text.as_bytes());
    }
}

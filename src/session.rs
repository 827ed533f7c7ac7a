//! One conversation with the store: a line is read, run, answered, and remembered for the exit
//! status. Prompt, script, `-c` and words of the command line all come through here.

use crate::bench::{self, Bench};
use crate::command::{Command, Interpreter, Reply, parse, parse_words};
use crate::error::{Code, CommandError};
use crate::output::{Output, Place};
use crate::settings::{Import, Settings};
use crate::signals::Flags;
use crate::text::{counted, human_bytes, human_time};
use crate::transfer::{export, import};
use kv_engine::{Engine, Error};
use std::borrow::Cow;
use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// KEYS and SCAN list so many on a terminal when nothing else is asked for.
const TERMINAL_LIMIT: usize = 100;
/// A command that took longer says so at the prompt.
const SLOW: Duration = Duration::from_millis(500);

pub(crate) struct Session {
    engine: Engine,
    interpreter: Interpreter,
    pub(crate) output: Output,
    pub(crate) settings: Settings,
    flags: &'static Flags,
    failed: bool,
    told: Told,
}

/// The last checkpoint that failed in the background, of those that were told.
#[derive(Debug, Default)]
struct Told {
    failures: u64,
    snapshots: u64,
    reason: Option<String>,
}

/// Whether there is more to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Flow {
    On,
    End(Ending),
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The input's end, or `--bail`.
    Input,
    Exit(Option<u8>),
    /// stdout takes no more.
    Output,
    /// The store takes no more, which has been said.
    Store,
    Signal(i32),
}

impl Session {
    pub(crate) fn new(engine: Engine, output: Output, settings: Settings, flags: &'static Flags) -> Session {
        let mut interpreter = Interpreter::new(engine.clone());
        if output.interactive {
            interpreter = interpreter.default_limit(TERMINAL_LIMIT);
        }
        Session { engine, interpreter, output, settings, flags, failed: false, told: Told::default() }
    }

    /// How many commands wait for COMMIT; `None` when no group is open.
    pub(crate) fn open_group(&self) -> Option<usize> {
        self.interpreter.open_group()
    }

    /// Runs one line.
    pub(crate) fn line(&mut self, place: &Place, line: &[u8]) -> Flow {
        match parse(line) {
            Ok(Some(command)) => self.command(place, command),
            Ok(None) => self.next(),
            Err(error) => self.line_error(place, &error),
        }
    }

    /// Says why a line cannot be run.
    pub(crate) fn line_error(&mut self, place: &Place, error: &CommandError) -> Flow {
        self.interpreter.spoil_group();
        self.refuse(place, error)
    }

    /// Runs a command whose words the user's own shell has split.
    pub(crate) fn words(&mut self, place: &Place, words: &[Vec<u8>]) -> Flow {
        match parse_words(words.iter().map(|word| Cow::Borrowed(word.as_slice()))) {
            Ok(Some(command)) => self.command(place, command),
            Ok(None) => self.next(),
            Err(error) => self.refuse(place, &error),
        }
    }

    fn command(&mut self, place: &Place, command: Command<'_>) -> Flow {
        let verb = command.verb();
        let timed = self.settings.timing || self.output.interactive;
        let began = timed.then(Instant::now);
        let done = self.interpreter.run(command);
        let done = match done {
            Ok(Reply::Bench(bench)) => self.bench(*bench).map(|()| None),
            Ok(Reply::Export { file }) => self.export(file.map(path)).map(|()| None),
            Ok(Reply::Import { file }) => self.import_files(&[path(file)], None, false).map(|()| None),
            done => done.map(Some),
        };
        let took = began.map(|began| began.elapsed());
        match done {
            Err(error) => return self.refuse(place, &error),
            Ok(None) => {}
            Ok(Some(Reply::Stats(stats))) => self.output.stats(&stats, self.engine.recovery(), &self.settings.snapshot),
            Ok(Some(reply)) => {
                let (engine, timing) = (&self.engine, self.settings.timing);
                let note = || note(engine, &reply, took.filter(|&took| timing || took >= SLOW));
                if !self.output.reply(verb, &reply, self.flags, note) {
                    self.interpreter.spoil_group();
                    return self.refuse(place, &CommandError::new(Code::Interrupted, "interrupted; there are more entries"));
                }
                if let Reply::Exit(status) = reply {
                    return Flow::End(Ending::Exit(status));
                }
            }
        }
        if let Some(took) = took.filter(|_| self.settings.timing && !self.output.interactive) {
            self.output.aside(&format!("kv_cli: {} took {:.6} s", verb.name(), took.as_secs_f64()));
        }
        self.next()
    }

    /// `kv_cli import`.
    pub(crate) fn import(&mut self, place: &Place, files: &[PathBuf], from: Option<Import>, salvage: bool) -> Flow {
        match self.import_files(files, from, salvage) {
            Ok(()) => self.next(),
            Err(error) => self.refuse(place, &error),
        }
    }

    fn import_files(&mut self, files: &[PathBuf], from: Option<Import>, salvage: bool) -> Result<(), CommandError> {
        let request = import::Request { wal: &self.settings.wal, files, from, salvage, quiet: self.settings.quiet };
        import::run(&request, &self.engine, &mut self.output, self.flags)
    }

    fn export(&mut self, file: Option<PathBuf>) -> Result<(), CommandError> {
        // What was accepted and is only in memory is not in the files. Where the log has failed, memory is all there is.
        let memory = match self.engine.flush() {
            Ok(_) => None,
            Err(Error::Lost { .. } | Error::Poisoned { .. }) => Some(&self.engine),
            Err(error) => return Err(CommandError::of_command(error, "nothing was exported", "export again")),
        };
        let Settings { wal, snapshot, quiet, .. } = &self.settings;
        let request = export::Request { wal, snapshot, memory, file, salvage: false, quiet: *quiet };
        let done = export::run(&request, &mut self.output, self.flags).map(drop);
        if done.is_err() {
            self.interpreter.spoil_group();
        }
        done
    }

    fn bench(&mut self, mut bench: Bench) -> Result<(), CommandError> {
        if bench.batch_sizes.is_empty() {
            bench.batch_sizes.push(self.engine.batch_size());
        }
        let done = bench::run(&bench, &self.settings, &mut self.output, self.flags);
        if done.is_err() {
            self.interpreter.spoil_group();
        }
        done
    }

    /// Says why a command failed.
    pub(crate) fn refuse(&mut self, place: &Place, error: &CommandError) -> Flow {
        self.failed = true;
        self.output.error(place, error);
        if error.code == Code::LogFailed && !self.settings.interactive {
            return Flow::End(Ending::Store);
        }
        match self.next() {
            Flow::On if self.settings.bail => Flow::End(Ending::Input),
            flow => flow,
        }
    }

    /// Says that an input cannot be read; the store is unharmed.
    pub(crate) fn unreadable(&mut self, place: &Place, error: &io::Error) -> Flow {
        self.refuse(place, &CommandError::new(Code::Failed, error.to_string()))
    }

    /// Says that a checkpoint in the background has failed: once, and again when another one fails for another reason,
    /// or after one that succeeded. To be asked where the user looks next.
    pub(crate) fn tell_background(&mut self, place: &Place) {
        let stats = self.engine.stats();
        if stats.checkpoint_failures == self.told.failures {
            return;
        }
        let now =
            Told { failures: stats.checkpoint_failures, snapshots: stats.snapshots, reason: stats.checkpoint_failed.clone() };
        let before = std::mem::replace(&mut self.told, now);
        if before.failures > 0 && before.snapshots == stats.snapshots && before.reason == stats.checkpoint_failed {
            return;
        }
        let text = match &stats.checkpoint_failed {
            Some(reason) => format!(
                "a checkpoint in the background failed: {reason}; the log keeps what it holds and is not shortened; STATS \
                 tells whether a later one succeeds"
            ),
            None => "a checkpoint in the background failed; a later one has succeeded".to_string(),
        };
        self.output.complain(place, &text);
    }

    /// Between two commands, and before a read that may block after `output.flush()`.
    pub(crate) fn next(&self) -> Flow {
        match self.flags.stop_signal() {
            _ if self.output.is_broken() => Flow::End(Ending::Output),
            Some(signal) => Flow::End(Ending::Signal(signal)),
            None => Flow::On,
        }
    }

    /// Closes the store, writes out what was said, and returns the exit status.
    pub(crate) fn end(&mut self, ending: Ending) -> u8 {
        let mut status = match ending {
            Ending::Exit(Some(status)) => status,
            Ending::Signal(signal) => u8::try_from(128 + signal).unwrap_or(255),
            Ending::Store => 4,
            Ending::Output => 0,
            Ending::Input | Ending::Exit(None) => u8::from(self.failed && !self.settings.interactive),
        };
        let place = if self.settings.interactive { Place::Prompt } else { Place::Words };
        if let Some(writes) = self.interpreter.open_group()
            && !matches!(ending, Ending::Output | Ending::Store)
        {
            let text =
                format!("the group begun with BEGIN was never committed: {} in it, none written", counted(writes, "command"));
            self.output.error(&place, &CommandError::new(Code::GroupOpen, text));
            status = status.max(1);
        }
        if self.engine.recovery().is_loss() {
            status = status.max(3); // it went on without writes that had been promised
        }
        let closed = self.engine.close();
        // Closing ends a checkpoint that is under way, and may take one.
        self.tell_background(&place);
        if self.engine.stats().checkpoint_met_damage {
            status = status.max(1);
        }
        if let Err(error) = closed
            && ending != Ending::Store
        {
            let (text, least) = self.unsaved(&error);
            self.output.complain(&place, &text);
            status = if least == 4 { 4 } else { status.max(least) };
        }
        self.output.finish(status)
    }

    /// What a failed close means for the writes, and the exit status for it.
    fn unsaved(&self, error: &Error) -> (String, u8) {
        match error {
            Error::NoSpace { path, pending, source } if *pending > 0 => {
                let text = format!("{} not saved: {}: {source}", counted(*pending, "accepted write"), path.display());
                (text, 4)
            }
            Error::Poisoned { .. } | Error::Lost { .. } => (error.to_string(), 4),
            _ => match self.engine.pending() {
                0 => (format!("not closed in order, but every write is saved: {error}"), 1),
                pending => (format!("{} not saved: {error}", counted(pending, "accepted write")), 4),
            },
        }
    }
}

/// A file as it was named in a line.
fn path(name: Vec<u8>) -> PathBuf {
    OsString::from_vec(name).into()
}

/// What the person at the prompt may want to know beyond the reply.
fn note(engine: &Engine, reply: &Reply, took: Option<Duration>) -> Option<String> {
    let about = match reply {
        Reply::Written(ack) if !ack.durable => Some(format!("{} of {} buffered", ack.pending, engine.batch_size())),
        Reply::Queued(writes) => Some(format!("{writes} in the group")),
        Reply::Size(1) => Some("key".into()),
        Reply::Size(_) => Some("keys".into()),
        Reply::Flushed(f) if f.writes == 0 => Some("nothing was pending".into()),
        Reply::Flushed(f) => Some(format!("{}, {}, {}", counted(f.writes, "write"), human_bytes(f.bytes), human_time(f.took))),
        Reply::Snapshotted(s) => Some(format!("{}, {}; log emptied", counted(s.keys, "key"), human_bytes(s.bytes))),
        Reply::Keys(listed, true) => Some(more(listed.len())),
        Reply::Entries(listed, true) => Some(more(listed.len())),
        _ => None,
    };
    let slow =
        took.map(|took| if took >= SLOW { format!("({:.2}s)", took.as_secs_f64()) } else { format!("({})", human_time(took)) });
    let parts: Vec<_> = about.into_iter().chain(slow).collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn more(listed: usize) -> String {
    format!("({listed} shown, there are more: try LIMIT {})", listed.saturating_mul(10))
}

//! A session: one user's conversation with a store.
//!
//! Commands run on a session. They come from a prompt, a script, `-c` or the words of the command line. The session has
//! the store, the open group, the output, the settings and the flags of signals. It remembers whether a command failed.
//! [`Session::end`] closes the store and returns the exit status.
//!
//! The store may be opened late: a session where there is no store creates it at the first command that writes.

use crate::error::{Code, CommandError};
use crate::limits;
use crate::output::{Output, Place};
use crate::settings::Settings;
use crate::signals::Flags;
use crate::store::{self, Sink, Source, Store};
use crate::text::{counted, safe};
use kv_engine::{Batch, Engine, Error};
use std::io;

/// KEYS and SCAN without LIMIT list this many entries on a terminal.
const TERMINAL_LIMIT: usize = 100;

pub(crate) struct Session {
    pub(crate) store: Store,
    /// Between BEGIN and COMMIT.
    pub(crate) group: Option<Group>,
    pub(crate) output: Output,
    pub(crate) settings: Settings,
    pub(crate) flags: &'static Flags,
    /// How many entries KEYS and SCAN list without LIMIT.
    pub(crate) list_limit: usize,
    /// A person has typed the running line, and can answer a question.
    pub(crate) can_ask: bool,
    /// A command had nothing to do, because there is no store.
    found_no_store: bool,
    leaving: Option<Ending>,
    /// The exit status for the worst failure; 0 if no command failed.
    failed: u8,
    reported: Reported,
}

/// The writes since BEGIN. The limits of each are checked when it is queued, and not only at COMMIT.
#[derive(Debug, Default)]
pub(crate) struct Group {
    pub(crate) batch: Batch,
    /// A line failed since BEGIN. The group without that line is not what the user meant, so COMMIT refuses.
    pub(crate) spoilt: bool,
}

/// The last failed checkpoint that was reported.
#[derive(Debug, Default)]
struct Reported {
    failures: u64,
    snapshots: u64,
    reason: Option<String>,
}

/// Whether the session continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Flow {
    On,
    End(Ending),
}

/// Why a session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The end of the input, or a failed command with `--bail`.
    Input,
    Exit(Option<u8>),
    /// stdout cannot be written.
    Output,
    /// The store takes no more writes, or a write is in doubt; an error has said so.
    Store,
    Signal(i32),
}

impl Session {
    pub(crate) fn new(store: Store, output: Output, settings: Settings, flags: &'static Flags) -> Session {
        let list_limit = if output.interactive { TERMINAL_LIMIT } else { usize::MAX };
        Session {
            store,
            group: None,
            output,
            settings,
            flags,
            list_limit,
            can_ask: false,
            found_no_store: false,
            leaving: None,
            failed: 0,
            reported: Reported::default(),
        }
    }

    /// Where a command writes that may write. Creates a store that does not exist yet.
    pub(crate) fn writer(&mut self) -> Result<Sink<'_>, CommandError> {
        self.writer_and_output().map(|(store, ..)| store)
    }

    /// As [`Session::writer`], with what a long command needs beside it.
    pub(crate) fn writer_and_output(&mut self) -> Result<(Sink<'_>, &mut Output, &'static Flags), CommandError> {
        let Session { store, output, settings, flags, .. } = self;
        let store = store.writer(|text| {
            if !settings.quiet {
                output.warn(text);
            }
        })?;
        Ok((store, output, flags))
    }

    /// As [`Session::writer`], for a command that has nothing to do without a store. `None`: there is no store, and
    /// none is created. If that stays so, the end of the session says it.
    pub(crate) fn writer_if_there(&mut self) -> Result<Option<Sink<'_>>, CommandError> {
        self.look_again()?;
        if self.store.is_missing() {
            self.found_no_store = true;
            return Ok(None);
        }
        self.writer().map(Some)
    }

    /// Sets the batch size of a store that a later command may create.
    pub(crate) fn set_later_batch_size(&mut self, size: u64) {
        self.settings.batch = size;
        self.store.set_later_batch_size(size);
    }

    /// Where a command reads that only reads.
    pub(crate) fn source(&mut self) -> Result<Source<'_>, CommandError> {
        let is_lenient = self.is_lenient();
        self.store.source(is_lenient)
    }

    /// Opens a store that did not exist when the session began, if another process has made it since.
    pub(crate) fn look_again(&mut self) -> Result<(), CommandError> {
        if self.store.has_come() { self.writer().map(drop) } else { Ok(()) }
    }

    /// Whether a store that does not exist yet is as good as an empty one: it is going to be created.
    pub(crate) fn is_lenient(&self) -> bool {
        self.settings.interactive || self.group.is_some()
    }

    /// After how many writes the log is synced.
    pub(crate) fn batch_size(&self) -> u64 {
        self.store.batch_size().unwrap_or(self.settings.batch)
    }

    /// Makes COMMIT refuse, because a line of the open group failed. Does nothing if no group is open.
    pub(crate) fn spoil_group(&mut self) {
        if let Some(group) = &mut self.group {
            group.spoilt = true;
        }
    }

    /// Reports why a line was not run, or failed. An open group must not be written without that line.
    pub(crate) fn refuse(&mut self, place: &Place, error: &CommandError) -> Flow {
        self.spoil_group();
        self.report(place, error)
    }

    /// As [`Session::refuse`], but an open group goes on: a person sees the mistake before the next line.
    pub(crate) fn report(&mut self, place: &Place, error: &CommandError) -> Flow {
        self.failed = self.failed.max(error.code.status());
        self.output.error(place, error);
        let is_seen = self.settings.interactive;
        // What follows in a script may rest on the write that is in doubt.
        if matches!(error.code, Code::LogFailed | Code::InDoubt) && !is_seen {
            return Flow::End(Ending::Store);
        }
        match self.next() {
            Flow::On if self.settings.bail || error.code == Code::Unreachable && !is_seen => Flow::End(Ending::Input),
            flow => flow,
        }
    }

    /// Reports that an input cannot be read, and ends the session. The store is unharmed.
    pub(crate) fn unreadable(&mut self, input: &str, error: &io::Error) -> Flow {
        let error = CommandError::new(Code::Failed, error.to_string());
        match self.refuse(&Place::Whole(input.to_string()), &error) {
            Flow::On => Flow::End(Ending::Input),
            end => end,
        }
    }

    /// Reports that a checkpoint in the background has failed: once, and again if a later one fails for another reason
    /// or after one that succeeded. To be called when the user looks at the output next.
    pub(crate) fn report_background(&mut self, place: &Place) {
        let Some(engine) = self.store.opened().get() else { return };
        let stats = engine.stats();
        if stats.checkpoint_failures == self.reported.failures {
            return;
        }
        let now =
            Reported { failures: stats.checkpoint_failures, snapshots: stats.snapshots, reason: stats.checkpoint_failed.clone() };
        let before = std::mem::replace(&mut self.reported, now);
        if before.failures > 0 && before.snapshots == stats.snapshots && before.reason == stats.checkpoint_failed {
            return;
        }
        let text = match &stats.checkpoint_failed {
            Some(reason) => format!(
                "a background snapshot failed: {reason}; the log keeps its records, so it grows; STATS shows whether a later \
                 one succeeds"
            ),
            None => "a background snapshot failed; a later one has succeeded".to_string(),
        };
        self.output.complain(place, &text);
    }

    /// Reports what has happened to the connection to the server.
    pub(crate) fn report_connection(&mut self) {
        let Session { store, output, settings, .. } = self;
        let Some(server) = store.server() else { return };
        // Lost writes are reported even with --quiet.
        let told = server.take_notices().into_iter().filter(|notice| notice.is_loss || !settings.quiet);
        told.for_each(|notice| output.warn(&notice.text));
    }

    /// Makes EXIT the end of the session, after its reply.
    pub(crate) fn leave(&mut self, status: Option<u8>) {
        self.leaving = Some(Ending::Exit(status));
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.leaving.is_some()
    }

    /// Whether the session continues. To be called between two commands, and after `output.flush()` before a read that
    /// may block.
    pub(crate) fn next(&self) -> Flow {
        match (self.leaving, self.flags.stop_signal()) {
            (Some(ending), _) => Flow::End(ending),
            _ if self.output.is_broken() => Flow::End(Ending::Output),
            (None, Some(signal)) => Flow::End(Ending::Signal(signal)),
            (None, None) => Flow::On,
        }
    }

    /// Closes the store, writes out the replies, and returns the exit status.
    pub(crate) fn end(&mut self, ending: Ending) -> u8 {
        let mut status = match ending {
            Ending::Exit(Some(status)) => status,
            Ending::Signal(signal) => u8::try_from(128 + signal).unwrap_or(255),
            Ending::Store => 4,
            Ending::Output => 0,
            Ending::Input | Ending::Exit(None) if self.settings.interactive => 0,
            Ending::Input | Ending::Exit(None) => self.failed,
        };
        let place = if self.settings.interactive { Place::Prompt } else { Place::Words };
        if let Some(group) = &self.group
            && !matches!(ending, Ending::Output | Ending::Store)
        {
            let lost = match group.batch.len() {
                0 => "no command was queued after BEGIN".to_string(),
                1 => "the command queued after BEGIN was not written".to_string(),
                n => format!("the {n} commands queued after BEGIN were not written"),
            };
            let text = format!("the session ended without COMMIT; {lost}");
            self.output.error(&place, &CommandError::new(Code::GroupOpen, text));
            status = status.max(1);
        }
        let is_said = self.failed == Code::NoStore.status();
        if self.found_no_store && self.store.is_missing() && !is_said && !self.settings.interactive && !self.settings.quiet {
            self.output.aside(&format!("kv_cli: {}", safe(&store::nothing_at(&self.settings.wal))));
        }
        if self.store.is_loss() {
            status = status.max(3); // acknowledged durable writes are missing
        }
        if let Some(engine) = self.store.opened().get().cloned() {
            status = self.close(&engine, ending, &place, status);
        }
        // After the log of the server has failed, that was the last error.
        if let Some(server) = self.store.server().filter(|_| ending != Ending::Store)
            && let Err(error) = server.settle()
        {
            self.output.error(&place, &error);
            status = 4;
        }
        self.output.finish(status)
    }

    fn close(&mut self, engine: &Engine, ending: Ending, place: &Place, mut status: u8) -> u8 {
        let closed = engine.close();
        // Closing waits for a running checkpoint, and may take one.
        self.report_background(place);
        if engine.stats().checkpoint_met_damage {
            status = status.max(1);
        }
        match closed {
            Err(error) if ending != Ending::Store => {
                let (text, least) = unsaved(engine, &error);
                self.output.complain(place, &text);
                if least == 4 { 4 } else { status.max(least) }
            }
            _ => status,
        }
    }
}

/// What a failed close means for the writes, and the exit status for it.
fn unsaved(engine: &Engine, error: &Error) -> (String, u8) {
    let not_saved = |pending: u64| format!("{} not saved (a group counts as one write)", counted(pending, "accepted write"));
    match error {
        Error::NoSpace { path, pending, source } if *pending > 0 => {
            (format!("{}: {}: {source}", not_saved(*pending), path.display()), 4)
        }
        Error::Poisoned { .. } | Error::Lost { .. } => (error.to_string(), 4),
        _ => match engine.pending() {
            0 => (format!("the store did not close cleanly, but every write is saved: {error}"), 1),
            pending => (format!("{}: {error}", not_saved(pending)), 4),
        },
    }
}

impl Group {
    /// Adds a PUT and returns how many commands are in the group.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<usize, Error> {
        limits::check(key, value)?;
        self.batch.put(key, value);
        Ok(self.batch.len())
    }

    /// Adds a DEL and returns how many commands are in the group.
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<usize, Error> {
        limits::check(key, b"")?;
        self.batch.delete(key);
        Ok(self.batch.len())
    }
}

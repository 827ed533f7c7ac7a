//! Takes entries one by one and writes them to the store in groups. The readers of all formats use it.
//!
//! Each group is atomic, and the groups are written in order. So after a kill, a power cut or a full disk the store
//! holds the first groups, and no part of the next one. An entry that the store already holds is not written again. So
//! an import can be repeated: it reads past the entries that are stored, and goes on after them.
//!
//! A server is asked for the values of a whole group at a time, and not for each.

use crate::error::{Code, CommandError};
use crate::limits;
use crate::lines::{Lines, Next};
use crate::progress::Progress;
use crate::remote::Remote;
use crate::signals::Flags;
use crate::store::Sink;
use crate::text::{entries, human_time};
use kv_engine::{Batch, Error, Seq};
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::time::Instant;

/// A group is written when it has this many entries,
const GROUP_ENTRIES: usize = 1000;
/// or keys and values of this many bytes.
const GROUP_BYTES: usize = 1 << 20;

/// What to do about a wrong line, if the line itself does not suggest something else.
const CORRECT: &str = "correct it and import again";
const NOTHING: &str = "nothing was stored";
const SALVAGE: &str = "kv_cli import --salvage imports it anyway";

/// Why an input cannot be imported, and what to do. The advice may be empty.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) text: String,
    pub(super) advice: &'static str,
}

impl Refusal {
    pub(super) fn new(text: impl Into<String>, advice: &'static str) -> Refusal {
        Refusal { text: text.into(), advice }
    }
}

/// Why an import stops.
pub(super) enum Stop {
    /// The input is wrong in this line.
    Bad {
        line: u64,
        text: String,
        advice: &'static str,
    },
    /// The input as a whole cannot be imported.
    Foreign(Refusal),
    Input(io::Error),
    Store(Error),
    Server(CommandError),
    Interrupted,
}

impl From<Error> for Stop {
    fn from(error: Error) -> Stop {
        Stop::Store(error)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Input(error)
    }
}

/// A wrong line.
pub(super) fn bad(line: u64, text: impl Into<String>) -> Stop {
    Stop::Bad { line, text: text.into(), advice: CORRECT }
}

/// A line of an input.
pub(super) struct Row<'l> {
    pub(super) number: u64,
    pub(super) text: &'l [u8],
    /// It is the last one, and has no line feed.
    pub(super) is_cut: bool,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    pub(super) entries: u64,
    pub(super) unchanged: u64,
}

/// Entries that replace or remove what is stored.
#[derive(Debug, Default)]
pub(super) struct Replaced {
    pub(super) entries: u64,
    /// The key of the first one.
    pub(super) first: Option<Vec<u8>>,
}

impl Replaced {
    /// Counts an entry that replaces or removes the old value.
    fn compare(&mut self, key: &[u8], old: Option<&[u8]>, value: Option<&[u8]>) {
        if old.is_some_and(|old| Some(old) != value) {
            self.entries += 1;
            self.first.get_or_insert_with(|| key.to_vec());
        }
    }
}

/// The newest value of each key; `None` removes the key.
type Entries = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn batch_of(entries: impl IntoIterator<Item = (Vec<u8>, Option<Vec<u8>>)>) -> Batch {
    let mut batch = Batch::new();
    for (key, value) in entries {
        match value {
            Some(value) => batch.put(key, value),
            None => batch.delete(key),
        };
    }
    batch
}

/// The values that a server has for these keys, in their order.
fn stored_on_server(remote: &mut Remote, entries: &Entries) -> Result<Vec<Option<Vec<u8>>>, Stop> {
    if entries.is_empty() {
        return Ok(Vec::new());
    }
    let keys: Vec<Vec<u8>> = entries.keys().cloned().collect();
    let mut stored = Vec::new();
    let read = remote.values(&keys, |_, value| {
        stored.push(value);
        ControlFlow::Continue(())
    });
    let _ = read.map_err(Stop::Server)?;
    Ok(stored)
}

pub(super) struct Importer<'a> {
    /// `None` in the first reading of the inputs, which writes nothing and needs no store.
    store: Option<Sink<'a>>,
    /// In the first reading: a store in which to look for what would be replaced.
    pub(super) stored: Option<Sink<'a>>,
    pub(super) replaced: Replaced,
    pub(super) flags: &'a Flags,
    /// Whether to import an export although it was cut off or changed.
    pub(super) salvage: bool,
    pub(super) progress: Progress,
    /// When the import began, with the first reading.
    began: Instant,
    /// The name of the input that is being read.
    pub(super) name: String,
    /// Bytes of the inputs before this one.
    pub(super) before: u64,
    /// The group that is being filled.
    group: Entries,
    group_bytes: usize,
    pub(super) tally: Tally,
    /// For each written group: its sequence number, and how many entries had been taken by its end. A server tells no
    /// sequence numbers.
    groups: Vec<(Seq, u64)>,
    /// What was read but not stored, and what differs from the export.
    pub(super) problems: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl<'a> Importer<'a> {
    /// One that only checks without a store.
    pub(super) fn new(
        store: Option<Sink<'a>>,
        began: Instant,
        flags: &'a Flags,
        salvage: bool,
        progress: Progress,
    ) -> Importer<'a> {
        Importer {
            store,
            stored: None,
            replaced: Replaced::default(),
            began,
            flags,
            salvage,
            progress,
            name: String::new(),
            before: 0,
            group: Entries::new(),
            group_bytes: 0,
            tally: Tally::default(),
            groups: Vec::new(),
            problems: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Takes one entry, or the removal of one.
    pub(super) fn take(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Stop> {
        limits::check(key, value.unwrap_or_default())?;
        self.tally.entries += 1;
        let is_stored = match (self.group.get(key), &self.store, &self.stored) {
            (_, None, None) => return Ok(()),
            (_, None, Some(Sink::Engine(engine))) => {
                let old = engine.get(key)?;
                self.replaced.compare(key, old.as_deref(), value);
                return Ok(());
            }
            (Some(newest), ..) => newest.as_deref() == value,
            (None, Some(Sink::Engine(engine)), _) => engine.get(key)?.as_deref() == value,
            // Found out for the whole group.
            (None, ..) => false,
        };
        if is_stored {
            self.tally.unchanged += 1;
            return Ok(());
        }
        self.group_bytes += key.len() + value.map_or(0, <[u8]>::len);
        self.group.insert(key.to_vec(), value.map(<[u8]>::to_vec));
        if self.group.len() >= GROUP_ENTRIES || self.group_bytes >= GROUP_BYTES { self.end_group() } else { Ok(()) }
    }

    /// Writes the group. In the first reading: compares it with what is stored.
    fn end_group(&mut self) -> Result<(), Stop> {
        let group = std::mem::take(&mut self.group);
        self.group_bytes = 0;
        let seq = match (&mut self.store, &mut self.stored) {
            (Some(Sink::Engine(engine)), _) => {
                let batch = batch_of(group);
                if batch.is_empty() {
                    return Ok(());
                }
                engine.write(batch)?.seq
            }
            (Some(Sink::Remote(remote)), _) => {
                let stored = stored_on_server(remote, &group)?;
                let taken = group.len();
                let new = group.into_iter().zip(stored).filter(|((_, value), stored)| value != stored);
                let batch = batch_of(new.map(|(entry, _)| entry));
                self.tally.unchanged += (taken - batch.len()) as u64;
                remote.write(&batch).map_err(Stop::Server)?;
                0
            }
            (None, Some(Sink::Remote(remote))) => {
                let stored = stored_on_server(remote, &group)?;
                for ((key, value), old) in group.iter().zip(stored) {
                    self.replaced.compare(key, old.as_deref(), value.as_deref());
                }
                return Ok(());
            }
            (None, _) => return Ok(()),
        };
        self.groups.push((seq, self.tally.entries));
        Ok(())
    }

    /// Writes the last group, and makes everything durable. In the first reading: compares the last group.
    pub(super) fn settle(&mut self) -> Result<(), Stop> {
        self.end_group()?;
        match &mut self.store {
            Some(Sink::Engine(engine)) => Ok(engine.flush().map(drop)?),
            Some(Sink::Remote(remote)) => remote.flush().map_err(Stop::Server),
            None => Ok(()),
        }
    }

    /// Gives every line to `each`, and looks for signals in between. No line may be longer than `longest`.
    pub(super) fn each_line(
        &mut self,
        input: impl Read,
        longest: usize,
        mut each: impl FnMut(&mut Self, &Row<'_>) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let mut lines = Lines::new(input, longest);
        let (mut number, mut read) = (0, 0);
        loop {
            lines.fill()?;
            let is_cut = lines.next_is_cut();
            number += 1;
            match lines.next() {
                Next::Line(text) => {
                    read += text.len() as u64 + 1;
                    each(self, &Row { number, text, is_cut })?;
                }
                Next::TooLong => {
                    let text = format!("column 1: the line has more than {longest} bytes; no entry is that long");
                    return Err(bad(number, text));
                }
                Next::Read | Next::End => return Ok(()),
            }
            self.go_on(read)?;
        }
    }

    /// As [`Importer::take`]: a key or value that is too long is a fault of the line.
    pub(super) fn take_line(&mut self, line: u64, key: &[u8], value: Option<&[u8]>) -> Result<(), Stop> {
        self.take(key, value).map_err(|stop| match stop {
            Stop::Store(Error::Limit { what, got, min, max }) => {
                let has = if got == 0 { "is empty".to_string() } else { format!("has {got} bytes") };
                bad(line, format!("column 1: the {what} {has}; a {what} has {min} to {max} bytes"))
            }
            stop => stop,
        })
    }

    /// Files of the C++ store may have them.
    pub(super) fn skipped_empty_keys(&mut self, count: u64) {
        if count > 0 {
            self.problem(&format!("skipped {} with an empty key, which this store does not allow", entries(count)));
        }
    }

    pub(super) fn problem(&mut self, text: &str) {
        self.problems.push(format!("{}: {text}", self.name));
    }

    pub(super) fn warn(&mut self, text: &str) {
        self.warnings.push(format!("{}: {text}", self.name));
    }

    /// To be called between two entries. `at` is the number of bytes of the input that were read.
    pub(super) fn go_on(&mut self, at: u64) -> Result<(), Stop> {
        self.progress.step(|| self.before + at);
        if self.flags.interrupted() { Err(Stop::Interrupted) } else { Ok(()) }
    }

    /// The export is not as it was written. That stops the import, unless the user wants to salvage.
    pub(super) fn flaw(&mut self, line: u64, text: String) -> Result<(), Stop> {
        if self.salvage {
            self.problem(&format!("line {line}: {text}"));
            return Ok(());
        }
        Err(Stop::Bad { line, text, advice: SALVAGE })
    }

    /// Reports where the import stopped, what is stored, and what to do.
    pub(super) fn stopped(&self, stop: Stop) -> CommandError {
        const AGAIN: &str = "import again: entries that are already stored are not written again";
        let name = &self.name;
        let taken = if self.store.is_some() { self.tally.entries } else { 0 };
        let before = match taken {
            0 => NOTHING.to_string(),
            1 => "the entry before it is imported and durable".to_string(),
            n => format!("the {n} entries before it are imported and durable"),
        };
        match stop {
            Stop::Bad { line, text, advice } => {
                let (before, advice) = match (taken, advice) {
                    (0, advice) => (before, advice.to_string()),
                    // The input was changed after it was checked.
                    (_, CORRECT) => (format!("{before}, and nothing after it"), format!("correct it and {AGAIN}")),
                    (_, advice) => (format!("{before}, and nothing after it"), advice.to_string()),
                };
                CommandError::new(Code::BadArgument, format!("{name}:{line}: {text}; {before}; {advice}"))
            }
            Stop::Foreign(Refusal { text, advice: "" }) => {
                CommandError::new(Code::BadArgument, format!("{name}: {text}; {before}"))
            }
            Stop::Foreign(Refusal { text, advice }) => {
                CommandError::new(Code::BadArgument, format!("{name}: {text}; {before}; {advice}"))
            }
            Stop::Input(error) if !self.flags.interrupted() => {
                CommandError::new(Code::Failed, format!("{name}: {error}; {before}"))
            }
            Stop::Store(error) => {
                let stored = self.stored(&error);
                let (cause, then) = match &error {
                    Error::NoSpace { path, source, .. } => {
                        (format!("{}: no room to write the log: {source}", path.display()), "make room and")
                    }
                    error => (error.to_string(), "after fixing that,"),
                };
                CommandError::new(CommandError::from(error).code, format!("{cause}; {stored}; {then} {AGAIN}"))
            }
            Stop::Server(error) => {
                let stored = match self.groups.last().map_or(0, |group| group.1) {
                    0 => String::new(),
                    1 => "; the first entry is imported".to_string(),
                    n => format!("; the first {n} entries are imported"),
                };
                CommandError::new(error.code, format!("{name}: {}{stored}; {AGAIN}", error.text))
            }
            Stop::Input(_) | Stop::Interrupted => {
                let took = human_time(self.began.elapsed());
                CommandError::new(Code::Interrupted, format!("{name}: interrupted after {took}; {before}; to go on, {AGAIN}"))
            }
        }
    }

    /// Which entries are in the store after it refused a write.
    fn stored(&self, error: &Error) -> String {
        let durable = if let Some(Sink::Engine(engine)) = &self.store { engine.stats().durable } else { 0 };
        let up_to = |seq| self.groups.iter().rev().find(|group| group.0 <= seq).map_or(0, |group| group.1);
        let (durable, accepted) = (up_to(durable), up_to(Seq::MAX));
        let first = durable + 1;
        let (range, are, they_are) = match accepted {
            last if last == first => (format!("entry {first}"), "is", "it is"),
            last => (format!("entries {first} to {last}"), "are", "they are"),
        };
        let mut parts = Vec::new();
        match durable {
            0 => {}
            1 => parts.push("the first entry is imported and durable".to_string()),
            n => parts.push(format!("the first {n} entries are imported and durable")),
        }
        if accepted > durable {
            parts.push(match error {
                Error::NoSpace { .. } => format!("{range} {are} read but not saved yet"),
                _ => format!("{range} {are} accepted, but only the next opening of the store shows whether {they_are} saved"),
            });
        }
        if parts.is_empty() {
            return "nothing was imported".to_string(); // earlier writes may be stored
        }
        if accepted < self.tally.entries {
            parts.push("the others are not imported".to_string());
        }
        parts.join(", ")
    }
}

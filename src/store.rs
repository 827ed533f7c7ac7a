//! The store of a session, and what commands may do with it.
//!
//! Invariants:
//! - A command that only reads creates no file.
//! - A store that does not exist is created by the first command that writes, and by nothing else. `DEL`, `FLUSH` and
//!   `SETBATCH` have nothing to write there.
//! - A session that only reads takes no lock and changes no byte.
//! - A session with a server opens no file of a store.
//!
//! | the store is | commands that read | commands that write |
//! |---|---|---|
//! | open | read it | write to it |
//! | not there yet | fail; at a prompt and in an open group they find an empty store | the first one creates it |
//! | only read | read its files as they are at that moment | fail |
//! | with a server | ask the server | ask the server |
//!
//! | file | what it does |
//! |---|---|
//! | `files` | answers from the files, without opening the store |
//! | `holder` | which process has the store open |

mod files;
mod holder;

pub(crate) use files::Files;
pub(crate) use holder::holder;

use crate::error::{Code, CommandError};
use crate::outfile::with_suffix;
use crate::remote::Remote;
use kv_engine::{Ack, Engine, Options, Value};
use std::fs::File;
use std::io::{self, Read};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// The engine as soon as the store is open. The gate and the prompt have it too: the store may be opened later than
/// they begin.
pub(crate) type Opened = Arc<OnceLock<Engine>>;

/// The store of a session.
pub(crate) struct Store {
    engine: Opened,
    how: How,
}

enum How {
    Open,
    /// There is no store yet.
    Later {
        wal: PathBuf,
        options: Box<Options>,
    },
    ReadOnly(Box<Files>),
    Remote(Box<Remote>),
}

/// Where a command writes.
pub(crate) enum Sink<'s> {
    Engine(&'s Engine),
    Remote(&'s mut Remote),
}

/// A write that was accepted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Accepted {
    pub(crate) durable: bool,
    /// Accepted writes that are not durable yet. A server does not tell.
    pub(crate) pending: Option<u64>,
}

impl From<Ack> for Accepted {
    fn from(ack: Ack) -> Accepted {
        Accepted { durable: ack.durable, pending: Some(ack.pending) }
    }
}

impl Accepted {
    /// What a server has accepted.
    pub(crate) fn by_server(durable: bool) -> Accepted {
        Accepted { durable, pending: None }
    }
}

/// Where a command that reads finds entries.
pub(crate) enum Source<'s> {
    Engine(&'s Engine),
    Files(&'s mut Files),
    Remote(&'s mut Remote),
    /// There is no store yet, and the session is going to begin one.
    Empty,
}

impl Store {
    pub(crate) fn open(engine: Engine) -> Store {
        Store { engine: Arc::new(engine.into()), how: How::Open }
    }

    /// A store that the first command that writes creates with these options.
    pub(crate) fn later(wal: &Path, options: Options) -> Store {
        Store { engine: Opened::default(), how: How::Later { wal: wal.to_path_buf(), options: Box::new(options) } }
    }

    pub(crate) fn read_only(files: Files) -> Store {
        Store { engine: Opened::default(), how: How::ReadOnly(Box::new(files)) }
    }

    pub(crate) fn remote(remote: Remote) -> Store {
        Store { engine: Opened::default(), how: How::Remote(Box::new(remote)) }
    }

    /// The server, if the store is not one of this process.
    pub(crate) fn server(&mut self) -> Option<&mut Remote> {
        if let How::Remote(remote) = &mut self.how { Some(remote) } else { None }
    }

    /// The store to compare with, if it is open or a server's.
    pub(crate) fn comparable(&mut self) -> Option<Sink<'_>> {
        match &mut self.how {
            How::Remote(remote) => Some(Sink::Remote(remote)),
            _ => self.engine.get().map(Sink::Engine),
        }
    }

    /// The batch size, if the store is there.
    pub(crate) fn batch_size(&self) -> Option<u64> {
        match &self.how {
            How::Remote(remote) => Some(remote.server().batch),
            _ => self.engine.get().map(Engine::batch_size),
        }
    }

    /// The engine if the store is open, now and later.
    pub(crate) fn opened(&self) -> &Opened {
        &self.engine
    }

    /// Whether the session began without a store, and has created none.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self.how, How::Later { .. })
    }

    /// Sets the batch size for the store that the first command that writes creates.
    pub(crate) fn set_later_batch_size(&mut self, size: u64) {
        if let How::Later { options, .. } = &mut self.how {
            **options = (**options).clone().batch_size(size);
        }
    }

    /// Whether the session began without a store, and there is one now.
    pub(crate) fn has_come(&self) -> bool {
        matches!(&self.how, How::Later { wal, .. } if !is_free(wal))
    }

    pub(crate) fn is_read_only(&self) -> bool {
        matches!(self.how, How::ReadOnly(_))
    }

    /// Whether writes that were promised durable are, or may be, missing.
    pub(crate) fn is_loss(&self) -> bool {
        let files = if let How::ReadOnly(files) = &self.how { files.is_loss() } else { false };
        files || self.engine.get().is_some_and(|engine| engine.recovery().is_loss())
    }

    /// What was found, in one line.
    pub(crate) fn found(&self) -> String {
        match (&self.how, self.engine.get()) {
            (_, Some(engine)) => engine.recovery().to_string(),
            (How::ReadOnly(files), None) => files.found(),
            (How::Remote(remote), None) => {
                format!("the server at {} serves store {}", remote.address(), remote.server().store_id)
            }
            _ => "new store; the first write creates its files".to_string(),
        }
    }

    /// A sentence for everything that was repaired, or that the user should know.
    pub(crate) fn warnings(&self) -> Vec<String> {
        match (&self.how, self.engine.get()) {
            (_, Some(engine)) => engine.recovery().warnings(),
            (How::ReadOnly(files), None) => files.warnings(),
            (How::Later { wal, .. }, None) if was_here(wal) => vec![gone(wal)],
            _ => Vec::new(),
        }
    }

    /// Where to write. Opens the store if it is not open yet, and gives its warnings to `warn`.
    pub(crate) fn writer(&mut self, warn: impl FnMut(&str)) -> Result<Sink<'_>, CommandError> {
        if self.engine.get().is_none() && !matches!(self.how, How::Remote(_)) {
            self.create(warn)?;
        }
        Ok(match &mut self.how {
            How::Remote(remote) => Sink::Remote(remote),
            _ => Sink::Engine(self.engine.get().expect("it was opened just now")),
        })
    }

    fn create(&mut self, mut warn: impl FnMut(&str)) -> Result<(), CommandError> {
        let How::Later { wal, options } = &self.how else {
            let text = "this session only reads; nothing was changed; run the command without --read-only";
            return Err(CommandError::new(Code::ReadOnly, text));
        };
        let was_here = was_here(wal).then(|| format!("{}; a new store was begun", gone(wal)));
        let engine = (**options).clone().open().map_err(|error| CommandError::of_files(&error))?;
        // Another process may have made a store since the first look.
        let is_new = engine.recovery().created;
        was_here.into_iter().filter(|_| is_new).chain(engine.recovery().warnings()).for_each(|text| warn(&text));
        let _ = self.engine.set(engine);
        self.how = How::Open;
        Ok(())
    }

    /// Where to read. `is_lenient`: a store that is not there yet is as good as an empty one.
    pub(crate) fn source(&mut self, is_lenient: bool) -> Result<Source<'_>, CommandError> {
        match (&mut self.how, self.engine.get()) {
            (_, Some(engine)) => Ok(Source::Engine(engine)),
            (How::ReadOnly(files), None) => Ok(Source::Files(files)),
            (How::Remote(remote), None) => Ok(Source::Remote(remote)),
            (How::Later { .. } | How::Open, None) if is_lenient => Ok(Source::Empty),
            (How::Later { wal, .. }, None) => Err(no_store(wal)),
            (How::Open, None) => Err(CommandError::new(Code::Closed, "the store is closed")),
        }
    }
}

impl Source<'_> {
    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Value>, CommandError> {
        match self {
            Source::Engine(engine) => Ok(engine.get(key)?),
            Source::Files(files) => files.get(key).map_err(|error| CommandError::of_files(&error)),
            Source::Remote(remote) => Ok(remote.get(key)?.map(|value| Value::from(&value[..]))),
            Source::Empty => Ok(None),
        }
    }

    /// The number of keys.
    pub(crate) fn count(&mut self) -> Result<u64, CommandError> {
        match self {
            Source::Engine(engine) => Ok(engine.count()?),
            Source::Files(files) => files.count().map_err(|error| CommandError::of_files(&error)),
            Source::Remote(remote) => remote.count(),
            Source::Empty => Ok(0),
        }
    }

    /// Gives the entries whose keys begin with `prefix` to `each` in key order, until it stops. Without `with_values`
    /// it gets no values.
    pub(crate) fn each(
        &mut self,
        prefix: &[u8],
        with_values: bool,
        mut each: impl FnMut(&[u8], Option<&[u8]>) -> ControlFlow<()>,
    ) -> Result<(), CommandError> {
        match self {
            Source::Engine(engine) => {
                for entry in engine.scan(prefix) {
                    let (key, value) = entry?;
                    if each(&key, with_values.then_some(&*value)).is_break() {
                        break;
                    }
                }
            }
            Source::Files(files) => files
                .each(prefix, |key, value| each(key, with_values.then_some(value)))
                .map_err(|error| CommandError::of_files(&error))?,
            Source::Remote(remote) => remote.each(prefix, with_values, each)?,
            Source::Empty => {}
        }
        Ok(())
    }
}

/// Whether log and snapshot are both missing.
pub(crate) fn is_missing(wal: &Path, snapshot: &Path) -> bool {
    is_free(wal) && is_free(snapshot)
}

/// Whether there is no file at this path. A path that cannot be looked at may have one.
fn is_free(path: &Path) -> bool {
    path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Whether a file belongs to this user, or does not exist. Opening decides what to do with a file of another user.
pub(crate) fn is_own(path: &Path) -> bool {
    path.symlink_metadata().map_or(true, |about| about.uid() == rustix::process::geteuid().as_raw())
}

/// The error of a command that reads where there is no store.
pub(crate) fn no_store(wal: &Path) -> CommandError {
    let text = format!("{}; the first command that writes begins one: PUT key value", nothing_at(wal));
    CommandError::new(Code::NoStore, text)
}

/// That there is no store, and that this is still so.
pub(crate) fn nothing_at(wal: &Path) -> String {
    let what = if was_here(wal) { gone(wal) } else { format!("there is no store at {}", wal.display()) };
    format!("{what}; nothing was created")
}

/// Whether a store was open under this name before: its lock file stays, and begins with the number of the process.
fn was_here(wal: &Path) -> bool {
    let lock = with_suffix(wal, ".lock");
    let is_file = lock.symlink_metadata().is_ok_and(|about| about.is_file());
    let mut first = [0];
    is_file && File::open(lock).and_then(|mut file| file.read_exact(&mut first)).is_ok() && first[0].is_ascii_digit()
}

fn gone(wal: &Path) -> String {
    format!("a store was open at {} before, but its log and snapshot are gone", wal.display())
}

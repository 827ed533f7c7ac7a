//! [`Error`]: the errors of all calls, sorted by what the caller can do.

use crate::Seq;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The result of every fallible call of this crate.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// fn greeting(engine: &kv_engine::Engine) -> kv_engine::Result<usize> {
///     engine.put("greeting", "hello")?;
///     Ok(engine.get("greeting")?.map_or(0, |value| value.len()))
/// }
/// assert_eq!(greeting(&engine)?, 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub type Result<T> = std::result::Result<T, Error>;

/// An error, sorted by what the caller can do. The text of each error names the file, the reason, what is still true,
/// and the next step.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::{Error, Options};
///
/// fn next_step(error: &Error) -> &'static str {
///     match error {
///         Error::Limit { .. } => "change the request",
///         Error::NoSpace { .. } => "make room, then repeat the write: earlier ones are kept",
///         Error::Io { .. } => "remove the cause, then repeat the call",
///         Error::Poisoned { .. } => "open the store again, then check which of the last writes are there",
///         Error::Lost { .. } => "save the state elsewhere, put the log back, then open the store again",
///         Error::Replaced { .. } => "put the right snapshot back, then repeat the call",
///         Error::Condition { .. } | Error::Conflict => "read again, decide again",
///         Error::NoState { .. } => "ask for a state that the files hold",
///         Error::Closed => "open the store again",
///         Error::NotInLog { .. } => "take a copy, then follow the store from there",
///         Error::Locked { .. } => "stop the other process, or choose another store",
///         _ => "look at the files: nothing was changed",
///     }
/// }
///
/// let first = Options::new(&log, &snapshot).open()?;
/// let second = Options::new(&log, &snapshot).open().expect_err("one at a time");
/// assert!(matches!(second, Error::Locked { pid: Some(_), .. }));
/// assert_eq!(next_step(&second), "stop the other process, or choose another store");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The request is outside a limit. Nothing was stored. Change the request.
    Limit {
        /// What has the limit: `key`, `value` and `batch` (their lengths in bytes), `batch size` or `sequence number`.
        what: &'static str,
        /// Its value.
        got: u64,
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// The log cannot grow (full disk, quota, file size limit). The call was not carried out, and none of its writes
    /// was stored. Writes acknowledged before are kept and will be written first. Make room, then repeat the call.
    NoSpace {
        /// The log.
        path: PathBuf,
        /// Acknowledged writes that wait in memory until there is room.
        pending: u64,
        /// The error of the operating system.
        source: io::Error,
    },
    /// An operation on a file failed. No write is affected. Remove the cause and repeat the call.
    Io {
        /// The operation.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// It is unknown whether the last group of writes is on the disk. No write is accepted until the store is opened
    /// again. Reads still work. The reason is one of these:
    /// - a sync failed, now or earlier;
    /// - a write failed for another reason than lack of space;
    /// - a thread panicked.
    Poisoned {
        /// The file that could not be written or synced.
        path: PathBuf,
        /// The failure, in words.
        reason: String,
        /// Acknowledged writes that may be lost.
        pending: u64,
    },
    /// The log was removed, renamed, replaced or truncated while the store was open. The next opening may not find the
    /// writes in it. No write is accepted until the store is opened again. Reads still work, so that the state can be
    /// saved elsewhere.
    Lost {
        /// The log.
        path: PathBuf,
        /// The finding, in words.
        reason: String,
    },
    /// The snapshot is not the one that this store opened or wrote, so no checkpoint was taken from it. Log and
    /// snapshot are unchanged. Reads and writes still work.
    Replaced {
        /// The snapshot.
        path: PathBuf,
        /// The finding, in words.
        reason: String,
    },
    /// The log does not have the write from which a feed of changes should begin. Nothing was changed. Take a copy of
    /// the store, then follow it from there: [`Engine::changes`](crate::Engine::changes) says how.
    NotInLog {
        /// The log.
        path: PathBuf,
        /// The number that was requested.
        from: Seq,
        /// The smallest number that is possible now: the log begins with this write. If `from` is smaller, a checkpoint
        /// has removed the write from the log.
        first: Seq,
        /// The largest number that is possible now: the next write gets it. If `from` is larger, it is a number of
        /// another store, or this store was replaced by an older copy.
        next: Seq,
    },
    /// Another process, or another [`Engine`](crate::Engine) in this one, has the store open.
    Locked {
        /// The file that is in use.
        path: PathBuf,
        /// The number of that process, if it could be read.
        pid: Option<u32>,
        /// Where that process can be reached, if it says so: see [`Engine::set_contact`](crate::Engine::set_contact).
        contact: Option<String>,
    },
    /// The file at this path does not belong to a store. It was not changed.
    Foreign {
        /// The file.
        path: PathBuf,
        /// What the file is.
        found: String,
    },
    /// The file has a newer format than this version of the crate can read. It was not changed.
    Version {
        /// The file.
        path: PathBuf,
        /// The unknown format version or kind of record.
        found: String,
        /// The newest format version that this crate reads.
        supported: u32,
    },
    /// The file fails its checks in a place that had been synced. Nothing was changed.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where the damage begins, in bytes from the start of the file.
        offset: u64,
        /// The failed check, and its consequence.
        reason: String,
    },
    /// The log and the snapshot do not belong together, one of them is missing, or their paths name the same file.
    /// Nothing was changed.
    Mismatch {
        /// The log.
        wal: PathBuf,
        /// The snapshot.
        snapshot: PathBuf,
        /// The reason, in words.
        reason: String,
    },
    /// A condition of a batch does not hold, so nothing of the batch was written. Read the key again and decide again.
    Condition {
        /// The key whose value is not the required one.
        key: Vec<u8>,
    },
    /// Another thread has changed a value that this run of a transaction has read. Nothing was written. Pass the error
    /// on: [`Engine::transaction`](crate::Engine::transaction) then runs the closure again and does not return it.
    Conflict,
    /// The files are one store, but they do not hold the state after the requested write. Nothing was changed. Ask for
    /// a state from `first` to `last`.
    NoState {
        /// The log.
        wal: PathBuf,
        /// The requested write.
        seq: Seq,
        /// The first write whose state the files hold: the one of the snapshot, or 0 for the empty store.
        first: Seq,
        /// The last write whose state they hold.
        last: Seq,
        /// Why the files do not hold that state, in words.
        reason: String,
    },
    /// The store was closed, by this handle or another.
    Closed,
}

impl Error {
    /// Builds [`Error::Io`]; for use with `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, path: path.to_path_buf(), source }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, reason: impl Into<String>) -> Error {
        Error::Damaged { path: path.to_path_buf(), offset, reason: reason.into() }
    }

    pub(crate) fn missing(path: &Path) -> Error {
        Error::io("opening", path)(io::Error::new(io::ErrorKind::NotFound, NO_FILE))
    }

    pub(crate) fn foreign(path: &Path, found: impl Into<String>) -> Error {
        Error::Foreign { path: path.to_path_buf(), found: found.into() }
    }
}

const NO_FILE: &str = "the file does not exist";

/// The most bytes of a key in a message.
const SHOWN_KEY_BYTES: usize = 60;

/// A key in quotes, without control characters, and cut if it is long.
fn shown(key: &[u8]) -> String {
    match key.get(..SHOWN_KEY_BYTES) {
        Some(begin) if key.len() > SHOWN_KEY_BYTES => format!("\"{}…\" ({} bytes)", begin.escape_ascii(), key.len()),
        _ => format!("\"{}\"", key.escape_ascii()),
    }
}

/// The fate of the acknowledged writes when the log has no room, in words.
fn waiting(pending: u64) -> String {
    match pending {
        0 => "every acknowledged write is on the disk".to_string(),
        1 => "1 acknowledged write is not on the disk yet; it waits in memory and will be written first".to_string(),
        n => format!("{n} acknowledged writes are not on the disk yet; they wait in memory and will be written first"),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Limit { what: what @ ("key" | "value" | "batch"), got, min, max } => {
                match got {
                    0 => write!(f, "the {what} is empty; ")?,
                    _ => write!(f, "the {what} has {got} bytes; ")?,
                }
                write!(f, "a {what} has {min} to {max} bytes; nothing was stored")
            }
            Error::Limit { what, got, min, max } => {
                write!(f, "the {what} is {got}; it must be from {min} to {max}; nothing was stored")
            }
            Error::NoSpace { path, pending, source } => write!(
                f,
                "{}: no room to write the log: {source}; the call was not carried out; {}; make room and repeat the call",
                path.display(),
                waiting(*pending)
            ),
            Error::Io { doing: "opening", path, source } if source.kind() == io::ErrorKind::NotFound => {
                write!(f, "{}: {NO_FILE}", path.display())
            }
            Error::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            Error::Poisoned { path, reason, pending } => {
                write!(f, "{}: {reason}; ", path.display())?;
                match pending {
                    0 => write!(f, "everything acknowledged before is safe; ")?,
                    1 => write!(f, "1 acknowledged write may be lost; ")?,
                    n => write!(f, "{n} acknowledged writes may be lost; ")?,
                }
                write!(
                    f,
                    "it is unknown whether the write in progress was saved; no write is accepted until the store is opened again"
                )
            }
            Error::Lost { path, reason } => write!(
                f,
                "{}: {reason}; the writes in it may be lost; no more writes are accepted, but reads still work; save the state with \
                 EXPORT, and put the log back before you open the store again",
                path.display()
            ),
            Error::Replaced { path, reason } => write!(
                f,
                "{}: {reason}; no snapshot was taken; the log is kept, and reads and writes still work; put the right snapshot back, \
                 or save the state with EXPORT",
                path.display()
            ),
            Error::NotInLog { path, from, first, next } => {
                write!(f, "{}: write {from} is not in the log, ", path.display())?;
                match from < first {
                    true => write!(f, "which holds only writes from {first} on")?,
                    false => write!(
                        f,
                        "the next one is write {next}; the number is of another store, or of a newer state of this one"
                    )?,
                }
                write!(f, "; take a copy of the store, then follow it from there")
            }
            Error::Locked { path, pid, contact } => {
                let path = path.display();
                match pid {
                    Some(pid) => write!(f, "process {pid} has the store {path} open")?,
                    None => write!(f, "another process has the store {path} open")?,
                }
                match contact {
                    Some(contact) => write!(f, " and serves it at {contact}; connect there, stop it, or choose another store"),
                    None => write!(f, "; stop it or choose another store"),
                }
            }
            Error::Foreign { path, found } => {
                write!(f, "{}: {found}; nothing was changed; choose another path or move the file away", path.display())
            }
            Error::Version { path, found, supported } => write!(
                f,
                "{}: found {found}, this program reads up to format version {supported}; nothing was changed; use a newer program",
                path.display()
            ),
            Error::Damaged { path, offset, reason } => {
                write!(f, "{}: damaged at byte {offset}: {reason}", path.display())
            }
            Error::Mismatch { wal, snapshot, reason } => {
                write!(f, "log {} and snapshot {}: {reason}", wal.display(), snapshot.display())
            }
            Error::Condition { key } => write!(
                f,
                "the key {} does not have the value that the batch requires; nothing of the batch was written; read it again",
                shown(key)
            ),
            Error::Conflict => {
                write!(f, "another thread changed a value that the transaction had read; nothing was written; run it again")
            }
            Error::NoState { wal, first, last, reason, .. } if first == last => {
                write!(f, "{}: {reason}; only the state after write {last} can be rebuilt", wal.display())
            }
            Error::NoState { wal, first, last, reason, .. } => {
                write!(f, "{}: {reason}; the states after writes {first} to {last} can be rebuilt", wal.display())
            }
            Error::Closed => write!(f, "the store is closed"),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::NoSpace { source, .. } | Error::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

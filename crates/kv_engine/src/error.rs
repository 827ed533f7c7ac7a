//! [`Error`], sorted by what the caller can do about it.

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

/// What went wrong, sorted by what the caller can do. The text of each names the file, the reason,
/// what is still true, and the next step.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::{Error, Options};
///
/// fn next_step(error: &Error) -> &'static str {
///     match error {
///         Error::Limit { .. } => "change the request",
///         Error::NoSpace { .. } => "make room, then repeat the write: those before it are kept",
///         Error::Io { .. } => "mend the cause, then repeat the call",
///         Error::Poisoned { .. } => "open the store again, then read what of the last writes is there",
///         Error::Lost { .. } => "save the state elsewhere, then open the store again",
///         Error::Replaced { .. } => "put the right snapshot back, then repeat the call",
///         Error::Closed => "open the store again",
///         Error::Locked { .. } => "stop the other process, or choose other files",
///         _ => "look at the files: nothing was changed",
///     }
/// }
///
/// let first = Options::new(&log, &snapshot).open()?;
/// let second = Options::new(&log, &snapshot).open().expect_err("one at a time");
/// assert!(matches!(second, Error::Locked { pid: Some(_), .. }));
/// assert_eq!(next_step(&second), "stop the other process, or choose other files");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The request is outside a limit; nothing was stored. Change the request.
    Limit {
        /// What was measured and in which unit, for example `the key's length in bytes`.
        what: &'static str,
        /// Its value.
        got: u64,
        /// The smallest allowed.
        min: u64,
        /// The largest allowed.
        max: u64,
    },
    /// The log has no room (full disk, quota, file size limit); what was asked for was not done, and no write of it was
    /// stored. Writes acknowledged before are kept and go first. Make room, then go on.
    NoSpace {
        /// The log.
        path: PathBuf,
        /// Acknowledged writes that still wait in memory for room.
        pending: u64,
        /// What the operating system said.
        source: io::Error,
    },
    /// An operation on a file failed, and no write is touched by that. Mend the cause and repeat.
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the operating system said.
        source: io::Error,
    },
    /// A sync failed earlier or just now, or a write did for another reason than room, or a thread
    /// panicked in between: whether the last group is on the disk is unknown, and no write is
    /// accepted until the store is opened again. Reads go on.
    Poisoned {
        /// The file that could not be written or synced.
        path: PathBuf,
        /// What failed, in words.
        reason: String,
        /// Acknowledged writes that may be lost.
        pending: u64,
    },
    /// The open log has lost its name or its bytes: somebody removed, renamed, replaced or cut the file while the store
    /// was open. What was written to it may not be found by the next opening, and no write is accepted until the store is
    /// opened again. Reads go on, so that the state can be saved elsewhere.
    Lost {
        /// The log.
        path: PathBuf,
        /// What was found, in words.
        reason: String,
    },
    /// The snapshot is not the one that this store opened or wrote, so no checkpoint was made from it. Log and snapshot
    /// were not touched; reads and writes go on.
    Replaced {
        /// The snapshot.
        path: PathBuf,
        /// What was found, in words.
        reason: String,
    },
    /// Another process (or another handle in this one) has the store open.
    Locked {
        /// The file that is in use.
        path: PathBuf,
        /// The process that holds it, when it could be read.
        pid: Option<u32>,
    },
    /// The file at this path is not one of ours; it was not touched.
    Foreign {
        /// The file.
        path: PathBuf,
        /// What was found there.
        found: String,
    },
    /// The file was written by a version of this crate that uses a newer format; it was not touched.
    Version {
        /// The file.
        path: PathBuf,
        /// What was found: a format version or a kind of record.
        found: String,
        /// The newest one this crate reads.
        supported: u32,
    },
    /// The file fails its checks where it had been promised whole. Nothing was changed.
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where what fails begins, in bytes from the start of the file.
        offset: u64,
        /// Which check failed, and what follows from it.
        reason: String,
    },
    /// The log and the snapshot do not belong together, or one of them is missing, or their paths
    /// name the same file. Nothing was changed.
    Mismatch {
        /// The log.
        wal: PathBuf,
        /// The snapshot.
        snapshot: PathBuf,
        /// Why they cannot be one store.
        reason: String,
    },
    /// The store was closed, by this handle or another.
    Closed,
}

impl Error {
    /// Builds [`Error::Io`]; shaped for `map_err`.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { doing, path: path.to_path_buf(), source }
    }

    pub(crate) fn damaged(path: &Path, offset: u64, reason: impl Into<String>) -> Error {
        Error::Damaged { path: path.to_path_buf(), offset, reason: reason.into() }
    }

    pub(crate) fn foreign(path: &Path, found: impl Into<String>) -> Error {
        Error::Foreign { path: path.to_path_buf(), found: found.into() }
    }
}

/// What becomes of the acknowledged writes when the log has no room.
fn waiting(pending: u64) -> String {
    match pending {
        0 => "every acknowledged write is on the disk".to_string(),
        1 => "1 acknowledged write is not on the disk yet, it waits in memory and goes first".to_string(),
        n => format!("{n} acknowledged writes are not on the disk yet, they wait in memory and go first"),
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Limit { what, got, min, max } if got < min => {
                write!(f, "{what} is {got}, the least is {min} (and the limit {max}); nothing was stored")
            }
            Error::Limit { what, got, max, .. } => {
                write!(f, "{what} is {got}, the limit is {max}; nothing was stored")
            }
            Error::NoSpace { path, pending, source } => write!(
                f,
                "{}: no room to write the log: {source}; not done; {}; make room and repeat the call",
                path.display(),
                waiting(*pending)
            ),
            Error::Io { doing, path, source } => write!(f, "{doing} {}: {source}", path.display()),
            Error::Poisoned { path, reason, pending } => {
                write!(f, "{}: {reason}; ", path.display())?;
                match pending {
                    0 => write!(f, "everything acknowledged before is safe, ")?,
                    n => write!(f, "{n} acknowledged writes may be lost, ")?,
                }
                write!(
                    f,
                    "whether the write in progress was saved is unknown; no write is accepted until the store is opened again"
                )
            }
            Error::Lost { path, reason } => write!(
                f,
                "{}: {reason}; what was written to it may not be found again, no write is accepted until the store is opened \
                 again, reads go on; save the state with EXPORT, then put the log back or open the store again",
                path.display()
            ),
            Error::Replaced { path, reason } => write!(
                f,
                "{}: {reason}; no snapshot was taken, the log is kept, reads and writes go on; put the right snapshot back, or \
                 save the state with EXPORT",
                path.display()
            ),
            Error::Locked { path, pid: Some(pid) } => {
                write!(f, "{} is in use by process {pid}; stop it or choose other files", path.display())
            }
            Error::Locked { path, pid: None } => {
                write!(f, "{} is in use by another process; stop it or choose other files", path.display())
            }
            Error::Foreign { path, found } => {
                write!(f, "{}: {found}; not opened, nothing changed; choose another path or move the file away", path.display())
            }
            Error::Version { path, found, supported } => write!(
                f,
                "{}: found {found}, this program reads up to format version {supported}; not opened, nothing changed; use a newer program",
                path.display()
            ),
            Error::Damaged { path, offset, reason } => {
                write!(f, "{}: damaged at byte {offset}: {reason}", path.display())
            }
            Error::Mismatch { wal, snapshot, reason } => write!(
                f,
                "log {} and snapshot {} are not one store: {reason}; not opened, nothing changed",
                wal.display(),
                snapshot.display()
            ),
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

//! Copies an open store into a file, while reads and writes go on.
//!
//! The steps:
//! 1. Refuse the names of the store's own files, and a file that is not an old copy of this store. A file is an old
//!    copy if it is a snapshot of this store, and has no `.lock` file beside it: opening a store makes one and never
//!    removes it. So the snapshot in use is never replaced, and a copy that has become a store is not either. This is
//!    seen from the directory of the file, so another spelling of the name makes no difference.
//! 2. Open a view.
//! 3. Save its entries as a snapshot, in the way in which all snapshots are saved (`snapshot.rs`). Look for the `.lock`
//!    file once more before the rename.

use super::open_view::{OpenView, Source};
use super::shared::Shared;
use crate::disk::{File, is_scratch_of};
use crate::error::{Error, Result};
use crate::merge_view::Found;
use crate::snapshot::{self, Draft, Writer};
use crate::state::{Digest, Interval, Key, Most, Request};
use crate::{Seq, StoreId, with_suffix};
use std::io;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// What a copy holds; from [`Engine::export_to`](crate::Engine::export_to).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// engine.put("x", "100")?;
/// let copied = engine.export_to(dir.path().join("copy"))?;
/// assert_eq!(copied.digest, engine.digest()); // no write came since
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Copied {
    /// The last write in the copy.
    pub seq: Seq,
    /// The number of its entries.
    pub entries: u64,
    /// The length of the file, in bytes.
    pub bytes: u64,
    /// The digest of its entries.
    pub digest: Digest,
    /// How long it took.
    pub took: Duration,
}

/// Suffixes that the store, the shell and their temporary files append to the names of the log and the snapshot.
const HELPER_STEMS: [&str; 6] = [".lock", ".tmp", ".damaged-", ".bench-", ".bench.", ".import-"];

/// Whether a name with this suffix may be a file of the store. Sealed segments of a log end in a number.
fn is_helper_suffix(suffix: &[u8]) -> bool {
    let is_segment = suffix.strip_prefix(b".").is_some_and(|seq| !seq.is_empty() && seq.iter().all(u8::is_ascii_digit));
    is_segment || HELPER_STEMS.iter().any(|stem| suffix.starts_with(stem.as_bytes()))
}

const REFUSED: &str = "nothing was exported, and the file is as it was:";
/// How much of the view is read at once.
const AT_ONCE: Most = Most { entries: 1000, bytes: 1 << 20 };

impl Shared {
    pub(super) fn copy_to(self: &Arc<Shared>, path: &Path) -> Result<Copied> {
        let began = self.disk.now();
        self.check_name(path)?;
        let store_id = self.log_always().wal.store_id();
        let old = self.old_copy(path, store_id)?;
        let view = Arc::new(OpenView::open(self));
        let (seq, source) = (view.seq(), Source::View(view));
        let mut failure = None;
        let draft = Draft::new(self.state.form(), store_id, seq);
        let saved = snapshot::replace(&*self.disk, path, draft, old.as_deref(), |writer| {
            write_all(&source, writer, &mut failure)?;
            // The old copy may have been opened as a store in the meantime.
            self.not_opened(path).map_err(|error| {
                failure = Some(error);
                io::Error::other("a store was opened under this name")
            })
        });
        let header = match (failure, saved) {
            (Some(failure), _) => return Err(failure),
            (None, saved) => saved.map_err(of_copy)?,
        };
        Ok(Copied {
            seq,
            entries: header.entries,
            bytes: header.file_len().expect("the length of a file that was written"),
            digest: header.digest,
            took: self.disk.now().saturating_sub(began),
        })
    }

    /// Refuses the names of the store's own files.
    fn check_name(&self, path: &Path) -> Result<()> {
        let absolute = |path: &Path| std::path::absolute(path).map_err(Error::io("finding", path));
        let whole = absolute(path)?;
        let name = whole.file_name().unwrap_or_default().as_encoded_bytes();
        for (own, what) in [(&self.wal_path, "log"), (&self.snapshot_path, "snapshot")] {
            let own = absolute(own)?;
            if whole == own {
                return Err(refused(path, format!("this is the {what} of the store; choose another name")));
            }
            let suffix = name.strip_prefix(own.file_name().unwrap_or_default().as_encoded_bytes());
            let is_helper = suffix.is_some_and(is_helper_suffix);
            if (whole.parent() == own.parent() && is_helper) || with_suffix(&whole, ".lock") == own || is_scratch_of(&whole, &own)
            {
                let text = format!("the store uses names of this kind for files beside {}; choose another name", own.display());
                return Err(refused(path, text));
            }
        }
        Ok(())
    }

    /// Refuses a name under which a store was opened.
    fn not_opened(&self, path: &Path) -> Result<()> {
        let lock = with_suffix(path, ".lock");
        match self.disk.named(&lock).map_err(Error::io("looking at", &lock))? {
            Some(_) => {
                let text = format!("a store was opened under this name, as {} shows; choose another name", lock.display());
                Err(refused(path, text))
            }
            None => Ok(()),
        }
    }

    /// The old copy at `path`, which may be replaced. `None`: there is no file.
    fn old_copy(&self, path: &Path, store_id: StoreId) -> Result<Option<Arc<dyn File>>> {
        self.not_opened(path)?;
        let Some(file) = self.disk.open_read(path).map_err(Error::io("opening", path))? else { return Ok(None) };
        match snapshot::read_header(&*file, path) {
            Ok(header) if header.store_id == store_id => Ok(Some(file)),
            Err(error @ Error::Io { .. }) => Err(error),
            _ => Err(refused(path, "there is a file that is not a copy of this store; choose another name, or move it away")),
        }
    }
}

fn refused(path: &Path, text: impl Into<String>) -> Error {
    Error::io(REFUSED, path)(io::Error::new(io::ErrorKind::AlreadyExists, text.into()))
}

/// An error of saving a snapshot, in the words of a copy.
fn of_copy(error: Error) -> Error {
    match error {
        Error::Io { path, source, .. } => Error::Io { doing: "nothing was exported: writing", path, source },
        Error::Poisoned { path, reason, .. } => {
            Error::io("the export is complete, but a power cut may lose it:", &path)(io::Error::other(reason))
        }
        other => other,
    }
}

/// Writes everything in `source`. An error of reading it goes to `failure`.
fn write_all(source: &Source, writer: &mut Writer, failure: &mut Option<Error>) -> io::Result<()> {
    let mut after: Option<Key> = None;
    loop {
        let low = after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(&**key));
        let request = Request { keys: Interval { low, ..Interval::ALL }, backward: false, most: AT_ONCE };
        let Found { entries, end } = source.some(&request).map_err(|error| {
            *failure = Some(error);
            io::Error::other("stopped")
        })?;
        entries.iter().try_for_each(|(key, value)| writer.add(key, value))?;
        match end {
            Some(end) => after = Some(end),
            None => return Ok(()),
        }
    }
}

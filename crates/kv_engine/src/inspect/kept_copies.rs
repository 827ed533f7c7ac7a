//! The copies of a log that openings kept, for tools that read the files without opening the store.

use crate::KeptCopy;
use crate::disk::OsDisk;
use crate::recovery;
use std::path::Path;

/// The copies of the log at `wal` that openings of this store kept beside it, and other files with the names of copies.
/// The store id comes from the log or the snapshot. If neither has a readable header, the result is empty.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// kv_engine::Options::new(&log, &snapshot).open()?.put("x", "100")?;
/// assert_eq!(kv_engine::inspect::kept_copies(&log, &snapshot), []);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn kept_copies(wal: &Path, snapshot: &Path) -> Vec<KeptCopy> {
    recovery::find_kept_copies(&OsDisk, wal, snapshot)
}

/// The warnings about these copies, in sentences: what each one is, and what to do. `snapshot` is the snapshot of the
/// store.
///
/// ```
/// use kv_engine::{KeptCopy, inspect};
/// use std::path::Path;
///
/// let kept = [KeptCopy::Damaged("kv.wal.damaged-1".into())];
/// let warnings = inspect::kept_copy_warnings(&kept, Path::new("kv.snapshot"));
/// assert!(warnings[0].starts_with("an earlier opening kept this log: kv.wal.damaged-1; "));
/// ```
#[must_use]
pub fn kept_copy_warnings(kept: &[KeptCopy], snapshot: &Path) -> Vec<String> {
    recovery::kept_copy_warnings(kept, snapshot)
}

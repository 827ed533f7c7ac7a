//! The copies of a log that openings kept, for those who look at the files without opening the store.

use crate::KeptCopy;
use crate::disk::OsDisk;
use crate::recovery::{kept_beside, said_of_kept};
use std::path::Path;

/// The copies of the log at `wal` that openings of this store kept beside it, and other files with such names. Which store
/// it is, the log says, or else the snapshot; where neither can, there are none.
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
    kept_beside(&OsDisk, wal, snapshot)
}

/// What is to be said of them, in sentences: what each is, and what to do. `snapshot`: that of the store.
///
/// ```
/// use kv_engine::{KeptCopy, inspect};
/// use std::path::Path;
///
/// let kept = [KeptCopy::Damaged("kv.wal.damaged-1".into())];
/// let said = inspect::said_of_kept_copies(&kept, Path::new("kv.snapshot"));
/// assert!(said[0].starts_with("kv.wal.damaged-1: kept when the log was damaged"));
/// ```
#[must_use]
pub fn said_of_kept_copies(kept: &[KeptCopy], snapshot: &Path) -> Vec<String> {
    said_of_kept(kept, snapshot)
}

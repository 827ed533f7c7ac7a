//! Opening a store: snapshot + log → state, and a report.
//!
//! Each step can be repeated after a crash in the middle of it. The caller holds the locks.
//!
//! 1. Sync both files and their directories, and drop the pages of both files from the page cache. After a failed
//!    writeback the page cache shows bytes that are not on the disk, and recovery must read the disk. One exception: if
//!    values stay in the snapshot, its pages are kept, because dropping them takes time in proportion to its length.
//!    This is safe. The snapshot was read back from the disk before it got its name, and is not written afterwards.
//! 2. Load the snapshot and check every byte. If values stay in it: read only its header and the root of its index.
//! 3. Replay the log, without the writes that the snapshot holds. Several cores share the work for long files
//!    (`recovery/parallel_replay.rs`).
//! 4. Decide how the log ends: cleanly, torn or damaged. Up to here no file has been changed.
//! 5. Remove scratch files that a crash left.
//! 6. Copy a damaged log to `<wal>.damaged-<n>`.
//! 7. Truncate the log after its last good record, which also removes the reserved space. Sync the new length before
//!    any new write. If the last session did not shut down cleanly, write the mark of this opening there and sync it.
//!    If the disk is full, the first write does that.
//! 8. If a damaged log ends before the snapshot, put a new log in place.
//! 9. Without a log and a snapshot, begin a new store. If there is a snapshot and no log to continue, change
//!    nothing before the first write (`recovery/deferred_log.rs`).
//!
//! | how the log ends | [`Recovery::Prefix`] | [`Recovery::Strict`] |
//! |---|---|---|
//! | cleanly | continue it | continue it |
//! | torn | truncate, report | truncate, report |
//! | torn, with whole writes of its chain after it | keep a copy, truncate, report | refuse, change nothing |
//! | damaged | keep a copy, truncate, report | refuse, change nothing |
//! | missing, empty or older, beside a snapshot | report; the first write begins a new log | refuse, change nothing |
//! | an empty file, without a snapshot | begin a new store, report | refuse, change nothing |
//!
//! Copies stay until the user removes them, and each opening reports those that exist (`recovery/kept_copies.rs`). A
//! copy of a damaged log counts as a loss in both modes. It is never a reason to refuse.
//!
//! A damaged snapshot, a damaged header of the log, a read error, a foreign or a newer file: always refused.

mod applier;
mod copy_names;
mod deferred_log;
mod keep_copy;
mod kept_copies;
mod log_header;
mod log_tail;
mod pair;
mod parallel_replay;
mod read;
mod report;
mod strict;
mod walk;

pub(crate) use applier::Progress;
pub(crate) use copy_names::{CopyKind, named_copies};
pub(crate) use deferred_log::DeferredLog;
pub use kept_copies::KeptCopy;
pub(crate) use kept_copies::{find_kept_copies, warnings as kept_copy_warnings};
pub(crate) use log_header::{LOOKS, header_now, look_until_settled, read_header};
pub use log_tail::{LogTail, Truncation};
pub(crate) use pair::{LogState, check_same_store, find_divergence, find_mismatch};
pub(crate) use read::Keep;
pub use report::RecoveryReport;
pub(crate) use walk::walk;

use crate::disk::{Disk, File, is_still, remove_left_over};
use crate::error::{Error, Result};
use crate::merge_view::MergeView;
use crate::snapshot::{self, Form, Paged};
use crate::wal::{self, Wal};
use deferred_log::new_store_id;
use keep_copy::keep_copy;
use kept_copies::kept_copies;
use parallel_replay::Plan;
use read::{Files, Found, LogEnd, read};
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What opening does with a damaged log, which is a log with a bad record that had been synced. A torn tail had not
/// been synced: it is cut off and reported in both modes, unless whole writes follow it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # use kv_engine::disk::{Disk, OsDisk};
/// use kv_engine::{Error, LogTail, Options, Recovery};
///
/// # let engine = Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?; engine.put("y", "200")?; engine.close()?;
/// let file = OsDisk.open(&log)?.expect("a log of two writes");
/// file.write_at(140, b"rot")?; // in the first
/// let options = Options::new(&log, &snapshot);
/// let refused = options.clone().recovery(Recovery::Strict).open();
/// assert!(matches!(refused, Err(Error::Damaged { offset: 105, .. })));
/// let engine = options.open()?; // Recovery::Prefix
/// assert!(matches!(&engine.recovery().tail, LogTail::Damaged(cut) if cut.kept_as.is_some()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Recovery {
    /// Recover everything before the bad record and report it in the [`RecoveryReport`](crate::RecoveryReport). The
    /// damaged log is kept as `<wal>.damaged-<n>`, a log with whole writes after a torn record as
    /// `<wal>.damaged-<n>-torn`.
    #[default]
    Prefix,
    /// Refuse and change nothing. [`Error::Damaged`](crate::Error::Damaged): the log is damaged, has whole writes after
    /// a torn record, or is an empty file without a snapshot. [`Error::Mismatch`](crate::Error::Mismatch): there is a
    /// snapshot, and the log is missing, empty or older than it. Copies that earlier openings kept are not refused.
    Strict,
}

/// An opened store: its state, and the log to continue.
pub(crate) struct Recovered {
    pub(crate) state: MergeView,
    pub(crate) wal: Wal,
    /// Set if there is no log to continue. Then `wal` is only a placeholder.
    pub(crate) deferred_log: Option<DeferredLog>,
    /// The header of the snapshot.
    pub(crate) snapshot: Option<snapshot::Header>,
    pub(crate) report: RecoveryReport,
}

/// What the lock files say about earlier openings.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockNotes {
    /// The log that the snapshot was last used with, if it is another one.
    pub(crate) other_log: Option<String>,
    /// Whether a store was open under the log's name.
    pub(crate) opened_before: bool,
}

/// Opens the store at these paths. The caller holds the locks.
pub(crate) fn recover(
    disk: &dyn Disk,
    wal_path: &Path,
    snapshot_path: &Path,
    policy: Recovery,
    keep: Keep,
    notes: &LockNotes,
    progress: &Progress,
) -> Result<Recovered> {
    let began = disk.now();
    let snapshot_file = open_synced(disk, snapshot_path, keep == Keep::InMemory)?;
    let wal_file = open_synced(disk, wal_path, true)?;
    if let Some(file) = &wal_file {
        // Keeps out a process that found the log under another name, or whose lock file was removed.
        file.try_lock().map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => Error::Locked { path: wal_path.to_path_buf(), pid: None, contact: None },
            _ => Error::io("locking", wal_path)(e),
        })?;
    }

    let mut report = RecoveryReport::new(wal_path, snapshot_path);
    let mut files = Files { wal_path, wal: wal_file, snapshot_path, snapshot: snapshot_file, keep };
    let mut found = read(&files, Plan::of, progress, &mut report)?;
    note_log(&mut report, &files, &found, notes);
    if policy == Recovery::Strict {
        strict::check_tail(&report)?;
    }
    check_other_log(&report, notes)?;
    if policy == Recovery::Strict {
        strict::check_log_exists(&report)?;
    }

    // From here on files are changed.
    for path in [wal_path, snapshot_path] {
        remove_left_over(disk, path);
    }
    save_with_index(disk, &mut files, &mut found, &mut report)?;
    let Found { state, snapshot, base, log } = found;
    match (&files.wal, &mut report.tail) {
        (Some(file), LogTail::Damaged(cut)) => cut.kept_as = Some(keep_copy(disk, file, wal_path, CopyKind::Damaged)?),
        (Some(file), LogTail::Torn(cut)) if cut.writes_beyond > 0 && report.log_older.is_none() => {
            cut.kept_as = Some(keep_copy(disk, file, wal_path, CopyKind::Torn)?);
        }
        _ => {}
    }
    let (wal, deferred_log) = match (&files.wal, log) {
        (Some(file), Some(log)) if log.last >= report.snapshot_seq => {
            (continue_log(disk, file, wal_path, &log, report.closed_cleanly)?, None)
        }
        (_, log) => new_log(disk, &files, log, snapshot, &mut report)?,
    };
    let state = match keep {
        Keep::InMemory => MergeView::of(state),
        Keep::OnDisk { cache_bytes } => MergeView::over(base, state, cache_bytes),
    };
    let made = if let LogTail::Damaged(cut) | LogTail::Torn(cut) = &report.tail { cut.kept_as.as_deref() } else { None };
    report.kept = kept_copies(disk, wal_path, wal.store_id(), made);
    report.keys = state.at_most().0;
    report.took = disk.now().saturating_sub(began);
    Ok(Recovered { state, wal, deferred_log, snapshot, report })
}

/// Step 1 for one file.
fn open_synced(disk: &dyn Disk, path: &Path, drop_cache: bool) -> Result<Option<Arc<dyn File>>> {
    let file = disk.open(path).map_err(Error::io("opening", path))?;
    if let Some(file) = &file {
        file.sync().map_err(Error::io("syncing, before reading,", path))?;
        if drop_cache {
            file.drop_cache();
        }
    }
    disk.sync_dir(path).map_err(Error::io("syncing the directory of", path))?;
    Ok(file)
}

/// Notes whether the log is missing, empty or older than the snapshot.
fn note_log(report: &mut RecoveryReport, files: &Files<'_>, found: &Found, notes: &LockNotes) {
    report.log_missing = found.log.is_none() && found.snapshot.is_some();
    report.log_empty = found.log.is_none() && files.wal.is_some();
    report.was_opened_before = notes.opened_before;
    let last = found.log.as_ref().map(|log| log.last);
    report.log_older = last.filter(|&last| last < report.snapshot_seq && !matches!(report.tail, LogTail::Damaged(_)));
}

/// Refuses a snapshot that was last used with a log of another name, if there is no log here.
fn check_other_log(report: &RecoveryReport, notes: &LockNotes) -> Result<()> {
    let Some(other) = notes.other_log.as_deref().filter(|_| report.log_missing) else { return Ok(()) };
    let reason = format!(
        "the snapshot was last used with the log {other}, and there is no log at {}; open that log, or choose another snapshot",
        report.wal.display()
    );
    Err(Error::Mismatch { wal: report.wal.clone(), snapshot: report.snapshot.clone(), reason })
}

/// If values are to stay in the snapshot and it has no index, saves it again with one.
fn save_with_index(disk: &dyn Disk, files: &mut Files<'_>, found: &mut Found, report: &mut RecoveryReport) -> Result<()> {
    let path = files.snapshot_path;
    let (Keep::OnDisk { cache_bytes }, Some(header), Some(file), None) =
        (files.keep, &found.snapshot, &files.snapshot, &found.base)
    else {
        return Ok(());
    };
    let header = snapshot::save_again(disk, path, Form::Indexed, header.store_id, Arc::clone(file))?;
    let file = disk.open_read(path).map_err(Error::io("opening", path))?;
    let file = file.ok_or_else(|| Error::missing(path))?;
    found.base = Paged::open(Arc::clone(&file), path, cache_bytes)?;
    found.snapshot = Some(header);
    files.snapshot = Some(file);
    report.snapshot_bytes = header.file_len().unwrap_or(0);
    Ok(())
}

/// Step 7.
fn continue_log(disk: &dyn Disk, file: &Arc<dyn File>, path: &Path, log: &LogEnd, closed_cleanly: bool) -> Result<Wal> {
    if file.size().map_err(Error::io("reading", path))? > log.end {
        file.set_len(log.end).map_err(Error::io("cutting off the torn tail of", path))?;
        file.sync().map_err(Error::io("syncing", path))?;
    }
    // A header alone does not prove a clean end: records that this opening did not see may follow it.
    let is_clean = closed_cleanly && log.end > wal::HEADER_BYTES as u64;
    let mut wal = Wal::resume(Arc::clone(file), path, log.header, log.end, log.link, is_clean);
    if !is_clean {
        wal.mark_opening(log.last, || disk.entropy()).map_err(Error::io("marking the log as opened again: writing", path))?;
    }
    Ok(wal)
}

/// Steps 8 and 9: a new log, or for the time before the first write a placeholder.
fn new_log(
    disk: &dyn Disk,
    files: &Files<'_>,
    log: Option<LogEnd>,
    snapshot: Option<snapshot::Header>,
    report: &mut RecoveryReport,
) -> Result<(Wal, Option<DeferredLog>)> {
    report.created = log.is_none() && snapshot.is_none();
    let is_older = report.log_older.is_some();
    if let (Some(header), Some(snapshot)) = (snapshot, &files.snapshot)
        && (report.log_missing || is_older)
    {
        let deferred = DeferredLog::new((Arc::clone(snapshot), header), files.wal.clone(), is_older);
        return Ok((Wal::not_begun(files.wal.clone(), files.wal_path, header.store_id, header.seq), Some(deferred)));
    }
    let id = log.map_or_else(|| new_store_id(disk), |log| log.header.store_id);
    check_unchanged(disk, files.wal_path, files.wal.as_deref())?;
    Ok((Wal::create(disk, files.wal_path, id, report.snapshot_seq)?, None))
}

/// Checks that the file under this name is still the one that was opened, before another file takes its place.
fn check_unchanged(disk: &dyn Disk, path: &Path, file: Option<&dyn File>) -> Result<()> {
    const LOOKING: &str = "no file was replaced: looking at";
    if is_still(disk, path, file).map_err(Error::io(LOOKING, path))? {
        return Ok(());
    }
    Err(Error::io(LOOKING, path)(io::Error::other(
        "another process created or removed this file while the store was being opened",
    )))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! Opening: snapshot + log → state, and a report of what was found.
//!
//! Steps, each safe to repeat after a crash in the middle of any of them (the locks are held):
//! 1. sync both files and their directories, drop what the system remembers of them: recovery
//!    believes the medium, because after a failed writeback memory shows bytes that the disk lacks; a snapshot whose
//!    values stay in it is not dropped, which takes as long as it is large: it was synced and read back from the
//!    medium before it got its name, and nothing is written to it afterwards;
//! 2. load the snapshot, every byte checked, or, where values stay in it, its header and the root of its index; 3. walk over the log, skipping the writes that the
//!    snapshot holds; 4. the verdict on where the log ends. Up to here nothing has been changed; how long
//!    files are spread over the cores: `recovery/parallel_replay.rs`;
//! 5. remove scratch files that a crash left over; 6. a damaged log is first copied to `<wal>.damaged-<n>`;
//! 7. what follows the last good frame, reserved space too, is cut off, and the cut synced, before any
//!    new write;
//!    Where the log was not closed in order, the mark of this opening is made durable behind it; a
//!    full disk is no reason to refuse, then the first write does it;
//! 8. where a damaged log ends before the snapshot, a new one is put in place;
//! 9. where there is neither log nor snapshot, a new store begins. Where there is a snapshot, and no log to go on with,
//!    nothing is changed before the first write: `recovery/deferred_log.rs`.
//!
//! | where the log stops | policy `Prefix` | policy `Strict` |
//! |---|---|---|
//! | at its end | go on | go on |
//! | torn | cut, report | cut, report |
//! | torn, and whole writes of its chain behind | keep a copy, cut, report | refuse, change nothing |
//! | damaged | keep a copy, cut, report | refuse, change nothing |
//! | there is none, or an empty or older one, but a snapshot | report; begin a new one at the first write | refuse, change nothing |
//! | it is empty, and there is no snapshot | begin a new store, report | refuse, change nothing |
//!
//! The copies stay, and each opening names those that are there: `recovery/kept_copies.rs`. One of a damaged log is a loss until
//! somebody has dealt with it, in either policy; it is no reason to refuse.
//!
//! A damaged snapshot, a damaged log header, a read error, a foreign or newer file: always refuse.

mod applier;
mod deferred_log;
mod keep_copy;
mod kept_copies;
mod log_tail;
mod pair;
mod parallel_replay;
mod read;

pub(crate) use applier::Progress;
pub(crate) use deferred_log::DeferredLog;
pub use kept_copies::KeptCopy;
use kept_copies::kept_copies;
pub(crate) use kept_copies::{kept_beside, said as said_of_kept};
pub use log_tail::{LogTail, Truncation};
pub(crate) use pair::{Beside, diverged, header_now, lacking};
pub(crate) use read::{Keep, check_pair, read_header};

use crate::disk::{Disk, File, is_still, remove_left_over};
use crate::error::{Error, Result};
use crate::merge_view::MergeView;
use crate::snapshot::{self, Form};
use crate::wal::{self, Wal};
use crate::{Seq, StoreId};
use keep_copy::{keep_as, keep_copy};
use kept_copies::Sort;
use parallel_replay::Plan;
use read::{Files, Found, read};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What opening does with a log that is damaged, that is, has a bad record that had been synced. A
/// torn end, which had not been, is cut and reported either way, unless whole writes stand behind it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # use kv_engine::disk::{Disk, OsDisk};
/// use kv_engine::{Error, Options, Recovery, LogTail};
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
    /// Recover everything before the bad record, keep the damaged log as `<wal>.damaged-<n>` and one with whole writes
    /// behind a torn record as `<wal>.damaged-<n>-torn`, and say so in the [`RecoveryReport`](crate::RecoveryReport).
    #[default]
    Prefix,
    /// Refuse with [`Error::Damaged`](crate::Error::Damaged) and change nothing, also where whole writes stand behind a
    /// torn record. Copies that earlier openings kept are no reason to refuse. A snapshot whose log
    /// is missing, empty, or older than it is refused too, with [`Error::Mismatch`](crate::Error::Mismatch), and an empty log
    /// without a snapshot.
    Strict,
}

/// What opening found and did. Its [`Display`](fmt::Display) is one line; [`RecoveryReport::warnings`]
/// has a sentence for everything that was cut or repaired.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let options = kv_engine::Options::new(log, snapshot);
/// options.clone().open()?.put("x", "100")?;
/// let engine = options.open()?;
/// assert_eq!(engine.recovery().replayed, 1);
/// assert!(engine.recovery().warnings().is_empty());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct RecoveryReport {
    /// The log.
    pub wal: PathBuf,
    /// The snapshot.
    pub snapshot: PathBuf,
    /// Whether there was neither log nor snapshot, so that a new store began.
    pub created: bool,
    /// Sequence number of the snapshot; 0 when there is none.
    pub snapshot_seq: Seq,
    /// Entries in the snapshot.
    pub snapshot_keys: u64,
    /// Length of the snapshot in bytes; 0 when there is none.
    pub snapshot_bytes: u64,
    /// Length of the valid part of the log in bytes; 0 when there was none.
    pub log_bytes: u64,
    /// Writes of the log that were applied.
    pub replayed: u64,
    /// Writes of the log that the snapshot held already.
    pub skipped: u64,
    /// Sequence number of the last write in the state.
    pub last_seq: Seq,
    /// Keys in the state. Where values stay in the snapshot: those of the snapshot and of the log, a key of both counted
    /// twice.
    pub keys: u64,
    /// Whether there was a snapshot without a log, or with an empty one, which no crash causes: somebody removed the log.
    pub log_missing: bool,
    /// Whether the log was an empty file, which no crash causes.
    pub log_empty: bool,
    /// The last write of the log, where that is before the snapshot, which no crash causes: somebody put an older log in
    /// the place of the one that was here.
    pub log_older: Option<Seq>,
    /// Whether a store was open under this name before.
    was_opened_before: bool,
    /// Whether the log ended with the mark of an orderly close.
    pub closed_cleanly: bool,
    /// How the log ended.
    pub tail: LogTail,
    /// Whether the log ends right behind a write: without the space that is reserved there, and without a mark. A write that
    /// failed leaves that, as on a full disk, and so does somebody who cuts the file.
    pub ends_bare: bool,
    /// The copies of the log that earlier openings kept, and other files with such names. A copy that this opening made is
    /// in the tail.
    pub kept: Vec<KeptCopy>,
    /// How long opening took, from the first read on.
    pub took: Duration,
}

impl RecoveryReport {
    fn new(wal: &Path, snapshot: &Path) -> RecoveryReport {
        RecoveryReport {
            wal: wal.to_path_buf(),
            snapshot: snapshot.to_path_buf(),
            created: false,
            snapshot_seq: 0,
            snapshot_keys: 0,
            snapshot_bytes: 0,
            log_bytes: 0,
            replayed: 0,
            skipped: 0,
            last_seq: 0,
            keys: 0,
            log_missing: false,
            log_empty: false,
            log_older: None,
            was_opened_before: false,
            closed_cleanly: false,
            tail: LogTail::Clean,
            ends_bare: false,
            kept: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Whether something that had been promised durable is not in the state, or may not be: a damaged log, now or when a
    /// copy was kept that is still there, or a log
    /// that is missing, empty or older beside its snapshot, or empty where a store was open before. Worth a look at [`RecoveryReport::warnings`] in any program.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// let engine = kv_engine::Options::new(log, snapshot).open()?;
    /// assert!(!engine.recovery().is_loss());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_loss(&self) -> bool {
        let kept = self.kept.iter().any(|copy| matches!(copy, KeptCopy::Damaged(_)));
        let emptied = self.log_empty && self.was_opened_before;
        kept || self.log_missing || self.log_older.is_some() || emptied || matches!(self.tail, LogTail::Damaged(_))
    }

    /// A full sentence for everything that was cut or repaired, and for the copies that earlier openings kept; empty when
    /// there is none of it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # use kv_engine::disk::{Disk, OsDisk};
    /// # let options = kv_engine::Options::new(&log, snapshot);
    /// # let engine = options.clone().open()?;
    /// # engine.put("x", "100")?;
    /// # engine.close()?;
    /// OsDisk.open(&log)?.expect("a log").set_len(120)?; // inside its last record
    /// let engine = options.open()?;
    /// let warnings = engine.recovery().warnings();
    /// assert!(warnings[0].contains("torn record at byte 105"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = self.of_this_opening();
        warnings.extend(said_of_kept(&self.kept, &self.snapshot));
        warnings
    }

    /// Notes the copies that earlier openings of this store kept.
    fn look_at_kept(&mut self, disk: &dyn Disk, id: StoreId) {
        let made = if let LogTail::Damaged(cut) | LogTail::Torn(cut) = &self.tail { cut.kept_as.as_deref() } else { None };
        self.kept = kept_copies(disk, &self.wal, id, made);
    }

    fn of_this_opening(&self) -> Vec<String> {
        let wal = self.wal.display();
        if self.log_missing {
            let what =
                if self.log_empty { "the log beside the snapshot is empty" } else { "there is no log beside the snapshot" };
            return vec![format!(
                "{wal}: {what}; the state is that after write {}, and later writes are missing; nothing was changed; put the log \
                 back before the first write, which begins a new one",
                self.snapshot_seq
            )];
        }
        if let Some(last) = self.log_older {
            return vec![format!(
                "{wal}: the log is older than the snapshot: it ends with write {last}, the snapshot is of write {}; later writes \
                 are missing; nothing was changed; put the right log back before the first write, which keeps a copy of this one \
                 and begins a new one",
                self.snapshot_seq
            )];
        }
        if self.log_empty {
            let was = if self.was_opened_before { "; a store was open here before, and what it held is gone" } else { "" };
            return vec![format!("{wal}: the log was an empty file, which no crash leaves{was}; a new store was begun")];
        }
        match &self.tail {
            LogTail::Clean if self.ends_bare => vec![said_of_bare_end(&self.wal, self.last_seq)],
            LogTail::Clean => Vec::new(),
            LogTail::Torn(cut) => {
                let dropped = match cut.whole_beyond {
                    0 => String::new(),
                    n => format!(" (among them {n} whole but unpromised)"),
                };
                let torn = format!(
                    "{wal}: torn record at byte {}: {}; kept {} records, cut {} bytes{dropped}; no sync that covers them is known to have ended",
                    cut.offset,
                    cut.fault,
                    self.replayed + self.skipped,
                    cut.bytes
                );
                let copy = cut.kept_as.as_deref().map(|kept| {
                    let kept = kept.display();
                    format!("the log as it was is kept as {kept}; read what was cut with: kv_cli wal {kept}")
                });
                std::iter::once(torn).chain(copy).collect()
            }
            LogTail::Damaged(cut) => {
                let lost = match cut.lost_to(self.last_seq) {
                    None => "no write is lost".to_string(),
                    Some(last) if last == self.last_seq + 1 => format!("write {last} is lost"),
                    Some(last) => format!("writes {} to {last} are lost", self.last_seq + 1),
                };
                let kept = cut.kept_as.as_deref().unwrap_or(&self.wal).display();
                vec![
                    format!("{wal}: damaged at byte {}: {}, and {}; {lost}", cut.offset, cut.fault, cut.proof),
                    format!("the damaged log is kept as {kept}; read the rest with: kv_cli wal {kept}"),
                ]
            }
        }
    }
}

/// Of a log that ends right behind write `last`.
pub(crate) fn said_of_bare_end(wal: &Path, last: Seq) -> String {
    format!(
        "{}: the log ends right behind write {last}, without the space that is reserved there and without a mark: a write failed \
         there, as on a full disk, or somebody cut the file; whether later writes are missing cannot be told",
        wal.display()
    )
}

impl fmt::Display for RecoveryReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let took = match self.took.as_secs_f64() {
            s if s >= 1.0 => format!("{s:.1} s"),
            s => format!("{:.1} ms", s * 1e3),
        };
        if self.created {
            return write!(f, "new store, {took}");
        }
        let log = match self.log_bytes {
            bytes if bytes >= 1 << 20 => format!("{:.1} MiB", bytes as f64 / (1 << 20) as f64),
            bytes => format!("{bytes} B"),
        };
        let plural = |n: u64, one: &str| if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") };
        let (keys, records) = (plural(self.keys, "key"), plural(self.replayed, "log record"));
        write!(f, "recovered {keys}: {} from the snapshot, {records} ({log})", self.snapshot_keys)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        write!(f, " in {took}")?;
        if self.closed_cleanly { Ok(()) } else { write!(f, "; it was not closed in order") }
    }
}

/// An opened store: its state, and the log to go on with.
pub(crate) struct Recovered {
    pub(crate) state: MergeView,
    pub(crate) wal: Wal,
    /// Where there is no log to go on with, and `wal` only stands for it.
    pub(crate) deferred_log: Option<DeferredLog>,
    /// What the snapshot says of itself.
    pub(crate) snapshot: Option<snapshot::Header>,
    pub(crate) report: RecoveryReport,
}

/// What the files of the locks say of earlier openings.
#[derive(Clone, Debug, Default)]
pub(crate) struct LockNotes {
    /// The log that the snapshot was last used with, where that is another one.
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
    let snapshot_file = settle(disk, snapshot_path, keep == Keep::InMemory)?;
    let wal_file = settle(disk, wal_path, true)?;
    if let Some(file) = &wal_file {
        // Also against a process that found it under another name, or whose lock file was removed.
        file.try_lock().map_err(|e| match e.kind() {
            io::ErrorKind::WouldBlock => Error::Locked { path: wal_path.to_path_buf(), pid: None },
            _ => Error::io("locking", wal_path)(e),
        })?;
    }

    let mut report = RecoveryReport::new(wal_path, snapshot_path);
    let files = Files { wal_path, wal: wal_file, snapshot_path, snapshot: snapshot_file, keep };
    let Found { state, mut snapshot, mut base, log } = read(&files, Plan::of, progress, &mut report)?;
    let wal_file = files.wal.clone();
    if policy == Recovery::Strict
        && let LogTail::Damaged(cut) = &report.tail
    {
        let reason = format!(
            "{}, and {}; write {} is the last good one; opened in strict mode, so not opened, nothing changed; \
             see it with: kv_cli wal {}, or open without strict mode",
            cut.fault,
            cut.proof,
            report.last_seq,
            wal_path.display()
        );
        return Err(Error::damaged(wal_path, cut.offset, reason));
    }

    if policy == Recovery::Strict
        && let LogTail::Torn(cut) = &report.tail
        && cut.writes_beyond > 0
    {
        let reason = format!(
            "{}, and {} whole behind it, up to write {}, which no sync is known to cover: a power cut may leave this, and so may \
             a bad disk; write {} is the last good one; opened in strict mode, so not opened, nothing changed; see it with: \
             kv_cli wal {}, or open without strict mode, which keeps a copy",
            cut.fault,
            if cut.writes_beyond == 1 { "1 write is".to_string() } else { format!("{} writes are", cut.writes_beyond) },
            cut.last_beyond,
            report.last_seq,
            wal_path.display()
        );
        return Err(Error::damaged(wal_path, cut.offset, reason));
    }

    report.log_missing = log.is_none() && snapshot.is_some();
    report.log_empty = log.is_none() && wal_file.is_some();
    report.was_opened_before = notes.opened_before;
    report.log_older = log
        .as_ref()
        .map(|log| log.last)
        .filter(|&last| last < report.snapshot_seq && !matches!(report.tail, LogTail::Damaged(_)));
    if let Some(other) = notes.other_log.as_deref().filter(|_| report.log_missing) {
        let reason = format!(
            "the snapshot was last used with the log {other}, and there is none at {}; open that one, or choose another snapshot",
            wal_path.display()
        );
        return Err(Error::Mismatch { wal: wal_path.to_path_buf(), snapshot: snapshot_path.to_path_buf(), reason });
    }
    if policy == Recovery::Strict {
        check_log_is_there(&report)?;
    }

    // From here on files are changed.
    for path in [wal_path, snapshot_path] {
        remove_left_over(disk, path);
    }
    let indexed = |id, file: &Arc<dyn File>, cache_bytes| {
        let header = snapshot::save_again(disk, snapshot_path, Form::Indexed, id, Arc::clone(file))?;
        let file = disk.open_read(snapshot_path).map_err(Error::io("opening", snapshot_path))?;
        let file = file.ok_or_else(|| Error::io("opening", snapshot_path)(io::ErrorKind::NotFound.into()))?;
        let base = snapshot::Paged::open(Arc::clone(&file), snapshot_path, cache_bytes)?;
        Ok::<_, Error>(Indexed { header, file, base })
    };
    let mut snapshot_file = files.snapshot.clone();
    if let (Keep::OnDisk { cache_bytes }, Some(header), Some(file), None) = (keep, &snapshot, &files.snapshot, &base) {
        let saved = indexed(header.store_id, file, cache_bytes)?;
        report.snapshot_bytes = saved.header.file_len().unwrap_or(0);
        (snapshot, snapshot_file, base) = (Some(saved.header), Some(saved.file), saved.base);
    }
    match (&wal_file, &mut report.tail) {
        (Some(file), LogTail::Damaged(cut)) => cut.kept_as = Some(keep_copy(disk, file, wal_path)?),
        (Some(file), LogTail::Torn(cut)) if cut.writes_beyond > 0 && report.log_older.is_none() => {
            cut.kept_as = Some(keep_as(disk, file, wal_path, Sort::Torn)?);
        }
        _ => {}
    }
    let mut deferred_log = None;
    let wal = match (wal_file, log) {
        (Some(file), Some(log)) if log.last >= report.snapshot_seq => {
            if file.size().map_err(Error::io("reading", wal_path))? > log.end {
                file.set_len(log.end).map_err(Error::io("cutting the torn tail of", wal_path))?;
                file.sync().map_err(Error::io("syncing", wal_path))?;
            }
            // A bare header shows no end that was in order: behind it may be records that nobody saw.
            let in_order = report.closed_cleanly && log.end > wal::HEADER_BYTES as u64;
            let mut wal = Wal::resume(file, wal_path, log.header, log.end, log.link, in_order);
            if !in_order {
                wal.begin_life(log.last, || disk.entropy())
                    .map_err(Error::io("marking the log as opened again: writing", wal_path))?;
            }
            wal
        }
        (file, log) => {
            report.created = log.is_none() && snapshot.is_none();
            let is_older = report.log_older.is_some();
            match (snapshot, snapshot_file) {
                (Some(header), Some(snapshot)) if report.log_missing || is_older => {
                    deferred_log = Some(DeferredLog::new((snapshot, header), file.clone(), is_older));
                    Wal::not_begun(file, wal_path, header.store_id, header.seq)
                }
                _ => {
                    let id = log.map_or_else(|| new_id(disk), |log| log.header.store_id);
                    check_still(disk, wal_path, file.as_deref())?;
                    Wal::create(disk, wal_path, id, report.snapshot_seq)?
                }
            }
        }
    };
    let state = match keep {
        Keep::InMemory => MergeView::Memory(state),
        Keep::OnDisk { cache_bytes } => MergeView::over(base, state, cache_bytes),
    };
    report.look_at_kept(disk, wal.store_id());
    report.keys = state.at_most().0;
    report.took = disk.now().saturating_sub(began);
    Ok(Recovered { state, wal, deferred_log, snapshot, report })
}

/// A snapshot that was saved again, with an index.
struct Indexed {
    header: snapshot::Header,
    file: Arc<dyn File>,
    base: Option<snapshot::Paged>,
}

/// What strict mode asks of the log.
fn check_log_is_there(report: &RecoveryReport) -> Result<()> {
    let (seq, wal) = (report.snapshot_seq, &report.wal);
    let reason = match report.log_older {
        Some(last) => format!("the log is older than the snapshot: it ends with write {last}, the snapshot is of write {seq}"),
        None if report.log_missing && report.log_empty => format!("the log beside the snapshot of write {seq} is empty"),
        None if report.log_missing => format!("there is no log beside the snapshot of write {seq}"),
        None if report.log_empty => {
            let reason = "the log is an empty file, which no crash leaves; opened in strict mode, which does not begin a new store \
                          there, so not opened, nothing changed; put the log back, or remove the empty file";
            return Err(Error::damaged(wal, 0, reason));
        }
        None => return Ok(()),
    };
    let reason = format!("{reason}, and strict mode does not begin a new one");
    Err(Error::Mismatch { wal: wal.clone(), snapshot: report.snapshot.clone(), reason })
}

/// Whether what has this name is what was opened, before another file takes its place.
fn check_still(disk: &dyn Disk, path: &Path, file: Option<&dyn File>) -> Result<()> {
    const LOOKING: &str = "another file was not replaced: looking at";
    if is_still(disk, path, file).map_err(Error::io(LOOKING, path))? {
        return Ok(());
    }
    Err(Error::io(LOOKING, path)(io::Error::other("a file was put here or taken away while the store was opened")))
}

/// Step 1 for one file.
fn settle(disk: &dyn Disk, path: &Path, forget: bool) -> Result<Option<Arc<dyn File>>> {
    let file = disk.open(path).map_err(Error::io("opening", path))?;
    if let Some(file) = &file {
        file.sync().map_err(Error::io("syncing, before reading,", path))?;
        if forget {
            file.drop_cache();
        }
    }
    disk.sync_dir(path).map_err(Error::io("syncing the directory of", path))?;
    Ok(file)
}

fn new_id(disk: &dyn Disk) -> StoreId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&disk.entropy().to_le_bytes());
    id[8..].copy_from_slice(&disk.entropy().to_le_bytes());
    StoreId(id)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

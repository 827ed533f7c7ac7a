//! Opening: snapshot + log → state, and a report of what was found.
//!
//! Steps, each safe to repeat after a crash in the middle of any of them (the locks are held):
//! 1. sync both files and their directories, drop what the system remembers of them: recovery
//!    believes the medium, because after a failed writeback memory shows bytes that the disk lacks; a snapshot whose
//!    values stay in it is not dropped, which takes as long as it is large: it was synced and read back from the
//!    medium before it got its name, and nothing is written to it afterwards;
//! 2. load the snapshot, every byte checked, or, where values stay in it, its header and the root of its index; 3. walk over the log, skipping the writes that the
//!    snapshot holds; 4. the verdict on where the log ends. Up to here nothing has been changed; how long
//!    files are spread over the cores: `recovery/spread.rs`;
//! 5. remove left-over `.tmp` files; 6. a damaged log is first copied to `<wal>.damaged-<n>`;
//! 7. what follows the last good frame, reserved space too, is cut off, and the cut synced, before any
//!    new write;
//!    Where the log was not closed in order, the mark of this opening is made durable behind it; a
//!    full disk is no reason to refuse, then the first write does it;
//! 8. where the log ends before the snapshot, a new one is put in place;
//! 9. where there is none, a new store begins. With a snapshot, the snapshot is first saved under
//!    the new store's id: should the log that was missing come back, it must not be taken for the
//!    continuation of this one, whose sequence numbers it shares.
//!
//! | where the log stops | policy `Prefix` | policy `Strict` |
//! |---|---|---|
//! | at its end | go on | go on |
//! | torn | cut, report | cut, report |
//! | torn, and whole writes of its chain behind | keep a copy, cut, report | refuse, change nothing |
//! | damaged | keep a copy, cut, report | refuse, change nothing |
//! | there is none, but a snapshot | begin a new one, report | refuse, change nothing |
//!
//! The copies stay, and each opening names those that are there: `recovery/kept.rs`. One of a damaged log is a loss until
//! somebody has dealt with it, in either policy; it is no reason to refuse.
//!
//! A damaged snapshot, a damaged log header, a read error, a foreign or newer file: always refuse.

mod feed;
mod keep;
mod kept;
mod pair;
mod read;
mod spread;

pub(crate) use feed::Progress;
pub use kept::KeptCopy;
use kept::kept_copies;
pub(crate) use kept::{kept_beside, said as said_of_kept};
pub(crate) use pair::{Beside, diverged, header_now, lacking};
pub(crate) use read::{Keep, check_pair, read_header};

use crate::disk::{Disk, File, remove_if_there};
use crate::error::{Error, Result};
use crate::layers::Layers;
use crate::record::{Fault, Kind};
use crate::scan::Frames;
use crate::snapshot::{self, Draft, Form};
use crate::wal::{self, Wal};
use crate::{Seq, StoreId, with_suffix};
use keep::{keep_as, keep_copy};
use kept::Sort;
use read::{Files, Found, read};
use spread::Plan;
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
/// use kv_engine::{Error, Options, Recovery, Tail};
///
/// # let engine = Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?; engine.put("y", "200")?; engine.close()?;
/// let file = OsDisk.open(&log)?.expect("a log of two writes");
/// file.write_at(140, b"rot")?; // in the first
/// let options = Options::new(&log, &snapshot);
/// let refused = options.clone().recovery(Recovery::Strict).open();
/// assert!(matches!(refused, Err(Error::Damaged { offset: 105, .. })));
/// let engine = options.open()?; // Recovery::Prefix
/// assert!(matches!(&engine.recovery().tail, Tail::Damaged(cut) if cut.kept_as.is_some()));
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
    /// is missing is refused too, with [`Error::Mismatch`](crate::Error::Mismatch).
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
    /// Whether there was a snapshot without a log, which no crash causes: somebody removed the log.
    pub log_missing: bool,
    /// Whether the log ended with the mark of an orderly close.
    pub closed_cleanly: bool,
    /// How the log ended.
    pub tail: Tail,
    /// Whether the log ends right behind a write: without the space that is reserved there, and without a mark. A write that
    /// failed leaves that, as on a full disk, and so does somebody who cuts the file.
    pub ends_bare: bool,
    /// The copies of the log that earlier openings kept, and other files with such names. A copy that this opening made is
    /// in the tail.
    pub kept: Vec<KeptCopy>,
    /// How long opening took, from the first read on.
    pub took: Duration,
}

/// How a log ended; in [`RecoveryReport::tail`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// use kv_engine::Tail;
///
/// match &engine.recovery().tail {
///     Tail::Clean => {}
///     Tail::Torn(cut) => println!("{} B cut that nobody was promised", cut.bytes),
///     Tail::Damaged(cut) => println!("damaged; the whole log is kept as {:?}", cut.kept_as),
///     _ => println!("see the warnings"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tail {
    /// With its last record.
    Clean,
    /// With bytes that no sync is known to cover, as a crash leaves them: as far as the
    /// log can tell, promised to nobody.
    Torn(Cut),
    /// With a bad record of which [`Cut::proof`] shows that it had been synced.
    Damaged(Cut),
}

/// Where a log stopped making sense; from [`Tail`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # use kv_engine::disk::{Disk, OsDisk};
/// # let options = kv_engine::Options::new(&log, snapshot);
/// # let engine = options.clone().open()?; engine.put("x", "100")?; engine.close()?;
/// let file = OsDisk.open(&log)?.expect("a log");
/// file.set_len(140)?; // as a crash in the middle of a write may leave it
/// let engine = options.open()?;
/// let kv_engine::Tail::Torn(cut) = &engine.recovery().tail else { panic!("not torn") };
/// assert_eq!((cut.offset, cut.bytes, cut.expected), (105, 35, 1));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cut {
    /// Where the first bad record begins, in bytes from the start of the file.
    pub offset: u64,
    /// Bytes from there on, without the zeros that the file ends with.
    pub bytes: u64,
    /// The check that failed.
    pub fault: Fault,
    /// The sequence number that should have stood there.
    pub expected: Seq,
    /// Whole records found behind it. They are not applied.
    pub whole_beyond: u64,
    /// The highest sequence number among them; 0 when there is none.
    pub last_beyond: Seq,
    /// Whole writes among them that may continue this log: there is no sign that they are of an earlier life of the file.
    pub writes_beyond: u64,
    /// What proves that the bad record had been synced, in words; empty for a torn tail.
    pub proof: String,
    /// The last write that a record behind proves to have been synced; 0 when none does.
    pub promised: Seq,
    /// Where opening kept the log; `None` where nothing but a torn record was cut, and from [`inspect`](crate::inspect).
    pub kept_as: Option<PathBuf>,
}

impl Cut {
    /// The verdict on a log that stops with `fault` at the reader's place; `snapshot_seq` is the
    /// last write that a snapshot holds.
    pub(crate) fn judge(frames: &mut Frames, fault: Fault, snapshot_seq: Seq) -> Result<Tail> {
        let (at, expected) = (frames.offset(), frames.last() + 1);
        // A whole record that does not follow the one before it is of an earlier life of the file, and so is what follows it.
        let mut stale = (fault == Fault::Chain).then_some((at, None));
        let mut writes_beyond = 0;
        let beyond = frames.look_beyond(|frame| {
            let header = &frame.header;
            match stale {
                Some((at, link)) if frame.offset == at && link.is_none_or(|link| link == header.link) => {
                    stale = Some((at + frame.bytes(), Some(header.check)));
                }
                _ => writes_beyond += u64::from(header.kind == Kind::WRITE && header.seq >= expected),
            }
        })?;
        let mut cut = Cut {
            offset: frames.offset(),
            bytes: frames.content_end()? - frames.offset(),
            fault,
            expected,
            whole_beyond: beyond.whole,
            last_beyond: beyond.last,
            writes_beyond,
            proof: String::new(),
            promised: beyond.promised,
            kept_as: None,
        };
        if let Some((at, seq)) = beyond.witness {
            cut.proof = format!("the record at byte {at} (sequence number {seq}) proves that it had been synced");
        } else if expected <= snapshot_seq {
            cut.proof = format!("the snapshot of write {snapshot_seq} proves that it had been synced");
        } else {
            return Ok(Tail::Torn(cut));
        }
        Ok(Tail::Damaged(cut))
    }

    /// The last write that is known to be lost, when `recovered` was the last one recovered.
    pub(crate) fn lost_to(&self, recovered: Seq) -> Option<Seq> {
        let last = self.last_beyond.max(self.promised);
        (last > recovered).then_some(last)
    }
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
            closed_cleanly: false,
            tail: Tail::Clean,
            ends_bare: false,
            kept: Vec::new(),
            took: Duration::ZERO,
        }
    }

    /// Whether something that had been promised durable is not in the state: a damaged log, now or when one was kept
    /// that is still there, or a log that is missing beside its snapshot. Worth a look at [`RecoveryReport::warnings`] in any program.
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
        kept || self.log_missing || matches!(self.tail, Tail::Damaged(_))
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
        let made = if let Tail::Damaged(cut) | Tail::Torn(cut) = &self.tail { cut.kept_as.as_deref() } else { None };
        self.kept = kept_copies(disk, &self.wal, id, made);
    }

    fn of_this_opening(&self) -> Vec<String> {
        let wal = self.wal.display();
        if self.log_missing {
            return vec![format!(
                "{wal}: there is no log beside the snapshot; the state is that after write {}, a new log was begun, and an \
                 older one can no longer be used with this snapshot",
                self.snapshot_seq
            )];
        }
        match &self.tail {
            Tail::Clean if self.ends_bare => vec![said_of_bare_end(&self.wal, self.last_seq)],
            Tail::Clean => Vec::new(),
            Tail::Torn(cut) => {
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
            Tail::Damaged(cut) => {
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
    pub(crate) state: Layers,
    pub(crate) wal: Wal,
    pub(crate) report: RecoveryReport,
}

/// Opens the store at these paths. The caller holds the locks.
///
/// `other_log` is the log that the snapshot was last used with, where that is another one.
pub(crate) fn recover(
    disk: &dyn Disk,
    wal_path: &Path,
    snapshot_path: &Path,
    policy: Recovery,
    keep: Keep,
    other_log: Option<&str>,
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
    let Found { state, snapshot, mut base, log } = read(&files, Plan::of, progress, &mut report)?;
    let wal_file = files.wal.clone();
    if policy == Recovery::Strict
        && let Tail::Damaged(cut) = &report.tail
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
        && let Tail::Torn(cut) = &report.tail
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
    if let Some(other) = other_log.filter(|_| report.log_missing) {
        let reason = format!(
            "the snapshot was last used with the log {other}, and there is none at {}; open that one, or choose another snapshot",
            wal_path.display()
        );
        return Err(Error::Mismatch { wal: wal_path.to_path_buf(), snapshot: snapshot_path.to_path_buf(), reason });
    }
    if policy == Recovery::Strict && report.log_missing {
        let reason =
            format!("there is no log beside the snapshot of write {}, and strict mode does not begin one", report.snapshot_seq);
        return Err(Error::Mismatch { wal: wal_path.to_path_buf(), snapshot: snapshot_path.to_path_buf(), reason });
    }

    // From here on files are changed.
    for path in [wal_path, snapshot_path] {
        let tmp = with_suffix(path, ".tmp");
        remove_if_there(disk, &tmp).map_err(Error::io("removing", &tmp))?;
    }
    let indexed = |id, file: &Arc<dyn File>, cache_bytes| {
        let header = snapshot::save_again(disk, snapshot_path, Form::Indexed, id, Arc::clone(file))?;
        let file = disk.open_read(snapshot_path).map_err(Error::io("opening", snapshot_path))?;
        let file = file.ok_or_else(|| Error::io("opening", snapshot_path)(io::ErrorKind::NotFound.into()))?;
        Ok::<_, Error>((header, snapshot::Paged::open(file, snapshot_path, cache_bytes)?))
    };
    if let (Keep::OnDisk { cache_bytes }, Some(header), Some(file), None) = (keep, &snapshot, &files.snapshot, &base) {
        let saved = indexed(header.store_id, file, cache_bytes)?;
        report.snapshot_bytes = saved.0.file_len().unwrap_or(0);
        base = saved.1;
    }
    match (&wal_file, &mut report.tail) {
        (Some(file), Tail::Damaged(cut)) => cut.kept_as = Some(keep_copy(disk, file, wal_path)?),
        (Some(file), Tail::Torn(cut)) if cut.writes_beyond > 0 => {
            cut.kept_as = Some(keep_as(disk, file, wal_path, Sort::Torn)?);
        }
        _ => {}
    }
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
        (_, log) => {
            report.created = log.is_none() && snapshot.is_none();
            let id = log.map_or_else(|| new_id(disk), |log| log.header.store_id);
            if report.log_missing {
                match (keep, &files.snapshot) {
                    (Keep::OnDisk { cache_bytes }, Some(file)) => base = indexed(id, file, cache_bytes)?.1,
                    _ => {
                        let draft = Draft::new(Form::Plain, id, report.snapshot_seq);
                        snapshot::save(disk, snapshot_path, draft, snapshot::fill_from(&state))?;
                    }
                }
            }
            Wal::create(disk, wal_path, id, report.snapshot_seq)?
        }
    };
    let state = match keep {
        Keep::InMemory => Layers::Memory(state),
        Keep::OnDisk { cache_bytes } => Layers::over(base, state, cache_bytes),
    };
    report.look_at_kept(disk, wal.store_id());
    report.keys = state.at_most().0;
    report.took = disk.now().saturating_sub(began);
    Ok(Recovered { state, wal, report })
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

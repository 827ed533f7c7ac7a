//! [`verify`]: checks every byte of both files, and that the two together hold every write.

use super::{
    BARE_END, Content, Entry, LogSummary, Record, kept_copies, kept_copy_warnings, log_head, log_in, snapshot_head, snapshot_seq,
};
use crate::disk::{Disk, File, OsDisk};
use crate::error::Error;
use crate::record::Fault;
use crate::recovery::{self, LogState, LogTail, find_divergence, look_until_settled};
use crate::{KeptCopy, snapshot};
use std::fmt;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The verdict on one file; from [`verify`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?;
/// # engine.delete("x")?;
/// # engine.close()?;
/// use kv_engine::inspect::{self, Health};
///
/// match inspect::verify(&log, &snapshot).log.1 {
///     Health::Sound(what) => assert_eq!(what, "writes 1 to 2, 223 B, closed cleanly"),
///     Health::Torn(what) => println!("as a crash leaves it: {what}"),
///     Health::Bad(error) => println!("{error}"),
///     _ => println!("no log"),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub enum Health {
    /// The file does not exist.
    Missing,
    /// The log is an empty file. No crash causes this.
    Empty,
    /// Every check holds. The text tells the contents.
    Sound(String),
    /// A log that ends in a torn record, which the next opening cuts off. The text tells the details.
    Torn(String),
    /// A check fails, or it is not a log or snapshot of this program.
    Bad(Error),
    /// The file cannot be read. This says nothing about its contents.
    Unreadable(Error),
}

/// The result of [`verify`]. Its [`Display`](fmt::Display) is one line for each file, and one more if the two do not
/// fit.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?;
/// # engine.delete("x")?;
/// # engine.close()?;
/// let found = kv_engine::inspect::verify(&log, &snapshot);
/// assert!(found.to_string().contains(": undamaged, writes 1 to 2, "));
/// assert!(found.pair.is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct Verification {
    /// The log's path and verdict.
    pub log: (PathBuf, Health),
    /// The snapshot's path and verdict.
    pub snapshot: (PathBuf, Health),
    /// Why the two are not one store or do not hold every write: for example a log that is missing, empty, or older
    /// than the snapshot.
    pub pair: Option<Error>,
    /// The copies of the log that openings kept, and other files with the names of copies.
    pub kept: Vec<KeptCopy>,
}

impl Verification {
    /// Whether the store would open with every write that was promised durable, as far as the files show. A torn tail
    /// is sound. Two missing files are not, and neither is a store with a kept copy of its damaged log.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// use kv_engine::inspect::verify;
    ///
    /// assert!(!verify(&log, &snapshot).is_sound()); // nothing there yet
    /// kv_engine::Options::new(&log, &snapshot).open()?.put("x", "100")?;
    /// assert!(verify(&log, &snapshot).is_sound());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let healths = [&self.log.1, &self.snapshot.1];
        let bad = healths.iter().any(|health| matches!(health, Health::Bad(_) | Health::Unreadable(_)));
        let missing = healths.iter().all(|health| matches!(health, Health::Missing | Health::Empty));
        let kept = self.kept.iter().any(|copy| matches!(copy, KeptCopy::Damaged(_)));
        !bad && !missing && !kept && self.pair.is_none()
    }
}

impl fmt::Display for Verification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, (path, health)) in [("log", &self.log), ("snapshot", &self.snapshot)] {
            match health {
                Health::Missing => writeln!(f, "{name} {}: missing", path.display())?,
                Health::Empty => writeln!(f, "{name} {}: an empty file; a crash does not cause this", path.display())?,
                Health::Sound(text) => writeln!(f, "{name} {}: undamaged, {text}", path.display())?,
                Health::Torn(text) => writeln!(f, "{name} {}: torn, {text}", path.display())?,
                Health::Bad(error) => writeln!(f, "{name} BAD: {error}")?,
                Health::Unreadable(error) => writeln!(f, "{name} cannot be read: {error}")?,
            }
        }
        if let Some(error) = &self.pair {
            writeln!(f, "BAD: {error}")?;
        }
        kept_copy_warnings(&self.kept, &self.snapshot.0).iter().try_for_each(|text| writeln!(f, "kept: {text}"))
    }
}

/// Reads and checks every byte of the log at `wal` and of the snapshot at `snapshot`. A file that cannot be read is
/// also a verdict, so there is no error.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// kv_engine::Options::new(&log, &snapshot).open()?.put("x", "100")?;
/// assert!(kv_engine::inspect::verify(&log, &snapshot).is_sound());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn verify(wal: &Path, snapshot: &Path) -> Verification {
    look_until_settled(wal, || verify_once(wal, snapshot), |found| found.pair.is_none())
}

fn verify_once(wal: &Path, snapshot: &Path) -> Verification {
    // The log is opened first: a running store replaces the snapshot before the log. So an older log always fits a
    // newer snapshot, and the reverse is not true.
    let log = OsDisk.open_read(wal);
    let promised = snapshot_seq(snapshot);
    let (log, seen) = match log {
        Ok(None) => (Health::Missing, None),
        Ok(Some(file)) => check_log(file, wal, promised),
        Err(error) => (unsound(Error::io("opening", wal)(error)), None),
    };
    let held = check_snapshot(snapshot);
    let pair = match held {
        Health::Bad(_) | Health::Unreadable(_) => None,
        _ => find_mismatch(wal, snapshot, seen.as_ref()),
    };
    let kept = kept_copies(wal, snapshot);
    Verification { log: (wal.to_path_buf(), log), snapshot: (snapshot.to_path_buf(), held), pair, kept }
}

/// Why the log at `wal` and the snapshot at `snapshot` are not one store or do not hold every write. [`verify`] reports
/// the same. `seen` is the summary from [`log`](super::log), if the log could be read.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::inspect;
/// use std::ops::ControlFlow;
///
/// let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// engine.put("x", "100")?;
/// engine.close()?;
/// let seen = inspect::log(&log, 0, |_| ControlFlow::Continue(()))?;
/// assert!(inspect::find_mismatch(&log, &snapshot, Some(&seen)).is_none());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use]
pub fn find_mismatch(wal: &Path, snapshot: &Path, seen: Option<&LogSummary>) -> Option<Error> {
    // A file that cannot be opened or read is reported by the check of that file.
    let log = OsDisk.open_read(wal).ok()?;
    // A damaged header counts too if its store is known.
    let head = |file| log_head(file, wal).ok().filter(|head| head.is_known).map(|head| head.header);
    let header = log.as_ref().filter(|_| seen.is_some()).and_then(head);
    let last = seen.filter(|seen| !matches!(seen.tail, LogTail::Damaged(_))).map(|seen| seen.last_seq);
    let state = match (&log, &header) {
        (None, _) => LogState::Missing,
        (Some(file), _) if file.size().ok()? == 0 => LogState::Empty,
        (_, Some(header)) => LogState::Log(header, last),
        (Some(_), None) => return None,
    };
    let held = match OsDisk.open_read(snapshot).ok()? {
        Some(file) => match snapshot::read_header(&*file, snapshot) {
            Ok(header) => Some((file, header)),
            Err(error) => return Some(error),
        },
        None => None,
    };
    recovery::find_mismatch(wal, snapshot, state, held.as_ref().map(|(_, header)| header)).or_else(|| {
        let (log, header, (held, _)) = (log?, header?, held?);
        // A file that cannot be read is reported by the check of that file.
        find_divergence(wal, &log, &header, snapshot, &held).ok().flatten()
    })
}

fn check_log(file: Arc<dyn File>, path: &Path, promised: crate::Seq) -> (Health, Option<LogSummary>) {
    match file.size() {
        Ok(0) => return (Health::Empty, None),
        Ok(_) => {}
        Err(error) => return (unsound(Error::io("reading", path)(error)), None),
    }
    let mut impossible = None;
    let seen = log_in(file, path, promised, |entry| {
        if let Entry::Record(Record { offset, content: Content::Impossible, .. }) = entry {
            impossible = Some(offset);
        }
        ControlFlow::Continue(())
    });
    let summary = match seen {
        Ok(summary) => summary,
        Err(error) => return (unsound(error), None),
    };
    if let Some(offset) = impossible {
        return (Health::Bad(Error::damaged(path, offset, Fault::Content.to_string())), Some(summary));
    }
    let health = match (&summary.header_damage, &summary.tail) {
        (Some(reason), _) => Health::Bad(Error::damaged(path, 0, reason.clone())),
        (None, LogTail::Clean) if summary.ends_bare => Health::Sound(format!("{}; {BARE_END}", describe(&summary))),
        (None, LogTail::Clean) if summary.closed_cleanly => Health::Sound(describe(&summary)),
        (None, LogTail::Clean) => Health::Sound(format!("{}, not closed cleanly, or still open", describe(&summary))),
        (None, LogTail::Torn(cut)) => Health::Torn(format!(
            "{}; then {} B that are not a whole record ({}); no sync is known to cover them; the next opening cuts them off",
            describe(&summary),
            cut.bytes,
            cut.fault
        )),
        (None, LogTail::Damaged(cut)) => {
            Health::Bad(Error::damaged(path, cut.offset, format!("{}, and {}", cut.fault, cut.proof)))
        }
    };
    (health, Some(summary))
}

fn check_snapshot(path: &Path) -> Health {
    let file = match OsDisk.open_read(path) {
        Ok(Some(file)) => file,
        Ok(None) => return Health::Missing,
        Err(e) => return unsound(Error::io("opening", path)(e)),
    };
    match snapshot::load(Arc::clone(&file), path, |_, _| {}) {
        Ok(header) => Health::Sound(format!(
            "{} {} after write {}, {} B, digest {}",
            header.entries,
            if header.entries == 1 { "key" } else { "keys" },
            header.seq,
            header.file_len().unwrap_or(0),
            header.digest
        )),
        // If blocks of a snapshot follow, only the first bytes are damaged, and the file is not foreign.
        Err(error @ Error::Foreign { .. }) => match snapshot_head(&file, path, None).map(|head| head.damage) {
            Ok(Some(reason)) => Health::Bad(Error::damaged(path, 0, reason)),
            _ => Health::Bad(error),
        },
        Err(error) => unsound(error),
    }
}

fn unsound(error: Error) -> Health {
    match error {
        Error::Io { .. } => Health::Unreadable(error),
        _ => Health::Bad(error),
    }
}

fn describe(summary: &LogSummary) -> String {
    let writes = match summary.writes {
        0 => format!("no writes after write {}", summary.base),
        1 => format!("write {}", summary.last_seq),
        _ => format!("writes {} to {}", summary.base + 1, summary.last_seq),
    };
    let closed = if summary.closed_cleanly { ", closed cleanly" } else { "" };
    format!("{writes}, {} B{closed}", summary.valid_bytes)
}

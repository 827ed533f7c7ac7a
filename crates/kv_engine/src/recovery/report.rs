//! [`RecoveryReport`]: what opening found and did, in figures and in words.

use super::kept_copies::{KeptCopy, salvage_command, shell_word, warnings};
use super::log_tail::LogTail;
use crate::Seq;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What opening found and did. Its [`Display`](fmt::Display) is one line. [`RecoveryReport::warnings`] has a sentence
/// for everything that was cut off or repaired.
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
    /// Whether a new store began, because there was no log and no snapshot.
    pub created: bool,
    /// The last write in the snapshot; 0 if there is none.
    pub snapshot_seq: Seq,
    /// Entries in the snapshot.
    pub snapshot_keys: u64,
    /// Length of the snapshot in bytes; 0 if there is none.
    pub snapshot_bytes: u64,
    /// Length of the valid part of the log in bytes; 0 if there was no log.
    pub log_bytes: u64,
    /// Writes of the log that were applied.
    pub replayed: u64,
    /// Writes of the log that the snapshot held already.
    pub skipped: u64,
    /// The last write in the state.
    pub last_seq: Seq,
    /// Keys in the state. If values stay in the snapshot, this is an upper bound: a key that is in the snapshot and in
    /// the log is counted twice.
    pub keys: u64,
    /// Whether there was a snapshot and no log, or an empty one. No crash causes this: the log was removed.
    pub log_missing: bool,
    /// Whether the log was an empty file, which no crash causes.
    pub log_empty: bool,
    /// Set if the log ends before the snapshot: the last write of the log. No crash causes this: the log was replaced
    /// by an older one.
    pub log_older: Option<Seq>,
    /// Whether a store was open under this name before.
    pub(super) was_opened_before: bool,
    /// Whether the log ended with the mark of a clean close.
    pub closed_cleanly: bool,
    /// How the log ended.
    pub tail: LogTail,
    /// Whether the file ends right after a write, without reserved space and without a mark. A failed write leaves
    /// this, for example on a full disk, and so does a truncation of the file.
    pub ends_bare: bool,
    /// The copies of the log that earlier openings kept, and other files with the names of copies. A copy that this
    /// opening made is in the tail.
    pub kept: Vec<KeptCopy>,
    /// How long opening took, from the first read.
    pub took: Duration,
}

impl RecoveryReport {
    pub(super) fn new(wal: &Path, snapshot: &Path) -> RecoveryReport {
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

    /// Whether the state lacks, or may lack, a write that was promised durable. The reasons:
    /// - the log is damaged, or was damaged when a copy was kept that is still there;
    /// - there is a snapshot, and the log is missing, empty or older than it;
    /// - the log is empty although a store was open here before.
    ///
    /// Any program should show [`RecoveryReport::warnings`] then.
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

    /// A full sentence for everything that was cut off or repaired, and for the copies that earlier openings kept.
    /// Usually empty.
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
        let mut all = self.warnings_of_this_opening();
        all.extend(warnings(&self.kept, &self.snapshot));
        all
    }

    fn warnings_of_this_opening(&self) -> Vec<String> {
        let wal = self.wal.display();
        if self.log_missing {
            let what = if self.log_empty { "empty" } else { "missing" };
            return vec![format!(
                "{wal}: the log is {what}; the store has the writes up to {} from the snapshot; later writes may be missing; no file \
                 was changed; put the log back before the first write, because that write begins a new log",
                self.snapshot_seq
            )];
        }
        if let Some(last) = self.log_older {
            return vec![format!(
                "{wal}: the log is older than the snapshot: it ends with write {last}, the snapshot with write {}; later writes may \
                 be missing; no file was changed; put the right log back before the first write, because that write begins a \
                 new log and keeps a copy of this one",
                self.snapshot_seq
            )];
        }
        if self.log_empty {
            let was = if self.was_opened_before { "; a store was open here before, and its data is gone" } else { "" };
            return vec![format!("{wal}: the log was an empty file; a crash does not cause this{was}; a new store was begun")];
        }
        match &self.tail {
            LogTail::Clean if self.ends_bare => vec![format!(
                "{wal}: the log ends right after write {}, without reserved space and without a mark: a write failed there (for \
                 example on a full disk), or the file was truncated; later writes may be missing",
                self.last_seq
            )],
            LogTail::Clean => Vec::new(),
            LogTail::Torn(cut) => {
                let whole = match cut.whole_beyond {
                    0 => String::new(),
                    1 => " (with 1 whole record in them)".to_string(),
                    n => format!(" (with {n} whole records in them)"),
                };
                let torn = format!(
                    "{wal}: torn record at byte {}: {}; kept {}, cut off {}{whole}; no sync is known to cover them",
                    cut.offset,
                    cut.fault,
                    plural(self.replayed + self.skipped, "record"),
                    plural(cut.bytes, "byte")
                );
                let copy = cut.kept_as.as_deref().map(|kept| {
                    let (name, word) = (kept.display(), shell_word(kept));
                    format!("a copy of the log is kept as {name}; to see what was cut off: kv_cli wal {word}")
                });
                std::iter::once(torn).chain(copy).collect()
            }
            LogTail::Damaged(cut) => {
                let lost = match cut.lost_to(self.last_seq) {
                    None => "no write is lost".to_string(),
                    Some(last) if last == self.last_seq + 1 => format!("write {last} is not in the store"),
                    Some(last) => format!("writes {} to {last} are not in the store", self.last_seq + 1),
                };
                let kept = cut.kept_as.as_deref().unwrap_or(&self.wal);
                vec![
                    format!("{wal}: damaged at byte {}: {}, and {}; {lost}", cut.offset, cut.fault, cut.proof),
                    format!(
                        "a copy of the damaged log is kept as {}; to see it: kv_cli wal {}; to export its entries: {}",
                        kept.display(),
                        shell_word(kept),
                        salvage_command(kept, &self.snapshot)
                    ),
                ]
            }
        }
    }
}

fn plural(n: u64, one: &str) -> String {
    if n == 1 { format!("1 {one}") } else { format!("{n} {one}s") }
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
        let (keys, records) = (plural(self.keys, "key"), plural(self.replayed, "log record"));
        write!(f, "recovered {keys}: {} from the snapshot, {records} ({log})", self.snapshot_keys)?;
        if self.skipped > 0 {
            write!(f, ", {} skipped", self.skipped)?;
        }
        write!(f, " in {took}")?;
        if self.closed_cleanly { Ok(()) } else { write!(f, "; the last session did not shut down cleanly") }
    }
}

//! [`Files`]: answers from the files of a store, without opening it.
//!
//! Each answer is the state right after the last write that is whole in the files at that moment. If a process has the
//! store open, that process may have accepted later writes which are not in the files yet. No lock is taken and no byte
//! is changed.
//!
//! The answers are those that opening would give, with one exception: opening recovers what is before a damaged place,
//! and here a damaged log is refused.

use super::holder::holder;
use kv_engine::export::{self, Export};
use kv_engine::{KeptCopy, LogTail, Result, Seq, StoreId, Value, inspect};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// The files of a store, to read.
pub(crate) struct Files {
    wal: PathBuf,
    snapshot: PathBuf,
    /// What the first look has found; the first command takes it.
    first: Option<Export>,
    kept: Vec<KeptCopy>,
    seq: Seq,
    tail: Option<String>,
}

impl Files {
    /// Looks at the files.
    ///
    /// # Errors
    /// There is no store, its log is damaged, or the two files are not one store.
    pub(crate) fn look(wal: &Path, snapshot: &Path) -> Result<Files> {
        let first = export::read(wal, snapshot)?;
        let tail = match &first.tail {
            LogTail::Torn(cut) => Some(format!(
                "the record at byte {} of {} is torn, or is just being written; what follows is the state before it, after \
                 write {}; no file was changed",
                cut.offset,
                wal.display(),
                first.seq
            )),
            _ if first.ends_bare => Some(format!("{} {}", wal.display(), inspect::BARE_END)),
            _ => None,
        };
        let kept = inspect::kept_copies(wal, snapshot);
        let (wal, snapshot) = (wal.to_path_buf(), snapshot.to_path_buf());
        Ok(Files { wal, snapshot, seq: first.seq, first: Some(first), kept, tail })
    }

    /// What was found at the first look, in one line.
    pub(crate) fn found(&self) -> String {
        let state = format!("the files have the writes up to {}", self.seq);
        match holder(&self.wal) {
            Some(pid) => format!("{state}; process {pid} has the store open, and may have later ones"),
            None => state,
        }
    }

    /// What to know about an answer, if another process has the store open.
    pub(crate) fn note(&self, pid: Option<u32>) -> String {
        let who = pid.map_or("another process".to_string(), |pid| format!("process {pid}"));
        format!(
            "{who} has the store {} open; this is the state in its files, after write {}; what that process has not synced yet is \
             not in it",
            self.wal.display(),
            self.seq
        )
    }

    /// Whether opening has nothing to repair or to report.
    pub(crate) fn is_sound(&self) -> bool {
        self.tail.is_none() && self.kept.is_empty()
    }

    /// A sentence for everything that opening would repair or report.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let kept = inspect::kept_copy_warnings(&self.kept, &self.snapshot);
        self.tail.iter().cloned().chain(kept).collect()
    }

    /// Whether a copy of a damaged log is beside the log: writes that were promised durable may be missing.
    pub(crate) fn is_loss(&self) -> bool {
        self.kept.iter().any(|copy| matches!(copy, KeptCopy::Damaged(_)))
    }

    /// The state that is in the files now.
    pub(crate) fn now(&mut self) -> Result<Export> {
        match self.first.take() {
            Some(first) => Ok(first),
            None => export::read(&self.wal, &self.snapshot),
        }
    }

    /// The store, the last write in its files, and the number of keys.
    pub(crate) fn figures(&mut self) -> Result<(StoreId, Seq, u64)> {
        let export = self.now()?;
        Ok((export.store_id, export.seq, export.count()?))
    }

    pub(crate) fn get(&mut self, key: &[u8]) -> Result<Option<Value>> {
        self.now()?.get(key)
    }

    pub(crate) fn count(&mut self) -> Result<u64> {
        self.now()?.count()
    }

    /// Gives the entries whose keys begin with `prefix` to `each` in key order, until it stops.
    pub(crate) fn each(&mut self, prefix: &[u8], each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        self.now()?.each_with_prefix(prefix, each)
    }
}

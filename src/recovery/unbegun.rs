//! A store whose log is not there to go on with, although its snapshot is: the log was removed, emptied, or replaced by an
//! older one. Opening changes nothing then, so that the right log can still be put back. The first write, or the first
//! snapshot that somebody asks for, begins a new log:
//!
//! 1. what has the log's name must still be what opening found there: nothing, or that file;
//! 2. where the log was missing or empty, the snapshot is saved again under a new store id: should the old log come back,
//!    it must not be taken for the continuation of this one, whose sequence numbers it shares;
//!    an older log is copied to `<wal>.damaged-<n>`: it belongs to this store, and nobody else keeps it;
//! 3. the new log, which begins behind the snapshot, gets the name.

use super::keep::keep_copy;
use super::new_id;
use crate::Seq;
use crate::disk::{Disk, File, is_still};
use crate::error::{Error, Result};
use crate::snapshot::{self, Form};
use crate::wal::Wal;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// What opening found.
#[derive(Debug)]
pub(crate) struct Unbegun {
    /// The snapshot, and what it says of itself.
    pub(super) snapshot: Arc<dyn File>,
    pub(super) header: snapshot::Header,
    /// What has the name of the log: nothing, an empty file, or a log of this store that ends before the snapshot.
    pub(super) log: Option<Arc<dyn File>>,
    pub(super) is_older: bool,
}

impl Unbegun {
    /// Begins the log.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`]: no log was begun. [`Error::Poisoned`]: a directory could not be synced.
    pub(crate) fn begin(&self, disk: &dyn Disk, wal: &Path, snapshot: &Path, form: Form) -> Result<(Wal, snapshot::Header)> {
        const LOOKING: &str = "no log was begun, nothing was changed: looking at";
        if !is_still(disk, wal, self.log.as_deref()).map_err(Error::io(LOOKING, wal))? {
            let changed = "a file was put here or taken away since the store was opened; open the store again";
            return Err(Error::io(LOOKING, wal)(io::Error::other(changed)));
        }
        let mut header = self.header;
        match &self.log {
            Some(log) if self.is_older => drop(keep_copy(disk, log, wal)?),
            _ => header = snapshot::save_again(disk, snapshot, form, new_id(disk), Arc::clone(&self.snapshot))?,
        }
        Ok((Wal::create(disk, wal, header.store_id, header.seq)?, header))
    }

    pub(super) fn seq(&self) -> Seq {
        self.header.seq
    }
}

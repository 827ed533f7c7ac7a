//! A store whose log is not there to go on with, although its snapshot is: the log was removed, emptied, or replaced by an
//! older one. Opening changes nothing then, so that the right log can still be put back. The first write, or the first
//! snapshot that somebody asks for, begins a new log:
//!
//! 1. what has the log's name must still be what opening found there: nothing, or that file;
//! 2. the new log, which begins behind the snapshot, is made in a scratch file, so that a full disk is found out here;
//! 3. where the log was missing or empty, the snapshot is saved again under a new store id: should the old log come back,
//!    it must not be taken for the continuation of this one, whose sequence numbers it shares;
//!    an older log is copied to `<wal>.damaged-<n>`: it belongs to this store, and nobody else keeps it;
//! 4. step 1 again, and the new log gets the name.
//!
//! Where one of the steps fails, a later write tries again. It does not save the snapshot a second time.

use super::keep_copy::keep_copy;
use super::new_id;
use crate::disk::{Disk, File, is_still};
use crate::error::{Error, Result};
use crate::snapshot::{self, Form};
use crate::wal::Wal;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What opening found.
#[derive(Debug)]
pub(crate) struct DeferredLog {
    snapshot: Mutex<Saved>,
    /// What has the name of the log: nothing, an empty file, or a log of this store that ends before the snapshot.
    log: Option<Arc<dyn File>>,
    is_older: bool,
}

/// A snapshot, and what it says of itself.
#[derive(Debug)]
struct Saved {
    file: Arc<dyn File>,
    header: snapshot::Header,
    /// Whether the snapshot that is there now has this header, under the new store id.
    is_renewed: bool,
}

impl DeferredLog {
    pub(super) fn new(snapshot: (Arc<dyn File>, snapshot::Header), log: Option<Arc<dyn File>>, is_older: bool) -> DeferredLog {
        let (file, header) = snapshot;
        DeferredLog { snapshot: Mutex::new(Saved { file, header, is_renewed: false }), log, is_older }
    }

    /// Begins the log.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Damaged`]: no log was begun. [`Error::Poisoned`]: a directory could not be synced.
    pub(crate) fn begin(&self, disk: &dyn Disk, wal: &Path, snapshot: &Path, form: Form) -> Result<(Wal, snapshot::Header)> {
        let mut saved = self.saved();
        self.check_still(disk, wal)?;
        let keeps_id = self.is_older || saved.is_renewed;
        let id = if keeps_id { saved.header.store_id } else { new_id(disk) };
        let begun = Wal::begin(disk, wal, id, saved.header.seq)?;
        begun.sync()?;
        match &self.log {
            Some(log) if self.is_older => drop(keep_copy(disk, log, wal)?),
            _ if keeps_id => {}
            _ => {
                saved.header = snapshot::save_again(disk, snapshot, form, id, Arc::clone(&saved.file))?;
                saved.is_renewed = true;
            }
        }
        self.check_still(disk, wal)?;
        Ok((begun.put_in_place()?, saved.header))
    }

    fn check_still(&self, disk: &dyn Disk, wal: &Path) -> Result<()> {
        const LOOKING: &str = "no log was begun: looking at";
        if is_still(disk, wal, self.log.as_deref()).map_err(Error::io(LOOKING, wal))? {
            return Ok(());
        }
        let changed = "a file was put here or taken away since the store was opened; open the store again";
        Err(Error::io(LOOKING, wal)(io::Error::other(changed)))
    }

    fn saved(&self) -> MutexGuard<'_, Saved> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! [`DeferredLog`]: a store whose snapshot exists and whose log was removed, emptied, or replaced by an older one.
//!
//! Opening changes nothing then, so that the right log can still be put back. The first write begins a new log, and so
//! does the first snapshot that a caller requests:
//!
//! 1. Check that the log's name still shows what opening found there: nothing, or that file.
//! 2. Write the new log, which begins after the snapshot, as a scratch file. A full disk fails here.
//! 3. If the log was missing or empty: save the snapshot again under a new store id. If the old log comes back later,
//!    it must not look like the continuation of this snapshot, because both use the same sequence numbers. If the log
//!    was older: copy it to `<wal>.damaged-<n>`. It belongs to this store, and no other copy of it exists.
//! 4. Check the name as in step 1, and rename the new log.
//!
//! If a step fails, a later write tries again. It does not save the snapshot a second time.

use super::copy_names::CopyKind;
use super::keep_copy::keep_copy;
use crate::StoreId;
use crate::disk::{Disk, File, is_still};
use crate::error::{Error, Result};
use crate::snapshot::{self, Form};
use crate::wal::Wal;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What opening found. The first write begins a log from it.
#[derive(Debug)]
pub(crate) struct DeferredLog {
    snapshot: Mutex<Saved>,
    /// The file under the log's name: none, an empty file, or a log of this store that ends before the snapshot.
    log: Option<Arc<dyn File>>,
    is_older: bool,
}

/// A snapshot and its header.
#[derive(Debug)]
struct Saved {
    file: Arc<dyn File>,
    header: snapshot::Header,
    /// Whether the snapshot was saved again under the new store id. `header` is the new header then.
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
        self.check_unchanged(disk, wal)?;
        let keeps_id = self.is_older || saved.is_renewed;
        let id = if keeps_id { saved.header.store_id } else { new_store_id(disk) };
        let begun = Wal::begin(disk, wal, id, saved.header.seq)?;
        begun.sync()?;
        match &self.log {
            Some(log) if self.is_older => drop(keep_copy(disk, log, wal, CopyKind::Damaged)?),
            _ if keeps_id => {}
            _ => {
                saved.header = snapshot::save_again(disk, snapshot, form, id, Arc::clone(&saved.file))?;
                saved.is_renewed = true;
            }
        }
        self.check_unchanged(disk, wal)?;
        Ok((begun.put_in_place()?, saved.header))
    }

    fn check_unchanged(&self, disk: &dyn Disk, wal: &Path) -> Result<()> {
        const LOOKING: &str = "no log was begun: looking at";
        if is_still(disk, wal, self.log.as_deref()).map_err(Error::io(LOOKING, wal))? {
            return Ok(());
        }
        let changed = "another process created or removed this file after the store was opened; open the store again";
        Err(Error::io(LOOKING, wal)(io::Error::other(changed)))
    }

    fn saved(&self) -> MutexGuard<'_, Saved> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A new random store id.
pub(super) fn new_store_id(disk: &dyn Disk) -> StoreId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&disk.entropy().to_le_bytes());
    id[8..].copy_from_slice(&disk.entropy().to_le_bytes());
    StoreId(id)
}

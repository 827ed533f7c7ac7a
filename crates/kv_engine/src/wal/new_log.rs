//! [`NewLog`]: a log that is made whole in a scratch file before it gets its name.

use super::Wal;
use super::header::{HEADER_BYTES, Header};
use crate::disk::{Disk, Scratch, write_all_at};
use crate::error::{Error, Result};
use crate::{Seq, StoreId};
use std::path::Path;
use std::sync::Arc;

const NOT_BEGUN: &str = "no new log was begun, the old one is as it was: writing";
const NO_SCRATCH: &str = "no new log was begun, the old one is as it was: making a scratch file beside";

/// A new log in a scratch file. If it is dropped before it gets its name, the file is removed.
#[derive(Debug)]
pub(crate) struct NewLog<'a> {
    pub(crate) wal: Wal,
    disk: &'a dyn Disk,
    scratch: Scratch<'a>,
}

impl NewLog<'_> {
    /// Makes it durable and gives it its name. It replaces the file that had the name.
    ///
    /// # Errors
    /// [`Error::Io`]: the old log is as it was. [`Error::Poisoned`]: the file was renamed, but the directory could not
    /// be synced, so it is unknown which of the two logs a power cut would leave.
    pub(crate) fn take_over(self) -> Result<Wal> {
        self.sync()?;
        self.put_in_place()
    }

    /// Makes its content durable.
    pub(crate) fn sync(&self) -> Result<()> {
        self.wal.file.sync().map_err(Error::io(NOT_BEGUN, self.scratch.path()))
    }

    /// As [`NewLog::take_over`], for a file whose content is durable.
    pub(crate) fn put_in_place(self) -> Result<Wal> {
        let NewLog { wal, disk, scratch } = self;
        let name = scratch.path().to_path_buf();
        scratch.rename_to(&wal.path).map_err(Error::io(NOT_BEGUN, &name))?;
        disk.sync_dir(&wal.path).map_err(|e| Error::Poisoned {
            path: wal.path.clone(),
            reason: format!("the directory could not be synced after a new log was put in place: {e}"),
            pending: 0,
        })?;
        Ok(wal)
    }

    /// The path of the scratch file.
    pub(crate) fn scratch_path(&self) -> &Path {
        self.scratch.path()
    }
}

impl Wal {
    /// Makes a new, empty log whose first write will be `base + 1`, and makes it durable at `path`. It replaces the
    /// file there.
    ///
    /// # Errors
    /// As [`NewLog::take_over`].
    pub(crate) fn create(disk: &dyn Disk, path: &Path, store_id: StoreId, base: Seq) -> Result<Wal> {
        Wal::begin(disk, path, store_id, base)?.take_over()
    }

    /// Makes a new log in a scratch file. Nothing of it is durable yet.
    pub(crate) fn begin<'a>(disk: &'a dyn Disk, path: &Path, store_id: StoreId, base: Seq) -> Result<NewLog<'a>> {
        let salt = (disk.entropy() >> 32) as u32;
        let header = Header { store_id, salt, base };
        let scratch = Scratch::create(disk, path).map_err(Error::io(NO_SCRATCH, path))?;
        let file = scratch.file();
        let begun = file.try_lock().and_then(|()| write_all_at(&**file, 0, &header.encode())); // locked before it gets its name
        begun.map_err(Error::io(NOT_BEGUN, scratch.path()))?;
        let wal = Wal { resumed: false, ..Wal::resume(Arc::clone(file), path, header, HEADER_BYTES as u64, salt, true) };
        Ok(NewLog { wal, disk, scratch })
    }
}

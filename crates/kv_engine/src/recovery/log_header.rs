//! Reading the header of a log.

use crate::disk::{Disk, File, OsDisk, read_full_at};
use crate::error::{Error, Result};
use crate::wal;
use std::path::Path;

/// Reads the header of the log `file`.
pub(crate) fn read_header(file: &dyn File, path: &Path) -> Result<wal::Header> {
    let mut bytes = [0; wal::HEADER_BYTES];
    let got = read_full_at(file, 0, &mut bytes).map_err(Error::io("reading", path))?;
    wal::Header::decode(path, &bytes[..got])
}

/// The header of the log that has this name now. It changes when a running store takes a snapshot, which puts a new log
/// in place. `None`: it cannot be read.
pub(crate) fn header_now(wal: &Path) -> Option<wal::Header> {
    let file = OsDisk.open_read(wal).ok()??;
    read_header(&*file, wal).ok()
}

/// Looks at the files of a store that may be running, until the result `is_settled` or the log was not replaced during
/// the look. Without this, an old log read together with a new snapshot would look wrong.
pub(crate) fn look_until_settled<T>(wal: &Path, mut look: impl FnMut() -> T, is_settled: impl Fn(&T) -> bool) -> T {
    for _ in 0..LOOKS {
        let before = header_now(wal);
        let found = look();
        if is_settled(&found) || header_now(wal) == before {
            return found;
        }
    }
    look()
}

/// The number of looks before a result is believed.
pub(crate) const LOOKS: u32 = 5;

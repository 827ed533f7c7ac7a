//! Reading a whole snapshot, and checking every byte of it.
//!
//! The lengths and counts in the header are compared with the length of the file before anything is made of them,
//! because a file may be crafted, and mostly a hole. So there are at most [`MOST_META_BYTES`] meta bytes, and no more
//! entries than fit.

use super::checker::BlockChecker;
use super::format::{ENTRIES_AT, HEADER_BYTES, Header, META_LEN_AT, damage};
use crate::disk::{File, ReadMode, read_full_at};
use crate::error::{Error, Result};
use crate::record::{Kind, crc};
use crate::scan::Frames;
use crate::state::OpRef;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// The most meta bytes: what a replica stores about itself.
const MOST_META_BYTES: usize = 1 << 20;

/// The length of the shortest entry: a key of one byte, and an empty value.
const LEAST_ENTRY_BYTES: u64 = 10;

/// Reads the header of the snapshot `file`.
pub(crate) fn read_header(file: &dyn File, path: &Path) -> Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    let got = read_full_at(file, 0, &mut bytes).map_err(Error::io("reading", path))?;
    Header::decode(path, &bytes[..got])
}

/// Checks that the file is as long as its header says, and the meta bytes.
pub(super) fn check_meta(file: &dyn File, path: &Path, header: &Header) -> Result<()> {
    let len = file.size().map_err(Error::io("reading", path))?;
    if header.file_len() != Some(len) {
        let reason = format!(
            "the file has {len} bytes, but its header says {}",
            header.file_len().map_or("more than a file can have".into(), |n| n.to_string())
        );
        return Err(Error::damaged(path, len.min(header.file_len().unwrap_or(len)), damage(&reason)));
    }
    let meta_len = header.meta_len as usize;
    if meta_len > MOST_META_BYTES {
        return Err(Error::damaged(
            path,
            META_LEN_AT as u64,
            damage(&format!("the header says {meta_len} meta bytes; the limit is {MOST_META_BYTES}")),
        ));
    }
    if header.entries > header.data_len / LEAST_ENTRY_BYTES {
        return Err(Error::damaged(
            path,
            ENTRIES_AT as u64,
            damage(&format!("the header says {} entries, more than fit into the file", header.entries)),
        ));
    }
    let mut meta = vec![0; meta_len];
    let got = read_full_at(file, HEADER_BYTES as u64, &mut meta).map_err(Error::io("reading", path))?;
    if got != meta_len || crc(0, &meta) != header.meta_check {
        return Err(Error::damaged(path, HEADER_BYTES as u64, damage("the checksum of the meta bytes does not match")));
    }
    Ok(())
}

/// Reads and checks a whole snapshot. Calls `each` with every entry, in key order, and the offset of its frame. If this
/// fails, the entries that `each` got must not be used.
pub(crate) fn load(file: Arc<dyn File>, path: &Path, mut each: impl FnMut(u64, OpRef<'_>)) -> Result<Header> {
    let whole = load_while(file, path, |at, op| {
        each(at, op);
        ControlFlow::Continue(())
    })?;
    Ok(whole.expect("`each` never stops"))
}

/// As [`load`]. `None`: `each` stopped it.
pub(crate) fn load_while(
    file: Arc<dyn File>,
    path: &Path,
    each: impl FnMut(u64, OpRef<'_>) -> ControlFlow<()>,
) -> Result<Option<Header>> {
    load_ahead(file, path, 0, ReadMode::Cached, each)
}

/// As [`load_while`]. Another thread reads ahead in steps of `step_bytes`, unless that is 0.
pub(crate) fn load_ahead(
    file: Arc<dyn File>,
    path: &Path,
    step_bytes: usize,
    mode: ReadMode,
    each: impl FnMut(u64, OpRef<'_>) -> ControlFlow<()>,
) -> Result<Option<Header>> {
    let header = read_header(&*file, path)?;
    check_meta(&*file, path, &header)?;
    let mut frames = Frames::new(file, path, Kind::ENTRIES, header.salt(), HEADER_BYTES as u64 + u64::from(header.meta_len), 0)?;
    frames.read_ahead(step_bytes, mode);
    let mut checker = BlockChecker::new(header.root.is_some());
    if checker.read(&mut frames, path, each)?.is_break() {
        return Ok(None);
    }
    checker.finish(path, &header)?;
    Ok(Some(header))
}

//! The snapshot: the state after exactly one write, saved completely or not at all.
//!
//! A crash at any moment leaves the old snapshot or the new one, whole. The log may drop a write only after a snapshot
//! that holds it is in place ([`replace`] has returned).
//!
//! # The bytes
//!
//! ```text
//! snapshot := header meta frame*           (frames of kinds 4 and 5: see `record`)
//!
//!  offset size  header field
//!       0    8  magic       89 6b 76 73 6e 61 0d 0a  (a high bit, "kvsna", CR LF)
//!       8    4  version     1, or 2 with an index
//!      12   16  store id    also in the log
//!      28    4  meta length 0 for now; bytes that a replica stores beside the state
//!      32    8  sequence    of the last write in the state
//!      40    8  entries     their count
//!      48    8  data length of all frames
//!      56   16  digest      of the state (see `Digest`)
//!      72    4  meta check  CRC-32 of the meta bytes
//!      76   16  root        of the index: offset u64, frame length u32, check u32; zero in version 1, or without entries
//!      92    4  check       CRC-32 of bytes 0..92
//! ```
//!
//! Frames of kind 4 hold the entries in ascending key order, about 4 KiB to a frame. An entry is encoded as the put of
//! a log frame (`state/mod.rs`). The sequence numbers of these frames are 1, 2, 3 …. Their salt is the CRC-32 of two
//! fields of the header, `store id` and `sequence`. Their `durable` is 0, because a snapshot is durable as a whole or
//! not at all. The same state of the same store gives the same bytes.
//!
//! Version 2 also has frames of kind 5, which carry the sequence number of the frame before them. They form a tree, by
//! which one entry is found without reading the rest (`snapshot/index.rs`, `snapshot/paged.rs`).
//!
//! # The steps
//!
//! [`replace`] takes six steps. If one of the first five fails, the old snapshot is as it was. If the last one fails, a
//! power cut leaves the old snapshot or the new one.
//! 1. Create a scratch file (`disk/scratch.rs`).
//! 2. Write it, the header last.
//! 3. Sync it.
//! 4. Read it back from the medium and check every byte.
//! 5. Check that the name still shows the file that is to be replaced, and rename the scratch file to it.
//! 6. Sync the directory.
//!
//! A long snapshot is written in parts. While one part is made, other threads do steps 2 to 4 for the parts before it
//! (`snapshot/pipeline.rs`).

mod checker;
mod format;
mod index;
#[cfg(feature = "torture")]
pub mod lookups;
mod paged;
mod pipeline;
mod read;
mod writer;

pub(crate) use format::{Form, HEADER_BYTES, Header, salt_of};
pub(crate) use paged::Paged;
pub(crate) use read::{load, load_ahead, load_while, read_header};
pub(crate) use writer::Writer;

use crate::disk::{Disk, File, Scratch, is_still};
use crate::error::{Error, Result};
use crate::record::crc;
use crate::state::Digest;
use crate::{Seq, StoreId};
use pipeline::{Pipeline, Plan};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// Describes a snapshot that is to be written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    form: Form,
    store_id: StoreId,
    seq: Seq,
    plan: Plan,
}

impl Draft {
    /// A snapshot of this store after write `seq`.
    pub(crate) fn new(form: Form, store_id: StoreId, seq: Seq) -> Draft {
        Draft { form, store_id, seq, plan: Plan::USUAL }
    }
}

/// Saves a snapshot whose entries `fill` hands over in key order. `old` is the file that it replaces.
///
/// # Errors
/// If the name shows another file than `old` by then, that file is not replaced.
pub(crate) fn replace(
    disk: &dyn Disk,
    path: &Path,
    draft: Draft,
    old: Option<&dyn File>,
    fill: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> Result<Header> {
    const NO_SCRATCH: &str = "no snapshot was taken, the log and the old snapshot are as they were: making a scratch file beside";
    const NOT_TAKEN: &str = "no snapshot was taken, the log and the old snapshot are as they were: writing";
    const REPLACED: &str =
        "no snapshot was taken, the log is as it was, and the file that has the name now was not replaced: checking";
    let scratch = Scratch::create(disk, path).map_err(Error::io(NO_SCRATCH, path))?;
    let name = scratch.path().to_path_buf();
    let written = write(scratch.file(), &name, draft, fill).and_then(|(header, read)| {
        let read = read.map_err(|e| io::Error::other(format!("reading it back: {e}")))?;
        let same = read == header;
        same.then_some(header).ok_or_else(|| io::Error::other("what was read back is not what was written"))
    });
    let header = written.map_err(Error::io(NOT_TAKEN, &name))?;
    if !is_still(disk, path, old).map_err(Error::io(REPLACED, path))? {
        let gone = io::Error::new(
            io::ErrorKind::NotFound,
            "another program removed, replaced or created it while the new one was written",
        );
        return Err(Error::io(REPLACED, path)(gone));
    }
    scratch.rename_to(path).map_err(Error::io(NOT_TAKEN, &name))?;
    disk.sync_dir(path).map_err(|e| Error::Poisoned {
        path: path.to_path_buf(),
        reason: format!("the directory could not be synced after a snapshot was put in place: {e}"),
        pending: 0,
    })?;
    Ok(header)
}

/// Writes a snapshot, the header last, and reads it back.
fn write(
    file: &Arc<dyn File>,
    tmp: &Path,
    draft: Draft,
    fill: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> io::Result<(Header, Result<Header>)> {
    let Draft { form, store_id, seq, plan } = draft;
    let header =
        Header { store_id, seq, entries: 0, data_len: 0, digest: Digest(0), meta_len: 0, meta_check: crc(0, b""), root: None };
    let mut writer = Writer::new(Pipeline::new(Arc::clone(file), tmp, plan, header.salt(), form), header.salt(), form);
    fill(&mut writer)?;
    let (pipeline, header) = writer.finish(header);
    Ok((header, pipeline.finish(&header)?))
}

/// Writes the snapshot `file`, which `path` names, again: in this form and with this store id.
///
/// # Errors
/// Those of [`replace`], and those of [`load`] if `file` is damaged.
pub(crate) fn save_again(disk: &dyn Disk, path: &Path, form: Form, store_id: StoreId, file: Arc<dyn File>) -> Result<Header> {
    let seq = read_header(&*file, path)?.seq;
    let mut failure = None;
    let saved = replace(disk, path, Draft::new(form, store_id, seq), Some(&*file), |writer| {
        let mut written = Ok(());
        let read = load_while(Arc::clone(&file), path, |_, op| {
            written = writer.add(op.key, op.value.expect("a snapshot holds no deletion"));
            if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        written?;
        read.map(drop).map_err(|error| {
            failure = Some(error);
            io::Error::other("stopped")
        })
    });
    failure.map_or(saved, Err)
}

/// As [`replace`], and replaces any file there.
#[cfg(test)]
pub(crate) fn save(
    disk: &dyn Disk,
    path: &Path,
    draft: Draft,
    fill: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> Result<Header> {
    let old = disk.open_read(path).map_err(Error::io("opening", path))?;
    replace(disk, path, draft, old.as_deref(), fill)
}

/// Writes all entries of `map`.
#[cfg(test)]
pub(crate) fn fill_from(map: &crate::state::Map) -> impl FnOnce(&mut Writer) -> io::Result<()> {
    |writer| {
        for key in map.sorted_keys() {
            map.with(&key, |value| writer.add(&key, value)).unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod crafted {
    mod tests;
}
#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! The snapshot: the state after exactly one write, saved all or nothing.
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
//! The frames of kind 4 hold the entries in ascending key order, about 4 KiB to a frame, each encoded as the
//! put of a log frame; their sequence numbers are 1, 2, 3 …, their salt is the CRC-32 of store id
//! and sequence, their `durable` is 0: a snapshot is durable as a whole or not at all. The same
//! state of the same store gives the same bytes.
//!
//! Version 2 has frames of kind 5 among them, which carry the number of the frame before: a tree by which one entry is
//! found without reading the rest (`snapshot/index.rs`, `snapshot/paged.rs`).
//!
//! Steps of [`replace`], each of which leaves the old snapshot whole when it fails:
//! 1. create a scratch file (see `disk/scratch.rs`), 2. write it, the header last, 3. sync it,
//! 4. read it back from the medium and check every byte, 5. see that the name still has what it had, and rename it,
//! 6. sync the directory.
//!
//! Of a long one, steps 2 to 4 are done for one part after the other, by threads (`snapshot/out.rs`).
//!
//! Only then may the log let go of what the snapshot covers.
//!
//! What the header says of lengths and counts is held against the length of the file before anything is made of it: a file
//! may be crafted, and mostly a hole. So there are at most [`MOST_META_BYTES`] meta bytes, and no more entries than fit.

mod blocks;
mod index;
pub mod lookups;
mod out;
mod paged;
mod writer;

pub(crate) use index::Ref;
pub(crate) use paged::Paged;
pub(crate) use writer::Writer;

use crate::disk::{Disk, File, Scratch, Way, is_still, read_full_at};
use crate::error::{Error, Result};
use crate::magic::{SNAPSHOT as MAGIC, describe};
use crate::record::{self, Kind, crc, le32, le64};
use crate::scan::Frames;
use crate::state::{Digest, OpRef};
use crate::{MAX_SEQ, SNAPSHOT_FORMAT, Seq, StoreId};
use blocks::Blocks;
use index::REF_BYTES;
use out::Out;
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

pub(crate) const HEADER_BYTES: usize = 96;
const VERSION_AT: usize = 8;
const ID_AT: usize = 12;
const META_LEN_AT: usize = 28;
const SEQ_AT: usize = 32;
const ENTRIES_AT: usize = 40;
const DATA_LEN_AT: usize = 48;
const DIGEST_AT: usize = 56;
const META_CHECK_AT: usize = 72;
const ROOT_AT: usize = 76;
const CHECK_AT: usize = 92;

/// A frame is closed when its entries reach this size.
const BLOCK_BYTES: usize = 4096;

/// There are no more meta bytes: what a replica has to say of itself.
const MOST_META_BYTES: usize = 1 << 20;

/// No entry is shorter: a key of one byte, and no value.
const LEAST_ENTRY_BYTES: u64 = 10;

/// What the header of a snapshot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store_id: StoreId,
    pub(crate) seq: Seq,
    pub(crate) entries: u64,
    pub(crate) data_len: u64,
    pub(crate) digest: Digest,
    pub(crate) meta_len: u32,
    pub(crate) meta_check: u32,
    /// `None`: a snapshot of version 1, without an index.
    pub(crate) root: Option<Ref>,
}

/// The version of a snapshot without an index, and of one with it.
const PLAIN_FORMAT: u32 = 1;
const INDEXED_FORMAT: u32 = SNAPSHOT_FORMAT;
const _: () = assert!(ROOT_AT + REF_BYTES == CHECK_AT, "the header is part of the file format");

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..VERSION_AT].copy_from_slice(&MAGIC);
        let version = if self.root.is_some() { INDEXED_FORMAT } else { PLAIN_FORMAT };
        bytes[VERSION_AT..ID_AT].copy_from_slice(&version.to_le_bytes());
        bytes[ID_AT..META_LEN_AT].copy_from_slice(&self.store_id.0);
        bytes[META_LEN_AT..SEQ_AT].copy_from_slice(&self.meta_len.to_le_bytes());
        bytes[SEQ_AT..ENTRIES_AT].copy_from_slice(&self.seq.to_le_bytes());
        bytes[ENTRIES_AT..DATA_LEN_AT].copy_from_slice(&self.entries.to_le_bytes());
        bytes[DATA_LEN_AT..DIGEST_AT].copy_from_slice(&self.data_len.to_le_bytes());
        bytes[DIGEST_AT..META_CHECK_AT].copy_from_slice(&self.digest.0.to_le_bytes());
        bytes[META_CHECK_AT..ROOT_AT].copy_from_slice(&self.meta_check.to_le_bytes());
        bytes[ROOT_AT..CHECK_AT].copy_from_slice(&self.root.unwrap_or_default().to_bytes());
        let check = crc(0, &bytes[..CHECK_AT]);
        bytes[CHECK_AT..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads the header out of the first bytes of the file at `path`.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Header> {
        let known = bytes.len().min(MAGIC.len());
        if bytes.is_empty() {
            return Err(Error::damaged(path, 0, damage("the file is empty")));
        }
        if bytes[..known] != MAGIC[..known] {
            let rest = bytes.get(VERSION_AT..CHECK_AT);
            if rest.is_some_and(|rest| bytes.len() >= HEADER_BYTES && le32(bytes, CHECK_AT) == crc(crc(0, &MAGIC), rest)) {
                let what =
                    "the first 8 bytes are not those of a snapshot, although the checksum of the header is right with them";
                return Err(Error::damaged(path, 0, damage(what)));
            }
            return Err(Error::foreign(path, describe(bytes)));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(Error::damaged(path, bytes.len() as u64, damage("the file ends inside the header")));
        }
        if le32(bytes, CHECK_AT) != crc(0, &bytes[..CHECK_AT]) {
            return Err(Error::damaged(path, 0, damage("the checksum of the header does not match")));
        }
        let version = le32(bytes, VERSION_AT);
        if ![PLAIN_FORMAT, INDEXED_FORMAT].contains(&version) {
            let found = format!("format version {version}");
            return Err(Error::Version { path: path.to_path_buf(), found, supported: SNAPSHOT_FORMAT });
        }
        let root = Ref::from_bytes(&bytes[ROOT_AT..]);
        if le64(bytes, SEQ_AT) > MAX_SEQ || version == PLAIN_FORMAT && root != Ref::default() {
            let found = "a header with fields of a newer format".to_string();
            return Err(Error::Version { path: path.to_path_buf(), found, supported: SNAPSHOT_FORMAT });
        }
        Ok(Header {
            store_id: StoreId(bytes[ID_AT..META_LEN_AT].try_into().expect("sixteen bytes")),
            seq: le64(bytes, SEQ_AT),
            entries: le64(bytes, ENTRIES_AT),
            data_len: le64(bytes, DATA_LEN_AT),
            digest: Digest(u128::from_le_bytes(bytes[DIGEST_AT..META_CHECK_AT].try_into().expect("sixteen bytes"))),
            meta_len: le32(bytes, META_LEN_AT),
            meta_check: le32(bytes, META_CHECK_AT),
            root: (version == INDEXED_FORMAT).then_some(root),
        })
    }

    /// Begins every checksum of its frames.
    pub(crate) fn salt(&self) -> u32 {
        salt_of(self.store_id, self.seq)
    }

    /// Length of a file with this header.
    pub(crate) fn file_len(&self) -> Option<u64> {
        (HEADER_BYTES as u64 + u64::from(self.meta_len)).checked_add(self.data_len)
    }
}

/// Begins every checksum of the frames of the snapshot of this store after this write.
pub(crate) fn salt_of(store_id: StoreId, seq: Seq) -> u32 {
    crc(crc(0, &store_id.0), &seq.to_le_bytes())
}

fn damage(what: &str) -> String {
    format!(
        "{what}; a snapshot is never written in place, so no crash causes this; not opened, nothing changed; restore it from a copy"
    )
}

/// Whether a snapshot is to have an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Indexed,
}

/// How a snapshot is written.
#[derive(Clone, Copy, Debug)]
struct Plan {
    /// So much is collected for one write.
    piece_bytes: usize,
    /// So much is written between two syncs: all at once at the end would keep the disk from the syncs of the log.
    step_bytes: u64,
    /// Behind so much, threads write it and read it back, while the rest is made.
    alone_bytes: u64,
}

impl Plan {
    const USUAL: Plan = Plan {
        piece_bytes: 1 << 20,
        step_bytes: 8 << 20,
        // Threads are not known to those who explore schedules.
        alone_bytes: if cfg!(shuttle) { u64::MAX } else { 4 << 20 },
    };
}

/// What a new snapshot is to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    form: Form,
    store_id: StoreId,
    seq: Seq,
    plan: Plan,
}

impl Draft {
    /// Of this store, after write `seq`.
    pub(crate) fn new(form: Form, store_id: StoreId, seq: Seq) -> Draft {
        Draft { form, store_id, seq, plan: Plan::USUAL }
    }
}

/// Saves a snapshot whose entries `fill` hands over in key order. `old` is the file that it is to replace.
///
/// # Errors
/// Where the name has another file than `old` meanwhile, that one is left alone.
pub(crate) fn replace(
    disk: &dyn Disk,
    path: &Path,
    draft: Draft,
    old: Option<&dyn File>,
    fill: impl FnOnce(&mut Writer) -> io::Result<()>,
) -> Result<Header> {
    const NO_SCRATCH: &str = "no snapshot was taken, the log and the old snapshot are as they were: making a scratch file beside";
    const NOT_TAKEN: &str = "no snapshot was taken, the log and the old snapshot are as they were: writing";
    const REPLACED: &str = "no snapshot was taken, the log is as it was, and another file was not replaced: looking at";
    let scratch = Scratch::create(disk, path).map_err(Error::io(NO_SCRATCH, path))?;
    let name = scratch.path().to_path_buf();
    let written = write(scratch.file(), &name, draft, fill).and_then(|(header, read)| {
        let read = read.map_err(|e| io::Error::other(format!("reading it back: {e}")))?;
        let same = read == header;
        same.then_some(header).ok_or_else(|| io::Error::other("it reads back as another snapshot than was written"))
    });
    let header = written.map_err(Error::io(NOT_TAKEN, &name))?;
    if !is_still(disk, path, old).map_err(Error::io(REPLACED, path))? {
        let gone = io::Error::new(io::ErrorKind::NotFound, "removed, replaced or put there while the new one was written");
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
    let mut writer = Writer::new(Out::new(Arc::clone(file), tmp, plan, header.salt(), form), header.salt(), form);
    fill(&mut writer)?;
    let (out, header) = writer.finish(header);
    Ok((header, out.finish(&header)?))
}

/// Where a frame is whose body has this length.
fn block_ref(offset: u64, body_len: usize, check: u32) -> Ref {
    Ref { offset, len: u32::try_from(record::HEADER_BYTES + body_len).expect("a body is shorter than 4 GiB"), check }
}

/// Reads the header of the snapshot `file`.
pub(crate) fn read_header(file: &dyn File, path: &Path) -> Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    let got = read_full_at(file, 0, &mut bytes).map_err(Error::io("reading", path))?;
    Header::decode(path, &bytes[..got])
}

/// Checks that the file is as long as its header says, and the meta bytes.
fn check_meta(file: &dyn File, path: &Path, header: &Header) -> Result<()> {
    let len = file.size().map_err(Error::io("reading", path))?;
    if header.file_len() != Some(len) {
        let reason = format!(
            "the file has {len} bytes where its header promises {}",
            header.file_len().map_or("more than can be".into(), |n| n.to_string())
        );
        return Err(Error::damaged(path, len.min(header.file_len().unwrap_or(len)), damage(&reason)));
    }
    let meta_len = header.meta_len as usize;
    if meta_len > MOST_META_BYTES {
        return Err(Error::damaged(path, META_LEN_AT as u64, damage(&format!("{meta_len} meta bytes are more than can be"))));
    }
    if header.entries > header.data_len / LEAST_ENTRY_BYTES {
        return Err(Error::damaged(path, ENTRIES_AT as u64, damage(&format!("{} entries do not fit into it", header.entries))));
    }
    let mut meta = vec![0; meta_len];
    let got = read_full_at(file, HEADER_BYTES as u64, &mut meta).map_err(Error::io("reading", path))?;
    if got != meta_len || crc(0, &meta) != header.meta_check {
        return Err(Error::damaged(path, HEADER_BYTES as u64, damage("the checksum of the meta bytes does not match")));
    }
    Ok(())
}

/// Reads and checks a whole snapshot; `each` gets the entries in key order, with the offset of their frame. Nothing that `each`
/// got may be used when this fails.
pub(crate) fn load(file: Arc<dyn File>, path: &Path, mut each: impl FnMut(u64, OpRef<'_>)) -> Result<Header> {
    let whole = load_while(file, path, |at, op| {
        each(at, op);
        ControlFlow::Continue(())
    })?;
    Ok(whole.expect("nobody broke off"))
}

/// As [`load`]; `None` when `each` broke off.
pub(crate) fn load_while(
    file: Arc<dyn File>,
    path: &Path,
    each: impl FnMut(u64, OpRef<'_>) -> ControlFlow<()>,
) -> Result<Option<Header>> {
    load_ahead(file, path, 0, Way::ThroughCache, each)
}

/// As [`load_while`]; another thread reads ahead, so many bytes at once, where that is not 0.
pub(crate) fn load_ahead(
    file: Arc<dyn File>,
    path: &Path,
    step_bytes: usize,
    way: Way,
    each: impl FnMut(u64, OpRef<'_>) -> ControlFlow<()>,
) -> Result<Option<Header>> {
    let header = read_header(&*file, path)?;
    check_meta(&*file, path, &header)?;
    let mut frames = Frames::new(file, path, Kind::ENTRIES, header.salt(), HEADER_BYTES as u64 + u64::from(header.meta_len), 0)?;
    frames.read_ahead(step_bytes, way);
    let mut blocks = Blocks::new(header.root.is_some());
    if blocks.read(&mut frames, path, each)?.is_break() {
        return Ok(None);
    }
    blocks.finish(path, &header)?;
    Ok(Some(header))
}

/// Saves the entries of the snapshot `file`, which `path` names, anew: in this form, as one of this store.
///
/// # Errors
/// As [`save`]; what [`load`] says of `file`, where it is damaged.
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
            io::Error::other("broken off")
        })
    });
    failure.map_or(saved, Err)
}

/// As [`replace`], whatever is there.
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

/// Writes all of `map`.
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

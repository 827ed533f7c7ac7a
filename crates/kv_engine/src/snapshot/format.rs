//! The header of a snapshot, references to its blocks, and the sizes that are part of the format. The bytes are drawn
//! at the head of `snapshot.rs`.

use crate::error::{Error, Result};
use crate::magic::{SNAPSHOT as MAGIC, describe};
use crate::record::{self, crc, le32, le64};
use crate::state::Digest;
use crate::{MAX_SEQ, SNAPSHOT_FORMAT, Seq, StoreId};
use std::path::Path;

pub(crate) const HEADER_BYTES: usize = 96;
const VERSION_AT: usize = 8;
const ID_AT: usize = 12;
pub(super) const META_LEN_AT: usize = 28;
const SEQ_AT: usize = 32;
pub(super) const ENTRIES_AT: usize = 40;
const DATA_LEN_AT: usize = 48;
const DIGEST_AT: usize = 56;
const META_CHECK_AT: usize = 72;
const ROOT_AT: usize = 76;
const CHECK_AT: usize = 92;

/// The bytes of entries in one frame: a frame is closed when the next entry would exceed this size.
pub(super) const BLOCK_BYTES: usize = 4096;

const OFFSET_BYTES: usize = 8;
const LEN_BYTES: usize = 4;
const CHECK_BYTES: usize = 4;
pub(super) const REF_BYTES: usize = OFFSET_BYTES + LEN_BYTES + CHECK_BYTES;

/// Whether a snapshot has an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Indexed,
}

/// The header of a snapshot, decoded.
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

    /// Decodes the header from the first bytes of the file at `path`.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Header> {
        let known = bytes.len().min(MAGIC.len());
        if bytes.is_empty() {
            return Err(Error::damaged(path, 0, damage("the file is empty")));
        }
        if bytes[..known] != MAGIC[..known] {
            let rest = bytes.get(VERSION_AT..CHECK_AT);
            if rest.is_some_and(|rest| bytes.len() >= HEADER_BYTES && le32(bytes, CHECK_AT) == crc(crc(0, &MAGIC), rest)) {
                let what = "the first 8 bytes are not those of a snapshot, but the checksum of the header matches a snapshot";
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

    /// The salt, with which every checksum of its frames begins.
    pub(crate) fn salt(&self) -> u32 {
        salt_of(self.store_id, self.seq)
    }

    /// Length of a file with this header. `None`: longer than a file can be.
    pub(crate) fn file_len(&self) -> Option<u64> {
        (HEADER_BYTES as u64 + u64::from(self.meta_len)).checked_add(self.data_len)
    }
}

/// The salt of the frames in the snapshot of this store after this write.
pub(crate) fn salt_of(store_id: StoreId, seq: Seq) -> u32 {
    crc(crc(0, &store_id.0), &seq.to_le_bytes())
}

/// What is wrong with a snapshot, and what to do. No crash damages one, because a snapshot is never written in place.
pub(super) fn damage(what: &str) -> String {
    format!("{what}; no crash causes this; nothing was changed; restore the snapshot from a backup")
}

/// A reference to a block: where its frame is, and the check that the frame begins with. All zero: no block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ref {
    pub(super) offset: u64,
    pub(super) len: u32,
    pub(super) check: u32,
}

impl Ref {
    /// Where the block ends. `None`: behind the end of any file.
    pub(super) fn end(self) -> Option<u64> {
        self.offset.checked_add(self.len.into())
    }

    pub(super) fn to_bytes(self) -> [u8; REF_BYTES] {
        let mut bytes = [0; REF_BYTES];
        bytes[..OFFSET_BYTES].copy_from_slice(&self.offset.to_le_bytes());
        bytes[OFFSET_BYTES..][..LEN_BYTES].copy_from_slice(&self.len.to_le_bytes());
        bytes[OFFSET_BYTES + LEN_BYTES..].copy_from_slice(&self.check.to_le_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Ref {
        Ref { offset: le64(bytes, 0), len: le32(bytes, OFFSET_BYTES), check: le32(bytes, OFFSET_BYTES + LEN_BYTES) }
    }

    /// The block at `offset` whose frame has a body of this length.
    pub(super) fn to_block(offset: u64, body_len: usize, check: u32) -> Ref {
        Ref { offset, len: u32::try_from(record::HEADER_BYTES + body_len).expect("a body is shorter than 4 GiB"), check }
    }
}

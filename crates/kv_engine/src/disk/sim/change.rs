//! [`Change`]: one change to a simulated disk, and the form in which it is kept until it is durable.

use super::fault::SyncFailure;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) type Inode = usize;

/// A disk writes this many bytes in one piece or not at all.
pub const SECTOR_BYTES: u64 = 512;

/// A change to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new, empty file gets this name.
    Create(PathBuf),
    /// A file gets another name.
    Rename(PathBuf, PathBuf),
    /// A name is removed.
    Remove(PathBuf),
    /// The names in this directory become durable.
    SyncDir(PathBuf),
    /// Bytes are written to the file with this number, at this offset.
    Write(usize, u64, Vec<u8>),
    /// A file gets another length.
    SetLen(usize, u64),
    /// A file becomes durable.
    Sync(usize),
    /// A sync fails: the file does not become durable, and its pending changes never will.
    FailedSync(usize, SyncFailure),
    /// The clean pages of a file leave the page cache. After a failed sync, later reads may then see other bytes.
    DropCache(usize),
}

impl Change {
    /// The kind of change, in a word or two.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Change::Create(_) => "create",
            Change::Rename(..) => "rename",
            Change::Remove(_) => "remove",
            Change::SyncDir(_) => "sync the directory",
            Change::Write(..) => "write",
            Change::SetLen(..) => "set the length",
            Change::Sync(_) => "sync",
            Change::FailedSync(..) => "failed sync",
            Change::DropCache(_) => "drop the cache",
        }
    }
}

/// A change to one file that is not durable yet.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

/// One unit of a pending change.
#[derive(Clone, Copy)]
pub(super) enum Piece<'a> {
    /// Bytes within one sector.
    Bytes(u64, &'a [u8]),
    Length(u64),
}

impl Pending {
    pub(super) fn units(&self) -> usize {
        match self {
            Pending::SetLen(_) => 1,
            Pending::Write(_, bytes) if bytes.is_empty() => 0,
            Pending::Write(offset, bytes) => {
                let last = *offset + bytes.len() as u64 - 1;
                index(last / SECTOR_BYTES - offset / SECTOR_BYTES) + 1
            }
        }
    }

    /// The change, split at the boundaries of sectors.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Piece<'_>> {
        let (mut length, mut at, mut rest) = match self {
            Pending::SetLen(len) => (Some(*len), 0, &[][..]),
            Pending::Write(offset, bytes) => (None, *offset, bytes.as_slice()),
        };
        std::iter::from_fn(move || {
            if let Some(len) = length.take() {
                return Some(Piece::Length(len));
            }
            if rest.is_empty() {
                return None;
            }
            let room = index(SECTOR_BYTES - at % SECTOR_BYTES);
            let (piece, behind) = rest.split_at(room.min(rest.len()));
            let offset = at;
            at += piece.len() as u64;
            rest = behind;
            Some(Piece::Bytes(offset, piece))
        })
    }
}

/// A change to the directory that is not durable yet.
#[derive(Clone, Debug)]
pub(super) enum PendingName {
    Create(PathBuf, Inode),
    Rename(PathBuf, PathBuf, Inode),
    Remove(PathBuf),
}

impl PendingName {
    pub(super) fn directory(&self) -> Option<&Path> {
        match self {
            PendingName::Create(path, _) | PendingName::Remove(path) | PendingName::Rename(_, path, _) => path.parent(),
        }
    }

    pub(super) fn apply(&self, names: &mut BTreeMap<PathBuf, Inode>) {
        match self {
            PendingName::Create(path, inode) => drop(names.insert(path.clone(), *inode)),
            PendingName::Remove(path) => drop(names.remove(path)),
            PendingName::Rename(from, to, inode) => {
                if names.get(from) == Some(inode) {
                    names.remove(from);
                }
                names.insert(to.clone(), *inode);
            }
        }
    }
}

pub(super) fn index(offset: u64) -> usize {
    usize::try_from(offset).expect("simulated files fit in memory")
}

/// Writes `new`. If that leaves a hole, the bytes of `below` show in it, and zeros after its end. An empty write does
/// not make the file longer.
pub(super) fn put(bytes: &mut Vec<u8>, offset: u64, new: &[u8], below: &[u8]) {
    if new.is_empty() {
        return;
    }
    let (from, to) = (index(offset), index(offset) + new.len());
    if bytes.len() < from {
        lengthen(bytes, from, below);
    }
    if bytes.len() < to {
        bytes.resize(to, 0);
    }
    bytes[from..to].copy_from_slice(new);
}

pub(super) fn lengthen(bytes: &mut Vec<u8>, to: usize, below: &[u8]) {
    let shown = below.len().min(to);
    if bytes.len() < shown {
        bytes.extend_from_slice(&below[bytes.len()..shown]);
    }
    bytes.resize(to, 0);
}

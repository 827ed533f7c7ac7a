//! [`Change`]: one change to a simulated disk, and the form in which it is kept until it is durable.

use super::fault::SyncFailure;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pub(super) type Inode = usize;

/// What a disk writes in one piece or not at all, in bytes.
pub const SECTOR_BYTES: u64 = 512;

/// A change to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A new, empty file under this name.
    Create(PathBuf),
    /// A file gets another name.
    Rename(PathBuf, PathBuf),
    /// A name is removed.
    Remove(PathBuf),
    /// Names in this directory become durable.
    SyncDir(PathBuf),
    /// Bytes are written to the file with this number.
    Write(usize, u64, Vec<u8>),
    /// A file gets another length.
    SetLen(usize, u64),
    /// A file becomes durable.
    Sync(usize),
    /// A file does not become durable, and what was pending never will.
    FailedSync(usize, SyncFailure),
    /// What is clean in memory of a file is forgotten; after a failed sync that may change it.
    DropCache(usize),
}

impl Change {
    /// What is done, in a word or two.
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
            Change::FailedSync(..) => "sync that fails",
            Change::DropCache(_) => "drop the cache",
        }
    }
}

/// A change to one file that is not durable.
#[derive(Clone, Debug)]
pub(super) enum Pending {
    Write(u64, Vec<u8>),
    SetLen(u64),
}

/// One unit of such a change.
#[derive(Clone, Copy)]
pub(super) enum Piece<'a> {
    /// Bytes of one sector.
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

    /// The change, cut at the boundaries of sectors.
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

/// A change to the directory that is not durable.
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

/// Writes `new`; where that leaves a hole, `below` shows through, and zeros where that ends. No bytes do
/// not even make the file longer.
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

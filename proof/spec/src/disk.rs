//! The disk of the model: files and names, as a process sees them and as a power cut leaves them.
//!
//! A file is a row of *pieces*: the header of a log, one frame, or a whole snapshot. A power cut keeps or loses a
//! piece as a whole. A piece that is half there counts as [`Piece::Bad`], since none of its checks hold. Names are
//! separate from bytes: `sync` makes the bytes of one file durable, and `sync_dir` makes names durable.

use std::hash::Hash;

/// The length of a file with reserved space: more pieces than are ever written.
pub const RESERVED: u8 = u8::MAX;

/// A sequence number: 1 for the first write, 0 for none.
pub type Seq = u8;

/// The longest history that a model can have.
pub const MAX_WRITES: usize = 8;

/// Writes in order. The index is the sequence number minus one. The value says which put it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Writes {
    len: u8,
    puts: [u8; MAX_WRITES],
}

impl Writes {
    /// The number of writes, which is the sequence number of the last.
    pub fn len(&self) -> Seq {
        self.len
    }

    /// Whether there are no writes.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The puts, in order.
    pub fn puts(&self) -> &[u8] {
        &self.puts[..self.len as usize]
    }

    /// Adds one write.
    pub fn push(&mut self, put: u8) {
        self.puts[self.len as usize] = put;
        self.len += 1;
    }

    /// The first `len` writes.
    pub fn prefix(&self, len: Seq) -> Writes {
        let mut prefix = Writes::default();
        self.puts().iter().take(len as usize).for_each(|put| prefix.push(*put));
        prefix
    }

    /// Whether `other` begins with these writes.
    pub fn begins(&self, other: &Writes) -> bool {
        other.puts().starts_with(self.puts())
    }
}

/// The content of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One write; the number says which put.
    Write(u8),
    /// The log was opened for writing; the number is a nonce.
    Opened(u8),
    /// The store was closed cleanly.
    Closed,
}

impl Kind {
    /// Whether it is the mark of an opening.
    pub fn is_opened(self) -> bool {
        matches!(self, Kind::Opened(_))
    }
}

/// One frame of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Frame {
    /// The content.
    pub kind: Kind,
    /// The sequence number of the write. A mark has the number of the write before it.
    pub seq: Seq,
    /// The highest sequence number known to be synced when the frame was made.
    pub durable: Seq,
    /// The salt of the log.
    pub salt: u8,
    /// The check of the frame before this one.
    pub link: u32,
}

impl Frame {
    /// Represents the CRC in the code. It covers every field including the link, and so all earlier frames too.
    pub fn check(&self) -> u32 {
        let (kind, body) = match self.kind {
            Kind::Write(put) => (1, put),
            Kind::Opened(nonce) => (2, nonce),
            Kind::Closed => (3, 0),
        };
        let fields = [kind, body, self.seq, self.durable, self.salt];
        let bytes = fields.into_iter().chain(self.link.to_le_bytes());
        bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
    }
}

/// One piece of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Piece {
    /// Zeros, garbage or a part of a piece: no check holds.
    Bad,
    /// The header of a log: its salt, and the sequence number before its first write.
    Header {
        /// Part of every check in the file.
        salt: u8,
        /// The last write before the first write of the file.
        base: Seq,
    },
    /// A frame of a log.
    Frame(Frame),
    /// A snapshot: the state that it holds, and the write after which that is the state according to its header.
    Snapshot {
        /// The write that the header names.
        seq: Seq,
        /// The state that it holds.
        writes: Writes,
    },
}

/// A change to one file that is not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pending {
    Write(u8, Piece),
    /// The beginning of a frame, at the end of the file.
    Head(u8),
    SetLen(u8),
}

/// One file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct File {
    /// The content that a process reads, without the zeros at the end.
    cache: Vec<Piece>,
    /// The length that a process sees.
    seen_len: u8,
    /// The content of the medium. Behind `len` there are the earlier bytes, if the disk keeps them.
    medium: Vec<Piece>,
    /// The durable length.
    len: u8,
    pending: Vec<Pending>,
}

/// What shows in new space of a file until something is written there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stale {
    /// Zeros, as safely mounted file systems promise.
    #[default]
    Zeros,
    /// Bytes that were cut off there, or that a released file held.
    CutOff,
    /// Also bytes that reached the medium in a power cut although the length that covers them did not. No recovery has
    /// ever seen them.
    NeverSeen,
}

fn put_at(pieces: &mut Vec<Piece>, at: u8, piece: Piece) {
    if pieces.len() <= at as usize {
        pieces.resize(at as usize + 1, Piece::Bad);
    }
    pieces[at as usize] = piece;
}

impl File {
    /// The content that a process reads.
    pub fn cache(&self) -> &[Piece] {
        &self.cache
    }

    /// The content after a power cut that keeps only durable changes.
    pub fn durable(&self) -> &[Piece] {
        &self.medium[..self.medium.len().min(self.len as usize)]
    }

    /// The length that a process sees, including zeros at the end.
    #[expect(clippy::misnamed_getters, reason = "a process sees this length; the other one is durable")]
    pub fn len(&self) -> u8 {
        self.seen_len
    }

    /// The durable length.
    pub fn durable_len(&self) -> u8 {
        self.len
    }

    /// Whether the file looks to a process as if nothing was ever written to it.
    pub fn is_empty(&self) -> bool {
        self.seen_len == 0
    }

    /// Whether all of its content is durable.
    pub fn is_synced(&self) -> bool {
        self.pending.is_empty()
    }

    fn write(&mut self, at: u8, piece: Piece) {
        put_at(&mut self.cache, at, piece);
        self.seen_len = self.seen_len.max(at + 1);
        self.pending.push(Pending::Write(at, piece));
    }

    /// The beginning of a frame. It is shorter than any frame. So where the file has grown by it, no whole frame is
    /// found, independent of the bytes in new space.
    fn write_head(&mut self, at: u8) {
        put_at(&mut self.cache, at, Piece::Bad);
        self.seen_len = self.seen_len.max(at + 1);
        self.pending.push(Pending::Head(at));
    }

    fn set_len(&mut self, len: u8) {
        self.cache.truncate(len as usize);
        self.seen_len = len;
        self.pending.push(Pending::SetLen(len));
    }

    fn carry_out(&mut self, change: Pending, stale: Stale) {
        match change {
            Pending::Write(at, piece) => {
                put_at(&mut self.medium, at, piece);
                self.len = self.len.max(at + 1);
            }
            Pending::Head(at) => self.carry_out(Pending::Write(at, Piece::Bad), stale),
            Pending::SetLen(len) => {
                if stale == Stale::Zeros {
                    self.medium.truncate(len as usize);
                }
                self.len = len;
            }
        }
    }

    fn sync(&mut self, stale: Stale) {
        for change in std::mem::take(&mut self.pending) {
            self.carry_out(change, stale);
        }
    }

    /// Reads the clean pages from the medium again.
    fn drop_cache(&mut self) {
        let mut seen = self.clone();
        seen.sync(Stale::CutOff);
        (self.cache, self.seen_len) = (seen.durable().to_vec(), seen.len);
    }

    /// Everything that a power cut may leave of the file: each unsynced piece there, not there, or half there, with
    /// any length that the file had since the last sync.
    fn survivors(&self, stale: Stale) -> Vec<File> {
        if self.pending.is_empty() {
            return vec![self.left(self.medium.clone(), self.len, stale)];
        }
        let (mut contents, mut lengths) = (vec![self.medium.clone()], vec![self.len]);
        let mut length = self.len;
        let mut head = None;
        for change in &self.pending {
            let mut next = contents.clone(); // the piece is lost
            for content in &contents {
                match *change {
                    Pending::Write(at, piece) => {
                        length = length.max(at + 1);
                        for fate in [piece, Piece::Bad] {
                            let mut content = content.clone();
                            put_at(&mut content, at, fate);
                            next.push(content);
                        }
                    }
                    Pending::Head(at) => (length, head) = (length.max(at + 1), Some(at)),
                    Pending::SetLen(len) => {
                        length = len;
                        if stale == Stale::Zeros {
                            let mut content = content.clone();
                            content.truncate(len as usize);
                            next.push(content);
                        }
                    }
                }
            }
            contents = distinct(next);
            lengths.push(length);
        }
        let lengths = distinct(lengths);
        let each = contents.iter().flat_map(|content| {
            lengths.iter().map(|len| {
                let mut content = content.clone();
                head.into_iter().filter(|at| at < len).for_each(|at| put_at(&mut content, at, Piece::Bad));
                self.left(content, *len, stale)
            })
        });
        distinct(each.collect())
    }

    fn left(&self, mut medium: Vec<Piece>, len: u8, stale: Stale) -> File {
        match stale {
            Stale::Zeros => medium.truncate(len as usize),
            Stale::NeverSeen => {}
            Stale::CutOff => {
                // Pieces that this session has not overwritten are as before.
                medium.truncate((len as usize).max(self.medium.len()));
                let behind = (len as usize).min(medium.len());
                let known = self.medium.get(behind..).unwrap_or_default();
                medium[behind..behind + known.len()].copy_from_slice(known);
            }
        }
        // Bad space behind the end cannot be distinguished from no space.
        while medium.len() > len as usize && medium.last() == Some(&Piece::Bad) {
            medium.pop();
        }
        let cache = medium[..medium.len().min(len as usize)].to_vec();
        File { cache, seen_len: len, medium, len, pending: Vec::new() }
    }

    /// Everything that a failed sync may leave. Some of the pages reached the medium, and all of them count as clean.
    /// In the page cache they stay (ext4, XFS), or are replaced by the content of the medium (btrfs).
    fn after_failed_sync(&self, stale: Stale) -> Vec<File> {
        let both = self
            .survivors(stale)
            .into_iter()
            .flat_map(|left| [File { cache: self.cache.clone(), seen_len: self.seen_len, ..left.clone() }, left]);
        distinct(both.collect())
    }

    fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        let pending = self.pending.iter().filter_map(|change| match change {
            Pending::Write(_, piece) => Some(*piece),
            Pending::Head(_) | Pending::SetLen(_) => None,
        });
        self.cache.iter().chain(&self.medium).copied().chain(pending)
    }
}

fn distinct<T: PartialEq>(all: Vec<T>) -> Vec<T> {
    let mut kept: Vec<T> = Vec::with_capacity(all.len());
    for one in all {
        if !kept.contains(&one) {
            kept.push(one);
        }
    }
    kept
}

/// The names of the store's files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// `<wal>`
    Log,
    /// The scratch file of a new log.
    LogTmp,
    /// `<snapshot>`
    Snapshot,
    /// The scratch file of a new snapshot.
    SnapshotTmp,
}

impl Name {
    /// Every name.
    pub const ALL: [Name; 4] = [Name::Log, Name::LogTmp, Name::Snapshot, Name::SnapshotTmp];
}

/// The number of a file. It stays the same while the file has a name or is open.
pub type FileId = u8;

/// The file under each name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct Names([Option<FileId>; 4]);

/// A change to the directory that is not durable yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum NameChange {
    Create(Name, FileId),
    Rename(Name, Name, FileId),
    Remove(Name),
}

impl Names {
    fn get(&self, name: Name) -> Option<FileId> {
        self.0[name as usize]
    }

    fn carry_out(&mut self, change: NameChange) {
        match change {
            NameChange::Create(name, file) => self.0[name as usize] = Some(file),
            NameChange::Rename(from, to, file) => {
                if self.get(from) == Some(file) {
                    self.0[from as usize] = None;
                }
                self.0[to as usize] = Some(file);
            }
            NameChange::Remove(name) => self.0[name as usize] = None,
        }
    }
}

/// The disk: files and one directory, as seen and as durable.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Disk {
    files: Vec<File>,
    names: Names,
    durable_names: Names,
    pending_names: Vec<NameChange>,
    /// What new space shows.
    stale: Stale,
}

impl Disk {
    /// An empty disk.
    pub fn new(stale: Stale) -> Disk {
        Disk { stale, ..Disk::default() }
    }

    /// The file that has this name now.
    pub fn named(&self, name: Name) -> Option<FileId> {
        self.names.get(name)
    }

    /// The file that has this name after a power cut that keeps no pending change of names.
    pub fn named_durably(&self, name: Name) -> Option<FileId> {
        self.durable_names.get(name)
    }

    /// A file.
    pub fn file(&self, file: FileId) -> &File {
        &self.files[file as usize]
    }

    /// The content that a process reads under this name.
    pub fn read(&self, name: Name) -> Option<&[Piece]> {
        self.named(name).map(|file| self.file(file).cache())
    }

    /// The content under this name after a power cut that keeps only durable changes.
    pub fn read_durable(&self, name: Name) -> Option<&[Piece]> {
        self.named_durably(name).map(|file| self.file(file).durable())
    }

    /// The length of the file with this name, as a process sees it.
    pub fn len_of(&self, name: Name) -> u8 {
        self.named(name).map_or(0, |file| self.file(file).len())
    }

    /// The length after the power cut of [`Disk::read_durable`].
    pub fn durable_len_of(&self, name: Name) -> u8 {
        self.named_durably(name).map_or(0, |file| self.file(file).durable_len())
    }

    /// Every piece anywhere on the disk, including pieces that only chance could bring back.
    pub fn pieces(&self) -> impl Iterator<Item = Piece> + '_ {
        self.files.iter().flat_map(File::pieces)
    }

    fn change_names(&mut self, change: NameChange) {
        self.names.carry_out(change);
        self.pending_names.push(change);
    }

    /// A new, empty file.
    pub fn create(&mut self, name: Name) -> FileId {
        let file = u8::try_from(self.files.len()).expect("few files");
        self.files.push(File::default());
        self.change_names(NameChange::Create(name, file));
        file
    }

    /// Renames a file in one step.
    pub fn rename(&mut self, from: Name, to: Name) {
        let file = self.named(from).expect("the file exists");
        self.change_names(NameChange::Rename(from, to, file));
    }

    /// Removes a name.
    pub fn remove(&mut self, name: Name) {
        self.change_names(NameChange::Remove(name));
    }

    /// All names become durable.
    pub fn sync_dir(&mut self) {
        for change in std::mem::take(&mut self.pending_names) {
            self.durable_names.carry_out(change);
        }
    }

    /// Writes pieces into the cache.
    pub fn write(&mut self, file: FileId, at: u8, pieces: impl IntoIterator<Item = Piece>) {
        (at..).zip(pieces).for_each(|(at, piece)| self.files[file as usize].write(at, piece));
    }

    /// Writes the beginning of a frame into the cache, at the end of the file.
    pub fn write_head(&mut self, file: FileId, at: u8) {
        self.files[file as usize].write_head(at);
    }

    /// Cuts a file to a length.
    pub fn set_len(&mut self, file: FileId, len: u8) {
        self.files[file as usize].set_len(len);
    }

    /// The bytes and the length of a file become durable.
    pub fn sync(&mut self, file: FileId) {
        self.files[file as usize].sync(self.stale);
    }

    /// Later reads come from the medium, as far as it has the written pieces.
    pub fn drop_cache(&mut self, file: FileId) {
        self.files[file as usize].drop_cache();
    }

    /// What a failed sync of this file may leave.
    pub fn after_failed_sync(&self, file: FileId) -> Vec<Disk> {
        let with = |left: File| {
            let mut disk = self.clone();
            disk.files[file as usize] = left;
            disk
        };
        self.files[file as usize].after_failed_sync(self.stale).into_iter().map(with).collect()
    }

    /// The space behind the end of `file` is the space that `old` had, from piece `from` on.
    pub fn reuse_space(&mut self, file: FileId, old: FileId, from: usize) {
        let old = self.files[old as usize].medium[from..].to_vec();
        self.files[file as usize].medium.extend(old);
    }

    /// Everything that a power cut may leave.
    pub fn after_power_cut(&self) -> Vec<Disk> {
        let mut names = vec![self.durable_names];
        for change in &self.pending_names {
            let kept = names.clone().into_iter().map(|mut names| {
                names.carry_out(*change);
                names
            });
            names.extend(kept.collect::<Vec<_>>());
        }
        let mut left = Vec::new();
        for names in distinct(names) {
            let mut disks = vec![Disk { names, durable_names: names, stale: self.stale, ..Disk::default() }];
            let mut moved = [None; 4];
            for name in Name::ALL {
                let Some(file) = names.get(name) else { continue };
                let known = Name::ALL.iter().position(|other| names.get(*other) == Some(file)).and_then(|other| moved[other]);
                let to = known.unwrap_or(u8::try_from(disks[0].files.len()).expect("few files"));
                moved[name as usize] = Some(to);
                if known.is_none() {
                    let survivors = self.file(file).survivors(self.stale);
                    let with = |disk: Disk| {
                        let each = survivors.iter().map(move |survivor| {
                            let mut disk = disk.clone();
                            disk.files.push(survivor.clone());
                            disk
                        });
                        each.collect::<Vec<_>>()
                    };
                    disks = disks.into_iter().flat_map(with).collect();
                }
            }
            for disk in &mut disks {
                disk.names = Names(moved);
                disk.durable_names = disk.names;
            }
            left.extend(disks);
        }
        distinct(left)
    }

    /// Removes files that are out of reach and numbers the others anew. Then states that cannot be distinguished are
    /// one state. `held`: a file that a process has open.
    pub fn tidy(&mut self, held: Option<FileId>) -> Option<FileId> {
        let pending = self.pending_names.iter().filter_map(|change| match change {
            NameChange::Create(_, file) | NameChange::Rename(_, _, file) => Some(*file),
            NameChange::Remove(_) => None,
        });
        let named = self.names.0.into_iter().chain(self.durable_names.0).flatten();
        let order = distinct(named.chain(pending).chain(held).collect());
        if order.iter().copied().eq(0..u8::try_from(self.files.len()).expect("few files")) {
            return held;
        }
        let moved = |file: FileId| order.iter().position(|old| *old == file).map(|to| to as FileId).expect("is reachable");
        self.files = order.iter().map(|file| self.files[*file as usize].clone()).collect();
        for names in [&mut self.names, &mut self.durable_names] {
            names.0 = names.0.map(|file| file.map(moved));
        }
        for change in &mut self.pending_names {
            match change {
                NameChange::Create(_, file) | NameChange::Rename(_, _, file) => *file = moved(*file),
                NameChange::Remove(_) => {}
            }
        }
        held.map(moved)
    }
}

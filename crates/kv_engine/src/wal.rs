//! The write-ahead log: frames appended to a buffer, written in groups, synced by a ticket. It
//! stores opaque bodies under sequence numbers and knows neither puts nor the map.
//!
//! ```text
//! log := header frame*                          (frames: see `record`)
//!
//!  offset size  header field
//!       0    8  magic     89 6b 76 77 61 6c 0d 0a  (a high bit, "kvwal", CR LF)
//!       8    4  version   1
//!      12   16  store id  also in the snapshot; two files with different ids are not one store
//!      28    4  salt      begins every checksum of this file; new for each file
//!      32    8  base      sequence number before the first write of this file
//!      40   20  zero
//!      60    4  check     CRC-32 of bytes 0..60
//! ```
//!
//! Invariants:
//! - A log is born whole: header written and synced in a scratch file, renamed, directory synced. So a
//!   log with a broken header was never the work of a crash.
//! - `tail` is the end of what was handed to the operating system; nothing is ever written before it.
//!   One [`Group`] at most is out to be written there, without the log's lock.
//! - Space is *reserved* ahead of the tail, so that a sync need not wait for the file system to note
//!   a new length: zeros up to the end of the file, which the reader takes for the end of the log.
//!   An orderly close gives them back; so does recovery.
//! - Something stands behind the last write: reserved space, a mark, or a zero. So a file that ends right behind a write was
//!   cut from outside, or a write failed, as on a full disk, and the process was killed behind that.
//! - A write that fails is taken back by cutting the file to `tail`, and the cut is synced, so that
//!   nothing of it is in the way of later frames or comes back; where even that fails, the log must
//!   not be written again.
//! - Before the first record of an opening, and before the first behind a group that was taken back, stands an
//!   OPENED mark whose random body makes the chain of links new: what an earlier life left behind the tail, or
//!   what was refused, can never continue it. Except in a new file, the mark is durable before anything else is written
//!   and before space is reserved, and after an end that was not in order even before the opening is
//!   over: else a power cut could leave the new length of the file and, where the mark should be, records
//!   that recovery had not seen, or that were refused: blocks that a file gets may show what they held before.
//! - Such a mark also stands behind writes once all of them are durable and nobody writes. It proves to recovery that they
//!   had been synced. It needs no sync of its own: what it says is true when it is written, and where a power cut takes it,
//!   the log ends as it would have without it. Only writes of this opening get one.
//! - The mark of an opening is made durable in two steps, the first of which is shorter than any frame. So whatever a power
//!   cut leaves in its place, there is no whole frame of old.

mod identity;

use crate::disk::{Disk, File, FileId, ReadOnly, Readable, Scratch, write_all_at};
use crate::error::{Error, Result};
use crate::magic::{LOG as MAGIC, describe};
use crate::record::{self, Body, Kind, Place, crc, le32, le64};
use crate::{LOG_FORMAT, MAX_SEQ, Seq, StoreId};
use identity::last_of;
pub(crate) use identity::{FileState, Last};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub(crate) const HEADER_BYTES: usize = 64;
const VERSION_AT: usize = 8;
const ID_AT: usize = 12;
const SALT_AT: usize = 28;
const BASE_AT: usize = 32;
const ZERO_AT: usize = 40;
const CHECK_AT: usize = 60;

/// The fields of the header in order: name and length.
pub(crate) const FIELDS: [(&str, usize); 7] = [
    ("magic", VERSION_AT),
    ("version", ID_AT - VERSION_AT),
    ("store id", SALT_AT - ID_AT),
    ("salt", BASE_AT - SALT_AT),
    ("base", ZERO_AT - BASE_AT),
    ("zero", CHECK_AT - ZERO_AT),
    ("check", HEADER_BYTES - CHECK_AT),
];

/// A buffer that once held a large group is given back to the system above this size.
const KEEP_BUFFER_BYTES: usize = 4 << 20;

/// So much of an OPENED mark is made durable before the rest. The mark of an orderly close is all head.
const FIRST_STEP_BYTES: usize = record::HEADER_BYTES - 1;

/// Length of an OPENED mark.
pub(crate) const OPENED_BYTES: usize = record::HEADER_BYTES + 8;

const NOT_BEGUN: &str = "no new log was begun, the old one is as it was: writing";
const NO_SCRATCH: &str = "no new log was begun, the old one is as it was: making a scratch file beside";

/// What the header of a log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store_id: StoreId,
    pub(crate) salt: u32,
    pub(crate) base: Seq,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..VERSION_AT].copy_from_slice(&MAGIC);
        bytes[VERSION_AT..ID_AT].copy_from_slice(&LOG_FORMAT.to_le_bytes());
        bytes[ID_AT..SALT_AT].copy_from_slice(&self.store_id.0);
        bytes[SALT_AT..BASE_AT].copy_from_slice(&self.salt.to_le_bytes());
        bytes[BASE_AT..ZERO_AT].copy_from_slice(&self.base.to_le_bytes());
        let check = crc(0, &bytes[..CHECK_AT]);
        bytes[CHECK_AT..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads the header out of the first bytes of the file at `path`.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Header> {
        let known = bytes.len().min(MAGIC.len());
        if bytes[..known] != MAGIC[..known] {
            let rest = bytes.get(VERSION_AT..CHECK_AT);
            if rest.is_some_and(|rest| bytes.len() >= HEADER_BYTES && le32(bytes, CHECK_AT) == crc(crc(0, &MAGIC), rest)) {
                let reason = "the first 8 bytes are not those of a log, although the checksum of the log's header is right with \
                              them, which no crash causes; nothing was changed; restore the file from a copy, or read it with: \
                              kv_cli export --salvage";
                return Err(Error::damaged(path, 0, reason));
            }
            return Err(Error::foreign(path, describe(bytes)));
        }
        if bytes.len() < HEADER_BYTES {
            let reason =
                format!("a log of {} bytes is shorter than its header, which no crash causes; nothing was changed", bytes.len());
            return Err(Error::damaged(path, bytes.len() as u64, reason));
        }
        if le32(bytes, CHECK_AT) != crc(0, &bytes[..CHECK_AT]) {
            let reason = "the checksum of the log's header does not match, which no crash causes; nothing was changed; \
                          restore the file from a copy, or move it away to begin a new log";
            return Err(Error::damaged(path, 0, reason));
        }
        let version = le32(bytes, VERSION_AT);
        if version != LOG_FORMAT {
            let found = format!("format version {version}");
            return Err(Error::Version { path: path.to_path_buf(), found, supported: LOG_FORMAT });
        }
        let base = le64(bytes, BASE_AT);
        if base > MAX_SEQ || bytes[ZERO_AT..CHECK_AT].iter().any(|&byte| byte != 0) {
            let found = "a header with fields of a newer format".to_string();
            return Err(Error::Version { path: path.to_path_buf(), found, supported: LOG_FORMAT });
        }
        let store_id = StoreId(bytes[ID_AT..SALT_AT].try_into().expect("sixteen bytes"));
        Ok(Header { store_id, salt: le32(bytes, SALT_AT), base })
    }
}

/// Space is reserved for so many groups like the one that is being written, within these bounds: a longer step costs
/// less, and makes those wait longer who wait for this group.
const RESERVED_GROUPS: u64 = 16;
const RESERVE_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 20;
/// A step is a multiple of this, and no longer than the log is, so that a small store stays small.
const RESERVE_UNIT: u64 = 4 << 10;

/// A place between two frames.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    at: u64,
    link: u32,
    opened: bool,
    /// Whether what stands before is a mark, or nothing: no write is without a proof.
    proven: bool,
}

/// Why a group was not written. The file was cut back to where it was, or `torn` says why not.
#[derive(Debug)]
pub(crate) struct WriteFailure {
    pub(crate) cause: io::Error,
    pub(crate) torn: Option<io::Error>,
}

impl WriteFailure {
    /// Nothing was written, and nothing has to be taken back.
    pub(crate) fn not_tried() -> WriteFailure {
        WriteFailure { cause: io::Error::other("not written"), torn: None }
    }
}

/// A place in a log's file between two frames, for reading what is before it or behind it.
#[derive(Clone, Debug)]
pub(crate) struct LogEnd {
    pub(crate) file: Arc<dyn File>,
    pub(crate) store_id: StoreId,
    pub(crate) salt: u32,
    pub(crate) base: Seq,
    /// The last write before.
    pub(crate) seq: Seq,
    pub(crate) at: u64,
    /// Check of the frame before.
    pub(crate) link: u32,
}

/// The file of a log that is not there.
#[derive(Debug)]
struct Nothing;

impl Readable for Nothing {
    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn drop_cache(&self) {}
}

/// Whether an error is about room, so that the same write may succeed later.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull, WriteZero};
    matches!(error.kind(), FileTooLarge | QuotaExceeded | StorageFull | WriteZero)
}

/// Frames that were taken out of the buffer, to be written and synced without the log's lock.
#[derive(Debug)]
pub(crate) struct Group {
    file: Arc<dyn File>,
    at: u64,
    bytes: Arc<Vec<u8>>,
    end: Mark,
    /// How long the file is, and how long it is to be first.
    reserve: Option<(u64, u64)>,
    reserved: bool,
    /// Whether the OPENED mark, with which they begin, has to be durable before the rest.
    mark_first: bool,
    before: FileState,
}

impl Group {
    /// Whether the file becomes longer. Then its length afterwards does not show whether it was cut before.
    pub(crate) fn extends(&self) -> bool {
        self.reserve.is_some() || self.end.at > self.before.exact.unwrap_or(0)
    }

    /// What the log's name has to show before the group is written, and after it was written and synced.
    pub(crate) fn expected_before(&self) -> &FileState {
        &self.before
    }

    pub(crate) fn expected_after(&self) -> FileState {
        let exact = match self.reserve {
            Some((_, len)) => self.reserved.then_some(len),
            None => self.before.exact.filter(|&len| len >= self.end.at),
        };
        // What stood before the group has to be there still; the group's own end is looked at with the next one.
        FileState { least: self.end.at, exact, ..self.before }
    }

    /// Where it is written to.
    pub(crate) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Hands the frames to the operating system in one write. On failure the file is durably as long as
    /// before.
    pub(crate) fn write(&mut self) -> std::result::Result<(), WriteFailure> {
        self.write_in_order().map_err(|cause| {
            // Synced, or a power cut could bring back whole records of a write that was refused.
            let torn = self.file.set_len(self.at).and_then(|()| self.file.sync()).err();
            WriteFailure { cause, torn }
        })
    }

    fn write_in_order(&mut self) -> io::Result<()> {
        let (mark, rest) = self.bytes.split_at(if self.mark_first { OPENED_BYTES } else { 0 });
        let mut at = self.at;
        for step in mark.chunks(FIRST_STEP_BYTES) {
            write_all_at(&*self.file, at, step)?;
            self.file.sync()?;
            at += step.len() as u64;
        }
        if let Some((present_len, len)) = self.reserve {
            self.reserved = self.file.reserve(present_len + mark.len() as u64, len).is_ok();
        }
        write_all_at(&*self.file, at, rest)
    }

    /// As [`Group::write`], for a file that nobody uses yet.
    pub(crate) fn write_tmp(&mut self) -> io::Result<()> {
        self.write().map_err(|failure| failure.cause)
    }

    /// Makes what was written durable.
    pub(crate) fn sync(&self) -> io::Result<()> {
        self.file.sync()
    }

    /// Gives the reserved space behind the frames back. Best effort: zeros at the end mean nothing.
    pub(crate) fn give_back(&self) {
        let _ = self.file.set_len(self.end.at);
    }

    pub(crate) fn len_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }
}

/// A new log that does not have its name yet. Where it does not get it, nothing of it is left.
#[derive(Debug)]
pub(crate) struct Begun<'a> {
    pub(crate) wal: Wal,
    disk: &'a dyn Disk,
    scratch: Scratch<'a>,
}

impl Begun<'_> {
    /// Puts it durably in the place of whatever was there.
    ///
    /// # Errors
    /// [`Error::Io`]: the old log is as it was. When the rename was done but the directory could not be synced,
    /// which log a power cut leaves is unknown: [`Error::Poisoned`].
    pub(crate) fn take_over(self) -> Result<Wal> {
        self.sync()?;
        self.put_in_place()
    }

    /// Makes durable what is in it.
    pub(crate) fn sync(&self) -> Result<()> {
        self.wal.file.sync().map_err(Error::io(NOT_BEGUN, self.scratch.path()))
    }

    /// As [`Begun::take_over`], where all that is in the file is durable.
    pub(crate) fn put_in_place(self) -> Result<Wal> {
        let Begun { wal, disk, scratch } = self;
        let name = scratch.path().to_path_buf();
        scratch.rename_to(&wal.path).map_err(Error::io(NOT_BEGUN, &name))?;
        disk.sync_dir(&wal.path).map_err(|e| Error::Poisoned {
            path: wal.path.clone(),
            reason: format!("the directory could not be synced after a new log was put in place: {e}"),
            pending: 0,
        })?;
        Ok(wal)
    }

    /// Where it is written.
    pub(crate) fn scratch_path(&self) -> &Path {
        self.scratch.path()
    }
}

/// An open log.
#[derive(Debug)]
pub(crate) struct Wal {
    file: Arc<dyn File>,
    id: Option<FileId>,
    path: PathBuf,
    header: Header,
    /// Known once something was written.
    last: Option<Last>,
    /// The end of what is in the file.
    tail: Mark,
    /// The length of the file, where space is reserved.
    reserved: u64,
    /// Whether old bytes may stand behind the tail that continue the chain: of an earlier life, or of a group that
    /// was taken back.
    resumed: bool,
    /// Whether reserving has worked so far.
    may_reserve: bool,
    /// Frames that are not written yet; they belong at `from`, behind a group that is out.
    buffer: Vec<u8>,
    from: u64,
    /// What the group holds that is out, from `tail` on.
    out: Arc<Vec<u8>>,
    /// Check of the last frame, and whether this opening's OPENED mark is before it.
    link: u32,
    opened: bool,
    /// Whether the last frame is a mark.
    proven: bool,
    /// The memory of the last group, to be used again.
    spare: Vec<u8>,
    /// Whether the last frame in the file is the mark of an orderly close.
    marked_closed: bool,
}

impl Wal {
    /// Makes a new, empty log whose first write will be `base + 1`, and puts it durably in the
    /// place of whatever was at `path`.
    ///
    /// # Errors
    /// As [`Begun::take_over`].
    pub(crate) fn create(disk: &dyn Disk, path: &Path, store_id: StoreId, base: Seq) -> Result<Wal> {
        Wal::begin(disk, path, store_id, base)?.take_over()
    }

    /// Makes a new log in a scratch file; nothing of it is durable yet.
    pub(crate) fn begin<'a>(disk: &'a dyn Disk, path: &Path, store_id: StoreId, base: Seq) -> Result<Begun<'a>> {
        let salt = (disk.entropy() >> 32) as u32;
        let header = Header { store_id, salt, base };
        let scratch = Scratch::create(disk, path).map_err(Error::io(NO_SCRATCH, path))?;
        let file = scratch.file();
        let begun = file.try_lock().and_then(|()| write_all_at(&**file, 0, &header.encode())); // locked before it gets its name
        begun.map_err(Error::io(NOT_BEGUN, scratch.path()))?;
        let wal = Wal { resumed: false, ..Wal::resume(Arc::clone(file), path, header, HEADER_BYTES as u64, salt, true) };
        Ok(Begun { wal, disk, scratch })
    }

    /// Goes on with a log whose valid frames end at `tail` with the check `tail_link`.
    /// `marked_closed`: nothing needs to be said behind them when the log is closed.
    pub(crate) fn resume(
        file: Arc<dyn File>,
        path: &Path,
        header: Header,
        tail: u64,
        tail_link: u32,
        marked_closed: bool,
    ) -> Wal {
        Wal {
            id: file.id(),
            last: None,
            file,
            path: path.to_path_buf(),
            header,
            tail: Mark { at: tail, link: tail_link, opened: false, proven: marked_closed },
            reserved: tail,
            resumed: true,
            may_reserve: true,
            buffer: Vec::new(),
            from: tail,
            out: Arc::default(),
            link: tail_link,
            opened: false,
            proven: marked_closed,
            spare: Vec::new(),
            marked_closed,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn store_id(&self) -> StoreId {
        self.header.store_id
    }

    pub(crate) fn file(&self) -> &dyn File {
        &*self.file
    }

    /// Begins every checksum of this file.
    pub(crate) fn salt(&self) -> u32 {
        self.header.salt
    }

    /// Length of what is in the file, without reserved space.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.tail.at
    }

    /// What the log's name has to show while no group is out. Where reserving has failed, the length is known only at the
    /// least.
    pub(crate) fn expected(&self) -> FileState {
        let exact = (self.reserved >= self.tail.at).then_some(self.reserved);
        FileState { id: self.id, least: self.tail.at, exact, header: self.header, last: self.last }
    }

    /// Stands for the log of a store that has none yet; `file` is what has its name, or nothing.
    pub(crate) fn not_begun(file: Option<Arc<dyn File>>, path: &Path, store_id: StoreId, base: Seq) -> Wal {
        let file = file.unwrap_or_else(|| Arc::new(ReadOnly(Nothing)));
        Wal { id: None, ..Wal::resume(file, path, Header { store_id, salt: 0, base }, 0, 0, true) }
    }

    /// Whether the mark of an orderly close would say nothing new.
    pub(crate) fn is_marked_closed(&self) -> bool {
        self.marked_closed && self.buffer.is_empty()
    }

    /// Length of what waits to be taken.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Appends one frame to the buffer; before the first one, the OPENED mark with `nonce`.
    pub(crate) fn append(&mut self, kind: Kind, seq: Seq, durable: Seq, nonce: impl FnOnce() -> u64, body: &Body<'_>) {
        self.mark_opened(if kind == Kind::WRITE { seq - 1 } else { seq }, durable, nonce);
        self.frame(kind, seq, durable, body);
    }

    /// Appends the OPENED mark, unless it was.
    fn mark_opened(&mut self, last: Seq, durable: Seq, nonce: impl FnOnce() -> u64) {
        if !self.opened {
            self.opened = true;
            let nonce = nonce().to_le_bytes();
            self.frame(Kind::OPENED, last, durable, &Body::new(&nonce, self.header.salt));
        }
    }

    /// Makes the OPENED mark durable, behind write `last`; where the disk has no room, the first group will.
    pub(crate) fn begin_life(&mut self, last: Seq, nonce: impl Fn() -> u64) -> io::Result<()> {
        let before = self.mark();
        self.mark_opened(last, last, &nonce);
        let mut group = self.take();
        group.reserve = None;
        match group.write() {
            Ok(()) => self.complete(group),
            Err(WriteFailure { cause, torn: None }) if is_no_space(&cause) => self.take_back(group, before, nonce),
            Err(failure) => return Err(failure.cause),
        }
        Ok(())
    }

    /// Where the file ends right behind a write, because one failed there and was cut off, leaves a zero behind it: the next
    /// opening can tell that from a file that somebody cut. Best effort.
    pub(crate) fn leave_zero(&mut self) {
        let is_behind_write = self.tail.at > HEADER_BYTES as u64 && !self.tail.proven && self.from == self.tail.at;
        if is_behind_write && self.file.size().is_ok_and(|len| len == self.tail.at) {
            self.reserved = 0; // from now on the length is known only at the least
            let _ = self.file.set_len(self.tail.at + 1);
        }
    }

    /// Whether writes of this opening are in the file, and no mark behind them; and nothing waits to be written.
    pub(crate) fn wants_proof(&self) -> bool {
        self.tail.opened && !self.tail.proven && self.buffer.is_empty() && self.from == self.tail.at
    }

    /// A group of one mark, behind write `last`, up to which all is durable. It begins a new chain, as each mark does, and
    /// is too short to reserve space for.
    pub(crate) fn prove(&mut self, last: Seq, nonce: u64) -> Group {
        self.frame(Kind::OPENED, last, last, &Body::new(&nonce.to_le_bytes(), self.header.salt));
        Group { reserve: None, ..self.take() }
    }

    fn frame(&mut self, kind: Kind, seq: Seq, durable: Seq, body: &Body<'_>) {
        self.proven = kind != Kind::WRITE;
        let place = Place { salt: self.header.salt, link: self.link, seq, durable };
        self.link = record::encode(&mut self.buffer, place, kind, body);
    }

    /// The present end of the log.
    pub(crate) fn mark(&self) -> Mark {
        Mark { at: self.from + self.buffer.len() as u64, link: self.link, opened: self.opened, proven: self.proven }
    }

    /// The body of `len` bytes that ends at `end`, in the buffer or in the group that is out.
    pub(crate) fn body(&self, end: Mark, len: usize) -> &[u8] {
        let (bytes, from) = if end.at <= self.from { (&*self.out, self.tail.at) } else { (&self.buffer, self.from) };
        let end = usize::try_from(end.at - from).expect("in memory");
        &bytes[end - len..end]
    }

    /// The end of what is in the file, where write `seq` is the last one. No group may be out.
    pub(crate) fn end(&self, seq: Seq) -> LogEnd {
        let Header { store_id, salt, base } = self.header;
        LogEnd { file: Arc::clone(&self.file), store_id, salt, base, seq, at: self.tail.at, link: self.tail.link }
    }

    /// Takes the buffer out, to be written at the tail. It has to come back by [`Wal::complete`] or
    /// [`Wal::take_back`] before the next one is taken.
    pub(crate) fn take(&mut self) -> Group {
        assert_eq!(self.from, self.tail.at, "one group at a time");
        let before = self.expected();
        let end = self.mark();
        let mark_first = self.resumed && end.opened && !self.tail.opened;
        let step = (RESERVED_GROUPS * self.buffer.len() as u64).clamp(*RESERVE_BYTES.start(), *RESERVE_BYTES.end());
        let step = step.min(end.at.max(RESERVE_UNIT));
        let present_len = self.reserved.max(self.tail.at);
        let reserve = (self.may_reserve && end.at >= self.reserved && !self.buffer.is_empty())
            .then(|| (present_len, (end.at + step).next_multiple_of(RESERVE_UNIT)));
        self.from = end.at;
        self.out = Arc::new(std::mem::replace(&mut self.buffer, std::mem::take(&mut self.spare)));
        Group {
            file: Arc::clone(&self.file),
            at: self.tail.at,
            bytes: Arc::clone(&self.out),
            end,
            reserve,
            reserved: false,
            mark_first,
            before,
        }
    }

    /// The group is in the file.
    pub(crate) fn complete(&mut self, group: Group) {
        if let Some((_, len)) = group.reserve {
            self.may_reserve = group.reserved;
            self.reserved = if group.reserved { len } else { 0 };
        }
        self.last = last_of(group.end.at, &group.bytes);
        self.tail = group.end;
        self.marked_closed = false;
        self.spare = self.bytes_of(group);
        self.spare.clear();
        self.spare.shrink_to(KEEP_BUFFER_BYTES);
    }

    /// The group could not be written. What of it and of the buffer stands before `keep` is the buffer again, in a
    /// chain that what was written of the rest does not continue; the rest is forgotten.
    pub(crate) fn take_back(&mut self, group: Group, keep: Mark, nonce: impl FnOnce() -> u64) {
        let mut bytes = self.bytes_of(group);
        bytes.append(&mut self.buffer);
        let kept = usize::try_from(keep.at.saturating_sub(self.tail.at)).expect("in memory");
        (self.from, self.link, self.proven) = (self.tail.at, self.tail.link, self.tail.proven);
        self.reserved = 0; // the file was cut
        (self.resumed, self.tail.opened, self.opened) = (true, false, false);
        let (salt, mut nonce) = (self.header.salt, Some(nonce));
        let mut rest = &bytes[..kept];
        while let Ok(head) = record::decode_header(rest, salt) {
            let (frame, behind) = rest.split_at(record::HEADER_BYTES + head.body_len);
            if head.kind != Kind::OPENED {
                let nonce = || nonce.take().expect("there is one mark")();
                self.append(head.kind, head.seq, head.durable, nonce, &Body::new(&frame[record::HEADER_BYTES..], salt));
            }
            rest = behind;
        }
        assert!(rest.is_empty(), "the buffer holds whole frames of this log");
    }

    fn bytes_of(&mut self, group: Group) -> Vec<u8> {
        self.out = Arc::default();
        Arc::into_inner(group.bytes).expect("nobody else keeps a group")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

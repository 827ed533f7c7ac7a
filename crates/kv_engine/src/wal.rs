//! The write-ahead log: every write since the snapshot, in order. A write survives any crash once the group that holds
//! it is synced.
//!
//! The log stores opaque bodies under sequence numbers. It does not know what a put is, or what the map is. A body
//! becomes a frame ([`record`]) in a buffer in memory. The buffer is taken out as a [`Group`], which is written and
//! synced without the log's lock.
//!
//! # The bytes
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
//! # The steps
//!
//! - A new log ([`NewLog`]) is made whole: its header is written and synced in a scratch file, the file is renamed, and
//!   the directory is synced. So no crash leaves a log with a broken header.
//! - [`Wal::append`] adds a frame to the buffer. [`Wal::take`] takes the buffer out as a group.
//! - [`Group::write`] hands the group to the operating system, [`Group::sync`] makes it durable.
//! - [`Wal::complete`] says that the group is in the file. If it could not be written, [`Wal::take_back`] removes the
//!   refused writes and puts the others back into the buffer.
//!
//! # Invariants
//!
//! - The tail is the end of the frames that are in the file. Nothing is ever written before it. At most one group at a
//!   time is being written behind it.
//! - Space is reserved ahead of the tail: zeros up to the end of the file. So a sync does not have to wait until the
//!   file system has noted a new length. A reader takes these zeros for the end of the log. A clean close truncates
//!   them, and so does recovery.
//! - The last write is followed by reserved space, a mark, or a zero byte. If a file ends right behind a write,
//!   another program truncated it; or a write failed, as on a full disk, and the process was killed right after that.
//! - When a write fails, the file is truncated to the tail and synced. So nothing of the failed write is in the way of
//!   later frames, and nothing of it can come back. If that fails too, the log takes no more writes.
//! - An OPENED mark begins a new chain of links. Its body is a random number. Each opening writes one before its first
//!   record, and another one comes before the first record after a failed group. So bytes behind the tail can never
//!   continue the chain, whether they are from an earlier session or from a refused write.
//! - The mark is durable before anything else is written and before space is reserved. Only in a new file it need not
//!   be. After an unclean shutdown the mark is durable before the opening ends. The reason: otherwise a power cut could
//!   keep the new length of the file and lose the mark. The blocks that the file got may then show old bytes: records
//!   that recovery had not seen, or that were refused.
//! - The mark is made durable in two steps, and the first is shorter than any frame. So no power cut can leave a whole
//!   old frame in its place.
//! - The same mark is also written when all writes are durable and no thread writes. It proves to recovery that they
//!   had been synced. It needs no sync of its own: it is true when it is written, and if a power cut takes it, the log
//!   ends as it would have without it. It is written only if this opening has written something before.

mod group;
mod header;
mod identity;
mod new_log;

#[cfg(feature = "torture")]
pub(crate) use group::OPENED_BYTES;
pub(crate) use group::{Group, Position, WriteFailure, is_no_space};
pub(crate) use header::{FIELDS, HEADER_BYTES, Header};
pub(crate) use identity::FileState;
pub(crate) use new_log::NewLog;

use crate::disk::{File, FileId, ReadOnly, Readable};
use crate::record::{self, Body, Kind, Place};
use crate::{Seq, StoreId};
use identity::{Last, last_of};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A buffer that once held a large group keeps no more memory than this.
const KEEP_BUFFER_BYTES: usize = 4 << 20;

/// Space is reserved for this many groups of the size of the present one, within [`RESERVE_BYTES`]. More at a time
/// costs less in total, but the callers that wait for this group wait longer.
const RESERVED_GROUPS: u64 = 16;
const RESERVE_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=1 << 20;
/// Space is reserved in multiples of this, and never more than the log is long, so that a small store stays small.
const RESERVE_UNIT: u64 = 4 << 10;

/// A position between two frames of a log's file, for reading the frames before it or behind it.
#[derive(Clone, Debug)]
pub(crate) struct LogEnd {
    pub(crate) file: Arc<dyn File>,
    pub(crate) store_id: StoreId,
    pub(crate) salt: u32,
    pub(crate) base: Seq,
    /// Sequence number of the last write before it.
    pub(crate) seq: Seq,
    pub(crate) at: u64,
    /// Check of the frame before it.
    pub(crate) link: u32,
}

impl LogEnd {
    /// The beginning of the same log.
    pub(crate) fn start(&self) -> LogEnd {
        LogEnd { file: Arc::clone(&self.file), at: HEADER_BYTES as u64, link: self.salt, seq: self.base, ..*self }
    }
}

/// Takes the place of the file of a log that does not exist yet: it is empty.
#[derive(Debug)]
struct NoFile;

impl Readable for NoFile {
    fn size(&self) -> io::Result<u64> {
        Ok(0)
    }
    fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<usize> {
        Ok(0)
    }
    fn drop_cache(&self) {}
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
    /// The end of the frames in the file.
    tail: Position,
    /// The length of the file with its reserved space. 0: not known.
    reserved: u64,
    /// Whether old bytes behind the tail may continue the chain: from an earlier session, or from a group that was
    /// taken back.
    resumed: bool,
    /// Whether reserving space has worked so far.
    may_reserve: bool,
    /// Frames that no group holds yet. They belong at `buffer_at`, behind the group that is being written.
    buffer: Vec<u8>,
    buffer_at: u64,
    /// The bytes of the group that is being written. They belong at `tail`.
    in_flight: Arc<Vec<u8>>,
    /// Check of the last frame, and whether this opening's OPENED mark precedes it.
    link: u32,
    opened: bool,
    /// Whether the last frame is a mark.
    proven: bool,
    /// The memory of the last group, for reuse.
    spare: Vec<u8>,
    /// Whether the last frame in the file is the mark of a clean close.
    marked_closed: bool,
}

impl Wal {
    /// Continues a log whose valid frames end at `tail` with the check `tail_link`.
    /// `marked_closed`: closing the log need not write a mark behind them.
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
            tail: Position { at: tail, link: tail_link, opened: false, proven: marked_closed },
            reserved: tail,
            resumed: true,
            may_reserve: true,
            buffer: Vec::new(),
            buffer_at: tail,
            in_flight: Arc::default(),
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

    /// Length of the file without its reserved space.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.tail.at
    }

    /// What the log's name must show while no group is being written. If reserving space has failed, only a lower bound
    /// of the length is known.
    pub(crate) fn expected(&self) -> FileState {
        let exact = (self.reserved >= self.tail.at).then_some(self.reserved);
        FileState { id: self.id, least: self.tail.at, exact, header: self.header, last: self.last }
    }

    /// Takes the place of the log in a store that has none yet. `file` is the file that has the name of the log, if
    /// any.
    pub(crate) fn not_begun(file: Option<Arc<dyn File>>, path: &Path, store_id: StoreId, base: Seq) -> Wal {
        let file = file.unwrap_or_else(|| Arc::new(ReadOnly(NoFile)));
        Wal { id: None, ..Wal::resume(file, path, Header { store_id, salt: 0, base }, 0, 0, true) }
    }

    /// Whether the log already ends with the mark of a clean close, or needs none.
    pub(crate) fn is_marked_closed(&self) -> bool {
        self.marked_closed && self.buffer.is_empty()
    }

    /// Bytes in the buffer.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Appends one frame to the buffer. Before the first one it appends the OPENED mark with `nonce`.
    pub(crate) fn append(&mut self, kind: Kind, seq: Seq, durable: Seq, nonce: impl FnOnce() -> u64, body: &Body<'_>) {
        self.append_opened(if kind == Kind::WRITE { seq - 1 } else { seq }, durable, nonce);
        self.frame(kind, seq, durable, body);
    }

    /// Appends the OPENED mark, unless this opening has one.
    fn append_opened(&mut self, last: Seq, durable: Seq, nonce: impl FnOnce() -> u64) {
        if !self.opened {
            self.opened = true;
            let nonce = nonce().to_le_bytes();
            self.frame(Kind::OPENED, last, durable, &Body::new(&nonce, self.header.salt));
        }
    }

    /// Makes the OPENED mark durable, behind write `last`. If the disk has no room for it, the first group does that.
    pub(crate) fn mark_opening(&mut self, last: Seq, nonce: impl Fn() -> u64) -> io::Result<()> {
        let before = self.position();
        self.append_opened(last, last, &nonce);
        let mut group = self.take();
        group.reserve = None;
        match group.write() {
            Ok(()) => self.complete(group),
            Err(WriteFailure { cause, torn: None }) if is_no_space(&cause) => self.take_back(group, before, nonce),
            Err(failure) => return Err(failure.cause),
        }
        Ok(())
    }

    /// Appends a zero byte if the file ends right behind a write, as after a failed write. So the next opening can tell
    /// it from a file that another program truncated. Best effort.
    pub(crate) fn leave_zero(&mut self) {
        let is_behind_write = self.tail.at > HEADER_BYTES as u64 && !self.tail.proven && self.buffer_at == self.tail.at;
        if is_behind_write && self.file.size().is_ok_and(|len| len == self.tail.at) {
            self.reserved = 0; // from now on only a lower bound of the length is known
            let _ = self.file.set_len(self.tail.at + 1);
        }
    }

    /// Whether the file ends with a write of this opening that no mark follows, and nothing waits to be written.
    pub(crate) fn needs_proof(&self) -> bool {
        self.tail.opened && !self.tail.proven && self.buffer.is_empty() && self.buffer_at == self.tail.at
    }

    /// A group that holds only a mark, behind write `last`, where all writes up to `last` are durable. Like every mark
    /// it begins a new chain. It is too short to reserve space for.
    pub(crate) fn take_proof(&mut self, last: Seq, nonce: u64) -> Group {
        self.frame(Kind::OPENED, last, last, &Body::new(&nonce.to_le_bytes(), self.header.salt));
        Group { reserve: None, ..self.take() }
    }

    fn frame(&mut self, kind: Kind, seq: Seq, durable: Seq, body: &Body<'_>) {
        self.proven = kind != Kind::WRITE;
        let place = Place { salt: self.header.salt, link: self.link, seq, durable };
        self.link = record::encode(&mut self.buffer, place, kind, body);
    }

    /// The end of the log, with the frames in the buffer.
    pub(crate) fn position(&self) -> Position {
        Position { at: self.buffer_at + self.buffer.len() as u64, link: self.link, opened: self.opened, proven: self.proven }
    }

    /// The body of `len` bytes that ends at `end`, in the buffer or in the group that is being written.
    pub(crate) fn body(&self, end: Position, len: usize) -> &[u8] {
        let (bytes, from) =
            if end.at <= self.buffer_at { (&*self.in_flight, self.tail.at) } else { (&self.buffer, self.buffer_at) };
        let end = usize::try_from(end.at - from).expect("in memory");
        &bytes[end - len..end]
    }

    /// The end of the frames in the file; the last write is `seq`. No group may be in flight.
    pub(crate) fn end(&self, seq: Seq) -> LogEnd {
        let Header { store_id, salt, base } = self.header;
        LogEnd { file: Arc::clone(&self.file), store_id, salt, base, seq, at: self.tail.at, link: self.tail.link }
    }

    /// Takes the buffer out as a group, to be written at the tail. It must come back by [`Wal::complete`] or
    /// [`Wal::take_back`] before the next one is taken.
    pub(crate) fn take(&mut self) -> Group {
        assert_eq!(self.buffer_at, self.tail.at, "one group at a time");
        let before = self.expected();
        let end = self.position();
        let mark_first = self.resumed && end.opened && !self.tail.opened;
        let step = (RESERVED_GROUPS * self.buffer.len() as u64).clamp(*RESERVE_BYTES.start(), *RESERVE_BYTES.end());
        let step = step.min(end.at.max(RESERVE_UNIT));
        let present_len = self.reserved.max(self.tail.at);
        let reserve = (self.may_reserve && end.at >= self.reserved && !self.buffer.is_empty())
            .then(|| (present_len, (end.at + step).next_multiple_of(RESERVE_UNIT)));
        self.buffer_at = end.at;
        self.in_flight = Arc::new(std::mem::replace(&mut self.buffer, std::mem::take(&mut self.spare)));
        Group {
            file: Arc::clone(&self.file),
            at: self.tail.at,
            bytes: Arc::clone(&self.in_flight),
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

    /// Undoes a group that could not be written. Its frames and those of the buffer up to `keep` become the buffer
    /// again, in a new chain; the frames behind `keep` are dropped. No byte of the failed write can continue the new
    /// chain.
    pub(crate) fn take_back(&mut self, group: Group, keep: Position, nonce: impl FnOnce() -> u64) {
        let mut bytes = self.bytes_of(group);
        bytes.append(&mut self.buffer);
        let kept = usize::try_from(keep.at.saturating_sub(self.tail.at)).expect("in memory");
        (self.buffer_at, self.link, self.proven) = (self.tail.at, self.tail.link, self.tail.proven);
        self.reserved = 0; // the file was truncated
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
        self.in_flight = Arc::default();
        Arc::into_inner(group.bytes).expect("no one else keeps a group")
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

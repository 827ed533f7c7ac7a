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
//! - A log is born whole: header written and synced as `<wal>.tmp`, renamed, directory synced. So a
//!   log with a broken header was never the work of a crash.
//! - `tail` is the end of what was handed to the operating system; nothing is ever written before it.
//! - A write that fails is taken back by cutting the file to `tail`, and the cut is synced, so that
//!   nothing of it is in the way of later frames or comes back; where even that fails, the log must
//!   not be written again.
//! - The first group written after an opening begins with an OPENED mark whose random body makes
//!   the chain of links new: what an earlier life left behind the tail can never continue it.

use crate::disk::{Disk, File, create_tmp, write_all_at};
use crate::error::{Error, Result};
use crate::magic::{LOG as MAGIC, describe};
use crate::record::{self, Kind, Place, crc, le32, le64};
use crate::{LOG_FORMAT, MAX_SEQ, Seq, StoreId, with_suffix};
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

/// A buffer that once held a large group is given back to the system above this size.
const KEEP_BUFFER_BYTES: usize = 4 << 20;

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

/// Where a buffer may be cut back to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mark {
    len: usize,
    link: u32,
    opened: bool,
}

/// Why a group was not written. The file was cut back to where it was, or `torn` says why not.
#[derive(Debug)]
pub(crate) struct WriteFailure {
    pub(crate) cause: io::Error,
    pub(crate) torn: Option<io::Error>,
}

/// An open log.
#[derive(Debug)]
pub(crate) struct Wal {
    file: Arc<dyn File>,
    path: PathBuf,
    header: Header,
    /// Where the next group goes; the length of the file.
    tail: u64,
    /// Check of the last frame in the file.
    tail_link: u32,
    /// Frames that are not written yet.
    buffer: Vec<u8>,
    /// Check of the last frame in the buffer, or `tail_link`.
    link: u32,
    /// Whether this opening's OPENED mark is in the buffer or in the file,
    opened: bool,
    /// and whether it is in the file.
    opened_in_file: bool,
    /// Whether the last frame in the file is the mark of an orderly close.
    marked_closed: bool,
}

impl Wal {
    /// Makes a new, empty log whose first write will be `base + 1`, and puts it durably in the
    /// place of whatever was at `path`.
    ///
    /// When the rename was done but the directory could not be synced, which log a power cut leaves
    /// is unknown: [`Error::Poisoned`].
    pub(crate) fn create(disk: &dyn Disk, path: &Path, store_id: StoreId, base: Seq) -> Result<Wal> {
        let salt = (disk.entropy() >> 32) as u32;
        let header = Header { store_id, salt, base };
        let tmp = with_suffix(path, ".tmp");
        let named = write_whole(disk, &tmp, &header.encode())
            .and_then(|file| disk.rename(&tmp, path).map(|()| file))
            .map_err(Error::io("no new log was begun, the old one is as it was: writing", &tmp));
        let file = named.inspect_err(|_| drop(disk.remove(&tmp)))?;
        disk.sync_dir(path).map_err(|e| Error::Poisoned {
            path: path.to_path_buf(),
            reason: format!("the directory could not be synced after a new log was put in place: {e}"),
            pending: 0,
        })?;
        Ok(Wal::resume(file, path, header, HEADER_BYTES as u64, salt, true))
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
        let path = path.to_path_buf();
        Wal {
            marked_closed,
            file,
            path,
            header,
            tail,
            tail_link,
            buffer: Vec::new(),
            link: tail_link,
            opened: false,
            opened_in_file: false,
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn store_id(&self) -> StoreId {
        self.header.store_id
    }

    /// Length of the file.
    pub(crate) fn len_bytes(&self) -> u64 {
        self.tail
    }

    /// Whether the mark of an orderly close would say nothing new.
    pub(crate) fn is_marked_closed(&self) -> bool {
        self.marked_closed && self.buffer.is_empty()
    }

    /// Length of what waits to be written.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.buffer.len()
    }

    /// Appends one frame to the buffer; before the first one, the OPENED mark with `nonce`.
    pub(crate) fn append(
        &mut self,
        kind: Kind,
        seq: Seq,
        durable: Seq,
        nonce: impl FnOnce() -> u64,
        body: impl FnOnce(&mut Vec<u8>),
    ) {
        if !self.opened {
            self.opened = true;
            let before = if kind == Kind::WRITE { seq - 1 } else { seq };
            self.frame(Kind::OPENED, before, durable, |out| out.extend_from_slice(&nonce().to_le_bytes()));
        }
        self.frame(kind, seq, durable, body);
    }

    fn frame(&mut self, kind: Kind, seq: Seq, durable: Seq, body: impl FnOnce(&mut Vec<u8>)) {
        let place = Place { salt: self.header.salt, link: self.link, seq, durable };
        self.link = record::encode(&mut self.buffer, place, kind, body);
    }

    /// The present end of the buffer.
    pub(crate) fn mark(&self) -> Mark {
        Mark { len: self.buffer.len(), link: self.link, opened: self.opened }
    }

    /// Forgets what was appended to the buffer after `mark` was taken.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.buffer.truncate(mark.len);
        self.link = mark.link;
        self.opened = mark.opened;
    }

    /// The mark of an empty buffer.
    pub(crate) fn start(&self) -> Mark {
        Mark { len: 0, link: self.tail_link, opened: self.opened_in_file }
    }

    /// Hands the buffer to the operating system in one write. On failure the file is durably as
    /// long as before, and the buffer keeps its frames. All before `tail` must be synced.
    pub(crate) fn write(&mut self) -> std::result::Result<u64, WriteFailure> {
        if let Err(cause) = write_all_at(&*self.file, self.tail, &self.buffer) {
            // Synced, or a power cut could bring back whole records of a write that was refused.
            let torn = self.file.set_len(self.tail).and_then(|()| self.file.sync()).err();
            return Err(WriteFailure { cause, torn });
        }
        let written = self.buffer.len() as u64;
        self.tail += written;
        self.tail_link = self.link;
        self.opened_in_file = self.opened;
        self.marked_closed = false;
        self.buffer.clear();
        self.buffer.shrink_to(KEEP_BUFFER_BYTES);
        Ok(written)
    }

    /// The file to sync; taken under the lock, used outside of it. Covers what was written so far.
    pub(crate) fn ticket(&self) -> Arc<dyn File> {
        Arc::clone(&self.file)
    }
}

/// Writes `bytes` as the new file `tmp`, synced.
fn write_whole(disk: &dyn Disk, tmp: &Path, bytes: &[u8]) -> io::Result<Arc<dyn File>> {
    let file = create_tmp(disk, tmp)?;
    write_all_at(&*file, 0, bytes)?;
    file.sync()?;
    Ok(file)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    const ID: StoreId = StoreId(*b"sixteen bytes id");

    #[test]
    fn the_bytes_of_a_header_are_pinned_and_read_back() {
        let header = Header { store_id: ID, salt: 0x0403_0201, base: 7 };
        let bytes = header.encode();
        assert_eq!(bytes[..8], *b"\x89kvwal\r\n");
        assert_eq!(bytes[8..44], *b"\x01\0\0\0sixteen bytes id\x01\x02\x03\x04\x07\0\0\0\0\0\0\0\0\0\0\0");
        let path = Path::new("log");
        assert_eq!(Header::decode(path, &bytes).unwrap(), header);
        let last = Header { base: MAX_SEQ, ..header };
        assert_eq!(Header::decode(path, &last.encode()).unwrap(), last);
        let beyond = Header { base: MAX_SEQ + 1, ..header };
        assert!(matches!(Header::decode(path, &beyond.encode()), Err(Error::Version { .. })));
        for len in 0..HEADER_BYTES {
            let error = Header::decode(path, &bytes[..len]).unwrap_err();
            assert!(matches!(error, Error::Damaged { offset, .. } if offset == len as u64), "{len}: {error}");
        }
    }

    #[test]
    fn what_is_taken_back_leaves_no_byte_and_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut wal = Wal::create(&OsDisk, &path, ID, 0).unwrap();
        assert!(wal.is_marked_closed(), "nothing was written, so there is nothing to say");
        assert_eq!((wal.len_bytes(), wal.buffered_bytes(), wal.path(), wal.store_id()), (64, 0, &*path, ID));
        let put = |wal: &mut Wal, seq| wal.append(Kind::WRITE, seq, 0, || 9, |out| out.extend_from_slice(b"body"));
        let start = wal.mark();
        put(&mut wal, 1);
        assert!(!wal.is_marked_closed());
        let (first, one) = (wal.mark(), wal.buffer.clone());
        put(&mut wal, 2);
        let both = wal.buffer.clone();
        wal.rewind(first);
        assert_eq!(wal.buffer, one);
        put(&mut wal, 2);
        assert_eq!(wal.buffer, both, "the same frame again");
        wal.rewind(start);
        put(&mut wal, 1);
        assert_eq!(wal.buffer, one, "with the mark of the opening again");
        assert_eq!(wal.write().unwrap(), one.len() as u64);
        assert_eq!((wal.len_bytes(), wal.buffered_bytes()), (64 + one.len() as u64, 0));
        assert!(!wal.is_marked_closed());
        put(&mut wal, 2);
        wal.rewind(wal.start());
        assert_eq!(wal.buffered_bytes(), 0);
        put(&mut wal, 2);
        assert_eq!(wal.buffer, both[one.len()..], "no second mark of the opening");
        wal.write().unwrap();
        assert_eq!(std::fs::read(&path).unwrap()[64..], both);
        assert!(create_tmp(&OsDisk, &with_suffix(&path, ".tmp")).is_ok());
    }

    #[test]
    fn the_memory_of_a_large_group_is_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut wal = Wal::create(&OsDisk, &dir.path().join("log"), ID, 0).unwrap();
        for (size, most) in [(9 << 20, KEEP_BUFFER_BYTES), (1 << 20, KEEP_BUFFER_BYTES)] {
            wal.append(Kind::WRITE, 1, 0, || 9, |out| out.resize(out.len() + size, 0));
            wal.write().unwrap();
            assert!((1 << 20..=most).contains(&wal.buffer.capacity()), "{}", wal.buffer.capacity());
        }
    }
}

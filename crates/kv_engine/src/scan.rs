//! Reads frames back, in order. At the first bad frame it gathers what is needed to decide: torn write or damage.
//!
//! A power cut may leave any of the bytes written since the last sync: none, all, or a part, in any order. So a bad
//! frame alone proves nothing. The question is whether it had been *promised*: whether a sync that covers it had ended.
//! At a bad frame where write `q` is expected, the rest of the file is searched ([`Frames::look_beyond`]) for whole
//! frames of this file that were made after `q` was synced:
//!
//! | found | verdict | because |
//! |---|---|---|
//! | a later whole frame with `durable ≥ q` | damaged | `q` had been synced when it was made |
//! | a later OPENED mark | damaged | opening syncs the log before it writes its mark; an idle store writes it when everything is durable already |
//! | a snapshot that holds `q` | damaged | the log is synced before a snapshot is taken |
//! | anything else | torn | no sync that covers `q` is known to have ended |
//!
//! Zeros from the reader's position to the end of the file are the end of a log: reserved space, and bytes of writes
//! that were lost.
//!
//! Limit: damage in the last synced group looks like a torn write if nothing follows the group. But a clean close
//! writes a mark behind the last group, and so does a store that is idle or was flushed. So the gap is open only if the
//! process is killed in the moment before that mark. Damage in the mark itself also looks torn, but a mark holds no
//! write.

mod body;
mod range_crcs;
mod salt;
mod search;

pub(crate) use body::body_holds;
pub(crate) use salt::find_salt;

use crate::disk::{File, ReadMode, Window};
use crate::error::{Error, Result};
use crate::record::{self, Fault, HEADER_BYTES, Header, Kind};
use crate::{LOG_FORMAT, Seq};
use range_crcs::RangeCrcs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Reads the frames of a file, one after the other.
pub(crate) struct Frames {
    window: Window,
    /// Used by the search behind a bad frame.
    crcs: Option<RangeCrcs>,
    /// Whether this program is writing the file. Then the lengths in it can be trusted.
    ours: bool,
    path: PathBuf,
    /// The kind whose frames are numbered: writes in a log, entries in a snapshot.
    numbered: Kind,
    salt: u32,
    offset: u64,
    link: u32,
    last: Seq,
}

/// One valid frame.
#[derive(Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) offset: u64,
    pub(crate) header: Header,
    pub(crate) body: &'a [u8],
}

/// The frame at the reader's position, or why there is none.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    Frame(Frame<'a>),
    Bad(Fault),
    End,
}

impl Frame<'_> {
    pub(crate) fn bytes(&self) -> u64 {
        Frame::len_of(&self.header)
    }

    /// Length of a frame with this head.
    fn len_of(header: &Header) -> u64 {
        (HEADER_BYTES + header.body_len) as u64
    }
}

impl Frames {
    /// Starts at `offset` of `file`. The frames of the kind `numbered` continue with number `base + 1`.
    pub(crate) fn new(file: Arc<dyn File>, path: &Path, numbered: Kind, salt: u32, offset: u64, base: Seq) -> Result<Frames> {
        let window = Window::new(file).map_err(Error::io("reading", path))?;
        Ok(Frames { window, crcs: None, ours: false, path: path.to_path_buf(), numbered, salt, offset, link: salt, last: base })
    }

    /// For a file that this program is writing: each long body is read once, not twice.
    pub(crate) fn of_ours(self) -> Frames {
        Frames { ours: true, ..self }
    }

    /// Starts inside the chain: the first frame must follow the one with the check `link`.
    pub(crate) fn behind(self, link: u32) -> Frames {
        Frames { link, ..self }
    }

    /// Lets another thread read ahead, in steps of this many bytes. With 0, no thread does.
    pub(crate) fn read_ahead(&mut self, step_bytes: usize, mode: ReadMode) {
        if step_bytes > 0 {
            self.window.read_ahead(self.offset, step_bytes, mode);
        }
    }

    /// Where the next frame must begin.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Check of the last valid frame.
    pub(crate) fn link(&self) -> u32 {
        self.link
    }

    /// Sequence number of the last valid write.
    pub(crate) fn last(&self) -> Seq {
        self.last
    }

    /// Length of the file.
    pub(crate) fn file_len(&self) -> u64 {
        self.window.len()
    }

    /// The next frame, which must continue the chain. The reader moves only past a valid frame.
    ///
    /// A failed read is an error, and so is a kind of frame that only a newer program knows. Neither may be taken for
    /// the end of the log.
    pub(crate) fn next(&mut self) -> Result<Next<'_>> {
        if self.offset >= self.window.len() {
            return Ok(Next::End);
        }
        let offset = self.offset;
        let header = match self.header_at(offset)? {
            Ok(header) => header,
            // The file turned out to be shorter: its length was not known before, or another program truncated it.
            Err(_) if offset >= self.window.len() => return Ok(Next::End),
            // Reserved space, or bytes that a power cut lost before a sync promised them.
            Err(_) if self.numbered == Kind::WRITE && self.content_end()? == offset => return Ok(Next::End),
            Err(fault) => return Ok(Next::Bad(fault)),
        };
        if header.link != self.link {
            return Ok(Next::Bad(Fault::Chain));
        }
        let expected = match header.kind {
            kind if kind == self.numbered => self.last + 1,
            Kind::OPENED | Kind::CLOSED if self.numbered == Kind::WRITE => self.last,
            Kind::INDEX if self.numbered == Kind::ENTRIES => self.last,
            kind => return Err(self.unknown(kind)),
        };
        if header.seq != expected || header.durable > header.seq {
            return Ok(Next::Bad(Fault::Sequence));
        }
        if let Err(fault) = self.body_at(offset, &header)? {
            return Ok(Next::Bad(fault));
        }
        self.offset = offset + Frame::len_of(&header);
        self.link = header.check;
        self.last = header.seq;
        let body = self.body(offset, &header)?;
        Ok(Next::Frame(Frame { offset, header, body }))
    }

    fn header_at(&mut self, offset: u64) -> Result<std::result::Result<Header, Fault>> {
        let salt = self.salt;
        Ok(record::decode_header(self.read(offset, HEADER_BYTES)?, salt))
    }

    /// Reads the body that belongs to a head, and checks it.
    fn body_at(&mut self, offset: u64, header: &Header) -> Result<std::result::Result<(), Fault>> {
        let salt = self.salt;
        if self.window.len().saturating_sub(offset) < Frame::len_of(header) {
            return Ok(Err(Fault::Short));
        }
        // A long body gets memory only when it is known to be whole.
        if header.body_len > body::READ_BYTES && !self.ours {
            let at = offset + HEADER_BYTES as u64;
            let holds = body_holds(&**self.window.file(), at, header, salt).map_err(Error::io("reading", &self.path))?;
            if holds.is_err() {
                return Ok(holds);
            }
        }
        Ok(record::check_body(header, salt, self.body(offset, header)?))
    }

    fn body(&mut self, offset: u64, header: &Header) -> Result<&[u8]> {
        self.read(offset, HEADER_BYTES + header.body_len).map(|frame| frame.get(HEADER_BYTES..).unwrap_or_default())
    }

    /// Where the zeros at the end of the file begin; not before the reader's position.
    pub(crate) fn content_end(&mut self) -> Result<u64> {
        const STEP_BYTES: u64 = 1 << 20;
        let mut end = self.window.len();
        while end > self.offset {
            let from = end.saturating_sub(STEP_BYTES).max(self.offset);
            let count = usize::try_from(end - from).expect("a step");
            let zeros = self.read(from, count)?.iter().rev().take_while(|&&byte| byte == 0).count();
            end -= zeros as u64;
            if zeros < count {
                break;
            }
        }
        Ok(end.max(self.offset))
    }

    fn read(&mut self, offset: u64, count: usize) -> Result<&[u8]> {
        self.window.get(offset, count).map_err(Error::io("reading", &self.path))
    }

    fn unknown(&self, kind: Kind) -> Error {
        let found = format!("a record of kind {} at byte {}", kind.number(), self.offset);
        Error::Version { path: self.path.clone(), found, supported: LOG_FORMAT }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! Reading frames back, and the verdict on a place where they stop: torn or damaged.
//!
//! A power cut may leave any of the bytes written since the last sync: none, all, a part, in any
//! order. So the first bad frame says nothing by itself; the question is whether it had been
//! *promised*. At a bad frame where write `q` should stand, the rest of the file is searched for
//! frames that are whole, of this file, and made after the log was known synced past `q`:
//!
//! | what is found | verdict | because |
//! |---|---|---|
//! | a later whole frame with `durable ≥ q` | damaged | `q` had been synced when it was made |
//! | a later OPENED mark | damaged | opening syncs the log, and only then writes its mark |
//! | a snapshot that holds `q` | damaged | the log is synced before a snapshot is taken |
//! | anything else | torn | no sync that covers `q` is known to have ended |
//!
//! Zeros from the reader's place to the end of the file are the end of a log: space that was reserved for
//! what was to come, and what a lost write leaves of it.
//!
//! What this cannot see: rot inside the last synced group with nothing after it looks torn. A clean
//! close writes a mark behind the last group and so closes that gap.

use crate::disk::{File, Window};
use crate::error::{Error, Result};
use crate::record::{self, Fault, HEADER_BYTES, Header, Kind};
use crate::{LOG_FORMAT, Seq};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Walks over the frames of a file.
pub(crate) struct Frames {
    window: Window,
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

/// What stands at the reader's place.
#[derive(Debug)]
pub(crate) enum Next<'a> {
    Frame(Frame<'a>),
    Bad(Fault),
    End,
}

/// What was found behind a bad frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// Whole frames of this file.
    pub(crate) whole: u64,
    /// The highest sequence number among them.
    pub(crate) last: Seq,
    /// Offset and sequence number of the first frame that proves that the bad one had been synced.
    pub(crate) witness: Option<(u64, Seq)>,
    /// The last write that is proven to have been synced.
    pub(crate) promised: Seq,
}

impl Frames {
    /// Starts at `offset` of `file`, behind number `base` of the kind of frame that is `numbered`.
    pub(crate) fn new(file: Arc<dyn File>, path: &Path, numbered: Kind, salt: u32, offset: u64, base: Seq) -> Result<Frames> {
        let window = Window::new(file).map_err(Error::io("reading", path))?;
        Ok(Frames { window, path: path.to_path_buf(), numbered, salt, offset, link: salt, last: base })
    }

    /// Expects a frame that follows the one with the check `link`, which is not the first of the file.
    pub(crate) fn behind(self, link: u32) -> Frames {
        Frames { link, ..self }
    }

    /// Where the next frame should begin.
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

    /// The next frame, which must continue the chain. Does not move past anything but a valid one.
    ///
    /// A read error, or a kind of frame that only a newer program knows, is an error: neither may
    /// be taken for the end of the log.
    pub(crate) fn next(&mut self) -> Result<Next<'_>> {
        if self.offset >= self.window.len() {
            return Ok(Next::End);
        }
        let offset = self.offset;
        let header = match self.header_at(offset)? {
            Ok(header) => header,
            // Space that was reserved, and bytes that never arrived, which nobody was promised.
            Err(_) if self.numbered == Kind::WRITE && self.content_end()? == offset => return Ok(Next::End),
            Err(fault) => return Ok(Next::Bad(fault)),
        };
        if header.link != self.link {
            return Ok(Next::Bad(Fault::Chain));
        }
        let expected = match header.kind {
            kind if kind == self.numbered => self.last + 1,
            Kind::OPENED | Kind::CLOSED if self.numbered == Kind::WRITE => self.last,
            kind => return Err(self.unknown(kind)),
        };
        if header.seq != expected || header.durable > header.seq {
            return Ok(Next::Bad(Fault::Sequence));
        }
        if let Err(fault) = self.body_at(offset, &header)? {
            return Ok(Next::Bad(fault));
        }
        self.offset = offset + frame_len(&header);
        self.link = header.check;
        self.last = header.seq;
        let body = self.body(offset, &header)?;
        Ok(Next::Frame(Frame { offset, header, body }))
    }

    /// Searches for whole frames behind the bad one at the reader's place. Nothing found here is
    /// ever applied; it only decides the verdict, and is counted. `each` sees every one of them.
    pub(crate) fn look_beyond(&mut self, mut each: impl FnMut(Frame<'_>)) -> Result<Beyond> {
        let expected = self.last + 1;
        let mut beyond = Beyond::default();
        let mut offset = match self.header_at(self.offset)? {
            Ok(header) if self.body_at(self.offset, &header)?.is_ok() => self.offset, // whole, but not the one due
            Ok(header) if header.link == self.link => self.offset + frame_len(&header), // its length can be believed
            // No frame, or the head of one that belongs elsewhere: its length says nothing about this place.
            _ => self.offset + 1,
        };
        // Records are not shorter than their heads, which bounds how many there can be.
        let most = expected.saturating_add(self.window.len().saturating_sub(self.offset) / HEADER_BYTES as u64);
        while let Some((at, header)) = self.find_from(offset, self.last..=most)? {
            let proven = if header.kind == Kind::OPENED { header.seq } else { header.durable };
            if header.kind == Kind::OPENED || proven >= expected {
                beyond.witness = beyond.witness.or(Some((at, header.seq)));
                beyond.promised = beyond.promised.max(proven);
            }
            beyond.whole += 1;
            beyond.last = beyond.last.max(header.seq);
            let body = self.body(at, &header)?;
            each(Frame { offset: at, header, body });
            offset = at + frame_len(&header);
        }
        Ok(beyond)
    }

    /// The first whole frame of this file at `offset` or later whose sequence number is in `range`.
    fn find_from(&mut self, mut offset: u64, range: RangeInclusive<Seq>) -> Result<Option<(u64, Header)>> {
        const STEP_BYTES: usize = 256 << 10;
        loop {
            let bytes = self.read(offset, STEP_BYTES + HEADER_BYTES - 1)?;
            let candidate = (0..bytes.len().saturating_sub(HEADER_BYTES - 1))
                .find(|&at| record::glance_seq(&bytes[at..]).is_some_and(|seq| range.contains(&seq)));
            let Some(at) = candidate else {
                if bytes.len() < STEP_BYTES + HEADER_BYTES - 1 {
                    return Ok(None);
                }
                offset += STEP_BYTES as u64;
                continue;
            };
            offset += at as u64;
            if let Ok(header) = self.header_at(offset)?
                && self.body_at(offset, &header)?.is_ok()
            {
                return Ok(Some((offset, header)));
            }
            offset += 1;
        }
    }

    fn header_at(&mut self, offset: u64) -> Result<std::result::Result<Header, Fault>> {
        let salt = self.salt;
        Ok(record::decode_header(self.read(offset, HEADER_BYTES)?, salt))
    }

    fn body_at(&mut self, offset: u64, header: &Header) -> Result<std::result::Result<(), Fault>> {
        let salt = self.salt;
        // A length that reaches beyond the file costs no memory: a window never does.
        Ok(record::check_body(header, salt, self.body(offset, header)?))
    }

    fn body(&mut self, offset: u64, header: &Header) -> Result<&[u8]> {
        self.read(offset, HEADER_BYTES + header.body_len).map(|frame| frame.get(HEADER_BYTES..).unwrap_or_default())
    }

    /// Where the zeros begin that the file ends with; not before the reader's place.
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

fn frame_len(header: &Header) -> u64 {
    (HEADER_BYTES + header.body_len) as u64
}

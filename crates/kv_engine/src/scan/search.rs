//! The search for whole frames behind a bad one. It decides whether the bad one is torn or damaged (table: head of
//! `scan.rs`).
//!
//! Every byte may be the first of a frame. A look at a few bytes of the head rules out most of them. A head whose
//! checksum holds is followed by a check of its body.

use super::range_crcs::RangeCrcs;
use super::{Frame, Frames, body};
use crate::Seq;
use crate::error::{Error, Result};
use crate::record::{self, HEADER_BYTES, Header, Kind};
use std::ops::RangeInclusive;
use std::sync::Arc;

/// What the search behind a bad frame found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Beyond {
    /// Whole frames of this file.
    pub(crate) whole: u64,
    /// The highest sequence number among them.
    pub(crate) last: Seq,
    /// The first frame that proves that the bad one had been synced: its offset and sequence number.
    pub(crate) witness: Option<(u64, Seq)>,
    /// The last write that is proven to have been synced.
    pub(crate) promised: Seq,
}

impl Frames {
    /// Searches for whole frames behind the bad one at the reader's position, and calls `each` with each of them. No
    /// frame that is found here is ever replayed. It decides the verdict, and is counted.
    pub(crate) fn look_beyond(&mut self, mut each: impl FnMut(Frame<'_>)) -> Result<Beyond> {
        let expected = self.last + 1;
        let mut beyond = Beyond::default();
        let mut offset = match self.header_at(self.offset)? {
            // The length of a head that continues the chain can be trusted. Another head belongs elsewhere.
            Ok(header) if header.link == self.link && self.body_at(self.offset, &header)?.is_err() => {
                self.offset + Frame::len_of(&header)
            }
            _ => self.offset, // a whole frame, but not the one expected; or nothing of it can be trusted
        };
        // No record is shorter than its head, which bounds the number of records.
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
            offset = at + Frame::len_of(&header);
        }
        Ok(beyond)
    }

    /// The first whole frame of this file at `offset` or later whose sequence number is in `range`.
    fn find_from(&mut self, mut offset: u64, range: RangeInclusive<Seq>) -> Result<Option<(u64, Header)>> {
        const STEP_BYTES: usize = 256 << 10;
        loop {
            let mut heads = self.read(offset, STEP_BYTES)?.windows(HEADER_BYTES);
            let count = heads.len() as u64;
            let may_be = |head: &[u8]| !record::is_blank(head) && range.contains(&record::peek_seq(head));
            let Some(at) = heads.position(may_be) else {
                if count == 0 {
                    return Ok(None);
                }
                offset += count;
                continue;
            };
            offset += at as u64;
            if let Ok(header) = self.header_at(offset)?
                && self.may_be_whole(offset, &header)?
                && self.body_at(offset, &header)?.is_ok()
            {
                return Ok(Some((offset, header)));
            }
            offset += 1;
        }
    }

    /// Whether the body that belongs to a head passes its checksum, in time that does not grow with its length. So many
    /// heads that claim the same bytes do not slow the search down.
    fn may_be_whole(&mut self, offset: u64, header: &Header) -> Result<bool> {
        let (from, to) = (offset + HEADER_BYTES as u64, offset + Frame::len_of(header));
        if to > self.window.len() || header.body_len <= body::SHORT_BYTES {
            return Ok(to <= self.window.len());
        }
        let (file, start) = (self.window.file(), self.offset);
        let crcs = self.crcs.get_or_insert_with(|| RangeCrcs::new(Arc::clone(file), start));
        let crc = crcs.of(from..to, self.salt).map_err(Error::io("reading", &self.path))?;
        Ok(crc == Some(header.body_check))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

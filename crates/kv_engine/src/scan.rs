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
//! | a later OPENED mark | damaged | opening syncs the log, and only then writes its mark; so does a store that is idle |
//! | a snapshot that holds `q` | damaged | the log is synced before a snapshot is taken |
//! | anything else | torn | no sync that covers `q` is known to have ended |
//!
//! Zeros from the reader's place to the end of the file are the end of a log: space that was reserved for
//! what was to come, and what a lost write leaves of it.
//!
//! What this cannot see: rot inside the last synced group with nothing after it looks torn. A clean
//! close writes a mark behind the last group, and so does a store in which nobody writes, or that was flushed: only where
//! the process is killed within that moment is the gap open. Rot in such a mark looks torn too; it holds no write.

mod body;
mod salt;
mod sums;

pub(crate) use body::body_holds;
pub(crate) use salt::find_salt;

use crate::disk::{File, Way, Window};
use crate::error::{Error, Result};
use crate::record::{self, Fault, HEADER_BYTES, Header, Kind};
use crate::{LOG_FORMAT, Seq};
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use sums::Sums;

/// Walks over the frames of a file.
pub(crate) struct Frames {
    window: Window,
    /// For the search behind a bad frame.
    sums: Option<Sums>,
    /// Whether this program wrote the file a moment ago: then its lengths can be believed.
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
    /// Starts at `offset` of `file`, behind number `base` of the kind of frame that is `numbered`.
    pub(crate) fn new(file: Arc<dyn File>, path: &Path, numbered: Kind, salt: u32, offset: u64, base: Seq) -> Result<Frames> {
        let window = Window::new(file).map_err(Error::io("reading", path))?;
        Ok(Frames { window, sums: None, ours: false, path: path.to_path_buf(), numbered, salt, offset, link: salt, last: base })
    }

    /// Of a file that this program has just written, each long body is read once, not twice.
    pub(crate) fn of_ours(self) -> Frames {
        Frames { ours: true, ..self }
    }

    /// Expects a frame that follows the one with the check `link`, which is not the first of the file.
    pub(crate) fn behind(self, link: u32) -> Frames {
        Frames { link, ..self }
    }

    /// Lets another thread read ahead of the reader, so many bytes at once; with 0 none does.
    pub(crate) fn read_ahead(&mut self, step_bytes: usize, way: Way) {
        if step_bytes > 0 {
            self.window.read_ahead(self.offset, step_bytes, way);
        }
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
            // Nobody knew how long it is, or it was cut.
            Err(_) if offset >= self.window.len() => return Ok(Next::End),
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

    /// Searches for whole frames behind the bad one at the reader's place. Nothing found here is
    /// ever applied; it only decides the verdict, and is counted. `each` sees every one of them.
    pub(crate) fn look_beyond(&mut self, mut each: impl FnMut(Frame<'_>)) -> Result<Beyond> {
        let expected = self.last + 1;
        let mut beyond = Beyond::default();
        let mut offset = match self.header_at(self.offset)? {
            // Its length can be believed where it continues the chain: else it belongs elsewhere.
            Ok(header) if header.link == self.link && self.body_at(self.offset, &header)?.is_err() => {
                self.offset + Frame::len_of(&header)
            }
            _ => self.offset, // whole, but not the one due; or nothing of it can be believed
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
            let may_be = |head: &[u8]| !record::is_blank(head) && range.contains(&record::glance_seq(head));
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
        // What is long gets memory when it is known to be whole.
        if header.body_len > body::READ_BYTES && !self.ours {
            let at = offset + HEADER_BYTES as u64;
            let holds = body_holds(&**self.window.file(), at, header, salt).map_err(Error::io("reading", &self.path))?;
            if holds.is_err() {
                return Ok(holds);
            }
        }
        Ok(record::check_body(header, salt, self.body(offset, header)?))
    }

    /// Whether the body that belongs to a head holds, found out in time that does not grow with its length: heads that
    /// claim the same bytes again and again make no search long.
    fn may_be_whole(&mut self, offset: u64, header: &Header) -> Result<bool> {
        let (from, to) = (offset + HEADER_BYTES as u64, offset + Frame::len_of(header));
        if to > self.window.len() || header.body_len <= body::SHORT_BYTES {
            return Ok(to <= self.window.len());
        }
        let (file, start) = (self.window.file(), self.offset);
        let sums = self.sums.get_or_insert_with(|| Sums::new(Arc::clone(file), start));
        let sum = sums.of(from..to, self.salt).map_err(Error::io("reading", &self.path))?;
        Ok(sum == Some(header.body_check))
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

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod search {
    mod tests;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::{Disk, OsDisk};
    use crate::record::Body;
    use crate::record::Place;

    pub(super) const SALT: u32 = 0x5a17_5a17;
    /// Not a byte of any frame's head that could be one of the sequence numbers used here.
    const JUNK: u8 = 0xee;

    /// A file of frames in the making.
    pub(super) struct Made {
        pub(super) bytes: Vec<u8>,
        link: u32,
    }

    impl Made {
        pub(super) fn new() -> Made {
            Made { bytes: Vec::new(), link: SALT }
        }

        /// Appends one frame; returns where it begins.
        pub(super) fn frame(&mut self, kind: Kind, seq: Seq, durable: Seq, body: &[u8]) -> u64 {
            let at = self.bytes.len() as u64;
            let place = Place { salt: SALT, link: self.link, seq, durable };
            self.link = record::encode(&mut self.bytes, place, kind, &Body::new(body, SALT));
            at
        }

        fn write(&mut self, seq: Seq, durable: Seq) -> u64 {
            self.frame(Kind::WRITE, seq, durable, b"body")
        }

        pub(super) fn junk(&mut self, count: usize) {
            self.bytes.extend(std::iter::repeat_n(JUNK, count));
        }

        /// The frames of these bytes, behind number `last`; the first of them is due at `at`.
        fn frames_of(&self, kind: Kind, at: u64, last: Seq) -> Frames {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("frames");
            std::fs::write(&path, &self.bytes).unwrap();
            let file = OsDisk.open_read(&path).unwrap().unwrap();
            Frames::new(file, &path, kind, SALT, at, last).unwrap()
        }

        pub(super) fn frames(&self) -> Frames {
            self.frames_of(Kind::WRITE, 0, 0)
        }

        /// What is found behind the place where number `last + 1` should begin and does not.
        pub(super) fn beyond(&self, at: u64, last: Seq) -> Beyond {
            self.frames_of(Kind::WRITE, at, last).look_beyond(|_| {}).unwrap()
        }
    }

    /// Reads on to the first place that is not a frame.
    pub(super) fn fault(frames: &mut Frames) -> Option<Fault> {
        loop {
            match frames.next().unwrap() {
                Next::Frame(_) => {}
                Next::Bad(fault) => return Some(fault),
                Next::End => return None,
            }
        }
    }

    #[test]
    fn frames_come_in_order_and_the_reader_stands_behind_the_last_good_one() {
        let mut made = Made::new();
        made.frame(Kind::OPENED, 0, 0, b"12345678");
        let first = made.write(1, 0);
        let second = made.frame(Kind::WRITE, 2, 1, b"");
        made.frame(Kind::CLOSED, 2, 2, b"");
        let (end, link) = (made.bytes.len() as u64, made.link);
        made.junk(5);
        let mut frames = made.frames();
        let mut seen = Vec::new();
        while let Next::Frame(frame) = frames.next().unwrap() {
            seen.push((frame.offset, frame.header.seq, frame.body.to_vec()));
        }
        assert_eq!(seen[1..3], [(first, 1, b"body".to_vec()), (second, 2, vec![])]);
        assert_eq!((seen.len(), frames.offset(), frames.last(), frames.link()), (4, end, 2, link));
        assert_eq!(frames.file_len(), end + 5);
        assert!(matches!(frames.next().unwrap(), Next::Bad(Fault::Short)), "it does not move past a bad one");
        assert!(matches!(Made::new().frames().next().unwrap(), Next::End));
    }

    /// A file of which nobody knows yet how long it becomes.
    #[derive(Debug)]
    struct Endless(Arc<dyn File>);

    impl crate::disk::Readable for Endless {
        fn size(&self) -> std::io::Result<u64> {
            Ok(u64::MAX)
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> std::io::Result<usize> {
            self.0.read_at(offset, out)
        }
        fn drop_cache(&self) {}
    }

    #[test]
    fn an_end_that_shows_only_when_it_is_reached_is_the_end() {
        let mut made = Made::new();
        for seq in 1..=3 {
            made.frame(Kind::ENTRIES, seq, 0, b"body");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames");
        std::fs::write(&path, &made.bytes).unwrap();
        for step in [made.bytes.len(), made.bytes.len() / 3, 7, 1 << 20] {
            let file = Endless(OsDisk.open_read(&path).unwrap().unwrap());
            let file = Arc::new(crate::disk::ReadOnly(file));
            let mut frames = Frames::new(file, &path, Kind::ENTRIES, SALT, 0, 0).unwrap();
            frames.read_ahead(step, Way::ThroughCache);
            assert_eq!((fault(&mut frames), frames.last()), (None, 3), "{step} bytes at once");
        }
    }

    #[test]
    fn zeros_at_the_end_are_counted_in_any_number() {
        for (zeros, junk) in [(0, 0), (5, 0), (1 << 20, 1), (3 << 20, 0), (3 << 20, 1 << 20)] {
            let mut made = Made::new();
            made.write(1, 0);
            made.junk(junk);
            let end = made.bytes.len() as u64;
            made.bytes.extend(vec![0; zeros]);
            let mut frames = made.frames();
            assert_eq!(frames.content_end().unwrap(), end);
            assert_eq!(fault(&mut frames).is_some(), junk > 0);
        }
    }

    #[test]
    fn a_frame_that_does_not_continue_the_numbers_is_bad() {
        for (seq, durable, good) in [(3, 2, true), (3, 3, true), (3, 4, false), (2, 0, false), (4, 0, false)] {
            let mut made = Made::new();
            made.write(1, 0);
            made.write(2, 0);
            made.write(seq, durable);
            let expected = (!good).then_some(Fault::Sequence);
            assert_eq!(fault(&mut made.frames()), expected, "{seq} {durable}");
        }
        for (kind, seq) in [(Kind::OPENED, 2), (Kind::CLOSED, 2), (Kind::OPENED, 0), (Kind::CLOSED, 0)] {
            let mut made = Made::new();
            made.write(1, 0);
            made.frame(kind, seq, 0, b"");
            assert_eq!(fault(&mut made.frames()), Some(Fault::Sequence), "a mark carries the number of the write before it");
        }
        let mut made = Made::new();
        made.write(1, 0);
        made.link ^= 1;
        made.write(2, 0);
        assert_eq!(fault(&mut made.frames()), Some(Fault::Chain));
    }

    #[test]
    fn a_kind_that_has_no_place_in_the_file_is_an_error_and_not_the_end() {
        let in_a_log = [Kind::ENTRIES, Kind::INDEX].map(|kind| (Kind::WRITE, kind));
        let in_a_snapshot = [Kind::WRITE, Kind::OPENED].map(|kind| (Kind::ENTRIES, kind));
        for ((numbered, kind), seq) in in_a_log.into_iter().chain(in_a_snapshot).flat_map(|each| [(each, 0), (each, 1)]) {
            let mut made = Made::new();
            made.frame(kind, seq, 0, b"");
            let error = made.frames_of(numbered, 0, 0).next().unwrap_err();
            assert!(matches!(error, Error::Version { .. }), "{error}");
            assert!(error.to_string().contains(&format!("kind {} at byte 0", kind.number())), "{error}");
        }
    }

    #[test]
    fn zeros_are_told_from_bytes_however_far_they_reach() {
        for count in [1, 32, 33, (64 << 10) - 1, 64 << 10, (64 << 10) + 1, 300_000] {
            let mut made = Made::new();
            made.write(1, 0);
            made.bytes.extend(vec![0; count]);
            assert_eq!(fault(&mut made.frames()), None, "{count} zeros are the end");
            *made.bytes.last_mut().unwrap() = 1;
            let expected = if count < HEADER_BYTES { Fault::Short } else { Fault::HeadChecksum };
            assert_eq!(fault(&mut made.frames()), Some(expected), "{count} with a byte at the end");
        }
    }

    #[test]
    fn the_witness_is_the_first_frame_made_after_the_bad_one_was_synced() {
        let mut made = Made::new();
        made.junk(50);
        made.write(3, 1);
        assert_eq!(made.beyond(0, 1), Beyond { whole: 1, last: 3, witness: None, promised: 0 });
        let witness = made.write(4, 2);
        assert_eq!(made.beyond(0, 1), Beyond { whole: 2, last: 4, witness: Some((witness, 4)), promised: 2 });
        made.junk(3);
        made.write(6, 4);
        made.write(5, 3);
        assert_eq!(made.beyond(0, 1), Beyond { whole: 4, last: 6, witness: Some((witness, 4)), promised: 4 });
        assert_eq!(made.beyond(0, 2).promised, 4);
        assert_eq!(made.beyond(0, 4), Beyond { whole: 3, last: 6, witness: None, promised: 0 });
    }

    #[test]
    fn the_mark_of_an_opening_proves_what_stands_before_it() {
        let mut made = Made::new();
        made.junk(50);
        let mark = made.frame(Kind::OPENED, 1, 0, b"12345678");
        assert_eq!(made.beyond(0, 1), Beyond { whole: 1, last: 1, witness: Some((mark, 1)), promised: 1 });
        assert_eq!(made.beyond(0, 0).promised, 1);
        assert_eq!(made.beyond(0, 2), Beyond::default(), "of an earlier number: not behind this place");
    }

    #[test]
    fn a_whole_frame_that_is_not_the_one_due_is_counted_and_a_sound_length_is_believed() {
        let mut made = Made::new();
        let at = made.write(3, 2);
        assert_eq!(made.beyond(0, 1), Beyond { whole: 1, last: 3, witness: Some((at, 3)), promised: 2 });

        // A value may hold the bytes of a frame.
        let mut inner = Made::new();
        inner.write(2, 1);
        let mut made = Made::new();
        made.frame(Kind::WRITE, 1, 0, &[&inner.bytes[..], b"end"].concat());
        *made.bytes.last_mut().unwrap() ^= 1;
        let next = made.write(2, 0);
        let mut seen = Vec::new();
        let mut frames = made.frames();
        assert_eq!(fault(&mut frames), Some(Fault::BodyChecksum));
        let beyond = frames.look_beyond(|frame| seen.push((frame.offset, frame.body.to_vec()))).unwrap();
        assert_eq!((beyond.whole, seen), (1, vec![(next, b"body".to_vec())]));
    }

    /// Numbers that so short a file cannot have are not looked at: most bytes are no frame's head.
    #[test]
    fn numbers_are_searched_up_to_what_fits_into_the_file() {
        for (offset, last) in [(0, 0), (0, 7), (40, 7)] {
            let most = last + 1 + (100 + HEADER_BYTES as u64 + 4 - offset) / HEADER_BYTES as u64;
            for (seq, whole) in [(last, 1), (most, 1), (most + 1, 0)] {
                let mut made = Made::new();
                made.junk(100);
                made.write(seq, 0);
                assert_eq!(made.beyond(offset, last).whole, whole, "{offset} {last} {seq}");
            }
        }
    }

    #[test]
    fn a_frame_is_found_wherever_it_begins() {
        const STEP_BYTES: usize = 256 << 10;
        for junk in (1..40).chain(STEP_BYTES - 40..STEP_BYTES + 40).chain([2 * STEP_BYTES, 3 * STEP_BYTES + 1]) {
            let mut made = Made::new();
            made.junk(junk);
            let at = made.write(2, 1);
            assert_eq!(made.beyond(0, 0), Beyond { whole: 1, last: 2, witness: Some((at, 2)), promised: 1 }, "{junk}");
        }
        // Zeros look like the head of a frame with the number 0.
        let mut made = Made::new();
        made.bytes.extend([0; 500]);
        let at = made.frame(Kind::OPENED, 0, 0, b"");
        assert_eq!(made.beyond(0, 0).witness, Some((at, 0)));
        made.bytes.truncate(at as usize + HEADER_BYTES - 1);
        assert_eq!(made.beyond(0, 0), Beyond::default(), "a head that is cut");
    }
}

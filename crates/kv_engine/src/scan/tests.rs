//! Frames read in order, and the search behind a bad one.

use super::search::Beyond;
use super::*;
use crate::disk::{Disk, OsDisk};
use crate::record::{Body, Place};

pub(super) const SALT: u32 = 0x5a17_5a17;
/// A byte that is not part of any sequence number used here.
const JUNK: u8 = 0xee;

/// A file of frames that a test builds.
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

    /// A reader of these bytes. Frame number `last + 1` is expected at `at`.
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

    /// The search behind `at`, where write `last + 1` should begin and does not.
    pub(super) fn beyond(&self, at: u64, last: Seq) -> Beyond {
        self.frames_of(Kind::WRITE, at, last).look_beyond(|_| {}).unwrap()
    }
}

/// Reads to the first place that is not a frame.
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
fn frames_come_in_order_and_the_reader_stops_behind_the_last_good_one() {
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

/// A file whose final length is not known yet.
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
fn an_end_that_is_known_only_when_it_is_reached_is_the_end() {
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
        frames.read_ahead(step, ReadMode::Cached);
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
fn an_unexpected_kind_is_an_error_and_not_the_end() {
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
fn zeros_at_the_end_and_bytes_behind_zeros_are_distinguished() {
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
fn the_mark_of_an_opening_proves_the_writes_before_it() {
    let mut made = Made::new();
    made.junk(50);
    let mark = made.frame(Kind::OPENED, 1, 0, b"12345678");
    assert_eq!(made.beyond(0, 1), Beyond { whole: 1, last: 1, witness: Some((mark, 1)), promised: 1 });
    assert_eq!(made.beyond(0, 0).promised, 1);
    assert_eq!(made.beyond(0, 2), Beyond::default(), "its number is too low to be behind this place");
}

#[test]
fn a_whole_frame_with_another_number_is_counted_and_the_length_of_a_valid_head_is_trusted() {
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

/// Sequence numbers that a file of this length cannot reach are skipped: most bytes are no head.
#[test]
fn sequence_numbers_are_searched_up_to_what_fits_into_the_file() {
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
    assert_eq!(made.beyond(0, 0), Beyond::default(), "a truncated head");
}

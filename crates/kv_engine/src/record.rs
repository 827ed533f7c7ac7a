//! The bytes of one frame. A log is a header and frames, and so is a snapshot. A frame holds one record. Its checksums
//! show a reader that exactly these bytes were written here.
//!
//! # The bytes
//!
//! All integers are little-endian. Only this table describes the layout of a frame. The bytes of a body are described
//! elsewhere:
//! - a write: the top of `state/mod.rs`;
//! - the entries of a snapshot: the top of `snapshot.rs`;
//! - a block of a snapshot's index: the top of `snapshot/index.rs`;
//! - the mark "opened": 8 random bytes (`wal.rs`); the mark "closed": none.
//!
//! ```text
//!  offset size  field
//!       0    4  check       CRC-32 of bytes 4..33; its initial value is the file's salt
//!       4    4  body length
//!       8    8  sequence    number of the write; in a mark, the number of the write before it
//!      16    8  durable     highest sequence number known to be synced when this frame was made
//!      24    4  link        `check` of the frame before this one; in the first frame, the file's salt
//!      28    4  body check  CRC-32 of the body; its initial value is the file's salt
//!      32    1  kind        1 write, 2 opened, 3 closed, 4 snapshot entries, 5 snapshot index; 0 is never valid
//!      33    …  body
//! ```
//!
//! The CRC-32 is the one of IEEE 802.3, which zip and Ethernet also use. [`Fault`] lists what can be wrong with a
//! frame.
//!
//! # Why each field
//!
//! - `check` covers the length, so no length is trusted before it is checked. It also covers `body check`, and so the
//!   body.
//! - The salt is new for each file. So bytes that another file left in the same blocks of the disk never pass a check.
//! - `link` makes the frames a chain. So bytes of an earlier session of the same file, or of a refused write, do not
//!   pass either.
//! - `durable` tells recovery whether a bad frame is a torn write or damage: see `scan.rs`. The idea is the "sync
//!   offset" in the log of [Pebble](https://github.com/cockroachdb/pebble/blob/master/record/record.go).

use std::borrow::Cow;
use std::fmt;

const CHECK_BYTES: usize = 4;
const BODY_LEN_BYTES: usize = 4;
const SEQ_BYTES: usize = 8;
const DURABLE_BYTES: usize = 8;
const LINK_BYTES: usize = 4;
const BODY_CHECK_BYTES: usize = 4;
const KIND_BYTES: usize = 1;

const BODY_LEN_AT: usize = CHECK_BYTES;
const SEQ_AT: usize = BODY_LEN_AT + BODY_LEN_BYTES;
const DURABLE_AT: usize = SEQ_AT + SEQ_BYTES;
const LINK_AT: usize = DURABLE_AT + DURABLE_BYTES;
const BODY_CHECK_AT: usize = LINK_AT + LINK_BYTES;
const KIND_AT: usize = BODY_CHECK_AT + BODY_CHECK_BYTES;

/// Length of the part of a frame before its body.
pub(crate) const HEADER_BYTES: usize = KIND_AT + KIND_BYTES;
const _: () = assert!(HEADER_BYTES == 33, "the header is part of the file format");

/// The fields of a frame's head, in order: name and length.
pub(crate) const FIELDS: [(&str, usize); 7] = [
    ("check", CHECK_BYTES),
    ("body length", BODY_LEN_BYTES),
    ("sequence", SEQ_BYTES),
    ("durable", DURABLE_BYTES),
    ("link", LINK_BYTES),
    ("body check", BODY_CHECK_BYTES),
    ("kind", KIND_BYTES),
];

/// Length of the longest body, and so the limit of one atomic batch, encoded.
pub(crate) const MAX_BODY_BYTES: usize = 1 << 30;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kind(u8);

impl Kind {
    /// One write: a put, a delete, or an atomic batch of them.
    pub(crate) const WRITE: Kind = Kind(1);
    /// A mark that begins a new chain, by a random number in its body. It is written when the log is opened, after a
    /// refused write, and when all writes are durable and no thread writes.
    pub(crate) const OPENED: Kind = Kind(2);
    /// A mark of a clean close: all writes are durable.
    pub(crate) const CLOSED: Kind = Kind(3);
    /// A block of a snapshot: entries in key order.
    pub(crate) const ENTRIES: Kind = Kind(4);
    /// A block of a snapshot's index.
    pub(crate) const INDEX: Kind = Kind(5);

    pub(crate) fn number(self) -> u8 {
        self.0
    }
}

/// The head of one frame, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) check: u32,
    pub(crate) body_len: usize,
    pub(crate) seq: u64,
    pub(crate) durable: u64,
    pub(crate) link: u32,
    pub(crate) body_check: u32,
    pub(crate) kind: Kind,
}

/// Why bytes are not the record that is expected there. From [`Truncation::fault`](crate::Truncation::fault). Its
/// [`Display`](fmt::Display) is a clause without a full stop.
///
/// ```
/// use kv_engine::Fault;
/// assert_eq!(Fault::Short.to_string(), "the file ends inside the record");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The file ends inside the record.
    Short,
    /// The checksum of the record's head does not match.
    HeadChecksum,
    /// The head passes its checksum, but does not follow the record before it: the bytes are from an earlier session.
    Chain,
    /// The head passes its checksum, but the sequence number is not the next one.
    Sequence,
    /// The checksum of the record's body does not match.
    BodyChecksum,
    /// The checksums match, but the content is invalid.
    Content,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Short => "the file ends inside the record",
            Fault::HeadChecksum => "the checksum of the record's head does not match",
            Fault::Chain => "the record does not follow the one before it (stale bytes)",
            Fault::Sequence => "the record has a wrong sequence number",
            Fault::BodyChecksum => "the checksum of the record's body does not match",
            Fault::Content => "the record's content is invalid",
        })
    }
}

/// The place of a new frame in its file: the fields that do not follow from the body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) salt: u32,
    pub(crate) link: u32,
    pub(crate) seq: u64,
    pub(crate) durable: u64,
}

/// The body of a new frame, and its check, which can be computed before the place of the frame is known.
#[derive(Clone, Debug)]
pub(crate) struct Body<'a> {
    pub(crate) bytes: Cow<'a, [u8]>,
    salt: u32,
    check: u32,
}

impl<'a> Body<'a> {
    pub(crate) fn new(bytes: impl Into<Cow<'a, [u8]>>, salt: u32) -> Body<'a> {
        let bytes = bytes.into();
        assert!(bytes.len() <= MAX_BODY_BYTES, "a body of {} bytes is over the limit", bytes.len());
        let check = crc(salt, &bytes);
        Body { bytes, salt, check }
    }

    /// The check for a file with this salt.
    fn check(&self, salt: u32) -> u32 {
        if salt == self.salt { self.check } else { crc(salt, &self.bytes) }
    }
}

/// Appends one frame to `out`. Returns the frame's check, which is the next frame's link.
pub(crate) fn encode(out: &mut Vec<u8>, place: Place, kind: Kind, body: &Body<'_>) -> u32 {
    let (head, check) = encode_head(place, kind, body.bytes.len(), body.check(place.salt));
    out.extend_from_slice(&head);
    out.extend_from_slice(&body.bytes);
    check
}

/// The head of a frame whose body has this length and this check; and the check of the frame.
pub(crate) fn encode_head(place: Place, kind: Kind, body_len: usize, body_check: u32) -> ([u8; HEADER_BYTES], u32) {
    let mut head = [0; HEADER_BYTES];
    assert!(body_len <= MAX_BODY_BYTES, "a body of {body_len} bytes is over the limit");
    let body_len = u32::try_from(body_len).expect("the limit fits 32 bits");
    head[BODY_LEN_AT..SEQ_AT].copy_from_slice(&body_len.to_le_bytes());
    head[SEQ_AT..DURABLE_AT].copy_from_slice(&place.seq.to_le_bytes());
    head[DURABLE_AT..LINK_AT].copy_from_slice(&place.durable.to_le_bytes());
    head[LINK_AT..BODY_CHECK_AT].copy_from_slice(&place.link.to_le_bytes());
    head[BODY_CHECK_AT..KIND_AT].copy_from_slice(&body_check.to_le_bytes());
    head[KIND_AT] = kind.0;
    let check = crc(place.salt, &head[CHECK_BYTES..]);
    head[..CHECK_BYTES].copy_from_slice(&check.to_le_bytes());
    (head, check)
}

/// Decodes the head of a frame, and checks its checksum and the limit of its length.
pub(crate) fn decode_header(bytes: &[u8], salt: u32) -> Result<Header, Fault> {
    let Some(bytes) = bytes.get(..HEADER_BYTES) else { return Err(Fault::Short) };
    let check = le32(bytes, 0);
    if check != crc(salt, &bytes[CHECK_BYTES..]) {
        return Err(Fault::HeadChecksum);
    }
    let header = Header {
        check,
        body_len: le32(bytes, BODY_LEN_AT) as usize,
        seq: le64(bytes, SEQ_AT),
        durable: le64(bytes, DURABLE_AT),
        link: le32(bytes, LINK_AT),
        body_check: le32(bytes, BODY_CHECK_AT),
        kind: Kind(bytes[KIND_AT]),
    };
    if header.body_len > MAX_BODY_BYTES { Err(Fault::Content) } else { Ok(header) }
}

/// Whether `body` is the one that `header` was made for.
pub(crate) fn check_body(header: &Header, salt: u32, body: &[u8]) -> Result<(), Fault> {
    if body.len() < header.body_len {
        Err(Fault::Short)
    } else if crc(salt, body) != header.body_check {
        Err(Fault::BodyChecksum)
    } else {
        Ok(())
    }
}

/// The sequence number in bytes that may be the head of a frame. Cheap enough to be called for every offset of a file.
pub(crate) fn peek_seq(head: &[u8]) -> u64 {
    le64(head, SEQ_AT)
}

/// Whether these bytes cannot be a head, because the kind is 0, as in a hole of the file. Cheaper still.
pub(crate) fn is_blank(head: &[u8]) -> bool {
    head[KIND_AT] == 0
}

/// The salt with which the check in this head was made, if these bytes are the head of a frame.
pub(crate) fn recover_salt(head: &[u8]) -> Option<(u32, Header)> {
    const BITS: u32 = 8;
    // Rules out most bytes that are no head: the kind is a small number, no write is durable before it is made, and no
    // store has that many writes.
    const MOST_WRITES: u64 = 1 << 48;
    let (kind, seq) = (head[KIND_AT], le64(head, SEQ_AT));
    if kind == 0 || kind > Kind::INDEX.0 || le64(head, DURABLE_AT) > seq || seq > MOST_WRITES {
        return None;
    }
    // Runs the register of the CRC backwards over the bytes. Its value is inverted at both ends.
    let mut register = !le32(head, 0);
    for &byte in head[CHECK_BYTES..HEADER_BYTES].iter().rev() {
        for _ in 0..BITS {
            let low = register >> (u32::BITS - 1);
            register = ((register ^ (low * CRC_POLYNOMIAL)) << 1) | low;
        }
        register ^= u32::from(byte);
    }
    let salt = !register;
    Some((salt, decode_header(head, salt).ok()?))
}

/// The polynomial of the CRC-32, lowest bit first.
const CRC_POLYNOMIAL: u32 = 0xedb8_8320;

/// CRC-32 of `bytes`, beginning with `salt`.
pub(crate) fn crc(salt: u32, bytes: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(salt);
    hasher.update(bytes);
    hasher.finalize()
}

/// The four bytes at `at`, little-endian.
pub(crate) fn le32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

/// The eight bytes at `at`, little-endian.
pub(crate) fn le64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let place = Place { salt: 0x1234_5678, link: 0x0a0b_0c0d, seq: 7, durable: 6 };
        encode(&mut out, place, Kind::WRITE, &Body::new(body, 0x1234_5678));
        out
    }

    #[test]
    fn the_bytes_of_a_frame_are_pinned() {
        let bytes = frame(b"hi");
        assert_eq!(bytes[4..28], *b"\x02\0\0\0\x07\0\0\0\0\0\0\0\x06\0\0\0\0\0\0\0\x0d\x0c\x0b\x0a");
        assert_eq!(bytes[32..], *b"\x01hi");
        assert_eq!(le32(&bytes, 28), crc(0x1234_5678, b"hi"));
        assert_eq!(le32(&bytes, 0), crc(0x1234_5678, &bytes[4..33]));
        assert_eq!(crc(0, b"123456789"), 0xcbf4_3926, "the check value of CRC-32/ISO-HDLC");
    }

    #[test]
    fn every_flipped_bit_of_a_frame_is_seen() {
        let good = frame(b"some body");
        for bit in 0..good.len() * 8 {
            let mut bytes = good.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let seen =
                decode_header(&bytes, 0x1234_5678).and_then(|h| check_body(&h, 0x1234_5678, &bytes[HEADER_BYTES..])).is_err();
            assert!(seen, "bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_salt_is_not_valid() {
        assert_eq!(decode_header(&frame(b"hi"), 1), Err(Fault::HeadChecksum));
    }

    #[test]
    fn the_check_of_a_body_that_was_made_for_another_file_is_computed_again() {
        let body = Body::new(b"body", 7);
        assert_eq!([body.check(7), body.check(8)], [crc(7, b"body"), crc(8, b"body")]);
        assert_eq!(Body { check: 1, ..body }.check(7), 1, "for its own file it is not computed again");
    }

    #[test]
    fn the_longest_body_is_accepted_and_a_longer_one_is_not() {
        for (len, expected) in [(MAX_BODY_BYTES, Ok(MAX_BODY_BYTES)), (MAX_BODY_BYTES + 1, Err(Fault::Content))] {
            let mut bytes = frame(b"");
            bytes[BODY_LEN_AT..SEQ_AT].copy_from_slice(&(len as u32).to_le_bytes());
            let check = crc(0x1234_5678, &bytes[CHECK_BYTES..]);
            bytes[..CHECK_BYTES].copy_from_slice(&check.to_le_bytes());
            assert_eq!(decode_header(&bytes, 0x1234_5678).map(|header| header.body_len), expected);
        }
    }

    #[test]
    fn an_incomplete_body_is_reported_as_short_not_as_wrong() {
        let bytes = frame(b"some body");
        let header = decode_header(&bytes, 0x1234_5678).expect("sound");
        let body = &bytes[HEADER_BYTES..];
        assert_eq!(check_body(&header, 0x1234_5678, body), Ok(()));
        assert_eq!(check_body(&header, 0x1234_5678, &body[1..]), Err(Fault::Short));
        assert_eq!(check_body(&header, 0x1234_5678, b"some bodY"), Err(Fault::BodyChecksum));
        assert_eq!(decode_header(&bytes[..HEADER_BYTES - 1], 0x1234_5678), Err(Fault::Short));
    }

    #[test]
    fn peeking_gives_the_sequence_number_of_a_head() {
        assert_eq!((peek_seq(&frame(b"")), is_blank(&frame(b""))), (7, false));
        assert!(is_blank(&[0; HEADER_BYTES]));
    }

    #[test]
    fn the_salt_is_recovered_from_a_head() {
        let bytes = frame(b"some body");
        let header = decode_header(&bytes, 0x1234_5678).expect("sound");
        assert_eq!(recover_salt(&bytes), Some((0x1234_5678, header)));
        let mut other = bytes.clone();
        other[LINK_AT] ^= 1;
        assert!(recover_salt(&other).is_some_and(|(salt, _)| salt != 0x1234_5678));
        let seq = |seq: u64| (SEQ_AT, seq.to_le_bytes().to_vec());
        let byte = |at: usize, byte: u8| (at, vec![byte]);
        let heads = [byte(KIND_AT, 1), byte(KIND_AT, 5), byte(DURABLE_AT, 7), seq(1 << 48)];
        let none = [byte(KIND_AT, 0), byte(KIND_AT, 6), byte(DURABLE_AT, 9), byte(SEQ_AT + 7, 1), seq((1 << 48) + 1)];
        for ((at, put), is_one) in heads.map(|put| (put, true)).into_iter().chain(none.map(|put| (put, false))) {
            let mut other = bytes.clone();
            other[at..at + put.len()].copy_from_slice(&put);
            assert_eq!(recover_salt(&other).is_some(), is_one, "{put:?} at {at}");
        }
    }

    #[test]
    fn kinds_and_faults_have_their_numbers_and_words() {
        assert_eq!([Kind::WRITE, Kind::OPENED, Kind::CLOSED, Kind::ENTRIES, Kind::INDEX].map(Kind::number), [1, 2, 3, 4, 5]);
        let faults = [
            (Fault::Short, "the file ends inside the record"),
            (Fault::HeadChecksum, "the checksum of the record's head does not match"),
            (Fault::Chain, "the record does not follow the one before it (stale bytes)"),
            (Fault::Sequence, "the record has a wrong sequence number"),
            (Fault::BodyChecksum, "the checksum of the record's body does not match"),
            (Fault::Content, "the record's content is invalid"),
        ];
        for (fault, words) in faults {
            assert_eq!(fault.to_string(), words);
        }
    }
}

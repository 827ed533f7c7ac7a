//! Crafted files that would cost much time or memory.

use super::super::tests::{Made, SALT, fault};
use super::super::*;
use super::*;
use crate::disk::{Disk, InMemory, OsDisk, ReadOnly};
use crate::record::Place;

/// Valid heads, one behind the other, each of which claims all bytes behind it. Every byte is read a few times, not
/// once for each head. The same holds when the salt has to be found.
#[test]
fn heads_that_claim_the_same_bytes_are_searched_in_time_that_grows_with_the_file() {
    const HEADS: usize = 40_000; // longer than one read
    let mut bytes = Vec::new();
    for n in 0..HEADS {
        let place = Place { salt: SALT, link: 0, seq: 7, durable: 0 };
        let body_len = (HEADS - n - 1) * HEADER_BYTES;
        bytes.extend(record::encode_head(place, Kind::WRITE, body_len, 0xbad).0);
    }
    let len = bytes.len() as u64;
    let file = Arc::new(ReadOnly(InMemory::new(bytes)));
    let path = Path::new("crafted");
    let mut frames = Frames::new(Arc::clone(&file) as Arc<dyn File>, path, Kind::WRITE, SALT, 0, 0).unwrap();
    let read = || file.0.take_bytes_read();
    assert_eq!(frames.look_beyond(|_| {}).unwrap().whole, 0);
    assert!(read() < 8 * len, "the search");
    assert!(find_salt(Arc::clone(&file) as Arc<dyn File>, path, 0).unwrap().is_none());
    assert!(read() < 8 * len, "the salt");
}

/// The prefix CRCs show that the body is whole, and then the body itself is checked.
#[test]
fn a_long_frame_behind_a_bad_place_is_found() {
    for (body_len, flip) in [4096, 4097, 100_000, 3 << 20].into_iter().flat_map(|len| [(len, false), (len, true)]) {
        let mut made = Made::new();
        made.junk(50);
        let at = made.frame(Kind::WRITE, 2, 1, &vec![7; body_len]);
        *made.bytes.last_mut().unwrap() ^= u8::from(flip);
        let whole = made.beyond(0, 0);
        assert_eq!((whole.whole, whole.witness), (u64::from(!flip), (!flip).then_some((at, 2))), "{body_len} {flip}");
        made.bytes.pop();
        assert_eq!(made.beyond(0, 0).whole, 0, "it is truncated");
    }
}

/// A long body that fails its check costs no memory. One that passes is handed over.
#[test]
fn a_long_body_is_checked_before_there_is_memory_for_it() {
    for len in [body::READ_BYTES, body::READ_BYTES + 1, 5 * body::READ_BYTES / 2] {
        let mut made = Made::new();
        made.frame(Kind::WRITE, 1, 0, &vec![7; len]);
        let mut frames = made.frames();
        assert!(matches!(frames.next().unwrap(), Next::Frame(frame) if frame.body.len() == len));
        let end = made.bytes.len();
        made.bytes[end - 1] ^= 1;
        assert_eq!(fault(&mut made.frames()), Some(Fault::BodyChecksum));
        made.bytes.pop();
        assert_eq!(fault(&mut made.frames()), Some(Fault::Short));
    }
    // A head with a very long body, in a file that is a hole.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hole");
    let place = Place { salt: SALT, link: SALT, seq: 1, durable: 0 };
    let most = 200 << 20;
    std::fs::write(&path, record::encode_head(place, Kind::WRITE, most, 0xbad).0).unwrap();
    OsDisk.open(&path).unwrap().unwrap().set_len((HEADER_BYTES + most + 1) as u64).unwrap();
    let mut frames = Frames::new(OsDisk.open_read(&path).unwrap().unwrap(), &path, Kind::WRITE, SALT, 0, 0).unwrap();
    assert_eq!(fault(&mut frames), Some(Fault::BodyChecksum));
    let memory = frames.window.memory_bytes();
    assert!(memory <= 2 << 20, "{memory} B");
}

//! Crafted snapshots: all checksums match, but the index has a shape that no store writes.

use super::super::format::Ref;
use super::super::index::MOST_BYTES;
use super::super::*;
use crate::disk::OsDisk;
use crate::record::{self, Kind, Place, crc};
use crate::state::OpRef;
use std::ops::Bound;

const ID: StoreId = StoreId(*b"sixteen bytes id");

/// A snapshot in the making.
struct Crafted {
    dir: tempfile::TempDir,
    bytes: Vec<u8>,
    salt: u32,
    /// Check of the last frame.
    link: u32,
}

/// The entries of an index block.
type Listed<'a> = &'a [(Ref, &'a [u8])];

impl Crafted {
    fn new() -> Crafted {
        let salt = crc(crc(0, &ID.0), &7_u64.to_le_bytes());
        Crafted { dir: tempfile::tempdir().unwrap(), bytes: vec![0; HEADER_BYTES], salt, link: salt }
    }

    fn at(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Appends a frame. With `check`, the frame gets this check.
    fn frame(&mut self, kind: Kind, body: &[u8], check: Option<u32>) -> Ref {
        let offset = self.at();
        let body_check = crc(self.salt, body);
        let head = |link| record::encode_head(Place { salt: self.salt, link, seq: 1, durable: 0 }, kind, body.len(), body_check);
        let link = check.map_or(self.link, |check| link_for(check, |link| head(link).1));
        let (head, made) = head(link);
        assert!(check.is_none_or(|check| check == made));
        self.bytes.extend_from_slice(&head);
        self.bytes.extend_from_slice(body);
        self.link = made;
        Ref::to_block(offset, body.len(), made)
    }

    fn entries(&mut self, keys: &[&[u8]]) -> Ref {
        let mut body = Vec::new();
        keys.iter().for_each(|key| OpRef { key, value: Some(b"value") }.encode(&mut body));
        self.frame(Kind::ENTRIES, &body, None)
    }

    fn index(&mut self, listed: Listed<'_>, check: Option<u32>) -> Ref {
        self.frame(Kind::INDEX, &index_body(listed), check)
    }

    fn open(&mut self, root: Ref) -> Result<Paged> {
        let header = Header {
            store_id: ID,
            seq: 7,
            entries: 1,
            data_len: self.at() - HEADER_BYTES as u64,
            digest: Digest(0),
            meta_len: 0,
            meta_check: crc(0, b""),
            root: Some(root),
        };
        self.bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        let path = self.dir.path().join("snap");
        std::fs::write(&path, &self.bytes).unwrap();
        Paged::open(OsDisk.open_read(&path).unwrap().unwrap(), &path, 1 << 20).map(|paged| paged.expect("it has an index"))
    }

    /// A lookup of the key and a scan of all keys report that the block at `at` is damaged.
    #[track_caller]
    fn refused(&mut self, root: Ref, key: &[u8], at: u64, says: &str) {
        let paged = match self.open(root) {
            Ok(paged) => paged,
            Err(error) => return is_damage(&error, at, says),
        };
        is_damage(&paged.get(key).unwrap_err(), at, says);
        is_damage(&paged.range(Bound::Unbounded, b"", usize::MAX).unwrap_err(), at, says);
    }
}

#[track_caller]
fn is_damage(error: &Error, at: u64, says: &str) {
    assert!(matches!(error, Error::Damaged { offset, reason, .. } if *offset == at && reason.contains(says)), "{at} {error}");
}

fn index_body(listed: Listed<'_>) -> Vec<u8> {
    let one = |(block, key): &(Ref, &[u8])| [&block.to_bytes()[..], &(key.len() as u32).to_le_bytes(), key].concat();
    listed.iter().flat_map(one).collect()
}

/// The link that gives a head this check. The check is a linear function of the bits of the link, and depends on each
/// of them.
fn link_for(check: u32, check_of: impl Fn(u32) -> u32) -> u32 {
    let mut rows: Vec<(u32, u32)> = (0..32).map(|bit| (check_of(1 << bit) ^ check_of(0), 1 << bit)).collect();
    let (mut left, mut link) = (check ^ check_of(0), 0);
    for bit in 0..32 {
        let at = rows.iter().position(|(changes, _)| changes >> bit & 1 == 1).expect("each bit can be changed");
        let (changes, by) = rows.swap_remove(at);
        for row in rows.iter_mut().filter(|row| row.0 >> bit & 1 == 1) {
            *row = (row.0 ^ changes, row.1 ^ by);
        }
        if left >> bit & 1 == 1 {
            (left, link) = (left ^ changes, link ^ by);
        }
    }
    link
}

const NOWHERE: &str = "the block lists a block at a place where none can be";
const CHECK: u32 = 0x5eed_5eed;

#[test]
fn blocks_that_list_themselves_or_each_other_are_an_error() {
    // 96 bytes of header, and a block of 54 that lists itself.
    let mut crafted = Crafted::new();
    let itself = Ref { offset: 96, len: 54, check: CHECK };
    assert_eq!(crafted.index(&[(itself, b"k")], Some(CHECK)), itself);
    crafted.refused(itself, b"k", 96, NOWHERE);

    let mut crafted = Crafted::new();
    let second = Ref { offset: 150, len: 54, check: CHECK };
    let first = crafted.index(&[(second, b"k")], None);
    assert_eq!(crafted.index(&[(first, b"k")], Some(CHECK)), second);
    crafted.refused(second, b"k", 96, NOWHERE);
}

/// Each of 30 levels lists the one below twice. Following all of them would read a thousand million blocks.
#[test]
fn a_block_that_is_listed_twice_is_an_error() {
    let mut crafted = Crafted::new();
    let mut top = crafted.entries(&[b"k"]);
    for _ in 0..30 {
        top = crafted.index(&[(top, b"a"), (top, b"k")], None);
    }
    let at = top.offset;
    crafted.refused(top, b"k", at, NOWHERE);
    // A block listed by two others.
    let mut crafted = Crafted::new();
    let leaf = crafted.entries(&[b"k"]);
    let (left, right) = (crafted.index(&[(leaf, b"a")], None), crafted.index(&[(leaf, b"k")], None));
    let top = crafted.index(&[(left, b"a"), (right, b"k")], None);
    crafted.refused(top, b"k", right.offset, NOWHERE);
}

#[test]
fn the_number_of_levels_is_limited() {
    for (levels, fine) in [(63, true), (64, false), (40_000, false)] {
        let mut crafted = Crafted::new();
        let mut top = crafted.entries(&[b"k"]);
        let mut bottom = None;
        for level in 1..=levels {
            top = crafted.index(&[(top, b"k")], None);
            // The limit counts from the root.
            bottom = bottom.or((levels - level < 64).then_some(top.offset));
        }
        if fine {
            let paged = crafted.open(top).unwrap();
            assert_eq!(paged.get(b"k").unwrap().as_deref(), Some(&b"value"[..]));
            assert_eq!(paged.range(Bound::Unbounded, b"", 9).unwrap().len(), 1);
        } else {
            crafted.refused(top, b"k", bottom.unwrap(), "more levels than an index can have");
        }
    }
}

#[test]
fn a_root_that_is_not_the_last_block_is_an_error() {
    let mut crafted = Crafted::new();
    let leaf = crafted.entries(&[b"k"]);
    assert!(crafted.open(leaf).is_ok());
    crafted.entries(&[b"l"]);
    crafted.refused(leaf, b"k", 96, "is not the last block of the file");
}

#[test]
fn content_that_no_store_writes_is_an_error() {
    const INVALID: &str = "the block's content is invalid";
    for keys in [&[&b"b"[..], b"a"][..], &[b"a", b"a"], &[]] {
        let mut crafted = Crafted::new();
        let leaf = crafted.entries(keys);
        crafted.refused(leaf, b"a", 96, INVALID);
        let mut crafted = Crafted::new();
        let leaf = crafted.entries(&[b"k"]);
        let listed: Vec<_> = keys.iter().map(|key| (leaf, *key)).collect();
        let top = crafted.index(&listed, None);
        crafted.refused(top, b"a", top.offset, INVALID);
    }
    // A deletion.
    let mut crafted = Crafted::new();
    let leaf = crafted.frame(Kind::ENTRIES, b"\x02\x01\0\0\0k", None);
    crafted.refused(leaf, b"k", 96, INVALID);
    // One entry may be long, two may not.
    let long = |first: u8| vec![first; 3000];
    for (keys, fine) in [(vec![long(b'a')], true), (vec![long(b'a'), long(b'b')], false)] {
        let mut crafted = Crafted::new();
        let leaf = crafted.entries(&keys.iter().map(|key| &key[..]).collect::<Vec<_>>());
        assert_eq!(crafted.open(leaf).is_ok(), fine);
        let path = crafted.dir.path().join("snap");
        let error = load(OsDisk.open_read(&path).unwrap().unwrap(), &path, |_, _| {}).unwrap_err().to_string();
        assert_eq!(error.contains("has several entries and is longer than 4 KiB"), !fine, "{error}");
    }
    // Keys that do not follow those of the block before, although the index says so.
    let mut crafted = Crafted::new();
    let (left, right) = (crafted.entries(&[b"k"]), crafted.entries(&[b"a"]));
    let top = crafted.index(&[(left, b"k"), (right, b"m")], None);
    let paged = crafted.open(top).unwrap();
    for from in [Bound::Unbounded, Bound::Included(&b"l"[..]), Bound::Excluded(b"k")] {
        is_damage(&paged.range(from, b"", 9).unwrap_err(), right.offset, "do not follow those of the block before it");
    }
}

/// The memory for a block is bounded by what a store writes, also in a file that is mostly a hole.
#[test]
fn a_block_that_is_longer_than_a_block_can_be_is_an_error() {
    const LONGER: &str = "longer than a block can be";
    const NOT_WHOLE: &str = "the checksum of the record's body does not match";
    for (kind, len, says) in [
        (Kind::ENTRIES, crate::state::MAX_PUT_BYTES + 1, LONGER),
        (Kind::ENTRIES, 3 << 20, NOT_WHOLE),
        (Kind::INDEX, MOST_BYTES + 1, LONGER),
        (Kind::INDEX, MOST_BYTES, NOT_WHOLE),
    ] {
        let mut crafted = Crafted::new();
        let place = Place { salt: crafted.salt, link: 0, seq: 1, durable: 0 };
        let (head, check) = record::encode_head(place, kind, len, 0xbad);
        crafted.bytes.extend_from_slice(&head);
        let root = Ref::to_block(96, len, check);
        let header = Header {
            store_id: ID,
            seq: 7,
            entries: 1,
            data_len: (record::HEADER_BYTES + len) as u64,
            digest: Digest(0),
            meta_len: 0,
            meta_check: crc(0, b""),
            root: Some(root),
        };
        crafted.bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
        let path = crafted.dir.path().join("snap");
        std::fs::write(&path, &crafted.bytes).unwrap();
        OsDisk.open(&path).unwrap().unwrap().set_len(header.file_len().unwrap()).unwrap();
        let error = Paged::open(OsDisk.open_read(&path).unwrap().unwrap(), &path, 0).unwrap_err();
        is_damage(&error, 96, says);
    }
}

#[test]
fn the_header_may_not_claim_more_than_fits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    let good = save(&OsDisk, &path, Draft::new(Form::Indexed, ID, 7), |writer| writer.add(b"a", b"")).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    let opened = |header: Header, len: u64| {
        std::fs::write(&path, [&header.encode()[..], &bytes[HEADER_BYTES..]].concat()).unwrap();
        OsDisk.open(&path).unwrap().unwrap().set_len(len).unwrap();
        let file = || OsDisk.open_read(&path).unwrap().unwrap();
        [Paged::open(file(), &path, 0).map(drop), load(file(), &path, |_, _| {}).map(drop)]
    };
    let len = bytes.len() as u64;
    assert!(opened(good, len).iter().all(Result::is_ok));
    for entries in [good.data_len / 10 + 1, u64::MAX] {
        for error in opened(Header { entries, ..good }, len) {
            is_damage(&error.unwrap_err(), 40, "entries, more than fit into the file");
        }
    }
    for meta_len in [1 << 20, (1 << 20) + 1, u32::MAX] {
        let header = Header { meta_len, ..good };
        let says = if meta_len == 1 << 20 { (96, "the checksum of the meta bytes") } else { (28, "meta bytes; the limit is") };
        for error in opened(header, header.file_len().unwrap()) {
            is_damage(&error.unwrap_err(), says.0, says.1);
        }
    }
}

//! Saving, loading and looking up, and the files that are refused.

use super::format::Ref;
use super::index::Builder;
use super::*;
use crate::MAX_SEQ;
use crate::disk::{InMemory, Lock, OsDisk, ReadOnly, write_all_at};
use crate::record::{self, Body, Kind, Place, le32};
use crate::state::{Map, Op, OpRef, State};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const ID: StoreId = StoreId(*b"sixteen bytes id");

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    (dir, path)
}

/// An empty file. It replaces the file at `path`.
fn made(path: &Path) -> Arc<dyn File> {
    let _ = OsDisk.remove(path);
    OsDisk.create_new(path).unwrap()
}

/// Writes a snapshot of these entries, in this order, to `path`. All its checksums match.
fn forge(path: &Path, entries: &[(&[u8], &[u8])]) -> Header {
    let file = made(path);
    let fill = |writer: &mut Writer| entries.iter().try_for_each(|(key, value)| writer.add(key, value));
    write(&file, path, Draft::new(Form::Plain, ID, 7), fill).unwrap().0
}

/// Writes a snapshot to `path` whose only frame has this body.
fn forge_body(path: &Path, body: &[u8], header: Header) {
    let place = Place { salt: header.salt(), link: header.salt(), seq: 1, durable: 0 };
    let mut frame = Vec::new();
    record::encode(&mut frame, place, Kind::ENTRIES, &Body::new(body, header.salt()));
    let header = Header { data_len: frame.len() as u64, ..header };
    std::fs::write(path, [&header.encode()[..], &frame].concat()).unwrap();
}

fn loaded(path: &Path) -> Result<Vec<(u64, Op)>> {
    let mut ops = Vec::new();
    load(OsDisk.open_read(path).unwrap().unwrap(), path, |at, op| ops.push((at, op.to_op()))).map(|_| ops)
}

#[track_caller]
fn refused(path: &Path, at: u64, says: &str) {
    let error = loaded(path).unwrap_err();
    assert!(matches!(error, Error::Damaged { offset, .. } if offset == at), "{error:?}");
    assert!(error.to_string().contains(says), "{error}");
}

#[test]
fn what_checksums_cannot_see_is_refused_too() {
    let (_dir, path) = place();
    let good = forge(&path, &[(b"a", b"1"), (b"b", b"2")]);
    assert_eq!(loaded(&path).unwrap(), [(96, Op::put(b"a", b"1")), (96, Op::put(b"b", b"2"))]);
    forge(&path, &[(b"b", b"2"), (b"a", b"1")]);
    refused(&path, 96, "the keys are not in order");
    forge(&path, &[(b"a", b"1"), (b"a", b"2")]);
    refused(&path, 96, "the keys are not in order");
    forge_body(&path, b"\x02\x01\0\0\0k", good);
    refused(&path, 96, "the block holds a deletion");
    forge_body(&path, b"\x03\x01\0\0\0k", good);
    refused(&path, 96, "the block's content is invalid");
    std::fs::write(&path, "").unwrap();
    refused(&path, 0, "the file is empty");
}

#[test]
fn a_header_with_another_length_is_refused() {
    let (_dir, path) = place();
    let good = forge(&path, &[(b"a", b"1")]);
    let bytes = std::fs::read(&path).unwrap();
    let len = bytes.len() as u64;
    let with = |data_len: u64, says: &str, at: u64| {
        let header = Header { data_len, ..good };
        std::fs::write(&path, [&header.encode()[..], &bytes[HEADER_BYTES..]].concat()).unwrap();
        refused(&path, at, says);
    };
    with(good.data_len - 1, &format!("the file has {len} bytes, but its header says {}", len - 1), len - 1);
    with(good.data_len + 1, &format!("the file has {len} bytes, but its header says {}", len + 1), len);
    with(u64::MAX, "says more than a file can have", len);
}

/// This program writes no meta bytes. A program that does will find them checked.
#[test]
fn meta_bytes_are_checked_and_skipped() {
    let (_dir, path) = place();
    let header = forge(&path, &[(b"a", b"1")]);
    let frame = std::fs::read(&path).unwrap()[HEADER_BYTES..].to_vec();
    let meta = b"replica";
    let header = Header { meta_len: meta.len() as u32, meta_check: crc(0, meta), ..header };
    std::fs::write(&path, [&header.encode()[..], meta, &frame].concat()).unwrap();
    assert_eq!(loaded(&path).unwrap(), [(96 + 7, Op::put(b"a", b"1"))]);
    std::fs::write(&path, [&header.encode()[..], b"replicA", &frame].concat()).unwrap();
    refused(&path, 96, "the checksum of the meta bytes does not match");
    std::fs::write(&path, &header.encode()[..]).unwrap();
    refused(&path, 96, "the file has 96 bytes");
}

#[test]
fn the_highest_sequence_number_can_be_saved_and_no_higher_one() {
    let (_dir, path) = place();
    let good = forge(&path, &[(b"a", b"1")]);
    let read = |header: Header| Header::decode(&path, &header.encode());
    assert_eq!(read(Header { seq: MAX_SEQ, ..good }).unwrap().seq, MAX_SEQ);
    assert!(matches!(read(Header { seq: MAX_SEQ + 1, ..good }), Err(Error::Version { .. })));
}

/// Many small entries and a few large ones: each comes back once and in order, from blocks of about 4 KiB.
#[test]
fn a_large_state_is_saved_in_blocks_and_no_entry_is_left_out() {
    let mut state = State::default();
    for n in 0..3000_u32 {
        state.apply(Op::put(&n.to_be_bytes(), &[n as u8; 9]));
    }
    for n in 3000..3005_u32 {
        state.apply(Op::put(&n.to_be_bytes(), &vec![n as u8; 600 << 10]));
    }
    let (_dir, path) = place();
    let map = Map::default();
    state.range(std::ops::Bound::Unbounded).for_each(|(key, value)| map.apply(OpRef { key, value: Some(value) }));
    let header = save(&OsDisk, &path, Draft::new(Form::Plain, ID, 9), fill_from(&map)).unwrap();
    assert_eq!((header.entries, header.digest), (3005, state.digest()));
    let ops = loaded(&path).unwrap();
    let expected: Vec<Op> = state.range(std::ops::Bound::Unbounded).map(|(key, value)| Op::put(key, value)).collect();
    assert!(ops.iter().map(|(_, op)| op).eq(&expected));
    // An entry has 22 bytes, so 186 fit into a block. Each long entry has a block of its own.
    let offsets: std::collections::BTreeSet<u64> = ops.iter().map(|&(at, _)| at).collect();
    assert_eq!(offsets.len(), 3000_usize.div_ceil(186) + 5);
}

#[test]
fn a_block_is_filled_to_its_size_and_not_beyond() {
    let (_dir, path) = place();
    let entry = |key: u8, rest: usize| ([key], vec![0; rest - 10]);
    let blocks = |sizes: &[usize]| {
        let entries: Vec<_> = (b'a'..).zip(sizes).map(|(key, &size)| entry(key, size)).collect();
        forge(&path, &entries.iter().map(|(key, value)| (&key[..], &value[..])).collect::<Vec<_>>());
        loaded(&path).unwrap().iter().map(|&(at, _)| at).collect::<std::collections::BTreeSet<_>>().len()
    };
    assert_eq!(blocks(&[4000, 96]), 1);
    assert_eq!(blocks(&[4000, 97]), 2);
}

/// A disk with a lost write: once the cache is dropped, a new file reads as another one.
#[derive(Debug)]
struct Elsewhere(PathBuf);

#[derive(Debug)]
struct ReadsAs {
    memory: Arc<dyn File>,
    medium: Arc<dyn File>,
    is_dropped: AtomicBool,
}

impl Disk for Elsewhere {
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        let medium = OsDisk.open_read(&self.0)?.unwrap();
        Ok(Arc::new(ReadsAs { memory: OsDisk.create_new(path)?, medium, is_dropped: AtomicBool::new(false) }))
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
    fn open(&self, _: &Path) -> io::Result<Option<Arc<dyn File>>> {
        unreachable!("not for saving")
    }
    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        OsDisk.open_read(path)
    }
    fn rename(&self, _: &Path, to: &Path) -> io::Result<()> {
        panic!("a snapshot that reads back wrong was put in place at {}", to.display())
    }
    fn sync_dir(&self, _: &Path) -> io::Result<()> {
        unreachable!("no file was put in place")
    }
    fn lock(&self, _: &Path) -> io::Result<Box<dyn Lock>> {
        unreachable!("not for saving")
    }
    fn now(&self) -> Duration {
        OsDisk.now()
    }
    fn entropy(&self) -> u64 {
        OsDisk.entropy()
    }
}

impl ReadsAs {
    fn seen(&self) -> &Arc<dyn File> {
        if self.is_dropped.load(Ordering::Relaxed) { &self.medium } else { &self.memory }
    }
}

impl File for ReadsAs {
    fn size(&self) -> io::Result<u64> {
        self.seen().size()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.seen().read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.memory.write_at(offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.memory.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.memory.sync()
    }
    fn drop_cache(&self) {
        self.is_dropped.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_snapshot_that_reads_back_differently_is_not_put_in_place() {
    let (dir, path) = place();
    forge(&path, &[(b"a", b"old")]);
    let before = std::fs::read(&path).unwrap();
    let (disk, draft) = (Elsewhere(path.clone()), Draft::new(Form::Plain, ID, 8));
    let error = replace(&disk, &path, draft, None, |writer| writer.add(b"a", b"new")).unwrap_err();
    assert!(error.to_string().contains("what was read back is not what was written"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "the scratch file is removed");
}

/// Writes a snapshot with an index to `path`. The longer the keys, the more levels the index has.
fn save_indexed(path: &Path, entries: &BTreeMap<Vec<u8>, Vec<u8>>) -> Header {
    let fill = |writer: &mut Writer| entries.iter().try_for_each(|(key, value)| writer.add(key, value));
    save(&OsDisk, path, Draft::new(Form::Indexed, ID, 7), fill).unwrap()
}

fn entries(count: u32, key_len: usize, value_len: usize) -> BTreeMap<Vec<u8>, Vec<u8>> {
    let entry = |n: u32| {
        let mut key = format!("{:06}", n * 2).into_bytes();
        key.resize(key_len.max(6), b'k');
        (key, vec![n as u8; value_len])
    };
    (0..count).map(entry).collect()
}

fn paged(path: &Path, cache_bytes: usize) -> Result<Paged> {
    Paged::open(OsDisk.open_read(path).unwrap().unwrap(), path, cache_bytes).map(|paged| paged.expect("it has an index"))
}

#[test]
fn every_entry_is_found_by_way_of_the_index_and_no_other() {
    let (_dir, path) = place();
    for (count, key_len, value_len) in
        [(0, 6, 0), (1, 6, 5), (40, 6, 90), (3000, 6, 90), (700, 900, 10), (150, 40_000, 3), (30, 10, 9000)]
    {
        let entries = entries(count, key_len, value_len);
        let header = save_indexed(&path, &entries);
        let all: Vec<Op> = entries.iter().map(|(key, value)| Op::put(key, value)).collect();
        assert!(loaded(&path).unwrap().iter().map(|(_, op)| op).eq(&all), "loading reads all of it too");
        for cache_bytes in [0, 40_000, 1 << 30] {
            let paged = paged(&path, cache_bytes).unwrap();
            assert_eq!(paged.header(), &header);
            for (key, value) in &entries {
                assert_eq!(paged.get(key).unwrap().as_deref(), Some(&value[..]));
                for other in [[&key[..], &[0]].concat(), key[..key.len() - 1].to_vec(), format!("{:06}", 1).into_bytes()] {
                    assert_eq!(paged.get(&other).unwrap(), None);
                }
            }
            assert_eq!((paged.get(b"0").unwrap(), paged.get(b"zzz").unwrap()), (None, None));
        }
    }
}

#[test]
fn ranges_of_the_index_are_those_of_the_entries() {
    let (_dir, path) = place();
    for (count, key_len) in [(1, 6), (400, 6), (2000, 6), (120, 1500)] {
        let entries = entries(count, key_len, 30);
        save_indexed(&path, &entries);
        let paged = paged(&path, 1 << 20).unwrap();
        let keys: Vec<&Vec<u8>> = entries.keys().collect();
        let mut bounds =
            vec![Bound::Unbounded, Bound::Included(&b"0"[..]), Bound::Excluded(&b"zz"[..]), Bound::Included(&b"00001"[..])];
        for key in keys.iter().step_by(37) {
            bounds.extend([Bound::Included(&key[..]), Bound::Excluded(&key[..])]);
        }
        for from in bounds {
            for prefix in [&b""[..], b"0", b"0000", b"00007", b"0001", b"001", b"9", b"z"] {
                for most in [0, 1, 7, usize::MAX] {
                    let listed =
                        entries.range::<[u8], _>((from, Bound::Unbounded)).filter(|(key, _)| key.starts_with(prefix)).take(most);
                    let found = paged.range(from, prefix, most).unwrap();
                    assert!(
                        found.iter().map(|(key, value)| (&**key, &**value)).eq(listed.map(|(key, value)| (&key[..], &value[..]))),
                        "{from:?} {prefix:?} {most}"
                    );
                }
            }
        }
    }
}

/// Flips a bit in each byte of the header and the index, and in every third byte of the entries. A lookup must return
/// the right value or an error that names the place, never a wrong value. Reading the whole snapshot must find the
/// damage.
#[test]
fn no_flipped_bit_of_an_indexed_snapshot_gives_a_wrong_value() {
    let (_dir, path) = place();
    let entries = entries(36, 700, 10);
    let header = save_indexed(&path, &entries);
    let mut bytes = std::fs::read(&path).unwrap();
    let indexes = bytes.windows(4).filter(|four| **four == [b'k'; 4]).count() - 36 * (700 - 9);
    assert!(indexes > 8 * 600, "two blocks of an index and a root that lists them");
    let (mut at_open, mut at_get) = (0, 0);
    for at in 0..bytes.len() {
        let flipped = 1 << (at % 8);
        if at % 3 > 0 && bytes[at] == b'k' {
            continue;
        }
        bytes[at] ^= flipped;
        let file = Arc::new(ReadOnly(InMemory::new(bytes.clone())));
        bytes[at] ^= flipped;
        assert!(load(Arc::clone(&file) as Arc<dyn File>, &path, |_, _| {}).is_err(), "byte {at} of {}", bytes.len());
        let Ok(paged) = Paged::open(file, &path, 1 << 20) else {
            at_open += 1;
            continue;
        };
        let paged = paged.expect("it has an index");
        let mut failed = 0;
        for (key, value) in &entries {
            match paged.get(key) {
                Ok(found) => assert_eq!(found.as_deref(), Some(&value[..]), "byte {at}"),
                Err(error) => {
                    assert!(matches!(error, Error::Damaged { offset, .. } if offset <= at as u64), "{error:?}");
                    failed += 1;
                }
            }
        }
        assert!(failed > 0, "byte {at}");
        match paged.range(Bound::Unbounded, b"", usize::MAX) {
            Err(Error::Damaged { .. }) => at_get += 1,
            other => panic!("byte {at}: {other:?}"),
        }
    }
    assert!(at_open > HEADER_BYTES && at_get > 2 * at_open, "{at_open} {at_get}");
    assert!(header.root.is_some_and(|root| root.offset > 0));
}

/// All checksums of the index match, but it lists a block that does not exist.
#[test]
fn an_index_that_does_not_match_the_blocks_is_refused() {
    let (_dir, path) = place();
    let error = save(&OsDisk, &path, Draft::new(Form::Indexed, ID, 7), |writer| {
        writer.add(b"a", b"1")?;
        writer.close_block();
        writer.index.as_mut().unwrap().block(b"b", Ref { offset: 96, len: 50, check: 7 });
        Ok(())
    })
    .unwrap_err();
    assert!(
        error.to_string().contains("reading it back") && error.to_string().contains("does not match the blocks that it lists"),
        "{error}"
    );
}

/// The block is whole and of this snapshot, but it is another one.
#[test]
fn a_whole_block_in_the_place_of_another_is_refused() {
    let (_dir, path) = place();
    let entries = entries(40, 700, 10);
    save_indexed(&path, &entries);
    let mut bytes = std::fs::read(&path).unwrap();
    let one = HEADER_BYTES..HEADER_BYTES + record::HEADER_BYTES + 5 * (9 + 700 + 10);
    let other = one.end..one.end + one.len();
    let copy = bytes[one].to_vec();
    bytes[other.clone()].copy_from_slice(&copy);
    std::fs::write(&path, &bytes).unwrap();
    let paged = paged(&path, 0).unwrap();
    let errors: Vec<Error> = entries.keys().filter_map(|key| paged.get(key).err()).collect();
    assert_eq!(errors.len(), 5);
    assert!(errors.iter().all(|error| error.to_string().contains("not the one that the index names")), "{errors:?}");
}

/// No memory mapping, so no SIGBUS: after another program has truncated the open file, lookups return errors.
#[test]
fn a_snapshot_that_is_truncated_while_it_is_open_gives_errors() {
    let (_dir, path) = place();
    let entries = entries(3000, 6, 90);
    save_indexed(&path, &entries);
    let paged = paged(&path, 0).unwrap();
    let file = OsDisk.open(&path).unwrap().unwrap();
    file.set_len(file.size().unwrap() / 2).unwrap();
    let (mut right, mut failed) = (0, 0);
    for (key, value) in &entries {
        match paged.get(key) {
            Ok(found) => {
                assert_eq!(found.as_deref(), Some(&value[..]));
                right += 1;
            }
            Err(error) => {
                assert!(error.to_string().contains("the file ends inside the block"), "{error}");
                failed += 1;
            }
        }
    }
    assert_eq!(right, 0, "the root is at the end, and the cache is empty");
    assert_eq!(failed, entries.len());
}

#[test]
fn the_cache_keeps_blocks_up_to_its_size() {
    let (_dir, path) = place();
    let entries = entries(3000, 6, 90);
    save_indexed(&path, &entries);
    let paged = paged(&path, 60_000).unwrap();
    for key in entries.keys().chain(entries.keys().rev()) {
        paged.get(key).unwrap();
        assert!(paged.cached_bytes() <= 60_000);
    }
    assert!(paged.cached_bytes() > 50_000);
}

/// Writes a snapshot to `path` whose frames have these kinds and bodies. All its checksums match.
fn forge_frames(path: &Path, root: Option<Ref>, frames: &[(Kind, Vec<u8>)]) {
    let file = made(path);
    let fill = |writer: &mut Writer| {
        for (kind, body) in frames {
            writer.place.seq += u64::from(*kind == Kind::ENTRIES);
            writer.frame(*kind, body);
        }
        Ok(())
    };
    let (header, _) = write(&file, path, Draft::new(Form::Plain, ID, 7), fill).unwrap();
    let header = Header { root, ..header };
    write_all_at(&*file, 0, &header.encode()).unwrap();
}

/// One entry with a key of `len` bytes.
fn long_entry(first: u8, len: usize) -> Vec<u8> {
    let mut body = Vec::new();
    OpRef { key: &[&[first][..], &vec![b'k'; len - 1]].concat(), value: Some(b"") }.encode(&mut body);
    body
}

/// All its blocks are whole. Only making the index again shows that a block is missing.
#[test]
fn a_snapshot_that_lacks_a_block_of_its_index_is_refused() {
    let (_dir, path) = place();
    let some = Some(Ref { offset: 96, len: 50, check: 7 });
    let entries =
        |count: u8| (b'a'..).take(count.into()).map(|first| (Kind::ENTRIES, long_entry(first, 3000))).collect::<Vec<_>>();
    let offset = |frames: &[(Kind, Vec<u8>)]| {
        (HEADER_BYTES + frames.iter().map(|(_, body)| record::HEADER_BYTES + body.len()).sum::<usize>()) as u64
    };
    // Two keys of 3000 bytes fill a block of the index.
    forge_frames(&path, some, &entries(3));
    refused(&path, offset(&entries(2)), "a block of the index is missing");
    // An index of one block, which only the end of the entries closes, followed by another block of entries.
    let mut frames = entries(1);
    let mut builder = Builder::default();
    let check = {
        forge_frames(&path, some, &frames);
        le32(&std::fs::read(&path).unwrap(), HEADER_BYTES)
    };
    builder.block(&frames[0].1[9..][..3000], Ref::to_block(96, frames[0].1.len(), check));
    builder.finish();
    frames.push((Kind::INDEX, builder.due().unwrap().to_vec()));
    let behind = offset(&frames);
    frames.push((Kind::ENTRIES, long_entry(b'b', 3000)));
    forge_frames(&path, some, &frames);
    refused(&path, behind, "a block of the index is missing");
    // No block of an index at all.
    for root in [some, Some(Ref::default())] {
        forge_frames(&path, root, &entries(1));
        refused(&path, 0, "the header names another root of the index than the file has");
    }
    forge_frames(&path, None, &frames[..2]);
    refused(&path, offset(&frames[..1]), "a block of an index, but its header says that it has none");
}

#[test]
fn a_load_that_is_stopped_hands_over_no_more_and_gives_no_verdict() {
    let (_dir, path) = place();
    forge(&path, &[(b"a", b"1"), (b"b", b"2"), (b"c", b"3")]);
    let read = |most: usize| {
        let mut keys = Vec::new();
        let file = OsDisk.open_read(&path).unwrap().unwrap();
        let header = load_while(file, &path, |at, entry| {
            assert_eq!(at, 96);
            keys.extend_from_slice(entry.key);
            if keys.len() == most { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        (header.unwrap().map(|header| header.entries), keys)
    };
    assert_eq!(read(2), (None, b"ab".to_vec()));
    assert_eq!(read(4), (Some(3), b"abc".to_vec()));
    // The digest is wrong, which only a complete load can find.
    let mut bytes = std::fs::read(&path).unwrap();
    let header = Header { digest: Digest(7), ..Header::decode(&path, &bytes).unwrap() };
    bytes[..HEADER_BYTES].copy_from_slice(&header.encode());
    std::fs::write(&path, &bytes).unwrap();
    assert_eq!(read(3), (None, b"abc".to_vec()));
    refused(&path, 0, "but its header says");
}

#[test]
fn a_snapshot_is_saved_again_in_another_form_and_a_damaged_one_is_not() {
    let (dir, path) = place();
    let entries = entries(40, 6, 300);
    let other = StoreId(*b"another store id");
    let plain = {
        let entries: Vec<(&[u8], &[u8])> = entries.iter().map(|(key, value)| (&key[..], &value[..])).collect();
        forge(&path, &entries)
    };
    let open = || OsDisk.open_read(&path).unwrap().unwrap();
    let good = std::fs::read(&path).unwrap();
    let last = good.len() - 1;
    for at in [HEADER_BYTES + 5, last] {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        std::fs::write(&path, &bytes).unwrap();
        let error = save_again(&OsDisk, &path, Form::Indexed, other, open()).unwrap_err();
        assert!(matches!(&error, Error::Damaged { path: named, .. } if *named == path), "{error:?}");
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "the scratch file is removed");
    }
    std::fs::write(&path, &good).unwrap();
    let again = save_again(&OsDisk, &path, Form::Indexed, other, open()).unwrap();
    assert_eq!((again.store_id, again.seq, again.entries, again.digest), (other, 7, 40, plain.digest));
    assert!(loaded(&path).unwrap().iter().map(|(_, op)| op).eq(&entries.iter().map(|(k, v)| Op::put(k, v)).collect::<Vec<_>>()));
    assert!(again.root.is_some_and(|root| root != Ref::default()));
}

/// All checksums of the blocks match, but no store writes blocks like them.
#[test]
fn an_index_that_names_no_valid_block_is_an_error_with_the_place() {
    let (_dir, path) = place();
    let check_of = |n: usize, len: usize| {
        let bytes = std::fs::read(&path).unwrap();
        le32(&bytes, HEADER_BYTES + n * (record::HEADER_BYTES + len))
    };
    let opened = || Paged::open(OsDisk.open_read(&path).unwrap().unwrap(), &path, 0);
    let damaged = |at: u64, says: &str| match opened() {
        Err(Error::Damaged { offset, reason, .. }) => assert!(offset == at && reason.contains(says), "{offset} {reason}"),
        other => panic!("{other:?}"),
    };
    let body = long_entry(b'a', 20);
    let frame = (record::HEADER_BYTES + body.len()) as u32;
    let frames = |kind: Kind, body: &[u8]| vec![(kind, body.to_vec())];
    let root = |offset: u64, len: u32, check: u32| Some(Ref { offset, len, check });
    forge_frames(&path, root(1, 1, 1), &frames(Kind::ENTRIES, &body));
    let check = check_of(0, body.len());
    // The whole file is this long.
    let end = HEADER_BYTES as u64 + u64::from(frame);
    let no_place = "the index names a block at a place where none can be";
    let tail = frame - 32;
    for (offset, len) in [
        (95, frame),
        (97, frame),
        (end, frame),
        (u64::MAX, frame),
        (96, frame + 1),
        (96, 32),
        (96, 0),
        (end - u64::from(tail), tail + 1),
    ] {
        forge_frames(&path, root(offset, len, check), &frames(Kind::ENTRIES, &body));
        damaged(offset, no_place);
    }
    forge_frames(&path, Some(Ref::default()), &[]);
    let empty = opened().unwrap().unwrap();
    assert_eq!((empty.get(b"a").unwrap(), empty.range(Bound::Unbounded, b"", 9).unwrap()), (None, Vec::new()));
    let file = OsDisk.open(&path).unwrap().unwrap();
    let (header, _) = write(&file, &path, Draft::new(Form::Plain, ID, 7), |writer| writer.add(b"a", b"1")).unwrap();
    write_all_at(&*file, 0, &Header { root: Some(Ref::default()), ..header }.encode()).unwrap();
    damaged(0, "the header names no root of the index");
    let (header, _) = write(&file, &path, Draft::new(Form::Plain, ID, 7), |_| Ok(())).unwrap();
    assert_eq!(header.root, None);
    file.set_len(HEADER_BYTES as u64).unwrap();
    assert!(opened().unwrap().is_none(), "without an index");
    // A frame of another kind.
    forge_frames(&path, root(96, frame, check), &frames(Kind::WRITE, &body));
    forge_frames(&path, root(96, frame, check_of(0, body.len())), &frames(Kind::WRITE, &body));
    damaged(96, "the block is not one of entries or of the index");
    // The frame is longer or shorter than the index says, or only a head.
    for len in [frame - 1, frame + 1, record::HEADER_BYTES as u32] {
        let two = vec![(Kind::ENTRIES, body.clone()), (Kind::ENTRIES, long_entry(b'b', 20))];
        forge_frames(&path, root(96, len, check), &two);
        damaged(96, "the block here is not the one that the index names");
    }
    // Invalid entries, and invalid blocks of the index.
    let (no_key, short_key) = ([0; 20], [&[0; 16][..], &[9, 0, 0, 0], b"8 bytes!"].concat());
    let bodies = [&b"too short"[..], &no_key[..17], &no_key, &short_key].map(|body| (Kind::INDEX, body));
    for (kind, body) in [(Kind::ENTRIES, &b"\x01\x01\0\0"[..])].into_iter().chain(bodies) {
        forge_frames(&path, root(96, frame, check), &frames(kind, body));
        let (len, check) = ((record::HEADER_BYTES + body.len()) as u32, check_of(0, body.len()));
        forge_frames(&path, root(96, len, check), &frames(kind, body));
        damaged(96, "the block's content is invalid");
    }
    // Junk behind a valid entry of the index.
    let mut builder = Builder::default();
    builder.block(&body[9..][..20], Ref::to_block(96, body.len(), check));
    builder.finish();
    let index = [builder.due().unwrap(), b"junk"].concat();
    let two = [(Kind::ENTRIES, body.clone()), (Kind::INDEX, index.clone())];
    forge_frames(&path, None, &two);
    forge_frames(&path, root(end, (record::HEADER_BYTES + index.len()) as u32, check_of(1, body.len())), &two);
    damaged(end, "the block's content is invalid");
}

//! The log alone: its header, its groups, refused writes, and reserved space.

use super::*;
use crate::MAX_SEQ;
use crate::disk::OsDisk;
use crate::disk::sim::{Change, Fate, Image, PowerCut, Rest, SimDisk, World};
use crate::error::Error;

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

fn write(wal: &mut Wal) {
    let mut group = wal.take();
    group.write().unwrap();
    wal.complete(group);
}

fn put(wal: &mut Wal, seq: Seq, body: &[u8], nonce: u64) {
    let salt = wal.salt();
    wal.append(Kind::WRITE, seq, 0, || nonce, &Body::new(body, salt));
}

/// Sequence number and body of the writes in these bytes of a log, up to the end of their chain.
fn writes_in(bytes: &[u8]) -> Vec<(Seq, Vec<u8>)> {
    let header = Header::decode(Path::new("log"), bytes).unwrap();
    let (mut writes, mut link, mut last) = (Vec::new(), header.salt, header.base);
    let mut rest = &bytes[HEADER_BYTES..];
    while let Ok(head) = record::decode_header(rest, header.salt) {
        let due = last + u64::from(head.kind == Kind::WRITE);
        let Some((body, behind)) = rest[record::HEADER_BYTES..].split_at_checked(head.body_len) else { break };
        if head.link != link || head.seq != due || record::check_body(&head, header.salt, body).is_err() {
            break;
        }
        if head.kind == Kind::WRITE {
            writes.push((head.seq, body.to_vec()));
        }
        (link, last, rest) = (head.check, head.seq, behind);
    }
    writes
}

/// A file that refuses every write.
#[derive(Debug)]
struct Refusing(Arc<dyn File>, io::ErrorKind);

impl File for Refusing {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, out)
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
        Err(self.1.into())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.0.sync()
    }
    fn drop_cache(&self) {}
}

#[test]
fn the_mark_of_an_opening_is_in_the_file_before_any_write_or_waits_for_space() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let create = || {
        let _ = std::fs::remove_file(&path);
        Wal::create(&OsDisk, &path, ID, 0).unwrap()
    };
    let mut wal = create();
    wal.mark_opening(0, || 9).unwrap();
    assert_eq!((wal.len_bytes(), wal.buffered_bytes()), (HEADER_BYTES as u64 + OPENED_BYTES as u64, 0));
    let bytes = std::fs::read(&path).unwrap();
    let header = Header::decode(&path, &bytes).unwrap();
    assert_eq!((wal.salt(), wal.len_bytes()), (header.salt, bytes.len() as u64));
    assert_eq!(record::decode_header(&bytes[HEADER_BYTES..], header.salt).unwrap().kind, Kind::OPENED);

    use io::ErrorKind::{FileTooLarge, PermissionDenied, QuotaExceeded, StorageFull, WriteZero};
    for (kind, is_no_space) in
        [(StorageFull, true), (QuotaExceeded, true), (FileTooLarge, true), (WriteZero, true), (PermissionDenied, false)]
    {
        let mut wal = create();
        let file = Arc::clone(&wal.file);
        wal.file = Arc::new(Refusing(Arc::clone(&file), kind));
        assert_eq!(wal.mark_opening(0, || 9).is_ok(), is_no_space, "{kind}");
        if is_no_space {
            wal.file = file;
            put(&mut wal, 1, b"when there is room", 9);
            write(&mut wal);
            assert_eq!(wal.len_bytes() as usize, HEADER_BYTES + OPENED_BYTES + record::HEADER_BYTES + 18);
        }
    }
}

#[test]
fn space_is_reserved_for_groups_like_the_present_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::create(&OsDisk, &dir.path().join("log"), ID, 0).unwrap();
    let mut reserved = |body_len: usize| {
        put(&mut wal, 1, &vec![1; body_len], 9);
        let mut group = wal.take();
        assert_eq!(group.len_bytes() as usize, group.bytes.len());
        let reserve = group.reserve;
        group.write().unwrap();
        wal.complete(group);
        (reserve, wal.len_bytes())
    };
    // A small log gets little, and no more as long as that is enough.
    assert_eq!(reserved(4), (Some((64, 8192)), 142));
    assert_eq!(reserved(4), (None, 179));
    assert_eq!(
        reserved(8191 - 179 - record::HEADER_BYTES),
        (None, 8191),
        "a byte remains, so that the last write is not at the end of the file"
    );
    assert_eq!(reserved(4), (Some((8192, 20480)), 8228));
    // As much as the log is long, then sixteen groups, then a megabyte.
    assert_eq!(reserved(20_000 - record::HEADER_BYTES), (Some((20480, 57344)), 28_228));
    assert_eq!(reserved(400_000 - record::HEADER_BYTES), (Some((57344, 856_064 + 4096)), 428_228));
    assert_eq!(reserved(435_000 - record::HEADER_BYTES), (Some((860_160, 1_728_512)), 863_228));
    assert_eq!(reserved(870_000 - record::HEADER_BYTES), (Some((1_728_512, 2_785_280)), 1_733_228));
    assert_eq!(reserved(1_060_000 - record::HEADER_BYTES), (Some((2_785_280, 3_842_048)), 2_793_228));
}

#[test]
fn bodies_are_found_in_the_buffer_and_in_the_group_in_flight() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::create(&OsDisk, &dir.path().join("log"), ID, 0).unwrap();
    put(&mut wal, 1, b"one", 9);
    let one = wal.position();
    put(&mut wal, 2, b"second", 9);
    let second = wal.position();
    assert_eq!((wal.body(one, 3), wal.body(second, 6)), (&b"one"[..], &b"second"[..]));
    let group = wal.take();
    put(&mut wal, 3, b"third", 9);
    let third = wal.position();
    assert_eq!((wal.body(one, 3), wal.body(second, 6), wal.body(third, 5)), (&b"one"[..], &b"second"[..], &b"third"[..]));
    drop(group);
}

#[test]
fn a_refused_write_leaves_no_byte_and_a_new_chain_begins() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let mut wal = Wal::create(&OsDisk, &path, ID, 0).unwrap();
    assert!(wal.is_marked_closed(), "nothing was written, so no mark is needed");
    assert_eq!((wal.len_bytes(), wal.buffered_bytes(), wal.path(), wal.store_id()), (64, 0, &*path, ID));
    put(&mut wal, 1, b"body", 9);
    assert!(!wal.is_marked_closed());
    let (keep, one) = (wal.position(), wal.buffer.clone());
    put(&mut wal, 2, b"refused", 9);
    let group = wal.take();
    put(&mut wal, 3, b"came later", 9);
    wal.take_back(group, keep, || 10);
    assert_eq!(wal.buffer.len(), one.len(), "one mark, and the write that is kept");
    assert_ne!(wal.buffer, one, "in another chain");
    put(&mut wal, 2, b"another", 9);
    let both = wal.buffer.clone();
    let mut group = wal.take();
    group.write().unwrap();
    group.give_back();
    wal.complete(group);
    assert_eq!((wal.len_bytes(), wal.buffered_bytes()), (64 + both.len() as u64, 0));
    assert!(!wal.is_marked_closed());
    assert_eq!(std::fs::read(&path).unwrap()[64..], both);
    assert_eq!(writes_in(&std::fs::read(&path).unwrap()), [(1, b"body".to_vec()), (2, b"another".to_vec())]);

    let before = wal.position();
    put(&mut wal, 3, b"refused", 11);
    let group = wal.take();
    wal.take_back(group, before, || unreachable!("nothing is kept"));
    assert_eq!(wal.buffered_bytes(), 0, "nothing is kept, and the mark waits for the next write");
    put(&mut wal, 3, b"more", 12);
    write(&mut wal);
    assert_eq!(wal.len_bytes() as usize, 64 + both.len() + OPENED_BYTES + record::HEADER_BYTES + 4);
    assert_eq!(writes_in(&std::fs::read(&path).unwrap()).last().unwrap().1, b"more");
    let names = || std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    assert!(names().eq(["log"]), "no scratch file is left");
}

/// All power cuts of this world: the fates of the units that are not durable, the length, and the bytes that holes
/// show.
fn cuts(world: &World) -> Vec<PowerCut> {
    let fates = [Fate::Kept, Fate::Lost, Fate::Torn(20), Fate::Stale(0), Fate::Stale(1), Fate::Stale(2)];
    let mut all = vec![Vec::new()];
    for _ in 0..world.units() {
        all = all.into_iter().flat_map(|some: Vec<Fate>| fates.map(|fate| [some.clone(), vec![fate]].concat())).collect();
    }
    let rests = (0..4).flat_map(|length| (0..4).map(move |hole| Rest { length, hole }));
    let each = rests.flat_map(|rest| all.iter().map(move |fates| PowerCut { fates: fates.clone(), rests: vec![rest] }));
    each.collect()
}

#[test]
fn no_power_cut_brings_a_refused_write_back() {
    let path = Path::new("/log");
    // How many writes are kept, how long the refused ones are, and how many groups in a row are refused.
    let shapes = [0, 1, 2].into_iter().flat_map(|kept| [3, 8, 30, 300].map(|len| (kept, len)));
    for ((kept, len), times) in shapes.flat_map(|shape| [(shape, 1), (shape, 2)]) {
        let disk = SimDisk::new(&Image::new(), 5);
        let mut wal = Wal::create(&disk, path, ID, 0).unwrap();
        put(&mut wal, 1, b"first", 9);
        write(&mut wal);
        wal.file.sync().unwrap();
        (2..2 + kept).for_each(|seq| put(&mut wal, seq, b"kept", 9));
        for time in 0..times {
            let keep = wal.position();
            (0..3).for_each(|i| put(&mut wal, 2 + kept + i, &vec![b'r'; len], 10 + time));
            let group = wal.take();
            // All writes but the last are in the file when the disk is full.
            let taken = group.bytes.len() - len - record::HEADER_BYTES;
            group.file.write_at(group.at, &group.bytes[..taken]).unwrap();
            group.file.set_len(group.at).unwrap();
            group.file.sync().unwrap();
            wal.take_back(group, keep, || 20 + time);
        }
        put(&mut wal, 2 + kept, b"another", 12);
        let refused_at = disk.changes();
        let mut group = wal.take();
        group.write().unwrap();
        group.sync().unwrap();
        wal.complete(group);

        let (trace, mut world) = (disk.trace(), World::default());
        let mut expected = vec![(1, b"first".to_vec())];
        expected.extend((2..2 + kept).map(|seq| (seq, b"kept".to_vec())));
        expected.push((2 + kept, b"another".to_vec()));
        for (number, change) in trace.iter().enumerate() {
            world.apply(change);
            if number + 1 == trace.len() {
                assert_eq!(writes_in(&world.after_death(None)[path]), expected);
            }
            if let (true, Change::Write(_, _, bytes)) = (number == refused_at && kept > 0, change) {
                assert!(bytes.len() < record::HEADER_BYTES, "no record is so short");
            }
            for cut in cuts(&world).into_iter().filter(|_| number + 1 >= refused_at) {
                let found = writes_in(&world.after_power_cut(&cut)[path]);
                assert!(expected.starts_with(&found), "{kept} {len} {times}, after change {number}, {cut}: {found:?}");
            }
        }
    }
}

#[test]
fn the_memory_of_a_large_group_is_released() {
    let dir = tempfile::tempdir().unwrap();
    let mut wal = Wal::create(&OsDisk, &dir.path().join("log"), ID, 0).unwrap();
    for (size, most) in [(9 << 20, KEEP_BUFFER_BYTES), (1 << 20, KEEP_BUFFER_BYTES)] {
        wal.append(Kind::WRITE, 1, 0, || 9, &Body::new(vec![0; size], 0));
        write(&mut wal);
        assert!((1 << 20..=most).contains(&wal.spare.capacity()), "{}", wal.spare.capacity());
    }
}

//! The snapshot: the state after exactly one write, saved all or nothing.
//!
//! ```text
//! snapshot := header meta frame*           (frames of kind 4: see `record`)
//!
//!  offset size  header field
//!       0    8  magic       89 6b 76 73 6e 61 0d 0a  (a high bit, "kvsna", CR LF)
//!       8    4  version     1
//!      12   16  store id    also in the log
//!      28    4  meta length 0 for now; bytes that a replica stores beside the state
//!      32    8  sequence    of the last write in the state
//!      40    8  entries     their count
//!      48    8  data length of all frames
//!      56   16  digest      of the state (see `Digest`)
//!      72    4  meta check  CRC-32 of the meta bytes
//!      76   16  zero
//!      92    4  check       CRC-32 of bytes 0..92
//! ```
//!
//! The frames hold the entries in ascending key order, about 4 KiB to a frame, each encoded as the
//! put of a log frame; their sequence numbers are 1, 2, 3 …, their salt is the CRC-32 of store id
//! and sequence, their `durable` is 0: a snapshot is durable as a whole or not at all. The same
//! state of the same store gives the same bytes.
//!
//! Steps of [`save`], each of which leaves the old snapshot whole when it fails:
//! 1. create `<snapshot>.tmp`, which did not exist, 2. write it, the header last, 3. sync it,
//! 4. read it back from the medium and check every byte, 5. rename it, 6. sync the directory.
//!
//! Only then may the log let go of what the snapshot covers.

use crate::disk::{Disk, File, create_tmp, read_full_at, write_all_at};
use crate::error::{Error, Result};
use crate::magic::{SNAPSHOT as MAGIC, describe};
use crate::record::{self, Body, Kind, Place, crc, le32, le64};
use crate::scan::{Frames, Next};
use crate::state::{self, Digest, Digester, Key, Map, OpRef};
use crate::{MAX_SEQ, SNAPSHOT_FORMAT, Seq, StoreId, with_suffix};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

pub(crate) const HEADER_BYTES: usize = 96;
const VERSION_AT: usize = 8;
const ID_AT: usize = 12;
const META_LEN_AT: usize = 28;
const SEQ_AT: usize = 32;
const ENTRIES_AT: usize = 40;
const DATA_LEN_AT: usize = 48;
const DIGEST_AT: usize = 56;
const META_CHECK_AT: usize = 72;
const ZERO_AT: usize = 76;
const CHECK_AT: usize = 92;

/// A frame is closed when its entries reach this size.
const BLOCK_BYTES: usize = 4096;
/// So much is collected for one write.
const WRITE_BYTES: usize = 1 << 20;
/// So much is written between two syncs: all at once at the end would keep the disk from the syncs of the log.
const SYNC_BYTES: u64 = 8 << 20;

/// What the header of a snapshot says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) store_id: StoreId,
    pub(crate) seq: Seq,
    pub(crate) entries: u64,
    pub(crate) data_len: u64,
    pub(crate) digest: Digest,
    pub(crate) meta_len: u32,
    pub(crate) meta_check: u32,
}

impl Header {
    pub(crate) fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..VERSION_AT].copy_from_slice(&MAGIC);
        bytes[VERSION_AT..ID_AT].copy_from_slice(&SNAPSHOT_FORMAT.to_le_bytes());
        bytes[ID_AT..META_LEN_AT].copy_from_slice(&self.store_id.0);
        bytes[META_LEN_AT..SEQ_AT].copy_from_slice(&self.meta_len.to_le_bytes());
        bytes[SEQ_AT..ENTRIES_AT].copy_from_slice(&self.seq.to_le_bytes());
        bytes[ENTRIES_AT..DATA_LEN_AT].copy_from_slice(&self.entries.to_le_bytes());
        bytes[DATA_LEN_AT..DIGEST_AT].copy_from_slice(&self.data_len.to_le_bytes());
        bytes[DIGEST_AT..META_CHECK_AT].copy_from_slice(&self.digest.0.to_le_bytes());
        bytes[META_CHECK_AT..ZERO_AT].copy_from_slice(&self.meta_check.to_le_bytes());
        let check = crc(0, &bytes[..CHECK_AT]);
        bytes[CHECK_AT..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    /// Reads the header out of the first bytes of the file at `path`.
    pub(crate) fn decode(path: &Path, bytes: &[u8]) -> Result<Header> {
        let known = bytes.len().min(MAGIC.len());
        if bytes.is_empty() {
            return Err(Error::damaged(path, 0, damage("the file is empty")));
        }
        if bytes[..known] != MAGIC[..known] {
            return Err(Error::foreign(path, describe(bytes)));
        }
        if bytes.len() < HEADER_BYTES {
            return Err(Error::damaged(path, bytes.len() as u64, damage("the file ends inside the header")));
        }
        if le32(bytes, CHECK_AT) != crc(0, &bytes[..CHECK_AT]) {
            return Err(Error::damaged(path, 0, damage("the checksum of the header does not match")));
        }
        let version = le32(bytes, VERSION_AT);
        if version != SNAPSHOT_FORMAT {
            let found = format!("format version {version}");
            return Err(Error::Version { path: path.to_path_buf(), found, supported: SNAPSHOT_FORMAT });
        }
        if le64(bytes, SEQ_AT) > MAX_SEQ || bytes[ZERO_AT..CHECK_AT].iter().any(|&byte| byte != 0) {
            let found = "a header with fields of a newer format".to_string();
            return Err(Error::Version { path: path.to_path_buf(), found, supported: SNAPSHOT_FORMAT });
        }
        Ok(Header {
            store_id: StoreId(bytes[ID_AT..META_LEN_AT].try_into().expect("sixteen bytes")),
            seq: le64(bytes, SEQ_AT),
            entries: le64(bytes, ENTRIES_AT),
            data_len: le64(bytes, DATA_LEN_AT),
            digest: Digest(u128::from_le_bytes(bytes[DIGEST_AT..META_CHECK_AT].try_into().expect("sixteen bytes"))),
            meta_len: le32(bytes, META_LEN_AT),
            meta_check: le32(bytes, META_CHECK_AT),
        })
    }

    /// Begins every checksum of its frames.
    pub(crate) fn salt(&self) -> u32 {
        crc(crc(0, &self.store_id.0), &self.seq.to_le_bytes())
    }

    /// Length of a file with this header.
    pub(crate) fn file_len(&self) -> Option<u64> {
        (HEADER_BYTES as u64 + u64::from(self.meta_len)).checked_add(self.data_len)
    }
}

fn damage(what: &str) -> String {
    format!(
        "{what}; a snapshot is never written in place, so no crash causes this; not opened, nothing changed; restore it from a copy"
    )
}

/// Saves the state after write `seq`, whose entries `fill` hands over in key order.
pub(crate) fn save(
    disk: &dyn Disk,
    path: &Path,
    store_id: StoreId,
    seq: Seq,
    fill: impl FnOnce(&mut Writer<'_>) -> io::Result<()>,
) -> Result<Header> {
    const NOT_TAKEN: &str = "no snapshot was taken, the log and the old snapshot are as they were: writing";
    let tmp = with_suffix(path, ".tmp");
    let saved = create_tmp(disk, &tmp).and_then(|file| {
        let header = write(&*file, store_id, seq, fill)?;
        file.drop_cache();
        let read = load(file, &tmp, |_, _| {}).map_err(|e| io::Error::other(format!("reading it back: {e}")))?;
        if read != header {
            return Err(io::Error::other("it reads back as another snapshot than was written"));
        }
        disk.rename(&tmp, path)?;
        Ok(header)
    });
    let header = saved.map_err(Error::io(NOT_TAKEN, &tmp)).inspect_err(|_| drop(disk.remove(&tmp)))?;
    disk.sync_dir(path).map_err(|e| Error::Poisoned {
        path: path.to_path_buf(),
        reason: format!("the directory could not be synced after a snapshot was put in place: {e}"),
        pending: 0,
    })?;
    Ok(header)
}

fn write(
    file: &dyn File,
    store_id: StoreId,
    seq: Seq,
    fill: impl FnOnce(&mut Writer<'_>) -> io::Result<()>,
) -> io::Result<Header> {
    let header = Header { store_id, seq, entries: 0, data_len: 0, digest: Digest(0), meta_len: 0, meta_check: crc(0, b"") };
    let place = Place { salt: header.salt(), link: header.salt(), seq: 0, durable: 0 };
    let mut writer = Writer { file, header, digester: Digester::default(), out: Vec::new(), body: Vec::new(), place };
    fill(&mut writer)?;
    writer.close_block();
    writer.write_out()?;
    let Writer { mut header, digester, .. } = writer;
    header.digest = digester.digest();
    write_all_at(file, 0, &header.encode())?;
    file.sync()?;
    Ok(header)
}

/// A snapshot that is being written.
pub(crate) struct Writer<'a> {
    file: &'a dyn File,
    header: Header,
    digester: Digester,
    /// Whole frames that are not in the file yet.
    out: Vec<u8>,
    /// The body of the frame that is being filled.
    body: Vec<u8>,
    place: Place,
}

impl Writer<'_> {
    /// Adds the entry that is next in key order.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> io::Result<()> {
        let entry = OpRef { key, value: Some(value) };
        if self.body.len() + entry.encoded_len() > BLOCK_BYTES {
            self.close_block();
        }
        entry.encode(&mut self.body);
        self.header.entries += 1;
        self.digester.add(key, value);
        if self.out.len() >= WRITE_BYTES { self.write_out() } else { Ok(()) }
    }

    fn close_block(&mut self) {
        if !self.body.is_empty() {
            self.place.seq += 1;
            let body = Body::new(&self.body, self.place.salt);
            self.place.link = record::encode(&mut self.out, self.place, Kind::ENTRIES, &body);
            self.body.clear();
        }
    }

    fn write_out(&mut self) -> io::Result<()> {
        write_all_at(self.file, HEADER_BYTES as u64 + self.header.data_len, &self.out)?;
        let before = self.header.data_len;
        self.header.data_len += self.out.len() as u64;
        self.out.clear();
        if before / SYNC_BYTES == self.header.data_len / SYNC_BYTES { Ok(()) } else { self.file.sync() }
    }
}

/// Reads the header of the snapshot `file`.
pub(crate) fn read_header(file: &dyn File, path: &Path) -> Result<Header> {
    let mut bytes = [0; HEADER_BYTES];
    let got = read_full_at(file, 0, &mut bytes).map_err(Error::io("reading", path))?;
    Header::decode(path, &bytes[..got])
}

/// Reads and checks a whole snapshot; `each` gets the entries in key order, with the offset of their frame. Nothing that `each`
/// got may be used when this fails.
pub(crate) fn load(file: Arc<dyn File>, path: &Path, each: impl FnMut(u64, OpRef<'_>)) -> Result<Header> {
    load_ahead(file, path, 0, each)
}

/// As [`load`]; another thread reads ahead, so many bytes at once, where that is not 0.
pub(crate) fn load_ahead(
    file: Arc<dyn File>,
    path: &Path,
    step_bytes: usize,
    mut each: impl FnMut(u64, OpRef<'_>),
) -> Result<Header> {
    let whole = walk(file, path, step_bytes, |at, op| {
        each(at, op);
        ControlFlow::Continue(())
    })?;
    Ok(whole.expect("nobody broke off"))
}

/// As [`load`]; `None` when `each` broke off.
pub(crate) fn load_while(
    file: Arc<dyn File>,
    path: &Path,
    each: impl FnMut(u64, OpRef<'_>) -> ControlFlow<()>,
) -> Result<Option<Header>> {
    walk(file, path, 0, each)
}

fn walk(
    file: Arc<dyn File>,
    path: &Path,
    step_bytes: usize,
    mut each: impl FnMut(u64, OpRef<'_>) -> ControlFlow<()>,
) -> Result<Option<Header>> {
    let len = file.size().map_err(Error::io("reading", path))?;
    let header = read_header(&*file, path)?;
    if header.file_len() != Some(len) {
        let reason = format!(
            "the file has {len} bytes where its header promises {}",
            header.file_len().map_or("more than can be".into(), |n| n.to_string())
        );
        return Err(Error::damaged(path, len.min(header.file_len().unwrap_or(len)), damage(&reason)));
    }
    let meta_len = header.meta_len as usize;
    let mut meta = vec![0; meta_len];
    let got = read_full_at(&*file, HEADER_BYTES as u64, &mut meta).map_err(Error::io("reading", path))?;
    if got != meta_len || crc(0, &meta) != header.meta_check {
        return Err(Error::damaged(path, HEADER_BYTES as u64, damage("the checksum of the meta bytes does not match")));
    }
    let mut frames = Frames::new(file, path, Kind::ENTRIES, header.salt(), (HEADER_BYTES + meta_len) as u64, 0)?;
    frames.read_ahead(step_bytes);
    let mut digester = Digester::default();
    let mut entries = 0;
    let mut last: Option<Key> = None;
    loop {
        let at = frames.offset();
        let impossible = |what: &str| Error::damaged(path, at, damage(what));
        match frames.next()? {
            Next::End => break,
            Next::Bad(fault) => return Err(impossible(&fault.to_string())),
            Next::Frame(frame) => {
                for op in state::decode(frame.body).ok_or_else(|| impossible("the block's content is not possible"))? {
                    let Some(value) = op.value else { return Err(impossible("the block holds a deletion")) };
                    if last.as_deref().is_some_and(|last| last >= op.key) {
                        return Err(impossible("the keys are not in order"));
                    }
                    digester.add(op.key, value);
                    entries += 1;
                    last = Some(op.key.into());
                    if each(at, op).is_break() {
                        return Ok(None);
                    }
                }
            }
        }
    }
    if entries != header.entries || digester.digest() != header.digest {
        let reason = format!(
            "{entries} entries with digest {} where the header promises {} with {}",
            digester.digest(),
            header.entries,
            header.digest
        );
        return Err(Error::damaged(path, 0, damage(&reason)));
    }
    Ok(Some(header))
}

/// Writes all of `map`.
pub(crate) fn fill_from(map: &Map) -> impl FnOnce(&mut Writer<'_>) -> io::Result<()> {
    |writer| {
        for key in map.sorted_keys() {
            map.with(&key, |value| writer.add(&key, value)).unwrap_or(Ok(()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::{Lock, OsDisk};
    use crate::state::{Op, State};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    const ID: StoreId = StoreId(*b"sixteen bytes id");

    fn place() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("snap");
        (dir, path)
    }

    /// Puts a snapshot of these entries, in this order, at `path`; its checks all hold.
    fn forge(path: &Path, entries: &[(&[u8], &[u8])]) -> Header {
        let file = create_tmp(&OsDisk, path).unwrap();
        write(&*file, ID, 7, |writer| entries.iter().try_for_each(|(key, value)| writer.add(key, value))).unwrap()
    }

    /// Puts a snapshot at `path` whose only frame has this body.
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
    fn what_its_own_checks_cannot_see_is_refused_too() {
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
        refused(&path, 96, "the block's content is not possible");
        std::fs::write(&path, "").unwrap();
        refused(&path, 0, "the file is empty");
    }

    #[test]
    fn a_header_that_promises_another_length_is_refused() {
        let (_dir, path) = place();
        let good = forge(&path, &[(b"a", b"1")]);
        let bytes = std::fs::read(&path).unwrap();
        let len = bytes.len() as u64;
        let with = |data_len: u64, says: &str, at: u64| {
            let header = Header { data_len, ..good };
            std::fs::write(&path, [&header.encode()[..], &bytes[HEADER_BYTES..]].concat()).unwrap();
            refused(&path, at, says);
        };
        with(good.data_len - 1, &format!("the file has {len} bytes where its header promises {}", len - 1), len - 1);
        with(good.data_len + 1, &format!("the file has {len} bytes where its header promises {}", len + 1), len);
        with(u64::MAX, "promises more than can be", len);
    }

    /// This program writes none; one that does must find them checked.
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
    fn the_last_number_a_store_gives_out_can_be_saved_and_no_higher_one() {
        let (_dir, path) = place();
        let good = forge(&path, &[(b"a", b"1")]);
        let read = |header: Header| Header::decode(&path, &header.encode());
        assert_eq!(read(Header { seq: MAX_SEQ, ..good }).unwrap().seq, MAX_SEQ);
        assert!(matches!(read(Header { seq: MAX_SEQ + 1, ..good }), Err(Error::Version { .. })));
    }

    /// Many small entries and a few large ones: each comes once and in order, in blocks of about 4 KiB,
    /// written in portions, none of which is the whole.
    #[test]
    fn a_large_state_is_saved_in_portions_and_nothing_is_left_out() {
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
        let header = save(&OsDisk, &path, ID, 9, fill_from(&map)).unwrap();
        assert_eq!((header.entries, header.digest), (3005, state.digest()));
        let ops = loaded(&path).unwrap();
        let expected: Vec<Op> = state.range(std::ops::Bound::Unbounded).map(|(key, value)| Op::put(key, value)).collect();
        assert!(ops.iter().map(|(_, op)| op).eq(&expected));
        // 22 bytes to an entry: 186 fit into a block, and an entry that does not fit has one of its own.
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

    /// A disk on which a file that was made reads as another one once memory has forgotten it: a write
    /// that went elsewhere.
    #[derive(Debug)]
    struct Elsewhere(PathBuf);

    #[derive(Debug)]
    struct ReadsAs {
        memory: Arc<dyn File>,
        medium: Arc<dyn File>,
        forgotten: AtomicBool,
    }

    impl Disk for Elsewhere {
        fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
            let medium = OsDisk.open_read(&self.0)?.unwrap();
            Ok(Arc::new(ReadsAs { memory: OsDisk.create_new(path)?, medium, forgotten: AtomicBool::new(false) }))
        }
        fn remove(&self, path: &Path) -> io::Result<()> {
            OsDisk.remove(path)
        }
        fn open(&self, _: &Path) -> io::Result<Option<Arc<dyn File>>> {
            unreachable!("not for saving")
        }
        fn open_read(&self, _: &Path) -> io::Result<Option<Arc<dyn File>>> {
            unreachable!("not for saving")
        }
        fn rename(&self, _: &Path, to: &Path) -> io::Result<()> {
            panic!("a snapshot that reads back wrong was put in place at {}", to.display())
        }
        fn sync_dir(&self, _: &Path) -> io::Result<()> {
            unreachable!("nothing was put in place")
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
            if self.forgotten.load(Ordering::Relaxed) { &self.medium } else { &self.memory }
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
            self.forgotten.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_snapshot_that_reads_back_as_another_is_not_put_in_place() {
        let (dir, path) = place();
        forge(&path, &[(b"a", b"old")]);
        let before = std::fs::read(&path).unwrap();
        let error = save(&Elsewhere(path.clone()), &path, ID, 8, |writer| writer.add(b"a", b"new")).unwrap_err();
        assert!(error.to_string().contains("another snapshot than was written"), "{error}");
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1, "the temporary file is removed");
    }
}

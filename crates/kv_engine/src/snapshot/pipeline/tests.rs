//! Writing and reading back at the same time: the same bytes, in the right order, and no error is lost.

use super::super::format::Ref;
use super::super::{Draft, Writer, save, write};
use super::*;
use crate::disk::{Disk, OsDisk};
use crate::{Seq, StoreId};
use std::ops::Range;
use std::sync::atomic::AtomicUsize;

const ID: StoreId = StoreId(*b"sixteen bytes id");
const NO_THREADS: Plan = Plan { piece_bytes: 4096, step_bytes: 1 << 30, threadless_bytes: u64::MAX };
const THREADS: Plan = Plan { piece_bytes: 4096, step_bytes: 10_000, threadless_bytes: 0 };

fn draft(plan: Plan, form: Form, seq: Seq) -> Draft {
    Draft { plan, ..Draft::new(form, ID, seq) }
}

/// Some 40 blocks, and a value that is longer than pieces and steps.
fn fill(writer: &mut Writer) -> io::Result<()> {
    for n in 0..1000_u32 {
        let count = if n == 500 { 30_000 } else { 100 };
        writer.add(&n.to_be_bytes(), &vec![n as u8; count])?;
    }
    Ok(())
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("snap");
    (dir, path)
}

#[test]
fn the_bytes_are_the_same_however_they_are_written() {
    let (_dir, path) = place();
    for form in [Form::Plain, Form::Indexed] {
        save(&OsDisk, &path, draft(NO_THREADS, form, 7), fill).unwrap();
        let expected = std::fs::read(&path).unwrap();
        for piece_bytes in [100, 4096, 100_000, 1 << 20] {
            for (step_bytes, threadless_bytes) in [(40_000, 0), (50_000, 60_000), (1 << 30, 1), (90_000, u64::MAX)] {
                let plan = Plan { piece_bytes, step_bytes, threadless_bytes };
                save(&OsDisk, &path, draft(plan, form, 7), fill).unwrap();
                assert!(std::fs::read(&path).unwrap() == expected, "{form:?} {plan:?}");
            }
        }
    }
}

/// A fault, and when it happens: at the first, second, third … call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Nothing,
    Write(usize),
    Sync(usize),
    Read(usize),
    /// This byte reads as another one once the cache of the file is dropped.
    Flip(u64),
    /// The thread of this name panics.
    Panic(&'static str),
}

/// A file that knows which bytes are not on the medium yet.
#[derive(Debug)]
struct Watched {
    file: Arc<dyn File>,
    fault: Fault,
    calls: [AtomicUsize; 3],
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    /// Bytes that no sync covers yet; and synced bytes whose cache was not dropped since.
    written: Vec<Range<u64>>,
    synced: Vec<Range<u64>>,
    read: Vec<Range<u64>>,
}

impl Watched {
    fn new(path: &Path, fault: Fault) -> Arc<Watched> {
        let _ = std::fs::remove_file(path);
        let file = OsDisk.create_new(path).unwrap();
        Arc::new(Watched { file, fault, calls: Default::default(), seen: Mutex::default() })
    }

    fn call(&self, kind: usize, fault: impl Fn(usize) -> Fault) -> io::Result<()> {
        let nth = self.calls[kind].fetch_add(1, Ordering::Relaxed);
        let panics = matches!(self.fault, Fault::Panic(name) if std::thread::current().name() == Some(name));
        assert!(!panics, "planted");
        if self.fault == fault(nth) { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }
}

fn overlap(ranges: &[Range<u64>], range: &Range<u64>) -> bool {
    ranges.iter().any(|other| other.start < range.end && range.start < other.end)
}

impl File for Watched {
    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.call(2, Fault::Read)?;
        let count = self.file.read_at(offset, out)?;
        let range = offset..offset + count as u64;
        let mut seen = self.seen.lock().unwrap();
        assert!(!overlap(&seen.written, &range) && !overlap(&seen.synced, &range), "{range:?} is read from the cache: {seen:?}");
        if let Fault::Flip(at) = self.fault
            && range.contains(&at)
        {
            out[(at - offset) as usize] ^= 4;
        }
        seen.read.push(range);
        Ok(count)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.call(0, Fault::Write)?;
        let range = offset..offset + bytes.len() as u64;
        let mut seen = self.seen.lock().unwrap();
        assert!(!overlap(&seen.read, &range), "{range:?} is written after it was read back");
        seen.written.push(range);
        drop(seen);
        self.file.write_at(offset, bytes)
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("nothing is cut")
    }
    fn sync(&self) -> io::Result<()> {
        let began = self.seen.lock().unwrap().written.clone();
        self.call(1, Fault::Sync)?;
        self.file.sync()?;
        let mut seen = self.seen.lock().unwrap();
        let (done, later) = std::mem::take(&mut seen.written).into_iter().partition(|range| began.contains(range));
        seen.written = later;
        seen.synced.extend::<Vec<_>>(done);
        Ok(())
    }
    fn drop_cache(&self) {
        self.seen.lock().unwrap().synced.clear();
    }
}

/// Saves a snapshot into `file`. An error: what was read back differs from what was written.
fn saved(file: &Arc<Watched>, path: &Path, plan: Plan, form: Form) -> std::result::Result<Header, String> {
    let file: Arc<dyn File> = Arc::clone(file) as Arc<dyn File>;
    let (header, read) = write(&file, path, draft(plan, form, 7), fill).map_err(|error| error.to_string())?;
    let read = read.map_err(|error| error.to_string())?;
    if read == header { Ok(header) } else { Err(format!("{read:?} instead of {header:?}")) }
}

#[test]
fn every_byte_is_read_back_after_it_was_synced_and_its_cache_dropped() {
    let (_dir, path) = place();
    for plan in [NO_THREADS, THREADS, Plan { step_bytes: 1, ..THREADS }, Plan { threadless_bytes: 50_000, ..THREADS }] {
        for form in [Form::Plain, Form::Indexed] {
            let file = Watched::new(&path, Fault::Nothing);
            let header = saved(&file, &path, plan, form).unwrap();
            let mut read = std::mem::take(&mut file.seen.lock().unwrap().read);
            read.sort_by_key(|range| range.start);
            let end = read.iter().fold(0, |end, range| if range.start <= end { end.max(range.end) } else { end });
            assert_eq!(Some(end), header.file_len(), "{plan:?}");
        }
    }
}

#[test]
fn no_fault_of_any_thread_is_lost() {
    let (_dir, path) = place();
    let kinds: [fn(usize) -> Fault; 3] = [Fault::Write, Fault::Sync, Fault::Read];
    for plan in [NO_THREADS, THREADS, Plan { threadless_bytes: 50_000, ..THREADS }] {
        for (kind, fault) in kinds.into_iter().enumerate() {
            let mut nth = 0;
            loop {
                let file = Watched::new(&path, fault(nth));
                let done = saved(&file, &path, plan, Form::Indexed);
                if file.calls[kind].load(Ordering::Relaxed) <= nth {
                    break;
                }
                assert!(done.is_err_and(|error| error.contains("no storage space")), "{plan:?} {:?}", fault(nth));
                nth += 1;
            }
            assert!(nth > 0, "{plan:?} {:?}", fault(nth));
        }
    }
}

#[test]
fn a_byte_that_reads_back_wrong_is_seen_wherever_it_is() {
    let (_dir, path) = place();
    for form in [Form::Plain, Form::Indexed] {
        let whole = saved(&Watched::new(&path, Fault::Nothing), &path, THREADS, form).unwrap().file_len().unwrap();
        for at in (0..200).chain((200..whole).step_by(997)).chain([HEAD_BYTES as u64 - 1, HEAD_BYTES as u64, whole - 1]) {
            let file = Watched::new(&path, Fault::Flip(at));
            assert!(saved(&file, &path, THREADS, form).is_err(), "byte {at} of {whole}, {form:?}");
        }
    }
}

/// The frames are valid, and so is the header, but it is not theirs.
#[test]
fn a_header_that_does_not_match_the_frames_is_refused() {
    let (_dir, path) = place();
    let lies: [fn(Header) -> Header; 4] = [
        |header| Header { entries: header.entries + 1, ..header },
        |header| Header { digest: crate::state::Digest(header.digest.0 ^ 1), ..header },
        |header| Header { data_len: header.data_len + 1, ..header },
        |header| Header { root: header.root.map(|root| Ref { offset: root.offset - 1, ..root }), ..header },
    ];
    for lie in lies {
        let file = Watched::new(&path, Fault::Nothing);
        let empty = saved(&Watched::new(&path, Fault::Nothing), &path, NO_THREADS, Form::Indexed).unwrap();
        let out = Pipeline::new(Arc::clone(&file) as Arc<dyn File>, &path, THREADS, empty.salt(), Form::Indexed);
        let mut writer = Writer::new(out, empty.salt(), Form::Indexed);
        fill(&mut writer).unwrap();
        let (out, header) = writer.finish(empty);
        let error = out.finish(&lie(header)).unwrap().unwrap_err();
        assert!(matches!(error, Error::Damaged { .. }), "{error}");
    }
}

/// A snapshot that fails leaves the old one, and no other file.
#[test]
fn a_stopped_snapshot_leaves_no_file_and_no_waiting_thread() {
    let (dir, path) = place();
    save(&OsDisk, &path, draft(THREADS, Form::Plain, 7), fill).unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = save(&OsDisk, &path, draft(THREADS, Form::Plain, 8), |writer| {
        fill(writer)?;
        Err(io::Error::other("enough"))
    });
    assert!(error.unwrap_err().to_string().contains("enough"));
    assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
    let panicked = std::panic::catch_unwind(|| {
        save(&OsDisk, &path, draft(THREADS, Form::Plain, 8), |writer| {
            fill(writer)?;
            panic!("in the middle of it")
        })
    });
    assert!(panicked.is_err());
    assert!(std::fs::read(&path).unwrap() == before);

    // No thread is left that has the file.
    let file = Watched::new(&path, Fault::Nothing);
    let empty = saved(&Watched::new(&dir.path().join("other"), Fault::Nothing), &path, NO_THREADS, Form::Indexed).unwrap();
    let out = Pipeline::new(Arc::clone(&file) as Arc<dyn File>, &path, THREADS, empty.salt(), Form::Indexed);
    let mut writer = Writer::new(out, empty.salt(), Form::Indexed);
    fill(&mut writer).unwrap();
    assert!(Arc::strong_count(&file) > 2);
    drop(writer);
    assert_eq!(Arc::strong_count(&file), 1);
}

#[test]
fn a_thread_that_panics_makes_the_snapshot_fail() {
    let (_dir, path) = place();
    for (thread, says) in [("kv-snapshot", "the thread that writes the snapshot has panicked"), ("kv-read-ahead", "has ended")] {
        let error = saved(&Watched::new(&path, Fault::Panic(thread)), &path, THREADS, Form::Indexed).unwrap_err();
        assert!(error.contains(says), "{error}");
    }
}

#[test]
fn the_reader_gets_the_head_from_memory_and_nothing_that_is_not_written() {
    let (_dir, path) = place();
    let in_progress = |state: Written| {
        let progress = Arc::new(Progress { state: Mutex::new(state), changed: Condvar::new() });
        let file = Watched::new(&path, Fault::Nothing);
        FileInProgress { file, head: vec![1, 2], progress, step_bytes: 1, synced: AtomicU64::new(2) }
    };
    let all = in_progress(Written { bytes: 0, is_all: true, is_stopped: false });
    all.drop_cache(); // it has none
    let mut out = [0; 5];
    assert_eq!((all.read_at(1, &mut out).unwrap(), out[0]), (1, 2));
    assert_eq!(all.read_at(2, &mut out).unwrap(), 0, "there is no more");
    // The first read of written bytes syncs them.
    let some = in_progress(Written { bytes: 5, is_all: false, is_stopped: false });
    write_all_at(&*some.file, 0, &[7; 100]).unwrap();
    let mut out = [0; 50];
    assert_eq!(some.read_at(2, &mut out).unwrap(), 3);
    assert_eq!(some.read_at(4, &mut out).unwrap(), 1);
    // After a stop nothing is read, whether it is written or not.
    for bytes in [0, 100] {
        let stopped = in_progress(Written { bytes, is_all: false, is_stopped: true });
        assert!(stopped.read_at(2, &mut out).is_err_and(|error| error.to_string() == "stopped"));
    }
}

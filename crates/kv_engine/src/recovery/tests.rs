//! Opening with workers and with a thread that reads ahead finds the same as without them. The test reads thousands of
//! stores both ways, and most of them are damaged.

#[path = "../../tests/support/random.rs"]
#[allow(unreachable_pub)]
mod random;

use super::applier::Progress;
use super::parallel_replay::Plan;
use super::read::{Files, Keep, LogEnd, read};
use super::*;
use crate::disk::sim::{EIO, Fault, FaultPlan, Image, Lasts, PowerCut, SimDisk};
use crate::disk::{read_full_at, write_all_at};
use crate::record::{self, Body, Kind, Place};
use crate::snapshot::Draft;
use crate::state::{Map, OpRef};
use crate::{Seq, StoreId};
use random::Random;
use std::collections::BTreeMap;
use std::time::Duration;

const ID: StoreId = StoreId(*b"sixteen bytes id");
const ALONE: Plan = Plan { workers: 0, ahead: 0, batch_bytes: 1 << 20, large_bytes: 1 << 20 };

impl Random {
    fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// Few keys, so that many operations meet.
    fn op(&mut self, out: &mut Vec<u8>) {
        let key = [b'k'; 9].map(|byte| byte + u8::try_from(self.0 % 3).unwrap());
        let key = [&key[..1 + self.index(9)], &[u8::try_from(self.index(20)).unwrap()]].concat();
        let len = if self.one_in(30) { self.index(3000) } else { self.index(60) };
        let value = vec![u8::try_from(self.index(256)).unwrap(); len];
        OpRef { key: &key, value: (!self.one_in(5)).then_some(&value) }.encode(out);
    }
}

/// A log of random writes after `base`.
fn log(random: &mut Random, base: Seq) -> Vec<u8> {
    let salt = random.index(1 << 30) as u32;
    let header = wal::Header { store_id: ID, salt, base };
    let mut bytes = header.encode().to_vec();
    let (mut link, mut seq, mut durable) = (salt, base, base);
    let mut frame = |kind, seq, durable, body: &[u8]| {
        link = record::encode(&mut bytes, Place { salt, link, seq, durable }, kind, &Body::new(body, salt));
    };
    frame(Kind::OPENED, seq, seq, b"8 random");
    for _ in 0..random.index(120) {
        let mut body = Vec::new();
        let ops = if random.one_in(5) { 1 + random.index(6) } else { 1 };
        (0..ops).for_each(|_| random.op(&mut body));
        if random.one_in(500) {
            body.push(9); // its checksums hold all the same
        }
        seq += 1;
        frame(Kind::WRITE, seq, durable, &body);
        if random.one_in(4) {
            durable = seq;
        }
        if random.one_in(30) {
            let kind = if random.one_in(2) { Kind::OPENED } else { Kind::CLOSED };
            frame(kind, seq, seq, b"8 random");
            durable = seq;
        }
    }
    if random.one_in(2) {
        frame(Kind::CLOSED, seq, seq, b"");
    }
    bytes
}

fn snapshot(random: &mut Random, seq: Seq) -> Vec<u8> {
    let mut ops = Vec::new();
    (0..random.index(200)).for_each(|_| random.op(&mut ops));
    let map = Map::default();
    map.apply_write(&ops);
    let disk = SimDisk::new(&Image::new(), 1);
    let path = Path::new("/snapshot");
    let form = if random.one_in(2) { Form::Plain } else { Form::Indexed };
    let header = snapshot::save(&disk, path, Draft::new(form, ID, seq), snapshot::fill_from(&map)).unwrap();
    let mut bytes = vec![0; usize::try_from(header.file_len().unwrap()).unwrap()];
    read_full_at(&*disk.open_read(path).unwrap().unwrap(), 0, &mut bytes).unwrap();
    bytes
}

fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    let len = bytes.len();
    let from = if random.one_in(2) { random.index(len) } else { len - 1 - random.index(len.min(300)) };
    let to = (from + 1 + random.index(600)).min(len);
    match random.index(7) {
        0 => bytes.truncate(from),
        1 => bytes[from] ^= 1 << random.index(8),
        2 => bytes[from..to].fill(0),
        3 => bytes[from..].fill(0),
        4 => bytes[from..to].fill(0xee),
        5 => {
            let stale = bytes[from..to].to_vec();
            let at = random.index(len - (to - from) + 1);
            bytes[at..at + stale.len()].copy_from_slice(&stale);
        }
        _ => bytes.extend(std::iter::repeat_n(0, 1 + random.index(5000))),
    }
}

/// A file in memory. Its reads are short, may fail from some place on, and may end before the end of the file.
#[derive(Debug)]
struct Bytes {
    bytes: Vec<u8>,
    /// The reported size is larger by this much.
    more: u64,
    bad_from: usize,
    most: usize,
}

impl File for Bytes {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64 + self.more)
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let offset = usize::try_from(offset).unwrap();
        if offset >= self.bad_from {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let left = self.bytes.get(offset..).unwrap_or_default();
        let count = out.len().min(left.len()).min(self.most).min(self.bad_from - offset);
        out[..count].copy_from_slice(&left[..count]);
        Ok(count)
    }
    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
        unreachable!("nothing is changed")
    }
    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("nothing is changed")
    }
    fn sync(&self) -> io::Result<()> {
        unreachable!("nothing is changed")
    }
    fn drop_cache(&self) {}
}

#[test]
fn a_read_that_ends_early_is_not_the_end_of_the_log() {
    let mut bytes = wal::Header { store_id: ID, salt: 7, base: 0 }.encode().to_vec();
    let mut body = Vec::new();
    OpRef { key: b"k", value: Some(b"v") }.encode(&mut body);
    let link =
        record::encode(&mut bytes, Place { salt: 7, link: 7, seq: 0, durable: 0 }, Kind::OPENED, &Body::new(b"8 random", 7));
    record::encode(&mut bytes, Place { salt: 7, link, seq: 1, durable: 0 }, Kind::WRITE, &Body::new(&body, 7));
    for more in [0, 1, 5000] {
        let early = Bytes { bytes: bytes.clone(), more, bad_from: usize::MAX, most: usize::MAX };
        let (wal_path, snapshot_path) = (Path::new("log"), Path::new("snapshot"));
        let files = Files { wal_path, wal: Some(Arc::new(early)), snapshot_path, snapshot: None, keep: Keep::InMemory };
        match outcome(&files, ALONE) {
            Ok((_, _, keys, ..)) => assert_eq!((more, keys), (0, 1)),
            Err(error) => assert!(more > 0 && error.contains("UnexpectedEof"), "{more}: {error}"),
        }
    }
}

type Outcome = std::result::Result<(String, String, usize, Option<snapshot::Header>, Option<LogEnd>), String>;

fn outcome(files: &Files<'_>, plan: Plan) -> Outcome {
    let mut report = RecoveryReport::new(files.wal_path, files.snapshot_path);
    let found = read(files, |_| plan, &Progress::default(), &mut report).map_err(|e| format!("{e:?}"))?;
    Ok((format!("{report:?}"), found.state.digest().to_string(), found.state.len(), found.snapshot, found.log))
}

#[test]
fn workers_find_what_one_thread_finds() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for round in 0..2500 {
        let base = if random.one_in(2) { 0 } else { 10 };
        let mut log = log(&mut random, base);
        let mut held = (base > 0 || random.one_in(4)).then(|| {
            let seq = base + random.index(30) as u64;
            snapshot(&mut random, seq)
        });
        if !random.one_in(5) {
            damage(&mut random, &mut log);
        }
        if let Some(bytes) = held.as_mut().filter(|_| random.one_in(5)) {
            damage(&mut random, bytes);
        }
        let mut unreadable = false;
        let mut file = |bytes: Vec<u8>| {
            let bad = random.one_in(40);
            let bad_from = if bad { random.index(bytes.len()) } else { usize::MAX };
            unreadable |= bad;
            let most = if random.one_in(4) { 1 + random.index(500) } else { usize::MAX };
            Arc::new(Bytes { bytes, more: 0, bad_from, most }) as Arc<dyn File>
        };
        let files = Files {
            wal_path: Path::new("log"),
            wal: Some(log).filter(|bytes| !bytes.is_empty()).map(&mut file),
            snapshot_path: Path::new("snapshot"),
            snapshot: held.filter(|bytes| !bytes.is_empty()).map(&mut file),
            keep: Keep::InMemory,
        };
        let plan = Plan {
            workers: random.index(5),
            ahead: if random.one_in(5) { 0 } else { 1 + random.index(3000) },
            batch_bytes: 1 + random.index(1000),
            large_bytes: random.index(3000),
        };
        let alone = outcome(&files, ALONE);
        let parallel = outcome(&files, plan);
        if unreadable {
            // If there is another reason to refuse, the amount that is read at once decides which of the two comes
            // first.
            assert!(parallel.is_err() && alone.is_err(), "round {round}, {plan:?}: {parallel:?}, {alone:?}");
        } else {
            assert_eq!(parallel, alone, "round {round}, {plan:?}");
        }
        let kinds = ["Io", "Damaged", "Mismatch", "Version", "Foreign", "tail: Clean", "tail: Torn", "tail: Damaged"];
        let text = alone.map_or_else(|error| error, |found| found.0);
        let kind = kinds.iter().find(|kind| text.starts_with(*kind) || text.contains(*kind) && kind.contains(' '));
        *seen.entry(kind.copied().unwrap_or("?")).or_default() += 1;
    }
    // Each kind must come often enough, or the comparison proves little.
    for (kind, least) in [("Io", 20), ("Damaged", 200), ("tail: Clean", 300), ("tail: Torn", 200), ("tail: Damaged", 200)] {
        assert!(seen.get(kind).is_some_and(|&count| count >= least), "{kind}: {seen:?}");
    }
}

/// A long log is divided among workers if there are several cores.
#[test]
fn short_files_are_read_by_one_thread() {
    assert_eq!((Plan::of(0).workers, Plan::of(1 << 20).workers, Plan::of(1 << 20).ahead), (0, 0, 0));
    let long = Plan::of(1 << 30);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    assert_eq!(long.workers > 0, cores > 1, "{long:?}");
    assert_eq!(long.workers > 0, long.ahead > 0);
    assert!(long.workers <= cores);
}

/// The whole opening, on a real disk, with a log that is long enough for workers.
#[test]
fn a_long_log_is_opened_by_workers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let header = wal::Header { store_id: ID, salt: 7, base: 0 };
    let mut bytes = header.encode().to_vec();
    let mut link = 7;
    let mut model = BTreeMap::new();
    let mut seq: Seq = 0;
    while bytes.len() < 6 << 20 {
        seq += 1;
        let (key, value) = ((seq * 7919 % 20_011).to_be_bytes(), vec![seq as u8; 100 + seq as usize % 50]);
        let mut body = Vec::new();
        OpRef { key: &key, value: Some(&value) }.encode(&mut body);
        link = record::encode(&mut bytes, Place { salt: 7, link, seq, durable: seq - 1 }, Kind::WRITE, &Body::new(&body, 7));
        model.insert(key, value);
    }
    let file = crate::disk::OsDisk.create_new(&path).unwrap();
    write_all_at(&*file, 0, &bytes).unwrap();
    let reported = Arc::new(std::sync::Mutex::new(Vec::new()));
    let progress = {
        let reported = Arc::clone(&reported);
        Progress(Some(Arc::new(move |read, total| reported.lock().unwrap().push((read, total)))))
    };
    let snapshot = dir.path().join("snapshot");
    let recovered =
        recover(&crate::disk::OsDisk, &path, &snapshot, Recovery::Strict, Keep::InMemory, &LockNotes::default(), &progress)
            .unwrap();
    assert_eq!((recovered.report.replayed, recovered.report.log_bytes), (seq, bytes.len() as u64));
    assert_eq!(recovered.state.count().unwrap(), model.len() as u64);
    assert!(model.iter().all(|(key, value)| recovered.state.with(key, |found| found == value).unwrap() == Some(true)));
    let reported = reported.lock().unwrap();
    assert!(reported.len() >= 6 && reported.is_sorted(), "{reported:?}");
    assert!(reported.iter().all(|&(read, total)| read < total && total == bytes.len() as u64), "{reported:?}");
}

/// Opening may write an index for the snapshot, a snapshot under a new store id, a log, a mark. One of its operations
/// fails, or one of beginning a deferred log. The next opening finds the same state, after a crash of the process and
/// after a power cut.
#[test]
fn an_opening_that_fails_anywhere_leaves_the_same_store() {
    let (wal_path, snapshot_path) = (Path::new("/kv.wal"), Path::new("/kv.snapshot"));
    let stored = SimDisk::new(&Image::new(), 1);
    let entries = |writer: &mut snapshot::Writer| (0..60_u8).try_for_each(|key| writer.add(&[key], &[key; 200]));
    snapshot::save(&stored, snapshot_path, Draft::new(Form::Plain, ID, 3), entries).unwrap();
    let logs = [Some(3), Some(0), None]; // continues the snapshot, is older than it, is missing
    for (log, keep) in logs.into_iter().flat_map(|log| [(log, Keep::InMemory), (log, Keep::OnDisk { cache_bytes: 9000 })]) {
        let disk = SimDisk::of_world(stored.world(), 2);
        if let Some(base) = log {
            let mut wal = Wal::create(&disk, wal_path, ID, base).unwrap();
            let mut body = Vec::new();
            OpRef { key: b"k", value: Some(b"v") }.encode(&mut body);
            let body = Body::new(&body, wal.salt());
            wal.append(Kind::WRITE, base + 1, base, || 9, &body);
            let mut group = wal.take();
            group.write_tmp().and_then(|()| group.sync()).unwrap();
        }
        let digest = |disk: &SimDisk| {
            let opened =
                recover(disk, wal_path, snapshot_path, Recovery::Prefix, keep, &LockNotes::default(), &Progress::default());
            opened.and_then(|opened| {
                let deferred_log = opened.deferred_log.as_ref();
                let begun = deferred_log.map(|deferred_log| deferred_log.begin(disk, wal_path, snapshot_path, Form::Plain));
                begun.transpose().and_then(|_| opened.state.digest())
            })
        };
        let world = disk.world();
        let expected = digest(&disk).unwrap();
        for at in 0.. {
            let disk =
                SimDisk::of_world(world.clone(), 3).with_faults(FaultPlan { at, fault: Fault::Errno(EIO), lasts: Lasts::Once });
            let done = digest(&disk);
            assert!(done.is_err() || done.unwrap() == expected, "{log:?} {keep:?} {at}");
            if !disk.has_failed() {
                assert!(at > 10, "{at} operations");
                break;
            }
            let (died, cut) =
                (SimDisk::of_world(disk.world(), 4), SimDisk::new(&disk.world().after_power_cut(&PowerCut::nothing()), 4));
            assert_eq!((digest(&died).unwrap(), digest(&cut).unwrap()), (expected, expected), "{log:?} {keep:?} {at}");
        }
    }
}

#[test]
fn a_report_in_words() {
    let report = RecoveryReport::new(Path::new("kv.wal"), Path::new("kv.snapshot"));
    let cut = super::Truncation {
        offset: 105,
        bytes: 33,
        fault: record::Fault::BodyChecksum,
        expected: 4,
        whole_beyond: 0,
        writes_beyond: 0,
        last_beyond: 0,
        proof: "PROOF".to_string(),
        promised: 0,
        kept_as: None,
    };
    let new = RecoveryReport { created: true, took: Duration::from_micros(1500), ..report.clone() };
    assert_eq!(new.to_string(), "new store, 1.5 ms");
    assert_eq!(RecoveryReport { took: Duration::from_secs(1), ..new }.to_string(), "new store, 1.0 s");
    let one = RecoveryReport { keys: 1, replayed: 1, log_bytes: (1 << 20) - 1, closed_cleanly: true, ..report.clone() };
    assert_eq!(one.to_string(), "recovered 1 key: 0 from the snapshot, 1 log record (1048575 B) in 0.0 ms");
    let more =
        RecoveryReport { keys: 2, snapshot_keys: 2, replayed: 3, skipped: 1, last_seq: 3, log_bytes: 3 << 19, ..report.clone() };
    let text = "recovered 2 keys: 2 from the snapshot, 3 log records (1.5 MiB), 1 skipped in 0.0 ms; the last session did not shut \
                down cleanly";
    assert_eq!(more.to_string(), text);
    let exactly = RecoveryReport { log_bytes: 1 << 20, ..one.clone() };
    assert_eq!(exactly.to_string(), "recovered 1 key: 0 from the snapshot, 1 log record (1.0 MiB) in 0.0 ms");
    let took = Duration::from_millis(1234);
    let much = RecoveryReport { log_bytes: 5 << 19, replayed: 2, took, closed_cleanly: true, ..report.clone() };
    assert_eq!(much.to_string(), "recovered 0 keys: 0 from the snapshot, 2 log records (2.5 MiB) in 1.2 s");

    assert!(!more.is_loss() && more.warnings().is_empty());
    let missing = RecoveryReport { log_missing: true, snapshot_seq: 7, ..report.clone() };
    assert!(missing.is_loss());
    let text = "kv.wal: the log is missing; the store has the writes up to 7 from the snapshot; later writes may be missing;";
    assert!(missing.warnings()[0].starts_with(text));
    let emptied = RecoveryReport { log_empty: true, ..missing.clone() };
    assert!(emptied.is_loss() && emptied.warnings()[0].starts_with("kv.wal: the log is empty; the store has the writes"));
    let older = RecoveryReport { log_missing: false, log_older: Some(5), ..missing };
    assert!(older.is_loss());
    let text = "kv.wal: the log is older than the snapshot: it ends with write 5, the snapshot with write 7; later";
    assert!(older.warnings()[0].starts_with(text));
    let new = RecoveryReport { log_empty: true, created: true, ..report.clone() };
    let text = "kv.wal: the log was an empty file; a crash does not cause this; a new store was begun";
    assert!(!new.is_loss() && new.warnings() == [text]);
    let known = RecoveryReport { was_opened_before: true, ..new };
    assert!(known.is_loss() && known.warnings()[0].contains("a store was open here before"));

    let with_tail = |tail: LogTail| RecoveryReport { tail, ..more.clone() };
    let torn = with_tail(LogTail::Torn(cut.clone()));
    let text =
        "kv.wal: torn record at byte 105: the checksum of the record's body does not match; kept 4 records, cut off 33 bytes";
    assert_eq!(torn.warnings(), [format!("{text}; no sync is known to cover them")]);
    assert!(!torn.is_loss());
    let torn = with_tail(LogTail::Torn(super::Truncation { whole_beyond: 2, ..cut.clone() }));
    let text = format!("{text} (with 2 whole records in them); no sync is known to cover them");
    assert_eq!(torn.warnings(), [text]);

    for (last_beyond, promised, lost) in [
        (0, 0, "no write is lost"),
        (3, 3, "no write is lost"),
        (4, 0, "write 4 is not in the store"),
        (0, 4, "write 4 is not in the store"),
        (4, 6, "writes 4 to 6 are not in the store"),
    ] {
        let damaged = with_tail(LogTail::Damaged(super::Truncation { last_beyond, promised, ..cut.clone() }));
        assert!(damaged.is_loss());
        let text = "kv.wal: damaged at byte 105: the checksum of the record's body does not match, and PROOF; ";
        assert_eq!(damaged.warnings()[0], format!("{text}{lost}"));
    }
    let kept = with_tail(LogTail::Damaged(super::Truncation { kept_as: Some("kv.wal.damaged-1".into()), ..cut }));
    let text = "a copy of the damaged log is kept as kv.wal.damaged-1; to see it: kv_cli wal kv.wal.damaged-1; to export its \
                entries: kv_cli export --salvage --wal kv.wal.damaged-1 --snapshot kv.snapshot";
    assert_eq!(kept.warnings()[1], text);
}

//! Opens forged files with the real engine on a simulated disk, and compares the result with the reference.

use crate::layout::{LOG_HEADER, OPENED_LENGTH};
use crate::reference::{self, Map, Opened, Refusal};
use kv_engine::disk::sim::{Image, SimDisk};
use kv_engine::{Engine, Error, LogTail, Options, Recovery, Truncation};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The path of the log on the simulated disk.
pub const LOG: &str = "/sim/kv.wal";
/// The path of the snapshot.
pub const SNAPSHOT: &str = "/sim/kv.snapshot";

/// The options of stores on the simulated disk: no background thread.
pub fn options(disk: &SimDisk) -> Options {
    Options::new(LOG, SNAPSHOT).flush_interval(Duration::ZERO).disk(Arc::new(disk.clone()))
}

/// A disk with these files.
#[must_use]
pub fn image(log: Option<&[u8]>, snapshot: Option<&[u8]>) -> Image {
    let files = [(LOG, log), (SNAPSHOT, snapshot)];
    files.into_iter().filter_map(|(path, bytes)| Some((path.into(), bytes?.to_vec()))).collect()
}

/// The files in their present state.
#[must_use]
pub fn files(disk: &SimDisk) -> Image {
    disk.world().after_death(None)
}

/// The bytes of one file.
#[must_use]
pub fn file<'a>(image: &'a Image, path: &str) -> Option<&'a [u8]> {
    image.get(Path::new(path)).map(|bytes| &**bytes)
}

/// Checks that the store holds exactly these entries.
pub fn assert_holds(engine: &Engine, map: &Map<'_>) {
    let mut expected = map.iter();
    for entry in engine.scan("") {
        let (key, value) = entry.expect("reading memory");
        let (expected_key, expected_value) = expected.next().expect("the entry is in one of the files");
        assert!(
            &*key == *expected_key && &*value == *expected_value,
            "an entry is not as it was written: {}",
            key.escape_ascii()
        );
    }
    assert_eq!(expected.next(), None, "an entry is missing");
    assert_eq!(engine.len(), map.len());
}

/// The reference's variant for this error. Every other error is a failure of the test.
#[must_use]
pub fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Foreign { .. } => Refusal::Foreign,
        Error::Version { .. } => Refusal::Version,
        Error::Damaged { .. } => Refusal::Damaged,
        Error::Mismatch { .. } => Refusal::Mismatch,
        other => panic!("not a refusal: {other}"),
    }
}

/// The fields of a truncation that follow from the file.
#[must_use]
pub fn facts(cut: &Truncation) -> reference::Truncation {
    reference::Truncation {
        offset: cut.offset,
        bytes: cut.bytes,
        fault: cut.fault,
        expected: cut.expected,
        whole_beyond: cut.whole_beyond,
        last_beyond: cut.last_beyond,
        writes_beyond: cut.writes_beyond,
        promised: cut.promised,
    }
}

/// The fields of a log's end.
#[must_use]
pub fn tail(tail: &LogTail) -> reference::LogTail {
    match tail {
        LogTail::Clean => reference::LogTail::Clean,
        LogTail::Torn(cut) => reference::LogTail::Torn(facts(cut)),
        LogTail::Damaged(cut) => reference::LogTail::Damaged(facts(cut)),
        other => panic!("unknown: {other:?}"),
    }
}

/// Opens `disk`, and compares the outcome with the reference's result for the same files. Returns the files after the
/// opening, and the store.
pub fn open_as<'a>(disk: &SimDisk, policy: Recovery, expected: &Result<Opened<'a>, Refusal>) -> Option<(Image, Engine)> {
    let before = files(disk);
    let opened = options(disk).recovery(policy).open();
    let after = files(disk);
    let (engine, expected) = match (opened, expected) {
        (Err(error), Err(due)) => {
            assert_eq!(refusal(&error), *due, "{error}");
            assert!(before == after, "a refused opening changed a file: {error}");
            assert!(!error.to_string().is_empty());
            return None;
        }
        (Err(error), Ok(due)) => panic!("refused ({error}), although the files hold writes up to {}", due.last),
        (Ok(engine), Err(due)) => panic!("opened, although it should be {due:?}: {}", engine.recovery()),
        (Ok(engine), Ok(due)) => (engine, due),
    };
    let report = engine.recovery();
    assert_holds(&engine, &expected.map);
    assert_eq!(engine.digest().to_string(), format!("{:032x}", reference::digest(&expected.map)));
    assert_eq!(tail(&report.tail), expected.tail);
    assert_eq!(
        (report.last_seq, report.snapshot_seq, report.snapshot_keys, report.keys),
        (expected.last, expected.snapshot_seq, expected.snapshot_keys, expected.map.len() as u64)
    );
    assert_eq!((report.replayed, report.skipped, report.log_bytes), (expected.replayed, expected.skipped, expected.log_bytes));
    assert_eq!(report.closed_cleanly, expected.closed);
    assert_eq!(report.log_missing, expected.has_snapshot && !expected.has_log);
    assert_eq!(report.created, !expected.has_snapshot && !expected.has_log);
    assert_eq!(report.log_empty, expected.empty);
    let is_quiet = expected.tail == reference::LogTail::Clean
        && !expected.is_unbegun()
        && !expected.empty
        && !report.ends_bare
        && report.kept.is_empty();
    assert_eq!(report.warnings().is_empty(), is_quiet, "{:?}", report.warnings());
    assert!(!report.to_string().is_empty());

    if expected.is_unbegun() {
        assert!(before == after, "an opening without a log to continue changed a file");
        return Some((after, engine));
    }
    let log = file(&after, LOG).expect("there is a log in an open store");
    if expected.resumed {
        let old = file(&before, LOG).expect("the log is continued");
        let kept = usize::try_from(expected.log_bytes).expect("a short log");
        assert!(log.get(..kept) == Some(&old[..kept]), "the log was not just cut at its end");
        // If the log was not closed cleanly, exactly the mark of this opening follows it.
        let new = reference::log(log, 0).expect("a sound log");
        let in_order = expected.closed && kept > LOG_HEADER;
        assert_eq!(log.len(), kept + if in_order { 0 } else { OPENED_LENGTH });
        assert!(in_order || (new.ends_opened(log) && new.last == reference::log(old, 0).expect("it opened").last));
    } else {
        let new = reference::log(log, 0).expect("a sound log");
        assert_eq!(
            (new.base, new.last, new.tail),
            (expected.snapshot_seq, expected.snapshot_seq, Some(reference::LogTail::Clean))
        );
    }
    if let LogTail::Damaged(cut) = &report.tail {
        let kept = cut.kept_as.as_ref().expect("a damaged log is kept");
        assert_eq!(after.get(kept).map(|bytes| &**bytes), file(&before, LOG), "the damaged log is not kept whole");
    }
    for (path, bytes) in &before {
        let mine = path == Path::new(LOG) || path == Path::new(SNAPSHOT);
        assert!(mine || after.get(path) == Some(bytes), "{} was changed or removed", path.display());
    }
    if !report.log_missing {
        assert_eq!(file(&before, SNAPSHOT), file(&after, SNAPSHOT), "opening changed the snapshot");
    }
    Some((after, engine))
}

/// An opened store accepts a write, closes, and opens again with everything.
pub fn goes_on(disk: &SimDisk, engine: Engine, expected: &Opened<'_>) {
    if expected.last >= reference::MAX_SEQ {
        assert!(matches!(engine.put("goes", "on"), Err(Error::Limit { .. })), "a number beyond the largest one was used");
        return;
    }
    let ack = engine.put("goes", "on").expect("no error on a healthy disk");
    assert_eq!((ack.seq, ack.durable), (expected.last + 1, true));
    engine.close().expect("no error on a healthy disk");
    drop(engine);
    let mut map = expected.map.clone();
    map.insert(b"goes", b"on");
    let engine = options(disk).recovery(Recovery::Strict).open().expect("the store was closed cleanly");
    assert_eq!((engine.recovery().last_seq, engine.recovery().closed_cleanly), (expected.last + 1, true));
    assert_holds(&engine, &map);
}

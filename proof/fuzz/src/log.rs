//! A log and a snapshot. They are opened twice under both policies. `inspect`, `verify` and `replay` read them as real
//! files and must agree. Then the store accepts writes.

use crate::input::Input;
use crate::layout::{LOG_HEADER, OPENED_LENGTH};
use crate::reference::{self, Map, Refusal};
use crate::{bounded, forge, records, store};
use kv_engine::disk::sim::SimDisk;
use kv_engine::inspect::{self, Health};
use kv_engine::replay::replay;
use kv_engine::{Error, Recovery};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Opens the forged files.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let log = forge::log(&mut input.part());
    let snapshot = (!input.is_at_end()).then(|| forge::snapshot(&mut input));
    let bytes = log.len() + snapshot.as_ref().map_or(0, Vec::len);
    bounded(bytes, || {
        for policy in [Recovery::Prefix, Recovery::Strict] {
            opens(&log, snapshot.as_deref(), policy);
        }
        tools_agree(&log, snapshot.as_deref());
    });
}

fn opens(log: &[u8], snapshot: Option<&[u8]>, policy: Recovery) {
    let expected = reference::open(Some(log), snapshot, policy);
    let before = store::image(Some(log), snapshot);
    let disk = SimDisk::new(&before, 1);
    let Some((after, engine)) = store::open_as(&disk, policy, &expected) else { return };
    let expected = expected.expect("it opened");
    if expected.is_unbegun() {
        return store::goes_on(&disk, engine, &expected);
    }
    // Opening again gives the same result. It changes nothing more, except for its own mark in a log that was not
    // closed.
    let disk_again = SimDisk::new(&after, 2);
    let (new_log, new_snapshot) = (store::file(&after, store::LOG), store::file(&after, store::SNAPSHOT));
    let again = reference::open(new_log, new_snapshot, Recovery::Strict).expect("the files are sound after an opening");
    assert!(again.map == expected.map && again.last == expected.last, "a second opening would give another state");
    let again_closed = again.closed && new_log.is_some_and(|log| log.len() > LOG_HEADER);
    let (mut after_again, _engine) = store::open_as(&disk_again, Recovery::Strict, &Ok(again)).expect("it opens");
    if !again_closed {
        let log = after_again.get_mut(Path::new(store::LOG)).expect("there is a log after an opening");
        log.truncate(log.len() - OPENED_LENGTH);
    }
    assert!(after == after_again, "a second opening changed a file");
    store::goes_on(&disk, engine, &expected);
}

/// Real files, in a directory of this process.
static REAL: LazyLock<[PathBuf; 2]> = LazyLock::new(|| {
    let dir = std::env::temp_dir().join(format!("kv-engine-fuzz-{}", std::process::id()));
    fs::create_dir_all(&dir).expect("a directory for temporary files");
    [dir.join("kv.wal"), dir.join("kv.snapshot")]
});

fn tools_agree(log: &[u8], snapshot: Option<&[u8]>) {
    let [log_path, snapshot_path] = &*REAL;
    fs::write(log_path, log).expect("room for a small file");
    match snapshot {
        Some(bytes) => fs::write(snapshot_path, bytes).expect("room for a small file"),
        None => drop(fs::remove_file(snapshot_path)),
    }
    let snapshot_read = snapshot.map(reference::snapshot);
    let promised = inspect::snapshot_seq(snapshot_path);
    if let Some(Ok(snapshot)) = &snapshot_read {
        assert_eq!(promised, snapshot.seq);
    }
    let read = reference::log(log, promised);
    records::agree(log, promised, &read, |each| inspect::log(log_path, promised, each));
    verify_agrees(log, snapshot, &read, promised);
    replay_agrees(log.is_empty(), &read, snapshot.map(reference::snapshot));
}

/// `verify` must report files as sound exactly if they open without a loss.
fn verify_agrees(bytes: &[u8], snapshot: Option<&[u8]>, read: &Result<reference::Log<'_>, Refusal>, promised: u64) {
    let found = inspect::verify(&REAL[0], &REAL[1]);
    assert!(found.to_string().lines().count() >= 2);
    let opened = reference::open(Some(bytes), snapshot, Recovery::Strict);
    // Opening does not read a record that the snapshot holds. `verify` reads it and reports it.
    let possible = read.as_ref().map_or(true, reference::Log::is_possible);
    let empty = bytes.is_empty() && snapshot.is_none();
    // A log that is older than the snapshot.
    let older = read.as_ref().is_ok_and(|log| log.last < promised);
    // A torn tail is no loss, but strict mode does not cut it.
    let cut = matches!(read.as_ref().map(|log| log.tail), Ok(Some(reference::LogTail::Torn(cut))) if cut.writes_beyond > 0);
    let opened = if cut { reference::open(Some(bytes), snapshot, Recovery::Prefix) } else { opened };
    assert_eq!(found.is_sound(), opened.is_ok() && possible && !empty && !older, "{found}{opened:?}");
    match &found.log.1 {
        Health::Empty => assert!(bytes.is_empty()),
        Health::Torn(_) => assert!(matches!(read.as_ref().map(|log| log.tail), Ok(Some(reference::LogTail::Torn(_))))),
        Health::Sound(_) => assert_eq!(read.as_ref().map(|log| log.tail), Ok(Some(reference::LogTail::Clean))),
        Health::Bad(error) => assert!(!error.to_string().is_empty()),
        other => panic!("unknown: {other:?}"),
    }
    match (&found.snapshot.1, snapshot.map(reference::snapshot)) {
        (Health::Missing, None) => {}
        (Health::Sound(_), Some(Ok(snapshot))) => assert_eq!(snapshot.seq, promised),
        // If a snapshot's header follows wrong first bytes, the file is damaged.
        (Health::Bad(Error::Damaged { .. }), Some(Err(Refusal::Foreign))) => {}
        (Health::Bad(error), Some(Err(due))) => assert_eq!(store::refusal(error), due),
        (seen, due) => panic!("{seen:?} instead of {due:?}"),
    }
}

/// `replay` gives the state after the log's last write, and after each earlier one.
fn replay_agrees(
    empty: bool,
    read: &Result<reference::Log<'_>, Refusal>,
    snapshot: Option<Result<reference::Snapshot<'_>, Refusal>>,
) {
    let mut steps = Vec::new();
    let replayed = replay(&REAL[0], &REAL[1], None, |state| steps.push(state.seq));
    let log = match read {
        Ok(log) => log,
        Err(due) => {
            let error = replayed.expect_err("the log has no sound header");
            // An empty log lacks the writes behind the snapshot. The snapshot's header records that they exist.
            if empty && snapshot.is_some() && store::refusal(&error) == Refusal::Mismatch {
                return;
            }
            assert_eq!(store::refusal(&error), *due);
            return;
        }
    };
    let mut map = Map::new();
    let mut from = 0;
    if log.base > 0 {
        let snapshot = match snapshot {
            Some(Err(due)) => return assert_eq!(replayed.map_err(|error| store::refusal(&error)).err(), Some(due)),
            Some(Ok(snapshot)) if snapshot.id == log.id && snapshot.seq >= log.base => snapshot,
            _ => return assert!(matches!(replayed, Err(Error::Mismatch { .. }))),
        };
        (map, from) = (snapshot.entries, snapshot.seq);
    }
    if log.apply(from, &mut map).is_none() {
        return assert!(matches!(replayed, Err(Error::Damaged { .. })));
    }
    if log.tail.is_none() {
        return assert!(matches!(replayed, Err(Error::Version { .. })));
    }
    let replayed = replayed.expect("a log that opens");
    assert_eq!(replayed.seq, log.last.max(from));
    assert_eq!(replayed.digest().to_string(), format!("{:032x}", reference::digest(&map)));
    assert!(replayed.entries().map(|(key, value)| (key, &**value)).eq(map.iter().map(|(key, value)| (*key, *value))));
    assert!(steps.first() == Some(&from) && steps.windows(2).all(|pair| pair[0] + 1 == pair[1]), "writes from {from}: {steps:?}");
    if let Some(&middle) = steps.get(steps.len() / 2) {
        let half = replay(&REAL[0], &REAL[1], Some(middle), |_| {}).expect("it was replayed a moment ago");
        assert_eq!(half.seq, middle);
    }
}

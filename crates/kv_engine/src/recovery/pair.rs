//! Checks that a log and a snapshot are one store and together hold every write. Opening uses these checks, and so do
//! all commands that only look at the files, so they report the same.
//!
//! | beside a snapshot that holds the writes up to `s` | meaning | why no crash leaves this |
//! |---|---|---|
//! | no log, or an empty one | writes after `s` may be missing | a log is only ever replaced by a complete one |
//! | a log that ends before write `s` | an older log: writes after `s` may be missing | the log is synced before a snapshot is taken |
//! | a log that begins after a later write | the writes in between are missing | only writes that the snapshot holds are removed from the log |
//! | a log of another store | the two are not one store | – |
//! | a log with other writes up to `s` | two copies of one store were changed separately | a snapshot is made from the log |
//!
//! Without a snapshot: a log that begins after a write lacks the writes before it, and an empty log lacks everything.
//!
//! The last row is checked if the log holds all writes from its beginning to `s`: the last write to a key must match
//! the entry in the snapshot. Usually the log begins after `s`, and the check costs nothing. Only a crash between a new
//! snapshot and its new log leaves a log that begins earlier.

use crate::disk::File;
use crate::error::{Error, Result};
use crate::record::{Kind, crc, le32, le64};
use crate::scan::{Frames, Next};
use crate::sorter::{Sorted, Sorter};
use crate::state::{self, OpRef};
use crate::{Seq, snapshot, wal};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// The file under the log's name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum LogState<'a> {
    Missing,
    /// A file of length 0.
    Empty,
    /// A log, and its last write if it is not damaged.
    Log(&'a wal::Header, Option<Seq>),
}

/// Whether a log and a snapshot can belong to the same store, by their headers.
///
/// # Errors
/// [`Error::Mismatch`].
pub(crate) fn check_same_store(
    wal_path: &Path,
    snapshot_path: &Path,
    log: &wal::Header,
    snapshot: Option<&snapshot::Header>,
) -> Result<()> {
    let mismatch =
        |reason: String| Error::Mismatch { wal: wal_path.to_path_buf(), snapshot: snapshot_path.to_path_buf(), reason };
    match snapshot {
        Some(snapshot) if snapshot.store_id != log.store_id => Err(mismatch(format!(
            "they are not one store: the log is of store {}, the snapshot of store {}",
            log.store_id, snapshot.store_id
        ))),
        Some(snapshot) if snapshot.seq < log.base => Err(mismatch(format!(
            "the log begins after write {}, the snapshot ends with write {}; the snapshot is older than the one that was here",
            log.base, snapshot.seq
        ))),
        None if log.base > 0 => Err(mismatch(format!(
            "the log begins after write {}, and the snapshot that holds the writes before is missing",
            log.base
        ))),
        _ => Ok(()),
    }
}

/// Why the files do not hold every write, as far as their headers and ends show it. `None` also if neither file exists.
pub(crate) fn find_mismatch(
    wal_path: &Path,
    snapshot_path: &Path,
    log: LogState<'_>,
    snapshot: Option<&snapshot::Header>,
) -> Option<Error> {
    let mismatch =
        |reason: String| Some(Error::Mismatch { wal: wal_path.to_path_buf(), snapshot: snapshot_path.to_path_buf(), reason });
    match (log, snapshot) {
        (LogState::Missing, None) => None,
        (LogState::Missing, Some(held)) => {
            mismatch(format!("there is no log beside the snapshot; the writes from {} on may be missing", held.seq + 1))
        }
        (LogState::Empty, Some(held)) => {
            mismatch(format!("the log beside the snapshot is empty; the writes from {} on may be missing", held.seq + 1))
        }
        (LogState::Empty, None) => {
            Some(Error::damaged(wal_path, 0, "the log is an empty file; a crash does not cause this; its writes are missing"))
        }
        (LogState::Log(header, last), _) => match (check_same_store(wal_path, snapshot_path, header, snapshot), snapshot, last) {
            (Err(error), ..) => Some(error),
            (Ok(()), Some(held), Some(last)) if last < held.seq => mismatch(format!(
                "the log is older than the snapshot: it ends with write {last}, the snapshot with write {}; later writes may be \
                 missing",
                held.seq
            )),
            _ => None,
        },
    }
}

/// The last operation on a key in the log: its write, and the fingerprint of the value that it put.
struct LastOp {
    seq: Seq,
    value: Option<(u64, u32)>,
}

const LAST_OP_BYTES: usize = 8 + 1 + 8 + 4;

impl LastOp {
    fn encode(&self) -> [u8; LAST_OP_BYTES] {
        let mut bytes = [0; LAST_OP_BYTES];
        let (len, check) = self.value.unwrap_or_default();
        bytes[..8].copy_from_slice(&self.seq.to_le_bytes());
        bytes[8] = u8::from(self.value.is_some());
        bytes[9..17].copy_from_slice(&len.to_le_bytes());
        bytes[17..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8]) -> LastOp {
        LastOp { seq: le64(bytes, 0), value: (bytes[8] != 0).then(|| (le64(bytes, 9), le32(bytes, 17))) }
    }
}

fn fingerprint(value: &[u8]) -> (u64, u32) {
    (value.len() as u64, crc(0, value))
}

/// Compares the writes that are in both files. An [`Error::Mismatch`] in the result: they come from two copies of one
/// store that were changed separately. `None` also if no write is in both, or a file is damaged, which other checks
/// report.
///
/// # Errors
/// [`Error::Io`], [`Error::Version`].
pub(crate) fn find_divergence(
    wal_path: &Path,
    log: &Arc<dyn File>,
    header: &wal::Header,
    snapshot_path: &Path,
    snapshot: &Arc<dyn File>,
) -> Result<Option<Error>> {
    let held = match snapshot::read_header(&**snapshot, snapshot_path) {
        Ok(held) if header.base < held.seq && header.store_id == held.store_id => held,
        Err(error @ Error::Io { .. }) => return Err(error),
        _ => return Ok(None),
    };
    let frames = Frames::new(Arc::clone(log), wal_path, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    let Some(last_ops) = last_ops_up_to(frames, held.seq)? else { return Ok(None) };
    let mut last_ops = last_ops.sorted()?;
    // Whether the log holds all writes of the store.
    let is_all = header.base == 0;
    let mut other = Ok(None);
    let read = snapshot::load_while(Arc::clone(snapshot), snapshot_path, |_, entry| {
        other = differs(&mut last_ops, entry, is_all.then_some(held.seq));
        if matches!(other, Ok(None)) { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let mut other = other?;
    match read {
        Ok(Some(_)) => {
            while let Some((_, op)) = last_ops.get().filter(|_| other.is_none()) {
                let op = LastOp::decode(op);
                other = op.value.map(|_| op.seq);
                last_ops.next()?;
            }
        }
        Err(error @ Error::Io { .. }) => return Err(error),
        Ok(None) | Err(_) => {}
    }
    Ok(other.map(|seq| Error::Mismatch {
        wal: wal_path.to_path_buf(),
        snapshot: snapshot_path.to_path_buf(),
        reason: format!(
            "the snapshot holds the writes up to {}, and the log has a different write {seq}; two copies of this store were changed \
             separately, and this is the log of one and the snapshot of the other",
            held.seq
        ),
    }))
}

/// A write of the log that does not fit this entry of the snapshot, or an entry before it that the snapshot should
/// have. `unwritten` is the answer for an entry that no write of the log has put.
fn differs(last_ops: &mut Sorted<'_>, entry: OpRef<'_>, unwritten: Option<Seq>) -> Result<Option<Seq>> {
    let mut other = None;
    while let Some((_, op)) = last_ops.get().filter(|(key, _)| *key < entry.key) {
        let op = LastOp::decode(op);
        other = other.or(op.value.map(|_| op.seq));
        last_ops.next()?;
    }
    let Some((_, op)) = last_ops.get().filter(|(key, _)| *key == entry.key) else { return Ok(other.or(unwritten)) };
    let op = LastOp::decode(op);
    last_ops.next()?;
    Ok(other.or((op.value != entry.value.map(fingerprint)).then_some(op.seq)))
}

/// The last operation on each key, of the writes up to `limit`. `None`: some of them are missing or damaged.
fn last_ops_up_to(mut frames: Frames, limit: Seq) -> Result<Option<Sorter>> {
    let mut last_ops = Sorter::default();
    while frames.last() < limit {
        let Next::Frame(frame) = frames.next()? else { return Ok(None) };
        let seq = frame.header.seq;
        let decoded = frame.header.kind != Kind::WRITE
            || state::decode_each(frame.body, |op| {
                last_ops.add(op.key, &LastOp { seq, value: op.value.map(fingerprint) }.encode(), b"");
            })
            .is_some();
        if !decoded {
            return Ok(None);
        }
    }
    last_ops.finish();
    Ok(Some(last_ops))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::{Disk, OsDisk};
    use crate::recovery::header_now;
    use crate::{Batch, Options};
    use std::path::PathBuf;

    struct Files {
        _dir: tempfile::TempDir,
        log: PathBuf,
        snapshot: PathBuf,
    }

    impl Files {
        fn new() -> Files {
            let dir = tempfile::tempdir().unwrap();
            Files { log: dir.path().join("log"), snapshot: dir.path().join("snap"), _dir: dir }
        }

        fn copy(&self) -> Files {
            let other = Files::new();
            for (from, to) in [(&self.log, &other.log), (&self.snapshot, &other.snapshot)] {
                if from.exists() {
                    std::fs::copy(from, to).unwrap();
                }
            }
            other
        }

        /// Puts, or with an empty value deletes, in one session.
        fn write(&self, writes: &[(&str, &str)]) {
            let engine = Options::new(&self.log, &self.snapshot).open().unwrap();
            for (key, value) in writes {
                match value.is_empty() {
                    true => engine.delete(*key).map(drop).unwrap(),
                    false => engine.put(*key, *value).map(drop).unwrap(),
                }
            }
            engine.close().unwrap();
        }

        fn snap(&self) {
            let engine = Options::new(&self.log, &self.snapshot).open().unwrap();
            engine.snapshot().unwrap();
            engine.close().unwrap();
        }
    }

    fn compared(log: &Path, snapshot: &Path) -> Option<String> {
        let open = |path| OsDisk.open_read(path).unwrap().unwrap();
        let header = header_now(log).unwrap();
        find_divergence(log, &open(log), &header, snapshot, &open(snapshot)).unwrap().map(|error| error.to_string())
    }

    /// Two copies of one store that get different writes. Compares the log of the first with a snapshot of the second.
    fn mixed(before: &[(&str, &str)], first_snapshot: bool, one: &[(&str, &str)], other: &[(&str, &str)]) -> Option<String> {
        let files = Files::new();
        files.write(before);
        if first_snapshot {
            files.snap();
        }
        let copy = files.copy();
        files.write(one);
        copy.write(other);
        let own = files.copy();
        own.snap();
        assert_eq!(compared(&files.log, &own.snapshot), None, "one history");
        copy.snap();
        compared(&files.log, &copy.snapshot)
    }

    #[test]
    fn two_copies_that_were_changed_separately_are_found_and_one_history_is_not() {
        let common = [("a", "1"), ("b", "2"), ("c", "3")];
        for base in [false, true] {
            for (one, other, write) in [
                (("a", "x"), ("a", "y"), 4),   // another value
                (("a", "x"), ("b", "y"), 4),   // another key
                (("a", ""), ("b", ""), 4),     // each deletes another key
                (("a", ""), ("a", "x"), 4),    // deleted in one, put in the other
                (("a", "x"), ("a", ""), 4),    // put in one, deleted in the other
                (("zz", "x"), ("zy", "x"), 4), // after the last key of the snapshot
            ] {
                let found = mixed(&common, base, &[one], &[other]).unwrap_or_else(|| panic!("{base} {one:?} {other:?}"));
                assert!(
                    found.contains(&format!("a different write {write};")) && found.contains("changed separately"),
                    "{found}"
                );
            }
            assert_eq!(mixed(&common, base, &[("a", "x")], &[("a", "x")]), None, "the same writes");
            // Later writes of the log are not compared, and of each key only the last operation is.
            assert_eq!(mixed(&common, base, &[("a", "x"), ("b", "y")], &[("a", "x")]), None);
            assert_eq!(mixed(&common, base, &[("a", "0"), ("a", "x")], &[("b", "2"), ("a", "x")]), None);
        }
        // A key that only the snapshot has is a difference if the log holds all writes.
        let found = mixed(&[("a", "1")], false, &[("a", "2")], &[("b", "2")]);
        assert!(found.is_some());
        let found = mixed(&[("a", "1")], false, &[("a", "1")], &[("b", "2")]).unwrap();
        assert!(found.contains("holds the writes up to 2") && found.contains("a different write 2;"), "{found}");
    }

    #[test]
    fn files_that_cannot_be_compared_do_not_differ() {
        let files = Files::new();
        files.write(&[("a", "1"), ("b", "2")]);
        let old = files.copy();
        files.write(&[("a", "3")]);
        files.snap();
        assert_eq!(compared(&old.log, &files.snapshot), None, "the log ends before the snapshot");
        assert_eq!(compared(&files.log, &files.snapshot), None, "the log begins after it");
        let stranger = Files::new();
        stranger.write(&[("x", "1"), ("y", "2"), ("z", "3")]);
        assert_eq!(compared(&stranger.log, &files.snapshot), None, "another store is reported elsewhere");
        let mut bytes = std::fs::read(&files.snapshot).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&files.snapshot, bytes).unwrap();
        old.write(&[("a", "other")]);
        assert_eq!(compared(&old.log, &files.snapshot), None, "damage is reported elsewhere");
    }

    #[test]
    fn the_operations_of_a_batch_count_in_their_order() {
        let files = Files::new();
        let engine = Options::new(&files.log, &files.snapshot).open().unwrap();
        let mut batch = Batch::new();
        batch.put("a", "1").put("a", "2").put("b", "1").delete("b");
        engine.write(batch).unwrap();
        engine.close().unwrap();
        let copy = files.copy();
        copy.snap();
        assert_eq!(compared(&files.log, &copy.snapshot), None);
    }

    #[test]
    fn a_mismatch_is_reported_with_the_numbers_of_the_writes() {
        let files = Files::new();
        files.write(&[("a", "1"), ("b", "2")]);
        files.snap();
        let held = snapshot::read_header(&*OsDisk.open_read(&files.snapshot).unwrap().unwrap(), &files.snapshot).unwrap();
        let log = wal::Header { store_id: held.store_id, salt: 1, base: 0 };
        let reported = |log: LogState<'_>, held: Option<&snapshot::Header>| {
            find_mismatch(&files.log, &files.snapshot, log, held).map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(reported(LogState::Missing, None), "");
        assert!(
            reported(LogState::Missing, Some(&held)).contains("no log beside the snapshot; the writes from 3 on may be missing")
        );
        assert!(reported(LogState::Empty, Some(&held)).contains("is empty; the writes from 3 on may be missing"));
        assert!(reported(LogState::Empty, None).contains("the log is an empty file"));
        assert!(
            reported(LogState::Log(&log, Some(1)), Some(&held))
                .contains("it ends with write 1, the snapshot with write 2; later writes may be missing")
        );
        for last in [Some(2), Some(3), None] {
            assert_eq!(reported(LogState::Log(&log, last), Some(&held)), "", "{last:?}");
        }
        assert_eq!(reported(LogState::Log(&log, Some(0)), None), "");
        let later = wal::Header { base: 3, ..log };
        assert!(
            reported(LogState::Log(&later, Some(3)), Some(&held))
                .contains("begins after write 3, the snapshot ends with write 2")
        );
        assert!(reported(LogState::Log(&later, Some(3)), None).contains("the log begins after write 3"));
    }
}

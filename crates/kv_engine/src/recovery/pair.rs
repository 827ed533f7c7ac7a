//! Whether a log and a snapshot are one store, and hold together all that was written. Opening and everything that only
//! looks at the files ask here, so that all say the same of the same files.
//!
//! | beside the snapshot of write `s` | what follows | why no crash leaves that |
//! |---|---|---|
//! | no log, or an empty one | writes behind `s` may be missing | a log is only ever replaced whole |
//! | a log that ends before write `s` | it is an older one: writes behind `s` may be missing | the log is synced before a snapshot is taken |
//! | a log that begins behind a later write | the writes between are missing | the log lets go of what the snapshot holds, and of nothing else |
//! | a log of another store | they are not one store | – |
//! | a log that says something else up to write `s` | two copies of one store went different ways | a snapshot is made of the log |
//!
//! Without a snapshot, a log that begins behind a write lacks those before, and an empty log lacks all that it held.
//!
//! The last row of the table is seen wherever the log still holds writes up to `s`, and all of them from its
//! beginning to `s`: the last of them on a key decides what the snapshot holds under that key. It costs nothing where the
//! log begins behind `s`, as it does but for a crash between a new snapshot and its new log.

use super::{check_pair, read_header};
use crate::disk::{Disk, File, OsDisk};
use crate::error::{Error, Result};
use crate::record::{Kind, crc};
use crate::scan::{Frames, Next};
use crate::state;
use crate::{Seq, snapshot, wal};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

/// What has the log's name.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beside<'a> {
    Nothing,
    /// A file without a byte.
    Empty,
    /// A log, and its last write where it is not damaged.
    Log(&'a wal::Header, Option<Seq>),
}

/// Why the files do not hold all that was written, as far as their headers and ends can say. `None` too where there is neither
/// file.
pub(crate) fn lacking(
    wal_path: &Path,
    snapshot_path: &Path,
    log: Beside<'_>,
    snapshot: Option<&snapshot::Header>,
) -> Option<Error> {
    let mismatch =
        |reason: String| Some(Error::Mismatch { wal: wal_path.to_path_buf(), snapshot: snapshot_path.to_path_buf(), reason });
    match (log, snapshot) {
        (Beside::Nothing, None) => None,
        (Beside::Nothing, Some(held)) => {
            mismatch(format!("there is no log beside the snapshot; writes from {} on may be missing", held.seq + 1))
        }
        (Beside::Empty, Some(held)) => {
            mismatch(format!("the log beside the snapshot is empty; writes from {} on may be missing", held.seq + 1))
        }
        (Beside::Empty, None) => {
            Some(Error::damaged(wal_path, 0, "the log is an empty file, which no crash leaves; what it held is missing"))
        }
        (Beside::Log(header, last), _) => match (check_pair(wal_path, snapshot_path, header, snapshot), snapshot, last) {
            (Err(error), ..) => Some(error),
            (Ok(()), Some(held), Some(last)) if last < held.seq => mismatch(format!(
                "the log is older than the snapshot: it ends with write {last}, the snapshot is of write {}; writes from {} on \
                 may be missing",
                held.seq,
                held.seq + 1
            )),
            _ => None,
        },
    }
}

/// The header of the log that has this name now: a store that takes a snapshot gives the name to another one.
pub(crate) fn header_now(wal: &Path) -> Option<wal::Header> {
    let file = OsDisk.open_read(wal).ok()??;
    read_header(&*file, wal).ok()
}

/// What the log says of a key last: by which write, and what the value is like, if there is one.
struct Word {
    seq: Seq,
    value: Option<(usize, u32)>,
}

fn sum(value: &[u8]) -> (usize, u32) {
    (value.len(), crc(0, value))
}

/// Compares what both hold: why the log and the snapshot come from two copies of one store that went different ways. `None`
/// also where there is nothing to compare, or where what there is fails its checks, which others tell.
///
/// # Errors
/// [`Error::Io`], [`Error::Version`].
pub(crate) fn diverged(
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
    let Some(words) = words_up_to(frames, held.seq)? else { return Ok(None) };
    let mut words = words.into_iter().peekable();
    let mut other = None;
    let read = snapshot::load_while(Arc::clone(snapshot), snapshot_path, |_, entry| {
        while let Some((_, word)) = words.next_if(|(key, _)| &**key < entry.key) {
            other = other.or(word.value.map(|_| word.seq));
        }
        match words.next_if(|(key, _)| **key == *entry.key) {
            Some((_, word)) if word.value != entry.value.map(sum) => other = other.or(Some(word.seq)),
            // All writes are in the log, and none of them put it.
            None if header.base == 0 => other = other.or(Some(held.seq)),
            _ => {}
        }
        if other.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    match read {
        Ok(Some(_)) => other = words.find_map(|(_, word)| word.value.map(|_| word.seq)),
        Err(error @ Error::Io { .. }) => return Err(error),
        Ok(None) | Err(_) => {}
    }
    Ok(other.map(|seq| Error::Mismatch {
        wal: wal_path.to_path_buf(),
        snapshot: snapshot_path.to_path_buf(),
        reason: format!(
            "up to write {}, of which the snapshot is, the log says something else (write {seq}); two copies of one store went \
             different ways, and these are the log of one and the snapshot of the other",
            held.seq
        ),
    }))
}

/// The last word on each key, of the writes up to `upto`. `None`: not all of them are there.
fn words_up_to(mut frames: Frames, upto: Seq) -> Result<Option<BTreeMap<Box<[u8]>, Word>>> {
    let mut words = BTreeMap::new();
    while frames.last() < upto {
        let Next::Frame(frame) = frames.next()? else { return Ok(None) };
        let seq = frame.header.seq;
        let heard = frame.header.kind != Kind::WRITE
            || state::decode_each(frame.body, |op| {
                words.insert(op.key.into(), Word { seq, value: op.value.map(sum) });
            })
            .is_some();
        if !heard {
            return Ok(None);
        }
    }
    Ok(Some(words))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
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

        /// Puts and, with an empty value, deletes; all in one life.
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
        diverged(log, &open(log), &header, snapshot, &open(snapshot)).unwrap().map(|error| error.to_string())
    }

    /// Two copies with a history in common, then these writes, and a snapshot of the second copy.
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
    fn two_copies_that_went_different_ways_are_told_and_one_history_is_not() {
        let common = [("a", "1"), ("b", "2"), ("c", "3")];
        for base in [false, true] {
            for (one, other, write) in [
                (("a", "x"), ("a", "y"), 4),   // another value
                (("a", "x"), ("b", "y"), 4),   // another key
                (("a", ""), ("b", ""), 4),     // deleted here, there not
                (("a", ""), ("a", "x"), 4),    // deleted, there put
                (("a", "x"), ("a", ""), 4),    // put, there deleted
                (("zz", "x"), ("zy", "x"), 4), // behind the last key of the snapshot
            ] {
                let told = mixed(&common, base, &[one], &[other]).unwrap_or_else(|| panic!("{base} {one:?} {other:?}"));
                assert!(told.contains(&format!("(write {write})")) && told.contains("went different ways"), "{told}");
            }
            assert_eq!(mixed(&common, base, &[("a", "x")], &[("a", "x")]), None, "the same writes");
            // Later writes of the log are not compared, and of a key only the last word is.
            assert_eq!(mixed(&common, base, &[("a", "x"), ("b", "y")], &[("a", "x")]), None);
            assert_eq!(mixed(&common, base, &[("a", "0"), ("a", "x")], &[("b", "2"), ("a", "x")]), None);
        }
        // A key that only the snapshot has shows where the log holds all writes.
        let told = mixed(&[("a", "1")], false, &[("a", "2")], &[("b", "2")]);
        assert!(told.is_some());
        let told = mixed(&[("a", "1")], false, &[("a", "1")], &[("b", "2")]).unwrap();
        assert!(told.contains("up to write 2") && told.contains("(write 2)"), "{told}");
    }

    #[test]
    fn what_cannot_be_compared_is_no_difference() {
        let files = Files::new();
        files.write(&[("a", "1"), ("b", "2")]);
        let old = files.copy();
        files.write(&[("a", "3")]);
        files.snap();
        assert_eq!(compared(&old.log, &files.snapshot), None, "the log ends before the snapshot");
        assert_eq!(compared(&files.log, &files.snapshot), None, "the log begins behind it");
        let stranger = Files::new();
        stranger.write(&[("x", "1"), ("y", "2"), ("z", "3")]);
        assert_eq!(compared(&stranger.log, &files.snapshot), None, "another store is told elsewhere");
        let mut bytes = std::fs::read(&files.snapshot).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        std::fs::write(&files.snapshot, bytes).unwrap();
        old.write(&[("a", "other")]);
        assert_eq!(compared(&old.log, &files.snapshot), None, "damage is told elsewhere");
    }

    #[test]
    fn an_atomic_group_is_heard_in_its_order() {
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
    fn what_the_files_lack_is_said_with_the_numbers() {
        let files = Files::new();
        files.write(&[("a", "1"), ("b", "2")]);
        files.snap();
        let held = snapshot::read_header(&*OsDisk.open_read(&files.snapshot).unwrap().unwrap(), &files.snapshot).unwrap();
        let log = wal::Header { store_id: held.store_id, salt: 1, base: 0 };
        let say = |log: Beside<'_>, held: Option<&snapshot::Header>| {
            lacking(&files.log, &files.snapshot, log, held).map(|error| error.to_string()).unwrap_or_default()
        };
        assert_eq!(say(Beside::Nothing, None), "");
        assert!(say(Beside::Nothing, Some(&held)).contains("no log beside the snapshot; writes from 3 on may be missing"));
        assert!(say(Beside::Empty, Some(&held)).contains("is empty; writes from 3 on may be missing"));
        assert!(say(Beside::Empty, None).contains("the log is an empty file"));
        assert!(say(Beside::Log(&log, Some(1)), Some(&held)).contains("it ends with write 1, the snapshot is of write 2"));
        for last in [Some(2), Some(3), None] {
            assert_eq!(say(Beside::Log(&log, last), Some(&held)), "", "{last:?}");
        }
        assert_eq!(say(Beside::Log(&log, Some(0)), None), "");
        let later = wal::Header { base: 3, ..log };
        assert!(say(Beside::Log(&later, Some(3)), Some(&held)).contains("begins after write 3, the snapshot ends with write 2"));
        assert!(say(Beside::Log(&later, Some(3)), None).contains("the log begins after write 3"));
    }
}

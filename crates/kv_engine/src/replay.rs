//! Rebuilding the state at any sequence number from the files, without opening the store: no lock,
//! no byte changed. Two machines that show the same [`Digest`] hold the same entries.

use crate::disk::{Disk, File, OsDisk};
use crate::error::{Error, Result};
use crate::record::{Fault, Kind};
use crate::recovery::{Beside, LogTail, Truncation, check_pair, diverged, header_now, lacking, read_header};
use crate::scan::{Frames, Next};
use crate::state::{self, Digest, OpRef, State, Value};
use crate::{Seq, snapshot, wal};
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

/// The state after some write, rebuilt.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replayed {
    /// The last write in it.
    pub seq: Seq,
    /// How the log ended; [`LogTail::Clean`] too where the replay stopped before its end.
    pub tail: LogTail,
    /// Whether the log ends with a write, and the file with it: without reserved space and without a mark, as a write that
    /// failed leaves it, or somebody who cut the file.
    pub ends_bare: bool,
    /// What the log and the snapshot lack together, or why they are not one store, where the state could be had all the same;
    /// as [`verify`](crate::inspect::verify) says it. Where the replay stopped before the log's end, as far as it came.
    pub lacking: Option<Error>,
    state: State,
}

impl Replayed {
    /// The digest of the state.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.state.digest()
    }

    /// Number of keys.
    #[must_use]
    pub fn keys(&self) -> usize {
        self.state.len()
    }

    /// The entries in key order.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8], &Value)> {
        self.state.range(Bound::Unbounded)
    }

    /// The value of `key`.
    #[must_use]
    pub fn get(&self, key: &[u8]) -> Option<&Value> {
        self.state.get(key)
    }
}

/// Rebuilds the state after write `until`, or after the last one, from the log at `wal` and, where
/// the log does not begin with the first write, from `snapshot`. A snapshot of another store, a newer one, or
/// none, is no error when the log holds everything: [`Replayed::lacking`] says it. `each` sees the state after every write.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// engine.put("x", "1")?;
/// let digest = engine.digest();
/// engine.put("x", "2")?;
/// let before = kv_engine::replay::replay(&log, &snapshot, Some(1), |_| {})?;
/// assert_eq!((before.seq, before.digest()), (1, digest));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Mismatch`] when these files do not hold the state asked for; otherwise as opening.
pub fn replay(wal: &Path, snapshot: &Path, until: Option<Seq>, mut each: impl FnMut(&Replayed)) -> Result<Replayed> {
    let until = until.unwrap_or(Seq::MAX);
    let not_there = |reason: String| Error::Mismatch { wal: wal.to_path_buf(), snapshot: snapshot.to_path_buf(), reason };
    let file = OsDisk.open_read(wal).map_err(Error::io("opening", wal))?;
    let held_file = OsDisk.open_read(snapshot).map_err(Error::io("opening", snapshot))?;
    let held = held_file.as_deref().map(|file| snapshot::read_header(file, snapshot)).transpose();
    let lack = |log: Beside<'_>| match &held {
        Ok(held) => lacking(wal, snapshot, log, held.as_ref()),
        Err(_) => None,
    };
    let size = file.as_ref().map(|file| file.size()).transpose().map_err(Error::io("reading", wal))?;
    let Some(file) = file.filter(|_| size != Some(0)) else {
        let missing = || Error::io("opening", wal)(std::io::Error::new(std::io::ErrorKind::NotFound, "there is no such file"));
        let what = if size.is_some() { Beside::Empty } else { Beside::Nothing };
        return Err(lack(what).or_else(|| lacking(wal, snapshot, what, None)).unwrap_or_else(missing));
    };
    let header = read_header(&*file, wal)?;
    let mut replayed =
        Replayed { seq: header.base, tail: LogTail::Clean, ends_bare: false, lacking: None, state: State::default() };
    if header.base > 0 {
        let loaded = load(held_file.clone(), snapshot, &mut replayed.state)?;
        check_pair(wal, snapshot, &header, loaded.as_ref())?;
        replayed.seq = loaded.map_or(0, |loaded| loaded.seq);
    }
    if until < replayed.seq {
        let reason =
            format!("the state after write {until} is not in them: the snapshot holds that after write {}", replayed.seq);
        return Err(not_there(reason));
    }
    each(&replayed);
    let mut frames = Frames::new(Arc::clone(&file), wal, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    let mut is_behind_write = false;
    while replayed.seq < until {
        match frames.next()? {
            Next::End => {
                replayed.ends_bare = is_behind_write && frames.offset() == frames.file_len();
                break;
            }
            Next::Bad(fault) => {
                replayed.tail = Truncation::judge(&mut frames, fault, replayed.seq)?;
                break;
            }
            Next::Frame(frame) if frame.header.kind != Kind::WRITE => is_behind_write = false,
            Next::Frame(frame) if frame.header.seq > replayed.seq => {
                is_behind_write = true;
                let ops =
                    state::decode(frame.body).ok_or_else(|| Error::damaged(wal, frame.offset, Fault::Content.to_string()))?;
                ops.into_iter().map(OpRef::to_op).for_each(|op| {
                    replayed.state.apply(op);
                });
                replayed.seq = frame.header.seq;
                each(&replayed);
            }
            Next::Frame(_) => is_behind_write = true,
        }
    }
    if until != Seq::MAX && replayed.seq < until {
        return Err(not_there(format!("the state after write {until} is not in them: the last write is {}", replayed.seq)));
    }
    let last = (until == Seq::MAX && !matches!(replayed.tail, LogTail::Damaged(_))).then_some(frames.last());
    replayed.lacking = match lack(Beside::Log(&header, last)) {
        // The store put a new log in place meanwhile.
        Some(_) if header_now(wal) != Some(header) => None,
        // What fails behind the state that was asked for is not looked for here.
        None => held_file.and_then(|held| diverged(wal, &file, &header, snapshot, &held).ok().flatten()),
        lack => lack,
    };
    if let Err(error) = held {
        replayed.lacking = Some(error);
    }
    Ok(replayed)
}

fn load(file: Option<Arc<dyn File>>, path: &Path, state: &mut State) -> Result<Option<snapshot::Header>> {
    let Some(file) = file else { return Ok(None) };
    let header = snapshot::load(file, path, |_, op| {
        state.apply(op.to_op());
    })?;
    Ok(Some(header))
}

//! Rebuilding the state after any write from the files, without opening the store: no lock is taken and no byte is
//! changed. Two stores with the same [`Digest`] hold the same entries.
//!
//! Which states can be rebuilt: a snapshot holds exactly the state after one write, and the log holds the writes after
//! it. So each state from that one to the last can be rebuilt. Earlier ones are not in the files any more: the log let
//! go of their writes when the snapshot was taken. If no snapshot was taken yet, the states begin with the empty store.
//!
//! The steps: read the header of the log, load the snapshot if the log does not begin with the first write, then apply
//! the writes of the log in order. Memory holds the whole rebuilt state.

use crate::disk::{Disk, File, OsDisk};
use crate::error::{Error, Result};
use crate::record::{Fault, Kind};
use crate::recovery::{LogState, LogTail, check_same_store, find_divergence, find_mismatch, header_now, read_header, walk};
use crate::scan::Frames;
use crate::state::{self, Digest, OpRef, State, Value};
use crate::{Seq, StoreId, snapshot, wal};
use std::ops::{Bound, ControlFlow};
use std::path::Path;
use std::sync::Arc;

/// The state after some write, rebuilt.
#[derive(Debug)]
#[non_exhaustive]
pub struct Replayed {
    /// The last write in it.
    pub seq: Seq,
    /// The store.
    pub store_id: StoreId,
    /// How the log ends. [`LogTail::Clean`] also if the replay stopped before the end.
    pub tail: LogTail,
    /// Whether the file ends right after a write, without reserved space and without a mark. A failed write leaves
    /// this, and so does a truncation of the file.
    pub ends_bare: bool,
    /// Why the log and the snapshot are not one store or do not hold every write, as [`verify`](crate::inspect::verify)
    /// reports it. The state could be rebuilt all the same. If the replay stopped before the end of the log, this
    /// covers only the part that was read.
    pub mismatch: Option<Error>,
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

/// Rebuilds the state after write `until`, or after the last write. It uses the log at `wal`, and `snapshot` if the log
/// does not begin with the first write. `each` sees the state after every write.
///
/// If the log holds all writes, a snapshot that is missing, newer, or of another store is not an error:
/// [`Replayed::mismatch`] reports it.
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
/// let error = kv_engine::replay::replay(&log, &snapshot, Some(3), |_| {}).expect_err("there are two writes");
/// assert!(matches!(error, kv_engine::Error::NoState { seq: 3, first: 0, last: 2, .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::NoState`] if the files do not hold the requested state; it names those that they hold. Otherwise as
/// [`Options::open`](crate::Options::open).
pub fn replay(wal: &Path, snapshot: &Path, until: Option<Seq>, mut each: impl FnMut(&Replayed)) -> Result<Replayed> {
    let until = until.unwrap_or(Seq::MAX);
    let file = OsDisk.open_read(wal).map_err(Error::io("opening", wal))?;
    let held_file = OsDisk.open_read(snapshot).map_err(Error::io("opening", snapshot))?;
    let held = held_file.as_deref().map(|file| snapshot::read_header(file, snapshot)).transpose();
    let mismatch = |log: LogState<'_>| match &held {
        Ok(held) => find_mismatch(wal, snapshot, log, held.as_ref()),
        Err(_) => None,
    };
    let size = file.as_ref().map(|file| file.size()).transpose().map_err(Error::io("reading", wal))?;
    let Some(file) = file.filter(|_| size != Some(0)) else {
        let state = if size.is_some() { LogState::Empty } else { LogState::Missing };
        return Err(mismatch(state).or_else(|| find_mismatch(wal, snapshot, state, None)).unwrap_or_else(|| Error::missing(wal)));
    };
    let header = read_header(&*file, wal)?;
    let mut replayed = Replayed {
        seq: header.base,
        store_id: header.store_id,
        tail: LogTail::Clean,
        ends_bare: false,
        mismatch: None,
        state: State::default(),
    };
    if header.base > 0 {
        let loaded = load(held_file.clone(), snapshot, &mut replayed.state)?;
        check_same_store(wal, snapshot, &header, loaded.as_ref())?;
        replayed.seq = loaded.map_or(0, |loaded| loaded.seq);
    }
    let first = replayed.seq;
    let no_state = |last, reason| Error::NoState { wal: wal.to_path_buf(), seq: until, first, last, reason };
    let mut frames = Frames::new(Arc::clone(&file), wal, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    if until < first {
        let reason = format!(
            "the state after write {until} is not in the files any more: the snapshot holds exactly the state after write \
             {first}, and the log the writes after it"
        );
        return Err(no_state(last_write(&mut frames, first)?, reason));
    }
    each(&replayed);
    if replayed.seq < until {
        let walked = walk(&mut frames, replayed.seq, |frame| {
            if frame.header.kind != Kind::WRITE || frame.header.seq <= replayed.seq {
                return Ok(ControlFlow::Continue(()));
            }
            let ops = state::decode(frame.body).ok_or_else(|| Error::damaged(wal, frame.offset, Fault::Content.to_string()))?;
            ops.into_iter().map(OpRef::to_op).for_each(|op| {
                replayed.state.apply(op);
            });
            replayed.seq = frame.header.seq;
            each(&replayed);
            Ok(if replayed.seq < until { ControlFlow::Continue(()) } else { ControlFlow::Break(()) })
        })?;
        (replayed.tail, replayed.ends_bare) = (walked.tail, walked.ends_bare);
    }
    if until != Seq::MAX && replayed.seq < until {
        let last = replayed.seq;
        let reason = match replayed.tail {
            LogTail::Damaged(_) => {
                format!("the state after write {until} cannot be rebuilt: the log is damaged after write {last}")
            }
            _ => format!("there is no write {until}: the last write is {last}"),
        };
        return Err(no_state(last, reason));
    }
    let last = (until == Seq::MAX && !matches!(replayed.tail, LogTail::Damaged(_))).then_some(frames.last());
    replayed.mismatch = match mismatch(LogState::Log(&header, last)) {
        // A running store has put a new log in place.
        Some(_) if header_now(wal) != Some(header) => None,
        // A failure after the requested state is not reported here.
        None => held_file.and_then(|held| find_divergence(wal, &file, &header, snapshot, &held).ok().flatten()),
        mismatch => mismatch,
    };
    if let Err(error) = held {
        replayed.mismatch = Some(error);
    }
    Ok(replayed)
}

/// The last whole write of a log whose snapshot has the writes up to `held`.
fn last_write(frames: &mut Frames, held: Seq) -> Result<Seq> {
    let mut last = held;
    walk(frames, held, |frame| {
        if frame.header.kind == Kind::WRITE {
            last = last.max(frame.header.seq);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(last)
}

fn load(file: Option<Arc<dyn File>>, path: &Path, state: &mut State) -> Result<Option<snapshot::Header>> {
    let Some(file) = file else { return Ok(None) };
    let header = snapshot::load(file, path, |_, op| {
        state.apply(op.to_op());
    })?;
    Ok(Some(header))
}

//! The entries of a store, streamed out of its files in key order: the state after exactly one write
//! ([`read`]), or, of damaged files, whatever passes its check ([`salvage`]).
//!
//! Nothing here takes a lock or changes a byte, so it may read the files of a running store. In memory is only
//! what the log says, of each key the last word; the snapshot flows through.
//!
//! Order of steps of [`read`]:
//! 1. open the log, then the snapshot: a store that takes a snapshot meanwhile replaces the snapshot first, so
//!    an older log always fits a newer snapshot, but not the other way round;
//! 2. walk over the log, skipping what the snapshot holds. The state is that after the last whole write;
//!    where the log is damaged there is none to be had;
//! 3. merge the snapshot's entries with what the log says. The snapshot's own checks end with its last byte: what was
//!    handed over before may not be used when [`Export::each`] fails.

mod salvage;

pub use salvage::{Salvage, Salvaged, salvage};

use crate::disk::{Disk, File, OsDisk};
use crate::error::{Error, Result};
use crate::record::{Fault, Kind};
use crate::recovery::{Cut, Tail, check_pair, read_header};
use crate::scan::{Frames, Next};
use crate::state::{self, Key, OpRef, Value};
use crate::{Seq, StoreId, snapshot, wal};
use std::collections::BTreeMap;
use std::io;
use std::iter::Peekable;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A damaged place of a log that is being written is looked at so often before it is believed: what was
/// half there at the first look is whole at the next, and the damage elsewhere or gone.
const LOOKS: u32 = 5;

/// The state after one write, ready to be streamed; from [`read`].
#[derive(Debug)]
#[non_exhaustive]
pub struct Export {
    /// The last write in it.
    pub seq: Seq,
    /// Whose it is.
    pub store_id: StoreId,
    /// How the log ended: never damaged.
    pub tail: Tail,
    said: Said,
    snapshot: Option<Arc<dyn File>>,
    snapshot_path: PathBuf,
}

/// Reads the log at `wal` and looks at the snapshot at `snapshot`.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::export;
/// use std::ops::ControlFlow;
///
/// let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// engine.put("x", "100")?;
/// engine.snapshot()?;
/// engine.put("y", "200")?;
/// let export = export::read(&log, &snapshot)?; // while the store is open
/// assert_eq!(export.seq, 2);
/// let mut copy = Vec::new();
/// export.each(|key, value| {
///     copy.push((key.to_vec(), value.to_vec()));
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(copy, [(b"x".to_vec(), b"100".to_vec()), (b"y".to_vec(), b"200".to_vec())]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`Error::Damaged`], [`Error::Mismatch`] also when there is no log beside the snapshot, [`Error::Foreign`],
/// [`Error::Version`], [`Error::Io`] also when there is neither file.
pub fn read(wal: &Path, snapshot: &Path) -> Result<Export> {
    let mut damage = None;
    for _ in 0..LOOKS {
        match read_once(wal, snapshot) {
            Err(Error::Damaged { path, offset, .. }) if path == wal && damage != Some(offset) => {
                damage = Some(offset);
            }
            done => return done,
        }
    }
    read_once(wal, snapshot)
}

fn read_once(wal_path: &Path, snapshot_path: &Path) -> Result<Export> {
    let log = open(wal_path)?;
    let snapshot = OsDisk.open_read(snapshot_path).map_err(Error::io("opening", snapshot_path))?;
    let held = snapshot.as_deref().map(|file| snapshot::read_header(file, snapshot_path)).transpose()?;
    let Some(log) = log else {
        return Err(match held {
            None => {
                Error::io("opening", wal_path)(io::Error::new(io::ErrorKind::NotFound, "there is no such file, or it is empty"))
            }
            Some(_) => Error::Mismatch {
                wal: wal_path.to_path_buf(),
                snapshot: snapshot_path.to_path_buf(),
                reason: "there is no log beside the snapshot; writes after it may be missing".into(),
            },
        });
    };
    let header = read_header(&*log, wal_path)?;
    check_pair(wal_path, snapshot_path, &header, held.as_ref())?;
    let held = held.map_or(0, |header| header.seq);
    let mut said = Said::default();
    let mut frames = Frames::new(log, wal_path, Kind::WRITE, header.salt, wal::HEADER_BYTES as u64, header.base)?;
    let tail = loop {
        match frames.next()? {
            Next::End => break Tail::Clean,
            Next::Bad(fault) => break Cut::judge(&mut frames, fault, held)?,
            Next::Frame(frame) if frame.header.kind == Kind::WRITE && frame.header.seq > held => {
                let ops = state::decode(frame.body)
                    .ok_or_else(|| Error::damaged(wal_path, frame.offset, Fault::Content.to_string()))?;
                ops.into_iter().for_each(|op| said.hear(op, true));
            }
            Next::Frame(_) => {}
        }
    };
    if let Tail::Damaged(cut) = &tail {
        return Err(Error::damaged(wal_path, cut.offset, format!("{}, and {}", cut.fault, cut.proof)));
    }
    let (seq, store_id) = (frames.last().max(held), header.store_id);
    Ok(Export { seq, store_id, tail, said, snapshot, snapshot_path: snapshot_path.to_path_buf() })
}

/// `None` when there is none, or an empty one, as opening sees it.
fn open(wal: &Path) -> Result<Option<Arc<dyn File>>> {
    let Some(file) = OsDisk.open_read(wal).map_err(Error::io("opening", wal))? else { return Ok(None) };
    Ok(if file.size().map_err(Error::io("reading", wal))? == 0 { None } else { Some(file) })
}

impl Export {
    /// Hands over the entries in key order, until all were or `each` breaks off.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Io`] of the snapshot. Nothing that `each` got may be used then.
    pub fn each(self, mut each: impl FnMut(&[u8], &[u8]) -> ControlFlow<()>) -> Result<()> {
        let mut merge = Merge::new(self.said, &mut each);
        if let Some(file) = self.snapshot {
            snapshot::load_while(file, &self.snapshot_path, |_, entry| merge.entry(entry))?;
        }
        merge.finish();
        Ok(())
    }
}

/// What the log says of each key that it touches, the last word only; and whether that counts for more than
/// what the snapshot says.
#[derive(Debug, Default)]
struct Said(BTreeMap<Key, (Option<Value>, bool)>);

impl Said {
    fn hear(&mut self, op: OpRef<'_>, newer: bool) {
        self.0.insert(op.key.into(), (op.value.map(Value::from), newer));
    }
}

/// Merges the entries of a snapshot, which come in key order, with what the log says.
struct Merge<'e, E> {
    said: Peekable<std::collections::btree_map::IntoIter<Key, (Option<Value>, bool)>>,
    each: &'e mut E,
    flow: ControlFlow<()>,
}

impl<'e, E: FnMut(&[u8], &[u8]) -> ControlFlow<()>> Merge<'e, E> {
    fn new(said: Said, each: &'e mut E) -> Merge<'e, E> {
        Merge { said: said.0.into_iter().peekable(), each, flow: ControlFlow::Continue(()) }
    }

    fn hand_over(&mut self, key: &[u8], value: Option<&[u8]>) {
        if let (Some(value), ControlFlow::Continue(())) = (value, self.flow) {
            self.flow = (self.each)(key, value);
        }
    }

    /// The snapshot's next entry.
    fn entry(&mut self, entry: OpRef<'_>) -> ControlFlow<()> {
        while let Some((key, (value, _))) = self.said.next_if(|(key, _)| **key < *entry.key) {
            self.hand_over(&key, value.as_deref());
        }
        match self.said.next_if(|(key, _)| **key == *entry.key) {
            Some((key, (value, true))) => self.hand_over(&key, value.as_deref()),
            _ => self.hand_over(entry.key, entry.value),
        }
        self.flow
    }

    /// What is behind the snapshot's last entry.
    fn finish(mut self) {
        while let (ControlFlow::Continue(()), Some((key, (value, _)))) = (self.flow, self.said.next()) {
            self.hand_over(&key, value.as_deref());
        }
    }
}

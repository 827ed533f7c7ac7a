//! [`Changes`]: the writes of a store, as they become durable.
//!
//! A feed keeps a place in the log's file and reads on from there. It never holds the log's lock while it reads.
//!
//! # Invariants
//!
//! - Only durable writes are told. A feed reads up to the watermark `durable`, and not up to the end of the file, where
//!   records may wait for their sync. So a change that was told is in the store after any crash.
//! - Each write is told once, in the order of the numbers. The place of a feed is the end of a record, and the next
//!   record must continue its chain with the next number.
//! - The bytes of durable writes do not change. A refused write is cut off behind them, and another write gets its
//!   number. The refused one was never told.
//! - A checkpoint hides nothing. The feed keeps the file of the log that it reads, although its name is gone, until it
//!   has read all of it. Then it continues in the next log behind the copies with which that one begins
//!   (`log_row.rs`).
//! - A store without a feed pays nothing for a write: a feed that waits is one of the sleepers that the end of a round
//!   wakes.
//!
//! # The steps of a call
//!
//! 1. Without the lock: read the next record of the part that is known to be durable. If there is one, return it.
//! 2. Under the lock: look how far the writes are durable now, in this log or up to its switch. If that is behind the
//!    place, take it as the new part, and go to step 1.
//! 3. If the log was replaced, go on in the next one, with step 2.
//! 4. Otherwise the feed is at the end. If the log has failed, return the error. If the store is closed, end. Otherwise
//!    wait for a change of the store, as long as the caller wants, and go to step 2.
//!
//! If step 1 or 2 cannot read the file, the feed keeps its place, and the next call begins with step 2.
//!
//! In memory are one change, and the part of the file around it: a megabyte, or one record if it is longer.

use super::api::Engine;
use super::batch::Batch;
use super::log::{Guard, Log};
use super::log_row::LogInRow;
use super::shared::Shared;
use crate::Seq;
use crate::disk::{File, ReadOnly, Readable};
use crate::error::{Error, Result};
use crate::memory;
use crate::record::{Fault, Kind};
use crate::scan::{Frame, Frames, Next};
use crate::state::{self, Operation};
use crate::wal::LogEnd;
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// One write of a store: a put, a delete, or an atomic batch. From [`Changes`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// use kv_engine::{Batch, Operation};
///
/// let mut changes = engine.changes(1)?;
/// let mut batch = Batch::new();
/// batch.put("a", "1").delete("b");
/// engine.write(batch)?;
///
/// let change = changes.try_next()?.expect("the write is durable");
/// assert_eq!(change.seq(), 1);
/// let operations: Vec<_> = change.operations().collect();
/// assert_eq!(operations, [Operation::Put { key: b"a", value: b"1" }, Operation::Delete { key: b"b" }]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    seq: Seq,
    /// The operations as they are in the log. They were decoded once, so they are possible.
    body: Box<[u8]>,
}

impl Change {
    fn of(frame: &Frame<'_>) -> io::Result<Option<Change>> {
        if state::decode_each(frame.body, |_| {}).is_none() {
            return Ok(None);
        }
        let mut body = memory::room_for(frame.body.len())?;
        body.extend_from_slice(frame.body);
        Ok(Some(Change { seq: frame.header.seq, body: body.into() }))
    }

    /// The sequence number of the write.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let ack = engine.put("x", "100")?;
    /// let change = engine.changes(1)?.try_next()?.expect("the write is durable");
    /// assert_eq!(change.seq(), ack.seq);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.seq
    }

    /// The operations of the write, in order. There is at least one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// use kv_engine::Operation;
    ///
    /// engine.put("x", "100")?;
    /// let change = engine.changes(1)?.try_next()?.expect("the write is durable");
    /// for operation in change.operations() {
    ///     match operation {
    ///         Operation::Put { key, value } => assert_eq!((key, value), (&b"x"[..], &b"100"[..])),
    ///         Operation::Delete { key } => println!("{} is gone", key.escape_ascii()),
    ///         _ => unreachable!("there are no others yet"),
    ///     }
    /// }
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        let mut rest = &self.body[..];
        std::iter::from_fn(move || {
            (!rest.is_empty()).then(|| state::decode_one(&mut rest).expect("decoded before").into_operation())
        })
    }
}

impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change").field("seq", &self.seq).field("operations", &self.operations().collect::<Vec<_>>()).finish()
    }
}

/// The same operations, for another store. More can be added, for example a put of the number of the change. Then the
/// other store always knows exactly which changes it holds.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let open = |n: &str| kv_engine::Options::new(dir.path().join(n), dir.path().join(n.to_owned() + "s")).open();
/// let (one, other) = (open("one")?, open("other")?);
/// one.put("x", "100")?;
/// let change = one.changes(1)?.try_next()?.expect("the write is durable");
/// other.write(kv_engine::Batch::from(&change))?;
/// assert_eq!(other.digest(), one.digest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
impl From<&Change> for Batch {
    fn from(change: &Change) -> Batch {
        let mut batch = Batch::new();
        for operation in change.operations() {
            match operation {
                Operation::Put { key, value } => batch.put(key, value),
                Operation::Delete { key } => batch.delete(key),
            };
        }
        batch
    }
}

/// The writes of a store, each once and in order, as they become durable; from [`Engine::changes`] and
/// [`Engine::changes_from_now`].
///
/// As an iterator it waits for the next change. It ends when the store is closed and everything durable was told.
/// [`Changes::try_next`] does not wait, and [`Changes::next_timeout`] waits for a limited time.
///
/// - **Only what is durable is told.** So it is in the store after any crash. With a batch size above 1 a write is
///   visible before it is told.
/// - **Nothing is left out**, also if checkpoints replace the log, and if the feed is slow. The price: the logs that a
///   feed has not read stay on the disk, although their names are gone, and one file each stays open. So do not keep a
///   feed that you do not read. [`Changes::behind`] tells how far behind it is.
/// - A thread must not wait here for a change that only its own next call would make. It uses [`Changes::try_next`].
/// - A feed does not keep the store open. Writers never wait for it. A feed that waits costs one wake-up at each sync,
///   and reading takes time on the processor and the disk.
/// - After [`Error::Io`] the feed goes on: the next call reads the same change again. Do not repeat it without a pause
///   or an end, because the file may stay unreadable.
/// - After any other error the feed has ended. [`Engine::changes`] with [`Changes::next_seq`] begins another one there,
///   if the log still has that write; otherwise take a copy.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// let changes = engine.changes_from_now();
/// let follower = std::thread::spawn(move || {
///     let mut seen = Vec::new();
///     for change in changes {
///         seen.push(change?.seq());
///     }
///     Ok::<_, kv_engine::Error>(seen) // the store was closed
/// });
/// engine.put("x", "1")?;
/// engine.snapshot()?; // replaces the log
/// engine.put("x", "2")?;
/// engine.close()?;
/// assert_eq!(follower.join().expect("did not panic")?, [1, 2]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Changes {
    shared: Arc<Shared>,
    /// The log that is read.
    log: Arc<LogInRow>,
    /// The place in it up to which everything was read.
    place: LogEnd,
    /// The part behind the place that is being read, and the last write in it that is durable.
    part: Option<(Frames, Seq)>,
    /// The number of the next change.
    next: Seq,
    ended: bool,
}

/// How long a call waits.
#[derive(Clone, Copy)]
enum Patience {
    Endless,
    Until(Duration),
    None,
}

/// What a feed finds at the end of the part that it has read.
enum Found<'a> {
    Part,
    /// Nothing more now.
    End(Guard<'a>),
    /// Nothing more will come.
    Closed,
}

impl Engine {
    /// The writes from number `from` on, in order, as they become durable. Writes that are already in the log come
    /// first, then those that are made later. 0 means 1, the first write of the store.
    ///
    /// - From after a write: [`Ack::seq`](crate::Ack::seq) + 1, also if the write is not durable yet.
    /// - From now on: [`Engine::changes_from_now`].
    /// - To follow a store, save the number of each change together with its effect. After a crash of either side,
    ///   continue with that number + 1.
    ///
    /// The log goes back to the last checkpoint. If the write `from` is not in it any more, take a copy first:
    /// 1. Begin a feed with [`Engine::changes_from_now`].
    /// 2. Open a view and read all entries ([`Engine::view`]), then call [`Engine::flush`].
    /// 3. Leave out the changes up to [`View::seq`](crate::View::seq). Apply the others to the copy, in order.
    ///
    /// The example `feed.rs` shows it.
    ///
    /// Also works after a failure and after close: then it tells what is durable and in the log.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// use kv_engine::Error;
    ///
    /// engine.put("x", "1")?;
    /// engine.put("x", "2")?;
    /// let seqs = |from| engine.changes(from).map(|mut changes| {
    ///     std::iter::from_fn(|| changes.try_next().expect("readable")).map(|change| change.seq()).collect::<Vec<_>>()
    /// });
    /// assert_eq!((seqs(1)?, seqs(2)?, seqs(3)?), (vec![1, 2], vec![2], vec![]));
    ///
    /// engine.snapshot()?; // the log begins after write 2 now
    /// assert!(matches!(engine.changes(1), Err(Error::NotInLog { from: 1, first: 3, next: 3, .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::NotInLog`]: the log begins after `from`, or the store has not come to the write before it.
    pub fn changes(&self, from: Seq) -> Result<Changes> {
        Changes::from_seq(self.shared(), from.max(1))
    }

    /// The writes that become durable from now on, in order. Otherwise as [`Engine::changes`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "before")?;
    /// let mut changes = engine.changes_from_now();
    /// engine.put("x", "after")?;
    /// assert_eq!(changes.try_next()?.map(|change| change.seq()), Some(2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn changes_from_now(&self) -> Changes {
        let log = self.shared().log_always();
        Changes::at(self.shared(), &log, log.wal.end(log.durable), log.durable + 1)
    }
}

impl Changes {
    fn from_seq(shared: &Arc<Shared>, from: Seq) -> Result<Changes> {
        let log = shared.log_always();
        let end = log.wal.end(log.durable);
        let (first, next) = (end.base + 1, log.appended + 1);
        if !(first..=next).contains(&from) {
            return Err(Error::NotInLog { path: shared.wal_path.clone(), from, first, next });
        }
        let place = if from > log.durable { end } else { end.start() };
        Ok(Changes::at(shared, &log, place, from))
    }

    /// Begins at a place in the present log. Writes before `next` are not told.
    fn at(shared: &Arc<Shared>, log: &Log, place: LogEnd, next: Seq) -> Changes {
        Changes { shared: Arc::clone(shared), log: Arc::clone(&log.row), place, part: None, next, ended: false }
    }

    /// The next change, if it is durable already. `None`: there is none now, or the feed has ended
    /// ([`Changes::has_ended`]).
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let options = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap"));
    /// # let options = options.flush_interval(std::time::Duration::ZERO);
    /// let engine = options.batch_size(100).open()?;
    /// let mut changes = engine.changes(1)?;
    /// engine.put("x", "100")?;
    /// assert_eq!(changes.try_next()?, None); // the write is visible, but a crash could lose it
    /// engine.flush()?;
    /// assert_eq!(changes.try_next()?.map(|change| change.seq()), Some(1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::Poisoned`], [`Error::Lost`]: the log has failed, and everything durable was told.
    /// - [`Error::Io`]: the log could not be read, or there was not enough memory for a long change. No change is
    ///   skipped: the next call tries again.
    /// - [`Error::Damaged`]: the log was changed by another program, or the disk returned other bytes than were synced.
    pub fn try_next(&mut self) -> Result<Option<Change>> {
        self.next_within(Patience::None)
    }

    /// As [`Changes::try_next`], but waits up to this time for a change.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// use std::time::Duration;
    ///
    /// let mut changes = engine.changes(1)?;
    /// assert_eq!(changes.next_timeout(Duration::from_millis(1))?, None);
    /// let writer = std::thread::spawn({
    ///     let engine = engine.clone();
    ///     move || engine.put("x", "100")
    /// });
    /// assert_eq!(changes.next_timeout(Duration::from_secs(60))?.map(|change| change.seq()), Some(1));
    /// # writer.join().expect("did not panic")?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Changes::try_next`].
    pub fn next_timeout(&mut self, time: Duration) -> Result<Option<Change>> {
        let until = self.shared.disk.now().checked_add(time);
        self.next_within(until.map_or(Patience::Endless, Patience::Until))
    }

    /// The number of the next change. A feed that begins there continues this one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let mut changes = engine.changes(1)?;
    /// engine.put("x", "1")?;
    /// engine.put("x", "2")?;
    /// changes.try_next()?;
    /// assert_eq!(changes.next_seq(), 2);
    /// let mut other = engine.changes(changes.next_seq())?;
    /// assert_eq!(other.try_next()?, changes.try_next()?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// The number of durable writes that this feed has still to tell.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let mut changes = engine.changes(1)?;
    /// engine.put("x", "1")?;
    /// engine.put("x", "2")?;
    /// changes.try_next()?;
    /// assert_eq!(changes.behind(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn behind(&self) -> u64 {
        (self.shared.log_always().durable + 1).saturating_sub(self.next)
    }

    /// Whether no more change will come: the store is closed and everything durable was told, or there was an error
    /// other than [`Error::Io`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let mut changes = engine.changes(1)?;
    /// engine.put("x", "100")?;
    /// engine.close()?;
    /// assert!(changes.try_next()?.is_some() && !changes.has_ended());
    /// assert!(changes.try_next()?.is_none() && changes.has_ended());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    fn next_within(&mut self, patience: Patience) -> Result<Option<Change>> {
        if self.ended {
            return Ok(None);
        }
        let change = self.find(patience);
        if let Err(error) = &change {
            // The place is still that before the part, and what was told of the part is passed over.
            self.part = None;
            self.ended = !matches!(error, Error::Io { .. });
        }
        change
    }

    fn find(&mut self, patience: Patience) -> Result<Option<Change>> {
        let shared = Arc::clone(&self.shared);
        loop {
            if let Some(change) = self.read()? {
                return Ok(Some(change));
            }
            match self.look(&shared)? {
                Found::Part => {}
                Found::Closed => {
                    self.ended = true;
                    return Ok(None);
                }
                Found::End(log) => {
                    let has_changed = match patience {
                        Patience::Endless => shared.wait(log).map(|_| true)?,
                        Patience::Until(time) => shared.wait_until(log, time)?.1,
                        Patience::None => false,
                    };
                    if !has_changed {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Step 1.
    fn read(&mut self) -> Result<Option<Change>> {
        let Some((frames, last)) = &mut self.part else { return Ok(None) };
        let path = &self.shared.wal_path;
        while frames.last() < *last {
            let at = frames.offset();
            let stop = match frames.next()? {
                Next::Frame(frame) if frame.header.kind != Kind::WRITE || frame.header.seq < self.next => continue,
                Next::Frame(frame) => match Change::of(&frame).map_err(Error::io("reading", path))? {
                    Some(change) => {
                        self.next = change.seq + 1;
                        return Ok(Some(change));
                    }
                    None => Fault::Content,
                },
                Next::Bad(fault) => fault,
                Next::End => Fault::Short,
            };
            return Err(self.unreadable(at, stop));
        }
        (self.place.at, self.place.link, self.place.seq) = (frames.offset(), frames.link(), frames.last());
        self.part = None;
        Ok(None)
    }

    /// Steps 2 to 4, without the wait.
    fn look<'a>(&mut self, shared: &'a Shared) -> Result<Found<'a>> {
        let log = shared.log_or_panicked();
        loop {
            let row = Arc::clone(&self.log);
            let switch = row.switched();
            let (last, end_bytes) = switch.map_or((log.durable, log.wal.len_bytes()), |switch| (switch.last, switch.end_bytes));
            if self.place.seq < last {
                drop(log);
                self.part = Some((frames(&self.place, end_bytes, &shared.wal_path)?, last));
                return Ok(Found::Part);
            }
            let Some(switch) = switch else { break };
            (self.log, self.place) = (Arc::clone(&switch.next), switch.start.clone());
        }
        match log.poisoned() {
            Some(error) => Err(error),
            None if log.closed => Ok(Found::Closed),
            None => Ok(Found::End(log)),
        }
    }

    /// The error if a durable record cannot be read. If the log has failed, that comes first.
    fn unreadable(&self, at: u64, fault: Fault) -> Error {
        let reason = format!("{fault}, although this place had been synced; the feed of changes ends before write {}", self.next);
        let failed = self.shared.log_or_panicked().poisoned();
        failed.unwrap_or_else(|| Error::damaged(&self.shared.wal_path, at, reason))
    }
}

impl Iterator for Changes {
    type Item = Result<Change>;

    /// Waits for the next change. `None`: the feed has ended.
    fn next(&mut self) -> Option<Result<Change>> {
        self.next_within(Patience::Endless).transpose()
    }
}

impl fmt::Debug for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("next_seq", &self.next).field("has_ended", &self.ended).finish_non_exhaustive()
    }
}

/// The records from `place` to the byte `end_bytes` of the same file.
fn frames(place: &LogEnd, end_bytes: u64, path: &Path) -> Result<Frames> {
    let part = Arc::new(ReadOnly(FirstBytes { file: Arc::clone(&place.file), bytes: end_bytes }));
    Ok(Frames::new(part, path, Kind::WRITE, place.salt, place.at, place.seq)?.behind(place.link).of_ours())
}

/// A file up to this length. What follows is not read: reserved space, and records that are not durable.
#[derive(Debug)]
struct FirstBytes {
    file: Arc<dyn File>,
    bytes: u64,
}

impl Readable for FirstBytes {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.bytes.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = out.len().min(most);
        self.file.read_at(offset, &mut out[..count])
    }

    fn drop_cache(&self) {}
}

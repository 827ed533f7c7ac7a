//! [`Transaction`]: reads and writes that become one write, or nothing. The rules are at the top of `decide.rs`.
//!
//! A transaction is optimistic. It takes no lock while the closure runs. It keeps what it has read, and the writes that
//! it wants to make. At the end all writes are one record in the log, if nothing that was read has changed. Otherwise
//! the closure runs again.
//!
//! Every read shows the same moment. If something was appended since the first read, the next read first compares the
//! earlier ones with their effective values. If they are the same, all reads are those of the new moment. If one
//! differs, the attempt is lost: this read and all later ones return [`Error::Conflict`].

use super::api::Engine;
use super::decide::{Decided, Finding, MOST_LOST, Order, Seen};
use super::group_commit::Write;
use super::in_flight::WriteKind;
use super::log::Moment;
use super::report::Ack;
use super::shared::Shared;
use super::write::checked_key;
use crate::Seq;
use crate::error::{Error, Result};
use crate::state::{Key, Op, Value};
use std::collections::BTreeMap;
use std::fmt;

/// One run of the closure of [`Engine::transaction`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// let (seen, _) = engine.transaction(|tx| -> kv_engine::Result<_> {
///     tx.put("x", "100");
///     tx.get("x") // its own write
/// })?;
/// assert_eq!(seen.as_deref(), Some(&b"100"[..]));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Transaction<'a> {
    shared: &'a Shared,
    /// What was read from the store. All of it was there at `moment`.
    seen: BTreeMap<Key, Option<Value>>,
    moment: Moment,
    refusals: u64,
    /// The last waiting write that `seen` rests on.
    rests_on: Seq,
    /// What will be written, in the order of the calls.
    ops: Vec<Op>,
    /// The last operation on each key.
    own: BTreeMap<Key, usize>,
    is_lost: bool,
}

impl fmt::Debug for Transaction<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction").field("seen", &self.seen).field("ops", &self.ops).finish_non_exhaustive()
    }
}

impl<'a> Transaction<'a> {
    fn new(shared: &'a Shared) -> Transaction<'a> {
        Transaction {
            shared,
            seen: BTreeMap::new(),
            moment: Moment::default(),
            refusals: 0,
            rests_on: 0,
            ops: Vec::new(),
            own: BTreeMap::new(),
            is_lost: false,
        }
    }

    /// The value of `key`: as this transaction has written it, or as it is in the store. All values that a run reads
    /// are those of one moment.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// let (value, _) = engine.transaction(|tx| tx.get("x"))?;
    /// assert_eq!(value.as_deref(), Some(&b"100"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - [`Error::Conflict`]: another thread has changed a value that was read before. Pass it on, and the closure runs
    ///   again.
    /// - [`Error::Limit`], [`Error::Closed`], [`Error::Poisoned`], [`Error::Lost`], and otherwise as [`Engine::get`].
    pub fn get(&mut self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        let key = checked_key(key.as_ref())?;
        if self.is_lost {
            return Err(Error::Conflict);
        }
        if let Some(at) = self.own.get(key) {
            return Ok(self.ops[*at].value.clone());
        }
        if let Some(seen) = self.seen.get(key) {
            return Ok(seen.clone());
        }
        let mut log = self.shared.open_log()?;
        let moment = log.moment();
        if !self.seen.is_empty() && moment != self.moment {
            let seen = self.seen.iter().map(as_seen);
            match self.shared.unchanged(&mut log, seen)? {
                Some(rests_on) => self.rests_on = rests_on,
                None => {
                    self.is_lost = true;
                    return Err(Error::Conflict);
                }
            }
        }
        let (value, seq) = self.shared.effective(&mut log, key)?;
        (self.moment, self.refusals) = (moment, log.refusals);
        self.rests_on = self.rests_on.max(seq);
        self.seen.insert(key.into(), value.clone());
        Ok(value)
    }

    /// Whether `key` exists. Otherwise as [`Transaction::get`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let (found, _) = engine.transaction(|tx| tx.contains_key("x"))?;
    /// assert!(!found);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Transaction::get`].
    pub fn contains_key(&mut self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// Adds a put to the write. Limits are checked by [`Engine::transaction`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.transaction(|tx| -> kv_engine::Result<_> {
    ///     tx.put("a", "1").put("b", "2"); // both or none
    ///     Ok(())
    /// })?;
    /// assert_eq!(engine.stats().appended, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Transaction<'a> {
        self.add(Op::put(key.as_ref(), value.as_ref()))
    }

    /// Adds a delete to the write. If the key does not exist, the delete changes nothing, and the write still counts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("old", "100")?;
    /// engine.transaction(|tx| -> kv_engine::Result<_> {
    ///     if let Some(value) = tx.get("old")? {
    ///         tx.delete("old").put("new", value); // renamed
    ///     }
    ///     Ok(())
    /// })?;
    /// assert_eq!(engine.keys("").collect::<Result<Vec<_>, _>>()?, [b"new"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Transaction<'a> {
        self.add(Op::delete(key.as_ref()))
    }

    fn add(&mut self, op: Op) -> &mut Transaction<'a> {
        self.own.insert(op.key.clone(), self.ops.len());
        self.ops.push(op);
        self
    }

    /// Steps 3 to 5 of a conditional write. `None`: the attempt is lost.
    fn commit(&self, order: Order<'_>) -> Result<Option<Ack>> {
        let kind = match &self.ops[..] {
            [op] if op.value.is_some() => WriteKind::Put,
            [_] => WriteKind::Delete,
            _ => WriteKind::Batch,
        };
        let decided = self.shared.encoded_ops(&self.ops, |body| {
            let write = Write { kind, sync_first: false, body };
            self.shared.decide(write, order, |log| self.look(log))
        })?;
        match decided {
            Decided::Written(ack) => Ok(Some(ack)),
            Decided::Answer(()) | Decided::Lost => Ok(None),
        }
    }

    fn look(&self, log: &mut super::log::Log) -> Result<Finding<()>> {
        if self.seen.is_empty() {
            return Ok(Finding::Holds); // it rests on nothing
        }
        self.shared.holds(log, self.moment, self.seen.iter().map(as_seen))
    }

    /// Rule 5, for a run that writes nothing. `None`: what it has read was refused, so it must run again.
    fn settle(&self) -> Result<Option<Ack>> {
        if self.rests_on > 0 && !self.shared.settled(self.shared.log()?, self.rests_on, self.refusals)?.1 {
            return Ok(None);
        }
        Ok(Some(self.shared.last_ack()))
    }
}

fn as_seen<'k>((key, value): (&'k Key, &'k Option<Value>)) -> Seen<'k> {
    (key, value.as_deref())
}

impl Engine {
    /// Runs `run`, and writes what it has put and deleted as one write: all of it, or nothing. The reads and the write
    /// are one step: no write of another thread comes between them. Returns the result of `run`, and the [`Ack`] of the
    /// write. Durability as with [`Engine::put`].
    ///
    /// `run` runs without a lock, and it runs again if another thread has changed a key that it has read. So it should
    /// be quick and do nothing but compute: the effects of a run that is repeated are not undone. It may call the
    /// engine, but those calls are not part of the transaction. If `run` returns an error, nothing is written, and the
    /// error is returned.
    ///
    /// If it writes nothing, the [`Ack`] is that of the last write before it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// use kv_engine::{Error, Transaction};
    ///
    /// #[derive(Debug)]
    /// enum Refused {
    ///     TooLittle,
    ///     Store(Error),
    /// }
    /// impl From<Error> for Refused {
    ///     fn from(error: Error) -> Refused {
    ///         Refused::Store(error)
    ///     }
    /// }
    /// fn balance(tx: &mut Transaction<'_>, name: &str) -> Result<u64, Error> {
    ///     Ok(tx.get(name)?.map_or(0, |value| String::from_utf8_lossy(&value).parse().expect("a number")))
    /// }
    ///
    /// let pay = |sum: u64| {
    ///     engine.transaction(|tx| -> Result<u64, Refused> {
    ///         let (from, to) = (balance(tx, "from")?, balance(tx, "to")?);
    ///         let left = from.checked_sub(sum).ok_or(Refused::TooLittle)?;
    ///         tx.put("from", left.to_string()).put("to", (to + sum).to_string());
    ///         Ok(left)
    ///     })
    /// };
    /// engine.put("from", "100")?;
    /// let (left, ack) = pay(30).expect("there is enough");
    /// assert_eq!((left, ack.durable), (70, true));
    /// assert!(matches!(pay(80), Err(Refused::TooLittle))); // nothing was written
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// - The error of `run`: nothing was written.
    /// - [`Error::Limit`], [`Error::NoSpace`], [`Error::Closed`], [`Error::Poisoned`], [`Error::Lost`] and
    ///   [`Error::Io`], converted: as [`Engine::write`]. [`Error::Damaged`]: as [`Engine::get`].
    pub fn transaction<T, E: From<Error>>(
        &self,
        mut run: impl FnMut(&mut Transaction<'_>) -> std::result::Result<T, E>,
    ) -> std::result::Result<(T, Ack), E> {
        let (mut lost, mut turn) = (0, None);
        loop {
            if lost >= MOST_LOST && turn.is_none() {
                turn = self.shared().take_turn()?;
            }
            let mut tx = Transaction::new(self.shared());
            let done = run(&mut tx);
            if !tx.is_lost {
                let answer = match &done {
                    Ok(_) if !tx.ops.is_empty() => tx.commit(turn.as_ref().into())?,
                    _ => tx.settle()?,
                };
                if let Some(ack) = answer {
                    return done.map(|value| (value, ack));
                }
            }
            lost += 1;
        }
    }
}

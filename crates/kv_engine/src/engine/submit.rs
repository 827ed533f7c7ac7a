//! Submitted writes: the caller does not wait, and is told when they are decided. The *committer* is the thread that
//! leads rounds for them and tells.
//!
//! The steps of [`Engine::submit`]:
//! 1. Without a lock: check the limits, encode the writes, compute their checksums.
//! 2. Under the log's lock: if the log cannot take a write now, take nothing and say so.
//! 3. Judge the conditions. Append the writes; apply those that the rule of group commit allows to apply. Put the
//!    submission into the queue. The lock is not released within this step, so no other write comes between them.
//! 4. Release the lock. Wake the committer if it sleeps, or if all writes are there that it waits for before a sync.
//!
//! A turn of the committer, under the log's lock unless the step says otherwise:
//! 1. Take the decided submissions out of the queue. Release the lock, and tell them in order. Begin again.
//! 2. If a submission is left in the queue, lead a round or follow one (`group_commit.rs`). Begin again.
//! 3. If a caller wants to know when there is room, and there is: release the lock and tell. If the log is stalled or
//!    its buffer is full, and no other thread will change that, lead a round for it first.
//! 4. Sleep.
//!
//! What holds:
//! - Each submission that was taken is told exactly once. [`Engine::close`] waits for it.
//! - Only the committer tells, one submission after the other, and never under a lock.
//! - After a refusal nothing is taken until the refused submissions are told.
//! - Any thread that makes room calls [`Shared::wake_all`], which wakes the committer if a caller wants to know.

use super::api::Engine;
use super::batch::Batch;
use super::group_commit::{Write, check_seq, is_buffer_full};
use super::in_flight::WriteKind;
use super::log::{Guard, Log};
use super::shared::Shared;
use super::submissions::{Done, Submission, TellRoom, Told};
use super::write::{check_batch_bytes, check_memory, checked_key, checked_value};
use crate::Seq;
use crate::error::{Error, Result};
use crate::record::Body;
use crate::sync::{Ordering, thread};
use std::ops::RangeInclusive;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Weak;

/// The answer to [`Engine::submit`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// use kv_engine::{Batch, Submitted};
///
/// let mut put = Batch::new();
/// put.put("x", "100");
/// match engine.submit(&[put], |told| println!("{told:?}"))? {
///     Submitted::Taken(writes) => assert_eq!(writes, 1..=1),
///     Submitted::Full => engine.when_room(|| println!("try again")),
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "the writes may not have been taken"]
pub enum Submitted {
    /// The writes are in the log's order, with these sequence numbers. Without any write the range is empty.
    Taken(RangeInclusive<Seq>),
    /// The log cannot take a write now. Nothing was taken, and `done` is dropped without a call.
    /// [`Engine::when_room`] tells when to try again.
    Full,
}

impl Engine {
    /// Appends `writes` in order and returns at once. Later `done` is told what became of them. So one thread can have
    /// any number of writes in flight, and all of them share syncs. Each batch is one write, as with
    /// [`Engine::write`]. No other write comes between them.
    ///
    /// `done` is called exactly once, if the writes were taken: when the last of them is acknowledged, refused, or in
    /// doubt. It is acknowledged when [`Engine::put`] would return: with batch size 1 it is durable and visible then.
    /// With a larger one, [`Ack::durable`](crate::Ack::durable) tells. The calls come in the order of the submissions,
    /// from one thread of the store, without a lock. That thread also leads the syncs, so `done` should be quick. It
    /// may call any method of the store, but it must not wait for another submission.
    ///
    /// A submission without writes is told in its place: when everything before it is decided.
    ///
    /// If the store was opened without a log, its first write waits until the log is created. Nothing else waits for
    /// the disk, except a condition ([`Batch::require`]) on a value that is left in the snapshot.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// use kv_engine::{Batch, Submitted};
    /// use std::sync::mpsc::channel;
    ///
    /// let (tell, told) = channel();
    /// for n in 0..100_u32 {
    ///     let mut put = Batch::new();
    ///     put.put(n.to_be_bytes(), "v");
    ///     let tell = tell.clone();
    ///     // A caller that may get `Full` uses `when_room`.
    ///     let taken = engine.submit(&[put], move |is| drop(tell.send(is)))?;
    ///     assert!(matches!(taken, Submitted::Taken(_)));
    /// }
    /// for _ in 0..100 {
    ///     assert!(told.recv()?.result?.durable);
    /// }
    /// assert!(engine.stats().syncs < 100); // they shared syncs
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Of this call: nothing was taken, and `done` is dropped without a call.
    /// - [`Error::Limit`], [`Error::Closed`], [`Error::Poisoned`], [`Error::Lost`], [`Error::Io`]: as with
    ///   [`Engine::write`].
    /// - [`Error::Condition`]: a condition of one of the batches does not hold. All are judged before the first of them
    ///   is written.
    /// - [`Error::NoSpace`]: acknowledged writes wait for room on the disk, or the log cannot be created.
    ///
    /// What happens later is in [`Told::result`].
    pub fn submit(&self, writes: &[Batch], done: impl FnOnce(Told) + Send + 'static) -> Result<Submitted> {
        self.shared().submit(writes, Box::new(done))
    }

    /// Calls `tell` once, when it is worth to [`submit`](Engine::submit) again: there is room, or a submission would
    /// get an error. It comes from the same thread as the calls of `done`, and the same is true of it. If the store is
    /// closed, it comes at once, within this call. Another caller may take the room first.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let (tell, told) = std::sync::mpsc::channel();
    /// engine.when_room(move || drop(tell.send(())));
    /// told.recv()?; // there is room now
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn when_room(&self, tell: impl FnOnce() + Send + 'static) {
        self.shared().when_room(Box::new(tell));
    }
}

impl Shared {
    fn submit(&self, writes: &[Batch], done: Done) -> Result<Submitted> {
        let mut total = 0;
        for batch in writes {
            for (key, value) in &batch.conditions {
                checked_key(key)?;
                checked_value(value.as_deref().unwrap_or_default())?;
            }
            total += check_batch_bytes(&batch.ops)?;
        }
        check_memory(total, &self.wal_path)?;
        let mut bytes = Vec::with_capacity(total);
        let mut ends = Vec::with_capacity(writes.len());
        for batch in writes {
            batch.ops.iter().for_each(|op| op.as_ref().encode(&mut bytes));
            ends.push(bytes.len());
        }
        let salt = self.salt.load(Ordering::Relaxed);
        let mut begin = 0;
        let mut encoded = Vec::with_capacity(writes.len());
        for (batch, end) in writes.iter().zip(ends) {
            let body = Body::new(&bytes[begin..end], salt);
            begin = end;
            let kind = match &*batch.ops {
                [] => continue,
                [op] if op.value.is_some() => WriteKind::Put,
                [_] => WriteKind::Delete,
                _ => WriteKind::Batch,
            };
            encoded.push(Write { kind, sync_first: batch.is_durable, body });
        }
        self.submit_encoded(writes, &encoded, done)
    }

    /// Steps 2 to 4.
    fn submit_encoded(&self, writes: &[Batch], encoded: &[Write<'_>], done: Done) -> Result<Submitted> {
        let mut log = self.open_log()?;
        while !encoded.is_empty()
            && !log.paused
            && let Some(deferred_log) = log.deferred_log.clone()
        {
            log = self.begin_log(log, &deferred_log)?;
            log.check_open()?;
        }
        self.start_committer(&log)?;
        if log.stalled.is_some()
            && let Some(error) = log.submissions.obstacle.take()
        {
            return Err(error);
        }
        if self.takes_no_submission(&log) {
            return Ok(Submitted::Full);
        }
        check_seq(&log, encoded.len() as u64)?;
        if !self.conditions_hold(&mut log, writes)? {
            return Ok(Submitted::Full);
        }
        let first = log.appended + 1;
        encoded.iter().for_each(|write| self.append_submitted(&mut log, write));
        let all_came = self.arrivals.note(encoded.len() as u64);
        let last = log.appended;
        log.submissions.queue.push_back(Submission { first, last, done, refused: None });
        self.wake_committer(log);
        if all_came {
            self.committer.wake();
        }
        Ok(Submitted::Taken(first..=last))
    }

    /// Step 3. `false`: one does not hold, because of a waiting write that may still be refused.
    fn conditions_hold(&self, log: &mut Log, writes: &[Batch]) -> Result<bool> {
        for (key, value) in writes.iter().flat_map(|batch| &batch.conditions) {
            let (holds, rests_on) = self.is_effective(log, key, value.as_deref())?;
            if !holds && rests_on > log.applied {
                log.submissions.unsettled = rests_on;
                return Ok(false);
            }
            if !holds {
                return Err(Error::Condition { key: key.to_vec() });
            }
        }
        Ok(true)
    }

    fn takes_no_submission(&self, log: &Log) -> bool {
        let of = &log.submissions;
        of.refused > 0 || of.unsettled > log.applied || self.is_full(log)
    }

    fn when_room(&self, tell: TellRoom) {
        let mut log = self.log_or_panicked();
        if log.closed || self.start_committer(&log).is_err() {
            drop(log);
            return tell(); // the next submission gets the error
        }
        log.submissions.room.push(tell);
        self.wake_committer(log);
    }

    /// Step 4.
    fn wake_committer(&self, mut log: Guard<'_>) {
        let sleeps = std::mem::take(&mut log.submissions.committer_sleeps);
        drop(log);
        if sleeps {
            self.committer.wake();
        }
    }

    /// Starts the thread if it does not run yet. It keeps the store open only while it works. The log's lock is held,
    /// so only one thread is started.
    fn start_committer(&self, _: &Log) -> Result<()> {
        if self.committer.by_hand || self.committer.thread.get().is_some() {
            return Ok(());
        }
        let weak = Weak::clone(&self.me);
        let body = move || {
            while let Some(shared) = weak.upgrade() {
                match catch_unwind(AssertUnwindSafe(|| shared.committer_turn())) {
                    Ok(Next::End) => return,
                    Ok(Next::Sleep) => {}
                    Err(_) => continue, // the log has failed, and the submissions are still to be told
                }
                drop(shared);
                thread::park();
            }
        };
        let handle = thread::Builder::new().name("kv-committer".into()).spawn(body);
        let handle = handle.map_err(Error::io("starting the committing thread of", &self.wal_path))?;
        let _ = self.committer.thread.set(handle.thread().clone());
        Ok(())
    }

    /// Works until there is nothing to do.
    pub(super) fn committer_turn(&self) -> Next {
        loop {
            let mut log = self.log_or_panicked();
            let decided = log.take_decided();
            if !decided.is_empty() {
                drop(log);
                for (done, told) in decided {
                    call(|| done(told));
                }
                let mut log = self.log_or_panicked();
                log.told();
                self.wake_all(&log); // a thread that closes the store
            } else if let Some(last) = log.submissions.queue.back() {
                let last = last.last;
                let syncs_first = log.waiting.iter().any(|write| write.sync_first);
                let most_pending = if syncs_first { 0 } else { log.batch_size - 1 };
                self.round(log, last, most_pending);
            } else if !log.submissions.room.is_empty() && !self.waits_for_another(&log) {
                self.tell_room(log);
            } else {
                log.submissions.committer_sleeps = true;
                return if log.closed { Next::End } else { Next::Sleep };
            }
        }
    }

    /// Whether another thread will make room, and then wake the committer.
    fn waits_for_another(&self, log: &Log) -> bool {
        let may_lead = log.stalled.is_some() || is_buffer_full(log);
        let is_over = log.closed || log.failure.is_some();
        !is_over && (log.paused || self.takes_no_submission(log) && !may_lead)
    }

    /// Step 3 of a turn.
    fn tell_room(&self, log: Guard<'_>) {
        let must_lead = log.failure.is_none() && !log.closed && (log.stalled.is_some() || is_buffer_full(&log));
        let (mut log, obstacle) = if must_lead {
            let obstacle = self.advance(log).err();
            (self.log_or_panicked(), obstacle)
        } else {
            (log, None)
        };
        log.submissions.obstacle = obstacle;
        let room = std::mem::take(&mut log.submissions.room);
        drop(log);
        room.into_iter().for_each(call);
    }

    /// Returns when all submissions are told. At once on the committing thread, which tells them afterwards.
    pub(super) fn wait_until_told(&self) {
        if self.committer.by_hand {
            self.committer_turn();
        } else if !self.committer.is_this_thread() {
            let mut log = self.log_or_panicked();
            while log.submissions.untold() > 0 {
                log = match self.wait(log) {
                    Ok(log) => log,
                    Err(_) => self.log_or_panicked(),
                };
            }
        }
    }
}

/// What the committer does after a turn.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    Sleep,
    End,
}

/// Calls a closure of the caller. Its panic is its own: the other callers are still to be told.
fn call(tell: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(tell));
}

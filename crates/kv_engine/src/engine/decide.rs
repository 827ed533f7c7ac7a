//! Conditional writes: what a write does, and whether it is made at all, follows from values in the store. This file
//! decides them. `conditional.rs` and `transaction.rs` have the calls.
//!
//! The *effective value* of a key is the value that it has once everything appended is applied: that of the last
//! waiting write on it (`in_flight.rs`), or the one in the map if no waiting write changes it.
//!
//! The rules:
//! 1. A write is decided in log order. It is appended only if the effective values of all keys that it rests on are
//!    those that it rests on. Between the last look at them and the append the lock is not released.
//! 2. No lock is held while user code runs or the disk syncs. A value that was left in the snapshot is read under the
//!    lock, as for a delete.
//! 3. What one attempt reads are the effective values of one moment. Values that never were together are never shown.
//! 4. A write that rests on values in flight follows them in the log. So it is refused, or lost, together with them.
//! 5. An answer without a write ("the condition does not hold") is given only when no failure can make it wrong: when
//!    everything that it rests on is applied. If that is refused instead, the decision is made again.
//! 6. After a failed sync nothing is decided: the caller gets the error that a put gets.
//!
//! The steps of a conditional write with a closure:
//! 1. Under the lock: read the effective values, and note the moment. Release the lock.
//! 2. Run the closure, encode its write, and compute the checksum.
//! 3. Take the lock. Wait until the log can take a write: this may release the lock, so it comes before the decision.
//! 4. If the moment is still the noted one, append. Otherwise compare the effective values with those that were read.
//!    If all are the same, append. If one differs, the attempt is *lost*: release the lock and begin with step 1.
//! 5. Wait for the answer, as a put does.
//!
//! A condition without a closure (compare-and-swap, a batch with conditions) has only steps 2 to 5, and is never lost.
//!
//! Progress: an attempt is lost only to a write that was appended, so some write always succeeds. A caller that has
//! lost [`MOST_LOST`] attempts takes the *turn*: before step 4 the closures of other callers let it go first, each for
//! [`MOST_COURTESY`] at most. The turn ends with the append. So among short closures every caller soon succeeds. The
//! time is limited because a closure may wait for another thread's write. There is no bound for a closure that runs
//! longer than that. There is none either against plain writes on the same keys, which never wait for a turn.

use super::group_commit::Write;
use super::log::{Guard, Log, Moment};
use super::report::Ack;
use super::shared::Shared;
use crate::Seq;
use crate::error::Result;
use crate::state::Value;
use std::cell::Cell;
use std::sync::PoisonError;
use std::time::Duration;

/// After this many lost attempts a caller takes the turn. With fewer, threads that add to one key would often take it,
/// and the others would sleep more than they work. Few threads of a schedule lose that often, so there it is 1.
pub(super) const MOST_LOST: u32 = if cfg!(shuttle) { 1 } else { 16 };
/// How long others let it go first.
const MOST_COURTESY: Duration = Duration::from_millis(10);

/// The finding of a look at the effective values, under the log's lock.
pub(super) enum Finding<T> {
    /// The condition holds: append the write.
    Holds,
    /// There is nothing to write. The answer rests on the writes up to this one.
    Answer(T, Seq),
    /// Another write came first: try again from the beginning.
    Lost,
}

/// A conditional write that has been decided.
pub(super) enum Decided<T> {
    Written(Ack),
    Answer(T),
    Lost,
}

/// The right to go first. It ends when its caller has appended a write, or when this is dropped. So it is not kept
/// during the sync of that write.
pub(super) struct Turn<'a> {
    shared: &'a Shared,
    has_ended: Cell<bool>,
}

impl Turn<'_> {
    fn end(&self, log: &mut Log) {
        if !self.has_ended.replace(true) {
            log.has_turn = false;
            self.shared.wake_all(log);
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if !self.has_ended.get() {
            self.end(&mut self.shared.log.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}

/// Whether a caller lets the one go first that has the turn.
#[derive(Clone, Copy)]
pub(super) enum Order<'a> {
    LetsGoFirst,
    GoesFirst,
    HasTurn(&'a Turn<'a>),
}

impl<'a> From<Option<&'a Turn<'a>>> for Order<'a> {
    fn from(turn: Option<&'a Turn<'a>>) -> Order<'a> {
        turn.map_or(Order::LetsGoFirst, Order::HasTurn)
    }
}

impl Shared {
    /// Steps 3 to 5: appends `write` if `look` finds that it should be appended. `look` may be called several times.
    pub(super) fn decide<T>(
        &self,
        write: Write<'_>,
        order: Order<'_>,
        mut look: impl FnMut(&mut Log) -> Result<Finding<T>>,
    ) -> Result<Decided<T>> {
        let mut goes_first = !matches!(order, Order::LetsGoFirst);
        let mut log = self.log()?;
        loop {
            log = self.wait_until_free(log)?;
            if log.has_turn && !goes_first {
                log = self.let_go_first(log)?;
                goes_first = true;
                continue;
            }
            match look(&mut log)? {
                // Admission may release the lock, so the decision is made again after it. It comes only now, because
                // a write that is not made must not begin a log.
                Finding::Holds if log.deferred_log.is_some() || self.checkpointer.is_behind(log.wal.len_bytes()) => {
                    log = self.admit(log)?;
                }
                Finding::Holds => {
                    let appended = |log: &mut Log| {
                        if let Order::HasTurn(turn) = order {
                            turn.end(log);
                        }
                    };
                    return self.commit_admitted(log, write, appended).map(Decided::Written);
                }
                Finding::Lost => return Ok(Decided::Lost),
                Finding::Answer(answer, rests_on) => {
                    let refusals = log.refusals;
                    match self.settled(log, rests_on, refusals)? {
                        (_, true) => return Ok(Decided::Answer(answer)),
                        (again, false) => log = again,
                    }
                }
            }
        }
    }

    /// Rule 5: returns once all writes up to `rests_on` are applied, or some were refused. Whether they are applied.
    /// `refusals`: how many refusals there had been when the answer was found.
    pub(super) fn settled<'a>(&'a self, mut log: Guard<'a>, rests_on: Seq, refusals: u64) -> Result<(Guard<'a>, bool)> {
        loop {
            if let Some(error) = log.poisoned() {
                return Err(error);
            }
            if log.refusals != refusals {
                return Ok((log, false));
            }
            if rests_on <= log.applied {
                return Ok((log, true));
            }
            let most_pending = log.batch_size - 1;
            self.round(log, rests_on, most_pending);
            log = self.log()?;
        }
    }

    /// The effective value of `key`, and the waiting write that it rests on, or 0.
    pub(super) fn effective(&self, log: &mut Log, key: &[u8]) -> Result<(Option<Value>, Seq)> {
        match log.in_flight(key) {
            Some((seq, value)) => Ok((value.map(Value::from), seq)),
            None => Ok((self.state.get(key)?, 0)),
        }
    }

    /// Whether the effective value of `key` is `expected`, and the waiting write that the answer rests on, or 0.
    pub(super) fn is_effective(&self, log: &mut Log, key: &[u8], expected: Option<&[u8]>) -> Result<(bool, Seq)> {
        match log.in_flight(key) {
            Some((seq, value)) => Ok((value == expected, seq)),
            None => {
                let same = self.state.with(key, |value| Some(value) == expected)?;
                Ok((same.unwrap_or(expected.is_none()), 0))
            }
        }
    }

    /// Takes the turn if it is free.
    pub(super) fn take_turn(&self) -> Result<Option<Turn<'_>>> {
        let mut log = self.open_log()?;
        if log.has_turn {
            return Ok(None);
        }
        log.has_turn = true;
        Ok(Some(Turn { shared: self, has_ended: Cell::new(false) }))
    }

    fn let_go_first<'a>(&'a self, mut log: Guard<'a>) -> Result<Guard<'a>> {
        let until = self.disk.now() + MOST_COURTESY;
        let mut in_time = true;
        while log.has_turn && in_time {
            (log, in_time) = self.wait_until(log, until)?;
        }
        Ok(log)
    }
}

/// One key that a decision rests on: the value that was read.
pub(super) type Seen<'a> = (&'a [u8], Option<&'a [u8]>);

impl Shared {
    /// Step 4: whether all effective values are the ones that were read at `moment`. Returns the last waiting write
    /// that they rest on. `None`: one differs.
    pub(super) fn unchanged<'k>(&self, log: &mut Log, seen: impl Iterator<Item = Seen<'k>>) -> Result<Option<Seq>> {
        let mut rests_on = 0;
        for (key, value) in seen {
            let (same, seq) = self.is_effective(log, key, value)?;
            if !same {
                return Ok(None);
            }
            rests_on = rests_on.max(seq);
        }
        Ok(Some(rests_on))
    }

    /// Step 4 for a write: appends it only if nothing that was read has changed since `moment`.
    pub(super) fn holds<'k, T>(&self, log: &mut Log, moment: Moment, seen: impl Iterator<Item = Seen<'k>>) -> Result<Finding<T>> {
        let same = log.moment() == moment || self.unchanged(log, seen)?.is_some();
        Ok(if same { Finding::Holds } else { Finding::Lost })
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::group_commit::Write;
    use super::super::in_flight::WriteKind;
    use super::{Decided, Finding, Order};
    use crate::Options;
    use crate::disk::sim::{Image, SimDisk};
    use crate::record::Body;
    use crate::state::OpRef;
    use std::sync::Arc;

    #[test]
    fn the_turn_ends_when_its_write_is_appended() {
        let disk = SimDisk::new(&Image::new(), 1);
        let engine = Options::new("/w", "/s").disk(Arc::new(disk)).batch_size(2).by_hand().open().unwrap();
        let shared = engine.shared();
        let mut body = Vec::new();
        OpRef { key: b"x", value: Some(b"1") }.encode(&mut body);
        let turn = shared.take_turn().unwrap().unwrap();
        assert!(shared.take_turn().unwrap().is_none(), "one caller at a time has it");
        let write = Write { kind: WriteKind::Put, sync_first: false, body: Body::new(&body, 0) };
        let decided = shared.decide(write, Order::HasTurn(&turn), |_| Ok(Finding::<()>::Holds)).unwrap();
        assert!(matches!(decided, Decided::Written(_)));
        let next = shared.take_turn().unwrap().expect("the turn has ended with the append");
        drop(turn); // it does not end the turn of the next caller
        assert!(shared.take_turn().unwrap().is_none());
        drop(next);
        assert!(shared.take_turn().unwrap().is_some());
    }
}

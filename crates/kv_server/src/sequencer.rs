//! [`Sequencer`]: the order of all writes, and the values that are on their way to the disk.
//!
//! A command like INCR needs the value that all earlier writes leave, also those that no sync covers yet. So one lock
//! orders the turns that write. Under it a turn is evaluated against the *overlay* (the values of writes that the
//! store has not told of yet) and then the store. It is submitted before the lock is released. So the order of
//! evaluation is the order of the log.
//!
//! Each write has a *place*: 1, 2, 3 … in the order of evaluation. A reply *rests on* the latest place that it has read
//! or written. It is true if and only if that write comes into force.
//!
//! - An entry of the overlay leaves when the store tells of its write, unless a later write has replaced it. Until then
//!   a read through the sequencer sees it, and rests on it.
//! - When the store tells of a write, it is visible in the store already. So a value is always in the overlay or in the
//!   store.
//! - A refusal concerns one write and every later one that was submitted before the refusal was told to all. So with
//!   the first refused place `p`, a reply is true if and only if it rests on a place before `p`.
//! - Evaluation and submission hold the lock, and [`Sequencer::told`] takes it. The store accepts nothing until each
//!   refused submission was told. So nothing that was evaluated against a refused value is ever submitted.
//! - A watched key is touched when a write on it is submitted, not when it is told of.

use crate::refusal::{Fate, Refusal};
use crate::store::{Key, Store};
use kv_engine::{Batch, Error, Submitted, Told};
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The position of a write in the order of evaluation. 0: no write.
pub(crate) type Place = u64;

/// What became of writes that a turn rests on.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// Replies that rest on places before this one are true.
    pub(crate) true_before: Place,
    /// What the others are answered.
    pub(crate) refusal: Option<Refusal>,
}

impl Outcome {
    pub(crate) const IN_FORCE: Outcome = Outcome { true_before: Place::MAX, refusal: None };
}

#[derive(Debug)]
pub(crate) struct Sequencer {
    state: Mutex<State>,
}

#[derive(Debug)]
struct Pending {
    place: Place,
    /// `None`: deleted.
    value: Option<Arc<[u8]>>,
}

/// The writes of a turn that the store has taken and not told of.
#[derive(Debug)]
struct Submission {
    first: Place,
    /// The place behind its last write.
    end: Place,
    effects: Vec<Effect>,
}

/// A key that connections watch.
#[derive(Debug)]
struct Watched {
    connections: usize,
    /// The last write on it since it is watched.
    touched: Place,
}

#[derive(Debug)]
struct State {
    overlay: HashMap<Key, Pending>,
    in_flight: VecDeque<Submission>,
    watched: HashMap<Key, Watched>,
    /// The place of the next write.
    next: Place,
    /// Writes before this place were told of.
    told: Place,
    /// The first refused place, until the store takes writes again.
    refused_from: Option<Place>,
    /// Turns that wrote nothing and rest on the write at this place; the number keeps them apart.
    waiting: BTreeMap<(Place, u64), oneshot::Sender<Outcome>>,
    waits: u64,
}

/// A watched key, and the place from which on a write on it counts.
#[derive(Debug)]
pub(crate) struct Watch {
    key: Key,
    since: Place,
}

impl Sequencer {
    pub(crate) fn new() -> Sequencer {
        Sequencer {
            state: Mutex::new(State {
                overlay: HashMap::new(),
                in_flight: VecDeque::new(),
                watched: HashMap::new(),
                next: 1,
                told: 1,
                refused_from: None,
                waiting: BTreeMap::new(),
                waits: 0,
            }),
        }
    }

    /// After a panic the state is whole: an evaluation takes its effects back when it is dropped.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a turn that writes, or reads what is in flight.
    pub(crate) fn evaluate<'a>(self: &'a Arc<Sequencer>, store: &'a Store) -> Evaluation<'a> {
        Evaluation {
            sequencer: self,
            store,
            state: self.lock(),
            effects: Vec::new(),
            batches: Vec::new(),
            closed_effects: 0,
            open_bytes: 0,
            bytes: 0,
            rests_on: 0,
            reads: 0,
        }
    }

    /// Ends the watching of a connection.
    pub(crate) fn unwatch(&self, watches: &mut Vec<Watch>) {
        if !watches.is_empty() {
            self.lock().unwatch(watches);
        }
    }

    /// Keys in flight, and watched keys.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.overlay.len(), state.watched.len())
    }

    /// The store tells of the submission whose first write is `first`: its values leave the overlay.
    fn told(&self, first: Place, told: Told) -> Outcome {
        let mut state = self.lock();
        // They come in the order of the submissions, each once.
        let submission = state.in_flight.pop_front().filter(|submission| submission.first == first);
        let Submission { end, effects, .. } = submission.expect("the store tells of submissions in their order");
        for effect in effects {
            if let Entry::Occupied(entry) = state.overlay.entry(effect.key)
                && entry.get().place < end
            {
                entry.remove();
            }
        }
        state.told = end;
        let outcome = match told.result {
            Ok(_) => {
                state.refused_from = None;
                Outcome::IN_FORCE
            }
            Err(error) => {
                let from = *state.refused_from.get_or_insert(first + told.in_force);
                let fate = match error {
                    Error::Poisoned { .. } | Error::Lost { .. } => Fate::Unknown,
                    _ => Fate::NotStored,
                };
                Outcome { true_before: from, refusal: Some(Refusal::of_write(&error, fate)) }
            }
        };
        let still = state.waiting.split_off(&(end, 0));
        let ready = std::mem::replace(&mut state.waiting, still);
        drop(state);
        for (_, waiter) in ready {
            let _ = waiter.send(outcome.clone());
        }
        outcome
    }
}

impl State {
    fn unwatch(&mut self, watches: &mut Vec<Watch>) {
        for watch in watches.drain(..) {
            if let Entry::Occupied(mut entry) = self.watched.entry(watch.key) {
                entry.get_mut().connections -= 1;
                if entry.get().connections == 0 {
                    entry.remove();
                }
            }
        }
        *watches = Vec::new();
    }
}

/// A change of the overlay, and what was there before.
#[derive(Debug)]
struct Effect {
    key: Key,
    before: Option<Pending>,
}

/// What a turn's writes came to.
pub(crate) enum Finished {
    /// Everything that was read is in force, and nothing was written.
    Settled,
    /// The outcome comes.
    Waiting(oneshot::Receiver<Outcome>),
    /// The store has no room now. Nothing was written; the overlay is as before the turn. What was read may still be in
    /// flight.
    Full(Option<oneshot::Receiver<Outcome>>),
    /// The store took nothing. Replies that rest on this place or a later one are false. What the others rest on may
    /// still be in flight.
    Refused(Place, Refusal, Option<oneshot::Receiver<Outcome>>),
}

/// The turn of one connection under the sequencer's lock. Dropped without [`Evaluation::finish`], it takes its effects
/// back.
pub(crate) struct Evaluation<'a> {
    sequencer: &'a Arc<Sequencer>,
    store: &'a Store,
    state: MutexGuard<'a, State>,
    effects: Vec<Effect>,
    /// One for each command that wrote.
    batches: Vec<Batch>,
    /// Effects of the commands that have ended.
    closed_effects: usize,
    /// Bytes that the command that is evaluated has written, also where it has written twice.
    open_bytes: usize,
    bytes: usize,
    /// The latest place that the command has read or written.
    rests_on: Place,
    /// The latest place before this turn that a finished command has read.
    reads: Place,
}

/// Bytes of an operation in a batch beside its key and value.
const OPERATION_BYTES: usize = 9;

impl Evaluation<'_> {
    /// Shows `see` the value of `key` that all earlier writes leave.
    pub(crate) fn with<T>(&mut self, key: &[u8], see: impl FnOnce(&[u8]) -> T) -> Result<Option<T>, Refusal> {
        if let Some(pending) = self.state.overlay.get(key) {
            self.rests_on = self.rests_on.max(pending.place);
            return Ok(pending.value.as_deref().map(see));
        }
        self.store.with(key, see)
    }

    /// # Errors
    /// The writes of one command are longer than the store takes at once.
    pub(crate) fn put(&mut self, key: &[u8], value: &[u8]) -> Result<(), Refusal> {
        self.write(key, Some(value))
    }

    /// # Errors
    /// As [`Evaluation::put`].
    pub(crate) fn delete(&mut self, key: &[u8]) -> Result<(), Refusal> {
        self.write(key, None)
    }

    fn write(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), Refusal> {
        let bytes = OPERATION_BYTES + key.len() + value.map_or(0, <[u8]>::len);
        if self.open_bytes + bytes > kv_engine::MAX_ATOMIC_BYTES {
            return Err(Refusal::LARGE_WRITE);
        }
        self.open_bytes += bytes;
        let place = self.place();
        self.rests_on = place;
        let value = value.map(Into::into);
        if let Some(pending) = self.state.overlay.get_mut(key) {
            let before = std::mem::replace(pending, Pending { place, value });
            if before.place != place {
                self.effects.push(Effect { key: key.into(), before: Some(before) });
            }
            return Ok(());
        }
        let key: Key = key.into();
        self.state.overlay.insert(Key::clone(&key), Pending { place, value });
        self.effects.push(Effect { key, before: None });
        Ok(())
    }

    /// The place of the command that is evaluated, if it writes.
    fn place(&self) -> Place {
        self.state.next + self.batches.len() as u64
    }

    /// Ends a command: its writes are one atomic write, with the last value of each key. The place that its reply rests
    /// on.
    pub(crate) fn end_command(&mut self) -> Place {
        if self.effects.len() > self.closed_effects {
            let mut batch = Batch::new();
            for effect in &self.effects[self.closed_effects..] {
                match self.state.overlay.get(&effect.key).and_then(|pending| pending.value.as_deref()) {
                    Some(value) => batch.put(&effect.key, value),
                    None => batch.delete(&effect.key),
                };
            }
            self.batches.push(batch);
            self.closed_effects = self.effects.len();
        }
        self.bytes += std::mem::take(&mut self.open_bytes);
        let rests_on = std::mem::take(&mut self.rests_on);
        if rests_on < self.state.next {
            self.reads = self.reads.max(rests_on);
        }
        rests_on
    }

    /// Takes back what the command that is evaluated has written.
    pub(crate) fn take_back_command(&mut self) {
        self.take_back(self.closed_effects);
    }

    fn take_back(&mut self, len: usize) {
        for Effect { key, before } in self.effects.drain(len..).rev() {
            match before {
                Some(before) => self.state.overlay.insert(key, before),
                None => self.state.overlay.remove(&key),
            };
        }
    }

    pub(crate) fn has_writes(&self) -> bool {
        !self.effects.is_empty()
    }

    /// Bytes of all writes of the turn.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.open_bytes
    }

    /// Keys in flight that `of` accepts, and whether they exist. The reply rests on all of them.
    pub(crate) fn in_flight(&mut self, of: impl Fn(&[u8]) -> bool) -> HashMap<Key, bool> {
        let accepted = self.state.overlay.iter().filter(|(key, _)| of(key));
        let rests_on = &mut self.rests_on;
        let seen = accepted.map(|(key, pending)| {
            *rests_on = pending.place.max(*rests_on);
            (Key::clone(key), pending.value.is_some())
        });
        seen.collect()
    }

    /// Watches `key` for the connection. The reply rests on the write in flight, if there is one: later reads without
    /// the sequencer must see it.
    pub(crate) fn watch(&mut self, key: &[u8], watches: &mut Vec<Watch>) {
        if let Some(pending) = self.state.overlay.get(key) {
            self.rests_on = self.rests_on.max(pending.place);
        }
        if watches.iter().any(|watch| &*watch.key == key) {
            return;
        }
        let since = self.place();
        let key: Key = key.into();
        self.state.watched.entry(Key::clone(&key)).or_insert(Watched { connections: 0, touched: 0 }).connections += 1;
        watches.push(Watch { key, since });
    }

    pub(crate) fn unwatch(&mut self, watches: &mut Vec<Watch>) {
        self.state.unwatch(watches);
    }

    /// Whether a watched key was written since, also by this turn.
    pub(crate) fn is_dirty(&self, watches: &[Watch]) -> bool {
        watches.iter().any(|watch| {
            let touched = self.state.watched.get(&watch.key).map_or(0, |watched| watched.touched);
            let in_flight = self.state.overlay.get(&watch.key).map_or(0, |pending| pending.place);
            touched.max(in_flight) >= watch.since
        })
    }

    /// Ends the turn.
    pub(crate) fn finish(&mut self) -> Finished {
        if self.batches.is_empty() {
            return match self.wait_for(self.reads) {
                None => Finished::Settled,
                Some(outcome) => Finished::Waiting(outcome),
            };
        }
        let (first, end) = (self.state.next, self.place());
        let (tell, outcome) = oneshot::channel();
        let sequencer = Arc::clone(self.sequencer);
        let done = move |told: Told| {
            let _ = tell.send(sequencer.told(first, told));
        };
        match self.store.submit(&self.batches, done) {
            Ok(Submitted::Taken(_)) => {
                let mut effects = std::mem::take(&mut self.effects);
                for effect in &mut effects {
                    effect.before = None;
                    if let Some(watched) = self.state.watched.get_mut(&effect.key) {
                        watched.touched = end - 1;
                    }
                }
                self.state.next = end;
                self.state.in_flight.push_back(Submission { first, end, effects });
                Finished::Waiting(outcome)
            }
            Ok(Submitted::Full) => {
                self.take_back(0);
                Finished::Full(self.wait_for(self.reads))
            }
            Err(error) => {
                self.take_back(0);
                Finished::Refused(first, Refusal::of_write(&error, Fate::NotStored), self.wait_for(self.reads))
            }
        }
    }

    /// The outcome of the write at `place`, if it is in flight.
    pub(crate) fn wait_for(&mut self, place: Place) -> Option<oneshot::Receiver<Outcome>> {
        if place < self.state.told {
            return None;
        }
        let (tell, outcome) = oneshot::channel();
        self.state.waits += 1;
        let number = self.state.waits;
        self.state.waiting.insert((place, number), tell);
        Some(outcome)
    }
}

impl Drop for Evaluation<'_> {
    fn drop(&mut self) {
        self.take_back(0);
    }
}

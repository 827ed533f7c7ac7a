//! A submitter: a thread that submits writes and does not wait for each of them. It checks what it is told: once, in
//! the order of its submissions, and truly. If the store is full, it waits until it is told that there is room. A
//! thread that waits for ever fails the schedule.

use crate::history::{Answer, History, Id, SHARED, Shared, marker, named};
use crate::stage::{Stage, quietly};
use kv_engine::{Batch, Engine, Error, Seq, Submitted, Told};
use shuttle::sync::{Condvar, Mutex, MutexGuard};
use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};

/// How often a submission is tried, if the store is full each time.
const MOST_TRIES: usize = 3;

/// The form of one write of a submission.
#[derive(Clone, Copy, Debug)]
pub enum Form {
    Marker,
    /// A marker and the shared key.
    Both,
    /// A marker, in a batch that is durable at once.
    Durable,
    /// The same as `Both`, if the shared key has the value that a reader sees.
    Require,
}

/// What a submitter does.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The writes of each submission.
    pub submissions: Vec<Vec<Form>>,
    /// Whether the thread waits until everything is told. Otherwise it may drop the last handle before.
    pub waits: bool,
    /// Whether the store is closed where the first submission is told.
    pub closes: bool,
}

/// The writes of one submission and the values that they were decided on.
struct Writes {
    ids: Vec<Id>,
    forms: Vec<Form>,
    decided_on: Option<Option<Id>>,
}

/// What one thread shares with the calls that tell it.
#[derive(Default)]
struct Ears {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// The submissions that are not told, in order.
    untold: VecDeque<usize>,
    /// How often the store told that there is room.
    room: usize,
    /// Told before the call of `submit` returned, or the other way round.
    early: Vec<(usize, Answered)>,
}

/// One half of an answer: the numbers of the writes, or what was told of them.
enum Answered {
    From(Seq),
    Told(Told),
}

pub struct Submitter {
    pub stage: Arc<Stage>,
    pub history: Arc<History>,
}

impl Submitter {
    pub fn submit(&self, engine: &Engine, plan: &Plan) {
        let ears = Arc::new(Ears::default());
        for (number, forms) in plan.submissions.iter().enumerate() {
            self.one(engine, number, forms, plan.closes && number == 0, &ears);
        }
        if plan.waits {
            let mut state = ears.state();
            while !state.untold.is_empty() {
                state = ears.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }

    fn one(&self, engine: &Engine, number: usize, forms: &[Form], closes: bool, ears: &Arc<Ears>) {
        let seen = engine.get(SHARED).expect("a read does not fail");
        let requires = forms.iter().any(|form| matches!(form, Form::Require));
        let issue = |form: &Form| {
            let shared = if matches!(form, Form::Both | Form::Require) { Shared::Put } else { Shared::Leave };
            self.history.issue(true, shared)
        };
        let ids: Vec<Id> = forms.iter().map(issue).collect();
        let batch = |(form, id): (&Form, &Id)| {
            let mut batch = Batch::new();
            batch.put(marker(*id), "");
            match form {
                Form::Marker => {}
                Form::Durable => drop(batch.durable()),
                Form::Both | Form::Require => drop(batch.put(SHARED, id.to_string())),
            }
            match &seen {
                _ if !matches!(form, Form::Require) => {}
                Some(seen) => drop(batch.require(SHARED, seen)),
                None => drop(batch.require_absent(SHARED)),
            }
            batch
        };
        let batches: Vec<Batch> = forms.iter().zip(&ids).map(batch).collect();
        let decided_on = requires.then(|| named(seen.as_deref()));
        let writes = Arc::new(Writes { ids, forms: forms.to_vec(), decided_on });
        for _ in 0..MOST_TRIES {
            let heard = ears.room();
            let Some(given) = self.give(engine, number, &batches, closes, &writes, ears) else {
                // The call panicked before it had taken anything, or before it could return.
                return writes.ids.iter().for_each(|id| self.history.answer(*id, Answer::InDoubt, false));
            };
            match given {
                Ok(Submitted::Taken(range)) => {
                    if range.end() + 1 - range.start() != writes.ids.len() as u64 {
                        self.history.wrong(format!("submission {number} of {} writes got {range:?}", writes.ids.len()));
                    }
                    return self.both(number, Answered::From(*range.start()), &writes, ears);
                }
                Ok(Submitted::Full) => {
                    let told = Arc::clone(ears);
                    engine.when_room(move || told.tell_room());
                    ears.wait_for_room(heard);
                }
                Err(error) => {
                    let answer = if matches!(error, Error::Condition { .. }) { Answer::Absent } else { Answer::Refused };
                    if answer == Answer::Refused {
                        self.history.failed(&error);
                    }
                    return writes.ids.iter().for_each(|id| self.history.answer(*id, answer, false));
                }
            }
        }
        writes.ids.iter().for_each(|id| self.history.answer(*id, Answer::Refused, false));
    }

    /// One call of `submit`. `None`: it panicked.
    fn give(
        &self,
        engine: &Engine,
        number: usize,
        batches: &[Batch],
        closes: bool,
        writes: &Arc<Writes>,
        ears: &Arc<Ears>,
    ) -> Option<kv_engine::Result<Submitted>> {
        ears.state().untold.push_back(number);
        let here = Submitter { stage: Arc::clone(&self.stage), history: Arc::clone(&self.history) };
        let (writes, told_ears) = (Arc::clone(writes), Arc::clone(ears));
        let closing = closes.then(|| engine.clone());
        let done = move |told: Told| {
            here.told(number, told, &writes, &told_ears);
            if let Some(engine) = closing {
                here.close(&engine); // and drops this handle, before the thread goes on
            }
            told_ears.is_told(number, &here.history);
        };
        let given = quietly(|| engine.submit(batches, done));
        if !matches!(given, Some(Ok(Submitted::Taken(_)))) {
            ears.state().untold.pop_back();
        }
        given
    }

    fn told(&self, number: usize, told: Told, writes: &Writes, ears: &Ears) {
        let durable = matches!(&told.result, Ok(ack) if ack.durable);
        match &told.result {
            Ok(ack) => {
                if told.in_force != writes.ids.len() as u64 {
                    self.history.wrong(format!("submission {number} is told OK with {} in force", told.in_force));
                }
                // The time of this call counts, so it does not wait for `submit` to return.
                let from = ack.seq + 1 - told.in_force;
                self.answer(from, told.in_force, durable, &Answer::InDoubt, writes);
                if !writes.ids.is_empty() {
                    self.history.told_in_order(ack.seq);
                }
            }
            Err(error) => {
                self.history.failed(error);
                if matches!(error, Error::NoSpace { .. }) {
                    self.history.told_refused();
                }
            }
        }
        self.both(number, Answered::Told(told), writes, ears);
    }

    /// The second half of an answer is here, or the first one is kept.
    fn both(&self, number: usize, half: Answered, writes: &Writes, ears: &Ears) {
        let mut state = ears.state();
        let other = state.early.iter().position(|(of, _)| *of == number).map(|place| state.early.swap_remove(place).1);
        let Some(other) = other else { return state.early.push((number, half)) };
        drop(state);
        let (from, told) = match (half, other) {
            (Answered::From(from), Answered::Told(told)) | (Answered::Told(told), Answered::From(from)) => (from, told),
            _ => return self.history.wrong(format!("submission {number} is told or taken twice")),
        };
        match told.result {
            Ok(ack) if ack.seq + 1 != from + told.in_force => {
                self.history.wrong(format!("submission {number} was taken from write {from} on, and its last is {}", ack.seq));
            }
            Ok(_) => {}
            Err(Error::NoSpace { .. }) => self.answer(from, told.in_force, false, &Answer::Refused, writes),
            Err(_) => self.answer(from, told.in_force, true, &Answer::InDoubt, writes),
        }
    }

    /// The answers to the writes of a submission: the first `in_force` are accepted, and the others are not.
    fn answer(&self, from: Seq, in_force: u64, durable: bool, other: &Answer, writes: &Writes) {
        for (place, id) in writes.ids.iter().enumerate() {
            if (place as u64) < in_force {
                let form = writes.forms[place];
                if let (Form::Require, Some(value)) = (form, writes.decided_on)
                    && place == 0
                {
                    self.history.decided_on(*id, value);
                }
                self.history.answer(*id, Answer::Acked(from + place as u64), durable || matches!(form, Form::Durable));
            } else {
                self.history.answer(*id, *other, false);
            }
        }
    }

    fn close(&self, engine: &Engine) {
        let acked = self.history.acked();
        match engine.close() {
            Ok(()) => {
                self.history.promise(acked);
                self.history.closed();
            }
            Err(error) => self.history.failed(&error),
        }
    }
}

impl Ears {
    /// While one thread unwinds, shuttle lets others run, and a lock that one of them drops then seems poisoned.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_told(&self, number: usize, history: &History) {
        let mut state = self.state();
        if state.untold.pop_front() != Some(number) {
            history.wrong(format!("submission {number} is told out of its turn"));
        }
        self.changed.notify_all();
    }

    fn room(&self) -> usize {
        self.state().room
    }

    fn tell_room(&self) {
        self.state().room += 1;
        self.changed.notify_all();
    }

    fn wait_for_room(&self, heard: usize) {
        let mut state = self.state();
        while state.room == heard {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

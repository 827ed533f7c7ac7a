//! [`User`]: makes the calls of a workload, and tells the model what they answer.

use super::conditional::{How, Shown};
use super::model::{Held, Model};
use super::steps::{KEYS, Step};
use super::store::FLUSH_INTERVAL;
use super::submission::Submission;
use crate::disk::Disk;
use crate::disk::sim::SimDisk;
use crate::engine::{Ack, Batch, Engine, Submitted};
use crate::error::{Error, Result};
use crate::state::{Op, State};
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// At most this number of views is kept open.
const MOST_VIEWS: usize = 2;

/// A user of the store. Clones share one model.
#[derive(Clone)]
pub(super) struct User {
    pub(super) disk: SimDisk,
    model: Arc<Mutex<Model>>,
}

impl User {
    pub(super) fn new(disk: &SimDisk) -> User {
        User { disk: disk.clone(), model: Arc::new(Mutex::new(Model::new())) }
    }

    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call in the middle of another one.
    pub(super) fn interleaved(&self, engine: &Engine, step: &Step) {
        if self.model().ended.is_some() {
            return;
        }
        self.model().mark(&self.disk);
        let done = self.call(engine, step);
        let mut model = self.model();
        model.counts.interleaved += u64::from(!matches!(step, Step::View(_)));
        model.ended = done.err();
        model.mark(&self.disk);
    }

    /// A reader looks at one of the keys, in the store and in each view. It never has to wait.
    pub(super) fn look(&self, engine: &Engine, number: usize) {
        if self.model().ended.is_some() {
            return; // the write that failed is in doubt
        }
        let key = format!("k{}", number % KEYS).into_bytes();
        let is_locked = engine.is_locked();
        if !is_locked {
            self.settle(engine);
        }
        let seen = engine.get(&key);
        let mut model = self.model();
        let len = |value: Option<&[u8]>| value.map_or("nothing".into(), |value| format!("{} B", value.len()));
        match seen {
            Ok(seen) if seen.as_ref() == model.shown.get(&key) => {}
            // In the middle of a step of the store only it knows which waiting writes it has shown.
            Ok(_) if is_locked && model.waits_on(&key) > 0 => {}
            Ok(seen) => {
                let (seen, written) = (len(seen.as_deref()), len(model.shown.get(&key).map(|value| &**value)));
                let text = format!("a reader sees {seen} under k{}, but {written} was written last", number % KEYS);
                model.wrong(&self.disk, text);
            }
            Err(_) if self.disk.has_failed() => {}
            Err(error) => model.wrong(&self.disk, format!("k{} cannot be read: {error}", number % KEYS)),
        }
        let views = std::mem::take(&mut model.views);
        drop(model);
        let wrong = views.iter().find_map(|held| match held.view.get(&key) {
            Ok(seen) if seen.as_ref() == held.state.get(&key) => None,
            Err(_) if self.disk.has_failed() => None,
            seen => Some(format!("the view of write {} shows {seen:?} under k{}", held.view.seq(), number % KEYS)),
        });
        let mut model = self.model();
        model.counts.viewed += views.len() as u64;
        model.views = views;
        wrong.into_iter().for_each(|text| model.wrong(&self.disk, text));
    }

    /// A user reads all of each view, in every way. On a disk that has failed `look` is enough: reads of one byte at a
    /// time take long.
    pub(super) fn read_views(&self) {
        if self.disk.has_failed() {
            return;
        }
        let views = std::mem::take(&mut self.model().views);
        let wrong = views.iter().find_map(|held| wrong_in(held).map(|text| (held.view.seq(), text)));
        let mut model = self.model();
        model.views = views;
        if let Some((seq, text)) = wrong.filter(|_| !self.disk.has_failed()) {
            model.wrong(&self.disk, format!("the view of write {seq} has changed: {text}"));
        }
    }

    /// Opens a view.
    fn view(&self, engine: &Engine, ends: usize) {
        let view = engine.view();
        let mut model = self.model();
        if view.seq() != model.last_shown() {
            let text = format!("a view is of write {}, but {} is shown", view.seq(), model.last_shown());
            model.wrong(&self.disk, text);
        }
        let state = model.shown.clone();
        model.views.push(Held { view, state });
        let ended = (model.views.len() > MOST_VIEWS).then(|| model.views.remove(ends % MOST_VIEWS));
        drop(model);
        drop(ended);
    }

    /// Compares the model with the statistics, while no write of this thread is under way.
    fn settle(&self, engine: &Engine) {
        let stats = engine.stats();
        self.model().settle(&stats, &self.disk);
    }

    pub(super) fn call(&self, engine: &Engine, step: &Step) -> Result<()> {
        self.settle(engine); // in the middle of another call, which may have refused submissions
        let before = self.model().last_shown();
        let done = match step {
            Step::Open { .. } => Ok(()),
            Step::Put(key, value) => self.write(vec![Op::put(key, value)], || engine.put(key, value)),
            Step::Delete(key) => {
                engine.get(key)?;
                if self.model().state.get(key).is_none() {
                    return Ok(());
                }
                let delete = || engine.delete(key).map(|ack| ack.expect("the key existed before the call"));
                self.write(vec![Op::delete(key)], delete)
            }
            Step::Batch(ops) => self.write(ops.clone(), || engine.write(Batch { ops: ops.clone(), ..Batch::default() })),
            Step::Conditional(how, step) => self.conditional(engine, *how, step),
            Step::Flush => engine.flush().map(|_| self.model().promise(before)),
            Step::Snapshot => engine.snapshot().map(|_| self.model().promise(before)),
            Step::BatchSize(n) => engine.set_batch_size(*n),
            Step::Close => self.close(engine),
            Step::Wait(by) => {
                self.wait(engine, *by);
                Ok(())
            }
            Step::Submit(submission) => self.submit(engine, submission),
            Step::Tell => self.tell(engine),
            Step::View(ends) => {
                self.view(engine, *ends);
                Ok(())
            }
            Step::With(..) => unreachable!("`with_others` calls its steps"),
        };
        let stats = engine.stats();
        let mut model = self.model();
        model.settle(&stats, &self.disk);
        if done.is_ok() && stats.failed.is_none() && !self.disk.has_failed() {
            let shown = model.last_shown();
            model.promise(shown.saturating_sub(stats.batch_size - 1));
        }
        done
    }

    /// A write that is made in another way. A delete of a key that does not exist writes nothing.
    fn conditional(&self, engine: &Engine, how: How, step: &Step) -> Result<()> {
        let state = self.model().state.clone();
        let ops = match step {
            Step::Put(key, value) => vec![Op::put(key, value)],
            Step::Delete(key) if state.get(key).is_none() => return Ok(()),
            Step::Delete(key) => vec![Op::delete(key)],
            Step::Batch(ops) => ops.clone(),
            _ => unreachable!("`with_conditions` makes only writes in another way"),
        };
        let issued = self.model().issued();
        let mut shown = Shown { state: &state, wrong: None };
        shown.ask(how, engine, &ops)?;
        self.settle(engine);
        if self.model().issued() != issued {
            return Ok(()); // while the store looked, submissions were refused that the answer rested on
        }
        let done = self.write(ops.clone(), || shown.write(how, engine, &ops));
        let mut model = self.model();
        if let Some(text) = shown.wrong {
            model.wrong(&self.disk, text);
        }
        if done.is_ok() && how == How::Durable {
            let issued = model.issued();
            model.promise(issued);
        }
        done
    }

    /// One write: it is issued, and `call` carries it out. A refusal takes it back. After a failed sync it stays, in
    /// doubt.
    fn write(&self, ops: Vec<Op>, call: impl FnOnce() -> Result<Ack>) -> Result<()> {
        self.model().issue(ops, false, self.disk.now());
        let done = call();
        let mut model = self.model();
        match done {
            Ok(ack) => {
                assert_eq!(ack.seq, model.issued(), "sequence numbers have no gaps");
                if ack.durable {
                    model.promise(ack.seq);
                }
                Ok(())
            }
            Err(error) => {
                if !matches!(error, Error::Poisoned { .. }) {
                    model.take_back();
                }
                Err(error)
            }
        }
    }

    /// Submits. If the store is full, the user asks to be told when there is room, and tries again then.
    fn submit(&self, engine: &Engine, submission: &Submission) -> Result<()> {
        let name = self.model().name();
        let batches = submission.batches(&self.model().state);
        let (user, told_engine) = (self.clone(), engine.clone());
        let done = move |told| {
            let stats = told_engine.stats();
            user.model().told(name, told, &stats, &user.disk);
        };
        let answer = engine.submit(&batches, done);
        let stats = engine.stats();
        let mut model = self.model();
        match answer {
            Ok(Submitted::Taken(writes)) => {
                model.taken(name, submission, *writes.start(), *writes.end(), &self.disk);
                Ok(())
            }
            Ok(Submitted::Full) => {
                model.full(submission.clone(), &stats, &self.disk);
                drop(model);
                let user = self.clone();
                engine.when_room(move || user.model().room.told += 1);
                Ok(())
            }
            Err(Error::Condition { key }) => {
                model.condition_failed(submission, &key, &self.disk);
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    /// The committer has its turn. Returns the first error that it told.
    fn tell(&self, engine: &Engine) -> Result<()> {
        engine.committer_turn();
        self.settle(engine);
        let mut model = self.model();
        model.all_told(&self.disk);
        model.told_error.take().map_or(Ok(()), Err)
    }

    /// Those who were told that there is room try again.
    pub(super) fn try_again(&self, engine: &Engine) -> Result<()> {
        let postponed = std::mem::take(&mut self.model().postponed);
        postponed.iter().try_for_each(|submission| self.call(engine, &Step::Submit(submission.clone())))
    }

    /// Everything that was submitted is told before the call ends.
    fn close(&self, engine: &Engine) -> Result<()> {
        let done = engine.close();
        self.settle(engine);
        let mut model = self.model();
        model.all_told(&self.disk);
        model.told_error = None;
        if done.is_ok() {
            let issued = model.issued();
            model.promise(issued);
        }
        done
    }

    /// Time passes, and the flusher has its turn. Then all writes that are due are promised.
    fn wait(&self, engine: &Engine, by: Duration) {
        self.disk.advance(by);
        let (shown, now) = (self.model().last_shown(), self.disk.now());
        let is_due = self.model().oldest().is_some_and(|oldest| now - oldest >= FLUSH_INTERVAL);
        let next_turn = engine.flusher_turn();
        if self.disk.has_failed() {
            return; // then the flusher promises nothing
        }
        self.settle(engine);
        let mut model = self.model();
        model.promise(if is_due { shown } else { 0 });
        if let Some(oldest) = model.oldest() {
            let left = next_turn.expect("a write is pending, so the flusher must wake up again");
            assert!(
                now + left <= oldest + FLUSH_INTERVAL,
                "at {now:?} the flusher sleeps for {left:?}, but the oldest write is from {oldest:?}"
            );
        }
    }
}

/// The first difference between a view and its state.
fn wrong_in(held: &Held) -> Option<String> {
    let Held { view, state } = held;
    let mut scanned = State::default();
    for entry in view.scan("") {
        match entry {
            Ok((key, value)) => {
                scanned.apply(Op { key: key.as_slice().into(), value: Some(value) });
            }
            Err(error) => return Some(format!("it cannot be read: {error}")),
        }
    }
    if scanned.digest() != state.digest() {
        return Some("a scan finds other entries".into());
    }
    for (key, value) in state.range(Bound::Unbounded) {
        if view.get(key).ok().flatten().as_ref() != Some(value) {
            return Some(format!("a lookup of {} finds another value", key.escape_ascii()));
        }
    }
    match (view.count(), view.digest()) {
        (Ok(count), Ok(digest)) if count == state.len() as u64 && digest == state.digest() => None,
        found => Some(format!("it has {found:?} entries and digest, not {} and {}", state.len(), state.digest())),
    }
}

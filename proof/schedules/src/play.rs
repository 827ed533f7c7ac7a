//! Plays a scene: runs its threads on a store, and judges what they saw. All calls go through the public API.

use crate::draw::Draw;
use crate::follow::follow;
use crate::history::{Answer, History, Id, SHARED, SNAPSHOT, Shared, WAL, marker, named, shared_of};
use crate::scenes::{Form, Role, Scene};
use crate::stage::{Stage, StageDisk, Trouble, quietly};
use crate::submitter::Submitter;
use kv_engine::{Ack, Batch, Engine, Error, Options, Result, Swap, View};
use shuttle::thread;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a write has done.
enum Done {
    /// It is accepted. A conditional write was decided on this value of the shared key.
    Acked(Ack, Option<Option<Id>>),
    /// Nothing was written, because the shared key has this value.
    Nothing(Option<Id>),
}

/// The shared state of the threads of one schedule.
#[derive(Clone)]
struct Play {
    stage: Arc<Stage>,
    history: Arc<History>,
}

/// The number of operations that the simulated disk counts while a new store is opened.
pub fn opening_operations() -> u64 {
    let stage = Arc::new(Stage::new(0, Trouble::None, 0, 0, Duration::ZERO));
    let engine = options(&Scene::new(&mut Draw(0), 1), &stage).open().expect("a new store opens");
    let operations = stage.sim().operations().len();
    drop(engine);
    operations as u64
}

fn options(scene: &Scene, stage: &Arc<Stage>) -> Options {
    let options = Options::new(WAL, SNAPSHOT)
        .batch_size(scene.batch_size)
        .flush_interval(scene.flush_interval)
        .snapshot_on_close(scene.snapshot_on_close)
        .disk(Arc::new(StageDisk(Arc::clone(stage))));
    if scene.values_in_snapshot { options.values_in_snapshot(0) } else { options }
}

/// Runs one schedule, and panics if anything in it is wrong.
pub fn play(mut scene: Scene, opening: u64) {
    let mut draw = scene.draw();
    let tick = Duration::from_micros(1);
    let stage = Arc::new(Stage::new(scene.seed, scene.trouble, opening, draw.between(0, 24), tick));
    let history = Arc::new(History::new(Arc::clone(&stage), scene.batch_size));
    let play = Play { stage: Arc::clone(&stage), history: Arc::clone(&history) };

    let engine = options(&scene, &stage).open().expect("a new store opens");
    let follower = scene.followed.then(|| {
        let (changes, history) = (engine.changes(1).expect("the log begins with write 1"), Arc::clone(&history));
        thread::spawn(move || follow(changes, &history))
    });
    stage.arm(scene.values_in_snapshot || scene.followed);
    let (first, others) = scene.roles.split_first().expect("a scene has at least one role");
    let threads: Vec<_> = others.iter().enumerate().map(|(number, role)| play.spawn(number + 1, role, &engine)).collect();
    // The first thread plays the first role itself, which saves a thread.
    let watched = if scene.leave_early {
        let last = play.spawn(0, first, &engine);
        drop(engine);
        last.join().expect("an actor")
    } else {
        play.act(0, first, engine)
    };
    let engines: Vec<Engine> = threads.into_iter().map(|thread| thread.join().expect("an actor")).collect();
    if scene.await_flush {
        // So few writes do not fill a batch: only the background flush syncs them.
        stage.wait_until(|image| history.markers_in(image));
    }
    quietly(|| drop(engines));
    let watched = if scene.drops {
        quietly(|| drop(watched));
        None
    } else {
        Some(watched)
    };
    let mut wrong = quietly(|| history.judge(watched, &mut draw)).unwrap_or_default();
    wrong.extend(follower.into_iter().flat_map(|follower| follower.join().expect("a follower")));
    assert!(wrong.is_empty(), "{scene:?}\n{}", wrong.join("\n"));
}

impl Play {
    fn spawn(&self, number: usize, role: &Role, engine: &Engine) -> thread::JoinHandle<Engine> {
        let (play, role, engine) = (self.clone(), role.clone(), engine.clone());
        thread::spawn(move || play.act(number, &role, engine))
    }

    /// Returns the store, so that the first thread decides which handle is dropped last.
    fn act(&self, number: usize, role: &Role, engine: Engine) -> Engine {
        match role {
            Role::Write(forms) => forms.iter().for_each(|form| self.write(&engine, number, *form)),
            Role::Read(times) => (0..*times).for_each(|_| self.read(&engine, number)),
            Role::ReadMany(times) => (0..*times).for_each(|_| self.read_many(&engine, number)),
            Role::Watch(times) => (0..*times).for_each(|_| self.watch(&engine)),
            Role::Flush(times) => (0..*times).for_each(|_| self.promising(|| engine.flush().map(drop))),
            Role::Snapshot(times) => (0..*times).for_each(|_| self.promising(|| engine.snapshot().map(drop))),
            Role::Resize(sizes) => sizes.iter().for_each(|size| self.resize(&engine, *size)),
            Role::View(times) => self.view(&engine, *times),
            Role::Close => self.close(&engine),
            Role::Submit(plan) => {
                let (stage, history) = (Arc::clone(&self.stage), Arc::clone(&self.history));
                Submitter { stage, history }.submit(&engine, plan);
            }
        }
        engine
    }

    fn write(&self, engine: &Engine, number: usize, form: Form) {
        let (marked, shared) = match form {
            Form::PutMarker | Form::Durable => (true, Shared::Leave),
            Form::PutShared | Form::Swap => (false, Shared::Put),
            Form::DeleteShared => (false, Shared::Delete),
            Form::Both(shared) => (true, shared),
            Form::Update(shared) => (false, shared),
            Form::Move | Form::Require => (true, Shared::Put),
            Form::Look => (false, Shared::Leave),
        };
        let from = self.history.acked();
        let id = self.history.issue(marked, shared);
        match quietly(|| self.call(engine, form, id)) {
            Some(Ok(Done::Acked(ack, decided_on))) => {
                decided_on.into_iter().for_each(|value| self.history.decided_on(id, value));
                if matches!(form, Form::Durable) && !ack.durable {
                    self.history.wrong(format!("write {id} is a durable batch, and its OK says that it is not durable"));
                }
                self.history.answer(id, Answer::Acked(ack.seq), ack.durable || matches!(form, Form::Durable));
            }
            Some(Ok(Done::Nothing(value))) => {
                self.history.answer(id, Answer::Absent, false);
                let durable = self.history.batch_size() == 1 && !matches!(engine.batch_size(), 2..);
                self.history.shared_seen(1000 + number, value, from, durable);
            }
            Some(Err(error)) => {
                self.history.failed(&error);
                let certain = matches!(error, Error::NoSpace { .. } | Error::Closed);
                self.history.answer(id, if certain { Answer::Refused } else { Answer::InDoubt }, false);
            }
            // The store may not have failed: the panic may have come before the call began anything.
            None => self.history.answer(id, Answer::InDoubt, false),
        }
    }

    fn call(&self, engine: &Engine, form: Form, id: Id) -> Result<Done> {
        let acked = |ack| Done::Acked(ack, None);
        match form {
            Form::PutMarker => engine.put(marker(id), "").map(acked),
            Form::PutShared => engine.put(SHARED, id.to_string()).map(acked),
            Form::DeleteShared => Ok(engine.delete(SHARED)?.map_or(Done::Nothing(None), acked)),
            Form::Both(shared) => {
                let mut batch = Batch::new();
                match shared {
                    Shared::Put => batch.put(SHARED, id.to_string()),
                    _ => batch.delete(SHARED),
                };
                batch.put(marker(id), "");
                engine.write(batch).map(acked)
            }
            Form::Durable => {
                let mut batch = Batch::new();
                batch.put(marker(id), "").durable();
                engine.write(batch).map(acked)
            }
            Form::Update(shared) => {
                let updated = engine.update(SHARED, |_| (shared == Shared::Put).then(|| id.to_string()))?;
                let old = named(updated.old.as_deref());
                Ok(updated.ack.map_or(Done::Nothing(None), |ack| Done::Acked(ack, Some(old))))
            }
            Form::Swap => {
                let seen = engine.get(SHARED)?;
                Ok(match engine.compare_and_swap(SHARED, seen.as_deref(), Some(id.to_string()))? {
                    Swap::Done(ack) => Done::Acked(ack, Some(named(seen.as_deref()))),
                    Swap::Differs { current } => Done::Nothing(named(current.as_deref())),
                })
            }
            Form::Move => {
                let (old, ack) = engine.transaction(|tx| -> Result<_> {
                    let old = tx.get(SHARED)?;
                    tx.put(SHARED, id.to_string()).put(marker(id), "");
                    Ok(old)
                })?;
                Ok(Done::Acked(ack, Some(named(old.as_deref()))))
            }
            Form::Require => {
                let seen = engine.get(SHARED)?;
                let mut batch = Batch::new();
                match &seen {
                    Some(seen) => batch.require(SHARED, seen),
                    None => batch.require_absent(SHARED),
                };
                batch.put(SHARED, id.to_string()).put(marker(id), "");
                match engine.write(batch) {
                    // The error does not say the value, so a transaction looks.
                    Err(Error::Condition { .. }) => self.look(engine).map(Done::Nothing),
                    done => Ok(Done::Acked(done?, Some(named(seen.as_deref())))),
                }
            }
            Form::Look => self.look(engine).map(Done::Nothing),
        }
    }

    /// A transaction that reads the marker of the newest write, and then the shared key. If that write put both, the
    /// shared key cannot name it while its marker is missing.
    fn look(&self, engine: &Engine) -> Result<Option<Id>> {
        let newest = self.history.issued() - 1;
        let ((has_marker, value), _) = engine.transaction(|tx| -> Result<_> {
            let has_marker = tx.contains_key(marker(newest))?;
            Ok((has_marker, named(tx.get(SHARED)?.as_deref())))
        })?;
        if value == Some(newest) && self.history.is_marked(newest) && !has_marker {
            self.history.wrong(format!("a transaction saw the shared key of write {newest}, but not its marker"));
        }
        Ok(value)
    }

    /// A call whose OK makes every write durable that was acknowledged before.
    fn promising(&self, call: impl FnOnce() -> Result<()>) {
        let acked = self.history.acked();
        match quietly(call) {
            Some(Ok(())) => self.history.promise(acked),
            Some(Err(error)) => self.history.failed(&error),
            None => {}
        }
    }

    fn resize(&self, engine: &Engine, size: u64) {
        let before = self.history.batch_size();
        self.history.set_batch_size(before.max(size));
        match quietly(|| engine.set_batch_size(size)) {
            Some(Ok(())) => {
                self.history.set_batch_size(size);
                let acked = self.history.acked();
                self.history.promise((acked + 1).saturating_sub(size));
            }
            Some(Err(error)) => self.history.failed(&error),
            None => {}
        }
    }

    fn close(&self, engine: &Engine) {
        let acked = self.history.acked();
        match quietly(|| engine.close()) {
            Some(Ok(())) => {
                self.history.promise(acked);
                self.history.closed();
            }
            Some(Err(error)) => self.history.failed(&error),
            None => {}
        }
    }

    fn read(&self, engine: &Engine, number: usize) {
        let durable = self.history.batch_size() == 1 && !matches!(engine.batch_size(), 2..);
        let from = self.history.acked();
        let value = shared_of(engine);
        self.history.shared_seen(number, value, from, durable);
        let newest: Option<Id> = self.history.issued().checked_sub(1);
        if let Some(id) = newest
            && engine.get(marker(id)).expect("a read does not fail").is_some()
            && durable
        {
            self.history.marker_seen(id);
        }
    }

    /// Reads the shared key at several positions of one call, between markers and a key that nobody writes. Each value
    /// must be one that the shared key had. It must not be older than the one before it, or than the last write that
    /// was acknowledged when the position before was told. Markers never go away.
    fn read_many(&self, engine: &Engine, number: usize) {
        let durable = self.history.batch_size() == 1 && !matches!(engine.batch_size(), 2..);
        let newest: Option<Id> = self.history.issued().checked_sub(1);
        let marker = newest.map_or_else(|| "nobody's".to_string(), marker);
        let keys = [SHARED, &marker, SHARED, "nobody's", &marker, SHARED];
        let (mut from, mut shared, mut markers) = (self.history.acked(), Vec::new(), Vec::new());
        let see = |at: usize, value: Option<&[u8]>| {
            match keys[at] {
                SHARED => shared.push((named(value), from)),
                key if key == marker => markers.push(value.is_some()),
                _ if value.is_some() => self.history.wrong("a key that nobody wrote has a value".into()),
                _ => {}
            }
            thread::yield_now(); // a write may come in between
            from = self.history.acked();
        };
        engine.get_many(&keys, see).expect("a read does not fail");
        if shared.len() != 3 {
            self.history.wrong(format!("of three positions with the shared key, {} were told", shared.len()));
        }
        shared.into_iter().for_each(|(value, from)| self.history.shared_seen(number, value, from, durable));
        if !markers.is_sorted() {
            self.history.wrong(format!("the marker {marker} was seen and then not"));
        }
        if let Some(id) = newest
            && markers.contains(&true)
            && durable
        {
            self.history.marker_seen(id);
        }
    }

    fn view(&self, engine: &Engine, times: u64) {
        let contents = |view: &View| -> BTreeMap<Vec<u8>, Vec<u8>> {
            let entries = view.scan("").map(|entry| entry.expect("a read does not fail"));
            entries.map(|(key, value)| (key, value.to_vec())).collect()
        };
        let mut before: Option<(View, BTreeMap<Vec<u8>, Vec<u8>>)> = None;
        for _ in 0..times {
            let view = engine.view();
            let found = contents(&view);
            let again: BTreeMap<_, _> = found
                .keys()
                .filter_map(|key| Some((key.clone(), view.get(key).expect("a read does not fail")?.to_vec())))
                .collect();
            if again != found || contents(&view) != found || view.len() != found.len() {
                self.history.wrong(format!("the view of write {} has changed", view.seq()));
            }
            if let Some((older, found)) = before.take()
                && contents(&older) != found
            {
                self.history.wrong(format!("the view of write {} has changed later", older.seq()));
            }
            self.history.viewed(view.seq(), found.clone());
            before = Some((view, found));
        }
    }

    fn watch(&self, engine: &Engine) {
        let stats = engine.stats();
        if stats.pending >= stats.batch_size {
            self.history.wrong(format!("{} writes are pending at batch size {}", stats.pending, stats.batch_size));
        }
        if stats.durable > stats.appended {
            self.history.wrong(format!("{} writes are durable of {}", stats.durable, stats.appended));
        }
        self.history.promise(stats.durable);
    }
}

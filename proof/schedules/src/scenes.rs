//! The scenes: which threads call the store at the same time, and what goes wrong while they do. Each schedule draws
//! its scene anew. All calls go through the public API.

use crate::draw::Draw;
use crate::follow::follow;
use crate::history::{Answer, History, Id, SHARED, SNAPSHOT, Shared, WAL, marker, named, shared_of};
use crate::stage::{Stage, StageDisk, Trouble, quietly};
use crate::submitter::{self, Plan, Submitter};
use kv_engine::{Ack, Batch, Engine, Error, Options, Result, Swap, View};
use shuttle::thread;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// One thread, and how often it repeats its call.
#[derive(Clone, Debug)]
enum Role {
    Write(Vec<Form>),
    Read(u64),
    /// Gets of several keys in one call.
    ReadMany(u64),
    Watch(u64),
    Flush(u64),
    Snapshot(u64),
    Resize(Vec<u64>),
    /// Opens a view, reads it twice, and opens the next one before this one ends.
    View(u64),
    Close,
    Submit(Plan),
}

/// The form of a write.
#[derive(Clone, Copy, Debug)]
enum Form {
    PutMarker,
    PutShared,
    DeleteShared,
    Both(Shared),
    /// An update of the shared key, which puts it or removes it.
    Update(Shared),
    /// A compare-and-swap of the shared key, with the value that a reader sees.
    Swap,
    /// A transaction that reads the shared key, and puts it and a marker.
    Move,
    /// A batch that requires the value of the shared key that a reader sees.
    Require,
    /// A transaction that only reads.
    Look,
    /// A batch that is durable at once.
    Durable,
}

/// What a write has done.
enum Done {
    /// It is accepted. A conditional write was decided on this value of the shared key.
    Acked(Ack, Option<Option<Id>>),
    /// Nothing was written, because the shared key has this value.
    Nothing(Option<Id>),
}

/// The threads and settings of one schedule.
#[derive(Clone, Debug)]
pub struct Scene {
    batch_size: u64,
    flush_interval: Duration,
    snapshot_on_close: bool,
    values_in_snapshot: bool,
    trouble: Trouble,
    roles: Vec<Role>,
    /// The first thread drops its handle of the store while the others work.
    leave_early: bool,
    /// All handles are dropped as soon as the threads have ended. What was submitted may be in flight.
    drops: bool,
    /// The first thread waits until the background flush has saved everything.
    await_flush: bool,
    /// One more thread follows the changes.
    followed: bool,
    seed: u64,
}

/// The name of a scene, its description, and the function that draws it.
pub type Named = (&'static str, fn(&mut Draw) -> Scene);

pub const SCENES: [Named; 38] = [
    ("writers, batch 1", |d| Scene::new(d, 1).writers(2, 4).with(Role::Read(3)).with(Role::Watch(2))),
    ("writers, batch 2-3", |d| Scene::batched(d).writers(2, 4).with(Role::Watch(3))),
    ("shared key", |d| Scene::any(d).contenders(2, 3).with(Role::Read(3))),
    ("conditional", |d| Scene::any(d).deciders(2, 4).with(Role::Read(3)).perhaps(Role::Watch(2))),
    ("conditional, size", |d| Scene::any(d).deciders(2, 3).resizing().with(Role::Watch(2))),
    // A put waits behind a durable batch, although nothing is pending, while the size becomes 1.
    ("durable, size", |d| {
        Scene::new(d, 2).writing(2, 3, &[Form::Durable, Form::PutMarker]).with(Role::Resize(vec![1])).perhaps(Role::Read(1))
    }),
    ("conditional, on disk", |d| Scene::any(d).on_disk().deciders(2, 3).with(Role::Snapshot(2))),
    ("conditional, sync", |d| Scene::any(d).failing_sync().deciders(2, 4).perhaps(Role::Read(2))),
    ("conditional, full", |d| Scene::any(d).full().deciders(2, 4).perhaps(Role::Flush(2)).perhaps(Role::Close)),
    ("conditional, panic", |d| Scene::any(d).panicking().deciders(2, 4).perhaps(Role::Flush(1)).perhaps(Role::Close)),
    ("flush", |d| Scene::batched(d).writers(2, 3).with(Role::Flush(2)).with(Role::Watch(2))),
    ("background flush", |d| Scene::batched(d).flushing().lone_writers().awaiting()),
    ("snapshot", |d| Scene::any(d).contenders(2, 3).with(Role::Snapshot(2)).with(Role::Read(2))),
    // A reader next to checkpoints that release memory and use blocks of the snapshot instead.
    ("on disk", |d| Scene::any(d).on_disk().contenders(1, 3).with(Role::Snapshot(2)).with(Role::Read(4))),
    ("on disk, full", |d| {
        Scene::any(d).on_disk().full().contenders(1, 3).with(Role::Snapshot(3)).with(Role::Read(3)).perhaps(Role::Close)
    }),
    // Many gets in one call, whose steps are mixed, beside writes to the same keys and their neighbours.
    ("many gets", |d| Scene::any(d).contenders(1, 3).with(Role::ReadMany(3))),
    ("many gets on disk", |d| Scene::any(d).on_disk().contenders(1, 2).with(Role::Snapshot(2)).with(Role::ReadMany(2))),
    ("views", |d| Scene::any(d).contenders(1, 2).with(Role::View(3)).perhaps(Role::View(2))),
    ("views on disk", |d| Scene::any(d).on_disk().contenders(1, 2).with(Role::View(3)).with(Role::Snapshot(2))),
    ("batch size", |d| Scene::any(d).writers(2, 3).resizing().with(Role::Watch(3))),
    ("close", |d| Scene::any(d).snapshot_or_not().writers(2, 3).with(Role::Close).perhaps(Role::Close).perhaps(Role::Flush(1))),
    ("drop", |d| Scene::any(d).snapshot_or_not().flushing_or_not().writers(2, 3).leaving()),
    ("failing sync", |d| Scene::any(d).failing_sync().writers(2, 4).perhaps(Role::Flush(2)).perhaps(Role::Read(2))),
    ("failing write", |d| Scene::any(d).failing_write().writers(2, 4).perhaps(Role::Snapshot(1)).perhaps(Role::Watch(2))),
    ("full disk", |d| {
        Scene::any(d).full().contenders(2, 4).perhaps(Role::Flush(2)).perhaps(Role::Snapshot(1)).perhaps(Role::Close)
    }),
    // One write is refused, one is given its number, and one waits at the same time to lead the next round.
    ("full once", |d| Scene::new(d, 2).full_once().writers(3, 3)),
    ("feed", |d| Scene::any(d).followed().contenders(1, 2).with(Role::Snapshot(2)).perhaps(Role::Flush(1)).perhaps(Role::Close)),
    ("feed, failing sync", |d| Scene::any(d).followed().failing_sync().writers(1, 3).perhaps(Role::Snapshot(1))),
    ("panic", |d| {
        Scene::any(d)
            .panicking()
            .writers(2, 4)
            .resizing_or_not()
            .perhaps(Role::Snapshot(1))
            .perhaps(Role::Flush(1))
            .perhaps(Role::Close)
    }),
    ("submit", |d| Scene::any(d).submitters(1, 2).contenders(1, 2).with(Role::Read(2)).perhaps(Role::Watch(2))),
    // The end of the pause, and of the snapshot, must tell the submitters that there is room.
    ("submit, snapshot", |d| Scene::any(d).submitters(1, 2).with(Role::Snapshot(2)).writers(0, 1).perhaps(Role::Flush(1))),
    ("submit, size", |d| Scene::any(d).submitters(1, 2).resizing().writers(0, 1)),
    ("submit, full", |d| Scene::any(d).full().submitters(1, 3).contenders(0, 2).perhaps(Role::Flush(1)).perhaps(Role::Close)),
    ("submit, sync", |d| Scene::any(d).failing_sync().submitters(1, 3).writers(0, 2).perhaps(Role::Read(2))),
    ("submit, panic", |d| Scene::any(d).panicking().submitters(1, 2).writers(0, 2).perhaps(Role::Snapshot(1))),
    ("submit, close", |d| Scene::any(d).snapshot_or_not().submitters(1, 2).with(Role::Close).writers(0, 1).perhaps(Role::Close)),
    // The store is closed where a submission is told, which is the thread that tells.
    ("submit, close inside", |d| Scene::any(d).snapshot_or_not().closing_submitter().submitters(0, 1).writers(0, 1)),
    ("submit, drop", |d| Scene::any(d).snapshot_or_not().flushing_or_not().submitters(1, 2).leaving().dropping()),
];

/// A scene small enough to try all its schedules: this number of threads, with one put each.
pub fn smallest(writers: usize, batch_size: u64) -> Scene {
    let put = |scene: Scene, _| scene.with(Role::Write(vec![Form::PutMarker]));
    (0..writers).fold(Scene::new(&mut Draw(1), batch_size), put)
}

impl Scene {
    fn new(draw: &mut Draw, batch_size: u64) -> Scene {
        Scene {
            batch_size,
            flush_interval: Duration::ZERO,
            snapshot_on_close: false,
            values_in_snapshot: false,
            trouble: Trouble::None,
            roles: Vec::new(),
            leave_early: false,
            drops: false,
            await_flush: false,
            followed: false,
            seed: draw.next(),
        }
    }

    fn any(draw: &mut Draw) -> Scene {
        let batch_size = draw.between(1, 3);
        Scene::new(draw, batch_size)
    }

    fn batched(draw: &mut Draw) -> Scene {
        let batch_size = draw.between(2, 3);
        Scene::new(draw, batch_size)
    }

    fn draw(&mut self) -> Draw {
        self.seed = self.seed.wrapping_add(1);
        Draw(self.seed)
    }

    fn with(mut self, role: Role) -> Scene {
        self.roles.push(role);
        self
    }

    fn perhaps(mut self, role: Role) -> Scene {
        if self.draw().one_in(2) { self.with(role) } else { self }
    }

    fn writing(mut self, from: u64, to: u64, forms: &[Form]) -> Scene {
        let mut draw = self.draw();
        for _ in 0..draw.between(from, to) {
            let count = draw.between(1, 3);
            self.roles.push(Role::Write((0..count).map(|_| forms[draw.below(forms.len())]).collect()));
        }
        self
    }

    /// Writers that each have their own keys, and sometimes the shared one too.
    fn writers(self, from: u64, to: u64) -> Scene {
        self.writing(from, to, &[Form::PutMarker, Form::PutMarker, Form::Both(Shared::Put)])
    }

    /// Writers that put and delete the shared key.
    fn contenders(self, from: u64, to: u64) -> Scene {
        use Form::{Both, DeleteShared, PutMarker, PutShared};
        self.writing(from, to, &[PutMarker, PutShared, DeleteShared, DeleteShared, Both(Shared::Put), Both(Shared::Delete)])
    }

    /// Writers whose writes follow from the shared key, beside others.
    fn deciders(self, from: u64, to: u64) -> Scene {
        use Form::{Both, DeleteShared, Durable, Look, Move, PutMarker, PutShared, Require, Swap, Update};
        let decided = [Update(Shared::Put), Update(Shared::Put), Update(Shared::Delete), Swap, Swap, Move, Move, Require, Look];
        let others = [PutMarker, PutShared, DeleteShared, Both(Shared::Put), Both(Shared::Put), Durable];
        self.writing(from, to, &[&decided[..], &others].concat())
    }

    fn submitting(&mut self, closes: bool) -> Plan {
        use submitter::Form::{Both, Durable, Marker, Require};
        let forms = [Marker, Marker, Both, Both, Durable, Require];
        let mut draw = self.draw();
        let mut submission = |_| {
            let first_only = |place, form| if place > 0 && matches!(form, Require) { Both } else { form };
            (0..draw.between(0, 3)).map(|place| first_only(place, forms[draw.below(forms.len())])).collect()
        };
        let submissions = (0..3).map(&mut submission).collect::<Vec<Vec<_>>>();
        let count = usize::try_from(draw.between(1, 3)).expect("small");
        Plan { submissions: submissions[..count].to_vec(), waits: true, closes }
    }

    fn submitters(mut self, from: u64, to: u64) -> Scene {
        for _ in 0..self.draw().between(from, to) {
            let plan = self.submitting(false);
            self.roles.push(Role::Submit(plan));
        }
        self
    }

    fn closing_submitter(mut self) -> Scene {
        let plan = self.submitting(true);
        self.with(Role::Submit(plan))
    }

    /// No submitter waits, and the last handle is dropped with submissions in flight.
    fn dropping(mut self) -> Scene {
        self.drops = true;
        for role in &mut self.roles {
            if let Role::Submit(plan) = role {
                plan.waits = false;
            }
        }
        self
    }

    /// So few writes that no batch fills.
    fn lone_writers(mut self) -> Scene {
        let count = if self.batch_size == 3 { self.draw().between(1, 2) } else { 1 };
        (0..count).fold(self, |scene, _| scene.with(Role::Write(vec![Form::PutMarker])))
    }

    fn resizing(mut self) -> Scene {
        let mut draw = self.draw();
        let sizes = (0..draw.between(1, 3)).map(|_| draw.between(1, 3)).collect();
        self.with(Role::Resize(sizes))
    }

    fn resizing_or_not(mut self) -> Scene {
        if self.draw().one_in(2) { self.resizing() } else { self }
    }

    fn flushing(mut self) -> Scene {
        self.flush_interval = Duration::from_nanos(1);
        self
    }

    fn flushing_or_not(mut self) -> Scene {
        if self.draw().one_in(2) { self.flushing() } else { self }
    }

    fn snapshot_or_not(mut self) -> Scene {
        self.snapshot_on_close = self.draw().one_in(2);
        self
    }

    fn on_disk(mut self) -> Scene {
        self.values_in_snapshot = true;
        self
    }

    fn awaiting(mut self) -> Scene {
        self.await_flush = true;
        self
    }

    fn followed(mut self) -> Scene {
        self.followed = true;
        self
    }

    fn leaving(mut self) -> Scene {
        self.leave_early = true;
        self
    }

    fn failing_sync(mut self) -> Scene {
        let mut draw = self.draw();
        self.trouble = match draw.below(3) {
            0 => Trouble::SyncFails(draw.between(0, 4)),
            way => Trouble::SyncLoses(draw.between(0, 10), way == 1),
        };
        self
    }

    fn failing_write(mut self) -> Scene {
        self.trouble = Trouble::WriteFails(self.draw().between(0, 4));
        self
    }

    fn full(mut self) -> Scene {
        let mut draw = self.draw();
        let from = draw.between(0, 3);
        self.trouble = Trouble::NoRoom(from, from + draw.between(1, 4));
        self
    }

    fn full_once(mut self) -> Scene {
        let from = self.draw().between(0, 2);
        self.trouble = Trouble::NoRoom(from, from + 1);
        self
    }

    fn panicking(mut self) -> Scene {
        let mut draw = self.draw();
        self.trouble = Trouble::Panic(draw.between(0, 12), draw.one_in(2));
        self
    }
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

//! The scenes: which threads call the store at the same time, and what goes wrong while they do. Each schedule draws
//! its scene anew. `play.rs` plays them.

use crate::draw::Draw;
use crate::history::Shared;
use crate::stage::Trouble;
use crate::submitter::{self, Plan};
use std::time::Duration;

/// One thread, and how often it repeats its call.
#[derive(Clone, Debug)]
pub enum Role {
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
pub enum Form {
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

/// The threads and settings of one schedule.
#[derive(Clone, Debug)]
pub struct Scene {
    pub batch_size: u64,
    pub flush_interval: Duration,
    pub snapshot_on_close: bool,
    pub values_in_snapshot: bool,
    pub trouble: Trouble,
    pub roles: Vec<Role>,
    /// The first thread drops its handle of the store while the others work.
    pub leave_early: bool,
    /// All handles are dropped as soon as the threads have ended. What was submitted may be in flight.
    pub drops: bool,
    /// The first thread waits until the background flush has saved everything.
    pub await_flush: bool,
    /// One more thread follows the changes.
    pub followed: bool,
    pub seed: u64,
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
    pub fn new(draw: &mut Draw, batch_size: u64) -> Scene {
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

    pub fn draw(&mut self) -> Draw {
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

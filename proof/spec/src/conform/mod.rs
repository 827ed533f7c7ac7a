//! Checks that the code follows the model, in both directions.
//!
//! *From the engine to the model.* A workload runs on the simulated disk. Every change that the engine makes to that
//! disk must be a step that the model allows now. It must write the same frames to the same place. After each call,
//! the figures that the engine reports must be the model's watermarks. A session may end anywhere, by death or by a
//! power cut. The next session continues from there.
//!
//! *From the model to the engine.* After each of these changes, each disk that a power cut may leave according to the
//! model is built from the engine's own bytes. The real recovery opens it. It must end like the model's recovery, with
//! the same state and the same verdict.

mod engine;
mod follow;
mod random;

use crate::disk::{Disk, Name, Piece};
use crate::model::{Action, Bounds, Doing, Protocol, State, Step};
use engine::{Begin, Session, Setup};
use follow::Follower;
use kv_engine::disk::sim::{Change, Fault, FaultPlan, Image, Lasts, PowerCut, SimDisk, SyncFailure, World};
use random::Random;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Sessions of one workload.
const SESSIONS: usize = 3;
/// Puts of one workload. The histories of the model are not longer.
const PUTS: u8 = 7;
/// A sync may fail among this many operations at the beginning of a session. Operations are drawn until one is a sync,
/// at most DRAWN times.
const OPERATIONS: usize = 80;
const DRAWN: usize = 20;

/// What was followed, and what did not agree.
#[derive(Debug, Default)]
pub struct Report {
    /// Workloads.
    pub traces: usize,
    /// Changes to the disk that were steps of the model.
    pub changes: usize,
    /// Calls after which the answer and the watermarks were compared.
    pub calls: usize,
    /// Syncs that failed.
    pub failed_syncs: usize,
    /// Disks left by the model's crashes that the real recovery opened.
    pub opened: usize,
    /// Disagreements: the workload, and the place.
    pub failures: Vec<(u64, String)>,
}

impl Report {
    fn add(&mut self, other: Report) {
        self.traces += other.traces;
        self.changes += other.changes;
        self.calls += other.calls;
        self.failed_syncs += other.failed_syncs;
        self.opened += other.opened;
        self.failures.extend(other.failures);
        self.failures.sort();
    }
}

/// Follows these workloads on two threads. The same workloads give the same report.
pub fn run(seeds: &[u64]) -> Report {
    let next = AtomicUsize::new(0);
    let worker = || {
        let mut report = Report::default();
        while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
            report.traces += 1;
            let mut workload = Workload::new(*seed, &mut report);
            if let Err(why) = workload.follow() {
                report.failures.push((*seed, why));
            }
        }
        report
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(worker);
        let mut report = worker();
        report.add(other.join().expect("a disagreement is an error, not a panic"));
        report
    })
}

/// One workload, followed through its sessions.
struct Workload<'a> {
    random: Random,
    follower: Follower,
    /// The simulated disk, as far as it was followed.
    world: World,
    seen: HashSet<(Image, u8)>,
    report: &'a mut Report,
}

impl Workload<'_> {
    fn new(seed: u64, report: &mut Report) -> Workload<'_> {
        let mut random = Random::new(seed);
        let batch_size = [1, 1, 2, 3][random.below(4)];
        // Crashes and failed syncs are not left to the model here: they happen when the engine's do.
        let bounds = Bounds {
            batch_size,
            puts: PUTS,
            snapshots: u8::MAX,
            closes: u8::MAX,
            proofs: u8::MAX,
            reserve: true,
            looks: u8::MAX,
            durables: u8::MAX,
            ..Bounds::NONE
        };
        // Every fourth workload leaves values in the snapshot. The steps are the same.
        let follower = Follower::new(Protocol { bounds, wrong: None }, seed.is_multiple_of(4));
        Workload { random, follower, world: World::default(), seen: HashSet::new(), report }
    }

    fn follow(&mut self) -> Result<(), String> {
        let mut begin = Begin::Image(Image::new());
        for number in 1..=SESSIONS {
            let fails = matches!(begin, Begin::Image(_)) && self.random.below(2) == 0;
            let session = self.run_session(&begin, fails);
            let writes = (1..=session.trace.len()).filter(|end| matches!(session.trace[end - 1], Change::Write(..)));
            let writes: Vec<usize> = writes.collect();
            let end = match self.random.below(4) {
                0 => session.trace.len(),
                1 => self.random.below(session.trace.len() + 1),
                _ if writes.is_empty() => session.trace.len(),
                _ => writes[self.random.below(writes.len())], // where a power cut has the most choices
            };
            self.follow_session(&session, end).map_err(|why| format!("session {number}, {why}"))?;
            begin = self.crash();
        }
        Ok(())
    }

    fn setup(&self) -> Setup {
        Setup { batch_size: self.follower.protocol.bounds.batch_size, on_disk: self.follower.on_disk }
    }

    /// Runs a session of the engine. If a sync should fail: one of the drawn operations that is a sync.
    fn run_session(&mut self, begin: &Begin, fails: bool) -> Session {
        let (setup, put) = (self.setup(), self.follower.state.used.puts);
        for _ in 0..if fails { DRAWN } else { 0 } {
            let plan = FaultPlan {
                at: self.random.below(OPERATIONS),
                fault: Fault::Sync([SyncFailure::LosesPages, SyncFailure::RevertsPages][self.random.below(2)]),
                lasts: Lasts::Once,
            };
            let session = engine::run_session(begin, Some(plan), setup, put, PUTS, &mut self.random);
            if session.trace.iter().any(|change| matches!(change, Change::FailedSync(..))) {
                return session;
            }
        }
        engine::run_session(begin, None, setup, put, PUTS, &mut self.random)
    }

    /// Follows a session for this number of changes. After each change, it checks what a crash would leave.
    fn follow_session(&mut self, session: &Session, end: usize) -> Result<(), String> {
        let mut at = 0;
        for (number, called) in (1..).zip(&session.calls) {
            let call = called.call;
            self.follower.begin_call(call);
            while at < called.ends_at {
                if at == end {
                    return Ok(());
                }
                let change = &session.trace[at];
                at += 1;
                let placed = |why: String| format!("call {number} ({call:?}), change {at} ({}): {why}", shown(change));
                self.follower.change(change).map_err(placed)?;
                self.world.apply(change);
                self.report.changes += 1;
                self.report.failed_syncs += usize::from(matches!(change, Change::FailedSync(..)));
                self.crashes().map_err(placed)?;
            }
            self.follower.end_call(called).map_err(|why| format!("call {number} ({call:?}): {why}"))?;
            self.report.calls += 1;
            self.same_disk().map_err(|why| format!("call {number} ({call:?}): {why}"))?;
        }
        Ok(())
    }

    /// Whether the model's disk equals the simulated one, both as seen and as certainly durable.
    fn same_disk(&self) -> Result<(), String> {
        let real = [self.world.after_death(None), self.world.after_power_cut(&PowerCut::nothing())]
            .map(|image| self.follower.in_model(image));
        let model = self.follower.seen_and_certain();
        for (what, (real, model)) in ["the visible state", "the durable state"].into_iter().zip(real.iter().zip(&model)) {
            if real != model {
                let lengths =
                    |image: &Image| format!("{:?}", image.iter().map(|(path, bytes)| (path, bytes.len())).collect::<Vec<_>>());
                let (real, model) = (lengths(real), lengths(model));
                return Err(format!("{what} differs; bytes on the simulated disk {real}, in the model {model}"));
            }
        }
        Ok(())
    }

    /// The session ends in one of the possible ways.
    fn crash(&mut self) -> Begin {
        if self.random.below(3) == 0 {
            self.follower.die();
            return Begin::World(self.world.clone());
        }
        let mut left = self.follower.state.disk.after_power_cut();
        let left = left.swap_remove(self.random.below(left.len()));
        let garbage = self.random.below(2) == 0;
        let image = self.follower.power_cut(left, garbage);
        self.world = World::of(&image);
        Begin::Image(image)
    }

    /// Opens every disk that a crash may leave here with the real recovery.
    fn crashes(&mut self) -> Result<(), String> {
        let protocol = self.follower.protocol;
        let died = protocol.after(&self.follower.state, &Action::Die { wrote: 0, torn: false });
        self.opens_alike(&died, &SimDisk::of_world(self.world.clone(), 7)).map_err(|why| format!("the process dies: {why}"))?;
        for left in self.follower.state.disk.after_power_cut() {
            let cut = protocol.after(&self.follower.state, &Action::PowerCut(Box::new(left.clone())));
            for garbage in [false, true] {
                let image = self.follower.image(&left, garbage);
                if self.seen.insert((image.clone(), cut.promised)) {
                    self.opens_alike(&cut, &SimDisk::new(&image, 7))
                        .map_err(|why| format!("the power is cut and leaves {}: {why}", described(&left)))?;
                }
            }
        }
        Ok(())
    }

    /// Whether the real recovery of `disk` ends like the model's recovery from `state`.
    fn opens_alike(&mut self, state: &State, disk: &SimDisk) -> Result<(), String> {
        self.report.opened += 1;
        let protocol = self.follower.protocol;
        let mut state = protocol.after(state, &Action::Start);
        while state.process.tail.is_none() {
            let Doing::Task(_, step) = state.process.doing else { unreachable!("Replay is a step of opening") };
            state = protocol.after(&state, &Action::Step(step));
            if let Some(broken) = state.broken {
                return Err(format!("in the model {broken:?}"));
            }
            debug_assert!(step != Step::Open, "Replay comes before");
        }
        let engine = engine::options(disk, self.setup()).open().map_err(|error| format!("it does not open: {error}"))?;
        let process = &state.process;
        let replayed = process.appended - process.snapshot_seq;
        let expected =
            (process.appended, process.tail.expect("the log was read"), process.beyond, process.snapshot_seq, replayed);
        let found = engine::found(engine.recovery());
        if found != expected {
            return Err(format!(
                "recovery finds (last, tail, whole behind it, snapshot, replayed) {found:?}, but the model {expected:?}"
            ));
        }
        engine::holds(&engine, &state.issued.prefix(process.appended))
    }
}

fn shown(change: &Change) -> String {
    match change {
        Change::Write(file, at, bytes) => format!("Write({file}, {at}, {} bytes)", bytes.len()),
        other => format!("{other:?}"),
    }
}

fn described(disk: &Disk) -> String {
    let of = |name| disk.read(name).map_or("none".into(), |pieces: &[Piece]| format!("{pieces:?}"));
    format!("log {}, snapshot {}", of(Name::Log), of(Name::Snapshot))
}

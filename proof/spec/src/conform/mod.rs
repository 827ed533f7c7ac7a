//! Whether the code does what the model says, in both directions.
//!
//! *From the engine to the model.* A workload runs on the simulated disk. Every change that the
//! engine makes to that disk must be a step that is enabled in the model, writing the frames that
//! the model writes, to the same place; and between calls the engine's figures must be the model's
//! watermarks. The life of the process ends anywhere, by death or by a power cut; the next life goes
//! on from there.
//!
//! *From the model to the engine.* At each of those changes, each disk that a power cut may leave
//! according to the model is built from the engine's own bytes, and the real recovery opens it. It
//! must end where the model's ends, with the same state and the same verdict.

mod engine;
mod follow;
mod random;

use crate::disk::{Disk, Name, Piece};
use crate::model::{Action, Bounds, Doing, Protocol, State, Step};
use engine::{Begin, Life, Setup};
use follow::Follower;
use kv_engine::disk::sim::{Change, PowerCut, Fault, FaultPlan, Image, Lasts, SimDisk, SyncFailure, World};
use random::Random;
use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Lives of one workload.
const LIVES: usize = 3;
/// Puts of one workload; the model's histories are not longer.
const PUTS: u8 = 7;
/// A sync fails among so many operations at the beginning of a life: of so many drawn, the first that is one.
const OPERATIONS: usize = 80;
const DRAWN: usize = 20;

/// What was followed.
#[derive(Debug, Default)]
pub struct Report {
    /// Workloads.
    pub traces: usize,
    /// Changes to the disk that were steps of the model.
    pub changes: usize,
    /// Calls after which answer and watermarks were compared.
    pub calls: usize,
    /// Syncs that failed.
    pub failed_syncs: usize,
    /// Disks that the model's crashes leave and the real recovery opened.
    pub opened: usize,
    /// What did not agree: the workload, and where.
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

/// Follows these workloads, on two threads. The same ones give the same report.
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
        report.add(other.join().expect("what disagrees is an error, not a panic"));
        report
    })
}

/// One workload, followed through its lives.
struct Workload<'a> {
    random: Random,
    follower: Follower,
    /// The simulated disk as far as the follower has come.
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
            ..Bounds::NONE
        };
        // Every fourth leaves values in the snapshot: the steps are the same.
        let follower = Follower::new(Protocol { bounds, wrong: None }, seed.is_multiple_of(4));
        Workload { random, follower, world: World::default(), seen: HashSet::new(), report }
    }

    fn follow(&mut self) -> Result<(), String> {
        let mut begin = Begin::Image(Image::new());
        for number in 1..=LIVES {
            let fails = matches!(begin, Begin::Image(_)) && self.random.below(2) == 0;
            let life = self.live(&begin, fails);
            let writes = (1..=life.trace.len()).filter(|end| matches!(life.trace[end - 1], Change::Write(..)));
            let writes: Vec<usize> = writes.collect();
            let end = match self.random.below(4) {
                0 => life.trace.len(),
                1 => self.random.below(life.trace.len() + 1),
                _ if writes.is_empty() => life.trace.len(),
                _ => writes[self.random.below(writes.len())], // where a power cut has most to choose from
            };
            self.life(&life, end).map_err(|why| format!("life {number}, {why}"))?;
            begin = self.crash();
        }
        Ok(())
    }

    fn setup(&self) -> Setup {
        Setup { batch_size: self.follower.protocol.bounds.batch_size, on_disk: self.follower.on_disk }
    }

    /// A life of the engine; one in which a sync `fails`, where one of the operations drawn is a sync.
    fn live(&mut self, begin: &Begin, fails: bool) -> Life {
        let (setup, put) = (self.setup(), self.follower.state.used.puts);
        for _ in 0..if fails { DRAWN } else { 0 } {
            let plan = FaultPlan {
                at: self.random.below(OPERATIONS),
                fault: Fault::Sync([SyncFailure::LosesPages, SyncFailure::RevertsPages][self.random.below(2)]),
                lasts: Lasts::Once,
            };
            let life = engine::live(begin, Some(plan), setup, put, PUTS, &mut self.random);
            if life.trace.iter().any(|change| matches!(change, Change::FailedSync(..))) {
                return life;
            }
        }
        engine::live(begin, None, setup, put, PUTS, &mut self.random)
    }

    /// Follows a life for so many changes, looking at each of them what a crash would leave.
    fn life(&mut self, life: &Life, end: usize) -> Result<(), String> {
        let mut at = 0;
        for (number, called) in (1..).zip(&life.calls) {
            let call = called.call;
            self.follower.begin_call(call);
            while at < called.ends_at {
                if at == end {
                    return Ok(());
                }
                let change = &life.trace[at];
                at += 1;
                let said = |why: String| format!("call {number} ({call:?}), change {at} ({}): {why}", shown(change));
                self.follower.change(change).map_err(said)?;
                self.world.apply(change);
                self.report.changes += 1;
                self.report.failed_syncs += usize::from(matches!(change, Change::FailedSync(..)));
                self.crashes().map_err(said)?;
            }
            self.follower.end_call(called).map_err(|why| format!("call {number} ({call:?}): {why}"))?;
            self.report.calls += 1;
            self.same_disk().map_err(|why| format!("call {number} ({call:?}): {why}"))?;
        }
        Ok(())
    }

    /// Whether the model's disk is the simulated one: what is seen, and what is certain.
    fn same_disk(&self) -> Result<(), String> {
        let real = [self.world.after_death(None), self.world.after_power_cut(&PowerCut::nothing())]
            .map(|image| self.follower.in_model(image));
        let model = self.follower.seen_and_certain();
        for (what, (real, model)) in ["what is seen", "what is durable"].into_iter().zip(real.iter().zip(&model)) {
            if real != model {
                let lengths =
                    |image: &Image| format!("{:?}", image.iter().map(|(path, bytes)| (path, bytes.len())).collect::<Vec<_>>());
                let (real, model) = (lengths(real), lengths(model));
                return Err(format!("{what} differs; bytes on the simulated disk {real}, in the model {model}"));
            }
        }
        Ok(())
    }

    /// The life ends, in one of the ways it can.
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

    /// Every disk that a crash leaves here, opened by the real recovery.
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
                        .map_err(|why| format!("power is cut and leaves {}: {why}", described(&left)))?;
                }
            }
        }
        Ok(())
    }

    /// Whether the real recovery of `disk` ends where the model's does from `state`.
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
        let engine = engine::options(disk, self.setup()).open().map_err(|error| format!("not opened: {error}"))?;
        let process = &state.process;
        let replayed = process.appended - process.snapshot_seq;
        let expected = (process.appended, process.tail.expect("it was read"), process.beyond, process.snapshot_seq, replayed);
        let found = engine::found(engine.recovery());
        if found != expected {
            return Err(format!(
                "recovery finds (last, tail, whole behind it, snapshot, replayed) {found:?}, the model {expected:?}"
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

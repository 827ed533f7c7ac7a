//! Crash enumeration: the real engine on a simulated disk, crashed at every change it makes to that
//! disk, in every way the disk allows, and opened again.
//!
//! A *workload* is a list of steps drawn from a seed: puts, deletes, atomic groups, flushes,
//! snapshots, changes of the batch size, orderly closes. It runs once; every change to the disk is
//! recorded, with what had been issued and what had been promised durable at that moment. Then, for
//! each number of changes, the disk as it was is crashed again and again: death of the process, with
//! the last write cut short; a power cut, with all subsets of the unsynced pieces where they are
//! few, else the telling ones and random ones. Each *state* of the disk that this gives is opened:
//!
//! 1. it opens, without a verdict of damage: a crash is not damage;
//! 2. what is there is exactly the state after k writes, `promised ≤ k ≤ issued`;
//! 3. opening it once more gives the same;
//! 4. it goes on: new writes are taken, and are there after another opening;
//! 5. some go on to a second life, which is crashed at each of its changes, those of recovery first,
//!    and 1 to 4 hold again. After the death of a process that life sees bytes that are not durable.
//!
//! States are counted once, by the hash of the disk's content. A failure is one line that repeats
//! it: the number of the workload, of the change, and of the state.
//!
//! Other rungs: [`fault_plans`] lets operations fail, [`log_tails`] leaves the end of a log in every way,
//! [`rot`](rot()) damages log and snapshot. These two give a [`Tally`].

mod choices;
mod edits;
mod faults;
mod life;
mod memory;
mod rot;
mod shapes;
mod tails;
mod tally;
mod workload;

pub use faults::fault_plans;
pub use rot::{ROT_PARTS, rot};
pub use tails::{LOG_SHAPES, log_tails};
pub use tally::Tally;

use crate::disk::sim::{Image, SimDisk, World};
use crate::engine::{Engine, Options};
use crate::recovery::Tail;
use crate::state::Digest;
use choices::{Random, Subset};
use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use workload::{Recorded, record};
use xxhash_rust::xxh3::xxh3_128;

pub(crate) const WAL: &str = "/sim/kv.wal";
pub(crate) const SNAPSHOT: &str = "/sim/kv.snapshot";

/// So many independent pieces at most are tried in all combinations.
const ALL_SUBSETS_OF: usize = 6;
/// So many of more pieces are tried missing, alone, and as the end of a prefix.
const SINGLED_OUT: usize = 48;
/// Random power cuts for each change, where there are more.
const RANDOM_CUTS: u64 = 24;
/// Each so-manyth state goes on to a second life.
const SECOND_LIFE_EVERY: u64 = 24;
/// So many power cuts of each moment of a second life.
const SECOND_CUTS: usize = 12;

/// What was tried and what was found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Workloads that were run.
    pub workloads: u64,
    /// Changes to the disk at which a crash was tried.
    pub crash_points: u64,
    /// Different states of the disk that were opened after the death of the process.
    pub deaths: u64,
    /// Different states of the disk that were opened after a power cut.
    pub power_cuts: u64,
    /// Different states that a crash in a second life left, of its recovery or behind it, opened.
    pub second_crashes: u64,
    /// Runs in which an operation failed as planned.
    pub fault_plans: u64,
    /// States that were opened behind those runs; different ones of each run, not of all together.
    pub fault_states: u64,
    /// States that lost a promised write, or had one that was never issued, or a part of a group.
    pub lost_writes: u64,
    /// States that did not open, or not twice, or did not go on.
    pub refused: u64,
    /// One line for each failure, at most a hundred; each repeats it.
    pub failures: Vec<String>,
}

impl Report {
    /// All different states; those behind fault plans are counted apart.
    #[must_use]
    pub fn states(&self) -> u64 {
        self.deaths + self.power_cuts + self.second_crashes
    }

    /// Adds what another run found.
    pub fn add(&mut self, other: Report) {
        self.workloads += other.workloads;
        self.crash_points += other.crash_points;
        self.deaths += other.deaths;
        self.power_cuts += other.power_cuts;
        self.second_crashes += other.second_crashes;
        self.fault_plans += other.fault_plans;
        self.fault_states += other.fault_states;
        self.lost_writes += other.lost_writes;
        self.refused += other.refused;
        self.failures.extend(other.failures);
        self.failures.truncate(100);
    }
}

/// What a state must satisfy.
#[derive(Clone, Copy, Debug)]
struct Bounds {
    promised: u64,
    issued: u64,
    /// The last write of a second life, and the state after it: not one of the workload's.
    second: Option<(u64, Digest)>,
}

/// Why a state is wrong.
enum Wrong {
    Lost(String),
    Refused(String),
}

/// Runs the workload that follows from `seed` and crashes it everywhere. The same seed gives the
/// same report.
///
/// ```
/// let report = kv_engine::torture::workload(1);
/// assert!(report.states() > 100);
/// assert_eq!((report.lost_writes, report.refused), (0, 0), "{:?}", report.failures);
/// ```
#[must_use]
pub fn workload(seed: u64) -> Report {
    let recorded = record(seed);
    let mut run = Run { seed, recorded: &recorded, seen: HashSet::new(), report: Report { workloads: 1, ..Report::default() } };
    let mut world = World::default();
    for at in 0..=recorded.trace.len() {
        if at > 0 {
            world.apply(&recorded.trace[at - 1]);
        }
        run.crash_at(at, &world);
    }
    run.report
}

struct Run<'a> {
    seed: u64,
    recorded: &'a Recorded,
    seen: HashSet<u128>,
    report: Report,
}

impl Run<'_> {
    fn crash_at(&mut self, at: usize, world: &World) {
        self.report.crash_points += 1;
        let bounds = self.recorded.bounds(at);
        let mut images = vec![world.after_death(None)];
        if let Some(bytes) = world.last_write_bytes() {
            let step = (bytes / 16).max(1);
            images.extend((0..bytes).step_by(step).map(|short| world.after_death(Some(short))));
        }
        for image in images {
            self.state(at, &image, bounds, |report| &mut report.deaths);
        }
        if at.is_multiple_of(3) {
            self.second_life(at, world, bounds); // the process died, and memory still has its bytes
        }
        for image in power_cuts(world, self.seed ^ (at as u64) << 32) {
            self.state(at, &image, bounds, |report| &mut report.power_cuts);
        }
    }

    fn state(&mut self, at: usize, image: &Image, bounds: Bounds, counter: fn(&mut Report) -> &mut u64) {
        if !self.seen.insert(hash(image, bounds)) {
            return;
        }
        *counter(&mut self.report) += 1;
        let number = self.report.states();
        let checked = self.check(image, bounds, number);
        self.note(at, number, checked.as_ref().err());
        if checked.is_ok() && number.is_multiple_of(SECOND_LIFE_EVERY) {
            self.second_life(at, &World::of(image), bounds);
        }
    }

    /// Opens what the death of a process has left, whose last bytes may be in memory only or, after a
    /// failed sync, not even meant for the disk any more.
    fn survivor(&mut self, at: usize, world: &World, bounds: Bounds) {
        self.report.deaths += 1;
        let number = self.report.states();
        let disk = SimDisk::of_world(world.clone(), self.seed ^ number);
        let checked = self.open(&disk, bounds).map(drop);
        self.note(at, number, checked.as_ref().err());
        if checked.is_ok() {
            self.second_life(at, world, bounds);
        }
    }

    /// Opens a state, and again, and goes on.
    fn check(&self, image: &Image, bounds: Bounds, number: u64) -> Result<(), Wrong> {
        let disk = SimDisk::new(image, self.seed ^ number);
        let (engine, k) = self.open(&disk, bounds)?;
        drop(engine);
        let (engine, again) = self.open(&disk, bounds)?;
        let refused = |what: &str| Wrong::Refused(format!("{what} after write {k}"));
        if again != k {
            return Err(refused("the second opening gives another state"));
        }
        engine.put("goes", "on").map_err(|error| refused(&format!("a put fails ({error})")))?;
        drop(engine);
        let engine = options(&disk).open().map_err(|error| refused(&format!("not opened when it had gone on ({error})")))?;
        if engine.recovery().last_seq != k + 1 || engine.get("goes").ok().flatten().as_deref() != Some(b"on") {
            return Err(Wrong::Lost(format!("the write behind write {k} is not there")));
        }
        Ok(())
    }

    fn open(&self, disk: &SimDisk, bounds: Bounds) -> Result<(Engine, u64), Wrong> {
        let engine = options(disk).open().map_err(|error| Wrong::Refused(format!("not opened: {error}")))?;
        let k = engine.recovery().last_seq;
        if let Tail::Damaged(cut) = &engine.recovery().tail {
            return Err(Wrong::Refused(format!("a crash is taken for damage: {cut:?}")));
        }
        let Bounds { promised, issued, second } = bounds;
        if k < promised || k > issued {
            return Err(Wrong::Lost(format!("write {k} is the last, {promised} were promised and {issued} issued")));
        }
        let expected = second.filter(|(write, _)| *write == k).map_or_else(|| self.recorded.digest(k), |(_, digest)| digest);
        if engine.digest() != expected {
            return Err(Wrong::Lost(format!("the state is not that after write {k}")));
        }
        Ok((engine, k))
    }

    /// Goes on where `world` was left: opens it, writes once, and is crashed at each change of that.
    fn second_life(&mut self, at: usize, world: &World, bounds: Bounds) {
        let disk = SimDisk::of_world(world.clone(), self.seed ^ at as u64);
        let Ok((engine, k)) = self.open(&disk, bounds) else { return }; // said when the state was checked
        let opened = disk.changes();
        let written = engine.put("second", "life").is_ok_and(|ack| ack.durable);
        let end = disk.changes();
        let second = Some((k + 1, engine.digest()));
        let mut world = world.clone();
        for (i, change) in disk.trace()[..end].iter().enumerate() {
            world.apply(change);
            let bounds = match i + 1 {
                done if done < opened => bounds,
                done if done < end || !written => Bounds { promised: k, issued: k + 1, second },
                _ => Bounds { promised: k + 1, issued: k + 1, second },
            };
            let mut images = vec![world.after_death(None)];
            images.extend(power_cuts(&world, self.seed ^ i as u64).into_iter().take(SECOND_CUTS));
            for image in images {
                if self.seen.insert(hash(&image, bounds)) {
                    self.report.second_crashes += 1;
                    let number = self.report.states();
                    let checked = self.check(&image, bounds, number);
                    self.note(at, number, checked.as_ref().err());
                }
            }
        }
    }

    fn note(&mut self, at: usize, number: u64, wrong: Option<&Wrong>) {
        let text = match wrong {
            None => return,
            Some(Wrong::Lost(text)) => {
                self.report.lost_writes += 1;
                text
            }
            Some(Wrong::Refused(text)) => {
                self.report.refused += 1;
                text
            }
        };
        if self.report.failures.len() < 100 {
            let seed = self.seed;
            self.report
                .failures
                .push(format!("workload {seed}, change {at}, state {number}: {text}; repeat: kv_cli torture --workload {seed}"));
        }
    }
}

/// What power cuts leave of `world`: all there can be where the pieces are few, else none, all,
/// each one missing, each one alone, each prefix, and random ones with torn and garbage sectors.
fn power_cuts(world: &World, seed: u64) -> Vec<Image> {
    let units = world.units();
    let mut images = Vec::new();
    let mut subset = |kept: &dyn Fn(usize) -> bool| {
        for length in 0..2 {
            images.push(world.after_power_cut(&mut Subset::new(kept, length)));
        }
    };
    if units <= ALL_SUBSETS_OF {
        (0..1_u64 << units).for_each(|mask| subset(&|unit| mask >> unit & 1 == 1));
    } else {
        subset(&|_| false);
        subset(&|_| true);
        for one in (0..units).step_by(units.div_ceil(SINGLED_OUT)) {
            subset(&|unit| unit != one);
            subset(&|unit| unit == one);
            subset(&|unit| unit < one);
        }
    }
    if units > 0 {
        let mut random = Random::new(seed);
        images.extend((0..RANDOM_CUTS).map(|_| world.after_power_cut(&mut random)));
    }
    images
}

fn hash(image: &Image, bounds: Bounds) -> u128 {
    let mut bytes = [bounds.promised.to_le_bytes(), bounds.issued.to_le_bytes()].concat();
    for (path, content) in image {
        bytes.extend_from_slice(path.as_os_str().as_encoded_bytes());
        bytes.extend_from_slice(&(content.len() as u64).to_le_bytes());
        bytes.extend_from_slice(content);
    }
    xxh3_128(&bytes)
}

fn options(disk: &SimDisk) -> Options {
    Options::new(Path::new(WAL), Path::new(SNAPSHOT)).flush_interval(Duration::ZERO).disk(Arc::new(disk.clone()))
}

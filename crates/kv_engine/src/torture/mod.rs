//! Crash enumeration: the real engine on a simulated disk, crashed at every change it makes to that
//! disk, in every way the disk allows, and opened again.
//!
//! A *workload* is a list of steps that follows from a seed: puts, deletes, atomic groups, flushes,
//! snapshots, changes of the batch size, orderly closes; time that passes until the flusher is due; writes that others
//! issue in the middle of a snapshot or a flush. One workload of four leaves values in the snapshot. It runs once; every change to the disk is
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
//! | call | what is crashed |
//! |---|---|
//! | [`workload`] | everything of one workload, and some second lives |
//! | [`recovery`] | recovery itself, of every state that [`workload`] opens; and some third lives |
//! | [`fault_plans`] | the same workload when operations fail: in the first life, and in recovery |
//! | [`weak_disks`] | disks that lie about a sync, or damage a torn sector's neighbours |
//! | [`torn_tails`] | the log alone: its end is left in every way |
//! | [`rot`](rot()) | nothing: log and snapshot are damaged |
//! | [`regressions`] | the cases that have found a bug before |
//!
//! States are counted once, by the hash of the disk's content. A failure is one line that names its
//! [`Case`]; [`story`] repeats it, makes it small, and tells it. The log alone and rot give a [`Tally`].

mod case;
mod choices;
mod edits;
mod faults;
mod interleaved;
mod memory;
mod oracle;
mod regressions;
mod rot;
mod session;
mod shapes;
mod shrink;
mod tally;
mod torn_tails;
mod weak;
mod workload;

pub use case::Case;
pub use faults::fault_plans;
pub use regressions::regressions;
pub use rot::{ROT_PARTS, rot};
pub use shrink::{replay, story};
pub use tally::Tally;
pub use torn_tails::{LOG_SHAPES, torn_tails};
pub use weak::weak_disks;

use crate::disk::is_scratch_of;
use crate::disk::sim::{Change, FaultPlan, Image, World};
use case::{End, Session};
use choices::{power_cuts, some};
use oracle::{Bounds, Oracle, Wrong};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use workload::{Recorded, Step, record, steps};
use xxhash_rust::xxh3::Xxh3;

pub(crate) use oracle::{SNAPSHOT, WAL};

/// Each so-manyth state goes on to a second life.
const SECOND_LIFE_EVERY: u64 = 24;
/// So many power cuts of each moment of a second life.
const SECOND_CUTS: usize = 12;
/// So many of each moment of a recovery, when that is what is crashed.
const RECOVERY_CUTS: usize = 16;
/// Each so-manyth state behind a crash in recovery goes on to a third life.
const THIRD_LIFE_EVERY: u64 = 16;
/// So many failures are told, at most.
const MOST_FAILURES: usize = 100;

/// What was tried and what was found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Workloads that were run.
    pub workloads: u64,
    /// Writes that were issued in the middle of a checkpoint, a flush or a turn of the flusher.
    pub meanwhile: u64,
    /// Changes to the disk at which a crash was tried.
    pub crash_points: u64,
    /// Different states of the disk that were opened after the death of the process.
    pub deaths: u64,
    /// Different states of the disk that were opened after a power cut.
    pub power_cuts: u64,
    /// Different states that a crash in a second life left, of its recovery or behind it, opened.
    pub second_crashes: u64,
    /// Different states that a crash in a third life left, opened.
    pub third_crashes: u64,
    /// Runs in which an operation failed as planned.
    pub fault_plans: u64,
    /// Those of them in which it was an operation of recovery.
    pub recovery_fault_plans: u64,
    /// States that were opened behind those runs; different ones of each run, not of all together.
    pub fault_states: u64,
    /// Different states that disks left which lie about a sync, or damage a torn sector's neighbours.
    pub weak_states: u64,
    /// Those of them that were not opened, which is allowed there.
    pub weak_refused: u64,
    /// Cases that have found a bug before, tried again.
    pub regressions: u64,
    /// States that lost a promised write, or had one that was never issued, or a part of a group.
    pub lost_writes: u64,
    /// States that did not open, or not twice, or did not go on.
    pub refused: u64,
    /// How often each change to each file was crashed at: when, what, and in which file.
    pub covered: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// One line for each failure, at most a hundred; each repeats it.
    pub failures: Vec<String>,
    /// The case of each of those lines.
    pub cases: Vec<Case>,
}

impl Report {
    /// All different states; those behind fault plans and of weak disks are counted apart.
    #[must_use]
    pub fn states(&self) -> u64 {
        self.deaths + self.power_cuts + self.second_crashes + self.third_crashes
    }

    /// Adds what another run found.
    pub fn add(&mut self, other: Report) {
        self.workloads += other.workloads;
        self.meanwhile += other.meanwhile;
        self.crash_points += other.crash_points;
        self.deaths += other.deaths;
        self.power_cuts += other.power_cuts;
        self.second_crashes += other.second_crashes;
        self.third_crashes += other.third_crashes;
        self.fault_plans += other.fault_plans;
        self.recovery_fault_plans += other.recovery_fault_plans;
        self.fault_states += other.fault_states;
        self.weak_states += other.weak_states;
        self.weak_refused += other.weak_refused;
        self.regressions += other.regressions;
        self.lost_writes += other.lost_writes;
        self.refused += other.refused;
        other.covered.into_iter().for_each(|(what, count)| *self.covered.entry(what).or_default() += count);
        self.failures.extend(other.failures);
        self.failures.truncate(MOST_FAILURES);
        self.cases.extend(other.cases);
        self.cases.truncate(MOST_FAILURES);
    }

    fn fail(&mut self, wrong: &Wrong, place: &str, case: Case) {
        match wrong {
            Wrong::Lost(_) => self.lost_writes += 1,
            Wrong::Refused(_) | Wrong::Unread(_) => self.refused += 1,
        }
        if self.cases.len() < MOST_FAILURES {
            let model = case.weak.map(|(model, _)| model).unwrap_or_default();
            let text = wrong.text();
            self.failures.push(format!("{place} (model {model}): {text}; repeat: kv_cli torture --case {case}"));
            self.cases.push(case);
        }
    }
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
    let mut report = Script::whole(seed).crash(&WORKLOAD, false);
    report.workloads = 1;
    report
}

/// Crashes recovery: each state that [`workload`] opens is opened, crashed behind every change that
/// opening makes, and what that leaves is opened; some of it is crashed at every change a third time.
/// The states of the first life are not judged here, and not counted.
///
/// ```
/// let report = kv_engine::torture::recovery(1);
/// assert!(report.second_crashes > 100 && report.deaths + report.power_cuts == 0);
/// assert_eq!((report.lost_writes, report.refused), (0, 0), "{:?}", report.failures);
/// ```
#[must_use]
pub fn recovery(seed: u64) -> Report {
    let report = Script::whole(seed).crash(&RECOVERY, false);
    Report { crash_points: 0, meanwhile: 0, ..report }
}

/// How deep an enumeration goes.
struct Effort {
    /// Whether the states behind the first life are judged themselves.
    judge_first: bool,
    /// Each so-manyth goes on to a second life; 0 for none.
    second_every: u64,
    /// Each so-manyth change, the process dies and memory stays; 0 for none.
    die_every: usize,
    /// Whether later lives are crashed behind opening, too.
    behind_recovery: bool,
    cuts: usize,
    third_every: u64,
}

const WORKLOAD: Effort = Effort {
    judge_first: true,
    second_every: SECOND_LIFE_EVERY,
    die_every: 3,
    behind_recovery: true,
    cuts: SECOND_CUTS,
    third_every: 0,
};
const RECOVERY: Effort = Effort {
    judge_first: false,
    second_every: 1,
    die_every: 1,
    behind_recovery: false,
    cuts: RECOVERY_CUTS,
    third_every: THIRD_LIFE_EVERY,
};

/// The steps of a workload, some of which may be left out.
struct Script {
    seed: u64,
    dropped: Vec<usize>,
    steps: Vec<Step>,
}

impl Script {
    fn whole(seed: u64) -> Script {
        Script::without(seed, Vec::new())
    }

    fn without(seed: u64, dropped: Vec<usize>) -> Script {
        let kept = |(n, step)| (!dropped.contains(&n)).then_some(step);
        let steps = steps(seed).into_iter().enumerate().filter_map(kept).collect();
        Script { seed, dropped, steps }
    }

    fn crash(&self, effort: &Effort, only_one: bool) -> Report {
        let recorded = record(self.seed, &self.steps);
        let mut run = Run::new(self, &recorded, effort);
        run.report.meanwhile = recorded.meanwhile;
        let mut world = World::default();
        for at in 0..=recorded.trace.len() {
            if at > 0 {
                run.cover("workload", &world, &recorded.trace[at - 1]);
                world.apply(&recorded.trace[at - 1]);
            }
            run.crash_at(at, &world, recorded.bounds(at));
            run.read_at(&recorded, at, None);
            if only_one && !run.report.cases.is_empty() {
                break;
            }
        }
        run.report
    }
}

struct Run<'a> {
    script: &'a Script,
    oracle: Oracle<'a>,
    effort: &'a Effort,
    seen: HashSet<u128>,
    tried: u64,
    report: Report,
}

/// Where a crash is.
struct Place<'a> {
    /// The lives before.
    past: &'a [Session],
    /// What was planned to fail in the one that ends.
    plan: Option<FaultPlan>,
    at: usize,
    bounds: Bounds,
}

impl<'a> Run<'a> {
    fn new(script: &'a Script, recorded: &'a Recorded, effort: &'a Effort) -> Run<'a> {
        let oracle = Oracle { workload: script.seed, digests: &recorded.digests };
        Run { script, oracle, effort, seen: HashSet::new(), tried: 0, report: Report::default() }
    }

    /// Tells of a reader that saw something wrong.
    fn read_at(&mut self, recorded: &Recorded, at: usize, plan: Option<FaultPlan>) {
        if let Some(misread) = recorded.misread.as_ref().filter(|misread| misread.changes == at) {
            let place = Place { past: &[], plan, at, bounds: recorded.bounds(at) };
            self.fail(&Wrong::Lost(misread.text.clone()), &place, Some(&End::Die));
        }
    }

    fn crash_at(&mut self, at: usize, world: &World, bounds: Bounds) {
        self.report.crash_points += 1;
        let place = Place { past: &[], plan: None, at, bounds };
        let mut deaths = vec![End::Kill(None)];
        if let Some(bytes) = world.last_write_bytes() {
            let step = (bytes / 16).max(1);
            deaths.extend((0..bytes).step_by(step).map(|short| End::Kill(Some(short))));
        }
        for end in deaths {
            self.first(&place, world, end, |report| &mut report.deaths);
        }
        if self.effort.die_every > 0 && at.is_multiple_of(self.effort.die_every) {
            self.next_life(&place, world, End::Die);
        }
        for cut in power_cuts(world, self.script.seed ^ (at as u64) << 32) {
            self.first(&place, world, End::Cut(cut), |report| &mut report.power_cuts);
        }
    }

    /// A state behind the first life.
    fn first(&mut self, place: &Place<'_>, world: &World, end: End, counter: fn(&mut Report) -> &mut u64) {
        let image = end.image(world);
        if !self.is_new(place, &image) {
            return;
        }
        self.tried += 1;
        if self.effort.judge_first {
            *counter(&mut self.report) += 1;
            if !self.judge(place, &end, &image) {
                return;
            }
        }
        if self.effort.second_every > 0 && self.tried.is_multiple_of(self.effort.second_every) {
            self.next_life(place, world, end);
        }
    }

    /// Whether this state was not tried before; where the states of the first life are not judged, in the
    /// same life.
    fn is_new(&mut self, place: &Place<'_>, image: &Image) -> bool {
        let life = if self.effort.judge_first { 0 } else { place.past.len() as u128 };
        self.seen.insert(hash(image, place.bounds) ^ life)
    }

    fn judge(&mut self, place: &Place<'_>, end: &End, image: &Image) -> bool {
        let checked = self.oracle.check(World::of(image), place.bounds);
        if let Err(wrong) = &checked {
            self.fail(wrong, place, Some(end));
        }
        checked.is_ok()
    }

    fn fail(&mut self, wrong: &Wrong, place: &Place<'_>, end: Option<&End>) {
        let mut lives = place.past.to_vec();
        lives.extend(end.map(|end| Session { plan: place.plan, at: place.at, end: end.clone() }));
        let Script { seed, dropped, .. } = self.script;
        let case = Case { workload: *seed, dropped: dropped.clone(), weak: None, lives };
        self.report.fail(wrong, &format!("workload {seed}, life {}, change {}", place.past.len() + 1, place.at), case);
    }

    /// Goes on with the state that `end` leaves: opens it, writes once, and is crashed at each change.
    fn next_life(&mut self, place: &Place<'_>, world: &World, end: End) {
        let mut world = end.leaves(world);
        let past = [place.past, &[Session { plan: place.plan, at: place.at, end }]].concat();
        let number = past.len();
        let lived = match self.oracle.live(world.clone(), place.bounds, number, place.at, None) {
            Ok(lived) => lived,
            Err(wrong) => return self.fail(&wrong, &Place { past: &past, plan: None, at: 0, bounds: place.bounds }, None),
        };
        let opened = lived.opened.unwrap_or(lived.trace.len());
        for (i, change) in lived.trace.iter().enumerate() {
            let at = i + 1;
            if at > opened && !self.effort.behind_recovery {
                break;
            }
            self.cover(if at > opened { "behind recovery" } else { "recovery" }, &world, change);
            world.apply(change);
            let place = Place { past: &past, plan: None, at, bounds: lived.bounds(at, place.bounds) };
            self.crash_later(&place, &world, number);
        }
    }

    fn crash_later(&mut self, place: &Place<'_>, world: &World, number: usize) {
        let seed = self.script.seed ^ (place.at as u64) << 32 ^ (number as u64) << 48;
        let cuts = some(power_cuts(world, seed), self.effort.cuts).map(End::Cut);
        for end in std::iter::once(End::Kill(None)).chain(cuts) {
            let image = end.image(world);
            if !self.is_new(place, &image) {
                continue;
            }
            self.tried += 1;
            let counter = if number == 1 { &mut self.report.second_crashes } else { &mut self.report.third_crashes };
            *counter += 1;
            let third = number == 1 && self.effort.third_every > 0 && self.tried.is_multiple_of(self.effort.third_every);
            if self.judge(place, &end, &image) && third {
                self.next_life(place, world, end);
            }
        }
    }

    fn cover(&mut self, when: &'static str, before: &World, change: &Change) {
        *self.report.covered.entry((when, change.kind(), role(&before.subject(change)))).or_default() += 1;
    }
}

/// What a file is to the store.
fn role(path: &str) -> &'static str {
    match path {
        WAL => "log",
        SNAPSHOT => "snapshot",
        "/sim" => "directory",
        path if path.starts_with("/sim/kv.wal.damaged-") => "kept log",
        scratch if is_scratch_of(Path::new(WAL), Path::new(scratch)) => "new log",
        scratch if is_scratch_of(Path::new(SNAPSHOT), Path::new(scratch)) => "new snapshot",
        _ => "other",
    }
}

fn hash(image: &Image, bounds: Bounds) -> u128 {
    let mut hasher = Xxh3::new();
    hasher.update(&bounds.promised.to_le_bytes());
    hasher.update(&bounds.issued.to_le_bytes());
    for (path, content) in image {
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update(&(content.len() as u64).to_le_bytes());
        hasher.update(content);
    }
    hasher.digest128()
}

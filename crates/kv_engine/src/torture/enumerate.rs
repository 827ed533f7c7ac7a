//! Runs a workload once, and then crashes it after each change that it made to the disk.

use super::case::{Case, End, Session};
use super::choices::{power_cuts, some};
use super::model::Recorded;
use super::oracle::{Oracle, Wrong};
use super::report::Report;
use super::steps::{Step, steps};
use super::store::{Bounds, SNAPSHOT, WAL};
use super::workload::record;
use crate::disk::is_scratch_of;
use crate::disk::sim::{Change, FaultPlan, Image, World};
use std::collections::HashSet;
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

/// One state out of this number goes on to a second session.
const SECOND_SESSION_EVERY: u64 = 24;
/// The number of power cuts at each moment of a second session.
const SECOND_CUTS: usize = 12;
/// The same for each moment of a recovery, if recovery itself is crashed.
const RECOVERY_CUTS: usize = 16;
/// One state out of this number, after a crash in recovery, goes on to a third session.
const THIRD_SESSION_EVERY: u64 = 16;
/// Runs the workload that follows from `seed` and crashes it after every change. The same seed gives the same report.
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

/// Crashes recovery. Each state that [`workload`] opens is opened here and crashed after every change that opening
/// makes. The states that this leaves are opened, and some of them are crashed after every change a third time. The
/// states after the first session are not judged and not counted here.
///
/// ```
/// let report = kv_engine::torture::recovery(1);
/// assert!(report.second_crashes > 100 && report.deaths + report.power_cuts == 0);
/// assert_eq!((report.lost_writes, report.refused), (0, 0), "{:?}", report.failures);
/// ```
#[must_use]
pub fn recovery(seed: u64) -> Report {
    let report = Script::whole(seed).crash(&RECOVERY, false);
    Report { crash_points: 0, interleaved: 0, told: 0, full: 0, viewed: 0, ..report }
}

/// How deep an enumeration goes.
pub(super) struct Effort {
    /// Whether the states after the first session are judged themselves.
    pub(super) judge_first: bool,
    /// One state out of this number goes on to a second session; 0: none.
    pub(super) second_every: u64,
    /// After one change out of this number, the process dies and the page cache stays; 0: never.
    pub(super) die_every: usize,
    /// Whether later sessions are crashed after opening too.
    pub(super) behind_recovery: bool,
    pub(super) cuts: usize,
    pub(super) third_every: u64,
}

const WORKLOAD: Effort = Effort {
    judge_first: true,
    second_every: SECOND_SESSION_EVERY,
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
    third_every: THIRD_SESSION_EVERY,
};

/// The steps of a workload. Some may be left out.
pub(super) struct Script {
    pub(super) seed: u64,
    pub(super) dropped: Vec<usize>,
    pub(super) steps: Vec<Step>,
}

impl Script {
    pub(super) fn whole(seed: u64) -> Script {
        Script::without(seed, Vec::new())
    }

    pub(super) fn without(seed: u64, dropped: Vec<usize>) -> Script {
        let kept = |(n, step)| (!dropped.contains(&n)).then_some(step);
        let steps = steps(seed).into_iter().enumerate().filter_map(kept).collect();
        Script { seed, dropped, steps }
    }

    pub(super) fn crash(&self, effort: &Effort, only_one: bool) -> Report {
        let recorded = record(self.seed, &self.steps);
        let mut run = Run::new(self, &recorded, effort);
        run.report.count(recorded.counts);
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

pub(super) struct Run<'a> {
    pub(super) script: &'a Script,
    pub(super) oracle: Oracle<'a>,
    effort: &'a Effort,
    seen: HashSet<u128>,
    tried: u64,
    pub(super) report: Report,
}

/// The place of a crash.
pub(super) struct Place<'a> {
    /// The sessions before this one.
    pub(super) past: &'a [Session],
    /// The fault that was planned for this session.
    pub(super) plan: Option<FaultPlan>,
    pub(super) at: usize,
    pub(super) bounds: Bounds,
}

impl<'a> Run<'a> {
    pub(super) fn new(script: &'a Script, recorded: &'a Recorded, effort: &'a Effort) -> Run<'a> {
        let oracle = Oracle { workload: script.seed, digests: &recorded.digests };
        Run { script, oracle, effort, seen: HashSet::new(), tried: 0, report: Report::default() }
    }

    /// Reports a reader that saw something wrong.
    pub(super) fn read_at(&mut self, recorded: &Recorded, at: usize, plan: Option<FaultPlan>) {
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
            self.next_session(&place, world, End::Die);
        }
        for cut in power_cuts(world, self.script.seed ^ (at as u64) << 32) {
            self.first(&place, world, End::Cut(cut), |report| &mut report.power_cuts);
        }
    }

    /// Handles one state after the first session.
    pub(super) fn first(&mut self, place: &Place<'_>, world: &World, end: End, counter: fn(&mut Report) -> &mut u64) {
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
            self.next_session(place, world, end);
        }
    }

    /// Whether this state was not tried before. If the first session is not judged, the same state counts once per
    /// session.
    fn is_new(&mut self, place: &Place<'_>, image: &Image) -> bool {
        let session = if self.effort.judge_first { 0 } else { place.past.len() as u128 };
        self.seen.insert(hash(image, place.bounds) ^ session)
    }

    fn judge(&mut self, place: &Place<'_>, end: &End, image: &Image) -> bool {
        let checked = self.oracle.check(World::of(image), place.bounds);
        if let Err(wrong) = &checked {
            self.fail(wrong, place, Some(end));
        }
        checked.is_ok()
    }

    pub(super) fn fail(&mut self, wrong: &Wrong, place: &Place<'_>, end: Option<&End>) {
        let mut sessions = place.past.to_vec();
        sessions.extend(end.map(|end| Session { plan: place.plan, at: place.at, end: end.clone() }));
        let Script { seed, dropped, .. } = self.script;
        let case = Case { workload: *seed, dropped: dropped.clone(), weak: None, sessions };
        self.report.fail(wrong, &format!("workload {seed}, session {}, change {}", place.past.len() + 1, place.at), case);
    }

    /// Continues from the state that `end` leaves: opens it, writes once, and crashes at each change.
    pub(super) fn next_session(&mut self, place: &Place<'_>, world: &World, end: End) {
        let mut world = end.leaves(world);
        let past = [place.past, &[Session { plan: place.plan, at: place.at, end }]].concat();
        let number = past.len();
        let reopened = match self.oracle.reopen(world.clone(), place.bounds, number, place.at, None) {
            Ok(reopened) => reopened,
            Err(wrong) => return self.fail(&wrong, &Place { past: &past, plan: None, at: 0, bounds: place.bounds }, None),
        };
        let opened = reopened.opened.unwrap_or(reopened.trace.len());
        for (i, change) in reopened.trace.iter().enumerate() {
            let at = i + 1;
            if at > opened && !self.effort.behind_recovery {
                break;
            }
            self.cover(if at > opened { "behind recovery" } else { "recovery" }, &world, change);
            world.apply(change);
            let place = Place { past: &past, plan: None, at, bounds: reopened.bounds(at, place.bounds) };
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
                self.next_session(place, world, end);
            }
        }
    }

    fn cover(&mut self, when: &'static str, before: &World, change: &Change) {
        *self.report.covered.entry((when, change.kind(), role(&before.subject(change)))).or_default() += 1;
    }
}

/// The role of a file in the store.
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

pub(super) fn hash(image: &Image, bounds: Bounds) -> u128 {
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

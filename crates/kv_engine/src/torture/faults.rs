//! Fault plans: a workload runs again and again, and each time another operation of it fails.
//!
//! Each operation fails with each error, once or forever. A write or a read is done in part. A sync fails as it does
//! on ext4, XFS or btrfs. The process sees the error, continues as long as the store allows it, and then dies or loses
//! power. Every promised write must be there afterwards, promised before the fault or after it.
//!
//! The operations of recovery fail in the same ways. Recovery may then refuse to open, but it must not make anything
//! worse.

use super::case::{End, Session};
use super::choices::{Random, power_cuts, some};
use super::enumerate::{Effort, Place, Run, Script};
use super::report::Report;
use super::workload::record;
use crate::disk::sim::{EDQUOT, EINTR, EIO, EMFILE, ENOSPC, EROFS};
use crate::disk::sim::{Fault, FaultPlan, Image, Lasts, Operation, Part, SimDisk, SyncFailure, World};

/// The number of power cuts after each plan, at each moment that is examined.
const CUTS: usize = 4;
/// At this number of moments of a workload, evenly spread, recovery fails in every way.
const MOMENTS: usize = 6;

const AFTER_FAULT: Effort =
    Effort { judge_first: true, second_every: 0, die_every: 0, behind_recovery: true, cuts: 1, third_every: 0 };

/// Each fault, and how long it may last. An interrupted call (EINTR) is repeated, so it must not last forever.
const FAULTS: [(Fault, &[Lasts]); 13] = [
    (Fault::Errno(EIO), &[Lasts::Once, Lasts::ForEver, Lasts::Dead]),
    (Fault::Errno(ENOSPC), &[Lasts::Once, Lasts::ForEver]),
    (Fault::Errno(EDQUOT), &[Lasts::Once, Lasts::ForEver]),
    (Fault::Errno(EROFS), &[Lasts::Once, Lasts::ForEver, Lasts::Dead]),
    (Fault::Errno(EMFILE), &[Lasts::Once, Lasts::ForEver]),
    (Fault::Errno(EINTR), &[Lasts::Once, Lasts::Times(100)]),
    (Fault::Short(Part::Nothing), &[Lasts::Once, Lasts::ForEver]),
    (Fault::Short(Part::One), &[Lasts::Once, Lasts::ForEver]),
    (Fault::Short(Part::Half), &[Lasts::Once, Lasts::ForEver]),
    (Fault::Short(Part::AllButOne), &[Lasts::Once, Lasts::ForEver]),
    (Fault::Full, &[Lasts::Times(2), Lasts::ForEver]),
    (Fault::Sync(SyncFailure::LosesPages), &[Lasts::Once, Lasts::ForEver]),
    (Fault::Sync(SyncFailure::RevertsPages), &[Lasts::Once, Lasts::ForEver]),
];

/// Runs every fault plan of the workload that follows from `seed`, and of recovery at some of its moments.
///
/// ```
/// let report = kv_engine::torture::fault_plans(3);
/// assert!(report.fault_plans > 1000 && report.recovery_fault_plans > 1000);
/// assert_eq!((report.lost_writes, report.refused), (0, 0), "{:?}", report.failures);
/// ```
#[must_use]
pub fn fault_plans(seed: u64) -> Report {
    let script = Script::whole(seed);
    let mut report = script.faults(None, false);
    report.add(script.faults_in_recovery(None, false));
    report
}

/// Every plan for these operations. With `only`, just the plans with that fault and duration.
fn plans(operations: &[Operation], only: Option<FaultPlan>) -> impl Iterator<Item = FaultPlan> {
    operations.iter().enumerate().flat_map(move |(at, operation)| {
        let hits = FAULTS.into_iter().filter(|(fault, _)| fault.can_hit(*operation));
        let plans = hits.flat_map(move |(fault, lasts)| lasts.iter().map(move |&lasts| FaultPlan { at, fault, lasts }));
        plans.filter(move |plan| only.is_none_or(|only| (only.fault, only.lasts) == (plan.fault, plan.lasts)))
    })
}

impl Script {
    pub(super) fn faults(&self, only: Option<FaultPlan>, only_one: bool) -> Report {
        let healthy = SimDisk::new(&Image::new(), self.seed);
        super::workload::run(&self.steps, &healthy, |_| {});
        let mut report = Report::default();
        for plan in plans(&healthy.operations(), only) {
            report.fault_plans += 1;
            let disk = SimDisk::new(&Image::new(), self.seed).with_faults(plan);
            let recorded = super::workload::run(&self.steps, &disk, |_| {});
            let mut run = Run::new(self, &recorded, &AFTER_FAULT);
            let end = recorded.trace.len();
            let mut world = World::default();
            for at in 0..=end {
                if at > 0 {
                    world.apply(&recorded.trace[at - 1]);
                }
                run.read_at(&recorded, at, Some(plan));
                if Some(at) == recorded.failed_by || at == end {
                    run.after_fault(&Place { past: &[], plan: Some(plan), at, bounds: recorded.bounds(at) }, &world);
                }
            }
            let done = run.behind_plan();
            report.add(done);
            if only_one && !report.cases.is_empty() {
                break;
            }
        }
        report
    }

    pub(super) fn faults_in_recovery(&self, only: Option<FaultPlan>, only_one: bool) -> Report {
        let recorded = record(self.seed, &self.steps);
        let mut report = Report::default();
        let mut random = Random::new(self.seed);
        let mut world = World::default();
        let every = (recorded.trace.len() / MOMENTS).max(1);
        for (i, change) in recorded.trace.iter().enumerate() {
            let at = i + 1;
            world.apply(change);
            if !at.is_multiple_of(every) && !only_one {
                continue;
            }
            for end in [End::Die, End::Cut(random.cut(&world))] {
                let found = end.leaves(&world);
                let mut run = Run::new(self, &recorded, &AFTER_FAULT);
                let (oracle, bounds) = (run.oracle, recorded.bounds(at));
                let past = [Session { plan: None, at, end }];
                let healthy = match oracle.reopen(found.clone(), bounds, 1, at, None) {
                    Ok(reopened) => reopened,
                    Err(_) => continue, // the enumeration without faults reports it
                };
                for plan in plans(&healthy.operations, only) {
                    report.recovery_fault_plans += 1;
                    let place = |at, bounds| Place { past: &past, plan: Some(plan), at, bounds };
                    match oracle.reopen(found.clone(), bounds, 1, at, Some(plan)) {
                        Err(wrong) => run.fail(&wrong, &place(0, bounds), Some(&End::Die)),
                        Ok(reopened) => {
                            let mut world = found.clone();
                            reopened.trace.iter().for_each(|change| world.apply(change));
                            let end = reopened.trace.len();
                            run.after_fault(&place(end, reopened.bounds(end, bounds)), &world);
                        }
                    }
                }
                report.add(run.behind_plan());
                if only_one && !report.cases.is_empty() {
                    return report;
                }
            }
        }
        report
    }
}

impl Run<'_> {
    /// The process dies or the power is cut at this moment.
    fn after_fault(&mut self, place: &Place<'_>, world: &World) {
        self.report.deaths += 1;
        self.next_session(place, world, End::Die);
        let seed = self.script.seed ^ (place.at as u64) << 32;
        for cut in some(power_cuts(world, seed), CUTS) {
            self.first(place, world, End::Cut(cut), |report| &mut report.power_cuts);
        }
    }

    /// The report, with all states counted as states after a fault.
    fn behind_plan(self) -> Report {
        let fault_states = self.report.states();
        let Report { lost_writes, refused, failures, cases, .. } = self.report;
        Report { fault_states, lost_writes, refused, failures, cases, ..Report::default() }
    }
}

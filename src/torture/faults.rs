//! Fault plans: a workload runs again and again, and each time another operation of it fails, with
//! each error, once or for ever; a write or a read is cut short; a sync fails as it does on ext4,
//! XFS or btrfs. The process is told, goes on as long as the store lets it, and then dies or loses
//! power. What was promised, before the fault or after it, has to be there.

use super::workload::live;
use super::{Report, Run, power_cuts};
use crate::disk::sim::{Fault, FaultPlan, Image, SimDisk};
use std::collections::HashSet;

const EINTR: i32 = 4;
const EIO: i32 = 5;
const EMFILE: i32 = 24;
const ENOSPC: i32 = 28;
const EROFS: i32 = 30;
const EDQUOT: i32 = 122;

/// So many power cuts behind each plan.
const CUTS: usize = 12;

/// Each fault, and whether it may last for ever: an interrupted call is repeated, for ever too.
const FAULTS: [(Fault, bool); 10] = [
    (Fault::Errno(EIO), true),
    (Fault::Errno(ENOSPC), true),
    (Fault::Errno(EDQUOT), true),
    (Fault::Errno(EROFS), true),
    (Fault::Errno(EMFILE), true),
    (Fault::Errno(EINTR), false),
    (Fault::Short(1), true),
    (Fault::Short(100), true),
    (Fault::SyncLosesPages, true),
    (Fault::SyncRevertsPages, true),
];

/// Runs every fault plan of the workload that follows from `seed`.
///
/// ```
/// let report = kv_engine::torture::fault_plans(3);
/// assert!(report.fault_plans > 100);
/// assert_eq!((report.lost_writes, report.refused), (0, 0), "{:?}", report.failures);
/// ```
#[must_use]
pub fn fault_plans(seed: u64) -> Report {
    let healthy = SimDisk::new(&Image::new(), seed);
    drop(live(seed, &healthy, |_| {}, |_| {}));
    let mut report = Report::default();
    for at in 0..healthy.operations() {
        for (fault, lasts) in FAULTS {
            for for_ever in [false, true].into_iter().filter(|&for_ever| lasts || !for_ever) {
                report.fault_plans += 1;
                let disk = SimDisk::with_faults(&Image::new(), seed, FaultPlan { at, fault: Some(fault), for_ever });
                let (model, engine) = live(seed, &disk, |_| {}, |_| {});
                let world = disk.world();
                drop(engine);
                let recorded = model.ended();
                let bounds = recorded.bounds(0);
                let mut run = Run { seed, recorded: &recorded, seen: HashSet::new(), report: Report::default() };
                run.survivor(at, &world, bounds);
                for image in power_cuts(&world, seed ^ at as u64).into_iter().take(CUTS) {
                    run.state(at, &image, bounds, |report| &mut report.power_cuts);
                }
                let plan = format!("operation {at}: {fault:?}{}", if for_ever { " for ever" } else { "" });
                run.report.failures.iter_mut().for_each(|line| *line = format!("{plan}: {line}"));
                let Report { lost_writes, refused, ref mut failures, .. } = run.report;
                let failures = std::mem::take(failures);
                let fault_states = run.report.states();
                report.add(Report { fault_states, lost_writes, refused, failures, ..Report::default() });
            }
        }
    }
    report
}

//! Disks that break their promises. On a *lying* disk, a sync reports success and does nothing. Without powersafe
//! overwrite (*no-psow*), a torn write also damages durable bytes in its first sector.
//!
//! No store can keep its promise there. This one promises to notice: it never serves a state that never existed, and
//! either refuses to open or reports that something is wrong.

use super::case::{Case, End, Session};
use super::choices::Random;
use super::enumerate::{Script, hash};
use super::oracle::Oracle;
use super::report::Report;
use super::workload::record;
use crate::disk::sim::{Model, PowerCut, Rest, World};
use std::collections::HashSet;

/// A disk begins to lie this many changes before the crash.
const LIES: [usize; 4] = [2, 6, 20, 60];
/// Random power cuts at each moment.
const CUTS: usize = 8;

/// Runs the workload that follows from `seed` on disks that break their promises, and cuts the power after each
/// change.
///
/// ```
/// let report = kv_engine::torture::weak_disks(1);
/// assert!(report.weak_states > 100 && report.weak_refused > 0);
/// assert_eq!(report.lost_writes, 0, "{:?}", report.failures);
/// ```
#[must_use]
pub fn weak_disks(seed: u64) -> Report {
    Script::whole(seed).weak(false)
}

impl Script {
    pub(super) fn weak(&self, only_one: bool) -> Report {
        let recorded = record(self.seed, &self.steps);
        let oracle = Oracle { workload: self.seed, digests: &recorded.digests };
        let mut report = Report::default();
        let mut seen = HashSet::new();
        let mut random = Random::new(self.seed);
        let mut worlds = vec![World::default()];
        for change in &recorded.trace {
            let mut world = worlds[worlds.len() - 1].clone();
            world.apply(change);
            worlds.push(world);
        }
        for at in 1..worlds.len() {
            let bounds = recorded.bounds(at);
            let lying = LIES.iter().map(|&changes| (Model::Lying, at.saturating_sub(changes)));
            for (model, from) in lying.chain([(Model::NoPsow, 0)]) {
                let mut world = worlds[if model == Model::Lying { from } else { at }].clone();
                world.model = model;
                if model == Model::Lying {
                    recorded.trace[from..at].iter().for_each(|change| world.apply(change));
                }
                let mut cuts =
                    vec![PowerCut::nothing(), PowerCut { fates: Vec::new(), rests: vec![Rest { length: 0, hole: 1 }] }];
                cuts.extend((0..CUTS).map(|_| random.cut(&world)));
                for cut in cuts {
                    let image = world.after_power_cut(&cut);
                    if !seen.insert((hash(&image, bounds), model == Model::Lying)) {
                        continue;
                    }
                    report.weak_states += 1;
                    match oracle.check_weak(World::of(&image), model, bounds) {
                        Ok(refused) => report.weak_refused += u64::from(refused),
                        Err(wrong) => {
                            let sessions = vec![Session { plan: None, at, end: End::Cut(cut) }];
                            let (workload, dropped) = (self.seed, self.dropped.clone());
                            let case = Case { workload, dropped, weak: Some((model, from)), sessions };
                            report.fail(&wrong, &format!("workload {workload}, change {at}"), case);
                            if only_one {
                                return report;
                            }
                        }
                    }
                }
            }
        }
        report
    }
}

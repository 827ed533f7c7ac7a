//! [`Report`]: what an enumeration of crashes tried, and what it found.

use super::case::Case;
use super::oracle::Wrong;
use std::collections::BTreeMap;

/// So many failures are told, at most.
const MOST_FAILURES: usize = 100;

/// What was tried and what was found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Workloads that were run.
    pub workloads: u64,
    /// Writes that were issued in the middle of a checkpoint, a flush or a turn of the flusher.
    pub interleaved: u64,
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
        self.interleaved += other.interleaved;
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

    pub(super) fn fail(&mut self, wrong: &Wrong, place: &str, case: Case) {
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

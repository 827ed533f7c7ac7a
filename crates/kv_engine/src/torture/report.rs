//! [`Report`]: what an enumeration of crashes tried, and what it found.

use super::case::Case;
use super::model::Counts;
use super::oracle::Wrong;
use std::collections::BTreeMap;

/// At most this number of failures is listed.
const MOST_FAILURES: usize = 100;

/// What was tried and what was found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// Workloads run.
    pub workloads: u64,
    /// Writes issued by others in the middle of a checkpoint, a flush or a turn of the flusher.
    pub interleaved: u64,
    /// Submissions that were told.
    pub told: u64,
    /// Submissions that were not taken at first, because the store was full.
    pub full: u64,
    /// Looks at views that were opened before.
    pub viewed: u64,
    /// Changes to the disk after which a crash was tried.
    pub crash_points: u64,
    /// Different states of the disk that were opened after the death of the process.
    pub deaths: u64,
    /// Different states of the disk that were opened after a power cut.
    pub power_cuts: u64,
    /// Different states that were opened after a crash in a second session, in its recovery or later.
    pub second_crashes: u64,
    /// Different states that were opened after a crash in a third session.
    pub third_crashes: u64,
    /// Runs in which an operation failed as planned.
    pub fault_plans: u64,
    /// How many of these runs had the fault in recovery.
    pub recovery_fault_plans: u64,
    /// States that were opened after these runs. Each is counted once per run.
    pub fault_states: u64,
    /// Different states left by disks that lie about a sync, or damage the neighbours of a torn sector.
    pub weak_states: u64,
    /// How many of these states were refused. On these disks that is allowed.
    pub weak_refused: u64,
    /// Cases tried again because they have found a bug before.
    pub regressions: u64,
    /// States that lost a promised write, had a write that was never issued, or had a part of a batch.
    pub lost_writes: u64,
    /// States that did not open, did not open a second time, or did not accept writes.
    pub refused: u64,
    /// How often each change to each file was crashed at: the phase, the kind of change, and the file.
    pub covered: BTreeMap<(&'static str, &'static str, &'static str), u64>,
    /// One line for each failure, at most a hundred. Each line says how to repeat it.
    pub failures: Vec<String>,
    /// The cases of these lines.
    pub cases: Vec<Case>,
}

impl Report {
    /// All different states. Those after fault plans and those of weak disks are counted separately.
    #[must_use]
    pub fn states(&self) -> u64 {
        self.deaths + self.power_cuts + self.second_crashes + self.third_crashes
    }

    /// Adds the result of another run.
    pub fn add(&mut self, other: Report) {
        self.workloads += other.workloads;
        self.interleaved += other.interleaved;
        self.told += other.told;
        self.full += other.full;
        self.viewed += other.viewed;
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

    /// Adds what the workload did besides its steps.
    pub(super) fn count(&mut self, counts: Counts) {
        self.interleaved += counts.interleaved;
        self.told += counts.told;
        self.full += counts.full;
        self.viewed += counts.viewed;
    }

    pub(super) fn fail(&mut self, wrong: &Wrong, place: &str, case: Case) {
        match wrong {
            Wrong::Lost(_) => self.lost_writes += 1,
            Wrong::Refused(_) | Wrong::Unread(_) => self.refused += 1,
        }
        if self.cases.len() < MOST_FAILURES {
            let model = case.weak.map(|(model, _)| model).unwrap_or_default();
            let text = wrong.text();
            self.failures.push(format!("{place} (model {model}): {text}; repeat with: kv_cli torture --case {case}"));
            self.cases.push(case);
        }
    }
}

//! What a run of kills found: how many kills hit which step, and what the files held.

use kv_engine::torture::Tally;

#[derive(Debug, Default)]
pub(in crate::tools) struct Kills {
    pub(in crate::tools) kills: u64,
    /// The process did not have the store yet.
    pub(super) before_opening: u64,
    pub(super) in_recovery: u64,
    pub(super) under_load: u64,
    /// The new snapshot was being written.
    pub(super) snapshot_written: u64,
    /// The new snapshot was in place, and the log was not switched yet.
    pub(super) snapshot_in_place: u64,
    /// The log was switched, and SNAP was not answered yet.
    pub(super) log_switched: u64,
    /// The process was waiting for commands.
    pub(super) idle: u64,
    /// Logs that this process made torn: cut inside a record, or with garbage after the last one.
    pub(super) torn_by_us: u64,
    /// Logs that were found torn after a kill.
    pub(super) found_torn: u64,
    /// States that were left for the next process to recover.
    pub(super) left: u64,
    /// States that this process recovered.
    pub(super) recovered: u64,
    pub(super) answers: u64,
    /// Writes that were sent, and looked for afterwards.
    pub(super) writes: u64,
    pub(super) acknowledged: u64,
    pub(super) promised: u64,
    pub(super) found: u64,
    pub(in crate::tools) lost_writes: u64,
    pub(in crate::tools) failures: Vec<String>,
}

impl Kills {
    pub(super) fn add(&mut self, other: Kills) {
        self.kills += other.kills;
        self.before_opening += other.before_opening;
        self.in_recovery += other.in_recovery;
        self.under_load += other.under_load;
        self.snapshot_written += other.snapshot_written;
        self.snapshot_in_place += other.snapshot_in_place;
        self.log_switched += other.log_switched;
        self.idle += other.idle;
        self.torn_by_us += other.torn_by_us;
        self.found_torn += other.found_torn;
        self.left += other.left;
        self.recovered += other.recovered;
        self.answers += other.answers;
        self.writes += other.writes;
        self.acknowledged += other.acknowledged;
        self.promised += other.promised;
        self.found += other.found;
        self.lost_writes += other.lost_writes;
        self.failures.extend(other.failures);
    }

    /// For the table and for JSON. A name that begins with blanks is a part of the figure before it.
    pub(in crate::tools) fn tally(&self) -> Tally {
        let mut tally = Tally::default();
        tally.tried = self.kills;
        tally.failed = self.failures.len() as u64;
        tally.figures = self.figures().to_vec();
        tally.failures.clone_from(&self.failures);
        tally
    }

    fn figures(&self) -> [(&'static str, u64); 19] {
        [
            ("kills", self.kills),
            ("under load", self.under_load),
            ("in recovery", self.in_recovery),
            ("in SNAP", self.snapshot_written + self.snapshot_in_place + self.log_switched),
            ("  while the snapshot was written", self.snapshot_written),
            ("  before the log was switched", self.snapshot_in_place),
            ("  before SNAP was answered", self.log_switched),
            ("before opening", self.before_opening),
            ("idle", self.idle),
            ("logs torn by us", self.torn_by_us),
            ("logs found torn", self.found_torn),
            ("left for the next process to recover", self.left),
            ("recovered here", self.recovered),
            ("answers read", self.answers),
            ("writes checked", self.writes),
            ("acknowledged", self.acknowledged),
            ("promised durable", self.promised),
            ("found", self.found),
            ("lost writes", self.lost_writes),
        ]
    }
}

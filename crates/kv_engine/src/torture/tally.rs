//! [`Tally`]: what a rung tried and what it found, under names.

/// What was tried and what was found.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Cases that were really run.
    pub tried: u64,
    /// Those that were wrong, in any way.
    pub failed: u64,
    /// What they were and what came of them. The same names in the same order for each run of a rung.
    pub figures: Vec<(&'static str, u64)>,
    /// One line for each failure, at most a hundred; each repeats it.
    pub failures: Vec<String>,
}

impl Tally {
    /// Adds what another run of the same rung found.
    pub fn add(&mut self, other: Tally) {
        self.tried += other.tried;
        self.failed += other.failed;
        if self.figures.is_empty() {
            self.figures = other.figures;
        } else {
            self.figures.iter_mut().zip(other.figures).for_each(|((_, sum), (_, more))| *sum += more);
        }
        self.failures.extend(other.failures);
        self.failures.truncate(MOST_LINES);
    }

    /// Of rot: how many bits were flipped in the last synced group of a store that was idle when it was killed, and how many
    /// of those were told from a torn write. `None` where none was flipped.
    #[must_use]
    pub fn told_of_idle(&self) -> Option<(u64, u64)> {
        let of = |name| self.figures.iter().find(|(named, _)| *named == name).map(|(_, count)| *count);
        let [tried, told] = IDLE;
        of(tried).filter(|&tried| tried > 0).zip(of(told))
    }

    pub(super) fn fail(&mut self, line: String) {
        self.failed += 1;
        if self.failures.len() < MOST_LINES {
            self.failures.push(line);
        }
    }
}

/// Of single bits in the last synced group of a store that was idle when it was killed: how many were flipped, and how many
/// of those were told from a torn write.
pub(super) const IDLE: [&str; 2] = ["bits flipped in the last synced group of an idle store", "of these told from a torn write"];

const MOST_LINES: usize = 100;

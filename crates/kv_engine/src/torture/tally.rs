//! [`Tally`]: what a test tried and what it found, as named counts.

/// Named counts of the cases and their outcomes.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Tally {
    /// Cases that were run.
    pub tried: u64,
    /// Cases that failed.
    pub failed: u64,
    /// Counts of the cases and of their outcomes, by name. Every run of a test has the same names in the same order.
    pub figures: Vec<(&'static str, u64)>,
    /// One line for each failure, at most a hundred. Each line says how to repeat it.
    pub failures: Vec<String>,
}

impl Tally {
    /// Adds the result of another run of the same test.
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

    /// For [`rot`](super::rot()): how many bits were flipped in the last synced group of stores that were idle when
    /// they were killed, and how many of these were distinguished from a torn write. `None` if none was flipped.
    #[must_use]
    pub fn idle_bits(&self) -> Option<(u64, u64)> {
        let of = |name| self.figures.iter().find(|(named, _)| *named == name).map(|(_, count)| *count);
        let [flipped, detected] = IDLE;
        of(flipped).filter(|&flipped| flipped > 0).zip(of(detected))
    }

    pub(super) fn fail(&mut self, line: String) {
        self.failed += 1;
        if self.failures.len() < MOST_LINES {
            self.failures.push(line);
        }
    }
}

/// The names of the two counts in [`Tally::idle_bits`].
pub(super) const IDLE: [&str; 2] = ["bits flipped in the last synced group of an idle store", "of these told from a torn write"];

const MOST_LINES: usize = 100;

//! [`Missing`]: the writes that no file holds, though the numbers of others show that they were made; and [`Few`], which
//! keeps the notes on a file few, however many things are wrong with it.

use crate::Seq;
use std::ops::RangeInclusive;

/// So many gaps are kept one by one; the writes of the others are counted.
const GAPS: usize = 16;
/// So many notes of one kind are kept.
const NOTES: u64 = 8;

#[derive(Debug, Default)]
pub(super) struct Missing {
    /// Up to here every write was read or is in a gap.
    upto: Seq,
    pub(super) gaps: Vec<RangeInclusive<Seq>>,
    pub(super) count: u64,
}

impl Missing {
    /// Nothing yet; all writes up to `upto` are held.
    pub(super) fn behind(upto: Seq) -> Missing {
        Missing { upto, ..Missing::default() }
    }

    /// Write `seq` was read.
    pub(super) fn read(&mut self, seq: Seq) {
        self.made(seq.saturating_sub(1));
        self.upto = self.upto.max(seq);
    }

    /// The writes up to `seq` were made.
    pub(super) fn made(&mut self, seq: Seq) {
        if seq <= self.upto {
            return;
        }
        let first = self.upto + 1;
        self.count += seq - self.upto;
        self.upto = seq;
        if let Some(gap) = self.gaps.last_mut().filter(|gap| gap.end() + 1 == first) {
            *gap = *gap.start()..=seq;
        } else if self.gaps.len() < GAPS {
            self.gaps.push(first..=seq);
        }
    }

    /// A sentence on them.
    pub(super) fn note(&self) -> Option<String> {
        let told: u64 = self.gaps.iter().map(|gap| gap.end() - gap.start() + 1).sum();
        let gap = |gap: &RangeInclusive<Seq>| match gap.end() - gap.start() {
            0 => gap.start().to_string(),
            _ => format!("{} to {}", gap.start(), gap.end()),
        };
        let gaps: Vec<String> = self.gaps.iter().map(gap).collect();
        let more = if told < self.count { format!(", and {} more", self.count - told) } else { String::new() };
        let gaps = gaps.join(", ");
        match self.count {
            0 => None,
            1 => Some(format!("write {gaps} is missing: no file that was read holds it")),
            _ => Some(format!("writes {gaps}{more} are missing: no file that was read holds them")),
        }
    }
}

/// Counts notes of one kind.
#[derive(Debug, Default)]
pub(super) struct Few(u64);

impl Few {
    /// Adds a note, or only counts it.
    pub(super) fn add(&mut self, notes: &mut Vec<String>, note: impl FnOnce() -> String) {
        self.0 += 1;
        if self.0 <= NOTES {
            notes.push(note());
        }
    }

    /// Says how many were only counted.
    pub(super) fn end(&self, notes: &mut Vec<String>, what: &str) {
        if self.0 > NOTES {
            notes.push(format!("{what}: {} more like the last one", self.0 - NOTES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_told_in_ranges() {
        let note = |missing: &Missing| missing.note().unwrap_or_default();
        let mut missing = Missing::behind(3);
        missing.read(2);
        missing.read(4);
        assert_eq!(note(&missing), "");
        missing.read(6);
        assert_eq!(note(&missing), "write 5 is missing: no file that was read holds it");
        missing.read(10);
        missing.made(12);
        missing.made(14);
        missing.made(13);
        assert_eq!(note(&missing), "writes 5, 7 to 9, 11 to 14 are missing: no file that was read holds them");
        assert_eq!(missing.count, 8);
    }

    #[test]
    fn gaps_and_notes_without_end_cost_no_memory() {
        let mut missing = Missing::default();
        (1..=1000).for_each(|n| missing.read(2 * n));
        assert_eq!((missing.gaps.len(), missing.count), (GAPS, 1000));
        assert!(missing.note().is_some_and(|note| note.contains(", 31, and 984 more are missing")));
        let (mut notes, mut few) = (Vec::new(), Few::default());
        (0..1000).for_each(|n| few.add(&mut notes, || format!("note {n}")));
        few.end(&mut notes, "log");
        assert_eq!((notes.len(), notes[8].as_str()), (9, "log: 992 more like the last one"));
    }
}

//! [`MissingWrites`]: the writes that no file holds, although the sequence numbers of others show that they were made.
//! And [`NoteLimit`], which limits the number of notes about a file.

use crate::Seq;
use std::ops::RangeInclusive;

/// The number of gaps that are kept one by one. The writes of further gaps are only counted.
const GAPS: usize = 16;
/// The number of notes of one kind that are kept.
const NOTES: u64 = 8;

#[derive(Debug, Default)]
pub(super) struct MissingWrites {
    /// Every write up to this one was read or is in a gap.
    known_to: Seq,
    pub(super) gaps: Vec<RangeInclusive<Seq>>,
    pub(super) count: u64,
}

impl MissingWrites {
    /// No gap yet. The files hold all writes up to `known_to`.
    pub(super) fn after(known_to: Seq) -> MissingWrites {
        MissingWrites { known_to, ..MissingWrites::default() }
    }

    /// Write `seq` was read.
    pub(super) fn read(&mut self, seq: Seq) {
        self.made(seq.saturating_sub(1));
        self.known_to = self.known_to.max(seq);
    }

    /// Some file shows that the writes up to `seq` were made.
    pub(super) fn made(&mut self, seq: Seq) {
        if seq <= self.known_to {
            return;
        }
        let first = self.known_to + 1;
        self.count += seq - self.known_to;
        self.known_to = seq;
        if let Some(gap) = self.gaps.last_mut().filter(|gap| gap.end() + 1 == first) {
            *gap = *gap.start()..=seq;
        } else if self.gaps.len() < GAPS {
            self.gaps.push(first..=seq);
        }
    }

    /// A sentence about the missing writes.
    pub(super) fn note(&self) -> Option<String> {
        let listed: u64 = self.gaps.iter().map(|gap| gap.end() - gap.start() + 1).sum();
        let gap = |gap: &RangeInclusive<Seq>| match gap.end() - gap.start() {
            0 => gap.start().to_string(),
            _ => format!("{} to {}", gap.start(), gap.end()),
        };
        let gaps: Vec<String> = self.gaps.iter().map(gap).collect();
        let more = if listed < self.count { format!(", and {} more", self.count - listed) } else { String::new() };
        let gaps = gaps.join(", ");
        match self.count {
            0 => None,
            1 => Some(format!("write {gaps} is missing from the files that were read")),
            _ => Some(format!("writes {gaps}{more} are missing from the files that were read")),
        }
    }
}

/// Counts notes of one kind, and keeps the first ones.
#[derive(Debug, Default)]
pub(super) struct NoteLimit(u64);

impl NoteLimit {
    /// Adds a note, or only counts it.
    pub(super) fn add(&mut self, notes: &mut Vec<String>, note: impl FnOnce() -> String) {
        self.0 += 1;
        if self.0 <= NOTES {
            notes.push(note());
        }
    }

    /// Adds the number of notes that were only counted.
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
    fn missing_writes_are_reported_in_ranges() {
        let note = |missing: &MissingWrites| missing.note().unwrap_or_default();
        let mut missing = MissingWrites::after(3);
        missing.read(2);
        missing.read(4);
        assert_eq!(note(&missing), "");
        missing.read(6);
        assert_eq!(note(&missing), "write 5 is missing from the files that were read");
        missing.read(10);
        missing.made(12);
        missing.made(14);
        missing.made(13);
        assert_eq!(note(&missing), "writes 5, 7 to 9, 11 to 14 are missing from the files that were read");
        assert_eq!(missing.count, 8);
    }

    #[test]
    fn many_gaps_and_notes_need_no_more_memory() {
        let mut missing = MissingWrites::default();
        (1..=1000).for_each(|n| missing.read(2 * n));
        assert_eq!((missing.gaps.len(), missing.count), (GAPS, 1000));
        assert!(missing.note().is_some_and(|note| note.contains(", 31, and 984 more are missing")));
        let (mut notes, mut limit) = (Vec::new(), NoteLimit::default());
        (0..1000).for_each(|n| limit.add(&mut notes, || format!("note {n}")));
        limit.end(&mut notes, "log");
        assert_eq!((notes.len(), notes[8].as_str()), (9, "log: 992 more like the last one"));
    }
}

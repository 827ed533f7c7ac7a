//! What a power cut keeps: one subset of the pieces, or chance.

use crate::disk::sim::{Choices, Fate};

/// Keeps the pieces that a predicate names, in the order in which they are asked for.
pub(super) struct Subset<'a> {
    kept: &'a dyn Fn(usize) -> bool,
    next: usize,
    /// Which of the possible lengths a file gets, from the last back.
    length: usize,
}

impl<'a> Subset<'a> {
    pub(super) fn new(kept: &'a dyn Fn(usize) -> bool, length: usize) -> Subset<'a> {
        Subset { kept, next: 0, length }
    }
}

impl Choices for Subset<'_> {
    fn fate(&mut self) -> Fate {
        self.next += 1;
        if (self.kept)(self.next - 1) { Fate::Kept } else { Fate::Lost }
    }

    fn pick(&mut self, count: usize) -> usize {
        self.length.min(count - 1)
    }

    fn garbage(&mut self) -> u8 {
        0
    }
}

/// Numbers that look random and follow from a seed (xorshift64*, Vigna 2016).
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let high = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        usize::try_from(high).expect("32 bits") % limit
    }
}

impl Choices for Random {
    fn fate(&mut self) -> Fate {
        match self.below(8) {
            0..=3 => Fate::Kept,
            4 | 5 => Fate::Lost,
            6 => Fate::Torn,
            _ => Fate::Garbage,
        }
    }

    fn pick(&mut self, count: usize) -> usize {
        self.below(count)
    }

    fn garbage(&mut self) -> u8 {
        u8::try_from(self.below(256)).expect("a byte")
    }
}

//! The choice of power cuts that are tried at one moment, and the random numbers that it needs.

use crate::disk::sim::{Fate, PowerCut, Rest, World};

/// Up to this number of units, every combination is tried.
const ALL_SUBSETS_OF: usize = 6;
/// Of more units, this number is tried missing, alone, and as the end of a prefix.
const SINGLED_OUT: usize = 48;
/// Random power cuts for each change that leaves unsynced units.
const RANDOM_CUTS: usize = 24;

/// Pseudorandom numbers that follow from a seed (xorshift64*, Vigna 2016).
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

    fn small(&mut self, limit: usize) -> u16 {
        u16::try_from(self.below(limit)).expect("a small number")
    }

    /// A power cut in which each unit has a random fate.
    pub(super) fn cut(&mut self, world: &World) -> PowerCut {
        let gone = world.gone_files();
        let fates = (0..world.units()).map(|_| match self.below(8) {
            0..=3 => Fate::Kept,
            4 | 5 => Fate::Lost,
            6 => Fate::Torn(self.small(512)),
            _ if gone > 0 && self.below(2) == 0 => Fate::Stale(self.small(gone)),
            _ => Fate::Garbage(self.small(512)),
        });
        let fates = fates.collect();
        let rest = |random: &mut Random| Rest { length: random.small(8), hole: random.small(gone + 1) };
        PowerCut { fates, rests: vec![rest(self), rest(self), rest(self)] }
    }
}

/// The power cuts to try. If there are few units: every combination. Otherwise: none kept, all kept, each one missing,
/// each one alone, and each prefix. In both cases also random ones with torn, garbage and stale sectors.
pub(super) fn power_cuts(world: &World, seed: u64) -> Vec<PowerCut> {
    let units = world.units();
    let mut cuts = Vec::new();
    let last = |hole| Rest { length: 0, hole };
    let rests = [last(0), Rest { length: 1, hole: 0 }, last(1)];
    let rests = if world.gone_files() > 0 { &rests[..] } else { &rests[..2] };
    let mut subset = |kept: &dyn Fn(usize) -> bool| cuts.extend(rests.iter().map(|rest| PowerCut::subset(units, *rest, kept)));
    if units <= ALL_SUBSETS_OF {
        (0..1_u64 << units).for_each(|mask| subset(&|unit| mask >> unit & 1 == 1));
    } else {
        subset(&|_| false);
        subset(&|_| true);
        for one in (0..units).step_by(units.div_ceil(SINGLED_OUT)) {
            subset(&|unit| unit != one);
            subset(&|unit| unit == one);
            subset(&|unit| unit < one);
        }
    }
    if units > 0 {
        let mut random = Random::new(seed);
        cuts.extend((0..RANDOM_CUTS).map(|_| random.cut(world)));
    }
    cuts
}

/// At most this number of the power cuts, spread evenly over all of them.
pub(super) fn some(cuts: Vec<PowerCut>, most: usize) -> impl Iterator<Item = PowerCut> {
    let step = cuts.len().div_ceil(most).max(1);
    cuts.into_iter().step_by(step)
}

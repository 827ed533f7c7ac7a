//! [`PowerCut`]: what one power cut keeps. It can be printed, parsed and repeated.

use std::fmt;
use std::str::FromStr;

/// What happens to one unit of unsynced change: a piece of a sector, a length, or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on the disk.
    Kept,
    /// It is not on the disk.
    Lost,
    /// Its first bytes are on the disk: this number, modulo the unit's length.
    Torn(u16),
    /// From this byte on (modulo the unit's length) the disk has garbage.
    Garbage(u16),
    /// The disk shows stale bytes at this place, from a file that is gone. Files are counted from the one that went
    /// last.
    Stale(u16),
}

/// What happens to the length and the holes of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Which of the lengths since the last sync the file has, counted back from the last one. Larger numbers mean the
    /// first.
    pub length: u16,
    /// What shows where nothing was written. 0: zeros. Otherwise the bytes of the gone file with this number, counted
    /// from the one that went last.
    pub hole: u16,
}

/// What a power cut keeps: a fate for each unit, in the order of [`World::unit_names`](super::World::unit_names), and
/// the length and holes of each file. Units that are not listed are lost. Files that are not listed are treated like
/// the last one that is.
///
/// As text, for example `K3L1T17/0+1`: three units are kept, one is lost, and one is torn after 17 bytes. The file has
/// its last length, and the file that went last shows in its holes.
///
/// ```
/// use kv_engine::disk::sim::PowerCut;
///
/// let cut: PowerCut = "K3L1T17/0+1".parse()?;
/// assert_eq!(cut.fates.len(), 5);
/// assert_eq!(cut.to_string(), "K3L1T17/0+1");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PowerCut {
    /// For each unit.
    pub fates: Vec<Fate>,
    /// For each file that has unsynced changes.
    pub rests: Vec<Rest>,
}

impl PowerCut {
    /// Keeps only synced changes.
    #[must_use]
    pub fn nothing() -> PowerCut {
        PowerCut { fates: Vec::new(), rests: vec![Rest { length: u16::MAX, hole: 0 }] }
    }

    /// Keeps the units for which `kept` is true.
    pub(crate) fn subset(units: usize, rest: Rest, kept: impl Fn(usize) -> bool) -> PowerCut {
        let fate = |unit| if kept(unit) { Fate::Kept } else { Fate::Lost };
        PowerCut { fates: (0..units).map(fate).collect(), rests: vec![rest] }
    }

    pub(super) fn fate(&self, unit: usize) -> Fate {
        self.fates.get(unit).copied().unwrap_or(Fate::Lost)
    }

    pub(super) fn rest(&self, file: usize) -> Rest {
        self.rests.get(file).or(self.rests.last()).copied().unwrap_or_default()
    }
}

impl fmt::Display for PowerCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in self.fates.chunk_by(|a, b| a == b && matches!(a, Fate::Kept | Fate::Lost)) {
            match run[0] {
                Fate::Kept => write!(f, "K{}", run.len())?,
                Fate::Lost => write!(f, "L{}", run.len())?,
                Fate::Torn(at) => write!(f, "T{at}")?,
                Fate::Garbage(at) => write!(f, "G{at}")?,
                Fate::Stale(file) => write!(f, "S{file}")?,
            }
        }
        for (n, rest) in self.rests.iter().enumerate() {
            write!(f, "{}{}+{}", if n == 0 { '/' } else { ',' }, rest.length, rest.hole)?;
        }
        Ok(())
    }
}

impl FromStr for PowerCut {
    type Err = String;

    fn from_str(text: &str) -> Result<PowerCut, String> {
        let (fates, rests) = text.split_once('/').unwrap_or((text, ""));
        let number = |digits: &str| {
            digits.parse::<u16>().map_err(|_| format!("{digits:?} in the power cut {text:?} is not a number from 0 to 65535"))
        };
        let mut cut = PowerCut::default();
        let mut left = fates;
        while let Some(letter) = left.chars().next() {
            let digits = &left[letter.len_utf8()..];
            let end = digits.find(|c: char| !c.is_ascii_digit()).unwrap_or(digits.len());
            let n = number(&digits[..end])?;
            let (count, fate) = match letter {
                'K' => (n, Fate::Kept),
                'L' => (n, Fate::Lost),
                'T' => (1, Fate::Torn(n)),
                'G' => (1, Fate::Garbage(n)),
                'S' => (1, Fate::Stale(n)),
                _ => return Err(format!("{letter:?} in the power cut {text:?} is not one of K, L, T, G, S")),
            };
            cut.fates.extend((0..count).map(|_| fate));
            left = &digits[end..];
        }
        for rest in rests.split(',').filter(|rest| !rest.is_empty()) {
            let (length, hole) = rest
                .split_once('+')
                .ok_or_else(|| format!("{rest:?} in the power cut {text:?} is not LENGTH+HOLE, for example 0+1"))?;
            cut.rests.push(Rest { length: number(length)?, hole: number(hole)? });
        }
        Ok(cut)
    }
}

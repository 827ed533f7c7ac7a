//! [`Cut`]: what one power cut keeps, written down, so that it can be printed, read and repeated.

use std::fmt;
use std::str::FromStr;

/// What becomes of one unit of unsynced change: a piece of a sector, a length, a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is on the disk.
    Kept,
    /// It is not.
    Lost,
    /// Of its bytes, so many modulo their number are.
    Torn(u16),
    /// From so many bytes on, modulo their number, something is there that nobody wrote.
    Garbage(u16),
    /// In the place of its bytes stands what a file that is gone, counted from the last one, had there.
    Stale(u16),
}

/// What becomes of the rest of a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rest {
    /// Which of the lengths it has had since the last sync, from the last one back; at most the first.
    pub length: u16,
    /// What stands where nothing was written: 0 for zeros, else the bytes of the file that is gone with
    /// this number, counted from the last one.
    pub hole: u16,
}

/// What a power cut keeps: a fate for each unit in the order of [`World::unit_names`](super::World::unit_names),
/// and the rest of each file. Units that are not named are lost; files that are not named are as the last
/// one that is. In writing, `K3L1T17/0+1`: three units kept, one lost, one torn after 17 bytes; the last
/// length, and holes are filled by the file that went last.
///
/// ```
/// use kv_engine::disk::sim::Cut;
///
/// let cut: Cut = "K3L1T17/0+1".parse()?;
/// assert_eq!(cut.fates.len(), 5);
/// assert_eq!(cut.to_string(), "K3L1T17/0+1");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// Of each unit.
    pub fates: Vec<Fate>,
    /// Of each file that has unsynced changes.
    pub rests: Vec<Rest>,
}

impl Cut {
    /// Keeps nothing that was not synced.
    #[must_use]
    pub fn nothing() -> Cut {
        Cut { fates: Vec::new(), rests: vec![Rest { length: u16::MAX, hole: 0 }] }
    }

    /// Keeps the units for which `kept` is true.
    pub(crate) fn subset(units: usize, rest: Rest, kept: impl Fn(usize) -> bool) -> Cut {
        let fate = |unit| if kept(unit) { Fate::Kept } else { Fate::Lost };
        Cut { fates: (0..units).map(fate).collect(), rests: vec![rest] }
    }

    pub(super) fn fate(&self, unit: usize) -> Fate {
        self.fates.get(unit).copied().unwrap_or(Fate::Lost)
    }

    pub(super) fn rest(&self, file: usize) -> Rest {
        self.rests.get(file).or(self.rests.last()).copied().unwrap_or_default()
    }
}

impl fmt::Display for Cut {
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

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Cut, String> {
        let (fates, rests) = text.split_once('/').unwrap_or((text, ""));
        let number = |digits: &str| digits.parse::<u16>().map_err(|e| format!("{digits:?} in the cut {text:?}: {e}"));
        let mut cut = Cut::default();
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
                _ => return Err(format!("{letter:?} in the cut {text:?} is none of K, L, T, G, S")),
            };
            cut.fates.extend((0..count).map(|_| fate));
            left = &digits[end..];
        }
        for rest in rests.split(',').filter(|rest| !rest.is_empty()) {
            let (length, hole) =
                rest.split_once('+').ok_or_else(|| format!("{rest:?} in the cut {text:?} is not LENGTH+HOLE"))?;
            cut.rests.push(Rest { length: number(length)?, hole: number(hole)? });
        }
        Ok(cut)
    }
}

//! [`WordArray`]: memory that readers may read while the writer changes it.
//!
//! An array of 64-bit atomic words. A reader that reads during a write may see some old and some new words, but nothing
//! worse. The shard's sequence lock tells the reader that this happened. The array grows without moving: in pieces,
//! each as long as all pieces before it together. No piece is freed before the array is. The system allocates a piece
//! page by page, when it is first written.

use std::sync::OnceLock;
pub(super) use std::sync::atomic::AtomicU64 as Word;

/// Pieces besides the first one. With a first one of eight words this is enough for the longest array.
const PIECES: usize = 30;
/// In words.
pub(super) const CACHE_LINE: usize = 8;

/// The first piece has `1 << FIRST` words.
#[derive(Debug, Default)]
pub(super) struct WordArray<const FIRST: u32> {
    first: OnceLock<Piece>,
    /// Made when a second piece is needed. A map has many of these arrays, and in a small map many are almost empty.
    others: OnceLock<Box<[OnceLock<Piece>; PIECES]>>,
}

#[derive(Debug)]
struct Piece {
    words: Box<[Word]>,
    /// Words before the first one that begins a cache line.
    skip: usize,
}

impl<const FIRST: u32> WordArray<FIRST> {
    /// The words from `at` to the end of its piece. `None`: the array is not that long.
    #[inline]
    pub(super) fn from(&self, at: usize) -> Option<&[Word]> {
        let (number, offset) = Self::locate(at);
        let piece = match number {
            0 => self.first.get()?,
            _ => self.others.get()?.get(number - 1)?.get()?,
        };
        piece.words.get(piece.skip + offset..)
    }

    /// Makes the array long enough for a word at `at`. New words are zero. `false`: no array can be that long.
    pub(super) fn reach(&self, at: usize) -> bool {
        let (number, _) = Self::locate(at);
        let piece = match number {
            0 => Some(&self.first),
            _ => self.others.get_or_init(Box::default).get(number - 1),
        };
        let Some(piece) = piece else { return false };
        piece.get_or_init(|| {
            let len = 1 << (FIRST as usize + number.saturating_sub(1));
            let words = bytemuck::zeroed_slice_box::<Word>(len + CACHE_LINE - 1);
            let skip = words.as_ptr().align_offset(CACHE_LINE * size_of::<Word>()).min(CACHE_LINE - 1);
            Piece { words, skip }
        });
        true
    }

    /// The number of the piece, and the offset in it.
    #[inline]
    fn locate(at: usize) -> (usize, usize) {
        match at >> FIRST {
            0 => (0, at),
            rest => {
                let power = rest.ilog2();
                (power as usize + 1, at - (1 << (FIRST + power)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering::Relaxed;

    #[test]
    fn every_word_has_its_own_memory_and_begins_as_zero() {
        let words = WordArray::<3>::default();
        assert!(words.from(0).is_none());
        for at in 0..1000 {
            assert!(words.reach(at));
            let word = &words.from(at).expect("reached")[0];
            assert_eq!(word.load(Relaxed), 0);
            word.store(at as u64 + 1, Relaxed);
        }
        for at in 0..1000 {
            assert_eq!(words.from(at).expect("reached")[0].load(Relaxed), at as u64 + 1);
        }
        assert!(!words.reach(usize::MAX));
    }

    #[test]
    fn the_eighth_word_begins_a_cache_line() {
        let words = WordArray::<3>::default();
        for at in (0..1000).step_by(CACHE_LINE) {
            words.reach(at);
            let line = words.from(at).expect("reached");
            assert_eq!(line.as_ptr().addr() % 64, 0);
        }
    }
}

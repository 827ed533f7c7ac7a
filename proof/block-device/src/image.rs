//! What a power cut leaves of a recorded disk: everything before the last completed flush, and none, all or some
//! sectors of the later writes.

use crate::blocks::Blocks;
use crate::device::Event;
use crate::filesystem::{FileSystem, SUPERBLOCK_BYTES};
use fastrand::Rng;

/// A disk writes this many bytes as a whole or not at all.
const SECTOR_BYTES: u64 = 512;

/// One power cut: its place, and which unflushed writes it keeps.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    /// The first event that did not happen.
    pub(crate) before: usize,
    pub(crate) kept: Kept,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Kept {
    Nothing,
    Everything,
    /// A random choice that follows from this seed.
    Part(u64),
}

/// At most `most` power cuts, in the order of the events, drawn from all: before each write, and in more ways before
/// each flush, where most is unflushed and most is promised.
pub(crate) fn cuts(events: &[Event], most: usize, rng: &mut Rng) -> Vec<Cut> {
    let mut cuts = Vec::new();
    let mut unflushed = false;
    let end = [Event::Flush];
    for (before, event) in events.iter().chain(&end).enumerate() {
        let mut cut = |kept| cuts.push(Cut { before, kept });
        match event {
            Event::Write { .. } if unflushed => {
                cut(Kept::Everything);
                cut(Kept::Part(rng.u64(..)));
            }
            Event::Flush if unflushed => {
                cut(Kept::Nothing);
                cut(Kept::Everything);
                cut(Kept::Part(rng.u64(..)));
                cut(Kept::Part(rng.u64(..)));
            }
            Event::Write { .. } | Event::Flush => cut(Kept::Nothing),
            Event::Issued(_) | Event::Promised(_) => {}
        }
        match event {
            Event::Write { .. } => unflushed = true,
            Event::Flush => unflushed = false,
            Event::Issued(_) | Event::Promised(_) => {}
        }
    }
    rng.shuffle(&mut cuts);
    cuts.truncate(most);
    cuts.sort_by_key(|cut| cut.before);
    cuts
}

/// Walks along the events.
pub(crate) struct Replay<'a> {
    events: &'a [Event],
    at: usize,
    flushed: Blocks,
    unflushed: Vec<(u64, &'a [u8])>,
    pub(crate) issued: u64,
    pub(crate) promised: u64,
}

impl<'a> Replay<'a> {
    pub(crate) fn new(before: Blocks, events: &'a [Event]) -> Replay<'a> {
        Replay { events, at: 0, flushed: before, unflushed: Vec::new(), issued: 0, promised: 0 }
    }

    pub(crate) fn advance(&mut self, to: usize) {
        for event in &self.events[self.at..to] {
            match event {
                Event::Write { offset, bytes } => self.unflushed.push((*offset, bytes)),
                Event::Flush => self.unflushed.drain(..).for_each(|(offset, bytes)| self.flushed.write(offset, bytes)),
                Event::Issued(number) => self.issued = *number,
                Event::Promised(number) => self.promised = *number,
            }
        }
        self.at = to;
    }

    /// The disk after a power cut at this place.
    pub(crate) fn image(&self, kept: Kept, fs: FileSystem) -> Blocks {
        let mut image = self.flushed.clone();
        match kept {
            Kept::Nothing => {}
            Kept::Everything => self.unflushed.iter().for_each(|(offset, bytes)| image.write(*offset, bytes)),
            Kept::Part(seed) => self.keep_part(&mut image, fs, &mut Rng::with_seed(seed)),
        }
        image
    }

    /// Keeps single sectors, or whole writes, or a first part whose last write is torn.
    fn keep_part(&self, image: &mut Blocks, fs: FileSystem, rng: &mut Rng) {
        let style = rng.u8(..3);
        let share = rng.f64();
        let sectors: usize = self.unflushed.iter().map(|(offset, bytes)| atoms(*offset, bytes, fs).count()).sum();
        let mut left = rng.usize(..=sectors);
        for (offset, bytes) in &self.unflushed {
            let whole = rng.f64() < share;
            for (at, atom) in atoms(*offset, bytes, fs) {
                let keep = match style {
                    0 => rng.f64() < share,
                    1 => whole,
                    _ => left > 0,
                };
                left = left.saturating_sub(1);
                if keep {
                    image.write(at, atom);
                }
            }
        }
    }
}

/// The unit of a write that is on the disk as a whole or not at all: a sector, or the superblock of the file system.
fn atoms(mut offset: u64, mut bytes: &[u8], fs: FileSystem) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let in_superblock = fs.superblocks().contains(&(offset / SUPERBLOCK_BYTES));
        let unit = if in_superblock { SUPERBLOCK_BYTES } else { SECTOR_BYTES };
        let left = usize::try_from(unit - offset % unit).expect("a sector fits memory");
        let (atom, rest) = bytes.split_at(left.min(bytes.len()));
        let at = offset;
        (offset, bytes) = (at + atom.len() as u64, rest);
        (!atom.is_empty()).then_some((at, atom))
    })
}

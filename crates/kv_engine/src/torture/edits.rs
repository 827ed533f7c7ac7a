//! [`Edit`]: one way to damage a file, and the numbering of all of them.

use super::known_log::{KnownLog, Record};
use super::store::SECTOR_BYTES;
use crate::record::{self, Kind, le32};
use crate::snapshot;
use std::ops::Range;

/// A file to damage.
pub(super) struct Target {
    pub(super) name: &'static str,
    pub(super) log: KnownLog,
    pub(super) is_snapshot: bool,
    /// Whether it is also opened with its values on the disk.
    pub(super) is_indexed: bool,
    /// From this offset on, no later record proves that something was synced.
    pub(super) unwitnessed_from: usize,
    /// The bytes of the last synced group, if the store was idle when it was killed.
    pub(super) idle_group: Range<usize>,
    /// Where each record begins and ends.
    records: Vec<(usize, usize)>,
    /// The file whose sectors may be written into this one by mistake.
    other: Vec<u8>,
    /// The number of edits of each sort.
    counts: [usize; 11],
}

/// One way to damage a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    Bit(usize),
    Byte(usize, u8),
    SectorZeroed(usize),
    SectorCopied {
        from: usize,
        to: usize,
    },
    SectorsSwapped(usize, usize),
    /// A sector of the other file is written into this file.
    SectorMisplaced {
        from: usize,
        to: usize,
    },
    RecordRemoved(usize),
    RecordDoubled(usize),
    RecordsSwapped(usize, usize),
    CutTo(usize),
    TwoBits(usize, usize),
}

impl Target {
    /// `cuts`: whether the log is also cut to every length. For a log that was not closed, that is what a crash does.
    pub(super) fn log(name: &'static str, log: KnownLog, other: Vec<u8>, cuts: bool) -> Target {
        let records: Vec<_> = log.records.iter().map(|record| (record.start, record.end)).collect();
        let (unwitnessed_from, idle_group) = (log.unwitnessed_from(), log.idle_group());
        let counts = counts(log.bytes.len(), records.len(), other.len(), cuts);
        Target { name, log, is_snapshot: false, is_indexed: false, unwitnessed_from, idle_group, records, other, counts }
    }

    pub(super) fn snapshot(name: &'static str, log: KnownLog, other: Vec<u8>) -> Target {
        let bytes = log.snapshot.as_deref().expect("the store took a snapshot");
        let mut records = Vec::new();
        let mut start = snapshot::HEADER_BYTES;
        while start < bytes.len() {
            let end = start + record::HEADER_BYTES + le32(bytes, start + 4) as usize;
            records.push((start, end));
            start = end;
        }
        let counts = counts(bytes.len(), records.len(), other.len(), true);
        let is_indexed = records.len() > 1 && bytes[8] == 2;
        let (unwitnessed_from, idle_group) = (bytes.len(), 0..0);
        Target { name, is_snapshot: true, is_indexed, unwitnessed_from, idle_group, records, other, counts, log }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        if self.is_snapshot { self.log.snapshot.as_deref().expect("the store took a snapshot") } else { &self.log.bytes }
    }

    /// The single damage with this number. If there are fewer: by how much the number exceeds them.
    pub(super) fn single(&self, number: u64) -> Result<Edit, u64> {
        let mut at = usize::try_from(number).expect("the number of a case");
        for (sort, &count) in self.counts.iter().enumerate() {
            if at < count {
                return Ok(self.edit(sort, at));
            }
            at -= count;
        }
        Err(at as u64)
    }

    fn edit(&self, sort: usize, at: usize) -> Edit {
        let (own, other) = (sectors(self.bytes().len()), sectors(self.other.len()));
        match sort {
            0 => Edit::Bit(at),
            1 => Edit::Byte(at, 0),
            2 => Edit::Byte(at, 0xff),
            3 => Edit::SectorZeroed(at),
            4 => Edit::SectorCopied { from: at / own, to: at % own }, // also onto itself; that changes nothing and is not counted
            5 => {
                let (a, b) = pair(at);
                Edit::SectorsSwapped(a, b)
            }
            6 => Edit::SectorMisplaced { from: at % other, to: at / other },
            7 => Edit::RecordRemoved(at),
            8 => Edit::RecordDoubled(at),
            9 => {
                let (a, b) = pair(at);
                Edit::RecordsSwapped(a, b)
            }
            _ => Edit::CutTo(at),
        }
    }

    /// Two different bits, different ones for each number, until all pairs are used.
    pub(super) fn pair_of_bits(&self, number: u64) -> Edit {
        const STRIDE: u64 = 1_000_000_007; // a prime, larger than any divisor of the number of pairs
        let bits = self.bytes().len() as u64 * 8;
        let at = number.wrapping_mul(STRIDE) % (bits * (bits / 2 - 1));
        let (first, apart) = (at % bits, 1 + at / bits);
        let index = |bit: u64| usize::try_from(bit).expect("a bit of a short file");
        Edit::TwoBits(index(first), index((first + apart) % bits))
    }
}

fn sectors(bytes: usize) -> usize {
    bytes.div_ceil(SECTOR_BYTES)
}

/// The number of pairs of different things. `pair` gives the pair with a number: (0, 1), (0, 2), (1, 2), (0, 3) …
fn pairs(of: usize) -> usize {
    of * of.saturating_sub(1) / 2
}

fn pair(number: usize) -> (usize, usize) {
    let mut second = 1;
    while pairs(second + 1) <= number {
        second += 1;
    }
    (number - pairs(second), second)
}

fn counts(bytes: usize, records: usize, other: usize, cuts: bool) -> [usize; 11] {
    let n = sectors(bytes);
    let cuts = if cuts { bytes } else { 0 };
    [bytes * 8, bytes, bytes, n, n * n, pairs(n), n * sectors(other), records, records, pairs(records), cuts]
}

impl Edit {
    /// The sort under which it is counted.
    pub(super) fn sort(self) -> usize {
        match self {
            Edit::Bit(_) => 0,
            Edit::Byte(..) => 1,
            Edit::SectorZeroed(_) | Edit::SectorCopied { .. } | Edit::SectorsSwapped(..) | Edit::SectorMisplaced { .. } => 2,
            Edit::RecordRemoved(_) | Edit::RecordDoubled(_) | Edit::RecordsSwapped(..) => 3,
            Edit::CutTo(_) => 4,
            Edit::TwoBits(..) => 5,
        }
    }

    /// The bit that it flips, if it flips just one.
    pub(super) fn bit(self) -> Option<usize> {
        if let Edit::Bit(bit) = self { Some(bit) } else { None }
    }

    /// Whether it touches one place only. Then every later proof of the damage is still there.
    pub(super) fn is_small(self) -> bool {
        matches!(self, Edit::Bit(_) | Edit::Byte(..))
    }

    /// Writes the file of `target` with this damage into `out`.
    pub(super) fn apply(self, target: &Target, out: &mut Vec<u8>) {
        let whole = target.bytes();
        out.clear();
        if let Some(order) = self.order(target) {
            out.extend_from_slice(&whole[..target.records[0].0]);
            order.for_each(|record| {
                let (start, end) = target.records[record];
                out.extend_from_slice(&whole[start..end]);
            });
            return;
        }
        out.extend_from_slice(whole);
        let sector = |bytes: &[u8], number: usize| {
            let start = number * SECTOR_BYTES;
            bytes[start..bytes.len().min(start + SECTOR_BYTES)].to_vec()
        };
        let mut write = |number: usize, bytes: &[u8]| {
            let start = number * SECTOR_BYTES;
            let count = bytes.len().min(whole.len() - start);
            out[start..start + count].copy_from_slice(&bytes[..count]);
        };
        match self {
            Edit::SectorZeroed(at) => write(at, &[0; SECTOR_BYTES]),
            Edit::SectorCopied { from, to } => write(to, &sector(whole, from)),
            Edit::SectorsSwapped(a, b) => {
                write(a, &sector(whole, b));
                write(b, &sector(whole, a));
            }
            Edit::SectorMisplaced { from, to } => write(to, &sector(&target.other, from)),
            Edit::Bit(bit) => out[bit / 8] ^= 1 << (bit % 8),
            Edit::TwoBits(a, b) => [a, b].iter().for_each(|bit| out[bit / 8] ^= 1 << (bit % 8)),
            Edit::Byte(at, byte) => out[at] = byte,
            Edit::CutTo(bytes) => out.truncate(bytes),
            Edit::RecordRemoved(_) | Edit::RecordDoubled(_) | Edit::RecordsSwapped(..) => {
                unreachable!("`order` handles the edits of whole records")
            }
        }
    }

    /// The order of the records after this edit, if it moves whole records.
    fn order(self, target: &Target) -> Option<impl Iterator<Item = usize>> {
        let all = 0..target.records.len();
        let order: Vec<usize> = match self {
            Edit::RecordRemoved(gone) => all.filter(|&at| at != gone).collect(),
            Edit::RecordDoubled(twice) => all.flat_map(|at| std::iter::repeat_n(at, 1 + usize::from(at == twice))).collect(),
            Edit::RecordsSwapped(a, b) => all
                .map(|at| {
                    if at == a {
                        b
                    } else if at == b {
                        a
                    } else {
                        at
                    }
                })
                .collect(),
            _ => return None,
        };
        Some(order.into_iter())
    }

    /// Whether the log after this edit, `bytes`, has a whole record behind `end` that proves that write `due` had been
    /// synced.
    pub(super) fn leaves_witness(self, target: &Target, bytes: &[u8], end: usize, due: u64) -> bool {
        let proves = |record: &Record| record.seq + 1 >= due && (record.kind == Kind::OPENED || record.durable >= due);
        let records = &target.log.records;
        if let Some(order) = self.order(target) {
            let mut place = target.records[0].0;
            return order.into_iter().any(|at| {
                let record = &records[at];
                place += record.end - record.start;
                place > end && proves(record)
            });
        }
        let behind = &records[records.partition_point(|record| record.start < end)..];
        let whole = |record: &Record| bytes.get(record.start..record.end) == Some(&target.log.bytes[record.start..record.end]);
        behind.iter().any(|record| proves(record) && whole(record))
    }
}

//! The logs that [`torn_tails`](super::torn_tails()) cuts: one function for each shape. The real engine writes them.
//!
//! Lengths, keys and the order of steps follow from a number. The bytes of the values also follow from a `variant`.
//! Two logs of the same number and different variants have their records at the same offsets. So the stale bytes of
//! one fit into the other as well as stale bytes ever can.

use super::choices::Random;
use super::known_log::{KnownLog, Writer};
use crate::engine::Batch;
use crate::record::Kind;
use crate::wal::OPENED_BYTES;

type Shape = (&'static str, fn(&mut Generator) -> KnownLog);

/// Every shape, with its name.
pub(super) const SHAPES: [Shape; 13] = [
    ("one large record", one_large),
    ("many small ones", many_small),
    ("batches", batches),
    ("deletes", deletes),
    ("values across sectors", across_sectors),
    ("groups of eight", groups),
    ("one wide group", wide_group),
    ("groups issued during a sync", issued_during_a_sync),
    ("several sessions", several_sessions),
    ("behind a snapshot", behind_a_snapshot),
    ("written again behind a torn tail", written_again),
    ("a snapshot ahead of the log", snapshot_ahead),
    ("records that fill sectors", aligned),
];

/// The length of a put of a two-byte key with an empty value.
pub(super) const PUT_BYTES: usize = 44;

/// The log of a number and a variant.
pub(super) fn draw(number: u64, variant: u8) -> KnownLog {
    let (_, shape) = shape_of(number);
    let seed = number.wrapping_mul(2) + u64::from(variant & 1);
    shape(&mut Generator { random: Random::new(number), variant, seed })
}

pub(super) fn shape_of(number: u64) -> Shape {
    SHAPES[usize::try_from(number % SHAPES.len() as u64).expect("a few")]
}

/// Generates keys and values.
pub(super) struct Generator {
    random: Random,
    variant: u8,
    seed: u64,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Generator {
        Generator { random: Random::new(seed), variant: 0, seed }
    }

    pub(super) fn writer(&self, batch_size: u64) -> Writer {
        Writer::new(self.seed, batch_size)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit)
    }

    pub(super) fn key(&mut self) -> String {
        format!("k{}", self.below(6))
    }

    pub(super) fn value(&mut self, bytes: usize) -> Vec<u8> {
        let letter = b'a' + u8::try_from(self.below(20)).expect("a letter") + self.variant;
        (0..bytes).map(|at| if at % 8 == 7 { b'0' + (at / 8 % 10) as u8 } else { letter }).collect()
    }

    fn value_between(&mut self, least: usize, most: usize) -> Vec<u8> {
        let bytes = least + self.below(most - least + 1);
        self.value(bytes)
    }

    pub(super) fn put(&mut self, writer: &mut Writer, least: usize, most: usize) {
        let (key, value) = (self.key(), self.value_between(least, most));
        writer.put(&key, &value);
    }

    pub(super) fn batch(&mut self) -> Batch {
        let mut batch = Batch::new();
        for _ in 0..2 + self.below(4) {
            let key = self.key();
            if self.below(3) == 0 {
                batch.delete(key)
            } else {
                batch.put(key, self.value_between(0, 40))
            };
        }
        batch
    }
}

fn one_large(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(1);
    generator.put(&mut writer, 0, 20);
    generator.put(&mut writer, 4200, 4500);
    generator.put(&mut writer, 0, 20);
    writer.log()
}

fn many_small(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(1);
    (0..25).for_each(|_| generator.put(&mut writer, 0, 12));
    writer.log()
}

fn batches(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(1);
    (0..8).for_each(|_| writer.batch(generator.batch()));
    writer.log()
}

fn deletes(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(2);
    for round in 0..3 {
        let keys = ["k0", "k1", "k2", "k3"];
        for key in keys {
            writer.put(key, &generator.value_between(0, 30));
        }
        keys.iter().skip(round).for_each(|key| writer.delete(key));
    }
    writer.flush();
    writer.log()
}

fn across_sectors(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(1);
    (0..6).for_each(|_| generator.put(&mut writer, 150, 900));
    writer.log()
}

fn groups(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(8);
    (0..24).for_each(|_| generator.put(&mut writer, 0, 200));
    writer.log()
}

fn wide_group(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(12);
    (0..12).for_each(|_| generator.put(&mut writer, 250, 360));
    writer.log()
}

fn issued_during_a_sync(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(100);
    for _ in 0..4 {
        (0..3).for_each(|_| generator.put(&mut writer, 0, 120));
        let puts = (0..2).map(|_| (generator.key(), generator.value_between(0, 120))).collect();
        writer.flush_with(puts);
    }
    writer.flush();
    writer.log()
}

fn several_sessions(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(3);
    for session in 0..4 {
        (0..4).for_each(|_| generator.put(&mut writer, 0, 60));
        if session % 2 == 0 {
            writer.reopen(3);
        } else {
            writer.flush();
            let bytes = writer.log().bytes.len();
            let seed = generator.seed ^ 1 << (60 + session);
            writer = writer.power_cut(bytes, seed, 2);
        }
    }
    writer.batch(generator.batch());
    writer.close();
    writer.log()
}

fn behind_a_snapshot(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(4);
    (0..8).for_each(|_| generator.put(&mut writer, 0, 50));
    writer.snapshot();
    (0..12).for_each(|_| generator.put(&mut writer, 0, 50));
    writer.close();
    writer.log()
}

/// The last group of a session is lost except for some records. The next session writes records of the same lengths.
/// After its mark and its first record, each of them is at the place of a lost record, with the same sequence number
/// and the same salt. Only the chain of links distinguishes them.
fn written_again(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(100);
    (0..4).for_each(|_| generator.put(&mut writer, 0, 40));
    writer.flush();
    let first = writer.log().records.len();
    let lengths: Vec<usize> = (0..9).map(|_| OPENED_BYTES + generator.below(90)).collect();
    for &bytes in &lengths {
        writer.put(&generator.key(), &generator.value(bytes));
    }
    writer.flush();
    let kept = generator.below(3);
    let torn = generator.below(OPENED_BYTES);
    let bytes = writer.log().records[first + kept].start + torn;
    let mut writer = writer.power_cut(bytes, generator.seed ^ 1 << 60, 100);
    let rest = &lengths[kept..];
    for (i, &bytes) in rest.iter().enumerate() {
        let bytes = if i == 0 { bytes - OPENED_BYTES } else { bytes };
        writer.put(&generator.key(), &generator.value(bytes));
        if i + 3 == rest.len() {
            writer.flush();
        }
    }
    writer.flush();
    writer.log()
}

fn snapshot_ahead(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(2);
    (0..8).for_each(|_| generator.put(&mut writer, 0, 50));
    let mut writer = writer.snapshot_and_power_cut(generator.seed ^ 1 << 60, 4);
    (0..12).for_each(|_| generator.put(&mut writer, 0, 50));
    writer.log()
}

/// Records of 64 and 128 bytes and of one sector. No record crosses the end of a sector by chance.
fn aligned(generator: &mut Generator) -> KnownLog {
    let mut writer = generator.writer(6);
    writer.put("k0", &generator.value(128 - OPENED_BYTES - PUT_BYTES));
    for _ in 0..23 {
        let bytes = [64, 64, 128, 512][generator.below(4)] - PUT_BYTES;
        writer.put(&generator.key(), &generator.value(bytes));
    }
    let log = writer.log();
    assert!(log.records.iter().skip(1).all(|record| record.kind == Kind::WRITE && record.end % 64 == 0));
    log
}

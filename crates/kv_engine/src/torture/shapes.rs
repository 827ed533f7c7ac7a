//! The logs that are cut: one function for each shape, run with the real engine.
//!
//! Lengths, keys and the order of steps follow from a number; the bytes of the values also from a
//! `twist`. Two logs of the same number and different twists have their records at the same
//! offsets, so that what one leaves in a block fits the other as well as stale bytes ever can.

use super::choices::Random;
use super::session::{Driver, Session};
use crate::engine::Batch;
use crate::record::Kind;

type Shape = (&'static str, fn(&mut Pen) -> Session);

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
    ("several lives", lives),
    ("behind a snapshot", behind_a_snapshot),
    ("written again behind a torn tail", written_again),
    ("a snapshot ahead of the log", snapshot_ahead),
    ("records that fill sectors", aligned),
];

/// Length of an OPENED mark, and of the put of a two-byte key with an empty value.
pub(super) const OPENED_BYTES: usize = 41;
pub(super) const PUT_BYTES: usize = 44;

/// The log of a number and a twist.
pub(super) fn draw(number: u64, twist: u8) -> Session {
    let (_, shape) = shape_of(number);
    let seed = number.wrapping_mul(2) + u64::from(twist & 1);
    shape(&mut Pen { random: Random::new(number), twist, seed })
}

pub(super) fn shape_of(number: u64) -> Shape {
    SHAPES[usize::try_from(number % SHAPES.len() as u64).expect("a few")]
}

/// Draws keys and values.
pub(super) struct Pen {
    random: Random,
    twist: u8,
    seed: u64,
}

impl Pen {
    pub(super) fn new(seed: u64) -> Pen {
        Pen { random: Random::new(seed), twist: 0, seed }
    }

    pub(super) fn driver(&self, batch_size: u64) -> Driver {
        Driver::new(self.seed, batch_size)
    }

    pub(super) fn below(&mut self, limit: usize) -> usize {
        self.random.below(limit)
    }

    pub(super) fn key(&mut self) -> String {
        format!("k{}", self.below(6))
    }

    pub(super) fn value(&mut self, bytes: usize) -> Vec<u8> {
        let letter = b'a' + u8::try_from(self.below(20)).expect("a letter") + self.twist;
        (0..bytes).map(|at| if at % 8 == 7 { b'0' + (at / 8 % 10) as u8 } else { letter }).collect()
    }

    fn value_between(&mut self, least: usize, most: usize) -> Vec<u8> {
        let bytes = least + self.below(most - least + 1);
        self.value(bytes)
    }

    pub(super) fn put(&mut self, driver: &mut Driver, least: usize, most: usize) {
        let (key, value) = (self.key(), self.value_between(least, most));
        driver.put(&key, &value);
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

fn one_large(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(1);
    pen.put(&mut driver, 0, 20);
    pen.put(&mut driver, 4200, 4500);
    pen.put(&mut driver, 0, 20);
    driver.life()
}

fn many_small(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(1);
    (0..25).for_each(|_| pen.put(&mut driver, 0, 12));
    driver.life()
}

fn batches(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(1);
    (0..8).for_each(|_| driver.batch(pen.batch()));
    driver.life()
}

fn deletes(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(2);
    for round in 0..3 {
        let keys = ["k0", "k1", "k2", "k3"];
        for key in keys {
            driver.put(key, &pen.value_between(0, 30));
        }
        keys.iter().skip(round).for_each(|key| driver.delete(key));
    }
    driver.flush();
    driver.life()
}

fn across_sectors(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(1);
    (0..6).for_each(|_| pen.put(&mut driver, 150, 900));
    driver.life()
}

fn groups(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(8);
    (0..24).for_each(|_| pen.put(&mut driver, 0, 200));
    driver.life()
}

fn wide_group(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(12);
    (0..12).for_each(|_| pen.put(&mut driver, 250, 360));
    driver.life()
}

fn issued_during_a_sync(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(100);
    for _ in 0..4 {
        (0..3).for_each(|_| pen.put(&mut driver, 0, 120));
        let meanwhile = (0..2).map(|_| (pen.key(), pen.value_between(0, 120))).collect();
        driver.flush_with(meanwhile);
    }
    driver.flush();
    driver.life()
}

fn lives(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(3);
    for life in 0..4 {
        (0..4).for_each(|_| pen.put(&mut driver, 0, 60));
        if life % 2 == 0 {
            driver.reopen(3);
        } else {
            driver.flush();
            let bytes = driver.life().log.len();
            let seed = pen.seed ^ 1 << (60 + life);
            driver = driver.power_cut(bytes, seed, 2);
        }
    }
    driver.batch(pen.batch());
    driver.close();
    driver.life()
}

fn behind_a_snapshot(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(4);
    (0..8).for_each(|_| pen.put(&mut driver, 0, 50));
    driver.snapshot();
    (0..12).for_each(|_| pen.put(&mut driver, 0, 50));
    driver.close();
    driver.life()
}

/// The last group of a life is lost but for some records. The next life writes records of the same
/// lengths: behind its mark and its first one, each stands where one of the lost ones stood, with
/// the same sequence number and the same salt. Only the chain of links tells them apart.
fn written_again(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(100);
    (0..4).for_each(|_| pen.put(&mut driver, 0, 40));
    driver.flush();
    let first = driver.life().records.len();
    let lengths: Vec<usize> = (0..9).map(|_| OPENED_BYTES + pen.below(90)).collect();
    for &bytes in &lengths {
        driver.put(&pen.key(), &pen.value(bytes));
    }
    driver.flush();
    let kept = pen.below(3);
    let torn = pen.below(OPENED_BYTES);
    let bytes = driver.life().records[first + kept].start + torn;
    let mut driver = driver.power_cut(bytes, pen.seed ^ 1 << 60, 100);
    let rest = &lengths[kept..];
    for (i, &bytes) in rest.iter().enumerate() {
        let bytes = if i == 0 { bytes - OPENED_BYTES } else { bytes };
        driver.put(&pen.key(), &pen.value(bytes));
        if i + 3 == rest.len() {
            driver.flush();
        }
    }
    driver.flush();
    driver.life()
}

fn snapshot_ahead(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(2);
    (0..8).for_each(|_| pen.put(&mut driver, 0, 50));
    let mut driver = driver.snapshot_and_power_cut(pen.seed ^ 1 << 60, 4);
    (0..12).for_each(|_| pen.put(&mut driver, 0, 50));
    driver.life()
}

/// Records of 64 and 128 bytes and of a sector, none of which crosses the end of a sector by chance.
fn aligned(pen: &mut Pen) -> Session {
    let mut driver = pen.driver(6);
    driver.put("k0", &pen.value(128 - OPENED_BYTES - PUT_BYTES));
    for _ in 0..23 {
        let bytes = [64, 64, 128, 512][pen.below(4)] - PUT_BYTES;
        driver.put(&pen.key(), &pen.value(bytes));
    }
    let life = driver.life();
    assert!(life.records.iter().skip(1).all(|record| record.kind == Kind::WRITE && record.end % 64 == 0));
    life
}

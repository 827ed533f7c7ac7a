//! Torn tails: every way in which a crash can leave the last group of a log, recovered by the real code.
//!
//! The real engine writes logs of [many shapes](super::shapes). For each group that one call wrote, at the moment
//! before its sync ended, these remains are tried:
//!
//! | remains of the group | how many are tried |
//! |---|---|
//! | its first bytes, and nothing behind | every length |
//! | its first bytes, and a filling behind | every length × every filling; also with stale bytes beyond the end |
//! | a filling, and its last bytes | every length × every filling |
//! | some of its 512-byte sectors, and a filling for the others | all subsets of up to 10 sectors, else 2^10 random ones; × every filling, and mixed |
//!
//! The *fillings* are:
//!
//! - zeros,
//! - garbage,
//! - an older log with another salt and its records at the same offsets,
//! - the bytes of an earlier session of the same log, if it wrote behind the same place.
//!
//! Recovery must find exactly the whole records before the first byte that differs, with the model's state and
//! `promised ≤ k ≤ issued`. It must report a torn tail, never damage, and cut the log there.
//!
//! The same is tried for the first group of a session, where the lost block shows bytes of an earlier session. The
//! mark of the opening is durable before that group is written, so no record of the earlier session can continue the
//! log.
//!
//! States of one log are distinguished by the hash of their bytes. States of two logs differ in the store id, which
//! every state holds.

use super::choices::Random;
use super::known_log::{Group, KnownLog};
use super::memory::Memory;
use super::shapes::{SHAPES, draw, shape_of};
use super::store::{SECTOR_BYTES, SNAPSHOT, WAL};
use super::tally::Tally;
use crate::disk::sim::{Image, SimDisk};
use crate::engine::Options;
use crate::recovery::{Keep, LockNotes, LogTail, Progress, Recovered, Recovery, recover};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// Of up to this number of sectors in a group, all subsets are kept. Of more, the same number of subsets is drawn.
const ALL_SUBSETS_OF: usize = 10;
/// Stale bytes may reach this far beyond the end of a group, as in reserved space.
const BEYOND_BYTES: usize = 700;
/// One state out of TWICE_EVERY is recovered twice. One out of WHOLE_EVERY is opened by the whole engine on the
/// simulated disk.
const TWICE_EVERY: u64 = 16;
const WHOLE_EVERY: u64 = 512;

const FILLINGS: [&str; 4] = ["zeros", "garbage", "an older log", "an earlier session"];

/// The number of log shapes. This many numbers in a row try each shape once.
pub const LOG_SHAPES: u64 = SHAPES.len() as u64;

/// Leaves the log that follows from `number` in every way that a crash can, and recovers each state. The same number
/// gives the same tally.
///
/// ```
/// let tally = kv_engine::torture::torn_tails(1);
/// assert!(tally.tried > 5_000);
/// assert_eq!(tally.failed, 0, "{:?}", tally.failures);
/// ```
#[must_use]
pub fn torn_tails(number: u64) -> Tally {
    let (name, _) = shape_of(number);
    let log = draw(number, 0);
    let mut run = Run {
        place: format!("log {number} ({name})"),
        disk: Memory::new(number),
        fillings: fillings(&log, &draw(number, 3), number),
        log: &log,
        seen: HashSet::default(),
        image: Vec::new(),
        tally: Tally::default(),
        counts: [0; 5],
    };
    if let Some(snapshot) = &log.snapshot {
        run.disk.put(Path::new(SNAPSHOT), snapshot);
    }
    for (at, group) in log.groups.iter().enumerate() {
        run.group(group, number ^ (at as u64) << 32);
    }
    let Run { mut tally, counts, .. } = run;
    // As in `rot`: field names of the JSON output.
    let names =
        ["logs", "groups", "a first part left", "a last part left", "some sectors left", "opened by the whole engine too"];
    tally.figures = std::iter::once(1).chain(counts).zip(names).map(|(count, name)| (name, count)).collect();
    tally
}

const GROUPS: usize = 0;
const FIRST_PART: usize = 1;
const LAST_PART: usize = 2;
const SECTORS: usize = 3;
const WHOLE_ENGINE: usize = 4;

/// The bytes that may show in lost places. They are longer than the log.
fn fillings(log: &KnownLog, older: &KnownLog, seed: u64) -> Vec<Vec<u8>> {
    let bytes = log.bytes.len() + BEYOND_BYTES;
    let mut random = Random::new(seed);
    let garbage = (0..bytes).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect();
    let padded = |log: &[u8]| log.iter().copied().chain(std::iter::repeat(0)).take(bytes).collect();
    let mut fillings = vec![vec![0; bytes], garbage, padded(&older.bytes)];
    fillings.extend(log.earlier.as_ref().map(|earlier| padded(&earlier.bytes)));
    fillings
}

struct Run<'a> {
    place: String,
    disk: Memory,
    log: &'a KnownLog,
    fillings: Vec<Vec<u8>>,
    seen: HashSet<u64, BuildHasherDefault<AsItIs>>,
    image: Vec<u8>,
    tally: Tally,
    counts: [u64; 5],
}

impl Run<'_> {
    fn group(&mut self, group: &Group, seed: u64) {
        self.counts[GROUPS] += 1;
        let (log, Group { start, end, .. }) = (self.log, *group);
        if log.whole(start).0 < group.promised {
            self.tally.fail(format!("{}: at byte {start}: more writes were promised than had been synced", self.place));
        }
        let kinds = self.kinds(group);
        for cut in start..=end {
            self.build(cut);
            self.state(group, FIRST_PART, cut, || format!("cut at byte {cut}"));
            for (kind, what) in FILLINGS.into_iter().enumerate().take(kinds) {
                self.build(cut);
                self.fill(kind, end);
                self.state(group, FIRST_PART, cut, || format!("from byte {cut} on {what}"));
                if kind > 1 {
                    self.fill(kind, end + BEYOND_BYTES);
                    self.state(group, FIRST_PART, cut, || format!("from byte {cut} on {what}, beyond the group too"));
                }
                self.build(start);
                self.fill(kind, cut);
                self.image.extend_from_slice(&log.bytes[cut..end]);
                self.state(group, LAST_PART, start, || format!("up to byte {cut} {what}"));
            }
        }
        self.sectors(group, seed);
    }

    fn sectors(&mut self, group: &Group, seed: u64) {
        let (log, Group { start, end, .. }) = (self.log, *group);
        let first = start / SECTOR_BYTES;
        let count = end.div_ceil(SECTOR_BYTES) - first;
        let kinds = self.kinds(group);
        let mut random = Random::new(seed);
        for number in 0..1_u64 << count.min(ALL_SUBSETS_OF) {
            let drawn = (random.below(1 << 32) as u64) << 32 | random.below(1 << 32) as u64;
            let mask = if count <= ALL_SUBSETS_OF { number } else { drawn };
            for fill in 0..=kinds {
                self.build(start);
                for sector in 0..count {
                    let from = self.image.len();
                    let to = ((first + sector + 1) * SECTOR_BYTES).min(end);
                    let kind = if fill < kinds { fill } else { random.below(kinds) };
                    if mask >> (sector % 64) & 1 == 1 {
                        self.image.extend_from_slice(&log.bytes[from..to]);
                    } else {
                        self.fill(kind, to);
                    }
                }
                let what = *FILLINGS.get(fill).filter(|_| fill < kinds).unwrap_or(&"any filling");
                self.state(group, SECTORS, start, || format!("sectors {mask:#b} kept, {what} in the others"));
            }
        }
    }

    /// The number of fillings that can show in this group's place. Before the end of an earlier session's log there
    /// was nothing else.
    fn kinds(&self, group: &Group) -> usize {
        let behind = self.log.earlier.as_ref().is_some_and(|earlier| group.start >= earlier.cut);
        FILLINGS.len() - usize::from(!behind)
    }

    /// Puts the first `bytes` of the log into the image.
    fn build(&mut self, bytes: usize) {
        self.image.clear();
        self.image.extend_from_slice(&self.log.bytes[..bytes]);
    }

    /// Continues the image with a filling, up to `to`.
    fn fill(&mut self, kind: usize, to: usize) {
        let filling = &self.fillings[kind];
        self.image.extend_from_slice(&filling[self.image.len()..to.min(filling.len())]);
    }

    /// Recovers the image, unless it was seen before. It equals the log at least up to `same`.
    fn state(&mut self, group: &Group, counter: usize, same: usize, what: impl FnOnce() -> String) {
        let hash = xxh3_64(&self.image);
        if !self.seen.insert(hash) {
            return;
        }
        self.tally.tried += 1;
        self.counts[counter] += 1;
        if let Err(wrong) = self.check(group, same, hash) {
            let group = format!("group of bytes {} to {}", group.start, group.end);
            self.tally.fail(format!("{}: {group}: {}: {wrong}", self.place, what()));
            self.disk.keep_only([Path::new(WAL), Path::new(SNAPSHOT)]);
        }
    }

    fn check(&mut self, group: &Group, same: usize, hash: u64) -> Result<(), String> {
        let (wal, snapshot) = (Path::new(WAL), Path::new(SNAPSHOT));
        self.disk.put(wal, &self.image);
        let recovered = recovered(&self.disk)?;
        self.judge(group, same, &recovered)?;
        let end = usize::try_from(recovered.report.log_bytes).expect("a short log");
        let file = self.disk.file(wal).ok_or("the log is gone")?;
        if !file.is_cut(&self.image[..end]) {
            return Err("the bytes behind the last whole record were not cut off".into());
        }
        if hash.is_multiple_of(TWICE_EVERY) {
            let again = self::recovered(&self.disk)?;
            if again.report.tail != LogTail::Clean
                || again.report.last_seq != recovered.report.last_seq
                || !file.is_cut(&self.image[..end])
            {
                return Err("recovering again finds something else".into());
            }
        }
        if hash.is_multiple_of(WHOLE_EVERY) {
            self.counts[WHOLE_ENGINE] += 1;
            let mut image = Image::from([(wal.to_path_buf(), self.image.clone())]);
            image.extend(self.disk.file(snapshot).map(|file| (snapshot.to_path_buf(), file.bytes())));
            let disk = SimDisk::new(&image, hash);
            let options = Options::new(WAL, SNAPSHOT).flush_interval(Duration::ZERO).disk(Arc::new(disk));
            let engine = options.clone().open().map_err(|error| format!("the engine does not open it: {error}"))?;
            let digest = recovered.state.digest().map_err(|error| error.to_string())?;
            let same = (engine.recovery().last_seq, engine.digest()) == (recovered.report.last_seq, digest);
            if !same || engine.recovery().tail != recovered.report.tail {
                return Err("the engine finds another state on the simulated disk".into());
            }
            engine.put("goes", "on").map_err(|error| format!("the engine does not accept a write: {error}"))?;
            drop(engine);
            let engine = options.open().map_err(|error| format!("the engine does not open it again: {error}"))?;
            if engine.recovery().last_seq != recovered.report.last_seq + 1 {
                return Err("the new write is not there".into());
            }
        }
        self.disk.keep_only([wal, snapshot]); // removes the copies that recovery kept
        Ok(())
    }

    fn judge(&self, group: &Group, same: usize, recovered: &Recovered) -> Result<(), String> {
        let report = &recovered.report;
        if let LogTail::Damaged(cut) = &report.tail {
            return Err(format!("a crash is reported as damage: {cut:?}"));
        }
        let alike = self.image[same..].iter().zip(&self.log.bytes[same..]).take_while(|(a, b)| a == b).count();
        let (expected, end, closed) = self.log.whole(same + alike);
        let k = report.last_seq;
        if k == expected && self.log.is_state(k, &recovered.state) {
            if k < group.promised || k > group.issued {
                return Err(format!("the last write is {k}, but {} were promised and {} issued", group.promised, group.issued));
            }
            let torn = self.image[end..].iter().any(|&byte| byte != 0); // zeros are reserved space
            let torn_at = if let LogTail::Torn(cut) = &report.tail { Some(cut.offset) } else { None };
            let replayed = k - self.log.base;
            if torn_at != torn.then_some(end as u64) || report.closed_cleanly != (closed && !torn) || report.replayed != replayed
            {
                return Err(format!(
                    "the log is whole up to byte {end} of {}, but recovery reports {report:?}",
                    self.image.len()
                ));
            }
            return Ok(());
        }
        Err(format!("recovery ends at write {k}, or with a wrong state; the last whole write is {expected}"))
    }
}

fn recovered(disk: &Memory) -> Result<Recovered, String> {
    recover(
        disk,
        Path::new(WAL),
        Path::new(SNAPSHOT),
        Recovery::Prefix,
        Keep::InMemory,
        &LockNotes::default(),
        &Progress::default(),
    )
    .map_err(|error| format!("it does not open: {error}"))
}

/// A hasher for keys that are hashes already.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("the keys are numbers")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

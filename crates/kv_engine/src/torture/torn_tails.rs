//! The log's tail: every way in which a crash can leave the last group of a log, recovered by the real
//! code. Logs of [many shapes](super::shapes) are written by the real engine. For each group that
//! was written with one call, at the moment before its sync has ended:
//!
//! | what is left of the group | tried |
//! |---|---|
//! | its first bytes, and nothing behind | every byte |
//! | its first bytes, and a filling behind | every byte × every filling; × stale bytes beyond the end too |
//! | a filling, and its last bytes | every byte × every filling |
//! | any of its 512-byte sectors, a filling for the others | all subsets up to 2^10, else as many drawn ones; × every filling, and mixed |
//!
//! *Fillings*: zeros; garbage; an older log of another salt with its records at the same offsets;
//! and, where an earlier life of the same log wrote behind the same place, what that left. The
//! result must be the whole records before the first byte that differs, no more and no less, with
//! the state that the model has, `promised ≤ k ≤ issued`; torn, never damaged; and cut off there.
//!
//! Also where the first group of a life is lost and the block shows what an earlier life left at the same
//! place: the mark of the opening is durable before that group is written, so that nothing of the earlier life continues the log.
//!
//! States of one log are told apart by the hash of their bytes; those of two logs differ in the
//! store id, which every state holds.

use super::choices::Random;
use super::memory::Memory;
use super::session::{Group, Session};
use super::shapes::{SHAPES, draw, shape_of};
use super::tally::Tally;
use super::{SNAPSHOT, WAL};
use crate::disk::sim::{Image, SimDisk};
use crate::engine::Options;
use crate::recovery::{Keep, LockNotes, LogTail, Progress, Recovered, Recovery, recover};
use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// So many of the sectors of a group are kept and lost in all combinations; of more, so many subsets are drawn.
const ALL_SUBSETS_OF: usize = 10;
const SECTOR_BYTES: usize = 512;
/// Stale bytes may reach so far beyond the end of a group, as in space that was reserved.
const BEYOND_BYTES: usize = 700;
/// Each so-manyth state is recovered twice, and each so-manyth opened by the whole engine on the simulated disk.
const TWICE_EVERY: u64 = 16;
const WHOLE_EVERY: u64 = 512;

const FILLINGS: [&str; 4] = ["zeros", "garbage", "an older log", "an earlier life"];

/// So many shapes of logs there are: so many numbers in a row try each once.
pub const LOG_SHAPES: u64 = SHAPES.len() as u64;

/// Leaves the log that follows from `number` as crashes can leave it, and recovers each state. The same
/// number gives the same tally.
///
/// ```
/// let tally = kv_engine::torture::torn_tails(1);
/// assert!(tally.tried > 5_000);
/// assert_eq!(tally.failed, 0, "{:?}", tally.failures);
/// ```
#[must_use]
pub fn torn_tails(number: u64) -> Tally {
    let (name, _) = shape_of(number);
    let life = draw(number, 0);
    let mut run = Run {
        place: format!("log {number} ({name})"),
        disk: Memory::new(number),
        fillings: fillings(&life, &draw(number, 3), number),
        life: &life,
        seen: HashSet::default(),
        image: Vec::new(),
        tally: Tally::default(),
        counts: [0; 5],
    };
    if let Some(snapshot) = &life.snapshot {
        run.disk.put(Path::new(SNAPSHOT), snapshot);
    }
    for (at, group) in life.groups.iter().enumerate() {
        run.group(group, number ^ (at as u64) << 32);
    }
    let Run { mut tally, counts, .. } = run;
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

/// What may stand in lost places, as long as the log and more.
fn fillings(life: &Session, older: &Session, seed: u64) -> Vec<Vec<u8>> {
    let bytes = life.log.len() + BEYOND_BYTES;
    let mut random = Random::new(seed);
    let garbage = (0..bytes).map(|_| u8::try_from(random.below(256)).expect("a byte")).collect();
    let padded = |log: &[u8]| log.iter().copied().chain(std::iter::repeat(0)).take(bytes).collect();
    let mut fillings = vec![vec![0; bytes], garbage, padded(&older.log)];
    fillings.extend(life.earlier.as_ref().map(|earlier| padded(&earlier.log)));
    fillings
}

struct Run<'a> {
    place: String,
    disk: Memory,
    life: &'a Session,
    fillings: Vec<Vec<u8>>,
    seen: HashSet<u64, BuildHasherDefault<AsItIs>>,
    image: Vec<u8>,
    tally: Tally,
    counts: [u64; 5],
}

impl Run<'_> {
    fn group(&mut self, group: &Group, seed: u64) {
        self.counts[GROUPS] += 1;
        let (life, Group { start, end, .. }) = (self.life, *group);
        if life.whole(start).0 < group.promised {
            self.tally.fail(format!("{}: at byte {start}, more was promised than had been synced", self.place));
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
                self.image.extend_from_slice(&life.log[cut..end]);
                self.state(group, LAST_PART, start, || format!("up to byte {cut} {what}"));
            }
        }
        self.sectors(group, seed);
    }

    fn sectors(&mut self, group: &Group, seed: u64) {
        let (life, Group { start, end, .. }) = (self.life, *group);
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
                        self.image.extend_from_slice(&life.log[from..to]);
                    } else {
                        self.fill(kind, to);
                    }
                }
                let what = *FILLINGS.get(fill).filter(|_| fill < kinds).unwrap_or(&"any filling");
                self.state(group, SECTORS, start, || format!("sectors {mask:#b} kept, {what} in the others"));
            }
        }
    }

    /// So many of the fillings can stand in this group's place. Before the end of an earlier life there
    /// was nothing else.
    fn kinds(&self, group: &Group) -> usize {
        let behind = self.life.earlier.as_ref().is_some_and(|earlier| group.start >= earlier.cut);
        FILLINGS.len() - usize::from(!behind)
    }

    /// The log up to `bytes`, as it was written.
    fn build(&mut self, bytes: usize) {
        self.image.clear();
        self.image.extend_from_slice(&self.life.log[..bytes]);
    }

    /// And on up to `to` with a filling.
    fn fill(&mut self, kind: usize, to: usize) {
        let filling = &self.fillings[kind];
        self.image.extend_from_slice(&filling[self.image.len()..to.min(filling.len())]);
    }

    /// Recovers the image, which is as it was written up to `same` at least, unless it was seen before.
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
            return Err("what follows the last whole record was not cut off".into());
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
                return Err("the engine on the simulated disk finds another state".into());
            }
            engine.put("goes", "on").map_err(|error| format!("the engine does not go on: {error}"))?;
            drop(engine);
            let engine = options.open().map_err(|error| format!("the engine does not open it once more: {error}"))?;
            if engine.recovery().last_seq != recovered.report.last_seq + 1 {
                return Err("the next write is not there".into());
            }
        }
        self.disk.keep_only([wal, snapshot]); // without the copies that were kept
        Ok(())
    }

    fn judge(&self, group: &Group, same: usize, recovered: &Recovered) -> Result<(), String> {
        let report = &recovered.report;
        if let LogTail::Damaged(cut) = &report.tail {
            return Err(format!("a crash is taken for damage: {cut:?}"));
        }
        let alike = self.image[same..].iter().zip(&self.life.log[same..]).take_while(|(a, b)| a == b).count();
        let (expected, end, closed) = self.life.whole(same + alike);
        let k = report.last_seq;
        if k == expected && self.life.is_state(k, &recovered.state) {
            if k < group.promised || k > group.issued {
                return Err(format!("write {k} is the last, {} were promised and {} issued", group.promised, group.issued));
            }
            let torn = self.image[end..].iter().any(|&byte| byte != 0); // zeros are space that was reserved
            let told = if let LogTail::Torn(cut) = &report.tail { Some(cut.offset) } else { None };
            let replayed = k - self.life.base;
            if told != torn.then_some(end as u64) || report.closed_cleanly != (closed && !torn) || report.replayed != replayed {
                return Err(format!("the log is whole up to byte {end} of {}, and told is {report:?}", self.image.len()));
            }
            return Ok(());
        }
        Err(format!("the state is that after write {k} or none at all, where write {expected} is the last whole one"))
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
    .map_err(|error| format!("not opened: {error}"))
}

/// Takes a hash for what it is.
#[derive(Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("only numbers are hashed")
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

//! [`History`]: the calls of all threads in one schedule, their answers, and what readers saw. It is judged when the
//! schedule has ended.
//!
//! Almost every write has a *marker*: a key that only this write puts and no write deletes. So for any state one can
//! find out which writes are in it. All threads put and delete the *shared* key. Its value names the write that put
//! it.

use crate::draw::Draw;
use crate::stage::Stage;
use kv_engine::disk::Disk;
use kv_engine::disk::sim::{Image, SimDisk};
use kv_engine::{Engine, Error, LogTail, Options, Seq};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

pub const WAL: &str = "/sim/kv.wal";
pub const SNAPSHOT: &str = "/sim/kv.snapshot";
const LOCK: &str = "/sim/kv.wal.lock";
pub const SHARED: &str = "shared";

pub type Id = usize;

/// The answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// OK, with this number.
    Acked(Seq),
    /// The write was certainly not accepted.
    Refused,
    /// The write may be accepted or not: the store failed, or the thread panicked.
    InDoubt,
    /// Nothing was written: there was no key to delete, or a condition did not hold.
    Absent,
}

/// The effect of a write on the shared key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shared {
    Leave,
    Put,
    Delete,
}

#[derive(Clone, Debug)]
struct Write {
    marked: bool,
    shared: Shared,
    issued: u64,
    /// The last number acknowledged when the write was issued.
    after: Seq,
    answer: Option<(u64, Answer)>,
    /// The shared key as the write was decided on it.
    decided_on: Option<Option<Id>>,
}

/// What a disk image must hold after recovery.
struct Picture {
    image: Image,
    at: u64,
    floor: Seq,
    visible: Vec<Id>,
}

/// A reading of the shared key.
struct Seen {
    reader: usize,
    value: Option<Id>,
    /// The reading must not be older than this write,
    from: Seq,
    /// and not newer than this picture of the disk, if that is promised.
    picture: Option<usize>,
}

/// The content of a view.
struct Viewed {
    seq: Seq,
    found: BTreeMap<Vec<u8>, Vec<u8>>,
}

#[derive(Default)]
struct Record {
    viewed: Vec<Viewed>,
    writes: Vec<Write>,
    pictures: Vec<Picture>,
    seen: Vec<Seen>,
    acked: Seq,
    /// One more than the number of acknowledged writes that a crash may take.
    batch_size: u64,
    poisoned: Option<u64>,
    closed: Option<u64>,
    /// The last write of the submission that was told last, since the last refusal.
    told: Seq,
    wrong: Vec<String>,
    /// The last promise: its number and its time.
    promised: Vec<(u64, Seq)>,
}

/// See the head of this file. The lock is the standard library's: a thread never holds it while another one runs.
pub struct History {
    stage: Arc<Stage>,
    record: Mutex<Record>,
}

impl History {
    pub fn new(stage: Arc<Stage>, batch_size: u64) -> History {
        History { stage, record: Mutex::new(Record { batch_size, ..Record::default() }) }
    }

    fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wrong(&self, text: String) {
        self.record().wrong.push(text);
    }

    /// The last number acknowledged so far.
    pub fn acked(&self) -> Seq {
        self.record().acked
    }

    pub fn batch_size(&self) -> u64 {
        self.record().batch_size
    }

    pub fn set_batch_size(&self, n: u64) {
        self.record().batch_size = n;
    }

    pub fn issue(&self, marked: bool, shared: Shared) -> Id {
        let issued = self.stage.moment();
        let mut record = self.record();
        let after = record.acked;
        record.writes.push(Write { marked, shared, issued, after, answer: None, decided_on: None });
        record.writes.len() - 1
    }

    /// Records the answer to a write. An OK is compared with what a power cut would leave at this time.
    pub fn answer(&self, id: Id, answer: Answer, durable: bool) {
        let (at, image) = (self.stage.moment(), self.stage.picture());
        let mut record = self.record();
        let issued = record.writes[id].issued;
        if record.writes[id].answer.replace((at, answer)).is_some() {
            record.wrong.push(format!("write {id} was answered twice"));
        }
        let Answer::Acked(seq) = answer else { return };
        if record.poisoned.is_some_and(|poisoned| poisoned < issued) {
            record.wrong.push(format!("write {id} got an OK after the store had failed"));
        }
        if record.closed.is_some_and(|closed| closed < issued) {
            record.wrong.push(format!("write {id} got an OK after the store was closed"));
        }
        let after = record.writes[id].after;
        if seq <= after {
            record.wrong.push(format!("write {id} got the number {seq}, but an earlier write got {after}"));
        }
        record.acked = record.acked.max(seq);
        let floor = if durable { seq } else { (seq + 1).saturating_sub(record.batch_size) };
        record.picture(image, at, floor);
    }

    /// Records that a write with an OK was decided on this value of the shared key.
    pub fn decided_on(&self, id: Id, value: Option<Id>) {
        self.record().writes[id].decided_on = Some(value);
    }

    /// Records that a call promised everything acknowledged up to `seq` as durable.
    pub fn promise(&self, seq: Seq) {
        let (at, image) = (self.stage.moment(), self.stage.picture());
        self.record().picture(image, at, seq);
    }

    /// Records that a reader saw the marker of a write, if a power cut must not take back what was seen.
    pub fn marker_seen(&self, id: Id) {
        let (at, image) = (self.stage.moment(), self.stage.picture());
        let mut record = self.record();
        let picture = record.picture(image, at, 0);
        record.pictures[picture].visible.push(id);
    }

    /// Records a reading of the shared key. It must not be older than the write `from`.
    pub fn shared_seen(&self, reader: usize, value: Option<Id>, from: Seq, durable: bool) {
        let (at, image) = (self.stage.moment(), self.stage.picture());
        let mut record = self.record();
        let picture = durable.then(|| record.picture(image, at, 0));
        if let (Some(picture), Some(id)) = (picture, value)
            && record.writes[id].marked
        {
            record.pictures[picture].visible.push(id);
        }
        record.seen.push(Seen { reader, value, from, picture });
    }

    /// Records what a view of write `seq` holds.
    pub fn viewed(&self, seq: Seq, found: BTreeMap<Vec<u8>, Vec<u8>>) {
        self.record().viewed.push(Viewed { seq, found });
    }

    /// Records that a submission was told OK, with the number of its last write. After a refusal numbers are given
    /// again, and otherwise they only grow.
    pub fn told_in_order(&self, seq: Seq) {
        let mut record = self.record();
        if seq <= record.told {
            let text = format!("a submission was told with write {seq}, after one with write {}", record.told);
            record.wrong.push(text);
        }
        record.told = seq;
    }

    /// Records that a submission was told that it is refused.
    pub fn told_refused(&self) {
        self.record().told = 0;
    }

    /// Records that a call failed.
    pub fn failed(&self, error: &Error) {
        match error {
            Error::Closed => self.closed(),
            Error::Poisoned { .. } => self.poisoned(),
            _ => {}
        }
        if !self.stage.troubled() && !matches!(error, Error::Closed) {
            self.wrong(format!("a call failed, but the disk did not: {error}"));
        }
    }

    /// Records that a caller got the error that the store has failed.
    pub fn poisoned(&self) {
        let at = self.stage.moment();
        self.record().poisoned.get_or_insert(at);
    }

    /// Records that a caller got the error that the store is closed.
    pub fn closed(&self) {
        let at = self.stage.moment();
        self.record().closed.get_or_insert(at);
    }

    pub fn is_marked(&self, id: Id) -> bool {
        self.record().writes[id].marked
    }

    /// The number of writes issued so far.
    pub fn issued(&self) -> usize {
        self.record().writes.len()
    }

    /// Whether the log holds the markers of all writes.
    pub fn markers_in(&self, image: &Image) -> bool {
        let holds = |log: &[u8], id| log.windows(marker(id).len()).any(|bytes| bytes == marker(id).as_bytes());
        image.get(Path::new(WAL)).is_some_and(|log| (0..self.issued()).all(|id| holds(log, id)))
    }

    /// The judgement at the end of all threads: a list of faults. Without a handle the store is dropped already.
    pub fn judge(&self, engine: Option<Engine>, draw: &mut Draw) -> Vec<String> {
        let record = std::mem::take(&mut *self.record());
        let mut wrong = record.wrong.clone();
        wrong.extend(
            (0..record.writes.len()).filter(|id| record.writes[*id].answer.is_none()).map(|id| format!("write {id}: no answer")),
        );
        let mut seqs = BTreeMap::new();
        for (id, seq) in record.acked_ones() {
            if let Some(other) = seqs.insert(seq, id) {
                wrong.push(format!("the writes {other} and {id} have the same number {seq}"));
            }
        }
        // A write that was answered OK is visible, even after later failures.
        for (id, _) in record.acked_ones().filter(|(id, _)| record.writes[*id].marked) {
            if engine.as_ref().is_some_and(|engine| !has(engine, &marker(id))) {
                wrong.push(format!("write {id} got an OK but is not visible"));
            }
        }
        for (id, seq) in record.acked_ones().filter(|_| record.all_known()) {
            if !record.writes[id].marked && record.writes[id].shared == Shared::Delete && record.shared_after(seq - 1).is_none() {
                wrong.push(format!("write {id} deleted a key that was not there"));
            }
        }
        for (id, seq) in record.acked_ones().filter(|_| record.none_in_doubt()) {
            let before = record.shared_after(seq - 1);
            if let Some(value) = record.writes[id].decided_on.filter(|value| *value != before) {
                wrong.push(format!("write {id} was decided on {value:?}, but before it the shared key was {before:?}"));
            }
        }
        record.viewed.iter().for_each(|viewed| record.check_view(viewed, &mut wrong));
        let failed = engine.as_ref().is_some_and(|engine| engine.stats().failed.is_some());
        drop(engine);
        let healthy = !failed && !self.stage.troubled();

        // The last handle is dropped: the store can be opened again. If nothing failed, everything is there.
        let floor = if healthy { record.acked } else { (record.acked + 1).saturating_sub(record.batch_size) };
        let end = self.stage.moment();
        if let Err(error) = self.stage.sim().lock(Path::new(LOCK)) {
            wrong.push(format!("the lock is still held: {error}"));
        }
        match open(&SimDisk::of_world(self.stage.sim().world(), end)) {
            Err(error) => wrong.push(format!("the store does not open again: {error}")),
            Ok(again) => drop(record.check("at the end", &again, end, floor, &mut wrong)),
        }

        let mut lasts = Vec::new();
        for (number, picture) in record.pictures.iter().enumerate() {
            let what = format!("picture {number}");
            let last = record.check_image(&what, &picture.image, picture.at, picture.floor, &picture.visible, &mut wrong);
            lasts.push(last);
        }
        record.check_seen(&seqs, &lasts, &mut wrong);

        if let Some((world, at)) = self.stage.crash() {
            let floor = record.promised.iter().filter(|(when, _)| *when <= at).map(|(_, seq)| *seq).max().unwrap_or(0);
            let short = draw.below(world.last_write_bytes().unwrap_or(1));
            for (what, image) in [
                ("death", world.after_death(None)),
                ("death in a write", world.after_death(Some(short))),
                ("power cut", world.after_power_cut(&draw.cut(world.units()))),
                ("another power cut", world.after_power_cut(&draw.cut(world.units()))),
            ] {
                record.check_image(what, &image, at, floor, &[], &mut wrong);
            }
        }
        wrong
    }
}

impl Record {
    fn picture(&mut self, image: Image, at: u64, floor: Seq) -> usize {
        if self.promised.last().is_none_or(|(_, seq)| *seq < floor) {
            self.promised.push((at, floor));
        }
        if self.pictures.last().is_none_or(|last| last.image != image) {
            self.pictures.push(Picture { image, at, floor, visible: Vec::new() });
        }
        let number = self.pictures.len() - 1;
        let last = &mut self.pictures[number];
        (last.at, last.floor) = (at, last.floor.max(floor));
        number
    }

    fn acked_ones(&self) -> impl Iterator<Item = (Id, Seq)> {
        self.writes.iter().enumerate().filter_map(|(id, write)| match write.answer {
            Some((_, Answer::Acked(seq))) => Some((id, seq)),
            _ => None,
        })
    }

    /// Whether the order of all writes is known from their answers.
    fn all_known(&self) -> bool {
        self.writes.iter().all(|write| matches!(write.answer, Some((_, Answer::Acked(_) | Answer::Absent))))
    }

    /// Whether every write was accepted for certain, or not accepted for certain. Then the order of those that were is
    /// known from their answers.
    fn none_in_doubt(&self) -> bool {
        self.writes.iter().all(|write| write.answer.is_some_and(|(_, answer)| answer != Answer::InDoubt))
    }

    fn check_image(&self, what: &str, image: &Image, at: u64, floor: Seq, visible: &[Id], wrong: &mut Vec<String>) -> Seq {
        match open(&SimDisk::new(image, at)) {
            Err(error) => {
                wrong.push(format!("{what}: it does not open: {error}"));
                0
            }
            Ok(engine) => {
                for id in visible {
                    if !has(&engine, &marker(*id)) {
                        wrong.push(format!("{what}: write {id} was seen at batch size 1 and is lost"));
                    }
                }
                self.check(what, &engine, at, floor, wrong)
            }
        }
    }

    /// Checks that a recovered store is exactly a prefix of the writes issued by `at`, and holds the first `floor`
    /// writes. Returns its last number.
    fn check(&self, what: &str, engine: &Engine, at: u64, floor: Seq, wrong: &mut Vec<String>) -> Seq {
        let last = engine.recovery().last_seq;
        let mut fail = |text: String| wrong.push(format!("{what}: {text}"));
        if matches!(engine.recovery().tail, LogTail::Damaged(_)) {
            fail("a crash is reported as damage".into());
        }
        if last < floor {
            fail(format!("the last write is {last}, but {floor} were promised"));
        }
        let (mut present, mut perhaps, mut markers) = (0, 0, 0);
        for (id, write) in self.writes.iter().enumerate() {
            let here = write.marked && has(engine, &marker(id));
            markers += usize::from(here);
            let answered = write.answer.filter(|(when, _)| *when <= at).map(|(_, answer)| answer);
            let expected = match (answered, write.answer) {
                _ if write.issued > at => Some(false),
                (Some(Answer::Acked(seq)), _) => Some(seq <= last),
                (Some(Answer::Refused | Answer::Absent), _) => Some(false),
                (Some(Answer::InDoubt) | None, Some((_, Answer::Acked(seq)))) if here || self.all_known() => Some(seq <= last),
                (Some(Answer::InDoubt) | None, _) => None,
            };
            match expected {
                Some(expected) if write.marked && here != expected => {
                    fail(format!(
                        "write {id} ({write:?}) is {}, but the last write is {last}",
                        if here { "there" } else { "missing" }
                    ));
                }
                Some(expected) => present += u64::from(expected),
                None if write.marked => present += u64::from(here),
                None => perhaps += 1,
            }
        }
        if last < present || last > present + perhaps {
            fail(format!("{present} writes are there, and perhaps {perhaps} more, but the last write is {last}"));
        }
        let shared = shared_of(engine);
        if engine.len() != markers + usize::from(shared.is_some()) {
            fail(format!("there are {} keys, and {markers} of them are markers", engine.len()));
        }
        if self.all_known() && shared != self.shared_after(last) {
            fail(format!("the shared key is {shared:?}, but after write {last} it was {:?}", self.shared_after(last)));
        }
        last
    }

    /// Checks that a view holds exactly the writes up to its number.
    fn check_view(&self, viewed: &Viewed, wrong: &mut Vec<String>) {
        let mut fail = |text: String| wrong.push(format!("view of write {}: {text}", viewed.seq));
        for (id, write) in self.writes.iter().enumerate().filter(|(_, write)| write.marked) {
            let here = viewed.found.contains_key(marker(id).as_bytes());
            let expected = match write.answer {
                Some((_, Answer::Acked(seq))) => seq <= viewed.seq,
                Some((_, Answer::Refused | Answer::Absent)) => false,
                _ => here,
            };
            if here != expected {
                fail(format!("write {id} ({write:?}) is {}", if here { "there" } else { "missing" }));
            }
        }
        let shared = viewed.found.get(SHARED.as_bytes());
        let shared = shared.map(|value| std::str::from_utf8(value).expect("a number").parse::<Id>().expect("a number"));
        if self.all_known() && shared != self.shared_after(viewed.seq) {
            fail(format!("the shared key is {shared:?}, but then it was {:?}", self.shared_after(viewed.seq)));
        }
    }

    /// The shared key after the write with this number. All writes must be known.
    fn shared_after(&self, last: Seq) -> Option<Id> {
        let touching = |(id, seq): &(Id, Seq)| *seq <= last && self.writes[*id].shared != Shared::Leave;
        let newest = self.acked_ones().filter(touching).max_by_key(|(_, seq)| *seq);
        newest.filter(|(id, _)| self.writes[*id].shared == Shared::Put).map(|(id, _)| id)
    }

    /// Checks that each reader saw states of the store in their order. None may be older than the last acknowledged
    /// write. If it is promised, none may be taken back by a power cut.
    fn check_seen(&self, seqs: &BTreeMap<Seq, Id>, lasts: &[Seq], wrong: &mut Vec<String>) {
        if !self.none_in_doubt() {
            return;
        }
        let newest = seqs.keys().next_back().copied().unwrap_or(0);
        let mut reached: BTreeMap<usize, Seq> = BTreeMap::new();
        for seen in &self.seen {
            let reached = reached.entry(seen.reader).or_default();
            let from = seen.from.max(*reached);
            let to = seen.picture.map_or(newest, |picture| lasts[picture]);
            match (from..=to).find(|seq| self.shared_after(*seq) == seen.value) {
                Some(seq) => *reached = seq,
                None => {
                    wrong.push(format!("reader {} saw {:?}, which is not a state from {from} to {to}", seen.reader, seen.value))
                }
            }
        }
    }
}

pub fn marker(id: Id) -> String {
    format!("marker {id}")
}

fn has(engine: &Engine, key: &str) -> bool {
    engine.get(key).expect("a read does not fail").is_some()
}

/// The write that the shared key names.
pub fn shared_of(engine: &Engine) -> Option<Id> {
    named(engine.get(SHARED).expect("a read does not fail").as_deref())
}

/// The write that this value of the shared key names.
pub fn named(value: Option<&[u8]>) -> Option<Id> {
    value.map(|value| std::str::from_utf8(value).expect("a number").parse().expect("a number"))
}

fn open(disk: &SimDisk) -> kv_engine::Result<Engine> {
    Options::new(WAL, SNAPSHOT).flush_interval(Duration::ZERO).disk(Arc::new(disk.clone())).open()
}

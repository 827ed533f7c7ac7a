//! [`History`]: what the threads of one schedule asked, what they were answered and what they saw; and the
//! judgement over it when the schedule has ended.
//!
//! Every write but some has a *marker*, a key that only it puts and nobody deletes, so that of any state it
//! can be told which writes are in it. The *shared* key is put and deleted by everybody; its value names the
//! write that put it.

use crate::draw::Draw;
use crate::stage::Stage;
use kv_engine::disk::Disk;
use kv_engine::disk::sim::{Image, SimDisk};
use kv_engine::{Engine, Options, Seq, LogTail};
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
    /// It is certain that it was not taken.
    Refused,
    /// It may be taken or not: the store failed, or the thread panicked.
    InDoubt,
    /// Nothing to delete.
    Absent,
}

/// What a write does to the shared key.
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
    /// The last number acknowledged when it was issued.
    after: Seq,
    answer: Option<(u64, Answer)>,
}

/// What must survive of an image of the disk.
struct Picture {
    image: Image,
    at: u64,
    floor: Seq,
    visible: Vec<Id>,
}

/// What somebody saw in the shared key.
struct Seen {
    reader: usize,
    value: Option<Id>,
    /// It was not older than this write,
    from: Seq,
    /// nor newer than this picture, where that is promised.
    picture: Option<usize>,
}

#[derive(Default)]
struct Record {
    writes: Vec<Write>,
    pictures: Vec<Picture>,
    seen: Vec<Seen>,
    acked: Seq,
    /// The most writes that may be acknowledged and lost, and one.
    batch_size: u64,
    poisoned: Option<u64>,
    closed: Option<u64>,
    wrong: Vec<String>,
    /// The last promise made: number and moment.
    promised: Vec<(u64, Seq)>,
}

/// See the head of this file. Its lock is a standard one: nobody holds it while another thread goes on.
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
        record.writes.push(Write { marked, shared, issued, after, answer: None });
        record.writes.len() - 1
    }

    /// A write was answered. An OK is judged by what a power cut would leave at this moment.
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
            record.wrong.push(format!("write {id} got the number {seq}, and an earlier one {after}"));
        }
        record.acked = record.acked.max(seq);
        let floor = if durable { seq } else { (seq + 1).saturating_sub(record.batch_size) };
        record.picture(image, at, floor);
    }

    /// A call promised that everything acknowledged up to `seq` is durable.
    pub fn promise(&self, seq: Seq) {
        let (at, image) = (self.stage.moment(), self.stage.picture());
        self.record().picture(image, at, seq);
    }

    /// A reader saw the marker of a write of which a power cut must not take back what was seen.
    pub fn marker_seen(&self, id: Id) {
        let (at, image) = (self.stage.moment(), self.stage.picture());
        let mut record = self.record();
        let picture = record.picture(image, at, 0);
        record.pictures[picture].visible.push(id);
    }

    /// A reader saw this in the shared key, not older than the write `from`.
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

    /// Somebody was told that the store has failed.
    pub fn poisoned(&self) {
        let at = self.stage.moment();
        self.record().poisoned.get_or_insert(at);
    }

    /// Somebody was told that the store is closed.
    pub fn closed(&self) {
        let at = self.stage.moment();
        self.record().closed.get_or_insert(at);
    }

    /// How many writes were issued.
    pub fn issued(&self) -> usize {
        self.record().writes.len()
    }

    /// Whether the log holds the markers of all writes.
    pub fn markers_in(&self, image: &Image) -> bool {
        let holds = |log: &[u8], id| log.windows(marker(id).len()).any(|bytes| bytes == marker(id).as_bytes());
        image.get(Path::new(WAL)).is_some_and(|log| (0..self.issued()).all(|id| holds(log, id)))
    }

    /// The judgement, when all threads have ended: what is wrong.
    pub fn judge(&self, engine: Engine, draw: &mut Draw) -> Vec<String> {
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
        // Whoever was told OK is visible, whatever happened afterwards.
        for (id, _) in record.acked_ones().filter(|(id, _)| record.writes[*id].marked) {
            if !has(&engine, &marker(id)) {
                wrong.push(format!("write {id} got an OK and is not visible"));
            }
        }
        for (id, seq) in record.acked_ones().filter(|_| record.all_known()) {
            if !record.writes[id].marked && record.writes[id].shared == Shared::Delete && record.shared_after(seq - 1).is_none() {
                wrong.push(format!("write {id} deleted what was not there"));
            }
        }
        let failed = engine.stats().failed.is_some();
        drop(engine);
        let healthy = !failed && !self.stage.troubled();

        // The last clone is gone: the store can be opened again, and if nothing failed all of it is there.
        let floor = if healthy { record.acked } else { (record.acked + 1).saturating_sub(record.batch_size) };
        let end = self.stage.moment();
        if let Err(error) = self.stage.sim().lock(Path::new(LOCK)) {
            wrong.push(format!("the lock is still held: {error}"));
        }
        match open(&SimDisk::of_world(self.stage.sim().world(), end)) {
            Err(error) => wrong.push(format!("cannot be opened again: {error}")),
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

    /// Whether all writes were answered so that the order of all is known.
    fn all_known(&self) -> bool {
        self.writes.iter().all(|write| matches!(write.answer, Some((_, Answer::Acked(_) | Answer::Absent))))
    }

    fn check_image(&self, what: &str, image: &Image, at: u64, floor: Seq, visible: &[Id], wrong: &mut Vec<String>) -> Seq {
        match open(&SimDisk::new(image, at)) {
            Err(error) => {
                wrong.push(format!("{what}: not opened: {error}"));
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

    /// Whether a recovered store is exactly a prefix of what was issued by `at`, and holds the first `floor`.
    /// Returns its last number.
    fn check(&self, what: &str, engine: &Engine, at: u64, floor: Seq, wrong: &mut Vec<String>) -> Seq {
        let last = engine.recovery().last_seq;
        let mut say = |text: String| wrong.push(format!("{what}: {text}"));
        if matches!(engine.recovery().tail, LogTail::Damaged(_)) {
            say("a crash is taken for damage".into());
        }
        if last < floor {
            say(format!("the last write is {last}, and {floor} were promised"));
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
                    say(format!("write {id} ({write:?}) is {}, the last one is {last}", if here { "there" } else { "missing" }));
                }
                Some(expected) => present += u64::from(expected),
                None if write.marked => present += u64::from(here),
                None => perhaps += 1,
            }
        }
        if last < present || last > present + perhaps {
            say(format!("{present} writes are there, perhaps {perhaps} more, and the last one is {last}"));
        }
        let shared = shared_of(engine);
        if engine.len() != markers + usize::from(shared.is_some()) {
            say(format!("{} keys, of them {markers} markers", engine.len()));
        }
        if self.all_known() && shared != self.shared_after(last) {
            say(format!("the shared key is {shared:?}, after write {last} it was {:?}", self.shared_after(last)));
        }
        last
    }

    /// The shared key after the write with this number; needs all writes to be known.
    fn shared_after(&self, last: Seq) -> Option<Id> {
        let touching = |(id, seq): &(Id, Seq)| *seq <= last && self.writes[*id].shared != Shared::Leave;
        let newest = self.acked_ones().filter(touching).max_by_key(|(_, seq)| *seq);
        newest.filter(|(id, _)| self.writes[*id].shared == Shared::Put).map(|(id, _)| id)
    }

    /// Whether each reader saw states of the store in their order, none older than what had been
    /// acknowledged and, where that is promised, none that a power cut takes back.
    fn check_seen(&self, seqs: &BTreeMap<Seq, Id>, lasts: &[Seq], wrong: &mut Vec<String>) {
        if !self.all_known() {
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
                None => wrong.push(format!("reader {} saw {:?}, which is no state from {from} to {to}", seen.reader, seen.value)),
            }
        }
    }
}

pub fn marker(id: Id) -> String {
    format!("marker {id}")
}

fn has(engine: &Engine, key: &str) -> bool {
    engine.get(key).expect("reads never fail").is_some()
}

/// Which write the shared key names.
pub fn shared_of(engine: &Engine) -> Option<Id> {
    let value = engine.get(SHARED).expect("reads never fail")?;
    Some(std::str::from_utf8(&value).expect("a number").parse().expect("a number"))
}

fn open(disk: &SimDisk) -> kv_engine::Result<Engine> {
    Options::new(WAL, SNAPSHOT).flush_interval(Duration::ZERO).disk(Arc::new(disk.clone())).open()
}

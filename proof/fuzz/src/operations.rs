//! Calls of a program, clean closes, crashes, and crashes in the middle of recovery, on a simulated disk. A model
//! keeps every write, and every answer must be the model's. After a crash the store must hold the state after some
//! write: no promised write may be missing, and none may be invented.

use crate::input::Input;
use crate::store::{self, options};
use crate::{bounded, reference};
use kv_engine::disk::sim::{Fate, PowerCut, Rest, SimDisk, World};
use kv_engine::{Ack, Batch, Engine, Error, LogTail, Options, Recovery};
use std::collections::BTreeMap;

/// More calls teach nothing new.
const MOST_CALLS: usize = 100;

type Entry = (Vec<u8>, Option<Vec<u8>>);
type Write = Vec<Entry>;

/// Runs the calls of an input.
pub fn run(data: &[u8]) {
    bounded(data.len(), || {
        let mut input = Input::new(data);
        let mut session = Session::begin(World::default(), Model::default(), &mut input);
        for _ in 0..MOST_CALLS {
            if input.is_at_end() {
                break;
            }
            session = session.step(&mut input);
        }
        let world = session.disk.world();
        let model = session.model.clone();
        drop(session);
        Session::begin(world, model, &mut input);
    });
}

/// Every write so far, and which of them may be missing.
#[derive(Clone, Debug, Default)]
struct Model {
    writes: Vec<Write>,
    /// The number of them that were promised durable.
    promised: usize,
    /// The state after all writes.
    map: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Model {
    fn write(&mut self, write: Write) {
        apply(&mut self.map, &write);
        self.writes.push(write);
    }

    /// Drops the writes behind the first `count`, which a crash took. The others are durable.
    fn cut(&mut self, count: usize) {
        assert!(self.promised <= count, "the last write is {count}, but {} were promised", self.promised);
        assert!(count <= self.writes.len(), "the last write is {count}, but only {} were issued", self.writes.len());
        self.writes.truncate(count);
        self.promised = count;
        self.map.clear();
        self.writes.iter().for_each(|write| apply(&mut self.map, write));
    }

    fn pending(&self) -> u64 {
        (self.writes.len() - self.promised) as u64
    }
}

fn apply(map: &mut BTreeMap<Vec<u8>, Vec<u8>>, write: &Write) {
    for (key, value) in write {
        match value {
            Some(value) => map.insert(key.clone(), value.clone()),
            None => map.remove(key),
        };
    }
}

/// The time from one opening to the next.
struct Session {
    disk: SimDisk,
    engine: Engine,
    batch_size: u64,
    /// The disk as opening found it.
    start: World,
    /// The model at that time.
    before: Model,
    /// The number of changes to the disk that opening made.
    opened: usize,
    model: Model,
    /// The writes issued and promised after each number of changes.
    marks: Vec<(usize, usize, usize)>,
}

fn choose(input: &mut Input<'_>, disk: &SimDisk) -> (Options, u64) {
    let choice = input.byte();
    let batch_size = [1, 1, 2, 3, 5, 50][usize::from(choice) % 6];
    let policy = if choice & 0x40 == 0 { Recovery::Prefix } else { Recovery::Strict };
    let options = options(disk).batch_size(batch_size).recovery(policy).snapshot_on_close(choice & 0x80 != 0);
    // Whether values stay in the snapshot from now on.
    (if choice & 0x20 == 0 { options } else { options.values_in_snapshot(usize::from(choice) << 8) }, batch_size)
}

impl Session {
    /// Opens the store on the disk of `start`. It must hold everything that the model promises.
    fn begin(start: World, before: Model, input: &mut Input<'_>) -> Session {
        let disk = SimDisk::of_world(start.clone(), u64::from(input.byte()));
        let (options, batch_size) = choose(input, &disk);
        let refused = |error| panic!("refused after a crash: {error}");
        let engine = match options.clone().open() {
            // Strict mode does not cut whole writes, even if they belong to a group that a power cut has torn.
            Err(Error::Damaged { .. }) => {
                let engine = options.recovery(Recovery::Prefix).open().unwrap_or_else(refused);
                let tail = &engine.recovery().tail;
                assert!(matches!(tail, LogTail::Torn(cut) if cut.writes_beyond > 0), "refused in strict mode: {tail:?}");
                engine
            }
            opened => opened.unwrap_or_else(refused),
        };
        let report = engine.recovery();
        assert!(!matches!(report.tail, LogTail::Damaged(_)) && !report.is_loss(), "a crash is reported as damage: {report:?}");
        let mut model = before.clone();
        model.cut(usize::try_from(report.last_seq).expect("few writes"));
        let map = model.map.iter().map(|(key, value)| (&**key, &**value)).collect();
        store::assert_holds(&engine, &map);
        let files = store::files(&disk);
        let log = reference::log(store::file(&files, store::LOG).expect("the store is open"), 0).expect("a sound log");
        assert_eq!(
            (log.tail, log.last),
            (Some(reference::LogTail::Clean), report.last_seq),
            "bytes are left behind the log's end"
        );
        let opened = disk.changes();
        let marks = vec![(opened, model.writes.len(), model.promised)];
        Session { disk, engine, batch_size, start, before, opened, model, marks }
    }

    fn step(mut self, input: &mut Input<'_>) -> Session {
        let choice = input.byte();
        match choice % 16 {
            0..=3 => {
                let (key, value) = (key(choice >> 4), value(input));
                let ack = self.engine.put(&key, &value).expect("no error on a healthy disk");
                self.written(vec![(key, Some(value))], ack);
            }
            4 => {
                let key = key(choice >> 4);
                let there = self.model.map.contains_key(&key);
                let ack = self.engine.delete(&key).expect("no error on a healthy disk");
                assert_eq!(ack.is_some(), there, "whether the key was there");
                if let Some(ack) = ack {
                    self.written(vec![(key, None)], ack);
                }
            }
            5 | 6 => self.group(choice >> 4, input),
            7 => {
                let flushed = self.engine.flush().expect("no error on a healthy disk");
                assert_eq!(flushed.writes, self.model.pending());
                self.model.promised = self.model.writes.len();
            }
            8 => {
                let snapshot = self.engine.snapshot().expect("no error on a healthy disk");
                assert_eq!((snapshot.seq, snapshot.keys), (self.model.writes.len() as u64, self.model.map.len() as u64));
                assert_eq!(snapshot.digest, self.engine.digest());
                self.model.promised = self.model.writes.len();
            }
            9 => {
                let size = u64::from(choice >> 4);
                let set = self.engine.set_batch_size(size);
                if size == 0 {
                    assert!(matches!(set, Err(Error::Limit { .. })));
                } else {
                    set.expect("no error on a healthy disk");
                    if self.model.pending() >= size {
                        self.model.promised = self.model.writes.len();
                    }
                    self.batch_size = size;
                }
            }
            10 => {
                let key = key(choice >> 4);
                let value = self.engine.get(&key).expect("reading memory");
                assert_eq!(value.as_deref(), self.model.map.get(&key).map(|value| &**value));
                let prefix = &key[..1];
                let found: Result<Vec<_>, _> = self.engine.keys(prefix).collect();
                let expected: Vec<_> = self.model.map.keys().filter(|key| key.starts_with(prefix)).cloned().collect();
                assert_eq!(found.expect("reading memory"), expected);
            }
            11 | 12 => return self.reopened(input),
            _ => return self.crashed(choice >> 4, input),
        }
        self.marks.push((self.disk.changes(), self.model.writes.len(), self.model.promised));
        assert_eq!(self.engine.pending(), self.model.pending());
        assert_eq!(self.engine.len(), self.model.map.len());
        self
    }

    /// Checks the answer to a write, which reports exactly how many writes can still be lost.
    fn written(&mut self, write: Write, ack: Ack) {
        self.model.write(write);
        if self.model.pending() >= self.batch_size {
            self.model.promised = self.model.writes.len();
        }
        let pending = self.model.pending();
        assert_eq!((ack.seq, ack.durable, ack.pending), (self.model.writes.len() as u64, pending == 0, pending));
    }

    fn group(&mut self, count: u8, input: &mut Input<'_>) {
        let (mut batch, mut write) = (Batch::new(), Write::new());
        for _ in 0..count % 5 {
            let choice = input.byte();
            let key = key(choice >> 4);
            if choice & 1 == 0 {
                batch.delete(&key);
                write.push((key, None));
            } else {
                let value = value(input);
                batch.put(&key, &value);
                write.push((key, Some(value)));
            }
        }
        let ack = self.engine.write(batch).expect("no error on a healthy disk");
        if write.is_empty() {
            assert_eq!((ack.seq, ack.pending), (self.model.writes.len() as u64, self.model.pending()));
        } else {
            self.written(write, ack);
        }
    }

    fn reopened(mut self, input: &mut Input<'_>) -> Session {
        self.engine.close().expect("no error on a healthy disk");
        assert!(matches!(self.engine.put("late", ""), Err(Error::Closed)));
        self.model.promised = self.model.writes.len();
        let session = Session::begin(self.disk.world(), self.model.clone(), input);
        let report = session.engine.recovery();
        assert!(report.closed_cleanly && report.tail == LogTail::Clean, "closed cleanly, but recovery reports: {report:?}");
        session
    }

    /// A crash after one of the last changes to the disk: a power cut, or the death of the process. After a death, the
    /// last bytes may stay in memory or be lost.
    fn crashed(self, how: u8, input: &mut Input<'_>) -> Session {
        let trace = self.disk.trace();
        let at = trace.len() - usize::from(input.byte()) % (trace.len() + 1);
        let mut world = self.start.clone();
        trace[..at].iter().for_each(|change| world.apply(change));
        let mut model = if at < self.opened { self.before.clone() } else { self.model.clone() };
        if at >= self.opened {
            // At least the writes promised by finished calls, and at most those issued by the call under way.
            let (_, _, promised) = *self.marks.iter().rev().find(|(changes, ..)| *changes <= at).expect("the store was open");
            let issued = self.marks.iter().find(|(changes, ..)| *changes > at).or(self.marks.last()).expect("it was open").1;
            model.writes.truncate(issued);
            model.promised = promised;
        }
        let world = match how % 4 {
            0 => world,
            1 => World::of(&world.after_death(Some(usize::from(u16::from_le_bytes(input.array()))))),
            _ => World::of(&world.after_power_cut(&chosen(world.units(), input))),
        };
        drop(self);
        Session::begin(world, model, input)
    }
}

/// The input decides what a power cut keeps: one byte for each unit, and a number if the unit needs one.
fn chosen(units: usize, input: &mut Input<'_>) -> PowerCut {
    let mut fate = || {
        let byte = input.byte();
        let number = u16::from(byte >> 3) << 4;
        match byte % 8 {
            0..=2 => Fate::Lost,
            3 | 4 => Fate::Kept,
            5 => Fate::Torn(number),
            6 => Fate::Garbage(number),
            _ => Fate::Stale(number),
        }
    };
    let fates = (0..units).map(|_| fate()).collect();
    let rest = input.byte();
    PowerCut { fates, rests: vec![Rest { length: u16::from(rest & 7), hole: u16::from(rest >> 6) }] }
}

fn key(choice: u8) -> Vec<u8> {
    const KEYS: [&[u8]; 8] = [b"a", b"ab", b"b", b"key", b"\0", b"\xff", b"k", b"k\xff"];
    KEYS[usize::from(choice) % KEYS.len()].to_vec()
}

/// Mostly short; sometimes longer than a sector, or than a block of a snapshot.
fn value(input: &mut Input<'_>) -> Vec<u8> {
    let choice = input.byte();
    let length = match choice {
        0xf8.. => 4000 + usize::from(choice) * 4,
        0xe0.. => 500 + usize::from(choice),
        _ => usize::from(choice % 40),
    };
    vec![choice | 1; length]
}

//! [`KnownLog`]: a log as the engine wrote it on a healthy disk, with what is known about each byte: its record, and
//! the group that one call wrote. Also known are the writes issued and promised at that time, and the state after each
//! write.
//!
//! [`Writer`] is the process that writes the log.

use super::memory::Memory;
use super::store::{SNAPSHOT, WAL};
use crate::disk::Disk;
use crate::engine::{Ack, Batch, Engine, Options};
use crate::merge_view::MergeView;
use crate::record::Kind;
use crate::recovery::read_header;
use crate::scan::{Frames, Next};
use crate::state::{Op, State};
use crate::wal::{HEADER_BYTES, OPENED_BYTES};
use std::ops::{Bound, Range};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bytes that one call wrote and had not synced before it returned.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group {
    pub(super) start: usize,
    pub(super) end: usize,
    /// The last write promised before the call, and the last write issued when it returned.
    pub(super) promised: u64,
    pub(super) issued: u64,
}

/// One record of a log.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) kind: Kind,
    pub(super) seq: u64,
    /// The last write that was known to be durable when this record was made: as the engine reported it, not as the
    /// record says.
    pub(super) durable: u64,
}

/// A log, and what is known about it.
pub(super) struct KnownLog {
    pub(super) bytes: Vec<u8>,
    pub(super) snapshot: Option<Vec<u8>>,
    pub(super) groups: Vec<Group>,
    pub(super) records: Vec<Record>,
    /// The log, or the snapshot, begins after this write.
    pub(super) base: u64,
    /// The state after each write, beginning with no write.
    pub(super) states: Vec<State>,
    /// What an earlier session left in the same file, before a crash took it.
    pub(super) earlier: Option<Earlier>,
}

/// The log's bytes as an earlier session left them.
#[derive(Clone)]
pub(super) struct Earlier {
    pub(super) bytes: Vec<u8>,
    /// Where the next session went on.
    pub(super) cut: usize,
}

impl KnownLog {
    /// The whole part of the log, if only its first `bytes` are as they were written: the last write, the end of the
    /// last record, and whether that record is the mark of a clean close.
    pub(super) fn whole(&self, bytes: usize) -> (u64, usize, bool) {
        let count = self.records.partition_point(|record| record.end <= bytes);
        match self.records[..count].last() {
            Some(record) => (record.seq.max(self.base), record.end, record.kind == Kind::CLOSED),
            None => (self.base, HEADER_BYTES, true),
        }
    }

    /// Whether `state` is the state after write `seq`, entry by entry.
    pub(super) fn is_state(&self, seq: u64, state: &MergeView) -> bool {
        let expected = usize::try_from(seq).ok().and_then(|at| self.states.get(at));
        expected.is_some_and(|expected| {
            let is = |key: &[u8], value: &[u8]| matches!(state.with(key, |found| found == value), Ok(Some(true)));
            state.count().is_ok_and(|count| count == expected.len() as u64)
                && expected.range(Bound::Unbounded).all(|(key, value)| is(key, value))
        })
    }

    /// From this offset on, no later record proves that a write was synced. It is the start of the last group, or of
    /// the mark that a close wrote.
    pub(super) fn unwitnessed_from(&self) -> usize {
        // Two marks with no write between them are synced together, so the second proves nothing about the first.
        let mut behind = self.records.iter().rev().take_while(|record| record.kind != Kind::WRITE).peekable();
        let is_closed = behind.peek().is_some_and(|record| record.kind == Kind::CLOSED);
        let marked = behind.last().filter(|_| is_closed).map(|record| record.start);
        // The mark of an opening is synced by itself. The first proven group after it proves the mark too.
        let before = |start| self.records.iter().find(|record| record.end == start && record.kind == Kind::OPENED);
        let group = self.groups.last().map(|group| before(group.start).map_or(group.start, |mark| mark.start));
        marked.or(group).unwrap_or(HEADER_BYTES)
    }

    /// The bytes of the last synced group, if the store was idle when it was killed; else nothing.
    pub(super) fn idle_group(&self) -> Range<usize> {
        match (self.groups.as_slice(), self.records.last()) {
            ([.., group, mark], Some(last)) if last.kind == Kind::OPENED && last.start == mark.start => group.start..group.end,
            _ => 0..0,
        }
    }
}

/// What the writer knows.
#[derive(Clone)]
struct Model {
    states: Vec<State>,
    promised: u64,
    /// The last promised write at the time when each write was issued.
    known: Vec<u64>,
}

impl Model {
    fn issued(&self) -> u64 {
        self.states.len() as u64 - 1
    }

    fn issue(&mut self, ops: &[Op]) {
        let mut state = self.states.last().expect("it begins with the empty state").clone();
        ops.iter().for_each(|op| {
            state.apply(op.clone());
        });
        self.states.push(state);
        self.known.push(self.promised);
    }

    fn answered(&mut self, ack: Ack) {
        if ack.durable {
            self.promised = self.promised.max(ack.seq);
        }
    }
}

/// Writes a log, call by call.
pub(super) struct Writer {
    disk: Memory,
    engine: Arc<Engine>,
    model: Arc<Mutex<Model>>,
    groups: Vec<Group>,
    /// The number of writes to the log's file that are among the groups.
    noted: usize,
    base: u64,
    earlier: Option<Earlier>,
}

impl Writer {
    /// Begins a store.
    pub(super) fn new(seed: u64, batch_size: u64) -> Writer {
        let disk = Memory::new(seed);
        let model = Model { states: vec![State::default()], promised: 0, known: vec![0] };
        let engine = open(&disk, batch_size);
        let model = Arc::new(Mutex::new(model));
        let mut writer = Writer { disk, engine, model, groups: Vec::new(), noted: 0, base: 0, earlier: None };
        writer.note(0);
        writer
    }

    fn model(&self) -> MutexGuard<'_, Model> {
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds the groups that were written since the last call. `promised`: the last write promised before this step.
    fn note(&mut self, promised: u64) {
        let writes = self.disk.file(Path::new(WAL)).expect("there is a log").writes();
        let issued = self.model().issued();
        for &(start, bytes) in &writes[self.noted..] {
            // A single mark is written when everything is durable.
            let promised = if bytes == OPENED_BYTES { issued } else { promised };
            if start >= HEADER_BYTES {
                self.groups.push(Group { start, end: start + bytes, promised, issued });
            }
        }
        self.noted = writes.len();
    }

    fn step<T>(&mut self, call: impl FnOnce(&Engine) -> crate::Result<T>) -> T {
        let promised = self.model().promised;
        let done = call(&self.engine).unwrap_or_else(|error| panic!("an error on a healthy disk: {error}"));
        self.note(promised);
        done
    }

    fn write(&mut self, ops: &[Op], call: impl FnOnce(&Engine) -> crate::Result<Ack>) {
        self.model().issue(ops);
        let ack = self.step(call);
        assert_eq!(ack.seq, self.model().issued(), "sequence numbers have no gaps");
        self.model().answered(ack);
    }

    pub(super) fn put(&mut self, key: &str, value: &[u8]) {
        self.write(&[Op::put(key.as_bytes(), value)], |engine| engine.put(key, value));
    }

    /// Deletes a key that exists.
    pub(super) fn delete(&mut self, key: &str) {
        self.write(&[Op::delete(key.as_bytes())], |engine| engine.delete(key).map(|ack| ack.expect("the key exists")));
    }

    pub(super) fn batch(&mut self, batch: Batch) {
        self.write(&batch.ops.clone(), |engine| engine.write(batch));
    }

    pub(super) fn flush(&mut self) {
        let issued = self.model().issued();
        self.step(Engine::flush);
        self.model().promised = issued;
    }

    /// Waits without writing, until the flusher has written the mark that proves the last write.
    pub(super) fn idle(&mut self) {
        while self.engine.flusher_turn().is_some() {}
        let promised = self.model().promised;
        self.note(promised);
    }

    /// A flush, with puts that other threads issue while it runs.
    pub(super) fn flush_with(&mut self, puts: Vec<(String, Vec<u8>)>) {
        let (engine, model) = (Arc::clone(&self.engine), Arc::clone(&self.model));
        self.disk.during_next_sync(move || {
            for (key, value) in puts {
                let mut model = model.lock().unwrap_or_else(PoisonError::into_inner);
                model.issue(&[Op::put(key.as_bytes(), &value)]);
                let ack = engine.put(key, value).unwrap_or_else(|error| panic!("an error on a healthy disk: {error}"));
                model.answered(ack);
            }
        });
        self.flush();
    }

    /// A snapshot. After it, the log begins anew.
    pub(super) fn snapshot(&mut self) {
        self.engine.snapshot().unwrap_or_else(|error| panic!("an error on a healthy disk: {error}"));
        let issued = self.model().issued();
        self.model().promised = issued;
        (self.base, self.noted) = (issued, 0);
        self.groups.clear();
        self.note(issued);
    }

    /// A clean close, and another session.
    pub(super) fn reopen(&mut self, batch_size: u64) {
        self.close();
        self.engine = open(&self.disk, batch_size);
    }

    pub(super) fn close(&mut self) {
        self.step(Engine::close);
        let issued = self.model().issued();
        self.model().promised = issued;
    }

    /// A snapshot is in place, and the power fails before the new log is. The next session continues the old log.
    pub(super) fn snapshot_and_power_cut(self, seed: u64, batch_size: u64) -> Writer {
        let mut log = self.log();
        self.engine.snapshot().unwrap_or_else(|error| panic!("an error on a healthy disk: {error}"));
        log.snapshot = self.disk.file(Path::new(SNAPSHOT)).map(|file| file.bytes());
        log.base = self.model().issued();
        let next = self.restart(&log, log.bytes.len(), seed, batch_size);
        Writer { base: log.base, groups: Vec::new(), ..next } // the groups are from before the snapshot
    }

    /// The power fails and leaves the first `bytes` of the log. Another session continues it.
    pub(super) fn power_cut(self, bytes: usize, seed: u64, batch_size: u64) -> Writer {
        let mut log = self.log();
        // The lost part was not synced, so no mark followed it.
        if let Some(mark) = log.records.last().filter(|last| last.kind == Kind::OPENED && last.start >= bytes) {
            log.bytes.truncate(mark.start);
        }
        let mut next = self.restart(&log, bytes, seed, batch_size);
        next.earlier = Some(Earlier { cut: next.log().bytes.len(), bytes: log.bytes });
        next
    }

    fn restart(&self, log: &KnownLog, bytes: usize, seed: u64, batch_size: u64) -> Writer {
        let disk = Memory::new(seed);
        disk.put(Path::new(WAL), &log.bytes[..bytes]);
        log.snapshot.iter().for_each(|snapshot| disk.put(Path::new(SNAPSHOT), snapshot));
        let (last, _, _) = log.whole(bytes);
        let mut model = self.model().clone();
        let kept = usize::try_from(last).expect("few writes") + 1;
        model.states.truncate(kept);
        model.known.truncate(kept);
        model.promised = last; // recovered writes are durable
        let engine = open(&disk, batch_size);
        assert_eq!(engine.recovery().last_seq, last, "every whole record is recovered");
        let mut groups = self.groups.clone();
        groups.retain(|group| group.end <= bytes);
        let model = Arc::new(Mutex::new(model));
        Writer { disk, engine, model, groups, noted: 0, base: self.base, earlier: self.earlier.clone() }
    }

    /// The log as written so far.
    pub(super) fn log(&self) -> KnownLog {
        let path = Path::new(WAL);
        let file = self.disk.open(path).expect("a healthy disk").expect("there is a log");
        let bytes = self.disk.file(path).expect("there is a log").bytes();
        let snapshot = self.disk.file(Path::new(SNAPSHOT)).map(|file| file.bytes());
        let model = self.model();
        let header = read_header(&*file, path).expect("a sound log");
        let mut frames =
            Frames::new(file, path, Kind::WRITE, header.salt, HEADER_BYTES as u64, header.base).expect("a healthy disk");
        let mut records: Vec<Record> = Vec::new();
        while let Next::Frame(frame) = frames.next().expect("a sound log") {
            let start = records.last().map_or(HEADER_BYTES, |record| record.end);
            let (kind, seq) = (frame.header.kind, frame.header.seq);
            let durable = if kind == Kind::WRITE { model.known[usize::try_from(seq).expect("few writes")] } else { seq };
            let end = start + crate::record::HEADER_BYTES + frame.body.len();
            records.push(Record { start, end, kind, seq, durable });
        }
        assert_eq!(records.last().map_or(HEADER_BYTES, |record| record.end), bytes.len(), "every record is sound");
        let (groups, states) = (self.groups.clone(), model.states.clone());
        KnownLog { bytes, snapshot, groups, records, base: self.base, states, earlier: self.earlier.clone() }
    }
}

fn open(disk: &Memory, batch_size: u64) -> Arc<Engine> {
    let options = Options::new(WAL, SNAPSHOT).batch_size(batch_size).flush_interval(Duration::ZERO);
    let engine =
        options.disk(Arc::new(disk.clone())).open().unwrap_or_else(|error| panic!("an error on a healthy disk: {error}"));
    Arc::new(engine)
}

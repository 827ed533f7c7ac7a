//! The reference: a slow and simple reader of both files, written from the documents of the format, and the expected
//! result of opening them. It shares no code with the engine.

use crate::layout::{
    CLOSED, ENTRIES, HEAD, INDEX, LOG_HEADER, LOG_MAGIC, OPENED, SNAPSHOT_HEADER, SNAPSHOT_MAGIC, WRITE, crc, le32, le64,
    snapshot_salt,
};
use kv_engine::{Fault, MAX_KEY_BYTES, MAX_VALUE_BYTES, Recovery};
use std::collections::BTreeMap;
use std::sync::LazyLock;
use xxhash_rust::xxh3::Xxh3;

/// The largest possible sequence number.
pub const MAX_SEQ: u64 = 1 << 62;
/// If a header is lost, a frame with a higher number is not a frame.
const MOST_WRITES: u64 = 1 << 48;
/// The longest body of a frame.
const MAX_BODY: usize = 1 << 30;

/// The longest meta part of a snapshot, and the length of its shortest entry.
const MAX_META: usize = 1 << 20;
const LEAST_ENTRY: u64 = 10;

/// Entries in key order.
pub type Map<'a> = BTreeMap<&'a [u8], &'a [u8]>;

/// Why a store does not open: the refusing variants of `kv_engine::Error`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of the errors")]
pub enum Refusal {
    Foreign,
    Version,
    Damaged,
    Mismatch,
}

/// A whole frame.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "as in the head of a frame")]
pub struct Frame<'a> {
    /// Its offset.
    pub at: usize,
    pub check: u32,
    pub seq: u64,
    pub durable: u64,
    pub link: u32,
    pub body_check: u32,
    pub kind: u8,
    pub body: &'a [u8],
}

/// One step through a file.
enum Step<'a> {
    Frame(Frame<'a>),
    Bad(Fault),
    /// A kind that only a newer program knows.
    Newer,
    End,
}

/// A place between two frames.
#[derive(Clone, Debug)]
struct Chain<'a> {
    bytes: &'a [u8],
    numbered: u8,
    salt: u32,
    at: usize,
    link: u32,
    last: u64,
}

impl<'a> Chain<'a> {
    /// The frame at `at`, if its own checks hold. Otherwise the length that can be trusted, and the fault.
    fn whole_at(&self, at: usize) -> Result<Frame<'a>, (usize, Fault)> {
        let bytes = self.bytes.get(at..).unwrap_or_default();
        if bytes.len() < HEAD {
            return Err((1, Fault::Short));
        }
        let length = le32(bytes, 4) as usize;
        let check = le32(bytes, 0);
        if check != crc(self.salt, &bytes[4..HEAD]) {
            return Err((1, Fault::HeadChecksum));
        }
        if length > MAX_BODY {
            return Err((1, Fault::Content));
        }
        let Some(body) = bytes.get(HEAD..HEAD + length) else { return Err((HEAD + length, Fault::Short)) };
        let body_check = le32(bytes, 28);
        if crc(self.salt, body) != body_check {
            return Err((HEAD + length, Fault::BodyChecksum));
        }
        let (seq, durable, link, kind) = (le64(bytes, 8), le64(bytes, 16), le32(bytes, 24), bytes[32]);
        Ok(Frame { at, check, seq, durable, link, body_check, kind, body })
    }

    /// The header at `at`, if its own check holds. The body may be damaged.
    fn head_at(&self, at: usize) -> Option<(u64, u64, u32, u8)> {
        let bytes = self.bytes.get(at..).filter(|bytes| bytes.len() >= HEAD)?;
        Some((le64(bytes, 8), le64(bytes, 16), le32(bytes, 24), bytes[32]))
    }

    fn step(&mut self) -> Step<'a> {
        if self.at >= self.bytes.len() {
            return Step::End;
        }
        let found = self.whole_at(self.at);
        match found {
            // Reserved space, which only a log has.
            Err((1, _)) if self.numbered == WRITE && self.content_end() == self.at => return Step::End,
            // Nothing else is read from a header with a wrong check.
            Err((1, fault)) => return Step::Bad(fault),
            _ => {}
        }
        let (seq, durable, link, kind) = self.head_at(self.at).expect("its check holds");
        if link != self.link {
            return Step::Bad(Fault::Chain);
        }
        let due = match kind {
            kind if kind == self.numbered => self.last + 1,
            OPENED | CLOSED if self.numbered == WRITE => self.last,
            INDEX if self.numbered == ENTRIES => self.last,
            _ => return Step::Newer,
        };
        if seq != due || durable > seq {
            return Step::Bad(Fault::Sequence);
        }
        match found {
            Err((_, fault)) => Step::Bad(fault),
            Ok(frame) => {
                self.at += HEAD + frame.body.len();
                self.link = frame.check;
                self.last = seq;
                Step::Frame(frame)
            }
        }
    }

    /// The offset of the zeros at the end of the file, but not before this place.
    fn content_end(&self) -> usize {
        self.at + self.bytes[self.at..].iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1)
    }

    /// Reads the bytes behind a bad place: the whole frames there, and whether they prove that the bad frame had been
    /// synced.
    fn cut(&self, fault: Fault, snapshot_seq: u64) -> (bool, Truncation, Vec<Frame<'a>>) {
        let due = self.last + 1;
        let mut cut = Truncation {
            offset: self.at as u64,
            bytes: (self.content_end() - self.at) as u64,
            fault,
            expected: due,
            whole_beyond: 0,
            last_beyond: 0,
            writes_beyond: 0,
            promised: 0,
        };
        let mut proven = due <= snapshot_seq;
        let mut beyond = Vec::new();
        // The next place of an earlier session's chain, which does not count.
        let mut stale = (fault == Fault::Chain).then_some((self.at, None));
        // The length of a record is trusted only if the record continues the chain.
        let continues = self.head_at(self.at).is_some_and(|(_, _, link, _)| link == self.link);
        let mut at = self.at
            + match self.whole_at(self.at) {
                Ok(_) => 0,
                Err((length, _)) if continues => length,
                Err(_) => 1,
            };
        let most = due.saturating_add(((self.bytes.len() - self.at) / HEAD) as u64);
        while at < self.bytes.len() {
            // Checks the number first: most places have an impossible number and need no checksum.
            let possible = self.head_at(at).is_some_and(|(number, .., kind)| kind != 0 && (self.last..=most).contains(&number));
            let Some(frame) = possible.then(|| self.whole_at(at)).and_then(Result::ok) else {
                at += 1;
                continue;
            };
            let synced = if frame.kind == OPENED { frame.seq } else { frame.durable };
            if frame.kind == OPENED || synced >= due {
                proven = true;
                cut.promised = cut.promised.max(synced);
            }
            match stale {
                Some((due, link)) if due == frame.at && link.is_none_or(|link| link == frame.link) => {
                    stale = Some((frame.at + HEAD + frame.body.len(), Some(frame.check)));
                }
                _ => cut.writes_beyond += u64::from(frame.kind == WRITE && frame.seq >= due),
            }
            cut.whole_beyond += 1;
            cut.last_beyond = cut.last_beyond.max(frame.seq);
            at += HEAD + frame.body.len();
            beyond.push(frame);
        }
        (proven, cut, beyond)
    }
}

/// The end of the good part of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in kv_engine::Truncation")]
pub struct Truncation {
    pub offset: u64,
    pub bytes: u64,
    pub fault: Fault,
    pub expected: u64,
    pub whole_beyond: u64,
    pub last_beyond: u64,
    pub writes_beyond: u64,
    pub promised: u64,
}

/// The end of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "as in kv_engine::LogTail")]
pub enum LogTail {
    Clean,
    Torn(Truncation),
    Damaged(Truncation),
}

/// A log, as read.
#[derive(Debug)]
pub struct Log<'a> {
    /// The store.
    pub id: [u8; 16],
    /// The write before its first one.
    pub base: u64,
    /// The whole frames, in order.
    pub frames: Vec<Frame<'a>>,
    /// How many of them are writes.
    pub writes: u64,
    /// The number of its last write.
    pub last: u64,
    /// The end of the whole frames.
    pub end: usize,
    /// Whether the last frame is the mark of a close, followed only by zeros.
    pub closed: bool,
    /// The end of the log. `None`: a record of a newer format.
    pub tail: Option<LogTail>,
    /// The whole frames behind a bad place. They are not part of the log.
    pub beyond: Vec<Frame<'a>>,
    /// Whether the header can be read.
    pub known: bool,
}

/// Reads a log that is not empty. `snapshot_seq`: the last write in the snapshot.
///
/// # Errors
///
/// If the header is not that of a log.
pub fn log(bytes: &[u8], snapshot_seq: u64) -> Result<Log<'_>, Refusal> {
    header_is_sound(bytes, LOG_MAGIC, LOG_HEADER)?;
    let base = le64(bytes, 32);
    if base > MAX_SEQ || bytes[40..60].iter().any(|&byte| byte != 0) {
        return Err(Refusal::Version);
    }
    let salt = le32(bytes, 28);
    Ok(frames(Chain { bytes, numbered: WRITE, salt, at: LOG_HEADER, link: salt, last: base }, snapshot_seq))
}

/// Reads a log with a damaged header, if the header can be corrected or there are whole frames. The salt is the one
/// that most bytes of whole frames have; of two equal ones, the first. Reading begins at the first frame with that
/// salt.
#[must_use]
pub fn log_without_header(bytes: &[u8], snapshot_seq: u64) -> Option<Log<'_>> {
    let known = |id, salt, base| {
        let chain = Chain { bytes, numbered: WRITE, salt, at: LOG_HEADER, link: salt, last: base };
        Log { id, known: true, ..frames(chain, snapshot_seq) }
    };
    if let Some((id, salt, base)) = mended(bytes, None) {
        return Some(known(id, salt, base));
    }
    let mut salts: Vec<(u32, usize, Frame<'_>)> = Vec::new();
    let mut at = 0;
    while let Some(head) = bytes.get(at..at + HEAD) {
        let (seq, durable, kind) = (le64(head, 8), le64(head, 16), head[32]);
        let possible = (WRITE..=INDEX).contains(&kind) && durable <= seq && seq <= MOST_WRITES;
        let salt = if possible { salt_of(le32(head, 0), &head[4..]) } else { 0 };
        let chain = Chain { bytes, numbered: WRITE, salt, at, link: salt, last: 0 };
        let Some(frame) = possible.then(|| chain.whole_at(at)).and_then(Result::ok) else {
            at += 1;
            continue;
        };
        match salts.iter_mut().find(|(known, ..)| *known == salt) {
            Some((_, length, _)) => *length += HEAD + frame.body.len(),
            None => salts.push((salt, HEAD + frame.body.len(), frame)),
        }
        at += HEAD + frame.body.len();
    }
    let most = salts.iter().map(|(_, length, _)| *length).max()?;
    let &(salt, _, first) = salts.iter().find(|(_, length, _)| *length == most)?;
    if ![WRITE, OPENED, CLOSED].contains(&first.kind) {
        return None;
    }
    if let Some((id, salt, base)) = mended(bytes, Some(salt)).filter(|&(_, _, base)| base <= first.seq) {
        return Some(known(id, salt, base));
    }
    let base = if first.kind == WRITE { first.seq.saturating_sub(1) } else { first.seq };
    let chain = Chain { bytes, numbered: WRITE, salt, at: first.at, link: first.link, last: base };
    Some(Log { known: false, ..frames(chain, snapshot_seq) })
}

/// The store, salt and base in a log's header, if its constant bytes are right and at most one other bit is wrong.
fn mended(bytes: &[u8], salt: Option<u32>) -> Option<([u8; 16], u32, u64)> {
    let mut bytes = bytes.get(..LOG_HEADER)?.to_vec();
    bytes[..8].copy_from_slice(&LOG_MAGIC);
    bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
    bytes[40..60].fill(0);
    if let Some(salt) = salt {
        bytes[28..32].copy_from_slice(&salt.to_le_bytes());
    }
    let check_at = LOG_HEADER - 4;
    let read = |bytes: &[u8]| {
        let right = le32(bytes, check_at) == crc(0, &bytes[..check_at]) && log(bytes, 0).is_ok();
        right.then(|| (bytes[12..28].try_into().expect("sixteen bytes"), le32(bytes, 28), le64(bytes, 32)))
    };
    read(&bytes).or_else(|| {
        (0..LOG_HEADER * 8).find_map(|bit| {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let found = read(&bytes);
            bytes[bit / 8] ^= 1 << (bit % 8);
            found
        })
    })
}

/// Finds the initial value of a header's check. A bit in the initial value always changes certain bits of the check.
/// So these bits give the initial value.
fn salt_of(check: u32, rest: &[u8]) -> u32 {
    static BITS: LazyLock<[u32; 32]> = LazyLock::new(|| {
        let zeros = [0; HEAD - 4];
        // The changed bits, and the bits of the salt that change them. Reduced until each changes one bit.
        let mut changes: [(u32, u32); 32] = std::array::from_fn(|bit| (crc(1 << bit, &zeros) ^ crc(0, &zeros), 1 << bit));
        for bit in 0..32 {
            let has = |change: &(u32, u32)| change.0 >> bit & 1 == 1;
            let found = (bit..32).find(|&at| has(&changes[at])).expect("no two salts give the same check");
            changes.swap(bit, found);
            let (changed, by) = changes[bit];
            for at in (0..32).filter(|&at| at != bit) {
                if has(&changes[at]) {
                    changes[at] = (changes[at].0 ^ changed, changes[at].1 ^ by);
                }
            }
        }
        changes.map(|(_, by)| by)
    });
    let differs = check ^ crc(0, rest);
    BITS.iter().enumerate().filter(|(bit, _)| differs >> bit & 1 == 1).fold(0, |salt, (_, by)| salt ^ by)
}

fn frames<'a>(mut chain: Chain<'a>, snapshot_seq: u64) -> Log<'a> {
    let base = chain.last;
    let (mut frames, mut beyond) = (Vec::new(), Vec::new());
    let tail = loop {
        match chain.step() {
            Step::Frame(frame) => frames.push(frame),
            Step::End => break Some(LogTail::Clean),
            Step::Newer => break None,
            Step::Bad(fault) => {
                let (proven, cut, found) = chain.cut(fault, snapshot_seq);
                beyond = found;
                break Some(if proven { LogTail::Damaged(cut) } else { LogTail::Torn(cut) });
            }
        }
    };
    Log {
        id: chain.bytes.get(12..28).map_or([0; 16], |id| id.try_into().expect("sixteen bytes")),
        known: true,
        base,
        writes: frames.iter().filter(|frame| frame.kind == WRITE).count() as u64,
        closed: tail == Some(LogTail::Clean) && frames.last().is_some_and(|frame| frame.kind == CLOSED),
        frames,
        last: chain.last,
        end: chain.at,
        tail,
        beyond,
    }
}

impl<'a> Log<'a> {
    /// Whether the last frame is the mark of an opening, with nothing behind it.
    #[must_use]
    pub fn ends_opened(&self, bytes: &[u8]) -> bool {
        self.end == bytes.len() && self.frames.last().is_some_and(|frame| frame.kind == OPENED && frame.body.len() == 8)
    }

    /// Applies the writes behind write `from` to `map`. `None` if one of them is impossible.
    pub fn apply(&self, from: u64, map: &mut Map<'a>) -> Option<()> {
        for frame in self.frames.iter().filter(|frame| frame.kind == WRITE && frame.seq > from) {
            for (key, value) in operations(frame.body)? {
                match value {
                    Some(value) => map.insert(key, value),
                    None => map.remove(key),
                };
            }
        }
        Some(())
    }

    /// Whether every write in it is possible.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        self.apply(0, &mut Map::new()).is_some()
    }
}

/// Whether log and snapshot disagree on a write that both hold.
fn diverged(log: &Log<'_>, snapshot: &Snapshot<'_>) -> bool {
    let mut words = BTreeMap::new();
    let mut last = log.base;
    if last >= snapshot.seq {
        return false;
    }
    for frame in log.frames.iter().filter(|frame| frame.kind == WRITE && frame.seq <= snapshot.seq) {
        let Some(found) = operations(frame.body) else { return false };
        words.extend(found);
        last = frame.seq;
    }
    let differs = words.iter().any(|(key, value)| snapshot.entries.get(key) != value.as_ref());
    let more = log.base == 0 && snapshot.entries.keys().any(|key| !words.contains_key(key));
    last == snapshot.seq && (differs || more)
}

fn header_is_sound(bytes: &[u8], magic: [u8; 8], length: usize) -> Result<(), Refusal> {
    let known = bytes.len().min(magic.len());
    if bytes[..known] != magic[..known] {
        // The file is ours if its check is right with the constant bytes of the format.
        let rest = bytes.get(8..length - 4).filter(|_| bytes.len() >= length);
        let ours = rest.is_some_and(|rest| le32(bytes, length - 4) == crc(0, &[&magic[..], rest].concat()));
        Err(if ours { Refusal::Damaged } else { Refusal::Foreign })
    } else if bytes.len() < length || le32(bytes, length - 4) != crc(0, &bytes[..length - 4]) {
        Err(Refusal::Damaged)
    } else if le32(bytes, 8) != 1 {
        Err(Refusal::Version)
    } else {
        Ok(())
    }
}

/// A key, and its new value, if any.
pub type Operation<'a> = (&'a [u8], Option<&'a [u8]>);

/// The operations of a write. `None` if they are not a list of at least one operation within the limits.
#[must_use]
pub fn operations(mut body: &[u8]) -> Option<Vec<Operation<'_>>> {
    fn bytes<'a>(body: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = (body.get(..count)?, body.get(count..)?);
        *body = rest;
        Some(taken)
    }
    let mut found = Vec::new();
    loop {
        let tag = bytes(&mut body, 1)?[0];
        let key = le32(bytes(&mut body, 4)?, 0) as usize;
        if key == 0 || key > MAX_KEY_BYTES {
            return None;
        }
        let value = match tag {
            1 => Some(le32(bytes(&mut body, 4)?, 0) as usize).filter(|&length| length <= MAX_VALUE_BYTES)?,
            2 => 0,
            _ => return None,
        };
        let key = bytes(&mut body, key)?;
        let value = bytes(&mut body, value)?;
        found.push((key, (tag == 1).then_some(value)));
        if body.is_empty() {
            return Some(found);
        }
    }
}

/// A snapshot, as read.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// The store.
    pub id: [u8; 16],
    /// Its last write.
    pub seq: u64,
    /// Its entries.
    pub entries: Map<'a>,
}

/// Reads a snapshot.
///
/// # Errors
///
/// If it is not whole.
pub fn snapshot(bytes: &[u8]) -> Result<Snapshot<'_>, Refusal> {
    if bytes.is_empty() {
        return Err(Refusal::Damaged);
    }
    header_is_sound(bytes, SNAPSHOT_MAGIC, SNAPSHOT_HEADER)?;
    let (meta, seq, count, length) = (le32(bytes, 28) as usize, le64(bytes, 32), le64(bytes, 40), le64(bytes, 48));
    if seq > MAX_SEQ || bytes[76..92].iter().any(|&byte| byte != 0) {
        return Err(Refusal::Version);
    }
    if u128::from(length) + (SNAPSHOT_HEADER + meta) as u128 != bytes.len() as u128
        || crc(0, &bytes[SNAPSHOT_HEADER..SNAPSHOT_HEADER + meta]) != le32(bytes, 72)
    {
        return Err(Refusal::Damaged);
    }
    let salt = snapshot_salt(&bytes[12..28], seq);
    if meta > MAX_META || count > length / LEAST_ENTRY {
        return Err(Refusal::Damaged);
    }
    let mut chain = Chain { bytes, numbered: ENTRIES, salt, at: SNAPSHOT_HEADER + meta, link: salt, last: 0 };
    let mut entries = Map::new();
    loop {
        let frame = match chain.step() {
            Step::End => break,
            Step::Newer => return Err(Refusal::Version),
            Step::Bad(_) => return Err(Refusal::Damaged),
            Step::Frame(frame) => frame,
        };
        if frame.kind == INDEX {
            return Err(Refusal::Damaged); // version 1 has no meta part
        }
        for (key, value) in operations(frame.body).ok_or(Refusal::Damaged)? {
            if entries.last_key_value().is_some_and(|(last, _)| *last >= key) {
                return Err(Refusal::Damaged);
            }
            entries.insert(key, value.ok_or(Refusal::Damaged)?);
        }
    }
    let promised = u128::from_le_bytes(bytes[56..72].try_into().expect("sixteen bytes"));
    if count != entries.len() as u64 || promised != digest(&entries) {
        return Err(Refusal::Damaged);
    }
    Ok(Snapshot { id: bytes[12..28].try_into().expect("sixteen bytes"), seq, entries })
}

/// The digest of a state.
#[must_use]
pub fn digest(entries: &Map<'_>) -> u128 {
    let mut hasher = Xxh3::new();
    for bytes in entries.iter().flat_map(|(key, value)| [key, value]) {
        hasher.update(&u32::try_from(bytes.len()).expect("lengths are limited").to_le_bytes());
        hasher.update(bytes);
    }
    hasher.digest128()
}

/// The expected result of opening.
#[derive(Debug)]
pub struct Opened<'a> {
    /// The state.
    pub map: Map<'a>,
    /// The last write.
    pub last: u64,
    /// The last write in the snapshot, or 0.
    pub snapshot_seq: u64,
    /// The number of entries in the snapshot.
    pub snapshot_keys: u64,
    /// Writes of the log that were applied,
    pub replayed: u64,
    /// and writes of the log that the snapshot held.
    pub skipped: u64,
    /// The end of the log's whole part, or 0 without a log.
    pub log_bytes: u64,
    /// The end of the log.
    pub tail: LogTail,
    /// Whether the log was closed cleanly, or never written to.
    pub closed: bool,
    /// Whether the log is continued in the same file.
    pub resumed: bool,
    /// Whether there is a log.
    pub has_log: bool,
    /// Whether the log is an empty file.
    pub empty: bool,
    /// Whether there is a snapshot.
    pub has_snapshot: bool,
}

impl Opened<'_> {
    /// Whether there is a snapshot but no log to continue. Nothing is changed before the first write.
    #[must_use]
    pub fn is_unbegun(&self) -> bool {
        self.has_snapshot && (!self.has_log || !self.resumed && !matches!(self.tail, LogTail::Damaged(_)))
    }
}

/// The expected result of opening these files.
///
/// # Errors
///
/// If they must be refused.
pub fn open<'a>(log_bytes: Option<&'a [u8]>, snapshot_bytes: Option<&'a [u8]>, policy: Recovery) -> Result<Opened<'a>, Refusal> {
    let snapshot = snapshot_bytes.map(snapshot).transpose()?;
    let snapshot_seq = snapshot.as_ref().map_or(0, |snapshot| snapshot.seq);
    // An empty log counts like a missing one.
    let log = log_bytes.filter(|bytes| !bytes.is_empty()).map(|bytes| log(bytes, snapshot_seq)).transpose()?;
    let mut opened = Opened {
        last: snapshot_seq,
        snapshot_seq,
        snapshot_keys: snapshot.as_ref().map_or(0, |snapshot| snapshot.entries.len() as u64),
        replayed: 0,
        skipped: 0,
        log_bytes: 0,
        tail: LogTail::Clean,
        closed: false,
        resumed: false,
        has_log: log.is_some(),
        empty: false,
        has_snapshot: snapshot.is_some(),
        map: Map::new(),
    };
    if let Some(log) = &log {
        let fits = snapshot.as_ref().map_or(log.base == 0, |snapshot| snapshot.id == log.id && snapshot.seq >= log.base);
        if !fits || snapshot.as_ref().is_some_and(|snapshot| diverged(log, snapshot)) {
            return Err(Refusal::Mismatch);
        }
    }
    opened.map = snapshot.map(|snapshot| snapshot.entries).unwrap_or_default();
    if let Some(log) = log {
        log.apply(snapshot_seq, &mut opened.map).ok_or(Refusal::Damaged)?;
        opened.tail = log.tail.ok_or(Refusal::Version)?;
        opened.skipped = log.last.min(snapshot_seq) - log.base;
        opened.replayed = log.writes - opened.skipped;
        opened.last = log.last.max(snapshot_seq);
        opened.log_bytes = log.end as u64;
        opened.closed = log.closed || (opened.tail == LogTail::Clean && log.frames.is_empty());
        opened.resumed = log.last >= snapshot_seq;
    }
    opened.empty = log_bytes.is_some_and(<[u8]>::is_empty);
    if policy == Recovery::Strict {
        if matches!(opened.tail, LogTail::Damaged(_)) || opened.empty && !opened.has_snapshot {
            return Err(Refusal::Damaged);
        }
        if matches!(opened.tail, LogTail::Torn(cut) if cut.writes_beyond > 0) {
            return Err(Refusal::Damaged);
        }
        if opened.is_unbegun() {
            return Err(Refusal::Mismatch);
        }
    }
    Ok(opened)
}

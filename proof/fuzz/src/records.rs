//! One log, read but not opened. It tests the decoder of frames and the verdict on the end of the log, field by field,
//! as often per second as possible. `frame` and `log` open stores on the same files.

use crate::input::Input;
use crate::layout::{CLOSED, HEAD, LOG_HEADER, OPENED, WRITE};
use crate::reference::{self, Frame, Log, LogTail, Refusal};
use crate::{bounded, forge, store};
use kv_engine::disk::File;
use kv_engine::inspect::{self, Content, Entry, LogSummary, Operation, Record};
use kv_engine::{Error, Result};
use std::io;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Reads the forged log, next to a snapshot that holds some of its first writes.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let promised = u64::from(input.byte() >> 4);
    let file = Arc::new(Bytes::new(forge::log(&mut input)));
    let read = reference::log(&file.bytes, promised);
    bounded(file.len(), || {
        agree(&file.bytes, promised, &read, |each| {
            inspect::log_in(Arc::clone(&file) as _, Path::new(store::LOG), promised, each)
        });
    });
}

/// A receiver of the entries of a log.
type Each<'a> = &'a mut dyn FnMut(Entry<'_>) -> ControlFlow<()>;

/// Checks that `inspect` shows exactly what the reference reads in these bytes.
pub fn agree(
    bytes: &[u8],
    promised: u64,
    read: &std::result::Result<Log<'_>, Refusal>,
    inspected: impl FnOnce(Each<'_>) -> Result<LogSummary>,
) {
    let found = match read {
        Err(Refusal::Damaged | Refusal::Foreign) => reference::log_without_header(bytes, promised),
        _ => None,
    };
    let is_damaged = found.is_some();
    let log = found.as_ref().or(read.as_ref().ok());
    let (mut frames, mut beyond) = (log.map_or(&[][..], |log| &log.frames).iter(), log.map_or(&[][..], |log| &log.beyond).iter());
    let (mut headers, mut stops) = (0, None);
    let seen = inspected(&mut |entry| {
        match entry {
            Entry::Header { bytes, store_id, base, damage, .. } => {
                let log = log.expect("a header is shown although there is none");
                assert_eq!((bytes, base, damage.is_some()), (LOG_HEADER as u64, log.base, is_damaged));
                assert_eq!(store_id.is_some(), log.known);
                headers += 1;
            }
            Entry::Record(record) => is_frame(&record, frames.next().expect("the record exists")),
            Entry::Stop(tail) => stops = Some(store::tail(&tail)),
            Entry::Beyond(record) => is_frame(&record, beyond.next().expect("the record exists")),
            other => panic!("unknown: {other:?}"),
        }
        ControlFlow::Continue(())
    });
    assert_eq!(headers, u32::from(log.is_some()));
    assert!(frames.next().is_none(), "a record is missing");
    let Some(log) = log else {
        let (error, due) = (seen.expect_err("the bytes are not a log"), read.as_ref().expect_err("the bytes are not a log"));
        assert!(store::refusal(&error) == *due && !error.to_string().is_empty(), "{error} instead of {due:?}");
        return;
    };
    let Some(tail) = log.tail else {
        assert!(matches!(seen, Err(Error::Version { .. })), "a record of a newer format was ignored: {seen:?}");
        return;
    };
    let seen = seen.expect("the log can be read");
    assert_eq!((seen.writes, seen.base, seen.last_seq), (log.writes, log.base, log.last));
    assert_eq!((seen.valid_bytes, seen.file_bytes), (log.end as u64, bytes.len() as u64));
    assert_eq!((store::tail(&seen.tail), seen.closed_cleanly, seen.header_damage.is_some()), (tail, log.closed, is_damaged));
    let zeros = bytes[log.end..].iter().rev().take_while(|&&byte| byte == 0).count();
    assert_eq!(seen.reserved_bytes, zeros as u64);
    assert!(beyond.next().is_none() && stops == (tail != LogTail::Clean).then_some(tail), "{stops:?} instead of {tail:?}");
}

fn is_frame(record: &Record<'_>, frame: &Frame<'_>) {
    assert_eq!((record.offset, record.bytes), (frame.at as u64, (HEAD + frame.body.len()) as u64));
    assert_eq!((record.seq, record.durable), (frame.seq, frame.durable));
    assert_eq!(record.checks, [frame.check, frame.body_check, frame.link]);
    match (&record.content, frame.kind) {
        (Content::Opened, OPENED) | (Content::Closed, CLOSED) => {}
        (Content::Write(found), WRITE) => {
            let found = found.iter().map(|operation| match *operation {
                Operation::Put { key, value } => (key, Some(value)),
                Operation::Delete { key } => (key, None),
                ref other => panic!("unknown: {other:?}"),
            });
            assert!(found.eq(reference::operations(frame.body).expect("the write is possible")), "other operations");
        }
        (Content::Impossible, WRITE) => assert_eq!(reference::operations(frame.body), None),
        (Content::Impossible, kind) => assert!(!matches!(kind, OPENED | CLOSED), "kind {kind} is known"),
        (content, kind) => panic!("{content:?}, but the kind is {kind}"),
    }
}

/// A read-only file in memory.
#[derive(Debug)]
pub struct Bytes {
    bytes: Vec<u8>,
    read: AtomicUsize,
}

impl Bytes {
    /// A file of these bytes.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Bytes {
        Bytes { bytes, read: AtomicUsize::new(0) }
    }

    /// Its length.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "not needed here")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The number of bytes read so far.
    #[must_use]
    pub fn read_bytes(&self) -> usize {
        self.read.load(Relaxed)
    }
}

impl File for Bytes {
    fn size(&self) -> io::Result<u64> {
        Ok(self.bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        let rest = usize::try_from(offset).ok().and_then(|offset| self.bytes.get(offset..)).unwrap_or_default();
        let count = rest.len().min(out.len());
        out[..count].copy_from_slice(&rest[..count]);
        self.read.fetch_add(count, Relaxed);
        Ok(count)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
        unreachable!("reading wrote")
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        unreachable!("reading changed the length")
    }

    fn sync(&self) -> io::Result<()> {
        unreachable!("reading synced")
    }

    fn drop_cache(&self) {}
}

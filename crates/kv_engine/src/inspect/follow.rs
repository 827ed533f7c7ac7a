//! Looking on while a log grows, as `tail -f` does.
//!
//! A log changes in six ways under whoever looks on:
//!
//! | what happens | what is seen | what is done |
//! |---|---|---|
//! | records are appended | a whole record at the place | it is shown |
//! | a record is half there | none | wait |
//! | a checkpoint puts a new log in its place | another header under the name | the old file, which is still open here, is read to its end; then the new one, without the writes that were shown |
//! | a failed write is taken back | the last record shown is no longer there | begin again |
//! | two checkpoints come between two looks | a header whose log begins behind what was shown | which writes were in the log between, that nobody can read any more, is said ([`Entry::Missed`]) |
//! | somebody removes the log | no file | wait; the old file, too, is read to its end |
//!
//! So of every write from the first one shown on it is said either what it was or that it was missed.

use super::{Entry, Record};
use crate::disk::{Disk, File, OsDisk, read_full_at};
use crate::error::{Error, Result};
use crate::record::{self, HEADER_BYTES, Kind};
use crate::recovery::{LogTail, Truncation, read_header};
use crate::scan::{Frames, Next};
use crate::{LOG_FORMAT, Seq, wal};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log that is looked at again and again.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// use kv_engine::inspect::{Entry, Follow};
/// use std::ops::ControlFlow;
///
/// let mut follow = Follow::new(&log)?;
/// let mut seen = Vec::new();
/// for n in 1..=3 {
///     engine.put("x", n.to_string())?;
///     if n == 2 {
///         engine.snapshot()?; // puts a new log in place
///     }
///     follow.look(|entry| {
///         if let Entry::Record(record) = entry {
///             seen.push(record.seq);
///         }
///         ControlFlow::Continue(())
///     })?;
/// }
/// seen.dedup();
/// assert_eq!(seen, [0, 1, 2, 3]); // 0: the mark of the opening
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Follow {
    path: PathBuf,
    file: Arc<dyn File>,
    header: wal::Header,
    /// Whether the header was shown.
    begun: bool,
    place: Place,
    /// The last write that was shown, of this log or one before.
    shown: Seq,
}

/// Behind a record.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    link: u32,
    last: Seq,
    /// Where the record before begins; `None` at the first.
    before: Option<u64>,
}

/// What [`Follow::look`] found at the place behind the last record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Followed {
    /// The end of the log, for now.
    End,
    /// Bytes that are no whole record, which may be about to become one: with the same offset at the next
    /// look, they are torn or damaged as this says.
    Bad(LogTail),
    /// There is no log under the name at the moment.
    Gone,
    /// `each` broke off.
    BrokenOff,
}

impl Follow {
    /// Begins at the first record of the log at `path`.
    ///
    /// # Errors
    /// As [`log`](super::log), but for a damaged header too.
    pub fn new(path: &Path) -> Result<Follow> {
        let missing = || Error::io("opening", path)(io::Error::new(io::ErrorKind::NotFound, "there is no such file"));
        let file = OsDisk.open_read(path).map_err(Error::io("opening", path))?.ok_or_else(missing)?;
        let header = read_header(&*file, path)?;
        let (place, shown) = (Place::first(&header), header.base);
        Ok(Follow { path: path.to_path_buf(), file, header, begun: false, place, shown })
    }

    /// The last write that was shown.
    #[must_use]
    pub fn last_seq(&self) -> Seq {
        self.shown
    }

    /// Shows what has come since the last look: [`Entry::Header`] of each new log, [`Entry::Record`], and
    /// [`Entry::Missed`] of writes whose log was replaced before a look could find it.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Version`] of a kind of record that only a newer program knows, and what
    /// [`log`](super::log) says of a file that was put in the log's place.
    pub fn look(&mut self, mut each: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<Followed> {
        loop {
            // First what stands under the name, then the file: what is replaced has come to its end.
            let now = OsDisk.open_read(&self.path).map_err(Error::io("opening", &self.path))?;
            if !self.is_in_place()? {
                self.place = Place::first(&self.header);
                (self.begun, self.shown) = (false, self.header.base);
            }
            let found = self.drain(&mut each)?;
            if found == Followed::BrokenOff {
                return Ok(found);
            }
            let Some(now) = now else { return Ok(Followed::Gone) };
            if now.size().map_err(Error::io("reading", &self.path))? == 0 {
                return Ok(Followed::Gone);
            }
            let header = read_header(&*now, &self.path)?;
            if header == self.header {
                return Ok(found);
            }
            let missed = (header.store_id == self.header.store_id && self.shown < header.base)
                .then(|| Entry::Missed { from: self.shown + 1, to: header.base });
            if header.store_id != self.header.store_id || missed.is_some() {
                self.shown = header.base;
            }
            (self.file, self.header, self.begun) = (now, header, false);
            self.place = Place::first(&header);
            if missed.is_some_and(|missed| each(missed).is_break()) {
                return Ok(Followed::BrokenOff);
            }
        }
    }

    /// Whether the last record is still where it was.
    fn is_in_place(&self) -> Result<bool> {
        let Some(at) = self.place.before else { return Ok(true) };
        let mut head = [0; HEADER_BYTES];
        let got = read_full_at(&*self.file, at, &mut head).map_err(Error::io("reading", &self.path))?;
        let header = record::decode_header(&head[..got], self.header.salt);
        Ok(header.is_ok_and(|header| header.check == self.place.link))
    }

    fn drain(&mut self, each: &mut impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<Followed> {
        let wal::Header { store_id, salt, base } = self.header;
        if !std::mem::replace(&mut self.begun, true) {
            let (bytes, store_id) = (wal::HEADER_BYTES as u64, Some(store_id));
            if each(Entry::Header { bytes, store_id, version: LOG_FORMAT, base, damage: None }).is_break() {
                return Ok(Followed::BrokenOff);
            }
        }
        if self.is_quiet()? {
            return Ok(Followed::End);
        }
        let Place { offset, link, last, .. } = self.place;
        let mut frames = Frames::new(Arc::clone(&self.file), &self.path, Kind::WRITE, salt, offset, last)?.behind(link);
        loop {
            let at = frames.offset();
            match frames.next()? {
                Next::End => return Ok(Followed::End),
                Next::Bad(fault) => return Truncation::judge(&mut frames, fault, 0).map(Followed::Bad),
                Next::Frame(frame) => {
                    let (seq, link) = (frame.header.seq, frame.header.check);
                    // A new log begins with copies of what stood in the old one.
                    let is_new = frame.header.kind != Kind::WRITE || seq > self.shown;
                    let flow = if is_new { each(Entry::Record(Record::of(&frame))) } else { ControlFlow::Continue(()) };
                    self.shown = self.shown.max(seq);
                    self.place = Place { offset: frames.offset(), link, last: seq, before: Some(at) };
                    if flow.is_break() {
                        return Ok(Followed::BrokenOff);
                    }
                }
            }
        }
    }

    /// Whether nothing has come: the usual case, told without reading all of the reserved space.
    fn is_quiet(&self) -> Result<bool> {
        let mut head = [0; HEADER_BYTES];
        let got = read_full_at(&*self.file, self.place.offset, &mut head).map_err(Error::io("reading", &self.path))?;
        Ok(self.place.before.is_some() && head[..got].iter().all(|&byte| byte == 0))
    }
}

impl Place {
    fn first(header: &wal::Header) -> Place {
        Place { offset: wal::HEADER_BYTES as u64, link: header.salt, last: header.base, before: None }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::Options;
    use std::fs;

    fn writes(follow: &mut Follow) -> Vec<Seq> {
        let mut seen = Vec::new();
        follow
            .look(|entry| {
                if let Entry::Record(record @ Record { content: super::super::Content::Write(_), .. }) = entry {
                    seen.push(record.seq);
                }
                ControlFlow::Continue(())
            })
            .unwrap();
        seen
    }

    #[test]
    fn case_28_what_two_checkpoints_between_two_looks_took_away_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let engine = Options::new(&log, dir.path().join("snap")).open().unwrap();
        engine.put("a", "1").unwrap();
        let mut follow = Follow::new(&log).unwrap();
        let mut told = |break_off: bool| {
            let mut told = Vec::new();
            let found = follow.look(|entry| {
                match entry {
                    Entry::Missed { from, to } => told.push((from, to)),
                    Entry::Record(Record { seq, content: super::super::Content::Write(_), .. }) => told.push((seq, seq)),
                    _ => {}
                }
                if break_off { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            (told, found.unwrap())
        };
        assert_eq!(told(false), (vec![(1, 1)], Followed::End));
        // The log that is open here has the second write; the third to fifth were in one that is gone.
        engine.put("a", "2").unwrap();
        engine.snapshot().unwrap();
        (3..=5).for_each(|n| assert_eq!(engine.put("a", n.to_string()).unwrap().seq, n));
        engine.snapshot().unwrap();
        engine.put("a", "6").unwrap();
        assert_eq!(told(false), (vec![(2, 2), (3, 5), (6, 6)], Followed::End));
        assert_eq!(told(false), (vec![], Followed::End));
        // One checkpoint takes nothing away, and without a write none do.
        engine.put("a", "7").unwrap();
        engine.snapshot().unwrap();
        assert_eq!(told(false), (vec![(7, 7)], Followed::End));
        engine.snapshot().unwrap();
        engine.snapshot().unwrap();
        assert_eq!(told(false), (vec![], Followed::End));
        // Who breaks off there goes on behind it.
        engine.put("a", "8").unwrap();
        engine.snapshot().unwrap();
        engine.put("a", "9").unwrap();
        engine.snapshot().unwrap();
        engine.put("a", "10").unwrap();
        let mut seen = Vec::new();
        loop {
            let (some, found) = told(true);
            seen.extend(some);
            if found == Followed::End {
                break;
            }
        }
        assert_eq!(seen, [(8, 8), (9, 9), (10, 10)]);
    }

    /// A new log begins with copies of the records that came while it was made.
    #[test]
    fn the_copies_in_a_new_log_are_not_shown_again() {
        let dir = tempfile::tempdir().unwrap();
        let (log, other) = (dir.path().join("log"), dir.path().join("other"));
        let open = |log: &Path| Options::new(log, log.with_extension("snap")).open().unwrap();
        open(&log).put("a", "1").unwrap();
        fs::copy(&log, &other).unwrap();
        let engine = open(&log);
        engine.put("b", "2").unwrap();
        let mut follow = Follow::new(&log).unwrap();
        assert_eq!(writes(&mut follow), [1, 2]);
        // The last record comes when the new log is ready, and is in both.
        engine.put("c", "3").unwrap();
        let successor = open(&other);
        successor.snapshot().unwrap();
        ["2", "3", "4"].into_iter().try_for_each(|n| successor.put("x", n).map(drop)).unwrap();
        fs::rename(&other, &log).unwrap();
        assert_eq!(writes(&mut follow), [3, 4]);
        assert_eq!((writes(&mut follow), follow.last_seq()), (vec![], 4));

        // What came last to the old log is in the new one no more: its snapshot holds it.
        drop((engine, successor));
        let successor = Options::new(&log, other.with_extension("snap")).open().unwrap();
        successor.put("x", "5").unwrap();
        let next = dir.path().join("next");
        fs::copy(&log, &next).unwrap();
        fs::copy(other.with_extension("snap"), next.with_extension("snap")).unwrap();
        let engine = open(&next);
        engine.snapshot().unwrap();
        engine.put("x", "6").unwrap();
        fs::rename(&next, &log).unwrap();
        assert_eq!(writes(&mut follow), [5, 6]);

        // Another store's log: everything in it is new.
        let third = dir.path().join("third");
        open(&third).put("a", "1").unwrap();
        fs::rename(&third, &log).unwrap();
        assert_eq!(writes(&mut follow), [1]);
    }
}

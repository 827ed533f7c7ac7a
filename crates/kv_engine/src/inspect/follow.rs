//! [`Follow`]: shows a log while it grows, as `tail -f` does.
//!
//! | what happens to the log | what a look sees | what it does |
//! |---|---|---|
//! | records are appended | a whole record at the place | shows it |
//! | a record is half there | no whole record | waits |
//! | a checkpoint puts a new log in place | another header under the name | reads the old file, which is still open, to its end; then the new one, without the writes that were shown |
//! | a failed write is taken back | the last record shown is not there any more | begins again |
//! | two checkpoints between two looks | the log begins after the last write shown | reports the writes in between as missed ([`Entry::Missed`]): their log is gone |
//! | the log is removed | no file | reads the old file to its end, then waits |
//! | the log is emptied | a file without bytes | waits; what was not shown before is lost |
//!
//! So each write from the first one on is either shown or reported as missed.

use super::{Entry, Record};
use crate::disk::{Disk, File, OsDisk, read_full_at};
use crate::error::{Error, Result};
use crate::record::{self, HEADER_BYTES, Kind};
use crate::recovery::{LogTail, read_header, walk};
use crate::scan::Frames;
use crate::{LOG_FORMAT, Seq, wal};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A log that is read again and again while it grows.
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
    /// The last write that was shown, from this log or an earlier one.
    shown: Seq,
}

/// A place after a record.
#[derive(Clone, Copy, Debug)]
struct Place {
    offset: u64,
    link: u32,
    last: Seq,
    /// Where the record before it begins; `None` at the first record.
    before: Option<u64>,
}

/// What [`Follow::look`] found after the last record.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Followed {
    /// The end of the log, for now.
    End,
    /// Bytes that are not a whole record. They may become one. If the next look finds the same offset again, they are
    /// torn or damaged as this says.
    Bad(LogTail),
    /// There is no log under the name now.
    Gone,
    /// The log was emptied. Nothing is shown until there is another one.
    Emptied,
    /// `each` stopped.
    Stopped,
}

impl Follow {
    /// Begins at the first record of the log at `path`.
    ///
    /// # Errors
    /// As [`log`](super::log), and [`Error::Damaged`] for any damaged header.
    pub fn new(path: &Path) -> Result<Follow> {
        let file = OsDisk.open_read(path).map_err(Error::io("opening", path))?.ok_or_else(|| Error::missing(path))?;
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
    /// [`Entry::Missed`] for writes whose log was replaced before a look could read it.
    ///
    /// # Errors
    /// - [`Error::Io`].
    /// - [`Error::Version`]: a kind of record that only a newer program knows.
    /// - The errors of [`log`](super::log), for a file that was put in the place of the log.
    pub fn look(&mut self, mut each: impl FnMut(Entry<'_>) -> ControlFlow<()>) -> Result<Followed> {
        loop {
            // First open the file under the name, then read the open one. If it has been replaced, it does not grow any
            // more.
            let now = OsDisk.open_read(&self.path).map_err(Error::io("opening", &self.path))?;
            let is_emptied = self.file.size().map_err(Error::io("reading", &self.path))? == 0;
            if !is_emptied && !self.is_in_place()? {
                self.place = Place::first(&self.header);
                (self.begun, self.shown) = (false, self.header.base);
            }
            let found = if is_emptied { Followed::Emptied } else { self.drain(&mut each)? };
            if found == Followed::Stopped {
                return Ok(found);
            }
            let Some(now) = now else { return Ok(Followed::Gone) };
            if now.size().map_err(Error::io("reading", &self.path))? == 0 {
                return Ok(if is_emptied { found } else { Followed::Gone });
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
                return Ok(Followed::Stopped);
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
                return Ok(Followed::Stopped);
            }
        }
        if self.is_quiet()? {
            return Ok(Followed::End);
        }
        let Place { offset, link, last, .. } = self.place;
        let mut frames = Frames::new(Arc::clone(&self.file), &self.path, Kind::WRITE, salt, offset, last)?.behind(link);
        let (shown, place) = (&mut self.shown, &mut self.place);
        let walked = walk(&mut frames, 0, |frame| {
            let seq = frame.header.seq;
            // A new log begins with copies of records of the old one.
            let is_new = frame.header.kind != Kind::WRITE || seq > *shown;
            let flow = if is_new { each(Entry::Record(Record::of(frame))) } else { ControlFlow::Continue(()) };
            *shown = seq.max(*shown);
            let offset = frame.offset + frame.bytes();
            *place = Place { offset, link: frame.header.check, last: seq, before: Some(frame.offset) };
            Ok(flow)
        })?;
        Ok(match walked.tail {
            _ if walked.stopped => Followed::Stopped,
            LogTail::Clean => Followed::End,
            tail => Followed::Bad(tail),
        })
    }

    /// Whether nothing has come. This is the usual case, and it is found without reading all of the reserved space.
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
    fn case_28_writes_lost_to_two_checkpoints_between_two_looks_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let engine = Options::new(&log, dir.path().join("snap")).open().unwrap();
        engine.put("a", "1").unwrap();
        let mut follow = Follow::new(&log).unwrap();
        let mut look = |stop: bool| {
            let mut seen = Vec::new();
            let found = follow.look(|entry| {
                match entry {
                    Entry::Missed { from, to } => seen.push((from, to)),
                    Entry::Record(Record { seq, content: super::super::Content::Write(_), .. }) => seen.push((seq, seq)),
                    _ => {}
                }
                if stop { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            (seen, found.unwrap())
        };
        assert_eq!(look(false), (vec![(1, 1)], Followed::End));
        // The log that is open here has the second write; the third to fifth were in one that is gone.
        engine.put("a", "2").unwrap();
        engine.snapshot().unwrap();
        (3..=5).for_each(|n| assert_eq!(engine.put("a", n.to_string()).unwrap().seq, n));
        engine.snapshot().unwrap();
        engine.put("a", "6").unwrap();
        assert_eq!(look(false), (vec![(2, 2), (3, 5), (6, 6)], Followed::End));
        assert_eq!(look(false), (vec![], Followed::End));
        // One checkpoint hides no write, and without writes neither do more of them.
        engine.put("a", "7").unwrap();
        engine.snapshot().unwrap();
        assert_eq!(look(false), (vec![(7, 7)], Followed::End));
        engine.snapshot().unwrap();
        engine.snapshot().unwrap();
        assert_eq!(look(false), (vec![], Followed::End));
        // A look that stops there continues after it.
        engine.put("a", "8").unwrap();
        engine.snapshot().unwrap();
        engine.put("a", "9").unwrap();
        engine.snapshot().unwrap();
        engine.put("a", "10").unwrap();
        let mut seen = Vec::new();
        loop {
            let (some, found) = look(true);
            seen.extend(some);
            if found == Followed::End {
                break;
            }
        }
        assert_eq!(seen, [(8, 8), (9, 9), (10, 10)]);
    }

    /// A new log begins with copies of the records that came while it was made.
    #[test]
    fn a_log_that_is_emptied_is_told_apart_and_shows_nothing_again() {
        let dir = tempfile::tempdir().unwrap();
        let (log, new) = (dir.path().join("log"), dir.path().join("new"));
        Options::new(&log, dir.path().join("snap")).open().unwrap().put("a", "1").unwrap();
        let mut follow = Follow::new(&log).unwrap();
        let mut look = || {
            let mut entries = 0;
            let found = follow.look(|_| {
                entries += 1;
                ControlFlow::Continue(())
            });
            (entries, found.unwrap())
        };
        assert!(matches!(look(), (3.., Followed::End)), "a header, a mark and a write");
        fs::write(&log, "").unwrap();
        assert_eq!([look(), look()], [(0, Followed::Emptied), (0, Followed::Emptied)]);
        // The next log at this name is followed.
        Options::new(&new, dir.path().join("snap2")).open().unwrap().put("b", "1").unwrap();
        fs::rename(&new, &log).unwrap();
        assert!(matches!(look(), (3.., Followed::End)));
    }

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
        // The last record comes when the new log is ready, so both logs have it.
        engine.put("c", "3").unwrap();
        let successor = open(&other);
        successor.snapshot().unwrap();
        ["2", "3", "4"].into_iter().try_for_each(|n| successor.put("x", n).map(drop)).unwrap();
        fs::rename(&other, &log).unwrap();
        assert_eq!(writes(&mut follow), [3, 4]);
        assert_eq!((writes(&mut follow), follow.last_seq()), (vec![], 4));

        // The last write of the old log is not in the new one: the snapshot holds it.
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

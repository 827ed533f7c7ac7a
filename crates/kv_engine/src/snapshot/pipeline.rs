//! [`Pipeline`]: writes the bytes of a new snapshot into its scratch file, syncs them, and reads them back from the
//! medium.
//!
//! ```text
//! caller: merge → encode ─┬─ piece ─▶ writer: write ─── so much is written ──▶ reader: sync → drop the cache → read
//!                         ◀─ memory ──┘                                        checker: check every byte ◀┘
//! ```
//!
//! - The caller writes a short snapshot itself, syncs it, and reads it back. From [`Plan::threadless_bytes`] on,
//!   threads write and read back while the caller makes the rest. They bypass the system's page cache where they can.
//! - The file is read back in steps. Before each step, all of it was written, then synced, and then the system was
//!   asked to drop its cache of the file. The check is the one that loading does, [`BlockChecker`].
//! - The first [`HEAD_BYTES`] are written last, because they hold the header. The threads check the frames in them from
//!   memory. At the end these bytes are read back too, and compared.
//! - An error of any thread is an error of the whole. The file is then removed, so it does not matter which thread
//!   learns that a sync has failed.

use super::checker::BlockChecker;
use super::format::{BLOCK_BYTES, Form, HEADER_BYTES, Header};
use super::read::{check_meta, load};
use crate::disk::{Aligned, DIRECT_BYTES, File, ReadMode, ReadOnly, Readable, read_full_at, write_all_at, write_all_direct_at};
use crate::error::{Error, Result};
use crate::memory;
use crate::record::Kind;
use crate::scan::Frames;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

/// The sizes in which a snapshot is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Length of one write.
    piece_bytes: usize,
    /// Bytes between two syncs. One sync of everything at the end would delay the syncs of the log.
    step_bytes: u64,
    /// This much is written without threads.
    threadless_bytes: u64,
}

impl Plan {
    pub(super) const USUAL: Plan = Plan {
        piece_bytes: 1 << 20,
        step_bytes: 8 << 20,
        // Shuttle, which explores schedules, does not know these threads.
        threadless_bytes: if cfg!(shuttle) { u64::MAX } else { 4 << 20 },
    };
}

const HEAD_BYTES: usize = DIRECT_BYTES;
/// The most pieces that wait to be written.
const WAITING_PIECES: usize = 3;

/// A file that is being written, from its beginning to its end.
pub(super) struct Pipeline {
    file: Arc<dyn File>,
    path: PathBuf,
    plan: Plan,
    /// The checksums of the frames begin with it.
    salt: u32,
    form: Form,
    head: Vec<u8>,
    /// Bytes that were not handed over yet, and where they belong.
    bytes: Aligned,
    at: u64,
    threads: Option<Threads>,
    may_start: bool,
}

impl Pipeline {
    /// Begins with zeros in the place of the header.
    pub(super) fn new(file: Arc<dyn File>, path: &Path, plan: Plan, salt: u32, form: Form) -> Pipeline {
        let mut bytes = piece(plan, Aligned::with_capacity); // the snapshot may be small
        bytes.resize(HEADER_BYTES);
        let path = path.to_path_buf();
        Pipeline { file, path, plan, salt, form, head: Vec::new(), bytes, at: 0, threads: None, may_start: true }
    }

    /// Bytes so far.
    pub(super) fn len(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// The buffer to append to.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        self.bytes.end()
    }

    /// Appends bytes that may be long, and hands over whole pieces while it does so.
    pub(super) fn append(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            self.hand_over()?;
            let room = self.plan.piece_bytes - self.bytes.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.end().extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Hands over the whole pieces.
    pub(super) fn hand_over(&mut self) -> io::Result<()> {
        while self.bytes.len() >= self.plan.piece_bytes {
            let spare = self.threads.as_ref().and_then(|threads| threads.returned.try_recv().ok());
            let mut next = spare.unwrap_or_else(|| piece(self.plan, Aligned::returned_when_freed));
            next.resize(0);
            next.end().extend_from_slice(&self.bytes[self.plan.piece_bytes..]);
            self.bytes.resize(self.plan.piece_bytes);
            let piece = std::mem::replace(&mut self.bytes, next);
            self.hand_over_piece(piece)?;
        }
        Ok(())
    }

    fn hand_over_piece(&mut self, piece: Aligned) -> io::Result<()> {
        let (mut at, mut from) = (self.at, 0);
        self.at += piece.len() as u64;
        if at == 0 {
            self.head = piece[..piece.len().min(HEAD_BYTES)].to_vec();
            from = self.head.len();
        } else if at >= self.plan.threadless_bytes && self.may_start {
            self.may_start = false; // a failed start is not tried again
            self.threads = if memory::is_scarce() { None } else { Threads::start(self, at).ok() };
        }
        if let Some(threads) = &mut self.threads {
            return threads.hand_over(at, piece);
        }
        at += from as u64;
        write_all_at(&*self.file, at, &piece[from..])?;
        if at / self.plan.step_bytes == self.at / self.plan.step_bytes { Ok(()) } else { self.file.sync() }
    }

    /// Writes the rest and the header, and syncs. Returns the header as it was read back.
    pub(super) fn finish(mut self, header: &Header) -> io::Result<Result<Header>> {
        self.hand_over()?;
        let rest = std::mem::take(&mut self.bytes);
        self.hand_over_piece(rest)?;
        self.head[..HEADER_BYTES].copy_from_slice(&header.encode());
        if let Some(threads) = &mut self.threads {
            threads.written()?;
        }
        write_all_at(&*self.file, 0, &self.head)?;
        self.file.sync()?;
        let Some(threads) = self.threads.take() else {
            self.file.drop_cache();
            return Ok(load(self.file, &self.path, |_, _| {}));
        };
        Ok(threads.checked(self.at).and_then(|found| self.check_head(found)))
    }

    /// Reads the beginning back. Its frames were checked from memory.
    fn check_head(&self, (checker, data_len): (BlockChecker, u64)) -> Result<Header> {
        let mut head = vec![0; self.head.len()];
        self.file.drop_cache();
        let got = read_full_at(&*self.file, 0, &mut head).map_err(Error::io("reading", &self.path))?;
        let header = Header::decode(&self.path, &head[..got])?;
        check_meta(&*self.file, &self.path, &header)?;
        if head != self.head || data_len != header.data_len {
            return Err(Error::damaged(&self.path, 0, "the beginning of the file is not what was written"));
        }
        checker.finish(&self.path, &header)?;
        Ok(header)
    }
}

/// Memory for a piece, and for what is appended to it before it is handed over.
fn piece(plan: Plan, make: fn(usize) -> Aligned) -> Aligned {
    make(plan.piece_bytes + 4 * BLOCK_BYTES)
}

/// How much has been written, for the thread that reads it back.
#[derive(Debug)]
struct Progress {
    state: Mutex<Written>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
struct Written {
    /// All bytes before this offset are in the file, except the head.
    bytes: u64,
    is_all: bool,
    is_stopped: bool,
}

impl Progress {
    fn change(&self, change: impl FnOnce(&mut Written)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until this much is written, or everything. Returns how much is written.
    fn wait_for(&self, bytes: u64) -> io::Result<u64> {
        let mut state = self.lock();
        while state.bytes < bytes && !state.is_all && !state.is_stopped {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_stopped { Err(io::Error::other("stopped")) } else { Ok(state.bytes) }
    }
}

/// The threads that write and check. Dropping it waits for their end.
struct Threads {
    /// Pieces to be written. Taken when there are no more.
    full: Option<SyncSender<(u64, Aligned)>>,
    /// Memory of written pieces, for reuse.
    returned: Receiver<Aligned>,
    progress: Arc<Progress>,
    writer: Option<JoinHandle<io::Result<()>>>,
    checker: Option<JoinHandle<Result<(BlockChecker, u64)>>>,
}

impl Threads {
    /// `written` bytes are in the file already.
    fn start(pipeline: &Pipeline, written: u64) -> io::Result<Threads> {
        let state = Written { bytes: written, is_all: false, is_stopped: false };
        let progress = Arc::new(Progress { state: Mutex::new(state), changed: Condvar::new() });
        let (full, pieces) = sync_channel(WAITING_PIECES);
        let (used, returned) = channel();
        let mut threads = Threads { full: Some(full), returned, progress: Arc::clone(&progress), writer: None, checker: None };
        let file = Arc::clone(&pipeline.file);
        let body = move || write(&*file, &pieces, &used, &progress);
        threads.writer = Some(Builder::new().name("kv-snapshot".into()).spawn(body)?);
        let readable = FileInProgress {
            file: Arc::clone(&pipeline.file),
            head: pipeline.head.clone(),
            progress: Arc::clone(&threads.progress),
            step_bytes: pipeline.plan.step_bytes,
            synced: AtomicU64::new(pipeline.head.len() as u64),
        };
        let (path, salt, form, piece_bytes) = (pipeline.path.clone(), pipeline.salt, pipeline.form, pipeline.plan.piece_bytes);
        let body = move || check(Arc::new(ReadOnly(readable)), &path, salt, form, piece_bytes);
        threads.checker = Some(Builder::new().name("kv-verify".into()).spawn(body)?);
        Ok(threads)
    }

    fn hand_over(&mut self, at: u64, piece: Aligned) -> io::Result<()> {
        let full = self.full.as_ref().expect("taken only at the end");
        full.send((at, piece)).or_else(|_| self.written())
    }

    /// There are no more pieces. Returns when all are written.
    fn written(&mut self) -> io::Result<()> {
        drop(self.full.take());
        let writer = self.writer.take().expect("called once");
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes the snapshot has panicked")))
    }

    /// Waits for the checker of a file of this length, and returns what it found.
    fn checked(mut self, len: u64) -> Result<(BlockChecker, u64)> {
        self.progress.change(|state| (state.bytes, state.is_all) = (len, true));
        let checker = self.checker.take().expect("called once");
        checker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.full.take());
        self.progress.change(|state| state.is_stopped |= !state.is_all);
        let _ = self.writer.take().map(JoinHandle::join);
        let _ = self.checker.take().map(JoinHandle::join);
    }
}

fn write(file: &dyn File, pieces: &Receiver<(u64, Aligned)>, used: &Sender<Aligned>, progress: &Progress) -> io::Result<()> {
    for (at, piece) in pieces {
        write_all_direct_at(file, at, &piece)?;
        progress.change(|state| state.bytes = at + piece.len() as u64);
        let _ = used.send(piece); // the caller may have ended
    }
    Ok(())
}

fn check(file: Arc<dyn File>, path: &Path, salt: u32, form: Form, piece_bytes: usize) -> Result<(BlockChecker, u64)> {
    let mut frames = Frames::new(file, path, Kind::ENTRIES, salt, HEADER_BYTES as u64, 0)?.of_ours();
    frames.read_ahead(piece_bytes, ReadMode::Direct);
    let mut checker = BlockChecker::new(form == Form::Indexed);
    let all = checker.read(&mut frames, path, |_, _| std::ops::ControlFlow::Continue(()))?;
    assert!(all.is_continue(), "it never stops");
    Ok((checker, frames.offset() - HEADER_BYTES as u64))
}

/// The file while it is being written, for reading: a read of later bytes waits until they are written. Each step is
/// read once, from the medium.
#[derive(Debug)]
struct FileInProgress {
    file: Arc<dyn File>,
    head: Vec<u8>,
    progress: Arc<Progress>,
    step_bytes: u64,
    synced: AtomicU64,
}

impl Readable for FileInProgress {
    /// Not known yet.
    fn size(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        if let Some(left) =
            usize::try_from(offset).ok().and_then(|offset| self.head.get(offset..)).filter(|left| !left.is_empty())
        {
            let count = left.len().min(out.len());
            out[..count].copy_from_slice(&left[..count]);
            return Ok(count);
        }
        let mut synced = self.synced.load(Ordering::Relaxed);
        if offset >= synced {
            let written = self.progress.wait_for(synced + self.step_bytes)?;
            if written <= offset {
                return Ok(0);
            }
            self.file.sync()?;
            self.file.drop_cache();
            self.synced.store(written, Ordering::Relaxed);
            synced = written;
        }
        let count = usize::try_from(synced - offset).unwrap_or(usize::MAX).min(out.len());
        self.file.read_direct_at(offset, &mut out[..count])
    }

    fn drop_cache(&self) {}
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests;

//! [`Out`]: how the bytes of a new snapshot get into its temporary file, and are read back.
//!
//! ```text
//! who saves: merge → encode ─┬─ piece ─▶ writer: write ─── so much is written ──▶ reader: sync → forget → read
//!                            ◀─ memory ──┘                                         checker: check every byte ◀┘
//! ```
//!
//! - What is short is written by whoever saves, synced, and then read back. Behind [`Plan::alone_bytes`] threads are
//!   started: the disk writes and reads back while the rest is made, past the system's cache where it can.
//! - The file is read back in steps, each of them after a sync that began when all of the step was written, and after the
//!   system was asked to forget what it holds of the file. The checker is the one that loads snapshots, [`Blocks`].
//! - The first [`HEAD_BYTES`] are written last, because they hold the header. Threads check the frames in them before they are in the file;
//!   they are read back at the end, and compared.
//! - An error of any of them is the error of all. The file is then removed, so it does not matter who is told of a failed sync.

use super::{Blocks, Form, HEADER_BYTES, Header, Plan, check_meta, load};
use crate::disk::{Aligned, DIRECT_BYTES, File, ReadOnly, Readable, Way, read_full_at, write_all_at, write_all_direct_at};
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

const HEAD_BYTES: usize = DIRECT_BYTES;
/// So many pieces wait to be written.
const PIECES: usize = 3;

/// A file that is being written, from its beginning to its end.
pub(super) struct Out {
    file: Arc<dyn File>,
    path: PathBuf,
    plan: Plan,
    /// Begins the checksums of the frames.
    salt: u32,
    form: Form,
    head: Vec<u8>,
    /// What was not handed over, and where it belongs.
    bytes: Aligned,
    at: u64,
    threads: Option<Threads>,
    may_start: bool,
}

impl Out {
    /// Zeros take the place of the header.
    pub(super) fn new(file: Arc<dyn File>, path: &Path, plan: Plan, salt: u32, form: Form) -> Out {
        let mut bytes = piece(plan, Aligned::with_capacity); // little may come
        bytes.resize(HEADER_BYTES);
        let path = path.to_path_buf();
        Out { file, path, plan, salt, form, head: Vec::new(), bytes, at: 0, threads: None, may_start: true }
    }

    /// How much there is so far.
    pub(super) fn len(&self) -> u64 {
        self.at + self.bytes.len() as u64
    }

    /// Where to append.
    pub(super) fn end(&mut self) -> &mut Vec<u8> {
        self.bytes.end()
    }

    /// Appends what may be long, and hands over what is whole pieces meanwhile.
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

    /// Hands over what is whole pieces.
    pub(super) fn hand_over(&mut self) -> io::Result<()> {
        while self.bytes.len() >= self.plan.piece_bytes {
            let spare = self.threads.as_ref().and_then(|threads| threads.home.try_recv().ok());
            let mut next = spare.unwrap_or_else(|| piece(self.plan, Aligned::for_much));
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
        } else if at >= self.plan.alone_bytes && self.may_start {
            self.may_start = false; // where threads cannot be had, they are not asked for again
            self.threads = if memory::is_scarce() { None } else { Threads::start(self, at).ok() };
        }
        if let Some(threads) = &mut self.threads {
            return threads.hand_over(at, piece);
        }
        at += from as u64;
        write_all_at(&*self.file, at, &piece[from..])?;
        if at / self.plan.step_bytes == self.at / self.plan.step_bytes { Ok(()) } else { self.file.sync() }
    }

    /// Writes what is left, with the header, and syncs it. Returns the header as it is read back.
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

    /// Reads the beginning back, whose frames are checked.
    fn check_head(&self, (blocks, data_len): (Blocks, u64)) -> Result<Header> {
        let mut head = vec![0; self.head.len()];
        self.file.drop_cache();
        let got = read_full_at(&*self.file, 0, &mut head).map_err(Error::io("reading", &self.path))?;
        let header = Header::decode(&self.path, &head[..got])?;
        check_meta(&*self.file, &self.path, &header)?;
        if head != self.head || data_len != header.data_len {
            return Err(Error::damaged(&self.path, 0, "the beginning is not what was written"));
        }
        blocks.finish(&self.path, &header)?;
        Ok(header)
    }
}

/// For a piece and what is appended to it before it is handed over.
fn piece(plan: Plan, make: fn(usize) -> Aligned) -> Aligned {
    make(plan.piece_bytes + 4 * super::BLOCK_BYTES)
}

/// What has been written, for the one who reads it back.
#[derive(Debug)]
struct Progress {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug)]
struct State {
    /// All before is in the file, but for the head.
    written: u64,
    is_all: bool,
    is_broken_off: bool,
}

impl Progress {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until so much is written, or all. Returns how much is.
    fn wait_for(&self, bytes: u64) -> io::Result<u64> {
        let mut state = self.lock();
        while state.written < bytes && !state.is_all && !state.is_broken_off {
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.is_broken_off { Err(io::Error::other("broken off")) } else { Ok(state.written) }
    }
}

/// Those who write and check, until they have ended.
struct Threads {
    /// Taken when there is no more.
    full: Option<SyncSender<(u64, Aligned)>>,
    home: Receiver<Aligned>,
    progress: Arc<Progress>,
    writer: Option<JoinHandle<io::Result<()>>>,
    checker: Option<JoinHandle<Result<(Blocks, u64)>>>,
}

impl Threads {
    /// So much of what `out` was given is written.
    fn start(out: &Out, written: u64) -> io::Result<Threads> {
        let state = State { written, is_all: false, is_broken_off: false };
        let progress = Arc::new(Progress { state: Mutex::new(state), changed: Condvar::new() });
        let (full, pieces) = sync_channel(PIECES);
        let (used, home) = channel();
        let mut threads = Threads { full: Some(full), home, progress: Arc::clone(&progress), writer: None, checker: None };
        let file = Arc::clone(&out.file);
        let body = move || write(&*file, &pieces, &used, &progress);
        threads.writer = Some(Builder::new().name("kv-snapshot".into()).spawn(body)?);
        let written = Written {
            file: Arc::clone(&out.file),
            head: out.head.clone(),
            progress: Arc::clone(&threads.progress),
            step_bytes: out.plan.step_bytes,
            synced: AtomicU64::new(out.head.len() as u64),
        };
        let (path, salt, form, piece_bytes) = (out.path.clone(), out.salt, out.form, out.plan.piece_bytes);
        let body = move || check(Arc::new(ReadOnly(written)), &path, salt, form, piece_bytes);
        threads.checker = Some(Builder::new().name("kv-verify".into()).spawn(body)?);
        Ok(threads)
    }

    fn hand_over(&mut self, at: u64, piece: Aligned) -> io::Result<()> {
        let full = self.full.as_ref().expect("there may be more");
        full.send((at, piece)).or_else(|_| self.written())
    }

    /// There is no more. Returns when all is written.
    fn written(&mut self) -> io::Result<()> {
        drop(self.full.take());
        let writer = self.writer.take().expect("asked once");
        writer.join().unwrap_or_else(|_| Err(io::Error::other("the thread that writes has panicked")))
    }

    /// What was found in a file that is so long.
    fn checked(mut self, len: u64) -> Result<(Blocks, u64)> {
        self.progress.change(|state| (state.written, state.is_all) = (len, true));
        let checker = self.checker.take().expect("asked once");
        checker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        drop(self.full.take());
        self.progress.change(|state| state.is_broken_off |= !state.is_all);
        let _ = self.writer.take().map(JoinHandle::join);
        let _ = self.checker.take().map(JoinHandle::join);
    }
}

fn write(file: &dyn File, pieces: &Receiver<(u64, Aligned)>, used: &Sender<Aligned>, progress: &Progress) -> io::Result<()> {
    for (at, piece) in pieces {
        write_all_direct_at(file, at, &piece)?;
        progress.change(|state| state.written = at + piece.len() as u64);
        let _ = used.send(piece); // who saves may have all it needs
    }
    Ok(())
}

fn check(file: Arc<dyn File>, path: &Path, salt: u32, form: Form, piece_bytes: usize) -> Result<(Blocks, u64)> {
    let mut frames = Frames::new(file, path, Kind::ENTRIES, salt, HEADER_BYTES as u64, 0)?.of_ours();
    frames.read_ahead(piece_bytes, Way::PastCache);
    let mut blocks = Blocks::new(form == Form::Indexed);
    let all = blocks.read(&mut frames, path, |_, _| std::ops::ControlFlow::Continue(()))?;
    assert!(all.is_continue(), "nobody broke off");
    Ok((blocks, frames.offset() - HEADER_BYTES as u64))
}

/// The file as far as it is written, for reading: who wants more waits. Each step is read once, from the medium.
#[derive(Debug)]
struct Written {
    file: Arc<dyn File>,
    head: Vec<u8>,
    progress: Arc<Progress>,
    step_bytes: u64,
    synced: AtomicU64,
}

impl Readable for Written {
    /// Nobody knows yet.
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

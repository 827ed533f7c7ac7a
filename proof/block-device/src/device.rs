//! A disk in memory, served by FUSE: the file `disk`, to put a loop device on. It records every write and every flush
//! of the kernel in order. Between them it records what the workload has issued and what it was promised, which
//! arrives through the file `notes`. The note `fail k` lets the next k writes succeed and the one after them fail,
//! once. `heal 0` cancels that.

use crate::blocks::Blocks;
use anyhow::{Context, Result};
use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, LockOwner,
    OpenFlags, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyWrite, Request, WriteFlags,
};
use std::ffi::OsStr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, UNIX_EPOCH};

const DISK: INodeNo = INodeNo(2);
const NOTES: INodeNo = INodeNo(3);
const ATTRIBUTES_HOLD: Duration = Duration::from_secs(3600);

/// The events, in the one order in which the device saw them.
pub(crate) enum Event {
    Write {
        offset: u64,
        bytes: Vec<u8>,
    },
    Flush,
    /// The write with this number is about to be issued to the engine.
    Issued(u64),
    /// All writes up to this one were promised to be durable.
    Promised(u64),
}

/// A mounted device. It is unmounted when dropped.
pub(crate) struct Device {
    state: Arc<Mutex<State>>,
    _session: BackgroundSession,
}

#[derive(Default)]
struct State {
    size: u64,
    blocks: Blocks,
    recording: bool,
    events: Vec<Event>,
    /// This number of writes still succeeds. The next one fails, and later ones succeed again.
    fails_after: Option<u64>,
    failed: bool,
}

impl Device {
    pub(crate) fn serve(directory: &Path, size: u64) -> Result<Device> {
        let state = Arc::new(Mutex::new(State { size, ..State::default() }));
        let session = fuser::spawn_mount(Server(Arc::clone(&state)), directory, &Config::default())
            .with_context(|| format!("mounting FUSE on {}", directory.display()))?;
        Ok(Device { state, _session: session })
    }

    /// Replaces the content, with an empty record and no planned failure. No file system may be mounted on it.
    pub(crate) fn hold(&self, blocks: Blocks) {
        let mut state = lock(&self.state);
        *state = State { size: state.size, blocks, ..State::default() };
    }

    /// Starts the recording.
    pub(crate) fn record(&self) {
        lock(&self.state).recording = true;
    }

    /// Whether the planned write has failed.
    pub(crate) fn has_failed(&self) -> bool {
        lock(&self.state).failed
    }

    pub(crate) fn take_events(&self) -> Vec<Event> {
        std::mem::take(&mut lock(&self.state).events)
    }
}

impl State {
    fn note(&mut self, event: Event) {
        if self.recording {
            self.events.push(event);
        }
    }

    fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), Errno> {
        match self.fails_after {
            Some(0) => {
                (self.fails_after, self.failed) = (None, true);
                return Err(Errno::EIO);
            }
            Some(left) => self.fails_after = Some(left - 1),
            None => {}
        }
        self.blocks.write(offset, bytes);
        self.note(Event::Write { offset, bytes: bytes.to_vec() });
        Ok(())
    }

    fn written_note(&mut self, text: &[u8]) -> Option<()> {
        let (word, number) = std::str::from_utf8(text).ok()?.trim().split_once(' ')?;
        let number = number.parse().ok()?;
        match word {
            "issued" => self.note(Event::Issued(number)),
            "promised" => self.note(Event::Promised(number)),
            "fail" => self.fails_after = Some(number),
            "heal" => self.fails_after = None,
            _ => return None,
        }
        Some(())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().expect("no thread panics with the device")
}

/// The FUSE side. It has one thread, so requests have one order.
struct Server(Arc<Mutex<State>>);

impl Server {
    fn attributes(&self, ino: INodeNo) -> FileAttr {
        let size = if ino == DISK { lock(&self.0).size } else { 0 };
        let kind = if ino == INodeNo::ROOT { FileType::Directory } else { FileType::RegularFile };
        FileAttr {
            ino,
            size,
            blocks: size / 512,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind,
            perm: 0o700,
            nlink: 1,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        }
    }
}

impl Filesystem for Server {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match name.to_str() {
            Some("disk") => reply.entry(&ATTRIBUTES_HOLD, &self.attributes(DISK), Generation(0)),
            Some("notes") => reply.entry(&ATTRIBUTES_HOLD, &self.attributes(NOTES), Generation(0)),
            _ => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        reply.attr(&ATTRIBUTES_HOLD, &self.attributes(ino));
    }

    /// Direct: no cache of the host is between the loop device and the record.
    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_DIRECT_IO);
    }

    fn read(
        &self,
        _: &Request,
        _: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let state = lock(&self.0);
        let length = u64::from(size).min(state.size.saturating_sub(offset));
        let mut bytes = vec![0; usize::try_from(length).expect("a request fits memory")];
        state.blocks.read(offset, &mut bytes);
        reply.data(&bytes);
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut state = lock(&self.0);
        let done = match ino {
            DISK => state.write(offset, data),
            _ => state.written_note(data).ok_or(Errno::EINVAL),
        };
        drop(state);
        match done {
            Ok(()) => reply.written(u32::try_from(data.len()).expect("a request is short")),
            Err(errno) => reply.error(errno),
        }
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        if ino == DISK {
            lock(&self.0).note(Event::Flush);
        }
        reply.ok();
    }
}

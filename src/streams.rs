//! The standard streams, also if they are non-blocking.
//!
//! The parent process may have made a stream non-blocking. All processes that share the stream see that mode, so it is
//! not changed here. If a read or a write would block, [`Patient`] waits with `poll` and tries again. Nothing is
//! buffered here, and nothing is lost.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Read, Stderr, Stdout, Write};
use std::os::fd::AsFd;

/// A stream that waits when it would block.
#[derive(Debug)]
pub(crate) struct Patient<F>(pub(crate) F);

/// stdin, without the standard library's buffer and lock; to be read as [`Patient`].
pub(crate) fn stdin() -> io::Result<File> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

/// stdout, without the standard library's buffer and lock.
pub(crate) fn stdout() -> Patient<Stdout> {
    Patient(io::stdout())
}

/// stderr, without the standard library's lock.
pub(crate) fn stderr() -> Patient<Stderr> {
    Patient(io::stderr())
}

/// Writes `line` to stderr. An error cannot be reported anywhere, so it is ignored.
pub(crate) fn say(line: &str) {
    let _ = stderr().write_all(format!("{line}\n").as_bytes());
}

/// The exit status of a program that would end with `status`, after its output was `written`. A reader that closed the
/// pipe is not an error. Any other failure is reported and gives at least status 1.
pub(crate) fn finish(written: io::Result<()>, status: u8) -> u8 {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            say(&format!("kv_cli: <stdout>: error: {error}"));
            status.max(1)
        }
        _ => status,
    }
}

/// Waits until a read, or a write, would not block.
pub(crate) fn wait(stream: &impl AsFd, for_what: PollFlags) -> io::Result<()> {
    loop {
        match poll(&mut [PollFd::new(stream, for_what)], None) {
            Err(Errno::INTR) => {}
            done => return done.map(drop).map_err(io::Error::from),
        }
    }
}

/// Waits until a read would not block, or until `stop` is true. Returns whether a read would not block.
pub(crate) fn wait_unless(stream: &impl AsFd, stop: impl Fn() -> bool) -> io::Result<bool> {
    const LOOK_EVERY: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };
    loop {
        match poll(&mut [PollFd::new(stream, PollFlags::IN)], Some(&LOOK_EVERY)) {
            _ if stop() => return Ok(false),
            Ok(0) | Err(Errno::INTR) => {}
            done => return done.map(|_| true).map_err(io::Error::from),
        }
    }
}

impl<F: AsFd> Read for Patient<F> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match rustix::io::read(&self.0, &mut *out) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait(&self.0, PollFlags::IN)?,
                done => return Ok(done?),
            }
        }
    }
}

impl<F: AsFd> Write for Patient<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(&self.0, bytes) {
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => wait(&self.0, PollFlags::OUT)?,
                done => return Ok(done?),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

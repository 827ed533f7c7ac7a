//! [`Wire`]: bytes to a server and back.
//!
//! The stream is non-blocking. While an answer is awaited, the rest of the request is sent. So neither side waits
//! for the other with full buffers, however long the request and its answers are.
//!
//! A wait ends early for one of these reasons, see [`Patience`]: Ctrl-C, a signal that ends the process, a deadline.
//! After that, and after any error, the wire must not be used any more: an answer may be under way.

use crate::signals::Flags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

const READ_BYTES: usize = 64 << 10;
/// How often a wait looks for signals.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// How long the answer to a write is awaited after a signal. The usual answer comes sooner, and says what became of it.
const GRACE: Duration = Duration::from_secs(1);

/// A connected stream that does not block.
pub(super) trait Stream: Send {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    fn fd(&self) -> BorrowedFd<'_>;

    /// Whether the stream itself has bytes to send, which [`Stream::push`] sends.
    fn has_unsent(&self) -> bool {
        false
    }

    fn push(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Read + Write + AsFd + Send> Stream for S {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        Read::read(self, out)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn fd(&self) -> BorrowedFd<'_> {
        self.as_fd()
    }
}

/// Why no answer came.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The connection failed, or its bytes make no sense.
    Lost(String),
    /// A signal ended the wait.
    Interrupted,
    /// The deadline has passed.
    TooLate,
}

/// How long an answer is awaited.
#[derive(Clone, Copy)]
pub(crate) struct Patience {
    /// `None`: signals do not end the wait.
    flags: Option<&'static Flags>,
    grace: Duration,
    until: Option<Instant>,
    /// When a signal was seen first.
    asked: Option<Instant>,
}

impl Patience {
    /// A signal ends the wait at once.
    pub(crate) fn of_read(flags: &'static Flags) -> Patience {
        Patience { flags: Some(flags), grace: Duration::ZERO, until: None, asked: None }
    }

    /// A signal ends the wait after a while.
    pub(crate) fn of_write(flags: &'static Flags) -> Patience {
        Patience { grace: GRACE, ..Patience::of_read(flags) }
    }

    /// No signal ends the wait: for what must be done although one came.
    pub(crate) fn for_most(time: Duration) -> Patience {
        Patience { flags: None, grace: GRACE, until: Some(Instant::now() + time), asked: None }
    }

    pub(crate) fn until(self, until: Option<Instant>) -> Patience {
        Patience { until, ..self }
    }

    fn check(&mut self) -> Result<(), Trouble> {
        if self.until.is_some_and(|until| Instant::now() >= until) {
            return Err(Trouble::TooLate);
        }
        if !self.flags.is_some_and(Flags::interrupted) {
            return Ok(());
        }
        let asked = *self.asked.get_or_insert_with(Instant::now);
        if asked.elapsed() >= self.grace { Err(Trouble::Interrupted) } else { Ok(()) }
    }

    fn next_look(&self) -> Timespec {
        let left = self.until.map_or(LOOK_EVERY, |until| until.saturating_duration_since(Instant::now()).min(LOOK_EVERY));
        Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() }
    }
}

pub(super) struct Wire {
    stream: Box<dyn Stream>,
    input: Vec<u8>,
    /// How much of `input` was taken.
    taken: usize,
    output: Vec<u8>,
    sent: usize,
    /// Why no more can be sent. What the server has sent before can still be read.
    unsendable: Option<io::Error>,
    is_over: bool,
}

impl Wire {
    pub(super) fn new(stream: Box<dyn Stream>) -> Wire {
        Wire { stream, input: Vec::new(), taken: 0, output: Vec::new(), sent: 0, unsendable: None, is_over: false }
    }

    /// What is sent next. It leaves with the next [`Wire::fill`].
    pub(super) fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// The bytes that have come and were not taken.
    pub(super) fn input(&self) -> &[u8] {
        &self.input[self.taken..]
    }

    pub(super) fn take(&mut self, bytes: usize) {
        self.taken += bytes;
        if self.taken == self.input.len() {
            self.input.clear();
            self.taken = 0;
        }
    }

    /// Whether the other end has closed the connection, or has sent something, although nothing is awaited.
    pub(super) fn is_over(&mut self) -> bool {
        let is_quiet = |read: io::Result<usize>| read.is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.is_over = self.is_over || !self.input().is_empty() || !is_quiet(self.stream.read(&mut [0]));
        self.is_over
    }

    /// Waits until more bytes have come. Sends what is to be sent meanwhile.
    pub(super) fn fill(&mut self, patience: &mut Patience) -> Result<(), Trouble> {
        if self.taken > 0 {
            self.input.drain(..self.taken);
            self.taken = 0;
        }
        loop {
            self.send();
            let length = self.input.len();
            self.input.resize(length + READ_BYTES, 0);
            let read = self.stream.read(&mut self.input[length..]);
            self.input.truncate(length + read.as_ref().copied().unwrap_or(0));
            match read {
                Ok(0) => {
                    return Err(Trouble::Lost(self.unsendable.take().map_or("the server closed it".into(), |e| e.to_string())));
                }
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(Trouble::Lost(error.to_string())),
            }
            patience.check()?;
            let is_full = self.sent < self.output.len() || self.stream.has_unsent();
            let wanted = if is_full && self.unsendable.is_none() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            // An error here shows at the next read.
            let _ = poll(&mut [PollFd::from_borrowed_fd(self.stream.fd(), wanted)], Some(&patience.next_look()));
        }
    }

    /// Sends what the stream takes now.
    fn send(&mut self) {
        while self.sent < self.output.len() && self.unsendable.is_none() {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => self.unsendable = Some(error),
            }
        }
        if self.sent == self.output.len() {
            // One large request does not keep its memory.
            if self.output.capacity() > 1 << 20 {
                self.output = Vec::new();
            }
            self.output.clear();
            self.sent = 0;
        }
        match self.stream.push() {
            Err(error) if error.kind() != ErrorKind::WouldBlock => _ = self.unsendable.get_or_insert(error),
            _ => {}
        }
    }
}

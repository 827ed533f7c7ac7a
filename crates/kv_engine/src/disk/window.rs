//! [`Window`]: reads a file of any length in little memory, if wanted with another thread that reads ahead.

use super::{Aligned, File, read_full_at, read_full_direct_at};
use crate::memory;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};

/// A part of a file in memory, which slides over the file. So a scan of any length needs little memory, and usually
/// reads no byte twice.
pub(crate) struct Window {
    file: Arc<dyn File>,
    len: u64,
    start: u64,
    bytes: Vec<u8>,
    /// Bytes per read.
    step: usize,
    ahead: Option<Ahead>,
}

/// How the thread reads ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReadMode {
    /// Through the page cache.
    Cached,
    /// Bypasses the page cache. Each step is one request to the disk, and only one is in progress, so other users of
    /// the disk wait less.
    Direct,
}

/// Bytes per read, unless the caller wants another number.
pub(crate) const WINDOW_BYTES: usize = 1 << 20;
/// A window keeps at most this much memory besides the bytes that it holds.
const KEPT_BYTES: usize = 64 << 20;
/// The most steps that were read ahead and wait.
const WINDOWS_AHEAD: usize = 3;

impl Window {
    /// A window over the file at its present length. Bytes that are appended later are not seen.
    pub(crate) fn new(file: Arc<dyn File>) -> io::Result<Window> {
        let len = file.size()?;
        Ok(Window { file, len, start: 0, bytes: Vec::new(), step: WINDOW_BYTES, ahead: None })
    }

    /// Lets another thread read ahead from `offset` on, until the caller reads elsewhere. The bytes and the errors are
    /// the same as without it. If no thread can be started, or the address space is small, no thread reads ahead.
    pub(crate) fn read_ahead(&mut self, offset: u64, step_bytes: usize, mode: ReadMode) {
        if memory::is_scarce() {
            return;
        }
        (self.start, self.step) = (offset, step_bytes);
        self.bytes = memory::room(2 * step_bytes);
        self.ahead = Ahead::new(&self.file, offset..self.len, step_bytes, mode).ok();
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    #[cfg(test)]
    pub(crate) fn memory_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// The bytes `offset .. offset + count`, or fewer where the file ends.
    pub(crate) fn get(&mut self, offset: u64, count: usize) -> io::Result<&[u8]> {
        let left = self.len.saturating_sub(offset);
        let count = count.min(usize::try_from(left).unwrap_or(usize::MAX));
        let inside = offset >= self.start && offset + count as u64 <= self.end();
        if !inside {
            match self.ahead.take() {
                Some(ahead) if (self.start..=self.end()).contains(&offset) => self.slide(ahead, offset, count)?,
                _ => self.jump(offset, count)?,
            }
        }
        let from = usize::try_from(offset - self.start).expect("inside the window");
        let to = (from + count).min(self.bytes.len());
        Ok(&self.bytes[from.min(to)..to])
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn jump(&mut self, offset: u64, count: usize) -> io::Result<()> {
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let want = count.max(self.step).min(left);
        self.release(want);
        memory::reserve(&mut self.bytes, want)?;
        self.bytes.resize(want, 0);
        let got = read_full_at(&*self.file, offset, &mut self.bytes)?;
        self.bytes.truncate(got);
        self.start = offset;
        self.is_truncated(got, want);
        Ok(())
    }

    /// Keeps the bytes from `offset` on, and appends those that were read ahead.
    fn slide(&mut self, ahead: Ahead, offset: u64, count: usize) -> io::Result<()> {
        self.bytes.drain(..usize::try_from(offset - self.start).expect("inside the window"));
        self.start = offset;
        self.release(count);
        memory::reserve(&mut self.bytes, count + self.step)?; // bytes that were read ahead come in steps
        while self.bytes.len() < count {
            let want = step_at(self.end()..self.len, self.step);
            let next = ahead.next()?;
            let got = next.len();
            self.bytes.extend_from_slice(&next);
            ahead.give_back(next);
            if self.is_truncated(got, want) {
                return Ok(());
            }
        }
        self.ahead = Some(ahead);
        Ok(())
    }

    /// Releases memory that a long read needed, once it is not needed any more.
    fn release(&mut self, want: usize) {
        if self.bytes.capacity() > KEPT_BYTES && self.bytes.len().max(want) < KEPT_BYTES / 4 {
            self.bytes.shrink_to(KEPT_BYTES / 4);
        }
    }

    /// Whether the read was short: another program truncated the file. Then the window ends there.
    fn is_truncated(&mut self, got: usize, want: usize) -> bool {
        if got < want {
            self.len = self.end();
        }
        got < want
    }
}

/// Length of the next read: up to a multiple of the step, or to the end.
fn step_at(left: Range<u64>, step: usize) -> usize {
    let step = step as u64 - left.start % step as u64;
    usize::try_from(step.min(left.end - left.start)).expect("no more than a step")
}

/// A thread that reads a file from some place to its end.
struct Ahead {
    /// The steps that it read, in order. Taken to stop the thread.
    read: Option<Receiver<io::Result<Aligned>>>,
    /// Memory of used steps, for reuse.
    returned: Sender<Aligned>,
    thread: Option<JoinHandle<()>>,
}

impl Ahead {
    fn new(file: &Arc<dyn File>, range: Range<u64>, step: usize, mode: ReadMode) -> io::Result<Ahead> {
        let (send, read) = sync_channel(WINDOWS_AHEAD);
        let (returned, used) = channel();
        let file = Arc::clone(file);
        let body = move || read_on(&*file, range, step, mode, &send, &used);
        let thread = thread::Builder::new().name("kv-read-ahead".into()).spawn(body)?;
        Ok(Ahead { read: Some(read), returned, thread: Some(thread) })
    }

    /// The next step. There must be one.
    fn next(&self) -> io::Result<Aligned> {
        let read = self.read.as_ref().expect("taken only to stop");
        read.recv().unwrap_or_else(|_| Err(io::Error::other("the thread that reads ahead has ended")))
    }

    /// Returns memory for reuse.
    fn give_back(&self, bytes: Aligned) {
        let _ = self.returned.send(bytes); // the thread may have ended
    }
}

impl Drop for Ahead {
    fn drop(&mut self) {
        drop(self.read.take()); // the thread ends when its channel is closed
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads one step after the other, until the end, the first error, or the end of the channel.
fn read_on(
    file: &dyn File,
    mut left: Range<u64>,
    step: usize,
    mode: ReadMode,
    send: &SyncSender<io::Result<Aligned>>,
    used: &Receiver<Aligned>,
) {
    let mut go_on = true;
    while go_on && !left.is_empty() {
        let want = step_at(left.clone(), step);
        let mut bytes = used.try_recv().unwrap_or_else(|_| Aligned::returned_when_freed(step));
        bytes.resize(want);
        let got = match mode {
            ReadMode::Cached => read_full_at(file, left.start, &mut bytes),
            ReadMode::Direct => read_full_direct_at(file, left.start, &mut bytes),
        };
        let read = got.map(|got| bytes.resize(got)).map(|()| bytes);
        go_on = read.as_ref().is_ok_and(|bytes| bytes.len() == want);
        left.start += want as u64;
        go_on &= send.send(read).is_ok();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::tests::Scripted;
    use super::super::{ReadOnly, Readable};
    use super::*;

    #[test]
    fn a_window_gives_the_bytes_that_are_there_and_reads_each_once() {
        const LENGTH: u64 = 2 * WINDOW_BYTES as u64 + 100;
        let file = Arc::new(Scripted::new(LENGTH, &[]));
        let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>).unwrap();
        assert_eq!(window.len(), LENGTH);
        assert_eq!(window.get(3, 4).unwrap(), [3, 4, 5, 6]);
        assert_eq!(window.get(3, WINDOW_BYTES).unwrap().len(), WINDOW_BYTES);
        assert_eq!(window.get(4, 2).unwrap(), [4, 5]);
        assert_eq!(file.calls(), [(3, WINDOW_BYTES)], "one read for all three");
        assert_eq!(window.get(WINDOW_BYTES as u64 + 2, 2).unwrap(), [2, 3], "half of it outside");
        assert_eq!(window.get(1, 2).unwrap(), [1, 2], "back");
        assert_eq!(window.get(LENGTH - 2, 9).unwrap(), [98, 99], "the file ends there");
        assert!(window.get(LENGTH, 9).unwrap().is_empty());
        assert!(window.get(LENGTH + 7, 9).unwrap().is_empty());
        assert_eq!(window.get(5, 2 * WINDOW_BYTES).unwrap().len(), 2 * WINDOW_BYTES, "longer than a window");
        let asked: Vec<u64> = file.calls().iter().map(|call| call.0).collect();
        assert_eq!(asked, [3, WINDOW_BYTES as u64 + 2, 1, LENGTH - 2, 5]);
    }

    /// Another program truncated the file after its size was read: the window ends there, and invents no byte.
    #[test]
    fn a_file_that_is_truncated_while_it_is_read_ends_there() {
        let file = Scripted::with_wrong_size(50, 10);
        let mut window = Window::new(Arc::new(file)).unwrap();
        assert_eq!(window.get(8, 4).unwrap(), [8, 9]);
        assert_eq!(window.len(), 10);
        assert!(window.get(20, 4).unwrap().is_empty());
    }

    /// Reading ahead gives the same bytes as reading, for reads of any length.
    #[test]
    fn reading_ahead_gives_the_same_bytes_and_reads_them_once() {
        const LENGTH: u64 = 1000;
        for (step, mode) in
            [1, 7, 64, 999, 1000, 5000].into_iter().flat_map(|step| [(step, ReadMode::Cached), (step, ReadMode::Direct)])
        {
            let file = Arc::new(Scripted::new(LENGTH, &[]));
            let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>).unwrap();
            window.read_ahead(3, step, mode);
            let mut at = 3;
            for count in (0..60).cycle().take(400) {
                let got = window.get(at, count).unwrap();
                let whole = count.min((LENGTH - at) as usize);
                assert!(got.len() == whole && (at..).zip(got).all(|(at, &byte)| byte == at as u8), "{at} {count} {step}");
                at += got.len() as u64 / 2;
            }
            assert_eq!(at, LENGTH - 1);
            let read: usize = file.calls().iter().map(|call| call.1).sum();
            assert_eq!(read as u64, LENGTH - 3, "{step}");
        }
    }

    #[test]
    fn a_read_elsewhere_is_possible_and_ends_the_reading_ahead() {
        let file = Arc::new(Scripted::new(1000, &[]));
        let mut window = Window::new(Arc::clone(&file) as Arc<dyn File>).unwrap();
        window.read_ahead(0, 100, ReadMode::Cached);
        assert_eq!(window.get(0, 2).unwrap(), [0, 1]);
        assert_eq!(window.get(500, 2).unwrap(), [244, 245], "far ahead");
        assert_eq!(window.get(10, 2).unwrap(), [10, 11], "back");
        window.read_ahead(100, 100, ReadMode::Cached);
        assert_eq!(window.get(50, 2).unwrap(), [50, 51], "before it");
        assert_eq!(window.get(999, 9).unwrap(), [231]);
    }

    /// An error is reported once, when its place is reached. Bytes before it can be read.
    #[test]
    fn an_error_of_reading_ahead_is_an_error() {
        let file = Arc::new(Scripted::new(1000, &[Ok(100), Ok(100), Err(io::ErrorKind::StorageFull)]));
        let mut window = Window::new(file).unwrap();
        window.read_ahead(0, 100, ReadMode::Cached);
        assert_eq!(window.get(0, 150).unwrap().len(), 150);
        assert_eq!(window.get(150, 60).unwrap_err().kind(), io::ErrorKind::StorageFull);
        assert_eq!(window.get(150, 60).unwrap().len(), 60, "the caller's own read");
    }

    /// A file on which the thread that reads ahead panics.
    #[derive(Debug)]
    struct Panics;

    impl Readable for Panics {
        fn size(&self) -> io::Result<u64> {
            Ok(1000)
        }
        fn read_at(&self, _: u64, out: &mut [u8]) -> io::Result<usize> {
            assert!(thread::current().name() != Some("kv-read-ahead"), "planted");
            out.fill(7);
            Ok(out.len())
        }
        fn drop_cache(&self) {}
    }

    #[test]
    fn no_caller_waits_for_a_thread_that_panicked() {
        let mut window = Window::new(Arc::new(ReadOnly(Panics))).unwrap();
        window.read_ahead(0, 100, ReadMode::Cached);
        assert!(window.get(0, 2).unwrap_err().to_string().contains("reads ahead has ended"));
        assert_eq!(window.get(0, 2).unwrap(), [7, 7], "the caller's own read");
    }

    #[test]
    fn a_file_that_is_truncated_while_a_thread_reads_ahead_ends_there() {
        let file = Scripted::with_wrong_size(500, 150);
        let mut window = Window::new(Arc::new(file)).unwrap();
        window.read_ahead(0, 100, ReadMode::Cached);
        assert_eq!(window.get(0, 4).unwrap(), [0, 1, 2, 3], "read ahead");
        assert_eq!(window.get(90, 100).unwrap().len(), 60);
        assert_eq!(window.len(), 150);
        assert!(window.get(200, 4).unwrap().is_empty());
    }
}

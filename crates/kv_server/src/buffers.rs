//! Buffers that the connections of one worker thread share, so that an idle connection has none.

use std::cell::{Cell, RefCell};

/// Bytes of one read.
const READ_BYTES: usize = 64 << 10;
/// Buffers for replies that a worker keeps, and the longest of them.
const KEPT: usize = 64;
const KEPT_BYTES: usize = 64 << 10;
/// Room for the replies of a short turn.
const FIRST_BYTES: usize = 512;

thread_local! {
    static READ: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    static REPLIES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `use_it` with this thread's buffer for reading.
pub(crate) fn with_read_buffer<T>(use_it: impl FnOnce(&mut [u8]) -> T) -> T {
    let mut buffer = READ.take().unwrap_or_else(|| vec![0; READ_BYTES].into());
    let result = use_it(&mut buffer);
    READ.set(Some(buffer));
    result
}

/// An empty buffer for replies.
pub(crate) fn reply_buffer() -> Vec<u8> {
    REPLIES.with_borrow_mut(Vec::pop).unwrap_or_else(|| Vec::with_capacity(FIRST_BYTES))
}

pub(crate) fn give_back(mut buffer: Vec<u8>) {
    if (1..=KEPT_BYTES).contains(&buffer.capacity()) {
        buffer.clear();
        REPLIES.with_borrow_mut(|kept| {
            if kept.len() < KEPT {
                kept.push(buffer);
            }
        });
    }
}

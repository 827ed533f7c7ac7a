//! [`Aligned`]: memory that a disk can be given without a copy.

use super::DIRECT_BYTES;
use crate::memory;
use std::ops::{Deref, DerefMut};

/// Bytes that begin at a multiple of [`DIRECT_BYTES`] in memory, as long as they are no more than were asked for at
/// first. Where they are more, they are bytes as any others.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    pub(crate) fn with_capacity(count: usize) -> Aligned {
        Aligned::within(Vec::with_capacity(count + DIRECT_BYTES))
    }

    /// One of several for much data: it goes back to the system when it is freed.
    pub(crate) fn for_much(count: usize) -> Aligned {
        Aligned::within(memory::room(count + DIRECT_BYTES))
    }

    fn within(mut bytes: Vec<u8>) -> Aligned {
        let start = bytes.as_ptr().align_offset(DIRECT_BYTES).min(DIRECT_BYTES);
        bytes.resize(start, 0);
        Aligned { bytes, start }
    }

    /// The vector to append to; nothing may be taken from it.
    pub(crate) fn end(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    pub(crate) fn resize(&mut self, count: usize) {
        self.bytes.resize(self.start + count, 0);
    }
}

impl Deref for Aligned {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..]
    }
}

impl DerefMut for Aligned {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_begins_where_a_disk_wants_it() {
        for count in [0, 1, 4095, 4096, 100_000] {
            let mut bytes = Aligned::with_capacity(count);
            assert!(bytes.is_empty());
            bytes.resize(count);
            assert_eq!((bytes.len(), bytes.as_ptr().align_offset(DIRECT_BYTES)), (count, 0));
            bytes.fill(7);
            bytes.end().extend_from_slice(&[8; 9000]);
            assert!(bytes[..count].iter().all(|&byte| byte == 7) && bytes[count..] == [8; 9000], "longer than asked for");
            bytes.resize(0);
            assert!(bytes.is_empty());
        }
    }
}

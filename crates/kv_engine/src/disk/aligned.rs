//! [`Aligned`]: a buffer that can be read into and written from without the page cache (direct I/O).

use super::DIRECT_BYTES;
use crate::memory;
use std::ops::{Deref, DerefMut};

/// Bytes that begin at a multiple of [`DIRECT_BYTES`] in memory, as long as there are no more of them than the
/// capacity. If there are more, they may begin anywhere.
#[derive(Debug, Default)]
pub(crate) struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    pub(crate) fn with_capacity(count: usize) -> Aligned {
        Aligned::within(Vec::with_capacity(count + DIRECT_BYTES))
    }

    /// A buffer whose memory goes back to the system when it is freed.
    pub(crate) fn returned_when_freed(count: usize) -> Aligned {
        Aligned::within(memory::room(count + DIRECT_BYTES))
    }

    fn within(mut bytes: Vec<u8>) -> Aligned {
        let start = bytes.as_ptr().align_offset(DIRECT_BYTES).min(DIRECT_BYTES);
        bytes.resize(start, 0);
        Aligned { bytes, start }
    }

    /// The vector to append to. It must not become shorter.
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
    fn the_bytes_begin_at_a_multiple_for_direct_io() {
        for count in [0, 1, 4095, 4096, 100_000] {
            let mut bytes = Aligned::with_capacity(count);
            assert!(bytes.is_empty());
            bytes.resize(count);
            assert_eq!((bytes.len(), bytes.as_ptr().align_offset(DIRECT_BYTES)), (count, 0));
            bytes.fill(7);
            bytes.end().extend_from_slice(&[8; 9000]);
            assert!(bytes[..count].iter().all(|&byte| byte == 7) && bytes[count..] == [8; 9000], "longer than the capacity");
            bytes.resize(0);
            assert!(bytes.is_empty());
        }
    }
}

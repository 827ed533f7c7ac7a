//! [`ReadOnly`]: a file that can be read but not changed.

use super::File;
use std::fmt;
use std::io;

/// The methods of [`File`] that a file for reading must have.
pub(crate) trait Readable: Send + Sync + fmt::Debug {
    fn size(&self) -> io::Result<u64>;
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    fn drop_cache(&self);
}

/// Makes a [`File`] of a [`Readable`]. Calls that would change the file return `Unsupported`.
#[derive(Debug)]
pub(crate) struct ReadOnly<T>(pub(crate) T);

impl<T: Readable> File for ReadOnly<T> {
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }

    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, out)
    }

    fn write_at(&self, _: u64, _: &[u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync(&self) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn drop_cache(&self) {
        self.0.drop_cache();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::InMemory;
    use super::*;

    #[test]
    fn reads_are_passed_on_and_changes_are_refused() {
        let file = ReadOnly(InMemory::new((0..7).collect()));
        let mut out = [0; 2];
        assert_eq!((file.size().unwrap(), file.read_at(5, &mut out).unwrap(), out), (7, 2, [5, 6]));
        assert_eq!((file.read_direct_at(6, &mut out).unwrap(), out), (1, [6, 6]));
        assert_eq!(file.0.take_bytes_read(), 3);
        file.drop_cache();
        assert_eq!(file.0.cache_drops(), 1);
        let refused = [file.write_at(0, b"x").map(drop), file.set_len(0), file.sync(), file.reserve(7, 8)];
        assert!(refused.into_iter().all(|done| done.unwrap_err().kind() == io::ErrorKind::Unsupported));
    }
}

//! A file that forwards every call to another one, except the calls that a test or benchmark replaces.

use kv_engine::disk::{File, FileId};
use std::fmt::Debug;
use std::io;
use std::sync::Arc;

/// The replaced calls.
pub trait Overrides: Debug + Send + Sync {
    fn sync(&self, file: &dyn File) -> io::Result<()>;
    fn write_at(&self, file: &dyn File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        file.write_at(offset, bytes)
    }
    fn drop_cache(&self, file: &dyn File) {
        file.drop_cache();
    }
}

#[derive(Debug)]
pub struct Wrapped<O>(pub Arc<dyn File>, pub O);

impl<O: Overrides> File for Wrapped<O> {
    fn id(&self) -> Option<FileId> {
        self.0.id()
    }
    fn size(&self) -> io::Result<u64> {
        self.0.size()
    }
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.0.read_at(offset, out)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.1.write_at(&*self.0, offset, bytes)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }
    fn reserve(&self, present_len: u64, len: u64) -> io::Result<()> {
        self.0.reserve(present_len, len)
    }
    fn sync(&self) -> io::Result<()> {
        self.1.sync(&*self.0)
    }
    fn drop_cache(&self) {
        self.1.drop_cache(&*self.0);
    }
}

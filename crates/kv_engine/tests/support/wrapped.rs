//! A disk and a file that forward every call, except the calls that a test or benchmark replaces.

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

/// Methods of a `Disk` that do what the real disk does. Used inside `impl Disk for …`, with the names of the methods.
macro_rules! as_os_disk {
    ($($method:ident)*) => { $(as_os_disk!(@ $method);)* };
    (@ open) => {
        fn open(&self, path: &std::path::Path) -> std::io::Result<Option<std::sync::Arc<dyn kv_engine::disk::File>>> {
            kv_engine::disk::OsDisk.open(path)
        }
    };
    (@ open_read) => {
        fn open_read(&self, path: &std::path::Path) -> std::io::Result<Option<std::sync::Arc<dyn kv_engine::disk::File>>> {
            kv_engine::disk::OsDisk.open_read(path)
        }
    };
    (@ rename) => {
        fn rename(&self, from: &std::path::Path, to: &std::path::Path) -> std::io::Result<()> {
            kv_engine::disk::OsDisk.rename(from, to)
        }
    };
    (@ remove) => {
        fn remove(&self, path: &std::path::Path) -> std::io::Result<()> {
            kv_engine::disk::OsDisk.remove(path)
        }
    };
    (@ sync_dir) => {
        fn sync_dir(&self, path: &std::path::Path) -> std::io::Result<()> {
            kv_engine::disk::OsDisk.sync_dir(path)
        }
    };
    (@ lock) => {
        fn lock(&self, path: &std::path::Path) -> std::io::Result<Box<dyn kv_engine::disk::Lock>> {
            kv_engine::disk::OsDisk.lock(path)
        }
    };
    (@ named) => {
        fn named(&self, path: &std::path::Path) -> std::io::Result<Option<kv_engine::disk::Named>> {
            kv_engine::disk::OsDisk.named(path)
        }
    };
    (@ list) => {
        fn list(&self, path: &std::path::Path) -> std::io::Result<Vec<std::path::PathBuf>> {
            kv_engine::disk::OsDisk.list(path)
        }
    };
    (@ now) => {
        fn now(&self) -> std::time::Duration {
            kv_engine::disk::OsDisk.now()
        }
    };
    (@ entropy) => {
        fn entropy(&self) -> u64 {
            kv_engine::disk::OsDisk.entropy()
        }
    };
}
pub(crate) use as_os_disk;

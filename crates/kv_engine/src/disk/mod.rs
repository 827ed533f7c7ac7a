//! The interface between the store and the operating system. Everything that can fail, that a crash can cut off, or
//! that differs between two runs goes through [`Disk`] and [`File`]. So a simulated disk can replace the real one, and
//! try every crash.
//!
//! What each call promises after a crash:
//!
//! | call | durable when it has returned |
//! |---|---|
//! | [`File::write_at`], [`File::set_len`] | nothing, until [`File::sync`] |
//! | [`File::sync`] | the bytes and the length of this file, not its name |
//! | [`Disk::create_new`], [`Disk::rename`], [`Disk::remove`] | nothing, until [`Disk::sync_dir`] |
//! | [`Disk::sync_dir`] | the names in that directory, not the bytes of the files |
//!
//! Every read and write names its offset, so there is no hidden cursor. A read or write may return a short count, and
//! may be interrupted. The helper functions of this module complete both. They work *above* the interface, so a
//! simulated disk can produce both.

mod aligned;
#[cfg(test)]
mod in_memory;
mod os;
mod read_only;
mod scratch;
#[cfg(feature = "torture")]
pub mod sim;
mod window;

pub(crate) use aligned::Aligned;
#[cfg(test)]
pub(crate) use in_memory::InMemory;
pub use os::OsDisk;
pub(crate) use os::unnamed_file;
pub(crate) use read_only::{ReadOnly, Readable};
pub(crate) use scratch::{Scratch, remove_left_over};
pub use scratch::{create_scratch, is_scratch_of};
pub(crate) use window::{ReadMode, WINDOW_BYTES, Window};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A read or write that bypasses the page cache begins and ends at a multiple of this, in the file and in memory.
pub(crate) const DIRECT_BYTES: usize = 4096;

/// A directory tree that holds the store's files, a clock and a source of randomness.
///
/// Most implementations wrap [`OsDisk`]. This one counts the syncs of files:
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// use kv_engine::disk::{Disk, File, Lock, OsDisk};
/// # use std::{io, path::Path, sync::Arc, sync::atomic::{AtomicU64, Ordering}, time::Duration};
///
/// #[derive(Clone, Debug, Default)]
/// struct Counting(Arc<AtomicU64>);
///
/// #[derive(Debug)]
/// struct CountedFile(Arc<dyn File>, Counting);
///
/// impl File for CountedFile {
///     fn sync(&self) -> io::Result<()> {
///         self.1.0.fetch_add(1, Ordering::Relaxed);
///         self.0.sync()
///     }
///     // … and size, id, read_at, write_at, set_len, drop_cache pass on to `self.0`
/// #     fn id(&self) -> Option<kv_engine::disk::FileId> { self.0.id() }
/// #     fn size(&self) -> io::Result<u64> { self.0.size() }
/// #     fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> { self.0.read_at(offset, out) }
/// #     fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> { self.0.write_at(offset, bytes) }
/// #     fn set_len(&self, len: u64) -> io::Result<()> { self.0.set_len(len) }
/// #     fn drop_cache(&self) { self.0.drop_cache() }
/// }
///
/// # impl Counting {
/// #     fn counted(&self, file: Arc<dyn File>) -> Arc<dyn File> { Arc::new(CountedFile(file, self.clone())) }
/// # }
/// impl Disk for Counting {
///     fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
///         Ok(OsDisk.open(path)?.map(|file| self.counted(file)))
///     }
///     // … create_new too; open_read, rename, remove, sync_dir, lock, named, list, now, entropy pass on to `OsDisk`
/// #     fn named(&self, path: &Path) -> io::Result<Option<kv_engine::disk::Named>> { OsDisk.named(path) }
/// #     fn list(&self, path: &Path) -> io::Result<Vec<std::path::PathBuf>> { OsDisk.list(path) }
/// #     fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> { OsDisk.open_read(path) }
/// #     fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> { Ok(self.counted(OsDisk.create_new(path)?)) }
/// #     fn rename(&self, from: &Path, to: &Path) -> io::Result<()> { OsDisk.rename(from, to) }
/// #     fn remove(&self, path: &Path) -> io::Result<()> { OsDisk.remove(path) }
/// #     fn sync_dir(&self, path: &Path) -> io::Result<()> { OsDisk.sync_dir(path) }
/// #     fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> { OsDisk.lock(path) }
/// #     fn now(&self) -> Duration { OsDisk.now() }
/// #     fn entropy(&self) -> u64 { OsDisk.entropy() }
/// }
///
/// let disk = Counting::default();
/// let options = kv_engine::Options::new(log, snapshot).batch_size(100).disk(Arc::new(disk.clone()));
/// # let options = options.flush_interval(Duration::ZERO);
/// let engine = options.open()?;
/// let before = disk.0.load(Ordering::Relaxed);
/// for n in 0..1000_u32 {
///     engine.put(n.to_be_bytes(), "v")?;
/// }
/// assert_eq!(disk.0.load(Ordering::Relaxed) - before, 10); // one for a hundred puts
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Disk: Send + Sync + fmt::Debug {
    /// Opens an existing regular file for reading and writing. `Ok(None)`: there is no file.
    ///
    /// # Errors
    /// A symbolic link and anything that is not a regular file are refused. So is a file of another user in a directory
    /// that others can write to.
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>>;
    /// Opens an existing regular file for reading only. `Ok(None)`: there is no file.
    ///
    /// # Errors
    /// As [`Disk::open`], without the check of the owner.
    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>>;
    /// Creates a file that did not exist. Only its owner can read and write it.
    ///
    /// # Errors
    /// `AlreadyExists`: the name is taken, if only by a symbolic link.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Renames a file in one step, and replaces the file that had the name.
    ///
    /// # Errors
    /// Those of the operating system. Both names are then as they were.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    ///
    /// # Errors
    /// `NotFound`: the name does not exist.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Creates a directory, which only its owner can read and write. Returns whether it did not exist before. Its name
    /// is not durable yet. A disk need not support this; then only existing directories can be used.
    ///
    /// # Errors
    /// Those of the operating system; `Unsupported` if this is not implemented.
    fn create_dir(&self, path: &Path) -> io::Result<bool> {
        let _ = path;
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes the names in the directory that holds `path` durable.
    ///
    /// # Errors
    /// After an error it is unknown which names survive a power cut.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the exclusive lock whose file is `path`, and creates the file if there is none. The lock ends when the
    /// returned value is dropped, or with the process.
    ///
    /// # Errors
    /// `WouldBlock`: another process, or another value of this one, holds the lock.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// The file that `path` names now. `Ok(None)`: there is none. A symbolic link is not followed. After each sync the
    /// store checks by this that its log still has its name and its length. A disk that wraps another one should pass
    /// on this call, and [`File::id`] too.
    ///
    /// # Errors
    /// Those of the operating system.
    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        let Some(file) = self.open_read(path)? else { return Ok(None) };
        Ok(Some(Named { id: file.id(), len: file.size()? }))
    }
    /// The paths in the directory of `path` whose last part begins with the last part of `path`, in ascending order.
    /// The store uses this to find files that an earlier session left over. A disk that cannot list names returns none.
    ///
    /// # Errors
    /// Those of the operating system.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let _ = path;
        Ok(Vec::new())
    }
    /// Time since some fixed moment. It never goes back.
    fn now(&self) -> Duration;
    /// A random number. Two runs must be most unlikely to draw the same one.
    fn entropy(&self) -> u64;
}

/// Identifies a file, independent of its name. Two files that exist at the same time have different ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device, or the file system.
    pub device: u64,
    /// The number of the file on that device.
    pub inode: u64,
}

/// The file that a name shows at one moment. From [`Disk::named`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Identifies the file. `None`: the disk does not tell.
    pub id: Option<FileId>,
    /// Its length in bytes.
    pub len: u64,
}

/// One open file. The example of [`Disk`] shows how to wrap one.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("file");
/// use kv_engine::disk::{Disk, OsDisk};
///
/// let file = OsDisk.create_new(&path)?;
/// assert_eq!(file.write_at(0, b"hello")?, 5); // may be fewer: then write the rest
/// file.sync()?;                               // the bytes are durable,
/// OsDisk.sync_dir(&path)?;                    // and now the name too
/// let mut bytes = [0; 8];
/// assert_eq!(file.read_at(3, &mut bytes)?, 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait File: Send + Sync + fmt::Debug {
    /// Length in bytes.
    ///
    /// # Errors
    /// Those of the operating system.
    fn size(&self) -> io::Result<u64>;
    /// Identifies this file. `None`: the disk does not tell. Then the store cannot find out that another file has taken
    /// the name.
    fn id(&self) -> Option<FileId> {
        None
    }
    /// Reads into `out` from `offset`. Returns the number of bytes, 0 at the end of the file.
    ///
    /// # Errors
    /// Those of the operating system. A read that was `Interrupted` may be repeated.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// Writes `bytes` at `offset`. Returns the number of bytes that were written.
    ///
    /// # Errors
    /// Those of the operating system. A write that was `Interrupted` may be repeated.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// As [`File::read_at`]. If the offset, the length and the memory address are multiples of 4096, a disk may bypass
    /// its cache and read from the medium.
    ///
    /// # Errors
    /// As [`File::read_at`].
    fn read_direct_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.read_at(offset, out)
    }
    /// As [`File::write_at`], for many bytes that will not be read soon. If the offset, the length and the memory
    /// address are multiples of 4096, a disk may bypass its cache. That makes nothing durable.
    ///
    /// # Errors
    /// As [`File::write_at`].
    fn write_direct_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.write_at(offset, bytes)
    }
    /// Truncates the file to `len` bytes, or extends it with zeros.
    ///
    /// # Errors
    /// Those of the operating system.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Extends the file from its present length to `len` bytes, with zeros for which the disk has allocated blocks. So
    /// later writes and syncs there cost less. A disk need not support this.
    ///
    /// # Errors
    /// Those of the operating system; `Unsupported` if this is not implemented. After an error the file may be longer
    /// than before.
    fn reserve(&self, present_len: u64, len: u64) -> io::Result<()> {
        let _ = (present_len, len);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes everything written so far, and the length, survive a power cut (`fdatasync`).
    ///
    /// # Errors
    /// After an error it is unknown whether the bytes written since the last success survive, and a later success does
    /// not tell. So never repeat a failed sync.
    fn sync(&self) -> io::Result<()>;
    /// Takes the exclusive lock of the file itself, which does not depend on its name, until [`File::unlock`] or the
    /// end of the process. A disk on which each file has only one name need not implement it.
    ///
    /// # Errors
    /// `WouldBlock`: another open file holds the lock.
    fn try_lock(&self) -> io::Result<()> {
        Ok(())
    }
    /// Releases that lock.
    fn unlock(&self) {}
    /// Asks that the next reads come from the medium and not from memory. Best effort.
    fn drop_cache(&self);
}

/// An exclusive lock, which ends when this is dropped. From [`Disk::lock`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("kv.lock");
/// use kv_engine::disk::{Disk, OsDisk};
///
/// let lock = OsDisk.lock(&path)?;
/// let other = OsDisk.lock(&path).expect_err("held");
/// assert_eq!(other.kind(), std::io::ErrorKind::WouldBlock);
/// drop(lock);
/// assert!(OsDisk.lock(&path).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Lock: Send + Sync + fmt::Debug {
    /// Writes `text` into the lock's file, for the next process that wants the lock. Best effort: the lock does not
    /// depend on it.
    fn write_note(&self, text: &str);
    /// Whether the lock's name still shows the lock's file. If the file was removed, or its directory moved, another
    /// process may hold a lock under that name.
    fn is_in_place(&self) -> bool;
    /// Removes the lock's file if taking the lock created it. The lock itself ends when it is dropped. Does nothing
    /// unless the disk implements it.
    fn undo(&self) {}
}

/// Whether `path` still names `file`, or with `None` no file. If the disk does not tell which file it is, this says
/// yes.
pub(crate) fn is_still(disk: &dyn Disk, path: &Path, file: Option<&dyn File>) -> io::Result<bool> {
    let Some(named) = disk.named(path)? else { return Ok(file.is_none()) };
    let Some(file) = file else { return Ok(false) };
    Ok(named.id.is_none() || file.id().is_none() || named.id == file.id())
}

/// Writes all of `bytes` at `offset`, and completes short writes.
pub(crate) fn write_all_at(file: &dyn File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    write_all(offset, bytes, |offset, bytes| file.write_at(offset, bytes))
}

/// As [`write_all_at`], with [`File::write_direct_at`].
pub(crate) fn write_all_direct_at(file: &dyn File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    write_all(offset, bytes, |offset, bytes| file.write_direct_at(offset, bytes))
}

fn write_all(mut offset: u64, mut bytes: &[u8], write: impl Fn(u64, &[u8]) -> io::Result<usize>) -> io::Result<()> {
    while !bytes.is_empty() {
        match write(offset, bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                offset += n as u64;
                bytes = &bytes[n..];
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Reads until `out` is full or the file ends. Returns the number of bytes.
pub(crate) fn read_full_at(file: &dyn File, offset: u64, out: &mut [u8]) -> io::Result<usize> {
    read_full(offset, out, |offset, out| file.read_at(offset, out))
}

/// As [`read_full_at`], with [`File::read_direct_at`].
pub(crate) fn read_full_direct_at(file: &dyn File, offset: u64, out: &mut [u8]) -> io::Result<usize> {
    read_full(offset, out, |offset, out| file.read_direct_at(offset, out))
}

fn read_full(offset: u64, out: &mut [u8], read: impl Fn(u64, &mut [u8]) -> io::Result<usize>) -> io::Result<usize> {
    let mut done = 0;
    while done < out.len() {
        match read(offset + done as u64, &mut out[done..]) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(done)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::VecDeque;
    use std::sync::Mutex;

    /// A file of the bytes 0, 1, 2 … whose calls return the given outcomes, one after the other: a number of bytes, or
    /// an error. After the last outcome, calls succeed. Its size may be wrong.
    #[derive(Debug)]
    pub(super) struct Scripted {
        size: u64,
        length: u64,
        outcomes: Mutex<VecDeque<std::result::Result<usize, io::ErrorKind>>>,
        calls: Mutex<Vec<(u64, usize)>>,
    }

    impl Scripted {
        pub(super) fn new(length: u64, outcomes: &[std::result::Result<usize, io::ErrorKind>]) -> Scripted {
            Scripted { size: length, length, outcomes: Mutex::new(outcomes.iter().copied().collect()), calls: Mutex::default() }
        }

        /// A file that reports this size, which is not its length.
        pub(super) fn with_wrong_size(size: u64, length: u64) -> Scripted {
            Scripted { size, ..Scripted::new(length, &[]) }
        }

        fn call(&self, offset: u64, asked: usize) -> io::Result<usize> {
            self.calls.lock().unwrap().push((offset, asked));
            let outcome = self.outcomes.lock().unwrap().pop_front();
            outcome.map_or(Ok(asked), |outcome| outcome.map_err(io::Error::from))
        }

        pub(super) fn calls(&self) -> Vec<(u64, usize)> {
            self.calls.lock().unwrap().clone()
        }
    }

    impl File for Scripted {
        fn size(&self) -> io::Result<u64> {
            Ok(self.size)
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
            let left = self.length.saturating_sub(offset) as usize;
            let count = self.call(offset, out.len().min(left))?;
            (offset..).zip(&mut out[..count]).for_each(|(at, byte)| *byte = at as u8);
            Ok(count)
        }
        fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
            assert!((offset..).zip(bytes).all(|(at, &byte)| byte == at as u8), "these bytes do not belong at {offset}");
            self.call(offset, bytes.len())
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!("the helpers do not change the length")
        }
        fn sync(&self) -> io::Result<()> {
            unreachable!("the helpers do not sync")
        }
        fn drop_cache(&self) {}
    }

    use io::ErrorKind::{Interrupted, StorageFull, WriteZero};

    #[test]
    fn a_short_or_interrupted_write_is_completed_where_it_stopped() {
        let file = Scripted::new(0, &[Ok(2), Err(Interrupted), Ok(1)]);
        write_all_at(&file, 5, &[5, 6, 7, 8, 9]).unwrap();
        assert_eq!(file.calls(), [(5, 5), (7, 3), (7, 3), (8, 2)]);
    }

    #[test]
    fn a_write_of_no_bytes_or_a_failed_write_is_an_error() {
        for (outcome, kind) in [(Ok(0), WriteZero), (Err(StorageFull), StorageFull)] {
            let file = Scripted::new(0, &[Ok(1), outcome]);
            assert_eq!(write_all_at(&file, 0, &[0, 1, 2]).unwrap_err().kind(), kind);
            assert_eq!(file.calls(), [(0, 3), (1, 2)]);
        }
    }

    #[test]
    fn a_short_or_interrupted_read_is_completed_and_an_error_is_not_the_end() {
        let file = Scripted::new(20, &[Ok(1), Err(Interrupted), Ok(2)]);
        let mut bytes = [0; 5];
        assert_eq!(read_full_at(&file, 3, &mut bytes).unwrap(), 5);
        assert_eq!((bytes, file.calls()), ([3, 4, 5, 6, 7], vec![(3, 5), (4, 4), (4, 4), (6, 2)]));
        assert_eq!(read_full_at(&file, 18, &mut bytes).unwrap(), 2, "the file ends");
        let file = Scripted::new(20, &[Ok(1), Err(StorageFull)]);
        assert_eq!(read_full_at(&file, 3, &mut bytes).unwrap_err().kind(), StorageFull);
    }

    #[test]
    fn the_simulated_disk_has_one_lock_for_each_name_and_a_clock_that_the_test_sets() {
        let disk = sim::SimDisk::new(&sim::Image::new(), 1);
        let (lock, other) = (disk.lock(Path::new("/a")).unwrap(), disk.lock(Path::new("/b")));
        assert_eq!(disk.lock(Path::new("/a")).unwrap_err().kind(), io::ErrorKind::WouldBlock);
        drop(lock);
        assert!(disk.lock(Path::new("/a")).is_ok() && other.is_ok());
        assert_eq!(disk.now(), Duration::ZERO);
        disk.advance(Duration::from_secs(5));
        assert_eq!(disk.now(), Duration::from_secs(5));
    }

    #[test]
    fn a_file_that_cannot_reserve_space_returns_unsupported() {
        assert_eq!(Scripted::new(3, &[]).reserve(3, 9).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_disk_that_cannot_bypass_its_cache_uses_it() {
        let file = Scripted::new(10, &[]);
        let mut out = [0; 3];
        assert_eq!((file.write_direct_at(3, &[3, 4]).unwrap(), file.read_direct_at(8, &mut out).unwrap()), (2, 2));
        assert_eq!((file.calls(), out), (vec![(3, 2), (8, 2)], [8, 9, 0]));
    }
}

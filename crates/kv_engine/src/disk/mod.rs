//! The seam between the store and the operating system: everything that can fail, be cut off by a
//! crash, or differ between two runs goes through [`Disk`] and [`File`], and through nothing else.
//!
//! Positions are explicit, so there is no hidden cursor. Counts may be short and calls may be
//! interrupted: the helpers of this module finish them *above* the seam, so that a simulated disk
//! can produce both. What each call promises after a crash:
//!
//! | call | durable when it returned |
//! |---|---|
//! | [`File::write_at`], [`File::set_len`] | nothing, until [`File::sync`] |
//! | [`File::sync`] | the bytes and the length of this file, not its name |
//! | [`Disk::create_new`], [`Disk::rename`], [`Disk::remove`] | nothing, until [`Disk::sync_dir`] |
//! | [`Disk::sync_dir`] | the names in that directory, not the bytes behind them |

mod aligned;
mod os;
mod read_only;
mod scratch;
#[cfg(feature = "torture")]
pub mod sim;
mod window;

pub(crate) use aligned::Aligned;
pub use os::OsDisk;
pub(crate) use read_only::{ReadOnly, Readable};
pub(crate) use scratch::{Scratch, remove_left_over};
pub use scratch::{create_scratch, is_scratch_of};
pub(crate) use window::{WINDOW_BYTES, Way, Window};

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// What is read and written past a disk's cache begins and ends at multiples of this, in the file and in memory.
pub(crate) const DIRECT_BYTES: usize = 4096;

/// A directory tree that holds the store's files, a clock and a source of randomness.
///
/// A disk of one's own mostly wraps [`OsDisk`]. This one counts the syncs of files:
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
    /// Opens an existing regular file for reading and writing. `Ok(None)` when there is none.
    ///
    /// # Errors
    /// Anything but a regular file, a symbolic link, and a file that another user owns in a
    /// directory that others can write to are refused.
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>>;
    /// Opens an existing regular file for reading only. `Ok(None)` when there is none.
    ///
    /// # Errors
    /// As [`Disk::open`], without the check of the owner.
    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>>;
    /// Creates a file that did not exist, readable and writable by its owner alone.
    ///
    /// # Errors
    /// `AlreadyExists` when the name is taken, by a symbolic link too.
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>>;
    /// Gives a file another name in one step, replacing what was there.
    ///
    /// # Errors
    /// What the operating system says; then both names are as they were.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a name.
    ///
    /// # Errors
    /// `NotFound` when there was none.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in the directory that holds `path` durable.
    ///
    /// # Errors
    /// After an error it is unknown which names survive.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the exclusive lock whose file is `path`, creating the file where there is none. The lock
    /// ends with the returned value or with the process.
    ///
    /// # Errors
    /// `WouldBlock` when somebody holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>>;
    /// What `path` names now; `Ok(None)` when nothing. A symbolic link is not followed. The store asks after each sync
    /// whether its log still has its name and its length. A disk of one's own that wraps another one passes this on,
    /// and [`File::id`] too.
    ///
    /// # Errors
    /// What the operating system says.
    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        let Some(file) = self.open_read(path)? else { return Ok(None) };
        Ok(Some(Named { id: file.id(), len: file.size()? }))
    }
    /// The paths beside `path` whose last part begins with the last part of `path`, in ascending order. The store looks
    /// by this for files that an earlier opening left over. A disk that has no such list gives none.
    ///
    /// # Errors
    /// What the operating system says.
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        let _ = path;
        Ok(Vec::new())
    }
    /// Time since some fixed moment; never goes back.
    fn now(&self) -> Duration;
    /// A random number; that two runs draw the same one must be most unlikely.
    fn entropy(&self) -> u64;
}

/// Which file it is, whatever its name: two files that are there at the same time have different ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device, or the file system.
    pub device: u64,
    /// The number of the file there.
    pub inode: u64,
}

/// What a name stands for at one moment; from [`Disk::named`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// Which file; `None` where the disk does not tell.
    pub id: Option<FileId>,
    /// Its length in bytes.
    pub len: u64,
}

/// One open file. How to wrap one: the example of [`Disk`].
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("file");
/// use kv_engine::disk::{Disk, OsDisk};
///
/// let file = OsDisk.create_new(&path)?;
/// assert_eq!(file.write_at(0, b"hello")?, 5); // may be fewer: then the rest again
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
    /// What the operating system says.
    fn size(&self) -> io::Result<u64>;
    /// Which file this is. `None`: the disk does not tell, and the store cannot find out when another file has taken
    /// its name.
    fn id(&self) -> Option<FileId> {
        None
    }
    /// Reads into `out` from `offset`; returns how many bytes, 0 at the end of the file.
    ///
    /// # Errors
    /// What the operating system says; `Interrupted` may be repeated.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize>;
    /// Writes from `bytes` at `offset`; returns how many bytes were taken.
    ///
    /// # Errors
    /// What the operating system says; `Interrupted` may be repeated.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize>;
    /// As [`File::read_at`]; where place, length and memory begin at multiples of 4096 bytes, a disk may read past its
    /// cache, from the medium.
    ///
    /// # Errors
    /// As [`File::read_at`].
    fn read_direct_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
        self.read_at(offset, out)
    }
    /// As [`File::write_at`], for much that is not read soon: where place, length and memory begin at multiples of 4096
    /// bytes, a disk may write past its cache. That makes nothing durable.
    ///
    /// # Errors
    /// As [`File::write_at`].
    fn write_direct_at(&self, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.write_at(offset, bytes)
    }
    /// Cuts or extends the file (with zeros) to `len` bytes.
    ///
    /// # Errors
    /// What the operating system says.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Lengthens the file from its present length to `len` bytes, with zeros that have their place on the disk, so
    /// that writing there and syncing costs less. A disk need not be able to.
    ///
    /// # Errors
    /// What the operating system says, `Unsupported` unless implemented. The file may be longer than before then.
    fn reserve(&self, present_len: u64, len: u64) -> io::Result<()> {
        let _ = (present_len, len);
        Err(io::ErrorKind::Unsupported.into())
    }
    /// Makes everything written so far, and the length, survive a power cut (`fdatasync`).
    ///
    /// # Errors
    /// After an error the bytes written since the last success may or may not survive, and a later
    /// success says nothing about them: never repeat a failed sync.
    fn sync(&self) -> io::Result<()>;
    /// Takes the exclusive lock of the file itself, whatever name it was found under, until [`File::unlock`] or the
    /// end of the process. A disk whose files have one name each need not have it.
    ///
    /// # Errors
    /// `WouldBlock` when somebody holds it.
    fn try_lock(&self) -> io::Result<()> {
        Ok(())
    }
    /// Lets go of that lock.
    fn unlock(&self) {}
    /// Asks that the next reads come from the medium and not from memory; best effort.
    fn drop_cache(&self);
}

/// An exclusive lock; ends when dropped. From [`Disk::lock`].
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
    /// Puts `text` into the lock's file, for whoever comes next; best effort, since the lock itself
    /// does not depend on it.
    fn write_note(&self, text: &str);
    /// Whether the lock's file is still the one under its name. When it was removed, or its directory
    /// moved, somebody else may hold a lock under that name.
    fn is_in_place(&self) -> bool;
    /// Removes the lock's file if taking the lock made it. The lock goes on until it is dropped. Does nothing unless the
    /// disk knows how.
    fn undo(&self) {}
}

/// Whether `path` still names `file`, or still names nothing. A disk that does not tell which file it is says yes.
pub(crate) fn is_still(disk: &dyn Disk, path: &Path, file: Option<&dyn File>) -> io::Result<bool> {
    let Some(named) = disk.named(path)? else { return Ok(file.is_none()) };
    let Some(file) = file else { return Ok(false) };
    Ok(named.id.is_none() || file.id().is_none() || named.id == file.id())
}

/// Writes all of `bytes` at `offset`, finishing short writes.
pub(crate) fn write_all_at(file: &dyn File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    write_all(offset, bytes, |offset, bytes| file.write_at(offset, bytes))
}

/// As [`write_all_at`], by [`File::write_direct_at`].
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

/// Reads until `out` is full or the file ends; returns how many bytes were read.
pub(crate) fn read_full_at(file: &dyn File, offset: u64, out: &mut [u8]) -> io::Result<usize> {
    read_full(offset, out, |offset, out| file.read_at(offset, out))
}

/// As [`read_full_at`], by [`File::read_direct_at`].
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

    /// A file of the bytes 0, 1, 2 … whose calls end as told, in turn: with that many bytes, or an error.
    /// Once all is told, they do what was asked. Its size may be a lie.
    #[derive(Debug)]
    pub(super) struct Told {
        size: u64,
        length: u64,
        outcomes: Mutex<VecDeque<std::result::Result<usize, io::ErrorKind>>>,
        calls: Mutex<Vec<(u64, usize)>>,
    }

    impl Told {
        pub(super) fn new(length: u64, outcomes: &[std::result::Result<usize, io::ErrorKind>]) -> Told {
            Told { size: length, length, outcomes: Mutex::new(outcomes.iter().copied().collect()), calls: Mutex::default() }
        }

        /// Says that it is longer than it is.
        pub(super) fn lying(size: u64, length: u64) -> Told {
            Told { size, ..Told::new(length, &[]) }
        }

        fn call(&self, offset: u64, asked: usize) -> io::Result<usize> {
            self.calls.lock().unwrap().push((offset, asked));
            let told = self.outcomes.lock().unwrap().pop_front();
            told.map_or(Ok(asked), |outcome| outcome.map_err(io::Error::from))
        }

        pub(super) fn calls(&self) -> Vec<(u64, usize)> {
            self.calls.lock().unwrap().clone()
        }
    }

    impl File for Told {
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
    fn a_short_or_interrupted_write_is_finished_where_it_stopped() {
        let file = Told::new(0, &[Ok(2), Err(Interrupted), Ok(1)]);
        write_all_at(&file, 5, &[5, 6, 7, 8, 9]).unwrap();
        assert_eq!(file.calls(), [(5, 5), (7, 3), (7, 3), (8, 2)]);
    }

    #[test]
    fn a_write_that_takes_nothing_or_fails_is_an_error() {
        for (outcome, kind) in [(Ok(0), WriteZero), (Err(StorageFull), StorageFull)] {
            let file = Told::new(0, &[Ok(1), outcome]);
            assert_eq!(write_all_at(&file, 0, &[0, 1, 2]).unwrap_err().kind(), kind);
            assert_eq!(file.calls(), [(0, 3), (1, 2)]);
        }
    }

    #[test]
    fn a_short_or_interrupted_read_is_finished_and_an_error_is_not_the_end() {
        let file = Told::new(20, &[Ok(1), Err(Interrupted), Ok(2)]);
        let mut bytes = [0; 5];
        assert_eq!(read_full_at(&file, 3, &mut bytes).unwrap(), 5);
        assert_eq!((bytes, file.calls()), ([3, 4, 5, 6, 7], vec![(3, 5), (4, 4), (4, 4), (6, 2)]));
        assert_eq!(read_full_at(&file, 18, &mut bytes).unwrap(), 2, "the file ends");
        let file = Told::new(20, &[Ok(1), Err(StorageFull)]);
        assert_eq!(read_full_at(&file, 3, &mut bytes).unwrap_err().kind(), StorageFull);
    }

    #[test]
    fn the_simulated_disk_has_one_lock_to_a_name_and_a_clock_that_is_told() {
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
    fn a_file_that_cannot_reserve_says_so() {
        assert_eq!(Told::new(3, &[]).reserve(3, 9).unwrap_err().kind(), io::ErrorKind::Unsupported);
    }

    #[test]
    fn a_disk_without_a_way_past_the_cache_goes_through_it() {
        let file = Told::new(10, &[]);
        let mut out = [0; 3];
        assert_eq!((file.write_direct_at(3, &[3, 4]).unwrap(), file.read_direct_at(8, &mut out).unwrap()), (2, 2));
        assert_eq!((file.calls(), out), (vec![(3, 2), (8, 2)], [8, 9, 0]));
    }
}

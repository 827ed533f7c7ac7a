//! The real disk, which calls a function of the test whenever a file is created. So a test can write in the middle of a
//! checkpoint, and the same happens in each run.

use kv_engine::disk::{Disk, File, Lock, Named, OsDisk};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Visit = Box<dyn FnMut() + Send>;

/// A disk with visits. Clones share one.
#[derive(Clone, Default)]
pub struct Visited(Arc<Mutex<Option<Visit>>>);

impl Visited {
    /// Calls `visit` before each file that `work` creates.
    pub fn during<T>(&self, visit: impl FnMut() + Send + 'static, work: impl FnOnce() -> T) -> T {
        *self.0.lock().unwrap() = Some(Box::new(visit));
        let done = work();
        *self.0.lock().unwrap() = None;
        done
    }
}

impl fmt::Debug for Visited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Visited")
    }
}

impl Disk for Visited {
    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        OsDisk.open(path)
    }
    fn open_read(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        OsDisk.open_read(path)
    }
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if let Some(visit) = &mut *self.0.lock().unwrap() {
            visit();
        }
        OsDisk.create_new(path)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        OsDisk.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        OsDisk.remove(path)
    }
    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        OsDisk.sync_dir(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn Lock>> {
        OsDisk.lock(path)
    }
    fn named(&self, path: &Path) -> io::Result<Option<Named>> {
        OsDisk.named(path)
    }
    fn list(&self, path: &Path) -> io::Result<Vec<PathBuf>> {
        OsDisk.list(path)
    }
    fn now(&self) -> Duration {
        OsDisk.now()
    }
    fn entropy(&self) -> u64 {
        OsDisk.entropy()
    }
}

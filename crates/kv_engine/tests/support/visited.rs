//! The real disk, which calls a function of the test whenever a file is created. So a test can write in the middle of a
//! checkpoint, and the same happens in each run.

use super::wrapped::as_os_disk;
use kv_engine::disk::{Disk, File, OsDisk};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

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
    as_os_disk!(open open_read rename remove sync_dir lock named list now entropy);

    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        if let Some(visit) = &mut *self.0.lock().unwrap() {
            visit();
        }
        OsDisk.create_new(path)
    }
}

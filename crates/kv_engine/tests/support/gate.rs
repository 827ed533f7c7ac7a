//! [`Gate`]: a disk whose next sync waits for the test. Meanwhile writes are appended and stay in flight.

use super::wrapped::{Overrides, Wrapped, as_os_disk};
use super::{EIO, ENOSPC};
use kv_engine::disk::{Disk, File, OsDisk};
use std::io;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The two ends that a held sync waits for.
type Held = Arc<Mutex<Option<(Sender<()>, Receiver<bool>)>>>;

#[derive(Clone, Debug, Default)]
pub struct Gate {
    held: Held,
    /// The clock panics once.
    pub clock_panics: Arc<AtomicBool>,
    /// Writes find no room.
    pub is_full: Arc<AtomicBool>,
}

/// A sync that begins and waits.
pub struct Sync {
    begun: Receiver<()>,
    end: Sender<bool>,
}

impl Sync {
    pub fn has_begun(&self) {
        self.begun.recv_timeout(Duration::from_secs(60)).expect("a sync begins");
    }

    pub fn ends(self) {
        self.end.send(true).unwrap();
    }

    pub fn fails(self) {
        self.end.send(false).unwrap();
    }
}

impl Gate {
    /// Holds the next sync.
    pub fn hold(&self) -> Sync {
        let ((has_begun, begun), (end, ended)) = (channel(), channel());
        *self.held.lock().unwrap() = Some((has_begun, ended));
        Sync { begun, end }
    }
}

impl Overrides for Gate {
    fn sync(&self, file: &dyn File) -> io::Result<()> {
        let held = self.held.lock().unwrap().take();
        if let Some((begun, end)) = held {
            // A test that fails drops its ends. Then the sync goes on.
            let _ = begun.send(());
            if end.recv() == Ok(false) {
                return Err(io::Error::from_raw_os_error(EIO));
            }
        }
        file.sync()
    }

    fn write_at(&self, file: &dyn File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        if self.is_full.load(Ordering::Relaxed) {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        file.write_at(offset, bytes)
    }
}

impl Disk for Gate {
    as_os_disk!(open_read rename remove sync_dir lock named list entropy);

    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn File>>> {
        Ok(OsDisk.open(path)?.map(|file| Arc::new(Wrapped(file, self.clone())) as _))
    }
    fn create_new(&self, path: &Path) -> io::Result<Arc<dyn File>> {
        Ok(Arc::new(Wrapped(OsDisk.create_new(path)?, self.clone())))
    }
    fn now(&self) -> Duration {
        assert!(!self.clock_panics.swap(false, Ordering::Relaxed), "the clock panics");
        OsDisk.now()
    }
}

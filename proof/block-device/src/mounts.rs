//! Loop devices and mounts that end with their value, also after a panic. They even end when the process is killed,
//! because a loop device detaches itself with its last opener.

use crate::filesystem::FileSystem;
use anyhow::{Context, Result, bail};
use rustix::fs::{Advice, fadvise};
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

/// A block device over a file.
///
/// The loop device of Linux 6.18 reports success for a request of which its file took only the first part. So no
/// request may be longer than what the file takes as a whole or not at all.
pub(crate) struct LoopDevice {
    path: PathBuf,
    opened: File,
    limit: PathBuf,
    old_limit: String,
}

impl LoopDevice {
    pub(crate) fn attach(file: &Path, longest_request_kib: u32) -> Result<LoopDevice> {
        let shown = losetup(&["--find", "--show"], file)?;
        let path = PathBuf::from(shown.trim());
        let opened = File::open(&path);
        losetup(&["--detach"], &path)?; // takes effect with the last opener
        let opened = opened?;
        let name = path.file_name().context("a device has a name")?;
        let limit = Path::new("/sys/block").join(name).join("queue/max_sectors_kb");
        let old_limit = fs::read_to_string(&limit)?;
        fs::write(&limit, longest_request_kib.to_string()).context("limiting the length of requests")?;
        Ok(LoopDevice { path, opened, limit, old_limit })
    }

    pub(crate) fn mount(&self, kind: FileSystem, at: &Path) -> Result<Mounted> {
        // The device has another content now, so the kernel's cache of it is wrong.
        fadvise(&self.opened, 0, None, Advice::DontNeed)?;
        Mounted::new(&self.path, at, kind.name(), kind.mount_options())
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = fs::write(&self.limit, &self.old_limit); // the limit would outlive the device
    }
}

fn losetup(arguments: &[&str], path: &Path) -> Result<String> {
    let done = Command::new("losetup").args(arguments).arg(path).output().context("no losetup")?;
    if !done.status.success() {
        bail!("losetup {}: {}", arguments[0], String::from_utf8_lossy(&done.stderr).trim());
    }
    Ok(String::from_utf8(done.stdout)?)
}

/// A mounted file system.
pub(crate) struct Mounted {
    at: Option<PathBuf>,
}

impl Mounted {
    pub(crate) fn new(source: &Path, at: &Path, kind: &str, options: Option<&std::ffi::CStr>) -> Result<Mounted> {
        mount(source, at, kind, MountFlags::NOATIME, options).with_context(|| format!("mounting {kind}"))?;
        Ok(Mounted { at: Some(at.to_path_buf()) })
    }

    /// Fails if another process still uses it.
    pub(crate) fn unmount(mut self) -> Result<()> {
        let at = self.at.take().expect("mounted until here");
        let mut done = unmount(&at, UnmountFlags::empty());
        for _ in 0..100 {
            if done != Err(rustix::io::Errno::BUSY) {
                break;
            }
            sleep(Duration::from_millis(10)); // a file was closed a moment ago
            done = unmount(&at, UnmountFlags::empty());
        }
        if done.is_err() {
            let _ = unmount(&at, UnmountFlags::DETACH);
        }
        done.with_context(|| format!("unmounting {}", at.display()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Some(at) = &self.at {
            let _ = unmount(at, UnmountFlags::DETACH);
        }
    }
}

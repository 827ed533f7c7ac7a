//! The files of a BENCH: beside the real log, so on the same disk, and gone however the run ends;
//! those of a killed run go with the next one.

use kv_engine::command::{Code, CommandError};
use kv_engine::{Error, Options};
use std::path::{Path, PathBuf};

/// The files of the scratch store. They exist only while the real store is locked by this process.
pub(super) struct Scratch {
    wal: PathBuf,
    snapshot: PathBuf,
}

impl Scratch {
    /// Takes the names, unless something that is not a scratch store has them.
    pub(super) fn claim(real_wal: &Path) -> Result<Scratch, CommandError> {
        let (wal, snapshot) = (suffixed(real_wal, ".bench"), suffixed(real_wal, ".bench.snapshot"));
        if wal.symlink_metadata().is_ok() || snapshot.symlink_metadata().is_ok() {
            match Options::new(&wal, &snapshot).open() {
                Ok(_) | Err(Error::Damaged { .. } | Error::Mismatch { .. }) => {}
                Err(error) => {
                    let text = format!("BENCH needs the name {} for scratch files: {error}", wal.display());
                    return Err(CommandError::new(Code::Failed, text));
                }
            }
        }
        // Only now: what it is given, a Scratch removes when it goes.
        Ok(Scratch { wal, snapshot })
    }

    pub(super) fn options(&self) -> Options {
        Options::new(&self.wal, &self.snapshot)
    }

    /// A name for the bare file that is measured against.
    pub(super) fn bare(&self) -> PathBuf {
        suffixed(&self.wal, ".bare")
    }

    pub(super) fn remove(&self) {
        for path in [&self.wal, &self.snapshot] {
            for suffix in ["", ".tmp", ".lock", ".bare"] {
                let _ = std::fs::remove_file(suffixed(path, suffix));
            }
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.remove();
    }
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

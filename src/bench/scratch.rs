//! The files of a BENCH, in a scratch directory beside the real log, on the same disk. They are removed when the run
//! ends. The next BENCH removes those of a killed run (see `outfile`).

use crate::error::{Code, CommandError};
use crate::outfile::{ScratchDir, is_store_suffix};
use kv_engine::Options;
use std::path::{Path, PathBuf};

const MARK: &str = ".bench-";
const LOG: &str = "log";
const SNAPSHOT: &str = "snapshot";
const BARE: &str = "bare";

/// The directory with the files of the temporary store.
pub(super) struct Scratch(ScratchDir);

impl Scratch {
    /// Makes it beside the log, and removes those that killed runs left there.
    pub(super) fn create(real_wal: &Path) -> Result<Scratch, CommandError> {
        let beside = real_wal.display();
        let text = |error| format!("BENCH failed: cannot make a directory beside {beside}: {error}; your store is unchanged");
        ScratchDir::create(real_wal, MARK, is_own).map(Scratch).map_err(|error| CommandError::new(Code::Failed, text(error)))
    }

    pub(super) fn options(&self) -> Options {
        Options::new(self.0.file(LOG), self.0.file(SNAPSHOT))
    }

    /// The path of the bare file.
    pub(super) fn bare(&self) -> PathBuf {
        self.0.file(BARE)
    }

    /// Removes the files of one run.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

/// Whether a file is the bare one, or a file of the temporary store.
fn is_own(name: &str) -> bool {
    let is_of_store = |suffix: &str| suffix.is_empty() || is_store_suffix(suffix.as_bytes());
    name == BARE || [LOG, SNAPSHOT].iter().any(|own| name.strip_prefix(own).is_some_and(is_of_store))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_own_files_are_those_of_its_store_and_the_bare_one() {
        for name in ["log", "log.lock", "log.tmp-0123", "snapshot", "snapshot.lock", "snapshot.tmp", "bare"] {
            assert!(is_own(name), "{name}");
        }
        for name in ["", "logs", "log.kv", "bare.txt", "notes", "snapshot.old"] {
            assert!(!is_own(name), "{name}");
        }
    }

    /// Also files with names that older versions of BENCH used.
    #[test]
    fn files_of_the_user_stay() {
        let dir = tempfile::tempdir().expect("a directory");
        let wal = dir.path().join("w");
        let names = ["w.bench", "w.bench.bare", "w.bench.snapshot", "w.bench.lock", "w.bench-0123456789abcdef"];
        names.iter().for_each(|name| std::fs::write(dir.path().join(name), "mine").expect("writes"));
        let scratch = Scratch::create(&wal).expect("a directory");
        super::super::floor::measure(&scratch.bare(), 1, || false).expect("measures");
        scratch.options().open().and_then(|engine| engine.put("a", "1")).expect("a store");
        scratch.clear();
        drop(scratch);
        assert!(names.iter().all(|name| std::fs::read(dir.path().join(name)).is_ok_and(|bytes| bytes == b"mine")));
        assert_eq!(std::fs::read_dir(dir.path()).expect("a directory").count(), names.len());
    }
}

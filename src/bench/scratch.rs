//! The files of a BENCH, in a scratch directory beside the real log: so on the same disk, never anybody else's, and gone
//! however the run ends. Those of a killed run go with the next one; how they are known: the head of `outfile.rs`.

use crate::error::{Code, CommandError};
use crate::outfile::ScratchDir;
use kv_engine::Options;
use std::path::{Path, PathBuf};

const MARK: &str = ".bench-";
const LOG: &str = "log";
const SNAPSHOT: &str = "snapshot";
const BARE: &str = "bare";

/// The directory with the files of the scratch store.
pub(super) struct Scratch(ScratchDir);

impl Scratch {
    /// Makes it beside the log, and removes what killed runs left there.
    pub(super) fn create(real_wal: &Path) -> Result<Scratch, CommandError> {
        let text = |error| format!("BENCH: no directory for scratch files can be made beside {}: {error}", real_wal.display());
        ScratchDir::create(real_wal, MARK, is_own).map(Scratch).map_err(|error| CommandError::new(Code::Failed, text(error)))
    }

    pub(super) fn options(&self) -> Options {
        Options::new(self.0.file(LOG), self.0.file(SNAPSHOT))
    }

    /// A name for the bare file that is measured against.
    pub(super) fn bare(&self) -> PathBuf {
        self.0.file(BARE)
    }

    /// Removes the files of one run.
    pub(super) fn clear(&self) {
        self.0.clear();
    }
}

/// The files that are made here: those that are named above, and what the store makes beside them.
fn is_own(name: &str) -> bool {
    let helper = |of: &str| {
        let suffix = name.strip_prefix(of);
        suffix.is_some_and(|suffix| suffix.is_empty() || [".lock", ".tmp", ".damaged-"].iter().any(|is| suffix.starts_with(is)))
    };
    name == BARE || helper(LOG) || helper(SNAPSHOT)
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

    /// What BENCH calls to measure, over names that were its own once.
    #[test]
    fn somebodys_file_is_left_alone() {
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

//! Which files the store has, from the options, the variables and the directory word; and stores that are split.
//!
//! Log and snapshot go together. Each of these names both:
//!
//! | given | log | snapshot |
//! |---|---|---|
//! | nothing | `/tmp/kv.wal` | `/tmp/kv.snapshot` |
//! | `--dir DIR`, `kv_cli DIR` or `KV_DIR` | `DIR/kv.wal` | `DIR/kv.snapshot` |
//! | `--wal PATH` or `KV_WAL` | `PATH` | beside it: `PATH` without `.wal`, plus `.snapshot` |
//! | also `--snapshot PATH` or `KV_SNAPSHOT` | as above | `PATH` |
//!
//! A directory together with one of the others is refused, with one exception: an option is stronger than the variables
//! of the other kind.

use crate::outfile::{parent, with_suffix};
use kv_engine::inspect;
use std::io;
use std::path::{Path, PathBuf};

const LOG_IN_DIR: &str = "kv.wal";

/// Up to version 0.1.0 the snapshot was here for every log, unless it was given.
pub(super) const OLD_PLACE: &str = "/tmp/kv.snapshot";

/// How a path was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    Default,
    Variable,
    Option,
}

/// The paths as they were given.
pub(super) struct Given {
    pub(super) wal: (PathBuf, By),
    pub(super) snapshot: Option<(PathBuf, By)>,
    pub(super) dir: Option<(PathBuf, By)>,
}

impl Given {
    /// The log, and the snapshot if it is not beside the log.
    pub(super) fn resolve(self) -> Result<(PathBuf, Option<PathBuf>), String> {
        let Given { wal, snapshot, dir } = self;
        let snapshot_by = snapshot.as_ref().map(|(_, by)| *by);
        let apart = snapshot.map(|(path, _)| path);
        let Some((dir, dir_by)) = dir else { return Ok((wal.0, apart)) };
        // An option is stronger than the variables of the other kind.
        let beside = [("wal", "KV_WAL", Some(wal.1)), ("snapshot", "KV_SNAPSHOT", snapshot_by)];
        match (dir_by, wal.1) {
            (By::Option, _) => {
                let other = beside.iter().find(|(_, _, by)| *by == Some(By::Option));
                other.map_or(Ok((dir.join(LOG_IN_DIR), None)), |(option, ..)| {
                    Err(format!("a directory has both files of the store, so it cannot be used together with --{option}"))
                })
            }
            (_, By::Option) => Ok((wal.0, apart)),
            _ => match beside.iter().find(|(_, _, by)| matches!(by, Some(By::Option | By::Variable))) {
                None => Ok((dir.join(LOG_IN_DIR), None)),
                Some((option, _, Some(By::Option))) => {
                    Err(format!("KV_DIR names both files of the store, so it cannot be used together with --{option}; unset it"))
                }
                Some((_, variable, _)) => Err(format!("KV_DIR and {variable} are both set; unset one of them")),
            },
        }
    }
}

/// `d/a.wal` has `d/a.snapshot`, and `d/a` too.
pub(super) fn beside(wal: &Path) -> PathBuf {
    let stem = if wal.extension().is_some_and(|end| end == "wal") { wal.with_extension("") } else { wal.to_path_buf() };
    with_suffix(&stem, ".snapshot")
}

/// Whether a word is a directory. A slash at its end says so, whether it exists or not.
pub(super) fn is_directory(word: &Path) -> bool {
    word.as_os_str().as_encoded_bytes().ends_with(b"/") || word.is_dir()
}

/// What is wrong with the directory of the log, and what to do.
pub(super) fn no_directory(wal: &Path) -> Option<String> {
    let dir = parent(wal);
    match dir.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let parents = if parent(dir).exists() { "" } else { "-p " };
            Some(format!(
                "there is no directory {}; nothing was created; to make it: mkdir {parents}{}",
                dir.display(),
                shell_word(dir)
            ))
        }
        Ok(about) if !about.is_dir() => Some(format!("{} is not a directory; nothing was created", dir.display())),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            Some(format!("{} is not a directory; nothing was created", dir.display()))
        }
        _ => None,
    }
}

/// How to open the log with the snapshot at `old`, if they belong together and there is no snapshot at `snapshot`.
pub(super) fn stray(wal: &Path, snapshot: &Path, old: &Path) -> Option<String> {
    if snapshot == old || snapshot.symlink_metadata().is_ok() || !inspect::verify(wal, old).is_sound() {
        return None;
    }
    Some(format!(
        "the snapshot of this log is {}, where older versions put it; use --snapshot {}, or once: mv {} {}",
        old.display(),
        shell_word(old),
        shell_word(old),
        shell_word(snapshot)
    ))
}

/// A path as one word for `sh`.
pub(super) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    // A dash at the start would be an option.
    let text = if text.starts_with('-') { format!("./{text}") } else { text };
    if !text.is_empty() && text.chars().all(plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        wal: Option<(&str, By)>,
        snapshot: Option<(&str, By)>,
        dir: Option<(&str, By)>,
    ) -> Result<(PathBuf, Option<PathBuf>), String> {
        let owned = |(path, by): (&str, By)| (PathBuf::from(path), by);
        let wal = owned(wal.unwrap_or(("/tmp/kv.wal", By::Default)));
        Given { wal, snapshot: snapshot.map(owned), dir: dir.map(owned) }.resolve()
    }

    #[test]
    fn case_41_a_directory_names_both_files() {
        use By::{Option, Variable};
        let in_d = Ok((PathBuf::from("d/kv.wal"), None));
        assert_eq!(resolve(None, None, Some(("d", Option))), in_d);
        assert_eq!(resolve(None, None, Some(("d/", Variable))), in_d);
        assert_eq!(resolve(None, None, None), Ok(("/tmp/kv.wal".into(), None)));
        assert_eq!(resolve(Some(("w", Option)), Some(("s", Variable)), None), Ok(("w".into(), Some("s".into()))));
        // An option is stronger than the variables of the other kind.
        assert_eq!(resolve(Some(("w", Variable)), Some(("s", Variable)), Some(("d", Option))), in_d);
        assert_eq!(resolve(Some(("w", Option)), None, Some(("d", Variable))), Ok(("w".into(), None)));
        for (wal, snapshot, dir, says) in [
            (Some(("w", Option)), None, Option, "cannot be used together with --wal"),
            (None, Some(("s", Option)), Option, "cannot be used together with --snapshot"),
            (None, Some(("s", Option)), Variable, "cannot be used together with --snapshot; unset it"),
            (Some(("w", Variable)), None, Variable, "KV_DIR and KV_WAL are both set"),
            (None, Some(("s", Variable)), Variable, "KV_DIR and KV_SNAPSHOT are both set"),
        ] {
            let text = resolve(wal, snapshot, Some(("d", dir))).expect_err(says);
            assert!(text.contains(says), "{text}");
        }
    }

    #[test]
    fn case_41_the_snapshot_is_beside_the_log() {
        for (wal, snapshot) in [
            ("d/a.wal", "d/a.snapshot"),
            ("w", "w.snapshot"),
            ("a.b.wal", "a.b.snapshot"),
            ("a.wal.wal", "a.wal.snapshot"),
            ("a.log", "a.log.snapshot"),
            ("/d.wal/a", "/d.wal/a.snapshot"),
            (".wal", ".wal.snapshot"),
        ] {
            assert_eq!(beside(Path::new(wal)), Path::new(snapshot));
        }
    }

    #[test]
    fn case_52_a_directory_that_does_not_exist_is_named_with_the_command_that_makes_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let at = |name: &str| dir.path().join(name);
        assert_eq!(no_directory(&at("kv.wal")), None);
        assert_eq!(no_directory(Path::new("kv.wal")), None);
        let says = |name: &str| no_directory(&at(name)).expect(name);
        assert!(says("my d/kv.wal").ends_with(&format!("; to make it: mkdir '{}'", at("my d").display())));
        assert!(says("a/b/kv.wal").ends_with(&format!("; to make it: mkdir -p {}", at("a/b").display())));
        std::fs::write(at("file"), "").expect("writes");
        assert!(says("file/kv.wal").contains("is not a directory"));
        assert!(says("file/d/kv.wal").contains("is not a directory"));
    }

    #[test]
    fn case_41_a_snapshot_in_the_old_place_is_found_if_it_is_of_this_log() {
        let dir = tempfile::tempdir().expect("a directory");
        let [wal, beside, old] = ["it's.wal", "it's.snapshot", "old"].map(|name| dir.path().join(name));
        let open = |wal: &Path, snapshot: &Path| kv_engine::Options::new(wal, snapshot).open().expect("opens");
        let engine = open(&wal, &old);
        engine.put("a", "1").and_then(|_| engine.snapshot()).expect("a snapshot");
        engine.close().expect("closes");
        let says = stray(&wal, &beside, &old).expect("found");
        assert!(says.contains(&format!("use --snapshot {}, or once: mv {} '", old.display(), old.display())), "{says}");
        assert!(says.ends_with("/it'\\''s.snapshot'"), "{says}");
        assert_eq!(stray(&wal, &old, &old), None);
        let other = dir.path().join("other.wal");
        open(&other, &dir.path().join("other")).put("b", "2").expect("a write");
        assert_eq!(stray(&other, &beside, &old), None, "not of this log");
        std::fs::write(&beside, "").expect("writes");
        assert_eq!(stray(&wal, &beside, &old), None, "there is one beside it");
    }
}

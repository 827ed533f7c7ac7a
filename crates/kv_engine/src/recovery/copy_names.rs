//! The names of the copies that openings keep of a log.
//!
//! | name | what it is |
//! |---|---|
//! | `<wal>.damaged-<n>` | a damaged log, complete |
//! | `<wal>.damaged-<n>-torn` | a log with whole records after a torn one, complete |
//!
//! A number is used once: the next copy gets the first number that no file has, with or without `-torn`.

use crate::disk::Disk;
use crate::with_suffix;
use std::path::{Path, PathBuf};

const MARK: &str = ".damaged-";
const TORN: &str = "-torn";

/// Why a copy was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CopyKind {
    Damaged,
    Torn,
}

/// The name of copy `n` of the log at `wal`.
pub(super) fn name(wal: &Path, n: u64, kind: CopyKind) -> PathBuf {
    with_suffix(wal, &format!("{MARK}{n}{}", if kind == CopyKind::Torn { TORN } else { "" }))
}

/// The number and kind in this name of a copy of `wal`.
fn parse(wal: &Path, candidate: &Path) -> Option<(u64, CopyKind)> {
    let rest = candidate.as_os_str().as_encoded_bytes().strip_prefix(wal.as_os_str().as_encoded_bytes())?;
    let number = std::str::from_utf8(rest.strip_prefix(MARK.as_bytes())?).ok()?;
    let (number, kind) = number.strip_suffix(TORN).map_or((number, CopyKind::Damaged), |number| (number, CopyKind::Torn));
    let n = number.parse().ok()?;
    (name(wal, n, kind) == candidate).then_some((n, kind)) // no sign, no leading zeros
}

/// The files beside the log that have the names of copies, in the order of their numbers.
pub(crate) fn named_copies(disk: &dyn Disk, wal: &Path) -> Vec<(CopyKind, PathBuf)> {
    select(disk, wal, disk.list(&with_suffix(wal, MARK)).unwrap_or_default())
}

/// Those of the `listed` paths that are names of copies, in the order of their numbers.
pub(super) fn select(disk: &dyn Disk, wal: &Path, listed: Vec<PathBuf>) -> Vec<(CopyKind, PathBuf)> {
    let mut found: Vec<_> = listed.into_iter().filter_map(|path| Some((parse(wal, &path)?, path))).collect();
    if found.is_empty() {
        // The directory may not be readable, or the disk has no lists. Then the numbers are tried up to the first free
        // one.
        let taken = |n| {
            let of = [CopyKind::Damaged, CopyKind::Torn].map(|kind| ((n, kind), name(wal, n, kind)));
            of.into_iter().filter(|(_, path)| matches!(disk.open_read(path), Ok(Some(_)))).collect::<Vec<_>>()
        };
        found = (1..).map(taken).take_while(|taken| !taken.is_empty()).flatten().collect();
    }
    found.sort_unstable_by_key(|((n, kind), _)| (*n, *kind == CopyKind::Torn));
    found.into_iter().map(|((_, kind), path)| (kind, path)).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;

    /// This happens if the process may search the directory and not list it.
    #[test]
    fn without_a_list_the_numbers_are_tried_in_turn() {
        let dir = tempfile::tempdir().unwrap();
        let wal = dir.path().join("w");
        for name in [name(&wal, 1, CopyKind::Damaged), name(&wal, 2, CopyKind::Torn), name(&wal, 4, CopyKind::Damaged)] {
            std::fs::write(name, "a log").unwrap();
        }
        let found = select(&OsDisk, &wal, Vec::new());
        assert_eq!(
            found,
            [(CopyKind::Damaged, name(&wal, 1, CopyKind::Damaged)), (CopyKind::Torn, name(&wal, 2, CopyKind::Torn))]
        );
    }
}

//! The copies of logs that openings kept: which names they have, and which of them stand beside a log.
//!
//! | name | what it is | while it is there |
//! |---|---|---|
//! | `<wal>.damaged-<n>` | a log of this store that was damaged, whole | each opening says so: writes that were promised may be there alone |
//! | `<wal>.damaged-<n>-torn` | one with whole records behind a torn one, which no sync is known to cover | each opening names it |
//!
//! - A number is used once: the next copy gets the first number that no file has, with or without `-torn`.
//! - A file with such a name that is no log of this store is named as what it is. It says nothing about this store.
//! - A log with a damaged header counts as this store's, and so does a file that gives a read error: whose it is cannot be
//!   seen, and it may be.

use super::read_header;
use crate::disk::Disk;
use crate::error::Error;
use crate::wal::HEADER_BYTES;
use crate::{StoreId, snapshot, with_suffix};
use std::path::{Path, PathBuf};

const MARK: &str = ".damaged-";
const TORN: &str = "-torn";
/// So many names are told one by one.
const NAMED: usize = 3;

/// A file beside the log that has the name of a kept copy; in [`RecoveryReport::kept`](crate::RecoveryReport::kept).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # use kv_engine::disk::{Disk, OsDisk};
/// use kv_engine::{KeptCopy, Options};
///
/// let options = Options::new(&log, &snapshot);
/// # let engine = options.clone().open()?;
/// # engine.put("x", "100")?; engine.put("y", "200")?; engine.close()?;
/// OsDisk.open(&log)?.expect("a log of two writes").write_at(140, b"rot")?;
/// options.clone().open()?.close()?; // keeps the damaged log
/// let engine = options.open()?;     // the next opening names it
/// let copy = dir.path().join("log.damaged-1");
/// assert_eq!(engine.recovery().kept, [KeptCopy::Damaged(copy)]);
/// assert!(engine.recovery().is_loss());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeptCopy {
    /// A log of this store that was damaged. Writes that had been promised durable may be there alone.
    Damaged(PathBuf),
    /// A log of this store that had whole records behind a torn one. No sync is known to cover them.
    Torn(PathBuf),
    /// Something else, and what it is, in words.
    Other(PathBuf, String),
}

impl KeptCopy {
    /// The file.
    #[must_use]
    pub fn path(&self) -> &Path {
        match self {
            KeptCopy::Damaged(path) | KeptCopy::Torn(path) | KeptCopy::Other(path, _) => path,
        }
    }
}

/// Which copies are meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sort {
    Damaged,
    Torn,
}

/// The name of copy `n` of the log at `wal`.
pub(super) fn name(wal: &Path, n: u64, sort: Sort) -> PathBuf {
    with_suffix(wal, &format!("{MARK}{n}{}", if sort == Sort::Torn { TORN } else { "" }))
}

/// The number and the sort that this name of a copy of `wal` says.
fn parse(wal: &Path, candidate: &Path) -> Option<(u64, Sort)> {
    let behind = candidate.as_os_str().as_encoded_bytes().strip_prefix(wal.as_os_str().as_encoded_bytes())?;
    let number = std::str::from_utf8(behind.strip_prefix(MARK.as_bytes())?).ok()?;
    let (number, sort) = number.strip_suffix(TORN).map_or((number, Sort::Damaged), |number| (number, Sort::Torn));
    let n = number.parse().ok()?;
    (name(wal, n, sort) == candidate).then_some((n, sort)) // no sign, no zeros in front
}

/// What stands beside the log at `wal` of store `id` under the names of kept copies, but for the one that was just `made`. What
/// cannot be looked at is told, too.
pub(super) fn kept_copies(disk: &dyn Disk, wal: &Path, id: StoreId, made: Option<&Path>) -> Vec<KeptCopy> {
    let named = names(disk, wal).into_iter().filter(|(_, path)| Some(path.as_path()) != made);
    named.map(|(sort, path)| look(disk, path, sort, id)).collect()
}

/// As [`kept_copies`], of the store of which this log and this snapshot are; none where neither says which one that is.
pub(crate) fn kept_beside(disk: &dyn Disk, wal: &Path, snapshot: &Path) -> Vec<KeptCopy> {
    let named = names(disk, wal);
    if named.is_empty() {
        return Vec::new(); // and nothing is read
    }
    let open = |path| disk.open_read(path).ok().flatten();
    let of_log = open(wal).and_then(|file| read_header(&*file, wal).ok()).map(|header| header.store_id);
    let of_snapshot =
        || open(snapshot).and_then(|file| snapshot::read_header(&*file, snapshot).ok()).map(|header| header.store_id);
    let Some(id) = of_log.or_else(of_snapshot) else { return Vec::new() };
    named.into_iter().map(|(sort, path)| look(disk, path, sort, id)).collect()
}

fn names(disk: &dyn Disk, wal: &Path) -> Vec<(Sort, PathBuf)> {
    named(disk, wal, disk.list(&with_suffix(wal, MARK)).unwrap_or_default())
}

/// Those of the `listed` paths that are names of copies, in the order of their numbers.
fn named(disk: &dyn Disk, wal: &Path, listed: Vec<PathBuf>) -> Vec<(Sort, PathBuf)> {
    let mut found: Vec<_> = listed.into_iter().filter_map(|path| Some((parse(wal, &path)?, path))).collect();
    if found.is_empty() {
        // The directory may not be listed, or the disk has no lists: then the numbers are tried up to the first free one.
        let there = |n| {
            let of = [Sort::Damaged, Sort::Torn].map(|sort| ((n, sort), name(wal, n, sort)));
            of.into_iter().filter(|(_, path)| matches!(disk.open_read(path), Ok(Some(_)))).collect::<Vec<_>>()
        };
        found = (1..).map(there).take_while(|there| !there.is_empty()).flatten().collect();
    }
    found.sort_unstable_by_key(|((n, sort), _)| (*n, *sort == Sort::Torn));
    found.into_iter().map(|((_, sort), path)| (sort, path)).collect()
}

/// What the file at `path` is.
fn look(disk: &dyn Disk, path: PathBuf, sort: Sort, id: StoreId) -> KeptCopy {
    let file = match disk.open_read(&path) {
        Ok(Some(file)) => file,
        Ok(None) => return KeptCopy::Other(path, "gone meanwhile".into()),
        Err(error) => return KeptCopy::Other(path, format!("nothing that can be read: {error}")),
    };
    let what = match read_header(&*file, &path) {
        Ok(header) if header.store_id == id => None,
        Ok(header) => Some(format!("a log of another store, {}", header.store_id)),
        Err(Error::Damaged { .. }) if file.size().is_ok_and(|size| size < HEADER_BYTES as u64) => {
            Some("shorter than the header of a log".into())
        }
        Err(Error::Damaged { .. }) => None,
        Err(Error::Version { found, .. }) => Some(format!("a log of a newer program, {found}")),
        Err(Error::Foreign { found, .. }) => Some(found),
        Err(_) => None, // a read error: it may be one
    };
    match (what, sort) {
        (Some(what), _) => KeptCopy::Other(path, what),
        (None, Sort::Damaged) => KeptCopy::Damaged(path),
        (None, Sort::Torn) => KeptCopy::Torn(path),
    }
}

/// One sentence for each sort that is among `kept`. `snapshot`: that of the store.
pub(crate) fn said(kept: &[KeptCopy], snapshot: &Path) -> Vec<String> {
    let of = |sort: fn(&KeptCopy) -> Option<&Path>| kept.iter().filter_map(sort).collect::<Vec<_>>();
    let damaged = of(|copy| if let KeptCopy::Damaged(path) = copy { Some(path) } else { None });
    let torn = of(|copy| if let KeptCopy::Torn(path) = copy { Some(path) } else { None });
    let others = kept.iter().filter_map(|copy| if let KeptCopy::Other(path, what) = copy { Some((path, what)) } else { None });
    let mut said = Vec::new();
    if let Some(first) = damaged.first() {
        let (first, snapshot) = (first.display(), snapshot.display());
        said.push(format!(
            "{}: kept when the log was damaged; writes that had been promised may be there alone; see them with: kv_cli export \
             --salvage --wal {first} --snapshot {snapshot}; this is said until the copy is moved away or deleted",
            listed(&damaged)
        ));
    }
    if !torn.is_empty() {
        said.push(format!(
            "{}: kept because whole records stood behind a torn one; no sync is known to cover them; see them with: kv_cli wal \
             {}; move the copy away or delete it",
            listed(&torn),
            torn[0].display()
        ));
    }
    for (path, what) in others.take(NAMED) {
        said.push(format!("{}: has the name of a kept copy of the log, and is left alone: {what}", path.display()));
    }
    said
}

fn listed(paths: &[&Path]) -> String {
    let named: Vec<_> = paths.iter().take(NAMED).map(|path| path.display().to_string()).collect();
    match paths.len().saturating_sub(NAMED) {
        0 => named.join(", "),
        more => format!("{} and {more} more", named.join(", ")),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;
    use crate::wal;

    const ID: StoreId = StoreId([7; 16]);

    fn header(id: StoreId) -> Vec<u8> {
        wal::Header { store_id: id, salt: 1, base: 0 }.encode().to_vec()
    }

    #[test]
    fn only_a_log_of_this_store_is_a_kept_copy_of_it_and_all_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let wal = dir.path().join("w");
        let at = |name: &str| dir.path().join(name);
        let mut rotten = header(ID);
        rotten[20] ^= 1;
        let files = [
            ("w.damaged-2", header(ID)),
            ("w.damaged-10", header(ID)),
            ("w.damaged-3-torn", header(ID)),
            ("w.damaged-4", rotten),
            ("w.damaged-5", header(StoreId([8; 16]))),
            ("w.damaged-6", b"notes".to_vec()),
            ("w.damaged-7", Vec::new()),
            ("w.damaged-8", header(ID)[..40].to_vec()),
            // No names of copies.
            ("w.damaged-", header(ID)),
            ("w.damaged-02", header(ID)),
            ("w.damaged-+2", header(ID)),
            ("w.damaged-1-torn-torn", header(ID)),
            ("w.damaged-1.txt", header(ID)),
            ("w2.damaged-1", header(ID)),
        ];
        for (name, bytes) in files {
            std::fs::write(at(name), bytes).unwrap();
        }
        std::fs::create_dir(at("w.damaged-9")).unwrap();
        let kept = kept_copies(&OsDisk, &wal, ID, None);
        let ours: Vec<_> = kept.iter().filter(|copy| !matches!(copy, KeptCopy::Other(..))).cloned().collect();
        assert_eq!(
            ours,
            [
                KeptCopy::Damaged(at("w.damaged-2")),
                KeptCopy::Torn(at("w.damaged-3-torn")),
                KeptCopy::Damaged(at("w.damaged-4")),
                KeptCopy::Damaged(at("w.damaged-10")),
            ]
        );
        let others: Vec<_> = kept
            .iter()
            .filter_map(|copy| if let KeptCopy::Other(path, what) = copy { Some((path.clone(), what.as_str())) } else { None })
            .collect();
        let names: Vec<_> = others.iter().map(|(path, _)| path.file_name().unwrap().to_str().unwrap()).collect();
        assert_eq!(names, ["w.damaged-5", "w.damaged-6", "w.damaged-7", "w.damaged-8", "w.damaged-9"]);
        assert!(others[0].1.starts_with("a log of another store"), "{others:?}");
        let said = said(&kept, Path::new("s"));
        assert_eq!(said.len(), 2 + NAMED, "{said:?}");
        let names = ["w.damaged-2", "w.damaged-4", "w.damaged-10"].map(|name| at(name).display().to_string()).join(", ");
        assert!(said[0].starts_with(&format!("{names}: kept")), "{said:?}");
        assert!(said[1].contains("w.damaged-3-torn: kept"), "{said:?}");
    }

    /// As where a directory may be searched and not read.
    #[test]
    fn without_a_list_the_names_are_tried_in_turn() {
        let dir = tempfile::tempdir().unwrap();
        let wal = dir.path().join("w");
        for name in [name(&wal, 1, Sort::Damaged), name(&wal, 2, Sort::Torn), name(&wal, 4, Sort::Damaged)] {
            std::fs::write(name, header(ID)).unwrap();
        }
        let found = named(&OsDisk, &wal, Vec::new());
        assert_eq!(found, [(Sort::Damaged, name(&wal, 1, Sort::Damaged)), (Sort::Torn, name(&wal, 2, Sort::Torn))]);
    }
}

//! The copies of damaged or torn logs that openings kept beside a log: what they are, and what each opening says about
//! them.
//!
//! | copy of | what each opening says while the copy exists |
//! |---|---|
//! | a damaged log, or one that was older than its snapshot | a warning: the copy may be the only place of writes that were promised durable |
//! | a log with whole records after a torn one | its name: no sync is known to cover those records |
//!
//! - A file with the name of a copy that is not a log of this store is reported for what it is, and counts for nothing.
//! - A log with a damaged header counts as a copy of this store's log, and so does a file that cannot be read: it may
//!   be one.
//!
//! `copy_names.rs` has the rules for the names.

use super::copy_names::{CopyKind, named_copies};
use super::log_header::read_header;
use crate::disk::Disk;
use crate::error::Error;
use crate::wal::HEADER_BYTES;
use crate::{StoreId, snapshot};
use std::path::{Path, PathBuf};

/// The number of files that a warning names one by one.
const NAMED: usize = 3;

/// A file beside the log with the name of a kept copy; in [`RecoveryReport::kept`](crate::RecoveryReport::kept).
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
/// let engine = options.open()?;     // the next opening reports it
/// let copy = dir.path().join("log.damaged-1");
/// assert_eq!(engine.recovery().kept, [KeptCopy::Damaged(copy)]);
/// assert!(engine.recovery().is_loss());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeptCopy {
    /// A damaged log of this store. It may be the only place of writes that were promised durable.
    Damaged(PathBuf),
    /// A log of this store with whole records after a torn one. No sync is known to cover them.
    Torn(PathBuf),
    /// Another file, and what it is, in words.
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

/// The files beside the log at `wal` with the names of kept copies, without the one that was just `made`. `id` is the
/// store. A file that cannot be read is reported too.
pub(super) fn kept_copies(disk: &dyn Disk, wal: &Path, id: StoreId, made: Option<&Path>) -> Vec<KeptCopy> {
    let named = named_copies(disk, wal).into_iter().filter(|(_, path)| Some(path.as_path()) != made);
    named.map(|(kind, path)| look(disk, path, kind, id)).collect()
}

/// As [`kept_copies`], with the store id from the log or the snapshot. Empty if neither has a readable header.
pub(crate) fn find_kept_copies(disk: &dyn Disk, wal: &Path, snapshot: &Path) -> Vec<KeptCopy> {
    let named = named_copies(disk, wal);
    if named.is_empty() {
        return Vec::new(); // without reading a file
    }
    let open = |path| disk.open_read(path).ok().flatten();
    let of_log = open(wal).and_then(|file| read_header(&*file, wal).ok()).map(|header| header.store_id);
    let of_snapshot =
        || open(snapshot).and_then(|file| snapshot::read_header(&*file, snapshot).ok()).map(|header| header.store_id);
    let Some(id) = of_log.or_else(of_snapshot) else { return Vec::new() };
    named.into_iter().map(|(kind, path)| look(disk, path, kind, id)).collect()
}

/// What the file at `path` is.
fn look(disk: &dyn Disk, path: PathBuf, kind: CopyKind, id: StoreId) -> KeptCopy {
    let file = match disk.open_read(&path) {
        Ok(Some(file)) => file,
        Ok(None) => return KeptCopy::Other(path, "it was removed just now".into()),
        Err(error) => return KeptCopy::Other(path, format!("it cannot be read: {error}")),
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
    match (what, kind) {
        (Some(what), _) => KeptCopy::Other(path, what),
        (None, CopyKind::Damaged) => KeptCopy::Damaged(path),
        (None, CopyKind::Torn) => KeptCopy::Torn(path),
    }
}

/// A sentence for each kind of copy among `kept`. `snapshot` is the snapshot of the store.
pub(crate) fn warnings(kept: &[KeptCopy], snapshot: &Path) -> Vec<String> {
    let of = |select: fn(&KeptCopy) -> Option<&Path>| kept.iter().filter_map(select).collect::<Vec<_>>();
    let damaged = of(|copy| if let KeptCopy::Damaged(path) = copy { Some(path) } else { None });
    let torn = of(|copy| if let KeptCopy::Torn(path) = copy { Some(path) } else { None });
    let others = kept.iter().filter_map(|copy| if let KeptCopy::Other(path, what) = copy { Some((path, what)) } else { None });
    let mut warnings = Vec::new();
    if let Some(first) = damaged.first() {
        let (what, of, copy) = kept_words(damaged.len());
        warnings.push(format!(
            "{what}: {}; writes that were promised durable may exist only there; to export them{of}: {}; to end this warning: \
             move the {copy} away or delete it",
            listed(&damaged),
            salvage_command(first, snapshot)
        ));
    }
    if !torn.is_empty() {
        let (what, of, copy) = kept_words(torn.len());
        warnings.push(format!(
            "{what}: {}; whole records follow a torn one there; no sync is known to cover them; to see them{of}: kv_cli wal {}; \
             to end this warning: move the {copy} away or delete it",
            listed(&torn),
            shell_word(torn[0])
        ));
    }
    for (path, what) in others.take(NAMED) {
        warnings.push(format!(
            "{}: this file has the name of a kept copy of the log and is not one: {what}; it is left alone",
            path.display()
        ));
    }
    warnings
}

/// The words for this number of copies: what was kept, which one a command shows, and the copies.
fn kept_words(count: usize) -> (String, &'static str, &'static str) {
    match count {
        1 => ("an earlier opening kept this log".into(), "", "copy"),
        n => (format!("earlier openings kept these {n} logs"), ", here of the first", "copies"),
    }
}

/// The command that exports the entries of a kept copy.
pub(super) fn salvage_command(copy: &Path, snapshot: &Path) -> String {
    format!("kv_cli export --salvage --wal {} --snapshot {}", shell_word(copy), shell_word(snapshot))
}

/// The path as one word for `sh`.
pub(super) fn shell_word(path: &Path) -> String {
    let text = path.display().to_string();
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+".contains(c);
    if text.chars().all(is_plain) { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
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

    #[test]
    fn a_command_can_be_pasted() {
        assert_eq!(
            salvage_command(Path::new("/tmp/kv.wal.damaged-1"), Path::new("my 'kv'")),
            r"kv_cli export --salvage --wal /tmp/kv.wal.damaged-1 --snapshot 'my '\''kv'\'''"
        );
    }

    const ID: StoreId = StoreId([7; 16]);

    fn header(id: StoreId) -> Vec<u8> {
        wal::Header { store_id: id, salt: 1, base: 0 }.encode().to_vec()
    }

    #[test]
    fn only_a_log_of_this_store_counts_as_a_copy_and_other_files_are_reported() {
        let dir = tempfile::tempdir().unwrap();
        let wal = dir.path().join("w");
        let at = |name: &str| dir.path().join(name);
        let mut damaged = header(ID);
        damaged[20] ^= 1;
        let files = [
            ("w.damaged-2", header(ID)),
            ("w.damaged-10", header(ID)),
            ("w.damaged-3-torn", header(ID)),
            ("w.damaged-4", damaged),
            ("w.damaged-5", header(StoreId([8; 16]))),
            ("w.damaged-6", b"notes".to_vec()),
            ("w.damaged-7", Vec::new()),
            ("w.damaged-8", header(ID)[..40].to_vec()),
            // These are not names of copies.
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
        let warnings = warnings(&kept, Path::new("s"));
        assert_eq!(warnings.len(), 2 + NAMED, "{warnings:?}");
        let names = ["w.damaged-2", "w.damaged-4", "w.damaged-10"].map(|name| at(name).display().to_string()).join(", ");
        assert!(warnings[0].starts_with(&format!("earlier openings kept these 3 logs: {names}; ")), "{warnings:?}");
        assert!(warnings[1].starts_with("an earlier opening kept this log: "), "{warnings:?}");
        assert!(warnings[1].contains("w.damaged-3-torn; whole records follow"), "{warnings:?}");
    }
}

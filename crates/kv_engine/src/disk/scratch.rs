//! Scratch files: files that are being written, under the name `<path>.tmp-<random><check>`, with 16 hexadecimal
//! digits.
//!
//! A file is written under this name, synced, and only then renamed to `path`. The name has two parts, so that no other
//! file is ever taken for a scratch file:
//! - 32 random bits. With them, and because the file must not exist before (`O_EXCL`), no file is overwritten.
//! - 32 bits of checksum over the last part of `path` and the random bits. A crash may leave a scratch file behind. The
//!   next opening removes it, and never removes a file whose name does not have the right checksum.

use super::{Disk, File, is_still};
use crate::with_suffix;
use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

const MARK: &str = ".tmp-";
const DIGITS: usize = 16;
/// A name that is taken is rare. After ten in a row the source of random numbers must be broken.
const DRAWS: usize = 10;

fn check(name: &OsStr, random: u32) -> u32 {
    let mut check = crc32fast::Hasher::new();
    for bytes in [b"a scratch file of kv-engine, made for: ", name.as_encoded_bytes(), &random.to_le_bytes()] {
        check.update(bytes);
    }
    check.finalize()
}

fn name_of(path: &Path, random: u32) -> PathBuf {
    let check = check(path.file_name().unwrap_or_default(), random);
    with_suffix(path, &format!("{MARK}{random:08x}{check:08x}"))
}

/// Creates a scratch file for `path`, and returns its name and the file. It is in the same directory, so that it can be
/// renamed to `path`. It did not exist before.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let path = dir.path().join("list.txt");
/// use kv_engine::disk::{Disk, OsDisk, create_scratch, is_scratch_of};
///
/// let (scratch, file) = create_scratch(&OsDisk, &path)?;
/// assert!(is_scratch_of(&path, &scratch));
/// file.write_at(0, b"a, b, c\n")?;
/// file.sync()?;
/// OsDisk.rename(&scratch, &path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// Those of the operating system.
pub fn create_scratch(disk: &dyn Disk, path: &Path) -> io::Result<(PathBuf, Arc<dyn File>)> {
    let mut draws = 0;
    loop {
        let name = name_of(path, (disk.entropy() >> 32) as u32);
        draws += 1;
        match disk.create_new(&name) {
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists && draws < DRAWS => {}
            done => return done.map(|file| (name, file)),
        }
    }
}

/// Whether `candidate` is a name that [`create_scratch`] gives to a scratch file for `path`. Only the last parts of
/// both paths are compared, not their directories.
#[must_use]
pub fn is_scratch_of(path: &Path, candidate: &Path) -> bool {
    let (Some(name), Some(candidate)) = (path.file_name(), candidate.file_name()) else { return false };
    let behind = candidate.as_encoded_bytes().strip_prefix(name.as_encoded_bytes());
    let Some(digits) = behind.and_then(|rest| rest.strip_prefix(MARK.as_bytes())) else { return false };
    let plain = digits.len() == DIGITS && digits.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
    let Some(number) = std::str::from_utf8(digits).ok().filter(|_| plain).and_then(|text| u64::from_str_radix(text, 16).ok())
    else {
        return false;
    };
    let (random, found) = ((number >> 32) as u32, number as u32);
    found == check(name, random)
}

/// A scratch file in use. It is removed when this is dropped, unless it was renamed.
#[derive(Debug)]
pub(crate) struct Scratch<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    file: Arc<dyn File>,
    is_named: bool,
}

impl<'a> Scratch<'a> {
    /// Creates a scratch file for `path`.
    pub(crate) fn create(disk: &'a dyn Disk, path: &Path) -> io::Result<Scratch<'a>> {
        let (path, file) = create_scratch(disk, path)?;
        Ok(Scratch { disk, path, file, is_named: false })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(&self) -> &Arc<dyn File> {
        &self.file
    }

    /// Renames it to `path`, and replaces the file there.
    pub(crate) fn rename_to(mut self, path: &Path) -> io::Result<()> {
        if !is_still(self.disk, &self.path, Some(&*self.file))? {
            return Err(io::Error::new(io::ErrorKind::NotFound, "another program removed or replaced it while it was written"));
        }
        self.disk.rename(&self.path, path)?;
        self.is_named = true;
        Ok(())
    }
}

impl Drop for Scratch<'_> {
    fn drop(&mut self) {
        if !self.is_named && is_still(self.disk, &self.path, Some(&*self.file)).unwrap_or(false) {
            let _ = self.disk.remove(&self.path);
        }
    }
}

/// Removes the scratch files of `path` that a crash left behind. A file that cannot be listed or removed, for example
/// of another user in a shared directory, does no harm.
pub(crate) fn remove_left_over(disk: &dyn Disk, path: &Path) {
    let left_over = disk.list(path).unwrap_or_default();
    left_over.iter().filter(|candidate| is_scratch_of(path, candidate)).for_each(|candidate| drop(disk.remove(candidate)));
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;
    use crate::disk::sim::{Image, SimDisk};

    #[test]
    fn a_scratch_name_is_known_by_its_checksum_and_no_other_name_is_taken_for_one() {
        let path = Path::new("/somewhere/kv.wal");
        let name = name_of(path, 0x12ab);
        assert!(is_scratch_of(path, &name) && is_scratch_of(Path::new("kv.wal"), &name));
        assert!(!is_scratch_of(Path::new("/somewhere/kv.snapshot"), &name));
        let text = name.to_str().unwrap();
        let digits = text.len() - DIGITS;
        for at in digits..text.len() {
            let other = if text.as_bytes()[at] == b'0' { "1" } else { "0" };
            let other = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert!(!is_scratch_of(path, Path::new(&other)), "{other}");
        }
        let (upper, longer, shorter) = (text.to_uppercase(), format!("{text}0"), &text[..text.len() - 1]);
        for other in [&upper, &longer, shorter, "/somewhere/kv.wal", "/somewhere/kv.wal.tmp", "/somewhere/kv.wal.tmp-", "/"] {
            assert!(!is_scratch_of(path, Path::new(other)), "{other}");
        }
    }

    #[test]
    fn a_taken_name_is_never_used_and_another_one_is_drawn() {
        let path = Path::new("/kv.wal");
        let first = create_scratch(&SimDisk::new(&Image::new(), 7), path).unwrap().0;
        let image = Image::from([(first.clone(), b"another's".to_vec())]);
        let disk = SimDisk::new(&image, 7);
        let (second, file) = create_scratch(&disk, path).unwrap();
        assert!(second != first && is_scratch_of(path, &second) && file.size().unwrap() == 0);
        assert_eq!(disk.world().after_death(None)[&first], b"another's");
    }

    #[test]
    fn a_missing_directory_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("nowhere/file");
        assert_eq!(create_scratch(&OsDisk, &path).unwrap_err().kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn files_that_a_crash_left_behind_are_removed_and_other_files_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kv.wal");
        let (left_over, _) = create_scratch(&OsDisk, &path).unwrap();
        let (of_another, _) = create_scratch(&OsDisk, &dir.path().join("kv.wal.2")).unwrap();
        let names = ["kv.wal", "kv.wal.tmp", "kv.wal.tmp-", "kv.wal.tmp-0123456789abcdef", "kv.wal.lock", "kv"];
        for name in names {
            std::fs::write(dir.path().join(name), name).unwrap();
        }
        remove_left_over(&OsDisk, &path);
        assert!(!left_over.exists() && of_another.exists());
        assert!(names.iter().all(|name| dir.path().join(name).exists()));
    }
}

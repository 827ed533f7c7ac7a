//! Keeping a damaged log: before it is truncated, it is copied to a file beside it.

use super::copy_names::{CopyKind, name};
use crate::disk::{Disk, File, Scratch, is_still, read_full_at, write_all_at};
use crate::error::{Error, Result};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Copies the log to the first free name of this kind, durably. If the last copy has the same bytes, because an earlier
/// recovery was interrupted after it, that copy is used.
pub(super) fn keep_copy(disk: &dyn Disk, log: &Arc<dyn File>, path: &Path, kind: CopyKind) -> Result<PathBuf> {
    let (free, previous) = free_name(disk, path, kind)?;
    if let Some((name, file)) = previous
        && same_bytes(&**log, &*file).map_err(Error::io("reading", &name))?
    {
        return Ok(name);
    }
    let scratch = Scratch::create(disk, path)
        .map_err(Error::io("keeping a copy of the damaged log (nothing was changed): making a scratch file beside", path))?;
    let copied = copy_bytes(&**log, &**scratch.file()).and_then(|()| scratch.file().sync());
    let still_free = copied.and_then(|()| match is_still(disk, &free, None)? {
        true => Ok(()),
        false => Err(io::ErrorKind::AlreadyExists.into()),
    });
    still_free
        .and_then(|()| scratch.rename_to(&free))
        .map_err(Error::io("keeping a copy of the damaged log (nothing was changed): writing", &free))?;
    disk.sync_dir(path).map_err(Error::io("syncing the directory of", &free))?;
    Ok(free)
}

/// A copy of this kind that exists already.
type Previous = (PathBuf, Arc<dyn File>);

/// The first name that no file has, and the last copy of this kind before it.
fn free_name(disk: &dyn Disk, path: &Path, kind: CopyKind) -> Result<(PathBuf, Option<Previous>)> {
    const MOST: u64 = 100_000;
    let mut previous = None;
    let mut n = 1;
    loop {
        let (free, mut error) = (name(path, n, kind), None);
        let of = [CopyKind::Damaged, CopyKind::Torn].map(|other| (other, disk.open_read(&name(path, n, other))));
        let taken = of.map(|(other, found)| match found {
            Ok(None) => false,
            Ok(Some(file)) => {
                if other == kind {
                    previous = Some((name(path, n, other), file));
                }
                true
            }
            Err(e) => {
                error = Some(e); // a directory or a file of another user: not ours to replace
                true
            }
        });
        if taken == [false; 2] {
            return Ok((free, previous));
        }
        if let Some(e) = error.filter(|_| n == MOST) {
            return Err(Error::io("keeping a copy of the log (nothing was changed): looking for a free name at", &free)(e));
        }
        n += 1;
    }
}

const CHUNK_BYTES: usize = 1 << 20;

/// A buffer for a part of the file, or for all of a short one.
fn chunk_for(file: &dyn File) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(file.size()?).unwrap_or(CHUNK_BYTES);
    Ok(vec![0; bytes.clamp(1, CHUNK_BYTES)])
}

fn copy_bytes(from: &dyn File, to: &dyn File) -> io::Result<()> {
    let mut chunk = chunk_for(from)?;
    let mut offset = 0;
    loop {
        let got = read_full_at(from, offset, &mut chunk)?;
        if got == 0 {
            let whole = offset >= from.size()?;
            return if whole { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
        }
        write_all_at(to, offset, &chunk[..got])?;
        offset += got as u64;
    }
}

fn same_bytes(a: &dyn File, b: &dyn File) -> io::Result<bool> {
    if a.size()? != b.size()? {
        return Ok(false);
    }
    let (mut of_a, mut of_b) = (chunk_for(a)?, chunk_for(b)?);
    let mut offset = 0;
    loop {
        let (got_a, got_b) = (read_full_at(a, offset, &mut of_a)?, read_full_at(b, offset, &mut of_b)?);
        if of_a[..got_a] != of_b[..got_b] {
            return Ok(false);
        }
        if got_a == 0 {
            return Ok(true);
        }
        offset += got_a as u64;
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::OsDisk;
    use crate::with_suffix;

    #[test]
    fn a_copy_is_the_file_and_is_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let keep = || keep_copy(&OsDisk, &OsDisk.open_read(&path).unwrap().unwrap(), &path, CopyKind::Damaged).unwrap();
        let name = |n: usize| with_suffix(&path, &format!(".damaged-{n}"));
        let mut bytes: Vec<u8> = (0..3 * CHUNK_BYTES + 5).map(|n| (n % 251) as u8).collect();
        let mut n = 0;
        for len in [3 * CHUNK_BYTES + 5, CHUNK_BYTES + 1, CHUNK_BYTES, CHUNK_BYTES - 1, 1000, 1, 0] {
            bytes.truncate(len);
            let changes = [0, len / 2, len.saturating_sub(1)].into_iter().filter(|_| len >= 1000);
            for change in std::iter::once(None).chain(changes.map(Some)) {
                if let Some(at) = change {
                    bytes[at] ^= 1;
                }
                std::fs::write(&path, &bytes).unwrap();
                n += 1;
                assert_eq!(keep(), name(n), "{len} {change:?}");
                assert!(std::fs::read(name(n)).unwrap() == bytes);
                assert_eq!(keep(), name(n), "the same once more");
            }
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), n + 1, "and nothing else");
    }

    #[test]
    fn the_buffer_is_no_longer_than_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        for (len, expected) in [(0, 1), (1, 1), (1000, 1000), (CHUNK_BYTES, CHUNK_BYTES), (CHUNK_BYTES + 1, CHUNK_BYTES)] {
            std::fs::write(&path, vec![7; len]).unwrap();
            assert_eq!(chunk_for(&*OsDisk.open_read(&path).unwrap().unwrap()).unwrap().len(), expected);
        }
    }

    /// The file gets shorter during the copy.
    #[test]
    fn a_file_that_is_truncated_during_the_copy_has_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (path, copy) = (dir.path().join("log"), dir.path().join("copy"));
        std::fs::write(&path, [7; 100]).unwrap();
        let file = OsDisk.open_read(&path).unwrap().unwrap();
        let longer = crate::disk::ReadOnly(Longer(file));
        let copied = copy_bytes(&longer, &*OsDisk.create_new(&copy).unwrap());
        assert_eq!(copied.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[derive(Debug)]
    struct Longer(Arc<dyn File>);

    impl crate::disk::Readable for Longer {
        fn size(&self) -> io::Result<u64> {
            Ok(self.0.size()? + 1)
        }
        fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<usize> {
            self.0.read_at(offset, out)
        }
        fn drop_cache(&self) {}
    }
}

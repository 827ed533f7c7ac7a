//! The salt of a file whose header is lost, out of any frame that is whole.
//!
//! The check of a frame is a CRC-32 begun with the salt, and a CRC can be run backwards: the bytes it covers and its value
//! give what it was begun with. Whether there is a frame at all, the check of the body says then. Bytes of another file
//! may stand in a value of this one, so the salt is that of most of the bytes; of two such, the one that comes first. A file can
//! be made that gives away another salt at each 33rd byte. So no more than [`MOST_SALTS`] are remembered: when there are as many, the
//! half with fewer bytes is forgotten.

use super::{Frame, body, sums::Sums};
use crate::disk::{File, Window};
use crate::error::{Error, Result};
use crate::record::{self, HEADER_BYTES, Header};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

const STEP_BYTES: usize = 256 << 10;
const MOST_SALTS: usize = 1 << 16;

/// Of each salt: the bytes of its frames, where the first of them is, and its head.
#[derive(Default)]
struct Salts(HashMap<u32, (u64, Reverse<u64>, Header)>);

impl Salts {
    fn add(&mut self, salt: u32, offset: u64, header: Header, most: usize) {
        self.0.entry(salt).or_insert((0, Reverse(offset), header)).0 += Frame::len_of(&header);
        if self.0.len() >= most {
            let mut ranks: Vec<_> = self.0.values().map(|(bytes, first, _)| (*bytes, *first)).collect();
            let (_, &mut middle, _) = ranks.select_nth_unstable(most / 2);
            self.0.retain(|_, (bytes, first, _)| (*bytes, *first) >= middle);
        }
    }

    /// The salt of most bytes.
    fn most(self) -> Option<(u32, u64, Header)> {
        let most = self.0.into_iter().max_by_key(|(_, (bytes, first, _))| (*bytes, *first));
        most.map(|(salt, (_, Reverse(at), header))| (salt, at, header))
    }
}

/// The salt of the frames of `file` from `offset` on, and where the first of them is, and its head. `None`: there are none.
pub(crate) fn find_salt(file: Arc<dyn File>, path: &Path, mut offset: u64) -> Result<Option<(u32, u64, Header)>> {
    let reading = || Error::io("reading", path);
    let mut sums = Sums::new(Arc::clone(&file), offset);
    let mut window = Window::new(file).map_err(reading())?;
    let mut found = Salts::default();
    loop {
        let left = window.len().saturating_sub(offset);
        let mut heads = window.get(offset, STEP_BYTES).map_err(reading())?.windows(HEADER_BYTES);
        let count = heads.len() as u64;
        let Some((at, salt, header)) = heads.by_ref().enumerate().find_map(|(at, head)| {
            let (salt, header) = record::salted(head)?;
            (Frame::len_of(&header) <= left - at as u64).then_some((at as u64, salt, header))
        }) else {
            if count == 0 {
                break;
            }
            offset += count;
            continue;
        };
        offset += at;
        let (body, end) = (offset + HEADER_BYTES as u64, offset + Frame::len_of(&header));
        let is_whole = if header.body_len > body::SHORT_BYTES {
            sums.of(body..end, salt).map_err(reading())? == Some(header.body_check)
        } else {
            let body = window.get(body, header.body_len).map_err(reading())?;
            record::check_body(&header, salt, body).is_ok()
        };
        if is_whole {
            found.add(salt, offset, header, MOST_SALTS);
            offset += Frame::len_of(&header);
        } else {
            offset += 1;
        }
    }
    Ok(found.most())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::disk::sim::{EIO, Fault, FaultPlan, Image, Lasts, SimDisk};
    use crate::disk::{Disk, OsDisk, write_all_at};
    use crate::record::{Body, Kind, Place};

    /// The salt that a file with these frames has: of each the salt and the body.
    fn found(frames: &[(u32, &str)]) -> Option<u32> {
        let mut bytes = Vec::new();
        for &(salt, body) in frames {
            let place = Place { salt, link: salt, seq: 1, durable: 0 };
            record::encode(&mut bytes, place, Kind::WRITE, &Body::new(body.as_bytes(), salt));
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("frames");
        std::fs::write(&path, &bytes).unwrap();
        find_salt(OsDisk.open_read(&path).unwrap().unwrap(), &path, 0).unwrap().map(|(salt, ..)| salt)
    }

    #[test]
    fn the_salt_is_that_of_most_bytes() {
        assert_eq!(found(&[]), None);
        assert_eq!(found(&[(7, "short"), (8, "a longer one"), (7, "short")]), Some(7));
        assert_eq!(found(&[(7, "short"), (8, "one that is longer than two of the others, with their heads, are")]), Some(8));
    }

    /// What cannot be read may be the frame that gives it away.
    #[test]
    fn a_read_that_fails_is_not_the_end_of_the_frames() {
        let path = Path::new("/frames");
        let place = Place { salt: 7, link: 7, seq: 1, durable: 0 };
        let mut bytes = vec![b'?'; 3 << 20];
        record::encode(&mut bytes, place, Kind::WRITE, &Body::new(&[1; 2 << 20], 7));
        for at in 0.. {
            let disk = SimDisk::new(&Image::new(), 1);
            write_all_at(&*disk.create_new(path).unwrap(), 0, &bytes).unwrap();
            let at = disk.operations().len() + 1 + at; // behind the opening
            let disk = disk.with_faults(FaultPlan { at, fault: Fault::Errno(EIO), lasts: Lasts::Once });
            let found = find_salt(disk.open_read(path).unwrap().unwrap(), path, 0);
            if !disk.has_failed() {
                assert_eq!(found.unwrap().map(|(salt, ..)| salt), Some(7));
                assert!(disk.operations().len() > 6, "five megabytes");
                break;
            }
            assert!(matches!(found, Err(Error::Io { .. })), "{at}");
        }
    }

    /// A file of many salts, and of one that comes back.
    #[test]
    fn no_more_salts_are_remembered_than_may_be() {
        let mut frame = Vec::new();
        record::encode(&mut frame, Place { salt: 7, link: 7, seq: 1, durable: 0 }, Kind::WRITE, &Body::new(b"body", 7));
        let header = record::decode_header(&frame, 7).unwrap();
        let mut salts = Salts::default();
        for n in 0..1000_u32 {
            salts.add(if n % 20 == 0 { 7 } else { 100 + n }, n.into(), header, 64);
            assert!(salts.0.len() < 64, "{n}");
        }
        assert_eq!(salts.most().map(|(salt, ..)| salt), Some(7));
    }

    /// The same file gives the same answer, however often it is asked.
    #[test]
    fn of_two_salts_with_as_many_bytes_the_first_is_taken() {
        for salt in 1..40 {
            assert_eq!(found(&[(salt, "body"), (100, "body")]), Some(salt));
            assert_eq!(found(&[(100, "body"), (salt, "body")]), Some(100));
        }
    }
}

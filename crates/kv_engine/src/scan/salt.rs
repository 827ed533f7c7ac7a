//! Finds the salt of a file whose header is lost, from its whole frames.
//!
//! The check of a frame is a CRC-32 that begins with the salt. A CRC can be run backwards: its value and the bytes that
//! it covers give the salt. The check of the body then tells whether there is a frame at all.
//!
//! A value of this file may hold frames of another file. So the result is the salt whose frames have the most bytes; of
//! two with equally many, the one that comes first. A crafted file may show a new salt at each 33rd byte. So at most
//! [`MOST_SALTS`] are kept. When there are that many, the half with fewer bytes is dropped.

use super::{Frame, body, range_crcs::RangeCrcs};
use crate::disk::{File, Window};
use crate::error::{Error, Result};
use crate::record::{self, HEADER_BYTES, Header};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

const STEP_BYTES: usize = 256 << 10;
const MOST_SALTS: usize = 1 << 16;

/// For each salt: the bytes of its frames, the offset of the first frame, and its head.
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

    /// The salt with the most bytes.
    fn most(self) -> Option<(u32, u64, Header)> {
        let most = self.0.into_iter().max_by_key(|(_, (bytes, first, _))| (*bytes, *first));
        most.map(|(salt, (_, Reverse(at), header))| (salt, at, header))
    }
}

/// The salt of the frames of `file` from `offset` on, the offset of its first frame, and the head of that. `None`:
/// there are no frames.
pub(crate) fn find_salt(file: Arc<dyn File>, path: &Path, mut offset: u64) -> Result<Option<(u32, u64, Header)>> {
    let reading = || Error::io("reading", path);
    let mut crcs = RangeCrcs::new(Arc::clone(&file), offset);
    let mut window = Window::new(file).map_err(reading())?;
    let mut found = Salts::default();
    loop {
        let left = window.len().saturating_sub(offset);
        let mut heads = window.get(offset, STEP_BYTES).map_err(reading())?.windows(HEADER_BYTES);
        let count = heads.len() as u64;
        let Some((at, salt, header)) = heads.by_ref().enumerate().find_map(|(at, head)| {
            let (salt, header) = record::recover_salt(head)?;
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
            crcs.of(body..end, salt).map_err(reading())? == Some(header.body_check)
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

    /// The salt that is found in a file of these frames, given by salt and body.
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

    /// The part that cannot be read may hold the frame that gives the salt.
    #[test]
    fn a_read_that_fails_is_not_the_end_of_the_frames() {
        let path = Path::new("/frames");
        let place = Place { salt: 7, link: 7, seq: 1, durable: 0 };
        let mut bytes = vec![b'?'; 3 << 20];
        record::encode(&mut bytes, place, Kind::WRITE, &Body::new(&[1; 2 << 20], 7));
        for at in 0.. {
            let disk = SimDisk::new(&Image::new(), 1);
            write_all_at(&*disk.create_new(path).unwrap(), 0, &bytes).unwrap();
            let at = disk.operations().len() + 1 + at; // after the opening
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

    /// A file of many salts, one of which comes again and again.
    #[test]
    fn the_number_of_salts_that_are_kept_is_bounded() {
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

    /// The same file always gives the same answer.
    #[test]
    fn of_two_salts_with_equally_many_bytes_the_first_is_taken() {
        for salt in 1..40 {
            assert_eq!(found(&[(salt, "body"), (100, "body")]), Some(salt));
            assert_eq!(found(&[(100, "body"), (salt, "body")]), Some(100));
        }
    }
}

//! Checks a long body piece by piece, before memory for all of it is allocated.

use crate::disk::{File, read_full_at};
use crate::record::{Fault, Header, crc};
use std::io;

/// Length of one piece. A body that is not longer needs no check beforehand.
pub(super) const READ_BYTES: usize = 1 << 20;
/// In a search, a body up to this length is checked directly, without the prefix CRCs.
pub(super) const SHORT_BYTES: usize = 4096;

/// Whether the bytes from `at` on are the body that `header` was made for. So a wrong length costs no memory, also in a
/// file that is mostly a hole.
pub(crate) fn body_holds(file: &dyn File, mut at: u64, header: &Header, salt: u32) -> io::Result<Result<(), Fault>> {
    let mut bytes = vec![0; header.body_len.min(READ_BYTES)];
    let (mut left, mut sum) = (header.body_len, salt);
    while left > 0 {
        let want = left.min(READ_BYTES);
        let got = read_full_at(file, at, &mut bytes[..want])?;
        if got < want {
            return Ok(Err(Fault::Short));
        }
        sum = crc(sum, &bytes[..want]);
        at += want as u64;
        left -= want;
    }
    Ok(if sum == header.body_check { Ok(()) } else { Err(Fault::BodyChecksum) })
}

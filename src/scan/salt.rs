//! The salt of a file whose header is lost, out of any frame that is whole.
//!
//! The check of a frame is a CRC-32 begun with the salt, and a CRC can be run backwards: the bytes it covers and its value
//! give what it was begun with. Whether there is a frame at all, the check of the body says then. Bytes of another file
//! may stand in a value of this one, so the salt is that of most of the bytes.

use super::Frame;
use crate::disk::{File, Window};
use crate::error::{Error, Result};
use crate::record::{self, HEADER_BYTES, Header};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

const STEP_BYTES: usize = 256 << 10;

/// The salt of the frames of `file` from `offset` on, and the head of the first of them. `None`: there are none.
pub(crate) fn find_salt(file: Arc<dyn File>, path: &Path, mut offset: u64) -> Result<Option<(u32, Header)>> {
    let reading = || Error::io("reading", path);
    let mut window = Window::new(file).map_err(reading())?;
    let mut found: HashMap<u32, (u64, Header)> = HashMap::new();
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
        let frame = window.get(offset, HEADER_BYTES + header.body_len).map_err(reading())?;
        if record::check_body(&header, salt, frame.get(HEADER_BYTES..).unwrap_or_default()).is_ok() {
            found.entry(salt).or_insert((0, header)).0 += Frame::len_of(&header);
            offset += Frame::len_of(&header);
        } else {
            offset += 1;
        }
    }
    Ok(found.into_iter().max_by_key(|(_, (bytes, _))| *bytes).map(|(salt, (_, header))| (salt, header)))
}

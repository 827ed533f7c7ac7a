//! What a look at an open log has to show. The log's name shows this file, with its length; the file begins with its header,
//! and what was written last is still there. What cannot be looked at is no proof of anything.

use super::{HEADER_BYTES, Header};
use crate::disk::{File, FileId, Named, read_full_at};

/// So many bytes at the end of the log are looked at after each sync: a piece of the last frame's body and, where that is short,
/// of its head, with the body's check.
const LAST_BYTES: usize = 16;

/// What a look at the log's name has to show: this file, with all that was written to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileState {
    pub(super) id: Option<FileId>,
    pub(super) least: u64,
    pub(super) exact: Option<u64>,
    pub(super) header: Header,
    pub(super) last: Option<Last>,
}

/// The last bytes of the frames that are in the file: where they are, and what they are.
pub(crate) type Last = (u64, [u8; LAST_BYTES]);

pub(super) fn last_of(end: u64, bytes: &[u8]) -> Option<Last> {
    Some((end - LAST_BYTES as u64, *bytes.last_chunk()?))
}

impl FileState {
    /// The same without the length, which changes while a group is out.
    pub(crate) fn by_name_alone(self) -> FileState {
        FileState { least: 0, exact: None, ..self }
    }

    /// What is wrong with what the name shows, and with the file's last bytes, in words. Another log that is copied over this
    /// one, be it an older copy of it, differs in one of these. With `header`, the file's first bytes are looked at, too.
    pub(crate) fn differs(&self, named: Option<Named>, file: &dyn File, header: bool) -> Option<String> {
        let Some(named) = named else {
            return Some("the log was removed or renamed while the store was open".to_string());
        };
        if named.id.is_some() && self.id.is_some() && named.id != self.id {
            return Some("another file was put in the place of the log while the store was open".to_string());
        }
        let wrong = named.len < self.least || self.exact.is_some_and(|exact| exact != named.len);
        let expected = self.exact.unwrap_or(self.least);
        if wrong {
            let len = named.len;
            return Some(format!("the log was changed while the store was open: it has {len} bytes where there were {expected}"));
        }
        let other = "other bytes were written into the log while the store was open".to_string();
        self.is_overwritten(file, header || self.last.is_none()).then_some(other)
    }

    /// What cannot be read is no proof of anything.
    fn is_overwritten(&self, file: &dyn File, header: bool) -> bool {
        let other_header = || {
            let mut found = [0; HEADER_BYTES];
            matches!(read_full_at(file, 0, &mut found), Ok(HEADER_BYTES) if found != self.header.encode())
        };
        let other_end = |(at, expected): Last| {
            let mut found = [0; LAST_BYTES];
            matches!(read_full_at(file, at, &mut found), Ok(LAST_BYTES) if found != expected)
        };
        header && other_header() || self.last.is_some_and(other_end)
    }
}

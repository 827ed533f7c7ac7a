//! [`FileState`]: checks that the name of an open log still shows the file that the store writes, unchanged by others.
//!
//! The name must show this file, with its length. The file must begin with its header, and end with the last bytes that
//! were written. If something cannot be read, the check passes: that proves nothing.

use super::header::{HEADER_BYTES, Header};
use crate::disk::{File, FileId, Named, read_full_at};

/// This many bytes at the end of the log are checked after each sync: the end of the last frame's body and, if that is
/// short, of its head with the check of the body.
const LAST_BYTES: usize = 16;

/// What the log's name must show: this file, with all bytes that were written to it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FileState {
    pub(super) id: Option<FileId>,
    /// The file is at least this long.
    pub(super) least: u64,
    /// The length of the file, if it is known.
    pub(super) exact: Option<u64>,
    pub(super) header: Header,
    pub(super) last: Option<Last>,
}

/// The last bytes of the frames in the file: their offset, and the bytes.
pub(crate) type Last = (u64, [u8; LAST_BYTES]);

pub(super) fn last_of(end: u64, bytes: &[u8]) -> Option<Last> {
    Some((end - LAST_BYTES as u64, *bytes.last_chunk()?))
}

impl FileState {
    /// The same without the length, which changes while a group is being written.
    pub(crate) fn by_name_alone(self) -> FileState {
        FileState { least: 0, exact: None, ..self }
    }

    /// How the file differs from this state, in words. `None`: it does not. If another log was copied over this one,
    /// even an older copy of it, this finds it. With `header`, the file's first bytes are checked too.
    pub(crate) fn differs(&self, named: Option<Named>, file: &dyn File, header: bool) -> Option<String> {
        let Some(named) = named else {
            return Some("the log was removed or renamed while the store was open".to_string());
        };
        if named.id.is_some() && self.id.is_some() && named.id != self.id {
            return Some("the log was replaced by another file while the store was open".to_string());
        }
        let wrong = named.len < self.least || self.exact.is_some_and(|exact| exact != named.len);
        let expected = self.exact.unwrap_or(self.least);
        if wrong {
            let len = named.len;
            return Some(format!("the log was changed while the store was open: it has {len} bytes and should have {expected}"));
        }
        let other = "the log was overwritten while the store was open".to_string();
        self.is_overwritten(file, header || self.last.is_none()).then_some(other)
    }

    /// Whether the header or the last bytes are other ones. If they cannot be read, this says no.
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

//! [`Cause`]: a copy of an `io::Error`, so that several callers can get the same one.

use std::io;

#[derive(Clone, Debug)]
pub(super) struct Cause {
    kind: io::ErrorKind,
    code: Option<i32>,
    pub(super) text: String,
}

impl Cause {
    pub(super) fn of(error: &io::Error) -> Cause {
        Cause { kind: error.kind(), code: error.raw_os_error(), text: error.to_string() }
    }

    pub(super) fn error(&self) -> io::Error {
        self.code.map_or_else(|| io::Error::new(self.kind, self.text.clone()), io::Error::from_raw_os_error)
    }
}

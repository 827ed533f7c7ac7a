//! What opening reads, on its way into the state; and how far it has come.

use super::spread::Sink;
use crate::state::{OpRef, tag};
use std::fmt;
use std::sync::Arc;

/// Told how far opening has come, in bytes read and bytes to read.
#[derive(Clone, Default)]
pub(crate) struct Progress(pub(crate) Option<Arc<dyn Fn(u64, u64) + Send + Sync>>);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(…)" } else { "Progress(none)" })
    }
}

/// Hands operations on, and tells at each mebibyte of the files, not at each record.
pub(super) struct Feed<'s, 'm> {
    sink: &'s mut Sink<'m>,
    progress: &'s Progress,
    /// Length of the files that are done.
    before: u64,
    /// Where there is something to tell again.
    next: u64,
    total: u64,
    /// Where values are tagged, the memory to do it in.
    tagged: Option<Vec<u8>>,
}

impl<'s, 'm> Feed<'s, 'm> {
    pub(super) fn new(sink: &'s mut Sink<'m>, progress: &'s Progress, total: u64, tagged: bool) -> Feed<'s, 'm> {
        Feed { sink, progress, before: 0, next: 0, total, tagged: tagged.then(Vec::new) }
    }

    /// A file of this length is done.
    pub(super) fn next_file(&mut self, len: u64) {
        self.before += len;
    }

    /// The reader is at byte `at` of its file.
    pub(super) fn look(&mut self, at: u64) {
        const STEP_BYTES: u64 = 1 << 20;
        let at = self.before + at;
        if at >= self.next {
            self.next = at + STEP_BYTES;
            self.progress.0.iter().for_each(|each| each(at, self.total));
        }
    }

    /// The next operation, of the frame at byte `at`.
    pub(super) fn apply(&mut self, at: u64, op: OpRef<'_>) {
        self.look(at);
        match &mut self.tagged {
            None => self.sink.apply(op),
            Some(memory) => self.sink.apply(tag(op, memory)),
        }
    }
}

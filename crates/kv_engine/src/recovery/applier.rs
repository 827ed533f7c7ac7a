//! What opening reads, on its way into the state; how far it has come, and whether there is memory for it.

use super::parallel_replay::Sink;
use crate::error::{Error, Result};
use crate::memory;
use crate::state::{OpRef, tag};
use std::fmt;
use std::path::Path;
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
pub(super) struct Applier<'s, 'm> {
    sink: &'s mut Sink<'m>,
    progress: &'s Progress,
    /// Length of the files that are done.
    before: u64,
    /// Where there is something to tell again.
    next: u64,
    total: u64,
    /// Where values are tagged, the memory to do it in.
    tagged: Option<Vec<u8>>,
    /// Whether addresses are scarce.
    scarce: bool,
    /// What could not be had. Nothing is applied any more.
    short: Option<u64>,
}

/// One operation that is so long asks whether there is memory for it.
const LONG_BYTES: usize = 1 << 20;
/// So much should be left over.
const SPARE_BYTES: u64 = 2 << 20;

impl<'s, 'm> Applier<'s, 'm> {
    pub(super) fn new(sink: &'s mut Sink<'m>, progress: &'s Progress, total: u64, tagged: bool) -> Applier<'s, 'm> {
        let scarce = memory::is_scarce();
        Applier { sink, progress, before: 0, next: 0, total, tagged: tagged.then(Vec::new), scarce, short: None }
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
            if self.scarce {
                // The map grows by as much as it has, at most, and by what is still to be read.
                let more = self.sink.data_bytes().min(self.total.saturating_sub(at));
                self.need(more + SPARE_BYTES);
            }
        }
    }

    fn need(&mut self, bytes: u64) {
        if self.short.is_none() && !memory::is_available(bytes) {
            self.short = Some(bytes);
        }
    }

    /// Whether there was memory for all that was applied.
    pub(super) fn has_memory(&self) -> bool {
        self.short.is_none()
    }

    /// # Errors
    /// There was no memory for what the file at `path` holds. The state is of no use.
    pub(super) fn check_memory(&self, path: &Path) -> Result<()> {
        self.short.map_or(Ok(()), |bytes| Err(Error::io("reading into memory", path)(memory::too_little(bytes))))
    }

    /// The next operation, of the frame at byte `at`.
    pub(super) fn apply(&mut self, at: u64, op: OpRef<'_>) {
        self.look(at);
        if op.encoded_len() > LONG_BYTES {
            self.need(op.encoded_len() as u64 + SPARE_BYTES);
        }
        if self.short.is_some() {
            return;
        }
        match &mut self.tagged {
            None => self.sink.apply(op),
            Some(memory) => self.sink.apply(tag(op, memory)),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::parallel_replay::{Plan, fill};
    use super::*;
    use crate::state::Map;
    use std::sync::Mutex;

    #[test]
    fn progress_is_told_at_each_mebibyte_of_all_files() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&told);
        let progress = Progress(Some(Arc::new(move |at, total| seen.lock().unwrap().push((at, total)))));
        const MIB: u64 = 1 << 20;
        fill(&mut Map::default(), Plan::of(0), |sink| {
            let mut applier = Applier::new(sink, &progress, 9, false);
            [0, 5, MIB - 1, MIB, MIB + 1].into_iter().for_each(|at| applier.look(at));
            applier.next_file(2 * MIB);
            [0, 1].into_iter().for_each(|at| applier.look(at));
            applier.next_file(MIB);
            applier.look(7);
        });
        assert_eq!(*told.lock().unwrap(), [(0, 9), (MIB, 9), (2 * MIB, 9), (3 * MIB + 7, 9)]);
        assert_eq!(format!("{progress:?} {:?}", Progress::default()), "Progress(…) Progress(none)");
    }
}

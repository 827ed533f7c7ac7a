//! [`Applier`]: passes the operations that opening reads on to the map. It also reports the progress, and checks that
//! there is memory.

use super::parallel_replay::Sink;
use crate::error::{Error, Result};
use crate::memory;
use crate::state::{OpRef, tag};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

/// Called with the progress of opening: bytes read and bytes to read.
#[derive(Clone, Default)]
pub(crate) struct Progress(pub(crate) Option<Arc<dyn Fn(u64, u64) + Send + Sync>>);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(…)" } else { "Progress(none)" })
    }
}

/// Passes operations on. Reports the progress once for each mebibyte of the files, not for each record.
pub(super) struct Applier<'s, 'm> {
    sink: &'s mut Sink<'m>,
    progress: &'s Progress,
    /// The length of the files that have been read.
    before: u64,
    /// The place of the next report.
    next: u64,
    total: u64,
    /// If values are tagged: a buffer for tagging.
    tagged: Option<Vec<u8>>,
    /// Whether memory is limited to a small address space.
    scarce: bool,
    /// The number of bytes that were not available. After that nothing is applied.
    short: Option<u64>,
}

/// For an operation longer than this, the memory is checked first.
const LONG_BYTES: usize = 1 << 20;
/// Memory that should stay free.
const SPARE_BYTES: u64 = 2 << 20;

impl<'s, 'm> Applier<'s, 'm> {
    pub(super) fn new(sink: &'s mut Sink<'m>, progress: &'s Progress, total: u64, tagged: bool) -> Applier<'s, 'm> {
        let scarce = memory::is_scarce();
        Applier { sink, progress, before: 0, next: 0, total, tagged: tagged.then(Vec::new), scarce, short: None }
    }

    /// A file of this length has been read.
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
                // At most the map doubles, and it needs no more than the bytes that are still to be read.
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

    /// Whether there was enough memory so far.
    pub(super) fn has_memory(&self) -> bool {
        self.short.is_none()
    }

    /// # Errors
    /// There was not enough memory for the data in the file at `path`. The state is not usable.
    pub(super) fn check_memory(&self, path: &Path) -> Result<()> {
        self.short.map_or(Ok(()), |bytes| Err(Error::io("reading into memory", path)(memory::too_little(bytes))))
    }

    /// Applies the next operation, from the frame at byte `at`.
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
    fn progress_is_reported_at_each_mebibyte_of_all_files() {
        let reported = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&reported);
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
        assert_eq!(*reported.lock().unwrap(), [(0, 9), (MIB, 9), (2 * MIB, 9), (3 * MIB + 7, 9)]);
        assert_eq!(format!("{progress:?} {:?}", Progress::default()), "Progress(…) Progress(none)");
    }
}

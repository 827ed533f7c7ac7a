//! [`BlockChecker`]: checks a snapshot block by block: the frames, the order of the keys, the index, the count and the
//! digest. Loading uses it, and so does the thread that reads a new snapshot back.

use super::format::{BLOCK_BYTES, Header, Ref, damage};
use super::index::Builder;
use crate::error::{Error, Result};
use crate::record::Kind;
use crate::scan::{Frame, Frames, Next};
use crate::state::{self, Digester, OpRef};
use std::ops::ControlFlow;
use std::path::Path;

/// What is known from the blocks so far.
#[derive(Default)]
pub(super) struct BlockChecker {
    digester: Digester,
    entries: u64,
    last_key: Vec<u8>,
    /// The index of the blocks so far, if the snapshot has one.
    index: Option<Builder>,
}

impl BlockChecker {
    pub(super) fn new(indexed: bool) -> BlockChecker {
        BlockChecker { index: indexed.then(Builder::default), ..BlockChecker::default() }
    }

    /// Reads to the end, or until `each` stops it. `each` gets every entry with the offset of its frame.
    pub(super) fn read(
        &mut self,
        frames: &mut Frames,
        path: &Path,
        mut each: impl FnMut(u64, OpRef<'_>) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>> {
        loop {
            let at = frames.offset();
            let impossible = |what: &str| Error::damaged(path, at, damage(what));
            let read = match frames.next()? {
                Next::End => return Ok(ControlFlow::Continue(())),
                Next::Bad(fault) => return Err(impossible(&fault.to_string())),
                Next::Frame(frame) if frame.header.kind == Kind::INDEX => self.index_block(&frame),
                Next::Frame(frame) => self.block(&frame, &mut each),
            };
            if read.map_err(impossible)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
    }

    fn index_block(&mut self, frame: &Frame<'_>) -> std::result::Result<ControlFlow<()>, &'static str> {
        let index = self.index.as_mut().ok_or("the snapshot holds a block of an index, but its header says that it has none")?;
        if index.due().is_none() {
            index.finish();
        }
        if index.due() != Some(frame.body) {
            return Err("the block of the index does not match the blocks that it lists");
        }
        index.placed(place_of(frame));
        Ok(ControlFlow::Continue(()))
    }

    fn block(
        &mut self,
        frame: &Frame<'_>,
        each: &mut impl FnMut(u64, OpRef<'_>) -> ControlFlow<()>,
    ) -> std::result::Result<ControlFlow<()>, &'static str> {
        // All of it is decoded before any of it is handed over. It is not kept as a list, which may be longer than the
        // block.
        state::decode_each(frame.body, |_| {}).ok_or("the block's content is invalid")?;
        let mut rest = frame.body;
        let ops = std::iter::from_fn(|| if rest.is_empty() { None } else { state::decode_one(&mut rest) });
        let is_long = frame.body.len() > BLOCK_BYTES;
        let mut last: &[u8] = &[]; // in this frame
        for (number, op) in ops.enumerate() {
            let value = op.value.ok_or("the block holds a deletion")?;
            if let Some(index) = self.index.as_mut().filter(|_| number == 0) {
                if index.due().is_some() || index.is_finishing() {
                    return Err("a block of the index is missing");
                }
                index.block(op.key, place_of(frame));
            }
            if number > 0 && is_long && self.index.is_some() {
                return Err("the block has several entries and is longer than 4 KiB");
            }
            if last.max(&self.last_key) >= op.key {
                return Err("the keys are not in order"); // the first key comes after the empty one
            }
            self.digester.add(op.key, value);
            self.entries += 1;
            last = op.key;
            if each(frame.offset, op).is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        self.last_key.clear();
        self.last_key.extend_from_slice(last);
        Ok(ControlFlow::Continue(()))
    }

    /// All blocks are read. Checks that they are what the header says.
    pub(super) fn finish(self, path: &Path, header: &Header) -> Result<()> {
        if let Some(mut index) = self.index {
            index.finish();
            if index.root() != header.root {
                return Err(Error::damaged(path, 0, damage("the header names another root of the index than the file has")));
            }
        }
        if self.entries != header.entries || self.digester.digest() != header.digest {
            let reason = format!(
                "the file has {} entries with digest {}, but its header says {} with {}",
                self.entries,
                self.digester.digest(),
                header.entries,
                header.digest
            );
            return Err(Error::damaged(path, 0, damage(&reason)));
        }
        Ok(())
    }
}

fn place_of(frame: &Frame<'_>) -> Ref {
    Ref::to_block(frame.offset, frame.body.len(), frame.header.check)
}

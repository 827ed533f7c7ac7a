//! [`Blocks`]: checking a snapshot block by block, whoever reads it.

use super::index::{Builder, Ref};
use super::{BLOCK_BYTES, Header, block_ref, damage};
use crate::error::{Error, Result};
use crate::record::Kind;
use crate::scan::{Frame, Frames, Next};
use crate::state::{self, Digester, OpRef};
use std::ops::ControlFlow;
use std::path::Path;

/// What the blocks so far have said.
#[derive(Default)]
pub(super) struct Blocks {
    digester: Digester,
    entries: u64,
    last_key: Vec<u8>,
    /// The index of the blocks so far, where there is to be one.
    index: Option<Builder>,
}

impl Blocks {
    pub(super) fn new(indexed: bool) -> Blocks {
        Blocks { index: indexed.then(Builder::default), ..Blocks::default() }
    }

    /// Reads all that there is, or until `each`, which gets the entries with the offsets of their frames, breaks off.
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
        let index = self.index.as_mut().ok_or("the block of an index in a snapshot without one")?;
        if index.due().is_none() {
            index.finish();
        }
        if index.due() != Some(frame.body) {
            return Err("the block of the index is not what belongs there");
        }
        index.placed(place_of(frame));
        Ok(ControlFlow::Continue(()))
    }

    fn block(
        &mut self,
        frame: &Frame<'_>,
        each: &mut impl FnMut(u64, OpRef<'_>) -> ControlFlow<()>,
    ) -> std::result::Result<ControlFlow<()>, &'static str> {
        // Looked through before anything of it is handed over, and not kept as a list, which may be longer than the block.
        state::decode_each(frame.body, |_| {}).ok_or("the block's content is not possible")?;
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
                return Err("the block is longer than several entries make one");
            }
            if last.max(&self.last_key) >= op.key {
                return Err("the keys are not in order"); // no key is empty, so any is behind none
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

    /// All is read: whether it is what the header promises.
    pub(super) fn finish(self, path: &Path, header: &Header) -> Result<()> {
        if let Some(mut index) = self.index {
            index.finish();
            if index.root() != header.root {
                return Err(Error::damaged(path, 0, damage("the header names another root of the index than there is")));
            }
        }
        if self.entries != header.entries || self.digester.digest() != header.digest {
            let reason = format!(
                "{} entries with digest {} where the header promises {} with {}",
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
    block_ref(frame.offset, frame.body.len(), frame.header.check)
}

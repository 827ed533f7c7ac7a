//! The content of a disk, kept sparse: blocks that were never written are zeros and take no memory. A copy shares its
//! blocks with the original until one of them is written.

use std::collections::HashMap;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

const BLOCK: usize = 4096;

#[derive(Clone, Default)]
pub(crate) struct Blocks(HashMap<u64, Arc<[u8; BLOCK]>>);

impl Blocks {
    /// The content of a file.
    pub(crate) fn load(path: &Path) -> io::Result<Blocks> {
        let mut file = std::fs::File::open(path)?;
        let mut blocks = Blocks::default();
        let mut block = [0; BLOCK];
        for number in 0..file.metadata()?.len() / BLOCK as u64 {
            file.read_exact(&mut block)?;
            if block.iter().any(|&byte| byte != 0) {
                blocks.0.insert(number, Arc::new(block));
            }
        }
        Ok(blocks)
    }

    pub(crate) fn read(&self, offset: u64, out: &mut [u8]) {
        for (number, within, piece) in pieces(offset, out.len()) {
            let target = &mut out[piece];
            match self.0.get(&number) {
                Some(block) => target.copy_from_slice(&block[within..within + target.len()]),
                None => target.fill(0),
            }
        }
    }

    pub(crate) fn write(&mut self, offset: u64, bytes: &[u8]) {
        for (number, within, piece) in pieces(offset, bytes.len()) {
            let source = &bytes[piece];
            let block = self.0.entry(number).or_insert_with(|| Arc::new([0; BLOCK]));
            Arc::make_mut(block)[within..within + source.len()].copy_from_slice(source);
        }
    }
}

/// Splits a range at the borders of blocks. For each piece: the number of the block, the offset in it, and the range
/// of the bytes.
fn pieces(offset: u64, length: usize) -> impl Iterator<Item = (u64, usize, std::ops::Range<usize>)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + done as u64;
        let within = usize::try_from(at % BLOCK as u64).expect("less than a block");
        let from = done;
        done = length.min(done + BLOCK - within);
        (from < done).then(|| (at / BLOCK as u64, within, from..done))
    })
}

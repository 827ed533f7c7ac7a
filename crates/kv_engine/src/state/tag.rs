//! Values over a snapshot that stays on the disk: a byte before them tells a value from a deletion.

use super::{OpRef, decode_one};

const GONE: u8 = 0;
const VALUE: u8 = 1;

/// An operation as one that puts: a value with its byte, or the byte of a deletion.
pub(crate) fn tag<'a>(op: OpRef<'a>, memory: &'a mut Vec<u8>) -> OpRef<'a> {
    memory.clear();
    memory.push(if op.value.is_some() { VALUE } else { GONE });
    memory.extend_from_slice(op.value.unwrap_or_default());
    OpRef { key: op.key, value: Some(memory) }
}

/// The value behind its byte; `None`: deleted.
pub(crate) fn untag(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_first().expect("a tagged value has a byte at least") {
        (&GONE, _) => None,
        (_, value) => Some(value),
    }
}

/// The operations of a write whose body this program encoded, tagged: keys, and values in memory of their own.
pub(crate) fn tagged(mut body: &[u8]) -> Vec<(&[u8], Vec<u8>)> {
    let mut ops = Vec::new();
    while !body.is_empty() {
        let op = decode_one(&mut body).expect("encoded by this program");
        let mut memory = Vec::new();
        tag(op, &mut memory);
        ops.push((op.key, memory));
    }
    ops
}

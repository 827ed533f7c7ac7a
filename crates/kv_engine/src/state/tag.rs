//! Tagged values, for a map above a snapshot that stays on the disk. A byte before the value says whether it is a value
//! or a deletion, which must hide the value in the snapshot.

use super::{OpRef, decode_one};

const DELETED: u8 = 0;
const VALUE: u8 = 1;

/// The operation as a put of a tagged value: the tag and the value, or only the tag of a deletion.
pub(crate) fn tag<'a>(op: OpRef<'a>, memory: &'a mut Vec<u8>) -> OpRef<'a> {
    memory.clear();
    memory.push(if op.value.is_some() { VALUE } else { DELETED });
    memory.extend_from_slice(op.value.unwrap_or_default());
    OpRef { key: op.key, value: Some(memory) }
}

/// The value behind its tag. `None`: deleted.
pub(crate) fn untag(bytes: &[u8]) -> Option<&[u8]> {
    match bytes.split_first().expect("a tagged value has at least one byte") {
        (&DELETED, _) => None,
        (_, value) => Some(value),
    }
}

/// The operations of a write whose body this program encoded: keys, and tagged copies of the values.
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

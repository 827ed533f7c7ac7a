//! The state of a store: what its writes, applied in order, make of an empty map. Applying is deterministic: it uses no
//! clock, no randomness and no file. The same writes give the same state, and the same state gives the same [`Digest`].
//!
//! There are two maps with the same content. [`State`] is a plain ordered map, simple enough to be trusted: replay
//! fills it, and tests use it as the model of the engine. [`Map`] is the engine's: hashed, for many threads, with
//! lookups that take no lock. Stores, snapshots and models are compared by their digests.
//!
//! # The bytes of a write
//!
//! A write is a list of operations, at least one. All of them are applied, or none. It is the body of a log frame. All
//! integers are little-endian:
//!
//! ```text
//! put     1  key length: u32  value length: u32  key  value
//! delete  2  key length: u32  key
//! ```

mod arena;
mod bulk;
mod index;
mod interval;
mod key;
mod key_hash;
mod many;
mod map;
mod shard;
mod tag;
mod word_array;

pub(crate) use bulk::{Part, Router};
pub(crate) use interval::{Chunk, Interval, Most, Request, end_of_prefix};
pub(crate) use key::Key;
pub(crate) use map::Map;
pub(crate) use tag::{tag, tagged, untag};

use crate::{MAX_KEY_BYTES, MAX_VALUE_BYTES};
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::{Bound, Deref};
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// A stored value: bytes that are shared, not copied, when cloned. Dereferences to `[u8]`.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// engine.put("x", "100")?;
/// let value = engine.get("x")?.expect("just stored");
/// assert_eq!(&*value, b"100");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Value(Arc<[u8]>);

impl Value {
    /// The bytes as a vector of their own.
    ///
    /// ```
    /// let value = kv_engine::Value::from(&b"100"[..]);
    /// assert_eq!(value.to_vec(), b"100");
    /// ```
    #[must_use]
    pub fn to_vec(&self) -> Vec<u8> {
        self.0.to_vec()
    }
}

impl Deref for Value {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for Value {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Borrow<[u8]> for Value {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Value {
    fn from(bytes: &[u8]) -> Value {
        Value(bytes.into())
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// One operation of a write: a put, or without a value a delete.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Op {
    pub(crate) key: Key,
    pub(crate) value: Option<Value>,
}

/// One operation, borrowed from the bytes of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpRef<'a> {
    pub(crate) key: &'a [u8],
    pub(crate) value: Option<&'a [u8]>,
}

/// One operation of a write; in [`inspect::Content::Write`](crate::inspect::Content::Write), and
/// from [`Change::operations`](crate::Change::operations).
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
/// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
/// # engine.put("x", "100")?;
/// # engine.delete("x")?;
/// # engine.close()?;
/// use kv_engine::inspect::{self, Content, Entry, Operation, Record};
/// use std::ops::ControlFlow;
///
/// let mut seen = Vec::new();
/// inspect::log(&log, 0, |entry| {
///     if let Entry::Record(Record { content: Content::Write(operations), .. }) = entry {
///         seen.extend(operations.iter().map(|operation| match operation {
///             Operation::Put { key, value } => format!("put {} B, {} B", key.len(), value.len()),
///             Operation::Delete { key } => format!("delete {} B", key.len()),
///             _ => "?".into(),
///         }));
///     }
///     ControlFlow::Continue(())
/// })?;
/// assert_eq!(seen, ["put 1 B, 3 B", "delete 1 B"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation<'a> {
    /// Stores a value.
    Put {
        /// Under this key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
    },
    /// Removes a key.
    Delete {
        /// The key.
        key: &'a [u8],
    },
}

const PUT: u8 = 1;
const DELETE: u8 = 2;

/// The bytes before the key of a put.
const PUT_HEAD_BYTES: usize = 9;
/// The longest put.
pub(crate) const MAX_PUT_BYTES: usize = PUT_HEAD_BYTES + MAX_KEY_BYTES + MAX_VALUE_BYTES;

impl Op {
    pub(crate) fn put(key: &[u8], value: &[u8]) -> Op {
        Op { key: key.into(), value: Some(value.into()) }
    }

    pub(crate) fn delete(key: &[u8]) -> Op {
        Op { key: key.into(), value: None }
    }

    pub(crate) fn as_ref(&self) -> OpRef<'_> {
        OpRef { key: &self.key, value: self.value.as_deref() }
    }
}

impl OpRef<'_> {
    /// Appends the bytes of this operation to `out`.
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        self.encode_head(out);
        out.extend_from_slice(self.value.unwrap_or_default());
    }

    /// Appends the bytes before the value.
    pub(crate) fn encode_head(self, out: &mut Vec<u8>) {
        let len = |bytes: &[u8]| u32::try_from(bytes.len()).expect("lengths are limited").to_le_bytes();
        out.push(if self.value.is_some() { PUT } else { DELETE });
        out.extend_from_slice(&len(self.key));
        out.extend(self.value.iter().flat_map(|value| len(value)));
        out.extend_from_slice(self.key);
    }

    /// How many bytes [`OpRef::encode`] appends.
    pub(crate) fn encoded_len(self) -> usize {
        match self.value {
            Some(value) => PUT_HEAD_BYTES + self.key.len() + value.len(),
            None => 5 + self.key.len(),
        }
    }

    pub(crate) fn to_op(self) -> Op {
        Op { key: self.key.into(), value: self.value.map(Value::from) }
    }
}

impl<'a> OpRef<'a> {
    pub(crate) fn into_operation(self) -> Operation<'a> {
        match self.value {
            Some(value) => Operation::Put { key: self.key, value },
            None => Operation::Delete { key: self.key },
        }
    }
}

/// The operations in the bytes of a write, in order. `None`: the bytes are not a list of operations within the limits.
/// If their checksum holds, that means a bug or a crafted file.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<OpRef<'_>>> {
    let mut ops = Vec::with_capacity(1);
    decode_each(bytes, |op| ops.push(op))?;
    Some(ops)
}

/// As [`decode`], one after the other. If this returns `None`, the operations that `each` got must not be used.
pub(crate) fn decode_each<'a>(mut bytes: &'a [u8], mut each: impl FnMut(OpRef<'a>)) -> Option<()> {
    if bytes.is_empty() {
        return None;
    }
    while !bytes.is_empty() {
        each(decode_one(&mut bytes)?);
    }
    Some(())
}

pub(crate) fn decode_one<'a>(bytes: &mut &'a [u8]) -> Option<OpRef<'a>> {
    decode_up_to(MAX_VALUE_BYTES, bytes)
}

/// As [`decode_one`], for a value that may have a tag.
pub(crate) fn decode_maybe_tagged<'a>(bytes: &mut &'a [u8]) -> Option<OpRef<'a>> {
    decode_up_to(MAX_VALUE_BYTES + 1, bytes)
}

fn decode_up_to<'a>(max_value: usize, bytes: &mut &'a [u8]) -> Option<OpRef<'a>> {
    let tag = take(bytes, 1)?[0];
    let key_len = take_len(bytes, 1, MAX_KEY_BYTES)?;
    match tag {
        PUT => {
            let value_len = take_len(bytes, 0, max_value)?;
            Some(OpRef { key: take(bytes, key_len)?, value: Some(take(bytes, value_len)?) })
        }
        DELETE => Some(OpRef { key: take(bytes, key_len)?, value: None }),
        _ => None,
    }
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

fn take_len(bytes: &mut &[u8], min: usize, max: usize) -> Option<usize> {
    let len = crate::record::le32(take(bytes, 4)?, 0) as usize;
    (min..=max).contains(&len).then_some(len)
}

/// The map, ordered by key.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    map: BTreeMap<Key, Value>,
    /// The bytes of all keys and values.
    data_bytes: u64,
}

impl State {
    /// Applies one operation. Says whether the key was there before.
    pub(crate) fn apply(&mut self, op: Op) -> bool {
        let key_len = op.key.len();
        let new_len = op.value.as_ref().map(|value| key_len + value.len());
        let old = match op.value {
            Some(value) => self.map.insert(op.key, value),
            None => self.map.remove(&*op.key),
        };
        let old_len = old.as_ref().map(|value| key_len + value.len());
        self.data_bytes += new_len.unwrap_or(0) as u64;
        self.data_bytes -= old_len.unwrap_or(0) as u64;
        old.is_some()
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<&Value> {
        self.map.get(key)
    }

    pub(crate) fn len(&self) -> usize {
        self.map.len()
    }

    pub(crate) fn digest(&self) -> Digest {
        let mut digester = Digester::default();
        self.map.iter().for_each(|(key, value)| digester.add(key, value));
        digester.digest()
    }

    #[cfg(test)]
    pub(crate) fn data_bytes(&self) -> u64 {
        self.data_bytes
    }

    /// The entries from `from` on, in key order.
    pub(crate) fn range(&self, from: Bound<&[u8]>) -> impl Iterator<Item = (&[u8], &Value)> {
        self.map.range::<[u8], _>((from, Bound::Unbounded)).map(|(key, value)| (&**key, value))
    }
}

/// A checksum of a whole state: equal states have equal digests, no matter which writes, batch sizes, snapshots and
/// restarts led to them. It finds accidental differences, not deliberate ones. From
/// [`Engine::snapshot`](crate::Engine::snapshot).
///
/// It is XXH3-128 over `key length: u32, key, value length: u32, value` of each entry in key order, lengths
/// little-endian. Shown as 32 hexadecimal digits.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// engine.put("x", "100")?;
/// let before = engine.snapshot()?.digest;
/// engine.put("y", "200")?;
/// engine.delete("y")?;
/// assert_eq!(engine.snapshot()?.digest, before);
/// assert_eq!(before.to_string().len(), 32);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest(pub(crate) u128);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Makes a [`Digest`] from entries that come in key order, for example to compare a copy of a store's entries with the
/// store.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// engine.put("x", "100")?;
/// engine.put("y", "200")?;
/// let mut digester = kv_engine::Digester::default();
/// digester.add(b"x", b"100");
/// digester.add(b"y", b"200");
/// assert_eq!(digester.digest(), engine.digest());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct Digester(Xxh3);

impl fmt::Debug for Digester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digester({})", self.digest())
    }
}

impl Digester {
    /// Adds the entry that is next in key order.
    ///
    /// # Panics
    /// If key or value is longer than 4 GiB, which is more than any store holds.
    pub fn add(&mut self, key: &[u8], value: &[u8]) {
        for bytes in [key, value] {
            self.0.update(&u32::try_from(bytes.len()).expect("lengths are limited").to_le_bytes());
            self.0.update(bytes);
        }
    }

    /// The digest of the entries that were added so far.
    #[must_use]
    pub fn digest(&self) -> Digest {
        Digest(self.0.digest128())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_survive_their_bytes() {
        let ops = [Op::put(b"k", b""), Op::delete(b"gone"), Op::put(b"\0\xff", &[7; 1000])];
        let mut bytes = Vec::new();
        for op in &ops {
            let before = bytes.len();
            op.as_ref().encode(&mut bytes);
            assert_eq!(bytes.len() - before, op.as_ref().encoded_len());
        }
        let decoded: Vec<Op> = decode(&bytes).expect("valid").into_iter().map(OpRef::to_op).collect();
        assert_eq!(decoded, ops);
    }

    #[test]
    fn the_bytes_of_a_put_and_of_a_delete_are_pinned() {
        let mut bytes = Vec::new();
        Op::put(b"k", b"vv").as_ref().encode(&mut bytes);
        Op::delete(b"k").as_ref().encode(&mut bytes);
        assert_eq!(bytes, *b"\x01\x01\0\0\0\x02\0\0\0kvv\x02\x01\0\0\0k");
    }

    #[test]
    fn impossible_bytes_are_refused() {
        for bytes in [&b""[..], b"\x03\x01\0\0\0k", b"\x02\0\0\0\0", b"\x02\x02\0\0\0k", b"\x01\x01\0\0\0\xff\xff\xff\xffk"] {
            assert_eq!(decode(bytes), None, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn size_follows_every_change() {
        let mut state = State::default();
        assert!(!state.apply(Op::put(b"key", b"value")));
        assert!(state.apply(Op::put(b"key", b"v")));
        assert_eq!((state.len(), state.data_bytes()), (1, 4));
        assert!(state.apply(Op::delete(b"key")));
        assert!(!state.apply(Op::delete(b"key")));
        assert_eq!((state.len(), state.data_bytes()), (0, 0));
    }

    #[test]
    fn the_digest_is_pinned_and_tells_boundaries_apart() {
        let digest = |entries: &[(&[u8], &[u8])]| {
            let mut digester = Digester::default();
            entries.iter().for_each(|(key, value)| digester.add(key, value));
            digester.digest().to_string()
        };
        assert_eq!(digest(&[]), "99aa06d3014798d86001c324468d497f");
        assert_ne!(digest(&[(b"ab", b"c")]), digest(&[(b"a", b"bc")]));
    }
}

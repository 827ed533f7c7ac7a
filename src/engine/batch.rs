//! [`Batch`]: several operations that become one write.

use crate::state::Op;

/// Operations that [`Engine::write`](crate::Engine::write) applies all or none, as one write.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// let mut batch = kv_engine::Batch::new();
/// batch.put("from", "90").put("to", "110").delete("pending");
/// assert_eq!(batch.len(), 3);
/// engine.write(batch)?;
/// assert_eq!(engine.stats().appended, 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(crate) ops: Vec<Op>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a put. Limits are checked by [`Engine::write`](crate::Engine::write).
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Batch {
        self.ops.push(Op::put(key.as_ref(), value.as_ref()));
        self
    }

    /// Adds a delete; of a key that is not there, it changes nothing.
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Batch {
        self.ops.push(Op::delete(key.as_ref()));
        self
    }

    /// Number of operations.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is no operation.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// What this batch would make of `key`: `Some(Some(value))` when it puts it, `Some(None)` when
    /// it deletes it, `None` when it does not touch it.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Option<&[u8]>> {
        let key = key.as_ref();
        self.ops.iter().rev().find(|op| &*op.key == key).map(|op| op.value.as_deref())
    }
}

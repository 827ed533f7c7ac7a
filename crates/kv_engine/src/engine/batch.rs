//! [`Batch`]: several operations that become one write.

use crate::state::Op;

/// Operations that [`Engine::write`](crate::Engine::write) applies as one write: all of them or none.
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
    ///
    /// ```
    /// # use kv_engine::Batch;
    /// assert!(Batch::new().is_empty());
    /// ```
    #[must_use]
    pub fn new() -> Batch {
        Batch::default()
    }

    /// Adds a put. Limits are checked by [`Engine::write`](crate::Engine::write).
    ///
    /// ```
    /// # use kv_engine::Batch;
    /// let mut batch = Batch::new();
    /// batch.put("x", "1").put("x", "2"); // in this order
    /// assert_eq!(batch.get("x"), Some(Some(&b"2"[..])));
    /// ```
    pub fn put(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Batch {
        self.ops.push(Op::put(key.as_ref(), value.as_ref()));
        self
    }

    /// Adds a delete. If the key does not exist, the delete changes nothing, and the write still counts.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let mut batch = kv_engine::Batch::new();
    /// batch.delete("never there");
    /// assert_eq!(engine.write(batch)?.seq, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn delete(&mut self, key: impl AsRef<[u8]>) -> &mut Batch {
        self.ops.push(Op::delete(key.as_ref()));
        self
    }

    /// Number of operations. Two on the same key count as two.
    ///
    /// ```
    /// # use kv_engine::Batch;
    /// let mut batch = Batch::new();
    /// batch.put("x", "1").put("x", "2");
    /// assert_eq!(batch.len(), 2);
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.ops.len()
    }

    /// Whether there is no operation.
    ///
    /// ```
    /// # use kv_engine::Batch;
    /// let mut batch = Batch::new();
    /// assert!(batch.is_empty() && !batch.put("x", "1").is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ops.is_empty()
    }

    /// The effect of this batch on `key`: `Some(Some(value))` if it puts the key, `Some(None)` if it deletes the key,
    /// `None` if it does not contain the key.
    ///
    /// ```
    /// # use kv_engine::Batch;
    /// let mut batch = Batch::new();
    /// batch.put("x", "1").delete("y");
    /// assert_eq!(batch.get("x"), Some(Some(&b"1"[..])));
    /// assert_eq!(batch.get("y"), Some(None));
    /// assert_eq!(batch.get("z"), None); // the store decides
    /// ```
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<Option<&[u8]>> {
        let key = key.as_ref();
        self.ops.iter().rev().find(|op| &*op.key == key).map(|op| op.value.as_deref())
    }
}

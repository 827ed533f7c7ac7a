//! [`Batch`]: several operations that become one write.

use crate::state::{Key, Op, Operation, Value};

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
    /// Keys, and the values that they must have.
    pub(crate) conditions: Vec<(Key, Option<Value>)>,
    pub(crate) is_durable: bool,
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

    /// Adds a condition: the batch is written only if `key` has exactly `value`. Otherwise
    /// [`Engine::write`](crate::Engine::write) writes nothing of it and returns
    /// [`Error::Condition`](crate::Error::Condition). All conditions look at the store as it is before the batch, and
    /// no other write comes between them and the batch.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// use kv_engine::{Batch, Error};
    ///
    /// engine.put("from", "100")?;
    /// let mut transfer = Batch::new();
    /// transfer.require("from", "100").put("from", "90").put("to", "10");
    /// engine.write(transfer.clone())?;
    /// assert!(matches!(engine.write(transfer), Err(Error::Condition { key }) if key == b"from"));
    /// assert_eq!(engine.get("from")?.as_deref(), Some(&b"90"[..])); // once, not twice
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn require(&mut self, key: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> &mut Batch {
        self.conditions.push((key.as_ref().into(), Some(value.as_ref().into())));
        self
    }

    /// Adds a condition: the batch is written only if `key` does not exist. Otherwise as [`Batch::require`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let mut user = kv_engine::Batch::new();
    /// user.require_absent("user:ada").put("user:ada", "1815").put("mail:ada@example.org", "user:ada");
    /// engine.write(user.clone())?;
    /// assert!(engine.write(user).is_err()); // the name is taken
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn require_absent(&mut self, key: impl AsRef<[u8]>) -> &mut Batch {
        self.conditions.push((key.as_ref().into(), None));
        self
    }

    /// Makes this one write durable before [`Engine::write`](crate::Engine::write) returns, at every batch size. It
    /// does not wait until its group is full: a sync begins at once, and makes all earlier writes durable too. Readers
    /// see it only when it is durable. Writes of other threads that come after it wait for that sync as well. A batch
    /// without operations syncs nothing: use [`Engine::flush`](crate::Engine::flush) for that.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap"))
    /// #     .batch_size(100).flush_interval(std::time::Duration::ZERO).open()?;
    /// assert!(!engine.put("x", "100")?.durable); // batch size 100
    /// let mut order = kv_engine::Batch::new();
    /// order.put("order:1", "paid").durable();
    /// assert!(engine.write(order)?.durable);
    /// assert_eq!(engine.pending(), 0);           // the put before it is durable too
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn durable(&mut self) -> &mut Batch {
        self.is_durable = true;
        self
    }

    /// Number of operations, without the conditions. Two on the same key count as two.
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

    /// Whether there is no operation. There may be conditions.
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

    /// The operations, in order.
    ///
    /// ```
    /// use kv_engine::{Batch, Operation};
    ///
    /// let mut batch = Batch::new();
    /// batch.put("x", "1").delete("y");
    /// let (x, y) = (Operation::Put { key: b"x", value: b"1" }, Operation::Delete { key: b"y" });
    /// assert!(batch.operations().eq([x, y]));
    /// ```
    pub fn operations(&self) -> impl Iterator<Item = Operation<'_>> {
        self.ops.iter().map(|op| match &op.value {
            Some(value) => Operation::Put { key: &op.key, value },
            None => Operation::Delete { key: &op.key },
        })
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

//! [`View`]: a read view, the state right after one write. How it works: `merge_view.rs`.

use super::iter::{Keys, Scan};
use super::open_view::{OpenView, Source};
use crate::Seq;
use crate::error::Result;
use crate::state::{Digest, Value};
#[cfg(doc)]
use crate::{Engine, Error, Options};
use std::ops::RangeBounds;
use std::sync::Arc;

/// The state right after one write, which later writes do not change; from [`Engine::view`]. Cheap to clone: the clones
/// are one view. Dropping the last one frees what it holds.
///
/// - It has every write up to [`View::seq`], atomic batches whole, and none after it.
/// - Later writes, batches, deletes and snapshots do not change it, and a failure of the log does not either. It can be
///   read after [`Engine::close`], and it does not keep the store open.
/// - Its writes are visible, but with a batch size above 1 they may not be durable yet: a crash may lose the last of
///   them. After [`Engine::flush`] they are durable.
/// - There may be any number of views at a time.
///
/// The price. With all values in memory, the first write to a key after a view was opened copies the old value, under
/// the lock of the log. A read in a view looks through the views that were opened after it. If values stay in the
/// snapshot ([`Options::values_in_snapshot`]), opening a view begins a new layer in memory, and each read looks through
/// all layers. There are at most about as many as the logarithm of the number of keys written since the last
/// snapshot. Old values, old layers and the disk space of a replaced snapshot are freed when the last view that needs
/// them is dropped. So do not keep a view for longer than you read it.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
/// engine.put("x", "100")?;
/// let view = engine.view();
/// engine.put("x", "200")?;
/// engine.put("y", "300")?;
/// assert_eq!(view.get("x")?.as_deref(), Some(&b"100"[..]));
/// assert_eq!((view.seq(), view.len(), engine.len()), (1, 1, 2));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct View(Arc<OpenView>);

impl View {
    pub(super) fn new(view: OpenView) -> View {
        View(Arc::new(view))
    }

    fn source(&self) -> Source {
        Source::View(Arc::clone(&self.0))
    }

    /// The last write in it; 0 before the first write of the store.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// assert_eq!(engine.view().seq(), 0);
    /// let ack = engine.put("x", "100")?;
    /// assert_eq!(engine.view().seq(), ack.seq);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn seq(&self) -> Seq {
        self.0.seq()
    }

    /// The value of `key` after that write.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// let view = engine.view();
    /// engine.delete("x")?;
    /// assert_eq!(view.get("x")?.as_deref(), Some(&b"100"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// None if all values are in memory. If values stay in the snapshot: [`Error::Damaged`] for a block that fails its
    /// check, [`Error::Io`] for one that cannot be read.
    pub fn get(&self, key: impl AsRef<[u8]>) -> Result<Option<Value>> {
        self.0.get(key.as_ref())
    }

    /// Whether `key` existed after that write.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let view = engine.view();
    /// engine.put("x", "100")?;
    /// assert!(!view.contains_key("x")? && engine.contains_key("x")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The entries whose keys begin with `prefix`, in key order. An empty prefix gives all entries. The iterator keeps
    /// the view open.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("user:1", "Ada")?;
    /// for entry in engine.view().scan("user:") {
    ///     engine.put([&entry?.0[..], b":seen"].concat(), "yes")?; // never seen by this loop
    /// }
    /// assert_eq!(engine.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn scan(&self, prefix: impl AsRef<[u8]>) -> Scan {
        Scan::of_prefix(self.source(), prefix.as_ref())
    }

    /// The keys that begin with `prefix`, in order.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("a", "1")?;
    /// let view = engine.view();
    /// engine.put("b", "2")?;
    /// assert_eq!(view.keys("").collect::<Result<Vec<_>, _>>()?, [b"a"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn keys(&self, prefix: impl AsRef<[u8]>) -> Keys {
        Keys(self.scan(prefix))
    }

    /// The entries whose keys lie within `bounds`, in key order; see [`Engine::range`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// for day in ["mon", "thu", "tue"] {
    ///     engine.put(day, "work")?;
    /// }
    /// let view = engine.view();
    /// engine.delete("thu")?;
    /// let last = view.range("n"..).next_back().expect("two entries")?;
    /// assert_eq!((last.0, view.range("n".."tt").count()), (b"tue".to_vec(), 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, bounds: R) -> Scan {
        Scan::of_range(self.source(), &bounds)
    }

    /// Number of keys after that write.
    ///
    /// # Panics
    /// If [`View::count`] is an error. This never happens with all values in memory.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let view = engine.view();
    /// engine.put("x", "100")?;
    /// assert_eq!((view.len(), engine.len()), (0, 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        let count = self.count().expect("the snapshot can be read; View::count reports the error");
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Whether there was no key. Panics as [`View::len`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// assert!(engine.view().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The exact number of keys after that write. If values stay in the snapshot, each key written since the snapshot
    /// is looked up there.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// assert_eq!(engine.view().count()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn count(&self) -> Result<u64> {
        self.0.count()
    }

    /// The digest of all its entries. Writes go on meanwhile.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (log, snapshot) = (dir.path().join("log"), dir.path().join("snap"));
    /// # let engine = kv_engine::Options::new(&log, &snapshot).open()?;
    /// engine.put("x", "100")?;
    /// let view = engine.view();
    /// engine.put("x", "200")?;
    /// let replayed = kv_engine::replay::replay(&log, &snapshot, Some(view.seq()), |_| {})?;
    /// assert_eq!(view.digest()?, replayed.digest());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`View::get`].
    pub fn digest(&self) -> Result<Digest> {
        self.0.digest()
    }
}

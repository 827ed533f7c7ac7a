//! The number of keys, and the digest of all entries.

use super::api::Engine;
use crate::error::Result;

impl Engine {
    /// Number of keys.
    ///
    /// # Panics
    /// If [`Engine::count`] is an error. This never happens with all values in memory.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// engine.put("x", "200")?;
    /// assert_eq!(engine.len(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        let count = self.count().expect("the snapshot can be read; Engine::count reports the error");
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// The exact number of keys. If values stay in the snapshot
    /// ([`Options::values_in_snapshot`](crate::Options::values_in_snapshot)), each key written since is looked up
    /// there.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// assert_eq!(engine.count()?, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If values stay in the snapshot: [`Error::Damaged`](crate::Error::Damaged) for a block that fails its check,
    /// [`Error::Io`](crate::Error::Io) for one that cannot be read.
    pub fn count(&self) -> Result<u64> {
        self.shared().state.count()
    }

    /// Whether there is no key. Panics as [`Engine::len`].
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// assert!(engine.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digest of all entries: two stores with the same entries have the same digest. Reads every entry, and writes
    /// wait until it is done.
    ///
    /// # Panics
    /// If values stay in the snapshot and it is damaged.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let open = |n: &str| kv_engine::Options::new(dir.path().join(n), dir.path().join(n.to_owned() + "s")).open();
    /// let (one, other) = (open("one")?, open("other")?);
    /// one.put("x", "1")?;
    /// one.put("x", "2")?;
    /// other.put("x", "2")?;
    /// assert_eq!(one.digest(), other.digest());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn digest(&self) -> crate::Digest {
        let _no_writes = self.shared().log_always();
        self.shared().state.digest().expect("the snapshot can be read; Engine::scan reports the error")
    }
}

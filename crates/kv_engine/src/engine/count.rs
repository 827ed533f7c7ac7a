//! How many keys there are, and the digest of all.

use super::api::Engine;
use crate::error::Result;

impl Engine {
    /// Number of keys.
    ///
    /// # Panics
    /// Where [`Engine::count`] is an error, which it never is with all values in memory.
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
        let count = self.count().expect("the snapshot can be read; Engine::count says where not");
        usize::try_from(count).unwrap_or(usize::MAX)
    }

    /// Number of keys, counted. Where values stay in the snapshot ([`Options::values_in_snapshot`](crate::Options::values_in_snapshot)) each key that was
    /// written since is looked up there.
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
    /// [`Error::Damaged`](crate::Error::Damaged) and [`Error::Io`](crate::Error::Io), where values stay in the snapshot and a block cannot be read.
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

    /// The digest of what readers see: two stores with the same entries have the same digest. Reads
    /// every entry; writes wait meanwhile.
    ///
    /// # Panics
    /// Where values stay in the snapshot and it is damaged.
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
        let _no_write_meanwhile = self.shared().log_always();
        self.shared().state.digest().expect("the snapshot can be read; Engine::scan says where not")
    }
}

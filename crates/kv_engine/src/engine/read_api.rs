//! [`Engine`]: the public calls that read ranges, make views, and copy the store.

use super::api::Engine;
use super::copy::Copied;
use super::iter::Scan;
use super::open_view::{OpenView, Source};
use super::view::View;
use crate::error::Result;
use crate::state::Value;
#[cfg(doc)]
use crate::{Error, Options};
use std::ops::RangeBounds;
use std::path::Path;
use std::sync::Arc;

impl Engine {
    fn everything(&self) -> Scan {
        Scan::new(Arc::clone(self.shared()), b"")
    }

    /// The entries whose keys lie within `bounds`, in the byte order of the keys; with `.rev()` in reverse order. A
    /// range whose beginning lies behind its end is empty. See [`Scan`] for what it sees of writes that come meanwhile.
    ///
    /// For all keys write `range::<&str, _>(..)`, or [`Engine::scan`] with an empty prefix. Byte strings need a slice:
    /// `range(&b"a"[..]..&b"c"[..])`.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// for day in ["2026-01-30", "2026-01-31", "2026-02-01"] {
    ///     engine.put(day, "sunny")?;
    /// }
    /// let january = engine.range("2026-01".."2026-02").count();
    /// let newest = engine.range(.."2026-02").next_back().expect("two days")?;
    /// assert_eq!((january, newest.0), (2, b"2026-01-31".to_vec()));
    /// assert_eq!(engine.range::<&str, _>(..).rev().count(), 3);
    /// assert_eq!(engine.range("b".."a").count(), 0);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn range<K: AsRef<[u8]>, R: RangeBounds<K>>(&self, bounds: R) -> Scan {
        Scan::of_range(Source::Now(Arc::clone(self.shared())), &bounds)
    }

    /// Whether `key` exists. As [`Engine::get`], without the value.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "")?;
    /// assert!(engine.contains_key("x")? && !engine.contains_key("y")?);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::get`].
    #[inline]
    pub fn contains_key(&self, key: impl AsRef<[u8]>) -> Result<bool> {
        Ok(self.shared().state.with(key.as_ref(), |_| ())?.is_some())
    }

    /// Calls `see` with the position and the value of each of these keys, in their order. The results are those of
    /// [`Engine::get_with`] for one key after the other, but it is faster: a get in a large store spends most of its
    /// time waiting for memory, and here the gets wait together. `docs/performance.md` says how much faster.
    ///
    /// - `see` is called once for each position, with `None` if the key does not exist. A key may be there twice.
    /// - Each value is one that the store had during the call. It is never older than the value of a position before
    ///   it, and a write that `see` makes is visible at the next position.
    /// - The values need not be of one moment, because writes may come in between. [`Engine::view`] gives one moment.
    /// - No lock is held while `see` runs. Nothing is allocated.
    /// - For one or two keys, [`Engine::get_with`] does less work.
    /// - If values stay in the snapshot, it allocates memory for each value, and is not faster than gets one by one.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("a", "1")?;
    /// engine.put("b", "22")?;
    /// let mut lengths = Vec::new();
    /// engine.get_many(&["b", "nope", "a"], |at, value| lengths.push((at, value.map(<[u8]>::len))))?;
    /// assert_eq!(lengths, [(0, Some(2)), (1, None), (2, Some(1))]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::get`], for the first key that cannot be read. `see` was called for the keys before it.
    pub fn get_many<K: AsRef<[u8]>>(&self, keys: &[K], see: impl FnMut(usize, Option<&[u8]>)) -> Result<()> {
        self.shared().state.with_many(keys, see)
    }

    /// The entry with the smallest key.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// assert!(engine.first()?.is_none());
    /// engine.put("b", "2")?;
    /// engine.put("a", "1")?;
    /// assert_eq!(engine.first()?.expect("two entries").0, b"a");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn first(&self) -> Result<Option<(Vec<u8>, Value)>> {
        self.everything().next().transpose()
    }

    /// The entry with the largest key.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("job:07", "clean")?;
    /// engine.put("job:08", "paint")?;
    /// assert_eq!(engine.last()?.expect("two entries").0, b"job:08");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`Engine::get`].
    pub fn last(&self) -> Result<Option<(Vec<u8>, Value)>> {
        self.everything().next_back().transpose()
    }

    /// A read view of the state right after the last visible write. Later writes do not change it. [`View`] says what
    /// it costs. Opening one takes the lock of the log for a moment and never waits for a sync. If values stay in the
    /// snapshot, it may first merge earlier layers, which takes the time and the memory of copying them; writes go on
    /// in the meantime. Also works after a failure and after close.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// let mut accounts = kv_engine::Batch::new();
    /// accounts.put("from", "100").put("to", "0");
    /// engine.write(accounts)?;
    /// let view = engine.view();
    /// let mut transfer = kv_engine::Batch::new();
    /// transfer.put("from", "90").put("to", "10");
    /// engine.write(transfer)?;
    /// let values = view.scan("").map(|entry| Ok(entry?.1.to_vec())).collect::<kv_engine::Result<Vec<_>>>()?;
    /// assert_eq!(values, [&b"100"[..], b"0"]); // as of one write, never half of the transfer
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn view(&self) -> View {
        View::new(OpenView::open(self.shared()))
    }

    /// Copies the store into one file, a snapshot of the state right after the last visible write, while reads and
    /// writes go on. It is a store of its own: `Options::new(new_log, path)` opens it, and the first write to it begins
    /// a log. That opening reports that there is no log beside the snapshot.
    ///
    /// The file is written under another name in the same directory, synced, read back and checked. Only then it is
    /// renamed to `path`, and the directory is synced. A crash leaves the old copy or the new one, and maybe a file
    /// `<path>.tmp-…`, which opening the copy removes.
    ///
    /// With a batch size above 1, the last writes in the copy may not be durable in this store yet. Call
    /// [`Engine::flush`] after it, before you follow the store from [`Copied::seq`] on.
    ///
    /// A file at `path` is replaced only if it is an earlier copy of this store that was never opened as a store. The
    /// names of this store's own files are refused. A view is open until the end, see [`View`] for its costs. Also
    /// works after a failure and after close, and then saves what readers see.
    ///
    /// ```
    /// # let dir = tempfile::tempdir()?;
    /// # let (copy, new_log) = (dir.path().join("copy"), dir.path().join("copy.wal"));
    /// # let engine = kv_engine::Options::new(dir.path().join("log"), dir.path().join("snap")).open()?;
    /// engine.put("x", "100")?;
    /// let copied = engine.export_to(&copy)?;
    /// assert_eq!((copied.seq, copied.entries), (1, 1));
    ///
    /// let other = kv_engine::Options::new(new_log, copy).open()?;
    /// assert_eq!(other.get("x")?.as_deref(), Some(&b"100"[..]));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Io`]: the name is refused, or the copy could not be written. If values stay in the snapshot, also
    /// [`Error::Damaged`]. The store is as it was, and so is the file at `path`.
    pub fn export_to(&self, path: impl AsRef<Path>) -> Result<Copied> {
        self.shared().copy_to(path.as_ref())
    }
}

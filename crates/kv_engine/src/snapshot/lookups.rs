//! Reads a snapshot without a store, as a whole or through its index. For the fuzz targets of `proof/fuzz`.

use super::paged::Paged;
use super::read::load;
use crate::disk::File;
use crate::error::Result;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

/// Keys and values, in key order.
pub type Entries = Vec<(Vec<u8>, Vec<u8>)>;

/// All entries. Every check of the file must hold.
///
/// # Errors
/// As opening a store with this snapshot.
pub fn entries(file: Arc<dyn File>, path: &Path) -> Result<Entries> {
    let mut entries = Entries::new();
    load(file, path, |_, op| entries.extend(op.value.map(|value| (op.key.to_vec(), value.to_vec()))))?;
    Ok(entries)
}

/// A snapshot that is read through its index.
#[derive(Debug)]
pub struct Lookups(Paged);

impl Lookups {
    /// `None`: the snapshot has no index.
    ///
    /// # Errors
    /// As opening a store with this snapshot whose values stay in it.
    pub fn open(file: Arc<dyn File>, path: &Path, cache_bytes: usize) -> Result<Option<Lookups>> {
        Ok(Paged::open(file, path, cache_bytes)?.map(Lookups))
    }

    /// The value of a key.
    ///
    /// # Errors
    /// A block on the way to it is damaged.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        Ok(self.0.get(key)?.map(|value| value.to_vec()))
    }

    /// All entries whose keys begin with `prefix`, read `at_a_time` at once, as a scan does.
    ///
    /// # Errors
    /// A block on the way to them is damaged.
    pub fn scan(&self, prefix: &[u8], at_a_time: usize) -> Result<Entries> {
        let mut all = Entries::new();
        loop {
            let from = all.last().map_or(Bound::Unbounded, |(key, _)| Bound::Excluded(&key[..]));
            let some = self.0.range(from, prefix, at_a_time)?;
            let is_last = some.len() < at_a_time;
            all.extend(some.into_iter().map(|(key, value)| (key.to_vec(), value.to_vec())));
            if is_last {
                return Ok(all);
            }
        }
    }
}

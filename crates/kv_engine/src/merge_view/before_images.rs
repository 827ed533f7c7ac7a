//! [`BeforeImages`]: what read views need of a state that is all in memory.
//!
//! There is one map, and it changes. So each view has the *before-images* of the keys that were written since: the
//! value that a key had when the view was opened, or that it had none.
//!
//! ```text
//! views, the oldest first      view of write 3      view of write 8      map, now after write 9
//! before-images                a: "1"               b: none              a: "2"  b: "4"
//! ```
//!
//! - A write stores the old value of each of its keys in the *newest* view, unless that view has an image of the key.
//!   Only then it changes the map. This is done for one write at a time, under the log's lock.
//! - A reader of a view reads the map *first*. Then it looks for an image in its own view, and then in each newer one.
//!   The first image that it finds counts, else what the map had. If the reader saw the map changed, the image is
//!   there. If it did not, the image is the value that it saw.
//! - A view that ends leaves its images to the next older view, which keeps its own image of a key if it has one.
//!   Readers look under the lock for all views, so they see this happen at once.
//! - Views of the same write share their images.
//!
//! Costs. While any view is open, a write pays one lookup and the copy of the old value for each key, the first time
//! that the key is written since the newest view was opened. A read in a view pays a lookup in each view that was
//! opened later. Memory holds the old values of all keys written since the oldest view was opened. A key may have one
//! in each view.

use super::merged::{Found, merged};
use crate::Seq;
use crate::state::{Chunk, Key, Map, Request, Value, decode_one};
use crate::sync::{AtomicU64, Ordering, RwLock};
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::PoisonError;

#[derive(Debug, Default)]
pub(crate) struct BeforeImages {
    /// The number of entries in `views`, for writers. Views are opened under the log's lock, as writes are applied, so
    /// a writer sees each view that must get its images.
    open: AtomicU64,
    /// The oldest first. Locked before the map.
    views: RwLock<Vec<View>>,
}

/// The views of one write.
#[derive(Debug)]
struct View {
    seq: Seq,
    /// How many there are.
    count: usize,
    images: BTreeMap<Key, Option<Value>>,
}

impl BeforeImages {
    /// Opens a view of write `seq`, the last one that was applied.
    pub(super) fn open(&self, seq: Seq) {
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        match views.last_mut() {
            Some(newest) if newest.seq == seq => newest.count += 1,
            _ => views.push(View { seq, count: 1, images: BTreeMap::new() }),
        }
        self.open.store(views.len() as u64, Ordering::Relaxed);
    }

    /// Ends a view of write `seq`.
    pub(super) fn close(&self, seq: Seq) {
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        let at = views.binary_search_by_key(&seq, |view| view.seq).expect("the view is open");
        views[at].count -= 1;
        if views[at].count > 0 {
            return;
        }
        let mut ended = views.remove(at);
        self.open.store(views.len() as u64, Ordering::Relaxed);
        if let Some(older) = at.checked_sub(1).map(|older| &mut views[older]) {
            // The shorter list goes into the longer one. An image of the older view counts.
            if ended.images.len() > older.images.len() {
                std::mem::swap(&mut ended.images, &mut older.images);
                older.images.append(&mut ended.images);
            } else {
                for (key, image) in std::mem::take(&mut ended.images) {
                    older.images.entry(key).or_insert(image);
                }
            }
        }
        drop(views);
        drop(ended); // many values may be freed, without the lock
    }

    /// Stores the old values of the keys of a write that is about to be applied to `map`.
    #[inline]
    pub(super) fn note(&self, map: &Map, body: &[u8]) {
        if self.open.load(Ordering::Relaxed) > 0 {
            self.note_for_newest(map, body);
        }
    }

    fn note_for_newest(&self, map: &Map, mut body: &[u8]) {
        let mut views = self.views.write().unwrap_or_else(PoisonError::into_inner);
        let Some(newest) = views.last_mut() else { return };
        while !body.is_empty() {
            let key = decode_one(&mut body).expect("encoded by this program").key;
            if !newest.images.contains_key(key) {
                newest.images.insert(key.into(), map.get(key));
            }
        }
    }

    /// The value of `key` in a view of write `seq`.
    pub(super) fn get(&self, map: &Map, seq: Seq, key: &[u8]) -> Option<Value> {
        let now = map.get(key); // before the images
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        views[first(&views, seq)..].iter().find_map(|view| view.images.get(key)).cloned().unwrap_or(now)
    }

    /// Some entries of a view of write `seq`.
    pub(super) fn some(&self, map: &Map, seq: Seq, request: &Request<'_>) -> Found {
        if request.keys.is_empty() {
            return Found { entries: Vec::new(), end: None };
        }
        let now = map.some(request).map(Some); // before the images
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        let images = views[first(&views, seq)..].iter().rev().map(|view| view.some(request));
        merged([now].into_iter().chain(images), request)
    }

    /// The number of open views, and of the images that they have together.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let views = self.views.read().unwrap_or_else(PoisonError::into_inner);
        (views.len(), views.iter().map(|view| view.images.len()).sum())
    }
}

/// The place of the view of write `seq`.
fn first(views: &[View], seq: Seq) -> usize {
    views.partition_point(|view| view.seq < seq)
}

impl View {
    fn some(&self, request: &Request<'_>) -> Chunk<Option<Value>> {
        let mut chunk = Chunk::default();
        let mut images = self.images.range::<[u8], (Bound<&[u8]>, Bound<&[u8]>)>((request.keys.low, request.keys.high));
        while let Some((key, image)) = if request.backward { images.next_back() } else { images.next() } {
            let value_len = image.as_ref().map_or(0, |value| value.len());
            if chunk.add(key.clone(), image.clone(), value_len, request.most) {
                break;
            }
        }
        chunk
    }
}

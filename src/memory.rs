//! Memory that goes back to the system when it is freed.
//!
//! An allocator keeps most of what is freed, for the next one who asks. A store that needs some buffers of a megabyte for a
//! second, for a checkpoint, would look larger ever after. From a certain length on the common allocators give memory
//! back at once; glibc does so from the length of the longest piece that it gave back before, and from 32 MiB in any case. So large
//! buffers get room for more: what is not touched of it costs nothing.

/// From this length on memory goes back, in bytes.
const LARGE_BYTES: usize = 33 << 20;
/// There is so little to keep that it is not worth the call.
const LITTLE_BYTES: usize = 1 << 20;

/// An empty vector with room for `count`, at least.
pub(crate) fn room<T>(count: usize) -> Vec<T> {
    let bytes = count.saturating_mul(size_of::<T>());
    Vec::with_capacity(if bytes < LITTLE_BYTES { count } else { count.max(LARGE_BYTES / size_of::<T>().max(1)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_memory_is_larger_than_allocators_keep() {
        for (count, least) in [(0, 0), (1000, 1000), (LITTLE_BYTES, LARGE_BYTES), (LARGE_BYTES + 1, LARGE_BYTES + 1)] {
            let capacity = room::<u8>(count).capacity();
            assert!((least..=least + 100).contains(&capacity), "{capacity} for {count}");
        }
        assert!(room::<u128>(LITTLE_BYTES / 16).capacity() * 16 >= LARGE_BYTES);
        assert!(room::<()>(7).is_empty());
    }
}

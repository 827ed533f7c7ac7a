//! Memory that goes back to the system when it is freed, and memory that cannot be had.
//!
//! An allocator keeps most of what is freed, for the next one who asks. A store that needs some buffers of a megabyte for a
//! second, for a checkpoint, would look larger ever after. From a certain length on the common allocators give memory
//! back at once; glibc does so from the length of the longest piece that it gave back before, and from 32 MiB in any case. So large
//! buffers get room for more: what is not touched of it costs nothing.

use std::io;

/// From this length on memory goes back, in bytes.
const LARGE_BYTES: usize = 33 << 20;
/// There is so little to keep that it is not worth the call.
const LITTLE_BYTES: usize = 1 << 20;

/// With so many addresses nobody has to care.
const PLENTY_BYTES: u64 = 8 << 30;

/// An empty vector with room for `count`, at least, where there is.
pub(crate) fn room<T>(count: usize) -> Vec<T> {
    let bytes = count.saturating_mul(size_of::<T>());
    let large = if bytes < LITTLE_BYTES || is_scarce() { count } else { count.max(LARGE_BYTES / size_of::<T>().max(1)) };
    let mut room = Vec::new();
    if room.try_reserve_exact(large).is_err() {
        let _ = room.try_reserve_exact(count); // it may never be filled
    }
    room
}

/// Whether this process may have few addresses.
pub(crate) fn is_scarce() -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As);
    limit.current.is_some_and(|bytes| bytes < PLENTY_BYTES)
}

/// An empty vector with room for so many bytes.
///
/// # Errors
/// There is not so much memory.
pub(crate) fn room_for(bytes: usize) -> io::Result<Vec<u8>> {
    let mut room = Vec::new();
    reserve(&mut room, bytes)?;
    Ok(room)
}

/// Makes room for so many bytes in all.
///
/// # Errors
/// There is not so much memory.
pub(crate) fn reserve(room: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
    room.try_reserve_exact(bytes.saturating_sub(room.len())).map_err(|_| too_little(bytes as u64))
}

/// Whether so much memory can be had, in one piece, at this moment.
pub(crate) fn can_be_had(bytes: u64) -> bool {
    usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

/// There is not so much memory.
pub(crate) fn too_little(bytes: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "there is no memory for {bytes} bytes more; nothing was changed; give the process more (see `ulimit -v`) and repeat"
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
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

    /// Nobody has so many addresses. Where too much is asked for, an answer comes, and the process goes on.
    #[test]
    fn memory_that_cannot_be_had_is_an_error() {
        const MOST: usize = isize::MAX as usize;
        assert_eq!(room_for(MOST).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert!(room_for(1000).is_ok_and(|room| room.capacity() >= 1000));
        assert!(can_be_had(1 << 20) && !can_be_had(MOST as u64) && !can_be_had(u64::MAX));
        assert!(room::<u8>(MOST).is_empty(), "maybe it is never filled");
    }
}

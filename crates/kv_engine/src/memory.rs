//! Buffers whose memory goes back to the system when they are freed, and allocations that may fail without a panic.
//!
//! An allocator keeps most freed memory for later. So a store that needs some buffers of a megabyte for a checkpoint
//! would use that memory ever after. But from a certain length on, the common allocators return memory to the system at
//! once. glibc does so from the length of the longest block that it has returned before, and always from 32 MiB. So
//! large buffers are allocated longer than that. Pages that are never touched cost nothing.

use std::io;

/// From this length on, freed memory goes back to the system.
const LARGE_BYTES: usize = 33 << 20;
/// Below this length, returning the memory is not worth the system call.
const LITTLE_BYTES: usize = 1 << 20;

/// With at least this much address space, the longer buffers do no harm.
const PLENTY_BYTES: u64 = 8 << 30;

/// An empty vector with room for at least `count` elements, if there is memory for them.
pub(crate) fn room<T>(count: usize) -> Vec<T> {
    let bytes = count.saturating_mul(size_of::<T>());
    let large = if bytes < LITTLE_BYTES || is_scarce() { count } else { count.max(LARGE_BYTES / size_of::<T>().max(1)) };
    let mut room = Vec::new();
    if room.try_reserve_exact(large).is_err() {
        let _ = room.try_reserve_exact(count); // the vector may never be filled
    }
    room
}

/// Whether the address space of this process is small (`ulimit -v`).
pub(crate) fn is_scarce() -> bool {
    let limit = rustix::process::getrlimit(rustix::process::Resource::As);
    limit.current.is_some_and(|bytes| bytes < PLENTY_BYTES)
}

/// An empty vector with room for this many bytes.
///
/// # Errors
/// There is not enough memory.
pub(crate) fn room_for(bytes: usize) -> io::Result<Vec<u8>> {
    let mut room = Vec::new();
    reserve(&mut room, bytes)?;
    Ok(room)
}

/// Makes room for this many bytes in total.
///
/// # Errors
/// There is not enough memory.
pub(crate) fn reserve(room: &mut Vec<u8>, bytes: usize) -> io::Result<()> {
    room.try_reserve_exact(bytes.saturating_sub(room.len())).map_err(|_| too_little(bytes as u64))
}

/// Whether this much memory can be allocated in one piece at this moment.
pub(crate) fn is_available(bytes: u64) -> bool {
    usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

/// The error that says that there is not enough memory.
pub(crate) fn too_little(bytes: u64) -> io::Error {
    io::Error::new(
        io::ErrorKind::OutOfMemory,
        format!(
            "there is no memory for {bytes} bytes more; nothing was changed; allow the process more memory (see `ulimit -v`) and repeat"
        ),
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn large_buffers_are_longer_than_allocators_keep() {
        for (count, least) in [(0, 0), (1000, 1000), (LITTLE_BYTES, LARGE_BYTES), (LARGE_BYTES + 1, LARGE_BYTES + 1)] {
            let capacity = room::<u8>(count).capacity();
            assert!((least..=least + 100).contains(&capacity), "{capacity} for {count}");
        }
        assert!(room::<u128>(LITTLE_BYTES / 16).capacity() * 16 >= LARGE_BYTES);
        assert!(room::<()>(7).is_empty());
    }

    /// No process has that much address space. A request for too much returns an error, and the process goes on.
    #[test]
    fn memory_that_is_not_available_is_an_error() {
        const MOST: usize = isize::MAX as usize;
        assert_eq!(room_for(MOST).unwrap_err().kind(), io::ErrorKind::OutOfMemory);
        assert!(room_for(1000).is_ok_and(|room| room.capacity() >= 1000));
        assert!(is_available(1 << 20) && !is_available(MOST as u64) && !is_available(u64::MAX));
        assert!(room::<u8>(MOST).is_empty(), "it may never be filled");
    }
}

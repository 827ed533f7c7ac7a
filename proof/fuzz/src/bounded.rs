//! How much memory the engine asks for at once: a length in a file must never be believed before it
//! is checked against the file.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Below this size nobody looks.
const SMALL_BYTES: usize = 256 << 10;
/// Buffers of a fixed size that the engine has: a mebibyte to copy with, four to write with.
const FIXED_BYTES: usize = 8 << 20;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

struct Watched;

#[global_allocator]
static ALLOCATOR: Watched = Watched;

fn note(bytes: usize) {
    if bytes > SMALL_BYTES {
        LARGEST.fetch_max(bytes, Relaxed);
    }
}

// SAFETY: every call goes to the system's allocator as it came; only a number is kept beside it.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's promises are those that `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        note(bytes);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, bytes) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

/// Runs `work`, which may ask for as much memory at once as follows from `bytes` of input.
pub fn bounded<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    LARGEST.store(0, Relaxed);
    let done = work();
    let largest = LARGEST.load(Relaxed);
    assert!(largest <= FIXED_BYTES + 16 * bytes, "{largest} B were asked for at once, for {bytes} B of input");
    done
}

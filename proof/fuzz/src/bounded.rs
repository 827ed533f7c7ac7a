//! Limits how much memory the engine requests at once: it must check a length in a file against the file before it
//! uses it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Requests below this size are not checked.
const SMALL_BYTES: usize = 256 << 10;
/// Buffers of a fixed size in the engine: a mebibyte to copy, four to write.
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

// SAFETY: every call goes to the system's allocator unchanged; only a number is kept as well.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the promises that `System` requires.
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

/// Runs `work`. It may request as much memory at once as `bytes` of input justify.
pub fn bounded<T>(bytes: usize, work: impl FnOnce() -> T) -> T {
    LARGEST.store(0, Relaxed);
    let done = work();
    let largest = LARGEST.load(Relaxed);
    assert!(largest <= FIXED_BYTES + 16 * bytes, "{largest} B were requested at once, for {bytes} B of input");
    done
}

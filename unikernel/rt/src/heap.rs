//! The heap: talc over one page beside the driver's and over everything between the image's end and
//! the end of RAM, less what the driver receives into.
//!
//! The page comes first: it holds talc's lists and the allocations of a small request, so that such
//! a request writes no other page of the heap. Talc takes the smallest gap that fits.
//!
//! `docs/perf/allocator.md` says why talc.
#![allow(unsafe_code, reason = "the heap hands out addresses")]

use core::{
    alloc::{GlobalAlloc, Layout},
    cell::UnsafeCell,
    ptr,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
};

use jiffy_abi::layout::PAGE_BYTES;
use talc::{TalcCell, source::Manual};

/// A static of the guest's one thread, or of several that take turns.
#[derive(Debug)]
pub(crate) struct Global<T>(UnsafeCell<T>);

// SAFETY: one thread runs, is never interrupted, and has no other go on in the midst of what it does here: nothing is shared.
unsafe impl<T> Sync for Global<T> {}

impl<T> Global<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// The value's address; who makes a reference of it makes sure that it is the only one.
    pub(crate) const fn get(&self) -> *mut T {
        self.0.get()
    }
}

struct Heap(TalcCell<Manual>);

// SAFETY: as for `Global`.
unsafe impl Sync for Heap {}

#[global_allocator]
#[unsafe(link_section = ".bss.hot.shared")]
static HEAP: Heap = Heap(TalcCell::new(Manual));

/// Bytes of the allocation that failed last; zero if none has.
static FAILED_BYTES: AtomicUsize = AtomicUsize::new(0);

#[repr(C, align(4096))]
struct FirstPage([u8; PAGE_BYTES as usize]);

#[unsafe(link_section = ".bss.hot.heap")]
static FIRST_PAGE: Global<FirstPage> = Global::new(FirstPage([0; PAGE_BYTES as usize]));

#[cfg(feature = "std")]
static BYTES: core::sync::atomic::AtomicU64 = core::sync::atomic::AtomicU64::new(0);

/// Bytes of the heap, used and free.
#[cfg(feature = "std")]
pub fn heap_bytes() -> u64 {
    BYTES.load(Relaxed)
}

/// Gives the first page and `start..end` to the heap. Called once, before the first allocation.
pub(crate) fn claim(start: u64, end: u64) {
    #[cfg(feature = "std")]
    BYTES.store(end - start + PAGE_BYTES, Relaxed);
    // SAFETY: `FIRST_PAGE` is a static that nothing else refers to.
    unsafe { HEAP.0.claim(FIRST_PAGE.get().cast(), PAGE_BYTES as usize) };
    let base = ptr::with_exposed_provenance_mut(start as usize);
    // SAFETY: the VMM mapped the range read-write for this purpose and `_start` calls this once.
    unsafe { HEAP.0.claim(base, (end - start) as usize) };
}

/// Bytes of the allocation that failed last; zero if none has.
pub(crate) fn failed_bytes() -> u64 {
    FAILED_BYTES.load(Relaxed) as u64
}

fn noted(pointer: *mut u8, bytes: usize) -> *mut u8 {
    if pointer.is_null() {
        FAILED_BYTES.store(bytes, Relaxed);
    }
    pointer
}

// With threads, whoever allocates is looked at; once, and not wherever something is allocated.
// SAFETY: talc upholds the contract; a failed allocation is only noted on its way out.
unsafe impl GlobalAlloc for Heap {
    #[cfg_attr(not(feature = "std"), inline)]
    #[cfg_attr(feature = "std", inline(never))]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        #[cfg(feature = "std")]
        crate::tls::check_stack();
        // SAFETY: the caller's layout has a size, as this trait demands of it.
        noted(unsafe { self.0.alloc(layout) }, layout.size())
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller got the pointer from here with this layout.
        unsafe { self.0.dealloc(pointer, layout) }
    }

    #[cfg_attr(not(feature = "std"), inline)]
    #[cfg_attr(feature = "std", inline(never))]
    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        #[cfg(feature = "std")]
        crate::tls::check_stack();
        // SAFETY: the caller got the pointer from here with this layout; the new size is not zero.
        noted(
            unsafe { self.0.realloc(pointer, layout, new_bytes) },
            new_bytes,
        )
    }
}

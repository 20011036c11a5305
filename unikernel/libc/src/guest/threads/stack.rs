//! Stacks of threads: memory of the heap, with a zone below that is to stay as it is.
//!
//! There is no page below a stack that would fault: page tables are made when an image is loaded, and a function in ring 3
//! changes none. But threads take turns, so whoever wrote below its stack is found out before anybody else goes on: the zone
//! is looked at whenever a thread waits or ends. No function steps over it: whatever has a page or more of locals touches each
//! page of them first, as compilers see to for guard pages. And whoever allocates is looked at, too: that is cheap, because it
//! takes no more than the stack pointer, and what the allocator keeps may be the first that is written over.
#![allow(unsafe_code, reason = "a stack is memory that is used by address")]

use alloc::alloc::{alloc, dealloc, realloc};
use core::{alloc::Layout, ptr, slice};

use crate::guest::waiting::{Begun, Bounds};
use jiffy_rt::{THREAD_LOCALS_ALIGN_BYTES, make_thread_locals, thread_locals_bytes};

const PAGE_BYTES: usize = jiffy_abi::layout::PAGE_BYTES as usize;
/// What is below a stack: a page, and what a function may write below its frame without touching that.
const ZONE_BYTES: usize = PAGE_BYTES + 256;
const ZONE_WORD: u64 = 0x7ac4_5709_51a1_d0c5;

/// What `std` asks for if nobody said how large a stack is to be.
const BYTES_OF_STD: usize = 2 << 20;
/// Smallest stack, bytes: `PTHREAD_STACK_MIN`.
pub(super) const BYTES_MIN: usize = 16 << 10;
/// Smallest stack that a thread gets for which nobody asked for one, bytes.
const BYTES_DEFAULT_MIN: usize = 64 << 10;
/// A stack leaves so much of the heap in one piece, bytes: threads that have one will want more than that.
const REST_BYTES: usize = 64 << 10;
/// A thread for which nobody asked for a stack gets this part of the RAM.
const RAM_PARTS: usize = 128;

/// A stack, and above it the thread-locals of its thread and what is known of it.
pub(super) struct Stack {
    base: *mut u8,
    layout: Layout,
    bounds: Bounds,
}

/// How large a stack is for which `asked` was asked: that, but what `std` asks for by itself is a part of the RAM, of which a
/// function has far less than a process.
pub(super) fn granted(asked: usize) -> usize {
    let bytes = match asked {
        0 | BYTES_OF_STD => {
            let part = jiffy_rt::ram_bytes() as usize / RAM_PARTS;
            part.clamp(BYTES_DEFAULT_MIN, BYTES_OF_STD)
        }
        asked => asked.max(BYTES_MIN),
    };
    bytes
        .checked_next_multiple_of(THREAD_LOCALS_ALIGN_BYTES)
        .unwrap_or(usize::MAX & !(THREAD_LOCALS_ALIGN_BYTES - 1))
}

impl Stack {
    /// A stack of so many bytes as were asked for; `None` if there is no memory for it.
    pub(super) fn new(asked: usize) -> Option<Self> {
        let bytes = granted(asked);
        let all = bytes
            .checked_add(ZONE_BYTES)?
            .checked_add(thread_locals_bytes() + size_of::<Begun>())?;
        let layout = |bytes| Layout::from_size_align(bytes, THREAD_LOCALS_ALIGN_BYTES).ok();
        let with_rest = layout(all.checked_add(REST_BYTES)?)?;
        let layout = layout(all)?;
        // SAFETY: the layout has a size.
        let base = unsafe { alloc(with_rest) };
        if base.is_null() {
            return None;
        }
        // SAFETY: it was allocated so just now, and less of it is kept.
        let base = unsafe { realloc(base, with_rest, layout.size()) };
        if base.is_null() {
            return None;
        }
        let zone = base.expose_provenance();
        let bounds = Bounds {
            zone,
            bottom: zone + ZONE_BYTES,
            top: zone + ZONE_BYTES + bytes,
        };
        // SAFETY: so many bytes begin there, aligned to more than a word, and they are nobody else's.
        let zone = unsafe { slice::from_raw_parts_mut(base.cast::<u64>(), ZONE_BYTES / 8) };
        zone.fill(ZONE_WORD);
        Some(Self {
            base,
            layout,
            bounds,
        })
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    /// The upper end, aligned to 16.
    pub(super) fn top(&self) -> *mut u8 {
        self.base.wrapping_add(self.bounds.top - self.bounds.zone)
    }

    /// Makes the thread-locals above it: the thread pointer.
    pub(super) fn make_thread_locals(&self) -> usize {
        let block = self.top();
        // SAFETY: so many bytes begin there.
        unsafe { block.write_bytes(0, thread_locals_bytes()) };
        // SAFETY: they are zero, aligned as base and sizes are, and nobody else's.
        unsafe { make_thread_locals(block) }.expose_provenance()
    }

    /// Where there is room for what is known of the thread: uninitialised at first.
    pub(super) fn begun(&self) -> *mut Begun {
        // Aligned to 64, as the block below it is and its size.
        self.top().wrapping_add(thread_locals_bytes()).cast()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: it was allocated so, and its thread does not run any more.
        unsafe { dealloc(self.base, self.layout) };
    }
}

/// Whether nobody wrote below a stack, and `at`, which is an address of whoever runs on it, is in it.
pub(super) fn is_whole(stack: Bounds, at: usize) -> bool {
    let zone = ptr::with_exposed_provenance::<u64>(stack.zone);
    let is_whole = (0..ZONE_BYTES / 8).fold(0, |unlike, word| {
        // SAFETY: the zone has so many words. Whoever overflows its stack writes them behind Rust's back.
        unlike | unsafe { zone.wrapping_add(word).read_volatile() } ^ ZONE_WORD
    }) == 0;
    is_whole && (stack.bottom..stack.top).contains(&at)
}

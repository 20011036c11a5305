//! The contenders behind one face, each set up as a guest would: one region, one thread, no lock.

use std::{
    alloc::{GlobalAlloc, Layout},
    cell::Cell,
    io,
    mem::{align_of, size_of},
    ptr::{self, NonNull},
};

use crate::arena::{Arena, PAGE_BYTES};

/// An allocator over one region of memory. A null pointer means that the region is full.
pub(crate) trait Heap: Sized {
    const NAME: &'static str;

    /// # Safety
    /// The `len_bytes` bytes from `start` are the heap's alone as long as it lives.
    unsafe fn new(start: *mut u8, len_bytes: usize) -> Self;

    fn allocate(&mut self, layout: Layout) -> *mut u8;

    /// # Safety
    /// `block` came from this heap with this `layout` and is not used again.
    unsafe fn free(&mut self, block: *mut u8, layout: Layout);

    /// # Safety
    /// As for `free`, unless null is returned: then `block` stays as it is.
    unsafe fn resize(&mut self, block: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        let Ok(new_layout) = Layout::from_size_align(new_bytes, layout.align()) else {
            return ptr::null_mut();
        };
        let new = self.allocate(new_layout);
        if !new.is_null() {
            // SAFETY: both blocks are at least this long, and live blocks do not overlap.
            unsafe { ptr::copy_nonoverlapping(block, new, layout.size().min(new_bytes)) };
            // SAFETY: the caller vouches for `block`.
            unsafe { self.free(block, layout) };
        }
        new
    }
}

/// A heap whose own state lies in the arena too, on pages of its own, so that those count.
pub(crate) struct Placed<H: Heap> {
    heap: NonNull<H>,
    arena: Arena,
}

impl<H: Heap> Placed<H> {
    pub(crate) fn new(len_bytes: usize) -> io::Result<Self> {
        const { assert!(align_of::<H>() <= PAGE_BYTES) };
        let arena = Arena::new(len_bytes)?;
        let state_bytes = size_of::<H>().next_multiple_of(PAGE_BYTES);
        let heap: NonNull<H> = NonNull::new(arena.start().cast()).ok_or(io::ErrorKind::Other)?;
        // SAFETY: an arena is larger than the largest heap state.
        let start = unsafe { arena.start().add(state_bytes) };
        // SAFETY: the rest of the arena, which nobody else has an address of.
        let state = unsafe { H::new(start, arena.len_bytes() - state_bytes) };
        // SAFETY: page-aligned, large enough, and owned by this value.
        unsafe { heap.write(state) };
        Ok(Self { heap, arena })
    }

    pub(crate) fn heap(&mut self) -> &mut H {
        // SAFETY: written in `new`, and only reached through `self`.
        unsafe { self.heap.as_mut() }
    }

    pub(crate) fn arena(&mut self) -> &mut Arena {
        &mut self.arena
    }
}

pub(crate) struct Talc(talc::TalcCell<talc::source::Manual>);

impl Heap for Talc {
    const NAME: &'static str = "talc 5";

    unsafe fn new(start: *mut u8, len_bytes: usize) -> Self {
        let talc = talc::TalcCell::new(talc::source::Manual);
        // SAFETY: the caller gives the region away.
        unsafe { talc.claim(start, len_bytes) }.expect("room for the bins");
        Self(talc)
    }

    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: no trace holds a layout of zero bytes.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(block, layout) }
    }

    unsafe fn resize(&mut self, block: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        // SAFETY: as the caller promises; no trace resizes to zero bytes.
        unsafe { self.0.realloc(block, layout, new_bytes) }
    }
}

/// Two-level segregated fit with 28 × 16 size classes: enough for a region of 4 GiB.
pub(crate) struct Rlsf(rlsf::Tlsf<'static, u32, u16, 28, 16>);

impl Heap for Rlsf {
    const NAME: &'static str = "rlsf 0.2";

    unsafe fn new(start: *mut u8, len_bytes: usize) -> Self {
        let mut tlsf = rlsf::Tlsf::new();
        let region = ptr::slice_from_raw_parts_mut(start, len_bytes);
        let region = NonNull::new(region).expect("an arena is not at address 0");
        // SAFETY: the caller gives the region away.
        unsafe { tlsf.insert_free_block_ptr(region) }.expect("a region larger than a header");
        Self(tlsf)
    }

    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        self.0
            .allocate(layout)
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else {
            return;
        };
        // SAFETY: as the caller promises.
        unsafe { self.0.deallocate(block, layout.align()) }
    }

    unsafe fn resize(&mut self, block: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        let new_layout = Layout::from_size_align(new_bytes, layout.align()).ok();
        let resized = new_layout
            .zip(NonNull::new(block))
            .and_then(|(new_layout, block)| {
                // SAFETY: as the caller promises; the alignment is the old one.
                unsafe { self.0.reallocate(block, new_layout) }
            });
        resized.map_or(ptr::null_mut(), NonNull::as_ptr)
    }
}

/// Gives dlmalloc its region piece by piece, as `sbrk` did.
pub(crate) struct Bump {
    next: Cell<usize>,
    end: usize,
}

// SAFETY: every region returned is part of the one that `Dlmalloc::new` was given, and only once.
unsafe impl dlmalloc::Allocator for Bump {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        let start = self.next.get();
        if size > self.end - start {
            return (ptr::null_mut(), 0, 0);
        }
        self.next.set(start + size);
        (ptr::with_exposed_provenance_mut(start), size, 0)
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE_BYTES
    }
}

pub(crate) struct Dlmalloc(dlmalloc::Dlmalloc<Bump>);

impl Heap for Dlmalloc {
    const NAME: &'static str = "dlmalloc 0.2";

    unsafe fn new(start: *mut u8, len_bytes: usize) -> Self {
        let start = start.expose_provenance();
        let bump = Bump {
            next: Cell::new(start),
            end: start + len_bytes,
        };
        Self(dlmalloc::Dlmalloc::new_with_allocator(bump))
    }

    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        // SAFETY: any size and any power of two will do.
        unsafe { self.0.malloc(layout.size(), layout.align()) }
    }

    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { self.0.free(block, layout.size(), layout.align()) }
    }

    unsafe fn resize(&mut self, block: *mut u8, layout: Layout, new_bytes: usize) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe {
            self.0
                .realloc(block, layout.size(), layout.align(), new_bytes)
        }
    }
}

pub(crate) struct LinkedList(linked_list_allocator::Heap);

impl Heap for LinkedList {
    const NAME: &'static str = "linked_list_allocator 0.10";

    unsafe fn new(start: *mut u8, len_bytes: usize) -> Self {
        // SAFETY: the caller gives the region away.
        Self(unsafe { linked_list_allocator::Heap::new(start, len_bytes) })
    }

    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        self.0
            .allocate_first_fit(layout)
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else {
            return;
        };
        // SAFETY: as the caller promises.
        unsafe { self.0.deallocate(block, layout) }
    }
}

pub(crate) struct Buddy(buddy_system_allocator::Heap<32>);

impl Heap for Buddy {
    const NAME: &'static str = "buddy_system_allocator 0.13";

    unsafe fn new(start: *mut u8, len_bytes: usize) -> Self {
        let mut heap = buddy_system_allocator::Heap::new();
        // SAFETY: the caller gives the region away.
        unsafe { heap.init(start.expose_provenance(), len_bytes) };
        Self(heap)
    }

    fn allocate(&mut self, layout: Layout) -> *mut u8 {
        self.0
            .alloc(layout)
            .map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    unsafe fn free(&mut self, block: *mut u8, layout: Layout) {
        let Some(block) = NonNull::new(block) else {
            return;
        };
        // SAFETY: as the caller promises.
        unsafe { self.0.dealloc(block, layout) }
    }
}

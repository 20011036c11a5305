//! `malloc` and its family, and anonymous `mmap`, on the library OS's allocator.
//!
//! The allocator wants to know how large what it takes back is, so that stands before it: what C gets begins behind a header.
#![allow(unsafe_code, reason = "memory is handed out by address")]

use alloc::alloc::{alloc, alloc_zeroed, dealloc};
use core::{
    alloc::Layout,
    ffi::{c_int, c_long, c_void},
    ptr,
};

use crate::errno::{EINVAL, ENOMEM, ENOSYS, fail};

/// What every block is aligned to, `max_align_t`, and the room for its header.
pub(crate) const ALIGN_BYTES: usize = 16;
const PAGE_BYTES: usize = jiffy_abi::layout::PAGE_BYTES as usize;

/// Before a block: how many bytes C asked for, and what they are aligned to.
#[derive(Clone, Copy)]
#[repr(C)]
struct Header {
    bytes: usize,
    align_bytes: usize,
}
const _: () = assert!(size_of::<Header>() == ALIGN_BYTES);

impl Header {
    /// Of header and block together, and how far the block is from its beginning. `None` if there is no memory so large.
    fn layout(self) -> Option<(Layout, usize)> {
        let all_bytes = self.bytes.checked_add(self.align_bytes)?;
        let layout = Layout::from_size_align(all_bytes, self.align_bytes).ok()?;
        Some((layout, self.align_bytes))
    }
}

/// A block, or null and `ENOMEM`. `align_bytes` is a power of two, [`ALIGN_BYTES`] or more.
fn block(bytes: usize, align_bytes: usize, is_zeroed: bool) -> *mut c_void {
    let header = Header { bytes, align_bytes };
    let Some((layout, offset)) = header.layout() else {
        fail(ENOMEM);
        return ptr::null_mut();
    };
    let start = if is_zeroed {
        // SAFETY: the layout has a size, that of the header at least.
        unsafe { alloc_zeroed(layout) }
    } else {
        // SAFETY: as above.
        unsafe { alloc(layout) }
    };
    if start.is_null() {
        fail(ENOMEM);
        return ptr::null_mut();
    }
    let block = start.wrapping_add(offset);
    let before = block.wrapping_sub(size_of::<Header>()).cast::<Header>();
    // SAFETY: what was allocated begins so many bytes before the block, or more; all is aligned to 16.
    unsafe { before.write(header) };
    block.cast()
}

/// # Safety
///
/// `block` is one that [`block`] gave and that is not free.
unsafe fn header(block: *mut c_void) -> Header {
    // SAFETY: `block` wrote it there.
    unsafe { block.cast::<Header>().wrapping_sub(1).read() }
}

/// `bytes` of memory, or null and `ENOMEM`; of no bytes too it is a block of its own.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn malloc(bytes: usize) -> *mut c_void {
    block(bytes, ALIGN_BYTES, false)
}

/// As `malloc`, of `count` times `bytes` zeros.
#[unsafe(no_mangle)]
extern "C" fn calloc(count: usize, bytes: usize) -> *mut c_void {
    match count.checked_mul(bytes) {
        Some(bytes) => block(bytes, ALIGN_BYTES, true),
        None => {
            fail(ENOMEM);
            ptr::null_mut()
        }
    }
}

/// Takes a block back; null is none.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn free(block: *mut c_void) {
    if block.is_null() {
        return;
    }
    // SAFETY: the caller got it from here, and gives it back for the first time.
    let header = unsafe { header(block) };
    if let Some((layout, offset)) = header.layout() {
        // SAFETY: it was allocated with this layout and begins there.
        unsafe { dealloc(block.cast::<u8>().wrapping_sub(offset), layout) };
    }
}

/// A block of `bytes` that begins as the old one did, which is free then; null and `ENOMEM`, and the old one stays.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn realloc(old: *mut c_void, bytes: usize) -> *mut c_void {
    if old.is_null() {
        return malloc(bytes);
    }
    // SAFETY: the caller got it from here, and it is not free.
    let header = unsafe { header(old) };
    let new = block(bytes, header.align_bytes, false);
    if !new.is_null() {
        let kept = header.bytes.min(bytes);
        // SAFETY: both have so many bytes, and are two.
        unsafe { ptr::copy_nonoverlapping(old.cast::<u8>(), new.cast(), kept) };
        // SAFETY: as above.
        unsafe { free(old) };
    }
    new
}

/// As `realloc`, of `count` times `bytes`.
#[unsafe(no_mangle)]
unsafe extern "C" fn reallocarray(old: *mut c_void, count: usize, bytes: usize) -> *mut c_void {
    match count.checked_mul(bytes) {
        // SAFETY: as the caller's.
        Some(bytes) => unsafe { realloc(old, bytes) },
        None => {
            fail(ENOMEM);
            ptr::null_mut()
        }
    }
}

/// A block that is aligned to `align_bytes`: `EINVAL` if that is no power of two or less than a pointer, `ENOMEM`, or zero.
#[unsafe(no_mangle)]
unsafe extern "C" fn posix_memalign(
    to: *mut *mut c_void,
    align_bytes: usize,
    bytes: usize,
) -> c_int {
    if !align_bytes.is_power_of_two() || align_bytes < size_of::<usize>() {
        return EINVAL;
    }
    let block = block(bytes, align_bytes.max(ALIGN_BYTES), false);
    if block.is_null() {
        return ENOMEM;
    }
    // SAFETY: the caller gives the place.
    unsafe { to.write(block) };
    0
}

/// As `malloc`, aligned; null and `EINVAL` if `align_bytes` is no power of two.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn aligned_alloc(align_bytes: usize, bytes: usize) -> *mut c_void {
    if !align_bytes.is_power_of_two() {
        fail(EINVAL);
        return ptr::null_mut();
    }
    block(bytes, align_bytes.max(ALIGN_BYTES), false)
}

/// As `aligned_alloc`.
#[unsafe(no_mangle)]
extern "C" fn memalign(align_bytes: usize, bytes: usize) -> *mut c_void {
    aligned_alloc(align_bytes, bytes)
}

/// As `aligned_alloc`, to a page.
#[unsafe(no_mangle)]
extern "C" fn valloc(bytes: usize) -> *mut c_void {
    block(bytes, PAGE_BYTES, false)
}

/// Bytes of a block; none of null.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: the caller got it from here, and it is not free.
    unsafe { header(block) }.bytes
}

const PROT_EXEC: c_int = 4;
const MAP_FIXED: c_int = 0x10;
const MAP_ANONYMOUS: c_int = 0x20;
/// What `mmap` returns if it fails.
const MAP_FAILED: *mut c_void = ptr::without_provenance_mut(usize::MAX);

/// Zeroed memory in whole pages: anonymous, wherever there is room, readable and writable whatever `protection` says, but
/// not executable. Anything else fails with `ENOSYS`: there are no files, and no page tables that a function could change.
#[unsafe(no_mangle)]
extern "C" fn mmap(
    _at: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    _file: c_int,
    _offset: c_long,
) -> *mut c_void {
    if flags & MAP_ANONYMOUS == 0 || flags & MAP_FIXED != 0 || protection & PROT_EXEC != 0 {
        fail(ENOSYS);
        return MAP_FAILED;
    }
    let Some(bytes) = bytes
        .checked_next_multiple_of(PAGE_BYTES)
        .filter(|bytes| *bytes > 0)
    else {
        fail(EINVAL);
        return MAP_FAILED;
    };
    let block = block(bytes, PAGE_BYTES, true);
    if block.is_null() { MAP_FAILED } else { block }
}

/// As `mmap`.
#[unsafe(no_mangle)]
extern "C" fn mmap64(
    at: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    file: c_int,
    offset: c_long,
) -> *mut c_void {
    mmap(at, bytes, protection, flags, file, offset)
}

/// Takes back all that one `mmap` gave. A part of it fails with `ENOSYS` and stays.
#[unsafe(no_mangle)]
unsafe extern "C" fn munmap(at: *mut c_void, bytes: usize) -> c_int {
    if at.is_null() || !at.addr().is_multiple_of(PAGE_BYTES) {
        return fail(EINVAL);
    }
    // SAFETY: what the caller has at a page's beginning and gives back here came from `mmap`, or is a part of that: then
    // the page before it is its own too, and the header that is read there says another size.
    let header = unsafe { header(at) };
    let whole = bytes.checked_next_multiple_of(PAGE_BYTES);
    if header.align_bytes != PAGE_BYTES || whole != Some(header.bytes) {
        return fail(ENOSYS);
    }
    // SAFETY: as above: all of it.
    unsafe { free(at) };
    0
}

/// What was mapped cannot grow where it is: `ENOSYS`.
#[unsafe(no_mangle)]
extern "C" fn mremap() -> *mut c_void {
    fail(ENOSYS);
    MAP_FAILED
}

/// Rights of pages do not change; fewer of them than there are is nothing that a function could tell, more is `ENOSYS`.
#[unsafe(no_mangle)]
extern "C" fn mprotect(_at: *mut c_void, _bytes: usize, protection: c_int) -> c_int {
    if protection & PROT_EXEC != 0 {
        return fail(ENOSYS);
    }
    0
}

/// Advice, which is not needed; but `MADV_DONTNEED`, which promises zeros, is `ENOSYS`.
#[unsafe(no_mangle)]
extern "C" fn madvise(_at: *mut c_void, _bytes: usize, advice: c_int) -> c_int {
    const MADV_DONTNEED: c_int = 4;
    if advice == MADV_DONTNEED {
        return fail(ENOSYS);
    }
    0
}

//! Thread-locals: `fs` points behind a block of them, as the ABI of x86-64 has it (variant II).
//!
//! `init` and the requests have a block each, as two threads would. What `init` leaves in its thread-locals, such as the
//! keys of hash tables and the state of a random generator, would otherwise be the same in every clone of the snapshot.
//! Nobody ends either thread, so destructors of thread-locals are not run.
#![allow(unsafe_code, reason = "thread-locals are found by a register")]

use alloc::alloc::{alloc_zeroed, handle_alloc_error};
use core::{
    alloc::Layout,
    arch::asm,
    hint, ptr,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

/// As much as `image-std.ld` allows a thread-local to be aligned.
const ALIGN_BYTES: usize = 64;
/// What lies at the thread pointer: itself, and room for what C keeps there.
const POINTER_BYTES: usize = 64;

// From `image-std.ld`.
unsafe extern "C" {
    static __tls_start: u8;
    static __tls_file_end: u8;
    /// Its address is a number of bytes, a multiple of [`ALIGN_BYTES`].
    static __tls_bytes: u8;
    static mut __tls_init: u8;
}

unsafe extern "Rust" {
    /// `jiffy-libc` defines it: makes ready, in the snapshot, what each request would make anew.
    safe fn __jiffy_begin_requests();
}

/// Where the block for requests begins.
static REQUESTS: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());

fn bytes() -> usize {
    (&raw const __tls_bytes).addr()
}

/// Makes both blocks and gives `init` its own. That of requests is made first, so that it lies in the heap's first page,
/// which requests write anyway.
pub(crate) fn begin() {
    let layout = Layout::from_size_align(bytes() + POINTER_BYTES, ALIGN_BYTES)
        .unwrap_or(Layout::new::<u64>()); // That has no more than an address space.
    // SAFETY: the layout has a size.
    let block = unsafe { alloc_zeroed(layout) };
    if block.is_null() {
        handle_alloc_error(layout);
    }
    REQUESTS.store(block, Relaxed);
    let of_init = &raw mut __tls_init;
    // SAFETY: the script leaves that many bytes there, aligned and for this alone; the loader zeroed them.
    unsafe { enter(of_init) };
}

/// From here on, thread-locals are those of requests.
#[inline(never)]
pub(crate) fn begin_requests() {
    let block = REQUESTS.load(Relaxed);
    // SAFETY: `begin` made the block, zeroed, and gave it to nobody else.
    unsafe { enter(block) };
    // Not known to the compiler, as in `serve`: it must find its thread-locals only now.
    let begin: fn() = __jiffy_begin_requests;
    hint::black_box(begin)();
}

/// What the ABI calls the thread pointer: another one for `init` than for requests.
pub fn thread_pointer() -> usize {
    let pointer;
    // SAFETY: what the register points to is its own address, since `begin`.
    unsafe {
        asm!("mov {}, fs:[0]", out(reg) pointer, options(nostack, preserves_flags, readonly));
    }
    pointer
}

/// Makes a block that of thread-locals.
///
/// # Safety
///
/// `block` is aligned to [`ALIGN_BYTES`] and has [`bytes`] and [`POINTER_BYTES`], all zero, which are nobody else's. The
/// caller has no reference to a thread-local, and nor have its callers.
unsafe fn enter(block: *mut u8) {
    let start = &raw const __tls_start;
    let in_file = (&raw const __tls_file_end).addr() - start.addr();
    // SAFETY: the script has so many bytes there, and the block has room for more than those.
    unsafe { ptr::copy_nonoverlapping(start, block, in_file) };
    // SAFETY: the block has room for a pointer there.
    let pointer = unsafe { block.add(bytes()) };
    // SAFETY: as above; it is aligned, because block and size are.
    unsafe { pointer.cast::<*mut u8>().write(pointer) };
    // SAFETY: guests may set the register, and nobody relies on what it was, says the caller.
    unsafe { asm!("wrfsbase {}", in(reg) pointer, options(nostack, preserves_flags)) };
}

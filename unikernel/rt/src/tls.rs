//! Thread-locals: `fs` points behind a block of them, as the ABI of x86-64 has it (variant II).
//!
//! `init` and the requests have a block each, as two threads would. What `init` leaves in its thread-locals, such as the
//! keys of hash tables and the state of a random generator, would otherwise be the same in every clone of the snapshot.
//! Nobody ends either thread, so their destructors of thread-locals are not run.
//! Threads that the function begins have a block each: `jiffy-libc` makes it of what is here, and switches.
#![allow(unsafe_code, reason = "thread-locals are found by a register")]

use alloc::alloc::{alloc_zeroed, handle_alloc_error};
use core::{
    alloc::Layout,
    arch::asm,
    hint, ptr,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

use crate::others::others;

/// As much as `image-std.ld` allows a thread-local to be aligned.
pub const THREAD_LOCALS_ALIGN_BYTES: usize = 64;
const ALIGN_BYTES: usize = THREAD_LOCALS_ALIGN_BYTES;
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

/// Bytes of a thread's block: its thread-locals and what lies at the thread pointer. A multiple of
/// [`THREAD_LOCALS_ALIGN_BYTES`].
pub fn thread_locals_bytes() -> usize {
    bytes() + POINTER_BYTES
}

/// Makes both blocks and gives `init` its own. That of requests is what is allocated first, so that it lies in the heap's first
/// page, which requests write anyway.
pub(crate) fn begin() {
    let layout =
        Layout::from_size_align(thread_locals_bytes(), ALIGN_BYTES).unwrap_or(Layout::new::<u64>()); // That has no more than an address space.
    let of_init = &raw mut __tls_init;
    // SAFETY: the script leaves that many bytes there, aligned and for this alone; the loader zeroed them.
    unsafe { enter(of_init) };
    // SAFETY: the layout has a size.
    let block = unsafe { alloc_zeroed(layout) };
    if block.is_null() {
        handle_alloc_error(layout);
    }
    REQUESTS.store(block, Relaxed);
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

/// Does `work` with the thread-locals of `init`, which nobody else needs while a request is in hand. An executor that is woken
/// while its thread waits would otherwise find itself running, and think that it need not be woken.
pub(crate) fn as_init<T>(work: fn(T), argument: T) {
    let own = thread_pointer();
    let of_init = (&raw const __tls_init).addr() + bytes();
    set_pointer(of_init);
    // Not known to the compiler, as in `serve`: it must find its thread-locals only now.
    hint::black_box(work)(argument);
    set_pointer(own);
}

fn set_pointer(pointer: usize) {
    // SAFETY: both that it is called with are thread pointers, and what is between the two calls finds its thread-locals after
    // the first, and forgets them before the second.
    unsafe { asm!("wrfsbase {}", in(reg) pointer, options(nostack, preserves_flags)) };
}

/// What the thread keeps beside its pointer: one of the words 1 to 4. They begin as zeros, and C has nothing else there.
pub fn thread_word<const WORD: usize>() -> usize {
    const { assert!(1 <= WORD && WORD <= 4) };
    let word;
    // SAFETY: the block of every thread has so many words at its pointer.
    unsafe {
        asm!("mov {}, fs:[8 * {}]", out(reg) word, const WORD, options(nostack, preserves_flags, readonly));
    }
    word
}

/// Sets a word of [`thread_word`].
pub fn set_thread_word<const WORD: usize>(word: usize) {
    const { assert!(1 <= WORD && WORD <= 4) };
    // SAFETY: as above, and nobody has a reference to them.
    unsafe {
        asm!("mov fs:[8 * {}], {}", const WORD, in(reg) word, options(nostack, preserves_flags));
    }
}

/// Where the lowest address of the thread's stack is among its words; zero for `init` and requests, below whose stack is a
/// page that faults.
const STACK_BOTTOM: usize = 3;

/// Whoever allocates in this thread is to be above this address.
pub fn set_stack_bottom(bottom: usize) {
    set_thread_word::<STACK_BOTTOM>(bottom);
}

/// Ends the VM if this thread is below its stack, where it would write over what is not its own.
#[inline(always)]
pub(crate) fn check_stack() {
    let here: usize;
    // SAFETY: reads one register.
    unsafe { asm!("mov {}, rsp", out(reg) here, options(nomem, nostack, preserves_flags)) };
    if here < thread_word::<STACK_BOTTOM>() {
        overflowed();
    }
}

#[cold]
fn overflowed() {
    if let Some(others) = others() {
        (others.stack_overflowed)();
    }
}

/// Makes a block that of a thread's thread-locals, as they begin: its thread pointer.
///
/// # Safety
///
/// `block` is aligned to [`THREAD_LOCALS_ALIGN_BYTES`] and has [`thread_locals_bytes`], all zero, which are nobody else's.
pub unsafe fn make_thread_locals(block: *mut u8) -> *mut u8 {
    let start = &raw const __tls_start;
    let in_file = (&raw const __tls_file_end).addr() - start.addr();
    // SAFETY: the script has so many bytes there, and the block has room for more than those.
    unsafe { ptr::copy_nonoverlapping(start, block, in_file) };
    // SAFETY: the block has room for a pointer there.
    let pointer = unsafe { block.add(bytes()) };
    // SAFETY: as above; it is aligned, because block and size are.
    unsafe { pointer.cast::<*mut u8>().write(pointer) };
    pointer
}

/// Makes a block that of thread-locals, and enters it.
///
/// # Safety
///
/// As for [`make_thread_locals`]; and the caller has no reference to a thread-local, and nor have its callers.
unsafe fn enter(block: *mut u8) {
    // SAFETY: says the caller.
    let pointer = unsafe { make_thread_locals(block) };
    // SAFETY: guests may set the register, and nobody relies on what it was, says the caller.
    unsafe { asm!("wrfsbase {}", in(reg) pointer, options(nostack, preserves_flags)) };
}

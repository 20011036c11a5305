//! What is ready before anything of the function runs, and what is done when it has answered.
#![allow(unsafe_code, reason = "initialisers are found by the linker")]

use alloc::{boxed::Box, vec::Vec};
use core::{
    ffi::{c_char, c_int},
    hint, ptr,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

use std::{
    io::{Write, stdout},
    panic::{PanicHookInfo, set_hook},
};

#[cfg(not(feature = "unwind"))]
use super::waiting::with_begun;
use super::{
    environment,
    stdio::{end_lines, forget_last_words},
    waiting::threads,
};

type Initialiser = unsafe extern "C" fn(c_int, *const *const c_char, *const *mut c_char);

// From `image-std.ld`.
unsafe extern "C" {
    static __init_array_start: Initialiser;
    static __init_array_end: Initialiser;
}

/// The arguments: one, what a program is called by. Never freed, as `std` looks at them later.
struct Arguments([*const c_char; 2]);
// SAFETY: nobody changes them.
unsafe impl Sync for Arguments {}
static ARGUMENTS: Arguments = Arguments([c"function".as_ptr(), ptr::null()]);

#[unsafe(no_mangle)]
static program_invocation_short_name: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Makes the environment, takes over panics from `std`, and calls the initialisers of the image, each with arguments and environment, as C's `_start` does.
/// Called once, before anything of the function.
pub fn start() {
    environment::begin();
    program_invocation_short_name.store(ARGUMENTS.0[0].cast_mut(), Relaxed);
    let first = &raw const __init_array_start;
    let bytes = (&raw const __init_array_end).addr() - first.addr();
    let variables = environment::environ.load(Relaxed);
    for number in 0..bytes / size_of::<Initialiser>() {
        // SAFETY: the script has so many pointers there, which compilers put there to be called.
        let initialiser = unsafe { first.wrapping_add(number).read() };
        // SAFETY: as above; this is how C calls them.
        unsafe { initialiser(1, ARGUMENTS.0.as_ptr(), variables) };
    }
    // The function may take it over in its turn.
    set_hook(Box::new(panicked));
}

/// Ends the VM because of a panic, with its message and where it was; where panics unwind, tells of it and has it begin.
fn panicked(panic: &PanicHookInfo<'_>) {
    end_lines();
    // What is not text is what somebody gave to `panic_any`.
    let message = panic.payload_as_str().unwrap_or("a value that is not text");
    #[cfg(feature = "unwind")]
    super::panics::begun(message, panic.location());
    #[cfg(not(feature = "unwind"))]
    {
        if let Some(panicked) = with_begun(|begun| begun.panicked) {
            panicked(message, panic.location());
        }
        jiffy_rt::panicked(message, panic.location())
    }
}

/// Has the threads that `init` began go on until each waits, so that this is in the snapshot and not done by every request.
pub fn end_of_init() {
    if let Some(threads) = threads() {
        (threads.settle)();
    }
}

/// Makes ready what each request would make anew: the buffer of `stdout`, and the number of their thread, which its lock asks
/// for.
#[unsafe(no_mangle)]
fn __jiffy_begin_requests() {
    // Keeps the buffer out of the heap's first page, which is for what small requests allocate.
    let first_page: Vec<u8> = Vec::with_capacity(3 << 10);
    end_of_request();
    drop(hint::black_box(first_page));
}

/// Writes what was printed without the end of a line, and forgets the last words: they are this request's, and not the next
/// one's.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the function's, and not a program's"
)]
pub fn end_of_request() {
    let _ = stdout().flush(); // The log takes all.
    end_lines();
    forget_last_words();
    #[cfg(feature = "unwind")]
    super::panics::forget();
}

//! As much of a C++ runtime as programs need that are built without exceptions and run-time types: `new` and `delete`, statics
//! that are made when they are first used, and what the library's templates call when they cannot go on.
#![allow(unsafe_code, reason = "C's symbols")]

use alloc::format;
use core::ffi::{c_char, c_int, c_void};

use super::{
    memory::{aligned_alloc, free, malloc},
    processes::give_up,
};
use crate::texts::bytes_of;

/// Memory that is there: without it the VM ends, as out of memory.
fn must(block: *mut c_void, bytes: usize) -> *mut c_void {
    if block.is_null() {
        jiffy_rt::out_of_memory(bytes as u64);
    }
    block
}

/// `new`, by the names that compilers make of it.
macro_rules! news {
    ($($name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name(bytes: usize) -> *mut c_void {
                must(malloc(bytes), bytes)
            }
        )+
    };
}
news! { _Znwm _Znam }

/// As `new`, aligned.
macro_rules! aligned_news {
    ($($name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name(bytes: usize, align_bytes: usize) -> *mut c_void {
                must(aligned_alloc(align_bytes, bytes), bytes)
            }
        )+
    };
}
aligned_news! { _ZnwmSt11align_val_t _ZnamSt11align_val_t }

/// `new (std::nothrow)`: null if there is no memory.
macro_rules! nothrow_news {
    ($($name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name(bytes: usize, _nothrow: *const c_void) -> *mut c_void {
                malloc(bytes)
            }
        )+
    };
}
nothrow_news! { _ZnwmRKSt9nothrow_t _ZnamRKSt9nothrow_t }

/// `delete`: size and alignment that come with it are known already.
macro_rules! deletes {
    ($($name:ident)+) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(block: *mut c_void) {
                // SAFETY: as the caller's.
                unsafe { free(block) };
            }
        )+
    };
}
deletes! {
    _ZdlPv _ZdaPv _ZdlPvm _ZdaPvm _ZdlPvSt11align_val_t _ZdaPvSt11align_val_t _ZdlPvmSt11align_val_t _ZdaPvmSt11align_val_t
    _ZdlPvRKSt9nothrow_t _ZdaPvRKSt9nothrow_t
}

/// What `nothrow` is.
#[unsafe(no_mangle)]
static _ZSt7nothrow: u8 = 0;

/// Whether a static is still to be made: 1, and then the caller makes it.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cxa_guard_acquire(guard: *mut u8) -> c_int {
    // SAFETY: the caller has eight bytes there, zero at first.
    c_int::from(unsafe { guard.read() } == 0)
}

/// A static was made.
#[unsafe(no_mangle)]
unsafe extern "C" fn __cxa_guard_release(guard: *mut u8) {
    // SAFETY: as above.
    unsafe { guard.write(1) };
}

/// A static was not made: it is tried again.
#[unsafe(no_mangle)]
extern "C" fn __cxa_guard_abort(_guard: *mut u8) {}

/// A method was called that no class has.
#[unsafe(no_mangle)]
extern "C" fn __cxa_pure_virtual() -> ! {
    give_up("a pure virtual method was called")
}

/// As `__cxa_pure_virtual`.
#[unsafe(no_mangle)]
extern "C" fn __cxa_deleted_virtual() -> ! {
    give_up("a deleted virtual method was called")
}

/// `std::terminate`.
#[unsafe(no_mangle)]
extern "C" fn _ZSt9terminatev() -> ! {
    give_up("std::terminate was called")
}

/// What the library's templates call instead of throwing, with a text that says why.
macro_rules! throws {
    ($($name:ident $what:literal)+) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(why: *const c_char) -> ! {
                // SAFETY: it is a text, says the caller.
                let why = alloc::string::String::from_utf8_lossy(unsafe { bytes_of(why) });
                give_up(&format!(concat!($what, ": {}"), why))
            }
        )+
    };
}
throws! {
    _ZSt20__throw_length_errorPKc "std::length_error"
    _ZSt20__throw_out_of_rangePKc "std::out_of_range"
    _ZSt19__throw_logic_errorPKc "std::logic_error"
    _ZSt24__throw_invalid_argumentPKc "std::invalid_argument"
    _ZSt24__throw_out_of_range_fmtPKcz "std::out_of_range"
}

/// As those above, without a text.
macro_rules! throws_nothing {
    ($($name:ident $what:literal)+) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> ! {
                give_up($what)
            }
        )+
    };
}
throws_nothing! {
    _ZSt25__throw_bad_function_callv "std::bad_function_call"
    _ZSt28__throw_bad_array_new_lengthv "std::bad_array_new_length"
    _ZSt17__throw_bad_allocv "std::bad_alloc"
}

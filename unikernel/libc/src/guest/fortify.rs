//! What compilers put around C that is built with `_FORTIFY_SOURCE` or `-fstack-protector`, as libraries of distributions are.
//!
//! They are supplied, rather than switched off by flags, because an archive that somebody else compiled can be linked then too.
//! A check that fails ends the VM and says which. The guard of the stack lies at `fs:0x28`, in the room behind each block of
//! thread-locals: it is zero, which catches what runs over the end of an array as long as it is not zeros, and is no secret.
#![allow(unsafe_code, reason = "C's symbols")]

use core::{
    ffi::{c_char, c_int, c_long, c_void},
    ptr,
};

use super::{
    processes::give_up,
    streams::{FILE, vasprintf, vsnprintf},
};
use crate::{
    format::list::{List, with_list},
    strings::strnlen,
    texts::bytes_of,
};

/// The guard of a function's frame was written over.
#[unsafe(no_mangle)]
extern "C" fn __stack_chk_fail() -> ! {
    give_up("stack smashing detected: a function wrote beyond the end of an array on its stack")
}

/// As `__stack_chk_fail`.
#[unsafe(no_mangle)]
extern "C" fn __stack_chk_fail_local() -> ! {
    __stack_chk_fail()
}

/// A buffer would have been written over.
#[unsafe(no_mangle)]
extern "C" fn __chk_fail() -> ! {
    give_up(
        "buffer overflow detected: a function of C would have written beyond the end of its buffer",
    )
}

/// As the functions that have the name without `__` and `_chk`, if there is so much room.
macro_rules! checked {
    ($($name:ident = $of:ident($to:ident, $from:ident: $from_type:ty, $bytes:ident);)+) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(
                $to: *mut c_void,
                $from: $from_type,
                $bytes: usize,
                room: usize,
            ) -> *mut c_void {
                if $bytes > room {
                    __chk_fail();
                }
                // SAFETY: as the caller's.
                unsafe { $of($to, $from, $bytes) };
                $to
            }
        )+
    };
}

unsafe fn copy(to: *mut c_void, from: *const c_void, bytes: usize) {
    // SAFETY: says the caller.
    unsafe { ptr::copy(from.cast::<u8>(), to.cast(), bytes) };
}

unsafe fn fill(to: *mut c_void, byte: c_int, bytes: usize) {
    // SAFETY: says the caller.
    unsafe { to.cast::<u8>().write_bytes(byte as u8, bytes) };
}

unsafe fn copy_text(to: *mut c_void, from: *const c_void, bytes: usize) {
    // SAFETY: says the caller.
    unsafe { crate::texts::strncpy(to.cast(), from.cast(), bytes) };
}

checked! {
    __memcpy_chk = copy(to, from: *const c_void, bytes);
    __memmove_chk = copy(to, from: *const c_void, bytes);
    __memset_chk = fill(to, byte: c_int, bytes);
    __strncpy_chk = copy_text(to, from: *const c_void, bytes);
}

/// As `mempcpy`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __mempcpy_chk(
    to: *mut c_void,
    from: *const c_void,
    bytes: usize,
    room: usize,
) -> *mut c_void {
    // SAFETY: as the caller's.
    unsafe { __memcpy_chk(to, from, bytes, room) };
    to.wrapping_byte_add(bytes)
}

/// As `explicit_bzero`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __explicit_bzero_chk(to: *mut u8, bytes: usize, room: usize) {
    if bytes > room {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { crate::texts::explicit_bzero(to, bytes) };
}

/// As `strcpy`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __strcpy_chk(
    to: *mut c_char,
    from: *const c_char,
    room: usize,
) -> *mut c_char {
    // SAFETY: as the caller's.
    unsafe { __stpcpy_chk(to, from, room) };
    to
}

/// As `stpcpy`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __stpcpy_chk(
    to: *mut c_char,
    from: *const c_char,
    room: usize,
) -> *mut c_char {
    // SAFETY: it is a text.
    if unsafe { bytes_of(from) }.len() >= room {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { crate::texts::stpcpy(to, from) }
}

/// As `strcat`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __strcat_chk(
    to: *mut c_char,
    from: *const c_char,
    room: usize,
) -> *mut c_char {
    // SAFETY: as the caller's.
    unsafe { __strncat_chk(to, from, usize::MAX, room) }
}

/// As `strncat`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __strncat_chk(
    to: *mut c_char,
    from: *const c_char,
    bytes: usize,
    room: usize,
) -> *mut c_char {
    // SAFETY: it is a text.
    let before = unsafe { bytes_of(to) }.len();
    // SAFETY: it is a text, or has so many bytes.
    let more = unsafe { strnlen(from, bytes) };
    if before + more >= room {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { crate::texts::strncat(to, from, bytes) }
}

unsafe extern "C" fn print_checked(
    to: *mut c_char,
    bytes: usize,
    _flag: c_int,
    room: usize,
    format: *const c_char,
    list: List,
) -> c_int {
    if bytes > room {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { vsnprintf(to, bytes, format, list) }
}

/// As `vsnprintf`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vsnprintf_chk(
    to: *mut c_char,
    bytes: usize,
    flag: c_int,
    room: usize,
    format: *const c_char,
    list: List,
) -> c_int {
    // SAFETY: as the caller's.
    unsafe { print_checked(to, bytes, flag, room, format, list) }
}

/// As `vsprintf`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vsprintf_chk(
    to: *mut c_char,
    _flag: c_int,
    room: usize,
    format: *const c_char,
    list: List,
) -> c_int {
    // SAFETY: as the caller's.
    let bytes = unsafe { vsnprintf(to, room, format, list) };
    if usize::try_from(bytes).is_ok_and(|bytes| bytes >= room) {
        __chk_fail();
    }
    bytes
}

unsafe extern "C" {
    fn vfprintf(stream: *mut FILE, format: *const c_char, list: List) -> c_int;
    fn vprintf(format: *const c_char, list: List) -> c_int;
    fn vdprintf(descriptor: c_int, format: *const c_char, list: List) -> c_int;
}

/// As `vfprintf`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vfprintf_chk(
    stream: *mut FILE,
    _flag: c_int,
    format: *const c_char,
    list: List,
) -> c_int {
    // SAFETY: as the caller's.
    unsafe { vfprintf(stream, format, list) }
}

/// As `vprintf`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vprintf_chk(_flag: c_int, format: *const c_char, list: List) -> c_int {
    // SAFETY: as the caller's.
    unsafe { vprintf(format, list) }
}

/// As `vdprintf`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vdprintf_chk(
    descriptor: c_int,
    _flag: c_int,
    format: *const c_char,
    list: List,
) -> c_int {
    // SAFETY: as the caller's.
    unsafe { vdprintf(descriptor, format, list) }
}

/// As `vasprintf`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __vasprintf_chk(
    to: *mut *mut c_char,
    _flag: c_int,
    format: *const c_char,
    list: List,
) -> c_int {
    // SAFETY: as the caller's.
    unsafe { vasprintf(to, format, list) }
}

with_list! {
    /// As `printf`.
    __printf_chk[2 "rdx"] => __vprintf_chk;
    /// As `fprintf`.
    __fprintf_chk[3 "rcx"] => __vfprintf_chk;
    /// As `dprintf`.
    __dprintf_chk[3 "rcx"] => __vdprintf_chk;
    /// As `sprintf`.
    __sprintf_chk[4 "r8"] => __vsprintf_chk;
    /// As `snprintf`.
    __snprintf_chk[5 "r9"] => __vsnprintf_chk;
    /// As `asprintf`.
    __asprintf_chk[3 "rcx"] => __vasprintf_chk;
}

/// The word of a set of descriptors; none is beyond 1024.
#[unsafe(no_mangle)]
extern "C" fn __fdelt_chk(descriptor: c_long) -> c_long {
    if !(0..1024).contains(&descriptor) {
        __chk_fail();
    }
    descriptor / 64
}

/// As `read`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __read_chk(
    descriptor: c_int,
    to: *mut c_void,
    bytes: usize,
    room: usize,
) -> isize {
    unsafe extern "C" {
        fn read(descriptor: c_int, to: *mut c_void, bytes: usize) -> isize;
    }
    if bytes > room {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { read(descriptor, to, bytes) }
}

unsafe extern "C" {
    fn fread(to: *mut c_void, size: usize, count: usize, stream: *mut FILE) -> usize;
    fn fgets(to: *mut c_char, bytes: c_int, stream: *mut FILE) -> *mut c_char;
    fn readlink(path: *const c_char, to: *mut c_char, bytes: usize) -> isize;
    fn getcwd(to: *mut c_char, bytes: usize) -> *mut c_char;
    fn realpath(path: *const c_char, to: *mut c_char) -> *mut c_char;
    fn open64(path: *const c_char, flags: c_int, ...) -> c_int;
}

/// As `fread`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __fread_chk(
    to: *mut c_void,
    room: usize,
    size: usize,
    count: usize,
    stream: *mut FILE,
) -> usize {
    if size.checked_mul(count).is_none_or(|bytes| bytes > room) {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { fread(to, size, count, stream) }
}

/// As `fgets`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __fgets_chk(
    to: *mut c_char,
    room: usize,
    bytes: c_int,
    stream: *mut FILE,
) -> *mut c_char {
    if usize::try_from(bytes).is_ok_and(|bytes| bytes > room) {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { fgets(to, bytes, stream) }
}

/// As `readlink`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __readlink_chk(
    path: *const c_char,
    to: *mut c_char,
    bytes: usize,
    room: usize,
) -> isize {
    if bytes > room {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { readlink(path, to, bytes) }
}

/// As `getcwd`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __getcwd_chk(to: *mut c_char, bytes: usize, room: usize) -> *mut c_char {
    if bytes > room {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { getcwd(to, bytes) }
}

/// As `realpath`, whose room is that of any path.
#[unsafe(no_mangle)]
unsafe extern "C" fn __realpath_chk(
    path: *const c_char,
    to: *mut c_char,
    room: usize,
) -> *mut c_char {
    const PATH_MAX: usize = 4096;
    if room < PATH_MAX {
        __chk_fail();
    }
    // SAFETY: as the caller's.
    unsafe { realpath(path, to) }
}

/// As `open`, of a file that is there: without a mode none is made.
#[unsafe(no_mangle)]
unsafe extern "C" fn __open_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open64(path, flags, 0) }
}

/// As `__open_2`.
#[unsafe(no_mangle)]
unsafe extern "C" fn __open64_2(path: *const c_char, flags: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe { __open_2(path, flags) }
}

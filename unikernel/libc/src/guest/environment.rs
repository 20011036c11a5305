//! The environment: what the deploy said, in the page where it lies, and what the function changes of it.
//!
//! A change is the VM's own: in `fresh` isolation the next request has the deploy's again.
#![allow(unsafe_code, reason = "C's texts are addresses")]

use alloc::{ffi::CString, vec, vec::Vec};
use core::{
    ffi::{CStr, c_char, c_int},
    ptr,
    sync::atomic::{AtomicPtr, Ordering::Relaxed},
};

use super::one_thread::OneThread;
use crate::{
    errno::{EINVAL, ENOMEM, fail},
    strings::strncmp,
};

/// The table that C programs read themselves: texts `NAME=VALUE`, and null.
#[unsafe(no_mangle)]
pub(crate) static environ: AtomicPtr<*mut c_char> = AtomicPtr::new(ptr::null_mut());

/// The same table.
#[unsafe(no_mangle)]
static __environ: AtomicPtr<*mut c_char> = AtomicPtr::new(ptr::null_mut());

static TABLE: OneThread<Vec<*mut c_char>> = OneThread::new(Vec::new());

/// Makes the table of what the VMM wrote.
pub(crate) fn begin() {
    let page = jiffy_rt::environment();
    let mut table = vec![];
    let mut rest = &page[..];
    while let Ok(text) = CStr::from_bytes_until_nul(rest) {
        let bytes = text.to_bytes();
        if bytes.is_empty() {
            break;
        }
        if bytes.contains(&b'=') {
            table.push(text.as_ptr().cast_mut());
        }
        rest = &rest[bytes.len() + 1..];
    }
    table.push(ptr::null_mut());
    publish(table);
}

fn publish(mut table: Vec<*mut c_char>) {
    environ.store(table.as_mut_ptr(), Relaxed);
    __environ.store(table.as_mut_ptr(), Relaxed);
    TABLE.with(|old| *old = table);
}

/// Where a variable is in the table, and what follows its `=`.
///
/// # Safety
///
/// `name` is a text.
unsafe fn find(name: *const c_char) -> Option<(usize, *mut c_char)> {
    // SAFETY: says the caller.
    let bytes = unsafe { CStr::from_ptr(name) }.count_bytes();
    let table = environ.load(Relaxed);
    if table.is_null() {
        return None;
    }
    for number in 0.. {
        // SAFETY: a table ends with null, and no end was seen yet.
        let variable = unsafe { table.wrapping_add(number).read() };
        if variable.is_null() {
            return None;
        }
        // SAFETY: both are texts.
        let is_same = unsafe { strncmp(variable, name, bytes) } == 0;
        // SAFETY: if the first bytes are the same, it has one more, its zero at least.
        if is_same && unsafe { variable.wrapping_add(bytes).read() } == b'=' as c_char {
            return Some((number, variable.wrapping_add(bytes + 1)));
        }
    }
    None
}

/// The value of a variable, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn getenv(name: *const c_char) -> *mut c_char {
    // SAFETY: it is a text, says the caller.
    unsafe { find(name) }.map_or(ptr::null_mut(), |(_, value)| value)
}

/// As `getenv`: nothing here runs with rights of others.
#[unsafe(no_mangle)]
unsafe extern "C" fn secure_getenv(name: *const c_char) -> *mut c_char {
    // SAFETY: as the caller's.
    unsafe { getenv(name) }
}

/// Sets a variable, which it may have already if `overwrites`; `EINVAL` if the name is empty or has a `=`. The old text
/// stays, because somebody may still read it.
#[unsafe(no_mangle)]
unsafe extern "C" fn setenv(name: *const c_char, value: *const c_char, overwrites: c_int) -> c_int {
    if name.is_null() {
        return fail(EINVAL);
    }
    // SAFETY: both are texts.
    let name_text = unsafe { CStr::from_ptr(name) }.to_bytes();
    if name_text.is_empty() || name_text.contains(&b'=') {
        return fail(EINVAL);
    }
    // SAFETY: as above.
    let value = unsafe { CStr::from_ptr(value) }.to_bytes();
    // SAFETY: as above.
    let found = unsafe { find(name) };
    if found.is_some() && overwrites == 0 {
        return 0;
    }
    let Ok(text) = CString::new([name_text, b"=", value].concat()) else {
        return fail(ENOMEM); // Neither has a zero in it.
    };
    put(found.map(|(number, _)| number), text.into_raw());
    0
}

/// Has `text`, `NAME=VALUE`, be a variable as long as it lies there; one without a `=` is taken away, as glibc has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn putenv(text: *mut c_char) -> c_int {
    // SAFETY: it is a text, says the caller.
    let bytes = unsafe { CStr::from_ptr(text) }.to_bytes();
    let Some(end) = bytes.iter().position(|byte| *byte == b'=') else {
        // SAFETY: as above.
        return unsafe { unsetenv(text) };
    };
    let Ok(name) = CString::new(&bytes[..end]) else {
        return fail(EINVAL); // It has no zero in it.
    };
    // SAFETY: it is a text.
    let found = unsafe { find(name.as_ptr()) };
    put(found.map(|(number, _)| number), text);
    0
}

/// Puts a text into the table, in the place of another one if that is said.
fn put(instead_of: Option<usize>, text: *mut c_char) {
    let mut table = TABLE.with(core::mem::take);
    match instead_of {
        Some(number) if number < table.len() => table[number] = text,
        _ => table.insert(table.len().saturating_sub(1), text),
    }
    publish(table);
}

/// Takes a variable away, if there is one; `EINVAL` as `setenv`.
#[unsafe(no_mangle)]
unsafe extern "C" fn unsetenv(name: *const c_char) -> c_int {
    if name.is_null() {
        return fail(EINVAL);
    }
    // SAFETY: it is a text, says the caller.
    let text = unsafe { CStr::from_ptr(name) }.to_bytes();
    if text.is_empty() || text.contains(&b'=') {
        return fail(EINVAL);
    }
    // SAFETY: as above.
    if let Some((number, _)) = unsafe { find(name) } {
        let mut table = TABLE.with(core::mem::take);
        if number < table.len() {
            table.remove(number);
        }
        publish(table);
    }
    0
}

//! Texts and bytes, to C and from it.
#![allow(unsafe_code, reason = "C's texts are addresses")]

use alloc::{borrow::Cow, ffi::CString, string::String, vec::Vec};
use core::{
    ffi::{CStr, c_char, c_int, c_void},
    ptr, slice,
};

/// A `va_list` of C: where it is.
pub(crate) type List = *mut c_void;

unsafe extern "C" {
    // Of `jiffy-libc`.
    fn vasprintf(to: *mut *mut c_char, format: *const c_char, list: List) -> c_int;
    fn malloc(bytes: usize) -> *mut c_void;
    fn free(block: *mut c_void);
}

/// A text of C.
///
/// # Safety
///
/// It is one, or null, and stays as it is.
pub(crate) unsafe fn text<'a>(at: *const c_char) -> Cow<'a, str> {
    if at.is_null() {
        return "".into();
    }
    // SAFETY: says the caller.
    unsafe { CStr::from_ptr(at) }.to_string_lossy()
}

/// Bytes of C.
///
/// # Safety
///
/// There are so many, and they stay as they are.
pub(crate) unsafe fn bytes<'a>(at: *const c_void, size: usize) -> &'a [u8] {
    if size == 0 {
        return &[];
    }
    // SAFETY: says the caller.
    unsafe { slice::from_raw_parts(at.cast(), size) }
}

/// A text for C; what has a zero in it ends there.
pub(crate) fn for_c(text: impl Into<Vec<u8>>) -> CString {
    CString::new(text).unwrap_or_else(|error| {
        let end = error.nul_position();
        let mut text = error.into_vec();
        text.truncate(end);
        CString::new(text).unwrap_or_default()
    })
}

/// What `printf` would print; what cannot be printed is said to be that.
///
/// # Safety
///
/// The list has what the format asks for.
pub(crate) unsafe fn printed(format: *const c_char, list: List) -> Vec<u8> {
    let mut made = ptr::null_mut();
    // SAFETY: says the caller.
    let size = unsafe { vasprintf(&raw mut made, format, list) };
    let Ok(size) = usize::try_from(size) else {
        // SAFETY: as above.
        let format = unsafe { text(format) };
        return alloc::format!("invalid format of printf: {format}").into_bytes();
    };
    // SAFETY: so many were printed.
    let copy = unsafe { bytes(made.cast(), size) }.to_vec();
    // SAFETY: it came from `malloc`, and nobody has it any more.
    unsafe { free(made.cast()) };
    copy
}

/// As [`printed`], as a text.
///
/// # Safety
///
/// As [`printed`].
pub(crate) unsafe fn printed_text(format: *const c_char, list: List) -> String {
    // SAFETY: says the caller.
    let text = unsafe { printed(format, list) };
    String::from_utf8(text)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

/// `jiffy_data` of the header.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct Data {
    bytes: *mut u8,
    size: usize,
}

impl Data {
    pub(crate) const NONE: Self = Self {
        bytes: ptr::null_mut(),
        size: 0,
    };

    /// A copy in memory of `malloc`, with a zero behind it; `None` if there is none.
    pub(crate) fn copy(of: &[u8]) -> Option<Self> {
        // SAFETY: any size may be asked for.
        let to: *mut u8 = unsafe { malloc(of.len() + 1) }.cast();
        if to.is_null() {
            return None;
        }
        // SAFETY: there is room for as many and one more.
        unsafe { ptr::copy_nonoverlapping(of.as_ptr(), to, of.len()) };
        // SAFETY: as above.
        unsafe { to.wrapping_add(of.len()).write(0) };
        Some(Self {
            bytes: to,
            size: of.len(),
        })
    }
}

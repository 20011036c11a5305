//! Bytes and texts that end with a zero. `memcpy`, `memmove`, `memset`, `memcmp`, `bcmp` and `strlen` are in `jiffy-rt`,
//! because every image needs them.
//!
//! Each function is called as C calls it: pointers are to as many bytes as the count says, or up to a zero.
#![allow(unsafe_code, reason = "C's texts are addresses")]

use core::{
    ffi::{CStr, c_char, c_int},
    ptr, slice,
};

/// Bytes of a text before its zero, but at most `bytes`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strnlen(text: *const c_char, bytes: usize) -> usize {
    // SAFETY: the caller has a text there, or so many bytes.
    let end = unsafe { memchr(text.cast(), 0, bytes) };
    if end.is_null() {
        bytes
    } else {
        end.addr() - text.addr()
    }
}

/// The first byte `byte` among `bytes`, or null.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memchr(at: *const u8, byte: c_int, bytes: usize) -> *const u8 {
    for offset in 0..bytes {
        let place = at.wrapping_add(offset);
        // SAFETY: a caller may know that `byte` is there before `bytes` are over, so each is read for itself.
        if unsafe { place.read() } == byte as u8 {
            return place;
        }
    }
    ptr::null()
}

/// The last byte `byte` among `bytes`, or null.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memrchr(at: *const u8, byte: c_int, bytes: usize) -> *const u8 {
    // SAFETY: the caller has so many bytes there.
    let all = unsafe { slice_of(at, bytes) };
    let found = all.iter().rposition(|other| *other == byte as u8);
    found.map_or(ptr::null(), |found| at.wrapping_add(found))
}

/// Where `needle` is in `haystack` first, or null.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memmem(
    haystack: *const u8,
    haystack_bytes: usize,
    needle: *const u8,
    needle_bytes: usize,
) -> *const u8 {
    // SAFETY: the caller has so many bytes there.
    let all = unsafe { slice_of(haystack, haystack_bytes) };
    // SAFETY: as above.
    let part = unsafe { slice_of(needle, needle_bytes) };
    if part.is_empty() {
        return haystack;
    }
    let found = all.windows(part.len()).position(|window| window == part);
    found.map_or(ptr::null(), |found| haystack.wrapping_add(found))
}

/// Compares texts as bytes without a sign.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strcmp(one: *const c_char, other: *const c_char) -> c_int {
    // SAFETY: both are texts.
    unsafe { strncmp(one, other, usize::MAX) }
}

/// Compares the first `bytes` of texts, or fewer if one ends.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strncmp(
    one: *const c_char,
    other: *const c_char,
    bytes: usize,
) -> c_int {
    for offset in 0..bytes {
        // SAFETY: neither has ended, so there is another byte.
        let left = unsafe { one.wrapping_add(offset).cast::<u8>().read() };
        // SAFETY: as above.
        let right = unsafe { other.wrapping_add(offset).cast::<u8>().read() };
        if left != right || left == 0 {
            return c_int::from(left) - c_int::from(right);
        }
    }
    0
}

/// The first `byte` in a text, whose final zero counts, or null.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strchr(text: *const c_char, byte: c_int) -> *const c_char {
    // SAFETY: it is a text, says the caller.
    let all = unsafe { CStr::from_ptr(text) }.to_bytes_with_nul();
    let found = all.iter().position(|other| *other == byte as u8);
    found.map_or(ptr::null(), |found| text.wrapping_add(found))
}

/// The last `byte` in a text, whose final zero counts, or null.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strrchr(text: *const c_char, byte: c_int) -> *const c_char {
    // SAFETY: it is a text, says the caller.
    let all = unsafe { CStr::from_ptr(text) }.to_bytes_with_nul();
    let found = all.iter().rposition(|other| *other == byte as u8);
    found.map_or(ptr::null(), |found| text.wrapping_add(found))
}

/// A slice of what C gives by address and size; null is allowed if there are no bytes.
unsafe fn slice_of<'a>(at: *const u8, bytes: usize) -> &'a [u8] {
    if bytes == 0 {
        return &[];
    }
    // SAFETY: the caller has so many bytes there.
    unsafe { slice::from_raw_parts(at, bytes) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cmp::Ordering;

    fn offset(from: *const u8, to: *const u8) -> Option<usize> {
        (!to.is_null()).then(|| to.addr() - from.addr())
    }

    #[test]
    fn bytes_are_found() {
        let text = b"abcabc";
        let at = text.as_ptr();
        for (byte, first, last) in [
            (b'a', Some(0), Some(3)),
            (b'c', Some(2), Some(5)),
            (b'x', None, None),
        ] {
            // SAFETY: the text has so many bytes.
            let found = unsafe { memchr(at, byte.into(), text.len()) };
            assert_eq!(offset(at, found), first);
            // SAFETY: as above.
            let found = unsafe { memrchr(at, byte.into(), text.len()) };
            assert_eq!(offset(at, found), last);
        }
        // SAFETY: no bytes are read.
        assert!(unsafe { memrchr(ptr::null(), 0, 0) }.is_null());
    }

    #[test]
    fn parts_are_found() {
        let text = b"abcabd";
        let check = |part: &[u8], place| {
            // SAFETY: both have so many bytes.
            let found = unsafe { memmem(text.as_ptr(), text.len(), part.as_ptr(), part.len()) };
            assert_eq!(offset(text.as_ptr(), found), place);
        };
        check(b"", Some(0));
        check(b"abd", Some(3));
        check(b"abcabd", Some(0));
        check(b"abcabde", None);
        check(b"x", None);
    }

    #[test]
    fn texts_compare_and_are_searched() {
        for (one, other) in [
            (c"", c""),
            (c"a", c""),
            (c"a", c"b"),
            (c"ab", c"a"),
            (c"\xff", c"a"),
        ] {
            // SAFETY: both are texts.
            let sign = unsafe { strcmp(one.as_ptr(), other.as_ptr()) };
            assert_eq!(sign.cmp(&0), one.to_bytes().cmp(other.to_bytes()));
        }
        // SAFETY: both are texts.
        let first = unsafe { strncmp(c"abc".as_ptr(), c"abd".as_ptr(), 2) };
        assert_eq!(first.cmp(&0), Ordering::Equal);
    }

    #[test]
    fn places_and_lengths_are_those_of_the_text() {
        let at = c"a=b=c".as_ptr();
        let place = |found: *const c_char| offset(at.cast(), found.cast());
        for (byte, first, last) in [
            (b'=', Some(1), Some(3)),
            (0, Some(5), Some(5)),
            (b'x', None, None),
        ] {
            // SAFETY: it is a text.
            assert_eq!(place(unsafe { strchr(at, byte.into()) }), first);
            // SAFETY: as above.
            assert_eq!(place(unsafe { strrchr(at, byte.into()) }), last);
        }
        for (bytes, expected) in [(9, 5), (2, 2), (0, 0)] {
            // SAFETY: as above.
            assert_eq!(unsafe { strnlen(at, bytes) }, expected);
        }
    }
}

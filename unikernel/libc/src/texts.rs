//! Texts as C programs handle them: copying, comparing, searching, taking apart. What `std` needs of them is in `strings`.
//!
//! Each function is called as C calls it: pointers are to texts, or to as much room as the man page asks for.
//!
//! What two of them share is a function without C's name. The compiler knows the functions of C by their names, and what they
//! are when nobody reads a result: a `strcpy` that calls `stpcpy` for its effect becomes a `strcpy` that calls itself.
#![allow(unsafe_code, reason = "C's texts are addresses")]

use core::{
    ffi::{CStr, c_char, c_int, c_long, c_longlong},
    ptr, slice,
};

use crate::strings::{memchr, strchr, strcmp, strnlen, strrchr};

/// The bytes of a text, without its zero.
///
/// # Safety
///
/// `at` is a text that stays as it is.
pub(crate) unsafe fn bytes_of<'a>(at: *const c_char) -> &'a [u8] {
    // SAFETY: says the caller.
    unsafe { CStr::from_ptr(at) }.to_bytes()
}

/// The bytes of a text, at most `bytes`.
///
/// # Safety
///
/// `at` is a text, or has so many bytes; they stay as they are.
unsafe fn first_bytes_of<'a>(at: *const c_char, bytes: usize) -> &'a [u8] {
    // SAFETY: says the caller.
    let bytes = unsafe { strnlen(at, bytes) };
    // SAFETY: so many were just looked at.
    unsafe { slice::from_raw_parts(at.cast(), bytes) }
}

/// Writes `bytes` and a zero; where that zero is.
///
/// # Safety
///
/// There is room for them.
unsafe fn put(bytes: &[u8], to: *mut c_char) -> *mut c_char {
    let end = to.wrapping_add(bytes.len());
    // SAFETY: there is room, says the caller; what overlaps is copied as if it did not.
    unsafe { ptr::copy(bytes.as_ptr(), to.cast(), bytes.len()) };
    // SAFETY: as above.
    unsafe { end.write(0) };
    end
}

/// Copies a text.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strcpy(to: *mut c_char, from: *const c_char) -> *mut c_char {
    // SAFETY: it is a text.
    let text = unsafe { bytes_of(from) };
    // SAFETY: there is room for it, says the caller.
    unsafe { put(text, to) };
    to
}

/// Copies a text; where its zero is.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn stpcpy(to: *mut c_char, from: *const c_char) -> *mut c_char {
    // SAFETY: it is a text.
    let text = unsafe { bytes_of(from) };
    // SAFETY: there is room for it, says the caller.
    unsafe { put(text, to) }
}

/// Copies a text into `bytes`, filled up with zeros; without one if it has as many bytes.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strncpy(
    to: *mut c_char,
    from: *const c_char,
    bytes: usize,
) -> *mut c_char {
    // SAFETY: as the caller's.
    unsafe { fill(to, from, bytes) };
    to
}

/// As `strncpy`; where the first zero is, or the end.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn stpncpy(
    to: *mut c_char,
    from: *const c_char,
    bytes: usize,
) -> *mut c_char {
    // SAFETY: as the caller's.
    unsafe { fill(to, from, bytes) }
}

/// Copies a text into `bytes`, filled up with zeros; where the first zero is, or the end.
///
/// # Safety
///
/// There is so much room, and a text or so many bytes.
unsafe fn fill(to: *mut c_char, from: *const c_char, bytes: usize) -> *mut c_char {
    // SAFETY: it is a text, or has so many bytes.
    let text = unsafe { first_bytes_of(from, bytes) };
    let end = to.wrapping_add(text.len());
    // SAFETY: the text has no more than `bytes`, for which there is room.
    unsafe { ptr::copy(text.as_ptr(), to.cast(), text.len()) };
    // SAFETY: as above, behind it.
    unsafe { end.write_bytes(0, bytes - text.len()) };
    end
}

/// Puts a text behind another one.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strcat(to: *mut c_char, from: *const c_char) -> *mut c_char {
    // SAFETY: it is a text.
    let text = unsafe { bytes_of(from) };
    // SAFETY: there is room, says the caller.
    unsafe { append(to, text) }
}

/// Puts at most `bytes` of a text, and a zero, behind another one.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strncat(
    to: *mut c_char,
    from: *const c_char,
    bytes: usize,
) -> *mut c_char {
    // SAFETY: it is a text, or has so many bytes.
    let text = unsafe { first_bytes_of(from, bytes) };
    // SAFETY: there is room, says the caller.
    unsafe { append(to, text) }
}

/// Puts bytes and a zero behind a text.
///
/// # Safety
///
/// `to` is a text with so much room behind it.
unsafe fn append(to: *mut c_char, text: &[u8]) -> *mut c_char {
    // SAFETY: says the caller.
    let before = unsafe { bytes_of(to) }.len();
    // SAFETY: as above.
    unsafe { put(text, to.wrapping_add(before)) };
    to
}

/// As `memcpy`; where it ended.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn mempcpy(to: *mut u8, from: *const u8, bytes: usize) -> *mut u8 {
    // SAFETY: both have so many bytes and do not overlap, says the caller.
    unsafe { ptr::copy_nonoverlapping(from, to, bytes) };
    to.wrapping_add(bytes)
}

/// Copies until `byte` was copied, and returns where it ended; null if it was not among `bytes`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn memccpy(
    to: *mut u8,
    from: *const u8,
    byte: c_int,
    bytes: usize,
) -> *mut u8 {
    // SAFETY: `byte` is there before `bytes` are over, or there are so many.
    let found = unsafe { memchr(from, byte, bytes) };
    if found.is_null() {
        // SAFETY: both have so many bytes, says the caller.
        unsafe { mempcpy(to, from, bytes) };
        return ptr::null_mut();
    }
    // SAFETY: both have as many.
    unsafe { mempcpy(to, from, found.addr() - from.addr() + 1) }
}

/// As `memmove`, with its arguments the other way round.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn bcopy(from: *const u8, to: *mut u8, bytes: usize) {
    // SAFETY: both have so many bytes, says the caller.
    unsafe { ptr::copy(from, to, bytes) };
}

/// Writes zeros.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn bzero(to: *mut u8, bytes: usize) {
    // SAFETY: there are so many bytes, says the caller.
    unsafe { to.write_bytes(0, bytes) };
}

/// Writes zeros, also if nobody reads them.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn explicit_bzero(to: *mut u8, bytes: usize) {
    // SAFETY: as the caller's.
    unsafe { bzero(core::hint::black_box(to), bytes) };
    core::hint::black_box(to);
}

/// Compares as `strcmp`: the locale is C's.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strcoll(one: *const c_char, other: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { strcmp(one, other) }
}

/// Copies a text, which compares as it is, as far as there is room, and returns its size.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strxfrm(
    to: *mut c_char,
    from: *const c_char,
    bytes: usize,
) -> usize {
    // SAFETY: it is a text.
    let text = unsafe { bytes_of(from) };
    if bytes > 0 {
        let kept = &text[..text.len().min(bytes - 1)];
        // SAFETY: there is room for that and a zero.
        unsafe { put(kept, to) };
    }
    text.len()
}

/// Compares texts without regard to the case of ASCII letters.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strcasecmp(one: *const c_char, other: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { strncasecmp(one, other, usize::MAX) }
}

/// As `strcasecmp`, of the first `bytes`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strncasecmp(
    one: *const c_char,
    other: *const c_char,
    bytes: usize,
) -> c_int {
    for offset in 0..bytes {
        // SAFETY: neither has ended, so there is another byte.
        let left = unsafe { one.wrapping_add(offset).cast::<u8>().read() }.to_ascii_lowercase();
        // SAFETY: as above.
        let right = unsafe { other.wrapping_add(offset).cast::<u8>().read() }.to_ascii_lowercase();
        if left != right || left == 0 {
            return c_int::from(left) - c_int::from(right);
        }
    }
    0
}

/// Where `needle` is in a text, compared by `is_same`, or null.
///
/// # Safety
///
/// Both are texts.
unsafe fn search(
    text: *const c_char,
    needle: *const c_char,
    is_same: fn(&[u8], &[u8]) -> bool,
) -> *const c_char {
    // SAFETY: says the caller.
    let needle = unsafe { bytes_of(needle) };
    // SAFETY: as above.
    let all = unsafe { bytes_of(text) };
    if needle.is_empty() {
        return text;
    }
    let found = all
        .windows(needle.len())
        .position(|part| is_same(part, needle));
    found.map_or(ptr::null(), |found| text.wrapping_add(found))
}

/// Where a text is in another one first, or null.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strstr(
    text: *const c_char,
    needle: *const c_char,
) -> *const c_char {
    // SAFETY: as the caller's.
    unsafe { search(text, needle, |one, other| one == other) }
}

/// As `strstr`, without regard to the case of ASCII letters.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strcasestr(
    text: *const c_char,
    needle: *const c_char,
) -> *const c_char {
    // SAFETY: as the caller's.
    unsafe { search(text, needle, <[u8]>::eq_ignore_ascii_case) }
}

/// How many bytes a text begins with that are in `set`, or are not.
///
/// # Safety
///
/// Both are texts.
unsafe fn span(text: *const c_char, set: *const c_char, is_in_set: bool) -> usize {
    let mut members = [false; 256];
    // SAFETY: says the caller.
    for byte in unsafe { bytes_of(set) } {
        members[usize::from(*byte)] = true;
    }
    for offset in 0.. {
        // SAFETY: the text has not ended.
        let byte = unsafe { text.wrapping_add(offset).cast::<u8>().read() };
        if byte == 0 || members[usize::from(byte)] != is_in_set {
            return offset;
        }
    }
    0
}

/// How many bytes a text begins with that are in `set`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strspn(text: *const c_char, set: *const c_char) -> usize {
    // SAFETY: as the caller's.
    unsafe { span(text, set, true) }
}

/// How many bytes a text begins with that are not in `set`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strcspn(text: *const c_char, set: *const c_char) -> usize {
    // SAFETY: as the caller's.
    unsafe { span(text, set, false) }
}

/// The first byte of a text that is in `set`, or null.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strpbrk(text: *const c_char, set: *const c_char) -> *const c_char {
    // SAFETY: as the caller's.
    let found = text.wrapping_add(unsafe { strcspn(text, set) });
    // SAFETY: the text has not ended before.
    if unsafe { found.read() } == 0 {
        ptr::null()
    } else {
        found
    }
}

/// The next part of a text between bytes of `set`, which is ended by a zero in the text; null if there is none. `text` is null
/// for all but the first, and `rest` is where it goes on.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strtok_r(
    text: *mut c_char,
    set: *const c_char,
    rest: *mut *mut c_char,
) -> *mut c_char {
    let text = if text.is_null() {
        // SAFETY: the caller gives the place, which was written before.
        unsafe { rest.read() }
    } else {
        text
    };
    if text.is_null() {
        return text;
    }
    // SAFETY: both are texts.
    let start = text.wrapping_add(unsafe { strspn(text, set) });
    // SAFETY: as above.
    let end = start.wrapping_add(unsafe { strcspn(start, set) });
    // SAFETY: the text has not ended before.
    let is_last = unsafe { end.read() } == 0;
    if !is_last {
        // SAFETY: the text is the caller's to change.
        unsafe { end.write(0) };
    }
    let next = if is_last { end } else { end.wrapping_add(1) };
    // SAFETY: the caller gives the place.
    unsafe { rest.write(next) };
    if start == end { ptr::null_mut() } else { start }
}

/// The text before the next byte of `set`, which becomes a zero, also if it is empty; null at the end.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strsep(rest: *mut *mut c_char, set: *const c_char) -> *mut c_char {
    // SAFETY: the caller gives the place.
    let start = unsafe { rest.read() };
    if start.is_null() {
        return start;
    }
    // SAFETY: both are texts.
    let end = start.wrapping_add(unsafe { strcspn(start, set) });
    // SAFETY: the text has not ended before.
    let next = if unsafe { end.read() } == 0 {
        ptr::null_mut()
    } else {
        // SAFETY: the text is the caller's to change.
        unsafe { end.write(0) };
        end.wrapping_add(1)
    };
    // SAFETY: the caller gives the place.
    unsafe { rest.write(next) };
    start
}

/// The first `byte` in a text, or its zero.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strchrnul(text: *const c_char, byte: c_int) -> *const c_char {
    // SAFETY: it is a text.
    let found = unsafe { strchr(text, byte) };
    if !found.is_null() {
        return found;
    }
    // SAFETY: as above.
    text.wrapping_add(unsafe { bytes_of(text) }.len())
}

/// The first byte `byte`, which the caller knows to be there.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn rawmemchr(at: *const u8, byte: c_int) -> *const u8 {
    // SAFETY: it is there.
    unsafe { memchr(at, byte, usize::MAX) }
}

/// As `strchr`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn index(text: *const c_char, byte: c_int) -> *const c_char {
    // SAFETY: as the caller's.
    unsafe { strchr(text, byte) }
}

/// As `strrchr`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn rindex(text: *const c_char, byte: c_int) -> *const c_char {
    // SAFETY: as the caller's.
    unsafe { strrchr(text, byte) }
}

/// The number of the lowest bit that is set, from 1 on; 0 if none is.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn ffs(number: c_int) -> c_int {
    ffsll(c_longlong::from(number))
}

/// As `ffs`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn ffsl(number: c_long) -> c_int {
    ffsll(number)
}

/// As `ffs`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn ffsll(number: c_longlong) -> c_int {
    match number {
        0 => 0,
        some => some.trailing_zeros() as c_int + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{ffi::CString, string::String, vec, vec::Vec};

    /// The host's own.
    mod host {
        use super::*;
        unsafe extern "C" {
            pub(super) fn strspn(text: *const c_char, set: *const c_char) -> usize;
            pub(super) fn strcspn(text: *const c_char, set: *const c_char) -> usize;
            pub(super) fn strstr(text: *const c_char, needle: *const c_char) -> *const c_char;
            pub(super) fn strcasecmp(one: *const c_char, other: *const c_char) -> c_int;
            pub(super) fn strncpy(
                to: *mut c_char,
                from: *const c_char,
                bytes: usize,
            ) -> *mut c_char;
            pub(super) fn strtok_r(
                text: *mut c_char,
                set: *const c_char,
                rest: *mut *mut c_char,
            ) -> *mut c_char;
        }
    }

    type Tok = unsafe extern "C" fn(*mut c_char, *const c_char, *mut *mut c_char) -> *mut c_char;

    fn tokens(text: &CString, set: &CString, tok: Tok) -> Vec<String> {
        let mut text = text.as_bytes_with_nul().to_vec();
        let mut rest = ptr::null_mut();
        let mut next = text.as_mut_ptr().cast();
        let mut found = vec![];
        loop {
            // SAFETY: they are texts, and the first is ours to change.
            let token = unsafe { tok(next, set.as_ptr(), &raw mut rest) };
            next = ptr::null_mut();
            if token.is_null() {
                return found;
            }
            // SAFETY: it is a text in the first.
            let token = unsafe { bytes_of(token) };
            found.push(String::from_utf8_lossy(token).into_owned());
        }
    }

    fn text() -> impl Strategy<Value = CString> {
        proptest::collection::vec(prop_oneof![b'a'..=b'c', b'A'..=b'C', Just(0xe9)], 0..12)
            .prop_map(|bytes| CString::new(bytes).expect("no zero"))
    }

    proptest! {
        #[test]
        fn as_the_hosts(one in text(), other in text(), bytes in 0..16usize) {
            let (left, right) = (one.as_ptr(), other.as_ptr());
            // SAFETY: both are texts, here and below.
            let our = unsafe { strspn(left, right) };
            // SAFETY: as above.
            assert_eq!(our, unsafe { host::strspn(left, right) });
            // SAFETY: as above.
            let our = unsafe { strcspn(left, right) };
            // SAFETY: as above.
            assert_eq!(our, unsafe { host::strcspn(left, right) });
            // SAFETY: as above.
            let our = unsafe { strstr(left, right) };
            // SAFETY: as above.
            assert_eq!(our, unsafe { host::strstr(left, right) });
            // SAFETY: as above.
            let our = unsafe { strcasecmp(left, right) };
            // SAFETY: as above.
            assert_eq!(our.signum(), unsafe { host::strcasecmp(left, right) }.signum());
            assert_eq!(tokens(&one, &other, strtok_r), tokens(&one, &other, host::strtok_r));
            let (mut ours, mut theirs) = ([7u8; 16], [7u8; 16]);
            // SAFETY: there is room for so many.
            unsafe { strncpy(ours.as_mut_ptr().cast(), left, bytes) };
            // SAFETY: as above.
            unsafe { host::strncpy(theirs.as_mut_ptr().cast(), left, bytes) };
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn texts_are_put_together_and_taken_apart() {
        let mut room = [9u8; 16];
        let at = room.as_mut_ptr().cast::<c_char>();
        // SAFETY: there is room for all of it, here and below.
        unsafe { strcpy(at, c"ab".as_ptr()) };
        // SAFETY: as above.
        unsafe { strcat(at, c"cd".as_ptr()) };
        // SAFETY: as above.
        unsafe { strncat(at, c"efgh".as_ptr(), 2) };
        assert_eq!(&room[..8], b"abcdef\0\x09");
        let mut rest = at;
        // SAFETY: they are texts.
        let first = unsafe { strsep(&raw mut rest, c"cd".as_ptr()) };
        // SAFETY: it is a text.
        assert_eq!(unsafe { bytes_of(first) }, b"ab");
        // SAFETY: as above.
        assert_eq!(unsafe { bytes_of(rest) }, b"def");
        // SAFETY: both have so many bytes.
        let end = unsafe { memccpy(room.as_mut_ptr(), b"xyz".as_ptr(), b'y'.into(), 3) };
        assert_eq!(
            (end.addr() - room.as_ptr().addr(), &room[..2]),
            (2, &b"xy"[..])
        );
        assert_eq!((ffs(0), ffs(8), ffsll(i64::MIN)), (0, 4, 64));
    }
}

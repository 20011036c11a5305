//! Classes of characters in the locale `C`: ASCII has them, and nothing beyond.
//!
//! glibc's headers make `isalpha` and its like a look into a table of 384, from -128 on, so that a `char` and `EOF` are in it.
#![allow(unsafe_code, reason = "C's symbols")]

use core::ffi::c_int;

// Bits of `<ctype.h>` of glibc.
const UPPER: u16 = 0x100;
const LOWER: u16 = 0x200;
const ALPHA: u16 = 0x400;
const DIGIT: u16 = 0x800;
const XDIGIT: u16 = 0x1000;
const SPACE: u16 = 0x2000;
const PRINT: u16 = 0x4000;
const GRAPH: u16 = 0x8000;
const BLANK: u16 = 0x1;
const CNTRL: u16 = 0x2;
const PUNCT: u16 = 0x4;
const ALNUM: u16 = 0x8;

/// Entries before that of character 0.
const BEFORE: usize = 128;
const ENTRIES: usize = 384;

const fn class(byte: u8) -> u16 {
    let mut class = 0;
    if byte.is_ascii_uppercase() {
        class |= UPPER;
    }
    if byte.is_ascii_lowercase() {
        class |= LOWER;
    }
    if byte.is_ascii_alphabetic() {
        class |= ALPHA;
    }
    if byte.is_ascii_digit() {
        class |= DIGIT;
    }
    if byte.is_ascii_hexdigit() {
        class |= XDIGIT;
    }
    if byte == b' ' || (byte >= b'\t' && byte <= b'\r') {
        class |= SPACE;
    }
    if byte >= b' ' && byte <= b'~' {
        class |= PRINT;
    }
    if byte.is_ascii_graphic() {
        class |= GRAPH;
    }
    if byte == b' ' || byte == b'\t' {
        class |= BLANK;
    }
    if byte.is_ascii_control() {
        class |= CNTRL;
    }
    if byte.is_ascii_punctuation() {
        class |= PUNCT;
    }
    if byte.is_ascii_alphanumeric() {
        class |= ALNUM;
    }
    class
}

static CLASSES: [u16; ENTRIES] = {
    let mut table = [0; ENTRIES];
    let mut byte = 0;
    while byte < 128 {
        table[BEFORE + byte] = class(byte as u8);
        byte += 1;
    }
    table
};

const fn cases(to_upper: bool) -> [c_int; ENTRIES] {
    let mut table = [0; ENTRIES];
    let mut at = 0;
    while at < ENTRIES {
        let number = at as c_int - BEFORE as c_int;
        table[at] = if to_upper {
            upper(number)
        } else {
            lower(number)
        };
        // What is negative as a `char` is the same byte; -1 is `EOF`.
        if number < -1 {
            table[at] = number + 256;
        }
        at += 1;
    }
    table
}

static LOWERS: [c_int; ENTRIES] = cases(false);
static UPPERS: [c_int; ENTRIES] = cases(true);

const fn upper(character: c_int) -> c_int {
    match character {
        0x61..=0x7a => character - 32,
        other => other,
    }
}

const fn lower(character: c_int) -> c_int {
    match character {
        0x41..=0x5a => character + 32,
        other => other,
    }
}

/// Where C looks for a table: an address of the address of its entry for 0.
#[repr(transparent)]
pub(crate) struct Place<T: 'static>(*const T);
// SAFETY: nobody changes what it points to.
unsafe impl<T: Sync> Sync for Place<T> {}

const fn place<T>(table: &'static [T; ENTRIES]) -> Place<T> {
    Place(table.as_ptr().wrapping_add(BEFORE))
}

/// The table of classes.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn __ctype_b_loc() -> &'static Place<u16> {
    static PLACE: Place<u16> = place(&CLASSES);
    &PLACE
}

/// The table of small letters.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn __ctype_tolower_loc() -> &'static Place<c_int> {
    static PLACE: Place<c_int> = place(&LOWERS);
    &PLACE
}

/// The table of capital letters.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn __ctype_toupper_loc() -> &'static Place<c_int> {
    static PLACE: Place<c_int> = place(&UPPERS);
    &PLACE
}

/// The small letter of a capital one; any other character is itself.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn tolower(character: c_int) -> c_int {
    lower(character)
}

/// The capital letter of a small one; any other character is itself.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn toupper(character: c_int) -> c_int {
    upper(character)
}

/// The lower seven bits.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn toascii(character: c_int) -> c_int {
    character & 0x7f
}

/// Whether it is ASCII.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn isascii(character: c_int) -> c_int {
    (character & !0x7f == 0).into()
}

/// Whether a character is of a class: not zero if so.
macro_rules! classes {
    ($($name:ident $bit:ident)+) => {
        $(
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) extern "C" fn $name(character: c_int) -> c_int {
                match u8::try_from(character) {
                    Ok(byte @ ..0x80) => (class(byte) & $bit).into(),
                    _ => 0,
                }
            }
        )+
    };
}

classes! {
    isalnum ALNUM isalpha ALPHA isblank BLANK iscntrl CNTRL isdigit DIGIT isgraph GRAPH islower LOWER isprint PRINT
    ispunct PUNCT isspace SPACE isupper UPPER isxdigit XDIGIT
}

#[cfg(test)]
mod tests {
    use super::*;

    mod host {
        use super::c_int;
        unsafe extern "C" {
            pub(super) safe fn __ctype_b_loc() -> *const *const u16;
            pub(super) safe fn __ctype_tolower_loc() -> *const *const c_int;
            pub(super) safe fn __ctype_toupper_loc() -> *const *const c_int;
        }
    }

    #[test]
    fn tables_are_those_of_the_host() {
        fn entry<T: Copy>(table: *const T, number: isize) -> T {
            // SAFETY: a table begins 128 entries before and has 384.
            unsafe { table.wrapping_offset(number).read() }
        }
        // SAFETY: the host's libc gives the address of an address.
        let classes = unsafe { host::__ctype_b_loc().read() };
        // SAFETY: as above.
        let lowers = unsafe { host::__ctype_tolower_loc().read() };
        // SAFETY: as above.
        let uppers = unsafe { host::__ctype_toupper_loc().read() };
        for number in -128..256 {
            assert_eq!(
                entry(__ctype_b_loc().0, number),
                entry(classes, number),
                "{number}"
            );
            if number >= -1 {
                assert_eq!(
                    entry(__ctype_tolower_loc().0, number),
                    entry(lowers, number),
                    "{number}"
                );
                assert_eq!(
                    entry(__ctype_toupper_loc().0, number),
                    entry(uppers, number),
                    "{number}"
                );
            }
        }
        assert_eq!((isalpha(-1), isspace(0xa0), isdigit(300)), (0, 0, 0));
        assert!(isxdigit(b'f'.into()) != 0 && ispunct(b'.'.into()) != 0);
    }
}

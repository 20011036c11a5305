//! Numbers in texts, as `strtol` and `strtod` read them, and small arithmetic.
//!
//! A text is read no further than its number goes, so that reading many from one long text takes as long as that text.
#![allow(unsafe_code, reason = "C's texts are addresses")]

use core::{
    ffi::{c_char, c_int, c_long, c_ulong},
    slice,
};

use crate::errno::{EINVAL, ERANGE, set};

const fn is_space(byte: u8) -> bool {
    byte == b' ' || (byte >= b'\t' && byte <= b'\r')
}

/// A byte of a text that has not ended before it.
///
/// # Safety
///
/// It is in the text, or its zero.
unsafe fn byte(text: *const u8, offset: usize) -> u8 {
    // SAFETY: says the caller.
    unsafe { text.wrapping_add(offset).read() }
}

/// A whole number that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Whole {
    /// Without its sign; the largest there is, if it was larger.
    pub(crate) size: u64,
    pub(crate) is_negative: bool,
    pub(crate) is_too_large: bool,
    /// Bytes that were read of the text, spaces before it included; none if there was no number.
    pub(crate) bytes: usize,
}

/// Reads a whole number in `base`, 2 to 36, or by its beginning if that is 0.
///
/// # Safety
///
/// `text` ends with a zero, or with another byte that is of no number.
pub(crate) unsafe fn whole(text: *const u8, base: u32) -> Whole {
    let mut at = 0;
    // SAFETY: no byte so far was the end, here and below.
    while is_space(unsafe { byte(text, at) }) {
        at += 1;
    }
    // SAFETY: as above.
    let sign = unsafe { byte(text, at) };
    at += usize::from(sign == b'-' || sign == b'+');
    let mut base = base;
    // SAFETY: as above.
    if unsafe { byte(text, at) } == b'0' && (base == 0 || base == 16) {
        // SAFETY: as above.
        let is_hex = unsafe { byte(text, at + 1) } | 0x20 == b'x'
            // SAFETY: as above.
            && unsafe { byte(text, at + 2) }.is_ascii_hexdigit();
        if is_hex {
            at += 2;
            base = 16;
        } else if base == 0 {
            base = 8;
        }
    } else if base == 0 {
        base = 10;
    }
    let mut number = Whole {
        size: 0,
        is_negative: sign == b'-',
        is_too_large: false,
        bytes: 0,
    };
    // SAFETY: as above.
    while let Some(digit) = char::from(unsafe { byte(text, at) }).to_digit(base) {
        at += 1;
        number.bytes = at;
        let next = number.size.checked_mul(base.into());
        match next.and_then(|next| next.checked_add(digit.into())) {
            Some(next) => number.size = next,
            None => number.is_too_large = true,
        }
    }
    if number.is_too_large {
        number.size = u64::MAX;
    }
    number
}

/// What `strtol` makes of it, and whether that is out of range.
pub(crate) fn signed(number: Whole) -> (i64, bool) {
    let limit = if number.is_negative {
        1 << 63
    } else {
        i64::MAX as u64
    };
    if number.is_too_large || number.size > limit {
        return (
            if number.is_negative {
                i64::MIN
            } else {
                i64::MAX
            },
            true,
        );
    }
    let size = number.size as i64;
    (
        if number.is_negative {
            size.wrapping_neg()
        } else {
            size
        },
        false,
    )
}

/// What `strtoul` makes of it, and whether that is out of range: a sign is applied to what has none.
pub(crate) fn unsigned(number: Whole) -> (u64, bool) {
    if number.is_too_large {
        (u64::MAX, true)
    } else if number.is_negative {
        (number.size.wrapping_neg(), false)
    } else {
        (number.size, false)
    }
}

/// Reads a number and says where it ended, which is where it began if there is none.
///
/// # Safety
///
/// `text` is a text, and `end` a place or null.
unsafe fn read(text: *const c_char, end: *mut *const c_char, base: c_int) -> Option<Whole> {
    let is_base = base == 0 || (2..=36).contains(&base);
    let number = if is_base {
        // SAFETY: it is a text.
        Some(unsafe { whole(text.cast(), base as u32) })
    } else {
        set(EINVAL);
        None
    };
    if !end.is_null() {
        let read = number.map_or(0, |number| number.bytes);
        // SAFETY: the caller gives the place.
        unsafe { end.write(text.wrapping_add(read)) };
    }
    number
}

/// A whole number, the nearest there is and `ERANGE` if it is out of range; where it ended.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strtol(
    text: *const c_char,
    end: *mut *const c_char,
    base: c_int,
) -> c_long {
    // SAFETY: as the caller's.
    let number = unsafe { read(text, end, base) };
    let (value, is_out) = number.map_or((0, false), signed);
    if is_out {
        set(ERANGE);
    }
    value
}

/// As `strtol`, without a sign.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strtoul(
    text: *const c_char,
    end: *mut *const c_char,
    base: c_int,
) -> c_ulong {
    // SAFETY: as the caller's.
    let number = unsafe { read(text, end, base) };
    let (value, is_out) = number.map_or((0, false), unsigned);
    if is_out {
        set(ERANGE);
    }
    value
}

/// A number with a fraction that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Float {
    /// One of its kind.
    pub(crate) value: f64,
    /// As [`Whole::bytes`].
    pub(crate) bytes: usize,
    /// There is no such number: too large, or too near to zero.
    pub(crate) is_out: bool,
}

/// What a number with a fraction is read as. It is rounded once: what is rounded to a double first may be another `float`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Single,
    Double,
}

impl Kind {
    const fn mantissa_bits(self) -> i64 {
        match self {
            Self::Single => f32::MANTISSA_DIGITS as i64,
            Self::Double => f64::MANTISSA_DIGITS as i64,
        }
    }

    /// The exponent of the largest number.
    const fn top_max(self) -> i64 {
        match self {
            Self::Single => f32::MAX_EXP as i64 - 1,
            Self::Double => f64::MAX_EXP as i64 - 1,
        }
    }

    /// The exponent of the least number there is.
    const fn last_min(self) -> i64 {
        match self {
            Self::Single => -149,
            Self::Double => -1074,
        }
    }

    /// Whether a number is none of this kind, given whether it is zero as it was written.
    fn is_out(self, value: f64, is_zero: bool) -> bool {
        let least = match self {
            Self::Single => f32::MIN_POSITIVE.into(),
            Self::Double => f64::MIN_POSITIVE,
        };
        value.is_infinite() || (!is_zero && value < least)
    }

    /// A decimal number without a sign.
    fn parse(self, number: &[u8]) -> f64 {
        let number = str::from_utf8(number).unwrap_or("0");
        let value = match self {
            Self::Single => number.parse().map(|value: f32| value.into()),
            Self::Double => number.parse(),
        };
        value.unwrap_or(0.0) // It is a number, as the caller found.
    }
}

/// How many digits begin at `at`.
///
/// # Safety
///
/// As [`byte`], for the first of them.
unsafe fn digits(text: *const u8, at: usize, is_digit: fn(&u8) -> bool) -> usize {
    let mut count = 0;
    // SAFETY: those before it were no end.
    while is_digit(&unsafe { byte(text, at + count) }) {
        count += 1;
    }
    count
}

/// Whether `word`, in small letters, is what begins at `at`.
///
/// # Safety
///
/// As [`byte`].
unsafe fn begins_with(text: *const u8, at: usize, word: &[u8]) -> bool {
    let is_next = |(offset, expected): (usize, &u8)| {
        // SAFETY: those before it were those of the word, and so no end.
        unsafe { byte(text, at + offset) }.to_ascii_lowercase() == *expected
    };
    word.iter().enumerate().all(is_next)
}

/// Reads a number with a fraction: decimal, hexadecimal, `inf`, `infinity`, `nan`, `nan(…)`.
///
/// # Safety
///
/// As [`whole`].
pub(crate) unsafe fn float(text: *const u8, kind: Kind) -> Float {
    let mut at = 0;
    // SAFETY: no byte so far was the end, here and below.
    while is_space(unsafe { byte(text, at) }) {
        at += 1;
    }
    // SAFETY: as above.
    let sign = unsafe { byte(text, at) };
    at += usize::from(sign == b'-' || sign == b'+');
    // SAFETY: as above.
    let mut read = unsafe { size(text, at, kind) };
    if sign == b'-' && read.bytes > 0 {
        read.value = -read.value;
    }
    read
}

/// As [`float`], behind spaces and sign.
///
/// # Safety
///
/// As [`float`].
unsafe fn size(text: *const u8, at: usize, kind: Kind) -> Float {
    let word = |value, bytes| Float {
        value,
        bytes,
        is_out: false,
    };
    // SAFETY: says the caller, here and below.
    if unsafe { begins_with(text, at, b"infinity") } {
        return word(f64::INFINITY, at + 8);
    }
    // SAFETY: as above.
    if unsafe { begins_with(text, at, b"inf") } {
        return word(f64::INFINITY, at + 3);
    }
    // SAFETY: as above.
    if unsafe { begins_with(text, at, b"nan") } {
        let mut end = at + 3;
        // SAFETY: as above.
        if unsafe { byte(text, end) } == b'(' {
            let is_named = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
            // SAFETY: as above.
            let name = unsafe { digits(text, end + 1, is_named) };
            // SAFETY: as above.
            if unsafe { byte(text, end + 1 + name) } == b')' {
                end += name + 2;
            }
        }
        return word(f64::NAN, end);
    }
    // SAFETY: as above.
    if unsafe { begins_with(text, at, b"0x") } {
        // SAFETY: as above.
        if let Some(read) = unsafe { hexadecimal(text, at + 2, kind) } {
            return read;
        }
    }
    // SAFETY: as above.
    let before = unsafe { digits(text, at, u8::is_ascii_digit) };
    let mut end = at + before;
    let mut after = 0;
    // SAFETY: as above.
    if unsafe { byte(text, end) } == b'.' {
        // SAFETY: as above.
        after = unsafe { digits(text, end + 1, u8::is_ascii_digit) };
        if before + after > 0 {
            end += 1 + after;
        }
    }
    if before + after == 0 {
        return word(0.0, 0);
    }
    // SAFETY: as above.
    if let Some(exponent) = unsafe { exponent(text, end, b'e') } {
        end += exponent.bytes;
    }
    // SAFETY: so many bytes were looked at.
    let number = unsafe { slice::from_raw_parts(text.wrapping_add(at), end - at) };
    let is_zero = !number[..before + usize::from(after > 0) + after]
        .iter()
        .any(|digit| (b'1'..=b'9').contains(digit));
    let value = kind.parse(number);
    Float {
        value,
        bytes: end,
        is_out: kind.is_out(value, is_zero),
    }
}

struct Exponent {
    value: i64,
    bytes: usize,
}

/// An exponent behind `letter`, if there is one.
///
/// # Safety
///
/// As [`byte`].
unsafe fn exponent(text: *const u8, at: usize, letter: u8) -> Option<Exponent> {
    // SAFETY: says the caller.
    if unsafe { byte(text, at) } | 0x20 != letter {
        return None;
    }
    // SAFETY: the one before was no end, here and below.
    let sign = unsafe { byte(text, at + 1) };
    let start = at + 1 + usize::from(sign == b'-' || sign == b'+');
    // SAFETY: as above.
    let count = unsafe { digits(text, start, u8::is_ascii_digit) };
    let mut value = 0i64;
    for offset in 0..count {
        // SAFETY: it is one of the digits.
        let digit = unsafe { byte(text, start + offset) } - b'0';
        value = (value * 10 + i64::from(digit)).min(1 << 40); // Beyond any double.
    }
    (count > 0).then_some(Exponent {
        value: if sign == b'-' { -value } else { value },
        bytes: start + count - at,
    })
}

/// A hexadecimal number behind its `0x`, if there is one.
///
/// # Safety
///
/// As [`byte`].
unsafe fn hexadecimal(text: *const u8, at: usize, kind: Kind) -> Option<Float> {
    // Fifteen digits and whether anything follows decide how it is rounded.
    let (mut mantissa, mut scale) = (0u64, 0i64);
    let (mut end, mut count, mut is_fraction) = (at, 0, false);
    loop {
        // SAFETY: no byte so far was the end.
        let found = unsafe { byte(text, end) };
        if found == b'.' && !is_fraction {
            is_fraction = true;
        } else if let Some(digit) = char::from(found).to_digit(16) {
            count += 1;
            if mantissa >> 60 == 0 {
                mantissa = mantissa << 4 | u64::from(digit);
                scale -= if is_fraction { 4 } else { 0 };
            } else {
                mantissa |= u64::from(digit != 0);
                scale += if is_fraction { 0 } else { 4 };
            }
        } else {
            break;
        }
        end += 1;
    }
    if count == 0 {
        return None;
    }
    // SAFETY: as above.
    if let Some(exponent) = unsafe { exponent(text, end, b'p') } {
        scale += exponent.value;
        end += exponent.bytes;
    }
    let value = scaled(mantissa, scale, kind);
    Some(Float {
        value,
        bytes: end,
        is_out: kind.is_out(value, mantissa == 0),
    })
}

/// `mantissa` times two to the power of `scale`, rounded once, ties to the even one.
pub(crate) fn scaled(mantissa: u64, scale: i64, kind: Kind) -> f64 {
    if mantissa == 0 {
        return 0.0;
    }
    let top = 63 - i64::from(mantissa.leading_zeros()) + scale; // The exponent of the first bit.
    if top > kind.top_max() {
        return f64::INFINITY;
    }
    // The exponent of the last bit that a number has there.
    let last = (top - kind.mantissa_bits() + 1).max(kind.last_min());
    let dropped = last - scale;
    let kept = match dropped {
        ..=0 => mantissa << -dropped, // There is room: it has as many bits as the kind then.
        1..=63 => {
            let (kept, rest) = (mantissa >> dropped, mantissa & ((1 << dropped) - 1));
            let half = 1 << (dropped - 1);
            kept + u64::from(rest > half || (rest == half && kept & 1 == 1))
        }
        64 => u64::from(mantissa > 1 << 63),
        _ => 0,
    };
    // Exact but for what overflows: a number of 53 bits, and a power of two in two steps.
    let value = libm::scalbn(kept as f64, last as i32);
    match kind {
        Kind::Single => f64::from(value as f32),
        Kind::Double => value,
    }
}

/// A number with a fraction, infinite or near to zero and `ERANGE` if it is out of range; where it ended.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strtod(text: *const c_char, end: *mut *const c_char) -> f64 {
    // SAFETY: as the caller's.
    unsafe { to_float(text, end, Kind::Double) }
}

/// # Safety
///
/// As [`read`].
unsafe fn to_float(text: *const c_char, end: *mut *const c_char, kind: Kind) -> f64 {
    // SAFETY: it is a text.
    let read = unsafe { float(text.cast(), kind) };
    if !end.is_null() {
        // SAFETY: the caller gives the place.
        unsafe { end.write(text.wrapping_add(read.bytes)) };
    }
    if read.is_out {
        set(ERANGE);
    }
    read.value
}

/// As `strtod`, of a `float`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strtof(text: *const c_char, end: *mut *const c_char) -> f32 {
    // SAFETY: as the caller's.
    (unsafe { to_float(text, end, Kind::Single) }) as f32
}

/// A whole number, without word of what is wrong with it.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn atoi(text: *const c_char) -> c_int {
    // SAFETY: it is a text.
    (unsafe { strtol(text, core::ptr::null_mut(), 10) }) as c_int
}

/// As `atoi`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn atol(text: *const c_char) -> c_long {
    // SAFETY: it is a text.
    unsafe { strtol(text, core::ptr::null_mut(), 10) }
}

/// A number with a fraction, without word of what is wrong with it.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn atof(text: *const c_char) -> f64 {
    // SAFETY: it is a text.
    unsafe { strtod(text, core::ptr::null_mut()) }
}

/// Names that are the same function: `long long` is a `long`, and headers of C23 have names of their own, for what also reads `0b`
/// in theirs.
macro_rules! aliases {
    ($($name:ident = $of:ident($($argument:ident: $type:ty),+) -> $result:ty;)+) => {
        $(
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) unsafe extern "C" fn $name($($argument: $type),+) -> $result {
                // SAFETY: as the caller's.
                unsafe { $of($($argument),+) }
            }
        )+
    };
}

aliases! {
    strtoll = strtol(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_long;
    strtoq = strtol(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_long;
    strtoimax = strtol(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_long;
    strtoull = strtoul(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong;
    strtouq = strtoul(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong;
    strtoumax = strtoul(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong;
    __isoc23_strtol = strtol(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_long;
    __isoc23_strtoll = strtol(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_long;
    __isoc23_strtoul = strtoul(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong;
    __isoc23_strtoull = strtoul(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong;
    __isoc23_strtoimax = strtol(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_long;
    __isoc23_strtoumax = strtoul(text: *const c_char, end: *mut *const c_char, base: c_int) -> c_ulong;
    atoll = atol(text: *const c_char) -> c_long;
}

/// Without its sign.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn abs(number: c_int) -> c_int {
    number.wrapping_abs()
}

/// Without its sign.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn labs(number: c_long) -> c_long {
    number.wrapping_abs()
}

/// Without its sign.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn llabs(number: c_long) -> c_long {
    number.wrapping_abs()
}

/// Without its sign.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn imaxabs(number: c_long) -> c_long {
    number.wrapping_abs()
}

/// Quotient and remainder.
#[repr(C)]
pub(crate) struct Division<T> {
    quotient: T,
    remainder: T,
}

/// Divides; by zero it ends the VM, as in C.
macro_rules! divides {
    ($($name:ident $type:ty;)+) => {
        $(
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) extern "C" fn $name(number: $type, by: $type) -> Division<$type> {
                Division { quotient: number.wrapping_div(by), remainder: number.wrapping_rem(by) }
            }
        )+
    };
}

divides! {
    div c_int;
    ldiv c_long;
    lldiv c_long;
    imaxdiv c_long;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::{ffi::CString, format};

    mod host {
        use super::*;
        unsafe extern "C" {
            pub(super) fn strtod(text: *const c_char, end: *mut *const c_char) -> f64;
            pub(super) fn strtof(text: *const c_char, end: *mut *const c_char) -> f32;
            pub(super) fn strtol(
                text: *const c_char,
                end: *mut *const c_char,
                base: c_int,
            ) -> c_long;
            pub(super) fn strtoul(
                text: *const c_char,
                end: *mut *const c_char,
                base: c_int,
            ) -> c_ulong;
        }
    }

    fn same_floats(text: &str) {
        let text = CString::new(text).expect("no zero");
        let (mut ours, mut theirs) = (core::ptr::null(), core::ptr::null());
        // SAFETY: it is a text.
        let our = unsafe { strtod(text.as_ptr(), &raw mut ours) };
        // SAFETY: as above.
        let their = unsafe { host::strtod(text.as_ptr(), &raw mut theirs) };
        let bits = |value: f64| if value.is_nan() { 0 } else { value.to_bits() };
        assert_eq!(
            (bits(our), ours),
            (bits(their), theirs),
            "{text:?}: {our} {their}"
        );
        // SAFETY: as above.
        let our = unsafe { strtof(text.as_ptr(), &raw mut ours) };
        // SAFETY: as above.
        let their = unsafe { host::strtof(text.as_ptr(), &raw mut theirs) };
        let bits = |value: f32| if value.is_nan() { 0 } else { value.to_bits() };
        assert_eq!(
            (bits(our), ours),
            (bits(their), theirs),
            "{text:?}: {our} {their}"
        );
    }

    #[test]
    fn edges_of_doubles() {
        for text in [
            "",
            "-",
            ".",
            "1.",
            ".5",
            "-.5e",
            "1e+",
            "1e5x",
            "  +3.25rest",
            "inf",
            "-Infinity",
            "infinite",
            "nan",
            "nan(12)x",
            "nan(",
            "0x",
            "0x.",
            "0xg",
            "0x1p",
            "0x1.8p1",
            "0x.8p-1074",
            "0x1p-1075",
            "0x1.8p-1075",
            "0x1.fffffffffffff8p1023",
            "0x123456789abcdef1234p5",
            "1e400",
            "1e-400",
            "4.9e-324",
            "2.4703282292062327e-324",
            "1e99999999999999999999",
            "0e99999999999999999999",
            "0.000000000000000000000000000001e30",
            "9007199254740993",
            "0x20000000000001",
            "0x1.00000000000008p0",
            "0x1.000000000000080000001p0",
            "-0",
            "0x0p9",
            "0x10000000000000000000000000p-100",
            // What is between two singles, and next to that.
            "1.000000059604644775390625",
            "1.00000005960464477539062500000000001",
            "1.00000017881393432617187499999999999",
            "0x1.000001p0",
            "0x1.00000100000000000001p0",
            "0x1.fffffefffffffffp127",
            "0x1.ffffffp127",
            "7.006492321624085354618e-46",
            "7.0064923216240854e-46",
            "1.1754943508222875e-38",
            "0x1p-149",
            "0x1.8p-150",
        ] {
            same_floats(text);
        }
    }

    proptest! {
        #[test]
        fn doubles_are_those_of_the_host(
            text in "[ \t]{0,2}[-+]?(0x)?[0-9a-f]{0,20}(\\.[0-9a-f]{0,20})?([ep][-+]?[0-9]{0,4})?[a-z]{0,2}",
        ) {
            same_floats(&text);
        }

        #[test]
        fn doubles_come_back(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            same_floats(&format!("{value:?}"));
            same_floats(&format!("{value:.17e}"));
            // Exactly between two singles, or beside that by less than a double has.
            let single = f32::from_bits(bits as u32);
            let between = (f64::from(single) + f64::from(single.next_up())) / 2.0;
            same_floats(&format!("{between:.160}"));
            same_floats(&format!("{between:.160}1"));
        }

        #[test]
        fn wholes_are_those_of_the_host(
            text in "[ \n]{0,2}[-+]?(0x|0X|0)?[0-9a-fA-F]{0,20}[g-z]{0,2}",
            base in prop_oneof![Just(0), Just(10), Just(16), Just(8), 2..37],
        ) {
            let text = CString::new(text).expect("no zero");
            let (mut ours, mut theirs) = (core::ptr::null(), core::ptr::null());
            // SAFETY: it is a text, here and below.
            let our = unsafe { strtol(text.as_ptr(), &raw mut ours, base) };
            // SAFETY: as above.
            let their = unsafe { host::strtol(text.as_ptr(), &raw mut theirs, base) };
            assert_eq!((our, ours), (their, theirs), "{text:?} {base}");
            // SAFETY: as above.
            let our = unsafe { strtoul(text.as_ptr(), &raw mut ours, base) };
            // SAFETY: as above.
            let their = unsafe { host::strtoul(text.as_ptr(), &raw mut theirs, base) };
            assert_eq!((our, ours), (their, theirs), "{text:?} {base}");
        }
    }

    #[test]
    fn what_is_out_of_range_is_the_nearest() {
        // SAFETY: they are texts.
        let read =
            |text: &core::ffi::CStr| unsafe { strtol(text.as_ptr(), core::ptr::null_mut(), 10) };
        assert_eq!(read(c"9223372036854775808"), i64::MAX);
        assert_eq!(read(c"-9223372036854775809"), i64::MIN);
        assert_eq!(read(c"-9223372036854775808"), i64::MIN);
        let division = div(-7, 2);
        assert_eq!((division.quotient, division.remainder), (-3, -1));
    }
}

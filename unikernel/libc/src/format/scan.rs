//! `scanf`.
#![allow(unsafe_code, reason = "arguments are addresses")]

use core::ffi::{c_char, c_int};

use super::{
    list::VaList,
    print::{Length, length},
};
use crate::numbers::{self, Kind, float, whole};

/// The end was there before anything was stored.
pub(crate) const EOF: c_int = -1;
/// Longest number with a width: a text that is longer is cut there, as glibc does not.
const NUMBER_BYTES_MAX: usize = 1100;

const fn is_space(byte: u8) -> bool {
    byte == b' ' || (byte >= b'\t' && byte <= b'\r')
}

/// Reads `text` as `format` has it: how many values were stored, or [`EOF`].
///
/// # Safety
///
/// `text` is a text, and the arguments are places as `format` asks for.
pub(crate) unsafe fn scan(text: *const c_char, format: &[u8], list: &mut VaList) -> c_int {
    let text: *const u8 = text.cast();
    let mut scan = Scan {
        text,
        at: 0,
        stored: 0,
    };
    let mut at = 0;
    while at < format.len() {
        let byte = format[at];
        at += 1;
        if is_space(byte) {
            scan.skip_spaces();
            continue;
        }
        if byte != b'%' {
            if scan.peek() != byte {
                return scan.ended();
            }
            scan.at += 1;
            continue;
        }
        // SAFETY: says the caller.
        match unsafe { scan.conversion(format, &mut at, list) } {
            Step::Stored => scan.stored += 1,
            Step::Done => {}
            Step::Differs => return scan.stored,
            Step::End => return scan.ended(),
        }
    }
    scan.stored
}

enum Step {
    Stored,
    /// Read, and to be stored nowhere.
    Done,
    /// What is there is something else.
    Differs,
    /// Nothing is there, or perhaps nothing.
    End,
}

struct Scan {
    text: *const u8,
    at: usize,
    stored: c_int,
}

impl Scan {
    fn peek(&self) -> u8 {
        // SAFETY: `at` never goes beyond the zero.
        unsafe { self.here().read() }
    }

    fn here(&self) -> *const u8 {
        self.text.wrapping_add(self.at)
    }

    fn skip_spaces(&mut self) {
        while is_space(self.peek()) {
            self.at += 1;
        }
    }

    fn ended(&self) -> c_int {
        if self.stored == 0 && self.peek() == 0 {
            EOF
        } else {
            self.stored
        }
    }

    /// # Safety
    ///
    /// As [`scan`].
    unsafe fn conversion(&mut self, format: &[u8], at: &mut usize, list: &mut VaList) -> Step {
        let is_stored = format.get(*at) != Some(&b'*');
        *at += usize::from(!is_stored);
        let mut width = 0usize;
        while let Some(digit @ b'0'..=b'9') = format.get(*at) {
            width = width
                .saturating_mul(10)
                .saturating_add(usize::from(digit - b'0'));
            *at += 1;
        }
        let length = length(format, at);
        let Some(letter) = format.get(*at) else {
            return Step::Differs;
        };
        *at += 1;
        let width_max = if width == 0 { usize::MAX } else { width };
        if !b"c[n".contains(letter) {
            self.skip_spaces();
        }
        match letter {
            b'%' => {
                let is_there = self.peek() == b'%';
                self.at += usize::from(is_there);
                return if is_there { Step::Done } else { Step::End };
            }
            b'n' => {
                if is_stored {
                    let read = self.at as u64;
                    // SAFETY: says the caller.
                    unsafe { store(list, read, length) };
                }
                return Step::Done;
            }
            _ if self.peek() == 0 => return Step::End,
            _ => {}
        }
        match letter {
            b'd' | b'i' | b'u' | b'o' | b'x' | b'X' | b'p' => {
                let base = match letter {
                    b'd' | b'u' => 10,
                    b'o' => 8,
                    b'i' => 0,
                    _ => 16,
                };
                // SAFETY: as above; what is cut ends with a zero.
                let number = self.cut(width_max, |text| unsafe { whole(text, base) });
                if number.bytes == 0 {
                    return Step::Differs;
                }
                self.at += number.bytes;
                let value = match letter {
                    b'd' | b'i' => numbers::signed(number).0 as u64,
                    _ => numbers::unsigned(number).0,
                };
                let length = if *letter == b'p' {
                    Length::Long
                } else {
                    length
                };
                if is_stored {
                    // SAFETY: says the caller.
                    unsafe { store(list, value, length) };
                }
            }
            b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' => {
                let kind = match length {
                    Length::Long | Length::LongDouble => Kind::Double,
                    _ => Kind::Single,
                };
                // SAFETY: as above.
                let number = self.cut(width_max, |text| unsafe { float(text, kind) });
                if number.bytes == 0 {
                    return Step::Differs;
                }
                self.at += number.bytes;
                if is_stored {
                    // SAFETY: says the caller.
                    let to: *mut u8 = unsafe { list.address() };
                    match length {
                        // SAFETY: says the caller, here and below.
                        Length::Long => unsafe { to.cast::<f64>().write_unaligned(number.value) },
                        Length::LongDouble => {
                            let (mantissa, exponent) = to_extended(number.value);
                            // SAFETY: as above.
                            unsafe { to.cast::<u64>().write_unaligned(mantissa) };
                            // SAFETY: as above.
                            unsafe { to.wrapping_add(8).cast::<u16>().write_unaligned(exponent) };
                        }
                        // SAFETY: as above.
                        _ => unsafe { to.cast::<f32>().write_unaligned(number.value as f32) },
                    }
                }
            }
            b's' => {
                // SAFETY: says the caller.
                return unsafe { self.bytes(width_max, is_stored, list, |byte| !is_space(byte)) };
            }
            b'c' => {
                let count = width.max(1);
                let to: *mut u8 = if is_stored {
                    // SAFETY: says the caller.
                    unsafe { list.address() }
                } else {
                    core::ptr::null_mut()
                };
                for offset in 0..count {
                    let byte = self.peek();
                    if byte == 0 && offset == 0 {
                        return Step::End;
                    }
                    // Fewer than the width are enough, as glibc has it.
                    if byte == 0 {
                        break;
                    }
                    if is_stored {
                        // SAFETY: there is room for as many as the width says.
                        unsafe { to.wrapping_add(offset).write(byte) };
                    }
                    self.at += 1;
                }
            }
            b'[' => {
                let Some(set) = Set::read(format, at) else {
                    return Step::Differs;
                };
                // SAFETY: says the caller.
                return unsafe { self.bytes(width_max, is_stored, list, |byte| set.has(byte)) };
            }
            _ => return Step::Differs,
        }
        if is_stored { Step::Stored } else { Step::Done }
    }

    /// Reads a number of the text, of at most `width` bytes.
    fn cut<R>(&self, width: usize, read: impl FnOnce(*const u8) -> R) -> R {
        if width >= NUMBER_BYTES_MAX {
            return read(self.here());
        }
        let mut room = [0; NUMBER_BYTES_MAX + 1];
        for (offset, byte) in room.iter_mut().take(width).enumerate() {
            // SAFETY: none before it was the zero.
            *byte = unsafe { self.here().wrapping_add(offset).read() };
            if *byte == 0 {
                break;
            }
        }
        read(room.as_ptr())
    }

    /// Reads bytes as long as they belong, with a zero behind them.
    ///
    /// # Safety
    ///
    /// As [`scan`].
    unsafe fn bytes(
        &mut self,
        width: usize,
        is_stored: bool,
        list: &mut VaList,
        belongs: impl Fn(u8) -> bool,
    ) -> Step {
        let start = self.here();
        let mut count = 0;
        while count < width && self.peek() != 0 && belongs(self.peek()) {
            self.at += 1;
            count += 1;
        }
        if count == 0 {
            return Step::Differs;
        }
        if !is_stored {
            return Step::Done;
        }
        // SAFETY: says the caller.
        let to: *mut u8 = unsafe { list.address() };
        // SAFETY: there is room for them, says the caller.
        unsafe { core::ptr::copy(start, to, count) };
        // SAFETY: as above.
        unsafe { to.wrapping_add(count).write(0) };
        Step::Stored
    }
}

/// Stores a number in the next place, in as many bytes as it has.
///
/// # Safety
///
/// There is one.
unsafe fn store(list: &mut VaList, value: u64, length: Length) {
    // SAFETY: says the caller.
    let to: *mut u8 = unsafe { list.address() };
    match length {
        // SAFETY: says the caller, here and below.
        Length::Char => unsafe { to.write(value as u8) },
        // SAFETY: as above.
        Length::Short => unsafe { to.cast::<u16>().write_unaligned(value as u16) },
        // SAFETY: as above.
        Length::Int => unsafe { to.cast::<u32>().write_unaligned(value as u32) },
        // SAFETY: as above.
        Length::Long | Length::LongDouble => unsafe { to.cast::<u64>().write_unaligned(value) },
    }
}

/// A double as a number of 80 bits.
pub(crate) fn to_extended(value: f64) -> (u64, u16) {
    let sign = if value.is_sign_negative() { 0x8000 } else { 0 };
    if value == 0.0 {
        return (0, sign);
    }
    if !value.is_finite() {
        return (
            if value.is_nan() { 3 << 62 } else { 1 << 63 },
            sign | 0x7fff,
        );
    }
    let (fraction, exponent) = libm::frexp(value.abs());
    let mantissa = libm::scalbn(fraction, 64) as u64; // 2^63 at least.
    (mantissa, sign | (exponent + 16382) as u16)
}

/// The bytes of a `[…]`.
struct Set([bool; 256]);

impl Set {
    fn read(format: &[u8], at: &mut usize) -> Option<Self> {
        let is_not = format.get(*at) == Some(&b'^');
        *at += usize::from(is_not);
        let mut has = [false; 256];
        let start = *at;
        loop {
            let byte = *format.get(*at)?;
            if byte == b']' && *at > start {
                break;
            }
            let is_range = format.get(*at + 1) == Some(&b'-')
                && format.get(*at + 2).is_some_and(|end| *end != b']');
            let end = if is_range { format[*at + 2] } else { byte };
            for member in byte..=end {
                has[usize::from(member)] = true;
            }
            *at += if is_range { 3 } else { 1 };
        }
        *at += 1;
        Some(Self(has.map(|has| has != is_not)))
    }

    fn has(&self, byte: u8) -> bool {
        self.0[usize::from(byte)]
    }
}

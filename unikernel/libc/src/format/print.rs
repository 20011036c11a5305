//! `printf`.
#![allow(unsafe_code, reason = "arguments are addresses")]

use core::ffi::{c_char, c_int, c_long, c_short};

use super::{float, list::VaList};
use crate::{
    errno::{EILSEQ, EINVAL, EOVERFLOW},
    strings::strnlen,
};

/// Where printed bytes go.
pub(crate) trait Sink {
    /// Takes them, or what there is room for.
    fn put(&mut self, bytes: &[u8]);
}

/// What stands between a `%` and its letter.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spec {
    pub(crate) left: bool,
    pub(crate) zeros: bool,
    pub(crate) alternate: bool,
    /// What stands before a number that is not negative.
    pub(crate) plus: Option<u8>,
    pub(crate) width: usize,
    pub(crate) precision: Option<usize>,
}

/// What counts, and hands on.
struct Out<'a> {
    sink: &'a mut dyn Sink,
    bytes: usize,
}

impl Out<'_> {
    fn put(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len());
        self.sink.put(bytes);
    }

    fn fill(&mut self, byte: u8, mut count: usize) {
        let some = [byte; 32];
        while count > 0 {
            let now = count.min(some.len());
            self.put(&some[..now]);
            count -= now;
        }
    }

    /// Puts `prefix`, `zeros` and `body` into the width of `spec`.
    fn pad(&mut self, spec: Spec, prefix: &[u8], zeros: usize, body: &[&[u8]]) {
        let all: usize = body.iter().map(|part| part.len()).sum();
        let bytes = prefix.len().saturating_add(zeros).saturating_add(all);
        let room = spec.width.saturating_sub(bytes);
        let fills_with_zeros = spec.zeros && !spec.left;
        if !spec.left && !fills_with_zeros {
            self.fill(b' ', room);
        }
        self.put(prefix);
        self.fill(b'0', if fills_with_zeros { room } else { 0 });
        self.fill(b'0', zeros);
        for part in body {
            self.put(part);
        }
        if spec.left {
            self.fill(b' ', room);
        }
    }
}

/// How large an argument is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Char,
    Short,
    Int,
    /// `l`, `ll`, `j`, `z`, `t`: all of 64 bits.
    Long,
    LongDouble,
}

/// Reads what stands before the letter of a conversion, from `at` on.
pub(crate) fn length(format: &[u8], at: &mut usize) -> Length {
    let next = |offset: usize, byte: u8| format.get(*at + offset) == Some(&byte);
    let (length, bytes) = match format.get(*at) {
        Some(b'h') if next(1, b'h') => (Length::Char, 2),
        Some(b'h') => (Length::Short, 1),
        Some(b'l') if next(1, b'l') => (Length::Long, 2),
        Some(b'l' | b'j' | b'z' | b't' | b'q' | b'Z') => (Length::Long, 1),
        Some(b'L') => (Length::LongDouble, 1),
        _ => (Length::Int, 0),
    };
    *at += bytes;
    length
}

/// A number in the text, which is cut at what no `int` is.
fn number(format: &[u8], at: &mut usize) -> usize {
    let mut number = 0usize;
    while let Some(digit @ b'0'..=b'9') = format.get(*at) {
        number = number
            .saturating_mul(10)
            .saturating_add(usize::from(digit - b'0'));
        *at += 1;
    }
    number
}

/// Prints: how many bytes that is, or the number of an error.
///
/// # Safety
///
/// The arguments are those that `format` asks for.
pub(crate) unsafe fn print(
    sink: &mut dyn Sink,
    format: &[u8],
    list: &mut VaList,
) -> Result<c_int, c_int> {
    let mut out = Out { sink, bytes: 0 };
    let mut at = 0;
    while at < format.len() {
        let text = format[at..].iter().position(|byte| *byte == b'%');
        let text = &format[at..][..text.unwrap_or(format.len() - at)];
        out.put(text);
        at += text.len();
        if at < format.len() {
            at += 1;
            // SAFETY: says the caller.
            unsafe { conversion(&mut out, format, &mut at, list)? };
        }
    }
    c_int::try_from(out.bytes).map_err(|_| EOVERFLOW)
}

/// One conversion, behind its `%`.
///
/// # Safety
///
/// As [`print`].
unsafe fn conversion(
    out: &mut Out<'_>,
    format: &[u8],
    at: &mut usize,
    list: &mut VaList,
) -> Result<(), c_int> {
    let mut spec = Spec::default();
    loop {
        match format.get(*at) {
            Some(b'-') => spec.left = true,
            Some(b'0') => spec.zeros = true,
            Some(b'#') => spec.alternate = true,
            Some(b'+') => spec.plus = Some(b'+'),
            Some(b' ') => spec.plus = spec.plus.or(Some(b' ')),
            // Groups of digits: there are none in the locale `C`.
            Some(b'\'' | b'I') => {}
            _ => break,
        }
        *at += 1;
    }
    if format.get(*at) == Some(&b'*') {
        *at += 1;
        // SAFETY: says the caller, here and below.
        let width = unsafe { list.integer() } as c_int;
        spec.left |= width < 0;
        spec.width = width.unsigned_abs() as usize;
    } else {
        spec.width = number(format, at);
    }
    if spec.width > c_int::MAX as usize {
        return Err(EOVERFLOW);
    }
    if format.get(*at) == Some(&b'.') {
        *at += 1;
        spec.precision = if format.get(*at) == Some(&b'*') {
            *at += 1;
            // SAFETY: as above.
            usize::try_from(unsafe { list.integer() } as c_int).ok()
        } else {
            Some(number(format, at))
        };
        if spec
            .precision
            .is_some_and(|precision| precision > c_int::MAX as usize)
        {
            return Err(EOVERFLOW);
        }
    }
    let length = length(format, at);
    let letter = *format.get(*at).ok_or(EINVAL)?;
    *at += 1;
    match letter {
        b'd' | b'i' => {
            // SAFETY: as above.
            let value = signed(unsafe { list.integer() }, length);
            let sign = if value < 0 { Some(b'-') } else { spec.plus };
            integer(out, spec, sign.as_slice(), value.unsigned_abs(), 10, false);
        }
        b'u' | b'o' | b'x' | b'X' => {
            // SAFETY: as above.
            let value = unsigned(unsafe { list.integer() }, length);
            let prefix: &[u8] = match letter {
                b'x' if spec.alternate && value != 0 => b"0x",
                b'X' if spec.alternate && value != 0 => b"0X",
                _ => b"",
            };
            let base = match letter {
                b'u' => 10,
                b'o' => 8,
                _ => 16,
            };
            integer(out, spec, prefix, value, base, letter == b'X');
        }
        b'p' => {
            // SAFETY: as above.
            let value = unsafe { list.integer() };
            if value == 0 {
                out.pad(
                    Spec {
                        zeros: false,
                        ..spec
                    },
                    b"",
                    0,
                    &[b"(nil)"],
                );
            } else {
                let sign = spec.plus.map(|plus| [plus, b'0', b'x']);
                let prefix = sign.as_ref().map_or(&b"0x"[..], |sign| &sign[..]);
                integer(out, spec, prefix, value, 16, false);
            }
        }
        b'e' | b'E' | b'f' | b'F' | b'g' | b'G' | b'a' | b'A' => {
            let value = match length {
                // SAFETY: as above.
                Length::LongDouble => unsafe { list.long_double() },
                // SAFETY: as above.
                _ => unsafe { list.double() },
            };
            let number = float::text(value, spec, letter);
            let sign = if value.is_sign_negative() {
                Some(b'-')
            } else {
                spec.plus
            };
            let mut prefix = [0; 3];
            let signs = sign.as_slice().len();
            prefix[..signs].copy_from_slice(sign.as_slice());
            prefix[signs..][..number.prefix.len()].copy_from_slice(number.prefix);
            let spec = Spec {
                zeros: spec.zeros && value.is_finite(),
                ..spec
            };
            let prefix = &prefix[..signs + number.prefix.len()];
            number.parts(|parts| out.pad(spec, prefix, 0, parts));
        }
        b'c' if length != Length::Long => {
            // SAFETY: as above.
            let byte = unsafe { list.integer() } as u8;
            out.pad(
                Spec {
                    zeros: false,
                    ..spec
                },
                b"",
                0,
                &[&[byte]],
            );
        }
        b'c' | b'C' => {
            // SAFETY: as above.
            let wide = unsafe { list.integer() } as u32;
            let character = char::from_u32(wide).ok_or(EILSEQ)?;
            let mut room = [0; 4];
            let bytes = character.encode_utf8(&mut room).as_bytes();
            out.pad(
                Spec {
                    zeros: false,
                    ..spec
                },
                b"",
                0,
                &[bytes],
            );
        }
        b's' if length != Length::Long => {
            // SAFETY: as above.
            let text: *const c_char = unsafe { list.address() };
            let nothing = spec.precision.is_none_or(|precision| precision >= 6);
            let text = if text.is_null() {
                if nothing {
                    c"(null)".as_ptr()
                } else {
                    c"".as_ptr()
                }
            } else {
                text
            };
            let bytes_max = spec.precision.unwrap_or(usize::MAX);
            // SAFETY: it is a text, or has as many bytes as the precision says.
            let bytes = unsafe { strnlen(text, bytes_max) };
            // SAFETY: so many were just looked at.
            let text = unsafe { core::slice::from_raw_parts(text.cast(), bytes) };
            out.pad(
                Spec {
                    zeros: false,
                    ..spec
                },
                b"",
                0,
                &[text],
            );
        }
        b's' | b'S' => {
            // SAFETY: as above.
            let text: *const u32 = unsafe { list.address() };
            // SAFETY: as above.
            unsafe { wide_text(out, spec, text)? };
        }
        b'm' => {
            let message = crate::errno::strerror(crate::errno::get());
            // SAFETY: it is a text.
            let message = unsafe { crate::texts::bytes_of(message) };
            out.pad(
                Spec {
                    zeros: false,
                    ..spec
                },
                b"",
                0,
                &[message],
            );
        }
        b'%' => out.put(b"%"),
        // `%n` too: a text from outside would write with it.
        _ => return Err(EINVAL),
    }
    Ok(())
}

const fn signed(value: u64, length: Length) -> i64 {
    match length {
        Length::Char => value as i8 as i64,
        Length::Short => value as c_short as i64,
        Length::Int => value as c_int as i64,
        Length::Long | Length::LongDouble => value as c_long,
    }
}

const fn unsigned(value: u64, length: Length) -> u64 {
    match length {
        Length::Char => value as u8 as u64,
        Length::Short => value as u16 as u64,
        Length::Int => value as u32 as u64,
        Length::Long | Length::LongDouble => value,
    }
}

fn integer(out: &mut Out<'_>, spec: Spec, prefix: &[u8], value: u64, base: u64, upper: bool) {
    let mut room = [0; 22]; // 2^64 in octal.
    let mut start = room.len();
    let mut left = value;
    while left > 0 {
        start -= 1;
        let digit = (left % base) as u8;
        room[start] = match digit {
            0..10 => b'0' + digit,
            _ if upper => b'A' + digit - 10,
            _ => b'a' + digit - 10,
        };
        left /= base;
    }
    let digits = &room[start..];
    let mut digits_min = spec.precision.unwrap_or(1);
    if base == 8 && spec.alternate {
        digits_min = digits_min.max(digits.len() + 1);
    }
    let zeros = digits_min.saturating_sub(digits.len());
    // A precision says how many digits there are, and zeros fill no width then.
    let spec = Spec {
        zeros: spec.zeros && spec.precision.is_none(),
        ..spec
    };
    out.pad(spec, prefix, zeros, &[digits]);
}

/// A text of wide characters, as UTF-8; as many whole ones as the precision has room for.
///
/// # Safety
///
/// `text` is null or ends with a zero, unless the precision is over before.
unsafe fn wide_text(out: &mut Out<'_>, spec: Spec, text: *const u32) -> Result<(), c_int> {
    let spec = Spec {
        zeros: false,
        ..spec
    };
    if text.is_null() {
        out.pad(spec, b"", 0, &[b"(null)"]);
        return Ok(());
    }
    let bytes_max = spec.precision.unwrap_or(usize::MAX);
    // Once to count, once to write.
    let each = |put: &mut dyn FnMut(&[u8])| -> Result<(), c_int> {
        let mut bytes = 0;
        for offset in 0.. {
            if bytes >= bytes_max {
                break;
            }
            // SAFETY: it has not ended.
            let wide = unsafe { text.wrapping_add(offset).read() };
            if wide == 0 {
                break;
            }
            let character = char::from_u32(wide).ok_or(EILSEQ)?;
            bytes += character.len_utf8();
            if bytes > bytes_max {
                break;
            }
            put(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        Ok(())
    };
    let mut bytes = 0;
    each(&mut |character| bytes += character.len())?;
    let room = spec.width.saturating_sub(bytes);
    out.fill(b' ', if spec.left { 0 } else { room });
    each(&mut |character| out.put(character))?;
    out.fill(b' ', if spec.left { room } else { 0 });
    Ok(())
}

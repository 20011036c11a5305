//! Numbers with a fraction as `printf` writes them. The digits are those of Rust's `core`, which rounds the number's exact value.

use core::fmt::{self, Write};

use super::print::Spec;

/// Digits behind the point that a double can have; all further ones are zero.
const DIGITS_MAX: usize = 1074;
/// The longest text: 309 digits, a point, and those.
const TEXT_BYTES: usize = 309 + 1 + DIGITS_MAX + 8;

/// A text that is not on the heap, as printing is to work when that is full.
struct Text {
    bytes: [u8; TEXT_BYTES],
    len: usize,
}

impl Text {
    fn new() -> Self {
        Self {
            bytes: [0; TEXT_BYTES],
            len: 0,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl Write for Text {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.len..self.len + text.len());
        room.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len += text.len();
        Ok(())
    }
}

/// A number without its sign.
pub(super) struct Number {
    /// `0x` of a hexadecimal one.
    pub(super) prefix: &'static [u8],
    text: Text,
    /// Zeros behind the text.
    zeros: usize,
    exponent: Text8,
}

struct Text8 {
    bytes: [u8; 8],
    len: usize,
}

impl Text8 {
    const fn new() -> Self {
        Self {
            bytes: [0; 8],
            len: 0,
        }
    }

    /// `letter`, a sign, and at least `digits_min` digits.
    fn exponent(letter: u8, exponent: i32, digits_min: usize) -> Self {
        let mut text = Self::new();
        let mut put = |byte| {
            text.bytes[text.len] = byte;
            text.len += 1;
        };
        put(letter);
        put(if exponent < 0 { b'-' } else { b'+' });
        let size = exponent.unsigned_abs();
        for (place, power) in [1000, 100, 10, 1].into_iter().enumerate() {
            if size >= power || 4 - place <= digits_min {
                put(b'0' + (size / power % 10) as u8);
            }
        }
        text
    }
}

impl Number {
    /// Gives the parts of its text to `then`.
    pub(super) fn parts(&self, then: impl FnOnce(&[&[u8]])) {
        // Zeros beyond what a double has are rare and few, but may be as many as a precision says.
        const SOME: [u8; 256] = [b'0'; 256];
        let exponent = &self.exponent.bytes[..self.exponent.len];
        if self.zeros <= SOME.len() {
            then(&[self.text.as_bytes(), &SOME[..self.zeros], exponent]);
        } else {
            let zeros = alloc::vec![b'0'; self.zeros];
            then(&[self.text.as_bytes(), &zeros, exponent]);
        }
    }
}

/// The text of a number as `letter` wants it, without its sign.
pub(super) fn text(value: f64, spec: Spec, letter: u8) -> Number {
    let size = value.abs();
    let is_upper = letter.is_ascii_uppercase();
    let mut number = Number {
        prefix: b"",
        text: Text::new(),
        zeros: 0,
        exponent: Text8::new(),
    };
    // None of what follows is longer than the text has room for.
    let _ = if !size.is_finite() {
        number.text.write_str(match (size.is_nan(), is_upper) {
            (true, false) => "nan",
            (true, true) => "NAN",
            (false, false) => "inf",
            (false, true) => "INF",
        })
    } else {
        match letter.to_ascii_lowercase() {
            b'f' => number.fixed(size, spec.precision.unwrap_or(6), spec.alternate),
            b'e' => number.scientific(size, spec.precision.unwrap_or(6), spec.alternate, is_upper),
            b'g' => number.shorter(
                size,
                spec.precision.unwrap_or(6).max(1),
                spec.alternate,
                is_upper,
            ),
            _ => number.hexadecimal(size, spec.precision, spec.alternate, is_upper),
        }
    };
    number
}

impl Number {
    fn fixed(&mut self, size: f64, precision: usize, alternate: bool) -> fmt::Result {
        let digits = precision.min(DIGITS_MAX);
        self.zeros = precision - digits;
        write!(self.text, "{size:.digits$}")?;
        self.point(precision == 0 && alternate)
    }

    fn scientific(
        &mut self,
        size: f64,
        precision: usize,
        alternate: bool,
        is_upper: bool,
    ) -> fmt::Result {
        let digits = precision.min(DIGITS_MAX);
        self.zeros = precision - digits;
        let exponent = self.mantissa(size, digits)?;
        self.exponent = Text8::exponent(if is_upper { b'E' } else { b'e' }, exponent, 2);
        self.point(precision == 0 && alternate)
    }

    /// Writes the digits of the scientific notation and returns its exponent.
    fn mantissa(&mut self, size: f64, digits: usize) -> Result<i32, fmt::Error> {
        write!(self.text, "{size:.digits$e}")?;
        let end = self.text.as_bytes().iter().rposition(|byte| *byte == b'e');
        let end = end.ok_or(fmt::Error)?;
        let exponent = str::from_utf8(&self.text.as_bytes()[end + 1..]);
        let exponent = exponent.ok().and_then(|exponent| exponent.parse().ok());
        self.text.len = end;
        exponent.ok_or(fmt::Error)
    }

    /// The notation that is the shorter one, without zeros at its end.
    fn shorter(
        &mut self,
        size: f64,
        precision: usize,
        alternate: bool,
        is_upper: bool,
    ) -> fmt::Result {
        let digits = precision.min(DIGITS_MAX);
        let exponent = self.mantissa(size, digits - 1)?;
        let is_scientific = exponent < -4 || i64::from(exponent) >= precision as i64;
        if !is_scientific {
            self.text.len = 0;
            let behind = precision as i64 - 1 - i64::from(exponent);
            self.fixed(size, usize::try_from(behind).unwrap_or(0), alternate)?;
        } else {
            self.exponent = Text8::exponent(if is_upper { b'E' } else { b'e' }, exponent, 2);
            self.zeros = precision - digits;
            self.point(precision == 1 && alternate)?;
        }
        if !alternate && self.text.as_bytes().contains(&b'.') {
            self.zeros = 0;
            let kept = self.text.as_bytes().iter().rposition(|byte| *byte != b'0');
            let kept = kept.unwrap_or(0);
            let is_point = self.text.bytes[kept] == b'.';
            self.text.len = if is_point { kept } else { kept + 1 };
        }
        Ok(())
    }

    fn point(&mut self, is_wanted: bool) -> fmt::Result {
        if is_wanted {
            self.text.write_char('.')
        } else {
            Ok(())
        }
    }

    fn hexadecimal(
        &mut self,
        size: f64,
        precision: Option<usize>,
        alternate: bool,
        is_upper: bool,
    ) -> fmt::Result {
        const MANTISSA: u32 = 52;
        self.prefix = if is_upper { b"0X" } else { b"0x" };
        let bits = size.to_bits();
        let raw_exponent = (bits >> MANTISSA) as i32;
        let fraction = bits & ((1 << MANTISSA) - 1);
        let (mut lead, exponent) = match (raw_exponent, fraction) {
            (0, 0) => (0, 0),
            (0, _) => (0, -1022),
            _ => (1u64, raw_exponent - 1023),
        };
        let mut fraction = fraction;
        let mut digits = 13;
        match precision {
            Some(precision) if precision < 13 => {
                let dropped = 4 * (13 - precision as u32);
                let all = lead << MANTISSA | fraction;
                let (kept, rest) = (all >> dropped, all & ((1 << dropped) - 1));
                let half = 1 << (dropped - 1);
                let rounded = kept + u64::from(rest > half || (rest == half && kept & 1 == 1));
                lead = (rounded << dropped) >> MANTISSA;
                fraction = (rounded << dropped) & ((1 << MANTISSA) - 1);
                digits = precision;
            }
            Some(precision) => self.zeros = precision - 13,
            None => digits -= (fraction.trailing_zeros() / 4).min(13) as usize,
        }
        write!(self.text, "{lead}")?;
        if digits > 0 || self.zeros > 0 || alternate {
            self.text.write_char('.')?;
        }
        for place in 0..digits {
            let digit = (fraction >> (48 - 4 * place)) as u32 & 15;
            let digit = char::from_digit(digit, 16).unwrap_or('0');
            self.text.write_char(if is_upper {
                digit.to_ascii_uppercase()
            } else {
                digit
            })?;
        }
        self.exponent = Text8::exponent(if is_upper { b'P' } else { b'p' }, exponent, 1);
        Ok(())
    }
}

//! Sizes and times as people write them: `16MiB`, `500ms`. One way on command lines, in `jiffy.toml` and in `jiffyd.toml`.
//!
//! - A size is a whole number and a unit: `B`, `K`, `M` or `G`. `K`, `KB` and `KiB` all mean 1024 bytes, `M`, `MB` and `MiB`
//!   1024 of those, and so on, because memory comes in powers of two. Case does not matter.
//! - A time is one or more whole numbers with units: `500ms`, `3s`, `2m 30s`, `1h`.
//! - A number without a unit is refused, because nobody knows what it means; only keys whose name ends with the unit, as
//!   `queue_ms_max` does, take a number as well ([`bytes_or_text`], [`ms_or_text`]).
//!
//! The errors are the rule alone: whoever reads the value knows what it is and where it stands.

use std::{fmt, marker::PhantomData, time::Duration};

use serde::{
    Deserializer,
    de::{self, Unexpected, Visitor},
};

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum SizeError {
    #[error("give a whole number with a unit, such as 16M or 16MiB")]
    NoNumber,
    #[error("give a unit, such as {0}")]
    NoUnit(String),
    #[error("the unit must be B, K, M or G, such as 16M; KB and KiB mean the same as K")]
    Unit,
    #[error("must be less than 16 EiB")]
    TooLarge,
}

/// Why a text is no time.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum TimeError {
    #[error("give a unit, such as {0}s or {0}ms")]
    NoUnit(String),
    #[error("give whole numbers with units, such as 500ms, 3s or 2m 30s")]
    NoTime,
}

/// The bytes of a size.
pub fn parse_size(text: &str) -> Result<u64, SizeError> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, unit) = text.split_at(digits);
    if digits.is_empty() {
        return Err(SizeError::NoNumber);
    }
    let number: u64 = digits.parse().map_err(|_| SizeError::TooLarge)?;
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "" => return Err(SizeError::NoUnit(with_unit(number))),
        "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        fraction if fraction.starts_with(['.', ',']) => return Err(SizeError::NoNumber),
        _ => return Err(SizeError::Unit),
    };
    number.checked_mul(1 << shift).ok_or(SizeError::TooLarge)
}

/// What a number without a unit may have meant.
fn with_unit(number: u64) -> String {
    match number {
        // Nobody wants so many of anything larger.
        large @ 0x10_0000.. => format!("{large}B, or {}M", large >> 20),
        small => format!("{small}M or {small}MiB"),
    }
}

/// A number of bytes for people: `96.0 KiB`.
#[derive(Clone, Copy, Debug)]
pub struct Bytes(pub u64);

impl fmt::Display for Bytes {
    #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.0 {
            bytes @ 0..1024 => format!("{bytes} B"),
            bytes @ 1024..0x10_0000 => format!("{:.1} KiB", bytes as f64 / 1024.0),
            bytes => format!("{:.1} MiB", bytes as f64 / 1_048_576.0),
        };
        f.pad(&text)
    }
}

/// A time.
pub fn parse_time(text: &str) -> Result<Duration, TimeError> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TimeError::NoUnit(text.into()));
    }
    humantime::parse_duration(text).map_err(|_| TimeError::NoTime)
}

/// Milliseconds of a time; a part of one is a whole one, so that no time becomes none.
pub fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

/// For keys whose name says `bytes`: a number of them, or a size.
pub fn bytes_or_text<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Number {
        what: "size",
        rule: "a number of bytes, or a size such as \"16MiB\"",
        parse: |text| parse_size(text).map_err(|error| error.to_string()),
        number: PhantomData,
    })
}

/// For keys whose name says `ms`: a number of milliseconds, or a time.
pub fn ms_or_text<'de, T: TryFrom<u64>, D: Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    from.deserialize_any(Number {
        what: "time",
        rule: "a number of milliseconds, or a time such as \"500ms\"",
        parse: |text| match parse_time(text) {
            Ok(time) => Ok(milliseconds(time)),
            Err(error) => Err(error.to_string()),
        },
        number: PhantomData,
    })
}

struct Number<T> {
    what: &'static str,
    rule: &'static str,
    parse: fn(&str) -> Result<u64, String>,
    number: PhantomData<T>,
}

impl<T: TryFrom<u64>> Visitor<'_> for Number<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule)
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<T, E> {
        T::try_from(number)
            .map_err(|_| E::custom(format!("invalid {} {number}: must be smaller", self.what)))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        match u64::try_from(number) {
            Ok(number) => self.visit_u64(number),
            Err(_) => Err(E::invalid_value(Unexpected::Signed(number), &self)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        let number = (self.parse)(text);
        let number =
            number.map_err(|rule| E::custom(format!("invalid {} {text:?}: {rule}", self.what)))?;
        self.visit_u64(number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;

    #[test]
    fn all_spellings_of_a_unit_mean_the_same() {
        for (units, bytes) in [
            (["B", "b", "B"], 16),
            (["K", "KB", "KiB"], 16 << 10),
            (["M", "MB", "MiB"], 16 << 20),
            (["G", "GB", "GiB"], 16 << 30),
        ] {
            for unit in units {
                for text in [format!("16{unit}"), format!(" 16 {} ", unit.to_lowercase())] {
                    assert_eq!(parse_size(&text), Ok(bytes), "{text}");
                }
            }
        }
    }

    #[test]
    fn what_is_no_size_is_told_with_what_would_be_one() {
        let check = |text: &str, rule: &str| {
            let error = parse_size(text).expect_err(text).to_string();
            assert_eq!(error, rule, "{text}");
        };
        check("16", "give a unit, such as 16M or 16MiB");
        check("16777216", "give a unit, such as 16777216B, or 16M");
        for text in ["", "MiB", "-4M", "1.5G", "1,5G", "½G"] {
            check(
                text,
                "give a whole number with a unit, such as 16M or 16MiB",
            );
        }
        for text in ["12 potatoes", "1X", "1MiBs", "1T", "1e3M"] {
            check(
                text,
                "the unit must be B, K, M or G, such as 16M; KB and KiB mean the same as K",
            );
        }
        for text in ["18446744073709551616B", "17179869184G"] {
            check(text, "must be less than 16 EiB");
        }
        assert_eq!(parse_size("18446744073709551615B"), Ok(u64::MAX));
    }

    #[test]
    fn sizes_are_readable() {
        let check = |bytes, text: &str| assert_eq!(Bytes(bytes).to_string(), text);
        check(0, "0 B");
        check(1023, "1023 B");
        check(1024, "1.0 KiB");
        check(96 << 10, "96.0 KiB");
        check(3 << 30, "3072.0 MiB");
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse_time("3s"), Ok(Duration::from_secs(3)));
        assert_eq!(parse_time(" 2m 30s "), Ok(Duration::from_secs(150)));
        assert_eq!(
            parse_time("3").expect_err("3").to_string(),
            "give a unit, such as 3s or 3ms"
        );
        for text in ["", "soon", "-1s", "s", "99999999999999999999s"] {
            assert_eq!(parse_time(text), Err(TimeError::NoTime), "{text}");
        }
        assert_eq!(milliseconds(Duration::from_micros(1)), 1);
        assert_eq!(milliseconds(Duration::MAX), u64::MAX);
    }

    #[derive(Debug, PartialEq, Deserialize)]
    struct Keys {
        #[serde(deserialize_with = "bytes_or_text", default)]
        some_bytes: u32,
        #[serde(deserialize_with = "ms_or_text", default)]
        some_ms: u64,
    }

    #[test]
    fn keys_with_a_unit_take_numbers_and_texts() {
        let check = |text: &str, some_bytes, some_ms| {
            assert_eq!(
                toml::from_str(text),
                Ok(Keys {
                    some_bytes,
                    some_ms
                }),
                "{text}"
            );
        };
        check("some_bytes = 65536", 65536, 0);
        check("some_bytes = \"64K\"\nsome_ms = \"2s\"", 65536, 2000);
        check("some_ms = 7", 0, 7);
        for (text, said) in [
            (
                "some_bytes = \"64\"",
                "invalid size \"64\": give a unit, such as 64M or 64MiB",
            ),
            (
                "some_bytes = \"4G\"",
                "invalid size 4294967296: must be smaller",
            ),
            (
                "some_ms = \"soon\"",
                "invalid time \"soon\": give whole numbers",
            ),
            ("some_ms = -1", "a number of milliseconds, or a time"),
            ("some_ms = true", "a number of milliseconds, or a time"),
        ] {
            let error = toml::from_str::<Keys>(text).expect_err(text).to_string();
            assert!(error.contains("line 1") && error.contains(said), "{error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".{0,20}") {
            let _ = (parse_size(&text), parse_time(&text));
        }

        #[test]
        fn a_size_is_what_was_written(number in 0_u64..1 << 30, unit in 0_usize..4) {
            let text = format!("{number}{}", ["B", "KiB", "MB", "G"][unit]);
            prop_assert_eq!(parse_size(&text), Ok(number << (10 * unit)));
        }
    }
}

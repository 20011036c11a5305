//! Integers of every size.

tests! {
    parse_edges_of_each parse_tells_why format_and_parse_each from_str_radix formats_of_each_base checked wrapping saturating
    overflowing division_rounds_to_zero euclid powers roots logs bit_counts rotate_and_shift bytes_each_way swap_and_reverse
    wide_arithmetic wide_text abs_and_signs isqrt_of_each carrying next_multiple_and_power midpoint try_from_each
    nonzero wrapping_type saturating_type sums_and_products ranges_at_the_end shifts_checked gcd_by_hand debug_of_hex
}

macro_rules! each {
    ($name:ident, $type:ident => $body:block) => {
        fn $name() {
            macro_rules! of {
                ($of:ty) => {{
                    type $type = $of;
                    $body
                }};
            }
            of!(u8);
            of!(u16);
            of!(u32);
            of!(u64);
            of!(u128);
            of!(usize);
            of!(i8);
            of!(i16);
            of!(i32);
            of!(i64);
            of!(i128);
            of!(isize);
        }
    };
}

each!(parse_edges_of_each, T => {
    for number in [T::MIN, T::MAX, 0, 1, 77] {
        assert_eq!(number.to_string().parse(), Ok(number));
    }
    let beyond = format!("{}0", T::MAX);
    assert!(beyond.parse::<T>().is_err());
});

each!(format_and_parse_each, T => {
    let mut number: T = 1;
    while let Some(next) = number.checked_mul(3) {
        assert_eq!(format!("{number}").parse(), Ok(number));
        assert_eq!(T::from_str_radix(&format!("{number:x}"), 16), Ok(number));
        assert_eq!(T::from_str_radix(&format!("{number:b}"), 2), Ok(number));
        number = next;
    }
});

each!(checked, T => {
    assert_eq!((T::MAX.checked_add(1), T::MIN.checked_sub(1), T::MAX.checked_mul(2)), (None, None, None));
    assert_eq!((T::MAX.checked_add(0), (5 as T).checked_sub(3), (5 as T).checked_mul(5)), (Some(T::MAX), Some(2), Some(25)));
    assert_eq!(((5 as T).checked_div(0), (5 as T).checked_rem(0), (7 as T).checked_rem(4)), (None, None, Some(3)));
    assert_eq!(((3 as T).checked_pow(4), T::MAX.checked_pow(2)), (Some(81), None));
});

each!(wrapping, T => {
    assert_eq!((T::MAX.wrapping_add(1), T::MIN.wrapping_sub(1)), (T::MIN, T::MAX));
    assert_eq!(T::MAX.wrapping_mul(2), (0 as T).wrapping_sub(2).wrapping_add(T::MIN.wrapping_mul(2)));
    assert_eq!((1 as T).wrapping_shl(T::BITS + 3), 8);
    assert_eq!(T::MIN.wrapping_neg(), T::MIN);
});

each!(saturating, T => {
    assert_eq!((T::MAX.saturating_add(1), T::MIN.saturating_sub(1), T::MAX.saturating_mul(3)), (T::MAX, T::MIN, T::MAX));
    assert_eq!(((7 as T).saturating_pow(2), T::MAX.saturating_pow(3)), (49, T::MAX));
});

each!(overflowing, T => {
    assert_eq!((T::MAX.overflowing_add(1), (1 as T).overflowing_add(1)), ((T::MIN, true), (2, false)));
    assert_eq!((T::MIN.overflowing_sub(1), T::MAX.overflowing_mul(1)), ((T::MAX, true), (T::MAX, false)));
});

each!(bit_counts, T => {
    assert_eq!((T::BITS as usize, (0 as T).count_ones(), (!(0 as T)).count_ones()), (size_of::<T>() * 8, 0, T::BITS));
    assert_eq!(((0 as T).leading_zeros(), (0 as T).trailing_zeros(), (1 as T).leading_zeros(), (8 as T).trailing_zeros()), (T::BITS, T::BITS, T::BITS - 1, 3));
    assert_eq!(((!(0 as T)).leading_ones(), (7 as T).trailing_ones()), (T::BITS, 3));
});

each!(bytes_each_way, T => {
    for number in [T::MIN, T::MAX, 1, 0x12] {
        assert_eq!((T::from_le_bytes(number.to_le_bytes()), T::from_be_bytes(number.to_be_bytes()), T::from_ne_bytes(number.to_ne_bytes())), (number, number, number));
        let mut turned = number.to_le_bytes();
        turned.reverse();
        assert_eq!(turned, number.to_be_bytes());
        assert_eq!(T::from_be(number.to_be()), number);
    }
});

each!(swap_and_reverse, T => {
    assert_eq!(((1 as T).swap_bytes().swap_bytes(), (1 as T).reverse_bits().leading_zeros()), (1, 0));
    assert_eq!((6 as T).reverse_bits().reverse_bits(), 6);
});

each!(rotate_and_shift, T => {
    let number: T = 0b1011;
    for by in 0..=2 * T::BITS {
        assert_eq!(number.rotate_left(by).rotate_right(by), number);
    }
    assert_eq!(number.rotate_left(T::BITS), number);
    assert_eq!((number >> 1, number << 1, number & 0b0110, number ^ 0b1111, number | 0b0100), (0b101, 0b10110, 0b0010, 0b0100, 0b1111));
});

each!(shifts_checked, T => {
    assert_eq!(((1 as T).checked_shl(T::BITS), (1 as T).checked_shr(T::BITS), (4 as T).checked_shr(2)), (None, None, Some(1)));
    assert_eq!((1 as T).overflowing_shl(T::BITS), (1, true));
});

each!(isqrt_of_each, T => {
    for number in [0, 1, 2, 3, 4, 15, 16, 17, 99, 100, T::MAX, T::MAX - 1] {
        let root = number.isqrt();
        assert!(root * root <= number);
        assert!((root + 1).checked_mul(root + 1).is_none_or(|square| square > number));
    }
});

each!(logs, T => {
    assert_eq!(((1 as T).ilog2(), (99 as T).ilog10(), (100 as T).ilog10(), (81 as T).ilog(3)), (0, 1, 2, 4));
    assert_eq!((T::MAX.ilog2(), (0 as T).checked_ilog10()), (T::BITS - 1 - u32::from(T::MIN != 0), None));
    let digits = T::MAX.to_string().len() as u32;
    assert_eq!(T::MAX.ilog10(), digits - 1);
});

fn parse_tells_why() {
    use std::num::IntErrorKind::*;
    for (text, kind) in [
        ("", Empty),
        ("-", InvalidDigit),
        ("12a", InvalidDigit),
        ("128", PosOverflow),
        ("-129", NegOverflow),
    ] {
        assert_eq!(
            *text.parse::<i8>().expect_err("none").kind(),
            kind,
            "{text}"
        );
    }
    assert_eq!(
        *"0".parse::<std::num::NonZeroU8>().expect_err("none").kind(),
        Zero
    );
    assert_eq!(*"-1".parse::<u8>().expect_err("none").kind(), InvalidDigit);
    assert_eq!(
        "999".parse::<u8>().expect_err("none").to_string(),
        "number too large to fit in target type"
    );
}

fn from_str_radix() {
    assert_eq!(
        (
            u8::from_str_radix("ff", 16),
            i16::from_str_radix("-7fFF", 16),
            u32::from_str_radix("zz", 36)
        ),
        (Ok(255), Ok(-32767), Ok(1295))
    );
    assert!(u8::from_str_radix("100000000", 2).is_err() && u8::from_str_radix("2", 2).is_err());
    assert_eq!(i8::from_str_radix("-80", 16), Ok(i8::MIN));
}

fn formats_of_each_base() {
    assert_eq!(
        format!("{:x} {:X} {:o} {:b}", 255, 255, 8, 5),
        "ff FF 10 101"
    );
    assert_eq!(
        format!(
            "{:#x} {:#X} {:#o} {:#b} {:#010x} {:#06b}",
            255, 255, 8, 5, 255, 5
        ),
        "0xff 0xFF 0o10 0b101 0x000000ff 0b0101"
    );
    assert_eq!(
        format!("{:x} {:b} {:o}", -1i8, i8::MIN, -1i16),
        "ff 10000000 177777"
    );
    assert_eq!(
        format!(
            "{:+} {:+} {:05} {:<5}| {:^5}| {:e}",
            5, -5, -42, 7, 7, 12300
        ),
        "+5 -5 -0042 7    |   7  | 1.23e4"
    );
}

fn debug_of_hex() {
    assert_eq!(
        format!(
            "{:x?} {:X?} {:#x?} {:02x?}",
            [10, 255],
            Some(255),
            16,
            b"\x01\xff"
        ),
        "[a, ff] Some(FF) 0x10 [01, ff]"
    );
}

fn division_rounds_to_zero() {
    assert_eq!((7 / 2, -7 / 2, 7 / -2, -7 / -2), (3, -3, -3, 3));
    assert_eq!((7 % 3, -7 % 3, 7 % -3, -7 % -3), (1, -1, 1, -1));
    assert_eq!(
        (
            i32::MIN.checked_div(-1),
            i32::MIN.wrapping_div(-1),
            i32::MIN.wrapping_rem(-1),
            i32::MIN.overflowing_div(-1)
        ),
        (None, i32::MIN, 0, (i32::MIN, true))
    );
}

fn euclid() {
    assert_eq!(
        (
            (-7i32).div_euclid(2),
            (-7i32).rem_euclid(2),
            7i32.div_euclid(-2),
            7i32.rem_euclid(-2)
        ),
        (-4, 1, -3, 1)
    );
    assert_eq!(
        (
            i8::MIN.checked_rem_euclid(-1),
            7u32.div_ceil(2),
            8u32.div_ceil(2)
        ),
        (None, 4, 4)
    );
}

fn powers() {
    assert_eq!(
        (2u64.pow(63), 3i32.pow(0), (-2i64).pow(63), 10u128.pow(38)),
        (
            1 << 63,
            1,
            i64::MIN,
            100_000_000_000_000_000_000_000_000_000_000_000_000
        )
    );
    assert_eq!(
        (2u8.wrapping_pow(9), (-3i8).overflowing_pow(5)),
        (0, (13, true))
    );
}

fn roots() {
    assert_eq!(
        (u64::MAX.isqrt(), u128::MAX.isqrt(), (-1i32).checked_isqrt()),
        (u64::from(u32::MAX), u128::from(u64::MAX), None)
    );
}

fn wide_arithmetic() {
    let (one, other) = (
        std::hint::black_box(u128::MAX / 7),
        std::hint::black_box(12_345_678_901_234_567_890_123_456_789_u128),
    );
    assert_eq!(
        (one / other, one % other),
        (3_937_553_138, 4_694_644_196_366_716_003_318_247_754)
    );
    assert_eq!(one / other * other + one % other, one);
    assert_eq!(
        (
            std::hint::black_box(i128::MIN) / 3,
            std::hint::black_box(i128::MIN) % 3
        ),
        (-56_713_727_820_156_410_577_229_101_238_628_035_242, -2)
    );
    assert_eq!(
        (
            std::hint::black_box(1u128) << 100 >> 99,
            std::hint::black_box(-8i128) >> 1
        ),
        (2, -4)
    );
    assert_eq!(
        std::hint::black_box(u64::MAX as u128) * (u64::MAX as u128),
        340_282_366_920_938_463_426_481_119_284_349_108_225
    );
}

fn wide_text() {
    assert_eq!(
        u128::MAX.to_string(),
        "340282366920938463463374607431768211455"
    );
    assert_eq!(
        i128::MIN.to_string(),
        "-170141183460469231731687303715884105728"
    );
    assert_eq!(
        format!("{:x} {:#b}", u128::MAX, 1u128 << 64).len(),
        32 + 1 + 67
    );
    assert!(
        "340282366920938463463374607431768211456"
            .parse::<u128>()
            .is_err()
    );
}

fn abs_and_signs() {
    assert_eq!(
        (
            (-5i32).abs(),
            i32::MIN.checked_abs(),
            i32::MIN.wrapping_abs(),
            i32::MIN.unsigned_abs()
        ),
        (5, None, i32::MIN, 1 << 31)
    );
    assert_eq!(
        (
            3u8.abs_diff(250),
            (-100i8).abs_diff(100),
            (-3i32).signum(),
            0i32.signum()
        ),
        (247, 200, -1, 0)
    );
    assert_eq!(
        (
            i8::MIN.saturating_neg(),
            i8::MIN.saturating_abs(),
            (-1i32).is_negative()
        ),
        (127, 127, true)
    );
    assert_eq!(
        (
            5u8.checked_add_signed(-6),
            5u8.saturating_sub(9),
            250u8.checked_signed_diff(3),
            5u8.checked_neg()
        ),
        (None, 0, None, None)
    );
}

fn carrying() {
    // What does not fit, by hand: twice as wide.
    let wide = u128::from(u64::MAX) * 3;
    assert_eq!((wide as u64, (wide >> 64) as u64), (u64::MAX - 2, 2));
    assert_eq!(u64::MAX.overflowing_add(u64::MAX), (u64::MAX - 1, true));
}

fn next_multiple_and_power() {
    assert_eq!(
        (
            7u32.next_multiple_of(4),
            8u32.next_multiple_of(4),
            u8::MAX.checked_next_multiple_of(2)
        ),
        (8, 8, None)
    );
    assert_eq!(
        (
            5u32.next_power_of_two(),
            0u32.next_power_of_two(),
            129u8.checked_next_power_of_two()
        ),
        (8, 1, None)
    );
    assert!(
        64u8.is_power_of_two()
            && !0u8.is_power_of_two()
            && 12u32.is_multiple_of(4)
            && !12u32.is_multiple_of(0)
    );
}

fn midpoint() {
    assert_eq!(
        (u8::MAX.midpoint(253), 0u32.midpoint(7), (-6i32).midpoint(3)),
        (254, 3, -1)
    );
}

fn try_from_each() {
    assert_eq!(
        (
            u8::try_from(300).ok(),
            i8::try_from(-128).ok(),
            u64::try_from(-1).ok(),
            usize::try_from(u64::MAX).ok()
        ),
        (None, Some(-128), None, Some(usize::MAX))
    );
    assert_eq!(
        (i64::from(u32::MAX), i128::from(u64::MAX), u16::from(true)),
        (4_294_967_295, 18_446_744_073_709_551_615, 1)
    );
    assert_eq!(
        (
            300i32 as u8,
            -1i32 as u64,
            u32::MAX as i32,
            0xffff_ffffu32 as i64
        ),
        (44, u64::MAX, -1, 4_294_967_295)
    );
}

fn nonzero() {
    use std::num::{NonZeroI32, NonZeroU8};
    assert_eq!(
        (NonZeroU8::new(0), NonZeroU8::new(7).map(NonZeroU8::get)),
        (None, Some(7))
    );
    assert_eq!(
        (
            size_of::<Option<NonZeroU8>>(),
            NonZeroU8::MAX.checked_add(1),
            NonZeroI32::MIN.unsigned_abs().get()
        ),
        (1, None, 1 << 31)
    );
    assert_eq!(
        "9".parse::<NonZeroU8>().map(NonZeroU8::trailing_zeros),
        Ok(0)
    );
}

fn wrapping_type() {
    use std::num::Wrapping;
    let mut number = Wrapping(250u8);
    number += 10;
    assert_eq!(
        (
            number,
            number * Wrapping(100),
            -Wrapping(1u8),
            Wrapping(1u8) << 9
        ),
        (Wrapping(4), Wrapping(144), Wrapping(255), Wrapping(2))
    );
}

fn saturating_type() {
    use std::num::Saturating;
    assert_eq!(
        (
            Saturating(250u8) + Saturating(10),
            Saturating(5u8) - Saturating(9),
            -Saturating(i8::MIN)
        ),
        (Saturating(255), Saturating(0), Saturating(127))
    );
}

fn sums_and_products() {
    assert_eq!(
        ((1..=100u64).sum::<u64>(), (1..=20u64).product::<u64>()),
        (5050, 2_432_902_008_176_640_000)
    );
    assert_eq!([Some(1), Some(2)].into_iter().sum::<Option<i32>>(), Some(3));
    assert_eq!(
        [Ok(1), Err("bad"), Ok(2)]
            .into_iter()
            .sum::<Result<i32, _>>(),
        Err("bad")
    );
}

fn ranges_at_the_end() {
    assert_eq!(
        (
            (250..=u8::MAX).count(),
            (u8::MAX..=u8::MAX).count(),
            (i8::MIN..=i8::MAX).count()
        ),
        (6, 1, 256)
    );
    assert_eq!(
        (0..=u8::MAX).rev().step_by(100).collect::<Vec<_>>(),
        [255, 155, 55]
    );
    assert_eq!((u64::MAX - 1..u64::MAX).next_back(), Some(u64::MAX - 1));
    let mut range = 0..=2;
    assert_eq!(
        (range.nth(2), range.next(), range.is_empty()),
        (Some(2), None, true)
    );
}

fn gcd_by_hand() {
    fn gcd(one: u64, other: u64) -> u64 {
        if other == 0 {
            one
        } else {
            gcd(other, one % other)
        }
    }
    assert_eq!(
        (gcd(48, 18), gcd(u64::MAX, 3), gcd(1 << 40, 1 << 33)),
        (6, 3, 1 << 33)
    );
}

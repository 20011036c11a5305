//! What of `<math.h>` Rust's `std` does not call: parts of numbers, roundings to integers, classes, and `long double`.
//!
//! What takes or returns a `long double` computes with a double: the number is passed on the stack and returned in the first
//! register of the x87, which Rust has no type for, so each is a few instructions around its `double` function.
#![allow(unsafe_code, reason = "C's symbols")]

use core::{
    ffi::{c_char, c_int, c_long},
    num::FpCategory,
};

/// Symbols with the contract of what they are made of.
macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $value:expr;)+) => {
        $(
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) extern "C" fn $name($($argument: $type),*) -> $result {
                $value
            }
        )+
    };
}

// `<math.h>` of glibc.
const FP_NAN: c_int = 0;
const FP_INFINITE: c_int = 1;
const FP_ZERO: c_int = 2;
const FP_SUBNORMAL: c_int = 3;
const FP_NORMAL: c_int = 4;

const fn class(category: FpCategory) -> c_int {
    match category {
        FpCategory::Nan => FP_NAN,
        FpCategory::Infinite => FP_INFINITE,
        FpCategory::Zero => FP_ZERO,
        FpCategory::Subnormal => FP_SUBNORMAL,
        FpCategory::Normal => FP_NORMAL,
    }
}

/// Of an infinite number its sign, else zero.
const fn infinity(is_infinite: bool, is_negative: bool) -> c_int {
    match (is_infinite, is_negative) {
        (false, _) => 0,
        (true, false) => 1,
        (true, true) => -1,
    }
}

functions! {
    __fpclassify(x: f64) -> c_int = class(x.classify());
    __fpclassifyf(x: f32) -> c_int = class(x.classify());
    __isnan(x: f64) -> c_int = x.is_nan().into();
    __isnanf(x: f32) -> c_int = x.is_nan().into();
    isnan(x: f64) -> c_int = x.is_nan().into();
    isnanf(x: f32) -> c_int = x.is_nan().into();
    __isinf(x: f64) -> c_int = infinity(x.is_infinite(), x < 0.0);
    __isinff(x: f32) -> c_int = infinity(x.is_infinite(), x < 0.0);
    isinf(x: f64) -> c_int = infinity(x.is_infinite(), x < 0.0);
    isinff(x: f32) -> c_int = infinity(x.is_infinite(), x < 0.0);
    __finite(x: f64) -> c_int = x.is_finite().into();
    __finitef(x: f32) -> c_int = x.is_finite().into();
    finite(x: f64) -> c_int = x.is_finite().into();
    finitef(x: f32) -> c_int = x.is_finite().into();
    __signbit(x: f64) -> c_int = x.is_sign_negative().into();
    __signbitf(x: f32) -> c_int = x.is_sign_negative().into();

    // As conversions of the CPU: what has no number of the type becomes the least.
    lrint(x: f64) -> c_long = to_long(libm::rint(x));
    lrintf(x: f32) -> c_long = to_long(libm::rintf(x).into());
    llrint(x: f64) -> c_long = to_long(libm::rint(x));
    llrintf(x: f32) -> c_long = to_long(libm::rintf(x).into());
    lround(x: f64) -> c_long = to_long(libm::round(x));
    lroundf(x: f32) -> c_long = to_long(libm::roundf(x).into());
    llround(x: f64) -> c_long = to_long(libm::round(x));
    llroundf(x: f32) -> c_long = to_long(libm::roundf(x).into());

    ilogb(x: f64) -> c_int = exponent(x);
    ilogbf(x: f32) -> c_int = exponent(x.into());
    logb(x: f64) -> f64 = exponent_of(x);
    logbf(x: f32) -> f32 = exponent_of(x.into()) as f32;
    scalbln(x: f64, n: c_long) -> f64 = libm::scalbn(x, n.clamp(-10_000, 10_000) as c_int);
    scalblnf(x: f32, n: c_long) -> f32 = libm::scalbnf(x, n.clamp(-10_000, 10_000) as c_int);
    drem(x: f64, y: f64) -> f64 = libm::remainder(x, y);
    pow10(x: f64) -> f64 = libm::exp10(x);
    gamma(x: f64) -> f64 = math::lgamma(x);
    j0(x: f64) -> f64 = libm::j0(x);
    j1(x: f64) -> f64 = libm::j1(x);
    jn(n: c_int, x: f64) -> f64 = libm::jn(n, x);
    y0(x: f64) -> f64 = libm::y0(x);
    y1(x: f64) -> f64 = libm::y1(x);
    yn(n: c_int, x: f64) -> f64 = libm::yn(n, x);
    nan(_tag: *const c_char) -> f64 = f64::NAN;
    nanf(_tag: *const c_char) -> f32 = f32::NAN;
}

const fn to_long(x: f64) -> c_long {
    if x >= -9_223_372_036_854_775_808.0 && x < 9_223_372_036_854_775_808.0 {
        x as c_long
    } else {
        c_long::MIN
    }
}

fn exponent(x: f64) -> c_int {
    match x.classify() {
        FpCategory::Nan | FpCategory::Zero => c_int::MIN,
        FpCategory::Infinite => c_int::MAX,
        _ => libm::frexp(x).1 - 1,
    }
}

fn exponent_of(x: f64) -> f64 {
    match x.classify() {
        FpCategory::Nan => x,
        FpCategory::Zero => f64::NEG_INFINITY,
        FpCategory::Infinite => f64::INFINITY,
        _ => f64::from(libm::frexp(x).1 - 1),
    }
}

/// Symbols that return one number and write another one to a place of the caller's.
macro_rules! two {
    ($($name:ident($($argument:ident: $type:ty),+; $to:ident: $other:ty) -> $result:ty = $value:expr;)+) => {
        $(
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) unsafe extern "C" fn $name($($argument: $type,)+ $to: *mut $other) -> $result {
                let (result, other) = $value;
                // SAFETY: the caller gives the place.
                unsafe { $to.write(other) };
                result
            }
        )+
    };
}

two! {
    frexp(x: f64; exponent: c_int) -> f64 = libm::frexp(x);
    frexpf(x: f32; exponent: c_int) -> f32 = libm::frexpf(x);
    modf(x: f64; whole: f64) -> f64 = parts(x);
    modff(x: f32; whole: f32) -> f32 = { let (rest, whole) = parts(x.into()); (rest as f32, whole as f32) };
    remquo(x: f64, y: f64; quotient: c_int) -> f64 = libm::remquo(x, y);
    remquof(x: f32, y: f32; quotient: c_int) -> f32 = libm::remquof(x, y);
}

/// Fraction and whole part, both with the sign of `x`.
fn parts(x: f64) -> (f64, f64) {
    let whole = libm::trunc(x);
    let rest = if x.is_infinite() { 0.0 } else { x - whole };
    (libm::copysign(rest, x), whole)
}

/// Functions of one `long double`: it lies above the return address.
macro_rules! of_one {
    ($($name:ident = $of:path;)+) => {
        $(
            #[unsafe(naked)]
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "push rbp",
                    "mov rbp, rsp",
                    "sub rsp, 16",
                    "fld tbyte ptr [rbp + 16]",
                    "fstp qword ptr [rsp]",
                    "movsd xmm0, [rsp]",
                    // What comes behind it: an integer, or an address.
                    "call {of}",
                    "movsd [rsp], xmm0",
                    "fld qword ptr [rsp]",
                    "leave",
                    "ret",
                    of = sym $of,
                )
            }
        )+
    };
}

/// Functions of two.
macro_rules! of_two {
    ($($name:ident = $of:path;)+) => {
        $(
            #[unsafe(naked)]
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "push rbp",
                    "mov rbp, rsp",
                    "sub rsp, 16",
                    "fld tbyte ptr [rbp + 16]",
                    "fstp qword ptr [rsp]",
                    "fld tbyte ptr [rbp + 32]",
                    "fstp qword ptr [rsp + 8]",
                    "movsd xmm0, [rsp]",
                    "movsd xmm1, [rsp + 8]",
                    "call {of}",
                    "movsd [rsp], xmm0",
                    "fld qword ptr [rsp]",
                    "leave",
                    "ret",
                    of = sym $of,
                )
            }
        )+
    };
}

/// Functions that take one `long double` and return an integer.
macro_rules! to_integer {
    ($($name:ident = $of:path;)+) => {
        $(
            #[unsafe(naked)]
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "push rbp",
                    "mov rbp, rsp",
                    "sub rsp, 16",
                    "fld tbyte ptr [rbp + 16]",
                    "fstp qword ptr [rsp]",
                    "movsd xmm0, [rsp]",
                    "call {of}",
                    "leave",
                    "ret",
                    of = sym $of,
                )
            }
        )+
    };
}

/// Functions that take no `long double` and return one.
macro_rules! to_long_double {
    ($($name:ident = $of:path;)+) => {
        $(
            #[unsafe(naked)]
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "push rbp",
                    "mov rbp, rsp",
                    "sub rsp, 16",
                    "call {of}",
                    "movsd [rsp], xmm0",
                    "fld qword ptr [rsp]",
                    "leave",
                    "ret",
                    of = sym $of,
                )
            }
        )+
    };
}

use crate::{
    format::{list::from_extended, scan::to_extended},
    math, numbers,
};

of_one! {
    acosl = math::acos; asinl = math::asin; atanl = math::atan; cbrtl = math::cbrt; ceill = math::ceil; cosl = math::cos;
    coshl = math::cosh; expl = math::exp; exp2l = math::exp2; expm1l = math::expm1; fabsl = math::fabs; floorl = math::floor;
    log10l = math::log10; log1pl = math::log1p; log2l = math::log2; logl = math::log; nearbyintl = math::nearbyint;
    rintl = math::rint; roundl = math::round; sinl = math::sin; sinhl = math::sinh; sqrtl = math::sqrt; tanl = math::tan;
    tanhl = math::tanh; truncl = math::trunc; ldexpl = math::ldexp; scalbnl = math::scalbn; frexpl = frexp;
}

of_two! {
    atan2l = math::atan2; copysignl = math::copysign; fdiml = math::fdim; fmaxl = math::fmax; fminl = math::fmin;
    fmodl = math::fmod; hypotl = math::hypot; nextafterl = math::nextafter; powl = math::pow; remainderl = math::remainder;
}

to_integer! {
    lrintl = lrint; llrintl = llrint; lroundl = lround; llroundl = llround; ilogbl = ilogb;
}

to_long_double! {
    strtold = numbers::strtod;
}

/// The whole part of a `long double`, which is written as one.
#[unsafe(naked)]
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn modfl(_whole: *mut c_char) {
    core::arch::naked_asm!(
        "push rbp",
        "mov rbp, rsp",
        "sub rsp, 16",
        "mov [rsp + 8], rdi",
        "fld tbyte ptr [rbp + 16]",
        "fstp qword ptr [rsp]",
        "movsd xmm0, [rsp]",
        "mov rdi, rsp",
        "call {of}",
        "fld qword ptr [rsp]",
        "mov rdi, [rsp + 8]",
        "fstp tbyte ptr [rdi]",
        "movsd [rsp], xmm0",
        "fld qword ptr [rsp]",
        "leave",
        "ret",
        of = sym modf,
    )
}

/// Functions of a number in a register and a `long double` that all bits count of.
macro_rules! towards {
    ($($name:ident = $of:path;)+) => {
        $(
            #[unsafe(naked)]
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "mov rdi, [rsp + 8]",
                    "movzx esi, word ptr [rsp + 16]",
                    "jmp {of}",
                    of = sym $of,
                )
            }
        )+
    };
}

towards! { nexttoward = next_toward; nexttowardf = next_toward_f; }

/// Which way a number of 80 bits is from `x`: the sign of the difference, and zero if it is the same. `None` of what is none.
fn way(x: f64, mantissa: u64, sign_and_exponent: u32) -> Option<i32> {
    let y = from_extended(mantissa, sign_and_exponent as u16);
    if y != x || y.is_infinite() {
        return x.partial_cmp(&y).map(|order| -(order as i32));
    }
    // To the nearest double they are the same; which is farther from zero decides.
    let (of_x, exponent_of_x) = to_extended(x.abs());
    let of_y = (sign_and_exponent & 0x7fff, mantissa);
    let is_farther = of_y.cmp(&(exponent_of_x.into(), of_x)) as i32;
    Some(if sign_and_exponent & 0x8000 == 0 {
        is_farther
    } else {
        -is_farther
    })
}

extern "C" fn next_toward(mantissa: u64, exponent: u32, x: f64) -> f64 {
    match way(x, mantissa, exponent) {
        Some(0) => from_extended(mantissa, exponent as u16),
        Some(way) => libm::nextafter(x, f64::from(way) * f64::INFINITY),
        None => f64::NAN,
    }
}

extern "C" fn next_toward_f(mantissa: u64, exponent: u32, x: f32) -> f32 {
    match way(x.into(), mantissa, exponent) {
        Some(0) => from_extended(mantissa, exponent as u16) as f32,
        Some(way) => libm::nextafterf(x, way as f32 * f32::INFINITY),
        None => f32::NAN,
    }
}

/// Questions about a `long double`, of which all bits count.
macro_rules! classes_of_long_doubles {
    ($($name:ident = $of:path;)+) => {
        $(
            #[unsafe(naked)]
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) unsafe extern "C" fn $name() {
                core::arch::naked_asm!(
                    "mov rdi, [rsp + 8]",
                    "movzx esi, word ptr [rsp + 16]",
                    "jmp {of}",
                    of = sym $of,
                )
            }
        )+
    };
}

extern "C" fn class_of(mantissa: u64, exponent: u32) -> c_int {
    match (exponent & 0x7fff, mantissa) {
        (0x7fff, mantissa) if mantissa << 1 == 0 => FP_INFINITE,
        (0x7fff, _) => FP_NAN,
        (0, 0) => FP_ZERO,
        (0, _) => FP_SUBNORMAL,
        _ => FP_NORMAL,
    }
}
extern "C" fn is_nan(mantissa: u64, exponent: u32) -> c_int {
    c_int::from(class_of(mantissa, exponent) == FP_NAN)
}
extern "C" fn is_infinite(mantissa: u64, exponent: u32) -> c_int {
    infinity(
        class_of(mantissa, exponent) == FP_INFINITE,
        exponent & 0x8000 != 0,
    )
}
extern "C" fn is_finite(_mantissa: u64, exponent: u32) -> c_int {
    c_int::from(exponent & 0x7fff != 0x7fff)
}
extern "C" fn is_negative(_mantissa: u64, exponent: u32) -> c_int {
    c_int::from(exponent & 0x8000 != 0)
}

classes_of_long_doubles! {
    __fpclassifyl = class_of; __isnanl = is_nan; __isinfl = is_infinite; __finitel = is_finite; __signbitl = is_negative;
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    mod host {
        use super::{c_int, c_long};
        unsafe extern "C" {
            pub(super) safe fn lrint(x: f64) -> c_long;
            pub(super) safe fn lround(x: f64) -> c_long;
            pub(super) safe fn ilogb(x: f64) -> c_int;
            pub(super) safe fn __fpclassify(x: f64) -> c_int;
            pub(super) fn frexp(x: f64, exponent: *mut c_int) -> f64;
            pub(super) fn modf(x: f64, whole: *mut f64) -> f64;
        }
    }

    proptest! {
        #[test]
        fn as_the_hosts(x in prop_oneof![any::<u64>().prop_map(f64::from_bits), -1000.0..1000.0]) {
            assert_eq!(lrint(x), host::lrint(x), "{x}");
            assert_eq!(lround(x), host::lround(x), "{x}");
            assert_eq!(__fpclassify(x), host::__fpclassify(x), "{x}");
            if x.is_nan() {
                return Ok(());
            }
            assert_eq!(ilogb(x), host::ilogb(x), "{x}");
            let (mut our, mut their) = (0, 0);
            // SAFETY: both are places, here and below.
            let fractions = unsafe { (frexp(x, &raw mut our)).to_bits() };
            // SAFETY: as above.
            assert_eq!(fractions, unsafe { host::frexp(x, &raw mut their) }.to_bits(), "{x}");
            assert!(our == their || x.is_infinite(), "{x}");
            let (mut our, mut their) = (0.0, 0.0);
            // SAFETY: as above.
            let rest = unsafe { modf(x, &raw mut our) }.to_bits();
            // SAFETY: as above.
            assert_eq!(rest, unsafe { host::modf(x, &raw mut their) }.to_bits(), "{x}");
            assert_eq!(our.to_bits(), their.to_bits(), "{x}");
        }
    }
}

//! What `libm` has, by C's names: what `f64::sin` and its like become.
#![allow(unsafe_code, reason = "C's symbols")]

use core::sync::atomic::{AtomicI32, Ordering::Relaxed};

/// Symbols with the contract of the function of `libm` that has their name.
macro_rules! functions {
    ($($name:ident($($argument:ident: $type:ty),+) -> $result:ty;)+) => {
        $(
            #[cfg_attr(jiffy_guest, unsafe(no_mangle))]
            pub(crate) extern "C" fn $name($($argument: $type),+) -> $result {
                libm::$name($($argument),+)
            }
        )+
    };
}

functions! {
    acos(x: f64) -> f64; acosf(x: f32) -> f32;
    acosh(x: f64) -> f64; acoshf(x: f32) -> f32;
    asin(x: f64) -> f64; asinf(x: f32) -> f32;
    asinh(x: f64) -> f64; asinhf(x: f32) -> f32;
    atan(x: f64) -> f64; atanf(x: f32) -> f32;
    atan2(y: f64, x: f64) -> f64; atan2f(y: f32, x: f32) -> f32;
    atanh(x: f64) -> f64; atanhf(x: f32) -> f32;
    cbrt(x: f64) -> f64; cbrtf(x: f32) -> f32;
    ceil(x: f64) -> f64; ceilf(x: f32) -> f32;
    copysign(x: f64, y: f64) -> f64; copysignf(x: f32, y: f32) -> f32;
    cos(x: f64) -> f64; cosf(x: f32) -> f32;
    cosh(x: f64) -> f64; coshf(x: f32) -> f32;
    erf(x: f64) -> f64; erff(x: f32) -> f32;
    erfc(x: f64) -> f64; erfcf(x: f32) -> f32;
    exp(x: f64) -> f64; expf(x: f32) -> f32;
    exp2(x: f64) -> f64; exp2f(x: f32) -> f32;
    exp10(x: f64) -> f64; exp10f(x: f32) -> f32;
    expm1(x: f64) -> f64; expm1f(x: f32) -> f32;
    fabs(x: f64) -> f64; fabsf(x: f32) -> f32;
    fdim(x: f64, y: f64) -> f64; fdimf(x: f32, y: f32) -> f32;
    floor(x: f64) -> f64; floorf(x: f32) -> f32;
    fma(x: f64, y: f64, z: f64) -> f64; fmaf(x: f32, y: f32, z: f32) -> f32;
    fmax(x: f64, y: f64) -> f64; fmaxf(x: f32, y: f32) -> f32;
    fmin(x: f64, y: f64) -> f64; fminf(x: f32, y: f32) -> f32;
    fmod(x: f64, y: f64) -> f64; fmodf(x: f32, y: f32) -> f32;
    hypot(x: f64, y: f64) -> f64; hypotf(x: f32, y: f32) -> f32;
    ldexp(x: f64, n: i32) -> f64; ldexpf(x: f32, n: i32) -> f32;
    log(x: f64) -> f64; logf(x: f32) -> f32;
    log10(x: f64) -> f64; log10f(x: f32) -> f32;
    log1p(x: f64) -> f64; log1pf(x: f32) -> f32;
    log2(x: f64) -> f64; log2f(x: f32) -> f32;
    nextafter(x: f64, y: f64) -> f64; nextafterf(x: f32, y: f32) -> f32;
    pow(x: f64, y: f64) -> f64; powf(x: f32, y: f32) -> f32;
    remainder(x: f64, y: f64) -> f64; remainderf(x: f32, y: f32) -> f32;
    rint(x: f64) -> f64; rintf(x: f32) -> f32;
    round(x: f64) -> f64; roundf(x: f32) -> f32;
    roundeven(x: f64) -> f64; roundevenf(x: f32) -> f32;
    scalbn(x: f64, n: i32) -> f64; scalbnf(x: f32, n: i32) -> f32;
    sin(x: f64) -> f64; sinf(x: f32) -> f32;
    sinh(x: f64) -> f64; sinhf(x: f32) -> f32;
    sqrt(x: f64) -> f64; sqrtf(x: f32) -> f32;
    tan(x: f64) -> f64; tanf(x: f32) -> f32;
    tanh(x: f64) -> f64; tanhf(x: f32) -> f32;
    tgamma(x: f64) -> f64; tgammaf(x: f32) -> f32;
    trunc(x: f64) -> f64; truncf(x: f32) -> f32;
}

/// Rounds to an integer, ties to the even one; a guest's rounding mode is never another.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn nearbyint(x: f64) -> f64 {
    libm::rint(x)
}

/// As [`nearbyint`].
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn nearbyintf(x: f32) -> f32 {
    libm::rintf(x)
}

/// Sine and cosine of `x`.
///
/// # Safety
///
/// Both pointers are to a number that may be written.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn sincos(x: f64, sine: *mut f64, cosine: *mut f64) {
    let (sin, cos) = libm::sincos(x);
    // SAFETY: the caller gives the place.
    unsafe { sine.write(sin) };
    // SAFETY: as above.
    unsafe { cosine.write(cos) };
}

/// As [`sincos`].
///
/// # Safety
///
/// As [`sincos`].
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn sincosf(x: f32, sine: *mut f32, cosine: *mut f32) {
    let (sin, cos) = libm::sincosf(x);
    // SAFETY: the caller gives the place.
    unsafe { sine.write(sin) };
    // SAFETY: as above.
    unsafe { cosine.write(cos) };
}

/// The sign of the gamma function, where `lgamma` leaves it.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
#[cfg_attr(not(jiffy_guest), expect(non_upper_case_globals, reason = "C's name"))]
pub(crate) static signgam: AtomicI32 = AtomicI32::new(0);

/// The logarithm of the gamma function's size; its sign is in [`signgam`].
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn lgamma(x: f64) -> f64 {
    let (size, sign) = libm::lgamma_r(x);
    signgam.store(sign, Relaxed);
    size
}

/// As [`lgamma`].
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn lgammaf(x: f32) -> f32 {
    let (size, sign) = libm::lgammaf_r(x);
    signgam.store(sign, Relaxed);
    size
}

/// The sign of the gamma function beside the logarithm of its size.
///
/// # Safety
///
/// The pointer is to a number that may be written.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn lgamma_r(x: f64, sign: *mut i32) -> f64 {
    let (size, negative) = libm::lgamma_r(x);
    // SAFETY: the caller gives the place.
    unsafe { sign.write(negative) };
    size
}

/// As [`lgamma_r`].
///
/// # Safety
///
/// As [`lgamma_r`].
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn lgammaf_r(x: f32, sign: *mut i32) -> f32 {
    let (size, negative) = libm::lgammaf_r(x);
    // SAFETY: the caller gives the place.
    unsafe { sign.write(negative) };
    size
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Within a unit or two in the last place of what the host's mathematics say.
    #[test]
    fn numbers_equal_the_hosts() {
        let near = |ours: f64, theirs: f64| {
            assert!(
                (ours - theirs).abs() <= 4.0 * f64::EPSILON * theirs.abs(),
                "{ours} {theirs}"
            );
        };
        for x in [0.1f64, 0.5, 0.9, 1.0] {
            near(sin(x), x.sin());
            near(pow(x, 2.5), x.powf(2.5));
            near(exp(x), x.exp());
            near(log(x), x.ln());
            near(atan2(x, 0.3), x.atan2(0.3));
            near(cbrt(x), x.cbrt());
            near(fmod(x, 0.3), x % 0.3);
            near(fma(x, x, x), x.mul_add(x, x));
        }
        assert_eq!((floor(-1.5), ceil(-1.5), trunc(-1.5)), (-2.0, -1.0, -1.0));
        assert_eq!((round(2.5), rint(2.5), nearbyint(3.5)), (3.0, 2.0, 4.0));
        assert_eq!(sqrt(2.0), 2.0f64.sqrt());
    }
}

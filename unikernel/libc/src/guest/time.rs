//! Clocks and sleep. A clock stands still while the function computes, as `jiffy::time` says.
#![allow(unsafe_code, reason = "C's symbols")]

use core::ffi::{c_int, c_long, c_uint};

use crate::{
    errno::{EINVAL, fail},
    time_units::timespec,
};

const CLOCK_REALTIME: c_int = 0;
const CLOCK_REALTIME_COARSE: c_int = 5;
/// The highest number of a clock of Linux, `CLOCK_TAI`.
const CLOCK_MAX: c_int = 11;
const TIMER_ABSTIME: c_int = 1;

/// Now, on a clock of Linux: wall time, or time since the VM began, which all clocks of the processor are too.
pub(crate) fn now_ns(clock: c_int) -> Option<u64> {
    match clock {
        CLOCK_REALTIME | CLOCK_REALTIME_COARSE | CLOCK_MAX => Some(jiffy_rt::wall_ns()),
        1..CLOCK_MAX => Some(jiffy_rt::monotonic_ns()),
        _ => None,
    }
}

/// When it is `ns` on `clock`, on the monotonic clock.
pub(crate) fn monotonic_of(clock: c_int, ns: u64) -> u64 {
    let left_ns = ns.saturating_sub(now_ns(clock).unwrap_or(ns));
    jiffy_rt::monotonic_ns().saturating_add(left_ns)
}

/// The time on a clock; `EINVAL` if there is none with this number.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: c_int, to: *mut timespec) -> c_int {
    let Some(ns) = now_ns(clock) else {
        return fail(EINVAL);
    };
    // SAFETY: the caller gives the place.
    unsafe { to.write(timespec::from_ns(ns)) };
    0
}

/// The step of a clock: a nanosecond.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_getres(clock: c_int, to: *mut timespec) -> c_int {
    if now_ns(clock).is_none() {
        return fail(EINVAL);
    }
    if !to.is_null() {
        // SAFETY: the caller gives the place.
        unsafe { to.write(timespec::from_ns(1)) };
    }
    0
}

/// Sleeps for a while, or until a time; an error number if that is none. Nothing interrupts it.
#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    clock: c_int,
    flags: c_int,
    time: *const timespec,
    _left: *mut timespec,
) -> c_int {
    // SAFETY: the caller gives the time.
    let time_ns = unsafe { time.read() }.to_ns();
    let (Some(now_ns), Some(time_ns)) = (now_ns(clock), time_ns) else {
        return EINVAL;
    };
    let until_ns = if flags & TIMER_ABSTIME == 0 {
        now_ns.saturating_add(time_ns)
    } else {
        time_ns
    };
    jiffy_rt::sleep_until(monotonic_of(clock, until_ns));
    0
}

/// Sleeps for a while; `EINVAL` if that is none.
#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(time: *const timespec, left: *mut timespec) -> c_int {
    // SAFETY: as the caller's.
    match unsafe { clock_nanosleep(1, 0, time, left) } {
        0 => 0,
        error => fail(error),
    }
}

/// Sleeps for so many microseconds.
#[unsafe(no_mangle)]
extern "C" fn usleep(us: c_uint) -> c_int {
    jiffy_rt::sleep_until(jiffy_rt::monotonic_ns().saturating_add(u64::from(us) * 1000));
    0
}

/// Sleeps for so many seconds; none are left.
#[unsafe(no_mangle)]
extern "C" fn sleep(seconds: c_uint) -> c_uint {
    let ns = u64::from(seconds) * 1_000_000_000;
    jiffy_rt::sleep_until(jiffy_rt::monotonic_ns().saturating_add(ns));
    0
}

/// Seconds and microseconds of wall time.
#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(to: *mut timespec, _zone: *mut u8) -> c_int {
    let mut now = timespec::from_ns(jiffy_rt::wall_ns());
    now.tv_nsec /= 1000; // The same two numbers, but for their unit.
    if !to.is_null() {
        // SAFETY: the caller gives the place.
        unsafe { to.write(now) };
    }
    0
}

/// Seconds of wall time.
#[unsafe(no_mangle)]
unsafe extern "C" fn time(to: *mut c_long) -> c_long {
    let seconds = timespec::from_ns(jiffy_rt::wall_ns()).tv_sec;
    if !to.is_null() {
        // SAFETY: the caller gives the place.
        unsafe { to.write(seconds) };
    }
    seconds
}

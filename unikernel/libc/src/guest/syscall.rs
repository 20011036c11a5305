//! The system calls that `std` and popular crates make by number; any other fails with `ENOSYS`.
#![allow(unsafe_code, reason = "C's symbols")]

use core::{
    ffi::{c_int, c_long, c_uint},
    ptr,
};

use super::{
    absent::variadic,
    processes::{_exit, getpid},
    random::getrandom,
    threads::{gettid, sched_yield},
    time::{monotonic_of, now_ns},
    waiting::{For, wait, wake},
};
use crate::{
    errno::{EAGAIN, EINVAL, ENOSYS, ETIMEDOUT, fail},
    time_units::timespec,
};

// Numbers of x86-64.
const GETPID: c_long = 39;
const SCHED_YIELD: c_long = 24;
const EXIT: c_long = 60;
const GETTID: c_long = 186;
const FUTEX: c_long = 202;
const EXIT_GROUP: c_long = 231;
const GETRANDOM: c_long = 318;

variadic! {
    /// One of the calls above, as its man page has it, or `ENOSYS`.
    syscall => system_call;
}

unsafe extern "C" fn system_call(
    number: c_long,
    one: usize,
    two: usize,
    three: usize,
    four: usize,
    _five: usize,
) -> c_long {
    match number {
        FUTEX => {
            let (word, until) = (ptr::with_exposed_provenance(one), four);
            // SAFETY: as the caller's.
            unsafe {
                futex(
                    word,
                    two as c_int,
                    three as u32,
                    ptr::with_exposed_provenance(until),
                )
            }
        }
        GETRANDOM => {
            // SAFETY: as the caller's.
            let bytes =
                unsafe { getrandom(ptr::with_exposed_provenance_mut(one), two, three as c_uint) };
            bytes as c_long
        }
        GETPID => getpid().into(),
        GETTID => gettid().into(),
        SCHED_YIELD => sched_yield().into(),
        EXIT | EXIT_GROUP => _exit(one as c_int),
        _ => fail(ENOSYS).into(),
    }
}

/// What `std` waits with for locks, conditions, channels and to be unparked. Bits of `FUTEX_WAIT_BITSET` are not looked at: who
/// is woken looks again.
const WAITED_FOR: &str = "a lock, a condition, a channel, or to be unparked";

/// Waits while `word` is `expected`, until it is woken or its time is over; or wakes so many of those that wait.
///
/// # Safety
///
/// `word` is a number that may be read, and `until` a time or null.
unsafe fn futex(
    word: *const u32,
    operation: c_int,
    expected: u32,
    until: *const timespec,
) -> c_long {
    const WAIT: c_int = 0;
    const WAKE: c_int = 1;
    const WAIT_BITSET: c_int = 9;
    const WAKE_BITSET: c_int = 10;
    const PRIVATE: c_int = 128;
    const BY_WALL_CLOCK: c_int = 256;
    let clock = c_int::from(operation & BY_WALL_CLOCK == 0);
    let until_ns = match operation & !(PRIVATE | BY_WALL_CLOCK) {
        WAKE | WAKE_BITSET => {
            let woken = wake(word.addr(), expected as c_int as usize);
            return woken as c_long;
        }
        WAIT | WAIT_BITSET if until.is_null() => None,
        WAIT | WAIT_BITSET => {
            // SAFETY: says the caller.
            let Some(ns) = unsafe { until.read() }.to_ns() else {
                return fail(EINVAL).into();
            };
            let is_absolute = operation & WAIT_BITSET != 0;
            let from_ns = if is_absolute {
                0
            } else {
                now_ns(clock).unwrap_or(0)
            };
            Some(monotonic_of(clock, from_ns.saturating_add(ns)))
        }
        _ => return fail(ENOSYS).into(),
    };
    // SAFETY: says the caller.
    if unsafe { word.read_volatile() } != expected {
        return fail(EAGAIN).into();
    }
    match wait(For::Address(word.addr(), WAITED_FOR), until_ns) {
        true => fail(ETIMEDOUT).into(),
        false => 0,
    }
}

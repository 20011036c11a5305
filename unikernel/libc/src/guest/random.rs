//! Randomness, keyed anew after every resume, as `jiffy::random` is.
#![allow(unsafe_code, reason = "C's symbols")]

use core::{
    ffi::{c_int, c_uint, c_void},
    slice,
};

use crate::errno::{EINVAL, fail};

const GRND_NONBLOCK: c_uint = 1;
const GRND_RANDOM: c_uint = 2;
/// For what need not be secret: keys of hash tables. `init` may ask for such.
const GRND_INSECURE: c_uint = 4;
/// As much as `getentropy` gives at once.
const ENTROPY_BYTES_MAX: usize = 256;

/// Fills all of it with unpredictable bytes, always; `EINVAL` for flags that Linux has not. In `init` it counts as drawing
/// randomness, which the snapshot of a function is refused for unless its `random-init` is set; but not with `GRND_INSECURE`.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn getrandom(to: *mut c_void, bytes: usize, flags: c_uint) -> isize {
    if flags & !(GRND_NONBLOCK | GRND_RANDOM | GRND_INSECURE) != 0 {
        return fail(EINVAL) as isize;
    }
    if bytes > 0 {
        // SAFETY: the caller has so many bytes there, which are its own.
        let all = unsafe { slice::from_raw_parts_mut(to.cast::<u8>(), bytes) };
        if flags & GRND_INSECURE == 0 {
            jiffy_rt::fill_random(all);
        } else {
            jiffy_rt::fill_hash_keys(all);
        }
    }
    bytes as isize
}

/// As `getrandom` without flags, of 256 bytes at most; `EIO`'s place is taken by `EINVAL`.
#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(to: *mut c_void, bytes: usize) -> c_int {
    if bytes > ENTROPY_BYTES_MAX {
        return fail(EINVAL);
    }
    // SAFETY: as the caller's.
    unsafe { getrandom(to, bytes, 0) };
    0
}

//! Barriers, and locks that others spin for: here they wait, as nothing else would give the one who has it a turn.
#![allow(unsafe_code, reason = "C's symbols")]

use core::ffi::{c_int, c_uint, c_void};

use super::locks::try_until;
use crate::{
    errno::{EBUSY, EINVAL},
    guest::{absent::nothing, waiting::wake},
};

nothing! { pthread_barrierattr_destroy pthread_barrierattr_init pthread_barrierattr_setpshared pthread_spin_destroy }

const BARRIER: &str = "a barrier";
const SPIN_LOCK: &str = "a spin lock";

/// What one of those who meet is told.
const PTHREAD_BARRIER_SERIAL_THREAD: c_int = -1;

/// The beginning of `pthread_barrier_t`.
#[repr(C)]
struct Barrier {
    needed: c_uint,
    arrived: c_uint,
    /// How often it was opened: who waits goes on when that is another number.
    opened: c_uint,
}

/// Makes a barrier for so many threads; `EINVAL` if there are none.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_init(
    barrier: *mut Barrier,
    _kind: *const c_void,
    needed: c_uint,
) -> c_int {
    if needed == 0 {
        return EINVAL;
    }
    let new = Barrier {
        needed,
        arrived: 0,
        opened: 0,
    };
    // SAFETY: the caller gives the place, which is larger.
    unsafe { barrier.write(new) };
    0
}

/// Ends a barrier; `EBUSY` if somebody waits at it.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_destroy(barrier: *const Barrier) -> c_int {
    // SAFETY: the caller has a barrier there.
    match unsafe { (*barrier).arrived } {
        0 => 0,
        _ => EBUSY,
    }
}

/// Waits until as many as are needed do: 0, and of one of them -1.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_barrier_wait(barrier: *mut Barrier) -> c_int {
    // SAFETY: the caller has a barrier there, and nobody has a reference.
    let now = unsafe { &mut *barrier };
    now.arrived += 1;
    if now.arrived >= now.needed {
        now.arrived = 0;
        now.opened = now.opened.wrapping_add(1);
        wake(barrier.addr(), usize::MAX);
        return PTHREAD_BARRIER_SERIAL_THREAD;
    }
    let opened = now.opened;
    try_until(barrier, BARRIER, None, || {
        // SAFETY: as above; it is there until who waits has gone on.
        if unsafe { (*barrier).opened } == opened {
            EBUSY
        } else {
            0
        }
    })
}

/// Makes a spin lock that is not locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_spin_init(lock: *mut c_int, _of_processes: c_int) -> c_int {
    // SAFETY: the caller gives the place.
    unsafe { lock.write(0) };
    0
}

/// Locks if it is not locked; `EBUSY` if it is.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_spin_trylock(lock: *mut c_int) -> c_int {
    // SAFETY: the caller has a lock there.
    if unsafe { lock.read() } != 0 {
        return EBUSY;
    }
    // SAFETY: as above.
    unsafe { lock.write(1) };
    0
}

/// Locks, and waits until that is possible.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_spin_lock(lock: *mut c_int) -> c_int {
    // SAFETY: as the caller's.
    try_until(lock, SPIN_LOCK, None, || unsafe {
        pthread_spin_trylock(lock)
    })
}

/// Unlocks.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_spin_unlock(lock: *mut c_int) -> c_int {
    // SAFETY: the caller has a lock there.
    unsafe { lock.write(0) };
    wake(lock.addr(), 1);
    0
}

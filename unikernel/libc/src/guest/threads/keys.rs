//! What a thread keeps under the keys of `pthread_key_create`.
#![allow(unsafe_code, reason = "C's symbols")]

use alloc::{boxed::Box, vec::Vec};
use core::{
    ffi::{c_int, c_void},
    ptr,
};

use crate::{
    errno::{EAGAIN, EINVAL},
    guest::one_thread::OneThread,
};

/// Most keys, as Linux has it at least.
const KEYS_MAX: usize = 128;
/// How often the values of a thread that ends are looked through, because destructors may set some: as Linux has it at least.
const ROUNDS: usize = 4;
/// Where the values are among the words of a thread; [`crate::guest::waiting`] has another.
const VALUES: usize = 2;

type Destructor = Option<extern "C" fn(*mut c_void)>;
/// The values of a thread, and of which making of a key each is.
type Values = Vec<(u32, *mut c_void)>;

#[derive(Clone, Copy)]
struct Key {
    is_used: bool,
    /// How often it was made: values of an earlier one with the same number are none of this.
    made: u32,
    destructor: Destructor,
}

static KEYS: OneThread<[Key; KEYS_MAX]> = OneThread::new(
    [Key {
        is_used: false,
        made: 0,
        destructor: None,
    }; KEYS_MAX],
);

/// The values of this thread; null if it has set none.
fn values() -> *mut Values {
    ptr::with_exposed_provenance_mut(jiffy_rt::thread_word::<VALUES>())
}

/// The key of this number, if there is one.
fn key(number: u32) -> Option<Key> {
    let key = KEYS.with(|keys| keys.get(number as usize).copied());
    key.filter(|key| key.is_used)
}

/// Makes a key, whose value is null in every thread; `EAGAIN` if there are 128. When a thread ends that the function began, the
/// destructor is called with its value, unless that is null.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_key_create(to: *mut u32, destructor: Destructor) -> c_int {
    let free = KEYS.with(|keys| {
        let free = keys.iter().position(|key| !key.is_used)?;
        keys[free] = Key {
            is_used: true,
            made: keys[free].made.wrapping_add(1),
            destructor,
        };
        Some(free as u32)
    });
    let Some(free) = free else {
        return EAGAIN;
    };
    // SAFETY: the caller gives the place.
    unsafe { to.write(free) };
    0
}

/// Ends a key, and calls no destructor; `EINVAL` if there is none with this number.
#[unsafe(no_mangle)]
extern "C" fn pthread_key_delete(number: u32) -> c_int {
    if key(number).is_none() {
        return EINVAL;
    }
    KEYS.with(|keys| keys[number as usize].is_used = false);
    0
}

/// The value of a key, or null.
#[unsafe(no_mangle)]
extern "C" fn pthread_getspecific(number: u32) -> *mut c_void {
    let Some(key) = key(number) else {
        return ptr::null_mut();
    };
    // SAFETY: it is null, or `pthread_setspecific` made it for this thread; the reference is gone when this returns.
    let values = unsafe { values().as_ref() };
    match values.and_then(|values| values.get(number as usize)) {
        Some((made, value)) if *made == key.made => *value,
        _ => ptr::null_mut(),
    }
}

/// Sets the value of a key; `EINVAL` if there is none with this number.
#[unsafe(no_mangle)]
extern "C" fn pthread_setspecific(number: u32, value: *mut c_void) -> c_int {
    let Some(key) = key(number) else {
        return EINVAL;
    };
    if values().is_null() {
        let new: *mut Values = Box::into_raw(Box::default());
        jiffy_rt::set_thread_word::<VALUES>(new.expose_provenance());
    }
    // SAFETY: it was made just above or before, for this thread, and nobody else has a reference.
    let values = unsafe { &mut *values() };
    let count = values.len().max(number as usize + 1);
    values.resize(count, (0, ptr::null_mut()));
    values[number as usize] = (key.made, value);
    0
}

/// Gives the values of this thread, which ends, to their destructors.
pub(super) fn destroy_values() {
    for _ in 0..ROUNDS {
        if values().is_null() {
            return;
        }
        let mut is_done = true;
        for number in 0..KEYS_MAX as u32 {
            let value = pthread_getspecific(number);
            let destructor = key(number).and_then(|key| key.destructor);
            if let Some(destroy) = destructor.filter(|_| !value.is_null()) {
                pthread_setspecific(number, ptr::null_mut());
                destroy(value);
                is_done = false;
            }
        }
        if is_done {
            break;
        }
    }
    let values = values();
    jiffy_rt::set_thread_word::<VALUES>(0);
    // SAFETY: `pthread_setspecific` made a box of it, for this thread, which nobody else has and which ends.
    drop(unsafe { Box::from_raw(values) });
}

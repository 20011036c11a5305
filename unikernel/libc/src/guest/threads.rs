//! Threads, which take turns on the one processor; see [`scheduler`].
//!
//! ```text
//! scheduler   which thread runs, and what becomes of one that ends
//! table       the threads there are, and who is next
//! telling     what is said when the VM ends because of them
//! context     where one stops and another goes on
//! stack       where a thread's locals lie, and how it is seen that they take too much
//! keys        what a thread keeps under a key
//! locks       mutexes, conditions, locks for reading and writing, semaphores, what is done once
//! barriers    where threads wait for each other; spin locks
//! ```
//!
//! Not here: futexes, which `std` waits with (`syscall`); what a function without threads has of all this (`waiting`).
#![allow(unsafe_code, reason = "C's symbols")]

mod barriers;
mod context;
mod keys;
mod locks;
mod scheduler;
mod stack;
mod table;
mod telling;

#[cfg(feature = "unwind")]
pub(super) use telling::text_of;

use core::{
    ffi::{CStr, c_char, c_int, c_void},
    slice,
};

use super::{
    absent::{nothing, refuses},
    waiting::{AtExit, NAME_BYTES, threads, with_begun},
};
use crate::errno::{EINVAL, ENOMEM, ERANGE, ESRCH};

refuses! { ENOSYS: pthread_cancel pthread_setaffinity_np pthread_setschedparam }
refuses! { EINVAL: pthread_attr_getstack pthread_getattr_np }
nothing! { pthread_attr_destroy pthread_attr_setguardsize pthread_atfork pthread_setcancelstate pthread_setcanceltype }

/// The beginning of `pthread_attr_t`.
#[repr(C)]
struct Attributes {
    /// Bytes; zero if nobody said how many.
    stack_bytes: usize,
    is_detached: c_int,
}

/// What a thread gets for which nothing is said.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_init(attributes: *mut Attributes) -> c_int {
    let new = Attributes {
        stack_bytes: 0,
        is_detached: 0,
    };
    // SAFETY: the caller gives the place, which is larger.
    unsafe { attributes.write(new) };
    0
}

/// The bytes below a stack that would fault: none, as a stack that is full is found otherwise.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_getguardsize(_of: *const Attributes, to: *mut usize) -> c_int {
    // SAFETY: the caller gives the place.
    unsafe { to.write(0) };
    0
}

/// Sets the size of the stack; `EINVAL` if it is less than 16 KiB.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_setstacksize(to: *mut Attributes, bytes: usize) -> c_int {
    if bytes < stack::BYTES_MIN {
        return EINVAL;
    }
    // SAFETY: the caller made it.
    unsafe { (*to).stack_bytes = bytes };
    0
}

/// The size of the stack, as it was set or as a thread gets it for which nothing is said.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_getstacksize(of: *const Attributes, to: *mut usize) -> c_int {
    // SAFETY: the caller made it.
    let asked = unsafe { (*of).stack_bytes };
    // SAFETY: the caller gives the place.
    unsafe { to.write(stack::granted(asked)) };
    0
}

/// Whether nobody will join the thread.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_getdetachstate(of: *const Attributes, to: *mut c_int) -> c_int {
    // SAFETY: the caller made it.
    let is_detached = unsafe { (*of).is_detached };
    // SAFETY: the caller gives the place.
    unsafe { to.write(is_detached) };
    0
}

/// Says whether nobody will join the thread; `EINVAL` if `state` is neither.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_attr_setdetachstate(to: *mut Attributes, state: c_int) -> c_int {
    if !(0..=1).contains(&state) {
        return EINVAL;
    }
    // SAFETY: the caller made it.
    unsafe { (*to).is_detached = state };
    0
}

/// Begins a thread, which runs when this one waits; `ENOMEM` if there is no memory for its stack.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    to: *mut usize,
    attributes: *const Attributes,
    work: extern "C" fn(*mut c_void) -> *mut c_void,
    argument: *mut c_void,
) -> c_int {
    // SAFETY: it is null, or the caller made it.
    let (stack_bytes, is_detached) = match unsafe { attributes.as_ref() } {
        Some(attributes) => (attributes.stack_bytes, attributes.is_detached != 0),
        None => (0, false),
    };
    let Some(pointer) = scheduler::begin((work, argument), stack_bytes, is_detached) else {
        return ENOMEM;
    };
    // SAFETY: the caller gives the place.
    unsafe { to.write(pointer) };
    0
}

/// Waits until the thread has ended, and gives its result. `ESRCH` if there is none, `EDEADLK` if it is this one, `EINVAL` if
/// it is detached.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_join(thread: usize, to: *mut *mut c_void) -> c_int {
    match scheduler::join(thread) {
        Ok(result) => {
            if !to.is_null() {
                // SAFETY: the caller gives the place.
                unsafe { to.write(result) };
            }
            0
        }
        Err(error) => error,
    }
}

/// What the thread has is given back when it ends. `ESRCH` if there is none, `EINVAL` if it is detached.
#[unsafe(no_mangle)]
extern "C" fn pthread_detach(thread: usize) -> c_int {
    scheduler::detach(thread)
}

/// Ends this thread. That of `init` and the requests does not end: the VM does, as by `exit(0)`.
#[unsafe(no_mangle)]
extern "C" fn pthread_exit(result: *mut c_void) -> ! {
    if with_begun(|_| ()).is_none() {
        super::processes::_exit(0);
    }
    scheduler::end(result)
}

/// This thread. `init` and the requests are two, one after the other.
#[unsafe(no_mangle)]
extern "C" fn pthread_self() -> usize {
    jiffy_rt::thread_pointer()
}

/// Whether two threads are one.
#[unsafe(no_mangle)]
extern "C" fn pthread_equal(one: usize, other: usize) -> c_int {
    c_int::from(one == other)
}

/// The number of this thread; that of `init` and the requests has the number of the process.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn gettid() -> c_int {
    with_begun(|begun| begun.number).unwrap_or(super::processes::getpid())
}

/// Names a thread; `ERANGE` for a name of more than 15 bytes, `ESRCH` if there is none that the function began.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_setname_np(thread: usize, name: *const c_char) -> c_int {
    // SAFETY: the caller has a text there.
    let name = unsafe { CStr::from_ptr(name) }.to_bytes();
    if name.len() >= NAME_BYTES {
        return ERANGE;
    }
    match scheduler::set_name(thread, name) {
        true => 0,
        false => ESRCH,
    }
}

/// The name of a thread, which is empty if it has none; `ERANGE` if there is no room for 16 bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getname_np(thread: usize, to: *mut c_char, bytes: usize) -> c_int {
    if bytes < NAME_BYTES {
        return ERANGE;
    }
    // SAFETY: the caller has so many bytes there, which are its own.
    let to = unsafe { slice::from_raw_parts_mut(to.cast::<u8>(), NAME_BYTES) };
    to.copy_from_slice(&scheduler::name(thread).unwrap_or_default());
    0
}

/// Has other threads go on that can.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn sched_yield() -> c_int {
    if let Some(threads) = threads() {
        (threads.give_way)();
    }
    0
}

/// Has `done` called with `argument` when this thread ends. That of `init` and the requests never does: a VM ends without it.
#[unsafe(no_mangle)]
extern "C" fn __cxa_thread_atexit_impl(
    done: extern "C" fn(*mut c_void),
    argument: *mut c_void,
    _library: *mut c_void,
) -> c_int {
    let at_exit: AtExit = (done, argument);
    with_begun(|begun| begun.at_exit.push(at_exit));
    0
}

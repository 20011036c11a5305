//! One thread. Mutexes and keys work; who waits for another thread waits for ever, so the VM ends and says so.
//!
//! All zero is what C initialises these objects to, and how a mutex, a condition and a lock begin here too.
#![allow(unsafe_code, reason = "C's symbols")]

use core::{
    ffi::{c_char, c_int, c_void},
    ptr,
};

use super::{
    absent::{nothing, refuses},
    one_thread::OneThread,
    processes::give_up,
    time::sleep_until,
};
use crate::{
    errno::{EAGAIN, EBUSY, EDEADLK, EINVAL, EPERM, ETIMEDOUT},
    time_units::timespec,
};

/// Why a VM ends in which a function waits for another thread.
pub(crate) const DEADLOCK: &str = "deadlock: the function waits for a lock, a channel or a thread, and its one thread is the only one that could end that";

// What another thread would be needed for. `ENOSYS` is "Unsupported" to std.
refuses! { ENOSYS: pthread_cancel pthread_create pthread_detach pthread_join pthread_setaffinity_np pthread_setschedparam }
nothing! {
    pthread_attr_destroy pthread_attr_init pthread_attr_setdetachstate pthread_attr_setguardsize pthread_attr_setstacksize
    pthread_cond_broadcast pthread_cond_destroy pthread_cond_init pthread_cond_signal pthread_condattr_destroy
    pthread_condattr_init pthread_condattr_setclock pthread_mutexattr_destroy pthread_rwlockattr_destroy
    pthread_rwlockattr_init pthread_setname_np pthread_atfork sched_yield pthread_setcancelstate pthread_setcanceltype
}
refuses! { EINVAL: pthread_attr_getstack pthread_getattr_np }

/// The one thread; `init` and the requests are two, one after the other.
#[unsafe(no_mangle)]
extern "C" fn pthread_self() -> usize {
    jiffy_rt::thread_pointer()
}

/// Whether two threads are one.
#[unsafe(no_mangle)]
extern "C" fn pthread_equal(one: usize, other: usize) -> c_int {
    c_int::from(one == other)
}

/// The number of the one thread.
#[unsafe(no_mangle)]
extern "C" fn gettid() -> c_int {
    super::processes::getpid()
}

/// A thread has no name.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_getname_np(_thread: usize, to: *mut c_char, bytes: usize) -> c_int {
    if bytes == 0 {
        return crate::errno::ERANGE;
    }
    // SAFETY: the caller has so many bytes there.
    unsafe { to.write(0) };
    0
}

/// The beginning of `pthread_mutex_t`, where glibc's static initialisers have the kind.
#[repr(C)]
struct Mutex {
    /// How often it is locked.
    locked: u32,
    _of_glibc: [u32; 3],
    kind: c_int,
}

const RECURSIVE: c_int = 1;
const ERROR_CHECKING: c_int = 2;

/// `pthread_mutexattr_t` is the kind.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutexattr_init(kind: *mut c_int) -> c_int {
    // SAFETY: the caller gives the place.
    unsafe { kind.write(0) };
    0
}

/// Sets the kind; `EINVAL` if there is none with this number.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutexattr_settype(to: *mut c_int, kind: c_int) -> c_int {
    if !(0..=3).contains(&kind) {
        return EINVAL;
    }
    // SAFETY: the caller gives the place.
    unsafe { to.write(kind) };
    0
}

/// Makes a mutex that is not locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_init(mutex: *mut Mutex, kind: *const c_int) -> c_int {
    let kind = if kind.is_null() {
        0
    } else {
        // SAFETY: the caller has a kind there.
        unsafe { kind.read() }
    };
    let new = Mutex {
        locked: 0,
        _of_glibc: [0; 3],
        kind,
    };
    // SAFETY: the caller gives the place, which is larger.
    unsafe { mutex.write(new) };
    0
}

/// Ends a mutex; `EBUSY` if it is locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_destroy(mutex: *const Mutex) -> c_int {
    // SAFETY: the caller has a mutex there.
    if unsafe { (*mutex).locked } == 0 {
        0
    } else {
        EBUSY
    }
}

/// Locks a mutex if it is not locked, or may be again; `EBUSY` if not.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_trylock(mutex: *mut Mutex) -> c_int {
    // SAFETY: the caller has a mutex there, and nobody has a reference.
    let mutex = unsafe { &mut *mutex };
    if mutex.locked > 0 && mutex.kind != RECURSIVE {
        return EBUSY;
    }
    match mutex.locked.checked_add(1) {
        Some(locked) => mutex.locked = locked,
        None => return EAGAIN,
    }
    0
}

/// Locks a mutex. If it is locked, `EDEADLK` if it is one that checks, else the VM ends: nobody unlocks it.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_lock(mutex: *mut Mutex) -> c_int {
    // SAFETY: as the caller's.
    match unsafe { pthread_mutex_trylock(mutex) } {
        // SAFETY: the caller has a mutex there.
        EBUSY if unsafe { (*mutex).kind } == ERROR_CHECKING => EDEADLK,
        EBUSY => give_up(DEADLOCK),
        done => done,
    }
}

/// Unlocks a mutex; `EPERM` if it is not locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut Mutex) -> c_int {
    // SAFETY: the caller has a mutex there, and nobody has a reference.
    let mutex = unsafe { &mut *mutex };
    match mutex.locked.checked_sub(1) {
        Some(locked) => mutex.locked = locked,
        None => return EPERM,
    }
    0
}

/// Waits for a signal that nobody gives: the VM ends.
#[unsafe(no_mangle)]
extern "C" fn pthread_cond_wait(_condition: *mut c_void, _mutex: *mut Mutex) -> c_int {
    give_up(DEADLOCK)
}

/// Lets time pass: nobody gives the signal. By the wall clock, as conditions have it unless they were told another.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_timedwait(
    _condition: *mut c_void,
    _mutex: *mut Mutex,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller has a time there.
    let Some(ns) = unsafe { until.read() }.to_ns() else {
        return EINVAL;
    };
    sleep_until(0, ns);
    ETIMEDOUT
}

/// How often `pthread_rwlock_t` is locked for reading, or -1 for writing.
type RwLock = i32;

/// Makes a lock that is not locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_init(lock: *mut RwLock, _kind: *const c_void) -> c_int {
    // SAFETY: the caller gives the place.
    unsafe { lock.write(0) };
    0
}

/// Ends a lock; `EBUSY` if it is locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_destroy(lock: *const RwLock) -> c_int {
    // SAFETY: the caller has a lock there.
    if unsafe { lock.read() } == 0 {
        0
    } else {
        EBUSY
    }
}

/// Locks for reading; `EBUSY` if it is locked for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_tryrdlock(lock: *mut RwLock) -> c_int {
    // SAFETY: the caller has a lock there.
    let locked = unsafe { lock.read() };
    if locked < 0 {
        return EBUSY;
    }
    let Some(more) = locked.checked_add(1) else {
        return EAGAIN;
    };
    // SAFETY: as above.
    unsafe { lock.write(more) };
    0
}

/// Locks for writing; `EBUSY` if it is locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_trywrlock(lock: *mut RwLock) -> c_int {
    // SAFETY: the caller has a lock there.
    if unsafe { lock.read() } != 0 {
        return EBUSY;
    }
    // SAFETY: as above.
    unsafe { lock.write(-1) };
    0
}

/// As `pthread_rwlock_tryrdlock`, but `EDEADLK` instead of a wait that never ends.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_rdlock(lock: *mut RwLock) -> c_int {
    // SAFETY: as the caller's.
    match unsafe { pthread_rwlock_tryrdlock(lock) } {
        EBUSY => EDEADLK,
        done => done,
    }
}

/// As `pthread_rwlock_trywrlock`, but `EDEADLK` instead of a wait that never ends.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_wrlock(lock: *mut RwLock) -> c_int {
    // SAFETY: as the caller's.
    match unsafe { pthread_rwlock_trywrlock(lock) } {
        EBUSY => EDEADLK,
        done => done,
    }
}

/// Unlocks; `EPERM` if it is not locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_unlock(lock: *mut RwLock) -> c_int {
    // SAFETY: the caller has a lock there.
    let left = match unsafe { lock.read() } {
        0 => return EPERM,
        -1 => 0,
        readers => readers - 1,
    };
    // SAFETY: as above.
    unsafe { lock.write(left) };
    0
}

/// Calls `work` if it was not called with this `once` before.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_once(once: *mut c_int, work: extern "C" fn()) -> c_int {
    // SAFETY: the caller has a number there, zero at first.
    if unsafe { once.replace(1) } == 0 {
        work();
    }
    0
}

/// Most keys, as Linux has it at least.
const KEYS_MAX: usize = 128;

struct Keys {
    is_used: [bool; KEYS_MAX],
    values: [*mut c_void; KEYS_MAX],
    /// Whose the values are: `init` and the requests have each their own.
    thread: usize,
}

static KEYS: OneThread<Keys> = OneThread::new(Keys {
    is_used: [false; KEYS_MAX],
    values: [ptr::null_mut(); KEYS_MAX],
    thread: 0,
});

fn with_keys<R>(work: impl FnOnce(&mut Keys) -> R) -> R {
    let thread = jiffy_rt::thread_pointer();
    KEYS.with(|keys| {
        if keys.thread != thread {
            keys.thread = thread;
            keys.values = [ptr::null_mut(); KEYS_MAX];
        }
        work(keys)
    })
}

/// Makes a key, whose value is null in every thread; `EAGAIN` if there are 128. Destructors are never called: a VM ends
/// without its threads ending.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_key_create(to: *mut u32, _destructor: *const c_void) -> c_int {
    let free = with_keys(|keys| {
        let free = keys.is_used.iter().position(|is_used| !is_used)?;
        keys.is_used[free] = true;
        keys.values[free] = ptr::null_mut();
        Some(free as u32)
    });
    let Some(free) = free else {
        return EAGAIN;
    };
    // SAFETY: the caller gives the place.
    unsafe { to.write(free) };
    0
}

/// Ends a key; `EINVAL` if there is none with this number.
#[unsafe(no_mangle)]
extern "C" fn pthread_key_delete(key: u32) -> c_int {
    with_keys(|keys| match keys.is_used.get_mut(key as usize) {
        Some(is_used @ true) => {
            *is_used = false;
            0
        }
        _ => EINVAL,
    })
}

/// The value of a key, or null.
#[unsafe(no_mangle)]
extern "C" fn pthread_getspecific(key: u32) -> *mut c_void {
    with_keys(|keys| {
        keys.values
            .get(key as usize)
            .copied()
            .unwrap_or(ptr::null_mut())
    })
}

/// Sets the value of a key; `EINVAL` if there is none with this number.
#[unsafe(no_mangle)]
extern "C" fn pthread_setspecific(key: u32, value: *mut c_void) -> c_int {
    with_keys(|keys| {
        let number = key as usize;
        if keys.is_used.get(number) != Some(&true) {
            return EINVAL;
        }
        keys.values[number] = value;
        0
    })
}

//! Mutexes, conditions, locks, semaphores. `std` has its own, on futexes; these are for other libraries.
//!
//! All zero is what C initialises these objects to, and how each begins here too. Threads take turns, so what is looked at and
//! then changed without a wait between is changed at once.
#![allow(unsafe_code, reason = "C's symbols")]

use core::ffi::{c_int, c_uint, c_void};

use super::gettid;
use crate::{
    errno::{EAGAIN, EBUSY, EDEADLK, EINVAL, EPERM, ETIMEDOUT, fail},
    guest::{
        absent::nothing,
        time::monotonic_of,
        waiting::{For, is_over, wait, wake},
    },
    time_units::timespec,
};

nothing! {
    pthread_cond_destroy pthread_condattr_destroy pthread_mutexattr_destroy pthread_rwlockattr_destroy
    pthread_rwlockattr_init sem_destroy
}

const MUTEX: &str = "a mutex";
const CONDITION: &str = "a condition";
const LOCK: &str = "a lock for reading or writing";
const SEMAPHORE: &str = "a semaphore";
const ONCE: &str = "something that is done once";

const CLOCK_REALTIME: c_int = 0;

/// Tries until it is not busy; `ETIMEDOUT` if it is by `until_ns`, on the monotonic clock.
pub(super) fn try_until<T>(
    of: *mut T,
    what: &'static str,
    until_ns: Option<u64>,
    mut attempt: impl FnMut() -> c_int,
) -> c_int {
    loop {
        match attempt() {
            EBUSY if is_over(until_ns) => return ETIMEDOUT,
            EBUSY => {
                wait(For::Address(of.addr(), what), until_ns);
            }
            done => return done,
        }
    }
}

/// What a time of the caller's is on the monotonic clock: `None` if it is no time.
///
/// # Safety
///
/// There is a time.
unsafe fn moment(clock: c_int, time: *const timespec) -> Option<u64> {
    // SAFETY: says the caller.
    let ns = unsafe { time.read() }.to_ns()?;
    Some(monotonic_of(clock, ns))
}

/// The beginning of `pthread_mutex_t`, where glibc's static initialisers have the kind.
#[repr(C)]
struct Mutex {
    /// How often it is locked.
    locked: u32,
    /// By which thread, while it is.
    owner: c_int,
    _of_glibc: [u32; 2],
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
        owner: 0,
        _of_glibc: [0; 2],
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

/// Locks a mutex if it is not locked, or may be again by this thread; `EBUSY` if not.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_trylock(mutex: *mut Mutex) -> c_int {
    // SAFETY: the caller has a mutex there, and nobody has a reference.
    let mutex = unsafe { &mut *mutex };
    let own = gettid();
    if mutex.locked > 0 && (mutex.kind != RECURSIVE || mutex.owner != own) {
        return EBUSY;
    }
    match mutex.locked.checked_add(1) {
        Some(locked) => mutex.locked = locked,
        None => return EAGAIN,
    }
    mutex.owner = own;
    0
}

/// # Safety
///
/// There is a mutex.
unsafe fn lock(mutex: *mut Mutex, until_ns: Option<u64>) -> c_int {
    try_until(mutex, MUTEX, until_ns, || {
        // SAFETY: says the caller.
        let Mutex {
            locked,
            kind,
            owner,
            ..
        } = unsafe { &*mutex };
        if *locked > 0 && *kind == ERROR_CHECKING && *owner == gettid() {
            return EDEADLK;
        }
        // SAFETY: as above, and the reference is used no more.
        unsafe { pthread_mutex_trylock(mutex) }
    })
}

/// Locks a mutex. If this thread has locked it already, `EDEADLK` if it is one that checks; else it waits for ever.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_lock(mutex: *mut Mutex) -> c_int {
    // SAFETY: as the caller's.
    unsafe { lock(mutex, None) }
}

/// As `pthread_mutex_lock`, until a time of the wall clock; `ETIMEDOUT` then.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_timedlock(mutex: *mut Mutex, until: *const timespec) -> c_int {
    // SAFETY: the caller has a time there.
    match unsafe { moment(CLOCK_REALTIME, until) } {
        // SAFETY: as the caller's.
        Some(until_ns) => unsafe { lock(mutex, Some(until_ns)) },
        None => EINVAL,
    }
}

/// Unlocks a mutex; `EPERM` if it is not locked, or if it is one that checks and another thread has locked it.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_mutex_unlock(mutex: *mut Mutex) -> c_int {
    let address = mutex.addr();
    // SAFETY: the caller has a mutex there, and nobody has a reference.
    let mutex = unsafe { &mut *mutex };
    let checks = matches!(mutex.kind, RECURSIVE | ERROR_CHECKING);
    if mutex.locked == 0 || checks && mutex.owner != gettid() {
        return EPERM;
    }
    mutex.locked -= 1;
    if mutex.locked == 0 {
        wake(address, 1);
    }
    0
}

/// `pthread_condattr_t` and the beginning of `pthread_cond_t`: the clock.
type Condition = c_int;

/// A condition is by the wall clock if nothing else is said.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_condattr_init(clock: *mut Condition) -> c_int {
    // SAFETY: the caller gives the place.
    unsafe { clock.write(CLOCK_REALTIME) };
    0
}

/// Sets the clock; `EINVAL` if it is neither that of the wall nor the monotonic one.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_condattr_setclock(to: *mut Condition, clock: c_int) -> c_int {
    if !(0..=1).contains(&clock) {
        return EINVAL;
    }
    // SAFETY: the caller gives the place.
    unsafe { to.write(clock) };
    0
}

/// Makes a condition that nobody waits for.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_init(to: *mut Condition, clock: *const Condition) -> c_int {
    let clock = if clock.is_null() {
        CLOCK_REALTIME
    } else {
        // SAFETY: the caller has a clock there.
        unsafe { clock.read() }
    };
    // SAFETY: the caller gives the place.
    unsafe { to.write(clock) };
    0
}

/// Wakes the thread that has waited longest.
#[unsafe(no_mangle)]
extern "C" fn pthread_cond_signal(condition: *mut Condition) -> c_int {
    wake(condition.addr(), 1);
    0
}

/// Wakes all that wait.
#[unsafe(no_mangle)]
extern "C" fn pthread_cond_broadcast(condition: *mut Condition) -> c_int {
    wake(condition.addr(), usize::MAX);
    0
}

/// # Safety
///
/// There is a mutex.
unsafe fn wait_for_signal(
    condition: *mut Condition,
    mutex: *mut Mutex,
    until_ns: Option<u64>,
) -> c_int {
    // SAFETY: says the caller.
    match unsafe { pthread_mutex_unlock(mutex) } {
        0 => {}
        error => return error,
    }
    let is_over = wait(For::Address(condition.addr(), CONDITION), until_ns);
    // SAFETY: says the caller.
    match unsafe { pthread_mutex_lock(mutex) } {
        0 if is_over => ETIMEDOUT,
        done => done,
    }
}

/// Unlocks the mutex, waits for a signal, and locks the mutex again. Whoever waits looks again: it may return without one.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_wait(condition: *mut Condition, mutex: *mut Mutex) -> c_int {
    // SAFETY: as the caller's.
    unsafe { wait_for_signal(condition, mutex, None) }
}

/// The same until a time of the condition's clock; `ETIMEDOUT` then.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_cond_timedwait(
    condition: *mut Condition,
    mutex: *mut Mutex,
    until: *const timespec,
) -> c_int {
    // SAFETY: the caller has a condition there.
    let clock = unsafe { condition.read() };
    // SAFETY: and a time.
    match unsafe { moment(clock, until) } {
        // SAFETY: as the caller's.
        Some(until_ns) => unsafe { wait_for_signal(condition, mutex, Some(until_ns)) },
        None => EINVAL,
    }
}

/// The beginning of `pthread_rwlock_t`.
#[repr(C)]
struct RwLock {
    /// How often it is locked for reading, or -1 for writing.
    locked: i32,
    /// By which thread, while it is for writing.
    writer: c_int,
}

/// Makes a lock that is not locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_init(lock: *mut RwLock, _kind: *const c_void) -> c_int {
    let new = RwLock {
        locked: 0,
        writer: 0,
    };
    // SAFETY: the caller gives the place, which is larger.
    unsafe { lock.write(new) };
    0
}

/// Ends a lock; `EBUSY` if it is locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_destroy(lock: *const RwLock) -> c_int {
    // SAFETY: the caller has a lock there.
    if unsafe { (*lock).locked } == 0 {
        0
    } else {
        EBUSY
    }
}

/// Locks for reading; `EBUSY` if it is locked for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_tryrdlock(lock: *mut RwLock) -> c_int {
    // SAFETY: the caller has a lock there, and nobody has a reference.
    let lock = unsafe { &mut *lock };
    if lock.locked < 0 {
        return EBUSY;
    }
    let Some(more) = lock.locked.checked_add(1) else {
        return EAGAIN;
    };
    lock.locked = more;
    0
}

/// Locks for writing; `EBUSY` if it is locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_trywrlock(lock: *mut RwLock) -> c_int {
    // SAFETY: the caller has a lock there, and nobody has a reference.
    let lock = unsafe { &mut *lock };
    if lock.locked != 0 {
        return EBUSY;
    }
    lock.locked = -1;
    lock.writer = gettid();
    0
}

/// Whether this thread has it for writing: then it waits for nobody else.
///
/// # Safety
///
/// There is a lock.
unsafe fn is_writer(lock: *const RwLock) -> bool {
    // SAFETY: says the caller.
    let RwLock { locked, writer } = unsafe { &*lock };
    *locked < 0 && *writer == gettid()
}

/// Locks for reading; `EDEADLK` if this thread has it for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_rdlock(lock: *mut RwLock) -> c_int {
    // SAFETY: the caller has a lock there.
    if unsafe { is_writer(lock) } {
        return EDEADLK;
    }
    // SAFETY: as above.
    try_until(lock, LOCK, None, || unsafe {
        pthread_rwlock_tryrdlock(lock)
    })
}

/// Locks for writing; `EDEADLK` if this thread has it for writing.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_wrlock(lock: *mut RwLock) -> c_int {
    // SAFETY: the caller has a lock there.
    if unsafe { is_writer(lock) } {
        return EDEADLK;
    }
    // SAFETY: as above.
    try_until(lock, LOCK, None, || unsafe {
        pthread_rwlock_trywrlock(lock)
    })
}

/// Unlocks; `EPERM` if it is not locked.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_rwlock_unlock(lock: *mut RwLock) -> c_int {
    let address = lock.addr();
    // SAFETY: the caller has a lock there, and nobody has a reference.
    let lock = unsafe { &mut *lock };
    lock.locked = match lock.locked {
        0 => return EPERM,
        -1 => 0,
        readers => readers - 1,
    };
    if lock.locked == 0 {
        wake(address, usize::MAX);
    }
    0
}

/// Makes a semaphore with this value, for the threads of the function.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_init(
    semaphore: *mut c_uint,
    _of_processes: c_int,
    value: c_uint,
) -> c_int {
    // SAFETY: the caller gives the place.
    unsafe { semaphore.write(value) };
    0
}

/// The value of a semaphore.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_getvalue(semaphore: *const c_uint, to: *mut c_uint) -> c_int {
    // SAFETY: the caller has a semaphore there.
    let value = unsafe { semaphore.read() };
    // SAFETY: and gives the place.
    unsafe { to.write(value) };
    0
}

/// Adds one, and wakes the thread that has waited longest; `EINVAL` if there is no number so large.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_post(semaphore: *mut c_uint) -> c_int {
    // SAFETY: the caller has a semaphore there.
    let Some(more) = unsafe { semaphore.read() }.checked_add(1) else {
        return fail(EINVAL);
    };
    // SAFETY: as above.
    unsafe { semaphore.write(more) };
    wake(semaphore.addr(), 1);
    0
}

/// # Safety
///
/// There is a semaphore.
unsafe fn take(semaphore: *mut c_uint, until_ns: Option<u64>) -> c_int {
    let done = try_until(semaphore, SEMAPHORE, until_ns, || {
        // SAFETY: says the caller.
        let Some(less) = unsafe { semaphore.read() }.checked_sub(1) else {
            return EBUSY;
        };
        // SAFETY: as above.
        unsafe { semaphore.write(less) };
        0
    });
    if done == 0 { 0 } else { fail(done) }
}

/// Takes one, and waits until there is one.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_wait(semaphore: *mut c_uint) -> c_int {
    // SAFETY: as the caller's.
    unsafe { take(semaphore, None) }
}

/// Takes one; `EAGAIN` if there is none.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_trywait(semaphore: *mut c_uint) -> c_int {
    // SAFETY: the caller has a semaphore there.
    if unsafe { semaphore.read() } == 0 {
        return fail(EAGAIN);
    }
    // SAFETY: as the caller's.
    unsafe { take(semaphore, None) }
}

/// As `sem_wait`, until a time of the wall clock; `ETIMEDOUT` then.
#[unsafe(no_mangle)]
unsafe extern "C" fn sem_timedwait(semaphore: *mut c_uint, until: *const timespec) -> c_int {
    // SAFETY: the caller has a time there.
    match unsafe { moment(CLOCK_REALTIME, until) } {
        // SAFETY: as the caller's.
        Some(until_ns) => unsafe { take(semaphore, Some(until_ns)) },
        None => fail(EINVAL),
    }
}

/// Calls `work` if it was not called with this `once` before, and waits until it was.
#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_once(once: *mut c_int, work: extern "C" fn()) -> c_int {
    const BEGUN: c_int = 1;
    const DONE: c_int = 2;
    try_until(once, ONCE, None, || {
        // SAFETY: the caller has a number there, zero at first.
        match unsafe { once.read() } {
            DONE => 0,
            BEGUN => EBUSY,
            _ => {
                // SAFETY: as above.
                unsafe { once.write(BEGUN) };
                work();
                // SAFETY: as above.
                unsafe { once.write(DONE) };
                wake(once.addr(), usize::MAX);
                0
            }
        }
    })
}

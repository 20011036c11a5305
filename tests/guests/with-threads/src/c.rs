//! What libraries in C wait with. `std` has futexes for all of it.
#![allow(unsafe_code, reason = "C's functions")]

use std::{
    arch::asm,
    cell::UnsafeCell,
    ffi::c_void,
    mem::zeroed,
    ptr::null_mut,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    thread,
    time::Duration,
};

/// Does it, if it is one of these.
pub(crate) fn deed(deed: &str) -> Option<String> {
    Some(match deed {
        "c-locks" => locks(),
        "c-threads" => threads(),
        "rounding" => rounding(),
        _ => return None,
    })
}

/// All that the threads share.
struct Shared {
    mutex: UnsafeCell<libc::pthread_mutex_t>,
    condition: UnsafeCell<libc::pthread_cond_t>,
    lock: UnsafeCell<libc::pthread_rwlock_t>,
    semaphore: UnsafeCell<libc::sem_t>,
    value: AtomicU32,
}

// SAFETY: C's functions may be called by any thread.
unsafe impl Sync for Shared {}

fn after(ms: u64) -> libc::timespec {
    let then = std::time::SystemTime::UNIX_EPOCH
        .elapsed()
        .expect("after 1970");
    let then = then + Duration::from_millis(ms);
    libc::timespec {
        tv_sec: then.as_secs().cast_signed(),
        tv_nsec: then.subsec_nanos().into(),
    }
}

fn locks() -> String {
    // SAFETY: all of them begin as zeros, but the semaphore, which is made.
    let shared: Shared = unsafe { zeroed() };
    let shared = &shared;
    let mut told = Vec::new();
    let (mutex, condition) = (shared.mutex.get(), shared.condition.get());
    let (lock, semaphore) = (shared.lock.get(), shared.semaphore.get());
    // SAFETY: the objects outlive the threads, and each call is one that its man page allows.
    unsafe {
        assert_eq!(libc::sem_init(semaphore, 0, 0), 0);
        thread::scope(|scope| {
            scope.spawn(|| {
                libc::pthread_mutex_lock(shared.mutex.get());
                thread::sleep(Duration::from_millis(1));
                shared.value.store(1, Relaxed);
                libc::pthread_cond_signal(shared.condition.get());
                libc::pthread_mutex_unlock(shared.mutex.get());
                libc::pthread_rwlock_wrlock(shared.lock.get());
                thread::sleep(Duration::from_millis(1));
                shared.value.store(2, Relaxed);
                libc::pthread_rwlock_unlock(shared.lock.get());
                libc::sem_post(shared.semaphore.get());
            });
            thread::yield_now();
            told.push(libc::pthread_mutex_trylock(mutex));
            told.push(libc::pthread_mutex_timedlock(mutex, &after(0)));
            told.push(libc::pthread_mutex_lock(mutex));
            while shared.value.load(Relaxed) == 0 {
                libc::pthread_cond_wait(condition, mutex);
            }
            told.push(libc::pthread_cond_timedwait(condition, mutex, &after(3)));
            told.push(libc::pthread_mutex_unlock(mutex));
            told.push(libc::sem_timedwait(semaphore, &after(1000)));
            told.push(libc::pthread_rwlock_rdlock(lock));
            told.push(libc::pthread_rwlock_trywrlock(lock));
            told.push(libc::pthread_rwlock_unlock(lock));
            told.push(libc::sem_trywait(semaphore));
        });
        let mut kind = zeroed();
        libc::pthread_mutexattr_init(&raw mut kind);
        libc::pthread_mutexattr_settype(&raw mut kind, libc::PTHREAD_MUTEX_RECURSIVE);
        libc::pthread_mutex_init(mutex, &raw const kind);
        told.push(libc::pthread_mutex_lock(mutex));
        told.push(libc::pthread_mutex_lock(mutex));
        thread::scope(|scope| {
            let other = scope.spawn(|| libc::pthread_mutex_trylock(shared.mutex.get()));
            told.push(other.join().expect("nobody panicked"));
        });
        told.push(libc::pthread_mutex_unlock(mutex));
        told.push(libc::pthread_mutex_unlock(mutex));
        told.push(libc::pthread_mutex_unlock(mutex));
    }
    format!("{told:?} {}", shared.value.load(Relaxed))
}

/// Two threads that each round in their own way, and the one that does not.
fn rounding() -> String {
    const NEAREST: u32 = 0x1f80;
    const DOWN: u32 = 0x3f80;
    const UP: u32 = 0x5f80;
    fn mode() -> u32 {
        let mut mode = 0u32;
        // SAFETY: it writes the four bytes that it is given.
        unsafe { asm!("stmxcsr [{}]", in(reg) &raw mut mode, options(nostack, preserves_flags)) };
        mode & 0xffc0
    }
    let rounds = |mut wanted: u32| {
        move || {
            // SAFETY: each mode is one that the processor has, with all exceptions masked.
            unsafe { asm!("ldmxcsr [{}]", in(reg) &raw mut wanted, options(nostack)) };
            let mut is_kept = true;
            for _ in 0..3 {
                thread::sleep(Duration::from_micros(100));
                thread::yield_now();
                is_kept &= mode() == wanted;
            }
            is_kept
        }
    };
    let (down, up) = (thread::spawn(rounds(DOWN)), thread::spawn(rounds(UP)));
    thread::yield_now();
    let own = mode() == NEAREST;
    let kept = [down, up].map(|thread| thread.join().expect("nobody panicked"));
    format!("{own} {kept:?} {}", mode() == NEAREST)
}

static DESTROYED: AtomicU32 = AtomicU32::new(0);

extern "C" fn destroy(value: *mut c_void) {
    DESTROYED.fetch_add(value.addr() as u32, Relaxed);
}

extern "C" fn work(key: *mut c_void) -> *mut c_void {
    let key = key.addr() as libc::pthread_key_t;
    // SAFETY: the key is there, and a value is no more than a number.
    unsafe {
        assert!(libc::pthread_getspecific(key).is_null());
        libc::pthread_setspecific(key, std::ptr::without_provenance(7));
    }
    std::ptr::without_provenance_mut(9)
}

/// Threads without `std`: a result, a key and its destructor, and one that nobody joins.
fn threads() -> String {
    DESTROYED.store(0, Relaxed);
    let mut told = Vec::new();
    // SAFETY: each call is one that its man page allows; what the threads are given is a number.
    unsafe {
        let mut key = 0;
        told.push(libc::pthread_key_create(&raw mut key, Some(destroy)));
        libc::pthread_setspecific(key, std::ptr::without_provenance(1));
        let argument = std::ptr::without_provenance_mut(key as usize);
        let mut thread = 0;
        told.push(libc::pthread_create(
            &raw mut thread,
            std::ptr::null(),
            work,
            argument,
        ));
        let mut result = null_mut();
        told.push(libc::pthread_join(thread, &raw mut result));
        told.push(result.addr() as i32);
        told.push(libc::pthread_join(thread, null_mut()));
        told.push(libc::pthread_create(
            &raw mut thread,
            std::ptr::null(),
            work,
            argument,
        ));
        told.push(libc::pthread_detach(thread));
        told.push(libc::pthread_detach(thread));
        thread::yield_now();
        told.push(libc::pthread_detach(thread));
        told.push(libc::pthread_getspecific(key).addr() as i32);
        told.push(libc::pthread_key_delete(key));
        told.push(libc::pthread_join(libc::pthread_self(), null_mut()));
    }
    format!("{told:?} {}", DESTROYED.load(Relaxed))
}

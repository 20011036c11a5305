//! One process: how it ends, what can be asked of it. There are no others, and no signals (`ENOSYS`).
#![allow(unsafe_code, reason = "C's symbols")]

use alloc::{format, vec::Vec};
use core::{
    ffi::{c_char, c_int, c_long, c_ulong, c_void},
    ptr, slice,
};

use super::{
    absent::{absent, nothing},
    memory::ALIGN_BYTES,
    one_thread::OneThread,
    stdio::{end_lines, last_words},
};
use crate::{
    errno::{EINVAL, ENOENT, ENOMEM, ENOSYS, fail, get, put_text},
    files::OPEN_MAX,
};

absent! { ENOSYS, -1 => c_int:
    execl execle execlp execv execve execvp fexecve fork getgroups getrlimit getrlimit64 getrusage kill killpg prlimit64
    ptrace setegid seteuid setgid setgroups setitimer setpgid setpriority setregid setresgid setresuid setreuid setrlimit
    setrlimit64 setsid setuid sigaction sigaltstack sigpending sigprocmask sigsuspend sigtimedwait sigwait system times
    timer_create timer_delete timer_settime unshare vfork wait wait3 wait4 waitid waitpid
}
absent! { ENOSYS, ptr::without_provenance_mut(usize::MAX) => *mut c_void: bsd_signal signal sysv_signal }
super::absent::refuses! { ENOSYS:
    posix_spawn posix_spawn_file_actions_addclose posix_spawn_file_actions_adddup2 posix_spawn_file_actions_addopen
    posix_spawnattr_setflags posix_spawnattr_setpgroup posix_spawnattr_setsigdefault posix_spawnattr_setsigmask posix_spawnp
    pthread_kill pthread_sigmask
}
nothing! {
    alarm posix_spawn_file_actions_destroy posix_spawn_file_actions_init posix_spawnattr_destroy posix_spawnattr_init
    getegid geteuid getgid getuid getppid
}

/// Ends the VM because it cannot go on: a panic whose message is `why`.
pub(crate) fn give_up(why: &str) -> ! {
    end_lines();
    jiffy_rt::aborted(why)
}

type AtExit = (extern "C" fn(*mut c_void), *mut c_void);
static AT_EXIT: OneThread<Vec<AtExit>> = OneThread::new(Vec::new());

/// Has `done` called with `argument` when the function calls `exit`.
#[unsafe(no_mangle)]
extern "C" fn __cxa_atexit(
    done: extern "C" fn(*mut c_void),
    argument: *mut c_void,
    _library: *mut c_void,
) -> c_int {
    AT_EXIT.with(|list| list.push((done, argument)));
    0
}

/// As `__cxa_atexit`; what takes nothing does not see that it is given something.
#[unsafe(no_mangle)]
extern "C" fn atexit(done: extern "C" fn(*mut c_void)) -> c_int {
    __cxa_atexit(done, ptr::null_mut(), ptr::null_mut())
}

/// What names the program among libraries that are loaded; there are none.
#[unsafe(no_mangle)]
static __dso_handle: u8 = 0;

/// Ends the VM with the low eight bits of `code`, after what `atexit` was given, the last first.
#[unsafe(no_mangle)]
extern "C" fn exit(code: c_int) -> ! {
    while let Some((done, argument)) = AT_EXIT.with(Vec::pop) {
        done(argument);
    }
    _exit(code)
}

/// Ends the VM with the low eight bits of `code`.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn _exit(code: c_int) -> ! {
    end_lines();
    jiffy_rt::exit(code as u8)
}

/// As `_exit`.
#[unsafe(no_mangle)]
extern "C" fn _Exit(code: c_int) -> ! {
    _exit(code)
}

/// Ends the VM as a panic does, with the last line of descriptor 2; as out of memory if that says so, as `std` does, or if the
/// last error is that of a `malloc`, as programs abort that have no use for its null. As the panic that nobody catches, if this
/// thread panics.
#[unsafe(no_mangle)]
extern "C" fn abort() -> ! {
    end_lines();
    last_words(|last| {
        #[cfg(feature = "unwind")]
        if !last.starts_with("memory allocation of ") {
            super::panics::end_if_panicking();
        }
        if get() == ENOMEM {
            jiffy_rt::end_if_allocation_failed(ALIGN_BYTES as u64);
        }
        jiffy_rt::end_if_out_of_memory(last);
        match last {
            "" => jiffy_rt::aborted("the function called abort"),
            last => jiffy_rt::aborted(&format!("the function called abort after it wrote: {last}")),
        }
    })
}

/// Ends the VM, as out of memory: what `jiffy_out_of_memory` of `jiffy.h` is.
#[unsafe(no_mangle)]
extern "C" fn __jiffy_out_of_memory(bytes: usize) -> ! {
    end_lines();
    jiffy_rt::out_of_memory(bytes as u64)
}

/// There are no signals but the one that means `abort`.
#[unsafe(no_mangle)]
extern "C" fn raise(signal: c_int) -> c_int {
    const SIGABRT: c_int = 6;
    if signal == SIGABRT {
        abort();
    }
    fail(ENOSYS)
}

/// Waits for a signal, and so for ever: the VM ends.
#[unsafe(no_mangle)]
extern "C" fn pause() -> c_int {
    give_up("deadlock: the function waits for a signal, and there are none")
}

/// A set of signals, 128 bytes.
const SIGNAL_WORDS: usize = 16;

/// Empties a set of signals.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigemptyset(set: *mut [u64; SIGNAL_WORDS]) -> c_int {
    // SAFETY: the caller gives the place.
    unsafe { set.write([0; SIGNAL_WORDS]) };
    0
}

/// Fills a set of signals.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigfillset(set: *mut [u64; SIGNAL_WORDS]) -> c_int {
    // SAFETY: the caller gives the place.
    unsafe { set.write([u64::MAX; SIGNAL_WORDS]) };
    0
}

/// Puts a signal into a set; `EINVAL` if it is none.
#[unsafe(no_mangle)]
unsafe extern "C" fn sigaddset(set: *mut [u64; SIGNAL_WORDS], signal: c_int) -> c_int {
    if !(1..=64).contains(&signal) {
        return fail(EINVAL);
    }
    // SAFETY: it is a set of the caller's.
    unsafe { (*set)[0] |= 1 << (signal - 1) };
    0
}

/// The number of the one process.
#[unsafe(no_mangle)]
pub(crate) extern "C" fn getpid() -> c_int {
    1
}

/// Numbers about the machine: one processor, pages of 4096 bytes; `EINVAL` for what is not known.
#[unsafe(no_mangle)]
extern "C" fn sysconf(name: c_int) -> c_long {
    match name {
        0 => 128 << 10, // _SC_ARG_MAX
        2 => 100,       // _SC_CLK_TCK
        4 => OPEN_MAX as c_long,
        30 => 4096,     // _SC_PAGESIZE
        60 => 1024,     // _SC_IOV_MAX
        75 => 16 << 10, // _SC_THREAD_STACK_MIN
        83 | 84 => 1,   // _SC_NPROCESSORS_CONF, _SC_NPROCESSORS_ONLN
        180 => 64,      // _SC_HOST_NAME_MAX
        _ => fail(EINVAL).into(),
    }
}

/// Bytes of a page.
#[unsafe(no_mangle)]
extern "C" fn getpagesize() -> c_int {
    4096
}

/// What a kernel would tell a program at its start: the size of a page; `ENOENT` and zero for all else.
#[unsafe(no_mangle)]
extern "C" fn getauxval(kind: c_ulong) -> c_ulong {
    const AT_PAGESZ: c_ulong = 6;
    if kind == AT_PAGESZ {
        return 4096;
    }
    fail(ENOENT);
    0
}

/// The one processor.
#[unsafe(no_mangle)]
unsafe extern "C" fn sched_getaffinity(_process: c_int, bytes: usize, set: *mut u8) -> c_int {
    if bytes == 0 {
        return fail(EINVAL);
    }
    // SAFETY: the caller has so many bytes there, which are its own.
    let set = unsafe { slice::from_raw_parts_mut(set, bytes) };
    set.fill(0);
    set[0] = 1;
    0
}

/// `struct utsname` of glibc: six texts.
#[repr(C)]
struct Names([[u8; 65]; 6]);

/// What the system is called: not Linux, as there is none.
#[unsafe(no_mangle)]
unsafe extern "C" fn uname(to: *mut Names) -> c_int {
    let texts = [
        "jiffy",
        "function",
        env!("CARGO_PKG_VERSION"),
        "library OS",
        "x86_64",
        "",
    ];
    let names = texts.map(|text| {
        let mut name = [0; 65];
        name[..text.len()].copy_from_slice(text.as_bytes());
        name
    });
    // SAFETY: the caller gives the place.
    unsafe { to.write(Names(names)) };
    0
}

/// A name of this machine, as every function has it.
#[unsafe(no_mangle)]
unsafe extern "C" fn gethostname(to: *mut c_char, bytes: usize) -> c_int {
    if to.is_null() || bytes == 0 {
        return fail(EINVAL);
    }
    // SAFETY: the caller has so many bytes there, which are its own.
    let to = unsafe { slice::from_raw_parts_mut(to.cast(), bytes) };
    match put_text("function", to) {
        0 => 0,
        error => fail(error),
    }
}

/// Nobody has an account: no error, and no record.
#[unsafe(no_mangle)]
unsafe extern "C" fn getpwuid_r(
    _user: u32,
    _record: *mut c_void,
    _buffer: *mut c_char,
    _bytes: usize,
    result: *mut *mut c_void,
) -> c_int {
    // SAFETY: the caller gives the place.
    unsafe { result.write(ptr::null_mut()) };
    0
}

/// Finds nothing: an image has all it needs in it.
#[unsafe(no_mangle)]
extern "C" fn dlsym(_library: *mut c_void, _name: *const c_char) -> *mut c_void {
    ptr::null_mut()
}

/// Names no part of the program, because nobody looks into it: zero, as if each had been looked at.
#[unsafe(no_mangle)]
extern "C" fn dl_iterate_phdr(_each: *const c_void, _argument: *mut c_void) -> c_int {
    0
}

/// Loads nothing.
#[unsafe(no_mangle)]
extern "C" fn dlopen(_name: *const c_char, _flags: c_int) -> *mut c_void {
    ptr::null_mut()
}

/// Nothing was loaded.
#[unsafe(no_mangle)]
extern "C" fn dlclose(_library: *mut c_void) -> c_int {
    0
}

/// Why nothing was found or loaded.
#[unsafe(no_mangle)]
extern "C" fn dlerror() -> *const c_char {
    c"an image has all it needs in it, and loads nothing".as_ptr()
}

/// The version of glibc that the symbols here are like: `std` wants to know.
#[unsafe(no_mangle)]
extern "C" fn gnu_get_libc_version() -> *const c_char {
    c"2.36".as_ptr()
}

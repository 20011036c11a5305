//! A file system without files: what is looked for is not there (`ENOENT`), what would be made cannot be (`EROFS`), and
//! descriptors other than 0, 1 and 2 are none (`EBADF`). The current folder is the root.
#![allow(unsafe_code, reason = "C's texts are addresses")]

use core::{
    ffi::{CStr, c_char, c_int, c_ulong, c_void},
    ptr, slice,
};

use super::{
    absent::{absent, nothing, variadic},
    memory,
};
use crate::errno::{EBADF, EINVAL, ENOENT, ENOTTY, ERANGE, EROFS, fail, put_text};

const O_CREAT: c_int = 0o100;
/// Words of `struct stat`, and in which of them `st_mode` is.
const STAT_WORDS: usize = 18;
const STAT_MODE: usize = 3;
/// A character device that may be read and written.
const MODE: u64 = 0o020_600;

// What is looked for.
absent! { ENOENT, -1 => c_int:
    access chmod chown euidaccess faccessat fchmodat fchownat fstatat fstatat64 lchown link linkat lstat lstat64 openat2
    pathconf readlinkat rename renameat renameat2 rmdir stat stat64 statfs statfs64 statvfs statvfs64 truncate truncate64
    unlink unlinkat utime utimensat utimes
}
absent! { ENOENT, -1 => isize: getxattr lgetxattr listxattr readlink }
absent! { ENOENT, ptr::null_mut() => *mut c_void: opendir }

// What would be made.
absent! { EROFS, -1 => c_int:
    creat creat64 mkdir mkdirat mkfifo mknod mkostemp mkstemp mkstemp64 setxattr symlink symlinkat
}
absent! { EROFS, ptr::null_mut() => *mut c_void: mkdtemp tmpfile }

// What is done with a descriptor that is a file's.
absent! { EBADF, -1 => c_int:
    dirfd fallocate fallocate64 fchdir fchmod fchown fdatasync flock fstatfs fstatfs64 fstatvfs64 fsync ftruncate
    ftruncate64 futimens posix_fallocate64 syncfs
}
absent! { EBADF, -1 => isize:
    copy_file_range pread pread64 preadv preadv64 pwrite pwrite64 pwritev pwritev64 sendfile sendfile64 splice tee
}
absent! { EBADF, ptr::null_mut() => *mut c_void: fdopendir readdir readdir64 }

// What a function has no use for.
absent! { ENOSYS, -1 => c_int:
    chroot dup dup2 dup3 epoll_create1 epoll_ctl epoll_wait eventfd inotify_add_watch inotify_init1 memfd_create mount pipe
    pipe2 poll ppoll select timerfd_create umount2
}
nothing! { closedir posix_fadvise posix_fadvise64 sync umask }

const fn is_open(descriptor: c_int) -> bool {
    matches!(descriptor, 0..=2)
}

extern "C" fn open_path(_path: *const c_char, flags: c_int) -> c_int {
    fail(if flags & O_CREAT == 0 { ENOENT } else { EROFS })
}

extern "C" fn open_at(_folder: c_int, path: *const c_char, flags: c_int) -> c_int {
    open_path(path, flags)
}

extern "C" fn control_descriptor(descriptor: c_int, command: c_int) -> c_int {
    const F_GETFD: c_int = 1;
    const F_GETFL: c_int = 3;
    match command {
        _ if !is_open(descriptor) => fail(EBADF),
        F_GETFD => 0,
        F_GETFL => c_int::from(descriptor > 0), // O_RDONLY, O_WRONLY
        _ => fail(EINVAL),
    }
}

extern "C" fn control_device(descriptor: c_int, _request: c_ulong) -> c_int {
    fail(if is_open(descriptor) { ENOTTY } else { EBADF })
}

variadic! {
    /// There is no such file, or it cannot be made.
    open => open_path;
    /// As `open`.
    open64 => open_path;
    /// As `open`.
    openat => open_at;
    /// As `open`.
    openat64 => open_at;
    /// Flags of 0, 1 and 2.
    fcntl => control_descriptor;
    /// As `fcntl`.
    fcntl64 => control_descriptor;
    /// No descriptor is a device with anything to set.
    ioctl => control_device;
}

/// Leaves 0, 1 and 2 open, as what closes them does not mean the log.
#[unsafe(no_mangle)]
extern "C" fn close(descriptor: c_int) -> c_int {
    if is_open(descriptor) { 0 } else { fail(EBADF) }
}

/// Whether a descriptor is a terminal: none is.
#[unsafe(no_mangle)]
extern "C" fn isatty(descriptor: c_int) -> c_int {
    control_device(descriptor, 0);
    0
}

/// Descriptors 0, 1 and 2 are character devices.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstat64(descriptor: c_int, to: *mut [u64; STAT_WORDS]) -> c_int {
    if !is_open(descriptor) {
        return fail(EBADF);
    }
    let mut stat = [0; STAT_WORDS];
    stat[STAT_MODE] = MODE;
    // SAFETY: the caller gives the place.
    unsafe { to.write(stat) };
    0
}

/// As `fstat64`: the two are one on x86-64.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstat(descriptor: c_int, to: *mut [u64; STAT_WORDS]) -> c_int {
    // SAFETY: as the caller's.
    unsafe { fstat64(descriptor, to) }
}

/// What can be written has no position.
#[unsafe(no_mangle)]
extern "C" fn lseek64(descriptor: c_int, _offset: i64, _from: c_int) -> i64 {
    let error = if is_open(descriptor) {
        crate::errno::ESPIPE
    } else {
        EBADF
    };
    fail(error).into()
}

/// As `lseek64`.
#[unsafe(no_mangle)]
extern "C" fn lseek(descriptor: c_int, offset: i64, from: c_int) -> i64 {
    lseek64(descriptor, offset, from)
}

/// The current folder: the root, in the caller's buffer or, if that is null, in one of `malloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn getcwd(buffer: *mut c_char, bytes: usize) -> *mut c_char {
    let (buffer, bytes) = if buffer.is_null() {
        let bytes = bytes.max(2);
        (memory::malloc(bytes).cast(), bytes)
    } else {
        (buffer, bytes)
    };
    if buffer.is_null() {
        return buffer;
    }
    // SAFETY: there are so many bytes, the caller's or just made.
    let text = unsafe { slice::from_raw_parts_mut(buffer.cast(), bytes) };
    if put_text("/", text) != 0 {
        fail(ERANGE);
        return ptr::null_mut();
    }
    buffer
}

/// The root is itself; nothing else is there.
#[unsafe(no_mangle)]
unsafe extern "C" fn realpath(path: *const c_char, to: *mut c_char) -> *mut c_char {
    if path.is_null() {
        fail(EINVAL);
        return ptr::null_mut();
    }
    // SAFETY: it is a text, says the caller.
    if !matches!(unsafe { CStr::from_ptr(path) }.to_bytes(), b"/" | b".") {
        fail(ENOENT);
        return ptr::null_mut();
    }
    // SAFETY: the caller has room for any path, or wants it made.
    unsafe { getcwd(to, 2) }
}

/// The root is where one is; nowhere else can be gone.
#[unsafe(no_mangle)]
unsafe extern "C" fn chdir(path: *const c_char) -> c_int {
    // SAFETY: it is a text, says the caller.
    match unsafe { CStr::from_ptr(path) }.to_bytes() {
        b"/" | b"." => 0,
        _ => fail(ENOENT),
    }
}

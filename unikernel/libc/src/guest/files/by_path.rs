//! What is done with a path.

use core::{
    ffi::{CStr, c_char, c_int, c_long, c_uint, c_void},
    ptr, slice,
};

use super::{
    super::{
        absent::{absent, nothing, variadic},
        memory,
        random::getrandom,
    },
    AT_FDCWD, State, UMASK, done, now, path, put, stat, with, with_current,
};
use crate::{
    errno::{EEXIST, EFAULT, EINVAL, ENOMEM, ENOTSUP, ERANGE, fail, get},
    files::{Fallible, Options, Path, Times},
    time_units::timespec,
};

const O_WRONLY: c_int = 1;
const O_RDWR: c_int = 2;
const O_ACCMODE: c_int = 3;
const O_CREAT: c_int = 0o100;
const O_EXCL: c_int = 0o200;
const O_TRUNC: c_int = 0o1000;
pub(super) const O_APPEND: c_int = 0o2000;
const O_DIRECTORY: c_int = 0o20_0000;
/// Opens a file without a name, by the name of its folder.
const O_TMPFILE: c_int = 0o2000_0000;
const AT_REMOVEDIR: c_int = 0x200;
const AT_EMPTY_PATH: c_int = 0x1000;
const RENAME_NOREPLACE: c_uint = 1;
const PATH_BYTES_MAX: usize = 4096;
/// How often another name is drawn for a file that is to be new.
const DRAWS_MAX: usize = 100;

// Links, special files and attributes are nothing that this file system has.
absent! { EPERM, -1 => c_int: link linkat lsetxattr mkfifo mknod setxattr symlink symlinkat }
absent! { ENOTSUP, -1 => isize: getxattr lgetxattr listxattr }
absent! { ENOSYS, -1 => c_int:
    chroot inotify_add_watch inotify_init1 mount openat2 pathconf statfs statfs64 statvfs statvfs64 umount2
}
nothing! { umask }

/// Does `work` with what a path names.
///
/// # Safety
///
/// `text` is a text, or null.
unsafe fn at<R>(
    folder: c_int,
    text: *const c_char,
    work: impl FnOnce(&mut State, &Path) -> Fallible<R>,
) -> Fallible<R> {
    with(|state| {
        // SAFETY: says the caller.
        let path = unsafe { path(state, folder, text) }?;
        work(state, &path)
    })
}

const fn options(flags: c_int) -> Options {
    let access = flags & O_ACCMODE;
    Options {
        reads: access != O_WRONLY,
        writes: access == O_WRONLY || access == O_RDWR,
        appends: flags & O_APPEND != 0,
        creates: flags & O_CREAT != 0,
        is_new: flags & O_EXCL != 0,
        truncates: flags & O_TRUNC != 0,
        folder: flags & O_DIRECTORY != 0,
    }
}

unsafe extern "C" fn open_path(path: *const c_char, flags: c_int, mode: c_uint) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_at(AT_FDCWD, path, flags, mode) }
}

unsafe extern "C" fn open_at(
    folder: c_int,
    text: *const c_char,
    flags: c_int,
    mode: c_uint,
) -> c_int {
    if flags & O_TMPFILE == O_TMPFILE && flags & O_DIRECTORY != 0 && flags & O_CREAT == 0 {
        return fail(ENOTSUP);
    }
    let open = |state: &mut State, path: &Path| {
        let open = state
            .tree
            .open(path, options(flags), mode & !UMASK, now())?;
        put(state, open)
    };
    // SAFETY: the caller has a text there.
    match unsafe { at(folder, text, open) } {
        Ok(descriptor) => descriptor,
        Err(error) => fail(error),
    }
}

/// Opens a folder.
///
/// # Safety
///
/// `text` is a text, or null.
pub(super) unsafe fn open_folder(text: *const c_char) -> c_int {
    // SAFETY: says the caller.
    unsafe { open_path(text, O_DIRECTORY, 0) }
}

variadic! {
    /// Opens what is there, or makes a file below `/tmp`.
    open => open_path;
    /// As `open`.
    open64 => open_path;
    /// As `open`, seen from a folder.
    openat => open_at;
    /// As `openat`.
    openat64 => open_at;
}

/// Makes a file, or empties it.
#[unsafe(no_mangle)]
unsafe extern "C" fn creat(text: *const c_char, mode: c_uint) -> c_int {
    // SAFETY: as the caller's.
    unsafe { open_path(text, O_CREAT | O_WRONLY | O_TRUNC, mode) }
}

/// As `creat`.
#[unsafe(no_mangle)]
unsafe extern "C" fn creat64(text: *const c_char, mode: c_uint) -> c_int {
    // SAFETY: as the caller's.
    unsafe { creat(text, mode) }
}

type StatWords = [u64; stat::WORDS];

/// What is at a path, or with `AT_EMPTY_PATH` and no path what the descriptor stands for.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstatat(
    folder: c_int,
    text: *const c_char,
    to: *mut StatWords,
    flags: c_int,
) -> c_int {
    // SAFETY: the caller has a text there, or null.
    let is_empty = text.is_null() || unsafe { text.read() } == 0;
    if flags & AT_EMPTY_PATH != 0 && is_empty {
        // SAFETY: as the caller's.
        return unsafe { super::by_descriptor::fstat(folder, to) };
    }
    // SAFETY: as above.
    match unsafe { at(folder, text, |state, path| state.tree.stat(path)) } {
        Ok(found) => {
            // SAFETY: the caller gives the place.
            unsafe { to.write(stat::words(found)) };
            0
        }
        Err(error) => fail(error),
    }
}

/// As `fstatat`: the two are one on x86-64.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstatat64(
    folder: c_int,
    text: *const c_char,
    to: *mut StatWords,
    flags: c_int,
) -> c_int {
    // SAFETY: as the caller's.
    unsafe { fstatat(folder, text, to, flags) }
}

/// Symbols that take a path and a place for what is there; there are no links that `lstat` would not follow.
macro_rules! stats {
    ($($name:ident)+) => {
        $(
            /// What is at a path.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(text: *const c_char, to: *mut StatWords) -> c_int {
                // SAFETY: as the caller's.
                unsafe { fstatat(AT_FDCWD, text, to, 0) }
            }
        )+
    };
}
stats! { stat stat64 lstat lstat64 }

/// Whether something is there and may be used so.
#[unsafe(no_mangle)]
unsafe extern "C" fn faccessat(
    folder: c_int,
    text: *const c_char,
    wanted: c_int,
    _flags: c_int,
) -> c_int {
    const X_OK: c_int = 1;
    const W_OK: c_int = 2;
    let (writes, executes) = (wanted & W_OK != 0, wanted & X_OK != 0);
    // SAFETY: the caller has a text there.
    done(unsafe {
        at(folder, text, |state, path| {
            state.tree.access(path, writes, executes)
        })
    })
}

/// As `faccessat`, seen from the current folder.
#[unsafe(no_mangle)]
unsafe extern "C" fn access(text: *const c_char, wanted: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe { faccessat(AT_FDCWD, text, wanted, 0) }
}

/// As `access`: there is one user.
#[unsafe(no_mangle)]
unsafe extern "C" fn euidaccess(text: *const c_char, wanted: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe { access(text, wanted) }
}

/// Makes a folder below `/tmp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdirat(folder: c_int, text: *const c_char, mode: c_uint) -> c_int {
    let make = |state: &mut State, path: &Path| state.tree.make_folder(path, mode & !UMASK, now());
    // SAFETY: the caller has a text there.
    done(unsafe { at(folder, text, make) })
}

/// As `mkdirat`, seen from the current folder.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdir(text: *const c_char, mode: c_uint) -> c_int {
    // SAFETY: as the caller's.
    unsafe { mkdirat(AT_FDCWD, text, mode) }
}

/// Removes a file, or with `AT_REMOVEDIR` an empty folder.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlinkat(folder: c_int, text: *const c_char, flags: c_int) -> c_int {
    let remove = |state: &mut State, path: &Path| match flags & AT_REMOVEDIR {
        0 => state.tree.remove_file(path),
        _ => state.tree.remove_folder(path),
    };
    // SAFETY: the caller has a text there.
    done(unsafe { at(folder, text, remove) })
}

/// Removes a file.
#[unsafe(no_mangle)]
unsafe extern "C" fn unlink(text: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { unlinkat(AT_FDCWD, text, 0) }
}

/// Removes an empty folder.
#[unsafe(no_mangle)]
unsafe extern "C" fn rmdir(text: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { unlinkat(AT_FDCWD, text, AT_REMOVEDIR) }
}

/// Gives something another path; `RENAME_NOREPLACE` is the one flag.
#[unsafe(no_mangle)]
unsafe extern "C" fn renameat2(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
    flags: c_uint,
) -> c_int {
    if flags & !RENAME_NOREPLACE != 0 {
        return fail(EINVAL);
    }
    done(with(|state| {
        // SAFETY: the caller has a text there.
        let from = unsafe { path(state, from_folder, from) }?;
        // SAFETY: as above.
        let to = unsafe { path(state, to_folder, to) }?;
        state.tree.rename(&from, &to, flags != 0)
    }))
}

/// As `renameat2` without flags.
#[unsafe(no_mangle)]
unsafe extern "C" fn renameat(
    from_folder: c_int,
    from: *const c_char,
    to_folder: c_int,
    to: *const c_char,
) -> c_int {
    // SAFETY: as the caller's.
    unsafe { renameat2(from_folder, from, to_folder, to, 0) }
}

/// As `renameat`, seen from the current folder.
#[unsafe(no_mangle)]
unsafe extern "C" fn rename(from: *const c_char, to: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { renameat2(AT_FDCWD, from, AT_FDCWD, to, 0) }
}

/// Sets rights, which nobody is kept from anything by.
#[unsafe(no_mangle)]
unsafe extern "C" fn fchmodat(
    folder: c_int,
    text: *const c_char,
    mode: c_uint,
    _flags: c_int,
) -> c_int {
    // SAFETY: the caller has a text there.
    done(unsafe {
        at(folder, text, |state, path| {
            state.tree.set(path, Some(mode), Times::default())
        })
    })
}

/// As `fchmodat`, seen from the current folder.
#[unsafe(no_mangle)]
unsafe extern "C" fn chmod(text: *const c_char, mode: c_uint) -> c_int {
    // SAFETY: as the caller's.
    unsafe { fchmodat(AT_FDCWD, text, mode, 0) }
}

/// Symbols that give what is at a path to another user. There is one, who has it already.
macro_rules! owns {
    ($($name:ident)+) => {
        $(
            /// Leaves the owner as it is.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(text: *const c_char, _user: u32, _group: u32) -> c_int {
                // SAFETY: the caller has a text there.
                done(unsafe { at(AT_FDCWD, text, |state, path| state.tree.set(path, None, Times::default())) })
            }
        )+
    };
}
owns! { chown lchown }

/// As `chown`, seen from a folder.
#[unsafe(no_mangle)]
unsafe extern "C" fn fchownat(
    folder: c_int,
    text: *const c_char,
    _user: u32,
    _group: u32,
    _flags: c_int,
) -> c_int {
    // SAFETY: the caller has a text there.
    done(unsafe {
        at(folder, text, |state, path| {
            state.tree.set(path, None, Times::default())
        })
    })
}

fn both_now() -> Times {
    Times {
        accessed_ns: Some(now()),
        modified_ns: Some(now()),
    }
}

/// `EINVAL` if one is no time.
fn set_both(accessed_ns: Option<u64>, modified_ns: Option<u64>) -> Fallible<Times> {
    match (accessed_ns, modified_ns) {
        (Some(_), Some(_)) => Ok(Times {
            accessed_ns,
            modified_ns,
        }),
        _ => Err(EINVAL),
    }
}

/// Two times, that of the last reading and that of the last change. Now if there are none.
///
/// # Safety
///
/// `times` is null or has two.
pub(super) unsafe fn times_of(times: *const timespec) -> Fallible<Times> {
    const UTIME_NOW: c_long = (1 << 30) - 1;
    const UTIME_OMIT: c_long = (1 << 30) - 2;
    if times.is_null() {
        return Ok(both_now());
    }
    let one = |time: timespec| match time.tv_nsec {
        UTIME_NOW => Ok(Some(now())),
        UTIME_OMIT => Ok(None),
        _ => time.to_ns().map(Some).ok_or(EINVAL),
    };
    // SAFETY: says the caller.
    let [accessed, modified] = unsafe { times.cast::<[timespec; 2]>().read() };
    Ok(Times {
        accessed_ns: one(accessed)?,
        modified_ns: one(modified)?,
    })
}

/// Sets the times of the last reading and the last change.
#[unsafe(no_mangle)]
unsafe extern "C" fn utimensat(
    folder: c_int,
    text: *const c_char,
    times: *const timespec,
    _flags: c_int,
) -> c_int {
    if text.is_null() {
        // SAFETY: as the caller's.
        return unsafe { super::by_descriptor::futimens(folder, times) };
    }
    // SAFETY: the caller has two times there, or null.
    let times = unsafe { times_of(times) };
    // SAFETY: the caller has a text there.
    done(times.and_then(|times| unsafe {
        at(folder, text, |state, path| {
            state.tree.set(path, None, times)
        })
    }))
}

/// As `utimensat`, with microseconds.
#[unsafe(no_mangle)]
unsafe extern "C" fn utimes(text: *const c_char, times: *const timespec) -> c_int {
    let times = if times.is_null() {
        Ok(both_now())
    } else {
        // SAFETY: the caller has two times there, whose second numbers are of microseconds.
        let both = unsafe { times.cast::<[timespec; 2]>().read() };
        let [accessed, modified] = both.map(|mut time| {
            time.tv_nsec = time.tv_nsec.saturating_mul(1000);
            time.to_ns()
        });
        set_both(accessed, modified)
    };
    // SAFETY: the caller has a text there.
    done(times.and_then(|times| unsafe {
        at(AT_FDCWD, text, |state, path| {
            state.tree.set(path, None, times)
        })
    }))
}

/// As `utimes`: there are no links that it would not follow.
#[unsafe(no_mangle)]
unsafe extern "C" fn lutimes(text: *const c_char, times: *const timespec) -> c_int {
    // SAFETY: as the caller's.
    unsafe { utimes(text, times) }
}

/// As `utimensat`, with seconds.
#[unsafe(no_mangle)]
unsafe extern "C" fn utime(text: *const c_char, times: *const [i64; 2]) -> c_int {
    let times = if times.is_null() {
        Ok(both_now())
    } else {
        // SAFETY: the caller has two times there.
        let both = unsafe { times.read() };
        let [accessed, modified] = both.map(|tv_sec| timespec { tv_sec, tv_nsec: 0 }.to_ns());
        set_both(accessed, modified)
    };
    // SAFETY: the caller has a text there.
    done(times.and_then(|times| unsafe {
        at(AT_FDCWD, text, |state, path| {
            state.tree.set(path, None, times)
        })
    }))
}

/// Makes a file so long.
#[unsafe(no_mangle)]
unsafe extern "C" fn truncate(text: *const c_char, bytes: i64) -> c_int {
    let set = |state: &mut State, path: &Path| {
        let bytes = u64::try_from(bytes).map_err(|_| EINVAL)?;
        state.tree.set_len(path, bytes, now())
    };
    // SAFETY: the caller has a text there.
    done(unsafe { at(AT_FDCWD, text, set) })
}

/// As `truncate`.
#[unsafe(no_mangle)]
unsafe extern "C" fn truncate64(text: *const c_char, bytes: i64) -> c_int {
    // SAFETY: as the caller's.
    unsafe { truncate(text, bytes) }
}

/// Nothing is a link: `EINVAL` of what is there.
#[unsafe(no_mangle)]
unsafe extern "C" fn readlinkat(
    folder: c_int,
    text: *const c_char,
    _to: *mut c_char,
    _bytes: usize,
) -> isize {
    // SAFETY: the caller has a text there.
    let found = unsafe { at(folder, text, |state, path| state.tree.stat(path)) };
    fail(found.map_or_else(|error| error, |_| EINVAL)) as isize
}

/// As `readlinkat`, seen from the current folder.
#[unsafe(no_mangle)]
unsafe extern "C" fn readlink(text: *const c_char, to: *mut c_char, bytes: usize) -> isize {
    // SAFETY: as the caller's.
    unsafe { readlinkat(AT_FDCWD, text, to, bytes) }
}

/// Puts a path and a zero into the caller's buffer, or if that is null into one of `malloc`.
///
/// # Safety
///
/// There are so many bytes in the buffer if there is one.
unsafe fn give(path: &[u8], buffer: *mut c_char, bytes: usize) -> Fallible<*mut c_char> {
    let (buffer, bytes) = if buffer.is_null() {
        let bytes = bytes.max(path.len() + 1);
        (memory::malloc(bytes).cast(), bytes)
    } else {
        (buffer, bytes)
    };
    if buffer.is_null() {
        return Err(ENOMEM);
    }
    if path.len() >= bytes {
        return Err(ERANGE);
    }
    // SAFETY: there are so many bytes, the caller's or just made.
    let text = unsafe { slice::from_raw_parts_mut(buffer.cast::<u8>(), path.len() + 1) };
    text[..path.len()].copy_from_slice(path);
    text[path.len()] = 0;
    Ok(buffer)
}

fn address(result: Fallible<*mut c_char>) -> *mut c_char {
    result.unwrap_or_else(|error| {
        fail(error);
        ptr::null_mut()
    })
}

/// The current folder, in the caller's buffer or, if that is null, in one of `malloc`.
#[unsafe(no_mangle)]
unsafe extern "C" fn getcwd(buffer: *mut c_char, bytes: usize) -> *mut c_char {
    // SAFETY: the caller has so many bytes there, or null.
    address(with_current(|current| unsafe {
        give(current, buffer, bytes)
    }))
}

/// The whole path of what is there.
#[unsafe(no_mangle)]
unsafe extern "C" fn realpath(text: *const c_char, to: *mut c_char) -> *mut c_char {
    let give = |state: &mut State, path: &Path| {
        state.tree.stat(path)?;
        // SAFETY: the caller has room for any path, or null.
        unsafe { give(path.text(), to, PATH_BYTES_MAX) }
    };
    // SAFETY: the caller has a text there.
    address(unsafe { at(AT_FDCWD, text, give) })
}

/// Another current folder.
#[unsafe(no_mangle)]
unsafe extern "C" fn chdir(text: *const c_char) -> c_int {
    // SAFETY: the caller has a text there.
    done(unsafe { at(AT_FDCWD, text, |state, path| state.tree.set_current(path)) })
}

/// The same, by descriptor.
#[unsafe(no_mangle)]
extern "C" fn fchdir(folder: c_int) -> c_int {
    // SAFETY: a text, seen from that folder.
    done(unsafe {
        at(folder, c".".as_ptr(), |state, path| {
            state.tree.set_current(path)
        })
    })
}

/// Draws names for `XXXXXX` before the last `suffix` bytes of a template, until `make` makes what has one.
///
/// # Safety
///
/// `template` is a text of the caller's own.
unsafe fn drawn(
    template: *mut c_char,
    suffix_bytes: usize,
    make: impl Fn(*const c_char) -> c_int,
) -> c_int {
    const LETTERS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
    const DRAWN: usize = 6;
    if template.is_null() {
        return fail(EFAULT);
    }
    // SAFETY: says the caller.
    let bytes = unsafe { CStr::from_ptr(template) }.count_bytes();
    // SAFETY: as above.
    let text = unsafe { slice::from_raw_parts_mut(template.cast::<u8>(), bytes) };
    let end = bytes.checked_sub(suffix_bytes);
    let place = end.and_then(|end| Some(end.checked_sub(DRAWN)?..end));
    let Some(place) = place.filter(|place| text[place.clone()].iter().all(|byte| *byte == b'X'))
    else {
        return fail(EINVAL);
    };
    for _ in 0..DRAWS_MAX {
        let mut random = [0_u8; DRAWN];
        // SAFETY: so many bytes are there.
        unsafe { getrandom((&raw mut random).cast::<c_void>(), DRAWN, 4) };
        for (to, byte) in text[place.clone()].iter_mut().zip(random) {
            *to = LETTERS[usize::from(byte) % LETTERS.len()];
        }
        match make(template) {
            made if made >= 0 => return made,
            _ if get() != EEXIST => return -1,
            _ => {}
        }
    }
    fail(EEXIST)
}

/// Makes a file with a name that is drawn.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkostemps(template: *mut c_char, suffix_bytes: c_int, flags: c_int) -> c_int {
    let flags = flags | O_CREAT | O_EXCL | O_RDWR;
    // SAFETY: as the caller's.
    let make = |text| unsafe { open_path(text, flags, 0o600) };
    // SAFETY: as the caller's.
    unsafe {
        drawn(
            template,
            usize::try_from(suffix_bytes).unwrap_or(usize::MAX),
            make,
        )
    }
}

/// As `mkostemps`, with the letters at the end.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkostemp(template: *mut c_char, flags: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe { mkostemps(template, 0, flags) }
}

/// As `mkostemp` without flags.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkstemp(template: *mut c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { mkostemps(template, 0, 0) }
}

/// As `mkstemp`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkstemp64(template: *mut c_char) -> c_int {
    // SAFETY: as the caller's.
    unsafe { mkostemps(template, 0, 0) }
}

/// Makes a folder with a name that is drawn.
#[unsafe(no_mangle)]
unsafe extern "C" fn mkdtemp(template: *mut c_char) -> *mut c_char {
    // SAFETY: as the caller's.
    let make = |text| unsafe { mkdir(text, 0o700) };
    // SAFETY: as the caller's.
    if unsafe { drawn(template, 0, make) } < 0 {
        return ptr::null_mut();
    }
    template
}

//! What is done with a descriptor.

use alloc::rc::Rc;
use core::{
    ffi::{c_int, c_ulong, c_void},
    slice,
};

use super::{
    super::{
        absent::{absent, nothing, variadic},
        stdio::{Beyond, PIECES_MAX, iovec},
    },
    by_path::{O_APPEND, times_of},
    done, now, number, stat, with, with_open,
};
use crate::{
    errno::{EBADF, EINVAL, ENOTTY, ESPIPE, fail},
    files::{Fallible, From, SharedOpen, Times},
    time_units::timespec,
};

// What needs something else to wait for, or a kernel that copies.
absent! { ENOSYS, -1 => c_int:
    epoll_create1 epoll_ctl epoll_wait eventfd fallocate fallocate64 fstatfs fstatfs64 fstatvfs64 memfd_create pipe pipe2
    poll ppoll select timerfd_create
}
absent! { ENOSYS, -1 => isize: copy_file_range sendfile sendfile64 splice tee }
nothing! { posix_fadvise posix_fadvise64 sync }

pub(super) const fn is_standard(descriptor: c_int) -> bool {
    matches!(descriptor, 0..=2)
}

fn randomly(to: &mut [u8]) {
    jiffy_rt::fill_random(to);
}

/// The same for what is open and for 0, 1 and 2, which have nothing to be done.
fn both(descriptor: c_int) -> c_int {
    match is_standard(descriptor) {
        true => 0,
        false => done(with_open(descriptor, |_| Ok(()))),
    }
}

/// What `stdio` does with descriptors beyond 2.
pub(super) static BEYOND: Beyond = Beyond {
    read: |descriptor, to| with_open(descriptor, |open| open.read(to, randomly)),
    write: |descriptor, text| {
        let standard = with_open(descriptor, |open| {
            open.write(text, now())?;
            Ok(open.standard())
        })?;
        Ok(standard.map(c_int::from))
    },
    close: |descriptor| with(|state| state.descriptors.close(descriptor)),
};

/// What is open.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn fstat(descriptor: c_int, to: *mut [u64; stat::WORDS]) -> c_int {
    let found = match is_standard(descriptor) {
        true => Ok(stat::STANDARD),
        false => with_open(descriptor, |open| Ok(open.stat())),
    };
    match found {
        Ok(found) => {
            // SAFETY: the caller gives the place.
            unsafe { to.write(stat::words(found)) };
            0
        }
        Err(error) => fail(error),
    }
}

/// As `fstat`: the two are one on x86-64.
#[unsafe(no_mangle)]
unsafe extern "C" fn fstat64(descriptor: c_int, to: *mut [u64; stat::WORDS]) -> c_int {
    // SAFETY: as the caller's.
    unsafe { fstat(descriptor, to) }
}

/// Stands elsewhere.
#[unsafe(no_mangle)]
extern "C" fn lseek64(descriptor: c_int, offset: i64, from: c_int) -> i64 {
    let from = match from {
        0 => From::Start,
        1 => From::Here,
        2 => From::End,
        _ => return fail(EINVAL).into(),
    };
    if is_standard(descriptor) {
        return fail(ESPIPE).into();
    }
    number(with_open(descriptor, |open| open.seek(offset, from)))
}

/// As `lseek64`.
#[unsafe(no_mangle)]
extern "C" fn lseek(descriptor: c_int, offset: i64, from: c_int) -> i64 {
    lseek64(descriptor, offset, from)
}

/// A position, which is not negative.
fn position(at: i64) -> Fallible<u64> {
    u64::try_from(at).map_err(|_| EINVAL)
}

/// Reads at a position, and stands where it stood.
#[unsafe(no_mangle)]
unsafe extern "C" fn pread(descriptor: c_int, to: *mut c_void, bytes: usize, at: i64) -> isize {
    if is_standard(descriptor) {
        return fail(ESPIPE) as isize;
    }
    if bytes == 0 {
        return both(descriptor) as isize;
    }
    // SAFETY: the caller has so many bytes there, which are its own.
    let to = unsafe { slice::from_raw_parts_mut(to.cast(), bytes) };
    let read =
        position(at).and_then(|at| with_open(descriptor, |open| open.read_at(at, to, randomly)));
    number(read) as isize
}

/// As `pread`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pread64(descriptor: c_int, to: *mut c_void, bytes: usize, at: i64) -> isize {
    // SAFETY: as the caller's.
    unsafe { pread(descriptor, to, bytes, at) }
}

/// Writes at a position, and stands where it stood.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite(
    descriptor: c_int,
    text: *const c_void,
    bytes: usize,
    at: i64,
) -> isize {
    if is_standard(descriptor) {
        return fail(ESPIPE) as isize;
    }
    if bytes == 0 {
        return both(descriptor) as isize;
    }
    // SAFETY: the caller has so many bytes there.
    let text = unsafe { slice::from_raw_parts(text.cast(), bytes) };
    let written =
        position(at).and_then(|at| with_open(descriptor, |open| open.write_at(at, text, now())));
    number(written) as isize
}

/// As `pwrite`.
#[unsafe(no_mangle)]
unsafe extern "C" fn pwrite64(
    descriptor: c_int,
    text: *const c_void,
    bytes: usize,
    at: i64,
) -> isize {
    // SAFETY: as the caller's.
    unsafe { pwrite(descriptor, text, bytes, at) }
}

/// Does with each piece what `one` does, at positions one behind the other.
fn each(
    pieces: *const iovec,
    count: c_int,
    mut at: i64,
    one: impl Fn(&iovec, i64) -> isize,
) -> isize {
    if !(0..=PIECES_MAX).contains(&count) {
        return fail(EINVAL) as isize;
    }
    let mut all = 0;
    for number in 0..count as usize {
        // SAFETY: the caller of C's function has so many pieces there.
        let piece = unsafe { pieces.wrapping_add(number).read() };
        let bytes = one(&piece, at);
        if bytes < 0 {
            return if all > 0 { all } else { bytes };
        }
        all += bytes;
        at = at.saturating_add(bytes as i64);
        if bytes as usize != piece.bytes {
            break;
        }
    }
    all
}

/// Symbols that read or write several pieces at a position.
macro_rules! vectored {
    ($($name:ident => $one:ident;)+) => {
        $(
            /// As the one with a single piece.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name(
                descriptor: c_int,
                pieces: *const iovec,
                count: c_int,
                at: i64,
            ) -> isize {
                // SAFETY: each piece is as the caller's.
                each(pieces, count, at, |piece, at| unsafe {
                    $one(descriptor, piece.base.cast_mut().cast(), piece.bytes, at)
                })
            }
        )+
    };
}
vectored! { preadv => pread; preadv64 => pread; pwritev => pwrite; pwritev64 => pwrite; }

/// Makes a file so long.
#[unsafe(no_mangle)]
extern "C" fn ftruncate(descriptor: c_int, bytes: i64) -> c_int {
    if is_standard(descriptor) {
        return fail(EINVAL);
    }
    done(position(bytes).and_then(|bytes| with_open(descriptor, |open| open.set_len(bytes, now()))))
}

/// As `ftruncate`.
#[unsafe(no_mangle)]
extern "C" fn ftruncate64(descriptor: c_int, bytes: i64) -> c_int {
    ftruncate(descriptor, bytes)
}

/// Makes a file at least so long; an error number if it cannot be.
#[unsafe(no_mangle)]
extern "C" fn posix_fallocate(descriptor: c_int, at: i64, bytes: i64) -> c_int {
    let (Ok(at), Ok(bytes @ 1..)) = (position(at), position(bytes)) else {
        return EINVAL;
    };
    let made = with_open(descriptor, |open| {
        let end = at.saturating_add(bytes).max(open.stat().bytes);
        open.set_len(end, now())
    });
    made.err().unwrap_or(0)
}

/// As `posix_fallocate`.
#[unsafe(no_mangle)]
extern "C" fn posix_fallocate64(descriptor: c_int, at: i64, bytes: i64) -> c_int {
    posix_fallocate(descriptor, at, bytes)
}

/// Symbols that have nothing to do with what is open: nothing is kept back, nobody else locks.
macro_rules! done_with_open {
    ($($name:ident)+) => {
        $(
            /// Is done; `EBADF` of what is not open.
            #[unsafe(no_mangle)]
            extern "C" fn $name(descriptor: c_int) -> c_int {
                both(descriptor)
            }
        )+
    };
}
done_with_open! { fdatasync fsync syncfs }

/// Locks: nobody else could have it.
#[unsafe(no_mangle)]
extern "C" fn flock(descriptor: c_int, _operation: c_int) -> c_int {
    both(descriptor)
}

/// Sets rights.
#[unsafe(no_mangle)]
extern "C" fn fchmod(descriptor: c_int, mode: u32) -> c_int {
    done(with_open(descriptor, |open| {
        open.set(Some(mode), Times::default())
    }))
}

/// Leaves the owner as it is.
#[unsafe(no_mangle)]
extern "C" fn fchown(descriptor: c_int, _user: u32, _group: u32) -> c_int {
    both(descriptor)
}

/// Sets the times of the last reading and the last change.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn futimens(descriptor: c_int, times: *const timespec) -> c_int {
    // SAFETY: the caller has two times there, or null.
    let times = unsafe { times_of(times) };
    done(times.and_then(|times| with_open(descriptor, |open| open.set(None, times))))
}

/// What a descriptor stands for, if it can have another one.
fn shared(descriptor: c_int) -> Fallible<SharedOpen> {
    if is_standard(descriptor) {
        return with(|state| state.standard(descriptor));
    }
    with(|state| state.descriptors.get(descriptor))
}

fn descriptor_of(result: Fallible<c_int>) -> c_int {
    result.unwrap_or_else(fail)
}

fn duplicate(descriptor: c_int, lowest: c_int) -> c_int {
    let open = shared(descriptor);
    descriptor_of(
        open.and_then(|open| with(|state| state.descriptors.put(Rc::clone(&open), lowest))),
    )
}

/// Another descriptor of the same.
#[unsafe(no_mangle)]
extern "C" fn dup(descriptor: c_int) -> c_int {
    duplicate(descriptor, 0)
}

/// The same with this number; 0, 1 and 2 stay what they are (`EBADF`).
#[unsafe(no_mangle)]
extern "C" fn dup2(descriptor: c_int, wanted: c_int) -> c_int {
    match shared(descriptor) {
        Ok(_) if descriptor == wanted => wanted,
        open => descriptor_of(
            open.and_then(|open| with(|state| state.descriptors.put_at(open, wanted))),
        ),
    }
}

/// As `dup2`; `EINVAL` if both are one.
#[unsafe(no_mangle)]
extern "C" fn dup3(descriptor: c_int, wanted: c_int, _flags: c_int) -> c_int {
    match descriptor == wanted {
        true => fail(EINVAL),
        false => dup2(descriptor, wanted),
    }
}

/// `struct flock`, as far as it is set: what kind of lock.
const F_UNLCK: i16 = 2;

unsafe extern "C" fn control_descriptor(
    descriptor: c_int,
    command: c_int,
    argument: c_ulong,
) -> c_int {
    const F_DUPFD: c_int = 0;
    const F_GETFD: c_int = 1;
    const F_SETFD: c_int = 2;
    const F_GETFL: c_int = 3;
    const F_SETFL: c_int = 4;
    const F_GETLK: c_int = 5;
    const F_SETLK: c_int = 6;
    const F_SETLKW: c_int = 7;
    const F_OFD_GETLK: c_int = 36;
    const F_OFD_SETLK: c_int = 37;
    const F_OFD_SETLKW: c_int = 38;
    const F_DUPFD_CLOEXEC: c_int = 1030;
    let Ok(open) = shared(descriptor) else {
        return fail(EBADF);
    };
    match command {
        F_DUPFD | F_DUPFD_CLOEXEC => duplicate(descriptor, argument as c_int),
        // Nothing is ever executed that could inherit it.
        F_GETFD => 1,
        F_SETFD | F_SETLK | F_SETLKW | F_OFD_SETLK | F_OFD_SETLKW => 0,
        F_GETFL => {
            let options = open.borrow().options();
            let access = match (options.reads, options.writes) {
                (_, false) => 0,
                (false, true) => 1,
                (true, true) => 2,
            };
            access | if options.appends { O_APPEND } else { 0 }
        }
        F_SETFL => {
            open.borrow_mut()
                .set_appends(argument as c_int & O_APPEND != 0);
            0
        }
        F_GETLK | F_OFD_GETLK => {
            let lock = core::ptr::with_exposed_provenance_mut::<i16>(argument as usize);
            // SAFETY: with this command C gives the address of a lock, which begins with its kind.
            unsafe { lock.write(F_UNLCK) };
            0
        }
        _ => fail(EINVAL),
    }
}

extern "C" fn control_device(descriptor: c_int, request: c_ulong) -> c_int {
    const FIOCLEX: c_ulong = 0x5451;
    const FIONBIO: c_ulong = 0x5421;
    match both(descriptor) {
        0 if matches!(request, FIOCLEX | FIONBIO) => 0,
        0 => fail(ENOTTY),
        error => error,
    }
}

variadic! {
    /// Flags and locks of what is open, and other descriptors of it.
    fcntl => control_descriptor;
    /// As `fcntl`.
    fcntl64 => control_descriptor;
    /// No descriptor is a device with anything to set.
    ioctl => control_device;
}

/// Whether a descriptor is a terminal: none is.
#[unsafe(no_mangle)]
extern "C" fn isatty(descriptor: c_int) -> c_int {
    control_device(descriptor, 0);
    0
}

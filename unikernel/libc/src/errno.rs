//! Error numbers of Linux, and what they mean in a function.
#![allow(unsafe_code, reason = "C's symbols")]

use core::ffi::c_int;

pub(crate) const EPERM: c_int = 1;
pub(crate) const ENOENT: c_int = 2;
pub(crate) const ESRCH: c_int = 3;
pub(crate) const EBADF: c_int = 9;
pub(crate) const ECHILD: c_int = 10;
pub(crate) const EAGAIN: c_int = 11;
pub(crate) const ENOMEM: c_int = 12;
pub(crate) const EACCES: c_int = 13;
pub(crate) const EFAULT: c_int = 14;
pub(crate) const EBUSY: c_int = 16;
pub(crate) const EEXIST: c_int = 17;
pub(crate) const ENOTDIR: c_int = 20;
pub(crate) const EISDIR: c_int = 21;
pub(crate) const EINVAL: c_int = 22;
pub(crate) const EMFILE: c_int = 24;
pub(crate) const ENOTTY: c_int = 25;
pub(crate) const EFBIG: c_int = 27;
pub(crate) const ENOSPC: c_int = 28;
pub(crate) const ESPIPE: c_int = 29;
pub(crate) const EROFS: c_int = 30;
pub(crate) const EDOM: c_int = 33;
pub(crate) const ERANGE: c_int = 34;
pub(crate) const EDEADLK: c_int = 35;
pub(crate) const ENAMETOOLONG: c_int = 36;
pub(crate) const ENOSYS: c_int = 38;
pub(crate) const ENOTEMPTY: c_int = 39;
pub(crate) const EOVERFLOW: c_int = 75;
pub(crate) const EILSEQ: c_int = 84;
pub(crate) const ENOTSUP: c_int = 95;
pub(crate) const ETIMEDOUT: c_int = 110;

/// What an error number means.
pub(crate) const fn message(error: c_int) -> &'static str {
    match error {
        0 => "no error",
        EPERM => "not permitted",
        ENOENT => {
            "no such file or folder: a function has what jiffy.toml gives it in [files], and what it makes in /tmp"
        }
        ESRCH => "no such thread",
        EBADF => "not open, or not so that this could be done",
        EACCES => "not allowed",
        EEXIST => "it is there already",
        ENOTDIR => "not a folder",
        EISDIR => "a folder",
        EMFILE => "too many files are open: close some",
        EFBIG => "too large",
        ENOSPC => {
            "no room in /tmp, which may have half of the function's memory: remove files, or deploy with more memory"
        }
        ENAMETOOLONG => "a name of more than 255 bytes, or a path of more than 4095",
        ENOTEMPTY => "not empty",
        ECHILD => "no such process: a function has one",
        EAGAIN => "try again",
        ENOMEM => "out of memory",
        EBUSY => "busy",
        EINVAL => "invalid argument",
        ENOTTY => "not a terminal",
        ESPIPE => "not a file: it has no position",
        EROFS => "read-only: a function can write below /tmp only",
        ERANGE => "out of range",
        EDEADLK => "deadlock: this thread has the lock already",
        ENOSYS => "not in a function: it has one process, and neither sockets nor signals",
        EFAULT => "no address",
        EOVERFLOW => "a number that is too large",
        ENOTSUP => "not supported",
        ETIMEDOUT => "timed out",
        _ => "an error that a function does not know",
    }
}

/// `text` and a zero in `buffer`, cut if there is no room; `ERANGE` then.
pub(crate) fn put_text(text: &str, buffer: &mut [u8]) -> c_int {
    let Some(room) = buffer.len().checked_sub(1) else {
        return ERANGE;
    };
    let piece = &text[..text.floor_char_boundary(room)];
    buffer[..piece.len()].copy_from_slice(piece.as_bytes());
    buffer[piece.len()] = 0;
    if piece.len() == text.len() { 0 } else { ERANGE }
}

#[cfg(jiffy_guest)]
mod guest {
    use core::{
        ffi::{c_char, c_int},
        hint, slice,
        sync::atomic::{AtomicI32, Ordering::Relaxed},
    };

    use super::{EDOM, EILSEQ, message, put_text};
    use crate::guest::one_thread::OneThread;

    static ERRNO: AtomicI32 = AtomicI32::new(0);

    /// Fails with `error`: what a C function returns then.
    pub(crate) fn fail(error: c_int) -> c_int {
        set(error);
        -1
    }

    /// Says what was wrong.
    pub(crate) fn set(error: c_int) {
        ERRNO.store(error, Relaxed);
    }

    /// The error that was last: what a thread keeps while others go on.
    pub(crate) fn get() -> c_int {
        ERRNO.load(Relaxed)
    }

    /// Where `errno` is: one place, because one thread runs at a time.
    #[unsafe(no_mangle)]
    extern "C" fn __errno_location() -> *mut c_int {
        ERRNO.as_ptr()
    }

    /// The text of an error number, which the next call changes.
    #[unsafe(no_mangle)]
    pub(crate) extern "C" fn strerror(error: c_int) -> *const c_char {
        static TEXT: OneThread<[c_char; 128]> = OneThread::new([0; 128]);
        match error {
            EDOM => return c"outside of what the function is defined for".as_ptr(),
            EILSEQ => return c"no character".as_ptr(),
            _ => {}
        }
        // Not known to the compiler, so that images without C stay as they were: it weighs how often a function is used.
        let put = hint::black_box(__xpg_strerror_r as unsafe extern "C" fn(_, _, _) -> _);
        TEXT.with(|text| {
            // SAFETY: it has so many bytes.
            unsafe { put(error, text.as_mut_ptr(), text.len()) };
            text.as_ptr()
        })
    }

    /// As `strerror`, in a buffer if there is need: GNU's `strerror_r`.
    #[unsafe(no_mangle)]
    extern "C" fn strerror_r(error: c_int, _buffer: *mut c_char, _bytes: usize) -> *const c_char {
        strerror(error)
    }

    /// The text of an error number, cut if the buffer is too small for it. `strerror_r` of POSIX.
    #[unsafe(no_mangle)]
    unsafe extern "C" fn __xpg_strerror_r(
        error: c_int,
        buffer: *mut c_char,
        bytes: usize,
    ) -> c_int {
        // SAFETY: the caller has so many bytes there, which are its own.
        let buffer = unsafe { slice::from_raw_parts_mut(buffer.cast(), bytes) };
        put_text(message(error), buffer)
    }
}

#[cfg(jiffy_guest)]
pub(crate) use guest::{fail, get, set, strerror};

/// On the host, where tests look at what is returned.
#[cfg(not(jiffy_guest))]
pub(crate) fn set(_error: c_int) {}

/// As [`set`].
#[cfg(not(jiffy_guest))]
pub(crate) fn get() -> c_int {
    0
}

/// As [`set`].
#[cfg(not(jiffy_guest))]
pub(crate) fn strerror(_error: c_int) -> *const core::ffi::c_char {
    c"an error".as_ptr()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_at_characters_and_end_with_zero() {
        let mut buffer = [9; 8];
        assert_eq!(put_text("busy", &mut buffer), 0);
        assert_eq!(&buffer, b"busy\0\x09\x09\x09");
        assert_eq!(put_text("busy", &mut buffer[..5]), 0);
        assert_eq!(put_text("busy", &mut buffer[..4]), ERANGE);
        assert_eq!(&buffer[..4], b"bus\0");
        assert_eq!(put_text("aé", &mut buffer[..3]), ERANGE);
        assert_eq!(&buffer[..2], b"a\0");
        assert_eq!(put_text("busy", &mut []), ERANGE);
        assert_eq!(put_text("busy", &mut buffer[..1]), ERANGE);
        assert_eq!(buffer[0], 0);
    }

    #[test]
    fn what_a_function_lacks_is_said() {
        assert!(message(ENOSYS).contains("one process"));
        assert!(message(4711).contains("does not know"));
    }
}

//! Descriptors 0, 1 and 2: nothing to read, and the function's log, at level Info for 1 and Warn for 2, a record a line. Any
//! other is a file's, if the function has opened one (`files`).
//!
//! A line that is not ended is written when the request has its answer, or the VM ends.
#![allow(unsafe_code, reason = "C's texts are addresses")]

use alloc::string::String;
use core::{
    ffi::{c_int, c_void},
    hint, slice,
};

use jiffy_abi::log_ring::Level;

use super::one_thread::OneThread;
use crate::{
    errno::{EBADF, EINVAL, fail},
    files::Fallible,
    lines::Line,
};

/// Most pieces of one `writev`, as Linux has it.
pub(super) const PIECES_MAX: c_int = 1024;
/// What `std` adds to why it aborts.
const NOTE: &[u8] = b"note: run with `RUST_BACKTRACE=1`";
/// As much of the last line of descriptor 2 as is kept for what a VM says when it ends.
const LAST_BYTES: usize = 256;

/// Lines that are not whole yet, and at which level each is: only zeros, which take no room in an image.
static OUT: OneThread<Line> = OneThread::new(Line::new());
static ERR: OneThread<Line> = OneThread::new(Line::new());
static LAST: OneThread<([u8; LAST_BYTES], usize)> = OneThread::new(([0; LAST_BYTES], 0));

/// One piece of `writev`.
#[repr(C)]
pub(crate) struct iovec {
    pub(super) base: *const u8,
    pub(super) bytes: usize,
}

/// What is done with descriptors beyond 2.
pub(super) struct Beyond {
    /// As much as there is, into a buffer.
    pub(super) read: fn(c_int, &mut [u8]) -> Fallible<usize>,
    /// All of a text; if it is another name of 0, 1 or 2, nothing, but which.
    pub(super) write: fn(c_int, &[u8]) -> Fallible<Option<c_int>>,
    pub(super) close: fn(c_int) -> Fallible<()>,
}

/// `None` until the first file is opened.
static BEYOND: OneThread<Option<&'static Beyond>> = OneThread::new(None);

/// There are descriptors beyond 2 from here on.
pub(super) fn go_beyond(beyond: &'static Beyond) {
    // Not known to the compiler: it would call what the one value that this can have leads to, and link that into every image.
    BEYOND.with(|to| *to = Some(hint::black_box(beyond)));
}

fn beyond() -> Fallible<&'static Beyond> {
    BEYOND.with(|beyond| *beyond).ok_or(EBADF)
}

fn log(level: Level, line: &[u8]) {
    if level == Level::Warn && !line.starts_with(NOTE) {
        LAST.with(|(text, bytes)| {
            let kept = line.len().min(LAST_BYTES);
            text[..kept].copy_from_slice(&line[..kept]);
            *bytes = kept;
        });
    }
    match str::from_utf8(line) {
        Ok(line) => jiffy_rt::log(level, format_args!("{line}")),
        Err(_) => jiffy_rt::log(level, format_args!("{}", String::from_utf8_lossy(line))),
    }
}

fn push(descriptor: c_int, text: &[u8]) {
    match descriptor {
        1 => OUT.with(|line| line.push(text, |line| log(Level::Info, line))),
        _ => ERR.with(|line| line.push(text, |line| log(Level::Warn, line))),
    }
}

/// Writes to descriptor 2.
#[cfg(feature = "unwind")]
pub(super) fn put_error(text: &str) {
    push(2, text.as_bytes());
}

/// Writes lines that have no end yet. Once in an image: who ends a VM does so.
#[inline(never)]
pub(crate) fn end_lines() {
    OUT.with(|line| line.end(|line| log(Level::Info, line)));
    ERR.with(|line| line.end(|line| log(Level::Warn, line)));
}

/// Keeps no line of descriptor 2 any more: what the next request's VM says at its end is about that one.
pub(crate) fn forget_last_words() {
    LAST.with(|(_, bytes)| *bytes = 0);
}

/// Gives the last line of descriptor 2 to `then`, as far as it was kept; what is not UTF-8 ends it.
pub(crate) fn last_words<R>(then: impl FnOnce(&str) -> R) -> R {
    LAST.with(|(text, bytes)| {
        let chunk = text[..*bytes].utf8_chunks().next();
        then(chunk.map_or("", |chunk| chunk.valid()))
    })
}

pub(super) const fn is_output(descriptor: c_int) -> bool {
    descriptor == 1 || descriptor == 2
}

/// Writes to the log, or to a file: always all of it, or an error.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn write(
    descriptor: c_int,
    text: *const c_void,
    bytes: usize,
) -> isize {
    let text = match bytes {
        0 => &[],
        // SAFETY: the caller has so many bytes there.
        _ => unsafe { slice::from_raw_parts(text.cast(), bytes) },
    };
    let output = match is_output(descriptor) {
        true => Ok(Some(descriptor)),
        false => beyond().and_then(|beyond| (beyond.write)(descriptor, text)),
    };
    match output {
        Ok(output) => {
            if let Some(output @ (1 | 2)) = output {
                push(output, text);
            }
            bytes as isize
        }
        Err(error) => fail(error) as isize,
    }
}

/// Writes all pieces, one after the other; as `write`, and `EINVAL` for more than 1024.
#[unsafe(no_mangle)]
unsafe extern "C" fn writev(descriptor: c_int, pieces: *const iovec, count: c_int) -> isize {
    if !(0..=PIECES_MAX).contains(&count) {
        return fail(EINVAL) as isize;
    }
    let mut written = 0;
    for number in 0..count as usize {
        // SAFETY: the caller has so many pieces there.
        let piece = unsafe { pieces.wrapping_add(number).read() };
        // SAFETY: each has so many bytes.
        let bytes = unsafe { write(descriptor, piece.base.cast(), piece.bytes) };
        if bytes < 0 {
            return if written > 0 { written } else { bytes };
        }
        written += bytes;
    }
    written
}

/// Reads a file; descriptor 0 is at its end.
#[unsafe(no_mangle)]
unsafe extern "C" fn read(descriptor: c_int, to: *mut c_void, bytes: usize) -> isize {
    if descriptor == 0 || (bytes == 0 && is_output(descriptor)) {
        return 0;
    }
    let to = match bytes {
        0 => &mut [],
        // SAFETY: the caller has so many bytes there, which are its own.
        _ => unsafe { slice::from_raw_parts_mut(to.cast(), bytes) },
    };
    match beyond().and_then(|beyond| (beyond.read)(descriptor, to)) {
        Ok(bytes) => bytes as isize,
        Err(error) => fail(error) as isize,
    }
}

/// Reads into all pieces, one after the other.
#[unsafe(no_mangle)]
unsafe extern "C" fn readv(descriptor: c_int, pieces: *const iovec, count: c_int) -> isize {
    if !(0..=PIECES_MAX).contains(&count) {
        return fail(EINVAL) as isize;
    }
    let mut all = 0;
    for number in 0..count as usize {
        // SAFETY: the caller has so many pieces there.
        let piece = unsafe { pieces.wrapping_add(number).read() };
        // SAFETY: each has so many bytes, which are its own.
        let bytes = unsafe { read(descriptor, piece.base.cast_mut().cast(), piece.bytes) };
        if bytes < 0 {
            return if all > 0 { all } else { bytes };
        }
        all += bytes;
        if bytes as usize != piece.bytes {
            break;
        }
    }
    all
}

/// Closes a file. 0, 1 and 2 stay open, as what closes them does not mean the log.
#[unsafe(no_mangle)]
extern "C" fn close(descriptor: c_int) -> c_int {
    if descriptor == 0 || is_output(descriptor) {
        return 0;
    }
    match beyond().and_then(|beyond| (beyond.close)(descriptor)) {
        Ok(()) => 0,
        Err(error) => fail(error),
    }
}

//! `FILE`: descriptors with the functions of `<stdio.h>`.
//!
//! A stream has no buffer, as reading and writing a descriptor is a call of a function here and not one of a kernel. What is
//! written to standard output and error are lines of the log, whole or not, as `stdio` has it.
#![allow(unsafe_code, reason = "C's symbols")]

use core::{
    cell::UnsafeCell,
    ffi::{c_char, c_int, c_long, c_void},
    ptr, slice,
};

use super::{
    absent::{absent, nothing},
    memory::{free, malloc, realloc},
};
use crate::{
    errno::{EINVAL, ENOMEM, fail, get, set, strerror},
    format::{
        list::{List, with_list},
        print::{Sink, print},
        scan::scan,
    },
    texts::bytes_of,
};

const EOF: c_int = -1;
/// As glibc's headers look at it: the end was seen, an error was.
const END: c_int = 0x10;
const ERROR: c_int = 0x20;
const NOTHING: c_int = -1;

/// A stream. The beginning is that of glibc's `FILE`, whose headers read it: flags, and buffers, which are always empty, so that
/// each byte is asked of `__uflow` and given to `__overflow`.
#[repr(C)]
#[expect(clippy::upper_case_acronyms, reason = "C's name")]
pub(crate) struct FILE {
    flags: c_int,
    buffers: [usize; 8],
    descriptor: c_int,
    /// A byte that `ungetc` gave back, or [`NOTHING`].
    pushed: c_int,
}

impl FILE {
    const fn new(descriptor: c_int) -> Self {
        Self {
            flags: 0,
            buffers: [0; 8],
            descriptor,
            pushed: NOTHING,
        }
    }
}

/// The three streams that are always there.
struct Streams(UnsafeCell<[FILE; 3]>);
// SAFETY: a guest has one thread at a time, and each function here has a reference for no longer than it runs.
unsafe impl Sync for Streams {}
static STREAMS: Streams = Streams(UnsafeCell::new([FILE::new(0), FILE::new(1), FILE::new(2)]));

/// A stream by address, as C knows it.
#[repr(transparent)]
struct Standard(*const FILE);
// SAFETY: the address never changes, and of what is there `Streams` says it.
unsafe impl Sync for Standard {}

const fn standard(number: usize) -> Standard {
    Standard(
        STREAMS
            .0
            .get()
            .cast_const()
            .cast::<FILE>()
            .wrapping_add(number),
    )
}

#[unsafe(no_mangle)]
static stdin: Standard = standard(0);
#[unsafe(no_mangle)]
static stdout: Standard = standard(1);
#[unsafe(no_mangle)]
static stderr: Standard = standard(2);

/// Standard input, output or error.
fn stream_of(number: usize) -> *mut FILE {
    STREAMS.0.get().cast::<FILE>().wrapping_add(number)
}

// What a descriptor is, the rooms `stdio` and `files` say.
mod descriptors {
    use core::ffi::{c_char, c_int, c_void};
    unsafe extern "C" {
        pub(super) fn open64(path: *const c_char, flags: c_int, ...) -> c_int;
        pub(super) fn read(descriptor: c_int, to: *mut c_void, bytes: usize) -> isize;
        pub(super) fn write(descriptor: c_int, from: *const c_void, bytes: usize) -> isize;
        pub(super) fn unlink(path: *const c_char) -> c_int;
        pub(super) fn rmdir(path: *const c_char) -> c_int;
        pub(super) fn mkstemp(template: *mut c_char) -> c_int;
        pub(super) safe fn close(descriptor: c_int) -> c_int;
        pub(super) safe fn lseek64(descriptor: c_int, offset: i64, from: c_int) -> i64;
    }
}

absent! { ENOSYS, ptr::null_mut() => *mut c_void: popen open_memstream fmemopen }
absent! { ENOSYS, -1 => c_int: pclose }
nothing! { fflush fflush_unlocked flockfile funlockfile ftrylockfile setvbuf setlinebuf setbuf setbuffer fpurge }

/// What a mode means to `open`.
fn flags(mode: &[u8]) -> Option<c_int> {
    const WRITE_ONLY: c_int = 1;
    const READ_WRITE: c_int = 2;
    const CREATE: c_int = 0o100;
    const EXCLUSIVE: c_int = 0o200;
    const TRUNCATE: c_int = 0o1000;
    const APPEND: c_int = 0o2000;
    let rest = mode.get(1..)?;
    let writes = match mode[0] {
        b'r' => 0,
        b'w' => WRITE_ONLY | CREATE | TRUNCATE,
        b'a' => WRITE_ONLY | CREATE | APPEND,
        _ => return None,
    };
    let both = if rest.contains(&b'+') {
        writes & !WRITE_ONLY | READ_WRITE
    } else {
        writes
    };
    Some(both | if rest.contains(&b'x') { EXCLUSIVE } else { 0 })
}

/// A stream of a descriptor; null and `EINVAL` if there is no such mode.
#[unsafe(no_mangle)]
unsafe extern "C" fn fdopen(descriptor: c_int, mode: *const c_char) -> *mut FILE {
    // SAFETY: it is a text.
    if flags(unsafe { bytes_of(mode) }).is_none() {
        set(EINVAL);
        return ptr::null_mut();
    }
    let stream: *mut FILE = malloc(size_of::<FILE>()).cast();
    if !stream.is_null() {
        // SAFETY: it was just made, of that size.
        unsafe { stream.write(FILE::new(descriptor)) };
    }
    stream
}

/// A descriptor of a file, opened as `mode` says, or -1.
///
/// # Safety
///
/// Both are texts.
unsafe fn opened(path: *const c_char, mode: *const c_char) -> c_int {
    // SAFETY: says the caller.
    match flags(unsafe { bytes_of(mode) }) {
        // SAFETY: as above.
        Some(flags) => unsafe { descriptors::open64(path, flags, 0o666) },
        None => fail(EINVAL),
    }
}

/// A stream of a file that is opened; null if it cannot be.
#[unsafe(no_mangle)]
unsafe extern "C" fn fopen(path: *const c_char, mode: *const c_char) -> *mut FILE {
    // SAFETY: as the caller's.
    let descriptor = unsafe { opened(path, mode) };
    if descriptor < 0 {
        return ptr::null_mut();
    }
    // SAFETY: as the caller's.
    let stream = unsafe { fdopen(descriptor, mode) };
    if stream.is_null() {
        descriptors::close(descriptor);
    }
    stream
}

/// As `fopen`: the two are one on x86-64.
#[unsafe(no_mangle)]
unsafe extern "C" fn fopen64(path: *const c_char, mode: *const c_char) -> *mut FILE {
    // SAFETY: as the caller's.
    unsafe { fopen(path, mode) }
}

/// A file without a name, gone when it is closed.
#[unsafe(no_mangle)]
extern "C" fn tmpfile() -> *mut FILE {
    let mut name = *b"/tmp/fileXXXXXX\0";
    // SAFETY: it is a text, and ours.
    let descriptor = unsafe { descriptors::mkstemp(name.as_mut_ptr().cast()) };
    if descriptor < 0 {
        return ptr::null_mut();
    }
    // SAFETY: as above.
    unsafe { descriptors::unlink(name.as_ptr().cast()) };
    // SAFETY: as above.
    let stream = unsafe { fdopen(descriptor, c"w+".as_ptr()) };
    if stream.is_null() {
        descriptors::close(descriptor);
    }
    stream
}

/// As `tmpfile`: the two are one on x86-64.
#[unsafe(no_mangle)]
extern "C" fn tmpfile64() -> *mut FILE {
    tmpfile()
}

/// Has a stream stand for another file; null, and the stream is closed, if that cannot be opened.
#[unsafe(no_mangle)]
unsafe extern "C" fn freopen(
    path: *const c_char,
    mode: *const c_char,
    old: *mut FILE,
) -> *mut FILE {
    if path.is_null() {
        set(EINVAL);
        return ptr::null_mut();
    }
    // SAFETY: the caller's stream.
    descriptors::close(unsafe { (*old).descriptor });
    // SAFETY: as the caller's.
    let descriptor = unsafe { opened(path, mode) };
    // SAFETY: as above.
    unsafe { old.write(FILE::new(descriptor)) };
    if descriptor < 0 { ptr::null_mut() } else { old }
}

/// As `freopen`.
#[unsafe(no_mangle)]
unsafe extern "C" fn freopen64(
    path: *const c_char,
    mode: *const c_char,
    old: *mut FILE,
) -> *mut FILE {
    // SAFETY: as the caller's.
    unsafe { freopen(path, mode, old) }
}

/// Removes a file, or a folder that is empty.
#[unsafe(no_mangle)]
unsafe extern "C" fn remove(path: *const c_char) -> c_int {
    // SAFETY: it is a text.
    match unsafe { descriptors::unlink(path) } {
        0 => 0,
        // SAFETY: as above.
        _ => unsafe { descriptors::rmdir(path) },
    }
}

/// Closes a stream; those of 0, 1 and 2 stay.
#[unsafe(no_mangle)]
unsafe extern "C" fn fclose(stream: *mut FILE) -> c_int {
    // SAFETY: the caller's stream.
    let descriptor = unsafe { (*stream).descriptor };
    let result = descriptors::close(descriptor);
    if !(0..3).any(|number| ptr::eq(stream_of(number), stream)) {
        // SAFETY: it came from `fdopen`, and is closed once.
        unsafe { free(stream.cast()) };
    }
    result
}

/// The descriptor of a stream.
#[unsafe(no_mangle)]
unsafe extern "C" fn fileno(stream: *mut FILE) -> c_int {
    // SAFETY: the caller's stream.
    unsafe { (*stream).descriptor }
}

/// Writes all of `bytes`: how many were written.
///
/// # Safety
///
/// `stream` is one, and there are so many bytes.
unsafe fn put(stream: *mut FILE, from: *const u8, bytes: usize) -> usize {
    // SAFETY: says the caller; a reference ends before another function of this room is called.
    let stream = unsafe { &mut *stream };
    let mut done = 0;
    while done < bytes {
        let from = from.wrapping_add(done).cast();
        // SAFETY: says the caller.
        let written = unsafe { descriptors::write(stream.descriptor, from, bytes - done) };
        if written <= 0 {
            stream.flags |= ERROR;
            break;
        }
        done += written as usize;
    }
    done
}

/// Reads up to `bytes`: how many were read.
///
/// # Safety
///
/// `stream` is one, and there is so much room.
unsafe fn take(stream: *mut FILE, to: *mut u8, bytes: usize) -> usize {
    // SAFETY: says the caller; as in `put`.
    let stream = unsafe { &mut *stream };
    let mut done = 0;
    if bytes > 0 && stream.pushed != NOTHING {
        // SAFETY: there is room for one.
        unsafe { to.write(stream.pushed as u8) };
        stream.pushed = NOTHING;
        done = 1;
    }
    while done < bytes {
        let to = to.wrapping_add(done).cast();
        // SAFETY: says the caller.
        let read = unsafe { descriptors::read(stream.descriptor, to, bytes - done) };
        if read <= 0 {
            stream.flags |= if read == 0 { END } else { ERROR };
            break;
        }
        done += read as usize;
    }
    done
}

/// Writes `count` elements: how many were written whole.
#[unsafe(no_mangle)]
unsafe extern "C" fn fwrite(
    from: *const c_void,
    size: usize,
    count: usize,
    stream: *mut FILE,
) -> usize {
    match size.checked_mul(count) {
        None | Some(0) => 0,
        // SAFETY: as the caller's.
        Some(bytes) => (unsafe { put(stream, from.cast(), bytes) }) / size,
    }
}

/// Reads `count` elements: how many were read whole.
#[unsafe(no_mangle)]
unsafe extern "C" fn fread(to: *mut c_void, size: usize, count: usize, stream: *mut FILE) -> usize {
    match size.checked_mul(count) {
        None | Some(0) => 0,
        // SAFETY: as the caller's.
        Some(bytes) => (unsafe { take(stream, to.cast(), bytes) }) / size,
    }
}

/// Writes a byte and returns it, or `EOF`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fputc(byte: c_int, stream: *mut FILE) -> c_int {
    let byte = byte as u8;
    // SAFETY: as the caller's; there is one byte.
    match unsafe { put(stream, &raw const byte, 1) } {
        1 => byte.into(),
        _ => EOF,
    }
}

/// Reads a byte, or `EOF`.
#[unsafe(no_mangle)]
unsafe extern "C" fn fgetc(stream: *mut FILE) -> c_int {
    let mut byte = 0;
    // SAFETY: as the caller's; there is room for one.
    match unsafe { take(stream, &raw mut byte, 1) } {
        1 => byte.into(),
        _ => EOF,
    }
}

/// Gives back a byte that was read, one at most; `EOF` gives back none.
#[unsafe(no_mangle)]
unsafe extern "C" fn ungetc(byte: c_int, stream: *mut FILE) -> c_int {
    // SAFETY: the caller's stream.
    let stream = unsafe { &mut *stream };
    if byte == EOF || stream.pushed != NOTHING {
        return EOF;
    }
    stream.pushed = c_int::from(byte as u8);
    stream.flags &= !END;
    stream.pushed
}

/// Writes a text.
#[unsafe(no_mangle)]
unsafe extern "C" fn fputs(text: *const c_char, stream: *mut FILE) -> c_int {
    // SAFETY: it is a text.
    let text = unsafe { bytes_of(text) };
    // SAFETY: as the caller's.
    match unsafe { put(stream, text.as_ptr(), text.len()) } == text.len() {
        true => 1,
        false => EOF,
    }
}

/// Writes a text and the end of a line to standard output.
#[unsafe(no_mangle)]
unsafe extern "C" fn puts(text: *const c_char) -> c_int {
    // SAFETY: as the caller's.
    if unsafe { fputs(text, stream_of(1)) } == EOF {
        return EOF;
    }
    // SAFETY: it is a stream.
    unsafe { fputc(c_int::from(b'\n'), stream_of(1)) }
}

/// Writes a byte to standard output.
#[unsafe(no_mangle)]
extern "C" fn putchar(byte: c_int) -> c_int {
    // SAFETY: it is a stream.
    unsafe { fputc(byte, stream_of(1)) }
}

/// Reads a byte of standard input, which is at its end.
#[unsafe(no_mangle)]
extern "C" fn getchar() -> c_int {
    // SAFETY: it is a stream.
    unsafe { fgetc(stream_of(0)) }
}

/// Reads a line, of `bytes` with its zero at most; null if there is nothing.
#[unsafe(no_mangle)]
unsafe extern "C" fn fgets(to: *mut c_char, bytes: c_int, stream: *mut FILE) -> *mut c_char {
    let Some(room) = usize::try_from(bytes)
        .ok()
        .and_then(|bytes| bytes.checked_sub(1))
    else {
        return ptr::null_mut();
    };
    let mut count = 0;
    while count < room {
        // SAFETY: as the caller's.
        let byte = unsafe { fgetc(stream) };
        if byte == EOF {
            break;
        }
        // SAFETY: there is room for one more, and the zero.
        unsafe { to.wrapping_add(count).write(byte as c_char) };
        count += 1;
        if byte == c_int::from(b'\n') {
            break;
        }
    }
    if count == 0 && room > 0 {
        return ptr::null_mut();
    }
    // SAFETY: as above.
    unsafe { to.wrapping_add(count).write(0) };
    to
}

/// Reads up to `end` into a buffer of `malloc`, which grows: how many bytes, or -1.
#[unsafe(no_mangle)]
unsafe extern "C" fn getdelim(
    buffer: *mut *mut c_char,
    bytes: *mut usize,
    end: c_int,
    stream: *mut FILE,
) -> isize {
    // SAFETY: the caller gives both places, here and below.
    let mut to = unsafe { buffer.read() };
    let mut room = if to.is_null() {
        0
    } else {
        // SAFETY: as above.
        unsafe { bytes.read() }
    };
    let mut count = 0usize;
    loop {
        if count + 2 > room {
            room = (2 * room).max(120);
            // SAFETY: it came from `malloc`, or is null.
            let larger: *mut c_char = unsafe { realloc(to.cast(), room) }.cast();
            if larger.is_null() {
                return fail(ENOMEM) as isize;
            }
            to = larger;
            // SAFETY: as above.
            unsafe { buffer.write(to) };
            // SAFETY: as above.
            unsafe { bytes.write(room) };
        }
        // SAFETY: as the caller's.
        let byte = unsafe { fgetc(stream) };
        if byte == EOF && count == 0 {
            return -1;
        }
        if byte != EOF {
            // SAFETY: there is room for it and a zero.
            unsafe { to.wrapping_add(count).write(byte as c_char) };
            count += 1;
        }
        if byte == EOF || byte == end {
            // SAFETY: as above.
            unsafe { to.wrapping_add(count).write(0) };
            return count as isize;
        }
    }
}

/// As `getdelim`, of a line.
#[unsafe(no_mangle)]
unsafe extern "C" fn getline(
    buffer: *mut *mut c_char,
    bytes: *mut usize,
    stream: *mut FILE,
) -> isize {
    // SAFETY: as the caller's.
    unsafe { getdelim(buffer, bytes, c_int::from(b'\n'), stream) }
}

/// Goes to a place of a stream; -1 if it has none.
#[unsafe(no_mangle)]
unsafe extern "C" fn fseek(stream: *mut FILE, offset: c_long, from: c_int) -> c_int {
    const CURRENT: c_int = 1;
    // SAFETY: the caller's stream.
    let stream = unsafe { &mut *stream };
    let pushed = i64::from(stream.pushed != NOTHING && from == CURRENT);
    if descriptors::lseek64(stream.descriptor, offset - pushed, from) < 0 {
        return -1;
    }
    stream.pushed = NOTHING;
    stream.flags &= !END;
    0
}

/// The place of a stream, or -1.
#[unsafe(no_mangle)]
unsafe extern "C" fn ftell(stream: *mut FILE) -> c_long {
    const CURRENT: c_int = 1;
    // SAFETY: the caller's stream.
    let stream = unsafe { &*stream };
    match descriptors::lseek64(stream.descriptor, 0, CURRENT) {
        ..0 => -1,
        place => place - i64::from(stream.pushed != NOTHING),
    }
}

/// Writes the place of a stream to `to`, the beginning of an `fpos_t`; -1 if it has none.
#[unsafe(no_mangle)]
unsafe extern "C" fn fgetpos(stream: *mut FILE, to: *mut c_long) -> c_int {
    // SAFETY: as the caller's.
    let place = unsafe { ftell(stream) };
    if place < 0 {
        return -1;
    }
    // SAFETY: the caller gives the place.
    unsafe { to.write(place) };
    0
}

/// Goes to a place that `fgetpos` wrote.
#[unsafe(no_mangle)]
unsafe extern "C" fn fsetpos(stream: *mut FILE, place: *const c_long) -> c_int {
    // SAFETY: the caller has a place there.
    let place = unsafe { place.read() };
    // SAFETY: as the caller's.
    unsafe { fseek(stream, place, 0) }
}

/// Goes to the beginning, and forgets errors.
#[unsafe(no_mangle)]
unsafe extern "C" fn rewind(stream: *mut FILE) {
    // SAFETY: as the caller's.
    unsafe { fseek(stream, 0, 0) };
    // SAFETY: as the caller's.
    unsafe { clearerr(stream) };
}

/// Whether the end was seen.
#[unsafe(no_mangle)]
unsafe extern "C" fn feof(stream: *const FILE) -> c_int {
    // SAFETY: the caller's stream.
    unsafe { (*stream).flags & END }
}

/// Whether there was an error.
#[unsafe(no_mangle)]
unsafe extern "C" fn ferror(stream: *const FILE) -> c_int {
    // SAFETY: the caller's stream.
    unsafe { (*stream).flags & ERROR }
}

/// Forgets end and errors.
#[unsafe(no_mangle)]
unsafe extern "C" fn clearerr(stream: *mut FILE) {
    // SAFETY: the caller's stream.
    unsafe { (*stream).flags &= !(END | ERROR) };
}

/// Writes what was wrong last to standard error, after `text` if there is one that is not empty.
#[unsafe(no_mangle)]
unsafe extern "C" fn perror(text: *const c_char) {
    let stream = stream_of(2);
    // SAFETY: it is a text.
    let why = unsafe { bytes_of(strerror(get())) };
    // SAFETY: it is a text.
    if !text.is_null() && unsafe { text.read() } != 0 {
        // SAFETY: it is a text, and a stream.
        unsafe { fputs(text, stream) };
        // SAFETY: as above.
        unsafe { put(stream, b": ".as_ptr(), 2) };
    }
    // SAFETY: as above.
    unsafe { put(stream, why.as_ptr(), why.len()) };
    // SAFETY: as above.
    unsafe { fputc(c_int::from(b'\n'), stream) };
}

/// Names that glibc's headers have for the same; there is one thread, and no lock.
macro_rules! aliases {
    ($($name:ident = $of:ident($($argument:ident: $type:ty),*) -> $result:ty;)+) => {
        $(
            #[unsafe(no_mangle)]
            unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                // SAFETY: as the caller's.
                unsafe { $of($($argument),*) }
            }
        )+
    };
}

aliases! {
    putc = fputc(byte: c_int, stream: *mut FILE) -> c_int;
    _IO_putc = fputc(byte: c_int, stream: *mut FILE) -> c_int;
    putc_unlocked = fputc(byte: c_int, stream: *mut FILE) -> c_int;
    fputc_unlocked = fputc(byte: c_int, stream: *mut FILE) -> c_int;
    getc = fgetc(stream: *mut FILE) -> c_int;
    _IO_getc = fgetc(stream: *mut FILE) -> c_int;
    getc_unlocked = fgetc(stream: *mut FILE) -> c_int;
    fgetc_unlocked = fgetc(stream: *mut FILE) -> c_int;
    __uflow = fgetc(stream: *mut FILE) -> c_int;
    fputs_unlocked = fputs(text: *const c_char, stream: *mut FILE) -> c_int;
    fgets_unlocked = fgets(to: *mut c_char, bytes: c_int, stream: *mut FILE) -> *mut c_char;
    fwrite_unlocked = fwrite(from: *const c_void, size: usize, count: usize, stream: *mut FILE) -> usize;
    fread_unlocked = fread(to: *mut c_void, size: usize, count: usize, stream: *mut FILE) -> usize;
    feof_unlocked = feof(stream: *const FILE) -> c_int;
    ferror_unlocked = ferror(stream: *const FILE) -> c_int;
    fileno_unlocked = fileno(stream: *mut FILE) -> c_int;
    fseeko = fseek(stream: *mut FILE, offset: c_long, from: c_int) -> c_int;
    fseeko64 = fseek(stream: *mut FILE, offset: c_long, from: c_int) -> c_int;
    ftello = ftell(stream: *mut FILE) -> c_long;
    ftello64 = ftell(stream: *mut FILE) -> c_long;
    fgetpos64 = fgetpos(stream: *mut FILE, to: *mut c_long) -> c_int;
    fsetpos64 = fsetpos(stream: *mut FILE, place: *const c_long) -> c_int;
    __isoc99_vsscanf = vsscanf(text: *const c_char, format: *const c_char, list: List) -> c_int;
    __isoc23_vsscanf = vsscanf(text: *const c_char, format: *const c_char, list: List) -> c_int;
    __getdelim = getdelim(buffer: *mut *mut c_char, bytes: *mut usize, end: c_int, stream: *mut FILE) -> isize;
}

/// As `putchar`.
#[unsafe(no_mangle)]
extern "C" fn putchar_unlocked(byte: c_int) -> c_int {
    putchar(byte)
}

/// Takes a byte for which a buffer has no room: none ever has.
#[unsafe(no_mangle)]
unsafe extern "C" fn __overflow(stream: *mut FILE, byte: c_int) -> c_int {
    // SAFETY: as the caller's.
    unsafe { fputc(byte, stream) }
}

/// What is printed to a stream.
struct ToStream {
    stream: *mut FILE,
    is_whole: bool,
}

impl Sink for ToStream {
    fn put(&mut self, bytes: &[u8]) {
        // SAFETY: it is a stream, said the caller of `vfprintf`.
        self.is_whole &= unsafe { put(self.stream, bytes.as_ptr(), bytes.len()) } == bytes.len();
    }
}

/// What is printed to memory, as far as there is room before a zero.
struct ToMemory {
    to: *mut u8,
    room: usize,
    used: usize,
}

impl Sink for ToMemory {
    fn put(&mut self, bytes: &[u8]) {
        let kept = bytes.len().min(self.room - self.used);
        let to = self.to.wrapping_add(self.used);
        // SAFETY: there is so much room. What is printed may lie in it, as in a program that has it so although C forbids it.
        unsafe { ptr::copy(bytes.as_ptr(), to, kept) };
        self.used += kept;
    }
}

fn result(printed: Result<c_int, c_int>) -> c_int {
    printed.unwrap_or_else(fail)
}

/// Prints to a stream: how many bytes, or -1.
#[unsafe(no_mangle)]
unsafe extern "C" fn vfprintf(stream: *mut FILE, format: *const c_char, list: List) -> c_int {
    let mut sink = ToStream {
        stream,
        is_whole: true,
    };
    // SAFETY: it is a text.
    let format = unsafe { bytes_of(format) };
    // SAFETY: the list is the caller's, and no longer used by it.
    let list = unsafe { &mut *list };
    // SAFETY: as the caller's.
    let printed = unsafe { print(&mut sink, format, list) };
    if sink.is_whole { result(printed) } else { -1 }
}

/// Prints to standard output.
#[unsafe(no_mangle)]
unsafe extern "C" fn vprintf(format: *const c_char, list: List) -> c_int {
    // SAFETY: as the caller's.
    unsafe { vfprintf(stream_of(1), format, list) }
}

/// Prints to a descriptor.
#[unsafe(no_mangle)]
unsafe extern "C" fn vdprintf(descriptor: c_int, format: *const c_char, list: List) -> c_int {
    let mut stream = FILE::new(descriptor);
    // SAFETY: as the caller's.
    unsafe { vfprintf(&raw mut stream, format, list) }
}

/// Prints to memory, as far as there is room for it and a zero: how many bytes it would be.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn vsnprintf(
    to: *mut c_char,
    bytes: usize,
    format: *const c_char,
    list: List,
) -> c_int {
    let mut sink = ToMemory {
        to: to.cast(),
        room: bytes.saturating_sub(1),
        used: 0,
    };
    // SAFETY: it is a text.
    let format = unsafe { bytes_of(format) };
    // SAFETY: as in `vfprintf`.
    let list = unsafe { &mut *list };
    // SAFETY: as the caller's.
    let printed = unsafe { print(&mut sink, format, list) };
    if bytes > 0 {
        // SAFETY: there is room, which was kept.
        unsafe { to.wrapping_add(sink.used).write(0) };
    }
    result(printed)
}

/// Prints to memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsprintf(to: *mut c_char, format: *const c_char, list: List) -> c_int {
    // As much as there is up to the end of the address space, less what would wrap around.
    let room = usize::MAX - to.addr();
    // SAFETY: as the caller's.
    unsafe { vsnprintf(to, room, format, list) }
}

/// What is printed to memory of its own.
struct ToHeap(alloc::vec::Vec<u8>);

impl Sink for ToHeap {
    fn put(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

/// Prints to memory of `malloc`: how many bytes, or -1.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn vasprintf(
    to: *mut *mut c_char,
    format: *const c_char,
    list: List,
) -> c_int {
    let mut sink = ToHeap(alloc::vec![]);
    // SAFETY: it is a text.
    let format = unsafe { bytes_of(format) };
    // SAFETY: as in `vfprintf`.
    let list = unsafe { &mut *list };
    // SAFETY: as the caller's.
    let printed = unsafe { print(&mut sink, format, list) };
    let mut text: *mut c_char = ptr::null_mut();
    if printed.is_ok() {
        sink.0.push(0);
        text = malloc(sink.0.len()).cast();
        if !text.is_null() {
            // SAFETY: it has as many bytes.
            unsafe { ptr::copy_nonoverlapping(sink.0.as_ptr(), text.cast(), sink.0.len()) };
        }
    }
    // SAFETY: the caller gives the place.
    unsafe { to.write(text) };
    match printed {
        Ok(_) if text.is_null() => fail(ENOMEM),
        printed => result(printed),
    }
}

/// Reads a text: how many values were stored, or `EOF`.
#[unsafe(no_mangle)]
unsafe extern "C" fn vsscanf(text: *const c_char, format: *const c_char, list: List) -> c_int {
    // SAFETY: it is a text.
    let format = unsafe { bytes_of(format) };
    // SAFETY: as in `vfprintf`.
    let list = unsafe { &mut *list };
    // SAFETY: as the caller's.
    unsafe { scan(text, format, list) }
}

with_list! {
    /// Prints to standard output: how many bytes, or -1.
    printf[1 "rsi"] => vprintf;
    /// Prints to a stream.
    fprintf[2 "rdx"] => vfprintf;
    /// Prints to a descriptor.
    dprintf[2 "rdx"] => vdprintf;
    /// Prints to memory.
    sprintf[2 "rdx"] => vsprintf;
    /// As `vsnprintf`.
    snprintf[3 "rcx"] => vsnprintf;
    /// As `vasprintf`.
    asprintf[2 "rdx"] => vasprintf;
    /// As `vsscanf`.
    sscanf[2 "rdx"] => vsscanf;
    /// As `vsscanf`.
    __isoc99_sscanf[2 "rdx"] => vsscanf;
    /// As `vsscanf`, under the name that headers of C23 have for it.
    __isoc23_sscanf[2 "rdx"] => vsscanf;
}

/// A copy of a text in memory of `malloc`, or null.
#[unsafe(no_mangle)]
unsafe extern "C" fn strdup(text: *const c_char) -> *mut c_char {
    // SAFETY: as the caller's.
    unsafe { strndup(text, usize::MAX) }
}

/// As `strdup`, of the first `bytes`.
#[unsafe(no_mangle)]
unsafe extern "C" fn strndup(text: *const c_char, bytes: usize) -> *mut c_char {
    // SAFETY: it is a text, or has so many bytes.
    let bytes = unsafe { crate::strings::strnlen(text, bytes) };
    // SAFETY: so many were just looked at.
    let text = unsafe { slice::from_raw_parts(text.cast::<u8>(), bytes) };
    let copy: *mut u8 = malloc(bytes + 1).cast();
    if !copy.is_null() {
        // SAFETY: it has one byte more.
        unsafe { ptr::copy_nonoverlapping(text.as_ptr(), copy, bytes) };
        // SAFETY: as above.
        unsafe { copy.wrapping_add(bytes).write(0) };
    }
    copy.cast()
}

/// As `strdup`, under the name that it has in glibc.
#[unsafe(no_mangle)]
unsafe extern "C" fn __strdup(text: *const c_char) -> *mut c_char {
    // SAFETY: as the caller's.
    unsafe { strdup(text) }
}

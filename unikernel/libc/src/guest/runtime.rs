//! What C programs lean on beside its library proper: `assert`, the locale, random numbers that need not be good, dates in a
//! place of their own, and the little of wide characters that popular libraries name.
#![allow(unsafe_code, reason = "C's symbols")]

use alloc::format;
use core::{
    ffi::{CStr, c_char, c_int, c_long, c_uint, c_void},
    ptr,
};

use super::{absent::nothing, one_thread::OneThread, stdio::end_lines};
use crate::{
    calendar::{asctime_r, ctime_r, gmtime_r, tm},
    errno::{EILSEQ, ENOENT, fail, set, strerror},
    texts::{bytes_of, strtok_r},
};

/// Ends the VM because a claim of the program does not hold: a panic, at the file and line of the claim.
#[unsafe(no_mangle)]
unsafe extern "C" fn __assert_fail(
    claim: *const c_char,
    file: *const c_char,
    line: c_uint,
    function: *const c_char,
) -> ! {
    let text = |text: *const c_char| {
        if text.is_null() {
            return "?".into();
        }
        // SAFETY: they are texts, says the caller.
        unsafe { CStr::from_ptr(text) }.to_string_lossy()
    };
    end_lines();
    let message = format!("assertion failed: {}, in {}", text(claim), text(function));
    jiffy_rt::aborted_at(&message, &text(file), line, 0)
}

/// As `__assert_fail`, of an error number that is not zero.
#[unsafe(no_mangle)]
unsafe extern "C" fn __assert_perror_fail(
    error: c_int,
    file: *const c_char,
    line: c_uint,
    function: *const c_char,
) -> ! {
    // SAFETY: as the caller's.
    unsafe { __assert_fail(strerror(error), file, line, function) }
}

// There is one time zone, one rounding mode, and nobody looks at exceptions of floats.
nothing! { tzset feclearexcept fegetenv fegetround feholdexcept feraiseexcept fesetenv fesetexceptflag fetestexcept feupdateenv }

/// There is one rounding mode, to the nearest.
#[unsafe(no_mangle)]
extern "C" fn fesetround(mode: c_int) -> c_int {
    c_int::from(mode != 0)
}

/// The one locale is `C`, under any of its names; null for another.
#[unsafe(no_mangle)]
unsafe extern "C" fn setlocale(_category: c_int, name: *const c_char) -> *const c_char {
    let is_known = name.is_null()
        // SAFETY: it is a text.
        || matches!(unsafe { bytes_of(name) }, b"" | b"C" | b"POSIX" | b"C.UTF-8" | b"C.utf8");
    if is_known { c"C".as_ptr() } else { ptr::null() }
}

/// A locale: any is `C`, and the address says only that it is one.
#[unsafe(no_mangle)]
extern "C" fn newlocale(_mask: c_int, _name: *const c_char, _base: *mut c_void) -> *const u8 {
    &raw const LOCALE
}
static LOCALE: u8 = 0;

/// The locale that is used.
#[unsafe(no_mangle)]
extern "C" fn uselocale(_locale: *const u8) -> *const u8 {
    &raw const LOCALE
}

/// The same locale.
#[unsafe(no_mangle)]
extern "C" fn duplocale(locale: *const u8) -> *const u8 {
    locale
}

/// Nothing was made.
#[unsafe(no_mangle)]
extern "C" fn freelocale(_locale: *const u8) {}

/// `struct lconv` of glibc: ten texts, six and six bytes in all, and no more that is anything in the locale `C`.
#[repr(C)]
pub(crate) struct lconv {
    texts: [*const c_char; 10],
    unknown: [c_char; 14],
}
// SAFETY: nobody changes it.
unsafe impl Sync for lconv {}

/// How numbers look in the locale `C`: a point, and nothing else.
#[unsafe(no_mangle)]
extern "C" fn localeconv() -> *const lconv {
    static C: lconv = {
        let mut texts = [c"".as_ptr(); 10];
        texts[0] = c".".as_ptr();
        lconv {
            texts,
            unknown: [c_char::MAX; 14],
        }
    };
    &raw const C
}

/// What the locale says: the encoding, the point; an empty text for all else.
#[unsafe(no_mangle)]
extern "C" fn nl_langinfo(item: c_int) -> *const c_char {
    const CODESET: c_int = 14;
    const RADIXCHAR: c_int = 0x1_0000;
    match item {
        CODESET => c"UTF-8".as_ptr(),
        RADIXCHAR => c".".as_ptr(),
        _ => c"".as_ptr(),
    }
}

/// Bytes of a character at most.
#[unsafe(no_mangle)]
extern "C" fn __ctype_get_mb_cur_max() -> usize {
    4
}

/// The state of `rand`.
static RANDOM: OneThread<u64> = OneThread::new(1);

/// Begins a sequence of `rand` anew.
#[unsafe(no_mangle)]
extern "C" fn srand(seed: c_uint) {
    RANDOM.with(|state| *state = seed.into());
}

/// As `srand`.
#[unsafe(no_mangle)]
extern "C" fn srandom(seed: c_uint) {
    srand(seed);
}

/// The next state of a sequence, and a number of 31 bits: splitmix64, all of whose states follow one another.
fn next(state: &mut u64) -> u32 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (mixed >> 33) as u32
}

/// The next number of a sequence, which is the same each time: for what need not be unpredictable. Up to `RAND_MAX`, 2^31 - 1.
#[unsafe(no_mangle)]
extern "C" fn rand() -> c_int {
    RANDOM.with(next) as c_int
}

/// As `rand`.
#[unsafe(no_mangle)]
extern "C" fn random() -> c_long {
    rand().into()
}

/// As `rand`, of a sequence of the caller's.
#[unsafe(no_mangle)]
unsafe extern "C" fn rand_r(seed: *mut c_uint) -> c_int {
    // SAFETY: the caller gives the place.
    let mut state = unsafe { seed.read() }.into();
    let number = next(&mut state);
    // SAFETY: as above.
    unsafe { seed.write((state ^ (state >> 32)) as c_uint) };
    number as c_int
}

/// As `rand`, a fraction of one.
#[unsafe(no_mangle)]
extern "C" fn drand48() -> f64 {
    f64::from(rand()) / f64::from(1u32 << 31)
}

/// Unpredictable bits, keyed anew after every resume.
#[unsafe(no_mangle)]
extern "C" fn arc4random() -> u32 {
    let mut bytes = [0; 4];
    jiffy_rt::fill_random(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// Fills all of it with unpredictable bytes.
#[unsafe(no_mangle)]
unsafe extern "C" fn arc4random_buf(to: *mut u8, bytes: usize) {
    if bytes > 0 {
        // SAFETY: the caller has so many bytes there, which are its own.
        jiffy_rt::fill_random(unsafe { core::slice::from_raw_parts_mut(to, bytes) });
    }
}

/// The place of `gmtime` and its like, which each call changes.
struct Dates {
    date: core::mem::MaybeUninit<tm>,
    text: [c_char; 26],
}
static DATES: OneThread<Dates> = OneThread::new(Dates {
    date: core::mem::MaybeUninit::uninit(),
    text: [0; 26],
});

/// As `gmtime_r`, in a place that the next call changes.
#[unsafe(no_mangle)]
unsafe extern "C" fn gmtime(time: *const i64) -> *mut tm {
    // SAFETY: as the caller's.
    DATES.with(|dates| unsafe { gmtime_r(time, dates.date.as_mut_ptr()) })
}

/// As `gmtime`.
#[unsafe(no_mangle)]
unsafe extern "C" fn localtime(time: *const i64) -> *mut tm {
    // SAFETY: as the caller's.
    unsafe { gmtime(time) }
}

/// As `asctime_r`, in a place that the next call changes.
#[unsafe(no_mangle)]
unsafe extern "C" fn asctime(date: *const tm) -> *mut c_char {
    // SAFETY: as the caller's.
    DATES.with(|dates| unsafe { asctime_r(date, dates.text.as_mut_ptr()) })
}

/// As `ctime_r`, in a place that the next call changes.
#[unsafe(no_mangle)]
unsafe extern "C" fn ctime(time: *const i64) -> *mut c_char {
    // SAFETY: as the caller's.
    DATES.with(|dates| unsafe { ctime_r(time, dates.text.as_mut_ptr()) })
}

/// Microseconds since the VM began: time that the function may have computed.
#[unsafe(no_mangle)]
extern "C" fn clock() -> c_long {
    (jiffy_rt::monotonic_ns() / 1000) as c_long
}

/// Seconds and nanoseconds of wall time; the one base is 1.
#[unsafe(no_mangle)]
unsafe extern "C" fn timespec_get(to: *mut crate::time_units::timespec, base: c_int) -> c_int {
    if base != 1 {
        return 0;
    }
    // SAFETY: the caller gives the place.
    unsafe { to.write(crate::time_units::timespec::from_ns(jiffy_rt::wall_ns())) };
    base
}

/// Seconds that local time is behind UTC, which it is not.
#[unsafe(no_mangle)]
static timezone: c_long = 0;
#[unsafe(no_mangle)]
static daylight: c_int = 0;

/// Names of the time zone.
#[repr(transparent)]
pub(crate) struct Names([*const c_char; 2]);
// SAFETY: nobody changes them.
unsafe impl Sync for Names {}
#[unsafe(no_mangle)]
static tzname: Names = Names([c"UTC".as_ptr(); 2]);

/// As `strtok_r`, with one place for all.
#[unsafe(no_mangle)]
unsafe extern "C" fn strtok(text: *mut c_char, set: *const c_char) -> *mut c_char {
    static REST: OneThread<*mut c_char> = OneThread::new(ptr::null_mut());
    // SAFETY: as the caller's.
    REST.with(|rest| unsafe { strtok_r(text, set, rest) })
}

/// The last part of a path, as GNU's `basename` of `<string.h>`.
#[unsafe(no_mangle)]
unsafe extern "C" fn basename(path: *const c_char) -> *const c_char {
    // SAFETY: it is a text.
    let found = unsafe { bytes_of(path) }
        .iter()
        .rposition(|byte| *byte == b'/');
    path.wrapping_add(found.map_or(0, |slash| slash + 1))
}

/// Nothing is what was asked for.
#[unsafe(no_mangle)]
extern "C" fn confstr(_name: c_int, _to: *mut c_char, _bytes: usize) -> usize {
    fail(ENOENT);
    0
}

/// The character that a text begins with, UTF-8: its bytes, 0 for the final zero, -1 and `EILSEQ` for what is none.
#[unsafe(no_mangle)]
unsafe extern "C" fn mbtowc(to: *mut u32, text: *const u8, bytes: usize) -> c_int {
    if text.is_null() {
        return 0; // The encoding has no states.
    }
    let mut room = [0; 4];
    for used in 1..=bytes.min(room.len()) {
        // SAFETY: the caller has so many bytes there.
        room[used - 1] = unsafe { text.wrapping_add(used - 1).read() };
        let Some(character) = str::from_utf8(&room[..used])
            .ok()
            .and_then(|text| text.chars().next())
        else {
            continue;
        };
        if !to.is_null() {
            // SAFETY: the caller gives the place.
            unsafe { to.write(character.into()) };
        }
        return if character == '\0' { 0 } else { used as c_int };
    }
    fail(EILSEQ)
}

/// A character in UTF-8: its bytes, or -1 and `EILSEQ`.
#[unsafe(no_mangle)]
unsafe extern "C" fn wctomb(to: *mut u8, character: u32) -> c_int {
    if to.is_null() {
        return 0;
    }
    let Some(character) = char::from_u32(character) else {
        return fail(EILSEQ);
    };
    let mut room = [0; 4];
    let text = character.encode_utf8(&mut room);
    // SAFETY: the caller has room for any character.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), to, text.len()) };
    text.len() as c_int
}

/// As `mbtowc`, but -2 of no bytes; a piece that is not whole yet is an error, as there is no state.
#[unsafe(no_mangle)]
unsafe extern "C" fn mbrtowc(
    to: *mut u32,
    text: *const u8,
    bytes: usize,
    _state: *mut c_void,
) -> usize {
    const NOT_WHOLE: usize = usize::MAX - 1;
    if bytes == 0 && !text.is_null() {
        return NOT_WHOLE;
    }
    // SAFETY: as the caller's; a negative result is the largest size.
    unsafe { mbtowc(to, text, bytes) as isize as usize }
}

/// As `mbtowc`, without the character.
#[unsafe(no_mangle)]
unsafe extern "C" fn mblen(text: *const u8, bytes: usize) -> c_int {
    // SAFETY: as the caller's.
    unsafe { mbtowc(ptr::null_mut(), text, bytes) }
}

/// Characters of a text, `count` at most: how many, without their zero, or -1 and `EILSEQ`.
#[unsafe(no_mangle)]
unsafe extern "C" fn mbstowcs(to: *mut u32, text: *const c_char, count: usize) -> usize {
    // SAFETY: it is a text.
    let Ok(text) = str::from_utf8(unsafe { bytes_of(text) }) else {
        set(EILSEQ);
        return usize::MAX;
    };
    if to.is_null() {
        return text.chars().count();
    }
    let mut written = 0;
    for character in text.chars().chain(['\0']).take(count) {
        // SAFETY: there is room for `count`.
        unsafe { to.wrapping_add(written).write(character.into()) };
        written += usize::from(character != '\0');
    }
    written
}

/// Characters of a text of wide ones.
#[unsafe(no_mangle)]
unsafe extern "C" fn wcslen(text: *const u32) -> usize {
    let mut count = 0;
    // SAFETY: the text has not ended.
    while core::hint::black_box(unsafe { text.wrapping_add(count).read() }) != 0 {
        count += 1;
    }
    count
}

/// Bytes of a text of wide characters, `bytes` at most: how many, without their zero, or -1 and `EILSEQ`.
#[unsafe(no_mangle)]
unsafe extern "C" fn wcstombs(to: *mut u8, text: *const u32, bytes: usize) -> usize {
    let mut written = 0;
    for offset in 0.. {
        // SAFETY: the text has not ended.
        let wide = unsafe { text.wrapping_add(offset).read() };
        let Some(character) = char::from_u32(wide) else {
            set(EILSEQ);
            return usize::MAX;
        };
        let mut room = [0; 4];
        let piece = character.encode_utf8(&mut room);
        let has_room = to.is_null() || written + piece.len() <= bytes;
        if has_room && !to.is_null() {
            // SAFETY: there is room.
            unsafe {
                ptr::copy_nonoverlapping(piece.as_ptr(), to.wrapping_add(written), piece.len())
            };
        }
        if !has_room || wide == 0 {
            break;
        }
        written += piece.len();
    }
    written
}

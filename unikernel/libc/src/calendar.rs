//! Dates: `gmtime`, `mktime`, `strftime`. The only time zone is UTC, so that local time is the same.
#![allow(unsafe_code, reason = "C's symbols")]

use core::{
    ffi::{c_char, c_int, c_long},
    fmt::{self, Write},
    ptr,
};

use crate::{
    errno::{EOVERFLOW, set},
    texts::bytes_of,
};

const DAY_S: i64 = 86_400;
/// Days of 400 years.
const CYCLE_DAYS: i64 = 146_097;
const DAYS: [&str; 7] = [
    "Sunday",
    "Monday",
    "Tuesday",
    "Wednesday",
    "Thursday",
    "Friday",
    "Saturday",
];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// What `tm_zone` points to.
#[derive(Clone, Copy)]
#[repr(transparent)]
struct Zone(*const c_char);
// SAFETY: it is a constant text.
unsafe impl Sync for Zone {}
const UTC: Zone = Zone(c"UTC".as_ptr());

/// `struct tm` of glibc.
#[derive(Clone, Copy)]
#[repr(C)]
pub(crate) struct tm {
    tm_sec: c_int,
    tm_min: c_int,
    tm_hour: c_int,
    tm_mday: c_int,
    tm_mon: c_int,
    /// Since 1900.
    tm_year: c_int,
    tm_wday: c_int,
    tm_yday: c_int,
    tm_isdst: c_int,
    tm_gmtoff: c_long,
    tm_zone: Zone,
}

/// Days from 1970 to the first of a month, counted from 0 on, of a year; both may be any.
fn days_before(year: i64, month: i64) -> i64 {
    // A year that begins in March has its odd day at its end.
    let months = year * 12 + month - 2;
    let (year, month) = (months.div_euclid(12), months.rem_euclid(12));
    let (cycle, year) = (year.div_euclid(400), year.rem_euclid(400));
    let of_months = (153 * month + 2) / 5;
    cycle * CYCLE_DAYS + year * 365 + year / 4 - year / 100 + of_months - 719_468
}

fn is_leap(year: i64) -> bool {
    year % 4 == 0 && (year % 100 != 0 || year % 400 == 0)
}

/// The date of a number of seconds since 1970; `None` if its year is no `int`.
fn date(seconds: i64) -> Option<tm> {
    let (days, of_day) = (seconds.div_euclid(DAY_S), seconds.rem_euclid(DAY_S));
    let since_cycle = days + 719_468; // Since the first of March of the year 0.
    let (cycle, day) = (
        since_cycle.div_euclid(CYCLE_DAYS),
        since_cycle.rem_euclid(CYCLE_DAYS),
    );
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let of_year = day - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let of_month = of_year - (153 * month + 2) / 5 + 1;
    let is_next_year = month >= 10;
    let month = if is_next_year { month - 10 } else { month + 2 };
    let year = cycle * 400 + year + i64::from(is_next_year);
    Some(tm {
        tm_sec: (of_day % 60) as c_int,
        tm_min: (of_day / 60 % 60) as c_int,
        tm_hour: (of_day / 3600) as c_int,
        tm_mday: of_month as c_int,
        tm_mon: month as c_int,
        tm_year: c_int::try_from(year - 1900).ok()?,
        tm_wday: (days + 4).rem_euclid(7) as c_int,
        tm_yday: (days - days_before(year, 0)) as c_int,
        tm_isdst: 0,
        tm_gmtoff: 0,
        tm_zone: UTC,
    })
}

/// The seconds of a date whose parts may be any.
fn seconds(date: &tm) -> i64 {
    let days = days_before(i64::from(date.tm_year) + 1900, date.tm_mon.into())
        + i64::from(date.tm_mday)
        - 1;
    let minutes = i64::from(date.tm_hour) * 60 + i64::from(date.tm_min);
    days * DAY_S + minutes * 60 + i64::from(date.tm_sec)
}

/// The date of a time, in `to`; null and `EOVERFLOW` if its year is no `int`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn gmtime_r(time: *const i64, to: *mut tm) -> *mut tm {
    // SAFETY: the caller has a time there.
    let Some(date) = date(unsafe { time.read() }) else {
        set(EOVERFLOW);
        return ptr::null_mut();
    };
    // SAFETY: the caller gives the place.
    unsafe { to.write(date) };
    to
}

/// As `gmtime_r`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn localtime_r(time: *const i64, to: *mut tm) -> *mut tm {
    // SAFETY: as the caller's.
    unsafe { gmtime_r(time, to) }
}

/// The time of a date, whose parts are put in order; -1 and `EOVERFLOW` if its year is no `int` then.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn timegm(parts: *mut tm) -> i64 {
    // SAFETY: the caller has a date there.
    let time = seconds(&unsafe { parts.read() });
    let Some(date) = date(time) else {
        set(EOVERFLOW);
        return -1;
    };
    // SAFETY: as above.
    unsafe { parts.write(date) };
    time
}

/// As `timegm`.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn mktime(parts: *mut tm) -> i64 {
    // SAFETY: as the caller's.
    unsafe { timegm(parts) }
}

/// How many seconds lie between two times.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) extern "C" fn difftime(end: i64, start: i64) -> f64 {
    end.wrapping_sub(start) as f64
}

/// The room of `asctime_r`.
const ASCTIME_BYTES: usize = 26;

/// A date as `Thu Jan  1 00:00:00 1970` and the end of a line, in 26 bytes; null and `EOVERFLOW` if it has no room there.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn asctime_r(date: *const tm, to: *mut c_char) -> *mut c_char {
    // SAFETY: as the caller's.
    let bytes = unsafe { strftime(to, ASCTIME_BYTES, c"%a %b %e %H:%M:%S %Y\n".as_ptr(), date) };
    if bytes == 0 {
        set(EOVERFLOW);
        return ptr::null_mut();
    }
    to
}

/// As `asctime_r`, of a time.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn ctime_r(time: *const i64, to: *mut c_char) -> *mut c_char {
    // SAFETY: the caller has a time there.
    match date(unsafe { time.read() }) {
        // SAFETY: as the caller's.
        Some(date) => unsafe { asctime_r(&raw const date, to) },
        None => {
            set(EOVERFLOW);
            ptr::null_mut()
        }
    }
}

/// A text in as much room as C gave.
struct Room<'a> {
    bytes: &'a mut [u8],
    used: usize,
}

impl Write for Room<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.used..self.used + text.len());
        room.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.used += text.len();
        Ok(())
    }
}

/// A date as `format` has it, in the locale `C`: how many bytes that is, or 0 if there is no room for it and a zero.
#[cfg_attr(jiffy_guest, unsafe(no_mangle))]
pub(crate) unsafe extern "C" fn strftime(
    to: *mut c_char,
    bytes: usize,
    format: *const c_char,
    date: *const tm,
) -> usize {
    let Some(room) = bytes.checked_sub(1) else {
        return 0;
    };
    // SAFETY: the caller has so many bytes there, which are its own.
    let all = unsafe { core::slice::from_raw_parts_mut(to.cast::<u8>(), bytes) };
    let mut out = Room {
        bytes: &mut all[..room],
        used: 0,
    };
    // SAFETY: it is a text.
    let format = unsafe { bytes_of(format) };
    // SAFETY: the caller has a date there.
    let date = unsafe { date.read() };
    if write_date(&mut out, format, &date).is_err() {
        return 0;
    }
    let used = out.used;
    all[used] = 0;
    used
}

/// Which year a week of ISO 8601 belongs to, and its number.
fn iso_week(date: &tm) -> (i64, i64) {
    let year = i64::from(date.tm_year) + 1900;
    let weekday = (i64::from(date.tm_wday) + 6).rem_euclid(7); // From Monday on.
    let week = (i64::from(date.tm_yday) - weekday + 10).div_euclid(7);
    let weeks = |year: i64| {
        let first = (days_before(year, 0) + 3).rem_euclid(7); // 1970 began on a Thursday.
        if first == 3 || (first == 2 && is_leap(year)) {
            53
        } else {
            52
        }
    };
    if week < 1 {
        (year - 1, weeks(year - 1))
    } else if week > weeks(year) {
        (year + 1, 1)
    } else {
        (year, week)
    }
}

fn write_date(out: &mut Room<'_>, format: &[u8], date: &tm) -> fmt::Result {
    let mut rest = format;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        if *byte != b'%' {
            let place = out.bytes.get_mut(out.used).ok_or(fmt::Error)?;
            *place = *byte;
            out.used += 1;
            continue;
        }
        // How numbers are filled, and other digits or eras, which the locale `C` has not.
        let mut fill = None;
        while let Some((flag @ (b'_' | b'-' | b'0' | b'^' | b'#' | b'E' | b'O'), after)) =
            rest.split_first()
        {
            if b"_-0".contains(flag) {
                fill = Some(*flag);
            }
            rest = after;
        }
        let Some((letter, after)) = rest.split_first() else {
            return out.write_str("%");
        };
        rest = after;
        field(out, *letter, fill, date)?;
    }
    Ok(())
}

/// One letter behind a `%`.
fn field(out: &mut Room<'_>, letter: u8, fill: Option<u8>, date: &tm) -> fmt::Result {
    let name = |names: &[&'static str], number: c_int| {
        let name = usize::try_from(number)
            .ok()
            .and_then(|number| names.get(number));
        name.copied().unwrap_or("?")
    };
    let short = |name: &'static str| &name[..name.len().min(3)];
    let year = i64::from(date.tm_year) + 1900;
    let hour = match date.tm_hour.rem_euclid(12) {
        0 => 12,
        hour => hour,
    };
    let by = |format: &[u8], out: &mut Room<'_>| write_date(out, format, date);
    let (value, width, usual): (i64, usize, u8) = match letter {
        b'a' => return out.write_str(short(name(&DAYS, date.tm_wday))),
        b'A' => return out.write_str(name(&DAYS, date.tm_wday)),
        b'b' | b'h' => return out.write_str(short(name(&MONTHS, date.tm_mon))),
        b'B' => return out.write_str(name(&MONTHS, date.tm_mon)),
        b'c' => return by(b"%a %b %e %H:%M:%S %Y", out),
        b'D' | b'x' => return by(b"%m/%d/%y", out),
        b'F' => return by(b"%Y-%m-%d", out),
        b'n' => return out.write_str("\n"),
        b'p' => return out.write_str(if date.tm_hour < 12 { "AM" } else { "PM" }),
        b'P' => return out.write_str(if date.tm_hour < 12 { "am" } else { "pm" }),
        b'r' => return by(b"%I:%M:%S %p", out),
        b'R' => return by(b"%H:%M", out),
        b't' => return out.write_str("\t"),
        b'T' | b'X' => return by(b"%H:%M:%S", out),
        b'z' => return out.write_str("+0000"),
        b'Z' => return out.write_str("UTC"),
        b'%' => return out.write_str("%"),
        b'C' => (year.div_euclid(100), 2, b'0'),
        b'd' => (date.tm_mday.into(), 2, b'0'),
        b'e' => (date.tm_mday.into(), 2, b'_'),
        b'g' => (iso_week(date).0.rem_euclid(100), 2, b'0'),
        b'G' => (iso_week(date).0, 1, b'0'),
        b'H' => (date.tm_hour.into(), 2, b'0'),
        b'I' => (hour.into(), 2, b'0'),
        b'j' => (i64::from(date.tm_yday) + 1, 3, b'0'),
        b'k' => (date.tm_hour.into(), 2, b'_'),
        b'l' => (hour.into(), 2, b'_'),
        b'm' => (i64::from(date.tm_mon) + 1, 2, b'0'),
        b'M' => (date.tm_min.into(), 2, b'0'),
        b's' => (seconds(date), 1, b'0'),
        b'S' => (date.tm_sec.into(), 2, b'0'),
        b'u' => ((i64::from(date.tm_wday) + 6).rem_euclid(7) + 1, 1, b'0'),
        b'U' => (
            (i64::from(date.tm_yday) + 7 - i64::from(date.tm_wday)) / 7,
            2,
            b'0',
        ),
        b'V' => (iso_week(date).1, 2, b'0'),
        b'w' => (date.tm_wday.into(), 1, b'0'),
        b'W' => {
            let since_monday = (i64::from(date.tm_wday) + 6).rem_euclid(7);
            ((i64::from(date.tm_yday) + 7 - since_monday) / 7, 2, b'0')
        }
        b'y' => (year.rem_euclid(100), 2, b'0'),
        b'Y' => (year, 1, b'0'),
        other => return write!(out, "%{}", char::from(other)),
    };
    match fill.unwrap_or(usual) {
        b'-' => write!(out, "{value}"),
        b'_' => write!(out, "{value:width$}"),
        _ => write!(out, "{value:0width$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::ffi::CString;

    mod host {
        use super::*;
        unsafe extern "C" {
            pub(super) fn gmtime_r(time: *const i64, to: *mut tm) -> *mut tm;
            pub(super) fn timegm(date: *mut tm) -> i64;
            pub(super) fn strftime(
                to: *mut c_char,
                bytes: usize,
                format: *const c_char,
                date: *const tm,
            ) -> usize;
        }
    }

    fn parts(date: &tm) -> [c_int; 9] {
        let tm {
            tm_sec,
            tm_min,
            tm_hour,
            tm_mday,
            tm_mon,
            tm_year,
            tm_wday,
            tm_yday,
            tm_isdst,
            ..
        } = *date;
        [
            tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, tm_wday, tm_yday, tm_isdst,
        ]
    }

    fn none() -> tm {
        date(0).expect("a date")
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn dates_are_those_of_the_host(time in prop_oneof![any::<i64>(), -100_000_000_000i64..100_000_000_000]) {
            let (mut ours, mut theirs) = (none(), none());
            // SAFETY: both are places.
            let our = unsafe { gmtime_r(&raw const time, &raw mut ours) };
            // SAFETY: as above.
            let their = unsafe { host::gmtime_r(&raw const time, &raw mut theirs) };
            assert_eq!(our.is_null(), their.is_null(), "{time}");
            if our.is_null() {
                return Ok(());
            }
            assert_eq!(parts(&ours), parts(&theirs), "{time}");
            // SAFETY: it is a date.
            assert_eq!(unsafe { timegm(&raw mut ours) }, time);
            // Years of four digits: glibc fills others as POSIX does not say.
            if !(1000 - 1900..10_000 - 1900).contains(&ours.tm_year) {
                return Ok(());
            }
            for letter in "aAbhBcDxFnpPrRtTXzCdegGHIjklmMsSuUVwWyY%".chars() {
                for flag in ["", "-", "_", "0"] {
                    if !flag.is_empty() && !"CdegGHIjklmMSuUVwWyY".contains(letter) {
                        continue;
                    }
                    let format = CString::new(std::format!("<%{flag}{letter}>")).expect("no zero");
                    let (mut our, mut their) = ([0u8; 64], [0u8; 64]);
                    // SAFETY: there is so much room.
                    unsafe { strftime(our.as_mut_ptr().cast(), 64, format.as_ptr(), &raw const ours) };
                    // SAFETY: as above.
                    unsafe { host::strftime(their.as_mut_ptr().cast(), 64, format.as_ptr(), &raw const ours) };
                    assert_eq!(our, their, "{time} {format:?}");
                }
            }
        }

        #[test]
        fn parts_are_put_in_order(parts_of in proptest::array::uniform6(-5000i32..5000)) {
            let [tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year] = parts_of;
            let mut ours = tm { tm_sec, tm_min, tm_hour, tm_mday, tm_mon, tm_year, ..none() };
            let mut theirs = ours;
            // SAFETY: it is a date.
            let our = unsafe { timegm(&raw mut ours) };
            // SAFETY: as above.
            let their = unsafe { host::timegm(&raw mut theirs) };
            assert_eq!((our, parts(&ours)), (their, parts(&theirs)));
        }
    }

    #[test]
    fn what_has_no_room_is_nothing() {
        let mut room = [7u8; 4];
        // SAFETY: there are so many bytes.
        let mut put = |bytes| unsafe {
            strftime(
                room.as_mut_ptr().cast(),
                bytes,
                c"%Y".as_ptr(),
                &raw const EPOCH,
            )
        };
        assert_eq!((put(0), put(4)), (0, 0));
        static EPOCH: tm = tm {
            tm_sec: 0,
            tm_min: 0,
            tm_hour: 0,
            tm_mday: 1,
            tm_mon: 0,
            tm_year: 70,
            tm_wday: 4,
            tm_yday: 0,
            tm_isdst: 0,
            tm_gmtoff: 0,
            tm_zone: UTC,
        };
        let mut line = [0u8; ASCTIME_BYTES];
        // SAFETY: as above.
        unsafe { asctime_r(&raw const EPOCH, line.as_mut_ptr().cast()) };
        assert_eq!(&line, b"Thu Jan  1 00:00:00 1970\n\0");
    }
}

//! Against the host's own `printf` and `scanf`, which take a `va_list` as ours does.
#![allow(unsafe_code, reason = "arguments are addresses")]

use core::ffi::{c_char, c_int};
use std::{ffi::CString, format, string::String, vec, vec::Vec};

use proptest::prelude::*;

use super::{list::VaList, print::Sink, *};

unsafe extern "C" {
    fn vsnprintf(to: *mut c_char, bytes: usize, format: *const c_char, list: *mut VaList) -> c_int;
    fn vsscanf(text: *const c_char, format: *const c_char, list: *mut VaList) -> c_int;
}

/// An argument as it lies on the stack.
#[derive(Clone, Debug)]
enum Argument {
    Integer(u64),
    Double(f64),
    Text(CString),
}

fn stack(arguments: &[Argument]) -> Vec<u64> {
    let words = arguments.iter().map(|argument| match argument {
        Argument::Integer(value) => *value,
        Argument::Double(value) => value.to_bits(),
        Argument::Text(text) => text.as_ptr().expose_provenance() as u64,
    });
    words.chain([0; 4]).collect()
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

fn ours(format: &str, arguments: &[Argument]) -> Result<String, c_int> {
    let stack = stack(arguments);
    let mut list = VaList::on_stack(stack.as_ptr().cast());
    let mut text = vec![];
    // SAFETY: the arguments are what the test made the format of.
    let bytes = unsafe { print::print(&mut text, format.as_bytes(), &mut list) }?;
    assert_eq!(text.len(), bytes as usize, "{format}");
    Ok(String::from_utf8_lossy(&text).into_owned())
}

fn hosts(format: &str, arguments: &[Argument]) -> String {
    let stack = stack(arguments);
    let mut list = VaList::on_stack(stack.as_ptr().cast());
    let mut room = vec![0u8; 8192];
    let format = CString::new(format).expect("no zero");
    // SAFETY: as above; there is so much room.
    let bytes = unsafe {
        vsnprintf(
            room.as_mut_ptr().cast(),
            room.len(),
            format.as_ptr(),
            &raw mut list,
        )
    };
    room.truncate(bytes as usize);
    String::from_utf8_lossy(&room).into_owned()
}

#[track_caller]
fn same(format: &str, arguments: &[Argument]) {
    assert_eq!(
        ours(format, arguments),
        Ok(hosts(format, arguments)),
        "{format:?} {arguments:?}"
    );
}

fn flags() -> impl Strategy<Value = String> {
    (
        "[-+ #0]{0,3}",
        prop::option::of(0..40u32),
        prop::option::of(0..40u32),
    )
        .prop_map(|(flags, width, precision)| {
            let width = width.map_or(String::new(), |width| format!("{width}"));
            let precision = precision.map_or(String::new(), |precision| format!(".{precision}"));
            format!("{flags}{width}{precision}")
        })
}

fn doubles() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        (-1000i32..1000).prop_map(|number| f64::from(number) / 8.0),
        (any::<i32>(), -20i32..20)
            .prop_map(|(number, power)| f64::from(number) * 10f64.powi(power)),
        Just(0.0),
        Just(-0.0),
        Just(f64::INFINITY),
        Just(5e-324),
        Just(f64::MAX),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn integers(
        flags in flags(),
        length in prop_oneof![Just("hh"), Just("h"), Just(""), Just("l"), Just("ll"), Just("j"), Just("z"), Just("t")],
        letter in prop_oneof![Just('d'), Just('i'), Just('u'), Just('x'), Just('X'), Just('o')],
        value in prop_oneof![any::<u64>(), 0..300u64, any::<u32>().prop_map(u64::from)],
    ) {
        same(&format!("a%{flags}{length}{letter}%%b"), &[Argument::Integer(value)]);
    }

    #[test]
    fn floats(
        flags in flags(),
        letter in prop_oneof![Just('e'), Just('E'), Just('f'), Just('F'), Just('g'), Just('G'), Just('a'), Just('A')],
        value in doubles(),
    ) {
        // A NaN's sign is printed by both, but a NaN from arithmetic has any.
        let value = if value.is_nan() { f64::NAN } else { value };
        same(&format!("%{flags}{letter}|"), &[Argument::Double(value)]);
    }

    #[test]
    fn texts(flags in "-?[0-9]{0,2}(\\.[0-9]{0,2})?", text in "[a-zé]{0,20}", byte in 1u8..127) {
        let text = CString::new(text).expect("no zero");
        let arguments = [Argument::Text(text), Argument::Integer(byte.into()), Argument::Integer(byte.into())];
        same(&format!("%{flags}s %c %5p"), &arguments);
    }
}

#[test]
fn what_is_rare() {
    let integer = Argument::Integer;
    same(
        "%*d|%-*d|%.*f",
        &[
            integer(7),
            integer(1),
            integer(9),
            integer(2),
            integer(3),
            Argument::Double(2.5),
        ],
    );
    same(
        "%*d|%.*d",
        &[
            integer(-7i64 as u64),
            integer(1),
            integer(-1i64 as u64),
            integer(2),
        ],
    );
    same(
        "%s %.3s %.6s|%5p",
        &[integer(0), integer(0), integer(0), integer(0)],
    );
    same(
        "%.1100f %.1100e",
        &[Argument::Double(5e-324), Argument::Double(0.1)],
    );
    same(
        "%.900g|%#.900g",
        &[Argument::Double(0.1), Argument::Double(0.1)],
    );
    same(
        "%5%|% d|%+x|%#o|%#.0f|%#.0e|%#.1g",
        &[
            integer(1),
            integer(1),
            integer(0),
            Argument::Double(1.0),
            Argument::Double(1.0),
            Argument::Double(1.0),
        ],
    );
    same(
        "%g %g %g %g",
        &[0.0001, 0.00001, 999_999.5, 1e15].map(Argument::Double),
    );
}

#[test]
fn what_is_refused() {
    let mut number = 7u64;
    let place = Argument::Integer((&raw mut number).expose_provenance() as u64);
    for format in ["%n", "%1$d", "%", "%y", "%l"] {
        assert_eq!(
            ours(format, core::slice::from_ref(&place)),
            Err(crate::errno::EINVAL),
            "{format}"
        );
    }
    assert_eq!(number, 7);
    assert_eq!(
        ours("%99999999999d", &[Argument::Integer(1)]),
        Err(crate::errno::EOVERFLOW)
    );
    assert_eq!(
        ours("%lc%ls", &[Argument::Integer(0xe9), Argument::Integer(0)]),
        Ok("é(null)".into())
    );
}

#[test]
fn long_doubles_are_read_whole() {
    // 1.5 and -2^-16445, the smallest; aligned to 16.
    #[repr(align(16))]
    struct Words([u64; 6]);
    let words = Words([1, 0, 3 << 62, 0x3fff, 1, 0x8000]);
    let mut list = VaList::on_stack((&raw const words).cast());
    let mut text = vec![];
    // SAFETY: there are three arguments; the two long ones lie on multiples of 16.
    unsafe { print::print(&mut text, b"%d %Lg %Lg", &mut list) }.expect("good");
    assert_eq!(String::from_utf8(text).expect("text"), "1 1.5 -0");
    let _ = words.0;
}

/// What a scan stored, and how much it was.
fn scanned(
    text: &CString,
    format: &CString,
    scan: impl FnOnce(*const c_char, &CString, &mut VaList) -> c_int,
) -> (c_int, Vec<(usize, u64)>) {
    let mut places = vec![0x5a5a_5a5a_5a5a_5a5au64; 4 * 16];
    let stack: Vec<u64> = (0..4)
        .map(|place| (&raw mut places[place * 16]).expose_provenance() as u64)
        .collect();
    let mut list = VaList::on_stack(stack.as_ptr().cast());
    let stored = scan(text.as_ptr(), format, &mut list);
    // What was stored, and where.
    let untouched = 0x5a5a_5a5a_5a5a_5a5a;
    let stored_at = places.into_iter().enumerate();
    (
        stored,
        stored_at.filter(|(_, word)| *word != untouched).collect(),
    )
}

fn same_scan(text: &str, format: &str) {
    let (text, format) = (
        CString::new(text).expect("no zero"),
        CString::new(format).expect("no zero"),
    );
    // SAFETY: there are as many places as any format below asks for, each large enough.
    let ours = scanned(&text, &format, |text, format, list| unsafe {
        scan::scan(text, format.as_bytes(), list)
    });
    // SAFETY: as above.
    let hosts = scanned(&text, &format, |text, format, list| unsafe {
        vsscanf(text, format.as_ptr(), list)
    });
    assert_eq!(ours, hosts, "{text:?} {format:?}");
}

proptest! {
    #[test]
    fn scans(
        text in "[ 0-9a-fx.,:+-]{0,24}",
        format in "(%([1-9]?(d|i|u|x|o|lf|f|hd|ld|hhd)|7s|3c|5\\[0-9a-c\\]|\\*d|4\\[\\^,\\])[ ,:]?){1,3}",
    ) {
        // glibc has read what begins as a number and is none, and goes on behind it.
        let has_hex = text.contains('x') || text.contains('e') || text.contains("nf") || text.contains("na");
        if !has_hex && !text.ends_with(['+', '-', '.']) {
            same_scan(&text, &format);
        }
    }
}

#[test]
fn scans_of_programs() {
    for (text, format) in [
        ("12:34:56", "%d:%d:%d"),
        ("2024-01-02T", "%4d-%2d-%2dT"),
        ("  x=1.5e3 rest", " x=%lf %s"),
        ("0x1f 077", "%i %i"),
        ("", "%d"),
        ("abc", "%d"),
        ("a]b", "%[]a]"),
        ("key = value # x", "%[^= ] = %[^#]"),
        ("12abc", "%d%n"),
        ("99999999999999999999", "%ld"),
        ("-5", "%u"),
    ] {
        same_scan(text, format);
    }
}

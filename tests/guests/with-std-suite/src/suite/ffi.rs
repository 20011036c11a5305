//! `ffi`.

use std::{
    ffi::{CStr, CString, OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

tests! {
    c_strings_end_with_a_zero c_strings_refuse_zeros_inside from_bytes_until_a_zero from_vec_with_its_zero lossy_and_text
    into_raw_and_back compares borrowed_and_owned literals os_strings_take_any_bytes os_strings_to_text os_string_push
    os_display lossy_os os_case c_str_of_the_library boxed into_string_errors os_compare
}

fn c_strings_end_with_a_zero() {
    let text = CString::new("abc").expect("no zero");
    assert_eq!(
        (
            text.as_bytes(),
            text.as_bytes_with_nul(),
            text.count_bytes()
        ),
        (&b"abc"[..], &b"abc\0"[..], 3)
    );
    assert!(CString::new("").expect("no zero").is_empty());
}

fn c_strings_refuse_zeros_inside() {
    let error = CString::new(b"a\0b".to_vec()).expect_err("a zero");
    assert_eq!(
        (error.nul_position(), error.to_string().as_str()),
        (1, "nul byte found in provided data at position: 1")
    );
    assert_eq!(error.into_vec(), b"a\0b");
}

fn from_bytes_until_a_zero() {
    assert_eq!(
        CStr::from_bytes_until_nul(b"ab\0cd\0")
            .map(CStr::to_bytes)
            .ok(),
        Some(&b"ab"[..])
    );
    assert!(CStr::from_bytes_until_nul(b"ab").is_err());
    assert!(
        CStr::from_bytes_with_nul(b"a\0b\0").is_err()
            && CStr::from_bytes_with_nul(b"ab").is_err()
            && CStr::from_bytes_with_nul(b"ab\0").is_ok()
    );
}

fn from_vec_with_its_zero() {
    assert_eq!(
        CString::from_vec_with_nul(b"ab\0".to_vec())
            .map(CString::into_bytes)
            .ok(),
        Some(b"ab".to_vec())
    );
    assert!(
        CString::from_vec_with_nul(b"a\0b\0".to_vec()).is_err()
            && CString::from_vec_with_nul(b"ab".to_vec()).is_err()
    );
}

fn lossy_and_text() {
    let bad = CString::new(b"a\xff".to_vec()).expect("no zero");
    assert_eq!(
        (bad.to_str().is_err(), &*bad.to_string_lossy()),
        (true, "a\u{fffd}")
    );
    assert_eq!(c"text".to_str(), Ok("text"));
}

fn into_string_errors() {
    let bad = CString::new(b"a\xff".to_vec()).expect("no zero");
    let error = bad.clone().into_string().expect_err("no text");
    assert_eq!(
        (error.utf8_error().valid_up_to(), error.into_cstring()),
        (1, bad)
    );
    assert_eq!(CString::from(c"x").into_string().as_deref(), Ok("x"));
}

fn into_raw_and_back() {
    let at = CString::new("raw").expect("no zero").into_raw();
    // SAFETY: it is a text that was just made, of more than no bytes.
    unsafe { at.write(b'R' as _) };
    // SAFETY: it came from `into_raw`.
    let back = unsafe { CString::from_raw(at) };
    assert_eq!(&*back, c"Raw");
}

fn compares() {
    assert!(c"a" < c"b" && c"a" < c"aa" && c"\xff" > c"a");
    assert_eq!(format!("{:?}", c"a\"\n\xff"), r#""a\"\n\xff""#);
}

fn borrowed_and_owned() {
    let owned: CString = c"abc".into();
    let borrowed: &CStr = owned.as_ref();
    assert_eq!(
        (borrowed.to_owned(), CString::default().to_bytes().len()),
        (owned.clone(), 0)
    );
}

fn literals() {
    assert_eq!(
        (c"ab".count_bytes(), c"\u{e9}".to_bytes()),
        (2, "é".as_bytes())
    );
}

fn c_str_of_the_library() {
    unsafe extern "C" {
        fn strlen(text: *const std::ffi::c_char) -> usize;
        fn abs(number: std::ffi::c_int) -> std::ffi::c_int;
    }
    // SAFETY: it is a text.
    assert_eq!(unsafe { strlen(c"four".as_ptr()) }, 4);
    // SAFETY: it takes any number.
    assert_eq!(unsafe { abs(-7) }, 7);
}

fn boxed() {
    let boxed = CString::from(c"b").into_boxed_c_str();
    assert_eq!(boxed.into_c_string().as_bytes(), b"b");
}

fn os_strings_take_any_bytes() {
    let any = OsString::from_vec((0..=255).collect());
    assert_eq!(
        (any.len(), any.as_bytes()[255], any.to_str()),
        (256, 255, None)
    );
    assert_eq!(OsStr::from_bytes(b"ab").as_bytes(), b"ab");
}

fn os_strings_to_text() {
    assert_eq!(
        (OsString::from("é").into_string(), OsStr::new("x").to_str()),
        (Ok("é".into()), Some("x"))
    );
    let bad = OsString::from_vec(vec![0xff]);
    assert_eq!(bad.clone().into_string(), Err(bad));
}

fn os_string_push() {
    let mut name = OsString::with_capacity(10);
    name.push("a");
    name.push(OsStr::from_bytes(b"\xff"));
    assert_eq!(
        (name.as_bytes(), name.capacity() >= 10),
        (&b"a\xff"[..], true)
    );
    name.clear();
    assert!(name.is_empty());
}

fn os_display() {
    assert_eq!(
        (
            OsStr::from_bytes(b"a\xffb").display().to_string(),
            format!("{:?}", OsStr::new("q\""))
        ),
        ("a\u{fffd}b".into(), r#""q\"""#.into())
    );
}

fn lossy_os() {
    assert!(matches!(
        OsStr::new("good").to_string_lossy(),
        std::borrow::Cow::Borrowed("good")
    ));
    assert_eq!(OsStr::from_bytes(b"\xc3").to_string_lossy(), "\u{fffd}");
}

fn os_case() {
    let mut name = OsString::from("aÉ");
    name.make_ascii_uppercase();
    assert!(name == "AÉ" && name.eq_ignore_ascii_case("aÉ") && name.to_ascii_lowercase() == "aÉ");
}

fn os_compare() {
    assert!(OsStr::new("a") < OsStr::new("b") && OsString::from("a") == *"a");
}

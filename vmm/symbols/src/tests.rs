use std::fs::File;

use super::{
    tables::{Data, Tables},
    *,
};

/// Functions of `f` are the author's.
fn check(functions: &[&str], innermost: Innermost, short: &[&str]) {
    let frame = |function: &&str| Frame {
        address: 0,
        function: Some(function.to_string()),
        file: None,
        line: None,
        foreign: !function.starts_with("f::"),
    };
    let frames: Vec<_> = functions.iter().map(frame).collect();
    let short_frames = shorten(&frames, innermost).iter();
    let names: Vec<_> = short_frames
        .filter_map(|frame| frame.function.as_deref())
        .collect();
    assert_eq!(names, short);
}

#[test]
fn a_backtrace_shows_what_is_the_authors() {
    let panic = [
        "jiffy_rt::panic",
        "core::panicking::panic_fmt",
        "f::a",
        "core::ops::call",
        "f::b",
        "jiffy::dispatch",
        "f::__jiffy_function",
        "__jiffy_main",
    ];
    check(&panic, Innermost::Return, &panic[2..5]);
    check(&panic, Innermost::Instruction, &panic[..5]);
    check(&panic[..2], Innermost::Return, &panic[..2]);
    check(&panic[6..], Innermost::Return, &panic[6..]);
    check(&[], Innermost::Return, &[]);
}

#[test]
fn files_are_called_what_their_authors_call_them() {
    let check = |file, expected| assert_eq!(readable(file, "hello"), expected);
    check("/hello/src/lib.rs", "src/lib.rs");
    check(
        "/rustc/0123abc/library/core/src/num.rs",
        "rust/library/core/src/num.rs",
    );
    check(
        "/registry/index-1a/serde-1.0.0/src/lib.rs",
        "serde-1.0.0/src/lib.rs",
    );
    check("/jiffy/rt/src/lib.rs", "jiffy/rt/src/lib.rs");
    check("/workspace/other/src/lib.rs", "/workspace/other/src/lib.rs");
    check("src/lib.rs", "src/lib.rs");
    check("/", "/");
    check("", "");
}

#[test]
fn names_are_of_one_line_short_and_steer_nothing() {
    let name = "a\x1b[2J\u{9b}31m\u{202e}b\nfault: fake\u{200b}\u{7f}";
    assert_eq!(printable(name), "a?[2J?31m?b?fault: fake??");
    assert_eq!(printable("größer::größe"), "größer::größe");
    let long = "é".repeat(16 << 20);
    let shown = printable(&long);
    assert_eq!(shown.chars().count(), NAME_CHARS_MAX + 1);
    assert!(shown.ends_with('…'));
    assert_eq!(printable(&"x".repeat(NAME_CHARS_MAX)).len(), NAME_CHARS_MAX);
    assert_eq!(readable("/hello/src\n/lib.rs", "hello"), "src?/lib.rs");
}

/// Line 0 says that code belongs to no line, and so does a frame.
#[test]
fn a_line_that_is_not_known_is_not_shown() {
    let frame = |file: Option<&str>, line| Frame {
        function: Some("f::g".into()),
        file: file.map(str::to_owned),
        line,
        ..Frame::unknown(0x10_1000)
    };
    let check = |file, line, text| assert_eq!(frame(file, line).to_string(), text);
    check(Some("src/lib.rs"), Some(3), "f::g (src/lib.rs:3)");
    check(Some("src/lib.rs"), None, "f::g (src/lib.rs)");
    check(None, None, "f::g");
    assert_eq!(Frame::unknown(0x10_1000).to_string(), "0x101000");
}

/// A unit of 32 bytes of code: the first 16 are of line 7, the others of line 0, as compilers have it of what they add.
#[test]
fn line_zero_of_debug_information_is_no_line() {
    const CODE: u64 = 0x10_1000;
    let with_length = |rest: Vec<u8>| {
        let bytes = u32::try_from(rest.len()).expect("small");
        [&bytes.to_le_bytes()[..], &rest].concat()
    };
    // A compile unit with name, lines, first address and size.
    let abbreviations = b"\x01\x11\x00\x03\x08\x10\x17\x11\x01\x12\x06\x00\x00\x00".to_vec();
    let mut unit = b"\x04\x00\0\0\0\0\x08\x01src/lib.rs\0\0\0\0\0".to_vec();
    unit.extend(CODE.to_le_bytes());
    unit.extend(32_u32.to_le_bytes());
    let mut header = b"\x01\x01\x01\xfb\x0e\x0d\0\x01\x01\x01\x01\0\0\0\x01\0\0\x01".to_vec();
    header.extend(b"\0src/lib.rs\0\0\0\0\0");
    let mut lines = [&b"\x04\x00"[..], &with_length(header)].concat();
    lines.extend(b"\x00\x09\x02");
    lines.extend(CODE.to_le_bytes());
    // Six lines on, a row; 16 bytes and seven lines back, a row; 16 bytes on, the end.
    lines.extend(b"\x03\x06\x01\x02\x10\x03\x79\x01\x02\x10\x00\x01\x01");
    let data = Data::of_debug([
        (".debug_abbrev", abbreviations),
        (".debug_info", with_length(unit)),
        (".debug_line", with_length(lines)),
    ]);
    let tables = Tables::of_symbols(&data, "").with_debug(&data);
    let frame = |address| tables.frames(address, address).remove(0);
    let known = frame(CODE + 8);
    assert_eq!(known.line, Some(7), "{known}");
    let unknown = frame(CODE + 24);
    assert_eq!(unknown.file.as_deref(), Some("src/lib.rs"));
    assert_eq!(unknown.line, None);
    let text = unknown.to_string();
    assert!(
        text.contains("src/lib.rs") && !text.contains(":0"),
        "{text}"
    );
}

#[test]
fn without_symbols_addresses_stay() {
    let data = Data::default();
    let tables = Tables::of_symbols(&data, "").with_debug(&data);
    assert!(tables.is_empty());
    assert_eq!(
        tables.frames(0x20_0000, 0x1f_ffff),
        [Frame::unknown(0x20_0000)]
    );
}

/// This test's own program has symbols and lines, and is no image: it is made to look like one.
#[test]
fn a_function_of_this_program_is_found() {
    let path = std::env::current_exe().expect("a program");
    let mut bytes = std::fs::read(path).expect("read");
    bytes[16] = 2; // An executable at fixed addresses.
    let headers = usize::from(u16::from_le_bytes([bytes[56], bytes[57]]));
    for header in bytes[64..64 + headers * 56].as_chunks_mut::<56>().0 {
        header[..4].copy_from_slice(&0_u32.to_le_bytes()); // Nothing to load, nothing dynamic.
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("program");
    std::fs::write(&path, bytes).expect("written");
    let file = File::open(path).expect("open");
    let data = Data::read(&file, u64::MAX);
    let tables = Tables::of_symbols(&data, "");
    let name = "jiffy_symbols::vector_name";
    let mut functions = tables.functions();
    let (address, _) = functions
        .find(|(_, function)| function == name)
        .expect("in the table");
    drop(functions);
    let by_symbol = tables.frames(address, address);
    assert_eq!(by_symbol[0].function.as_deref(), Some(name));
    assert_eq!(by_symbol[0].file, None);
    let frames = tables.with_debug(&data).frames(address, address);
    let outermost = frames.last().expect("a frame");
    assert_eq!(outermost.function.as_deref(), Some(name));
    let file = outermost.file.as_deref().expect("a file");
    assert!(
        file.ends_with("lib.rs") && outermost.line.is_some(),
        "{file}"
    );
    // With less room there is less of it.
    let data = Data::read(&file_of(&folder), 100);
    assert!(Tables::of_symbols(&data, "").with_debug(&data).is_empty());
}

fn file_of(folder: &tempfile::TempDir) -> File {
    File::open(folder.path().join("program")).expect("open")
}

#[test]
fn vectors_have_names() {
    assert_eq!(vector_name(14), "page fault");
    assert_eq!(vector_name(255), "reserved vector");
}

//! Debug information of a stranger: nested beyond any stack, endless names, a million units, names that steer a terminal.
//! Whatever it is, a fault is told in time.

use std::{
    fs,
    time::{Duration, Instant},
};

use jiffy_abi::{layout::IMAGE, note::Note};
use jiffy_tests::{jiffy, require_kvm};

/// `push rbp; mov rbp, rsp; call` the next instruction; the same again; `ud2`.
const TEXT: [u8; 15] = [
    0x55, 0x48, 0x89, 0xe5, 0xe8, 0, 0, 0, 0, 0x55, 0x48, 0x89, 0xe5, 0x0f, 0x0b,
];
/// Exit code for a fault.
const BROKE: i32 = 5;
/// For reading what is hostile: less than a second of CPU by far, beside other load.
const TIME_MAX: Duration = Duration::from_secs(20);
const NAME_BYTES: usize = 16 << 20;

// Abbreviations: a unit, a function, an inlined one, a block. All have a range, the first two a name.
const UNIT: u8 = 1;
const FUNCTION: u8 = 2;
const INLINED: u8 = 3;
const ABBREVIATIONS: &[u8] = &[
    1, 0x11, 1, 0x11, 1, 0x12, 7, 3, 8, 0, 0, //
    2, 0x2e, 1, 0x11, 1, 0x12, 7, 3, 8, 0, 0, //
    3, 0x1d, 1, 0x11, 1, 0x12, 7, 0x31, 0x13, 0, 0, 0,
];

/// An entry that covers all of the text; its children follow, and a zero.
fn entry(kind: u8, name: &[u8]) -> Vec<u8> {
    let range = [IMAGE.to_le_bytes(), (TEXT.len() as u64).to_le_bytes()];
    let name = if kind == INLINED {
        11_u32.to_le_bytes().to_vec() // The unit's first entry, which has a name.
    } else {
        [name, b"\0"].concat()
    };
    [&[kind], range.concat().as_slice(), &name].concat()
}

fn unit(entries: &[u8]) -> Vec<u8> {
    let head = [4, 0, 0, 0, 0, 0, 8]; // Version, abbreviations, size of an address.
    let bytes = u32::try_from(head.len() + entries.len()).expect("less than 4 GiB");
    [&bytes.to_le_bytes(), head.as_slice(), entries].concat()
}

/// A unit of one function with this name.
fn named(unit_name: &[u8], function: &[u8]) -> Vec<u8> {
    unit(
        &[
            entry(UNIT, unit_name),
            entry(FUNCTION, function),
            vec![0, 0],
        ]
        .concat(),
    )
}

/// Functions that are inlined into each other.
fn nested(depth: usize) -> Vec<u8> {
    let inlined = entry(INLINED, b"").repeat(depth);
    let ends = vec![0; depth + 2];
    unit(&[entry(UNIT, b"u"), entry(FUNCTION, b"f"), inlined, ends].concat())
}

/// An image that breaks at once, with this debug information and a symbol for all of its text.
fn image(debug_info: &[u8]) -> Vec<u8> {
    let note = Note::new(0, "0.1.0", "hostile", "1.0.0").to_bytes();
    let note_bytes = note.len() as u64;
    let mut file = vec![0; 64];
    let note_at = 64 + 2 * 56;
    let mut header = |kind: u32, flags: u32, numbers: [u64; 6]| {
        file.extend([kind, flags].map(u32::to_le_bytes).concat());
        file.extend(numbers.map(u64::to_le_bytes).concat());
    };
    let text_at = note_at + note_bytes;
    let text_bytes = TEXT.len() as u64;
    header(1, 5, [text_at, IMAGE, IMAGE, text_bytes, text_bytes, 1]);
    header(4, 4, [note_at, 0, 0, note_bytes, note_bytes, 4]);
    file.extend(note);
    file.extend(TEXT);

    let names = b"\0.debug_abbrev\0.debug_info\0.symtab\0.names\0known\0";
    let name = |of: &str| {
        let found = names
            .windows(of.len())
            .position(|part| part == of.as_bytes());
        u32::try_from(found.expect("a name")).expect("small")
    };
    let mut symbol = name("known").to_le_bytes().to_vec();
    symbol.extend([2, 0, 1, 0]); // A function, in some section.
    symbol.extend([IMAGE, text_bytes].map(u64::to_le_bytes).concat());
    let sections: [(&str, &[u8]); 4] = [
        (".debug_abbrev", ABBREVIATIONS),
        (".debug_info", debug_info),
        (".symtab", &symbol),
        (".names", names),
    ];
    let mut table = vec![0; 64];
    for (title, bytes) in sections {
        table.extend([name(title), 1].map(u32::to_le_bytes).concat());
        let (at, len) = (file.len() as u64, bytes.len() as u64);
        table.extend([0, 0, at, len].map(u64::to_le_bytes).concat());
        table.extend([4, 0].map(u32::to_le_bytes).concat()); // Names are in the fourth section.
        table.extend([1, 0].map(u64::to_le_bytes).concat());
        file.extend(bytes);
    }
    let sections_at = file.len() as u64;
    file.extend(table);
    let mut head = b"\x7fELF\x02\x01\x01".to_vec();
    head.resize(16, 0);
    head.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    head.extend([IMAGE, 64, sections_at].map(u64::to_le_bytes).concat());
    head.extend([0; 4]);
    head.extend([64_u16, 56, 2, 64, 5, 4].map(u16::to_le_bytes).concat());
    file[..64].copy_from_slice(&head);
    file
}

/// The debug information, and what a frame says in spite of it.
fn cases() -> [(&'static str, Vec<u8>, &'static str); 6] {
    let long = |letter: u8| vec![letter; NAME_BYTES];
    [
        ("good", nested(2), "by known"),
        ("nested", nested(1_000_000), "at known"),
        ("names", named(&long(b'A'), &long(b'B')), "at known"),
        ("units", named(b"u", b"f").repeat(1_000_000), "at known"),
        (
            "terminal",
            // The symbol's name stands for the outermost function, so it is the inlined one that has this.
            unit(
                &[
                    entry(
                        UNIT,
                        b"\x1b[2J\x1b]0;x\x07\xc2\x9b31m\xe2\x80\xae evil\nfault: fake",
                    ),
                    entry(FUNCTION, b"f"),
                    entry(INLINED, b""),
                    vec![0, 0, 0],
                ]
                .concat(),
            ),
            "evil?fault: fake",
        ),
        ("nothing", vec![0xff; 1000], "at known"),
    ]
}

#[test]
fn hostile_debug_information_costs_nobody_much() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("image.elf");
    for (name, debug_info, expected) in cases() {
        fs::write(&path, image(&debug_info)).expect("an image");
        // It is built the first time.
        let mut run = jiffy();
        let began = Instant::now();
        let output = run.arg("run").arg(&path).output().expect("a program");
        let took = began.elapsed();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(BROKE), "{name}: {said}");
        assert!(
            said.contains(expected) && said.len() < 4096,
            "{name}: {said}"
        );
        assert!(took < TIME_MAX, "{name}: {took:?}");
        assert!(
            !said.contains(['\x1b', '\u{9b}', '\u{202e}']),
            "{name}: {said:?}"
        );
        assert_eq!(said.matches("\nfault").count(), 0, "{name}: {said}");
    }
}

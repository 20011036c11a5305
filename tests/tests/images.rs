//! Files that are no images, or no longer: the VMM, `jiffy run` and `jiffy inspect` each refuse them
//! with one sentence and an exit code, and never panic.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
    time::{Duration, Instant},
};

use jiffy_abi::layout::{IMAGE, RAM_BYTES_MAX};
use jiffy_tests::{image, is_slow_host, jiffy, require_kvm, script::next_random, vmm_path};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

const ANSWERED: i32 = 0;
const REFUSED: i32 = 8;
const EVENT: [&str; 2] = ["--event", r#"{"name":"Ada"}"#];

// Offsets in the ELF header and in a program header (System V ABI, chapters 4 and 5).
const TYPE: usize = 16;
const MACHINE: usize = 18;
const ENTRY: usize = 24;
const HEADERS_AT: usize = 32;
const HEADERS: usize = 56;
const KIND: usize = 0;
const FLAGS: usize = 4;
const OFFSET: usize = 8;
const ADDRESS: usize = 16;
const PHYSICAL: usize = 24;
const FILE_BYTES: usize = 32;
const MEMORY_BYTES: usize = 40;
const HEADER_BYTES: usize = 56;
// Numbers of the program headers, as the linker script has them.
const HOT: usize = 0;
const TEXT: usize = 1;
const RODATA: usize = 2;
const DATA: usize = 3;
const NOTE: usize = 4;

/// A good image, to be made bad.
#[derive(Clone)]
struct Elf(Vec<u8>);

impl Elf {
    fn good() -> Self {
        Self(fs::read(image("hello")).expect("an image"))
    }

    fn number(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.0[at..at + 8].try_into().expect("8 bytes"))
    }

    fn put(mut self, at: usize, bytes: &[u8]) -> Self {
        self.0[at..at + bytes.len()].copy_from_slice(bytes);
        self
    }

    /// Where program header number `number` has this field.
    fn field(&self, number: usize, field: usize) -> usize {
        let headers = usize::try_from(self.number(HEADERS_AT)).expect("small");
        headers + number * HEADER_BYTES + field
    }

    /// Changes a field of a program header.
    fn header(self, number: usize, field: usize, bytes: &[u8]) -> Self {
        let at = self.field(number, field);
        self.put(at, bytes)
    }

    /// Where the note's descriptor is: behind three sizes and the padded name.
    fn note(&self) -> usize {
        let note = self.number(self.field(NOTE, OFFSET));
        usize::try_from(note).expect("small") + 12 + 8
    }
}

/// Runs `command` with the file and looks at how it refuses: with this code and one line.
fn refuse(mut command: Command, name: &str, codes: &[i32]) -> Output {
    let output = command.output().expect("a program");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code();
    assert!(
        code.is_some_and(|code| codes.contains(&code)),
        "{name}: {command:?}: {code:?} {said}"
    );
    assert!(!said.contains("panicked"), "{name}: {said}");
    if code == Some(REFUSED) {
        assert_eq!(
            said.trim_end().lines().count(),
            1,
            "{name}: not one line: {said}"
        );
        assert!(
            said.len() > 20 && output.stdout.is_empty(),
            "{name}: {said}"
        );
    }
    output
}

/// Gives a file to everything that takes images. `codes` are those of running it.
fn check(folder: &TempDir, name: &str, bytes: &[u8], codes: &[i32]) -> String {
    let path = folder.path().join("image.elf");
    fs::write(&path, bytes).expect("a file");
    check_path(&path, name, codes)
}

fn check_path(path: &Path, name: &str, codes: &[i32]) -> String {
    let mut vmm = Command::new(vmm_path());
    vmm.arg(path).args(EVENT);
    let mut run = jiffy();
    run.arg("run").arg(path).args(EVENT);
    let mut inspect = jiffy();
    inspect.arg("inspect").arg(path).args(["-o", "json"]);
    refuse(run, name, codes);
    let looked_at = refuse(inspect, name, &[ANSWERED, REFUSED]);
    let output = refuse(vmm, name, codes);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // What needs another VM, or one of another release, may well be looked at; the rest is refused in the same words.
    let (_, words) = said.trim().split_once("jiffy-vmm: ").unwrap_or_default();
    let (_, words) = words
        .split_once(&path.display().to_string())
        .unwrap_or(("", words));
    let is_refused = output.status.code() == Some(REFUSED);
    let may_be_looked_at = said.contains("--memory") || said.contains("ABI version");
    if is_refused && !may_be_looked_at {
        let looked_at = String::from_utf8_lossy(&looked_at.stderr);
        assert!(looked_at.contains(words), "{name}: {said} {looked_at}");
    } else {
        assert_eq!(looked_at.status.code(), Some(ANSWERED), "{name}");
    }
    said
}

#[test]
fn a_damaged_image_is_refused_with_what_is_wrong() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = Elf::good();
    check(&folder, "good", &good.0, &[ANSWERED]);

    let check = |name: &str, Elf(bytes): Elf, says: &str| {
        let said = check(&folder, name, &bytes, &[REFUSED]);
        assert!(said.contains(says), "{name}: {said}");
    };
    let elf = || good.clone();
    let address = |number: u64| number.to_le_bytes();
    check("magic", elf().put(0, b"\x7fELG"), "not an ELF");
    check("32 bits", elf().put(4, &[1]), "");
    check("big-endian", elf().put(5, &[2]), "");
    check("machine", elf().put(MACHINE, &[0xb7, 0]), "machine 183");
    check(
        "position-independent",
        elf().put(TYPE, &[3, 0]),
        "position-independent",
    );
    check("relocatable", elf().put(TYPE, &[1, 0]), "type 1");
    check("core dump", elf().put(TYPE, &[4, 0]), "type 4");
    check("dynamic", elf().header(NOTE, KIND, &[2]), "dynamic");
    check("interpreter", elf().header(NOTE, KIND, &[3]), "dynamic");
    check(
        "thread-locals in no segment",
        elf().header(HOT, KIND, &[7]),
        "thread-locals at 0x101000",
    );
    check("no note", elf().header(NOTE, KIND, &[0]), "no jiffy note");
    let note_at = good.note();
    check(
        "another's note",
        elf().put(note_at - 8, b"gnufy\0"),
        "no jiffy note",
    );
    check("ABI", elf().put(note_at, &[9, 0, 0, 0]), "ABI version 9");
    check("note's text", elf().put(note_at + 8, &[0xff]), "damaged");
    check(
        "note's length",
        elf().header(NOTE, FILE_BYTES, &address(30)),
        "",
    );
    check(
        "note beyond the file",
        elf().header(NOTE, OFFSET, &address(1 << 40)),
        "",
    );
    check(
        "entry in data",
        elf().put(ENTRY, &address(good.number(good.field(DATA, ADDRESS)))),
        "entry",
    );
    check(
        "entry nowhere",
        elf().put(ENTRY, &address(u64::MAX)),
        "entry",
    );
    check("entry at zero", elf().put(ENTRY, &address(0)), "entry");
    check("no headers", elf().put(HEADERS, &[0, 0]), "");
    check("many headers", elf().put(HEADERS, &[17, 0]), "");
    check("65,535 headers", elf().put(HEADERS, &[0xff, 0xff]), "");
    check(
        "headers beyond the file",
        elf().put(HEADERS_AT, &address(u64::MAX - 8)),
        "",
    );
    check(
        "writable text",
        elf().header(TEXT, FLAGS, &[7]),
        "writable and executable",
    );
    check(
        "executable data",
        elf().header(DATA, FLAGS, &[7]),
        "writable and executable",
    );
    check(
        "unreadable",
        elf().header(RODATA, FLAGS, &[0]),
        "cannot be read",
    );
    check("text is no text", elf().header(TEXT, FLAGS, &[4]), "entry");
    check(
        "only executable",
        elf().header(TEXT, FLAGS, &[1]),
        "cannot be read",
    );
    check(
        "only writable",
        elf().header(DATA, FLAGS, &[2]),
        "cannot be read",
    );
    check(
        "entry in zeros",
        elf().header(TEXT, MEMORY_BYTES, &address(1 << 30)).put(
            ENTRY,
            &address(good.number(good.field(TEXT, ADDRESS)) + (1 << 29)),
        ),
        "",
    );
    let text = good.number(good.field(TEXT, ADDRESS));
    let both = |elf: Elf, number, at| {
        elf.header(number, ADDRESS, &address(at))
            .header(number, PHYSICAL, &address(at))
    };
    check("overlap", both(elf(), RODATA, text), "overlap");
    check("one page for two", both(elf(), RODATA, text + 1), "");
    check(
        "over the stack",
        both(elf(), DATA, IMAGE - 4096),
        "does not fit",
    );
    check("at zero", both(elf(), DATA, 0), "does not fit");
    check(
        "over the system pages",
        both(elf(), DATA, 0x1000),
        "does not fit",
    );
    check(
        "over the devices",
        both(elf(), DATA, 0xd000_0000),
        "does not fit",
    );
    check(
        "at the end of addresses",
        both(elf(), DATA, !0xfff),
        "does not fit",
    );
    check(
        "elsewhere in memory",
        elf().header(RODATA, PHYSICAL, &address(0x40_0000)),
        "does not fit",
    );
    check("not aligned", both(elf(), DATA, 0x80_0010), "does not fit");
    for huge in [RAM_BYTES_MAX, 1 << 40, u64::MAX, u64::MAX - IMAGE] {
        check(
            "huge",
            elf().header(DATA, MEMORY_BYTES, &address(huge)),
            "does not fit",
        );
    }
    check(
        "too large for the VM",
        elf().header(DATA, MEMORY_BYTES, &address(1 << 30)),
        "--memory",
    );
    check(
        "file bytes",
        elf().header(RODATA, FILE_BYTES, &address(1 << 40)),
        "truncated",
    );
    check(
        "more in the file",
        elf().header(DATA, MEMORY_BYTES, &address(1)),
        "",
    );
    check(
        "offset",
        elf().header(TEXT, OFFSET, &address(u64::MAX)),
        "truncated",
    );
    let no_segments = elf()
        .header(HOT, KIND, &[0])
        .header(TEXT, KIND, &[0])
        .header(RODATA, KIND, &[0])
        .header(DATA, KIND, &[0]);
    check("no segments", no_segments, "no segment");
}

#[test]
fn a_truncated_image_is_refused_wherever_it_was_cut() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = Elf::good();
    let needed = (HOT..=NOTE).map(|number| {
        good.number(good.field(number, OFFSET)) + good.number(good.field(number, FILE_BYTES))
    });
    let needed = usize::try_from(needed.max().expect("headers")).expect("small");
    let cuts = [
        0, 1, 3, 4, 15, 16, 63, 64, 65, 119, 120, 343, 344, 345, 4095, 4096, 4097,
    ];
    let steps = (0..needed).step_by(9973).chain([needed - 1]);
    for end in cuts.into_iter().chain(steps) {
        check(
            &folder,
            &format!("cut at {end}"),
            &good.0[..end],
            &[REFUSED],
        );
    }
    // What comes behind is for people: the VMM runs an image without it, the tools may miss it.
    for end in [needed, good.0.len() - 100] {
        let name = format!("cut behind, at {end}");
        let said = check(&folder, &name, &good.0[..end], &[ANSWERED, REFUSED]);
        assert_eq!(said, "", "{name}");
    }
}

#[test]
fn a_file_that_is_something_else_is_refused() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    check(&folder, "text", b"#!/bin/sh\necho hello\n", &[REFUSED]);
    check(&folder, "zeros", &[0; 70_000], &[REFUSED]);
    let program = fs::read(std::env::current_exe().expect("this program")).expect("a program");
    check(
        &folder,
        "a program of this host",
        &program[..program.len().min(4 << 20)],
        &[REFUSED],
    );
    // Too large to be read, and nothing of it is on the disk.
    let path = folder.path().join("large.elf");
    let large = fs::File::create(&path).expect("a file");
    large.set_len(300 << 20).expect("a length");
    check_path(&path, "300 MiB of zeros", &[REFUSED]);
    for (name, path) in [("missing", "missing.elf"), ("a folder", ".")] {
        let mut vmm = Command::new(vmm_path());
        vmm.arg(folder.path().join(path)).args(EVENT);
        refuse(vmm, name, &[REFUSED]);
        let mut inspect = jiffy();
        inspect.arg("inspect").arg(folder.path().join(path));
        refuse(inspect, name, &[REFUSED]);
    }
}

/// Each of these was waited for, or read for ever, or held in memory.
#[test]
fn what_is_no_file_is_refused_at_once() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let pipe = folder.path().join("pipe");
    let mode = Mode::RUSR | Mode::WUSR;
    mknodat(CWD, &pipe, FileType::Fifo, mode, 0).expect("a pipe");
    let sparse = folder.path().join("sparse");
    let file = fs::File::create(&sparse).expect("a file");
    file.set_len(5 << 30).expect("a length");
    let hello = image("hello");
    let began = Instant::now();
    for path in [&pipe, Path::new("/dev/zero"), &sparse, folder.path()] {
        let name = path.display().to_string();
        let mut inspect = jiffy();
        inspect.arg("inspect").arg(path);
        refuse(inspect, &name, &[REFUSED]);
        let mut vmm = Command::new(vmm_path());
        vmm.arg(path).args(EVENT);
        refuse(vmm, &name, &[REFUSED]);
        let mut run = jiffy();
        run.arg("run").arg(&hello).arg("--event-file").arg(path);
        refuse(run, &name, &[2]);
        let mut vmm = Command::new(vmm_path());
        vmm.arg(&hello).arg("--event-file").arg(path);
        refuse(vmm, &name, &[2]);
        let mut invoke = jiffy();
        invoke.args(["ls", "--token-file"]).arg(path);
        refuse(invoke, &name, &[2]);
    }
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn an_image_with_bits_flipped_comes_to_a_typed_end() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let good = Elf::good();
    let headers = good.field(NOTE + 1, 0);
    let note_at = good.note();
    let mut state = 11;
    let rounds = if is_slow_host() { 15 } else { 150 };
    for round in 0..rounds {
        let mut elf = good.clone();
        for _ in 0..1 + round % 3 {
            state = next_random(state);
            let bit = usize::try_from(state >> 33).expect("31 bits");
            // Headers mostly, the note sometimes.
            let (start, len) = if bit.is_multiple_of(5) {
                (note_at - 20, 156)
            } else {
                (0, headers)
            };
            elf.0[start + bit / 8 % len] ^= 1 << (bit % 8);
        }
        // It may still run, and may still do so wrongly; then its fault has more lines to tell.
        let path = folder.path().join("image.elf");
        fs::write(&path, &elf.0).expect("a file");
        let mut vmm = Command::new(vmm_path());
        vmm.arg(&path).args(EVENT).args(["--timeout-ms", "500"]);
        let output = vmm.output().expect("a program");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let typed = matches!(output.status.code(), Some(0 | 3..=8));
        assert!(
            typed && !said.contains("panicked"),
            "round {round}: {:?} {said}",
            output.status
        );
        let mut inspect = jiffy();
        inspect.arg("inspect").arg(&path);
        refuse(inspect, &format!("round {round}"), &[ANSWERED, REFUSED]);
    }
}

#[test]
fn too_little_memory_is_refused_with_how_much_it_takes() {
    if !require_kvm() {
        return;
    }
    let hello = image("hello");
    for (ram, codes) in [
        ("0", [REFUSED]),
        ("4096", [REFUSED]),
        ("4194303", [REFUSED]),
        ("16777217", [REFUSED]),
        ("3221225473", [REFUSED]),
        ("18446744073709551615", [REFUSED]),
        ("16777216", [ANSWERED]),
    ] {
        let mut vmm = Command::new(vmm_path());
        vmm.arg(&hello).args(["--memory", ram]).args(EVENT);
        refuse(vmm, ram, &codes);
    }
    let mut vmm = Command::new(vmm_path());
    let large = Elf::good().header(DATA, MEMORY_BYTES, &(20_u64 << 20).to_le_bytes());
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("image.elf");
    fs::write(&path, &large.0).expect("a file");
    vmm.arg(&path).args(EVENT);
    let output = refuse(vmm, "20 MiB of data", &[REFUSED]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("needs at least") && said.contains("--memory"),
        "{said}"
    );
}

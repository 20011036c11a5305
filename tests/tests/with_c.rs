//! Functions in C, and in Rust with crates that compile C: what they compute, how they end, what is told, and that the host makes
//! the same of it.

mod common;

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use common::{Guest, Restored};
use jiffy_abi::{frame::ResponseKind, log_ring::Level};
use jiffy_control::VmEnd;
use jiffy_tests::{
    CrateFolder, check, image, jiffy, require_kvm, skip,
    vm::{Vm, event},
    workspace_root,
};
use jiffy_vmm::run::Isolation;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Asks a function in C, which answers as over HTTP.
#[track_caller]
fn ask(vm: &mut Restored, deed: &str) -> String {
    let response = vm.try_ask(deed.as_bytes());
    let response = response.unwrap_or_else(|end| panic!("the VM ended: {end:?}"));
    let said = text(&response.body);
    assert_eq!(response.kind, ResponseKind::Http, "{said}");
    said
}

/// Runs a command that has to end with this code and without a panic of ours.
#[track_caller]
fn code(command: &mut Command, code: i32) -> Output {
    let output = command.output().expect("a program");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    output
}

#[test]
fn the_library_does_what_man_pages_say() {
    if !require_kvm() {
        return;
    }
    let snapshot = Guest::of("in-c").snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    for (deed, expected) in [
        (
            "print",
            "   42|ab   |002.2|ff|c|%|1.234e+03|0.0001|0x1p+0\n-1 4 44 (null) xy    7\n\
             1 2 3 4 5 6 7 8 1.5 2.5 3.5 4.5 5.5 6.5 7.5 8.5 9.5 10.5 11.5\nlon 6\n",
        ),
        ("read", "4 12 34 2500 end 1 1 3\n"),
        (
            "compute",
            "0 1 2 3 4 5 6 7 8 9 10 11 8\n7 0.75 6 -0.75 -3 2 1.41421356237 1.5 1\n",
        ),
        (
            "texts",
            "[one][two][three] COPIED stack 0 1 invalid argument .\nTuesday 14 November 2023 22:13:20 UTC 1\n",
        ),
        ("request", "POST /  7 1"),
        (
            "files",
            "first line\n11 s 12 Second 1\n1 + 7 = 3\n0 1 1 1\n",
        ),
        ("threads", "1000 1005 1"),
        ("state", "42 1 0"),
        ("state", "42 1 0"),
    ] {
        assert_eq!(ask(&mut vm, deed), expected, "{deed}");
    }
    let mut vm = snapshot.restore(Isolation::Reuse);
    assert_eq!(ask(&mut vm, "state"), "42 1 0");
    assert_eq!(ask(&mut vm, "state"), "42 2 0");
}

/// As of functions in Rust: nothing of a request is left, and each draws randomness of its own.
#[test]
fn no_byte_of_a_request_survives_it_and_randomness_is_its_own() {
    if !require_kvm() {
        return;
    }
    let snapshot = Guest::of("in-c").snapshot();
    let places = [
        "heap",
        "static",
        "thread-local",
        "file",
        "environment",
        "stack",
    ];
    common::scatters(&snapshot, "canary-90d47ce1a2", &places);
    let mut drawn = HashSet::new();
    for _ in 0..2 {
        let mut vm = snapshot.restore(Isolation::Fresh);
        for _ in 0..10 {
            assert!(drawn.insert(ask(&mut vm, "random")), "drawn twice");
        }
    }
}

#[test]
fn a_function_in_c_that_spins_is_ended_at_its_deadline() {
    if !require_kvm() {
        return;
    }
    let limit = Duration::from_millis(200);
    let ending = Vm::start(&image("in-c"), None, limit).ending(&event("spin"));
    let VmEnd::TimedOut {
        timeout_ms: 200, ..
    } = &ending.report.end
    else {
        panic!("{ending:?}");
    };
}

#[test]
fn what_c_prints_is_the_log() {
    if !require_kvm() {
        return;
    }
    let snapshot = Guest::of("in-c").snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    for _ in 0..2 {
        ask(&mut vm, "logs");
        let records = vm.logs();
        let lines = records.iter().map(|record| (record.level(), &*record.text));
        assert_eq!(
            lines.collect::<Vec<_>>(),
            [
                (Level::Info, "a line"),
                (Level::Info, "half and half"),
                (Level::Warn, "an error: 7"),
                (Level::Error, "level error"),
                (Level::Info, "puts"),
                (Level::Info, "cnot ended"),
            ]
        );
    }
}

/// The line of `main.c` that has this text.
fn line_of(part: &str) -> String {
    let source = workspace_root().join("tests/guests/in-c/main.c");
    let source = fs::read_to_string(source).expect("the source");
    let line = source.lines().position(|line| line.contains(part));
    format!("main.c:{}", line.expect("the line") + 1)
}

#[test]
fn mistakes_of_c_are_told_with_file_and_line() {
    if !require_kvm() {
        return;
    }
    let image = image("in-c");
    let line = |part: &str| line_of(part);
    for (deed, exit, parts) in [
        (
            "null",
            5,
            vec!["page fault".into(), "fault".into(), line("*nowhere = 1;")],
        ),
        (
            "assert",
            4,
            vec![
                "assertion failed: request->size == 0, in jiffy_handle".into(),
                line("assert(request->size"),
            ],
        ),
        (
            "abort",
            4,
            vec![
                "abort after it wrote: this is why".into(),
                line("this is why"),
            ],
        ),
        (
            "memory",
            7,
            vec!["1048576.0 MiB".into(), line("            abort();")],
        ),
        (
            "must",
            7,
            vec!["12.1 KiB".into(), line("jiffy_out_of_memory(12345)")],
        ),
        ("stack", 5, vec!["stack overflow".into(), "recurse".into()]),
        (
            "smash",
            4,
            vec!["stack smashing detected".into(), "smash".into()],
        ),
        ("exit", 5, vec!["7".into()]),
        ("fail", 1, vec!["no such thing: 404".into()]),
        ("code", 1, vec!["jiffy_handle returned 3".into()]),
    ] {
        let mut command = jiffy();
        command.arg("run").arg(&image).args(["--event", deed]);
        let said = text(&code(&mut command, exit).stderr);
        for part in &parts {
            assert!(said.contains(&**part), "{deed}: {part}: {said}");
        }
    }
    let refuses = jiffy()
        .arg("run")
        .arg(&image)
        .args(["--event", "print", "--env", "REFUSE=1"])
        .output()
        .expect("a program");
    assert_eq!(refuses.status.code(), Some(1));
    let said = text(&refuses.stderr);
    assert!(said.contains("jiffy_init returned 1"), "{said}");
}

#[test]
fn a_function_in_c_answers_over_http_and_calls() {
    if !require_kvm() {
        return;
    }
    let function = workspace_root().join("tests/guests/in-c");
    let run = |arguments: &[&str]| {
        let mut command = jiffy();
        command.arg("run").arg(&function).args(arguments);
        text(&code(&mut command, 0).stdout)
    };
    assert_eq!(run(&["--event", "calls"]), "0 0 1 value 5 0 -1 1\n");
    let answer = run(&["--event", "nothing", "--http", "GET /a?b=c", "-o", "json"]);
    assert!(
        answer.contains("404") && answer.contains("x-deed"),
        "{answer}"
    );
}

#[test]
fn from_nothing_to_an_answer_in_c() {
    if !require_kvm() {
        return;
    }
    let folder = CrateFolder::new("sums");
    let function = folder.path();
    fs::remove_dir(function).expect("it is empty");
    let beside = function.parent().expect("a folder");
    check(
        jiffy()
            .args(["new", "sums", "--lang", "c"])
            .current_dir(beside),
    );
    let jiffy = || {
        let mut jiffy = jiffy();
        jiffy.env_remove("CARGO_TARGET_DIR").current_dir(function);
        jiffy
    };
    let run = || text(&code(jiffy().args(["run", "--event", "1 2 3.5"]), 0).stdout);
    code(jiffy().arg("build"), 0);
    assert_eq!(run(), r#"{"sum":6.5,"count":3}"#);
    let said = text(&code(jiffy().args(["run", "--event", "none"]), 1).stderr);
    assert!(said.contains("there are no numbers"), "{said}");

    // What changes is built again, be it a source, a header or a flag.
    let source = function.join("main.c");
    let good = fs::read_to_string(&source).expect("the source");
    let with_header = good.replace("{\\\"sum\\\"", "{\\\"\" NAME \"\\\"");
    assert_ne!(good, with_header);
    fs::write(&source, format!("#include \"name.h\"\n{with_header}")).expect("written");
    fs::write(function.join("name.h"), "#define NAME \"total\"\n").expect("written");
    assert_eq!(run(), r#"{"total":6.5,"count":3}"#);
    fs::write(function.join("name.h"), "#define NAME \"all\"\n").expect("written");
    assert_eq!(run(), r#"{"all":6.5,"count":3}"#);

    // What is wrong is told by the compiler, as it is, or in one sentence.
    fs::write(
        &source,
        format!("{good}\nint broken(void) {{ return nothing; }}\n"),
    )
    .expect("written");
    let said = text(&code(jiffy().arg("build"), 10).stderr);
    assert!(
        said.contains("nothing") && said.contains("main.c:"),
        "{said}"
    );
    fs::write(&source, "int nobody_calls_this;\n").expect("written");
    let said = text(&code(jiffy().arg("build"), 10).stderr);
    assert!(
        said.contains("int jiffy_handle(const jiffy_request *, jiffy_response *)"),
        "{said}"
    );
    fs::write(
        &source,
        format!(
            "{good}\nextern int forkpty(void);\nint jiffy_init(void) {{ return forkpty(); }}\n"
        ),
    )
    .expect("written");
    let said = text(&code(jiffy().arg("build"), 10).stderr);
    assert!(said.contains("calls what no image has: forkpty"), "{said}");
    let said = text(&code(jiffy().arg("build").env("CC", "/nonexistent/cc"), 10).stderr);
    assert!(said.contains("must be gcc or clang"), "{said}");
}

#[test]
fn from_nothing_to_an_answer_in_cxx() {
    if !require_kvm() {
        return;
    }
    if Command::new("c++").arg("--version").output().is_err() {
        skip("there is no C++ compiler: install g++");
        return;
    }
    let folder = CrateFolder::new("sums-cxx");
    let function = folder.path();
    fs::remove_dir(function).expect("it is empty");
    let beside = function.parent().expect("a folder");
    check(
        jiffy()
            .args(["new", "sums-cxx", "--lang", "c++"])
            .current_dir(beside),
    );
    let jiffy = || {
        let mut jiffy = jiffy();
        jiffy.env_remove("CARGO_TARGET_DIR").current_dir(function);
        jiffy
    };
    // Templates, new and delete, virtual methods, statics that are made when they are used, and before.
    let source = r#"
#include <jiffy.h>
#include <algorithm>
#include <memory>
#include <vector>

struct Shape {
    virtual double area() const = 0;
    virtual ~Shape() = default;
};
struct Square : Shape {
    double side;
    explicit Square(double side) : side(side) {}
    double area() const override { return side * side; }
};
static std::vector<int> *made_before = new std::vector<int>{1, 2, 3};

static int counted()
{
    static int count = made_before->size();
    return ++count;
}

extern "C" int jiffy_handle(const jiffy_request *request, jiffy_response *response)
{
    std::vector<std::unique_ptr<Shape>> shapes;
    for (size_t number = request->size; number > 0; number--)
        shapes.push_back(std::make_unique<Square>(number));
    std::sort(shapes.begin(), shapes.end(), [](auto &one, auto &other) { return one->area() < other->area(); });
    for (auto &shape : shapes)
        jiffy_printf(response, "%g ", shape->area());
    jiffy_printf(response, "%d", counted());
    if (request->size == 5)
        made_before->at(7) = 1;
    return 0;
}
"#;
    fs::write(function.join("main.cc"), source).expect("written");
    let answer = code(jiffy().args(["run", "--event", "four"]), 0).stdout;
    assert_eq!(text(&answer), "1 4 9 16 4");
    let said = text(&code(jiffy().args(["run", "--event", "fives"]), 4).stderr);
    assert!(said.contains("std::out_of_range"), "{said}");
    // C++ that is said to be C is not guessed at.
    let manifest = function.join("jiffy.toml");
    fs::write(
        &manifest,
        "name = \"sums-cxx\"\n[function]\nlang = \"c\"\nsources = [\"*.cc\"]\n",
    )
    .expect("written");
    let said = text(&code(jiffy().arg("build"), 10).stderr);
    assert!(said.contains("main.cc is C++"), "{said}");
}

/// Where cargo keeps the sources of a crate that `tests/guests` depends on.
fn source_of(name: &str) -> PathBuf {
    let manifest = workspace_root().join("tests/guests/Cargo.toml");
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(manifest)
        .exec()
        .expect("metadata");
    let package = metadata
        .packages
        .iter()
        .find(|package| package.name.as_str() == name);
    let manifest = &package.expect("the package").manifest_path;
    manifest.parent().expect("a folder").into()
}

/// The sources of zlib as they are, and a program that uses them, with files of its own headers.
#[test]
fn a_library_is_compiled_with_a_function() {
    if !require_kvm() {
        return;
    }
    let folder = CrateFolder::new("squeeze");
    let function = folder.path();
    let zlib = function.join("zlib");
    fs::create_dir(&zlib).expect("a folder");
    for entry in fs::read_dir(source_of("libz-sys").join("src/zlib")).expect("zlib") {
        let path = entry.expect("an entry").path();
        if path.extension().is_some_and(|end| end == "c" || end == "h") {
            fs::copy(&path, zlib.join(path.file_name().expect("a name"))).expect("copied");
        }
    }
    let manifest = "name = \"squeeze\"\n[function]\nlang = \"c\"\nsources = [\"*.c\", \"zlib/*.c\", \"!zlib/gz*.c\"]\n\
                    include = [\"zlib\"]\ncflags = [\"-w\"]\nlibs = [\"m\"]\n";
    fs::write(function.join("jiffy.toml"), manifest).expect("written");
    let source = r#"
#include <jiffy.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

int jiffy_handle(const jiffy_request *request, jiffy_response *response)
{
    uLongf packed_size = compressBound(request->size), size = request->size;
    Bytef *packed = malloc(packed_size), *back = malloc(size + 1);
    if (!packed || !back)
        jiffy_out_of_memory(packed_size);
    if (compress2(packed, &packed_size, (const Bytef *)request->body, request->size, 9) != Z_OK)
        return jiffy_fail(response, "compress2 failed");
    if (uncompress(back, &size, packed, packed_size) != Z_OK || memcmp(back, request->body, size) != 0)
        return jiffy_fail(response, "uncompress failed");
    for (uLongf place = 0; place < packed_size; place++)
        jiffy_printf(response, "%02x", packed[place]);
    jiffy_printf(response, " %08lx", crc32(0, back, size));
    return 0;
}
"#;
    fs::write(function.join("main.c"), source).expect("written");
    let event = "to be or not to be, that is the question: ".repeat(8);
    let answer = code(
        jiffy()
            .env_remove("CARGO_TARGET_DIR")
            .current_dir(function)
            .args(["run", "--event", &event]),
        0,
    );
    let answer = text(&answer.stdout);
    let (packed, crc) = answer.split_once(' ').expect("two");
    // Not the bytes of the host's own zlib, whose version is another, but what they mean.
    assert!(
        packed.starts_with("78da") && packed.len() < event.len(),
        "{answer}"
    );
    assert_eq!(crc, format!("{:08x}", crc32(event.as_bytes())));
}

/// CRC-32 bit by bit.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg());
    let all = bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc))
    });
    !all
}

fn expected(guest: &str) -> String {
    let path = workspace_root()
        .join("tests/guests")
        .join(guest)
        .join("expected.txt");
    fs::read_to_string(path).expect("what the host makes")
}

#[test]
fn crates_with_c_make_what_the_host_makes() {
    if !require_kvm() {
        return;
    }
    if !common::is_long() {
        eprintln!(
            "ring, zstd and zlib are not compiled, which takes a minute: JIFFY_LONG=1 has it done"
        );
        return;
    }
    let snapshot = Guest::of("with-c-crates").snapshot();
    let source = workspace_root().join("tests/guests/with-c-crates/src/lib.rs");
    let source = fs::read_to_string(source).expect("the source");
    let event = source.split_once('\n').expect("a line").0.repeat(20);
    let mut vm = snapshot.restore(Isolation::Fresh);
    for _ in 0..2 {
        assert_eq!(text(&vm.ask(event.as_bytes())), expected("with-c-crates"));
    }
}

#[test]
fn sqlite_and_lua_make_what_the_host_makes() {
    if !require_kvm() {
        return;
    }
    if !common::is_long() {
        eprintln!(
            "SQLite and Lua are not compiled, which takes half a minute: JIFFY_LONG=1 has it done"
        );
        return;
    }
    let snapshot = Guest::of("with-sqlite").snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    for _ in 0..2 {
        assert_eq!(text(&vm.ask(b"17")), expected("with-sqlite"));
    }
}

/// An image holds no path of this machine, whoever compiled what is in it.
#[test]
fn images_with_c_name_no_folder_of_this_machine() {
    if !require_kvm() {
        return;
    }
    for guest in ["in-c", "with-c-crates"] {
        let image = fs::read(image(guest)).expect("an image");
        let root = workspace_root();
        let cargo = std::env::var_os("CARGO_HOME").map(PathBuf::from);
        let cargo = cargo.or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
        for folder in [
            root.as_path(),
            cargo.as_deref().unwrap_or(Path::new("/nonexistent")),
        ] {
            let folder = folder.as_os_str().as_encoded_bytes();
            let found = image.windows(folder.len()).position(|part| part == folder);
            assert_eq!(found, None, "{guest}: {}", text(folder));
        }
    }
}

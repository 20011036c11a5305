//! The commands as a person uses them: a new function from nothing to an answer, and each outcome
//! by its exit code.

use std::{
    fs,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
};

use jiffy_tests::{
    CrateFolder, check, image, jiffy, require_kvm, share_build_dir, vmm_path, workspace_root,
};
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs a command that has to end with this code and without a panic.
#[track_caller]
fn code(command: &mut Command, code: i32) -> Output {
    let output = command.output().expect("a program");
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{command:?}: {said}");
    assert!(!said.contains("panicked"), "{command:?}: {said}");
    output
}

fn json(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

/// `jiffy run` of an image with an event.
fn run(image: &Path, event: &str) -> Command {
    let mut command = jiffy();
    command.arg("run").arg(image).args(["--event", event]);
    command
}

#[test]
fn from_nothing_to_an_answer() {
    if !require_kvm() {
        return;
    }
    let folder = CrateFolder::new("greeter");
    let function = folder.path();
    let beside = function.parent().expect("a folder");
    fs::remove_dir(function).expect("it is empty");
    check(jiffy().args(["new", "greeter"]).current_dir(beside));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    share_build_dir(&mut cargo);
    check(
        cargo
            .arg("test")
            .current_dir(function)
            .env_remove("CARGO_TARGET_DIR"),
    );

    // As in a shell of the author's: nothing says where to build to.
    let jiffy = || {
        let mut jiffy = jiffy();
        jiffy.env_remove("CARGO_TARGET_DIR").current_dir(function);
        jiffy
    };
    let built = code(jiffy().arg("build"), 0);
    let image = function.join("target/jiffy/greeter.elf");
    assert!(image.exists(), "{}", text(&built.stderr));
    let again = code(jiffy().args(["build", "--json"]), 0);
    assert!(json(&again).is_object());

    // By crate, by image, and from another place.
    let event = r#"{"name":"Ada"}"#;
    let answer = code(
        jiffy()
            .args(["run", "--event", event])
            .current_dir(function),
        0,
    )
    .stdout;
    assert!(text(&answer).contains("Ada"), "{}", text(&answer));
    assert_eq!(
        code(jiffy().arg("run").arg(&image).args(["--event", event]), 0).stdout,
        answer
    );
    assert_eq!(
        code(jiffy().arg("run").arg(function).args(["--event", event]), 0).stdout,
        answer
    );
    let direct = code(
        Command::new(vmm_path())
            .arg(&image)
            .args(["--event", event]),
        0,
    );
    assert_eq!(direct.stdout, answer);

    let inspected = code(jiffy().arg("inspect").arg(&image).args(["-o", "json"]), 0);
    let inspected = json(&inspected);
    assert_eq!(inspected["function_name"], "greeter");
    assert_eq!(inspected["abi_version"], jiffy_abi::ABI_VERSION);

    // What does not compile is told by the compiler, and what has no handler in one sentence.
    let source = function.join("src/lib.rs");
    let good = fs::read_to_string(&source).expect("the source");
    fs::write(
        &source,
        format!("{good}\nfn broken() -> u32 {{ \"text\" }}\n"),
    )
    .expect("written");
    let said = text(&code(jiffy().arg("build"), 10).stderr);
    assert!(said.contains("mismatched types"), "{said}");
    fs::write(&source, "#![no_std]\n").expect("written");
    let said = text(&code(jiffy().arg("build"), 10).stderr);
    assert!(said.contains("#[jiffy::function]"), "{said}");
}

#[test]
fn a_new_function_does_not_take_the_place_of_another() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    check(jiffy().args(["new", "one"]).current_dir(&folder));
    for name in ["one", "1-one", "a b", "fn", ""] {
        let output = code(jiffy().args(["new", name]).current_dir(&folder), 2);
        assert!(!output.stderr.is_empty());
    }
    assert_eq!(fs::read_dir(&folder).expect("a folder").count(), 1);
}

#[test]
fn each_outcome_has_its_exit_code() {
    if !require_kvm() {
        return;
    }
    let (faults, hello) = (image("faults"), image("hello"));
    let kind = |kind: &str| format!(r#"{{"kind":"{kind}"}}"#);
    let outcomes = [
        (&hello, r#"{"name":"Ada"}"#.to_owned(), 0, "ok"),
        (&faults, kind("error"), 1, "function_error"),
        (&faults, "{".to_owned(), 3, "bad_event"),
        (&faults, kind("panic"), 4, "panic"),
        (&faults, kind("null-write"), 5, "fault"),
        (&faults, kind("exit"), 5, ""),
        (&faults, kind("oom"), 7, "out_of_memory"),
    ];
    for (image, event, expected, outcome) in outcomes {
        let output = code(&mut run(image, &event), expected);
        assert_eq!(output.stdout.is_empty(), expected != 0, "{event}");
        assert_eq!(
            output.stderr.is_empty(),
            expected == 0,
            "{event}: {}",
            text(&output.stderr)
        );
        // The same through JSON, where standard output has one object and nothing else.
        let output = code(run(image, &event).args(["-o", "json"]), expected);
        let report = json(&output);
        assert_eq!(report["exit_code"], expected, "{report}");
        assert!(
            outcome.is_empty() || report["outcome"] == outcome,
            "{report}"
        );
        // And without `jiffy`.
        let mut direct = Command::new(vmm_path());
        code(direct.arg(image).args(["--event", &event]), expected);
    }
    code(run(&faults, &kind("spin")).args(["--timeout", "300ms"]), 6);
    let mut direct = Command::new(vmm_path());
    direct
        .arg(&faults)
        .args(["--event", &kind("spin"), "--timeout-ms", "300"]);
    code(&mut direct, 6);
}

#[test]
fn faults_are_told_with_function_file_and_line() {
    if !require_kvm() {
        return;
    }
    let faults = image("faults");
    let said = text(&code(&mut run(&faults, r#"{"kind":"null-write"}"#), 5).stderr);
    for part in ["page fault", "0x0", "faults::machine::write", "machine.rs:"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = text(&code(&mut run(&faults, r#"{"kind":"panic"}"#), 4).stderr);
    for part in ["a panic was asked for", "src/lib.rs:", "faults::faults"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let said = text(&code(&mut run(&faults, r#"{"kind":"stack-overflow"}"#), 5).stderr);
    for part in ["stack overflow", "recurse"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Without symbols there are addresses, and how to get the names.
    let folder = tempfile::tempdir().expect("a temporary folder");
    let stripped = folder.path().join("faults.elf");
    strip("examples/faults", &stripped);
    let said = text(&code(&mut run(&stripped, r#"{"kind":"null-write"}"#), 5).stderr);
    assert!(said.contains("at 0x") && said.contains("strip"), "{said}");
}

#[test]
fn statistics_are_told() {
    if !require_kvm() {
        return;
    }
    let mut command = run(&image("echo"), "hi");
    let said = text(&code(command.args(["--stats", "--requests", "3"]), 0).stderr);
    assert!(
        said.contains("exits") && said.contains("pages touched"),
        "{said}"
    );
    let mut command = run(&image("echo"), "hi");
    let report = json(&code(command.args(["--requests", "3", "-o", "json"]), 0));
    let vmm = &report["stats"]["vmm"];
    assert_eq!(vmm["requests"], 3);
    assert_eq!(vmm["last_request_exits"]["wait"], 1);
    assert_eq!(report["response"]["body"], "hi");
}

#[test]
fn events_come_from_files_and_from_standard_input() {
    if !require_kvm() {
        return;
    }
    let echo = image("echo");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("event");
    let event: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    fs::write(&file, &event).expect("written");
    let output = code(
        jiffy().arg("run").arg(&echo).arg("--event-file").arg(&file),
        0,
    );
    assert!(output.stdout == event);
    let output = code(
        Command::new(vmm_path())
            .arg(&echo)
            .arg("--event-file")
            .arg(&file),
        0,
    );
    assert!(output.stdout == event);
    for program in [jiffy().arg("run"), &mut Command::new(vmm_path())] {
        program.arg(&echo).args(["--event-file", "-"]);
        program.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = program.spawn().expect("a program");
        let mut stdin = child.stdin.take().expect("a pipe");
        stdin.write_all(b"from standard input").expect("written");
        drop(stdin);
        let output = child.wait_with_output().expect("an end");
        assert_eq!(output.stdout, b"from standard input");
    }
}

#[test]
fn wrong_usage_is_told_in_one_sentence() {
    if !require_kvm() {
        return;
    }
    let hello = image("hello");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let wrong = |arguments: &[&str], expected: i32| {
        let mut command = jiffy();
        command.current_dir(&folder).args(arguments);
        let said = text(&code(&mut command, expected).stderr);
        let first = said.lines().next().unwrap_or_default();
        assert!(
            first.starts_with("error: ") && first.len() > 20,
            "{arguments:?}: {said}"
        );
    };
    let hello = hello.to_str().expect("UTF-8");
    wrong(&["run", "/nonexistent.elf"], 2);
    wrong(&["run"], 2);
    wrong(&["build"], 2);
    wrong(&["run", hello, "--event-file", "/nonexistent"], 2);
    wrong(&["run", hello, "--event", "1", "--event-file", "x"], 2);
    wrong(&["run", hello, "--memory", "12 potatoes"], 2);
    wrong(&["run", hello, "--memory", "1MiB"], 2);
    wrong(&["run", hello, "--timeout", "soon"], 2);
    wrong(&["frobnicate"], 2);
    let said = text(
        &code(
            jiffy()
                .args(["run", hello])
                .env("JIFFY_VMM", "/nonexistent"),
            9,
        )
        .stderr,
    );
    assert!(said.contains("/nonexistent"), "{said}");
    // Help is no error.
    for command in ["new", "build", "inspect", "run", "doctor"] {
        let help = text(&code(jiffy().args([command, "--help"]), 0).stdout);
        assert!(help.contains("Usage: jiffy"), "{help}");
    }
}

#[test]
fn the_doctor_finds_this_machine_well() {
    if !require_kvm() {
        return;
    }
    let report = json(&code(jiffy().args(["doctor", "-o", "json"]), 0));
    assert!(report.to_string().contains("kvm"), "{report}");
}

#[test]
fn a_new_function_may_use_std() {
    if !require_kvm() {
        return;
    }
    let folder = CrateFolder::new("words");
    let function = folder.path();
    fs::remove_dir(function).expect("it is empty");
    check(jiffy().args(["new", "--std"]).arg(function));
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    share_build_dir(&mut cargo);
    check(
        cargo
            .arg("test")
            .current_dir(function)
            .env_remove("CARGO_TARGET_DIR"),
    );
    let jiffy = || {
        let mut jiffy = jiffy();
        jiffy.env_remove("CARGO_TARGET_DIR").current_dir(function);
        jiffy
    };
    let built = text(&code(jiffy().arg("build"), 0).stdout);
    assert!(built.starts_with("words 0.1.0, std -> "), "{built}");
    let image = function.join("target/jiffy/words.elf");
    let answer = code(&mut run(&image, r#"{"text":"to be or not to be"}"#), 0);
    assert_eq!(text(&answer.stdout), r#"{"most":"to","times":2}"#);
    assert!(text(&answer.stderr).contains("[info] 4 different words"));

    // What does not build says what is missing.
    let source = function.join("src/lib.rs");
    let handler = "#[jiffy::function]\npub fn f(_event: &[u8]) -> Vec<u8> {";
    let missing = format!(
        "unsafe extern \"C\" {{ safe fn forkpty() -> u8; }}\n{handler} vec![forkpty()] }}\n"
    );
    fs::write(&source, missing).expect("written");
    let said = text(&code(jiffy().arg("build"), 10).stderr);
    assert!(said.contains("calls what no image has: forkpty;"), "{said}");

    let dependency = function.join("uses-std");
    fs::create_dir_all(dependency.join("src")).expect("a folder");
    let manifest = "[package]\nname = \"uses-std\"\nedition = \"2024\"\n[workspace]\n";
    fs::write(dependency.join("Cargo.toml"), manifest).expect("written");
    let library = "pub fn f() -> u8 { std::env::args().count() as u8 }\n";
    fs::write(dependency.join("src/lib.rs"), library).expect("written");
    let manifest = fs::read_to_string(function.join("Cargo.toml")).expect("read");
    let manifest = manifest.replace(
        "[dependencies]\n",
        "[dependencies]\nuses-std = { path = \"uses-std\" }\n",
    );
    fs::write(function.join("Cargo.toml"), manifest).expect("written");
    let plain = format!(
        "#![no_std]\nextern crate alloc;\nuse alloc::{{vec, vec::Vec}};\n{handler} vec![uses_std::f()] }}\n"
    );
    fs::write(&source, plain).expect("written");
    let said = text(&code(jiffy().arg("build"), 10).stderr);
    assert!(
        said.contains("a dependency of package words uses std"),
        "{said}"
    );
}

/// Writes the stripped image of a function, by its folder.
fn strip(folder: &str, to: &Path) {
    let function = workspace_root().join(folder);
    check(
        jiffy()
            .arg("build")
            .arg(function)
            .args(["--strip", "-o"])
            .arg(to),
    );
}

#[test]
fn stripped_images_are_small() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let image = folder.path().join("image.elf");
    for (name, kib_max) in [
        ("examples/echo", 32),
        ("examples/hello", 96),
        ("examples/thumbnail", 1024),
        // What many parts of `std` take together.
        ("tests/guests/with-std", 450),
    ] {
        strip(name, &image);
        let bytes = fs::metadata(&image).expect("an image").len();
        assert!(
            bytes <= kib_max << 10,
            "{name} has {bytes} bytes, more than {kib_max} KiB"
        );
        code(jiffy().arg("inspect").arg(&image), 0);
    }
}

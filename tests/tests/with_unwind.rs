//! Functions whose panics unwind: what catches them, what is told of them, what still ends the VM, and that nothing is left.

mod common;

use std::fs;

use common::{Folder, Guest, Restored};
use jiffy_abi::log_ring::Level;
use jiffy_console::Exit;
use jiffy_control::{GuestFault, VmEnd};
use jiffy_tests::{
    image, require_kvm,
    vm::{Ending, TIMEOUT_AMPLE, Vm, event},
};
use jiffy_vmm::run::Isolation;

fn snapshot() -> Folder {
    Guest::of("with-unwind").snapshot()
}

#[track_caller]
fn ask(vm: &mut Restored, deed: &str) -> String {
    String::from_utf8(vm.ask(deed.as_bytes())).expect("text")
}

fn ending(deed: &str) -> Ending {
    Vm::start(&image("with-unwind"), None, TIMEOUT_AMPLE).ending(&event(deed))
}

/// What a deed answers, in every request.
const ANSWERS: [(&str, &str); 18] = [
    ("of-init", "in init"),
    ("texts", "fixed, made of 1"),
    (
        "language",
        "index out of bounds: the len is 0 but the index is 3, attempt to divide by zero, internal error: entered unreachable code",
    ),
    ("any", "Some([1, 2, 3])"),
    ("resumed", "once Some(7)"),
    ("destructors", "dropped second! first! with 9"),
    ("nested", "within around"),
    ("join", "in a thread Some(7)"),
    ("scoped", "a scoped thread panicked 1"),
    ("poisoned", "with locks true true true"),
    ("rayon", "rayon's 57 4950"),
    ("tokio", "true in a task, true in a blocking task Some(7)"),
    ("hook", "told elsewhere"),
    ("c-unwind", "through C's"),
    ("many 10000", "10000"),
    ("deep 2000", "at the bottom 2000"),
    ("panicking", "false"),
    ("nothing", "no deed \"nothing\""),
];

/// All in one VM after the other: fresh ones, and one that keeps what the requests before left.
#[test]
fn panics_are_caught() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let mut vm = snapshot.restore(isolation);
        for (deed, answer) in ANSWERS {
            assert_eq!(ask(&mut vm, deed), answer, "{deed} in {isolation:?}");
        }
    }
}

#[test]
fn a_panic_that_is_caught_is_in_the_log() {
    if !require_kvm() {
        return;
    }
    let mut vm = snapshot().restore(Isolation::Fresh);
    for (deed, thread, message) in [
        ("resumed", "thread 'main'", "once"),
        ("join", "thread 'worker 1'", "in a thread"),
    ] {
        ask(&mut vm, deed);
        let records = vm.logs();
        let [place, text] = &records[..] else {
            panic!("{records:?}");
        };
        assert_eq!((place.level(), text.level()), (Level::Warn, Level::Warn));
        assert!(
            place.text.starts_with(&format!("{thread} panicked at "))
                && place.text.contains("src/catches.rs:"),
            "{place:?}"
        );
        assert_eq!(text.text, message);
    }
    // A hook of the function's own is told instead.
    ask(&mut vm, "hook");
    let records = vm.logs();
    assert_eq!(records.len(), 1, "{records:?}");
    assert!(records[0].text.starts_with("told at line "), "{records:?}");
}

/// What was caught is given back: the heap is the same after 10,000 panics as after one.
#[test]
fn nothing_is_left_of_what_was_caught() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    let fresh = vm.state();
    let opened = snapshot.open();
    for (deed, _) in ANSWERS {
        ask(&mut vm, deed);
        let changed = vm.pages_unlike(|page| common::file_page(&opened, page));
        assert!(changed.is_empty(), "{deed}: pages {changed:?}");
        assert_eq!(vm.state(), fresh, "{deed}");
    }
    let mut vm = snapshot.restore(Isolation::Reuse);
    // As many as there are buffers that a request arrives in.
    for _ in 0..16 {
        ask(&mut vm, "many 10");
        ask(&mut vm, "texts");
    }
    let pages = |vm: &Restored| vm.pages_unlike(|page| common::file_page(&opened, page));
    let before = pages(&vm);
    ask(&mut vm, "many 10000");
    assert_eq!(pages(&vm), before);
}

/// The panics of a VM that ended: message, file, line, and the addresses of the backtrace.
#[track_caller]
fn panic_of(deed: &str, fault: &GuestFault) -> (String, String, u32, usize) {
    match fault {
        GuestFault::Panic {
            message,
            file,
            line,
            backtrace,
            ..
        } => (message.clone(), file.clone(), *line, backtrace.0.len()),
        other => panic!("{deed}: {other:?}"),
    }
}

/// Nothing was unwound when it is found that nobody catches it.
#[test]
fn a_panic_that_nobody_catches_is_told_with_its_place() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    for (deed, expected) in [
        ("uncaught", "nobody catches this"),
        ("after-others", "not caught"),
        ("uncaught-resumed", "and again"),
        (
            "untold",
            "a panic that nobody caught, and of which no hook told jiffy",
        ),
        (
            "extern-c",
            "in a callback; then a panic in a function that cannot unwind",
        ),
        (
            "in-thread-c",
            "thread 'worker 1' panicked: in a callback; then a panic in a function that cannot unwind",
        ),
        (
            "in-destructor",
            "in a destructor; then a panic in a destructor during cleanup",
        ),
    ] {
        let ending = ending(deed);
        let (message, file, line, frames) = panic_of(deed, ending.fault());
        assert_eq!(message, expected, "{deed}");
        assert!(frames > 5, "{deed}: {frames} frames");
        assert_eq!(ending.report.end.outcome().exit(), Exit::Panic);
        if deed == "untold" {
            continue;
        }
        assert!(file.ends_with("src/endings.rs"), "{deed}: {file}");
        let source = jiffy_tests::workspace_root().join("tests/guests/with-unwind/src/endings.rs");
        let source = fs::read_to_string(source).expect("the source");
        let told = source.lines().nth(line as usize - 1).expect("the line");
        assert!(
            told.contains("panic!(") || told.contains("assert!("),
            "{deed}: {told}"
        );
    }
    // What an earlier request caught is not what a later one ends with.
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let mut vm = snapshot.restore(isolation);
        ask(&mut vm, "texts");
        let end = vm.try_ask(b"untold").expect_err("an end");
        let VmEnd::Fault(fault) = &end else {
            panic!("{end:?}");
        };
        let (message, ..) = panic_of("untold", fault);
        assert!(
            message.starts_with("a panic that nobody caught"),
            "{message}"
        );
    }
}

/// The functions between a panic and the handler are in its backtrace, as nothing was unwound.
#[test]
fn the_backtrace_is_whole() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let input = folder.path().join("event");
    fs::write(&input, "uncaught").expect("written");
    let output = jiffy_tests::jiffy()
        .arg("run")
        .arg(image("with-unwind"))
        .arg("--event-file")
        .arg(&input)
        .output()
        .expect("jiffy");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(Exit::Panic as i32), "{told}");
    for part in [
        "nobody catches this",
        "endings::inner",
        "endings::outer",
        "endings::deed",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn what_is_no_panic_is_not_caught() {
    if !require_kvm() {
        return;
    }
    for (deed, expected) in [
        ("abort", "the function called abort"),
        (
            "thread-recurse",
            "stack overflow: thread 'deep' used more than",
        ),
        (
            "hook-panics",
            "the function called abort after it wrote: thread panicked while processing panic",
        ),
    ] {
        let ending = ending(deed);
        let (message, ..) = panic_of(deed, ending.fault());
        assert!(message.starts_with(expected), "{deed}: {message}");
    }
    let out_of_memory = ending("allocate");
    let GuestFault::OutOfMemory {
        requested_bytes, ..
    } = out_of_memory.fault()
    else {
        panic!("{out_of_memory:?}");
    };
    assert_eq!(*requested_bytes, 1 << 40);
    for (deed, is_overflow) in [("recurse", true), ("fault", false)] {
        let ending = ending(deed);
        let GuestFault::Exception { stack_overflow, .. } = ending.fault() else {
            panic!("{deed}: {ending:?}");
        };
        assert_eq!(stack_overflow.is_some(), is_overflow, "{deed}");
    }
    let exit = ending("exit");
    assert!(exit.response.is_none());
    assert!(format!("{:?}", exit.report.end).contains('7'), "{exit:?}");
    let limit = std::time::Duration::from_millis(200);
    let spin = Vm::start(&image("with-unwind"), None, limit).ending(&event("spin"));
    assert_eq!(spin.report.end.outcome().exit(), Exit::Timeout);
}

#[test]
fn a_panic_of_init_ends_it() {
    if !require_kvm() {
        return;
    }
    let output = jiffy_tests::jiffy()
        .arg("run")
        .arg(image("with-unwind"))
        .args(["--env", "PANIC_IN_INIT=1"])
        .output()
        .expect("jiffy");
    let told = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(Exit::Panic as i32), "{told}");
    assert!(told.contains("no init today"), "{told}");
    assert!(told.contains("src/lib.rs"), "{told}");
}

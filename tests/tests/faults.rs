//! Functions that go wrong, each in its way: the outcome has a type and says what and where.

use std::{fs, path::Path, time::Duration};

use jiffy_abi::{
    frame::ResponseKind,
    layout::{IMAGE, STACK, STACK_GUARD, STACK_TOP},
};
use jiffy_console::Exit;
use jiffy_control::{GuestFault, Request, VmEnd};
use jiffy_tests::{
    image, require_kvm,
    vm::{Ending, TIMEOUT_AMPLE, Vm, event},
};

const DIVIDE_ERROR: u8 = 0;
const INVALID_OPCODE: u8 = 6;
const GENERAL_PROTECTION: u8 = 13;
const PAGE_FAULT: u8 = 14;
const SIMD: u8 = 19;
/// Error code bits of a page fault (Intel SDM volume 3, section 4.7).
const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const USER: u64 = 4;
const FETCH: u64 = 16;

fn request(kind: &str) -> Request {
    Request {
        request_id: "r-1".into(),
        ..event(format!(r#"{{"kind":"{kind}"}}"#))
    }
}

fn go_wrong(kind: &str) -> Ending {
    go_wrong_within(kind, TIMEOUT_AMPLE)
}

fn go_wrong_within(kind: &str, timeout: Duration) -> Ending {
    Vm::start(&image("faults"), None, timeout).ending(&request(kind))
}

/// Vector, error code and address of the exception that `kind` raises; where it was and with which
/// stack is checked here.
#[track_caller]
fn exception(kind: &str) -> (u8, u64, u64) {
    let ending = go_wrong(kind);
    let GuestFault::Exception {
        vector,
        error_code,
        address,
        rip,
        rsp,
        stack_overflow,
        backtrace,
    } = ending.fault()
    else {
        panic!("{kind}: {ending:?}");
    };
    assert_eq!(ending.report.end.outcome().exit(), Exit::Fault);
    assert!(
        ending.response.is_none() && stack_overflow.is_none(),
        "{kind}: {ending:?}"
    );
    assert!((STACK..STACK_TOP).contains(rsp), "{kind}: rsp {rsp:#x}");
    assert_eq!(backtrace.0.first(), Some(rip), "{kind}");
    // The code that cannot run has no caller's frame; all other faults are in functions.
    let text = text_of(&image("faults"));
    let in_text = if *error_code & FETCH != 0 && *vector == PAGE_FAULT {
        *rip == *address
    } else {
        text.contains(rip) && backtrace.0.len() > 1
    };
    assert!(in_text, "{kind}: rip {rip:#x}, {backtrace:x?}");
    assert!(
        backtrace.0[1..].iter().all(|frame| text.contains(frame)),
        "{kind}: {backtrace:x?}"
    );
    (*vector, *error_code, *address)
}

/// Addresses of the executable segment.
fn text_of(image: &Path) -> std::ops::Range<u64> {
    let file = fs::read(image).expect("an image");
    let number = |at: usize| u64::from_le_bytes(file[at..at + 8].try_into().expect("8 bytes"));
    // The second program header is the text's, as the linker script has it; each has 56 bytes.
    let text = usize::try_from(number(32)).expect("small") + 56;
    let (address, bytes) = (number(text + 16), number(text + 40));
    assert!(address > IMAGE, "{address:#x}");
    address..address + bytes
}

#[test]
fn an_error_is_an_answer() {
    if !require_kvm() {
        return;
    }
    let mut vm = Vm::start(&image("faults"), None, TIMEOUT_AMPLE);
    for _ in 0..2 {
        let answer = vm.invoke(&request("error")).expect("an answer");
        assert_eq!(answer.kind, ResponseKind::FunctionError);
        assert_eq!(answer.error_type, "AskedFor");
        assert_eq!(answer.body, b"an error was asked for: r-1");
        assert_eq!(answer.outcome().exit(), Exit::FunctionError);
    }
    assert_eq!(vm.finish().0.end, VmEnd::Finished);
}

#[test]
fn an_event_that_does_not_parse_is_an_answer() {
    if !require_kvm() {
        return;
    }
    let mut vm = Vm::start(&image("faults"), None, TIMEOUT_AMPLE);
    let events: [&[u8]; 7] = [
        b"",
        b"{",
        b"[]",
        b"\xff\xfe",
        b"{}",
        b"{\"kind\":3}",
        b"{\"kind\":\"x\"}",
    ];
    for body in events {
        let answer = vm.ask(body);
        assert_eq!(answer.kind, ResponseKind::BadEvent, "{body:?}");
        assert!(
            answer.body.starts_with(b"event does not parse: "),
            "{answer:?}"
        );
        assert_eq!(answer.outcome().exit(), Exit::BadEvent);
    }
    // Deep nesting is no way to the end of the stack.
    let answer = vm.ask(vec![b'['; 1 << 20]);
    assert_eq!(answer.kind, ResponseKind::BadEvent);
    assert_eq!(vm.finish().0.end, VmEnd::Finished);
}

#[test]
fn a_panic_is_told_with_its_place() {
    if !require_kvm() {
        return;
    }
    for (kind, expected) in [
        ("panic", "a panic was asked for"),
        ("panic-formatted", r#"1 panic was asked for by "r-1""#),
    ] {
        let ending = go_wrong(kind);
        let GuestFault::Panic {
            message,
            file,
            line,
            column,
            backtrace,
        } = ending.fault()
        else {
            panic!("{ending:?}");
        };
        assert_eq!(message, expected);
        assert!(file.ends_with("src/lib.rs"), "{file}");
        let source = jiffy_tests::workspace_root().join("examples/faults/src/lib.rs");
        let source = fs::read_to_string(source).expect("the source");
        let told = source.lines().nth(*line as usize - 1).expect("the line");
        assert!(told.contains("panic!(") && *column > 1, "{told}");
        assert!(backtrace.0.len() > 1, "{backtrace:?}");
        assert_eq!(ending.report.end.outcome().exit(), Exit::Panic);
    }
}

#[test]
fn exceptions_are_told_with_vector_error_code_and_address() {
    if !require_kvm() {
        return;
    }
    assert_eq!(exception("divide"), (DIVIDE_ERROR, 0, 0));
    assert_eq!(exception("ud2"), (INVALID_OPCODE, 0, 0));
    assert_eq!(exception("gp"), (GENERAL_PROTECTION, 0, 0));
    assert_eq!(exception("null-read"), (PAGE_FAULT, USER, 0));
    assert_eq!(exception("null-write"), (PAGE_FAULT, USER | WRITE, 0));
    assert_eq!(exception("wild-read"), (PAGE_FAULT, USER, 1 << 46));
    assert_eq!(exception("wild-write"), (PAGE_FAULT, USER | WRITE, 1 << 46));
    let (vector, error_code, address) = exception("write-text");
    assert_eq!((vector, error_code), (PAGE_FAULT, PRESENT | USER | WRITE));
    assert!(text_of(&image("faults")).contains(&address), "{address:#x}");
    let (vector, error_code, address) = exception("exec-stack");
    assert_eq!((vector, error_code), (PAGE_FAULT, PRESENT | USER | FETCH));
    assert!((STACK..STACK_TOP).contains(&address), "{address:#x}");
    let (vector, error_code, address) = exception("exec-heap");
    assert_eq!((vector, error_code), (PAGE_FAULT, PRESENT | USER | FETCH));
    assert!(
        address >= IMAGE && !text_of(&image("faults")).contains(&address),
        "{address:#x}"
    );
}

/// Alone, because QEMU's software emulation, in which the second backend is tested, raises none.
#[test]
fn a_simd_exception_is_told() {
    if !require_kvm() {
        return;
    }
    assert_eq!(exception("simd"), (SIMD, 0, 0));
}

/// Backends differ in what a breakpoint that ring 3 may not set is.
#[test]
fn a_breakpoint_is_an_exception() {
    if !require_kvm() {
        return;
    }
    let ending = go_wrong("int3");
    assert!(
        matches!(ending.fault(), GuestFault::Exception { vector: 3 | 13, .. }),
        "{ending:?}"
    );
}

#[test]
fn deep_recursion_ends_in_the_guard_page() {
    if !require_kvm() {
        return;
    }
    let ending = go_wrong("stack-overflow");
    let GuestFault::Exception {
        vector: PAGE_FAULT,
        address,
        stack_overflow: Some(_),
        backtrace,
        ..
    } = ending.fault()
    else {
        panic!("{ending:?}");
    };
    assert!((STACK_GUARD..STACK).contains(address), "{address:#x}");
    assert_eq!(backtrace.0.len(), jiffy_control::BACKTRACE_FRAMES_MAX);
}

/// What overflows the default stack fits one of 8 MiB, booted and restored; what does not is told with the size and what to do.
#[test]
fn a_larger_stack_takes_a_deeper_recursion() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let snapshot = folder.path().join("deep.snap");
    let mut create = jiffy_tests::jiffy();
    create.args(["snapshot", "create", "-o"]).arg(&snapshot);
    jiffy_tests::check(create.arg(image("deep-stack")));
    for restored in [false, true] {
        let run = |event: &str| {
            let mut run = jiffy_tests::jiffy();
            match restored {
                true => run.args(["run", "--snapshot"]).arg(&snapshot),
                false => run.arg("run").arg(image("deep-stack")),
            };
            run.args(["--event", event]).output().expect("a program")
        };
        // Six times what the default has, and again: the guard page is where it was.
        let deep = run("5000");
        assert_eq!(
            String::from_utf8_lossy(&deep.stdout).trim(),
            "5000",
            "{deep:?}"
        );
        let deeper = run("9000");
        let said = String::from_utf8_lossy(&deeper.stderr);
        assert_eq!(deeper.status.code(), Some(5), "{said}");
        assert!(
            said.contains("stack overflow: 8.0 MiB are used up"),
            "{said}"
        );
        assert!(said.contains("[stack] in jiffy.toml"), "{said}");
    }
    let mut inspect = jiffy_tests::jiffy();
    let inspect = inspect
        .arg("inspect")
        .arg(image("deep-stack"))
        .output()
        .expect("a program");
    assert!(String::from_utf8_lossy(&inspect.stdout).contains("stack 8.0 MiB"));
}

#[test]
fn out_of_memory_is_told_with_its_bytes() {
    if !require_kvm() {
        return;
    }
    for ram_mib in [8, 16, 64] {
        let vm = Vm::start(&image("faults"), Some(ram_mib), TIMEOUT_AMPLE);
        let ending = vm.ending(&request("oom"));
        let GuestFault::OutOfMemory {
            requested_bytes,
            ram_bytes,
            ..
        } = ending.fault()
        else {
            panic!("{ending:?}");
        };
        assert_eq!((*requested_bytes, *ram_bytes), (1 << 20, ram_mib << 20));
        assert_eq!(ending.report.end.outcome().exit(), Exit::OutOfMemory);
    }
}

#[test]
fn an_endless_loop_is_stopped_at_its_deadline() {
    if !require_kvm() {
        return;
    }
    let ending = go_wrong_within("spin", Duration::from_millis(300));
    let VmEnd::TimedOut {
        timeout_ms: 300,
        backtrace,
    } = &ending.report.end
    else {
        panic!("{ending:?}");
    };
    assert!(
        text_of(&image("faults")).contains(&backtrace.0[0]),
        "{backtrace:x?}"
    );
    assert_eq!(ending.report.end.outcome().exit(), Exit::Timeout);
}

#[test]
fn an_exit_is_told_with_its_code() {
    if !require_kvm() {
        return;
    }
    let ending = go_wrong("exit");
    assert_eq!(ending.report.end, VmEnd::Exited(7));
    assert_eq!(ending.report.end.outcome().exit(), Exit::Fault);
}

/// The I/O bitmap makes an exception of it where it counts; elsewhere the VMM sees the port.
#[test]
fn a_port_that_is_no_doorbell_is_a_fault() {
    if !require_kvm() {
        return;
    }
    let ending = go_wrong("bad-port");
    let typed = match ending.fault() {
        GuestFault::Device { message, .. } => message.contains("0x80"),
        GuestFault::Exception { vector, .. } => *vector == GENERAL_PROTECTION,
        _ => false,
    };
    assert!(typed, "{ending:?}");
}

#[test]
fn an_init_that_fails_is_told() {
    if !require_kvm() {
        return;
    }
    let ending = Vm::start(&image("init-error"), None, TIMEOUT_AMPLE).ending(&event("x"));
    let message = match ending.fault() {
        GuestFault::Init { message } => message,
        other => panic!("{other:?}"),
    };
    assert_eq!(message, "the table is missing");
    assert_eq!(ending.log[0].text, "before the error");
    assert_eq!(ending.report.end.outcome().exit(), Exit::FunctionError);

    let ending = Vm::start(&image("init-panic"), None, TIMEOUT_AMPLE).ending(&event("x"));
    let (message, file) = match ending.fault() {
        GuestFault::Panic { message, file, .. } => (message, file),
        other => panic!("{other:?}"),
    };
    assert_eq!(message, "no init today");
    assert!(file.ends_with("src/lib.rs"), "{file}");
}

#[test]
fn after_a_fault_a_new_vm_of_the_image_works() {
    if !require_kvm() {
        return;
    }
    for kind in ["panic", "null-write", "oom", "stack-overflow", "exit"] {
        // One that goes wrong while another one is alive, and one after it.
        let mut other = Vm::start(&image("faults"), None, TIMEOUT_AMPLE);
        other.ask(r#"{"kind":"random"}"#);
        assert!(go_wrong(kind).response.is_none());
        for _ in 0..2 {
            other.ask(r#"{"kind":"random"}"#);
        }
        let mut next = Vm::start(&image("faults"), None, TIMEOUT_AMPLE);
        next.ask(r#"{"kind":"random"}"#);
        assert_eq!(next.finish().0.end, VmEnd::Finished);
        assert_eq!(other.finish().0.end, VmEnd::Finished);
    }
}

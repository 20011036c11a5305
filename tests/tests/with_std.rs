//! Functions that use `std`: what is there, what says that it is not, how they end, and that nothing survives.

mod common;

use std::{collections::HashSet, fs, time::Duration};

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
    Guest::of("with-std").snapshot()
}

#[track_caller]
fn ask(vm: &mut Restored, deed: &str) -> String {
    String::from_utf8(vm.ask(deed.as_bytes())).expect("text")
}

fn ending(deed: &str) -> Ending {
    Vm::start(&image("with-std"), None, TIMEOUT_AMPLE).ending(&event(deed))
}

#[test]
fn tables_clocks_variables_floats_and_locks_work() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    assert_eq!(ask(&mut vm, "table b a b"), r#"[("a", 1), ("b", 2)] 7 1"#);
    // What the host's own std says of the same numbers.
    let x = std::hint::black_box(2.0f64);
    let floats = format!(
        "{} {:.3} {:e} {} {} {}",
        x.sqrt(),
        x.sin().powf(2.5),
        1.0 / 3.0,
        2.0f32.ln(),
        (7.5 % x).floor(),
        x.mul_add(3.0, 0.5)
    );
    assert_eq!(ask(&mut vm, "floats"), floats);
    assert_eq!(ask(&mut vm, "locks"), "2 true 9 true Err(RecvError) 1");
    assert_eq!(ask(&mut vm, "variable X"), "Err(NotPresent) true None");
    let time = ask(&mut vm, "time");
    let (now_ns, slept_ms) = time.split_once(' ').expect("two numbers");
    let now = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_nanos();
    let now_ns: u128 = now_ns.parse().expect("a number");
    assert!(now_ns < now && now - now_ns < 60_000_000_000, "{time}");
    assert!(slept_ms.parse::<u64>().expect("a number") >= 20, "{time}");
}

#[test]
fn what_is_printed_is_the_log_line_by_line() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let mut vm = snapshot.restore(isolation);
        for _ in 0..3 {
            ask(&mut vm, "print");
            let records = vm.logs();
            let lines: Vec<_> = records
                .iter()
                .map(|record| (record.level(), &*record.text))
                .collect();
            assert_eq!(
                lines,
                [
                    (Level::Info, "one 1"),
                    (Level::Info, "two and a half"),
                    (Level::Warn, "three 3"),
                    (Level::Info, "\u{fffd}bytes"),
                    (Level::Info, "not ended"),
                ]
            );
        }
    }
}

#[test]
fn what_is_not_there_is_an_error() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    let told = ask(&mut vm, "missing");
    let expected = [
        ("read: NotFound", "[files]"),
        ("write: ReadOnlyFilesystem", "/tmp"),
        ("create: ReadOnlyFilesystem", "/tmp"),
        ("list: NotFound", "[files]"),
        ("remove: ReadOnlyFilesystem", "/tmp"),
        ("link: PermissionDenied", ""),
        ("canonical: NotFound", "[files]"),
        ("connect: Unsupported", "neither sockets"),
        ("resolve: Unsupported", "neither sockets"),
        ("command: ", "function"),
        ("set current: NotFound", "[files]"),
        ("0 Some(\"/\") 1", ""),
    ];
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{told}");
    for (line, (begin, part)) in lines.iter().zip(expected) {
        assert!(line.starts_with(begin) && line.contains(part), "{line}");
    }
}

#[test]
fn files_are_those_of_the_crate_and_what_is_made_in_tmp() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let mut vm = snapshot.restore(isolation);
        assert_eq!(
            ask(&mut vm, "linked-in"),
            r#"["greeting.txt", "sub/"] "Hello from a file\n" 18 true true "/app/sub/deep.txt""#
        );
        assert_eq!(vm.logs()[0].text, "by name");
        for _ in 0..3 {
            let told = ask(&mut vm, "temporary");
            assert!(
                told.starts_with("oNE 1048576 1048579 true 600 AlreadyExists: "),
                "{told}"
            );
            assert!(told.contains("| DirectoryNotEmpty: not empty"), "{told}");
            assert!(told.ends_with("| \"/tmp/work\" true"), "{told}");
        }
    }
}

/// `/tmp` has an end, which a function is told of while it can go on; and in fresh it is as `init` left it.
#[test]
fn tmp_is_limited_and_gone_with_the_request() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    for _ in 0..2 {
        let told = ask(&mut vm, "fill");
        let (bytes, error) = told.split_once(' ').expect("two parts");
        let bytes: u64 = bytes.parse().expect("a number");
        assert!((4 << 20..8 << 20).contains(&bytes), "{told}");
        assert!(error.starts_with("StorageFull: no room in /tmp"), "{told}");
        assert_eq!(ask(&mut vm, "left x"), "false of init");
    }
    let mut vm = snapshot.restore(Isolation::Reuse);
    assert_eq!(ask(&mut vm, "left x"), "false of init");
    assert_eq!(ask(&mut vm, "left y"), "true of init");
}

/// Hash keys are drawn after the resume, although `init` used a table; and so is what else a thread-local keeps.
#[test]
fn no_two_requests_have_the_same_hash_keys() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut keys = HashSet::new();
    let mut of_init = HashSet::new();
    for _ in 0..2 {
        let mut vm = snapshot.restore(Isolation::Fresh);
        for _ in 0..20 {
            let told = ask(&mut vm, "keys");
            let (ours, inits) = told.split_once(' ').expect("two hashes");
            assert!(keys.insert(ours.to_owned()), "drawn twice: {told}");
            of_init.insert(inits.to_owned());
        }
    }
    // What `init` hashed is in the snapshot, and nothing of a request's.
    assert_eq!(of_init.len(), 1);
    assert!(of_init.is_disjoint(&keys));
}

#[test]
fn thread_locals_are_a_requests_own() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let text = "of this thread".repeat(2);
    let mut vm = snapshot.restore(Isolation::Fresh);
    for _ in 0..3 {
        assert_eq!(ask(&mut vm, "thread-locals"), format!("42 {text}"));
    }
    let mut vm = snapshot.restore(Isolation::Reuse);
    assert_eq!(ask(&mut vm, "thread-locals"), format!("42 {text}"));
    assert_eq!(ask(&mut vm, "thread-locals"), "44 ");
}

#[test]
fn a_fresh_vm_has_nothing_of_the_request_before() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    let mut vm = snapshot.restore(Isolation::Fresh);
    let fresh = vm.state();
    let opened = snapshot.open();
    for deed in [
        "table a",
        "print",
        "variable X",
        "thread-locals",
        "missing",
        "locks",
        "keys",
    ] {
        ask(&mut vm, deed);
        let changed = vm.pages_unlike(|page| common::file_page(&opened, page));
        assert!(changed.is_empty(), "{deed}: pages {changed:?}");
        assert_eq!(vm.state(), fresh, "{deed}");
    }
    assert_eq!(ask(&mut vm, "table x"), r#"[("x", 1)] 7 1"#);
    let mut vm = snapshot.restore(Isolation::Reuse);
    ask(&mut vm, "table x");
    assert_eq!(ask(&mut vm, "table x"), r#"[("x", 1)] 7 2"#);
}

/// Places where a request leaves a word of its own, by `scatter`.
const PLACES: [&str; 6] = [
    "heap",
    "static",
    "thread-local",
    "file",
    "environment",
    "stack",
];

/// What was written into each place of a function that uses `std` is nowhere in the VM's memory when the request is over; and is
/// where it was put without a reset.
#[test]
fn no_byte_of_a_request_survives_it() {
    if !require_kvm() {
        return;
    }
    let word = "canary-6b1f0d2c8e";
    common::scatters(&snapshot(), word, &PLACES);
}

#[test]
fn panics_are_told_with_their_place() {
    if !require_kvm() {
        return;
    }
    for (deed, expected) in [
        ("panic now", "a panic of std: now"),
        ("nested", "nested closure"),
        ("deadlock", "deadlock: the function waits"),
        ("abort", "after it wrote: this is why"),
    ] {
        let ending = ending(deed);
        let GuestFault::Panic {
            message,
            file,
            line,
            backtrace,
            ..
        } = ending.fault()
        else {
            panic!("{deed}: {ending:?}");
        };
        assert!(message.contains(expected), "{deed}: {message}");
        assert!(backtrace.0.len() > 2, "{deed}: {backtrace:?}");
        assert_eq!(ending.report.end.outcome().exit(), Exit::Panic);
        let place = match deed {
            "panic now" => "panic!(",
            "nested" => "expect(\"nested closure\")",
            _ => continue,
        };
        assert!(file.ends_with("src/lib.rs"), "{file}");
        let source = jiffy_tests::workspace_root().join("tests/guests/with-std/src/lib.rs");
        let source = fs::read_to_string(source).expect("the source");
        let told = source.lines().nth(*line as usize - 1).expect("the line");
        assert!(told.contains(place), "{told}");
    }
}

/// What a VM says when it ends is of the request it ended with, where requests share its memory, too.
#[test]
fn an_abort_quotes_no_other_request() {
    if !require_kvm() {
        return;
    }
    let snapshot = snapshot();
    for isolation in [Isolation::Fresh, Isolation::Reuse] {
        let mut vm = snapshot.restore(isolation);
        ask(&mut vm, "print");
        let end = vm.try_ask(b"die").expect_err("an end");
        let VmEnd::Fault(GuestFault::Panic { message, .. }) = &end else {
            panic!("{end:?}");
        };
        assert_eq!(message, "the function called abort", "{isolation:?}");
    }
}

#[test]
fn running_out_of_memory_or_stack_and_exits_are_told() {
    if !require_kvm() {
        return;
    }
    let out_of_memory = ending("allocate");
    let GuestFault::OutOfMemory {
        requested_bytes, ..
    } = out_of_memory.fault()
    else {
        panic!("{out_of_memory:?}");
    };
    assert_eq!(*requested_bytes, 1 << 40);
    let of_zeros = ending("allocate-zeros");
    let GuestFault::OutOfMemory {
        requested_bytes, ..
    } = of_zeros.fault()
    else {
        panic!("{of_zeros:?}");
    };
    assert_eq!(*requested_bytes, 1 << 40);
    let overflow = ending("recurse");
    let GuestFault::Exception { stack_overflow, .. } = overflow.fault() else {
        panic!("{overflow:?}");
    };
    assert!(stack_overflow.is_some());
    let exit = ending("exit");
    assert!(exit.response.is_none());
    assert!(format!("{:?}", exit.report.end).contains('7'), "{exit:?}");
}

#[test]
fn a_function_that_spins_is_ended_at_its_deadline() {
    if !require_kvm() {
        return;
    }
    let limit = Duration::from_millis(200);
    let ending = Vm::start(&image("with-std"), None, limit).ending(&event("spin"));
    let VmEnd::TimedOut {
        timeout_ms: 200,
        backtrace,
    } = &ending.report.end
    else {
        panic!("{ending:?}");
    };
    assert!(!backtrace.0.is_empty());
    assert_eq!(ending.report.end.outcome().exit(), Exit::Timeout);
}

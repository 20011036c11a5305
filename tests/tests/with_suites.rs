//! What `std` and the C library promise, tested in VMs and on the host: each test by its name, and none left out in silence.
#![expect(
    clippy::print_stderr,
    reason = "a test's harness catches what is printed so"
)]

mod common;

use std::{fmt::Write as _, fs, process::Command};

use common::{Folder, Guest, Restored};
use jiffy_tests::{require_kvm, workspace_root};
use jiffy_vmm::run::Isolation;

/// The host's copies are called by [`on_the_host`], and are no tests of this program by themselves.
macro_rules! tests {
    ($($name:ident)+) => {
        pub(super) const TESTS: &[(&str, fn())] = &[$((stringify!($name), $name as fn())),+];
    };
}

#[path = "../guests/with-std-suite/src/suite/mod.rs"]
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::unwrap_used,
    reason = "as crates of authors have it"
)]
mod suite;

/// A VM that is restored anew after a test has ended it.
struct Machine<'a> {
    snapshot: &'a Folder,
    vm: Option<Restored>,
}

impl<'a> Machine<'a> {
    fn new(snapshot: &'a Folder) -> Self {
        Self { snapshot, vm: None }
    }

    /// What the function answers, or how the VM ended.
    fn ask(&mut self, event: &str) -> Result<String, String> {
        let snapshot = self.snapshot;
        let vm = self
            .vm
            .get_or_insert_with(|| snapshot.restore(Isolation::Fresh));
        let answer = vm.try_ask(event.as_bytes());
        if answer.is_err() {
            self.vm = None;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        answer
            .map(|response| text(&response.body))
            .map_err(|end| format!("{end:?}"))
    }
}

/// Runs each test in a pristine VM: what did not go well, a line each.
fn failures(snapshot: &Folder, names: &[String]) -> String {
    let mut machine = Machine::new(snapshot);
    let mut failures = String::new();
    for name in names {
        let answer = machine.ask(name);
        if answer.as_deref() != Ok(&*format!("{name} ok\n")) {
            let _ = writeln!(failures, "{name}: {answer:?}");
        }
    }
    failures
}

/// The tests of `std`, by their names.
fn names_of_std() -> Vec<String> {
    let modules = suite::MODULES.iter();
    let names = modules.flat_map(|(module, tests)| {
        let tests = tests.iter();
        tests.map(move |(test, _)| format!("{module}::{test}"))
    });
    names.collect()
}

/// A wrong expectation shows here, and in `cargo test` of the function.
#[test]
fn the_host_does_what_std_promises() {
    for (_, tests) in suite::MODULES {
        for (_, test) in *tests {
            test();
        }
    }
}

/// The suite as `jiffy build --debug` makes it, and with `JIFFY_LONG=1` as it is deployed, too: to optimise all of it takes twice
/// as long.
fn snapshots_of_std() -> Vec<Folder> {
    let suite = Guest::of("with-std-suite");
    let mut snapshots = vec![suite.debug_snapshot()];
    if common::is_long() {
        snapshots.push(suite.snapshot());
    }
    snapshots
}

#[test]
fn a_vm_does_what_std_promises() {
    if require_kvm() {
        snapshots_of_std().iter().for_each(each_in_a_fresh_vm);
    }
}

fn each_in_a_fresh_vm(snapshot: &Folder) {
    let names = names_of_std();
    let listed = Machine::new(snapshot).ask("list").expect("a list");
    assert!(listed.lines().eq(&names), "{listed}");
    assert!(names.len() > 800, "{}", names.len());

    let (left_out, run): (Vec<_>, Vec<_>) = names
        .into_iter()
        .partition(|name| suite::why_left_out(name).is_some());
    assert_eq!(left_out.len(), suite::LEFT_OUT.len(), "{left_out:?}");
    for (name, why) in suite::LEFT_OUT {
        eprintln!("not in a VM: {name}: {why}");
    }
    eprintln!("{} tests, random numbers of {:#x}", run.len(), suite::SEED);
    let failures = failures(snapshot, &run);
    assert!(failures.is_empty(), "{failures}");

    // What is left out is so because it fails. One spins until the time is over, which takes as long.
    let mut machine = Machine::new(snapshot);
    for (name, why) in suite::LEFT_OUT {
        if *why != suite::TURNS {
            let answer = machine.ask(name);
            assert!(answer.is_err(), "{name} works in a VM: {answer:?}");
        }
    }
}

/// All in one VM, where each finds what those before it left.
#[test]
fn a_vm_that_is_reused_does_what_std_promises() {
    if !require_kvm() {
        return;
    }
    let expected: String = names_of_std()
        .into_iter()
        .filter(|name| suite::why_left_out(name).is_none())
        .map(|name| name + " ok\n")
        .collect();
    for snapshot in snapshots_of_std() {
        let mut vm = snapshot.restore(Isolation::Reuse);
        assert_eq!(String::from_utf8_lossy(&vm.ask(b"all")), expected);
    }
}

/// The tests of C, by their names: what the same files do on the host, compiled against its library. Each has to go well there.
fn names_of_c() -> Vec<String> {
    let folder = workspace_root().join("tests/guests/in-c-suite");
    let files = fs::read_dir(&folder).expect("the suite").map(|entry| {
        let entry = entry.expect("an entry");
        entry.path()
    });
    let sources = files.filter(|path| {
        let is_source = path.extension().is_some_and(|end| end == "c");
        is_source && path.file_name().is_none_or(|name| name != "main.c")
    });
    let made = tempfile::tempdir().expect("a folder");
    let program = made.path().join("in-c-suite");
    let compiled = Command::new("cc")
        .arg(format!("-DTMP={:?}", made.path()))
        .args(["-O2", "-Wall", "-Wextra", "-Werror", "-fno-builtin", "-o"])
        .arg(&program)
        .args(sources)
        .args(["-lm", "-lpthread"])
        .output()
        .expect("a C compiler");
    let said = String::from_utf8_lossy(&compiled.stderr);
    assert!(compiled.status.success(), "{said}");
    let ran = Command::new(&program).output().expect("it starts");
    let (out, said) = (
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr),
    );
    let results = out.lines().filter(|line| line.contains("::"));
    let names = results.map(|line| {
        let (name, result) = line.split_once(' ').expect("a result");
        assert_eq!(result, "ok", "{name} on the host: {said}");
        name.to_owned()
    });
    names.collect()
}

#[test]
fn a_vm_does_what_c_promises() {
    if !require_kvm() {
        return;
    }
    let names = names_of_c();
    assert!(names.len() > 150, "{}", names.len());
    let snapshot = Guest::of("in-c-suite").snapshot();
    let listed = Machine::new(&snapshot).ask("list").expect("a list");
    assert!(listed.lines().eq(&names), "{listed}");
    eprintln!("{} tests of C", names.len());
    let failures = failures(&snapshot, &names);
    assert!(failures.is_empty(), "{failures}");
}

//! What becomes of snapshots that are not as they should be, and that one that is behaves as the
//! image it was made of. Through the programs, as a user meets it.

mod common;

use std::{
    fs,
    fs::OpenOptions,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use common::{Folder, Guest, vsock};
use jiffy_abi::layout::{PAGE_BYTES, RAM_BYTES_MIN};
use jiffy_client::{Instance, Launch, LaunchError, Source, SpawnerOptions, VmError};
use jiffy_control::{
    Blame, GuestFault, HttpRequest, Isolation, LogRecord, Request, Response, VmEnd,
};
use jiffy_snapshots::{
    CpuNeeds, PageRun, RAM_FILE, STATE_FILE, State, WORKING_SET_FILE,
    devices::{ConnectionState, ConsoleState, DeviceState},
};
use jiffy_tests::vm::TIMEOUT_AMPLE;
use jiffy_vmm::{
    boot::{Image, Permissions},
    devices::DeviceError,
    kvm::{KvmError, Machine},
    mem::Ram,
    run::RestoreError,
};

/// Offsets in a state file, `docs/snapshot-format.md`.
const FORMAT: usize = 8;
const ABI: usize = 12;
const CHECKSUM: usize = 104;

/// What a guest logged.
type Log = Arc<Mutex<Vec<LogRecord>>>;

/// Starts a VM and collects what its guest logs.
fn spawn(source: Source) -> (Instance, Log) {
    try_spawn(source).expect("a VM")
}

fn try_spawn(source: Source) -> Result<(Instance, Log), LaunchError> {
    let launch = Launch {
        vmm: jiffy_tests::vmm_path(),
        spawner: SpawnerOptions::default(),
        source,
        timeout: Some(TIMEOUT_AMPLE),
        devices: vec![],
    };
    let log = Arc::new(Mutex::new(vec![]));
    let kept = Arc::clone(&log);
    let keep = move |record| kept.lock().expect("not poisoned").push(record);
    Ok((Instance::spawn(&launch, keep)?, log))
}

fn of_snapshot(path: &Path, isolation: Isolation) -> Source {
    Source::Snapshot {
        path: path.to_owned(),
        isolation,
    }
}

/// The snapshot is refused before anything of it runs, is blamed, and the error says `why`.
#[track_caller]
fn assert_refused(snapshot: &Folder, why: &str) {
    // What is wrong with its files is seen by who opens them, the rest by the VMM.
    let (mut instance, log) = match try_spawn(of_snapshot(&snapshot.path(), Isolation::Fresh)) {
        Ok(started) => started,
        Err(error) => {
            assert_eq!(error.blame(), Blame::Input, "{error}");
            let message = jiffy_control::error_chain(&error);
            assert!(message.contains(why), "{message:?} lacks {why:?}");
            return;
        }
    };
    match instance.invoke(&event(b"{}")) {
        Err(VmError::Failed {
            blame: Blame::Input,
            message,
        }) => assert!(message.contains(why), "{message:?} lacks {why:?}"),
        other => panic!("{why}: {other:?}"),
    }
    assert!(log.lock().expect("not poisoned").is_empty());
}

/// The VMM takes the snapshot, and it answers.
#[track_caller]
fn assert_answers(snapshot: &Folder) {
    let (mut instance, _log) = spawn(of_snapshot(&snapshot.path(), Isolation::Fresh));
    for _ in 0..2 {
        let response = instance.invoke(&event(br#"{"name":"Ada"}"#));
        let body = response.expect("a response").body;
        assert!(body.starts_with(br#"{"greeting":"Hello, Ada!"#), "{body:?}");
    }
    instance.finish().expect("a report");
}

fn event(body: &[u8]) -> Request {
    jiffy_tests::vm::event(body)
}

/// Changes a file of a snapshot.
fn edit(snapshot: &Folder, file: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let path = snapshot.file(file);
    let mut bytes = fs::read(&path).expect("a file");
    change(&mut bytes);
    fs::write(&path, bytes).expect("a file");
}

/// A copy whose state file is changed byte by byte.
fn with_bytes(snapshot: &Folder, change: impl FnOnce(&mut Vec<u8>)) -> Folder {
    let copy = snapshot.changed(|_| {});
    edit(&copy, STATE_FILE, change);
    copy
}

/// The numbers stand where no checksum is looked at yet, and a checksum that fits changes nothing.
#[test]
fn another_abi_and_a_newer_format_are_named() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    for (offset, number, why) in [
        (ABI, 77u32, "with ABI 77"),
        (FORMAT, 99, "newer jiffy (format 99"),
        (FORMAT, 0, "has format 0"),
    ] {
        let change = |bytes: &mut Vec<u8>| {
            bytes[offset..offset + 4].copy_from_slice(&number.to_le_bytes());
        };
        assert_refused(&with_bytes(&good, change), why);
        let sealed = with_bytes(&good, |bytes| {
            change(bytes);
            jiffy_snapshots::seal(bytes);
        });
        assert_refused(&sealed, why);
    }
    assert_answers(&good);
}

#[test]
fn a_damaged_state_is_refused_wherever_it_is_damaged() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    let len = fs::metadata(good.file(STATE_FILE)).expect("a file").len();
    let len = usize::try_from(len).expect("small");
    // Behind the fields that the header's own checks find out about.
    for offset in [40, 72, CHECKSUM, CHECKSUM + 32, len / 2, len - 1] {
        let damaged = with_bytes(&good, |bytes| bytes[offset] ^= 1);
        assert_refused(&damaged, "damaged (checksum");
    }
    assert_refused(
        &with_bytes(&good, |bytes| bytes[0] ^= 1),
        "not a jiffy snapshot",
    );
    for (bytes, why) in [
        (0, "ends after 0"),
        (100, "ends after 100"),
        (len - 1, "ends after"),
    ] {
        assert_refused(&with_bytes(&good, |file| file.truncate(bytes)), why);
    }
    assert_refused(&with_bytes(&good, |bytes| bytes.push(0)), "behind its end");
}

#[test]
fn a_file_that_is_short_or_missing_is_named() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    let ram_bytes = good.open().ram_bytes();
    for bytes in [ram_bytes - 4096, ram_bytes + 4096, 0] {
        let copy = good.changed(|_| {});
        let file = OpenOptions::new().write(true).open(copy.file(RAM_FILE));
        file.expect("a file")
            .set_len(bytes)
            .expect("another length");
        assert_refused(&copy, &format!("RAM has {bytes} bytes, not {ram_bytes}"));
    }
    for file in [STATE_FILE, RAM_FILE] {
        let copy = good.changed(|_| {});
        fs::remove_file(copy.file(file)).expect("a file");
        assert_refused(&copy, &format!("has no file {file}"));
    }
}

/// The state says that it needs what no CPU has.
#[test]
fn a_cpu_feature_that_the_host_lacks_is_named() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    let change = |cpu: &mut CpuNeeds| {
        let word = cpu.words.iter_mut().find(|word| word.bits != u32::MAX);
        word.expect("a feature that this host lacks").bits = u32::MAX;
    };
    let needy = good.changed(|state| change(&mut state.cpu));
    assert_refused(&needy, "needs CPU features that this host lacks");
    let modest = good.changed(|state| state.cpu.words.clear());
    assert_answers(&modest);
}

/// Whoever can write a snapshot can write its checksum; it still starts a vCPU in ring 3 only, with
/// this VMM's tables and control registers.
#[test]
fn a_vcpu_that_is_not_as_this_vmm_sets_it_up_is_refused() {
    type Change = (&'static str, fn(&mut State));
    const CHANGES: [Change; 27] = [
        ("cs.dpl", |state| state.vcpu.segments.cs.dpl = 0),
        ("cs.selector", |state| state.vcpu.segments.cs.selector &= !3),
        ("cs.base", |state| state.vcpu.segments.cs.base = 4096),
        ("cs.l", |state| state.vcpu.segments.cs.l = 0),
        ("ss.dpl", |state| state.vcpu.segments.ss.dpl = 0),
        ("ss.selector", |state| state.vcpu.segments.ss.selector = 0),
        ("ring 0", |state| {
            let segments = &mut state.vcpu.segments;
            (segments.cs.dpl, segments.ss.dpl) = (0, 0);
            (segments.cs.selector, segments.ss.selector) = (8, 16);
        }),
        ("tr.base", |state| state.vcpu.segments.tr.base = 0x20_0000),
        ("tr.limit", |state| state.vcpu.segments.tr.limit = 0xffff),
        ("gdt.base", |state| state.vcpu.gdt.base = 0x20_0000),
        ("idt.base", |state| state.vcpu.idt.base = 0x20_0000),
        ("idt.limit", |state| state.vcpu.idt.limit = 0),
        ("cr0", |state| state.vcpu.cr0 &= !(1 << 16)),
        ("cr3", |state| state.vcpu.cr3 = 0x20_0000),
        ("cr4", |state| state.vcpu.cr4 |= 1 << 22),
        ("cr4.fsgsbase", |state| state.vcpu.cr4 &= !(1 << 16)),
        ("efer.sce", |state| state.vcpu.efer |= 1),
        ("efer.nxe", |state| state.vcpu.efer &= !(1 << 11)),
        ("rflags.iopl+vm", |state| state.vcpu.regs.rflags |= 1 << 17),
        ("rflags.if", |state| state.vcpu.regs.rflags |= 1 << 9),
        ("rflags.tf", |state| state.vcpu.regs.rflags |= 1 << 8),
        ("ldt.base", |state| state.vcpu.segments.ldt.base = 0x20_0000),
        ("cr8", |state| state.vcpu.cr8 = 1),
        ("apic_base", |state| state.vcpu.apic_base = 99),
        ("xcr0 without x87", |state| state.vcpu.xcr0 = 0),
        ("xcr0 with avx512", |state| state.vcpu.xcr0 |= 0xe0),
        ("xcr0 of no CPU", |state| state.vcpu.xcr0 = u64::MAX),
    ];
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    for (what, change) in CHANGES {
        let tampered = good.changed(change);
        match tampered.try_restore(Isolation::Fresh) {
            Err(RestoreError::Kvm(KvmError::NotRing3)) => {}
            Err(other) => panic!("{what}: {other:?}"),
            Ok(_) => panic!("{what} is taken"),
        }
    }
    let ring0 = good.changed(CHANGES[6].1);
    assert_refused(&ring0, "not in ring 3");
}

/// Everything else of a vCPU is the guest's to choose: such a snapshot runs, and what it does wrong
/// is the guest's fault and no more.
#[test]
fn registers_of_ring_3_may_be_anything() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    let wild = good.changed(|state| state.vcpu.regs.rip = 1 << 40);
    let (mut instance, _log) = spawn(of_snapshot(&wild.path(), Isolation::Fresh));
    match instance.invoke(&event(b"{}")) {
        Err(VmError::Stopped(report)) => {
            let fault = matches!(
                report.end,
                VmEnd::Fault(GuestFault::Exception { .. } | GuestFault::Cpu { .. })
            );
            assert!(fault, "{report:?}");
        }
        other => panic!("{other:?}"),
    }
    let based = good.changed(|state| state.vcpu.segments.fs.base = 0x1234_5000);
    assert_answers(&based);
}

/// A guest that could never be given a request is refused, because no deadline would end it.
#[test]
fn a_guest_that_cannot_listen_is_refused() {
    type Change = (&'static str, fn(&mut State));
    const CHANGES: [Change; 6] = [
        ("queue", |state| {
            vsock(state).transport.queues[0].ready = false
        }),
        ("status", |state| vsock(state).transport.status = 0),
        ("down", |state| {
            vsock(state).connection = ConnectionState::Down
        }),
        ("offered", |state| {
            vsock(state).connection = ConnectionState::Offered;
        }),
        ("credit", |state| vsock(state).peer_buf_alloc = 0),
        ("count", |state| vsock(state).peer_fwd_cnt = 1),
    ];
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    for (what, change) in CHANGES {
        match good.changed(change).try_restore(Isolation::Fresh) {
            Err(RestoreError::NotListening) => {}
            Err(other) => panic!("{what}: {other:?}"),
            Ok(_) => panic!("{what} is taken"),
        }
    }
    assert_refused(&good.changed(CHANGES[0].1), "cannot be given a request");
    let outside = |state: &mut State| vsock(state).transport.queues[1].used_ring = u64::MAX - 3;
    assert_refused(&good.changed(outside), "queue 1");
}

/// A VM has the devices that its owner gave it. A snapshot with more or fewer is refused, whatever it says of them.
#[test]
fn a_snapshot_with_other_devices_is_refused() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    let refused = |change: fn(&mut State)| match good.changed(change).try_restore(Isolation::Fresh)
    {
        Err(RestoreError::Device(error)) => error,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it is taken"),
    };
    let console = |state: &mut State| {
        let console = DeviceState::Console(ConsoleState::default());
        state.devices.push(console);
    };
    assert!(matches!(refused(console), DeviceError::NotGiven(1)));
    let none = refused(|state| state.devices.clear());
    assert!(matches!(none, DeviceError::Missing("vsock device")));
    let other = refused(|state| {
        state.devices = vec![DeviceState::Console(ConsoleState::default())];
    });
    assert!(matches!(other, DeviceError::Missing("vsock device")));
    assert_refused(&good.changed(console), "which this VM was not given");
}

/// What the VMM itself keeps may say anything: the VM answers, or ends as a guest's fault does.
#[test]
fn forged_counters_end_no_vmm() {
    type Change = (&'static str, fn(&mut State));
    const CHANGES: [Change; 8] = [
        ("generation", |state| state.run.generation = u64::MAX),
        ("monotonic_ns", |state| state.run.monotonic_ns = u64::MAX),
        ("log_tail", |state| state.run.log_tail = u64::MAX),
        ("heap", |state| state.run.heap_start = state.run.heap_end),
        ("next_avail", |state| {
            vsock(state).transport.queues[1].next_avail = 77
        }),
        ("next_used", |state| {
            vsock(state).transport.queues[0].next_used = 77
        }),
        ("tx_count", |state| vsock(state).tx_count = u32::MAX),
        ("forwarded", |state| vsock(state).forwarded = u32::MAX),
    ];
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    for (what, change) in CHANGES {
        let forged = good.changed(change);
        match forged.try_restore(Isolation::Fresh) {
            Ok(mut restored) => match restored.try_ask(br#"{"name":"Ada"}"#) {
                Ok(_) | Err(VmEnd::Fault(_)) => {}
                Err(other) => panic!("{what}: {other:?}"),
            },
            Err(RestoreError::NotListening) => {}
            Err(other) => panic!("{what}: {other:?}"),
        }
    }
}

/// A working set says what to bring in early, and nothing else.
#[test]
fn a_working_set_changes_nothing_but_time() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let good = Guest::of("hello").snapshot();
    assert_answers(&good);
    let pages = u32::try_from(good.open().ram_bytes() / 4096).expect("small");
    let run = |first_page, pages| PageRun { first_page, pages };
    let wrong = [
        vec![run(0, 1)],
        vec![run(pages - 1, 1)],
        vec![run(0, pages)],
        (0..pages / 2).map(|page| run(page * 2, 1)).collect(),
        vec![],
    ];
    for runs in wrong {
        let copy = good.changed(|_| {});
        jiffy_snapshots::write_working_set(&copy.path(), &runs).expect("a working set");
        assert_eq!(copy.open().working_set(), runs);
        assert_answers(&copy);
        assert_same_as_without(&copy);
    }

    let copy = good.changed(|_| {});
    jiffy_snapshots::write_working_set(&copy.path(), &[run(8, 4)]).expect("a working set");
    let changes: [fn(&mut Vec<u8>); 4] = [
        |bytes| bytes.clear(),
        |bytes| bytes.fill(0xa5),
        |bytes| *bytes.last_mut().expect("a byte") ^= 1,
        // Sealed, but outside of RAM.
        |bytes| {
            bytes[48..52].copy_from_slice(&u32::MAX.to_le_bytes());
            jiffy_snapshots::seal_working_set(bytes);
        },
    ];
    for change in changes {
        let copy = copy.changed(|_| {});
        jiffy_snapshots::write_working_set(&copy.path(), &[run(8, 4)]).expect("a working set");
        edit(&copy, WORKING_SET_FILE, change);
        assert!(copy.open().working_set_problem().is_some());
        assert_answers(&copy);
    }
}

/// What a request reads of its text is in the working set where KVM shadows page tables, counts as written nowhere, and is not
/// copied where it would be for nothing.
#[test]
fn a_working_set_has_what_a_request_reads_where_that_is_worth_it() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let ram = Ram::new(RAM_BYTES_MIN).expect("RAM");
    let mut machine = Machine::new(ram).expect("a machine");
    machine.warm_up().expect("a run of nothing");
    let image = fs::read(jiffy_tests::image("hello")).expect("an image");
    let image = Image::parse(&image).expect("an image");
    let text = image.segments().iter();
    let mut text = text.filter(|segment| segment.permissions == Permissions::ReadExecute);
    let text = text.next().expect("text");
    let text = text.address / PAGE_BYTES..(text.address + text.mapped_bytes()) / PAGE_BYTES;

    let snapshot = Guest::of("hello").snapshot();
    let ask = |wait| {
        let (mut vm, _) = spawn(of_snapshot(&snapshot.path(), Isolation::Fresh));
        for _ in 0..2 {
            vm.invoke(&event(br#"{"name":"Ada"}"#)).expect("a response");
        }
        let told = vm.working_set(wait);
        (told, vm.finish().expect("a report").stats)
    };
    let (told, without) = ask(TIMEOUT_AMPLE);
    let told = told.expect("the first request tells it");
    let in_text = told.iter().filter(|(first, _)| text.contains(first));
    assert_eq!(
        in_text.count() > 0,
        machine.shadows_page_tables(),
        "{told:x?}"
    );
    let run = |(first, pages): &(u64, u64)| PageRun {
        first_page: u32::try_from(*first).expect("in RAM"),
        pages: u32::try_from(*pages).expect("in RAM"),
    };
    let runs: Vec<_> = told.iter().map(run).collect();
    jiffy_snapshots::write_working_set(&snapshot.path(), &runs).expect("a working set");
    let (told, with) = ask(Duration::ZERO);
    assert_eq!(told, None, "it is known");
    assert_eq!(with.last_reset_pages, without.last_reset_pages);
    let pages: u64 = runs.iter().map(|run| u64::from(run.pages)).sum();
    assert!(with.pages_touched >= pages, "{with:?}");
}

/// All of a VM of `copy` is as without its working set, before a request and after one.
fn assert_same_as_without(copy: &Folder) {
    let without = copy.changed(|_| {});
    assert!(without.open().working_set().is_empty());
    let mut with = copy.restore(Isolation::Reuse);
    let mut without = without.restore(Isolation::Reuse);
    for _ in 0..2 {
        assert_eq!(with.state(), without.state());
        assert_eq!(with.pages_unlike(|page| without.page(page)), [0u64; 0]);
        let question = br#"{"name":"Ada"}"#;
        assert_eq!(with.ask(question), without.ask(question));
    }
}

/// RAM is not read when a snapshot is opened; `verify` reads it, and finds one wrong bit.
#[test]
fn damaged_ram_is_found_by_verifying() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    let copy = Guest::of("hello").snapshot();
    let verify = || {
        jiffy_tests::jiffy()
            .args(["snapshot", "verify"])
            .arg(copy.path())
            .output()
    };
    let output = verify().expect("jiffy");
    assert!(output.status.success(), "{output:?}");
    let ram = OpenOptions::new()
        .read(true)
        .write(true)
        .open(copy.file(RAM_FILE));
    let ram = ram.expect("a file");
    let mut byte = [0];
    ram.read_exact_at(&mut byte, 0x10_0000).expect("a byte");
    ram.write_all_at(&[byte[0] ^ 1], 0x10_0000).expect("a byte");
    let output = verify().expect("jiffy");
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("RAM is damaged"), "{said}");
}

/// An example, and requests of its kind.
struct Example {
    name: &'static str,
    requests: Vec<Request>,
}

fn examples() -> Vec<Example> {
    let example = |name, requests| Example { name, requests };
    let file = common::example_file;
    let post = |target: &str, headers: &[(&str, &str)], body: &[u8]| Request {
        request_id: "r-1".into(),
        http: Some(HttpRequest {
            method: "POST".into(),
            target: target.into(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).into(), value.as_bytes().to_vec()))
                .collect(),
        }),
        ..event(body)
    };
    // The example of GitHub's documentation for this header.
    let signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let signed = [
        ("X-Hub-Signature-256", signature),
        ("X-GitHub-Event", "push"),
    ];
    vec![
        example(
            "echo",
            vec![event(b""), event(b"hello"), event(&[7; 300_000])],
        ),
        example(
            "hello",
            vec![event(br#"{"name":"Ada"}"#), event(b"{"), event(b"null")],
        ),
        example(
            "thumbnail",
            vec![
                post("/?width=64", &[], &file("thumbnail/tests/ball.png")),
                post("/", &[], &file("thumbnail/tests/ball.jpg")),
                post("/?width=0", &[], b"no picture"),
            ],
        ),
        example(
            "markdown",
            vec![event(&file("markdown/tests/page.md")), event(&[0xff])],
        ),
        example(
            "webhook",
            vec![
                post("/hooks", &signed, b"Hello, World!"),
                post("/hooks", &signed, b"Hello, World?"),
            ],
        ),
        example("primes", vec![event(br#"{"limit":100000}"#), event(b"{}")]),
        example(
            "faults",
            vec![event(br#"{"kind":"error"}"#), event(br#"{"kind":"panic"}"#)],
        ),
    ]
}

/// How a request ended, without what depends on time.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Response(Response),
    Stopped(VmEnd),
}

/// What a VM answers to each request and logs in all.
fn serve(source: Source, requests: &[Request]) -> (Vec<Ending>, Vec<LogRecord>) {
    let (mut instance, log) = spawn(source);
    let mut endings = vec![];
    for request in requests {
        endings.push(match instance.invoke(request) {
            Ok(response) => Ending::Response(response),
            Err(VmError::Stopped(report)) => Ending::Stopped(report.end),
            Err(other) => panic!("{other:?}"),
        });
    }
    // If it has stopped already there is no second report; all of the log is here either way.
    drop(instance.finish());
    let log = std::mem::take(&mut *log.lock().expect("not poisoned"));
    (endings, log)
}

/// A restored VM behaves as one that booted: the seven examples answer the same, log the same and
/// go wrong in the same way, also when requests follow each other.
#[test]
fn a_restored_vm_behaves_as_one_that_booted() {
    if !jiffy_tests::require_kvm() {
        return;
    }
    for Example { name, requests } in examples() {
        let booted = Source::Image {
            path: jiffy_tests::image(name),
            ram_bytes: None,
        };
        let snapshot = Guest::of(name).snapshot();
        let (booted, booted_log) = serve(booted, &requests);
        assert_eq!(booted.len(), requests.len(), "{name}");
        for isolation in [Isolation::Fresh, Isolation::Reuse] {
            let source = of_snapshot(&snapshot.path(), isolation);
            let (restored, restored_log) = serve(source, &requests);
            assert!(restored == booted, "{name}, {isolation:?}: {restored:?}");
            // What `init` logged came while the snapshot was made.
            assert!(
                booted_log.ends_with(&restored_log),
                "{name}, {isolation:?}: {restored_log:?}, {booted_log:?}"
            );
        }
    }
}

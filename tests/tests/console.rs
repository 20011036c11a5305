//! The serial port: a way to speak for images that have no other, there only when it is asked for, and bounded as the log is.

mod common;

use std::{fs, os::fd::AsFd, process};

use common::{script_snapshot, script_snapshot_given};
use jiffy_abi::{
    devices::{CONSOLE_PORT, DeviceId},
    doorbell::Wait,
    layout::RAM_BYTES_DEFAULT,
    log_ring::Level,
    vsock::op,
};
use jiffy_client::{Spawner, SpawnerOptions};
use jiffy_control::{
    Command, Devices, Event, GuestFault, LOG_BYTES_MAX, LogRecord, RECORD_COST_BYTES, VmEnd,
};
use jiffy_tests::{
    hostile::{ANSWER, Script, packet},
    image, jiffy,
    owner::Owner,
    require_kvm,
    script::{EXIT_SURVIVED, Op, Width},
    vm::{Ending, TIMEOUT_AMPLE},
    vmm_path,
};
use jiffy_vmm::{
    devices::DeviceError,
    run::{Isolation, RestoreError},
};

const GENERAL_PROTECTION: u8 = 13;
const LAST: u16 = CONSOLE_PORT + 7;
const SCRATCH: u16 = CONSOLE_PORT + 7;
const MODEM_CONTROL: u16 = CONSOLE_PORT + 4;

fn texts(log: &[LogRecord]) -> Vec<&str> {
    log.iter().map(|record| record.text.as_str()).collect()
}

/// That the guest ended because a port is closed: as an exception where the I/O bitmap is obeyed, as a broken rule elsewhere.
#[track_caller]
fn is_closed(ending: &Ending) {
    match ending.fault() {
        GuestFault::Exception {
            vector: GENERAL_PROTECTION,
            ..
        } => {}
        GuestFault::Device { message, .. } if message.contains("is neither a doorbell nor") => {}
        other => panic!("{other:?}"),
    }
}

/// Before there is a device, a log ring or a stack worth the name.
#[test]
fn a_guest_speaks_from_its_first_instruction() {
    if !require_kvm() {
        return;
    }
    let script = Script::new().with_console();
    let script = script.say(b"hello from C\r\n\nno end");
    let ending = script.run(TIMEOUT_AMPLE);
    assert_eq!(ending.report.end, VmEnd::Exited(EXIT_SURVIVED));
    assert_eq!(texts(&ending.log), ["hello from C", "", "no end"]);
    let is_info = |record: &LogRecord| record.level() == Level::Info;
    assert!(ending.log.iter().all(is_info));
    // A fault takes no last words with it.
    let faults = Script::new().with_console().say(b"last words");
    let ending = faults.op(Op::Load(Width::U8, 0)).run(TIMEOUT_AMPLE);
    assert!(matches!(ending.fault(), GuestFault::Exception { .. }));
    assert_eq!(texts(&ending.log), ["last words"]);
}

#[test]
fn without_a_console_its_ports_are_closed() {
    if !require_kvm() {
        return;
    }
    for port in CONSOLE_PORT..=LAST {
        is_closed(&Script::new().out(port, b'x').run(TIMEOUT_AMPLE));
        let read = Script::new().op(Op::In(Width::U8, port));
        is_closed(&read.run(TIMEOUT_AMPLE));
    }
}

#[test]
fn with_a_console_the_ports_beside_it_stay_closed() {
    if !require_kvm() {
        return;
    }
    for port in [CONSOLE_PORT - 1, LAST + 1, 0, 0x2f8, 0x80, u16::MAX] {
        let console = || Script::new().with_console();
        is_closed(&console().out(port, b'x').run(TIMEOUT_AMPLE));
        is_closed(&console().op(Op::In(Width::U8, port)).run(TIMEOUT_AMPLE));
    }
}

#[test]
fn its_ports_take_and_give_one_byte() {
    if !require_kvm() {
        return;
    }
    for width in [Width::U16, Width::U32] {
        for op in [
            Op::Out(width, CONSOLE_PORT, 0x41),
            Op::In(width, CONSOLE_PORT),
        ] {
            let script = Script::new().with_console().op(op);
            script.breaks("other than as one byte");
        }
        // The last byte of these is a port beside it.
        let over = Script::new().with_console().op(Op::Out(width, LAST, 0));
        assert!(matches!(
            over.run(TIMEOUT_AMPLE).report.end,
            VmEnd::Fault(_)
        ));
    }
    // Several bytes at once: rep outsb.
    let string = [
        0x66, 0xba, 0xf8, 0x03, 0xb9, 4, 0, 0, 0, 0x48, 0x89, 0xe6, 0xf3, 0x6e, 0xc3,
    ];
    let ending = Script::new().with_console().code(&string).ends();
    assert!(matches!(
        ending.report.end,
        VmEnd::Fault(_) | VmEnd::Exited(EXIT_SURVIVED)
    ));
    // What a port reads reaches the guest: mov dx, 0x3fd; in al, dx; mov dx, 0x3f8; out dx, al; ret
    let echo_status = [
        0x66, 0xba, 0xfd, 0x03, 0xec, 0x66, 0xba, 0xf8, 0x03, 0xee, 0xc3,
    ];
    let ending = Script::new().with_console().code(&echo_status).ends();
    assert_eq!(texts(&ending.log), ["`"], "ready, and nothing to read");
}

/// 40,000 lines in `init`: what is over the log's limit is dropped, and told.
#[test]
fn a_flood_is_bounded_as_the_log_is() {
    if !require_kvm() {
        return;
    }
    const LINES: u32 = 40_000;
    // mov dx, 0x3f8; mov al, '\n'; mov ecx, LINES; again: out dx, al; loop again; ret
    let mut flood = vec![0x66, 0xba, 0xf8, 0x03, 0xb0, b'\n', 0xb9];
    flood.extend(LINES.to_le_bytes());
    flood.extend([0xee, 0xe2, 0xfd, 0xc3]);
    let script = Script::new().with_console().code(&flood);
    let ending = script.say(b"lost\n").run(TIMEOUT_AMPLE);
    assert_eq!(ending.report.end, VmEnd::Exited(EXIT_SURVIVED));
    let kept = LOG_BYTES_MAX / RECORD_COST_BYTES;
    let (notice, lines) = ending.log.split_last().expect("a log");
    assert_eq!(lines.len(), kept);
    assert!(lines.iter().all(|record| record.text.is_empty()));
    assert!(notice.text.contains("1 MiB"), "{}", notice.text);
    let lost = ending.report.stats.log_lost;
    assert_eq!(lost.records, u64::from(LINES) + 1 - kept as u64);
}

/// A guest with a console that answers every request, and says something in each.
fn talker() -> Script {
    Script::new()
        .with_console()
        .say(b"booted\n")
        .up()
        .packet(packet(op::RESPONSE, 0), &[])
        .wait(Wait::Poll)
        .ready()
        .out(SCRATCH, 0xa5)
        .out(MODEM_CONTROL, 1 << 4)
        .say(b"into the loop")
        .out(MODEM_CONTROL, 0)
        .say(b"asked \x1b[2J\r\nhalf")
        .reply(ANSWER)
        .wait(Wait::Idle)
}

/// From the command line: the text comes out, steers no terminal, and the responses are what they were.
#[test]
fn both_commands_have_a_console() {
    if !require_kvm() {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("talker.elf");
    fs::write(&path, talker().image()).expect("an image");
    let run = |command: &mut process::Command| {
        let output = command.arg(&path).output().expect("it starts");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let said = run(process::Command::new(vmm_path()).arg("--console"));
    let lines = "booted\nasked \\u{1b}[2J\nhalf\n";
    assert_eq!(said, (Some(0), "ok".into(), lines.into()));

    // As a deploy: from a snapshot, so that what `init` said is said once, and each request finds a console that is new.
    let requests = ["run", "--console", "--requests", "3"];
    let (code, stdout, stderr) = run(jiffy().args(requests));
    assert_eq!((code, &*stdout), (Some(0), "ok"), "{stderr}");
    let each = "[info] asked \\u{1b}[2J\n[info] half\n";
    assert_eq!(stderr, format!("[info] booted\n{each}{each}{each}"));

    // Unasked for, the first byte ends the guest: 5, as any fault does.
    assert_eq!(run(&mut process::Command::new(vmm_path())).0, Some(5));
    assert_eq!(run(jiffy().arg("run")).0, Some(5));
}

/// A snapshot is of a VM with a console or of one without: neither goes on as the other.
#[test]
fn a_snapshot_is_restored_with_the_devices_that_it_was_made_with() {
    if !require_kvm() {
        return;
    }
    let console = [DeviceId::Console];
    let with = script_snapshot_given(&talker(), &console);
    let without = script_snapshot(&Script::connected().ready());
    let refused = |result: Result<common::Restored, RestoreError>| match result {
        Err(RestoreError::Device(error)) => error,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it is taken"),
    };
    let error = refused(with.try_restore(Isolation::Fresh));
    assert!(matches!(error, DeviceError::NotGiven(1)), "{error}");
    let error = refused(without.try_restore_given(Isolation::Fresh, &console));
    assert!(matches!(error, DeviceError::Missing("console")), "{error}");
    let restored = with.try_restore_given(Isolation::Fresh, &console);
    assert_eq!(restored.expect("a VM").ask(b"ask"), b"ok");
}

/// Nothing of a request is left in the console: neither in its registers, nor in its FIFO, nor half a line.
#[test]
fn a_reset_puts_the_console_back() {
    if !require_kvm() {
        return;
    }
    let console = [DeviceId::Console];
    let snapshot = script_snapshot_given(&talker(), &console);
    let restore = |isolation| {
        let restored = snapshot.try_restore_given(isolation, &console);
        restored.expect("a VM")
    };
    let mut vm = restore(Isolation::Reuse);
    let before = vm.state().devices;
    assert_eq!(before.len(), 2);
    assert_eq!(before, snapshot.open().state().devices);
    vm.ask(b"ask");
    assert_ne!(vm.state().devices[1], before[1]);
    vm.vm.reset().expect("a reset");
    assert_eq!(vm.state().devices, before);

    let mut fresh = restore(Isolation::Fresh);
    for _ in 0..3 {
        fresh.ask(b"ask");
        assert_eq!(fresh.state().devices, before);
        assert_eq!(texts(&fresh.logs()), ["asked \x1b[2J", "half"]);
    }
}

/// Devices, and the descriptors that come with them, are counted before a VM gets any.
#[test]
fn a_command_that_gives_what_cannot_be_taken_ends_the_shell() {
    if !require_kvm() {
        return;
    }
    let spawner = Spawner::start(&vmm_path(), &SpawnerOptions::default()).expect("a spawner");
    let image = fs::File::open(image("hello")).expect("an image");
    let check = |devices: &[DeviceId], files: usize, expected: &str| {
        let mut owner = Owner::new(&spawner, RAM_BYTES_DEFAULT).expect("a shell");
        owner.waiting().expect("a shell that waits");
        let boot = Command::Boot {
            ram_bytes: RAM_BYTES_DEFAULT,
            timeout_ms: None,
            environment: vec![],
            devices: Devices::new(devices),
        };
        let files = vec![image.as_fd(); files];
        owner.tell(&boot, &files).expect("a shell that listens");
        match owner.event().expect("an event") {
            Event::Failed { message, .. } => assert!(message.contains(expected), "{message}"),
            other => panic!("{other:?}"),
        }
    };
    check(&[], 0, "without its file");
    check(
        &[],
        2,
        "1 descriptors come with it that belong to no device",
    );
    check(&[DeviceId::Console], 2, "belong to no device");
    check(&[DeviceId::Vsock], 1, "comes without a descriptor");
    check(&[DeviceId::Vsock], 2, "which each VM has already");
    // The spawner makes others.
    let mut owner = Owner::new(&spawner, RAM_BYTES_DEFAULT).expect("a shell");
    owner.waiting().expect("a shell that waits");
}

//! The NIC: frames go both ways while a request is in hand, nothing of one request is left for the next, and a guest that lies ends
//! itself. A pair of sockets is a TAP that everybody may have; one test has a real one, which takes root.

mod common;

use std::{
    fs,
    io::ErrorKind,
    os::{fd::OwnedFd, unix::net::UnixDatagram},
    process::{self, Output},
    sync::{Arc, mpsc},
    thread,
};

use common::{script_snapshot, script_snapshot_given};
use jiffy_abi::{
    devices::DeviceId,
    doorbell::Wait,
    layout::{MMIO_VSOCK, MMIO_WINDOW_BYTES, PAGE_BYTES, RESUME_PAGE},
    resume_page::{NETWORK, NetworkIdentity},
    virtio_mmio::{self as mmio, DESC_NEXT, DESC_WRITE},
    vsock::op,
};
use jiffy_client::NicEnd;
use jiffy_control::{Network, VmEnd};
use jiffy_tests::{
    hostile::{ANSWER, NIC_RX, NIC_TX, Script, packet},
    jiffy, require_kvm,
    script::{Op, Width},
    skip,
    vm::{TIMEOUT_AMPLE, event},
    vmm_path,
};
use jiffy_vmm::{
    devices::DeviceError,
    run::{Isolation, RestoreError},
};

const HEADER_BYTES: usize = 12;
/// Where scripts put frames that they send.
const FRAME: u64 = 0x98_0000;

fn identity() -> NetworkIdentity {
    NetworkIdentity {
        mac: [2, 0x6a, 10, 9, 0, 2],
        ipv4: [10, 9, 0, 2],
        prefix_len: 24,
        gateway: [10, 9, 0, 1],
        gateway_mac: [2, 0, 0, 0, 0, 1],
        mtu: 1500,
        ..NetworkIdentity::default()
    }
}

/// The two sides of a NIC: what a VM is given, and what is at the other end.
fn network() -> (NicEnd, UnixDatagram) {
    let (host, far) = UnixDatagram::pair().expect("a pair of sockets");
    host.set_nonblocking(true).expect("a flag");
    far.set_read_timeout(Some(TIMEOUT_AMPLE)).expect("a limit");
    let end = NicEnd {
        network: Network::new(&identity()).expect("a network"),
        tap: Arc::new(OwnedFd::from(host)),
    };
    (end, far)
}

/// A UDP packet of no checksum that anybody looks at; told from others by its number.
fn udp(number: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![number; len];
    frame[..6].copy_from_slice(&[0xa; 6]);
    frame[6..12].copy_from_slice(&[0xb; 6]);
    frame[12..14].copy_from_slice(&[8, 0]);
    frame[23] = 17;
    frame[26..30].copy_from_slice(&[1; 4]);
    frame[30..34].copy_from_slice(&[2; 4]);
    frame[34..36].copy_from_slice(&[3; 2]);
    frame[36..38].copy_from_slice(&[4; 2]);
    frame
}

/// The same on its way back.
fn back(mut frame: Vec<u8>) -> Vec<u8> {
    for (one, other, bytes) in [(0, 6, 6), (26, 30, 4), (34, 36, 2)] {
        for at in 0..bytes {
            frame.swap(one + at, other + at);
        }
    }
    frame
}

/// Puts a frame behind `header` into the transmit queue.
fn frame(script: Script, header: [u8; HEADER_BYTES], frame: &[u8]) -> Script {
    let len = u32::try_from(HEADER_BYTES + frame.len()).expect("small");
    script
        .bytes(FRAME, &header)
        .bytes(FRAME + HEADER_BYTES as u64, frame)
        .desc(NIC_TX, 0, FRAME, len, 0, 0)
        .avail(NIC_TX, 0, 0)
        .avail_index(NIC_TX, 1)
}

const HELLO: &[u8] = &[b'h'; 60];
const NO_HEADER: [u8; HEADER_BYTES] = [0; HEADER_BYTES];

/// Both devices are up, and the guest is ready.
fn ready() -> Script {
    Script::new()
        .up()
        .nic_up()
        .packet(packet(op::RESPONSE, 0), &[])
        .wait(Wait::Poll)
        .ready()
}

/// A guest that says hello in each request, sends `count` packets back, and answers.
fn echoes(count: u64) -> Script {
    frame(ready(), NO_HEADER, HELLO)
        .wait(Wait::Poll)
        .op(Op::Echo(count))
        .reply(ANSWER)
        .wait(Wait::Idle)
}

fn received(far: &UnixDatagram) -> Vec<u8> {
    let mut frame = vec![0; 2000];
    let len = far.recv(&mut frame).expect("a frame");
    frame.truncate(len);
    frame
}

/// In a jailed process, and each at the cost of one exit.
#[test]
fn a_guest_answers_packets() {
    if !require_kvm() {
        return;
    }
    const COUNT: u8 = 10;
    let (end, far) = network();
    let script = echoes(COUNT.into()).with_nic(Some(end));
    let vm = script.start(TIMEOUT_AMPLE);
    let peer = thread::spawn(move || {
        assert_eq!(received(&far), HELLO);
        for number in 0..COUNT {
            let sent = udp(number, 60 + 140 * usize::from(number));
            far.send(&sent).expect("room");
            assert_eq!(received(&far), back(sent));
        }
        far
    });
    let ending = vm.ending(&event("ask"));
    peer.join().expect("the packets came back");
    assert_eq!(ending.report.end, VmEnd::Finished);
    let stats = ending.report.stats;
    let network = stats.network;
    let count = u64::from(COUNT);
    assert_eq!((network.frames_in, network.frames_out), (count, count + 1));
    assert_eq!(network.bytes_out, network.bytes_in + HELLO.len() as u64);
    assert_eq!((network.dropped_in, network.dropped_out), (0, 0));
    // The hello, the wait for each packet, and the answer.
    let waits = stats.last_request_exits.wait;
    assert!(waits <= count + 2, "{waits} exits for {count} packets");
}

/// A guest that waits for a packet which does not come is stopped at its deadline, and so is one that sends for ever. What nobody
/// takes is dropped.
#[test]
fn neither_silence_nor_a_flood_outlasts_the_deadline() {
    if !require_kvm() {
        return;
    }
    let (end, _far) = network();
    echoes(1).with_nic(Some(end)).times_out();
    let (end, far) = network();
    // again: add word [avail + 2], 64; mov al, Poll; out WAIT, al; jmp again
    let mut code = vec![0x66, 0x83, 0x04, 0x25];
    let index = u32::try_from(NIC_TX.avail + 2).expect("32 bits");
    code.extend(index.to_le_bytes());
    code.extend([0x40, 0xb0, Wait::Poll.to_byte(), 0xe6, 0xe0, 0xeb, 0xf1]);
    let flood = frame(ready(), NO_HEADER, HELLO)
        .wait(Wait::Poll)
        .code(&code);
    flood.with_nic(Some(end)).times_out();
    assert_eq!(received(&far), HELLO);
}

/// A host that sends without end: an idle guest takes nothing of it, and a request comes to its end.
#[test]
fn a_flood_of_the_host_keeps_no_guest_busy() {
    if !require_kvm() {
        return;
    }
    let (end, far) = network();
    let vm = echoes(3).with_nic(Some(end)).start(TIMEOUT_AMPLE);
    far.set_nonblocking(true).expect("a flag");
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let flood = thread::spawn(move || {
        let mut number = 0_u8;
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            number = number.wrapping_add(1);
            let _ = far.send(&udp(number, 100));
            let _ = far.recv(&mut [0; 2000]);
        }
    });
    let ending = vm.ending(&event("ask"));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    flood.join().expect("no panic");
    assert_eq!(ending.report.end, VmEnd::Finished);
    assert_eq!(ending.report.stats.requests_done, 1);
    assert!(ending.report.stats.network.frames_in >= 3);
}

/// What a guest writes into a header, a descriptor or a ring ends nobody but itself, with a network and without.
#[test]
fn a_guest_that_lies_to_its_nic_ends_itself() {
    if !require_kvm() {
        return;
    }
    let check = |script: Script, expected: &str| {
        let (end, _far) = network();
        for end in [None, Some(end)] {
            let script = script.clone().with_nic(end);
            script.wait(Wait::Poll).breaks(expected);
        }
    };
    for offload in [
        [1, 0, 0, 0, 0, 0],
        [0, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 0xff, 0xff],
    ] {
        let mut header = NO_HEADER;
        header[..6].copy_from_slice(&offload);
        check(frame(ready(), header, HELLO), "asks for an offload");
    }
    check(frame(ready(), NO_HEADER, &[0; 13]), "a frame of 13 bytes");
    let sends = |address: u64, len, flags, next| {
        ready()
            .desc(NIC_TX, 0, address, len, flags, next)
            .avail_index(NIC_TX, 1)
    };
    check(sends(FRAME, 1527, 0, 0), "a frame of 1515 bytes");
    check(sends(FRAME, u32::MAX, 0, 0), "it must have 14 to 1514");
    check(
        sends(FRAME, 11, 0, 0),
        "fewer than the 12 of a frame's header",
    );
    check(sends(FRAME, 20, DESC_NEXT, 0), "more than 16 descriptors");
    check(sends(FRAME, 20, DESC_NEXT, 9999), "does not end");
    check(sends(FRAME, 60, DESC_WRITE, 0), "for the other direction");
    // Page tables, the IDT, no RAM.
    for address in [0x1_0000, 0x3000, 1 << 40, u64::MAX - 8] {
        check(sends(address, 60, 0, 0), "may not touch");
    }
    check(ready().avail_index(NIC_TX, 65), "queue 1 of the NIC");
}

/// A buffer that a frame does not fit into, or that the guest may not write itself.
#[test]
fn a_receive_buffer_that_cannot_be_ends_the_guest() {
    if !require_kvm() {
        return;
    }
    for (address, len, flags, expected) in [
        (
            FRAME,
            20,
            DESC_WRITE,
            "a receive buffer has 20 bytes, and a frame with its header 72",
        ),
        (FRAME, 2048, 0, "for the other direction"),
        (
            FRAME,
            2048,
            DESC_WRITE | DESC_NEXT,
            "more than 16 descriptors",
        ),
        (0x1_0000, 2048, DESC_WRITE, "may not touch"),
        (u64::MAX - 8, 2048, DESC_WRITE, "may not touch"),
    ] {
        let (end, far) = network();
        let script = frame(ready(), NO_HEADER, HELLO)
            .desc(NIC_RX, 0, address, len, flags, 0)
            .wait(Wait::Poll)
            .wait(Wait::Event);
        let peer = thread::spawn(move || {
            assert_eq!(received(&far), HELLO);
            far.send(&udp(1, 60)).expect("room");
            far
        });
        script.with_nic(Some(end)).breaks(expected);
        peer.join().expect("the guest said hello");
    }
}

/// Its window is mapped only in a VM that was given one, and is that of a network device there.
#[test]
fn without_a_nic_there_is_no_window() {
    if !require_kvm() {
        return;
    }
    let window = MMIO_VSOCK + MMIO_WINDOW_BYTES;
    let read = Op::Load(Width::U32, window + mmio::DEVICE_ID);
    let (vector, address) = Script::new().op(read).excepts();
    assert_eq!((vector, address), (14, window + mmio::DEVICE_ID));
    Script::new().with_nic(None).op(read).survives();
    let behind = Op::Load(Width::U32, window + MMIO_WINDOW_BYTES);
    let (vector, _) = Script::new().with_nic(None).op(behind).excepts();
    assert_eq!(vector, 14);
}

/// What `init` sends is dropped, and it gets nothing: every VM that is restored would share it.
#[test]
fn a_guest_that_starts_has_no_network() {
    if !require_kvm() {
        return;
    }
    let (end, far) = network();
    far.send(&udp(1, 60)).expect("room");
    let start = Script::new().up().nic_up();
    let start = start.packet(packet(op::RESPONSE, 0), &[]);
    let start = frame(start, NO_HEADER, HELLO).wait(Wait::Poll);
    let script = start.ready().reply(ANSWER).wait(Wait::Idle);
    let ending = script.with_nic(Some(end)).run(TIMEOUT_AMPLE);
    assert_eq!(ending.report.end, VmEnd::Finished);
    let network = ending.report.stats.network;
    assert_eq!((network.frames_out, network.dropped_out), (0, 1));
    assert_eq!((network.frames_in, network.dropped_in), (0, 1));
    far.set_nonblocking(true).expect("a flag");
    let nothing = far.recv(&mut [0; 100]).expect_err("nothing was sent");
    assert_eq!(nothing.kind(), ErrorKind::WouldBlock);
}

/// A snapshot is of a VM with a NIC or of one without: neither goes on as the other.
#[test]
fn a_snapshot_is_restored_with_the_nic_that_it_was_made_with() {
    if !require_kvm() {
        return;
    }
    let nic = [DeviceId::Nic];
    let with = script_snapshot_given(&echoes(0), &nic);
    let without = script_snapshot(&Script::connected().ready());
    let refused = |result: Result<common::Restored, RestoreError>| match result {
        Err(RestoreError::Device(error)) => error,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it is taken"),
    };
    let error = refused(with.try_restore(Isolation::Fresh));
    assert!(matches!(error, DeviceError::NotGiven(2)), "{error}");
    let error = refused(without.try_restore_given(Isolation::Fresh, &nic));
    assert!(matches!(error, DeviceError::Missing("NIC")), "{error}");
    // Without a network it runs all the same, and what it sends is dropped.
    let restored = with.try_restore_given(Isolation::Fresh, &nic);
    let mut restored = restored.expect("a VM");
    assert_eq!(restored.ask(b"ask"), b"ok");
    assert_eq!(restored.vm.stats().network.dropped_out, 1);
}

/// The network that stands in a guest's resume page.
fn told(vm: &common::Restored) -> NetworkIdentity {
    let page = vm.page(RESUME_PAGE / PAGE_BYTES);
    let network = page[NETWORK..].first_chunk().expect("a page");
    NetworkIdentity::from_bytes(network)
}

/// Nothing of a request is left for the next: neither in the NIC's queues, nor in what waits at the TAP. Who the guest is, it
/// learns with a request and not from its snapshot.
#[test]
fn a_reset_puts_the_nic_back_and_forgets_its_frames() {
    if !require_kvm() {
        return;
    }
    let snapshot = script_snapshot_given(&echoes(1), &[DeviceId::Nic]);
    let (end, far) = network();
    let given = end.network.identity().expect("a network");
    let host = end.tap.try_clone().expect("a descriptor");
    let restored = snapshot.try_restore_networked(Isolation::Fresh, (given, host));
    let mut vm = restored.expect("a VM");
    let before = vm.state().devices;
    assert_eq!(before, snapshot.open().state().devices);
    assert_eq!(
        told(&vm),
        NetworkIdentity::default(),
        "it is in no snapshot"
    );

    // Each request is sent two packets, of which it takes one; the other waits for the next, which is not to have it.
    let (told_sent, sent) = mpsc::channel();
    let peer = thread::spawn(move || {
        for number in 0..3 {
            assert_eq!(received(&far), HELLO);
            for other in [number, 100 + number] {
                far.send(&udp(other, 60)).expect("room");
            }
            assert_eq!(received(&far), back(udp(number, 60)));
            told_sent.send(()).expect("somebody waits");
        }
        far
    });
    for number in 0..3 {
        vm.ask(b"ask");
        sent.recv_timeout(TIMEOUT_AMPLE).expect("both were sent");
        assert_eq!(vm.state().devices, before);
        assert_eq!(told(&vm), NetworkIdentity::default());
        let network = vm.vm.stats().network;
        // It may have been given to the guest together with the first, and is gone with its RAM.
        assert!(network.frames_in + network.dropped_in > 2 * number);
    }
    peer.join().expect("each got its own packet back");
}

/// Who the guest is, it is told with its request.
#[test]
fn a_guest_is_told_who_it_is() {
    if !require_kvm() {
        return;
    }
    let snapshot = script_snapshot_given(&echoes(0), &[DeviceId::Nic]);
    let (end, far) = network();
    let given = end.network.identity().expect("a network");
    let host = end.tap.try_clone().expect("a descriptor");
    let restored = snapshot.try_restore_networked(Isolation::Reuse, (given, host));
    let mut vm = restored.expect("a VM");
    assert_eq!(told(&vm), NetworkIdentity::default());
    vm.ask(b"ask");
    assert_eq!(told(&vm), identity());
    assert_eq!(received(&far), HELLO);
}

/// A network namespace with a TAP in it, gone with this value.
struct Namespace(String);

impl Namespace {
    /// `None`, and why, if this host or this user cannot make one.
    fn new() -> Option<Self> {
        let name = format!("jiffy-nic-{}", process::id());
        let is_made = ip(&["netns", "add", &name]).is_ok_and(|output| output.status.success());
        if !is_made {
            skip("a network namespace cannot be made, which takes root and `ip netns` (iproute2)");
            return None;
        }
        let namespace = Self(name);
        for command in [
            "tuntap add t0 mode tap",
            "link set t0 up",
            "address add 10.9.0.1/24 dev t0",
            "neighbour add 10.9.0.2 lladdr 02:6a:0a:09:00:02 dev t0",
            "tuntap add down0 mode tap",
        ] {
            let arguments = ["-n", &namespace.0].into_iter();
            let arguments: Vec<_> = arguments.chain(command.split(' ')).collect();
            let output = ip(&arguments).expect("ip starts");
            assert!(output.status.success(), "ip {command}: {output:?}");
        }
        Some(namespace)
    }

    /// A program in it.
    fn command(&self, program: &process::Command) -> process::Command {
        let mut command = process::Command::new("ip");
        command.args(["netns", "exec", &self.0]);
        command.arg(program.get_program()).args(program.get_args());
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = ip(&["netns", "delete", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> std::io::Result<Output> {
    process::Command::new("ip").args(arguments).output()
}

/// What a user does: a TAP with an address, `jiffy run --tap`, and a program of the host that gets its UDP packet back.
#[test]
fn a_program_of_the_host_reaches_a_function_over_a_tap() {
    if !require_kvm() {
        return;
    }
    let Some(namespace) = Namespace::new() else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("echo.elf");
    fs::write(&path, echoes(1).image()).expect("an image");
    let network = ["--address", "10.9.0.2/24", "--gateway", "10.9.0.1"];
    let run = |program: &process::Command, tap: &str| {
        let mut command = namespace.command(program);
        command.args(["--tap", tap]).args(network).arg(&path);
        command.stdout(process::Stdio::piped());
        command.stderr(process::Stdio::piped());
        command.spawn().expect("it starts")
    };
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    let mut jiffy = jiffy();
    jiffy.args(["run", "--stats"]);
    for program in [jiffy, process::Command::new(vmm_path())] {
        let running = run(&program, "t0");
        // Asked again and again, because nobody tells when the function listens.
        let ask = "exec 3<>/dev/udp/10.9.0.2/7; for i in {1..200}; do echo packet $i >&3; \
                   timeout 0.1 dd bs=64 count=1 status=none <&3 && exit 0; done; exit 1";
        let mut bash = process::Command::new("bash");
        bash.args(["-c", ask]);
        let asked = namespace.command(&bash).output().expect("bash starts");
        let output = running.wait_with_output().expect("it ends");
        let said = (text(output.stdout), text(output.stderr));
        assert!(asked.status.success(), "{asked:?} {said:?}");
        assert!(asked.stdout.starts_with(b"packet "), "{asked:?}");
        assert_eq!(
            (output.status.code(), &*said.0),
            (Some(0), "ok"),
            "{}",
            said.1
        );
        let is_jiffy = program.get_program() != vmm_path();
        let frames = said
            .1
            .lines()
            .find(|line| line.trim().starts_with("frames out"));
        let frames = frames.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
        assert_eq!(
            frames.as_deref(),
            is_jiffy.then_some("frames out 2"),
            "{}",
            said.1
        );
    }

    let no_image = process::Command::new(vmm_path())
        .args(["--tap", "t0"])
        .args(network)
        .output();
    assert_eq!(no_image.expect("it starts").status.code(), Some(2));

    // Each mistake is told with what to do.
    for (tap, code, expected) in [
        (
            "none0",
            9,
            "there is no network interface none0: make it with `ip tuntap add none0",
        ),
        (
            "down0",
            9,
            "the TAP down0 is down, so nothing can be sent: set it up with `ip link set",
        ),
        ("lo", 9, "the network interface lo is no TAP"),
        ("a/b", 2, "invalid TAP name \"a/b\""),
    ] {
        let mut jiffy = self::jiffy();
        jiffy.arg("run");
        let output = run(&jiffy, tap).wait_with_output().expect("it ends");
        let said = text(output.stderr);
        assert!(said.contains(expected), "{tap}: {said}");
        assert_eq!(output.status.code(), Some(code), "{said}");
    }
}

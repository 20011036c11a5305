//! Writes scripts for the hostile guest and runs them.
//!
//! A [`Script`] knows how a good driver of the vsock device behaves, so that a deed can begin where
//! a good driver has just got to.

use std::{fs, path::PathBuf, sync::OnceLock, time::Duration};

use jiffy_abi::{
    devices::CONSOLE_PORT,
    doorbell::{self, Wait},
    layout::{MMIO_VSOCK, MMIO_WINDOW_BYTES},
    virtio_mmio::{self as mmio, DESC_NEXT, DESC_WRITE},
    virtio_net,
    vsock::{
        CREDIT_BYTES, GUEST_CID, HEADER_BYTES, HOST_CID, PacketHeader, QUEUE_RX, QUEUE_TX,
        REQUEST_PORT, TYPE_STREAM, op,
    },
};
use jiffy_client::{Device, NicEnd};
use jiffy_control::{GuestFault, VmEnd};

use crate::{
    cache_dir, cargo, check, once_in_a_run,
    script::{
        CODE_BYTES_MAX, CODE_MARK, EXIT_SURVIVED, OP_BYTES, OPS_MARK, OPS_MAX, Op, Width, echo,
    },
    vm::{Ending, TIMEOUT_AMPLE, Vm, event},
    workspace_root,
};

/// Where scripts keep their queues and packets: in the heap, which the guest leaves alone.
pub const ARENA: u64 = 0x80_0000;
/// Receive queue: descriptors, available ring, used ring.
pub const RX: Rings = Rings::at(ARENA);
/// Transmit queue.
pub const TX: Rings = Rings::at(ARENA + 0x2000);
/// The NIC's receive queue.
pub const NIC_RX: Rings = Rings::at(echo::RX[0]);
/// The NIC's transmit queue.
pub const NIC_TX: Rings = Rings::at(echo::TX[0]);
/// Entries of a queue.
pub const QUEUE_SIZE: u16 = 64;
/// Receive buffers that a good driver offers.
pub const RX_BUFFERS: u16 = 16;
/// Where they are, and how large each is.
pub const RX_BUFFER: (u64, u32) = (ARENA + 0x1_0000, 4096);
/// Room for the packets of one script, each two pages: the header's and the payload's.
const TX_PACKETS: u64 = ARENA + 0x4_0000;

/// Where the parts of a queue are.
#[derive(Clone, Copy, Debug)]
pub struct Rings {
    /// Descriptor table.
    pub desc: u64,
    /// Available ring.
    pub avail: u64,
    /// Used ring.
    pub used: u64,
}

impl Rings {
    const fn at(address: u64) -> Self {
        Self {
            desc: address,
            avail: address + 0x800,
            used: address + 0x1000,
        }
    }
}

/// A good response but for its nonce, with the body "ok".
pub const ANSWER: &[u8] = b"jfRS\x02\0\x01\0\0\0\0\0\x02\0\0\0nonce...ok";
/// Where a frame has its nonce.
const NONCE_AT: u64 = 16;

/// What the guest is to do.
#[derive(Clone, Debug, Default)]
pub struct Script {
    ops: Vec<Op>,
    code: Vec<u8>,
    packets: u16,
    /// From the vsock device's window to that of the device whose registers are meant.
    window: u64,
    devices: Vec<Device>,
}

impl Script {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The device is up, its queues set up, and the guest has accepted the request stream.
    pub fn connected() -> Self {
        let accept = packet(op::RESPONSE, 0);
        Self::new().up().packet(accept, &[]).wait(Wait::Poll)
    }

    /// As [`Script::connected`], and the guest has a request in its first receive buffers.
    pub fn asked() -> Self {
        Self::connected().ready()
    }

    /// Does this next.
    pub fn op(mut self, op: Op) -> Self {
        self.ops.push(op);
        self
    }

    /// Runs machine code next. A script has one piece of it.
    pub fn code(mut self, code: &[u8]) -> Self {
        self.code = code.to_vec();
        self.op(Op::Call)
    }

    /// The number of the next operation, to jump back to.
    pub fn here(&self) -> u64 {
        self.ops.len() as u64
    }

    /// Writes bytes to guest memory.
    pub fn bytes(mut self, address: u64, bytes: &[u8]) -> Self {
        let (words, rest) = bytes.as_chunks::<8>();
        for (at, word) in (address..).step_by(8).zip(words) {
            self = self.op(Op::Store(Width::U64, at, u64::from_le_bytes(*word)));
        }
        for (at, byte) in (address + 8 * words.len() as u64..).zip(rest) {
            self = self.op(Op::Store(Width::U8, at, u64::from(*byte)));
        }
        self
    }

    /// Rings a doorbell.
    pub fn out(self, port: u16, byte: u8) -> Self {
        self.op(Op::Out(Width::U8, port, u32::from(byte)))
    }

    /// Its VM has a console.
    pub fn with_console(mut self) -> Self {
        self.devices = vec![Device::Console];
        self
    }

    /// Its VM has a NIC, with a network or without.
    pub fn with_nic(mut self, end: Option<NicEnd>) -> Self {
        self.devices = vec![Device::Nic(end)];
        self
    }

    /// What comes next is of the NIC's registers.
    pub fn of_nic(mut self) -> Self {
        self.window = MMIO_WINDOW_BYTES;
        self
    }

    /// What comes next is of the vsock device's registers, as it is from the beginning.
    pub fn of_vsock(mut self) -> Self {
        self.window = 0;
        self
    }

    /// Brings the NIC up and offers receive buffers.
    pub fn nic_up(self) -> Self {
        let mut script = self
            .of_nic()
            .features()
            .queue(virtio_net::QUEUE_RX, u32::from(QUEUE_SIZE), NIC_RX)
            .queue(virtio_net::QUEUE_TX, u32::from(QUEUE_SIZE), NIC_TX);
        for number in 0..echo::BUFFERS_COUNT {
            let at = echo::BUFFERS + u64::from(number) * u64::from(echo::BUFFER_BYTES);
            script = script
                .desc(NIC_RX, number, at, echo::BUFFER_BYTES, DESC_WRITE, 0)
                .avail(NIC_RX, number, number);
        }
        script
            .avail_index(NIC_RX, echo::BUFFERS_COUNT)
            .register(mmio::STATUS, 15)
            .of_vsock()
    }

    /// Writes bytes to the serial port.
    pub fn say(self, text: &[u8]) -> Self {
        let say = |script: Self, byte: &u8| script.out(CONSOLE_PORT, *byte);
        text.iter().fold(self, say)
    }

    /// Rings `WAIT`.
    pub fn wait(self, wait: Wait) -> Self {
        self.out(doorbell::WAIT, wait.to_byte())
    }

    /// Rings `READY`.
    pub fn ready(self) -> Self {
        self.out(doorbell::READY, 0)
    }

    /// Writes a register of the vsock device, or of the one that was named.
    pub fn register(self, register: u64, value: u32) -> Self {
        let at = MMIO_VSOCK + self.window + register;
        self.op(Op::Store(Width::U32, at, u64::from(value)))
    }

    /// Brings the device up to where its queues are to be set up.
    pub fn features(self) -> Self {
        self.register(mmio::STATUS, 0)
            .register(mmio::STATUS, 3)
            .register(mmio::DRIVER_FEATURES_SEL, 1)
            .register(mmio::DRIVER_FEATURES, mmio::FEATURE_HIGH_VERSION_1)
            .register(mmio::STATUS, 11)
    }

    /// Sets up a queue.
    pub fn queue(self, number: usize, size: u32, rings: Rings) -> Self {
        let half = |address: u64, shift: u32| u32::try_from(address >> shift & 0xffff_ffff);
        let half = |address, shift| half(address, shift).expect("32 bits");
        self.register(mmio::QUEUE_SEL, u32::try_from(number).expect("small"))
            .register(mmio::QUEUE_SIZE, size)
            .register(mmio::QUEUE_DESC_LOW, half(rings.desc, 0))
            .register(mmio::QUEUE_DESC_HIGH, half(rings.desc, 32))
            .register(mmio::QUEUE_DRIVER_LOW, half(rings.avail, 0))
            .register(mmio::QUEUE_DRIVER_HIGH, half(rings.avail, 32))
            .register(mmio::QUEUE_DEVICE_LOW, half(rings.used, 0))
            .register(mmio::QUEUE_DEVICE_HIGH, half(rings.used, 32))
            .register(mmio::QUEUE_READY, 1)
    }

    /// Brings the whole device up and offers receive buffers.
    pub fn up(self) -> Self {
        self.features()
            .queue(QUEUE_RX, u32::from(QUEUE_SIZE), RX)
            .queue(QUEUE_TX, u32::from(QUEUE_SIZE), TX)
            .rx_buffers(RX_BUFFER.1)
            .register(mmio::STATUS, 15)
    }

    /// Offers the receive buffers, of this size each.
    pub fn rx_buffers(mut self, bytes: u32) -> Self {
        for number in 0..RX_BUFFERS {
            let address = RX_BUFFER.0 + u64::from(number) * u64::from(RX_BUFFER.1);
            self = self
                .desc(RX, number, address, bytes, DESC_WRITE, 0)
                .avail(RX, number, number);
        }
        self.avail_index(RX, RX_BUFFERS)
    }

    /// Writes a descriptor.
    pub fn desc(
        self,
        rings: Rings,
        number: u16,
        address: u64,
        len_bytes: u32,
        flags: u16,
        next: u16,
    ) -> Self {
        let at = rings.desc + 16 * u64::from(number);
        let rest = u64::from(len_bytes) | u64::from(flags) << 32 | u64::from(next) << 48;
        self.op(Op::Store(Width::U64, at, address))
            .op(Op::Store(Width::U64, at + 8, rest))
    }

    /// Writes an entry of an available ring.
    pub fn avail(self, rings: Rings, slot: u16, head: u16) -> Self {
        let at = rings.avail + 4 + 2 * u64::from(slot % QUEUE_SIZE);
        self.op(Op::Store(Width::U16, at, u64::from(head)))
    }

    /// Writes the index of an available ring.
    pub fn avail_index(self, rings: Rings, index: u16) -> Self {
        self.op(Op::Store(Width::U16, rings.avail + 2, u64::from(index)))
    }

    /// Puts a packet into the transmit queue; the device sees it at the next doorbell.
    pub fn packet(mut self, header: PacketHeader, payload: &[u8]) -> Self {
        let number = self.packets;
        self.packets += 1;
        let at = TX_PACKETS + 0x2000 * u64::from(number);
        let len_bytes = u32::try_from(payload.len()).expect("a page at most");
        let (head, rest) = (2 * number, 2 * number + 1);
        let next = if payload.is_empty() { 0 } else { DESC_NEXT };
        let header_bytes = u32::try_from(HEADER_BYTES).expect("small");
        self.bytes(at, &header.to_bytes())
            .bytes(at + 0x1000, payload)
            .desc(TX, head, at, header_bytes, next, rest)
            .desc(TX, rest, at + 0x1000, len_bytes, 0, 0)
            .avail(TX, number, head)
            .avail_index(TX, number + 1)
    }

    /// Puts payload of the request stream into the transmit queue.
    pub fn payload(self, payload: &[u8]) -> Self {
        let len = u32::try_from(payload.len()).expect("a page at most");
        self.packet(packet(op::RW, len), payload)
    }

    /// As [`Script::payload`], with a frame that gets the nonce of the request in the receive buffers.
    pub fn reply(self, frame: &[u8]) -> Self {
        let to = TX_PACKETS + 0x2000 * u64::from(self.packets) + 0x1000 + NONCE_AT;
        self.payload(frame).op(Op::Nonce {
            from: RX_BUFFER.0,
            len: u64::from(RX_BUFFERS) * u64::from(RX_BUFFER.1),
            to,
        })
    }

    /// Runs the script in a VM of its own that gets one small request.
    ///
    /// # Panics
    /// If the VM comes to no typed end; `timeout` bounds `init` and the request.
    #[track_caller]
    pub fn run(&self, timeout: Duration) -> Ending {
        self.start(timeout).ending(&event("ask"))
    }

    /// Starts a VM with the script, and leaves it to the caller to ask.
    #[track_caller]
    pub fn start(&self, timeout: Duration) -> Vm {
        Vm::start_bytes(&self.image(), timeout, self.devices.clone())
    }

    /// Runs the script, which has to end the VM as a broken rule whose message has `text` in it.
    #[track_caller]
    pub fn breaks(&self, text: &str) {
        let ending = self.run(TIMEOUT_AMPLE);
        match ending.fault() {
            GuestFault::Device { message, .. } if message.contains(text) => {}
            other => panic!("expected a broken rule with {text:?}, got {other:?}"),
        }
    }

    /// Runs the script, which has to come to its end: its deeds are no business of the VMM's.
    #[track_caller]
    pub fn survives(&self) {
        let outcome = self.run(TIMEOUT_AMPLE).report.end;
        assert_eq!(outcome, VmEnd::Exited(EXIT_SURVIVED));
    }

    /// Runs the script, which has to end in an exception; returns its vector and address.
    #[track_caller]
    pub fn excepts(&self) -> (u8, u64) {
        match *self.run(TIMEOUT_AMPLE).fault() {
            GuestFault::Exception {
                vector, address, ..
            } => (vector, address),
            ref other => panic!("expected an exception, got {other:?}"),
        }
    }

    /// Runs the script, which has to be stopped at its deadline.
    #[track_caller]
    pub fn times_out(&self) {
        let outcome = self.run(Duration::from_millis(300)).report.end;
        let timed_out = matches!(
            outcome,
            VmEnd::TimedOut {
                timeout_ms: 300,
                ..
            }
        );
        assert!(timed_out, "{outcome:?}");
    }

    /// Runs the script, which may end in any way that has a type.
    #[track_caller]
    pub fn ends(&self) -> Ending {
        self.run(Duration::from_secs(2))
    }

    /// The image with this script in it.
    pub fn image(&self) -> Vec<u8> {
        assert!(self.ops.len() < OPS_MAX && self.code.len() < CODE_BYTES_MAX);
        let mut ops: Vec<u8> = Vec::with_capacity(OP_BYTES * OPS_MAX);
        for op in self.ops.iter().chain([&Op::End]) {
            ops.extend(op.to_words().iter().flat_map(|word| word.to_le_bytes()));
        }
        let mut code = self.code.clone();
        code.resize(CODE_MARK.len().max(code.len()), 0xc3); // ret
        let form = FORM.get_or_init(Form::read);
        let mut image = form.image.clone();
        image[form.ops_at..][..ops.len()].copy_from_slice(&ops);
        image[form.code_at..][..code.len()].copy_from_slice(&code);
        image
    }
}

/// Read once in a process: a test has many scripts, and looking for the marks takes longest.
static FORM: OnceLock<Form> = OnceLock::new();

/// The image that scripts are written into, and where.
#[derive(Debug)]
struct Form {
    image: Vec<u8>,
    ops_at: usize,
    code_at: usize,
}

impl Form {
    fn read() -> Self {
        let image = fs::read(hostile_image()).expect("the hostile image");
        Self {
            ops_at: place(&image, &OPS_MARK),
            code_at: place(&image, &CODE_MARK),
            image,
        }
    }
}

/// Where `mark` is, which has to be in one place.
fn place(image: &[u8], mark: &[u8; 16]) -> usize {
    let mut places = image.windows(mark.len()).enumerate();
    let mut places = places.by_ref().filter(|(_, window)| window == mark);
    let (at, _) = places.next().expect("the mark is in the image");
    assert!(places.next().is_none(), "the mark is in the image twice");
    at
}

/// A header as a good driver writes it.
pub fn packet(op: u16, len: u32) -> PacketHeader {
    PacketHeader {
        src_cid: GUEST_CID,
        dst_cid: HOST_CID,
        src_port: REQUEST_PORT,
        dst_port: REQUEST_PORT,
        len,
        socket_type: TYPE_STREAM,
        op,
        flags: 0,
        buf_alloc: CREDIT_BYTES,
        fwd_cnt: 0,
    }
}

/// Where the hostile guest's text begins.
pub fn entry() -> u64 {
    const E_ENTRY: usize = 24;
    let image = std::fs::read(hostile_image()).expect("the hostile guest");
    let entry = image[E_ENTRY..E_ENTRY + 8].try_into();
    u64::from_le_bytes(entry.expect("8 bytes"))
}

fn hostile_image() -> PathBuf {
    raw_image("hostile")
}

/// A guest of `tests/guests` that is no function, linked as `jiffy build` links images.
pub fn raw_image(name: &str) -> PathBuf {
    const TARGET: &str = "x86_64-unknown-linux-gnu";
    let target_dir = cache_dir().join("guests");
    once_in_a_run(&format!("image-{name}"), || {
        let root = workspace_root();
        let flags = [
            "-Cpanic=abort".into(),
            "-Clinker=rust-lld".into(),
            "-Clinker-flavor=ld.lld".into(),
            "-Crelocation-model=static".into(),
            "-Ctarget-feature=+crt-static".into(),
            "-Cforce-frame-pointers=yes".into(),
            "--cfg=jiffy_guest".into(),
            "-Clink-arg=-znostart-stop-gc".into(),
            format!("-Clink-arg=-T{}/unikernel/rt/image.ld", root.display()),
        ];
        let mut cargo = cargo();
        cargo.current_dir(root.join("tests/guests"));
        cargo.args(["build", "--release", "--locked", "-p", name]);
        cargo
            .args(["--target", TARGET, "--target-dir"])
            .arg(&target_dir);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
        check(&mut cargo);
    });
    target_dir.join(TARGET).join("release").join(name)
}

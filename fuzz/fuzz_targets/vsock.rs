//! The vsock device against a guest that writes what it likes into registers, rings, descriptors and
//! packets, and a host whose stream takes and gives as much as it likes.
#![no_main]

use jiffy_abi::{
    layout::{PAGE_BYTES, RAM_BYTES_MIN, STACK},
    virtio_mmio as mmio,
    vsock::{
        GUEST_CID, HEADER_BYTES, HOST_CID, PacketHeader, QUEUE_RX, QUEUE_TX, REQUEST_PORT,
        TYPE_STREAM, op,
    },
};
use jiffy_snapshots::state::AddressRange;
use jiffy_vmm::{
    devices::{BusDevice as _, vsock::VsockDevice},
    mem::Ram,
};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

/// Steps of one input that are taken.
const STEPS_MAX: usize = 256;
const QUEUES: u8 = 3;
const QUEUE_SIZE: u16 = 16;

/// Where queue `number` lies: descriptors, then the available ring, then the used ring.
const fn descriptors(number: u8) -> u64 {
    0x20_0000 + 0x1000 * number as u64
}
const AVAILABLE: u64 = 0x400;
const USED: u64 = 0x800;
/// Where buffers lie; descriptors that fuzzing makes point around here, or anywhere.
const BUFFERS: u64 = 0x21_0000;
/// A page that the guest cannot write, amidst the buffers.
const CONSTANTS: u64 = 0x22_0000;

#[derive(Arbitrary, Debug)]
struct Input {
    begin: Begin,
    steps: Vec<Step>,
}

/// How far the driver comes as it should, before the steps.
#[derive(Arbitrary, Debug, PartialEq)]
enum Begin {
    Reset,
    Up,
    Open,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Read {
        register: u16,
    },
    Write {
        register: u16,
        value: u32,
    },
    /// Overwrites bytes of the rings or buffers.
    Poke {
        offset: u16,
        value: u64,
    },
    Descriptor {
        queue: u8,
        index: u8,
        address: Address,
        len: u32,
        flags: u16,
        next: u8,
    },
    /// Makes descriptors available, whole chains or not, as many as it says.
    Offer {
        queue: u8,
        index: u8,
        times: u8,
    },
    /// A packet of the request stream, or nearly.
    Packet {
        slot: u8,
        len: u32,
        op: u16,
        other_port: bool,
        buf_alloc: u32,
        fwd_cnt: u32,
    },
    Transmit {
        room: u16,
    },
    Receive {
        bytes: u16,
    },
}

#[derive(Arbitrary, Debug)]
enum Address {
    Slot(u8),
    Anywhere(u64),
}

impl Address {
    fn guest_physical(&self) -> u64 {
        match self {
            Self::Slot(slot) => slot_address(*slot),
            Self::Anywhere(address) => *address,
        }
    }
}

fn slot_address(slot: u8) -> u64 {
    BUFFERS + 0x1000 * u64::from(slot % 16)
}

struct Guest {
    ram: Ram,
    device: VsockDevice,
    available: [u16; QUEUES as usize],
}

impl Guest {
    /// Writes a register; false if the VMM would now end the VM.
    fn set(&mut self, register: u64, value: u32) -> bool {
        self.device
            .write(self.ram.device_memory(), register, value)
            .is_ok()
    }

    fn come_up(&mut self) {
        let mut steps = vec![
            (mmio::STATUS, 0),
            (mmio::STATUS, 1),
            (mmio::STATUS, 3),
            (mmio::DRIVER_FEATURES_SEL, 1),
            (mmio::DRIVER_FEATURES, mmio::FEATURE_HIGH_VERSION_1),
            (mmio::STATUS, 11),
        ];
        for number in 0..QUEUES {
            let base = u32::try_from(descriptors(number)).expect("below 4 GiB");
            steps.extend([
                (mmio::QUEUE_SEL, u32::from(number)),
                (mmio::QUEUE_SIZE, u32::from(QUEUE_SIZE)),
                (mmio::QUEUE_DESC_LOW, base),
                (mmio::QUEUE_DRIVER_LOW, base + AVAILABLE as u32),
                (mmio::QUEUE_DEVICE_LOW, base + USED as u32),
                (mmio::QUEUE_READY, 1),
            ]);
        }
        steps.push((mmio::STATUS, 15));
        for (register, value) in steps {
            assert!(
                self.set(register, value),
                "a driver that keeps to the rules comes up"
            );
        }
    }

    /// Offers receive buffers, takes the request for a connection and accepts it.
    fn open(&mut self) {
        for index in 0..8 {
            let (address, len) = (Address::Slot(index), 0x1000);
            let flags = mmio::DESC_WRITE;
            let queue = QUEUE_RX as u8;
            self.step(&Step::Descriptor {
                queue,
                index,
                address,
                len,
                flags,
                next: 0,
            });
        }
        self.step(&Step::Offer {
            queue: QUEUE_RX as u8,
            index: 0,
            times: 8,
        });
        self.step(&Step::Receive { bytes: 0 });
        let (slot, op, buf_alloc) = (8, op::RESPONSE, 1 << 20);
        let accept = Step::Packet {
            slot,
            len: 0,
            op,
            other_port: false,
            buf_alloc,
            fwd_cnt: 0,
        };
        self.step(&accept);
        let queue = QUEUE_TX as u8;
        let (address, len) = (Address::Slot(slot), HEADER_BYTES as u32);
        self.step(&Step::Descriptor {
            queue,
            index: 0,
            address,
            len,
            flags: 0,
            next: 0,
        });
        self.step(&Step::Offer {
            queue,
            index: 0,
            times: 1,
        });
        self.step(&Step::Transmit { room: 0 });
        assert!(
            self.device.is_open(),
            "a driver that keeps to the rules gets its stream"
        );
    }

    /// Takes one step; false if the VMM would now end the VM.
    fn step(&mut self, step: &Step) -> bool {
        match *step {
            Step::Read { register } => self.device.read(u64::from(register)).is_ok(),
            Step::Write { register, value } => self.set(u64::from(register), value),
            Step::Poke { offset, value } => {
                self.poke(descriptors(0) + u64::from(offset), &value.to_le_bytes())
            }
            Step::Descriptor {
                queue,
                index,
                ref address,
                len,
                flags,
                next,
            } => {
                let at = descriptors(queue % QUEUES) + 16 * u64::from(index % 32);
                let mut descriptor = address.guest_physical().to_le_bytes().to_vec();
                descriptor.extend(len.to_le_bytes());
                descriptor.extend(flags.to_le_bytes());
                descriptor.extend(u16::from(next).to_le_bytes());
                self.poke(at, &descriptor)
            }
            Step::Offer {
                queue,
                index,
                times,
            } => {
                let number = queue % QUEUES;
                let ring = descriptors(number) + AVAILABLE;
                for index in (index..=u8::MAX).take(usize::from(times % 20)) {
                    let at = &mut self.available[usize::from(number)];
                    let slot = u64::from(*at % QUEUE_SIZE);
                    *at = at.wrapping_add(1);
                    let available = at.to_le_bytes();
                    self.poke(ring + 4 + 2 * slot, &u16::from(index).to_le_bytes());
                    self.poke(ring + 2, &available);
                }
                true
            }
            Step::Packet {
                slot,
                len,
                op,
                other_port,
                buf_alloc,
                fwd_cnt,
            } => {
                let header = PacketHeader {
                    src_cid: GUEST_CID,
                    dst_cid: HOST_CID,
                    src_port: REQUEST_PORT,
                    dst_port: REQUEST_PORT + u32::from(other_port),
                    len,
                    socket_type: TYPE_STREAM,
                    op: op % 9,
                    flags: 0,
                    buf_alloc,
                    fwd_cnt,
                };
                self.poke(slot_address(slot), &header.to_bytes())
            }
            Step::Transmit { room } => {
                let mut stream = vec![0; usize::from(room)];
                let sent = self
                    .device
                    .transmit(self.ram.device_memory(), &mut &mut stream[..]);
                sent.is_ok_and(|sent| {
                    assert!(sent.bytes <= u64::from(room) && sent.packets <= u64::from(u16::MAX));
                    true
                })
            }
            Step::Receive { bytes } => {
                let stream = vec![0xa5; usize::from(bytes)];
                let mut stream = &stream[..];
                let can = self.device.can_receive(self.ram.device_memory());
                let received = self
                    .device
                    .receive(self.ram.device_memory(), Some(&mut stream));
                can.is_ok()
                    && received.is_ok_and(|received| {
                        assert_eq!(received.bytes + stream.len() as u64, u64::from(bytes));
                        true
                    })
            }
        }
    }

    fn poke(&self, address: u64, bytes: &[u8]) -> bool {
        self.ram
            .write(address, bytes)
            .expect("rings and slots are in RAM");
        true
    }
}

fuzz_target!(|input: Input| {
    let mut ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
    // As of an image with constants in the middle of what it writes.
    let writable = [(STACK, CONSTANTS), (CONSTANTS + PAGE_BYTES, RAM_BYTES_MIN)];
    ram.let_devices_write(&writable.map(|(start, end)| AddressRange { start, end }));
    ram.write(CONSTANTS, &[0xc5; PAGE_BYTES as usize])
        .expect("in RAM");
    let mut guest = Guest {
        ram,
        device: VsockDevice::default(),
        available: [0; QUEUES as usize],
    };
    if input.begin != Begin::Reset {
        guest.come_up();
    }
    if input.begin == Begin::Open {
        guest.open();
    }
    let steps = input.steps.iter().take(STEPS_MAX);
    for step in steps {
        if !guest.step(step) {
            break;
        }
    }
    let constants: [u8; PAGE_BYTES as usize] = guest.ram.read_array(CONSTANTS).expect("in RAM");
    assert_eq!(
        constants, [0xc5; PAGE_BYTES as usize],
        "the device wrote constants"
    );
});

//! The NIC against a guest that writes what it likes into registers, rings, descriptors and headers, and a host whose frames have
//! any length.
#![no_main]

use std::{
    collections::VecDeque,
    io::{self, ErrorKind, Read, Write},
};

use jiffy_abi::{
    layout::{PAGE_BYTES, RAM_BYTES_MIN, STACK},
    virtio_mmio as mmio,
    virtio_net::{ETHERNET_HEADER_BYTES, FRAME_BYTES_MAX, QUEUES},
};
use jiffy_snapshots::state::AddressRange;
use jiffy_vmm::{
    devices::{
        BusDevice as _,
        nic::{FRAMES_MAX, NicDevice},
    },
    mem::Ram,
};
use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};

/// Steps of one input that are taken.
const STEPS_MAX: usize = 256;
const QUEUE_SIZE: u16 = 16;

/// Where queue `number` lies: descriptors, then the available ring, then the used ring.
const fn descriptors(number: usize) -> u64 {
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
    is_up: bool,
    steps: Vec<Step>,
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
        queue: bool,
        index: u8,
        address: Address,
        len: u32,
        flags: u16,
        next: u8,
    },
    /// Makes descriptors available, whole chains or not, as many as it says.
    Offer {
        queue: bool,
        index: u8,
        times: u8,
    },
    /// A frame in one descriptor, or a buffer for one, with a length that may be right.
    Frame {
        queue: bool,
        slot: u8,
        len: u16,
    },
    Transmit {
        room: Option<u8>,
    },
    Receive {
        lengths: Vec<u16>,
    },
    /// Goes on from what a snapshot would have.
    Restore,
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

/// Takes so many frames, gives those of its list.
struct Host {
    room: u8,
    taken: u64,
    lengths: VecDeque<u16>,
}

impl Read for Host {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.lengths.pop_front().ok_or(ErrorKind::WouldBlock)?;
        let len = buffer.len().min(usize::from(len));
        buffer[..len].fill(0xa5);
        Ok(len)
    }
}

impl Write for Host {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        assert!((ETHERNET_HEADER_BYTES..=FRAME_BYTES_MAX).contains(&frame.len()));
        if self.taken >= u64::from(self.room) {
            return Err(ErrorKind::WouldBlock.into());
        }
        self.taken += 1;
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Guest {
    ram: Ram,
    device: NicDevice,
    available: [u16; QUEUES],
}

impl Guest {
    /// Writes a register; false if the VMM would now end the VM.
    fn set(&mut self, register: u64, value: u32) -> bool {
        let memory = self.ram.device_memory();
        self.device.write(memory, register, value).is_ok()
    }

    fn come_up(&mut self) {
        let mut steps = vec![
            (mmio::STATUS, 0),
            (mmio::STATUS, 3),
            (mmio::DRIVER_FEATURES_SEL, 1),
            (mmio::DRIVER_FEATURES, mmio::FEATURE_HIGH_VERSION_1),
            (mmio::STATUS, 11),
        ];
        for number in 0..QUEUES {
            let base = u32::try_from(descriptors(number)).expect("below 4 GiB");
            steps.extend([
                (mmio::QUEUE_SEL, u32::try_from(number).expect("two")),
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

    fn descriptor(&self, queue: usize, index: u8, address: u64, len: u32, flags: u16, next: u8) {
        let mut descriptor = address.to_le_bytes().to_vec();
        descriptor.extend(len.to_le_bytes());
        descriptor.extend(flags.to_le_bytes());
        descriptor.extend(u16::from(next).to_le_bytes());
        self.poke(descriptors(queue) + 16 * u64::from(index % 32), &descriptor);
    }

    fn offer(&mut self, queue: usize, index: u8) {
        let ring = descriptors(queue) + AVAILABLE;
        let at = self.available[queue];
        self.available[queue] = at.wrapping_add(1);
        let slot = u64::from(at % QUEUE_SIZE);
        self.poke(ring + 4 + 2 * slot, &u16::from(index).to_le_bytes());
        self.poke(ring + 2, &self.available[queue].to_le_bytes());
    }

    /// Takes one step; false if the VMM would now end the VM.
    fn step(&mut self, step: &Step) -> bool {
        match *step {
            Step::Read { register } => return self.device.read(u64::from(register)).is_ok(),
            Step::Write { register, value } => return self.set(u64::from(register), value),
            Step::Poke { offset, value } => {
                self.poke(descriptors(0) + u64::from(offset), &value.to_le_bytes());
            }
            Step::Descriptor {
                queue,
                index,
                ref address,
                len,
                flags,
                next,
            } => {
                let address = address.guest_physical();
                self.descriptor(usize::from(queue), index, address, len, flags, next);
            }
            Step::Offer {
                queue,
                index,
                times,
            } => {
                for index in (index..=u8::MAX).take(usize::from(times % 20)) {
                    self.offer(usize::from(queue), index);
                }
            }
            Step::Frame { queue, slot, len } => {
                let flags = if queue { 0 } else { mmio::DESC_WRITE };
                let (queue, index) = (usize::from(queue), slot % 16);
                let len = u32::from(len % 2048);
                self.poke(slot_address(slot), &[0; 12]);
                self.descriptor(queue, index, slot_address(slot), len, flags, 0);
                self.offer(queue, index);
            }
            Step::Transmit { room } => {
                let mut host = Host {
                    room: room.unwrap_or(0),
                    taken: 0,
                    lengths: VecDeque::new(),
                };
                let lent = room.map(|_| &mut host);
                let Ok(moved) = self.device.transmit(self.ram.device_memory(), lent) else {
                    return false;
                };
                assert_eq!(moved.frames, host.taken);
                assert!(moved.frames + moved.dropped <= u64::from(FRAMES_MAX));
            }
            Step::Receive { ref lengths } => {
                let mut host = Host {
                    room: 0,
                    taken: 0,
                    lengths: lengths.iter().copied().collect(),
                };
                let can = self.device.can_receive(self.ram.device_memory());
                let received = self.device.receive(self.ram.device_memory(), &mut host);
                let (Ok(_), Ok(moved)) = (can, received) else {
                    return false;
                };
                let taken = lengths.len() - host.lengths.len();
                assert_eq!(moved.frames + moved.dropped, taken as u64);
                assert!(taken as u64 <= u64::from(FRAMES_MAX));
            }
            Step::Restore => {
                let state = self
                    .device
                    .state()
                    .expect("it never has something to deliver");
                let mut device = NicDevice::default();
                if device.set_state(self.ram.device_memory(), &state).is_ok() {
                    assert_eq!(device.state(), Some(state));
                    self.device = device;
                }
            }
        }
        true
    }

    fn poke(&self, address: u64, bytes: &[u8]) {
        let written = self.ram.write(address, bytes);
        written.expect("rings and slots are in RAM");
    }
}

fuzz_target!(|input: Input| {
    let mut ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
    // As of an image with constants in the middle of what it writes.
    let writable = [(STACK, CONSTANTS), (CONSTANTS + PAGE_BYTES, RAM_BYTES_MIN)];
    ram.let_devices_write(&writable.map(|(start, end)| AddressRange { start, end }));
    let constants = [0xc5; PAGE_BYTES as usize];
    ram.write(CONSTANTS, &constants).expect("in RAM");
    let mut guest = Guest {
        ram,
        device: NicDevice::default(),
        available: [0; QUEUES],
    };
    if input.is_up {
        guest.come_up();
    }
    let steps = input.steps.iter().take(STEPS_MAX);
    for step in steps {
        if !guest.step(step) {
            break;
        }
    }
    let found: [u8; PAGE_BYTES as usize] = guest.ram.read_array(CONSTANTS).expect("in RAM");
    assert_eq!(found, constants, "the device wrote constants");
});

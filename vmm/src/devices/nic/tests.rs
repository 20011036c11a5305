#![allow(
    clippy::cast_possible_truncation,
    reason = "the numbers of these tests are small"
)]
use std::{
    collections::VecDeque,
    io::{self, Read, Write},
};

use jiffy_abi::{
    layout::{RAM_BYTES_MIN, STACK},
    virtio_mmio as mmio,
};
use jiffy_snapshots::state::AddressRange;
use proptest::prelude::*;

use super::*;
use crate::{
    devices::{BusDevice as _, DeviceError, Effect},
    mem::Ram,
};

const SIZE: u16 = 8;
/// Descriptor table, available ring and used ring of each queue, a page each.
const RX: [u64; 3] = [0x10_0000, 0x10_1000, 0x10_2000];
const TX: [u64; 3] = [0x10_3000, 0x10_4000, 0x10_5000];
const BUFFERS: u64 = 0x20_0000;
const SENT: u64 = 0x30_0000;
/// What a guest may not have written, but may have sent: constants of its image.
const READ_ONLY: u64 = 0x0f_0000;

/// A host's side of frames, as a TAP is one.
#[derive(Default)]
struct Host {
    to_guest: VecDeque<Vec<u8>>,
    from_guest: Vec<Vec<u8>>,
    room: usize,
    error: Option<i32>,
}

impl Read for Host {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Some(error) = self.error {
            return Err(io::Error::from_raw_os_error(error));
        }
        let frame = self.to_guest.pop_front();
        let frame = frame.ok_or(io::ErrorKind::WouldBlock)?;
        let len = frame.len().min(buffer.len());
        buffer[..len].copy_from_slice(&frame[..len]);
        Ok(len)
    }
}

impl Write for Host {
    fn write(&mut self, frame: &[u8]) -> io::Result<usize> {
        if let Some(error) = self.error {
            return Err(io::Error::from_raw_os_error(error));
        }
        if self.from_guest.len() == self.room {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.from_guest.push(frame.to_vec());
        Ok(frame.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A device with a driver that tests move by hand.
struct Setup {
    ram: Ram,
    device: NicDevice,
    host: Host,
    available: [u16; 2],
}

impl Setup {
    fn new() -> Self {
        let mut ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
        let writable = [
            AddressRange {
                start: STACK,
                end: READ_ONLY,
            },
            AddressRange {
                start: RX[0],
                end: RAM_BYTES_MIN,
            },
        ];
        ram.let_devices_write(&writable);
        let mut setup = Self {
            ram,
            device: NicDevice::default(),
            host: Host {
                room: 100,
                ..Host::default()
            },
            available: [0; 2],
        };
        setup.bring_up();
        setup
    }

    fn bring_up(&mut self) {
        for (register, value) in [
            (mmio::STATUS, 3),
            (mmio::DRIVER_FEATURES_SEL, 0),
            (mmio::DRIVER_FEATURES, FEATURE_MTU as u32),
            (mmio::DRIVER_FEATURES_SEL, 1),
            (mmio::DRIVER_FEATURES, mmio::FEATURE_HIGH_VERSION_1),
            (mmio::STATUS, 11),
        ] {
            self.write(register, value).expect("allowed");
        }
        for (number, queue) in [RX, TX].iter().enumerate() {
            self.write(mmio::QUEUE_SEL, number as u32).expect("allowed");
            self.write(mmio::QUEUE_SIZE, SIZE.into()).expect("allowed");
            let registers = [
                mmio::QUEUE_DESC_LOW,
                mmio::QUEUE_DRIVER_LOW,
                mmio::QUEUE_DEVICE_LOW,
            ];
            for (register, address) in registers.into_iter().zip(queue) {
                self.write(register, *address as u32).expect("allowed");
            }
            self.write(mmio::QUEUE_READY, 1).expect("allowed");
        }
        assert!(self.write(mmio::STATUS, 15).expect("allowed"));
    }

    /// Writes a register; true if the queues are to be looked at.
    fn write(&mut self, register: u64, value: u32) -> Result<bool, DeviceError> {
        let memory = self.ram.device_memory();
        let effect = self.device.write(memory, register, value)?;
        Ok(effect == Effect::Serve)
    }

    fn transmit(&mut self) -> Result<Moved, NicError> {
        let memory = self.ram.device_memory();
        self.device.transmit(memory, Some(&mut self.host))
    }

    fn receive(&mut self) -> Result<Moved, NicError> {
        let memory = self.ram.device_memory();
        self.device.receive(memory, &mut self.host)
    }

    fn can_receive(&mut self) -> bool {
        let can = self.device.can_receive(self.ram.device_memory());
        can.expect("well-formed")
    }

    fn put(&self, address: u64, bytes: &[u8]) {
        self.ram.write(address, bytes).expect("in RAM");
    }

    fn desc(&self, queue: [u64; 3], index: u16, address: u64, len: u32, flags: u16, next: u16) {
        let desc = queue[0] + u64::from(index) * 16;
        self.put(desc, &address.to_le_bytes());
        self.put(desc + 8, &len.to_le_bytes());
        self.put(desc + 12, &flags.to_le_bytes());
        self.put(desc + 14, &next.to_le_bytes());
    }

    fn make_available(&mut self, number: usize, head: u16) {
        let queue = [RX, TX][number];
        let slot = u64::from(self.available[number] % SIZE);
        self.put(queue[1] + 4 + 2 * slot, &head.to_le_bytes());
        self.available[number] = self.available[number].wrapping_add(1);
        self.put(queue[1] + 2, &self.available[number].to_le_bytes());
    }

    /// Offers a receive buffer of one descriptor.
    fn offer(&mut self, index: u16, len: u32) {
        let at = BUFFERS + u64::from(index) * 0x1000;
        self.desc(RX, index, at, len, mmio::DESC_WRITE, 0);
        self.make_available(QUEUE_RX, index);
    }

    /// What the guest finds in a receive buffer.
    fn received(&self, index: u16, bytes: usize) -> Vec<u8> {
        let at = BUFFERS + u64::from(index) * 0x1000;
        self.ram.read_vec(at, bytes).expect("in RAM")
    }

    /// Puts a frame behind a header into the transmit queue, in one descriptor.
    fn send(&mut self, header: [u8; HEADER_BYTES], frame: &[u8]) {
        let index = self.available[QUEUE_TX] % SIZE;
        let at = SENT + u64::from(index) * 0x1000;
        self.put(at, &header);
        self.put(at + HEADER_BYTES as u64, frame);
        let len = (HEADER_BYTES + frame.len()) as u32;
        self.desc(TX, index, at, len, 0, 0);
        self.make_available(QUEUE_TX, index);
    }

    /// How many chains of a queue came back, and the length of the last.
    fn used(&self, queue: [u64; 3]) -> (u16, u32) {
        let number = |at| u16::from_le_bytes(self.ram.read_array(at).expect("in RAM"));
        let count = number(queue[2] + 2);
        let last = queue[2] + 4 + 8 * u64::from(count.wrapping_sub(1) % SIZE) + 4;
        let len = self.ram.read_array(last).expect("in RAM");
        (count, u32::from_le_bytes(len))
    }
}

const ZERO: [u8; HEADER_BYTES] = [0; HEADER_BYTES];

/// A frame of this length that no other is like.
fn frame(len: usize, seed: u8) -> Vec<u8> {
    (0..len)
        .map(|at| (at as u8).wrapping_mul(7) ^ seed)
        .collect()
}

#[test]
fn a_driver_finds_an_interface_that_says_its_mtu() {
    let mut setup = Setup::new();
    let mut read = |register| setup.device.read(register).expect("a register");
    assert_eq!(read(mmio::DEVICE_ID), 1);
    assert_eq!(read(mmio::QUEUE_SIZE_MAX), 256);
    // In the upper half of the last word; no address and no status, which nobody offers.
    let config = [0, 4, 8].map(|at| read(mmio::CONFIG + at));
    assert_eq!(config, [0, 0, 1500 << 16]);
    let past_the_end = setup.device.read(mmio::CONFIG + 12);
    past_the_end.expect_err("no register");
    setup.write(mmio::DEVICE_FEATURES_SEL, 0).expect("allowed");
    assert_eq!(
        setup.device.read(mmio::DEVICE_FEATURES).expect("features"),
        1 << 3
    );
}

#[test]
fn frames_go_both_ways_whole() {
    let mut setup = Setup::new();
    for len in [14, 60, 1514] {
        setup.send(ZERO, &frame(len, 1));
    }
    let moved = setup.transmit().expect("well-formed");
    assert_eq!(
        (moved.frames, moved.bytes, moved.dropped),
        (3, 14 + 60 + 1514, 0)
    );
    assert_eq!(
        setup.host.from_guest,
        [14, 60, 1514].map(|len| frame(len, 1))
    );
    assert_eq!(setup.used(TX), (3, 0));

    setup.host.to_guest = [14, 1514].map(|len| frame(len, 2)).into();
    setup.offer(0, 1526);
    setup.offer(1, 4096);
    assert!(setup.can_receive());
    let moved = setup.receive().expect("well-formed");
    assert_eq!(
        (moved.frames, moved.bytes, moved.dropped),
        (2, 14 + 1514, 0)
    );
    assert!(!setup.can_receive());
    let header = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];
    for (index, len) in [(0, 14), (1, 1514)] {
        let expected = [&header[..], &frame(len, 2)].concat();
        assert_eq!(setup.received(index, expected.len()), expected);
    }
    assert_eq!(setup.used(RX), (2, 1526));
}

/// Header and frame may lie in as many buffers as the driver likes, constants of its image among them, up to a limit.
#[test]
fn a_frame_may_lie_in_pieces() {
    let mut setup = Setup::new();
    let sent = frame(100, 3);
    setup.put(SENT, &ZERO);
    setup.put(READ_ONLY, &sent[..40]);
    setup.put(SENT + 0x1000, &sent[40..]);
    setup.desc(TX, 0, SENT, 5, mmio::DESC_NEXT, 1);
    setup.desc(TX, 1, SENT + 5, 7, mmio::DESC_NEXT, 2);
    setup.desc(TX, 2, READ_ONLY, 40, mmio::DESC_NEXT, 3);
    setup.desc(TX, 3, SENT, 0, mmio::DESC_NEXT, 4);
    setup.desc(TX, 4, SENT + 0x1000, 60, 0, 0);
    setup.make_available(QUEUE_TX, 0);
    assert_eq!(setup.transmit().expect("well-formed").frames, 1);
    assert_eq!(setup.host.from_guest, std::slice::from_ref(&sent));

    let flags = mmio::DESC_WRITE | mmio::DESC_NEXT;
    setup.desc(RX, 0, BUFFERS, 5, flags, 1);
    setup.desc(RX, 1, BUFFERS + 0x1000, 20, flags, 2);
    setup.desc(RX, 2, BUFFERS + 0x2000, 4096, mmio::DESC_WRITE, 0);
    setup.make_available(QUEUE_RX, 0);
    setup.host.to_guest.push_back(sent.clone());
    assert_eq!(setup.receive().expect("well-formed").frames, 1);
    let parts = [(0, 5), (1, 20), (2, 112 - 25)].map(|(index, len)| setup.received(index, len));
    assert_eq!(parts.concat()[HEADER_BYTES..], sent);
}

/// What the guest has no buffer for waits at the host.
#[test]
fn nothing_is_taken_from_the_host_without_a_buffer() {
    let mut setup = Setup::new();
    setup.host.to_guest = vec![frame(60, 1); 3].into();
    assert_eq!(setup.receive().expect("well-formed"), Moved::default());
    setup.offer(0, 2048);
    assert_eq!(setup.receive().expect("well-formed").frames, 1);
    assert_eq!(setup.host.to_guest.len(), 2);
    // A buffer that nothing came for is still there.
    setup.host.to_guest.clear();
    setup.offer(1, 2048);
    assert_eq!(setup.receive().expect("well-formed"), Moved::default());
    assert!(setup.can_receive());
    setup.host.to_guest.push_back(frame(61, 1));
    assert_eq!(setup.receive().expect("well-formed").frames, 1);
}

/// Where there is no room, and where there is no network, frames are dropped and the guest gets its buffers back.
#[test]
fn what_the_host_does_not_take_is_dropped_and_counted() {
    let mut setup = Setup::new();
    setup.host.room = 2;
    for _ in 0..5 {
        setup.send(ZERO, &frame(60, 1));
    }
    let moved = setup.transmit().expect("well-formed");
    assert_eq!((moved.frames, moved.bytes, moved.dropped), (2, 120, 3));
    assert_eq!(setup.used(TX).0, 5);
    setup.host.error = Some(libc::ENOBUFS);
    setup.send(ZERO, &frame(60, 1));
    assert_eq!(setup.transmit().expect("well-formed").dropped, 1);
    setup.send(ZERO, &frame(60, 1));
    let memory = setup.ram.device_memory();
    let moved = setup.device.transmit(memory, None::<&mut Host>);
    assert_eq!(moved.expect("well-formed").dropped, 1);
    assert_eq!(setup.used(TX).0, 7);
}

/// A frame that is longer or shorter than any of the guest's network is none of its.
#[test]
fn frames_of_other_lengths_are_not_given() {
    let mut setup = Setup::new();
    setup.host.to_guest = [1515, 9000, 13, 1, 60].map(|len| frame(len, 4)).into();
    setup.offer(0, 2048);
    let moved = setup.receive().expect("well-formed");
    assert_eq!((moved.frames, moved.bytes, moved.dropped), (1, 60, 4));
    assert_eq!(setup.received(0, 72)[HEADER_BYTES..], frame(60, 4));
}

#[test]
fn a_host_that_fails_is_the_hosts_error() {
    for error in [libc::EBADFD, libc::EIO] {
        let mut setup = Setup::new();
        setup.host.error = Some(error);
        setup.send(ZERO, &frame(60, 1));
        assert!(matches!(setup.transmit(), Err(NicError::Host(_))));
        setup.offer(0, 2048);
        assert!(matches!(setup.receive(), Err(NicError::Host(_))));
        assert!(drop_stale(&mut setup.host).is_err());
    }
    let mut setup = Setup::new();
    setup.offer(0, 2048);
    setup.host.to_guest.push_back(vec![]);
    assert!(matches!(setup.receive(), Err(NicError::Host(_))), "its end");
}

#[test]
fn an_offload_is_refused() {
    for at in 0..HEADER_BUFFERS {
        let mut setup = Setup::new();
        let mut header = ZERO;
        header[at] = 1;
        setup.send(header, &frame(60, 1));
        let refused = setup.transmit();
        assert!(matches!(refused, Err(NicError::Offload)), "{at}");
        assert!(setup.host.from_guest.is_empty());
    }
    let mut setup = Setup::new();
    let mut header = ZERO;
    header[HEADER_BUFFERS] = 1;
    setup.send(header, &frame(60, 1));
    assert_eq!(setup.transmit().expect("it means nothing here").frames, 1);
}

#[test]
fn each_broken_frame_has_its_error() {
    let check = |pieces: &[(u64, u32, u16, u16)]| {
        let mut setup = Setup::new();
        for (index, (address, len, flags, next)) in (0..).zip(pieces) {
            setup.desc(TX, index, *address, *len, *flags, *next);
        }
        setup.make_available(QUEUE_TX, 0);
        let moved = setup.transmit();
        assert!(setup.host.from_guest.len() == usize::from(moved.is_ok()));
        moved.map(drop)
    };
    let (next, write) = (mmio::DESC_NEXT, mmio::DESC_WRITE);
    check(&[(SENT, 26, 0, 0)]).expect("the shortest");
    check(&[(SENT, 1526, 0, 0)]).expect("the longest");
    check(&[(RAM_BYTES_MIN - 26, 26, 0, 0)]).expect("at the end of RAM");
    check(&[(SENT, 25, 0, 7), (SENT, 0, 0, 0)]).expect_err("short");
    for (len, expected) in [(25, 13), (12, 0), (1527, 1515), (u32::MAX, 0xffff_fff3)] {
        let found = check(&[(SENT, len, 0, 0)]);
        assert!(
            matches!(found, Err(NicError::Frame(bytes)) if bytes == expected),
            "{found:?}"
        );
    }
    for len in [0, 11] {
        let found = check(&[(SENT, len, 0, 0)]);
        assert!(matches!(found, Err(NicError::Header(bytes)) if bytes == len as usize));
    }
    for pieces in [
        &[(SENT, 20, next, 0)][..],
        &[(SENT, 20, next, 8)],
        &[(SENT, 20, next, u16::MAX)],
        &[(SENT, 0, next, 1), (SENT, 0, next, 0)],
    ] {
        let found = check(pieces);
        assert!(matches!(found, Err(NicError::Chain(QUEUE_TX))), "{found:?}");
    }
    for pieces in [
        &[(SENT, 26, write, 0)][..],
        &[(SENT, 26, next, 1), (SENT, 1, write, 0)],
    ] {
        let found = check(pieces);
        assert!(
            matches!(found, Err(NicError::Direction(QUEUE_TX))),
            "{found:?}"
        );
    }
    for address in [
        0,
        STACK - 26,
        STACK - 1,
        RAM_BYTES_MIN - 25,
        RAM_BYTES_MIN,
        1 << 40,
        u64::MAX - 10,
    ] {
        let found = check(&[(address, 26, 0, 0)]);
        let is_told = matches!(&found, Err(NicError::Memory { queue: QUEUE_TX, address: at, len_bytes: 26 }) if *at == address);
        assert!(is_told, "{address:#x}: {found:?}");
    }

    let mut setup = Setup::new();
    setup.make_available(QUEUE_TX, SIZE);
    assert!(
        matches!(setup.transmit(), Err(NicError::Chain(_))),
        "no such head"
    );
    let mut setup = Setup::new();
    setup.put(TX[1] + 2, &u16::MAX.to_le_bytes());
    let found = setup.transmit();
    assert!(
        matches!(
            found,
            Err(NicError::Queue {
                queue: QUEUE_TX,
                ..
            })
        ),
        "{found:?}"
    );
}

#[test]
fn each_broken_receive_buffer_has_its_error() {
    let check = |address: u64, len: u32, flags: u16, next: u16| {
        let mut setup = Setup::new();
        setup.host.to_guest.push_back(frame(1514, 1));
        setup.desc(RX, 0, address, len, flags, next);
        setup.make_available(QUEUE_RX, 0);
        setup.receive().map(drop)
    };
    let (next, write) = (mmio::DESC_NEXT, mmio::DESC_WRITE);
    check(BUFFERS, 1526, write, 0).expect("room for the longest");
    let found = check(BUFFERS, 1525, write, 0);
    let no_room = matches!(
        found,
        Err(NicError::NoRoom {
            room_bytes: 1525,
            len_bytes: 1526
        })
    );
    assert!(no_room, "{found:?}");
    assert!(matches!(
        check(BUFFERS, 2048, 0, 0),
        Err(NicError::Direction(QUEUE_RX))
    ));
    assert!(matches!(
        check(BUFFERS, 10, write | next, 0),
        Err(NicError::Chain(QUEUE_RX))
    ));
    // Nor what the guest itself may not write.
    for address in [
        0,
        STACK - 1,
        READ_ONLY,
        RX[0] - 1,
        RAM_BYTES_MIN - 2047,
        u64::MAX - 10,
    ] {
        let found = check(address, 2048, write, 0);
        assert!(
            matches!(
                found,
                Err(NicError::Memory {
                    queue: QUEUE_RX,
                    ..
                })
            ),
            "{address:#x}: {found:?}"
        );
    }
    let mut setup = Setup::new();
    setup.put(RX[1] + 2, &u16::MAX.to_le_bytes());
    assert!(matches!(
        setup.receive(),
        Err(NicError::Queue {
            queue: QUEUE_RX,
            ..
        })
    ));
}

/// A chain that goes through a table of its own may be as long as that table, which nobody needs.
#[test]
fn long_chains_are_refused() {
    const INDIRECT: u16 = 4;
    for (count, is_fit) in [
        (DESCRIPTORS_MAX as u16, true),
        (DESCRIPTORS_MAX as u16 + 1, false),
    ] {
        let mut setup = Setup::new();
        for index in 0..count {
            let flags = if index + 1 < count {
                mmio::DESC_NEXT
            } else {
                0
            };
            setup.desc([SENT, 0, 0], index, SENT + 0x1000, 2, flags, index + 1);
        }
        setup.desc(TX, 0, SENT, u32::from(count) * 16, INDIRECT, 0);
        setup.make_available(QUEUE_TX, 0);
        let found = setup.transmit();
        assert_eq!(found.is_ok(), is_fit, "{found:?}");
        assert!(is_fit || matches!(found, Err(NicError::ChainLong(QUEUE_TX))));
    }
}

/// The device writes how far it is into the used ring; a guest that has its available ring there is never through.
#[test]
fn a_ring_that_grows_while_it_is_served_comes_to_an_end() {
    let mut setup = Setup::new();
    setup.host.room = usize::MAX;
    setup.put(SENT, &[0; 64]);
    for index in 0..SIZE {
        setup.desc(TX, index, SENT, 64, 0, 0);
    }
    let mut state = setup.device.state().expect("nothing to deliver");
    let DeviceState::Nic(transport) = &mut state else {
        panic!("another device");
    };
    transport.queues[QUEUE_TX].used_ring = transport.queues[QUEUE_TX].avail_ring;
    let memory = setup.ram.device_memory();
    setup.device.set_state(memory, &state).expect("a state");
    setup.put(TX[1] + 2, &1_u16.to_le_bytes());
    let mut moved = 0;
    for _ in 0..3 {
        match setup.transmit() {
            Ok(sent) => moved += sent.frames,
            Err(error) => assert!(!matches!(error, NicError::Host(_))),
        }
    }
    assert!(moved <= 3 * u64::from(FRAMES_MAX));
}

#[test]
fn stale_frames_are_dropped_up_to_a_limit() {
    let mut host = Host {
        to_guest: vec![frame(1514, 1); 5].into(),
        ..Host::default()
    };
    assert_eq!(drop_stale(&mut host).expect("a host that works"), 5);
    assert_eq!(drop_stale(&mut host).expect("a host that works"), 0);
    host.to_guest = vec![frame(60, 1); STALE_FRAMES_MAX as usize + 1].into();
    let dropped = drop_stale(&mut host).expect("a host that works");
    assert_eq!(dropped, u64::from(STALE_FRAMES_MAX));
}

/// A driver that is not up has no queues, and one that begins anew has none of before.
#[test]
fn a_reset_device_neither_takes_nor_gives() {
    let mut setup = Setup::new();
    setup.offer(0, 2048);
    setup.send(ZERO, &frame(60, 1));
    setup.host.to_guest.push_back(frame(60, 1));
    setup.write(mmio::STATUS, 0).expect("at any time");
    assert_eq!(setup.device, NicDevice::default());
    assert!(!setup.can_receive());
    assert_eq!(setup.transmit().expect("nothing"), Moved::default());
    assert_eq!(setup.receive().expect("nothing"), Moved::default());
    setup.bring_up();
    assert_eq!(setup.transmit().expect("well-formed").frames, 1);
}

#[test]
fn features_that_were_not_offered_are_refused() {
    for feature in [0, 1, 5, 15, 17, 22] {
        let mut setup = Setup::new();
        setup.write(mmio::STATUS, 0).expect("at any time");
        let steps = [
            (mmio::STATUS, 3),
            (mmio::DRIVER_FEATURES, 1 << feature),
            (mmio::DRIVER_FEATURES_SEL, 1),
            (mmio::DRIVER_FEATURES, mmio::FEATURE_HIGH_VERSION_1),
            (mmio::STATUS, 11),
        ];
        for (register, value) in steps {
            setup.write(register, value).expect("allowed");
        }
        assert_eq!(setup.device.read(mmio::STATUS).expect("a register"), 3);
    }
}

proptest! {
    /// Whatever went through it since, a device put back to a state is the one that was in no other.
    #[test]
    fn a_device_put_back_is_one_that_was_never_used(
        before in prop::collection::vec(any::<bool>(), 0..6),
        after in prop::collection::vec(any::<bool>(), 0..12),
    ) {
        let mut setup = Setup::new();
        setup.host.room = usize::MAX;
        let play = |setup: &mut Setup, sends: &[bool]| {
            for sends in sends {
                if *sends {
                    setup.send(ZERO, &frame(60, 1));
                    setup.transmit().expect("well-formed");
                } else {
                    setup.offer(setup.available[QUEUE_RX] % SIZE, 2048);
                    setup.host.to_guest.push_back(frame(60, 2));
                    setup.receive().expect("well-formed");
                }
            }
        };
        play(&mut setup, &before);
        let state = setup.device.state().expect("nothing to deliver");
        play(&mut setup, &after);
        setup.device.set_state(setup.ram.device_memory(), &state).expect("a state that was");
        let mut new = NicDevice::default();
        new.set_state(setup.ram.device_memory(), &state).expect("a state that was");
        prop_assert_eq!(&setup.device, &new);
        prop_assert_eq!(setup.device.state(), Some(state));
    }

    /// Whatever lies in rings, descriptors and buffers, the device answers with values, in bounded time.
    #[test]
    fn garbage_is_survived(
        writes in prop::collection::vec((0u64..0x6000, any::<[u8; 8]>()), 0..64),
        available in any::<[u16; 2]>(),
        bytes in any::<[u8; 44]>(),
        frames in prop::collection::vec(0..2000_usize, 0..20),
    ) {
        let mut setup = Setup::new();
        for slot in 0..8u64 {
            setup.put(BUFFERS + slot * 0x1000, &bytes);
        }
        for (offset, bytes) in writes {
            setup.put(RX[0] + offset, &bytes);
        }
        setup.put(RX[1] + 2, &(available[0] % 16).to_le_bytes());
        setup.put(TX[1] + 2, &(available[1] % 16).to_le_bytes());
        setup.host.to_guest = frames.iter().map(|len| frame(*len, 1)).collect();
        for _ in 0..3 {
            let _ = setup.transmit();
            let _ = setup.device.can_receive(setup.ram.device_memory());
            let _ = setup.receive();
        }
        for frame in &setup.host.from_guest {
            prop_assert!((ETHERNET_HEADER_BYTES..=FRAME_BYTES_MAX).contains(&frame.len()));
        }
    }
}

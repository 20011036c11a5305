#![allow(
    clippy::cast_possible_truncation,
    reason = "the numbers of these tests are small"
)]
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use jiffy_abi::{
    layout::{RAM_BYTES_MIN, STACK},
    virtio_mmio as mmio,
};
use jiffy_snapshots::state::AddressRange;
use proptest::prelude::*;

use super::*;
use crate::{
    devices::{BusDevice as _, DeviceError, Effect, mmio::TransportError},
    mem::Ram,
};

const SIZE: u16 = 8;
/// Descriptor table, available ring and used ring of each queue, a page each.
const RX: [u64; 3] = [0x10_0000, 0x10_1000, 0x10_2000];
const TX: [u64; 3] = [0x10_3000, 0x10_4000, 0x10_5000];
const BUFFERS: u64 = 0x20_0000;

/// A device with a driver that tests move by hand.
struct Setup {
    ram: Ram,
    device: VsockDevice,
    host: UnixStream,
    client: UnixStream,
    available: [u16; 2],
}

impl Setup {
    fn new() -> Self {
        let (host, client) = UnixStream::pair().expect("socket pair");
        host.set_nonblocking(true).expect("non-blocking");
        client.set_nonblocking(true).expect("non-blocking");
        let mut ram = Ram::new(RAM_BYTES_MIN).expect("4 MiB");
        let (start, end) = (STACK, RAM_BYTES_MIN);
        ram.let_devices_write(&[AddressRange { start, end }]);
        let mut setup = Self {
            ram,
            device: VsockDevice::default(),
            host,
            client,
            available: [0; 2],
        };
        for (register, value) in [
            (mmio::STATUS, 3),
            (mmio::DRIVER_FEATURES_SEL, 1),
            (mmio::DRIVER_FEATURES, 1),
        ] {
            setup.write(register, value).expect("allowed");
        }
        setup.write(mmio::STATUS, 11).expect("allowed");
        for (number, queue) in [RX, TX].iter().enumerate() {
            let registers = [
                mmio::QUEUE_DESC_LOW,
                mmio::QUEUE_DRIVER_LOW,
                mmio::QUEUE_DEVICE_LOW,
            ];
            setup
                .write(mmio::QUEUE_SEL, number as u32)
                .expect("allowed");
            setup
                .write(mmio::QUEUE_SIZE, u32::from(SIZE))
                .expect("allowed");
            for (register, address) in registers.into_iter().zip(queue) {
                setup.write(register, *address as u32).expect("allowed");
            }
            setup.write(mmio::QUEUE_READY, 1).expect("allowed");
        }
        assert!(setup.write(mmio::STATUS, 15).expect("allowed"));
        setup
    }

    /// A device whose guest has accepted the request stream.
    fn open() -> Self {
        let mut setup = Self::new();
        setup.offer_rx(0, 4096);
        assert_eq!(setup.receive().expect("well-formed").packets, 1);
        assert_eq!(setup.rx_header(0).op, op::REQUEST);
        setup.send(
            PacketHeader {
                op: op::RESPONSE,
                ..ours()
            },
            &[],
        );
        assert_eq!(setup.transmit().expect("well-formed").packets, 1);
        assert!(setup.device.is_open());
        setup
    }

    /// Writes a register; true if the queues are to be looked at.
    fn write(&mut self, register: u64, value: u32) -> Result<bool, DeviceError> {
        let effect = self
            .device
            .write(self.ram.device_memory(), register, value)?;
        Ok(effect == Effect::Serve)
    }

    fn transmit(&mut self) -> Result<Sent, VsockError> {
        self.device
            .transmit(self.ram.device_memory(), &mut self.host)
    }

    fn receive(&mut self) -> Result<Received, VsockError> {
        self.device
            .receive(self.ram.device_memory(), Some(&mut self.host))
    }

    fn desc(&self, queue: [u64; 3], index: u16, address: u64, len: u32, flags: u16, next: u16) {
        let desc = queue[0] + u64::from(index) * 16;
        self.ram
            .write(desc, &address.to_le_bytes())
            .expect("in RAM");
        self.ram
            .write(desc + 8, &len.to_le_bytes())
            .expect("in RAM");
        self.ram
            .write(desc + 12, &flags.to_le_bytes())
            .expect("in RAM");
        self.ram
            .write(desc + 14, &next.to_le_bytes())
            .expect("in RAM");
    }

    fn make_available(&mut self, number: usize, head: u16) {
        let queue = [RX, TX][number];
        let slot = u64::from(self.available[number] % SIZE);
        self.ram
            .write(queue[1] + 4 + 2 * slot, &head.to_le_bytes())
            .expect("in RAM");
        self.available[number] = self.available[number].wrapping_add(1);
        self.ram
            .write(queue[1] + 2, &self.available[number].to_le_bytes())
            .expect("in RAM");
    }

    fn offer_rx(&mut self, index: u16, len: u32) {
        self.desc(
            RX,
            index,
            BUFFERS + u64::from(index) * 0x1_0000,
            len,
            mmio::DESC_WRITE,
            0,
        );
        self.make_available(0, index);
    }

    fn rx_header(&self, index: u16) -> PacketHeader {
        let header = self.ram.read_array(BUFFERS + u64::from(index) * 0x1_0000);
        PacketHeader::from_bytes(&header.expect("in RAM"))
    }

    /// Makes a packet of one descriptor available for transmission.
    fn send(&mut self, header: PacketHeader, payload: &[u8]) {
        let index = self.available[1] % SIZE;
        let at = BUFFERS + 0x10_0000 + u64::from(index) * 0x1_0000;
        let header = PacketHeader {
            len: payload.len() as u32,
            ..header
        };
        self.ram.write(at, &header.to_bytes()).expect("in RAM");
        self.ram.write(at + 44, payload).expect("in RAM");
        self.desc(TX, index, at, 44 + payload.len() as u32, 0, 0);
        self.make_available(1, index);
    }

    fn tx_used(&self) -> u16 {
        u16::from_le_bytes(self.ram.read_array(TX[2] + 2).expect("in RAM"))
    }
}

/// A header of the guest's end of the request stream.
fn ours() -> PacketHeader {
    PacketHeader {
        src_cid: GUEST_CID,
        dst_cid: HOST_CID,
        src_port: REQUEST_PORT,
        dst_port: REQUEST_PORT,
        len: 0,
        socket_type: TYPE_STREAM,
        op: op::RW,
        flags: 0,
        buf_alloc: CREDIT_BYTES,
        fwd_cnt: 0,
    }
}

#[test]
fn payload_flows_both_ways() {
    let mut setup = Setup::open();
    setup.offer_rx(1, 4096);
    setup.client.write_all(b"request").expect("room");
    let received = setup.receive().expect("well-formed");
    assert_eq!(
        (received.bytes, received.packets, received.closed),
        (7, 1, false)
    );
    assert_eq!((setup.rx_header(1).op, setup.rx_header(1).len), (op::RW, 7));
    assert_eq!(
        setup.ram.read_vec(BUFFERS + 0x1_0000 + 44, 7).as_deref(),
        Some(&b"request"[..])
    );

    setup.send(ours(), b"response");
    let sent = setup.transmit().expect("well-formed");
    assert_eq!((sent.bytes, sent.packets, sent.blocked), (8, 1, false));
    let mut response = [0; 8];
    setup.client.read_exact(&mut response).expect("sent");
    assert_eq!(&response, b"response");
}

#[test]
fn nothing_is_taken_from_the_host_without_a_buffer_or_credit() {
    let mut setup = Setup::open();
    setup.client.write_all(b"request").expect("room");
    assert!(
        !setup
            .device
            .can_receive(setup.ram.device_memory())
            .expect("well-formed")
    );
    assert_eq!(setup.receive().expect("well-formed"), Received::default());
    setup.offer_rx(1, 4096);
    assert!(
        setup
            .device
            .can_receive(setup.ram.device_memory())
            .expect("well-formed")
    );
    setup.send(
        PacketHeader {
            op: op::CREDIT_UPDATE,
            buf_alloc: 3,
            ..ours()
        },
        &[],
    );
    setup.transmit().expect("well-formed");
    assert_eq!(setup.receive().expect("well-formed").bytes, 3);
    setup.offer_rx(2, 4096);
    assert!(
        !setup
            .device
            .can_receive(setup.ram.device_memory())
            .expect("well-formed")
    );
    assert_eq!(setup.receive().expect("well-formed").bytes, 0);
}

#[test]
fn a_full_stream_keeps_the_packet_and_goes_on_where_it_stopped() {
    let mut setup = Setup::open();
    let payload: Vec<u8> = (0..60_000u32).map(|index| (index * 7) as u8).collect();
    let mut expected = vec![];
    let blocked = loop {
        setup.send(ours(), &payload);
        expected.extend_from_slice(&payload);
        let sent = setup.transmit().expect("well-formed");
        if sent.blocked {
            break sent;
        }
    };
    assert_eq!(blocked.packets, 0);
    let used = setup.tx_used();
    let mut response = vec![];
    while response.len() < expected.len() {
        let mut chunk = [0; 7777];
        if let Ok(len) = setup.client.read(&mut chunk) {
            response.extend_from_slice(&chunk[..len]);
        }
        setup.transmit().expect("well-formed");
    }
    assert_eq!(response, expected);
    assert_eq!(setup.tx_used(), used + 1);
}

#[test]
fn the_end_of_either_side_is_seen() {
    let mut setup = Setup::open();
    setup.offer_rx(1, 4096);
    drop(setup.client.shutdown(std::net::Shutdown::Write));
    assert!(setup.receive().expect("well-formed").closed);
    let mut setup = Setup::open();
    setup.client = UnixStream::pair().expect("socket pair").0;
    setup.send(ours(), b"x");
    assert!(setup.transmit().expect("well-formed").closed);
    for op in [op::RST, op::SHUTDOWN] {
        let mut setup = Setup::open();
        setup.send(PacketHeader { op, ..ours() }, &[]);
        assert!(matches!(setup.transmit(), Err(VsockError::StreamClosed)));
    }
}

#[test]
fn packets_to_strangers_are_reset_and_resets_are_bounded() {
    let mut setup = Setup::open();
    for _ in 0..4 {
        for _ in 0..SIZE {
            setup.send(
                PacketHeader {
                    dst_port: 7,
                    src_port: 9,
                    ..ours()
                },
                b"x",
            );
        }
        assert_eq!(
            setup.transmit().expect("well-formed").packets,
            u64::from(SIZE)
        );
    }
    assert_eq!(setup.device.device().pending.len(), PENDING_MAX);
    setup.offer_rx(1, 4096);
    assert_eq!(setup.receive().expect("well-formed").packets, 1);
    let reset = setup.rx_header(1);
    assert_eq!((reset.op, reset.src_port, reset.dst_port), (op::RST, 7, 9));
}

#[test]
fn each_broken_packet_has_its_error() {
    let header = ours().to_bytes();
    let check = |address: u64, len: u32, flags: u16, next: u16| {
        let mut setup = Setup::open();
        setup.ram.write(BUFFERS, &header).expect("in RAM");
        setup
            .ram
            .write(BUFFERS + 24, &100u32.to_le_bytes())
            .expect("in RAM");
        setup.desc(TX, 3, address, len, flags, next);
        setup.make_available(1, 3);
        setup
            .transmit()
            .map(|_| ())
            .map_err(|error| error.to_string())
    };
    assert!(check(BUFFERS, 144, 0, 0).is_ok());
    for (address, len, flags, next, mistake) in [
        (BUFFERS, 43, 0, 0, "header cut"),
        (BUFFERS, 143, 0, 0, "payload cut"),
        (RAM_BYTES_MIN - 20, 144, 0, 0, "header beyond RAM"),
        (u64::MAX - 10, 144, 0, 0, "address overflows"),
        (BUFFERS, 144, mmio::DESC_WRITE, 0, "device-writable"),
        (BUFFERS, 44, mmio::DESC_NEXT, 3, "chain to itself"),
        (BUFFERS, 44, mmio::DESC_NEXT, 999, "chain out of the table"),
    ] {
        let error = check(address, len, flags, next).expect_err(mistake);
        assert!(error.starts_with("packet in queue 1"), "{mistake}: {error}");
    }
    let mut setup = Setup::open();
    setup
        .ram
        .write(TX[1] + 2, &u16::MAX.to_le_bytes())
        .expect("in RAM");
    assert!(matches!(
        setup.transmit(),
        Err(VsockError::Queue {
            queue: QUEUE_TX,
            ..
        })
    ));
    let mut setup = Setup::open();
    setup.desc(RX, 1, BUFFERS, 44, mmio::DESC_WRITE, 0);
    setup.make_available(0, 1);
    setup.client.write_all(b"x").expect("room");
    setup.receive().expect_err("no room for payload");
}

#[test]
fn a_reset_under_an_open_stream_is_refused() {
    let mut setup = Setup::open();
    assert!(matches!(
        setup.write(mmio::STATUS, 0),
        Err(DeviceError::Transport(TransportError::ResetInUse))
    ));
}

proptest! {
    /// Whatever lies in rings, descriptors and buffers, the device answers with values, in bounded
    /// time.
    #[test]
    fn garbage_is_survived(
        writes in prop::collection::vec((0u64..0x6000, any::<[u8; 8]>()), 0..64),
        available in any::<[u16; 2]>(),
        header in any::<[u8; 44]>(),
    ) {
        let mut setup = Setup::open();
        setup.client.write_all(b"request").expect("room");
        for slot in 0..8u64 {
            setup.ram.write(BUFFERS + slot * 0x1000, &header).expect("in RAM");
        }
        for (offset, bytes) in writes {
            setup.ram.write(RX[0] + offset, &bytes).expect("in RAM");
        }
        setup.ram.write(RX[1] + 2, &(available[0] % 16).to_le_bytes()).expect("in RAM");
        setup.ram.write(TX[1] + 2, &(available[1] % 16).to_le_bytes()).expect("in RAM");
        for _ in 0..3 {
            let _ = setup.transmit();
            let _ = setup.device.can_receive(setup.ram.device_memory());
            let _ = setup.receive();
        }
    }
}

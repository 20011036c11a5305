//! The driver, and what it is told to do with it.

use core::arch::asm;

use jiffy_abi::{
    call::{
        CallHead, CallHeader, CallKind, IN_FLIGHT_MAX, OPERATION_HOST_INFO, ReplyHeader,
        SERVICE_HOST,
    },
    control_page::WAKE_NS,
    doorbell::{self, Wait},
    frame::{HEADER_BYTES as FRAME_BYTES, RequestHeader, ResponseHeader, ResponseKind},
    layout::{MMIO_VSOCK, RESUME_PAGE},
    note::{NOTE_BYTES, Note},
    resume_page::{HEAD_BYTES, ResumePage},
    virtio_mmio::{self as mmio, DESC_WRITE},
    vsock::{
        CREDIT_BYTES, GUEST_CID, HEADER_BYTES, HOST_CID, PacketHeader, QUEUE_RX, QUEUE_TX,
        REQUEST_PORT, TYPE_STREAM, op,
    },
};
// Linked for its entry, its panic handler and what compiled code calls.
use jiffy_rt as _;

use crate::deed::{Deed, EVENT_BYTES_MIN, ID_BYTES};

#[repr(C, align(4))]
struct ImageNote([u8; NOTE_BYTES]);

#[used]
#[unsafe(link_section = ".note.jiffy")]
static NOTE: ImageNote = ImageNote(Note::new(0, "0.1.0", "liar", "0.1.0").to_bytes());

/// Where queues and packets are: in the heap, which nothing else here uses.
const ARENA: u64 = 0x80_0000;
const RX: u64 = ARENA;
const TX: u64 = ARENA + 0x2000;
const RX_BUFFERS: u64 = ARENA + 0x1_0000;
const TX_PACKETS: u64 = ARENA + 0x4_0000;
const AVAIL: u64 = 0x800;
const USED: u64 = 0x1000;
const QUEUE_SIZE: u16 = 16;
const BUFFER_BYTES: u64 = 4096;
const NANOSECONDS_PER_STEP: u64 = 10_000;

fn store<T>(address: u64, value: T) {
    // SAFETY: the arena, the control page and the device's window are nobody else's. Volatile, for the
    // VMM looks at every doorbell.
    unsafe { core::ptr::with_exposed_provenance_mut::<T>(address as usize).write_volatile(value) }
}

fn load<T>(address: u64) -> T {
    // SAFETY: as for `store`; only numbers and arrays of bytes are loaded.
    unsafe { core::ptr::with_exposed_provenance::<T>(address as usize).read_volatile() }
}

fn register(register: u64, value: u32) {
    // SAFETY: a device register, written in one access of its width.
    unsafe { asm!("mov [{}], {:e}", in(reg) MMIO_VSOCK + register, in(reg) value) }
}

fn ring(port: u16, byte: u8) {
    // SAFETY: a doorbell clobbers what a call does.
    unsafe { asm!("out dx, al", in("dx") port, in("al") byte, clobber_abi("sysv64")) }
}

fn wait(wait: Wait) {
    ring(doorbell::WAIT, wait.to_byte());
}

struct Driver {
    rx_taken: u16,
    rx_offered: u16,
    tx_offered: u16,
    received: u32,
    /// What was not read yet of the packet in hand.
    unread: Option<(u16, u64, u64)>,
}

impl Driver {
    fn up() -> Self {
        for (feature, value) in [
            (mmio::STATUS, 0),
            (mmio::STATUS, 3),
            (mmio::DRIVER_FEATURES_SEL, 1),
            (mmio::DRIVER_FEATURES, mmio::FEATURE_HIGH_VERSION_1),
            (mmio::STATUS, 11),
        ] {
            register(feature, value);
        }
        for (number, rings) in [(QUEUE_RX, RX), (QUEUE_TX, TX)] {
            register(mmio::QUEUE_SEL, number as u32);
            register(mmio::QUEUE_SIZE, u32::from(QUEUE_SIZE));
            register(mmio::QUEUE_DESC_LOW, rings as u32);
            register(mmio::QUEUE_DRIVER_LOW, (rings + AVAIL) as u32);
            register(mmio::QUEUE_DEVICE_LOW, (rings + USED) as u32);
            register(mmio::QUEUE_READY, 1);
        }
        let mut driver = Self {
            rx_taken: 0,
            rx_offered: 0,
            tx_offered: 0,
            received: 0,
            unread: None,
        };
        (0..QUEUE_SIZE).for_each(|buffer| driver.offer(buffer));
        register(mmio::STATUS, 15);
        driver.send(op::RESPONSE, &[]);
        // The packet with which the host connects is no payload.
        let connected = driver.packet(Wait::Poll);
        driver.offer(connected.0);
        driver
    }

    fn offer(&mut self, buffer: u16) {
        let at = RX + 16 * u64::from(buffer);
        store(at, RX_BUFFERS + u64::from(buffer) * BUFFER_BYTES);
        store(at + 8, BUFFER_BYTES | u64::from(DESC_WRITE) << 32);
        let slot = RX + AVAIL + 4 + 2 * u64::from(self.rx_offered % QUEUE_SIZE);
        store(slot, buffer);
        self.rx_offered = self.rx_offered.wrapping_add(1);
        store(RX + AVAIL + 2, self.rx_offered);
    }

    /// The next packet, as buffer and length.
    fn packet(&mut self, how: Wait) -> (u16, u64) {
        while load::<u16>(RX + USED + 2) == self.rx_taken {
            wait(how);
        }
        let entry: u64 = load(RX + USED + 4 + 8 * u64::from(self.rx_taken % QUEUE_SIZE));
        self.rx_taken = self.rx_taken.wrapping_add(1);
        ((entry & 0xffff) as u16, entry >> 32)
    }

    /// Reads into `bytes`; waits for the first as `first` says.
    fn read(&mut self, bytes: &mut [u8], first: Wait) {
        let mut how = first;
        for byte in bytes {
            *byte = self.byte(how);
            how = Wait::Event;
        }
    }

    fn byte(&mut self, how: Wait) -> u8 {
        loop {
            if let Some((buffer, at, end)) = &mut self.unread {
                if at < end {
                    *at += 1;
                    return load(*at - 1);
                }
                let buffer = *buffer;
                self.unread = None;
                self.offer(buffer);
            }
            let (buffer, len) = self.packet(how);
            let start = RX_BUFFERS + u64::from(buffer) * BUFFER_BYTES;
            let header = PacketHeader::from_bytes(&load(start));
            let payload = if header.op == op::RW { len } else { 0 }.max(HEADER_BYTES as u64);
            self.received = self
                .received
                .wrapping_add((payload - HEADER_BYTES as u64) as u32);
            self.unread = Some((buffer, start + HEADER_BYTES as u64, start + payload));
        }
    }

    /// Puts a packet into the transmit queue. The device has all of them at the next doorbell.
    fn send(&mut self, op: u16, payload: &[u8]) {
        let slot = self.tx_offered % QUEUE_SIZE;
        let at = TX_PACKETS + u64::from(slot) * BUFFER_BYTES;
        let header = PacketHeader {
            src_cid: GUEST_CID,
            dst_cid: HOST_CID,
            src_port: REQUEST_PORT,
            dst_port: REQUEST_PORT,
            len: payload.len() as u32,
            socket_type: TYPE_STREAM,
            op,
            flags: 0,
            buf_alloc: CREDIT_BYTES,
            fwd_cnt: self.received,
        };
        store(at, header.to_bytes());
        for (at, byte) in (at + HEADER_BYTES as u64..).zip(payload) {
            store(at, *byte);
        }
        // Header and payload are in one descriptor.
        store(TX + 16 * u64::from(slot), at);
        store(
            TX + 16 * u64::from(slot) + 8,
            (HEADER_BYTES + payload.len()) as u64,
        );
        store(TX + AVAIL + 4 + 2 * u64::from(slot), slot);
        self.tx_offered = self.tx_offered.wrapping_add(1);
        store(TX + AVAIL + 2, self.tx_offered);
    }
}

const ANSWER_BYTES: usize = FRAME_BYTES + ID_BYTES;

fn answer(nonce: u64, id: &[u8; ID_BYTES]) -> [u8; ANSWER_BYTES] {
    let header = ResponseHeader {
        kind: ResponseKind::Ok,
        head_bytes: 0,
        body_bytes: ID_BYTES as u32,
        nonce,
    };
    let mut answer = [0; ANSWER_BYTES];
    let (start, body) = answer.split_at_mut(FRAME_BYTES);
    start.copy_from_slice(&header.to_bytes());
    body.copy_from_slice(id);
    answer
}

/// Head of a call: number, service, operation.
const CALL_HEAD_BYTES: usize = 8 + 6 + 6;
const CALL_BYTES: usize = FRAME_BYTES + CALL_HEAD_BYTES;

fn call(nonce: u64, id: u32, service: u16) -> [u8; CALL_BYTES] {
    let header = CallHeader {
        kind: CallKind,
        head_bytes: CALL_HEAD_BYTES as u32,
        body_bytes: 0,
        nonce,
    };
    let mut call = [0; CALL_BYTES];
    call[..FRAME_BYTES].copy_from_slice(&header.to_bytes());
    let head = CallHead {
        id,
        service,
        operation: OPERATION_HOST_INFO,
        binding: "",
        timeout_ms: None,
    };
    let mut at = FRAME_BYTES;
    // Short fields fit.
    let _ = head.write(|piece| {
        call[at..][..piece.len()].copy_from_slice(piece);
        at += piece.len();
    });
    call
}

/// Waits for a reply and takes all of it.
fn take_reply(driver: &mut Driver) {
    let mut header = [0; FRAME_BYTES];
    driver.read(&mut header, Wait::Received);
    let payload = ReplyHeader::from_bytes(&header).map_or(0, |header| header.payload_len());
    for _ in 0..payload {
        driver.byte(Wait::Received);
    }
}

#[unsafe(no_mangle)]
fn __jiffy_main() -> ! {
    let mut driver = Driver::up();
    let mut kept = answer(0, &[b'k'; ID_BYTES]);
    ring(doorbell::READY, 0);
    loop {
        let mut header = [0; FRAME_BYTES];
        driver.read(&mut header, Wait::Idle);
        let Ok(header) = RequestHeader::from_bytes(&header) else {
            // What an earlier request left: this one answers that, in its own way.
            driver.send(op::RW, &kept);
            continue;
        };
        for _ in 0..header.head_bytes {
            driver.byte(Wait::Event);
        }
        let mut event = [0; EVENT_BYTES_MIN];
        let known = event.len().min(header.body_bytes as usize);
        driver.read(&mut event[..known], Wait::Event);
        let [deed, parameter, id @ ..] = event;
        let deed = Deed::from_byte(deed);
        let rest = header.body_bytes as usize - known;
        if deed != Deed::Early {
            for _ in 0..rest {
                driver.byte(Wait::Event);
            }
        }
        let good = answer(header.nonce, &id);
        obey(&mut driver, deed, parameter, header.nonce, &good, &kept);
        kept = good;
    }
}

fn obey(
    driver: &mut Driver,
    deed: Deed,
    parameter: u8,
    nonce: u64,
    good: &[u8; ANSWER_BYTES],
    kept: &[u8; ANSWER_BYTES],
) {
    let forged = answer(nonce.wrapping_add(1), b"forged by a liar");
    match deed {
        Deed::Honest => driver.send(op::RW, good),
        Deed::Early => {
            driver.send(op::RW, good);
            wait(Wait::Idle);
        }
        Deed::TwiceAtOnce => {
            let mut twice = [0; 2 * ANSWER_BYTES];
            twice[..ANSWER_BYTES].copy_from_slice(good);
            twice[ANSWER_BYTES..].copy_from_slice(good);
            driver.send(op::RW, &twice);
        }
        Deed::TwiceInTurn => {
            driver.send(op::RW, good);
            wait(Wait::Poll);
            driver.send(op::RW, &forged);
        }
        Deed::TwiceLater => {
            driver.send(op::RW, good);
            wait(Wait::Poll);
            let page: [u8; HEAD_BYTES] = load(RESUME_PAGE);
            let now = ResumePage::from_bytes(&page).monotonic_ns;
            store(WAKE_NS, now + u64::from(parameter) * NANOSECONDS_PER_STEP);
            wait(Wait::EventUntil);
            driver.send(op::RW, good);
        }
        Deed::Noise => {
            driver.send(op::RW, good);
            driver.send(op::RW, &[parameter; 255][..usize::from(parameter.max(1))]);
        }
        Deed::Half => {
            let bytes = usize::from(parameter).clamp(1, ANSWER_BYTES - 1);
            driver.send(op::RW, &good[..bytes]);
        }
        Deed::Stale => driver.send(op::RW, kept),
        Deed::StaleFirst => {
            driver.send(op::RW, kept);
            driver.send(op::RW, good);
        }
        Deed::Forge => {
            driver.send(op::RW, good);
            driver.send(op::RW, &forged);
        }
        Deed::Silent => {}
        Deed::ReadyAgain => {
            driver.send(op::RW, good);
            ring(doorbell::READY, 0);
        }
        Deed::Call | Deed::CallUnknown => {
            let service = if deed == Deed::Call { SERVICE_HOST } else { 7 };
            driver.send(op::RW, &call(nonce, 0, service));
            take_reply(driver);
            driver.send(op::RW, good);
        }
        Deed::CallAndGo => {
            driver.send(op::RW, &call(nonce, 0, SERVICE_HOST));
            // Sent, but nothing is taken: no doorbell is rung while it computes.
            wait(Wait::Poll);
            for round in 0..u64::from(parameter) * 50_000 {
                core::hint::black_box(round);
            }
            driver.send(op::RW, good);
        }
        Deed::CallOversized => {
            let mut call = call(nonce, 0, SERVICE_HOST);
            // Of both lengths in a header, which follow magic, version and kind.
            let at = if parameter % 2 == 0 { 8 } else { 12 };
            call[at..at + 4].copy_from_slice(&u32::MAX.to_le_bytes());
            driver.send(op::RW, &call);
            wait(Wait::Received);
        }
        Deed::CallTooMany => {
            let mut calls = [0; CALL_BYTES * (IN_FLIGHT_MAX as usize + 1)];
            for (place, id) in calls.chunks_mut(CALL_BYTES).zip(0..) {
                place.copy_from_slice(&call(nonce, id, SERVICE_HOST));
            }
            // In one packet, so that the owner has them all before it replies to any.
            driver.send(op::RW, &calls);
            wait(Wait::Received);
        }
        Deed::CallForEver => {
            for id in 0.. {
                driver.send(op::RW, &call(nonce, id, SERVICE_HOST));
                take_reply(driver);
            }
        }
        Deed::CallLate => {
            driver.send(op::RW, good);
            driver.send(op::RW, &call(nonce, 0, SERVICE_HOST));
        }
        Deed::CallTwice => {
            driver.send(op::RW, &call(nonce, 0, SERVICE_HOST));
            driver.send(op::RW, &call(nonce, 0, SERVICE_HOST));
            wait(Wait::Received);
        }
        Deed::CallForged => {
            driver.send(op::RW, &call(nonce.wrapping_add(1), 0, SERVICE_HOST));
            wait(Wait::Received);
        }
        Deed::CallNameless => {
            let mut call = call(nonce, 0, SERVICE_HOST);
            // A tag that nobody knows.
            call[FRAME_BYTES..FRAME_BYTES + 2].copy_from_slice(&[0xff; 2]);
            driver.send(op::RW, &call);
            wait(Wait::Received);
        }
    }
}

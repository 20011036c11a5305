//! The driver of the vsock device, thin: one stream, polled, nothing copied that need not be.
//!
//! Everything a small request needs — two rings' worth of descriptors, packet headers, and the
//! response itself — lies in one page, and the request in the next, because every page a request
//! writes has to be copied back when the VM is reset. What is larger is received into the end of
//! RAM, behind the heap, and sent from where it lies in the heap.
#![allow(
    unsafe_code,
    reason = "packets lie in memory that the device reads and writes"
)]

use alloc::vec::Vec;
use core::slice;

use jiffy_abi::{
    doorbell::Wait,
    layout::{MMIO_VSOCK, MMIO_WINDOW_BYTES, PAGE_BYTES},
    virtio_mmio as mmio,
    vsock::{
        CREDIT_BYTES, GUEST_CID, HEADER_BYTES, HOST_CID, PACKET_BYTES_MAX, PacketHeader, QUEUE_RX,
        QUEUE_TX, REQUEST_PORT, TYPE_STREAM, op,
    },
};

use crate::{
    clock, doorbell,
    heap::Global,
    ring::{Buffer, Layout, Ring},
    virtio,
    window::Window,
};

/// Receive buffers, each one descriptor; a request of almost 1 MiB arrives in one resume.
const RX_BUFFERS: u16 = 16;
/// Bytes of one receive buffer but the first, packet header included.
const RX_BUFFER_BYTES: usize = 64 << 10;
/// Bytes of the first, which is the one that the first request comes in.
const RX_FIRST_BYTES: usize = PAGE_BYTES as usize;
/// Packets on their way out at once, each two descriptors.
const TX_CHAINS: u16 = 16;

const RX_RING: usize = 0;
const TX_RING: usize = RX_RING + Layout::new(RX_BUFFERS).bytes;
const HEADERS: usize = TX_RING + Layout::new(2 * TX_CHAINS).bytes;
/// A chain's header, padded so that headers are aligned.
const HEADER_STEP: usize = 48;
/// Where the first packet of a response is put together, payload only.
const STAGING: usize = HEADERS + HEADER_STEP * TX_CHAINS as usize;
const STAGING_BYTES: usize = SHARED_BYTES - STAGING;
/// A page, less room for the few other statics that every request writes.
const SHARED_BYTES: usize = PAGE_BYTES as usize - 256;
const _: () = assert!(STAGING_BYTES >= 1024 && RX_BUFFER_BYTES <= PACKET_BYTES_MAX as usize);

#[repr(C, align(16))]
struct Shared([u8; SHARED_BYTES]);
#[repr(C, align(4096))]
struct RxFirst([u8; RX_FIRST_BYTES]);

// `image.ld` puts what is in `.bss.hot` together, each part in a page of its own.
#[unsafe(link_section = ".bss.hot.shared")]
static SHARED: Global<Shared> = Global::new(Shared([0; SHARED_BYTES]));
#[unsafe(link_section = ".bss.hot.rx")]
static RX_FIRST: Global<RxFirst> = Global::new(RxFirst([0; RX_FIRST_BYTES]));

/// Where the other receive buffers begin, which take the end of the memory up to `heap_end`.
pub(crate) const fn rx_buffers(heap_end: u64) -> u64 {
    heap_end - (RX_BUFFERS as u64 - 1) * RX_BUFFER_BYTES as u64
}

/// A packet's payload, still in its receive buffer.
#[derive(Debug)]
pub(crate) struct Packet {
    buffer: u16,
    payload: usize,
    len: usize,
}

impl Packet {
    /// The payload.
    pub(crate) fn payload(&self) -> &[u8] {
        let start = core::ptr::with_exposed_provenance(self.payload);
        // SAFETY: the buffer is the driver's own and holds that length, and the device has given it
        // back: nobody writes it before `release` takes the packet.
        unsafe { slice::from_raw_parts(start, self.len) }
    }
}

/// The request stream.
#[derive(Debug)]
pub(crate) struct Stream {
    shared: Window,
    /// Where the receive buffers but the first begin.
    rx_buffers: u64,
    rx: Ring,
    tx: Ring,
    /// The next transmit chain to use; chains come back in the order they were sent.
    next_chain: u16,
    /// Bytes of payload ever received, for the host's credit.
    received_bytes: u32,
    /// What transmit descriptors may point into; dropped when they have come back.
    sending: Vec<u8>,
}

impl Stream {
    /// Brings the device up and accepts the host's connection. Called once.
    pub(crate) fn accept() -> Self {
        // SAFETY: `SHARED` is a static that only this window refers to.
        let shared = unsafe { Window::new(SHARED.get() as u64, SHARED_BYTES as u64) };
        let part = |offset: usize, layout: Layout| {
            // SAFETY: a part of the page above, used by one ring alone.
            unsafe { Window::new(shared.address(offset), layout.bytes as u64) }
        };
        let mut stream = Self {
            shared,
            rx_buffers: rx_buffers(clock::resume_page().heap_end),
            rx: Ring::new(part(RX_RING, Layout::new(RX_BUFFERS)), RX_BUFFERS, 1),
            tx: Ring::new(part(TX_RING, Layout::new(2 * TX_CHAINS)), 2 * TX_CHAINS, 2),
            next_chain: 0,
            received_bytes: 0,
            sending: Vec::new(),
        };
        stream.bring_up();
        // The connection comes in the last buffer, so that the first request comes in the first.
        stream.offer_buffer(RX_BUFFERS - 1);
        while !stream.poll_connection() {
            doorbell::wait(Wait::Poll);
        }
        for buffer in 0..RX_BUFFERS {
            stream.offer_buffer(buffer);
        }
        stream
    }

    fn bring_up(&mut self) {
        // SAFETY: the VMM maps the device's window in every guest; only this function uses it.
        let device = unsafe { Window::new(MMIO_VSOCK, MMIO_WINDOW_BYTES) };
        let queues = [
            (QUEUE_RX, &self.rx, RX_BUFFERS),
            (QUEUE_TX, &self.tx, 2 * TX_CHAINS),
        ];
        virtio::bring_up(device, mmio::DEVICE_ID_VSOCK, queues);
    }

    /// Looks for the host's connection; true when it is there and accepted. Its buffer is not given
    /// back then.
    fn poll_connection(&mut self) -> bool {
        let Some((header, packet)) = self.next_packet() else {
            return false;
        };
        if header.op != op::REQUEST {
            self.release(packet);
            return false;
        }
        self.send_packet(
            op::RESPONSE,
            Buffer {
                address: 0,
                len_bytes: 0,
            },
        );
        true
    }

    /// The next packet with payload; waits for it. `idle` says that no request is in hand.
    pub(crate) fn receive(&mut self, idle: bool) -> Packet {
        loop {
            self.collect_sent();
            if let Some(packet) = self.poll() {
                return packet;
            }
            doorbell::wait(if idle { Wait::Idle } else { Wait::Event });
        }
    }

    /// The next packet of a reply; waits for it.
    pub(crate) fn receive_reply(&mut self) -> Packet {
        loop {
            self.collect_sent();
            if let Some(packet) = self.poll() {
                return packet;
            }
            doorbell::wait(Wait::Received);
        }
    }

    /// The next packet with payload, if it is there.
    pub(crate) fn poll(&mut self) -> Option<Packet> {
        while let Some((header, packet)) = self.next_packet() {
            match header.op {
                op::RW => {
                    self.received_bytes = self.received_bytes.wrapping_add(header.len);
                    return Some(packet);
                }
                op::CREDIT_REQUEST => {
                    self.release(packet);
                    self.send_packet(
                        op::CREDIT_UPDATE,
                        Buffer {
                            address: 0,
                            len_bytes: 0,
                        },
                    );
                }
                // The host grants more credit than a response can take, so its updates say nothing
                // new; and when it closes the stream, no request comes any more.
                _ => self.release(packet),
            }
        }
        None
    }

    /// Gives the packet's buffer back to the device.
    pub(crate) fn release(&mut self, packet: Packet) {
        self.offer_buffer(packet.buffer);
    }

    fn offer_buffer(&mut self, buffer: u16) {
        let whole = self.rx_buffer(buffer);
        self.rx.offer(buffer, &[whole], true);
    }

    fn rx_buffer(&self, buffer: u16) -> Buffer {
        match buffer.checked_sub(1) {
            None => Buffer {
                address: RX_FIRST.get() as u64,
                len_bytes: RX_FIRST_BYTES as u32,
            },
            Some(number) => Buffer {
                address: self.rx_buffers + u64::from(number) * RX_BUFFER_BYTES as u64,
                len_bytes: RX_BUFFER_BYTES as u32,
            },
        }
    }

    fn next_packet(&mut self) -> Option<(PacketHeader, Packet)> {
        let (buffer, written_bytes) = self.rx.take()?;
        let Buffer { address, len_bytes } = self.rx_buffer(buffer);
        // SAFETY: as in `payload`; the window is gone before the buffer is offered again.
        let memory = unsafe { Window::new(address, u64::from(len_bytes)) };
        let header = PacketHeader::from_bytes(&memory.load_array(0));
        assert!(written_bytes <= len_bytes, "the device wrote past a buffer");
        let packet = Packet {
            buffer,
            payload: address as usize + HEADER_BYTES,
            len: written_bytes as usize - HEADER_BYTES,
        };
        Some((header, packet))
    }

    /// Sends `first` and then `body`, which it keeps until the device has taken it. Returns before
    /// that: the next wait is what makes the device look.
    pub(crate) fn send(&mut self, first: &[&[u8]], body: Vec<u8>) {
        // The staging area and `sending` may still be on their way out.
        self.wait_for_chains(self.tx.chains());

        let mut staged = 0;
        let body_room = STAGING_BYTES.saturating_sub(first.iter().map(|piece| piece.len()).sum());
        let (body_first, body_rest) = body.split_at(body.len().min(body_room));
        for piece in first.iter().chain([&body_first]) {
            for piece in piece.chunks(STAGING_BYTES) {
                if piece.len() > STAGING_BYTES - staged {
                    // Only a head of many kilobytes comes here.
                    self.send_staged(staged);
                    self.wait_for_chains(self.tx.chains());
                    staged = 0;
                }
                self.shared.store_slice(STAGING + staged, piece);
                staged += piece.len();
            }
        }
        self.send_staged(staged);
        for piece in body_rest.chunks(PACKET_BYTES_MAX as usize) {
            self.wait_for_chains(1);
            let address = piece.as_ptr().expose_provenance() as u64;
            self.send_packet(
                op::RW,
                Buffer {
                    address,
                    len_bytes: piece.len() as u32,
                },
            );
        }
        self.sending = body;
    }

    fn send_staged(&mut self, staged: usize) {
        let address = self.shared.address(STAGING);
        self.send_packet(
            op::RW,
            Buffer {
                address,
                len_bytes: staged as u32,
            },
        );
    }

    /// Sends one packet. There is a free chain: see the callers.
    fn send_packet(&mut self, op: u16, payload: Buffer) {
        self.wait_for_chains(1);
        let chain = self.next_chain;
        self.next_chain = (chain + 1) % self.tx.chains();
        let header = PacketHeader {
            src_cid: GUEST_CID,
            dst_cid: HOST_CID,
            src_port: REQUEST_PORT,
            dst_port: REQUEST_PORT,
            len: payload.len_bytes,
            socket_type: TYPE_STREAM,
            op,
            flags: 0,
            buf_alloc: CREDIT_BYTES,
            fwd_cnt: self.received_bytes,
        };
        let at = HEADERS + HEADER_STEP * usize::from(chain);
        self.shared.store_slice(at, &header.to_bytes());
        let header = Buffer {
            address: self.shared.address(at),
            len_bytes: HEADER_BYTES as u32,
        };
        let buffers = [header, payload];
        self.tx.offer(
            chain,
            if payload.len_bytes == 0 {
                &buffers[..1]
            } else {
                &buffers
            },
            false,
        );
    }

    /// Waits until `chains` transmit chains are free.
    fn wait_for_chains(&mut self, chains: u16) {
        self.collect_sent();
        while self.tx.chains() - self.tx.in_flight() < chains {
            doorbell::wait(Wait::Event);
            self.collect_sent();
        }
    }

    fn collect_sent(&mut self) {
        while self.tx.take().is_some() {}
        if self.tx.in_flight() == 0 {
            self.sending = Vec::new();
        }
    }
}

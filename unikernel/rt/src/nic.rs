//! The driver of the NIC, thin: frames in and out, polled, in buffers that are its own.
//!
//! A frame is read where the device put it, and written where the device fetches it. What was given to the device goes out at the next
//! doorbell, whichever it is; frames come in at a wait for an event. Whoever brings the device up in `init` has that in the
//! snapshot, and no register is touched in a request.
//! Not here: packets (`jiffy-net`).
#![allow(
    unsafe_code,
    reason = "frames lie in memory that the device reads and writes"
)]

use alloc::vec;
use core::slice;

use jiffy_abi::{
    devices::{DeviceId, Place},
    doorbell::Wait,
    fault::kind,
    layout::{MMIO_WINDOW_BYTES, PAGE_BYTES, RESUME_PAGE},
    resume_page::{FLAG_NIC, NETWORK, NetworkIdentity},
    virtio_mmio as mmio,
    virtio_net::{FRAME_BYTES_MAX, HEADER_BYTES, QUEUE_RX, QUEUE_TX},
};

use crate::{
    clock, doorbell,
    last_words::give_up,
    ring::{Buffer, Layout, Ring},
    virtio,
    window::Window,
};

/// Frames that can come at once.
const RX_BUFFERS: u16 = 32;
/// Frames that can be on their way out.
const TX_BUFFERS: u16 = 32;
/// Bytes of a buffer: header and frame, and what keeps the next one aligned.
const BUFFER_BYTES: usize = 1536;
const _: () = assert!(HEADER_BYTES + FRAME_BYTES_MAX <= BUFFER_BYTES);

/// The NIC, brought up. Its halves are apart, because an answer is written while what it answers is read.
#[derive(Debug)]
pub struct Nic {
    /// Frames that come.
    pub rx: Receiver,
    /// Frames that go.
    pub tx: Sender,
}

/// The receiving half.
#[derive(Debug)]
pub struct Receiver {
    ring: Ring,
    buffers: Window,
}

/// The sending half.
#[derive(Debug)]
pub struct Sender {
    ring: Ring,
    buffers: Window,
    /// The next buffer to use; they come back in the order they were sent.
    next: u16,
}

/// Who the guest is; all zero in `init`.
pub fn network() -> NetworkIdentity {
    // SAFETY: the VMM maps the resume page readable in every guest, and nothing else refers to it.
    let page = unsafe { Window::new(RESUME_PAGE, PAGE_BYTES) };
    NetworkIdentity::from_bytes(&page.load_array(NETWORK))
}

/// Sends what was queued, and waits until a frame or anything of the host comes, until `wake_ns` on the monotonic clock at the
/// latest.
pub fn wait_for_frame(wake_ns: Option<u64>) {
    match wake_ns {
        Some(wake_ns) => doorbell::wait_until(wake_ns),
        None => doorbell::wait(Wait::Event),
    }
}

/// Sends what was queued, and goes on with what has come.
pub fn exchange_frames() {
    doorbell::wait(Wait::Poll);
}

impl Nic {
    /// Brings the device up, if the VM has one. Called once: what its buffers lie in is never given back.
    pub fn open() -> Option<Self> {
        let page = clock::resume_page();
        (page.flags & FLAG_NIC != 0).then(|| {
            let nic = Self {
                rx: Receiver {
                    ring: Ring::new(memory(Layout::new(RX_BUFFERS).bytes), RX_BUFFERS, 1),
                    buffers: memory(usize::from(RX_BUFFERS) * BUFFER_BYTES),
                },
                tx: Sender {
                    ring: Ring::new(memory(Layout::new(TX_BUFFERS).bytes), TX_BUFFERS, 1),
                    buffers: memory(usize::from(TX_BUFFERS) * BUFFER_BYTES),
                    next: 0,
                },
            };
            nic.up()
        })
    }

    fn up(mut self) -> Self {
        let Place::Window(address) = DeviceId::Nic.place() else {
            give_up(kind::RUNTIME, "the NIC has no registers");
        };
        // SAFETY: the VMM maps the device's window in a guest that it tells of one; only this function uses it.
        let device = unsafe { Window::new(address, MMIO_WINDOW_BYTES) };
        let queues = [
            (QUEUE_RX, &self.rx.ring, RX_BUFFERS),
            (QUEUE_TX, &self.tx.ring, TX_BUFFERS),
        ];
        virtio::bring_up(device, mmio::DEVICE_ID_NET, queues);
        for buffer in 0..RX_BUFFERS {
            self.rx.offer(buffer);
        }
        self
    }
}

/// Zeroed memory for as long as the guest lives.
fn memory(bytes: usize) -> Window {
    let memory = vec![0_u64; bytes.div_ceil(8)].leak();
    // SAFETY: it was just given up for good, and nothing but the window refers to it.
    unsafe { Window::new(memory.as_ptr() as u64, bytes as u64) }
}

fn buffer_at(buffer: u16) -> usize {
    usize::from(buffer) * BUFFER_BYTES
}

impl Receiver {
    /// A frame that has come: its buffer is the device's again when this is dropped.
    pub fn receive(&mut self) -> Option<Frame<'_>> {
        let (buffer, written) = self.ring.take()?;
        // The VMM writes a header and a frame, and says how much that was; a guest that it lies to may not read elsewhere.
        let len = (written as usize).clamp(HEADER_BYTES, HEADER_BYTES + FRAME_BYTES_MAX);
        Some(Frame {
            receiver: self,
            buffer,
            len: len - HEADER_BYTES,
        })
    }

    fn offer(&mut self, buffer: u16) {
        let whole = Buffer {
            address: self.buffers.address(buffer_at(buffer)),
            len_bytes: BUFFER_BYTES as u32,
        };
        self.ring.offer(buffer, &[whole], true);
    }
}

/// A frame in its receive buffer.
#[derive(Debug)]
pub struct Frame<'a> {
    receiver: &'a mut Receiver,
    buffer: u16,
    len: usize,
}

impl Frame<'_> {
    /// The frame, its Ethernet header first.
    pub fn bytes(&self) -> &[u8] {
        let start = self
            .receiver
            .buffers
            .address(buffer_at(self.buffer) + HEADER_BYTES);
        let start = core::ptr::with_exposed_provenance(start as usize);
        // SAFETY: the buffer is the driver's own and holds that length, and the device has given it back: nobody writes it before
        // `drop` offers it again.
        unsafe { slice::from_raw_parts(start, self.len) }
    }
}

impl Drop for Frame<'_> {
    fn drop(&mut self) {
        self.receiver.offer(self.buffer);
    }
}

impl Sender {
    /// Whether a frame can be sent now: otherwise [`exchange_frames`] makes room.
    pub fn has_room(&mut self) -> bool {
        while self.ring.take().is_some() {}
        self.ring.in_flight() < TX_BUFFERS
    }

    /// Sends a frame of `len` bytes, which `fill` writes. `None`: there is no room, or a frame cannot be so long.
    pub fn send<R>(&mut self, len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        if !self.has_room() || len > FRAME_BYTES_MAX {
            return None;
        }
        let buffer = self.next;
        self.next = (buffer + 1) % TX_BUFFERS;
        let at = buffer_at(buffer);
        let start = self.buffers.address(at + HEADER_BYTES);
        let start = core::ptr::with_exposed_provenance_mut(start as usize);
        // SAFETY: the buffer is the driver's own, holds that length, and has come back from the device, or was never there. Its header
        // is zero since it was made.
        let bytes = unsafe { slice::from_raw_parts_mut(start, len) };
        let filled = fill(bytes);
        let whole = Buffer {
            address: self.buffers.address(at),
            len_bytes: (HEADER_BYTES + len) as u32,
        };
        self.ring.offer(buffer, &[whole], false);
        Some(filled)
    }
}

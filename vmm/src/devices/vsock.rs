//! The vsock device: one stream between the guest and a Unix stream of the host, passed through
//! unread.
//!
//! ```text
//!          DRIVER_OK            RESPONSE
//! Down ───────────────▶ Offered ─────────▶ Open
//!   the device sends REQUEST   payload flows
//! ```
//!
//! Payload goes from guest memory to the host's stream and back in one system call, without a
//! buffer of the VMM's own; a packet of which the stream took only a part stays in its queue.
//! What a guest sends to any other port is answered with RST.
//! Not here: the file descriptor. Callers lend something to read from and to write to.

use std::{collections::VecDeque, io};

use jiffy_abi::{
    devices::DeviceId,
    virtio_mmio::DEVICE_ID_VSOCK,
    vsock::{
        CREDIT_BYTES, GUEST_CID, HEADER_BYTES, HOST_CID, PACKET_BYTES_MAX, PacketHeader, QUEUE_RX,
        QUEUE_SIZE_MAX, QUEUE_TX, QUEUES, REQUEST_PORT, TYPE_STREAM, op,
    },
};
use jiffy_snapshots::devices::{ConnectionState, DeviceState, TransportState, VsockState};
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use virtio_vsock::packet::VsockPacket;
use vm_memory::{ReadVolatile, VolatileMemoryError, WriteVolatile, bitmap::BitmapSlice};

use super::{mmio::Transport, virtio::VirtioDevice};
use crate::mem::{DeviceMemory, GuestMemory};

const HEADER_LEN: u32 = 44;
const _: () = assert!(HEADER_LEN as usize == HEADER_BYTES);
/// Packets of the device's own that wait for a receive buffer; more resets than that are dropped.
const PENDING_MAX: usize = 16;

/// Why the device cannot go on. All but the last blame the guest.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum VsockError {
    #[error("queue {queue}: {source}")]
    Queue {
        queue: usize,
        source: virtio_queue::Error,
    },
    #[error("packet in queue {queue}: {source}")]
    Packet {
        queue: usize,
        source: virtio_vsock::packet::Error,
    },
    #[error("a receive buffer has no room for payload")]
    NoRoom,
    #[error("a packet became shorter while it was being sent")]
    PacketChanged,
    #[error("the guest closed the request stream")]
    StreamClosed,
    #[error("the host's side of the request stream failed")]
    Host(#[source] io::Error),
}

/// What became of the packets the guest wants to send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Bytes of payload that the host's stream took.
    pub bytes: u64,
    /// Packets that the guest got back.
    pub packets: u64,
    /// The host's stream is full, and there is more.
    pub blocked: bool,
    /// The host's stream is closed.
    pub closed: bool,
}

/// What the guest was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Bytes of payload from the host's stream.
    pub bytes: u64,
    /// Packets put into receive buffers.
    pub packets: u64,
    /// The host's stream is at its end.
    pub closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Connection {
    Down,
    Offered,
    Open,
}

/// The device with its registers and queues, as it is on the bus.
pub type VsockDevice = Transport<Vsock, QUEUES>;

/// The device's own part.
#[derive(Debug)]
pub struct Vsock {
    connection: Connection,
    /// Packets of the device's own, oldest first.
    pending: VecDeque<PacketHeader>,
    /// Bytes of the oldest packet in the transmit queue that the host's stream already took.
    partial_bytes: usize,
    /// Payload ever sent to the guest, modulo 2^32.
    tx_count: u32,
    /// Payload ever taken from the guest, modulo 2^32.
    forwarded: u32,
    /// The guest's receive buffer, as it said last.
    peer_buf_alloc: u32,
    /// Payload the guest ever took out of it, as it said last.
    peer_fwd_cnt: u32,
}

impl Default for VsockDevice {
    /// The device, reset.
    fn default() -> Self {
        Self::new(Vsock {
            connection: Connection::Down,
            pending: VecDeque::with_capacity(PENDING_MAX),
            partial_bytes: 0,
            tx_count: 0,
            forwarded: 0,
            peer_buf_alloc: 0,
            peer_fwd_cnt: 0,
        })
    }
}

impl VirtioDevice<QUEUES> for Vsock {
    const ID: DeviceId = DeviceId::Vsock;
    const TYPE: u32 = DEVICE_ID_VSOCK;
    const QUEUE_SIZE_MAX: u16 = QUEUE_SIZE_MAX;
    const FEATURES: u64 = 0;

    fn config(&self) -> &[u8] {
        const CONFIG: [u8; 8] = GUEST_CID.to_le_bytes();
        &CONFIG
    }

    fn driver_up(&mut self) {
        self.connection = Connection::Offered;
        self.pending.push_back(self.header(op::REQUEST, 0));
    }

    fn reset(&mut self) -> bool {
        self.connection == Connection::Down
    }

    fn state(&self, transport: TransportState) -> Option<DeviceState> {
        // Every field by name: one more does not compile before it is decided whether a request can leave something in it.
        let Self {
            connection,
            pending,
            partial_bytes,
            tx_count,
            forwarded,
            peer_buf_alloc,
            peer_fwd_cnt,
        } = self;
        if !pending.is_empty() || *partial_bytes != 0 {
            return None;
        }
        // The request stream goes on with it without a handshake.
        Some(DeviceState::Vsock(VsockState {
            transport,
            connection: match connection {
                Connection::Down => ConnectionState::Down,
                Connection::Offered => ConnectionState::Offered,
                Connection::Open => ConnectionState::Open,
            },
            tx_count: *tx_count,
            forwarded: *forwarded,
            peer_buf_alloc: *peer_buf_alloc,
            peer_fwd_cnt: *peer_fwd_cnt,
        }))
    }

    fn set_state<'a>(&mut self, state: &'a DeviceState) -> Option<&'a TransportState> {
        let DeviceState::Vsock(state) = state else {
            return None;
        };
        let Self {
            connection,
            pending,
            partial_bytes,
            tx_count,
            forwarded,
            peer_buf_alloc,
            peer_fwd_cnt,
        } = self;
        *connection = match state.connection {
            ConnectionState::Down => Connection::Down,
            ConnectionState::Offered => Connection::Offered,
            ConnectionState::Open => Connection::Open,
        };
        pending.clear();
        *partial_bytes = 0;
        *tx_count = state.tx_count;
        *forwarded = state.forwarded;
        *peer_buf_alloc = state.peer_buf_alloc;
        *peer_fwd_cnt = state.peer_fwd_cnt;
        Some(&state.transport)
    }
}

impl VsockDevice {
    /// Whether the guest has accepted the request stream.
    pub fn is_open(&self) -> bool {
        self.device().is_open()
    }

    /// Whether [`VsockDevice::receive`] could take bytes from the host's stream.
    pub fn can_receive(&mut self, memory: &DeviceMemory) -> Result<bool, VsockError> {
        let (device, queues) = self.parts();
        if !device.is_open() || device.credit_bytes() == 0 {
            return Ok(false);
        }
        let Some(queue) = queues.get(QUEUE_RX) else {
            return Ok(false);
        };
        let available = queue
            .avail_idx(memory.writable(), std::sync::atomic::Ordering::Acquire)
            .map_err(|source| queue_error(QUEUE_RX, source))?;
        Ok(available.0 != queue.next_avail())
    }

    /// Sends what the guest has in its transmit queue, as far as `host` takes it.
    pub fn transmit(
        &mut self,
        memory: &DeviceMemory,
        host: &mut impl WriteVolatile,
    ) -> Result<Sent, VsockError> {
        let (writable, readable) = (memory.writable(), memory.readable());
        let mut sent = Sent::default();
        let (device, queues) = self.parts();
        let Some(queue) = queues.get(QUEUE_TX) else {
            return Ok(sent);
        };
        while let Some(mut chain) = next_chain(queue, QUEUE_TX, writable)? {
            let head = chain.head_index();
            let packet = VsockPacket::from_tx_virtq_chain(readable, &mut chain, PACKET_BYTES_MAX)
                .map_err(|source| packet_error(QUEUE_TX, source))?;
            if !device.take(&packet, host, &mut sent)? {
                queue.go_to_previous_position();
                break;
            }
            sent.packets += 1;
            queue
                .add_used(writable, head, 0)
                .map_err(|source| queue_error(QUEUE_TX, source))?;
        }
        Ok(sent)
    }

    /// Gives the guest what the device itself has for it and then, if there is a `host` and the
    /// stream is open, what that has, as far as there are buffers.
    /// `host` does not block: when it has nothing, it says so with an error.
    pub fn receive<H: ReadVolatile>(
        &mut self,
        memory: &DeviceMemory,
        mut host: Option<&mut H>,
    ) -> Result<Received, VsockError> {
        let memory = memory.writable();
        let mut received = Received::default();
        let (device, queues) = self.parts();
        let Some(queue) = queues.get(QUEUE_RX) else {
            return Ok(received);
        };
        loop {
            let credit_bytes = device.credit_bytes().min(PACKET_BYTES_MAX) as usize;
            let host = host
                .as_deref_mut()
                .filter(|_| device.is_open() && credit_bytes > 0);
            if device.pending.is_empty() && host.is_none() {
                break;
            }
            let Some(mut chain) = next_chain(queue, QUEUE_RX, memory)? else {
                break;
            };
            let head = chain.head_index();
            let mut packet = VsockPacket::from_rx_virtq_chain(memory, &mut chain, u32::MAX)
                .map_err(|source| packet_error(QUEUE_RX, source))?;

            let (header, more) = match (device.pending.pop_front(), host) {
                (Some(header), _) => (header, true),
                (None, None) => break, // Looked at above.
                (None, Some(host)) => match read_payload(host, &packet, credit_bytes)? {
                    Payload::Some { len, is_all } => (device.header(op::RW, len), !is_all),
                    end => {
                        received.closed = end == Payload::End;
                        queue.go_to_previous_position();
                        break;
                    }
                },
            };
            packet
                .set_header_from_raw(&header.to_bytes())
                .map_err(|source| packet_error(QUEUE_RX, source))?;
            queue
                .add_used(memory, head, HEADER_LEN + header.len)
                .map_err(|source| queue_error(QUEUE_RX, source))?;
            device.tx_count = device.tx_count.wrapping_add(header.len);
            received.bytes += u64::from(header.len);
            received.packets += 1;
            if !more {
                break;
            }
        }
        Ok(received)
    }
}

impl Vsock {
    fn is_open(&self) -> bool {
        self.connection == Connection::Open
    }

    /// Does what a packet of the guest says; false if `host` took only a part of its payload.
    fn take<B: BitmapSlice>(
        &mut self,
        packet: &VsockPacket<'_, B>,
        host: &mut impl WriteVolatile,
        sent: &mut Sent,
    ) -> Result<bool, VsockError> {
        let ours = packet.src_cid() == GUEST_CID
            && packet.dst_cid() == HOST_CID
            && packet.src_port() == REQUEST_PORT
            && packet.dst_port() == REQUEST_PORT
            && packet.type_() == TYPE_STREAM;
        if ours {
            self.peer_buf_alloc = packet.buf_alloc();
            self.peer_fwd_cnt = packet.fwd_cnt();
        }
        match packet.op() {
            op::RW if ours && self.is_open() => return self.forward(packet, host, sent),
            op::RESPONSE if ours && self.connection == Connection::Offered => {
                self.connection = Connection::Open;
            }
            op::CREDIT_UPDATE if ours => {}
            op::CREDIT_REQUEST if ours => self.push(self.header(op::CREDIT_UPDATE, 0)),
            op::RST | op::SHUTDOWN if ours => return Err(VsockError::StreamClosed),
            op::RST => {}
            _ => self.push(PacketHeader {
                src_port: packet.dst_port(),
                dst_port: packet.src_port(),
                ..self.header(op::RST, 0)
            }),
        }
        Ok(true)
    }

    /// Gives `host` what it did not take before of a packet's payload; true if that was all.
    fn forward<B: BitmapSlice>(
        &mut self,
        packet: &VsockPacket<'_, B>,
        host: &mut impl WriteVolatile,
        sent: &mut Sent,
    ) -> Result<bool, VsockError> {
        if let Some(data) = packet.data_slice() {
            let rest = data.offset(self.partial_bytes);
            let rest = rest.map_err(|_| VsockError::PacketChanged)?;
            let taken = write_some(host, &rest, sent)?;
            self.partial_bytes += taken;
            sent.bytes += taken as u64;
        }
        if self.partial_bytes < packet.len() as usize {
            return Ok(false);
        }
        self.partial_bytes = 0;
        self.forwarded = self.forwarded.wrapping_add(packet.len());
        Ok(true)
    }

    /// Bytes the guest has room for, as far as the device knows.
    fn credit_bytes(&self) -> u32 {
        let in_flight = self.tx_count.wrapping_sub(self.peer_fwd_cnt);
        self.peer_buf_alloc.saturating_sub(in_flight)
    }

    fn push(&mut self, header: PacketHeader) {
        if self.pending.len() < PENDING_MAX {
            self.pending.push_back(header);
        }
    }

    fn header(&self, op: u16, len: u32) -> PacketHeader {
        PacketHeader {
            src_cid: HOST_CID,
            dst_cid: GUEST_CID,
            src_port: REQUEST_PORT,
            dst_port: REQUEST_PORT,
            len,
            socket_type: TYPE_STREAM,
            op,
            flags: 0,
            buf_alloc: CREDIT_BYTES,
            fwd_cnt: self.forwarded,
        }
    }
}

type Chain<'a> = virtio_queue::DescriptorChain<&'a GuestMemory>;

fn next_chain<'a>(
    queue: &mut Queue,
    number: usize,
    memory: &'a GuestMemory,
) -> Result<Option<Chain<'a>>, VsockError> {
    let available = queue.iter(memory);
    let mut available = available.map_err(|source| queue_error(number, source))?;
    Ok(available.next())
}

fn queue_error(queue: usize, source: virtio_queue::Error) -> VsockError {
    VsockError::Queue { queue, source }
}

fn packet_error(queue: usize, source: virtio_vsock::packet::Error) -> VsockError {
    VsockError::Packet { queue, source }
}

/// Writes to the host's stream; a full or closed one is noted and takes nothing.
fn write_some<B: BitmapSlice>(
    host: &mut impl WriteVolatile,
    data: &vm_memory::VolatileSlice<'_, B>,
    sent: &mut Sent,
) -> Result<usize, VsockError> {
    match host.write_volatile(data) {
        Ok(taken) => {
            sent.blocked |= taken < data.len();
            Ok(taken)
        }
        Err(error) => {
            let error = io_error(error);
            match error.kind() {
                io::ErrorKind::WouldBlock => sent.blocked = true,
                io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => sent.closed = true,
                _ => return Err(VsockError::Host(error)),
            }
            Ok(0)
        }
    }
}

/// What the host's stream had for a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    /// So many bytes. After a short read the stream has no more for now.
    Some { len: u32, is_all: bool },
    /// Nothing for now.
    None,
    /// It is at its end.
    End,
}

/// Reads from the host's stream into a packet's buffer, at most as much as there is credit.
fn read_payload<B: BitmapSlice>(
    host: &mut impl ReadVolatile,
    packet: &VsockPacket<'_, B>,
    credit_bytes: usize,
) -> Result<Payload, VsockError> {
    let data = packet.data_slice().ok_or(VsockError::NoRoom)?;
    let room = data.len().min(credit_bytes);
    let mut room = data.subslice(0, room).map_err(|_| VsockError::NoRoom)?;
    match host.read_volatile(&mut room) {
        Ok(0) => Ok(Payload::End),
        Ok(bytes) => Ok(Payload::Some {
            len: u32::try_from(bytes).unwrap_or_default(), // At most PACKET_BYTES_MAX.
            is_all: bytes < room.len(),
        }),
        Err(error) => {
            let error = io_error(error);
            match error.kind() {
                io::ErrorKind::WouldBlock => Ok(Payload::None),
                io::ErrorKind::ConnectionReset => Ok(Payload::End),
                _ => Err(VsockError::Host(error)),
            }
        }
    }
}

fn io_error(error: VolatileMemoryError) -> io::Error {
    match error {
        VolatileMemoryError::IOError(error) => error,
        other => io::Error::other(other),
    }
}

#[cfg(test)]
mod tests;

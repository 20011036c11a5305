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
    layout::MMIO_VSOCK,
    virtio_mmio::DEVICE_ID_VSOCK,
    vsock::{
        CREDIT_BYTES, GUEST_CID, HEADER_BYTES, HOST_CID, PACKET_BYTES_MAX, PacketHeader, QUEUE_RX,
        QUEUE_TX, REQUEST_PORT, TYPE_STREAM, op,
    },
};
use jiffy_snapshots::state::{ConnectionState, VsockState};
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use virtio_vsock::packet::VsockPacket;
use vm_memory::{ReadVolatile, VolatileMemoryError, WriteVolatile};

use super::mmio::{Effect, Transport, TransportError};
use crate::mem::{DeviceMemory, GuestMemory};

const HEADER_LEN: u32 = 44;
const _: () = assert!(HEADER_LEN as usize == HEADER_BYTES);
/// Packets of the device's own that wait for a receive buffer; more resets than that are dropped.
const PENDING_MAX: usize = 16;

/// Why the device cannot go on. All but the last blame the guest.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum VsockError {
    #[error(transparent)]
    Transport(#[from] TransportError),
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
    #[error("the driver reset the device while the request stream was open")]
    ResetInUse,
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

/// The device.
#[derive(Debug)]
pub struct Vsock {
    transport: Transport,
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

impl Default for Vsock {
    fn default() -> Self {
        Self::new()
    }
}

impl Vsock {
    /// The device, reset.
    pub fn new() -> Self {
        Self {
            transport: Transport::new(DEVICE_ID_VSOCK, GUEST_CID.to_le_bytes().to_vec()),
            connection: Connection::Down,
            pending: VecDeque::with_capacity(PENDING_MAX),
            partial_bytes: 0,
            tx_count: 0,
            forwarded: 0,
            peer_buf_alloc: 0,
            peer_fwd_cnt: 0,
        }
    }

    /// What a snapshot holds of it, with which the request stream goes on without a handshake;
    /// `None` while the device has packets to deliver.
    pub fn state(&self) -> Option<VsockState> {
        // Every field by name: one more does not compile before it is decided whether a request can leave something in it.
        let Self {
            transport,
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
        Some(VsockState {
            transport: transport.state(),
            connection: match connection {
                Connection::Down => ConnectionState::Down,
                Connection::Offered => ConnectionState::Offered,
                Connection::Open => ConnectionState::Open,
            },
            tx_count: *tx_count,
            forwarded: *forwarded,
            peer_buf_alloc: *peer_buf_alloc,
            peer_fwd_cnt: *peer_fwd_cnt,
        })
    }

    /// Puts the device back to `state`, whose queues are checked against `memory`. Allocates
    /// nothing.
    pub fn set_state(
        &mut self,
        memory: &DeviceMemory,
        state: &VsockState,
    ) -> Result<(), VsockError> {
        let Self {
            transport,
            connection,
            pending,
            partial_bytes,
            tx_count,
            forwarded,
            peer_buf_alloc,
            peer_fwd_cnt,
        } = self;
        transport.set_state(memory.writable(), &state.transport)?;
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
        Ok(())
    }

    /// Whether the guest has accepted the request stream.
    pub fn is_open(&self) -> bool {
        self.connection == Connection::Open
    }

    /// What the register at guest physical address `address` reads.
    pub fn read(&self, address: u64) -> Result<u32, VsockError> {
        Ok(self.transport.read(address.wrapping_sub(MMIO_VSOCK))?)
    }

    /// Writes the register at guest physical address `address`. True if the queues are to be
    /// looked at.
    pub fn write(
        &mut self,
        memory: &DeviceMemory,
        address: u64,
        value: u32,
    ) -> Result<bool, VsockError> {
        match self
            .transport
            .write(memory.writable(), address.wrapping_sub(MMIO_VSOCK), value)?
        {
            Effect::None => Ok(false),
            Effect::Notify => Ok(true),
            Effect::DriverOk => {
                self.connection = Connection::Offered;
                self.pending.push_back(self.header(op::REQUEST, 0));
                Ok(true)
            }
            Effect::Reset if self.connection == Connection::Down => Ok(false),
            Effect::Reset => Err(VsockError::ResetInUse),
        }
    }

    /// Whether [`Vsock::receive`] could take bytes from the host's stream.
    pub fn can_receive(&mut self, memory: &DeviceMemory) -> Result<bool, VsockError> {
        if self.connection != Connection::Open || self.credit_bytes() == 0 {
            return Ok(false);
        }
        let Some(queue) = self.transport.queue(QUEUE_RX) else {
            return Ok(false);
        };
        let available = queue
            .avail_idx(memory.writable(), std::sync::atomic::Ordering::Acquire)
            .map_err(|source| VsockError::Queue {
                queue: QUEUE_RX,
                source,
            })?;
        Ok(available.0 != queue.next_avail())
    }

    /// Sends what the guest has in its transmit queue, as far as `host` takes it.
    pub fn transmit(
        &mut self,
        memory: &DeviceMemory,
        host: &mut impl WriteVolatile,
    ) -> Result<Sent, VsockError> {
        let (memory, readable) = (memory.writable(), memory.readable());
        let mut sent = Sent::default();
        loop {
            let Some(queue) = self.transport.queue(QUEUE_TX) else {
                return Ok(sent);
            };
            let Some(mut chain) = next_chain(queue, QUEUE_TX, memory)? else {
                return Ok(sent);
            };
            let head = chain.head_index();
            let packet = VsockPacket::from_tx_virtq_chain(readable, &mut chain, PACKET_BYTES_MAX)
                .map_err(|source| VsockError::Packet {
                queue: QUEUE_TX,
                source,
            })?;

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
                op::RW if ours && self.connection == Connection::Open => {
                    let taken = match packet.data_slice() {
                        None => 0,
                        Some(data) => {
                            let rest = data
                                .offset(self.partial_bytes)
                                .map_err(|_| VsockError::PacketChanged)?;
                            write_some(host, &rest, &mut sent)?
                        }
                    };
                    self.partial_bytes += taken;
                    sent.bytes += taken as u64;
                    if self.partial_bytes < packet.len() as usize {
                        if let Some(queue) = self.transport.queue(QUEUE_TX) {
                            queue.go_to_previous_position();
                        }
                        return Ok(sent);
                    }
                    self.partial_bytes = 0;
                    self.forwarded = self.forwarded.wrapping_add(packet.len());
                }
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
            sent.packets += 1;
            if let Some(queue) = self.transport.queue(QUEUE_TX) {
                queue
                    .add_used(memory, head, 0)
                    .map_err(|source| VsockError::Queue {
                        queue: QUEUE_TX,
                        source,
                    })?;
            }
        }
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
        loop {
            let credit_bytes = self.credit_bytes().min(PACKET_BYTES_MAX) as usize;
            let host = host
                .as_deref_mut()
                .filter(|_| self.is_open() && credit_bytes > 0);
            if self.pending.is_empty() && host.is_none() {
                break;
            }
            let header = self.header(op::RW, 0);
            let Some(queue) = self.transport.queue(QUEUE_RX) else {
                break;
            };
            let Some(mut chain) = next_chain(queue, QUEUE_RX, memory)? else {
                break;
            };
            let head = chain.head_index();
            let mut packet = VsockPacket::from_rx_virtq_chain(memory, &mut chain, u32::MAX)
                .map_err(|source| VsockError::Packet {
                    queue: QUEUE_RX,
                    source,
                })?;

            let (header, more) = match (self.pending.pop_front(), host) {
                (Some(header), _) => (header, true),
                (None, None) => break, // Looked at above.
                (None, Some(host)) => {
                    let data = packet.data_slice().ok_or(VsockError::NoRoom)?;
                    let room = data.len().min(credit_bytes);
                    let mut room = data.subslice(0, room).map_err(|_| VsockError::NoRoom)?;
                    match read_some(host, &mut room)? {
                        // After a short read the stream has no more for now.
                        Some(len) if len > 0 => {
                            (PacketHeader { len, ..header }, len as usize == room.len())
                        }
                        end => {
                            received.closed = end.is_some();
                            queue.go_to_previous_position();
                            break;
                        }
                    }
                }
            };
            packet
                .set_header_from_raw(&header.to_bytes())
                .map_err(|source| VsockError::Packet {
                    queue: QUEUE_RX,
                    source,
                })?;
            queue
                .add_used(memory, head, HEADER_LEN + header.len)
                .map_err(|source| VsockError::Queue {
                    queue: QUEUE_RX,
                    source,
                })?;
            self.tx_count = self.tx_count.wrapping_add(header.len);
            received.bytes += u64::from(header.len);
            received.packets += 1;
            if !more {
                break;
            }
        }
        Ok(received)
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
    let mut available = queue.iter(memory).map_err(|source| VsockError::Queue {
        queue: number,
        source,
    })?;
    Ok(available.next())
}

/// Writes to the host's stream; a full or closed one is noted and takes nothing.
fn write_some<B: vm_memory::bitmap::BitmapSlice>(
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

/// Reads from the host's stream: `None` if it has nothing now, zero at its end.
fn read_some<B: vm_memory::bitmap::BitmapSlice>(
    host: &mut impl ReadVolatile,
    room: &mut vm_memory::VolatileSlice<'_, B>,
) -> Result<Option<u32>, VsockError> {
    match host.read_volatile(room) {
        Ok(bytes) => Ok(u32::try_from(bytes).ok()), // At most PACKET_BYTES_MAX.
        Err(error) => {
            let error = io_error(error);
            match error.kind() {
                io::ErrorKind::WouldBlock => Ok(None),
                io::ErrorKind::ConnectionReset => Ok(Some(0)),
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

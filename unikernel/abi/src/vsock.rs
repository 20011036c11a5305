//! Addresses of the vsock streams between a guest and its host.
//!
//! Each VM has a vsock of its own, so the numbers are the same in every VM. The host connects to
//! [`REQUEST_PORT`] as soon as the driver is up; requests and responses travel over that one
//! stream, framed as [`crate::frame`] says.

use crate::bytes::{get, put};

/// The host's context id, from the virtio specification.
pub const HOST_CID: u64 = 2;
/// The guest's context id.
pub const GUEST_CID: u64 = 3;
/// Where the guest listens for the request stream; the host uses the same number for its end.
pub const REQUEST_PORT: u32 = 1;

/// Largest payload of one packet, bytes, in either direction.
pub const PACKET_BYTES_MAX: u32 = 64 << 10;
/// Receive credit each side grants, bytes: more than the largest frame, so that no request has to
/// stop for a credit update. Neither side buffers that much: the host writes from guest memory to
/// its stream, the guest copies each packet out at once.
pub const CREDIT_BYTES: u32 = 64 << 20;

/// Number of the receive queue (host to guest).
pub const QUEUE_RX: usize = 0;
/// Number of the transmit queue (guest to host).
pub const QUEUE_TX: usize = 1;
/// Number of the event queue; the library OS sets none up.
pub const QUEUE_EVENT: usize = 2;
/// Queues the device has.
pub const QUEUES: usize = 3;
/// Largest number of descriptors of one queue.
pub const QUEUE_SIZE_MAX: u16 = 64;

const _: () = {
    let frame_bytes = crate::frame::HEADER_BYTES as u64
        + crate::frame::HEAD_BYTES_MAX as u64
        + crate::frame::BODY_BYTES_MAX as u64;
    assert!(CREDIT_BYTES as u64 > 2 * frame_bytes);
};

/// Bytes of a packet's header (`struct virtio_vsock_hdr`, VIRTIO 1.2, section 5.10.6).
pub const HEADER_BYTES: usize = 44;

/// Type of a stream socket.
pub const TYPE_STREAM: u16 = 1;

/// What a packet does, `op` in its header.
pub mod op {
    /// Asks for a connection.
    pub const REQUEST: u16 = 1;
    /// Accepts a connection.
    pub const RESPONSE: u16 = 2;
    /// Refuses or ends a connection at once.
    pub const RST: u16 = 3;
    /// Ends a connection in one or both directions.
    pub const SHUTDOWN: u16 = 4;
    /// Carries payload.
    pub const RW: u16 = 5;
    /// Tells how much may be sent.
    pub const CREDIT_UPDATE: u16 = 6;
    /// Asks for a [`CREDIT_UPDATE`].
    pub const CREDIT_REQUEST: u16 = 7;
}

/// A packet's header.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketHeader {
    /// Context id of the sender.
    pub src_cid: u64,
    /// Context id of the receiver.
    pub dst_cid: u64,
    /// Port of the sender.
    pub src_port: u32,
    /// Port of the receiver.
    pub dst_port: u32,
    /// Bytes of payload.
    pub len: u32,
    /// Type of the socket.
    pub socket_type: u16,
    /// What the packet does: one of [`op`].
    pub op: u16,
    /// Depends on `op`.
    pub flags: u32,
    /// Bytes of receive buffer of the sender.
    pub buf_alloc: u32,
    /// Bytes the sender ever took out of its receive buffer, modulo 2^32.
    pub fwd_cnt: u32,
}

impl PacketHeader {
    /// The header as it travels.
    pub const fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        put(&mut header, 0, self.src_cid.to_le_bytes());
        put(&mut header, 8, self.dst_cid.to_le_bytes());
        put(&mut header, 16, self.src_port.to_le_bytes());
        put(&mut header, 20, self.dst_port.to_le_bytes());
        put(&mut header, 24, self.len.to_le_bytes());
        put(&mut header, 28, self.socket_type.to_le_bytes());
        put(&mut header, 30, self.op.to_le_bytes());
        put(&mut header, 32, self.flags.to_le_bytes());
        put(&mut header, 36, self.buf_alloc.to_le_bytes());
        put(&mut header, 40, self.fwd_cnt.to_le_bytes());
        header
    }

    /// Decodes a header; nothing in it is checked.
    pub const fn from_bytes(header: &[u8; HEADER_BYTES]) -> Self {
        Self {
            src_cid: u64::from_le_bytes(get(header, 0)),
            dst_cid: u64::from_le_bytes(get(header, 8)),
            src_port: u32::from_le_bytes(get(header, 16)),
            dst_port: u32::from_le_bytes(get(header, 20)),
            len: u32::from_le_bytes(get(header, 24)),
            socket_type: u16::from_le_bytes(get(header, 28)),
            op: u16::from_le_bytes(get(header, 30)),
            flags: u32::from_le_bytes(get(header, 32)),
            buf_alloc: u32::from_le_bytes(get(header, 36)),
            fwd_cnt: u32::from_le_bytes(get(header, 40)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let header = PacketHeader {
            src_cid: HOST_CID,
            dst_cid: GUEST_CID,
            src_port: 1,
            dst_port: 2,
            len: 3,
            socket_type: TYPE_STREAM,
            op: op::RW,
            flags: 4,
            buf_alloc: 5,
            fwd_cnt: 6,
        };
        assert_eq!(PacketHeader::from_bytes(&header.to_bytes()), header);
    }
}

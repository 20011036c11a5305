//! The network device: what its queues and its configuration space hold (VIRTIO 1.2, section 5.1).
//!
//! A frame goes through the queues behind a header, and is never split over two chains. Neither side offloads anything yet, so
//! all fields of a header but one are zero. Who the guest is, it learns from the resume page
//! ([`crate::resume_page::NetworkIdentity`]) and not from the device, because a snapshot has the one and not the other.

/// The queue that the device puts received frames into.
pub const QUEUE_RX: usize = 0;
/// The queue of frames to be sent.
pub const QUEUE_TX: usize = 1;
/// How many queues there are.
pub const QUEUES: usize = 2;
/// Descriptors of a queue at most.
pub const QUEUE_SIZE_MAX: u16 = 256;

/// The device says in its configuration space how long a packet may be.
pub const FEATURE_MTU: u64 = 1 << 3;

/// Bytes of `struct virtio_net_hdr_v1`, which stands before each frame.
pub const HEADER_BYTES: usize = 12;
/// Offset of the number of buffers that a received frame takes, a u16: one.
pub const HEADER_BUFFERS: usize = 10;

/// Bytes of an Ethernet header, without tags.
pub const ETHERNET_HEADER_BYTES: usize = 14;
/// Bytes of a packet at most, unless the resume page says fewer.
pub const MTU: u16 = 1500;
/// Bytes of a packet that every interface takes (RFC 8200, section 5).
pub const MTU_MIN: u16 = 1280;
/// Bytes of a frame at most, its header included.
pub const FRAME_BYTES_MAX: usize = ETHERNET_HEADER_BYTES + MTU as usize;

/// Bytes of the configuration space.
pub const CONFIG_BYTES: usize = 12;
/// Offset of the MTU in it, a u16.
pub const CONFIG_MTU: usize = 10;

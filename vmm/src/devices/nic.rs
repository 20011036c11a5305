//! The network interface: frames between the guest's queues and the host's side, one a call, unread.
//!
//! ```text
//! transmit queue ── header, frame ──▶ copied once, checked ──▶ host        full: dropped, and counted
//! receive queue  ◀── header, frame ── checked, copied once ◀── host        no buffer: it stays there
//! ```
//!
//! A frame is copied, so that it cannot become another between its check and its way out; that costs some 50 ns of the
//! microseconds that a TAP takes for it. Nothing is offloaded: a header is zero but for the one buffer that a received frame
//! takes. The device has no state besides its queues, and asks for no credit: what the guest has no buffer for waits at the host.
//! Not here: the file descriptor. Callers lend something that takes and gives one frame a call, and does not block. Nor who
//! the guest is, which the resume page says.

use std::io::{self, Read, Write};

use jiffy_abi::{
    devices::DeviceId,
    virtio_mmio::DEVICE_ID_NET,
    virtio_net::{
        CONFIG_BYTES, CONFIG_MTU, ETHERNET_HEADER_BYTES, FEATURE_MTU, FRAME_BYTES_MAX,
        HEADER_BUFFERS, HEADER_BYTES, MTU, QUEUE_RX, QUEUE_SIZE_MAX, QUEUE_TX, QUEUES,
    },
};
use jiffy_snapshots::devices::{DeviceState, TransportState};
use virtio_queue::{
    DescriptorChain, Queue, QueueOwnedT, QueueT, desc::split::Descriptor as SplitDescriptor,
};
use vm_memory::{Bytes, GuestMemoryBackend as _};

use super::{mmio::Transport, virtio::VirtioDevice};
use crate::mem::{DeviceMemory, GuestMemory};

/// Frames that one doorbell moves in one direction at most: all that an honest queue can hold. One whose rings lie over
/// each other would never end.
pub const FRAMES_MAX: u32 = QUEUE_SIZE_MAX as u32;
/// Descriptors of a chain at most: a frame has no use for more.
pub const DESCRIPTORS_MAX: usize = 16;
/// Frames of the host that are dropped at most so that none of them comes up in a later request: more than a TAP's own
/// queue holds (`txqueuelen`, 1,000 unless its owner raised it).
pub const STALE_FRAMES_MAX: u32 = 4096;
const BUFFER_BYTES_MAX: usize = HEADER_BYTES + FRAME_BYTES_MAX;

/// Why the device cannot go on. All but the last blame the guest.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum NicError {
    #[error("queue {queue} of the NIC: {source}")]
    Queue {
        queue: usize,
        source: virtio_queue::Error,
    },
    #[error(
        "a chain in queue {0} of the NIC does not end: a descriptor names a next one that there is not"
    )]
    Chain(usize),
    #[error("a chain in queue {0} of the NIC has more than {DESCRIPTORS_MAX} descriptors")]
    ChainLong(usize),
    #[error("a chain in queue {0} of the NIC has a buffer for the other direction")]
    Direction(usize),
    #[error(
        "a chain in queue {queue} of the NIC has {len_bytes} bytes at {address:#x}, where the device may not touch them"
    )]
    Memory {
        queue: usize,
        address: u64,
        len_bytes: u32,
    },
    #[error("the guest sent {0} bytes, fewer than the {HEADER_BYTES} of a frame's header")]
    Header(usize),
    #[error(
        "the guest's header asks for an offload, and none was offered: its bytes have to be zero"
    )]
    Offload,
    #[error(
        "the guest sent a frame of {0} bytes: it must have {ETHERNET_HEADER_BYTES} to {FRAME_BYTES_MAX}"
    )]
    Frame(usize),
    #[error("a receive buffer has {room_bytes} bytes, and a frame with its header {len_bytes}")]
    NoRoom { room_bytes: usize, len_bytes: usize },
    #[error("the host's side of the NIC failed")]
    Host(#[source] io::Error),
}

/// What went in one direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// Frames that reached the other side.
    pub frames: u64,
    /// Their bytes, headers of the device not counted.
    pub bytes: u64,
    /// Frames that did not: the host's side was full, or had none; or had one that is none of the guest's network.
    pub dropped: u64,
}

/// The device with its registers and queues, as it is on the bus.
pub type NicDevice = Transport<Nic, QUEUES>;

/// The device's own part: nothing.
#[derive(Debug, PartialEq, Eq)]
pub struct Nic;

impl Default for NicDevice {
    /// The device, reset.
    fn default() -> Self {
        Self::new(Nic)
    }
}

impl VirtioDevice<QUEUES> for Nic {
    const ID: DeviceId = DeviceId::Nic;
    const TYPE: u32 = DEVICE_ID_NET;
    const QUEUE_SIZE_MAX: u16 = QUEUE_SIZE_MAX;
    const FEATURES: u64 = FEATURE_MTU;

    fn config(&self) -> &[u8] {
        const CONFIG: [u8; CONFIG_BYTES] = {
            let mut config = [0; CONFIG_BYTES];
            let [low, high] = MTU.to_le_bytes();
            (config[CONFIG_MTU], config[CONFIG_MTU + 1]) = (low, high);
            config
        };
        &CONFIG
    }

    fn driver_up(&mut self) {}

    fn reset(&mut self) -> bool {
        true
    }

    fn state(&self, transport: TransportState) -> Option<DeviceState> {
        // Nothing of a request can be left in it.
        let Self = self;
        Some(DeviceState::Nic(transport))
    }

    fn set_state<'a>(&mut self, state: &'a DeviceState) -> Option<&'a TransportState> {
        match state {
            DeviceState::Nic(transport) => Some(transport),
            _ => None,
        }
    }
}

impl NicDevice {
    /// Whether the guest has a buffer for a frame.
    pub fn can_receive(&mut self, memory: &DeviceMemory) -> Result<bool, NicError> {
        let (_, queues) = self.parts();
        let Some(queue) = queues.get(QUEUE_RX) else {
            return Ok(false);
        };
        let available = queue
            .avail_idx(memory.writable(), std::sync::atomic::Ordering::Acquire)
            .map_err(|source| queue_error(QUEUE_RX, source))?;
        Ok(available.0 != queue.next_avail())
    }

    /// Sends what the guest has in its transmit queue, at most [`FRAMES_MAX`] frames; `None`: there is no network, and it is
    /// dropped.
    pub fn transmit<H: Write>(
        &mut self,
        memory: &DeviceMemory,
        mut host: Option<&mut H>,
    ) -> Result<Moved, NicError> {
        let mut moved = Moved::default();
        let (_, queues) = self.parts();
        let Some(queue) = queues.get(QUEUE_TX) else {
            return Ok(moved);
        };
        let mut buffer = [0; BUFFER_BYTES_MAX];
        for _ in 0..FRAMES_MAX {
            let Some(chain) = next_chain(queue, QUEUE_TX, memory.writable())? else {
                break;
            };
            let head = chain.head_index();
            let frame = read_frame(chain, memory.readable(), &mut buffer)?;
            let is_taken = match host.as_deref_mut() {
                Some(host) => write_frame(host, frame)?,
                None => false,
            };
            if is_taken {
                moved.frames += 1;
                moved.bytes += frame.len() as u64;
            } else {
                moved.dropped += 1;
            }
            queue
                .add_used(memory.writable(), head, 0)
                .map_err(|source| queue_error(QUEUE_TX, source))?;
        }
        Ok(moved)
    }

    /// Gives the guest what `host` has, as far as there are buffers, at most [`FRAMES_MAX`] frames.
    pub fn receive(
        &mut self,
        memory: &DeviceMemory,
        host: &mut impl Read,
    ) -> Result<Moved, NicError> {
        let memory = memory.writable();
        let mut moved = Moved::default();
        let (_, queues) = self.parts();
        let Some(queue) = queues.get(QUEUE_RX) else {
            return Ok(moved);
        };
        let mut buffer = [0; BUFFER_BYTES_MAX + 1];
        buffer[HEADER_BUFFERS] = 1;
        for _ in 0..FRAMES_MAX {
            let Some(chain) = next_chain(queue, QUEUE_RX, memory)? else {
                break;
            };
            let head = chain.head_index();
            // Before a frame is taken from the host, which would be lost otherwise.
            let room = Room::of(chain, memory)?;
            let len = read_some(host, &mut buffer[HEADER_BYTES..])?;
            let is_fit = |len: &usize| (ETHERNET_HEADER_BYTES..=FRAME_BYTES_MAX).contains(len);
            let Some(len) = len.filter(is_fit) else {
                queue.go_to_previous_position();
                if len.is_none() {
                    break;
                }
                moved.dropped += 1;
                continue;
            };
            let packet = &buffer[..HEADER_BYTES + len];
            room.write(memory, packet)?;
            let len_bytes = u32::try_from(packet.len()).unwrap_or_default(); // At most BUFFER_BYTES_MAX.
            queue
                .add_used(memory, head, len_bytes)
                .map_err(|source| queue_error(QUEUE_RX, source))?;
            moved.frames += 1;
            moved.bytes += len as u64;
        }
        Ok(moved)
    }
}

/// Takes what waits at `host` and drops it, at most [`STALE_FRAMES_MAX`] frames: says how many.
pub fn drop_stale(host: &mut impl Read) -> Result<u64, NicError> {
    let mut frame = [0; ETHERNET_HEADER_BYTES];
    let mut dropped = 0;
    for _ in 0..STALE_FRAMES_MAX {
        if read_some(host, &mut frame)?.is_none() {
            break;
        }
        dropped += 1;
    }
    Ok(dropped)
}

type Chain<'a> = DescriptorChain<&'a GuestMemory>;

fn next_chain<'a>(
    queue: &mut Queue,
    number: usize,
    memory: &'a GuestMemory,
) -> Result<Option<Chain<'a>>, NicError> {
    let available = queue.iter(memory);
    let mut available = available.map_err(|source| queue_error(number, source))?;
    Ok(available.next())
}

fn queue_error(queue: usize, source: virtio_queue::Error) -> NicError {
    NicError::Queue { queue, source }
}

/// The descriptors of a chain, which has to be one that ends. Each is read once.
fn descriptors(
    chain: Chain<'_>,
    queue: usize,
) -> impl Iterator<Item = Result<SplitDescriptor, NicError>> {
    // Iteration ends where a chain does, and where it cannot go on: at a loop, outside the table, outside RAM.
    let mut goes_on = true;
    let mut chain = chain.enumerate();
    std::iter::from_fn(move || {
        let Some((number, descriptor)) = chain.next() else {
            return std::mem::take(&mut goes_on).then_some(Err(NicError::Chain(queue)));
        };
        goes_on = descriptor.has_next();
        if number >= DESCRIPTORS_MAX {
            return Some(Err(NicError::ChainLong(queue)));
        }
        let is_for_device = queue == QUEUE_RX;
        if descriptor.is_write_only() != is_for_device {
            return Some(Err(NicError::Direction(queue)));
        }
        Some(Ok(descriptor))
    })
}

/// Copies a chain of the transmit queue and checks what it is; the frame.
fn read_frame<'a>(
    chain: Chain<'_>,
    memory: &GuestMemory,
    buffer: &'a mut [u8; BUFFER_BYTES_MAX],
) -> Result<&'a [u8], NicError> {
    let mut bytes = 0;
    for descriptor in descriptors(chain, QUEUE_TX) {
        let descriptor = descriptor?;
        let len = descriptor.len() as usize;
        let end = bytes + len;
        let into = buffer.get_mut(bytes..end);
        let into = into.ok_or(NicError::Frame(end.saturating_sub(HEADER_BYTES)))?;
        let read = memory.read_slice(into, descriptor.addr());
        read.map_err(|_| memory_error(QUEUE_TX, &descriptor))?;
        bytes = end;
    }
    let (header, frame) = buffer[..bytes]
        .split_first_chunk::<HEADER_BYTES>()
        .ok_or(NicError::Header(bytes))?;
    // The number of buffers is the other direction's, and means nothing here.
    if header[..HEADER_BUFFERS].iter().any(|byte| *byte != 0) {
        return Err(NicError::Offload);
    }
    if frame.len() < ETHERNET_HEADER_BYTES {
        return Err(NicError::Frame(frame.len()));
    }
    Ok(frame)
}

fn memory_error(queue: usize, descriptor: &SplitDescriptor) -> NicError {
    NicError::Memory {
        queue,
        address: descriptor.addr().0,
        len_bytes: descriptor.len(),
    }
}

/// The buffers of a chain of the receive queue, all of which the device may write.
struct Room {
    buffers: [SplitDescriptor; DESCRIPTORS_MAX],
    count: usize,
    bytes: usize,
}

impl Room {
    fn of(chain: Chain<'_>, memory: &GuestMemory) -> Result<Self, NicError> {
        let mut room = Self {
            buffers: [SplitDescriptor::default(); DESCRIPTORS_MAX],
            count: 0,
            bytes: 0,
        };
        for descriptor in descriptors(chain, QUEUE_RX) {
            let descriptor = descriptor?;
            let len = descriptor.len() as usize;
            if !memory.check_range(descriptor.addr(), len) {
                return Err(memory_error(QUEUE_RX, &descriptor));
            }
            room.buffers[room.count] = descriptor; // No chain has more.
            room.count += 1;
            room.bytes = room.bytes.saturating_add(len);
        }
        Ok(room)
    }

    fn write(&self, memory: &GuestMemory, packet: &[u8]) -> Result<(), NicError> {
        if self.bytes < packet.len() {
            return Err(NicError::NoRoom {
                room_bytes: self.bytes,
                len_bytes: packet.len(),
            });
        }
        let mut rest = packet;
        for descriptor in &self.buffers[..self.count] {
            let len = rest.len().min(descriptor.len() as usize);
            let (part, behind) = rest.split_at(len);
            let written = memory.write_slice(part, descriptor.addr());
            written.map_err(|_| memory_error(QUEUE_RX, descriptor))?;
            rest = behind;
        }
        Ok(())
    }
}

/// Whether the host took a frame; one that it has no room for is dropped.
fn write_frame(host: &mut impl Write, frame: &[u8]) -> Result<bool, NicError> {
    match host.write(frame) {
        Ok(_) => Ok(true), // A TAP takes a frame whole or not at all.
        Err(error) if is_full(&error) => Ok(false),
        Err(error) => Err(NicError::Host(error)),
    }
}

/// The length of the host's next frame, of which `buffer` has as much as fits; `None`: there is none now.
fn read_some(host: &mut impl Read, buffer: &mut [u8]) -> Result<Option<usize>, NicError> {
    match host.read(buffer) {
        // No frame is empty.
        Ok(0) => Err(NicError::Host(io::ErrorKind::UnexpectedEof.into())),
        Ok(len) => Ok(Some(len)),
        Err(error) if is_full(&error) => Ok(None),
        Err(error) => Err(NicError::Host(error)),
    }
}

fn is_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    ) || error.raw_os_error() == Some(libc::ENOBUFS)
}

#[cfg(test)]
mod tests;

//! What a snapshot holds of devices: a list in ascending order of their numbers, each with its state behind its length.
//!
//! So a snapshot with a device that this jiffy does not know is told from one that is damaged, and a new device needs no new
//! version of the format. The order of fields and of variants is the format, as in [`crate::state`].
//! Not here: whether a VM has these devices, which the VMM decides.

use jiffy_abi::{devices::DeviceId, virtio_net, vsock};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

/// Bytes that a console keeps of what its guest wrote to it in loopback mode at most.
pub const CONSOLE_FIFO_BYTES_MAX: usize = 64;

/// What a snapshot holds of one device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceState {
    /// The vsock device and its stream.
    Vsock(VsockState),
    /// The serial port.
    Console(ConsoleState),
    /// The network interface, which is nothing but its registers and its queues: who its guest is comes with each resume, and
    /// what waits at the host's side is of no snapshot.
    Nic(TransportState),
    /// A device that this jiffy does not know. [`crate::State::check`] refuses it.
    Unknown {
        /// Its number.
        number: u32,
        /// Its state, whatever that is.
        state: Vec<u8>,
    },
}

/// The vsock device: its registers, its queues, and the request stream.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VsockState {
    /// Registers and queues.
    pub transport: TransportState,
    /// The request stream.
    pub connection: ConnectionState,
    /// Payload ever sent to the guest, modulo 2^32.
    pub tx_count: u32,
    /// Payload ever taken from the guest, modulo 2^32.
    pub forwarded: u32,
    /// The guest's receive buffer, bytes, as it said last.
    pub peer_buf_alloc: u32,
    /// Payload the guest ever took out of it, modulo 2^32, as it said last.
    pub peer_fwd_cnt: u32,
}

/// What a driver set of a virtio-mmio device.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TransportState {
    /// The device's status register.
    pub status: u32,
    /// Which half of the device's features the driver reads.
    pub device_features_sel: u32,
    /// Which half of the features the driver writes.
    pub driver_features_sel: u32,
    /// What the driver took of the features.
    pub driver_features: u64,
    /// Number of the queue that the driver's next accesses mean.
    pub queue_sel: u32,
    /// As many as the device has.
    pub queues: Vec<QueueState>,
}

/// One virtqueue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Descriptors: a power of two of at most what the device allows if the queue is ready.
    pub size: u16,
    /// Whether the queue is in use.
    pub ready: bool,
    /// Chains ever taken from the available ring, modulo 2^16.
    pub next_avail: u16,
    /// Chains ever put into the used ring, modulo 2^16.
    pub next_used: u16,
    /// Guest physical address of the descriptor table.
    pub desc_table: u64,
    /// Guest physical address of the available ring.
    pub avail_ring: u64,
    /// Guest physical address of the used ring.
    pub used_ring: u64,
}

/// How far the request stream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConnectionState {
    /// The driver is not up.
    #[default]
    Down,
    /// The device asked for the stream.
    Offered,
    /// The guest accepted it.
    Open,
}

/// Registers of a 16550, and what its guest wrote to it in loopback mode and has not read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "names of registers")]
pub struct ConsoleState {
    pub baud_divisor_low: u8,
    pub baud_divisor_high: u8,
    pub interrupt_enable: u8,
    pub interrupt_identification: u8,
    pub line_control: u8,
    pub line_status: u8,
    pub modem_control: u8,
    pub modem_status: u8,
    pub scratch: u8,
    pub fifo: Vec<u8>,
}

/// What a list of devices says that no VM can have. All blame the state's maker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum DeviceStateError {
    #[error("it has a device of number {0}, which this jiffy does not know")]
    Unknown(u32),
    #[error(
        "its device of number {number} stands behind that of number {before}: each must be there once, in ascending order"
    )]
    Order { number: u32, before: u32 },
    #[error("its {device} has {found} queues, not {expected}")]
    Queues {
        device: &'static str,
        found: usize,
        expected: usize,
    },
    #[error(
        "queue {queue} of its {device} has {size} descriptors, not a power of two of at most {size_max}"
    )]
    QueueSize {
        device: &'static str,
        queue: usize,
        size: u16,
        size_max: u16,
    },
    #[error("the driver of its {device} selected queue {selected}, but there are {queues}")]
    QueueSelected {
        device: &'static str,
        selected: u32,
        queues: usize,
    },
    #[error("its console has {0} bytes to be read, more than {CONSOLE_FIFO_BYTES_MAX}")]
    Fifo(usize),
}

impl DeviceState {
    /// Number of the device.
    pub fn number(&self) -> u32 {
        match self {
            Self::Vsock(_) => DeviceId::Vsock.number(),
            Self::Console(_) => DeviceId::Console.number(),
            Self::Nic(_) => DeviceId::Nic.number(),
            Self::Unknown { number, .. } => *number,
        }
    }

    fn check(&self) -> Result<(), DeviceStateError> {
        match self {
            Self::Vsock(state) => {
                let (queues, size_max) = (vsock::QUEUES, vsock::QUEUE_SIZE_MAX);
                state.transport.check(DeviceId::Vsock, queues, size_max)
            }
            Self::Nic(state) => {
                let (queues, size_max) = (virtio_net::QUEUES, virtio_net::QUEUE_SIZE_MAX);
                state.check(DeviceId::Nic, queues, size_max)
            }
            Self::Console(state) if state.fifo.len() > CONSOLE_FIFO_BYTES_MAX => {
                Err(DeviceStateError::Fifo(state.fifo.len()))
            }
            Self::Console(_) => Ok(()),
            Self::Unknown { number, .. } => Err(DeviceStateError::Unknown(*number)),
        }
    }
}

impl TransportState {
    fn check(
        &self,
        device: DeviceId,
        queues: usize,
        size_max: u16,
    ) -> Result<(), DeviceStateError> {
        let device = device.name();
        if self.queues.len() != queues {
            return Err(DeviceStateError::Queues {
                device,
                found: self.queues.len(),
                expected: queues,
            });
        }
        if usize::try_from(self.queue_sel).is_ok_and(|queue| queue >= queues) {
            return Err(DeviceStateError::QueueSelected {
                device,
                selected: self.queue_sel,
                queues,
            });
        }
        for (queue, &QueueState { size, ready, .. }) in self.queues.iter().enumerate() {
            if ready && !(size.is_power_of_two() && size <= size_max) {
                return Err(DeviceStateError::QueueSize {
                    device,
                    queue,
                    size,
                    size_max,
                });
            }
        }
        Ok(())
    }
}

/// Checks what can be checked without a VM.
pub(crate) fn check(devices: &[DeviceState]) -> Result<(), DeviceStateError> {
    let mut before = None;
    for device in devices {
        let number = device.number();
        if let Some(before) = before.filter(|before| *before >= number) {
            return Err(DeviceStateError::Order { number, before });
        }
        before = Some(number);
        device.check()?;
    }
    Ok(())
}

/// A device as it is encoded: its number, then its state behind the state's length.
#[derive(Serialize, Deserialize)]
struct Block {
    number: u32,
    state: Vec<u8>,
}

impl Serialize for DeviceState {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        let state = match self {
            Self::Vsock(state) => postcard::to_stdvec(state),
            Self::Console(state) => postcard::to_stdvec(state),
            Self::Nic(state) => postcard::to_stdvec(state),
            Self::Unknown { state, .. } => Ok(state.clone()),
        };
        let block = Block {
            number: self.number(),
            state: state.map_err(ser::Error::custom)?,
        };
        block.serialize(to)
    }
}

impl<'de> Deserialize<'de> for DeviceState {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let Block { number, state } = Block::deserialize(from)?;
        Ok(match DeviceId::from_number(number) {
            Some(DeviceId::Vsock) => Self::Vsock(decode(&state)?),
            Some(DeviceId::Console) => Self::Console(decode(&state)?),
            Some(DeviceId::Nic) => Self::Nic(decode(&state)?),
            None => Self::Unknown { number, state },
        })
    }
}

fn decode<T: de::DeserializeOwned, E: de::Error>(state: &[u8]) -> Result<T, E> {
    let (state, rest) = postcard::take_from_bytes(state).map_err(E::custom)?;
    if rest.is_empty() {
        Ok(state)
    } else {
        Err(E::custom("bytes behind a device's state"))
    }
}

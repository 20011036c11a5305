//! Device models, and the bus that they are on. They are values: no file descriptors, threads or clocks inside.
//!
//! ```text
//! bus       which device is where: registers of the guest, states of a snapshot
//! mmio      the virtio-mmio transport, generic over its device
//! virtio    what such a device is
//! vsock     the request stream: a virtio device
//! console   a serial port that speaks
//! nic       frames: a virtio device
//! ```

pub mod bus;
pub mod console;
pub mod mmio;
pub mod nic;
pub mod virtio;
pub mod vsock;

use std::fmt;

use jiffy_abi::devices::DeviceId;
use jiffy_snapshots::devices::DeviceState;

use self::{mmio::TransportError, nic::NicError, vsock::VsockError};
use crate::mem::DeviceMemory;

/// Why a device cannot go on, or not from a state. All but [`VsockError::Host`] and [`NicError::Host`] blame the guest or the snapshot.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum DeviceError {
    #[error(transparent)]
    Transport(#[from] TransportError),
    #[error(transparent)]
    Vsock(#[from] VsockError),
    #[error(transparent)]
    Nic(#[from] NicError),
    #[error("the guest accessed {0:#x}, where no device is")]
    NoDevice(u64),
    #[error("the guest used port {0:#x}, which is neither a doorbell nor of a device that it has")]
    NoPort(u16),
    #[error("the snapshot has a device of number {0}, which this VM was not given")]
    NotGiven(u32),
    #[error("this VM was given a {0}, which the snapshot does not have")]
    Missing(&'static str),
    #[error("the snapshot's console has {0} bytes to be read, more than a console holds")]
    Fifo(usize),
}

/// What a register write asks of the VMM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// To look at the queues: the driver came up, or says that there are new buffers.
    Serve,
}

/// A device on the bus, as registers and snapshots see it. A request goes past this trait.
pub trait BusDevice: fmt::Debug {
    /// Which it is.
    fn id(&self) -> DeviceId;

    /// What the register at `offset` reads: a u32, or a byte of a device that has ports.
    fn read(&mut self, offset: u64) -> Result<u32, DeviceError>;

    /// Writes the register at `offset`; says what follows.
    fn write(
        &mut self,
        memory: &DeviceMemory,
        offset: u64,
        value: u32,
    ) -> Result<Effect, DeviceError>;

    /// What a snapshot holds of it; `None` while it has something to deliver.
    fn state(&self) -> Option<DeviceState>;

    /// Puts it back to a [`BusDevice::state`], whose queues are checked against `memory`.
    fn set_state(&mut self, memory: &DeviceMemory, state: &DeviceState) -> Result<(), DeviceError>;
}

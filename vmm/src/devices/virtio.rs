//! What a virtio device is to its transport: a small trait, and the queues that the transport lends.
//!
//! The transport is generic over its device, so a request goes through no table of functions. How a device serves its queues is
//! its own: each has another host's side, which its caller lends.

use std::fmt;

use jiffy_abi::devices::DeviceId;
use jiffy_snapshots::devices::{DeviceState, TransportState};
use virtio_queue::{Queue, QueueT};

/// A device model behind virtio-mmio registers, with `QUEUES` queues.
pub trait VirtioDevice<const QUEUES: usize>: fmt::Debug {
    /// Which it is.
    const ID: DeviceId;
    /// Its type (VIRTIO 1.2, section 5).
    const TYPE: u32;
    /// Descriptors that each queue has at most: a power of two.
    const QUEUE_SIZE_MAX: u16;
    /// What it offers besides `VIRTIO_F_VERSION_1`, which each device does.
    const FEATURES: u64;

    /// Its configuration space, which a driver reads and never writes.
    fn config(&self) -> &[u8];

    /// The driver is up.
    fn driver_up(&mut self);

    /// Whether a driver may reset it now; it then begins anew.
    fn reset(&mut self) -> bool;

    /// What a snapshot holds of it, that of its transport included; `None` while it has something to deliver.
    fn state(&self, transport: TransportState) -> Option<DeviceState>;

    /// Goes on from a [`VirtioDevice::state`], and gives its transport's part of that; `None` if it is another device's.
    /// Allocates nothing.
    fn set_state<'a>(&mut self, state: &'a DeviceState) -> Option<&'a TransportState>;
}

/// The queues of a device, as far as its driver uses them.
#[derive(Debug)]
pub struct Queues<'a> {
    all: &'a mut [Queue],
    is_up: bool,
}

impl<'a> Queues<'a> {
    pub(super) fn new(all: &'a mut [Queue], is_up: bool) -> Self {
        Self { all, is_up }
    }

    /// Queue number `number`, if it is in use and the driver is up.
    pub fn get(self, number: usize) -> Option<&'a mut Queue> {
        let is_up = self.is_up;
        let queue = self.all.get_mut(number);
        queue.filter(|queue| is_up && queue.ready())
    }
}

//! The virtio-mmio transport of one device: registers in, queues out (VIRTIO 1.2, section 4.2).
//!
//! There are no interrupts, and a notification is answered like a doorbell: with a look at all
//! queues. Not here: what goes through the queues (`vsock`).

use jiffy_abi::{devices::DeviceId, virtio_mmio as mmio};
use jiffy_snapshots::devices::{DeviceState, QueueState, TransportState};
use virtio_queue::{Queue, QueueT};

use super::{
    BusDevice, DeviceError, Effect,
    virtio::{Queues, VirtioDevice},
};
use crate::mem::{DeviceMemory, GuestMemory};

/// What a driver did that the specification forbids. All blame the guest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum TransportError {
    #[error("the driver read the register at {0:#x}, which there is not")]
    Read(u64),
    #[error("the driver wrote {value:#x} to the register at {register:#x}, which there is not")]
    Write { register: u64, value: u32 },
    #[error("the driver selected queue {selected}, but there are {queues}")]
    NoSuchQueue { selected: u32, queues: usize },
    #[error("the driver changed queue {0} after it was in use")]
    QueueInUse(usize),
    #[error("queue {queue} is not a power of two of at most {size_max}, or not inside RAM")]
    QueueInvalid { queue: usize, size_max: u16 },
    #[error("it has {found} queues, not {expected}")]
    QueueCount { found: usize, expected: usize },
    #[error("the driver set status {0:#x} before the steps that come before it")]
    Status(u32),
    #[error("the driver reset the device while it was in use")]
    ResetInUse,
}

/// A device, its registers and its queues.
#[derive(Debug, PartialEq, Eq)]
pub struct Transport<D, const QUEUES: usize> {
    device: D,
    registers: Registers,
    queues: [Queue; QUEUES],
}

/// What a driver wrote last.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Registers {
    status: u32,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features: u64,
    queue_sel: usize,
}

impl<D: VirtioDevice<QUEUES>, const QUEUES: usize> Transport<D, QUEUES> {
    /// What each device offers and each driver has to take, and what this one offers besides.
    const FEATURES: u64 = mmio::FEATURE_VERSION_1 | D::FEATURES;

    /// `device`, reset.
    pub fn new(device: D) -> Self {
        Self {
            device,
            registers: Registers::default(),
            queues: std::array::from_fn(|_| new_queue(D::QUEUE_SIZE_MAX)),
        }
    }

    /// The device behind the registers.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The device and its queues.
    pub fn parts(&mut self) -> (&mut D, Queues<'_>) {
        let is_up = self.is_up();
        (&mut self.device, Queues::new(&mut self.queues, is_up))
    }

    /// Whether the driver is up.
    pub fn is_up(&self) -> bool {
        self.registers.status & mmio::STATUS_DRIVER_OK != 0
    }

    /// What a snapshot holds of registers and queues: the driver's settings and where each queue stands.
    fn transport_state(&self) -> TransportState {
        // Every field by name: one more does not compile before it is decided whether a request can leave something in it.
        let Self {
            device: _, // It has its own.
            registers:
                Registers {
                    status,
                    device_features_sel,
                    driver_features_sel,
                    driver_features,
                    queue_sel,
                },
            queues,
        } = self;
        TransportState {
            status: *status,
            device_features_sel: *device_features_sel,
            driver_features_sel: *driver_features_sel,
            driver_features: *driver_features,
            queue_sel: u32::try_from(*queue_sel).unwrap_or_default(), // Less than QUEUES.
            queues: queues.iter().map(queue_state).collect(),
        }
    }

    fn read_register(&self, register: u64) -> Result<u32, TransportError> {
        Ok(match register {
            mmio::MAGIC_VALUE => mmio::MAGIC,
            mmio::VERSION => mmio::VERSION_MODERN,
            mmio::DEVICE_ID => D::TYPE,
            mmio::VENDOR_ID => mmio::VENDOR,
            mmio::DEVICE_FEATURES => half(Self::FEATURES, self.registers.device_features_sel),
            mmio::CONFIG_GENERATION => 0,
            mmio::QUEUE_SIZE_MAX => u32::from(D::QUEUE_SIZE_MAX),
            mmio::QUEUE_READY => u32::from(self.queues[self.registers.queue_sel].ready()),
            mmio::STATUS => self.registers.status,
            mmio::CONFIG.. => self
                .read_config(register)
                .ok_or(TransportError::Read(register))?,
            _ => return Err(TransportError::Read(register)),
        })
    }

    fn read_config(&self, register: u64) -> Option<u32> {
        let offset = usize::try_from(register - mmio::CONFIG).ok()?;
        let bytes = self.device.config().get(offset..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    fn write_register(
        &mut self,
        memory: &GuestMemory,
        register: u64,
        value: u32,
    ) -> Result<Effect, TransportError> {
        let selected = self.registers.queue_sel;
        let queue = &mut self.queues[selected];
        let is_address = (mmio::QUEUE_DESC_LOW..=mmio::QUEUE_DEVICE_HIGH).contains(&register);
        if queue.ready() && (register == mmio::QUEUE_SIZE || is_address) {
            return Err(TransportError::QueueInUse(selected));
        }
        match register {
            mmio::DEVICE_FEATURES_SEL => self.registers.device_features_sel = value,
            mmio::DRIVER_FEATURES_SEL => self.registers.driver_features_sel = value,
            mmio::DRIVER_FEATURES => self.take_features(value),
            mmio::QUEUE_SEL => self.registers.queue_sel = queue_number::<QUEUES>(value)?,
            mmio::QUEUE_SIZE => {
                let size = u16::try_from(value).ok();
                size.and_then(|size| queue.try_set_size(size).ok())
                    .ok_or(Self::invalid(selected))?;
            }
            mmio::QUEUE_DESC_LOW => queue.set_desc_table_address(Some(value), None),
            mmio::QUEUE_DESC_HIGH => queue.set_desc_table_address(None, Some(value)),
            mmio::QUEUE_DRIVER_LOW => queue.set_avail_ring_address(Some(value), None),
            mmio::QUEUE_DRIVER_HIGH => queue.set_avail_ring_address(None, Some(value)),
            mmio::QUEUE_DEVICE_LOW => queue.set_used_ring_address(Some(value), None),
            mmio::QUEUE_DEVICE_HIGH => queue.set_used_ring_address(None, Some(value)),
            mmio::QUEUE_READY => self.set_ready(memory, value == 1)?,
            mmio::QUEUE_NOTIFY => return Ok(Effect::Serve),
            mmio::STATUS => return self.set_status(value),
            _ => return Err(TransportError::Write { register, value }),
        }
        Ok(Effect::None)
    }

    /// The driver takes these 32 of the features; there are 64.
    fn take_features(&mut self, value: u32) {
        let features = &mut self.registers.driver_features;
        match self.registers.driver_features_sel {
            0 => *features = *features & !0xffff_ffff | u64::from(value),
            1 => *features = *features & 0xffff_ffff | u64::from(value) << 32,
            _ => {}
        }
    }

    fn set_ready(&mut self, memory: &GuestMemory, ready: bool) -> Result<(), TransportError> {
        let selected = self.registers.queue_sel;
        let queue = &mut self.queues[selected];
        queue.set_ready(ready);
        if ready {
            // Nobody waits for a notification, so the driver need not send any.
            let told = queue.is_valid(memory) && queue.disable_notification(memory).is_ok();
            if !told {
                queue.set_ready(false);
                return Err(Self::invalid(selected));
            }
        }
        Ok(())
    }

    fn set_status(&mut self, status: u32) -> Result<Effect, TransportError> {
        if status == 0 {
            if !self.device.reset() {
                return Err(TransportError::ResetInUse);
            }
            self.registers = Registers::default();
            self.queues = std::array::from_fn(|_| new_queue(D::QUEUE_SIZE_MAX));
            return Ok(Effect::None);
        }
        let steps = [
            mmio::STATUS_ACKNOWLEDGE,
            mmio::STATUS_DRIVER,
            mmio::STATUS_FEATURES_OK,
            mmio::STATUS_DRIVER_OK,
        ];
        let mut missing = false;
        for step in steps {
            if missing && status & step != 0 {
                return Err(TransportError::Status(status));
            }
            missing |= status & step == 0;
        }
        let was_up = self.is_up();
        self.registers.status = status;
        let taken = self.registers.driver_features;
        if taken & mmio::FEATURE_VERSION_1 == 0 || taken & !Self::FEATURES != 0 {
            // So that the driver sees the refusal.
            self.registers.status &= !mmio::STATUS_FEATURES_OK;
            if status & mmio::STATUS_DRIVER_OK != 0 {
                return Err(TransportError::Status(status));
            }
        }
        if was_up || !self.is_up() {
            return Ok(Effect::None);
        }
        self.device.driver_up();
        Ok(Effect::Serve)
    }

    fn invalid(queue: usize) -> TransportError {
        let size_max = D::QUEUE_SIZE_MAX;
        TransportError::QueueInvalid { queue, size_max }
    }
}

impl<D: VirtioDevice<QUEUES>, const QUEUES: usize> BusDevice for Transport<D, QUEUES> {
    fn id(&self) -> DeviceId {
        D::ID
    }

    fn read(&mut self, register: u64) -> Result<u32, DeviceError> {
        Ok(self.read_register(register)?)
    }

    fn write(
        &mut self,
        memory: &DeviceMemory,
        register: u64,
        value: u32,
    ) -> Result<Effect, DeviceError> {
        Ok(self.write_register(memory.writable(), register, value)?)
    }

    fn state(&self) -> Option<DeviceState> {
        self.device.state(self.transport_state())
    }

    fn set_state(&mut self, memory: &DeviceMemory, state: &DeviceState) -> Result<(), DeviceError> {
        let state = self.device.set_state(state);
        let state = state.ok_or(DeviceError::Missing(D::ID.name()))?;
        let found = state.queues.len();
        if found != QUEUES {
            let expected = QUEUES;
            return Err(TransportError::QueueCount { found, expected }.into());
        }
        for (number, (queue, state)) in self.queues.iter_mut().zip(&state.queues).enumerate() {
            *queue = queue_of(state, D::QUEUE_SIZE_MAX, memory.writable())
                .ok_or(Self::invalid(number))?;
        }
        self.registers = Registers {
            status: state.status,
            device_features_sel: state.device_features_sel,
            driver_features_sel: state.driver_features_sel,
            driver_features: state.driver_features,
            queue_sel: queue_number::<QUEUES>(state.queue_sel)?,
        };
        Ok(())
    }
}

/// The high or low half of `features`; there are two.
fn half(features: u64, selected: u32) -> u32 {
    let half = match selected {
        0 => features & 0xffff_ffff,
        1 => features >> 32,
        _ => 0,
    };
    u32::try_from(half).unwrap_or_default() // It has 32 bits.
}

fn queue_number<const QUEUES: usize>(selected: u32) -> Result<usize, TransportError> {
    let number = usize::try_from(selected).ok();
    let number = number.filter(|number| *number < QUEUES);
    let queues = QUEUES;
    number.ok_or(TransportError::NoSuchQueue { selected, queues })
}

fn new_queue(size_max: u16) -> Queue {
    Queue::new(size_max).unwrap_or_else(|error| unreachable!("{error}"))
}

fn queue_state(queue: &Queue) -> QueueState {
    // Likewise by name. `Queue` itself has one field more, the chains used since it was asked whether to notify the
    // driver, which no device here asks.
    let virtio_queue::QueueState {
        max_size: _,          // The device's own.
        event_idx_enabled: _, // A feature that is not offered.
        size,
        ready,
        next_avail,
        next_used,
        desc_table,
        avail_ring,
        used_ring,
    } = queue.state();
    QueueState {
        size,
        ready,
        next_avail,
        next_used,
        desc_table,
        avail_ring,
        used_ring,
    }
}

/// A new queue in this state, so that nothing is left of the one before it; `None` if it cannot be.
fn queue_of(state: &QueueState, size_max: u16, memory: &GuestMemory) -> Option<Queue> {
    let QueueState {
        size,
        ready,
        next_avail,
        next_used,
        desc_table,
        avail_ring,
        used_ring,
    } = *state;
    let queue = Queue::try_from(virtio_queue::QueueState {
        max_size: size_max,
        event_idx_enabled: false,
        size,
        ready,
        next_avail,
        next_used,
        desc_table,
        avail_ring,
        used_ring,
    })
    .ok()?;
    (!ready || queue.is_valid(memory)).then_some(queue)
}

#[cfg(test)]
mod tests;

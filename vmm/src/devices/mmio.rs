//! The virtio-mmio transport of one device: registers in, queues out (VIRTIO 1.2, section 4.2).
//!
//! There are no interrupts, and a notification is answered like a doorbell: with a look at all
//! queues.

use jiffy_abi::{
    virtio_mmio as mmio,
    vsock::{QUEUE_SIZE_MAX, QUEUES},
};
use jiffy_snapshots::state::{QueueState, TransportState};
use virtio_queue::{Queue, QueueT};

use crate::mem::GuestMemory;

/// What a driver did that the specification forbids. All blame the guest.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum TransportError {
    #[error("the driver read the register at {0:#x}, which there is not")]
    Read(u64),
    #[error("the driver wrote {value:#x} to the register at {register:#x}, which there is not")]
    Write { register: u64, value: u32 },
    #[error("the driver selected queue {0}, but there are {QUEUES}")]
    NoSuchQueue(u32),
    #[error("the driver changed queue {0} after it was in use")]
    QueueInUse(usize),
    #[error("queue {0} is not a power of two of at most {QUEUE_SIZE_MAX}, or not inside RAM")]
    QueueInvalid(usize),
    #[error("the driver set status {0:#x} before the steps that come before it")]
    Status(u32),
}

/// What a register write asks of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Nothing.
    None,
    /// The driver is up.
    DriverOk,
    /// There are new buffers.
    Notify,
    /// Everything begins anew.
    Reset,
}

/// Registers and queues of one device.
#[derive(Debug, PartialEq, Eq)]
pub struct Transport {
    device_id: u32,
    config: Vec<u8>,
    status: u32,
    device_features_sel: u32,
    driver_features_sel: u32,
    driver_features_high: u32,
    queue_sel: usize,
    queues: [Queue; QUEUES],
}

impl Transport {
    /// A device of this type with this configuration space, reset.
    pub fn new(device_id: u32, config: Vec<u8>) -> Self {
        let queue = || Queue::new(QUEUE_SIZE_MAX).unwrap_or_else(|error| unreachable!("{error}"));
        Self {
            device_id,
            config,
            status: 0,
            device_features_sel: 0,
            driver_features_sel: 0,
            driver_features_high: 0,
            queue_sel: 0,
            queues: std::array::from_fn(|_| queue()),
        }
    }

    /// What a snapshot holds of it: the driver's settings and where each queue stands.
    pub fn state(&self) -> TransportState {
        // Every field by name: one more does not compile before it is decided whether a request can leave something in it.
        let Self {
            device_id: _, // These two are what the device is.
            config: _,
            status,
            device_features_sel,
            driver_features_sel,
            driver_features_high,
            queue_sel,
            queues,
        } = self;
        TransportState {
            status: *status,
            device_features_sel: *device_features_sel,
            driver_features_sel: *driver_features_sel,
            driver_features_high: *driver_features_high,
            queue_sel: u32::try_from(*queue_sel).unwrap_or_default(), // Less than QUEUES.
            queues: std::array::from_fn(|number| queue_state(&queues[number])),
        }
    }

    /// Puts the device back to a [`Transport::state`], whose queues are checked against `memory`.
    pub fn set_state(
        &mut self,
        memory: &GuestMemory,
        state: &TransportState,
    ) -> Result<(), TransportError> {
        let Self {
            device_id: _,
            config: _,
            status,
            device_features_sel,
            driver_features_sel,
            driver_features_high,
            queue_sel,
            queues,
        } = self;
        for (number, (queue, state)) in queues.iter_mut().zip(&state.queues).enumerate() {
            *queue = queue_of(state, memory).ok_or(TransportError::QueueInvalid(number))?;
        }
        let selected = usize::try_from(state.queue_sel).ok();
        let selected = selected.filter(|number| *number < QUEUES);
        *queue_sel = selected.ok_or(TransportError::NoSuchQueue(state.queue_sel))?;
        *status = state.status;
        *device_features_sel = state.device_features_sel;
        *driver_features_sel = state.driver_features_sel;
        *driver_features_high = state.driver_features_high;
        Ok(())
    }

    /// Whether the driver is up.
    pub fn is_up(&self) -> bool {
        self.status & mmio::STATUS_DRIVER_OK != 0
    }

    /// Queue number `number`, if it is in use and the driver is up.
    pub fn queue(&mut self, number: usize) -> Option<&mut Queue> {
        let up = self.is_up();
        self.queues
            .get_mut(number)
            .filter(|queue| up && queue.ready())
    }

    /// What the register at `register` reads.
    pub fn read(&self, register: u64) -> Result<u32, TransportError> {
        Ok(match register {
            mmio::MAGIC_VALUE => mmio::MAGIC,
            mmio::VERSION => mmio::VERSION_MODERN,
            mmio::DEVICE_ID => self.device_id,
            mmio::VENDOR_ID => mmio::VENDOR,
            mmio::DEVICE_FEATURES if self.device_features_sel == 1 => mmio::FEATURE_HIGH_VERSION_1,
            mmio::DEVICE_FEATURES | mmio::CONFIG_GENERATION => 0,
            mmio::QUEUE_SIZE_MAX => u32::from(QUEUE_SIZE_MAX),
            mmio::QUEUE_READY => u32::from(self.queues[self.queue_sel].ready()),
            mmio::STATUS => self.status,
            mmio::CONFIG.. => self
                .read_config(register)
                .ok_or(TransportError::Read(register))?,
            _ => return Err(TransportError::Read(register)),
        })
    }

    fn read_config(&self, register: u64) -> Option<u32> {
        let offset = usize::try_from(register - mmio::CONFIG).ok()?;
        let bytes = self.config.get(offset..)?.first_chunk()?;
        Some(u32::from_le_bytes(*bytes))
    }

    /// Writes the register at `register`; says what follows for the device.
    pub fn write(
        &mut self,
        memory: &GuestMemory,
        register: u64,
        value: u32,
    ) -> Result<Effect, TransportError> {
        let selected = self.queue_sel;
        let queue = &mut self.queues[selected];
        let is_address = (mmio::QUEUE_DESC_LOW..=mmio::QUEUE_DEVICE_HIGH).contains(&register);
        if queue.ready() && (register == mmio::QUEUE_SIZE || is_address) {
            return Err(TransportError::QueueInUse(selected));
        }
        match register {
            mmio::DEVICE_FEATURES_SEL => self.device_features_sel = value,
            mmio::DRIVER_FEATURES_SEL => self.driver_features_sel = value,
            mmio::DRIVER_FEATURES if self.driver_features_sel == 1 => {
                self.driver_features_high = value;
            }
            mmio::DRIVER_FEATURES => {}
            mmio::QUEUE_SEL => {
                let number = usize::try_from(value)
                    .ok()
                    .filter(|number| *number < QUEUES);
                self.queue_sel = number.ok_or(TransportError::NoSuchQueue(value))?;
            }
            mmio::QUEUE_SIZE => {
                let size = u16::try_from(value).ok();
                size.and_then(|size| queue.try_set_size(size).ok())
                    .ok_or(TransportError::QueueInvalid(selected))?;
            }
            mmio::QUEUE_DESC_LOW => queue.set_desc_table_address(Some(value), None),
            mmio::QUEUE_DESC_HIGH => queue.set_desc_table_address(None, Some(value)),
            mmio::QUEUE_DRIVER_LOW => queue.set_avail_ring_address(Some(value), None),
            mmio::QUEUE_DRIVER_HIGH => queue.set_avail_ring_address(None, Some(value)),
            mmio::QUEUE_DEVICE_LOW => queue.set_used_ring_address(Some(value), None),
            mmio::QUEUE_DEVICE_HIGH => queue.set_used_ring_address(None, Some(value)),
            mmio::QUEUE_READY => self.set_ready(memory, value == 1)?,
            mmio::QUEUE_NOTIFY => return Ok(Effect::Notify),
            mmio::STATUS => return self.set_status(value),
            _ => return Err(TransportError::Write { register, value }),
        }
        Ok(Effect::None)
    }

    fn set_ready(&mut self, memory: &GuestMemory, ready: bool) -> Result<(), TransportError> {
        let selected = self.queue_sel;
        let queue = &mut self.queues[selected];
        queue.set_ready(ready);
        if ready {
            // Nobody waits for a notification, so the driver need not send any.
            let told = queue.is_valid(memory) && queue.disable_notification(memory).is_ok();
            if !told {
                queue.set_ready(false);
                return Err(TransportError::QueueInvalid(selected));
            }
        }
        Ok(())
    }

    fn set_status(&mut self, status: u32) -> Result<Effect, TransportError> {
        if status == 0 {
            *self = Self::new(self.device_id, std::mem::take(&mut self.config));
            return Ok(Effect::Reset);
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
        self.status = status;
        if self.driver_features_high != mmio::FEATURE_HIGH_VERSION_1 {
            self.status &= !mmio::STATUS_FEATURES_OK; // So that the driver sees the refusal.
            if status & mmio::STATUS_DRIVER_OK != 0 {
                return Err(TransportError::Status(status));
            }
        }
        Ok(if self.is_up() && !was_up {
            Effect::DriverOk
        } else {
            Effect::None
        })
    }
}

fn queue_state(queue: &Queue) -> QueueState {
    // Likewise by name. `Queue` itself has one field more, the chains used since it was asked whether to notify the
    // driver, which this device never asks.
    let virtio_queue::QueueState {
        max_size: _,          // QUEUE_SIZE_MAX for each.
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
fn queue_of(state: &QueueState, memory: &GuestMemory) -> Option<Queue> {
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
        max_size: QUEUE_SIZE_MAX,
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

//! The devices of one VM, in the order of `jiffy_abi::devices::TABLE`, which says where each is.
//!
//! Registers and snapshots reach a device through [`BusDevice`]; the request path has its device by type. A device that was not
//! given is not there, whatever its guest or a snapshot says.

use jiffy_abi::devices::{self, DeviceId};
use jiffy_snapshots::devices::DeviceState;

use super::{BusDevice, DeviceError, Effect, console::Console, nic::NicDevice, vsock::VsockDevice};
use crate::mem::DeviceMemory;

/// The devices of one VM.
#[derive(Debug, Default)]
pub struct Bus {
    /// Each VM has it.
    pub vsock: VsockDevice,
    /// If the VM was given one.
    pub console: Option<Console>,
    /// If the VM was given one.
    pub nic: Option<NicDevice>,
}

impl Bus {
    /// Which devices there are, in ascending order.
    pub fn ids(&self) -> Vec<DeviceId> {
        self.devices().map(|device| device.id()).collect()
    }

    /// The u32 that a register at guest physical address `address` reads.
    pub fn read_window(&mut self, address: u64) -> Result<u32, DeviceError> {
        let (device, offset) = self.at_address(address)?;
        device.read(offset)
    }

    /// Writes a u32 to a register at guest physical address `address`.
    pub fn write_window(
        &mut self,
        memory: &DeviceMemory,
        address: u64,
        value: u32,
    ) -> Result<Effect, DeviceError> {
        let (device, offset) = self.at_address(address)?;
        device.write(memory, offset, value)
    }

    /// The byte that `port` reads.
    pub fn read_port(&mut self, port: u16) -> Result<u8, DeviceError> {
        let (device, offset) = self.at_port(port)?;
        let [byte, ..] = device.read(offset)?.to_le_bytes();
        Ok(byte)
    }

    /// Writes a byte to `port`.
    pub fn write_port(
        &mut self,
        memory: &DeviceMemory,
        port: u16,
        byte: u8,
    ) -> Result<Effect, DeviceError> {
        let (device, offset) = self.at_port(port)?;
        device.write(memory, offset, byte.into())
    }

    /// Whether a device has `port`.
    pub fn has_port(&mut self, port: u16) -> bool {
        self.at_port(port).is_ok()
    }

    /// What a snapshot holds of all devices; `None` while one has something to deliver.
    pub fn state(&self) -> Option<Vec<DeviceState>> {
        self.devices().map(BusDevice::state).collect()
    }

    /// Puts all devices back to a [`Bus::state`], which has to have just these.
    pub fn set_state(
        &mut self,
        memory: &DeviceMemory,
        states: &[DeviceState],
    ) -> Result<(), DeviceError> {
        let mut states = states.iter().peekable();
        for device in self.devices_mut() {
            let number = device.id().number();
            match states.next_if(|state| state.number() <= number) {
                Some(state) if state.number() == number => device.set_state(memory, state)?,
                Some(other) => return Err(DeviceError::NotGiven(other.number())),
                None => return Err(DeviceError::Missing(device.id().name())),
            }
        }
        match states.next() {
            Some(other) => Err(DeviceError::NotGiven(other.number())),
            None => Ok(()),
        }
    }

    fn at_address(&mut self, address: u64) -> Result<(&mut dyn BusDevice, u64), DeviceError> {
        let place = devices::at_address(address);
        self.at(place).ok_or(DeviceError::NoDevice(address))
    }

    fn at_port(&mut self, port: u16) -> Result<(&mut dyn BusDevice, u64), DeviceError> {
        let place = devices::at_port(port);
        self.at(place).ok_or(DeviceError::NoPort(port))
    }

    fn at(&mut self, place: Option<(DeviceId, u64)>) -> Option<(&mut dyn BusDevice, u64)> {
        let (id, offset) = place?;
        let device = self.devices_mut().find(|device| device.id() == id)?;
        Some((device, offset))
    }

    fn devices(&self) -> impl Iterator<Item = &dyn BusDevice> {
        let Self {
            vsock,
            console,
            nic,
        } = self;
        let console = console.as_ref().map(|console| console as &dyn BusDevice);
        let nic = nic.as_ref().map(|nic| nic as &dyn BusDevice);
        [Some(vsock as &dyn BusDevice), console, nic]
            .into_iter()
            .flatten()
    }

    fn devices_mut(&mut self) -> impl Iterator<Item = &mut dyn BusDevice> {
        let Self {
            vsock,
            console,
            nic,
        } = self;
        let console = console.as_mut();
        let console = console.map(|console| console as &mut dyn BusDevice);
        let nic = nic.as_mut().map(|nic| nic as &mut dyn BusDevice);
        [Some(vsock as &mut dyn BusDevice), console, nic]
            .into_iter()
            .flatten()
    }
}

#[cfg(test)]
mod tests;

//! A 16550 serial port that only speaks: what a guest writes to the PC's COM1 comes out in lines, from its first instruction on
//! and without memory that it shares with the VMM.
//!
//! Registers are `vm-superio`'s. It is always ready to take a byte, and has nothing to read but what the guest wrote in
//! loopback mode: there is no input, and nobody waits for the interrupts that there are not.
//! Not here: what becomes of lines (`run`).

use std::{
    convert::Infallible,
    io::{self, Write},
};

use jiffy_abi::{devices::DeviceId, log_ring::TEXT_BYTES_MAX};
use jiffy_snapshots::devices::{ConsoleState, DeviceState};
use vm_superio::{
    Serial, Trigger,
    serial::{NoEvents, SerialState},
};

use super::{BusDevice, DeviceError, Effect};
use crate::mem::DeviceMemory;

/// Bytes that a line has at most, as many as a record of the log: a longer one is told in parts.
pub const LINE_BYTES_MAX: usize = TEXT_BYTES_MAX;

/// The device.
#[derive(Debug)]
pub struct Console {
    serial: Serial<NoInterrupt, NoEvents, Line>,
}

/// The interrupt that there is not.
#[derive(Debug)]
struct NoInterrupt;

impl Trigger for NoInterrupt {
    type E = Infallible;

    fn trigger(&self) -> Result<(), Infallible> {
        Ok(())
    }
}

/// What was written since the last line was told, at most [`LINE_BYTES_MAX`].
#[derive(Debug, Default)]
struct Line(Vec<u8>);

impl Write for Line {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Default for Console {
    /// The device, reset.
    fn default() -> Self {
        Self {
            serial: Serial::new(NoInterrupt, Line::default()),
        }
    }
}

impl Console {
    /// The line that the guest has ended, without its end, or a part that is as long as a line may be.
    pub fn take_line(&mut self) -> Option<String> {
        let Line(bytes) = self.serial.writer();
        match bytes.last() {
            Some(b'\n') => {}
            Some(_) if bytes.len() >= LINE_BYTES_MAX => {}
            _ => return None,
        }
        self.take_rest()
    }

    /// Whatever was written since the last line, if anything was.
    pub fn take_rest(&mut self) -> Option<String> {
        let Line(bytes) = self.serial.writer_mut();
        if bytes.is_empty() {
            return None;
        }
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = String::from_utf8_lossy(line).into_owned();
        bytes.clear();
        Some(line)
    }
}

impl BusDevice for Console {
    fn id(&self) -> DeviceId {
        DeviceId::Console
    }

    fn read(&mut self, offset: u64) -> Result<u32, DeviceError> {
        // As many ports as a 16550 has registers.
        let offset = u8::try_from(offset).map_err(|_| DeviceError::NoDevice(offset))?;
        Ok(self.serial.read(offset).into())
    }

    fn write(
        &mut self,
        _memory: &DeviceMemory,
        offset: u64,
        value: u32,
    ) -> Result<Effect, DeviceError> {
        let offset = u8::try_from(offset).map_err(|_| DeviceError::NoDevice(offset))?;
        let [byte, ..] = value.to_le_bytes();
        // Neither a line nor the interrupt can fail.
        let _ = self.serial.write(offset, byte);
        Ok(Effect::None)
    }

    fn state(&self) -> Option<DeviceState> {
        let Line(line) = self.serial.writer();
        if !line.is_empty() {
            return None;
        }
        // Every field by name: one more does not compile before it is decided whether a request can leave something in it.
        let SerialState {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            interrupt_identification,
            line_control,
            line_status,
            modem_control,
            modem_status,
            scratch,
            in_buffer,
        } = self.serial.state();
        Some(DeviceState::Console(ConsoleState {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            interrupt_identification,
            line_control,
            line_status,
            modem_control,
            modem_status,
            scratch,
            fifo: in_buffer,
        }))
    }

    fn set_state(
        &mut self,
        _memory: &DeviceMemory,
        state: &DeviceState,
    ) -> Result<(), DeviceError> {
        let DeviceState::Console(state) = state else {
            return Err(DeviceError::Missing(DeviceId::Console.name()));
        };
        let ConsoleState {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            interrupt_identification,
            line_control,
            line_status,
            modem_control,
            modem_status,
            scratch,
            fifo,
        } = state.clone();
        let fifo_bytes = fifo.len();
        let state = SerialState {
            baud_divisor_low,
            baud_divisor_high,
            interrupt_enable,
            interrupt_identification,
            line_control,
            line_status,
            modem_control,
            modem_status,
            scratch,
            in_buffer: fifo,
        };
        self.serial = Serial::from_state(&state, NoInterrupt, NoEvents, Line::default())
            .map_err(|_| DeviceError::Fifo(fifo_bytes))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;

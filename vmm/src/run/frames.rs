//! The NIC's frames, between the guest's queues and the host: while a request is in hand, and at no other time.
//!
//! What `init` sends is dropped and it gets nothing, as it may make no call: all that a snapshot is made into would have the
//! answer. While the guest is idle, frames wait in the host's own queue, which is bounded; those that came before a request of
//! a pristine VM are dropped when it begins, because they are of a request before it.
//! Not here: what a frame may be (`devices::nic`), waiting (`wake`).

use std::fs::File;

use jiffy_abi::{doorbell::Wait, resume_page::NetworkIdentity};
use jiffy_control::Event;

use super::{GuestState, Stop, Vm};
use crate::devices::nic::drop_stale;

/// The network of a VM that was given one.
#[derive(Debug)]
pub(super) struct Network {
    /// Who the guest is.
    pub(super) identity: NetworkIdentity,
    /// Takes and gives one frame a call, and does not block.
    pub(super) host: File,
    /// Frames that are there now are of no request that comes.
    pub(super) is_stale: bool,
}

impl<F: FnMut(Event)> Vm<F> {
    /// What the guest is told of its network, if it has a NIC: nothing before it is asked.
    pub(super) fn network_identity(&self) -> Option<NetworkIdentity> {
        self.bus.nic.as_ref()?;
        let network = self.network.as_ref();
        let network = network.filter(|_| self.guest == GuestState::Busy);
        Some(network.map(|network| network.identity).unwrap_or_default())
    }

    /// A request begins: what came before it is of another.
    pub(super) fn forget_stale_frames(&mut self) -> Result<(), Stop> {
        if let Some(network) = &mut self.network
            && std::mem::take(&mut network.is_stale)
        {
            self.stats.network.dropped_in += drop_stale(&mut network.host)?;
        }
        Ok(())
    }

    /// Sends what the guest has queued. That it is sent is no news to it.
    pub(super) fn send_frames(&mut self) -> Result<(), Stop> {
        let Some(nic) = &mut self.bus.nic else {
            return Ok(());
        };
        let network = self.network.as_mut();
        let network = network.filter(|_| self.guest == GuestState::Busy);
        let memory = self.machine.ram().device_memory();
        let sent = nic.transmit(memory, network.map(|network| &mut network.host))?;
        let stats = &mut self.stats.network;
        stats.frames_out += sent.frames;
        stats.bytes_out += sent.bytes;
        stats.dropped_out += sent.dropped;
        Ok(())
    }

    /// Whether frames are for a guest that waits so.
    pub(super) fn takes_frames(&self, wait: Wait) -> bool {
        let is_for_guest = matches!(wait, Wait::Event | Wait::EventUntil | Wait::Poll);
        is_for_guest && self.guest == GuestState::Busy && self.network.is_some()
    }

    /// Gives the guest what the host has; true if there was anything.
    pub(super) fn receive_frames(&mut self) -> Result<bool, Stop> {
        let (Some(nic), Some(network)) = (&mut self.bus.nic, &mut self.network) else {
            return Ok(false);
        };
        let memory = self.machine.ram().device_memory();
        let received = nic.receive(memory, &mut network.host)?;
        let stats = &mut self.stats.network;
        stats.frames_in += received.frames;
        stats.bytes_in += received.bytes;
        stats.dropped_in += received.dropped;
        Ok(received.frames > 0)
    }

    /// Whether the guest has room for a frame.
    pub(super) fn has_room_for_frames(&mut self) -> Result<bool, Stop> {
        let memory = self.machine.ram().device_memory();
        match &mut self.bus.nic {
            Some(nic) => Ok(nic.can_receive(memory)?),
            None => Ok(false),
        }
    }
}

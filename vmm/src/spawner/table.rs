//! The shells of a spawner, each in a slot of its own, which gives it its user and its group.

use std::collections::HashMap;

use jiffy_control::{Death, Event};
use jiffy_socket::ControlSocket;
use rustix::{
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, Signal, pidfd_send_signal},
};
use std::os::fd::OwnedFd;

use super::SHELLS_MAX;
use crate::{
    cgroup::{Group, MemoryEnd},
    jail,
};

/// A shell, as its spawner has it.
pub(super) struct Owned {
    pub(super) pid: Pid,
    pub(super) pidfd: OwnedFd,
    /// The shell's own end, to say on it how it died.
    pub(super) control: ControlSocket,
    pub(super) group: Option<Group>,
}

pub(super) struct Table {
    /// Slots are given round robin, so that a number does not come back at once.
    next: u32,
    shells: HashMap<u32, Owned>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            next: 0,
            shells: HashMap::new(),
        }
    }

    /// A slot that nobody has; `None` if all are taken.
    pub(super) fn free_slot(&mut self) -> Option<u32> {
        let slot = (0..SHELLS_MAX)
            .map(|offset| (self.next + offset) % SHELLS_MAX)
            .find(|slot| !self.shells.contains_key(slot))?;
        self.next = (slot + 1) % SHELLS_MAX;
        Some(slot)
    }

    pub(super) fn insert(&mut self, slot: u32, shell: Owned) {
        self.shells.insert(slot, shell);
    }

    pub(super) fn of_process(&mut self, process_id: u32) -> Option<&mut Owned> {
        let process_id = i32::try_from(process_id).ok();
        self.shells
            .values_mut()
            .find(|shell| Some(shell.pid.as_raw_nonzero().get()) == process_id)
    }

    /// The shell in `slot` has ended: tells how, and removes what was made for it.
    pub(super) fn reap(&mut self, slot: u32) {
        if let Some(shell) = self.shells.remove(&slot) {
            shell.reap();
        }
    }

    /// Ends one.
    pub(super) fn end_one(&mut self, slot: u32) {
        if let Some(shell) = self.shells.remove(&slot) {
            // It may have ended by itself.
            let _ = pidfd_send_signal(&shell.pidfd, Signal::KILL);
            shell.reap();
        }
    }

    /// Ends all of them.
    pub(super) fn end(self) {
        for shell in self.shells.values() {
            // It may have ended by itself.
            let _ = pidfd_send_signal(&shell.pidfd, Signal::KILL);
        }
        self.shells.into_values().for_each(Owned::reap);
    }
}

impl Owned {
    fn reap(self) {
        // An error: somebody else has reaped it, and nobody knows what it took.
        let ended = jail::reap(self.pid).ok();
        let status = ended.map(|(status, _)| status);
        let usage = ended.map(|(_, usage)| usage).unwrap_or_default();
        let death = Event::Died(self.death(status), usage);
        // Nobody may be there to read it, and nobody is waited for. The VMM that shared this mode is
        // gone.
        let _ = fcntl_getfl(&self.control)
            .and_then(|flags| fcntl_setfl(&self.control, flags | OFlags::NONBLOCK));
        drop(self.control.send(&death));
        drop(self.control);
        if let Some(group) = self.group {
            // One that stays is removed with the spawner's own group, or swept by the next spawner.
            drop(group.remove());
        }
    }

    fn death(&self, status: Option<libc::c_int>) -> Death {
        let Some(status) = status else {
            return Death::Killed(0); // Somebody else has reaped it.
        };
        let memory_end = || self.group.as_ref()?.memory_end().ok()?;
        match libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)) {
            Some(libc::SIGSYS) => Death::Jail,
            Some(libc::SIGKILL) => match memory_end() {
                Some(MemoryEnd::Own) => Death::OutOfMemory,
                Some(MemoryEnd::Above) => Death::Squeezed,
                None => Death::Killed(libc::SIGKILL),
            },
            Some(signal) => Death::Killed(signal),
            None => Death::Exited(libc::WEXITSTATUS(status)),
        }
    }
}

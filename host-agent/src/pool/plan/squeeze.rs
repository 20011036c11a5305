//! What the pool does when memory runs out although it should not: the kernel ended a VM that was within its own limit.
//!
//! Charges are estimates: a VM that has a request may write more than any before it, and what else the agent's control
//! group holds is not charged at all. So the pool learns from what the dead VM had written, gives back what idle VMs have,
//! and believes in less than it had in use. After a while without another death it believes in more again, slowly, so
//! that a limit that stays too low costs a VM a minute and not one a second.
//! Not here: what becomes of the request (`service`).

use std::time::Duration;

use super::{GroupId, Moment, Plan, VmId};

/// Of what was in use, so much is in use again at most.
const EIGHTHS_KEPT: u64 = 7;
/// How long nothing is risked.
const REST: Duration = Duration::from_secs(10);
/// How long it takes from nothing to all of the memory.
const RECOVERY: Duration = Duration::from_secs(60);

/// Memory was found to be short.
#[derive(Clone, Copy, Debug)]
pub(super) struct Squeeze {
    since: Moment,
    /// What VMs may be charged at first.
    start_bytes: u64,
    /// And now.
    bytes_max: u64,
}

impl<D: Clone> Plan<D> {
    /// What VMs may be charged now.
    pub(super) fn bytes_max(&self) -> u64 {
        let bytes_max = self.config.vm_bytes_max();
        self.squeeze
            .map_or(bytes_max, |squeeze| bytes_max.min(squeeze.bytes_max))
    }

    /// A VM was ended for want of memory, after it had written so much. Whether memory was enough until then.
    pub(in crate::pool) fn squeezed(&mut self, now: Moment, id: VmId, written_bytes: u64) -> bool {
        let Some(vm) = self.vms.get(&id).copied() else {
            return false;
        };
        let is_new = self.squeeze.is_none();
        self.vms_squeezed += 1;
        self.learn(vm.group, vm.epoch, written_bytes);
        self.remove(id);
        self.tighten(now);
        self.after_change(now, vm.group);
        is_new
    }

    /// Memory ran out.
    pub(in crate::pool) fn tighten(&mut self, now: Moment) {
        while self.evict_oldest() {}
        let bytes_max = self.bytes_max().min(self.charged_bytes / 8 * EIGHTHS_KEPT);
        self.squeeze = Some(Squeeze {
            since: now,
            start_bytes: bytes_max,
            bytes_max,
        });
    }

    /// Time has passed.
    pub(super) fn loosen(&mut self, now: Moment) {
        let bytes_max = self.config.vm_bytes_max();
        let Some(squeeze) = &mut self.squeeze else {
            return;
        };
        let rested = now.saturating_sub(squeeze.since + REST);
        let grown = u128::from(bytes_max) * rested.as_millis() / RECOVERY.as_millis();
        let grown = u64::try_from(grown).unwrap_or(u64::MAX);
        squeeze.bytes_max = squeeze.start_bytes.saturating_add(grown);
        if squeeze.bytes_max >= bytes_max {
            self.squeeze = None;
        }
    }

    /// What one VM wrote, the others with its snapshot may write as well. Those that have not said yet what they wrote are charged for it.
    fn learn(&mut self, id: GroupId, epoch: u64, written_bytes: u64) {
        let Some(group) = self
            .groups
            .get_mut(&id)
            .filter(|group| group.epoch == epoch)
        else {
            return;
        };
        let written_bytes = written_bytes.min(self.config.resident_bytes_max(group.ram_bytes));
        group.resident_bytes = group.resident_bytes.max(written_bytes);
        let charge_bytes = group.charge_bytes(&self.config);
        let is_of_it = |vm: &&mut super::Vm| {
            (vm.group, vm.epoch) == (id, epoch) && !matches!(vm.state, super::VmState::Idle { .. })
        };
        for vm in self.vms.values_mut().filter(is_of_it) {
            let more_bytes = charge_bytes.saturating_sub(vm.charge_bytes);
            vm.charge_bytes += more_bytes;
            self.charged_bytes += more_bytes;
        }
    }
}

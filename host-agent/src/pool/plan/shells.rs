//! How many shells are ready, and who gets one.

use std::{collections::VecDeque, time::Duration};

use jiffy_abi::layout::RAM_BYTES_DEFAULT;

use super::{Action, Moment, Plan, VmId, VmState, WaiterId};

/// Cold starts of this long say how many shells are worth having.
const WINDOW: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) struct Shells {
    pub(super) ready: usize,
    pub(super) making: usize,
    /// VMs that wait for a shell. If there is one, no shell is ready.
    pub(super) line: VecDeque<VmId>,
    pub(super) failed: u64,
    /// Until then none is made but for a request.
    retry_at: Moment,
    /// RAM of the last VM that took one: the next is prepared for the same.
    ram_bytes: u64,
    window_started: Moment,
    /// Taken in this window.
    taken: usize,
    /// What the windows before ask for: the most that were taken in one, fading.
    level: usize,
}

impl Default for Shells {
    fn default() -> Self {
        Self {
            ready: 0,
            making: 0,
            line: VecDeque::new(),
            failed: 0,
            retry_at: Moment::ZERO,
            ram_bytes: RAM_BYTES_DEFAULT,
            window_started: Moment::ZERO,
            taken: 0,
            level: 0,
        }
    }
}

impl<D: Clone> Plan<D> {
    /// A shell was made and is held ready.
    pub(in crate::pool) fn shell_made(&mut self, now: Moment) {
        self.shells.making -= 1;
        self.shells.ready += 1;
        self.shells.retry_at = Moment::ZERO;
        self.start_vms(now);
        let most = if self.closing {
            0
        } else {
            self.config.shells_max as usize
        };
        self.end_shells_above(most);
        self.refill(now);
    }

    /// A shell could not be made. Says which request to refuse for it: one that waited for a shell, or none.
    pub(in crate::pool) fn shell_failed(&mut self, now: Moment) -> Option<WaiterId> {
        self.shells.making -= 1;
        self.shells.failed += 1;
        self.shells.retry_at = now + Duration::from_millis(self.config.shell_retry_ms);
        let mut refused = None;
        if let Some(id) = self.shells.line.pop_front() {
            let group = self.vms.get(&id).map(|vm| vm.group);
            self.remove(id);
            if let Some(group) = group {
                refused = self.take_waiter(group);
                self.want(group);
                self.collect(group);
            }
        }
        self.start_vms(now);
        refused
    }

    /// Gives ready shells to the VMs that wait for one. Whether a VM turned out to be wanted by nobody.
    pub(super) fn serve_shell_line(&mut self, now: Moment) -> bool {
        let mut is_one_unwanted = false;
        while self.shells.ready > 0
            && let Some(id) = self.shells.line.pop_front()
        {
            let Some((group_id, group)) = self.vms.get(&id).and_then(|vm| {
                let group = self.groups.get_mut(&vm.group)?;
                Some((vm.group, group))
            }) else {
                continue;
            };
            // The request may have got another VM by now, or have given up.
            let has_impatient = group.queue.len() > group.patient.len();
            if !has_impatient && (group.missing() == 0 || self.closing) {
                self.remove(id);
                self.collect(group_id);
                is_one_unwanted = true;
                continue;
            }
            group.starting -= 1;
            self.shells.ready -= 1;
            self.shells.taken += 1;
            self.shells.ram_bytes = group.ram_bytes;
            self.vms_started += 1;
            let waiter = self.take_waiter(group_id);
            let state = match waiter {
                Some(_) => VmState::Busy,
                None => VmState::Settling,
            };
            self.set_state(id, state, now);
            self.actions.push(Action::Restore { vm: id, waiter });
        }
        is_one_unwanted
    }

    /// Makes shells for the VMs that wait for one.
    pub(super) fn make_missing_shells(&mut self) {
        let makers_max = self.config.shells_making_max as usize;
        while self.shells.making < self.shells.line.len().min(makers_max) {
            let vm = self.shells.line.get(self.shells.making);
            let group = vm.and_then(|vm| self.groups.get(&self.vms.get(vm)?.group));
            let ram_bytes = group.map_or(self.shells.ram_bytes, |group| group.ram_bytes);
            self.shells.making += 1;
            self.actions.push(Action::MakeShell { ram_bytes });
        }
    }

    /// Makes shells up to the target. Not done while a request is on its way, which it would slow down.
    pub(super) fn refill(&mut self, now: Moment) {
        if self.closing || now < self.shells.retry_at {
            return;
        }
        let wanted = self.shells.line.len() + self.shells_target();
        let makers_max = self.config.shells_making_max as usize;
        while self.shells.making < makers_max && self.shells.ready + self.shells.making < wanted {
            let ram_bytes = self.shells.ram_bytes;
            self.shells.making += 1;
            self.actions.push(Action::MakeShell { ram_bytes });
        }
    }

    /// As many as were taken in the last second, or before in a busier one, within the limits.
    fn shells_target(&self) -> usize {
        if self.closing {
            return 0;
        }
        let (min, max) = (self.config.shells_min, self.config.shells_max);
        let wanted = self.shells.level.max(self.shells.taken);
        wanted.max(min as usize).min(max as usize)
    }

    /// Follows the rate of cold starts.
    pub(super) fn tick_shells(&mut self, now: Moment) {
        if now >= self.shells.window_started + WINDOW {
            let faded = self.shells.level - self.shells.level.div_ceil(8);
            self.shells.level = faded.max(self.shells.taken);
            self.shells.taken = 0;
            self.shells.window_started = now;
        }
        self.end_shells_above(self.shells_target());
        self.refill(now);
    }

    fn end_shells_above(&mut self, most: usize) {
        while self.shells.ready > most {
            self.shells.ready -= 1;
            self.actions.push(Action::EndShell);
        }
    }
}

//! The VMs and the waiting requests of one version, and the memory of all.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use jiffy_abi::layout::PAGE_BYTES;
use jiffy_snapshots::Digest;

use super::{Action, Block, GroupId, Moment, Plan, Target, Vm, VmId, VmState, WaiterId};
use crate::{
    model::{FunctionId, VersionNumber},
    pool::config::PoolConfig,
};

/// A function with a VM, or a request that waits.
#[derive(Debug, Default)]
pub(super) struct Function {
    pub(super) groups: BTreeMap<VersionNumber, GroupId>,
    pub(super) reserved: Option<u32>,
    pub(super) vms: u32,
    pub(super) waiting: usize,
}

/// A version of a function, with its VMs.
#[derive(Debug)]
pub(super) struct Group<D> {
    pub(super) data: D,
    pub(super) function: FunctionId,
    pub(super) version: VersionNumber,
    pub(super) snapshot: Digest,
    /// Counts up when all VMs are outdated.
    pub(super) epoch: u64,
    pub(super) concurrency_max: u32,
    pub(super) min_ready: u32,
    pub(super) ram_bytes: u64,
    /// What a VM of it is likely to write of its RAM.
    pub(super) resident_bytes: u64,
    /// Whether `resident_bytes` was seen and not guessed.
    pub(super) resident_known: bool,
    /// VMs in all states.
    pub(super) vms: u32,
    /// VMs that wait for a shell.
    pub(super) starting: u32,
    /// The last one was used last.
    pub(super) idle: VecDeque<VmId>,
    pub(super) queue: VecDeque<WaiterId>,
    /// VMs that settle.
    pub(super) settling: u32,
    /// Those of the queue for which no VM is started, because there is one for each that settles.
    pub(super) patient: BTreeSet<WaiterId>,
    /// How long the last one took to settle.
    pub(super) settle_time: Moment,
    /// Whether it stands in the line.
    pub(super) in_line: bool,
}

impl Target<'_> {
    /// What a new VM is likely to write of its RAM, bytes: what the first one wrote, also before the agent was started, and
    /// without that what is written at most.
    fn likely_bytes(&self, config: &PoolConfig) -> u64 {
        let runs = self.working_set.iter();
        match runs.map(|run| u64::from(run.pages)).sum::<u64>() {
            0 => config.resident_bytes(self.ram_bytes),
            pages => (pages * PAGE_BYTES).min(config.resident_bytes_max(self.ram_bytes)),
        }
    }
}

impl<D> Group<D> {
    pub(super) fn charge_bytes(&self, config: &PoolConfig) -> u64 {
        config.vm_overhead_bytes.saturating_add(self.resident_bytes)
    }

    pub(super) fn is_at_min_ready(&self) -> bool {
        self.vms <= self.min_ready
    }

    /// VMs that are to be there although nobody asks, and are not.
    pub(super) fn missing(&self) -> u32 {
        self.min_ready.saturating_sub(self.vms - self.starting)
    }

    /// Whether a VM settles that nobody counts on yet, and will be ready in a moment.
    pub(super) fn settles_soon(&self, config: &PoolConfig) -> bool {
        self.settling as usize > self.patient.len() && self.settle_time <= config.settle_wait()
    }

    /// Lets nobody count on a VM that has become another's, or none: who came last gets one started.
    pub(super) fn check_patience(&mut self) {
        while self.patient.len() > self.settling as usize {
            self.patient.pop_last();
        }
    }

    /// Whether one more VM is to be started.
    fn wants(&self) -> bool {
        let impatient = self.queue.len() - self.patient.len();
        impatient + self.missing() as usize > self.starting as usize
    }
}

impl<D: Clone> Plan<D> {
    /// The group of a version, as it is deployed now.
    pub(super) fn group_for(&mut self, target: Target<'_>, data: &D) -> GroupId {
        // Looked up twice, so that the name is cloned only for a new function.
        if !self.functions.contains_key(target.function) {
            self.functions
                .insert(target.function.clone(), Function::default());
        }
        let new_id = GroupId(self.next_id());
        let Some(function) = self.functions.get_mut(target.function) else {
            return new_id;
        };
        function.reserved = target.reserved;
        let id = *function.groups.entry(target.version).or_insert(new_id);
        let group = self.groups.entry(id).or_insert_with(|| Group {
            data: data.clone(),
            function: target.function.clone(),
            version: target.version,
            snapshot: target.snapshot,
            epoch: 0,
            concurrency_max: 0,
            min_ready: 0,
            ram_bytes: 0,
            resident_bytes: target.likely_bytes(&self.config),
            resident_known: false,
            vms: 0,
            starting: 0,
            idle: VecDeque::new(),
            queue: VecDeque::new(),
            settling: 0,
            patient: BTreeSet::new(),
            settle_time: Moment::ZERO,
            in_line: false,
        });
        group.data = data.clone();
        group.concurrency_max = target.concurrency_max;
        group.ram_bytes = target.ram_bytes;
        if group.snapshot != target.snapshot {
            group.snapshot = target.snapshot;
            group.resident_bytes = target.likely_bytes(&self.config);
            group.resident_known = false;
            self.outdate(id);
        }
        id
    }

    /// Ends the idle VMs of a group, and lets the others end when they become idle.
    pub(super) fn outdate(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else {
            return;
        };
        group.epoch += 1;
        let epoch = group.epoch;
        for vm in group.idle.clone() {
            self.end(vm);
        }
        // Those without a shell are nothing yet.
        for vm in &self.shells.line {
            if let Some(vm) = self.vms.get_mut(vm).filter(|vm| vm.group == id) {
                vm.epoch = epoch;
            }
        }
    }

    /// Forgets a group in which nothing is left.
    pub(super) fn collect(&mut self, id: GroupId) {
        let is_empty = |group: &Group<D>| {
            group.vms == 0 && group.queue.is_empty() && (group.min_ready == 0 || self.closing)
        };
        if !self.groups.get(&id).is_some_and(is_empty) {
            return;
        }
        let Some(group) = self.groups.remove(&id) else {
            return;
        };
        if group.in_line {
            self.line.retain(|other| *other != id);
        }
        if let Some(function) = self.functions.get_mut(&group.function) {
            function.groups.remove(&group.version);
            if function.groups.is_empty() {
                self.functions.remove(&group.function);
            }
        }
    }

    /// Puts a group into the line if it wants a VM.
    pub(super) fn want(&mut self, id: GroupId) {
        let closing = self.closing;
        if let Some(group) = self.groups.get_mut(&id)
            && !group.in_line
            && !(closing && group.queue.is_empty())
            && group.wants()
        {
            group.in_line = true;
            self.line.push_back(id);
        }
    }

    /// A VM of this group is no more, or idle: others of its function may have waited for that.
    pub(super) fn want_siblings(&mut self, id: GroupId) {
        let siblings = self.groups.get(&id).and_then(|group| {
            let function = self.functions.get(&group.function)?;
            (function.waiting > 0).then(|| function.groups.values().copied().collect::<Vec<_>>())
        });
        for sibling in siblings.unwrap_or_default() {
            self.want(sibling);
        }
    }

    /// Starts VMs for those in the line, as far as memory goes, and gives shells to those that wait for one.
    pub(super) fn start_vms(&mut self, now: Moment) {
        loop {
            self.serve_line(now);
            // A VM that nobody wants any more leaves room for another.
            if !self.serve_shell_line(now) {
                break;
            }
        }
        self.make_missing_shells();
    }

    fn serve_line(&mut self, now: Moment) {
        while let Some(&id) = self.line.front() {
            let wants = self.groups.get(&id).is_some_and(Group::wants);
            let is_waited_for = self
                .groups
                .get(&id)
                .is_some_and(|group| !group.queue.is_empty());
            let started = match wants {
                true => self.reserve(id, now, is_waited_for),
                false => Err(Block::Limit),
            };
            // Who only wants to be ready does not stand in the way of requests.
            if started == Err(Block::Memory) && is_waited_for {
                break;
            }
            self.line.pop_front();
            if let Some(group) = self.groups.get_mut(&id) {
                group.in_line = false;
            }
            if started.is_ok() {
                self.want(id);
            }
        }
    }

    /// Reserves what one more VM needs. Other idle VMs end for it if `may_evict`.
    fn reserve(&mut self, id: GroupId, now: Moment, may_evict: bool) -> Result<(), Block> {
        let group = self.groups.get(&id).ok_or(Block::Limit)?;
        let charge_bytes = group.charge_bytes(&self.config);
        let epoch = group.epoch;
        if group.vms >= group.concurrency_max {
            return Err(Block::Limit);
        }
        let function = self.functions.get(&group.function).ok_or(Block::Limit)?;
        let is_full = function
            .reserved
            .is_some_and(|reserved| function.vms >= reserved);
        let sibling = self.oldest_idle_of(function).filter(|_| is_full);
        if is_full && !(sibling.is_some() && may_evict) {
            return Err(Block::Limit);
        }
        let bytes_max = self.bytes_max();
        let evictable_bytes = if may_evict { self.idle_bytes } else { 0 };
        let kept_bytes = self.charged_bytes - evictable_bytes;
        // One VM by itself runs even where memory was found to be short.
        let is_alone = may_evict && kept_bytes == 0 && charge_bytes <= self.config.vm_bytes_max();
        if kept_bytes.saturating_add(charge_bytes) > bytes_max && !is_alone {
            return Err(Block::Memory);
        }
        if let Some(sibling) = sibling {
            self.evict(sibling);
        }
        while self.charged_bytes + charge_bytes > bytes_max && self.evict_oldest() {}
        let vm = VmId(self.next_id());
        self.vms.insert(
            vm,
            Vm {
                group: id,
                epoch,
                state: VmState::Starting,
                since: now,
                charge_bytes,
                process_id: 0,
                requests: 0,
            },
        );
        self.charged_bytes += charge_bytes;
        self.shells.line.push_back(vm);
        if let Some(group) = self.groups.get_mut(&id) {
            group.vms += 1;
            group.starting += 1;
            if let Some(function) = self.functions.get_mut(&group.function) {
                function.vms += 1;
            }
        }
        Ok(())
    }

    /// The idle VM of a function that was unused for longest.
    fn oldest_idle_of(&self, function: &Function) -> Option<VmId> {
        let groups = function
            .groups
            .values()
            .filter_map(|id| self.groups.get(id));
        let oldest = groups.filter_map(|group| group.idle.front().copied());
        oldest.min_by_key(|vm| match self.vms.get(vm)?.state {
            VmState::Idle { order } => Some(order),
            _ => None,
        })
    }

    /// Takes note of what a VM has written.
    pub(super) fn charge(&mut self, id: VmId, resident_bytes: u64) {
        let Some(vm) = self.vms.get_mut(&id) else {
            return;
        };
        let charge_bytes = self.config.vm_overhead_bytes.saturating_add(resident_bytes);
        self.charged_bytes = self.charged_bytes - vm.charge_bytes + charge_bytes;
        vm.charge_bytes = charge_bytes;
        if let Some(group) = self
            .groups
            .get_mut(&vm.group)
            .filter(|group| group.epoch == vm.epoch)
        {
            let known_bytes = if group.resident_known {
                group.resident_bytes
            } else {
                0
            };
            group.resident_bytes = known_bytes.max(resident_bytes);
            group.resident_known = true;
        }
    }

    /// Whether a VM of the group stays, although nobody asks.
    pub(super) fn is_kept_ready(&self, id: GroupId) -> bool {
        self.groups.get(&id).is_some_and(Group::is_at_min_ready)
    }

    /// Whether a VM is of no more use once it is idle.
    pub(super) fn is_to_end(&self, vm: &Vm) -> bool {
        let Some(group) = self.groups.get(&vm.group) else {
            return true;
        };
        let function = self.functions.get(&group.function);
        let is_too_many = |function: &Function| {
            function
                .reserved
                .is_some_and(|reserved| function.vms > reserved)
        };
        vm.epoch != group.epoch
            || function.is_none_or(is_too_many)
            || (self.closing && group.queue.is_empty())
    }

    /// Whether a VM is to end for another function that waits for memory and has fewer. Without this,
    /// a function with enough requests would keep the others out for good.
    pub(super) fn is_to_make_room(&self, vm: &Vm) -> bool {
        let first = self.line.front().and_then(|id| self.groups.get(id));
        let group = self.groups.get(&vm.group);
        first
            .zip(group)
            .is_some_and(|(first, group)| first.vms + 1 < group.vms)
    }

    /// The request that has waited longest for a VM of this group. It has its answer now.
    pub(super) fn take_waiter(&mut self, id: GroupId) -> Option<WaiterId> {
        let group = self.groups.get_mut(&id)?;
        let waiter = group.queue.pop_front()?;
        group.patient.remove(&waiter);
        self.waiters.remove(&waiter);
        if let Some(function) = self.functions.get_mut(&group.function) {
            function.waiting -= 1;
        }
        Some(waiter)
    }

    pub(super) fn set_state(&mut self, id: VmId, state: VmState, now: Moment) {
        let Some(vm) = self.vms.get_mut(&id) else {
            return;
        };
        let before = std::mem::replace(&mut vm.state, state);
        vm.since = now;
        if let Some(group) = self.groups.get_mut(&vm.group) {
            group.settling -= u32::from(before == VmState::Settling);
            group.settling += u32::from(state == VmState::Settling);
        }
    }

    pub(super) fn push_idle(&mut self, id: VmId, now: Moment) {
        let order = self.next_id();
        self.set_state(id, VmState::Idle { order }, now);
        if let Some(vm) = self.vms.get(&id) {
            self.idle.insert(order, id);
            self.idle_bytes += vm.charge_bytes;
            if let Some(group) = self.groups.get_mut(&vm.group) {
                group.idle.push_back(id);
            }
        }
    }

    /// The idle VM of a group that was used last, busy from now on.
    pub(super) fn pop_idle(&mut self, id: GroupId, now: Moment) -> Option<VmId> {
        let vm = *self.groups.get(&id)?.idle.back()?;
        self.unlink_idle(vm);
        self.set_state(vm, VmState::Busy, now);
        Some(vm)
    }

    /// Takes a VM, if it is idle, out of what is kept of idle ones.
    pub(super) fn unlink_idle(&mut self, id: VmId) {
        let Some(vm) = self.vms.get(&id) else {
            return;
        };
        let VmState::Idle { order } = vm.state else {
            return;
        };
        self.idle.remove(&order);
        self.idle_bytes -= vm.charge_bytes;
        let Some(group) = self.groups.get_mut(&vm.group) else {
            return;
        };
        if group.idle.back() == Some(&id) {
            group.idle.pop_back();
        } else if let Some(at) = group.idle.iter().position(|other| *other == id) {
            group.idle.remove(at);
        }
    }

    pub(super) fn evict_oldest(&mut self) -> bool {
        let Some((_, &vm)) = self.idle.first_key_value() else {
            return false;
        };
        self.evict(vm);
        true
    }

    fn evict(&mut self, vm: VmId) {
        let group = self.vms.get(&vm).map(|vm| vm.group);
        self.end(vm);
        self.vms_evicted += 1;
        if let Some(group) = group {
            self.collect(group);
        }
    }

    /// Ends a VM that the driver holds as idle.
    pub(super) fn end(&mut self, id: VmId) {
        self.remove(id);
        self.actions.push(Action::End(id));
    }

    /// Takes a VM out of all that is kept of it. Its group stays, to be collected by the caller, who then
    /// starts what others of its function now may have.
    pub(super) fn remove(&mut self, id: VmId) {
        self.unlink_idle(id);
        let Some(vm) = self.vms.remove(&id) else {
            return;
        };
        self.charged_bytes -= vm.charge_bytes;
        if let Some(group) = self.groups.get_mut(&vm.group) {
            group.vms -= 1;
            if vm.state == VmState::Starting {
                group.starting -= 1;
            }
            if vm.state == VmState::Settling {
                group.settling -= 1;
                group.check_patience();
            }
            if let Some(function) = self.functions.get_mut(&group.function) {
                function.vms -= 1;
            }
        }
        self.want_siblings(vm.group);
    }
}

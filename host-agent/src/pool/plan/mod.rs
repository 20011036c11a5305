//! Decides which VM a request gets, and when VMs and shells are made and ended.
//!
//! A pure state machine: no clock, no tasks, no VMs. Events come in with the time, answers and
//! [`Action`]s go out; the driver (`super`) carries them out and holds what the ids stand for.
//!
//! ```text
//!                        memory, limits          a shell                  response
//! request ── no idle VM ──▶ Starting ──▶ Restore ──▶ Busy ───────────────▶ Settling
//!    │                                               ▲ ▲                     │ │
//!    └── idle VM ────────────────────────────────────┘ └── a request waits ──┘ │
//!                                             Idle ◀─────────── none waits ────┘
//! any ──▶ gone: died, forgotten, unused for too long, in the way of another function
//! ```
//!
//! Invariants, held by the property tests: no limit is exceeded; a request gets exactly one answer;
//! requests of a version are served in the order of their arrival; a version with an idle VM has no
//! request waiting; a VM is given out only after it settled.
//! Functions wait for memory in a line, in which each stands once: one with many requests does not push the
//! others back.

mod group;
mod shells;
mod squeeze;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    time::Duration,
};

use jiffy_snapshots::{Digest, PageRun};

use self::{
    group::{Function, Group},
    shells::Shells,
    squeeze::Squeeze,
};
use super::config::PoolConfig;
use crate::model::{FunctionId, VersionNumber};

/// Time since the pool was made.
pub(super) type Moment = Duration;

/// A VM, from the decision to start it until it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct VmId(u64);

/// A request that waits for a VM. Later ones are greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct WaiterId(u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct GroupId(u64);

/// The version of a function that a request is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) function: &'a FunctionId,
    pub(super) version: VersionNumber,
    /// VMs of one snapshot are never given to requests for another.
    pub(super) snapshot: Digest,
    /// VMs of the version at most.
    pub(super) concurrency_max: u32,
    /// VMs of the function at most.
    pub(super) reserved: Option<u32>,
    /// What its first request wrote, if that is known.
    pub(super) working_set: &'a [PageRun],
    /// RAM of a VM.
    pub(super) ram_bytes: u64,
}

/// What a request gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This VM, which has waited for it.
    Idle(VmId),
    /// This VM, which is to be restored into a ready shell.
    Restore(VmId),
    /// An action will say, unless the request gives up before.
    Wait(WaiterId),
    /// The same, and no VM is started for it yet, because one that settles will be ready in a moment. After
    /// [`PoolConfig::settle_wait`] it is to be said that this was long enough: [`Plan::hurry`].
    WaitSettling(WaiterId),
    Refused(Reason),
}

/// Why a request gets no VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    Busy,
    QueueFull,
    Memory,
    ShuttingDown,
}

/// What the driver is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Restore a VM into a ready shell, for a request or to have it ready. Then
    /// [`Plan::restored`] and, if it is for no request, [`Plan::settled`]; or [`Plan::gone`].
    Restore {
        vm: VmId,
        waiter: Option<WaiterId>,
    },
    /// Give an idle VM to a request.
    Give {
        vm: VmId,
        waiter: WaiterId,
    },
    Refuse {
        waiter: WaiterId,
        reason: Reason,
    },
    /// End an idle VM.
    End(VmId),
    /// Make a shell. Then [`Plan::shell_made`] or [`Plan::shell_failed`].
    MakeShell {
        ram_bytes: u64,
    },
    /// End a ready shell.
    EndShell,
}

/// What a VM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VmState {
    /// It waits for a shell.
    Starting,
    /// A request has it.
    Busy,
    /// It is being made ready for the next request.
    Settling,
    /// It waits for a request. `order` is smaller the longer it has waited.
    Idle { order: u64 },
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Vm {
    group: GroupId,
    /// Of its group when it was started: from an older one it is ended.
    epoch: u64,
    pub(super) state: VmState,
    /// When it came into this state.
    pub(super) since: Moment,
    pub(super) charge_bytes: u64,
    pub(super) process_id: u32,
    pub(super) requests: u64,
}

/// Why a VM cannot be started now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    /// Its version or its function has as many as it may have.
    Limit,
    Memory,
}

/// Gauges and counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PoolStats {
    /// Shells that wait.
    pub shells_ready: usize,
    /// Shells that are being made.
    pub shells_making: usize,
    /// VMs that wait for a shell.
    pub vms_starting: usize,
    /// VMs that have a request.
    pub vms_busy: usize,
    /// VMs that are being made ready for the next request.
    pub vms_settling: usize,
    /// VMs that wait for a request.
    pub vms_idle: usize,
    /// Requests that wait.
    pub requests_waiting: usize,
    /// What all VMs are charged, bytes.
    pub memory_charged_bytes: u64,
    /// What all VMs may be charged, bytes.
    pub memory_bytes_max: u64,
    /// VMs ever started.
    pub vms_started: u64,
    /// VMs ever ended to make room for others.
    pub vms_evicted: u64,
    /// VMs ever ended because nobody asked for them.
    pub vms_expired: u64,
    /// VMs ever ended by the kernel because memory ran out for all together.
    pub vms_squeezed: u64,
    /// Shells ever that could not be made.
    pub shells_failed: u64,
}

/// The state machine. `D` is what the driver wants to know of a version.
#[derive(Debug)]
pub(super) struct Plan<D> {
    config: PoolConfig,
    functions: HashMap<FunctionId, Function>,
    groups: HashMap<GroupId, Group<D>>,
    vms: HashMap<VmId, Vm>,
    waiters: HashMap<WaiterId, GroupId>,
    /// All idle VMs by their order, the one unused for longest first.
    idle: BTreeMap<u64, VmId>,
    /// Groups that want a VM more and are not at a limit. Between two events, those that wait for memory.
    line: VecDeque<GroupId>,
    shells: Shells,
    squeeze: Option<Squeeze>,
    charged_bytes: u64,
    idle_bytes: u64,
    next_id: u64,
    closing: bool,
    actions: Vec<Action>,
    vms_started: u64,
    vms_evicted: u64,
    vms_expired: u64,
    vms_squeezed: u64,
}

impl<D: Clone> Plan<D> {
    pub(super) fn new(config: PoolConfig) -> Self {
        Self {
            shells: Shells::default(),
            squeeze: None,
            config,
            functions: HashMap::new(),
            groups: HashMap::new(),
            vms: HashMap::new(),
            waiters: HashMap::new(),
            idle: BTreeMap::new(),
            line: VecDeque::new(),
            charged_bytes: 0,
            idle_bytes: 0,
            next_id: 0,
            closing: false,
            actions: vec![],
            vms_started: 0,
            vms_evicted: 0,
            vms_expired: 0,
            vms_squeezed: 0,
        }
    }

    /// What is to be done now, oldest first. To be asked for after each event.
    pub(super) fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// A request came.
    pub(super) fn acquire(&mut self, now: Moment, target: Target<'_>, data: &D) -> Answer {
        if self.closing {
            return Answer::Refused(Reason::ShuttingDown);
        }
        let id = self.group_for(target, data);
        if let Some(vm) = self.pop_idle(id, now) {
            return Answer::Idle(vm);
        }
        let waiter = WaiterId(self.next_id());
        let (mut fits, mut is_patient) = (true, false);
        if let Some(group) = self.groups.get_mut(&id) {
            fits = group.charge_bytes(&self.config) <= self.config.vm_bytes_max();
            is_patient = fits && group.settles_soon(&self.config);
            group.queue.push_back(waiter);
            if is_patient {
                group.patient.insert(waiter);
            }
            self.waiters.insert(waiter, id);
        }
        let waiting = self.functions.get_mut(target.function).map(|function| {
            function.waiting += 1;
            function.waiting
        });
        if !fits || target.reserved == Some(0) {
            self.leave(waiter);
            self.start_vms(now);
            let reason = if fits { Reason::Busy } else { Reason::Memory };
            return Answer::Refused(reason);
        }
        self.want(id);
        self.start_vms(now);
        let is_for_it = |action: &Action| matches!(action, Action::Restore { waiter: Some(other), .. } if *other == waiter);
        if let Some(at) = self.actions.iter().position(is_for_it)
            && let Action::Restore { vm, .. } = self.actions.remove(at)
        {
            return Answer::Restore(vm);
        }
        if waiting > Some(self.config.queue_len_max) {
            self.leave(waiter);
            return Answer::Refused(Reason::QueueFull);
        }
        match is_patient {
            true => Answer::WaitSettling(waiter),
            false => Answer::Wait(waiter),
        }
    }

    /// A request has waited for a VM that settles for long enough.
    pub(super) fn hurry(&mut self, now: Moment, waiter: WaiterId) {
        let Some(&id) = self.waiters.get(&waiter) else {
            return;
        };
        let was_patient = self
            .groups
            .get_mut(&id)
            .is_some_and(|group| group.patient.remove(&waiter));
        if was_patient {
            self.want(id);
            self.start_vms(now);
        }
    }

    /// A request does not wait any more. `None`: an action gave it its answer before.
    pub(super) fn give_up(&mut self, now: Moment, waiter: WaiterId) -> Option<Reason> {
        let reason = self.leave(waiter)?;
        self.start_vms(now);
        Some(reason)
    }

    /// Takes a request out of its queue.
    fn leave(&mut self, waiter: WaiterId) -> Option<Reason> {
        let id = self.waiters.remove(&waiter)?;
        let group = self.groups.get_mut(&id)?;
        if let Ok(at) = group.queue.binary_search(&waiter) {
            group.queue.remove(at);
        }
        group.patient.remove(&waiter);
        let reason = if group.in_line {
            Reason::Memory
        } else {
            Reason::Busy
        };
        if let Some(function) = self.functions.get_mut(&group.function) {
            function.waiting -= 1;
        }
        self.collect(id);
        Some(reason)
    }

    /// A VM was restored.
    pub(super) fn restored(&mut self, vm: VmId, process_id: u32) {
        if let Some(vm) = self.vms.get_mut(&vm) {
            vm.process_id = process_id;
        }
    }

    /// A VM has responded and is being made ready.
    pub(super) fn settling(&mut self, now: Moment, vm: VmId) {
        self.set_state(vm, VmState::Settling, now);
        if let Some(vm) = self.vms.get_mut(&vm) {
            vm.requests += 1;
        }
    }

    /// A VM is ready for the next request. It has written `resident_bytes` of its RAM so far, if that is known.
    pub(super) fn settled(&mut self, now: Moment, id: VmId, resident_bytes: Option<u64>) {
        if let Some(resident_bytes) = resident_bytes {
            self.charge(id, resident_bytes);
        }
        let Some(vm) = self.vms.get(&id).copied() else {
            return;
        };
        if let Some(group) = self.groups.get_mut(&vm.group)
            && vm.requests > 0
        {
            group.settle_time = now.saturating_sub(vm.since);
        }
        if self.is_to_end(&vm) || self.is_to_make_room(&vm) {
            self.end(id);
        } else if let Some(waiter) = self.take_waiter(vm.group) {
            self.set_state(id, VmState::Busy, now);
            self.actions.push(Action::Give { vm: id, waiter });
        } else if self.config.keep_alive_ms == 0 && !self.is_kept_ready(vm.group) {
            // Until the next tick it would serve another request.
            self.end(id);
            self.vms_expired += 1;
        } else {
            self.push_idle(id, now);
        }
        while self.charged_bytes > self.bytes_max() && self.evict_oldest() {}
        self.after_change(now, vm.group);
    }

    /// A VM is no more: it died, or its request was given up in its middle.
    pub(super) fn gone(&mut self, now: Moment, id: VmId) {
        let Some(vm) = self.vms.get(&id).copied() else {
            return;
        };
        self.remove(id);
        self.after_change(now, vm.group);
    }

    /// A VM of the function may have become free for another.
    fn after_change(&mut self, now: Moment, group: GroupId) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.check_patience();
        }
        self.want(group);
        self.want_siblings(group);
        self.collect(group);
        self.start_vms(now);
        self.refill(now);
    }

    /// Keeps as many VMs of a version ready, until it is forgotten or this is called again.
    pub(super) fn keep_ready(&mut self, now: Moment, target: Target<'_>, data: &D, vms: u32) {
        let id = self.group_for(target, data);
        if let Some(group) = self.groups.get_mut(&id) {
            group.min_ready = vms.min(target.concurrency_max);
        }
        self.want(id);
        self.start_vms(now);
        self.collect(id);
    }

    /// VMs of a version, or of all, are of no more use: idle ones end, the others after their request.
    pub(super) fn forget(
        &mut self,
        now: Moment,
        name: &FunctionId,
        version: Option<VersionNumber>,
    ) {
        let groups = self.functions.get(name).map(|function| match version {
            Some(version) => function.groups.get(&version).copied().into_iter().collect(),
            None => function.groups.values().copied().collect::<Vec<_>>(),
        });
        for id in groups.unwrap_or_default() {
            if let Some(group) = self.groups.get_mut(&id) {
                group.min_ready = 0;
            }
            self.outdate(id);
            self.collect(id);
        }
        self.start_vms(now);
    }

    /// There is another amount of memory from now on.
    pub(super) fn set_memory(&mut self, now: Moment, memory_bytes_max: u64) {
        if memory_bytes_max > self.config.memory_bytes_max {
            self.squeeze = None;
        }
        self.config.memory_bytes_max = memory_bytes_max;
        while self.charged_bytes > self.bytes_max() && self.evict_oldest() {}
        self.start_vms(now);
    }

    /// Time has passed. To be called a few times a second.
    pub(super) fn tick(&mut self, now: Moment) {
        self.loosen(now);
        let keep_alive = self.config.keep_alive();
        // Each is looked at once: those that are kept go behind the others.
        for _ in 0..self.idle.len() {
            let oldest = self.idle.first_key_value().map(|(_, id)| *id);
            let Some((id, vm)) = oldest.and_then(|id| Some((id, *self.vms.get(&id)?))) else {
                break;
            };
            if vm.since + keep_alive > now {
                break;
            }
            if self.is_kept_ready(vm.group) {
                self.unlink_idle(id);
                self.push_idle(id, now);
            } else {
                self.end(id);
                self.vms_expired += 1;
                self.collect(vm.group);
            }
        }
        let ready: Vec<_> = self
            .groups
            .iter()
            .filter(|(_, group)| group.min_ready > 0)
            .map(|(id, _)| *id)
            .collect();
        for id in ready {
            self.want(id);
        }
        self.start_vms(now);
        self.tick_shells(now);
    }

    /// Takes no more requests. Idle VMs end; what waits is served unless `now_or_never`, which refuses it.
    pub(super) fn close(&mut self, now: Moment, now_or_never: bool) {
        self.closing = true;
        while let Some((_, &id)) = self.idle.first_key_value() {
            self.end(id);
        }
        if now_or_never {
            let mut waiters: Vec<_> = self.waiters.keys().copied().collect();
            waiters.sort_unstable();
            for waiter in waiters {
                self.leave(waiter);
                let reason = Reason::ShuttingDown;
                self.actions.push(Action::Refuse { waiter, reason });
            }
        }
        self.start_vms(now);
        self.tick_shells(now);
        let groups: Vec<_> = self.groups.keys().copied().collect();
        for group in groups {
            self.collect(group);
        }
    }

    /// Whether no request waits, runs, or has left a VM that is not ready yet.
    pub(super) fn is_quiet(&self) -> bool {
        self.waiters.is_empty() && self.vms.len() == self.idle.len()
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing
    }

    pub(super) fn stats(&self) -> PoolStats {
        let mut stats = PoolStats {
            shells_ready: self.shells.ready,
            shells_making: self.shells.making,
            requests_waiting: self.waiters.len(),
            memory_charged_bytes: self.charged_bytes,
            memory_bytes_max: self.bytes_max(),
            vms_started: self.vms_started,
            vms_evicted: self.vms_evicted,
            vms_expired: self.vms_expired,
            vms_squeezed: self.vms_squeezed,
            shells_failed: self.shells.failed,
            ..PoolStats::default()
        };
        for vm in self.vms.values() {
            *match vm.state {
                VmState::Starting => &mut stats.vms_starting,
                VmState::Busy => &mut stats.vms_busy,
                VmState::Settling => &mut stats.vms_settling,
                VmState::Idle { .. } => &mut stats.vms_idle,
            } += 1;
        }
        stats
    }

    /// All VMs, with what the driver wants to know of their versions.
    pub(super) fn vms(&self) -> impl Iterator<Item = (VmId, &Vm, &D)> {
        self.vms
            .iter()
            .filter_map(|(id, vm)| Some((*id, vm, &self.groups.get(&vm.group)?.data)))
    }

    /// What the driver wants to know of a VM's version.
    pub(super) fn data(&self, vm: VmId) -> Option<&D> {
        let vm = self.vms.get(&vm)?;
        Some(&self.groups.get(&vm.group)?.data)
    }

    fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}

#[cfg(test)]
mod tests;

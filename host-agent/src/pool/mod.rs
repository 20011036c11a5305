//! The pool: which VM a request gets, and when VMs are made and ended.
//!
//! ```text
//! acquire ──▶ Lease ── invoke ──▶ response ── finish ──▶ settled, in the background ──▶ next request
//! ```
//!
//! [`Pool`] drives what `plan` decides. One short lock guards the plan and what its ids stand for; nothing is
//! awaited, no VM is made, restored or ended under it. A request that finds an idle VM takes the lock once,
//! and neither a task nor a channel is between it and its VM.
//! Not here: which version a request is for (`service`), what a VM is (`vm`).

mod config;
mod lease;
mod plan;
mod waiting;

use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};

use jiffy_abi::layout::PAGE_BYTES;
use jiffy_model::{EndsRequest, Outcome};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::{
    runtime::Handle,
    sync::{Notify, oneshot},
    time::{Instant, MissedTickBehavior, interval, timeout, timeout_at},
};

pub use self::{
    config::PoolConfig,
    lease::{Lease, OnSettled, Start},
    plan::PoolStats,
};
use self::{
    plan::{Action, Answer, Moment, Plan, Reason, Target, VmId, VmState, WaiterId},
    waiting::Waiting,
};
use crate::{
    memory,
    model::{FunctionId, Settings, VersionNumber},
    vm::{OpenSnapshot, VmError, VmInstance, Vms},
};

/// Shells that may turn out to be dead before a request gives up: as many as wait by default.
const DEAD_SHELLS_MAX: u32 = 64;
/// How often unused VMs and the number of shells are looked at.
const TICK: Duration = Duration::from_millis(250);
/// When a refused client may come again.
pub const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A version of a function that can be run.
#[derive(Debug)]
pub struct Deployed {
    /// Its function.
    pub function: FunctionId,
    /// Its number.
    pub version: VersionNumber,
    /// What its author says of it.
    pub settings: Settings,
    /// VMs of all versions of the function at most.
    pub reserved_concurrency: Option<u32>,
    /// What its VMs start from. VMs of one snapshot are never given to requests for another.
    pub snapshot: Arc<OpenSnapshot>,
}

/// Why a request gets no VM.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Refused {
    #[error("the function's VMs are all busy: try again in {} s", retry_after.as_secs())]
    Busy { retry_after: Duration },
    #[error("too many requests wait for the function: try again later, or raise its concurrency")]
    QueueFull,
    #[error("the host has no memory for another VM: try again later")]
    Memory,
    #[error("the host is shutting down: try another, or again later")]
    ShuttingDown,
    #[error(transparent)]
    Vm(#[from] VmError),
}

impl EndsRequest for Refused {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Busy { .. } => Outcome::Busy,
            Self::QueueFull => Outcome::QueueFull,
            Self::Memory => Outcome::NoMemory,
            Self::ShuttingDown => Outcome::ShuttingDown,
            Self::Vm(error) if error.is_squeeze() => Outcome::NoMemory,
            Self::Vm(_) => Outcome::NoVm,
        }
    }
}

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::Busy => Self::Busy {
                retry_after: RETRY_AFTER,
            },
            Reason::QueueFull => Self::QueueFull,
            Reason::Memory => Self::Memory,
            Reason::ShuttingDown => Self::ShuttingDown,
        }
    }
}

/// What a VM does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub enum InstanceState {
    /// It waits for a shell.
    Starting,
    /// It has a request.
    Busy,
    /// It is being made ready for the next request.
    Settling,
    /// It waits for a request.
    Idle,
}

/// A VM, as others see it.
#[derive(Clone, Debug)]
pub struct InstanceInfo {
    /// Its version.
    pub deployed: Arc<Deployed>,
    /// What it does.
    pub state: InstanceState,
    /// Since when.
    pub in_state: Duration,
    /// Id of its process; zero if it has none yet.
    pub process_id: u32,
    /// Requests it has had.
    pub requests: u64,
    /// Memory that it is charged, bytes.
    pub memory_charged_bytes: u64,
}

type Granted<V> = Result<Lease<V>, Refused>;

struct State<V: Vms> {
    plan: Plan<Arc<Deployed>>,
    /// What the plan calls idle.
    idle: HashMap<VmId, V::Instance>,
    /// What the plan calls ready, with the RAM each was prepared for.
    shells: Vec<(u64, V::Shell)>,
    waiters: HashMap<WaiterId, oneshot::Sender<Granted<V>>>,
}

/// An action with all that it needs, to be carried out without the lock.
enum Effect<V: Vms> {
    Restore(
        VmId,
        V::Shell,
        Arc<Deployed>,
        Option<oneshot::Sender<Granted<V>>>,
    ),
    Give(VmId, V::Instance, Start, oneshot::Sender<Granted<V>>),
    Refuse(oneshot::Sender<Granted<V>>, Reason),
    End(V::Instance),
    EndShell(V::Shell),
    MakeShell(u64),
}

/// VMs of all functions, and shells for more.
pub struct Pool<V: Vms> {
    this: Weak<Self>,
    vms: Arc<V>,
    config: PoolConfig,
    made: Instant,
    runtime: Handle,
    state: Mutex<State<V>>,
    quiet: Notify,
}

impl<V: Vms> std::fmt::Debug for Pool<V> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl<V: Vms> Pool<V> {
    /// A pool that begins to make shells. Needs a tokio runtime to be called in; its tasks end with it.
    pub fn new(vms: Arc<V>, config: PoolConfig) -> Arc<Self> {
        let pool = Arc::new_cyclic(|this| Self {
            this: Weak::clone(this),
            vms,
            made: Instant::now(),
            runtime: Handle::current(),
            state: Mutex::new(State {
                plan: Plan::new(config.clone()),
                idle: HashMap::new(),
                shells: vec![],
                waiters: HashMap::new(),
            }),
            config,
            quiet: Notify::new(),
        });
        let this = Arc::downgrade(&pool);
        pool.runtime.spawn(async move {
            let mut ticks = interval(TICK);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let Some(pool) = this.upgrade() else {
                    return;
                };
                pool.with(|state, now| state.plan.tick(now));
            }
        });
        pool
    }

    /// A VM for one request: an idle one, a new one, or the next that becomes free, in the order of arrival.
    /// Waits no longer than `queue_ms_max`. Dropping the future at any time leaves nothing behind.
    pub async fn acquire(&self, deployed: &Arc<Deployed>) -> Result<Lease<V>, Refused> {
        for _ in 0..DEAD_SHELLS_MAX {
            match self.acquire_once(deployed).await {
                // It died while it waited, with its spawner: nothing of the request was sent.
                Err(Refused::Vm(error)) if error.is_death() => {
                    tracing::warn!(function = %deployed.function, %error, "a shell was dead");
                }
                result => return result,
            }
        }
        self.acquire_once(deployed).await
    }

    async fn acquire_once(&self, deployed: &Arc<Deployed>) -> Result<Lease<V>, Refused> {
        enum Got<V: Vms> {
            Instance(VmId, V::Instance),
            Shell(VmId, V::Shell),
            Wait(WaiterId, oneshot::Receiver<Granted<V>>, bool),
        }
        let came = Instant::now();
        let got =
            self.with(
                |state, now| match state.plan.acquire(now, target(deployed), deployed) {
                    Answer::Idle(vm) => {
                        let instance = state.idle.remove(&vm).ok_or_else(|| lost("VM"))?;
                        Ok(Got::<V>::Instance(vm, instance))
                    }
                    Answer::Restore(vm) => {
                        let shell = state.take_shell(deployed).ok_or_else(|| lost("shell"))?;
                        Ok(Got::Shell(vm, shell))
                    }
                    answer @ (Answer::Wait(waiter) | Answer::WaitSettling(waiter)) => {
                        let (sender, receiver) = oneshot::channel();
                        state.waiters.insert(waiter, sender);
                        let is_patient = matches!(answer, Answer::WaitSettling(_));
                        Ok(Got::Wait(waiter, receiver, is_patient))
                    }
                    Answer::Refused(reason) => Err(Refused::from(reason)),
                },
            )?;
        match got {
            Got::Instance(vm, instance) => {
                let start = Start::of_idle(deployed);
                self.lease(vm, instance, start, Duration::ZERO)
            }
            Got::Shell(vm, shell) => self.restore(vm, shell, deployed),
            Got::Wait(waiter, granted, is_patient) => {
                let mut waiting = Waiting {
                    pool: self,
                    waiter,
                    granted,
                };
                let mut lease = match is_patient {
                    true => waiting.wait_settling().await?,
                    false => waiting.wait().await?,
                };
                lease.queue = came.elapsed().saturating_sub(lease.restore);
                Ok(lease)
            }
        }
    }

    /// Keeps so many VMs of a version ready, from now on until it is forgotten.
    pub fn keep_ready(&self, deployed: &Arc<Deployed>, vms: u32) {
        self.with(|state, now| state.plan.keep_ready(now, target(deployed), deployed, vms));
    }

    /// After a version, or with `None` all of a function, was replaced or deleted: its idle VMs end now, those with a
    /// request after it, and none is kept ready any more. Requests that wait are still served.
    pub fn forget(&self, function: &FunctionId, version: Option<VersionNumber>) {
        self.with(|state, now| state.plan.forget(now, function, version));
    }

    /// All VMs, in no order.
    pub fn instances(&self) -> Vec<InstanceInfo> {
        self.with(|state, now| {
            let info = |(_, vm, deployed): (VmId, &plan::Vm, &Arc<Deployed>)| InstanceInfo {
                deployed: Arc::clone(deployed),
                state: match vm.state {
                    VmState::Starting => InstanceState::Starting,
                    VmState::Busy => InstanceState::Busy,
                    VmState::Settling => InstanceState::Settling,
                    VmState::Idle { .. } => InstanceState::Idle,
                },
                in_state: now.saturating_sub(vm.since),
                process_id: vm.process_id,
                requests: vm.requests,
                memory_charged_bytes: vm.charge_bytes,
            };
            state.plan.vms().map(info).collect()
        })
    }

    /// Memory for all VMs and shells from now on. If they have more, idle VMs end.
    pub fn set_memory(&self, memory_bytes_max: u64) {
        self.with(|state, now| state.plan.set_memory(now, memory_bytes_max));
    }

    /// What makes its VMs.
    pub fn vms(&self) -> &V {
        &self.vms
    }

    /// Gauges and counters.
    pub fn stats(&self) -> PoolStats {
        self.with(|state, _| state.plan.stats())
    }

    /// Takes no more requests, serves those that are there until `deadline`, refuses what waits then, and ends all
    /// VMs that are not busy. Returns how many VMs are busy still: their requests were accepted, and are the
    /// caller's to wait for or to drop.
    pub async fn drain(&self, deadline: Instant) -> usize {
        self.with(|state, now| state.plan.close(now, false));
        loop {
            let mut quiet = std::pin::pin!(self.quiet.notified());
            quiet.as_mut().enable();
            let is_quiet = self.with(|state, _| state.plan.is_quiet());
            if is_quiet || timeout_at(deadline, quiet).await.is_err() {
                break;
            }
        }
        self.with(|state, now| state.plan.close(now, true));
        let stats = self.stats();
        stats.vms_busy + stats.vms_settling
    }

    /// One event for the plan, and what follows from it.
    fn with<T>(&self, event: impl FnOnce(&mut State<V>, Moment) -> T) -> T {
        let (result, effects) = {
            let mut state = self.state.lock();
            let result = event(&mut state, self.made.elapsed());
            let actions = state.plan.take_actions();
            let effects: Vec<_> = actions
                .into_iter()
                .filter_map(|action| state.prepare(action))
                .collect();
            if state.plan.is_closing() && state.plan.is_quiet() {
                self.quiet.notify_waiters();
            }
            (result, effects)
        };
        for effect in effects {
            self.carry_out(effect);
        }
        result
    }

    fn carry_out(&self, effect: Effect<V>) {
        match effect {
            // Whom the sender leads to may have gone: then the lease is dropped, and gives its VM back.
            Effect::Restore(vm, shell, deployed, Some(sender)) => {
                drop(sender.send(self.restore(vm, shell, &deployed)));
            }
            Effect::Restore(vm, shell, deployed, None) => {
                match self.vms.restore(shell, &deployed.snapshot) {
                    Ok(instance) => {
                        let process_id = instance.process_id();
                        self.with(|state, _| state.plan.restored(vm, process_id));
                        self.put_back(vm, instance, None);
                    }
                    Err(error) => {
                        tracing::warn!(function = %deployed.function, %error, "cannot keep a VM ready");
                        self.gone(vm);
                    }
                }
            }
            Effect::Give(vm, instance, start, sender) => {
                drop(sender.send(self.lease(vm, instance, start, Duration::ZERO)));
            }
            Effect::Refuse(sender, reason) => drop(sender.send(Err(reason.into()))),
            // To end a process takes a while, and nobody is to wait for it.
            Effect::End(instance) => drop(self.runtime.spawn(async move { drop(instance) })),
            Effect::EndShell(shell) => drop(self.runtime.spawn(async move { drop(shell) })),
            Effect::MakeShell(ram_bytes) => {
                if let Some(pool) = self.this.upgrade() {
                    self.runtime
                        .spawn(async move { pool.make_shell(ram_bytes).await });
                }
            }
        }
    }

    async fn make_shell(&self, ram_bytes: u64) {
        let vms = Arc::clone(&self.vms);
        let time_max = Duration::from_millis(self.config.shell_ms_max);
        // In a task of its own, so that the plan hears of a panic too.
        let making = self.runtime.spawn(async move {
            let shell = timeout(time_max, vms.shell(ram_bytes)).await;
            shell.unwrap_or(Err(VmError::Unresponsive(time_max)))
        });
        let made = making
            .await
            .unwrap_or_else(|error| Err(VmError::Host(error.to_string())));
        match made {
            Ok(shell) => self.with(|state, now| {
                state.shells.push((ram_bytes, shell));
                state.plan.shell_made(now);
            }),
            Err(error) => {
                tracing::warn!(%error, "cannot make a shell");
                let refused = self.with(|state, now| {
                    if error.is_squeeze() {
                        state.plan.tighten(now);
                    }
                    let waiter = state.plan.shell_failed(now)?;
                    state.waiters.remove(&waiter)
                });
                if let Some(sender) = refused {
                    drop(sender.send(Err(Refused::Vm(error))));
                }
            }
        }
    }

    fn restore(&self, vm: VmId, shell: V::Shell, deployed: &Arc<Deployed>) -> Granted<V> {
        let began = Instant::now();
        match self.vms.restore(shell, &deployed.snapshot) {
            Ok(instance) => {
                let process_id = instance.process_id();
                self.with(|state, _| state.plan.restored(vm, process_id));
                self.lease(vm, instance, Start::Cold, began.elapsed())
            }
            Err(error) => {
                self.gone(vm);
                Err(Refused::Vm(error))
            }
        }
    }

    fn lease(
        &self,
        vm: VmId,
        instance: V::Instance,
        start: Start,
        restore: Duration,
    ) -> Granted<V> {
        // Who calls this holds the pool.
        let pool = self.this.upgrade().ok_or(Refused::ShuttingDown)?;
        Ok(Lease::new(pool, vm, instance, start, restore))
    }

    /// A VM is ready for the next request.
    fn put_back(&self, vm: VmId, instance: V::Instance, resident_bytes: Option<u64>) {
        self.with(|state, now| {
            state.idle.insert(vm, instance);
            state.plan.settled(now, vm, resident_bytes);
        });
    }

    /// A VM was ended for want of memory, after it had written so much of its RAM.
    fn squeezed(&self, vm: VmId, written_bytes: u64) {
        let is_new = self.with(|state, now| state.plan.squeezed(now, vm, written_bytes));
        if is_new {
            tracing::warn!(
                limit = %memory::limit(),
                "memory ran out, and the kernel ended a VM: fewer run from now on, until it has been enough for a while. \
                 Give the agent and its VMs more, or lower `pool.memory_bytes_max`"
            );
        }
    }

    /// A VM is no more.
    fn gone(&self, vm: VmId) {
        self.with(|state, now| state.plan.gone(now, vm));
    }
}

impl<V: Vms> State<V> {
    /// A shell that was prepared for the version's RAM, or else the one that was made last.
    fn take_shell(&mut self, deployed: &Deployed) -> Option<V::Shell> {
        let ram_bytes = deployed.snapshot.snapshot.ram_bytes();
        let fitting = self
            .shells
            .iter()
            .rposition(|(prepared, _)| *prepared == ram_bytes);
        match fitting {
            Some(at) => Some(self.shells.swap_remove(at).1),
            None => self.shells.pop().map(|(_, shell)| shell),
        }
    }

    fn prepare(&mut self, action: Action) -> Option<Effect<V>> {
        Some(match action {
            Action::Restore { vm, waiter } => {
                let deployed = Arc::clone(self.plan.data(vm)?);
                let shell = self.take_shell(&deployed)?;
                let sender = waiter.and_then(|waiter| self.waiters.remove(&waiter));
                Effect::Restore(vm, shell, deployed, sender)
            }
            Action::Give { vm, waiter } => {
                let start = Start::of_idle(self.plan.data(vm)?);
                let instance = self.idle.remove(&vm)?;
                Effect::Give(vm, instance, start, self.waiters.remove(&waiter)?)
            }
            Action::Refuse { waiter, reason } => {
                Effect::Refuse(self.waiters.remove(&waiter)?, reason)
            }
            Action::End(vm) => Effect::End(self.idle.remove(&vm)?),
            Action::EndShell => Effect::EndShell(self.shells.pop()?.1),
            Action::MakeShell { ram_bytes } => Effect::MakeShell(ram_bytes),
        })
    }
}

fn target(deployed: &Deployed) -> Target<'_> {
    Target {
        function: &deployed.function,
        version: deployed.version,
        snapshot: deployed.snapshot.snapshot.digest(),
        concurrency_max: deployed.settings.max_concurrency,
        reserved: deployed.reserved_concurrency,
        working_set: deployed.snapshot.snapshot.working_set(),
        ram_bytes: deployed.snapshot.snapshot.ram_bytes(),
    }
}

/// The plan and what it stands for disagree: a mistake of ours, which costs one request.
fn lost(what: &str) -> Refused {
    Refused::Vm(VmError::Host(format!(
        "the pool has lost a {what}: please report this"
    )))
}

/// What a VM has written of its RAM, bytes.
fn resident_bytes(stats: &jiffy_control::Stats) -> u64 {
    stats.pages_touched.saturating_mul(PAGE_BYTES)
}

#[cfg(test)]
mod tests;

//! A VM for one request, and how it goes back.
//!
//! ```text
//! Unused ── invoke ──▶ Running ──▶ Responded ── drop ──▶ settle ──▶ the pool
//!   │                     │   └──▶ Failed ───── drop ──▶ settle, for its logs ──▶ ended
//!   │                     │          └── end_squeezed ──▶ settle, for what it had written ──▶ ended
//!   │ drop                │ drop: the client has gone
//!   ▼                     ▼
//! the pool              ended
//! ```

use std::{fmt, sync::Arc, time::Duration};

use jiffy_control::{Request, Response};
use tokio::time::timeout;

use super::{Deployed, Pool, VmId, Vms, resident_bytes};
use crate::{
    model::Isolation,
    vm::{Settled, VmError, VmInstance},
};

/// What is told how a VM settled after its request.
pub type OnSettled = Box<dyn FnOnce(Result<Settled, VmError>) + Send>;

/// What a request started in.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum Start {
    /// A VM that was restored for it.
    Cold,
    /// A VM that waited for it, as the snapshot has it.
    Fresh,
    /// A VM that has what earlier requests left.
    Warm,
}

impl Start {
    pub(super) fn of_idle(deployed: &Deployed) -> Self {
        match deployed.snapshot.isolation {
            Isolation::Fresh => Self::Fresh,
            Isolation::Reuse => Self::Warm,
        }
    }

    /// As it is written for clients.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Fresh => "fresh",
            Self::Warm => "warm",
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    Unused,
    Running,
    Responded,
    Failed,
}

/// A VM for one request. Dropping it at any time gives it back to the pool, or ends it if it is in the middle of the
/// request.
pub struct Lease<V: Vms> {
    /// What the request starts in.
    pub start: Start,
    /// How long it waited for the VM.
    pub queue: Duration,
    /// How long it took to hand the snapshot to the shell; zero unless the start is cold.
    pub restore: Duration,
    pool: Arc<Pool<V>>,
    vm: VmId,
    /// There until the lease is dropped.
    instance: Option<V::Instance>,
    used: Use,
    on_settled: Option<OnSettled>,
}

impl<V: Vms> fmt::Debug for Lease<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Lease");
        debug
            .field("vm", &self.vm)
            .field("start", &self.start)
            .field("used", &self.used);
        debug.finish_non_exhaustive()
    }
}

impl<V: Vms> Lease<V> {
    pub(super) fn new(
        pool: Arc<Pool<V>>,
        vm: VmId,
        instance: V::Instance,
        start: Start,
        restore: Duration,
    ) -> Self {
        Self {
            start,
            queue: Duration::ZERO,
            restore,
            pool,
            vm,
            instance: Some(instance),
            used: Use::Unused,
            on_settled: None,
        }
    }

    /// Sets what is called when the VM has settled after the request: once if [`Lease::invoke`] was called, even if
    /// its future or the lease was dropped, and never otherwise. It is called on a task, and is not to block.
    pub fn on_settled(&mut self, call: OnSettled) {
        self.on_settled = Some(call);
    }

    /// Sends the one request and waits for its response. If the future is dropped before, the VM ends.
    pub async fn invoke(&mut self, request: &Request) -> Result<Response, VmError> {
        let instance = self.instance.as_mut().filter(|_| self.used == Use::Unused);
        let Some(instance) = instance else {
            return Err(VmError::Host(
                "its lease was for another: acquire a VM for each".into(),
            ));
        };
        self.used = Use::Running;
        let response = instance.invoke(request).await;
        self.used = match response {
            Ok(_) => Use::Responded,
            Err(_) => Use::Failed,
        };
        response
    }

    /// After its VM was ended for want of memory: tells the pool what it had written by then, and returns when the pool knows that
    /// fewer VMs fit. What it took for the request is to be paid for.
    pub async fn end_squeezed(&mut self) -> Settled {
        let Some(mut instance) = self.instance.take() else {
            return Settled::default();
        };
        let guard = GoneUnlessDone {
            pool: Arc::clone(&self.pool),
            vm: self.vm,
            is_done: false,
        };
        let time_max = Duration::from_millis(self.pool.config.settle_ms_max);
        let settled = settled(&mut instance, time_max).await.ok();
        guard.squeezed(settled.as_ref());
        settled.unwrap_or_default()
    }

    /// Gives the VM back. What is left to do happens in the background.
    pub fn finish(self) {}
}

impl<V: Vms> Drop for Lease<V> {
    fn drop(&mut self) {
        let Some(instance) = self.instance.take() else {
            return;
        };
        let (pool, vm) = (Arc::clone(&self.pool), self.vm);
        let on_settled = self.on_settled.take();
        match self.used {
            Use::Unused => pool.put_back(vm, instance, None),
            Use::Running => abandon(&pool, vm, instance, on_settled),
            Use::Responded => take_back(pool, vm, instance, true, on_settled),
            Use::Failed => take_back(pool, vm, instance, false, on_settled),
        }
    }
}

/// Ends a VM in the middle of its request.
fn abandon<V: Vms>(
    pool: &Pool<V>,
    vm: VmId,
    mut instance: V::Instance,
    on_settled: Option<OnSettled>,
) {
    pool.gone(vm);
    instance.kill();
    let time_max = Duration::from_millis(pool.config.settle_ms_max);
    pool.runtime.spawn(async move {
        // What it took until now is to be paid for.
        let settled = settled(&mut instance, time_max).await;
        drop(instance);
        if let Some(on_settled) = on_settled {
            on_settled(settled);
        }
    });
}

/// Waits until a VM is done with its request, and gives it to the pool if it can be asked again.
fn take_back<V: Vms>(
    pool: Arc<Pool<V>>,
    vm: VmId,
    mut instance: V::Instance,
    has_responded: bool,
    on_settled: Option<OnSettled>,
) {
    pool.with(|state, now| state.plan.settling(now, vm));
    let (runtime, time_max) = (
        pool.runtime.clone(),
        Duration::from_millis(pool.config.settle_ms_max),
    );
    let guard = GoneUnlessDone {
        pool,
        vm,
        is_done: false,
    };
    runtime.spawn(async move {
        let settled = settled(&mut instance, time_max).await;
        match &settled {
            Ok(settled) if has_responded && settled.is_alive() => guard.alive(instance, settled),
            Ok(settled) if settled.gone.as_ref().is_some_and(VmError::is_squeeze) => {
                drop(instance);
                guard.squeezed(Some(settled));
            }
            _ => {
                drop(instance);
                drop(guard);
            }
        }
        if let Some(on_settled) = on_settled {
            on_settled(settled);
        }
    });
}

/// How `instance` settled after its request.
async fn settled(instance: &mut impl VmInstance, time_max: Duration) -> Result<Settled, VmError> {
    let settled = timeout(time_max, instance.settle()).await;
    settled.unwrap_or(Err(VmError::Unresponsive(time_max)))
}

/// Tells the pool that a VM is no more, also if its task is dropped or panics.
struct GoneUnlessDone<V: Vms> {
    pool: Arc<Pool<V>>,
    vm: VmId,
    is_done: bool,
}

impl<V: Vms> GoneUnlessDone<V> {
    /// It is there for another request.
    fn alive(mut self, instance: V::Instance, settled: &Settled) {
        self.is_done = true;
        let resident_bytes = resident_bytes(&settled.stats);
        self.pool.put_back(self.vm, instance, Some(resident_bytes));
    }

    /// It was ended for want of memory.
    fn squeezed(mut self, settled: Option<&Settled>) {
        self.is_done = true;
        let written_bytes = settled.map_or(0, |settled| resident_bytes(&settled.stats));
        self.pool.squeezed(self.vm, written_bytes);
    }
}

impl<V: Vms> Drop for GoneUnlessDone<V> {
    fn drop(&mut self) {
        if !self.is_done {
            self.pool.gone(self.vm);
        }
    }
}

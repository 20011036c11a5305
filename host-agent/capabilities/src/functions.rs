//! Other functions of the same owner: `jiffy::functions`. A function may invoke those that its `jiffy.toml` names.
//!
//! Whoever runs functions answers, as it answers any caller; it is known only when it is there, and by then versions may
//! be prepared.

use std::{
    error::Error,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, OnceLock, Weak},
};

use jiffy_abi::call::{CallErrorKind, OPERATION_INVOKE, SERVICE_FUNCTIONS, Sent};
use jiffy_client::{CallContext, CallFuture};
use jiffy_control::{Call, Reply};
use jiffy_model::{FunctionId, FunctionName, TenantName};
use tokio::{sync::Semaphore, task_local};

use crate::{
    Capability, Config, Operations, Prepared, Version, net::Net, reply, unknown_operation,
};

/// Functions of which each was invoked by the one before it, at most: a request of a client is one.
pub const CHAIN_LEN_MAX: u32 = 8;
/// Functions that were invoked by others and have not answered yet, at most: each has a VM while another waits in its own. Of one
/// version's calls, and of all functions'.
pub const INVOKED_PER_VERSION_MAX: usize = 64;
/// See [`INVOKED_PER_VERSION_MAX`].
pub const INVOKED_MAX: usize = 256;

task_local! {
    /// Functions that wait for the one that runs in this task, with it: calls are made in the task of their request.
    static CHAIN_LEN: u32;
}

/// An event for a function.
#[derive(Clone, Debug)]
pub struct Event {
    /// The function.
    pub function: FunctionId,
    /// The event.
    pub body: Vec<u8>,
    /// The caller's W3C trace context.
    pub traceparent: Option<String>,
}

/// Why a function has not answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Whether it has begun.
    pub sent: Sent,
    /// A sentence.
    pub text: String,
}

/// What it returned, when it has.
pub type Answering = Pin<Box<dyn Future<Output = Result<Vec<u8>, Unanswered>> + Send>>;

/// Runs functions.
pub trait Invoke: Send + Sync {
    /// Has a function answer. If the future is dropped, its request is ended.
    fn answer_call(self: Arc<Self>, event: Event) -> Answering;
}

/// What runs functions, once it is there.
#[derive(Clone, Default)]
pub struct Invoker(Arc<OnceLock<Weak<dyn Invoke>>>);

impl fmt::Debug for Invoker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Invoker").finish_non_exhaustive()
    }
}

impl Invoker {
    /// From now on `invoke` answers, unless another does already.
    pub fn set(&self, invoke: Weak<dyn Invoke>) {
        let _ = self.0.set(invoke);
    }
}

#[derive(Debug)]
pub(crate) struct Functions {
    invoker: Invoker,
    places: Arc<Semaphore>,
}

/// For one version.
#[derive(Debug)]
pub(crate) struct FunctionsOf {
    invoker: Invoker,
    own_places: Arc<Semaphore>,
    places: Arc<Semaphore>,
    tenant: TenantName,
    allowed: Vec<FunctionName>,
}

impl Capability for Functions {
    const SERVICE: u16 = SERVICE_FUNCTIONS;
    const NAME: &'static str = "functions";
    const OPERATIONS: Operations = &[(OPERATION_INVOKE, "invoke")];
    type Prepared = FunctionsOf;

    fn configure(config: &Config, _: &Net) -> Result<Self, Box<dyn Error + Send + Sync>> {
        Ok(Self {
            invoker: config.invoker.clone(),
            places: Arc::new(Semaphore::new(INVOKED_MAX)),
        })
    }

    fn prepare(&self, version: &Version<'_>) -> FunctionsOf {
        FunctionsOf {
            invoker: self.invoker.clone(),
            own_places: Arc::new(Semaphore::new(INVOKED_PER_VERSION_MAX)),
            places: Arc::clone(&self.places),
            tenant: version.function.tenant(),
            allowed: version.grants.invoke.allow.clone(),
        }
    }
}

impl Prepared for FunctionsOf {
    fn call(&self, call: Call, context: &CallContext<'_>) -> CallFuture {
        let refused = |kind, message: &str| reply(Reply::error(kind, Sent::No, message));
        if call.operation != OPERATION_INVOKE {
            return reply(unknown_operation(Functions::NAME, &call));
        }
        let name = &call.binding;
        let Some(name) = self.allowed.iter().find(|other| other.as_ref() == name) else {
            let message = format!(
                "the function may not invoke {name:?}: it has to be in [invoke] allow of jiffy.toml"
            );
            return refused(CallErrorKind::Denied, &message);
        };
        let chain_len = CHAIN_LEN.try_with(|len| *len).unwrap_or(1);
        if chain_len >= CHAIN_LEN_MAX {
            let message =
                format!("too many functions wait for one another: must be at most {CHAIN_LEN_MAX}");
            return refused(CallErrorKind::Limit, &message);
        }
        let place = |places: &Arc<Semaphore>| Arc::clone(places).try_acquire_owned();
        let (Ok(own_place), Ok(all_place)) = (place(&self.own_places), place(&self.places)) else {
            let message = format!(
                "too many functions have been invoked by others and not answered: must be at most {INVOKED_PER_VERSION_MAX} by one and \
                 {INVOKED_MAX} by all; try again later"
            );
            return refused(CallErrorKind::Limit, &message);
        };
        let Some(invoke) = self.invoker.0.get().and_then(Weak::upgrade) else {
            let message =
                "nobody runs other functions here: deploy them to an agent, and this one too";
            return refused(CallErrorKind::Failed, message);
        };
        let event = Event {
            function: FunctionId::new(&self.tenant, name),
            body: call.body,
            traceparent: context.traceparent.map(ToOwned::to_owned),
        };
        let answering = CHAIN_LEN.scope(chain_len + 1, invoke.answer_call(event));
        Box::pin(async move {
            let _places = (own_place, all_place);
            match answering.await {
                Ok(body) => Reply::ok(body),
                Err(why) => Reply::error(CallErrorKind::Failed, why.sent, &why.text),
            }
        })
    }
}

#[cfg(test)]
mod tests;

//! What functions may call for, the same for the agent and for `jiffy run`.
//!
//! ```text
//! Capabilities::new ── prepare ──▶ PreparedVersion ── call ──▶ a future reply
//! once for a process    once for a version            once for a call; dropped when its request ends
//! ```
//!
//! A capability is a module that has one type for each of these; [`Capabilities::new`] lists them. What nobody has is an
//! error that the guest gets and can tell from others. Not here: how calls come and replies go (`jiffy-client`), their
//! limits (`jiffy-abi`, `jiffy-control`).
#![forbid(unsafe_code)]

mod functions;
mod host;
mod http;
mod kv;
mod net;
mod queue;
mod reads;
mod redis;
mod secrets;
mod sql;

use std::{borrow::Cow, collections::BTreeMap, error::Error, fmt, future::ready, sync::Arc};

use jiffy_abi::call::{CallErrorKind, Sent};
use jiffy_client::{CallContext, CallFuture, Calls, NAME_BYTES_MAX};
use jiffy_control::{Call, Reply};
use jiffy_kv::Kv;
use jiffy_model::{FunctionId, Grants};
use jiffy_queue::Queues;
use jiffy_secrets::Secrets;

pub use self::functions::{
    Answering, CHAIN_LEN_MAX, Event, INVOKED_MAX, INVOKED_PER_VERSION_MAX, Invoke, Invoker,
    Unanswered,
};
pub use self::net::{Egress, ORIGINS_MAX, Outbound, Private};
use self::net::{Net, Traffic};

/// What capabilities are configured with: what is the same for all functions of a process.
#[derive(Clone, Debug)]
pub struct Config {
    /// The stores of keys and values.
    pub kv: Arc<Kv>,
    /// The queues.
    pub queues: Arc<dyn Queues>,
    /// The secrets.
    pub secrets: Arc<Secrets>,
    /// Where functions may connect to, whatever their authors say.
    pub egress: Egress,
    /// What runs other functions.
    pub invoker: Invoker,
    /// Release of the program that runs the functions.
    pub release: String,
}

/// What a version is, to those who prepare for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version<'a> {
    /// Its function, under which everything of it is kept.
    pub function: &'a FunctionId,
    /// Name of its function as its author gave it, which is the image's word.
    pub function_name: &'a str,
    /// What it may ask for.
    pub grants: &'a Grants,
}

/// Why functions cannot be given what they may call for.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the capability {name}")]
pub struct CapabilityError {
    /// Which one.
    pub name: &'static str,
    /// What is in its way.
    #[source]
    pub source: Box<dyn Error + Send + Sync>,
}

/// Numbers and names of a service's operations.
type Operations = &'static [(u16, &'static str)];

/// One capability, configured.
trait Capability: fmt::Debug + Send + Sync + 'static {
    /// Number of its service in calls.
    const SERVICE: u16;
    /// Name of its service in messages.
    const NAME: &'static str;
    /// Its operations in calls, and their names.
    const OPERATIONS: Operations;
    /// The same for one version.
    type Prepared: Prepared;

    /// Configures it, which may read and open files.
    fn configure(config: &Config, net: &Net) -> Result<Self, Box<dyn Error + Send + Sync>>
    where
        Self: Sized;

    /// Prepares it for the calls of a version.
    fn prepare(&self, version: &Version<'_>) -> Self::Prepared;
}

/// A capability for one version.
trait Prepared: fmt::Debug + Send + Sync + 'static {
    /// What a call is about, for the log of its request. It may be the guest's word.
    fn about<'a>(&self, call: &'a Call) -> Cow<'a, str> {
        (&*call.binding).into()
    }

    /// Makes a call. What it borrows ends before the future does, which is dropped when the request ends.
    fn call(&self, call: Call, context: &CallContext<'_>) -> CallFuture;
}

/// As [`Capability`], of any type.
trait Prepares: fmt::Debug + Send + Sync {
    fn prepare(&self, version: &Version<'_>) -> Box<dyn Prepared>;
}

impl<C: Capability> Prepares for C {
    fn prepare(&self, version: &Version<'_>) -> Box<dyn Prepared> {
        Box::new(Capability::prepare(self, version))
    }
}

/// A capability and what it is called, configured or prepared.
#[derive(Debug)]
struct Service<C: ?Sized> {
    name: &'static str,
    operations: Operations,
    capability: Box<C>,
}

/// All capabilities of a process.
#[derive(Debug)]
pub struct Capabilities {
    by_service: BTreeMap<u16, Service<dyn Prepares>>,
    traffic: Arc<Traffic>,
}

impl Capabilities {
    /// Configures all there are.
    pub fn new(config: &Config) -> Result<Self, CapabilityError> {
        let net = Net::new(config.egress.clone());
        let net = net.map_err(|source| CapabilityError {
            name: "network",
            source: source.into(),
        })?;
        let mut all = Self {
            by_service: BTreeMap::new(),
            traffic: Arc::clone(&net.traffic),
        };
        all.add::<host::Host>(config, &net)?;
        all.add::<kv::Stores>(config, &net)?;
        all.add::<queue::AllQueues>(config, &net)?;
        all.add::<secrets::AllSecrets>(config, &net)?;
        all.add::<http::Http>(config, &net)?;
        all.add::<redis::Redis>(config, &net)?;
        all.add::<functions::Functions>(config, &net)?;
        all.add::<sql::Sql>(config, &net)?;
        Ok(all)
    }

    fn add<C: Capability>(&mut self, config: &Config, net: &Net) -> Result<(), CapabilityError> {
        let name = C::NAME;
        let configured = C::configure(config, net);
        let configured = configured.map_err(|source| CapabilityError { name, source })?;
        let service = Service::<dyn Prepares> {
            name,
            operations: C::OPERATIONS,
            capability: Box::new(configured),
        };
        self.by_service.insert(C::SERVICE, service);
        Ok(())
    }

    /// What functions have asked of others so far, by origin.
    pub fn outbound(&self) -> Vec<Outbound> {
        self.traffic.all()
    }

    /// Prepares all of them for a version.
    pub fn prepare(&self, version: &Version<'_>) -> Arc<PreparedVersion> {
        let prepared = self.by_service.iter().map(|(number, service)| {
            let prepared = Service {
                name: service.name,
                operations: service.operations,
                capability: service.capability.prepare(version),
            };
            (*number, prepared)
        });
        Arc::new(PreparedVersion(prepared.collect()))
    }
}

/// What the calls of one version come to.
#[derive(Debug)]
pub struct PreparedVersion(BTreeMap<u16, Service<dyn Prepared>>);

impl Calls for PreparedVersion {
    fn name(&self, call: &Call) -> String {
        let Some(service) = self.0.get(&call.service) else {
            return format!("unknown {}.{}", call.service, call.operation);
        };
        let mut operations = service.operations.iter();
        let operation = operations.find(|(number, _)| *number == call.operation);
        let operation = operation.map_or("unknown", |(_, name)| name);
        let about = service.capability.about(call);
        let space = if about.is_empty() { "" } else { " " };
        format!(
            "{}.{operation}{space}{about:.NAME_BYTES_MAX$}",
            service.name
        )
    }

    fn call(&self, call: Call, context: &CallContext<'_>) -> CallFuture {
        match self.0.get(&call.service) {
            Some(service) => service.capability.call(call, context),
            None => {
                let names: Vec<_> = self
                    .0
                    .iter()
                    .map(|(id, service)| format!("{id} ({})", service.name))
                    .collect();
                let message = format!(
                    "unknown service {}: must be one of {}",
                    call.service,
                    names.join(", ")
                );
                reply(Reply::error(CallErrorKind::Unknown, Sent::No, &message))
            }
        }
    }
}

/// Why a call has no result.
#[derive(Debug)]
pub(crate) struct Failure {
    kind: CallErrorKind,
    sent: Sent,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: CallErrorKind, sent: Sent, message: String) -> Self {
        Self {
            kind,
            sent,
            message,
        }
    }

    /// Nothing was done, since whoever was to do it ends.
    pub(crate) fn ended() -> Self {
        Self::new(CallErrorKind::Failed, Sent::No, "the host ends".into())
    }

    /// The same for the guest.
    pub(crate) fn into_reply(self) -> Reply {
        Reply::error(self.kind, self.sent, &self.message)
    }
}

/// A reply that is there at once.
fn reply(reply: Reply) -> CallFuture {
    Box::pin(ready(reply))
}

/// The reply to a call for an operation that the service does not have.
fn unknown_operation(name: &str, call: &Call) -> Reply {
    let message = format!("unknown operation {} of service {name}", call.operation);
    Reply::error(CallErrorKind::Unknown, Sent::No, &message)
}

#[cfg(test)]
mod tests;

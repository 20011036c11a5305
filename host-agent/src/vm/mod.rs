//! What runs functions: the boundary between the agent and its virtual machines.
//!
//! ```text
//! Vms::build ── image ─▶ snapshot                              once per deploy
//! Vms::shell ─▶ Shell ── Vms::restore ─▶ VmInstance ── invoke ── settle ── invoke ── settle …
//! ```
//!
//! Not here: when to start or stop one (`pool`).

#[cfg(test)]
pub(crate) mod fake;
mod held_logs;
mod jailed;
mod sockets;

pub use held_logs::HELD_LOG_BYTES_MAX;
pub use jailed::{JailedInstance, JailedOptions, JailedShell, JailedVms};

use std::{
    fs::File,
    future::Future,
    path::Path,
    sync::{Arc, OnceLock},
};

use jiffy_capabilities::{Outbound, PreparedVersion};
pub use jiffy_client::VmError;
use jiffy_control::{Called, LogLoss, LogRecord, Request, Response, Stats, StreamFault};
use jiffy_snapshots::{Digest, Snapshot};

use crate::model::{FunctionId, Grants, Isolation, Settings};

/// A snapshot that is open: its state read and verified, its RAM file ready to be mapped.
#[derive(Debug)]
pub struct OpenSnapshot {
    /// What was read.
    pub snapshot: Snapshot,
    /// The function whose version it is of.
    pub function: FunctionId,
    /// How a restored VM is to run.
    pub isolation: Isolation,
    /// What a request may take, milliseconds.
    pub timeout_ms: u64,
    /// What its function may ask for.
    pub grants: Grants,
    /// What the version's functions may call for; prepared when a VM is first made of it.
    pub calls: OnceLock<Arc<PreparedVersion>>,
}

/// A snapshot that was built and is durable in the store.
#[derive(Debug)]
pub struct Built {
    /// Its identity.
    pub digest: Digest,
    /// What `init` logged.
    pub logs: Vec<LogRecord>,
}

/// What a request took, and what it logged.
#[derive(Debug, Default)]
pub struct Settled {
    /// All counters of the VM, this request's among them.
    pub stats: Stats,
    /// Log records, oldest first.
    pub logs: Vec<LogRecord>,
    /// Log that the agent could not hold; what the VMM dropped is in `stats`.
    pub log_lost: LogLoss,
    /// What its calls came to.
    pub called: Called,
    /// A line for each of them that is kept, for its log.
    pub calls: Vec<LogRecord>,
    /// Pages written until the first response, if the snapshot had no working set.
    pub working_set: Option<Vec<(u64, u64)>>,
    /// What the guest did after its response that no guest may: the VM has ended for it.
    pub fault: Option<StreamFault>,
    /// Why it is not there for another request. What its process took is in `stats` all the same.
    pub gone: Option<VmError>,
}

impl Settled {
    /// Whether the VM can be given another request.
    pub fn is_alive(&self) -> bool {
        self.fault.is_none() && self.gone.is_none()
    }
}

/// Makes virtual machines. One implementation drives `jiffy-vmm`; tests have one in memory.
pub trait Vms: Send + Sync + 'static {
    /// A VM that waits to be given a function.
    type Shell: Send + 'static;
    /// A VM that has one.
    type Instance: VmInstance;

    /// Makes a shell, prepared for `ram_bytes` of RAM; one of another size can be restored into it too, but slower.
    fn shell(&self, ram_bytes: u64) -> impl Future<Output = Result<Self::Shell, VmError>> + Send;

    /// Gives a shell a snapshot. Hands over and does not wait: what is wrong, the first request says.
    /// [`VmError::Died`]: the shell was gone already, and another one may do.
    fn restore(
        &self,
        shell: Self::Shell,
        snapshot: &Arc<OpenSnapshot>,
    ) -> Result<Self::Instance, VmError>;

    /// Boots `image`, runs its `init` and stores a snapshot. `logs` are returned with errors too.
    fn build(
        &self,
        image: File,
        settings: &Settings,
        store: &Path,
    ) -> impl Future<Output = (Result<Digest, VmError>, Vec<LogRecord>)> + Send;

    /// What their functions have asked of others so far, by origin.
    fn outbound(&self) -> Vec<Outbound> {
        vec![]
    }
}

/// A VM with a function in it: one request at a time. Dropping it kills its process.
pub trait VmInstance: Send + 'static {
    /// Id of the VM's process on the host.
    fn process_id(&self) -> u32;

    /// Sends a request and waits for its response. After an error the instance is of no more use but for
    /// [`VmInstance::settle`], which then gives what was logged.
    fn invoke(
        &mut self,
        request: &Request,
    ) -> impl Future<Output = Result<Response, VmError>> + Send;

    /// Ends its process; [`VmInstance::settle`] then says what it took.
    fn kill(&mut self);

    /// Waits until the VM can be given the next request, pristine again if it is to be.
    fn settle(&mut self) -> impl Future<Output = Result<Settled, VmError>> + Send;
}

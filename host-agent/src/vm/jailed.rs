//! Virtual machines in jailed processes of `jiffy-vmm`.
//!
//! ```text
//! spawner (one process) ── forks ──▶ shell ── Restore ──▶ instance: requests on a stream,
//!                                                         events on a control socket
//! ```
//!
//! Everything a VM says is hostile: lengths are checked before anything is kept, every wait has an
//! end, and what breaks the protocol costs the VM its life and nobody else anything.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use jiffy_abi::log_ring::Level;
use jiffy_capabilities::{Capabilities, Config, Egress, Invoker, Outbound, Version};
use jiffy_client::{
    CallSpan, Calls, GRACE, Shell, SpawnError, Spawner, SpawnerOptions, Vm, VmError, page_reader,
};
use jiffy_control::{LogRecord, Missing, Request, Response, environment_page};
use jiffy_kv::Kv;
use jiffy_queue::Queues;
use jiffy_secrets::Secrets;
use jiffy_snapshots::{Digest, Store};
use parking_lot::Mutex;
use tokio::task::spawn_blocking;

use super::{
    OpenSnapshot, Settled, VmInstance, Vms,
    held_logs::{HeldLogs, LogBudget},
    sockets::Watched,
};
use crate::model::Settings;

/// What a shell may take to be there.
const SHELL_TIMEOUT: Duration = Duration::from_secs(10);
/// Layers of a jail that may be missing; there are fewer.
const MISSING_MAX: usize = 16;

/// How VMs are made on this host.
#[derive(Clone, Debug)]
pub struct JailedOptions {
    /// The `jiffy-vmm` program.
    pub vmm: PathBuf,
    /// RAM at which a VM may use one whole CPU, bytes; `None`: the VMM's default.
    pub cpu_full_ram_bytes: Option<u64>,
    /// The stores of keys and values.
    pub kv: Arc<Kv>,
    /// The queues.
    pub queues: Arc<dyn Queues>,
    /// The secrets.
    pub secrets: Arc<Secrets>,
    /// What runs other functions.
    pub invoker: Invoker,
    /// Go on where control groups, or some of their controllers, are missing.
    pub allow_missing_cgroups: bool,
    /// Where functions may connect to.
    pub egress: Egress,
}

/// Makes jailed VMs.
#[derive(Debug)]
pub struct JailedVms {
    options: JailedOptions,
    spawner: Mutex<Arc<Spawner>>,
    log_budget: Arc<LogBudget>,
    capabilities: Capabilities,
}

/// A shell that waits.
#[derive(Debug)]
pub struct JailedShell {
    vm: Vm<Watched, HeldLogs>,
    ram_bytes: u64,
    /// What made it, which gives it another size.
    spawner: Arc<Spawner>,
}

/// A VM with a function.
#[derive(Debug)]
pub struct JailedInstance {
    vm: Vm<Watched, HeldLogs>,
    /// The last request got no response.
    is_broken: bool,
}

impl JailedVms {
    /// Starts a spawner.
    pub fn new(options: JailedOptions) -> Result<Self, VmError> {
        let spawner = start(&options)?;
        let capabilities = Capabilities::new(&Config {
            kv: Arc::clone(&options.kv),
            queues: Arc::clone(&options.queues),
            secrets: Arc::clone(&options.secrets),
            egress: options.egress.clone(),
            invoker: options.invoker.clone(),
            release: env!("CARGO_PKG_VERSION").into(),
        });
        Ok(Self {
            options,
            spawner: Mutex::new(Arc::new(spawner)),
            log_budget: Arc::default(),
            capabilities: capabilities.map_err(VmError::host)?,
        })
    }

    /// What protects the host less than it could, as far as it is known before the first shell.
    pub fn missing(&self) -> Vec<Missing> {
        self.spawner().missing().to_vec()
    }

    fn spawner(&self) -> Arc<Spawner> {
        let spawner = self.spawner.lock();
        Arc::clone(&spawner)
    }

    /// Another spawner in the place of one that is gone, unless somebody else was quicker.
    fn restart(&self, gone: &Arc<Spawner>) -> Result<Arc<Spawner>, VmError> {
        let mut spawner = self.spawner.lock();
        if Arc::ptr_eq(&spawner, gone) {
            tracing::error!("the spawner is gone, and its VMs with it: starting another");
            *spawner = Arc::new(start(&self.options)?);
        }
        Ok(Arc::clone(&spawner))
    }

    async fn make(&self, ram_bytes: u64) -> Result<(Arc<Spawner>, Shell), VmError> {
        let spawner = self.spawner();
        match ask(&spawner, ram_bytes).await? {
            Err(SpawnError::Ended | SpawnError::Control(_)) => {
                let spawner = self.restart(&spawner)?;
                let shell = ask(&spawner, ram_bytes).await?.map_err(VmError::host)?;
                Ok((spawner, shell))
            }
            shell => Ok((spawner, shell.map_err(VmError::host)?)),
        }
    }
}

/// Asks for a shell, which blocks for a millisecond or so.
async fn ask(spawner: &Arc<Spawner>, ram_bytes: u64) -> Result<Result<Shell, SpawnError>, VmError> {
    let spawner = Arc::clone(spawner);
    spawn_blocking(move || spawner.shell(ram_bytes))
        .await
        .map_err(VmError::host)
}

fn start(options: &JailedOptions) -> Result<Spawner, VmError> {
    let spawner_options = SpawnerOptions {
        cpu_full_ram_bytes: options.cpu_full_ram_bytes,
        ..SpawnerOptions::default()
    };
    let spawner = Spawner::start(&options.vmm, &spawner_options).map_err(VmError::host)?;
    if let (false, Some(missing)) = (options.allow_missing_cgroups, spawner.missing().first()) {
        return Err(VmError::Host(format!(
            "{} is missing ({}): add it to the host, or allow that in the configuration",
            missing.layer, missing.reason
        )));
    }
    Ok(spawner)
}

impl Vms for JailedVms {
    type Shell = JailedShell;
    type Instance = JailedInstance;

    async fn shell(&self, ram_bytes: u64) -> Result<JailedShell, VmError> {
        let (spawner, shell) = self.make(ram_bytes).await?;
        let mut vm = Vm::new(shell, HeldLogs::new(&self.log_budget)).map_err(VmError::host)?;
        vm.waiting(SHELL_TIMEOUT).await?;
        for Missing { layer, reason } in vm.missing().iter().take(MISSING_MAX) {
            tracing::debug!(layer, reason, "a VM's jail lacks a layer");
        }
        Ok(JailedShell {
            vm,
            ram_bytes,
            spawner,
        })
    }

    fn restore(
        &self,
        shell: JailedShell,
        snapshot: &Arc<OpenSnapshot>,
    ) -> Result<JailedInstance, VmError> {
        let isolation = snapshot.isolation;
        let limit = Duration::from_millis(snapshot.timeout_ms);
        let JailedShell {
            mut vm,
            ram_bytes,
            spawner,
        } = shell;
        let calls = snapshot.calls.get_or_init(|| {
            let function_name = &snapshot.snapshot.state().image.function_name;
            self.capabilities.prepare(&Version {
                function: &snapshot.function,
                function_name,
                grants: &snapshot.grants,
            })
        });
        vm.serve_calls(Arc::clone(calls) as Arc<dyn Calls>);
        let snapshot = &snapshot.snapshot;
        if snapshot.ram_bytes() != ram_bytes {
            let resized = spawner.resize(vm.process(), snapshot.ram_bytes());
            resized.map_err(|error| match error {
                SpawnError::Ended | SpawnError::Control(_) => VmError::Gone,
                error => VmError::host(error),
            })?;
        }
        let told = vm.restore(snapshot, isolation, Some(limit));
        // Its spawner may have gone while it waited, and it with that: another one will do.
        if !told.map_err(VmError::host)? {
            return Err(VmError::Gone);
        }
        let is_broken = false;
        Ok(JailedInstance { vm, is_broken })
    }

    fn outbound(&self) -> Vec<Outbound> {
        self.capabilities.outbound()
    }

    async fn build(
        &self,
        image: File,
        settings: &Settings,
        store: &Path,
    ) -> (Result<Digest, VmError>, Vec<LogRecord>) {
        let mut shell = match self.shell(settings.memory_bytes).await {
            Ok(shell) => shell,
            Err(error) => return (Err(error), vec![]),
        };
        let built = build(&mut shell.vm, image, settings, store).await;
        (built, shell.vm.logs().release().0)
    }
}

/// A line for each call, and one for those that are not kept.
fn call_lines(spans: &[CallSpan], calls: u32) -> Vec<LogRecord> {
    let kept = u32::try_from(spans.len()).unwrap_or(u32::MAX);
    let others = calls.saturating_sub(kept);
    let others = (others > 0 && kept > 0)
        .then(|| LogRecord::of_platform(Level::Debug, format!("CALL and {others} more")));
    let lines = spans.iter().map(CallSpan::log_record);
    lines.chain(others).collect()
}

async fn build(
    vm: &mut Vm<Watched, HeldLogs>,
    image: File,
    settings: &Settings,
    store: &Path,
) -> Result<Digest, VmError> {
    let ram_bytes = settings.memory_bytes;
    let limit = Duration::from_millis(settings.timeout_ms);
    let digest =
        spawn_blocking(move || Digest::of_file(&image).map(|digest| (image, digest))).await;
    let (image, digest) = digest.map_err(VmError::host)?.map_err(VmError::host)?;
    let environment = environment_page(&settings.environment).map_err(VmError::host)?;
    let boot = vm.boot(&image, ram_bytes, Some(limit), environment);
    boot.map_err(VmError::host)?;
    vm.ready().await?;
    let mut captured = vm.capture(ram_bytes).await?;
    // The VM's word is not taken for what it was made of, nor is it there to change its RAM now.
    captured.state.image.digest = digest.0;
    vm.process().kill();
    let store = store.to_owned();
    let put =
        move || Store::new(store)?.put(&captured.state, ram_bytes, page_reader(&captured.ram));
    let put = spawn_blocking(put).await.map_err(VmError::host)?;
    put.map_err(VmError::host)
}

impl VmInstance for JailedInstance {
    fn process_id(&self) -> u32 {
        self.vm.process().id()
    }

    async fn invoke(&mut self, request: &Request) -> Result<Response, VmError> {
        // What is said only once is said of the request it belongs to.
        self.is_broken = true;
        let response = self.vm.invoke(request).await;
        match response {
            Ok(_) => self.is_broken = false,
            Err(VmError::Request(_)) => self.is_broken = false, // Nothing of it was sent.
            Err(
                VmError::Unresponsive(_)
                | VmError::Malformed(_)
                | VmError::OtherRelease(_)
                | VmError::Stream(_),
            ) => self.vm.process().kill(),
            Err(_) => {}
        }
        response
    }

    fn kill(&mut self) {
        self.is_broken = true;
        self.vm.process().kill();
    }

    async fn settle(&mut self) -> Result<Settled, VmError> {
        let (stats, gone) = match self.vm.done(Some(GRACE)).await {
            Ok(stats) => (stats, None),
            Err(error) => (self.vm.used().await, Some(error)),
        };
        let (logs, log_lost) = self.vm.logs().release();
        let mut settled = Settled {
            stats,
            logs,
            log_lost,
            called: self.vm.called(),
            calls: call_lines(&self.vm.spans(), self.vm.called().calls),
            working_set: self.vm.working_set_told(),
            fault: None,
            gone: None,
        };
        // How it ended was the answer to the request, if that had none.
        if !self.is_broken {
            settled.gone = gone;
            if settled.gone.is_none()
                && let Err(fault) = self.vm.prove_empty(&stats)
            {
                self.vm.process().kill();
                settled.fault = Some(fault);
            }
        }
        Ok(settled)
    }
}

//! A VM that serves requests, for a program that waits for it in its own thread.
//!
//! ```text
//! spawn ── wait_ready ── (invoke ── settle)* ── finish          each may instead end in a `VmError`
//! ```
//!
//! What the VM tells, its log too, is taken whenever something is waited for. Not here: any policy of when to start or
//! stop; what is said to the VM (`vm`).

use std::{fmt, path::Path, sync::Arc, time::Duration};

use jiffy_abi::layout::RAM_BYTES_DEFAULT;
use jiffy_control::{
    Called, Isolation, LogRecord, Missing, PageRuns, Phases, Report, Request, Response, Stats,
    StreamFault,
};
use jiffy_snapshots::Snapshot;

use crate::{
    Calls, Captured, Device, Launch, LaunchError, Shell, Source, Spawner, SpawnerOptions, Vm,
    VmError,
    launch::open_image,
    vm::GRACE,
    wait::{Blocking, block_on, wait_readable},
};

/// Who gets log records.
type OnLog = Box<dyn FnMut(LogRecord) + Send>;

/// A VM in a process of its own. Dropping it kills the process and waits for its end.
pub struct Instance {
    // Dropped first: its spawner would end it otherwise.
    vm: Vm<Blocking, OnLog>,
    /// What made the shell, if it was made for this VM alone.
    spawner: Option<Spawner>,
    settling: Settling,
}

/// Whether the last request is over.
#[derive(Debug)]
enum Settling {
    /// Nothing was asked, or all of it is.
    Settled,
    /// There is a response.
    Answered,
    /// Something was left in the stream.
    Broken(StreamFault),
}

impl Instance {
    /// Starts a VM; `on_log` gets its log records, in order. The VMM's standard error is the caller's.
    pub fn spawn(
        launch: &Launch,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        Self::spawn_with(launch, &[], on_log)
    }

    /// As [`Instance::spawn`]; an image boots with this environment.
    pub(crate) fn spawn_with(
        launch: &Launch,
        environment: &[u8],
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let (vmm, options, timeout) = (&launch.vmm, &launch.spawner, launch.timeout);
        match &launch.source {
            Source::Image { path, ram_bytes } => {
                let image = open_image(path)?;
                let ram_bytes = ram_bytes.unwrap_or(RAM_BYTES_DEFAULT);
                let spawner = Spawner::start(vmm, options)?;
                let mut instance = Self::of(spawner.shell(ram_bytes)?, on_log)?;
                instance.spawner = Some(spawner);
                let environment = environment.to_vec();
                instance.vm.give(&launch.devices);
                instance.vm.boot(&image, ram_bytes, timeout, environment)?;
                Ok(instance)
            }
            Source::Snapshot { path, isolation } => {
                let snapshot = Snapshot::open(path)?;
                let devices = &launch.devices;
                Self::spawn_restored(
                    vmm, options, &snapshot, *isolation, timeout, devices, on_log,
                )
            }
        }
    }

    /// Restores `snapshot`, which is of a VM that was given these `devices`, into a VM with a spawner of its own; the rest as
    /// [`Instance::spawn`].
    pub fn spawn_restored(
        vmm: &Path,
        options: &SpawnerOptions,
        snapshot: &Snapshot,
        isolation: Isolation,
        timeout: Option<Duration>,
        devices: &[Device],
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let spawner = Spawner::start(vmm, options)?;
        let mut instance = Self::restore(&spawner, snapshot, isolation, timeout, devices, on_log)?;
        instance.spawner = Some(spawner);
        Ok(instance)
    }

    /// Restores `snapshot` into a shell of `spawner`; the rest as [`Instance::spawn`].
    pub fn restore(
        spawner: &Spawner,
        snapshot: &Snapshot,
        isolation: Isolation,
        timeout: Option<Duration>,
        devices: &[Device],
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let mut instance = Self::of(spawner.shell(snapshot.ram_bytes())?, on_log)?;
        // A shell that is gone already has said why.
        instance.vm.give(devices);
        instance.vm.restore(snapshot, isolation, timeout)?;
        Ok(instance)
    }

    fn of(
        shell: Shell,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        Ok(Self {
            vm: Vm::new(shell, Box::new(on_log) as OnLog).map_err(LaunchError::Sockets)?,
            spawner: None,
            settling: Settling::Settled,
        })
    }

    /// The VM in `shell`, which is a test.
    #[cfg(test)]
    pub(crate) fn booting(
        shell: Shell,
        timeout: Option<Duration>,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Self {
        let mut instance = Self::of(shell, on_log).expect("an instance");
        let image = std::fs::File::open("/dev/null").expect("a file");
        let told = instance.vm.boot(&image, RAM_BYTES_DEFAULT, timeout, vec![]);
        told.expect("a small command");
        instance
    }

    /// Has `calls` make the calls of its requests.
    pub fn serve_calls(&mut self, calls: Arc<dyn Calls>) {
        self.vm.serve_calls(calls);
    }

    /// What the calls of the last request came to.
    pub fn called(&self) -> Called {
        self.vm.called()
    }

    /// Id of the VMM's process.
    pub fn process_id(&self) -> u32 {
        self.vm.process().id()
    }

    /// Layers of the jail that are missing or reduced on this host; known once it is ready.
    pub fn missing_layers(&self) -> impl Iterator<Item = &Missing> {
        let groups = self.spawner.iter().flat_map(|spawner| spawner.missing());
        groups.chain(self.vm.missing())
    }

    /// Waits until the guest's `init` is done. Asked again, it answers the same at once.
    pub fn wait_ready(&mut self) -> Result<Phases, VmError> {
        block_on(self.vm.ready())
    }

    /// Waits until the guest's `init` is done, and captures it.
    pub(crate) fn capture(&mut self, ram_bytes: u64) -> Result<(Phases, Captured), VmError> {
        let phases = self.wait_ready()?;
        Ok((phases, block_on(self.vm.capture(ram_bytes))?))
    }

    /// Sends a request and waits for its response. Waits for `init` first, and for the request before
    /// to be over, so that time spent there is never taken for the request's.
    pub fn invoke(&mut self, request: &Request) -> Result<Response, VmError> {
        self.wait_ready()?;
        self.settle()?;
        match block_on(self.vm.invoke(request)) {
            Ok(response) => {
                self.settling = Settling::Answered;
                Ok(response)
            }
            Err(VmError::Stream(fault)) => Err(self.broken(fault)),
            // There is no other VM that could have it.
            Err(VmError::Undelivered(end)) => Err(*end),
            Err(error) => Err(error),
        }
    }

    /// Waits until the VM is ready for the next request, pristine again if it is to be, and proves
    /// that nothing of the last one is left in the stream. Asked again, it answers the same at once.
    pub fn settle(&mut self) -> Result<(), VmError> {
        match self.settling {
            Settling::Settled => return Ok(()),
            Settling::Broken(fault) => return Err(VmError::Stream(fault)),
            Settling::Answered => {}
        }
        let done: Stats = block_on(self.vm.done(self.vm.patience()))?;
        self.vm
            .prove_empty(&done)
            .map_err(|fault| self.broken(fault))?;
        self.settling = Settling::Settled;
        Ok(())
    }

    fn broken(&mut self, fault: StreamFault) -> VmError {
        self.settling = Settling::Broken(fault);
        VmError::Stream(fault)
    }

    /// The pages that a restored VM wrote until its first response, as (first page, pages): the VMM
    /// tells them once, right behind that response, if its snapshot has no working set. `None`: it
    /// did not tell within `wait`, or was asked before. They are the VMM's word and unchecked.
    pub fn working_set(&mut self, wait: Duration) -> Option<PageRuns> {
        block_on(self.vm.working_set(wait))
    }

    /// Waits for the last request to be over, closes the request stream, waits for the VM's end and reaps
    /// the process. All log records have been handed over when this returns. An error of the stream is
    /// returned only by the one who meets it first.
    pub fn finish(mut self) -> Result<Report, VmError> {
        let was_broken = matches!(self.settling, Settling::Broken(_));
        let settled = match self.settle() {
            Err(VmError::Stopped(report)) => {
                self.reap();
                return Ok(*report);
            }
            Err(error) if !was_broken => Err(error),
            _ => Ok(()),
        };
        self.vm.close();
        let end = block_on(self.vm.end());
        self.reap();
        settled?;
        match end {
            VmError::Stopped(report) => Ok(*report),
            other => Err(other),
        }
    }

    /// Waits a bounded time for the process to end.
    fn reap(&self) {
        // A process can be read from once it has ended.
        wait_readable(self.vm.process(), GRACE);
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        self.vm.process().kill();
        self.reap();
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("process_id", &self.process_id())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;

//! `jiffy run`: image or snapshot -> VM -> requests -> outcome -> exit code.
//!
//! An image runs as a deploy would have it: it boots, its `init` runs, and a VM restored from the snapshot of that gets
//! the requests. The snapshot is in a temporary folder.
//!
//! ```text
//! event    the request, from the command line or a file
//! outcome  how it ended, with symbols: text, JSON and exit code
//! stats    what it took
//! ```

mod event;
mod outcome;
mod stats;

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use jiffy_capabilities::{
    Capabilities, CapabilityError, Config, Egress, Invoker, PreparedVersion, Version,
};
use jiffy_client::{
    Calls, CreateSnapshotError, Device, Instance, Launch, LaunchError, NicEnd, Source,
    SpawnerOptions, VmError, capture_snapshot,
};
use jiffy_console::{Exit, stderr, stdout};
use jiffy_control::{Missing, Phases, Request, Response, write_body};
use jiffy_kv::{Kv, KvError, system_clock};
use jiffy_model::{
    BindingName, EnvironmentChanges, FunctionId, FunctionName, Outcome, SomeSettings,
};
use jiffy_queue::{FileQueues, QueueError};
use jiffy_secrets::{Secrets, SecretsError};
use jiffy_snapshots::{PageRun, Snapshot, write_working_set};
use jiffy_tap::{NetworkError, NetworkOptions};
use serde::Serialize;

pub(crate) use self::{
    event::{EventError, RequestOptions},
    outcome::{Failure, ResponseView},
    stats::RoundTrips,
};
use self::{
    outcome::failure_of_response,
    stats::{BootTimes, HostTimes, StatsView},
};
use crate::{
    output::{Format, Line, Progress, Untrusted, chain, nanoseconds, print_json, print_log},
    runnable::{OpenSnapshotError, Runnable, RunnableError, open_snapshot},
    sdk::{self, SdkError},
    secret_value::{SecretValue, SecretValueError},
    symbols::Symbols,
    vm_settings::{SettingsError, VmSettings},
};

/// Requests of one run at most: each one's time is kept.
pub(crate) const REQUESTS_MAX: u32 = 10_000_000;
/// How long a VMM is given to tell the working set; it does so right behind its first response.
const WORKING_SET_TIMEOUT: Duration = Duration::from_secs(1);

/// What is to be run, and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) what: What,
    pub(crate) request: RequestOptions,
    /// At most [`REQUESTS_MAX`].
    pub(crate) requests: u32,
    pub(crate) stats: bool,
    /// Where stores of keys and values are kept; otherwise they end with this.
    pub(crate) kv_file: Option<PathBuf>,
    /// Secrets, and the files with their values.
    pub(crate) secrets: Vec<(BindingName, PathBuf)>,
    /// Where it may connect to, whatever its jiffy.toml says.
    pub(crate) egress: Egress,
    pub(crate) jail: SpawnerOptions,
    /// What the VM gets besides the vsock device and a NIC; not with a snapshot, which has what it was made with.
    pub(crate) devices: Vec<Device>,
    /// Its NIC, if it gets one; not with a snapshot either.
    pub(crate) network: NetworkOptions,
}

impl Options {
    /// All that the VM gets besides the vsock device.
    fn devices(&self) -> Result<Vec<Device>, NetworkError> {
        let mut devices = self.devices.clone();
        if let Some((network, tap)) = self.network.open()? {
            let tap = Arc::new(tap);
            devices.push(Device::Nic(Some(NicEnd { network, tap })));
        }
        Ok(devices)
    }
}

/// What is to be run, with what the command line says of the VM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// An image, or a function's crate.
    Function {
        path: PathBuf,
        flags: SomeSettings,
        variables: EnvironmentChanges,
    },
    /// A snapshot's directory.
    Snapshot { path: PathBuf, flags: SomeSettings },
}

/// Why nothing ran.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RunError {
    #[error(transparent)]
    Event(#[from] EventError),
    #[error(transparent)]
    SecretValue(#[from] SecretValueError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Runnable(#[from] RunnableError),
    #[error(transparent)]
    Save(CreateSnapshotError),
    #[error(transparent)]
    Snapshot(#[from] OpenSnapshotError),
    #[error(transparent)]
    Vmm(#[from] SdkError),
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error("cannot open the stores of keys and values")]
    Kv(#[from] KvError),
    #[error("cannot keep the queues in memory")]
    Queue(#[from] QueueError),
    #[error("cannot keep the secrets in memory")]
    Secrets(#[from] SecretsError),
    #[error(transparent)]
    Capability(#[from] CapabilityError),
    #[error("cannot print")]
    Print(#[from] io::Error),
}

/// What was found fit to be run.
struct Target {
    /// Name and version, once they are known.
    function: [String; 2],
    settings: VmSettings,
    source: TargetSource,
}

/// What its VM begins with.
enum TargetSource {
    /// A snapshot that is made of this image first, and has no name.
    Image(Box<Runnable>),
    /// A snapshot that is there.
    Snapshot {
        snapshot: Box<Snapshot>,
        path: PathBuf,
    },
}

impl Target {
    fn find(what: &What) -> Result<Self, RunError> {
        match what {
            What::Function {
                path,
                flags,
                variables,
            } => {
                // A manifest that is wrong shows before anything is built.
                let settings = VmSettings::of(path, flags, variables)?;
                let runnable = Runnable::find(path)?;
                let image = &runnable.image;
                let name = image.function_name.clone().unwrap_or_default();
                let version = image.function_version.clone().unwrap_or_default();
                Ok(Self {
                    function: [name, version],
                    settings,
                    source: TargetSource::Image(Box::new(runnable)),
                })
            }
            What::Snapshot { path, flags } => {
                let snapshot = open_snapshot(path)?;
                let image = &snapshot.state().image;
                Ok(Self {
                    function: [image.function_name.clone(), image.function_version.clone()],
                    settings: VmSettings::of_flags(flags)?,
                    source: TargetSource::Snapshot {
                        snapshot: Box::new(snapshot),
                        path: path.clone(),
                    },
                })
            }
        }
    }

    /// What it may call for: what an agent of this release would give it.
    fn calls(&self, options: &Options) -> Result<Arc<PreparedVersion>, RunError> {
        let [function_name, _] = &self.function;
        // A package may be called what no function can be.
        let unnamed = || FunctionName::try_from("unnamed".to_owned());
        let function = FunctionName::from_str(function_name).or_else(|_| unnamed());
        let function = FunctionId::from(function.expect("a name"));
        let secrets = Secrets::in_memory()?;
        for (name, file) in &options.secrets {
            let SecretValue { value, .. } = SecretValue::of_file(file)?;
            secrets.set(&function.tenant(), name, &value, 0)?;
        }
        let limits = jiffy_kv::Limits::default();
        let kv = match &options.kv_file {
            Some(path) => Kv::open(path, limits, system_clock())?,
            None => Kv::in_memory(limits, system_clock())?,
        };
        let limits = jiffy_queue::Limits::default();
        let queues = FileQueues::in_memory(limits, system_clock())?;
        let capabilities = Capabilities::new(&Config {
            egress: options.egress.clone(),
            kv: Arc::new(kv),
            queues: Arc::new(queues),
            secrets: Arc::new(secrets),
            invoker: Invoker::default(),
            release: env!("CARGO_PKG_VERSION").into(),
        })?;
        Ok(capabilities.prepare(&Version {
            function: &function,
            function_name,
            grants: &self.settings.grants,
        }))
    }

    fn symbols(&self) -> Symbols {
        let [name, _] = &self.function;
        match &self.source {
            TargetSource::Image(runnable) => Symbols::of_image(&runnable.path, name),
            TargetSource::Snapshot { .. } => Symbols::of_snapshot(name),
        }
    }

    /// Where the working set is to be kept that the snapshot still needs. That of one which is restored once would help
    /// nobody.
    fn unrecorded(&self) -> Option<&Path> {
        match &self.source {
            TargetSource::Snapshot { snapshot, path } if snapshot.working_set().is_empty() => {
                Some(path)
            }
            TargetSource::Snapshot { .. } | TargetSource::Image(_) => None,
        }
    }

    /// Starts its VM: of a snapshot that is there, or of one that it makes as a deploy does. Of that it tells where the
    /// time until it was ready went.
    fn start(
        &self,
        vmm: &Path,
        jail: &SpawnerOptions,
        devices: &[Device],
        calls: Arc<PreparedVersion>,
    ) -> Result<(Instance, Option<Phases>), CreateSnapshotError> {
        let timeout = Some(self.settings.timeout);
        let isolation = self.settings.isolation;
        let restore = |snapshot: &Snapshot| {
            let mut instance = Instance::spawn_restored(
                vmm, jail, snapshot, isolation, timeout, devices, print_log,
            )?;
            instance.serve_calls(Arc::clone(&calls) as Arc<dyn Calls>);
            Ok::<_, LaunchError>(instance)
        };
        let runnable = match &self.source {
            TargetSource::Snapshot { snapshot, .. } => return Ok((restore(snapshot)?, None)),
            TargetSource::Image(runnable) => runnable,
        };
        let ram_bytes = self.settings.ram_bytes;
        let launch = Launch {
            vmm: vmm.to_owned(),
            spawner: jail.clone(),
            source: Source::Image {
                path: runnable.path.clone(),
                ram_bytes: Some(ram_bytes),
            },
            timeout,
            // What it is captured with has no network: every VM that is restored would share what came.
            devices: devices.iter().map(Device::without_network).collect(),
        };
        let environment = &self.settings.environment;
        let (phases, snapshot) = capture_snapshot(&launch, environment, ram_bytes, print_log)?;
        Ok((restore(&snapshot)?, Some(phases)))
    }
}

/// What `jiffy run -o json` prints.
#[derive(Serialize)]
struct View<'a> {
    outcome: Exit,
    exit_code: u8,
    response: Option<ResponseView<'a>>,
    error: Option<&'a Failure>,
    stats: Option<StatsView>,
}

/// How a run ended.
struct Ended {
    /// The last response, or why there is none.
    result: Result<Response, Failure>,
    stats: Option<StatsView>,
    /// Layers that the jail lacked.
    missing: Vec<Missing>,
}

/// Runs a function once or more and prints the last response.
pub(crate) fn run(options: &Options, format: Format) -> Result<Exit, RunError> {
    let request = options.request.request()?;
    // A network that cannot be shows before anything is built.
    let devices = options.devices()?;
    let target = Target::find(&options.what)?;
    let vmm = sdk::vmm()?;
    let calls = target.calls(options)?;
    let [name, version] = target.function.clone();
    let progress = Progress::new(format!("running {} {}", Line(&name), Line(&version)));
    let request = Request {
        function_name: name,
        function_version: version,
        ..request
    };
    let start = Instant::now();
    let ended = match target.start(&vmm, &options.jail, &devices, calls) {
        Ok((instance, phases)) => {
            let times = HostTimes {
                boot: phases.as_ref().map(BootTimes::new),
                ..HostTimes::default()
            };
            serve(instance, start, &request, options.requests, &target, times)
        }
        Err(CreateSnapshotError::Vm(error)) => Ended::failed(&error, HostTimes::default(), &target),
        Err(CreateSnapshotError::Launch(error)) => return Err(error.into()),
        Err(error) => return Err(RunError::Save(error)),
    };
    drop(progress);
    warn_missing(&ended.missing);
    print(&ended, options, format)
}

impl Ended {
    /// Of a VM that did not respond.
    fn failed(error: &VmError, times: HostTimes, target: &Target) -> Self {
        let stats = match error {
            VmError::Stopped(report) => Some(StatsView::new(times, report.stats)),
            _ => None,
        };
        Self {
            result: Err(Failure::of_invoke(error, &target.symbols())),
            stats,
            missing: vec![],
        }
    }
}

fn serve(
    mut instance: Instance,
    start: Instant,
    request: &Request,
    requests: u32,
    target: &Target,
    mut times: HostTimes,
) -> Ended {
    let result = invoke(&mut instance, start, request, requests, target, &mut times);
    let missing = instance.missing_layers().cloned().collect();
    match result {
        Ok(response) => {
            // The response is there and stands, however the VM ends.
            let report = instance.finish();
            if let Err(error) = &report {
                warn(&format!("the VM did not end well: {}", chain(error)));
            }
            let stats = report
                .ok()
                .map(|report| StatsView::new(times, report.stats));
            let result = match failure_of_response(&response) {
                Some(failure) => Err(failure),
                None => Ok(response),
            };
            Ended {
                result,
                stats,
                missing,
            }
        }
        Err(error) => {
            // Waits for the last log lines, too.
            let _ = instance.finish();
            Ended {
                missing,
                ..Ended::failed(&error, times, target)
            }
        }
    }
}

/// Sends the request until one fails, or as often as it is wanted.
fn invoke(
    instance: &mut Instance,
    start: Instant,
    request: &Request,
    requests: u32,
    target: &Target,
    times: &mut HostTimes,
) -> Result<Response, VmError> {
    instance.wait_ready()?;
    times.start_ns = nanoseconds(start.elapsed());
    let mut round_trips_ns = vec![];
    let mut number = 1;
    let result = loop {
        let request = Request {
            request_id: format!("run-{number}"),
            ..request.clone()
        };
        let begin = Instant::now();
        let response = match instance.invoke(&request) {
            Ok(response) => response,
            Err(error) => break Err(error),
        };
        times.last_request_ns = nanoseconds(begin.elapsed());
        let called = instance.called();
        times.last_request_calls = called.calls;
        times.last_request_calls_ns = called.calls_us.saturating_mul(1000);
        round_trips_ns.push(times.last_request_ns);
        if let (1, Some(snapshot)) = (number, target.unrecorded()) {
            record_working_set(instance, snapshot);
        }
        // Off the clock: the response is there, and the VM gets ready for the next request.
        if let Err(error) = instance.settle() {
            break Err(error);
        }
        if number == requests || response.outcome() != Outcome::Ok {
            break Ok(response);
        }
        number += 1;
    };
    times.round_trips = RoundTrips::of(&mut round_trips_ns);
    result
}

/// Stores which pages the first request wrote, for the restores to come. Without, they take longer
/// and nothing else.
fn record_working_set(instance: &mut Instance, snapshot: &Path) {
    let Some(runs) = instance.working_set(WORKING_SET_TIMEOUT) else {
        return; // The VM ended, and that is told.
    };
    let run = |(first_page, pages)| {
        let (first_page, pages) = (u32::try_from(first_page).ok()?, u32::try_from(pages).ok()?);
        Some(PageRun { first_page, pages })
    };
    let Some(runs) = runs.into_iter().map(run).collect::<Option<Vec<_>>>() else {
        return warn("the VMM told a working set beyond all RAM: this is a bug of jiffy's");
    };
    if let Err(error) = write_working_set(snapshot, &runs) {
        let why = chain(&error);
        warn(&format!(
            "the snapshot's working set is not stored, so restores stay slower: {why}"
        ));
    }
}

/// Says what protects the host less than it could.
pub(crate) fn warn_missing<'a>(missing: impl IntoIterator<Item = &'a Missing>) {
    for Missing { layer, reason } in missing {
        warn(&format!("the VM's jail lacks {layer}: {reason}"));
    }
}

fn warn(what: &str) {
    let _ = writeln!(stderr(), "warning: {}", Untrusted(what));
}

fn print(ended: &Ended, options: &Options, format: Format) -> Result<Exit, RunError> {
    let (response, failure) = match &ended.result {
        Ok(response) => (Some(response), None),
        Err(failure) => (None, Some(failure)),
    };
    let exit = failure.map_or(Exit::Ok, Failure::exit);
    match format {
        Format::Json => print_json(&View {
            outcome: exit,
            exit_code: exit as u8,
            response: response.map(ResponseView::new),
            error: failure,
            stats: ended.stats,
        })?,
        Format::Text => {
            if let Some(response) = response {
                print_response(response)?;
            }
            if let Some(failure) = failure {
                failure.print(&mut stderr())?;
            }
            if let (true, Some(stats)) = (options.stats, &ended.stats) {
                write!(stderr(), "{stats}")?;
            }
        }
    }
    Ok(exit)
}

/// The body alone.
pub(crate) fn print_response(response: &Response) -> io::Result<()> {
    let mut out = stdout();
    if response.status != 0 {
        writeln!(stderr(), "HTTP status {}", response.status)?;
    }
    let is_terminal = out.is_terminal();
    write_body(&mut out, &response.body, is_terminal)?;
    out.flush()
}

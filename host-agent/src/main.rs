//! The daemon `jiffyd`.
//!
//! ```text
//! SIGTERM, SIGINT   no more connections; requests under way end; VMs end
//! SIGHUP            configuration, token and keys are read again
//! end of stdin      as SIGTERM, with --stop-at-end-of-input
//! ```
#![forbid(unsafe_code)]

use std::{
    env, fs,
    future::pending,
    io::{self, Write as _},
    net::SocketAddr,
    os::fd::{AsFd, RawFd},
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    sync::Arc,
    thread,
    time::Duration,
};

use anyhow::{Context, bail};
use clap::{Parser, Subcommand};
use jiffy_capabilities::Invoker;
use jiffy_console::{Exit, arguments, stderr, stdout};
use jiffy_control::Line;
use jiffy_secrets::keep_out_of_core_files;
use jiffyd::{
    config::{Config, FileConfig, LogFormat, unknown_variables},
    front, memory,
    service::{HostIdentity, Parts, Service, open_kv, open_queues, open_registry, open_secrets},
    symbols::{self, Innermost, Symbolizer},
    vm::{JailedOptions, JailedVms},
};
use rustix::process::{Resource, getrlimit, setrlimit};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
    task::spawn_blocking,
};
use tracing_subscriber::{
    EnvFilter, Registry,
    field::MakeExt as _,
    fmt::format::{FormatFields, debug_fn},
    prelude::*,
    reload,
};

/// What is granted for tasks in the background when everything else has ended.
const LAST_TASKS_TIME_MAX: Duration = Duration::from_secs(5);
/// How often it is looked whether the limits of memory have changed.
const FOLLOW_MEMORY_INTERVAL: Duration = Duration::from_secs(5);
/// What is granted for VMs to settle after the last response.
const SETTLE_TIME_MAX: Duration = Duration::from_secs(5);

/// Runs functions, each request in its own tiny virtual machine.
#[derive(Debug, Parser)]
#[command(
    version,
    disable_help_subcommand = true,
    after_help = "Every key of jiffyd.toml can be given as a variable too: JIFFYD_LISTEN, JIFFYD_POOL__SHELLS_MIN.\n\n\
        Examples:\n  jiffyd --data-dir ~/.local/share/jiffyd\n  \
        jiffyd --config /etc/jiffyd/jiffyd.toml --listen 0.0.0.0:7070 --token-file /etc/jiffyd/token"
)]
struct Arguments {
    /// The configuration.
    #[arg(long, value_name = "FILE", env = "JIFFYD_CONFIG")]
    config: Option<PathBuf>,
    /// Where to listen; beyond loopback a token is needed.
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<SocketAddr>,
    /// Where registry, images, snapshots, logs and usage are.
    #[arg(long, value_name = "DIRECTORY")]
    data_dir: Option<PathBuf>,
    /// A file with the token that every request has to carry.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// The jiffy-vmm program.
    #[arg(long, value_name = "FILE")]
    vmm: Option<PathBuf>,
    /// What the agent logs of itself, as in RUST_LOG.
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// Run VMs although the host gives no control groups, or not all of them.
    #[arg(long)]
    allow_missing_cgroups: bool,
    /// Stop when standard input ends: a pipe whose other end is held by the process that started this one, and so is
    /// closed by its end, whatever ended it.
    #[arg(long, hide = true)]
    stop_at_end_of_input: bool,
    /// Print the configuration as it is in effect, and exit.
    #[arg(long)]
    print_config: bool,
    #[command(subcommand)]
    command: Option<Internal>,
}

/// What the agent starts itself for.
#[derive(Debug, Subcommand)]
enum Internal {
    /// Print functions, files and lines of addresses in the image that is standard input.
    #[command(name = symbols::COMMAND, hide = true)]
    Symbols {
        /// The first address is where a call returns to, too.
        #[arg(long)]
        returns: bool,
        addresses: Vec<u64>,
    },
}

impl Arguments {
    fn config(&self) -> anyhow::Result<Config> {
        let variables = env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        });
        let mut settings = FileConfig::load(self.config.as_deref(), variables)?;
        settings.listen = self.listen.unwrap_or(settings.listen);
        settings.data_dir = self.data_dir.clone().unwrap_or(settings.data_dir);
        settings.token_file = self.token_file.clone().or(settings.token_file);
        settings.vmm = self.vmm.clone().unwrap_or(settings.vmm);
        settings.log = self.log.clone().unwrap_or(settings.log);
        settings.jail.allow_missing_cgroups |= self.allow_missing_cgroups;
        Ok(Config::new(settings)?)
    }
}

type LogFilter = reload::Handle<EnvFilter, Registry>;

/// Closes what the program that started this one left open, beside the standard streams: nothing is passed in another way. All
/// that this one starts would have it, too. Before anything else is opened, so that no number is anybody's here.
fn close_inherited() -> io::Result<()> {
    const FIRST_AFTER_STANDARD: RawFd = 3;
    let open = fs::read_dir("/proc/self/fd")?;
    let open = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let inherited: Vec<RawFd> = open.filter(|fd| *fd >= FIRST_AFTER_STANDARD).collect();
    for fd in inherited {
        // One of them was for reading the directory, and is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

fn main() -> ExitCode {
    if let Err(error) = close_inherited() {
        let _ = writeln!(
            stderr(),
            "jiffyd: cannot look for inherited descriptors in /proc/self/fd: {error}"
        );
        return ExitCode::FAILURE;
    }
    // Before it has read anything.
    if let Err(error) = keep_out_of_core_files() {
        let _ = writeln!(
            stderr(),
            "jiffyd: cannot keep secrets out of core files: {error}"
        );
        return ExitCode::FAILURE;
    }
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(end) => return end,
    };
    match run(&arguments) {
        Ok(()) => Exit::Ok.end(),
        Err(error) => {
            let _ = writeln!(stderr(), "jiffyd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if let Some(Internal::Symbols { returns, addresses }) = &arguments.command {
        let innermost = match returns {
            true => Innermost::Return,
            false => Innermost::Instruction,
        };
        let input = io::stdin().as_fd().try_clone_to_owned()?;
        symbols::run(addresses, innermost, &input.into(), stdout())?;
        return Ok(());
    }
    let config = arguments.config()?;
    if arguments.print_config {
        write!(stdout(), "{}", toml::to_string(&config.settings)?)?;
        return Ok(());
    }
    let filter = start_log(&config)?;
    warn_of_unknown_variables();
    raise_descriptor_limit();
    let vmm = find_vmm(&config.vmm)?;
    let host = HostIdentity::read(&vmm)
        .with_context(|| format!("cannot read {} and the host's CPU", vmm.display()))?;
    // Before anything that costs time, so that a second agent says so at once.
    let registry = open_registry(&config).context("cannot open the registry")?;
    let kv = open_kv(&config).context("cannot open the stores of keys and values")?;
    let queues = open_queues(&config).context("cannot open the queues")?;
    let credentials_dir = env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
    let secrets =
        open_secrets(&config, credentials_dir.as_deref()).context("cannot open the secrets")?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start threads")?;
    let invoker = Invoker::default();
    // On this thread, which lives as long as the agent: VMs die with the thread that made their parent.
    let vms = {
        let _entered = runtime.enter();
        let full_ram_bytes = config.jail.cpu_full_ram_bytes;
        JailedVms::new(JailedOptions {
            vmm,
            cpu_full_ram_bytes: (full_ram_bytes > 0).then_some(full_ram_bytes),
            allow_missing_cgroups: config.jail.allow_missing_cgroups,
            kv: Arc::clone(&kv),
            queues: Arc::clone(&queues),
            secrets: Arc::clone(&secrets),
            egress: config.egress.clone(),
            invoker: invoker.clone(),
        })
        .context("cannot run VMs")?
    };
    for missing in vms.missing() {
        tracing::warn!(layer = %missing.layer, reason = %missing.reason, "a layer of the jail is missing on this host");
    }
    let served = runtime.block_on(async {
        let service = Service::start(Parts {
            vms: Arc::new(vms),
            pool: config.pool.clone().on_host(memory::available_bytes()),
            config,
            host,
            registry,
            kv,
            queues,
            secrets,
            invoker,
            // This program, even after it was replaced by a newer one.
            symbolizer: Some(Symbolizer::new("/proc/self/exe".into())),
        })?;
        serve_until_stopped(arguments, &service, &filter).await
    });
    runtime.shutdown_timeout(LAST_TASKS_TIME_MAX);
    served
}

async fn serve_until_stopped(
    arguments: &Arguments,
    service: &Arc<Service<JailedVms>>,
    filter: &LogFilter,
) -> anyhow::Result<()> {
    let mut hangup = listen_to(SignalKind::hangup())?;
    let mut terminate = listen_to(SignalKind::terminate())?;
    let mut interrupt = listen_to(SignalKind::interrupt())?;
    let mut input_end = pin!(end_of_input(arguments.stop_at_end_of_input));
    let stop = async {
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                () = &mut input_end => break,
                _ = hangup.recv() => reload(arguments, service, filter),
            }
        }
        tracing::info!("stopping");
    };
    let config = service.config();
    tokio::spawn(follow_memory(Arc::clone(service)));
    front::run(Arc::clone(service), &config, stop).await?;
    service.drain(SETTLE_TIME_MAX).await;
    let flushed = Arc::clone(service);
    spawn_blocking(move || flushed.flush()).await?;
    tracing::info!("stopped");
    Ok(())
}

/// Tells the pool when the memory it may use has become another, because a control group's limit was changed.
async fn follow_memory(service: Arc<Service<JailedVms>>) {
    let mut known = None;
    loop {
        // What the pool was made for stands in the configuration until the next start.
        let now = service
            .config()
            .pool
            .clone()
            .on_host(memory::available_bytes());
        if known.is_some_and(|known| known != now.memory_bytes_max) {
            tracing::info!(
                bytes = now.memory_bytes_max,
                "the memory for VMs is another now"
            );
            service.pool().set_memory(now.memory_bytes_max);
        }
        known = Some(now.memory_bytes_max);
        tokio::time::sleep(FOLLOW_MEMORY_INTERVAL).await;
    }
}

/// Ends when standard input does, if that is wanted. Reads in a thread of its own, which nobody waits for: one of the
/// runtime's would hold up the end of the process.
async fn end_of_input(is_wanted: bool) {
    let (ended, end) = oneshot::channel();
    let read = move || {
        // An error is an end, too.
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = ended.send(());
    };
    let reader = thread::Builder::new().name("input".into());
    if !is_wanted || reader.spawn(read).is_err() || end.await.is_err() {
        pending().await
    }
}

fn listen_to(kind: SignalKind) -> anyhow::Result<Signal> {
    signal(kind).context("cannot listen to signals")
}

/// Takes over what can be; a configuration that is wrong changes nothing.
fn reload(arguments: &Arguments, service: &Service<JailedVms>, filter: &LogFilter) {
    let reloaded = arguments.config().and_then(|config| {
        filter.reload(log_filter(&config)?)?;
        Ok(service.reload(config))
    });
    match reloaded {
        Ok(needs_restart) if needs_restart.is_empty() => tracing::info!("reloaded"),
        Ok(needs_restart) => {
            let keys = needs_restart.join(", ");
            tracing::warn!(%keys, "reloaded, but for what needs a restart");
        }
        Err(error) => {
            tracing::error!(
                error = format!("{error:#}"),
                "the configuration stays as it was"
            );
        }
    }
}

fn start_log(config: &Config) -> anyhow::Result<LogFilter> {
    let (filter, handle) = reload::Layer::new(log_filter(config)?);
    let lines = tracing_subscriber::fmt::layer()
        // Of the standard library's, an error would be printed, which panics if it cannot be.
        .with_writer(stderr)
        .with_ansi(stderr().is_terminal());
    let lines = match config.log_format {
        LogFormat::Text => lines.fmt_fields(readable_fields()).boxed(),
        LogFormat::Json => lines.json().boxed(),
    };
    tracing_subscriber::registry()
        .with(filter)
        .with(lines)
        .try_init()?;
    Ok(handle)
}

/// Fields as they are, but that what a guest or a client has in them steers no terminal and begins no line.
fn readable_fields() -> impl for<'a> FormatFields<'a> + Send + Sync + 'static {
    debug_fn(|to, field, value| {
        let text = format!("{value:?}");
        match field.name() {
            "message" => write!(to, "{}", Line(&text)),
            name => write!(to, "{name}={}", Line(&text)),
        }
    })
    .delimited(" ")
}

/// They change nothing, and may be a key with a mistake in it, or those of a service that is called as this program.
fn warn_of_unknown_variables() {
    let names: Vec<_> = env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .collect();
    for variable in unknown_variables(names.iter().map(String::as_str)) {
        tracing::warn!(
            variable,
            "this variable names no key of the configuration and is passed over"
        );
    }
}

fn log_filter(config: &Config) -> anyhow::Result<EnvFilter> {
    let filter = EnvFilter::try_new(&config.log);
    filter.with_context(|| {
        format!(
            "invalid log {:?}: must be a filter such as info",
            config.log
        )
    })
}

/// Each VM and each open snapshot takes descriptors.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot have more file descriptors");
    }
}

/// A bare name is looked for beside this program, then in `PATH`.
fn find_vmm(vmm: &Path) -> anyhow::Result<PathBuf> {
    let is_bare = vmm.components().count() == 1 && !vmm.is_absolute();
    let beside = env::current_exe()
        .ok()
        .and_then(|program| Some(program.parent()?.to_owned()));
    let path = env::var_os("PATH").unwrap_or_default();
    let found = match is_bare {
        false => Some(vmm.to_owned()).filter(|vmm| vmm.is_file()),
        true => beside
            .into_iter()
            .chain(env::split_paths(&path))
            .map(|directory| directory.join(vmm))
            .find(|vmm| vmm.is_file()),
    };
    let Some(found) = found else {
        bail!(
            "no {}: must be the program jiffy-vmm, beside jiffyd, on PATH or named by --vmm",
            vmm.display()
        );
    };
    std::path::absolute(&found).context("cannot tell the current directory")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_strangers_say_steers_no_terminal_and_begins_no_line() {
        let written = tempfile::NamedTempFile::new().expect("a file");
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_writer(Arc::new(written.reopen().expect("the same file")))
            .fmt_fields(readable_fields());
        let evil =
            "a\u{1b}]52;c;cHduZWQ=\u{7}\u{9b}31m\r\n2026-01-01 ERROR forged\u{202e}\u{2028}b";
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), || {
            tracing::warn!(function = evil, error = %evil, other = ?evil, "said {evil}");
        });
        let text = std::fs::read_to_string(written.path()).expect("text");
        let one_line = text.strip_suffix('\n').expect("a whole line");
        assert!(!one_line.contains(jiffy_control::is_deceptive), "{text}");
        assert_eq!(text.matches("\\u{202e}").count(), 4, "{text}");
    }
}

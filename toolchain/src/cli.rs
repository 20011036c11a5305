//! The command line.

mod agent;
mod kv;
mod queue;
mod secret;

use std::{
    ffi::OsString, fmt::Display, io::Write as _, path::PathBuf, process::ExitCode, time::Duration,
};

use clap::{Args, CommandFactory as _, Parser, Subcommand};

use self::agent::{AgentCommand, AgentFailure};
use crate::{
    bench::{self, BenchError},
    build::{self, BuildError, PackageError, Profile},
    doctor,
    inspect::{self, InspectError},
    manifest::{Features, parse_memory, parse_timeout, parse_variable},
    new::{self, NewError, Template},
    output::{Format, Untrusted, chain},
    registry::RegistryError,
    run::{self, RequestOptions, RunError, What},
    runnable::{RunnableError, exit_of_blame},
    snapshot::{self, SnapshotError, exit_of_verify},
    symbols,
};
use jiffy_abi::layout::RAM_BYTES_DEFAULT;
use jiffy_capabilities::{Egress, Private};
use jiffy_client::{CreateSnapshotError, Device, SpawnerOptions};
use jiffy_console::{Exit, arguments, quantity::milliseconds, stderr, stdout};
use jiffy_model::{
    BindingName, EndsRequest as _, EnvironmentChanges, Isolation, SomeSettings, TIMEOUT_MS_DEFAULT,
};
use jiffy_symbols::Innermost;
use jiffy_tap::NetworkOptions;

/// Makes, builds, runs and deploys functions, each request in a virtual machine of its own.
#[derive(Debug, Parser)]
#[command(
    name = "jiffy",
    version,
    after_help = "\
Examples:
  jiffy new hello && cd hello
  jiffy run --event '{\"name\":\"Ada\"}'
  jiffy build && jiffy inspect target/jiffy/hello.elf
  jiffy snapshot create -o hello.snap && jiffy run --snapshot hello.snap --event '{\"name\":\"Ada\"}'
  jiffy dev                        an agent here, and this crate deployed whenever it changes
  jiffy deploy && jiffy invoke hello --event '{\"name\":\"Ada\"}' && jiffy logs hello

Exit codes: see `jiffy run --help`."
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a function crate, whose test passes as it is, or a function in C.
    #[command(after_help = "\
Examples:
  jiffy new hello
  jiffy new .                      in the folder where one is, named after it; what is there stays as it is
  jiffy new greeter --http         answers HTTP requests
  jiffy new orders --events --std  takes events of several kinds, with std
  jiffy new sums --lang c")]
    New(NewOptions),
    /// Tells cargo where the SDK is on this machine, for `cargo test` and editors in a crate that came from another one.
    #[command(after_help = "\
Examples:
  git clone …/hello && cd hello && jiffy sdk && cargo test
  jiffy sdk --sdk ~/jiffy/unikernel/sdk        another one, until `jiffy sdk` is told otherwise

A function's Cargo.toml names the SDK by its version and a registry that is nowhere:
  jiffy = { version = \"0.1.0\", registry = \"jiffy\" }
This writes the folder that takes its place to .cargo/jiffy-sdk.toml, beside Cargo.lock, which git ignores and .cargo/config.toml
includes. `jiffy build` and all else that builds keep it current, and need it not. Cargo looks for it in the folder that it is
called in, and above.")]
    Sdk(SdkOptions),
    /// Builds the image of a function.
    #[command(after_help = "\
Examples:
  jiffy build                      -> target/jiffy/<package>.elf
  jiffy build examples/hello --strip -o hello.elf

In jiffy.toml, beside the function's Cargo.toml:
  features = [\"postgres\"]          features of the crate, with which `run`, `dev`, `deploy` and `snapshot` build it, too
  default-features = false         without its feature `default`
  [stack]
  bytes = \"8MiB\"                  its stack, 768K to 1G in steps of 64K; default 768K
--features adds to them, and --no-default-features wins. Tests are cargo's, which knows nothing of this file.

In the function's Cargo.toml:
  [package.metadata.jiffy]
  precise-clock = true             it may read the time-stamp counter
  random-init = true               its init may draw randomness that all instances then share
  stack = \"8M\"                     as [stack] in jiffy.toml

Of a function in C, the same is in jiffy.toml under [function], with what docs/c.md says of sources, headers, flags and libraries:
  [function]
  lang = \"c\"                       or \"c++\", without exceptions and run-time types
  libs = [\"z\"]                     static libraries")]
    Build(BuildOptions),
    /// Prints what an image says of itself.
    #[command(after_help = "Example:\n  jiffy inspect target/jiffy/hello.elf -o json")]
    Inspect(InspectOptions),
    /// Runs a function in a VM: the response goes to standard output, logs to standard error.
    #[command(after_help = format!("\
Examples:
  jiffy run --event '{{\"name\":\"Ada\"}}'
  jiffy run hello.elf --event-file event.json --stats
  jiffy run thumbnail.elf --event-file photo.jpg > small.png
  jiffy run --snapshot hello.snap --event '{{\"name\":\"Ada\"}}' --requests 1000 --stats
  jiffy run webhook.elf --http 'POST /hook' --header 'x-signature: 12ab' --event-file body

It runs as a first deploy would: memory, timeout, isolation and environment are those of the flags, then of jiffy.toml beside
the crate's Cargo.toml, then the agent's defaults. The image boots, runs its init and becomes a snapshot, so that an init
that draws randomness is refused here too, and with --isolation fresh no request finds anything of those before it.

{}", Exit::table(Exit::Build)))]
    Run(RunOptions),
    /// Makes snapshots and says what is in them.
    #[command(subcommand)]
    Snapshot(SnapshotCommand),
    #[command(flatten)]
    Agent(AgentCommand),
    /// Says what this machine has and lacks. Exits with 1 if something that is needed is missing.
    #[command(after_help = "Example:\n  jiffy doctor -o json")]
    Doctor {
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Format,
    },
    /// Measures jiffy on this machine; `jiffy bench --help` says how.
    #[command(disable_help_flag = true)]
    Bench {
        /// What `jiffy-bench` takes.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Prints a completion script for a shell.
    #[command(
        after_help = "Example:\n  jiffy completions bash > ~/.local/share/bash-completion/completions/jiffy"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Prints functions, files and lines of addresses in the image that is standard input.
    #[command(name = jiffy_symbols::COMMAND, hide = true)]
    Symbols {
        /// The first address is where a call returns to, too.
        #[arg(long)]
        returns: bool,
        addresses: Vec<u64>,
    },
}

#[derive(Args, Debug)]
struct NewOptions {
    /// Where; the last part is the function's name. A folder that is there has to be empty, unless it is `.`.
    path: PathBuf,
    /// The function's name, if it is another.
    #[arg(long)]
    name: Option<String>,
    /// Make one that answers HTTP requests, by path and method.
    #[arg(long, conflicts_with_all = ["events", "lang"])]
    http: bool,
    /// Make one that takes events of several kinds, and refuses some of them with an error of its own.
    #[arg(long, conflicts_with = "lang")]
    events: bool,
    /// The SDK: folder unikernel/sdk of a jiffy checkout. Default: what JIFFY_SDK names, else the one this jiffy is from.
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
    /// Make one that uses `std`, with what docs/std.md lists of it; without, it is `no_std`, smaller and faster.
    #[arg(long, conflicts_with = "lang")]
    std: bool,
    /// What it is written in.
    #[arg(long, value_enum, default_value_t)]
    lang: new::Kind,
}

#[derive(Args, Debug)]
struct SdkOptions {
    /// The function's crate, or its workspace.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The SDK: folder unikernel/sdk of a jiffy checkout. Default: what JIFFY_SDK names, else the one this jiffy is from.
    #[arg(long, value_name = "FOLDER")]
    sdk: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct BuildOptions {
    /// The function's crate, or its folder if it is in C.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the image goes. Default: target/jiffy/<package>.elf
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Optimise for size and speed: the default.
    #[arg(long, conflicts_with = "debug")]
    release: bool,
    /// Build quickly, with overflow checks and debug assertions.
    #[arg(long)]
    debug: bool,
    /// Features of the crate to switch on, beside those of jiffy.toml; separated by commas, or given more than once.
    #[arg(short = 'F', long, value_name = "FEATURES", value_delimiter = ',')]
    features: Vec<String>,
    /// Leave out the crate's feature `default`, as does `default-features = false` in jiffy.toml.
    #[arg(long)]
    no_default_features: bool,
    /// Leave out symbols and debug information; faults then show addresses only.
    #[arg(long)]
    strip: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct InspectOptions {
    /// The image.
    file: PathBuf,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Debug, Subcommand)]
enum SnapshotCommand {
    /// Boots an image, runs its init, and saves what there is then.
    #[command(after_help = "\
Examples:
  jiffy snapshot create hello.elf -o hello.snap
  jiffy snapshot create examples/hello -o hello.snap --memory 64MiB

Exit codes: as `jiffy run`. A snapshot that has the name already is replaced in one step.")]
    Create(CreateOptions),
    /// Prints what a snapshot says of itself.
    #[command(after_help = "Example:\n  jiffy snapshot inspect hello.snap -o json")]
    Inspect(SnapshotOptions),
    /// Reads and checks every byte of a snapshot. Exits with 8 if it is not whole.
    #[command(after_help = "Example:\n  jiffy snapshot verify hello.snap")]
    Verify(SnapshotOptions),
}

#[derive(Args, Debug)]
struct CreateOptions {
    /// An image, or a function's crate, which is built.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// The directory that is made.
    #[arg(short, long, value_name = "DIRECTORY")]
    output: PathBuf,
    #[command(flatten)]
    boot: BootArguments,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    jail: JailOptions,
}

/// What the help says of a setting. What stays in a redeploy, `jiffy deploy --help` tells of all of them.
fn help(what: &str, default: impl Display) -> String {
    format!("{what}. Default: jiffy.toml's, else {default}")
}

/// What a VM boots with, as in jiffy.toml.
#[derive(Args, Debug)]
struct BootArguments {
    #[arg(long, value_name = "SIZE", value_parser = parse_memory, help = help(
        "RAM of a VM, such as 64MiB or 64M (the same)",
        format_args!("{}MiB", RAM_BYTES_DEFAULT >> 20),
    ))]
    memory: Option<u64>,
    #[arg(long, value_name = "TIME", value_parser = parse_timeout, help = help(
        "What init and each request may take, such as 500ms",
        humantime::format_duration(Duration::from_millis(TIMEOUT_MS_DEFAULT)),
    ))]
    timeout: Option<Duration>,
    /// An environment variable, beside or instead of jiffy.toml's; may be given more than once.
    #[arg(long, value_name = "NAME=VALUE", value_parser = parse_variable)]
    env: Vec<(String, String)>,
    /// An environment variable that is not to be there; may be given more than once.
    #[arg(long, value_name = "NAME")]
    unset_env: Vec<String>,
}

impl BootArguments {
    fn parts(self) -> (SomeSettings, EnvironmentChanges) {
        let settings = SomeSettings {
            memory_bytes: self.memory,
            timeout_ms: self.timeout.map(milliseconds),
            ..SomeSettings::default()
        };
        let unset = self.unset_env.into_iter().map(|name| (name, None));
        let set = self
            .env
            .into_iter()
            .map(|(name, value)| (name, Some(value)));
        (settings, unset.chain(set).collect())
    }
}

/// What a VM gets, as in jiffy.toml.
#[derive(Args, Debug)]
struct VmArguments {
    #[command(flatten)]
    boot: BootArguments,
    #[arg(long, value_enum, help = help("What a request finds of those before it", Isolation::default()))]
    isolation: Option<Isolation>,
}

impl VmArguments {
    fn parts(self) -> (SomeSettings, EnvironmentChanges) {
        let (boot, variables) = self.boot.parts();
        let settings = SomeSettings {
            isolation: self.isolation,
            ..boot
        };
        (settings, variables)
    }
}

/// Where a function may connect to, beside what its jiffy.toml says; as in `[egress]` of jiffyd.toml.
#[derive(Args, Clone, Debug)]
struct EgressArguments {
    /// An address, a range or a host that is not of the public Internet, and that calls may reach, such as 127.0.0.1; may be given
    /// more than once.
    #[arg(long, value_name = "ADDRESS")]
    egress_private: Vec<Private>,
    /// Certificates of authorities to trust beside those of the system, PEM.
    #[arg(long, value_name = "FILE")]
    egress_ca_file: Option<PathBuf>,
}

impl From<EgressArguments> for Egress {
    fn from(arguments: EgressArguments) -> Self {
        Self {
            hosts: vec![],
            private: arguments.egress_private,
            ca_file: arguments.egress_ca_file,
        }
    }
}

/// How a VM's process is locked up.
#[derive(Args, Clone, Copy, Debug)]
struct JailOptions {
    /// Leave out the jail around the VM, for debugging. Never with code you do not trust.
    #[arg(long)]
    no_jail: bool,
}

impl From<JailOptions> for SpawnerOptions {
    fn from(options: JailOptions) -> Self {
        Self {
            no_jail: options.no_jail,
            ..Self::default()
        }
    }
}

#[derive(Args, Debug)]
struct SnapshotOptions {
    /// The snapshot's directory.
    directory: PathBuf,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

#[derive(Args, Debug)]
struct RunOptions {
    /// An image, or a function's crate, which is built.
    #[arg(default_value = ".", conflicts_with = "snapshot")]
    path: PathBuf,
    /// Restore this snapshot, which has its RAM and environment already.
    #[arg(long, value_name = "DIRECTORY", conflicts_with_all = ["memory", "env", "unset_env", "tap"])]
    snapshot: Option<PathBuf>,
    #[command(flatten)]
    vm: VmArguments,
    #[command(flatten)]
    request: RequestOptions,
    /// Send the event this often to one VM; only the last response is printed.
    #[arg(long, value_name = "COUNT", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=i64::from(run::REQUESTS_MAX)))]
    requests: u32,
    /// Print where time went, round trips, exits by kind, and pages touched, on standard error.
    #[arg(long)]
    stats: bool,
    /// Give the VM a serial port at 0x3f8 (COM1), which speaks and does not listen: its lines go to the function's log. For
    /// images that cannot log otherwise, or not yet.
    #[arg(long, conflicts_with = "snapshot")]
    console: bool,
    #[command(flatten)]
    network: NetworkOptions,
    /// Keep stores of keys and values in this file. Default: they are empty, and gone afterwards.
    #[arg(long, value_name = "FILE")]
    kv_file: Option<PathBuf>,
    /// Set a secret to what is in a file, without a newline at its end; may be given more than once. Which the function may
    /// read, and which are put into its requests, jiffy.toml says.
    #[arg(long = "secret", value_name = "NAME=FILE", value_parser = parse_secret)]
    secrets: Vec<(BindingName, PathBuf)>,
    /// How to print the outcome; JSON has the statistics in any case.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
    #[command(flatten)]
    egress: EgressArguments,
    #[command(flatten)]
    jail: JailOptions,
}

/// `NAME=FILE` of a secret.
fn parse_secret(text: &str) -> Result<(BindingName, PathBuf), String> {
    match text.split_once('=') {
        Some((name, file)) if !file.is_empty() => {
            let name = name.parse::<BindingName>();
            Ok((name.map_err(|error| error.to_string())?, file.into()))
        }
        _ => Err("must be NAME=FILE".into()),
    }
}

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    New(#[from] NewError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Agent(#[from] AgentFailure),
    #[error(transparent)]
    Bench(#[from] BenchError),
    #[error("cannot print")]
    Print(#[from] std::io::Error),
}

impl Failure {
    fn exit(&self) -> Exit {
        match self {
            Self::New(
                NewError::Write { .. }
                | NewError::Print(_)
                | NewError::Registry(RegistryError::Write { .. }),
            )
            | Self::Print(_)
            | Self::Bench(_) => Exit::Host,
            Self::New(_) => Exit::Usage,
            Self::Build(error) => exit_of_build(error),
            Self::Agent(failure) => failure.exit(),
            Self::Run(RunError::Runnable(error))
            | Self::Snapshot(SnapshotError::Runnable(error)) => exit_of_runnable(error),
            Self::Run(RunError::Snapshot(error)) | Self::Snapshot(SnapshotError::Open(error)) => {
                error.exit()
            }
            Self::Snapshot(SnapshotError::Verify { source, .. }) => exit_of_verify(source),
            Self::Inspect(InspectError::Image { .. }) => Exit::ImageRefused,
            Self::Run(RunError::Network(error)) if error.is_usage() => Exit::Usage,
            Self::Run(RunError::Event(_) | RunError::SecretValue(_) | RunError::Settings(_))
            | Self::Snapshot(SnapshotError::Settings(_)) => Exit::Usage,
            Self::Inspect(InspectError::Print(_))
            | Self::Run(
                RunError::Vmm(_)
                | RunError::Network(_)
                | RunError::Kv(_)
                | RunError::Queue(_)
                | RunError::Secrets(_)
                | RunError::Capability(_)
                | RunError::Print(_),
            )
            | Self::Snapshot(SnapshotError::Vmm(_) | SnapshotError::Print(_)) => Exit::Host,
            Self::Run(RunError::Launch(error)) | Self::Snapshot(SnapshotError::Launch(error)) => {
                error.outcome().exit()
            }
            Self::Snapshot(SnapshotError::Write(error))
            | Self::Run(RunError::Save(CreateSnapshotError::Write(error))) => {
                exit_of_blame(error.blame())
            }
            Self::Snapshot(SnapshotError::Save(_)) | Self::Run(RunError::Save(_)) => Exit::Host,
        }
    }
}

fn exit_of_runnable(error: &RunnableError) -> Exit {
    match error {
        RunnableError::Build(error) => exit_of_build(error),
        RunnableError::Image { .. } | RunnableError::Abi { .. } => Exit::ImageRefused,
    }
}

fn exit_of_build(error: &BuildError) -> Exit {
    match error {
        BuildError::Package(
            PackageError::NoPath(_) | PackageError::NoManifest(_) | PackageError::NotAsked(_),
        ) => Exit::Usage,
        BuildError::Write { .. } | BuildError::Print(_) => Exit::Host,
        _ => Exit::Build,
    }
}

/// The `jiffy` command.
pub fn main() -> ExitCode {
    let cli: Cli = match arguments() {
        Ok(cli) => cli,
        Err(end) => return end,
    };
    let exit = dispatch(cli.command).unwrap_or_else(|failure| {
        let _ = writeln!(stderr(), "error: {}", Untrusted(&chain(&failure)));
        failure.exit()
    });
    exit.end()
}

fn dispatch(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::New(options) => new::new(&options.into())?,
        Command::Sdk(SdkOptions { path, sdk }) => build::tell_cargo(&path, sdk.as_deref())?,
        Command::Build(BuildOptions {
            path,
            output,
            release: _,
            debug,
            features,
            no_default_features,
            strip,
            json,
        }) => {
            let profile = match debug {
                true => Profile::Debug,
                false => Profile::Release,
            };
            let options = build::Options {
                path,
                output,
                profile,
                features: Features {
                    names: names_of(&features),
                    no_default: no_default_features,
                },
                strip,
            };
            build::build_and_print(&options, Format::json_if(json))?;
        }
        Command::Inspect(InspectOptions { file, output }) => inspect::inspect(&file, output)?,
        Command::Run(options) => {
            let format = options.output;
            return Ok(run::run(&options.into(), format)?);
        }
        Command::Snapshot(SnapshotCommand::Create(options)) => {
            let format = Format::json_if(options.json);
            return Ok(snapshot::create(&options.into(), format)?);
        }
        Command::Snapshot(SnapshotCommand::Inspect(SnapshotOptions { directory, output })) => {
            snapshot::inspect(&directory, output)?;
        }
        Command::Snapshot(SnapshotCommand::Verify(SnapshotOptions { directory, output })) => {
            snapshot::verify(&directory, output)?;
        }
        Command::Agent(command) => return Ok(command.dispatch()?),
        Command::Doctor { output } => {
            // Everything that is needed is there, or not: one bit, as `grep` and `diff` have it.
            let all_is_there = doctor::doctor(output)?;
            if !all_is_there {
                return Ok(Exit::FunctionError);
            }
        }
        Command::Bench { arguments } => match bench::bench(&arguments)? {},
        Command::Completions { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Cli::command(), "jiffy", &mut script);
            stdout().write_all(&script)?;
        }
        Command::Symbols { returns, addresses } => {
            let innermost = match returns {
                true => Innermost::Return,
                false => Innermost::Instruction,
            };
            symbols::serve(&addresses, innermost, stdout())?;
        }
    }
    Ok(Exit::Ok)
}

impl From<NewOptions> for new::Options {
    fn from(options: NewOptions) -> Self {
        Self {
            path: options.path,
            name: options.name,
            sdk: options.sdk,
            std: options.std,
            template: match (options.http, options.events) {
                (true, _) => Template::Http,
                (_, true) => Template::Events,
                _ => Template::Event,
            },
            kind: options.lang,
        }
    }
}

/// Names of features, which may also be separated by spaces, as cargo has it.
fn names_of(features: &[String]) -> Vec<String> {
    let names = features.iter().flat_map(|names| names.split_whitespace());
    names.map(String::from).collect()
}

impl From<RunOptions> for run::Options {
    fn from(options: RunOptions) -> Self {
        let (flags, variables) = options.vm.parts();
        let what = match options.snapshot {
            Some(path) => What::Snapshot { path, flags },
            None => What::Function {
                path: options.path,
                flags,
                variables,
            },
        };
        let devices = options.console.then_some(Device::Console);
        Self {
            what,
            request: options.request,
            devices: devices.into_iter().collect(),
            network: options.network,
            requests: options.requests,
            stats: options.stats,
            kv_file: options.kv_file,
            secrets: options.secrets,
            egress: options.egress.into(),
            jail: options.jail.into(),
        }
    }
}

impl From<CreateOptions> for snapshot::Options {
    fn from(options: CreateOptions) -> Self {
        let (flags, variables) = options.boot.parts();
        Self {
            path: options.path,
            output: options.output,
            flags,
            variables,
            jail: options.jail.into(),
        }
    }
}

#[cfg(test)]
mod tests;

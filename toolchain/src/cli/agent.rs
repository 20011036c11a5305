//! The verbs that ask an agent, and `dev`, which brings its own.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Subcommand};

use super::{
    VmArguments, exit_of_runnable, help, kv::KvCommand, queue::QueueCommand, secret::SecretCommand,
};
use crate::{
    client::{
        self, Agent, AliasTarget, ClientError, DeployOptions, Endpoint, InvokeOptions, LogOptions,
        Removal, Since, TopOptions, URL_DEFAULT,
    },
    dev::{self, DevError, DevOptions},
    manifest::Manifest,
    output::Format,
};
use jiffy_console::Exit;
use jiffy_model::{
    AliasName, CONCURRENCY_DEFAULT, EnvironmentChanges, FunctionName, SomeSettings, VersionNumber,
};

#[derive(Debug, Subcommand)]
pub(super) enum AgentCommand {
    /// Runs an agent here, and deploys a crate whenever it changes. Ctrl-C ends both.
    #[command(after_help = "\
Examples:
  jiffy dev
  jiffy dev examples/hello --ephemeral --listen 127.0.0.1:8080

What neither jiffy.toml nor a flag says is the default, whatever an earlier `jiffy dev` said. The agent's store is kept in ~/.local/state/jiffy/dev ($XDG_STATE_HOME) unless --ephemeral is given. JIFFYD names
another jiffyd, and JIFFYD_* variables configure it as they do elsewhere.")]
    Dev(DevArguments),
    /// Deploys a function: builds it, uploads the image, and makes the new version live.
    #[command(after_help = format!("\
Examples:
  jiffy deploy
  jiffy deploy examples/hello --memory 32MiB --timeout 500ms --env GREETING=Hi
  jiffy deploy hello.elf --name hello-2 --isolation reuse --min-ready 2

The same can stand in jiffy.toml beside the function's Cargo.toml; flags win. What neither says stays as the live version
has it; a function that is new, or --reset, begins with the defaults. --env adds to what is there or changes it, while
[env] in jiffy.toml names all variables that there are:
  name = \"hello\"
  memory = \"32MiB\"
  timeout = \"500ms\"
  isolation = \"fresh\"
  max-concurrency = 10
  min-ready = 0
  description = \"Greets by name\"
  [env]
  GREETING = \"Hi\"

{}", Exit::table(Exit::Build)))]
    Deploy(DeployArguments),
    /// Sends a request to a function: the response goes to standard output.
    #[command(after_help = format!("\
Examples:
  jiffy invoke hello --event '{{\"name\":\"Ada\"}}' --stats
  jiffy invoke hello --event '{{\"name\":\"Ada\"}}' --requests 1000 --stats
  jiffy invoke hello:3 --event-file event.json
  jiffy invoke hello:prod --event-file - < event.json -o json
  jiffy invoke webhook --http 'POST /hook?x=1' --header 'x-signature: 12ab' --event-file body

{}", Exit::table(Exit::Build)))]
    Invoke {
        #[command(flatten)]
        options: InvokeOptions,
        #[command(flatten)]
        common: Common,
    },
    /// Lists the functions.
    #[command(after_help = "Example:\n  jiffy ls -o json")]
    Ls(Common),
    /// Says what a function is, and its live version.
    #[command(after_help = "Example:\n  jiffy describe hello")]
    Describe(NameArguments),
    /// Lists a function's versions.
    #[command(after_help = "Example:\n  jiffy versions hello")]
    Versions(NameArguments),
    /// Names for versions, and how requests are spread over two of them.
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Makes an older version live again.
    #[command(after_help = "Examples:\n  jiffy rollback hello\n  jiffy rollback hello 3")]
    Rollback {
        /// The function.
        name: FunctionName,
        /// The version. Default: the one before the live one.
        version: Option<VersionNumber>,
        #[command(flatten)]
        common: Common,
    },
    /// Deletes a function with all its versions and logs, or one version.
    #[command(after_help = "Examples:\n  jiffy rm hello\n  jiffy rm hello:3 --yes")]
    Rm {
        #[command(flatten)]
        removal: Removal,
        #[command(flatten)]
        common: Common,
    },
    /// Stores of keys and values, which outlive the requests of functions.
    #[command(subcommand)]
    Kv(KvCommand),
    /// Queues of messages that functions and clients send.
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Secrets, which lie encrypted in the agent for functions that may have them.
    #[command(subcommand)]
    Secret(SecretCommand),
    /// Prints what a function logged.
    #[command(after_help = "\
Examples:
  jiffy logs hello --since 5m
  jiffy logs hello -f
  jiffy logs hello --request-id 5f0c2c1e-… -o json     (one JSON object a line)")]
    Logs {
        #[command(flatten)]
        options: LogOptions,
        #[command(flatten)]
        common: Common,
    },
    /// Shows what runs: functions, VMs, requests a second. Refreshes on a terminal; Ctrl-C ends it.
    #[command(after_help = "Examples:\n  jiffy top\n  jiffy top --once -o json")]
    Top {
        #[command(flatten)]
        options: TopOptions,
        #[command(flatten)]
        common: Common,
    },
    /// Prints what functions used: requests, time, bytes.
    #[command(after_help = "Examples:\n  jiffy usage\n  jiffy usage hello --since 1h -o json")]
    Usage {
        /// The function. Default: all.
        name: Option<FunctionName>,
        /// Only from then on, such as 5m or 2026-01-31T12:00:00Z.
        #[arg(long, value_name = "TIME")]
        since: Option<Since>,
        #[command(flatten)]
        common: Common,
    },
}

/// What all verbs have that ask an agent.
#[derive(Args, Debug)]
pub(super) struct Common {
    /// The agent's address.
    #[arg(long, value_name = "URL", env = "JIFFY_AGENT", default_value = URL_DEFAULT)]
    agent: String,
    /// A file with the agent's token. Default: JIFFY_TOKEN, or ~/.config/jiffy/token if it is there.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Common {
    /// Lets `verb` ask the agent.
    pub(super) fn ask<T>(
        self,
        verb: impl FnOnce(&Agent, Format) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let endpoint = Endpoint {
            url: self.agent,
            token_file: self.token_file,
        };
        verb(&Agent::new(&endpoint)?, self.output)
    }
}

#[derive(Args, Debug)]
pub(super) struct NameArguments {
    /// The function.
    name: FunctionName,
    #[command(flatten)]
    common: Common,
}

/// How a function is to be deployed; as in jiffy.toml.
#[derive(Args, Debug)]
struct SettingArguments {
    /// The function's name. Default: the package's.
    #[arg(long)]
    name: Option<FunctionName>,
    #[command(flatten)]
    vm: VmArguments,
    #[arg(long, value_name = "COUNT", help = help("VMs at most", CONCURRENCY_DEFAULT))]
    max_concurrency: Option<u32>,
    #[arg(long, value_name = "COUNT", help = help("VMs that are kept ready although nobody asks", 0))]
    min_ready: Option<u32>,
    /// For people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

impl SettingArguments {
    fn parts(self) -> (Manifest, EnvironmentChanges) {
        let (vm, variables) = self.vm.parts();
        let settings = SomeSettings {
            max_concurrency: self.max_concurrency,
            min_ready: self.min_ready,
            description: self.description,
            ..vm
        };
        let name = self.name;
        let said = Manifest {
            name,
            settings,
            ..Manifest::default()
        };
        (said, variables)
    }
}

#[derive(Args, Debug)]
pub(super) struct DevArguments {
    /// The function's crate.
    #[arg(default_value = ".")]
    path: PathBuf,
    /// Where the agent listens.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:7070")]
    listen: SocketAddr,
    /// Keep nothing: the agent's store is temporary.
    #[arg(long)]
    ephemeral: bool,
    #[command(flatten)]
    settings: SettingArguments,
}

#[derive(Args, Debug)]
pub(super) struct DeployArguments {
    /// An image, or a function's crate, which is built.
    #[arg(default_value = ".")]
    path: PathBuf,
    #[command(flatten)]
    settings: SettingArguments,
    /// Begin with the defaults and not with what the live version has.
    #[arg(long)]
    reset: bool,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Subcommand)]
pub(super) enum AliasCommand {
    /// Lists a function's aliases.
    #[command(after_help = "Example:\n  jiffy alias ls hello")]
    Ls(NameArguments),
    /// Makes an alias, or leads it elsewhere.
    #[command(after_help = "\
Examples:
  jiffy alias set hello prod 3
  jiffy alias set hello prod 3 4=100         version 4 gets 100 of 1000 requests")]
    Set {
        /// The function.
        name: FunctionName,
        /// The alias.
        alias: AliasName,
        /// One version, or two of which one has its share per mille.
        #[arg(value_name = "VERSION[=PERMILLE]", required = true, num_args = 1..=2)]
        targets: Vec<AliasTarget>,
        /// For people.
        #[arg(long, value_name = "TEXT", default_value = "")]
        description: String,
        #[command(flatten)]
        common: Common,
    },
    /// Removes an alias; its versions stay.
    #[command(after_help = "Example:\n  jiffy alias rm hello prod")]
    Rm {
        /// The function.
        name: FunctionName,
        /// The alias.
        alias: AliasName,
        #[command(flatten)]
        common: Common,
    },
}

/// Why one of these verbs failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum AgentFailure {
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error(transparent)]
    Dev(#[from] DevError),
}

impl AgentFailure {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Client(error) | Self::Dev(DevError::Client(error)) => exit_of_client(error),
            Self::Dev(error) => exit_of_dev(error),
        }
    }
}

fn exit_of_client(error: &ClientError) -> Exit {
    match (error.exit(), error) {
        (Some(exit), _) => exit,
        (None, ClientError::Runnable(error)) => exit_of_runnable(error),
        (None, _) => Exit::Host,
    }
}

fn exit_of_dev(error: &DevError) -> Exit {
    use crate::build::PackageError as Package;

    match error {
        DevError::Package(Package::NoPath(_) | Package::NoManifest(_)) | DevError::NoHome => {
            Exit::Usage
        }
        DevError::Package(_) => Exit::Build,
        _ => Exit::Host,
    }
}

impl AgentCommand {
    /// Does what is asked for.
    pub(super) fn dispatch(self) -> Result<Exit, AgentFailure> {
        match self {
            Self::Dev(arguments) => dev::dev(&arguments.into())?,
            Self::Deploy(arguments) => {
                let (flags, variables) = arguments.settings.parts();
                let options = DeployOptions {
                    path: arguments.path,
                    flags,
                    variables,
                    reset: arguments.reset,
                    publish: true,
                };
                let common = arguments.common;
                common.ask(|agent, format| client::deploy(agent, &options, format))?;
            }
            Self::Invoke { options, common } => {
                return Ok(common.ask(|agent, format| client::invoke(agent, &options, format))?);
            }
            Self::Ls(common) => common.ask(client::list)?,
            Self::Describe(NameArguments { name, common }) => {
                common.ask(|agent, format| client::describe(agent, &name, format))?;
            }
            Self::Versions(NameArguments { name, common }) => {
                common.ask(|agent, format| client::versions(agent, &name, format))?;
            }
            Self::Alias(command) => command.dispatch()?,
            Self::Kv(command) => command.dispatch()?,
            Self::Queue(command) => command.dispatch()?,
            Self::Secret(command) => command.dispatch()?,
            Self::Rollback {
                name,
                version,
                common,
            } => common.ask(|agent, format| client::rollback(agent, &name, version, format))?,
            Self::Rm { removal, common } => {
                common.ask(|agent, format| client::remove(agent, &removal, format))?;
            }
            Self::Logs { options, common } => {
                common.ask(|agent, format| client::logs(agent, &options, format))?;
            }
            Self::Top { options, common } => {
                common.ask(|agent, format| client::top(agent, options, format))?;
            }
            Self::Usage {
                name,
                since,
                common,
            } => common.ask(|agent, format| client::usage(agent, name.as_ref(), since, format))?,
        }
        Ok(Exit::Ok)
    }
}

impl AliasCommand {
    fn dispatch(self) -> Result<(), ClientError> {
        match self {
            Self::Ls(NameArguments { name, common }) => {
                common.ask(|agent, format| client::alias_list(agent, &name, format))
            }
            Self::Set {
                name,
                alias,
                targets,
                description,
                common,
            } => common.ask(|agent, format| {
                client::alias_set(agent, &name, &alias, &targets, &description, format)
            }),
            Self::Rm {
                name,
                alias,
                common,
            } => common.ask(|agent, format| client::alias_remove(agent, &name, &alias, format)),
        }
    }
}

impl From<DevArguments> for DevOptions {
    fn from(arguments: DevArguments) -> Self {
        let (flags, variables) = arguments.settings.parts();
        Self {
            path: arguments.path,
            flags,
            variables,
            listen: arguments.listen,
            ephemeral: arguments.ephemeral,
        }
    }
}

#[cfg(test)]
mod tests;

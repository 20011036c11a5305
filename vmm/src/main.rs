//! `jiffy-vmm`: virtual machines, each in a jailed process of its own.
//!
//! `jiffy-vmm spawner` is what `jiffy` and the agent start: it makes the processes, as the one on the
//! other end of its standard input asks. `jiffy-vmm IMAGE` does without them: it starts itself as a
//! spawner, sends one event and prints the response.
#![deny(unsafe_code)]

mod direct;

use std::{io, io::Write as _, os::fd::AsFd, process::ExitCode};

use clap::{Parser, Subcommand};
use jiffy_console::{Exit, arguments, stderr};
use jiffy_socket::ControlSocket;
use jiffy_tap::NetworkOptions;
use jiffy_vmm::{jail, spawner};

/// Boots a jiffy function image in a virtual machine of its own.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = format!("Example:\n  jiffy-vmm hello.elf --event '{{\"name\":\"Ada\"}}'\n\n{}", Exit::table(Exit::Host))
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    direct: Option<direct::Options>,
    // Not in there: clap takes an argument that is flattened twice for none of those that make the rest be there.
    #[command(flatten)]
    network: NetworkOptions,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes jailed processes with a VM each, for the program on the other end of standard input.
    Spawner(spawner::Options),
}

fn main() -> ExitCode {
    // What the program that started this one left open is nobody's here, and would be every shell's until it closes it.
    // SAFETY: nothing in this process has opened anything yet.
    #[expect(unsafe_code, reason = "descriptors are closed that no value owns")]
    let closed = unsafe { jail::keep_only_standard_and(&[]) };
    if let Err(error) = closed {
        let error = jiffy_control::error_chain(&error);
        let _ = writeln!(stderr(), "jiffy-vmm: {error}");
        return ExitCode::FAILURE;
    }
    let cli: Cli = match arguments() {
        Ok(cli) => cli,
        Err(end) => return end,
    };
    match (cli.command, cli.direct) {
        (Some(Command::Spawner(options)), _) => spawn(&options),
        (None, Some(options)) => direct::run(&options, &cli.network),
        // Of a network alone.
        (None, None) => {
            let _ = writeln!(
                stderr(),
                "jiffy-vmm: no image is named: see `jiffy-vmm --help`"
            );
            Exit::Usage.end()
        }
    }
}

fn spawn(options: &spawner::Options) -> ExitCode {
    if options.no_jail {
        let _ = writeln!(
            stderr(),
            "jiffy-vmm: warning: VMs run WITHOUT A JAIL (--no-jail); never do that with code you do not trust"
        );
    }
    let owner = match io::stdin().as_fd().try_clone_to_owned() {
        Ok(owner) => ControlSocket::from(owner),
        Err(error) => {
            let _ = writeln!(
                stderr(),
                "jiffy-vmm: cannot take over the socket on standard input: {error}"
            );
            return ExitCode::FAILURE;
        }
    };
    match spawner::run(owner, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let error = jiffy_control::error_chain(&error);
            let _ = writeln!(
                stderr(),
                "jiffy-vmm: {error} (this command is for programs; use `jiffy`, or `jiffy-vmm IMAGE`)"
            );
            ExitCode::FAILURE
        }
    }
}

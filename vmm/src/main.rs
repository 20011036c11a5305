//! `jiffy-vmm`: one VM in one process.
//!
//! `jiffy-vmm serve IMAGE` is what `jiffy` and the agent start: standard input is the request
//! stream, standard output the control socket. `jiffy-vmm IMAGE` does without them: it serves
//! itself, sends one event and prints the response.

mod direct;
mod serve;

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

/// Boots a jiffy function image in a virtual machine of its own.
#[derive(Debug, Parser)]
#[command(
    version,
    args_conflicts_with_subcommands = true,
    arg_required_else_help = true,
    after_help = "Example:\n  jiffy-vmm hello.elf --event '{\"name\":\"Ada\"}'\n\nExit codes: 0 the function answered, 1 it returned an error, 2 wrong usage, 3 it refused the event,\n4 it panicked, 5 it faulted,\n6 it took too long, 7 it ran out of memory, 8 the image was refused, 9 the host failed."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    direct: Option<direct::Options>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the request stream on standard input, with the control socket on standard output.
    Serve(ServeOptions),
}

#[derive(Args, Debug)]
struct ServeOptions {
    /// RAM of the VM, bytes.
    #[arg(long, default_value_t = jiffy_abi::layout::RAM_BYTES_DEFAULT)]
    memory: u64,
    /// What a request, or `init`, may take, milliseconds; without it, for ever.
    #[arg(long)]
    timeout_ms: Option<u64>,
    /// The image.
    image: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match (cli.command, cli.direct) {
        (Some(Command::Serve(options)), _) => serve::serve(&options),
        (None, Some(options)) => direct::run(&options),
        (None, None) => unreachable!("clap demands a subcommand or an image"),
    }
}

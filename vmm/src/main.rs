//! `jiffy-vmm`: one VM in one process.
//!
//! `jiffy-vmm serve IMAGE` is what `jiffy` and the agent start: standard input is the request
//! stream, standard output the control socket. `jiffy-vmm IMAGE` does without them: it serves
//! itself, sends one event and prints the response.

mod direct;
mod serve;

use std::{path::PathBuf, process::ExitCode, time::Duration};

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
    /// Boots an image, runs its `init` and saves it, with the control socket on standard output.
    Snapshot(SnapshotOptions),
}

#[derive(Args, Debug)]
struct ServeOptions {
    #[command(flatten)]
    limits: Limits,
    /// Restores this snapshot instead of booting an image; RAM is as large as the snapshot's.
    #[arg(long, value_name = "DIRECTORY")]
    snapshot: Option<PathBuf>,
    /// Keeps a restored VM's state from request to request.
    #[arg(long, requires = "snapshot")]
    reuse: bool,
    /// The image to boot.
    #[arg(required_unless_present = "snapshot", conflicts_with = "snapshot")]
    image: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct SnapshotOptions {
    #[command(flatten)]
    limits: Limits,
    /// Where the snapshot is made; one that is there already is replaced.
    #[arg(long, value_name = "DIRECTORY")]
    output: PathBuf,
    /// The image to boot.
    image: PathBuf,
}

#[derive(Args, Debug)]
struct Limits {
    /// RAM of the VM, bytes.
    #[arg(long, value_name = "BYTES", default_value_t = jiffy_abi::layout::RAM_BYTES_DEFAULT)]
    memory: u64,
    /// What a request, or `init`, may take, milliseconds; without it, for ever.
    #[arg(long, value_name = "MILLISECONDS")]
    timeout_ms: Option<u64>,
}

impl Limits {
    fn timeout(&self) -> Option<Duration> {
        self.timeout_ms.map(Duration::from_millis)
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match (cli.command, cli.direct) {
        (Some(Command::Serve(options)), _) => serve::serve(&options),
        (Some(Command::Snapshot(options)), _) => serve::snapshot(&options),
        (None, Some(options)) => direct::run(&options),
        (None, None) => unreachable!("clap demands a subcommand or an image"),
    }
}

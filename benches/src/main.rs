//! `jiffy-bench`, which `jiffy bench` becomes: the command line, and the order of a run.
//!
//! Not here: measuring (`suites`). A missed promise is told and is no failure: whoever wants to act on it reads the
//! report. What could not be measured is.
#![forbid(unsafe_code)]

use std::{
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiffy_benches::{
    ab, claims, compare, floor,
    host::Host,
    html,
    report::{Report, SCHEMA},
    setup::{self, Images},
    sides,
    suites::{self, Fallible, Run},
    table,
    turns::{self, Side},
};
use jiffy_console::{Exit, arguments, stderr, stdout};

/// Of each thing at most.
const ITERATIONS_MAX: i64 = 10_000_000;
/// An hour.
const TURNS_S_MAX: u64 = 3600;

/// Measures jiffy on this host, and beside it what the same work takes at least.
#[derive(Debug, Parser)]
#[command(
    name = "jiffy-bench",
    bin_name = "jiffy bench",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  jiffy bench                                    everything, in about two minutes
  jiffy bench --suite restore,fresh --iterations 2000
  jiffy bench --json out.json --html out.html    for programs, and for people
  jiffy bench --compare base.json                how it differs from an earlier run
  jiffy bench --full                             with 2,000 VMs for density and up to 5,000 for scale
  jiffy bench --suite peers --peers my-vmm.toml  beside the VMM you use today

Times are µs from a request written to its response read, unless a result's name says otherwise. The floor, the same work
in bare KVM ioctls, is in every run. Without --full, density makes 200 VMs and scale up to 500.
Exit codes: 0 all was measured, 1 something was not, 2 wrong usage, 9 the output could not be written. A missed promise is told and is no failure."
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    options: Options,
}

#[derive(Args, Debug)]
struct Options {
    /// What to measure: one or more, separated by commas; the floor is always among them.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "all",
        value_name = "SUITES"
    )]
    suite: Vec<Suite>,
    /// How often to do each thing. Default: each suite's own number.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=ITERATIONS_MAX))]
    iterations: Option<u32>,
    /// The large numbers of VMs too; takes half an hour and 8 GiB.
    #[arg(long)]
    full: bool,
    /// Leave both sides of a socket to the kernel instead of putting each on a CPU of its own.
    #[arg(long)]
    unpinned: bool,
    /// Write the report as JSON; `-` is standard output, and the table then goes to standard error.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write the report as one HTML page.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Tell how results differ from those of an earlier `--json`.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// A description of another neighbour, as those in benches/peers/specs; may be given more than once.
    #[arg(long, value_name = "SPEC.toml")]
    peers: Vec<PathBuf>,
    /// A folder with `hello.elf`, `dirty.elf`, `calls.elf` and `hello-std.elf`. Default: they are built from this jiffy's checkout.
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Tells how reports of one program, A, differ from those of another, B, run in turns with it.
    #[command(
        after_help = "Example:\n  jiffy bench ab a1.json a2.json a3.json -- b1.json b2.json b3.json\n\nscripts/bench-ab makes such reports of two commits."
    )]
    Ab {
        /// Reports of A.
        #[arg(required = true, value_name = "A.json")]
        a: Vec<PathBuf>,
        /// Reports of B, as many.
        #[arg(last = true, required = true, value_name = "B.json")]
        b: Vec<PathBuf>,
    },
    /// Tells how fresh requests to an agent of B differ from those to one of A, asked in turns by one client.
    #[command(
        after_help = "Example:\n  jiffy bench turns a/release a/hello.elf b/release b/hello.elf --seconds 120\n\nscripts/bench-ab --turns builds two commits for it."
    )]
    Turns {
        /// The folder of A's jiffyd and jiffy-vmm.
        a: PathBuf,
        /// The image of hello as A builds it.
        a_hello: PathBuf,
        /// The folder of B's jiffyd and jiffy-vmm.
        b: PathBuf,
        /// The image of hello as B builds it.
        b_hello: PathBuf,
        /// How long to ask.
        #[arg(long, value_name = "S", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=TURNS_S_MAX))]
        seconds: u64,
    },
    /// Writes the page of an earlier report, as --html does.
    #[command(after_help = "Example:\n  jiffy bench page out.json -o out.html")]
    Page {
        /// What --json wrote.
        #[arg(value_name = "REPORT.json")]
        report: PathBuf,
        /// Where the page goes; `-` is standard output.
        #[arg(short, long, value_name = "FILE", default_value = "-")]
        output: PathBuf,
    },
    /// The floor's counterpart of a shell.
    #[command(hide = true, name = floor::RESTORE)]
    FloorRestore { ram_bytes: usize, pages: usize },
    /// The floor's other end of a socket.
    #[command(hide = true, name = floor::ECHO)]
    FloorEcho,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Suite {
    /// All of these.
    All,
    /// The same work in bare KVM ioctls and sockets.
    Floor,
    /// An image until READY, and a process until its answer.
    Boot,
    /// A snapshot into a shell until the first response.
    Restore,
    /// Requests to a VM that is reset after each.
    Fresh,
    /// Requests to a VM that keeps its state.
    Warm,
    /// What a request's calls to its host take.
    Calls,
    /// What it costs a function to be written with `std`.
    Std,
    /// Requests over HTTP, through the agent.
    Agent,
    /// What a VM costs in memory, and how fast they are made.
    Density,
    /// How latency grows with VMs, RAM, written pages and payload.
    Scale,
    /// The neighbours: processes, containers, WebAssembly.
    Peers,
}

/// In the order in which they run.
const ALL: [Suite; 11] = [
    Suite::Floor,
    Suite::Boot,
    Suite::Restore,
    Suite::Fresh,
    Suite::Warm,
    Suite::Calls,
    Suite::Std,
    Suite::Agent,
    Suite::Density,
    Suite::Scale,
    Suite::Peers,
];

impl Suite {
    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn run(self, run: &mut Run, specs: &[PathBuf]) -> Fallible<()> {
        match self {
            Self::All => Ok(()),
            Self::Floor => suites::floor::run(run),
            Self::Boot => suites::boot::run(run),
            Self::Restore => suites::restore::run(run),
            Self::Fresh => suites::invoke::fresh(run),
            Self::Warm => suites::invoke::warm(run),
            Self::Calls => suites::calls::run(run),
            Self::Std => suites::with_std::run(run),
            Self::Agent => suites::agent::run(run),
            Self::Density => suites::density::run(run),
            Self::Scale => suites::scale::run(run),
            Self::Peers => suites::peers::run(run, specs),
        }
    }
}

fn main() -> ExitCode {
    let cli: Cli = match arguments() {
        Ok(cli) => cli,
        Err(end) => return end,
    };
    let done = match cli.command {
        None => bench(&cli.options),
        Some(Command::Ab { a, b }) => print_differences(&a, &b),
        Some(Command::Turns {
            a,
            a_hello,
            b,
            b_hello,
            seconds,
        }) => print_turns(
            &Side {
                programs: a,
                hello: a_hello,
            },
            &Side {
                programs: b,
                hello: b_hello,
            },
            Duration::from_secs(seconds),
        ),
        Some(Command::Page { report, output }) => write_page(&report, &output),
        Some(Command::FloorRestore { ram_bytes, pages }) => {
            succeeded(floor::be_waiting(ram_bytes, pages))
        }
        Some(Command::FloorEcho) => succeeded(floor::be_echo()),
    };
    match done {
        Ok(true) => Exit::Ok.end(),
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(stderr(), "error: {}", jiffy_control::error_chain(&*error));
            ExitCode::FAILURE
        }
    }
}

fn succeeded(done: io::Result<()>) -> Fallible<bool> {
    done?;
    Ok(true)
}

/// Measures; whether all that was asked for could be.
fn bench(options: &Options) -> Fallible<bool> {
    // What cannot be read or written is known now and not after all the measuring.
    let before = options.compare.as_deref().map(compare::read).transpose()?;
    let mut json = options.json.as_deref().map(Output::create).transpose()?;
    let mut page = options.html.as_deref().map(Output::create).transpose()?;

    let programs = setup::programs()?;
    let host = Host::read();
    if options.unpinned {
        sides::unpin();
    }
    let mut run = Run {
        hello: PathBuf::new(),
        dirty: PathBuf::new(),
        calls: PathBuf::new(),
        hello_std: PathBuf::new(),
        iterations: options.iterations.map(|times| times as usize),
        full: options.full,
        table_on_stderr: [&json, &page]
            .into_iter()
            .flatten()
            .any(|output| output.is_standard),
        results: vec![],
        breakdowns: vec![],
        absent: vec![],
        neighbours: vec![],
        floors: Default::default(),
        programs,
    };
    run.progress("building the functions that are measured");
    let images = match &options.images {
        Some(folder) => Images::in_folder(folder)?,
        None => Images::build(&run.programs)?,
    };
    (run.hello, run.dirty) = (images.hello(), images.dirty());
    (run.calls, run.hello_std) = (images.calls(), images.hello_std());

    run.say(&host.line());
    for warning in host.warnings() {
        run.say(&format!("warning: {warning}"));
    }
    run.say(&table::header());
    let is_all = options.suite.contains(&Suite::All);
    let mut is_complete = true;
    for suite in ALL {
        let is_asked = suite == Suite::Floor || is_all || options.suite.contains(&suite);
        if is_asked && let Err(error) = suite.run(&mut run, &options.peers) {
            // The others have something to say all the same.
            is_complete = false;
            run.absent(&suite.name(), jiffy_control::error_chain(&*error));
        }
    }

    let report = Report {
        schema: SCHEMA,
        host,
        ratios: claims::of(&run.results, &run.neighbours, run.full),
        results: std::mem::take(&mut run.results),
        breakdowns: std::mem::take(&mut run.breakdowns),
        absent: std::mem::take(&mut run.absent),
        neighbours: std::mem::take(&mut run.neighbours),
    };
    tell(&run, &report, before.as_ref());
    if let Some(output) = &mut json {
        let mut text = serde_json::to_string_pretty(&report)?;
        text.push('\n');
        output.write(&text)?;
    }
    if let Some(output) = &mut page {
        output.write(&html::page(&report))?;
    }
    Ok(is_complete)
}

/// What follows the table.
fn tell(run: &Run, report: &Report, before: Option<&Report>) {
    run.say("");
    for ratio in &report.ratios {
        run.say(&table::ratio(ratio));
    }
    let promised = report.ratios.iter();
    let promised = promised.filter_map(|ratio| Some(ratio.promise?.is_kept(ratio.value)));
    let (kept, missed): (Vec<_>, Vec<_>) = promised.partition(|is_kept| *is_kept);
    if !kept.is_empty() || !missed.is_empty() {
        let (kept, missed) = (kept.len(), missed.len());
        run.say(&format!(
            "promises on this host: {kept} kept, {missed} missed"
        ));
    }
    let Some(before) = before else { return };
    run.say(&format!("\nbeside the run of {}:", before.host.date));
    if let Some(difference) = compare::difference_of_hosts(before, report) {
        run.say(&format!("warning: {difference}"));
    }
    let changes = compare::changes(before, report);
    if changes.is_empty() {
        run.say("nothing in common");
    }
    for change in changes {
        run.say(&change.to_string());
    }
}

fn print_differences(a: &[PathBuf], b: &[PathBuf]) -> Fallible<bool> {
    let read = |paths: &[PathBuf]| -> Fallible<Vec<Report>> {
        Ok(paths
            .iter()
            .map(|path| compare::read(path))
            .collect::<Result<_, _>>()?)
    };
    let (a, b) = (read(a)?, read(b)?);
    let differences = ab::differences(&a, &b)?;
    let mut out = stdout();
    writeln!(out, "p50 of B as a multiple of A's, {} rounds", a.len())?;
    for difference in differences {
        writeln!(out, "{difference}")?;
    }
    Ok(true)
}

fn print_turns(a: &Side, b: &Side, lasting: Duration) -> Fallible<bool> {
    let difference = turns::fresh(a, b, lasting)?;
    let rounds = difference.rounds;
    let mut out = stdout();
    writeln!(
        out,
        "p50 of B as a multiple of A's, {rounds} blocks of each in turns"
    )?;
    writeln!(out, "{difference}")?;
    Ok(true)
}

fn write_page(report: &Path, output: &Path) -> Fallible<bool> {
    let page = html::page(&compare::read(report)?);
    Output::create(output)?.write(&page)?;
    Ok(true)
}

/// Where a report goes.
struct Output {
    path: PathBuf,
    is_standard: bool,
    file: Box<dyn Write>,
}

impl Output {
    /// A file that is made now; `-` is standard output.
    fn create(path: &Path) -> Fallible<Self> {
        let is_standard = path.as_os_str() == "-";
        let file: Box<dyn Write> = if is_standard {
            Box::new(stdout())
        } else {
            let file = File::create(path).map_err(|error| {
                format!(
                    "cannot make {}: {error}; name a file in a folder that is there",
                    path.display()
                )
            })?;
            Box::new(file)
        };
        Ok(Self {
            path: path.to_owned(),
            is_standard,
            file,
        })
    }

    fn write(&mut self, text: &str) -> Fallible<()> {
        let written = self
            .file
            .write_all(text.as_bytes())
            .and_then(|()| self.file.flush());
        written.map_err(|error| format!("cannot write {}: {error}", self.path.display()).into())
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn suites_are_named_as_their_results() {
        let cli = Cli::try_parse_from(["x", "--suite", "floor,fresh,peers"]).expect("suites");
        assert_eq!(
            cli.options.suite,
            [Suite::Floor, Suite::Fresh, Suite::Peers]
        );
        assert_eq!(Suite::Restore.name(), "restore");
        assert!(Cli::try_parse_from(["x", "--suite", "fast"]).is_err());
        assert!(Cli::try_parse_from(["x", "--iterations", "0"]).is_err());
    }

    #[test]
    fn reports_of_b_stand_behind_two_dashes() {
        let cli = Cli::try_parse_from(["x", "ab", "1", "2", "--", "3", "4"]).expect("reports");
        let Some(Command::Ab { a, b }) = cli.command else {
            panic!("{cli:?}");
        };
        assert_eq!((a.len(), b.len()), (2, 2));
    }
}

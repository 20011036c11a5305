//! Reading symbols in a process of its own: the side that wants them, and the side that reads.
//!
//! ```text
//! PROGRAM symbols ADDRESS…   image on standard input ─▶ a line of JSON from the symbol table, then a line from all there is
//! ```
//!
//! Debug information that takes too much ends the process in the second step; what the first one said is there then.

use std::{
    fs::{self, File},
    io::{self, BufRead as _, Read, Write},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use jiffy_image::Image;
use rustix::process::{Pid, Resource, Rlimit, WaitId, WaitIdOptions, setrlimit, waitid};
use serde::{Deserialize, Serialize};

use crate::{
    Frame, Innermost,
    tables::{Data, Tables},
};

/// Name of the subcommand of the program that reads.
pub const COMMAND: &str = "symbols";
/// Tells it that the first address is a return address, too.
const RETURNS: &str = "--returns";
/// Bytes that are taken from it at most.
const OUTPUT_BYTES_MAX: u64 = 1 << 20;

/// What reading may take.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of symbols and debug information; a section beyond is left out.
    pub symbols_bytes_max: u64,
    /// Address space, bytes.
    pub memory_bytes_max: u64,
    /// CPU time, seconds: it does nothing else, so it ends soon after.
    pub cpu_s_max: u64,
}

/// The addresses of a backtrace.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Innermost first.
    pub addresses: &'a [u64],
    /// What the first one is; the others are return addresses.
    pub innermost: Innermost,
}

impl Wanted<'_> {
    /// Each address, and the instruction that is looked up for it: before a return address stands the call.
    pub fn calls(&self) -> impl Iterator<Item = (u64, u64)> {
        let first = u64::from(self.innermost == Innermost::Return);
        let addresses = self.addresses.iter().enumerate();
        addresses.map(move |(depth, address)| {
            let back = if depth == 0 { first } else { 1 };
            (*address, address.saturating_sub(back))
        })
    }
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// Whether the image has symbols at all.
    pub has_symbols: bool,
    /// For each address its functions, innermost first.
    pub frames: Vec<Vec<Frame>>,
}

/// How reading ended, and what it cost.
#[derive(Debug)]
pub struct Reading {
    /// What was read; all of it or only functions' names.
    pub names: Result<Names, SymbolsError>,
    /// CPU time of the process: what the scheduler counted, or the time that passed if it did not say.
    pub cpu: Duration,
}

/// Why there are only addresses.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum SymbolsError {
    #[error("cannot start a process")]
    Start(#[source] io::Error),
    #[error("the process ended early: is the image's debug information damaged?")]
    Ended,
}

/// A line of output.
#[derive(Serialize, Deserialize)]
struct Line {
    has_symbols: bool,
    /// With what a frame keeps to itself.
    frames: Vec<Vec<(Frame, bool)>>,
}

/// Has `program`, one that knows [`COMMAND`], look addresses up in `image`. Blocks for as long as that takes.
pub fn read(program: &Path, image: File, wanted: Wanted<'_>) -> Reading {
    let began = Instant::now();
    let mut command = Command::new(program);
    command.arg(COMMAND);
    if wanted.innermost == Innermost::Return {
        command.arg(RETURNS);
    }
    command
        .args(wanted.addresses.iter().map(u64::to_string))
        .env_clear()
        .stdin(image)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let mut process = match command.spawn() {
        Ok(process) => process,
        Err(error) => {
            return Reading {
                names: Err(SymbolsError::Start(error)),
                cpu: Duration::ZERO,
            };
        }
    };
    let mut said = vec![];
    if let Some(output) = process.stdout.take() {
        // What came before an error of the pipe counts.
        let _ = output.take(OUTPUT_BYTES_MAX).read_to_end(&mut said);
    }
    // It may have more to say than is wanted.
    let _ = process.kill();
    let cpu = cpu_time(&process).unwrap_or_else(|| began.elapsed());
    let _ = process.wait();
    Reading {
        names: decode(&said, wanted).ok_or(SymbolsError::Ended),
        cpu,
    }
}

/// The last whole line that says something of each address.
fn decode(said: &[u8], wanted: Wanted<'_>) -> Option<Names> {
    let lines = said.lines().map_while(Result::ok);
    let lines = lines.filter_map(|line| serde_json::from_str::<Line>(&line).ok());
    let line = lines
        .filter(|line| line.frames.len() == wanted.addresses.len())
        .last()?;
    let restored = |(frame, foreign)| Frame { foreign, ..frame };
    let frames = line.frames.into_iter();
    Some(Names {
        has_symbols: line.has_symbols,
        frames: frames
            .map(|frames| frames.into_iter().map(restored).collect())
            .collect(),
    })
}

/// What a process that has been killed took, which is known until it is waited for.
fn cpu_time(process: &Child) -> Option<Duration> {
    let id = Pid::from_raw(i32::try_from(process.id()).ok()?)?;
    waitid(
        WaitId::Pid(id),
        WaitIdOptions::EXITED | WaitIdOptions::NOWAIT,
    )
    .ok()?;
    let text = fs::read_to_string(format!("/proc/{}/schedstat", process.id())).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// The other side: writes the functions at the addresses in the image on `input` to `output`. Gives away first what it does
/// not need.
pub fn serve(
    wanted: Wanted<'_>,
    limits: Limits,
    input: &File,
    mut output: impl Write,
) -> io::Result<()> {
    for (resource, maximum) in [
        (Resource::As, limits.memory_bytes_max),
        (Resource::Cpu, limits.cpu_s_max),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
    ] {
        let maximum = Some(maximum);
        let current = maximum;
        setrlimit(resource, Rlimit { current, maximum })?;
    }
    let image = Image::read(input).map_err(io::Error::other)?;
    let package = image.note().function_name();
    let data = Data::read(input, limits.symbols_bytes_max);
    let tables = Tables::of_symbols(&data, package);
    write_line(&mut output, &tables, wanted)?;
    write_line(&mut output, &tables.with_debug(&data), wanted)
}

fn write_line(output: &mut impl Write, tables: &Tables<'_>, wanted: Wanted<'_>) -> io::Result<()> {
    let whole = |frame: Frame| {
        let foreign = frame.foreign;
        (frame, foreign)
    };
    let frames = wanted.calls().map(|(address, call)| {
        let frames = tables.frames(address, call).into_iter();
        frames.map(whole).collect()
    });
    let line = Line {
        has_symbols: !tables.is_empty(),
        frames: frames.collect(),
    };
    let mut bytes = serde_json::to_vec(&line)?;
    bytes.push(b'\n');
    output.write_all(&bytes)?;
    output.flush()
}

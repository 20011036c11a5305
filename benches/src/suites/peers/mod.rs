//! The neighbours: what starts functions elsewhere, side by side. Each does what `hello` does, with the same event.
//!
//! - `peers.NAME.cold`: from the start of a process, or of an instance in one, until its answer is read.
//! - `peers.NAME.warm`: one that is there already answers again.
//! - `peers.NAME.http_cold`, `.http_warm`: the same through HTTP, to be compared with the agent.
//!
//! They take turns, so that whatever else the host does meets all of them. What a neighbour isolates is told with it: one
//! without a VM or a container around what it starts is a limit, not a rival.
//! Not here: our own figures, which the other suites of the same run have.

mod apart;
mod local;
mod program;
pub mod spec;
mod wasmtime;
mod workerd;

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::{Failure, Fallible, Run};
use crate::{
    report::{Level, Measured, Neighbour, Promise, Ratio},
    samples::Samples,
};
use spec::Spec;

/// Rounds, each with a cold start of every neighbour, unless asked otherwise.
const COLD_ROUNDS: usize = 50;
const COLD_ROUNDS_FULL: usize = 200;
/// Rounds with a warm request to every neighbour that has such a thing.
const WARM_ROUNDS: usize = 500;
const WARM_ROUNDS_FULL: usize = 5000;
/// A cold start of a rival as a multiple of ours: what SPECIFICATION.md promises.
const RIVAL_AT_LEAST: f64 = 3.0;
/// fork+exec of a native binary as a multiple of a fresh VM.
const FORK_EXEC_AT_LEAST: f64 = 1.0;
const FORK_EXEC: &str = "fork_exec";

/// A neighbour that can be measured.
trait Contender {
    /// One or more cold starts.
    fn cold(&mut self, samples: &mut Samples) -> Fallible<()>;

    /// One or more requests to what is there already; most have no such thing and add no sample.
    fn warm(&mut self, _samples: &mut Samples) -> Fallible<()> {
        Ok(())
    }
}

/// Where neighbours are found and made.
struct Workshop {
    /// Gone with this value.
    made: TempDir,
    /// Where `scripts/peers` puts what it installs.
    installed: PathBuf,
}

impl Workshop {
    fn new(programs: &Path) -> Fallible<Self> {
        let made = tempfile::Builder::new().prefix("jiffy-peers-").tempdir();
        Ok(Self {
            made: made.map_err(|error| {
                format!("cannot make a temporary directory: {error}; set TMPDIR to one with room")
            })?,
            installed: programs.parent().unwrap_or(programs).join("peers"),
        })
    }
}

/// What somebody is called, what they isolate, and how to get at them.
struct Candidate {
    neighbour: Neighbour,
    contender: Fallible<Box<dyn Contender>>,
}

impl Candidate {
    fn new(
        name: &str,
        level: Level,
        is_vm_or_container: bool,
        isolation: &str,
        contender: Fallible<Box<dyn Contender>>,
    ) -> Self {
        let neighbour = Neighbour {
            name: name.to_owned(),
            isolation: isolation.to_owned(),
            is_vm_or_container,
            level,
        };
        Self {
            neighbour,
            contender,
        }
    }
}

/// One that is measured: until it fails.
struct Entrant {
    neighbour: Neighbour,
    contender: Box<dyn Contender>,
    cold: Samples,
    warm: Samples,
    failure: Option<Failure>,
}

impl Entrant {
    /// One turn; its samples are forgotten if they do not count.
    fn turn(&mut self, is_warm: bool, counts: bool) {
        if self.failure.is_some() {
            return;
        }
        let mut forgotten = Samples::new();
        let samples = match (counts, is_warm) {
            (false, _) => &mut forgotten,
            (true, true) => &mut self.warm,
            (true, false) => &mut self.cold,
        };
        let done = if is_warm {
            self.contender.warm(samples)
        } else {
            self.contender.cold(samples)
        };
        self.failure = done.err();
    }
}

/// Measures all neighbours that are found, and those that files at `specs` describe.
///
/// # Errors
/// A file of `specs` that cannot be used, before anything is measured. A neighbour that is missing or fails is told as absent.
pub fn run(run: &mut Run, specs: &[PathBuf]) -> Fallible<()> {
    let specs = spec::read_all(specs)?;
    let workshop = Workshop::new(&run.programs)?;
    run.progress("looking for the neighbours");
    let mut candidates = known(&workshop);
    candidates.extend(specs.into_iter().map(described));
    measure(run, candidates);
    Ok(())
}

/// Those that we know, found or not.
fn known(workshop: &Workshop) -> Vec<Candidate> {
    let mut candidates = local::candidates(workshop);
    candidates.extend(wasmtime::candidates(workshop));
    candidates.push(workerd::candidate(workshop));
    candidates
}

/// Names of those that [`known`] gives: no file may take them.
const KNOWN: [&str; 6] = [
    FORK_EXEC,
    "bwrap",
    "crun",
    "wasmtime",
    "wasmtime_process",
    "workerd",
];

fn described(spec: Spec) -> Candidate {
    let (name, isolation) = (spec.name.clone(), spec.isolation.clone());
    let is_vm_or_container = spec.vm_or_container;
    let program = spec.into_program().map(|it| Box::new(it) as Box<_>);
    Candidate::new(
        &name,
        Level::Process,
        is_vm_or_container,
        &isolation,
        program,
    )
}

fn measure(run: &mut Run, candidates: Vec<Candidate>) {
    let mut entrants = vec![];
    for Candidate {
        neighbour,
        contender,
    } in candidates
    {
        match contender {
            Ok(contender) => entrants.push(Entrant {
                neighbour,
                contender,
                cold: Samples::new(),
                warm: Samples::new(),
                failure: None,
            }),
            Err(failure) => tell_absent(run, &neighbour, &failure),
        }
    }

    let (cold, warm) = if run.full {
        (COLD_ROUNDS_FULL, WARM_ROUNDS_FULL)
    } else {
        (COLD_ROUNDS, WARM_ROUNDS)
    };
    for (what, rounds, is_warm) in [
        ("cold starts of the neighbours", run.times(cold), false),
        ("warm requests to the neighbours", run.times(warm), true),
    ] {
        for counts in run.rounds(what, rounds) {
            for entrant in &mut entrants {
                entrant.turn(is_warm, counts);
            }
        }
    }

    for entrant in entrants {
        let neighbour = entrant.neighbour;
        if let Some(failure) = entrant.failure {
            tell_absent(run, &neighbour, &failure);
            continue;
        }
        let protocol = match neighbour.level {
            Level::Process => "",
            Level::Http => "http_",
        };
        for (kind, samples) in [("cold", entrant.cold), ("warm", entrant.warm)] {
            if !samples.is_empty() {
                let name = format!("peers.{}.{protocol}{kind}", neighbour.name);
                run.found(samples.measured(name));
            }
        }
        run.say(&format!("  {}: {}", neighbour.name, neighbour.isolation));
        run.neighbours.push(neighbour);
    }
}

fn tell_absent(run: &mut Run, neighbour: &Neighbour, failure: &Failure) {
    let why = jiffy_control::error_chain(&**failure);
    run.absent(&format!("peers.{}", neighbour.name), why);
}

/// Cold and warm neighbours as multiples of what we do in the same run. Rivals, which put a VM or a container around what they
/// start, and fork+exec have a promise to be held to.
pub fn ratios(results: &[Measured], neighbours: &[Neighbour]) -> Vec<Ratio> {
    let p50 = |name: &str| {
        let mut all = results.iter();
        let result = all.find(|result| result.name == name && result.at.is_none())?;
        (result.p50 > 0.0).then_some(result.p50)
    };
    let mut ratios = vec![];
    let mut compare = |theirs: &str, ours: &str, promise: Option<Promise>| {
        let value = p50(theirs)
            .zip(p50(ours))
            .map(|(theirs, ours)| theirs / ours);
        ratios.extend(value.map(|value| Ratio {
            name: format!("{theirs} / {ours}"),
            value,
            promise,
        }));
    };
    for neighbour in neighbours {
        let name = &neighbour.name;
        let is_rival = neighbour.is_vm_or_container;
        let promise = is_rival.then_some(Promise::AtLeast(RIVAL_AT_LEAST));
        match neighbour.level {
            Level::Process => {
                compare(&format!("peers.{name}.cold"), "restore.pooled", promise);
                compare(&format!("peers.{name}.warm"), "invoke.warm", None);
            }
            Level::Http => {
                compare(&format!("peers.{name}.http_cold"), "agent.cold", promise);
                compare(&format!("peers.{name}.http_warm"), "agent.fresh", None);
            }
        }
        if name == FORK_EXEC {
            let promise = Some(Promise::AtLeast(FORK_EXEC_AT_LEAST));
            compare(&format!("peers.{name}.cold"), "invoke.fresh", promise);
        }
    }
    ratios
}

#[cfg(test)]
mod tests;

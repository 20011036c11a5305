//! What is measured, a file for each suite.
//!
//! A suite gets a [`Run`], measures, and tells it each result as soon as it is there. It cleans up what it made.

pub mod agent;
pub mod boot;
pub mod calls;
pub mod density;
pub mod floor;
pub mod invoke;
pub mod peers;
pub mod restore;
pub mod scale;
mod servers;
pub mod with_std;

use std::{
    collections::BTreeMap,
    io::Write as _,
    path::PathBuf,
    time::{Duration, Instant},
};

use jiffy_console::{stderr, stdout};

use crate::{
    report::{Absent, Breakdown, Measured, Neighbour},
    samples::Samples,
    table,
};

/// What is done before the first sample that counts, as a part of the samples: caches fill, lazy things are made.
const WARM_UP_PART: usize = 20;
/// Between two lines of progress, so that telling it costs nothing.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// Why a suite cannot go on: one sentence with the fix, and its causes.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;
/// What most of this crate returns.
pub type Fallible<T> = Result<T, Failure>;

/// What a suite works with, and where its results go.
#[derive(Debug)]
pub struct Run {
    /// The folder of `jiffy`, `jiffy-vmm` and `jiffyd`.
    pub programs: PathBuf,
    /// The image of `hello`.
    pub hello: PathBuf,
    /// The image of the function that writes as many pages as its event says.
    pub dirty: PathBuf,
    /// The image of the function that calls its host as often as its event says.
    pub calls: PathBuf,
    /// The image of `hello` with `std`.
    pub hello_std: PathBuf,
    /// Times that each thing is done; `None`: the suite's own number, so that all suites together take two minutes.
    pub iterations: Option<usize>,
    /// The large things too: 2,000 VMs for `density`, 5,000 for `scale`.
    pub full: bool,
    /// The table goes to standard error, because standard output is the report's.
    pub table_on_stderr: bool,
    /// What was found so far.
    pub results: Vec<Measured>,
    /// Where requests spend their time.
    pub breakdowns: Vec<Breakdown>,
    /// What could not be measured.
    pub absent: Vec<Absent>,
    /// Whom `peers` measured.
    pub neighbours: Vec<Neighbour>,
    /// Samples of the floor: suites add to them, because they take turns with it.
    pub floors: BTreeMap<&'static str, Samples>,
}

impl Run {
    /// How often to do a thing that is by default done so often.
    pub fn times(&self, default: usize) -> usize {
        self.iterations.unwrap_or(default)
    }

    /// Tells a result: it is printed now and reported later.
    pub fn found(&mut self, result: Measured) {
        self.say(&table::row(&result));
        self.results.push(result);
    }

    /// Tells more samples of a floor; it is reported with all of them, and with none of them twice.
    pub fn found_floor(&mut self, name: &'static str, samples: &Samples) {
        let all = self.floors.entry(name).or_default();
        all.merge(samples);
        let result = all.measured(name);
        self.results.retain(|earlier| earlier.name != name);
        self.found(result);
    }

    /// Goes round `times` and a few times more before; each round is told whether its samples count.
    pub fn rounds(&self, what: &str, times: usize) -> impl Iterator<Item = bool> {
        let warm_up = times.div_ceil(WARM_UP_PART);
        let mut told: Option<Instant> = None;
        (0..warm_up + times).map(move |round| {
            if told.is_none_or(|told| told.elapsed() > PROGRESS_EVERY) {
                self.progress(&format!("{what}: {round} of {}", warm_up + times));
                told = Some(Instant::now());
            }
            round >= warm_up
        })
    }

    /// Tells that something is not there.
    pub fn absent(&mut self, name: &str, why: impl Into<String>) {
        let (name, why) = (name.to_owned(), why.into());
        self.say(&format!("{name:<40} absent: {why}"));
        self.absent.push(Absent { name, why });
    }

    /// A line of the table.
    pub fn say(&self, line: &str) {
        self.progress("");
        // Who has closed the output wants no more of it, and the report may go elsewhere.
        let _ = if self.table_on_stderr {
            writeln!(stderr(), "{line}")
        } else {
            writeln!(stdout(), "{line}")
        };
    }

    /// Says on a terminal what is going on; the next call replaces it.
    pub fn progress(&self, what: &str) {
        let mut stderr = stderr();
        if stderr.is_terminal() {
            // Nobody is told less if this fails.
            let _ = stderr.write_all(format!("\r\x1b[K{what}").as_bytes());
        }
    }
}

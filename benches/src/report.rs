//! What a run found: the JSON that `--json` writes, `--compare` reads and the page is made of.
//!
//! Not here: measuring (`suites`), the table (`table`), the page (`html`).

use serde::{Deserialize, Serialize};

use crate::host::Host;

/// Raised when a name or a meaning changes.
pub const SCHEMA: u32 = 1;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// Where it ran.
    pub host: Host,
    /// In the order in which they were measured.
    pub results: Vec<Measured>,
    /// What they say of each other.
    pub ratios: Vec<Ratio>,
    /// Where requests spend their time.
    pub breakdowns: Vec<Breakdown>,
    /// What could not be measured, and why.
    pub absent: Vec<Absent>,
    /// Whose figures are among the results besides ours.
    #[serde(default)]
    pub neighbours: Vec<Neighbour>,
}

/// One result: a distribution, or a single figure with `n` of 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Such as `restore.pooled`; with `at` it is unique in a report.
    pub name: String,
    /// The point of a curve, for results called `scale.…`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<At>,
    /// `µs`, `1/s`, `KiB`.
    pub unit: String,
    /// Samples.
    pub n: u64,
    /// The smallest.
    pub min: f64,
    /// Half of the samples are not above it.
    pub p50: f64,
    /// 90 % are not.
    pub p90: f64,
    /// 99 % are not.
    pub p99: f64,
    /// 99.9 % are not.
    pub p999: f64,
    /// The largest.
    pub max: f64,
    /// Their sum, divided by `n`.
    pub mean: f64,
    /// Points of the cumulative distribution: share of the samples (0 to 1, rising), and what they are not above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub distribution: Vec<(f64, f64)>,
}

/// Where on a curve a result lies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct At {
    /// What varies: `live VMs`, `RAM`, `dirty pages`, `payload`.
    pub axis: String,
    /// How much of it.
    pub value: f64,
    /// `MiB`, `bytes`, or nothing for a count.
    pub unit: String,
}

/// One result as a multiple of another of the same run, by their p50.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ratio {
    /// Such as `restore.pooled / floor.pooled_restore`.
    pub name: String,
    /// The multiple.
    pub value: f64,
    /// What was promised, if something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise: Option<Promise>,
}

/// A bound that SPECIFICATION.md gives.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Promise {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

/// Where the time of one kind of request goes, in the order in which it passes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Such as `agent.cold`.
    pub name: String,
    /// Name and p50, µs, of each part.
    pub parts: Vec<(String, f64)>,
}

/// Something that is not there to be measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Absent {
    /// What: the name of a result, or of a neighbour.
    pub name: String,
    /// One sentence, with what to install or allow.
    pub why: String,
}

/// Something else that starts functions, measured as `peers.NAME.…`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Such as `crun`.
    pub name: String,
    /// What it keeps apart, for people.
    pub isolation: String,
    /// Whether that is a VM or a container: then it is a rival, and else a limit.
    pub is_vm_or_container: bool,
    /// Where its requests come in.
    pub level: Level,
}

/// How a neighbour is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// As a process or in one, as VMs are beneath the agent.
    Process,
    /// Through HTTP, as the agent is.
    Http,
}

impl Promise {
    /// Whether `value` keeps it.
    pub fn is_kept(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
        }
    }
}

impl Report {
    /// The result `name` that is no point of a curve.
    pub fn result(&self, name: &str) -> Option<&Measured> {
        let mut all = self.results.iter();
        all.find(|result| result.name == name && result.at.is_none())
    }
}

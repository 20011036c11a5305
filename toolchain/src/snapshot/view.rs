//! What a snapshot says of itself, for people and as JSON.

use std::fmt;

use jiffy_abi::{ABI_VERSION, layout::PAGE_BYTES};
use jiffy_snapshots::{Digest, FORMAT_VERSION, Snapshot};
use serde::Serialize;

use super::cpu::CpuView;
use crate::{
    image,
    output::{Bytes, Line, chain},
};

/// What `jiffy snapshot inspect` prints. A snapshot of another format or ABI cannot be opened.
#[derive(Debug, Serialize)]
pub(super) struct SnapshotView {
    sha256: String,
    format_version: u32,
    abi_version: u32,
    image_sha256: String,
    function_name: String,
    function_version: String,
    flags: Vec<&'static str>,
    #[serde(flatten)]
    ram: RamView,
    heap_bytes: u64,
    working_set: WorkingSetView,
    cpu: CpuView,
}

/// How RAM is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct RamView {
    ram_bytes: u64,
    ram_pages_stored: u64,
    /// Pages that are all zero and take no room.
    ram_pages_zero: u64,
}

#[derive(Debug, Serialize)]
struct WorkingSetView {
    pages: u64,
    runs: usize,
    /// Why there is none although there is a file for one.
    problem: Option<String>,
}

impl RamView {
    pub(super) fn new(ram_bytes: u64, ram_pages_stored: u64) -> Self {
        Self {
            ram_bytes,
            ram_pages_stored,
            ram_pages_zero: (ram_bytes / PAGE_BYTES).saturating_sub(ram_pages_stored),
        }
    }
}

impl fmt::Display for RamView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stored = self.ram_pages_stored;
        write!(
            f,
            "RAM {}: {stored} pages stored ({}), {} zero",
            Bytes(self.ram_bytes),
            Bytes(stored.saturating_mul(PAGE_BYTES)),
            self.ram_pages_zero
        )
    }
}

impl SnapshotView {
    pub(super) fn new(snapshot: &Snapshot) -> Self {
        let state = snapshot.state();
        let (image, run) = (&state.image, &state.run);
        let working_set = snapshot.working_set();
        Self {
            sha256: snapshot.digest().to_string(),
            format_version: FORMAT_VERSION,
            abi_version: ABI_VERSION,
            image_sha256: Digest(image.digest).to_string(),
            function_name: image.function_name.clone(),
            function_version: image.function_version.clone(),
            flags: image::flags(image.flags),
            ram: RamView::new(snapshot.ram_bytes(), snapshot.ram_pages_stored()),
            heap_bytes: run.heap_end.saturating_sub(run.heap_start),
            working_set: WorkingSetView {
                pages: working_set.iter().map(|run| u64::from(run.pages)).sum(),
                runs: working_set.len(),
                problem: snapshot.working_set_problem().map(|problem| chain(problem)),
            },
            cpu: CpuView::new(&state.cpu),
        }
    }
}

impl fmt::Display for SnapshotView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, version) = (&self.function_name, &self.function_version);
        writeln!(f, "{} {}", Line(name), Line(version))?;
        writeln!(
            f,
            "  format {}, ABI {}",
            self.format_version, self.abi_version
        )?;
        if !self.flags.is_empty() {
            writeln!(f, "  flags: {}", self.flags.join(", "))?;
        }
        writeln!(f, "  {}, heap {}", self.ram, Bytes(self.heap_bytes))?;
        writeln!(f, "  {}", self.working_set)?;
        writeln!(f, "  CPU: {}", Line(&self.cpu.summary()))?;
        writeln!(f, "  image sha256 {}", self.image_sha256)?;
        writeln!(f, "  sha256 {}", self.sha256)
    }
}

impl fmt::Display for WorkingSetView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.problem, self.pages) {
            (Some(problem), _) => write!(f, "no working set: {problem}"),
            (None, 0) => write!(
                f,
                "no working set yet: the next `jiffy run --snapshot` records it"
            ),
            (None, pages) => write!(f, "working set: {pages} pages in {} runs", self.runs),
        }
    }
}

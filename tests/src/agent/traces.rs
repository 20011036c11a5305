//! What an agent has on its host beside its files: processes, control groups, mounts.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

const GROUPS_TOP: &str = "/sys/fs/cgroup";
/// How deep below the top a spawner's group can be: hierarchy, two groups of a container, its own.
const GROUPS_DEPTH_MAX: usize = 6;

/// Processes that run one `jiffy-vmm` program, and the control groups that their spawners made.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    /// Ids of the spawners.
    pub spawners: Vec<u32>,
    /// Ids of shells and VMs.
    pub vms: Vec<u32>,
}

impl Traces {
    /// Those of the program `vmm`, which nobody else may run.
    pub fn of(vmm: &Path) -> Self {
        let mut traces = Self::default();
        let Ok(program) = fs::metadata(vmm) else {
            return traces;
        };
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let ours: Vec<_> = numbers
            .filter(|process| {
                let exe = fs::metadata(format!("/proc/{process}/exe"));
                exe.is_ok_and(|exe| (exe.dev(), exe.ino()) == (program.dev(), program.ino()))
            })
            .collect();
        for process in &ours {
            match parent(*process) {
                Some(parent) if ours.contains(&parent) => traces.vms.push(*process),
                _ => traces.spawners.push(*process),
            }
        }
        traces
    }

    /// Whether there is no process.
    pub fn is_empty(&self) -> bool {
        self.spawners.is_empty() && self.vms.is_empty()
    }

    /// Control groups of these spawners that are there now.
    pub fn groups(&self) -> Vec<PathBuf> {
        let names: Vec<_> = self
            .spawners
            .iter()
            .map(|spawner| format!("jiffy-{spawner}"))
            .collect();
        let mut found = vec![];
        find(Path::new(GROUPS_TOP), &names, GROUPS_DEPTH_MAX, &mut found);
        found
    }
}

fn find(top: &Path, names: &[String], depth: usize, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(top).into_iter().flatten().flatten() {
        // Not through links: some controllers have two names.
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let name = entry.file_name();
        if names.iter().any(|wanted| **wanted == *name) {
            found.push(entry.path());
        } else if depth > 0 {
            find(&entry.path(), names, depth - 1, found);
        }
    }
}

/// The parent of a process; `None` if it is gone, also as a zombie.
fn parent(process: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    let (state, parent) = (fields.next()?, fields.next()?);
    (state != "Z").then(|| parent.parse().ok()).flatten()
}

/// The number behind `name` in a file of `/proc`, KiB; 0 if the process is gone.
pub fn kib(file: impl AsRef<Path>, name: &str) -> u64 {
    let text = fs::read_to_string(file).unwrap_or_default();
    let number = text.lines().find_map(|line| {
        let rest = line.strip_prefix(name)?.strip_prefix(':')?;
        rest.trim().strip_suffix("kB")?.trim().parse().ok()
    });
    number.unwrap_or_default()
}

/// What is mounted where this process is.
pub fn mounts() -> BTreeSet<String> {
    let text = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

//! A control group with little memory, for an agent to run in.

use std::{
    fs, io,
    path::{Path, PathBuf},
    process::id,
    sync::atomic::{AtomicU32, Ordering::Relaxed},
    time::Duration,
};

use super::within;

const TOP: &str = "/sys/fs/cgroup";
/// What the agent's spawner may take to leave the group.
const REMOVE_TIME_MAX: Duration = Duration::from_secs(10);
static MADE: AtomicU32 = AtomicU32::new(0);

/// The group. Dropping it removes it, once the agent is gone.
#[derive(Debug)]
pub struct MemoryGroup {
    dir: PathBuf,
    is_v2: bool,
}

impl MemoryGroup {
    /// A group of this test's own group, with this limit.
    pub fn new(limit_bytes: u64) -> io::Result<Self> {
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let v1 = own.lines().find_map(|line| line.split_once(":memory:"));
        let v2 = own.lines().find_map(|line| line.strip_prefix("0::/"));
        let top = Path::new(TOP);
        let (top, path, is_v2) = match (v1, v2) {
            (Some((_, path)), _) => (top.join("memory"), path.trim_start_matches('/'), false),
            (None, Some(path)) => (top.to_owned(), path, true),
            (None, None) => return Err(io::ErrorKind::NotFound.into()),
        };
        // In a container the path may be that of the host.
        let base = Some(top.join(path))
            .filter(|base| base.is_dir())
            .unwrap_or(top);
        let number = MADE.fetch_add(1, Relaxed);
        let group = Self {
            dir: base.join(format!("jiffy-tests-{}-{number}", id())),
            is_v2,
        };
        fs::create_dir(&group.dir)?;
        if is_v2 {
            // Groups are passed on by those without processes only, so the agent gets one below.
            fs::write(group.dir.join("cgroup.subtree_control"), "+memory")?;
            fs::create_dir(group.processes())?;
        }
        group.set_limit(limit_bytes)?;
        Ok(group)
    }

    /// Gives it another limit.
    pub fn set_limit(&self, limit_bytes: u64) -> io::Result<()> {
        fs::write(self.limit_file(), limit_bytes.to_string())
    }

    /// The group that processes are put into.
    fn processes(&self) -> PathBuf {
        match self.is_v2 {
            true => self.dir.join("agent"),
            false => self.dir.clone(),
        }
    }

    fn limit_file(&self) -> PathBuf {
        self.dir.join(match self.is_v2 {
            true => "memory.max",
            false => "memory.limit_in_bytes",
        })
    }

    /// Where a process writes `0` to come into the group.
    pub fn entrance(&self) -> PathBuf {
        self.processes().join("cgroup.procs")
    }

    /// Memory of processes in the group and those below, files not counted, bytes.
    #[track_caller]
    pub fn used_bytes(&self) -> u64 {
        let stat = fs::read_to_string(self.dir.join("memory.stat")).expect("the group's memory");
        let key = if self.is_v2 { "anon " } else { "total_rss " };
        let found = stat.lines().find_map(|line| line.strip_prefix(key));
        let number = found.and_then(|number| number.parse().ok());
        number.expect("a number")
    }
}

impl Drop for MemoryGroup {
    fn drop(&mut self) {
        let removed = within(REMOVE_TIME_MAX, || {
            // One below may be gone, or have never been.
            let _ = fs::remove_dir(self.processes());
            let _ = fs::remove_dir(&self.dir);
            (!self.dir.exists()).then_some(())
        });
        if removed.is_none() {
            eprintln!("{} is still there: remove it", self.dir.display());
        }
    }
}

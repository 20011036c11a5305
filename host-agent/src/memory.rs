//! How much memory there is for the agent and its VMs: the host's, or less where a control group limits it.
//!
//! A group limits what is in the groups below it, too, so the lowest limit on the way up to the root counts. v1 says it
//! in `memory.limit_in_bytes`, v2 in `memory.max` and, before reclaim slows everything down, in `memory.high`.
//! Not here: the groups that VMs are put into (`jiffy-vmm`); how memory is divided among them (`pool`).

use std::{
    fmt, fs,
    path::{Component, Path, PathBuf},
};

use jiffy_console::quantity::Bytes;

/// Where control groups are mounted.
const ROOT: &str = "/sys/fs/cgroup";
const LIMIT_FILES: [&str; 3] = ["memory.limit_in_bytes", "memory.max", "memory.high"];

/// What limits the memory of the agent and its VMs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How much they may have together, bytes.
    pub bytes: u64,
    /// The control group that says so; `None`: the host has no more.
    pub group: Option<PathBuf>,
}

/// As the subject of a sentence.
impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.group {
            Some(group) => write!(f, "the control group {} has ", group.display())?,
            None => f.write_str("the host has ")?,
        }
        write!(f, "{}", Bytes(self.bytes))
    }
}

/// Bytes that the agent and its VMs may have together, now.
pub fn available_bytes() -> u64 {
    limit().bytes
}

/// What limits them now: a limit may be changed while they run.
pub fn limit() -> Limit {
    let info = rustix::system::sysinfo();
    let bytes = info.totalram.saturating_mul(u64::from(info.mem_unit));
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let lowest = lowest_limit(Path::new(ROOT), &own);
    let lowest = lowest.filter(|limit| limit.bytes < bytes);
    lowest.unwrap_or(Limit { bytes, group: None })
}

/// The lowest limit of the groups that `own`, which is as `/proc/self/cgroup`, names, and of those above them.
fn lowest_limit(root: &Path, own: &str) -> Option<Limit> {
    let groups = own.lines().filter_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (controllers, path) = (parts.next()?, parts.next()?);
        let tops = match controllers {
            "" => vec![root.to_owned(), root.join("unified")],
            names if names.split(',').any(|name| name == "memory") => {
                vec![root.join("memory"), root.join(names)]
            }
            _ => vec![],
        };
        Some((tops, path.trim_start_matches('/')))
    });
    let limits = groups.flat_map(|(tops, path)| {
        let limits = tops.into_iter().flat_map(move |top| {
            let group = group_below(&top, Path::new(path));
            let above: Vec<PathBuf> = group
                .ancestors()
                .take_while(|group| group.starts_with(&top))
                .map(Path::to_owned)
                .collect();
            above
        });
        limits.collect::<Vec<_>>()
    });
    let read = limits.filter_map(|group| {
        let bytes = LIMIT_FILES.map(|file| limit_in(&group.join(file)));
        let bytes = bytes.into_iter().flatten().min()?;
        let group = Some(group);
        Some(Limit { bytes, group })
    });
    read.min_by_key(|limit| limit.bytes)
}

/// The group's directory; the top if it lies outside what is mounted, as in a container that sees only its own.
fn group_below(top: &Path, path: &Path) -> PathBuf {
    let is_inside = path
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    let group = top.join(path);
    if is_inside && group.is_dir() {
        group
    } else {
        top.to_owned()
    }
}

/// A limit; none if there is no such file, or no limit in it (`max`, or v1's number beyond all memory).
fn limit_in(file: &Path) -> Option<u64> {
    fs::read_to_string(file).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// Groups with limits, in a folder.
    fn tree(limits: &[(&str, String)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().expect("folder");
        for (file, limit) in limits {
            let path = root.path().join(file);
            fs::create_dir_all(path.parent().expect("a group")).expect("group");
            fs::write(path, format!("{limit}\n")).expect("limit");
        }
        root
    }

    fn lowest(root: &Path, own: &str) -> Option<u64> {
        lowest_limit(root, own).map(|limit| limit.bytes)
    }

    fn mib(number: u64) -> String {
        (number * MIB).to_string()
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts_in_either_version() {
        let v1 = tree(&[
            ("memory/memory.limit_in_bytes", "9223372036854771712".into()),
            ("memory/a/memory.limit_in_bytes", mib(300)),
            ("memory/a/b/memory.limit_in_bytes", mib(500)),
        ]);
        let own = "9:name=systemd:/a\n5:memory:/a/b\n0::/\n";
        assert_eq!(lowest(v1.path(), own), Some(300 * MIB));
        let limit = lowest_limit(v1.path(), own).expect("a limit");
        let group = v1.path().join("memory/a");
        let text = format!("the control group {} has 300.0 MiB", group.display());
        assert_eq!(limit.to_string(), text);
        for top in ["", "unified/"] {
            let v2 = tree(&[
                (&format!("{top}a/memory.max"), "max".into()),
                (&format!("{top}a/memory.high"), mib(200)),
                (&format!("{top}a/b/memory.max"), mib(250)),
                (&format!("{top}a/b/memory.high"), "max".into()),
            ]);
            assert_eq!(lowest(v2.path(), "0::/a/b\n"), Some(200 * MIB));
            assert_eq!(lowest(v2.path(), "0::/a\n"), Some(200 * MIB));
            assert_eq!(lowest(v2.path(), "0::/\n"), None);
        }
    }

    /// In a container the path is often that of the host, and its own group is what is mounted.
    #[test]
    fn where_the_path_is_not_to_be_seen_the_top_counts() {
        let v2 = tree(&[("memory.max", mib(300)), ("other/memory.max", mib(1))]);
        assert_eq!(lowest(v2.path(), "0::/docker/1\n"), Some(300 * MIB));
        assert_eq!(lowest(v2.path(), "0::/../other\n"), Some(300 * MIB));
        assert_eq!(lowest(v2.path(), ""), None);
        let v1 = tree(&[("memory/memory.limit_in_bytes", mib(300))]);
        assert_eq!(lowest(v1.path(), "5:memory:/docker/1\n"), Some(300 * MIB));
    }

    #[test]
    fn a_host_has_some() {
        assert!(available_bytes() > 16 * MIB);
    }
}

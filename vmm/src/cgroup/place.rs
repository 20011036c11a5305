//! Where groups can be made: which hierarchy offers a controller, and below which group.
//!
//! v1 knows no obstacle: the group this process is in. v2 forbids a group to hold both processes and
//! groups with controllers, so the first of these that offers the most is taken:
//! ```text
//! 1  the process's own group, if it is the root, which is exempt, or offers controllers already
//! 2  the same, after its processes moved into a leaf `<name>-agent` of it: only where the whole group is
//!    ours, marked by systemd's `Delegate=yes`, or the root of a container's namespace
//! 3  the group above, next to the own one: systemd's `DelegateSubgroup=`, a session, a user's slice
//! ```
//! On the way down to it the controllers are switched on where that is allowed.

use std::{
    fmt, fs, io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

use super::files;

/// How often processes are moved to the leaf while new ones appear.
const EVACUATE_ROUNDS_MAX: u32 = 8;

/// A part of the kernel that limits the use of one resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Controller {
    /// Memory, the kernel's included.
    Memory,
    /// CPU time.
    Cpu,
    /// Number of tasks.
    Pids,
}

impl Controller {
    /// All that jiffy uses.
    pub const ALL: [Self; 3] = [Self::Memory, Self::Cpu, Self::Pids];
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Pids => "pids",
        })
    }
}

/// Which of the kernel's two interfaces a controller is used through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// One hierarchy for each controller.
    V1,
    /// One unified hierarchy.
    V2,
}

/// Why a controller limits nothing here, with the fix.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum Missing {
    #[error(
        "no hierarchy below {root} has it: mount one (`mount -t cgroup2 none {root}`), and boot without `cgroup_disable={controller}`",
        root = root.display()
    )]
    NotMounted {
        root: PathBuf,
        controller: Controller,
    },
    #[error(
        "it is not passed on to {base}: start the agent from a systemd unit with `Delegate=yes`, or as root",
        base = base.display()
    )]
    NotEnabled { base: PathBuf },
    #[error(
        "no group can be made in {base} ({source}): start the agent from a systemd unit with `Delegate=yes`, or as root",
        base = base.display()
    )]
    NotWritable { base: PathBuf, source: io::Error },
}

/// Where a controller is used.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Home {
    pub(super) controller: Controller,
    pub(super) version: Version,
    pub(super) base: PathBuf,
}

/// Finds a home for every controller. `own` is the text of `/proc/self/cgroup`.
pub(super) fn find(root: &Path, name: &str, own: &str) -> (Vec<Home>, Vec<(Controller, Missing)>) {
    // A host with both versions has the unified hierarchy, or what v1 left of it, aside.
    let unified = [root.to_owned(), root.join("unified")]
        .into_iter()
        .find(|top| top.join("cgroup.controllers").exists());
    let offered = unified
        .as_ref()
        .map_or(vec![], |top| listed(&top.join("cgroup.controllers")));
    let base = match &unified {
        Some(top) if !offered.is_empty() => Some(unified_base(top, name, own)),
        _ => None,
    };
    let (mut homes, mut missing) = (vec![], vec![]);
    for controller in Controller::ALL {
        let separate = root.join(controller.to_string());
        match &base {
            Some((base, enabled)) if enabled.contains(&controller) => homes.push(Home {
                controller,
                version: Version::V2,
                base: base.clone(),
            }),
            Some((base, _)) if offered.contains(&controller) => {
                missing.push((controller, Missing::NotEnabled { base: base.clone() }));
            }
            _ if separate.join("cgroup.procs").exists() => homes.push(Home {
                controller,
                version: Version::V1,
                base: own_group(&separate, own, Some(controller)),
            }),
            _ => {
                let root = root.to_owned();
                missing.push((controller, Missing::NotMounted { root, controller }));
            }
        }
    }
    (homes, missing)
}

/// The best group for ours, and the controllers it offers to them.
fn unified_base(top: &Path, name: &str, own: &str) -> (PathBuf, Vec<Controller>) {
    let own = own_group(top, own, None);
    let mut best = (own.clone(), enable(top, &own));
    if best.1.len() < Controller::ALL.len() && is_ours(top, &own) {
        evacuate(&own, &format!("{name}-agent"));
        best.1 = enable(top, &own);
    }
    if best.1.len() < Controller::ALL.len()
        && own != top
        && let Some(above) = own.parent()
    {
        let enabled = enable(top, above);
        if enabled.len() > best.1.len() {
            best = (above.to_owned(), enabled);
        }
    }
    best
}

/// The directory of the group that this process is in; the top if that lies outside what is mounted.
fn own_group(top: &Path, own: &str, controller: Option<Controller>) -> PathBuf {
    let wanted = controller.map(|controller| controller.to_string());
    let path = own.lines().find_map(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        let is_it = match &wanted {
            Some(wanted) => names.split(',').any(|name| name == wanted),
            None => names.is_empty(),
        };
        is_it.then_some(path)
    });
    let path = Path::new(path.unwrap_or_default().trim_start_matches('/'));
    let is_inside = path
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    let dir = top.join(path);
    // Joining nothing leaves a slash behind, and two names for one directory.
    if is_inside && !path.as_os_str().is_empty() && dir.is_dir() {
        dir
    } else {
        top.to_owned()
    }
}

/// Switches controllers on from the top to `base`, where that is allowed; those that `base` passes on.
fn enable(top: &Path, base: &Path) -> Vec<Controller> {
    let mut on_the_way: Vec<_> = base
        .ancestors()
        .take_while(|dir| dir.starts_with(top))
        .collect();
    on_the_way.reverse();
    for dir in on_the_way {
        let file = dir.join("cgroup.subtree_control");
        let enabled = listed(&file);
        for controller in listed(&dir.join("cgroup.controllers")) {
            if !enabled.contains(&controller) {
                // One at a time, so that one that is refused does not hold up the others. What came of it is read below.
                let _ = fs::write(&file, format!("+{controller}"));
            }
        }
    }
    listed(&base.join("cgroup.subtree_control"))
}

/// The controllers in a list such as `cgroup.controllers`.
fn listed(file: &Path) -> Vec<Controller> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let has = |wanted: Controller| {
        text.split_whitespace()
            .any(|name| name == wanted.to_string())
    };
    Controller::ALL
        .into_iter()
        .filter(|&one| has(one))
        .collect()
}

/// Whether every process in the group is ours to move: systemd says so, or it is all that a container sees.
fn is_ours(top: &Path, own: &Path) -> bool {
    let is_delegated = ["user.delegate", "trusted.delegate"].iter().any(|mark| {
        let mut value = [0_u8; 8];
        rustix::fs::getxattr(own, *mark, &mut value).is_ok_and(|_| value.starts_with(b"1"))
    });
    // The real root has no type.
    is_delegated || (own == top && own.join("cgroup.type").exists())
}

/// Moves all processes of `own` into a leaf of it. Tells nothing: switching controllers on shows whether it worked.
fn evacuate(own: &Path, leaf: &str) {
    let Ok(dir) = fs::File::open(own) else {
        return;
    };
    // It may be there from a spawner before.
    let _ = files::make_dir(dir.as_fd(), leaf);
    let to = format!("{leaf}/cgroup.procs");
    for _ in 0..EVACUATE_ROUNDS_MAX {
        let processes = files::read(dir.as_fd(), "cgroup.procs").unwrap_or_default();
        if processes.is_empty() {
            return;
        }
        for process in processes.lines() {
            // One that ended meanwhile is not in the way either.
            let _ = files::write(dir.as_fd(), &to, process);
        }
    }
}

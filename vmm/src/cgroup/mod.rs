//! Control groups: what one VM may take of memory, CPU and tasks, so that it hurts only itself.
//!
//! ```text
//! v2                                     v1, once for each of memory, cpu and pids
//! <base>/                                <base>/        the group this process is in
//!   jiffy-<pid of spawner>/                jiffy-<pid>/         locked while the spawner lives
//!     cpu-<index>/                           cpu-<index>/       CPU time; where there are many VMs, of several
//!       vm-<id>/                             vm-<id>/           one VM: memory, tasks
//! ```
//!
//! [`Hierarchy::detect`] runs before the spawner leaves for its empty root. From then on only
//! descriptors of directories are used, never a path. The children of a detached mount can still be
//! made and removed through them.
//!
//! Order: **a process joins before it makes its VM.** Joining takes as long either way (v1, three
//! groups: p50 30–32 µs, p99 12–15 ms, because the kernel waits for an RCU grace period when no
//! process has moved lately), and so does `KVM_CREATE_VM` (p50 137–140 µs; 120 outside any group).
//! But kernel memory is charged to the group its maker is in: a VM made first would keep its
//! slots and page tables outside its own limit. v2 has no joining: the shell is born in its group.
//! Making three v1 groups with their limits takes 140 µs, removing them 72 µs (PVM host, Linux 6.18); the one for CPU time is
//! there already, but for a spawner's first VMs.
//! All of it happens when a shell is made or gone, none of it in a request.
//!
//! Not here: forking and joining (`jail`), deciding limits for a function (the agent).

mod cpu;
mod files;
mod group;
mod limits;
mod parent;
mod place;
#[cfg(test)]
mod tests;

pub use cpu::CPU_GROUPS_MAX;
pub use group::{Events, Group, MemoryEnd};
pub use limits::{Limits, PIDS_PLAIN, PIDS_WITH_WORKER, RAM_SHARE, VMM_ALLOWANCE_BYTES, vm_pids};
pub use place::{Controller, Missing, Version};

use std::{
    fmt, fs, io,
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use cpu::CpuGroups;
use limits::settings;
use parent::Parent;
use place::Home;

/// Why a group cannot be used. All blame the host.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum CgroupError {
    #[error(
        "cannot make the cgroup {group}: remove it if it is left over, and see that `cgroup.max.descendants` allows another"
    )]
    Create { group: String, source: io::Error },
    #[error("cannot open {file} of the cgroup {group}: `jiffy doctor` says which controllers work")]
    Open {
        group: String,
        file: &'static str,
        source: io::Error,
    },
    #[error(
        "cannot set {file} of the cgroup {group} to {value}: `jiffy doctor` says which controllers work"
    )]
    Set {
        group: String,
        file: &'static str,
        value: String,
        source: io::Error,
    },
    #[error("cannot read {file} of the cgroup {group}: see that nobody else removed it")]
    Read {
        group: String,
        file: &'static str,
        source: io::Error,
    },
    #[error("{file} of the cgroup {group} has no number for {key}: a newer kernel has it")]
    Parse {
        group: String,
        file: &'static str,
        key: &'static str,
    },
    #[error("cannot remove the cgroup {group}: end the processes in its cgroup.procs first")]
    Remove { group: String, source: io::Error },
}

/// One mounted hierarchy that is used, and the spawner's own group in it.
#[derive(Debug)]
struct Tree {
    version: Version,
    controllers: Vec<Controller>,
    parent: Parent,
    /// Used if the cpu controller is among them.
    cpu: CpuGroups,
}

impl Tree {
    fn has_cpu(&self) -> bool {
        self.controllers.contains(&Controller::Cpu)
    }

    /// Those that limit each VM in a group of its own.
    fn own_controllers(&self) -> Vec<Controller> {
        let all = self.controllers.iter().copied();
        all.filter(|one| *one != Controller::Cpu).collect()
    }

    /// Writes what `controllers` limit in `group`, if it differs from `old`.
    fn set(
        &self,
        group: &str,
        controllers: &[Controller],
        old: Option<&Limits>,
        new: &Limits,
    ) -> Result<(), CgroupError> {
        let all = controllers.iter();
        for setting in all.flat_map(|&controller| settings(self.version, controller, old, new)) {
            let path = format!("{group}/{}", setting.file);
            match files::write(self.parent.dir(), &path, &setting.value) {
                Ok(()) => {}
                Err(error) if setting.is_optional && error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(CgroupError::Set {
                        group: self.parent.path_of(group),
                        file: setting.file,
                        value: setting.value,
                        source,
                    });
                }
            }
        }
        Ok(())
    }
}

/// The hierarchies in which every VM gets a group.
///
/// Dropping it removes nothing: forked shells drop their copy too. [`Hierarchy::remove`] does.
pub struct Hierarchy {
    // Shared with the groups, which outlive any borrow in the spawner's table of VMs.
    trees: Arc<[Tree]>,
    missing: Vec<(Controller, Missing)>,
}

impl fmt::Debug for Hierarchy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hierarchy")
            .field("controllers", &self.controllers().collect::<Vec<_>>())
            .field("missing", &self.missing)
            .finish()
    }
}

impl Hierarchy {
    /// Looks for memory, cpu and pids below `root` (`/sys/fs/cgroup`), takes each where it is
    /// offered, makes the spawner's own groups `<name>-<pid>`, and removes those that spawners
    /// which were killed left behind.
    ///
    /// A controller that cannot be used is no error here but listed in [`Self::missing`]: whether to go on
    /// without is the agent's choice.
    #[must_use]
    pub fn detect(root: &Path, name: &str) -> Self {
        let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Self::detect_as(root, name, &own, std::process::id())
    }

    /// [`Self::detect`] for a process `pid` whose `/proc/self/cgroup` reads `own`.
    fn detect_as(root: &Path, name: &str, own: &str, pid: u32) -> Self {
        let (homes, mut missing) = place::find(root, name, own);
        let mut trees: Vec<Tree> = vec![];
        for Home {
            controller,
            version,
            base,
        } in homes
        {
            let added = tree_at(&mut trees, version, &base, name, pid).and_then(|tree| {
                if version == Version::V2 {
                    tree.parent.enable(controller)?;
                }
                tree.controllers.push(controller);
                Ok(())
            });
            if let Err(source) = added {
                missing.push((controller, Missing::NotWritable { base, source }));
            }
        }
        trees.retain(|tree| {
            let is_used = !tree.controllers.is_empty();
            if !is_used {
                // Best effort: what stays is empty and limits nothing.
                let _ = tree.parent.remove();
            }
            is_used
        });
        Self {
            trees: trees.into(),
            missing,
        }
    }

    /// The controllers that do not limit VMs here, each with the reason and the fix.
    #[must_use]
    pub fn missing(&self) -> &[(Controller, Missing)] {
        &self.missing
    }

    /// The controllers in use, and through which version.
    pub fn controllers(&self) -> impl Iterator<Item = (Controller, Version)> + '_ {
        self.trees.iter().flat_map(|tree| {
            let version = tree.version;
            tree.controllers.iter().map(move |&found| (found, version))
        })
    }

    /// Makes the group of VM `id` with `limits`. An `id` names one living VM of this spawner.
    pub fn create(&self, id: u32, limits: &Limits) -> Result<Group, CgroupError> {
        Group::create(Arc::clone(&self.trees), format!("vm-{id}"), limits)
    }

    /// Removes all groups of this spawner, whose processes have been reaped. What stays because it
    /// is busy is swept by the next spawner.
    pub fn remove(self) -> Result<(), CgroupError> {
        let mut result = Ok(());
        for tree in self.trees.iter() {
            let removed = tree.parent.remove();
            result = result.and(removed.map_err(|source| CgroupError::Remove {
                group: tree.parent.name().to_owned(),
                source,
            }));
        }
        result
    }
}

/// The tree at `base`: the one that is there if controllers are mounted together, else a new one.
fn tree_at<'a>(
    trees: &'a mut Vec<Tree>,
    version: Version,
    base: &Path,
    name: &str,
    pid: u32,
) -> io::Result<&'a mut Tree> {
    let base: OwnedFd = fs::File::open(base)?.into();
    let mut index = trees.len();
    for (known, tree) in trees.iter().enumerate() {
        if files::is_same(tree.parent.base(), base.as_fd())? {
            index = known;
        }
    }
    if index == trees.len() {
        parent::sweep(base.as_fd(), name)?;
        trees.push(Tree {
            version,
            controllers: vec![],
            parent: Parent::create(base, format!("{name}-{pid}"))?,
            cpu: CpuGroups::default(),
        });
    }
    Ok(&mut trees[index])
}

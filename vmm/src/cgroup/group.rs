//! The group of one VM.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{CgroupError, Controller, Limits, Tree, Version, files, limits::settings};

/// How often removing a busy group is tried, and how long to wait in between. A process that was just reaped, or
/// KVM's thread in it, may still be leaving; more than once was never seen.
const REMOVE_TRIES_MAX: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(1);

/// One VM's group in every hierarchy that is used.
///
/// Dropping it removes nothing, because forked shells drop copies too: [`Group::remove`] does.
#[must_use = "a group stays until it is removed"]
#[derive(Debug)]
pub struct Group {
    trees: Arc<[Tree]>,
    name: String,
    limits: Limits,
    into: Option<OwnedFd>,
    join: Vec<OwnedFd>,
}

/// What a group's limits did to its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Processes killed because memory ran out; `None` without the memory controller.
    pub oom_kills: Option<u64>,
    /// How long processes that wanted to run were held back; `None` without the cpu controller.
    pub throttled: Option<Duration>,
    /// Tasks that were refused; `None` without the pids controller.
    pub forks_refused: Option<u64>,
}

impl Group {
    pub(super) fn create(
        trees: Arc<[Tree]>,
        name: String,
        limits: &Limits,
    ) -> Result<Self, CgroupError> {
        let mut group = Self {
            trees,
            name,
            limits: *limits,
            into: None,
            join: vec![],
        };
        let trees = Arc::clone(&group.trees);
        for (made, tree) in trees.iter().enumerate() {
            let entered = files::make_dir(tree.parent.dir(), &group.name)
                .map_err(|source| CgroupError::Create {
                    group: tree.parent.path_of(&group.name),
                    source,
                })
                .and_then(|()| {
                    group.open(tree).inspect_err(|_| {
                        // The error that is reported says more than that of cleaning up would.
                        let _ = files::remove_dir(tree.parent.dir(), &group.name);
                    })
                });
            if let Err(error) = entered {
                for tree in &trees[..made] {
                    let _ = files::remove_dir(tree.parent.dir(), &group.name);
                }
                return Err(error);
            }
        }
        Ok(group)
    }

    /// Sets the limits of a new group, and opens what its process enters it by.
    fn open(&mut self, tree: &Tree) -> Result<(), CgroupError> {
        self.set(tree, None, &self.limits)?;
        let opened = match tree.version {
            Version::V1 => {
                let file = format!("{}/cgroup.procs", self.name);
                files::open_to_write(tree.parent.dir(), &file).map(|file| self.join.push(file))
            }
            Version::V2 => {
                files::open_dir(tree.parent.dir(), &self.name).map(|dir| self.into = Some(dir))
            }
        };
        opened.map_err(|source| CgroupError::Open {
            group: tree.parent.path_of(&self.name),
            file: "cgroup.procs",
            source,
        })
    }

    /// The v2 directory in which a process is born with `CLONE_INTO_CGROUP`. `None` where v1 has all.
    #[must_use]
    pub fn into_cgroup_fd(&self) -> Option<BorrowedFd<'_>> {
        self.into.as_ref().map(AsFd::as_fd)
    }

    /// The v1 files into which a process writes `0` to join, before it makes its VM. Empty where v2 has all.
    #[must_use]
    pub fn join_fds(&self) -> &[OwnedFd] {
        &self.join
    }

    /// Closes both kinds of descriptors: the process is in, and a host may have thousands.
    pub fn close_entrance(&mut self) {
        self.into = None;
        self.join.clear();
    }

    /// Writes the limits that differ from those in force: a few microseconds each.
    ///
    /// Growing always works. Memory that is in use already is not taken back: v1 refuses, v2 kills.
    /// After an error some limits are new and some are not: end the VM.
    pub fn set_limits(&mut self, limits: &Limits) -> Result<(), CgroupError> {
        for tree in self.trees.iter() {
            self.set(tree, Some(&self.limits), limits)?;
        }
        self.limits = *limits;
        Ok(())
    }

    fn set(&self, tree: &Tree, old: Option<&Limits>, new: &Limits) -> Result<(), CgroupError> {
        let all = tree.controllers.iter();
        for setting in all.flat_map(|&controller| settings(tree.version, controller, old, new)) {
            let path = format!("{}/{}", self.name, setting.file);
            match files::write(tree.parent.dir(), &path, &setting.value) {
                Ok(()) => {}
                Err(error) if setting.is_optional && error.kind() == io::ErrorKind::NotFound => {}
                Err(source) => {
                    return Err(CgroupError::Set {
                        group: tree.parent.path_of(&self.name),
                        file: setting.file,
                        value: setting.value,
                        source,
                    });
                }
            }
        }
        Ok(())
    }

    /// What the limits did since the group was made.
    pub fn events(&self) -> Result<Events, CgroupError> {
        let mut events = Events::default();
        for tree in self.trees.iter() {
            for controller in &tree.controllers {
                match (controller, tree.version) {
                    (Controller::Memory, Version::V1) => {
                        events.oom_kills =
                            Some(self.number(tree, "memory.oom_control", "oom_kill")?);
                    }
                    (Controller::Memory, Version::V2) => {
                        events.oom_kills = Some(self.number(tree, "memory.events", "oom_kill")?);
                    }
                    (Controller::Cpu, Version::V1) => {
                        let nanoseconds = self.number(tree, "cpu.stat", "throttled_time")?;
                        events.throttled = Some(Duration::from_nanos(nanoseconds));
                    }
                    (Controller::Cpu, Version::V2) => {
                        let microseconds = self.number(tree, "cpu.stat", "throttled_usec")?;
                        events.throttled = Some(Duration::from_micros(microseconds));
                    }
                    (Controller::Pids, _) => {
                        events.forks_refused = Some(self.number(tree, "pids.events", "max")?);
                    }
                }
            }
        }
        Ok(events)
    }

    /// The number behind `key` in a file of lines `key number`.
    fn number(
        &self,
        tree: &Tree,
        file: &'static str,
        key: &'static str,
    ) -> Result<u64, CgroupError> {
        let group = || tree.parent.path_of(&self.name);
        let path = format!("{}/{file}", self.name);
        let text = files::read(tree.parent.dir(), &path).map_err(|source| CgroupError::Read {
            group: group(),
            file,
            source,
        })?;
        find_number(&text, key).ok_or_else(|| CgroupError::Parse {
            group: group(),
            file,
            key,
        })
    }

    /// Removes the group, whose process has been reaped. Waits up to 20 ms for it to empty; what is
    /// busy after that goes with [`super::Hierarchy::remove`] or the next spawner's sweep.
    pub fn remove(self) -> Result<(), CgroupError> {
        let mut result = Ok(());
        for tree in self.trees.iter() {
            let removed = remove_patiently(tree.parent.dir(), &self.name);
            result = result.and(removed.map_err(|source| CgroupError::Remove {
                group: tree.parent.path_of(&self.name),
                source,
            }));
        }
        result
    }
}

pub(super) fn find_number(text: &str, key: &str) -> Option<u64> {
    let mut lines = text.lines().filter_map(|line| line.split_once(' '));
    let (_, number) = lines.find(|(found, _)| *found == key)?;
    number.trim().parse().ok()
}

/// Removes a directory, trying again for a while if it is busy.
pub(super) fn remove_patiently(dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    for _ in 1..REMOVE_TRIES_MAX {
        match files::remove_dir(dir, name) {
            Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
                thread::sleep(REMOVE_PAUSE);
            }
            result => return result,
        }
    }
    files::remove_dir(dir, name)
}

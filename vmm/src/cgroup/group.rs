//! The group of one VM.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use super::{CgroupError, Controller, Limits, Tree, Version, cpu, files};

/// How often removing a busy group is tried, and how long to wait in between. A process that was just reaped, or
/// KVM's thread in it, may still be leaving; more than once was never seen.
const REMOVE_TRIES_MAX: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(1);

const CPU_STAT: &str = "cpu.stat";
const MEMORY_EVENTS: &str = "memory.events";

/// One VM's group in every hierarchy that is used.
///
/// Dropping it removes nothing, because forked shells drop copies too: [`Group::remove`] does.
#[must_use = "a group stays until it is removed"]
#[derive(Debug)]
pub struct Group {
    trees: Arc<[Tree]>,
    name: String,
    limits: Limits,
    /// Which of the groups for CPU time it is in.
    cpu_group: Option<usize>,
    into: Option<OwnedFd>,
    join: Vec<OwnedFd>,
}

/// How near to its own limit a v1 group has been that was killed at it, bytes: pages are charged in batches.
const AT_LIMIT_MARGIN_BYTES: u64 = 2 << 20;

/// Whose memory ran out when a process of a group was killed for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryEnd {
    /// The group's own.
    Own,
    /// That of a group above it, or the host's.
    Above,
}

/// What a group's limits did to its processes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Processes killed because memory ran out; `None` without the memory controller.
    pub oom_kills: Option<u64>,
    /// How long processes that wanted to run were held back, those of all VMs in the same group for CPU time; `None` without the cpu controller.
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
            cpu_group: None,
            into: None,
            join: vec![],
        };
        let trees = Arc::clone(&group.trees);
        for (made, tree) in trees.iter().enumerate() {
            if let Err(error) = group.enter(tree) {
                // The error that is reported says more than that of cleaning up would.
                for tree in &trees[..made] {
                    let _ = group.leave(tree, files::remove_dir);
                }
                return Err(error);
            }
        }
        Ok(group)
    }

    /// Where the group is in `tree`: in a group for CPU time, which may be all of it, where that is limited there.
    fn path(&self, tree: &Tree) -> String {
        let cpu = self.cpu_group.filter(|_| tree.has_cpu()).map(cpu::name);
        match (cpu, tree.own_controllers().is_empty()) {
            (Some(cpu), true) => cpu,
            (Some(cpu), false) => format!("{cpu}/{}", self.name),
            (None, _) => self.name.clone(),
        }
    }

    /// Makes it in one tree, all of it or nothing.
    fn enter(&mut self, tree: &Tree) -> Result<(), CgroupError> {
        if tree.has_cpu() {
            self.cpu_group = Some(tree.cpu.enter(tree, &self.limits)?);
        }
        let path = self.path(tree);
        let made = if tree.own_controllers().is_empty() {
            Ok(())
        } else {
            files::make_dir(tree.parent.dir(), &path)
        };
        if let Err(source) = made {
            // What is there is not ours to remove.
            self.leave_cpu_group(tree)?;
            let group = tree.parent.path_of(&path);
            return Err(CgroupError::Create { group, source });
        }
        self.open(tree, &path).inspect_err(|_| {
            let _ = self.leave(tree, files::remove_dir);
        })
    }

    /// Sets the limits of a new group, and opens what its process enters it by.
    fn open(&mut self, tree: &Tree, path: &str) -> Result<(), CgroupError> {
        tree.set(path, &tree.own_controllers(), None, &self.limits)?;
        let opened = match tree.version {
            Version::V1 => {
                let file = format!("{path}/cgroup.procs");
                files::open_to_write(tree.parent.dir(), &file).map(|file| self.join.push(file))
            }
            Version::V2 => {
                files::open_dir(tree.parent.dir(), path).map(|dir| self.into = Some(dir))
            }
        };
        opened.map_err(|source| CgroupError::Open {
            group: tree.parent.path_of(path),
            file: "cgroup.procs",
            source,
        })
    }

    /// Removes it from one tree.
    fn leave(
        &self,
        tree: &Tree,
        remove_dir: impl FnOnce(BorrowedFd<'_>, &str) -> io::Result<()>,
    ) -> Result<(), CgroupError> {
        let path = self.path(tree);
        let removed = if tree.own_controllers().is_empty() {
            Ok(())
        } else {
            remove_dir(tree.parent.dir(), &path)
        };
        let left = self.leave_cpu_group(tree);
        let group = tree.parent.path_of(&path);
        removed.map_err(|source| CgroupError::Remove { group, source })?;
        left
    }

    fn leave_cpu_group(&self, tree: &Tree) -> Result<(), CgroupError> {
        match self.cpu_group.filter(|_| tree.has_cpu()) {
            Some(index) => tree.cpu.leave(tree, index, &self.limits),
            None => Ok(()),
        }
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
            let own = tree.own_controllers();
            if !own.is_empty() {
                tree.set(&self.path(tree), &own, Some(&self.limits), limits)?;
            }
            if let Some(index) = self.cpu_group.filter(|_| tree.has_cpu()) {
                tree.cpu.change(tree, index, &self.limits, limits)?;
            }
        }
        self.limits = *limits;
        Ok(())
    }

    /// What the limits did since the group was made.
    pub fn events(&self) -> Result<Events, CgroupError> {
        let mut events = Events::default();
        for tree in self.trees.iter() {
            for controller in &tree.controllers {
                self.read_events(tree, *controller, &mut events)?;
            }
        }
        Ok(events)
    }

    fn read_events(
        &self,
        tree: &Tree,
        controller: Controller,
        events: &mut Events,
    ) -> Result<(), CgroupError> {
        match (controller, tree.version) {
            (Controller::Memory, Version::V1) => {
                events.oom_kills = Some(self.number(tree, "memory.oom_control", "oom_kill")?);
            }
            (Controller::Memory, Version::V2) => {
                events.oom_kills = Some(self.number(tree, MEMORY_EVENTS, "oom_kill")?);
            }
            (Controller::Cpu, Version::V1) => {
                let nanoseconds = self.number(tree, CPU_STAT, "throttled_time")?;
                events.throttled = Some(Duration::from_nanos(nanoseconds));
            }
            (Controller::Cpu, Version::V2) => {
                let microseconds = self.number(tree, CPU_STAT, "throttled_usec")?;
                events.throttled = Some(Duration::from_micros(microseconds));
            }
            (Controller::Pids, _) => {
                events.forks_refused = Some(self.number(tree, "pids.events", "max")?);
            }
        }
        Ok(())
    }

    /// Whose memory ran out, if a process of the group was killed because memory did; `None` without the memory controller too.
    pub fn memory_end(&self) -> Result<Option<MemoryEnd>, CgroupError> {
        let mut trees = self.trees.iter();
        match trees.find(|tree| tree.controllers.contains(&Controller::Memory)) {
            Some(tree) => memory_end(tree, &self.path(tree), self.limits.memory_bytes),
            None => Ok(None),
        }
    }

    /// The number behind `key` in a file of lines `key number`.
    fn number(
        &self,
        tree: &Tree,
        file: &'static str,
        key: &'static str,
    ) -> Result<u64, CgroupError> {
        // CPU time is limited in the group above, if that is not the same.
        let path = match self.cpu_group.filter(|_| file == CPU_STAT) {
            Some(index) => cpu::name(index),
            None => self.path(tree),
        };
        number(tree, &path, file, key)
    }

    /// Removes the group, whose process has been reaped. Waits up to 20 ms for it to empty; what is
    /// busy after that goes with [`super::Hierarchy::remove`] or the next spawner's sweep.
    pub fn remove(self) -> Result<(), CgroupError> {
        let mut result = Ok(());
        for tree in self.trees.iter() {
            result = result.and(self.leave(tree, remove_patiently));
        }
        result
    }
}

/// Whose memory ran out, if a process of the group at `path` with this limit was killed because memory did.
///
/// v2 counts in a group's `memory.events` how often that very group was out of memory (`oom`), and how many of its processes were
/// killed, whichever group was the cause (`oom_kill`). v1 counts only the latter; that a group was at its limit is shown by the most
/// it ever had. Its `failcnt` shows nothing: with swap the same limit holds, which is looked at first, and of which Linux 6.18
/// counts no failures.
pub(super) fn memory_end(
    tree: &Tree,
    path: &str,
    limit_bytes: u64,
) -> Result<Option<MemoryEnd>, CgroupError> {
    let (kills, is_own) = match tree.version {
        Version::V1 => {
            let had_bytes = only_number(tree, path, "memory.max_usage_in_bytes")?;
            let was_at_limit = had_bytes.saturating_add(AT_LIMIT_MARGIN_BYTES) >= limit_bytes;
            let kills = number(tree, path, "memory.oom_control", "oom_kill")?;
            (kills, was_at_limit)
        }
        Version::V2 => (
            number(tree, path, MEMORY_EVENTS, "oom_kill")?,
            number(tree, path, MEMORY_EVENTS, "oom")? > 0,
        ),
    };
    Ok((kills > 0).then_some(match is_own {
        true => MemoryEnd::Own,
        false => MemoryEnd::Above,
    }))
}

/// The number behind `key` in a file of lines `key number` of the group at `path`.
fn number(
    tree: &Tree,
    path: &str,
    file: &'static str,
    key: &'static str,
) -> Result<u64, CgroupError> {
    let text = read(tree, path, file)?;
    find_number(&text, key).ok_or_else(|| CgroupError::Parse {
        group: tree.parent.path_of(path),
        file,
        key,
    })
}

/// The number that is all there is in a file of the group at `path`.
fn only_number(tree: &Tree, path: &str, file: &'static str) -> Result<u64, CgroupError> {
    let text = read(tree, path, file)?;
    text.trim().parse().map_err(|_| CgroupError::Parse {
        group: tree.parent.path_of(path),
        file,
        key: "itself",
    })
}

fn read(tree: &Tree, path: &str, file: &'static str) -> Result<String, CgroupError> {
    let text = files::read(tree.parent.dir(), &format!("{path}/{file}"));
    text.map_err(|source| CgroupError::Read {
        group: tree.parent.path_of(path),
        file,
        source,
    })
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

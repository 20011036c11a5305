//! The spawner's own group, under which those of its VMs are; and the groups of spawners that were killed.
//!
//! A living spawner holds a lock on its group's directory. Process numbers are used again and mean other
//! processes in other namespaces; a lock ends with its holder, whatever killed it. Shells forked from
//! the spawner share the lock until they close what they inherited, so no group is swept from under one.

use std::{
    ffi::CStr,
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    thread,
    time::Duration,
};

use rustix::{
    fs::{Dir, FlockOperation, flock},
    io::Errno,
};

use super::{Controller, files, group::remove_patiently};

/// How often making the group is tried while another spawner's sweep holds or removes it.
const CREATE_TRIES_MAX: u32 = 10;
const CREATE_PAUSE: Duration = Duration::from_millis(1);

/// A locked group that holds no process, only groups.
#[derive(Debug)]
pub(super) struct Parent {
    base: OwnedFd,
    dir: OwnedFd,
    name: String,
}

impl Parent {
    /// Makes and locks the group `name` below `base`.
    pub(super) fn create(base: OwnedFd, name: String) -> io::Result<Self> {
        for _ in 0..CREATE_TRIES_MAX {
            match files::make_dir(base.as_fd(), &name) {
                // Ours from the round before, or one that a sweep could not remove: the lock decides.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                result => result?,
            }
            match lock(base.as_fd(), &name) {
                Ok(Some(dir)) => return Ok(Self { base, dir, name }),
                // Between making and locking a sweep took it for stale and is about to remove it, or has.
                Ok(None) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            thread::sleep(CREATE_PAUSE);
        }
        Err(Errno::BUSY.into())
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn base(&self) -> BorrowedFd<'_> {
        self.base.as_fd()
    }

    pub(super) fn dir(&self) -> BorrowedFd<'_> {
        self.dir.as_fd()
    }

    /// What to call a group below this one in messages.
    pub(super) fn path_of(&self, group: &str) -> String {
        format!("{}/{group}", self.name)
    }

    /// v2: offers `controller` to the groups below.
    pub(super) fn enable(&self, controller: Controller) -> io::Result<()> {
        let file = "cgroup.subtree_control";
        files::write(self.dir(), file, &format!("+{controller}"))
    }

    /// Removes all groups below, then this one.
    pub(super) fn remove(&self) -> io::Result<()> {
        remove_with_children(self.base(), self.dir(), &self.name)
    }
}

/// Removes every group `<name>-<number>` below `base` that no living spawner holds. What cannot be removed yet
/// stays for the next sweep.
pub(super) fn sweep(base: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    for group in children(base, |found| is_parent_name(found, name))? {
        if let Ok(Some(dir)) = lock(base, &group) {
            // Another user's, or with processes that are still dying.
            let _ = remove_with_children(base, dir.as_fd(), &group);
        }
    }
    Ok(())
}

fn is_parent_name(found: &str, name: &str) -> bool {
    found
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('-'))
        .is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Opens and locks a group; `None` if another process holds it, or it was removed and made anew meanwhile.
fn lock(base: BorrowedFd<'_>, name: &str) -> io::Result<Option<OwnedFd>> {
    let dir = files::open_dir(base, name)?;
    match flock(&dir, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        result => result?,
    }
    let there_now = files::open_dir(base, name)?;
    Ok(files::is_same(&dir, &there_now)?.then_some(dir))
}

fn remove_with_children(base: BorrowedFd<'_>, dir: BorrowedFd<'_>, name: &str) -> io::Result<()> {
    for group in children(dir, |found| found.starts_with("cpu-"))? {
        let inner = files::open_dir(dir, &group)?;
        remove_vms(inner.as_fd())?;
        remove_patiently(dir, &group)?;
    }
    remove_vms(dir)?;
    remove_patiently(base, name)
}

fn remove_vms(dir: BorrowedFd<'_>) -> io::Result<()> {
    for group in children(dir, |found| found.starts_with("vm-"))? {
        remove_patiently(dir, &group)?;
    }
    Ok(())
}

/// Names of the entries that `wanted` picks.
fn children(dir: BorrowedFd<'_>, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<String>> {
    let mut names = vec![];
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        let name: &CStr = entry.file_name();
        if let Ok(name) = name.to_str()
            && wanted(name)
        {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

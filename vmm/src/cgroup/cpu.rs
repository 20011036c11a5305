//! Groups that limit CPU time: one for each VM while there are few, shared by several when there are many.
//!
//! The scheduler keeps an average of what each group uses, and brings all groups that ran within the last half second up to
//! date in one go, with interrupts off: half a microsecond a group, 0.7 ms where each of 5,000 VMs has one, in every hundredth
//! request's way (`docs/perf/suite.md`). So there are [`CPU_GROUPS_MAX`] at most. A VM gets the group with the
//! fewest; a group may use as much as its VMs may together, and the kernel divides that evenly among those that want it.

use std::{
    io,
    sync::{Mutex, MutexGuard, PoisonError},
};

use super::{CgroupError, Controller, Limits, Tree, Version, files};

/// Groups of one spawner that limit CPU time, at most. Up to as many VMs have one of their own.
pub const CPU_GROUPS_MAX: usize = 64;

/// The groups of one spawner.
#[derive(Debug, Default)]
pub(super) struct CpuGroups(Mutex<Vec<CpuGroup>>);

/// What the VMs of a group may use together.
#[derive(Clone, Copy, Debug, Default)]
struct CpuGroup {
    vms: u32,
    /// Those without a quota.
    unlimited: u32,
    percent: u32,
    weight: u32,
    /// What the kernel was told last.
    in_force: Option<Limits>,
}

/// The directory of a group.
pub(super) fn name(index: usize) -> String {
    format!("cpu-{index}")
}

impl CpuGroups {
    /// Puts a VM with `limits` into the group with the fewest VMs; which that is.
    pub(super) fn enter(&self, tree: &Tree, limits: &Limits) -> Result<usize, CgroupError> {
        let mut groups = self.lock();
        let fewest = (0..groups.len()).min_by_key(|&index| groups[index].vms);
        let index = match fewest {
            Some(index) if groups[index].vms == 0 || groups.len() == CPU_GROUPS_MAX => index,
            _ => {
                make(tree, &name(groups.len()))?;
                groups.push(CpuGroup::default());
                groups.len() - 1
            }
        };
        let entered = groups[index].with(limits);
        groups[index] = entered.in_force(tree, index)?;
        Ok(index)
    }

    /// A VM of group `index` that had `old` gets `new`.
    pub(super) fn change(
        &self,
        tree: &Tree,
        index: usize,
        old: &Limits,
        new: &Limits,
    ) -> Result<(), CgroupError> {
        let mut groups = self.lock();
        let changed = groups[index].without(old).with(new);
        groups[index] = changed.in_force(tree, index)?;
        Ok(())
    }

    /// A VM with `limits` leaves group `index`, which stays for others.
    pub(super) fn leave(
        &self,
        tree: &Tree,
        index: usize,
        limits: &Limits,
    ) -> Result<(), CgroupError> {
        let mut groups = self.lock();
        let left = groups[index].without(limits);
        // It is gone, whether the kernel can be told or not.
        groups[index] = left;
        if left.vms > 0 {
            groups[index] = left.in_force(tree, index)?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<CpuGroup>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl CpuGroup {
    fn with(self, limits: &Limits) -> Self {
        Self {
            vms: self.vms + 1,
            unlimited: self.unlimited + u32::from(limits.cpu_percent.is_none()),
            percent: self
                .percent
                .saturating_add(limits.cpu_percent.unwrap_or_default()),
            weight: self.weight.saturating_add(limits.cpu_weight),
            ..self
        }
    }

    /// What [`CpuGroup::with`] added is taken away again.
    fn without(self, limits: &Limits) -> Self {
        Self {
            vms: self.vms.saturating_sub(1),
            unlimited: self
                .unlimited
                .saturating_sub(u32::from(limits.cpu_percent.is_none())),
            percent: self
                .percent
                .saturating_sub(limits.cpu_percent.unwrap_or_default()),
            weight: self.weight.saturating_sub(limits.cpu_weight),
            ..self
        }
    }

    /// The same, after the kernel was told.
    fn in_force(self, tree: &Tree, index: usize) -> Result<Self, CgroupError> {
        let together = Limits {
            cpu_percent: (self.unlimited == 0).then_some(self.percent),
            cpu_weight: self.weight,
            ..Limits::default()
        };
        let old = self.in_force.as_ref();
        tree.set(&name(index), &[Controller::Cpu], old, &together)?;
        Ok(Self {
            in_force: Some(together),
            ..self
        })
    }
}

/// Makes a group below which those of its VMs are, if other controllers limit them in the same tree.
fn make(tree: &Tree, name: &str) -> Result<(), CgroupError> {
    let failed = |source| CgroupError::Create {
        group: tree.parent.path_of(name),
        source,
    };
    match files::make_dir(tree.parent.dir(), name) {
        // Left over from a try that failed behind this.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.map_err(failed)?,
    }
    if tree.version == Version::V2 {
        for controller in tree.own_controllers() {
            let file = format!("{name}/cgroup.subtree_control");
            let on = format!("+{controller}");
            files::write(tree.parent.dir(), &file, &on).map_err(failed)?;
        }
    }
    Ok(())
}

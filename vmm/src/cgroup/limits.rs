//! How much a VM may take, and which files say so in either version.

use std::fs;

use super::{Controller, Version};

/// What a VM's group may hold beyond a share of its RAM: the VMM's own memory, the VM's and its
/// sockets' kernel memory. Measured on a PVM host, whose shadow page tables are the dearest there
/// are: a VM that touched all of its 16 MiB took 0.75 MiB of kernel memory, of 64 MiB 0.95 MiB, of 1 GiB
/// 7.5 MiB, and the VMM less than 1 MiB of its own. With [`RAM_SHARE`] the limit leaves about
/// three times that.
pub const VMM_ALLOWANCE_BYTES: u64 = 4 << 20;
/// One in so many bytes of RAM is allowed on top for page tables, the host's and KVM's: the figures above
/// grow by 1/150.
pub const RAM_SHARE: u64 = 64;
/// Tasks of a VM where KVM makes no thread of its own.
pub const PIDS_PLAIN: u32 = 1;
/// Tasks of a VM where KVM starts `kvm-nx-lpage-recovery` in it. Since Linux 6.14 that is a thread of the
/// process, made at the first `KVM_RUN`, which fails with EAGAIN if the limit forbids it; before, a kernel thread
/// that was moved into the group.
pub const PIDS_WITH_WORKER: u32 = 2;

/// 100 ms: the kernel's default in both versions, so v1 need not write it.
const CPU_PERIOD_US: u64 = 100_000;
/// The shortest quota that the kernel takes is 1 ms, which is one percent.
const CPU_PERCENT_MIN: u32 = 1;
const CPU_WEIGHT_MAX: u32 = 10_000;
const CPU_WEIGHT_DEFAULT: u64 = 100;
/// v1 counts in shares; so many are the default weight.
const CPU_SHARES_DEFAULT: u64 = 1024;
const CPU_SHARES_MIN: u64 = 2;
const CPU_SHARES_MAX: u64 = 262_144;

/// What the processes of one group may take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Memory in bytes, kernel memory included. There is no swap on top.
    pub memory_bytes: u64,
    /// CPU time in percent of one CPU, at least 1; `None` for as much as there is.
    pub cpu_percent: Option<u32>,
    /// Share of a contended CPU, 1 to 10000, relative to the neighbours' weights.
    pub cpu_weight: u32,
    /// Tasks: processes and threads.
    pub pids: u32,
}

impl Limits {
    /// Limits for a VM with `ram_bytes` of RAM. A VM with `cpu_full_ram_bytes` or more may use its one
    /// vCPU without pause, a smaller one in proportion; its weight is its RAM in MiB. `pids` is what [`vm_pids`]
    /// found.
    #[must_use]
    pub fn for_vm(ram_bytes: u64, cpu_full_ram_bytes: u64, pids: u32) -> Self {
        let memory_bytes = ram_bytes
            .saturating_add(ram_bytes / RAM_SHARE)
            .saturating_add(VMM_ALLOWANCE_BYTES);
        let percent = u128::from(ram_bytes) * 100 / u128::from(cpu_full_ram_bytes.max(1));
        let percent = u32::try_from(percent).unwrap_or(u32::MAX);
        let weight = u32::try_from(ram_bytes >> 20).unwrap_or(u32::MAX);
        Self {
            memory_bytes,
            cpu_percent: Some(percent.clamp(CPU_PERCENT_MIN, 100)),
            cpu_weight: weight.clamp(1, CPU_WEIGHT_MAX),
            pids,
        }
    }
}

/// How many tasks a process with a VM needs on this host: [`PIDS_PLAIN`] or [`PIDS_WITH_WORKER`].
/// Reads `/sys`, so it is asked before the root is left.
#[must_use]
pub fn vm_pids() -> u32 {
    let setting = fs::read_to_string("/sys/module/kvm/parameters/nx_huge_pages");
    pids_for(setting.ok().as_deref())
}

/// Only `never` rules the thread out: with `N` it is made all the same and sleeps.
pub(super) fn pids_for(nx_huge_pages: Option<&str>) -> u32 {
    match nx_huge_pages.map(str::trim) {
        Some("never") => PIDS_PLAIN,
        _ => PIDS_WITH_WORKER,
    }
}

/// One value to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Setting {
    pub(super) file: &'static str,
    pub(super) value: String,
    /// The file may be missing: a kernel without swap accounting has nothing to limit.
    pub(super) is_optional: bool,
}

impl Setting {
    fn new(file: &'static str, value: impl ToString) -> Self {
        Self {
            file,
            value: value.to_string(),
            is_optional: false,
        }
    }

    fn if_there(file: &'static str, value: impl ToString) -> Self {
        Self {
            is_optional: true,
            ..Self::new(file, value)
        }
    }
}

/// The writes that bring a controller from `old` (`None` for a new group) to `new`, in order.
pub(super) fn settings(
    version: Version,
    controller: Controller,
    old: Option<&Limits>,
    new: &Limits,
) -> Vec<Setting> {
    match controller {
        Controller::Memory if version == Version::V1 => memory_of_v1(old, new),
        Controller::Memory => memory_of_v2(old, new),
        Controller::Cpu => cpu(version, old, new),
        Controller::Pids if old.is_none_or(|old| old.pids != new.pids) => {
            vec![Setting::new("pids.max", new.pids)]
        }
        Controller::Pids => vec![],
    }
}

fn memory_of_v1(old: Option<&Limits>, new: &Limits) -> Vec<Setting> {
    let bytes = new.memory_bytes;
    if old.is_some_and(|old| old.memory_bytes == bytes) {
        return vec![];
    }
    // Memory with swap must never be less than memory, not even between two writes.
    let memory = Setting::new("memory.limit_in_bytes", bytes);
    let with_swap = Setting::if_there("memory.memsw.limit_in_bytes", bytes);
    match old.is_some_and(|old| old.memory_bytes < bytes) {
        true => vec![with_swap, memory],
        false => vec![memory, with_swap],
    }
}

fn memory_of_v2(old: Option<&Limits>, new: &Limits) -> Vec<Setting> {
    let mut settings = vec![];
    if old.is_none() {
        settings.push(Setting::if_there("memory.swap.max", 0));
        // The VMM and its guest's RAM are one process today; should it have a helper, they go together.
        settings.push(Setting::if_there("memory.oom.group", 1));
    }
    if old.is_none_or(|old| old.memory_bytes != new.memory_bytes) {
        settings.push(Setting::new("memory.max", new.memory_bytes));
    }
    settings
}

fn cpu(version: Version, old: Option<&Limits>, new: &Limits) -> Vec<Setting> {
    let mut settings = vec![];
    if old.is_none_or(|old| old.cpu_percent != new.cpu_percent) {
        let quota_us = new
            .cpu_percent
            .map(|percent| u64::from(percent.max(CPU_PERCENT_MIN)) * CPU_PERIOD_US / 100);
        settings.push(match (version, quota_us) {
            (Version::V1, Some(quota)) => Setting::new("cpu.cfs_quota_us", quota),
            (Version::V1, None) => Setting::new("cpu.cfs_quota_us", -1),
            (Version::V2, Some(quota)) => {
                Setting::new("cpu.max", format!("{quota} {CPU_PERIOD_US}"))
            }
            (Version::V2, None) => Setting::new("cpu.max", format!("max {CPU_PERIOD_US}")),
        });
    }
    if old.is_none_or(|old| old.cpu_weight != new.cpu_weight) {
        let weight = new.cpu_weight.clamp(1, CPU_WEIGHT_MAX);
        let shares = u64::from(weight) * CPU_SHARES_DEFAULT / CPU_WEIGHT_DEFAULT;
        settings.push(match version {
            Version::V1 => Setting::new("cpu.shares", shares.clamp(CPU_SHARES_MIN, CPU_SHARES_MAX)),
            Version::V2 => Setting::new("cpu.weight", weight),
        });
    }
    settings
}

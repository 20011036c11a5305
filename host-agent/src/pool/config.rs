//! What the pool may use, and how long things wait.

use std::time::Duration;

use jiffy_console::quantity::{bytes_or_text, ms_or_text};
use serde::{Deserialize, Serialize};

/// What most functions write of their RAM at most, per mille.
const RAM_WRITTEN_PER_MILLE: u32 = 30;

/// Limits and times of the pool: the section `pool` of `jiffyd.toml`, and some that nobody has had to change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolConfig {
    /// Shells that are kept ready at least.
    pub shells_min: u32,
    /// Shells that are kept ready at most, when there are many cold starts.
    pub shells_max: u32,
    /// Shells that are made at the same time at most.
    pub shells_making_max: u32,
    /// How long a VM waits for the next request, milliseconds.
    #[serde(deserialize_with = "ms_or_text")]
    pub keep_alive_ms: u64,
    /// Requests of one function that wait for a VM at most.
    pub queue_len_max: usize,
    /// How long a request waits for a VM at most, milliseconds.
    #[serde(deserialize_with = "ms_or_text")]
    pub queue_ms_max: u64,
    /// Memory for all VMs and shells, bytes; 0: see [`PoolConfig::on_host`].
    #[serde(deserialize_with = "bytes_or_text")]
    pub memory_bytes_max: u64,
    /// What a VM is charged for its process and the kernel's part, bytes; a shell too. Measured: 0.65 to
    /// 0.8 MiB with the few pages that a small function writes.
    #[serde(deserialize_with = "bytes_or_text")]
    pub vm_overhead_bytes: u64,
    /// What a VM is charged of its RAM until it is known how much of it the function writes, per mille. A restored VM
    /// shares with all others what it does not write; but what it will write nobody knows before its first request is
    /// done, and it may be all. One VM that is alone is charged no more than there is.
    pub ram_charged_per_mille: u32,
    /// How long a VM may take after a response until it is ready for the next request, milliseconds.
    #[serde(skip)]
    pub settle_ms_max: u64,
    /// How long a request waits for a VM that settles before another one is started for it, microseconds. A VM that takes
    /// longer to settle is not waited for.
    #[serde(skip)]
    pub settle_wait_us: u64,
    /// How long a shell may take to be made, milliseconds.
    #[serde(skip)]
    pub shell_ms_max: u64,
    /// How long to wait after a shell could not be made, milliseconds, unless a request needs one.
    #[serde(skip)]
    pub shell_retry_ms: u64,
}

impl Default for PoolConfig {
    fn default() -> Self {
        Self {
            shells_min: 8,
            shells_max: 64,
            shells_making_max: 4,
            keep_alive_ms: 60_000,
            queue_len_max: 1000,
            queue_ms_max: 10_000,
            memory_bytes_max: 0,
            vm_overhead_bytes: 768 << 10,
            ram_charged_per_mille: 1000,
            settle_ms_max: 10_000,
            settle_wait_us: 1000,
            shell_ms_max: 10_000,
            shell_retry_ms: 1000,
        }
    }
}

impl PoolConfig {
    /// The same on a host, or in a control group, with this memory: three quarters of it, if nothing else is said.
    #[must_use]
    pub fn on_host(mut self, memory_bytes: u64) -> Self {
        if self.memory_bytes_max == 0 {
            self.memory_bytes_max = memory_bytes / 4 * 3;
        }
        self
    }

    /// What is left for VMs: the shells that may wait have their part set apart.
    pub(super) fn vm_bytes_max(&self) -> u64 {
        let shell_bytes = u64::from(self.shells_max).saturating_mul(self.vm_overhead_bytes);
        self.memory_bytes_max.saturating_sub(shell_bytes)
    }

    /// What a VM of a function with this RAM is held to write of it at most, bytes: never more than there is for one.
    pub(super) fn resident_bytes_max(&self, ram_bytes: u64) -> u64 {
        let room = self.vm_bytes_max().saturating_sub(self.vm_overhead_bytes);
        ram_bytes.min(room)
    }

    /// What a VM of a function with this RAM probably writes of it, bytes.
    pub(super) fn resident_bytes(&self, ram_bytes: u64) -> u64 {
        let per_mille = |part: u32| ram_bytes / 1000 * u64::from(part.min(1000));
        let all = per_mille(self.ram_charged_per_mille);
        // A function with more RAM than there is memory runs by itself, if it probably writes little of it.
        let room = self.vm_bytes_max().saturating_sub(self.vm_overhead_bytes);
        all.min(room.max(per_mille(
            self.ram_charged_per_mille.min(RAM_WRITTEN_PER_MILLE),
        )))
    }

    pub(super) fn keep_alive(&self) -> Duration {
        Duration::from_millis(self.keep_alive_ms)
    }

    pub(super) fn settle_wait(&self) -> Duration {
        Duration::from_micros(self.settle_wait_us)
    }

    pub(super) fn queue_time_max(&self) -> Duration {
        Duration::from_millis(self.queue_ms_max)
    }
}

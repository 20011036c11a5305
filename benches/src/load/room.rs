//! Whether this host and this process have room for many VMs.

use std::{fs, thread, time::Duration};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::suites::Fallible;

/// Descriptors that this process has for each VM: two sockets and its process.
const FILES_PER_VM: u64 = 3;
/// Descriptors that it has for all else.
const FILES_ELSE: u64 = 256;
/// `MemAvailable` has settled when it changes by no more than this...
const SETTLED_KIB: u64 = 512;
/// ...in so long: the counters of each CPU are added up about every second.
const SETTLED_FOR: Duration = Duration::from_millis(1200);
const SETTLE_TIMES_MAX: usize = 8;

/// Lets this process, and spawners it starts later, open what so many VMs need; how many VMs it comes to, if that is fewer.
pub fn allow_files(vms: usize) -> usize {
    let as_u64 = |number| u64::try_from(number).unwrap_or(u64::MAX);
    let limit = getrlimit(Resource::Nofile);
    let wanted = FILES_PER_VM.saturating_mul(as_u64(vms)) + FILES_ELSE;
    let allowed = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let current = limit.current.map(|current| current.max(allowed));
    // If it is refused the old limit holds, and that is what counts.
    let _ = setrlimit(Resource::Nofile, Rlimit { current, ..limit });
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let vms_max = files.saturating_sub(FILES_ELSE) / FILES_PER_VM;
    vms.min(usize::try_from(vms_max).unwrap_or(usize::MAX))
}

/// `MemAvailable`, KiB: what can be given out without swapping.
pub fn available_kib() -> Fallible<u64> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let mut lines = text.lines();
    let number = lines.find_map(|line| {
        let rest = line.strip_prefix("MemAvailable:")?;
        rest.trim().strip_suffix("kB")?.trim().parse().ok()
    });
    number.ok_or_else(|| "/proc/meminfo has no MemAvailable: use Linux 3.14 or later".into())
}

/// [`available_kib`] once that changes no more, or after a while if it never stops.
pub fn settled_kib() -> Fallible<u64> {
    let mut last = available_kib()?;
    for _ in 0..SETTLE_TIMES_MAX {
        thread::sleep(SETTLED_FOR);
        let now = available_kib()?;
        if now.abs_diff(last) <= SETTLED_KIB {
            return Ok(now);
        }
        last = now;
    }
    Ok(last)
}

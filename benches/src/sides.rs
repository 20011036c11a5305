//! The two sides of a socket, each on a CPU of its own.
//!
//! Whether the kernel wakes the other side on the same CPU or on another makes a wake-up cost half or twice as much, and
//! it stays with its choice for a while: two runs of one program differ by more than what is looked for. So whoever
//! measures sits on one CPU and what it measures on another, floor and jiffy alike; a request over a network would arrive
//! like that too. Where there is one CPU only, nothing is done. Not here: the agent, whose threads go where they like.

use std::sync::{
    OnceLock,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use rustix::{
    process::Pid,
    thread::{CpuSet, sched_getaffinity, sched_setaffinity},
};

static IS_UNPINNED: AtomicBool = AtomicBool::new(false);

/// From now on the kernel decides where everything runs.
pub fn unpin() {
    IS_UNPINNED.store(true, Relaxed);
}

/// All CPUs that this program may use, and the two that are used.
#[derive(Clone, Copy, Debug)]
struct Cpus {
    all: CpuSet,
    near: CpuSet,
    far: CpuSet,
}

/// As it was before anything was pinned.
fn cpus() -> Option<&'static Cpus> {
    static CPUS: OnceLock<Option<Cpus>> = OnceLock::new();
    let found = CPUS.get_or_init(|| {
        let all = sched_getaffinity(None).ok()?;
        let mut used = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
        let (near, far) = (only(used.next()?), only(used.next()?));
        Some(Cpus { all, near, far })
    });
    found.as_ref()
}

fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}

/// While it lives, this thread is on the near CPU. What it starts meanwhile is too, unless it is put elsewhere.
#[derive(Debug)]
pub struct Near(());

/// Puts this thread on the near CPU.
pub fn near() -> Near {
    put(None, |cpus| &cpus.near);
    Near(())
}

impl Drop for Near {
    fn drop(&mut self) {
        put(None, |cpus| &cpus.all);
    }
}

/// Puts a process with one thread on the far CPU.
pub fn far(process_id: u32) {
    if let Some(process) = i32::try_from(process_id).ok().and_then(Pid::from_raw) {
        put(Some(process), |cpus| &cpus.far);
    }
}

/// A process that may not be moved is measured where it is.
fn put(process: Option<Pid>, to: impl Fn(&Cpus) -> &CpuSet) {
    if IS_UNPINNED.load(Relaxed) {
        return;
    }
    if let Some(cpus) = cpus() {
        let _ = sched_setaffinity(process, to(cpus));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_is_put_back() {
        let before = sched_getaffinity(None).expect("a thread");
        let guard = near();
        let during = sched_getaffinity(None).expect("a thread");
        drop(guard);
        assert_eq!(sched_getaffinity(None).expect("a thread"), before);
        assert_eq!(during.count(), 1, "of {}", before.count());
    }
}

//! What a further VM costs: many of one snapshot, each a jailed process that has answered a request and is idle.
//!
//! `density.kib_per_vm` is what `MemAvailable` lost: memory of the kernel, of the spawner and of this process too.
//! `density.vms_per_s` is how many a second there are, from a shell asked for to a VM that has answered and is pristine again.

use std::{
    thread,
    time::{Duration, Instant},
};

use jiffy_client::Shell;
use jiffy_control::Isolation;

use super::{Fallible, Run};
use crate::{
    load::room::{allow_files, settled_kib},
    report::Measured,
    setup::{self, Function},
};

const VMS: usize = 200;
const VMS_FULL: usize = 2000;
/// Threads that make them: the spawner forks one while another closes its jail.
const THREADS: usize = 2;
/// What others may have taken or given back meanwhile, as a part of what the VMs took.
const STRANGE_PART_MAX: f64 = 0.25;
/// How often it is measured until memory comes back. The kernel keeps what it had of the files of groups that are gone, and the
/// next round finds it there.
const ROUNDS_MAX: usize = 4;
/// VMs before the first reading: what all of them share is there then.
const VMS_BEFORE: usize = 4;

/// Measures.
pub fn run(run: &mut Run) -> Fallible<()> {
    let wanted = if run.full { VMS_FULL } else { VMS };
    let vms = allow_files(wanted + VMS_BEFORE).saturating_sub(VMS_BEFORE);
    if vms < wanted {
        let why = format!(
            "{wanted} VMs need more open files than the {vms} that were measured: raise the hard limit (ulimit -Hn)"
        );
        run.absent("density", why);
    }
    if vms == 0 {
        return Ok(());
    }
    run.progress(&format!("density: {vms} VMs"));
    let function = Function::hello(run)?;
    let first = fill(&function, VMS_BEFORE)?;
    let mut round = Round::measure(&function, vms)?;
    for _ in 1..ROUNDS_MAX {
        if round.each_kib().is_some() {
            break;
        }
        round = Round::measure(&function, vms)?;
    }
    drop(first);
    match round.each_kib() {
        Some(kib) => run.found(Measured::single("density.kib_per_vm", "KiB", kib)),
        None => run.absent("density.kib_per_vm", round.why_not()),
    }
    let per_s = count(u64::try_from(vms)?) / round.took.as_secs_f64();
    run.found(Measured::single("density.vms_per_s", "1/s", per_s));
    Ok(())
}

/// What it took to have so many VMs at once.
#[derive(Clone, Copy, Debug)]
struct Round {
    vms: usize,
    took: Duration,
    /// Available memory before they came, while they were there, and when they were gone.
    before_kib: u64,
    after_kib: u64,
    again_kib: u64,
}

impl Round {
    fn measure(function: &Function, vms: usize) -> Fallible<Self> {
        let before_kib = settled_kib()?;
        let began = Instant::now();
        let all = fill(function, vms)?;
        let took = began.elapsed();
        let after_kib = settled_kib()?;
        // Each has kept what it had.
        let request = function.request();
        for vm in &all {
            setup::request(vm, &request)?;
            setup::done(vm)?;
        }
        all.into_iter().for_each(setup::end);
        Ok(Self {
            vms,
            took,
            before_kib,
            after_kib,
            again_kib: settled_kib()?,
        })
    }

    fn each_kib(&self) -> Option<f64> {
        each_kib(self.before_kib, self.after_kib, self.again_kib, self.vms)
    }

    fn why_not(&self) -> String {
        let Self {
            before_kib,
            after_kib,
            again_kib,
            ..
        } = self;
        format!(
            "available memory went from {before_kib} to {after_kib} and back to {again_kib} KiB, so others used it too: repeat this on a quiet host"
        )
    }
}

/// What each of so many VMs took, KiB, if there is as much memory when they are gone as there was before they came.
fn each_kib(before_kib: u64, after_kib: u64, again_kib: u64, vms: usize) -> Option<f64> {
    let before = f64::midpoint(count(before_kib), count(again_kib));
    let lost = before - count(after_kib);
    let strange = count(before_kib.abs_diff(again_kib));
    let is_quiet = lost > 0.0 && strange <= lost * STRANGE_PART_MAX;
    is_quiet.then(|| lost / count(u64::try_from(vms).unwrap_or(u64::MAX)))
}

#[expect(clippy::cast_precision_loss, reason = "no memory has 2^52 KiB")]
fn count(number: u64) -> f64 {
    number as f64
}

/// So many more VMs, each idle after its first request.
pub(super) fn fill(function: &Function, vms: usize) -> Fallible<Vec<Shell>> {
    let make = |first: usize| -> Fallible<Vec<_>> {
        let numbers = (first..vms).step_by(THREADS);
        numbers
            .map(|_| function.instance(Isolation::Fresh))
            .collect()
    };
    let make = &make;
    thread::scope(|scope| {
        let makers = [(); THREADS];
        let mut first = 0..;
        let makers = makers.map(|()| first.next().map(|first| scope.spawn(move || make(first))));
        let mut all = vec![];
        for maker in makers.into_iter().flatten() {
            all.extend(
                maker
                    .join()
                    .map_err(|_| "a thread that makes VMs panicked")??,
            );
        }
        Ok(all)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_others_used_is_not_taken_for_that_of_vms() {
        assert_eq!(each_kib(10_000, 8_000, 10_000, 4), Some(500.0));
        assert_eq!(each_kib(10_000, 8_000, 9_600, 4), Some(450.0));
        // Half of it did not come back.
        assert_eq!(each_kib(10_000, 8_000, 9_000, 4), None);
        // Others gave more back than the VMs took.
        assert_eq!(each_kib(10_000, 12_000, 14_000, 4), None);
        assert_eq!(each_kib(10_000, 10_000, 10_000, 4), None);
    }
}

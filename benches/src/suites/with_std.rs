//! `std.*` and `no_std.*`: what it costs a function to be written with `std`, in size, cold and fresh.
//!
//! Both are `hello`, with the same event and the same answer, and take turns: both see the same machine. Of the cold ones each
//! is as often first as the other.

use std::{fs::File, path::Path, thread, time::Duration};

use jiffy_control::Isolation;
use jiffy_image::Elf;

use super::{Fallible, Run, floor::TURN, restore::Parts};
use crate::{
    report::Measured,
    samples::Samples,
    setup::{self, Function, HELLO_EVENT, RAM_BYTES},
    sides,
};

const FRESH_TIMES: usize = 3000;
const COLD_TIMES: usize = 300;
/// What was just made or ended has settled by then.
const SETTLE: Duration = Duration::from_millis(2);
const KIB: f64 = 1024.0;

/// Measures both.
pub fn run(run: &mut Run) -> Fallible<()> {
    let images = [
        ("no_std", run.hello.clone()),
        ("std", run.hello_std.clone()),
    ];
    for (name, image) in &images {
        let kib = kib_of(image)?;
        run.found(Measured::single(format!("{name}.image_kib"), "KiB", kib));
    }
    let both = [
        Function::new(run, &images[0].1, RAM_BYTES, HELLO_EVENT)?,
        Function::new(run, &images[1].1, RAM_BYTES, HELLO_EVENT)?,
    ];
    let _near = sides::near();
    let fresh = fresh(run, &both)?;
    let cold = cold(run, &both)?;
    for (what, samples) in [("fresh", fresh), ("cold", cold)] {
        for ((name, _), samples) in images.iter().zip(samples) {
            run.found(samples.measured(format!("{name}.{what}")));
        }
    }
    Ok(())
}

/// The file as `jiffy build --strip` leaves it: the rest is symbols.
#[expect(clippy::cast_precision_loss, reason = "images are below 2^53 bytes")]
fn kib_of(image: &Path) -> Fallible<f64> {
    Ok(Elf::read(&File::open(image)?)?.needed_bytes() as f64 / KIB)
}

fn fresh(run: &Run, both: &[Function; 2]) -> Fallible<[Samples; 2]> {
    let vms = [
        both[0].instance(Isolation::Fresh)?,
        both[1].instance(Isolation::Fresh)?,
    ];
    let mut all = [Samples::new(), Samples::new()];
    let times = run.times(FRESH_TIMES);
    let turn = times.min(TURN);
    for vm in &vms {
        sides::far(vm.process_id());
    }
    for counts in run.rounds("std.fresh", times.div_ceil(turn.max(1))) {
        for ((vm, function), samples) in vms.iter().zip(both).zip(&mut all) {
            let request = function.request();
            for _ in 0..turn {
                let took = setup::request(vm, &request)?;
                setup::done(vm)?;
                samples.push_if(counts, took);
            }
        }
    }
    vms.into_iter().for_each(setup::end);
    Ok(all)
}

fn cold(run: &mut Run, both: &[Function; 2]) -> Fallible<[Samples; 2]> {
    both.iter().for_each(Function::make_far);
    let mut all = [Samples::new(), Samples::new()];
    let mut parts = [Parts::default(), Parts::default()];
    for (round, counts) in run.rounds("std.cold", run.times(COLD_TIMES)).enumerate() {
        let first = round & 1;
        for index in [first, 1 - first] {
            let shell = both[index].shell()?;
            thread::sleep(SETTLE);
            let took = both[index].hand_over(&shell, Isolation::Fresh)?;
            let stats = setup::done(&shell)?;
            parts[index].push_if(counts, took, &stats);
            all[index].push_if(counts, took);
            setup::end(shell);
        }
    }
    for (parts, name) in parts.into_iter().zip(["no_std.cold", "std.cold"]) {
        run.breakdowns.push(parts.breakdown(name));
    }
    Ok(all)
}

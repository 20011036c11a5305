//! `invoke.*`: requests to one VM in a jailed process, one after the other, from request written to response read.
//!
//! The next request is sent when the VM has said that it is ready for it, so a reset is never part of a request.
//! Floor and jiffy take turns of a few requests each: both see the same machine, and both with warm caches.

use std::time::Duration;

use jiffy_control::Isolation;

use super::{
    Fallible, Run,
    floor::{Small, TURN},
};
use crate::{
    report::Breakdown,
    samples::Samples,
    setup::{self, Function},
    sides,
};

const TIMES: usize = 6000;

/// Measures `invoke.fresh`: every request finds the VM as its snapshot has it.
pub fn fresh(run: &mut Run) -> Fallible<()> {
    invoke(run, "invoke.fresh", Isolation::Fresh)
}

/// Measures `invoke.warm`: a request finds what those before it left.
pub fn warm(run: &mut Run) -> Fallible<()> {
    invoke(run, "invoke.warm", Isolation::Reuse)
}

fn invoke(run: &mut Run, name: &str, isolation: Isolation) -> Fallible<()> {
    let hello = Function::hello(run)?;
    let _near = sides::near();
    let vm = hello.instance(isolation)?;
    sides::far(vm.process_id());
    let mut floor = Small::start(hello.ram_bytes(), hello.pages)?;
    let request = hello.request();
    let (mut whole, mut outside) = (Samples::new(), Samples::new());
    let (mut inside, mut resets) = (Samples::new(), Samples::new());
    let times = run.times(TIMES);
    let turn = times.min(TURN);
    for counts in run.rounds(name, times.div_ceil(turn.max(1))) {
        for _ in 0..turn {
            let took = setup::request(&vm, &request)?;
            let stats = setup::done(&vm)?;
            let in_vm = Duration::from_nanos(stats.last_request_ns);
            whole.push_if(counts, took);
            inside.push_if(counts, in_vm);
            outside.push_if(counts, took.saturating_sub(in_vm));
            resets.push_if(counts, Duration::from_nanos(stats.last_reset_ns));
        }
        floor.measure(turn, counts)?;
    }
    setup::end(vm);
    floor.tell(run);
    run.found(whole.measured(name));
    let mut parts = vec![
        ("sockets and wake-ups".to_owned(), outside.p50_us()),
        ("request in the VM".to_owned(), inside.p50_us()),
    ];
    if isolation == Isolation::Fresh {
        parts.push(("reset, behind the response".to_owned(), resets.p50_us()));
    }
    run.breakdowns.push(Breakdown {
        name: name.to_owned(),
        parts,
    });
    Ok(())
}

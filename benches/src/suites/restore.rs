//! `restore.*`: from handing over a snapshot and a request until the response, by what is there already.
//!
//! Floor and jiffy take turns: both processes wait before either is used, both are gone before the next round begins, and
//! each is as often made first and used first as the other.

use std::{
    io::Read,
    os::unix::net::UnixStream,
    thread,
    time::{Duration, Instant},
};

use jiffy_control::{Exchange, Isolation, Stats};
use jiffy_snapshots::Snapshot;
use jiffy_vmm::{kvm::Machine, mem::Ram, run::Prepared};

use super::{Fallible, Run, floor::POOLED_RESTORE};
use crate::{
    floor::{Waiting, ram_file},
    report::Breakdown,
    samples::Samples,
    setup::{self, Function},
    sides,
};

const TIMES: usize = 500;
/// What was just made or ended has settled by then.
const SETTLE: Duration = Duration::from_millis(2);
/// The answers of functions under measure are smaller.
const RESPONSE_BYTES_MAX: usize = 4096;

/// Measures `restore.pooled`, into a shell that waits; `restore.unpooled`, making the shell included; and
/// `restore.in_process`, without another process.
pub fn run(run: &mut Run) -> Fallible<()> {
    let hello = Function::hello(run)?;
    let _near = sides::near();
    hello.make_far();
    let file = ram_file(hello.ram_bytes())?;
    let (mut pooled, mut floors) = (Samples::new(), Samples::new());
    let (mut unpooled, mut in_process) = (Samples::new(), Samples::new());
    let mut parts = Parts::default();
    let start_floor = || Waiting::start(hello.ram_bytes(), hello.pages);
    for (round, counts) in run.rounds("restore.pooled", run.times(TIMES)).enumerate() {
        let (is_floor_made_first, is_floor_first) = (round & 1 == 0, round & 2 == 0);
        let early = is_floor_made_first.then(start_floor).transpose()?;
        let shell = hello.shell()?;
        let mut floor = match early {
            Some(floor) => floor,
            None => start_floor()?,
        };
        thread::sleep(SETTLE);
        if is_floor_first {
            floors.push_if(counts, floor.hand_over(&file)?);
        }
        let took = hello.hand_over(&shell, Isolation::Fresh)?;
        pooled.push_if(counts, took);
        let stats = setup::done(&shell)?;
        parts.push_if(counts, took, &stats);
        if !is_floor_first {
            floors.push_if(counts, floor.hand_over(&file)?);
        }
        drop(floor);
        setup::end(shell);
    }
    for counts in run.rounds("restore.unpooled", run.times(TIMES)) {
        thread::sleep(SETTLE);
        let began = Instant::now();
        let shell = hello.shell()?;
        hello.hand_over(&shell, Isolation::Fresh)?;
        unpooled.push_if(counts, began.elapsed());
        setup::done(&shell)?;
        setup::end(shell);
    }
    for counts in run.rounds("restore.in_process", run.times(TIMES)) {
        in_process.push_if(counts, here(&hello)?);
    }
    run.found_floor(POOLED_RESTORE, &floors);
    run.found(pooled.measured("restore.pooled"));
    run.found(unpooled.measured("restore.unpooled"));
    run.found(in_process.measured("restore.in_process"));
    run.breakdowns.push(parts.breakdown("restore.pooled"));
    Ok(())
}

/// From a VM that is prepared in this process until its first response is written: what remains of a restore without any
/// wake-up of another process.
fn here(function: &Function) -> Fallible<Duration> {
    let snapshot = Snapshot::open(&function.path())?;
    let (stream, mut client) = UnixStream::pair()?;
    Exchange::new()?.write(&mut client, &function.request())?;
    let machine = Machine::new(Ram::reserve(snapshot.ram_bytes())?)?;
    let prepared = Prepared::new(machine, stream, None, |_| {})?;
    let began = Instant::now();
    let mut vm = prepared.restore(snapshot, Isolation::Fresh)?;
    let restored = began.elapsed();
    if let Some(end) = vm.serve_request()? {
        return Err(format!("the VM ended: {end:?}").into());
    }
    if client.read(&mut [0; RESPONSE_BYTES_MAX])? == 0 {
        return Err("the VM closed its stream without a response".into());
    }
    // `serve_request` also resets, which is not in the way of the response.
    Ok(restored + Duration::from_nanos(vm.stats().last_request_ns))
}

/// Where a cold request's time goes, as its VMM counts it.
#[derive(Debug, Default)]
pub(super) struct Parts {
    wake_ups: Samples,
    state: Samples,
    restore: Samples,
    request: Samples,
}

impl Parts {
    /// One request, and what its VMM said of it.
    pub(super) fn push_if(&mut self, counts: bool, took: Duration, stats: &Stats) {
        let [state, restore, request] = [
            stats.phases.image_ns,
            stats.phases.restore_ns,
            stats.last_request_ns,
        ]
        .map(Duration::from_nanos);
        self.state.push_if(counts, state);
        self.restore.push_if(counts, restore);
        self.request.push_if(counts, request);
        let rest = took.saturating_sub(state + restore + request);
        self.wake_ups.push_if(counts, rest);
    }

    /// Of the result `name`.
    pub(super) fn breakdown(self, name: impl Into<String>) -> Breakdown {
        let parts = [
            ("sockets and wake-ups", self.wake_ups),
            ("state verified", self.state),
            ("RAM mapped, working set, registers", self.restore),
            ("request in the VM", self.request),
        ];
        Breakdown {
            name: name.into(),
            parts: parts
                .into_iter()
                .map(|(name, samples)| (name.to_owned(), samples.p50_us()))
                .collect(),
        }
    }
}

//! `floor.*`: what the same work takes at least. It is in every run, because every claim is also a ratio to it.
//!
//! Suites that claim something take turns with the floor too, so that both see the same machine; what is reported is of
//! all these samples.

use std::time::{Duration, Instant};

use super::{Fallible, Run};
use crate::{
    floor::{Echo, Resets, Waiting, ram_file},
    samples::Samples,
    setup::Function,
    sides,
};

/// The result of [`Waiting`].
pub const POOLED_RESTORE: &str = "floor.pooled_restore";
/// The result of [`Resets`].
pub const RESET: &str = "floor.reset";
/// The result of [`Echo`].
pub const ROUNDTRIP: &str = "floor.roundtrip";

const RESTORES: usize = 200;
const SMALL: usize = 2000;
/// Requests, resets or round trips of one turn: enough for their caches to be warm.
pub const TURN: usize = 25;

/// Measures, with as many written pages as a request to `hello` writes.
pub fn run(run: &mut Run) -> Fallible<()> {
    let (ram_bytes, pages) = {
        let hello = Function::hello(run)?;
        (hello.ram_bytes(), hello.pages)
    };
    let _near = sides::near();
    let file = ram_file(ram_bytes)?;
    let mut restores = Samples::new();
    for counts in run.rounds(POOLED_RESTORE, run.times(RESTORES)) {
        let took = Waiting::start(ram_bytes, pages)?.hand_over(&file)?;
        restores.push_if(counts, took);
    }
    run.found_floor(POOLED_RESTORE, &restores);

    let mut small = Small::start(ram_bytes, pages)?;
    let times = run.times(SMALL);
    let turn = times.min(TURN);
    for counts in run.rounds(RESET, times.div_ceil(turn.max(1))) {
        small.measure(turn, counts)?;
    }
    small.tell(run);
    Ok(())
}

/// What a request to a VM that is there is compared with.
#[derive(Debug)]
pub struct Small {
    vm: Resets,
    echo: Echo,
    resets: Samples,
    round_trips: Samples,
}

impl Small {
    /// Of a VM with `ram_bytes` of RAM whose guest writes `pages`.
    pub fn start(ram_bytes: usize, pages: usize) -> Fallible<Self> {
        Ok(Self {
            vm: Resets::new(ram_bytes, pages)?,
            echo: Echo::start()?,
            resets: Samples::new(),
            round_trips: Samples::new(),
        })
    }

    /// So many resets, and then so many round trips.
    pub fn measure(&mut self, times: usize, counts: bool) -> Fallible<()> {
        for _ in 0..times {
            let began = Instant::now();
            self.vm.reset()?;
            self.resets.push_if(counts, began.elapsed());
        }
        for _ in 0..times {
            let took: Duration = self.echo.round_trip()?;
            self.round_trips.push_if(counts, took);
        }
        Ok(())
    }

    /// Tells all that was measured.
    pub fn tell(self, run: &mut Run) {
        run.found_floor(RESET, &self.resets);
        run.found_floor(ROUNDTRIP, &self.round_trips);
    }
}

//! Writes the resume page: fresh entropy and the clocks, before every resume that answers a
//! doorbell.

use std::{
    io,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use jiffy_abi::{
    layout::RESUME_PAGE,
    resume_page::{ENTROPY_BYTES, FLAG_PRECISE_CLOCK, ResumePage},
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{boot::Loaded, mem::Ram};

/// What the pages of one VM are made from.
#[derive(Debug)]
pub(super) struct Resume {
    page: ResumePage,
    /// Zero of the guest's monotonic clock.
    epoch: Instant,
    /// Seeded from the kernel once per process: a system call per resume would be on the request's
    /// path, and no process is ever cloned.
    rng: ChaCha20Rng,
}

impl Resume {
    /// Pages for a VM with `loaded` in it.
    pub(super) fn new(loaded: &Loaded, ram: &Ram) -> io::Result<Self> {
        let mut seed = [0; ENTROPY_BYTES];
        let mut filled = 0;
        while filled < seed.len() {
            filled += rustix::rand::getrandom(
                &mut seed[filled..],
                rustix::rand::GetRandomFlags::empty(),
            )?;
        }
        let page = ResumePage {
            flags: if loaded.precise_clock {
                FLAG_PRECISE_CLOCK
            } else {
                0
            },
            heap_start: loaded.heap_start,
            heap_end: loaded.heap_end,
            ram_bytes: ram.bytes(),
            ..ResumePage::default()
        };
        Ok(Self {
            page,
            epoch: Instant::now(),
            rng: ChaCha20Rng::from_seed(seed),
        })
    }

    /// `at` on the guest's monotonic clock, nanoseconds. Zero is kept for "no time".
    pub(super) fn guest_ns(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch).as_nanos();
        u64::try_from(since).unwrap_or(u64::MAX).max(1)
    }

    /// The moment that the guest's monotonic clock calls `guest_ns`.
    pub(super) fn instant(&self, guest_ns: u64) -> Option<Instant> {
        self.epoch
            .checked_add(std::time::Duration::from_nanos(guest_ns))
    }

    /// Writes the page for a resume at `now`.
    pub(super) fn write(&mut self, ram: &Ram, now: Instant, deadline: Option<Instant>) {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let page = &mut self.page;
        page.generation += 1;
        self.rng.fill_bytes(&mut page.entropy);
        page.wall_ns = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        let monotonic_ns = self.guest_ns(now);
        let deadline_ns = deadline.map_or(0, |deadline| self.guest_ns(deadline));
        self.page.monotonic_ns = monotonic_ns;
        self.page.deadline_ns = deadline_ns;
        // The page is inside every RAM.
        ram.write(RESUME_PAGE, &self.page.to_bytes())
            .unwrap_or_else(|| unreachable!("in RAM"));
    }
}

//! Writes the resume page: fresh entropy, the clocks and who the guest is, before every resume that answers a
//! doorbell.

use std::{
    io,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use jiffy_abi::{
    layout::RESUME_PAGE,
    resume_page::{
        ENTROPY_BYTES, FLAG_NIC, FLAG_PRECISE_CLOCK, NETWORK, NetworkIdentity, ResumePage,
    },
};
use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};

use crate::{boot::Loaded, mem::Ram};

/// What the pages of one VM are made from.
#[derive(Debug)]
pub(super) struct Resume {
    page: ResumePage,
    /// A moment, and what the guest's monotonic clock says then.
    epoch: Instant,
    epoch_ns: u64,
    /// Seeded from the kernel once per process: a system call per resume would be on the request's
    /// path, and no process is ever cloned.
    rng: ChaCha20Rng,
}

impl Resume {
    /// Pages for a VM that is not yet known.
    pub(super) fn new() -> io::Result<Self> {
        let mut seed = [0; ENTROPY_BYTES];
        let mut filled = 0;
        while filled < seed.len() {
            filled += rustix::rand::getrandom(
                &mut seed[filled..],
                rustix::rand::GetRandomFlags::empty(),
            )?;
        }
        let rng = ChaCha20Rng::from_seed(seed);
        Ok(Self {
            page: ResumePage::default(),
            epoch: Instant::now(),
            epoch_ns: 0,
            rng,
        })
    }

    /// What the pages say of the guest and its RAM; the monotonic clock begins.
    pub(super) fn describe(&mut self, loaded: &Loaded, ram: &Ram) {
        self.page.flags = if loaded.precise_clock {
            FLAG_PRECISE_CLOCK
        } else {
            0
        };
        self.page.heap_start = loaded.heap_start;
        self.page.heap_end = loaded.heap_end;
        self.page.ram_bytes = ram.bytes();
        self.epoch = Instant::now();
    }

    /// Goes on from a snapshot: generation and monotonic clock only grow.
    pub(super) fn go_on_from(&mut self, generation: u64, monotonic_ns: u64) {
        self.page.generation = generation;
        self.epoch_ns = monotonic_ns;
    }

    /// Number of the last resume.
    pub(super) fn generation(&self) -> u64 {
        self.page.generation
    }

    /// `at` on the guest's monotonic clock, nanoseconds. Zero is kept for "no time".
    pub(super) fn guest_ns(&self, at: Instant) -> u64 {
        let since = at.saturating_duration_since(self.epoch).as_nanos();
        self.epoch_ns
            .saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
            .max(1)
    }

    /// The moment that the guest's monotonic clock calls `guest_ns`, or the epoch if that was
    /// before.
    pub(super) fn instant(&self, guest_ns: u64) -> Option<Instant> {
        let since_ns = guest_ns.saturating_sub(self.epoch_ns);
        self.epoch
            .checked_add(std::time::Duration::from_nanos(since_ns))
    }

    /// Writes the page for a resume at `now`, of a guest that is `network`, if it has a NIC.
    pub(super) fn write(
        &mut self,
        ram: &Ram,
        now: Instant,
        deadline: Option<Instant>,
        network: Option<NetworkIdentity>,
    ) {
        let wall = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let page = &mut self.page;
        // A forged snapshot may say that it is at the end of its range.
        page.generation = page.generation.saturating_add(1);
        self.rng.fill_bytes(&mut page.entropy);
        page.wall_ns = u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX);
        let monotonic_ns = self.guest_ns(now);
        let deadline_ns = deadline.map_or(0, |deadline| self.guest_ns(deadline));
        self.page.monotonic_ns = monotonic_ns;
        self.page.deadline_ns = deadline_ns;
        let write = |offset: usize, bytes: &[u8]| {
            // The page is inside every RAM.
            ram.write(RESUME_PAGE + offset as u64, bytes)
                .unwrap_or_else(|| unreachable!("in RAM"));
        };
        if let Some(network) = network {
            self.page.flags |= FLAG_NIC;
            write(NETWORK, &network.to_bytes());
        }
        write(0, &self.page.to_bytes());
    }
}

//! Time as a function sees it: it stands still while the function computes and moves on when the
//! VM is resumed, at a request's arrival or another I/O. So code that measures itself measures
//! zero, and what a guest did can be replayed.
//!
//! ```
//! use core::time::Duration;
//! use jiffy::time::{self, Instant};
//!
//! let start = Instant::now();
//! time::sleep(Duration::from_millis(2));
//! assert!(start.elapsed() >= Duration::from_millis(2));
//! assert!(time::now().since_unix_epoch() > Duration::ZERO);
//! ```

use core::{
    ops::{Add, Sub},
    time::Duration,
};

use crate::platform;

/// The wall clock.
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Lets `duration` pass: the VM sleeps. In a test's call the clock moves on and nobody waits.
pub fn sleep(duration: Duration) {
    platform::sleep_until((Instant::now() + duration).ns);
}

/// A moment on the wall clock: nanoseconds since 1970, up to the year 2554.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SystemTime {
    unix_ns: u64,
}

impl SystemTime {
    /// The beginning of 1970, UTC.
    pub const UNIX_EPOCH: Self = Self { unix_ns: 0 };

    /// The wall clock.
    pub fn now() -> Self {
        Self {
            unix_ns: platform::wall_ns(),
        }
    }

    /// Unix time.
    pub const fn since_unix_epoch(self) -> Duration {
        Duration::from_nanos(self.unix_ns)
    }

    /// Whole seconds of Unix time.
    pub const fn unix_seconds(self) -> u64 {
        self.since_unix_epoch().as_secs()
    }

    /// How much later this is than `earlier`; zero if it is not.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.unix_ns.saturating_sub(earlier.unix_ns))
    }
}

/// Saturates at the end of the range.
impl Add<Duration> for SystemTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self {
            unix_ns: self.unix_ns.saturating_add(nanoseconds(duration)),
        }
    }
}

/// Saturates at 1970.
impl Sub<Duration> for SystemTime {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self {
            unix_ns: self.unix_ns.saturating_sub(nanoseconds(duration)),
        }
    }
}

/// A moment on a clock that never runs backwards. Two instances' clocks have nothing in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    ns: u64,
}

impl Instant {
    pub(crate) const fn from_ns(ns: u64) -> Self {
        Self { ns }
    }

    /// The monotonic clock.
    pub fn now() -> Self {
        Self {
            ns: platform::monotonic_ns(),
        }
    }

    /// Time since then.
    pub fn elapsed(self) -> Duration {
        Self::now().saturating_duration_since(self)
    }

    /// How much later this is than `earlier`; zero if it is not.
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }
}

/// Saturates at the end of the range.
impl Add<Duration> for Instant {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        Self {
            ns: self.ns.saturating_add(nanoseconds(duration)),
        }
    }
}

/// Saturates at the beginning of the clock.
impl Sub<Duration> for Instant {
    type Output = Self;

    fn sub(self, duration: Duration) -> Self {
        Self {
            ns: self.ns.saturating_sub(nanoseconds(duration)),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

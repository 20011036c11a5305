//! The time a request may take, and the alarm that ends it.
//!
//! The alarm is on only while a request, or `init`, runs. That is two system calls of half a microsecond for each request;
//! an alarm that is left on for the next one wakes every VM that has become idle for nothing, of 5,000 VMs hundreds
//! each second.

use std::{
    io, ptr,
    time::{Duration, Instant},
};

use vmm_sys_util::signal::register_signal_handler;

use crate::kvm::kick;

/// The signal of the alarm.
const SIGNAL: libc::c_int = libc::SIGALRM;

/// The present request's deadline.
#[derive(Debug)]
pub(super) struct Deadline {
    timeout: Option<Duration>,
    /// When the request in hand, or `init`, has to be done.
    ends: Option<Instant>,
}

impl Deadline {
    /// Registers the alarm's handler. Nothing is limited yet.
    pub(super) fn new() -> io::Result<Self> {
        register_signal_handler(SIGNAL, kick).map_err(io::Error::from)?;
        // None runs yet; a request's call is then not the first, at which the linker and the page table have work to do.
        set_timer(Duration::ZERO)?;
        Ok(Self {
            timeout: None,
            ends: None,
        })
    }

    /// What requests, and `init`, may take from now on; `None`: for ever.
    pub(super) fn limit(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// The limit.
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// When the request in hand has to be done.
    pub(super) fn ends(&self) -> Option<Instant> {
        self.ends
    }

    /// A request, or `init`, begins at `now`.
    pub(super) fn begin(&mut self, now: Instant) -> io::Result<()> {
        self.ends = self.timeout.and_then(|timeout| now.checked_add(timeout));
        match (self.ends, self.timeout) {
            // A microsecond more than needed, and never zero, which would switch the alarm off.
            (Some(_), Some(timeout)) => set_timer(timeout + Duration::from_micros(1)),
            _ => Ok(()),
        }
    }

    /// The request is done.
    pub(super) fn end(&mut self) -> io::Result<()> {
        match self.ends.take() {
            Some(_) => set_timer(Duration::ZERO),
            None => Ok(()),
        }
    }

    /// Whether the request in hand has to end at `now`.
    pub(super) fn expired(&self, now: Instant) -> bool {
        self.ends.is_some_and(|ends| ends <= now)
    }
}

/// Has the signal come once `after` is over; zero: not at all.
fn set_timer(after: Duration) -> io::Result<()> {
    let timer = libc::itimerval {
        it_interval: libc::timeval {
            tv_sec: 0,
            tv_usec: 0,
        },
        it_value: libc::timeval {
            tv_sec: after.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_usec: after.subsec_micros().into(),
        },
    };
    // SAFETY: `timer` is a valid value, and the old one is not asked for.
    match unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

//! The time a request may take, and the alarm that ends it.
//!
//! The alarm is lazy: it is set at most once per timeout, not once per request, because setting it
//! is a system call on the request's path. If it rings too early for the request in hand, it is set
//! again for the rest.

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
    /// When the alarm will ring.
    rings: Option<Instant>,
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
            rings: None,
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
        match (self.ends, self.rings) {
            (Some(ends), None) => self.set_alarm(now, ends),
            _ => Ok(()), // It rings earlier than this request ends, and is then set again.
        }
    }

    /// The request is done.
    pub(super) fn end(&mut self) {
        self.ends = None;
    }

    /// Whether the request in hand has to end at `now`. Called after a signal or a wait.
    pub(super) fn expired(&mut self, now: Instant) -> io::Result<bool> {
        if self.rings.is_some_and(|rings| rings <= now) {
            self.rings = None;
        }
        match self.ends {
            Some(ends) if ends <= now => Ok(true),
            Some(ends) if self.rings.is_none() => self.set_alarm(now, ends).map(|()| false),
            _ => Ok(false),
        }
    }

    fn set_alarm(&mut self, now: Instant, rings: Instant) -> io::Result<()> {
        // A microsecond more than needed, and never zero, which would switch the alarm off.
        set_timer(rings.saturating_duration_since(now) + Duration::from_micros(1))?;
        self.rings = Some(rings);
        Ok(())
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

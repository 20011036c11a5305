//! Who may connect: a permit for each connection, and what happens when there are none left.
//!
//! ```text
//! accepted ── of one address too many ──▶ refused
//!    ├── there is a permit ──▶ served
//!    ├── one is idle, or at a head for long ──▶ served, with its permit
//!    ├── the reserve has room, or one in it that has asked nothing yet ──▶ served if it is health, metrics or an operator's
//!    └── refused
//! ```

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering::Relaxed},
    },
};

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::wire::{Clock, Phase, State};
use crate::{config::Config, http::client_address::is_trusted};

/// Idle connections that make room at once at most: to look for one costs a look at all.
const ROOM_MADE_MAX: usize = 16;

/// What a request's head may take before its connection makes room for another, milliseconds.
const HEAD_MS_MAX: u64 = 1000;

/// Why a connection is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// All permits are held by connections that do something, those of the reserve too.
    Full,
    /// Its address has as many as one may have.
    Address,
}

impl Refused {
    /// All that [`Refused::as_str`] gives.
    pub(super) const LABELS: [&'static str; 2] = ["full", "address"];

    /// As it stands in labels.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Address => "address",
        }
    }
}

/// What a connection is asked to do by others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Nothing,
    /// End after the request under way.
    Drain,
    /// End if it is idle.
    MakeRoom,
}

/// A connection, as others see it.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) state: State,
    /// Its permit is one of the reserve.
    pub(super) is_reserved: bool,
    wish: AtomicU8,
    is_leaving: AtomicBool,
    waker: AtomicWaker,
}

impl Entry {
    pub(super) fn new(clock: Clock, is_reserved: bool) -> Self {
        Self {
            state: State::new(clock),
            is_reserved,
            wish: AtomicU8::new(0),
            is_leaving: AtomicBool::new(false),
            waker: AtomicWaker::new(),
        }
    }

    /// Takes what is wished, once, and wakes for the next wish.
    pub(super) fn take_wish(&self, waker: &std::task::Waker) -> Wish {
        self.waker.register(waker);
        match self.wish.swap(0, Relaxed) {
            0 => Wish::Nothing,
            1 => Wish::Drain,
            _ => Wish::MakeRoom,
        }
    }

    /// Whether a head is coming for too long while others wait; in the reserve none has any time.
    pub(super) fn is_slow(&self) -> bool {
        let (phase, since_ms) = self.state.phase();
        let is_late = || since_ms + HEAD_MS_MAX <= self.state.clock().now_ms();
        phase == Phase::Head && (self.is_reserved || is_late())
    }

    /// Asks it to end after the request under way.
    pub(super) fn ask_to_drain(&self) {
        self.ask(1);
    }

    fn ask(&self, wish: u8) {
        self.wish.store(wish, Relaxed);
        self.waker.wake();
    }
}

#[derive(Debug, Default)]
struct Inner {
    entries: HashMap<u64, Arc<Entry>>,
    by_address: HashMap<u128, u32>,
    next_id: u64,
    /// Those without a permit of the reserve that do not leave.
    staying: u32,
    reserved: u32,
    is_draining: bool,
}

/// All connections.
#[derive(Debug)]
pub(super) struct Admission {
    clock: Clock,
    inner: Mutex<Inner>,
}

/// A connection's permit; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit {
    admission: Arc<Admission>,
    id: u64,
    /// The address it counts for, if it is limited.
    address: Option<u128>,
    pub(super) entry: Arc<Entry>,
}

impl Admission {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            clock: Clock::new(),
            inner: Mutex::default(),
        })
    }

    pub(super) fn clock(&self) -> Clock {
        self.clock
    }

    /// A permit for a connection from `peer`.
    pub(super) fn admit(
        self: &Arc<Self>,
        peer: IpAddr,
        config: &Config,
    ) -> Result<Permit, Refused> {
        let limits = &config.limits;
        let address = limited(peer, config);
        let mut inner = self.inner.lock();
        if let Some(address) = address {
            let count = inner.by_address.get(&address).copied().unwrap_or_default();
            if count >= limits.connections_per_address_max {
                return Err(Refused::Address);
            }
        }
        let is_full = |inner: &Inner| inner.staying >= limits.connections_max;
        if is_full(&inner) {
            self.make_room(&mut inner, false, ROOM_MADE_MAX);
        }
        let is_reserved = is_full(&inner);
        if is_reserved && inner.reserved >= limits.connections_reserved {
            // Who came first and has asked nothing yet goes.
            self.make_room(&mut inner, true, 1);
            if inner.reserved >= limits.connections_reserved {
                return Err(Refused::Full);
            }
        }
        match is_reserved {
            true => inner.reserved += 1,
            false => inner.staying += 1,
        }
        if let Some(address) = address {
            *inner.by_address.entry(address).or_default() += 1;
        }
        inner.next_id += 1;
        let id = inner.next_id;
        let entry = Arc::new(Entry::new(self.clock, is_reserved));
        if inner.is_draining {
            entry.ask(1);
        }
        inner.entries.insert(id, Arc::clone(&entry));
        Ok(Permit {
            admission: Arc::clone(self),
            id,
            address,
            entry,
        })
    }

    /// Closes those that have been quiet, or at a head, for longest. They count no more from now on.
    fn make_room(&self, inner: &mut Inner, of_reserve: bool, entries_max: usize) {
        let may_go = |entry: &&Arc<Entry>| {
            entry.is_reserved == of_reserve
                && !entry.is_leaving.load(Relaxed)
                && (entry.state.phase().0.is_quiet() || entry.is_slow())
        };
        let mut quiet: Vec<_> = inner.entries.values().filter(may_go).cloned().collect();
        if quiet.len() > entries_max {
            quiet.select_nth_unstable_by_key(entries_max, |entry| entry.state.phase().1);
            quiet.truncate(entries_max);
        }
        for entry in quiet {
            entry.is_leaving.store(true, Relaxed);
            match of_reserve {
                true => inner.reserved -= 1,
                false => inner.staying -= 1,
            }
            entry.ask(2);
        }
    }

    /// Closes some idle ones because the host has no more descriptors.
    pub(super) fn spare_descriptors(&self) {
        self.make_room(&mut self.inner.lock(), false, ROOM_MADE_MAX);
    }

    /// Asks all to end after the request they are at, those that come yet too.
    pub(super) fn drain(&self) {
        let mut inner = self.inner.lock();
        inner.is_draining = true;
        inner.entries.values().for_each(|entry| entry.ask(1));
    }
}

impl Permit {
    /// It was asked to make room and has a request by now.
    pub(super) fn stays(&self) {
        if self.entry.is_leaving.swap(false, Relaxed) {
            let mut inner = self.admission.inner.lock();
            match self.entry.is_reserved {
                true => inner.reserved += 1,
                false => inner.staying += 1,
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut inner = self.admission.inner.lock();
        inner.entries.remove(&self.id);
        if !self.entry.is_leaving.load(Relaxed) {
            match self.entry.is_reserved {
                true => inner.reserved -= 1,
                false => inner.staying -= 1,
            }
        }
        if let Some(address) = self.address
            && let Some(count) = inner.by_address.get_mut(&address)
        {
            *count -= 1;
            if *count == 0 {
                inner.by_address.remove(&address);
            }
        }
    }
}

/// What a peer counts as, if its connections are limited: neither this host's nor those of a proxy, which stands for many. Who
/// has an IPv6 address has all of its /64.
fn limited(peer: IpAddr, config: &Config) -> Option<u128> {
    let peer = peer.to_canonical();
    if peer.is_loopback() || is_trusted(peer, &config.proxies) {
        return None;
    }
    Some(match peer {
        IpAddr::V4(address) => u128::from(address.to_bits()),
        IpAddr::V6(address) => address.to_bits() & (u128::MAX << 64),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::FileConfig;

    fn config(connections_max: u32, connections_reserved: u32, per_address_max: u32) -> Config {
        let mut settings = FileConfig {
            trusted_proxies: vec!["192.0.2.0/24".into()],
            ..FileConfig::default()
        };
        settings.limits.connections_max = connections_max;
        settings.limits.connections_reserved = connections_reserved;
        settings.limits.connections_per_address_max = per_address_max;
        Config::new(settings).expect("valid")
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn an_address_has_a_limit_and_a_host_of_many_has_none() {
        let (admission, config) = (Admission::new(), config(100, 0, 2));
        let admit = |peer: &str| admission.admit(ip(peer), &config);
        let held = [
            admit("203.0.113.1"),
            admit("203.0.113.1"),
            admit("203.0.113.2"),
        ];
        assert!(held.iter().all(Result::is_ok));
        assert_eq!(admit("203.0.113.1").err(), Some(Refused::Address));
        assert_eq!(admit("::ffff:203.0.113.1").err(), Some(Refused::Address));
        // All of a /64 are one.
        let six = [admit("2001:db8::1"), admit("2001:db8::ffff:2")];
        assert_eq!(admit("2001:db8:0:0:9::").err(), Some(Refused::Address));
        assert!(admit("2001:db8:0:1::").is_ok());
        let many: Vec<_> = (0..9)
            .flat_map(|_| [admit("127.0.0.1"), admit("192.0.2.8")])
            .collect();
        assert!(many.iter().all(Result::is_ok));
        drop((held, six));
        assert!(admit("203.0.113.1").is_ok() && admit("2001:db8::1").is_ok());
        drop(many);
        assert!(admission.inner.lock().entries.is_empty());
        assert!(admission.inner.lock().by_address.is_empty());
    }

    #[test]
    fn idle_ones_make_room_and_busy_ones_do_not() {
        let (admission, config) = (Admission::new(), config(2, 1, 100));
        let admit = || admission.admit(ip("127.0.0.1"), &config);
        let (busy, idle) = (admit().expect("room"), admit().expect("room"));
        busy.entry.state.began(true);
        let third = admit().expect("in the place of the idle one");
        assert!(!third.entry.is_reserved);
        assert_eq!(
            idle.entry.take_wish(std::task::Waker::noop()),
            Wish::MakeRoom
        );
        third.entry.state.began(true);
        let reserved = admit().expect("the reserve");
        assert!(reserved.entry.is_reserved);
        // It has asked nothing: another one may.
        let next = admit().expect("the reserve again");
        assert!(next.entry.is_reserved);
        next.entry.state.began(true);
        assert_eq!(admit().err(), Some(Refused::Full));
        drop((idle, reserved));
        assert_eq!(admit().err(), Some(Refused::Full));
        drop(busy);
        assert!(!admit().expect("a place").entry.is_reserved);
        assert_eq!(admission.inner.lock().entries.len(), 2);
    }

    #[test]
    fn who_turns_busy_when_asked_to_go_stays_and_counts() {
        let (admission, config) = (Admission::new(), config(1, 0, 100));
        let admit = || admission.admit(ip("127.0.0.1"), &config);
        let first = admit().expect("room");
        let second = admit().expect("its place");
        first.entry.state.began(true);
        first.stays();
        second.entry.state.began(true);
        drop(second);
        assert_eq!(admit().err(), Some(Refused::Full));
        drop(first);
        assert!(admit().is_ok());
    }
}

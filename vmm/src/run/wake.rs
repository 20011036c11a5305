//! Waits for the request stream, and for the VM's owner, with the field's epoll loop.

use std::{
    io,
    os::{
        fd::{AsRawFd, BorrowedFd},
        unix::net::UnixStream,
    },
    time::Duration,
};

use event_manager::{
    EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberId, SubscriberOps,
};

/// What the stream is waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Readiness {
    /// There is something to read, or the end of the stream.
    pub(super) readable: bool,
    /// There is room to write.
    pub(super) writable: bool,
    /// The other side is gone.
    pub(super) gone: bool,
    /// The owner wants something.
    pub(super) commanded: bool,
}

/// The subscriber: notes what the loop tells it.
#[derive(Debug)]
struct Stream {
    fd: i32,
    /// The owner's descriptor, if there is one.
    control: Option<i32>,
    seen: Readiness,
}

impl MutEventSubscriber for Stream {
    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        if Some(events.fd()) == self.control {
            self.seen.commanded = true;
            return;
        }
        let set = events.event_set();
        self.seen.readable |= set.contains(EventSet::IN);
        self.seen.writable |= set.contains(EventSet::OUT);
        self.seen.gone |= set.intersects(EventSet::HANG_UP | EventSet::ERROR);
    }

    fn init(&mut self, ops: &mut EventOps<'_>) {
        // The descriptor is open and new to this loop; if the kernel refuses it nevertheless, the
        // first `modify` says so.
        let _ = ops.add(Events::new_raw(self.fd, EventSet::IN));
    }
}

pub(super) struct Wake {
    manager: EventManager<Stream>,
    id: SubscriberId,
    fd: i32,
    interest: EventSet,
    /// The owner's descriptor is looked at. While a guest is busy it may be not, lest a command that
    /// has to wait makes every wait end at once.
    control_watched: bool,
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wake")
            .field("interest", &self.interest)
            .finish_non_exhaustive()
    }
}

impl Wake {
    /// A loop around `stream`, which stays open as long as it.
    pub(super) fn new(stream: &UnixStream) -> io::Result<Self> {
        let fd = stream.as_raw_fd();
        let mut manager = EventManager::new().map_err(io::Error::other)?;
        let id = manager.add_subscriber(Stream {
            fd,
            control: None,
            seen: Readiness::default(),
        });
        Ok(Self {
            manager,
            id,
            fd,
            interest: EventSet::IN,
            control_watched: false,
        })
    }

    /// Watches `control` too, which stays open as long as the loop.
    pub(super) fn watch(&mut self, control: BorrowedFd<'_>) -> io::Result<()> {
        let stream = self.manager.subscriber_mut(self.id);
        stream.map_err(io::Error::other)?.control = Some(control.as_raw_fd());
        self.watch_control(true)
    }

    fn watch_control(&mut self, watched: bool) -> io::Result<()> {
        let stream = self.manager.subscriber_mut(self.id);
        let Some(control) = stream.map_err(io::Error::other)?.control else {
            return Ok(());
        };
        let mut ops = self.manager.event_ops(self.id).map_err(io::Error::other)?;
        let events = Events::new_raw(control, EventSet::IN);
        let changed = if watched {
            ops.add(events)
        } else {
            ops.remove(events)
        };
        self.control_watched = watched;
        changed.map_err(io::Error::other)
    }

    /// Waits until the stream is readable or writable, or the owner wants something, as `want` says, or `timeout` is over, or a
    /// signal came; the last two are told by nothing being ready.
    pub(super) fn wait(
        &mut self,
        want: Readiness,
        timeout: Option<Duration>,
    ) -> io::Result<Readiness> {
        if want.commanded && !self.control_watched {
            self.watch_control(true)?;
        }
        let mut interest = EventSet::empty();
        interest.set(EventSet::IN, want.readable);
        interest.set(EventSet::OUT, want.writable);
        if interest != self.interest {
            let ops = self.manager.event_ops(self.id).map_err(io::Error::other)?;
            ops.modify(Events::new_raw(self.fd, interest))
                .map_err(io::Error::other)?;
            self.interest = interest;
        }
        // Rounded up, so that a wait never ends before its time.
        let milliseconds = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        match self.manager.run_with_timeout(milliseconds) {
            Ok(_) => {}
            Err(event_manager::Error::Epoll(error)) if error.errno() == libc::EINTR => {}
            Err(error) => return Err(io::Error::other(error)),
        }
        let stream = self
            .manager
            .subscriber_mut(self.id)
            .map_err(io::Error::other)?;
        let mut seen = std::mem::take(&mut stream.seen);
        if seen.commanded && !want.commanded {
            seen.commanded = false;
            self.watch_control(false)?;
        }
        Ok(seen)
    }
}

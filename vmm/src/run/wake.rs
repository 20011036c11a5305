//! Waits for the request stream, with the field's epoll loop.

use std::{
    io,
    os::{fd::AsRawFd, unix::net::UnixStream},
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
}

/// The subscriber: notes what the loop tells it.
#[derive(Debug)]
struct Stream {
    fd: i32,
    seen: Readiness,
}

impl MutEventSubscriber for Stream {
    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
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
            seen: Readiness::default(),
        });
        Ok(Self {
            manager,
            id,
            fd,
            interest: EventSet::IN,
        })
    }

    /// Waits until the stream is readable or writable, as `want` says, or `timeout` is over, or a
    /// signal came; the last two are told by nothing being ready.
    pub(super) fn wait(
        &mut self,
        want: Readiness,
        timeout: Option<Duration>,
    ) -> io::Result<Readiness> {
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
        Ok(std::mem::take(&mut stream.seen))
    }
}

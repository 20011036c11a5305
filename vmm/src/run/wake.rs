//! Waits for the request stream, for the VM's owner and for frames: subscribers of the field's event loop, each with events of
//! its own.
//!
//! A subscriber notes what happened and [`Wake::wait`] tells it, because whoever waits is in the midst
//! of a doorbell and has the queues and the guest's memory in its hands.

use std::{
    cell::RefCell,
    io,
    os::{
        fd::{AsRawFd, BorrowedFd, RawFd},
        unix::net::UnixStream,
    },
    rc::Rc,
    time::Duration,
};

pub(super) use event_manager::EventSet;
use event_manager::{
    EventManager, EventOps, Events, MutEventSubscriber, SubscriberId, SubscriberOps,
};

/// What one look at the kernel's list takes in: an event of each subscriber.
const EVENTS_MAX: usize = 3;

/// What happened while the VM waited: nothing if time was over, or a signal came.
#[derive(Clone, Copy, Debug)]
pub(super) struct Woken {
    /// At the request stream, of what was waited for; that the other side is gone is told always.
    pub(super) stream: EventSet,
    /// The owner wants something, and was waited for.
    pub(super) commanded: bool,
    /// There are frames, or where they come from is gone, and they were waited for.
    pub(super) frames: bool,
}

impl Woken {
    /// The other side of the request stream is gone.
    pub(super) fn is_gone(&self) -> bool {
        self.stream.intersects(EventSet::HANG_UP | EventSet::ERROR)
    }
}

/// The request stream.
struct Stream {
    fd: RawFd,
    interest: EventSet,
    seen: EventSet,
}

impl MutEventSubscriber for Stream {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        // The descriptor is open and new to this loop; if the kernel refuses it nevertheless, the
        // first `modify` says so.
        let _ = ops.add(Events::new_raw(self.fd, self.interest));
    }

    fn process(&mut self, events: Events, _ops: &mut EventOps<'_>) {
        self.seen |= events.event_set();
    }
}

/// What is waited for at some times and not at others: the control socket of the VM's owner, of which a command can be done
/// while the guest is idle; and the host's side of the NIC, from which frames are taken while the guest wants some.
struct Other {
    fd: RawFd,
    is_watched: bool,
    is_awaited: bool,
    is_readable: bool,
}

impl Other {
    fn new(fd: BorrowedFd<'_>) -> Self {
        Self {
            fd: fd.as_raw_fd(),
            is_watched: false,
            is_awaited: false,
            is_readable: false,
        }
    }

    fn watch(&mut self, ops: &mut EventOps<'_>) -> event_manager::Result<()> {
        ops.add(Events::new_raw(self.fd, EventSet::IN))?;
        self.is_watched = true;
        Ok(())
    }
}

impl MutEventSubscriber for Other {
    fn init(&mut self, ops: &mut EventOps<'_>) {
        // What fails here is tried again, and told, when it is waited for.
        let _ = self.watch(ops);
    }

    fn process(&mut self, events: Events, ops: &mut EventOps<'_>) {
        if self.is_awaited {
            self.is_readable = true;
        } else {
            // What has to wait would make every wait end at once.
            self.is_watched = ops.remove(events).is_err();
        }
    }
}

struct Subscribed<S> {
    id: SubscriberId,
    subscriber: Rc<RefCell<S>>,
}

type Subscribers = EventManager<Rc<RefCell<dyn MutEventSubscriber>>>;

impl<S: MutEventSubscriber + 'static> Subscribed<S> {
    fn new(events: &mut Subscribers, subscriber: S) -> Self {
        let subscriber = Rc::new(RefCell::new(subscriber));
        let id = events.add_subscriber(subscriber.clone());
        Self { id, subscriber }
    }
}

pub(super) struct Wake {
    events: Subscribers,
    stream: Subscribed<Stream>,
    owner: Option<Subscribed<Other>>,
    frames: Option<Subscribed<Other>>,
}

impl std::fmt::Debug for Wake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wake").finish_non_exhaustive()
    }
}

impl Wake {
    /// A loop around `stream`, which stays open as long as it.
    pub(super) fn new(stream: &UnixStream) -> io::Result<Self> {
        let mut events = EventManager::new_with_capacity(EVENTS_MAX).map_err(io::Error::other)?;
        let stream = Stream {
            fd: stream.as_raw_fd(),
            interest: EventSet::IN,
            seen: EventSet::empty(),
        };
        Ok(Self {
            stream: Subscribed::new(&mut events, stream),
            owner: None,
            frames: None,
            events,
        })
    }

    /// Watches `control` too, which stays open as long as the loop.
    pub(super) fn watch(&mut self, control: BorrowedFd<'_>) {
        self.owner = Some(Subscribed::new(&mut self.events, Other::new(control)));
    }

    /// Watches where frames come from too, which stays open as long as the loop.
    pub(super) fn watch_frames(&mut self, host: BorrowedFd<'_>) {
        self.frames = Some(Subscribed::new(&mut self.events, Other::new(host)));
    }

    /// Waits until there is of `interest` at the stream, or, if `for_frames`, there are frames, or, if `for_owner`, the owner
    /// wants something, or `timeout` is over, or a signal came.
    pub(super) fn wait(
        &mut self,
        interest: EventSet,
        for_frames: bool,
        for_owner: bool,
        timeout: Option<Duration>,
    ) -> io::Result<Woken> {
        self.prepare(interest, for_frames, for_owner)
            .map_err(io::Error::other)?;
        // Rounded up, so that a wait never ends before its time.
        let milliseconds = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
        });
        let result = self.events.run_with_timeout(milliseconds);
        result.map_err(io::Error::other)?;
        let mut stream = self.stream.subscriber.borrow_mut();
        let take = |other: &Option<Subscribed<Other>>| {
            let other = other.as_ref();
            other
                .is_some_and(|other| std::mem::take(&mut other.subscriber.borrow_mut().is_readable))
        };
        Ok(Woken {
            stream: std::mem::replace(&mut stream.seen, EventSet::empty()),
            commanded: take(&self.owner),
            frames: take(&self.frames),
        })
    }

    /// Tells the kernel what changed since the last wait: nothing, for most.
    fn prepare(
        &mut self,
        interest: EventSet,
        for_frames: bool,
        for_owner: bool,
    ) -> event_manager::Result<()> {
        let mut stream = self.stream.subscriber.borrow_mut();
        if stream.interest != interest {
            let ops = self.events.event_ops(self.stream.id)?;
            ops.modify(Events::new_raw(stream.fd, interest))?;
            stream.interest = interest;
        }
        for (other, is_awaited) in [(&self.owner, for_owner), (&self.frames, for_frames)] {
            let Some(Subscribed { id, subscriber }) = other else {
                continue;
            };
            let mut other = subscriber.borrow_mut();
            other.is_awaited = is_awaited;
            if is_awaited && !other.is_watched {
                other.watch(&mut self.events.event_ops(*id)?)?;
            }
        }
        Ok(())
    }
}

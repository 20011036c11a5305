//! The events of a shell, taken by a thread, so that a VMM never waits for someone who waits for its
//! response. Not here: what the events mean (`instance`, `create`).

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    sync::{
        Arc, OnceLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use jiffy_control::{Death, Event, LogRecord, Missing, PacketError, PageRuns, Stats};
use jiffy_socket::ControlError;
use rustix::event::{EventfdFlags, eventfd};

use crate::{InvokeError, LaunchError, Shell, spawner::wait_readable};

/// What is granted beyond the VMM's own deadline before it is held for lost.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// Waiting, ready, captured, and the two at its end: more is never under way.
const EVENTS_MAX: usize = 8;
/// A VM is asked again only when it was done, so more are never under way unless it misbehaves.
const DONE_MAX: usize = 2;

/// A shell and what it tells. Dropping it kills the process and waits for its end.
pub(crate) struct Pump {
    shell: Arc<Shell>,
    events: Receiver<Result<Event, ControlError>>,
    working_set: Receiver<PageRuns>,
    done: Receiver<Stats>,
    /// Can be read from when something is in `done`.
    bell: Arc<OwnedFd>,
    missing: Arc<OnceLock<Vec<Missing>>>,
    thread: Option<JoinHandle<()>>,
}

/// Where the thread puts what it hears.
struct Sinks {
    events: SyncSender<Result<Event, ControlError>>,
    working_set: SyncSender<PageRuns>,
    done: SyncSender<Stats>,
    bell: Arc<OwnedFd>,
    missing: Arc<OnceLock<Vec<Missing>>>,
}

impl Pump {
    /// Takes the events of `shell`; `on_log` gets its log records, in order, on a thread of their
    /// own.
    pub(crate) fn new(
        shell: Shell,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let shell = Arc::new(shell);
        let missing = Arc::<OnceLock<_>>::default();
        let (event_sender, events) = sync_channel(EVENTS_MAX);
        let (working_set_sender, working_set) = sync_channel(1);
        let (done_sender, done) = sync_channel(DONE_MAX);
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK);
        let bell = Arc::new(bell.map_err(|error| LaunchError::Stream(error.into()))?);
        let sinks = Sinks {
            events: event_sender,
            working_set: working_set_sender,
            done: done_sender,
            bell: Arc::clone(&bell),
            missing: Arc::clone(&missing),
        };
        let thread = {
            let shell = Arc::clone(&shell);
            thread::Builder::new()
                .name("jiffy-control".into())
                .spawn(move || pump(&shell, &sinks, on_log))
                .map_err(LaunchError::Thread)?
        };
        Ok(Self {
            shell,
            events,
            working_set,
            done,
            bell,
            missing,
            thread: Some(thread),
        })
    }

    /// Layers that the shell's jail lacks; known once it waited.
    pub(crate) fn missing(&self) -> &[Missing] {
        self.missing.get().map_or(&[], Vec::as_slice)
    }

    pub(crate) fn shell(&self) -> &Shell {
        &self.shell
    }

    /// The next event that is neither a log, nor a working set, nor a request that is done; waits
    /// for ever without `wait`.
    pub(crate) fn next_event(&mut self, wait: Option<Duration>) -> Result<Event, InvokeError> {
        let event = match wait {
            Some(wait) => self.events.recv_timeout(wait).map_err(|error| match error {
                RecvTimeoutError::Timeout => Some(wait),
                RecvTimeoutError::Disconnected => None,
            }),
            None => self.events.recv().map_err(|_| None),
        };
        match event {
            Ok(Ok(Event::Died(death, _))) => Err(InvokeError::VmmDied(death)),
            Ok(Ok(event)) => Ok(event),
            Ok(Err(error @ ControlError::Packet(PacketError::Version(_)))) => {
                Err(InvokeError::OtherRelease(error))
            }
            Ok(Err(error)) => Err(InvokeError::Control(error)),
            Err(Some(wait)) => Err(InvokeError::Unresponsive(wait)),
            // The spawner is gone too, or it would have said how.
            Err(None) => Err(InvokeError::VmmDied(Death::Killed(9))),
        }
    }

    /// The working set, once, if the VMM tells it within `wait`.
    pub(crate) fn working_set(&mut self, wait: Duration) -> Option<PageRuns> {
        self.working_set.recv_timeout(wait).ok()
    }

    /// Can be read from when a request is done, until [`Pump::done`] has told it.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// What the VM took until a request was done; waits for ever without `wait`. `None`: it did not
    /// say so in time, or its process is gone.
    pub(crate) fn done(&mut self, wait: Option<Duration>) -> Option<Stats> {
        let stats = match wait {
            Some(wait) => self.done.recv_timeout(wait).ok()?,
            None => self.done.recv().ok()?,
        };
        // It is one number, and says only that there is something: nothing to be read is as well.
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        Some(stats)
    }

    /// Waits a bounded time for the process to end, then makes it. All log records have been
    /// handed over when this returns.
    pub(crate) fn reap(&mut self) {
        if let Some(thread) = self.thread.take() {
            // A process can be read from once it has ended.
            if !wait_readable(self.shell.process.as_fd(), GRACE) {
                self.shell.process.kill();
            }
            // It ends with the VMM's end of the socket; a panic of `on_log` was reported there.
            let _ = thread.join();
        }
    }
}

impl Drop for Pump {
    fn drop(&mut self) {
        self.shell.process.kill();
        self.reap();
    }
}

/// Takes events until the VMM's end is closed or the protocol is broken.
fn pump(shell: &Shell, sinks: &Sinks, mut on_log: impl FnMut(LogRecord)) {
    loop {
        // Nobody listens if the instance was dropped. A VMM that sends more events than there are
        // finds the channel full and is not listened to any longer.
        let is_taken = match shell.control.recv() {
            Ok(None) => return,
            Ok(Some(Event::Log(records))) => {
                records.into_iter().for_each(&mut on_log);
                true
            }
            Ok(Some(Event::WorkingSet(runs))) => sinks.working_set.try_send(runs).is_ok(),
            Ok(Some(Event::Waiting { missing, .. })) => sinks.missing.set(missing).is_ok(),
            Ok(Some(Event::Done(stats))) => {
                sinks.done.try_send(stats).is_ok() && ring(&sinks.bell).is_ok()
            }
            Ok(Some(event)) => sinks.events.try_send(Ok(event)).is_ok(),
            Err(error) => {
                let _ = sinks.events.try_send(Err(error));
                return;
            }
        };
        if !is_taken {
            return;
        }
    }
}

fn ring(bell: &OwnedFd) -> io::Result<usize> {
    Ok(rustix::io::write(bell, &1_u64.to_ne_bytes())?)
}

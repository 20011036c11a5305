//! A VM that serves requests.
//!
//! ```text
//! spawn ── wait_ready ── (invoke ── settle)* ── finish          each may instead end in an `InvokeError`
//! ```
//!
//! Not here: any policy of when to start or stop.

use std::{
    fmt, io,
    net::Shutdown,
    path::Path,
    time::{Duration, Instant},
};

use jiffy_abi::frame::FrameError;
use jiffy_control::{
    Blame, Death, Event, Exchange, Isolation, LogRecord, Missing, PageRuns, Phases, Report,
    Request, RequestError, Response, ResponseError, Stats, StreamFault,
};
use jiffy_snapshots::Snapshot;
use jiffy_socket::{ControlError, ControlSocket};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::{
    Launch, LaunchError, Shell, Source, Spawner, SpawnerOptions,
    launch::restore,
    pump::{GRACE, Pump},
};

/// Why there is no response. After any of them but [`InvokeError::Request`] the instance is of no
/// more use.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum InvokeError {
    #[error("the request does not fit a frame")]
    Request(#[source] FrameError),
    #[error("the guest broke the rules of its request stream")]
    Response(#[source] StreamFault),
    /// The guest came to an end before its response; the report says how.
    #[error("the VM stopped before it responded")]
    Stopped(Box<Report>),
    /// What the VMM said. Its message is the whole sentence.
    #[error("{message}")]
    Failed { blame: Blame, message: String },
    #[error("the VMM ended without a report: {0}")]
    VmmDied(Death),
    #[error("the VMM broke the protocol of its control socket")]
    Control(#[source] ControlError),
    #[error("jiffy-vmm is of another release than this program")]
    OtherRelease(#[source] ControlError),
    #[error("the VMM sent an event out of turn: {0}")]
    OutOfTurn(&'static str),
    #[error("the VMM did not answer within {0:?}")]
    Unresponsive(Duration),
    #[error("cannot use the request stream")]
    Stream(#[source] io::Error),
}

/// A VM in a process of its own. Dropping it kills the process and waits for its end.
pub struct Instance {
    // Dropped first: it takes what the shell says last.
    pump: Pump,
    /// What made the shell, if it was made for this VM alone.
    spawner: Option<Spawner>,
    timeout: Option<Duration>,
    /// Known once it is ready.
    phases: Option<Phases>,
    exchange: Exchange,
    settling: Settling,
}

/// Whether the last request is over.
#[derive(Debug)]
enum Settling {
    /// Nothing was asked, or all of it is.
    Settled,
    /// There is a response, and perhaps the VM is done with it.
    Answered(Option<Box<Stats>>),
    /// Something was left in the stream.
    Broken(StreamFault),
}

impl Instance {
    /// Starts a VM; `on_log` gets its log records, in order, on a thread of their own. The VMM's
    /// standard error is the caller's.
    pub fn spawn(
        launch: &Launch,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        Self::spawn_with(launch, &[], on_log)
    }

    /// As [`Instance::spawn`]; an image boots with this environment.
    pub(crate) fn spawn_with(
        launch: &Launch,
        environment: &[u8],
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let (spawner, shell) = launch.start(environment)?;
        let mut instance = Self::of(shell, launch.timeout, on_log)?;
        instance.spawner = Some(spawner);
        if matches!(launch.source, Source::Snapshot { .. }) {
            // It takes a request at once; if it cannot, it says so then.
            instance.phases = Some(Phases::default());
        }
        Ok(instance)
    }

    /// Restores `snapshot` into a VM with a spawner of its own; the rest as [`Instance::spawn`].
    pub fn spawn_restored(
        vmm: &Path,
        options: &SpawnerOptions,
        snapshot: &Snapshot,
        isolation: Isolation,
        timeout: Option<Duration>,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let spawner = Spawner::start(vmm, options)?;
        let mut instance = Self::restore(&spawner, snapshot, isolation, timeout, on_log)?;
        instance.spawner = Some(spawner);
        Ok(instance)
    }

    /// Restores `snapshot` into a shell of `spawner`; the rest as [`Instance::spawn`].
    pub fn restore(
        spawner: &Spawner,
        snapshot: &Snapshot,
        isolation: Isolation,
        timeout: Option<Duration>,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let shell = restore(spawner, snapshot, isolation, timeout)?;
        let mut instance = Self::of(shell, timeout, on_log)?;
        instance.phases = Some(Phases::default());
        Ok(instance)
    }

    /// The VM in `shell`, which was told to boot.
    pub(crate) fn of(
        shell: Shell,
        timeout: Option<Duration>,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        // A VMM ends a request at its deadline; this limit is for a VMM that hangs itself.
        let stream_timeout = timeout.map(|timeout| timeout + GRACE);
        let stream = &shell.stream;
        stream
            .set_read_timeout(stream_timeout)
            .and_then(|()| stream.set_write_timeout(stream_timeout))
            .map_err(LaunchError::Stream)?;
        Ok(Self {
            pump: Pump::new(shell, on_log)?,
            spawner: None,
            timeout,
            phases: None,
            exchange: Exchange::new().map_err(LaunchError::Stream)?,
            settling: Settling::Settled,
        })
    }

    /// Id of the VMM's process.
    pub fn process_id(&self) -> u32 {
        self.pump.shell().process_id()
    }

    /// Layers of the jail that are missing or reduced on this host; known once it is ready.
    pub fn missing_layers(&self) -> impl Iterator<Item = &Missing> {
        let groups = self.spawner.iter().flat_map(|spawner| spawner.missing());
        groups.chain(self.pump.missing())
    }

    /// Waits until the guest's `init` is done. Asked again, it answers the same at once.
    pub fn wait_ready(&mut self) -> Result<Phases, InvokeError> {
        if let Some(phases) = self.phases {
            return Ok(phases);
        }
        match self
            .pump
            .next_event(self.timeout.map(|timeout| timeout + GRACE))?
        {
            Event::Ready(phases) => {
                self.phases = Some(phases);
                Ok(phases)
            }
            end => Err(end_error(end)),
        }
    }

    /// Sends a request and waits for its response. Waits for `init` first, and for the request before
    /// to be over, so that time spent there is never taken for the request's.
    pub fn invoke(&mut self, request: &Request) -> Result<Response, InvokeError> {
        self.wait_ready()?;
        self.settle()?;
        match self.exchange.write(&mut &self.pump.shell().stream, request) {
            // A broken pipe has a reason, and the VMM tells it.
            Ok(()) => {}
            Err(RequestError::Frame(error)) => return Err(InvokeError::Request(error)),
            Err(RequestError::Write(error)) => return Err(self.stream_error(error)),
        }
        self.response()
    }

    /// Waits until the VM is ready for the next request, pristine again if it is to be, and proves
    /// that nothing of the last one is left in the stream. Asked again, it answers the same at once.
    pub fn settle(&mut self) -> Result<(), InvokeError> {
        let done = match &mut self.settling {
            Settling::Settled => return Ok(()),
            Settling::Broken(fault) => return Err(InvokeError::Response(*fault)),
            Settling::Answered(done) => done.take(),
        };
        let done = match done {
            Some(done) => done,
            None => match self.pump.done(self.timeout.map(|timeout| timeout + GRACE)) {
                Some(done) => Box::new(done),
                None => return Err(self.wait_end_error()),
            },
        };
        self.exchange
            .settle(&done)
            .map_err(|fault| self.broken(fault))?;
        self.settling = Settling::Settled;
        Ok(())
    }

    /// Reads the response. A VM that is done before all of it is there does not answer any more.
    fn response(&mut self) -> Result<Response, InvokeError> {
        let deadline = self.timeout.map(|timeout| Instant::now() + timeout + GRACE);
        let mut done = None;
        loop {
            let fault = done
                .as_deref()
                .and_then(|done| self.exchange.incomplete(done));
            if let Some(fault) = fault {
                return Err(self.broken(fault));
            }
            let [can_read, is_done] = self.wait(done.is_none(), deadline)?;
            if is_done {
                done = self.pump.done(Some(Duration::ZERO)).map(Box::new);
            }
            if !can_read {
                continue;
            }
            match self.exchange.read_some(&mut &self.pump.shell().stream) {
                Ok(None) => {}
                Ok(Some(response)) => {
                    self.settling = Settling::Answered(done);
                    return Ok(response);
                }
                Err(ResponseError::Guest(fault)) => return Err(self.broken(fault)),
                Err(ResponseError::Closed | ResponseError::Truncated) => {
                    return Err(self.wait_end_error());
                }
                Err(ResponseError::Read(error)) => return Err(self.stream_error(error)),
            }
        }
    }

    /// Waits until the stream can be read from or, with `for_done`, the VM is done.
    fn wait(&self, for_done: bool, deadline: Option<Instant>) -> Result<[bool; 2], InvokeError> {
        let (stream, bell) = (&self.pump.shell().stream, self.pump.bell());
        let mut watched = [
            PollFd::new(stream, PollFlags::IN),
            PollFd::from_borrowed_fd(bell, PollFlags::IN),
        ];
        let watched = &mut watched[..1 + usize::from(for_done)];
        loop {
            let rest = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            // A time that the kernel has no number for is as good as none.
            let rest = rest.and_then(|rest| Timespec::try_from(rest).ok());
            match poll(watched, rest.as_ref()) {
                Ok(0) => return Err(self.unresponsive()),
                Ok(_) => {
                    let has = |index: usize| {
                        watched
                            .get(index)
                            .is_some_and(|fd| !fd.revents().is_empty())
                    };
                    return Ok([has(0), has(1)]);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(InvokeError::Stream(error.into())),
            }
        }
    }

    fn broken(&mut self, fault: StreamFault) -> InvokeError {
        self.settling = Settling::Broken(fault);
        InvokeError::Response(fault)
    }

    fn unresponsive(&self) -> InvokeError {
        InvokeError::Unresponsive(self.timeout.unwrap_or_default() + GRACE)
    }

    /// The pages that a restored VM wrote until its first response, as (first page, pages): the VMM
    /// tells them once, right behind that response, if its snapshot has no working set. `None`: it
    /// did not tell within `wait`, or was asked before. They are the VMM's word and unchecked.
    pub fn working_set(&mut self, wait: Duration) -> Option<PageRuns> {
        self.pump.working_set(wait)
    }

    pub(crate) fn control(&self) -> &ControlSocket {
        &self.pump.shell().control
    }

    pub(crate) fn next_event(&mut self, wait: Duration) -> Result<Event, InvokeError> {
        self.pump.next_event(Some(wait))
    }

    /// Waits for the last request to be over, closes the request stream, waits for the VM's end and reaps
    /// the process. All log records have been handed over when this returns. An error of the stream is
    /// returned only by the one who meets it first.
    pub fn finish(mut self) -> Result<Report, InvokeError> {
        let was_broken = matches!(self.settling, Settling::Broken(_));
        let settled = match self.settle() {
            Err(InvokeError::Stopped(report)) => {
                self.pump.reap();
                return Ok(*report);
            }
            Err(error) if !was_broken => Err(error),
            _ => Ok(()),
        };
        // Fails only if the VMM is gone, and then its last event says why.
        let _ = self.pump.shell().stream.shutdown(Shutdown::Write);
        let end = self.wait_end();
        self.pump.reap();
        settled?;
        match end? {
            Event::Stopped(report) => Ok(report),
            other => Err(end_error(other)),
        }
    }

    fn stream_error(&mut self, error: io::Error) -> InvokeError {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.wait_end_error(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => self.unresponsive(),
            _ => InvokeError::Stream(error),
        }
    }

    fn wait_end_error(&mut self) -> InvokeError {
        self.wait_end().map_or_else(|error| error, end_error)
    }

    /// Waits for the last event; one `Ready` may stand before it.
    fn wait_end(&mut self) -> Result<Event, InvokeError> {
        match self.pump.next_event(Some(GRACE))? {
            Event::Ready(_) if self.phases.is_none() => self.pump.next_event(Some(GRACE)),
            event => Ok(event),
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("process_id", &self.process_id())
            .finish_non_exhaustive()
    }
}

/// What an event means that comes where none, or another, was due.
pub(crate) fn end_error(event: Event) -> InvokeError {
    match event {
        Event::Stopped(report) => InvokeError::Stopped(Box::new(report)),
        Event::Failed { blame, message } => InvokeError::Failed { blame, message },
        Event::Ready(_) => InvokeError::OutOfTurn("Ready"),
        Event::Log(_) => InvokeError::OutOfTurn("Log"),
        Event::WorkingSet(_) => InvokeError::OutOfTurn("WorkingSet"),
        Event::Waiting { .. } => InvokeError::OutOfTurn("Waiting"),
        Event::Done(_) => InvokeError::OutOfTurn("Done"),
        Event::Captured(_) => InvokeError::OutOfTurn("Captured"),
        Event::Died(death, _) => InvokeError::VmmDied(death),
    }
}

#[cfg(test)]
mod tests;

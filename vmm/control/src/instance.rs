//! A VM that serves requests.
//!
//! ```text
//! spawn ── wait_ready ── invoke* ── finish          each may instead end in an `InvokeError`
//! ```
//!
//! Not here: any policy of when to start or stop.

use std::{fmt, io, net::Shutdown, time::Duration};

use jiffy_abi::frame::FrameError;

use crate::{
    Blame, ControlError, ControlSocket, Death, Event, Launch, LaunchError, LogRecord, Missing,
    PageRuns, Phases, Report, Request, Response, Shell, Source, Spawner,
    pump::{GRACE, Pump},
    read_response,
    request::{RequestError, ResponseError, write_request},
};

/// Why there is no response. After any of them but [`InvokeError::Request`] the instance is of no
/// more use.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum InvokeError {
    #[error("the request does not fit a frame")]
    Request(#[source] FrameError),
    #[error("the guest's response is malformed")]
    Response(#[source] FrameError),
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
}

impl Instance {
    /// Starts a VM; `on_log` gets its log records, in order, on a thread of their own. The VMM's
    /// standard error is the caller's.
    pub fn spawn(
        launch: &Launch,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let (spawner, shell) = launch.start()?;
        let mut instance = Self::of(shell, launch.timeout, on_log)?;
        instance.spawner = Some(spawner);
        if matches!(launch.source, Source::Snapshot { .. }) {
            // It takes a request at once; if it cannot, it says so then.
            instance.phases = Some(Phases::default());
        }
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

    /// Sends a request and waits for its response. Waits for `init` first, so that time spent
    /// there is never taken for the request's.
    pub fn invoke(&mut self, request: &Request) -> Result<Response, InvokeError> {
        self.wait_ready()?;
        match write_request(&mut &self.pump.shell().stream, request) {
            // A broken pipe has a reason, and the VMM tells it.
            Ok(()) => {}
            Err(RequestError::Frame(error)) => return Err(InvokeError::Request(error)),
            Err(RequestError::Write(error)) => return Err(self.stream_error(error)),
        }
        read_response(&mut &self.pump.shell().stream).map_err(|error| match error {
            ResponseError::Frame(error) => InvokeError::Response(error),
            ResponseError::Closed | ResponseError::Truncated => self.wait_end_error(),
            ResponseError::Read(error) => self.stream_error(error),
        })
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

    /// Closes the request stream, waits for the VM's end and reaps the process. All log records
    /// have been handed over when this returns.
    pub fn finish(mut self) -> Result<Report, InvokeError> {
        // Fails only if the VMM is gone, and then its last event says why.
        let _ = self.pump.shell().stream.shutdown(Shutdown::Write);
        let end = self.wait_end();
        self.pump.reap();
        match end? {
            Event::Stopped(report) => Ok(report),
            other => Err(end_error(other)),
        }
    }

    fn stream_error(&mut self, error: io::Error) -> InvokeError {
        match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => self.wait_end_error(),
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                InvokeError::Unresponsive(self.timeout.unwrap_or_default() + GRACE)
            }
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
        Event::Died(death) => InvokeError::VmmDied(death),
    }
}

#[cfg(test)]
mod tests;

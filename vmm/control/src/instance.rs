//! A VMM that serves requests.
//!
//! ```text
//! spawn ── wait_ready ── invoke* ── finish          each may instead end in an `InvokeError`
//! ```
//!
//! Not here: any policy of when to start or stop.

use std::{
    fmt, io,
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
    process::{ExitStatus, Stdio},
    time::Duration,
};

use jiffy_abi::frame::FrameError;

use crate::{
    Blame, ControlError, Event, Launch, LaunchError, LogRecord, Phases, Report, Request, Response,
    process::{GRACE, Process},
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
    VmmDied(ExitStatus),
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

/// A VMM process with one VM. Dropping it kills the process and waits for its end.
pub struct Instance {
    process: Process,
    stream: UnixStream,
    timeout: Option<Duration>,
    phases: Option<Phases>,
}

impl Instance {
    /// Starts a VMM; `on_log` gets its log records, in order, on a thread of their own. The VMM's
    /// standard error is the caller's.
    pub fn spawn(
        launch: &Launch,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let (stream, guest_end) = UnixStream::pair().map_err(LaunchError::Stream)?;
        // A VMM ends a request at its deadline; this limit is for a VMM that hangs itself.
        let stream_timeout = launch.timeout.map(|timeout| timeout + GRACE);
        stream
            .set_read_timeout(stream_timeout)
            .map_err(LaunchError::Stream)?;
        stream
            .set_write_timeout(stream_timeout)
            .map_err(LaunchError::Stream)?;
        let stdin = Stdio::from(OwnedFd::from(guest_end));
        Ok(Self {
            process: Process::spawn(&launch.vmm, launch.arguments(), stdin, on_log)?,
            stream,
            timeout: launch.timeout,
            phases: None,
        })
    }

    /// Id of the VMM's process.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Waits until the guest's `init` is done. Asked again, it answers the same at once.
    pub fn wait_ready(&mut self) -> Result<Phases, InvokeError> {
        if let Some(phases) = self.phases {
            return Ok(phases);
        }
        match self
            .process
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
        match write_request(&mut self.stream, request) {
            // A broken pipe has a reason, and the VMM tells it.
            Ok(()) => {}
            Err(RequestError::Frame(error)) => return Err(InvokeError::Request(error)),
            Err(RequestError::Write(error)) => return Err(self.stream_error(error)),
        }
        read_response(&mut self.stream).map_err(|error| match error {
            ResponseError::Frame(error) => InvokeError::Response(error),
            ResponseError::Closed | ResponseError::Truncated => self.wait_end_error(),
            ResponseError::Read(error) => self.stream_error(error),
        })
    }

    /// The pages that a restored VM wrote until its first response, as (first page, pages): the VMM
    /// tells them once, right behind that response, if its snapshot has no working set. `None`: it
    /// did not tell within `wait`, or was asked before. They are the VMM's word and unchecked.
    pub fn working_set(&mut self, wait: Duration) -> Option<Vec<(u64, u64)>> {
        self.process.working_set(wait)
    }

    /// Closes the request stream, waits for the VM's end and reaps the process. All log records
    /// have been handed over when this returns.
    pub fn finish(mut self) -> Result<Report, InvokeError> {
        // Fails only if the VMM is gone, and then its last event says why.
        let _ = self.stream.shutdown(Shutdown::Write);
        let end = self.wait_end();
        self.process.reap();
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
        match self.process.next_event(Some(GRACE))? {
            Event::Ready(_) if self.phases.is_none() => self.process.next_event(Some(GRACE)),
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
        Event::Saved(_) => InvokeError::OutOfTurn("Saved"),
    }
}

#[cfg(test)]
mod tests;

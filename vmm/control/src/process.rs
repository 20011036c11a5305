//! A `jiffy-vmm` process and what it tells.
//!
//! A thread takes the control socket's events, so that a VMM never waits for someone who waits for
//! its response. Not here: what the events mean (`instance`, `create`).

use std::{
    ffi::OsString,
    os::fd::OwnedFd,
    path::Path,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crate::{ControlError, ControlSocket, Event, InvokeError, LaunchError, LogRecord};

/// What is granted beyond the VMM's own deadline before it is held for lost.
pub(crate) const GRACE: Duration = Duration::from_secs(5);
/// How often an ending process is looked at.
const EXIT_POLL: Duration = Duration::from_millis(1);
/// Ready, and one last event: more is never under way.
const EVENTS_MAX: usize = 4;

/// Pages as (first page, pages).
type PageRuns = Vec<(u64, u64)>;

/// A VMM process. Dropping it kills the process and waits for its end.
pub(crate) struct Process {
    child: Child,
    events: Receiver<Result<Event, ControlError>>,
    working_set: Receiver<PageRuns>,
    pump: Option<JoinHandle<()>>,
}

impl Process {
    /// Starts `vmm`; `on_log` gets its log records, in order, on a thread of their own. Its standard
    /// error is the caller's.
    pub(crate) fn spawn(
        vmm: &Path,
        arguments: Vec<OsString>,
        stdin: Stdio,
        on_log: impl FnMut(LogRecord) + Send + 'static,
    ) -> Result<Self, LaunchError> {
        let (control, vmm_end) = ControlSocket::pair()?;
        let child = Command::new(vmm)
            .args(arguments)
            .stdin(stdin)
            .stdout(Stdio::from(OwnedFd::from(vmm_end)))
            .spawn()
            .map_err(|source| LaunchError::Spawn {
                path: vmm.display().to_string(),
                source,
            })?;
        // The command is dropped by now, and with it our copies of the VMM's ends: when the VMM
        // ends, its streams do.
        let (event_sender, events) = sync_channel(EVENTS_MAX);
        let (working_set_sender, working_set) = sync_channel(1);
        let mut process = Self {
            child,
            events,
            working_set,
            pump: None,
        };
        let pump = thread::Builder::new()
            .name("jiffy-control".into())
            .spawn(move || pump(&control, &event_sender, &working_set_sender, on_log))
            .map_err(LaunchError::Thread)?;
        process.pump = Some(pump);
        Ok(process)
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next event that is neither a log nor a working set; waits for ever without `wait`.
    pub(crate) fn next_event(&mut self, wait: Option<Duration>) -> Result<Event, InvokeError> {
        let event = match wait {
            Some(wait) => self.events.recv_timeout(wait).map_err(|error| match error {
                RecvTimeoutError::Timeout => Some(wait),
                RecvTimeoutError::Disconnected => None,
            }),
            None => self.events.recv().map_err(|_| None),
        };
        match event {
            Ok(Ok(event)) => Ok(event),
            Ok(Err(error @ ControlError::Version(_))) => Err(InvokeError::OtherRelease(error)),
            Ok(Err(error)) => Err(InvokeError::Control(error)),
            Err(Some(wait)) => Err(InvokeError::Unresponsive(wait)),
            Err(None) => Err(self.died()),
        }
    }

    /// The working set, once, if the VMM tells it within `wait`.
    pub(crate) fn working_set(&mut self, wait: Duration) -> Option<PageRuns> {
        self.working_set.recv_timeout(wait).ok()
    }

    fn died(&mut self) -> InvokeError {
        match self.reap() {
            Some(status) => InvokeError::VmmDied(status),
            None => InvokeError::Unresponsive(GRACE),
        }
    }

    /// Waits a bounded time for the process to end, then makes it. All log records have been
    /// handed over when this returns.
    pub(crate) fn reap(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + GRACE;
        let mut status = self.child.try_wait().ok()?;
        while status.is_none() && Instant::now() < until {
            thread::sleep(EXIT_POLL);
            status = self.child.try_wait().ok()?;
        }
        if status.is_none() {
            self.kill();
        }
        if let Some(pump) = self.pump.take() {
            // It ends with the VMM's end of the socket; a panic of `on_log` was reported there.
            let _ = pump.join();
        }
        status
    }

    fn kill(&mut self) {
        // Both fail only if the process was reaped before.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Takes events until the VMM closes its end or breaks the protocol.
fn pump(
    control: &ControlSocket,
    events: &SyncSender<Result<Event, ControlError>>,
    working_set: &SyncSender<PageRuns>,
    mut on_log: impl FnMut(LogRecord),
) {
    loop {
        // Nobody listens if the process was dropped. A VMM that sends more events than there are
        // finds the channel full and is not listened to any longer.
        let is_taken = match control.recv() {
            Ok(None) => return,
            Ok(Some(Event::Log(records))) => {
                records.into_iter().for_each(&mut on_log);
                true
            }
            Ok(Some(Event::WorkingSet(runs))) => working_set.try_send(runs).is_ok(),
            Ok(Some(event)) => events.try_send(Ok(event)).is_ok(),
            Err(error) => {
                let _ = events.try_send(Err(error));
                return;
            }
        };
        if !is_taken {
            return;
        }
    }
}

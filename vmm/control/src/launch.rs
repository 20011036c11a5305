//! Starts a VMM process and speaks with it.
//!
//! ```text
//! spawn ── wait_ready ── invoke* ── finish          each may instead end in an `InvokeError`
//! ```
//!
//! A thread per instance takes the control socket's events, so that a VMM never waits for someone
//! who waits for its response. Not here: any policy of when to start or stop.

use std::{
    ffi::OsString,
    fmt, io,
    net::Shutdown,
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use jiffy_abi::frame::FrameError;

use crate::{
    Blame, ControlError, ControlSocket, Event, LogRecord, Phases, Report, Request, Response,
    read_response,
    request::{RequestError, ResponseError, write_request},
};

/// What is granted beyond the VMM's own deadline before it is held for lost.
const GRACE: Duration = Duration::from_secs(5);
/// How often an ending process is looked at.
const EXIT_POLL: Duration = Duration::from_millis(1);
/// Ready, and one last event: more is never under way.
const EVENTS_MAX: usize = 4;

/// How to start a VMM.
#[derive(Clone, Debug)]
pub struct Launch {
    /// The `jiffy-vmm` program.
    pub vmm: PathBuf,
    /// The image.
    pub image: PathBuf,
    /// RAM of the VM, bytes; `None`: the VMM's default.
    pub ram_bytes: Option<u64>,
    /// How long `init` and each request may take; `None`: the VMM's default, and no limit here.
    pub timeout: Option<Duration>,
}

/// Why a VMM was not started.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum LaunchError {
    #[error("cannot make a request stream")]
    Stream(#[source] io::Error),
    #[error("cannot make a control socket")]
    Control(#[from] ControlError),
    #[error("cannot start {path}: is jiffy-vmm installed and executable?")]
    Spawn { path: String, source: io::Error },
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

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
    #[error("the VMM sent an event out of turn: {0}")]
    OutOfTurn(&'static str),
    #[error("the VMM did not answer within {0:?}")]
    Unresponsive(Duration),
    #[error("cannot use the request stream")]
    Stream(#[source] io::Error),
}

/// A VMM process with one VM. Dropping it kills the process and waits for its end.
pub struct Instance {
    child: Child,
    stream: UnixStream,
    events: Receiver<Result<Event, ControlError>>,
    pump: Option<JoinHandle<()>>,
    timeout: Option<Duration>,
    phases: Option<Phases>,
}

impl Launch {
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["serve".into()];
        if let Some(ram_bytes) = self.ram_bytes {
            arguments.extend(["--memory".into(), ram_bytes.to_string().into()]);
        }
        if let Some(timeout) = self.timeout {
            // Rounded up, so that a limit below a millisecond does not become none.
            let timeout_ms = timeout.as_micros().div_ceil(1000);
            arguments.extend(["--timeout-ms".into(), timeout_ms.to_string().into()]);
        }
        arguments.extend(["--".into(), self.image.clone().into()]);
        arguments
    }
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
        let (control, vmm_end) = ControlSocket::pair()?;
        let child = Command::new(&launch.vmm)
            .args(launch.arguments())
            .stdin(Stdio::from(OwnedFd::from(guest_end)))
            .stdout(Stdio::from(OwnedFd::from(vmm_end)))
            .spawn()
            .map_err(|source| LaunchError::Spawn {
                path: launch.vmm.display().to_string(),
                source,
            })?;
        // The command is dropped by now, and with it our copies of the VMM's ends: when the VMM
        // ends, its streams do.
        let (sender, events) = sync_channel(EVENTS_MAX);
        let mut instance = Self {
            child,
            stream,
            events,
            pump: None,
            timeout: launch.timeout,
            phases: None,
        };
        let pump = thread::Builder::new()
            .name("jiffy-control".into())
            .spawn(move || pump(&control, &sender, on_log))
            .map_err(LaunchError::Thread)?;
        instance.pump = Some(pump);
        Ok(instance)
    }

    /// Id of the VMM's process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the guest's `init` is done. Asked again, it answers the same at once.
    pub fn wait_ready(&mut self) -> Result<Phases, InvokeError> {
        if let Some(phases) = self.phases {
            return Ok(phases);
        }
        match self.next_event(self.timeout.map(|timeout| timeout + GRACE))? {
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

    /// Closes the request stream, waits for the VM's end and reaps the process. All log records
    /// have been handed over when this returns.
    pub fn finish(mut self) -> Result<Report, InvokeError> {
        // Fails only if the VMM is gone, and then its last event says why.
        let _ = self.stream.shutdown(Shutdown::Write);
        let end = self.wait_end();
        self.reap();
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
        match self.next_event(Some(GRACE))? {
            Event::Ready(_) if self.phases.is_none() => self.next_event(Some(GRACE)),
            event => Ok(event),
        }
    }

    fn next_event(&mut self, wait: Option<Duration>) -> Result<Event, InvokeError> {
        let event = match wait {
            Some(wait) => self.events.recv_timeout(wait).map_err(|error| match error {
                RecvTimeoutError::Timeout => Some(wait),
                RecvTimeoutError::Disconnected => None,
            }),
            None => self.events.recv().map_err(|_| None),
        };
        match event {
            Ok(event) => event.map_err(InvokeError::Control),
            Err(Some(wait)) => Err(InvokeError::Unresponsive(wait)),
            Err(None) => Err(self.died()),
        }
    }

    fn died(&mut self) -> InvokeError {
        match self.reap() {
            Some(status) => InvokeError::VmmDied(status),
            None => InvokeError::Unresponsive(GRACE),
        }
    }

    /// Waits a bounded time for the process to end, then makes it.
    fn reap(&mut self) -> Option<ExitStatus> {
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

impl Drop for Instance {
    fn drop(&mut self) {
        self.kill();
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance")
            .field("process_id", &self.process_id())
            .finish_non_exhaustive()
    }
}

/// Takes events until the VMM closes its end or breaks the protocol.
fn pump(
    control: &ControlSocket,
    events: &SyncSender<Result<Event, ControlError>>,
    mut on_log: impl FnMut(LogRecord),
) {
    loop {
        let event = match control.recv() {
            Ok(None) => return,
            Ok(Some(Event::Log(records))) => {
                records.into_iter().for_each(&mut on_log);
                continue;
            }
            Ok(Some(event)) => Ok(event),
            Err(error) => Err(error),
        };
        let is_last = event.is_err();
        // Nobody listens if the instance was dropped. A VMM that sends more events than there are
        // finds the channel full and is not listened to any longer.
        if events.try_send(event).is_err() || is_last {
            return;
        }
    }
}

fn end_error(event: Event) -> InvokeError {
    match event {
        Event::Stopped(report) => InvokeError::Stopped(Box::new(report)),
        Event::Failed { blame, message } => InvokeError::Failed { blame, message },
        Event::Ready(_) => InvokeError::OutOfTurn("Ready"),
        Event::Log(_) => InvokeError::OutOfTurn("Log"),
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, sync::mpsc::channel};

    use super::*;
    use crate::{Outcome, Stats};

    /// A shell script that takes the VMM's place.
    struct FakeVmm {
        folder: tempfile::TempDir,
    }

    impl FakeVmm {
        fn new(script: &str) -> Self {
            let folder = tempfile::tempdir().expect("temporary folder");
            let path = folder.path().join("vmm");
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("write");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("chmod");
            Self { folder }
        }

        fn launch(&self) -> Launch {
            Launch {
                vmm: self.folder.path().join("vmm"),
                image: "image.elf".into(),
                ram_bytes: None,
                timeout: Some(Duration::from_millis(100)),
            }
        }

        fn spawn(&self) -> Instance {
            Instance::spawn(&self.launch(), |_| {}).expect("spawn")
        }
    }

    /// A command that sends `event`: `printf` writes it with one `write`, which makes it one packet.
    fn send(event: &Event) -> String {
        let packet = crate::socket::encode(event).expect("encode");
        let octal: String = packet.iter().map(|byte| format!("\\{byte:03o}")).collect();
        format!("printf '{octal}'")
    }

    fn ready() -> String {
        send(&Event::Ready(Phases {
            init_ns: 5,
            ..Phases::default()
        }))
    }

    fn finished() -> String {
        send(&Event::Stopped(Report {
            outcome: Outcome::Finished,
            stats: Stats::default(),
        }))
    }

    fn failed() -> String {
        send(&Event::Failed {
            blame: Blame::Host,
            message: "no".into(),
        })
    }

    #[test]
    fn arguments_are_those_of_serve() {
        let fake = FakeVmm::new("exit 0");
        let mut launch = fake.launch();
        assert_eq!(
            launch.arguments(),
            ["serve", "--timeout-ms", "100", "--", "image.elf"]
        );
        launch.ram_bytes = Some(1 << 24);
        launch.timeout = Some(Duration::from_micros(1));
        let arguments = [
            "serve",
            "--memory",
            "16777216",
            "--timeout-ms",
            "1",
            "--",
            "image.elf",
        ];
        assert_eq!(launch.arguments(), arguments);
    }

    #[test]
    fn a_life_with_one_response() {
        let (ready, finished) = (ready(), finished());
        let log = send(&Event::Log(vec![LogRecord {
            level: 3,
            text: "hi".into(),
        }]));
        let response = r"printf 'jfRS\001\000\001\000\000\000\000\000\002\000\000\000ok' >&0";
        // The header of an empty request is 16 bytes.
        let fake = FakeVmm::new(&format!(
            "{ready}; head -c 16 >/dev/null; {log}; {response}; cat >/dev/null; {finished}"
        ));
        let (sender, logs) = channel();
        let mut instance =
            Instance::spawn(&fake.launch(), move |log| sender.send(log).expect("send"))
                .expect("spawn");
        assert_eq!(instance.wait_ready().expect("ready").init_ns, 5);
        let response = instance.invoke(&Request::default()).expect("response");
        assert_eq!(response.body, b"ok");
        let report = instance.finish().expect("report");
        assert_eq!(report.outcome, Outcome::Finished);
        let texts: Vec<_> = logs.iter().map(|log| log.text).collect();
        assert_eq!(texts, ["hi"]);
    }

    #[test]
    fn each_untimely_end_is_named() {
        let (ready, finished, failed) = (ready(), finished(), failed());
        let invoke = |script: &str| {
            FakeVmm::new(script)
                .spawn()
                .invoke(&Request::default())
                .expect_err("no response")
        };
        let error = invoke("exit 3");
        assert!(matches!(error, InvokeError::VmmDied(status) if status.code() == Some(3)));
        let error = invoke(&format!("{ready}; exit 3"));
        assert!(matches!(error, InvokeError::VmmDied(status) if status.code() == Some(3)));
        let error = invoke(&format!("{ready}; {finished}"));
        assert!(matches!(error, InvokeError::Stopped(_)), "{error:?}");
        let error = invoke(&failed);
        assert!(
            matches!(&error, InvokeError::Failed { blame: Blame::Host, message } if message == "no")
        );
        let error = invoke(&format!("{ready}; {failed}"));
        assert!(matches!(error, InvokeError::Failed { .. }), "{error:?}");
        let error = invoke("printf garbage");
        assert!(matches!(error, InvokeError::Control(_)), "{error:?}");
        let error = invoke(&format!("{ready}; {ready}"));
        assert!(
            matches!(error, InvokeError::OutOfTurn("Ready")),
            "{error:?}"
        );
        let error = invoke(&format!("{ready}; printf 'HTTP/1.1 200 OK..' >&0; cat"));
        assert!(matches!(error, InvokeError::Response(_)), "{error:?}");
    }

    #[test]
    fn a_missing_vmm_is_named() {
        let launch = Launch {
            vmm: "/nonexistent/vmm".into(),
            ..FakeVmm::new("").launch()
        };
        let error = Instance::spawn(&launch, |_| {})
            .expect_err("no such file")
            .to_string();
        assert!(error.contains("/nonexistent/vmm"), "{error}");
    }

    #[test]
    fn dropping_kills() {
        let fake = FakeVmm::new(&format!("{}; exec sleep 1000", ready()));
        let mut instance = fake.spawn();
        instance.wait_ready().expect("ready");
        let process = format!("/proc/{}", instance.process_id());
        assert!(fs::exists(&process).expect("stat"));
        drop(instance);
        assert!(!fs::exists(&process).expect("stat"));
    }
}

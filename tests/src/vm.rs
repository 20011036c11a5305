//! One VM under test: started, asked, ended, its log kept. Every wait in it is bounded by
//! `jiffy-client`, and an end without a typed outcome fails the test.

use std::{
    fs,
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use jiffy_client::{Device, Instance, Launch, Source, SpawnerOptions, VmError};
use jiffy_control::{GuestFault, LogRecord, Report, Request, Response, StreamFault, VmEnd};
use tempfile::TempDir;

use crate::vmm_path;

/// Enough for everything that is not meant to run out of time, also beside other load.
pub const TIMEOUT_AMPLE: Duration = Duration::from_secs(60);

/// A VM and its log.
#[derive(Debug)]
pub struct Vm {
    instance: Instance,
    log: Arc<Mutex<Vec<LogRecord>>>,
    /// Where its image is, if nobody else needs that.
    folder: Option<TempDir>,
}

/// How a VM ended that got one request.
#[derive(Debug)]
pub struct Ending {
    /// What it answered, or what was wrong with that; `None` if it ended first.
    pub response: Option<Result<Response, StreamFault>>,
    /// How it ended, and what it took.
    pub report: Report,
    /// What it logged.
    pub log: Vec<LogRecord>,
}

impl Vm {
    /// Starts a VM of `image` with RAM of this many MiB, or the default.
    pub fn start(image: &Path, ram_mib: Option<u64>, timeout: Duration) -> Self {
        Self::start_given(image, ram_mib, timeout, vec![])
    }

    /// As [`Vm::start`], with these devices besides those that each VM has.
    pub fn start_given(
        image: &Path,
        ram_mib: Option<u64>,
        timeout: Duration,
        devices: Vec<Device>,
    ) -> Self {
        let launch = Launch {
            vmm: vmm_path(),
            spawner: SpawnerOptions::default(),
            source: Source::Image {
                path: image.to_owned(),
                ram_bytes: ram_mib.map(|mib| mib << 20),
            },
            timeout: Some(timeout),
            devices,
        };
        let log = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&log);
        let keep = move |record| kept.lock().expect("not poisoned").push(record);
        let instance = Instance::spawn(&launch, keep).expect("a VMM");
        Self {
            instance,
            log,
            folder: None,
        }
    }

    /// As [`Vm::start_given`], with an image that is written to a file for this VM alone.
    pub fn start_bytes(image: &[u8], timeout: Duration, devices: Vec<Device>) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("image.elf");
        fs::write(&path, image).expect("an image");
        let mut vm = Self::start_given(&path, None, timeout, devices);
        vm.folder = Some(folder);
        vm
    }

    /// Asks, and expects a response.
    #[track_caller]
    pub fn ask(&mut self, body: impl Into<Vec<u8>>) -> Response {
        self.invoke(&event(body)).expect("a response")
    }

    /// Asks.
    pub fn invoke(&mut self, request: &Request) -> Result<Response, VmError> {
        self.instance.invoke(request)
    }

    /// Closes the stream, waits for the end and returns the log with the report.
    #[track_caller]
    pub fn finish(self) -> (Report, Vec<LogRecord>) {
        let report = self.instance.finish().expect("a report");
        let log = std::mem::take(&mut *self.log.lock().expect("not poisoned"));
        (report, log)
    }

    /// Asks once and ends.
    ///
    /// # Panics
    /// If the VMM dies, hangs, blames itself or breaks its protocol, whatever the guest did.
    #[track_caller]
    pub fn ending(mut self, request: &Request) -> Ending {
        let answered = self.instance.invoke(request);
        let settled = answered.and_then(|response| self.instance.settle().map(|()| response));
        let response = match settled {
            Ok(response) => Some(Ok(response)),
            Err(VmError::Stream(error)) => Some(Err(error)),
            Err(VmError::Stopped(report)) => {
                // All of the log is here once the process is: dropping reaps it.
                drop(self.instance.finish());
                let log = std::mem::take(&mut *self.log.lock().expect("not poisoned"));
                return Ending {
                    response: None,
                    report: *report,
                    log,
                };
            }
            Err(error) => panic!("the VMM gave no outcome: {error:?}"),
        };
        let (report, log) = self.finish();
        Ending {
            response,
            report,
            log,
        }
    }
}

impl Ending {
    /// The fault it ended with.
    ///
    /// # Panics
    /// If it ended otherwise.
    #[track_caller]
    pub fn fault(&self) -> &GuestFault {
        match &self.report.end {
            VmEnd::Fault(fault) => fault,
            other => panic!("expected a fault, got {other:?}"),
        }
    }
}

/// A request with nothing but a body.
pub fn event(body: impl Into<Vec<u8>>) -> Request {
    Request {
        body: body.into(),
        ..Request::default()
    }
}

//! Makes a snapshot with a VMM process of its own.
//!
//! ```text
//! jiffy-vmm snapshot ── Ready: `init` is done ── Saved: durable
//! ```

use std::{ffi::OsString, path::PathBuf, process::Stdio, time::Duration};

use crate::{
    Event, InvokeError, LaunchError, LogRecord, Phases, Saved,
    instance::end_error,
    launch::{limits, option},
    process::{GRACE, Process},
};

/// What is granted for writing a snapshot before the VMM is held for lost: the largest RAM on a
/// slow disk.
const SAVE_TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// A snapshot that is to be made.
#[derive(Clone, Debug)]
pub struct NewSnapshot {
    /// The `jiffy-vmm` program.
    pub vmm: PathBuf,
    /// The image.
    pub image: PathBuf,
    /// RAM of the VM, bytes; `None`: the VMM's default.
    pub ram_bytes: Option<u64>,
    /// How long `init` may take; `None`: the VMM's default, and no limit here.
    pub timeout: Option<Duration>,
    /// The directory that is made; a snapshot that has this name is replaced.
    pub output: PathBuf,
}

/// A snapshot that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Created {
    /// Where the time until `READY` went.
    pub phases: Phases,
    /// What was written.
    pub saved: Saved,
}

/// Why a snapshot was not made. What has its name is then as it was.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "each message documents its variant")]
pub enum CreateSnapshotError {
    #[error(transparent)]
    Launch(#[from] LaunchError),
    #[error(transparent)]
    Vm(#[from] InvokeError),
}

/// Boots an image, runs its `init` and writes what there is then as a snapshot. `on_log` gets the
/// log records of `init`, in order, on a thread of their own.
pub fn create_snapshot(
    new: &NewSnapshot,
    on_log: impl FnMut(LogRecord) + Send + 'static,
) -> Result<Created, CreateSnapshotError> {
    let mut process = Process::spawn(&new.vmm, new.arguments(), Stdio::null(), on_log)?;
    let end = wait_saved(&mut process, new.timeout);
    if !matches!(end, Err(InvokeError::Unresponsive(_))) {
        process.reap();
    }
    Ok(end?)
}

fn wait_saved(process: &mut Process, timeout: Option<Duration>) -> Result<Created, InvokeError> {
    let phases = match process.next_event(timeout.map(|timeout| timeout + GRACE))? {
        Event::Ready(phases) => phases,
        end => return Err(end_error(end)),
    };
    match process.next_event(Some(SAVE_TIMEOUT))? {
        Event::Saved(saved) => Ok(Created { phases, saved }),
        end => Err(end_error(end)),
    }
}

impl NewSnapshot {
    fn arguments(&self) -> Vec<OsString> {
        let mut arguments = vec!["snapshot".into()];
        arguments.extend(limits(self.ram_bytes, self.timeout));
        arguments.push(option("--output=", &self.output));
        arguments.extend(["--".into(), self.image.clone().into()]);
        arguments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Blame, Outcome, Report, Stats,
        testing::{FakeVmm, failed, ready, send},
    };

    fn new(fake: &FakeVmm) -> NewSnapshot {
        NewSnapshot {
            vmm: fake.path(),
            image: "image.elf".into(),
            ram_bytes: Some(1 << 24),
            timeout: Some(Duration::from_millis(100)),
            output: "-.snap".into(),
        }
    }

    fn create(script: &str) -> Result<Created, CreateSnapshotError> {
        create_snapshot(&new(&FakeVmm::new(script)), |_| {})
    }

    #[test]
    fn arguments_are_those_of_snapshot() {
        let arguments = [
            "snapshot",
            "--memory=16777216",
            "--timeout-ms=100",
            "--output=-.snap",
            "--",
            "image.elf",
        ];
        assert_eq!(new(&FakeVmm::new("")).arguments(), arguments);
    }

    #[test]
    fn what_was_saved_is_told() {
        let saved = Saved {
            digest: [7; 32],
            ram_bytes: 1 << 24,
            ram_pages_stored: 30,
            save_ns: 9,
        };
        let script = format!("{}; {}", ready(), send(&Event::Saved(saved)));
        let created = create(&script).expect("saved");
        assert_eq!(created.saved, saved);
        assert_eq!(created.phases.init_ns, 5);
    }

    #[test]
    fn each_failure_is_named() {
        let create = |script: &str| match create(script).expect_err("no snapshot") {
            CreateSnapshotError::Vm(error) => error,
            CreateSnapshotError::Launch(error) => panic!("{error}"),
        };
        let stopped = send(&Event::Stopped(Report {
            outcome: Outcome::Exited(1),
            stats: Stats::default(),
        }));
        let error = create(&stopped);
        assert!(
            matches!(&error, InvokeError::Stopped(report) if report.outcome == Outcome::Exited(1)),
            "{error:?}"
        );
        let error = create(&format!("{}; {}", ready(), failed()));
        assert!(
            matches!(
                error,
                InvokeError::Failed {
                    blame: Blame::Host,
                    ..
                }
            ),
            "{error:?}"
        );
        let error = create(&format!("{}; exit 3", ready()));
        assert!(matches!(error, InvokeError::VmmDied(_)), "{error:?}");
        let error = create(&format!("{}; {}", ready(), ready()));
        assert!(
            matches!(error, InvokeError::OutOfTurn("Ready")),
            "{error:?}"
        );
    }
}
